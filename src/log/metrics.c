/* log/metrics.c: relaxed atomics, and how they read. */
#include "log/metrics.h"
#include "log/process_priv.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/units.h"

/* Loops and the engine change the same counters at the same time, so each thread adds to a row of
 * cells of its own, as far as they go; a counter is their sum. */
#define SHARDS 16
static struct shard {
    alignas(64) _Atomic int64_t cells[COUNTER_COUNT];
    /* Values within each bound, not those below it; the last is +Inf's. */
    _Atomic int64_t buckets[HISTOGRAM_COUNT][HISTOGRAM_BOUNDS_MAX + 1];
    _Atomic int64_t sums[HISTOGRAM_COUNT];
} shards[SHARDS];
static _Atomic unsigned thread_count = 0;
static _Thread_local struct shard *own_shard = NULL;

enum kind { KIND_COUNTER, KIND_GAUGE };

static const struct {
    enum kind kind;
    const char *name, *labels, *help;
} rows[COUNTER_COUNT] = {
#define COUNTER_ROW(id, kind, name, labels, help)                                                  \
    [COUNTER_##id] = { KIND_##kind, name, labels, help },
    COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
};

static struct shard *
shard_of_thread(void)
{
    if (!own_shard) {
        const unsigned index =
            atomic_fetch_add_explicit(&thread_count, 1, memory_order_relaxed) % SHARDS;
        own_shard = &shards[index];
    }
    return own_shard;
}

void
counter_add(enum counter counter, int64_t amount)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(amount >= 0 || rows[counter].kind == KIND_GAUGE);
    (void)atomic_fetch_add_explicit(
        &shard_of_thread()->cells[counter], amount, memory_order_relaxed);
}

void
counter_set(enum counter counter, int64_t value)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(rows[counter].kind == KIND_GAUGE);
    atomic_store_explicit(&shards[0].cells[counter], value, memory_order_relaxed);
}

void
counter_raise(enum counter counter, int64_t value)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(rows[counter].kind == KIND_GAUGE);
    _Atomic int64_t *cell = &shards[0].cells[counter];
    int64_t seen = atomic_load_explicit(cell, memory_order_relaxed);
    while (seen < value
           && !atomic_compare_exchange_weak_explicit(
               cell, &seen, value, memory_order_relaxed, memory_order_relaxed)) {
        /* `seen` is what another thread has put there meanwhile */
    }
}

int64_t
counter_get(enum counter counter)
{
    check((unsigned)counter < COUNTER_COUNT);
    int64_t sum = 0;
    for (int i = 0; i < SHARDS; i++) {
        sum += atomic_load_explicit(&shards[i].cells[counter], memory_order_relaxed);
    }
    /* What went up on one thread and down on another may have been read half. */
    return max_i64(0, sum);
}

/* --- Distributions. */

static const struct {
    const char *name, *help;
    int bound_count;
    int64_t bounds[HISTOGRAM_BOUNDS_MAX];
} histograms[HISTOGRAM_COUNT] = {
#define BOUND(value)     (value),
#define BOUND_ONE(value) +1
#define HISTOGRAM_ROW(id, list, name, help)                                                        \
    [HISTOGRAM_##id] = { name, help, BOUNDS_##list(BOUND_ONE), { BOUNDS_##list(BOUND) } },
    HISTOGRAMS(HISTOGRAM_ROW)
#undef HISTOGRAM_ROW
#undef BOUND_ONE
#undef BOUND
};

/* The last is +Inf's. */
static int
bucket_of(enum histogram histogram, int64_t value)
{
    int bucket = 0;
    while (bucket < histograms[histogram].bound_count
           && value > histograms[histogram].bounds[bucket]) {
        bucket++;
    }
    return bucket;
}

void
histogram_add(enum histogram histogram, int64_t value)
{
    check((unsigned)histogram < HISTOGRAM_COUNT);
    struct shard *shard = shard_of_thread();
    const int64_t taken = max_i64(0, value);
    const int bucket = bucket_of(histogram, taken);
    (void)atomic_fetch_add_explicit(&shard->buckets[histogram][bucket], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&shard->sums[histogram], taken, memory_order_relaxed);
}

int64_t
histogram_within(enum histogram histogram, int64_t value)
{
    check((unsigned)histogram < HISTOGRAM_COUNT);
    const int last = bucket_of(histogram, value);
    int64_t count = 0;
    for (int i = 0; i < SHARDS; i++) {
        for (int bucket = 0; bucket <= last; bucket++) {
            count +=
                atomic_load_explicit(&shards[i].buckets[histogram][bucket], memory_order_relaxed);
        }
    }
    return count;
}

/* Microseconds as seconds, without trailing zeros. */
static void
put_seconds(struct buf *out, int64_t us)
{
    char text[32];
    int len = snprintf(
        text, sizeof(text), "%lld.%06lld", (long long)(us / 1000000), (long long)(us % 1000000));
    while (len > 0 && text[len - 1] == '0') {
        len--;
    }
    len -= len > 0 && text[len - 1] == '.';
    buf_add(out, text, (size_t)len);
}

static void
put_value(struct buf *out, bool seconds, int64_t value)
{
    if (seconds) {
        put_seconds(out, value);
    } else {
        buf_add_i64(out, value);
    }
}

void
metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    const struct slice text = slice_str(name);
    const char *unit = slice_ends(text, SLICE("_seconds")) ? "seconds"
                       : slice_ends(text, SLICE("_bytes")) ? "bytes"
                                                           : NULL;
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    if (unit) {
        buf_addf(out, "# UNIT %s %s\n", name, unit);
    }
}

static void
put_histogram(struct buf *out, int index)
{
    const char *name = histograms[index].name;
    const bool seconds = slice_ends(slice_str(name), SLICE("_seconds"));
    int64_t count = 0;
    int64_t sum = 0;
    metrics_family(out, name, "histogram", histograms[index].help);
    for (int bucket = 0; bucket <= histograms[index].bound_count; bucket++) {
        for (int i = 0; i < SHARDS; i++) {
            count += atomic_load_explicit(&shards[i].buckets[index][bucket], memory_order_relaxed);
        }
        buf_addf(out, "%s_bucket{le=\"", name);
        if (bucket == histograms[index].bound_count) {
            buf_add_str(out, "+Inf");
        } else {
            put_value(out, seconds, histograms[index].bounds[bucket]);
        }
        buf_addf(out, "\"} %lld\n", (long long)count);
    }
    for (int i = 0; i < SHARDS; i++) {
        sum += atomic_load_explicit(&shards[i].sums[index], memory_order_relaxed);
    }
    buf_addf(out, "%s_sum ", name);
    put_value(out, seconds, sum);
    buf_addf(out, "\n%s_count %lld\n", name, (long long)count);
}

/* --- All of them. */

void
metrics_render(struct buf *out)
{
    for (int i = 0; i < COUNTER_COUNT; i++) {
        const char *name = rows[i].name;
        if (i == 0 || strcmp(name, rows[i - 1].name) != 0) {
            const char *type = rows[i].kind == KIND_GAUGE ? "gauge" : "counter";
            metrics_family(out, name, type, rows[i].help);
        }
        buf_add_str(out, name);
        if (rows[i].labels[0] != '\0') {
            buf_addf(out, "{%s}", rows[i].labels);
        }
        buf_add_char(out, ' ');
        buf_add_i64(out, counter_get((enum counter)i));
        buf_add_char(out, '\n');
    }
    for (int i = 0; i < HISTOGRAM_COUNT; i++) {
        put_histogram(out, i);
    }
    metrics_family(out, "tidegate_build_info", "gauge", "1, with the version of this program.");
    buf_add_str(out, "tidegate_build_info{version=\"" TIDEGATE_VERSION "\"} 1\n");
    process_render(out);
}
