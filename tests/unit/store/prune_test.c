/* tests/unit/store/prune_test.c
 *
 * Goal: old rows of calls and refusals go, a few at a time, whatever order epochs lie in; all else stays, and the
 * store knows from when on its ledger is whole.
 * Method: each case on SQLite, in memory and, with a server in TIDEGATE_TEST_PG, on PostgreSQL. */
#include "world.h"

#include <stdio.h>

#define OLD_MS (NOW_MS - 90 * DAY_MS)

static int64_t
id_of(int64_t epoch, int64_t number)
{
    return epoch << ID_COUNTER_BITS | number;
}

static void
add_row(struct world *world, int64_t id, int64_t at_ms, enum ledger_kind kind)
{
    struct ledger_row row = a_ledger_row(id);
    row.at_ms = at_ms;
    row.kind = kind;
    row.started_ms = at_ms;
    if (kind == LEDGER_REFUSAL || kind == LEDGER_ADMIN) {
        row.hold_id = 0;
    }
    OK(world, store_ledger_add(world->store, &row));
}

/* Each step in a transaction of its own; gives what went. */
static int64_t
prune(struct world *world, struct store_prune prune, int *steps)
{
    int64_t deleted = 0;
    *steps = 0;
    while (!prune.done) {
        world_begin(world);
        OK(world, store_prune(world->store, &prune));
        world_commit(world);
        deleted += prune.deleted_count;
        assert_true(prune.looked_count <= STORE_PRUNE_ROWS);
        assert_true(++*steps < 1000);
    }
    return deleted;
}

static bool
note_id(void *user, const struct ledger_row *row)
{
    buf_addf(user, " %lld.%lld", (long long)(row->id >> ID_COUNTER_BITS),
        (long long)(row->id & ((INT64_C(1) << ID_COUNTER_BITS) - 1)));
    return true;
}

static void
expect_rows(struct world *world, const char *want)
{
    struct buf got = { 0 };
    const struct ledger_filter filter = { .kind = -1 };
    OK(world, store_read_ledger(world_reader(world), &filter, note_id, &got));
    assert_string_equal(buf_cstr(&got), want);
    world_reader_close(world);
    buf_free(&got);
}

static int64_t
kept_from(struct world *world)
{
    int64_t kept_from_ms = -1;
    OK(world, store_begin_read(world->store));
    OK(world, store_kept_from(world->store, &kept_from_ms));
    store_rollback(world->store);
    return kept_from_ms;
}

static void
rows_of_calls_go_by_age_and_what_people_did_stays(void **state)
{
    struct world *world = *state;
    int steps = 0;
    world_begin(world);
    add_row(world, id_of(1, 1), OLD_MS - 5, LEDGER_SETTLE);
    add_row(world, id_of(1, 2), OLD_MS - 4, LEDGER_ADMIN);
    add_row(world, id_of(1, 3), OLD_MS - 3, LEDGER_ORPHAN);
    add_row(world, id_of(1, 4), OLD_MS - 2, LEDGER_ADJUST);
    add_row(world, id_of(1, 5), OLD_MS - 1, LEDGER_UNBILLED);
    add_row(world, id_of(1, 6), OLD_MS, LEDGER_SETTLE); /* at the instant itself: it stays */
    add_row(world, id_of(1, 7), NOW_MS, LEDGER_RELEASE);
    world_commit(world);
    assert_int_equal(kept_from(world), 0);
    assert_int_equal(prune(world, (struct store_prune){ .before_ms = OLD_MS }, &steps), 3);
    expect_rows(world, " 1.7 1.6 1.4 1.2");
    assert_int_equal(kept_from(world), OLD_MS);
    assert_int_equal(prune(world, (struct store_prune){ .before_ms = OLD_MS - 9 }, &steps), 0);
    assert_int_equal(kept_from(world), OLD_MS); /* it does not go back */
}

static int64_t
overshoot_max(struct world *world)
{
    int64_t micros = -1;
    OK(world, store_begin_read(world->store));
    OK(world, store_overshoot_max(world->store, &micros));
    store_rollback(world->store);
    return micros;
}

static void
the_most_that_a_cap_was_passed_by_only_grows(void **state)
{
    struct world *world = *state;
    static const struct {
        int64_t raise, most;
    } rows[] = { { 7, 7 }, { 1234567890123, 1234567890123 }, { 8, 1234567890123 } };
    world_begin(world);
    world_commit(world);
    assert_int_equal(overshoot_max(world), 0);
    for (size_t i = 0; i < countof(rows); i++) {
        world_begin(world);
        OK(world, store_overshoot_raise(world->store, rows[i].raise));
        world_commit(world);
        assert_int_equal(overshoot_max(world), rows[i].most);
    }
    world_begin(world);
    OK(world, store_overshoot_raise(world->store, INT64_MAX));
    store_rollback(world->store);
    assert_int_equal(overshoot_max(world), 1234567890123);
}

/* One gateway may run for months while others start: its young rows lie before their old ones. */
static void
young_rows_of_one_epoch_do_not_hide_old_ones_of_the_next(void **state)
{
    struct world *world = *state;
    int steps = 0;
    world_begin(world);
    add_row(world, id_of(1, 1), OLD_MS - 5, LEDGER_SETTLE);
    add_row(world, id_of(1, 2), NOW_MS, LEDGER_SETTLE);
    add_row(world, id_of(1, 3), NOW_MS, LEDGER_SETTLE);
    add_row(world, id_of(2, 1), OLD_MS - 4, LEDGER_SETTLE);
    add_row(world, id_of(2, 2), NOW_MS, LEDGER_SETTLE);
    add_row(world, id_of(5, 1), OLD_MS - 3, LEDGER_SETTLE);
    world_commit(world);
    assert_int_equal(prune(world, (struct store_prune){ .before_ms = OLD_MS }, &steps), 3);
    expect_rows(world, " 2.2 1.3 1.2");
}

static void
a_step_looks_at_few_rows_and_the_next_goes_on(void **state)
{
    struct world *world = *state;
    const int count = 2 * STORE_PRUNE_ROWS + 10;
    int steps = 0;
    world_begin(world);
    for (int i = 1; i <= count; i++) {
        add_row(world, id_of(1, i), OLD_MS - count + i, LEDGER_SETTLE);
    }
    world_commit(world);
    struct store_prune one = { .before_ms = OLD_MS + 1 };
    world_begin(world);
    OK(world, store_prune(world->store, &one));
    store_rollback(world->store); /* nothing has gone, and nobody knows of it */
    assert_int_equal(kept_from(world), 0);
    assert_int_equal(prune(world, (struct store_prune){ .before_ms = OLD_MS + 1 }, &steps), count);
    assert_int_equal(steps, 3);
    expect_rows(world, "");
}

static void
add_refusal(struct world *world, int64_t ledger_id, int64_t minute_ms)
{
    struct refusal_row row = a_refusal(11, minute_ms);
    row.ledger_id = ledger_id;
    row.key_id = ledger_id;
    OK(world, store_refusal_add(world->store, &row));
    add_row(world, ledger_id, minute_ms + 7, LEDGER_REFUSAL);
}

static bool
count_refusal(void *user, const struct refusal_row *row)
{
    *(int64_t *)user += row->count;
    return true;
}

static void
refusals_go_sooner_with_their_rows(void **state)
{
    struct world *world = *state;
    const int64_t minute_ms = OLD_MS - OLD_MS % MINUTE_MS;
    int64_t left = 0;
    int steps = 0;
    world_begin(world);
    add_refusal(world, 1, minute_ms - MINUTE_MS);
    add_row(world, 2, minute_ms, LEDGER_SETTLE);
    add_refusal(world, 3, minute_ms);
    add_refusal(world, 4, minute_ms + MINUTE_MS);
    world_commit(world);
    const struct store_prune both = { .before_ms = minute_ms - DAY_MS,
        .refusals_before_ms = minute_ms + 1 };
    assert_int_equal(prune(world, both, &steps), 2);
    expect_rows(world, " 0.4 0.2");
    assert_int_equal(kept_from(world), 0); /* no call's row has gone */
    OK(world, store_read_refusals(world_reader(world), 0, 0, count_refusal, &left));
    world_reader_close(world);
    assert_int_equal(left, 1);
    assert_int_equal(prune(world, (struct store_prune){ .before_ms = NOW_MS }, &steps), 2);
    expect_rows(world, "");
}

static const struct CMUnitTest tests[] = {
    ALL("rows of calls go by age, and what people did stays",
        rows_of_calls_go_by_age_and_what_people_did_stays),
    ALL("young rows of one epoch do not hide old ones of the next",
        young_rows_of_one_epoch_do_not_hide_old_ones_of_the_next),
    ALL("a step looks at few rows, and the next goes on",
        a_step_looks_at_few_rows_and_the_next_goes_on),
    ALL("the most that a cap was passed by only grows", the_most_that_a_cap_was_passed_by_only_grows),
    ALL("refusals go sooner, with their rows", refusals_go_sooner_with_their_rows),
};
UNIT_MAIN(tests)
