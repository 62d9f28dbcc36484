/* store/sqlite_rows.c: the writer's gets and puts. What is written was checked by store.c. The
 * parameters are those of puts.c. */
#include "store/sqlite_priv.h"

static struct sqlite_db *
db_of(struct store *store)
{
    return &sqlite_store_of(store)->db;
}

enum status
run_put(struct sqlite_db *db, const struct put *put)
{
    struct query query = query_start(db, put->statement);
    query_bind(&query, &put->params);
    return query_write(&query, put->none, put->table, put->id);
}

/* --- Meta: names and values. */

enum status
sqlite_meta_get(struct sqlite_db *db, const char *name, char *out, size_t out_size)
{
    struct query query = query_start(db, STATEMENT_META_GET);
    query_text(&query, name);
    enum status status = query_next(&query);
    if (status == STATUS_OK) {
        column_text(query.columns, out, out_size);
        if (query.columns->damaged) {
            status = store_fail(db->error_text, STATUS_INVALID,
                "the store is damaged: table meta, '%s' makes no sense; restore a backup", name);
        }
    }
    query_end(&query);
    return status;
}

enum status
sqlite_meta_put(struct sqlite_db *db, const char *name, const char *value)
{
    struct put put;
    put_meta(&put, name, value);
    return run_put(db, &put);
}

enum status
sqlite_meta_get_i64(struct sqlite_db *db, const char *name, int64_t *value)
{
    char text[24];
    const enum status status = sqlite_meta_get(db, name, text, sizeof(text));
    if (status == STATUS_OK && (!slice_to_i64(slice_str(text), value) || *value < 0)) {
        return store_fail(db->error_text, STATUS_INVALID,
            "the store is damaged: table meta, '%s' is no number; restore a backup", name);
    }
    return status;
}

enum status
sqlite_meta_put_i64(struct sqlite_db *db, const char *name, int64_t value)
{
    struct buf text = { 0 };
    buf_add_i64(&text, value);
    const enum status status =
        text.failed ? STATUS_FULL : sqlite_meta_put(db, name, buf_cstr(&text));
    buf_free(&text);
    return status;
}

/* --- The identity version. */

static enum status
identity_version(struct store *store, int64_t *version)
{
    return sqlite_meta_get_i64(db_of(store), "identity_version", version);
}

static enum status
identity_bump(struct store *store, int64_t version)
{
    struct sqlite_db *db = db_of(store);
    int64_t stored = 0;
    const enum status status = sqlite_meta_get_i64(db, "identity_version", &stored);
    if (status != STATUS_OK) {
        return status;
    }
    if (version <= stored) {
        return store_fail(db->error_text, STATUS_CONFLICT,
            "the identity version is %lld already, so not %lld", (long long)stored,
            (long long)version);
    }
    return sqlite_meta_put_i64(db, "identity_version", version);
}

/* --- Accounts, keys, threads. */

static enum status
account_put(struct store *store, struct account_row *row)
{
    struct put put;
    put_account(&put, row);
    const enum status status = run_put(db_of(store), &put);
    row->version += status == STATUS_OK;
    return status;
}

static enum status
key_put(struct store *store, struct key_row *row)
{
    struct put put;
    put_key(&put, row);
    const enum status status = run_put(db_of(store), &put);
    row->version += status == STATUS_OK;
    return status;
}

static enum status
thread_put(struct store *store, struct thread_row *row)
{
    struct put put;
    put_thread(&put, row);
    const enum status status = run_put(db_of(store), &put);
    row->version += status == STATUS_OK;
    return status;
}

/* --- Subjects and meters. */

static enum status
no_memory(struct sqlite_db *db)
{
    return store_fail(db->error_text, STATUS_FULL, "no memory for a row of the store");
}

static enum status
subject_put(struct store *store, struct subject_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct put put;
    if (!put_subject(&put, row, &sqlite->packed)) {
        return no_memory(&sqlite->db);
    }
    const enum status status = run_put(&sqlite->db, &put);
    row->version += status == STATUS_OK;
    return status;
}

static enum status
meter_put(struct store *store, struct meter_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct put put;
    if (!put_meter(&put, row, &sqlite->packed)) {
        return no_memory(&sqlite->db);
    }
    const enum status status = run_put(&sqlite->db, &put);
    row->version += status == STATUS_OK;
    return status;
}

static enum status
reported_put(struct store *store, struct reported_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct put put;
    if (!put_reported(&put, row, &sqlite->packed)) {
        return no_memory(&sqlite->db);
    }
    const enum status status = run_put(&sqlite->db, &put);
    row->version += status == STATUS_OK;
    return status;
}

/* --- Rows by what they are needed for, and holds. */

/* Ends the query; the inputs are copied, so that they outlive it. */
static enum status
read_hold(struct sqlite_store *sqlite, struct query *query, struct hold_row *row)
{
    enum status status = query_next(query);
    if (status == STATUS_OK && !row_hold(query->columns, row)) {
        status = db_damaged(query->db, "hold", row->hold_id);
    }
    if (status == STATUS_OK) {
        buf_clear(&sqlite->inputs);
        buf_add_slice(&sqlite->inputs, row->inputs);
        row->inputs = buf_slice(&sqlite->inputs);
        if (sqlite->inputs.failed) {
            status = no_memory(query->db);
        }
    }
    query_end(query);
    return status;
}

/* Each row begins with its number, but for those that have none. */
static const int64_t *
number_of(enum need_kind kind, const union need_row *row)
{
    if (kind == NEED_RECEIPT) {
        return &row->receipt.at_ms;
    }
    return kind == NEED_ISSUED ? &row->issued.account_id : &row->account.account_id;
}

static enum status
get(struct store *store, const struct need *need, union need_row *row)
{
    struct params params;
    struct query query = query_start(db_of(store), need_statement(need, &params));
    query_bind(&query, &params);
    if (need->kind == NEED_HOLD) {
        return read_hold(sqlite_store_of(store), &query, &row->hold);
    }
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_needed(query.columns, need->kind, row);
    return query_finish(&query, status, intact, need_table(need->kind), number_of(need->kind, row));
}

static enum status
hold_orphan(struct store *store, int64_t after, struct hold_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_HOLD_ORPHAN);
    query_i64(&query, after);
    return read_hold(sqlite_store_of(store), &query, row);
}

static enum status
hold_insert(struct store *store, const struct hold_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct put put;
    return put_hold_insert(&put, row, &sqlite->packed, &sqlite->packed_2)
               ? run_put(&sqlite->db, &put)
               : no_memory(&sqlite->db);
}

static enum status
hold_update(struct store *store, const struct hold_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct put put;
    return put_hold_update(&put, row, &sqlite->packed, &sqlite->packed_2)
               ? run_put(&sqlite->db, &put)
               : no_memory(&sqlite->db);
}

static enum status
hold_delete(struct store *store, int64_t hold_id)
{
    struct put put;
    put_hold_delete(&put, hold_id);
    return run_put(db_of(store), &put);
}

/* --- Ledger and refusals. */

static enum status
ledger_add(struct store *store, const struct ledger_row *row)
{
    struct put put;
    put_ledger(&put, row);
    return run_put(db_of(store), &put);
}

static enum status
refusal_add(struct store *store, const struct refusal_row *row)
{
    struct put put;
    put_refusal(&put, row);
    return run_put(db_of(store), &put);
}

/* --- Issued ids and limits. */

static enum status
issued_put(struct store *store, const struct issued_row *row)
{
    struct put put;
    put_issued(&put, row);
    return run_put(db_of(store), &put);
}

static enum status
issued_sweep(struct store *store, int64_t before_ms)
{
    struct put put;
    put_issued_sweep(&put, before_ms);
    return run_put(db_of(store), &put);
}

static enum status
receipt_add(struct store *store, const struct receipt_row *row)
{
    struct put put;
    put_receipt(&put, row);
    return run_put(db_of(store), &put);
}

static enum status
receipt_sweep(struct store *store, int64_t before_ms)
{
    struct put put;
    put_receipt_sweep(&put, before_ms);
    return run_put(db_of(store), &put);
}

/* --- Retention. */

static enum status
ledger_marks(
    struct store *store, int64_t after_id, struct ledger_mark *marks, int32_t max, int32_t *count)
{
    struct query query = query_start(db_of(store), STATEMENT_LEDGER_MARKS);
    enum status status = STATUS_OK;
    *count = 0;
    query_i64(&query, after_id);
    query_i64(&query, max);
    while (*count < max && (status = query_next(&query)) == STATUS_OK) {
        if (!row_ledger_mark(query.columns, &marks[*count])) {
            status = db_damaged(query.db, "ledger", marks[*count].id);
            break;
        }
        (*count)++;
    }
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
ledger_drop(struct store *store, int64_t after_id, int64_t until_id, int64_t before_ms)
{
    struct put put;
    put_ledger_drop(&put, after_id, until_id, before_ms);
    return run_put(db_of(store), &put);
}

static enum status
refusals_old(struct store *store, int64_t before_ms, int32_t max, int32_t *count)
{
    struct query query = query_start(db_of(store), STATEMENT_REFUSALS_OLD);
    enum status status = STATUS_OK;
    *count = 0;
    query_i64(&query, before_ms);
    query_i64(&query, max);
    while ((status = query_next(&query)) == STATUS_OK) {
        (*count)++;
    }
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
refusals_drop(struct store *store, int64_t before_ms, int32_t max)
{
    struct put put;
    put_refusal_rows_drop(&put, before_ms, max); /* first: they are found by those */
    const enum status status = run_put(db_of(store), &put);
    if (status != STATUS_OK) {
        return status;
    }
    put_refusals_drop(&put, before_ms, max);
    return run_put(db_of(store), &put);
}

static enum status
mark(struct store *store, const char *name, int64_t *value)
{
    return sqlite_meta_get_i64(db_of(store), name, value);
}

static enum status
mark_raise(struct store *store, const char *name, int64_t value)
{
    int64_t stored = 0;
    const enum status status = mark(store, name, &stored);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && stored < value)) {
        return sqlite_meta_put_i64(db_of(store), name, value);
    }
    return status;
}

static enum status
outbox_add(struct store *store, const struct outbox_row *row)
{
    struct put put;
    put_outbox(&put, row);
    return run_put(db_of(store), &put);
}

static enum status
outbox_tried(struct store *store, const struct outbox_row *row)
{
    struct put put;
    put_outbox_tried(&put, row);
    return run_put(db_of(store), &put);
}

static enum status
outbox_delete(struct store *store, int64_t id)
{
    struct put put;
    put_outbox_delete(&put, id);
    return run_put(db_of(store), &put);
}

static enum status
limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_LIMIT_DEF_AT);
    query_i64(&query, index);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_limit_def(query.columns, row);
    return query_finish(&query, status, intact, "limit_def", &row->def_id);
}

static enum status
limit_def_put(struct store *store, const struct limit_def_row *row)
{
    struct put put;
    put_limit_def_clear(&put, row);
    const enum status status = run_put(db_of(store), &put);
    if (status != STATUS_OK) {
        return status;
    }
    put_limit_def(&put, row);
    return run_put(db_of(store), &put);
}

const struct store_row_ops sqlite_row_ops = {
    .get = get,
    .get_several = sqlite_get_several,
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
    .thread_delete = sqlite_thread_delete,
    .subject_delete = sqlite_subject_delete,
    .meter_delete = sqlite_meter_delete,
    .threads_after = sqlite_threads_after,
    .tree_members = sqlite_tree_members,
    .meters_after = sqlite_meters_after,
    .hold_oldest = sqlite_hold_oldest,
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
