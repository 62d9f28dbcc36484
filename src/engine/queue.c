/* engine/queue.c: events on their way to the thread. An item owns a copy of what its event borrowed. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

static bool
ring_grow(struct ring *ring)
{
    const size_t cap = ring->cap ? ring->cap * 2 : 1024;
    struct queued *items = calloc(cap, sizeof *items);
    if (!items) {
        return false;
    }
    for (size_t i = 0; i < ring->count; i++) {
        items[i] = ring->items[(ring->head + i) % ring->cap];
    }
    free(ring->items);
    *ring = (struct ring){ .items = items, .count = ring->count, .cap = cap };
    return true;
}

static void
queued_copy(struct queued *to, const struct queued *from)
{
    memcpy(to, from, offsetof(struct queued, event) + event_bytes(&from->event));
}

static bool
ring_push(struct ring *ring, const struct queued *item)
{
    if (ring->count == ring->cap && !ring_grow(ring)) {
        return false;
    }
    queued_copy(&ring->items[(ring->head + ring->count++) % ring->cap], item);
    return true;
}

void
ring_pop(struct ring *ring, struct queued *item)
{
    queued_copy(item, &ring->items[ring->head]);
    ring->count--;
    /* An empty one starts over, in memory that is at hand. */
    ring->head = ring->count == 0 ? 0 : (ring->head + 1) % ring->cap;
}

void
ring_free(struct ring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        free(ring->items[(ring->head + i) % ring->cap].note);
    }
    free(ring->items);
}

bool
event_is_lazy(const struct event *event)
{
    const bool untold = (event->kind == EVENT_EXTEND || event->kind == EVENT_REPORT)
                        && event->reply.loop == ENGINE_NO_REPLY;
    return event->kind == EVENT_SETTLE || event->kind == EVENT_TICK || event->kind == EVENT_DELIVERY
           || untold;
}

static bool
queue_push(struct engine *engine, const struct queued *item)
{
    if (!ring_push(&engine->queue, item)) {
        return false;
    }
    engine->urgent_count += !event_is_lazy(&item->event);
    return true;
}

/* Whether the sleeping thread must be woken for it. Called under the lock. */
static bool
wakes(const struct engine *engine, const struct queued *item)
{
    if (!engine->sleeping) {
        return false;
    }
    return !event_is_lazy(&item->event)
           || item->queued_mono_ms + ENGINE_COMPANY_MS < engine->sleep_until_mono_ms;
}

#define BORROWED_MAX 2

/* What an event borrows from its sender; how many texts. */
static int
borrowed_by(struct event *event, struct slice *texts[BORROWED_MAX])
{
    texts[1] = NULL;
    switch (event->kind) {
    case EVENT_ADMIN:
        texts[0] = &event->admin.note;
        texts[1] = &event->admin.receipt.answer;
        return 2;
    case EVENT_ISSUED: texts[0] = &event->issued.ids; return 1;
    case EVENT_SETTLE: texts[0] = &event->settle.issued; return 1;
    case EVENT_REPORT:
        texts[0] = &event->report.windows;
        texts[1] = &event->report.receipt.answer;
        return 2;
    default: return 0;
    }
}

/* The item has a copy of its own, which is freed with it. */
static bool
keep_borrowed(struct queued *item)
{
    struct slice *texts[BORROWED_MAX];
    size_t bytes = 0;
    const int count = borrowed_by(&item->event, texts);
    for (int i = 0; i < count; i++) {
        bytes += texts[i]->len;
    }
    if (bytes == 0) {
        return true;
    }
    item->note = malloc(bytes);
    if (!item->note && item->event.kind == EVENT_SETTLE) {
        log_line(LOG_ERROR, "engine",
            "no memory to keep the ids that the answer to req_%lld brought",
            (long long)item->event.settle.hold_id);
        *texts[0] = slice_of(NULL, 0); /* what it cost is booked all the same */
        return true;
    }
    if (!item->note) {
        return false;
    }
    char *at = item->note;
    for (int i = 0; i < count; i++) {
        if (texts[i]->len > 0) {
            memcpy(at, texts[i]->ptr, texts[i]->len);
            texts[i]->ptr = at;
            at += texts[i]->len;
        }
    }
    return true;
}

bool
event_starts_work(const struct event *event)
{
    return event->kind == EVENT_CALL || event->kind == EVENT_IDENTIFY
           || event->kind == EVENT_ISSUED;
}

static bool
submit(struct engine *engine, const struct event *event, bool at_once)
{
    struct queued item;
    item.note = NULL;
    item.waiter = NULL;
    item.doubt_ver = 0;
    item.queued_mono_ms = clock_mono_ms();
    memcpy(&item.event, event, event_bytes(event));
    if (!keep_borrowed(&item)) {
        return false;
    }
    pthread_mutex_lock(&engine->lock);
    const bool new_work = event_starts_work(event) && !event->place; /* who waits counts already */
    const bool full = engine->queue.count + engine->parked.count >= ENGINE_QUEUE_MAX;
    const bool taken = !(new_work && full) && queue_push(engine, &item);
    const bool wakes_it = taken && at_once && wakes(engine, &item);
    engine->sleeping &= !wakes_it; /* once is enough */
    pthread_mutex_unlock(&engine->lock);
    if (wakes_it) {
        pthread_cond_signal(
            &engine->work_came); /* after the lock: who wakes would wait for it at once */
    }
    if (!taken) {
        free(item.note);
    }
    return taken;
}

bool
engine_submit(struct engine *engine, const struct event *event)
{
    return submit(engine, event, true);
}

bool
engine_submit_quietly(struct engine *engine, const struct event *event)
{
    return submit(engine, event, false);
}

void
engine_rouse(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    const bool sleeps = engine->sleeping;
    engine->sleeping = false;
    pthread_mutex_unlock(&engine->lock);
    if (sleeps) {
        pthread_cond_signal(&engine->work_came);
    }
}

void
engine_park(struct engine *engine, const struct queued *item)
{
    pthread_mutex_lock(&engine->lock);
    const bool parked = ring_push(&engine->parked, item);
    counter_set(COUNTER_SETTLEMENTS_WAITING, (int64_t)engine->parked.count);
    pthread_mutex_unlock(&engine->lock);
    if (!parked) {
        free(item->note);
        log_line(LOG_ERROR, "engine",
            "no memory to keep the settlement of req_%lld: it stays open until the next start",
            (long long)item->event.settle.hold_id);
    }
}

void
engine_queue_waiter(struct engine *engine, struct waiter *waiter)
{
    const struct queued item = {
        .event = waiter->event, .waiter = waiter, .queued_mono_ms = clock_mono_ms()
    };
    pthread_mutex_lock(&engine->lock);
    waiter->queued = queue_push(engine, &item);
    pthread_mutex_unlock(&engine->lock);
}
