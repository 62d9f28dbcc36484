/* wire/facts.h: what the gateway must know of a model call, found in one pass over its body.
 *
 * The whole body is checked as JSON on the way, so the bytes the provider sees are the bytes we
 * judged. Duplicate keys at the top level, and inside the objects that are read, are refused: two
 * parsers could read them differently. null counts as absent. Slices point into the body, or into
 * the arena where escapes had to be undone; they live as long as both. */
#pragma once

#include "base/arena.h"
#include "rows/rows.h"
#include "tbl/apis.h"

/* Keys of one object that is looked at for duplicates; a body with more is refused. */
#define FACTS_KEYS_MAX 256
/* Ids of items that one request may name; a body with more is refused. */
#define FACTS_IDS_MAX 1024

/* Bytes of the body. Of an absent value len is 0. */
struct span {
    size_t offset, len;
};

/* The names of an output limit, in the order of `enum output_field`. */
enum output_field {
    OUTPUT_MAX_TOKENS,
    OUTPUT_MAX_COMPLETION_TOKENS,
    OUTPUT_MAX_OUTPUT_TOKENS,
    OUTPUT_FIELD_COUNT,
};
struct slice output_field_name(enum output_field field);

/* An item of `input` that its provider may know more of than the request says. */
struct facts_id {
    struct slice id; /* decoded, not empty */
    bool told;       /* what it holds is in the request as plain text: any provider can read it */
};

/* A call as its body tells it. */
struct facts {
    enum api api;
    struct slice model;     /* decoded, 1..NAME_MAX_BYTES bytes */
    struct span model_span; /* with its quotes */
    bool stream;

    /* Output limits. A body may carry max_tokens and max_completion_tokens; which of them a
     * provider obeys is its own affair, so the larger bounds the call and both are lowered. */
    int64_t output_limit; /* the larger, 0..TOKENS_MAX; -1 = the body has none */
    int64_t output_limits[OUTPUT_FIELD_COUNT];    /* -1 = not in the body, or null */
    struct span output_spans[OUTPUT_FIELD_COUNT]; /* the values, also of a null */
    int64_t thinking_budget; /* thinking.budget_tokens of enabled thinking; 0 = none */

    /* chat: stream_options. */
    bool usage_asked;               /* include_usage: true was in the body */
    struct span options_span;       /* the value of stream_options: null, or the object */
    bool options_empty;             /* it is {} */
    struct span include_usage_span; /* the value inside; false or null */

    int64_t answers;                  /* n, 1..128; 1 where absent */
    struct slice service_tier, speed; /* decoded; empty = absent */
    bool background;

    struct slice previous_response_id; /* decoded; empty = absent */
    struct slice conversation;         /* the id, given as a string or as object.id */
    struct slice foreign_id_field; /* the first field that names a file, container or other stored
                                        * thing that no endpoint of ours issues; empty = none */
    struct facts_id *ids; /* of items that do not tell themselves, and of references to items */
    uint32_t id_count, id_room;
    bool stored;   /* one of them stands for more than its bytes */
    bool unstored; /* store: false: no later request can name this answer's messages */
    struct slice prompt_cache_key;
    struct slice metadata_session; /* the session inside metadata.user_id */

    bool tools;               /* at least one tool is offered */
    struct slice server_tool; /* type of the first tool that the provider runs, at its own price */
    bool media;               /* images, files, audio: the input cannot be bounded by bytes */
    struct slice
        unknown_field; /* first top-level key that tbl/body_fields.h does not know for this api */
    struct slice priced_field; /* first one there that bears a price of its own */

    /* For the `bytes` estimator. */
    int64_t message_count, tool_count;
    int64_t input_bytes;  /* the body without white space and escapes: at least its UTF-8 text */
    int64_t input_tokens; /* embeddings of token ids alone: how many; 0 = there is text to count */
};

struct facts_fault {
    char detail[192]; /* what and where, for the client: names of keys, never values */
    size_t offset;    /* of the body; 0 where it says nothing */
};

/* REASON_OK, or BODY_NOT_JSON, BODY_DUPLICATE_KEY, BODY_FIELD, MODEL_UNKNOWN (a name no model can
 * have), OVERLOADED (the arena has no room). `background: true` is a fact, not a refusal. The
 * members of *facts are only to be read after REASON_OK. */
MUST_USE enum reason facts_read(enum api api, struct slice body, struct arena *arena,
    struct facts *facts, struct facts_fault *fault);

/* A true bound of the input's tokens for text: bytes and constants per message and tool. Where
 * facts_input_unbounded() holds, only the model's context window bounds it. */
int64_t facts_input_tokens_bound(const struct facts *facts);
bool facts_input_unbounded(const struct facts *facts);
/* Price factor of service_tier and speed, in per cent of the list price, never below 100: a cheaper
 * tier may fall back to the standard one. Unknown words answer 0: the cost cannot be bounded. */
int64_t facts_price_multiplier_pct(const struct facts *facts);
/* The same for the words alone, as an answer names them too; empty = the standard one. */
int64_t price_words_pct(struct slice service_tier, struct slice speed);
/* What may cost anything: a field that bears a price of its own, or that nobody here knows; empty = nothing. */
struct slice facts_unbounded_by(const struct facts *facts);
