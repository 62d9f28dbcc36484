/* engine/watch.c: a disk, or a database, that does not answer.
 *
 * The engine's thread waits for its disk as long as that takes: a hold is durable before anything leaves.
 * Those who wait for a verdict need not. When one batch takes longer than ENGINE_STORE_DEADLINE_MS, or is one
 * that tries a database that was gone, a second thread refuses the new work that is queued behind it, until the
 * batch is over; settlements and extensions keep their places. Calls of the batch itself are not touched:
 * whether they are allowed is being written. */
#include "engine/engine_priv.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "log/log.h"

#define LOOK_MS 500 /* between two looks: how much later than the deadline it may be seen */

static bool
is_new_work(const struct queued *item)
{
    return event_starts_work(&item->event) && !item->waiter
           && item->event.place == 0; /* who waits in a line has a deadline of its own */
}

/* Takes new work out of the queue, at most `max`; the rest keeps its order. Under the lock. */
static uint32_t
take_new_work(struct engine *engine, struct verdict *refused, uint32_t max)
{
    struct ring *queue = &engine->queue;
    const size_t count = queue->count;
    uint32_t taken = 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct queued *item = &queue->items[(queue->head + i) % queue->cap];
        if (taken < max && is_new_work(item)) {
            refused[taken++] = (struct verdict){ .event = item->event.kind,
                .kind = VERDICT_REFUSED,
                .reply = item->event.reply,
                .refusal.reason = REASON_STORE_UNAVAILABLE };
            engine->urgent_count--; /* all new work is */
            count_refused(&item->event);
            free(item->note);
        } else {
            queue->items[(queue->head + kept++) % queue->cap] = *item;
        }
    }
    queue->count = kept;
    return taken;
}

static void
refuse_queued(struct engine *engine)
{
    struct verdict refused[64];
    uint32_t count = 0;
    do {
        pthread_mutex_lock(&engine->lock);
        count = take_new_work(engine, refused, countof(refused));
        pthread_mutex_unlock(&engine->lock);
        for (uint32_t i = 0; i < count; i++) {
            engine_post(engine, &refused[i]);
        }
    } while (count == countof(refused));
    engine_wake_loops(engine); /* the thread that would do so is the one that waits */
}

static const char *
ledger_place(const struct engine *engine)
{
    return engine->exclusive ? "disk" : "database";
}

static void
look(struct engine *engine)
{
    const int64_t since_ms = __atomic_load_n(&engine->batch_since_mono_ms, __ATOMIC_ACQUIRE);
    const bool slow = since_ms != 0 && clock_mono_ms() - since_ms >= ENGINE_STORE_DEADLINE_MS;
    pthread_mutex_lock(&engine->lock);
    const bool was_slow = engine->store_slow;
    const bool down = engine->store_down;
    engine->store_slow = slow;
    pthread_mutex_unlock(&engine->lock);
    if (slow && !was_slow) {
        log_line(LOG_ERROR, "engine",
            "the ledger's %s has not answered for %d s; new work is refused until it does",
            ledger_place(engine), ENGINE_STORE_DEADLINE_MS / 1000);
    } else if (was_slow && !slow && !down) { /* failed at last is told by the engine */
        log_line(LOG_INFO, "engine", "the ledger's %s answers again", ledger_place(engine));
    }
    if (slow || (down && !engine->exclusive && since_ms != 0)) {
        refuse_queued(engine);
    }
}

static bool
wait_for_next_look(struct engine *engine)
{
    const int64_t until_ms = clock_mono_ms() + LOOK_MS;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (long)(until_ms % 1000) * 1000000L };
    pthread_mutex_lock(&engine->lock);
    if (!engine->watch_stops) {
        (void)pthread_cond_timedwait(&engine->watch_wake, &engine->lock, &until);
    }
    const bool stops = engine->watch_stops;
    pthread_mutex_unlock(&engine->lock);
    return !stops;
}

static void *
watch_thread(void *arg)
{
    struct engine *engine = arg;
    thread_begin("disk watch");
    while (wait_for_next_look(engine)) {
        look(engine);
    }
    return NULL;
}

enum status
watch_start(struct engine *engine)
{
    engine->watch_runs = pthread_create(&engine->watch, NULL, watch_thread, engine) == 0;
    return engine->watch_runs ? STATUS_OK : STATUS_FULL;
}

void
watch_stop(struct engine *engine)
{
    if (!engine->watch_runs) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    engine->watch_stops = true;
    pthread_cond_signal(&engine->watch_wake);
    pthread_mutex_unlock(&engine->lock);
    pthread_join(engine->watch, NULL);
    engine->watch_runs = false;
}
