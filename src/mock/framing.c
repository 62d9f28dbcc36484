/* mock/framing.c: heads and bodies as they leave, also in the ways that `framing` and `reset` ask for: then the
 * bytes of HTTP are written here, and net lets them pass as they are. */
#include "mock/serve_priv.h"

#include "base/clock.h"
#include "wire/http.h"

#define LONG_HEAD_BYTES ((size_t)256 << 10)
#define LONG_HEADER                                                                                \
    "x-mock-filler: the tide comes in and the tide goes out, and nobody reads this\r\n"
#define SHORT_OF_A_LENGTH 300 /* of a stream: within its first events */
#define LONGER_BYTES      1000
#define STREAM_BYTES_MAX  (INT64_C(1) << 40) /* longer than any stream */

static bool
is_bare(const struct mock_call *call)
{
    return call->behaviour.framing != MOCK_FRAMING_PLAIN || call->behaviour.reset;
}

static void
send_bare(struct mock_call *call, struct slice bytes)
{
    (void)net_send(call->exchange, &bytes, 1);
}

static void
add_framing(struct mock_call *call, int64_t length, struct buf *out)
{
    const bool is_stream = length == NET_LENGTH_CHUNKED;
    int64_t told = length;
    call->chunked = is_stream;
    switch (call->behaviour.framing) {
    case MOCK_FRAMING_LONGER:
        told = is_stream ? STREAM_BYTES_MAX : length + LONGER_BYTES;
        call->chunked = false;
        break;
    case MOCK_FRAMING_SHORTER:
        told = is_stream ? SHORT_OF_A_LENGTH : length / 2;
        call->chunked = false;
        break;
    case MOCK_FRAMING_UNTIL_CLOSE:
        buf_add_str(out, "connection: close\r\n");
        call->chunked = false;
        return;
    case MOCK_FRAMING_BOTH:
        buf_add_str(out, "content-length: 100\r\n");
        call->chunked = true;
        break;
    case MOCK_FRAMING_BAD_CHUNK:
    case MOCK_FRAMING_NO_LAST_CHUNK: call->chunked = true; break;
    /* Its connection closes behind it, and nothing else in this answer would keep a client from using it again. */
    case MOCK_FRAMING_INTERIM: buf_add_str(out, "connection: close\r\n"); break;
    default: break;
    }
    if (call->chunked) {
        buf_add_str(out, "transfer-encoding: chunked\r\n");
    } else {
        buf_addf(out, "content-length: %lld\r\n", (long long)told);
    }
}

static void
add_head(struct mock_call *call, int status, struct slice headers, int64_t length, struct buf *out)
{
    const enum mock_framing framing = call->behaviour.framing;
    if (framing == MOCK_FRAMING_GARBAGE) {
        buf_add_str(out, "\x16\x03\x01\x02 this is no HTTP \x7f\xff\r\n\r\n");
    }
    if (framing == MOCK_FRAMING_INTERIM) {
        buf_add_str(out, "HTTP/1.1 100 Continue\r\n\r\n"
                         "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
    }
    check(http_write_status_line(out, status, slice_of(NULL, 0)));
    for (size_t bytes = 0; framing == MOCK_FRAMING_LONG_HEAD && bytes < LONG_HEAD_BYTES;
         bytes += sizeof LONG_HEADER - 1) {
        buf_add_str(out, LONG_HEADER);
    }
    buf_add_slice(out, headers);
    add_framing(call, length, out);
    http_write_end(out);
}

void
mock_send_head(struct mock_call *call, int status, struct slice headers, int64_t length)
{
    struct buf out = { 0 };
    if (!is_bare(call)) {
        net_send_head(call->exchange, status, headers, length);
        return;
    }
    add_head(call, status, headers, length, &out);
    if (call->behaviour.framing == MOCK_FRAMING_TORN_HEAD) {
        out.len /= 2;
    }
    net_send_bare(call->exchange);
    send_bare(call, buf_slice(&out));
    buf_free(&out);
}

bool
mock_send(struct mock_call *call, struct slice piece)
{
    const enum mock_framing framing = call->behaviour.framing;
    char chunk_head[HTTP_CHUNK_HEAD_BYTES_MAX];
    if (piece.len == 0 || framing == MOCK_FRAMING_TORN_HEAD) {
        return true;
    }
    if (!is_bare(call) || !call->chunked) {
        return net_send(call->exchange, &piece, 1);
    }
    size_t head_bytes = http_write_chunk_head(piece.len, chunk_head);
    if (framing == MOCK_FRAMING_BAD_CHUNK && call->chunk_count++ > 0) {
        send_bare(call, SLICE("+zz\r\n"));
        head_bytes = 0;
    }
    const struct slice pieces[] = { slice_of(chunk_head, head_bytes), piece, SLICE("\r\n") };
    return net_send(call->exchange, pieces, countof(pieces));
}

void
mock_send_end(struct mock_call *call)
{
    const enum mock_framing framing = call->behaviour.framing;
    if (is_bare(call) && call->chunked && framing != MOCK_FRAMING_NO_LAST_CHUNK) {
        send_bare(call, framing == MOCK_FRAMING_BAD_CHUNK ? SLICE("-1\r\n") : SLICE("0\r\n\r\n"));
    }
    if (framing == MOCK_FRAMING_SURPLUS) {
        send_bare(call, SLICE("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    }
    net_end(call->exchange);
}

void
mock_send_reset(struct mock_call *call)
{
    if (call->behaviour.reset && !net_head_sent(call->exchange)) {
        net_send_bare(call->exchange);
    }
    net_abort(call->exchange);
}
