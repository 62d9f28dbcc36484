/* bench/request.h: the bytes of a chat completion as clients send it. */
#pragma once

#include "base/buf.h"

/* Adds a JSON body of exactly `size` bytes (at least REQUEST_BODY_MIN): messages of an agent at work, with
 * quotes and line ends that JSON escapes. `stream` asks for an event stream. */
#define REQUEST_BODY_MIN 256
void request_body(struct buf *out, const char *model, bool stream, size_t size);

/* Text of exactly `size` bytes for the inside of a JSON string, never ending within an escape. */
void request_text(struct buf *out, size_t size);

/* Adds the head of a POST. `key` and `thread` may be NULL; `more` are whole header lines, or "". */
void request_head(struct buf *out, const char *host, const char *path, const char *key,
    const char *thread, const char *more, size_t body_bytes);
