/* tests/unit/store/fault_test.c
 *
 * Goal: whichever write or sync fails, a batch is there whole or not at all, the status says so,
 * and the store goes on once the fault is over. And a batch costs what it should: one sync, or
 * none. Method: SQLite's door to the disk fails its first, second, third, ... operation, until a
 * run needs no more of them. */
#include "world.h"

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "faulty_vfs.h"

#define TRIES_MAX 500

static enum status
try_batch(struct world *world, int64_t id)
{
    world->node.batch_no++;
    enum status status = store_begin(world->store, &world->node);
    if (status != STATUS_OK) {
        return status;
    }
    const struct ledger_row ledger = a_ledger_row(id);
    const struct hold_row hold = a_hold(id + 1, &world->node);
    struct account_row account = an_account(id + 2, "acme");
    (void)snprintf(account.name, sizeof(account.name), "acme-%lld", (long long)id);
    status = store_ledger_add(world->store, &ledger);
    if (status == STATUS_OK) {
        status = store_hold_insert(world->store, &hold);
    }
    if (status == STATUS_OK) {
        status = store_account_put(world->store, &account);
    }
    if (status == STATUS_OK) {
        status = store_commit(world->store);
    }
    if (status != STATUS_OK) {
        store_rollback(world->store);
    }
    return status;
}

static void
assert_text(struct world *world, const struct buf *want)
{
    struct buf got = world_text(world);
    assert_true(slice_eq(buf_slice(&got), buf_slice(want)));
    buf_free(&got);
}

static void
fail_each_operation_of_a_batch(struct world *world, int code, bool stays)
{
    int64_t id = 1000;
    for (int nth = 1;; nth++, id += 10) {
        assert_true(nth < TRIES_MAX);
        struct buf before = world_text(world);
        faulty_vfs_arm(nth, code, stays);
        const enum status status = try_batch(world, id);
        const bool hit = faulty_vfs_disarm();
        if (!hit) { /* it needs fewer operations than that */
            expect_status(world, status, STATUS_OK, "a batch without a fault");
            buf_free(&before);
            assert_true(nth > 2);
            return;
        }
        expect_status(world, status, STATUS_IO, "a batch with a fault");
        assert_true(store_last_error(world->store)[0] != '\0');
        assert_text(world, &before);
        expect_status(world, try_batch(world, id), STATUS_OK, "the same batch again");
        struct buf after = world_text(world);
        world_close(world);
        world_open(world);
        assert_text(world, &after);
        buf_free(&before);
        buf_free(&after);
    }
}

static void
a_batch_is_whole_or_not_at_all(void **state)
{
    static const struct {
        int code;
        bool stays, full_sync;
    } rows[] = {
        { SQLITE_FULL, false, true },
        { SQLITE_FULL, true, false },
        { SQLITE_IOERR_WRITE, false, true },
        { SQLITE_IOERR_WRITE, true, true },
        { SQLITE_IOERR_FSYNC, false, true },
        { SQLITE_READONLY, false, true },
    };
    struct world *world = *state;
    for (size_t i = 0; i < countof(rows); i++) {
        (void)unlink(world->path);
        world->options.full_sync = rows[i].full_sync;
        world_open(world);
        fail_each_operation_of_a_batch(world, rows[i].code, rows[i].stays);
        world_close(world);
    }
}

static void
a_fault_while_a_store_is_made_leaves_none_or_a_whole_one(void **state)
{
    struct world *world = *state;
    for (int nth = 1;; nth++) {
        assert_true(nth < TRIES_MAX);
        struct store *store = NULL;
        struct store_error error;
        faulty_vfs_arm(nth, SQLITE_FULL, true);
        const enum status status = store_open(world->url, &world->options, &store, &error);
        const bool hit = faulty_vfs_disarm();
        store_close(store);
        if (!hit) {
            assert_int_equal(status, STATUS_OK);
            assert_true(nth > 10);
            return;
        }
        if (status != STATUS_IO || error.text[0] == '\0') { /* closing may meet the fault alone */
            assert_int_equal(status, STATUS_OK);
        }
        world_open(world);
        world_begin(world);
        put_one_of_each(world, 1);
        world_commit(world);
        world_close(world);
        assert_int_equal(unlink(world->path), 0);
    }
}

static void
a_batch_costs_one_write_and_one_sync_or_none(void **state)
{
    static const struct {
        bool full_sync;
        int sync_count;
    } rows[] = { { true, 20 }, { false, 0 } };
    struct world *world = *state;
    for (size_t i = 0; i < countof(rows); i++) {
        (void)unlink(world->path);
        world->options.full_sync = rows[i].full_sync;
        world_open(world);
        assert_int_equal(try_batch(world, 1), STATUS_OK); /* the log's first page is synced apart */
        atomic_store(&faulty_vfs.sync_count, 0);
        atomic_store(&faulty_vfs.write_count, 0);
        for (int64_t id = 100; id < 300; id += 10) {
            assert_int_equal(try_batch(world, id), STATUS_OK);
        }
        assert_int_equal(atomic_load(&faulty_vfs.sync_count), rows[i].sync_count);
        if (rows[i].full_sync) { /* all pages of a batch together */
            assert_int_equal(atomic_load(&faulty_vfs.write_count), rows[i].sync_count);
        }
        OK(world, store_begin_read(world->store)); /* to read costs nothing */
        struct account_row account;
        OK(world, store_account_by_name(world->store, "acme-100", &account));
        store_rollback(world->store);
        world_begin(world);
        put_one_of_each(world, 5000);
        store_rollback(world->store);
        assert_int_equal(atomic_load(&faulty_vfs.sync_count), rows[i].sync_count);
        world_close(world);
    }
}

static void
a_checkpoint_that_fails_is_a_trouble_not_an_error(void **state)
{
    struct world *world = *state;
    world->options.checkpoint_pages = 20;
    world_open(world);
    int64_t id = 1000;
    bool told = false;
    bool over = false;
    for (int i = 0; i < 2000 && !told; i++, id += 10) {
        world_begin(world);
        const struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
        world_commit(world);
        told = store_trouble(world->store)[0] != '\0';
        /* Syncs are made by checkpoints alone in this durability. */
        faulty_vfs_arm(1, SQLITE_IOERR_FSYNC, true);
        (void)usleep(200);
        faulty_vfs_disarm();
    }
    assert_true(told);
    assert_non_null(strstr(store_trouble(world->store), "cannot be copied back"));
    for (int i = 0; i < 2000 && !over; i++, id += 10) {
        world_begin(world);
        const struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
        world_commit(world);
        over = store_trouble(world->store)[0] == '\0';
        (void)usleep(100);
    }
    assert_true(over);
}

/* What SQLite does not do, a disk may: the batch whose commit failed is in the store all the same. */
static void
a_batch_that_was_kept_against_its_status_ends_writing(void **state)
{
    struct world *world = *state;
    world->options.full_sync = true;
    world_open(world);
    faulty_vfs_arm(1, SQLITE_IOERR_FSYNC, true);
    expect_status(world, try_batch(world, 1000), STATUS_IO, "a batch whose sync fails");
    assert_true(faulty_vfs_disarm());
    char sql[96];
    (void)snprintf(
        sql, sizeof(sql), "UPDATE node SET batch_no = %lld", (long long)world->node.batch_no);
    world_sql(world, sql);
    for (int i = 0; i < 2; i++) {
        expect_status(world, try_batch(world, 2000), STATUS_IO, "the batch after it");
        assert_non_null(strstr(store_last_error(world->store), "restart the gateway"));
    }
    world_close(world);
    world_open(world); /* the restart */
    expect_status(world, try_batch(world, 3000), STATUS_OK, "after the restart");
}

static int
faulty_world(void **state)
{
    faulty_vfs_install();
    return world_closed(state);
}

#define FAULTY(name, function) CASE_WITH(name, function, faulty_world, world_end)

static const struct CMUnitTest tests[] = {
    FAULTY("a batch is whole or not at all, whichever write fails", a_batch_is_whole_or_not_at_all),
    FAULTY("a fault while a store is made leaves none or a whole one",
        a_fault_while_a_store_is_made_leaves_none_or_a_whole_one),
    FAULTY("a batch costs one write and one sync, or no sync",
        a_batch_costs_one_write_and_one_sync_or_none),
    FAULTY("a checkpoint that fails is a trouble, not an error",
        a_checkpoint_that_fails_is_a_trouble_not_an_error),
    FAULTY("a batch that was kept against its status ends writing",
        a_batch_that_was_kept_against_its_status_ends_writing),
};
UNIT_MAIN(tests)
