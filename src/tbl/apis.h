/* tbl/apis.h: the wire formats and the model endpoints, written once. */
#pragma once

/* API, word (configuration, logs, ledger), path that clients call (also served without "/v1"). */
#define APIS(X)                                                                                    \
    X(API_CHAT, "chat", "/v1/chat/completions")                                                    \
    X(API_RESPONSES, "responses", "/v1/responses")                                                 \
    X(API_MESSAGES, "messages", "/v1/messages")                                                    \
    X(API_COUNT_TOKENS, "count_tokens", "/v1/messages/count_tokens")                               \
    X(API_EMBEDDINGS, "embeddings", "/v1/embeddings")

#define API_ENUM(name, word, path) name,
enum api { APIS(API_ENUM) API_COUNT };
#undef API_ENUM

enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC };

const char *api_word(enum api api);
const char *api_path(enum api api);
/* The format that an endpoint's clients speak. */
enum dialect api_dialect(enum api api);
