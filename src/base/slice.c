/* base/slice.c: comparing, cutting and reading runs of bytes. */
#include "base/slice.h"

#define SAFE_DIGITS 19 /* as many never pass 64 bits */

static unsigned char
ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Eight bytes, with small letters for capitals. */
static uint64_t
eight_lower(const char *eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word = 0;
    memcpy(&word, eight, sizeof(word));
    /* In the highest bit of each byte: at least 'A', beyond 'Z', and no ASCII. */
    const uint64_t low_bits = word & ones * 0x7f;
    const uint64_t from_a = low_bits + ones * (0x80 - 'A');
    const uint64_t beyond_z = low_bits + ones * (0x7f - 'Z');
    const uint64_t capitals = (from_a ^ beyond_z) & ~word & ones * 0x80;
    return word | capitals >> 2; /* 0x20, what a small letter has more */
}

bool
slice_eq_nocase_bytes(const char *a, const char *b, size_t len)
{
    if (len < 8) {
        for (size_t i = 0; i < len; i++) {
            if (ascii_lower(a[i]) != ascii_lower(b[i])) {
                return false;
            }
        }
        return true;
    }
    for (size_t i = 0; i + 8 < len; i += 8) {
        if (eight_lower(a + i) != eight_lower(b + i)) {
            return false;
        }
    }
    return eight_lower(a + len - 8) == eight_lower(b + len - 8);
}

bool
slice_starts(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_eq(slice_of(text.ptr, prefix.len), prefix);
}

bool
slice_starts_nocase(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_eq_nocase(slice_of(text.ptr, prefix.len), prefix);
}

bool
slice_ends(struct slice text, struct slice suffix)
{
    if (suffix.len == 0) {
        return true;
    }
    return text.len >= suffix.len
           && memcmp(text.ptr + (text.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

ptrdiff_t
slice_find(struct slice text, struct slice part)
{
    if (part.len == 0) {
        return 0;
    }
    if (text.len < part.len) {
        return -1;
    }
    const char *found = memmem(text.ptr, text.len, part.ptr, part.len);
    return found ? found - text.ptr : -1;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool
slice_like(struct slice text, struct slice pattern)
{
    const bool open_begin = slice_starts(pattern, SLICE("*"));
    if (open_begin) {
        pattern = slice_of(pattern.ptr + 1, pattern.len - 1);
    }
    const bool open_end = slice_ends(pattern, SLICE("*"));
    pattern.len -= open_end;
    if (open_begin && open_end) {
        return slice_find(text, pattern) >= 0;
    }
    return open_begin ? slice_ends(text, pattern)
           : open_end ? slice_starts(text, pattern)
                      : slice_eq(text, pattern);
}

struct slice
slice_trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

bool
slice_split(struct slice *rest, char separator, struct slice *part)
{
    if (rest->len == 0) {
        return false;
    }
    const char *end = memchr(rest->ptr, separator, rest->len);
    if (!end) {
        *part = *rest;
        *rest = slice_of(rest->ptr + rest->len, 0);
        return true;
    }
    const size_t part_len = (size_t)(end - rest->ptr);
    *part = slice_of(rest->ptr, part_len);
    *rest = slice_of(end + 1, rest->len - part_len - 1);
    return true;
}

bool
slice_take_char(struct slice *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c) {
        return false;
    }
    *text = slice_of(text->ptr + 1, text->len - 1);
    return true;
}

bool
slice_to_u64(struct slice text, uint64_t *value)
{
    if (text.len == 0) {
        return false;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        if (i < SAFE_DIGITS) {
            sum = sum * 10 + (uint64_t)(c - '0');
        } else if (__builtin_mul_overflow(sum, UINT64_C(10), &sum)
                   || __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum)) {
            return false;
        }
    }
    *value = sum;
    return true;
}

bool
slice_to_i64(struct slice text, int64_t *value)
{
    const bool negative = text.len > 0 && text.ptr[0] == '-';
    if (negative) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    uint64_t magnitude = 0;
    if (!slice_to_u64(text, &magnitude)) {
        return false;
    }
    if (!negative) {
        if (magnitude > INT64_MAX) {
            return false;
        }
        *value = (int64_t)magnitude;
        return true;
    }
    if (magnitude > (uint64_t)INT64_MAX + 1) {
        return false;
    }
    /* Negated below INT64_MAX first: -INT64_MIN itself does not exist. */
    *value = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
    return true;
}

bool
slice_to_cstr(struct slice text, char *out, size_t out_size)
{
    check(out_size > 0);
    if (text.len >= out_size) {
        out[0] = '\0';
        return false;
    }
    if (text.len > 0) {
        memcpy(out, text.ptr, text.len);
    }
    out[text.len] = '\0';
    return true;
}
