/* log/metrics.c: relaxed atomics, and how they read. */
#include "log/metrics.h"

#include <stdalign.h>
#include <stdatomic.h>

/* Loops and the engine write different counters at the same time: each has a cache line. */
static struct {
    alignas(64) _Atomic int64_t value;
} cells[COUNTER_COUNT];

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

void
counter_add(enum counter counter, int64_t amount)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(amount >= 0 || rows[counter].kind == KIND_GAUGE);
    (void)atomic_fetch_add_explicit(&cells[counter].value, amount, memory_order_relaxed);
}

void
counter_set(enum counter counter, int64_t value)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(rows[counter].kind == KIND_GAUGE);
    atomic_store_explicit(&cells[counter].value, value, memory_order_relaxed);
}

void
counter_raise(enum counter counter, int64_t value)
{
    check((unsigned)counter < COUNTER_COUNT);
    check(rows[counter].kind == KIND_GAUGE);
    _Atomic int64_t *cell = &cells[counter].value;
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
    return atomic_load_explicit(&cells[counter].value, memory_order_relaxed);
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
