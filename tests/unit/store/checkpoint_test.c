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
    while (!atomic_load(&watch->over)) {
        int64_t count = 0;
        const struct ledger_filter all = { .kind = -1, .limit = INT32_MAX };
        const enum status status = store_read_ledger(reader, &all, count_row, &count);
        watch->broken += status != STATUS_OK || count % 10 != 0 || count < last_count;
        last_count = count;
        watch->reads++;
    }
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
    CASE_WITH(
        "readers see whole batches (sqlite)", readers_see_whole_batches, small_log, world_end),
    CASE_WITH("readers see whole batches (memory)", readers_see_whole_batches, world_in_memory,
        world_end),
};
UNIT_MAIN(tests)
