/* api/streams.c: answers that go on, on the loop: what a thread has found goes out, then the loop has it look again
 * after a while. A stream ends cleanly when its gateway stops, when its key may no longer ask, or when the books
 * cannot be read; its client comes back. */
#include "api/api_priv.h"

#include "base/clock.h"

#define LOOK_EVERY_MS SECOND_MS
#define COMMENT_AFTER_MS                                                                           \
    (15 * SECOND_MS)     /* without an event, so that nobody takes the connection for dead */
#define FOLLOWERS_MAX 64 /* of a gateway: each looks once a second */

bool
stream_enter(struct api_plane *api)
{
    (void)pthread_mutex_lock(&api->lock);
    const bool room = api->followers < FOLLOWERS_MAX;
    api->followers += room;
    (void)pthread_mutex_unlock(&api->lock);
    return room;
}

void
stream_leave(struct api_plane *api)
{
    (void)pthread_mutex_lock(&api->lock);
    api->followers--;
    (void)pthread_mutex_unlock(&api->lock);
}

static void
end_stream(struct ask *ask)
{
    net_end(ask->exchange);
    net_close(ask->exchange);
    ask_free(ask);
}

static void
send_text(struct ask *ask, struct slice text)
{
    (void)net_send(ask->exchange, &text, 1);
    ask->sent_mono_ms = clock_mono_ms();
}

static void
send_head(struct ask *ask)
{
    answer_header(ask, "Content-Type", ask->media_type);
    answer_header(ask, "Cache-Control", "no-store");
    answer_header(ask, "X-Accel-Buffering", "no"); /* a proxy passes each event on at once */
    net_send_head(ask->exchange, ask->status, buf_slice(&ask->headers), NET_LENGTH_CHUNKED);
    ask->sent_mono_ms = clock_mono_ms();
}

static void
look_again(struct ask *ask)
{
    list_remove(&ask->node);
    buf_clear(&ask->out);
    buf_clear(&ask->headers);
    ask->status = 0;
    ask->with_thread = true;
    if (!ask_queue(ask)) { /* later, then */
        ask->with_thread = false;
        list_push_back(&ask->loop->following, &ask->node);
    }
}

void
stream_send(struct ask *ask)
{
    struct api_loop *loop = ask->loop;
    if (!ask->exchange) {
        ask_free(ask);
        return;
    }
    if (!net_head_sent(ask->exchange)) {
        send_head(ask);
    }
    if (ask->status != 200) {
        send_text(ask, SLICE("event: error\ndata: "));
        send_text(ask, buf_slice(&ask->out)); /* it ends with a line feed */
        send_text(ask, SLICE("\n"));
        end_stream(ask);
        return;
    }
    if (ask->out.len > 0) {
        send_text(ask, buf_slice(&ask->out));
    }
    if (net_stopping(net_loop_net(loop->loop))) {
        end_stream(ask);
        return;
    }
    list_push_back(&loop->following, &ask->node);
    if (ask->more || loop->look.due_mono_ms == 0) {
        net_timer_start(&loop->look, ask->more ? 1 : LOOK_EVERY_MS);
    }
}

/* What its client has not taken yet waits there, and nothing more is looked for. */
static void
on_look(struct net_timer *timer)
{
    struct api_loop *loop = list_entry(timer, struct api_loop, look);
    const int64_t mono_ms = clock_mono_ms();
    struct list due;
    list_init(&due);
    while (!list_empty(&loop->following)) {
        struct list *node = loop->following.next;
        list_remove(node);
        list_push_back(&due, node);
    }
    while (!list_empty(&due)) {
        struct ask *ask = list_entry(due.next, struct ask, node);
        list_remove(&ask->node);
        if (mono_ms - ask->sent_mono_ms >= COMMENT_AFTER_MS) {
            send_text(ask, SLICE(":\n\n"));
        }
        list_push_back(&loop->following, &ask->node);
        if (net_unsent_bytes(ask->exchange) == 0) {
            look_again(ask);
        }
    }
    if (!list_empty(&loop->following)) {
        net_timer_start(&loop->look, LOOK_EVERY_MS);
    }
}

void
streams_start(struct api_loop *loop)
{
    list_init(&loop->following);
    net_timer_init(&loop->look, loop->loop, on_look);
}

void
streams_stop(struct api_loop *loop)
{
    net_timer_stop(&loop->look);
}

void
streams_end(struct api_loop *loop)
{
    while (!list_empty(&loop->following)) {
        end_stream(list_entry(loop->following.next, struct ask, node));
    }
}
