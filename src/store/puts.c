/* store/puts.c: a row as the statement that writes it and its parameters. The order is that of the
 * parameters in statements.h. */
#include "store/columns_priv.h"

#include "rows/pack.h"

static struct params *
put_start(
    struct put *put, enum statement_id statement, enum status none, const char *table, int64_t id)
{
    put->statement = statement;
    put->none = none;
    put->table = table;
    put->id = id;
    put->params.count = 0;
    return &put->params;
}

const char *
none_text(enum status none)
{
    return none == STATUS_EXISTS     ? "it is there already"
           : none == STATUS_CONFLICT ? "its stored version is another one"
                                     : "it is not there";
}

/* --- Accounts, keys, threads, subjects. */

void
put_account(struct put *put, const struct account_row *row)
{
    const bool insert = row->version == 0;
    struct params *params =
        insert
            ? put_start(put, STATEMENT_ACCOUNT_INSERT, STATUS_EXISTS, "account", row->account_id)
            : put_start(put, STATEMENT_ACCOUNT_UPDATE, STATUS_CONFLICT, "account", row->account_id);
    if (insert) {
        param_i64(params, row->account_id);
    }
    param_text(params, row->name);
    param_text(params, row->plan);
    param_text(params, row->organisation);
    param_i64(params, row->state);
    param_i64(params, row->created_ms);
    param_i64(params, row->version + 1);
    if (!insert) {
        param_i64(params, row->account_id);
        param_i64(params, row->version);
    }
}

void
put_key(struct put *put, const struct key_row *row)
{
    const bool insert = row->version == 0;
    struct params *params =
        insert ? put_start(put, STATEMENT_KEY_INSERT, STATUS_EXISTS, "key", row->key_id)
               : put_start(put, STATEMENT_KEY_UPDATE, STATUS_CONFLICT, "key", row->key_id);
    if (insert) {
        param_i64(params, row->key_id);
    }
    param_i64(params, row->account_id);
    param_text(params, row->hash_hex);
    param_text(params, row->label);
    param_text(params, row->shown);
    param_i64(params, row->role);
    param_i64(params, row->revoked);
    param_i64(params, row->thread_required);
    param_i64(params, row->created_ms);
    param_i64(params, row->expires_ms);
    param_text(params, row->may_act_for);
    param_i64(params, row->version + 1);
    if (!insert) {
        param_i64(params, row->key_id);
        param_i64(params, row->version);
    }
}

static void
put_thread_insert(struct put *put, const struct thread_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_THREAD_INSERT, STATUS_EXISTS, "thread", row->thread_id);
    param_i64(params, row->thread_id);
    param_i64(params, row->account_id);
    param_i64(params, row->root_id);
    param_i64(params, row->kind);
    param_text(params, row->sig_hash);
    param_i64(params, row->created_ms);
    param_i64(params, row->last_ms);
    param_i64(params, row->last_input);
    param_i64(params, row->last_input_bytes);
    param_i64(params, row->version + 1);
}

/* Its account, kind, hash and root are what it is: they stay. */
static void
put_thread_update(struct put *put, const struct thread_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_THREAD_UPDATE, STATUS_CONFLICT, "thread", row->thread_id);
    param_i64(params, row->last_ms);
    param_i64(params, row->last_input);
    param_i64(params, row->last_input_bytes);
    param_i64(params, row->version + 1);
    param_i64(params, row->account_id); /* the rows are kept in the order of these three */
    param_i64(params, row->kind);
    param_text(params, row->sig_hash);
    param_i64(params, row->thread_id);
    param_i64(params, row->version);
}

void
put_thread(struct put *put, const struct thread_row *row)
{
    if (row->version == 0) {
        put_thread_insert(put, row);
    } else {
        put_thread_update(put, row);
    }
}

/* Whose it is stays; the caps set for it change. */
bool
put_subject(struct put *put, const struct subject_row *row, struct buf *sets)
{
    buf_clear(sets);
    pack_sets(row, sets);
    if (sets->failed) {
        return false;
    }
    const bool insert = row->version == 0;
    struct params *params =
        insert
            ? put_start(put, STATEMENT_SUBJECT_INSERT, STATUS_EXISTS, "subject", row->subject_id)
            : put_start(put, STATEMENT_SUBJECT_UPDATE, STATUS_CONFLICT, "subject", row->subject_id);
    if (insert) {
        param_i64(params, row->subject_id);
        param_i64(params, row->kind);
        param_i64(params, row->account_id);
        param_text(params, row->name);
    }
    param_slice(params, buf_slice(sets));
    param_i64(params, row->version + 1);
    if (!insert) {
        param_i64(params, row->account_id); /* as of a thread */
        param_i64(params, row->kind);
        param_text(params, row->name);
        param_i64(params, row->subject_id);
        param_i64(params, row->version);
    }
    return true;
}

/* --- Meters and holds. */

bool
put_meter(struct put *put, const struct meter_row *row, struct buf *packed)
{
    buf_clear(packed);
    pack_meters(row, packed);
    if (packed->failed) {
        return false;
    }
    const bool insert = row->version == 0;
    struct params *params =
        insert ? put_start(put, STATEMENT_METER_INSERT, STATUS_CONFLICT, "meter", row->subject_id)
               : put_start(put, STATEMENT_METER_UPDATE, STATUS_CONFLICT, "meter", row->subject_id);
    if (insert) {
        param_i64(params, row->subject_id);
    }
    param_slice(params, buf_slice(packed));
    param_i64(params, row->seen_ms);
    param_i64(params, row->version + 1);
    if (!insert) {
        param_i64(params, row->subject_id);
        param_i64(params, row->version);
    }
    return true;
}

bool
put_reported(struct put *put, const struct reported_row *row, struct buf *packed)
{
    buf_clear(packed);
    pack_reported(row, packed);
    if (packed->failed) {
        return false;
    }
    const bool insert = row->version == 0;
    struct params *params =
        put_start(put, insert ? STATEMENT_REPORTED_INSERT : STATEMENT_REPORTED_UPDATE,
            STATUS_CONFLICT, "reported", row->account_id);
    if (insert) {
        param_i64(params, row->account_id);
    }
    param_slice(params, buf_slice(packed));
    param_i64(params, row->version + 1);
    if (!insert) {
        param_i64(params, row->account_id);
        param_i64(params, row->version);
    }
    return true;
}

static bool
pack_hold(const struct hold_row *row, struct buf *parts, struct buf *attempts)
{
    buf_clear(parts);
    buf_clear(attempts);
    pack_parts(row, parts);
    pack_attempts(row, attempts);
    return !parts->failed && !attempts->failed;
}

bool
put_hold_insert(
    struct put *put, const struct hold_row *row, struct buf *parts, struct buf *attempts)
{
    if (!pack_hold(row, parts, attempts)) {
        return false;
    }
    struct params *params =
        put_start(put, STATEMENT_HOLD_INSERT, STATUS_EXISTS, "hold", row->hold_id);
    param_i64(params, row->hold_id);
    param_i64(params, row->node_id);
    param_i64(params, row->epoch);
    param_i64(params, row->account_id);
    param_i64(params, row->key_id);
    param_i64(params, row->thread_id);
    param_i64(params, row->root_id);
    param_i64(params, row->payer);
    param_i64(params, row->state);
    param_i64(params, row->on_abort);
    param_text(params, row->model);
    param_slice(params, buf_slice(parts));
    param_slice(params, buf_slice(attempts));
    param_i64(params, row->held_micros);
    param_i64(params, row->bound_micros);
    param_i64(params, row->est_micros);
    param_i64(params, row->est_input);
    param_i64(params, row->input_bound);
    param_i64(params, row->held_output);
    param_i64(params, row->bound_output);
    param_i64(params, row->multiplier_pct);
    param_i64(params, row->body_bytes);
    param_text(params, row->estimator);
    param_i64(params, row->created_ms);
    param_i64(params, row->policy_ver);
    param_i64(params, row->price_ver);
    param_slice(params, row->inputs);
    return true;
}

bool
put_hold_update(
    struct put *put, const struct hold_row *row, struct buf *parts, struct buf *attempts)
{
    if (!pack_hold(row, parts, attempts)) {
        return false;
    }
    struct params *params =
        put_start(put, STATEMENT_HOLD_UPDATE, STATUS_NOT_FOUND, "hold", row->hold_id);
    param_i64(params, row->payer);
    param_i64(params, row->state);
    param_i64(params, row->on_abort);
    param_slice(params, buf_slice(parts));
    param_slice(params, buf_slice(attempts));
    param_i64(params, row->held_micros);
    param_i64(params, row->bound_micros);
    param_i64(params, row->est_micros);
    param_i64(params, row->est_input);
    param_i64(params, row->input_bound);
    param_i64(params, row->held_output);
    param_i64(params, row->bound_output);
    param_i64(params, row->multiplier_pct);
    param_i64(params, row->body_bytes);
    param_text(params, row->estimator);
    param_i64(params, row->policy_ver);
    param_i64(params, row->price_ver);
    param_slice(params, row->inputs);
    param_i64(params, row->hold_id);
    return true;
}

void
put_hold_delete(struct put *put, int64_t hold_id)
{
    struct params *params =
        put_start(put, STATEMENT_HOLD_DELETE, STATUS_NOT_FOUND, "hold", hold_id);
    param_i64(params, hold_id);
}

/* --- Ledger and refusals. */

void
put_ledger(struct put *put, const struct ledger_row *row)
{
    struct params *params = put_start(put, STATEMENT_LEDGER_ADD, STATUS_EXISTS, "ledger", row->id);
    param_i64(params, row->id);
    param_i64(params, row->at_ms);
    param_i64(params, row->kind);
    param_i64(params, row->hold_id);
    param_i64(params, row->attempt);
    param_i64(params, row->account_id);
    param_i64(params, row->key_id);
    param_i64(params, row->thread_id);
    param_i64(params, row->root_id);
    param_text(params, row->model);
    param_text(params, row->source);
    param_text(params, row->provider);
    param_text(params, row->upstream_model);
    param_i64(params, row->payer);
    param_i64(params, row->usage.input);
    param_i64(params, row->usage.cache_read);
    param_i64(params, row->usage.cache_write_5m);
    param_i64(params, row->usage.cache_write_1h);
    param_i64(params, row->usage.output);
    param_i64(params, row->usage.reasoning);
    param_i64(params, row->usage.cost_micros);
    param_i64(params, row->usage.known);
    param_i64(params, row->cost_micros);
    param_i64(params, row->est_micros);
    param_i64(params, row->bound_micros);
    param_i64(params, row->started_ms);
    param_text(params, row->estimator);
    param_text(params, reason_row(row->reason)->code);
    param_i64(params, row->status);
    param_i64(params, row->flags);
    param_i64(params, row->policy_ver);
    param_i64(params, row->price_ver);
    param_slice(params, row->inputs);
}

void
put_refusal(struct put *put, const struct refusal_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_REFUSAL_ADD, STATUS_IO, "refusal", row->ledger_id);
    param_i64(params, row->account_id);
    param_i64(params, row->key_id);
    param_text(params, row->model);
    param_i64(params, row->limit_id);
    param_text(params, reason_row(row->reason)->code);
    param_i64(params, row->minute_ms);
    param_i64(params, row->count);
    param_i64(params, row->ledger_id);
}

/* --- Issued ids, limits, the node, meta. */

/* It keeps who had it first. */
void
put_issued(struct put *put, const struct issued_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_ISSUED_PUT, STATUS_OK, "issued", row->account_id);
    param_text(params, row->id_hash);
    param_i64(params, row->account_id);
    param_text(params, row->provider);
    param_i64(params, row->at_ms);
}

void
put_issued_sweep(struct put *put, int64_t before_ms)
{
    struct params *params = put_start(put, STATEMENT_ISSUED_SWEEP, STATUS_OK, "issued", 0);
    param_i64(params, before_ms);
    param_i64(params, STORE_SWEEP_ROWS);
}

void
put_receipt(struct put *put, const struct receipt_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_RECEIPT_ADD, STATUS_EXISTS, "receipt", row->at_ms);
    param_text(params, row->name);
    param_text(params, row->asked);
    param_i64(params, row->at_ms);
    param_i64(params, row->status);
    param_text(params, row->answer);
}

void
put_receipt_sweep(struct put *put, int64_t before_ms)
{
    struct params *params = put_start(put, STATEMENT_RECEIPT_SWEEP, STATUS_OK, "receipt", 0);
    param_i64(params, before_ms);
    param_i64(params, STORE_SWEEP_ROWS);
}

/* --- Retention. */

void
put_thread_delete(struct put *put, const struct thread_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_THREAD_DELETE, STATUS_CONFLICT, "thread", row->thread_id);
    param_i64(params, row->account_id);
    param_i64(params, row->kind);
    param_text(params, row->sig_hash);
    param_i64(params, row->thread_id);
    param_i64(params, row->version);
}

void
put_subject_delete(struct put *put, const struct subject_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_SUBJECT_DELETE, STATUS_CONFLICT, "subject", row->subject_id);
    param_i64(params, row->account_id);
    param_i64(params, row->kind);
    param_text(params, row->name);
    param_i64(params, row->subject_id);
    param_i64(params, row->version);
}

void
put_meter_delete(struct put *put, const struct meter_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_METER_DELETE, STATUS_CONFLICT, "meter", row->subject_id);
    param_i64(params, row->subject_id);
    param_i64(params, row->version);
}

/* What the statements name by their numbers. */
_Static_assert(LEDGER_SETTLE == 0 && LEDGER_UNBILLED == 1 && LEDGER_RELEASE == 2
                   && LEDGER_ORPHAN == 3 && LEDGER_REFUSAL == 5,
    "kinds of LEDGER_DROP and REFUSAL_ROWS_DROP");

void
put_ledger_drop(struct put *put, int64_t after_id, int64_t until_id, int64_t before_ms)
{
    struct params *params = put_start(put, STATEMENT_LEDGER_DROP, STATUS_OK, "ledger", after_id);
    param_i64(params, after_id);
    param_i64(params, until_id);
    param_i64(params, before_ms);
}

static void
put_oldest(struct put *put, enum statement_id statement, int64_t before_ms, int32_t max)
{
    struct params *params = put_start(put, statement, STATUS_OK, "refusal", 0);
    param_i64(params, before_ms);
    param_i64(params, max);
}

void
put_refusal_rows_drop(struct put *put, int64_t before_ms, int32_t max)
{
    put_oldest(put, STATEMENT_REFUSAL_ROWS_DROP, before_ms, max);
}

void
put_refusals_drop(struct put *put, int64_t before_ms, int32_t max)
{
    put_oldest(put, STATEMENT_REFUSALS_DROP, before_ms, max);
}

void
put_outbox(struct put *put, const struct outbox_row *row)
{
    struct params *params = put_start(put, STATEMENT_OUTBOX_ADD, STATUS_EXISTS, "outbox", row->id);
    param_i64(params, row->id);
    param_i64(params, row->ledger_id);
    param_i64(params, row->at_ms);
    param_i64(params, row->topic);
    param_text(params, row->hook);
    param_i64(params, row->next_ms);
    param_i64(params, row->attempts);
    param_text(params, row->last_error);
    param_slice(params, row->body);
}

/* One that is gone was delivered by somebody else: there is nothing to note. */
void
put_outbox_tried(struct put *put, const struct outbox_row *row)
{
    struct params *params = put_start(put, STATEMENT_OUTBOX_TRIED, STATUS_OK, "outbox", row->id);
    param_i64(params, row->next_ms);
    param_i64(params, row->attempts);
    param_text(params, row->last_error);
    param_i64(params, row->id);
}

void
put_outbox_delete(struct put *put, int64_t id)
{
    param_i64(put_start(put, STATEMENT_OUTBOX_DELETE, STATUS_OK, "outbox", id), id);
}

void
put_limit_def_clear(struct put *put, const struct limit_def_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_LIMIT_DEF_CLEAR, STATUS_OK, "limit_def", row->def_id);
    param_i64(params, row->def_id);
}

void
put_limit_def(struct put *put, const struct limit_def_row *row)
{
    struct params *params =
        put_start(put, STATEMENT_LIMIT_DEF_INSERT, STATUS_EXISTS, "limit_def", row->def_id);
    param_i64(params, row->def_id);
    param_i64(params, row->limit_id);
    param_i64(params, row->set_id);
    param_text(params, row->name);
    param_i64(params, row->nth);
    param_text(params, row->fingerprint);
    param_text(params, row->thing);
    param_i64(params, row->since_ms);
    param_i64(params, row->until_ms);
    param_i64(params, row->counts);
    param_i64(params, row->per);
    param_i64(params, row->window);
    param_i64(params, row->span_ms);
}

void
put_node(struct put *put, const struct node_row *row)
{
    struct params *params = put_start(put, STATEMENT_NODE_PUT, STATUS_IO, "node", row->node_id);
    param_i64(params, row->node_id);
    param_i64(params, row->epoch);
    param_i64(params, row->lease_until_ms);
    param_i64(params, row->batch_no);
    param_i64(params, row->high_water_ms);
    param_text(params, row->config_hash);
    param_text(params, row->name);
    param_i64(params, row->started_ms);
    param_i64(params, row->waiting_count);
}

static void
name_value(struct put *put, enum statement_id statement, const char *name, const char *value)
{
    struct params *params = put_start(put, statement, STATUS_IO, "meta", 0);
    param_text(params, name);
    param_text(params, value);
}

void
put_meta(struct put *put, const char *name, const char *value)
{
    name_value(put, STATEMENT_META_PUT, name, value);
}

void
put_meta_raise(struct put *put, const char *name, const char *value)
{
    name_value(put, STATEMENT_PG_META_RAISE, name, value);
}

/* --- Asking for a row. */

enum statement_id
need_statement(const struct need *need, struct params *params)
{
    params->count = 0;
    switch (need->kind) {
    case NEED_ACCOUNT_NAME: param_text(params, need->text); return STATEMENT_ACCOUNT_BY_NAME;
    case NEED_KEY_HASH: param_text(params, need->text); return STATEMENT_KEY_BY_HASH;
    case NEED_ISSUED: param_text(params, need->text); return STATEMENT_ISSUED_GET;
    case NEED_RECEIPT: param_text(params, need->text); return STATEMENT_RECEIPT_GET;
    default: break;
    }
    param_i64(params, need->id);
    switch (need->kind) {
    case NEED_ACCOUNT: return STATEMENT_ACCOUNT_GET;
    case NEED_KEY: return STATEMENT_KEY_GET;
    case NEED_THREAD: return STATEMENT_THREAD_GET;
    case NEED_METER: return STATEMENT_METER_GET;
    case NEED_HOLD: return STATEMENT_HOLD_GET;
    case NEED_REPORTED: return STATEMENT_REPORTED_GET;
    case NEED_SUBJECT_ID: return STATEMENT_SUBJECT_GET;
    default: break;
    }
    check(need->kind == NEED_THREAD_SIG || need->kind == NEED_SUBJECT || need->kind == NEED_TREE);
    param_i64(params, need->sub_kind);
    param_text(params, need->text);
    if (need->kind == NEED_TREE) {
        param_i64(params, SUBJECT_TREE);
        return STATEMENT_TREE_FIND;
    }
    return need->kind == NEED_SUBJECT ? STATEMENT_SUBJECT_FIND : STATEMENT_THREAD_FIND;
}

const char *
need_table(enum need_kind kind)
{
    static const char *const tables[] = {
        [NEED_ACCOUNT] = "account",
        [NEED_ACCOUNT_NAME] = "account",
        [NEED_KEY] = "key",
        [NEED_KEY_HASH] = "key",
        [NEED_THREAD] = "thread",
        [NEED_THREAD_SIG] = "thread",
        [NEED_SUBJECT] = "subject",
        [NEED_SUBJECT_ID] = "subject",
        [NEED_METER] = "meter",
        [NEED_HOLD] = "hold",
        [NEED_REPORTED] = "reported",
        [NEED_ISSUED] = "issued",
        [NEED_RECEIPT] = "receipt",
        [NEED_TREE] = "subject",
    };
    _Static_assert(countof(tables) == NEED_KIND_COUNT, "a table each");
    return tables[kind];
}
