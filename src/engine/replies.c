/* engine/replies.c: slots with generations; see the header. */
#include "engine/replies.h"

#include <stdlib.h>

#include "log/log.h"

#define NO_SLOT      UINT32_MAX
#define ROUSE_EVENTS 32 /* so many are worth a batch also before the turn is over */

void
replies_init(struct replies *replies, struct engine *engine, uint32_t loop)
{
    *replies = (struct replies){ .engine = engine, .loop = loop, .free_head = NO_SLOT };
}

void
replies_free(struct replies *replies)
{
    free(replies->slots);
    replies->slots = NULL;
    replies->cap = 0;
}

static bool
grow(struct replies *replies)
{
    const uint32_t cap = replies->cap ? replies->cap * 2 : 64;
    struct reply_slot *slots = realloc(replies->slots, cap * sizeof *slots);
    if (!slots) {
        return false;
    }
    for (uint32_t i = replies->cap; i < cap; i++) {
        slots[i] = (struct reply_slot){ .next_free = i + 1 < cap ? i + 1 : NO_SLOT };
    }
    replies->free_head = replies->cap;
    replies->slots = slots;
    replies->cap = cap;
    return true;
}

static void
slot_free(struct replies *replies, uint32_t index)
{
    struct reply_slot *slot = &replies->slots[index];
    slot->open = false;
    slot->generation++; /* whatever still comes for it is for nobody */
    slot->next_free = replies->free_head;
    replies->free_head = index;
    replies->open_count--;
}

void
replies_turn_end(struct replies *replies)
{
    if (replies->submitted) {
        replies->submitted = 0;
        engine_rouse(replies->engine);
    }
}

static bool
submit_event(struct replies *replies, const struct event *event)
{
    if (!replies->by_turns) {
        return engine_submit(replies->engine, event);
    }
    if (!engine_submit_quietly(replies->engine, event)) {
        return false;
    }
    if (++replies->submitted == ROUSE_EVENTS) {
        replies_turn_end(replies);
    }
    return true;
}

bool
replies_submit(struct replies *replies, struct event *event,
    void (*on_verdict)(void *user, const struct verdict *verdict), void *user,
    struct reply_to *ticket)
{
    if (replies->free_head == NO_SLOT && !grow(replies)) {
        return false;
    }
    const uint32_t index = replies->free_head;
    struct reply_slot *slot = &replies->slots[index];
    replies->free_head = slot->next_free;
    replies->open_count++;
    slot->open = true;
    slot->on_verdict = on_verdict;
    slot->user = user;
    event->reply = (struct reply_to){ replies->loop, index, slot->generation };
    *ticket = event->reply;
    if (!submit_event(replies, event)) {
        slot_free(replies, index);
        return false;
    }
    return true;
}

bool
replies_submit_anew(struct replies *replies, struct event *event, struct reply_to ticket)
{
    check(event->place != 0);
    event->reply = ticket;
    return submit_event(replies, event);
}

void
replies_forget(struct replies *replies, struct reply_to ticket)
{
    check(ticket.slot < replies->cap);
    if (replies->slots[ticket.slot].open
        && replies->slots[ticket.slot].generation == ticket.generation) {
        slot_free(replies, ticket.slot);
    }
}

/* Nobody waits for it any more: nothing left the process, so all of it is given back. */
static void
give_back(struct replies *replies, const struct verdict *verdict)
{
    struct event event;
    if (!verdict_untaken(verdict, &event)) {
        return;
    }
    if (engine_submit(replies->engine, &event)) { /* it always fits, as long as there is memory */
        return;
    }
    if (event.kind == EVENT_SETTLE) { /* a place in a line is free at its deadline anyway */
        log_line(LOG_ERROR, "engine",
            "no memory to give the hold of req_%lld back: it stays open until the next start",
            (long long)verdict->hold_id);
    }
}

void
replies_deliver(struct replies *replies)
{
    struct verdict verdicts[8]; /* so few that they stay at hand while they are looked at */
    uint32_t count = 0;
    while ((count = engine_take(replies->engine, replies->loop, verdicts, countof(verdicts))) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            const struct verdict *verdict = &verdicts[i];
            const uint32_t index = verdict->reply.slot;
            struct reply_slot *slot = index < replies->cap ? &replies->slots[index] : NULL;
            if (!slot || !slot->open || slot->generation != verdict->reply.generation) {
                give_back(replies, verdict);
                continue;
            }
            void (*on_verdict)(void *, const struct verdict *) = slot->on_verdict;
            void *user = slot->user;
            if (verdict_is_last(verdict)) {
                slot_free(replies, index);
            }
            on_verdict(user, verdict);
        }
    }
}
