/* tests/unit/core/window_test.c
 *
 * Goal: a call belongs to the window in which it was allowed; a bucket admits at the very millisecond its
 * refusal named; in flight counts what is open; time that goes back moves nothing.
 * Method: the gate with its clock set by hand. */
#include "gate.h"

#include <string.h>

#include "core/core_priv.h"

#define MIDNIGHT_MS (NOON_MS + 12 * HOUR_MS) /* 2026-10-01T00:00:00Z: also a month's end */

static void
settled_after_midnight(void **state)
{
    static const struct {
        const char *name;
        enum window_kind window;
        int64_t start_ms, end_ms;
    } rows[] = {
        { "day", WINDOW_DAY, NOON_MS - 12 * HOUR_MS, MIDNIGHT_MS },
        { "month", WINDOW_MONTH, INT64_C(1788220800000), MIDNIGHT_MS },
        { "week", WINDOW_WEEK, INT64_C(1790553600000), INT64_C(1791158400000) }, /* Monday to Monday */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *limit = add_limit(gate->policy, rows[i].name, COUNT_COST, PER_ACCOUNT, rows[i].window, 1000);
        gate->now_ms = rows[i].end_ms - 1;
        struct event before = a_call(MODEL_PAID, 900, 0);
        const int64_t late = expect_allowed(gate, &before).hold_id;
        struct event other = a_call(MODEL_PAID, 100, 0);
        set_hash(other.call.thread_hash, 's');
        const int64_t second = expect_allowed(gate, &other).hold_id;
        assert_int_equal(meter_in_window(gate, limit, rows[i].start_ms).held, 1000);
        const struct verdict refused = expect_refused(gate, &before, REASON_COST_HELD);
        assert_int_equal(refused.refusal.resets_at_ms, rows[i].end_ms);

        gate->now_ms = rows[i].end_ms; /* the next window opens empty, calls of the one before still in flight */
        struct event after = a_call(MODEL_PAID, 900, 0);
        const int64_t early = expect_allowed(gate, &after).hold_id;
        assert_int_equal(meter_in_window(gate, limit, rows[i].start_ms).held, 1000);
        assert_int_equal(meter_in_window(gate, limit, rows[i].end_ms).held, 900);

        struct event settle = a_settle(late, 800, 0);
        expect_allowed(gate, &settle);
        assert_int_equal(meter_in_window(gate, limit, rows[i].start_ms).settled, 800);
        assert_int_equal(meter_in_window(gate, limit, rows[i].start_ms).held, 100);
        assert_int_equal(meter_in_window(gate, limit, rows[i].end_ms).settled, 0);
        settle = a_release(second); /* the last one of the old window: it leaves the row, the ledger remembers */
        expect_allowed(gate, &settle);
        assert_int_equal(gate->bank.meters[0].meter_count, 1);
        settle = a_settle(early, 700, 0);
        expect_allowed(gate, &settle);
        assert_int_equal(meter_in_window(gate, limit, rows[i].end_ms).settled, 700);
        gate_end((void **)&gate);
    }
}

static void
zones_have_their_own_midnight(void **state)
{
    struct gate *gate = *state;
    struct zone_span spans[] = { { 0, 2 * 3600 } };
    const struct zone zone = { .name = "test/plus-two", .span_count = 1, .spans = spans };
    struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    day->zone = &zone;
    struct event event = a_call(MODEL_PAID, 100, 0);
    gate->now_ms = MIDNIGHT_MS - 2 * HOUR_MS - 1;
    expect_allowed(gate, &event);
    expect_refused(gate, &event, REASON_COST_HELD);
    gate->now_ms += 1;
    expect_allowed(gate, &event);
}

static void
time_that_goes_back_changes_no_window(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 250);
    struct event event = a_call(MODEL_PAID, 100, 0);
    gate->now_ms = MIDNIGHT_MS;
    expect_allowed(gate, &event);
    gate->now_ms = MIDNIGHT_MS - HOUR_MS; /* back into yesterday */
    expect_allowed(gate, &event);
    expect_refused(gate, &event, REASON_COST_HELD);
    assert_int_equal(meter_of(gate, day).held, 200);
    assert_int_equal(meter_of(gate, day).window_ms, MIDNIGHT_MS);
    assert_int_equal(gate->bank.meters[0].seen_ms, MIDNIGHT_MS);
}

/* --- Buckets. */

static void
a_bucket_admits_at_the_instant_it_names(void **state)
{
    static const struct {
        int64_t rate, period_ms, burst;
    } rows[] = { { 60, MINUTE_MS, 10 }, { 1, SECOND_MS, 1 }, { 7, SECOND_MS, 3 }, { 3, 1000, 1 }, { 1000, SECOND_MS, 2 },
        { 5000, SECOND_MS, 2 }, { 1, DAY_MS, 2 }, { 999983, 31 * DAY_MS, 5 }, { 2, 3, 1 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        add_bucket(gate->policy, "rate", PER_KEY, rows[i].rate, rows[i].period_ms, rows[i].burst);
        struct event event = a_call(MODEL_FREE, 1, 0);
        for (int64_t k = 0; k < rows[i].burst; k++) {
            const struct verdict verdict = expect_allowed(gate, &event); /* the burst, at once */
            struct event settle = a_settle(verdict.hold_id, 1, 0);
            expect_allowed(gate, &settle);
        }
        for (int round = 0; round < 20; round++) {
            const struct verdict verdict = gate_decide(gate, &event);
            if (verdict.kind == VERDICT_ALLOWED) {
                assert_true(rows[i].rate > rows[i].period_ms); /* more than one a millisecond */
                struct event settle = a_settle(verdict.hold_id, 1, 0);
                expect_allowed(gate, &settle);
                continue;
            }
            assert_int_equal(verdict.refusal.reason, REASON_RATE);
            const int64_t wait_ms = verdict.refusal.retry_after_ms;
            assert_true(wait_ms >= 1);
            assert_int_equal(verdict.refusal.resets_at_ms, gate->now_ms + wait_ms);
            gate->now_ms += wait_ms - 1;
            if (wait_ms > 1) {
                const struct verdict early = expect_refused(gate, &event, REASON_RATE);
                assert_int_equal(early.refusal.retry_after_ms, 1);
            }
            gate->now_ms += 1;
            const struct verdict allowed = expect_allowed(gate, &event);
            struct event settle = a_settle(allowed.hold_id, 1, 0);
            expect_allowed(gate, &settle);
        }
        gate_end((void **)&gate);
    }
}

static void
a_bucket_fills_up_to_its_burst_and_no_further(void **state)
{
    struct gate *gate = *state;
    const struct limit *rate = add_bucket(gate->policy, "rate", PER_ACCOUNT, 1, SECOND_MS, 3);
    const struct event event = a_call(MODEL_FREE, 1, 0);
    expect_allowed(gate, &event);
    gate->now_ms += 365 * DAY_MS;
    for (int i = 0; i < 3; i++) {
        expect_allowed(gate, &event);
    }
    assert_int_equal(expect_refused(gate, &event, REASON_RATE).refusal.used, 3);
    assert_int_equal(meter_of(gate, rate).settled, 3000);
    gate->now_ms -= 10 * DAY_MS; /* a clock that steps back drains nothing */
    assert_int_equal(expect_refused(gate, &event, REASON_RATE).refusal.retry_after_ms, 1000);
}

static void
numbers_at_the_end_of_their_range(void **state)
{
    const struct limit limit = { .rate = INT64_C(1000000000), .period_ms = 31 * DAY_MS, .burst = INT64_C(1000000000) };
    const struct meter empty = { 0 };
    assert_int_equal(bucket_level(&limit, &empty, WALL_MS_MAX), 0);
    assert_true(bucket_fits(&limit, limit.burst, 0, limit.burst));
    assert_false(bucket_fits(&limit, limit.burst, 1, limit.burst));
    assert_int_equal(bucket_wait_ms(&limit, limit.burst, MONEY_MICROS_MAX, 1), 0); /* still under its burst */
    assert_int_equal(bucket_wait_ms(&limit, limit.burst, limit.burst * limit.period_ms, 1), 3); /* 2.7 ms, and up */
    assert_int_equal(bucket_wait_ms(&limit, limit.burst, 0, limit.burst + 1), 0);               /* never */
}

/* --- In flight. */

static void
in_flight_is_what_is_open(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 2);
    const struct limit *all = add_limit(gate->policy, "all", COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 3);
    struct event ann = a_call(MODEL_PAID, 1, 0);
    struct event bob = a_call(MODEL_PAID, 1, 0);
    bob.call.account_id = ACCOUNT_B;
    bob.call.key_id = KEY_B;
    const int64_t first = expect_allowed(gate, &ann).hold_id;
    expect_allowed(gate, &ann);
    const struct verdict verdict = expect_refused(gate, &ann, REASON_IN_FLIGHT);
    assert_int_equal(verdict.refusal.held, 2); /* counted once: none of it is ever settled */
    assert_int_equal(verdict.refusal.used, 0);
    assert_int_equal(verdict.refusal.retry_after_ms, 1000);
    expect_allowed(gate, &bob);
    assert_string_equal(expect_refused(gate, &bob, REASON_IN_FLIGHT).refusal.limit_name, "all");
    struct event settle = a_settle(first, 1, 0);
    expect_allowed(gate, &settle);
    assert_int_equal(meter_of(gate, all).held, 2);
    assert_int_equal(meter_of(gate, all).settled, 0);
    expect_allowed(gate, &ann);
    assert_int_equal(meter_of(gate, all).held, 3);
}

static void
a_cap_of_none_in_flight(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "none", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 0);
    const struct event event = a_call(MODEL_FREE, 1, 0);
    assert_int_equal(expect_refused(gate, &event, REASON_IN_FLIGHT).refusal.retry_after_ms, 0); /* never */
}

/* Rows of one batch may have been seen at other times than its own, and limits may be of other zones. */
static void
a_window_found_again_is_the_right_one(void **state)
{
    static struct zone_span spans[] = { { INT64_MIN, 3600 } };
    static const struct zone other = { "other", 1, spans };
    static const enum window_kind kinds[] = { WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_LIFETIME };
    static const int64_t offsets_ms[] = { 0, -1, -HOUR_MS, 1, HOUR_MS, -DAY_MS, 0, 9 * DAY_MS, -1, 0 };
    struct core core = { 0 };
    for (size_t i = 0; i < countof(offsets_ms); i++) {
        for (size_t k = 0; k < 2 * countof(kinds); k++) {
            const struct limit limit = { .window = kinds[k / 2], .zone = k % 2 ? &other : NULL };
            const int64_t at_ms = MIDNIGHT_MS + offsets_ms[i];
            const struct window expected = limit_window(&limit, at_ms);
            for (int again = 0; again < 2; again++) {
                const struct window found = core_window(&core, &limit, at_ms);
                assert_int_equal(found.start_ms, expected.start_ms);
                assert_int_equal(found.end_ms, expected.end_ms);
            }
        }
    }
    /* What was found is not looked for again. */
    const uint32_t looked_up = core.known_window_count;
    const struct limit day = { .window = WINDOW_DAY };
    (void)core_window(&core, &day, MIDNIGHT_MS);
    const uint32_t once = core.known_window_count;
    (void)core_window(&core, &day, MIDNIGHT_MS + HOUR_MS);
    assert_int_equal(core.known_window_count, once);
    assert_true(once <= looked_up + 1);
}

static const struct CMUnitTest tests[] = {
    CASE("a settlement after midnight goes to the window that was charged", settled_after_midnight),
    CASE_WITH("a day begins at midnight of its zone", zones_have_their_own_midnight, gate_make, gate_end),
    CASE_WITH("time that goes back changes no window", time_that_goes_back_changes_no_window, gate_make, gate_end),
    CASE("a window that is found again is the right one", a_window_found_again_is_the_right_one),
    CASE("a bucket admits at the instant it names, and not a millisecond before", a_bucket_admits_at_the_instant_it_names),
    CASE_WITH("a bucket fills up to its burst", a_bucket_fills_up_to_its_burst_and_no_further, gate_make, gate_end),
    CASE("buckets of the largest numbers", numbers_at_the_end_of_their_range),
    CASE_WITH("in flight is what is open", in_flight_is_what_is_open, gate_make, gate_end),
    CASE_WITH("a cap of none in flight admits none, ever", a_cap_of_none_in_flight, gate_make, gate_end),
};
UNIT_MAIN(tests)
