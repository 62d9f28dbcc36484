/* api/request.c: what became of one request: its hold while it is in flight, all rows of it, and its decision,
 * decided again from the inputs that were recorded. */
#include "api/api_priv.h"

#include <stdlib.h>

#include "engine/past.h"
#include "wire/recorded.h"

#define REQUEST_ROWS_MAX 1000

struct request {
    struct buf *out;
    const struct names *names;
    int64_t id, account_id; /* account: of a caller who sees no other; 0 = any */
    bool all;               /* inputs as they are recorded, and what is others' too */
    int64_t row_count;
    bool in_flight, recorded;
    struct ledger_row row; /* of the decision; without its inputs */
    struct recorded_call call;
};

static bool
is_foreign(const struct request *request, int64_t account_id)
{
    return request->account_id && account_id != request->account_id;
}

static bool
put_row(void *user, const struct ledger_row *row)
{
    struct request *request = user;
    if (is_foreign(request, row->account_id)) {
        return true;
    }
    if (!request->recorded && row->kind != LEDGER_ADMIN
        && recorded_read(row->inputs, &request->call)) {
        request->recorded = true;
        request->row = *row;
    }
    put_ledger_row(request->names, request->out, row, request->all);
    request->row_count++;
    return !request->out->failed;
}

static bool
put_hold(void *user, const struct hold_row *row)
{
    struct request *request = user;
    struct buf *out = request->out;
    if (row->hold_id != request->id || is_foreign(request, row->account_id)) {
        return true;
    }
    request->in_flight = true;
    request->recorded = recorded_read(row->inputs, &request->call);
    request->row =
        (struct ledger_row){ .policy_ver = row->policy_ver, .price_ver = row->price_ver };
    memcpy(request->row.model, row->model, sizeof(request->row.model));
    put_open(out, "hold", '{');
    put_text(out, "model", row->model);
    put_text(out, "payer", row->payer == PAYER_USER ? "user" : "company");
    put_i64(out, "held_micros", row->held_micros);
    put_i64(out, "bound_micros", row->bound_micros);
    put_i64(out, "estimated_micros", row->est_micros);
    put_text_or_null(out, "estimator", row->estimator);
    put_time(out, "started_at", row->created_ms);
    put_close(out, '}');
    return false;
}

/* --- The decision. */

/* What a limit counts for this caller alone; of all others the caller sees percentages. */
static bool
is_own(const struct limit_def_row *def)
{
    return def
           && (def->per == PER_ACCOUNT || def->per == PER_KEY || def->per == PER_THREAD_TREE
               || def->per == PER_ACCOUNT_MODEL);
}

static void
put_past_limit(struct buf *out, const struct past_limit *past, bool all)
{
    const struct recorded_limit *recorded = past->recorded;
    const struct limit_def_row *def = past->def;
    const bool renamed = past->limit && strcmp(past->limit->name, recorded->name) != 0;
    const int64_t used = money_add(past->used, recorded->held);
    const bool reported = def && def->counts == COUNT_REPORTED;
    const int64_t unit = reported ? MILLI_PCT : 1; /* of a percentage, thousandths are recorded */
    put_open(out, NULL, '{');
    put_text(out, "limit", recorded->name);
    put_text_or_null(out, "renamed_to", renamed ? past->limit->name : NULL);
    put_text_or_null(out, "counts", def ? count_word((enum count_kind)def->counts) : NULL);
    put_text_or_null(out, "unit",
        !def                        ? NULL
        : reported                  ? "percent"
        : def->counts == COUNT_COST ? "micro_usd"
                                    : count_word((enum count_kind)def->counts));
    put_text_or_null(out, "cap_from", recorded->tier);
    if (!past->is_unbounded && (all || is_own(def))) {
        put_i64(out, "settled", past->used / unit);
        put_i64(out, "held", recorded->held);
        if (recorded->cap == CAP_UNLIMITED) {
            put_null(out, "cap");
        } else {
            put_i64(out, "cap", recorded->cap / unit);
        }
        put_i64(out, "raised", recorded->raised);
    }
    if (recorded->cap > 0 && !past->is_unbounded) {
        const __int128 percent = (__int128)used * 100 / recorded->cap;
        put_i64(out, "percent", percent > 1000000 ? 1000000 : (int64_t)percent);
    }
    put_time(out, "window_began_at", recorded->window_ms);
    put_bool(out, "known", past->limit != NULL);
    if (!past->is_unbounded) {
        put_i64(out, "ask", past->ask);
    }
    put_bool(out, "fits", past->fits);
    put_close(out, '}');
}

static void
put_estimate(struct buf *out, const struct recorded_call *call)
{
    put_open(out, "estimate", '{');
    put_text(out, "estimator", call->estimator);
    put_i64(out, "input", call->input);
    put_i64(out, "input_bound", call->input_bound);
    put_i64(out, "output_bound", call->output_bound);
    put_i64(out, "first_slice", call->slice);
    put_i64(out, "least_output", call->least);
    put_close(out, '}');
}

static void
put_decision(struct buf *out, const struct policy *policy, const struct limit_defs *defs,
    const struct request *request)
{
    static const char *const words[] = { "refused", "allowed" };
    const struct recorded_call *call = &request->call;
    struct past past;
    past_judge(policy, defs, &request->row, call, &past);
    put_open(out, "decision", '{');
    put_text(out, "was", words[past.was_allowed]);
    put_text(out, "again", words[past.is_allowed]);
    put_bool(out, "agrees", past.was_allowed == past.is_allowed);
    put_bool(out, "same_configuration", past.same_policy);
    put_text(out, "limits_of",
        past.same_policy ? "the configuration of then"
                         : "today's configuration, another than that of then");
    put_text(out, "prices_of", past.same_prices ? "then" : "today");
    put_i64(out, "limits_unknown_today", past.unknown_count);
    put_text_or_null(out, "because_of", call->about);
    put_i64(out, "waited_ms", call->waited_ms);
    put_text_or_null(out, "substitute_tried", call->tried);
    put_text_or_null(out, "substitute_refused", call->tried_reason);
    if (call->lowered_to >= 0) {
        put_i64(out, "output_limit_lowered_to", call->lowered_to);
    }
    put_text_or_null(out, "substitute_for", call->substitute_for);
    put_text_or_null(out, "substituted_by", call->substituted_by);
    if (call->estimator[0]) {
        put_estimate(out, call);
    }
    put_open(out, "limits", '[');
    for (int32_t i = 0; i < past.limit_count; i++) {
        put_past_limit(out, &past.limits[i], request->all);
    }
    put_close(out, ']');
    put_close(out, '}');
}

/* How often the same was refused in that minute. */
struct count_search {
    int64_t ledger_id, count;
};

static bool
find_count(void *user, const struct refusal_row *row)
{
    struct count_search *search = user;
    if (row->ledger_id == search->ledger_id) {
        search->count = row->count;
    }
    return search->count == 0;
}

static enum status
put_repeats(struct api_worker *worker, const struct request *request)
{
    struct count_search search = { request->row.id, 0 };
    const int64_t minute_ms = request->row.at_ms - request->row.at_ms % MINUTE_MS;
    if (!request->recorded || request->row.kind != LEDGER_REFUSAL || !request->row.account_id) {
        return STATUS_OK;
    }
    const enum status status = store_read_refusals(
        worker->reader, request->row.account_id, minute_ms, find_count, &search);
    if (status == STATUS_OK) {
        put_i64(request->out, "refused_count", search.count);
    }
    return status;
}

/* --- All of it. */

static enum status
put_rows(struct api_worker *worker, struct request *request)
{
    const struct ledger_filter filter = {
        .kind = -1, .limit = REQUEST_ROWS_MAX, .id = request->id
    };
    enum status status = store_read_holds(worker->reader, put_hold, request);
    put_text(request->out, "state", request->in_flight ? "in_flight" : "over");
    put_open(request->out, "rows", '[');
    if (status == STATUS_OK) {
        status = store_read_ledger(worker->reader, &filter, put_row, request);
    }
    put_close(request->out, ']');
    return status == STATUS_OK ? put_repeats(worker, request) : status;
}

/* Of another gateway, which writes what it refused within a second. */
static bool
may_come(const struct api_worker *worker, int64_t id)
{
    const struct engine *engine = worker->api->options.engine;
    return engine_is_shared(engine) && id >> ID_COUNTER_BITS != engine_epoch(engine);
}

static void
answer_request(struct api_worker *worker, struct ask *ask, struct request *request)
{
    struct buf *out = answer_begin(ask, 200);
    request->out = out;
    put_id(out, "request", "req_", request->id);
    if (put_rows(worker, request) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    struct limit_defs defs = { 0 };
    if (request->recorded
        && !defs_read(worker, ask, &defs)) { /* what a row names was there before it */
        return;
    }
    if (request->recorded) {
        struct policy *policy = engine_policy(worker->api->options.engine);
        put_decision(out, policy, &defs, request);
        engine_policy_unref(worker->api->options.engine, policy);
    }
    defs_free(&defs);
    answer_end(ask);
    if (request->row_count == 0
        && !request->in_flight) { /* a stranger's and a missing one look alike */
        answer_fault(ask,
            may_come(worker, request->id) ? API_FAULT_REQUEST_ELSEWHERE : API_FAULT_REQUEST_UNKNOWN,
            NULL);
    }
}

void
get_request(struct api_worker *worker, struct ask *ask)
{
    int64_t id = 0;
    if (api_id_before_gate(ask->segment)) {
        answer_fault(ask, API_FAULT_REQUEST_UNBOOKED, NULL);
        return;
    }
    if (!api_id_parse(ask->segment, SLICE("req_"), &id)) {
        answer_fault(ask, API_FAULT_REQUEST_UNKNOWN, NULL);
        return;
    }
    if (!names_ready(worker, ask)) {
        return;
    }
    worker_catch_up(worker, ask, true);
    struct request *request = calloc(1, sizeof(*request));
    if (!request) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return;
    }
    request->names = &worker->names;
    request->id = id;
    request->all = ask->may_read_all;
    request->account_id = ask->may_read_all ? 0 : ask->identity.account_id;
    answer_request(worker, ask, request);
    free(request);
}
