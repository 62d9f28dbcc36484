/* relay/send.c: an attempt at a provider: its head, the spliced body, the route after it. */
#include "relay/relay_priv.h"

#include "base/secret.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/trail.h"

#define PIECES_MAX       (2 * SPLICES_MAX + 2)
#define OWN_LINES_BYTES  1024 /* path, names of headers, length, and the like */
#define SMALL_BODY_BYTES 4096 /* is copied behind its head: more pieces would cost more */

/* The path that this provider knows the api by; empty: no memory. */
static struct slice
target_of(struct call *call, enum api api, const struct provider *provider)
{
    const struct slice base = slice_str(provider->base_path);
    struct slice path = slice_str(api_path(api));
    if (provider->dialect == DIALECT_OPENAI) {
        path = slice_of(path.ptr + 3, path.len - 3); /* its base_url ends in the version */
    }
    struct slice query = net_exchange_head(call->exchange)->query;
    const bool beta = provider->dialect == DIALECT_ANTHROPIC && slice_eq(query, SLICE("beta=true"));
    query = beta ? SLICE("?beta=true") : SLICE("");
    char *target = arena_alloc_raw(&call->arena, base.len + path.len + query.len);
    if (!target) {
        return (struct slice){ 0 };
    }
    memcpy(target, base.ptr, base.len);
    memcpy(target + base.len, path.ptr, path.len);
    memcpy(target + base.len + path.len, query.ptr, query.len);
    return slice_of(target, base.len + path.len + query.len);
}

/* What the head takes at most: it is the client's, cut, with the provider's own lines. */
static size_t
head_bytes_bound(const struct call *call)
{
    const struct provider *provider = call_provider(call);
    const struct credential *credential = &provider->company;
    const struct http_head *head = net_exchange_head(call->exchange);
    size_t bytes = OWN_LINES_BYTES + head->head_bytes + head->header_count /* its blanks */
                   + slice_str(provider->base_path).len + slice_str(provider->host_header).len
                   + slice_str(credential->secret).len;
    for (int32_t i = 0; i < credential->header_count; i++) {
        bytes += slice_str(credential->headers[i].name).len
                 + slice_str(credential->headers[i].value).len + 4;
    }
    return bytes;
}

bool
call_write_head(struct call *call, enum api api, size_t length, size_t room)
{
    const struct provider *provider = call_provider(call);
    const struct credential *credential = &provider->company;
    struct buf *out = &call->request_head;
    call_free_head(call);
    out->limit_bytes = 0;
    bool good = spares_take(&call->loop->spares, out, head_bytes_bound(call) + room);
    out->limit_bytes = out->cap; /* growing would leave copies of the secret behind */
    good = good && http_write_request_line(out, SLICE("POST"), target_of(call, api, provider));
    good = good && http_write_header(out, SLICE("host"), slice_str(provider->host_header));
    const struct slice secret = slice_str(credential->secret);
    headers_to_provider(net_exchange_head(call->exchange), provider->dialect, secret,
        credential_form(provider->dialect, secret), out);
    for (int32_t i = 0; i < credential->header_count; i++) {
        good = good
               && http_write_header(out, slice_str(credential->headers[i].name),
                   slice_str(credential->headers[i].value));
    }
    good = good && http_write_header_i64(out, SLICE("content-length"), (int64_t)length);
    http_write_end(out);
    return good && !out->failed;
}

/* The name that this provider knows chat's output limit by; other endpoints have one name each. */
static enum output_field
absent_output_field(const struct call *call)
{
    const char *name = call_provider(call)->limit_field;
    return name && strcmp(name, "max_completion_tokens") == 0 ? OUTPUT_MAX_COMPLETION_TOKENS
                                                              : OUTPUT_MAX_TOKENS;
}

static bool
splice_body(struct call *call, struct splices *splices)
{
    const struct route *route = call_route(call);
    const struct splice_wishes wishes = { .model = slice_str(route->model),
        .output_limit = call->output_limit,
        .absent_field = absent_output_field(call),
        .usage = call->api == API_CHAT };
    return splices_make(call->facts, &wishes, buf_slice(&call->body), &call->arena, splices);
}

/* The head and the spliced body as they are sent; how many pieces, 0 = they cannot be. */
static int
make_pieces(struct call *call, struct slice pieces[PIECES_MAX])
{
    const struct slice body = buf_slice(&call->body);
    struct splices splices;
    if (!splice_body(call, &splices)) {
        return 0;
    }
    const size_t length = splices_length(&splices, body);
    if (!call_write_head(call, call->api, length, length <= SMALL_BODY_BYTES ? length : 0)) {
        return 0;
    }
    struct splice_walk walk = { 0 };
    int count = 1;
    while (count < PIECES_MAX && splices_next(&splices, body, &walk, &pieces[count])) {
        count++;
    }
    if (length <= SMALL_BODY_BYTES) {
        for (int i = 1; i < count; i++) {
            buf_add_slice(&call->request_head, pieces[i]);
        }
        count = 1;
    }
    pieces[0] = buf_slice(&call->request_head);
    return call->request_head.failed ? 0 : count;
}

struct net_target
call_target(const struct provider *provider)
{
    const struct proxy *proxy = provider->proxy;
    return (struct net_target){ provider->host, provider->port, provider->tls, provider->ca_file,
        provider->company.id, proxy ? proxy->host : NULL, proxy ? proxy->port : 0,
        proxy ? proxy->authorization : NULL };
}

void
call_send(struct call *call)
{
    const struct provider *provider = call_provider(call);
    const struct net_target target = call_target(provider);
    const struct net_deadlines deadlines = { provider->connect_ms, provider->first_byte_ms,
        provider->between_bytes_ms };
    struct slice pieces[PIECES_MAX];
    call->state = CALL_SEND;
    call->all_sent = false;
    call->upstream_status = 0;
    call->input_told = false;
    tap_start(&call->tap, call->api); /* nothing of an attempt before belongs to this one */
    buf_clear(&call->issued);
    const enum reason passed_by = route_take(call);
    if (passed_by != REASON_OK) {
        call_next_route(call, passed_by, true, 0);
        return;
    }
    const int piece_count = make_pieces(call, pieces);
    if (piece_count > 0) {
        call->upstream = net_call_start(
            call->loop->loop, &target, &deadlines, pieces, piece_count, &call_events, call);
    }
    if (call->upstream) {
        trail_note(TRAIL_SENT, call->hold_id, call->attempts, (int64_t)call->body.len);
        counter_add(COUNTER_ATTEMPTS, 1);
        counter_add(COUNTER_REROUTES, call->attempts > 1);
    } else {
        call_next_route(call, REASON_OVERLOADED, true, 0);
    }
}

/* The first route that is open still, or -1. */
static int32_t
next_open_route(const struct call *call)
{
    const struct model *model = &call->policy->models[call->model_index];
    const uint32_t closed = call->routes_closed | UINT32_C(1) << call->route_index;
    for (int32_t i = 0; i < model->route_count && call->attempts < ATTEMPTS_MAX; i++) {
        if (!(closed & (UINT32_C(1) << i))) {
            return i;
        }
    }
    return -1;
}

bool
call_may_follow(const struct call *call)
{
    return next_open_route(call) >= 0;
}

/* Counting tokens is free, so nothing stands against another try of that. */
bool
call_may_follow_billed(const struct call *call)
{
    const struct model *model = &call->policy->models[call->model_index];
    return call->exchange && model->route_count > 1 && call->attempts < ATTEMPTS_MAX
           && (call->hold_id == 0 || call->billed_attempts < model->billed_retries);
}

static void call_on_reroute(void *user, const struct verdict *verdict);

static void
ask_for_next(struct call *call, int32_t next)
{
    call->asked_route = next;
    struct event event = { .kind = EVENT_REROUTE };
    event.reroute = (struct reroute_event){ .hold_id = call->hold_id,
        .route_index = next,
        .stream = call->stream,
        .failed_status = call->failed_status,
        .failed_reason = call->failed,
        .billed = call->failed_billed };
    if (call->failed_billed) {
        fill_attempt(call, &event.reroute);
    }
    call->state = CALL_GATE;
    if (!replies_submit(call->loop->replies, &event, call_on_reroute, call, &call->ticket)) {
        call_upstream_failed(call, call->failed);
        return;
    }
    call->ticket_open = true;
}

/* Where its limits have no room, another route may do; else the attempt before is what is told and booked. */
static void
on_reroute_refused(struct call *call, enum reason reason)
{
    if (reason == REASON_STORE_UNAVAILABLE) {
        call->judgement.class_ = UPSTREAM_FINE; /* ours is the failure to tell */
        call_upstream_failed(call, reason);
        return;
    }
    call->routes_closed |= UINT32_C(1) << call->asked_route;
    const int32_t next = next_open_route(call);
    if (next < 0) {
        call_upstream_failed(call, call->failed);
        return;
    }
    ask_for_next(call, next);
}

static void
call_on_reroute(void *user, const struct verdict *verdict)
{
    struct call *call = user;
    call->ticket_open = false;
    if (verdict->kind != VERDICT_ALLOWED) {
        on_reroute_refused(call, verdict->refusal.reason);
        return;
    }
    if (verdict->booked) {
        call->earlier_micros += verdict->cost_micros;
        call->billed_attempts++;
    }
    call->failed_billed = false;
    call->route_index = verdict->route_index;
    call->output_allowed = verdict->output_allowed;
    call->held_output = verdict->held_output;
    call->bound_output = verdict->bound_output;
    call->ask_at = call->output_allowed == INT64_MAX ? INT64_MAX : call->output_allowed / 2;
    call->attempts++;
    call_send(call);
}

void
call_next_route(struct call *call, enum reason failed, bool unbilled, int status)
{
    route_give_back(call);
    call->routes_closed |= UINT32_C(1)
                           << call->route_index; /* whatever it waits, not for this call */
    const int32_t next = next_open_route(call);
    const bool follows = unbilled || call_may_follow_billed(call);
    call->failed = failed;
    if (next < 0 || !follows) {
        call_upstream_failed(call, failed);
        return;
    }
    log_line(LOG_DEBUG, "route", "%s: provider %s failed (%s, status %d%s); trying %s",
        call->request_id, call_provider(call)->name, reason_row(failed)->code, status,
        unbilled ? "" : ", may be billed",
        call->policy->providers[call->policy->models[call->model_index].routes[next].provider]
            .name);
    if (!call->hold_id) { /* nothing is charged: count_tokens */
        call->route_index = next;
        call->attempts++;
        call_send(call);
        return;
    }
    call->failed_billed = !unbilled;
    call->failed_status = status;
    ask_for_next(call, next);
}
