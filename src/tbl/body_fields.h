/* tbl/body_fields.h: the top-level fields that model calls may carry, written once.
 *
 * X(name, apis, effect). Effects on what a call can cost (DESIGN section 4):
 *   PLAIN   nothing that the output limit and the input do not already bound
 *   READ    looked into by wire/facts
 *   PRICED  may raise the price or add charges of its own: refused under a strict limit
 * A field that is in no row is relayed and reported as unknown. Sources: the public references of
 * OpenAI, Anthropic, OpenRouter, DeepSeek, Groq, xAI, Mistral, Qwen and Moonshot. */
#pragma once

#define BODY_CHAT 1u
#define BODY_RESPONSES 2u
#define BODY_MESSAGES 4u
#define BODY_COUNT_TOKENS 8u
#define BODY_EMBEDDINGS 16u
#define BODY_OPENAI (BODY_CHAT | BODY_RESPONSES | BODY_EMBEDDINGS)
#define BODY_ANTHROPIC (BODY_MESSAGES | BODY_COUNT_TOKENS)
#define BODY_ALL (BODY_OPENAI | BODY_ANTHROPIC)

#define BODY_FIELDS(X)                                                                             \
    X("model", BODY_ALL, READ)                                                                     \
    X("stream", BODY_CHAT | BODY_RESPONSES | BODY_ANTHROPIC, READ)                                 \
    X("stream_options", BODY_CHAT | BODY_RESPONSES, READ)                                          \
    X("messages", BODY_CHAT | BODY_ANTHROPIC, READ)                                                \
    X("system", BODY_ANTHROPIC, READ)                                                              \
    X("input", BODY_RESPONSES | BODY_EMBEDDINGS, READ)                                             \
    X("instructions", BODY_RESPONSES, PLAIN)                                                       \
    X("tools", BODY_ALL, READ)                                                                     \
    X("functions", BODY_CHAT, READ)                                                                \
    X("max_tokens", BODY_CHAT | BODY_ANTHROPIC, READ)                                              \
    X("max_completion_tokens", BODY_CHAT, READ)                                                    \
    X("max_output_tokens", BODY_RESPONSES, READ)                                                   \
    X("n", BODY_CHAT, READ)                                                                        \
    X("service_tier", BODY_ALL, READ)                                                              \
    X("speed", BODY_ALL, READ)                                                                     \
    X("background", BODY_RESPONSES, READ)                                                          \
    X("thinking", BODY_CHAT | BODY_ANTHROPIC, READ)                                                \
    X("previous_response_id", BODY_RESPONSES, READ)                                                \
    X("conversation", BODY_RESPONSES, READ)                                                        \
    X("prompt", BODY_RESPONSES, READ)                                                              \
    X("prompt_cache_key", BODY_CHAT | BODY_RESPONSES, READ)                                        \
    X("metadata", BODY_ALL, READ)                                                                  \
    X("container", BODY_ANTHROPIC, READ)                                                           \
    X("mcp_servers", BODY_ANTHROPIC, PRICED)                                                       \
    X("web_search_options", BODY_CHAT, PRICED)                                                     \
    X("plugins", BODY_CHAT | BODY_RESPONSES, PRICED)                                               \
    X("search_parameters", BODY_CHAT, PRICED)                                                      \
    X("modalities", BODY_CHAT, PRICED)                                                             \
    X("audio", BODY_CHAT, PRICED)                                                                  \
    X("prediction", BODY_CHAT, PRICED)                                                             \
    X("models", BODY_CHAT | BODY_RESPONSES, PRICED)                                                \
    X("route", BODY_CHAT, PRICED)                                                                  \
    X("provider", BODY_CHAT | BODY_RESPONSES, PRICED)                                              \
    X("enable_search", BODY_CHAT, PRICED)                                                          \
    X("inference_geo", BODY_ANTHROPIC, PRICED)                                                     \
    X("best_of", BODY_CHAT, PRICED)                                                                \
    X("temperature", BODY_ALL, PLAIN)                                                              \
    X("top_p", BODY_ALL, PLAIN)                                                                    \
    X("top_k", BODY_ALL, PLAIN)                                                                    \
    X("min_p", BODY_CHAT, PLAIN)                                                                   \
    X("stop", BODY_CHAT, PLAIN)                                                                    \
    X("stop_sequences", BODY_ANTHROPIC, PLAIN)                                                     \
    X("seed", BODY_CHAT, PLAIN)                                                                    \
    X("user", BODY_OPENAI, PLAIN)                                                                  \
    X("safety_identifier", BODY_OPENAI, PLAIN)                                                     \
    X("prompt_cache_retention", BODY_CHAT | BODY_RESPONSES, PLAIN)                                 \
    X("store", BODY_CHAT | BODY_RESPONSES, READ)                                                   \
    X("reasoning", BODY_CHAT | BODY_RESPONSES, PLAIN)                                              \
    X("reasoning_effort", BODY_CHAT, PLAIN)                                                        \
    X("include_reasoning", BODY_CHAT, PLAIN)                                                       \
    X("reasoning_format", BODY_CHAT, PLAIN)                                                        \
    X("enable_thinking", BODY_CHAT, PLAIN)                                                         \
    X("thinking_budget", BODY_CHAT, PLAIN)                                                         \
    X("chat_template_kwargs", BODY_CHAT, PLAIN)                                                    \
    X("verbosity", BODY_CHAT, PLAIN)                                                               \
    X("text", BODY_RESPONSES, PLAIN)                                                               \
    X("include", BODY_RESPONSES, PLAIN)                                                            \
    X("truncation", BODY_RESPONSES, PLAIN)                                                         \
    X("max_tool_calls", BODY_RESPONSES, PLAIN)                                                     \
    X("client_metadata", BODY_RESPONSES, PLAIN)                                                    \
    X("response_format", BODY_CHAT, PLAIN)                                                         \
    X("tool_choice", BODY_ALL, PLAIN)                                                              \
    X("parallel_tool_calls", BODY_CHAT | BODY_RESPONSES, PLAIN)                                    \
    X("function_call", BODY_CHAT, PLAIN)                                                           \
    X("frequency_penalty", BODY_CHAT, PLAIN)                                                       \
    X("presence_penalty", BODY_CHAT, PLAIN)                                                        \
    X("repetition_penalty", BODY_CHAT, PLAIN)                                                      \
    X("logit_bias", BODY_CHAT, PLAIN)                                                              \
    X("logprobs", BODY_CHAT, PLAIN)                                                                \
    X("top_logprobs", BODY_CHAT | BODY_RESPONSES, PLAIN)                                           \
    X("usage", BODY_CHAT, PLAIN)                                                                   \
    X("random_seed", BODY_CHAT, PLAIN)                                                             \
    X("safe_prompt", BODY_CHAT, PLAIN)                                                             \
    X("output_config", BODY_ANTHROPIC, PLAIN)                                                      \
    X("output_format", BODY_ANTHROPIC, PLAIN)                                                      \
    X("context_management", BODY_ANTHROPIC, PLAIN)                                                 \
    X("cache_control", BODY_ANTHROPIC, PLAIN)                                                      \
    X("safeguards", BODY_ANTHROPIC, PLAIN)                                                         \
    X("dimensions", BODY_EMBEDDINGS, PLAIN)                                                        \
    X("encoding_format", BODY_EMBEDDINGS, PLAIN)
