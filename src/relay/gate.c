/* relay/gate.c: the facts of a body, the question to the gate, and what follows from its answer. */
#include "relay/relay_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/secret.h"
#include "log/metrics.h"
#include "log/trail.h"

static void call_on_decision(void *user, const struct verdict *verdict);

/* What this gateway never passes on, whatever the limits say. */
static enum reason
judge_facts(const struct call *call, struct slice *detail)
{
    const struct facts *facts = call->facts;
    if (facts->background) {
        return REASON_BACKGROUND;
    }
    if (facts->foreign_id_field.len) {
        *detail = facts->foreign_id_field;
        return REASON_ID_UNKNOWN;
    }
    return REASON_OK;
}

static enum reason
find_model(struct call *call, char *detail, size_t detail_size)
{
    call->model_index = policy_model_index(call->policy, call->facts->model);
    if (call->model_index < 0) {
        snprintf(detail, detail_size,
            "\"%.*s\" is not in this gateway's list; GET /v1/models shows what is.",
            (int)min_i64((int64_t)call->facts->model.len, 100), call->facts->model.ptr);
        return REASON_MODEL_UNKNOWN;
    }
    const struct model *model = &call->policy->models[call->model_index];
    if (policy_model_serves(call->policy, model, call->api)) {
        return REASON_OK;
    }
    for (int api = 0; api < API_COUNT; api++) {
        if (api != API_COUNT_TOKENS && policy_model_serves(call->policy, model, (enum api)api)) {
            snprintf(detail, detail_size, "%s is served at POST %s.", model->name,
                api_path((enum api)api));
            break;
        }
    }
    return REASON_API_NOT_SERVED;
}

static void
keyed(const struct call *call, const char *prefix, struct slice value, char out[HASH_HEX + 1])
{
    struct buf text = { 0 };
    struct slice whole = value; /* nearly all are hashed where they stand */
    if (prefix[0]) {
        buf_add_str(&text, prefix);
        buf_add_slice(&text, value);
        whole = buf_slice(&text);
    }
    hash_memo_hex(&call->loop->thread_hashes, whole, out);
    buf_free(&text);
}

/* Which thread: what the client names or shows, else one a key and day. */
static void
fill_thread(const struct call *call, struct call_event *event)
{
    const struct thread_signal signal =
        thread_signal_find(net_exchange_head(call->exchange), call->facts);
    event->thread_kind = signal.kind;
    event->thread_named = signal.kind == THREAD_NAMED;
    if (signal.kind == THREAD_KEY_DAY) {
        /* A child that names no thread of its own is one a key, day and parent: else it would escape the
         * parent's tree, or draw everybody else's unnamed calls into it. */
        char day[64];
        snprintf(day, sizeof day, "%lld:%lld:", (long long)call->key_id,
            (long long)(clock_wall_ms() / DAY_MS));
        keyed(call, day, signal.parent, event->thread_hash);
    } else {
        keyed(call, "", signal.value, event->thread_hash);
    }
    if (signal.parent.len) {
        keyed(call, "", signal.parent, event->parent_hash);
    }
}

/* `event` is zeroed. */
static void
fill_event(struct call *call, struct call_event *event)
{
    const struct facts *facts = call->facts;
    event->account_id = call->account_id;
    event->key_id = call->key_id;
    event->model_index = call->model_index;
    event->api = (int32_t)call->api;
    event->policy_ver = call->policy->version;
    event->stream = facts->stream;
    event->body_bytes = call->body_bytes;
    event->input_bytes_bound = facts_input_tokens_bound(facts);
    event->input_counted = call->count_tried ? call->input_counted : facts->input_tokens;
    event->input_unbounded = facts_input_unbounded(facts);
    event->output_limit = facts->output_limit;
    event->output_floor = facts->thinking_budget ? facts->thinking_budget + 1 : 0;
    event->output_count = facts->answers;
    event->spend_limit_micros = call->spend_limit_micros;
    /* Words for a tier that we do not know are held at twice the list price. */
    const int64_t pct = facts_price_multiplier_pct(facts);
    event->price_multiplier_pct = call->multiplier_pct = pct ? pct : 200;
    const struct routes_resting resting = routes_resting(call);
    event->routes_closed = call->routes_closed = resting.closed;
    event->routes_open_ms = resting.wall_opens_ms;
    event->routes_failing = resting.failing;
    const int64_t speed_pct = price_words_pct((struct slice){ 0 }, facts->speed);
    call->speed_pct = speed_pct ? speed_pct : 200;
    event->cannot_bound = call_cannot_be_bounded(facts);
    (void)slice_to_cstr(facts_unbounded_by(facts), event->unbounded_by, sizeof event->unbounded_by);
    event->can_count = call_can_count(call);
    call_fill_labels(call, event);
    fill_thread(call, event);
    call_bind(call, event);
}

/* `found` is no REASON_OK. */
static void
fill_found(const struct call *call, enum reason found, struct call_event *event)
{
    *event = (struct call_event){ .account_id = call->account_id,
        .key_id = call->key_id,
        .model_index = call->model_index,
        .found = found,
        .api = (int32_t)call->api,
        .policy_ver = call->policy->version,
        .body_bytes = call->body_bytes,
        .output_limit = call->facts->output_limit };
    if (found == REASON_MODEL_UNKNOWN) {
        const struct slice model = call->facts->model;
        (void)slice_to_cstr(slice_of(model.ptr, (size_t)min_i64((int64_t)model.len, 63)),
            event->unbounded_by, sizeof event->unbounded_by);
    }
}

void
call_ask_gate(struct call *call, enum reason found)
{
    struct event event = { .kind = EVENT_CALL, .call = { 0 } };
    if (found == REASON_OK) {
        fill_event(call, &event.call);
        if (!call->count_tried && call_refused_again(call, &event.call)) {
            return;
        }
        call->asked = call->count_tried ? NULL
                                        : arena_alloc(&call->arena,
                                            sizeof *call->asked); /* NULL: is not remembered */
        if (call->asked) {
            *call->asked = event.call;
        }
    } else {
        fill_found(call, found, &event.call);
    }
    memcpy(event.trace_id, call->trace_id, sizeof event.trace_id);
    call->state = CALL_GATE;
    call->asked_mono_us = clock_mono_us();
    if (!replies_submit(call->loop->replies, &event, call_on_decision, call, &call->ticket)) {
        call_refuse_reason(call, REASON_OVERLOADED, (struct slice){ 0 });
        return;
    }
    call->ticket_open = true;
}

void
call_body_complete(struct call *call)
{
    struct facts_fault fault = { 0 };
    char detail[256] = "";
    struct slice told = { 0 };
    call->body_bytes = (int64_t)call->body.len;
    call->facts = arena_alloc(&call->arena, sizeof *call->facts);
    if (!call->facts) {
        call_refuse_reason(call, REASON_MEMORY_FULL, (struct slice){ 0 });
        return;
    }
    enum reason reason =
        facts_read(call->api, buf_slice(&call->body), &call->arena, call->facts, &fault);
    call->stream = call->facts->stream;
    call->usage_asked = call->facts->usage_asked;
    call->answers = call->facts->answers;
    call->unstored = call->facts->unstored;
    if (reason != REASON_OK) {
        call_refuse_reason(call, reason, slice_str(fault.detail));
        return;
    }
    reason = judge_facts(call, &told);
    if (reason == REASON_OK) {
        reason = find_model(call, detail, sizeof detail);
        told = slice_str(detail);
    }
    trail_note(TRAIL_BODY, call->account_id, call->body_bytes, (int64_t)reason);
    if (reason == REASON_OK) {
        call_ask_issued(call);
        return;
    }
    call->found = reason;
    call->detail = arena_copy(&call->arena, told);
    call_ask_gate(call, reason);
}

/* The call waits, and the configuration is another now: it asks as it would if it came now, and keeps its place in the
 * line. Whose its ids are (issued.c) does not hang on the configuration. */
static void
ask_anew(struct call *call, int64_t place)
{
    struct event event = { .kind = EVENT_CALL, .call = { 0 }, .place = place };
    char detail[256] = "";
    call_take_policy(call);
    call->found = find_model(call, detail, sizeof detail);
    if (call->found == REASON_OK && call->spend_limit_micros && !trees_have_caps(call->policy)) {
        call->found = REASON_SPEND_LIMIT_HEADER;
    }
    call->detail = arena_copy(&call->arena, slice_str(detail));
    if (call->found == REASON_OK) {
        fill_event(call, &event.call);
    } else {
        fill_found(call, call->found, &event.call);
    }
    memcpy(event.trace_id, call->trace_id, sizeof event.trace_id);
    if (!replies_submit_anew(call->loop->replies, &event, call->ticket)) {
        replies_forget(call->loop->replies, call->ticket);
        call->ticket_open = false;
        call_refuse_reason(call, REASON_OVERLOADED, (struct slice){ 0 });
    }
}

static void
call_on_decision(void *user, const struct verdict *verdict)
{
    struct call *call = user;
    if (verdict->kind == VERDICT_ANEW) {
        ask_anew(call, verdict->place);
        return;
    }
    if (verdict->kind == VERDICT_WAIT) {
        net_timer_start(&call->timer, WAIT_KEEPALIVE_MS);
        return; /* the ticket stays open */
    }
    call->ticket_open = false;
    histogram_add(HISTOGRAM_GATE, clock_mono_us() - call->asked_mono_us);
    net_timer_stop(&call->timer);
    if (verdict->kind == VERDICT_REFUSED && verdict->may_count) {
        call_count_input(call);
        return;
    }
    if (verdict->kind == VERDICT_REFUSED) {
        trail_note(TRAIL_REFUSED, call->account_id, (int64_t)verdict->refusal.reason,
            verdict->refusal.ledger_id);
        const bool found = verdict->refusal.reason == call->found;
        if (!call->head_sent) {
            call_refused_first(call, verdict);
        }
        call_refuse(call, &verdict->refusal,
            found ? call->detail : call_named_detail(call, &verdict->refusal));
        return;
    }
    trail_note(TRAIL_ALLOWED, verdict->hold_id, verdict->route_index, verdict->est_input);
    call->hold_id = verdict->hold_id;
    call->thread_id = verdict->thread_id;
    call->parent_ignored = verdict->parent_ignored;
    call->route_index = verdict->route_index;
    if (verdict->model_index != call->model_index) {
        call->model_index = verdict->model_index;
        call->substituted = true;
        call->routes_closed = routes_resting(call).closed;
    }
    call->routes_closed |= verdict->routes_foreign;
    call->payer = verdict->payer;
    call->output_limit = verdict->output_limit;
    call->lowered = verdict->output_lowered;
    call->output_allowed = verdict->output_allowed;
    call->est_input = call->gate_est_input = verdict->est_input;
    call->held_output = verdict->held_output;
    call->bound_output = verdict->bound_output;
    call->bytes_per_token_milli = verdict->bytes_per_token_milli;
    call->limits_left = arena_alloc(&call->arena, sizeof *call->limits_left);
    if (call->limits_left) {
        *call->limits_left =
            (struct limits_left){ verdict->tightest_requests, verdict->tightest_money };
    }
    call->ask_at = call->output_allowed == INT64_MAX ? INT64_MAX : call->output_allowed / 2;
    call->attempts = 1;
    if (call->hold_id) {
        call_name_by(call, call->hold_id);
    }
    call_send(call);
}
