/* bench/load_conn.c: one connection: connect, send the prepared request, read the answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/fail.h"
#include "bench/load_priv.h"
#include "bench/request.h"

#define READ_BYTES (256 * 1024)
#define ERRORS_MAX 100000

void
conn_init(struct load *load, struct conn *conn, int32_t index)
{
    const struct load_options *options = &load->options;
    char host[96];
    char thread[32];
    *conn = (struct conn){ .load = load, .index = index, .channel.fd = -1, .kind = -1 };
    list_init(&conn->ready);
    (void)snprintf(host, sizeof host, "%s:%u", options->host, (unsigned)options->port);
    (void)snprintf(thread, sizeof thread, "bench-%d", (int)index);
    request_head(&conn->request, host, options->path,
        load->key_count > 0 ? load->keys[index % load->key_count] : NULL,
        options->threads ? thread : NULL, options->more_headers, (size_t)options->body_bytes);
    if (load->body_fd < 0) {
        request_body(
            &conn->request, options->model, options->mode->streams, (size_t)options->body_bytes);
    }
    if (conn->request.failed) {
        fail("no memory");
    }
}

bool
conn_busy(const struct conn *conn)
{
    return conn->state >= CONN_SENDING;
}

void
conn_close(struct conn *conn)
{
    channel_close(&conn->channel);
    list_remove(&conn->ready);
    buf_clear(&conn->in);
    conn->state = CONN_CLOSED;
    conn->watched_events = 0;
}

static void
conn_lose(struct conn *conn, enum load_error why, int64_t now_us)
{
    struct load *load = conn->load;
    conn_close(conn);
    if (++load->errors[why] > ERRORS_MAX) {
        fail("more than %d calls failed", ERRORS_MAX);
    }
    if (load->options.mode->lost) {
        load->options.mode->lost(conn, now_us);
    }
}

static void
conn_watch(struct conn *conn, uint32_t events)
{
    if (conn->watched_events == events) {
        return;
    }
    struct epoll_event event = { .events = events, .data.ptr = conn };
    const int operation = conn->watched_events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(conn->load->epoll_fd, operation, conn->channel.fd, &event) != 0) {
        fail("a connection cannot be watched");
    }
    conn->watched_events = events;
}

void
conn_open(struct conn *conn)
{
    struct load *load = conn->load;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(load->options.port) };
    if (inet_pton(AF_INET, load->options.host, &address.sin_addr) != 1) {
        fail("%s is not an IPv4 address", load->options.host);
    }
    conn_close(conn);
    conn->channel.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->channel.fd < 0) {
        fail("no descriptors left");
    }
    channel_tune(conn->channel.fd);
    if (conn->receive_bytes > 0) {
        (void)setsockopt(conn->channel.fd, SOL_SOCKET, SO_RCVBUF, &conn->receive_bytes,
            sizeof conn->receive_bytes);
    }
    conn->state = CONN_CONNECTING;
    if (connect(conn->channel.fd, (const struct sockaddr *)&address, sizeof address) != 0
        && errno != EINPROGRESS) {
        fail(
            "no connection to %s:%u can be made", load->options.host, (unsigned)load->options.port);
    }
    if (load->tls && !channel_start_tls(&conn->channel, load->tls, false)) {
        fail("no memory for TLS");
    }
    conn_watch(conn, EPOLLOUT);
}

void
conn_pause(struct conn *conn)
{
    conn_watch(conn, EPOLLERR); /* told anyway: a set that is not empty */
}

void
conn_resume(struct conn *conn)
{
    conn_watch(conn, EPOLLIN);
}

static void
conn_ready(struct conn *conn, int64_t now_us)
{
    conn->state = CONN_READY;
    if (conn->load->options.mode->ready) {
        conn->load->options.mode->ready(conn, now_us);
    }
}

/* --- Sending. */

static size_t
request_bytes(const struct conn *conn)
{
    const struct load *load = conn->load;
    return conn->request.len + (load->body_fd >= 0 ? (size_t)load->options.body_bytes : 0);
}

static ssize_t
send_large_body(struct conn *conn)
{
    off_t offset = (off_t)(conn->sent_bytes - conn->request.len);
    const size_t left = (size_t)conn->load->options.body_bytes - (size_t)offset;
    const ssize_t sent = sendfile(conn->channel.fd, conn->load->body_fd, &offset, left);
    if (sent > 0) {
        return sent;
    }
    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? CHANNEL_AGAIN : CHANNEL_ENDED;
}

static void
conn_push(struct conn *conn, int64_t now_us)
{
    const size_t whole = request_bytes(conn);
    while (conn->sent_bytes < whole) {
        const ssize_t sent =
            conn->sent_bytes < conn->request.len ? channel_write(&conn->channel,
                conn->request.ptr + conn->sent_bytes, conn->request.len - conn->sent_bytes)
                                                 : send_large_body(conn);
        if (sent == CHANNEL_ENDED) {
            conn_lose(conn, LOAD_ERROR_CLOSED, now_us);
            return;
        }
        if (sent == CHANNEL_AGAIN) {
            /* A TLS handshake waits for the other side's bytes, not for room. */
            const bool wants_read = conn->channel.ssl && SSL_want_read(conn->channel.ssl);
            conn_watch(conn, wants_read ? EPOLLIN : EPOLLIN | EPOLLOUT);
            return;
        }
        conn->sent_bytes += (size_t)sent;
    }
    conn->state = CONN_HEAD;
    conn_watch(conn, EPOLLIN);
}

void
conn_send(struct conn *conn, int64_t due_us, int64_t now_us)
{
    check(conn->state == CONN_READY);
    list_remove(&conn->ready);
    conn->state = CONN_SENDING;
    conn->sent_bytes = 0;
    conn->due_us = due_us;
    conn->head_state = (struct http_parse_state){ 0 };
    conn->events = (struct events){ 0 };
    conn->chunks = 0;
    conn_push(conn, now_us);
}

/* --- Reading. Each answers false when the connection was lost or closed meanwhile. */

static bool
answer_over(struct conn *conn, struct slice rest, int64_t now_us)
{
    struct load *load = conn->load;
    if (rest.len > 0) {
        conn_lose(conn, LOAD_ERROR_MALFORMED, now_us); /* more than was asked for */
        return false;
    }
    load->calls_all++;
    if (load->options.mode->answered) {
        load->options.mode->answered(conn, now_us);
    }
    if (!conn->keep_alive || conn->sent_bytes < request_bytes(conn)) {
        conn_open(conn);
        return false;
    }
    conn_ready(conn, now_us);
    return false; /* it may be sending again: what follows comes with the next event */
}

static bool
take_body(struct conn *conn, struct slice bytes, int64_t now_us)
{
    for (;;) {
        size_t used = 0;
        struct slice data = { 0 };
        const struct http_fault *why = NULL;
        const enum http_result result = http_body_feed(&conn->body, bytes, &used, &data, &why);
        if (result == HTTP_BAD) {
            conn_lose(conn, LOAD_ERROR_MALFORMED, now_us);
            return false;
        }
        if (data.len > 0 && conn->load->options.mode->payload) {
            conn->load->options.mode->payload(conn, data, now_us);
        }
        if (conn->state != CONN_BODY) {
            return false; /* the client has gone away */
        }
        bytes = slice_of(bytes.ptr + used, bytes.len - used);
        if (result == HTTP_DONE) {
            return answer_over(conn, bytes, now_us);
        }
        if (bytes.len == 0) {
            return true;
        }
    }
}

static bool
take_head(struct conn *conn, struct slice bytes, int64_t now_us)
{
    static const struct http_limits limits = { 64 * 1024, 0, HTTP_HEADERS_MAX };
    static struct http_head head; /* over 3 KB */
    struct load *load = conn->load;
    const struct http_fault *why = NULL;
    if (conn->in.len > 0) {
        buf_add_slice(&conn->in, bytes);
        bytes = buf_slice(&conn->in);
    }
    switch (http_parse_response(bytes, &limits, &conn->head_state, HTTP_METHOD_POST, &head, &why)) {
    case HTTP_MORE:
        if (conn->in.len == 0) {
            buf_add_slice(&conn->in, bytes);
        }
        return true;
    case HTTP_BAD: conn_lose(conn, LOAD_ERROR_MALFORMED, now_us); return false;
    case HTTP_DONE: break;
    }
    if (head.status < 200) {
        fail("an interim answer (%d) is not expected", head.status);
    }
    if (load->options.mode->head) {
        load->options.mode->head(conn, head.status);
    } else if (head.status != load->options.expect) {
        load->errors[LOAD_ERROR_STATUS]++;
        load->odd_status = head.status;
    }
    conn->keep_alive = head.keep_alive;
    conn->state = CONN_BODY;
    http_body_start(&conn->body, &head, HTTP_BODY_UNBOUNDED);
    /* The bytes may lie in conn->in, which the end of the answer clears: it is emptied last. */
    struct buf head_bytes = conn->in;
    conn->in = (struct buf){ 0 };
    const bool going =
        take_body(conn, slice_of(bytes.ptr + head.head_bytes, bytes.len - head.head_bytes), now_us);
    buf_free(&head_bytes);
    return going;
}

static void
conn_read(struct conn *conn, int64_t now_us)
{
    static char bytes[READ_BYTES];
    for (;;) {
        const ssize_t got = channel_read(&conn->channel, bytes, sizeof bytes);
        if (got == CHANNEL_AGAIN) {
            return;
        }
        const struct http_fault *why = NULL;
        if (got == CHANNEL_ENDED) {
            const bool whole =
                conn->state == CONN_BODY && http_body_eof(&conn->body, &why) == HTTP_DONE;
            if (whole) {
                conn->keep_alive = false;
                (void)answer_over(conn, (struct slice){ 0 }, now_us);
            } else if (conn_busy(conn)) {
                conn_lose(conn, LOAD_ERROR_CLOSED, now_us);
            } else {
                conn_open(conn); /* closed between two calls, as servers may */
            }
            return;
        }
        const struct slice piece = slice_of(bytes, (size_t)got);
        if (conn->state != CONN_HEAD && conn->state != CONN_BODY) {
            conn_lose(conn, LOAD_ERROR_MALFORMED, now_us); /* an answer to nothing */
            return;
        }
        const bool going = conn->state == CONN_HEAD ? take_head(conn, piece, now_us)
                                                    : take_body(conn, piece, now_us);
        if (!going || !conn->channel.ssl) {
            return; /* epoll tells of what is left in a plain socket */
        }
    }
}

static void
conn_connected(struct conn *conn, int64_t now_us)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(conn->channel.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        conn_lose(conn, LOAD_ERROR_CONNECT, now_us);
        return;
    }
    conn_watch(conn, EPOLLIN);
    conn_ready(conn, now_us);
}

void
conn_event(struct conn *conn, uint32_t events, int64_t now_us)
{
    switch (conn->state) {
    case CONN_CLOSED: break;
    case CONN_CONNECTING: conn_connected(conn, now_us); break;
    case CONN_SENDING:
        /* An answer before the end of the request, or the end; of TLS it may be the handshake's own. */
        if ((events & EPOLLIN) && !conn->channel.ssl) {
            conn->state =
                CONN_HEAD; /* nothing more is sent: the connection ends with this answer */
            conn_read(conn, now_us);
        } else {
            conn_push(conn, now_us);
        }
        break;
    case CONN_READY:
    case CONN_HEAD:
    case CONN_BODY: conn_read(conn, now_us); break;
    }
}
