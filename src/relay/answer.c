/* relay/answer.c: an upstream's answer is judged; what is not a stream is read whole. */
#include "relay/relay_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/secret.h"
#include "log/trail.h"

#define SMALL_ANSWER_BYTES                                                                         \
    (16 * 1024) /* whose memory is taken before its bytes are here, and counted */

static bool
is_event_stream(const struct http_head *head)
{
    const struct http_header *type = http_find(head, SLICE("content-type"));
    return type && slice_starts_nocase(type->value, SLICE("text/event-stream"));
}

void
call_keep_head(struct call *call, const struct http_head *head)
{
    struct buf *out = &call->error_head;
    buf_clear(out);
    bool good = http_write_status_line(out, head->status, head->reason);
    for (uint32_t i = 0; i < head->header_count; i++) {
        good = http_write_header(out, head->headers[i].name, head->headers[i].value) && good;
    }
    http_write_end(out);
    if (!good || out->failed) {
        buf_clear(out);
    }
}

void
call_kept_head(struct call *call, struct http_head *head)
{
    static const struct http_limits limits = { .head_bytes_max = 1 << 20,
        .headers_max = HTTP_HEADERS_MAX };
    struct http_parse_state state = { 0 };
    const struct http_fault *fault = NULL;
    if (http_parse_response(
            buf_slice(&call->error_head), &limits, &state, HTTP_METHOD_POST, head, &fault)
        != HTTP_DONE) {
        *head = (struct http_head){ .status = call->upstream_status };
    }
}

static void
on_sent(struct net_call *upstream, void *user)
{
    (void)upstream;
    struct call *call = user;
    call->all_sent = true;
    if (!call_may_follow(call)) { /* a model thinks for long: meanwhile others may use the memory */
        call_free_body(call);
        call_free_head(call);
    }
}

/* For the headers of the answer, and its body where that is small and is not passed on as it comes: in one piece,
 * of memory that served before. */
static void
make_room(struct call *call, const struct http_head *head, bool fine)
{
    struct spares *spares = &call->loop->spares;
    struct buf *headers = &call->answer_headers;
    struct buf *answer = &call->answer;
    buf_clear(headers);
    buf_clear(answer);
    answer->limit_bytes = fine ? ANSWER_BYTES_MAX : ERROR_BYTES_MAX;
    if (call->streaming || head->body_kind != HTTP_BODY_LENGTH) {
        return;
    }
    /* Without memory either is tried for again when it is written. */
    if (!headers->ptr && !spares_take(spares, headers, head->head_bytes + OWN_HEADERS_BYTES)) {
        buf_clear(headers);
    }
    if (!answer->ptr && head->content_length <= SMALL_ANSWER_BYTES
        && !spares_take(spares, answer, (size_t)head->content_length)) {
        buf_clear(answer);
    }
}

static void
on_head(struct net_call *upstream, const struct http_head *head, void *user)
{
    (void)upstream;
    struct call *call = user;
    const bool fine = head->status >= 200 && head->status < 300;
    call->upstream_status = head->status;
    call->first_byte_mono_ms = net_loop_mono_ms(call->loop->loop);
    call->streaming = fine && call->stream && is_event_stream(head);
    trail_note(TRAIL_ANSWER, call->hold_id, head->status, call->streaming);
    make_room(call, head, fine);
    const struct answer_headers rules = { .user_pays = call->payer == PAYER_USER,
        .rerouted = call->attempts > 1 };
    headers_to_client(head, &rules, &call->answer_headers);
    call_tell_reported(call, head);
    call_free_thin(call);                              /* of an attempt before */
    const int64_t now_ms = fine ? 0 : clock_wall_ms(); /* when to ask again counts from */
    call->judgement = judge_answer(call_provider(call)->dialect, head, (struct slice){ 0 }, now_ms);
    if (!fine) {
        call_keep_head(call, head);
        return;
    }
    if (call->state == CALL_SEND) {
        call->state = CALL_ANSWER;
    }
    route_answered(call, false);
    const bool again = !call->streaming && call_may_follow_billed(call);
    if (call->all_sent && !again) { /* megabytes that nobody needs again */
        call_free_body(call);
        call_free_head(call);
    }
    if (call->streaming) {
        sse_start(&call->sse, &call->sse_buf, SSE_DATA_BYTES_MAX);
        call_free_alike(call); /* of an attempt before */
    }
    if (call->streaming && call->state == CALL_ANSWER) {
        stream_begin(call);
    }
    if (call->streaming && call->all_sent) {
        call_free_asking(call); /* it may stay open for long */
    }
    if (call->streaming && call->head_sent && call->all_sent && call->exchange) {
        net_head_forget(call->exchange); /* no other attempt reads it from here on */
    }
}

void
call_free_thin(struct call *call)
{
    if (call->thin) {
        thin_free(call->thin);
        free(call->thin);
        call->thin = NULL;
    }
}

/* The answer is too large to be kept, and billed: it is read on for what it used, and nothing else of it stays.
 * The client waits as long as a drain may take. */
static void
make_thin(struct call *call, struct slice data, const char *why)
{
    call_attempt_failed(call, NET_FAIL_MALFORMED, why);
    call->thin = calloc(1, sizeof *call->thin);
    if (!call->thin) {
        net_call_cancel(call->upstream);
        call->upstream = NULL;
        call_upstream_failed(call, REASON_ANSWER_TOO_LARGE);
        return;
    }
    thin_feed(call->thin, buf_slice(&call->answer));
    thin_feed(call->thin, data);
    buf_free(&call->answer);
    call_uncount_answer(call);
    if (call->state != CALL_DRAIN) { /* which has its time already */
        net_timer_start(&call->timer, call_provider(call)->drain_max_ms);
    }
}

static void
on_body(struct net_call *upstream, struct slice data, void *user)
{
    (void)upstream;
    struct call *call = user;
    if (call->streaming) {
        stream_feed(call, data);
        return;
    }
    const bool fine = call->upstream_status >= 200 && call->upstream_status < 300;
    if (call->thin) {
        thin_feed(call->thin, data);
        return;
    }
    const bool counted = call_count_answer(call, (int64_t)(call->answer.len + data.len));
    if (counted) {
        buf_add_slice(&call->answer, data);
    } else {
        call->answer.failed = true; /* what comes later has no place behind a hole */
    }
    if (fine && (!counted || call->answer.failed)) {
        make_thin(call, data,
            counted ? "the answer is larger than this gateway reads"
                    : "the bytes of all bodies are at bodies_max");
    }
}

static void
on_end(struct net_call *upstream, void *user)
{
    (void)upstream;
    struct call *call = user;
    call->upstream = NULL;
    if (call->streaming) {
        stream_upstream_end(call, true);
    } else {
        call_answer_whole(call);
    }
}

static void
on_fail(struct net_call *upstream, enum net_fail why, bool all_sent, const char *detail, void *user)
{
    (void)upstream;
    struct call *call = user;
    call->upstream = NULL;
    call->all_sent = all_sent;
    const bool told = call->thin != NULL; /* it failed when it grew too large: once is enough */
    if (call->thin) {                     /* whatever follows is another attempt, or the end */
        net_timer_stop(&call->timer);
        call_free_thin(call);
    }
    const bool answered = call->upstream_status >= 300 || call->tap.end != ANSWER_OPEN;
    if (!answered && !told) {
        call_attempt_failed(call, why, detail);
    }
    if (!answered && why != NET_FAIL_HERE) {
        route_failed(call);
    }
    if (call->streaming) {
        stream_upstream_end(call, false);
    } else if (!all_sent && call->upstream_status == 0 && call->state == CALL_SEND) {
        call_next_route(
            call, why == NET_FAIL_HERE ? REASON_OVERLOADED : REASON_UPSTREAM_UNREACHABLE, true, 0);
    } else if (call->upstream_status >= 300) {
        call_answer_whole(call); /* the status says enough; its body broke off */
    } else {
        call_next_route(call,
            why == NET_FAIL_TIMEOUT ? REASON_UPSTREAM_TIMEOUT : REASON_UPSTREAM_BROKEN, false,
            call->upstream_status);
    }
}

const struct net_call_events call_events = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* Nobody is there to be told: the books get the truth, and that is all. */
static bool
finish_without_client(struct call *call, bool cut)
{
    if (call->exchange) {
        return false;
    }
    const bool error = call->upstream_status >= 300;
    const struct ending ending = { .dispatched = call->all_sent || call->upstream_status != 0,
        .unbilled = error && call->judgement.unbilled,
        .cut = cut ? CUT_BROKEN : CUT_NONE,
        .flags = LEDGER_CLIENT_GONE | (cut ? 0 : LEDGER_DRAINED) };
    call_settle(call, &ending);
    call_free(call);
    return true;
}

static void
send_whole(struct call *call, int status, int64_t cost_micros, bool costed)
{
    struct buf *headers = &call->answer_headers;
    answer_common_headers(call, headers);
    if (costed && !http_write_header_i64(headers, SLICE("x-tidegate-cost-micros"), cost_micros)) {
        headers->failed = true;
    }
    const struct slice body = buf_slice(&call->answer);
    call_answered(call, status);
    net_send_head(call->exchange, status, buf_slice(headers), (int64_t)body.len);
    net_send(call->exchange, &body, 1);
    net_end(call->exchange);
    call_free(call);
}

/* An error that is not known as unbilled may stand for an answer that was made: it is booked like one that
 * broke off. */
static struct ending
ending_of_error(const struct call *call)
{
    const bool unbilled = call->judgement.unbilled;
    return (struct ending){
        .dispatched = true, .unbilled = unbilled, .cut = unbilled ? CUT_NONE : CUT_BROKEN
    };
}

/* The provider's own error passes to the client, body and all. */
static void
pass_error(struct call *call)
{
    const struct ending ending = ending_of_error(call);
    const bool costed = call->hold_id != 0;
    call_settle(call, &ending);
    if (call->head_sent) {
        call_refuse_reason(call, REASON_UPSTREAM_BROKEN, (struct slice){ 0 });
        return;
    }
    send_whole(call, call->upstream_status, call->cost_micros, costed);
}

/* No route is left and the last one said when it may be asked again, or that its money is gone. */
static void
refuse_exhausted(struct call *call)
{
    const struct judgement judgement = call->judgement;
    const struct ending ending = ending_of_error(call);
    call_settle(call, &ending);
    const bool short_wait = judgement.class_ == UPSTREAM_BUSY && judgement.wait_ms <= MINUTE_MS;
    const struct refusal refusal = { .reason = short_wait ? REASON_ROUTES_COOLING
                                                          : REASON_ROUTES_EXHAUSTED,
        .retry_after_ms = short_wait ? max_i64(1000, judgement.wait_ms) : judgement.wait_ms,
        .resets_at_ms = judgement.wait_ms ? clock_wall_ms() + judgement.wait_ms : 0 };
    call_refuse(call, &refusal, (struct slice){ 0 });
}

void
call_upstream_failed(struct call *call, enum reason reason)
{
    if (finish_without_client(call, true)) {
        return;
    }
    if (call->upstream_status >= 300 && reason != REASON_STORE_UNAVAILABLE) {
        switch (call->judgement.class_) {
        case UPSTREAM_BUSY:
        case UPSTREAM_SPENT: refuse_exhausted(call); return;
        case UPSTREAM_REJECTED:
            if (call->payer == PAYER_COMPANY) {
                reason = REASON_CREDENTIAL_REJECTED;
                break;
            }
            pass_error(call);
            return;
        default: pass_error(call); return;
        }
    }
    const bool answered = call->upstream_status >= 300;
    const struct ending ending = { .dispatched = call->all_sent || call->upstream_status != 0,
        .unbilled = answered && call->judgement.unbilled,
        .cut = CUT_BROKEN,
        .reason = reason };
    call_settle(call, &ending);
    call_refuse_reason(call, reason, (struct slice){ 0 });
}

static enum reason
reason_of_class(enum upstream_class class_)
{
    switch (class_) {
    case UPSTREAM_BUSY: return REASON_ROUTES_COOLING;
    case UPSTREAM_SPENT: return REASON_ROUTES_EXHAUSTED;
    case UPSTREAM_REJECTED: return REASON_CREDENTIAL_REJECTED;
    default: return REASON_UPSTREAM_BROKEN;
    }
}

/* What an error says of its route. One that is the request's own fault says that the route is well. */
static void
note_route(struct call *call)
{
    const struct judgement *judgement = &call->judgement;
    switch (judgement->class_) {
    case UPSTREAM_SPENT: route_asked(call, COOLDOWN_SPENT, judgement->wait_ms); return;
    case UPSTREAM_BUSY:
    case UPSTREAM_FAILING:
        if (judgement->wait_ms > 0) {
            route_asked(call, COOLDOWN_ASKED, judgement->wait_ms);
        } else {
            route_failed(call);
        }
        return;
    default: route_answered(call, true); return;
    }
}

static void
answer_error(struct call *call)
{
    struct http_head head;
    call_attempt_refused(call);
    call_kept_head(call, &head);
    call->judgement = judge_answer(
        call_provider(call)->dialect, &head, buf_slice(&call->answer), clock_wall_ms());
    struct judgement *judgement = &call->judgement;
    if (judgement->class_ == UPSTREAM_SPENT && judgement->wait_ms == 0) {
        judgement->wait_ms = SPENT_ROUTE_MS;
    }
    note_route(call);
    if (call->exchange && judgement->next_route) {
        call_next_route(
            call, reason_of_class(judgement->class_), judgement->unbilled, call->upstream_status);
        return;
    }
    call_upstream_failed(call, reason_of_class(judgement->class_));
}

/* An answer that nobody could keep has come to its end: booked as what it says, or as one that broke off. */
static void
answer_thin(struct call *call)
{
    struct slice object = { 0 };
    const bool json = thin_end(call->thin, &object) && tap_body(&call->tap, object);
    const bool known =
        json && (call->tap.usage.known & USAGE_INPUT) && (call->tap.usage.known & USAGE_OUTPUT);
    net_timer_stop(&call->timer);
    if (json) {
        route_answered(call, true);
    }
    if (finish_without_client(call, !known)) {
        return;
    }
    const struct ending ending = {
        .dispatched = true, .cut = known ? CUT_NONE : CUT_BROKEN, .reason = REASON_ANSWER_TOO_LARGE
    };
    call_settle(call, &ending);
    call_refuse_reason(call, REASON_ANSWER_TOO_LARGE, (struct slice){ 0 });
}

static void
note_items_whole(struct call *call)
{
    struct json_value output;
    if (call->api == API_RESPONSES && json_get(buf_slice(&call->answer), "output", &output)) {
        call_note_items(call, output.text);
    }
}

/* An answer that is complete and not a stream. */
void
call_answer_whole(struct call *call)
{
    if (call->upstream_status < 200 || call->upstream_status >= 300) {
        answer_error(call);
        return;
    }
    if (call->thin) {
        answer_thin(call);
        return;
    }
    const bool json = tap_body(&call->tap, buf_slice(&call->answer));
    if (json) {
        route_answered(call, true);
    } else {
        call_attempt_failed(call, NET_FAIL_MALFORMED, "the answer is no JSON object");
        route_failed(call);
    }
    if (finish_without_client(call, !json)) {
        return;
    }
    if (!json) {
        call_next_route(call, REASON_UPSTREAM_BROKEN, false, call->upstream_status);
        return;
    }
    note_items_whole(call);
    const bool costed = call->hold_id != 0;
    const struct usage usage = call_usage(call, CUT_NONE);
    const int64_t cost_micros = costed ? call_cost_micros(call, &usage) : 0;
    const struct ending ending = { .dispatched = true };
    call_settle(call, &ending); /* before the answer: an id in it may be used at once */
    if (call->head_sent) { /* kept alive while it waited, and then the provider did not stream */
        call_refuse_reason(call, REASON_UPSTREAM_BROKEN, (struct slice){ 0 });
        return;
    }
    send_whole(call, call->upstream_status, cost_micros, costed);
}
