/* net/handshakes.c: turns for TLS handshakes.
 *
 * A handshake costs about a millisecond: a loop begins at most so many a second in each direction, after
 * a burst, so that the streams it has go on. Those that wait do so within their own deadline. */
#include "net/net_priv.h"

#define HANDSHAKES_A_SECOND 400
#define HANDSHAKES_AT_ONCE  100
#define HANDSHAKE_US        (1000 * 1000 / HANDSHAKES_A_SECOND)
#define BUCKET_US           ((int64_t)HANDSHAKES_AT_ONCE * HANDSHAKE_US)

static void
on_turn(struct net_timer *timer)
{
    struct net_handshakes *handshakes = list_entry(timer, struct net_handshakes, timer);
    const int64_t now = net_loop_mono_ms(timer->loop);
    handshakes->tokens_us =
        min_i64(BUCKET_US, handshakes->tokens_us + (now - handshakes->tokens_at_mono_ms) * 1000);
    handshakes->tokens_at_mono_ms = now;
    while (!list_empty(&handshakes->queue) && handshakes->tokens_us >= HANDSHAKE_US) {
        struct net_handshake *first =
            list_entry(handshakes->queue.next, struct net_handshake, node);
        list_remove(&first->node);
        handshakes->tokens_us -= HANDSHAKE_US;
        first->begin(first);
    }
    if (!list_empty(&handshakes->queue)) {
        net_timer_start(timer, HANDSHAKE_US / 1000 + 1);
    }
}

void
net_handshakes_init(struct net_handshakes *handshakes, struct net_loop *loop)
{
    list_init(&handshakes->queue);
    net_timer_init(&handshakes->timer, loop, on_turn);
    handshakes->tokens_us = BUCKET_US;
    handshakes->tokens_at_mono_ms = net_loop_mono_ms(loop);
}

void
net_handshake_init(struct net_handshake *handshake, void (*begin)(struct net_handshake *handshake))
{
    list_init(&handshake->node);
    handshake->begin = begin;
}

void
net_handshakes_add(struct net_handshakes *handshakes, struct net_handshake *handshake)
{
    list_push_back(&handshakes->queue, &handshake->node);
    if (handshakes->timer.due_mono_ms == 0) {
        on_turn(&handshakes->timer);
    }
}
