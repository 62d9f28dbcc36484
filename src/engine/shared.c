/* engine/shared.c: a batch on a store that other gateways write to as well (DESIGN sections 3 and 8).
 *
 * A row that was seen before says which rows are needed, never what they hold now. So the needs of a whole
 * batch are found out first, mostly without asking anybody; then all rows that others may change are locked
 * and read in one go, in the store's order, and only then is anything decided. Accounts, keys and subjects
 * (the caps that are set for them) are as of a version that is read with them. Whatever was not foreseen
 * makes the batch run again, with what was learned. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

#define DISCOVERY_ROUNDS 5
#define LINES_POLL_MS    1000 /* what others tell may be lost with a connection */

/* --- Lists of needs. */

static void
wish(struct wishes *wishes, const struct need *need)
{
    if (wishes->count == wishes->cap) {
        const size_t cap = wishes->cap ? wishes->cap * 2 : 256;
        struct need *items = realloc(wishes->items, cap * sizeof *items);
        if (!items) {
            wishes->failed = true;
            return;
        }
        wishes->items = items;
        wishes->cap = cap;
    }
    wishes->items[wishes->count++] = *need;
}

static void
wishes_clear(struct wishes *wishes)
{
    wishes->count = 0;
    wishes->failed = false;
}

static int
order_needs(const void *left, const void *right)
{
    const struct need *a = left;
    const struct need *b = right;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->sub_kind != b->sub_kind) {
        return a->sub_kind < b->sub_kind ? -1 : 1;
    }
    if (a->id != b->id) {
        return a->id < b->id ? -1 : 1;
    }
    return strcmp(a->text, b->text);
}

/* Many events of a batch may ask for the same row. */
static void
wishes_once(struct wishes *wishes)
{
    if (wishes->count < 2) {
        return;
    }
    qsort(wishes->items, wishes->count, sizeof *wishes->items, order_needs);
    size_t kept = 1;
    for (size_t i = 1; i < wishes->count; i++) {
        if (order_needs(&wishes->items[kept - 1], &wishes->items[i]) != 0) {
            wishes->items[kept++] = wishes->items[i];
        }
    }
    wishes->count = kept;
}

void
shared_free(struct shared *shared)
{
    free(shared->asks.items);
    free(shared->wants.items);
    free(shared->surprises.items);
}

/* --- Which rows: the scratch work holds what is known of them. */

bool
need_is_locked(enum need_kind kind)
{
    return kind == NEED_THREAD || kind == NEED_THREAD_SIG || kind == NEED_METER
           || kind == NEED_HOLD;
}

bool
need_moves(enum need_kind kind)
{
    return need_is_locked(kind) || kind == NEED_REPORTED;
}

/* A thread that is known is asked for by its number: all gateways lock threads in the order of those. */
static void
want_thread(struct engine *engine, const struct need *need)
{
    const struct thread_slot *thread =
        work_thread_sig(&engine->work, need->id, (enum thread_kind)need->sub_kind, need->text);
    if (!thread || thread->slot.state == SLOT_ABSENT) {
        wish(&engine->shared.wants, need);
        return;
    }
    const struct need by_id = { .kind = NEED_THREAD, .id = thread->row.thread_id };
    wish(&engine->shared.wants, &by_id);
}

static void
want(struct engine *engine, const struct need *need)
{
    if (need->kind == NEED_THREAD_SIG) {
        want_thread(engine, need);
    } else {
        wish(&engine->shared.wants, need);
    }
}

/* False: it must be asked for first, since other needs hang on it. */
static bool
foresee(struct engine *engine, const struct need *need)
{
    /* Not so a thread: taken for absent here it would hide the one that a call of the batch finds by its
     * signal, and the batch would conflict with itself at each try. */
    const bool leads_on = need->kind != NEED_METER && need->kind != NEED_ISSUED
                          && need->kind != NEED_RECEIPT && need->kind != NEED_REPORTED
                          && need->kind != NEED_SUBJECT_ID;
    if (!leads_on) { /* what is in it names no other row */
        work_load(&engine->work, need, NULL);
        wish(&engine->shared.wants, need);
        return true;
    }
    if (!cache_load(&engine->cache, need, &engine->work)) {
        wish(&engine->shared.asks, need);
        return false;
    }
    if (need_is_locked(need->kind)) {
        want(engine, need);
    }
    return true;
}

/* As far as it goes without asking. */
static void
foresee_item(struct engine *engine, const struct shared_items *items, uint32_t index)
{
    for (int round = 0; round < DISCOVERY_ROUNDS; round++) {
        struct needs needs;
        needs.count = 0;
        needs.overflow = false;
        items->needs_of(engine, items->first + index, &needs);
        check(!needs.overflow);
        bool all_known = true;
        for (int32_t i = 0; i < needs.count; i++) {
            all_known &= foresee(engine, &needs.items[i]);
        }
        if (needs.count == 0 || !all_known) {
            return;
        }
    }
}

static void
take_hint(void *user, const struct need *need, const union need_row *row)
{
    struct engine *engine = user;
    if (need->kind == NEED_TREE) {
        const struct need subject = { .kind = NEED_SUBJECT };
        if (row) {
            cache_keep(&engine->cache, &subject, row);
        }
        return;
    }
    batch_take_row(engine, need, row);
    if (!row || need_is_locked(need->kind)) {
        want(engine, need); /* what is not there may come before we lock */
    }
}

/* The tree of a thread is named by its root, so it would be asked for only when the thread is known: one way
 * there and back more. */
static void
ask_for_trees(struct wishes *asks)
{
    const size_t count = asks->count;
    for (size_t i = 0; i < count; i++) {
        if (asks->items[i].kind == NEED_THREAD_SIG) {
            struct need tree = asks->items[i];
            tree.kind = NEED_TREE;
            wish(asks, &tree);
        }
    }
}

static enum status
ask(struct engine *engine)
{
    struct wishes *asks = &engine->shared.asks;
    wishes_once(asks);
    ask_for_trees(asks);
    enum status status = asks->failed ? STATUS_FULL : store_begin_read(engine->store);
    if (status == STATUS_OK) {
        status = store_load(engine->store, asks->items, asks->count, false, take_hint, engine);
        store_rollback(engine->store);
    }
    return status == STATUS_OK && engine->work.failed ? STATUS_INVALID : status;
}

static struct need
need_of_subject(const struct subject_row *row)
{
    struct need need = {
        .kind = NEED_SUBJECT, .sub_kind = (int32_t)row->kind, .id = row->account_id
    };
    memcpy(need.text, row->name, sizeof need.text);
    return need;
}

static void
take_known(void *user, const struct need *need, const union need_row *row)
{
    struct engine *engine = user;
    const struct subject_slot *slot =
        work_subject(&engine->work, (enum subject_kind)need->sub_kind, need->id, need->text);
    engine->shared.surprised |= !row || row->subject.subject_id != slot->row.subject_id;
}

/* Subjects that other gateways may have swept; none where nothing is swept. */
static struct slot *
subjects_in_doubt(struct engine *engine)
{
    const bool swept = !engine->exclusive && engine->policy->retention_threads_ms > 0;
    return swept ? engine->work.slots[SLOTS_SUBJECT].first : NULL;
}

/* What is charged to a subject that was swept the store does not take; what is refused is written nowhere. */
enum status
shared_look_at_subjects(struct engine *engine)
{
    struct wishes *asks = &engine->shared.asks;
    const struct slot *first = subjects_in_doubt(engine);
    wishes_clear(asks);
    for (const struct slot *slot = first; slot; slot = slot->next) {
        const struct subject_row *row = &((const struct subject_slot *)(const void *)slot)->row;
        const struct meter_slot *meters =
            slot->state == SLOT_STORED ? work_meter(&engine->work, row->subject_id) : NULL;
        if (meters && meters->slot.state == SLOT_ABSENT) {
            const struct need need = need_of_subject(row);
            wish(asks, &need);
        }
    }
    if (asks->count == 0) {
        return STATUS_OK;
    }
    engine->shared.surprised = false;
    const enum status status = asks->failed ? STATUS_FULL
                                            : store_load(engine->store, asks->items, asks->count,
                                                false, take_known, engine);
    return status == STATUS_OK && engine->shared.surprised ? STATUS_CONFLICT : status;
}

/* Whose meters there were none of, or whose caps were written: what is kept of it may be older than its end. */
void
shared_doubt_subjects(struct engine *engine)
{
    for (const struct slot *slot = subjects_in_doubt(engine); slot; slot = slot->next) {
        const struct subject_row *row = &((const struct subject_slot *)(const void *)slot)->row;
        const struct meter_slot *meters =
            slot->state == SLOT_STORED ? work_meter(&engine->work, row->subject_id) : NULL;
        if (slot->state == SLOT_STORED
            && (slot->dirty || (meters && meters->slot.state != SLOT_STORED))) {
            const struct need need = need_of_subject(row);
            cache_forget(&engine->cache, &need);
        }
    }
}

void
shared_forget_surprises(struct engine *engine)
{
    wishes_clear(&engine->shared.surprises);
}

/* A thread among them is asked for like any other: one that is there is locked by its number. */
static void
foresee_surprises(struct engine *engine)
{
    struct wishes *surprises = &engine->shared.surprises;
    wishes_once(surprises);
    for (size_t i = 0; i < surprises->count; i++) {
        (void)foresee(engine, &surprises->items[i]);
    }
}

static enum status
discover(struct engine *engine, const struct shared_items *items)
{
    struct shared *shared = &engine->shared;
    wishes_clear(&shared->wants);
    for (int round = 0; round < DISCOVERY_ROUNDS; round++) {
        wishes_clear(&shared->asks);
        if (round == 0) {
            foresee_surprises(engine);
        }
        for (uint32_t i = 0; i < items->count; i++) {
            foresee_item(engine, items, i);
        }
        if (shared->asks.count == 0) {
            break;
        }
        const enum status status = ask(engine);
        if (status != STATUS_OK) {
            return status;
        }
    }
    wishes_once(&shared->wants);
    return shared->wants.failed ? STATUS_FULL : STATUS_OK;
}

/* --- The rows themselves, in the transaction. */

static void
take_locked(void *user, const struct need *need, const union need_row *row)
{
    struct engine *engine = user;
    batch_take_row(engine, need, row);
    if (!row) { /* it went meanwhile: what is kept would be foreseen again at each try */
        cache_forget(&engine->cache, need);
    } else if (need->kind == NEED_THREAD_SIG) { /* it came: what hangs on it was not foreseen */
        engine->shared.surprised = true;
    }
}

enum status
shared_load_late(struct engine *engine, const struct need *need)
{
    const bool locked = need_is_locked(need->kind);
    const enum status status = store_load(engine->store, need, 1, locked, take_locked, engine);
    if (locked && status == STATUS_CONFLICT) {
        wish(&engine->shared.surprises, need); /* the next try begins with it */
    }
    return status == STATUS_OK && engine->shared.surprised ? STATUS_CONFLICT : status;
}

/* Others' changes of accounts, keys and set caps: what is kept of them is as of another version. */
static enum status
look_at_identity(struct engine *engine)
{
    int64_t version = 0;
    const enum status status = store_identity_version(engine->store, &version);
    if (status != STATUS_OK || version == engine->identity_version) {
        return status;
    }
    cache_clear(&engine->cache);
    __atomic_store_n(&engine->identity_version, version, __ATOMIC_RELEASE);
    again_forget_all(engine);
    lines_mark_all(engine); /* who waits may be refused for good now */
    return STATUS_CONFLICT;
}

static void
look_at_clock(struct engine *engine)
{
    const int64_t now_ms = store_now_ms(engine->store);
    if (now_ms > 0) {
        clock_of_database(engine, now_ms);
    }
    engine->core.now_ms = engine_now_ms(engine);
}

enum status
shared_open(struct engine *engine)
{
    struct shared *shared = &engine->shared;
    shared->surprised = false;
    engine->node.waiting_count = engine->waiter_count;
    enum status status = store_begin(engine->store, &engine->node);
    engine->transaction_open = status == STATUS_OK;
    if (status == STATUS_OK) {
        status = store_load(
            engine->store, shared->wants.items, shared->wants.count, true, take_locked, engine);
    }
    if (status == STATUS_OK) {
        look_at_clock(engine);
        status = look_at_identity(engine);
    }
    if (status == STATUS_OK && engine->work.failed) {
        status = STATUS_INVALID;
    }
    return status == STATUS_OK && shared->surprised ? STATUS_CONFLICT : status;
}

enum status
shared_begin(struct engine *engine, const struct shared_items *items)
{
    batch_frame(engine);
    const enum status status = discover(engine, items);
    if (status != STATUS_OK) {
        return status;
    }
    batch_frame(engine);
    return shared_open(engine);
}

/* --- The commit, and what others hear of it. */

static bool
lease_is_short(const struct engine *engine)
{
    const int64_t left_ms = store_lease_mono_ms(engine->store) - clock_mono_ms();
    return left_ms < engine->shared.lease_ms / 4 * 3;
}

bool
shared_due(const struct engine *engine)
{
    return !engine->exclusive
           && (lease_is_short(engine) || (engine->waiter_count > 0) != engine->shared.told_waiting);
}

void
shared_back(struct engine *engine)
{
    engine->shared.jobs_mono_ms = clock_mono_ms() + engine->shared.lease_ms;
}

void
shared_tell(struct engine *engine)
{
    if (engine->exclusive || store_others_waiting(engine->store) == 0) {
        return;
    }
    for (const struct slot *slot = engine->work.slots[SLOTS_METER].first; slot; slot = slot->next) {
        const struct meter_row *row = &((const struct meter_slot *)(const void *)slot)->row;
        for (int32_t i = 0; slot->dirty && i < row->meter_count; i++) {
            store_tell(engine->store, row->meters[i].limit_id, row->subject_id);
        }
    }
}

void
shared_committed(struct engine *engine)
{
    engine->shared.told_waiting = engine->node.waiting_count > 0;
    __atomic_store_n(&engine->lease_mono_ms, store_lease_mono_ms(engine->store), __ATOMIC_RELEASE);
}

/* From the store's thread. */
static void
on_told(void *user, int64_t limit_id, int64_t subject_id)
{
    struct engine *engine = user;
    (void)limit_id;
    (void)subject_id;
    pthread_mutex_lock(&engine->lock);
    engine->told = true;
    engine->sleeping = false;
    pthread_mutex_unlock(&engine->lock);
    pthread_cond_signal(&engine->work_came);
}

void
shared_listen(struct engine *engine)
{
    struct store_error error;
    if (!engine->exclusive && store_listen(engine->store, on_told, engine, &error) != STATUS_OK) {
        log_line(LOG_WARN, "engine", "news of other gateways are not heard: %s", error.text);
    }
}

/* --- What time brings. */

int64_t
shared_sleep_ms(const struct engine *engine, int64_t mono_ms)
{
    if (engine->exclusive || engine->store_down || engine->closing) {
        return -1;
    }
    const bool waits_unknown = engine->waiter_count > 0 && !engine->shared.told_waiting;
    if (engine->told || waits_unknown) {
        return 0;
    }
    const int64_t renew_ms = engine->lease_mono_ms - engine->shared.lease_ms / 4 * 3 + 1;
    int64_t until_ms = min_i64(engine->shared.jobs_mono_ms, renew_ms);
    if (engine->waiter_count > 0) {
        until_ms = min_i64(until_ms, engine->shared.lines_mono_ms);
    }
    return max_i64(0, until_ms - mono_ms);
}

static void
poll_lines(struct engine *engine, int64_t mono_ms)
{
    pthread_mutex_lock(&engine->lock);
    const bool told = engine->told;
    engine->told = false;
    pthread_mutex_unlock(&engine->lock);
    if (told || mono_ms >= engine->shared.lines_mono_ms) {
        engine->shared.lines_mono_ms = mono_ms + LINES_POLL_MS;
        lines_mark_all(engine);
    }
}

static void
orphan_needs(struct engine *engine, uint32_t index, struct needs *needs)
{
    core_orphan_needs(&engine->core, engine->shared.orphan_ids[index], needs);
}

/* It stays, is met again every time, and told once. */
static void
leave_orphan(struct engine *engine, int64_t hold_id)
{
    if (hold_id > engine->shared.left_id) {
        engine->shared.left_id = hold_id;
        orphan_left(engine, hold_id);
    }
}

/* The next orphans after *after; 0: no more. What cannot be read is passed by. */
static enum status
find_orphans(struct engine *engine, int64_t *after, uint32_t *count)
{
    *count = 0;
    enum status status = store_begin_read(engine->store);
    while (status == STATUS_OK && *count < ORPHANS_A_BATCH) {
        struct hold_row hold = { 0 };
        status = store_hold_orphan(engine->store, *after, &hold);
        if (status == STATUS_OK) {
            const struct need need = { .kind = NEED_HOLD, .id = hold.hold_id };
            cache_keep(&engine->cache, &need, &hold);
            engine->shared.orphan_ids[(*count)++] = hold.hold_id;
        } else if (status == STATUS_INVALID && hold.hold_id > *after) {
            leave_orphan(engine, hold.hold_id);
            status = STATUS_OK;
        }
        *after = max_i64(*after, hold.hold_id);
    }
    store_rollback(engine->store);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
close_orphans_once(struct engine *engine, uint32_t first, uint32_t count)
{
    const struct shared_items items = { .first = first, .count = count, .needs_of = orphan_needs };
    enum status status = shared_begin(engine, &items);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        status = orphan_close(engine, engine->shared.orphan_ids[first + i], &engine->verdicts[i]);
    }
    if (status == STATUS_OK) {
        status = batch_end(engine);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
    }
    return status;
}

/* Two gateways at it do no harm: the row of a hold goes once. One is enough. */
static enum status
close_orphans_of(struct engine *engine, uint32_t first, uint32_t count, int64_t *booked)
{
    enum status status = STATUS_CONFLICT;
    shared_forget_surprises(engine);
    for (int tries = 0; tries < CONFLICT_RETRIES && status == STATUS_CONFLICT; tries++) {
        status = close_orphans_once(engine, first, count);
    }
    if (status == STATUS_OK) {
        *booked += orphans_booked(engine, count);
    }
    return status;
}

/* As many as a batch may have, so that calls do not wait for all of them. *more: it is worth another turn. */
static enum status
close_orphans(struct engine *engine, bool *more)
{
    int64_t after = 0;
    int64_t booked = 0;
    uint32_t count = 0;
    enum status status = find_orphans(engine, &after, &count);
    if (status == STATUS_OK && count > 0) {
        status = close_orphans_of(engine, 0, count, &booked);
    }
    for (uint32_t i = 0; status == STATUS_INVALID && count > 1 && i < count; i++) {
        const enum status alone = close_orphans_of(engine, i, 1, &booked);
        if (alone == STATUS_INVALID) { /* a row of its own makes no sense */
            leave_orphan(engine, engine->shared.orphan_ids[i]);
        } else if (alone != STATUS_OK) {
            status = alone;
        }
    }
    if (booked > 0) {
        lines_mark_all(engine);
        log_line(LOG_WARN, "engine", "%lld calls of a gateway that is gone are booked as orphaned",
            (long long)booked);
    }
    *more = booked > 0 && count == ORPHANS_A_BATCH;
    return status == STATUS_INVALID ? STATUS_OK : status;
}

static enum status
take_job(struct engine *engine, const char *name, int64_t for_ms, bool *taken)
{
    batch_frame(engine);
    wishes_clear(&engine->shared.wants);
    enum status status = shared_open(engine);
    if (status == STATUS_OK) {
        status = store_job_take(engine->store, name, engine->core.now_ms + for_ms, taken);
    }
    if (status == STATUS_OK && *taken && strcmp(name, "sweep") == 0) {
        status = batch_sweep(engine);
    }
    if (status == STATUS_OK) {
        status = store_commit(engine->store);
    }
    if (status != STATUS_OK) {
        store_rollback(engine->store);
    } else {
        shared_committed(engine);
    }
    return status;
}

static enum status
do_jobs(struct engine *engine, int64_t mono_ms)
{
    bool taken = false;
    int64_t fenced = 0;
    const int64_t lease_ms = engine->shared.lease_ms;
    enum status status = take_job(engine, "orphans", lease_ms, &taken);
    if (status == STATUS_OK && taken) {
        status = store_nodes_fence(engine->store, shared_wall_ms(engine) - lease_ms / 2, &fenced);
    }
    if (fenced > 0) {
        log_line(
            LOG_WARN, "engine", "%lld gateways are gone: their leases are over", (long long)fenced);
    }
    bool more = false;
    if (status == STATUS_OK && taken) {
        status = close_orphans(engine, &more);
    }
    if (more) {
        engine->shared.jobs_mono_ms = mono_ms; /* the next turn goes on */
    }
    /* Whoever has sent before goes on: what was left by webhooks that are no more is cleared away. */
    const bool sends = engine->policy->webhook_count > 0 || engine->deliver_mono_ms > 0;
    if (status == STATUS_OK && sends) {
        status = take_job(engine, "webhooks", lease_ms, &taken);
        if (status == STATUS_OK && taken) {
            __atomic_store_n(&engine->deliver_mono_ms, mono_ms + lease_ms, __ATOMIC_RELEASE);
        }
    }
    if (status == STATUS_OK && mono_ms >= engine->sweep_mono_ms) {
        engine->sweep_mono_ms = mono_ms + HOUR_MS;
        status = take_job(engine, "sweep", HOUR_MS, &taken);
    }
    return status;
}

void
shared_turn(struct engine *engine, int64_t mono_ms)
{
    if (engine->exclusive || engine->store_down || engine->closing) {
        return;
    }
    poll_lines(engine, mono_ms);
    if (mono_ms >= engine->shared.jobs_mono_ms) {
        engine->shared.jobs_mono_ms = mono_ms + engine->shared.lease_ms / 4;
        const enum status status = do_jobs(engine, mono_ms);
        if (status != STATUS_OK && status != STATUS_CONFLICT) {
            log_line(LOG_WARN, "engine", "jobs of all gateways are put off (%s): %s",
                status_name(status), store_last_error(engine->store));
        }
    }
    lines_turn(engine); /* whom others made room for is decided with the next batch */
}

/* --- A lease that is over. */

enum status
shared_recover(struct engine *engine, enum status status)
{
    struct engine_error error;
    const int64_t before = engine->node.epoch;
    if (status != STATUS_FENCED || engine->exclusive) {
        return status;
    }
    log_line(LOG_WARN, "engine", "%s", store_last_error(engine->store));
    if (start_epoch(engine, engine->policy->config_hash, &error) != STATUS_OK) {
        log_line(LOG_ERROR, "engine", "%s", error.text);
        return STATUS_FENCED;
    }
    cache_clear(&engine->cache);
    shared_back(engine);
    counter_add(COUNTER_LEASES_LOST, 1);
    log_line(LOG_WARN, "engine",
        "this gateway was silent for longer than its lease, and goes on as epoch %lld after %lld",
        (long long)engine->node.epoch, (long long)before);
    return STATUS_CONFLICT;
}
