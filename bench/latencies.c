/* bench/latencies.c: buckets of latencies. */
#include "bench/latencies.h"

static size_t
bucket_of(int64_t value_us)
{
    if (value_us < LATENCIES_EXACT) {
        return value_us < 0 ? 0 : (size_t)value_us;
    }
    /* 128..255 is octave 0, in steps of 2; 256..511 octave 1, in steps of 4; ... */
    const unsigned octave = 63u - 7u - (unsigned)__builtin_clzll((uint64_t)value_us);
    if (octave >= LATENCIES_OCTAVES) {
        return LATENCIES_BUCKETS - 1;
    }
    const uint64_t step = ((uint64_t)value_us >> (octave + 1)) - LATENCIES_STEPS;
    return LATENCIES_EXACT + (size_t)octave * LATENCIES_STEPS + (size_t)step;
}

static int64_t
bucket_end_us(size_t bucket)
{
    if (bucket < LATENCIES_EXACT) {
        return (int64_t)bucket;
    }
    const size_t octave = (bucket - LATENCIES_EXACT) / LATENCIES_STEPS;
    const size_t step = (bucket - LATENCIES_EXACT) % LATENCIES_STEPS;
    return ((int64_t)(LATENCIES_STEPS + step + 1) << (octave + 1)) - 1;
}

void
latencies_add(struct latencies *latencies, int64_t value_us)
{
    latencies->counts[bucket_of(value_us)]++;
    latencies->total++;
    if (value_us > latencies->max_us) {
        latencies->max_us = value_us;
    }
}

int64_t
latencies_at(const struct latencies *latencies, uint32_t of_10000)
{
    check(of_10000 <= 10000);
    /* Rounded up: the median of three values is the second. */
    const uint64_t wanted = (latencies->total * of_10000 + 9999) / 10000;
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < LATENCIES_BUCKETS && wanted > 0; bucket++) {
        seen += latencies->counts[bucket];
        if (seen >= wanted) {
            const int64_t end_us = bucket_end_us(bucket);
            return end_us < latencies->max_us ? end_us : latencies->max_us;
        }
    }
    return 0;
}

void
latencies_join(struct latencies *latencies, const struct latencies *other)
{
    for (size_t bucket = 0; bucket < LATENCIES_BUCKETS; bucket++) {
        latencies->counts[bucket] += other->counts[bucket];
    }
    latencies->total += other->total;
    if (other->max_us > latencies->max_us) {
        latencies->max_us = other->max_us;
    }
}
