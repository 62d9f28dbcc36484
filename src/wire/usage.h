/* wire/usage.h: a tap on the provider's answer: what it used, how it ended, how much text passed.
 *
 * Fed with every event of a stream, or with a whole body, it follows the forms of spec/wire.md
 * section 2. A usage block that makes no sense (strings, negatives, 1e400, sums beyond TOKENS_MAX,
 * more reasoning than output) sets USAGE_MALFORMED and is otherwise passed over: not booked as
 * zero, nor as a huge sum. The tap owns all it keeps and points to nothing. */
#pragma once

#include "rows/usage.h"
#include "tbl/apis.h"
#include "wire/alike.h"
#include "wire/sse.h"

/* How an answer ended, as the provider said it. */
enum answer_end {
    ANSWER_OPEN,   /* nothing terminal yet: at the end of the body this is a truncation */
    ANSWER_DONE,   /* [DONE], response.completed or .incomplete, message_stop; a whole JSON body */
    ANSWER_FAILED, /* an error event, response.failed, or an error inside a body with status 200 */
};

#define TAP_ID_BYTES   128
#define TAP_BLOCKS_MAX 64

struct tap {
    enum api api;
    struct usage usage; /* `known` says which side is the provider's own figure */
    enum answer_end end;
    int64_t text_bytes;     /* UTF-8 bytes of text, reasoning and tool arguments so far */
    int64_t input_exact;    /* whole input, once the provider named it; -1 = not yet */
    bool in_tool_arguments; /* a cut here would leave half a tool call */
    bool incomplete;        /* it ended at a limit: finish_reason length, max_tokens, incomplete */
    char id[TAP_ID_BYTES];  /* of the answer: chatcmpl-..., resp_..., msg_...; "" = not seen */
    char model[TAP_ID_BYTES]; /* as the provider calls it; for the end of a stream */
    char stop_reason[32];     /* finish_reason, status or stop_reason; "" = not seen */
    char service_tier[24];    /* that the answer was served at; "" = it did not say */
    int64_t delta_events;     /* events that carried text: a token each at least */
    char error_code[64];      /* code, else type, of an error; "" = none */
    int64_t created_s;        /* 0 = not seen */
    int64_t sequence;         /* responses: the last sequence_number; -1 = none */
    uint64_t open_blocks; /* messages: bit i = content block i is open; those beyond are not kept */
    uint64_t tool_blocks; /* those of them that are tool calls */
    struct alike *alike;  /* borrowed; NULL = each event is read for itself */
};

enum tap_kind {
    TAP_OTHER,      /* to be relayed, nothing to count */
    TAP_TEXT,       /* carries text */
    TAP_USAGE_ONLY, /* chat: empty choices and usage; to be hidden from a client that did not ask */
    TAP_TERMINAL,   /* the last event of a stream that went well; comments go before it */
    TAP_ERROR,      /* the provider's error inside the stream; nothing follows */
};

struct tapped {
    enum tap_kind kind;
    int64_t text_bytes; /* of this event */
    bool usage_changed;
    struct slice items; /* Responses: an item that is done, or all of them; in the event */
};

void tap_start(struct tap *tap, enum api api);
struct tapped tap_event(struct tap *tap, const struct sse_event *event);
/* A whole body of an answer with status 2xx. False: it is not JSON; the tap is then as after
 * tap_start. */
MUST_USE bool tap_body(struct tap *tap, struct slice body);

/* Reads one usage object. `before` is what is known so far: fields that a cumulative block of
 * Anthropic leaves out stay. False: malformed, *usage is then *before with USAGE_MALFORMED. */
MUST_USE bool usage_read_openai(struct slice object, struct usage *usage);
/* The same of embeddings, which have no output; a total alone is all input. */
MUST_USE bool usage_read_embeddings(struct slice object, struct usage *usage);
MUST_USE bool usage_read_anthropic(
    struct slice object, const struct usage *before, struct usage *usage);
