/* net/answer.c: the way out of an exchange: heads, framing, what the socket did not take. */
#include "net/net_priv.h"

#include <sys/uio.h>

#define IOV_MAX_HERE      32
#define OUT_BYTES_MAX     ((size_t)256 << 20) /* an app that goes on beyond the high-water mark */
#define COMPACT_BYTES_MIN ((size_t)64 * 1024)

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

/* `sent` bytes of conn->out were taken. */
static void
out_taken(struct net_conn *conn, size_t sent)
{
    conn->out_sent += sent;
    check(conn->out_sent <= conn->out.len);
    if (conn->out_sent == conn->out.len) {
        buf_free(&conn->out); /* a stream that waits keeps nothing */
        conn->out_sent = 0;
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
    conn->out.limit_bytes = OUT_BYTES_MAX;
    buf_add_slice(&conn->out, bytes);
    conn->broken = conn->broken || conn->out.failed;
}

/* Writes what waits and then the pieces, in one call; what is not taken is kept. */
static void
out_write(struct net_conn *conn, const struct iovec *pieces, int piece_count)
{
    struct iovec iov[IOV_MAX_HERE];
    const size_t unsent = net_conn_unsent(conn);
    ssize_t taken = 0;

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
