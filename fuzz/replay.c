/* fuzz/replay.c: plays a corpus through a fuzz target once, where there is no libFuzzer.
 *
 * Every seed is given whole and as each of its first 64 prefixes, in memory of exactly its size, so
 * that a sanitizer sees a read past the end. Prints TAP: one case. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_SIZE_MAX = 1 << 20, PREFIX_MAX = 64 };

static void
play(const uint8_t *seed, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        abort();
    }
    memcpy(exact, seed, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static int
play_file(const char *path)
{
    static uint8_t seed[SEED_SIZE_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return 0; /* a folder, or gone */
    }
    const size_t size = fread(seed, 1, sizeof(seed), file);
    const int unreadable = ferror(file);
    fclose(file);
    if (unreadable != 0) {
        return 0;
    }
    for (size_t prefix = 0; prefix < size && prefix < PREFIX_MAX; prefix++) {
        play(seed, prefix);
    }
    play(seed, size);
    return 1;
}

int
main(int argc, char **argv)
{
    int played = 0;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    printf("1..1\n");
    fflush(stdout);
    for (struct dirent *entry = NULL; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.'
            || snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name) >= (int)sizeof(path)) {
            continue;
        }
        played += play_file(path);
    }
    if (folder != NULL) {
        closedir(folder);
    }
    play((const uint8_t *)"", 0);
    printf("ok 1 - the corpus of %d seeds plays without a fault\n", played);
    return 0;
}
