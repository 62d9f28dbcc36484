/* net/server.c: connections of clients: what comes in, in which state, by when.
 *     [tls] -> idle -> head -> busy -> idle ...           keep-alive
 *                                `---> linger -> closed   answered for the last time
 *
 * Only the next request's bytes that came with the last read are kept while an exchange runs;
 * then the socket is not read, and the client's end is seen by its poll event alone. */
#include "net/tls_priv.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MS          (30 * SECOND_MS) /* for a client that goes on sending */
#define LINGER_SILENT_MS   (2 * SECOND_MS)  /* for one that does not */
#define LINGER_EXTRA_BYTES (64 * 1024)      /* beyond the largest body */

#define BODY_BYTES_A_SECOND                                                                        \
    (64 * 1024) /* a body that comes faster may take longer than its deadline */

static const struct net_refusal head_late = { 408, "invalid_request_error", "head_deadline",
    "The head of the request did not arrive in time." };
static const struct net_refusal body_late = { 408, "invalid_request_error", "body_deadline",
    "The body of the request did not arrive in time." };

static int64_t
now_mono_ms(const struct net_conn *conn)
{
    return net_loop_mono_ms(conn->sock.loop);
}

static bool
wants_input(const struct net_conn *conn)
{
    switch (conn->state) {
    case CONN_TLS:
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_LINGER: return true;
    case CONN_BUSY: return conn->body_wanted && !conn->body_done;
    case CONN_CLOSED: break;
    }
    return false;
}

/* ---- deadlines ---- */

static int64_t
due_after(int64_t from_mono_ms, int64_t deadline_ms)
{
    return deadline_ms > 0 ? from_mono_ms + deadline_ms : NET_NEVER_MONO_MS;
}

/* Between two pieces, and of all: a body that drips has used up its time, however steadily it does. */
static int64_t
body_due(const struct net_conn *conn, int64_t deadline_ms)
{
    const int64_t earned_ms = conn->body_bytes * SECOND_MS / BODY_BYTES_A_SECOND;
    return min_i64(due_after(conn->input_mono_ms, deadline_ms),
        due_after(conn->body_mono_ms + earned_ms, deadline_ms));
}

static int64_t
input_due(const struct net_conn *conn)
{
    const struct net_options *options = &conn->sock.loop->net->options;
    switch (conn->state) {
    case CONN_IDLE: return due_after(conn->input_mono_ms, options->idle_ms);
    case CONN_TLS:
    case CONN_HEAD: return due_after(conn->input_mono_ms, options->head_deadline_ms);
    case CONN_BUSY:
        return wants_input(conn) ? body_due(conn, options->body_deadline_ms) : NET_NEVER_MONO_MS;
    case CONN_LINGER:
        return min_i64(conn->linger_mono_ms + LINGER_MS, conn->input_mono_ms + LINGER_SILENT_MS);
    case CONN_CLOSED: break;
    }
    return NET_NEVER_MONO_MS;
}

static int64_t
output_due(const struct net_conn *conn)
{
    return net_conn_unsent(conn) > 0
               ? due_after(conn->output_mono_ms, conn->sock.loop->net->options.write_deadline_ms)
               : NET_NEVER_MONO_MS;
}

/* The timer may run early, never late: a deadline that moves away costs nothing. */
static void
arm(struct net_conn *conn)
{
    const int64_t due = min_i64(input_due(conn), output_due(conn));
    if (due != NET_NEVER_MONO_MS
        && (conn->timer.due_mono_ms == 0 || conn->timer.due_mono_ms > due)) {
        net_timer_start(&conn->timer, due - now_mono_ms(conn));
    }
}

static void
watch(struct net_conn *conn)
{
    int events = conn->watch_writes ? UV_WRITABLE : 0;
    if (!conn->fin) {
        conn->skip_reads = conn->skip_reads && !wants_input(conn);
        events |= UV_DISCONNECT | (conn->skip_reads ? 0 : UV_READABLE);
    }
    net_sock_watch(&conn->sock, events);
}

/* ---- ends ---- */

/* Takes the exchange away from the connection; NULL when the app has closed it. */
static struct net_exchange *
detach(struct net_conn *conn)
{
    struct net_exchange *exchange = conn->exchange;
    conn->exchange = NULL;
    conn->room_bytes = 0;
    if (exchange) {
        exchange->conn = NULL;
    }
    return exchange;
}

void
net_conn_close(struct net_conn *conn)
{
    struct net_loop *loop = conn->sock.loop;
    const bool promised = conn->state == CONN_BUSY && !conn->ended; /* a cut must look like one */
    if (conn->state == CONN_CLOSED) {
        return;
    }
    (void)detach(conn);
    list_remove(&conn->handshake.node);
    if (conn->tls) {
        net_tls_free(conn->tls, !promised && !conn->broken);
        conn->tls = NULL;
    }
    conn->state = CONN_CLOSED;
    list_remove(&conn->node);
    list_remove(&conn->task.node);
    net_timer_stop(&conn->timer);
    net_conn_count(conn, 0); /* its memory goes at the end of the turn */
    if (conn->counted) {
        (void)atomic_fetch_sub(&loop->net->connection_count, 1);
        net_peer_leave(loop->net, &conn->peer);
        counter_add(COUNTER_CONNECTIONS_OPEN, -1);
    } else {
        loop->overflow_count--;
    }
    net_sock_close(&conn->sock); /* frees it at the end of the turn */
}

void
net_conn_lose(struct net_conn *conn)
{
    const bool delivered = conn->ended && net_conn_unsent(conn) == 0;
    struct net_exchange *exchange = detach(conn);
    const struct net_app *app = conn->sock.loop->net->app;
    net_conn_close(conn);
    if (exchange && !delivered) {
        app->on_gone(exchange);
    }
}

/* The answer is the last one: it is sent whole, and what the client still sends is read and thrown
 * away for a while. Closing on unread bytes would reset the connection, and the answer with it. */
static void
linger(struct net_conn *conn)
{
    conn->state = CONN_LINGER;
    conn->linger_mono_ms = conn->input_mono_ms = now_mono_ms(conn);
    conn->linger_left_bytes = conn->sock.loop->net->options.body_bytes_max + LINGER_EXTRA_BYTES;
}

/* The output is the last there is. */
static void
say_last(struct net_conn *conn)
{
    conn->output_mono_ms = now_mono_ms(conn);
    conn->head_sent = conn->ended = true;
    conn->broken = conn->broken || conn->out.failed;
    linger(conn);
    net_conn_wake(conn);
}

void
net_conn_refuse(struct net_conn *conn, const struct net_refusal *refusal)
{
    if (conn->head_sent) {
        net_conn_lose(conn); /* an answer is on its way already: it can only be cut */
        return;
    }
    struct net_exchange *exchange = detach(conn);
    net_refusal_write(conn->sock.loop, &conn->out, refusal);
    say_last(conn);
    if (exchange) {
        conn->sock.loop->net->app->on_gone(exchange);
    }
}

static void
refuse_fault(struct net_conn *conn, const struct http_fault *fault)
{
    const struct net_refusal refusal = { fault->status, "invalid_request_error", fault->name,
        fault->sentence };
    counter_add(COUNTER_REQUESTS_MALFORMED, 1);
    net_conn_refuse(conn, &refusal);
}

static void
on_conn_timer(struct net_timer *timer)
{
    struct net_conn *conn = list_entry(timer, struct net_conn, timer);
    const int64_t now = now_mono_ms(conn);
    if (output_due(conn) <= now) {
        net_conn_lose(conn);
    } else if (input_due(conn) > now) {
        arm(conn);
    } else if (conn->state == CONN_HEAD || conn->state == CONN_BUSY) {
        counter_add(COUNTER_REQUESTS_LATE, 1);
        net_conn_refuse(conn, conn->state == CONN_HEAD ? &head_late : &body_late);
    } else {
        counter_add(COUNTER_HANDSHAKES_FAILED, conn->state == CONN_TLS);
        net_conn_close(conn);
    }
}

/* ---- input ---- */

ssize_t
net_conn_read(struct net_conn *conn, char *out, size_t size)
{
    return conn->tls ? net_tls_read(conn->tls, out, size) : net_sock_read(&conn->sock, out, size);
}

ssize_t
net_conn_write(struct net_conn *conn, struct iovec *pieces, int piece_count)
{
    return conn->tls ? net_tls_write(conn->tls, pieces, piece_count)
                     : net_sock_write(&conn->sock, pieces, piece_count);
}

static void
start_exchange(struct net_conn *conn, const struct http_head *head, struct slice head_bytes)
{
    const struct net *net = conn->sock.loop->net;
    const struct http_fault *why = NULL;
    size_t consumed = 0;
    struct slice data;

    counter_add(COUNTER_REQUESTS, 1);
    conn->parse = (struct http_parse_state){ 0 };
    conn->input_mono_ms = now_mono_ms(conn);
    conn->state = CONN_BUSY;
    conn->body_wanted = conn->body_done = conn->body_told = false;
    conn->room_bytes = 0;
    conn->head_sent = conn->ended = conn->drain_due = false;
    conn->keep_alive = head->keep_alive;
    conn->continue_due = head->expect_continue;
    http_body_start(&conn->body, head, net->options.body_bytes_max);
    switch (http_body_feed(&conn->body, slice_of(NULL, 0), &consumed, &data, &why)) {
    case HTTP_DONE: conn->body_done = true; break;
    case HTTP_BAD: /* longer than it may be, by its own word: refused once the app wants to read it */
    case HTTP_MORE: break;
    }
    conn->exchange = net_exchange_make(conn, head, head_bytes);
    if (!conn->exchange) {
        net_conn_close(conn); /* no memory */
        return;
    }
    net->app->on_request(conn->exchange, conn->exchange->head);
}

/* Both return how many of the bytes are used up. */
static size_t
feed_head(struct net_conn *conn, struct slice bytes)
{
    struct net_loop *loop = conn->sock.loop;
    const struct http_fault *why = NULL;

    if (conn->state == CONN_IDLE) {
        conn->state = CONN_HEAD;
        conn->input_mono_ms = now_mono_ms(conn);
        conn->head_sent = conn->ended = false;
    }
    switch (
        http_parse_request(bytes, &loop->net->options.limits, &conn->parse, &loop->head, &why)) {
    case HTTP_MORE: return 0;
    case HTTP_BAD: refuse_fault(conn, why); return bytes.len;
    case HTTP_DONE: break;
    }
    const size_t used = loop->head.head_bytes;
    start_exchange(conn, &loop->head, slice_of(bytes.ptr, used));
    return used;
}

static size_t
feed_body(struct net_conn *conn, struct slice bytes)
{
    const struct http_fault *why = NULL;
    struct slice data = { 0 };
    size_t used = 0;

    if (!conn->body_done) {
        const enum http_result result = http_body_feed(&conn->body, bytes, &used, &data, &why);
        if (result == HTTP_BAD) {
            refuse_fault(conn, why);
            return bytes.len;
        }
        conn->body_done = result == HTTP_DONE;
        if (used > 0) {
            conn->input_mono_ms = now_mono_ms(conn);
            conn->body_bytes += (int64_t)used;
        }
    }
    conn->body_told = conn->body_done;
    if (conn->room_bytes > 0) {
        check(data.len <= conn->room_bytes);
        conn->room += data.len;
        conn->room_bytes -= data.len;
    }
    if ((data.len > 0 || conn->body_done) && conn->exchange) {
        conn->sock.loop->net->app->on_body(conn->exchange, data, conn->body_done);
    }
    return used;
}

/* Answers how many of the bytes are used up; the rest waits in conn->in. */
static size_t
consume(struct net_conn *conn, struct slice bytes)
{
    size_t used = 0;
    for (;;) {
        const struct slice rest = slice_of(bytes.ptr + used, bytes.len - used);
        const enum conn_state before = conn->state;
        size_t step = 0;
        switch (conn->state) {
        case CONN_IDLE:
        case CONN_HEAD: step = rest.len > 0 ? feed_head(conn, rest) : 0; break;
        case CONN_BUSY:
            step = conn->body_wanted && !conn->body_told ? feed_body(conn, rest) : 0;
            break;
        case CONN_LINGER: conn->linger_left_bytes -= (int64_t)rest.len; return bytes.len;
        case CONN_TLS:
        case CONN_CLOSED: return bytes.len;
        }
        used += step;
        if (step == 0 && conn->state == before) {
            return used;
        }
    }
}

/* `fresh` follows what waits in conn->in. No app is on the stack here, and none touches
 * conn->in. */
static void
take_input(struct net_conn *conn, struct slice fresh)
{
    struct buf *in = &conn->in;
    if (in->len == 0) {
        const size_t used = consume(conn, fresh);
        buf_add(in, fresh.ptr + used, fresh.len - used);
    } else {
        buf_add_slice(in, fresh);
        const size_t used = consume(conn, buf_slice(in));
        buf_consume(in, used);
    }
    if (in->failed) {
        net_conn_lose(conn); /* no memory */
    } else if (in->len == 0) {
        buf_free(in);
    }
}

/* The client ended its side. While an answer is due that means it is gone; one that is complete is
 * still delivered. */
static void
take_end(struct net_conn *conn)
{
    if (conn->state == CONN_BUSY && conn->ended) {
        conn->fin = true;
        conn->keep_alive = false;
    } else if (conn->state == CONN_BUSY) {
        net_conn_lose(conn);
    } else {
        net_conn_close(conn);
    }
}

/* Where the next bytes go: the rest of a body to where the app wants it, with nothing behind it. */
static char *
input_room(struct net_conn *conn, size_t *bytes)
{
    const bool straight = conn->state == CONN_BUSY && conn->room_bytes > 0 && conn->in.len == 0
                          && conn->body.left_bytes > 0;
    if (!straight) {
        const bool between = conn->state == CONN_IDLE && !conn->tls;
        *bytes = between ? NET_FIRST_READ_BYTES : NET_READ_BYTES;
        return conn->sock.loop->read_bytes;
    }
    *bytes = conn->room_bytes < (size_t)conn->body.left_bytes ? conn->room_bytes
                                                              : (size_t)conn->body.left_bytes;
    return conn->room;
}

static void
read_socket(struct net_conn *conn)
{
    for (int i = 0; i < NET_READS_A_TURN || conn->tls; i++) {
        size_t room_bytes = 0;
        char *bytes = input_room(conn, &room_bytes);
        const ssize_t got = net_conn_read(conn, bytes, room_bytes);
        if (got == NET_IO_AGAIN) {
            return;
        }
        if (got == NET_IO_LOST) {
            net_conn_lose(conn);
            return;
        }
        if (got == 0) {
            take_end(conn);
            return;
        }
        counter_add(COUNTER_CLIENT_BYTES_IN, got);
        if (conn->state == CONN_LINGER) {
            conn->input_mono_ms = now_mono_ms(conn);
        }
        take_input(conn, slice_of(bytes, (size_t)got));
        if (((size_t)got < room_bytes && !conn->tls) || !wants_input(conn)) {
            return; /* TLS is read until it wants more: a record is not all that is here */
        }
    }
}

/* Bytes in TLS's own memory, of which no poll tells. */
static void
read_pending(struct net_conn *conn)
{
    if (conn->tls && wants_input(conn) && net_tls_pending(conn->tls)) {
        read_socket(conn);
    }
    if (conn->tls) {
        net_tls_keep(conn->tls);
    }
}

/* ---- steps ---- */

static MUST_USE bool
flush(struct net_conn *conn)
{
    if (conn->broken || !net_conn_flush(conn)) {
        net_conn_lose(conn);
        return false;
    }
    const struct net *net = conn->sock.loop->net;
    if (conn->drain_due && net_conn_unsent(conn) <= net->options.high_water_bytes / 2) {
        conn->drain_due = false;
        if (conn->exchange && net->app->on_drained) {
            net->app->on_drained(conn->exchange);
        }
    }
    return conn->state != CONN_CLOSED;
}

/* The answer is out and its exchange closed: what comes next on this connection? */
static void
turn_over(struct net_conn *conn)
{
    if (conn->keep_alive && conn->body_done && !net_stopping(conn->sock.loop->net)) {
        conn->state = CONN_IDLE;
        conn->input_mono_ms = now_mono_ms(conn);
        if (conn->in.len > 0 || (conn->tls && net_tls_pending(conn->tls))) {
            net_conn_wake(conn); /* the next request is here */
        }
    } else if (!conn->fin && (!conn->body_done || conn->in.len > 0)) {
        buf_free(&conn->in);
        linger(conn);
    } else {
        net_conn_close(conn);
    }
}

static void
settle(struct net_conn *conn)
{
    const bool flushed = net_conn_unsent(conn) == 0 && !conn->broken;
    if (conn->state == CONN_BUSY && conn->ended && !conn->exchange && flushed) {
        turn_over(conn);
    }
    if (conn->state == CONN_LINGER) {
        if (flushed && !conn->shut) {
            if (conn->tls) {
                net_tls_say_end(conn->tls);
            }
            (void)shutdown(
                conn->sock.fd, SHUT_WR); /* fails where the peer is gone: the read tells */
            conn->shut = true;
        }
        if (conn->linger_left_bytes <= 0) {
            net_conn_close(conn);
        }
    }
    if (conn->state != CONN_CLOSED) {
        watch(conn);
        arm(conn);
    }
}

static void
run_task(struct net_task *task)
{
    struct net_conn *conn = list_entry(task, struct net_conn, task);
    if (conn->state == CONN_CLOSED || !flush(conn)) {
        return;
    }
    take_input(conn, SLICE(""));
    read_pending(conn);
    settle(conn);
}

static void
on_conn_ready(struct net_sock *sock, int events)
{
    struct net_conn *conn = list_entry(sock, struct net_conn, sock);
    if (conn->state == CONN_TLS) {
        net_conn_secure_ready(conn, events);
        return;
    }
    if ((events & UV_WRITABLE) && !flush(conn)) {
        return;
    }
    if ((events & UV_DISCONNECT) && conn->state == CONN_BUSY) {
        take_end(conn);
    } else if (events & (UV_READABLE | UV_DISCONNECT)) {
        if (wants_input(conn)) {
            read_socket(conn);
        } else {
            conn->skip_reads = true;
        }
    }
    list_remove(&conn->task.node); /* what a callback has left to do is done now */
    run_task(&conn->task);
}

void
net_conn_begin(struct net_conn *conn)
{
    conn->input_mono_ms = now_mono_ms(conn);
    on_conn_ready(&conn->sock, UV_READABLE);
}

void
net_conn_wake(struct net_conn *conn)
{
    if (conn->state != CONN_CLOSED) {
        net_task_add(conn->sock.loop, &conn->task);
    }
}

static void
on_conn_closed(struct net_sock *sock)
{
    struct net_conn *conn = list_entry(sock, struct net_conn, sock);
    buf_free(&conn->in);
    buf_free(&conn->out);
    free(conn);
}

void
net_conn_open(struct net_loop *loop, int fd, const struct net_listener *from,
    const struct net_peer *peer, const struct net_refusal *overflow)
{
    struct net_conn *conn = calloc(1, sizeof(*conn));
    if (!conn || !net_sock_open(&conn->sock, loop, fd, on_conn_ready, on_conn_closed)) {
        if (!conn) {
            (void)close(fd);
        }
        free(conn);
        if (!overflow) {
            (void)atomic_fetch_sub(&loop->net->connection_count, 1);
            net_peer_leave(loop->net, peer);
        }
        return;
    }
    list_init(&conn->node);
    list_push_back(&loop->conns, &conn->node);
    net_task_init(&conn->task, run_task);
    net_timer_init(&conn->timer, loop, on_conn_timer);
    conn->state = from->tls && !overflow ? CONN_TLS : CONN_IDLE;
    conn->counted = !overflow;
    conn->tag = from->tag;
    conn->listen_index = from->listen_index;
    net_handshake_init(&conn->handshake, net_conn_handshake);
    conn->while_stopping = from->while_stopping;
    conn->peer = *peer;
    conn->input_mono_ms = now_mono_ms(conn);
    if (overflow) {
        loop->overflow_count++;
        counter_add(COUNTER_CONNECTIONS_REFUSED, 1);
        if (from->tls) {
            net_refusal_write_alert(
                &conn->out); /* a handshake to say it in is what there is no room for */
            say_last(conn);
        } else {
            net_conn_refuse(conn, overflow);
        }
    } else {
        counter_add(COUNTER_CONNECTIONS, 1);
        counter_add(COUNTER_CONNECTIONS_OPEN, 1);
        settle(conn);
    }
}

void
net_conn_close_idle(struct net_loop *loop)
{
    struct list *next = NULL;
    for (struct list *node = loop->conns.next; node != &loop->conns; node = next) {
        struct net_conn *conn = list_entry(node, struct net_conn, node);
        next = node->next;
        if ((conn->state == CONN_IDLE || conn->state == CONN_TLS) && !conn->while_stopping) {
            net_conn_close(conn);
        }
    }
}

bool
net_conns_over(const struct net_loop *loop)
{
    for (const struct list *node = loop->conns.next; node != &loop->conns; node = node->next) {
        const struct net_conn *conn = list_entry(node, const struct net_conn, node);
        const bool waits =
            conn->state == CONN_IDLE || conn->state == CONN_HEAD || conn->state == CONN_TLS;
        if (!waits || !conn->while_stopping) {
            return false;
        }
    }
    return true;
}
