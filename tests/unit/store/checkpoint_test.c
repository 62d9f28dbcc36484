/* tests/unit/store/checkpoint_test.c
 *
 * Goal: under load the log starts anew again and again; a reader with an old snapshot only puts
 * that off; reads beside writes see whole batches. Method: a small threshold, thousands of batches,
 * and SQLite itself telling how long the log is. */
#include "world.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPOINT_PAGES 100
#define PAGE_BYTES       4096

static void
write_batches(struct world *world, int64_t *id, int batch_count)
{
    for (int i = 0; i < batch_count; i++) {
        world_begin(world);
        for (int j = 0; j < 10; j++) {
            const struct ledger_row row = a_ledger_row(++*id);
            OK(world, store_ledger_add(world->store, &row));
        }
        world_commit(world);
    }
}

static int64_t
log_pages(const struct world *world)
{
    char path[128];
    struct stat file;
    (void)snprintf(path, sizeof(path), "%s-wal", world->path);
    assert_int_equal(stat(path, &file), 0);
    return (int64_t)file.st_size / PAGE_BYTES;
}

static int
small_log(void **state)
{
    assert_int_equal(world_closed(state), 0);
    struct world *world = *state;
    world->options.checkpoint_pages = CHECKPOINT_PAGES;
    world_open(world);
    return 0;
}

static void
the_log_starts_anew_under_load(void **state)
{
    struct world *world = *state;
    int64_t id = 0;
    write_batches(world, &id, 6000); /* each writes three pages at least */
    assert_string_equal(store_trouble(world->store), "");
    const int64_t pages = log_pages(world);
    if (pages > 6000) {
        fail_msg("%lld pages in the log", (long long)pages);
    }
}

static void
an_old_snapshot_only_puts_it_off(void **state)
{
    struct world *world = *state;
    int64_t id = 0;
    write_batches(world, &id, 50);
    sqlite3 *shell = NULL;
    assert_int_equal(sqlite3_open(world->path, &shell), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(shell, "BEGIN; SELECT count(*) FROM ledger", NULL, NULL, NULL), SQLITE_OK);
    write_batches(world, &id, 1000);
    const int64_t pages_held = log_pages(world);
    assert_true(pages_held > 2000); /* nothing could be begun anew */
    assert_string_equal(store_trouble(world->store), "");
    assert_int_equal(sqlite3_exec(shell, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(shell), SQLITE_OK);
    for (int i = 0; i < 200; i++) { /* with time for the thread to come round */
        write_batches(world, &id, 10);
        (void)usleep(500);
    }
    const int64_t pages_after = log_pages(world);
    if (pages_after > pages_held + 2000) {
        fail_msg("%lld pages in the log", (long long)pages_after);
    }
}

static void
copy_file(const char *from, const char *to)
{
    char bytes[65536];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    assert_true(in && out);
    size_t len = 0;
    while ((len = fread(bytes, 1, sizeof(bytes), in)) > 0) {
        assert_int_equal(fwrite(bytes, 1, len, out), len);
    }
    assert_int_equal(fclose(in) + fclose(out), 0);
}

/* What a crash would leave is what the files are between two batches. */
static void
a_long_log_seldom_grows_and_is_read_to_its_end(void **state)
{
    struct world *world = *state;
    char from[160];
    char to[160];
    int64_t id = 0;
    int growths = 0;
    int64_t pages = 0;
    write_batches(world, &id, 100); /* a short log is as long as what is in it */
    for (int i = 0; i < 600; i++) {
        const int64_t pages_before = pages;
        write_batches(world, &id, 1);
        pages = log_pages(world);
        growths += pages > pages_before;
    }
    assert_in_range(growths, 1, 60);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(from, sizeof(from), "%s%s", world->path, i ? "-wal" : "");
        (void)snprintf(to, sizeof(to), "%s.copy%s", world->path, i ? "-wal" : "");
        copy_file(from, to);
    }
    (void)snprintf(to, sizeof(to), "%s.copy", world->path);
    sqlite3 *copy = NULL;
    sqlite3_stmt *count = NULL;
    assert_int_equal(sqlite3_open(to, &copy), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(copy, "SELECT count(*) FROM ledger", -1, &count, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(count, 0), id);
    assert_int_equal(sqlite3_finalize(count) + sqlite3_close(copy), SQLITE_OK);
}

/* --- Readers beside the writer. */

struct watch {
    struct store *store;
    atomic_bool over;
    int reads, broken;
};

static bool
count_row(void *user, const struct ledger_row *row)
{
    (void)row;
    ++*(int64_t *)user;
    return true;
}

static void *
read_on(void *argument)
{
    struct watch *watch = argument;
    struct store_reader *reader = NULL;
    struct store_error error;
    if (store_reader_open(watch->store, &reader, &error) != STATUS_OK) {
        watch->broken++;
        return NULL;
    }
    int64_t last_count = 0;
    do { /* once at least, also by one who comes late */
        int64_t count = 0;
        const struct ledger_filter all = { .kind = -1, .limit = INT32_MAX };
        const enum status status = store_read_ledger(reader, &all, count_row, &count);
        watch->broken += status != STATUS_OK || count % 10 != 0 || count < last_count;
        last_count = count;
        watch->reads++;
    } while (!atomic_load(&watch->over));
    store_reader_close(reader);
    return NULL;
}

static void
readers_see_whole_batches(void **state)
{
    struct world *world = *state;
    struct watch watches[2] = { { .store = world->store }, { .store = world->store } };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &watches[i]), 0);
    }
    int64_t id = 0;
    write_batches(world, &id, 500);
    for (int i = 0; i < 2; i++) {
        (void)usleep(10000); /* at least one read after the last batch */
        atomic_store(&watches[i].over, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(watches[i].broken, 0);
        assert_true(watches[i].reads > 0);
    }
}

static const struct CMUnitTest tests[] = {
    CASE_WITH(
        "the log starts anew under load", the_log_starts_anew_under_load, small_log, world_end),
    CASE_WITH(
        "an old snapshot only puts it off", an_old_snapshot_only_puts_it_off, small_log, world_end),
    CASE_WITH("a long log seldom grows, and is read to its end after a crash",
        a_long_log_seldom_grows_and_is_read_to_its_end, world_on_disk, world_end),
    CASE_WITH(
        "readers see whole batches (sqlite)", readers_see_whole_batches, small_log, world_end),
    CASE_WITH("readers see whole batches (memory)", readers_see_whole_batches, world_in_memory,
        world_end),
};
UNIT_MAIN(tests)
