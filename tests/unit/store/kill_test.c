/* tests/unit/store/kill_test.c
 *
 * Goal: after kill -9 at any moment a store holds whole batches, none missing that was committed.
 * Method: a child writes batches, telling the number of each once it is committed, and is killed
 * while it does so, amid checkpoints too; what the next start finds must be one batch number's
 * worth of everything. */
#include "world.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_COUNT      12
#define ROWS_A_BATCH     8
#define SUBJECT_COUNT    4
#define FIRST_WAIT_US    500
#define WAIT_STEP_US     4100 /* no multiple of anything the store does */
#define CHECKPOINT_PAGES 40

static int64_t
ledger_id(int64_t batch_no, int64_t i)
{
    return batch_no * 100 + i;
}

/* One batch: ledger rows, meters that count them, one hold for the next batch to delete. */
static void
write_batch(struct world *world)
{
    struct store *store = world->store;
    world_begin(world);
    const int64_t batch_no = world->node.batch_no;
    for (int64_t i = 0; i < ROWS_A_BATCH; i++) {
        const struct ledger_row row = a_ledger_row(ledger_id(batch_no, i));
        OK(world, store_ledger_add(store, &row));
    }
    for (int64_t subject_id = 1; subject_id <= SUBJECT_COUNT; subject_id++) {
        struct meter_row meters = a_meter_row(subject_id);
        const enum status status = store_meter_get(store, subject_id, &meters);
        assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
        meters.meters[0].settled = batch_no * ROWS_A_BATCH;
        OK(world, store_meter_put(store, &meters));
    }
    const struct hold_row hold = a_hold(batch_no, &world->node);
    OK(world, store_hold_insert(store, &hold));
    if (batch_no > 1) {
        OK(world, store_hold_delete(store, batch_no - 1));
    }
    world_commit(world);
}

static void
write_until_killed(struct world *world, int told)
{
    (void)alarm(60); /* should nobody be left to kill it */
    world_open(world);
    for (;;) {
        write_batch(world);
        if (write(told, &world->node.batch_no, sizeof(int64_t)) != sizeof(int64_t)) {
            _exit(1);
        }
    }
}

/* The last batch number that was told before the end, or the one known already. */
static int64_t
last_told(int told, int64_t batch_no)
{
    int64_t next = 0;
    while (read(told, &next, sizeof(next)) == (ssize_t)sizeof(next)) {
        batch_no = next;
    }
    return batch_no;
}

struct found {
    int64_t ledger_count, hold_count, hold_id, batch_no;
};

static bool
see_ledger(void *user, const struct ledger_row *row)
{
    struct found *found = user;
    const int64_t from_last = found->ledger_count++;
    const int64_t batch_no = found->batch_no - from_last / ROWS_A_BATCH;
    return row->id == ledger_id(batch_no, ROWS_A_BATCH - 1 - from_last % ROWS_A_BATCH);
}

static bool
see_hold(void *user, const struct hold_row *row)
{
    struct found *found = user;
    found->hold_count++;
    found->hold_id = row->hold_id;
    return true;
}

static void
assert_whole_batches(struct world *world)
{
    struct found found = { .batch_no = world->node.batch_no };
    const struct ledger_filter all = { .kind = -1, .limit = INT32_MAX };
    struct store_reader *reader = world_reader(world);
    OK(world, store_read_ledger(reader, &all, see_ledger, &found));
    OK(world, store_read_holds(reader, see_hold, &found));
    world_reader_close(world);
    assert_int_equal(found.ledger_count, found.batch_no * ROWS_A_BATCH);
    assert_int_equal(found.hold_count, found.batch_no > 0 ? 1 : 0);
    assert_int_equal(found.hold_id, found.batch_no);
    OK(world, store_begin_read(world->store));
    for (int64_t subject_id = 1; found.batch_no > 0 && subject_id <= SUBJECT_COUNT; subject_id++) {
        struct meter_row meters;
        OK(world, store_meter_get(world->store, subject_id, &meters));
        assert_int_equal(meters.meters[0].settled, found.batch_no * ROWS_A_BATCH);
        assert_int_equal(meters.version, found.batch_no);
    }
    store_rollback(world->store);
}

static void
kill_one(struct world *world, int64_t wait_us, bool at_work)
{
    int told[2];
    assert_int_equal(pipe(told), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(told[0]);
        write_until_killed(world, told[1]);
    }
    (void)close(told[1]);
    int64_t first = 0;
    if (at_work) { /* else it may be killed while it still opens the store */
        assert_int_equal(read(told[0], &first, sizeof(first)), sizeof(first));
    }
    const struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
    (void)nanosleep(&wait, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    const int64_t committed = last_told(told[0], first);
    (void)close(told[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    world_open(world);
    assert_true(world->node.batch_no >= committed);
    assert_true(world->node.batch_no <= committed + 1 || committed == 0);
    assert_whole_batches(world);
    world_close(world);
}

static void
killed_amid_batches_it_holds_whole_ones(void **state)
{
    struct world *world = *state;
    world->options.checkpoint_pages = CHECKPOINT_PAGES;
    for (int i = 0; i < ROUND_COUNT; i++) {
        world->options.full_sync = i % 2 == 0;
        kill_one(world, FIRST_WAIT_US + i * WAIT_STEP_US, i % 3 != 0);
    }
    assert_true(world->node.batch_no >= ROUND_COUNT / 3 * 2); /* they did get to work */
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("killed amid batches it holds whole ones", killed_amid_batches_it_holds_whole_ones,
        world_closed, world_end),
};
UNIT_MAIN(tests)
