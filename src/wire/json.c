/* wire/json.c: the cursor of json.h: strict checks while passing over values. */
#include "wire/json.h"

#include "base/money.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static bool
fail(struct json_cursor *cursor, const char *fault)
{
    if (!cursor->fault) {
        cursor->fault = fault;
    }
    return false;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void
pass_blanks(struct json_cursor *cursor)
{
    const char *at = cursor->at;
    if (at == cursor->end || (unsigned char)*at > ' ') {
        return;
    }
    while (at < cursor->end && is_blank(*at)) {
        at++;
    }
    cursor->blank_bytes += (size_t)(at - cursor->at);
    cursor->at = at;
}

/* ---- strings ---- */

#if defined(__SSE2__)
#define BLOCK_BYTES 64

/* A bit for each quote, backslash or control byte of 16 bytes. */
static int
specials(const char *at)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    const __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), controls));
}

/* Of 64 bytes, a bit each, the first lowest. */
struct block {
    uint64_t quotes, slashes;
    uint64_t common;  /* what mostly follows a backslash */
    bool has_control; /* which is rare enough to be looked for anew */
};

static struct block
block_load(const char *at)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i line = _mm_set1_epi8('n');
    const __m128i control_max = _mm_set1_epi8(0x1f);
    __m128i least = _mm_set1_epi8((char)0xff);
    struct block block = { 0 };
    for (int i = 0; i < BLOCK_BYTES; i += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        const __m128i quotes = _mm_cmpeq_epi8(bytes, quote);
        const __m128i slashes = _mm_cmpeq_epi8(bytes, slash);
        const __m128i lines = _mm_cmpeq_epi8(bytes, line);
        least = _mm_min_epu8(least, bytes);
        block.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(quotes) << i;
        block.slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(slashes) << i;
        block.common |= (uint64_t)(unsigned)_mm_movemask_epi8(lines) << i;
    }
    block.common |= block.quotes | block.slashes;
    block.has_control =
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(least, control_max), least)) != 0;
    return block;
}

/* Those of a block's backslashes that begin an escape: of neighbours every second does not. */
static uint64_t
block_escapes(uint64_t slashes)
{
    if ((slashes & slashes << 1) == 0) {
        return slashes;
    }
    uint64_t escapes = 0;
    while (slashes != 0) {
        const uint64_t lowest = slashes & (0 - slashes);
        escapes |= lowest;
        slashes &= ~(lowest | lowest << 1);
    }
    return escapes;
}

/* Without an instruction that not every machine has. */
static size_t
count_bits(uint64_t bits)
{
    bits -= bits >> 1 & UINT64_C(0x5555555555555555);
    bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
    bits = (bits + (bits >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (size_t)(bits * UINT64_C(0x0101010101010101) >> 56);
}

/* As pass_plain, in whole blocks: agents send code, with an escape or two in each line, and a branch for
 * each would be guessed wrong each time. */
static const char *
pass_blocks(const char *at, const char *end, size_t *saved)
{
    while (end - at >= BLOCK_BYTES) {
        const struct block block = block_load(at);
        if (block.has_control) {
            return at;
        }
        const uint64_t escapes = block_escapes(block.slashes);
        const uint64_t last = escapes >> (BLOCK_BYTES - 1); /* its letter is in the next block */
        const uint64_t letters = escapes << 1;
        const uint64_t rare = (letters & ~block.common) >> 1;
        const uint64_t stops = (block.quotes & ~letters) | rare;
        if (stops != 0) {
            const int stop = __builtin_ctzll(stops);
            *saved += count_bits(escapes & ((UINT64_C(1) << stop) - 1));
            return at + stop;
        }
        *saved += count_bits(escapes) - (size_t)last;
        at += BLOCK_BYTES - (ptrdiff_t)last;
    }
    return at;
}
#endif

/* The first byte at or after `at` that ends a plain run: a quote, a backslash or a control byte. Common
 * escapes may be passed with it, each adding to *saved the byte that it takes beyond its UTF-8. */
static const char *
pass_plain(const char *at, const char *end, size_t *saved)
{
#if defined(__SSE2__)
    if (end - at >= 16) {
        const int found = specials(at);
        if (found != 0) { /* keys and most values are short */
            return at + __builtin_ctz((unsigned)found);
        }
        at = pass_blocks(at + 16, end, saved);
    }
    while (end - at >= 16) {
        const int found = specials(at);
        if (found != 0) {
            return at + __builtin_ctz((unsigned)found);
        }
        at += 16;
    }
#else
    (void)saved;
#endif
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        at++;
    }
    return at;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The code unit of four hex digits, or -1. */
static int
code_unit(const char *digits, const char *end)
{
    if (end - digits < 4) {
        return -1;
    }
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(digits[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

/* UTF-8 bytes of one \uXXXX taken alone: at least what it adds as half of a pair. */
static size_t
unit_utf8_bytes(int unit)
{
    if (unit < 0x80) {
        return 1;
    }
    return unit < 0x800 ? 2 : 3;
}

/* The length of the escape whose backslash is at `at`, or 0; *saved is what it takes beyond its
 * UTF-8. */
static size_t
escape_len(const char *at, const char *end, size_t *saved)
{
    if (end - at < 2) {
        return 0;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': *saved = 1; return 2;
    case 'u': {
        const int unit = code_unit(at + 2, end);
        if (unit < 0) {
            return 0;
        }
        *saved = 6 - unit_utf8_bytes(unit);
        return 6;
    }
    default: return 0;
    }
}

/* Passes a string whose opening quote is at the cursor; *inside is what lies between the quotes. */
static bool
pass_string(struct json_cursor *cursor, struct slice *inside)
{
    const char *begun = cursor->at + 1;
    const char *at = begun;
    for (;;) {
        at = pass_plain(at, cursor->end, &cursor->escaped_bytes);
        if (at == cursor->end) {
            cursor->at = at;
            return fail(cursor, "a string does not end");
        }
        if (*at == '"') {
            *inside = slice_of(begun, (size_t)(at - begun));
            cursor->at = at + 1;
            return true;
        }
        size_t saved = 0;
        const size_t len = *at == '\\' ? escape_len(at, cursor->end, &saved) : 0;
        if (len == 0) {
            cursor->at = at;
            return fail(cursor, *at == '\\' ? "an escape in a string is not one of JSON's"
                                            : "a string has a bare control character");
        }
        cursor->escaped_bytes += saved;
        at += len;
    }
}

/* ---- numbers and words ---- */

static const char *
pass_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static bool
pass_number(struct json_cursor *cursor)
{
    const char *end = cursor->end;
    const char *at = cursor->at + (*cursor->at == '-');
    const char *digits = at;
    at = pass_digits(at, end);
    bool good = at > digits && (*digits != '0' || at - digits == 1);
    if (good && at < end && *at == '.') {
        digits = ++at;
        at = pass_digits(at, end);
        good = at > digits;
    }
    if (good && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) {
            at++;
        }
        digits = at;
        at = pass_digits(at, end);
        good = at > digits;
    }
    cursor->at = at;
    return good || fail(cursor, "a number is malformed");
}

static bool
pass_word(struct json_cursor *cursor, struct slice word)
{
    if ((size_t)(cursor->end - cursor->at) < word.len
        || memcmp(cursor->at, word.ptr, word.len) != 0) {
        return fail(cursor, "a value is none of JSON's");
    }
    cursor->at += word.len;
    return true;
}

/* ---- the cursor ---- */

void
json_start(struct json_cursor *cursor, struct slice text)
{
    *cursor = (struct json_cursor){ 0 };
    cursor->start = cursor->at = text.ptr ? text.ptr : "";
    cursor->end = cursor->start + text.len;
    pass_blanks(cursor);
}

enum json_type
json_peek(const struct json_cursor *cursor)
{
    if (cursor->fault || cursor->at == cursor->end) {
        return JSON_NOTHING;
    }
    switch (*cursor->at) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    default:
        return *cursor->at == '-' || (*cursor->at >= '0' && *cursor->at <= '9') ? JSON_NUMBER
                                                                                : JSON_NOTHING;
    }
}

bool
json_enter(struct json_cursor *cursor, char opening)
{
    check(opening == '{' || opening == '[');
    if (cursor->fault || cursor->at == cursor->end || *cursor->at != opening) {
        return false;
    }
    if (cursor->depth == JSON_DEPTH_MAX) {
        return fail(cursor, "it is nested too deeply");
    }
    cursor->depth++;
    cursor->fresh = true;
    cursor->at++;
    pass_blanks(cursor);
    return true;
}

/* Passes what stands between values of a container: false at its end, which it leaves, or a
 * fault. */
static bool
pass_to_next(struct json_cursor *cursor, char closing)
{
    if (cursor->fault) {
        return false;
    }
    if (cursor->at == cursor->end) {
        return fail(cursor, "it breaks off");
    }
    if (*cursor->at == closing) {
        cursor->at++;
        cursor->depth--;
        cursor->fresh = false;
        pass_blanks(cursor);
        return false;
    }
    if (!cursor->fresh) {
        if (*cursor->at != ',') {
            return fail(cursor, "a comma or a closing bracket is missing");
        }
        cursor->at++;
        pass_blanks(cursor);
    }
    cursor->fresh = false;
    return true;
}

static bool
pass_key(struct json_cursor *cursor, struct slice *key)
{
    if (cursor->at == cursor->end || *cursor->at != '"') {
        return fail(cursor, "a key is missing");
    }
    if (!pass_string(cursor, key)) {
        return false;
    }
    pass_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != ':') {
        return fail(cursor, "a colon is missing");
    }
    cursor->at++;
    pass_blanks(cursor);
    return true;
}

bool
json_next_member(struct json_cursor *cursor, struct slice *key)
{
    return pass_to_next(cursor, '}') && pass_key(cursor, key);
}

bool
json_next_item(struct json_cursor *cursor)
{
    return pass_to_next(cursor, ']');
}

static bool
pass_scalar(struct json_cursor *cursor)
{
    struct slice inside;
    switch (json_peek(cursor)) {
    case JSON_STRING: return pass_string(cursor, &inside);
    case JSON_NUMBER: return pass_number(cursor);
    case JSON_TRUE: return pass_word(cursor, SLICE("true"));
    case JSON_FALSE: return pass_word(cursor, SLICE("false"));
    case JSON_NULL: return pass_word(cursor, SLICE("null"));
    default:
        return fail(cursor, cursor->at == cursor->end ? "it breaks off" : "a value is missing");
    }
}

/* Passes what follows the opening bracket of a container, with all that is inside it. Which of the
 * containers around are objects is a bit each, so no depth of the input costs stack. */
static bool
pass_container(struct json_cursor *cursor, bool object)
{
    uint64_t objects[JSON_DEPTH_MAX / 64 + 1] = { 0 };
    const uint32_t outside = cursor->depth - 1;
    objects[cursor->depth / 64] |= (uint64_t)object << cursor->depth % 64;
    while (cursor->depth > outside) {
        const bool in_object = objects[cursor->depth / 64] >> cursor->depth % 64 & 1;
        struct slice key;
        if (in_object ? !json_next_member(cursor, &key) : !json_next_item(cursor)) {
            if (cursor->fault) {
                return false;
            }
            continue; /* left it */
        }
        const enum json_type type = json_peek(cursor);
        if (type != JSON_OBJECT && type != JSON_ARRAY) {
            if (!pass_scalar(cursor)) {
                return false;
            }
            pass_blanks(cursor);
            continue;
        }
        if (!json_enter(cursor, type == JSON_OBJECT ? '{' : '[')) {
            return false;
        }
        const uint64_t bit = UINT64_C(1) << cursor->depth % 64;
        objects[cursor->depth / 64] &= ~bit;
        objects[cursor->depth / 64] |= type == JSON_OBJECT ? bit : 0;
    }
    return true;
}

bool
json_take(struct json_cursor *cursor, struct json_value *value)
{
    *value = (struct json_value){ json_peek(cursor), { cursor->at, 0 } };
    if (cursor->fault) {
        return false;
    }
    const char *begun = cursor->at;
    const char *ended = NULL;
    if (value->type == JSON_OBJECT || value->type == JSON_ARRAY) {
        if (!json_enter(cursor, *begun) || !pass_container(cursor, value->type == JSON_OBJECT)) {
            return false;
        }
        ended = cursor->at; /* past the white space behind it */
        while (is_blank(ended[-1])) {
            ended--;
        }
    } else {
        if (!pass_scalar(cursor)) {
            return false;
        }
        ended = cursor->at;
        pass_blanks(cursor);
    }
    value->text = slice_of(begun, (size_t)(ended - begun));
    cursor->fresh = false;
    return true;
}

void
json_skip(struct json_cursor *cursor)
{
    struct json_value value;
    if (!json_take(cursor, &value)) {
        return; /* the fault stays in the cursor */
    }
}

bool
json_finish(struct json_cursor *cursor)
{
    if (cursor->fault) {
        return false;
    }
    if (cursor->depth > 0) {
        return fail(cursor, "it breaks off");
    }
    return cursor->at == cursor->end || fail(cursor, "something follows its end");
}

bool
json_check(struct slice text, struct json_value *value)
{
    struct json_cursor cursor;
    json_start(&cursor, text);
    return json_take(&cursor, value) && json_finish(&cursor);
}

bool
json_looks_like_object(struct slice text)
{
    struct json_cursor cursor;
    json_start(&cursor, text);
    return json_peek(&cursor) == JSON_OBJECT;
}
