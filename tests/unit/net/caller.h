/* tests/unit/net/caller.h: calls to providers from a test, and the provider they reach.
 *
 * A caller is a net without listeners whose loop makes one or two calls for the test's thread. A
 * provider is a listening socket and a thread that hands each connection to the test's function. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "net/net.h"

enum caller_way {
    CALLER_PLAIN,
    CALLER_CANCEL_ON_HEAD,
    CALLER_CANCEL_ON_BODY,
    CALLER_CANCEL_SOON,     /* after 100 ms */
    CALLER_PAUSE_ON_HEAD,   /* for 200 ms */
    CALLER_PAUSE_ON_BODY,   /* the same, at the first piece */
    CALLER_AGAIN_AT_ONCE,   /* once more from within its end, 100 ms later, before the loop polls again */
};

struct caller_ask {
    struct net_target target;
    struct net_deadlines deadlines; /* all 0: 2 s each */
    const char *head;               /* NULL: a small GET */
    struct slice body;              /* follows the head as a piece of its own */
    enum caller_way way;
};

struct caller_result {
    char events[32]; /* s sent, h head, b body (once), e end, f fail, c cancelled */
    int status;
    struct buf body;
    int64_t body_bytes;
    size_t paused_bytes; /* of the body, when a pause ended */
    enum net_fail why;
    bool all_sent;
    char detail[256];
    int64_t took_ms;
};

/* A call on the loop's thread. */
struct caller_run {
    struct caller *caller;
    struct net_call *call; /* NULL: none runs */
    const struct caller_ask *ask;
    struct caller_result *result;
    struct net_timer timer;
};

struct caller {
    struct net *net;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t done_changed;
    const struct caller_ask *asks; /* to be made; NULL once seen */
    struct caller_result *results;
    int ask_count, done_count;
    struct caller_run runs[2];
};

void caller_start(struct caller *caller);
void caller_stop(struct caller *caller);
/* Makes the call and waits for its end. The result's body is the test's to free (caller_free). */
void caller_call(struct caller *caller, const struct caller_ask *ask, struct caller_result *result);
/* Makes two calls at once. */
void caller_call_both(
    struct caller *caller, const struct caller_ask asks[2], struct caller_result results[2]);
void caller_free(struct caller_result *result);

struct provider {
    int fd;
    uint16_t port;
    pthread_t thread;
    atomic_int serving; /* the descriptor that `serve` has; -1 = none */
    atomic_int accepted;
    atomic_int ended; /* connections whose function has returned */
    void (*serve)(struct provider *provider, int fd, int index); /* closes fd; index counts from 0 */
    void *user;
};

void provider_start(
    struct provider *provider, void (*serve)(struct provider *, int fd, int index));
void provider_stop(struct provider *provider);
struct net_target provider_target(const struct provider *provider);
/* Reads one request with its body, if it has a Content-Length. False when the peer ended. */
bool provider_read_request(int fd);
