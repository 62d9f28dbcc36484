/* api/api.c: requests from the loop to a thread and back. */
#include "api/api_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/thread.h"
#include "log/trail.h"
#include "wire/headers.h"

/* --- An ask. */

static struct ask *
ask_make(struct api_loop *loop)
{
    struct ask *ask = calloc(1, sizeof(*ask));
    if (ask) {
        list_init(&ask->node);
        ask->loop = loop;
        ask->now_ms = engine_books_ms(loop->api->options.engine);
        ask->body.limit_bytes = (size_t)API_BODY_BYTES_MAX;
    }
    return ask;
}

static void
ask_clear(struct ask *ask)
{
    if (ask->follows) {
        stream_leave(ask->loop->api);
    }
    if (ask->endpoint == ENDPOINT_KEY_ADD && ask->out.ptr) {
        secret_wipe(ask->out.ptr, ask->out.cap);
    }
    list_remove(&ask->node);
    buf_free(&ask->target);
    buf_free(&ask->body);
    buf_free(&ask->headers);
    buf_free(&ask->out);
}

void
ask_free(struct ask *ask)
{
    ask_clear(ask);
    free(ask);
}

void
ask_handle(struct api_worker *worker, struct ask *ask)
{
    switch (ask->endpoint) {
    case ENDPOINT_METRICS: get_metrics(worker, ask); return;
    case ENDPOINT_STATUS: get_status(worker, ask); return;
    case ENDPOINT_REQUEST: get_request(worker, ask); return;
    case ENDPOINT_ACCOUNT_USAGE: get_usage(worker, ask); return;
    case ENDPOINT_ACCOUNT_REPORT: put_usage_report(worker, ask); return;
    case ENDPOINT_ACCOUNT_THRESHOLDS: get_thresholds(worker, ask); return;
    case ENDPOINT_ACCOUNT_THRESHOLDS_SET: put_thresholds_of(worker, ask); return;
    case ENDPOINT_EXPLAIN: post_explain(worker, ask); return;
    case ENDPOINT_ACCOUNTS: get_accounts(worker, ask); return;
    case ENDPOINT_ACCOUNT_ADD: post_account(worker, ask); return;
    case ENDPOINT_ACCOUNT_BAN:
    case ENDPOINT_ACCOUNT_UNBAN: post_account_ban(worker, ask); return;
    case ENDPOINT_KEYS: get_keys(worker, ask); return;
    case ENDPOINT_KEY_ADD: post_key(worker, ask); return;
    case ENDPOINT_KEY_REVOKE: post_key_revoke(worker, ask); return;
    case ENDPOINT_LEDGER: get_ledger(worker, ask); return;
    case ENDPOINT_LEDGER_PRUNE: post_ledger_prune(worker, ask); return;
    case ENDPOINT_LIMITS: get_limits(worker, ask); return;
    case ENDPOINT_ADJUST: post_adjust(worker, ask); return;
    case ENDPOINT_USAGE_LIMITS: get_usage_limits(worker, ask); return;
    case ENDPOINT_USAGE_STATUS: get_usage_status(worker, ask); return;
    case ENDPOINT_THREADS: get_threads(worker, ask); return;
    case ENDPOINT_THREAD: get_thread(worker, ask); return;
    case ENDPOINT_THREAD_LIMIT_SET: put_thread_limit(worker, ask); return;
    case ENDPOINT_USAGE_LIMITS_SET:
    case ENDPOINT_USAGE_LIMITS_UNSET: change_usage_limits(worker, ask); return;
    case ENDPOINT_OVERRIDE_SET:
    case ENDPOINT_OVERRIDE_UNSET:
    case ENDPOINT_GROUP_OVERRIDE_SET:
    case ENDPOINT_GROUP_OVERRIDE_UNSET:
    case ENDPOINT_RAISE_SET:
    case ENDPOINT_RAISE_UNSET: change_override(worker, ask); return;
    case ENDPOINT_EVENTS: get_events(worker, ask); return;
    case ENDPOINT_WEBHOOKS: get_webhooks(worker, ask); return;
    case ENDPOINT_WEBHOOK_TEST: post_webhook_test(worker, ask); return;
    case ENDPOINT_RELOAD: post_reload(worker, ask); return;
    default: answer_reason(ask, REASON_ENDPOINT_UNKNOWN); return;
    }
}

/* For Allow: what the path takes, HEAD where GET. */
static void
allowed_methods(uint32_t methods, char out[64])
{
    static const char *const names[] = {
#define METHOD_NAME(name) [HTTP_METHOD_##name] = #name,
        HTTP_METHODS(METHOD_NAME)
#undef METHOD_NAME
    };
    struct buf list = { .ptr = out, .cap = 63, .limit_bytes = 63 };
    methods |= methods & 1u << HTTP_METHOD_GET ? 1u << HTTP_METHOD_HEAD : 0;
    for (size_t i = HTTP_METHOD_OTHER + 1; i < countof(names); i++) {
        if (methods & 1u << i) {
            buf_add_str(&list, list.len > 0 ? ", " : "");
            buf_add_str(&list, names[i]);
        }
    }
    out[list.len] = '\0';
}

/* Whether what is asked may come with a body that says how. */
static bool
method_has_body(enum http_method method)
{
    return method == HTTP_METHOD_POST || method == HTTP_METHOD_PUT || method == HTTP_METHOD_PATCH;
}

/* The path and query, and which endpoint they are; what is none is answered: false. */
static bool
ask_target(struct ask *ask, enum http_method method, struct slice path, struct slice query)
{
    struct api_match match;
    buf_add_slice(&ask->target, path);
    buf_add_slice(&ask->target, query);
    if (ask->target.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    ask->query = slice_of(ask->target.ptr + path.len, query.len);
    const enum api_match_result result =
        api_match(method, slice_of(ask->target.ptr, path.len), &match);
    ask->endpoint = match.endpoint;
    ask->segment = match.segment;
    if (result == API_MATCH_UNKNOWN) {
        answer_reason(ask, REASON_ENDPOINT_UNKNOWN);
        return false;
    }
    if (result == API_MATCH_METHOD_WRONG) {
        char allowed[64];
        allowed_methods(match.methods, allowed);
        answer_reason(ask, REASON_METHOD_WRONG);
        answer_header(ask, "Allow", allowed);
        return false;
    }
    if (endpoint_row(ask->endpoint)->owner == ENDPOINT_OWNER_RELAY) {
        answer_fault(ask, API_FAULT_CONTROL_ONLY, NULL);
        return false;
    }
    return true;
}

/* --- Threads. */

static struct ask *
next_ask(struct api_plane *api)
{
    struct ask *ask = NULL;
    (void)pthread_mutex_lock(&api->lock);
    while (!api->stopping && list_empty(&api->queue)) {
        (void)pthread_cond_wait(&api->work_came, &api->lock);
    }
    if (!api->stopping) {
        ask = list_entry(api->queue.next, struct ask, node);
        list_remove(&ask->node);
        api->queued--;
    }
    (void)pthread_mutex_unlock(&api->lock);
    return ask;
}

static void
work_on(struct api_worker *worker, struct ask *ask)
{
    if (auth_allow(worker, ask) && !receipt_answers(worker, ask)) {
        ask_handle(worker, ask);
        receipt_answers_refusal(worker, ask);
    }
    if (ask->endpoint == ENDPOINT_ADJUST && ask->status == 200) {
        adjust_tell(worker, ask);
    }
    if (ask->out.failed || ask->headers.failed) {
        ask->out.limit_bytes = 0;
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
}

/* Back to its loop; the last word about it may be that the loop is gone. */
static void
hand_back(struct ask *ask)
{
    struct api_loop *loop = ask->loop;
    (void)pthread_mutex_lock(&loop->lock);
    const bool stopped = loop->stopped;
    if (!stopped) {
        list_push_back(&loop->done, &ask->node);
        net_loop_wake(loop->loop);
    }
    (void)pthread_mutex_unlock(&loop->lock);
    if (stopped) {
        ask_free(ask);
    }
}

static void *
worker_thread(void *arg)
{
    struct api_worker *worker = arg;
    struct ask *ask = NULL;
    thread_begin("control");
    trail_thread("control", (int)(worker - worker->api->workers));
    while ((ask = next_ask(worker->api)) != NULL) {
        work_on(worker, ask);
        trail_note(TRAIL_CONTROL, (int64_t)ask->endpoint, ask->status, (int64_t)ask->out.len);
        hand_back(ask);
    }
    return NULL;
}

bool
ask_queue(struct ask *ask)
{
    struct api_plane *api = ask->loop->api;
    (void)pthread_mutex_lock(&api->lock);
    const bool room = api->queued < API_QUEUE_MAX && !api->stopping;
    if (room) {
        list_push_back(&api->queue, &ask->node);
        api->queued++;
        (void)pthread_cond_signal(&api->work_came);
    }
    (void)pthread_mutex_unlock(&api->lock);
    return room;
}

/* --- On the loop. */

/* Sends the answer, if there is still someone to read it, and frees the ask. */
static void
ask_send(struct ask *ask)
{
    struct net_exchange *exchange = ask->exchange;
    ask->with_thread = false;
    if (ask->follows && (ask->status == 200 || !exchange || net_head_sent(exchange))) {
        stream_send(ask);
        return;
    }
    if (exchange) {
        const struct slice body = buf_slice(&ask->out);
        const bool plain = !ask->media_type || ask->status != 200;
        answer_header(ask, "Content-Type", plain ? "application/json" : ask->media_type);
        answer_header(ask, "Cache-Control", "no-store");
        if (ask->replayed) {
            answer_header(ask, "Idempotent-Replayed", "true");
        }
        net_send_head(exchange, ask->status, buf_slice(&ask->headers), (int64_t)body.len);
        (void)net_send(exchange, &body, 1);
        net_end(exchange);
        net_close(exchange);
    }
    ask_free(ask);
}

static void
ask_submit(struct ask *ask)
{
    list_remove(&ask->node); /* it may have been among those that are read */
    ask->with_thread = true;
    if (!ask_queue(ask)) {
        ask->with_thread = false;
        answer_reason(ask, REASON_OVERLOADED);
        answer_header(ask, "Retry-After", "1");
        ask_send(ask);
    }
}

static void
on_body(struct net_exchange *exchange, struct slice piece, bool last)
{
    struct ask *ask = net_exchange_user(exchange);
    buf_add_slice(&ask->body, piece);
    if (ask->body.failed) {
        answer_reason(ask, REASON_BODY_TOO_LARGE);
        ask_send(ask);
    } else if (last) {
        ask_submit(ask);
    }
}

/* A thread may be working on it: then it is freed when it comes back. */
static void
on_gone(struct net_exchange *exchange)
{
    struct ask *ask = net_exchange_user(exchange);
    ask->exchange = NULL;
    net_close(exchange);
    if (!ask->with_thread) {
        ask_free(ask);
    }
}

static const struct net_handler ask_handler = { .on_body = on_body, .on_gone = on_gone };

static void
ask_key(struct ask *ask, const struct http_head *head)
{
    const struct caller_keys keys = caller_keys_find(head);
    ask->key_fault = keys.conflict       ? REASON_KEY_CONFLICT
                     : keys.key.len == 0 ? REASON_KEY_MISSING
                                         : REASON_OK;
    if (ask->key_fault == REASON_OK) {
        secret_hash_hex(keys.key, ask->key_hash);
    }
    const struct http_header *act_for = http_find(head, SLICE("x-tidegate-account"));
    if (act_for && name_valid(act_for->value)) {
        (void)slice_to_cstr(act_for->value, ask->act_for, sizeof(ask->act_for));
    }
}

/* Behind a proxy every peer is of this machine: one that names its client does not ask for itself. */
static bool
ask_is_local(const struct net_exchange *exchange, const struct http_head *head)
{
    static const char *const told_by_proxies[] = { "forwarded", "x-forwarded-for", "x-real-ip",
        "via" };
    if (!(net_exchange_tag(exchange) & API_TAG_LOOPBACK) || !net_exchange_peer_is_local(exchange)) {
        return false;
    }
    for (size_t i = 0; i < countof(told_by_proxies); i++) {
        if (http_find(head, slice_str(told_by_proxies[i]))) {
            return false;
        }
    }
    return true;
}

/* What does not fit is none of ours, and told to be none. */
static void
ask_stream(struct ask *ask, const struct http_head *head)
{
    const struct http_header *accept = http_find(head, SLICE("accept"));
    const struct http_header *last = http_find(head, SLICE("last-event-id"));
    ask->may_stream = head->method == HTTP_METHOD_GET;
    ask->wants_stream = accept && slice_find(accept->value, SLICE("text/event-stream")) >= 0;
    if (last && last->value.len > 0
        && !slice_to_cstr(last->value, ask->last_event_id, sizeof(ask->last_event_id))) {
        (void)slice_to_cstr(SLICE("?"), ask->last_event_id, sizeof(ask->last_event_id));
    }
}

/* Whether the ask goes on to a thread; else it is answered. */
static bool
ask_judge(struct ask *ask, const struct http_head *head)
{
    struct api_plane *api = ask->loop->api;
    if (!ask_target(ask, head->method, head->path, head->query)
        || health_answers(api, ask, net_stopping(net_loop_net(ask->loop->loop)))
        || !auth_at_the_door(ask)) {
        return false;
    }
    const struct http_header *once = http_find(head, SLICE("idempotency-key"));
    if (once && endpoint_row(ask->endpoint)->repeat == ENDPOINT_REPEAT_ONCE
        && !receipt_key_take(ask, once->value)) {
        return false;
    }
    if (head->body_kind == HTTP_BODY_LENGTH && head->content_length > API_BODY_BYTES_MAX) {
        answer_reason(ask, REASON_BODY_TOO_LARGE);
        return false;
    }
    return true;
}

void
api_request(struct api_loop *loop, struct net_exchange *exchange, const struct http_head *head)
{
    struct ask *ask = ask_make(loop);
    if (!ask) {
        net_abort(exchange);
        net_close(exchange);
        return;
    }
    ask->handled.handler = &ask_handler;
    ask->exchange = exchange;
    net_exchange_set_user(exchange, ask);
    ask->control = net_exchange_tag(exchange) == API_TAG_CONTROL;
    ask->local = ask_is_local(exchange, head);
    ask->tls = (net_exchange_tag(exchange) & API_TAG_TLS) != 0;
    (void)slice_to_cstr(net_exchange_peer(exchange), ask->peer, sizeof(ask->peer));
    ask->peer_block = net_exchange_peer_block(exchange);
    (void)slice_to_cstr(SLICE("control"), ask->actor, sizeof(ask->actor));
    ask_key(ask, head);
    ask_stream(ask, head);
    if (!ask_judge(ask, head)) {
        ask_send(ask);
    } else if (method_has_body(head->method)) {
        list_push_back(&loop->reading, &ask->node);
        net_body_read(exchange);
    } else {
        ask_submit(ask);
    }
}

void
api_deliver(struct api_loop *loop)
{
    for (;;) {
        struct ask *ask = NULL;
        (void)pthread_mutex_lock(&loop->lock);
        if (!list_empty(&loop->done)) {
            ask = list_entry(loop->done.next, struct ask, node);
            list_remove(&ask->node);
        }
        (void)pthread_mutex_unlock(&loop->lock);
        if (!ask) {
            break;
        }
        ask_send(ask);
    }
    if (net_stopping(net_loop_net(loop->loop))) {
        streams_end(loop);
    }
}

struct api_loop *
api_loop_start(struct api_plane *api, struct net_loop *net_loop)
{
    struct api_loop *loop = calloc(1, sizeof(*loop));
    if (loop) {
        loop->api = api;
        loop->loop = net_loop;
        check(pthread_mutex_init(&loop->lock, NULL) == 0);
        list_init(&loop->done);
        list_init(&loop->reading);
        streams_start(loop);
        (void)pthread_mutex_lock(&api->lock);
        loop->next = api->loops; /* a thread may come back to it later than it ends */
        api->loops = loop;
        (void)pthread_mutex_unlock(&api->lock);
    }
    return loop;
}

static void
free_all(struct list *asks)
{
    while (!list_empty(asks)) {
        struct ask *ask = list_entry(asks->next, struct ask, node);
        list_remove(&ask->node);
        check(asks->next != &ask->node);
        ask_free(ask);
    }
}

void
api_loop_stop(struct api_loop *loop)
{
    (void)pthread_mutex_lock(&loop->lock);
    loop->stopped = true;
    (void)pthread_mutex_unlock(&loop->lock);
    free_all(&loop->done); /* their exchanges end with the loop */
    free_all(&loop->reading);
    streams_stop(loop);
    free_all(&loop->following);
}

/* --- Opening and closing. */

enum status
api_open(const struct api_options *options, struct api_plane **out, struct api_error *error)
{
    struct api_plane *api = calloc(1, sizeof(*api));
    if (!api) {
        (void)slice_to_cstr(
            SLICE("no memory for the control plane"), error->text, sizeof(error->text));
        return STATUS_FULL;
    }
    api->options = *options;
    api->started_ms = clock_wall_ms();
    api->started_mono_ms = clock_mono_ms();
    list_init(&api->queue);
    check(pthread_mutex_init(&api->lock, NULL) == 0);
    check(pthread_mutex_init(&api->correcting, NULL) == 0);
    check(pthread_cond_init(&api->work_came, NULL) == 0);
    const int threads = options->threads ? API_THREADS : 0;
    enum status status = worker_open(api, API_THREADS, error);
    for (int i = 0; i < threads && status == STATUS_OK; i++) {
        struct api_worker *worker = &api->workers[i];
        status = worker_open(api, (uint32_t)i, error);
        worker->thread_runs = status == STATUS_OK
                              && pthread_create(&worker->thread, NULL, worker_thread, worker) == 0;
        if (status == STATUS_OK && !worker->thread_runs) {
            (void)slice_to_cstr(SLICE("cannot start the control plane's threads"), error->text,
                sizeof(error->text));
            status = STATUS_FULL;
        }
    }
    if (status != STATUS_OK) {
        api_stop(api);
        api_free(api);
        return status;
    }
    *out = api;
    return STATUS_OK;
}

void
api_stop(struct api_plane *api)
{
    if (!api) {
        return;
    }
    (void)pthread_mutex_lock(&api->lock);
    api->stopping = true;
    (void)pthread_cond_broadcast(&api->work_came);
    (void)pthread_mutex_unlock(&api->lock);
    for (int i = 0; i < API_REPLY_LOOPS; i++) {
        if (api->workers[i].thread_runs) {
            check(pthread_join(api->workers[i].thread, NULL) == 0);
            api->workers[i].thread_runs = false;
        }
        worker_close(&api->workers[i]);
    }
    free_all(&api->queue);
}

void
api_free(struct api_plane *api)
{
    if (!api) {
        return;
    }
    while (api->loops) {
        struct api_loop *loop = api->loops;
        api->loops = loop->next;
        (void)pthread_mutex_destroy(&loop->lock);
        free(loop);
    }
    for (int i = 0; i < API_REPLY_LOOPS; i++) {
        worker_free(&api->workers[i]);
    }
    (void)pthread_cond_destroy(&api->work_came);
    (void)pthread_mutex_destroy(&api->correcting);
    (void)pthread_mutex_destroy(&api->lock);
    free(api);
}

void
api_wake(struct api_plane *api, uint32_t loop)
{
    const uint32_t index = loop - api->options.first_reply_loop;
    check(index < API_REPLY_LOOPS);
    worker_wake(&api->workers[index]);
}

int
api_do(struct api_plane *api, const char *actor, const struct api_call *call, struct buf *out)
{
    struct ask ask = {
        .control = true, .local = true, .now_ms = engine_books_ms(api->options.engine)
    };
    list_init(&ask.node);
    (void)slice_to_cstr(slice_str(actor), ask.actor, sizeof(ask.actor));
    struct slice query = call->target;
    struct slice path = { 0 };
    (void)slice_split(&query, '?', &path);
    buf_add_slice(&ask.body, call->body);
    const bool found = ask_target(&ask, http_method_of(slice_str(call->method)), path, query)
                       && !health_answers(api, &ask, false);
    const bool once =
        found && call->once_key && endpoint_row(ask.endpoint)->repeat == ENDPOINT_REPEAT_ONCE;
    if (found && (!once || receipt_key_take(&ask, slice_str(call->once_key)))) {
        work_on(&api->workers[API_THREADS], &ask);
    }
    buf_add_slice(out, buf_slice(&ask.out));
    const int status = ask.status;
    ask_clear(&ask);
    return status;
}
