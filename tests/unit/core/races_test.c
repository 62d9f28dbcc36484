/* tests/unit/core/races_test.c
 *
 * Goal: what passes at once, or beside the usual way, passes no cap: budgets that others saw spent many times over.
 * Method: batches of many calls at the gate of gate.h; FF-n in a name is the row of the field's failures that the
 * case shows not to happen (tests/failures.txt). */
#include "gate.h"

#include <string.h>

#define AT_ONCE_MAX 400

static struct event asked[AT_ONCE_MAX];
static struct verdict answers[AT_ONCE_MAX];

/* How many of `count` equal calls in one batch may start. */
static int
started(struct gate *gate, const struct event *event, int count)
{
    int allowed = 0;
    assert_true(count <= AT_ONCE_MAX);
    for (int i = 0; i < count; i++) {
        asked[i] = *event;
    }
    gate_batch(gate, asked, count, answers);
    for (int i = 0; i < count; i++) {
        allowed += answers[i].kind == VERDICT_ALLOWED;
    }
    return allowed;
}

/* An end user whom a service key names, as many times at once as may be. */
static int64_t
an_end_user(struct gate *gate, const char *name)
{
    struct event events[3];
    struct verdict verdicts[3];
    for (size_t i = 0; i < countof(events); i++) {
        events[i] = (struct event){ .kind = EVENT_IDENTIFY };
        set_hash(events[i].identify.key_hash, 'c');
        slice_to_cstr(slice_str(name), events[i].identify.act_for, sizeof events[i].identify.act_for);
    }
    gate_batch(gate, events, countof(events), verdicts);
    for (size_t i = 0; i < countof(events); i++) {
        assert_int_equal(verdicts[i].kind, VERDICT_ALLOWED);
        assert_int_equal(verdicts[i].identity.account_id, verdicts[0].identity.account_id);
    }
    assert_true(verdicts[0].identity.account_id > 0);
    return verdicts[0].identity.account_id;
}

static void
parallel_calls_of_a_tree(void **state)
{
    struct gate *gate = *state;
    const struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    assert_int_equal(started(gate, &event, 40), 10);
    assert_int_equal(meter_of(gate, tree).held, 1000);
}

static void
first_calls_of_an_unseen_user(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 350);
    struct event event = a_call(MODEL_PAID, 100, 0);
    event.call.account_id = an_end_user(gate, "user-7");
    event.call.key_id = KEY_ACTS;
    assert_int_equal(started(gate, &event, 20), 3);
}

/* However small the calls are, and however they cost more than they were thought to. */
static void
no_call_starts_beyond_a_budget(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    const struct event event = a_call(MODEL_PAID, 90, 0);
    int starts = 0;
    for (;;) {
        const struct verdict verdict = gate_decide(gate, &event);
        const struct meter meter = meter_of(gate, day);
        if (verdict.kind != VERDICT_ALLOWED) {
            assert_true(meter.settled + 90 > 5000);
            break;
        }
        assert_true(meter.settled + meter.held <= 5000);
        const struct event settle = a_settle(verdict.hold_id, 90, 15);
        expect_allowed(gate, &settle);
        starts++;
    }
    assert_int_equal(starts, 41); /* 41 of 120 each: 4920; one more would not fit */
    for (int i = 0; i < 20; i++) {
        expect_refused(gate, &event, REASON_COST_SPENT);
    }
}

static void
a_user_named_by_header(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 250);
    struct event event = a_call(MODEL_PAID, 100, 0);
    event.call.key_id = KEY_ACTS;
    static const char *const names[] = { "user-1", "user-2", "user-3" };
    for (size_t i = 0; i < countof(names); i++) { /* each has its own, though one key asks for all */
        event.call.account_id = an_end_user(gate, names[i]);
        assert_int_equal(started(gate, &event, 5), 2);
    }
}

/* What is reserved is reserved, and later charged, wherever a limit looks. */
static void
every_subject_is_reserved_and_charged(void **state)
{
    struct gate *gate = *state;
    const struct limit *money[] = {
        add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000),
        add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 100000),
        add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100000),
    };
    const struct limit *places[] = {
        add_limit(gate->policy, "key", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 5),
        add_limit(gate->policy, "account", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5),
        add_limit(gate->policy, "gateway", COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 5),
    };
    const struct event event = a_call(MODEL_PAID, 100, 0);
    const int64_t hold_id = expect_allowed(gate, &event).hold_id;
    for (size_t i = 0; i < countof(money); i++) {
        assert_int_equal(meter_of(gate, money[i]).held, 100);
        assert_int_equal(meter_of(gate, places[i]).held, 1);
    }
    const struct event settle = a_settle(hold_id, 100, 20);
    expect_allowed(gate, &settle);
    for (size_t i = 0; i < countof(money); i++) {
        assert_int_equal(meter_of(gate, money[i]).settled, 140);
        assert_int_equal(meter_of(gate, money[i]).held, 0);
        assert_int_equal(meter_of(gate, places[i]).held, 0);
    }
}

static void
a_free_model_with_a_paid_route_behind(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    gate->policy->models[MODEL_TWO].routes[0].price = gate->policy->models[MODEL_FREE].routes[0].price;
    struct event event = a_call(MODEL_PAID, 100, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 100, 0);
    expect_allowed(gate, &settle);
    event = a_call(MODEL_TWO, 100, 0);
    const struct verdict verdict = expect_allowed(gate, &event); /* it costs nothing */
    assert_int_equal(verdict.route_index, 0);
    struct event next = { .kind = EVENT_REROUTE };
    next.reroute = (struct reroute_event){ .hold_id = verdict.hold_id, .route_index = 1, .stream = true,
        .failed_status = 503, .failed_reason = REASON_UPSTREAM_BROKEN };
    assert_int_not_equal(gate_decide(gate, &next).kind, VERDICT_ALLOWED);
    assert_int_equal(bank_hold(gate, verdict.hold_id)->attempt_count, 1); /* nothing leaves for the paid one */
    event.call.routes_closed = 1; /* nor where the free one is closed from the start */
    expect_refused(gate, &event, REASON_COST_SPENT);
}

/* The rich are held from as the poor are: no balance is large enough to be trusted. */
static void
a_large_budget_is_held_from_too(void **state)
{
    static const struct {
        int64_t cap, ask;
        int starts;
    } rows[] = { { 1000000, 90000, 11 }, { INT64_C(1000000000000), INT64_C(95000), AT_ONCE_MAX }, { 100, 1, 100 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap);
        const struct event event = a_call(MODEL_PAID, rows[i].ask, 0);
        assert_int_equal(started(gate, &event, AT_ONCE_MAX), rows[i].starts);
        assert_int_equal(meter_of(gate, day).held, rows[i].starts * rows[i].ask);
        gate_end((void **)&gate);
    }
}

/* A long answer takes what there is, a step at a time, and ends there. */
static void
a_long_stream_ends_at_its_budget(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 3000);
    struct event event = a_call(MODEL_PAID, 100, -1);
    const int64_t hold_id = expect_allowed(gate, &event).hold_id;
    int64_t relayed = 0;
    for (int i = 0; i < 60; i++) {
        event = an_extend(hold_id, STEP);
        const struct verdict verdict = gate_decide(gate, &event);
        const struct meter meter = meter_of(gate, day);
        assert_true(meter.settled + meter.held <= 3000);
        relayed = verdict.kind == VERDICT_ALLOWED ? min_i64(verdict.held_output, MAX_OUTPUT) : relayed;
    }
    assert_true(relayed > 1000 && 100 + 2 * relayed <= 3000);
    event = a_settle(hold_id, 100, relayed);
    expect_allowed(gate, &event);
    assert_true(meter_of(gate, day).settled <= 3000);
}

static void
everybody_has_its_own(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 300);
    add_bucket(gate->policy, "rate", PER_KEY, 1, HOUR_MS, 5);
    struct event event = a_call(MODEL_PAID, 100, 0);
    assert_int_equal(started(gate, &event, 10), 3);
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    assert_int_equal(started(gate, &event, 10), 3);
    event = a_call(MODEL_FREE, 100, 0); /* of their money nothing is left, of their rate two each */
    assert_int_equal(started(gate, &event, 10), 2);
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    assert_int_equal(started(gate, &event, 10), 2);
}

static void
what_is_left_falls_with_each_call(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
    const struct event event = a_call(MODEL_PAID, 50000, 0);
    for (int64_t i = 0; i < 10; i++) {
        const struct verdict verdict = expect_allowed(gate, &event);
        assert_true(verdict.tightest_money.set);
        assert_int_equal(verdict.tightest_money.left, 1000 - 60 * i - 50); /* in thousandths of a dollar */
        const struct event settle = a_settle(verdict.hold_id, 50000, 5000);
        expect_allowed(gate, &settle);
    }
}

static void
a_budget_does_not_refill(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
    gate->now_ms -= 20 * DAY_MS;
    const struct event event = a_call(MODEL_PAID, 1000, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 1000, 0);
    expect_allowed(gate, &settle);
    const struct event least = a_call(MODEL_PAID, 1, 0);
    for (int64_t day = 0; day < 20; day++) {
        gate->now_ms += DAY_MS;
        const struct verdict refused = expect_refused(gate, &least, REASON_COST_SPENT);
        assert_int_equal(refused.refusal.used, 1000);
        assert_int_equal(refused.refusal.resets_at_ms, NOON_MS + 12 * HOUR_MS); /* October begins */
    }
}

static void
who_passes_is_billed(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 500);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    assert_int_equal(started(gate, &event, 30), 5);
    assert_int_equal(gate->bank.hold_count, 5);
    while (gate->bank.hold_count > 0) {
        assert_true(gate->bank.holds[0].held_micros == 100); /* none is empty */
        const struct event settle = a_settle(gate->bank.holds[0].hold_id, 100, 0);
        expect_allowed(gate, &settle);
    }
    assert_int_equal(gate->bank.ledger_count, 5);
    assert_int_equal(meter_of(gate, day).settled, 500);
}

static void
seats_are_never_too_many(void **state)
{
    struct gate *gate = *state;
    const struct limit *seats = add_limit(gate->policy, "seats", COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 200);
    const struct event event = a_call(MODEL_FREE, 1, 0);
    assert_int_equal(started(gate, &event, 379), 200);
    assert_int_equal(meter_of(gate, seats).held, 200);
    while (gate->bank.hold_count > 0) {
        const struct event settle = a_settle(gate->bank.holds[0].hold_id, 1, 0);
        expect_allowed(gate, &settle);
    }
    assert_int_equal(meter_of(gate, seats).held, 0);
    assert_int_equal(started(gate, &event, 379), 200); /* all of them again */
}

/* It would fit, and is no reason to be sent away: who waits before it is let in first. */
static void
who_fits_behind_others_waits_too(void **state)
{
    struct gate *gate = *state;
    struct limit *limits[] = { add_bucket(gate->policy, "rate", PER_KEY, 1, MINUTE_MS, 5),
        add_limit(gate->policy, "requests", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 5),
        add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5) };
    struct event event = a_call(MODEL_FREE, 1, 0);
    expect_allowed(gate, &event);
    gate->others_wait = true;
    for (size_t i = 0; i < countof(limits); i++) {
        limits[i]->at_cap = AT_CAP_QUEUE;
        limits[i]->queue_ms = 700;
        const struct verdict verdict = gate_decide(gate, &event);
        assert_int_equal(verdict.kind, VERDICT_WAIT);
        assert_int_equal(verdict.wait_ms, 700);
        assert_string_equal(verdict.refusal.limit_name, limits[i]->name);
        limits[i]->at_cap = AT_CAP_REFUSE;
    }
    expect_allowed(gate, &event);
}

/* Each substitute has subjects of its own; what is the same for all is asked for once. */
static void
many_substitutes_fit_into_one_question(void **state)
{
    struct gate *gate = *state;
    static const enum per_kind pers[] = { PER_GATEWAY, PER_ACCOUNT, PER_KEY, PER_THREAD_TREE, PER_MODEL, PER_ACCOUNT_MODEL,
        PER_PLAN, PER_TIER };
    static const char *const models[] = { "free", "hidden", "two", "unpriced", "unpriced-second" };
    for (size_t i = 0; i < 3 * countof(pers); i++) {
        struct limit *limit =
            add_limit(gate->policy, "many", COUNT_REQUESTS, pers[i % countof(pers)], WINDOW_DAY, 5);
        limit->at_cap = AT_CAP_DOWNGRADE;
        limit->substitute = models[i % countof(models)];
    }
    const struct event event = a_call(MODEL_PAID, 100, 0);
    expect_allowed(gate, &event); /* the gate sees to it that no list of needs flows over */
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    AT_GATE("FF-1 parallel calls of one tree start as far as they fit", parallel_calls_of_a_tree),
    AT_GATE("FF-2 first calls at once of an unseen user are under its default cap", first_calls_of_an_unseen_user),
    AT_GATE("FF-4 no call starts beyond a budget, whatever those before came to cost", no_call_starts_beyond_a_budget),
    AT_GATE("FF-5 a user named by header has a budget like any other", a_user_named_by_header),
    AT_GATE("FF-6 every subject under a limit is reserved from and charged", every_subject_is_reserved_and_charged),
    AT_GATE("FF-8 a free model does not lead to a paid route past the budget", a_free_model_with_a_paid_route_behind),
    CASE("FF-14 FF-15 a large budget is held from as a small one is", a_large_budget_is_held_from_too),
    AT_GATE("FF-16 a long stream ends where its budget does", a_long_stream_ends_at_its_budget),
    AT_GATE("FF-18 everybody has a limit of their own", everybody_has_its_own),
    AT_GATE("FF-20 what is left falls with each call by what it cost", what_is_left_falls_with_each_call),
    AT_GATE("FF-21 a budget does not refill within its window", a_budget_does_not_refill),
    AT_GATE("FF-23 FF-24 who passes is held, and billed", who_passes_is_billed),
    AT_GATE("who fits, but stands behind others in a line, waits like them", who_fits_behind_others_waits_too),
    AT_GATE("many substitutes fit into one question to the store", many_substitutes_fit_into_one_question),
    AT_GATE("FF-99 of 379 at once 200 get one of 200 seats, and each is free again", seats_are_never_too_many),
};
UNIT_MAIN(tests)
