/* tests/unit/core/call_test.c
 *
 * Goal: a call starts exactly when every limit has room for it; what it may not have it is told truly; a
 * refusal changes nothing (gate.c compares the whole working set), an allowed call changes all or nothing.
 * Method: tables over a policy made by hand. "paid" costs 1 micro a token of input, 2 a token of output. */
#include "gate.h"

#include <string.h>

/* --- Money: fits, or does not, to the micro. */

static void
fits_to_the_micro(void **state)
{
    /* Input 100, no output limit: what must fit is 100 + 2 x 50 (min_answer) = 200. */
    static const struct {
        int64_t cap, settled, held;
        enum reason reason;
        int64_t retry_ms;
    } rows[] = {
        /* cap  settled held  reason        retry */
        { 200,      0,    0, REASON_OK, 0 },                        /* exactly */
        { 199,      0,    0, REASON_COST_SPENT, 0 },                /* never: no window has room for it */
        { 1000,   800,    0, REASON_OK, 0 },                        /* the last of it */
        { 1000,   801,    0, REASON_COST_SPENT, 12 * HOUR_MS },     /* one micro too many, until midnight */
        { 1000,     0,  800, REASON_OK, 0 },
        { 1000,     0,  801, REASON_COST_HELD, 1000 },              /* others may give it back */
        { 1000,   800,  801, REASON_COST_HELD, 1000 },              /* it would fit were they gone */
        { 1000,   801,    1, REASON_COST_SPENT, 12 * HOUR_MS },     /* it would not */
        { 0,        0,    0, REASON_COST_SPENT, 0 },
        { 1000,  1200,    0, REASON_COST_SPENT, 12 * HOUR_MS },     /* a debt */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
        /* Bring the meter to where the row wants it, by calls under a wide cap. */
        struct event event = a_call(MODEL_PAID, 1, 0);
        if (rows[i].settled) {
            event = a_call(MODEL_PAID, rows[i].settled, 0);
            const struct verdict verdict = expect_allowed(gate, &event);
            event = a_settle(verdict.hold_id, rows[i].settled, 0);
            expect_allowed(gate, &event);
        }
        if (rows[i].held) {
            event = a_call(MODEL_PAID, rows[i].held, 0);
            set_hash(event.call.thread_hash, 'h'); /* what a thread used before is its next estimate */
            expect_allowed(gate, &event);
        }
        assert_int_equal(meter_of(gate, day).settled, rows[i].settled);
        assert_int_equal(meter_of(gate, day).held, rows[i].held);
        day->cap_default = rows[i].cap;

        event = a_call(MODEL_PAID, 100, -1);
        set_hash(event.call.thread_hash, 'x');
        const struct verdict verdict = gate_decide(gate, &event);
        const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
        assert_string_equal(reason_row(reason)->code, reason_row(rows[i].reason)->code);
        assert_int_equal(verdict.kind == VERDICT_WAIT, rows[i].reason == REASON_COST_HELD);
        assert_int_equal(verdict.refusal.retry_after_ms, rows[i].retry_ms);
        if (reason != REASON_OK) {
            assert_int_equal(verdict.refusal.used, rows[i].settled);
            assert_int_equal(verdict.refusal.held, rows[i].held);
            assert_int_equal(verdict.refusal.cap, rows[i].cap);
            assert_int_equal(verdict.refusal.ask, 200);
            assert_string_equal(verdict.refusal.limit_name, "day");
            assert_int_equal(verdict.refusal.limit_id, day->limit_id);
        }
        gate_end((void **)&gate);
    }
}

static void
output_is_lowered(void **state)
{
    static const struct {
        const char *why;
        enum model_of_test model;
        bool stream;
        int64_t cap, output_limit, floor, answers;
        bool allowed;
        int64_t lowered_to, held_output; /* lowered_to -1: the request stays as it is */
        int64_t allowed_output;
    } rows[] = {
        { "room for all of it", MODEL_PAID, true, 100000, 1000, 0, 1, true, -1, 200, 100 },
        { "its bound fits to the micro", MODEL_PAID, true, 2100, 1000, 0, 1, true, -1, 200, 100 },
        { "a micro less", MODEL_PAID, true, 2099, 1000, 0, 1, true, 999, 200, 100 },
        { "no limit in the request", MODEL_PAID, true, 1100, -1, 0, 1, true, 500, 200, 100 },
        { "room for less than the first slice", MODEL_PAID, true, 400, -1, 0, 1, true, 150, 150, INT64_MAX },
        { "min_answer is the floor", MODEL_PAID, true, 200, -1, 0, 1, true, 50, 50, INT64_MAX },
        { "under min_answer", MODEL_PAID, true, 199, -1, 0, 1, false, 0, 0, 0 },
        { "the client wants less than min_answer", MODEL_PAID, true, 120, 10, 0, 1, true, -1, 10, INT64_MAX },
        { "the thinking budget is a floor", MODEL_PAID, true, 1101, -1, 501, 1, false, 0, 0, 0 },
        { "and fits", MODEL_PAID, true, 1102, -1, 501, 1, true, 501, 200, 100 },
        { "not streamed: all of it is held", MODEL_PAID, false, 1100, 1000, 0, 1, true, 500, 500, INT64_MAX },
        { "hidden reasoning: all of it is held", MODEL_HIDDEN, true, 1100, 1000, 0, 1, true, 500, 500, INT64_MAX },
        { "two answers", MODEL_PAID, true, 1103, 1000, 0, 2, true, 250, 400, 200 },
        { "two answers need two floors", MODEL_PAID, true, 299, 1000, 0, 2, false, 0, 0, 0 },
        { "a limit beyond the model's", MODEL_PAID, true, 100000, 90000, 0, 1, true, -1, 200, 100 },
        { "answers beyond all reason", MODEL_PAID, true, 100000, 90000, 0, INT64_MAX, false, 0, 0, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap);
        struct event event = a_call(rows[i].model, 100, rows[i].output_limit);
        event.call.stream = rows[i].stream;
        event.call.output_floor = rows[i].floor;
        event.call.output_count = rows[i].answers;
        const struct verdict verdict = gate_decide(gate, &event);
        if ((verdict.kind == VERDICT_ALLOWED) != rows[i].allowed) {
            fail_msg("%s: %s", rows[i].why, reason_row(verdict.refusal.reason)->code);
        }
        if (rows[i].allowed) {
            const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
            if (verdict.output_limit != rows[i].lowered_to || hold->held_output != rows[i].held_output
                || verdict.output_allowed != rows[i].allowed_output) {
                fail_msg("%s: lowered to %lld, held %lld, allowed %lld", rows[i].why, (long long)verdict.output_limit,
                    (long long)hold->held_output, (long long)verdict.output_allowed);
            }
            assert_int_equal(verdict.output_lowered, rows[i].lowered_to >= 0);
            assert_int_equal(hold->held_micros, 100 + 2 * hold->held_output);
            assert_int_equal(hold->bound_micros, 100 + 2 * hold->bound_output);
            assert_true(hold->bound_micros <= rows[i].cap);
            assert_int_equal(meter_of(gate, day).held, hold->held_micros);
            assert_int_equal(meter_of(gate, day).bound, hold->bound_micros);
        }
        gate_end((void **)&gate);
    }
}

/* A cap that was passed: 900 were spent under one of 1000, which is 500 now. */
static struct limit *
add_overdrawn(struct gate *gate)
{
    struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    struct event event = a_call(MODEL_PAID, 900, 0);
    set_hash(event.call.thread_hash, 'o');
    event = a_settle(expect_allowed(gate, &event).hold_id, 900, 0);
    expect_allowed(gate, &event);
    day->cap_default = 500;
    return day;
}

static void
free_passes_a_spent_limit(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_overdrawn(gate);
    struct event event = a_call(MODEL_FREE, 100, -1);
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.output_limit, -1);
    assert_int_equal(bank_hold(gate, verdict.hold_id)->bound_output, MAX_OUTPUT);
    event = a_settle(verdict.hold_id, 100, 50);
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 0);
    assert_int_equal(meter_of(gate, day).settled, 900);
    event = a_call(MODEL_PAID, 1, -1);
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
unpriced_as_configured(void **state)
{
    static const struct {
        enum unpriced_rule rule;
        bool under_cost_limit, spent, allowed;
    } rows[] = {
        { UNPRICED_REFUSE_UNDER_COST_LIMITS, false, false, true },
        { UNPRICED_REFUSE_UNDER_COST_LIMITS, true, false, false },
        { UNPRICED_ALLOW, false, false, true },
        { UNPRICED_ALLOW, true, false, true },
        { UNPRICED_ALLOW, true, true, true },
        { UNPRICED_REFUSE, false, false, false },
        { UNPRICED_REFUSE, true, false, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->unpriced = rows[i].rule;
        add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5);
        if (rows[i].spent) {
            add_overdrawn(gate);
        } else if (rows[i].under_cost_limit) {
            add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
        }
        struct event event = a_call(MODEL_UNPRICED, 100, -1);
        if (rows[i].allowed) {
            assert_int_equal(expect_allowed(gate, &event).output_limit, -1);
        } else {
            expect_refused(gate, &event, REASON_UNPRICED);
        }
        gate_end((void **)&gate);
    }
}

static void
a_cost_limit_for_another_plan_is_none(void **state)
{
    struct gate *gate = *state;
    struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, CAP_UNLIMITED);
    struct plan_cap caps[] = { { "pro", 100 } };
    day->plan_caps = caps;
    day->plan_cap_count = 1;
    struct event event = a_call(MODEL_UNPRICED, 100, -1);
    const struct verdict verdict = expect_allowed(gate, &event); /* ann is on plan free: nothing limits her */
    const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
    assert_int_equal(hold->part_count, 1); /* it counts all the same, for the day somebody sets her a cap */
    assert_false(hold->parts[0].enforced);
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    expect_refused(gate, &event, REASON_UNPRICED);
}

/* --- Several limits at once. */

static void
all_parts_or_none(void **state)
{
    struct gate *gate = *state;
    const struct limit *rate = add_bucket(gate->policy, "rate", PER_KEY, 1, SECOND_MS, 10);
    const struct limit *parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 1);
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    const struct limit *month = add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 6000);
    const struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 7000);
    struct event event = a_call(MODEL_PAID, 100, 100);
    const struct verdict verdict = expect_allowed(gate, &event);
    const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
    assert_int_equal(hold->part_count, 5);
    const struct limit *order[] = { tree, day, month, rate, parallel }; /* of the checks, not of the file */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hold->parts[i].limit_id, order[i]->limit_id);
        assert_int_equal(hold->parts[i].held, order[i]->counts == COUNT_COST ? 300 : 1);
        assert_int_equal(meter_of(gate, order[i]).held, order[i] == rate ? 0 : hold->parts[i].held);
    }
    /* Two limits of one subject share one subject row. */
    assert_int_equal(hold->parts[1].subject_id, hold->parts[2].subject_id);
    assert_int_equal(gate->bank.subject_count, 4);
    /* The last of them refuses: none is charged. */
    expect_refused(gate, &event, REASON_IN_FLIGHT);
    assert_int_equal(meter_of(gate, day).held, 300);
    assert_int_equal(meter_of(gate, rate).settled, SECOND_MS);
}

static void
the_first_refusal_is_told(void **state)
{
    static const struct {
        const char *why;
        int64_t tree, day, month; /* caps */
        bool rate_full, parallel_full;
        bool hold_all;            /* the caps are held, not spent */
        enum reason reason;
        const char *limit;
    } rows[] = {
        { "tree before day", 0, 0, 9999, true, true, false, REASON_COST_SPENT, "tree" },
        { "day before month", 9999, 0, 0, true, true, false, REASON_COST_SPENT, "day" },
        { "money before the rest", 9999, 9999, 0, true, true, false, REASON_COST_SPENT, "month" },
        { "configuration order: parallel stands before rate", 9999, 9999, 9999, true, true, false, REASON_IN_FLIGHT, "parallel" },
        { "only the rate", 9999, 9999, 9999, true, false, false, REASON_RATE, "rate" },
        { "spent before held, though later: waiting is in vain", 1500, 9999, 0, false, false, true, REASON_COST_SPENT, "month" },
        { "held before the rate", 1500, 9999, 9999, true, false, true, REASON_COST_HELD, "tree" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 99);
        struct limit *rate = add_bucket(gate->policy, "rate", PER_ACCOUNT, 1, DAY_MS, rows[i].rate_full ? 1 : 99);
        struct limit *month = add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 9999);
        struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 9999);
        struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 9999);
        (void)rate;
        struct event event = a_call(MODEL_PAID, 1000, 200); /* holds 1400 */
        expect_allowed(gate, &event);
        month->cap_default = rows[i].month;
        tree->cap_default = rows[i].tree;
        day->cap_default = rows[i].day;
        parallel->cap_default = rows[i].parallel_full ? 1 : 99;
        if (strcmp(rows[i].limit, "day") == 0) { /* of two that refuse, the order is the configuration's */
            *month = (struct limit){ .name = "day", .limit_id = month->limit_id, .counts = COUNT_COST, .per = PER_ACCOUNT,
                .window = WINDOW_DAY, .of_tier = -1 };
            *day = (struct limit){ .name = "month", .limit_id = day->limit_id, .counts = COUNT_COST, .per = PER_ACCOUNT,
                .window = WINDOW_MONTH, .of_tier = -1 };
        }
        const struct verdict verdict = expect_refused(gate, &event, rows[i].reason);
        if (strcmp(verdict.refusal.limit_name, rows[i].limit) != 0) {
            fail_msg("%s: %s", rows[i].why, verdict.refusal.limit_name);
        }
        gate_end((void **)&gate);
    }
}

static void
only_limits_that_name_the_model(void **state)
{
    struct gate *gate = *state;
    struct limit *other = add_limit(gate->policy, "other", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 0);
    other->of_model = "dear";
    struct limit *premium = add_limit(gate->policy, "premium", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 0);
    premium->of_tier = TIER_PREMIUM;
    struct event event = a_call(MODEL_PAID, 100, -1);
    expect_allowed(gate, &event);
    other->of_model = "paid";
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
others_wait_first(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    struct event event = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &event);
    gate->others_wait = true;
    const struct verdict verdict = expect_refused(gate, &event, REASON_COST_HELD);
    assert_int_equal(verdict.kind, VERDICT_WAIT);
    assert_int_equal(verdict.refusal.limit_id, day->limit_id);
    assert_true(verdict.refusal.subject_id > 0);
    event = a_call(MODEL_FREE, 100, 100); /* what costs nothing takes nobody's room */
    expect_allowed(gate, &event);
    event = a_call(MODEL_PAID, 5000, 100);
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
nobody_waits_where_waiting_is_off(void **state)
{
    struct gate *gate = *state;
    gate->policy->held_wait_ms = 0;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 300);
    struct event event = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &event);
    assert_int_equal(expect_refused(gate, &event, REASON_COST_HELD).kind, VERDICT_REFUSED);
}

/* Who can be counted does not wait, and changes nothing, before that is done; nor is anybody asked to count twice. */
static void
what_can_be_counted_is_counted_first(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 600);
    struct event event = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &event);
    event = a_call(MODEL_PAID, 250, 100);
    assert_int_equal(expect_refused(gate, &event, REASON_COST_HELD).kind, VERDICT_WAIT);
    event.call.can_count = true;
    struct verdict verdict = expect_refused(gate, &event, REASON_COST_HELD);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_true(verdict.may_count);
    event.call.input_counted = 240; /* a little better, and not enough */
    verdict = expect_refused(gate, &event, REASON_COST_HELD);
    assert_int_equal(verdict.kind, VERDICT_WAIT);
    assert_false(verdict.may_count);
    event.call.input_counted = 90;
    expect_allowed(gate, &event);
}

/* How long somebody waits for a call in flight to end is what the queue says: nobody knows when that is. */
static void
calls_in_flight_are_waited_for_as_long_as_the_queue_says(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "one", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 1);
    struct event event = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &event);
    assert_int_equal(expect_refused(gate, &event, REASON_IN_FLIGHT).kind, VERDICT_REFUSED);
    limit->at_cap = AT_CAP_QUEUE;
    limit->queue_ms = 20; /* less than clients are told to wait */
    const struct verdict verdict = expect_refused(gate, &event, REASON_IN_FLIGHT);
    assert_int_equal(verdict.kind, VERDICT_WAIT);
    assert_int_equal(verdict.wait_ms, 20);
}

/* --- Routes. */

static void
first_route_that_fits(void **state)
{
    static const struct {
        const char *why;
        int64_t cap, other_held;
        uint32_t closed;
        int64_t opens_in_ms;
        enum reason reason;
        int32_t route;
        bool failing;
    } rows[] = {
        { "the first", 100000, 0, 0, 0, REASON_OK, 0 },
        { "the first is too dear", 500, 0, 0, 0, REASON_OK, 1 },
        { "the first is closed", 100000, 0, 1, 0, REASON_OK, 1 },
        { "both too dear: the first is told", 100, 0, 0, 0, REASON_COST_SPENT, 0 },
        { "waiting helps the second", 500, 400, 0, 0, REASON_COST_HELD, 0 },
        { "all closed for a while", 100000, 0, 3, 5000, REASON_ROUTES_COOLING, 0 },
        { "all closed for a while, since they fail", 100000, 0, 3, 5000, REASON_ROUTES_FAILING, 0, true },
        { "all closed for long", 100000, 0, 3, 61000, REASON_ROUTES_EXHAUSTED, 0 },
        { "all closed, nobody knows for how long", 100000, 0, 3, 0, REASON_ROUTES_EXHAUSTED, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap);
        struct event event = a_call(MODEL_PAID, rows[i].other_held, 0);
        if (rows[i].other_held) {
            expect_allowed(gate, &event);
        }
        event = a_call(MODEL_TWO, 100, -1);
        event.call.routes_closed = rows[i].closed;
        event.call.routes_failing = rows[i].failing;
        event.call.routes_open_ms = rows[i].opens_in_ms ? gate->now_ms + rows[i].opens_in_ms : 0;
        const struct verdict verdict = gate_decide(gate, &event);
        const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
        if (reason != rows[i].reason) {
            fail_msg("%s: %s", rows[i].why, reason_row(reason)->code);
        }
        if (reason == REASON_OK) {
            assert_int_equal(verdict.route_index, rows[i].route);
            const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
            assert_int_equal(hold->held_micros, (100 + 2 * hold->held_output) * (rows[i].route == 0 ? 10 : 1));
            assert_int_equal(hold->on_abort, rows[i].route == 0 ? ON_ABORT_BILLS_ALL : ON_ABORT_STOPS);
        } else if (rows[i].opens_in_ms) {
            assert_int_equal(verdict.refusal.retry_after_ms, rows[i].opens_in_ms);
        }
        gate_end((void **)&gate);
    }
}

/* --- Identity. */

static void
who_may_call(void **state)
{
    static const struct {
        const char *why;
        int64_t account, key;
        int64_t expires_in_ms; /* of the key; 0 = never */
        bool revoked, banned, owner_banned;
        enum key_role role;
        enum reason reason;
    } rows[] = {
        { "a user", ACCOUNT, KEY, 0, false, false, false, ROLE_USER, REASON_OK },
        { "an admin", ACCOUNT, KEY, 0, false, false, false, ROLE_ADMIN, REASON_OK },
        { "an observer", ACCOUNT, KEY, 0, false, false, false, ROLE_OBSERVER, REASON_KEY_ROLE },
        { "expires later", ACCOUNT, KEY, 1, false, false, false, ROLE_USER, REASON_OK },
        { "expires now", ACCOUNT, KEY, -1, false, false, false, ROLE_USER, REASON_KEY_EXPIRED },
        { "revoked", ACCOUNT, KEY, 0, true, false, false, ROLE_USER, REASON_KEY_REVOKED },
        { "revoked before expired", ACCOUNT, KEY, -1, true, false, false, ROLE_USER, REASON_KEY_REVOKED },
        { "banned", ACCOUNT, KEY, 0, false, true, false, ROLE_USER, REASON_ACCOUNT_BANNED },
        { "key before account", ACCOUNT, KEY, 0, true, true, false, ROLE_USER, REASON_KEY_REVOKED },
        { "no such key", ACCOUNT, 999, 0, false, false, false, ROLE_USER, REASON_KEY_INVALID },
        { "no such account", 999, KEY, 0, false, false, false, ROLE_USER, REASON_KEY_INVALID },
        { "somebody else's key", ACCOUNT_B, KEY, 0, false, false, false, ROLE_USER, REASON_KEY_ROLE },
        { "a service key for a stranger", ACCOUNT_B, KEY_ACTS, 0, false, false, false, ROLE_SERVICE, REASON_KEY_ROLE },
        { "a service key for its end user", 13, KEY_ACTS, 0, false, false, false, ROLE_SERVICE, REASON_OK },
        { "its end user is banned", 13, KEY_ACTS, 0, false, true, false, ROLE_SERVICE, REASON_ACCOUNT_BANNED },
        { "its owner is banned", 13, KEY_ACTS, 0, false, false, true, ROLE_SERVICE, REASON_ACCOUNT_BANNED },
        { "it is no service key any more", 13, KEY_ACTS, 0, false, false, false, ROLE_USER, REASON_KEY_ROLE },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->bank.accounts[gate->bank.account_count] =
            (struct account_row){ .account_id = 13, .name = "user-carol", .plan = "free", .created_ms = 1, .version = 1 };
        gate->bank.account_count++;
        struct key_row *key = bank_key(gate, rows[i].key);
        if (key) {
            key->role = rows[i].role;
            key->revoked = rows[i].revoked;
            key->expires_ms = rows[i].expires_in_ms > 0   ? gate->now_ms + 1
                              : rows[i].expires_in_ms < 0 ? gate->now_ms
                                                          : 0;
        }
        struct account_row *account = bank_account(gate, rows[i].account);
        if (account) {
            account->state = rows[i].banned ? ACCOUNT_BANNED : ACCOUNT_OK;
        }
        if (rows[i].owner_banned) {
            bank_account(gate, ACCOUNT)->state = ACCOUNT_BANNED;
        }
        struct event event = a_call(MODEL_PAID, 100, -1);
        event.call.account_id = rows[i].account;
        event.call.key_id = rows[i].key;
        for (int api = 0; api < 2; api++) { /* counting tokens needs a credential as well */
            event.call.api = api ? API_COUNT_TOKENS : API_MESSAGES;
            const struct verdict verdict = gate_decide(gate, &event);
            const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
            if (reason != rows[i].reason) {
                fail_msg("%s: %s", rows[i].why, reason_row(reason)->code);
            }
        }
        gate_end((void **)&gate);
    }
}

static void
a_key_is_one_key_for_all_it_acts_for(void **state)
{
    struct gate *gate = *state;
    const struct limit *parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 2);
    for (int64_t id = 13; id <= 15; id++) {
        struct account_row *row = &gate->bank.accounts[gate->bank.account_count++];
        *row = (struct account_row){ .account_id = id, .plan = "free", .created_ms = 1, .version = 1 };
        snprintf(row->name, sizeof row->name, "user-%d", (int)id);
    }
    struct event event = a_call(MODEL_PAID, 100, -1);
    event.call.key_id = KEY_ACTS;
    event.call.account_id = 13;
    expect_allowed(gate, &event);
    event.call.account_id = 14;
    expect_allowed(gate, &event);
    event.call.account_id = 15;
    expect_refused(gate, &event, REASON_IN_FLIGHT);
    assert_int_equal(meter_of(gate, parallel).held, 2);
    event.call.account_id = ACCOUNT; /* its own account has another key */
    event.call.key_id = KEY;
    expect_allowed(gate, &event);
}

static void
counting_tokens_is_free(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 0);
    add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 0);
    struct event event = a_call(MODEL_TWO, 100, -1);
    event.call.api = API_COUNT_TOKENS;
    event.call.routes_closed = 1;
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.hold_id, 0);
    assert_int_equal(verdict.route_index, 1);
    assert_int_equal(gate->bank.hold_count + gate->bank.meter_count + gate->bank.thread_count, 0);
    event.call.routes_closed = 3;
    expect_refused(gate, &event, REASON_ROUTES_EXHAUSTED);
}

/* --- Policies. */

static void
judged_by_its_own_policy(void **state)
{
    struct gate *gate = *state;
    gate->older = gate->policy;
    add_limit(gate->older, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 0);
    gate->policy = a_policy(2);
    struct event event = a_call(MODEL_PAID, 100, -1);
    expect_refused(gate, &event, REASON_COST_SPENT);
    event.call.policy_ver = 2;
    expect_allowed(gate, &event);
}

static void
a_call_that_outlived_its_policy_is_refused(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 100, -1);
    event.call.policy_ver = 77;
    event.call.model_index = 12345; /* means nothing in any other */
    expect_refused(gate, &event, REASON_OVERLOADED);
}

/* --- What the books keep of a decision. */

static void
inputs_of_the_decision_are_kept(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day \"x\"", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    struct event event = a_call(MODEL_PAID, 100, -1);
    const struct verdict verdict = expect_allowed(gate, &event);
    const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
    const char expected[] = "{\"v\":1,\"api\":\"chat\",\"stream\":true,\"route\":0,\"estimator\":\"learned\",\"input\":100,"
                            "\"input_bound\":100,\"output_bound\":4000,\"slice\":200,\"least\":50,\"body_bytes\":1000000,"
                            "\"output_limit\":-1,\"lowered_to\":2450,"
                            "\"limits\":[{\"limit\":\"day \\\"x\\\"\",\"cap\":5000,"
                            "\"window\":1790726400000}]}";
    assert_int_equal(hold->inputs.len, sizeof expected - 1);
    assert_memory_equal(hold->inputs.ptr, expected, sizeof expected - 1);
}

static void
a_refusal_is_written_with_its_inputs(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    struct event event = a_call(MODEL_PAID, 100, 10);
    const struct verdict verdict = expect_refused(gate, &event, REASON_COST_SPENT);
    struct refused refused;
    core_refused(&gate->core, &event, &verdict.refusal, &refused);
    refused.at_ms = gate->now_ms + 59999;
    refused.ledger_id = 4711;
    policy_unref(gate->policy); /* nothing of it may be needed any more */
    gate->policy = a_policy(2);
    work_end(&gate->work);
    arena_reset(&gate->arena);
    work_start(&gate->work, &gate->arena);
    gate->core.policy = gate->policy;
    core_record_refusal(&gate->core, &refused, true, 1);
    core_record_refusal(&gate->core, &refused, false, 41);
    const struct ledger_row *row = &gate->work.ledger_first->row;
    assert_true(ledger_valid(row));
    assert_null(gate->work.ledger_first->next);
    assert_int_equal(row->id, 4711);
    assert_int_equal(row->kind, LEDGER_REFUSAL);
    assert_int_equal(row->reason, REASON_COST_SPENT);
    assert_int_equal(row->policy_ver, 1);
    assert_string_equal(row->model, "paid");
    const char expected[] = "{\"v\":1,\"limit\":\"day\",\"counts\":\"cost\",\"used\":0,\"held\":0,\"cap\":50,\"ask\":120,\"resets_at_ms\":1790812800000,"
                            "\"retry_after_ms\":0,\"body_bytes\":1000000,\"output_limit\":10,\"api\":\"chat\",\"stream\":true,"
                            "\"input_bytes\":100,\"answers\":1,\"price_pct\":100}";
    assert_int_equal(row->inputs.len, sizeof expected - 1);
    assert_memory_equal(row->inputs.ptr, expected, sizeof expected - 1);
    const struct refusal_row *counter = &gate->work.refusal_first->row;
    assert_true(refusal_valid(counter));
    assert_int_equal(counter->minute_ms, gate->now_ms); /* noon: 59.999 s later is the same minute */
    assert_int_equal(counter->count, 1);
    assert_int_equal(gate->work.refusal_first->next->row.count, 41);
}

/* --- What is left, for headers. */

static void
the_tightest_limits_are_told(void **state)
{
    struct gate *gate = *state;
    add_bucket(gate->policy, "wide", PER_KEY, 10, SECOND_MS, 100);
    add_bucket(gate->policy, "narrow", PER_ACCOUNT, 1, SECOND_MS, 4);
    add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, MONEY_MICROS_MAX);
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, MONEY_MICROS_MAX - 1000000000);
    struct event event = a_call(MODEL_PAID, 1000, 0);
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_string_equal(verdict.tightest_requests.name, "narrow");
    assert_int_equal(verdict.tightest_requests.cap, 4);
    assert_int_equal(verdict.tightest_requests.left, 3);
    assert_int_equal(verdict.tightest_requests.reset_ms, 1000);
    assert_int_equal(verdict.tightest_requests.window_ms, 4000);
    assert_string_equal(verdict.tightest_money.name, "day");
    assert_int_equal(verdict.tightest_money.reset_ms, 12 * HOUR_MS);
    assert_int_equal(verdict.tightest_money.window_ms, DAY_MS);
    assert_false(verdict.tightest_money.share);
}

static void
what_is_left_of_a_shared_limit_is_told_as_a_share(void **state)
{
    static const enum per_kind pers[] = { PER_GATEWAY, PER_PLAN, PER_MODEL, PER_TIER, PER_ORGANISATION };
    for (size_t i = 0; i < countof(pers); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        strcpy(gate->bank.accounts[0].organisation, "acme");
        add_limit(gate->policy, "money", COUNT_COST, pers[i], WINDOW_LIFETIME, 8000);
        struct limit *slides = add_limit(gate->policy, "slides", COUNT_REQUESTS, pers[i], WINDOW_ROLLING, 8);
        slides->span_ms = 5 * HOUR_MS;
        const struct event event = a_call(MODEL_PAID, 2000, 0);
        const struct verdict verdict = expect_allowed(gate, &event);
        assert_true(verdict.tightest_money.share && verdict.tightest_requests.share);
        assert_int_equal(verdict.tightest_money.cap, 100);
        assert_int_equal(verdict.tightest_money.left, 75);
        assert_int_equal(verdict.tightest_money.window_ms, 0);
        assert_int_equal(verdict.tightest_requests.left, 87);
        assert_int_equal(verdict.tightest_requests.window_ms, 5 * HOUR_MS);
        assert_int_equal(verdict.tightest_requests.reset_ms, 5 * HOUR_MS);
        gate_end((void **)&gate);
    }
}

static void
rows_full_of_meters_make_room_or_refuse(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    struct event event = a_call(MODEL_PAID, 100, 0);
    const struct verdict verdict = expect_allowed(gate, &event);
    event = a_settle(verdict.hold_id, 100, 0);
    expect_allowed(gate, &event);
    struct meter_row *row = &gate->bank.meters[0];
    while (row->meter_count < METERS_MAX) { /* limits that were in a configuration once */
        row->meters[row->meter_count] = (struct meter){ .limit_id = 5000 + row->meter_count, .settled = 1 };
        row->meter_count++;
    }
    add_limit(gate->policy, "week", COUNT_COST, PER_ACCOUNT, WINDOW_WEEK, 5000);
    event = a_call(MODEL_PAID, 100, 0);
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.meters[0].meter_count, 2);
    assert_int_equal(meter_of(gate, day).settled, 100);

    row = &gate->bank.meters[0];
    const int held = gate->bank.hold_count;
    while (row->meter_count < METERS_MAX) { /* the same, with calls still in flight */
        const int64_t limit_id = 6000 + row->meter_count;
        row->meters[row->meter_count++] = (struct meter){ .limit_id = limit_id, .held = 1, .bound = 1 };
        struct hold_row *hold = &gate->bank.holds[gate->bank.hold_count++];
        *hold = gate->bank.holds[0];
        hold->hold_id = limit_id;
        hold->part_count = 1;
        hold->parts[0] = (struct hold_part){ limit_id, row->subject_id, 0, 1, 1 };
    }
    add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 5000);
    expect_refused(gate, &event, REASON_OVERLOADED);
    event = a_release(6000 + METERS_MAX - 1); /* one of them ends */
    expect_allowed(gate, &event);
    event = a_call(MODEL_PAID, 100, 0);
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.hold_count, held + METERS_MAX - 2 - 1 + 1);
}

static const struct CMUnitTest tests[] = {
    CASE("a call fits to the micro, and a refusal says whether waiting helps", fits_to_the_micro),
    CASE("the output limit is lowered to what fits, never under its floors", output_is_lowered),
    CASE_WITH("what costs nothing passes a spent limit", free_passes_a_spent_limit, gate_make, gate_end),
    CASE("unpriced models as configured", unpriced_as_configured),
    CASE_WITH("a cap of another plan does not count", a_cost_limit_for_another_plan_is_none, gate_make, gate_end),
    CASE_WITH("a hold has a part in every limit, or there is none", all_parts_or_none, gate_make, gate_end),
    CASE("the first refusal in the order of checks is told", the_first_refusal_is_told),
    CASE_WITH("a limit of another model does not count", only_limits_that_name_the_model, gate_make, gate_end),
    CASE_WITH("who comes later waits behind those who wait", others_wait_first, gate_make, gate_end),
    CASE_WITH("what can be counted is counted first", what_can_be_counted_is_counted_first, gate_make, gate_end),
    CASE_WITH("calls in flight are waited for as long as the queue says", calls_in_flight_are_waited_for_as_long_as_the_queue_says,
        gate_make, gate_end),
    CASE_WITH("nobody waits where waiting is off", nobody_waits_where_waiting_is_off, gate_make, gate_end),
    CASE("the first open route that all limits admit", first_route_that_fits),
    CASE("who may call", who_may_call),
    CASE_WITH("a service key is one key for all it acts for", a_key_is_one_key_for_all_it_acts_for, gate_make, gate_end),
    CASE_WITH("counting tokens is never metered", counting_tokens_is_free, gate_make, gate_end),
    CASE_WITH("a call is judged by the policy it was asked under", judged_by_its_own_policy, gate_make, gate_end),
    CASE_WITH("a call that outlived its policy is refused", a_call_that_outlived_its_policy_is_refused, gate_make, gate_end),
    CASE_WITH("the inputs of a decision are kept", inputs_of_the_decision_are_kept, gate_make, gate_end),
    CASE_WITH("a refusal is written with its inputs, without its policy", a_refusal_is_written_with_its_inputs, gate_make,
        gate_end),
    CASE_WITH("the tightest limits are told", the_tightest_limits_are_told, gate_make, gate_end),
    CASE("FF-93 what is left of a shared limit is told as a share", what_is_left_of_a_shared_limit_is_told_as_a_share),
    CASE_WITH("a row full of meters makes room, or the call is refused", rows_full_of_meters_make_room_or_refuse, gate_make,
        gate_end),
};
UNIT_MAIN(tests)
