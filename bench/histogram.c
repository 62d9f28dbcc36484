/* bench/histogram.c: buckets of latencies. */
#include "bench/histogram.h"

static size_t
bucket_of(int64_t value_us)
{
    if (value_us < HISTOGRAM_EXACT) {
        return value_us < 0 ? 0 : (size_t)value_us;
    }
    /* 128..255 is octave 0, in steps of 2; 256..511 octave 1, in steps of 4; ... */
    const unsigned octave = 63u - 7u - (unsigned)__builtin_clzll((uint64_t)value_us);
    if (octave >= HISTOGRAM_OCTAVES) {
        return HISTOGRAM_BUCKETS - 1;
    }
    const uint64_t step = ((uint64_t)value_us >> (octave + 1)) - HISTOGRAM_STEPS;
    return HISTOGRAM_EXACT + (size_t)octave * HISTOGRAM_STEPS + (size_t)step;
}

static int64_t
bucket_end_us(size_t bucket)
{
    if (bucket < HISTOGRAM_EXACT) {
        return (int64_t)bucket;
    }
    const size_t octave = (bucket - HISTOGRAM_EXACT) / HISTOGRAM_STEPS;
    const size_t step = (bucket - HISTOGRAM_EXACT) % HISTOGRAM_STEPS;
    return ((int64_t)(HISTOGRAM_STEPS + step + 1) << (octave + 1)) - 1;
}

void
histogram_add(struct histogram *histogram, int64_t value_us)
{
    histogram->counts[bucket_of(value_us)]++;
    histogram->total++;
    if (value_us > histogram->max_us) {
        histogram->max_us = value_us;
    }
}

int64_t
histogram_at(const struct histogram *histogram, uint32_t of_10000)
{
    check(of_10000 <= 10000);
    /* Rounded up: the median of three values is the second. */
    const uint64_t wanted = (histogram->total * of_10000 + 9999) / 10000;
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS && wanted > 0; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted) {
            const int64_t end_us = bucket_end_us(bucket);
            return end_us < histogram->max_us ? end_us : histogram->max_us;
        }
    }
    return 0;
}
