/* store/columns.c: columns as a row of rows.h. Whatever is in the database is checked here: damage is an
 * answer, never a crash. */
#include "store/columns_priv.h"

#include "rows/pack.h"
#include "tbl/counts.h"

/* --- Columns. */

int64_t
column_i64(struct columns *columns)
{
    check(columns->next < columns->count); /* the statement's own list is shorter */
    const struct value *value = &columns->at[columns->next++];
    if (value->kind != VALUE_NUMBER) {
        columns->damaged = true;
        return 0;
    }
    return value->number;
}

int32_t
column_range(struct columns *columns, int32_t min, int32_t max)
{
    const int64_t value = column_i64(columns);
    if (value < min || value > max) {
        columns->damaged = true;
        return min;
    }
    return (int32_t)value;
}

bool
column_bool(struct columns *columns)
{
    return column_range(columns, 0, 1) == 1;
}

struct slice
column_slice(struct columns *columns)
{
    check(columns->next < columns->count);
    const struct value *value = &columns->at[columns->next++];
    if (value->kind != VALUE_TEXT) {
        columns->damaged = true;
        return slice_of(NULL, 0);
    }
    return value->text;
}

void
column_text(struct columns *columns, char *out, size_t out_size)
{
    const struct slice text = column_slice(columns);
    out[0] = '\0';
    if (memchr(text.ptr ? text.ptr : "", '\0', text.len) || !slice_to_cstr(text, out, out_size)) {
        columns->damaged = true;
    }
}

/* --- Columns to rows. */

static enum reason
column_reason(struct columns *columns)
{
    const struct slice code = column_slice(columns);
    const enum reason reason = reason_from_code(code.ptr ? code.ptr : "", code.len);
    columns->damaged |= reason == REASON_COUNT;
    return reason;
}

bool
row_node(struct columns *columns, struct node_row *row)
{
    row->node_id = column_i64(columns);
    row->epoch = column_i64(columns);
    row->lease_until_ms = column_i64(columns);
    row->batch_no = column_i64(columns);
    row->high_water_ms = column_i64(columns);
    column_text(columns, row->config_hash, sizeof(row->config_hash));
    column_text(columns, row->name, sizeof(row->name));
    row->started_ms = column_i64(columns);
    row->waiting_count = column_i64(columns);
    return !columns->damaged && node_valid(row);
}

bool
row_account(struct columns *columns, struct account_row *row)
{
    row->account_id = column_i64(columns);
    column_text(columns, row->name, sizeof(row->name));
    column_text(columns, row->plan, sizeof(row->plan));
    column_text(columns, row->organisation, sizeof(row->organisation));
    row->state = (enum account_state)column_range(columns, 0, ACCOUNT_BANNED);
    row->created_ms = column_i64(columns);
    row->version = column_i64(columns);
    return !columns->damaged && account_valid(row);
}

bool
row_key(struct columns *columns, struct key_row *row)
{
    row->key_id = column_i64(columns);
    row->account_id = column_i64(columns);
    column_text(columns, row->hash_hex, sizeof(row->hash_hex));
    column_text(columns, row->label, sizeof(row->label));
    column_text(columns, row->shown, sizeof(row->shown));
    row->role = (enum key_role)column_range(columns, 0, ROLE_COUNT - 1);
    row->revoked = column_bool(columns);
    row->thread_required = column_bool(columns);
    row->created_ms = column_i64(columns);
    row->expires_ms = column_i64(columns);
    column_text(columns, row->may_act_for, sizeof(row->may_act_for));
    row->version = column_i64(columns);
    return !columns->damaged && key_valid(row);
}

bool
row_thread(struct columns *columns, struct thread_row *row)
{
    row->thread_id = column_i64(columns);
    row->account_id = column_i64(columns);
    row->root_id = column_i64(columns);
    row->kind = (enum thread_kind)column_range(columns, 0, THREAD_KIND_COUNT - 1);
    column_text(columns, row->sig_hash, sizeof(row->sig_hash));
    row->created_ms = column_i64(columns);
    row->last_ms = column_i64(columns);
    row->last_input = column_i64(columns);
    row->last_input_bytes = column_i64(columns);
    row->version = column_i64(columns);
    return !columns->damaged && thread_valid(row);
}

bool
row_subject(struct columns *columns, struct subject_row *row)
{
    row->subject_id = column_i64(columns);
    row->kind = (enum subject_kind)column_range(columns, 0, SUBJECT_KIND_COUNT - 1);
    row->account_id = column_i64(columns);
    column_text(columns, row->name, sizeof(row->name));
    columns->damaged |= !unpack_sets(column_slice(columns), row);
    row->version = column_i64(columns);
    return !columns->damaged && subject_valid(row);
}

bool
row_meter(struct columns *columns, struct meter_row *row)
{
    row->subject_id = column_i64(columns);
    columns->damaged |= !unpack_meters(column_slice(columns), row);
    row->seen_ms = column_i64(columns);
    row->version = column_i64(columns);
    return !columns->damaged && meter_row_valid(row);
}

bool
row_reported(struct columns *columns, struct reported_row *row)
{
    row->account_id = column_i64(columns);
    columns->damaged |= !unpack_reported(column_slice(columns), row);
    row->version = column_i64(columns);
    return !columns->damaged && reported_valid(row);
}

bool
row_hold(struct columns *columns, struct hold_row *row)
{
    row->hold_id = column_i64(columns);
    row->node_id = column_i64(columns);
    row->epoch = column_i64(columns);
    row->account_id = column_i64(columns);
    row->key_id = column_i64(columns);
    row->thread_id = column_i64(columns);
    row->root_id = column_i64(columns);
    row->payer = (enum payer)column_range(columns, 0, PAYER_USER);
    row->state = (enum hold_state)column_range(columns, 0, HOLD_OPEN);
    row->on_abort = (enum on_abort)column_range(columns, 0, ON_ABORT_STOPS);
    column_text(columns, row->model, sizeof(row->model));
    columns->damaged |= !unpack_parts(column_slice(columns), row);
    columns->damaged |= !unpack_attempts(column_slice(columns), row);
    row->held_micros = column_i64(columns);
    row->bound_micros = column_i64(columns);
    row->est_micros = column_i64(columns);
    row->est_input = column_i64(columns);
    row->input_bound = column_i64(columns);
    row->held_output = column_i64(columns);
    row->bound_output = column_i64(columns);
    row->multiplier_pct = column_i64(columns);
    row->body_bytes = column_i64(columns);
    column_text(columns, row->estimator, sizeof(row->estimator));
    row->created_ms = column_i64(columns);
    row->policy_ver = column_i64(columns);
    row->price_ver = column_i64(columns);
    row->inputs = column_slice(columns);
    return !columns->damaged && hold_valid(row);
}

bool
row_ledger(struct columns *columns, struct ledger_row *row)
{
    row->id = column_i64(columns);
    row->at_ms = column_i64(columns);
    row->kind = (enum ledger_kind)column_range(columns, 0, LEDGER_KIND_COUNT - 1);
    row->hold_id = column_i64(columns);
    row->attempt = column_range(columns, 0, INT32_MAX);
    row->account_id = column_i64(columns);
    row->key_id = column_i64(columns);
    row->thread_id = column_i64(columns);
    row->root_id = column_i64(columns);
    column_text(columns, row->model, sizeof(row->model));
    column_text(columns, row->source, sizeof(row->source));
    column_text(columns, row->provider, sizeof(row->provider));
    column_text(columns, row->upstream_model, sizeof(row->upstream_model));
    row->payer = (enum payer)column_range(columns, 0, PAYER_USER);
    row->usage.input = column_i64(columns);
    row->usage.cache_read = column_i64(columns);
    row->usage.cache_write_5m = column_i64(columns);
    row->usage.cache_write_1h = column_i64(columns);
    row->usage.output = column_i64(columns);
    row->usage.reasoning = column_i64(columns);
    row->usage.cost_micros = column_i64(columns);
    row->usage.known = (uint32_t)column_range(columns, 0, INT32_MAX);
    row->cost_micros = column_i64(columns);
    row->est_micros = column_i64(columns);
    row->bound_micros = column_i64(columns);
    row->started_ms = column_i64(columns);
    column_text(columns, row->estimator, sizeof(row->estimator));
    row->reason = column_reason(columns);
    row->status = column_range(columns, 0, INT32_MAX);
    row->flags = (uint32_t)column_range(columns, 0, INT32_MAX);
    row->policy_ver = column_i64(columns);
    row->price_ver = column_i64(columns);
    row->inputs = column_slice(columns);
    return !columns->damaged && ledger_valid(row);
}

bool
row_refusal(struct columns *columns, struct refusal_row *row)
{
    row->account_id = column_i64(columns);
    row->key_id = column_i64(columns);
    column_text(columns, row->model, sizeof(row->model));
    row->limit_id = column_i64(columns);
    row->reason = column_reason(columns);
    row->minute_ms = column_i64(columns);
    row->count = column_i64(columns);
    row->ledger_id = column_i64(columns);
    return !columns->damaged && refusal_valid(row);
}

bool
row_issued(struct columns *columns, struct issued_row *row)
{
    column_text(columns, row->id_hash, sizeof(row->id_hash));
    row->account_id = column_i64(columns);
    column_text(columns, row->provider, sizeof(row->provider));
    row->at_ms = column_i64(columns);
    return !columns->damaged && issued_valid(row);
}

bool
row_receipt(struct columns *columns, struct receipt_row *row)
{
    column_text(columns, row->name, sizeof(row->name));
    column_text(columns, row->asked, sizeof(row->asked));
    row->at_ms = column_i64(columns);
    row->status = column_range(columns, 0, 599);
    column_text(columns, row->answer, sizeof(row->answer));
    return !columns->damaged && receipt_valid(row);
}

bool
row_ledger_mark(struct columns *columns, struct ledger_mark *mark)
{
    mark->id = column_i64(columns);
    mark->at_ms = column_i64(columns);
    mark->kind = (enum ledger_kind)column_range(columns, 0, LEDGER_KIND_COUNT - 1);
    return !columns->damaged && mark->id > 0 && mark->at_ms >= 0;
}

bool
row_tree_member(struct columns *columns, struct tree_member *member)
{
    member->thread_id = column_i64(columns);
    member->last_ms = column_i64(columns);
    return !columns->damaged && member->thread_id > 0 && member->last_ms >= 0;
}

bool
row_meter_mark(struct columns *columns, struct meter_mark *mark)
{
    mark->subject_id = column_i64(columns);
    mark->seen_ms = column_i64(columns);
    return !columns->damaged && mark->subject_id > 0 && mark->seen_ms >= 0;
}

bool
row_time(struct columns *columns, int64_t *at_ms)
{
    *at_ms = column_i64(columns);
    return !columns->damaged && *at_ms >= 0;
}

bool
row_outbox(struct columns *columns, struct outbox_row *row)
{
    row->id = column_i64(columns);
    row->ledger_id = column_i64(columns);
    row->at_ms = column_i64(columns);
    row->topic = (enum topic)column_range(columns, 0, TOPIC_COUNT - 1);
    column_text(columns, row->hook, sizeof(row->hook));
    row->next_ms = column_i64(columns);
    row->attempts = column_i64(columns);
    column_text(columns, row->last_error, sizeof(row->last_error));
    row->body = column_slice(columns);
    return !columns->damaged && outbox_valid(row);
}

bool
row_limit_def(struct columns *columns, struct limit_def_row *row)
{
    row->def_id = column_i64(columns);
    row->limit_id = column_i64(columns);
    row->set_id = column_i64(columns);
    column_text(columns, row->name, sizeof(row->name));
    row->nth = column_i64(columns);
    column_text(columns, row->fingerprint, sizeof(row->fingerprint));
    column_text(columns, row->thing, sizeof(row->thing));
    row->since_ms = column_i64(columns);
    row->until_ms = column_i64(columns);
    row->counts = column_range(columns, 0, COUNT_KIND_COUNT - 1);
    row->per = column_range(columns, 0, PER_KIND_COUNT - 1);
    row->window = column_range(columns, 0, WINDOW_KIND_COUNT - 1);
    row->span_ms = column_i64(columns);
    return !columns->damaged && limit_def_valid(row);
}

bool
row_needed(struct columns *columns, enum need_kind kind, union need_row *row)
{
    switch (kind) {
    case NEED_ACCOUNT:
    case NEED_ACCOUNT_NAME: return row_account(columns, &row->account);
    case NEED_KEY:
    case NEED_KEY_HASH: return row_key(columns, &row->key);
    case NEED_THREAD:
    case NEED_THREAD_SIG: return row_thread(columns, &row->thread);
    case NEED_SUBJECT:
    case NEED_SUBJECT_ID:
    case NEED_TREE: return row_subject(columns, &row->subject);
    case NEED_METER: return row_meter(columns, &row->meter);
    case NEED_HOLD: return row_hold(columns, &row->hold);
    case NEED_ISSUED: return row_issued(columns, &row->issued);
    case NEED_RECEIPT: return row_receipt(columns, &row->receipt);
    case NEED_REPORTED: return row_reported(columns, &row->reported);
    default: check(!"a need that no row answers");
    }
}
