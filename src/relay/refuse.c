/* relay/refuse.c: a refusal reaches the client in its dialect; headers of every answer of ours. */
#include "relay/relay_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "log/log.h"
#include "wire/refusal.h"
#include "wire/stream_end.h"

#define REFUSALS_LOGGED_A_SECOND 50 /* a loop, of those that have no row in the ledger */

static void
add(struct buf *out, const char *name, struct slice value)
{
    if (!http_write_header(out, slice_str(name), value)) {
        log_line(LOG_ERROR, "answer", "header %s left out: its value cannot be sent", name);
    }
}

/* The name of a limit is a word of the configuration: it cannot break out of its quotes. */
static void
add_limit_part(struct buf *out, const char *name, const char *field, int64_t value, bool more)
{
    buf_add_str(out, more ? ", \"" : "\"");
    buf_add_str(out, name);
    buf_add_char(out, '"');
    buf_add_str(out, field);
    buf_add_i64(out, value);
}

/* What `q` and `r` count, where it is no requests. */
static const char *
unit_of(const struct limit_left *left)
{
    return left->share ? ";qu=\"percent\"" : left->money ? ";qu=\"milli-usd\"" : "";
}

/* RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers: the tightest limit of requests
 * and the tightest of money (in thousandths of a dollar); of one that is shared with others in percent. */
static void
add_limits_left(const struct call *call, struct buf *out)
{
    static const struct limits_left none;
    const struct limits_left *left = call->limits_left ? call->limits_left : &none;
    const struct limit_left *limits[] = { &left->requests, &left->money };
    if (!left->requests.set && !left->money.set) {
        return;
    }
    bool more = false;
    buf_add_str(out, "RateLimit-Policy: ");
    for (size_t i = 0; i < countof(limits); i++) {
        if (limits[i]->set) {
            add_limit_part(out, limits[i]->name, ";q=", limits[i]->cap, more);
            buf_add_str(out, unit_of(limits[i]));
            if (limits[i]->window_ms > 0) {
                buf_add_str(out, ";w=");
                buf_add_i64(out, (limits[i]->window_ms + 999) / 1000);
            }
            more = true;
        }
    }
    more = false;
    buf_add_str(out, "\r\nRateLimit: ");
    for (size_t i = 0; i < countof(limits); i++) {
        if (limits[i]->set) {
            add_limit_part(out, limits[i]->name, ";r=", limits[i]->left, more);
            more = true;
            if (limits[i]->reset_ms > 0) {
                buf_add_str(out, ";t=");
                buf_add_i64(out, (limits[i]->reset_ms + 999) / 1000);
            }
        }
    }
    buf_add_str(out, "\r\n");
}

void
answer_common_headers(const struct call *call, struct buf *out)
{
    const struct slice request_id = slice_str(call->request_id); /* our own digits */
    (void)buf_reserve(out, OWN_HEADERS_BYTES);
    buf_add_slice(out, SLICE("x-request-id: "));
    buf_add_slice(out, request_id);
    buf_add_slice(out, SLICE("\r\nrequest-id: "));
    buf_add_slice(out, request_id);
    buf_add_slice(out, SLICE("\r\nx-tidegate-payer: "));
    buf_add_slice(out, call->payer == PAYER_USER ? SLICE("user\r\n") : SLICE("company\r\n"));
    if (call->substituted) {
        add(out, "x-tidegate-model", slice_str(call->policy->models[call->model_index].name));
    }
    if (call->lowered) {
        char limit[32];
        snprintf(limit, sizeof limit, "%lld", (long long)call->output_limit);
        add(out, "x-tidegate-output-limit", slice_str(limit));
    }
    if (call->act_for_ignored) {
        add(out, "x-tidegate-warning",
            SLICE("x-tidegate-account was ignored: this key may not act for that account"));
    }
    if (call->parent_ignored) {
        add(out, "x-tidegate-warning",
            SLICE(
                "x-tidegate-parent was ignored: this thread began outside of that tree, and stays in its own"));
    }
    add_limits_left(call, out);
}

static bool
already_logged(struct relay_loop *loop, int64_t ledger_id)
{
    if (ledger_id == 0) {
        return false;
    }
    int64_t *seen = &loop->logged_refusals[(uint64_t)ledger_id % countof(loop->logged_refusals)];
    const bool known = *seen == ledger_id;
    *seen = ledger_id;
    return known;
}

/* A client that sends nonsense as fast as it can shall not fill the log: what is left out is told with the
 * next line. True: this one is written. */
static bool
line_allowed(struct relay_loop *loop)
{
    const int64_t second = net_loop_mono_ms(loop->loop) / SECOND_MS;
    if (loop->logged.second != second) {
        if (loop->logged.left_out > 0) {
            log_line(LOG_WARN, "refused", "%lld more refusals of a loop were not logged",
                (long long)loop->logged.left_out);
        }
        loop->logged.second = second;
        loop->logged.lines = loop->logged.left_out = 0;
    }
    const bool allowed = loop->logged.lines < REFUSALS_LOGGED_A_SECOND;
    loop->logged.lines += allowed;
    loop->logged.left_out += !allowed;
    return allowed;
}

static void
log_refusal(struct call *call, const struct refusal *refusal, int status)
{
    const bool guessed = refusal->reason == REASON_KEY_ATTEMPTS; /* counted in the metrics alone */
    if (call->outcome.set) {
        if (call->outcome.reason == REASON_OK) {
            call->outcome.reason = refusal->reason;
        }
        return; /* the call's own line says it */
    }
    if (guessed || already_logged(call->loop, refusal->ledger_id)) {
        return; /* repeats are counted in the books, not in the log */
    }
    if (refusal->ledger_id == 0 && !line_allowed(call->loop)) {
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_INFO, "refused");
    log_str(&line, "request", slice_str(call->request_id));
    call_log_trace(call, &line);
    log_str(&line, "reason", slice_str(reason_row(refusal->reason)->code));
    log_i64(&line, "status", status);
    log_str(&line, "account", call_account(call));
    log_id(&line, "key", "key_", call->key_id);
    if (!call->beside) { /* then it only says in whose words the answer is */
        log_str(&line, "api", slice_str(api_word(call->api)));
    }
    if (call->model_index >= 0) {
        log_str(&line, "model", slice_str(call->policy->models[call->model_index].name));
    }
    if (refusal->limit_id) {
        log_str(&line, "limit", slice_str(refusal->limit_name));
        log_i64(&line, "used", refusal->used);
        log_i64(&line, "held", refusal->held);
        log_i64(&line, "cap", refusal->cap);
        log_i64(&line, "ask", refusal->ask);
    } else if (refusal->reason == REASON_CANNOT_BOUND) {
        log_str(&line, "limit", slice_str(refusal->limit_name));
        log_str(&line, "field", slice_str(refusal->about));
    }
    log_end(&line);
}

/* A stream that was kept alive while it waited has its status line behind it: the refusal is its end. */
static void
refuse_in_stream(struct call *call, const struct refusal *refusal, struct slice detail)
{
    struct buf sentence = { 0 }, out = { 0 };
    refusal_sentence(refusal, detail, call_account(call), clock_wall_ms(), &sentence);
    stream_end_error(
        &call->tap, refusal->reason, buf_slice(&sentence), slice_str(call->request_id), &out);
    const struct slice piece = buf_slice(&out);
    net_send(call->exchange, &piece, 1);
    buf_free(&sentence);
    buf_free(&out);
}

int
call_render_refusal(const struct call *call, const struct refusal *refusal, struct slice detail,
    struct buf *headers, struct buf *body)
{
    const struct refusal_listener listener = { .dialect = api_dialect(call->api),
        .codex = call->codex && call->api == API_RESPONSES,
        .session_protocol = client_speaks_sessions(net_exchange_head(call->exchange)),
        .account = call_account(call),
        .request_id = slice_str(call->request_id),
        .now_ms = clock_wall_ms() };
    const int status = refusal_render(refusal, detail, &listener, headers, body);
    add(headers, "x-tidegate-payer", call->payer == PAYER_USER ? SLICE("user") : SLICE("company"));
    if (!http_write_header_i64(
            headers, SLICE("x-tidegate-cost-micros"), max_i64(0, call->cost_micros))) {
        headers->failed = true;
    }
    return status;
}

void
call_send_refusal(struct call *call, enum reason reason, int status, const struct buf *headers,
    const struct buf *body)
{
    const bool whole = !headers->failed && !body->failed;
    const struct slice piece = buf_slice(body);
    call_count_refusal(reason);
    call_answered(call, whole ? status : 503);
    net_send_head(call->exchange, whole ? status : 503, buf_slice(headers), (int64_t)body->len);
    net_send(call->exchange, &piece, 1);
    net_end(call->exchange);
    call_free(call);
}

void
call_refuse(struct call *call, const struct refusal *refusal, struct slice detail)
{
    check(call->exchange);
    check(call->hold_id == 0);
    if (refusal->ledger_id) {
        call_name_by(call, refusal->ledger_id);
    }
    if (call->head_sent) {
        log_refusal(call, refusal, call->client_status);
        call_count_refusal(refusal->reason);
        refuse_in_stream(call, refusal, detail);
        net_end(call->exchange);
        call_free(call);
        return;
    }
    struct buf headers = { 0 }, body = { 0 };
    const int status = call_render_refusal(call, refusal, detail, &headers, &body);
    log_refusal(call, refusal, status);
    call_send_refusal(call, refusal->reason, status, &headers, &body);
    buf_free(&headers);
    buf_free(&body);
}

void
call_refuse_reason(struct call *call, enum reason reason, struct slice detail)
{
    const bool passes = reason == REASON_OVERLOADED || reason == REASON_MEMORY_FULL
                        || reason == REASON_ROUTES_COOLING || reason == REASON_ROUTES_FAILING
                        || reason == REASON_DRAINING;
    const struct refusal refusal = { .reason = reason, .retry_after_ms = passes ? SECOND_MS : 0 };
    call_refuse(call, &refusal, detail);
}
