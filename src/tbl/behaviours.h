/* tbl/behaviours.h: how the simulated provider may be told to behave: every key, its range, default, meaning.
 *
 * A behaviour is `key=value,key=value`. It comes, later ones winning, from the default of POST
 * /_mock/config (for model ids that do not begin with "mock:"), from the front of the path
 * (`/~tokens=5/v1/...`: two base URLs of one mock may behave differently), and from the model id
 * itself (`mock:tokens=5`) or what POST /_mock/config says of it.
 * GET /_mock/keys shows this list; `tidegate help mock` and the manual are made from it. */
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
    X(error_after, -1, 0, 10000000,                                                                \
        "an error event after so many tokens; no stream: an unbilled error")                       \
    X(reset, 0, 0, 1, "what breaks off does so with a reset, not with an end")                     \
    X(trickle_ms, 0, 0, 3600000,                                                                   \
        "no stream: the body leaves in ten pieces, so far apart (a stream: tps)")                  \
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
    X(type, "the content-type of a good answer (percent-encoded)")                                 \
    X(headers, "none | unified:0.42[:0.30] (used of 5 h and 7 d); unset: those of a rate limit")   \
    X(retry_after, "header retry-after of an error (percent-encoded)")                             \
    X(retry_after_ms, "header retry-after-ms of an error (percent-encoded)")                       \
    X(should_retry, "header x-should-retry of an error (percent-encoded)")                         \
    X(tag, "nothing; makes a model id unlike others")

/* X(value, name, what the answer tells): the values of `usage`. */
#define MOCK_USAGES(X)                                                                             \
    X(ASKED, "asked", "what the request asks for (the default)")                                   \
    X(NONE, "0", "no usage, also when asked")                                                      \
    X(NOTHING, "null", "null where usage is asked for")                                            \
    X(MALFORMED, "malformed", "a usage block that makes no sense")                                 \
    X(GROWING, "growing", "so far, over and over: with each chunk, or once before the end")        \
    X(TWICE, "twice", "the same twice")                                                            \
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

/* X(value, name, what it does): the values of `events`: what is odd about the body, inside good HTTP. */
#define MOCK_EVENTS(X)                                                                             \
    X(PLAIN, "plain", "nothing (the default)")                                                     \
    X(CRLF, "crlf", "a stream's lines end in CR LF")                                               \
    X(CR, "cr", "a stream's lines end in CR")                                                      \
    X(BOM, "bom", "a stream begins with a byte order mark")                                        \
    X(LINES, "lines", "the data of each event is spread over two lines")                           \
    X(COMMENTS, "comments", "a comment behind each event")                                         \
    X(UNKNOWN, "unknown", "events of a kind that nobody knows, fields id and retry")               \
    X(BAD_JSON, "bad_json", "one event, or the body, is JSON that ends in the middle")             \
    X(EMPTY, "empty", "200, and not a byte of a body")                                             \
    X(PAGE, "page", "200, and a page of HTML")                                                     \
    X(WHOLE, "whole", "one body, though a stream was asked for")                                   \
    X(STREAMED, "streamed", "a stream, though none was asked for")                                 \
    X(END_TWICE, "end_twice", "the last event twice")                                              \
    X(BEHIND, "behind", "more events behind the last one")                                         \
    X(NO_EMPTY_LINE, "no_empty_line", "the last event lacks its empty line")

/* X(value, name, what it does): the values of `framing`: what is odd about the HTTP around the body. */
#define MOCK_FRAMINGS(X)                                                                           \
    X(PLAIN, "plain", "nothing (the default)")                                                     \
    X(INTERIM, "interim", "answers 100 and 103 before the one that counts")                        \
    X(LONG_HEAD, "long_head", "headers of 256 KB")                                                 \
    X(GARBAGE, "garbage", "bytes that are no HTTP, in place of a head")                            \
    X(TORN_HEAD, "torn_head", "the connection ends within the head")                               \
    X(BAD_CHUNK, "bad_chunk", "a chunk of a size that is no number, in the middle")                \
    X(LONGER, "longer", "a content-length beyond what is sent before the connection ends")         \
    X(SHORTER, "shorter", "a content-length short of what is sent")                                \
    X(BOTH, "both", "a content-length beside a chunked body")                                      \
    X(NO_LAST_CHUNK, "no_last_chunk",                                                              \
        "all of the body, and the connection ends without its last chunk")                         \
    X(UNTIL_CLOSE, "until_close", "no length: the body ends with the connection")                  \
    X(SURPLUS, "surplus", "bytes behind a whole answer")

/* The same lists as lines of help. */
#define MOCK_NUMBER_LINE(field, unset, least, most, what) #field "=N  " what "\n"
#define MOCK_TEXT_LINE(field, what)                       #field "=TEXT  " what "\n"
#define MOCK_USAGE_LINE(value, name, what)                "usage=" name "  " what "\n"
#define MOCK_ERROR_LINE(value, name, status, what)        "error=" name "  " what "\n"
#define MOCK_EVENTS_LINE(value, name, what)               "events=" name "  " what "\n"
#define MOCK_FRAMING_LINE(value, name, what)              "framing=" name "  " what "\n"
#define MOCK_BEHAVIOUR_LINES                                                                       \
    MOCK_NUMBERS(MOCK_NUMBER_LINE)                                                                 \
    MOCK_TEXTS(MOCK_TEXT_LINE)                                                                     \
    MOCK_USAGES(MOCK_USAGE_LINE)                                                                   \
    MOCK_ERRORS(MOCK_ERROR_LINE)                                                                   \
    MOCK_EVENTS(MOCK_EVENTS_LINE)                                                                  \
    MOCK_FRAMINGS(MOCK_FRAMING_LINE)
