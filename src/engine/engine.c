/* engine/engine.c: the thread, the boxes of verdicts, the policy in force. */
#include "engine/engine_priv.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/trail.h"

#define ARENA_KEEP_BYTES ((size_t)2 << 20) /* a large batch's rows */
#define CLOSE_TRIES_MS   (2 * SECOND_MS)   /* for settlements that a broken store does not take */

/* Makes room for one more verdict behind the others. */
static void
outbox_reserve(struct outbox *box)
{
    if (box->end < box->cap) {
        return;
    }
    if (box->first > box->cap / 2) { /* what was taken leaves enough room at the front */
        memmove(box->verdicts, box->verdicts + box->first,
            (box->end - box->first) * sizeof *box->verdicts);
        box->end -= box->first;
        box->first = 0;
        return;
    }
    const uint32_t cap = box->cap ? box->cap * 2 : 64;
    struct verdict *grown = realloc(box->verdicts, cap * sizeof *grown);
    check(grown); /* bounded by calls in flight; without it calls would hang for ever */
    box->verdicts = grown;
    box->cap = cap;
}

void
engine_post(struct engine *engine, const struct verdict *verdict)
{
    if (verdict->reply.loop >= engine->loop_count) {
        return;
    }
    struct outbox *box = &engine->outboxes[verdict->reply.loop];
    pthread_mutex_lock(&box->lock);
    outbox_reserve(box);
    box->verdicts[box->end++] = *verdict;
    box->wake_due = true;
    pthread_mutex_unlock(&box->lock);
}

void
engine_wake_loops(struct engine *engine)
{
    for (uint32_t loop = 0; engine->wake && loop < engine->loop_count; loop++) {
        struct outbox *box = &engine->outboxes[loop];
        pthread_mutex_lock(&box->lock);
        const bool due = box->wake_due;
        box->wake_due = false;
        pthread_mutex_unlock(&box->lock);
        if (due) {
            engine->wake(engine->wake_user, loop);
        }
    }
}

uint32_t
engine_take(struct engine *engine, uint32_t loop, struct verdict *out, uint32_t max)
{
    struct outbox *box = &engine->outboxes[loop];
    pthread_mutex_lock(&box->lock);
    const uint32_t waiting = box->end - box->first;
    const uint32_t taken = waiting < max ? waiting : max;
    if (taken) {
        memcpy(out, box->verdicts + box->first, taken * sizeof *out);
        box->first += taken;
    }
    if (box->first == box->end) {
        box->first = box->end = 0;
    }
    pthread_mutex_unlock(&box->lock);
    return taken;
}

/* Nobody takes verdicts any more: what was allowed and not heard of never left, and is given
 * back. */
static void
take_back_unheard(struct engine *engine)
{
    struct verdict verdict;
    struct event event;
    for (uint32_t loop = 0; loop < engine->loop_count; loop++) {
        while (engine_take(engine, loop, &verdict, 1)) {
            const bool held = verdict_untaken(&verdict, &event) && event.kind == EVENT_SETTLE;
            if (held && !engine_submit(engine, &event)) {
                log_line(LOG_ERROR, "engine", "no memory to give the hold of req_%lld back",
                    (long long)verdict.hold_id);
            }
        }
    }
}

static int64_t
sooner(int64_t a_ms, int64_t b_ms)
{
    return a_ms < 0 ? b_ms : min_i64(a_ms, b_ms);
}

/* How long the thread may sleep: until a settlement has waited for company long enough, a waiting
 * call's deadline, kept refusals are due, or a broken store is to be tried again. Milliseconds, -1
 * = for ever. */
static int64_t
sleep_ms(const struct engine *engine, int64_t mono_ms)
{
    if (engine->urgent_count || (engine->repeats.count && !engine->store_down)
        || (!engine->store_down && (engine->stopping || engine->parked.count))) {
        return 0;
    }
    int64_t sleep = -1;
    if (engine->queue.count) {
        const int64_t queued_ms = engine->queue.items[engine->queue.head].queued_mono_ms;
        sleep = max_i64(0, queued_ms + ENGINE_COMPANY_MS - mono_ms);
    }
    if (engine->store_down) { /* also with nothing to write: whether it works must be known */
        sleep = sooner(sleep, max_i64(0, engine->store_retry_mono_ms - mono_ms));
    } else if (engine->kept_due_count) {
        sleep = sooner(sleep, max_i64(0, engine->kept_flush_mono_ms - mono_ms));
    }
    if (engine->lines_wake_mono_ms) {
        sleep = sooner(sleep, max_i64(0, engine->lines_wake_mono_ms - mono_ms));
    }
    const int64_t shared = shared_sleep_ms(engine, mono_ms);
    sleep = shared < 0 ? sleep : sooner(sleep, shared);
    const int64_t retention = retention_sleep_ms(engine, mono_ms);
    sleep = retention < 0 ? sleep : sooner(sleep, retention);
    const int64_t sweep = sweep_sleep_ms(engine, mono_ms);
    return sweep < 0 ? sleep : sooner(sleep, sweep);
}

/* Sleeps `ms` at most, -1 = until woken. A thread that was at work lately does not sleep for longer
 * than a settlement may wait, so that nobody has to wake it for one. */
static void
sleep_for(struct engine *engine, int64_t mono_ms, int64_t ms)
{
    const bool dozes = ms < 0 && engine->worked_lately;
    const int64_t until_ms =
        ms < 0 && !dozes ? INT64_MAX : mono_ms + (dozes ? ENGINE_COMPANY_MS : ms);
    engine->worked_lately &= !dozes;
    engine->sleep_until_mono_ms = until_ms;
    engine->sleeping = true;
    if (until_ms == INT64_MAX) {
        pthread_cond_wait(&engine->work_came, &engine->lock);
    } else {
        const struct timespec until = { .tv_sec = until_ms / 1000,
            .tv_nsec = (long)(until_ms % 1000) * 1000000L };
        (void)pthread_cond_timedwait(&engine->work_came, &engine->lock, &until);
    }
    engine->sleeping = false;
}

/* Called under the lock; returns with it held. */
static void
wait_for_work(struct engine *engine)
{
    while (!engine->change.asked && !engine->policy_left && !engine->explaining.asked) {
        const int64_t mono_ms = clock_mono_ms();
        const int64_t ms = sleep_ms(engine, mono_ms);
        if (ms == 0) {
            return;
        }
        sleep_for(engine, mono_ms, ms);
    }
}

/* What waited for the store goes first. */
static uint32_t
take_batch(struct engine *engine, bool broken)
{
    uint32_t count = 0;
    while (count < ENGINE_BATCH_MAX && engine->parked.count && !broken) {
        ring_pop(&engine->parked, &engine->batch[count++]);
    }
    while (count < ENGINE_BATCH_MAX && engine->queue.count) {
        ring_pop(&engine->queue, &engine->batch[count]);
        engine->urgent_count -= !event_is_lazy(&engine->batch[count++].event);
    }
    counter_set(COUNTER_SETTLEMENTS_WAITING, (int64_t)engine->parked.count);
    engine->worked_lately |= count > 0;
    counter_add(COUNTER_BATCHES, count > 0);
    counter_add(COUNTER_EVENTS, count);
    if (count > 0) {
        histogram_add(HISTOGRAM_BATCH, count);
        trail_note(TRAIL_BATCH, count, (int64_t)engine->queue.count, (int64_t)engine->parked.count);
    }
    engine->state.batches += count > 0;
    engine->state.events += count;
    return count;
}

/* A loop at rest would keep the policy before, and its secrets, until its next call. */
static void
tell_loops(struct engine *engine)
{
    for (uint32_t loop = 0; loop < engine->loop_count; loop++) {
        struct outbox *box = &engine->outboxes[loop];
        pthread_mutex_lock(&box->lock);
        box->wake_due = true; /* at the end of this turn */
        pthread_mutex_unlock(&box->lock);
    }
}

static void
take_policy(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    const struct policy_change change = engine->change;
    pthread_mutex_unlock(&engine->lock);
    if (!change.asked) {
        return;
    }
    const enum status status = adopt_policy(engine, change.policy, change.error);
    if (status != STATUS_OK) {
        log_line(LOG_ERROR, "engine", "new configuration not taken: %s", change.error->text);
        policy_unref(change.policy);
    } else {
        tell_loops(engine);
    }
    pthread_mutex_lock(&engine->lock);
    engine->change.asked = false;
    engine->change.done = true;
    engine->change.status = status;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_mutex_unlock(&engine->lock);
}

/* The loops are gone: nothing new starts, and what is on its way is written, if the store lets
 * us. */
static void
begin_to_close(struct engine *engine)
{
    engine->closing = true;
    engine->give_up_mono_ms = clock_mono_ms() + CLOSE_TRIES_MS;
    take_back_unheard(engine);
}

bool
engine_step(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->policy_left = false; /* this turn ends with a look at it */
    const bool stopping = engine->stopping;
    pthread_mutex_unlock(&engine->lock);
    if (stopping && !engine->closing) {
        begin_to_close(engine);
    }
    /* A loop that waits for this very processor goes first: what it hands over is of this batch instead of
     * one more, and a commit costs as much as a dozen calls. Where a processor is free nobody waits. */
    (void)sched_yield();
    take_policy(engine);
    again_take_reports(engine); /* before the batch: a new minute's refusal takes their place */

    const int64_t mono_ms = clock_mono_ms();
    const bool broken = engine->store_down && mono_ms < engine->store_retry_mono_ms;
    /* A server that is gone may take seconds to be missed again: nobody's call is taken along to it. */
    const bool alone = !engine->exclusive && engine->store_down && !broken;
    pthread_mutex_lock(&engine->lock);
    const bool all_written = engine->queue.count == 0 && engine->parked.count == 0;
    const uint32_t taken = alone ? 0 : take_batch(engine, broken);
    pthread_mutex_unlock(&engine->lock);
    const uint32_t count = anew_take(engine, taken);
    __atomic_store_n(&engine->batch_since_mono_ms, mono_ms, __ATOMIC_RELEASE);
    if (broken) {
        batch_refuse_all(engine, count);
    } else {
        batch_run(engine, count);
    }
    shared_turn(engine, mono_ms);
    retention_turn(engine, mono_ms);
    sweep_turn(engine, mono_ms);
    explain_turn(engine);
    __atomic_store_n(&engine->batch_since_mono_ms, 0, __ATOMIC_RELEASE);
    engine_wake_loops(engine); /* once a batch, when all of it can be taken */
    drop_unused_policies(engine);
    /* What could not be written stays an open hold: the next start books it. */
    return !(engine->closing && (all_written || mono_ms >= engine->give_up_mono_ms));
}

/* One turn: wait, take what came, decide it and make it durable. False after the last one. */
static bool
engine_turn(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    wait_for_work(engine);
    pthread_mutex_unlock(&engine->lock);
    return engine_step(engine);
}

static void *
engine_thread(void *arg)
{
    struct engine *engine = arg;
    thread_begin("engine");
    trail_thread("engine", 0);
    while (engine_turn(engine)) {
    }
    pthread_mutex_lock(&engine->lock);
    engine->thread_runs = false;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_cond_broadcast(&engine->pruned);
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static enum status
engine_make(const struct engine_options *options, struct engine **out)
{
    struct engine *engine = calloc(1, sizeof *engine);
    struct outbox *boxes = calloc(options->loop_count ? options->loop_count : 1, sizeof *boxes);
    if (!engine || !boxes) {
        free(engine);
        free(boxes);
        return STATUS_FULL;
    }
    engine->store = options->store;
    engine->arena.keep_bytes = ARENA_KEEP_BYTES;
    engine->exclusive = store_is_exclusive(options->store);
    engine->shared.lease_ms = store_lease_ms(options->store);
    engine->lease_mono_ms = INT64_MAX;
    cache_init(&engine->cache);
    engine->wake = options->wake;
    engine->wake_user = options->wake_user;
    engine->loop_count = options->loop_count;
    engine->outboxes = boxes;
    list_init(&engine->line_list);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_mutex_init(&engine->clock.lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->work_came, &monotonic);
    pthread_cond_init(&engine->watch_wake, &monotonic);
    pthread_cond_init(&engine->pruned, &monotonic);
    pthread_cond_init(&engine->policy_done, NULL);
    pthread_condattr_destroy(&monotonic);
    for (uint32_t i = 0; i < options->loop_count; i++) {
        pthread_mutex_init(&boxes[i].lock, NULL);
    }
    engine->state.store_ok = true;
    *out = engine;
    return STATUS_OK;
}

void
engine_drop(struct engine *engine)
{
    lines_free(engine);
    cache_free(&engine->cache);
    shared_free(&engine->shared);
    ring_free(&engine->queue);
    ring_free(&engine->parked);
    free(engine->repeats.items);
    for (uint32_t i = 0; i < engine->loop_count; i++) {
        free(engine->outboxes[i].verdicts);
        pthread_mutex_destroy(&engine->outboxes[i].lock);
    }
    for (size_t i = 0; i < engine->policy_count; i++) {
        policy_unref(engine->policies[i].policy); /* the newest is among them */
    }
    free(engine->policies);
    work_end(&engine->work);
    arena_free(&engine->arena);
    pthread_cond_destroy(&engine->work_came);
    pthread_cond_destroy(&engine->watch_wake);
    pthread_cond_destroy(&engine->policy_done);
    sweep_free(&engine->sweep);
    pthread_cond_destroy(&engine->pruned);
    pthread_mutex_destroy(&engine->clock.lock);
    pthread_mutex_destroy(&engine->lock);
    free(engine->outboxes);
    free(engine);
}

enum status
engine_open_still(
    const struct engine_options *options, struct engine **out, struct engine_error *error)
{
    struct engine *engine = NULL;
    enum status status = engine_make(options, &engine);
    if (status != STATUS_OK) {
        slice_to_cstr(SLICE("no memory for the engine"), error->text, sizeof error->text);
        policy_unref(options->policy);
        return status;
    }
    status = start_epoch(engine, options->policy->config_hash, error);
    if (status == STATUS_OK) {
        status = adopt_policy(engine, options->policy, error);
    }
    if (status != STATUS_OK) {
        policy_unref(options->policy);
        engine_drop(engine);
        return status;
    }
    status = start_close_orphans(engine, error);
    if (status != STATUS_OK) {
        engine_drop(engine);
        return status;
    }
    *out = engine;
    return STATUS_OK;
}

enum status
engine_open(const struct engine_options *options, struct engine **out, struct engine_error *error)
{
    struct engine *engine = NULL;
    enum status status = engine_open_still(options, &engine, error);
    if (status != STATUS_OK) {
        return status;
    }
    engine->thread_runs = true;
    if (pthread_create(&engine->thread, NULL, engine_thread, engine) != 0) {
        slice_to_cstr(SLICE("cannot start the engine's thread"), error->text, sizeof error->text);
        engine_drop(engine);
        return STATUS_FULL;
    }
    shared_listen(engine);
    if (watch_start(engine) != STATUS_OK) {
        slice_to_cstr(SLICE("cannot start the engine's threads"), error->text, sizeof error->text);
        (void)engine_close(engine); /* nothing was asked of it yet */
        return STATUS_FULL;
    }
    *out = engine;
    return STATUS_OK;
}

int64_t
engine_close(struct engine *engine)
{
    if (!engine) {
        return 0;
    }
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_cond_signal(&engine->work_came);
    pthread_mutex_unlock(&engine->lock);
    pthread_join(engine->thread, NULL);
    store_unlisten(engine->store);
    watch_stop(engine);
    const int64_t unwritten_count = (int64_t)engine->parked.count + (int64_t)engine->queue.count;
    engine_drop(engine);
    return unwritten_count;
}

bool
verdict_untaken(const struct verdict *verdict, struct event *event)
{
    if (verdict->event == EVENT_CALL && verdict->kind == VERDICT_ANEW) {
        *event = (struct event){
            .kind = EVENT_CALL, .reply = verdict->reply, .place = verdict->place, .gives_up = true
        };
        return true;
    }
    if (verdict->event != EVENT_CALL || verdict->kind != VERDICT_ALLOWED || !verdict->hold_id) {
        return false;
    }
    *event = (struct event){ .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event->settle.hold_id = verdict->hold_id;
    event->settle.usage = USAGE_NONE;
    event->settle.input_tokens_seen = -1;
    event->settle.flags = LEDGER_CLIENT_GONE;
    return true;
}

bool
verdict_is_last(const struct verdict *verdict)
{
    return verdict->kind != VERDICT_WAIT && verdict->kind != VERDICT_ANEW;
}

struct policy *
engine_policy(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct policy *policy = policy_ref(engine->policy);
    pthread_mutex_unlock(&engine->lock);
    return policy;
}

bool
engine_policy_is(const struct engine *engine, const struct policy *policy)
{
    return policy && __atomic_load_n(&engine->policy, __ATOMIC_ACQUIRE) == policy;
}

void
engine_policy_unref(struct engine *engine, struct policy *policy)
{
    const bool newest = engine_policy_is(engine, policy);
    policy_unref(policy);
    if (newest || !policy) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    engine->policy_left = true;
    pthread_cond_signal(&engine->work_came);
    pthread_mutex_unlock(&engine->lock);
}

enum status
engine_set_policy(struct engine *engine, struct policy *policy, struct engine_error *error)
{
    pthread_mutex_lock(&engine->lock);
    while (engine->change.taken) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    engine->change = (struct policy_change){
        .taken = true, .asked = engine->thread_runs, .policy = policy, .error = error
    };
    pthread_cond_signal(&engine->work_came);
    while (!engine->change.done && engine->thread_runs) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    const struct policy_change change = engine->change;
    engine->change.taken = false;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_mutex_unlock(&engine->lock);
    if (!change.done) {
        policy_unref(policy);
        slice_to_cstr(SLICE("this gateway is stopping"), error->text, sizeof error->text);
        return STATUS_CLOSED;
    }
    return change.status;
}

int64_t
engine_streams_end_mono_ms(const struct engine *engine)
{
    const int64_t lease_mono_ms = __atomic_load_n(&engine->lease_mono_ms, __ATOMIC_ACQUIRE);
    /* What ending them may take, and what clocks may differ. */
    return lease_mono_ms == INT64_MAX ? INT64_MAX : lease_mono_ms - engine->shared.lease_ms / 10;
}

int64_t
engine_identity_version(const struct engine *engine)
{
    return __atomic_load_n(&engine->identity_version, __ATOMIC_ACQUIRE);
}

const unsigned char *
engine_signal_key(const struct engine *engine)
{
    return engine->signal_key;
}

int64_t
engine_epoch(const struct engine *engine)
{
    return engine->node.epoch;
}

void
engine_state(struct engine *engine, struct engine_state *state)
{
    pthread_mutex_lock(&engine->lock);
    *state = engine->state;
    if (engine->store_slow && state->store_ok) {
        state->store_ok = false;
        const char *error =
            engine->exclusive ? "its disk does not answer" : "its database does not answer";
        slice_to_cstr(slice_str(error), state->store_error, sizeof state->store_error);
    }
    state->queued = (int64_t)(engine->queue.count + engine->parked.count);
    state->waiting = __atomic_load_n(&engine->waiter_count, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&engine->lock);
}
