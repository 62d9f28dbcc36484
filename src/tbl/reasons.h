/* tbl/reasons.h: every reason for which work is not started, written once.
 *
 * Columns: NAME, code, scope, status on the control plane, class on model endpoints, what is wrong in a
 * sentence for a person (the limit, the sums and the reset are added by the renderer).
 * The class decides the status on model endpoints (DESIGN section 6, spec/clients.md section 1):
 *   SPENT  402 with x-should-retry: false (Codex: 429 usage_limit_reached)
 *   WAIT   429 with retry-after where the wait is 1 to 60 s, else as SPENT
 *   AUTH   401, FORBID 403, ABSENT 404, STORE 503, all with x-should-retry: false (Codex: 400, plain)
 *   BAD    the request itself: the status of the column, never retried
 *   GATE   502: our own credential or set-up is wrong upstream, x-should-retry: false */
#pragma once

#define REASONS(X)                                                                                                   \
    X(OK, "ok", "", 200, BAD, "Allowed.")                                                                            \
    X(KEY_MISSING, "key_missing", "key", 401, AUTH, "No Tidegate key was sent; use Authorization: Bearer, x-api-key or x-tidegate-key.") \
    X(KEY_INVALID, "key_invalid", "key", 401, AUTH, "This key is not known here.")                                   \
    X(KEY_EXPIRED, "key_expired", "key", 401, AUTH, "This key has expired.")                                         \
    X(KEY_REVOKED, "key_revoked", "key", 401, AUTH, "This key was revoked.")                                         \
    X(KEY_CONFLICT, "key_conflict", "key", 401, AUTH, "Two different keys were sent; send one, or put the Tidegate key into x-tidegate-key.") \
    X(KEY_ROLE, "key_role", "key", 403, FORBID, "This key's role may not do that.")                                  \
    X(KEY_ATTEMPTS, "key_attempts", "address", 429, WAIT, "Too many wrong keys came from this address.")             \
    X(ACCOUNT_BANNED, "account_banned", "account", 403, FORBID, "This account is banned.")                           \
    X(ACCOUNT_UNKNOWN, "account_unknown", "account", 404, ABSENT, "There is no such account.")                       \
    X(PLAN_UNKNOWN, "plan_not_found", "account", 400, BAD, "x-tidegate-plan names a plan that is not there, so the account was not made.") \
    X(MODEL_UNKNOWN, "model_not_found", "model", 404, ABSENT, "There is no such model here.")                        \
    X(MODEL_FORBIDDEN, "model_not_allowed", "model", 403, FORBID, "This key may not use that model.")                \
    X(API_NOT_SERVED, "api_not_served", "model", 404, ABSENT, "This model is not served at this endpoint.")          \
    X(ENDPOINT_UNKNOWN, "endpoint_not_found", "endpoint", 404, ABSENT, "There is no such endpoint.")                 \
    X(METHOD_WRONG, "method_not_allowed", "endpoint", 405, BAD, "This endpoint does not take that method.")          \
    X(ID_UNKNOWN, "id_not_found", "id", 404, ABSENT, "The id that this request refers to is not known for this account.") \
    X(BODY_NOT_JSON, "body_not_json", "request", 400, BAD, "The body is not a JSON object.")                         \
    X(BODY_DUPLICATE_KEY, "body_duplicate_key", "request", 400, BAD, "The body has the same key twice.")             \
    X(BODY_FIELD, "body_field_invalid", "request", 400, BAD, "A field of the body is missing or of the wrong type.") \
    X(BODY_TOO_LARGE, "body_too_large", "request", 413, BAD, "The body is larger than this gateway takes.")          \
    X(BODY_COMPRESSED, "body_compressed", "request", 415, BAD, "Compressed request bodies are not taken; send the body as it is.") \
    X(BACKGROUND, "background_not_served", "request", 400, BAD, "background: true is not served here; send the call in the foreground.") \
    X(CANNOT_BOUND, "cannot_bound", "limit", 402, SPENT, "The cost of this call cannot be bounded.")                 \
    X(SPEND_LIMIT_HEADER, "spend_limit_header_not_served", "request", 400, BAD, "x-tidegate-spend-limit-micros needs a limit that counts cost per thread_tree over its lifetime; none is configured here.") \
    X(SPEND_LIMIT_INVALID, "spend_limit_invalid", "request", 400, BAD, "x-tidegate-spend-limit-micros must be a whole number of micro-USD above 0.") \
    X(THREAD_REQUIRED, "thread_required", "thread", 400, BAD, "This key must name its thread in x-tidegate-thread.") \
    X(THREAD_PARENT, "thread_parent_unknown", "thread", 404, ABSENT, "The parent thread is not known for this account.") \
    X(THREAD_CYCLE, "thread_parent_cycle", "thread", 400, BAD, "x-tidegate-parent names the thread itself, or one under it; send the parent's name, or none for the root of a tree.") \
    X(THREAD_MOVED, "thread_parent_changed", "thread", 400, BAD, "This thread began under another parent than x-tidegate-parent names, and stays in the tree that it was born into; send that parent, or take a new name for the thread.") \
    X(UNPRICED, "model_unpriced", "model", 402, SPENT, "This model has no price, so it cannot be used under a cost limit.") \
    X(COST_SPENT, "budget_spent", "limit", 409, SPENT, "The budget is spent.")                                       \
    X(COST_HELD, "budget_held", "limit", 429, WAIT, "The rest of the budget is held by calls in flight.")            \
    X(TOKENS_SPENT, "tokens_spent", "limit", 409, SPENT, "The token allowance is used up.")                          \
    X(TOKENS_HELD, "tokens_held", "limit", 429, WAIT, "The rest of the token allowance is held by calls in flight.") \
    X(SESSION_THRESHOLD, "session_threshold", "limit", 503, WAIT, "The session window has reached the threshold that was set for it.") \
    X(WEEK_THRESHOLD, "week_threshold", "limit", 503, WAIT, "The week has reached the threshold that was set for it.") \
    X(USAGE_UNKNOWN, "usage_unknown", "limit", 503, SPENT, "What the provider reports as used is not known, or too old, and this limit lets nothing start then.") \
    X(RATE, "rate_limited", "limit", 429, WAIT, "Too many requests.")                                                \
    X(IN_FLIGHT, "in_flight_full", "limit", 429, WAIT, "Too many calls are in flight.")                              \
    X(ROUTES_COOLING, "routes_cooling", "provider", 503, WAIT, "All providers of this model are at a limit of their own, or asked to be left alone for a while.") \
    X(ROUTES_FAILING, "routes_failing", "provider", 503, WAIT, "All providers of this model keep failing; they are left alone for a moment.") \
    X(ROUTES_EXHAUSTED, "routes_exhausted", "provider", 503, SPENT, "No provider of this model can serve the call now.") \
    X(ID_ROUTE_COOLING, "id_route_cooling", "provider", 503, WAIT, "The provider that the id in this request came from is left alone for a while, since it fails or is at a limit of its own, and no other knows that id.") \
    X(ID_ROUTE_GONE, "id_route_gone", "id", 404, ABSENT, "An id in this request came from a provider that does not serve this model here any more, or from another than its other ids; send the conversation without it.") \
    X(CREDENTIAL_REJECTED, "provider_credential_rejected", "provider", 502, GATE, "The provider rejected the gateway's own credential; tell the operator.") \
    X(CREDENTIAL_MISSING, "provider_credential_missing", "provider", 401, AUTH, "This model needs your own provider credential beside x-tidegate-key.") \
    X(UPSTREAM_UNREACHABLE, "provider_unreachable", "provider", 502, GATE, "The provider could not be reached.")     \
    X(UPSTREAM_BROKEN, "provider_answer_broken", "provider", 502, GATE, "The provider's answer broke off or made no sense.") \
    X(ANSWER_TOO_LARGE, "answer_too_large", "gateway", 502, GATE, "The provider made an answer, which is billed, but it is larger than this gateway can keep now; ask for less at once.") \
    X(UPSTREAM_TIMEOUT, "provider_timeout", "provider", 504, GATE, "The provider did not answer in time.")           \
    X(OVERLOADED, "gateway_overloaded", "gateway", 503, WAIT, "This gateway is at its own limit of waiting work.")   \
    X(MEMORY_FULL, "gateway_memory_full", "gateway", 503, WAIT, "This gateway holds as many bytes of requests and answers as it may.") \
    X(DRAINING, "gateway_stopping", "gateway", 503, STORE, "This gateway is stopping.")                              \
    X(STORE_UNAVAILABLE, "store_unavailable", "gateway", 503, STORE, "The ledger cannot be written, so nothing may start.")

enum reason {
#define REASON_ENUM(name, code, scope, control, class_, sentence) REASON_##name,
    REASONS(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

enum reason_class {
    REASON_CLASS_BAD,
    REASON_CLASS_SPENT,
    REASON_CLASS_WAIT,
    REASON_CLASS_AUTH,
    REASON_CLASS_FORBID,
    REASON_CLASS_ABSENT,
    REASON_CLASS_STORE,
    REASON_CLASS_GATE,
};

struct reason_row {
    const char *code;     /* for machines: error.code, ledger, metrics */
    const char *scope;    /* whose: key, account, limit, ... */
    int control_status;   /* HTTP status on the control plane */
    enum reason_class class_;
    const char *sentence; /* for a person */
};

/* The row of a reason; an unknown number is a bug. */
const struct reason_row *reason_row(enum reason reason);
/* REASON_COUNT when no reason has this code. */
enum reason reason_from_code(const char *code, unsigned long len);
