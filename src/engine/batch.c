/* engine/batch.c: one batch: rows in, decisions, rows out, commit, and only then the verdicts. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/trail.h"

#define STORE_RETRY_MS 200
#define LEASE_MS       (10 * SECOND_MS)

void
batch_frame(struct engine *engine)
{
    const int64_t now_ms = engine_now_ms(engine);
    work_end(&engine->work);
    arena_reset(&engine->arena);
    work_start(&engine->work, &engine->arena);
    engine->batch_wait_count = 0;
    engine->core = (struct core){ .policy = engine->policy,
        .policy_at = policy_of_version,
        .policy_user = engine,
        .work = &engine->work,
        .ids = &engine->ids,
        .learned = &engine->learned,
        .line_busy = lines_busy,
        .line_user = engine,
        .guesses = !engine->exclusive,
        .node_id = engine->node.node_id,
        .epoch = engine->node.epoch,
        .now_ms = now_ms };
    engine->node.batch_no++;
    engine->node.lease_until_ms = now_ms + LEASE_MS;
    engine->transaction_open = false;
    engine->cache_used = false;
    engine->overshoot_micros = 0;
}

enum status
batch_begin(struct engine *engine)
{
    batch_frame(engine);
    /* A store that failed is tried each time, whatever is asked of it. */
    return engine->exclusive && !engine->store_down ? STATUS_OK : batch_open(engine);
}

/* After somebody else's write: rows that were taken from the cache may be old ones. */
static enum status
distrust_cache(struct engine *engine)
{
    const int64_t foreign_writes = store_foreign_writes(engine->store);
    if (foreign_writes == engine->foreign_writes) {
        return STATUS_OK;
    }
    engine->foreign_writes = foreign_writes;
    cache_clear(&engine->cache);
    return engine->cache_used ? STATUS_CONFLICT : STATUS_OK;
}

enum status
batch_open(struct engine *engine)
{
    if (engine->transaction_open) {
        return STATUS_OK;
    }
    if (!engine->exclusive) {
        engine->shared.wants.count = 0;
        return shared_open(engine);
    }
    const enum status status = store_begin(engine->store, &engine->node);
    engine->transaction_open = status == STATUS_OK;
    return status == STATUS_OK ? distrust_cache(engine) : status;
}

void
batch_abandon(struct engine *engine)
{
    store_rollback(engine->store);
    if (!engine->exclusive) {
        return; /* what is kept only says which rows are needed */
    }
    cache_clear(&engine->cache); /* whatever it was: the store's rows are the truth */
}

void
batch_abandon_unwritten(struct engine *engine)
{
    store_rollback(engine->store);
    engine->transaction_open = false;
}

static enum status
write_slot(struct store *store, enum slot_kind kind, struct slot *slot)
{
    switch (kind) {
    case SLOTS_ACCOUNT:
        return store_account_put(store, &((struct account_slot *)(void *)slot)->row);
    case SLOTS_KEY: return store_key_put(store, &((struct key_slot *)(void *)slot)->row);
    case SLOTS_THREAD: {
        struct thread_row *row = &((struct thread_slot *)(void *)slot)->row;
        return slot->state == SLOT_DELETED ? store_thread_delete(store, row)
                                           : store_thread_put(store, row);
    }
    case SLOTS_SUBJECT: {
        struct subject_row *row = &((struct subject_slot *)(void *)slot)->row;
        return slot->state == SLOT_DELETED ? store_subject_delete(store, row)
                                           : store_subject_put(store, row);
    }
    case SLOTS_METER: {
        struct meter_row *row = &((struct meter_slot *)(void *)slot)->row;
        if (slot->state == SLOT_DELETED) {
            return store_meter_delete(store, row);
        }
        meter_row_check(row);
        return store_meter_put(store, row);
    }
    case SLOTS_REPORTED:
        return store_reported_put(store, &((struct reported_slot *)(void *)slot)->row);
    case SLOTS_HOLD: {
        const struct hold_row *row = &((struct hold_slot *)(void *)slot)->row;
        if (slot->state == SLOT_DELETED) {
            return store_hold_delete(store, row->hold_id);
        }
        hold_check(row);
        return slot->state == SLOT_NEW ? store_hold_insert(store, row)
                                       : store_hold_update(store, row);
    }
    case SLOTS_ISSUED: return store_issued_put(store, &((struct issued_slot *)(void *)slot)->row);
    case SLOTS_RECEIPT:
        return store_receipt_add(store, &((struct receipt_slot *)(void *)slot)->row);
    default: check(!"a kind of slot nobody writes");
    }
}

static enum status
write_rows(struct engine *engine)
{
    for (int kind = 0; kind < SLOT_KIND_COUNT; kind++) {
        for (struct slot *slot = engine->work.slots[kind].first; slot; slot = slot->next) {
            if (!slot->dirty || slot->state == SLOT_ABSENT) {
                continue;
            }
            const enum status status = write_slot(engine->store, (enum slot_kind)kind, slot);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    for (const struct ledger_node *node = engine->work.ledger_first; node; node = node->next) {
        const enum status status = store_ledger_add(engine->store, &node->row);
        if (status != STATUS_OK) {
            return status;
        }
    }
    for (const struct refusal_node *node = engine->work.refusal_first; node; node = node->next) {
        const enum status status = store_refusal_add(engine->store, &node->row);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return told_write(engine);
}

/* Providers keep what their ids stand for a month; who may use them is remembered for three. What was done under
 * an idempotency key is for a day: nobody asks again later than that. */
enum status
batch_sweep(struct engine *engine)
{
    const int64_t now_ms = engine->core.now_ms;
    const enum status status = store_issued_sweep(engine->store, now_ms - 90 * DAY_MS);
    return status == STATUS_OK ? store_receipt_sweep(engine->store, now_ms - RECEIPT_KEPT_MS)
                               : status;
}

static enum status
sweep_beside(struct engine *engine)
{
    const int64_t mono_ms = clock_mono_ms();
    if (!engine->exclusive || mono_ms < engine->sweep_mono_ms) {
        return STATUS_OK; /* of a shared store it is one gateway's job */
    }
    engine->sweep_mono_ms = mono_ms + HOUR_MS;
    return batch_sweep(engine);
}

static enum status
commit(struct engine *engine)
{
    const int64_t began_us = clock_mono_us();
    const enum status status = store_commit(engine->store);
    const int64_t took_us = clock_mono_us() - began_us;
    histogram_add(HISTOGRAM_COMMIT, took_us);
    trail_note(TRAIL_COMMIT, engine->node.batch_no, (int64_t)status, took_us);
    return status;
}

enum status
batch_end(struct engine *engine)
{
    if (engine->work.failed) {
        return STATUS_INVALID;
    }
    if (!work_has_writes(&engine->work) && !engine->store_down && !shared_due(engine)) {
        store_rollback(engine->store); /* nothing to keep: no commit is paid for */
        return STATUS_OK;
    }
    enum status status = batch_open(engine);
    if (status != STATUS_OK) {
        return status;
    }
    status = write_rows(engine);
    if (status == STATUS_OK && engine->overshoot_micros > engine->overshoot_kept_micros) {
        status = store_overshoot_raise(engine->store, engine->overshoot_micros);
    }
    const int64_t identity_version = engine->identity_version + 1;
    if (status == STATUS_OK && engine->work.identity_changed) {
        status = store_identity_bump(engine->store, identity_version);
    }
    if (status == STATUS_OK) {
        status = sweep_beside(engine);
    }
    if (status == STATUS_OK) {
        shared_tell(engine);
        status = commit(engine);
    }
    if (status == STATUS_NOT_FOUND || status == STATUS_EXISTS) {
        return STATUS_CONFLICT; /* somebody else wrote between our reads and this */
    }
    if (status != STATUS_OK) {
        return status;
    }
    cache_commit(&engine->cache, &engine->work);
    engine->overshoot_kept_micros =
        max_i64(engine->overshoot_kept_micros, engine->overshoot_micros);
    if (!engine->exclusive) {
        shared_committed(engine);
    }
    again_committed(engine);
    told_committed(engine);
    count_open_holds(engine);
    if (engine->work.identity_changed) {
        __atomic_store_n(&engine->identity_version, identity_version, __ATOMIC_RELEASE);
        lines_mark_all(engine); /* a key or an account that waits may be refused for good now */
    }
    counter_add(COUNTER_COMMITS, 1);
    pthread_mutex_lock(&engine->lock);
    engine->state.commits++;
    pthread_mutex_unlock(&engine->lock);
    return STATUS_OK;
}

/* Who waits was here first: later calls of this batch wait behind. */
static void
remember_wait(struct engine *engine, const struct verdict *verdict)
{
    engine->batch_waits[engine->batch_wait_count].limit_id = verdict->refusal.limit_id;
    engine->batch_waits[engine->batch_wait_count].subject_id = verdict->refusal.subject_id;
    engine->batch_wait_count++;
}

static enum status
decide_one(struct engine *engine, const struct queued *item, struct verdict *verdict)
{
    const enum status status = batch_load_event(
        engine, &item->event); /* also what an event before it brought into being */
    if (status != STATUS_OK) {
        return status;
    }
    engine->deciding = item->waiter;
    const bool usable = core_decide(&engine->core, &item->event, verdict);
    engine->deciding = NULL;
    if (!usable) {
        return STATUS_INVALID;
    }
    engine->overshoot_micros = max_i64(engine->overshoot_micros, verdict->overshoot_micros);
    again_decided(engine, item, verdict);
    if (verdict->kind == VERDICT_WAIT && !item->waiter) {
        remember_wait(engine, verdict);
    }
    return STATUS_OK;
}

static void
event_needs(struct engine *engine, uint32_t index, struct needs *needs)
{
    core_needs(&engine->core, &engine->batch[index].event, needs);
}

/* Whether somebody reads the books next. */
static bool
books_wanted(const struct engine *engine, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count && engine->kept_due_count > 0; i++) {
        const struct event *event = &engine->batch[i].event;
        if (event->kind == EVENT_IDENTIFY && event->identify.books) {
            return true;
        }
    }
    return false;
}

/* Loads, decides and commits batch[first .. first + count). */
static enum status
batch_try(struct engine *engine, uint32_t first, uint32_t count)
{
    const struct shared_items items = { .first = first, .count = count, .needs_of = event_needs };
    enum status status = engine->exclusive ? batch_begin(engine) : shared_begin(engine, &items);
    for (uint32_t i = first; status == STATUS_OK && i < first + count; i++) {
        status = decide_one(engine, &engine->batch[i], &engine->verdicts[i]);
    }
    engine->batch_wait_count = 0;
    const bool refusals = status == STATUS_OK
                          && refusals_due(engine,
                              work_has_writes(&engine->work) || books_wanted(engine, first, count));
    if (refusals) {
        refusals_write(engine);
    }
    if (status == STATUS_OK) {
        status = shared_look_at_subjects(engine);
    }
    if (status == STATUS_OK) {
        status = batch_end(engine);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
    }
    if (refusals) {
        refusals_written(engine, status == STATUS_OK);
    }
    if (refusals && status == STATUS_UNCERTAIN) {
        refusals_renumber(engine);
    }
    return status;
}

/* The core is pure, so a batch that met somebody else's write is run again. */
static enum status
batch_retry(struct engine *engine, uint32_t first, uint32_t count)
{
    enum status status = STATUS_CONFLICT;
    shared_forget_surprises(engine);
    for (int attempt = 0; attempt < CONFLICT_RETRIES && status == STATUS_CONFLICT; attempt++) {
        counter_add(COUNTER_BATCHES_RETRIED, attempt > 0);
        status = batch_try(engine, first, count);
        if (status == STATUS_CONFLICT) {
            shared_doubt_subjects(engine);
        }
        status = shared_recover(engine, status);
    }
    return status;
}

static void
answer_refused(struct engine *engine, struct queued *item, struct verdict *verdict)
{
    const enum reason reason = verdict->refusal.reason;
    const bool ours = reason == REASON_STORE_UNAVAILABLE || reason == REASON_DRAINING;
    const bool final = !verdict->may_count; /* else the same call comes again, counted */
    if (item->event.kind == EVENT_CALL && !ours && final) {
        verdict->refusal.ledger_id = refusals_note(engine, &item->event, &verdict->refusal);
    }
    if (final) {
        count_refused(&item->event);
    }
    if (item->waiter) {
        lines_leave(engine, item->waiter);
        item->waiter = NULL;
    }
    engine_post(engine, verdict);
    free(item->note);
    item->note = NULL;
}

/* Answers an event that was not decided. */
static void
refuse_item(struct engine *engine, struct queued *item, enum reason reason)
{
    struct verdict verdict = { .event = item->event.kind,
        .kind = VERDICT_REFUSED,
        .reply = item->event.reply,
        .refusal.reason = reason };
    answer_refused(engine, item, &verdict);
}

static void
release_one(struct engine *engine, struct queued *item, struct verdict *verdict)
{
    verdict->identity_version = engine->identity_version;
    if (verdict->kind == VERDICT_WAIT) {
        if (lines_wait(engine, item, verdict)) {
            return;
        }
        verdict->kind = VERDICT_REFUSED;
        if (item->waiter) { /* its time is over: its first reason is the one to tell */
            verdict->refusal = item->waiter->first.refusal;
        }
    }
    if (verdict->kind == VERDICT_REFUSED) {
        answer_refused(engine, item, verdict);
        return;
    }
    count_allowed(&item->event, verdict);
    if (item->doubt_ver && !verdict->booked) {
        count_doubtful_hold(engine, item->doubt_ver, -1); /* it was never made */
    }
    if (item->waiter) {
        lines_leave(engine, item->waiter);
        item->waiter = NULL;
    }
    engine_post(engine, verdict);
    free(item->note);
    item->note = NULL;
}

/* After the commit: verdicts leave, waiting calls wait, and those that wait for what moved try
 * again. */
static void
release(struct engine *engine, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        release_one(engine, &engine->batch[i], &engine->verdicts[i]);
    }
    told_shadows(engine);
    lines_mark(engine);
}

static void
store_failed(struct engine *engine, enum status status)
{
    engine->store_retry_mono_ms = clock_mono_ms() + STORE_RETRY_MS;
    counter_add(COUNTER_STORE_FAILURES, 1);
    counter_set(COUNTER_STORE_DOWN, 1);
    pthread_mutex_lock(&engine->lock);
    const bool was_ok = engine->state.store_ok;
    engine->store_down = true;
    engine->state.store_ok = false;
    slice_to_cstr(slice_str(store_last_error(engine->store)), engine->state.store_error,
        sizeof engine->state.store_error);
    pthread_mutex_unlock(&engine->lock);
    if (was_ok) {
        again_forget_all(engine); /* without a ledger another answer is due */
        log_line(LOG_ERROR, "engine",
            "the ledger cannot be written (%s): %s; new work is refused until it can",
            status_name(status), store_last_error(engine->store));
    }
}

static void
tell_trouble(struct engine *engine)
{
    const char *trouble = store_trouble(engine->store);
    const bool troubled = trouble[0] != '\0';
    if (troubled != engine->troubled) {
        engine->troubled = troubled;
        log_line(LOG_WARN, "engine", "%s", troubled ? trouble : "the store's trouble is over");
    }
}

static void
store_works(struct engine *engine)
{
    tell_trouble(engine);
    if (!engine->store_down) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    engine->store_down = false;
    engine->state.store_ok = true;
    engine->state.store_error[0] = '\0';
    pthread_mutex_unlock(&engine->lock);
    counter_set(COUNTER_STORE_DOWN, 0);
    shared_back(engine);
    log_line(LOG_INFO, "engine", "the ledger can be written again");
}

/* Whether the hold of this call was made cannot be told. Its caller is refused, and the settlement that gives
 * all of it back waits with the others: of a hold that was not made it does nothing. Until then it counts as open. */
static void
give_back_uncertain(
    struct engine *engine, const struct queued *asked, const struct verdict *verdict)
{
    struct queued item = { .queued_mono_ms = clock_mono_ms() };
    if (!verdict_untaken(verdict, &item.event)) {
        return;
    }
    if (asked->event.kind == EVENT_CALL) {
        item.doubt_ver = asked->event.call.policy_ver;
        count_doubtful_hold(engine, item.doubt_ver, 1);
    }
    engine_park(engine, &item);
}

/* The store cannot write: settlements are kept until it can, all else is answered. */
static void
refuse_range(struct engine *engine, uint32_t first, uint32_t count, bool uncertain)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct queued *item = &engine->batch[i];
        if (uncertain) {
            give_back_uncertain(engine, item, &engine->verdicts[i]);
        }
        if (item->event.kind == EVENT_SETTLE) {
            engine_park(engine, item);
        } else {
            refuse_item(engine, item, REASON_STORE_UNAVAILABLE);
        }
    }
}

/* A row that makes no sense poisons only its own event. */
static void
refuse_poisoned(struct engine *engine, struct queued *item)
{
    counter_add(COUNTER_EVENTS_DAMAGED, 1);
    if (item->event.kind == EVENT_SETTLE) {
        log_line(LOG_ERROR, "engine",
            "the settlement of req_%lld is not booked, its rows are damaged: %s",
            (long long)item->event.settle.hold_id, store_last_error(engine->store));
    } else {
        log_line(LOG_ERROR, "engine", "an event is refused, its rows are damaged: %s",
            store_last_error(engine->store));
    }
    refuse_item(engine, item, REASON_STORE_UNAVAILABLE);
}

static bool
status_is_of_rows(enum status status)
{
    return status == STATUS_INVALID || status == STATUS_CONFLICT;
}

static void
batch_one_by_one(struct engine *engine, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const enum status status = batch_retry(engine, i, 1);
        if (status == STATUS_OK) {
            store_works(engine);
            release(engine, i, 1);
        } else if (status == STATUS_CONFLICT && !engine->exclusive) {
            /* Others were always first: a settlement is tried again. */
            refuse_range(engine, i, 1, false);
        } else if (status_is_of_rows(status)) {
            refuse_poisoned(engine, &engine->batch[i]);
        } else {
            store_failed(engine, status);
            refuse_range(engine, i, 1, status == STATUS_UNCERTAIN);
            refuse_range(engine, i + 1, count - i - 1, false);
            return;
        }
    }
}

/* While closing nothing new starts, since nobody would take its verdict. Returns how many events
 * stay. */
static uint32_t
refuse_new_work(struct engine *engine, uint32_t count)
{
    if (!engine->closing) {
        return count;
    }
    uint32_t stay = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (event_starts_work(&engine->batch[i].event)) {
            refuse_item(engine, &engine->batch[i], REASON_DRAINING);
        } else {
            engine->batch[stay++] = engine->batch[i];
        }
    }
    return stay;
}

void
batch_refuse_all(struct engine *engine, uint32_t count)
{
    const uint32_t stay = refuse_new_work(engine, count);
    refuse_range(engine, 0, stay, false);
    lines_turn(engine);
}

static enum status
batch_counted(struct engine *engine, uint32_t count)
{
    const int64_t trips_before = store_costs(engine->store).round_trips;
    const enum status status = batch_retry(engine, 0, count);
    if (!engine->exclusive && count > 0) {
        histogram_add(HISTOGRAM_BATCH_TRIPS, store_costs(engine->store).round_trips - trips_before);
    }
    return status;
}

static void
batch_write(struct engine *engine, uint32_t count)
{
    const enum status status = batch_counted(engine, count);
    if (status == STATUS_OK) {
        store_works(engine);
        release(engine, 0, count);
    } else if (status_is_of_rows(status)) {
        batch_one_by_one(engine, count);
    } else {
        store_failed(engine, status);
        refuse_range(engine, 0, count, status == STATUS_UNCERTAIN);
    }
}

void
batch_run(struct engine *engine, uint32_t count)
{
    const uint32_t stay = refuse_new_work(engine, count);
    if (stay > 0 || engine->store_down || refusals_due(engine, false) || shared_due(engine)) {
        batch_write(engine, stay);
    }
    lines_turn(engine);
}
