/* tests/unit/price/price_test.c
 *
 * Goal: costs are exact and rounded up once; a bound is never passed by a cost; output within a room is
 * the exact inverse of the bound; nothing overflows.
 * Method: the acceptance table of the spend limits, then properties over pseudo-random prices. */
#include "price/price.h"

#include "unit.h"

#define NONE (-1)
#define ALL (USAGE_INPUT | USAGE_OUTPUT)

static const struct price priced_3_15 = { .id = "p",
    .base = { 3000000, 15000000, 300000, 3750000, 6000000 } };
static const struct price tiered = { .id = "t",
    .base = { 5000000, 30000000, 500000, 5000000, 5000000 },
    .tier_count = 2,
    .tiers = { { 272000, { 10000000, 45000000, 1000000, 10000000, 10000000 } },
        { 500000, { 20000000, 60000000, 2000000, 20000000, 20000000 } } } };
static const struct price unset = { .id = "u", .base = { NONE, NONE, NONE, NONE, NONE } };
static const struct price input_only = { .id = "i", .base = { 2500000, NONE, NONE, NONE, NONE } };
static const struct price free_of_charge = { .id = "f", .base = { 0, 0, NONE, NONE, NONE } };

static struct usage
usage_of(int64_t input, int64_t output, int64_t cache_read, int64_t cache_write)
{
    return (struct usage){ .input = input, .output = output, .cache_read = cache_read,
        .cache_write_5m = cache_write, .cost_micros = -1, .known = ALL };
}

static void
assert_cost(const struct price *price, struct usage usage, int64_t micros, uint32_t flags)
{
    const struct cost cost = price_cost(price, &usage, 100);
    assert_int_equal(cost.micros, micros);
    assert_int_equal(cost.flags, flags);
    assert_int_equal(cost.book_micros, flags & COST_UNPRICED ? -1 : micros);
}

static void
no_price(void **state)
{
    assert_cost(NULL, usage_of(1000, 1000, 0, 0), 0, COST_UNPRICED);
}

static void
nothing_reported(void **state)
{
    assert_cost(&priced_3_15, USAGE_NONE, 0, COST_UNPRICED);
    struct usage malformed = USAGE_NONE;
    malformed.known = USAGE_MALFORMED;
    assert_cost(&priced_3_15, malformed, 0, COST_UNPRICED);
}

static void
rounds_up(void **state)
{
    const struct price price = { .base = { 10000, NONE, NONE, NONE, NONE } };
    assert_cost(&price, usage_of(1, 0, 0, 0), 1, 0);
    assert_cost(&price, usage_of(100, 0, 0, 0), 1, 0);
    assert_cost(&price, usage_of(101, 0, 0, 0), 2, 0);
}

static void
input_cost(void **state)
{
    assert_cost(&priced_3_15, usage_of(1000, 0, 0, 0), 3000, 0);
}

static void
output_cost(void **state)
{
    assert_cost(&priced_3_15, usage_of(0, 500, 0, 0), 7500, 0);
}

static void
reasoning_is_inside_output(void **state)
{
    struct usage usage = usage_of(0, 500, 0, 0);
    usage.reasoning = 200;
    assert_cost(&priced_3_15, usage, 7500, 0);
}

static void
cache_read_cost(void **state)
{
    assert_cost(&priced_3_15, usage_of(0, 0, 10000, 0), 3000, 0);
}

static void
cache_write_cost(void **state)
{
    assert_cost(&priced_3_15, usage_of(0, 0, 0, 5000), 18750, 0);
    struct usage hour = usage_of(0, 0, 0, 0);
    hour.cache_write_1h = 5000;
    assert_cost(&priced_3_15, hour, 30000, 0);
}

static void
all_categories(void **state)
{
    const struct price price = { .base = { 1230000, 4560000, 700000, 7890000, 7890000 } };
    /* 124.23 + 916.56 + 703.5 + 260.37 = 2004.66: rounding each part would give 2006 */
    assert_cost(&price, usage_of(101, 201, 1005, 33), 2005, 0);
}

static void
only_input_priced(void **state)
{
    assert_cost(&input_only, usage_of(1234, 500, 600, 700), 3085, COST_PARTLY_PRICED);
}

static void
zero_is_priced(void **state)
{
    assert_cost(&input_only, usage_of(0, 0, 0, 0), 0, 0);
    assert_cost(&priced_3_15, usage_of(0, 0, 0, 0), 0, 0);
}

static void
only_unpriced_categories(void **state)
{
    assert_cost(&input_only, usage_of(0, 500, 0, 0), 0, COST_UNPRICED);
}

static void
empty_price(void **state)
{
    assert_cost(&unset, usage_of(1000, 500, 0, 0), 0, COST_UNPRICED);
    assert_cost(&unset, usage_of(0, 0, 0, 0), 0, COST_UNPRICED);
}

static void
tiers_switch_the_whole_request(void **state)
{
    assert_cost(&tiered, usage_of(272000, 10, 0, 0), 1360300, 0); /* exactly at it: the lower tier */
    assert_cost(&tiered, usage_of(272001, 10, 0, 0), 2720460, 0);
    assert_cost(&tiered, usage_of(72001, 10, 200000, 0), 720010 + 200000 + 450, 0); /* cached ones count */
    assert_cost(&tiered, usage_of(500000, 0, 0, 0), 5000000, 0);
    assert_cost(&tiered, usage_of(500001, 0, 0, 0), 10000020, 0);
    assert_int_equal(price_estimate(&tiered, 272000, 10, 100), 1360300);
    assert_int_equal(price_estimate(&tiered, 272001, 10, 100), 2720460);
}

static void
multipliers_apply_before_rounding(void **state)
{
    const struct usage usage = usage_of(1, 0, 0, 0);
    const struct price price = { .base = { 1000000, 0, NONE, NONE, NONE } };
    assert_int_equal(price_cost(&price, &usage, 110).micros, 2);
    assert_int_equal(price_cost(&price, &usage, 50).micros, 1);
    assert_int_equal(price_cost(&price, &usage, 0).micros, 0);
    assert_int_equal(price_bound(&price, 10, 0, 110), 11);
    assert_int_equal(price_estimate(&price, 10, 0, 200), 20);
}

static void
provider_figure_wins_within_a_factor_of_4(void **state)
{
    static const struct {
        const struct price *price;
        int64_t input, provider, micros;
        uint32_t flags;
    } rows[] = {
        { &priced_3_15, 1000, 3100, 3100, COST_PROVIDER },
        { &priced_3_15, 1000, 12000, 12000, COST_PROVIDER },
        { &priced_3_15, 1000, 12001, 3000, COST_DISPUTED },
        { &priced_3_15, 1000, 750, 750, COST_PROVIDER },
        { &priced_3_15, 1000, 749, 3000, COST_DISPUTED },
        { &priced_3_15, 1000, 0, 3000, COST_DISPUTED },
        { &priced_3_15, 0, 0, 0, COST_PROVIDER },
        { &free_of_charge, 1000, 0, 0, COST_PROVIDER },
        { &free_of_charge, 1000, 1, 0, COST_DISPUTED },
        { NULL, 1000, 77, 77, COST_PROVIDER }, /* no book: the figure is a fact */
        { &unset, 1000, 77, 77, COST_PROVIDER },
        { &priced_3_15, 1000, MONEY_MICROS_MAX, 3000, COST_DISPUTED },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct usage usage = usage_of(rows[i].input, 0, 0, 0);
        usage.cost_micros = rows[i].provider;
        const struct cost cost = price_cost(rows[i].price, &usage, 100);
        assert_int_equal(cost.micros, rows[i].micros);
        assert_int_equal(cost.flags, rows[i].flags);
    }
    /* A book that could not price all is known to be too low: the figure is believed. */
    struct usage usage = usage_of(1000, 1000000, 0, 0);
    usage.cost_micros = 5000000;
    const struct cost cost = price_cost(&input_only, &usage, 100);
    assert_int_equal(cost.micros, 5000000);
    assert_int_equal(cost.book_micros, 2500);
    assert_int_equal(cost.flags, COST_PROVIDER | COST_PARTLY_PRICED);
    /* A figure without any usage is a figure all the same. */
    struct usage figure_only = USAGE_NONE;
    figure_only.cost_micros = 42;
    assert_int_equal(price_cost(&priced_3_15, &figure_only, 100).micros, 42);
}

static void
a_bound_takes_the_dearest(void **state)
{
    assert_int_equal(price_bound(&priced_3_15, 1000, 0, 100), 6000); /* as if all were written for an hour */
    assert_int_equal(price_bound(&priced_3_15, 1000, 100, 100), 7500);
    assert_int_equal(price_estimate(&priced_3_15, 1000, 100, 100), 4500);
    assert_int_equal(price_bound(&tiered, 272000, 1, 100), 1360030);
    assert_int_equal(price_bound(&tiered, 272001, 1, 100), 2720055);
    assert_int_equal(price_bound(NULL, 1000, 1000, 100), 0);
    assert_int_equal(price_estimate(NULL, 1000, 1000, 100), 0);
    assert_int_equal(price_bound(&unset, 1000, 1000, 100), 0);
    assert_int_equal(price_estimate(&input_only, 1000, 1000, 100), 2500);

    /* A tier that lowers a price does not lower the bound: fewer tokens may come. */
    const struct price falling = { .base = { 100, 9000000, NONE, NONE, NONE }, .tier_count = 1,
        .tiers = { { 1000, { 200, 1000000, NONE, NONE, NONE } } } };
    assert_int_equal(price_bound(&falling, 2000, 1000000, 100), 9000001);
}

static void
output_within_a_room(void **state)
{
    static const struct {
        const struct price *price;
        int64_t input, room, output;
    } rows[] = {
        { &priced_3_15, 1000, 5999, -1 },
        { &priced_3_15, 1000, 6000, 0 },
        { &priced_3_15, 1000, 6014, 0 },
        { &priced_3_15, 1000, 6015, 1 },
        { &priced_3_15, 0, 0, 0 },
        { &priced_3_15, 0, -1, -1 },
        { &priced_3_15, 1000, INT64_MAX, INT64_MAX },
        { &free_of_charge, 1000, 0, INT64_MAX },
        { &free_of_charge, 1000, -5, -1 },
        { &input_only, 1000, 2500, INT64_MAX },
        { NULL, 1000, 0, INT64_MAX },
        { NULL, 1000, -1, -1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(price_output_within(rows[i].price, rows[i].input, rows[i].room, 100),
            rows[i].output);
    }
}

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Skewed to small numbers, so that rounding matters. */
static int64_t
random_up_to(uint64_t *seed, int64_t most)
{
    const uint64_t shift = next_random(seed) % 50;
    return (int64_t)((next_random(seed) >> shift) % (uint64_t)(most + 1));
}

static struct price_set
random_set(uint64_t *seed)
{
    return (struct price_set){
        .input = random_up_to(seed, PRICE_PER_MTOK_MAX),
        .output = random_up_to(seed, PRICE_PER_MTOK_MAX),
        .cache_read = random_up_to(seed, PRICE_PER_MTOK_MAX) - 1,
        .cache_write_5m = random_up_to(seed, PRICE_PER_MTOK_MAX) - 1,
        .cache_write_1h = random_up_to(seed, PRICE_PER_MTOK_MAX) - 1,
    };
}

static struct price
random_price(uint64_t *seed)
{
    struct price price = { .base = random_set(seed), .tier_count = (int32_t)(next_random(seed) % 3) };
    int64_t above = 0;
    for (int32_t i = 0; i < price.tier_count; i++) {
        above += 1 + random_up_to(seed, 1000000);
        price.tiers[i].above_input_tokens = above;
        price.tiers[i].set = random_set(seed);
    }
    return price;
}

static void
inverse_is_exact(void **state)
{
    uint64_t seed = 20261121;
    for (int i = 0; i < 200000; i++) {
        const struct price price = random_price(&seed);
        const int64_t input = random_up_to(&seed, TOKENS_MAX);
        const int64_t room = random_up_to(&seed, MONEY_MICROS_MAX);
        const int64_t pct = 1 + random_up_to(&seed, 999);
        const int64_t output = price_output_within(&price, input, room, pct);
        if (output >= 0) {
            assert_true(price_bound(&price, input, output, pct) <= room);
        } else {
            assert_true(price_bound(&price, input, 0, pct) > room);
        }
        if (output >= 0 && output < INT64_MAX) {
            assert_true(price_bound(&price, input, output + 1, pct) > room);
        }
    }
}

static void
no_cost_passes_its_bound(void **state)
{
    uint64_t seed = 4711;
    for (int i = 0; i < 100000; i++) {
        const struct price price = random_price(&seed);
        struct usage usage = USAGE_NONE;
        usage.known = ALL;
        usage.input = random_up_to(&seed, TOKENS_MAX);
        usage.cache_read = random_up_to(&seed, TOKENS_MAX);
        usage.cache_write_5m = random_up_to(&seed, TOKENS_MAX);
        usage.cache_write_1h = random_up_to(&seed, TOKENS_MAX);
        usage.output = random_up_to(&seed, TOKENS_MAX);
        const int64_t more = random_up_to(&seed, 100000); /* a bound on more holds for less */
        const int64_t bound = price_bound(&price, usage_input_total(&usage) + more, usage.output + more, 100);
        assert_true(price_cost(&price, &usage, 100).micros <= bound);
        assert_true(price_estimate(&price, usage_input_total(&usage), usage.output, 100) <= bound);
    }
}

static void
nothing_overflows(void **state)
{
    const struct price dearest = { .base = { PRICE_PER_MTOK_MAX, PRICE_PER_MTOK_MAX, PRICE_PER_MTOK_MAX,
        PRICE_PER_MTOK_MAX, PRICE_PER_MTOK_MAX } };
    const struct usage most = { TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, 0, -1, ALL };
    assert_int_equal(price_cost(&dearest, &most, 100).micros, 5 * INT64_C(1000000000000000));
    assert_int_equal(price_cost(&dearest, &most, 100000).micros, MONEY_MICROS_MAX);
    assert_int_equal(price_bound(&dearest, INT64_MAX, INT64_MAX, 100000), MONEY_MICROS_MAX);
    assert_int_equal(price_estimate(&dearest, INT64_MAX, INT64_MAX, 100000), MONEY_MICROS_MAX);
    assert_int_equal(price_output_within(&dearest, INT64_MAX, MONEY_MICROS_MAX - 1, 100000), -1);
    assert_int_equal(price_output_within(&dearest, 0, MONEY_MICROS_MAX - 1, 1),
        (MONEY_MICROS_MAX - 1) / 10000);
    const struct price cheapest = { .base = { 0, 1, NONE, NONE, NONE } };
    assert_int_equal(price_output_within(&cheapest, 0, MONEY_MICROS_MAX - 1, 1), INT64_MAX);
}

static void
free_needs_to_be_said(void **state)
{
    const struct price dear_tier = { .base = { 0, 0, 0, 0, 0 }, .tier_count = 1,
        .tiers = { { 1000, { 0, 1, 0, 0, 0 } } } };
    const struct price half_known = { .base = { 0, NONE, NONE, NONE, NONE } };
    assert_true(price_is_free(&free_of_charge));
    assert_false(price_is_free(NULL));
    assert_false(price_is_free(&unset));
    assert_false(price_is_free(&half_known));
    assert_false(price_is_free(&priced_3_15));
    assert_false(price_is_free(&dear_tier));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("SL-1 no price block is unpriced", no_price),
        CASE("SL-2 a usage that reports no category is unpriced", nothing_reported),
        CASE("SL-3 one token at 0.01 rounds up to one micro", rounds_up),
        CASE("SL-4 1000 input at 3 cost 3000", input_cost),
        CASE("SL-5 500 output at 15 cost 7500", output_cost),
        CASE("SL-6 reasoning is inside output, not added", reasoning_is_inside_output),
        CASE("SL-7 10000 cache reads at 0.3 cost 3000", cache_read_cost),
        CASE("SL-8 5000 cache writes at 3.75 cost 18750", cache_write_cost),
        CASE("SL-9 all categories are summed and rounded up once to 2005", all_categories),
        CASE("SL-10 a category without a price adds nothing and marks the usage partly priced",
            only_input_priced),
        CASE("SL-11 zero tokens reported cost zero and are priced", zero_is_priced),
        CASE("SL-12 usage only in unpriced categories is unpriced", only_unpriced_categories),
        CASE("SL-13 an empty price block is unpriced", empty_price),
        CASE("a tier switches the price of the whole request, above its boundary only",
            tiers_switch_the_whole_request),
        CASE("a multiplier applies before rounding", multipliers_apply_before_rounding),
        CASE("a provider's figure wins within a factor of 4 of the book's",
            provider_figure_wins_within_a_factor_of_4),
        CASE("FF-73 a bound takes the dearest price that can apply", a_bound_takes_the_dearest),
        CASE("output within a room stops at the last token that fits", output_within_a_room),
        CASE("output within a room is the exact inverse of the bound", inverse_is_exact),
        CASE("no cost passes its bound", no_cost_passes_its_bound),
        CASE("nothing overflows at the extremes", nothing_overflows),
        CASE("free is only what is priced at zero", free_needs_to_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
