/* engine/lines.c: waiting lines. Who waits holds nothing; lines are first come, first served. */
#include "engine/engine_priv.h"

#include <stdlib.h>

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
    if (!line || !map_put(&engine->lines, hash_pair((uint64_t)limit_id, (uint64_t)subject_id), line)) {
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
    if (list_empty(&line->waiters)) {
        map_remove(&engine->lines, hash_pair((uint64_t)line->limit_id, (uint64_t)line->subject_id));
        list_remove(&line->node);
        free(line);
    }
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
        if (engine->batch_waits[i].limit_id == limit_id && engine->batch_waits[i].subject_id == subject_id) {
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

static struct waiter *
waiter_make(struct engine *engine, const struct queued *item, const struct verdict *verdict, int64_t now_ms)
{
    const int64_t held_wait_ms = engine->policy->held_wait_ms;
    if (engine->waiter_count >= ENGINE_WAITERS_MAX || held_wait_ms <= 0) {
        return NULL;
    }
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        return NULL;
    }
    waiter->event = item->event;
    waiter->event.wait_until_ms = now_ms + held_wait_ms;
    waiter->deadline_ms = waiter->event.wait_until_ms;
    waiter->first = *verdict;
    waiter->first.kind = VERDICT_REFUSED;
    waiter->arrived_order = ++engine->arrivals;
    list_init(&waiter->node);
    __atomic_add_fetch(&engine->waiter_count, 1, __ATOMIC_RELAXED);
    return waiter;
}

bool
lines_wait(struct engine *engine, struct queued *item, const struct verdict *verdict, int64_t now_ms)
{
    struct waiter *waiter = item->waiter;
    if (!waiter) {
        waiter = waiter_make(engine, item, verdict, now_ms);
        if (!waiter) {
            return false;
        }
        struct verdict waits = *verdict; /* so that the relay keeps the connection alive */
        waits.refusal.retry_after_ms = engine->policy->held_wait_ms;
        engine_post(engine, &waits);
    } else if (waiter->deadline_ms <= now_ms) {
        return false;
    }
    waiter->queued = false;
    struct line *line = line_make(engine, verdict->refusal.limit_id, verdict->refusal.subject_id);
    if (!line) {
        item->waiter = waiter;
        return false;
    }
    if (waiter->line != line) {
        struct line *before = waiter->line;
        list_remove(&waiter->node);
        line_insert(line, waiter);
        if (before) {
            line_drop_empty(engine, before);
        }
    }
    return true;
}

void
lines_leave(struct engine *engine, struct waiter *waiter)
{
    struct line *line = waiter->line;
    list_remove(&waiter->node);
    if (line) {
        line_drop_empty(engine, line);
    }
    __atomic_sub_fetch(&engine->waiter_count, 1, __ATOMIC_RELAXED);
    free(waiter);
}

/* At its deadline a waiter is refused with its first reason. */
static void
refuse_late(struct engine *engine, struct waiter *waiter, int64_t now_ms)
{
    struct verdict verdict = waiter->first;
    verdict.refusal.ledger_id = refusals_note(engine, &waiter->event, &verdict.refusal, now_ms);
    lines_leave(engine, waiter);
    engine_post(engine, &verdict);
}

void
lines_turn(struct engine *engine, int64_t now_ms)
{
    const bool try_heads = engine->room_came;
    engine->room_came = false;
    struct list *next_line = NULL;
    for (struct list *node = engine->line_list.next; node != &engine->line_list; node = next_line) {
        next_line = node->next;
        struct line *line = list_entry(node, struct line, node);
        struct list *next = NULL;
        bool last = false;
        for (struct list *at = line->waiters.next; !last; at = next) {
            next = at->next;
            last = next == &line->waiters; /* the line itself goes with its last waiter */
            struct waiter *waiter = list_entry(at, struct waiter, node);
            if (waiter->deadline_ms <= now_ms && !waiter->queued) {
                refuse_late(engine, waiter, now_ms);
            } else if (try_heads && !waiter->queued && at->prev == &line->waiters) {
                engine_queue_waiter(engine, waiter);
            }
        }
    }
}

int64_t
lines_next_deadline_ms(const struct engine *engine)
{
    int64_t soonest_ms = 0;
    for (const struct list *node = engine->line_list.next; node != &engine->line_list; node = node->next) {
        const struct line *line = list_entry((struct list *)(uintptr_t)node, struct line, node);
        const struct waiter *head = list_entry(line->waiters.next, struct waiter, node);
        if (!soonest_ms || head->deadline_ms < soonest_ms) {
            soonest_ms = head->deadline_ms;
        }
    }
    return soonest_ms;
}

void
lines_free(struct engine *engine)
{
    while (!list_empty(&engine->line_list)) {
        struct line *line = list_entry(engine->line_list.next, struct line, node);
        lines_leave(engine, list_entry(line->waiters.next, struct waiter, node));
    }
    map_free(&engine->lines);
}
