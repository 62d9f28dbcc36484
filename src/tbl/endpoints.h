/* tbl/endpoints.h: every route, written once. Columns: ID, method, path, who answers, who may ask, whether
 * it dispatches to a provider (then it passes the gate), what a repetition does, what it is for. Paths of model endpoints are also
 * served without their "/v1". `{x}` stands for one segment, at most one a path.
 *
 * Who may ask: OPEN everyone; LOCAL this machine, elsewhere a key that may read; KEY any valid key, which
 * sees its own account (one that may read sees all); ADMIN a key with the role admin, from this machine or
 * over TLS. "This machine" is a listener on loopback or a unix socket, and no header by which a proxy names
 * whom it asks for (Forwarded, X-Forwarded-For, X-Real-IP, Via). On the control socket everything is allowed. Keys of roles observer and admin may read.
 *
 * What a repetition does: READ nothing, it changes nothing; ONCE it takes an Idempotency-Key: the same again under
 * the same key is done once; ANEW it is done again, which does no harm to what it does (a repeated model call is a
 * new one). */
#pragma once

#define ENDPOINTS(X)                                                                                                 \
    X(CHAT, POST, "/v1/chat/completions", RELAY, KEY, 1, ANEW, "chat completions (OpenAI)")                                \
    X(RESPONSES, POST, "/v1/responses", RELAY, KEY, 1, ANEW, "responses (OpenAI)")                                         \
    X(MESSAGES, POST, "/v1/messages", RELAY, KEY, 1, ANEW, "messages (Anthropic)")                                         \
    X(COUNT_TOKENS, POST, "/v1/messages/count_tokens", RELAY, KEY, 1, READ, "count the tokens of a message; never charged") \
    X(EMBEDDINGS, POST, "/v1/embeddings", RELAY, KEY, 1, ANEW, "embeddings (OpenAI); input alone is charged")             \
    X(MODELS, GET, "/v1/models", RELAY, KEY, 0, READ, "the models this key may call")                                      \
    X(HELLO, HEAD, "/api/hello", RELAY, OPEN, 0, READ, "is a gateway there? asked by Claude Code")                         \
    X(HEALTHZ, GET, "/healthz", API, OPEN, 0, READ, "the process runs")                                                    \
    X(READYZ, GET, "/readyz", API, OPEN, 0, READ, "it may take work: the ledger can be written and it is not stopping")    \
    X(METRICS, GET, "/metrics", API, LOCAL, 0, READ, "counters, Prometheus text")                                          \
    X(STATUS, GET, "/api/v1/status", API, KEY, 0, READ, "state of the gateway, calls of late, meters")                     \
    X(REQUEST, GET, "/api/v1/requests/{id}", API, KEY, 0, READ, "what became of a request, by its x-request-id")           \
    X(ACCOUNT_USAGE, GET, "/api/account/usage", API, KEY, 0, READ, "what providers report of the account's own windows, and whether new work is paused; with session_pct or week_pct, whether that would pause it") \
    X(ACCOUNT_REPORT, PUT, "/api/account/usage-report", API, KEY, 0, ONCE, "report what a provider says is used of its windows") \
    X(ACCOUNT_THRESHOLDS, GET, "/api/account/thresholds", API, KEY, 0, READ, "percentages of the session and the week at which new work stops") \
    X(ACCOUNT_THRESHOLDS_SET, PUT, "/api/account/thresholds", API, KEY, 0, ONCE, "set both; null takes one away")          \
    X(EXPLAIN, POST, "/api/v1/explain", API, KEY, 0, READ, "what the gate would say to a call, and why; changes nothing") \
    X(ACCOUNTS, GET, "/api/admin/accounts", API, ADMIN, 0, READ, "all accounts")                                           \
    X(ACCOUNT_ADD, POST, "/api/admin/accounts", API, ADMIN, 0, ONCE, "make an account")                                    \
    X(ACCOUNT_BAN, POST, "/api/admin/accounts/{name}/ban", API, ADMIN, 0, ONCE, "refuse all its work")                     \
    X(ACCOUNT_UNBAN, POST, "/api/admin/accounts/{name}/unban", API, ADMIN, 0, ONCE, "let it work again")                   \
    X(KEYS, GET, "/api/admin/keys", API, ADMIN, 0, READ, "keys, without their secrets")                                    \
    X(KEY_ADD, POST, "/api/admin/keys", API, ADMIN, 0, ONCE, "make a key; its secret is in this answer alone")             \
    X(KEY_REVOKE, POST, "/api/admin/keys/{id}/revoke", API, ADMIN, 0, ONCE, "end a key")                                   \
    X(LEDGER, GET, "/api/admin/ledger", API, ADMIN, 0, READ, "rows of the ledger, newest first")                           \
    X(LEDGER_PRUNE, POST, "/api/admin/ledger/prune", API, ADMIN, 0, ANEW, "delete rows of calls and refusals of before a day; to be asked again until done") \
    X(LIMITS, GET, "/api/admin/limits", API, ADMIN, 0, READ, "limits in force and their meters; with account, the cap of each that rules for it, and by whose word")                           \
    X(ADJUST, POST, "/api/admin/adjust", API, ADMIN, 0, ONCE, "correct what a call cost, or what an account has used of a limit") \
    X(USAGE_LIMITS, GET, "/api/v1/usage-limits", API, ADMIN, 0, READ, "an account's spend limit: what rules for everybody, and for whom another was set") \
    X(USAGE_LIMITS_SET, PUT, "/api/v1/usage-limits", API, ADMIN, 0, ONCE, "set it for everybody; null: unlimited")           \
    X(USAGE_LIMITS_UNSET, DELETE, "/api/v1/usage-limits", API, ADMIN, 0, ONCE, "for everybody as configured again")          \
    X(USAGE_STATUS, GET, "/api/v1/usage-limits/status", API, KEY, 0, READ, "how much of it the caller has spent")            \
    X(OVERRIDE_SET, PUT, "/api/v1/usage-limits/overrides/{account}", API, ADMIN, 0, ONCE, "set it for one account")          \
    X(OVERRIDE_UNSET, DELETE, "/api/v1/usage-limits/overrides/{account}", API, ADMIN, 0, ONCE, "take that back")             \
    X(GROUP_OVERRIDE_SET, PUT, "/api/v1/usage-limits/group-overrides/{group}", API, ADMIN, 0, ONCE, "set it for each member of a group") \
    X(GROUP_OVERRIDE_UNSET, DELETE, "/api/v1/usage-limits/group-overrides/{group}", API, ADMIN, 0, ONCE, "take that back")   \
    X(RAISE_SET, PUT, "/api/v1/usage-limits/raises/{account}", API, ADMIN, 0, ONCE, "raise it for one account until a time") \
    X(RAISE_UNSET, DELETE, "/api/v1/usage-limits/raises/{account}", API, ADMIN, 0, ONCE, "end a raise before its time")      \
    X(THREADS, GET, "/api/v1/threads", API, KEY, 0, READ, "threads, newest first")                                           \
    X(THREAD, GET, "/api/v1/threads/{id}", API, KEY, 0, READ, "a thread, and what its tree has spent and may spend")         \
    X(THREAD_LIMIT_SET, PUT, "/api/v1/threads/{id}/spend-limit", API, KEY, 0, ONCE, "set what its tree may spend; whom it belongs to may only lower it") \
    X(EVENTS, GET, "/api/v1/events", API, KEY, 0, READ, "warnings, and what limits that are only watched would have refused; as they come with follow=1 or for who accepts text/event-stream") \
    X(WEBHOOKS, GET, "/api/admin/webhooks", API, ADMIN, 0, READ, "webhooks, and what waits for each")                      \
    X(WEBHOOK_TEST, POST, "/api/admin/webhooks/{name}/test", API, ADMIN, 0, ONCE, "send a message to try it")              \
    X(RELOAD, POST, "/api/admin/reload", API, ADMIN, 0, ANEW, "read the configuration again; a wrong one changes nothing, nor, without \"mixed\", one that other gateways on the store do not have")

enum endpoint {
#define ENDPOINT_ENUM(id, method, path, owner, access, dispatches, repeat, help) ENDPOINT_##id,
    ENDPOINTS(ENDPOINT_ENUM)
#undef ENDPOINT_ENUM
        ENDPOINT_COUNT
};

enum endpoint_owner { ENDPOINT_OWNER_RELAY, ENDPOINT_OWNER_API };
enum endpoint_access { ENDPOINT_ACCESS_OPEN, ENDPOINT_ACCESS_LOCAL, ENDPOINT_ACCESS_KEY, ENDPOINT_ACCESS_ADMIN };
enum endpoint_repeat { ENDPOINT_REPEAT_READ, ENDPOINT_REPEAT_ONCE, ENDPOINT_REPEAT_ANEW };

struct endpoint_row {
    const char *method, *path;
    enum endpoint_owner owner;
    enum endpoint_access access;
    int dispatches;
    enum endpoint_repeat repeat;
    const char *help;
};

/* The row of an endpoint; an unknown number is a bug. */
const struct endpoint_row *endpoint_row(enum endpoint endpoint);
