/* mock/behaviour_priv.h: how one request is answered, as written in its model id.
 *
 * Arithmetic on memory the caller owns. Texts are slices of the words that were read. */
#pragma once

#include "base/slice.h"
#include "base/units.h"
#include "tbl/behaviours.h"

struct arena;
struct buf;

enum mock_usage {
#define MOCK_USAGE_VALUE(value, name, what) MOCK_USAGE_##value,
    MOCK_USAGES(MOCK_USAGE_VALUE)
#undef MOCK_USAGE_VALUE
        MOCK_USAGE_COUNT
};

enum mock_error {
#define MOCK_ERROR_VALUE(value, name, status, what) MOCK_ERROR_##value,
    MOCK_ERRORS(MOCK_ERROR_VALUE)
#undef MOCK_ERROR_VALUE
        MOCK_ERROR_COUNT
};

enum mock_events {
#define MOCK_EVENTS_VALUE(value, name, what) MOCK_EVENTS_##value,
    MOCK_EVENTS(MOCK_EVENTS_VALUE)
#undef MOCK_EVENTS_VALUE
        MOCK_EVENTS_COUNT
};

enum mock_framing {
#define MOCK_FRAMING_VALUE(value, name, what) MOCK_FRAMING_##value,
    MOCK_FRAMINGS(MOCK_FRAMING_VALUE)
#undef MOCK_FRAMING_VALUE
        MOCK_FRAMING_COUNT
};

struct mock_behaviour {
#define MOCK_NUMBER_FIELD(field, unset, least, most, what) int64_t field;
    MOCK_NUMBERS(MOCK_NUMBER_FIELD)
#undef MOCK_NUMBER_FIELD
#define MOCK_TEXT_FIELD(field, what) struct slice field;
    MOCK_TEXTS(MOCK_TEXT_FIELD)
#undef MOCK_TEXT_FIELD
    enum mock_usage usage;
    enum mock_error error;
    enum mock_events events;
    enum mock_framing framing;
    bool error_set; /* `error` was named: the request fails also without a status */
};

struct mock_behaviour_fault {
    char text[200]; /* a sentence that names the key */
};

struct mock_behaviour mock_behaviour_default(void);
/* Reads `words` (key=value,key=value; empty is fine) over *behaviour. False with *fault, and
 * *behaviour half changed, for an unknown key or a value out of range. */
MUST_USE bool mock_behaviour_read(
    struct mock_behaviour *behaviour, struct slice words, struct mock_behaviour_fault *fault);
/* Copies its texts into `arena`. False without memory. */
MUST_USE bool mock_behaviour_keep(struct mock_behaviour *behaviour, struct arena *arena);
/* Whether `model` is a behaviour; *words is then what follows "mock:". */
bool mock_behaviour_of_model(struct slice model, struct slice *words);
/* The status that a failing request gets, or 0 where the behaviour has no error. */
int mock_behaviour_error_status(const struct mock_behaviour *behaviour);
/* Splits the front `/~words` off a path; false when the path has none. */
bool mock_behaviour_of_path(struct slice path, struct slice *words, struct slice *rest);

/* Adds `text` with %XX taken for the byte XX. False where a % is followed by anything else. */
MUST_USE bool mock_percent_decode(struct slice text, struct buf *out);
/* The list of keys as JSON, for people. */
void mock_behaviour_keys_json(struct buf *out);
