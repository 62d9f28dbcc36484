/* engine/explain.c: a call that is decided and not made: between two batches, on a working set that is thrown away. */
#include "engine/engine_priv.h"

#include "core/explain.h"

/* Of the largest answer: some 24 limits with their subjects. */
#define EXPLAIN_BYTES ((size_t)64 << 10)

enum status
engine_explain(struct engine *engine, const struct event *event, bool all, struct buf *out)
{
    check(event->kind == EVENT_CALL);
    pthread_mutex_lock(&engine->lock);
    while (engine->explaining.taken) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    engine->explaining = (struct explaining){ .taken = true,
        .asked = engine->thread_runs,
        .all = all,
        .event = event,
        .out = out,
        .status = STATUS_CLOSED };
    engine->sleeping = false;
    pthread_cond_signal(&engine->work_came);
    while (engine->explaining.asked && engine->thread_runs) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    const bool done = !engine->explaining.asked;
    const enum status status = engine->explaining.status;
    engine->explaining.taken = engine->explaining.asked = false;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_mutex_unlock(&engine->lock);
    return done ? status : STATUS_CLOSED;
}

static void
explain_needs(struct engine *engine, uint32_t index, struct needs *needs)
{
    (void)index;
    core_needs(&engine->core, engine->explaining.event, needs);
}

/* What it learned of rows stays in the cache, as after any batch that changes nothing; ids and meters are as before. */
static enum status
decide(struct engine *engine, struct explaining *asked)
{
    const struct shared_items items = { .first = 0, .count = 1, .needs_of = explain_needs };
    const struct ids ids = engine->ids;
    enum status status = engine->exclusive ? batch_begin(engine) : shared_begin(engine, &items);
    if (status == STATUS_OK) {
        status = batch_load_event(engine, asked->event);
    }
    char *room = status == STATUS_OK ? arena_alloc(&engine->arena, EXPLAIN_BYTES) : NULL;
    if (status == STATUS_OK && !room) {
        status = STATUS_FULL;
    }
    if (status == STATUS_OK) {
        struct buf told = {
            .ptr = room, .cap = EXPLAIN_BYTES - 1, .limit_bytes = EXPLAIN_BYTES - 1
        };
        const bool good = core_explain(&engine->core, asked->event, asked->all, &told);
        buf_add_slice(asked->out, good ? buf_slice(&told) : (struct slice){ 0 });
        status = good && !asked->out->failed ? STATUS_OK : STATUS_FULL;
    }
    engine->ids = ids;
    batch_abandon_unwritten(engine);
    return status;
}

void
explain_turn(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct explaining asked = engine->explaining;
    pthread_mutex_unlock(&engine->lock);
    if (!asked.asked) {
        return;
    }
    enum status status = engine->store_down || engine->closing ? STATUS_IO : STATUS_CONFLICT;
    shared_forget_surprises(engine);
    for (int tries = 0; tries < CONFLICT_RETRIES && status == STATUS_CONFLICT; tries++) {
        status = shared_recover(engine, decide(engine, &asked));
    }
    pthread_mutex_lock(&engine->lock);
    engine->explaining.asked = false;
    engine->explaining.status = status;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_mutex_unlock(&engine->lock);
}
