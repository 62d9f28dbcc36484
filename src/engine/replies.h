/* engine/replies.h: who on a loop waits for which verdict, by slot and generation, never by
 * pointer: the client may be gone by the time its verdict comes. One per loop, used on that loop's
 * thread alone. */
#pragma once

#include "engine/engine.h"

struct reply_slot {
    uint32_t generation;
    bool open;
    void (*on_verdict)(void *user, const struct verdict *verdict);
    void *user;
    uint32_t next_free;
};

struct replies {
    struct engine *engine;
    uint32_t loop;
    struct reply_slot *slots;
    uint32_t cap, free_head;
    uint32_t open_count;
    bool by_turns;      /* the loop says when its turn ends: see replies_turn_end */
    uint32_t submitted; /* in this turn, and the engine was not roused */
};

void replies_init(struct replies *replies, struct engine *engine, uint32_t loop);
void replies_free(struct replies *replies);

/* Submits the event with a slot for its verdict; `on_verdict` is called once, from replies_deliver,
 * or more than once where they are not the last (verdict_is_last). False: the engine's queue is full, or no
 * memory; nothing was submitted. On success *ticket names the slot for replies_forget. */
MUST_USE bool replies_submit(struct replies *replies, struct event *event,
    void (*on_verdict)(void *user, const struct verdict *verdict), void *user,
    struct reply_to *ticket);
/* The answer to a VERDICT_ANEW that came for `ticket`, which stays what it is. False: no memory; nothing was
 * submitted, and the place in the line is kept until its deadline. */
MUST_USE bool replies_submit_anew(
    struct replies *replies, struct event *event, struct reply_to ticket);
/* The one who waited is gone: a call allowed for it later is given back untouched. */
void replies_forget(struct replies *replies, struct reply_to ticket);
/* For loops that set by_turns: what a turn submits is one batch of the engine's, not one for the first
 * event and one for the others. Call it before the loop waits. */
void replies_turn_end(struct replies *replies);
/* Takes all verdicts of this loop and hands them out. Call it when the loop is woken. */
void replies_deliver(struct replies *replies);
