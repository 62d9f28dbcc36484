/* tests/unit/core/reroute_test.c
 *
 * Goal: an attempt that may be billed is on the books before the next one leaves, each limit has room for both
 * or the first one rules, and neither is booked twice or lost, whoever dies or gives up in between.
 * Method: calls made through the gate of gate.h to a model whose first route is ten times dearer than its
 * second; gate.c audits meters against open holds after each event. */
#include "gate.h"

#include <string.h>

/* 100 of input and 200 of output: 500 micros at the second route, 5000 at the first. */
#define FIRST_HELD  5000
#define SECOND_HELD 500

struct world {
    struct gate *gate;
    struct limit *day, *month, *parallel;
    int64_t hold_id;
};

static struct world
a_call_on_two_routes(struct gate *gate, int64_t cap)
{
    struct world world = { .gate = gate };
    world.day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, cap);
    world.month = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000000);
    world.parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5);
    const struct event event = a_call(MODEL_TWO, 100, -1);
    world.hold_id = expect_allowed(gate, &event).hold_id;
    return world;
}

/* The first attempt broke off: it may have cost `input` and `output` tokens. */
static struct event
a_billed_reroute(int64_t hold_id, int32_t route_index, int64_t input, int64_t output)
{
    struct event event = { .kind = EVENT_REROUTE };
    event.reroute = (struct reroute_event){ .hold_id = hold_id,
        .route_index = route_index,
        .stream = true,
        .failed_status = 504,
        .failed_reason = REASON_UPSTREAM_TIMEOUT,
        .billed = true,
        .usage = { .input = input, .output = output, .cost_micros = -1, .known = USAGE_ESTIMATED },
        .flags = LEDGER_CUT };
    return event;
}

static void
expect_meters(const struct world *world, int64_t settled, int64_t held, int64_t in_flight)
{
    assert_int_equal(meter_of(world->gate, world->day).settled, settled);
    assert_int_equal(meter_of(world->gate, world->month).settled, settled);
    assert_int_equal(meter_of(world->gate, world->day).held, held);
    assert_int_equal(meter_of(world->gate, world->parallel).held, in_flight);
}

static void
what_may_be_billed_is_booked_first(void **state)
{
    struct gate *gate = *state;
    const struct world world = a_call_on_two_routes(gate, 1000000);
    expect_meters(&world, 0, FIRST_HELD, 1);
    struct event event = a_billed_reroute(world.hold_id, 1, 100, 50);
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_true(verdict.booked);
    assert_int_equal(verdict.cost_micros, 2000);
    expect_meters(&world, 2000, SECOND_HELD, 1);

    const struct ledger_row *first = last_ledger(gate);
    assert_int_equal(first->kind, LEDGER_SETTLE);
    assert_int_equal(first->attempt, 0);
    assert_string_equal(first->provider, "bills");
    assert_int_equal(first->status, 504);
    assert_int_equal(first->reason, REASON_UPSTREAM_TIMEOUT);
    assert_int_equal(first->flags, LEDGER_CUT | LEDGER_ESTIMATED);
    assert_true(first->cost_micros <= first->bound_micros);

    event = a_settle(world.hold_id, 100, 70);
    event.settle.attempts = 2;
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 240);
    assert_int_equal(gate->bank.ledger_count, 2);
    assert_int_equal(last_ledger(gate)->attempt, 1);
    assert_string_equal(last_ledger(gate)->provider, "stops");
    expect_meters(&world, 2240, 0, 0);
}

static void
both_attempts_fit_or_the_first_one_rules(void **state)
{
    static const struct {
        int64_t cap, output; /* of the first attempt */
        bool fits;
    } rows[] = {
        { FIRST_HELD, 50, true },               /* 2000 and 500 */
        { FIRST_HELD, 170, true },              /* 4400 and 500 */
        { FIRST_HELD, 175, true },              /* 4500 and 500: all there is */
        { FIRST_HELD, 176, false },             /* 4520 and 500 */
        { FIRST_HELD, 200, false },
        { FIRST_HELD + SECOND_HELD, 200, true },
        { FIRST_HELD + SECOND_HELD - 1, 200, false },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct world world = a_call_on_two_routes(gate, rows[i].cap);
        struct event event = a_billed_reroute(world.hold_id, 1, 100, rows[i].output);
        if (rows[i].fits) {
            const struct verdict verdict = expect_allowed(gate, &event);
            assert_true(verdict.cost_micros + SECOND_HELD <= rows[i].cap);
        } else {
            expect_refused(gate, &event, REASON_COST_HELD);
            assert_int_equal(gate->bank.ledger_count, 0);
            event = a_settle(world.hold_id, 100, rows[i].output);
            event.settle.attempts = 1;
            expect_allowed(gate, &event);
            assert_int_equal(gate->bank.ledger_count, 1);
            expect_meters(&world, 1000 + rows[i].output * 20, 0, 0);
        }
        gate_end((void **)&gate);
    }
}

static void
a_crash_between_attempts_books_both(void **state)
{
    struct gate *gate = *state;
    const struct world world = a_call_on_two_routes(gate, 1000000);
    const struct event event = a_billed_reroute(world.hold_id, 1, 100, 50);
    expect_allowed(gate, &event);
    gate_orphan(gate, world.hold_id);
    assert_int_equal(gate->bank.ledger_count, 2);
    assert_int_equal(gate->bank.ledger[0].cost_micros, 2000);
    assert_int_equal(last_ledger(gate)->kind, LEDGER_ORPHAN);
    assert_int_equal(last_ledger(gate)->attempt, 1);
    assert_int_equal(last_ledger(gate)->cost_micros, SECOND_HELD); /* that provider stops on abort */
    expect_meters(&world, 2000 + SECOND_HELD, 0, 0);
}

static void
a_reroute_that_nobody_waited_for_is_given_back(void **state)
{
    struct gate *gate = *state;
    const struct world world = a_call_on_two_routes(gate, 1000000);
    struct event event = a_billed_reroute(world.hold_id, 1, 100, 50);
    expect_allowed(gate, &event);
    /* The client left while the verdict was on its way: what is settled is the first attempt. */
    event = a_settle(world.hold_id, 100, 50);
    event.settle.attempts = 1;
    event.settle.usage.known = USAGE_ESTIMATED;
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.cost_micros, 0);
    assert_false(verdict.billed);
    assert_int_equal(gate->bank.ledger_count, 2);
    assert_int_equal(last_ledger(gate)->kind, LEDGER_RELEASE);
    assert_int_equal(last_ledger(gate)->attempt, 1);
    expect_meters(&world, 2000, 0, 0);
}

static void
attempts_of_both_kinds_are_booked_once_each(void **state)
{
    struct gate *gate = *state;
    const struct world world = a_call_on_two_routes(gate, 1000000);
    struct event event = a_billed_reroute(world.hold_id, 1, 100, 50);
    event.reroute.billed = false;
    expect_allowed(gate, &event);
    event = a_billed_reroute(world.hold_id, 0, 100, 50);
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 200);
    event = a_billed_reroute(world.hold_id, 1, 100, 50);
    event.reroute.billed = false;
    expect_allowed(gate, &event);
    event = a_settle(world.hold_id, 100, 70);
    event.settle.attempts = 4;
    expect_allowed(gate, &event);
    int seen[4] = { 0 };
    int64_t cost_micros = 0;
    for (int i = 0; i < gate->bank.ledger_count; i++) {
        seen[gate->bank.ledger[i].attempt]++;
        cost_micros += gate->bank.ledger[i].cost_micros;
    }
    for (size_t i = 0; i < countof(seen); i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(cost_micros, 440);
    expect_meters(&world, 440, 0, 0);
}

static void
a_limit_taken_out_of_the_configuration_keeps_its_meter_right(void **state)
{
    struct gate *gate = *state;
    const struct world world = a_call_on_two_routes(gate, 1000000);
    const struct limit day = *world.day;
    struct policy *older = gate->policy;
    gate->policy = a_policy(2);
    gate->older = older;
    older->version = 99; /* and the policy of the hold is gone too */
    struct event event = a_billed_reroute(world.hold_id, 1, 100, 50);
    expect_allowed(gate, &event);
    event = a_settle(world.hold_id, 100, 70);
    event.settle.attempts = 2;
    expect_allowed(gate, &event);
    assert_int_equal(meter_of(gate, &day).settled, 2240);
    assert_int_equal(meter_of(gate, &day).held, 0);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("what may be billed is booked before the next attempt leaves", what_may_be_billed_is_booked_first,
        gate_make, gate_end),
    CASE("both attempts fit, or the first one rules", both_attempts_fit_or_the_first_one_rules),
    CASE_WITH("a crash between attempts books both", a_crash_between_attempts_books_both, gate_make, gate_end),
    CASE_WITH("a reroute that nobody waited for is given back", a_reroute_that_nobody_waited_for_is_given_back,
        gate_make, gate_end),
    CASE_WITH("attempts of both kinds are booked once each", attempts_of_both_kinds_are_booked_once_each,
        gate_make, gate_end),
    CASE_WITH("a limit taken out of the configuration keeps its meter right",
        a_limit_taken_out_of_the_configuration_keeps_its_meter_right, gate_make, gate_end),
};

UNIT_MAIN(tests)
