/* tests/unit/cli/sentences_test.c
 *
 * Goal: a limit's sentence says what is in force, and nothing that is not. */
#include "unit.h"

#include "cli/cli_priv.h"
#include "policy/zone.h"

#define REFUSED "; what does not fit is refused"

static const struct plan_cap plans[] = { { "free", 5000000 }, { "pro", CAP_UNLIMITED } };
static const struct plan_cap groups[] = { { "research", 200000000 }, { "ops", CAP_UNLIMITED } };
static const struct weight weights[] = { { "gpt-5*", 5 }, { "small", 0 } };
static const struct zone berlin = { .name = "Europe/Berlin" };

struct told {
    struct limit limit;
    const char *sentence, *mode;
};

static void
assert_told(const struct told *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf out = { 0 };
        limit_sentence(&rows[i].limit, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sentence);
        assert_string_equal(limit_mode(&rows[i].limit), rows[i].mode);
        assert_true(strlen(limit_claim(&rows[i].limit)) > 20);
        buf_free(&out);
    }
}

static void
counts_and_windows_are_told(void **state)
{
    static const struct told rows[] = {
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_MONTH, .cap_default = 50000000, .of_tier = -1 },
            "each account may spend $50.00 a month" REFUSED, "stream" },
        { { .counts = COUNT_TOKENS, .per = PER_KEY, .window = WINDOW_ROLLING, .span_ms = 5 * HOUR_MS,
              .cap_default = 100000, .of_tier = -1, .at_cap = AT_CAP_QUEUE, .queue_ms = 90 * SECOND_MS },
            "each key may use 100000 tokens within any 5 h; what does not fit waits up to 90 s, then it is refused",
            "stream" },
        { { .counts = COUNT_REQUESTS, .per = PER_ACCOUNT_MODEL, .window = WINDOW_FIRST_USE, .span_ms = 90 * MINUTE_MS,
              .cap_default = 40, .of_tier = -1 },
            "each account with each model may make 40 requests within 90 min from the first call on" REFUSED, "exact" },
        { { .counts = COUNT_TOKENS, .per = PER_MODEL, .window = WINDOW_WEEK, .cap_default = CAP_UNLIMITED, .of_tier = -1,
              .hold = HOLD_MODE_NONE },
            "all callers of one model together may use any number of tokens" REFUSED, "none" },
        { { .counts = COUNT_COST, .per = PER_ORGANISATION, .window = WINDOW_LIFETIME, .cap_default = 1000000, .of_tier = -1 },
            "all accounts of one organisation together may spend $1.00 in all" REFUSED, "stream" },
        { { .counts = COUNT_REQUESTS, .per = PER_KEY, .window = WINDOW_LIFETIME, .cap_default = 9, .of_tier = -1 },
            "each key may make 9 requests in its whole life" REFUSED, "exact" },
        { { .counts = COUNT_REQUESTS, .per = PER_KEY, .window = WINDOW_BUCKET, .rate = 60, .period_ms = MINUTE_MS,
              .burst = 10, .of_model = "gpt-5.5", .of_tier = -1 },
            "each key may make 60 requests a minute, at most 10 at once, counting calls to gpt-5.5" REFUSED, "exact" },
        { { .counts = COUNT_COST, .per = PER_PLAN, .window = WINDOW_BUCKET, .rate = 5000000, .period_ms = HOUR_MS,
              .burst = 1000000, .of_tier = -1 },
            "all accounts of one plan together may spend $5.00 an hour, at most $1.00 at once" REFUSED, "rate" },
        { { .counts = COUNT_TOKENS, .per = PER_GATEWAY, .window = WINDOW_BUCKET, .rate = 9000, .period_ms = 90 * MINUTE_MS,
              .burst = 900, .of_tier = -1 },
            "all callers of this gateway together may use 9000 tokens every 90 min, at most 900 at once" REFUSED, "rate" },
        { { .counts = COUNT_IN_FLIGHT, .per = PER_ACCOUNT, .window = WINDOW_CONCURRENCY, .cap_default = 2,
              .of_model = "gpt-5.5", .of_tier = TIER_FREE },
            "each account may have 2 calls in flight, counting calls to gpt-5.5 while it is a free model" REFUSED,
            "exact" },
        { { .counts = COUNT_IN_FLIGHT, .per = PER_TIER, .window = WINDOW_CONCURRENCY, .cap_default = 8, .of_tier = -1 },
            "all callers of one tier of models together may have 8 calls in flight" REFUSED, "exact" },
    };
    assert_told(rows, countof(rows));
}

static void
whose_cap_it_is_is_told(void **state)
{
    static const struct told rows[] = {
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = 1000000,
              .plan_cap_count = 2, .plan_caps = (struct plan_cap *)plans, .of_tier = TIER_PREMIUM, .zone = &berlin,
              .hold = HOLD_MODE_STRICT },
            "each account may spend $1.00 a day; on plan free $5.00, pro without a cap, counting premium models "
            "(by the clock of Europe/Berlin)" REFUSED,
            "strict" },
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = 1000000,
              .plan_cap_count = 1, .plan_caps = (struct plan_cap *)plans, .group_cap_count = 2,
              .group_caps = (struct plan_cap *)groups, .of_tier = -1 },
            "each account may spend $1.00 a day; on plan free $5.00; as a member of research $200.00, ops without a "
            "cap, of several the lowest" REFUSED,
            "stream" },
        { { .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = CAP_UNLIMITED,
              .group_cap_count = 2, .group_caps = (struct plan_cap *)groups, .combine = COMBINE_MAX, .of_tier = -1 },
            "each account may spend any amount; as a member of research $200.00, ops without a cap, of several the "
            "highest" REFUSED,
            "stream" },
        { { .counts = COUNT_COST, .per = PER_GROUP, .window = WINDOW_WEEK, .cap_default = 1000000,
              .group_cap_count = 1, .group_caps = (struct plan_cap *)groups, .of_tier = -1 },
            "all members of one group together may spend $1.00 a week (from Monday); group research $200.00" REFUSED,
            "stream" },
        { { .counts = COUNT_COST, .per = PER_THREAD_TREE, .window = WINDOW_LIFETIME, .cap_default = CAP_UNLIMITED,
              .set = "spend_limit_micros", .of_tier = -1, .hold = HOLD_MODE_NONE },
            "each thread with all threads under it may spend any amount; spend_limit_micros set for it goes before"
            REFUSED,
            "none" },
        { { .counts = COUNT_COST, .per = PER_TAG, .tag_name = "team", .window = WINDOW_DAY, .cap_default = 1000000,
              .of_tier = -1, .of_provider = "openai" },
            "all calls with one value of the tag team together may spend $1.00 a day, counting what openai serves"
            REFUSED,
            "stream" },
        { { .counts = COUNT_REQUESTS, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = 40, .of_tier = -1,
              .weight_count = 2, .weights = (struct weight *)weights },
            "each account may make 40 requests a day, counting one to gpt-5* as 5, small as 0" REFUSED, "exact" },
    };
    assert_told(rows, countof(rows));
}

static void
what_happens_at_the_cap_is_told(void **state)
{
#define LIMIT                                                                                      \
    .counts = COUNT_COST, .per = PER_ACCOUNT, .window = WINDOW_DAY, .cap_default = 1000000, .of_tier = -1
#define TOLD "each account may spend $1.00 a day"
#define REPORTED                                                                                   \
    .counts = COUNT_REPORTED, .per = PER_ACCOUNT, .window = WINDOW_REPORTED, .span_ms = 5 * HOUR_MS, .of_tier = -1,   \
    .max_age_ms = 15 * MINUTE_MS, .at_cap = AT_CAP_PAUSE
    static const struct told rows[] = {
        { { LIMIT, .at_cap = AT_CAP_PAUSE }, TOLD "; from then on nothing new starts", "stream" },
        { { LIMIT, .at_cap = AT_CAP_DOWNGRADE, .substitute = "small" },
            TOLD "; what does not fit goes to small instead, where that fits", "stream" },
        { { LIMIT, .at_cap = AT_CAP_REROUTE, .substitute = "two" },
            TOLD "; what does not fit goes to two instead, where that fits", "stream" },
        { { LIMIT, .at_cap = AT_CAP_SHADOW }, TOLD "; what does not fit starts all the same, and is recorded", "watched" },
        { { LIMIT, .at_cap = AT_CAP_WARN, .warn_count = 1, .warn_pct = { 100 } },
            TOLD "; what does not fit starts all the same, and is told of; a warning goes out at 100 %", "watched" },
        { { LIMIT, .warn_count = 3, .warn_pct = { 50, 75, 90 } },
            TOLD REFUSED "; a warning goes out at 50 %, 75 % and 90 %", "stream" },
        { { REPORTED, .cap_default = 90, .on_missing = FACT_DENY, .on_stale = FACT_DENY },
            "each account may start calls until its provider reports 90 % of the window of 5 h as used; from then on "
            "nothing new starts; nothing starts before the first report; a report older than 15 min lets nothing start",
            "reported" },
        { { REPORTED, .cap_default = CAP_UNLIMITED, .set = "session_pct", .on_stale = FACT_TREAT_AS_RESET },
            "each account may start calls whatever its provider reports of the window of 5 h; session_pct set for it "
            "goes before; from then on nothing new starts; a report older than 15 min counts as nothing used",
            "reported" },
    };
    assert_told(rows, countof(rows));
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
    CASE("what a limit counts, and over which window, is told", counts_and_windows_are_told),
    CASE("whose cap it is, and of which calls, is told", whose_cap_it_is_is_told),
    CASE("what happens at the cap is told", what_happens_at_the_cap_is_told),
};
UNIT_MAIN(tests)
