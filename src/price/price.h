/* price/price.h: what usage costs and what a call may cost. Exact integer arithmetic: tokens times price
 * summed, divided by 10^6 once, rounded up (spec thresholds-and-spend-limits B4; cases SL-1 ... SL-13). */
#pragma once

#include "policy/policy.h"
#include "rows/usage.h"

enum cost_flag {
    COST_UNPRICED = 1,        /* no price at all, or none of the used categories has one */
    COST_PARTLY_PRICED = 2,   /* a used category has no price: it adds nothing */
    COST_PROVIDER = 4,        /* the provider's own figure was taken */
    COST_DISPUTED = 8,        /* the two differ by more than a factor of 4: the book's rules */
};
struct cost {
    int64_t micros;           /* 0 when unpriced */
    int64_t book_micros;      /* by the price book, -1 when unpriced */
    uint32_t flags;
};

/* `price` NULL = unpriced. `multiplier_pct` 100 = list price. Usage must be valid. A usage whose known
 * bits say that nothing was reported at all is unpriced; reported zeros cost 0. */
struct cost price_cost(const struct price *price, const struct usage *usage, int64_t multiplier_pct);

/* The same for a hand-made question: the dearest that `input` tokens and `output` tokens can cost: input
 * at the dearest of input, cache read and cache write, in the tier that input reaches. NULL price = 0. */
int64_t price_bound(const struct price *price, int64_t input, int64_t output, int64_t multiplier_pct);
/* The likely cost: input at the input price. */
int64_t price_estimate(const struct price *price, int64_t input, int64_t output, int64_t multiplier_pct);
/* The most output tokens whose bound together with `input` stays within `room_micros`; -1 when not even
 * the input fits; INT64_MAX when output is free. Exact inverse of price_bound. */
int64_t price_output_within(const struct price *price, int64_t input, int64_t room_micros,
    int64_t multiplier_pct);
bool price_is_free(const struct price *price);
