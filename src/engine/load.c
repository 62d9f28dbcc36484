/* engine/load.c: rows in: what the core needs for an event, kept or from the store, for as many rounds as one row names
 * the next. */
#include "engine/engine_priv.h"

void
batch_take_row(void *user, const struct need *need, const union need_row *row)
{
    struct engine *engine = user;
    union need_row own;
    if (row && need->kind == NEED_HOLD) { /* its inputs are the store's */
        own.hold = row->hold;
        own.hold.inputs = work_keep(&engine->work, row->hold.inputs);
        row = &own;
    }
    if (row) {
        cache_keep(&engine->cache, need, row);
    }
    work_load(&engine->work, need, row);
}

static bool
load_kept(struct engine *engine, const struct need *need)
{
    const bool as_kept = engine->exclusive || !need_moves(need->kind);
    const bool kept = as_kept && cache_load(&engine->cache, need, &engine->work);
    engine->cache_used |= kept;
    return kept;
}

/* How many the store is asked for at once: subjects that are not kept, one behind the other. */
static int32_t
run_of(const struct engine *engine, const struct need *needs, int32_t count)
{
    int32_t len = 1;
    while (len < count && needs[0].kind == NEED_SUBJECT && needs[len].kind == NEED_SUBJECT
           && !cache_has(&engine->cache, &needs[len])) {
        len++;
    }
    return len;
}

/* The first of the needs, and as many behind it as *len is set to. */
static enum status
load_stored(struct engine *engine, const struct need *needs, int32_t count, int32_t *len)
{
    const enum status status = batch_open(engine);
    *len = 1;
    if (status != STATUS_OK) {
        return status;
    }
    if (!engine->exclusive) {
        return shared_load_late(engine, needs);
    }
    *len = run_of(engine, needs, count);
    return store_load(engine->store, needs, (size_t)*len, false, batch_take_row, engine);
}

enum status
batch_load(struct engine *engine, const struct needs *needs)
{
    check(!needs->overflow);
    int32_t len = 0;
    for (int32_t i = 0; i < needs->count; i += len) {
        len = 1;
        if (load_kept(engine, &needs->items[i])) {
            continue;
        }
        const enum status status = load_stored(engine, &needs->items[i], needs->count - i, &len);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return engine->work.failed ? STATUS_INVALID : STATUS_OK;
}

#define NEEDS_ROUNDS 4

enum status
batch_load_event(struct engine *engine, const struct event *event)
{
    for (int round = 0; round < NEEDS_ROUNDS; round++) {
        struct needs needs;
        needs.count = 0;
        needs.overflow = false;
        core_needs(&engine->core, event, &needs);
        if (needs.count == 0) {
            return STATUS_OK;
        }
        const enum status status = batch_load(engine, &needs);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}
