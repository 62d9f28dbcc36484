/* net/exchange.c: a request and its answer as the app holds them; it may outlive its connection. */
#include "net/net_priv.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/secret.h"

#define FREE_EXCHANGES_MAX 256 /* of a loop, that wait for their next use */

/* `piece` of the bytes at `from`, as it lies in their copy at `to`; static text stays where it
 * is. */
static struct slice
moved(struct slice piece, struct slice from, char *to)
{
    const uintptr_t at = (uintptr_t)piece.ptr;
    const uintptr_t begin = (uintptr_t)from.ptr;
    if (piece.ptr && at >= begin && at <= begin + from.len) {
        return slice_of(to + (at - begin), piece.len);
    }
    return piece;
}

static struct net_exchange *
take(struct net_loop *loop)
{
    if (list_empty(&loop->free_exchanges)) {
        return malloc(sizeof(struct net_exchange));
    }
    loop->free_exchange_count--;
    return list_entry(list_pop_front(&loop->free_exchanges), struct net_exchange, node);
}

static void
give(struct net_loop *loop, struct net_exchange *exchange)
{
    if (SPARES_NONE_WAIT || loop->free_exchange_count >= FREE_EXCHANGES_MAX) {
        free(exchange);
        return;
    }
    list_push_front(&loop->free_exchanges, &exchange->node);
    loop->free_exchange_count++;
}

/* Its lines may hold a client's key. */
static void
free_head(struct net_exchange *exchange)
{
    if (exchange->head) {
        struct buf block = { .ptr = (char *)exchange->head, .cap = exchange->head_room };
        secret_wipe(block.ptr, block.cap);
        spares_give(&exchange->loop->outs, &block);
        exchange->head = NULL;
    }
}

struct net_exchange *
net_exchange_make(struct net_conn *conn, const struct http_head *head, struct slice head_bytes)
{
    struct net_loop *loop = conn->sock.loop;
    /* A head has room for a hundred headers; most have twenty. */
    const size_t kept_bytes =
        offsetof(struct http_head, headers) + head->header_count * sizeof(head->headers[0]);
    struct net_exchange *exchange = take(loop);
    struct buf block = { 0 };
    if (!exchange || !spares_take(&loop->outs, &block, kept_bytes + head_bytes.len)) {
        free(exchange);
        return NULL;
    }
    struct http_head *kept = (struct http_head *)(void *)block.ptr; /* from malloc: aligned */
    *exchange = (struct net_exchange){ .conn = conn, .loop = loop, .tag = conn->tag };
    exchange->peer = conn->peer;
    exchange->head = kept;
    exchange->head_room = block.cap;
    char *bytes = (char *)kept + kept_bytes;
    memcpy(kept, head, kept_bytes);
    memcpy(bytes, head_bytes.ptr, head_bytes.len);

    kept->method_text = moved(head->method_text, head_bytes, bytes);
    kept->target = moved(head->target, head_bytes, bytes);
    kept->path = moved(head->path, head_bytes, bytes);
    kept->query = moved(head->query, head_bytes, bytes);
    kept->host = moved(head->host, head_bytes, bytes);
    for (uint32_t i = 0; i < kept->header_count; i++) {
        kept->headers[i].name = moved(head->headers[i].name, head_bytes, bytes);
        kept->headers[i].value = moved(head->headers[i].value, head_bytes, bytes);
    }
    list_init(&exchange->node);
    list_push_back(&exchange->loop->exchanges, &exchange->node);
    return exchange;
}

void
net_exchange_free(struct net_exchange *exchange)
{
    list_remove(&exchange->node);
    free_head(exchange);
    give(exchange->loop, exchange);
}

void
net_exchanges_close(struct net_loop *loop)
{
    while (!list_empty(&loop->free_exchanges)) {
        free(take(loop));
    }
}

void
net_head_forget(struct net_exchange *exchange)
{
    check(exchange->head_sent);
    free_head(exchange);
}

void
net_exchange_set_user(struct net_exchange *exchange, void *user)
{
    exchange->user = user;
}

void *
net_exchange_user(const struct net_exchange *exchange)
{
    return exchange->user;
}

struct net_loop *
net_exchange_loop(const struct net_exchange *exchange)
{
    return exchange->loop;
}

const struct http_head *
net_exchange_head(const struct net_exchange *exchange)
{
    static const struct http_head forgotten;
    return exchange->head ? exchange->head : &forgotten;
}

int
net_exchange_tag(const struct net_exchange *exchange)
{
    return exchange->tag;
}

struct slice
net_exchange_peer(const struct net_exchange *exchange)
{
    return slice_str(exchange->peer.text);
}

bool
net_exchange_peer_is_local(const struct net_exchange *exchange)
{
    return exchange->peer.local;
}

uint64_t
net_exchange_peer_block(const struct net_exchange *exchange)
{
    return exchange->peer.block;
}

void
net_body_read(struct net_exchange *exchange)
{
    struct net_conn *conn = exchange->conn;
    if (!conn || conn->body_wanted) {
        return;
    }
    conn->body_wanted = true;
    conn->input_mono_ms = conn->body_mono_ms = net_loop_mono_ms(exchange->loop);
    conn->body_bytes = 0;
    if (conn->continue_due && !conn->body_done && !conn->head_sent && conn->in.len == 0) {
        net_conn_out(conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    conn->continue_due = false;
    net_conn_wake(conn);
}

void
net_body_room(struct net_exchange *exchange, char *room, size_t bytes)
{
    struct net_conn *conn = exchange->conn;
    if (conn && conn->body.kind == HTTP_BODY_LENGTH) {
        conn->room = room;
        conn->room_bytes = bytes;
    }
}

void
net_body_pause(struct net_exchange *exchange)
{
    if (exchange->conn) {
        exchange->conn->body_wanted = false;
    }
}

void
net_abort(struct net_exchange *exchange)
{
    struct net_conn *conn = exchange->conn;
    if (!conn) {
        return;
    }
    if (!conn->broken) {
        conn->broken = !net_conn_flush(conn); /* what was good may go; it ends either way */
    }
    if (conn->head_sent && conn->answer == ANSWER_UNTIL_CLOSE) {
        /* Here a plain end would look like the whole answer: only a reset tells the truth. */
        const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
        (void)setsockopt(conn->sock.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    net_conn_close(conn);
}

void
net_close(struct net_exchange *exchange)
{
    struct net_conn *conn = exchange->conn;
    if (conn && !conn->ended) {
        net_abort(exchange);
    } else if (conn) {
        conn->exchange = NULL;
        conn->room_bytes = 0;
        net_conn_wake(conn);
    }
    net_exchange_free(exchange);
}
