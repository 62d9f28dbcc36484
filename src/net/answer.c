/* net/answer.c: the way out of an exchange: heads, framing, what the socket did not take.
 *
 * Small pieces are gathered and leave at the end of the turn: what came for a stream in several is one
 * write, and the clients of a busy turn are woken by a run of writes, not each between two reads. */
#include "net/net_priv.h"

#include <sys/uio.h>

#define IOV_MAX_HERE      32
#define OUT_BYTES_MAX     ((size_t)256 << 20) /* an app that goes on beyond the high-water mark */
#define COMPACT_BYTES_MIN ((size_t)64 * 1024)
#define GATHER_BYTES_MAX  ((size_t)16 * 1024) /* copying more costs as much as a write */
#define HEAD_BYTES        ((size_t)256) /* of net's own lines, and the framing of a first piece */
#define FIRST_PIECE_BYTES ((size_t)512) /* of a stream */
#define OUTS_BYTES_MAX    ((size_t)1 << 20) /* of a loop, while nobody uses them */
#define OUTS_TRIM_MS      (5 * SECOND_MS)

size_t
net_conn_unsent(const struct net_conn *conn)
{
    return conn->out.len - conn->out_sent;
}

void
net_conn_count(struct net_conn *conn, size_t unsent_bytes)
{
    const struct net_options *options = &conn->sock.loop->net->options;
    const int64_t bytes = unsent_bytes > options->high_water_bytes ? (int64_t)unsent_bytes : 0;
    const int64_t more = bytes - conn->out_counted_bytes;
    if (more == 0 || !options->bodies) {
        return;
    }
    if (more > 0) {
        budget_add(options->bodies, more);
    } else {
        budget_give(options->bodies, -more);
    }
    counter_add(COUNTER_BODY_BYTES_BUFFERED, more);
    conn->out_counted_bytes = bytes;
}

/* ---- the memory of what waits ---- */

static void
on_outs_timer(struct net_timer *timer)
{
    struct net_loop *loop = list_entry(timer, struct net_loop, outs_timer);
    spares_trim(&loop->outs);
    if (loop->outs.bytes > 0) {
        net_timer_start(timer, OUTS_TRIM_MS);
    }
}

void
net_outs_open(struct net_loop *loop)
{
    loop->outs.bytes_max = OUTS_BYTES_MAX;
    net_timer_init(&loop->outs_timer, loop, on_outs_timer);
}

void
net_outs_close(struct net_loop *loop)
{
    spares_free(&loop->outs);
}

/* Room for `more` bytes behind what waits, in memory that served before. What is large grows by itself, and
 * where there is none the bytes that have no place say so. */
static void
out_reserve(struct net_conn *conn, size_t more)
{
    const size_t unsent = net_conn_unsent(conn);
    struct buf *out = &conn->out;
    out->limit_bytes = OUT_BYTES_MAX;
    if (more <= out->cap - out->len || unsent + more > 2 * GATHER_BYTES_MAX) {
        return;
    }
    struct spares *outs = &conn->sock.loop->outs;
    struct buf larger = { .limit_bytes = OUT_BYTES_MAX };
    if (!spares_take(outs, &larger, unsent + more)) {
        return;
    }
    if (unsent > 0) {
        buf_add(&larger, out->ptr + conn->out_sent, unsent);
    }
    larger.failed = out->failed;
    spares_give(outs, out);
    *out = larger;
    conn->out_sent = 0;
}

/* A stream that waits for its provider keeps nothing. */
static void
out_release(struct net_conn *conn)
{
    struct net_loop *loop = conn->sock.loop;
    spares_give(&loop->outs, &conn->out);
    conn->out_sent = 0;
    if (loop->outs_timer.due_mono_ms == 0) {
        net_timer_start(&loop->outs_timer, OUTS_TRIM_MS);
    }
}

/* ---- out ---- */

/* `sent` bytes of conn->out were taken. */
static void
out_taken(struct net_conn *conn, size_t sent)
{
    conn->out_sent += sent;
    check(conn->out_sent <= conn->out.len);
    if (conn->out_sent == conn->out.len) {
        out_release(conn);
        conn->watch_writes = false;
    } else if (conn->out_sent >= COMPACT_BYTES_MIN && conn->out_sent >= conn->out.len / 2) {
        buf_consume(&conn->out, conn->out_sent);
        conn->out_sent = 0;
    }
    net_conn_count(conn, net_conn_unsent(conn));
}

bool
net_conn_flush(struct net_conn *conn)
{
    const size_t unsent = net_conn_unsent(conn);
    if (unsent == 0) {
        return true;
    }
    struct iovec piece = { conn->out.ptr + conn->out_sent, unsent };
    const ssize_t sent = net_conn_write(conn, &piece, 1);
    if (sent == NET_IO_LOST) {
        return false;
    }
    if (sent > 0) {
        counter_add(COUNTER_CLIENT_BYTES_OUT, sent);
        conn->output_mono_ms = net_loop_mono_ms(conn->sock.loop);
        out_taken(conn, (size_t)sent);
    }
    conn->watch_writes = net_conn_unsent(conn) > 0;
    return true;
}

void
net_conn_out(struct net_conn *conn, struct slice bytes)
{
    if (net_conn_unsent(conn) == 0) {
        conn->output_mono_ms = net_loop_mono_ms(conn->sock.loop);
    }
    out_reserve(conn, bytes.len);
    buf_add_slice(&conn->out, bytes);
    conn->broken = conn->broken || conn->out.failed;
}

/* Small pieces wait for the end of the turn, unless the client is behind anyway: false. */
static bool
out_gather(struct net_conn *conn, const struct iovec *pieces, int piece_count)
{
    struct net_loop *loop = conn->sock.loop;
    const size_t mark = loop->net->options.high_water_bytes;
    const size_t most = mark < GATHER_BYTES_MAX ? mark : GATHER_BYTES_MAX;
    const size_t unsent = net_conn_unsent(conn);
    size_t more = 0;
    for (int i = 0; i < piece_count; i++) {
        more += pieces[i].iov_len;
    }
    if (conn->watch_writes || unsent + more > most) {
        return false;
    }
    if (unsent == 0) {
        conn->output_mono_ms = net_loop_mono_ms(loop);
    }
    out_reserve(conn, more);
    for (int i = 0; i < piece_count; i++) {
        buf_add(&conn->out, pieces[i].iov_base, pieces[i].iov_len);
    }
    conn->broken = conn->broken || conn->out.failed;
    loop->gathered_count++;
    net_conn_wake(conn);
    return true;
}

/* Writes what waits and then the pieces, in one call; what is not taken is kept. */
static void
out_write(struct net_conn *conn, const struct iovec *pieces, int piece_count)
{
    struct iovec iov[IOV_MAX_HERE];
    const size_t unsent = net_conn_unsent(conn);
    ssize_t taken = 0;

    if (out_gather(conn, pieces, piece_count)) {
        return;
    }
    if (!conn->watch_writes && piece_count < IOV_MAX_HERE) {
        int count = 0;
        if (unsent > 0) {
            iov[count++] = (struct iovec){ conn->out.ptr + conn->out_sent, unsent };
        }
        for (int i = 0; i < piece_count; i++) {
            iov[count++] = pieces[i];
        }
        taken = net_conn_write(conn, iov, count);
        if (taken == NET_IO_LOST) {
            conn->broken = true;
            return;
        }
        taken = taken < 0 ? 0 : taken;
    }

    size_t left = (size_t)taken;
    if (unsent > 0 && left > 0) {
        const size_t of_old = left < unsent ? left : unsent;
        out_taken(conn, of_old);
        left -= of_old;
    }
    for (int i = 0; i < piece_count; i++) {
        if (left >= pieces[i].iov_len) {
            left -= pieces[i].iov_len;
            continue;
        }
        net_conn_out(
            conn, slice_of((const char *)pieces[i].iov_base + left, pieces[i].iov_len - left));
        left = 0;
    }
    if (taken > 0) {
        counter_add(COUNTER_CLIENT_BYTES_OUT, taken);
        conn->output_mono_ms = net_loop_mono_ms(conn->sock.loop);
    }
    conn->watch_writes = net_conn_unsent(conn) > 0;
    net_conn_count(conn, net_conn_unsent(conn));
}

static bool
status_has_no_body(int status)
{
    return status == 204 || status == 304;
}

static void
write_framing(struct net_conn *conn, const struct http_head *asked, int status, int64_t length)
{
    struct buf *out = &conn->out;
    const bool old_client = asked->version_minor == 0;

    if (status_has_no_body(status)) {
        conn->answer = ANSWER_BODYLESS;
    } else if (length >= 0) {
        conn->answer = asked->method == HTTP_METHOD_HEAD ? ANSWER_BODYLESS : ANSWER_LENGTH;
        conn->answer_left_bytes = length;
        buf_add_str(out, "Content-Length: ");
        buf_add_i64(out, length);
        buf_add_str(out, "\r\n");
    } else if (old_client) {
        conn->answer = asked->method == HTTP_METHOD_HEAD ? ANSWER_BODYLESS : ANSWER_UNTIL_CLOSE;
        conn->keep_alive = false;
    } else {
        conn->answer = asked->method == HTTP_METHOD_HEAD ? ANSWER_BODYLESS : ANSWER_CHUNKED;
        buf_add_str(out, "Transfer-Encoding: chunked\r\n");
    }
    if (!conn->keep_alive) {
        buf_add_str(out, "Connection: close\r\n");
    } else if (old_client) {
        buf_add_str(out, "Connection: keep-alive\r\n");
    }
}

void
net_send_head(struct net_exchange *exchange, int status, struct slice headers, int64_t length)
{
    struct net_conn *conn = exchange->conn;
    check(!exchange->head_sent);
    check(status >= 200 && status <= 599);
    check(length >= NET_LENGTH_CHUNKED);

    exchange->head_sent = true;
    if (!conn) {
        return;
    }
    conn->head_sent = true;
    conn->continue_due = false; /* the answer is the answer to Expect, too */
    /* A body that is not here yet may never be read: the next request could not be found. */
    conn->keep_alive =
        conn->keep_alive && conn->body_done && !conn->fin && !net_stopping(conn->sock.loop->net);
    if (net_conn_unsent(conn) == 0) {
        conn->output_mono_ms = net_loop_mono_ms(conn->sock.loop);
    }
    struct buf *out = &conn->out;
    const bool small = length >= 0 && (uint64_t)length <= GATHER_BYTES_MAX;
    out_reserve(conn, HEAD_BYTES + headers.len + (small ? (size_t)length : FIRST_PIECE_BYTES));
    check(http_write_status_line(out, status, slice_of(NULL, 0)));
    buf_add_str(out, "Date: ");
    buf_add_str(out, net_loop_date(conn->sock.loop));
    buf_add_str(out, "\r\n");
    buf_add_slice(out, headers);
    write_framing(conn, exchange->head, status, length);
    http_write_end(out);
    conn->broken = conn->broken || out->failed;
    net_conn_wake(conn); /* written with the first bytes of the body, or at the end of the turn */
}

void
net_send_bare(struct net_exchange *exchange)
{
    struct net_conn *conn = exchange->conn;
    check(!exchange->head_sent);
    exchange->head_sent = true;
    if (!conn) {
        return;
    }
    conn->head_sent = true;
    conn->continue_due = false;
    conn->keep_alive = false;
    conn->answer = ANSWER_UNTIL_CLOSE;
}

static size_t
total_bytes(const struct slice *pieces, int piece_count)
{
    size_t total = 0;
    for (int i = 0; i < piece_count; i++) {
        total += pieces[i].len;
    }
    return total;
}

static void
send_framed(struct net_conn *conn, const struct slice *pieces, int piece_count, size_t total)
{
    struct iovec iov[IOV_MAX_HERE];
    char chunk_head[HTTP_CHUNK_HEAD_BYTES_MAX];
    int count = 0;

    check(piece_count <= IOV_MAX_HERE - 3);
    if (conn->answer == ANSWER_CHUNKED) {
        iov[count++] = (struct iovec){ chunk_head, http_write_chunk_head(total, chunk_head) };
    }
    for (int i = 0; i < piece_count; i++) {
        if (pieces[i].len > 0) {
            iov[count++] = (struct iovec){ (void *)(uintptr_t)pieces[i].ptr, pieces[i].len };
        }
    }
    if (conn->answer == ANSWER_CHUNKED) {
        iov[count++] = (struct iovec){ (void *)(uintptr_t)HTTP_CHUNK_END, 2 };
    }
    out_write(conn, iov, count);
}

bool
net_send(struct net_exchange *exchange, const struct slice *pieces, int piece_count)
{
    struct net_conn *conn = exchange->conn;
    check(exchange->head_sent);
    if (!conn || conn->broken) {
        return true; /* on_gone is on its way, or was there */
    }
    check(!conn->ended);

    const size_t total = total_bytes(pieces, piece_count);
    if (conn->answer == ANSWER_LENGTH) {
        check((uint64_t)total <= (uint64_t)conn->answer_left_bytes);
        conn->answer_left_bytes -= (int64_t)total;
    }
    if (conn->answer != ANSWER_BODYLESS && total > 0) {
        const int most = IOV_MAX_HERE - 3;
        for (int done = 0; done < piece_count && !conn->broken; done += most) {
            const int some = piece_count - done < most ? piece_count - done : most;
            const size_t some_bytes = total_bytes(pieces + done, some);
            if (some_bytes > 0) {
                send_framed(conn, pieces + done, some, some_bytes);
            }
        }
    }
    if (conn->watch_writes || conn->broken) {
        net_conn_wake(conn);
    }
    if (net_conn_unsent(conn) <= conn->sock.loop->net->options.high_water_bytes) {
        return true;
    }
    conn->drain_due = true;
    return false;
}

void
net_end(struct net_exchange *exchange)
{
    struct net_conn *conn = exchange->conn;
    check(exchange->head_sent);
    if (!conn || conn->ended) {
        return;
    }
    if (conn->answer == ANSWER_LENGTH && conn->answer_left_bytes > 0) {
        net_abort(exchange); /* less than declared: only a break tells the client so */
        return;
    }
    conn->ended = true;
    conn->drain_due = false;
    if (conn->answer == ANSWER_CHUNKED && !conn->broken) {
        net_conn_out(conn, SLICE(HTTP_LAST_CHUNK)); /* leaves at the end of the turn */
    }
    net_conn_wake(conn);
}

bool
net_head_sent(const struct net_exchange *exchange)
{
    return exchange->head_sent;
}

size_t
net_unsent_bytes(const struct net_exchange *exchange)
{
    return exchange->conn ? net_conn_unsent(exchange->conn) : 0;
}
