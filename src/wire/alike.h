/* wire/alike.h: an event that says what the one before it said, but for its texts.
 *
 * The deltas of a stream differ in a text, and perhaps in a stamp that nobody reads. Once one was read and
 * found well-formed, another with the same bytes outside those strings is well-formed and means the same:
 * only the strings are left to be looked at. What is kept is the event before, never an older one, so that
 * nothing an event in between has said is overlooked. A zeroed struct alike has seen nothing. */
#pragma once

#include "base/buf.h"
#include "wire/json.h"

#define ALIKE_STRINGS_MAX 6
#define ALIKE_BYTES_MAX   ((size_t)1024) /* longer events are read each for itself */

/* The strings in which events may differ, in the order in which they stand. */
struct alike_strings {
    uint32_t count; /* beyond ALIKE_STRINGS_MAX: there were more */
    struct json_value strings[ALIKE_STRINGS_MAX];
    bool is_text[ALIKE_STRINGS_MAX];
};

struct alike {
    struct buf same; /* the event without those strings; the owner calls alike_free */
    uint32_t count;  /* of them; 0 = nothing to be like */
    uint32_t misses; /* events learnt since one was alike: a stream that never is, is left alone */
    uint16_t places[ALIKE_STRINGS_MAX]; /* in `same` */
    bool is_text[ALIKE_STRINGS_MAX];
    bool tool_text; /* its texts are arguments of a tool */
};

void alike_free(struct alike *alike);
void alike_forget(struct alike *alike);
void alike_note(struct alike_strings *strings, struct json_value string, bool is_text);
/* `json` was read whole, is well-formed, and means no more than its texts. */
void alike_learn(
    struct alike *alike, struct slice json, const struct alike_strings *strings, bool tool_text);
/* Whether `json` is like what was learnt last, with no text empty; *strings are its own. */
MUST_USE bool alike_match(
    struct alike *alike, struct slice json, struct alike_strings *strings);
