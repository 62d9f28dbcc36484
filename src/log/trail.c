/* log/trail.c: a ring a thread. */
#include "log/trail.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"

/* Written by its thread alone; relaxed, so that a dump on another thread reads values, if of two notes. */
struct slot {
    _Atomic int64_t mono_us, id, first, second;
    _Atomic int what;
};
struct ring {
    _Atomic(const char *) word;
    _Atomic int index;
    _Atomic unsigned next; /* counts on */
    struct slot slots[TRAIL_NOTES];
};

static struct ring rings[TRAIL_THREADS_MAX];
static _Atomic int ring_count = 0;
static _Thread_local int own_ring = -1;
static _Thread_local bool without_ring = false;

static const char *const words[TRAIL_COUNT] = {
#define TRAIL_WORD(id, word, of, first, second) [TRAIL_##id] = (word),
    TRAILS(TRAIL_WORD)
#undef TRAIL_WORD
};

static struct ring *
ring_of_thread(void)
{
    if (own_ring < 0 && !without_ring) {
        const int taken = atomic_fetch_add_explicit(&ring_count, 1, memory_order_relaxed);
        without_ring = taken >= TRAIL_THREADS_MAX;
        own_ring = without_ring ? -1 : taken;
    }
    return without_ring ? NULL : &rings[own_ring];
}

void
trail_thread(const char *word, int index)
{
    struct ring *ring = ring_of_thread();
    if (ring) {
        atomic_store_explicit(&ring->index, index, memory_order_relaxed);
        atomic_store_explicit(&ring->word, word, memory_order_relaxed);
    }
}

void
trail_note(enum trail what, int64_t id, int64_t first, int64_t second)
{
    check((unsigned)what < TRAIL_COUNT);
    struct ring *ring = ring_of_thread();
    if (!ring) {
        return;
    }
    const unsigned next = atomic_load_explicit(&ring->next, memory_order_relaxed);
    struct slot *slot = &ring->slots[next % TRAIL_NOTES];
    atomic_store_explicit(&slot->mono_us, clock_mono_coarse_us(), memory_order_relaxed);
    atomic_store_explicit(&slot->id, id, memory_order_relaxed);
    atomic_store_explicit(&slot->first, first, memory_order_relaxed);
    atomic_store_explicit(&slot->second, second, memory_order_relaxed);
    atomic_store_explicit(&slot->what, (int)what, memory_order_relaxed);
    atomic_store_explicit(&ring->next, next + 1, memory_order_relaxed);
}

int
trail_thread_count(void)
{
    const int count = atomic_load_explicit(&ring_count, memory_order_relaxed);
    return count < TRAIL_THREADS_MAX ? count : TRAIL_THREADS_MAX;
}

int
trail_own_thread(void)
{
    return own_ring;
}

bool
trail_thread_name(int thread, const char **word, int *index)
{
    check(thread >= 0 && thread < TRAIL_THREADS_MAX);
    *word = atomic_load_explicit(&rings[thread].word, memory_order_relaxed);
    *index = atomic_load_explicit(&rings[thread].index, memory_order_relaxed);
    return *word != NULL;
}

int
trail_read(int thread, struct trail_note out[TRAIL_NOTES])
{
    check(thread >= 0 && thread < TRAIL_THREADS_MAX);
    const struct ring *ring = &rings[thread];
    const unsigned next = atomic_load_explicit(&ring->next, memory_order_relaxed);
    const unsigned count = next < TRAIL_NOTES ? next : TRAIL_NOTES;
    for (unsigned i = 0; i < count; i++) {
        const struct slot *slot = &ring->slots[(next - count + i) % TRAIL_NOTES];
        out[i] = (struct trail_note){
            .mono_us = atomic_load_explicit(&slot->mono_us, memory_order_relaxed),
            .id = atomic_load_explicit(&slot->id, memory_order_relaxed),
            .first = atomic_load_explicit(&slot->first, memory_order_relaxed),
            .second = atomic_load_explicit(&slot->second, memory_order_relaxed),
            .what = (enum trail)atomic_load_explicit(&slot->what, memory_order_relaxed),
        };
    }
    return (int)count;
}

const char *
trail_word(enum trail what)
{
    return (unsigned)what < TRAIL_COUNT ? words[what] : "?";
}
