/* mock/ask_priv.h: what a request's body asks of the simulated provider.
 *
 * Read here and not by wire/facts.h: the mock is the judge of what the gateway sent on, so it reads
 * with eyes of its own. Slices borrow from the body or the arena. */
#pragma once

#include "base/arena.h"
#include "base/slice.h"
#include "tbl/apis.h"

#define MOCK_NO_LIMIT (-1)

struct mock_ask {
    enum api api;
    struct slice model; /* decoded; empty when the body names none */
    bool stream;
    bool include_usage;       /* stream_options.include_usage */
    bool store;               /* Responses: the answer may be referred to later; true unless told */
    bool is_last_tool_result; /* the last message answers a tool call */
    bool base64;              /* embeddings: encoding_format */
    int64_t output_limit;     /* the lowest that is named, or MOCK_NO_LIMIT */
    int64_t dimension_count;  /* embeddings; 0 = unset */
    int64_t input_count;      /* embeddings: how many texts */
    int64_t token_count;      /* embeddings: token ids in the input */
    int64_t body_bytes;
    struct slice last_user; /* text of the last message of the user, decoded */
    struct slice tool_name; /* the first tool offered, or empty */
    struct slice previous_response_id;
    struct slice input; /* Responses: as it stands in the body, which lives until the call is accepted */
    struct slice conversation;
};

/* Reads `body` for `api`. False with a sentence for what a real provider would answer 400 to: no
 * JSON object, or a field of the wrong type. */
MUST_USE bool mock_ask_read(
    struct mock_ask *ask, enum api api, struct slice body, struct arena *arena, const char **why);
