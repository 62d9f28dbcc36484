/* tests/unit/core/windows_test.c
 *
 * Goal: each kind of window admits what its rule says, to the millisecond; what is given back goes to the window
 * that was charged; and the wait that a refusal names is the first instant at which the same call passes.
 * Method: the gate with its clock set by hand. Calendar windows as rows whose instants were worked out by hand;
 * rolling ones beside a log of every charge, which nothing of core/ has a part in. */
#include "gate.h"

#include <string.h>

#include "base/civil.h"
#include "core/core_priv.h"

static int64_t
utc(int year, int month, int day, int hour, int minute)
{
    return civil_to_ms(
        (struct civil){ .year = year, .month = month, .day = day, .hour = hour, .minute = minute });
}

/* A call of one request that costs nothing, begun and ended at once. */
static int64_t
charge(struct gate *gate, const struct event *event)
{
    const int64_t hold_id = expect_allowed(gate, event).hold_id;
    const struct event settle = a_settle(hold_id, 1, 0);
    expect_allowed(gate, &settle);
    return hold_id;
}

/* Not a millisecond before the instant that the refusal names, and at that instant. */
static struct verdict
passes_when_told(struct gate *gate, const struct event *event, const struct verdict *refused)
{
    const int64_t wait_ms = refused->refusal.retry_after_ms;
    assert_true(wait_ms >= 1);
    gate->now_ms += wait_ms - 1;
    if (wait_ms > 1) {
        const struct verdict early = expect_refused(gate, event, refused->refusal.reason);
        assert_int_equal(early.refusal.retry_after_ms, 1);
    }
    gate->now_ms += 1;
    return expect_allowed(gate, event);
}

/* --- Calendars. */

#define H 3600

static void
calendar_windows(void **state)
{
    /* Half an hour is left out in October and comes twice in April. */
    struct zone_span lord_howe_spans[] = { { INT64_MIN, 11 * H }, { utc(2026, 4, 4, 15, 0), 10 * H + H / 2 },
        { utc(2026, 10, 3, 15, 30), 11 * H } };
    /* Its summer begins at midnight: that day begins at one. */
    struct zone_span santiago_spans[] = { { INT64_MIN, -4 * H }, { utc(2026, 9, 6, 4, 0), -3 * H } };
    const struct zone lord_howe = { "Australia/Lord_Howe", 3, lord_howe_spans };
    const struct zone santiago = { "America/Santiago", 2, santiago_spans };
    const struct {
        const struct zone *zone;
        enum window_kind window;
        int64_t start_ms, end_ms;
    } rows[] = {
        { NULL, WINDOW_DAY, utc(2026, 9, 30, 0, 0), utc(2026, 10, 1, 0, 0) },
        { NULL, WINDOW_DAY, utc(2028, 2, 29, 0, 0), utc(2028, 3, 1, 0, 0) },
        { NULL, WINDOW_MONTH, utc(2028, 2, 1, 0, 0), utc(2028, 3, 1, 0, 0) }, /* 29 days */
        { NULL, WINDOW_MONTH, utc(2026, 12, 1, 0, 0), utc(2027, 1, 1, 0, 0) },
        { NULL, WINDOW_WEEK, utc(2026, 12, 28, 0, 0), utc(2027, 1, 4, 0, 0) }, /* over New Year */
        { &lord_howe, WINDOW_DAY, utc(2026, 10, 3, 13, 30), utc(2026, 10, 4, 13, 0) }, /* 23.5 hours */
        { &lord_howe, WINDOW_DAY, utc(2026, 4, 4, 13, 0), utc(2026, 4, 5, 13, 30) },   /* 24.5 hours */
        { &lord_howe, WINDOW_WEEK, utc(2026, 9, 27, 13, 30), utc(2026, 10, 4, 13, 0) },
        { &santiago, WINDOW_DAY, utc(2026, 9, 5, 4, 0), utc(2026, 9, 6, 4, 0) },
        { &santiago, WINDOW_DAY, utc(2026, 9, 6, 4, 0), utc(2026, 9, 7, 3, 0) }, /* 23 hours, from one o'clock */
        { &santiago, WINDOW_MONTH, utc(2026, 9, 1, 4, 0), utc(2026, 10, 1, 3, 0) },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit =
            add_limit(gate->policy, "calls", COUNT_REQUESTS, PER_ACCOUNT, rows[i].window, 2);
        limit->zone = rows[i].zone;
        const struct event event = a_call(MODEL_FREE, 1, 0);
        gate->now_ms = rows[i].start_ms - 1;
        const int64_t before = expect_allowed(gate, &event).hold_id; /* open beyond the end of its window */
        charge(gate, &event);
        const struct verdict last = expect_refused(gate, &event, REASON_RATE);
        assert_int_equal(last.refusal.resets_at_ms, rows[i].start_ms);

        gate->now_ms = rows[i].start_ms;
        charge(gate, &event);
        const struct event release = a_release(before); /* back to where it was charged */
        expect_allowed(gate, &release);
        assert_int_equal(meter_in_window(gate, limit, rows[i].start_ms).settled, 1);
        gate->now_ms = rows[i].end_ms - 1;
        charge(gate, &event);
        const struct verdict refused = expect_refused(gate, &event, REASON_RATE);
        assert_int_equal(refused.refusal.used, 2);
        assert_int_equal(refused.refusal.retry_after_ms, 1);
        assert_int_equal(refused.refusal.resets_at_ms, rows[i].end_ms);
        passes_when_told(gate, &event, &refused);
        assert_int_equal(meter_in_window(gate, limit, rows[i].end_ms).held, 1);
        gate_end((void **)&gate);
    }
}

static void
a_lifetime_never_ends(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "calls", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_LIFETIME, 2);
    const struct event event = a_call(MODEL_FREE, 1, 0);
    charge(gate, &event);
    gate->now_ms += 3650 * DAY_MS;
    charge(gate, &event);
    gate->now_ms += 3650 * DAY_MS;
    const struct verdict refused = expect_refused(gate, &event, REASON_RATE);
    assert_int_equal(refused.refusal.retry_after_ms, 0);
    assert_int_equal(refused.refusal.resets_at_ms, 0);
}

/* --- Rolling windows, beside a log. */

#define LOG_MAX 4096
struct log {
    int count;
    struct {
        int64_t at_ms, hold_id;
        bool open;
    } rows[LOG_MAX];
};

/* Charges that are younger than the window. */
static int
log_used(const struct log *log, int64_t span_ms, int64_t now_ms)
{
    int used = 0;
    for (int i = 0; i < log->count; i++) {
        used += now_ms - log->rows[i].at_ms < span_ms;
    }
    return used;
}

static uint64_t
draw(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % below;
}

static void
log_charge(struct gate *gate, struct log *log, int64_t hold_id, uint64_t *seed)
{
    const bool stays_open = draw(seed, 4) == 0;
    assert_true(log->count < LOG_MAX);
    log->rows[log->count].at_ms = gate->now_ms;
    log->rows[log->count].hold_id = hold_id;
    log->rows[log->count++].open = stays_open;
    if (!stays_open) {
        const struct event settle = a_settle(hold_id, 1, 0);
        expect_allowed(gate, &settle);
    }
}

/* An open call ends: it was made, or nothing of it left, and then it was never charged. */
static void
log_end_one(struct gate *gate, struct log *log, uint64_t *seed)
{
    for (int i = 0; i < log->count; i++) {
        if (log->rows[i].open && draw(seed, 3) == 0) {
            const bool gives_back = draw(seed, 2) == 0;
            const struct event end = gives_back ? a_release(log->rows[i].hold_id)
                                                : a_settle(log->rows[i].hold_id, 1, 0);
            expect_allowed(gate, &end);
            log->rows[i].open = false;
            if (gives_back) {
                log->rows[i] = log->rows[--log->count];
            }
            return;
        }
    }
}

static void
rolling_walk(int64_t span_ms, int cap, int64_t gap_ms, uint64_t seed)
{
    static struct log log;
    struct gate *gate = NULL;
    const bool exact = cap <= ROLLING_METERS_MAX;
    int refusals = 0;
    gate_make((void **)&gate);
    struct limit *limit =
        add_limit(gate->policy, "calls", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_ROLLING, cap);
    limit->span_ms = span_ms;
    log.count = 0;
    const struct event event = a_call(MODEL_FREE, 1, 0);
    for (int step = 0; step < 500; step++) {
        gate->now_ms += (int64_t)draw(&seed, (uint64_t)gap_ms);
        if (draw(&seed, 5) == 0) {
            log_end_one(gate, &log, &seed);
        }
        const int used = log_used(&log, span_ms, gate->now_ms);
        struct verdict verdict = gate_decide(gate, &event);
        assert_true(verdict.kind != VERDICT_ALLOWED || used < cap); /* never more than the log */
        if (exact) {
            assert_int_equal(verdict.kind == VERDICT_ALLOWED, used < cap);
        }
        if (verdict.kind != VERDICT_ALLOWED) {
            refusals++;
            assert_true(verdict.refusal.used >= used);
            assert_int_equal(verdict.refusal.span_ms, span_ms);
            verdict = passes_when_told(gate, &event, &verdict);
            assert_true(log_used(&log, span_ms, gate->now_ms) < cap);
        }
        log_charge(gate, &log, verdict.hold_id, &seed);
        assert_true(gate->bank.meters[0].meter_count <= ROLLING_METERS_MAX + 1);
    }
    assert_true(refusals > (exact ? 20 : 2));
    gate_end((void **)&gate);
}

static void
rolling_windows_beside_a_log(void **state)
{
    static const struct {
        int64_t span_ms;
        int cap;
        int64_t gap_ms;
    } rows[] = {
        { 20 * HOUR_MS, 5, 4 * HOUR_MS },
        { 5 * HOUR_MS, ROLLING_METERS_MAX, 20 * MINUTE_MS }, /* each charge has a meter of its own */
        { MINUTE_MS, 7, 5 * SECOND_MS },
        { SECOND_MS, 3, 300 },
        { 5 * HOUR_MS, 60, 4 * MINUTE_MS }, /* neighbours count as one */
        { MINUTE_MS, 200, 200 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            rolling_walk(rows[i].span_ms, rows[i].cap, rows[i].gap_ms, seed);
        }
    }
}

static void
rolling_money_is_what_it_cost(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_ROLLING, 1000);
    limit->span_ms = 5 * HOUR_MS;
    const struct event event = a_call(MODEL_PAID, 400, 0);
    const int64_t first = expect_allowed(gate, &event).hold_id;
    gate->now_ms += HOUR_MS;
    const int64_t second = expect_allowed(gate, &event).hold_id;
    expect_refused(gate, &event, REASON_COST_HELD);
    gate->now_ms += HOUR_MS;
    struct event settle = a_settle(first, 700, 0); /* dearer: it counts from when it was charged */
    expect_allowed(gate, &settle);
    settle = a_settle(second, 300, 0);
    expect_allowed(gate, &settle);
    const struct verdict refused = expect_refused(gate, &event, REASON_COST_SPENT);
    assert_int_equal(refused.refusal.used, 1000);
    assert_int_equal(refused.refusal.retry_after_ms, 3 * HOUR_MS);
    assert_int_equal(refused.refusal.resets_at_ms, gate->now_ms + 3 * HOUR_MS);
    passes_when_told(gate, &event, &refused);
}

/* --- From first use. */

static void
a_window_begins_with_its_first_call(void **state)
{
    struct gate *gate = *state;
    struct limit *limit =
        add_limit(gate->policy, "calls", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_FIRST_USE, 2);
    limit->span_ms = 5 * HOUR_MS;
    const struct event event = a_call(MODEL_FREE, 1, 0);
    const int64_t start_ms = gate->now_ms;
    const int64_t first = expect_allowed(gate, &event).hold_id;
    gate->now_ms += 4 * HOUR_MS;
    charge(gate, &event);
    const struct verdict refused = expect_refused(gate, &event, REASON_RATE);
    assert_int_equal(refused.refusal.retry_after_ms, HOUR_MS);
    assert_int_equal(refused.refusal.resets_at_ms, start_ms + 5 * HOUR_MS);
    passes_when_told(gate, &event, &refused); /* and begins the next one */
    assert_int_equal(meter_of(gate, limit).window_ms, start_ms + 5 * HOUR_MS);
    const struct event release = a_release(first); /* to the window that is over: it leaves the row */
    expect_allowed(gate, &release);
    assert_int_equal(meter_of(gate, limit).held, 1);
    assert_int_equal(gate->bank.meters[0].meter_count, 1);

    gate->now_ms += 100 * HOUR_MS; /* an idle time begins nothing */
    charge(gate, &event);
    assert_int_equal(meter_of(gate, limit).window_ms, start_ms + 105 * HOUR_MS);
}

/* --- Buckets of all that adds up. */

static void
buckets_refill_to_the_millisecond(void **state)
{
    static const struct {
        enum count_kind counts;
        int64_t rate, period_ms, burst, units; /* of one call */
        enum reason reason;
    } rows[] = {
        { COUNT_REQUESTS, 60, MINUTE_MS, 10, 1, REASON_RATE },
        { COUNT_REQUESTS, 7, SECOND_MS, 3, 1, REASON_RATE },
        { COUNT_TOKENS, 90000, MINUTE_MS, 5000, 1000, REASON_TOKENS_SPENT },
        { COUNT_TOKENS, 1000, DAY_MS, 999, 333, REASON_TOKENS_SPENT },
        { COUNT_COST, 5000000, HOUR_MS, 1000, 700, REASON_COST_SPENT },
        { COUNT_COST, 1, SECOND_MS, 900, 450, REASON_COST_SPENT },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit = add_bucket(
            gate->policy, "rate", PER_KEY, rows[i].rate, rows[i].period_ms, rows[i].burst);
        limit->counts = rows[i].counts;
        const struct event event = a_call(MODEL_PAID, rows[i].units, 0);
        for (int64_t used = 0; used + rows[i].units <= rows[i].burst; used += rows[i].units) {
            const struct event settle =
                a_settle(expect_allowed(gate, &event).hold_id, rows[i].units, 0);
            expect_allowed(gate, &settle);
        }
        for (int round = 0; round < 10; round++) {
            const struct verdict refused = expect_refused(gate, &event, rows[i].reason);
            assert_int_equal(
                refused.refusal.resets_at_ms, gate->now_ms + refused.refusal.retry_after_ms);
            const int64_t hold_id = passes_when_told(gate, &event, &refused).hold_id;
            const struct event settle = a_settle(hold_id, rows[i].units, 0);
            expect_allowed(gate, &settle);
        }
        gate_end((void **)&gate);
    }
}

/* --- Time. */

static void
time_never_goes_back(void **state)
{
    static const enum window_kind windows[] = { WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_ROLLING,
        WINDOW_FIRST_USE };
    for (size_t i = 0; i < countof(windows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit =
            add_limit(gate->policy, "calls", COUNT_REQUESTS, PER_ACCOUNT, windows[i], 2);
        limit->span_ms = windows[i] >= WINDOW_ROLLING ? 5 * HOUR_MS : 0;
        const struct event event = a_call(MODEL_FREE, 1, 0);
        gate->now_ms = utc(2026, 6, 1, 0, 0); /* a Monday, and the first of a month */
        charge(gate, &event);
        const struct meter meter = meter_of(gate, limit);
        gate->now_ms -= 40 * DAY_MS;
        charge(gate, &event); /* counted where the clock had been */
        assert_int_equal(meter_of(gate, limit).window_ms, meter.window_ms);
        assert_int_equal(meter_of(gate, limit).settled, 2);
        expect_refused(gate, &event, REASON_RATE);
        gate_end((void **)&gate);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("days, weeks and months of zones begin and end at their instants", calendar_windows),
    CASE_WITH("a lifetime never ends", a_lifetime_never_ends, gate_make, gate_end),
    CASE("rolling windows admit what a log of every charge would, and never more", rolling_windows_beside_a_log),
    CASE_WITH("a rolling window of money counts what calls cost, from when they were charged",
        rolling_money_is_what_it_cost, gate_make, gate_end),
    CASE_WITH("a window from first use begins with its first call", a_window_begins_with_its_first_call, gate_make, gate_end),
    CASE("buckets of requests, tokens and money refill to the millisecond", buckets_refill_to_the_millisecond),
    CASE("time that goes back opens no window", time_never_goes_back),
};
UNIT_MAIN(tests)
