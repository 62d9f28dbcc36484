/* tests/unit/core/routed_test.c
 *
 * Goal: a limit on what one provider serves counts the attempts that go there and no others, whichever way a call
 * goes from route to route, and says in the ledger which they were.
 * Method: calls through the gate of gate.h to a model whose routes are at two providers, with a limit on each; gate.c
 * audits meters against open holds after each event. */
#include "gate.h"

#include <string.h>

/* 100 of input and 200 of output at the first route, ten times dearer, and at the second. */
#define FIRST_HELD  5000
#define SECOND_HELD 500

struct world {
    struct gate *gate;
    struct limit *first, *second;
    int64_t hold_id;
};

static struct world
limits_on_both(struct gate *gate, enum count_kind counts, enum window_kind window, int64_t cap)
{
    struct world world = { .gate = gate };
    world.first = add_limit(gate->policy, "first", counts, PER_ACCOUNT, window, 1000000);
    world.second = add_limit(gate->policy, "second", counts, PER_ACCOUNT, window, cap);
    world.first->of_provider = "bills";
    world.second->of_provider = "stops";
    return world;
}

static void
call_first(struct world *world)
{
    const struct event event = a_call(MODEL_TWO, 100, -1);
    world->hold_id = expect_allowed(world->gate, &event).hold_id;
}

/* With `billed`, the attempt before may have cost 100 of input and 50 of output. */
static struct event
a_reroute(int64_t hold_id, int32_t route_index, bool billed)
{
    struct event event = { .kind = EVENT_REROUTE };
    event.reroute = (struct reroute_event){ .hold_id = hold_id,
        .route_index = route_index,
        .stream = true,
        .failed_status = billed ? 504 : 503,
        .failed_reason = REASON_UPSTREAM_BROKEN,
        .billed = billed,
        .usage = { .input = 100, .output = billed ? 50 : 0, .cost_micros = -1, .known = billed ? USAGE_ESTIMATED : 0 } };
    return event;
}

static struct verdict
go_to(const struct world *world, int32_t route_index, bool billed)
{
    const struct event event = a_reroute(world->hold_id, route_index, billed);
    return expect_allowed(world->gate, &event);
}

static void
settle(const struct world *world, int32_t attempts)
{
    struct event event = a_settle(world->hold_id, 100, 70);
    event.settle.attempts = attempts;
    expect_allowed(world->gate, &event);
}

static void
expect(const struct world *world, int64_t first_settled, int64_t first_held, int64_t second_settled, int64_t second_held)
{
    assert_int_equal(meter_of(world->gate, world->first).settled, first_settled);
    assert_int_equal(meter_of(world->gate, world->first).held, first_held);
    assert_int_equal(meter_of(world->gate, world->second).settled, second_settled);
    assert_int_equal(meter_of(world->gate, world->second).held, second_held);
}

static void
each_provider_is_charged_for_its_own_attempts(void **state)
{
    static const struct {
        const char *what;
        enum count_kind counts;
        enum window_kind window;
        bool billed;
        int64_t held[2]; /* at the first while it is asked, at the second then */
        int64_t kept;    /* at the first, held on after its attempt */
        int64_t between, settled[2];
    } rows[] = {
        { "cost that was not billed", COUNT_COST, WINDOW_DAY, false, { FIRST_HELD, SECOND_HELD }, 0, 0, { 0, 240 } },
        { "cost that may be", COUNT_COST, WINDOW_LIFETIME, true, { FIRST_HELD, SECOND_HELD }, 0, 2000, { 2000, 240 } },
        { "cost, rolling", COUNT_COST, WINDOW_ROLLING, true, { FIRST_HELD, SECOND_HELD }, 0, 2000, { 2000, 240 } },
        { "tokens", COUNT_TOKENS, WINDOW_MONTH, true, { 300, 300 }, 0, 150, { 150, 170 } },
        { "calls in flight", COUNT_IN_FLIGHT, WINDOW_CONCURRENCY, false, { 1, 1 }, 0, 0, { 0, 0 } },
        { "requests", COUNT_REQUESTS, WINDOW_DAY, false, { 1, 1 }, 1, 0, { 1, 1 } },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct world world = limits_on_both(gate, rows[i].counts, rows[i].window, 1000000);
        world.first->span_ms = world.second->span_ms = rows[i].window == WINDOW_ROLLING ? 3600000 : 0;
        print_message("# %s\n", rows[i].what);
        call_first(&world);
        expect(&world, 0, rows[i].held[0], 0, 0);
        go_to(&world, 1, rows[i].billed);
        expect(&world, rows[i].between, rows[i].kept, 0, rows[i].held[1]);
        settle(&world, 2);
        expect(&world, rows[i].settled[0], 0, rows[i].settled[1], 0);
        gate_end((void **)&gate);
    }
}

static void
a_limit_without_room_there_refuses_the_route(void **state)
{
    static const struct {
        enum count_kind counts;
        enum window_kind window;
        enum hold_mode mode;
        enum at_cap_kind at_cap;
        int64_t cap;
        enum reason reason;
    } rows[] = {
        { COUNT_COST, WINDOW_DAY, HOLD_MODE_STREAM, AT_CAP_REFUSE, SECOND_HELD - 1, REASON_COST_HELD },
        { COUNT_COST, WINDOW_DAY, HOLD_MODE_STREAM, AT_CAP_REFUSE, SECOND_HELD, REASON_OK },
        { COUNT_COST, WINDOW_DAY, HOLD_MODE_NONE, AT_CAP_REFUSE, 1, REASON_OK },
        { COUNT_COST, WINDOW_DAY, HOLD_MODE_NONE, AT_CAP_REFUSE, 0, REASON_COST_HELD },
        { COUNT_COST, WINDOW_DAY, HOLD_MODE_STREAM, AT_CAP_SHADOW, 1, REASON_OK },
        { COUNT_TOKENS, WINDOW_DAY, HOLD_MODE_STREAM, AT_CAP_REFUSE, 299, REASON_TOKENS_HELD },
        { COUNT_TOKENS, WINDOW_DAY, HOLD_MODE_STREAM, AT_CAP_REFUSE, 300, REASON_OK },
        { COUNT_REQUESTS, WINDOW_MONTH, HOLD_MODE_STREAM, AT_CAP_REFUSE, 0, REASON_RATE },
        { COUNT_REQUESTS, WINDOW_MONTH, HOLD_MODE_STREAM, AT_CAP_REFUSE, 1, REASON_OK },
        { COUNT_IN_FLIGHT, WINDOW_CONCURRENCY, HOLD_MODE_STREAM, AT_CAP_REFUSE, 0, REASON_IN_FLIGHT },
        { COUNT_IN_FLIGHT, WINDOW_CONCURRENCY, HOLD_MODE_STREAM, AT_CAP_REFUSE, 1, REASON_OK },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct world world = limits_on_both(gate, rows[i].counts, rows[i].window, rows[i].cap);
        world.second->hold = rows[i].mode;
        world.second->at_cap = rows[i].at_cap;
        call_first(&world);
        const struct meter before = meter_of(gate, world.first);
        const struct event event = a_reroute(world.hold_id, 1, true);
        const struct verdict verdict = gate_decide(gate, &event);
        const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
        if (reason != rows[i].reason) {
            fail_msg("row %zu: %s", i, reason_row(reason)->code);
        }
        if (reason != REASON_OK) {
            assert_string_equal(verdict.refusal.limit_name, "second");
            const struct meter after = meter_of(gate, world.first);
            assert_memory_equal(&before, &after, sizeof before);
            assert_int_equal(bank_hold(gate, world.hold_id)->attempt_count, 1);
        }
        gate_end((void **)&gate);
    }
}

static void
each_time_it_goes_there_counts(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_REQUESTS, WINDOW_DAY, 1000000);
    struct limit *cost = add_limit(gate->policy, "cost", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
    cost->of_provider = "bills";
    call_first(&world);
    go_to(&world, 1, false);
    assert_int_equal(meter_of(gate, cost).held, 0);
    go_to(&world, 0, true); /* what the second broke off with is not the first provider's */
    assert_int_equal(meter_of(gate, cost).settled, 0);
    assert_int_equal(meter_of(gate, cost).held, FIRST_HELD);
    go_to(&world, 1, true);
    assert_int_equal(meter_of(gate, cost).settled, 2000);
    settle(&world, 4);
    expect(&world, 2, 0, 2, 0);
    assert_int_equal(meter_of(gate, cost).settled, 2000);
    assert_int_equal(meter_of(gate, cost).held, 0);
}

static void
a_bucket_is_charged_when_it_goes_there(void **state)
{
    struct gate *gate = *state;
    struct world world = { .gate = gate };
    world.first = add_bucket(gate->policy, "first", PER_ACCOUNT, 1, 60000, 2);
    world.second = add_bucket(gate->policy, "second", PER_ACCOUNT, 1, 60000, 1);
    world.first->of_provider = "bills";
    world.second->of_provider = "stops";
    call_first(&world);
    assert_int_equal(meter_of(gate, world.first).settled, 60000);
    assert_int_equal(meter_of(gate, world.second).settled, 0);
    go_to(&world, 1, false);
    assert_int_equal(meter_of(gate, world.first).settled, 60000);
    assert_int_equal(meter_of(gate, world.second).settled, 60000);
    settle(&world, 2);
    call_first(&world);
    const struct event event = a_reroute(world.hold_id, 1, false);
    expect_refused(gate, &event, REASON_RATE);
}

static void
the_window_is_that_of_the_attempt(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_COST, WINDOW_DAY, 1000000);
    const int64_t day_ms = INT64_C(86400000);
    call_first(&world);
    const int64_t today_ms = gate->now_ms - gate->now_ms % day_ms;
    gate->now_ms = today_ms + day_ms + 5;
    go_to(&world, 1, true);
    settle(&world, 2);
    assert_int_equal(meter_in_window(gate, world.first, today_ms).settled, 2000);
    assert_int_equal(meter_in_window(gate, world.second, today_ms + day_ms).settled, 240);
    assert_int_equal(meter_in_window(gate, world.second, today_ms).settled, 0);
}

static void
an_orphan_is_the_last_provider_s(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_COST, WINDOW_DAY, 1000000);
    call_first(&world);
    go_to(&world, 1, true);
    gate_orphan(gate, world.hold_id);
    expect(&world, 2000, 0, SECOND_HELD, 0);
}

static bool
tells(const struct ledger_row *row, const char *what)
{
    return slice_find(row->inputs, slice_str(what)) >= 0;
}

static void
the_ledger_says_which_attempts_counted(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_COST, WINDOW_DAY, 1000000);
    world.second->nth = 2; /* another one had its name before */
    call_first(&world);
    assert_true(slice_find(bank_hold(gate, world.hold_id)->inputs, SLICE("second")) < 0);
    go_to(&world, 1, true);
    assert_true(tells(last_ledger(gate), "{\"limit\":\"first\""));
    assert_false(tells(last_ledger(gate), "\"to\":"));
    settle(&world, 2);
    const struct ledger_row *row = last_ledger(gate);
    const ptrdiff_t first = slice_find(row->inputs, SLICE("{\"limit\":\"first\""));
    const ptrdiff_t to = slice_find(row->inputs, SLICE(",\"to\":1}"));
    const ptrdiff_t second = slice_find(row->inputs, SLICE(",{\"limit\":\"second\",\"nth\":2,"));
    const ptrdiff_t from = slice_find(row->inputs, SLICE(",\"from\":1}]"));
    assert_true(first > 0 && first < to && to < second && second < from);
}

static int
count_of(struct slice text, const char *what)
{
    int count = 0;
    ptrdiff_t at = 0;
    while ((at = slice_find(text, slice_str(what))) >= 0) {
        text = slice_of(text.ptr + at + 1, text.len - (size_t)at - 1);
        count++;
    }
    return count;
}

/* Its books are read while it is in flight, too. */
static void
an_open_hold_says_which_attempts_count(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_COST, WINDOW_DAY, 1000000);
    call_first(&world);
    go_to(&world, 1, true);
    go_to(&world, 0, true);
    go_to(&world, 0, true); /* it stays there */
    const struct slice inputs = bank_hold(gate, world.hold_id)->inputs;
    const ptrdiff_t first = slice_find(inputs, SLICE("{\"limit\":\"first\""));
    const ptrdiff_t second = slice_find(inputs, SLICE(",\"to\":1},{\"limit\":\"second\""));
    const ptrdiff_t again = slice_find(inputs, SLICE(",\"from\":1,\"to\":2},{\"limit\":\"first\""));
    const ptrdiff_t last = slice_find(inputs, SLICE(",\"from\":2}]"));
    assert_true(first > 0 && first < second && second < again && again < last);
    assert_int_equal(count_of(inputs, "{\"limit\":"), 3);
    settle(&world, 4);
    assert_int_equal(count_of(last_ledger(gate)->inputs, "{\"limit\":"), 3);
}

/* An operator takes a limit out while calls run that it counts; then their gateway dies. */
static void
the_ledger_names_limits_that_are_configured_no_more(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_REQUESTS, WINDOW_LIFETIME, 1000000);
    call_first(&world);
    go_to(&world, 1, false);
    gate->policy->limit_count = 0;
    gate_orphan(gate, world.hold_id);
    assert_true(tells(last_ledger(gate), "{\"limit\":\"first\""));
    assert_true(tells(last_ledger(gate), "{\"limit\":\"second\""));
    expect(&world, 1, 0, 1, 0);
}

static void
only_what_may_be_asked_rests(void **state)
{
    struct gate *gate = *state;
    struct world world = limits_on_both(gate, COUNT_COST, WINDOW_DAY, 1000000);
    add_limit(gate->policy, "elsewhere", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5)->of_provider = "third";
    call_first(&world);
    assert_int_equal(bank_hold(gate, world.hold_id)->part_count, 2);
    assert_true(part_rests(&bank_hold(gate, world.hold_id)->parts[1]));
    struct event event = a_call(MODEL_PAID, 100, -1); /* it has one route alone */
    const int64_t hold_id = expect_allowed(gate, &event).hold_id;
    assert_int_equal(bank_hold(gate, hold_id)->part_count, 1);
    event = a_release(world.hold_id);
    expect_allowed(gate, &event);
    assert_int_equal(meter_of(gate, world.first).settled, 0);
}

static const struct CMUnitTest tests[] = {
    CASE("each provider is charged for its own attempts", each_provider_is_charged_for_its_own_attempts),
    CASE("a limit without room there refuses the route", a_limit_without_room_there_refuses_the_route),
    CASE_WITH("each time it goes there counts", each_time_it_goes_there_counts, gate_make, gate_end),
    CASE_WITH("a bucket is charged when it goes there", a_bucket_is_charged_when_it_goes_there, gate_make, gate_end),
    CASE_WITH("the window is that of the attempt", the_window_is_that_of_the_attempt, gate_make, gate_end),
    CASE_WITH("an orphan is the last provider's", an_orphan_is_the_last_provider_s, gate_make, gate_end),
    CASE_WITH("the ledger says which attempts counted", the_ledger_says_which_attempts_counted, gate_make, gate_end),
    CASE_WITH("an open hold says which attempts count", an_open_hold_says_which_attempts_count, gate_make, gate_end),
    CASE_WITH("the ledger names limits that are configured no more", the_ledger_names_limits_that_are_configured_no_more,
        gate_make, gate_end),
    CASE_WITH("only what may be asked rests", only_what_may_be_asked_rests, gate_make, gate_end),
};

UNIT_MAIN(tests)
