/* base/buf.h: a growable byte buffer. Growth past `limit_bytes` or failed memory sets `failed`
 * (sticky), after which appends do nothing: check once at the end. What is appended must not lie in
 * the same buffer. A zeroed struct buf is an empty one. The owner calls buf_free. */
#pragma once

#include <stdarg.h>

#include "base/slice.h"

struct buf {
    char *ptr;
    size_t len, cap;
    size_t limit_bytes; /* 0 = BUF_LIMIT_DEFAULT */
    bool failed;
};

#define BUF_LIMIT_DEFAULT ((size_t)1 << 30)

void buf_free(struct buf *buf);
/* Keeps the memory, forgets the bytes and the failure. */
void buf_clear(struct buf *buf);
/* Makes room for `more` bytes beyond len; false when it cannot. */
bool buf_reserve(struct buf *buf, size_t more);
/* What buf_add does where there is no room yet. */
void buf_add_growing(struct buf *buf, const void *bytes, size_t len);

/* Inline, so that adding a literal is a few stores. */
static inline void
buf_add(struct buf *buf, const void *bytes, size_t len)
{
    if (buf->failed || len == 0) {
        return;
    }
    if (len > buf->cap - buf->len) {
        buf_add_growing(buf, bytes, len);
        return;
    }
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

static inline void
buf_add_slice(struct buf *buf, struct slice text)
{
    buf_add(buf, text.ptr, text.len);
}

static inline void
buf_add_str(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

static inline void
buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_add_i64(struct buf *buf, int64_t value);
/* Its decimal digits, without a NUL; returns how many. */
#define I64_TEXT_BYTES 20 /* 19 of the widest number and its sign */
size_t i64_text(int64_t value, char text[I64_TEXT_BYTES]);
void buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Adds `text` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void buf_add_json(struct buf *buf, struct slice text);
/* Drops `len` bytes from the front. */
void buf_consume(struct buf *buf, size_t len);
/* Adds a final NUL that is not counted in len; "" on failure. */
const char *buf_cstr(struct buf *buf);

static inline struct slice
buf_slice(const struct buf *buf)
{
    return (struct slice){ buf->ptr, buf->len };
}
