/* relay/relay.h: the life of a model call, from the first byte of its head to the last of its answer.
 *
 * A call walks through states, one function each (relay/call_*.c):
 *   IDENTIFY  the key is looked up (loop's cache, else the gate) before a byte of the body is read
 *   BODY      the body is gathered; facts are found in it
 *   GATE      the gate decides: allowed, waiting in a line, or refused
 *   SEND      the body goes to the provider, spliced where it must be
 *   HEAD      its answer is judged: relayed, or the next route is tried
 *   ANSWER    bytes flow to the client, tapped for usage; a stream asks for more hold as it goes
 *   DRAIN     the client is gone, but the provider bills on: read to learn the usage
 *   SETTLED   one settlement was submitted; the call is given back to its pool
 * Every way out of GATE's "allowed" goes through one function, call_settle, exactly once. */
#pragma once

#include "base/budget.h"
#include "engine/engine.h"
#include "engine/replies.h"
#include "net/handler.h"
#include "policy/policy.h"
#include "wire/json.h"

struct relay;      /* one per process */
struct relay_loop; /* one per loop */

struct relay_options {
    struct engine *engine;
    struct budget *bodies; /* shared with net; borrowed */
    int loop_count;
};

MUST_USE enum status relay_open(const struct relay_options *options, struct relay **relay);
void relay_free(struct relay *relay);

/* On the loop's thread, from net_app's on_loop_start / on_loop_stop. `replies` is shared with the control
 * plane of the same loop, which calls replies_deliver on wake-ups. */
MUST_USE struct relay_loop *relay_loop_start(struct relay *relay, struct net_loop *loop, struct replies *replies);
void relay_loop_stop(struct relay_loop *loop);
/* From net_app's on_wake, after replies_deliver. */
void relay_loop_wake(struct relay_loop *loop);
/* Any thread, beside net_stop with a longer grace; again to shorten it: calls still open after `grace_ms` are settled and
 * end cleanly for their clients: streams with the error event of their dialect, the others refused. */
void relay_stop(struct relay *relay, struct net *net, int64_t grace_ms);

/* A request for one of the relay's endpoints (tbl/endpoints.h); or for none at all: then a 404 that names
 * what exists, in the dialect of the path. Sets the exchange's user pointer (net/handler.h). */
void relay_request(struct relay_loop *loop, struct net_exchange *exchange, const struct http_head *head);
/* Whether a path is the relay's: model endpoints and everything nobody else answers. */
bool relay_owns_path(struct slice path);
/* Calls that are not settled yet; for draining. */
int64_t relay_calls_open(const struct relay *relay);

#define RELAY_TAG_BYTES sizeof(((struct call_event *)NULL)->tags[0])

/* What a JSON value says as a tag (policy->tags): a string its text, a number or truth value as it is written; what
 * is no name of up to 63 bytes is told apart by its hash, so that no value escapes a limit. False: a list, an object
 * or null, which say none. `out` is empty before, and stays so for an empty string. `arena`: for strings with
 * escapes. */
bool relay_tag_of_json(struct json_value value, struct arena *arena, char out[RELAY_TAG_BYTES]);

/* A route that failed of late, or that is left alone for a while (relay/cooldown.h). */
struct relay_route {
    char provider[64], model[NAME_MAX_BYTES + 1];
    const char *cause;     /* why it is left alone: failing, asked, spent; "none" */
    int32_t failures;      /* in a row */
    int64_t opens_in_ms;   /* 0 = the next call is to ask it whether it is well again */
    bool cooling, probing; /* left alone; a call asks it now; neither: it failed of late */
};
/* Any thread. How many there are, at most `routes_max`. Those that nobody asks any more are forgotten. */
int relay_routes_resting(struct relay *relay, struct relay_route *routes, int routes_max);
/* Any thread. How many of them are left alone now, the same forgotten. */
int relay_routes_cooling(struct relay *relay);
