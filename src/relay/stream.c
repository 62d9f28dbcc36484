/* relay/stream.c: an event stream on its way to the client: tapped for usage, held back where an event may
 * not go out yet, ended cleanly whatever the upstream does. */
#include "relay/relay_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/trail.h"
#include "wire/stream_end.h"

#define OUT_PIECES_MAX  16
#define UPSTREAM_END_MS 1000 /* after the last event */

static void stream_process(struct call *call, struct slice data);

/* Pieces of one write. */
struct outgoing {
    struct slice pieces[OUT_PIECES_MAX];
    int count;
};

static void
out_flush(struct call *call, struct outgoing *out)
{
    if (out->count && call->exchange && !net_send(call->exchange, out->pieces, out->count)) {
        call->client_full = true; /* it reads slower than the provider writes */
        if (call->upstream && !call->upstream_paused) {
            net_call_pause(call->upstream);
            call->upstream_paused = true;
        }
    }
    out->count = 0;
}

/* Runs of the same read are one piece. */
static void
out_add(struct call *call, struct outgoing *out, struct slice piece)
{
    if (piece.len == 0) {
        return;
    }
    struct slice *last = out->count ? &out->pieces[out->count - 1] : NULL;
    if (last && last->ptr + last->len == piece.ptr) {
        last->len += piece.len;
        return;
    }
    if (out->count == OUT_PIECES_MAX) {
        out_flush(call, out);
    }
    out->pieces[out->count++] = piece;
}

void
stream_begin(struct call *call)
{
    if (call->head_sent || !call->exchange) {
        return;
    }
    if (!call->streaming) { /* ours: nothing of a provider's is there yet */
        buf_clear(&call->answer_headers);
        const bool good =
            http_write_header(&call->answer_headers, SLICE("content-type"),
                SLICE("text/event-stream; charset=utf-8"))
            && http_write_header(&call->answer_headers, SLICE("cache-control"), SLICE("no-cache"));
        check(good);
    }
    answer_common_headers(call, &call->answer_headers);
    call_answered(call, 200);
    net_send_head(call->exchange, 200, buf_slice(&call->answer_headers), NET_LENGTH_CHUNKED);
    call->head_sent = true;
    counter_add(COUNTER_STREAMS_OPEN, 1);
    buf_free(&call->answer_headers);
}

void
stream_show_life(struct call *call)
{
    struct buf comment = { 0 };
    stream_begin(call);
    stream_comment_waiting(&comment);
    const struct slice piece = buf_slice(&comment);
    net_send(call->exchange, &piece, 1);
    buf_free(&comment);
}

static int64_t
tokens_relayed(const struct call *call)
{
    return (call->tap.text_bytes * 1000 + call->bytes_per_token_milli - 1)
           / call->bytes_per_token_milli;
}

static int64_t
step_tokens(const struct call *call)
{
    return call->policy->step_tokens * max_i64(1, call->answers);
}

static void
call_on_extension(void *user, const struct verdict *verdict)
{
    struct call *call = user;
    call->ticket_open = false;
    call->extending = false;
    histogram_add(HISTOGRAM_EXTENSION, clock_mono_us() - call->asked_mono_us);
    const int64_t before = call->output_allowed;
    if (verdict->kind == VERDICT_ALLOWED && verdict->output_allowed > before) {
        call->output_allowed = verdict->output_allowed;
        call->held_output = verdict->held_output;
        call->bound_output = verdict->bound_output;
        call->ask_at = verdict->output_allowed == INT64_MAX
                           ? INT64_MAX
                           : before + (verdict->output_allowed - before) / 2;
    } else {
        call->extension_over = true;
        call->ledger_gone =
            verdict->kind == VERDICT_REFUSED && verdict->refusal.reason == REASON_STORE_UNAVAILABLE;
    }
    trail_note(TRAIL_EXTENDED, call->hold_id, call->output_allowed, call->extension_over);
    if (call->waiting_for_more) {
        stream_resume(call);
    }
}

/* Asked for at half of the running slice, so that its commit is hidden behind the other half. */
static void
ask_for_more(struct call *call)
{
    if (call->extending || call->extension_over || !call->hold_id || call->state != CALL_ANSWER) {
        return;
    }
    const int64_t relayed = tokens_relayed(call);
    struct event event = { .kind = EVENT_EXTEND };
    event.extend = (struct extend_event){ .hold_id = call->hold_id,
        .output_tokens = min_i64(relayed, TOKENS_MAX),
        .want_tokens = step_tokens(call) + max_i64(0, relayed - call->output_allowed),
        .input_exact = call->tap.input_exact };
    call->asked_mono_us = clock_mono_us();
    call->extending =
        replies_submit(call->loop->replies, &event, call_on_extension, call, &call->ticket);
    call->ticket_open = call->extending;
    call->extension_over = !call->extending;
}

/* The provider named the input: the hold stands on that from now on. Nobody waits for it. */
static void
tell_exact_input(struct call *call)
{
    const int64_t exact = call->tap.input_exact;
    /* Only where it comes before the text: else the settlement is at hand. */
    if (exact < 0 || call->api != API_MESSAGES || call->input_told || !call->hold_id) {
        return;
    }
    call->input_told = true;
    const int64_t difference =
        exact > call->est_input ? exact - call->est_input : call->est_input - exact;
    call->est_input = exact;
    if (difference * 10 <= exact) {
        return; /* within a tenth: not worth a commit */
    }
    struct event event = { .kind = EVENT_EXTEND, .reply.loop = ENGINE_NO_REPLY };
    event.extend = (struct extend_event){ .hold_id = call->hold_id, .input_exact = exact };
    if (!engine_submit(call->loop->relay->engine, &event)) {
        log_line(LOG_WARN, "hold", "%s: exact input not told to the gate", call->request_id);
    }
}

/* The books first, then the last event: an id in it may be used at once. */
static void
settle_at_end(struct call *call, enum cut cut, enum reason reason, struct buf *comment)
{
    if (!call->hold_id) {
        return;
    }
    const bool drained = call->state == CALL_DRAIN && !call->exchange && cut == CUT_NONE;
    const struct ending ending = {
        .dispatched = true, .cut = cut, .reason = reason, .flags = drained ? LEDGER_DRAINED : 0
    };
    call_settle(call, &ending);
    if (comment && !call->comment_sent) {
        stream_comment_cost(comment, call->cost_micros, call->payer, (struct slice){ 0 });
        call->comment_sent = true;
    }
}

/* The client's side is over: whole, with the chunked coding closed. */
static void
close_client(struct call *call)
{
    if (call->exchange) {
        net_end(call->exchange);
        net_close(call->exchange);
        call->exchange = NULL;
    }
}

/* Stops the upstream, or reads it to its end where it bills on anyway. The call may be gone after. */
static void
leave_upstream(struct call *call)
{
    if (call->upstream && call->hold_id && call_on_abort(call) == ON_ABORT_BILLS_ALL) {
        buf_free(&call->held_back);
        net_timer_start(&call->timer, call_provider(call)->drain_max_ms);
        if (call->upstream_paused) {
            call->upstream_paused = false;
            net_call_resume(call->upstream);
        }
        return;
    }
    if (call->upstream) {
        net_call_cancel(call->upstream);
        call->upstream = NULL;
    }
    settle_at_end(call, CUT_BROKEN, REASON_OK, NULL);
    call_free(call);
}

/* What was read counts as read, though nobody is sent it any more. */
static void
tap_backlog(struct call *call)
{
    struct buf backlog = call->backlog;
    call->backlog = (struct buf){ 0 };
    call->state = CALL_DRAIN;
    call->waiting_for_more = false;
    stream_process(call, buf_slice(&backlog));
    buf_free(&backlog);
}

/* Nobody reads any more: what is at hand is tapped, then the upstream is left. The call may be gone after. */
static void
discard(struct call *call)
{
    tap_backlog(call);
    if (call->upstream_ended) {
        stream_upstream_end(call, call->upstream_whole);
    } else {
        leave_upstream(call);
    }
}

/* There is no more room under a limit: the answer stops as if it had reached its output limit. The cost that
 * the client is told is the one that is booked; a drain learns it only later, so then none is told. */
static void
end_for_lack_of_room(struct call *call)
{
    struct buf out = { 0 };
    const struct tap seen = call->tap; /* as far as the client has seen it */
    const bool drains = call->upstream && call_on_abort(call) == ON_ABORT_BILLS_ALL;
    enum cut cut = CUT_NONE;
    counter_add(COUNTER_STREAMS_CUT_BY_LIMIT, 1);
    if (!drains) {
        if (call->upstream) {
            net_call_cancel(call->upstream);
            call->upstream = NULL;
        }
        tap_backlog(call);
        cut = call->tap.end == ANSWER_OPEN ? CUT_BROKEN : CUT_NONE;
    }
    const struct usage usage = call_usage(call, cut);
    if (!drains) {
        settle_at_end(call, cut, REASON_OK, NULL);
    }
    stream_comment_cost(
        &out, drains ? -1 : call->cost_micros, call->payer, SLICE("stopped at a spending limit"));
    stream_end_length(&seen, &usage, call->usage_asked, &out);
    const struct slice piece = buf_slice(&out);
    net_send(call->exchange, &piece, 1);
    buf_free(&out);
    close_client(call);
    if (drains) {
        discard(call);
    } else {
        call_free(call);
    }
}

/* The last event is out: the client's stream ends with it, whatever the provider does with its connection,
 * which is given a moment to end well and be used again. */
static void
end_client(struct call *call)
{
    close_client(call);
    call->state = CALL_DRAIN;
    net_timer_start(&call->timer, UPSTREAM_END_MS);
    if (call->upstream && call->upstream_paused) {
        call->upstream_paused = false;
        net_call_resume(call->upstream);
    }
}

/* Handles one complete event; false: it may not go out yet (its bytes are in held_back then). */
static bool
take_event(struct call *call, const struct sse_event *event, struct slice raw, struct outgoing *out,
    struct buf *comment)
{
    struct tapped tapped = { .kind = TAP_OTHER };
    if (event->has_data || event->name.len) {
        if (!call->alike && call->tap.delta_events > 0) { /* many more may follow */
            call->tap.alike = call->alike = calloc(1, sizeof *call->alike);
        }
        tapped = tap_event(&call->tap, event);
    }
    if (tapped.kind == TAP_ERROR) {
        call_attempt_failed(call, NET_FAIL_CLOSED, "its stream ended with an error event");
        route_failed(call);
        counter_add(COUNTER_STREAMS_CUT, call->state != CALL_DRAIN);
    }
    if (tapped.kind == TAP_TERMINAL) {
        route_answered(call, true);
    }
    if (call->state == CALL_DRAIN) {
        return true;
    }
    tell_exact_input(call);
    call_note_items(call, tapped.items);
    if (tapped.kind == TAP_USAGE_ONLY && !call->usage_asked && !call->passing) {
        buf_clear(&call->held_back); /* the client did not ask for it: we did */
        return true;
    }
    const int64_t relayed = tokens_relayed(call);
    if (tapped.kind == TAP_TEXT && relayed > call->output_allowed && !call->tap.in_tool_arguments
        && !call->passing) {
        out_flush(call, out);
        buf_add_slice(&call->held_back, raw);
        call->waiting_for_more = true;
        ask_for_more(call);
        return false;
    }
    if (relayed >= call->ask_at) {
        ask_for_more(call);
    }
    if (tapped.kind == TAP_TERMINAL || tapped.kind == TAP_ERROR) {
        settle_at_end(call, tapped.kind == TAP_ERROR ? CUT_BROKEN : CUT_NONE,
            tapped.kind == TAP_ERROR ? REASON_UPSTREAM_BROKEN : REASON_OK,
            call->passing ? NULL : comment);
        out_add(call, out, buf_slice(comment));
    }
    out_add(call, out, buf_slice(&call->held_back));
    out_add(call, out, raw);
    if (tapped.kind == TAP_TERMINAL || tapped.kind == TAP_ERROR) {
        out_flush(call, out);
        end_client(call);
    }
    if (call->held_back.len || comment->len) { /* their bytes are ours to free */
        out_flush(call, out);
        buf_clear(&call->held_back);
        buf_clear(comment);
    }
    call->passing = false;
    return true;
}

/* The bytes of an event whose end has not come: kept, or passed on when it grows too long. */
static void
hold_back(struct call *call, struct slice raw, struct outgoing *out)
{
    if (call->state == CALL_DRAIN) {
        return;
    }
    if (call->passing) {
        out_add(call, out, raw);
        return;
    }
    buf_add_slice(&call->held_back, raw);
    if (call->held_back.len > HOLD_BACK_BYTES || call->held_back.failed) {
        call->passing = true;
        out_add(call, out, buf_slice(&call->held_back));
        out_flush(call, out);
        buf_free(&call->held_back);
    }
}

static void
stream_process(struct call *call, struct slice data)
{
    struct outgoing out = { .count = 0 };
    struct buf comment = { 0 };
    size_t offset = 0;
    while (offset < data.len) {
        const struct slice rest = slice_of(data.ptr + offset, data.len - offset);
        size_t consumed = 0;
        struct sse_event event;
        const enum sse_result result = sse_feed(&call->sse, rest, &consumed, &event);
        const struct slice raw = slice_of(rest.ptr, consumed);
        offset += consumed;
        if (result == SSE_MORE) {
            hold_back(call, raw, &out);
            break;
        }
        if (!take_event(call, &event, raw, &out, &comment)) {
            buf_add_slice(&call->backlog, slice_of(data.ptr + offset, data.len - offset));
            if (call->upstream && !call->upstream_paused) {
                net_call_pause(call->upstream);
                call->upstream_paused = true;
            }
            break;
        }
    }
    out_flush(call, &out);
    buf_free(&comment);
}

void
stream_feed(struct call *call, struct slice data)
{
    if (call->state == CALL_ANSWER && relay_lease_over(call->loop)) {
        buf_add_slice(&call->backlog, data); /* nobody is sent it, but it was read */
        call_end_without_ledger(call);
        return;
    }
    if (call->waiting_for_more) {
        buf_add_slice(&call->backlog, data);
        return;
    }
    stream_process(call, data);
    call_count_event(call);
    if (call->waiting_for_more && !call->extending) {
        stream_resume(call);
    }
}

/* After an extension came, or did not. */
void
stream_resume(struct call *call)
{
    if (tokens_relayed(call) > call->output_allowed) {
        if (!call->extension_over) {
            ask_for_more(call);
        }
        if (call->extension_over) {
            if (call->ledger_gone) {
                call_end_without_ledger(call);
            } else {
                end_for_lack_of_room(call);
            }
        }
        return;
    }
    call->waiting_for_more = false;
    struct outgoing out = { .count = 0 };
    out_add(call, &out, buf_slice(&call->held_back));
    out_flush(call, &out);
    buf_clear(&call->held_back);
    struct buf backlog = call->backlog;
    call->backlog = (struct buf){ 0 };
    stream_process(call, buf_slice(&backlog));
    buf_free(&backlog);
    if (call->waiting_for_more) {
        if (!call->extending) {
            stream_resume(call); /* a step fewer to go each time */
        }
        return;
    }
    if (call->upstream_ended) {
        stream_upstream_end(call, call->upstream_whole);
    } else if (call->upstream && call->upstream_paused && !call->client_full) {
        call->upstream_paused = false;
        net_call_resume(call->upstream);
    }
}

void
stream_drained(struct call *call)
{
    call->client_full = false; /* also while an extension is waited for: it is not said again */
    if (call->upstream && call->upstream_paused && !call->waiting_for_more) {
        call->upstream_paused = false;
        net_call_resume(call->upstream);
    }
}

/* The stream is over before the provider's own terminal event: ours takes its place. */
static void
end_broken(struct call *call, enum reason reason, struct slice sentence)
{
    struct buf out = { 0 };
    if (call->passing) {
        stream_break(&out); /* the comment would end up inside the half-written line */
    }
    settle_at_end(call, reason == REASON_DRAINING ? CUT_GIVEN_UP : CUT_BROKEN, reason, &out);
    stream_end_error(&call->tap, reason, sentence, slice_str(call->request_id), &out);
    const struct slice piece = buf_slice(&out);
    net_send(call->exchange, &piece, 1);
    buf_free(&out);
}

/* Some close without the empty line behind their last event; others break off within one, which no client
 * could read. */
static bool
is_whole_event(const struct sse_event *event)
{
    struct json_value value;
    return !event->has_data || slice_eq(event->data, SLICE("[DONE]"))
           || json_check(event->data, &value);
}

void
stream_upstream_end(struct call *call, bool whole)
{
    call->upstream = NULL;
    if (call->waiting_for_more) {
        call->upstream_ended = true;
        call->upstream_whole = whole;
        return;
    }
    struct sse_event event;
    struct outgoing out = { .count = 0 };
    struct buf comment = { 0 };
    if (sse_end(&call->sse, &event) && call->tap.end == ANSWER_OPEN && whole
        && (call->passing || is_whole_event(&event))) {
        (void)take_event(call, &event, SLICE("\n\n"), &out, &comment);
        out_flush(call, &out);
    }
    buf_free(&comment);
    const bool finished = call->tap.end != ANSWER_OPEN;
    if (!finished && whole) {
        call_attempt_failed(call, NET_FAIL_CLOSED, "its stream ended without a last event");
        route_failed(call);
    }
    if (!call->exchange) {
        settle_at_end(call, finished ? CUT_NONE : CUT_BROKEN, REASON_OK, NULL);
        call_free(call);
        return;
    }
    if (!finished) {
        counter_add(COUNTER_STREAMS_CUT, 1);
        end_broken(
            call, REASON_UPSTREAM_BROKEN, SLICE("The provider's answer broke off before its end."));
    }
    settle_at_end(
        call, CUT_NONE, REASON_OK, NULL); /* a terminal form that the tap did not call so */
    close_client(call);
    call_free(call);
}

/* In SEND and ANSWER: the upstream is cancelled, or its drain begins. */
void
stream_client_gone(struct call *call)
{
    if (call->ticket_open) {
        replies_forget(call->loop->replies, call->ticket);
        call->ticket_open = false;
        call->extending = false;
    }
    if (call->state == CALL_SEND && !call->all_sent && call->upstream) {
        net_call_cancel(call->upstream); /* the request never was complete: nothing can be billed */
        call->upstream = NULL;
        const struct ending ending = { .flags = LEDGER_CLIENT_GONE };
        call_settle(call, &ending);
        call_free(call);
        return;
    }
    discard(call);
}

/* Others may book its hold soon. What it costs is learned as ever: the settlement waits until the ledger can be
 * reached, and does nothing where another gateway was first. */
void
call_end_without_ledger(struct call *call)
{
    if (!call->streaming || call->state != CALL_ANSWER || !call->head_sent || !call->exchange) {
        return; /* no client reads a stream: it may end as it would */
    }
    struct buf out = { 0 };
    if (call->ticket_open) {
        replies_forget(call->loop->replies, call->ticket);
        call->ticket_open = call->extending = false;
    }
    if (call->passing) {
        stream_break(&out);
    }
    stream_comment_cost(&out, -1, call->payer, SLICE("its ledger cannot be reached"));
    stream_end_error(&call->tap, REASON_STORE_UNAVAILABLE,
        SLICE("This gateway cannot reach its ledger any more; send the request again."),
        slice_str(call->request_id), &out);
    const struct slice piece = buf_slice(&out);
    net_send(call->exchange, &piece, 1);
    buf_free(&out);
    close_client(call);
    counter_add(COUNTER_STREAMS_CUT, 1);
    discard(call);
}

void
call_end_for_stop(struct call *call)
{
    if (call->ticket_open) {
        replies_forget(call->loop->replies, call->ticket);
        call->ticket_open = false;
    }
    const bool left = call->all_sent || call->upstream_status != 0;
    if (call->upstream) {
        net_call_cancel(call->upstream);
        call->upstream = NULL;
    }
    if (call->state == CALL_ANSWER && call->head_sent && call->exchange) {
        end_broken(
            call, REASON_DRAINING, SLICE("This gateway is stopping; send the request again."));
        close_client(call);
        call_free(call);
        return;
    }
    struct ending ending = { .dispatched = left, .cut = CUT_GIVEN_UP, .reason = REASON_DRAINING };
    if (call->state == CALL_GATE) {
        ending = ending_between_routes(call);
    }
    call_settle(call, &ending);
    if (call->exchange) {
        call_refuse_reason(call, REASON_DRAINING, (struct slice){ 0 });
    } else {
        call_free(call);
    }
}
