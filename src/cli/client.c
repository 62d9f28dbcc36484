/* cli/client.c: one HTTP request over the control socket. Blocking: a command has nothing else to do. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/http.h"

#define CLIENT_WAIT_S           60 /* longer than the control plane waits for the gate */
#define CLIENT_ANSWER_BYTES_MAX ((size_t)64 << 20)

static enum status
fail(struct cli_error *error, enum status status, const char *socket_path, const char *why)
{
    (void)snprintf(error->text, sizeof(error->text), "the gateway at %s: %s", socket_path, why);
    return status;
}

enum status
client_connect(const char *socket_path, int *fd, struct cli_error *error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (!slice_to_cstr(slice_str(socket_path), address.sun_path, sizeof(address.sun_path))) {
        return fail(
            error, STATUS_INVALID, socket_path, "the path is too long for a socket (107 bytes)");
    }
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return fail(error, STATUS_IO, socket_path, strerror(errno));
    }
    const struct timeval wait = { .tv_sec = CLIENT_WAIT_S };
    (void)setsockopt(
        *fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)); /* without it we wait longer */
    (void)setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(*fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        return STATUS_OK;
    }
    const int why = errno;
    (void)close(*fd);
    *fd = -1;
    if (why == ENOENT || why == ECONNREFUSED || why == ENOTSOCK) {
        return fail(error, STATUS_NOT_FOUND, socket_path, "nobody answers there");
    }
    return fail(error, STATUS_IO, socket_path, strerror(why));
}

bool
client_send(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        const ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        bytes = slice_of(bytes.ptr + sent, bytes.len - (size_t)sent);
    }
    return true;
}

/* Until the gateway ends its side. */
static bool
read_all(int fd, struct buf *in)
{
    in->limit_bytes = CLIENT_ANSWER_BYTES_MAX;
    for (;;) {
        char piece[16384];
        const ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got == 0;
        }
        buf_add(in, piece, (size_t)got);
        if (in->failed) {
            return false;
        }
    }
}

/* The payload of one whole answer. */
static bool
parse_answer(struct slice bytes, const char *method, int *http_status, struct buf *out)
{
    const struct http_limits limits = { .head_bytes_max = 65536, .headers_max = HTTP_HEADERS_MAX };
    struct http_parse_state state = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    const enum http_method asked = http_method_of(slice_str(method));
    if (http_parse_response(bytes, &limits, &state, asked, &head, &why) != HTTP_DONE) {
        return false;
    }
    *http_status = head.status;
    struct http_body body;
    struct slice rest = slice_of(bytes.ptr + head.head_bytes, bytes.len - head.head_bytes);
    http_body_start(&body, &head, HTTP_BODY_UNBOUNDED);
    enum http_result result = HTTP_MORE;
    do {
        size_t consumed = 0;
        struct slice data = { 0 };
        result = http_body_feed(&body, rest, &consumed, &data, &why);
        buf_add_slice(out, data);
        rest = slice_of(rest.ptr + consumed, rest.len - consumed);
    } while (result == HTTP_MORE && rest.len > 0);
    if (result == HTTP_MORE) {
        result = http_body_eof(&body, &why);
    }
    return result == HTTP_DONE && !out->failed;
}

static bool
build_request(struct buf *request, const struct cli_request *asked)
{
    const struct slice body = asked->body;
    if (!http_write_request_line(request, slice_str(asked->method), asked->target)
        || !http_write_header(request, SLICE("Host"), SLICE("tidegate"))
        || !http_write_header(request, SLICE("Connection"), SLICE("close"))
        || (body.len > 0
            && !http_write_header(request, SLICE("Content-Type"), SLICE("application/json")))
        || (asked->once_key
            && !http_write_header(request, SLICE("Idempotency-Key"), slice_str(asked->once_key)))
        || !http_write_header_i64(request, SLICE("Content-Length"), (int64_t)body.len)) {
        return false;
    }
    http_write_end(request);
    buf_add_slice(request, body);
    return !request->failed;
}

enum status
client_ask(const char *socket_path, const struct cli_request *asked, int *http_status,
    struct buf *out, struct cli_error *error)
{
    struct buf request = { 0 };
    struct buf answer = { 0 };
    int fd = -1;
    if (!build_request(&request, asked)) {
        buf_free(&request);
        return fail(
            error, STATUS_INVALID, socket_path, "what was asked cannot be put into a request");
    }
    enum status status = client_connect(socket_path, &fd, error);
    if (status == STATUS_OK && (!client_send(fd, buf_slice(&request)) || !read_all(fd, &answer))) {
        status = errno == EAGAIN
                     ? fail(error, STATUS_IO, socket_path, "it did not answer in time")
                     : fail(error, STATUS_CLOSED, socket_path, "the connection broke off");
    }
    if (status == STATUS_OK && answer.len == 0) {
        status = fail(error, STATUS_CLOSED, socket_path, "the connection broke off");
    }
    if (status == STATUS_OK && !parse_answer(buf_slice(&answer), asked->method, http_status, out)) {
        status = fail(error, STATUS_IO, socket_path,
            "its answer is no HTTP; is this the socket of a gateway?");
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_free(&request);
    buf_free(&answer);
    return status;
}
