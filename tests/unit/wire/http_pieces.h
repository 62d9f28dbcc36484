/* tests/unit/wire/http_pieces.h: messages fed to the codec in every way they can be cut in two,
 * byte by byte and whole. Each piece arrives in memory of exactly its size, at a new address, so
 * that a sanitizer sees a read past the end or into an earlier buffer. */
#pragma once

#include "unit.h"

#include "base/buf.h"
#include "wire/http.h"

/* A way of cutting `total` bytes: 0 is whole, k in 1..total-1 cuts behind k bytes, `total` is byte
 * by byte. Answers how many bytes are there after the next arrival. */
size_t pieces_next(size_t plan, size_t have, size_t total);

/* Who speaks, and for an answer, what it answers. */
struct speaker {
    bool is_request;
    enum http_method asked;
    struct http_limits limits;
};

/* Small, so that bounds are reached within a screen: head 512, target 64, 8 headers. */
struct speaker speaker_client(void);
struct speaker speaker_upstream(enum http_method asked);

/* Reads a head cut by `plan` and appends what came of it to `out` as text:
 *     "bad NAME", "more", or for a head that is complete
 *     "POST /path?query 1.1 host=h body=length:5 keep expect upgrade |[name: value][name: value]"
 *     "200 reason 1.1 body=close |[name: value]". Answers head_bytes, or 0. */
size_t pieces_read_head(
    struct slice bytes, const struct speaker *speaker, size_t plan, struct buf *out);

/* Reads `bytes` in all ways of cutting them; each must give `expected`, the text before " |". A
 * head that is accepted must also end where it ends when other bytes follow. */
void pieces_expect_head(
    const char *name, struct slice bytes, const struct speaker *speaker, const char *expected);

/* Reads a body cut by `plan`, after a head of the given kind: "payload:", what it was, and then "
 * done", " more" or " bad NAME". Answers the bytes consumed. `eof` ends the input behind the
 * bytes. */
size_t pieces_read_body(
    struct slice bytes, const struct http_head *head, int64_t bytes_max, bool eof, size_t plan,
    struct buf *out);
