/* tests/unit/core/drift_test.c
 *
 * Goal: meters say what calls cost, no more and no less, whatever ends a call and however often; a refusal takes
 * nothing; a hold is no larger than it must be.
 * Method: calls at the gate of gate.h, their meters looked at by name; FF-n in a name is the row of the field's
 * failures that the case shows not to happen (tests/failures.txt). */
#include "gate.h"

#include <string.h>

static struct event
a_reroute(int64_t hold_id)
{
    struct event event = { .kind = EVENT_REROUTE };
    event.reroute = (struct reroute_event){ .hold_id = hold_id, .route_index = 1, .stream = true, .failed_status = 503,
        .failed_reason = REASON_UPSTREAM_BROKEN };
    return event;
}

static void
a_decision_sees_what_was_settled_before_it(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event first = a_call(MODEL_PAID, 100, 0);
    const struct event events[] = { a_settle(expect_allowed(gate, &first).hold_id, 1000, 0), a_call(MODEL_PAID, 1, 0) };
    struct verdict verdicts[2];
    gate_batch(gate, events, 2, verdicts);
    assert_int_equal(verdicts[1].kind, VERDICT_REFUSED);
    assert_int_equal(verdicts[1].refusal.used, 1000);
}

/* Zero, without end and not set are three things. */
static void
no_budget_is_no_budget_of_zero(void **state)
{
    struct gate *gate = *state;
    const struct event event = a_call(MODEL_PAID, 90000, 0);
    for (int i = 0; i < 30; i++) {
        const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 90000, MAX_OUTPUT);
        expect_allowed(gate, &settle);
    }
    struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, CAP_UNLIMITED);
    expect_allowed(gate, &event);
    day->cap_default = 0;
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
a_cap_is_met_at_the_cap(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 15000);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    for (int i = 0; i < 150; i++) { /* none is refused before all of it is used */
        const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 100, 0);
        expect_allowed(gate, &settle);
    }
    assert_int_equal(expect_refused(gate, &event, REASON_COST_SPENT).refusal.used, 15000);
}

static void
each_gets_back_its_own(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000);
    const struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100000);
    struct event events[3] = { a_call(MODEL_PAID, 100, 0), a_call(MODEL_PAID, 20, 0), a_call(MODEL_PAID, 3, 0) };
    events[1].call.account_id = ACCOUNT_B;
    events[1].call.key_id = KEY_B;
    set_hash(events[2].call.thread_hash, 's');
    struct verdict verdicts[3];
    gate_batch(gate, events, 3, verdicts);
    const struct event ends[] = { a_release(verdicts[1].hold_id), a_settle(verdicts[0].hold_id, 40, 0) };
    gate_batch(gate, ends, 2, verdicts);
    int64_t held = 0, settled = 0, rows = 0;
    for (int i = 0; i < gate->bank.meter_count; i++) {
        const struct meter_row *row = &gate->bank.meters[i];
        for (int32_t k = 0; k < row->meter_count; k++) {
            held += row->meters[k].held;
            settled += row->meters[k].settled;
            rows += row->meters[k].held + row->meters[k].settled > 0;
        }
    }
    assert_int_equal(held, 3 + 3);      /* of ann's day and of her second tree */
    assert_int_equal(settled, 40 + 40); /* of ann's day and of her first */
    assert_int_equal(rows, 3);
    (void)day;
    (void)tree;
}

/* A call that was charged yesterday gives back to yesterday. */
static void
a_refund_goes_to_the_window_charged(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    struct event event = a_call(MODEL_PAID, 400, 0);
    const int64_t yesterday_ms = NOON_MS - 12 * HOUR_MS;
    const int64_t given_back = expect_allowed(gate, &event).hold_id;
    const int64_t stays = expect_allowed(gate, &event).hold_id;
    gate->now_ms += 13 * HOUR_MS;
    event = a_call(MODEL_PAID, 700, 0);
    expect_allowed(gate, &event);
    event = a_release(given_back);
    expect_allowed(gate, &event);
    assert_int_equal(meter_in_window(gate, day, yesterday_ms).held, 400);
    assert_int_equal(meter_in_window(gate, day, yesterday_ms + DAY_MS).held, 700);
    event = a_settle(stays, 300, 0);
    expect_allowed(gate, &event);
    assert_int_equal(meter_in_window(gate, day, yesterday_ms + DAY_MS).held, 700);
    assert_int_equal(meter_in_window(gate, day, yesterday_ms + DAY_MS).settled, 0);
}

/* Whichever limit refuses, the others are left alone. */
static void
a_refusal_uses_nothing_up(void **state)
{
    struct gate *gate = *state;
    const struct limit *rate = add_bucket(gate->policy, "rate", PER_KEY, 1, HOUR_MS, 3);
    const struct limit *parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 1);
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event event = a_call(MODEL_PAID, 400, 0);
    const struct event dear = a_call(MODEL_PAID, 5000, 0);
    for (int i = 0; i < 3; i++) { /* the third is refused by money: of the rate one is left */
        const struct verdict verdict = gate_decide(gate, &event);
        if (i == 2) {
            assert_string_equal(verdict.refusal.limit_name, "day");
            break;
        }
        const struct meter before[] = { meter_of(gate, rate), meter_of(gate, parallel), meter_of(gate, day) };
        for (int k = 0; k < 5; k++) {
            assert_string_equal(expect_refused(gate, &dear, REASON_COST_SPENT).refusal.limit_name, "day");
            const struct event free_one = a_call(MODEL_FREE, 1, 0);
            assert_string_equal(expect_refused(gate, &free_one, REASON_IN_FLIGHT).refusal.limit_name, "parallel");
        }
        const struct meter after[] = { meter_of(gate, rate), meter_of(gate, parallel), meter_of(gate, day) };
        assert_memory_equal(before, after, sizeof before);
        const struct event settle = a_settle(verdict.hold_id, 400, 0);
        expect_allowed(gate, &settle);
    }
    const struct event free_one = a_call(MODEL_FREE, 1, 0);
    const struct event settle = a_settle(expect_allowed(gate, &free_one).hold_id, 1, 0);
    expect_allowed(gate, &settle);
    assert_string_equal(expect_refused(gate, &free_one, REASON_RATE).refusal.limit_name, "rate");
}

static void
counting_charges_nothing(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    add_bucket(gate->policy, "rate", PER_KEY, 1, HOUR_MS, 1);
    struct event event = a_call(MODEL_PAID, 100, 0);
    event.call.api = API_COUNT_TOKENS;
    for (int i = 0; i < 5; i++) {
        expect_allowed(gate, &event);
    }
    assert_int_equal(gate->bank.meter_count, 0);
    assert_int_equal(gate->bank.hold_count, 0);
    assert_int_equal(gate->bank.ledger_count, 0);
}

/* By their worst case the first twenty would hold all of it, though they cost a thousandth of that. */
static void
worst_cases_pin_no_budget(void **state)
{
    static struct event events[250];
    static struct verdict verdicts[250];
    struct gate *gate = *state;
    gate->policy->models[MODEL_PAID].max_output = 64000;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 2500000);
    for (int i = 0; i < 250; i++) {
        events[i] = a_call(MODEL_PAID, 1000, -1);
    }
    gate_batch(gate, events, 250, verdicts);
    for (int i = 0; i < 250; i++) {
        assert_int_equal(verdicts[i].kind, VERDICT_ALLOWED);
    }
    assert_true(meter_of(gate, day).bound > 2500000);
    assert_true(meter_of(gate, day).held <= 2500000);
}

static void
a_fresh_budget_admits_its_first_call(void **state)
{
    static const struct {
        int64_t cap, ask;
        bool allowed;
    } rows[] = { { 100, 100, true }, { 1, 1, true }, { 100, 101, false }, { 0, 1, false } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap);
        const struct event event = a_call(MODEL_PAID, rows[i].ask, 0);
        assert_int_equal(gate_decide(gate, &event).kind == VERDICT_ALLOWED, rows[i].allowed);
        gate_end((void **)&gate);
    }
}

/* --- Every way a call may end. */

enum way { SETTLED, UNBILLED, GIVEN_BACK, DIED, REROUTED, REROUTE_REFUSED, EXTENDED, TWICE, AFTER_MIDNIGHT, WAY_COUNT };

static void
end_by(struct gate *gate, enum way way, int64_t hold_id)
{
    struct event event = a_settle(hold_id, 100, 10);
    switch (way) {
    case UNBILLED: event.settle.unbilled = true; break;
    case GIVEN_BACK: event = a_release(hold_id); break;
    case DIED: gate_orphan(gate, hold_id); return;
    case REROUTED:
    case REROUTE_REFUSED:
        event = a_reroute(hold_id);
        event.reroute.route_index = way == REROUTED ? 1 : 7;
        assert_int_equal(gate_decide(gate, &event).kind == VERDICT_ALLOWED, way == REROUTED);
        event = a_settle(hold_id, 100, 10);
        break;
    case EXTENDED:
        event = an_extend(hold_id, STEP);
        (void)gate_decide(gate, &event);
        event = a_settle(hold_id, 100, 10);
        break;
    case TWICE: expect_allowed(gate, &event); break;
    case AFTER_MIDNIGHT: gate->now_ms += DAY_MS; break;
    default: break;
    }
    expect_allowed(gate, &event);
}

static void
every_end_frees_the_place(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAY_COUNT; way++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *parallel =
            add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 2);
        add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
        for (int i = 0; i < 10; i++) { /* a leak of one would fill it */
            const struct event event = a_call(MODEL_TWO, 100, -1);
            end_by(gate, way, expect_allowed(gate, &event).hold_id);
            assert_int_equal(meter_of(gate, parallel).held, 0);
        }
        assert_int_equal(gate->bank.hold_count, 0);
        gate_end((void **)&gate);
    }
}

static void
what_costs_nothing_passes_a_spent_budget(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    struct event event = a_call(MODEL_PAID, 100, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 500, 0);
    expect_allowed(gate, &settle);
    expect_refused(gate, &event, REASON_COST_SPENT);
    event = a_call(MODEL_FREE, 100, 0);
    expect_allowed(gate, &event);
}

static void
a_refund_comes_once(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event event = a_call(MODEL_PAID, 300, 0);
    const int64_t other = expect_allowed(gate, &event).hold_id;
    const int64_t hold_id = expect_allowed(gate, &event).hold_id;
    const struct event ends[] = { a_release(hold_id), a_release(hold_id), a_settle(hold_id, 300, 0), a_release(hold_id) };
    struct verdict verdicts[4];
    gate_batch(gate, ends, 4, verdicts);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(verdicts[i].booked, i == 0);
    }
    assert_int_equal(meter_of(gate, day).held, 300);
    assert_int_equal(meter_of(gate, day).settled, 0);
    assert_non_null(bank_hold(gate, other));
}

/* A cost below zero is read by nobody (wire, conf); none at all is none. No call leaves more behind than there was. */
static void
no_refund_is_more_than_was_held(void **state)
{
    static const int64_t told[] = { -1, 0 };
    for (size_t i = 0; i < countof(told); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
        struct event event = a_call(MODEL_PAID, 600, 0);
        for (int k = 0; k < 10; k++) {
            struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 0, 0);
            settle.settle.usage.cost_micros = told[i];
            expect_allowed(gate, &settle);
            assert_int_equal(meter_of(gate, day).settled, 0);
            assert_int_equal(meter_of(gate, day).held, 0);
        }
        event = a_call(MODEL_PAID, 1001, 0);
        expect_refused(gate, &event, REASON_COST_SPENT);
        gate_end((void **)&gate);
    }
}

static void
a_large_ask_gets_a_smaller_answer(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event event = a_call(MODEL_PAID, 100, 4000); /* 8100 at worst */
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_true(verdict.output_lowered);
    assert_int_equal(verdict.output_limit, 450);
}

static void
no_usage_is_none(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event event = a_call(MODEL_PAID, 300, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 0, 0);
    assert_int_equal(expect_allowed(gate, &settle).cost_micros, 0);
    assert_int_equal(meter_of(gate, day).settled, 0);
    assert_int_equal(last_ledger(gate)->flags & LEDGER_ESTIMATED, 0);
}

static void
what_passes_the_hold_is_charged(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    struct event event = a_call(MODEL_PAID, 600, 0);
    struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 1600, 0);
    assert_int_equal(expect_allowed(gate, &settle).overshoot_micros, 600);
    assert_int_equal(meter_of(gate, day).settled, 1600); /* a debt, not a zero */
    event = a_call(MODEL_PAID, 1, 0);
    assert_int_equal(expect_refused(gate, &event, REASON_COST_SPENT).refusal.used, 1600);
}

static void
the_largest_caps_hold(void **state)
{
    static const int64_t caps[] = { MONEY_MICROS_MAX, MONEY_MICROS_MAX - 1, INT64_C(1) << 53, INT64_C(99999999999999) };
    for (size_t i = 0; i < countof(caps); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, caps[i]);
        const struct event event = a_call(MODEL_PAID, 90000, -1);
        struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 90000, 10);
        expect_allowed(gate, &settle);
        assert_int_equal(meter_of(gate, day).settled, 90020);
        assert_int_equal(expect_allowed(gate, &event).tightest_money.cap, caps[i] / 1000);
        gate_end((void **)&gate);
    }
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    AT_GATE("FF-31 a decision sees what was settled just before it", a_decision_sees_what_was_settled_before_it),
    AT_GATE("FF-33 a budget that is not set refuses nobody; one of zero does", no_budget_is_no_budget_of_zero),
    AT_GATE("FF-36 a cap is met at the cap, not before", a_cap_is_met_at_the_cap),
    AT_GATE("FF-37 each meter gets back what it gave", each_gets_back_its_own),
    AT_GATE("FF-39 a refund goes to the window that was charged", a_refund_goes_to_the_window_charged),
    AT_GATE("FF-40 FF-47 a refusal by one limit uses nothing up of another", a_refusal_uses_nothing_up),
    AT_GATE("FF-41 counting tokens charges nothing", counting_charges_nothing),
    AT_GATE("FF-44 worst cases of streams pin no budget", worst_cases_pin_no_budget),
    CASE("FF-45 a fresh budget admits a call of just its size", a_fresh_budget_admits_its_first_call),
    CASE("FF-46 FF-53 every end of a call frees its place in flight", every_end_frees_the_place),
    AT_GATE("FF-48 what costs nothing passes a spent budget", what_costs_nothing_passes_a_spent_budget),
    AT_GATE("FF-50 a refund comes once", a_refund_comes_once),
    CASE("FF-51 no refund is more than was held", no_refund_is_more_than_was_held),
    AT_GATE("FF-52 a large ask under a small budget gets a smaller answer", a_large_ask_gets_a_smaller_answer),
    AT_GATE("FF-58 usage of nothing is nothing, not an estimate", no_usage_is_none),
    AT_GATE("FF-61 FF-67 what passes its hold is charged, and the next decision sees it", what_passes_the_hold_is_charged),
    CASE("FF-75 the largest caps do not overflow", the_largest_caps_hold),
};
UNIT_MAIN(tests)
