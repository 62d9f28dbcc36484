/* tbl/endpoints.h: every route, written once: method, path, who answers, whether it dispatches to a
 * provider (then it passes the gate), what it is for. Paths of model endpoints are also served without
 * their "/v1". `{x}` stands for one segment. */
#pragma once

#define ENDPOINTS(X)                                                                               \
    X(POST, "/v1/chat/completions", RELAY, 1, "chat completions (OpenAI)")                         \
    X(POST, "/v1/responses", RELAY, 1, "responses (OpenAI)")                                       \
    X(POST, "/v1/messages", RELAY, 1, "messages (Anthropic)")                                      \
    X(POST, "/v1/messages/count_tokens", RELAY, 1, "count the tokens of a message; never charged") \
    X(GET, "/v1/models", RELAY, 0, "the models this key may call")                                 \
    X(HEAD, "/api/hello", RELAY, 0, "is a gateway there? asked by Claude Code")                    \
    X(GET, "/healthz", API, 0, "the process runs")                                                 \
    X(GET, "/readyz", API, 0, "it may take work: the ledger can be written and it is not stopping") \
    X(GET, "/metrics", API, 0, "counters, Prometheus text")                                        \
    X(GET, "/api/v1/status", API, 0, "state of the gateway, calls of late, meters")                \
    X(GET, "/api/v1/requests/{id}", API, 0, "what became of a request, by its x-request-id")       \
    X(GET, "/api/admin/accounts", API, 0, "all accounts")                                          \
    X(POST, "/api/admin/accounts", API, 0, "make an account")                                      \
    X(POST, "/api/admin/accounts/{name}/ban", API, 0, "refuse all its work")                       \
    X(POST, "/api/admin/accounts/{name}/unban", API, 0, "let it work again")                       \
    X(GET, "/api/admin/keys", API, 0, "keys, without their secrets")                               \
    X(POST, "/api/admin/keys", API, 0, "make a key; its secret is in this answer alone")           \
    X(POST, "/api/admin/keys/{id}/revoke", API, 0, "end a key")                                    \
    X(GET, "/api/admin/ledger", API, 0, "rows of the ledger, newest first")                        \
    X(GET, "/api/admin/limits", API, 0, "limits in force and their meters")
