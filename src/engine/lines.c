/* engine/lines.c: waiting lines. Who waits holds nothing; lines are first come, first served. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/metrics.h"

static void
line_due(struct engine *engine, struct line *line)
{
    line->try_head = true;
    engine->lines_due = true;
}

static struct line *
line_find(const struct engine *engine, int64_t limit_id, int64_t subject_id)
{
    return map_get(&engine->lines, hash_pair((uint64_t)limit_id, (uint64_t)subject_id));
}

static struct line *
line_make(struct engine *engine, int64_t limit_id, int64_t subject_id)
{
    struct line *line = line_find(engine, limit_id, subject_id);
    if (line) {
        return line;
    }
    line = calloc(1, sizeof *line);
    if (!line
        || !map_put(&engine->lines, hash_pair((uint64_t)limit_id, (uint64_t)subject_id), line)) {
        free(line);
        return NULL;
    }
    line->limit_id = limit_id;
    line->subject_id = subject_id;
    list_init(&line->waiters);
    list_init(&line->node);
    list_push_back(&engine->line_list, &line->node);
    return line;
}

static void
line_drop_empty(struct engine *engine, struct line *line)
{
    map_remove(&engine->lines, hash_pair((uint64_t)line->limit_id, (uint64_t)line->subject_id));
    list_remove(&line->node);
    free(line);
}

/* Whether somebody who came earlier waits for this limit of this subject. */
bool
lines_busy(void *user, int64_t limit_id, int64_t subject_id)
{
    const struct engine *engine = user;
    const struct line *line = line_find(engine, limit_id, subject_id);
    if (line && !list_empty(&line->waiters)) {
        const struct waiter *head = list_entry(line->waiters.next, struct waiter, node);
        return !engine->deciding || head->arrived_order < engine->deciding->arrived_order;
    }
    for (uint32_t i = 0; !engine->deciding && i < engine->batch_wait_count; i++) {
        if (engine->batch_waits[i].limit_id == limit_id
            && engine->batch_waits[i].subject_id == subject_id) {
            return true;
        }
    }
    return false;
}

static void
line_insert(struct line *line, struct waiter *waiter)
{
    struct list *after = line->waiters.prev;
    while (after != &line->waiters
           && list_entry(after, struct waiter, node)->arrived_order > waiter->arrived_order) {
        after = after->prev;
    }
    list_push_front(after, &waiter->node); /* behind `after`, which came before it */
    waiter->line = line;
}

/* Takes a waiter out of its line. Who was behind it may have its turn. */
static void
line_remove(struct engine *engine, struct waiter *waiter)
{
    struct line *line = waiter->line;
    if (!line) {
        return;
    }
    const bool was_head = line->waiters.next == &waiter->node;
    list_remove(&waiter->node);
    waiter->line = NULL;
    if (list_empty(&line->waiters)) {
        line_drop_empty(engine, line);
    } else if (was_head) {
        line_due(engine, line);
    }
}

static void
wake_at(struct engine *engine, int64_t mono_ms)
{
    if (!engine->lines_wake_mono_ms || mono_ms < engine->lines_wake_mono_ms) {
        engine->lines_wake_mono_ms = mono_ms;
    }
}

static void
wake_for(struct engine *engine, const struct waiter *waiter)
{
    wake_at(engine, waiter->deadline_mono_ms);
}

/* Time alone makes room in a bucket and in a window that ends; what others hold tells when it is given back. */
static void
line_try_after(struct engine *engine, struct line *line, const struct refusal *refusal)
{
    const bool by_time = refusal->reason == REASON_RATE || refusal->reason == REASON_COST_SPENT
                         || refusal->reason == REASON_TOKENS_SPENT;
    if (by_time && refusal->retry_after_ms > 0) {
        /* Who comes later may ask for more, and have longer to wait than who came first. */
        const int64_t at_ms = clock_mono_ms() + refusal->retry_after_ms;
        line->try_mono_ms = line->try_mono_ms ? min_i64(line->try_mono_ms, at_ms) : at_ms;
        wake_at(engine, line->try_mono_ms);
    }
}

/* At its deadline. */
static void
refuse_as(struct waiter *waiter, const struct verdict *verdict)
{
    waiter->first = *verdict;
    waiter->first.kind = VERDICT_REFUSED;
    waiter->first_is_old = false;
}

static struct waiter *
waiter_make(struct engine *engine, const struct queued *item, const struct verdict *verdict)
{
    if (engine->waiter_count >= ENGINE_WAITERS_MAX || verdict->wait_ms <= 0) {
        return NULL;
    }
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        return NULL;
    }
    waiter->event = item->event;
    waiter->event.waits_since_ms = engine->core.now_ms;
    waiter->event.wait_until_ms = engine->core.now_ms + verdict->wait_ms;
    waiter->deadline_mono_ms = clock_mono_ms() + verdict->wait_ms; /* the wall clock may step */
    refuse_as(waiter, verdict);
    waiter->arrived_order = ++engine->arrivals;
    list_init(&waiter->node);
    if (!map_put(&engine->places, (uint64_t)waiter->arrived_order, waiter)) {
        free(waiter);
        return NULL;
    }
    __atomic_add_fetch(&engine->waiter_count, 1, __ATOMIC_RELAXED);
    counter_add(COUNTER_CALLS_WAITING, 1);
    wake_for(engine, waiter);
    return waiter;
}

static void
waiter_free(struct engine *engine, struct waiter *waiter)
{
    __atomic_sub_fetch(&engine->waiter_count, 1, __ATOMIC_RELAXED);
    counter_add(COUNTER_CALLS_WAITING, -1);
    map_remove(&engine->places, (uint64_t)waiter->arrived_order);
    free(waiter);
}

/* Into the line it is blocked by now, with its arrival time. */
static bool
waiter_move(struct engine *engine, struct waiter *waiter, const struct refusal *refusal)
{
    struct line *line = line_make(engine, refusal->limit_id, refusal->subject_id);
    if (!line) {
        return false;
    }
    if (waiter->line != line) {
        line_remove(engine, waiter);
        line_insert(line, waiter);
    }
    line_try_after(engine, line, refusal);
    return true;
}

bool
lines_wait(struct engine *engine, struct queued *item, const struct verdict *verdict)
{
    struct waiter *waiter = item->waiter;
    if (waiter) {
        waiter->queued = false;
        if (waiter->first_is_old) {
            refuse_as(waiter, verdict);
        }
        return clock_mono_ms() < waiter->deadline_mono_ms
               && waiter_move(engine, waiter, &verdict->refusal);
    }
    waiter = waiter_make(engine, item, verdict);
    if (!waiter) {
        return false;
    }
    if (!waiter_move(engine, waiter, &verdict->refusal)) {
        waiter_free(engine, waiter);
        return false;
    }
    struct verdict waits = *verdict; /* so that the relay keeps the connection alive */
    waits.refusal.retry_after_ms = verdict->wait_ms;
    counter_add(COUNTER_CALLS_WAITED, 1);
    engine_post(engine, &waits);
    anew_ask(engine, waiter); /* it may have been on its way when the policy changed */
    return true;
}

void
lines_leave(struct engine *engine, struct waiter *waiter)
{
    line_remove(engine, waiter);
    waiter_free(engine, waiter);
}

void
lines_mark(struct engine *engine)
{
    if (list_empty(&engine->line_list)) {
        return;
    }
    for (const struct slot *slot = engine->work.slots[SLOTS_METER].first; slot; slot = slot->next) {
        const struct meter_row *row = &((const struct meter_slot *)(const void *)slot)->row;
        for (int32_t i = 0; slot->dirty && i < row->meter_count; i++) {
            struct line *line = line_find(engine, row->meters[i].limit_id, row->subject_id);
            if (line) {
                line_due(engine, line);
            }
        }
    }
}

void
lines_mark_all(struct engine *engine)
{
    for (struct list *node = engine->line_list.next; node != &engine->line_list;
         node = node->next) {
        line_due(engine, list_entry(node, struct line, node));
    }
}

/* At its deadline a waiter is refused with its first reason. */
static void
refuse_late(struct engine *engine, struct waiter *waiter)
{
    struct verdict verdict = waiter->first;
    verdict.refusal.ledger_id = refusals_note(engine, &waiter->event, &verdict.refusal);
    count_refused(&waiter->event);
    lines_leave(engine, waiter);
    engine_post(engine, &verdict);
}

/* Refuses who waited too long; the line goes with its last waiter. */
static void
line_refuse_late(struct engine *engine, struct line *line, int64_t mono_ms)
{
    struct list *next = NULL;
    bool last = false;
    for (struct list *at = line->waiters.next; !last; at = next) {
        next = at->next;
        last = next == &line->waiters;
        struct waiter *waiter = list_entry(at, struct waiter, node);
        if (waiter->deadline_mono_ms > mono_ms) {
            wake_for(engine, waiter);
        } else if (!waiter->queued) { /* else it is decided once more, and then refused */
            refuse_late(engine, waiter);
        }
    }
}

static void
line_try_in_time(struct engine *engine, struct line *line, int64_t mono_ms)
{
    if (line->try_mono_ms && line->try_mono_ms <= mono_ms) {
        line->try_mono_ms = 0;
        line_due(engine, line);
    } else if (line->try_mono_ms) {
        wake_at(engine, line->try_mono_ms);
    }
}

static void
refuse_all_late(struct engine *engine)
{
    const int64_t mono_ms = clock_mono_ms();
    if (!engine->lines_wake_mono_ms || mono_ms < engine->lines_wake_mono_ms) {
        return;
    }
    engine->lines_wake_mono_ms = 0;
    struct list *next = NULL;
    for (struct list *node = engine->line_list.next; node != &engine->line_list; node = next) {
        next = node->next;
        struct line *line = list_entry(node, struct line, node);
        line_try_in_time(engine, line, mono_ms);
        line_refuse_late(engine, line, mono_ms);
    }
}

void
lines_turn(struct engine *engine)
{
    refuse_all_late(engine);
    if (!engine->lines_due) {
        return;
    }
    engine->lines_due = false;
    for (struct list *node = engine->line_list.next; node != &engine->line_list;
         node = node->next) {
        struct line *line = list_entry(node, struct line, node);
        struct waiter *head = list_entry(line->waiters.next, struct waiter, node);
        if (line->try_head && !head->queued && !head->asked_anew) { /* else it is decided anyway */
            engine_queue_waiter(engine, head);
        }
        line->try_head = false;
    }
}

void
lines_free(struct engine *engine)
{
    while (!list_empty(&engine->line_list)) {
        struct line *line = list_entry(engine->line_list.next, struct line, node);
        lines_leave(engine, list_entry(line->waiters.next, struct waiter, node));
    }
    map_free(&engine->lines);
    map_free(&engine->places);
}
