/* wire/facts_priv.h: what the files of facts share: the reader on its way through one body. */
#pragma once

#include "wire/facts.h"
#include "wire/json.h"

struct facts_reader {
    struct json_cursor cursor;
    struct slice body;
    struct arena *arena;
    struct facts *facts;
    struct facts_fault *fault;
    enum reason reason; /* the first refusal; REASON_OK */
};

/* Refuses the call, unless it is refused already. `wanted` is a static text; always false. */
bool facts_refuse(struct facts_reader *reader, enum reason reason, struct slice name, size_t offset,
    const char *wanted);
/* A string without its escapes; null gives an empty slice; anything else is refused. The reader
 * keeps a refusal, so the answer may be passed over. */
bool facts_take_string(struct facts_reader *reader, struct slice name, struct slice *text);

/* Text between quotes without its escapes; false: no memory, and refused. */
bool facts_decode(struct facts_reader *reader, struct slice raw, struct slice *text);

/* Keys of one object, to find the second of a kind. Set count to 0; the rest, some kilobytes, is not looked at
 * before it is written. */
struct facts_keys {
    uint32_t count;
    uint32_t hashes[FACTS_KEYS_MAX];
    struct slice keys[FACTS_KEYS_MAX];
};
/* The next key of an object whose keys must differ. */
MUST_USE bool facts_next_key(
    struct facts_reader *reader, struct facts_keys *keys, struct slice *key);

/* Each passes one value and notes what it finds in it. */
void facts_pass_messages(struct facts_reader *reader);
void facts_pass_inputs(struct facts_reader *reader);
void facts_pass_tools(struct facts_reader *reader);
