/* wire/json_text.c: values once they were found: paths, strings with escapes, whole numbers. */
#include "base/money.h"
#include "wire/json.h"

/* ---- paths ---- */

static bool
find_member(struct json_cursor *cursor, struct slice name)
{
    struct slice key;
    while (json_next_member(cursor, &key)) {
        if (json_key_is(key, name)) {
            return true;
        }
        json_skip(cursor);
    }
    return false;
}

static bool
find_item(struct json_cursor *cursor, struct slice index_text)
{
    uint64_t index = 0;
    if (!slice_to_u64(index_text, &index)) {
        return false;
    }
    while (json_next_item(cursor)) {
        if (index-- == 0) {
            return true;
        }
        json_skip(cursor);
    }
    return false;
}

bool
json_get(struct slice text, const char *path, struct json_value *value)
{
    struct json_cursor cursor;
    json_start(&cursor, text);
    struct slice rest = slice_str(path);
    struct slice step;
    while (slice_split(&rest, '.', &step)) {
        if (json_enter(&cursor, '{')) {
            if (!find_member(&cursor, step)) {
                return false;
            }
        } else if (!json_enter(&cursor, '[') || !find_item(&cursor, step)) {
            return false;
        }
    }
    return json_take(&cursor, value);
}

/* ---- strings ---- */

static void
put_utf8(uint32_t point, char out[4], size_t *len)
{
    if (point < 0x80) {
        out[0] = (char)point;
        *len = 1;
    } else if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        *len = 2;
    } else if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        *len = 3;
    } else {
        out[0] = (char)(0xF0 | point >> 18);
        out[1] = (char)(0x80 | (point >> 12 & 0x3F));
        out[2] = (char)(0x80 | (point >> 6 & 0x3F));
        out[3] = (char)(0x80 | (point & 0x3F));
        *len = 4;
    }
}

/* Reads "XXXX" off an escape whose "\u" was taken; the cursor has checked the digits. */
static uint32_t
take_unit(struct slice *raw)
{
    uint32_t unit = 0;
    for (size_t i = 0; i < 4 && i < raw->len; i++) {
        const char c = raw->ptr[i];
        unit = unit << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    const size_t len = raw->len < 4 ? raw->len : 4;
    *raw = slice_of(raw->ptr + len, raw->len - len);
    return unit & 0xFFFF;
}

static uint32_t
take_code_point(struct slice *raw)
{
    const uint32_t unit = take_unit(raw);
    if (unit < 0xD800 || unit > 0xDFFF) {
        return unit;
    }
    if (unit < 0xDC00 && raw->len >= 6 && raw->ptr[0] == '\\' && raw->ptr[1] == 'u') {
        struct slice second = slice_of(raw->ptr + 2, raw->len - 2);
        const uint32_t low = take_unit(&second);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *raw = second;
            return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return 0xFFFD; /* half a pair stands for nothing */
}

/* The next decoded character of a string, as UTF-8 or as the byte it was; false at its end. */
static bool
take_char(struct slice *raw, char out[4], size_t *len)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (raw->len == 0) {
        return false;
    }
    *len = 1;
    out[0] = raw->ptr[0];
    if (raw->ptr[0] != '\\' || raw->len < 2) {
        *raw = slice_of(raw->ptr + 1, raw->len - 1);
        return true;
    }
    const char escape = raw->ptr[1];
    *raw = slice_of(raw->ptr + 2, raw->len - 2);
    if (escape == 'u') {
        put_utf8(take_code_point(raw), out, len);
        return true;
    }
    const char *letter = memchr(letters, escape, sizeof(letters) - 1);
    out[0] = letter ? meanings[letter - letters] : escape;
    return true;
}

static bool
has_escapes(struct slice raw)
{
    return raw.len > 0 && memchr(raw.ptr, '\\', raw.len) != NULL;
}

bool
json_unescape(struct slice raw, char *out, size_t out_size, size_t *len)
{
    *len = 0;
    if (!has_escapes(raw)) {
        if (raw.len > out_size) {
            return false;
        }
        if (raw.len > 0) {
            memcpy(out, raw.ptr, raw.len);
        }
        *len = raw.len;
        return true;
    }
    char bytes[4];
    size_t char_len = 0;
    while (take_char(&raw, bytes, &char_len)) {
        if (char_len > out_size - *len) {
            return false;
        }
        memcpy(out + *len, bytes, char_len);
        *len += char_len;
    }
    return true;
}

bool
json_to_cstr(struct json_value string, char *out, size_t out_size)
{
    check(out_size > 0);
    size_t len = 0;
    const bool fits =
        string.type == JSON_STRING && json_unescape(json_inside(string), out, out_size - 1, &len);
    out[fits ? len : 0] = '\0';
    return fits;
}

bool
json_same(struct slice raw_a, struct slice raw_b)
{
    if (!has_escapes(raw_a) && !has_escapes(raw_b)) {
        return slice_eq(raw_a, raw_b);
    }
    char a[4], b[4];
    size_t a_len = 0, b_len = 0, a_at = 0, b_at = 0;
    for (;;) { /* byte by byte: one side may have plain UTF-8 where the other has an escape */
        if (a_at == a_len) {
            a_at = 0;
            if (!take_char(&raw_a, a, &a_len)) {
                return b_at == b_len && raw_b.len == 0;
            }
        }
        if (b_at == b_len) {
            b_at = 0;
            if (!take_char(&raw_b, b, &b_len)) {
                return false;
            }
        }
        if (a[a_at++] != b[b_at++]) {
            return false;
        }
    }
}

uint32_t
json_hash(struct slice raw)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a, over what the text stands for */
    if (!has_escapes(raw)) {
        for (size_t i = 0; i < raw.len; i++) {
            hash = (hash ^ (unsigned char)raw.ptr[i]) * UINT32_C(16777619);
        }
        return hash;
    }
    char bytes[4];
    size_t len = 0;
    while (take_char(&raw, bytes, &len)) {
        for (size_t i = 0; i < len; i++) {
            hash = (hash ^ (unsigned char)bytes[i]) * UINT32_C(16777619);
        }
    }
    return hash;
}

bool
json_escaped_key_is(struct slice raw, struct slice plain)
{
    if (!has_escapes(raw)) {
        return false; /* as long as it is written, and that is longer */
    }
    char bytes[4];
    size_t len = 0;
    while (take_char(&raw, bytes, &len)) {
        if (plain.len < len || memcmp(plain.ptr, bytes, len) != 0) {
            return false;
        }
        plain = slice_of(plain.ptr + len, plain.len - len);
    }
    return plain.len == 0;
}

struct slice
json_inside(struct json_value value)
{
    if (value.type != JSON_STRING || value.text.len < 2) {
        return slice_of(NULL, 0);
    }
    return slice_of(value.text.ptr + 1, value.text.len - 2);
}

bool
json_says(struct json_value value, struct slice plain)
{
    return value.type == JSON_STRING && json_key_is(json_inside(value), plain);
}

size_t
json_utf8_bytes(struct slice raw)
{
    if (!has_escapes(raw)) {
        return raw.len;
    }
    size_t bytes = raw.len;
    const char *end = raw.ptr + raw.len;
    const char *at = memchr(raw.ptr, '\\', raw.len);
    while (at && end - at >= 2) {
        struct slice rest = slice_of(at, (size_t)(end - at));
        char out[4];
        size_t len = 0;
        (void)take_char(&rest, out, &len);
        bytes -= (size_t)(rest.ptr - at) - len;
        at = rest.len > 0 ? memchr(rest.ptr, '\\', rest.len) : NULL;
    }
    return bytes;
}

/* ---- numbers ---- */

bool
json_to_i64(struct json_value value, int64_t min, int64_t max, int64_t *number)
{
    int64_t up = 0, down = 0;
    if (value.type == JSON_NUMBER
        && slice_to_i64(value.text, &up)) { /* as nearly all are written */
        *number = up >= min && up <= max ? up : *number;
        return up >= min && up <= max;
    }
    if (value.type != JSON_NUMBER || !money_parse_scaled(value.text, 0, MONEY_UP, &up)
        || !money_parse_scaled(value.text, 0, MONEY_DOWN, &down)) {
        return false;
    }
    if (up != down || up < min || up > max) {
        return false; /* not whole, or out of range */
    }
    *number = up;
    return true;
}

int64_t
json_get_i64(struct slice text, const char *path, int64_t absent)
{
    struct json_value value;
    int64_t number = 0;
    return json_get(text, path, &value) && json_to_i64(value, INT64_MIN, INT64_MAX, &number)
               ? number
               : absent;
}
