/* mock/serve.c: requests as they come: routing, bodies, the journal's rows, the end of a call. */
#include "mock/serve_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define ABORT_WAIT_MS INT64_C(2)

static void
on_timer(struct net_timer *timer)
{
    struct mock_call *call =
        (struct mock_call *)(void *)((char *)timer - offsetof(struct mock_call, timer));
    call->next(call);
}

void
mock_call_later(struct mock_call *call, int64_t after_ms, void (*next)(struct mock_call *))
{
    call->next = next;
    net_timer_start(&call->timer, after_ms);
}

void
mock_call_close(struct mock_call *call)
{
    struct mock *mock = call->mock;
    net_timer_stop(&call->timer);
    if (call->entry) {
        mock->open_count--;
        mock_journal_end(&mock->journal, call->entry, clock_wall_ms());
    }
    net_close(call->exchange);
    mock_answer_free(&call->answer);
    buf_free(&call->body);
    buf_free(&call->rest);
    arena_free(&call->arena);
    free(call);
}

void
mock_call_drop(struct mock_call *call)
{
    if (call->entry) {
        call->entry->cut = true;
    }
    mock_send_reset(call);
    mock_call_close(call);
}

void
mock_call_cut(struct mock_call *call)
{
    if (call->entry) {
        call->entry->cut = true;
    }
    if (net_unsent_bytes(call->exchange) > 0) {
        mock_call_later(call, ABORT_WAIT_MS, mock_call_cut);
        return;
    }
    mock_call_drop(call);
}

struct slice
mock_call_headers(struct mock_call *call, int status, const char *content_type)
{
    struct buf *head = &call->mock->head;
    const struct mock_header_facts facts = {
        .dialect = api_dialect(call->api),
        .behaviour = &call->behaviour,
        .serial = call->serial,
        .now_ms = clock_wall_ms(),
        .status = status,
    };
    buf_clear(head);
    buf_addf(head, "content-type: %s\r\n", content_type);
    mock_answer_headers(&facts, head);
    return buf_slice(head);
}

void
mock_call_answer(struct mock_call *call, int status, const char *content_type,
    struct slice extra_headers, struct slice body)
{
    struct buf head = { 0 };
    buf_add_slice(&head, call->entry ? mock_call_headers(call, status, content_type) : SLICE(""));
    if (!call->entry) {
        buf_addf(&head, "content-type: %s\r\n", content_type);
    }
    buf_add_slice(&head, extra_headers);
    if (call->entry) {
        call->entry->status = status;
        call->entry->finished = true;
    }
    mock_send_head(call, status, buf_slice(&head), (int64_t)body.len);
    (void)mock_send(call, body); /* whole: there is nothing to wait for */
    mock_send_end(call);
    buf_free(&head);
    mock_call_close(call);
}

/* `/v1/chat/completions` and `/chat/completions` are one. */
static bool
find_api(struct slice path, enum api *api)
{
    for (int i = 0; i < API_COUNT; i++) {
        const struct slice full = slice_str(api_path((enum api)i));
        check(full.len > strlen("/v1"));
        const struct slice bare = slice_of(full.ptr + strlen("/v1"), full.len - strlen("/v1"));
        if (slice_eq(path, full) || slice_eq(path, bare)) {
            *api = (enum api)i;
            return true;
        }
    }
    return false;
}

static bool
is_models(struct slice path)
{
    return slice_eq(path, SLICE("/v1/models")) || slice_eq(path, SLICE("/models"));
}

static struct mock_call *
call_make(struct net_exchange *exchange, const struct http_head *head)
{
    struct mock *mock = net_user(net_loop_net(net_exchange_loop(exchange)));
    struct mock_call *call = calloc(1, sizeof *call);
    if (!call) {
        return NULL;
    }
    call->mock = mock;
    call->exchange = exchange;
    call->behaviour = mock_behaviour_default();
    call->path = head->path;
    call->body.limit_bytes = (size_t)MOCK_REQUEST_BYTES_MAX;
    mock->id_count++;
    snprintf(call->serial, sizeof call->serial, "%012llx%08llx", (unsigned long long)mock->start_ms,
        (unsigned long long)mock->id_count);
    net_timer_init(&call->timer, net_exchange_loop(exchange), on_timer);
    (void)mock_behaviour_of_path(head->path, &call->front_words, &call->path);
    if (slice_starts(call->path, SLICE("/_mock/"))) {
        call->kind = MOCK_CONTROL;
        return call;
    }
    call->entry = mock_journal_add(&mock->journal, head, clock_wall_ms());
    if (!call->entry) {
        free(call);
        return NULL;
    }
    mock->open_count++;
    return call;
}

static void
refuse_without_memory(struct net_exchange *exchange)
{
    net_send_head(exchange, 500, SLICE(""), 0);
    net_end(exchange);
    net_close(exchange);
}

/* What is refused before its body is read: the words that are known by then say so. */
static bool
refuses_at_head(struct mock_call *call)
{
    struct mock_behaviour behaviour;
    struct mock_behaviour_fault fault;
    return mock_behaviour_of(call, SLICE(""), &behaviour, &fault) && behaviour.refuse;
}

static void
on_request(struct net_exchange *exchange, const struct http_head *head)
{
    struct mock_call *call = call_make(exchange, head);
    if (!call) {
        refuse_without_memory(exchange);
        return;
    }
    net_exchange_set_user(exchange, call);
    if (call->kind == MOCK_CONTROL) {
        net_body_read(exchange);
        return;
    }
    if (is_models(call->path)) {
        call->kind = MOCK_MODELS;
        net_body_read(exchange);
        return;
    }
    if (slice_eq(call->path, SLICE("/api/hello"))) {
        mock_call_answer(call, 200, "application/json", SLICE(""), SLICE("{}"));
        return;
    }
    const bool is_known = find_api(call->path, &call->api);
    if (!is_known || head->method != HTTP_METHOD_POST) {
        mock_refuse(call, is_known ? 405 : 404, "unknown_url", NULL,
            "There is no such endpoint here, or not with this method.");
        return;
    }
    if (refuses_at_head(call)) {
        mock_call_drop(call);
        return;
    }
    net_body_read(exchange);
}

/* Whether a model id at the beginning of a body, not whole yet, asks for `refuse=1`. */
static bool
refuses_at_model(struct mock_call *call)
{
    const struct slice seen = buf_slice(&call->body);
    const ptrdiff_t at = slice_find(seen, SLICE("\"mock:"));
    if (at < 0) {
        return false;
    }
    const struct slice from = slice_of(seen.ptr + at + 1, seen.len - (size_t)at - 1);
    const ptrdiff_t end = slice_find(from, SLICE("\""));
    if (end < 0) {
        return false;
    }
    struct mock_behaviour behaviour;
    struct mock_behaviour_fault fault;
    call->is_peeked = true;
    return mock_behaviour_of(call, slice_of(from.ptr, (size_t)end), &behaviour, &fault)
           && behaviour.refuse;
}

static void
on_body(struct net_exchange *exchange, struct slice piece, bool last)
{
    struct mock_call *call = net_exchange_user(exchange);
    buf_add_slice(&call->body, piece);
    if (call->kind == MOCK_CALL && !last && !call->is_peeked && refuses_at_model(call)) {
        mock_call_drop(call);
        return;
    }
    if (!last) {
        return;
    }
    if (call->entry) {
        mock_journal_body(&call->mock->journal, call->entry, buf_slice(&call->body));
    }
    if (call->kind == MOCK_CONTROL) {
        mock_control(call);
    } else {
        mock_judge(call);
    }
}

static void
on_gone(struct net_exchange *exchange)
{
    struct mock_call *call = net_exchange_user(exchange);
    if (call->entry && !call->entry->cut) {
        call->entry->gone = true;
        mock_tell_gone(call);
    }
    mock_call_close(call);
}

static void
on_drained(struct net_exchange *exchange)
{
    struct mock_call *call = net_exchange_user(exchange);
    if (call->blocked) {
        call->blocked = false;
        call->next(call);
    }
}

static void
on_loop(struct net_loop *loop)
{
    (void)loop; /* nothing is a loop's own here */
}

const struct net_app mock_app = {
    .on_loop_start = on_loop,
    .on_loop_stop = on_loop,
    .on_wake = on_loop,
    .on_request = on_request,
    .on_body = on_body,
    .on_gone = on_gone,
    .on_drained = on_drained,
};
