/* tests/unit/store/proxy.h: stands between a store and the PostgreSQL server of TIDEGATE_TEST_PG, and cuts
 * the connection at the moment that a test is about: when a COMMIT is on its way. */
#pragma once

#include <stdbool.h>

#include "unit.h"

struct proxy;

enum proxy_mode {
    PROXY_PASS,
    PROXY_CUT_BEFORE, /* nothing of what carries a COMMIT reaches the server */
    PROXY_CUT_WITHIN, /* what stands before the COMMIT does */
    PROXY_CUT_AFTER,  /* the server does it, and its answer is lost */
    PROXY_HOLD,       /* the client is cut off; what carries the COMMIT comes late: proxy_deliver */
};

struct proxy *proxy_start(void);
void proxy_stop(struct proxy *proxy);
int proxy_port(const struct proxy *proxy);
/* Of the next COMMIT only. */
void proxy_set(struct proxy *proxy, enum proxy_mode mode);
/* Whether new connections are turned away. */
void proxy_refuse(struct proxy *proxy, bool refuse);
/* What was held goes to the server now; returns when the server has answered, or has left. */
void proxy_deliver(struct proxy *proxy);
