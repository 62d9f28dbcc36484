/* mock/keys_priv.h: every key of a behaviour, written once: its range, default, meaning.
 *
 * A behaviour is `key=value,key=value`. It comes, later ones winning, from the default of POST
 * /_mock/config (for model ids that do not begin with "mock:"), from the front of the path
 * (`/~tokens=5/v1/...`: two base URLs of one mock may behave differently), and from the model id
 * itself (`mock:tokens=5`) or what POST /_mock/config says of it.
 * GET /_mock/keys shows this list. */
#pragma once

/* X(field and key, default, least, most, what it does). */
#define MOCK_NUMBERS(X)                                                                            \
    X(tokens, -1, 0, 10000000, "output tokens shown; unset: 20, or what the text needs")           \
    X(bpt, 4, 1, 64, "bytes of text a token")                                                      \
    X(tps, 0, 0, 1000000, "tokens a second; 0: as fast as it can")                                 \
    X(per_event, 1, 1, 10000, "tokens in one event")                                               \
    X(chunk, 0, 0, 1048576, "most bytes in one write and chunk; 0: as they come")                  \
    X(ttft_ms, 0, 0, 3600000, "time before the answer, an error too, begins")                      \
    X(head_early, 0, 0, 1, "the head of a stream goes out, and is billed, before ttft_ms")         \
    X(keepalive_ms, 0, 0, 3600000, "until it begins: a comment (no stream: a newline) each")       \
    X(thinking, 0, 0, 10000000, "tokens of reasoning that are shown, before the text")             \
    X(hidden_reasoning, 0, 0, 10000000, "tokens of reasoning billed in bulk and never shown")      \
    X(reasoning_beside, 0, 0, 1, "usage tells reasoning beside, not inside, the output count")     \
    X(tool, 0, 0, 2, "1: answers with a tool call, unless a tool's result came last; 2: always")   \
    X(echo, 0, 0, 1, "the text is the last message of the user")                                   \
    X(utf8, 0, 0, 1, "the text has characters of two to four bytes")                               \
    X(input, -1, 0, 100000000, "input tokens in all; unset: bytes of the body / 4, rounded up")    \
    X(cached, 0, 0, 100000000, "of the input: read from a cache")                                  \
    X(cache_write, 0, 0, 100000000, "of the input: written to a cache for 5 minutes")              \
    X(cache_write_1h, 0, 0, 100000000, "of the input: written to a cache for an hour")             \
    X(cost_ticks, -1, 0, 1000000000000000, "usage tells this cost, 10^10 ticks a USD")             \
    X(status, 0, 0, 599, "answers with this error, 300 or more; 0: none")                          \
    X(fail_first, 0, 0, 1000000, "only so many requests with these very words fail")               \
    X(html, 0, 0, 1, "the error is a page of HTML, 502 unless status is set")                      \
    X(refuse, 0, 0, 1, "breaks the connection off before it has read the body")                    \
    X(cut_before, 0, 0, 1, "breaks the connection off instead of answering")                       \
    X(hang, 0, 0, 1, "never answers")                                                              \
    X(cut_after, -1, 0, 10000000, "breaks the connection off after so many tokens")                \
    X(torn, 0, 0, 1, "cut_after breaks off within an event")                                       \
    X(end_after, -1, 0, 10000000, "ends the body after so many tokens, without a last event")      \
    X(error_after, -1, 0, 10000000, "an error event after so many tokens; no stream: an unbilled error") \
    X(stall_after, -1, 0, 10000000, "goes silent after so many tokens")                            \
    X(stall_ms, 0, 0, 3600000, "goes on so long after the stall; 0: never")                        \
    X(bill_after_cut, 0, 0, 1, "a client that goes away is billed the whole answer")               \
    X(bill_failed, 0, 0, 1, "an attempt that fails before its answer is billed its input")         \
    X(gzip, 0, 0, 1, "a whole answer is compressed, though nobody asked for it")

/* X(field and key, what it does). */
#define MOCK_TEXTS(X)                                                                              \
    X(text, "the text of the answer (percent-encoded)")                                            \
    X(args, "arguments of its tool call (percent-encoded); unset: an object with filler")          \
    X(tool_name, "the tool it calls; unset: the first that the request offers")                    \
    X(cost, "usage tells this cost in USD, as OpenRouter does")                                    \
    X(headers, "none | unified:0.42[:0.30] (used of 5 h and 7 d); unset: those of a rate limit")   \
    X(retry_after, "header retry-after of an error (percent-encoded)")                             \
    X(retry_after_ms, "header retry-after-ms of an error (percent-encoded)")                       \
    X(should_retry, "header x-should-retry of an error (percent-encoded)")                         \
    X(tag, "nothing; makes a model id unlike others")

/* X(value, name, what the answer tells): the values of `usage`. */
#define MOCK_USAGES(X)                                                                             \
    X(ASKED, "asked", "what the request asks for (the default)")                                   \
    X(NONE, "0", "no usage, also when asked")                                                      \
    X(MALFORMED, "malformed", "a usage block that makes no sense")                                 \
    X(LAST, "last", "on the last chunk, unasked")                                                  \
    X(GROQ, "groq", "on the last chunk as x_groq.usage, unasked")                                  \
    X(MOONSHOT, "moonshot", "inside the last chunk's choice, unasked")

/* X(value, name, status where none is set, what it is): the values of `error`. */
#define MOCK_ERRORS(X)                                                                             \
    X(PLAIN, "plain", 500, "the dialect's own body for the status (the default)")                  \
    X(QUOTA, "quota", 429, "OpenAI: insufficient_quota, no retry")                                 \
    X(SPEND_CAP, "spend_cap", 429, "Anthropic: enforced_spend_limit_reached")                      \
    X(CREDITS, "credits", 402, "OpenRouter: openrouter_credits")                                   \
    X(IN_FLIGHT, "in_flight", 402, "OpenRouter: openrouter_in_flight_budget")                      \
    X(CONTEXT, "context", 400, "the input is longer than the context")                             \
    X(USAGE_LIMIT, "usage_limit", 429, "Codex backend: usage_limit_reached")                       \
    X(STRING, "string", 402, "Hugging Face: error is a string")                                    \
    X(GEMINI, "gemini", 429, "Gemini: an array, with retryDelay 34s and a quota a day")            \
    X(AZURE, "azure", 429, "Azure: code \"429\" as a string")                                      \
    X(TORN_JSON, "torn_json", 500, "JSON that ends in the middle")
