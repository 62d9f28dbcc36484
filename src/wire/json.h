/* wire/json.h: JSON read where it lies: a cursor that checks every byte it passes and builds no
 * tree.
 *
 * Strict RFC 8259: one value, nothing but white space around it, no trailing commas, no bare
 * control characters in strings, known escapes only, well-formed numbers, depth up to
 * JSON_DEPTH_MAX. Bytes of strings are not checked as UTF-8, and a lone \uD800 passes, as RFC 8259
 * allows. It allocates nothing; what it yields are slices of the text. A walk looks like this:
 *
 *     struct json_cursor cursor;
 *     json_start(&cursor, text);
 *     if (json_enter(&cursor, '{')) {
 *         struct slice key;
 *         while (json_next_member(&cursor, &key)) {
 *             one of json_take(&cursor, &value), json_enter(&cursor, ...), json_skip(&cursor)
 *         }
 *     }
 *     ok = json_finish(&cursor);
 *
 * After every key or item exactly one value is taken, skipped or entered. The first fault stops the
 * cursor: all calls then answer false, and `fault` and `at` say what and where. */
#pragma once

#include "base/slice.h"
#include "base/units.h"

#define JSON_DEPTH_MAX 512

enum json_type {
    JSON_NOTHING, /* no value begins here */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* What a byte begins: a value of enum json_type. */
extern const uint8_t json_type_of[256];

struct json_value {
    enum json_type type;
    struct slice text; /* as written: a string with its quotes, a container with its brackets */
};

struct json_cursor {
    const char *start, *at, *end;
    const char *fault;    /* a static sentence; NULL = none */
    uint32_t depth;       /* containers entered and not left */
    bool fresh;           /* nothing of the innermost container was read yet */
    size_t blank_bytes;   /* white space passed outside strings */
    size_t escaped_bytes; /* what the escapes passed take beyond the UTF-8 they stand for */
};

void json_start(struct json_cursor *cursor, struct slice text);
/* What the next byte begins, by its look alone. */
static inline enum json_type
json_peek(const struct json_cursor *cursor)
{
    const bool none = cursor->fault || cursor->at == cursor->end;
    return none ? JSON_NOTHING : (enum json_type)json_type_of[(uint8_t)*cursor->at];
}
/* Goes into the object ('{') or array ('[') that begins here; anything else is left alone:
 * false. */
MUST_USE bool json_enter(struct json_cursor *cursor, char opening);
/* The next key, between its quotes and still escaped; false at the object's end (which it passes)
 * or at a fault. */
MUST_USE bool json_next_member(struct json_cursor *cursor, struct slice *key);
/* Whether another item follows; false at the array's end (which it passes) or at a fault. */
MUST_USE bool json_next_item(struct json_cursor *cursor);
/* Passes one value, checking all of it. */
MUST_USE bool json_take(struct json_cursor *cursor, struct json_value *value);
void json_skip(struct json_cursor *cursor);
/* Whether the whole text was one well-formed value. */
MUST_USE bool json_finish(struct json_cursor *cursor);

/* One well-formed value and nothing else; *value is it, without the white space around it. */
MUST_USE bool json_check(struct slice text, struct json_value *value);
/* Whether `text`, after white space, begins with '{'. */
bool json_looks_like_object(struct slice text);

/* The value at a dotted path: keys, or indices of arrays ("choices.0.delta"). Of a key written
 * twice the first counts. Meant for small texts: it walks from the front each time. False: not
 * there, or the text is broken before it. */
MUST_USE bool json_get(struct slice text, const char *path, struct json_value *value);

/* Whether a key or string (between its quotes, escaped) says `plain`, or the same as another. */
bool json_escaped_key_is(struct slice raw, struct slice plain);
static inline bool
json_key_is(struct slice raw, struct slice plain)
{
    /* An escape only adds bytes, at most five to each: so few keys are looked at twice. */
    if (raw.len <= plain.len) {
        return slice_eq(raw, plain);
    }
    const bool begins = plain.len > 0 && (raw.ptr[0] == plain.ptr[0] || raw.ptr[0] == '\\');
    return begins && raw.len <= 6 * plain.len && json_escaped_key_is(raw, plain);
}
bool json_same(struct slice raw_a, struct slice raw_b);
/* Equal for all that json_same calls equal. Not keyed: bound what is hashed. */
uint32_t json_hash(struct slice raw);
/* What is between the quotes of a string value. */
struct slice json_inside(struct json_value value);
/* Whether the value is a string that says `plain`. */
bool json_says(struct json_value value, struct slice plain);
/* Turns escapes into UTF-8 (a lone surrogate into U+FFFD). False when `out` is too small; never
 * needs more room than raw.len. No final NUL. */
MUST_USE bool json_unescape(struct slice raw, char *out, size_t out_size, size_t *len);
/* The same into a fixed array with a final NUL; an empty string and false when it does not fit. */
bool json_to_cstr(struct json_value string, char *out, size_t out_size);
/* An upper bound of the UTF-8 bytes that it stands for; exact but for a lone surrogate. */
size_t json_utf8_bytes(struct slice raw);

/* A number that is an integer, however it is written (12, 12.0, 1.2e1), within min..max. */
MUST_USE bool json_to_i64(struct json_value value, int64_t min, int64_t max, int64_t *number);
/* The whole number of that name; `absent` where there is none. */
int64_t json_get_i64(struct slice text, const char *path, int64_t absent);
