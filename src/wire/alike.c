/* wire/alike.c: the bytes around the strings of an event, kept and compared. */
#include "wire/alike.h"

#define MISSES_MAX 16

void
alike_free(struct alike *alike)
{
    buf_free(&alike->same);
    *alike = (struct alike){ 0 };
}

void
alike_forget(struct alike *alike)
{
    alike->count = 0;
}

void
alike_note(struct alike_strings *strings, struct json_value string, bool is_text)
{
    if (strings->count < ALIKE_STRINGS_MAX) {
        strings->strings[strings->count] = string;
        strings->is_text[strings->count] = is_text;
    }
    strings->count++;
}

void
alike_learn(
    struct alike *alike, struct slice json, const struct alike_strings *strings, bool tool_text)
{
    alike->count = 0;
    if (strings->count > ALIKE_STRINGS_MAX || json.len > ALIKE_BYTES_MAX
        || alike->misses >= MISSES_MAX) {
        return;
    }
    const char *end = json.ptr + json.len;
    const char *at = json.ptr;
    buf_clear(&alike->same);
    for (uint32_t i = 0; i < strings->count; i++) {
        const struct slice string = strings->strings[i].text;
        if (string.ptr < at) {
            return; /* not in their order */
        }
        buf_add(&alike->same, at, (size_t)(string.ptr - at));
        alike->places[i] = (uint16_t)alike->same.len;
        alike->is_text[i] = strings->is_text[i];
        at = string.ptr + string.len;
    }
    buf_add(&alike->same, at, (size_t)(end - at));
    alike->tool_text = tool_text;
    alike->misses++;
    alike->count = alike->same.failed ? 0 : strings->count;
}

/* Takes bytes that must be there off the front. */
static bool
take_same(struct slice *rest, const char *bytes, size_t len)
{
    if (rest->len < len || memcmp(rest->ptr, bytes, len) != 0) {
        return false;
    }
    *rest = slice_of(rest->ptr + len, rest->len - len);
    return true;
}

bool
alike_match(struct alike *alike, struct slice json, struct alike_strings *strings)
{
    const struct slice same = buf_slice(&alike->same);
    struct slice rest = json;
    size_t at = 0;
    strings->count = 0;
    if (alike->count == 0) {
        return false;
    }
    for (uint32_t i = 0; i < alike->count; i++) {
        struct json_cursor cursor;
        struct json_value value;
        const size_t place = alike->places[i];
        if (!take_same(&rest, same.ptr + at, place - at)) {
            return false;
        }
        at = place;
        json_start(&cursor, rest);
        if (cursor.at != rest.ptr || json_peek(&cursor) != JSON_STRING
            || !json_take(&cursor, &value) || (alike->is_text[i] && value.text.len == 2)) {
            return false;
        }
        alike_note(strings, value, alike->is_text[i]);
        rest = slice_of(rest.ptr + value.text.len, rest.len - value.text.len);
    }
    if (rest.len != same.len - at || !take_same(&rest, same.ptr + at, rest.len)) {
        return false;
    }
    alike->misses = 0;
    return true;
}
