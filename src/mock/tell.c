/* mock/tell.c: an accepted answer, told in time: waits, ticks, and the faults within an answer. */
#include "mock/serve_priv.h"

#include "mock/gzip_priv.h"

#define WRITES_A_TURN 4 /* then other streams have their turn */
#define NEVER         INT64_MAX
#define TRICKLES      10

static void tick(struct mock_call *call);

static struct mock_bill
bill_so_far(const struct mock_call *call, int64_t told_count)
{
    return mock_answer_bill(&call->answer, told_count);
}

/* The input and hidden reasoning are billed from here on, whatever happens. */
static void
bill_accepted(struct mock_call *call)
{
    call->accepted = true;
    call->entry->bill = bill_so_far(call, 0);
}

static void
bill_told(struct mock_call *call)
{
    call->entry->written_tokens = call->answer.told_count;
    call->entry->bill = bill_so_far(call, call->answer.told_count);
}

static void
bill_whole_if_asked(struct mock_call *call)
{
    if (call->behaviour.bill_after_cut) {
        call->entry->bill = bill_so_far(call, call->answer.token_count);
    }
}

static int64_t
now_mono_ms(const struct mock_call *call)
{
    return net_loop_mono_ms(call->mock->loop);
}

/* How many tokens the clock has made; all at once where no speed is set. */
static int64_t
made_count(const struct mock_call *call)
{
    const int64_t tps = call->behaviour.tps;
    const int64_t elapsed_ms = now_mono_ms(call) - call->begin_mono_ms - call->stalled_ms;
    const int64_t all = call->answer.token_count;
    return tps == 0 ? all : min_i64(all, max_i64(0, elapsed_ms) * tps / SECOND_MS + 1);
}

/* Where the words let the answer break, or NEVER. */
static int64_t
break_count(const struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    const int64_t counts[] = { behaviour->cut_after, behaviour->end_after, behaviour->error_after,
        call->stalled ? -1 : behaviour->stall_after };
    int64_t first = NEVER;
    for (size_t i = 0; i < countof(counts); i++) {
        first = counts[i] >= 0 ? min_i64(first, counts[i]) : first;
    }
    return first;
}

void
mock_tell_gone(struct mock_call *call)
{
    if (!call->accepted) {
        return;
    }
    if (!call->ask.stream && call->begin_mono_ms != 0) {
        /* Made, though never written. */
        const int64_t made = min_i64(made_count(call), break_count(call));
        call->entry->bill = bill_so_far(call, made);
    }
    bill_whole_if_asked(call);
}

/* Sends bytes in pieces of `chunk` bytes. False: the client does not keep up. */
static bool
write_bytes(struct mock_call *call, struct slice bytes)
{
    const size_t most = call->behaviour.chunk ? (size_t)call->behaviour.chunk : bytes.len;
    bool room = true;
    while (bytes.len > 0) {
        const struct slice piece = slice_of(bytes.ptr, bytes.len < most ? bytes.len : most);
        room = mock_send(call, piece);
        bytes = slice_of(bytes.ptr + piece.len, bytes.len - piece.len);
    }
    return room;
}

/* Events at a place of the stream, as `events` has them. */
static bool
write_events(struct mock_call *call, enum mock_place place, struct slice events)
{
    struct buf odd = { 0 };
    if (call->behaviour.events == MOCK_EVENTS_PLAIN) {
        return write_bytes(call, events);
    }
    mock_events(call->behaviour.events, place, events, &odd);
    const bool room = write_bytes(call, buf_slice(&odd));
    buf_free(&odd);
    return room;
}

/* The headers of a good answer; its type as the words have it. */
static struct slice
good_headers(struct mock_call *call, const char *type)
{
    struct buf decoded = { 0 };
    const struct slice wanted = call->behaviour.type;
    if (call->behaviour.events == MOCK_EVENTS_PAGE) {
        type = "text/html; charset=utf-8";
    }
    if (wanted.len && mock_percent_decode(wanted, &decoded)) {
        buf_add_char(&decoded, '\0');
        type = decoded.failed ? type : decoded.ptr;
    }
    const struct slice headers = mock_call_headers(call, 200, type);
    buf_free(&decoded);
    return headers;
}

/* A response and its items may be referred to once it is told to its end. */
static void
remember(struct mock_call *call)
{
    const struct mock_bill bill = bill_so_far(call, call->answer.told_count);
    const struct {
        const char *prefix;
        int64_t tokens;
    } told[] = {
        { "resp_", bill.input + bill.cache_read + bill.cache_write_5m + bill.cache_write_1h
                       + bill.output },
        { "rs_", bill.reasoning },
        { "msg_", bill.output - bill.reasoning },
        { "fc_", bill.output - bill.reasoning },
    };
    for (size_t i = 0; call->api == API_RESPONSES && call->ask.store && i < countof(told); i++) {
        char id[64];
        snprintf(id, sizeof id, "%s%s", told[i].prefix, call->serial);
        mock_state_give(&call->mock->state, slice_str(id), call->entry->credential, told[i].tokens);
    }
}

static void
finish(struct mock_call *call)
{
    call->entry->finished = true;
    mock_send_end(call);
    mock_call_close(call);
}

/* ---- streams */

static void
send_stream_head(struct mock_call *call)
{
    bill_accepted(call);
    call->entry->status = 200;
    mock_send_head(
        call, 200, good_headers(call, "text/event-stream; charset=utf-8"), NET_LENGTH_CHUNKED);
}

static void
end_stall(struct mock_call *call)
{
    call->stalled_ms += call->behaviour.stall_ms;
    tick(call);
}

/* The break that the words ask for at this token: of several, the mildest comes first. */
static void
break_stream(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    const int64_t at = call->answer.told_count;
    struct buf *out = &call->mock->out;
    if (!call->stalled && behaviour->stall_after >= 0 && behaviour->stall_after <= at) {
        call->stalled = true;
        if (behaviour->stall_ms > 0) {
            mock_call_later(call, behaviour->stall_ms, end_stall);
        }
        return;
    }
    buf_clear(out);
    if (behaviour->error_after >= 0 && behaviour->error_after <= at) {
        mock_stream_fail(&call->answer, out);
        (void)write_bytes(call, buf_slice(out));
        finish(call);
        return;
    }
    bill_whole_if_asked(call);
    if (behaviour->end_after >= 0 && behaviour->end_after <= at) {
        finish(call);
        return;
    }
    if (behaviour->torn && at < call->answer.token_count) {
        mock_stream_tell(&call->answer, at + 1, out); /* a token that nobody gets whole */
        (void)write_bytes(call, slice_of(out->ptr, out->len / 2));
    }
    mock_call_cut(call);
}

static void
end_stream(struct mock_call *call)
{
    struct buf *out = &call->mock->out;
    buf_clear(out);
    mock_stream_end(&call->answer, out);
    (void)write_events(call, MOCK_PLACE_END, buf_slice(out));
    remember(call);
    finish(call);
}

/* Writes tokens up to `due`. False: to be gone on with later, by the timer or once drained. */
static bool
write_tokens(struct mock_call *call, int64_t due)
{
    struct mock_answer *answer = &call->answer;
    struct buf *out = &call->mock->out;
    for (int writes = 0; answer->told_count < due; writes++) {
        if (writes == WRITES_A_TURN) {
            mock_call_later(call, 0, tick);
            return false;
        }
        buf_clear(out);
        while (answer->told_count < due && out->len < MOCK_WRITE_BYTES) {
            mock_stream_tell(
                answer, min_i64(due, answer->told_count + call->behaviour.per_event), out);
        }
        bill_told(call);
        if (!write_events(call, MOCK_PLACE_AMID, buf_slice(out))) {
            call->blocked = true;
            call->next = tick;
            return false;
        }
    }
    return true;
}

static void
tick(struct mock_call *call)
{
    const struct mock_answer *answer = &call->answer;
    const int64_t tps = call->behaviour.tps;
    const int64_t breaks_at = break_count(call);
    if (!write_tokens(call, min_i64(made_count(call), breaks_at))) {
        return;
    }
    if (answer->told_count >= breaks_at) {
        break_stream(call);
        return;
    }
    if (answer->told_count == answer->token_count) {
        end_stream(call);
        return;
    }
    /* Token k falls due k / tps seconds after the first; several wait to go in one event. */
    const int64_t last_count = min_i64(answer->token_count, breaks_at) - 1;
    const int64_t next_count =
        min_i64(answer->told_count + call->behaviour.per_event - 1, last_count);
    const int64_t due_ms =
        call->begin_mono_ms + call->stalled_ms + (next_count * SECOND_MS + tps - 1) / tps;
    mock_call_later(call, max_i64(MOCK_TICK_MS, due_ms - now_mono_ms(call)), tick);
}

static void
begin_stream(struct mock_call *call)
{
    struct buf *out = &call->mock->out;
    if (!call->accepted) {
        send_stream_head(call);
    }
    call->begin_mono_ms = now_mono_ms(call);
    buf_clear(out);
    mock_stream_begin(&call->answer, out);
    (void)write_events(call, MOCK_PLACE_BEGIN, buf_slice(out));
    tick(call);
}

/* ---- answers that are not streamed */

/* The body of the answer; the head goes before it, unless keep-alives did. */
static void
send_whole(struct mock_call *call, struct slice body, struct slice sent)
{
    if (!net_head_sent(call->exchange)) {
        struct buf head = { 0 };
        buf_add_slice(&head, good_headers(call, "application/json"));
        if (call->behaviour.gzip) {
            buf_add_str(&head, "content-encoding: gzip\r\n");
        }
        call->entry->status = 200;
        mock_send_head(call, 200, buf_slice(&head),
            call->behaviour.chunk ? NET_LENGTH_CHUNKED : (int64_t)body.len);
        buf_free(&head);
    }
    (void)write_bytes(call, sent);
}

static void
end_told(struct mock_call *call)
{
    remember(call);
    finish(call);
}

static void
trickle(struct mock_call *call)
{
    const size_t bytes = (size_t)min_i64((int64_t)call->rest.len, call->trickle_bytes);
    (void)write_bytes(call, slice_of(call->rest.ptr, bytes));
    buf_consume(&call->rest, bytes);
    mock_call_later(call, call->behaviour.trickle_ms, call->rest.len > 0 ? trickle : end_told);
}

static void
end_whole(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    struct buf *out = &call->mock->out;
    struct buf packed = { 0 };
    buf_clear(out);
    mock_whole(&call->answer, out);
    mock_events_whole(behaviour->events, out);
    struct slice body = buf_slice(out);
    if (behaviour->gzip) {
        mock_gzip(body, &packed);
        body = buf_slice(&packed);
    }
    bill_told(call);
    if (behaviour->trickle_ms > 0) {
        buf_add_slice(&call->rest, body);
        call->trickle_bytes = (int64_t)(body.len / TRICKLES + 1);
        send_whole(call, body, SLICE(""));
        buf_free(&packed);
        trickle(call);
        return;
    }
    send_whole(call, body, body);
    buf_free(&packed);
    end_told(call);
}

/* Half a body, and then nothing, a break, or an end as if it were whole. */
static void
break_whole(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    const int64_t at = break_count(call);
    struct buf *out = &call->mock->out;
    call->entry->bill = bill_so_far(call, min_i64(at, call->answer.token_count));
    if (behaviour->error_after == at) {
        const int status = mock_stream_error_status(&call->answer);
        const bool timeout = status == 408 || status == 504 || status == 524;
        if (!timeout && !behaviour->bill_failed) {
            call->entry->bill =
                (struct mock_bill){ 0 }; /* no provider charges for an error alone */
        }
        buf_clear(out);
        mock_error_body(api_dialect(call->api), behaviour, status, NULL, call->serial, out);
        mock_call_answer(call, status, "application/json", SLICE(""), buf_slice(out));
        return;
    }
    if (behaviour->stall_after == at) {
        if (behaviour->stall_ms > 0) {
            mock_call_later(call, behaviour->stall_ms, end_whole);
        }
        return;
    }
    bill_whole_if_asked(call);
    buf_clear(out);
    mock_whole(&call->answer, out);
    const struct slice body = buf_slice(out);
    const struct slice half = slice_of(body.ptr, body.len / 2);
    const bool cuts = behaviour->cut_after == at;
    send_whole(call, cuts ? body : half, half);
    if (cuts) {
        mock_call_cut(call);
    } else {
        finish(call);
    }
}

static void
begin_whole(struct mock_call *call)
{
    const int64_t tps = call->behaviour.tps;
    const int64_t breaks_at = break_count(call);
    const bool breaks = breaks_at <= call->answer.token_count;
    const int64_t count = breaks ? breaks_at : call->answer.token_count;
    void (*const next)(struct mock_call *) = breaks ? break_whole : end_whole;
    if (!call->accepted) {
        bill_accepted(call);
    }
    call->begin_mono_ms = now_mono_ms(call);
    if (tps > 0 && count > 0) {
        mock_call_later(call, count * SECOND_MS / tps, next);
    } else {
        next(call);
    }
}

/* ---- before the first token */

static void
begin_answer(struct mock_call *call)
{
    if (call->ask.stream) {
        begin_stream(call);
    } else {
        begin_whole(call);
    }
}

static void
keep_alive(struct mock_call *call)
{
    const int64_t left_ms = call->due_mono_ms - now_mono_ms(call);
    if (left_ms <= 0) {
        begin_answer(call);
        return;
    }
    (void)write_bytes(call, call->ask.stream ? SLICE(": keep-alive\n\n") : SLICE("\n"));
    mock_call_later(call, min_i64(left_ms, call->behaviour.keepalive_ms), keep_alive);
}

void
mock_tell(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    if (behaviour->ttft_ms == 0) {
        begin_answer(call);
        return;
    }
    call->due_mono_ms = now_mono_ms(call) + behaviour->ttft_ms;
    if (behaviour->keepalive_ms > 0 && !call->ask.stream) {
        bill_accepted(call);
        call->entry->status = 200;
        mock_send_head(call, 200, good_headers(call, "application/json"), NET_LENGTH_CHUNKED);
        keep_alive(call);
        return;
    }
    if (call->ask.stream && (behaviour->head_early || behaviour->keepalive_ms > 0)) {
        send_stream_head(call);
    }
    if (behaviour->keepalive_ms > 0) {
        keep_alive(call);
    } else {
        mock_call_later(call, behaviour->ttft_ms, begin_answer);
    }
}
