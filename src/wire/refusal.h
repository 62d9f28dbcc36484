/* wire/refusal.h: a refusal as a client reads it: status, headers and body for its dialect and
 * habits. Rule: DESIGN section 6; what each client does with it: spec/clients.md. */
#pragma once

#include "rows/event.h"
#include "tbl/apis.h"
#include "wire/http.h"

/* Who is told, and in which voice. Slices are borrowed for the call. */
struct refusal_listener {
    enum dialect dialect;
    bool codex;            /* client_is_codex(), on /v1/responses: its own forms */
    bool session_protocol; /* it sent x-tidegate-instance: statuses of the control plane */
    struct slice account;  /* name; empty = not known */
    struct slice request_id;
    int status_override; /* the operator's; 0 = none */
    int64_t now_ms;
};

/* Appends header lines (content-type included; no content-length, no status line) to `headers` and
 * the body to `body`; answers the status. `detail` completes the sentence where there is no limit:
 * the model's name, the field, what is served instead; empty = none. Memory failures are the
 * buffers'. */
int refusal_render(const struct refusal *refusal, struct slice detail,
    const struct refusal_listener *listener, struct buf *headers, struct buf *body);

/* What a person reads, on every surface: who hit which limit, the sums, when it opens and whom to
 * ask. Limits of a group or of the gateway show a percentage alone. */
void refusal_sentence(const struct refusal *refusal, struct slice detail, struct slice account,
    int64_t now_ms, struct buf *out);

/* The status on a model endpoint before Codex's and the operator's rules. */
int refusal_status(const struct refusal *refusal, int64_t now_ms);
/* The wait worth telling, in whole seconds, rounded up; 0 = none is known, or waiting cannot
 * help. */
int64_t refusal_retry_after_s(const struct refusal *refusal, int64_t now_ms);
