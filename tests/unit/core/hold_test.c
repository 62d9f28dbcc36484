/* tests/unit/core/hold_test.c
 *
 * Goal: a hold is resolved exactly once, what it promised goes back to the windows it was taken from, and
 * every attempt is booked; running streams get what room there is and not a micro more.
 * Method: calls made through the gate of gate.h, then one event on their hold; gate.c audits meters against
 * open holds after each. */
#include "gate.h"

#include <string.h>

struct held {
    struct gate *gate;
    struct limit *day, *parallel, *rate;
    int64_t hold_id;
};

/* A stream of 100 input tokens under a day's cap, one parallel slot of 5 and a rate. */
static struct held
a_stream(struct gate *gate, enum model_of_test model, int64_t cap)
{
    struct held held = { .gate = gate };
    held.day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, cap);
    held.parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5);
    held.rate = add_bucket(gate->policy, "rate", PER_KEY, 1, HOUR_MS, 50);
    const struct event event = a_call(model, 100, -1);
    held.hold_id = expect_allowed(gate, &event).hold_id;
    return held;
}

static void
expect_meters(const struct held *held, int64_t settled, int64_t in_flight, int64_t charged_requests)
{
    assert_int_equal(meter_of(held->gate, held->day).settled, settled);
    assert_int_equal(meter_of(held->gate, held->parallel).held, in_flight);
    assert_int_equal(meter_of(held->gate, held->rate).settled, charged_requests * HOUR_MS);
}

/* --- The end of a call. */

static void
ends_of_a_call(void **state)
{
    static const struct {
        const char *why;
        bool dispatched, unbilled;
        int64_t input, output, provider_micros; /* -1 = none given */
        uint32_t known;
        enum ledger_kind kind;
        int64_t cost;
        uint32_t flags;
        int64_t requests; /* still charged to the rate */
    } rows[] = {
        { "settled", true, false, 100, 70, -1, 3, LEDGER_SETTLE, 240, 0, 1 },
        { "settled beyond the hold", true, false, 100, 3000, -1, 3, LEDGER_SETTLE, 6100, 0, 1 },
        { "settled at nothing", true, false, 0, 0, -1, 3, LEDGER_SETTLE, 0, 0, 1 },
        { "an estimate is labelled", true, false, 100, 70, -1, 4, LEDGER_SETTLE, 240, LEDGER_ESTIMATED, 1 },
        { "usage not reported at all", true, false, 0, 0, -1, 0, LEDGER_SETTLE, 0, LEDGER_UNPRICED, 1 },
        { "the provider's figure", true, false, 100, 70, 250, 3, LEDGER_SETTLE, 250, LEDGER_PROVIDER_COST, 1 },
        { "the provider's figure is absurd", true, false, 100, 70, 99999, 3, LEDGER_SETTLE, 240, LEDGER_COST_DISPUTED, 1 },
        { "known as unbilled", true, true, 100, 70, -1, 3, LEDGER_UNBILLED, 0, 0, 1 },
        { "nothing left the process", false, false, 0, 0, -1, 0, LEDGER_RELEASE, 0, 0, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct held held = a_stream(gate, MODEL_PAID, 100000);
        expect_meters(&held, 0, 1, 1);
        struct event event = a_settle(held.hold_id, rows[i].input, rows[i].output);
        event.settle.dispatched = rows[i].dispatched;
        event.settle.unbilled = rows[i].unbilled;
        event.settle.usage.known = rows[i].known;
        event.settle.usage.cost_micros = rows[i].provider_micros;
        event.settle.status = 207;
        const struct verdict verdict = expect_allowed(gate, &event);
        if (verdict.cost_micros != rows[i].cost) {
            fail_msg("%s: cost %lld", rows[i].why, (long long)verdict.cost_micros);
        }
        assert_null(bank_hold(gate, held.hold_id));
        expect_meters(&held, rows[i].cost, 0, rows[i].requests);
        assert_int_equal(gate->bank.ledger_count, 1);
        const struct ledger_row *row = last_ledger(gate);
        assert_int_equal(row->kind, rows[i].kind);
        assert_int_equal(row->cost_micros, rows[i].cost);
        assert_int_equal(row->flags, rows[i].flags);
        assert_int_equal(row->hold_id, held.hold_id);
        assert_int_equal(row->status, 207);
        assert_int_equal(row->est_micros, 500);
        assert_int_equal(row->bound_micros, 8100);
        assert_int_equal(row->started_ms, gate->now_ms);
        assert_string_equal(row->provider, "bills");
        assert_string_equal(row->upstream_model, "upstream");
        assert_string_equal(row->source, "relay");
        assert_true(row->inputs.len > 2);

        /* A second settlement of any kind changes nothing. */
        struct bank *before = test_malloc(sizeof *before); /* more than a stack bears */
        memcpy(before, &gate->bank, sizeof *before);
        expect_allowed(gate, &event);
        event = a_release(held.hold_id);
        expect_allowed(gate, &event);
        gate_orphan(gate, held.hold_id);
        assert_memory_equal(before, &gate->bank, sizeof *before);
        test_free(before);
        gate_end((void **)&gate);
    }
}

/* Two calls under a cap of 2,000; the second holds what it does while the first is settled. */
static void
what_passes_a_cap_is_told(void **state)
{
    static const struct {
        const char *why;
        int64_t input, output;
        bool dispatched, orphan;
        int64_t cost, beyond; /* without what the other call holds */
    } rows[] = {
        { "far from it", 100, 70, true, false, 240, 0 },
        { "to the micro", 100, 950, true, false, 2000, 0 },
        { "beyond it", 100, 951, true, false, 2002, 2 },
        { "far beyond it", 100, 3000, true, false, 6100, 4100 },
        { "what costs nothing passes nothing", 0, 0, true, false, 0, 0 },
        { "nor does what never left", 100, 3000, false, false, 0, 0 },
        { "an orphan, booked at its bound", 0, 0, false, true, 2000, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        for (int64_t others = 0; others < 2; others++) {
            struct gate *gate = NULL;
            gate_make((void **)&gate);
            const struct held held = a_stream(gate, MODEL_PAID, 2000);
            struct event event = a_call(MODEL_PAID, 100, MIN_ANSWER);
            if (others) {
                expect_allowed(gate, &event);
            }
            const int64_t held_micros = bank_hold(gate, held.hold_id)->held_micros;
            const int64_t others_micros = meter_of(gate, held.day).held - held_micros;
            assert_true(others ? others_micros > 0 : others_micros == 0);
            event = a_settle(held.hold_id, rows[i].input, rows[i].output);
            event.settle.dispatched = rows[i].dispatched;
            const struct verdict verdict =
                rows[i].orphan ? gate_orphan(gate, held.hold_id) : expect_allowed(gate, &event);
            const int64_t beyond = max_i64(0, rows[i].cost + others_micros - 2000);
            if (!verdict.booked || verdict.cost_micros != rows[i].cost
                || verdict.overshoot_micros != (rows[i].cost ? beyond : 0)
                || (!others && verdict.overshoot_micros != rows[i].beyond)) {
                fail_msg("%s: cost %lld, %lld beyond", rows[i].why, (long long)verdict.cost_micros,
                    (long long)verdict.overshoot_micros);
            }
            assert_int_equal(
                verdict.est_micros, rows[i].dispatched || rows[i].orphan ? 500 : 0);
            event = a_settle(held.hold_id, 100, 3000);
            const struct verdict again = expect_allowed(gate, &event);
            assert_false(again.booked);
            assert_int_equal(again.overshoot_micros, 0);
            gate_end((void **)&gate);
        }
    }
}

static void
twice_in_one_batch(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 100000);
    const struct event events[] = { a_settle(held.hold_id, 100, 70), a_settle(held.hold_id, 100, 70),
        a_release(held.hold_id), an_extend(held.hold_id, STEP) };
    struct verdict verdicts[4];
    gate_batch(gate, events, 4, verdicts);
    assert_int_equal(verdicts[0].cost_micros, 240);
    assert_int_equal(verdicts[1].cost_micros, 0);
    assert_int_equal(verdicts[3].kind, VERDICT_REFUSED); /* nothing more may be relayed */
    expect_meters(&held, 240, 0, 1);
    assert_int_equal(gate->bank.ledger_count, 1);
}

static void
an_unknown_hold(void **state)
{
    struct gate *gate = *state;
    struct event event = a_settle(987654, 100, 70);
    expect_allowed(gate, &event);
    event = an_extend(987654, STEP);
    expect_refused(gate, &event, REASON_STORE_UNAVAILABLE);
    event = (struct event){ .kind = EVENT_REROUTE, .reroute = { .hold_id = 987654 } };
    expect_refused(gate, &event, REASON_ROUTES_EXHAUSTED);
    assert_int_equal(gate->bank.ledger_count, 0);
}

static void
a_refund_is_what_has_not_drained(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 100000);
    gate->now_ms += HOUR_MS / 4;
    struct event event = a_call(MODEL_PAID, 100, 0);
    const int64_t second = expect_allowed(gate, &event).hold_id;
    assert_int_equal(meter_of(gate, held.rate).settled, HOUR_MS + HOUR_MS * 3 / 4);
    event = a_release(held.hold_id); /* a quarter of the first has drained */
    expect_allowed(gate, &event);
    assert_int_equal(meter_of(gate, held.rate).settled, HOUR_MS);
    gate->now_ms += 2 * HOUR_MS; /* all of the second */
    event = a_call(MODEL_PAID, 100, 0);
    expect_allowed(gate, &event);
    event = a_release(second);
    expect_allowed(gate, &event);
    assert_int_equal(meter_of(gate, held.rate).settled, HOUR_MS); /* the third stays charged */
}

static void
estimates_are_learned(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 50000, 100);
    event.call.body_bytes = 4000;
    struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.est_input, 1300); /* 4 bytes a token, and a third more */
    event = a_settle(verdict.hold_id, 2000, 50);
    event.settle.output_bytes = 400;
    expect_allowed(gate, &event);
    /* The same thread: what it used, and what was appended. 2 bytes a token moved the ratio by an eighth. */
    event = a_call(MODEL_PAID, 50000, 100);
    event.call.body_bytes = 4000 + 375;
    verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.est_input, 2000 + 130);
    assert_int_equal(verdict.bytes_per_token_milli, 3000 + (8000 - 3000) / 8);
    /* A shorter body says that the thread was compacted. */
    event.call.body_bytes = 3750;
    verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.est_input, 1300);
    /* Never over what the bytes can hold, and the context where they say nothing. */
    event.call.input_bytes_bound = 77;
    assert_int_equal(expect_allowed(gate, &event).est_input, 77);
    event.call.input_unbounded = true;
    verdict = expect_allowed(gate, &event);
    assert_int_equal(bank_hold(gate, verdict.hold_id)->input_bound, CONTEXT);
}

/* --- Orphans. */

static void
orphans_are_booked_whole(void **state)
{
    static const struct {
        const char *why;
        uint32_t closed; /* routes: 1 leaves the one that stops on abort */
        enum orphan_rule rule;
        int64_t cost;
    } rows[] = {
        { "bills all: at its bound", 2, ORPHAN_CHARGE, 10 * (100 + 2 * 4000) },
        { "stops: at what was held", 1, ORPHAN_CHARGE, 100 + 2 * 200 },
        { "released by configuration", 2, ORPHAN_RELEASE, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->orphans = rows[i].rule;
        struct held held = { .gate = gate };
        held.day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
        held.parallel = add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 5);
        held.rate = add_bucket(gate->policy, "rate", PER_KEY, 1, HOUR_MS, 50);
        struct event event = a_call(MODEL_TWO, 100, -1);
        event.call.routes_closed = rows[i].closed;
        held.hold_id = expect_allowed(gate, &event).hold_id;
        gate->ids = (struct ids){ 2, 1 }; /* the next epoch */
        gate_orphan(gate, held.hold_id);
        assert_null(bank_hold(gate, held.hold_id));
        expect_meters(&held, rows[i].cost, 0, 1);
        const struct ledger_row *row = last_ledger(gate);
        assert_int_equal(row->kind, LEDGER_ORPHAN);
        assert_int_equal(row->cost_micros, rows[i].cost);
        assert_int_equal(row->flags, LEDGER_ESTIMATED | LEDGER_CUT);
        assert_string_equal(row->source, "crash");
        const int count = gate->bank.ledger_count;
        gate_orphan(gate, held.hold_id);
        assert_int_equal(gate->bank.ledger_count, count);
        gate_end((void **)&gate);
    }
}

static void
an_orphan_of_limits_that_are_gone(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 100000);
    const int64_t bound = bank_hold(gate, held.hold_id)->bound_micros;
    const struct limit day = *held.day, parallel = *held.parallel, rate = *held.rate;
    gate->policy->limit_count = 0; /* the next start has none of them */
    gate_orphan(gate, held.hold_id);
    assert_int_equal(meter_of(gate, &day).settled, bound);
    assert_int_equal(meter_of(gate, &day).held, 0);
    assert_int_equal(meter_of(gate, &parallel).held, 0);
    assert_int_equal(meter_of(gate, &parallel).settled, 0);
    assert_int_equal(meter_of(gate, &rate).settled, HOUR_MS);
}

static void
an_orphan_whose_row_is_damaged(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 100000);
    bank_hold(gate, held.hold_id)->attempt_count = 0;
    gate_orphan(gate, held.hold_id);
    assert_null(bank_hold(gate, held.hold_id));
}

/* --- Extension. */

static void
extended_to_exact_room(void **state)
{
    /* 100 input, 200 output held at first: 500 micros; 100 of them may be relayed. */
    static const struct {
        const char *why;
        int64_t other_held, want;
        int64_t held_output, allowed;
    } rows[] = {
        { "room for a step", 0, 100, 300, 200 },
        { "room for ten", 0, 1000, 1200, 1100 },
        { "all of the bound", 0, 5000, 4000, INT64_MAX },
        { "a number from nowhere", 0, INT64_MAX, 4000, INT64_MAX },
        { "less than nothing", 0, -5, 200, 100 },
        { "room for the step to the micro", 7600 - 200, 100, 300, 200 },
        { "one micro less: the last ones, no step kept back", 7600 - 199, 100, 299, 299 },
        { "no room at all: what is held may be relayed", 7600, 100, 200, 200 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct held held = a_stream(gate, MODEL_PAID, 8100);
        struct event event = a_call(MODEL_PAID, rows[i].other_held, 0);
        if (rows[i].other_held) {
            set_hash(event.call.thread_hash, 'o');
            expect_allowed(gate, &event);
        }
        event = an_extend(held.hold_id, rows[i].want);
        const struct verdict verdict = expect_allowed(gate, &event);
        const struct hold_row *hold = bank_hold(gate, held.hold_id);
        if (hold->held_output != rows[i].held_output || verdict.output_allowed != rows[i].allowed) {
            fail_msg("%s: held %lld, allowed %lld", rows[i].why, (long long)hold->held_output,
                (long long)verdict.output_allowed);
        }
        assert_int_equal(hold->held_micros, 100 + 2 * rows[i].held_output);
        assert_true(meter_of(gate, held.day).held <= 8100);
        gate_end((void **)&gate);
    }
}

static void
after_the_last_tokens_room_may_come_back(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 8100);
    struct event other = a_call(MODEL_PAID, 7600, 0);
    set_hash(other.call.thread_hash, 'o');
    const int64_t other_id = expect_allowed(gate, &other).hold_id;
    struct event event = an_extend(held.hold_id, STEP);
    event.extend.output_tokens = 50;
    struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.output_allowed, 200); /* all that is held: nothing is kept back any more */
    assert_string_equal(verdict.refusal.limit_name, "day"); /* who would end it */
    event = a_settle(other_id, 10, 0);
    expect_allowed(gate, &event);
    event = an_extend(held.hold_id, STEP);
    event.extend.output_tokens = 150;
    verdict = expect_allowed(gate, &event);
    assert_true(verdict.output_allowed > 200);
    assert_int_equal(verdict.output_allowed, bank_hold(gate, held.hold_id)->held_output - STEP);
}

static void
the_exact_input_replaces_the_estimate(void **state)
{
    static const struct {
        int64_t cap, exact, held_micros;
    } rows[] = {
        { 8100, 40, 440 },   /* less: room for others */
        { 8100, 400, 800 },  /* more */
        { 8100, 9000, 9400 },/* more than there is: true all the same, and the next decision sees it */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct held held = a_stream(gate, MODEL_PAID, rows[i].cap);
        struct event event = an_extend(held.hold_id, 0);
        event.extend.input_exact = rows[i].exact;
        expect_allowed(gate, &event);
        const struct hold_row *hold = bank_hold(gate, held.hold_id);
        assert_int_equal(hold->held_micros, rows[i].held_micros);
        assert_int_equal(hold->held_output, 200);
        assert_int_equal(hold->bound_micros, rows[i].exact + 8000);
        assert_int_equal(meter_of(gate, held.day).held, rows[i].held_micros);
        gate_end((void **)&gate);
    }
}

static void
an_extension_under_no_limit(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 100, -1);
    const int64_t hold_id = expect_allowed(gate, &event).hold_id;
    event = an_extend(hold_id, 300);
    assert_int_equal(expect_allowed(gate, &event).output_allowed, 400);
    assert_int_equal(bank_hold(gate, hold_id)->held_micros, 100 + 2 * 500);
}

static void
an_extension_after_the_limit_was_lowered_or_lifted(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 8100);
    held.day->cap_default = 100; /* less than is held by now: running work keeps the cap it began under */
    struct event event = an_extend(held.hold_id, STEP);
    assert_int_equal(expect_allowed(gate, &event).output_allowed, 200);
    held.day->cap_default = CAP_UNLIMITED;
    event = an_extend(held.hold_id, STEP);
    assert_int_equal(expect_allowed(gate, &event).output_allowed, 300);
    assert_int_equal(meter_of(gate, held.day).held, 100 + 2 * 400);
}

/* --- Other routes. */

static struct event
a_reroute(int64_t hold_id, int32_t route_index)
{
    struct event event = { .kind = EVENT_REROUTE };
    event.reroute = (struct reroute_event){
        .hold_id = hold_id, .route_index = route_index, .stream = true, .failed_status = 503, .failed_reason = REASON_UPSTREAM_BROKEN };
    return event;
}

static void
the_next_route_is_on_the_books_first(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_TWO, 1000000);
    assert_int_equal(meter_of(gate, held.day).held, 5000);
    struct event event = a_reroute(held.hold_id, 1);
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.route_index, 1);
    assert_int_equal(verdict.output_allowed, 100);
    const struct hold_row *hold = bank_hold(gate, held.hold_id);
    assert_int_equal(hold->attempt_count, 2);
    assert_int_equal(hold->attempts[0].state, ATTEMPT_UNBILLED);
    assert_int_equal(hold->attempts[0].status, 503);
    assert_int_equal(hold->on_abort, ON_ABORT_STOPS);
    assert_int_equal(meter_of(gate, held.day).held, 500); /* ten times cheaper */
    event = a_settle(held.hold_id, 100, 70);
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 240); /* at the second route's price */
    assert_int_equal(gate->bank.ledger_count, 2);
    assert_int_equal(gate->bank.ledger[0].kind, LEDGER_UNBILLED);
    assert_int_equal(gate->bank.ledger[0].attempt, 0);
    assert_int_equal(gate->bank.ledger[0].reason, REASON_UPSTREAM_BROKEN);
    assert_string_equal(gate->bank.ledger[0].provider, "bills");
    assert_int_equal(gate->bank.ledger[1].attempt, 1);
    assert_string_equal(gate->bank.ledger[1].provider, "stops");
    expect_meters(&held, 240, 0, 1);
}

static void
a_second_attempt_given_back_keeps_the_request(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_TWO, 1000000);
    struct event event = a_reroute(held.hold_id, 1);
    expect_allowed(gate, &event);
    event = a_release(held.hold_id); /* the second never left, but the first did */
    expect_allowed(gate, &event);
    expect_meters(&held, 0, 0, 1);
}

static void
routes_that_are_refused(void **state)
{
    static const struct {
        const char *why;
        enum model_of_test model;
        uint32_t closed;
        int64_t cap;
        int32_t to;
        enum unpriced_rule unpriced;
        enum reason reason;
        enum hold_mode mode;
    } rows[] = {
        { "dearer than there is room for", MODEL_TWO, 1, 4999, 0, UNPRICED_ALLOW, REASON_COST_HELD },
        { "dearer, and it fits", MODEL_TWO, 1, 5000, 0, UNPRICED_ALLOW, REASON_OK },
        { "no such route", MODEL_TWO, 1, 50000, 2, UNPRICED_ALLOW, REASON_ROUTES_EXHAUSTED },
        { "less than no route", MODEL_TWO, 1, 50000, -1, UNPRICED_ALLOW, REASON_ROUTES_EXHAUSTED },
        { "unpriced under a cost limit", MODEL_UNPRICED_SECOND, 0, 50000, 1, UNPRICED_REFUSE_UNDER_COST_LIMITS, REASON_UNPRICED },
        { "unpriced, and that is allowed", MODEL_UNPRICED_SECOND, 0, 50000, 1, UNPRICED_ALLOW, REASON_OK },
        { "unpriced, under a strict limit", MODEL_UNPRICED_SECOND, 0, 1000000, 1, UNPRICED_ALLOW, REASON_UNPRICED, HOLD_MODE_STRICT },
        { "unpriced is always refused", MODEL_UNPRICED_SECOND, 0, 0, 1, UNPRICED_REFUSE, REASON_UNPRICED },
        { "unpriced under no cost limit", MODEL_UNPRICED_SECOND, 0, 0, 1, UNPRICED_REFUSE_UNDER_COST_LIMITS, REASON_OK },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->unpriced = rows[i].unpriced;
        if (rows[i].cap) {
            add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap)->hold = rows[i].mode;
        }
        struct event event = a_call(rows[i].model, 100, -1);
        event.call.routes_closed = rows[i].closed;
        const struct verdict call = expect_allowed(gate, &event);
        event = a_reroute(call.hold_id, rows[i].to);
        const struct verdict verdict = gate_decide(gate, &event);
        const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
        if (reason != rows[i].reason) {
            fail_msg("%s: %s", rows[i].why, reason_row(reason)->code);
        }
        assert_int_equal(bank_hold(gate, call.hold_id)->attempt_count, reason == REASON_OK ? 2 : 1);
        gate_end((void **)&gate);
    }
}

static void
attempts_are_bounded(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_TWO, 1000000);
    struct event event;
    for (int i = 1; i < ATTEMPTS_MAX; i++) {
        event = a_reroute(held.hold_id, i % 2);
        expect_allowed(gate, &event);
    }
    event = a_reroute(held.hold_id, 0);
    expect_refused(gate, &event, REASON_ROUTES_EXHAUSTED);
    gate_orphan(gate, held.hold_id);
    assert_int_equal(gate->bank.ledger_count, ATTEMPTS_MAX);
    assert_int_equal(last_ledger(gate)->attempt, ATTEMPTS_MAX - 1);
}

/* --- Configuration that changes meanwhile. */

static void
settled_by_the_policy_of_its_hold(void **state)
{
    struct gate *gate = *state;
    const struct held held = a_stream(gate, MODEL_PAID, 100000);
    gate->older = gate->policy;
    gate->policy = a_policy(2);
    gate->policy->models[MODEL_PAID].routes[0].price = NULL; /* and its limits are gone as well */
    struct event event = a_settle(held.hold_id, 100, 70);
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 240);
    expect_meters(&held, 240, 0, 1);
    assert_int_equal(last_ledger(gate)->policy_ver, 1);
}

static const struct CMUnitTest tests[] = {
    CASE("every end of a call is booked once, and a second one changes nothing", ends_of_a_call),
    CASE("what passes a cap is told with the settlement", what_passes_a_cap_is_told),
    CASE_WITH("two settlements in one batch are one", twice_in_one_batch, gate_make, gate_end),
    CASE_WITH("an unknown hold changes nothing", an_unknown_hold, gate_make, gate_end),
    CASE_WITH("a refund is what cannot have drained since", a_refund_is_what_has_not_drained, gate_make,
        gate_end),
    CASE_WITH("estimates are learned from the thread and the model", estimates_are_learned, gate_make, gate_end),
    CASE("orphans are booked whole, at held or at bound", orphans_are_booked_whole),
    CASE_WITH("an orphan whose limits left the configuration", an_orphan_of_limits_that_are_gone, gate_make, gate_end),
    CASE_WITH("an orphan without attempts is booked", an_orphan_whose_row_is_damaged, gate_make, gate_end),
    CASE("a stream is extended to exactly the room there is", extended_to_exact_room),
    CASE_WITH("a stream at its last tokens goes on when room comes back", after_the_last_tokens_room_may_come_back, gate_make,
        gate_end),
    CASE("the exact input replaces the estimate", the_exact_input_replaces_the_estimate),
    CASE_WITH("without limits a stream is extended as it asks", an_extension_under_no_limit, gate_make, gate_end),
    CASE_WITH("caps that change while a stream runs", an_extension_after_the_limit_was_lowered_or_lifted, gate_make, gate_end),
    CASE_WITH("the next route is on the books before it leaves", the_next_route_is_on_the_books_first, gate_make, gate_end),
    CASE_WITH("a second attempt given back keeps the request charged", a_second_attempt_given_back_keeps_the_request, gate_make,
        gate_end),
    CASE("which next routes are refused", routes_that_are_refused),
    CASE_WITH("attempts are bounded, each is booked", attempts_are_bounded, gate_make, gate_end),
    CASE_WITH("a hold is settled by the policy it was made under", settled_by_the_policy_of_its_hold, gate_make, gate_end),
};
UNIT_MAIN(tests)
