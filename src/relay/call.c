/* relay/call.c: a call is taken from its loop's pool, walks its states, and is given back. */
#include "relay/relay_priv.h"

#include <stdlib.h>

#include "base/secret.h"
#include "log/metrics.h"
#include "log/trail.h"

#define FREE_CALLS_MAX       256
#define CALL_ARENA_BYTES_MAX ((size_t)1 << 20)

static void call_on_timer(struct net_timer *timer);

/* With a reference for the caller. The engine's lock is taken only when there is a newer one. */
static struct policy *
newest_policy(struct relay_loop *loop)
{
    if (!engine_policy_is(loop->relay->engine, loop->policy)) {
        engine_policy_unref(loop->relay->engine, loop->policy);
        loop->policy = engine_policy(loop->relay->engine);
    }
    return policy_ref(loop->policy);
}

void
call_take_policy(struct call *call)
{
    engine_policy_unref(call->loop->relay->engine, call->policy);
    call->policy = newest_policy(call->loop);
}

/* Answers where the text goes on. */
static char *
put_number(char *at, int64_t number)
{
    return at + i64_text(number, at);
}

void
call_name_by(struct call *call, int64_t id)
{
    _Static_assert(sizeof call->request_id >= sizeof "req_" + 20, "any id has room");
    memcpy(call->request_id, "req_", 4);
    *put_number(call->request_id + 4, id) = '\0';
}

/* Until it has a hold or a row of the ledger: a name that no other call of any run has. */
static void
name_by_loop(struct call *call, int64_t epoch, int64_t loop, int64_t serial)
{
    memcpy(call->request_id, "req_", 4);
    char *at = put_number(call->request_id + 4, epoch & (((int64_t)1 << 20) - 1));
    *at++ = '-';
    at = put_number(at, loop & 0xffff);
    *at++ = '-';
    *put_number(at, serial & (((int64_t)1 << 53) - 1)) = '\0';
}

struct call *
call_make(struct relay_loop *loop, struct net_exchange *exchange, enum api api)
{
    struct call *call = NULL;
    if (!list_empty(&loop->free_calls)) {
        call = list_entry(loop->free_calls.next, struct call, node);
        list_remove(&call->node);
        loop->free_count--;
    } else {
        call = calloc(1, sizeof *call);
        if (!call) {
            return NULL;
        }
        list_init(&call->node);
    }
    call->handled.handler = &call_handler;
    call->loop = loop;
    call->exchange = exchange;
    call->api = api;
    call->state = CALL_IDENTIFY;
    call->policy = newest_policy(loop);
    call->arena.limit_bytes = CALL_ARENA_BYTES_MAX;
    call->body.limit_bytes = (size_t)call->policy->body_bytes_max;
    call->answer.limit_bytes = ANSWER_BYTES_MAX;
    call->output_limit = -1;
    call->model_index = -1;
    call->multiplier_pct = call->speed_pct = 100;
    call->cost_micros = -1;
    call->started_mono_ms = net_loop_mono_ms(loop->loop);
    call->codex = client_is_codex(net_exchange_head(exchange));
    trace_id_find(net_exchange_head(exchange), call->trace_id);
    tap_start(&call->tap, api);
    net_timer_init(&call->timer, loop->loop, call_on_timer);
    name_by_loop(
        call, engine_epoch(loop->relay->engine), net_loop_index(loop->loop), ++loop->requests);
    if (loop->trim_timer.due_mono_ms == 0) {
        net_timer_start(&loop->trim_timer, SPARES_TRIM_MS);
    }
    list_push_back(&loop->calls, &call->node);
    trail_note(
        TRAIL_REQUEST, loop->requests, (int64_t)api, net_exchange_head(exchange)->header_count);
    __atomic_add_fetch(&loop->relay->calls_open, 1, __ATOMIC_RELAXED);
    counter_add(COUNTER_REQUESTS_OPEN, 1);
    net_exchange_set_user(exchange, call);
    return call;
}

void
call_free_body(struct call *call)
{
    spares_give(&call->loop->spares, &call->body);
    call_uncount_body(call);
}

void
call_free_head(struct call *call)
{
    secret_wipe(call->request_head.ptr, call->request_head.len);
    spares_give(&call->loop->spares, &call->request_head);
}

void
call_free_asking(struct call *call)
{
    arena_free(&call->arena);
    call->facts = NULL;
    call->limits_left = NULL;
    call->asked = NULL;
    call->named = NULL;
}

void
call_free_alike(struct call *call)
{
    call->tap.alike = NULL;
    if (call->alike) {
        alike_free(call->alike);
        free(call->alike);
        call->alike = NULL;
    }
}

/* The hold must be resolved and the upstream call dead by now. */
void
call_free(struct call *call)
{
    struct relay_loop *loop = call->loop;
    check(call->hold_id == 0);
    check(!call->upstream);
    if (call->ticket_open) {
        replies_forget(loop->replies, call->ticket);
    }
    net_timer_stop(&call->timer);
    route_give_back(call);
    if (call->exchange) {
        net_close(call->exchange);
    }
    if (call->outcome.set) {
        call_log(call);
    }
    engine_policy_unref(loop->relay->engine, call->policy);
    call_free_body(call);
    call_free_head(call);
    call_free_thin(call);
    spares_give(&loop->spares, &call->answer);
    spares_give(&loop->spares, &call->answer_headers);
    free(call->failure);
    free(call->account);
    buf_free(&call->error_head);
    buf_free(&call->sse_buf);
    call_free_alike(call);
    buf_free(&call->held_back);
    buf_free(&call->backlog);
    buf_free(&call->issued);
    call_uncount_answer(call);
    arena_reset(&call->arena);
    list_remove(&call->node);
    __atomic_sub_fetch(&loop->relay->calls_open, 1, __ATOMIC_RELAXED);
    counter_add(COUNTER_REQUESTS_OPEN, -1);
    counter_add(COUNTER_STREAMS_OPEN, -(int64_t)call->head_sent);

    const struct arena arena = call->arena;
    if (loop->free_count >= FREE_CALLS_MAX) {
        arena_free(&call->arena);
        free(call);
        return;
    }
    *call = (struct call){ .arena = arena };
    list_init(&call->node);
    list_push_front(&loop->free_calls, &call->node);
    loop->free_count++;
}

struct slice
call_account(const struct call *call)
{
    return call->account ? slice_str(call->account) : (struct slice){ 0 };
}

void
call_identified(struct call *call)
{
    if (call->then) {
        call->then(call);
        return;
    }
    const struct http_head *head = net_exchange_head(call->exchange);
    if (head->body_kind == HTTP_BODY_LENGTH
        && head->content_length > call->policy->body_bytes_max) {
        call_refuse_reason(call, REASON_BODY_TOO_LARGE, (struct slice){ 0 });
        return;
    }
    /* All of it at once: neither memory nor the budget runs out amid a body, and nothing grows by doubling. */
    if (head->body_kind == HTTP_BODY_LENGTH
        && (!call_count_body(call, head->content_length)
            || !spares_take(&call->loop->spares, &call->body, (size_t)head->content_length))) {
        call_refuse_reason(call, REASON_MEMORY_FULL, (struct slice){ 0 });
        return;
    }
    call->state = CALL_BODY;
    if (head->body_kind == HTTP_BODY_LENGTH) {
        net_body_room(call->exchange, call->body.ptr, (size_t)head->content_length);
    }
    net_body_read(call->exchange);
}

/* Most lie in their place already: net_body_room. */
static void
add_to_body(struct buf *body, struct slice piece)
{
    if (body->ptr && piece.ptr == body->ptr + body->len) {
        check(piece.len <= body->cap - body->len);
        body->len += piece.len;
    } else {
        buf_add_slice(body, piece);
    }
}

static void
call_on_body(struct net_exchange *exchange, struct slice piece, bool last)
{
    struct call *call = net_exchange_user(exchange);
    if (call->state != CALL_BODY) {
        return;
    }
    const size_t bytes = call->body.len + piece.len;
    const bool counted = call_count_body(call, (int64_t)bytes);
    if (counted) {
        add_to_body(&call->body, piece);
    }
    if (!counted || call->body.failed) {
        const bool too_large = bytes > (size_t)call->policy->body_bytes_max;
        call_refuse_reason(
            call, too_large ? REASON_BODY_TOO_LARGE : REASON_MEMORY_FULL, (struct slice){ 0 });
        return;
    }
    if (last) {
        call_body_complete(call);
    }
}

/* The client has left. What was not dispatched is given back; what was is stopped or drained. */
static void
call_on_gone(struct net_exchange *exchange)
{
    struct call *call = net_exchange_user(exchange);
    call->client_gone = true;
    trail_note(TRAIL_CLIENT_GONE, call->hold_id, (int64_t)call->state, (int64_t)call->body.len);
    counter_add(COUNTER_CLIENTS_GONE, 1);
    call->exchange = NULL;
    net_close(exchange);
    switch (call->state) {
    case CALL_IDENTIFY:
    case CALL_BODY:
    case CALL_GATE:
    case CALL_COUNT:
        if (call->upstream) { /* of a count, which costs nothing */
            net_call_cancel(call->upstream);
            call->upstream = NULL;
        }
        if (call->ticket_open) {
            replies_forget(
                call->loop->replies, call->ticket); /* a hold made meanwhile is given back */
            call->ticket_open = false;
        }
        if (call->hold_id) {
            struct ending ending = ending_between_routes(call);
            ending.flags = LEDGER_CLIENT_GONE;
            call_settle(call, &ending);
        }
        call_free(call);
        return;
    default: stream_client_gone(call);
    }
}

static void
call_on_drained(struct net_exchange *exchange)
{
    stream_drained(net_exchange_user(exchange));
}

const struct net_handler call_handler = {
    .on_body = call_on_body,
    .on_gone = call_on_gone,
    .on_drained = call_on_drained,
};

/* A stream that waits in a line shows life; a drain or a count that takes too long is given up. */
static void
call_on_timer(struct net_timer *timer)
{
    struct call *call = list_entry(timer, struct call, timer);
    if (call->state == CALL_DRAIN) {
        if (call->upstream) {
            net_call_cancel(call->upstream);
            call->upstream = NULL;
        }
        const struct ending ending = {
            .dispatched = true, .cut = CUT_GIVEN_UP, .flags = LEDGER_CLIENT_GONE
        };
        call_settle(call, &ending);
        call_free(call);
        return;
    }
    if (call->state == CALL_COUNT) {
        call_count_late(call);
        return;
    }
    if (call->thin && call->upstream) { /* so large that its end was not worth waiting for */
        net_call_cancel(call->upstream);
        call->upstream = NULL;
        call_upstream_failed(call, REASON_ANSWER_TOO_LARGE);
        return;
    }
    if (call->state == CALL_GATE && call->stream && call->exchange) {
        stream_show_life(call);
        net_timer_start(&call->timer, WAIT_KEEPALIVE_MS);
    }
}
