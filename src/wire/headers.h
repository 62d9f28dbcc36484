/* wire/headers.h: which headers cross the gateway, in which direction, and what they tell (DESIGN
 * sections 7 and 13). */
#pragma once

#include "tbl/apis.h"
#include "wire/facts.h"
#include "wire/http.h"

/* How a secret is sent. */
enum credential_form { FORM_BEARER, FORM_X_API_KEY, FORM_API_KEY };

struct caller_keys {
    struct slice key; /* ours; empty = none was sent */
    struct slice own; /* beside x-tidegate-key: the caller's own provider credential */
    enum credential_form own_form;
    bool conflict; /* two different candidates for ours: 401, key_conflict */
};
/* x-tidegate-key, else Authorization: Bearer, else x-api-key, else api-key. Secrets: do not log. */
struct caller_keys caller_keys_find(const struct http_head *head);

/* The form that a provider of this dialect expects for this secret: Anthropic's own keys go into
 * x-api-key, its log-in tokens ("sk-ant-oat...") and all else into Authorization: Bearer. */
enum credential_form credential_form(enum dialect dialect, struct slice secret);

/* Appends the client's headers that may reach a provider of this dialect, the credential in its
 * form (empty: none), anthropic-version where the dialect needs it and it is missing, and
 * accept-encoding: identity. Host, content-length and the credential's own attribution headers are
 * the caller's. */
void headers_to_provider(const struct http_head *head, enum dialect dialect, struct slice secret,
    enum credential_form form, struct buf *out);
bool header_may_reach_provider(enum dialect dialect, struct slice name);

struct answer_headers {
    bool user_pays; /* the provider's rate limits and organisation are the caller's own */
    bool rerouted;  /* more than one attempt was made: its x-should-retry means nothing now */
};
/* Appends the provider's headers that may reach the client; retry-after is at most 60, and its
 * request id goes as x-tidegate-upstream-request. Content-length is the caller's. */
void headers_to_client(
    const struct http_head *head, const struct answer_headers *rules, struct buf *out);

bool client_is_codex(const struct http_head *head);
bool client_speaks_sessions(const struct http_head *head);

struct thread_signal {
    enum thread_kind kind; /* THREAD_KEY_DAY: nothing was sent, value is empty */
    struct slice value;
    struct slice parent; /* x-tidegate-parent; empty = none */
};
/* In the fixed order of rows.h's thread_kind. `facts` may be NULL: headers alone. */
struct thread_signal thread_signal_find(const struct http_head *head, const struct facts *facts);
