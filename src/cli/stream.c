/* cli/stream.c: server-sent events over the control socket, until they end. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/http.h"

#define EVENT_BYTES_MAX ((size_t)1 << 20)

struct streaming {
    struct stream *stream;
    struct http_body body;
    bool has_head;
    int http_status;
    struct buf in;   /* what has come and is not understood yet */
    struct buf text; /* of the stream, up to the end of a block */
    struct buf data; /* of the event */
    struct cli_error *error;
};

/* One line of a block; an empty one ends it. */
static void
take_line(struct streaming *streaming, struct slice line)
{
    struct stream *stream = streaming->stream;
    const struct slice id = SLICE("id: ");
    const struct slice data = SLICE("data: ");
    if (slice_starts(line, id)) {
        (void)slice_to_cstr(slice_of(line.ptr + id.len, line.len - id.len), stream->last_id,
            sizeof(stream->last_id));
    } else if (slice_starts(line, data)) {
        buf_clear(&streaming->data);
        buf_add(&streaming->data, line.ptr + data.len, line.len - data.len);
    } else if (line.len == 0 && streaming->data.len > 0) {
        struct json_object *event = json_tokener_parse(buf_cstr(&streaming->data));
        if (event) {
            stream->on_event(stream->user, event);
        }
        json_object_put(event);
        buf_clear(&streaming->data);
    }
}

static void
take_lines(struct streaming *streaming)
{
    struct slice rest = buf_slice(&streaming->text);
    ptrdiff_t end = 0;
    while ((end = slice_find(rest, SLICE("\n"))) >= 0) {
        take_line(streaming, slice_of(rest.ptr, (size_t)end));
        rest = slice_of(rest.ptr + end + 1, rest.len - (size_t)end - 1);
    }
    struct buf kept = { .limit_bytes = EVENT_BYTES_MAX };
    buf_add_slice(&kept, rest);
    buf_free(&streaming->text);
    streaming->text = kept;
}

static bool
take_head(struct streaming *streaming, size_t *used)
{
    const struct http_limits limits = { .head_bytes_max = 65536, .headers_max = HTTP_HEADERS_MAX };
    struct http_parse_state state = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    const enum http_result result = http_parse_response(
        buf_slice(&streaming->in), &limits, &state, HTTP_METHOD_GET, &head, &why);
    *used = 0;
    if (result != HTTP_DONE) {
        return result == HTTP_MORE;
    }
    streaming->has_head = true;
    streaming->http_status = head.status;
    http_body_start(&streaming->body, &head, HTTP_BODY_UNBOUNDED);
    *used = head.head_bytes;
    return true;
}

/* False: the stream is over, or it is none. */
static bool
take_bytes(struct streaming *streaming)
{
    size_t used = 0;
    if (!streaming->has_head && !take_head(streaming, &used)) {
        return false;
    }
    enum http_result result = HTTP_MORE;
    while (streaming->has_head && result == HTTP_MORE && used < streaming->in.len) {
        const struct http_fault *why = NULL;
        struct slice data = { 0 };
        size_t consumed = 0;
        result = http_body_feed(&streaming->body,
            slice_of(streaming->in.ptr + used, streaming->in.len - used), &consumed, &data, &why);
        buf_add_slice(&streaming->text, data);
        used += consumed;
        if (consumed == 0) {
            break;
        }
    }
    struct buf rest = { .limit_bytes = EVENT_BYTES_MAX };
    buf_add(&rest, streaming->in.ptr + used, streaming->in.len - used);
    buf_free(&streaming->in);
    streaming->in = rest;
    if (streaming->http_status == 200) {
        take_lines(streaming);
    }
    return result == HTTP_MORE && !streaming->text.failed && !streaming->in.failed;
}

static void
read_stream(struct streaming *streaming, int fd)
{
    for (;;) {
        char piece[16384];
        const ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return;
        }
        buf_add(&streaming->in, piece, (size_t)got);
        if (!take_bytes(streaming) || ferror(stdout)) {
            return;
        }
    }
}

/* A refusal's sentence. */
static void
tell_refusal(struct streaming *streaming, struct cli_error *error)
{
    struct json_object *answer = json_tokener_parse(buf_cstr(&streaming->text));
    struct json_object *refusal = answer ? json_member(answer, "error") : NULL;
    (void)snprintf(error->text, sizeof(error->text), "%s",
        refusal ? json_text(refusal, "message") : "the gateway's answer is no stream of events");
    json_object_put(answer);
}

enum status
stream_read(
    const char *socket_path, struct slice target, struct stream *stream, struct cli_error *error)
{
    struct buf request = { 0 };
    struct streaming streaming = { .stream = stream,
        .in.limit_bytes = EVENT_BYTES_MAX,
        .text.limit_bytes = EVENT_BYTES_MAX,
        .data.limit_bytes = EVENT_BYTES_MAX };
    int fd = -1;
    enum status status = client_connect(socket_path, &fd, error);
    const bool written =
        http_write_request_line(&request, SLICE("GET"), target)
        && http_write_header(&request, SLICE("Host"), SLICE("tidegate"))
        && http_write_header(&request, SLICE("Accept"), SLICE("text/event-stream"))
        && (stream->last_id[0] == '\0'
            || http_write_header(&request, SLICE("Last-Event-ID"), slice_str(stream->last_id)));
    http_write_end(&request);
    if (status == STATUS_OK && written && client_send(fd, buf_slice(&request))) {
        read_stream(&streaming, fd);
    }
    if (status == STATUS_OK && streaming.has_head && streaming.http_status != 200) {
        tell_refusal(&streaming, error);
        status = STATUS_INVALID;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_free(&request);
    buf_free(&streaming.in);
    buf_free(&streaming.text);
    buf_free(&streaming.data);
    return status;
}
