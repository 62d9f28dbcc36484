/* api/adjust.c: corrections by an admin: of a call that was booked, once for each source, or of what somebody has
 * used of a limit (adjust_use.c). */
#include "api/adjust_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "log/log.h"
#include "wire/json.h"

#define CALL_ROWS_MAX 1000
#define STALE_TRIES   32

/* --- The call as it is on the books. */

/* A limit that the call counted for, as its row names it. */
struct named_part {
    char name[NAME_MAX_BYTES + 1];
    int64_t nth;
    struct adjust_part part;
};

struct booked_call {
    struct admin_adjust *adjust;
    const char *source;
    int64_t hold_id, cost_micros, adjust_count;
    int32_t part_count;
    struct named_part parts[HOLD_PARTS_MAX];
    bool found, done_before;
};

/* One limit of the inputs that the decision left in the row; what is of no use here is passed by. */
static void
take_part(struct booked_call *call, struct slice item)
{
    struct json_value value;
    struct named_part named = { .nth = 1 };
    struct adjust_part *part = &named.part;
    if (call->part_count == HOLD_PARTS_MAX || !json_get(item, "limit", &value)
        || !json_to_cstr(value, named.name, sizeof(named.name))) {
        return;
    }
    if (json_get(item, "nth", &value) && !json_to_i64(value, 1, INT64_MAX, &named.nth)) {
        return;
    }
    if (json_get(item, "to", &value)) {
        return; /* the last attempt was at another provider than this limit's */
    }
    if (!json_get(item, "window", &value)
        || !json_to_i64(value, 0, WALL_MS_MAX, &part->window_ms)) {
        return;
    }
    if (json_get(item, "subject", &value) && !json_to_i64(value, 0, INT64_MAX, &part->subject_id)) {
        return;
    }
    call->parts[call->part_count++] = named;
}

/* The limits that count cost and are in force, whatever they are called now. */
static void
find_limits(struct booked_call *call, const struct policy *policy, const struct limit_defs *defs)
{
    struct admin_adjust *adjust = call->adjust;
    adjust->part_count = 0;
    for (int32_t i = 0; i < call->part_count; i++) {
        struct named_part *named = &call->parts[i];
        const struct limit_def_row *def = limit_def_named(defs, slice_str(named->name), named->nth);
        const struct limit *limit = def ? policy_limit_by_id(policy, def->limit_id) : NULL;
        if (limit && limit->counts == COUNT_COST) {
            named->part.limit_id = limit->limit_id;
            adjust->parts[adjust->part_count++] = named->part;
        }
    }
}

static void
take_parts(struct booked_call *call, struct slice inputs)
{
    struct json_value limits;
    struct json_value item;
    struct json_cursor cursor;
    if (!json_get(inputs, "limits", &limits) || limits.type != JSON_ARRAY) {
        return;
    }
    call->part_count = 0;
    json_start(&cursor, limits.text);
    if (!json_enter(&cursor, '[')) {
        return;
    }
    while (json_next_item(&cursor) && json_take(&cursor, &item)) {
        take_part(call, item.text);
    }
}

static bool
take_row(void *user, const struct ledger_row *row)
{
    struct booked_call *call = user;
    if (row->hold_id != call->hold_id) {
        return true;
    }
    call->cost_micros = money_add(call->cost_micros, row->cost_micros);
    if (row->kind == LEDGER_ADJUST) {
        call->adjust_count++;
        call->done_before |= strcmp(row->source, call->source) == 0;
        return true;
    }
    struct admin_adjust *adjust = call->adjust;
    if (!call->found) { /* the newest comes first */
        adjust->account_id = row->account_id;
        adjust->key_id = row->key_id;
        adjust->thread_id = row->thread_id;
        adjust->root_id = row->root_id;
        memcpy(adjust->model, row->model, sizeof(adjust->model));
        memcpy(adjust->provider, row->provider, sizeof(adjust->provider));
        memcpy(adjust->upstream_model, row->upstream_model, sizeof(adjust->upstream_model));
        take_parts(call, row->inputs);
    }
    call->found = true;
    return true;
}

struct open_call {
    int64_t hold_id;
    bool open;
};

static bool
take_hold(void *user, const struct hold_row *row)
{
    struct open_call *call = user;
    call->open = row->hold_id == call->hold_id;
    return !call->open;
}

/* Of a call that runs rows of earlier attempts may be on the books, which do not tell all that it will have counted
 * for: so this is asked before they are read. False: answered. */
static bool
is_over(struct api_worker *worker, struct ask *ask, int64_t hold_id)
{
    struct open_call call = { .hold_id = hold_id };
    if (store_read_holds(worker->reader, take_hold, &call) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return false;
    }
    if (call.open) {
        answer_fault(ask, API_FAULT_REQUEST_OPEN, NULL);
    }
    return !call.open;
}

/* False: answered. */
static bool
read_call(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    struct booked_call *call, int64_t delta)
{
    const struct ledger_filter filter = { .kind = -1, .limit = CALL_ROWS_MAX, .id = call->hold_id };
    call->adjust->read_ms = clock_wall_ms();
    worker_catch_up(worker, ask, false);
    if (!is_over(worker, ask, call->hold_id)) {
        return false;
    }
    if (store_read_ledger(worker->reader, &filter, take_row, call) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return false;
    }
    if (!call->found) {
        answer_fault(ask, API_FAULT_REQUEST_UNKNOWN, NULL);
        return false;
    }
    if (call->done_before) {
        char why[128];
        (void)snprintf(why, sizeof(why),
            "%s; by another `source` it can be again, also to take that back.", call->source);
        answer_fault(ask, API_FAULT_ADJUSTED, why);
        return false;
    }
    if (money_add(call->cost_micros, delta) < 0) {
        answer_field(
            ask, API_FAULT_FIELD, "delta_micros", "would make the call cost less than nothing");
        return false;
    }
    struct limit_defs defs;
    if (!defs_read(worker, ask, &defs)) { /* what a row names was there before it */
        return false;
    }
    find_limits(call, policy, &defs);
    defs_free(&defs);
    call->adjust->after_count = call->adjust_count;
    return true;
}

/* --- The change. */

void
adjust_source(struct ask *ask, const struct adjust_body *body, struct event *event)
{
    (void)snprintf(event->admin.actor, sizeof(event->admin.actor), "admin:%.25s",
        body->source[0] ? body->source : ask->actor);
}

bool
adjust_ask_gate(struct api_worker *worker, struct ask *ask, struct event *event,
    const struct adjust_body *body, struct verdict *verdict)
{
    struct buf note = { 0 };
    put_open(&note, NULL, '{');
    put_text(&note, "verb", "adjust");
    put_text(&note, "actor", ask->actor);
    put_text_or_null(&note, "note", body->note);
    put_text_or_null(&note, "limit", body->limit);
    put_close(&note, '}');
    event->admin.note = buf_slice(&note);
    const bool came = !note.failed && change_once(worker, ask, event, (struct slice){ 0 }, verdict);
    if (note.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
    buf_free(&note);
    return came;
}

static void
render_call(struct ask *ask, const struct booked_call *call, int64_t delta_micros)
{
    struct buf *out = answer_begin(ask, 200);
    put_id(out, "request", "req_", call->hold_id);
    put_text(out, "source", call->source);
    put_i64(out, "delta_micros", delta_micros);
    put_i64(out, "cost_before_micros", call->cost_micros);
    put_i64(out, "cost_micros", money_add(call->cost_micros, delta_micros));
    put_new_id(out, "row", "");
    answer_end(ask);
}

/* Reads the call, and corrects it if nobody else does so meanwhile, here or at another gateway: then it is read
 * again. */
static void
correct_call(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct adjust_body *body, struct event *event)
{
    struct verdict verdict = { .admin = ADMIN_STALE };
    for (int tries = 0; tries < STALE_TRIES && verdict.admin == ADMIN_STALE; tries++) {
        struct booked_call call = {
            .adjust = &event->admin.adjust, .source = event->admin.actor, .hold_id = body->request
        };
        if (!read_call(worker, ask, policy, &call, body->delta_micros)) {
            return;
        }
        render_call(ask, &call, body->delta_micros);
        if (!adjust_ask_gate(worker, ask, event, body, &verdict)) {
            return;
        }
    }
    switch (verdict.admin) {
    case ADMIN_DONE:
        log_line(LOG_INFO, "admin", "adjust by %s: req_%lld, %lld micro-USD", ask->actor,
            (long long)body->request, (long long)body->delta_micros);
        break;
    case ADMIN_OPEN: answer_fault(ask, API_FAULT_REQUEST_OPEN, NULL); break;
    case ADMIN_STALE: answer_fault(ask, API_FAULT_REQUEST_CORRECTED, NULL); break;
    default: answer_fault(ask, API_FAULT_CAP_MISPLACED, NULL); break;
    }
}

static void
adjust_call(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct adjust_body *body)
{
    struct event event = admin_event(ask, ADMIN_ADJUST);
    if (body->delta && body->delta_micros == 0) {
        answer_field(
            ask, API_FAULT_FIELD, "delta", "has no unit: for what a call cost say `delta_micros`");
        return;
    }
    if (body->delta_micros == 0) {
        answer_field(
            ask, API_FAULT_FIELD, "delta_micros", "is missing: what the call cost more or less");
        return;
    }
    if (adjust_names_somebody(body) || body->limit[0] || body->delta) {
        answer_field(ask, API_FAULT_FIELD, "request",
            "stands alone: a call counts for its own account and limits");
        return;
    }
    adjust_source(ask, body, &event);
    event.admin.adjust.hold_id = body->request;
    event.admin.adjust.delta = body->delta_micros;
    /* Two that read the same sum would take turns in being too late. Of other gateways one must look again. */
    (void)pthread_mutex_lock(&worker->api->correcting);
    correct_call(worker, ask, policy, body, &event);
    (void)pthread_mutex_unlock(&worker->api->correcting);
}

void
post_adjust(struct api_worker *worker, struct ask *ask)
{
    struct adjust_body body = { 0 };
    const struct field fields[] = {
        { "request", FIELD_ID, &body.request, .prefix = "req_" },
        { "delta_micros", FIELD_DELTA, &body.delta_micros },
        { "delta", FIELD_DELTA, &body.delta },
        { "limit", FIELD_NAME, body.limit },
        { "note", FIELD_NAME, body.note },
        { "source", FIELD_NAME, body.source },
        { "credit", FIELD_BOOL, &body.credit },
        { "account", FIELD_NAME, body.account },
        { "key", FIELD_ID, &body.key, .prefix = "key_" },
        { "thread", FIELD_ID, &body.thread, .prefix = "thr_" },
        { "model", FIELD_NAME, body.names[ADJUST_MODEL] },
        { "tier", FIELD_NAME, body.names[ADJUST_TIER] },
        { "plan", FIELD_NAME, body.names[ADJUST_PLAN] },
        { "group", FIELD_NAME, body.names[ADJUST_GROUP] },
        { "organisation", FIELD_NAME, body.names[ADJUST_ORGANISATION] },
        { "tag", FIELD_NAME, body.names[ADJUST_TAG] },
    };
    if (!fields_of_body(ask, fields, countof(fields))) {
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    if (body.request) {
        adjust_call(worker, ask, policy, &body);
    } else {
        adjust_use(worker, ask, policy, &body);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}
