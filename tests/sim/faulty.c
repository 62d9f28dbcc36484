/* tests/sim/faulty.c: between each gateway and the store they share: faults where they were ordered, a record of
 * what was committed, and, where there are several gateways, their rows and leases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server.h"
#include "sim.h"

#define SIM_NODE_ID 1001 /* of the first gateway of a shared store */

#define FAULT_WORDS(name, words) words,
const char *const fault_words[FAULT_POINT_COUNT] = { FAULT_POINTS(FAULT_WORDS) };

static struct sim_store *
sim_store_of(struct store *store)
{
    return (struct sim_store *)(void *)store;
}

static struct store *
real_of(struct store *store)
{
    struct sim_store *own = sim_store_of(store);
    return own->own ? own->own : own->common->real;
}

/* What store.c keeps of a store's transaction, for the one below. */
static enum status
enter(struct store *store, enum status status, enum store_state state)
{
    real_of(store)->state = status == STATUS_OK ? state : STORE_IDLE;
    return status;
}

static enum status
fail(struct store *store, enum status status)
{
    snprintf(store->last_error, sizeof store->last_error, "the simulated store fails: %s", status_name(status));
    return status;
}

/* STATUS_OK: it works. A dead process gets nothing done any more. */
static enum status
fault_at(struct store *store, enum fault_point point)
{
    struct sim_node *node = sim_store_of(store)->node;
    struct fault *fault = &node->fault;
    if (node->dead) {
        return fail(store, STATUS_IO);
    }
    if (!fault->armed || fault->point != point || fault->passes-- > 0) {
        return STATUS_OK;
    }
    fault->passes = 0;
    fault->armed = --fault->times > 0;
    coverage.faults[point]++;
    if (fault->kills) {
        coverage.crashes[point]++;
        node->dead = true;
        return fail(store, STATUS_IO);
    }
    coverage.conflicts += fault->status == STATUS_CONFLICT;
    struct store *own = sim_store_of(store)->own;
    if (own && fault->status == STATUS_IO && store->state != STORE_IDLE && draw_chance(&sim_store_of(store)->common->world->rng, 5000)) {
        server_cut(own, false); /* it finds out by itself */
        coverage.connections_cut++;
        return STATUS_OK;
    }
    return fail(store, fault->status);
}

/* A commit whose answer does not come: the store itself has to find out what became of it. */
static void
cut_answers(struct store *store)
{
    struct sim_store *own = sim_store_of(store);
    struct fault *fault = &own->node->fault;
    const bool here = own->own && !own->node->dead && fault->armed && fault->point == FAULT_COMMITTED && !fault->kills;
    if (here && fault->passes == 0 && draw_chance(&own->common->world->rng, 7000)) {
        fault->armed = false;
        coverage.faults[FAULT_COMMITTED]++;
        coverage.answers_cut++;
        server_cut(own->own, true);
    }
}

/* --- The record. */

static struct write *
record(struct store *store, enum write_kind kind, int64_t id, const void *row, size_t row_bytes)
{
    struct writes *writes = &sim_store_of(store)->node->writes;
    if (writes->count == writes->cap) {
        writes->cap = writes->cap ? writes->cap * 2 : 64;
        writes->items = realloc(writes->items, (size_t)writes->cap * sizeof *writes->items);
        check(writes->items);
    }
    struct write *write = &writes->items[writes->count++];
    write->kind = kind;
    write->told = write->matched = false;
    write->id = id;
    if (row) {
        memcpy(&write->row, row, row_bytes);
    }
    return write;
}

void
writes_clear(struct writes *writes)
{
    writes->count = writes->committed = 0;
}

void
writes_free(struct writes *writes)
{
    free(writes->items);
    *writes = (struct writes){ 0 };
}

static void
writes_done(struct store *store, bool told)
{
    struct writes *writes = &sim_store_of(store)->node->writes;
    for (int i = writes->committed; i < writes->count; i++) {
        writes->items[i].told = told;
    }
    writes->committed = writes->count;
}

/* --- Transactions. */

static struct node_entry *
entry_of(struct sim_base *common, int64_t node_id)
{
    for (int i = 0; i < common->node_count; i++) {
        if (common->nodes[i].node_id == node_id) {
            return &common->nodes[i];
        }
    }
    return NULL;
}

/* The database's clock: the world's time. */
static int64_t
database_ms(const struct sim_base *common)
{
    return common->world->time_ms;
}

static enum status
leased_node_start(struct store *store, const char *config_hash, struct node_row *node, unsigned char signal_key[32])
{
    struct sim_store *own = sim_store_of(store);
    struct sim_base *common = own->common;
    const int64_t node_id = own->node->index + SIM_NODE_ID; /* the store below knows others */
    struct node_entry *entry = entry_of(common, node_id);
    if (!entry) {
        entry = &common->nodes[common->node_count++];
    }
    *entry = (struct node_entry){ node_id, ++common->epochs, database_ms(common) + store->lease_ms };
    *node = (struct node_row){ .node_id = node_id,
        .epoch = entry->epoch,
        .lease_until_ms = entry->lease_until_ms,
        .high_water_ms = database_ms(common),
        .started_ms = database_ms(common) };
    slice_to_cstr(slice_str(config_hash), node->config_hash, sizeof node->config_hash);
    memset(signal_key, 7, 32);
    return STATUS_OK;
}

static enum status
faulty_node_start(struct store *store, int64_t now_ms, const char *config_hash, struct node_row *node,
    unsigned char signal_key[32])
{
    const enum status status = fault_at(store, FAULT_START);
    if (status != STATUS_OK) {
        return status;
    }
    struct store *real = real_of(store);
    return store->exclusive ? real->ops->node_start(real, now_ms, config_hash, node, signal_key)
                            : leased_node_start(store, config_hash, node, signal_key);
}

static enum status
faulty_node_config(struct store *store, const struct node_row *node, const char *config_hash)
{
    struct store *real = real_of(store);
    return store->exclusive ? real->ops->node_config(real, node, config_hash) : STATUS_OK;
}

static enum status
leased_begin(struct store *store, const struct node_row *node)
{
    struct sim_store *own = sim_store_of(store);
    struct sim_base *common = own->common;
    const int64_t now_ms = database_ms(common);
    struct node_entry *entry = entry_of(common, node->node_id);
    if (!entry || entry->epoch != node->epoch || entry->lease_until_ms <= now_ms) {
        coverage.fenced++;
        return fail(store, STATUS_FENCED);
    }
    own->entry_before = *entry;
    memcpy(own->jobs_before, common->jobs, sizeof common->jobs);
    own->job_count_before = common->job_count;
    entry->lease_until_ms = now_ms + store->lease_ms;
    struct world *world = common->world;
    world->high_water_ms = max_i64(max_i64(world->high_water_ms, node->high_water_ms), now_ms);
    store->now_ms = now_ms;
    store->lease_mono_ms = clock_mono_ms() + store->lease_ms;
    struct store *real = real_of(store);
    return enter(store, real->ops->begin(real, own->own ? &own->own_node : &common->real_node), STORE_WRITING);
}

/* Another gateway's turn comes in between what was read before the transaction and its locks. */
static void
let_others_in(struct store *store)
{
    struct sim_store *own = sim_store_of(store);
    struct world *world = own->common->world;
    /* Verdicts are looked at when the turn is over: once there are some, the world stands still until then. */
    const struct engine *engine = own->node->engine;
    const bool decided =
        own->node->writes.committed > 0 || (engine && engine->outboxes[0].end > engine->outboxes[0].first);
    if (world->node_count < 2 || decided || !draw_chance(&world->rng, 500)) {
        return;
    }
    struct sim_node *other = &world->nodes[draw_below(&world->rng, world->node_count)];
    if (!other->stepping && other->engine && other->paused_until_ms <= world->time_ms) {
        coverage.interleaved++;
        node_turn(world, other);
        clock_set(node_wall_ms(world, own->node), world->mono_ms);
    }
}

static enum status
faulty_begin(struct store *store, const struct node_row *node)
{
    let_others_in(store);
    enum status status = fault_at(store, FAULT_BEGIN);
    if (status != STATUS_OK) {
        return status;
    }
    struct store *real = real_of(store);
    if (!store->exclusive) {
        return leased_begin(store, node);
    }
    status = real->ops->begin(real, node);
    store->foreign_writes = real->foreign_writes;
    return status == STATUS_OK ? STATUS_OK : fail(store, status);
}

static enum status
faulty_begin_read(struct store *store)
{
    const enum status status = fault_at(store, FAULT_BEGIN_READ);
    return status == STATUS_OK ? enter(store, real_of(store)->ops->begin_read(real_of(store)), STORE_READING) : status;
}

static void
take_back(struct store *store)
{
    struct sim_store *own = sim_store_of(store);
    struct sim_base *common = own->common;
    own->node->writes.count = own->node->writes.committed;
    real_of(store)->ops->rollback(real_of(store));
    real_of(store)->state = STORE_IDLE;
    if (!store->exclusive && store->state == STORE_WRITING) {
        struct node_entry *entry = entry_of(common, own->entry_before.node_id);
        *entry = own->entry_before;
        memcpy(common->jobs, own->jobs_before, sizeof common->jobs);
        common->job_count = own->job_count_before;
    }
}

static enum status
faulty_commit(struct store *store)
{
    enum status status = fault_at(store, FAULT_COMMIT);
    if (status != STATUS_OK) {
        return status;
    }
    cut_answers(store);
    status = real_of(store)->ops->commit(real_of(store));
    if (status != STATUS_OK) {
        return fail(store, status);
    }
    real_of(store)->state = STORE_IDLE;
    const enum status after = fault_at(store, FAULT_COMMITTED);
    writes_done(store, after == STATUS_OK);
    if (after != STATUS_OK) {
        store->state = STORE_IDLE; /* nothing is left to roll back */
    }
    return after;
}

static void
faulty_rollback(struct store *store)
{
    take_back(store);
}

static enum status
faulty_nodes_fence(struct store *store, int64_t before_ms, int64_t *fenced_count)
{
    struct sim_base *common = sim_store_of(store)->common;
    for (int i = common->node_count; i-- > 0;) {
        if (common->nodes[i].lease_until_ms < before_ms) {
            common->nodes[i] = common->nodes[--common->node_count];
            ++*fenced_count;
        }
    }
    return STATUS_OK;
}

static enum status
faulty_job_take(struct store *store, const char *name, int64_t until_ms, bool *taken)
{
    struct sim_store *own = sim_store_of(store);
    struct sim_base *common = own->common;
    const int64_t epoch = own->entry_before.epoch;
    struct job_entry *job = NULL;
    for (int i = 0; i < common->job_count; i++) {
        job = strcmp(common->jobs[i].name, name) == 0 ? &common->jobs[i] : job;
    }
    *taken = !job || job->epoch == epoch || job->until_ms <= database_ms(common);
    if (*taken) {
        job = job ? job : &common->jobs[common->job_count++];
        snprintf(job->name, sizeof job->name, "%s", name);
        job->epoch = epoch;
        job->until_ms = until_ms;
    }
    return STATUS_OK;
}

/* A server reads many rows at once, and locks them. */
static enum status
faulty_load(struct store *store, const struct need *needs, size_t count, bool lock, store_found *found, void *user)
{
    const enum status status = fault_at(store, FAULT_LOAD);
    return status == STATUS_OK ? real_of(store)->ops->load(real_of(store), needs, count, lock, found, user) : status;
}

static void
faulty_close(struct store *store)
{
    (void)store;
}

static const struct store_ops exclusive_ops = {
    .close = faulty_close,
    .node_start = faulty_node_start,
    .node_config = faulty_node_config,
    .begin = faulty_begin,
    .begin_read = faulty_begin_read,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
};

static const struct store_ops shared_ops = {
    .close = faulty_close,
    .node_start = faulty_node_start,
    .node_config = faulty_node_config,
    .begin = faulty_begin,
    .begin_read = faulty_begin_read,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
    .nodes_fence = faulty_nodes_fence,
    .job_take = faulty_job_take,
};

static const struct store_ops server_ops = {
    .close = faulty_close,
    .node_start = faulty_node_start,
    .node_config = faulty_node_config,
    .begin = faulty_begin,
    .begin_read = faulty_begin_read,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
    .load = faulty_load,
    .nodes_fence = faulty_nodes_fence,
    .job_take = faulty_job_take,
};

/* --- Rows. */

#define GET(name, params, args)                                                                    \
    static enum status faulty_##name params                                                        \
    {                                                                                              \
        const enum status status = fault_at(store, FAULT_LOAD);                                    \
        return status == STATUS_OK ? real_of(store)->rows->name args : status;                     \
    }
GET(get, (struct store * store, const struct need *need, union need_row *row), (real_of(store), need, row))
/* Where the store itself has no such step it is one by one, with a fault each. */
static enum status
faulty_get_several(struct store *store, const struct need *needs, size_t count, store_found *found, void *user, size_t *done)
{
    if (!real_of(store)->rows->get_several) {
        *done = 0;
        return STATUS_OK;
    }
    const enum status status = fault_at(store, FAULT_LOAD);
    return status == STATUS_OK ? real_of(store)->rows->get_several(real_of(store), needs, count, found, user, done)
                               : status;
}
GET(identity_version, (struct store * store, int64_t *version), (real_of(store), version))
GET(limit_def_at, (struct store * store, int64_t index, struct limit_def_row *row), (real_of(store), index, row))

#define PUT(name, point, kind, row_type, row_const, id)                                            \
    static enum status faulty_##name(struct store *store, row_const struct row_type *row)          \
    {                                                                                              \
        enum status status = fault_at(store, point);                                               \
        status = status == STATUS_OK ? real_of(store)->rows->name(real_of(store), row) : status;   \
        if (status == STATUS_OK) {                                                                 \
            record(store, kind, id, row, sizeof *row);                                             \
        }                                                                                          \
        return status;                                                                             \
    }
PUT(account_put, FAULT_ACCOUNT, WRITE_ACCOUNT, account_row, , row->account_id)
PUT(key_put, FAULT_ACCOUNT, WRITE_KEY, key_row, , row->key_id)
PUT(thread_put, FAULT_THREAD, WRITE_THREAD, thread_row, , row->thread_id)
PUT(subject_put, FAULT_SUBJECT, WRITE_SUBJECT, subject_row, , row->subject_id)
PUT(meter_put, FAULT_METER, WRITE_METER, meter_row, , row->subject_id)
PUT(reported_put, FAULT_REPORTED, WRITE_REPORTED, reported_row, , row->account_id)
PUT(hold_insert, FAULT_HOLD_NEW, WRITE_HOLD_NEW, hold_row, const, row->hold_id)
PUT(hold_update, FAULT_HOLD, WRITE_HOLD, hold_row, const, row->hold_id)
PUT(limit_def_put, FAULT_LIMIT, WRITE_LIMIT, limit_def_row, const, row->limit_id)
PUT(thread_delete, FAULT_THREAD_GONE, WRITE_THREAD_GONE, thread_row, const, row->thread_id)
PUT(subject_delete, FAULT_SUBJECT_GONE, WRITE_SUBJECT_GONE, subject_row, const, row->subject_id)
PUT(meter_delete, FAULT_METER_GONE, WRITE_METER_GONE, meter_row, const, row->subject_id)

/* As on a server: a gateway that goes by what it knew of a subject begins no meters for one that is gone. */
static enum status
faulty_meter_begin(struct store *store, struct meter_row *row)
{
    const struct need need = { .kind = NEED_SUBJECT_ID, .id = row->subject_id };
    union need_row subject;
    const bool shared_memory = !store->exclusive && !sim_store_of(store)->own;
    if (shared_memory && row->version == 0 && !sim_store_of(store)->node->dead
        && real_of(store)->rows->get(real_of(store), &need, &subject) == STATUS_NOT_FOUND) {
        coverage.known_gone++;
        return fail(store, STATUS_CONFLICT);
    }
    return faulty_meter_put(store, row);
}

/* --- The sweep looks. */

static enum status
faulty_threads_after(struct store *store, const struct thread_row *after, struct thread_row *rows, int32_t max, int32_t *count)
{
    const enum status status = fault_at(store, FAULT_SWEEP_THREADS);
    return status == STATUS_OK ? real_of(store)->rows->threads_after(real_of(store), after, rows, max, count) : status;
}

static enum status
faulty_tree_members(struct store *store, const int64_t *root_ids, int32_t root_count, store_member *found, void *user)
{
    const enum status status = fault_at(store, FAULT_SWEEP_MEMBERS);
    return status == STATUS_OK ? real_of(store)->rows->tree_members(real_of(store), root_ids, root_count, found, user)
                               : status;
}

static enum status
faulty_meters_after(struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count)
{
    const enum status status = fault_at(store, FAULT_SWEEP_METERS);
    return status == STATUS_OK ? real_of(store)->rows->meters_after(real_of(store), after_id, marks, max, count) : status;
}

static enum status
faulty_hold_oldest(struct store *store, int64_t *created_ms)
{
    const enum status status = fault_at(store, FAULT_SWEEP_HOLD);
    return status == STATUS_OK ? real_of(store)->rows->hold_oldest(real_of(store), created_ms) : status;
}

/* While its inputs are there. */
static void
read_inputs(struct write *write)
{
    const struct ledger_row *row = &write->row.ledger;
    struct slice rest = inputs_limits(row->inputs), item;
    write->about = (struct told_limit){ .subject_id = inputs_number(row->inputs, "subject"),
        .window_ms = inputs_number(row->inputs, row->kind == LEDGER_WARN ? "window_start_ms" : "window"),
        .delta = inputs_number(row->inputs, "delta"),
        .pct = inputs_number(row->inputs, "pct"),
        .settled = inputs_number(row->inputs, "settled"),
        .cap = inputs_number(row->inputs, "cap"),
        .hold_id = inputs_number(row->inputs, "hold") };
    inputs_limit(row->inputs, write->about.limit);
    write->moved_count = 0;
    while (row->kind == LEDGER_ADJUST && write->moved_count < HOLD_PARTS_MAX && inputs_next(&rest, &item)) {
        struct moved_meter *moved = &write->moved[write->moved_count++];
        *moved = (struct moved_meter){ .subject_id = inputs_number(item, "subject"),
            .window_ms = inputs_number(item, "window"),
            .delta = inputs_number(item, "delta") };
        inputs_limit(item, moved->limit);
    }
}

static enum status
faulty_ledger_add(struct store *store, const struct ledger_row *row)
{
    enum status status = fault_at(store, FAULT_LEDGER);
    status = status == STATUS_OK ? real_of(store)->rows->ledger_add(real_of(store), row) : status;
    if (status == STATUS_OK) {
        struct write *write = record(store, WRITE_LEDGER, row->id, row, sizeof *row);
        if (row->kind == LEDGER_WARN || row->kind == LEDGER_ADJUST || row->kind == LEDGER_SHADOW) {
            read_inputs(write);
        }
    }
    return status;
}

static enum status
faulty_refusal_add(struct store *store, const struct refusal_row *row)
{
    const enum status status = fault_at(store, FAULT_REFUSAL);
    return status == STATUS_OK ? real_of(store)->rows->refusal_add(real_of(store), row) : status;
}

static enum status
faulty_issued_put(struct store *store, const struct issued_row *row)
{
    const enum status status = fault_at(store, FAULT_ISSUED);
    return status == STATUS_OK ? real_of(store)->rows->issued_put(real_of(store), row) : status;
}

static enum status
faulty_issued_sweep(struct store *store, int64_t before_ms)
{
    return real_of(store)->rows->issued_sweep(real_of(store), before_ms);
}

static enum status
faulty_receipt_add(struct store *store, const struct receipt_row *row)
{
    return real_of(store)->rows->receipt_add(real_of(store), row);
}

static enum status
faulty_receipt_sweep(struct store *store, int64_t before_ms)
{
    return real_of(store)->rows->receipt_sweep(real_of(store), before_ms);
}

static enum status
faulty_ledger_marks(
    struct store *store, int64_t after_id, struct ledger_mark *marks, int32_t max, int32_t *count)
{
    return real_of(store)->rows->ledger_marks(real_of(store), after_id, marks, max, count);
}

static enum status
faulty_ledger_drop(struct store *store, int64_t after_id, int64_t until_id, int64_t before_ms)
{
    return real_of(store)->rows->ledger_drop(real_of(store), after_id, until_id, before_ms);
}

static enum status
faulty_refusals_old(struct store *store, int64_t before_ms, int32_t max, int32_t *count)
{
    return real_of(store)->rows->refusals_old(real_of(store), before_ms, max, count);
}

static enum status
faulty_refusals_drop(struct store *store, int64_t before_ms, int32_t max)
{
    return real_of(store)->rows->refusals_drop(real_of(store), before_ms, max);
}

static enum status
faulty_mark(struct store *store, const char *name, int64_t *value)
{
    return real_of(store)->rows->mark(real_of(store), name, value);
}

static enum status
faulty_mark_raise(struct store *store, const char *name, int64_t value)
{
    return real_of(store)->rows->mark_raise(real_of(store), name, value);
}

static enum status
faulty_identity_bump(struct store *store, int64_t version)
{
    const enum status status = fault_at(store, FAULT_IDENTITY);
    return status == STATUS_OK ? real_of(store)->rows->identity_bump(real_of(store), version) : status;
}

static enum status
faulty_hold_delete(struct store *store, int64_t hold_id)
{
    enum status status = fault_at(store, FAULT_HOLD_GONE);
    status = status == STATUS_OK ? real_of(store)->rows->hold_delete(real_of(store), hold_id) : status;
    if (status == STATUS_OK) {
        record(store, WRITE_HOLD_GONE, hold_id, NULL, 0);
    }
    return status;
}

/* Of a shared store the real one knows no gateway, so that all holds are orphans to it. */
static enum status
faulty_hold_orphan(struct store *store, int64_t after, struct hold_row *row)
{
    enum status status = fault_at(store, FAULT_ORPHANS);
    struct sim_base *common = sim_store_of(store)->common;
    while (status == STATUS_OK) {
        status = real_of(store)->rows->hold_orphan(real_of(store), after, row);
        const struct node_entry *owner =
            status == STATUS_OK && !store->exclusive ? entry_of(common, row->node_id) : NULL;
        if (!owner || owner->epoch != row->epoch) {
            return status;
        }
        after = row->hold_id;
    }
    return status;
}

static const struct store_row_ops faulty_rows = {
    .account_put = faulty_account_put,
    .key_put = faulty_key_put,
    .get = faulty_get,
    .get_several = faulty_get_several,
    .identity_version = faulty_identity_version,
    .identity_bump = faulty_identity_bump,
    .thread_put = faulty_thread_put,
    .subject_put = faulty_subject_put,
    .meter_put = faulty_meter_begin,
    .reported_put = faulty_reported_put,
    .hold_insert = faulty_hold_insert,
    .hold_update = faulty_hold_update,
    .hold_delete = faulty_hold_delete,
    .hold_orphan = faulty_hold_orphan,
    .ledger_add = faulty_ledger_add,
    .refusal_add = faulty_refusal_add,
    .issued_put = faulty_issued_put,
    .issued_sweep = faulty_issued_sweep,
    .receipt_add = faulty_receipt_add,
    .receipt_sweep = faulty_receipt_sweep,
    .ledger_marks = faulty_ledger_marks,
    .ledger_drop = faulty_ledger_drop,
    .refusals_old = faulty_refusals_old,
    .refusals_drop = faulty_refusals_drop,
    .mark = faulty_mark,
    .mark_raise = faulty_mark_raise,
    .limit_def_at = faulty_limit_def_at,
    .limit_def_put = faulty_limit_def_put,
    .thread_delete = faulty_thread_delete,
    .subject_delete = faulty_subject_delete,
    .meter_delete = faulty_meter_delete,
    .threads_after = faulty_threads_after,
    .tree_members = faulty_tree_members,
    .meters_after = faulty_meters_after,
    .hold_oldest = faulty_hold_oldest,
};

void
faulty_init(struct sim_store *store, struct sim_base *common, struct sim_node *node, bool shared)
{
    store->common = common;
    store->node = node;
    store->base = (struct store){ .ops = store->own ? &server_ops : shared ? &shared_ops : &exclusive_ops,
        .rows = &faulty_rows,
        .state = STORE_IDLE,
        .lease_ms = STORE_LEASE_MS,
        .exclusive = !shared,
        .lease_mono_ms = INT64_MAX };
}
