/* relay/relay.c: which request goes where; loops and their pools. */
#include "relay/relay_priv.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

#define SPARES_BYTES_MAX ((int64_t)32 << 20) /* of one loop */
#define SPARES_SHARE     8                   /* of the budget of all bodies, at most */

enum status
relay_open(const struct relay_options *options, struct relay **out)
{
    struct relay *relay = calloc(1, sizeof *relay);
    pthread_mutex_t *lock = calloc(1, sizeof *lock);
    if (!relay || !lock) {
        free(relay);
        free(lock);
        return STATUS_FULL;
    }
    pthread_mutex_init(lock, NULL);
    relay->engine = options->engine;
    relay->bodies = options->bodies;
    relay->loop_count = options->loop_count;
    relay->lock = lock;
    *out = relay;
    return STATUS_OK;
}

void
relay_free(struct relay *relay)
{
    if (relay) {
        pthread_mutex_destroy(relay->lock);
        free(relay->lock);
        free(relay);
    }
}

static void
on_stop_timer(struct net_timer *timer)
{
    struct relay_loop *loop = list_entry(timer, struct relay_loop, stop_timer);
    while (!list_empty(&loop->calls)) {
        call_end_for_stop(list_entry(loop->calls.next, struct call, node));
    }
}

void
relay_stop(struct relay *relay, struct net *net, int64_t grace_ms)
{
    __atomic_store_n(
        &relay->stop_mono_ms, clock_mono_ms() + max_i64(1, grace_ms), __ATOMIC_RELEASE);
    for (int i = 0; i < net_loop_count(net); i++) {
        net_loop_wake(net_loop_at(net, i));
    }
}

void
relay_loop_wake(struct relay_loop *loop)
{
    const int64_t stop_mono_ms = __atomic_load_n(&loop->relay->stop_mono_ms, __ATOMIC_ACQUIRE);
    if (loop->policy && !engine_policy_is(loop->relay->engine, loop->policy)) {
        engine_policy_unref(loop->relay->engine, loop->policy); /* the next call takes the newest */
        loop->policy = NULL;
    }
    if (stop_mono_ms) { /* a second stop comes sooner than the first */
        net_timer_start(&loop->stop_timer, max_i64(1, stop_mono_ms - net_loop_mono_ms(loop->loop)));
    }
}

#define LEASE_LOOK_MS 200

static void
end_held_calls(struct relay_loop *loop)
{
    struct list *next = NULL;
    for (struct list *node = loop->calls.next; node != &loop->calls; node = next) {
        next = node->next;
        struct call *call = list_entry(node, struct call, node);
        if (call->hold_id) {
            call_end_without_ledger(call);
        }
    }
}

bool
relay_lease_over(struct relay_loop *loop)
{
    const int64_t mono_ms = net_loop_mono_ms(loop->loop);
    if (mono_ms < loop->lease_end_mono_ms) {
        return false;
    }
    loop->lease_end_mono_ms = engine_streams_end_mono_ms(loop->relay->engine);
    return mono_ms >= loop->lease_end_mono_ms;
}

/* No stream outlives the lease of its hold, whether bytes come or not. */
static void
on_lease_timer(struct net_timer *timer)
{
    struct relay_loop *loop = list_entry(timer, struct relay_loop, lease_timer);
    if (relay_lease_over(loop)) {
        end_held_calls(loop);
    }
    net_timer_start(
        timer, max_i64(LEASE_LOOK_MS, loop->lease_end_mono_ms - net_loop_mono_ms(loop->loop)));
}

static void
on_trim_timer(struct net_timer *timer)
{
    struct relay_loop *loop = list_entry(timer, struct relay_loop, trim_timer);
    spares_trim(&loop->spares);
    if (loop->spares.bytes > 0 || !list_empty(&loop->calls)) {
        net_timer_start(timer, SPARES_TRIM_MS); /* a loop at rest is not woken */
    }
}

static void
on_report_timer(struct net_timer *timer)
{
    refusals_report(list_entry(timer, struct relay_loop, report_timer));
}

struct relay_loop *
relay_loop_start(struct relay *relay, struct net_loop *loop, struct replies *replies)
{
    struct relay_loop *made = calloc(1, sizeof *made);
    if (made) {
        made->relay = relay;
        made->loop = loop;
        made->replies = replies;
        hash_memo_init(&made->key_hashes, NULL);
        hash_memo_init(&made->thread_hashes, engine_signal_key(relay->engine));
        list_init(&made->calls);
        list_init(&made->free_calls);
        net_timer_init(&made->stop_timer, loop, on_stop_timer);
        net_timer_init(&made->trim_timer, loop, on_trim_timer);
        net_timer_init(&made->report_timer, loop, on_report_timer);
        net_timer_init(&made->lease_timer, loop, on_lease_timer);
        made->lease_end_mono_ms = engine_streams_end_mono_ms(relay->engine);
        if (made->lease_end_mono_ms != INT64_MAX) {
            net_timer_start(&made->lease_timer, LEASE_LOOK_MS);
        }
        made->spares.bytes_max =
            (size_t)min_i64(SPARES_BYTES_MAX, relay->bodies->max_bytes / SPARES_SHARE);
    }
    return made;
}

void
relay_loop_stop(struct relay_loop *loop)
{
    net_timer_stop(&loop->stop_timer);
    on_stop_timer(&loop->stop_timer);
    net_timer_stop(&loop->trim_timer);
    net_timer_stop(&loop->report_timer);
    net_timer_stop(&loop->lease_timer);
    refusals_free(loop);
    told_reports_free(loop);
    policy_unref(loop->policy);
    while (!list_empty(&loop->free_calls)) {
        struct call *call = list_entry(list_pop_front(&loop->free_calls), struct call, node);
        arena_free(&call->arena);
        free(call);
    }
    identities_clear(loop);
    map_free(&loop->identities);
    hash_memo_free(&loop->key_hashes);
    hash_memo_free(&loop->thread_hashes);
    spares_free(&loop->spares);
    free(loop);
}

int64_t
relay_calls_open(const struct relay *relay)
{
    return __atomic_load_n(&relay->calls_open, __ATOMIC_RELAXED);
}

/* The api of a path, with and without "/v1"; API_COUNT = none. */
static enum api
api_of_path(struct slice path)
{
    static const enum api served[] = { API_CHAT, API_RESPONSES, API_MESSAGES, API_COUNT_TOKENS,
        API_EMBEDDINGS };
    for (size_t i = 0; i < countof(served); i++) {
        const struct slice full = slice_str(api_path(served[i]));
        check(full.len > 3);
        const struct slice bare = slice_of(full.ptr + 3, full.len - 3);
        if (slice_eq(path, full) || slice_eq(path, bare)) {
            return served[i];
        }
    }
    return API_COUNT;
}

bool
relay_owns_path(struct slice path)
{
    return slice_eq(path, SLICE("/api/hello"))
           || !(slice_starts(path, SLICE("/api/")) || slice_starts(path, SLICE("/dashboard"))
                || slice_eq(path, SLICE("/healthz")) || slice_eq(path, SLICE("/readyz"))
                || slice_eq(path, SLICE("/metrics")));
}

static void
answer_hello(struct net_exchange *exchange)
{
    net_send_head(exchange, 200, (struct slice){ 0 }, 0);
    net_end(exchange);
    net_close(exchange);
}

static void
write_what_is_served(struct buf *out)
{
    buf_add_str(out, "what is served here: POST ");
    for (int api = 0; api < API_COUNT; api++) {
        buf_add_str(out, api ? ", " : "");
        buf_add_str(out, api_path((enum api)api));
    }
    buf_add_str(out, "; GET /v1/models.");
}

static void
refuse_endpoint(struct relay_loop *loop, struct net_exchange *exchange, enum reason reason)
{
    const bool anthropic =
        http_find(net_exchange_head(exchange), SLICE("anthropic-version")) != NULL;
    struct call *call = call_make(loop, exchange, anthropic ? API_MESSAGES : API_CHAT);
    if (!call) {
        net_abort(exchange);
        net_close(exchange);
        return;
    }
    call->beside = true;
    struct buf served = { 0 };
    write_what_is_served(&served);
    call_refuse_reason(call, reason, buf_slice(&served));
    buf_free(&served);
}

bool
trees_have_caps(const struct policy *policy)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        if (limit->counts == COUNT_COST && limit->per == PER_THREAD_TREE
            && limit->window == WINDOW_LIFETIME) {
            return true;
        }
    }
    return false;
}

/* What the first call of a tree says that all of the tree may spend. A child's is its tree's. */
static enum reason
read_spend_limit(struct call *call, const struct http_head *head)
{
    const struct http_header *header = http_find(head, SLICE("x-tidegate-spend-limit-micros"));
    int64_t micros = 0;
    if (!header) {
        return REASON_OK;
    }
    if (!slice_to_i64(header->value, &micros) || micros <= 0 || micros > MONEY_MICROS_MAX
        || http_find_next(head, SLICE("x-tidegate-spend-limit-micros"), header)) {
        return REASON_SPEND_LIMIT_INVALID;
    }
    if (!trees_have_caps(call->policy)) {
        return REASON_SPEND_LIMIT_HEADER;
    }
    call->spend_limit_micros = http_find(head, SLICE("x-tidegate-parent")) ? 0 : micros;
    return REASON_OK;
}

void
relay_request(struct relay_loop *loop, struct net_exchange *exchange, const struct http_head *head)
{
    if (slice_eq(head->path, SLICE("/api/hello")) || slice_eq(head->path, SLICE("/"))) {
        if (head->method == HTTP_METHOD_HEAD || head->method == HTTP_METHOD_GET) {
            answer_hello(exchange);
            return;
        }
    }
    if (slice_eq(head->path, SLICE("/v1/models")) || slice_eq(head->path, SLICE("/models"))) {
        if (head->method == HTTP_METHOD_GET) {
            list_models(loop, exchange, head);
        } else {
            refuse_endpoint(loop, exchange, REASON_METHOD_WRONG);
        }
        return;
    }
    const enum api api = api_of_path(head->path);
    if (api == API_COUNT || head->method != HTTP_METHOD_POST) {
        refuse_endpoint(
            loop, exchange, api == API_COUNT ? REASON_ENDPOINT_UNKNOWN : REASON_METHOD_WRONG);
        return;
    }
    struct call *call = call_make(loop, exchange, api);
    if (!call) {
        net_abort(exchange);
        net_close(exchange);
        return;
    }
    if (net_stopping(net_loop_net(loop->loop))) {
        call_refuse_reason(call, REASON_DRAINING, (struct slice){ 0 });
        return;
    }
    const struct http_header *encoding = http_find(head, SLICE("content-encoding"));
    bool pending = false;
    enum reason reason = identity_find(call, head, &pending);
    if (reason == REASON_OK) {
        reason = read_spend_limit(call, head);
    }
    if (reason != REASON_OK) {
        call_refuse_reason(call, reason, (struct slice){ 0 });
    } else if (encoding && !slice_eq_nocase(encoding->value, SLICE("identity"))) {
        call_refuse_reason(call, REASON_BODY_COMPRESSED, (struct slice){ 0 });
    } else if (!pending) {
        call_identified(call);
    }
}
