/* bench/histogram.h: latencies in microseconds, kept in buckets of at most 1.6 % width.
 *
 * Values below 128 have a bucket each; above, every power of two is cut into 64. A zeroed struct is an
 * empty histogram; it owns nothing. */
#pragma once

#include "base/check.h"

#define HISTOGRAM_EXACT 128
#define HISTOGRAM_STEPS 64
#define HISTOGRAM_OCTAVES 30 /* up to 2^37 us: more than a day */
#define HISTOGRAM_BUCKETS (HISTOGRAM_EXACT + HISTOGRAM_OCTAVES * HISTOGRAM_STEPS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    int64_t max_us;
};

/* Negative values count as 0, those beyond the last bucket in it. */
void histogram_add(struct histogram *histogram, int64_t value_us);

/* The smallest value that `of_10000` of 10,000 values do not pass (5,000 = median, 9,990 = p99.9),
 * rounded up to the end of its bucket, never above the largest value seen. 0 when it is empty. */
int64_t histogram_at(const struct histogram *histogram, uint32_t of_10000);
