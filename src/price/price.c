/* price/price.c: tokens times prices, in 128 bits, divided and rounded up once. */
#include "price/price.h"

typedef __int128 wide;

/* Micro-USD per million tokens, times a percentage: what a sum of tokens times price is divided by. */
#define SUM_PER_MICRO  ((wide)1000000 * 100)
#define DISPUTE_FACTOR 4

/* Rounded up to a whole micro, held at the largest amount there is. */
static int64_t
sum_to_micros(wide sum, int64_t multiplier_pct)
{
    check(multiplier_pct >= 0 && multiplier_pct <= MULTIPLIER_PCT_MAX);
    const wide scaled = sum * multiplier_pct;
    const wide micros = (scaled + SUM_PER_MICRO - 1) / SUM_PER_MICRO;
    return micros > MONEY_MICROS_MAX ? MONEY_MICROS_MAX : (int64_t)micros;
}

/* The prices of a request with so many input tokens, cached ones included. */
static const struct price_set *
tier_of(const struct price *price, int64_t input_total)
{
    const struct price_set *set = &price->base;
    for (int32_t i = 0; i < price->tier_count; i++) {
        if (input_total > price->tiers[i].above_input_tokens) {
            set = &price->tiers[i].set;
        }
    }
    return set;
}

static bool
set_has_price(const struct price_set *set)
{
    return set->input >= 0 || set->output >= 0 || set->cache_read >= 0 || set->cache_write_5m >= 0
           || set->cache_write_1h >= 0;
}

/* By the price book alone. Sets COST_UNPRICED or COST_PARTLY_PRICED; -1 = unpriced. */
static int64_t
book_cost(
    const struct price *price, const struct usage *usage, int64_t multiplier_pct, uint32_t *flags)
{
    const struct price_set *set = tier_of(price, usage_input_total(usage));
    const struct {
        int64_t tokens, price;
    } categories[] = {
        { usage->input, set->input }, { usage->cache_read, set->cache_read },
        { usage->cache_write_5m, set->cache_write_5m },
        { usage->cache_write_1h, set->cache_write_1h },
        { usage->output, set->output }, /* reasoning is inside */
    };
    wide sum = 0;
    int used_count = 0;
    int priced_count = 0;
    for (size_t i = 0; i < countof(categories); i++) {
        if (categories[i].tokens > 0) {
            used_count++;
            if (categories[i].price >= 0) {
                priced_count++;
                sum += (wide)categories[i].tokens * categories[i].price;
            }
        }
    }
    if (used_count > 0 ? priced_count == 0 : !set_has_price(set)) {
        *flags |= COST_UNPRICED;
        return -1;
    }
    if (priced_count < used_count) {
        *flags |= COST_PARTLY_PRICED;
    }
    return sum_to_micros(sum, multiplier_pct);
}

/* Whether the provider's figure is too far from the book's to be believed. A book that could not price
 * all of the usage is known to be too low, so nothing can be too high for it. */
static bool
figures_differ(int64_t provider_micros, int64_t book_micros, uint32_t flags)
{
    const bool too_high = (wide)provider_micros > (wide)book_micros * DISPUTE_FACTOR;
    const bool too_low = (wide)book_micros > (wide)provider_micros * DISPUTE_FACTOR;
    return too_low || (too_high && !(flags & COST_PARTLY_PRICED));
}

struct cost
price_cost(const struct price *price, const struct usage *usage, int64_t multiplier_pct)
{
    usage_check(usage);

    struct cost cost = { .micros = 0, .book_micros = -1, .flags = 0 };
    const bool reported = (usage->known & (USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED)) != 0;
    if (price && reported) {
        cost.book_micros = book_cost(price, usage, multiplier_pct, &cost.flags);
    } else {
        cost.flags |= COST_UNPRICED;
    }
    cost.micros = max_i64(0, cost.book_micros);

    if (usage->cost_micros < 0) {
        return cost;
    }
    if (cost.book_micros >= 0 && figures_differ(usage->cost_micros, cost.book_micros, cost.flags)) {
        cost.flags |= COST_DISPUTED;
        return cost;
    }
    cost.micros = usage->cost_micros;
    cost.flags =
        (cost.flags & ~(uint32_t)COST_UNPRICED) | COST_PROVIDER; /* now the cost is a fact */
    return cost;
}

/* Dearest input and output in any tier that an input of up to `input` tokens can reach. */
static void
dearest(const struct price *price, int64_t input, int64_t *input_price, int64_t *output_price)
{
    *input_price = 0;
    *output_price = 0;
    for (int32_t i = -1; i < price->tier_count; i++) {
        if (i >= 0 && input <= price->tiers[i].above_input_tokens) {
            break; /* ascending */
        }
        const struct price_set *set = i < 0 ? &price->base : &price->tiers[i].set;
        *input_price = max_i64(*input_price, max_i64(set->input, set->cache_read));
        *input_price = max_i64(*input_price, max_i64(set->cache_write_5m, set->cache_write_1h));
        *output_price = max_i64(*output_price, set->output);
    }
}

int64_t
price_bound(const struct price *price, int64_t input, int64_t output, int64_t multiplier_pct)
{
    check(input >= 0 && output >= 0);
    if (!price) {
        return 0;
    }
    int64_t input_price = 0;
    int64_t output_price = 0;
    dearest(price, input, &input_price, &output_price);
    return sum_to_micros((wide)input * input_price + (wide)output * output_price, multiplier_pct);
}

int64_t
price_estimate(const struct price *price, int64_t input, int64_t output, int64_t multiplier_pct)
{
    check(input >= 0 && output >= 0);
    if (!price) {
        return 0;
    }
    const struct price_set *set = tier_of(price, input);
    return sum_to_micros(
        (wide)input * max_i64(0, set->input) + (wide)output * max_i64(0, set->output),
        multiplier_pct);
}

int64_t
price_output_within(
    const struct price *price, int64_t input, int64_t room_micros, int64_t multiplier_pct)
{
    check(multiplier_pct >= 0 && multiplier_pct <= MULTIPLIER_PCT_MAX);

    if (price_bound(price, input, 0, multiplier_pct) > room_micros) {
        return -1;
    }
    if (!price || room_micros >= MONEY_MICROS_MAX) {
        return INT64_MAX; /* a bound is held at that amount */
    }
    int64_t input_price = 0;
    int64_t output_price = 0;
    dearest(price, input, &input_price, &output_price);
    const wide per_token = (wide)output_price * multiplier_pct;
    if (per_token == 0) {
        return INT64_MAX;
    }
    const wide left =
        (wide)room_micros * SUM_PER_MICRO - (wide)input * input_price * multiplier_pct;
    const wide tokens = left / per_token;
    return tokens > INT64_MAX ? INT64_MAX : (int64_t)tokens;
}

bool
price_is_free(const struct price *price)
{
    if (!price || price->base.input < 0 || price->base.output < 0) {
        return false; /* not known is not free */
    }
    for (int32_t i = -1; i < price->tier_count; i++) {
        const struct price_set *set = i < 0 ? &price->base : &price->tiers[i].set;
        if (set->input > 0 || set->output > 0 || set->cache_read > 0 || set->cache_write_5m > 0
            || set->cache_write_1h > 0) {
            return false;
        }
    }
    return true;
}
