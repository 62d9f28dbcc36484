/* log/metrics.c: relaxed atomics, and how they read. */
#include "log/metrics.h"

#include <stdalign.h>
#include <stdatomic.h>

#include "base/units.h"

/* Loops and the engine change the same counters at the same time, so each thread adds to a row of
 * cells of its own, as far as they go; a counter is their sum. */
#define SHARDS 16
static struct shard {
    alignas(64) _Atomic int64_t cells[COUNTER_COUNT];
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

void
metrics_render(struct buf *out)
{
    for (int i = 0; i < COUNTER_COUNT; i++) {
        const char *name = rows[i].name;
        if (i == 0 || strcmp(name, rows[i - 1].name) != 0) {
            const char *type = rows[i].kind == KIND_GAUGE ? "gauge" : "counter";
            buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, rows[i].help, name, type);
        }
        buf_add_str(out, name);
        if (rows[i].labels[0] != '\0') {
            buf_addf(out, "{%s}", rows[i].labels);
        }
        buf_add_char(out, ' ');
        buf_add_i64(out, counter_get((enum counter)i));
        buf_add_char(out, '\n');
    }
}
