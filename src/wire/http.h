/* wire/http.h: HTTP/1.1 as bytes: reading heads and bodies, strictly, and writing them.
 *
 * Pure: it allocates nothing and copies nothing; what it yields are slices of the caller's buffer.
 * One message is read like this, with the same code for a client's request and an upstream's
 * answer:
 *
 *     struct http_parse_state state = { 0 };
 *     while (http_parse_request(all bytes since the message began, &limits, &state, &head, &why)
 *            == HTTP_MORE) { read more into the buffer; }
 *     http_body_start(&body, &head, bytes_max), then http_body_feed() with what follows
 *     head.head_bytes, until HTTP_DONE; the next message begins at the first byte it left.
 *
 * Every rule holds for both directions unless it says otherwise, and a verdict never depends on how
 * the bytes were split. Refused is whatever two parsers could read differently: the rows of
 * tbl/http_faults.h. Sources: RFC 9110, RFC 9112, and where they leave a choice, the stricter
 * one. */
#pragma once

#include "base/buf.h"
#include "base/slice.h"
#include "tbl/http_faults.h"

enum http_result {
    HTTP_MORE, /* fine so far: feed more bytes */
    HTTP_DONE, /* complete */
    HTTP_BAD,  /* refused for good: answer, then close the connection; *why says what with */
};

enum http_fault_code {
#define HTTP_FAULT_CODE(code, status, name, sentence) HTTP_FAULT_##code,
    HTTP_FAULTS(HTTP_FAULT_CODE)
#undef HTTP_FAULT_CODE
    HTTP_FAULT_COUNT
};

/* A row of tbl/http_faults.h; static storage. */
struct http_fault {
    enum http_fault_code code;
    int status;           /* for a request; a bad answer of an upstream is always a 502 */
    const char *name;     /* for logs and metrics */
    const char *sentence; /* for a person */
};

const struct http_fault *http_fault(enum http_fault_code code);

/* The methods with a value of their own, written once. */
#define HTTP_METHODS(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS)

enum http_method {
    HTTP_METHOD_OTHER, /* well-formed, but none of the list; its name is head.method_text */
#define HTTP_METHOD_VALUE(name) HTTP_METHOD_##name,
    HTTP_METHODS(HTTP_METHOD_VALUE)
#undef HTTP_METHOD_VALUE
};

/* How the end of the body is known. */
enum http_body_kind {
    HTTP_BODY_NONE,        /* there is none: the message ends with its head */
    HTTP_BODY_LENGTH,      /* content_length bytes, maybe 0 */
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE, /* answers only */
};

#define HTTP_HEADERS_MAX 100        /* room in struct http_head; http_limits may ask for less */
#define HTTP_METHOD_BYTES_MAX 32    /* longer is 501 */
#define HTTP_CHUNK_BYTES_MAX (INT64_C(1) << 60)
#define HTTP_EXTENSION_BYTES_MAX 256 /* of one chunk of an answer; requests may have none */
#define HTTP_TRAILER_BYTES_MAX 4096  /* all trailer lines of one body */

struct http_limits {
    size_t head_bytes_max;   /* start line, header lines, CR LFs: all of it; beyond: 431 */
    size_t target_bytes_max; /* beyond: 414; unused for answers */
    uint32_t headers_max;    /* header lines; beyond: 431; at most HTTP_HEADERS_MAX counts */
};

struct http_header {
    struct slice name;  /* as sent: compare with slice_eq_nocase */
    struct slice value; /* without white space at its ends; no control bytes but HTAB */
};

/* A head that was read. Filled only when the parse is HTTP_DONE; its slices point into the bytes
 * given to that last call (or to static storage) and move with nobody: read them before the buffer
 * changes. Over 3 KB: keep one per loop, not one per connection. */
struct http_head {
    bool is_request;
    uint8_t version_minor; /* 0 or 1 */

    /* Request. Of an absolute-form target the path may be missing: `path` is then "/". */
    enum http_method method;
    struct slice method_text;
    struct slice target; /* whole, as sent */
    struct slice path;   /* begins with '/', or is "*" of OPTIONS; neither decoded nor normalised */
    struct slice query;  /* what follows the '?', without it; empty when there is none */
    struct slice host;   /* value of Host, checked; empty only in HTTP/1.0 */

    /* Answer. */
    int status;          /* 100 to 599, never 101 */
    struct slice reason; /* may be empty */

    enum http_body_kind body_kind;
    int64_t content_length; /* of HTTP_BODY_LENGTH; else 0 */
    bool keep_alive;        /* the sender lets the connection live on after this message */
    bool expect_continue;   /* it waits for "100 Continue" and has a body to send */
    bool upgrade;           /* an HTTP/1.1 request with Upgrade and its Connection token */

    size_t head_bytes; /* what the head took of the bytes, up to and with its empty line */
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

/* Where a head that came in pieces was left. Offsets only, so the buffer may move between calls.
 * All zero before each message; not to be read by others. */
struct http_parse_state {
    size_t line_offset; /* of the first line not complete yet */
    size_t scan_offset; /* every byte before it has been looked at */
    uint32_t line_count; /* complete lines so far, without an empty one in front */
};

/* Reads a request head. `bytes` begins at the message's first byte in every call and only gets
 * longer. Work is linear in the head, however it is split. HTTP_BAD sets *why, as soon as the
 * offending line is there. One empty line in front is skipped (RFC 9112, 2.2). Rules of the target:
 * origin-form, "*" with OPTIONS, or http(s)://authority/path with the same authority in Host. */
MUST_USE enum http_result http_parse_request(struct slice bytes, const struct http_limits *limits,
    struct http_parse_state *state, struct http_head *out, const struct http_fault **why);

/* Reads the head of an answer to a request with method `asked` (HEAD has no body; nor have 1xx, 204
 * and 304). An interim answer (1xx) is HTTP_DONE too: the final one follows, with a new state. */
MUST_USE enum http_result http_parse_response(struct slice bytes, const struct http_limits *limits,
    struct http_parse_state *state, enum http_method asked, struct http_head *out,
    const struct http_fault **why);

/* The first header of that name, or NULL; then the next one after `previous`, or NULL. */
const struct http_header *http_find(const struct http_head *head, struct slice name);
const struct http_header *http_find_next(const struct http_head *head, struct slice name,
    const struct http_header *previous);
/* Takes the next element off a comma list, trimmed; empty ones are skipped; false at the end.
 * Splits at every comma: right for lists of tokens (Connection, Upgrade), wrong for quoted
 * strings. */
bool http_next_token(struct slice *rest, struct slice *token);
/* Whether any header of that name lists the token, compared without case. */
bool http_has_token(const struct http_head *head, struct slice name, struct slice token);

enum http_method http_method_of(struct slice method);

/* ---- bodies ---- */

/* A body being read: small, with nothing to free. Its fields are the codec's. */
struct http_body {
    enum http_body_kind kind;
    uint8_t stage;
    bool is_request;
    uint32_t digit_count;  /* of the chunk size being read */
    uint32_t extra_bytes;  /* of this chunk's extension, or of the trailers */
    int64_t left_bytes;    /* of the body (length) or of this chunk */
    int64_t payload_bytes; /* yielded so far; others may read it */
    int64_t bytes_max;
    const struct http_fault *fault; /* once it is refused */
};

#define HTTP_BODY_UNBOUNDED INT64_MAX

/* The body that `head` announces. A payload over `bytes_max` (HTTP_BODY_UNBOUNDED: none is) is
 * refused: by the first feed where the length says so, else before the chunk that passes it. */
void http_body_start(struct http_body *body, const struct http_head *head, int64_t bytes_max);

/* Feeds bytes that follow the head. Sets *consumed, and *data to the run of payload found, a slice
 * of `in`, or to an empty slice. Take *data first, then act on the result:
 *     HTTP_MORE: feed the bytes after *consumed; when all are consumed, wait for more;
 *     HTTP_DONE: the body is complete; bytes after *consumed belong to the next message;
 *     HTTP_BAD:  refused, *why says why; *data is good payload that came before.
 * With an empty `in` it tells whether a body is complete as it is: call it so once after the start.
 * Trailers are checked, bounded and dropped. Chunk extensions are refused in requests, and bounded
 * and dropped in answers. */
MUST_USE enum http_result http_body_feed(struct http_body *body, struct slice in, size_t *consumed,
    struct slice *data, const struct http_fault **why);

/* The sender ended its side: HTTP_DONE where the body was complete or ends by that; else
 * HTTP_BAD. */
MUST_USE enum http_result http_body_eof(struct http_body *body, const struct http_fault **why);

/* ---- writing ---- */

/* Each adds to `out` and answers true, or adds nothing and answers false where a part would break
 * the head apart: a CR, LF, NUL or other control byte, a name that is no token, a space in a
 * target, a status outside 100 to 599. Memory failures are the buffer's: look at out->failed once
 * at the end. */
MUST_USE bool http_write_request_line(struct buf *out, struct slice method, struct slice target);
/* An empty reason takes the phrase of tbl/http_statuses.h, or stays empty for a status not in
 * there. */
MUST_USE bool http_write_status_line(struct buf *out, int status, struct slice reason);
MUST_USE bool http_write_header(struct buf *out, struct slice name, struct slice value);
MUST_USE bool http_write_header_i64(struct buf *out, struct slice name, int64_t value);
void http_write_end(struct buf *out);

#define HTTP_CHUNK_HEAD_BYTES_MAX 20
#define HTTP_CHUNK_END "\r\n"
#define HTTP_LAST_CHUNK "0\r\n\r\n" /* without trailers */

/* Writes the size line of a chunk of `size` bytes and returns its length. 0 bytes give 0: an empty
 * chunk would end the body, so nothing may be sent for it. HTTP_CHUNK_END follows the payload. */
size_t http_write_chunk_head(uint64_t size, char out[HTTP_CHUNK_HEAD_BYTES_MAX]);

/* "OK", "Too Many Requests", ...; "" where tbl/http_statuses.h has none. */
const char *http_reason(int status);
