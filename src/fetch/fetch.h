/* fetch/fetch.h: requests that the gateway makes on its own account: few, small, never a client's call.
 *
 * A fetcher belongs to one thread, which takes turns; only fetch_wake may be called from elsewhere. An
 * address that the host's name leads to is judged when the connection is made, so that a name which changes
 * its mind, or a number in a strange spelling, gains nothing: loopback, private, link-local and reserved
 * addresses are refused unless the request allows them. Plain http goes to private addresses alone. No
 * redirect is followed, nothing of the environment is read, and each request has a connection of its own.
 * DESIGN section 7. */
#pragma once

#include "base/slice.h"
#include "base/status.h"

#define FETCH_ERROR_BYTES 160

struct fetch_proxy {
    const char *host; /* NULL = straight */
    uint16_t port;
    const char *authorization; /* what Proxy-Authorization says; NULL = nothing */
};

/* Everything is copied; the copies of what may be secret are wiped. */
struct fetch_request {
    const char *url, *host; /* the URL's own host; of an IPv6 address without brackets */
    bool tls;
    bool allow_private;
    const char *ca_file; /* NULL = the system's roots */
    struct fetch_proxy proxy;
    const char *const *headers; /* "name: value", up to a NULL */
    struct slice body;          /* of a POST */
    int64_t deadline_ms;        /* from now on, all of it */
};

struct fetch_answer {
    int status;                    /* of HTTP; 0 = there was none, and `error` says why */
    char error[FETCH_ERROR_BYTES]; /* for a person; names the host, nothing else of the URL */
    struct slice body;             /* at most FETCH_BODY_BYTES_MAX, more is an error; until the callback returns */
};
#define FETCH_BODY_BYTES_MAX ((size_t)1 << 20)

typedef void fetch_done(void *user, const struct fetch_answer *answer);

struct fetcher;
MUST_USE enum status fetch_open(struct fetcher **fetcher);
/* Requests under way are given up without a word. NULL is allowed. */
void fetch_close(struct fetcher *fetcher);
/* `done` is called once, in a later turn. False: no memory. */
MUST_USE bool fetch_post(
    struct fetcher *fetcher, const struct fetch_request *request, fetch_done *done, void *user);
/* Does what there is to do, else waits for it, or for fetch_wake, at most so long. */
void fetch_turn(struct fetcher *fetcher, int64_t wait_ms);
void fetch_wake(struct fetcher *fetcher);
