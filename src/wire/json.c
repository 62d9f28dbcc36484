/* wire/json.c: the cursor of json.h: strict checks while passing over values. */
#include "wire/json.h"

#include "base/money.h"
#include "wire/json_priv.h"

#define SHORT_STEPS 3 /* of JSON_STEP_BYTES each; what goes on is looked at in larger steps */

static bool
fail(struct json_cursor *cursor, const char *fault)
{
    if (!cursor->fault) {
        cursor->fault = fault;
    }
    return false;
}

const uint8_t json_type_of[256] = {
    ['{'] = JSON_OBJECT,
    ['['] = JSON_ARRAY,
    ['"'] = JSON_STRING,
    ['t'] = JSON_TRUE,
    ['f'] = JSON_FALSE,
    ['n'] = JSON_NULL,
    ['-'] = JSON_NUMBER,
    ['0'] = JSON_NUMBER,
    ['1'] = JSON_NUMBER,
    ['2'] = JSON_NUMBER,
    ['3'] = JSON_NUMBER,
    ['4'] = JSON_NUMBER,
    ['5'] = JSON_NUMBER,
    ['6'] = JSON_NUMBER,
    ['7'] = JSON_NUMBER,
    ['8'] = JSON_NUMBER,
    ['9'] = JSON_NUMBER,
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void
pass_some_blanks(struct json_cursor *cursor)
{
    const char *at = cursor->at;
    while (at < cursor->end && is_blank(*at)) {
        at++;
    }
    cursor->blank_bytes += (size_t)(at - cursor->at);
    cursor->at = at;
}

/* Looked for behind every token, and mostly not there. */
static inline void
pass_blanks(struct json_cursor *cursor)
{
    if (cursor->at < cursor->end && (unsigned char)*cursor->at <= ' ') {
        pass_some_blanks(cursor);
    }
}

/* Any string. Apart from the way of most, which needs no place on the stack. */
__attribute__((noinline)) static bool
pass_long_string(struct json_cursor *cursor, struct slice *inside)
{
    const char *begun = cursor->at + 1;
    cursor->at = begun;
    const char *fault =
        json_pass_inside(json_width_here(), &cursor->at, cursor->end, &cursor->escaped_bytes);
    if (fault) {
        return fail(cursor, fault);
    }
    *inside = slice_of(begun, (size_t)(cursor->at - begun));
    cursor->at++;
    return true;
}

/* Passes a string in which nothing is escaped and that ends soon, as keys and most values do; else false, and the
 * cursor stays. */
static inline bool
pass_short_string(struct json_cursor *cursor, struct slice *inside)
{
#ifdef JSON_STEP_BYTES
    const char *begun = cursor->at + 1;
    const char *at = begun;
    for (int i = 0; i < SHORT_STEPS && cursor->end - at >= JSON_STEP_BYTES; i++) {
        const unsigned found = json_specials(at);
        if (found != 0) {
            at += __builtin_ctz(found);
            *inside = slice_of(begun, (size_t)(at - begun));
            cursor->at = *at == '"' ? at + 1 : cursor->at;
            return *at == '"';
        }
        at += JSON_STEP_BYTES;
    }
#else
    (void)cursor;
    (void)inside;
#endif
    return false;
}

/* Passes a string whose opening quote is at the cursor; *inside is what lies between the quotes. */
static inline bool
pass_string(struct json_cursor *cursor, struct slice *inside)
{
    return pass_short_string(cursor, inside) || pass_long_string(cursor, inside);
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

/* Passes a value of that type, which json_peek told. */
static inline bool
pass_scalar(struct json_cursor *cursor, enum json_type type)
{
    struct slice inside;
    switch (type) {
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
__attribute__((noinline)) static bool
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
            if (!pass_scalar(cursor, type)) {
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
        if (!pass_scalar(cursor, value->type)) {
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
