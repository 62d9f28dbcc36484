/* api/ledger.c: rows of the ledger as JSON, and what became of one request. */
#include "api/api_priv.h"

#include "base/civil.h"
#include "wire/json.h"

#define LEDGER_DEFAULT 100
#define LEDGER_MAX     10000

/* --- One row. */

static const struct {
    uint32_t flag;
    const char *word;
} flag_words[] = {
    { LEDGER_ESTIMATED, "estimated" },
    { LEDGER_PARTLY_PRICED, "partly_priced" },
    { LEDGER_UNPRICED, "unpriced" },
    { LEDGER_PROVIDER_COST, "provider_cost" },
    { LEDGER_COST_DISPUTED, "cost_disputed" },
    { LEDGER_CLIENT_GONE, "client_gone" },
    { LEDGER_CUT, "cut" },
    { LEDGER_LOWERED, "lowered" },
    { LEDGER_DRAINED, "drained" },
};

static void
put_flags(struct buf *out, uint32_t flags)
{
    put_open(out, "flags", '[');
    for (size_t i = 0; i < countof(flag_words); i++) {
        if (flags & flag_words[i].flag) {
            put_text(out, NULL, flag_words[i].word);
        }
    }
    put_close(out, ']');
}

static void
put_usage(struct buf *out, const struct usage *usage)
{
    put_open(out, "usage", '{');
    put_i64(out, "input", usage->input);
    put_i64(out, "cache_read", usage->cache_read);
    put_i64(out, "cache_write_5m", usage->cache_write_5m);
    put_i64(out, "cache_write_1h", usage->cache_write_1h);
    put_i64(out, "output", usage->output);
    put_i64(out, "reasoning", usage->reasoning);
    if (usage->cost_micros >= 0) {
        put_i64(out, "provider_cost_micros", usage->cost_micros);
    }
    put_close(out, '}');
}

static bool
row_is_of_a_call(const struct ledger_row *row)
{
    return row->hold_id != 0;
}

static void
put_money(struct buf *out, const struct ledger_row *row)
{
    put_text(out, "payer", row->payer == PAYER_USER ? "user" : "company");
    put_usage(out, &row->usage);
    put_i64(out, "cost_micros", row->cost_micros);
    put_i64(out, "estimated_micros", row->est_micros);
    put_i64(out, "bound_micros", row->bound_micros);
    put_text_or_null(out, "estimator", row->estimator);
}

/* The client's name for what it traces, where it gave one; it is among the inputs of what was decided. */
static void
put_trace(struct buf *out, const struct ledger_row *row)
{
    struct json_value trace;
    char trace_id[TRACE_ID_HEX + 1] = "";
    if (!json_get(row->inputs, "trace", &trace)
        || !json_to_cstr(trace, trace_id, sizeof(trace_id))) {
        trace_id[0] = '\0';
    }
    put_text_or_null(out, "trace", trace_id);
}

void
put_ledger_row(
    const struct names *names, struct buf *out, const struct ledger_row *row, bool inputs)
{
    const struct account_name *account = names_by_id(names, row->account_id);
    put_open(out, NULL, '{');
    put_id(out, "row", "", row->id);
    put_text(out, "kind", ledger_kind_word(row->kind));
    put_time(out, "at", row->at_ms);
    if (row->kind != LEDGER_ADMIN
        && row->kind != LEDGER_WARN) { /* a refusal's request is known by its row */
        put_id(out, "request", "req_", row_is_of_a_call(row) ? row->hold_id : row->id);
    }
    put_i64(out, "attempt", row->attempt);
    put_text_or_null(out, "source", row->source);
    put_text_or_null(out, "account", account ? account->name : NULL);
    put_id(out, "key", "key_", row->key_id);
    put_id(out, "thread", "thr_", row->thread_id);
    put_id(out, "root", "thr_", row->root_id);
    put_text_or_null(out, "model", row->model);
    put_text_or_null(out, "provider", row->provider);
    put_text_or_null(out, "upstream_model", row->upstream_model);
    if (row_is_of_a_call(row)) {
        put_money(out, row);
    }
    put_time(out, "started_at", row->started_ms);
    put_text_or_null(out, "reason", row->reason == REASON_OK ? "" : reason_row(row->reason)->code);
    put_i64(out, "status", row->status);
    if (row->kind != LEDGER_ADMIN) {
        put_trace(out, row);
    }
    put_flags(out, row->flags);
    put_i64(out, "price_version", row->price_ver);
    put_id(out, "policy_version", "", row->policy_ver);
    if (inputs || row->kind == LEDGER_ADMIN) { /* of a change by an admin they are what was done */
        put_json(out, "inputs", row->inputs);
    }
    put_close(out, '}');
}

/* --- Lists. */

struct listing {
    struct buf *out;
    const struct names *names;
    int64_t last_id, count;
    bool inputs;
};

static bool
put_row(void *user, const struct ledger_row *row)
{
    struct listing *listing = user;
    put_ledger_row(listing->names, listing->out, row, listing->inputs);
    listing->last_id = row->id;
    listing->count++;
    return !listing->out->failed;
}

void
get_ledger(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t limit = LEDGER_DEFAULT;
    bool inputs = false;
    struct ledger_filter filter = { .kind = -1 };
    struct listing listing = { .names = &worker->names };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "key", FIELD_ID, &filter.key_id, .prefix = "key_" },
        { "thread", FIELD_ID, &filter.thread_id, .prefix = "thr_" },
        { "model", FIELD_NAME, filter.model },
        { "since", FIELD_TIME, &filter.since_ms },
        { "until", FIELD_TIME, &filter.until_ms },
        { "kind", FIELD_KIND, &filter.kind },
        { "id", FIELD_ID, &filter.id, .prefix = "req_" },
        { "before", FIELD_ID, &filter.before_id, .prefix = "" },
        { "limit", FIELD_COUNT, &limit, .max = LEDGER_MAX },
        { "inputs", FIELD_BOOL, &inputs },
    };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)
        || !names_id_of(worker, ask, account, &filter.account_id)) {
        return;
    }
    worker_catch_up(worker, ask, true);
    filter.limit = (int32_t)limit;
    listing.inputs = inputs;
    listing.out = answer_begin(ask, 200);
    put_open(listing.out, "rows", '[');
    if (store_read_ledger(worker->reader, &filter, put_row, &listing) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(listing.out, ']');
    put_id(listing.out, "next_before", "", listing.count == limit ? listing.last_id : 0);
    answer_end(ask);
}
