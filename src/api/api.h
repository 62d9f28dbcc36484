/* api/api.h: the control plane: health, status, what became of a request, and admin's work on accounts and
 * keys (tbl/endpoints.h).
 *
 * A loop reads a request and hands it to one of a few threads of the control plane, which may wait: for the
 * gate (who is this key; a change by an admin is an event, so that it is on the ledger) and for the store's
 * reader door. The answer goes back to the loop, which sends it, if the client is still there. Health
 * answers without waiting, on the loop.
 *
 * Over TCP an endpoint says who may ask. On the control socket, a file that only its owner may open,
 * everything is allowed, and the actor on the ledger is "control". */
#pragma once

#include "engine/engine.h"
#include "net/handler.h"
#include "relay/relay.h"
#include "store/store.h"

struct api_plane;      /* one per process */
struct api_loop; /* one per loop */

/* net_listen.tag, one bit each: the control socket; a listener that only this machine reaches; one with TLS.
 * What comes by the second is "this machine" unless a proxy says in a header that it asks for somebody
 * else. */
#define API_TAG_CONTROL  1
#define API_TAG_LOOPBACK 2
#define API_TAG_TLS      4

/* Reply loops of the engine that are the control plane's: engine_options.loop_count is the number of net's
 * loops plus this, and wake-ups for an index from net's loop count on go to api_wake. */
#define API_REPLY_LOOPS 3

struct api_options {
    struct engine *engine;
    struct store *store;
    struct relay *relay;        /* counts calls in flight; NULL = there are none */
    const char *store_url;      /* shown in the status; lives as long as the api */
    const char *listens;        /* the same: "127.0.0.1:8080, unix:/run/x" */
    uint32_t first_reply_loop;  /* net's loop count */
    bool sandbox;
    /* Reads the configuration again and puts it in force, as `actor`, also (`mixed`) where other gateways on the
     * same store decide by another; appends what is in force now, or what is
     * wrong. STATUS_NOT_FOUND: there is none to read. NULL = this is no gateway. Called on a thread of the
     * control plane. */
    enum status (*reload)(void *user, const char *actor, bool mixed, struct buf *said);
    void *reload_user;
    bool threads;               /* false: only api_do works, and no requests come in */
};
struct api_error {
    char text[512];
};

MUST_USE enum status api_open(const struct api_options *options, struct api_plane **api, struct api_error *error);
/* Joins the threads; requests that have no answer yet get none. Before engine_close. */
void api_stop(struct api_plane *api);
/* After the loops and the engine are gone: both may still wake it until then. */
void api_free(struct api_plane *api);

/* The engine has verdicts for reply loop `loop`; any thread. */
void api_wake(struct api_plane *api, uint32_t loop);

/* On the loop's thread. `loops` of one process are numbered as net does; NULL without memory. */
MUST_USE struct api_loop *api_loop_start(struct api_plane *api, struct net_loop *loop);
void api_loop_stop(struct api_loop *loop);
/* Sends what is answered. Call it when the loop is woken. */
void api_deliver(struct api_loop *loop);
/* A request that is not the relay's (relay_owns_path), or any on the control socket. Sets the exchange's
 * user pointer. */
void api_request(struct api_loop *loop, struct net_exchange *exchange, const struct http_head *head);

struct api_call {
    const char *method;
    struct slice target, body;
    const char *once_key; /* Idempotency-Key; NULL = none */
};
/* Does one request on the calling thread, as the control socket would, with `actor` on the ledger; not from
 * two threads at once. The answer's status; its body is appended to `out`. For start-up. */
int api_do(
    struct api_plane *api, const char *actor, const struct api_call *call, struct buf *out);

/* The same where no gateway runs: opens the store of the policy, if nobody holds it, with an engine that has
 * an epoch of its own (and so books what a gateway that died has left open), and closes all again. Takes
 * over one reference; *orphans is how many calls that was. STATUS_BUSY: a gateway holds the store; its
 * process id is in the text. */
MUST_USE enum status api_do_once(struct policy *policy, const char *actor, const struct api_call *call,
    int *http_status, struct buf *out, int64_t *orphans, struct api_error *error);
