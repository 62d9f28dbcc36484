/* net/handler.h: who answers an exchange. What an exchange's user pointer points to begins with this, so
 * that one net_app can serve several rooms (the relay, the control plane). */
#pragma once

#include "net/net.h"

struct net_handler {
    void (*on_body)(struct net_exchange *exchange, struct slice piece, bool last);
    void (*on_gone)(struct net_exchange *exchange);
    void (*on_drained)(struct net_exchange *exchange); /* may be NULL */
};
struct net_handled {
    const struct net_handler *handler;
};
