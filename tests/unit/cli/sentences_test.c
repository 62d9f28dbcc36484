/* tests/unit/cli/sentences_test.c
 *
 * Goal: a limit's sentence says what is in force, and nothing that is not. */
#include "unit.h"

#include "cli/cli_priv.h"
#include "policy/zone.h"

static void
limits_are_told_in_sentences(void **state)
{
    static struct plan_cap caps[] = { { "free", 5000000 }, { "pro", CAP_UNLIMITED } };
    static const struct zone berlin = { .name = "Europe/Berlin" };
    static const struct {
        struct limit limit;
        const char *sentence, *mode;
    } rows[] = {
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_MONTH, .cap_default = 50000000,
              .of_tier = -1 },
            "each account may spend $50.00 a month; what does not fit is refused", "stream" },
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = 1000000,
              .plan_cap_count = 2, .plan_caps = caps, .of_tier = TIER_PREMIUM, .zone = &berlin,
              .hold = HOLD_MODE_STRICT },
            "each account may spend $1.00 a day; on plan free $5.00, pro without a cap, counting premium models "
            "(by the clock of Europe/Berlin); what does not fit is refused",
            "strict" },
        { { .counts = COUNT_COST, .per = PER_THREAD_TREE, .window = WINDOW_LIFETIME, .cap_default = CAP_UNLIMITED,
              .plan_cap_count = 1, .plan_caps = caps, .of_tier = -1, .hold = HOLD_MODE_NONE },
            "each thread with all threads under it may spend any amount; on plan free $5.00; what does not fit is "
            "refused",
            "none" },
        { { .counts = COUNT_REQUESTS, .per = PER_KEY, .window = WINDOW_BUCKET, .rate = 60, .period_ms = MINUTE_MS,
              .burst = 10, .of_model = "gpt-5.5", .of_tier = -1 },
            "each key may make 60 requests a minute, at most 10 at once, counting calls to gpt-5.5; what does not fit "
            "is refused",
            "exact" },
        { { .counts = COUNT_IN_FLIGHT, .per = PER_ACCOUNT, .window = WINDOW_CONCURRENCY, .cap_default = 2,
              .of_model = "gpt-5.5", .of_tier = TIER_FREE },
            "each account may have 2 calls in flight, counting calls to gpt-5.5 while it is a free model; what does "
            "not fit is refused",
            "exact" },
        { { .counts = COUNT_REQUESTS, .per = PER_GATEWAY, .window = WINDOW_BUCKET, .rate = 9, .period_ms = HOUR_MS,
              .burst = 9, .of_tier = -1 },
            "all callers of this gateway together may make 9 requests an hour, at most 9 at once; what does not fit is "
            "refused",
            "exact" },
        { { .counts = COUNT_IN_FLIGHT, .per = PER_GATEWAY, .window = WINDOW_CONCURRENCY, .cap_default = 8,
              .of_tier = -1 },
            "all callers of this gateway together may have 8 calls in flight; what does not fit is refused", "exact" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        limit_sentence(&rows[i].limit, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sentence);
        assert_string_equal(limit_mode(&rows[i].limit), rows[i].mode);
        assert_true(strlen(limit_claim(&rows[i].limit)) > 20);
        buf_free(&out);
    }
}

static void
prices_are_told_in_sentences(void **state)
{
    static const struct {
        struct price_set set;
        const char *sentence;
    } rows[] = {
        { { 3000000, 15000000, 300000, 3750000, 6000000 },
            "$3.00 in, $15.00 out; cached $0.30 read, $3.75 written, $6.00 for an hour" },
        { { 0, 0, -1, -1, -1 }, "$0.00 in, $0.00 out; cached nothing read, nothing written, nothing for an hour" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        price_sentence(&rows[i].set, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sentence);
        buf_free(&out);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("prices are told in sentences", prices_are_told_in_sentences),
    CASE("limits are told in sentences", limits_are_told_in_sentences),
};
UNIT_MAIN(tests)
