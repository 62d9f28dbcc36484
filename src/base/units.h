/* base/units.h: ranges of money, time and counts, and arithmetic that cannot overflow silently.
 *
 * Money is int64 micro-USD in names ending _micros; prices are micro-USD per million tokens in
 * names ending _per_mtok; wall time is int64 milliseconds UTC since 1970 in names ending _ms
 * (at_ms, now_ms); durations end in _ms too; monotonic times end in _mono_ms. No floating point
 * touches money. */
#pragma once

#include "base/check.h"

/* A quarter of the range: the sum of four in-range amounts cannot overflow. About 2.3e12 USD. */
#define MONEY_MICROS_MAX (INT64_MAX / 4)
#define MICROS_PER_USD INT64_C(1000000)
#define TOKENS_MAX INT64_C(1000000000)              /* one call; more is malformed */
#define PRICE_PER_MTOK_MAX INT64_C(1000000000000)   /* 1,000,000 USD a million tokens */

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define WALL_MS_MAX INT64_C(253402300799999) /* end of the year 9999 */

static inline int64_t
min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t
max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a + b for amounts of either sign within MONEY_MICROS_MAX, held at that bound, never wrapping. */
static inline int64_t
money_add(int64_t a_micros, int64_t b_micros)
{
    int64_t sum = 0;
    if (__builtin_add_overflow(a_micros, b_micros, &sum) || sum > MONEY_MICROS_MAX) {
        return a_micros > 0 || b_micros > 0 ? MONEY_MICROS_MAX : -MONEY_MICROS_MAX;
    }
    return sum < -MONEY_MICROS_MAX ? -MONEY_MICROS_MAX : sum;
}
