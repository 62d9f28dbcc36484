/* store/sqlite_rows.c: the writer's gets and puts. What is written was checked by store.c. The
 * order of the binds is the order of the parameters in statements.h. */
#include "store/sqlite_priv.h"

#include "rows/pack.h"

static struct sqlite_db *
db_of(struct store *store)
{
    return &sqlite_store_of(store)->db;
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
    const bool intact = status != STATUS_OK || row_account(&query, row);
    return query_finish(&query, status, intact, "account", &account_id);
}

static enum status
account_by_name(struct store *store, const char *name, struct account_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ACCOUNT_BY_NAME);
    query_text(&query, name);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_account(&query, row);
    return query_finish(&query, status, intact, "account", &row->account_id);
}

static enum status
account_put(struct store *store, struct account_row *row)
{
    const bool insert = row->version == 0;
    struct query query =
        query_start(db_of(store), insert ? STATEMENT_ACCOUNT_INSERT : STATEMENT_ACCOUNT_UPDATE);
    if (insert) {
        query_i64(&query, row->account_id);
    }
    query_text(&query, row->name);
    query_text(&query, row->plan);
    query_text(&query, row->organisation);
    query_i64(&query, row->state);
    query_i64(&query, row->created_ms);
    query_i64(&query, row->version + 1);
    if (!insert) {
        query_i64(&query, row->account_id);
        query_i64(&query, row->version);
    }
    const enum status status =
        query_write(&query, insert ? STATUS_EXISTS : STATUS_CONFLICT, "account", row->account_id);
    row->version += status == STATUS_OK;
    return status;
}

static enum status
key_get(struct store *store, int64_t key_id, struct key_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_KEY_GET);
    query_i64(&query, key_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_key(&query, row);
    return query_finish(&query, status, intact, "key", &key_id);
}

static enum status
key_by_hash(struct store *store, const char *hash_hex, struct key_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_KEY_BY_HASH);
    query_text(&query, hash_hex);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_key(&query, row);
    return query_finish(&query, status, intact, "key", &row->key_id);
}

static enum status
key_put(struct store *store, struct key_row *row)
{
    const bool insert = row->version == 0;
    struct query query =
        query_start(db_of(store), insert ? STATEMENT_KEY_INSERT : STATEMENT_KEY_UPDATE);
    if (insert) {
        query_i64(&query, row->key_id);
    }
    query_i64(&query, row->account_id);
    query_text(&query, row->hash_hex);
    query_text(&query, row->label);
    query_text(&query, row->shown);
    query_i64(&query, row->role);
    query_i64(&query, row->revoked);
    query_i64(&query, row->thread_required);
    query_i64(&query, row->created_ms);
    query_i64(&query, row->expires_ms);
    query_text(&query, row->may_act_for);
    query_i64(&query, row->version + 1);
    if (!insert) {
        query_i64(&query, row->key_id);
        query_i64(&query, row->version);
    }
    const enum status status =
        query_write(&query, insert ? STATUS_EXISTS : STATUS_CONFLICT, "key", row->key_id);
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
    const bool intact = status != STATUS_OK || row_thread(&query, row);
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
    const bool intact = status != STATUS_OK || row_thread(&query, row);
    return query_finish(&query, status, intact, "thread", &row->thread_id);
}

static enum status
thread_insert(struct sqlite_db *db, const struct thread_row *row)
{
    struct query query = query_start(db, STATEMENT_THREAD_INSERT);
    query_i64(&query, row->thread_id);
    query_i64(&query, row->account_id);
    query_i64(&query, row->root_id);
    query_i64(&query, row->kind);
    query_text(&query, row->sig_hash);
    query_i64(&query, row->created_ms);
    query_i64(&query, row->last_ms);
    query_i64(&query, row->last_input);
    query_i64(&query, row->last_input_bytes);
    query_i64(&query, row->version + 1);
    return query_write(&query, STATUS_EXISTS, "thread", row->thread_id);
}

/* Its account, kind and hash are what it is: they stay. */
static enum status
thread_update(struct sqlite_db *db, const struct thread_row *row)
{
    struct query query = query_start(db, STATEMENT_THREAD_UPDATE);
    query_i64(&query, row->root_id);
    query_i64(&query, row->last_ms);
    query_i64(&query, row->last_input);
    query_i64(&query, row->last_input_bytes);
    query_i64(&query, row->version + 1);
    query_i64(&query, row->thread_id);
    query_i64(&query, row->version);
    return query_write(&query, STATUS_CONFLICT, "thread", row->thread_id);
}

static enum status
thread_put(struct store *store, struct thread_row *row)
{
    struct sqlite_db *db = db_of(store);
    const enum status status = row->version == 0 ? thread_insert(db, row) : thread_update(db, row);
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
    const bool intact = status != STATUS_OK || row_subject(&query, row);
    return query_finish(&query, status, intact, "subject", &row->subject_id);
}

static enum status
subject_put(struct store *store, const struct subject_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_SUBJECT_INSERT);
    query_i64(&query, row->subject_id);
    query_i64(&query, row->kind);
    query_i64(&query, row->account_id);
    query_text(&query, row->name);
    return query_write(&query, STATUS_EXISTS, "subject", row->subject_id);
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
    const bool intact = status != STATUS_OK || row_meter(&query, row);
    return query_finish(&query, status, intact, "meter", &subject_id);
}

static enum status
meter_put(struct store *store, struct meter_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    const bool insert = row->version == 0;
    buf_clear(&sqlite->packed);
    pack_meters(row, &sqlite->packed);
    if (sqlite->packed.failed) {
        return no_memory(&sqlite->db);
    }
    struct query query =
        query_start(&sqlite->db, insert ? STATEMENT_METER_INSERT : STATEMENT_METER_UPDATE);
    if (insert) {
        query_i64(&query, row->subject_id);
        query_i64(&query, row->node_id);
    }
    query_slice(&query, buf_slice(&sqlite->packed));
    query_i64(&query, row->seen_ms);
    query_i64(&query, row->version + 1);
    if (!insert) {
        query_i64(&query, row->subject_id);
        query_i64(&query, row->node_id);
        query_i64(&query, row->version);
    }
    const enum status status = query_write(&query, STATUS_CONFLICT, "meter", row->subject_id);
    row->version += status == STATUS_OK;
    return status;
}

/* --- Holds. */

/* Packs into the store's two buffers, which live until the next row is packed. */
static bool
pack_hold(struct sqlite_store *sqlite, const struct hold_row *row)
{
    buf_clear(&sqlite->packed);
    buf_clear(&sqlite->packed_2);
    pack_parts(row, &sqlite->packed);
    pack_attempts(row, &sqlite->packed_2);
    return !sqlite->packed.failed && !sqlite->packed_2.failed;
}

/* Ends the query; the inputs are copied, so that they outlive it. */
static enum status
read_hold(struct sqlite_store *sqlite, struct query *query, struct hold_row *row)
{
    enum status status = query_next(query);
    if (status == STATUS_OK && !row_hold(query, row)) {
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
    if (!pack_hold(sqlite, row)) {
        return no_memory(&sqlite->db);
    }
    struct query query = query_start(&sqlite->db, STATEMENT_HOLD_INSERT);
    query_i64(&query, row->hold_id);
    query_i64(&query, row->node_id);
    query_i64(&query, row->epoch);
    query_i64(&query, row->account_id);
    query_i64(&query, row->key_id);
    query_i64(&query, row->thread_id);
    query_i64(&query, row->root_id);
    query_i64(&query, row->payer);
    query_i64(&query, row->state);
    query_i64(&query, row->on_abort);
    query_text(&query, row->model);
    query_slice(&query, buf_slice(&sqlite->packed));
    query_slice(&query, buf_slice(&sqlite->packed_2));
    query_i64(&query, row->held_micros);
    query_i64(&query, row->bound_micros);
    query_i64(&query, row->est_micros);
    query_i64(&query, row->est_input);
    query_i64(&query, row->input_bound);
    query_i64(&query, row->held_output);
    query_i64(&query, row->bound_output);
    query_i64(&query, row->multiplier_pct);
    query_i64(&query, row->body_bytes);
    query_text(&query, row->estimator);
    query_i64(&query, row->created_ms);
    query_i64(&query, row->policy_ver);
    query_i64(&query, row->price_ver);
    query_slice(&query, row->inputs);
    return query_write(&query, STATUS_EXISTS, "hold", row->hold_id);
}

static enum status
hold_update(struct store *store, const struct hold_row *row)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    if (!pack_hold(sqlite, row)) {
        return no_memory(&sqlite->db);
    }
    struct query query = query_start(&sqlite->db, STATEMENT_HOLD_UPDATE);
    query_i64(&query, row->payer);
    query_i64(&query, row->state);
    query_i64(&query, row->on_abort);
    query_slice(&query, buf_slice(&sqlite->packed));
    query_slice(&query, buf_slice(&sqlite->packed_2));
    query_i64(&query, row->held_micros);
    query_i64(&query, row->bound_micros);
    query_i64(&query, row->est_micros);
    query_i64(&query, row->est_input);
    query_i64(&query, row->input_bound);
    query_i64(&query, row->held_output);
    query_i64(&query, row->bound_output);
    query_i64(&query, row->multiplier_pct);
    query_i64(&query, row->body_bytes);
    query_text(&query, row->estimator);
    query_i64(&query, row->policy_ver);
    query_i64(&query, row->price_ver);
    query_i64(&query, row->hold_id);
    return query_write(&query, STATUS_NOT_FOUND, "hold", row->hold_id);
}

static enum status
hold_delete(struct store *store, int64_t hold_id)
{
    struct query query = query_start(db_of(store), STATEMENT_HOLD_DELETE);
    query_i64(&query, hold_id);
    return query_write(&query, STATUS_NOT_FOUND, "hold", hold_id);
}

/* --- Ledger and refusals. */

static enum status
ledger_add(struct store *store, const struct ledger_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_LEDGER_ADD);
    query_i64(&query, row->id);
    query_i64(&query, row->at_ms);
    query_i64(&query, row->kind);
    query_i64(&query, row->hold_id);
    query_i64(&query, row->attempt);
    query_i64(&query, row->account_id);
    query_i64(&query, row->key_id);
    query_i64(&query, row->thread_id);
    query_i64(&query, row->root_id);
    query_text(&query, row->model);
    query_text(&query, row->source);
    query_text(&query, row->provider);
    query_text(&query, row->upstream_model);
    query_i64(&query, row->payer);
    query_i64(&query, row->usage.input);
    query_i64(&query, row->usage.cache_read);
    query_i64(&query, row->usage.cache_write_5m);
    query_i64(&query, row->usage.cache_write_1h);
    query_i64(&query, row->usage.output);
    query_i64(&query, row->usage.reasoning);
    query_i64(&query, row->usage.cost_micros);
    query_i64(&query, row->usage.known);
    query_i64(&query, row->cost_micros);
    query_i64(&query, row->est_micros);
    query_i64(&query, row->bound_micros);
    query_i64(&query, row->started_ms);
    query_text(&query, row->estimator);
    query_text(&query, reason_row(row->reason)->code);
    query_i64(&query, row->status);
    query_i64(&query, row->flags);
    query_i64(&query, row->policy_ver);
    query_i64(&query, row->price_ver);
    query_slice(&query, row->inputs);
    return query_write(&query, STATUS_EXISTS, "ledger", row->id);
}

static enum status
refusal_add(struct store *store, const struct refusal_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_REFUSAL_ADD);
    query_i64(&query, row->account_id);
    query_i64(&query, row->key_id);
    query_text(&query, row->model);
    query_i64(&query, row->limit_id);
    query_text(&query, reason_row(row->reason)->code);
    query_i64(&query, row->minute_ms);
    query_i64(&query, row->count);
    query_i64(&query, row->ledger_id);
    return query_write(&query, STATUS_IO, "refusal", row->ledger_id);
}

/* --- Issued ids and limits. */

static enum status
issued_get(struct store *store, const char *id_hash, struct issued_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ISSUED_GET);
    query_text(&query, id_hash);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_issued(&query, row);
    return query_finish(&query, status, intact, "issued", &row->account_id);
}

static enum status
issued_put(struct store *store, const struct issued_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_ISSUED_PUT);
    query_text(&query, row->id_hash);
    query_i64(&query, row->account_id);
    query_text(&query, row->provider);
    query_i64(&query, row->at_ms);
    int64_t changed_count = 0; /* 0: it keeps who had it first */
    return query_run(&query, &changed_count);
}

static enum status
issued_sweep(struct store *store, int64_t before_ms)
{
    struct query query = query_start(db_of(store), STATEMENT_ISSUED_SWEEP);
    query_i64(&query, before_ms);
    query_i64(&query, STORE_SWEEP_ROWS);
    int64_t changed_count = 0;
    return query_run(&query, &changed_count);
}

static enum status
limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    struct query query = query_start(db_of(store), STATEMENT_LIMIT_DEF_AT);
    query_i64(&query, index);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_limit_def(&query, row);
    return query_finish(&query, status, intact, "limit_def", &row->limit_id);
}

static enum status
limit_def_put(struct store *store, const struct limit_def_row *row)
{
    struct query clear = query_start(db_of(store), STATEMENT_LIMIT_DEF_CLEAR);
    query_i64(&clear, row->limit_id);
    query_text(&clear, row->name);
    int64_t cleared_count = 0;
    const enum status status = query_run(&clear, &cleared_count);
    if (status != STATUS_OK) {
        return status;
    }
    struct query query = query_start(db_of(store), STATEMENT_LIMIT_DEF_INSERT);
    query_i64(&query, row->limit_id);
    query_text(&query, row->name);
    query_text(&query, row->fingerprint);
    query_i64(&query, row->since_ms);
    return query_write(&query, STATUS_EXISTS, "limit_def", row->limit_id);
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
