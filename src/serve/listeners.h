/* serve/listeners.h: where the gateway listens, and the certificates it shows there: read at the start and
 * by every reload, watched for their end. */
#pragma once

#include "base/buf.h"
#include "log/log.h"
#include "net/net.h"
#include "policy/policy.h"

/* The caller's memory. */
struct listeners {
    struct net_listen at[LISTENS_MAX + 1]; /* for net_open; the last is the control socket */
    int count;
    struct net *net;        /* once it is open */
    struct net_timer timer; /* of loop 0: looks at the certificates twice a day */
};

/* `from` and `control` are borrowed for good. */
void listeners_init(
    struct listeners *listeners, const struct listen *from, int count, const char *control);
/* On loop 0: warns of certificates that end soon, now and from time to time. */
void listeners_watch(struct listeners *listeners, struct net_loop *loop);
void listeners_unwatch(struct listeners *listeners);

/* Two steps of a reload: the files that `policy` names for listeners that are there are read; then used. A
 * listener that it does not name, or not with TLS, goes on as it is. Any thread. */
MUST_USE enum status listeners_read(const struct listeners *listeners, const struct policy *policy,
    struct net_certificates **loaded, struct net_error *error);
void listeners_use(struct listeners *listeners, struct net_certificates *loaded);

/* When the first certificate ends, as "2027-01-31"; false where there is none. */
MUST_USE bool listeners_expire(const struct listeners *listeners, char out[16]);
/* "2027-01-31" in UTC. */
void date_text(int64_t wall_ms, char out[16]);
