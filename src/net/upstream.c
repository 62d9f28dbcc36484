/* net/upstream.c: calls to providers: a request out, its answer in, by when.
 *
 *     new -> [pool] -> open -> ... end
 *      `-> resolving -> connecting -> [tls] -'      dial.c
 *
 * Sending and reading go on side by side: an answer may come before the request is out. */
#include "net/upstream_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERIM_MAX 16 /* 1xx answers before the final one */
#define IOV_COUNT   32

#define SPARE_PIECES   4   /* a head, and a body with one splice: most calls */
#define FREE_CALLS_MAX 256 /* of a loop, that wait for their next use */

static const struct http_limits answer_limits = {
    .head_bytes_max = 64 * 1024, .target_bytes_max = 0, .headers_max = HTTP_HEADERS_MAX
};

static int64_t
now_mono_ms(const struct net_call *call)
{
    return net_loop_mono_ms(call->loop);
}

/* ---- deadlines ---- */

static int64_t
call_due(const struct net_call *call)
{
    int64_t deadline_ms = 0;
    if (call->stage != CALL_OPEN) {
        return net_dial_due(call);
    }
    if (!call->head_done) { /* while the provider takes the request, from the last byte it took */
        deadline_ms = call->deadlines.first_byte_ms;
    } else if (!call->paused) {
        deadline_ms = call->deadlines.between_bytes_ms;
    }
    return deadline_ms > 0 ? call->step_mono_ms + deadline_ms : NET_NEVER_MONO_MS;
}

void
net_call_arm(struct net_call *call)
{
    const int64_t due = call_due(call);
    if (due != NET_NEVER_MONO_MS
        && (call->timer.due_mono_ms == 0 || call->timer.due_mono_ms > due)) {
        net_timer_start(&call->timer, due - now_mono_ms(call));
    }
}

static void
on_call_timer(struct net_timer *timer)
{
    struct net_call *call = list_entry(timer, struct net_call, timer);
    if (call_due(call) > now_mono_ms(call)) {
        net_call_arm(call);
    } else if (call->stage != CALL_OPEN) {
        net_dial_late(call);
    } else if (!call->head_done) {
        net_call_fail(call, NET_FAIL_TIMEOUT, "%s:%u: %s within %lld ms", call->pool->host,
            (unsigned)call->pool->port,
            call->all_sent ? "no answer began" : "the request was not taken",
            (long long)call->deadlines.first_byte_ms);
    } else {
        net_call_fail(call, NET_FAIL_TIMEOUT, "%s:%u: the answer paused for more than %lld ms",
            call->pool->host, (unsigned)call->pool->port,
            (long long)call->deadlines.between_bytes_ms);
    }
}

/* ---- ends ---- */

/* Parts the call from its connection, which is returned. */
static struct net_upstream *
detach(struct net_call *call)
{
    struct net_upstream *upstream = call->upstream;
    call->upstream = NULL;
    if (upstream) {
        upstream->call = NULL;
    }
    return upstream;
}

/* The call is on no list and in no callback afterwards but its last. */
static void
retire(struct net_call *call)
{
    call->finished = true;
    net_dial_cancel(call);
    net_timer_stop(&call->timer);
    list_remove(&call->task.node);
    list_remove(&call->node);
}

static void
release(struct net_call *call)
{
    struct net_loop *loop = call->loop;
    net_pool_leave(loop, call->pool);
    buf_free(&call->in);
    if (SPARES_NONE_WAIT || !call->spare || loop->free_call_count >= FREE_CALLS_MAX) {
        free(call);
        return;
    }
    list_push_front(&loop->free_calls, &call->node);
    loop->free_call_count++;
}

void
net_call_fail(struct net_call *call, enum net_fail why, const char *format, ...)
{
    char detail[NET_DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);

    if (call->stage != CALL_OPEN) {
        counter_add(COUNTER_UPSTREAM_FAILED, 1);
    }
    struct net_upstream *upstream = detach(call);
    if (upstream) {
        net_upstream_drop(upstream, false);
    }
    retire(call);
    call->events->on_fail(call, why, call->all_sent, detail, call->user);
    release(call);
}

static void
complete(struct net_call *call, bool surplus)
{
    struct net_upstream *upstream = detach(call);
    if (call->keep_alive && call->all_sent && !surplus) {
        net_pool_put(upstream);
    } else {
        net_upstream_drop(upstream, true);
    }
    retire(call);
    call->events->on_end(call, call->user);
    release(call);
}

/* The connection ended or broke where more was due. */
static void
lost(struct net_call *call)
{
    struct net_upstream *upstream = call->upstream;
    if (upstream->reused && !call->got_byte && !call->all_sent && !call->retried) {
        /* The provider had closed it before it saw the whole request: nothing was begun. */
        (void)detach(call);
        net_upstream_drop(upstream, false);
        call->retried = true;
        call->send_failed = false;
        call->piece_index = 0;
        call->piece_sent_bytes = 0;
        net_dial(call);
        return;
    }
    net_call_fail(call, NET_FAIL_CLOSED, "%s:%u: the connection ended %s", call->pool->host,
        (unsigned)call->pool->port,
        call->head_done  ? "within the answer"
        : call->got_byte ? "within the head of the answer"
        : call->all_sent ? "before the answer"
                         : "before the request was sent");
}

/* ---- out ---- */

static void
pieces_taken(struct net_call *call, size_t bytes)
{
    while (bytes > 0) {
        const size_t left = call->pieces[call->piece_index].len - call->piece_sent_bytes;
        if (bytes < left) {
            call->piece_sent_bytes += bytes;
            return;
        }
        bytes -= left;
        call->piece_index++;
        call->piece_sent_bytes = 0;
    }
}

static int
pieces_left(const struct net_call *call, struct iovec iov[IOV_COUNT])
{
    int count = 0;
    size_t skip = call->piece_sent_bytes;
    for (int i = call->piece_index; i < call->piece_count && count < IOV_COUNT; i++) {
        const struct slice piece = call->pieces[i];
        if (piece.len > skip) {
            iov[count++] =
                (struct iovec){ (void *)(uintptr_t)(piece.ptr + skip), piece.len - skip };
        }
        skip = 0;
    }
    return count;
}

/* Writes what the system takes. A failure is left to the reading side: an answer may be there. */
static void
send_some(struct net_call *call)
{
    struct iovec iov[IOV_COUNT];
    while (!call->all_sent && !call->send_failed) {
        const int count = pieces_left(call, iov);
        if (count > 0) {
            const ssize_t sent = net_upstream_write(call->upstream, iov, count);
            if (sent == NET_IO_AGAIN) {
                return;
            }
            if (sent == NET_IO_LOST) {
                call->send_failed = true;
                return;
            }
            counter_add(COUNTER_UPSTREAM_BYTES_OUT, sent);
            call->step_mono_ms = now_mono_ms(call);
            pieces_taken(call, (size_t)sent);
        }
        if (pieces_left(call, iov) == 0) {
            call->all_sent = true;
        }
    }
}

/* ---- in ---- */

/* Both answer how many bytes are used up; afterwards the call may be gone (upstream->call !=
 * call). */
static size_t
feed_head(struct net_call *call, struct slice bytes)
{
    struct http_head *head = &call->loop->head;
    const struct http_fault *why = NULL;
    switch (http_parse_response(bytes, &answer_limits, &call->parse, call->method, head, &why)) {
    case HTTP_MORE: return 0;
    case HTTP_BAD:
        net_call_fail(call, NET_FAIL_MALFORMED, "%s:%u: malformed answer: %s", call->pool->host,
            (unsigned)call->pool->port, why->sentence);
        return bytes.len;
    case HTTP_DONE: break;
    }
    const size_t used = head->head_bytes;
    call->parse = (struct http_parse_state){ 0 };
    if (head->status < 200) {
        if (++call->interim_count > INTERIM_MAX) {
            net_call_fail(call, NET_FAIL_MALFORMED, "%s:%u: too many interim answers",
                call->pool->host, (unsigned)call->pool->port);
            return bytes.len;
        }
        return used;
    }
    call->head_done = true;
    call->keep_alive = head->keep_alive;
    http_body_start(&call->body, head, HTTP_BODY_UNBOUNDED);
    call->events->on_head(call, head, call->user);
    return used;
}

static size_t
feed_body(struct net_upstream *upstream, struct net_call *call, struct slice bytes)
{
    const struct http_fault *why = NULL;
    struct slice data = { 0 };
    size_t used = 0;
    const enum http_result result = http_body_feed(&call->body, bytes, &used, &data, &why);
    call->body_done = result == HTTP_DONE;
    if (data.len > 0) {
        call->events->on_body(call, data, call->user);
    }
    if (upstream->call == call && result == HTTP_BAD) {
        net_call_fail(call, NET_FAIL_MALFORMED, "%s:%u: malformed answer: %s", call->pool->host,
            (unsigned)call->pool->port, why->sentence);
    }
    return used;
}

/* False: the call is over. */
static bool
consume(struct net_upstream *upstream, struct net_call *call, struct slice bytes, size_t *used)
{
    *used = 0;
    while (upstream->call == call && !call->paused) {
        const struct slice rest = slice_of(bytes.ptr + *used, bytes.len - *used);
        if (call->body_done) {
            complete(call, rest.len > 0);
            return false;
        }
        const bool in_head = !call->head_done;
        if (in_head && rest.len == 0) {
            return true;
        }
        const size_t step = in_head ? feed_head(call, rest) : feed_body(upstream, call, rest);
        if (upstream->call != call) {
            return false;
        }
        *used += step;
        if (step == 0 && in_head == !call->head_done && !call->body_done) {
            return true;
        }
    }
    return upstream->call == call;
}

/* `fresh` follows what waits in call->in. False: the call is over. */
static bool
take_input(struct net_upstream *upstream, struct net_call *call, struct slice fresh)
{
    size_t used = 0;
    if (call->in.len == 0) {
        if (!consume(upstream, call, fresh, &used)) {
            return false;
        }
        buf_add(&call->in, fresh.ptr + used, fresh.len - used);
    } else {
        /* Taken out of the call, which may be freed by a callback that looks at these bytes. */
        struct buf in = call->in;
        call->in = (struct buf){ 0 };
        buf_add_slice(&in, fresh);
        if (in.failed || !consume(upstream, call, buf_slice(&in), &used)) {
            const bool out_of_memory = in.failed;
            buf_free(&in);
            if (out_of_memory) {
                net_call_fail(call, NET_FAIL_CLOSED, "out of memory");
            }
            return false;
        }
        buf_consume(&in, used);
        call->in = in;
    }
    if (call->in.failed) {
        net_call_fail(call, NET_FAIL_CLOSED, "out of memory");
        return false;
    }
    if (call->in.len == 0) {
        buf_free(&call->in);
    }
    return true;
}

static void
take_end(struct net_call *call, bool truthful)
{
    const struct http_fault *why = NULL;
    if (truthful && call->head_done && http_body_eof(&call->body, &why) == HTTP_DONE) {
        call->keep_alive = false;
        complete(call, false);
    } else {
        lost(call);
    }
}

/* False: the call is over, or has another connection. */
static bool
receive(struct net_upstream *upstream, struct net_call *call)
{
    char *bytes = call->loop->read_bytes;
    for (int i = 0; !call->paused; i++) {
        /* TLS keeps bytes of its own, which no poll would tell of: it is read until it wants
         * more. */
        if (i >= NET_READS_A_TURN && !upstream->tls) {
            return true;
        }
        const ssize_t got = net_upstream_read(upstream, bytes, NET_READ_BYTES);
        if (got == NET_IO_AGAIN) {
            return true;
        }
        if (got <= 0) {
            take_end(call, got == 0);
            return false;
        }
        counter_add(COUNTER_UPSTREAM_BYTES_IN, got);
        call->got_byte = true;
        call->step_mono_ms = now_mono_ms(call);
        if (!take_input(upstream, call, slice_of(bytes, (size_t)got))) {
            return false;
        }
        if (got < NET_READ_BYTES && !upstream->tls) {
            return true;
        }
    }
    return true;
}

/* ---- steps ---- */

static void
watch(struct net_call *call)
{
    const bool sending = !call->all_sent && !call->send_failed;
    net_sock_watch(&call->upstream->sock,
        (sending ? UV_WRITABLE : 0) | (call->paused ? 0 : UV_READABLE | UV_DISCONNECT));
}

static bool
tell_sent(struct net_upstream *upstream, struct net_call *call)
{
    if (call->all_sent && !call->sent_told) {
        call->sent_told = true;
        call->step_mono_ms = now_mono_ms(call);
        call->events->on_sent(call, call->user);
    }
    return upstream->call == call;
}

static void
step(struct net_upstream *upstream, struct net_call *call, bool readable)
{
    send_some(call);
    if (!tell_sent(upstream, call)) {
        return;
    }
    if (!call->paused && (call->in.len > 0 || call->body_done)
        && !take_input(upstream, call, SLICE(""))) {
        return;
    }
    if ((readable || call->send_failed) && !receive(upstream, call)) {
        return;
    }
    if (upstream->tls) {
        net_tls_keep(upstream->tls);
    }
    watch(call);
    net_call_arm(call);
}

void
net_call_ready(struct net_sock *sock, int events)
{
    struct net_upstream *upstream = list_entry(sock, struct net_upstream, sock);
    step(upstream, upstream->call, (events & (UV_READABLE | UV_DISCONNECT)) || upstream->tls);
}

void
net_call_open(struct net_call *call, struct net_upstream *upstream)
{
    call->stage = CALL_OPEN;
    call->upstream = upstream;
    upstream->call = call;
    upstream->sock.on_ready = net_call_ready;
    call->step_mono_ms = now_mono_ms(call);
    step(upstream, call, false);
}

static void
run_task(struct net_task *task)
{
    struct net_call *call = list_entry(task, struct net_call, task);
    if (call->stage == CALL_NEW) {
        net_dial(call);
    } else if (call->stage == CALL_OPEN) {
        step(call->upstream, call, true);
    }
}

/* ---- for the app ---- */

static enum http_method
method_of(const struct slice *pieces, int piece_count)
{
    char name[HTTP_METHOD_BYTES_MAX];
    size_t len = 0;
    for (int i = 0; i < piece_count; i++) {
        for (size_t at = 0; at < pieces[i].len && len < sizeof(name); at++) {
            if (pieces[i].ptr[at] == ' ') {
                return http_method_of(slice_of(name, len));
            }
            name[len++] = pieces[i].ptr[at];
        }
    }
    return HTTP_METHOD_OTHER;
}

/* Zeroed, with room for so many pieces. */
static struct net_call *
take_call(struct net_loop *loop, int piece_count)
{
    const bool spare = piece_count <= SPARE_PIECES;
    const int room = spare ? SPARE_PIECES : piece_count;
    struct net_call *call = NULL;
    if (spare && !list_empty(&loop->free_calls)) {
        call = list_entry(list_pop_front(&loop->free_calls), struct net_call, node);
        loop->free_call_count--;
        memset(call, 0, sizeof(*call));
    } else {
        call = calloc(1, sizeof(*call) + (size_t)room * sizeof(call->pieces[0]));
    }
    if (call) {
        call->spare = spare;
    }
    return call;
}

void
net_calls_close(struct net_loop *loop)
{
    while (!list_empty(&loop->free_calls)) {
        free(list_entry(list_pop_front(&loop->free_calls), struct net_call, node));
    }
}

struct net_call *
net_call_start(struct net_loop *loop, const struct net_target *target,
    const struct net_deadlines *deadlines, const struct slice *pieces, int piece_count,
    const struct net_call_events *events, void *user)
{
    check(piece_count > 0);
    struct net_call *call = take_call(loop, piece_count);
    struct net_pool *pool = call ? net_pool_of(loop, target) : NULL;
    if (!pool) {
        free(call);
        return NULL;
    }
    call->loop = loop;
    call->pool = pool;
    call->events = events;
    call->user = user;
    call->deadlines = *deadlines;
    call->stage = CALL_NEW;
    call->start_mono_ms = now_mono_ms(call);
    call->piece_count = piece_count;
    memcpy(call->pieces, pieces, (size_t)piece_count * sizeof(pieces[0]));
    call->method = method_of(pieces, piece_count);
    list_init(&call->node);
    list_init(&call->resolve.node);
    net_handshake_init(&call->handshake, net_dial_handshake);
    list_push_back(&loop->calls, &call->node);
    net_timer_init(&call->timer, loop, on_call_timer);
    net_task_init(&call->task, run_task);
    net_task_add(loop, &call->task);
    return call;
}

void
net_call_pause(struct net_call *call)
{
    call->paused = true;
    if (call->upstream && call->stage == CALL_OPEN) {
        net_task_add(call->loop, &call->task);
    }
}

void
net_call_resume(struct net_call *call)
{
    if (call->paused && !call->finished) {
        call->paused = false;
        call->step_mono_ms = now_mono_ms(call); /* the pause was ours, not the provider's */
        if (call->stage == CALL_OPEN) {
            net_task_add(call->loop, &call->task);
        }
    }
}

void
net_call_cancel(struct net_call *call)
{
    if (call->finished) {
        return; /* from within its last callback */
    }
    struct net_upstream *upstream = detach(call);
    retire(call);
    if (upstream) {
        net_upstream_drop(upstream, false);
    }
    release(call);
}

void
net_calls_stop(struct net_loop *loop)
{
    while (!list_empty(&loop->calls)) {
        net_call_fail(list_entry(loop->calls.next, struct net_call, node), NET_FAIL_CLOSED,
            "the gateway stops");
    }
}
