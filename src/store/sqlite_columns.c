/* store/sqlite_columns.c: the current row of a query as a row of rows.h, and the meta table.
 * Whatever is in the file is checked here: damage is an answer, never a crash. */
#include "store/sqlite_priv.h"

#include "rows/pack.h"

/* --- Columns to rows. */

static enum reason
column_reason(struct query *query)
{
    const struct slice code = column_slice(query);
    const enum reason reason = reason_from_code(code.ptr ? code.ptr : "", code.len);
    query->damaged |= reason == REASON_COUNT;
    return reason;
}

bool
row_node(struct query *query, struct node_row *row)
{
    row->node_id = column_i64(query);
    row->epoch = column_i64(query);
    row->lease_until_ms = column_i64(query);
    row->batch_no = column_i64(query);
    row->high_water_ms = column_i64(query);
    column_text(query, row->config_hash, sizeof(row->config_hash));
    column_text(query, row->name, sizeof(row->name));
    row->started_ms = column_i64(query);
    row->waiting_count = column_i64(query);
    return !query->damaged && node_valid(row);
}

bool
row_account(struct query *query, struct account_row *row)
{
    row->account_id = column_i64(query);
    column_text(query, row->name, sizeof(row->name));
    column_text(query, row->plan, sizeof(row->plan));
    column_text(query, row->organisation, sizeof(row->organisation));
    row->state = (enum account_state)column_range(query, 0, ACCOUNT_BANNED);
    row->created_ms = column_i64(query);
    row->version = column_i64(query);
    return !query->damaged && account_valid(row);
}

bool
row_key(struct query *query, struct key_row *row)
{
    row->key_id = column_i64(query);
    row->account_id = column_i64(query);
    column_text(query, row->hash_hex, sizeof(row->hash_hex));
    column_text(query, row->label, sizeof(row->label));
    column_text(query, row->shown, sizeof(row->shown));
    row->role = (enum key_role)column_range(query, 0, ROLE_COUNT - 1);
    row->revoked = column_bool(query);
    row->thread_required = column_bool(query);
    row->created_ms = column_i64(query);
    row->expires_ms = column_i64(query);
    column_text(query, row->may_act_for, sizeof(row->may_act_for));
    row->version = column_i64(query);
    return !query->damaged && key_valid(row);
}

bool
row_thread(struct query *query, struct thread_row *row)
{
    row->thread_id = column_i64(query);
    row->account_id = column_i64(query);
    row->root_id = column_i64(query);
    row->kind = (enum thread_kind)column_range(query, 0, THREAD_KIND_COUNT - 1);
    column_text(query, row->sig_hash, sizeof(row->sig_hash));
    row->created_ms = column_i64(query);
    row->last_ms = column_i64(query);
    row->last_input = column_i64(query);
    row->last_input_bytes = column_i64(query);
    row->version = column_i64(query);
    return !query->damaged && thread_valid(row);
}

bool
row_subject(struct query *query, struct subject_row *row)
{
    row->subject_id = column_i64(query);
    row->kind = (enum subject_kind)column_range(query, 0, SUBJECT_KIND_COUNT - 1);
    row->account_id = column_i64(query);
    column_text(query, row->name, sizeof(row->name));
    return !query->damaged && subject_valid(row);
}

bool
row_meter(struct query *query, struct meter_row *row)
{
    row->subject_id = column_i64(query);
    row->node_id = column_i64(query);
    query->damaged |= !unpack_meters(column_slice(query), row);
    row->seen_ms = column_i64(query);
    row->version = column_i64(query);
    return !query->damaged && meter_row_valid(row);
}

bool
row_hold(struct query *query, struct hold_row *row)
{
    row->hold_id = column_i64(query);
    row->node_id = column_i64(query);
    row->epoch = column_i64(query);
    row->account_id = column_i64(query);
    row->key_id = column_i64(query);
    row->thread_id = column_i64(query);
    row->root_id = column_i64(query);
    row->payer = (enum payer)column_range(query, 0, PAYER_USER);
    row->state = (enum hold_state)column_range(query, 0, HOLD_OPEN);
    row->on_abort = (enum on_abort)column_range(query, 0, ON_ABORT_STOPS);
    column_text(query, row->model, sizeof(row->model));
    query->damaged |= !unpack_parts(column_slice(query), row);
    query->damaged |= !unpack_attempts(column_slice(query), row);
    row->held_micros = column_i64(query);
    row->bound_micros = column_i64(query);
    row->est_micros = column_i64(query);
    row->est_input = column_i64(query);
    row->input_bound = column_i64(query);
    row->held_output = column_i64(query);
    row->bound_output = column_i64(query);
    row->multiplier_pct = column_i64(query);
    row->body_bytes = column_i64(query);
    column_text(query, row->estimator, sizeof(row->estimator));
    row->created_ms = column_i64(query);
    row->policy_ver = column_i64(query);
    row->price_ver = column_i64(query);
    row->inputs = column_slice(query);
    return !query->damaged && hold_valid(row);
}

bool
row_ledger(struct query *query, struct ledger_row *row)
{
    row->id = column_i64(query);
    row->at_ms = column_i64(query);
    row->kind = (enum ledger_kind)column_range(query, 0, LEDGER_KIND_COUNT - 1);
    row->hold_id = column_i64(query);
    row->attempt = column_range(query, 0, INT32_MAX);
    row->account_id = column_i64(query);
    row->key_id = column_i64(query);
    row->thread_id = column_i64(query);
    row->root_id = column_i64(query);
    column_text(query, row->model, sizeof(row->model));
    column_text(query, row->source, sizeof(row->source));
    column_text(query, row->provider, sizeof(row->provider));
    column_text(query, row->upstream_model, sizeof(row->upstream_model));
    row->payer = (enum payer)column_range(query, 0, PAYER_USER);
    row->usage.input = column_i64(query);
    row->usage.cache_read = column_i64(query);
    row->usage.cache_write_5m = column_i64(query);
    row->usage.cache_write_1h = column_i64(query);
    row->usage.output = column_i64(query);
    row->usage.reasoning = column_i64(query);
    row->usage.cost_micros = column_i64(query);
    row->usage.known = (uint32_t)column_range(query, 0, INT32_MAX);
    row->cost_micros = column_i64(query);
    row->est_micros = column_i64(query);
    row->bound_micros = column_i64(query);
    row->started_ms = column_i64(query);
    column_text(query, row->estimator, sizeof(row->estimator));
    row->reason = column_reason(query);
    row->status = column_range(query, 0, INT32_MAX);
    row->flags = (uint32_t)column_range(query, 0, INT32_MAX);
    row->policy_ver = column_i64(query);
    row->price_ver = column_i64(query);
    row->inputs = column_slice(query);
    return !query->damaged && ledger_valid(row);
}

bool
row_refusal(struct query *query, struct refusal_row *row)
{
    row->account_id = column_i64(query);
    row->key_id = column_i64(query);
    column_text(query, row->model, sizeof(row->model));
    row->limit_id = column_i64(query);
    row->reason = column_reason(query);
    row->minute_ms = column_i64(query);
    row->count = column_i64(query);
    row->ledger_id = column_i64(query);
    return !query->damaged && refusal_valid(row);
}

bool
row_issued(struct query *query, struct issued_row *row)
{
    column_text(query, row->id_hash, sizeof(row->id_hash));
    row->account_id = column_i64(query);
    column_text(query, row->provider, sizeof(row->provider));
    row->at_ms = column_i64(query);
    return !query->damaged && issued_valid(row);
}

bool
row_limit_def(struct query *query, struct limit_def_row *row)
{
    row->limit_id = column_i64(query);
    column_text(query, row->name, sizeof(row->name));
    column_text(query, row->fingerprint, sizeof(row->fingerprint));
    row->since_ms = column_i64(query);
    return !query->damaged && limit_def_valid(row);
}

/* --- Meta: names and values. */

enum status
sqlite_meta_get(struct sqlite_db *db, const char *name, char *out, size_t out_size)
{
    struct query query = query_start(db, STATEMENT_META_GET);
    query_text(&query, name);
    enum status status = query_next(&query);
    if (status == STATUS_OK) {
        column_text(&query, out, out_size);
        if (query.damaged) {
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
    struct query query = query_start(db, STATEMENT_META_PUT);
    query_text(&query, name);
    query_text(&query, value);
    return query_write(&query, STATUS_IO, "meta", 0);
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
