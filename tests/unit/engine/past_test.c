/* tests/unit/engine/past_test.c
 *
 * Goal: a decision of the past is decided again from what was recorded of it, by the rule of the core and the limits
 * given, whatever was answered then; what these do not tell any more is said, and stops nothing.
 * Method: a call of 100 tokens of input (150 at most) and 50 of output at 1 and 2 micro-USD, one limit a row. */
#include "gate.h"

#include <string.h>

#include "engine/past.h"

struct recorded_past {
    struct gate *gate;
    struct ledger_row row;
    struct recorded_call call;
    struct past past;
};

static void
record(struct recorded_past *told, struct gate *gate, enum ledger_kind kind)
{
    *told = (struct recorded_past){ .gate = gate };
    told->row = (struct ledger_row){ .kind = kind, .policy_ver = 1, .price_ver = 7 };
    strcpy(told->row.model, "paid");
    told->call = (struct recorded_call){
        .input = 100, .input_bound = 150, .least = 50, .output_bound = 4000, .answers = 1, .price_pct = 100
    };
}

static struct recorded_limit *
under(struct recorded_past *told, const char *name, int64_t settled, int64_t held, int64_t cap)
{
    struct recorded_limit *limit = &told->call.limits[told->call.limit_count++];
    *limit = (struct recorded_limit){ .nth = 1, .settled = settled, .held = held, .cap = cap, .units = 1 };
    strcpy(limit->name, name);
    return limit;
}

/* The limits of the policy, as the store knows them by the names that they have. */
static struct limit_defs
defs_of(const struct policy *policy, struct limit_def_row rows[8])
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        rows[i] = (struct limit_def_row){ .limit_id = limit->limit_id, .nth = 1, .counts = (int32_t)limit->counts };
        strcpy(rows[i].name, limit->name);
    }
    return (struct limit_defs){ rows, (size_t)policy->limit_count };
}

static const struct past *
judge(struct recorded_past *told)
{
    static struct limit_def_row rows[8];
    const struct limit_defs defs = defs_of(told->gate->policy, rows);
    past_judge(told->gate->policy, &defs, &told->row, &told->call, &told->past);
    return &told->past;
}

static void
amounts_decide_as_in_the_core(void **state)
{
    static const struct {
        const char *why;
        enum count_kind counts;
        enum hold_mode hold;
        enum at_cap_kind at_cap;
        int64_t settled, held, cap, ask;
        bool fits;
    } rows[] = {
        { "exactly room", COUNT_COST, HOLD_MODE_STREAM, AT_CAP_REFUSE, 700, 100, 1000, 200, true },
        { "one too little", COUNT_COST, HOLD_MODE_STREAM, AT_CAP_REFUSE, 700, 101, 1000, 200, false },
        { "strict asks for the bound", COUNT_COST, HOLD_MODE_STRICT, AT_CAP_REFUSE, 650, 100, 1000, 250, true },
        { "and has not got it", COUNT_COST, HOLD_MODE_STRICT, AT_CAP_REFUSE, 651, 100, 1000, 250, false },
        { "none asks for anything at all", COUNT_COST, HOLD_MODE_NONE, AT_CAP_REFUSE, 999, 9000, 1000, 1, true },
        { "and that is gone", COUNT_COST, HOLD_MODE_NONE, AT_CAP_REFUSE, 1000, 0, 1000, 1, false },
        { "tokens", COUNT_TOKENS, HOLD_MODE_STREAM, AT_CAP_REFUSE, 850, 0, 1000, 150, true },
        { "tokens, one too few", COUNT_TOKENS, HOLD_MODE_STREAM, AT_CAP_REFUSE, 851, 0, 1000, 150, false },
        { "tokens, strictly", COUNT_TOKENS, HOLD_MODE_STRICT, AT_CAP_REFUSE, 801, 0, 1000, 200, false },
        { "requests by weight", COUNT_REQUESTS, HOLD_MODE_STREAM, AT_CAP_REFUSE, 7, 0, 10, 3, true },
        { "one too heavy", COUNT_REQUESTS, HOLD_MODE_STREAM, AT_CAP_REFUSE, 8, 0, 10, 3, false },
        { "the last seat", COUNT_IN_FLIGHT, HOLD_MODE_STREAM, AT_CAP_QUEUE, 0, 3, 4, 1, true },
        { "no seat", COUNT_IN_FLIGHT, HOLD_MODE_STREAM, AT_CAP_QUEUE, 0, 4, 4, 1, false },
        { "no cap", COUNT_COST, HOLD_MODE_STREAM, AT_CAP_REFUSE, 1 << 30, 0, CAP_UNLIMITED, 200, true },
        { "it only warns", COUNT_COST, HOLD_MODE_STREAM, AT_CAP_WARN, 5000, 0, 1000, 200, true },
        { "it is only watched", COUNT_COST, HOLD_MODE_STREAM, AT_CAP_SHADOW, 5000, 0, 1000, 200, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        struct recorded_past told;
        gate_make((void **)&gate);
        struct limit *limit =
            add_limit(gate->policy, "tested", rows[i].counts, PER_ACCOUNT, WINDOW_MONTH, 1);
        limit->hold = rows[i].hold;
        limit->at_cap = rows[i].at_cap;
        record(&told, gate, LEDGER_SETTLE);
        under(&told, "tested", rows[i].settled, rows[i].held, rows[i].cap)->units = 3;
        const struct past *past = judge(&told);
        if (past->limits[0].ask != rows[i].ask || past->limits[0].fits != rows[i].fits
            || past->is_allowed != rows[i].fits) {
            fail_msg("%s: it asked for %lld, and fits: %d", rows[i].why, (long long)past->limits[0].ask,
                past->limits[0].fits);
        }
        assert_true(past->was_allowed); /* what was answered then has no say */
        assert_ptr_equal(past->limits[0].limit, limit);
        assert_int_equal(past->limits[0].used, rows[i].settled);
        gate_end((void **)&gate);
    }
}

static void
what_costs_nothing_passes_a_spent_limit(void **state)
{
    struct gate *gate = *state;
    static const struct {
        const char *model;
        int32_t route;
        int64_t price_pct, ask;
    } rows[] = {
        { "free", 0, 100, 0 },
        { "gone", 0, 100, 0 },     /* not in this configuration: no price */
        { "paid", 1, 100, 0 },     /* it has no such route any more */
        { "unpriced", 0, 100, 0 },
        { "two", 0, 100, 2000 },
        { "two", 1, 100, 200 },
        { "paid", 0, 150, 300 },
    };
    add_limit(gate->policy, "tested", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1);
    for (size_t i = 0; i < countof(rows); i++) {
        struct recorded_past told;
        record(&told, gate, LEDGER_SETTLE);
        strcpy(told.row.model, rows[i].model);
        told.call.route = rows[i].route;
        told.call.price_pct = rows[i].price_pct;
        under(&told, "tested", 1000, 0, 1000);
        assert_int_equal(judge(&told)->limits[0].ask, rows[i].ask);
        assert_int_equal(told.past.is_allowed, rows[i].ask == 0);
    }
}

/* A level is kept in units times the period, so that it drains exactly; people are told whole units. */
static void
of_a_bucket_the_level_is_recorded(void **state)
{
    struct gate *gate = *state;
    static const struct {
        enum ledger_kind kind;
        int64_t settled, used;
        bool fits;
    } rows[] = {
        { LEDGER_SETTLE, 9 * MINUTE_MS, 9, true },
        { LEDGER_SETTLE, 9 * MINUTE_MS + 1, 10, false },
        { LEDGER_SETTLE, 0, 0, true },
        { LEDGER_REFUSAL, 9, 9, true }, /* a refusal tells units */
        { LEDGER_REFUSAL, 10, 10, false },
    };
    add_bucket(gate->policy, "pace", PER_ACCOUNT, 60, MINUTE_MS, 10);
    for (size_t i = 0; i < countof(rows); i++) {
        struct recorded_past told;
        record(&told, gate, rows[i].kind);
        told.call.ask = 1;
        under(&told, "pace", rows[i].settled, 0, 10);
        assert_int_equal(judge(&told)->limits[0].used, rows[i].used);
        assert_int_equal(told.past.is_allowed, rows[i].fits);
    }
}

static void
a_limit_that_is_gone_stops_nothing_and_is_told(void **state)
{
    static const enum ledger_kind kinds[] = { LEDGER_SETTLE, LEDGER_REFUSAL };
    struct gate *gate = *state;
    for (size_t i = 0; i < countof(kinds); i++) {
        struct recorded_past told;
        record(&told, gate, kinds[i]);
        told.call.ask = 500;
        under(&told, "gone", 5000, 0, 1000);
        const struct past *past = judge(&told);
        assert_null(past->limits[0].limit);
        assert_true(past->limits[0].fits);
        assert_true(past->is_allowed);
        assert_int_equal(past->unknown_count, 1);
        assert_int_equal(past->was_allowed, kinds[i] == LEDGER_SETTLE);
    }
}

static void
a_threshold_that_refused_refuses_again(void **state)
{
    static const struct {
        enum ledger_kind kind;
        enum at_cap_kind at_cap;
        int64_t used;
        bool fits;
    } rows[] = {
        { LEDGER_REFUSAL, AT_CAP_PAUSE, 90000, false },
        { LEDGER_REFUSAL, AT_CAP_PAUSE, 0, false }, /* nothing was reported, and that refuses here */
        { LEDGER_REFUSAL, AT_CAP_SHADOW, 90000, true },
        { LEDGER_SETTLE, AT_CAP_PAUSE, 0, true },
    };
    struct gate *gate = *state;
    add_limit(gate->policy, "five", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, 90);
    for (size_t i = 0; i < countof(rows); i++) {
        struct recorded_past told;
        record(&told, gate, rows[i].kind);
        gate->policy->limits[0].at_cap = rows[i].at_cap;
        under(&told, "five", rows[i].used, 0, 90000);
        assert_int_equal(judge(&told)->limits[0].fits, rows[i].fits);
        assert_int_equal(told.past.is_allowed, rows[i].fits);
    }
}

static void
a_refusal_asks_for_what_it_asked_for(void **state)
{
    struct gate *gate = *state;
    struct recorded_past told;
    struct limit *limit = add_limit(gate->policy, "tested", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1);
    record(&told, gate, LEDGER_REFUSAL);
    told.call.ask = 321;
    under(&told, "tested", 500, 200, 1000);
    assert_int_equal(judge(&told)->limits[0].ask, 321);
    assert_false(told.past.was_allowed);
    assert_false(told.past.is_allowed);
    limit->at_cap = AT_CAP_SHADOW; /* edited since */
    assert_true(judge(&told)->is_allowed);
    limit->at_cap = AT_CAP_REFUSE;
    limit->hold = HOLD_MODE_NONE; /* what is held has no say then */
    assert_true(judge(&told)->is_allowed);
    limit->hold = HOLD_MODE_STREAM;
    told.call.limits[0].cap = 1021;
    assert_true(judge(&told)->is_allowed);

    record(&told, gate, LEDGER_REFUSAL); /* by no limit: a model that nobody knows, a key */
    assert_false(judge(&told)->is_allowed);
    assert_int_equal(told.past.limit_count, 0);
}

static void
one_limit_without_room_is_enough(void **state)
{
    struct gate *gate = *state;
    struct recorded_past told;
    add_limit(gate->policy, "first", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1);
    add_limit(gate->policy, "second", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1);
    record(&told, gate, LEDGER_SETTLE);
    under(&told, "first", 0, 0, 1000);
    under(&told, "second", 900, 0, 1000);
    under(&told, "third", 0, 0, 1);
    const struct past *past = judge(&told);
    assert_int_equal(past->limit_count, 3);
    assert_true(past->limits[0].fits && !past->limits[1].fits && past->limits[2].fits);
    assert_false(past->is_allowed);
    assert_int_equal(past->unknown_count, 1);
}

static void
it_says_by_which_configuration_and_prices(void **state)
{
    struct gate *gate = *state;
    struct recorded_past told;
    record(&told, gate, LEDGER_SETTLE);
    assert_true(judge(&told)->same_policy && told.past.same_prices);
    told.row.policy_ver = policy_version_make(7, 1, "");
    assert_true(!judge(&told)->same_policy && told.past.same_prices);
    told.row.price_ver = 8;
    assert_true(!judge(&told)->same_policy && !told.past.same_prices);
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    CASE("recorded amounts decide as in the core, by the limits of now", amounts_decide_as_in_the_core),
    AT_GATE("what costs nothing passes a spent limit", what_costs_nothing_passes_a_spent_limit),
    AT_GATE("of a bucket the level is recorded", of_a_bucket_the_level_is_recorded),
    AT_GATE("a limit that is gone stops nothing, and is told", a_limit_that_is_gone_stops_nothing_and_is_told),
    AT_GATE("a threshold that refused refuses again", a_threshold_that_refused_refuses_again),
    AT_GATE("a refusal asks for what it asked for then", a_refusal_asks_for_what_it_asked_for),
    AT_GATE("one limit without room is enough", one_limit_without_room_is_enough),
    AT_GATE("it says by which configuration and prices", it_says_by_which_configuration_and_prices),
};
UNIT_MAIN(tests)
