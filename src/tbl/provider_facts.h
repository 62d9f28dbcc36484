/* tbl/provider_facts.h: what is known of providers and models without being told: defaults that a
 * configuration may overturn. Source: spec/wire.md, sections 1 and 2 ("Client abort"); DESIGN section 4. */
#pragma once

#include "tbl/apis.h"

#define FACT_CHAT (1u << API_CHAT)
#define FACT_RESPONSES (1u << API_RESPONSES)
#define FACT_EMBEDDINGS (1u << API_EMBEDDINGS)
#define FACT_MESSAGES (1u << API_MESSAGES)
#define FACT_COUNT_TOKENS (1u << API_COUNT_TOKENS)

/* Host (a leading dot: any host that ends so), dialect, path of its base URL, APIs it speaks, what it
 * does when we hang up, the name of the output limit of chat completions.
 *
 * STOPS only where the provider is known to end generation and billing on a closed connection. Routers
 * stay at BILLS_ALL: whether the bill stops depends on whom they chose. */
#define PROVIDER_FACTS(X)                                                                                             \
    X("api.openai.com", OPENAI, "/v1", FACT_CHAT | FACT_RESPONSES | FACT_EMBEDDINGS, STOPS, "max_completion_tokens")  \
    X("chatgpt.com", OPENAI, "/backend-api/codex", FACT_RESPONSES, BILLS_ALL, "max_completion_tokens")                \
    X(".openai.azure.com", OPENAI, "/openai/v1", FACT_CHAT | FACT_RESPONSES | FACT_EMBEDDINGS, STOPS, "max_completion_tokens") \
    X("api.anthropic.com", ANTHROPIC, "", FACT_MESSAGES | FACT_COUNT_TOKENS, STOPS, "max_tokens")                     \
    X("openrouter.ai", OPENAI, "/api/v1", FACT_CHAT | FACT_RESPONSES | FACT_EMBEDDINGS, BILLS_ALL, "max_tokens")      \
    X("api.deepseek.com", OPENAI, "", FACT_CHAT, STOPS, "max_tokens")                                                 \
    X("generativelanguage.googleapis.com", OPENAI, "/v1beta/openai", FACT_CHAT | FACT_EMBEDDINGS, BILLS_ALL, "max_tokens") \
    X("router.huggingface.co", OPENAI, "/v1", FACT_CHAT | FACT_RESPONSES, BILLS_ALL, "max_tokens")                    \
    X("api.kilo.ai", OPENAI, "/api/gateway", FACT_CHAT, BILLS_ALL, "max_tokens")                                      \
    X("dashscope-intl.aliyuncs.com", OPENAI, "/compatible-mode/v1", FACT_CHAT | FACT_EMBEDDINGS, BILLS_ALL, "max_tokens") \
    X("dashscope.aliyuncs.com", OPENAI, "/compatible-mode/v1", FACT_CHAT | FACT_EMBEDDINGS, BILLS_ALL, "max_tokens")  \
    X("coding.dashscope.aliyuncs.com", OPENAI, "/v1", FACT_CHAT, BILLS_ALL, "max_tokens")                             \
    X("api.blackbox.ai", OPENAI, "", FACT_CHAT, BILLS_ALL, "max_tokens")                                              \
    X("api.x.ai", OPENAI, "/v1", FACT_CHAT | FACT_RESPONSES, STOPS, "max_tokens")                                     \
    X("api.groq.com", OPENAI, "/openai/v1", FACT_CHAT | FACT_RESPONSES, BILLS_ALL, "max_tokens")                      \
    X("api.mistral.ai", OPENAI, "/v1", FACT_CHAT | FACT_EMBEDDINGS, BILLS_ALL, "max_tokens")

/* Of a provider that is not in the table. */
#define FACTS_OPENAI_APIS FACT_CHAT
#define FACTS_ANTHROPIC_APIS (FACT_MESSAGES | FACT_COUNT_TOKENS)
#define FACTS_LIMIT_FIELD "max_tokens"

/* Beginnings of ids (after their last '/') of models that bill reasoning without showing it. */
#define HIDDEN_REASONING_MODELS(X)                                                                 \
    X("gpt-5")                                                                                     \
    X("gpt-6")                                                                                     \
    X("o1")                                                                                        \
    X("o3")                                                                                        \
    X("o4")                                                                                        \
    X("gemini-2.5")                                                                                \
    X("gemini-3")                                                                                  \
    X("grok-4")
