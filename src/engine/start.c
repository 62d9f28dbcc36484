/* engine/start.c: an epoch begins: limits get their ids, orphans of earlier epochs are closed. */
#include "engine/engine_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/plural.h"
#include "log/log.h"
#include "log/metrics.h"

static enum status
fail(struct engine *engine, enum status status, const char *what, struct engine_error *error)
{
    snprintf(error->text, sizeof error->text, "%s: %s", what, store_last_error(engine->store));
    return status;
}

enum status
start_epoch(struct engine *engine, const char *config_hash, struct engine_error *error)
{
    enum status status = store_node_start(
        engine->store, clock_wall_ms(), config_hash, &engine->node, engine->signal_key);
    if (status != STATUS_OK) {
        return fail(engine, status, "cannot start an epoch in the store", error);
    }
    engine->ids = (struct ids){ engine->node.epoch, 1 };
    status = store_begin_read(engine->store);
    if (status != STATUS_OK) {
        return fail(engine, status, "cannot read the store", error);
    }
    status = store_identity_version(engine->store, &engine->identity_version);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = store_overshoot_max(engine->store, &engine->overshoot_kept_micros);
    }
    store_rollback(engine->store);
    if (status != STATUS_OK) {
        return fail(engine, status, "cannot read the numbers that the store keeps", error);
    }
    counter_raise(COUNTER_OVERSHOOT_MICROS_MAX, engine->overshoot_kept_micros);
    return STATUS_OK;
}

/* Caps for everybody and for groups are looked for with every call: their subjects are there, so that they
 * are kept like other rows. */
static enum status
need_subject(struct engine *engine, enum subject_kind kind, const char *name)
{
    struct need need = { .kind = NEED_SUBJECT, .sub_kind = (int32_t)kind };
    slice_to_cstr(slice_str(name), need.text, sizeof need.text);
    struct needs needs = { .count = 1, .items = { need } };
    const enum status status = batch_load(engine, &needs);
    const struct subject_slot *slot = work_subject(&engine->work, kind, 0, name);
    if (status != STATUS_OK || slot->slot.state != SLOT_ABSENT) {
        return status;
    }
    struct subject_row row = { .subject_id = ids_take(&engine->ids), .kind = kind };
    slice_to_cstr(slice_str(name), row.name, sizeof row.name);
    return store_subject_put(engine->store, &row);
}

static enum status
need_subjects(struct engine *engine, const struct policy *policy)
{
    enum status status = need_subject(engine, SUBJECT_GATEWAY, "");
    for (int32_t i = 0; status == STATUS_OK && i < policy->group_count; i++) {
        status = need_subject(engine, SUBJECT_GROUP, policy->groups[i].name);
    }
    return status;
}

static bool
reserve_policy(struct engine *engine)
{
    if (engine->policy_count < engine->policy_cap) {
        return true;
    }
    const size_t cap = engine->policy_cap ? engine->policy_cap * 2 : 4;
    struct kept_policy *grown = realloc(engine->policies, cap * sizeof *grown);
    if (!grown) {
        return false;
    }
    engine->policies = grown;
    engine->policy_cap = cap;
    return true;
}

/* The node's row says what it decides by. */
static enum status
tell_config(struct engine *engine, const struct policy *policy)
{
    return strcmp(engine->node.config_hash, policy->config_hash) == 0
               ? STATUS_OK
               : store_node_config(engine->store, &engine->node, policy->config_hash);
}

/* In the order of their names, which is the same for all gateways that do so at once. */
static int
order_limits(const void *left, const void *right)
{
    const struct limit *const *a = left;
    const struct limit *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static enum status
give_limit_ids(struct engine *engine, struct policy *policy, struct engine_error *error)
{
    struct limit *limits[POLICY_LIMITS_MAX];
    struct numbers numbers = { 0 };
    for (int32_t i = 0; i < policy->limit_count; i++) {
        limits[i] = &policy->limits[i];
    }
    qsort(limits, (size_t)policy->limit_count, sizeof limits[0], order_limits);
    enum status status = batch_begin(engine);
    if (status == STATUS_OK) {
        status = batch_open(engine);
    }
    if (status == STATUS_OK) {
        status = numbers_read(engine, &numbers);
    }
    for (int32_t i = 0; status == STATUS_OK && i < policy->limit_count; i++) {
        status = numbers_give(engine, &numbers, limits[i], error);
    }
    numbers_free(&numbers);
    if (status == STATUS_OK) {
        status = need_subjects(engine, policy);
    }
    if (status == STATUS_OK) {
        status = tell_config(engine, policy);
    }
    if (status == STATUS_OK) {
        status = store_commit(engine->store);
    }
    if (status != STATUS_OK) {
        store_rollback(engine->store);
        return status == STATUS_EXISTS || status == STATUS_NOT_FOUND ? STATUS_CONFLICT : status;
    }
    if (!engine->exclusive) {
        shared_committed(engine);
    }
    return STATUS_OK;
}

enum status
adopt_policy(struct engine *engine, struct policy *policy, struct engine_error *error)
{
    if (!reserve_policy(engine)) {
        slice_to_cstr(
            SLICE("no memory for one more configuration"), error->text, sizeof error->text);
        return STATUS_FULL;
    }
    enum status status = STATUS_CONFLICT;
    for (int tries = 0; tries < CONFLICT_RETRIES && status == STATUS_CONFLICT; tries++) {
        error->text[0] = '\0';
        status = give_limit_ids(engine, policy, error); /* another gateway may give them theirs */
        status = shared_recover(engine, status);
    }
    if (status != STATUS_OK) {
        return error->text[0] ? status
                              : fail(engine, status, "cannot give the limits their ids", error);
    }
    memcpy(engine->node.config_hash, policy->config_hash, sizeof engine->node.config_hash);
    policy->version =
        policy_version_make(engine->node.epoch, ++engine->policy_seq, policy->config_hash);
    pthread_mutex_lock(&engine->lock);
    __atomic_store_n(&engine->policy, policy, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&engine->lock);
    engine->policies[engine->policy_count++] = (struct kept_policy){ .policy = policy };
    engine->core.policy = policy;
    anew_ask_all(engine);
    return STATUS_OK;
}

static struct kept_policy *
kept_of_version(const struct engine *engine, int64_t version)
{
    for (size_t i = engine->policy_count; i-- > 0;) {
        if (engine->policies[i].policy->version == version) {
            return &engine->policies[i];
        }
    }
    return NULL;
}

const struct policy *
policy_of_version(void *user, int64_t version)
{
    const struct kept_policy *kept = kept_of_version(user, version);
    return kept ? kept->policy : NULL;
}

void
count_open_holds(struct engine *engine)
{
    for (const struct slot *slot = engine->work.slots[SLOTS_HOLD].first; slot; slot = slot->next) {
        const struct hold_row *row = &((const struct hold_slot *)(const void *)slot)->row;
        const int64_t change = slot->state == SLOT_NEW ? 1 : slot->state == SLOT_DELETED ? -1 : 0;
        struct kept_policy *kept = change ? kept_of_version(engine, row->policy_ver) : NULL;
        if (kept) { /* orphans were made under policies of an epoch before */
            kept->open_holds += change;
            counter_add(COUNTER_HOLDS_OPEN, change);
        }
    }
}

void
count_doubtful_hold(struct engine *engine, int64_t policy_ver, int64_t change)
{
    struct kept_policy *kept = kept_of_version(engine, policy_ver);
    if (kept) {
        kept->open_holds += change;
        counter_add(COUNTER_HOLDS_OPEN, change);
    }
}

void
drop_unused_policies(struct engine *engine)
{
    size_t kept_count = 0;
    for (size_t i = 0; i < engine->policy_count; i++) {
        const struct kept_policy kept = engine->policies[i];
        const bool ours_alone = __atomic_load_n(&kept.policy->refs, __ATOMIC_ACQUIRE) == 1;
        if (kept.policy != engine->policy && ours_alone && kept.open_holds == 0) {
            policy_unref(kept.policy);
        } else {
            engine->policies[kept_count++] = kept;
        }
    }
    engine->policy_count = kept_count;
}

enum status
orphan_close(struct engine *engine, int64_t hold_id, struct verdict *verdict)
{
    for (int round = 0; round < 3; round++) {
        struct needs needs;
        needs.count = 0;
        needs.overflow = false;
        core_orphan_needs(&engine->core, hold_id, &needs);
        if (needs.count == 0) {
            break;
        }
        const enum status status = batch_load(engine, &needs);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return core_orphan(&engine->core, hold_id, verdict) ? STATUS_OK : STATUS_INVALID;
}

int64_t
orphans_booked(struct engine *engine, uint32_t count)
{
    const struct usage none = USAGE_NONE;
    int64_t booked = 0;
    for (uint32_t i = 0; i < count; i++) { /* not those that somebody else was quicker with */
        count_booked(&engine->verdicts[i], &none);
        booked += engine->verdicts[i].booked;
    }
    counter_add(COUNTER_HOLDS_ORPHANED, booked);
    pthread_mutex_lock(&engine->lock);
    engine->state.orphans_closed += booked;
    pthread_mutex_unlock(&engine->lock);
    return booked;
}

/* Orphans in order of their holds, and the row that ends them because it makes no sense. */
struct orphans {
    int64_t ids[ENGINE_BATCH_MAX];
    int32_t count;
    int64_t damaged_id; /* 0 = none */
};

/* NOT_FOUND: there are no more behind them. */
static enum status
find_orphans(struct engine *engine, int64_t after, int32_t max, struct orphans *orphans)
{
    orphans->count = 0;
    orphans->damaged_id = 0;
    while (orphans->count < max) {
        struct hold_row hold = { 0 };
        const enum status status = store_hold_orphan(engine->store, after, &hold);
        if (status == STATUS_INVALID && hold.hold_id > after) {
            orphans->damaged_id = hold.hold_id; /* a row, not a page: those behind it can be read */
        }
        if (status != STATUS_OK) {
            return status;
        }
        after = hold.hold_id;
        orphans->ids[orphans->count++] = after;
    }
    return STATUS_OK;
}

/* One transaction of at most `max` orphans. NOT_FOUND: no more. A row that makes no sense among them:
 * STATUS_INVALID, and none is closed. */
static enum status
close_some(struct engine *engine, int64_t after, int32_t max, struct orphans *orphans)
{
    enum status status = batch_begin(engine);
    if (status == STATUS_OK) {
        status = batch_open(engine);
    }
    const enum status found =
        status == STATUS_OK ? find_orphans(engine, after, max, orphans) : STATUS_OK;
    if (found != STATUS_OK && found != STATUS_NOT_FOUND) {
        status = found;
    }
    for (int32_t i = 0; status == STATUS_OK && i < orphans->count; i++) {
        status = orphan_close(engine, orphans->ids[i], &engine->verdicts[i]);
    }
    if (status == STATUS_OK) {
        status = batch_end(engine);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
        return status;
    }
    (void)orphans_booked(engine, (uint32_t)orphans->count); /* all: the store is ours */
    return found;
}

/* A hold that cannot be read cannot be booked. It stays, and what it holds counts against its limits for
 * good: the gateway serves, and says so at every start. */
void
orphan_left(struct engine *engine, int64_t hold_id)
{
    log_line(LOG_ERROR, "engine",
        "the call req_%lld was in flight when the gateway before this one died, and is not booked: %s",
        (long long)hold_id, store_last_error(engine->store));
}

enum status
start_close_orphans(struct engine *engine, struct engine_error *error)
{
    if (!engine->exclusive) {
        return STATUS_OK; /* their leases may not be over: see shared.c */
    }
    struct orphans orphans;
    int64_t after = 0;
    int32_t max = ENGINE_BATCH_MAX;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        orphans = (struct orphans){ 0 };
        status = close_some(engine, after, max, &orphans);
        max = ENGINE_BATCH_MAX;
        if (status == STATUS_OK) {
            after = orphans.ids[orphans.count - 1];
        } else if (orphans.damaged_id != 0 && orphans.count > 0) {
            max = orphans.count; /* those before it, then it alone */
            status = STATUS_OK;
        } else if (orphans.damaged_id != 0) {
            orphan_left(engine, orphans.damaged_id);
            after = orphans.damaged_id;
            status = STATUS_OK;
        }
    }
    if (engine->state.orphans_closed > 0) {
        log_line(LOG_WARN, "engine",
            "%lld call%s %s in flight when the gateway before this one died; %s booked as orphaned",
            (long long)engine->state.orphans_closed, plural_s(engine->state.orphans_closed),
            plural_were(engine->state.orphans_closed),
            engine->state.orphans_closed == 1 ? "it is" : "they are");
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK
                                      : fail(engine, status, "cannot close orphaned holds", error);
}
