/* tests/unit/core/explain_test.c
 *
 * Goal: what is told of a call is what a decision finds: the same verdict, which check stopped it, every limit in force
 * with its state, cap and whose word that is; of what many share only the share, but to an operator.
 * Method: a call for each reason through the gate, decided and explained; the text is looked at by its members. */
#include "gate.h"

#include <string.h>

#include "core/explain.h"
#include "rows/pack.h"
#include "wire/json.h"

#define TEXT_MAX 65536

struct told {
    char text[TEXT_MAX];
    struct json_value whole;
};

static void
load(struct gate *gate, const struct event *event)
{
    struct needs needs;
    gate_start(gate);
    do {
        needs = (struct needs){ 0 };
        core_needs(&gate->core, event, &needs);
    } while (gate_load(gate, &needs));
}

static void
explain(struct gate *gate, const struct event *event, bool all, struct told *told)
{
    struct buf out = buf_over(told->text, sizeof told->text);
    load(gate, event);
    buf_add_char(&out, '{');
    assert_true(core_explain(&gate->core, event, all, &out));
    buf_add_char(&out, '}');
    if (!json_check(buf_slice(&out), &told->whole)) {
        fail_msg("no JSON: %.*s", (int)out.len, out.ptr);
    }
    told->text[out.len] = '\0';
}

static bool
tells(const struct told *told, const char *text)
{
    return strstr(told->text, text) != NULL;
}

#define TELLS(told, words)                                                                         \
    do {                                                                                           \
        if (!tells((told), (words))) {                                                             \
            fail_msg("'%s' is not told: %s", (words), (told)->text);                               \
        }                                                                                          \
    } while (0)

/* --- Each reason. */

/* A limit, and a call that it stops. */
struct under {
    enum count_kind counts;
    enum per_kind per;
    enum window_kind window;
    int64_t cap;
    int32_t model;
    int64_t input;
    bool beside; /* the same call, made before it, is still in flight */
};

static struct event
a_call_under(struct gate *gate, const char *name, const struct under *under)
{
    add_limit(gate->policy, name, under->counts, under->per, under->window, under->cap);
    const struct event event = a_call(under->model, under->input, 0);
    if (under->beside) {
        expect_allowed(gate, &event);
    }
    return event;
}

static struct event
too_fast(struct gate *gate)
{
    add_bucket(gate->policy, "pace", PER_KEY, 1, MINUTE_MS, 1);
    const struct event event = a_call(MODEL_FREE, 1, 0);
    expect_allowed(gate, &event);
    return event;
}

static struct event
over_threshold(struct gate *gate, const char *window, int64_t span_ms)
{
    struct limit *limit =
        add_limit(gate->policy, "reported", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, 90);
    limit->span_ms = span_ms;
    limit->at_cap = AT_CAP_PAUSE;
    struct reported_row *row = &gate->bank.reported[gate->bank.reported_count++];
    *row = (struct reported_row){ .account_id = ACCOUNT, .version = 1, .window_count = 1 };
    row->windows[0] = (struct reported_window){
        .used_milli_pct = 95000, .resets_at_ms = gate->now_ms + HOUR_MS, .captured_ms = gate->now_ms
    };
    strcpy(row->windows[0].window, window);
    return a_call(MODEL_FREE, 1, 0);
}

static struct event
over_session(struct gate *gate)
{
    return over_threshold(gate, "5h", 5 * HOUR_MS);
}

static struct event
over_week(struct gate *gate)
{
    return over_threshold(gate, "7d", 7 * DAY_MS);
}

static struct event
usage_unknown(struct gate *gate)
{
    struct event event = over_threshold(gate, "7d", 5 * HOUR_MS);
    gate->policy->limits[0].on_missing = FACT_DENY;
    return event;
}

static struct event
cannot_bound(struct gate *gate)
{
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 9999)->hold = HOLD_MODE_STRICT;
    struct event event = a_call(MODEL_PAID, 1, 0);
    event.call.cannot_bound = true;
    return event;
}

static struct event
routes_exhausted(struct gate *gate)
{
    struct event event = a_call(MODEL_TWO, 1, 0);
    event.call.routes_closed = 3;
    return event;
}

static struct event
routes_cooling(struct gate *gate)
{
    struct event event = routes_exhausted(gate);
    event.call.routes_open_ms = gate->now_ms + SECOND_MS;
    return event;
}

static struct event
routes_failing(struct gate *gate)
{
    struct event event = routes_cooling(gate);
    event.call.routes_failing = true;
    return event;
}

static struct event
key_unknown(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.key_id = 999;
    return event;
}

static struct event
key_revoked(struct gate *gate)
{
    bank_key(gate, KEY)->revoked = true;
    return a_call(MODEL_FREE, 1, 0);
}

static struct event
key_expired(struct gate *gate)
{
    bank_key(gate, KEY)->expires_ms = gate->now_ms;
    return a_call(MODEL_FREE, 1, 0);
}

static struct event
key_of_another(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.key_id = KEY_B;
    return event;
}

static struct event
banned(struct gate *gate)
{
    bank_account(gate, ACCOUNT)->state = ACCOUNT_BANNED;
    return a_call(MODEL_FREE, 1, 0);
}

static struct event
no_such_model(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.model_index = -1;
    event.call.found = REASON_MODEL_UNKNOWN;
    return event;
}

static struct event
no_thread(struct gate *gate)
{
    bank_key(gate, KEY)->thread_required = true;
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.thread_named = false;
    return event;
}

static struct event
no_such_parent(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    set_hash(event.call.parent_hash, 'p');
    return event;
}

static struct event
its_own_parent(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.thread_kind = THREAD_NAMED;
    event.call.thread_named = true;
    set_hash(event.call.thread_hash, 'c');
    assert_int_equal(gate_decide(gate, &event).kind, VERDICT_ALLOWED);
    set_hash(event.call.parent_hash, 'c');
    return event;
}

static struct event
no_such_id(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    set_hash(event.call.issued_hash, 'i');
    return event;
}

static struct event
no_such_policy(struct gate *gate)
{
    struct event event = a_call(MODEL_FREE, 1, 0);
    event.call.policy_ver = 99;
    return event;
}

static void
each_reason_is_explained(void **state)
{
    static const struct {
        struct event (*arrange)(struct gate *gate); /* NULL: a call under the limit alone */
        enum reason reason;
        const char *stopped; /* the check */
        const char *by;      /* the limit */
        struct under under;
    } rows[] = {
        { key_unknown, REASON_KEY_INVALID, "key valid", NULL },
        { key_revoked, REASON_KEY_REVOKED, "key valid", NULL },
        { key_expired, REASON_KEY_EXPIRED, "key valid", NULL },
        { key_of_another, REASON_KEY_ROLE, "key valid", NULL },
        { banned, REASON_ACCOUNT_BANNED, "account ok", NULL },
        { no_such_model, REASON_MODEL_UNKNOWN, "model known and served at this endpoint", NULL },
        { no_thread, REASON_THREAD_REQUIRED, "thread and its parent known, thread-tree lifetime", NULL },
        { no_such_parent, REASON_THREAD_PARENT, "thread and its parent known, thread-tree lifetime", NULL },
        { its_own_parent, REASON_THREAD_CYCLE, "thread and its parent known, thread-tree lifetime", NULL },
        { no_such_id, REASON_ID_UNKNOWN, "model known and served at this endpoint", NULL },
        { NULL, REASON_COST_SPENT, "thread and its parent known, thread-tree lifetime", "tree",
            { COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 99, MODEL_PAID, 100 } },
        { over_session, REASON_SESSION_THRESHOLD, "reported windows, short before long", "reported" },
        { over_week, REASON_WEEK_THRESHOLD, "reported windows, short before long", "reported" },
        { usage_unknown, REASON_USAGE_UNKNOWN, "reported windows, short before long", "reported" },
        { NULL, REASON_COST_SPENT, "account period", "day",
            { COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 99, MODEL_PAID, 100 } },
        { NULL, REASON_COST_HELD, "other limits, in configuration order", "month",
            { COUNT_COST, PER_KEY, WINDOW_MONTH, 150, MODEL_PAID, 100, .beside = true } },
        { NULL, REASON_TOKENS_SPENT, "other limits, in configuration order", "tokens",
            { COUNT_TOKENS, PER_ACCOUNT, WINDOW_DAY, 99, MODEL_PAID, 100 } },
        { NULL, REASON_TOKENS_HELD, "other limits, in configuration order", "tokens",
            { COUNT_TOKENS, PER_ACCOUNT, WINDOW_DAY, 150, MODEL_FREE, 100, .beside = true } },
        { too_fast, REASON_RATE, "other limits, in configuration order", "pace" },
        { NULL, REASON_IN_FLIGHT, "other limits, in configuration order", "parallel",
            { COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 1, MODEL_FREE, 1, .beside = true } },
        { NULL, REASON_UNPRICED, "routes: eligible, ranked, first that all its limits admit", NULL,
            { COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 99, MODEL_UNPRICED, 1 } },
        { cannot_bound, REASON_CANNOT_BOUND, "routes: eligible, ranked, first that all its limits admit", "day" },
        { routes_exhausted, REASON_ROUTES_EXHAUSTED, "routes: eligible, ranked, first that all its limits admit", NULL },
        { routes_cooling, REASON_ROUTES_COOLING, "routes: eligible, ranked, first that all its limits admit", NULL },
        { routes_failing, REASON_ROUTES_FAILING, "routes: eligible, ranked, first that all its limits admit", NULL },
    };
    struct told *told = test_malloc(sizeof *told);
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        char words[256];
        gate_make((void **)&gate);
        const struct event event =
            rows[i].arrange ? rows[i].arrange(gate) : a_call_under(gate, rows[i].by ? rows[i].by : "limit", &rows[i].under);
        const char *code = reason_row(rows[i].reason)->code;
        explain(gate, &event, true, told);
        (void)snprintf(words, sizeof words, "\"reason\":\"%s\"", code);
        TELLS(told, words);
        (void)snprintf(words, sizeof words, "\"check\":\"%s\",\"result\":\"refused\"", rows[i].stopped);
        TELLS(told, words);
        (void)snprintf(words, sizeof words, "\"refused_by\":\"%s\"", rows[i].by ? rows[i].by : "");
        TELLS(told, rows[i].by ? words : "\"refused_by\":null");
        assert_null(strstr(strstr(told->text, "\"refused\"}") + 1, "\"passed\"}")); /* nothing behind it */
        assert_false(tells(told, "\"taken\":true"));
        const struct verdict verdict = gate_decide(gate, &event); /* the real one says the same */
        assert_int_not_equal(verdict.kind, VERDICT_ALLOWED);
        assert_int_equal(verdict.refusal.reason, rows[i].reason);
        TELLS(told, verdict.kind == VERDICT_WAIT ? "\"verdict\":\"wait\"" : "\"verdict\":\"refused\"");
        gate_end((void **)&gate);
    }
    test_free(told);
}

static void
a_configuration_that_is_gone_is_an_overload(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    const struct event event = no_such_policy(gate);
    explain(gate, &event, true, told);
    TELLS(told, "\"reason\":\"gateway_overloaded\"");
    TELLS(told, "\"limits\":[]");
    test_free(told);
}

/* --- What is allowed. */

static void
an_allowed_call_tells_its_hold_and_every_limit(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    add_limit(gate->policy, "tokens", COUNT_TOKENS, PER_GATEWAY, WINDOW_MONTH, CAP_UNLIMITED)->hold = HOLD_MODE_STRICT;
    add_limit(gate->policy, "parallel", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 4)->at_cap = AT_CAP_QUEUE;
    add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 3000);
    add_bucket(gate->policy, "pace", PER_ACCOUNT, 60, MINUTE_MS, 10);
    const struct event event = a_call(MODEL_PAID, 100, 600);
    explain(gate, &event, true, told);
    TELLS(told, "\"verdict\":\"allowed\",\"payer\":\"company\",\"model\":\"paid\"");
    TELLS(told, "\"estimate\":{\"estimator\":\"learned\",\"input\":100,\"input_bound\":100,\"output_bound\":600,"
                "\"first_slice\":200,\"least_output\":50,\"held_whole\":false}");
    TELLS(told, "{\"provider\":\"bills\",\"model\":\"upstream\",\"open\":true,\"priced\":true,\"taken\":true}");
    TELLS(told, "\"hold\":{\"held_micros\":500,\"bound_micros\":1300,\"estimated_micros\":500,\"held_output\":200,"
                "\"bound_output\":600,\"output_limit_lowered_to\":null,\"output_limit_lowered_by\":null}");
    TELLS(told, "{\"limit\":\"day\",\"counts\":\"cost\",\"per\":\"account\",\"window\":\"day\",\"at_cap\":\"refuse\","
                "\"mode\":\"stream\",\"unit\":\"micro_usd\",\"subject_kind\":\"account\",\"subject\":null,"
                "\"enforced\":true,\"cap_from\":\"default\",\"cap_group\":null,\"settled\":0,\"held\":0,\"cap\":5000,"
                "\"left\":5000,\"raised\":0,\"percent\":0,\"window_began_at\":\"2026-09-30T00:00:00Z\","
                "\"resets_at\":\"2026-10-01T00:00:00Z\",\"counts_this_route\":true,\"ask\":200,\"fits\":true,"
                "\"would_hold\":500,\"would_bound\":1300}");
    TELLS(told, "\"mode\":\"strict\",\"unit\":\"tokens\",\"subject_kind\":\"gateway\",\"subject\":null,\"enforced\":false");
    TELLS(told, "\"cap\":null,\"left\":null");
    TELLS(told, "\"mode\":null,\"unit\":\"in_flight\",\"subject_kind\":\"key\",\"subject\":\"21\"");
    TELLS(told, "\"subject_kind\":\"thread_tree\",\"subject\":null"); /* it has no name before its first call */
    assert_false(tells(told, "\"result\":\"refused\""));

    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(bank_hold(gate, verdict.hold_id)->held_micros, 500);
    explain(gate, &event, true, told); /* the second, beside the first */
    TELLS(told, "\"settled\":0,\"held\":500,\"cap\":5000,\"left\":4500,\"raised\":0,\"percent\":10");
    TELLS(told, "\"unit\":\"requests\",\"subject_kind\":\"account\",\"subject\":null,\"enforced\":true,"
                "\"cap_from\":\"default\",\"cap_group\":null,\"settled\":1,");
    assert_false(tells(told, "\"subject_kind\":\"thread_tree\",\"subject\":null"));
    test_free(told);
}

static void
an_output_limit_that_is_lowered_is_told(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 900);
    const struct event event = a_call(MODEL_PAID, 100, 4000);
    explain(gate, &event, true, told);
    TELLS(told, "\"output_limit_lowered_to\":400,\"output_limit_lowered_by\":\"day\"}");
    test_free(told);
}

static void
of_what_many_share_only_the_share_is_told(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    add_limit(gate->policy, "all", COUNT_COST, PER_GATEWAY, WINDOW_DAY, 10000);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 4200, 0);
    expect_allowed(gate, &settle);
    explain(gate, &event, true, told);
    TELLS(told, "\"settled\":4200,\"held\":0,\"cap\":10000,\"left\":5800");
    explain(gate, &event, false, told);
    TELLS(told, "\"percent\":42");
    assert_false(tells(told, "4200"));
    assert_false(tells(told, "10000"));
    test_free(told);
}

static void
whose_word_a_cap_is_is_told(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    static const char *members[] = { "ann" };
    static struct group groups[] = { { .name = "lab", .member_count = 1, .members = members } };
    static struct plan_cap group_caps[] = { { "lab", 700 } };
    struct limit *limit = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    gate->policy->groups = groups;
    gate->policy->group_count = 1;
    limit->group_caps = group_caps;
    limit->group_cap_count = 1;
    const struct event event = a_call(MODEL_PAID, 100, 0);
    explain(gate, &event, true, told);
    TELLS(told, "\"cap_from\":\"group\",\"cap_group\":\"lab\",\"settled\":0,\"held\":0,\"cap\":700");
    struct subject_row *row = &gate->bank.subjects[gate->bank.subject_count++];
    *row = (struct subject_row){ .subject_id = 900, .kind = SUBJECT_ACCOUNT, .account_id = ACCOUNT, .version = 1, .set_count = 2 };
    row->sets[0] = (struct cap_set){ .set_id = limit->set_id, .kind = SET_CAP, .amount = 300 };
    row->sets[1] = (struct cap_set){ .set_id = limit->set_id, .kind = SET_RAISE, .amount = 40, .expires_ms = gate->now_ms + 1 };
    explain(gate, &event, true, told);
    TELLS(told, "\"cap_from\":\"set\",\"cap_group\":null,\"settled\":0,\"held\":0,\"cap\":340,\"left\":340,\"raised\":40");
    test_free(told);
}

/* A limit that is only watched, one that sends elsewhere, and one of other routes. */
static void
what_happens_instead_is_told(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    struct limit *limit = add_limit(gate->policy, "trial", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10);
    limit->at_cap = AT_CAP_SHADOW;
    const struct event event = a_call(MODEL_PAID, 100, 0);
    explain(gate, &event, true, told);
    TELLS(told, "\"verdict\":\"allowed\"");
    TELLS(told, "\"shadow_refused_by\":\"trial\"");
    TELLS(told, "\"enforced\":false");
    TELLS(told, "\"fits\":false,\"reason\":\"budget_spent\"");
    limit->at_cap = AT_CAP_DOWNGRADE;
    limit->substitute = "free";
    gate->policy->providers[0].apis = UINT32_MAX;
    explain(gate, &event, true, told);
    TELLS(told, "\"verdict\":\"allowed\",\"payer\":\"company\",\"model\":\"free\",\"instead_because_of\":\"trial\"");
    limit->at_cap = AT_CAP_REFUSE;
    limit->of_provider = "stops";
    explain(gate, &event, true, told);
    TELLS(told, "\"verdict\":\"allowed\"");
    TELLS(told, "\"counts_this_route\":false");
    test_free(told);
}

static void
what_was_reported_is_told_with_how_far_it_is_believed(void **state)
{
    struct gate *gate = *state;
    struct told *told = test_malloc(sizeof *told);
    const struct event event = over_session(gate);
    struct limit *limit = &gate->policy->limits[0];
    limit->max_age_ms = 15 * MINUTE_MS;
    explain(gate, &event, false, told);
    TELLS(told, "\"reported\":\"known\",\"reported_window\":\"5h\",\"reported_at\":\"2026-09-30T12:00:00Z\","
                "\"percent\":95,\"cap\":90,\"resets_at\":\"2026-09-30T13:00:00Z\",\"fits\":false,"
                "\"reason\":\"session_threshold\",\"retry_after_ms\":3600000");
    gate->now_ms += 15 * MINUTE_MS + 1;
    explain(gate, &event, false, told);
    TELLS(told, "\"verdict\":\"allowed\"");
    TELLS(told, "\"reported\":\"stale\"");
    gate->now_ms += HOUR_MS;
    explain(gate, &event, false, told);
    TELLS(told, "\"reported\":\"reset\"");
    gate->bank.reported_count = 0;
    explain(gate, &event, false, told);
    TELLS(told, "\"reported\":\"missing\",\"reported_window\":null,\"reported_at\":null");
    test_free(told);
}

static void
an_answer_that_has_no_room_is_none(void **state)
{
    struct gate *gate = *state;
    char room[64];
    struct buf out = buf_over(room, sizeof room);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    load(gate, &event);
    assert_false(core_explain(&gate->core, &event, true, &out));
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    CASE("each reason is explained, with the check that stopped the call", each_reason_is_explained),
    AT_GATE("a configuration that is gone is told as an overload", a_configuration_that_is_gone_is_an_overload),
    AT_GATE("an allowed call tells its hold and every limit", an_allowed_call_tells_its_hold_and_every_limit),
    AT_GATE("an output limit that is lowered is told", an_output_limit_that_is_lowered_is_told),
    AT_GATE("of what many share only the share is told", of_what_many_share_only_the_share_is_told),
    AT_GATE("whose word a cap is is told", whose_word_a_cap_is_is_told),
    AT_GATE("what happens instead is told", what_happens_instead_is_told),
    AT_GATE("what was reported is told, with how far it is believed", what_was_reported_is_told_with_how_far_it_is_believed),
    AT_GATE("an answer that has no room is none", an_answer_that_has_no_room_is_none),
};
UNIT_MAIN(tests)
