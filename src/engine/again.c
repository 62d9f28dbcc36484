/* engine/again.c: refusals that repeat: until when one holds, what makes an end of it earlier, and how
 * often a loop has given it without asking (DESIGN section 3).
 *
 * A refusal under a limit holds as long as nothing that could let the same call in has changed: its
 * meter, the policy, an account or key, the time. The meters of a subject are one row, so each row that
 * is committed moves the mark of its subject; marks are shared by subjects, which at worst ends a
 * refusal early. A loop compares the mark it was decided under with the one of now: a single read. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#define SHARED_SAME_MS 1000
#define REPEATS_MAX    65536 /* reports that wait for the thread; it takes them at once */

/* Whether it can only be lifted by what moves its mark, by time, or by what its event carries. */
static bool
refusal_lasts(const struct refusal *refusal)
{
    const bool of_meter = refusal->reason == REASON_COST_SPENT
                          || refusal->reason == REASON_TOKENS_SPENT
                          || refusal->reason == REASON_RATE;
    return of_meter && refusal->limit_id != 0;
}

void
again_decided(const struct engine *engine, const struct queued *item, struct verdict *verdict)
{
    const struct refusal *refusal = &verdict->refusal;
    const int64_t now_ms = engine->core.now_ms;
    verdict->same_until_ms = 0;
    if (verdict->event != EVENT_CALL || verdict->kind != VERDICT_REFUSED || item->waiter
        || verdict->asks_again || !refusal_lasts(refusal)) {
        return;
    }
    /* The first of each minute is a row of the ledger; windows of the calendar end with a minute, too. */
    int64_t until_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS;
    if (refusal->retry_after_ms > 0) {
        until_ms = min_i64(until_ms, now_ms + refusal->retry_after_ms);
    }
    if (refusal->resets_at_ms > 0) {
        until_ms = min_i64(until_ms, refusal->resets_at_ms);
    }
    if (!engine->exclusive) { /* what other gateways commit moves no mark here */
        until_ms = min_i64(until_ms, now_ms + SHARED_SAME_MS);
    }
    verdict->same_from_ms = now_ms;
    verdict->same_until_ms = until_ms;
    /* Of before this batch: what it commits itself ends the refusal, in whichever order it was decided. */
    verdict->meter_mark = engine_meter_mark(engine, refusal->subject_id);
}

/* After the commit, before any verdict of it leaves. */
void
again_committed(struct engine *engine)
{
    for (const struct slot *slot = engine->work.slots[SLOTS_METER].first; slot; slot = slot->next) {
        const struct meter_row *row = &((const struct meter_slot *)(const void *)slot)->row;
        if (slot->dirty) {
            __atomic_add_fetch(
                &engine->meter_marks[row->subject_id % METER_MARKS], 1, __ATOMIC_RELEASE);
        }
    }
    const struct slot *subjects = engine->work.slots[SLOTS_SUBJECT].first;
    for (const struct slot *slot = subjects; slot; slot = slot->next) {
        if (slot->dirty) { /* who had none until now was refused as subject 0 */
            __atomic_add_fetch(&engine->meter_marks[0], 1, __ATOMIC_RELEASE);
        }
    }
}

void
again_forget_all(struct engine *engine)
{
    for (size_t i = 0; i < METER_MARKS; i++) {
        __atomic_add_fetch(&engine->meter_marks[i], 1, __ATOMIC_RELEASE);
    }
}

uint64_t
engine_meter_mark(const struct engine *engine, int64_t subject_id)
{
    return __atomic_load_n(&engine->meter_marks[subject_id % METER_MARKS], __ATOMIC_ACQUIRE);
}

bool
engine_refused_again(struct engine *engine, int64_t ledger_id, int64_t count)
{
    struct repeats *repeats = &engine->repeats;
    check(count > 0);
    pthread_mutex_lock(&engine->lock);
    bool room = repeats->count < repeats->cap;
    if (!room && repeats->cap < REPEATS_MAX) {
        const size_t cap = repeats->cap ? repeats->cap * 2 : 64;
        struct repeat *items = realloc(repeats->items, cap * sizeof *items);
        room = items != NULL;
        repeats->items = room ? items : repeats->items;
        repeats->cap = room ? cap : repeats->cap;
    }
    if (room) {
        repeats->items[repeats->count++] = (struct repeat){ ledger_id, count };
    }
    pthread_mutex_unlock(&engine->lock);
    if (room) {
        pthread_cond_signal(&engine->work_came);
    }
    return room;
}

void
again_take_reports(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct repeats taken = engine->repeats;
    engine->repeats = (struct repeats){ 0 };
    pthread_mutex_unlock(&engine->lock);
    for (size_t i = 0; i < taken.count; i++) {
        refusals_add(engine, taken.items[i].ledger_id, taken.items[i].count);
    }
    free(taken.items);
}
