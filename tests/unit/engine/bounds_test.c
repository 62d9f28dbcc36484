/* tests/unit/engine/bounds_test.c
 *
 * Goal: by how much a limit may be passed is a number exactly where a limit of calls in flight covers all of its calls.
 * Method: a policy of two models, each row one limit beside one of calls in flight. */
#include "unit.h"

#include "engine/bounds.h"

static struct price cheap = { .base = { 1000000, 2000000, 100000, 1000000, 1000000 } };
static struct price dear = { .base = { 3000000, 15000000, 300000, 3750000, 6000000 } };
static struct provider providers[] = { { .name = "one" }, { .name = "two" } };
static struct model models[] = {
    { .name = "cheap", .tier = TIER_FREE, .max_output = 1000, .context = 10000, .route_count = 1,
        .routes = { { 0, "cheap", &cheap } } },
    { .name = "dear", .tier = TIER_PREMIUM, .max_output = 2000, .context = 20000, .route_count = 2,
        .billed_retries = 1, .routes = { { 0, "dear", &cheap }, { 1, "dear", &dear } } },
};
/* 20,000 tokens at the price of a cache write for an hour, 2,000 of output */
#define DEAREST_MICROS (20000 * 6 + 2000 * 15)

#define SPEND .counts = COUNT_COST, .window = WINDOW_DAY, .cap_default = 1000000
#define FLIGHT .counts = COUNT_IN_FLIGHT, .window = WINDOW_CONCURRENCY, .cap_default = 4

static void
a_number_needs_calls_in_flight_to_be_bounded(void **state)
{
    static struct plan_cap ten[] = { { "pro", 10 } };
    static const struct {
        struct limit limit, flight;
        enum bound_kind kind;
        int64_t most;
    } rows[] = {
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 }, { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 },
            BOUND_AT_MOST, 4 * 2 * DEAREST_MICROS },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 }, { FLIGHT, .per = PER_GATEWAY, .of_tier = -1 },
            BOUND_AT_MOST, 4 * 2 * DEAREST_MICROS },
        { { SPEND, .per = PER_THREAD_TREE, .of_tier = -1 }, { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 },
            BOUND_AT_MOST, 4 * 2 * DEAREST_MICROS },
        /* a plan's cap may be the higher one */
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1, .plan_cap_count = 1, .plan_caps = ten },
            BOUND_AT_MOST, 10 * 2 * DEAREST_MICROS },
        /* only the models that it counts */
        { { SPEND, .per = PER_ACCOUNT, .of_tier = TIER_FREE }, { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 },
            BOUND_AT_MOST, 4 * (10000 + 2 * 1000) },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1, .of_provider = "one" },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 }, BOUND_AT_MOST, 4 * 2 * (20000 + 2 * 2000) },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1, .hold = HOLD_MODE_NONE },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 }, BOUND_AT_MOST, 4 * 2 * DEAREST_MICROS },
        { { .counts = COUNT_TOKENS, .window = WINDOW_DAY, .cap_default = 5, .per = PER_KEY, .of_tier = -1 },
            { FLIGHT, .per = PER_KEY, .of_tier = -1 }, BOUND_AT_MOST, 4 * 2 * 22000 },
        /* what does not cover all of its calls bounds nothing */
        { { SPEND, .per = PER_GATEWAY, .of_tier = -1 }, { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 },
            BOUND_UNKNOWN, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 }, { FLIGHT, .per = PER_KEY, .of_tier = -1 }, BOUND_UNKNOWN, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 }, { FLIGHT, .per = PER_ACCOUNT, .of_tier = TIER_FREE },
            BOUND_UNKNOWN, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1, .of_provider = "one" }, BOUND_UNKNOWN, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1 },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1, .at_cap = AT_CAP_SHADOW }, BOUND_UNKNOWN, 0 },
        /* what needs no number */
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1, .hold = HOLD_MODE_STRICT },
            { FLIGHT, .per = PER_KEY, .of_tier = -1 }, BOUND_NEVER_PASSED, 0 },
        { { .counts = COUNT_REQUESTS, .window = WINDOW_DAY, .cap_default = 5, .per = PER_KEY, .of_tier = -1 },
            { FLIGHT, .per = PER_KEY, .of_tier = -1 }, BOUND_NEVER_PASSED, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1, .of_model = "gone" },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 }, BOUND_NEVER_PASSED, 0 },
        { { SPEND, .per = PER_ACCOUNT, .of_tier = -1, .at_cap = AT_CAP_WARN },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 }, BOUND_NOT_CLAIMED, 0 },
        { { .counts = COUNT_REPORTED, .window = WINDOW_REPORTED, .cap_default = 80, .per = PER_ACCOUNT, .of_tier = -1 },
            { FLIGHT, .per = PER_ACCOUNT, .of_tier = -1 }, BOUND_NOT_CLAIMED, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct limit limits[2] = { rows[i].limit, rows[i].flight };
        limits[0].name = "tested";
        limits[1].name = "flight";
        const struct policy policy = { .provider_count = 2,
            .providers = providers,
            .model_count = 2,
            .models = models,
            .limit_count = 2,
            .limits = limits };
        struct limit_bound bound;
        bounds_of_limit(&policy, 0, &bound);
        assert_int_equal(bound.kind, rows[i].kind);
        assert_int_equal(bound.most, rows[i].most);
        assert_true(bound.kind != BOUND_UNKNOWN || bound.why[0]);
        bounds_of_limit(&policy, 1, &bound); /* calls in flight are never more than their cap */
        assert_int_equal(bound.most, 0);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("a number needs calls in flight to be bounded", a_number_needs_calls_in_flight_to_be_bounded),
};
UNIT_MAIN(tests)
