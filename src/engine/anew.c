/* engine/anew.c: a new policy, and who waits. What a call asks follows from its policy: the number of its model, the
 * routes that are open, what it can be counted by. Who sent it makes it anew, as it would ask now, and it is decided
 * in the place and with the deadline that it had. */
#include "engine/engine_priv.h"

static bool
is_of_newest(const struct engine *engine, const struct event *event)
{
    return event->call.policy_ver == engine->policy->version;
}

static void
ask(struct engine *engine, struct waiter *waiter)
{
    const struct verdict verdict = { .event = EVENT_CALL,
        .kind = VERDICT_ANEW,
        .reply = waiter->event.reply,
        .place = waiter->arrived_order };
    waiter->asked_anew = true;
    engine_post(engine, &verdict);
}

void
anew_ask(struct engine *engine, struct waiter *waiter)
{
    if (!waiter->asked_anew && !is_of_newest(engine, &waiter->event)) {
        ask(engine, waiter);
    }
}

void
anew_ask_all(struct engine *engine)
{
    for (struct list *node = engine->line_list.next; node != &engine->line_list;
         node = node->next) {
        const struct line *line = list_entry(node, struct line, node);
        for (struct list *at = line->waiters.next; at != &line->waiters; at = at->next) {
            anew_ask(engine, list_entry(at, struct waiter, node));
        }
    }
}

/* False: there is nothing to decide. */
static bool
take_answer(struct engine *engine, struct queued *item)
{
    struct waiter *waiter = map_get(&engine->places, (uint64_t)item->event.place);
    if (!waiter) {
        return false; /* its time was over meanwhile, and it was told so */
    }
    waiter->asked_anew = false;
    if (item->event.gives_up) {
        lines_leave(engine, waiter);
        return false;
    }
    if (!is_of_newest(engine, &item->event)) {
        ask(engine, waiter); /* one more policy came in between */
        return false;
    }
    item->event.waits_since_ms = waiter->event.waits_since_ms;
    item->event.wait_until_ms = waiter->event.wait_until_ms;
    waiter->event = item->event;
    waiter->queued = true;
    waiter->first_is_old = true;
    item->waiter = waiter;
    return true;
}

static bool
stays(struct engine *engine, struct queued *item)
{
    if (item->event.kind != EVENT_CALL) {
        return true;
    }
    if (item->waiter && !is_of_newest(engine, &item->event)) {
        item->waiter->queued = false; /* asked since; the answer is decided in its place */
        return false;
    }
    return item->waiter || item->event.place == 0 || take_answer(engine, item);
}

uint32_t
anew_take(struct engine *engine, uint32_t count)
{
    uint32_t stay = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!stays(engine, &engine->batch[i])) {
            continue;
        }
        if (stay != i) {
            engine->batch[stay] = engine->batch[i];
        }
        stay++;
    }
    return stay;
}
