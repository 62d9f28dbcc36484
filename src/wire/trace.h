/* wire/trace.h: W3C trace context. A client that traces its calls names them; the gateway passes the name
 * on to the provider as it came, into its log lines and into the inputs of its row of the ledger. It starts
 * no trace of its own and decides on no sampling: it is no span, so the parent stays the client's. What is
 * malformed goes nowhere. Rules: https://www.w3.org/TR/trace-context/ sections 3.2 and 3.3. */
#pragma once

#include "rows/event.h"
#include "wire/http.h"

#define TRACE_STATE_BYTES_MAX 512 /* of all tracestate lines; more is dropped whole */

/* The value of a traceparent with ids that are not 0, of version 00 or one that extends it. */
bool trace_parent_valid(struct slice value);
/* Of the one valid traceparent in this head; "" where there is none. */
void trace_id_find(const struct http_head *head, char out[TRACE_ID_HEX + 1]);
/* Appends traceparent and tracestate, each as a line; nothing without a valid traceparent. */
void trace_write(const struct http_head *head, struct buf *out);
