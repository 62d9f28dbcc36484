/* mock/mock.h: the simulated provider, `tidegate mock`: a process of its own that answers as OpenAI
 * and Anthropic do, with the faults that a model id asks for, and keeps a journal of what it would
 * bill.
 *
 * Model calls (with and without /v1): POST /chat/completions, /responses, /embeddings, /messages,
 * /messages/count_tokens; GET /models. How a call is answered: tbl/behaviours.h, and GET /_mock/keys.
 * Control, without a credential, for tests on the same machine:
 *     GET    /_mock/health            {"ok":true,...}
 *     GET    /_mock/keys              every key of a behaviour
 *     GET    /_mock/journal           what arrived, in order; ?since=N after entry N, ?bodies=1
 *                                     with bodies
 *     DELETE /_mock/journal           forgets entries and the counts of fail_first
 *     POST   /_mock/config            {"default":"key=value,...","models":{"name":"key=value,..."},
 *                                     "credentials":["secret",...]}; a null takes a setting back
 * It bills as real providers do: the input when it accepts a call, hidden reasoning at once, shown
 * tokens as it writes them, whether they are read or not. */
#pragma once

#include "base/slice.h"

struct mock_options {
    const char *host;   /* numeric address to listen on; NULL = 127.0.0.1 */
    uint16_t port;      /* 0 = any free one */
    const char *behave; /* words for model ids that are not "mock:..."; NULL = none */
    bool json;          /* the line below is {"url":"http://HOST:PORT"} */
    const char *journal_file; /* a line of JSON for each request that has ended; NULL = none */
};

/* Serves until SIGTERM or SIGINT. Prints one line on standard output when it is ready:
 * `tidegate mock: listening on http://HOST:PORT`. Returns the exit status of the process: 0, or 1
 * with a sentence on standard error. */
MUST_USE int mock_main(const struct mock_options *options);
