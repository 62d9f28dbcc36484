/* tests/unit/wire/quota_test.c
 *
 * Goal: an upstream's answer is told apart as wire.md sections 3 and 4 do: whose fault, how long,
 * and whether the next route may be tried. Method: the fixtures as they are, then tables of headers
 * and of single values. */
#include "base/civil.h"
#include "fixture.h"
#include "wire/quota.h"

#define NOW_MS INT64_C(1795269787000) /* 2026-11-21 14:03:07 UTC, the fixtures' date */

static void
fixtures_are_judged(void **state)
{
    static const struct {
        const char *name;
        enum dialect dialect;
        enum upstream_class class_;
        int64_t wait_ms;
        bool unbilled, next_route;
    } rows[] = {
        { "openai_chat", DIALECT_OPENAI, UPSTREAM_FINE, 0, false, false },
        { "openai_429_rate", DIALECT_OPENAI, UPSTREAM_BUSY, 20412, true, true },
        { "openai_429_quota", DIALECT_OPENAI, UPSTREAM_SPENT, 0, true, true },
        { "azure_429", DIALECT_OPENAI, UPSTREAM_BUSY, 16871, true, true },
        { "groq_429", DIALECT_OPENAI, UPSTREAM_BUSY, 2000, true, true },
        { "openrouter_429", DIALECT_OPENAI, UPSTREAM_BUSY, 53000, true, true },
        { "openrouter_402_credits", DIALECT_OPENAI, UPSTREAM_SPENT, 0, true, true },
        { "openrouter_402_in_flight", DIALECT_OPENAI, UPSTREAM_BUSY, 5000, true, true },
        { "deepseek_402", DIALECT_OPENAI, UPSTREAM_SPENT, 0, true, true },
        { "hf_402", DIALECT_OPENAI, UPSTREAM_SPENT, 0, true, true },
        { "codex_429_usage_limit", DIALECT_OPENAI, UPSTREAM_SPENT, 10800000, true, true },
        { "gemini_openai_429", DIALECT_OPENAI, UPSTREAM_BUSY, 64613000, true, true },
        { "html_502", DIALECT_OPENAI, UPSTREAM_FAILING, 0, true, true },
        { "anthropic_429_rate", DIALECT_ANTHROPIC, UPSTREAM_BUSY, 42000, true, true },
        { "anthropic_429_spend_cap", DIALECT_ANTHROPIC, UPSTREAM_SPENT, 0, true, true },
        { "anthropic_429_unified_5h", DIALECT_ANTHROPIC, UPSTREAM_BUSY, 10613000, true, true },
        { "anthropic_529", DIALECT_ANTHROPIC, UPSTREAM_BUSY, 0, true, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct fixture fixture;
        fixture_load(&fixture, rows[i].name);
        const struct judgement judgement =
            judge_answer(rows[i].dialect, &fixture.head, fixture.body, NOW_MS);
        assert_int_equal(judgement.class_, rows[i].class_);
        assert_int_equal(judgement.wait_ms, rows[i].wait_ms);
        assert_int_equal(judgement.unbilled, rows[i].unbilled);
        assert_int_equal(judgement.next_route, rows[i].next_route);
        fixture_free(&fixture);
    }
}

static void
statuses_and_bodies_tell_whose_fault_it_is(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum dialect dialect;
        enum upstream_class class_;
        bool unbilled, next_route;
    } rows[] = {
        { 200, "", DIALECT_OPENAI, UPSTREAM_FINE, false, false },
        { 400, "{\"error\":{\"code\":\"context_length_exceeded\"}}", DIALECT_OPENAI,
            UPSTREAM_CLIENT, true, false },
        { 400,
            "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your "
            "credit balance is too low to access the API.\"}}",
            DIALECT_ANTHROPIC, UPSTREAM_SPENT, true, true },
        { 401, "", DIALECT_ANTHROPIC, UPSTREAM_REJECTED, true, true },
        { 403, "{\"error\":{\"type\":\"permission_error\"}}", DIALECT_ANTHROPIC, UPSTREAM_REJECTED,
            true, true },
        { 403, "{\"error\":{\"code\":403,\"metadata\":{\"reasons\":[\"violence\"]}}}",
            DIALECT_OPENAI, UPSTREAM_CLIENT, true, false },
        { 404, "", DIALECT_OPENAI, UPSTREAM_CLIENT, true, false },
        { 408, "", DIALECT_OPENAI, UPSTREAM_FAILING, false, true },
        { 413, "", DIALECT_OPENAI, UPSTREAM_CLIENT, true, false },
        { 422, "{\"detail\":[]}", DIALECT_OPENAI, UPSTREAM_CLIENT, true, false },
        { 498, "", DIALECT_OPENAI, UPSTREAM_BUSY, true, true },
        { 500, "", DIALECT_OPENAI, UPSTREAM_FAILING, true, true },
        { 503, "", DIALECT_OPENAI, UPSTREAM_BUSY, true, true },
        { 504, "", DIALECT_OPENAI, UPSTREAM_FAILING, false, true },
        { 524, "<html>", DIALECT_OPENAI, UPSTREAM_FAILING, false, true },
        { 302, "", DIALECT_OPENAI, UPSTREAM_STRANGE, true, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct http_head head = { .status = rows[i].status };
        const struct judgement judgement =
            judge_answer(rows[i].dialect, &head, slice_str(rows[i].body), NOW_MS);
        assert_int_equal(judgement.class_, rows[i].class_);
        assert_int_equal(judgement.unbilled, rows[i].unbilled);
        assert_int_equal(judgement.next_route, rows[i].next_route);
    }
}

static void
waits_are_found_in_their_order(void **state)
{
    static const struct {
        enum dialect dialect;
        const char *headers, *body;
        int64_t wait_ms;
    } rows[] = {
        { DIALECT_OPENAI, "", "", 0 },
        { DIALECT_OPENAI, "retry-after: 5\nretry-after-ms: 4321", "", 4321 },
        { DIALECT_OPENAI, "retry-after: 5\nretry-after-ms: -1", "", 5000 },
        { DIALECT_OPENAI, "retry-after: 1.5", "", 1500 },
        { DIALECT_OPENAI, "retry-after: Sat, 21 Nov 2026 14:03:37 GMT", "", 30000 },
        { DIALECT_OPENAI, "retry-after: Sat, 21 Nov 2026 14:03:00 GMT", "", 0 }, /* past */
        { DIALECT_OPENAI,
            "retry-after: 0\nx-ratelimit-remaining-tokens: 0\n"
            "x-ratelimit-reset-tokens: 6m0s\nx-ratelimit-remaining-requests: 3\n"
            "x-ratelimit-reset-requests: 9h",
            "", 360000 },
        { DIALECT_OPENAI,
            "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 7.66s\n"
            "x-ratelimit-remaining-requests: 0\n"
            "x-ratelimit-reset-requests: 2m59.56s",
            "", 179560 }, /* the later */
        { DIALECT_OPENAI,
            "x-ratelimit-remaining-tokens-minute: 0\n"
            "x-ratelimit-reset-tokens-minute: 11.382",
            "", 11382 }, /* Cerebras */
        { DIALECT_OPENAI, "ratelimitbysize-remaining: 0\nratelimitbysize-reset: 15", "", 15000 },
        { DIALECT_OPENAI, "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: -1", "", 0 },
        { DIALECT_ANTHROPIC,
            "anthropic-ratelimit-input-tokens-remaining: 0\n"
            "anthropic-ratelimit-input-tokens-reset: 2026-11-21T14:03:49Z\n"
            "anthropic-ratelimit-requests-remaining: 5\n"
            "anthropic-ratelimit-requests-reset: 2026-11-21T15:03:49Z",
            "", 42000 },
        { DIALECT_ANTHROPIC,
            "anthropic-ratelimit-unified-status: rejected\n"
            "anthropic-ratelimit-unified-reset: 1795269887\n"
            "anthropic-ratelimit-unified-5h-status: rejected\n"
            "anthropic-ratelimit-unified-5h-reset: 1795269887\n"
            "anthropic-ratelimit-unified-7d-status: rejected\n"
            "anthropic-ratelimit-unified-7d-reset: 2026-11-22T14:03:07Z",
            "", 86400000 }, /* both must open; both forms of time */
        { DIALECT_ANTHROPIC,
            "anthropic-ratelimit-unified-status: allowed\n"
            "anthropic-ratelimit-unified-reset: 1795269887",
            "", 0 },
        { DIALECT_OPENAI,
            "x-codex-primary-used-percent: 100\n"
            "x-codex-primary-reset-after-seconds: 60\n"
            "x-codex-secondary-used-percent: 99.5\n"
            "x-codex-secondary-reset-after-seconds: 600",
            "", 60000 },
        { DIALECT_OPENAI, "", "{\"error\":{\"details\":[{\"retryDelay\":\"34s\"}]}}", 34000 },
        { DIALECT_OPENAI, "", "[{\"error\":{\"details\":[{\"retryDelay\":\"3.5s\"}]}}]", 3500 },
        { DIALECT_OPENAI, "", "{\"error\":{\"message\":\"please try again in 20.412s.\"}}", 20412 },
        { DIALECT_OPENAI, "", "{\"error\":{\"message\":\"try again in 1h2m3s\"}}", 3723000 },
        { DIALECT_OPENAI, "", "{\"error\":{\"message\":\"Please retry after 17 seconds.\"}}",
            17000 },
        { DIALECT_OPENAI, "", "{\"error\":{\"message\":\"try again in a while\"}}", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        head_of_lines(&head, rows[i].headers);
        assert_int_equal(judge_wait_ms(rows[i].dialect, &head, slice_str(rows[i].body), NOW_MS),
            rows[i].wait_ms);
    }
}

static void
every_form_of_a_wait_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t wait_ms;
    } rows[] = {
        { "17", 17000 },
        { " 17 ", 17000 },
        { "0.5", 500 },
        { "0.0001", 1 },
        { "120ms", 120 },
        { "1s", 1000 },
        { "8.64s", 8640 },
        { "6m0s", 360000 },
        { "1h2m3s", 3723000 },
        { "2m59.56s", 179560 },
        { "1d", 86400000 },
        { "1795269797", 10000 },
        { "1795269787500", 500 },
        { "2026-11-21T14:03:08Z", 1000 },
        { "2026-11-21T15:03:08.412345+01:00", 1412 },
        { "", 0 },
        { "0", 0 },
        { "-5", 0 },
        { "NaN", 0 },
        { "inf", 0 },
        { "1e3", 0 },
        { "5x", 0 },
        { "5 m x", 0 },
        { "s", 0 },
        { "1.2.3", 0 },
        { "3024000", WAIT_MS_MAX },
        { "3024001", 0 },
        { "36d", 0 },
        { "1000000000", 0 },
        { "99999999999999999999999", 0 },
        { "999999999999999h", 0 },
        { "2026-11-21T14:03:07Z", 0 },
        { "2027-11-21T14:03:07Z", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(wait_parse(slice_str(rows[i].text), NOW_MS), rows[i].wait_ms);
    }
}

static void
pacific_midnight_follows_daylight_time(void **state)
{
    static const struct {
        struct civil now, midnight; /* UTC */
    } rows[] = {
        { { 2026, 11, 21, 14, 3, 7, 0, 0 }, { 2026, 11, 22, 8, 0, 0, 0, 0 } },
        { { 2026, 7, 1, 6, 59, 59, 0, 0 }, { 2026, 7, 1, 7, 0, 0, 0, 0 } },
        { { 2026, 7, 1, 7, 0, 0, 0, 0 }, { 2026, 7, 2, 7, 0, 0, 0, 0 } },
        { { 2026, 3, 8, 9, 0, 0, 0, 0 }, { 2026, 3, 9, 7, 0, 0, 0, 0 } }, /* a day of 23 hours */
        { { 2026, 3, 8, 7, 59, 0, 0, 0 }, { 2026, 3, 8, 8, 0, 0, 0, 0 } },
        { { 2026, 11, 1, 7, 0, 0, 0, 0 }, { 2026, 11, 2, 8, 0, 0, 0, 0 } }, /* one of 25 */
        { { 2026, 12, 31, 23, 0, 0, 0, 0 }, { 2027, 1, 1, 8, 0, 0, 0, 0 } },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const int64_t now_ms = civil_to_ms(rows[i].now);
        assert_int_equal(now_ms + wait_to_pacific_midnight(now_ms), civil_to_ms(rows[i].midnight));
    }
}

static const struct CMUnitTest tests[] = {
    CASE("fixtures of upstream answers are judged", fixtures_are_judged),
    CASE("statuses and bodies tell whose fault it is", statuses_and_bodies_tell_whose_fault_it_is),
    CASE("waits are found in their order", waits_are_found_in_their_order),
    CASE("every form of a wait is read", every_form_of_a_wait_is_read),
    CASE("midnight in California follows daylight time", pacific_midnight_follows_daylight_time),
};
UNIT_MAIN(tests)
