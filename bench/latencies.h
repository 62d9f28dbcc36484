/* bench/latencies.h: latencies in microseconds, kept in buckets of at most 1.6 % width.
 *
 * Values below 128 have a bucket each; above, every power of two is cut into 64. A zeroed struct is an
 * one without values; it owns nothing. */
#pragma once

#include "base/check.h"

#define LATENCIES_EXACT 128
#define LATENCIES_STEPS 64
#define LATENCIES_OCTAVES 30 /* up to 2^37 us: more than a day */
#define LATENCIES_BUCKETS (LATENCIES_EXACT + LATENCIES_OCTAVES * LATENCIES_STEPS)

struct latencies {
    uint64_t counts[LATENCIES_BUCKETS];
    uint64_t total;
    int64_t max_us;
};

/* Negative values count as 0, those beyond the last bucket in it. */
void latencies_add(struct latencies *latencies, int64_t value_us);

/* The smallest value that `of_10000` of 10,000 values do not pass (5,000 = median, 9,990 = p99.9),
 * rounded up to the end of its bucket, never above the largest value seen. 0 when it is empty. */
int64_t latencies_at(const struct latencies *latencies, uint32_t of_10000);

/* Those of `other` count in `latencies` too. */
void latencies_join(struct latencies *latencies, const struct latencies *other);
