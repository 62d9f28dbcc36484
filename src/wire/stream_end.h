/* wire/stream_end.h: how a stream that we end, ends cleanly for its client (DESIGN sections 4 and
 * 6).
 *
 * Everything is appended as whole events; the caller closes the chunked coding. If a part of an
 * event of the provider has gone out already, append stream_break() first. */
#pragma once

#include "rows/rows.h"
#include "wire/usage.h"

/* Ends an event that was sent in part, so that the next one is read as one. */
void stream_break(struct buf *out);
/* The terminal error event of the api's dialect. */
void stream_end_error(const struct tap *tap, enum reason reason, struct slice message,
    struct slice request_id, struct buf *out);
/* The clean stop at a limit: as if the model had reached its output limit. `usage` is what will be
 * booked, estimates included; in chat it is told only where the client asked (`usage_asked`). */
void stream_end_length(
    const struct tap *tap, const struct usage *usage, bool usage_asked, struct buf *out);

/* ": tidegate cost_micros=123 payer=company" and a further note where it is not empty; goes before
 * the terminal event. A cost below 0 is not known yet and left out. */
void stream_comment_cost(struct buf *out, int64_t cost_micros, enum payer payer, struct slice note);
/* ": tidegate waiting": keeps a connection alive while its call waits or the provider is silent. */
void stream_comment_waiting(struct buf *out);
