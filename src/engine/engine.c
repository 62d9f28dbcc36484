/* engine/engine.c: the queue, the thread, the boxes of verdicts. */
#include "engine/engine_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "log/log.h"

static struct queued *
queue_at(struct engine *engine, size_t index)
{
    return &engine->queue[(engine->queue_head + index) % engine->queue_cap];
}

static bool
queue_grow(struct engine *engine)
{
    const size_t cap = engine->queue_cap ? engine->queue_cap * 2 : 1024;
    struct queued *ring = calloc(cap, sizeof *ring);
    if (!ring) {
        return false;
    }
    for (size_t i = 0; i < engine->queue_count; i++) {
        ring[i] = *queue_at(engine, i);
    }
    free(engine->queue);
    engine->queue = ring;
    engine->queue_cap = cap;
    engine->queue_head = 0;
    return true;
}

/* What may wait for company before a commit is paid for it. */
static bool
event_is_lazy(const struct event *event)
{
    return event->kind == EVENT_SETTLE || event->kind == EVENT_TICK;
}

static bool
queue_push(struct engine *engine, const struct queued *item, bool front)
{
    if (engine->queue_count == engine->queue_cap && !queue_grow(engine)) {
        return false;
    }
    if (front) {
        engine->queue_head = (engine->queue_head + engine->queue_cap - 1) % engine->queue_cap;
        engine->queue[engine->queue_head] = *item;
        engine->queue_count++;
    } else {
        engine->queue_count++;
        *queue_at(engine, engine->queue_count - 1) = *item;
    }
    if (!event_is_lazy(&item->event)) {
        engine->urgent_count++;
    }
    return true;
}

bool
engine_submit(struct engine *engine, const struct event *event)
{
    struct queued item = { .event = *event, .queued_mono_ms = clock_mono_ms() };
    if (event->kind == EVENT_ADMIN && event->admin.note.len) {
        item.note = malloc(event->admin.note.len);
        if (!item.note) {
            return false;
        }
        memcpy(item.note, event->admin.note.ptr, event->admin.note.len);
        item.event.admin.note.ptr = item.note;
    }
    pthread_mutex_lock(&engine->lock);
    const bool new_work = event->kind == EVENT_CALL || event->kind == EVENT_IDENTIFY;
    bool taken = !(new_work && engine->queue_count >= ENGINE_QUEUE_MAX);
    taken = taken && queue_push(engine, &item, false);
    if (taken && (engine->queue_count == 1 || engine->urgent_count == 1)) {
        pthread_cond_signal(&engine->work_came);
    }
    pthread_mutex_unlock(&engine->lock);
    if (!taken) {
        free(item.note);
    }
    return taken;
}

void
engine_requeue(struct engine *engine, const struct queued *item)
{
    pthread_mutex_lock(&engine->lock);
    const bool pushed = queue_push(engine, item, true);
    pthread_mutex_unlock(&engine->lock);
    if (!pushed) {
        log_line(LOG_ERROR, "engine", "no memory to keep a settlement: its hold stays open until the next start");
    }
}

void
engine_queue_waiter(struct engine *engine, struct waiter *waiter)
{
    const struct queued item = { .event = waiter->event, .waiter = waiter, .queued_mono_ms = clock_mono_ms() };
    pthread_mutex_lock(&engine->lock);
    waiter->queued = queue_push(engine, &item, false);
    pthread_mutex_unlock(&engine->lock);
}

void
engine_post(struct engine *engine, const struct verdict *verdict)
{
    if (verdict->reply.loop >= engine->loop_count) {
        return;
    }
    struct outbox *box = &engine->outboxes[verdict->reply.loop];
    pthread_mutex_lock(&box->lock);
    if (box->count == box->cap) {
        const uint32_t cap = box->cap ? box->cap * 2 : 64;
        struct verdict *grown = realloc(box->verdicts, cap * sizeof *grown);
        check(grown); /* bounded by calls in flight; without it calls would hang for ever */
        box->verdicts = grown;
        box->cap = cap;
    }
    box->verdicts[box->count++] = *verdict;
    const bool first = box->count == 1;
    pthread_mutex_unlock(&box->lock);
    if (first && engine->wake) {
        engine->wake(engine->wake_user, verdict->reply.loop);
    }
}

uint32_t
engine_take(struct engine *engine, uint32_t loop, struct verdict *out, uint32_t max)
{
    struct outbox *box = &engine->outboxes[loop];
    pthread_mutex_lock(&box->lock);
    const uint32_t taken = box->count < max ? box->count : max;
    if (taken) {
        memcpy(out, box->verdicts, taken * sizeof *out);
        memmove(box->verdicts, box->verdicts + taken, (box->count - taken) * sizeof *out);
        box->count -= taken;
    }
    pthread_mutex_unlock(&box->lock);
    return taken;
}

/* How long the thread may sleep: until a settlement has waited for company long enough, a waiting call's
 * deadline, kept refusals are due, or a broken store is to be tried again. Milliseconds, -1 = for ever. */
static int64_t
sleep_ms(struct engine *engine, int64_t mono_ms)
{
    int64_t sleep = -1;
    if (engine->queue_count) {
        const int64_t waited = mono_ms - queue_at(engine, 0)->queued_mono_ms;
        sleep = engine->store_down ? max_i64(0, engine->store_retry_mono_ms - mono_ms)
                                   : max_i64(0, ENGINE_COMPANY_MS - waited);
        if (engine->urgent_count || engine->stopping) {
            sleep = 0;
        }
    }
    const int64_t deadline_ms = lines_next_deadline_ms(engine);
    if (deadline_ms) {
        const int64_t until = max_i64(1, deadline_ms - clock_wall_ms());
        sleep = sleep < 0 ? until : min_i64(sleep, until);
    }
    if (engine->kept_dirty) {
        const int64_t until = max_i64(1, engine->kept_flush_mono_ms - mono_ms);
        sleep = sleep < 0 ? until : min_i64(sleep, until);
    }
    return sleep;
}

/* Called under the lock; returns with it held. */
static void
wait_for_work(struct engine *engine)
{
    while (!engine->stopping && !engine->next_policy) {
        const int64_t mono_ms = clock_mono_ms();
        const int64_t sleep = sleep_ms(engine, mono_ms);
        if (sleep == 0) {
            return;
        }
        if (sleep < 0) {
            pthread_cond_wait(&engine->work_came, &engine->lock);
            continue;
        }
        struct timespec until;
        const int64_t until_ms = mono_ms + sleep;
        until.tv_sec = until_ms / 1000;
        until.tv_nsec = (long)(until_ms % 1000) * 1000000L;
        if (pthread_cond_timedwait(&engine->work_came, &engine->lock, &until) == ETIMEDOUT) {
            return;
        }
    }
}

static uint32_t
take_batch(struct engine *engine)
{
    uint32_t count = 0;
    while (count < ENGINE_BATCH_MAX && engine->queue_count) {
        engine->batch[count++] = *queue_at(engine, 0);
        if (!event_is_lazy(&engine->batch[count - 1].event)) {
            engine->urgent_count--;
        }
        engine->queue_head = (engine->queue_head + 1) % engine->queue_cap;
        engine->queue_count--;
    }
    engine->state.batches += count > 0;
    engine->state.events += count;
    return count;
}

static void
take_policy(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct policy *next = engine->next_policy;
    pthread_mutex_unlock(&engine->lock);
    if (!next) {
        return;
    }
    struct engine_error error;
    const enum status status = adopt_policy(engine, next, &error);
    if (status != STATUS_OK) {
        log_line(LOG_ERROR, "engine", "new configuration not taken: %s", error.text);
        policy_unref(next);
    }
    pthread_mutex_lock(&engine->lock);
    engine->next_policy = NULL;
    engine->next_policy_status = status;
    engine->next_policy_done = true;
    pthread_cond_broadcast(&engine->policy_done);
    pthread_mutex_unlock(&engine->lock);
}

/* The loops have ended: a call allowed for one of them never left, so all of it is given back. */
static bool
give_back_undelivered(struct engine *engine)
{
    bool any = false;
    for (uint32_t i = 0; i < engine->loop_count; i++) {
        struct outbox *box = &engine->outboxes[i];
        pthread_mutex_lock(&box->lock);
        for (uint32_t k = 0; k < box->count; k++) {
            struct queued item = { .event = { .kind = EVENT_SETTLE } };
            if (!verdict_untaken(&box->verdicts[k], &item.event)) {
                continue;
            }
            pthread_mutex_lock(&engine->lock);
            any |= queue_push(engine, &item, false);
            pthread_mutex_unlock(&engine->lock);
        }
        box->count = 0;
        pthread_mutex_unlock(&box->lock);
    }
    return any;
}

static void *
engine_thread(void *arg)
{
    struct engine *engine = arg;
    for (;;) {
        pthread_mutex_lock(&engine->lock);
        wait_for_work(engine);
        const bool stop = engine->stopping && engine->queue_count == 0;
        const bool broken = engine->store_down && clock_mono_ms() < engine->store_retry_mono_ms;
        const uint32_t count = take_batch(engine);
        pthread_mutex_unlock(&engine->lock);
        take_policy(engine);
        if (broken && !engine->stopping) {
            batch_refuse_all(engine, count);
        } else {
            batch_run(engine, count);
        }
        drop_unused_policies(engine);
        pthread_mutex_lock(&engine->lock);
        const bool give_up = engine->stopping && engine->store_down;
        pthread_mutex_unlock(&engine->lock);
        if (give_up || (stop && !give_back_undelivered(engine))) {
            break; /* what could not be written stays an open hold: the next start books it */
        }
    }
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
    engine->wake = options->wake;
    engine->wake_user = options->wake_user;
    engine->loop_count = options->loop_count;
    engine->outboxes = boxes;
    list_init(&engine->line_list);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->work_came, &monotonic);
    pthread_cond_init(&engine->policy_done, NULL);
    pthread_condattr_destroy(&monotonic);
    for (uint32_t i = 0; i < options->loop_count; i++) {
        pthread_mutex_init(&boxes[i].lock, NULL);
    }
    engine->state.store_ok = true;
    *out = engine;
    return STATUS_OK;
}

static void
engine_free(struct engine *engine)
{
    lines_free(engine);
    for (size_t i = 0; i < engine->queue_count; i++) {
        free(queue_at(engine, i)->note);
    }
    for (uint32_t i = 0; i < engine->loop_count; i++) {
        free(engine->outboxes[i].verdicts);
        pthread_mutex_destroy(&engine->outboxes[i].lock);
    }
    for (size_t i = 0; i < countof(engine->older); i++) {
        policy_unref(engine->older[i]);
    }
    policy_unref(engine->policy);
    arena_free(&engine->arena);
    pthread_cond_destroy(&engine->work_came);
    pthread_cond_destroy(&engine->policy_done);
    pthread_mutex_destroy(&engine->lock);
    free(engine->outboxes);
    free(engine->queue);
    free(engine);
}

enum status
engine_open(const struct engine_options *options, struct engine **out, struct engine_error *error)
{
    struct engine *engine = NULL;
    enum status status = engine_make(options, &engine);
    if (status != STATUS_OK) {
        slice_to_cstr(SLICE("no memory for the engine"), error->text, sizeof error->text);
        policy_unref(options->policy);
        return status;
    }
    status = start_epoch(engine, error);
    if (status == STATUS_OK) {
        status = adopt_policy(engine, options->policy, error);
    }
    if (status != STATUS_OK) {
        policy_unref(options->policy);
        engine_free(engine);
        return status;
    }
    status = start_close_orphans(engine, error);
    if (status == STATUS_OK && pthread_create(&engine->thread, NULL, engine_thread, engine) != 0) {
        slice_to_cstr(SLICE("cannot start the engine's thread"), error->text, sizeof error->text);
        status = STATUS_FULL;
    }
    if (status != STATUS_OK) {
        engine_free(engine);
        return status;
    }
    engine->thread_runs = true;
    *out = engine;
    return STATUS_OK;
}

void
engine_close(struct engine *engine)
{
    if (!engine) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_cond_signal(&engine->work_came);
    pthread_mutex_unlock(&engine->lock);
    pthread_join(engine->thread, NULL);
    engine_free(engine);
}

bool
verdict_untaken(const struct verdict *verdict, struct event *settle)
{
    if (verdict->event != EVENT_CALL || verdict->kind != VERDICT_ALLOWED || !verdict->hold_id) {
        return false;
    }
    *settle = (struct event){ .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    settle->settle.hold_id = verdict->hold_id;
    settle->settle.usage = USAGE_NONE;
    settle->settle.input_tokens_seen = -1;
    settle->settle.flags = LEDGER_CLIENT_GONE;
    return true;
}

struct policy *
engine_policy(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct policy *policy = policy_ref(engine->policy);
    pthread_mutex_unlock(&engine->lock);
    return policy;
}

enum status
engine_set_policy(struct engine *engine, struct policy *policy, struct engine_error *error)
{
    pthread_mutex_lock(&engine->lock);
    while (engine->next_policy) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    engine->next_policy = policy;
    engine->next_policy_done = false;
    pthread_cond_signal(&engine->work_came);
    while (!engine->next_policy_done) {
        pthread_cond_wait(&engine->policy_done, &engine->lock);
    }
    const enum status status = engine->next_policy_status;
    pthread_mutex_unlock(&engine->lock);
    if (status != STATUS_OK) {
        slice_to_cstr(SLICE("the store could not give new limits their ids; the old configuration stays"),
            error->text, sizeof error->text);
    }
    return status;
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
    state->queued = (int64_t)engine->queue_count;
    state->waiting = __atomic_load_n(&engine->waiter_count, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&engine->lock);
}
