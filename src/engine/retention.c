/* engine/retention.c: rows of the ledger that are older than they are kept go, between batches: a few in a
 * transaction, and time for calls between two of them. Of a shared store one gateway at a time does it. */
#include "engine/engine_priv.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "log/log.h"

#define LOOK_EVERY_MS  HOUR_MS
#define STEP_EVERY_MS  25 /* while there is more to delete: some 10,000 rows a second */
#define RETRY_AFTER_MS (10 * SECOND_MS)
#define TURN_MS        (5 * SECOND_MS) /* after a step: nobody else goes on with it before */

bool
engine_prune(struct engine *engine, int64_t before_ms, int64_t wait_ms, int64_t *deleted_count)
{
    const int64_t until_ms = clock_mono_ms() + wait_ms;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (long)(until_ms % 1000) * 1000000L };
    pthread_mutex_lock(&engine->lock);
    const int64_t before_count = engine->state.pruned;
    engine->retention.asked_ms = max_i64(engine->retention.asked_ms, before_ms);
    engine->state.pruning = true;
    engine->sleeping = false;
    pthread_cond_signal(&engine->work_came);
    int waited = 0;
    while (engine->state.pruning && engine->thread_runs && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&engine->pruned, &engine->lock, &until);
    }
    const bool all = !engine->state.pruning;
    *deleted_count = engine->state.pruned - before_count;
    pthread_mutex_unlock(&engine->lock);
    return all;
}

int64_t
retention_sleep_ms(const struct engine *engine, int64_t mono_ms)
{
    const struct retention *retention = &engine->retention;
    if (engine->store_down || engine->closing) {
        return -1;
    }
    if (retention->asked_ms > 0 && !retention->walking) {
        return 0;
    }
    const bool due = retention->walking || engine->policy->retention_ms > 0
                     || engine->policy->retention_refusals_ms > 0;
    return due ? max_i64(0, retention->due_mono_ms - mono_ms) : -1;
}

/* What is too old as of now: by the configuration, or because somebody asked for it. False: nothing is. */
static bool
begin_walk(struct engine *engine)
{
    struct retention *retention = &engine->retention;
    const struct policy *policy = engine->policy;
    const int64_t now_ms = engine_now_ms(engine);
    pthread_mutex_lock(&engine->lock);
    const int64_t asked_ms = retention->asked_ms;
    retention->asked_ms = 0;
    pthread_mutex_unlock(&engine->lock);
    const int64_t kept_ms = policy->retention_ms > 0 ? now_ms - policy->retention_ms : 0;
    const int64_t refusals_ms =
        policy->retention_refusals_ms > 0 ? now_ms - policy->retention_refusals_ms : 0;
    retention->walk = (struct store_prune){ .before_ms = max_i64(max_i64(kept_ms, asked_ms), 0),
        .refusals_before_ms = max_i64(refusals_ms, 0) };
    retention->asked = asked_ms > 0;
    retention->deleted_count = 0;
    retention->walking = retention->walk.before_ms > 0 || retention->walk.refusals_before_ms > 0;
    return retention->walking;
}

/* Whether it is this gateway's turn; what a person asked for is done by whom it was asked. */
static enum status
take_turn(struct engine *engine, bool *taken)
{
    *taken = true;
    if (engine->exclusive || engine->retention.asked) {
        return STATUS_OK;
    }
    return store_job_take(engine->store, "retention", engine->core.now_ms + TURN_MS, taken);
}

/* One transaction. *walk is as it was where it fails. */
static enum status
step(struct engine *engine, struct store_prune *walk, bool *taken)
{
    batch_frame(engine);
    enum status status = batch_open(engine);
    if (status == STATUS_OK) {
        status = take_turn(engine, taken);
    }
    if (status == STATUS_OK && *taken) {
        status = store_prune(engine->store, walk);
    }
    if (status == STATUS_OK) {
        status = store_commit(engine->store);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
    } else if (!engine->exclusive) {
        shared_committed(engine);
    }
    return status;
}

static void
end_walk(struct engine *engine, int64_t mono_ms)
{
    struct retention *retention = &engine->retention;
    retention->walking = false;
    retention->due_mono_ms = mono_ms + LOOK_EVERY_MS;
    if (retention->deleted_count > 0) {
        log_line(LOG_INFO, "retention", "%lld rows of the ledger were older than they are kept",
            (long long)retention->deleted_count);
    }
    pthread_mutex_lock(&engine->lock);
    engine->state.pruning = retention->asked_ms > 0; /* for somebody who asked meanwhile */
    pthread_cond_broadcast(&engine->pruned);
    pthread_mutex_unlock(&engine->lock);
}

void
retention_turn(struct engine *engine, int64_t mono_ms)
{
    struct retention *retention = &engine->retention;
    if (retention_sleep_ms(engine, mono_ms) != 0) {
        return;
    }
    if (!retention->walking && !begin_walk(engine)) {
        end_walk(engine, mono_ms);
        return;
    }
    struct store_prune walk = retention->walk;
    bool taken = false;
    const enum status status = step(engine, &walk, &taken);
    if (status != STATUS_OK) {
        retention->due_mono_ms = mono_ms + RETRY_AFTER_MS;
        if (shared_recover(engine, status) != STATUS_CONFLICT) {
            log_line(LOG_WARN, "retention", "old rows of the ledger are deleted later (%s): %s",
                status_name(status), store_last_error(engine->store));
        }
        return;
    }
    retention->walk = walk;
    retention->deleted_count += walk.deleted_count;
    retention->due_mono_ms = mono_ms + (walk.deleted_count > 0 ? STEP_EVERY_MS : 1);
    pthread_mutex_lock(&engine->lock);
    engine->state.pruned += walk.deleted_count;
    pthread_mutex_unlock(&engine->lock);
    if (!taken) { /* another gateway is at it, or was when it went */
        retention->walking = false;
        retention->due_mono_ms = mono_ms + TURN_MS;
    } else if (walk.done) {
        end_walk(engine, mono_ms);
    }
}
