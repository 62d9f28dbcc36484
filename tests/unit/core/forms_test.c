/* tests/unit/core/forms_test.c
 *
 * Goal: every combination of count, subject and window that exists admits exactly its cap, refuses the next, and
 * gives back what nothing came of; modes differ in what they hold, ways at the cap in what becomes of a call.
 * Method: the gate, one limit at a time, from the list of tbl/counts.h. */
#include "gate.h"

#include <string.h>

#include "core/core_priv.h"

/* --- Every form. */

static struct group groups_of_ann[1];
static const char *members[] = { "ann" };

static void
prepare(struct gate *gate, enum per_kind per)
{
    struct policy *policy = gate->policy;
    policy->tag_count = 1;
    policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
    if (per == PER_ORGANISATION) { /* else what an account spends there counts, too */
        strcpy(gate->bank.accounts[0].organisation, "acme");
    }
    if (per == PER_GROUP) {
        groups_of_ann[0] = (struct group){ .name = "research", .member_count = 1, .members = members };
        policy->groups = groups_of_ann;
        policy->group_count = 1;
    }
    for (int i = 0; i < policy->provider_count; i++) {
        policy->providers[i].apis = UINT32_MAX;
    }
}

static struct event
a_tagged_call(int64_t account_id, int64_t key_id)
{
    struct event event = a_call(MODEL_PAID, 100, 0); /* 100 tokens, 100 micro-USD, one request */
    event.call.account_id = account_id;
    event.call.key_id = key_id;
    strcpy(event.call.tags[0], "blue");
    return event;
}

/* What bob's calls are under too, whose group, plan and organisation are others. */
static bool
shared_by_all(enum per_kind per)
{
    return per == PER_GATEWAY || per == PER_MODEL || per == PER_TIER || per == PER_TAG;
}

static void
assert_form(enum count_kind counts, enum per_kind per, enum window_kind window)
{
    const bool steps = counts == COUNT_COST || counts == COUNT_TOKENS;
    struct gate *gate = NULL;
    gate_make((void **)&gate);
    prepare(gate, per);
    struct limit *limit = add_limit(gate->policy, "one", counts, per, window, steps ? 300 : 3);
    limit->span_ms = window == WINDOW_ROLLING || window == WINDOW_FIRST_USE ? 5 * HOUR_MS : 0;
    limit->rate = window == WINDOW_BUCKET;
    limit->period_ms = DAY_MS;
    limit->burst = limit->cap_default;
    const struct event ann = a_tagged_call(ACCOUNT, KEY);
    const struct event bob = a_tagged_call(ACCOUNT_B, KEY_B);
    int64_t holds[3];
    for (size_t i = 0; i < countof(holds); i++) {
        holds[i] = expect_allowed(gate, &ann).hold_id;
        assert_int_equal(bank_hold(gate, holds[i])->part_count, 1);
    }
    assert_int_not_equal(gate_decide(gate, &ann).kind, VERDICT_ALLOWED);
    const struct verdict of_bob = gate_decide(gate, &bob);
    assert_int_equal(of_bob.kind != VERDICT_ALLOWED, shared_by_all(per));
    if (of_bob.kind == VERDICT_ALLOWED) {
        const struct event end = a_release(of_bob.hold_id);
        expect_allowed(gate, &end);
    }
    const struct event release = a_release(holds[1]);
    expect_allowed(gate, &release);
    expect_allowed(gate, &ann);
    const struct verdict refused = gate_decide(gate, &ann);
    assert_int_not_equal(refused.kind, VERDICT_ALLOWED);
    assert_string_equal(refused.refusal.limit_name, "one");
    assert_int_equal(refused.refusal.cap, limit->cap_default);
    assert_int_equal(refused.refusal.used + refused.refusal.held, limit->cap_default);
    gate_end((void **)&gate);
}

static void
every_form_admits_its_cap(void **state)
{
    static const struct limit_form forms[] = {
#define FORM_ROW(counts, per, window) { counts, per, window },
        LIMIT_FORMS(FORM_ROW)
#undef FORM_ROW
    };
    size_t met = 0;
    for (size_t i = 0; i < countof(forms); i++) {
        if (forms[i].counts != COUNT_REPORTED) { /* has no meter */
            assert_form(forms[i].counts, forms[i].per, forms[i].window);
            met++;
        }
    }
    assert_int_equal(met, (3 * 7 + 1) * PER_KIND_COUNT);
}

static void
a_model_weighs_what_its_row_says(void **state)
{
    static struct weight weights[] = { { "pa*", 5 }, { "paid", 7 }, { "free", 0 } };
    struct gate *gate = *state;
    struct limit *limit =
        add_limit(gate->policy, "weighed", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 12);
    limit->weights = weights;
    limit->weight_count = (int32_t)countof(weights);
    const struct event heavy = a_call(MODEL_PAID, 1, 0);
    const struct event plain = a_call(MODEL_TWO, 1, 0);
    const struct event nothing = a_call(MODEL_FREE, 1, 0);
    const int64_t first = expect_allowed(gate, &heavy).hold_id; /* the first row that fits: 5 */
    expect_allowed(gate, &heavy);
    const struct verdict refused = expect_refused(gate, &heavy, REASON_RATE);
    assert_int_equal(refused.refusal.used, 10);
    assert_int_equal(refused.refusal.ask, 5);
    expect_allowed(gate, &plain);
    expect_allowed(gate, &plain);
    expect_refused(gate, &plain, REASON_RATE);
    expect_allowed(gate, &nothing);
    const struct event release = a_release(first);
    expect_allowed(gate, &release);
    assert_int_equal(meter_of(gate, limit).held, 7);
}

/* --- Modes. */

#define MODES                                                                                      \
    {                                                                                              \
        HOLD_MODE_STREAM, HOLD_MODE_STRICT, HOLD_MODE_NONE                                         \
    }

static void
a_spent_cap_refuses_what_costs(void **state)
{
    static const enum hold_mode modes[] = MODES;
    for (size_t i = 0; i < countof(modes); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100)->hold = modes[i];
        const struct event event = a_call(MODEL_PAID, 100, 0);
        const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 100, 0);
        expect_allowed(gate, &settle);
        const struct verdict refused = expect_refused(gate, &event, REASON_COST_SPENT);
        assert_int_equal(refused.refusal.used, 100);
        assert_int_equal(refused.refusal.cap, 100);
        const struct event free = a_call(MODEL_FREE, 100, 0);
        expect_allowed(gate, &free);
        gate_end((void **)&gate);
    }
}

static void
two_calls_just_below_the_cap(void **state)
{
    static const enum hold_mode modes[] = MODES;
    for (size_t i = 0; i < countof(modes); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
        limit->hold = modes[i];
        struct event event = a_call(MODEL_PAID, 90, 0);
        const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 90, 0);
        expect_allowed(gate, &settle);
        event = a_call(MODEL_PAID, 10, 0);
        expect_allowed(gate, &event);
        if (modes[i] == HOLD_MODE_NONE) {
            expect_allowed(gate, &event);
        } else {
            expect_refused(gate, &event, REASON_COST_HELD);
        }
        gate_end((void **)&gate);
    }
}

/* A bound of 1,000 tokens of output, a first slice of 200, each at 2 micro-USD: what each mode has room for. */
static void
modes_hold_more_or_less(void **state)
{
    static const struct {
        enum count_kind counts;
        enum hold_mode mode;
        int64_t held, bound;
    } rows[] = {
        { COUNT_COST, HOLD_MODE_STREAM, 100 + 2 * 200, 100 + 2 * 1000 },
        { COUNT_COST, HOLD_MODE_STRICT, 100 + 2 * 1000, 100 + 2 * 1000 },
        { COUNT_COST, HOLD_MODE_NONE, 100 + 2 * 200, 100 + 2 * 1000 },
        { COUNT_TOKENS, HOLD_MODE_STREAM, 100 + 200, 100 + 1000 },
        { COUNT_TOKENS, HOLD_MODE_STRICT, 100 + 1000, 100 + 1000 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit =
            add_limit(gate->policy, "one", rows[i].counts, PER_ACCOUNT, WINDOW_DAY, 1000000);
        limit->hold = rows[i].mode;
        const struct event event = a_call(MODEL_PAID, 100, 1000);
        expect_allowed(gate, &event);
        assert_int_equal(meter_of(gate, limit).held, rows[i].held);
        assert_int_equal(meter_of(gate, limit).bound, rows[i].bound);
        gate_end((void **)&gate);
    }
}

/* --- At the cap. */

static struct limit *
of_one_model(struct gate *gate, const char *name, const char *model, const char *substitute)
{
    struct limit *limit =
        add_limit(gate->policy, name, COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 1);
    limit->of_model = model;
    limit->at_cap = AT_CAP_DOWNGRADE;
    limit->substitute = substitute;
    return limit;
}

static void
a_downgrade_is_tried_once(void **state)
{
    struct gate *gate = *state;
    prepare(gate, PER_ACCOUNT);
    of_one_model(gate, "paid-a-day", "paid", "free");
    of_one_model(gate, "free-a-day", "free", "two");
    const struct event event = a_call(MODEL_PAID, 1, 0);
    assert_int_equal(expect_allowed(gate, &event).model_index, MODEL_PAID);
    assert_int_equal(expect_allowed(gate, &event).model_index, MODEL_FREE);
    const struct verdict refused = expect_refused(gate, &event, REASON_RATE);
    assert_string_equal(refused.refusal.limit_name, "paid-a-day"); /* the first refusal is told */
    const struct event of_free = a_call(MODEL_FREE, 1, 0);
    assert_int_equal(expect_allowed(gate, &of_free).model_index, MODEL_TWO);
}

static void
a_reroute_is_tried_once(void **state)
{
    static const char *const providers[] = { "bills", "stops" };
    struct gate *gate = *state;
    prepare(gate, PER_GATEWAY);
    for (size_t i = 0; i < countof(providers); i++) {
        struct limit *limit = add_limit(
            gate->policy, providers[i], COUNT_IN_FLIGHT, PER_GATEWAY, WINDOW_CONCURRENCY, 1);
        limit->of_provider = providers[i];
        limit->at_cap = AT_CAP_REROUTE;
        limit->substitute = providers[1 - i];
    }
    const struct event event = a_call(MODEL_TWO, 1, 0);
    assert_int_equal(expect_allowed(gate, &event).route_index, 0);
    assert_int_equal(expect_allowed(gate, &event).route_index, 1);
    expect_refused(gate, &event, REASON_IN_FLIGHT);
}

static void
what_is_watched_decides_nothing(void **state)
{
    static const enum at_cap_kind kinds[] = { AT_CAP_SHADOW, AT_CAP_WARN };
    for (size_t i = 0; i < countof(kinds); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct limit *limit =
            add_limit(gate->policy, "watched", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 1);
        limit->at_cap = kinds[i];
        const struct event event = a_call(MODEL_PAID, 1, 0);
        assert_int_equal(expect_allowed(gate, &event).shadow.reason, REASON_OK);
        const struct verdict second = expect_allowed(gate, &event);
        assert_int_equal(
            second.shadow.reason, kinds[i] == AT_CAP_SHADOW ? REASON_RATE : REASON_OK);
        assert_int_equal(meter_of(gate, limit).held, 2);
        assert_false(second.tightest_requests.set);
        gate_end((void **)&gate);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("every form of limit admits exactly its cap, and gives back", every_form_admits_its_cap),
    CASE_WITH("a model weighs what the first row that fits says", a_model_weighs_what_its_row_says, gate_make, gate_end),
    CASE("SL-37 a cap that is spent refuses what costs something, and nothing else", a_spent_cap_refuses_what_costs),
    CASE("SL-77 of two calls just below the cap one waits, with none both pass", two_calls_just_below_the_cap),
    CASE("what each mode holds", modes_hold_more_or_less),
    CASE_WITH("a downgrade is tried once, never twice", a_downgrade_is_tried_once, gate_make, gate_end),
    CASE_WITH("a reroute is tried once, never twice", a_reroute_is_tried_once, gate_make, gate_end),
    CASE("what is watched is counted, and decides nothing", what_is_watched_decides_nothing),
};
UNIT_MAIN(tests)
