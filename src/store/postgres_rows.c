/* store/postgres_rows.c: the writer's gets and puts. What is written was checked by store.c; it waits in
 * the queue for its commit. The parameters are those of puts.c. */
#include "store/postgres_priv.h"

#include <stdio.h>

/* --- Gets: rows that are needed come by postgres_load. */

static void
take_nothing(void *user, const struct need *need, const union need_row *row)
{
    (void)user;
    (void)need;
    (void)row;
}

/* A transaction that writes has it with its renewal. */
static enum status
identity_version(struct store *store, int64_t *version)
{
    struct postgres_store *postgres = postgres_store_of(store);
    if (store->state != STORE_WRITING) {
        const enum status status = postgres_ready(postgres);
        return status == STATUS_OK
                   ? postgres_meta_get_i64(&postgres->db, "identity_version", FORM_PLAIN, version)
                   : status;
    }
    if (!postgres->renewed) {
        const enum status status = postgres_load(store, NULL, 0, false, take_nothing, NULL);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *version = postgres->identity_version;
    return STATUS_OK;
}

static enum status
read_orphan(struct postgres_store *postgres, int64_t after, const PGresult **answer)
{
    struct params params = { .count = 0 };
    size_t slot = 0;
    param_i64(&params, after);
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = postgres_flush_writes(postgres);
    }
    if (status == STATUS_OK) {
        status = pg_send(&postgres->db, STATEMENT_HOLD_ORPHAN, FORM_PLAIN, &params, &slot);
    }
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK) {
        *answer = postgres->db.answers[slot];
    }
    return status;
}

static enum status
hold_orphan(struct store *store, int64_t after, struct hold_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    const PGresult *answer = NULL;
    const enum status status = read_orphan(postgres, after, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    if (PQntuples(answer) == 0) {
        return STATUS_NOT_FOUND;
    }
    if (!row_hold(pg_columns(&postgres->db, answer, 0), row)) {
        return pg_damaged_row(&postgres->db, "hold", row->hold_id);
    }
    buf_clear(&postgres->inputs);
    buf_add_slice(&postgres->inputs, row->inputs);
    row->inputs = buf_slice(&postgres->inputs);
    return postgres->inputs.failed
               ? store_fail(store->last_error, STATUS_FULL, "no memory for a row of the store")
               : STATUS_OK;
}

/* All at once: they are asked for one after the other. Who is to write some has their table to itself
 * before it looks, so that two gateways that start with one new limit give it one number. */
static enum status
read_limit_defs(struct postgres_store *postgres)
{
    const bool writes = postgres->base.state == STORE_WRITING;
    const bool locks = writes && locks_may(&postgres->locks, LOCK_LIMITS, 0);
    size_t slot = 0;
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = postgres_flush_writes(postgres);
    }
    if (status == STATUS_OK && locks) {
        status = pg_send_plain(&postgres->db, STATEMENT_PG_LIMITS_LOCK, NULL);
    }
    if (status == STATUS_OK) {
        status = pg_send_plain(&postgres->db, STATEMENT_READ_ALL_LIMIT_DEFS, &slot);
    }
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK) {
        postgres->limit_defs = pg_take(&postgres->db, slot);
        if (locks) {
            locks_add(&postgres->locks, LOCK_LIMITS, 0, true);
        }
    }
    return status;
}

static enum status
limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    if (!postgres->limit_defs) {
        const enum status status = read_limit_defs(postgres);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (index >= PQntuples(postgres->limit_defs)) {
        return STATUS_NOT_FOUND;
    }
    return row_limit_def(pg_columns(&postgres->db, postgres->limit_defs, (int)index), row)
               ? STATUS_OK
               : pg_damaged_row(&postgres->db, "limit_def", row->def_id);
}

/* --- Puts. */

static enum status
queue_put(struct store *store, const struct put *put, struct write_order order)
{
    queue_add(&postgres_store_of(store)->queue, put, order);
    return STATUS_OK; /* memory that is not there is told by the commit */
}

static enum status
account_put(struct store *store, struct account_row *row)
{
    struct put put;
    put_account(&put, row);
    const struct write_order order =
        row->version > 0
            ? (struct write_order){ .rank = WRITE_ACCOUNT, .ids = { row->account_id }, .text = "" }
            : (struct write_order){ .rank = WRITE_ACCOUNT_NEW, .text = row->name };
    row->version++;
    return queue_put(store, &put, order);
}

static enum status
key_put(struct store *store, struct key_row *row)
{
    struct put put;
    put_key(&put, row);
    const struct write_order order =
        row->version > 0
            ? (struct write_order){ .rank = WRITE_KEY, .ids = { row->key_id }, .text = "" }
            : (struct write_order){ .rank = WRITE_KEY_NEW, .text = row->hash_hex };
    row->version++;
    return queue_put(store, &put, order);
}

/* Nobody but us writes this row of the meta table before we commit: it goes from what we have read. */
static enum status
identity_bump(struct store *store, int64_t version)
{
    struct postgres_store *postgres = postgres_store_of(store);
    int64_t stored = 0;
    const enum status status = identity_version(store, &stored);
    if (status != STATUS_OK) {
        return status;
    }
    if (version <= stored) {
        return store_fail(store->last_error, STATUS_CONFLICT,
            "the identity version is %lld already, so not %lld", (long long)stored,
            (long long)version);
    }
    char texts[2][I64_TEXT_BYTES];
    struct put put = {
        .statement = STATEMENT_PG_IDENTITY_SWAP, .none = STATUS_CONFLICT, .table = "meta"
    };
    param_slice(&put.params, slice_of(texts[0], i64_text(version, texts[0])));
    param_slice(&put.params, slice_of(texts[1], i64_text(stored, texts[1])));
    postgres->identity_version = version;
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_META, .text = "" });
}

static enum status
thread_put(struct store *store, struct thread_row *row)
{
    struct locks *locks = &postgres_store_of(store)->locks;
    struct put put;
    if (row->version == 0) {
        locks_own_thread(locks, row);
    }
    check(locks_asked(locks, LOCK_THREAD, row->thread_id));
    put_thread(&put, row);
    row->version++;
    return queue_put(store, &put,
        (struct write_order){
            .rank = WRITE_THREAD, .ids = { row->account_id, row->kind }, .text = row->sig_hash });
}

static enum status
no_memory(struct store *store)
{
    return store_fail(store->last_error, STATUS_FULL, "no memory for a row of the store");
}

static enum status
subject_put(struct store *store, struct subject_row *row)
{
    struct put put;
    if (!put_subject(&put, row, &postgres_store_of(store)->packed)) {
        return no_memory(store);
    }
    row->version++;
    return queue_put(store, &put,
        (struct write_order){
            .rank = WRITE_SUBJECT, .ids = { row->account_id, row->kind }, .text = row->name });
}

static enum status
meter_put(struct store *store, struct meter_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put;
    if (row->version == 0) {
        locks_own(&postgres->locks, LOCK_METER, row->subject_id);
    }
    check(locks_asked(&postgres->locks, LOCK_METER, row->subject_id));
    if (!put_meter(&put, row, &postgres->packed)) {
        return no_memory(store);
    }
    if (row->version == 0) {
        put.statement = STATEMENT_PG_METER_INSERT;
    }
    row->version++;
    return queue_put(store, &put,
        (struct write_order){ .rank = WRITE_METER, .ids = { row->subject_id }, .text = "" });
}

/* Not locked when it was read: another version that came meanwhile makes the batch run again. */
static enum status
reported_put(struct store *store, struct reported_row *row)
{
    struct put put;
    if (!put_reported(&put, row, &postgres_store_of(store)->packed)) {
        return no_memory(store);
    }
    row->version++;
    return queue_put(store, &put,
        (struct write_order){ .rank = WRITE_REPORTED, .ids = { row->account_id }, .text = "" });
}

static enum status
queue_hold(struct store *store, const struct put *put)
{
    check(locks_asked(&postgres_store_of(store)->locks, LOCK_HOLD, put->id));
    return queue_put(
        store, put, (struct write_order){ .rank = WRITE_HOLD, .ids = { put->id }, .text = "" });
}

static enum status
hold_insert(struct store *store, const struct hold_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put;
    locks_own(&postgres->locks, LOCK_HOLD, row->hold_id);
    return put_hold_insert(&put, row, &postgres->packed, &postgres->packed_2)
               ? queue_hold(store, &put)
               : no_memory(store);
}

static enum status
hold_update(struct store *store, const struct hold_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put;
    return put_hold_update(&put, row, &postgres->packed, &postgres->packed_2)
               ? queue_hold(store, &put)
               : no_memory(store);
}

static enum status
hold_delete(struct store *store, int64_t hold_id)
{
    struct put put;
    put_hold_delete(&put, hold_id);
    return queue_hold(store, &put);
}

static enum status
ledger_add(struct store *store, const struct ledger_row *row)
{
    struct put put;
    put_ledger(&put, row);
    return queue_put(
        store, &put, (struct write_order){ .rank = WRITE_LEDGER, .ids = { row->id }, .text = "" });
}

static enum status
refusal_add(struct store *store, const struct refusal_row *row)
{
    struct put put;
    put_refusal(&put, row);
    return queue_put(store, &put,
        (struct write_order){ .rank = WRITE_REFUSAL,
            .ids = { row->account_id, row->minute_ms, row->ledger_id },
            .text = "" });
}

static enum status
issued_put(struct store *store, const struct issued_row *row)
{
    struct put put;
    put_issued(&put, row);
    return queue_put(
        store, &put, (struct write_order){ .rank = WRITE_ISSUED, .text = row->id_hash });
}

/* Rows that another gateway sweeps just now are left to it. */
static enum status
issued_sweep(struct store *store, int64_t before_ms)
{
    struct put put;
    put_issued_sweep(&put, before_ms);
    put.statement = STATEMENT_PG_ISSUED_SWEEP;
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_SWEEP, .text = "" });
}

static enum status
receipt_add(struct store *store, const struct receipt_row *row)
{
    struct put put;
    put_receipt(&put, row);
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_RECEIPT, .text = row->name });
}

static enum status
receipt_sweep(struct store *store, int64_t before_ms)
{
    struct put put;
    put_receipt_sweep(&put, before_ms);
    put.statement = STATEMENT_PG_RECEIPT_SWEEP;
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_SWEEP, .text = "" });
}

/* --- Retention: one gateway's job. */

static enum status
ledger_marks(
    struct store *store, int64_t after_id, struct ledger_mark *marks, int32_t max, int32_t *count)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    *count = 0;
    param_i64(&params, after_id);
    param_i64(&params, max);
    const enum status status =
        postgres_read_inside(postgres, STATEMENT_LEDGER_MARKS, &params, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    for (int i = 0; i < PQntuples(answer) && *count < max; i++) {
        struct ledger_mark *mark = &marks[*count];
        if (!row_ledger_mark(pg_columns(&postgres->db, answer, i), mark)) {
            return pg_damaged_row(&postgres->db, "ledger", mark->id);
        }
        (*count)++;
    }
    return STATUS_OK;
}

static enum status
ledger_drop(struct store *store, int64_t after_id, int64_t until_id, int64_t before_ms)
{
    struct put put;
    put_ledger_drop(&put, after_id, until_id, before_ms);
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_SWEEP, .text = "" });
}

static enum status
refusals_old(struct store *store, int64_t before_ms, int32_t max, int32_t *count)
{
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    *count = 0;
    param_i64(&params, before_ms);
    param_i64(&params, max);
    const enum status status =
        postgres_read_inside(postgres_store_of(store), STATEMENT_REFUSALS_OLD, &params, &answer);
    if (status == STATUS_OK) {
        *count = PQntuples(answer);
    }
    return status;
}

static enum status
refusals_drop(struct store *store, int64_t before_ms, int32_t max)
{
    const struct write_order order = { .rank = WRITE_SWEEP, .text = "" };
    struct put put;
    put_refusal_rows_drop(&put, before_ms, max); /* first: they are found by those */
    const enum status status = queue_put(store, &put, order);
    if (status != STATUS_OK) {
        return status;
    }
    put_refusals_drop(&put, before_ms, max);
    return queue_put(store, &put, order);
}

static enum status
mark(struct store *store, const char *name, int64_t *value)
{
    struct postgres_store *postgres = postgres_store_of(store);
    char text[24];
    if (store->state != STORE_WRITING) {
        const enum status status = postgres_ready(postgres);
        return status == STATUS_OK ? postgres_meta_get_i64(&postgres->db, name, FORM_PLAIN, value)
                                   : status;
    }
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    param_text(&params, name);
    const enum status status = postgres_read_inside(postgres, STATEMENT_META_GET, &params, &answer);
    if (status != STATUS_OK || PQntuples(answer) == 0) {
        return status == STATUS_OK ? STATUS_NOT_FOUND : status;
    }
    struct columns *columns = pg_columns(&postgres->db, answer, 0);
    column_text(columns, text, sizeof(text));
    const bool good = !columns->damaged && slice_to_i64(slice_str(text), value);
    return good ? STATUS_OK : pg_damaged_row(&postgres->db, "meta", 0);
}

static enum status
mark_raise(struct store *store, const char *name, int64_t value)
{
    char text[I64_TEXT_BYTES + 1];
    struct put put;
    text[i64_text(value, text)] = '\0';
    put_meta_raise(&put, name, text);
    return queue_put(store, &put, (struct write_order){ .rank = WRITE_META, .text = name });
}

static enum status
queue_outbox(struct store *store, const struct put *put)
{
    return queue_put(
        store, put, (struct write_order){ .rank = WRITE_OUTBOX, .ids = { put->id }, .text = "" });
}

static enum status
outbox_add(struct store *store, const struct outbox_row *row)
{
    struct put put;
    put_outbox(&put, row);
    return queue_outbox(store, &put);
}

static enum status
outbox_tried(struct store *store, const struct outbox_row *row)
{
    struct put put;
    put_outbox_tried(&put, row);
    return queue_outbox(store, &put);
}

static enum status
outbox_delete(struct store *store, int64_t id)
{
    struct put put;
    put_outbox_delete(&put, id);
    return queue_outbox(store, &put);
}

/* Both in the order in which they are put: what one clears another may take. */
static enum status
limit_def_put(struct store *store, const struct limit_def_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    const struct write_order order = { .rank = WRITE_LIMIT, .text = "" };
    struct put put;
    check(locks_asked(
        &postgres->locks, LOCK_LIMITS, 0)); /* whoever writes one has looked at them before */
    put_limit_def_clear(&put, row);
    const enum status status = queue_put(store, &put, order);
    if (status != STATUS_OK) {
        return status;
    }
    PQclear(postgres->limit_defs);
    postgres->limit_defs = NULL;
    put_limit_def(&put, row);
    return queue_put(store, &put, order);
}

const struct store_row_ops postgres_row_ops = {
    .account_put = account_put,
    .key_put = key_put,
    .identity_version = identity_version,
    .identity_bump = identity_bump,
    .thread_put = thread_put,
    .subject_put = subject_put,
    .meter_put = meter_put,
    .reported_put = reported_put,
    .hold_insert = hold_insert,
    .hold_update = hold_update,
    .hold_delete = hold_delete,
    .hold_orphan = hold_orphan,
    .ledger_add = ledger_add,
    .refusal_add = refusal_add,
    .issued_put = issued_put,
    .issued_sweep = issued_sweep,
    .receipt_add = receipt_add,
    .receipt_sweep = receipt_sweep,
    .thread_delete = postgres_thread_delete,
    .subject_delete = postgres_subject_delete,
    .meter_delete = postgres_meter_delete,
    .threads_after = postgres_threads_after,
    .tree_members = postgres_tree_members,
    .meters_after = postgres_meters_after,
    .hold_oldest = postgres_hold_oldest,
    .ledger_marks = ledger_marks,
    .ledger_drop = ledger_drop,
    .refusals_old = refusals_old,
    .refusals_drop = refusals_drop,
    .mark = mark,
    .mark_raise = mark_raise,
    .outbox_add = outbox_add,
    .outbox_tried = outbox_tried,
    .outbox_delete = outbox_delete,
    .limit_def_at = limit_def_at,
    .limit_def_put = limit_def_put,
};
