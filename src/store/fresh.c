/* store/fresh.c: files that are made under a name of their own, and take another once they are whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "store/sqlite_priv.h"

#define PATH_BYTES 4096

enum status
fresh_make(const char *path, bool for_gateway, struct store_error *error)
{
    (void)unlink(path); /* of one that was broken off */
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return file_fail(error, path, "made");
    }
    if (for_gateway) {
        give_to_folder_owner(fd, path);
    }
    (void)close(fd);
    return STATUS_OK;
}

static void
remove_ends(const char *path, const char *const *ends, size_t count)
{
    char name[PATH_BYTES];
    for (size_t i = 0; i < count; i++) {
        if (snprintf(name, sizeof(name), "%s%s", path, ends[i]) < (int)sizeof(name)) {
            (void)unlink(name); /* it may not be there */
        }
    }
}

void
fresh_remove(const char *path)
{
    static const char *const ends[] = { "", "-journal", "-wal", "-shm" };
    remove_ends(path, ends, countof(ends));
}

void
fresh_remove_log(const char *path)
{
    static const char *const ends[] = { "-wal", "-shm" };
    remove_ends(path, ends, countof(ends));
}

/* It is whole under its own name; only a power cut can take that back once it has the other. */
enum status
fresh_name(const char *fresh, const char *to, bool force, struct store_error *error)
{
    if (force) {
        if (rename(fresh, to) != 0) {
            return file_fail(error, to, "replaced");
        }
    } else if (link(fresh, to) != 0) {
        return errno == EEXIST
                   ? store_fail(error->text, STATUS_EXISTS, "%.300s is there already", to)
                   : file_fail(error, to, "made");
    } else {
        (void)unlink(fresh); /* its other name stays */
    }
    if (file_sync(to, true, error) != STATUS_OK) {
        return store_fail(error->text, STATUS_IO,
            "%.300s is there, and whole, but its folder cannot be brought to the disk: a power cut may "
            "take it away",
            to);
    }
    return STATUS_OK;
}
