/* mock/answer_priv.h: the answer of one request: its text, token by token, and its bill.
 *
 * The answer is planned whole when the request is accepted and told afterwards in steps. Tokens are
 * counted over the shown ones: first `thinking_count` of reasoning, then those of the text or of a
 * tool's arguments; hidden reasoning is billed beside them, at once, on acceptance. Pure: time and
 * ids are arguments. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "mock/ask_priv.h"
#include "mock/behaviour_priv.h"

/* What the provider charges for, in the normal form of the books: `input` without cached tokens,
 * `output` with reasoning. */
struct mock_bill {
    int64_t input, cache_read, cache_write_5m, cache_write_1h;
    int64_t output, reasoning;
    int64_t generated; /* output tokens made, billed or not */
};

enum mock_end {
    MOCK_END_STOP,
    MOCK_END_LENGTH, /* the request's output limit was reached */
    MOCK_END_TOOL,
};

enum mock_source {
    MOCK_SOURCE_FILLER,
    MOCK_SOURCE_FILLER_UTF8,
    MOCK_SOURCE_TEXT,
    MOCK_SOURCE_ARGUMENTS
};

/* What an answer consists of, in this order; each is one content block or output item. */
enum mock_part { MOCK_PART_NONE, MOCK_PART_REASONING, MOCK_PART_TEXT, MOCK_PART_TOOL };

struct mock_answer {
    const struct mock_behaviour *behaviour;
    const struct mock_ask *ask;
    const char *id;     /* "chatcmpl-...", "resp_...", "msg_..." */
    const char *serial; /* what the ids of its items end with */
    int64_t created_s;
    enum mock_end end;
    enum mock_source source;
    struct slice text;      /* of MOCK_SOURCE_TEXT */
    struct slice tool_name; /* of a tool call; empty: the answer is text */
    int64_t text_bytes;     /* of the whole text, as if nothing limited it */
    int64_t planned_count;  /* tokens that text_bytes is spread over */
    int64_t hidden_count;   /* reasoning that is not shown */
    int64_t thinking_count;
    int64_t token_count;    /* shown ones: thinking and text, within the limit */
    struct mock_bill input; /* the input side alone */

    /* How far it is told; moved by dialect.c. */
    int64_t told_count;   /* tokens told */
    enum mock_part open;  /* the part that has begun and not ended */
    int32_t part_count;   /* parts that have ended */
    int64_t event_number; /* Responses: the next sequence_number */
    struct buf line_head; /* chat: what every chunk begins with */
    struct buf piece;     /* the text of the event being told */
};

/* Plans the answer. `context_tokens` is what a previous response brings along. All that is pointed
 * to must outlive the answer; mock_answer_free gives back its buffers. False without memory. */
MUST_USE bool mock_answer_plan(struct mock_answer *answer, const struct mock_behaviour *behaviour,
    const struct mock_ask *ask, int64_t context_tokens, struct arena *arena);
void mock_answer_free(struct mock_answer *answer);

/* The bill once `told_count` shown tokens are made: input, hidden reasoning and those. */
struct mock_bill mock_answer_bill(const struct mock_answer *answer, int64_t told_count);
/* Adds the text of shown tokens [from, to), in whole characters; both on one side of
 * thinking_count. */
void mock_answer_text(const struct mock_answer *answer, int64_t from, int64_t to, struct buf *out);
/* The input side of a request. */
struct mock_bill mock_ask_input(
    const struct mock_ask *ask, const struct mock_behaviour *behaviour, int64_t context_tokens);
