/* wire/http_body.c: where a body ends, and what of its bytes is payload.
 *
 * The chunked coding (RFC 9112, 7.1) is a machine over single bytes, except for payload, which is
 * yielded in runs. One call yields at most one run, and goes on behind it as far as it can without
 * finding another, so that the end of a body comes with its last run. */
#include "wire/http_priv.h"

#define CHUNK_DIGITS_MAX 16

/* What the next byte is. */
enum stage {
    STAGE_SIZE,      /* a digit of a chunk size, or what ends the size */
    STAGE_EXTENSION, /* skipped up to its CR */
    STAGE_SIZE_LF,
    STAGE_PAYLOAD,
    STAGE_PAYLOAD_CR,
    STAGE_PAYLOAD_LF,
    STAGE_LINE, /* the first of a trailer line, or the CR of the empty line that ends the body */
    STAGE_NAME,
    STAGE_VALUE,
    STAGE_VALUE_LF,
    STAGE_END_LF,
    STAGE_DONE,
    STAGE_BAD,
};

#define NO_FAULT HTTP_FAULT_COUNT

static void
spoil(struct http_body *body, enum http_fault_code code)
{
    body->stage = STAGE_BAD;
    body->fault = http_fault(code);
}

void
http_body_start(struct http_body *body, const struct http_head *head, int64_t bytes_max)
{
    *body = (struct http_body){
        .kind = head->body_kind,
        .stage = STAGE_PAYLOAD,
        .is_request = head->is_request,
        .left_bytes = head->body_kind == HTTP_BODY_LENGTH ? head->content_length : 0,
        .bytes_max = bytes_max,
    };
    if (body->kind == HTTP_BODY_CHUNKED) {
        body->stage = STAGE_SIZE;
    } else if (body->kind == HTTP_BODY_NONE
               || (body->kind == HTTP_BODY_LENGTH && body->left_bytes == 0)) {
        body->stage = STAGE_DONE;
    } else if (body->kind == HTTP_BODY_LENGTH && body->left_bytes > bytes_max) {
        spoil(body, HTTP_FAULT_BODY_TOO_LARGE);
    }
}

/* ---- the chunked coding: each takes one byte and answers a fault or NO_FAULT ---- */

static int64_t
hex_value(char digit)
{
    return byte_is(digit, BYTE_DIGIT) ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

static enum http_fault_code
size_byte(struct http_body *body, char byte)
{
    if (byte_is(byte, BYTE_HEX)) {
        if (body->digit_count == CHUNK_DIGITS_MAX || body->left_bytes > HTTP_CHUNK_BYTES_MAX / 16) {
            return HTTP_FAULT_CHUNK_SIZE;
        }
        body->digit_count++;
        body->left_bytes = body->left_bytes * 16 + hex_value(byte);
        return body->left_bytes > HTTP_CHUNK_BYTES_MAX ? HTTP_FAULT_CHUNK_SIZE : NO_FAULT;
    }
    if (body->digit_count == 0) {
        return HTTP_FAULT_CHUNK_SIZE;
    }
    switch (byte) {
    case '\r': body->stage = STAGE_SIZE_LF; return NO_FAULT;
    case ';':
        body->stage = STAGE_EXTENSION;
        body->extra_bytes = 1;
        return body->is_request ? HTTP_FAULT_CHUNK_EXTENSION : NO_FAULT;
    case '\n': return HTTP_FAULT_BARE_LF;
    default: return HTTP_FAULT_CHUNK_SIZE;
    }
}

static enum http_fault_code
extension_byte(struct http_body *body, char byte)
{
    if (byte == '\r') {
        body->stage = STAGE_SIZE_LF;
        return NO_FAULT;
    }
    if (byte == '\n') {
        return HTTP_FAULT_BARE_LF;
    }
    if (byte_is(byte, BYTE_CONTROL) || ++body->extra_bytes > HTTP_EXTENSION_BYTES_MAX) {
        return HTTP_FAULT_CHUNK_EXTENSION;
    }
    return NO_FAULT;
}

/* The LF behind a chunk size. A size of 0 is the last chunk: trailers follow it. */
static enum http_fault_code
size_end_byte(struct http_body *body, char byte)
{
    if (byte != '\n') {
        return HTTP_FAULT_BARE_CR;
    }
    body->digit_count = 0;
    body->extra_bytes = 0;
    if (body->left_bytes > body->bytes_max - body->payload_bytes) {
        return HTTP_FAULT_BODY_TOO_LARGE;
    }
    body->stage = body->left_bytes > 0 ? STAGE_PAYLOAD : STAGE_LINE;
    return NO_FAULT;
}

static enum http_fault_code
line_byte(struct http_body *body, char byte)
{
    if (byte == '\r') {
        body->stage = STAGE_END_LF;
        return NO_FAULT;
    }
    body->stage = STAGE_NAME;
    if (byte == '\n') {
        return HTTP_FAULT_BARE_LF;
    }
    return byte_is(byte, BYTE_TOKEN) ? NO_FAULT : HTTP_FAULT_TRAILER;
}

static enum http_fault_code
name_byte(struct http_body *body, char byte)
{
    if (byte == ':') {
        body->stage = STAGE_VALUE;
        return NO_FAULT;
    }
    return byte_is(byte, BYTE_TOKEN) ? NO_FAULT : HTTP_FAULT_TRAILER;
}

static enum http_fault_code
value_byte(struct http_body *body, char byte)
{
    if (byte == '\r') {
        body->stage = STAGE_VALUE_LF;
        return NO_FAULT;
    }
    if (byte == '\n') {
        return HTTP_FAULT_BARE_LF;
    }
    return byte_is(byte, BYTE_CONTROL) ? HTTP_FAULT_TRAILER : NO_FAULT;
}

/* `byte` must be `wanted`, which leads to `next`. */
static enum http_fault_code
fixed_byte(
    struct http_body *body, char byte, char wanted, enum stage next, enum http_fault_code otherwise)
{
    body->stage = (uint8_t)next;
    return byte == wanted ? NO_FAULT : otherwise;
}

static enum http_fault_code
trailer_byte(struct http_body *body, char byte)
{
    if (++body->extra_bytes > HTTP_TRAILER_BYTES_MAX) {
        return HTTP_FAULT_TRAILERS_TOO_LARGE;
    }
    switch (body->stage) {
    case STAGE_LINE: return line_byte(body, byte);
    case STAGE_NAME: return name_byte(body, byte);
    case STAGE_VALUE: return value_byte(body, byte);
    case STAGE_VALUE_LF: return fixed_byte(body, byte, '\n', STAGE_LINE, HTTP_FAULT_BARE_CR);
    default: return fixed_byte(body, byte, '\n', STAGE_DONE, HTTP_FAULT_BARE_CR);
    }
}

static enum http_fault_code
coding_byte(struct http_body *body, char byte)
{
    switch (body->stage) {
    case STAGE_SIZE: return size_byte(body, byte);
    case STAGE_EXTENSION: return extension_byte(body, byte);
    case STAGE_SIZE_LF: return size_end_byte(body, byte);
    case STAGE_PAYLOAD_CR:
        return fixed_byte(body, byte, '\r', STAGE_PAYLOAD_LF, HTTP_FAULT_CHUNK_END);
    case STAGE_PAYLOAD_LF: return fixed_byte(body, byte, '\n', STAGE_SIZE, HTTP_FAULT_CHUNK_END);
    default: return trailer_byte(body, byte);
    }
}

/* ---- runs of payload ---- */

/* The next at most left_bytes of `rest` are payload. */
static struct slice
take_run(struct http_body *body, struct slice rest)
{
    const uint64_t left = (uint64_t)body->left_bytes;
    const size_t run_len = left < rest.len ? (size_t)left : rest.len;
    body->left_bytes -= (int64_t)run_len;
    body->payload_bytes += (int64_t)run_len;
    return slice_of(rest.ptr, run_len);
}

static void
feed_chunked(struct http_body *body, struct slice in, size_t *consumed, struct slice *data)
{
    size_t at = 0;
    while (at < in.len && body->stage < STAGE_DONE) {
        if (body->stage == STAGE_PAYLOAD) {
            if (data->len > 0) {
                break; /* a second run is for the next call */
            }
            *data = take_run(body, slice_of(in.ptr + at, in.len - at));
            at += data->len;
            if (body->left_bytes == 0) {
                body->stage = STAGE_PAYLOAD_CR;
            }
            continue;
        }
        const enum http_fault_code fault = coding_byte(body, in.ptr[at]);
        if (fault != NO_FAULT) {
            spoil(body, fault);
            break;
        }
        at++;
    }
    *consumed = at;
}

static void
feed_length(struct http_body *body, struct slice in, size_t *consumed, struct slice *data)
{
    *data = take_run(body, in);
    *consumed = data->len;
    if (body->left_bytes == 0) {
        body->stage = STAGE_DONE;
    }
}

static void
feed_until_close(struct http_body *body, struct slice in, size_t *consumed, struct slice *data)
{
    body->left_bytes = body->bytes_max - body->payload_bytes; /* room */
    *data = take_run(body, in);
    *consumed = data->len;
    if (data->len < in.len) {
        spoil(body, HTTP_FAULT_BODY_TOO_LARGE);
    }
}

static enum http_result
result_of(const struct http_body *body, const struct http_fault **why)
{
    if (body->stage == STAGE_BAD) {
        *why = body->fault;
        return HTTP_BAD;
    }
    return body->stage == STAGE_DONE ? HTTP_DONE : HTTP_MORE;
}

enum http_result
http_body_feed(struct http_body *body, struct slice in, size_t *consumed, struct slice *data,
    const struct http_fault **why)
{
    *consumed = 0;
    *data = (struct slice){ 0 };
    if (body->stage < STAGE_DONE && in.len > 0) {
        if (body->kind == HTTP_BODY_CHUNKED) {
            feed_chunked(body, in, consumed, data);
        } else if (body->kind == HTTP_BODY_LENGTH) {
            feed_length(body, in, consumed, data);
        } else {
            feed_until_close(body, in, consumed, data);
        }
    }
    return result_of(body, why);
}

enum http_result
http_body_eof(struct http_body *body, const struct http_fault **why)
{
    if (body->stage < STAGE_DONE) {
        if (body->kind == HTTP_BODY_UNTIL_CLOSE) {
            body->stage = STAGE_DONE;
        } else {
            spoil(body, HTTP_FAULT_BODY_CUT);
        }
    }
    return result_of(body, why);
}
