/* reaches: http_body_start http_body_feed http_body_eof http_write_chunk_head */
/* fuzz/http_chunked.c: a chunked body gives the same payload, verdict and end however it arrives,
 * and the same as a second decoder that knows the whole input; what we encode, we decode. */
#include <stdlib.h>

#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX 3000

struct reading {
    enum http_result result;
    size_t consumed;
    struct buf payload;
};

static void
feed_in_steps(struct slice bytes, bool is_request, size_t step, struct reading *out)
{
    const struct http_head head = { .is_request = is_request, .body_kind = HTTP_BODY_CHUNKED };
    struct http_body body;
    http_body_start(&body, &head, BYTES_MAX);
    buf_clear(&out->payload);
    out->result = HTTP_MORE;
    out->consumed = 0;
    while (out->result == HTTP_MORE && out->consumed < bytes.len) {
        const size_t left = bytes.len - out->consumed;
        const struct slice in = slice_of(bytes.ptr + out->consumed, left < step ? left : step);
        const struct http_fault *why = NULL;
        struct slice data = { 0 };
        size_t consumed = 0;
        out->result = http_body_feed(&body, in, &consumed, &data, &why);
        check(consumed <= in.len);
        check(data.len == 0 || (data.ptr >= in.ptr && data.ptr + data.len <= in.ptr + consumed));
        check(out->result != HTTP_MORE || consumed > 0);
        check((out->result == HTTP_BAD) == (why != NULL));
        buf_add_slice(&out->payload, data);
        out->consumed += consumed;
    }
    check(!out->payload.failed);
    check(body.payload_bytes == (int64_t)out->payload.len);
    if (out->result == HTTP_MORE) {
        const struct http_fault *why = NULL;
        check(http_body_eof(&body, &why) == HTTP_BAD);
        check(why == http_fault(HTTP_FAULT_BODY_CUT));
    }
}

/* ---- the second decoder: slow, whole input, written from RFC 9112 section 7.1 ---- */

/* The line at *at without its CR LF. HTTP_BAD: a bare LF or CR, or a control byte; HTTP_MORE: its
 * end is not there and nothing is wrong so far. */
static enum http_result
take_line(struct slice in, size_t *at, struct slice *line)
{
    for (size_t i = *at; i < in.len; i++) {
        const unsigned char c = (unsigned char)in.ptr[i];
        if (c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n') {
            *line = slice_of(in.ptr + *at, i - *at);
            *at = i + 2;
            return HTTP_DONE;
        }
        if (c == '\r' && i + 1 == in.len) {
            return HTTP_MORE;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return HTTP_BAD;
        }
    }
    return HTTP_MORE;
}

static bool
is_token_char(char c)
{
    return c != '\0'
           && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                  c)
                  != NULL;
}

static bool
size_line_valid(struct slice line, bool is_request, uint64_t *chunk_bytes)
{
    char digits[17] = "";
    size_t digit_count = 0;
    while (digit_count < line.len && digit_count < 16
           && strchr("0123456789abcdefABCDEF", line.ptr[digit_count]) != NULL
           && line.ptr[digit_count] != '\0') {
        digits[digit_count] = line.ptr[digit_count];
        digit_count++;
    }
    const size_t extension_bytes = line.len - digit_count;
    const bool plain = extension_bytes == 0;
    const bool extended = !is_request && extension_bytes > 0
                          && extension_bytes <= HTTP_EXTENSION_BYTES_MAX
                          && line.ptr[digit_count] == ';';
    *chunk_bytes = strtoull(digits, NULL, 16);
    return digit_count > 0 && (plain || extended) && *chunk_bytes <= (UINT64_C(1) << 60);
}

static bool
trailer_line_valid(struct slice line)
{
    size_t name_len = 0;
    while (name_len < line.len && is_token_char(line.ptr[name_len])) {
        name_len++;
    }
    return name_len > 0 && name_len < line.len && line.ptr[name_len] == ':';
}

static enum http_result
reference_trailers(struct slice in, size_t *at)
{
    const size_t start = *at;
    for (;;) {
        struct slice line = { 0 };
        const enum http_result result = take_line(in, at, &line);
        if (*at - start > HTTP_TRAILER_BYTES_MAX) {
            return HTTP_BAD;
        }
        if (result != HTTP_DONE || line.len == 0) {
            return result;
        }
        if (!trailer_line_valid(line)) {
            return HTTP_BAD;
        }
    }
}

static enum http_result
reference_decode(struct slice in, bool is_request, struct reading *out)
{
    size_t at = 0;
    uint64_t chunk_bytes = 0;
    buf_clear(&out->payload);
    for (;;) {
        struct slice line = { 0 };
        const enum http_result result = take_line(in, &at, &line);
        if (result != HTTP_DONE) {
            return result;
        }
        if (!size_line_valid(line, is_request, &chunk_bytes)
            || chunk_bytes > BYTES_MAX - out->payload.len) {
            return HTTP_BAD;
        }
        if (chunk_bytes == 0) {
            const enum http_result end = reference_trailers(in, &at);
            out->consumed = at;
            return end;
        }
        const size_t left = in.len - at;
        buf_add(&out->payload, in.ptr + at, left < chunk_bytes ? left : (size_t)chunk_bytes);
        if (left < chunk_bytes + 2) {
            const bool cr_is_there = left == chunk_bytes + 1;
            return cr_is_there && in.ptr[in.len - 1] != '\r' ? HTTP_BAD : HTTP_MORE;
        }
        at += (size_t)chunk_bytes;
        if (in.ptr[at] != '\r' || in.ptr[at + 1] != '\n') {
            return HTTP_BAD;
        }
        at += 2;
    }
}

static void
check_decoding(struct slice bytes, bool is_request)
{
    static struct reading whole, pieces, reference;
    feed_in_steps(bytes, is_request, bytes.len + 1, &whole);
    const size_t steps[] = { 1, 2, 7, bytes.len / 2 + 1 };
    for (size_t i = 0; i < countof(steps); i++) {
        feed_in_steps(bytes, is_request, steps[i], &pieces);
        check(pieces.result == whole.result);
        check(pieces.consumed == whole.consumed);
        check(slice_eq(buf_slice(&pieces.payload), buf_slice(&whole.payload)));
    }

    /* The reference sees a bad line only when it ends, so where it waits, we may have refused. */
    const enum http_result expected = reference_decode(bytes, is_request, &reference);
    check(whole.result == expected || (expected == HTTP_MORE && whole.result == HTTP_BAD));
    check(slice_eq(buf_slice(&reference.payload), buf_slice(&whole.payload)));
    check(expected != HTTP_DONE || reference.consumed == whole.consumed);
}

/* The bytes as a body of chunks of the sizes that the bytes themselves give. */
static void
check_round_trip(struct slice bytes)
{
    static struct buf encoded;
    static struct reading decoded;
    buf_clear(&encoded);
    for (size_t at = 0; at < bytes.len;) {
        const size_t wanted = (size_t)(unsigned char)bytes.ptr[at] + 1;
        const size_t left = bytes.len - at;
        const size_t chunk_bytes = left < wanted ? left : wanted;
        char head[HTTP_CHUNK_HEAD_BYTES_MAX];
        buf_add(&encoded, head, http_write_chunk_head(chunk_bytes, head));
        buf_add(&encoded, bytes.ptr + at, chunk_bytes);
        buf_add_str(&encoded, HTTP_CHUNK_END);
        at += chunk_bytes;
    }
    buf_add_str(&encoded, HTTP_LAST_CHUNK);
    feed_in_steps(buf_slice(&encoded), true, 5, &decoded);
    if (bytes.len <= BYTES_MAX) {
        check(decoded.result == HTTP_DONE);
        check(decoded.consumed == encoded.len);
        check(slice_eq(buf_slice(&decoded.payload), bytes));
    } else {
        check(decoded.result == HTTP_BAD);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice bytes = slice_of((const char *)data, size);
    check_decoding(bytes, true);
    check_decoding(bytes, false);
    check_round_trip(bytes);
    return 0;
}
