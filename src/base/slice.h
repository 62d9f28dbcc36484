/* base/slice.h: a borrowed run of bytes. A slice never owns; it lives as long as what it points
 * into. */
#pragma once

#include <string.h>

#include "base/check.h"

struct slice {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })

static inline struct slice
slice_of(const char *ptr, size_t len)
{
    return (struct slice){ ptr, len };
}

static inline struct slice
slice_str(const char *text)
{
    return (struct slice){ text, text ? strlen(text) : 0 };
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive, for header names and tokens. */
bool slice_eq_nocase_bytes(const char *a, const char *b, size_t len);
static inline bool
slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len || a.len == 0) {
        return a.len == b.len;
    }
    /* Most are told apart by their first bytes; capitals have one bit less than small letters. */
    return ((a.ptr[0] ^ b.ptr[0]) & ~0x20) == 0 && slice_eq_nocase_bytes(a.ptr, b.ptr, a.len);
}
bool slice_starts(struct slice text, struct slice prefix);
bool slice_starts_nocase(struct slice text, struct slice prefix);
bool slice_ends(struct slice text, struct slice suffix);
/* Index of `part` in `text`, or -1. */
ptrdiff_t slice_find(struct slice text, struct slice part);
/* Whether the text is what the pattern says: a `*` at either end of that stands for any rest. */
bool slice_like(struct slice text, struct slice pattern);
/* Without spaces and tabs at both ends. */
struct slice slice_trim(struct slice text);
/* Takes the run before `separator` off the front of *rest; false when *rest is used up, so a final
 * separator opens no further part. */
bool slice_split(struct slice *rest, char separator, struct slice *part);

/* Takes `c` off the front of *text if it is there. */
bool slice_take_char(struct slice *text, char c);

/* Of a hexadecimal digit of either case; -1 = it is none. */
static inline int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Strict decimal: digits only (a leading '-' where negative is allowed), no sign '+', no spaces,
 * the whole slice, in range. False leaves *value alone. */
MUST_USE bool slice_to_i64(struct slice text, int64_t *value);
MUST_USE bool slice_to_u64(struct slice text, uint64_t *value);

/* Copies into a fixed array with a final NUL; false when it does not fit (then an empty string). */
bool slice_to_cstr(struct slice text, char *out, size_t out_size);
