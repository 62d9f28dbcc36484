/* base/buf.c: bytes that grow, and JSON strings written into them. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

#define BUF_FIRST_BYTES ((size_t)256)

void
buf_free(struct buf *buf)
{
    free(buf->ptr);
    buf->ptr = NULL;
    buf->len = buf->cap = 0;
    buf->failed = false;
}

void
buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

/* Memory is always one byte larger than cap, so that a final NUL never needs to grow. */
static bool
grow(struct buf *buf, size_t need)
{
    const size_t limit = buf->limit_bytes ? buf->limit_bytes : BUF_LIMIT_DEFAULT;
    if (need > limit || need == SIZE_MAX) {
        return false;
    }
    size_t cap = buf->cap ? buf->cap : BUF_FIRST_BYTES;
    while (cap < need) {
        cap = cap > limit / 2 ? limit : cap * 2;
    }
    if (cap > limit) {
        cap = limit;
    }
    char *ptr = realloc(buf->ptr, cap + 1);
    if (!ptr) {
        return false;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return true;
}

bool
buf_reserve(struct buf *buf, size_t more)
{
    if (buf->failed) {
        return false;
    }
    if (more <= buf->cap - buf->len) {
        return true;
    }
    size_t need = 0;
    if (__builtin_add_overflow(buf->len, more, &need) || !grow(buf, need)) {
        buf->failed = true;
        return false;
    }
    return true;
}

void
buf_add_growing(struct buf *buf, const void *bytes, size_t len)
{
    if (!buf_reserve(buf, len)) {
        return;
    }
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

static const char digit_pairs[] = "0001020304050607080910111213141516171819"
                                  "2021222324252627282930313233343536373839"
                                  "4041424344454647484950515253545556575859"
                                  "6061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

static size_t
digit_count(uint64_t value)
{
    static const uint64_t powers[] = { 0, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
        100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
        100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
        1000000000000000000, UINT64_C(10000000000000000000) };
    const unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    const size_t under = bits * 1233 >> 12; /* log10(2) of them: its digits, or one too few */
    return under + (value >= powers[under]);
}

/* Digits of a number below 10^8, leading zeros and all. */
static void
put_8_digits(char *at, uint32_t value)
{
    const uint32_t high = value / 10000;
    const uint32_t low = value % 10000;
    memcpy(at, digit_pairs + 2 * (high / 100), 2);
    memcpy(at + 2, digit_pairs + 2 * (high % 100), 2);
    memcpy(at + 4, digit_pairs + 2 * (low / 100), 2);
    memcpy(at + 6, digit_pairs + 2 * (low % 100), 2);
}

size_t
i64_text(int64_t value, char text[I64_TEXT_BYTES])
{
    const bool negative = value < 0;
    uint64_t left = negative ? 0 - (uint64_t)value : (uint64_t)value;
    const size_t len = digit_count(left) + negative;
    char *at = text + len;
    text[0] = '-'; /* of a positive number the first digit follows */
    while (left >= 100000000) {
        at -= 8;
        put_8_digits(at, (uint32_t)(left % 100000000));
        left /= 100000000;
    }
    uint32_t rest = (uint32_t)left;
    while (rest >= 10) {
        at -= 2;
        memcpy(at, digit_pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (at > text + negative) {
        *--at = (char)('0' + rest);
    }
    return len;
}

void
buf_add_i64(struct buf *buf, int64_t value)
{
    if (!buf->failed && buf->cap - buf->len >= I64_TEXT_BYTES) {
        buf->len += i64_text(value, buf->ptr + buf->len);
        return;
    }
    char digits[I64_TEXT_BYTES];
    const size_t len = i64_text(value, digits);
    buf_add(buf, digits, len);
}

void
buf_addf(struct buf *buf, const char *format, ...)
{
    if (buf->failed) {
        return;
    }
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    const size_t room = buf->ptr ? buf->cap - buf->len + 1 : 0; /* with the byte kept for a NUL */
    const int len = vsnprintf(buf->ptr ? buf->ptr + buf->len : NULL, room, format, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
    } else if ((size_t)len < room) {
        buf->len += (size_t)len;
    } else if (buf_reserve(buf, (size_t)len)) {
        /* The text is the same as before; a length of 0 needs memory too when there was none. */
        if (buf->ptr) {
            (void)vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, again);
            buf->len += (size_t)len;
        }
    }
    va_end(again);
}

static void
add_json_escape(struct buf *buf, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = { '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] };
    size_t len = 2;
    switch (byte) {
    case '"':
    case '\\': escape[1] = (char)byte; break;
    case '\b': escape[1] = 'b'; break;
    case '\f': escape[1] = 'f'; break;
    case '\n': escape[1] = 'n'; break;
    case '\r': escape[1] = 'r'; break;
    case '\t': escape[1] = 't'; break;
    default: len = sizeof(escape);
    }
    buf_add(buf, escape, len);
}

void
buf_add_json(struct buf *buf, struct slice text)
{
    buf_add_char(buf, '"');
    size_t plain_start = 0; /* what has been looked at and needs no change, not yet added */
    size_t at = 0;
    while (at < text.len) {
        const unsigned char byte = (unsigned char)text.ptr[at];
        size_t run = 1;
        bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
        if (byte >= 0x80) {
            run = utf8_run(slice_of(text.ptr + at, text.len - at), &plain);
        }
        if (!plain) {
            buf_add(buf, text.ptr + plain_start, at - plain_start);
            if (byte >= 0x80) {
                buf_add_str(buf, UTF8_REPLACEMENT);
            } else {
                add_json_escape(buf, byte);
            }
            plain_start = at + run;
        }
        at += run;
    }
    if (at > plain_start) {
        buf_add(buf, text.ptr + plain_start, at - plain_start);
    }
    buf_add_char(buf, '"');
}

void
buf_consume(struct buf *buf, size_t len)
{
    check(len <= buf->len);
    if (len == 0) {
        return;
    }
    buf->len -= len;
    memmove(buf->ptr, buf->ptr + len, buf->len);
}

const char *
buf_cstr(struct buf *buf)
{
    if (buf->failed || !buf->ptr) {
        return "";
    }
    buf->ptr[buf->len] = '\0';
    return buf->ptr;
}
