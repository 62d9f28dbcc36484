/* mock/error_priv.h: how a provider says no: bodies and headers.
 * Facts: spec/wire.md sections 3 and 4. */
#pragma once

#include "mock/answer_priv.h"

/* The body of an error with this status. `message` NULL takes the dialect's own sentence. */
void mock_error_body(enum dialect dialect, const struct mock_behaviour *behaviour, int status,
    const char *message, const char *serial, struct buf *out);
/* A refusal of the mock itself, with OpenAI's `code` and `param` (NULL = null). */
void mock_refusal_body(enum dialect dialect, int status, const char *code, const char *param,
    const char *message, const char *serial, struct buf *out);
/* {"code","message"}, the error inside a failed response. */
void mock_error_short(const struct mock_behaviour *behaviour, int status, struct buf *out);
void mock_error_html(int status, struct buf *out);
/* The status that an error inside a stream stands for. */
int mock_stream_error_status(const struct mock_answer *answer);

struct mock_header_facts {
    enum dialect dialect;
    const struct mock_behaviour *behaviour;
    const char *serial;
    int64_t now_ms;
    int status; /* 200, or an error's */
};

/* Adds the provider's headers: request ids, organisation, rate limits, waits; without those of the
 * body. Whole lines. */
void mock_answer_headers(const struct mock_header_facts *facts, struct buf *out);
