/* mock/dialect_priv.h: telling an answer in a provider's words, in events or as one body.
 *
 * dialect.c walks through the parts of an answer; chat.c, responses.c and messages.c write them.
 * Shapes: spec/wire.md and the samples of tests/fixtures. Pure: bytes are added to a buffer. */
#pragma once

#include "mock/answer_priv.h"

struct mock_dialect {
    void (*begin)(struct mock_answer *answer, struct buf *out);
    /* `part` is never MOCK_PART_NONE; `text` may be empty. */
    void (*open)(struct mock_answer *answer, enum mock_part part, struct buf *out);
    void (*delta)(
        struct mock_answer *answer, enum mock_part part, struct slice text, struct buf *out);
    void (*close)(struct mock_answer *answer, enum mock_part part, struct buf *out);
    void (*end)(struct mock_answer *answer, struct buf *out);
    /* The error event in the middle of a stream; nothing follows it. */
    void (*fail)(struct mock_answer *answer, struct buf *out);
    /* The whole answer as one JSON body; told_count is then token_count. */
    void (*whole)(struct mock_answer *answer, struct buf *out);
    bool tells_hidden; /* hidden reasoning appears as a part without text */
};

extern const struct mock_dialect mock_chat;
extern const struct mock_dialect mock_responses;
extern const struct mock_dialect mock_messages;

/* Of API_CHAT, API_RESPONSES or API_MESSAGES. */
const struct mock_dialect *mock_dialect_of(enum api api);

/* Events: begin, then tell as often as wanted, then end or fail. */
void mock_stream_begin(struct mock_answer *answer, struct buf *out);
/* Tells tokens until `told_count` shown ones are told. */
void mock_stream_tell(struct mock_answer *answer, int64_t told_count, struct buf *out);
void mock_stream_end(struct mock_answer *answer, struct buf *out);
void mock_stream_fail(struct mock_answer *answer, struct buf *out);
void mock_whole(struct mock_answer *answer, struct buf *out);

/* The part that holds the text: MOCK_PART_TEXT or MOCK_PART_TOOL. */
enum mock_part mock_text_part(const struct mock_answer *answer);
/* The told text of a part, in answer->piece until the next call. */
struct slice mock_told(struct mock_answer *answer, enum mock_part part);
/* Adds the usage object, as the behaviour wants it: also malformed. */
void mock_usage_chat(const struct mock_answer *answer, struct buf *out);
void mock_usage_responses(const struct mock_answer *answer, struct buf *out);
/* `output_tokens` apart, since a stream begins with a first small count. */
void mock_usage_messages(
    const struct mock_answer *answer, int64_t output_tokens, bool is_final, struct buf *out);

/* --- the small bodies: plain.c. Each adds one JSON body. */
/* `telling`: whether and how usage is told. */
void mock_embeddings(
    const struct mock_ask *ask, struct mock_bill bill, enum mock_usage telling, struct buf *out);
void mock_count_tokens(struct mock_bill bill, struct buf *out);

/* --- oddities of the body: events.c. */
enum mock_place { MOCK_PLACE_BEGIN, MOCK_PLACE_AMID, MOCK_PLACE_END };
/* Adds whole `events` as `how` has them at this place of the stream. */
void mock_events(enum mock_events how, enum mock_place place, struct slice events, struct buf *out);
/* The same for a body that is not streamed, in its place. */
void mock_events_whole(enum mock_events how, struct buf *body);
