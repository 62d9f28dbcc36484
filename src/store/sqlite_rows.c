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

/* --- Accounts and keys. */

static enum status
account_get(struct store *store, int64_t account_id, struct account_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ACCOUNT_GET);
    query_i64(&query, account_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_account(query.columns, row);
    return query_finish(&query, status, intact, "account", &account_id);
}

static enum status
account_by_name(struct store *store, const char *name, struct account_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ACCOUNT_BY_NAME);
    query_text(&query, name);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_account(query.columns, row);
    return query_finish(&query, status, intact, "account", &row->account_id);
}

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
key_get(struct store *store, int64_t key_id, struct key_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_KEY_GET);
    query_i64(&query, key_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_key(query.columns, row);
    return query_finish(&query, status, intact, "key", &key_id);
}

static enum status
key_by_hash(struct store *store, const char *hash_hex, struct key_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_KEY_BY_HASH);
    query_text(&query, hash_hex);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_key(query.columns, row);
    return query_finish(&query, status, intact, "key", &row->key_id);
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

/* --- Threads and subjects. */

static enum status
thread_get(struct store *store, int64_t thread_id, struct thread_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_THREAD_GET);
    query_i64(&query, thread_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_thread(query.columns, row);
    return query_finish(&query, status, intact, "thread", &thread_id);
}

static enum status
thread_find(struct store *store, int64_t account_id, enum thread_kind kind, const char *sig_hash,
    struct thread_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_THREAD_FIND);
    query_i64(&query, account_id);
    query_i64(&query, kind);
    query_text(&query, sig_hash);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_thread(query.columns, row);
    return query_finish(&query, status, intact, "thread", &row->thread_id);
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

static enum status
subject_find(struct store *store, enum subject_kind kind, int64_t account_id, const char *name,
    struct subject_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_SUBJECT_FIND);
    query_i64(&query, account_id);
    query_i64(&query, kind);
    query_text(&query, name);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_subject(query.columns, row);
    return query_finish(&query, status, intact, "subject", &row->subject_id);
}

static enum status
subject_put(struct store *store, const struct subject_row *row)
{
    struct put put;
    put_subject(&put, row);
    return run_put(db_of(store), &put);
}

/* --- Meters. */

static enum status
no_memory(struct sqlite_db *db)
{
    return store_fail(db->error_text, STATUS_FULL, "no memory for a row of the store");
}

static enum status
meter_get(struct store *store, int64_t subject_id, struct meter_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_METER_GET);
    query_i64(&query, subject_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_meter(query.columns, row);
    return query_finish(&query, status, intact, "meter", &subject_id);
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

/* --- Holds. */

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

static enum status
hold_get(struct store *store, int64_t hold_id, struct hold_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_HOLD_GET);
    query_i64(&query, hold_id);
    return read_hold(sqlite_store_of(store), &query, row);
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
issued_get(struct store *store, const char *id_hash, struct issued_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ISSUED_GET);
    query_text(&query, id_hash);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_issued(query.columns, row);
    return query_finish(&query, status, intact, "issued", &row->account_id);
}

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
limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_LIMIT_DEF_AT);
    query_i64(&query, index);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_limit_def(query.columns, row);
    return query_finish(&query, status, intact, "limit_def", &row->limit_id);
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
    .account_get = account_get,
    .account_by_name = account_by_name,
    .account_put = account_put,
    .key_get = key_get,
    .key_by_hash = key_by_hash,
    .key_put = key_put,
    .identity_version = identity_version,
    .identity_bump = identity_bump,
    .thread_get = thread_get,
    .thread_find = thread_find,
    .thread_put = thread_put,
    .subject_find = subject_find,
    .subject_put = subject_put,
    .meter_get = meter_get,
    .meter_put = meter_put,
    .hold_get = hold_get,
    .hold_insert = hold_insert,
    .hold_update = hold_update,
    .hold_delete = hold_delete,
    .hold_orphan = hold_orphan,
    .ledger_add = ledger_add,
    .refusal_add = refusal_add,
    .issued_get = issued_get,
    .issued_put = issued_put,
    .issued_sweep = issued_sweep,
    .limit_def_at = limit_def_at,
    .limit_def_put = limit_def_put,
};
