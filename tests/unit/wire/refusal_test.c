/* tests/unit/wire/refusal_test.c
 *
 * Goal: each client is refused in the form that it shows and does not repeat (DESIGN section 6).
 * Method: snapshots: a refusal and a listener in, status, headers and body out, as text. */
#include <stdio.h>

#include "base/civil.h"
#include "tbl/counts.h"
#include "unit.h"
#include "wire/refusal.h"

#define NOW_MS INT64_C(1795269787000) /* 2026-11-21 14:03:07 UTC */

static struct refusal
spent(void)
{
    const struct civil reset = { .year = 2026, .month = 12, .day = 1 };
    return (struct refusal){
        .reason = REASON_COST_SPENT,
        .limit_id = 1,
        .limit_name = "month-spend",
        .counts = COUNT_COST,
        .per = PER_ACCOUNT,
        .window = WINDOW_MONTH,
        .used = 5000000,
        .cap = 5000000,
        .resets_at_ms = civil_to_ms(reset),
    };
}

static struct refusal
held(void)
{
    struct refusal refusal = spent();
    refusal.reason = REASON_COST_HELD;
    refusal.used = 1000000;
    refusal.held = 3900000;
    refusal.ask = 250000;
    refusal.retry_after_ms = 2500;
    return refusal;
}

static struct refusal
rate(int64_t retry_after_ms)
{
    return (struct refusal){
        .reason = REASON_RATE,
        .limit_id = 2,
        .limit_name = "per-minute",
        .counts = COUNT_REQUESTS,
        .per = PER_KEY,
        .window = WINDOW_BUCKET,
        .used = 60,
        .cap = 60,
        .retry_after_ms = retry_after_ms,
    };
}

static struct refusal
plain(enum reason reason)
{
    return (struct refusal){ .reason = reason };
}

static struct refusal_listener
listener(enum dialect dialect, bool codex)
{
    return (struct refusal_listener){ .dialect = dialect,
        .codex = codex,
        .account = SLICE("ada"),
        .request_id = SLICE("tg-1"),
        .now_ms = NOW_MS };
}

#define SENTENCE                                                                                   \
    "Account \\\"ada\\\" has spent $5.00 of $5.00 (limit \\\"month-spend\\\"). "                   \
    "It opens again on 2026-12-01 00:00 UTC. Ask your operator to raise it."
#define IDS       "x-request-id: tg-1\r\nrequest-id: tg-1\r\n"
#define JSON_TYPE "content-type: application/json\r\n"
#define TEXT_TYPE "content-type: text/plain; charset=utf-8\r\n"
#define NO_RETRY  "x-should-retry: false\r\n"

static void
assert_rendered(const struct refusal *refusal, const char *detail,
    const struct refusal_listener *to, int status, const char *headers, const char *body)
{
    struct buf head = { 0 }, out = { 0 };
    buf_add_str(&head, "kept: 1\r\n");
    assert_int_equal(refusal_render(refusal, slice_str(detail), to, &head, &out), status);
    assert_true(slice_starts(buf_slice(&head), SLICE("kept: 1\r\n")));
    buf_consume(&head, 9);
    assert_string_equal(buf_cstr(&head), headers);
    assert_string_equal(buf_cstr(&out), body);
    buf_free(&head);
    buf_free(&out);
}

static void
spent_budget_in_every_voice(void **state)
{
    const struct refusal refusal = spent();
    struct refusal_listener to = listener(DIALECT_OPENAI, false);
    assert_rendered(&refusal, "", &to, 402, JSON_TYPE IDS NO_RETRY "retry-after: 813413\r\n",
        "{\"error\":{\"message\":\"" SENTENCE "\",\"type\":\"insufficient_quota\",\"param\":null,"
        "\"code\":\"insufficient_quota\",\"reason\":\"budget_spent\",\"scope\":\"limit\","
        "\"limit\":\"month-spend\",\"used_micros\":5000000,\"held_micros\":0,"
        "\"cap_micros\":5000000,\"resets_at\":\"2026-12-01T00:00:00Z\",\"retry_after_s\":813413}}");

    to = listener(DIALECT_ANTHROPIC, false);
    assert_rendered(&refusal, "", &to, 402, JSON_TYPE IDS NO_RETRY "retry-after: 813413\r\n",
        "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\",\"message\":\"" SENTENCE "\","
        "\"details\":{\"reason\":\"budget_spent\",\"scope\":\"limit\",\"limit\":\"month-spend\","
        "\"used_micros\":5000000,\"held_micros\":0,\"cap_micros\":5000000,"
        "\"resets_at\":\"2026-12-01T00:00:00Z\",\"retry_after_s\":813413}},"
        "\"request_id\":\"tg-1\"}");

    to = listener(DIALECT_OPENAI, true);
    assert_rendered(&refusal, "", &to, 429,
        JSON_TYPE IDS NO_RETRY
        "x-codex-promo-message: Account \"ada\" has spent $5.00 of $5.00 (limit \"month-spend\"). "
        "It opens again on 2026-12-01 00:00 UTC. Ask your operator to raise it\r\n",
        "{\"error\":{\"type\":\"usage_limit_reached\",\"message\":\"" SENTENCE "\","
        "\"resets_at\":1796083200,\"resets_in_seconds\":813413,\"reason\":\"budget_spent\","
        "\"limit\":\"month-spend\",\"used_micros\":5000000,\"held_micros\":0,"
        "\"cap_micros\":5000000}}");

    to = listener(DIALECT_OPENAI, false);
    to.session_protocol = true;
    struct buf head = { 0 }, body = { 0 };
    assert_int_equal(refusal_render(&refusal, slice_str(""), &to, &head, &body), 409);
    to.status_override = 418;
    assert_int_equal(refusal_render(&refusal, slice_str(""), &to, &head, &body), 418);
    buf_free(&head);
    buf_free(&body);
}

static void
waits_are_told_up_to_a_minute(void **state)
{
    static const struct {
        int64_t wait_ms;
        enum dialect dialect;
        bool codex;
        int status;
        const char *headers;
    } rows[] = {
        { 1, DIALECT_OPENAI, false, 429, JSON_TYPE IDS "retry-after: 1\r\n" },
        { 2001, DIALECT_OPENAI, false, 429, JSON_TYPE IDS "retry-after: 3\r\n" },
        { 60000, DIALECT_ANTHROPIC, false, 429, JSON_TYPE IDS "retry-after: 60\r\n" },
        { 60001, DIALECT_ANTHROPIC, false, 402, JSON_TYPE IDS NO_RETRY "retry-after: 61\r\n" },
        { 0, DIALECT_OPENAI, false, 429, JSON_TYPE IDS "retry-after: 2\r\n" }, /* not known */
        { 5000, DIALECT_OPENAI, true, 429, JSON_TYPE IDS "retry-after: 5\r\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct refusal refusal = rate(rows[i].wait_ms);
        const struct refusal_listener to = listener(rows[i].dialect, rows[i].codex);
        struct buf head = { 0 }, body = { 0 };
        assert_int_equal(
            refusal_render(&refusal, slice_str(""), &to, &head, &body), rows[i].status);
        assert_string_equal(buf_cstr(&head), rows[i].headers);
        buf_free(&head);
        buf_free(&body);
    }
    const struct refusal refusal = held();
    const struct refusal_listener to = listener(DIALECT_ANTHROPIC, false);
    assert_rendered(&refusal, "", &to, 429, JSON_TYPE IDS "retry-after: 3\r\n",
        "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Account "
        "\\\"ada\\\" has spent $1.00 of $5.00, and calls in flight hold $3.90; this call needs "
        "$0.25 (limit \\\"month-spend\\\"). Try again in 3 s.\",\"details\":{"
        "\"reason\":\"budget_held\",\"scope\":\"limit\",\"limit\":\"month-spend\","
        "\"used_micros\":1000000,\"held_micros\":3900000,\"cap_micros\":5000000,"
        "\"ask_micros\":250000,\"resets_at\":\"2026-12-01T00:00:00Z\",\"retry_after_s\":3}},"
        "\"request_id\":\"tg-1\"}");
}

static void
each_reason_has_its_status_for_each_client(void **state)
{
    static const struct {
        enum reason reason;
        int status, codex, control;
        const char *openai_code, *anthropic_type;
    } rows[] = {
        { REASON_KEY_MISSING, 401, 400, 401, "invalid_api_key", "authentication_error" },
        { REASON_KEY_CONFLICT, 401, 400, 401, "invalid_api_key", "authentication_error" },
        { REASON_ACCOUNT_BANNED, 403, 400, 403, "account_banned", "permission_error" },
        { REASON_MODEL_UNKNOWN, 404, 400, 404, "model_not_found", "not_found_error" },
        { REASON_ID_UNKNOWN, 404, 400, 404, "id_not_found", "not_found_error" },
        { REASON_BODY_NOT_JSON, 400, 400, 400, "body_not_json", "invalid_request_error" },
        { REASON_BODY_TOO_LARGE, 413, 400, 413, "body_too_large", "request_too_large" },
        { REASON_BODY_COMPRESSED, 415, 400, 415, "body_compressed", "invalid_request_error" },
        { REASON_UNPRICED, 402, 429, 402, "insufficient_quota", "billing_error" },
        { REASON_COST_SPENT, 402, 429, 409, "insufficient_quota", "billing_error" },
        { REASON_IN_FLIGHT, 429, 429, 429, "rate_limit_exceeded", "rate_limit_error" },
        { REASON_ROUTES_COOLING, 429, 429, 503, "rate_limit_exceeded", "rate_limit_error" },
        { REASON_ROUTES_FAILING, 429, 429, 503, "rate_limit_exceeded", "rate_limit_error" },
        { REASON_ID_ROUTE_COOLING, 429, 429, 503, "rate_limit_exceeded", "rate_limit_error" },
        { REASON_ID_ROUTE_GONE, 404, 400, 404, "id_route_gone", "not_found_error" },
        { REASON_ROUTES_EXHAUSTED, 402, 429, 503, "insufficient_quota", "billing_error" },
        { REASON_CREDENTIAL_REJECTED, 502, 400, 502, "provider_credential_rejected", "api_error" },
        { REASON_UPSTREAM_TIMEOUT, 504, 400, 504, "provider_timeout", "timeout_error" },
        { REASON_STORE_UNAVAILABLE, 503, 400, 503, "store_unavailable", "api_error" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct refusal refusal = plain(rows[i].reason);
        for (int voice = 0; voice < 4; voice++) {
            struct refusal_listener to =
                listener(voice == 1 ? DIALECT_ANTHROPIC : DIALECT_OPENAI, voice == 2);
            to.session_protocol = voice == 3;
            struct buf head = { 0 }, body = { 0 };
            char mark[80];
            const int status = refusal_render(&refusal, slice_str(""), &to, &head, &body);
            const bool waits = slice_find(buf_slice(&head), SLICE("retry-after: ")) >= 0;
            const bool never = slice_find(buf_slice(&head), SLICE(NO_RETRY)) >= 0;
            assert_true(waits != never);
            assert_true(slice_find(buf_slice(&head), SLICE(IDS)) >= 0);
            switch (voice) {
            case 0:
                assert_int_equal(status, rows[i].status);
                snprintf(mark, sizeof(mark), "\"code\":\"%s\"", rows[i].openai_code);
                assert_true(slice_find(buf_slice(&body), slice_str(mark)) >= 0);
                break;
            case 1:
                assert_int_equal(status, rows[i].status);
                snprintf(mark, sizeof(mark), "\"error\":{\"type\":\"%s\"", rows[i].anthropic_type);
                assert_true(slice_find(buf_slice(&body), slice_str(mark)) >= 0);
                break;
            case 2:
                assert_int_equal(status, rows[i].codex);
                assert_int_equal(
                    status == 400, slice_find(buf_slice(&head), SLICE(TEXT_TYPE)) >= 0);
                assert_int_equal(status == 400, buf_cstr(&body)[0] != '{');
                break;
            default: assert_int_equal(status, rows[i].control);
            }
            buf_free(&head);
            buf_free(&body);
        }
    }
}

static struct refusal
threshold(enum per_kind per, enum reason reason)
{
    struct refusal refusal = spent();
    refusal.counts = COUNT_REPORTED;
    refusal.per = (int32_t)per;
    refusal.window = WINDOW_REPORTED;
    refusal.reason = reason;
    refusal.used = 91501; /* thousandths of a percent: shown rounded */
    refusal.held = refusal.ask = 0;
    refusal.cap = 90000;
    return refusal;
}

static void
sentence_names_who_what_and_when(void **state)
{
    struct refusal shared = spent(), lifetime = spent(), many = spent();
    shared.per = PER_GATEWAY;
    shared.used = 4000000;
    shared.held = 750000;
    shared.ask = 400000;
    lifetime.per = PER_THREAD_TREE;
    lifetime.window = WINDOW_LIFETIME;
    lifetime.resets_at_ms = 0;
    many.reason = REASON_IN_FLIGHT;
    many.counts = COUNT_IN_FLIGHT;
    many.used = 0;
    many.held = many.cap = 8;
    many.resets_at_ms = 0;
    const struct refusal odd_reset = { .reason = REASON_COST_SPENT,
        .limit_name = "day",
        .counts = COUNT_COST,
        .per = PER_ACCOUNT,
        .window = WINDOW_DAY,
        .used = 42,
        .cap = 40,
        .resets_at_ms = NOW_MS };
    struct refusal of_group = shared;
    of_group.per = PER_GROUP;
    strcpy(of_group.about, "research");
    const struct refusal unbounded = {
        .reason = REASON_CANNOT_BOUND, .limit_name = "day", .about = "web_search_options"
    };
    const struct refusal unbounded_somehow = { .reason = REASON_CANNOT_BOUND, .limit_name = "day" };
    struct refusal all_of_it = shared, larger_than_all = shared, tokens = shared, heavy = shared;
    all_of_it.used = all_of_it.cap;
    all_of_it.held = 0;
    larger_than_all.ask = larger_than_all.cap + 1;
    tokens.counts = COUNT_TOKENS;
    tokens.reason = REASON_TOKENS_SPENT;
    heavy.counts = COUNT_REQUESTS;
    heavy.reason = REASON_RATE;
    heavy.held = 0;
    heavy.used = 7;
    heavy.cap = 10;
    heavy.ask = 4;
    heavy.window = WINDOW_DAY;
    const struct {
        struct refusal refusal;
        const char *detail, *account, *sentence;
    } rows[] = {
        { all_of_it, "", "ada",
            "The budget is spent. A limit shared with others is at 100 % (limit \"month-spend\"). It "
            "opens again on 2026-12-01 00:00 UTC. Ask your operator to raise it." },
        { larger_than_all, "", "ada",
            "This call needs more than the whole of the budget. A limit shared with others is at 95 % (limit "
            "\"month-spend\"). Waiting does not help. Send a smaller one, or ask your operator to raise it." },
        { tokens, "", "ada",
            "This call needs more than what is left of the token allowance. A limit shared with others is at 95 % "
            "(limit \"month-spend\"). It opens again on 2026-12-01 00:00 UTC. Send a smaller one, or ask your operator "
            "to raise it." },
        { heavy, "", "ada",
            "This call counts as 4 requests, which is more than what is left of the allowance. A limit shared with "
            "others is at 70 % (limit \"month-spend\"). It opens again on 2026-12-01 00:00 UTC. Ask your operator "
            "to raise it." },
        { of_group, "", "ada",
            "This call needs more than what is left of the budget. A limit shared by your group \"research\" is at 95 % "
            "(limit \"month-spend\"). It "
            "opens again on 2026-12-01 00:00 UTC. Send a smaller one, or ask your operator to raise it." },
        { unbounded, "", "ada",
            "The cost of this call cannot be bounded: what \"web_search_options\" in it costs is not known, and the "
            "limit \"day\" is strict. Send it without. Ask your operator." },
        { unbounded_somehow, "", "ada",
            "The cost of this call cannot be bounded, as the limit \"day\" wants. Ask your operator." },
        { spent(), "", "ada",
            "Account \"ada\" has spent $5.00 of $5.00 (limit \"month-spend\"). It opens again on "
            "2026-12-01 00:00 UTC. Ask your operator to raise it." },
        { spent(), "", "",
            "This account has spent $5.00 of $5.00 (limit \"month-spend\"). It opens again on "
            "2026-12-01 00:00 UTC. Ask your operator to raise it." },
        { shared, "", "ada",
            "This call needs more than what is left of the budget. A limit shared with others is at 95 % (limit "
            "\"month-spend\"). It opens again on 2026-12-01 00:00 UTC. Send a smaller one, or ask your operator to raise "
            "it." },
        { lifetime, "", "ada",
            "This thread with all under it has spent $5.00 of $5.00 (limit \"month-spend\"). It does "
            "not reset by itself. Ask your operator to raise it." },
        { many, "", "ada",
            "Account \"ada\" has 8 of 8 calls in flight (limit \"month-spend\"). Try again in 2 s." },
        { rate(4000), "", "ada",
            "This key of account \"ada\" has used 60 of 60 requests that its rate allows at once "
            "(limit \"per-minute\"). Try again in 4 s." },
        { odd_reset, "", "ada",
            "Account \"ada\" has spent $0.000042 of $0.00004 (limit \"day\"). Waiting does not help. "
            "Ask your operator to raise it." },
        { threshold(PER_ACCOUNT, REASON_SESSION_THRESHOLD), "", "ada",
            "Account \"ada\" has used 92 % of its session window, as its provider reports, and the "
            "threshold is 90 % (limit \"month-spend\"). It opens again on 2026-12-01 00:00 UTC. A higher "
            "threshold lets work start before." },
        { threshold(PER_GATEWAY, REASON_WEEK_THRESHOLD), "", "ada",
            "The week has reached the threshold that was set for it. A limit shared with others is at "
            "92 % (limit \"month-spend\"). It opens again on 2026-12-01 00:00 UTC. A higher threshold "
            "lets work start before." },
        { threshold(PER_ACCOUNT, REASON_USAGE_UNKNOWN), "", "ada",
            "What the provider reports as used is not known, or too old, and this limit lets nothing "
            "start then (limit \"month-spend\"). It opens with the next report." },
        { plain(REASON_MODEL_UNKNOWN), "\"gpt-9\"", "ada",
            "There is no such model here: \"gpt-9\"." },
        { plain(REASON_BODY_DUPLICATE_KEY), "model: the second is at byte 9", "ada",
            "The body has the same key twice: model: the second is at byte 9." },
        { plain(REASON_KEY_INVALID), "", "", "This key is not known here." },
        { plain(REASON_UNPRICED), "", "ada",
            "This model has no price, so it cannot be used under a cost limit. Ask your operator." },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        refusal_sentence(
            &rows[i].refusal, slice_str(rows[i].detail), slice_str(rows[i].account), NOW_MS, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sentence);
        buf_free(&out);
    }
}

/* One of each kind of limit, at its cap. */
static struct refusal
of_limit(enum count_kind counts, enum per_kind per, enum window_kind window, enum reason reason)
{
    struct refusal refusal = { .reason = reason,
        .limit_id = 3,
        .limit_name = "one",
        .counts = (int32_t)counts,
        .per = (int32_t)per,
        .window = (int32_t)window,
        .cap = 5000000,
        .used = 5000000 };
    if (window == WINDOW_ROLLING || window == WINDOW_FIRST_USE) {
        refusal.span_ms = 5 * HOUR_MS;
        refusal.retry_after_ms = 2 * HOUR_MS;
        refusal.resets_at_ms = NOW_MS + 2 * HOUR_MS;
    }
    return refusal;
}

#define FITS_AGAIN " The same call fits again on 2026-11-21 16:04 UTC. Ask your operator to raise it."
#define OPENS      " It opens again on 2026-11-21 16:04 UTC. Ask your operator to raise it."
#define NEVER      " Waiting does not help. Ask your operator to raise it."

static void
each_kind_of_window_is_told(void **state)
{
    struct refusal tokens = of_limit(COUNT_TOKENS, PER_KEY, WINDOW_ROLLING, REASON_TOKENS_SPENT);
    struct refusal tokens_held = of_limit(COUNT_TOKENS, PER_ACCOUNT, WINDOW_DAY, REASON_TOKENS_HELD);
    struct refusal weighed = of_limit(COUNT_REQUESTS, PER_ACCOUNT_MODEL, WINDOW_FIRST_USE, REASON_RATE);
    struct refusal rate = of_limit(COUNT_COST, PER_ACCOUNT, WINDOW_BUCKET, REASON_COST_SPENT);
    struct refusal slow = of_limit(COUNT_TOKENS, PER_KEY, WINDOW_BUCKET, REASON_TOKENS_SPENT);
    struct refusal large = of_limit(COUNT_TOKENS, PER_ACCOUNT, WINDOW_BUCKET, REASON_TOKENS_SPENT);
    struct refusal heavy = of_limit(COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, REASON_RATE);
    struct refusal tree = of_limit(COUNT_TOKENS, PER_THREAD_TREE, WINDOW_LIFETIME, REASON_TOKENS_SPENT);
    tokens.used = 99000;
    tokens.cap = 100000;
    tokens.ask = 2500;
    tokens_held.used = 500;
    tokens_held.held = 300;
    tokens_held.cap = 1000;
    tokens_held.ask = 400;
    tokens_held.retry_after_ms = SECOND_MS;
    weighed.used = 38;
    weighed.cap = 40;
    weighed.ask = 5;
    rate.used = 900000;
    rate.cap = 1000000;
    rate.ask = 250000;
    rate.retry_after_ms = 12 * SECOND_MS;
    slow.retry_after_ms = 2 * HOUR_MS;
    large.used = 0;
    large.ask = 5000001;
    heavy.used = 0;
    heavy.cap = 4;
    heavy.ask = 5;
    const struct {
        struct refusal refusal;
        int status;
        const char *sentence;
    } rows[] = {
        { tokens, 402,
            "This key of account \"ada\" has used 99000 of 100000 tokens within the last 5 h; this call needs 2500 "
            "(limit \"one\")." FITS_AGAIN },
        { of_limit(COUNT_COST, PER_ACCOUNT, WINDOW_ROLLING, REASON_COST_SPENT), 402,
            "Account \"ada\" has spent $5.00 of $5.00 within the last 5 h (limit \"one\")." FITS_AGAIN },
        { tokens_held, 429,
            "Account \"ada\" has used 500 of 1000 tokens, and calls in flight hold 300; this call needs 400 (limit "
            "\"one\"). Try again in 1 s." },
        { weighed, 402,
            "Account \"ada\" with this model has used 38 of 40 requests in its window of 5 h, which lasts until "
            "2026-11-21 16:04 UTC; this call counts as 5 (limit \"one\"). Ask your operator to raise it." },
        { of_limit(COUNT_COST, PER_ACCOUNT_MODEL, WINDOW_FIRST_USE, REASON_COST_SPENT), 402,
            "Account \"ada\" with this model has spent $5.00 of $5.00 in its window of 5 h, which lasts until "
            "2026-11-21 16:04 UTC (limit \"one\"). Ask your operator to raise it." },
        { rate, 429,
            "Account \"ada\" has spent $0.90 of $1.00 that its rate allows at once; this call needs $0.25 (limit "
            "\"one\"). Try again in 12 s." },
        { slow, 402,
            "This key of account \"ada\" has used 5000000 of 5000000 tokens that its rate allows at once (limit "
            "\"one\")." OPENS },
        { large, 402,
            "Account \"ada\" has used 0 of 5000000 tokens that its rate allows at once; this call needs 5000001 (limit "
            "\"one\")." NEVER },
        { heavy, 402, "Account \"ada\" has used 0 of 4 requests; this call counts as 5 (limit \"one\")." NEVER },
        { tree, 402,
            "This thread with all under it has used 5000000 of 5000000 tokens (limit \"one\"). It does not reset by "
            "itself. Ask your operator to raise it." },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        refusal_sentence(&rows[i].refusal, SLICE(""), SLICE("ada"), NOW_MS, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sentence);
        assert_int_equal(refusal_status(&rows[i].refusal, NOW_MS), rows[i].status);
        buf_free(&out);
    }
}

static void
whom_a_limit_is_shared_with_is_told(void **state)
{
    static const struct {
        enum per_kind per;
        const char *words; /* NULL: it is the caller's own, and its sums are told */
    } rows[] = {
        { PER_GATEWAY, "A limit shared with others is at 100 %" },
        { PER_GROUP, "A limit shared by your group is at 100 %" },
        { PER_ORGANISATION, "A limit shared by your organisation is at 100 %" },
        { PER_PLAN, "A limit shared by all accounts of your plan is at 100 %" },
        { PER_MODEL, "A limit shared by all callers of this model is at 100 %" },
        { PER_TIER, "A limit shared by all callers of such models is at 100 %" },
        { PER_TAG, "A limit shared by all calls with this tag is at 100 %" },
        { PER_ACCOUNT, NULL },
        { PER_KEY, NULL },
        { PER_THREAD_TREE, NULL },
        { PER_ACCOUNT_MODEL, NULL },
    };
    assert_int_equal(countof(rows), PER_KIND_COUNT);
    for (size_t i = 0; i < countof(rows); i++) {
        const struct refusal refusal =
            of_limit(COUNT_COST, rows[i].per, WINDOW_ROLLING, REASON_COST_SPENT);
        for (int voice = 0; voice < 3; voice++) {
            const struct refusal_listener to =
                listener(voice == 1 ? DIALECT_ANTHROPIC : DIALECT_OPENAI, voice == 2);
            struct buf head = { 0 }, body = { 0 };
            (void)refusal_render(&refusal, slice_str(""), &to, &head, &body);
            const bool shared = rows[i].words != NULL;
            assert_int_equal(slice_find(buf_slice(&body), SLICE("cap_micros")) < 0, shared);
            assert_int_equal(slice_find(buf_slice(&body), SLICE("5.00")) < 0, shared);
            assert_int_equal(slice_find(buf_slice(&body), SLICE("\"used_percent\":100")) >= 0, shared);
            assert_true(!shared || slice_find(buf_slice(&head), SLICE("5.00")) < 0);
            assert_true(!shared || slice_find(buf_slice(&body), slice_str(rows[i].words)) >= 0);
            buf_free(&head);
            buf_free(&body);
        }
    }
}

/* A rate of money opens by itself; what is larger than the whole bucket never passes. */
static void
a_rate_waits_and_what_never_fits_does_not(void **state)
{
    static const struct {
        enum reason reason;
        int counts;
        int64_t ask, retry_after_ms;
        int status;
    } rows[] = {
        { REASON_COST_SPENT, COUNT_COST, 100, 2500, 429 },
        { REASON_TOKENS_SPENT, COUNT_TOKENS, 100, 60000, 429 },
        { REASON_COST_SPENT, COUNT_COST, 100, 60001, 402 },
        { REASON_COST_SPENT, COUNT_COST, 101, 0, 402 },
        { REASON_RATE, COUNT_REQUESTS, 100, 2500, 429 },
        { REASON_RATE, COUNT_REQUESTS, 101, 0, 402 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct refusal refusal = { .reason = rows[i].reason,
            .limit_id = 3,
            .limit_name = "pace",
            .counts = rows[i].counts,
            .per = PER_ACCOUNT,
            .window = WINDOW_BUCKET,
            .used = 60,
            .cap = 100,
            .ask = rows[i].ask,
            .retry_after_ms = rows[i].retry_after_ms };
        const struct refusal_listener to = listener(DIALECT_ANTHROPIC, false);
        struct buf head = { 0 }, body = { 0 };
        assert_int_equal(refusal_render(&refusal, slice_str(""), &to, &head, &body), rows[i].status);
        const bool waits = rows[i].status == 429;
        assert_int_equal(slice_find(buf_slice(&head), SLICE("x-should-retry")) < 0, waits);
        assert_int_equal(slice_find(buf_slice(&body), SLICE("Try again in ")) >= 0, waits);
        assert_int_equal(slice_find(buf_slice(&head), SLICE("retry-after")) >= 0, rows[i].retry_after_ms > 0);
        buf_free(&head);
        buf_free(&body);
    }
}

static void
hostile_names_break_out_of_nothing(void **state)
{
    const struct refusal refusal = spent();
    struct refusal_listener to = listener(DIALECT_OPENAI, true);
    to.account = SLICE("a\"\\\r\nx: \xc3\xa9\x01");
    struct buf head = { 0 }, body = { 0 };
    (void)refusal_render(&refusal, slice_str(""), &to, &head, &body);
    assert_true(slice_find(buf_slice(&head), SLICE("\"a\"\\??x: ??\" has spent")) >= 0);
    assert_true(slice_find(buf_slice(&body), SLICE("\\\"a\\\"\\\\\\r\\nx: \xc3\xa9\\u0001")) >= 0);
    buf_free(&head);
    buf_free(&body);
}

static const struct CMUnitTest tests[] = {
    CASE("FF-94 a spent budget in every client's voice", spent_budget_in_every_voice),
    CASE("waits are told up to a minute, longer ones as spent", waits_are_told_up_to_a_minute),
    CASE("each reason has its status for each client", each_reason_has_its_status_for_each_client),
    CASE("FF-92 the sentence names who, what and when", sentence_names_who_what_and_when),
    CASE("each kind of window is told, and what waiting is good for", each_kind_of_window_is_told),
    CASE("FF-93 sums of others are not told", whom_a_limit_is_shared_with_is_told),
    CASE("a rate waits, and what never fits does not", a_rate_waits_and_what_never_fits_does_not),
    CASE("hostile names break out of nothing", hostile_names_break_out_of_nothing),
};
UNIT_MAIN(tests)
