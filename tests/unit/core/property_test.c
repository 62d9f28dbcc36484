/* tests/unit/core/property_test.c
 *
 * Goal: whatever happens in whatever order, every meter is what the books say: settled is the sum of what was
 * booked for calls allowed in its window, held the sum of what open calls hold of it; and where estimates are
 * exact no cap is ever passed.
 * Method: random events over a few accounts, threads and limits, several to a batch, in a clock that jumps
 * over midnights and sometimes back. An auditor keeps books of its own, from events and verdicts alone: it
 * never reads a hold's parts or a meter but to compare. A failure prints its seed. */
#include "gate.h"

#include <string.h>

#define CALLS_MAX 4000
#define OPEN_MAX  40
#define SEEDS     60
#define STEPS     250

enum { LIMIT_DAY, LIMIT_WEEK, LIMIT_TREE, LIMIT_MINE, LIMIT_ALL, LIMIT_RATE, LIMIT_COUNT };

/* What the auditor knows of a call. */
struct audit_call {
    int64_t hold_id, account_id, thread_id, root_id;
    int64_t day_ms, week_ms; /* windows it was charged to */
    int64_t input, held_output;
    int64_t cost;            /* of all attempts that were booked */
    int64_t token_micros;    /* price of an input token on its route; output is twice that */
    bool open, two_routes, rerouted;
    bool touched;            /* by an event of this batch: the auditor looks at holds after it */
};

struct audit {
    struct gate *gate;
    struct limit *limits[LIMIT_COUNT];
    int call_count;
    struct audit_call calls[CALLS_MAX];
    int64_t seen_ms[2];       /* the latest moment that a row of each account has seen */
    struct {
        int64_t at_ms, hold_id;
    } requests[2][CALLS_MAX]; /* that left the process, or may have */
    int request_count[2];
    int billed_reroutes;      /* between two routes of different prices */
    uint64_t random;
};

static uint64_t seed_running;

static uint64_t
draw(struct audit *audit, uint64_t below)
{
    audit->random ^= audit->random << 13;
    audit->random ^= audit->random >> 7;
    audit->random ^= audit->random << 17;
    return audit->random % below;
}

static int
who(int64_t account_id)
{
    return account_id == ACCOUNT ? 0 : 1;
}

static int64_t
price_of(const struct audit_call *call, int64_t input, int64_t output)
{
    return (input + 2 * output) * call->token_micros;
}

static struct event
some_call(struct audit *audit)
{
    static const char threads[] = "abcde";
    const enum model_of_test models[] = { MODEL_PAID, MODEL_PAID, MODEL_FREE, MODEL_HIDDEN, MODEL_TWO };
    struct event event = a_call(models[draw(audit, countof(models))], 1 + (int64_t)draw(audit, 300),
        (int64_t)draw(audit, 600) - 1);
    event.call.stream = draw(audit, 4) != 0;
    event.call.input_unbounded = false;
    event.call.output_count = draw(audit, 8) == 0 ? 2 : 1;
    const char thread = threads[draw(audit, 5)];
    set_hash(event.call.thread_hash, thread);
    if (draw(audit, 4) == 0) {
        set_hash(event.call.parent_hash, threads[draw(audit, 5)]);
    }
    if (draw(audit, 3) == 0) {
        event.call.account_id = ACCOUNT_B;
        event.call.key_id = KEY_B;
    }
    return event;
}

static struct audit_call *
some_open(struct audit *audit)
{
    int open[OPEN_MAX * 2];
    int count = 0;
    for (int i = 0; i < audit->call_count; i++) {
        if (audit->calls[i].open && !audit->calls[i].touched) {
            open[count++] = i;
        }
    }
    struct audit_call *call = count ? &audit->calls[open[draw(audit, (uint64_t)count)]] : NULL;
    if (call) {
        call->touched = true;
    }
    return call;
}

static struct event
some_event(struct audit *audit)
{
    const uint64_t dice = draw(audit, 10);
    const struct audit_call *call = dice < 5 && audit->gate->bank.hold_count < OPEN_MAX ? NULL : some_open(audit);
    if (!call) {
        return some_call(audit);
    }
    if (dice == 5) {
        return an_extend(call->hold_id, (int64_t)draw(audit, 4) * STEP);
    }
    if (dice == 6) {
        struct event event = { .kind = EVENT_REROUTE };
        event.reroute = (struct reroute_event){
            .hold_id = call->hold_id, .route_index = (int32_t)draw(audit, 2), .failed_reason = REASON_UPSTREAM_BROKEN };
        event.reroute.billed = draw(audit, 2) == 0;
        if (event.reroute.billed) {
            const int64_t output = (int64_t)draw(audit, (uint64_t)call->held_output + 1);
            event.reroute.usage = a_settle(call->hold_id, call->input, output).settle.usage;
        }
        return event;
    }
    if (dice == 7) {
        return a_release(call->hold_id);
    }
    /* Real usage: the input as it was estimated, and no more output than was held. */
    struct event event = a_settle(call->hold_id, call->input, (int64_t)draw(audit, (uint64_t)call->held_output + 1));
    event.settle.unbilled = draw(audit, 10) == 0;
    return event;
}

static struct audit_call *
find_call(struct audit *audit, int64_t hold_id)
{
    for (int i = audit->call_count; i-- > 0;) {
        if (audit->calls[i].hold_id == hold_id) {
            return &audit->calls[i];
        }
    }
    fail_msg("a verdict for a hold that nobody made");
    return NULL;
}

static int64_t
week_of(int64_t now_ms)
{
    const int64_t monday_ms = INT64_C(1790553600000);
    return now_ms - ((now_ms - monday_ms) % (7 * DAY_MS) + 7 * DAY_MS) % (7 * DAY_MS);
}

/* Time never goes back for an account's row. */
static int64_t
see(struct audit *audit, int64_t account_id)
{
    int64_t *seen_ms = &audit->seen_ms[who(account_id)];
    *seen_ms = *seen_ms > audit->gate->now_ms ? *seen_ms : audit->gate->now_ms;
    return *seen_ms;
}

static void
note_call(struct audit *audit, const struct call_event *event, const struct verdict *verdict)
{
    struct gate *gate = audit->gate;
    const struct hold_row *hold = bank_hold(gate, verdict->hold_id);
    const int64_t seen_ms = see(audit, event->account_id);
    assert_true(audit->call_count < CALLS_MAX);
    audit->calls[audit->call_count++] = (struct audit_call){ .hold_id = verdict->hold_id,
        .account_id = event->account_id,
        .thread_id = verdict->thread_id,
        .root_id = hold ? hold->root_id : 0,
        .day_ms = seen_ms - seen_ms % DAY_MS,
        .week_ms = week_of(seen_ms),
        .input = verdict->est_input,
        .held_output = verdict->held_output,
        .two_routes = event->model_index == MODEL_TWO,
        .open = true };
    struct audit_call *call = &audit->calls[audit->call_count - 1];
    call->token_micros = event->model_index == MODEL_FREE ? 0 : call->two_routes && verdict->route_index == 0 ? 10 : 1;
    const int account = who(event->account_id);
    const int count = audit->request_count[account]++;
    audit->requests[account][count].at_ms = seen_ms;
    audit->requests[account][count].hold_id = verdict->hold_id;
}

static void
forget_request(struct audit *audit, const struct audit_call *call)
{
    const int account = who(call->account_id);
    int kept = 0;
    for (int i = 0; i < audit->request_count[account]; i++) {
        if (audit->requests[account][i].hold_id != call->hold_id) {
            audit->requests[account][kept++] = audit->requests[account][i];
        }
    }
    audit->request_count[account] = kept;
}

/* The books, from what was asked and answered. */
static void
note(struct audit *audit, const struct event *event, const struct verdict *verdict)
{
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    if (event->kind == EVENT_CALL) {
        note_call(audit, &event->call, verdict);
        return;
    }
    if (event->kind == EVENT_EXTEND) {
        struct audit_call *call = find_call(audit, event->extend.hold_id);
        call->held_output = bank_hold(audit->gate, call->hold_id)->held_output;
        (void)see(audit, call->account_id);
        return;
    }
    if (event->kind == EVENT_REROUTE) {
        struct audit_call *call = find_call(audit, event->reroute.hold_id);
        if (event->reroute.billed) { /* at the price of the route that it leaves */
            const int64_t cost = price_of(call, event->reroute.usage.input, event->reroute.usage.output);
            assert_int_equal(verdict->cost_micros, cost);
            call->cost += cost;
            audit->billed_reroutes += call->two_routes;
        }
        call->rerouted = true;
        (void)see(audit, call->account_id);
        call->token_micros = !call->two_routes ? call->token_micros : event->reroute.route_index == 0 ? 10 : 1;
        return;
    }
    struct audit_call *call = find_call(audit, event->settle.hold_id);
    if (call->open) {
        const bool billed = event->settle.dispatched && !event->settle.unbilled;
        const int64_t cost = billed ? price_of(call, event->settle.usage.input, event->settle.usage.output) : 0;
        assert_int_equal(verdict->cost_micros, cost);
        call->cost += cost;
        call->open = false;
        (void)see(audit, call->account_id);
        if (!event->settle.dispatched && !call->rerouted) {
            forget_request(audit, call);
        }
    }
}

struct sums {
    int64_t settled, held;
};

/* What a limit's meter must be, for a subject and a window. */
static struct sums
sums_of(struct audit *audit, int limit, int64_t account_id, int64_t root_id, int64_t window_ms)
{
    struct sums sums = { 0 };
    for (int i = 0; i < audit->call_count; i++) {
        const struct audit_call *call = &audit->calls[i];
        const bool day = limit == LIMIT_DAY && call->account_id == account_id && call->day_ms == window_ms;
        const bool week = limit == LIMIT_WEEK && call->account_id == account_id && call->week_ms == window_ms;
        const bool tree = limit == LIMIT_TREE && call->root_id == root_id && call->account_id == account_id;
        const bool mine = limit == LIMIT_MINE && call->account_id == account_id;
        if (day || week || tree) {
            const struct hold_row *hold = call->open ? bank_hold(audit->gate, call->hold_id) : NULL;
            sums.settled += call->cost;
            sums.held += hold ? hold->held_micros : 0;
        } else if ((mine || limit == LIMIT_ALL) && call->open) {
            sums.held += 1;
        }
    }
    return sums;
}

static void
compare(struct audit *audit, int limit, int64_t account_id, int64_t root_id, const struct meter *meter)
{
    const struct sums sums = sums_of(audit, limit, account_id, root_id, meter->window_ms);
    assert_int_equal(meter->settled, sums.settled);
    assert_int_equal(meter->held, sums.held);
    assert_true(meter->settled + meter->held <= audit->limits[limit]->cap_default); /* estimates are exact here */
}

static void
audit_meters(struct audit *audit)
{
    const struct bank *bank = &audit->gate->bank;
    for (int i = 0; i < bank->meter_count; i++) {
        const struct meter_row *row = &bank->meters[i];
        const struct subject_row *subject = NULL;
        for (int k = 0; k < bank->subject_count; k++) {
            subject = bank->subjects[k].subject_id == row->subject_id ? &bank->subjects[k] : subject;
        }
        assert_non_null(subject);
        int64_t root_id = 0;
        if (subject->kind == SUBJECT_TREE) {
            assert_true(slice_to_i64(slice_str(subject->name), &root_id));
        }
        for (int32_t k = 0; k < row->meter_count; k++) {
            for (int limit = 0; limit < LIMIT_RATE; limit++) {
                if (row->meters[k].limit_id == audit->limits[limit]->limit_id) {
                    compare(audit, limit, subject->account_id, root_id, &row->meters[k]);
                }
            }
        }
    }
}

/* Every open call of an account must be seen by a meter: nothing is held outside. */
static void
audit_nothing_is_lost(struct audit *audit)
{
    int open = 0;
    for (int i = 0; i < audit->call_count; i++) {
        open += audit->calls[i].open;
        assert_int_equal(bank_hold(audit->gate, audit->calls[i].hold_id) != NULL, audit->calls[i].open);
    }
    assert_int_equal(audit->gate->bank.hold_count, open);
    int64_t booked = 0;
    int64_t expected = 0;
    for (int i = 0; i < audit->gate->bank.ledger_count; i++) {
        booked += audit->gate->bank.ledger[i].cost_micros;
    }
    for (int i = 0; i < audit->call_count; i++) {
        expected += audit->calls[i].cost;
    }
    assert_int_equal(booked, expected);
}

/* No stretch of time admits more than its burst and what drained meanwhile. */
static void
audit_rate(const struct audit *audit, int account)
{
    const struct limit *rate = audit->limits[LIMIT_RATE];
    const int count = audit->request_count[account];
    for (int first = count > 200 ? count - 200 : 0; first < count; first++) {
        const int64_t stretch_ms = audit->requests[account][count - 1].at_ms - audit->requests[account][first].at_ms;
        const int64_t most = rate->burst + stretch_ms * rate->rate / rate->period_ms;
        assert_true(count - first <= most);
    }
}

static void
run(struct audit *audit)
{
    struct event events[6];
    struct verdict verdicts[6];
    for (int step = 0; step < STEPS; step++) {
        const uint64_t jump = draw(audit, 20);
        audit->gate->now_ms += jump == 0   ? (int64_t)draw(audit, 2 * DAY_MS)
                               : jump == 1 ? -(int64_t)draw(audit, HOUR_MS)
                                           : (int64_t)draw(audit, 20 * SECOND_MS);
        const int count = 1 + (int)draw(audit, countof(events));
        for (int i = 0; i < count; i++) {
            events[i] = some_event(audit);
        }
        gate_batch(audit->gate, events, count, verdicts);
        for (int i = 0; i < count; i++) {
            note(audit, &events[i], &verdicts[i]);
        }
        for (int i = 0; i < audit->call_count; i++) {
            audit->calls[i].touched = false;
        }
        audit_meters(audit);
        audit_nothing_is_lost(audit);
        audit_rate(audit, 0);
        audit_rate(audit, 1);
    }
}

static void
meters_are_what_the_books_say(void **state)
{
    static struct audit audit;
    int billed_reroutes = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct policy *policy = gate->policy;
        audit = (struct audit){ .gate = gate, .random = seed * UINT64_C(0x9E3779B97F4A7C15) };
        (void)draw(&audit, 2);
        const int64_t scale = 1 + (int64_t)draw(&audit, 4);
        audit.limits[LIMIT_DAY] = add_limit(policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 3000 * scale);
        audit.limits[LIMIT_WEEK] = add_limit(policy, "week", COUNT_COST, PER_ACCOUNT, WINDOW_WEEK, 9000 * scale);
        audit.limits[LIMIT_TREE] = add_limit(policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 5000 * scale);
        audit.limits[LIMIT_MINE] = add_limit(policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 6 * scale);
        audit.limits[LIMIT_ALL] = add_limit(policy, "all", COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 9 * scale);
        audit.limits[LIMIT_RATE] = add_bucket(policy, "rate", PER_ACCOUNT, 20, MINUTE_MS, 15);
        seed_running = seed;
        run(&audit);
        assert_true(audit.call_count > 20); /* it was not all refusals */
        billed_reroutes += audit.billed_reroutes;
        gate_end((void **)&gate);
    }
    seed_running = 0;
    assert_true(billed_reroutes > SEEDS); /* they were drawn, and there was room for them */
}

static int
tell_seed(void **state)
{
    if (seed_running) {
        print_message("# it was seed %llu\n", (unsigned long long)seed_running);
    }
    return 0;
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("FF-25 FF-26 meters are what the books say, and no cap is passed where estimates are exact", meters_are_what_the_books_say,
        NULL, tell_seed),
};
UNIT_MAIN(tests)
