/* tbl/log_keys.h: every key of a log line, written once: with --log-json the members of its object. A key
 * keeps its meaning; new ones may come. Columns: key, what its value is. */
#pragma once

#define LOG_KEYS(X)                                                                                \
    X("time", "When, RFC 3339 in UTC with milliseconds.")                                          \
    X("level", "debug, info, warn or error.")                                                      \
    X("event", "What the line is about, one word.")                                                \
    X("msg", "A sentence for a person.")                                                           \
    X("truncated", "true where fields had no room in the line.")                                   \
    X("request", "The x-request-id of the answer; of a call that was allowed also in the ledger.") \
    X("trace", "The trace id of the client's traceparent, where a valid one was sent.")            \
    X("account", "The account that was served.")                                                   \
    X("key", "The id of its key, never the key.")                                                  \
    X("thread", "The thread that the call belongs to.")                                            \
    X("api", "The model endpoint: chat, responses, messages, count_tokens, embeddings.")           \
    X("model", "The model that was asked for.")                                                    \
    X("provider", "Who served it last.")                                                           \
    X("upstream_model", "The model's id there.")                                                   \
    X("attempts", "Attempts at providers.")                                                        \
    X("payer", "company or user.")                                                                 \
    X("status", "What the client was told; 0 = nothing.")                                          \
    X("upstream_status", "What the provider answered last; 0 = nothing.")                          \
    X("stream", "Whether a stream was asked for.")                                                 \
    X("input", "Input tokens that were booked, cached ones included.")                             \
    X("output", "Output tokens that were booked.")                                                 \
    X("estimated", "Whether these were estimated, since the provider did not tell.")               \
    X("cost_micros", "What was booked, in micro-USD.")                                             \
    X("cost_disputed", "true where the provider named another cost, more than 4 times off.")       \
    X("provider_micros", "The cost that the provider named.")                                      \
    X("book_micros", "The cost by the price book.")                                                \
    X("ms", "From the request's head to the call's end.")                                          \
    X("first_byte_ms", "From the request's head to the head of the provider's answer.")            \
    X("reason", "Why it was refused or how it failed; see REFUSALS.")                              \
    X("certificate_until", "When a listener's certificate ends.")                                  \
    X("failure", "What the last attempt that failed met.")                                         \
    X("cause", "Why a route is left alone for a while.")                                           \
    X("failures", "How often it failed in a row.")                                                 \
    X("wait_ms", "How long it is left alone.")                                                     \
    X("client_gone", "Whether the client left before the end.")                                    \
    X("limit", "The limit that a call was refused by; amounts in its unit, micro-USD of money.")   \
    X("used", "What is used of it.")                                                               \
    X("held", "What calls in flight hold of it.")                                                  \
    X("cap", "Its cap.")                                                                           \
    X("ask", "What the call would have taken.")                                                    \
    X("field", "The field of the request that has no bound.")                                      \
    X("peer", "The client's address.")                                                             \
    X("path", "The path that was asked for.")                                                      \
    X("version", "Of the program.")                                                                \
    X("listen", "Where clients connect.")                                                          \
    X("control", "The control socket.")                                                            \
    X("store", "The store.")                                                                       \
    X("config", "The configuration file.")                                                         \
    X("epoch", "The incarnation of this gateway; part of every id.")                               \
    X("orphans_closed", "Calls of a gateway that died, booked at this start.")                     \
    X("loops", "Threads that relay.")                                                              \
    X("models", "Models of the configuration.")                                                    \
    X("limits", "Limits of the configuration.")                                                    \
    X("bodies_max_bytes", "The most memory of all bodies.")                                        \
    X("connections_max", "The most clients' connections at once.")                                 \
    X("memory_max_bytes", "Memory, were every bound reached at once.")
