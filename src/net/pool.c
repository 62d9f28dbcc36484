/* net/pool.c: connections to providers that wait for their next call.
 *
 * Two calls share a connection only if they agree in host, port, TLS, roots and credential: a
 * provider may tie a connection to whom it first saw on it. An idle connection on which anything
 * arrives, be it bytes or the end, is closed. */
#include "net/upstream_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"

#define IDLE_MS         (60 * SECOND_MS)
#define IDLE_MAX        64               /* of one pool; then the longest idle goes */
#define UNUSED_MS       (10 * MINUTE_MS) /* a pool with its TLS session, since its last call */
#define POOLS_MAX       4096
#define SWEEP_MS        (5 * SECOND_MS)
#define SWEEP_POOLS_MAX 256 /* looked at in one sweep */

/* ---- pools ---- */

static uint64_t
key_of(const struct net_target *target)
{
    const struct slice parts[] = { slice_str(target->host), slice_str(target->ca_file),
        slice_str(target->credential_id) };
    uint64_t key = hash_pair(target->port, target->tls);
    for (size_t i = 0; i < countof(parts); i++) {
        key = hash_pair(key, hash_bytes(parts[i]) + (parts[i].ptr != NULL)); /* none is not "" */
    }
    if (target->proxy_host) {
        key = hash_pair(hash_pair(key, target->proxy_port),
            hash_pair(hash_bytes(slice_str(target->proxy_host)),
                hash_bytes(slice_str(target->proxy_authorization))));
    }
    return key;
}

static bool
same_text(const char *a, const char *b)
{
    return slice_eq(slice_str(a), slice_str(b)) && !a == !b;
}

static bool
pool_fits(const struct net_pool *pool, const struct net_target *target)
{
    return pool->port == target->port && pool->tls == target->tls
           && same_text(pool->host, target->host) && same_text(pool->ca_file, target->ca_file)
           && same_text(pool->credential_id, target->credential_id)
           && pool->proxy_port == target->proxy_port
           && same_text(pool->proxy_host, target->proxy_host)
           && same_text(pool->proxy_authorization, target->proxy_authorization);
}

static char *
keep_text(char **end, const char *text)
{
    char *kept = *end;
    if (!text) {
        return NULL;
    }
    const size_t bytes = strlen(text) + 1;
    memcpy(kept, text, bytes);
    *end += bytes;
    return kept;
}

static struct net_pool *
pool_make(const struct net_target *target, uint64_t key)
{
    const size_t text_bytes = slice_str(target->host).len + slice_str(target->ca_file).len
                              + slice_str(target->credential_id).len
                              + slice_str(target->proxy_host).len
                              + slice_str(target->proxy_authorization).len + 5;
    struct net_pool *pool = calloc(1, sizeof(*pool) + text_bytes);
    if (pool) {
        char *end = pool->text;
        list_init(&pool->node);
        list_init(&pool->idle);
        list_init(&pool->fresh);
        pool->key = key;
        pool->port = target->port;
        pool->tls = target->tls;
        pool->host = keep_text(&end, target->host);
        pool->ca_file = keep_text(&end, target->ca_file);
        pool->credential_id = keep_text(&end, target->credential_id);
        pool->proxy_host = keep_text(&end, target->proxy_host);
        pool->proxy_port = target->proxy_port;
        pool->proxy_authorization = keep_text(&end, target->proxy_authorization);
        pool->text_bytes = text_bytes;
    }
    return pool;
}

static void
pool_free(struct net_loop *loop, struct net_pool *pool)
{
    check(pool->user_count == 0);
    if (pool->mapped) {
        (void)map_remove(&loop->pool_of, pool->key);
    }
    list_remove(&pool->node);
    net_tls_forget_session(pool);
    secret_wipe(pool->text, pool->text_bytes);
    free(pool);
}

/* Frees pools that nobody has used for long, and more while there are too many. */
static void
sweep_pools(struct net_loop *loop)
{
    const int64_t before = net_loop_mono_ms(loop) - UNUSED_MS;
    struct list *next = NULL;
    int looked_at = 0;
    for (struct list *node = loop->pools.next; node != &loop->pools; node = next) {
        struct net_pool *pool = list_entry(node, struct net_pool, node);
        next = node->next;
        if (looked_at++ >= SWEEP_POOLS_MAX
            || (pool->used_mono_ms > before && loop->pool_of.count <= POOLS_MAX)) {
            return; /* the ones behind it were used later */
        }
        if (pool->user_count == 0) {
            pool_free(loop, pool);
        }
    }
}

static struct net_pool *
find_pool(struct net_loop *loop, const struct net_target *target)
{
    struct net_pool *last = list_entry(loop->pools.prev, struct net_pool, node);
    if (!list_empty(&loop->pools) && last->mapped && pool_fits(last, target)) {
        return last; /* as it is for most calls of most gateways */
    }
    const uint64_t key = key_of(target);
    struct net_pool *pool = map_get(&loop->pool_of, key);
    if (!pool || !pool_fits(pool, target)) {
        const bool taken = pool != NULL;
        pool = pool_make(target, key);
        if (pool) {
            pool->mapped = !taken && map_put(&loop->pool_of, key, pool);
        }
    }
    return pool;
}

struct net_pool *
net_pool_of(struct net_loop *loop, const struct net_target *target)
{
    struct net_pool *pool = find_pool(loop, target);
    if (!pool) {
        return NULL;
    }
    pool->user_count++;
    pool->used_mono_ms = net_loop_mono_ms(loop);
    list_remove(&pool->node);
    list_push_back(&loop->pools, &pool->node);
    if (loop->pool_of.count > POOLS_MAX) {
        sweep_pools(loop);
    }
    return pool;
}

void
net_pool_leave(struct net_loop *loop, struct net_pool *pool)
{
    check(pool->user_count > 0);
    pool->user_count--;
    if (pool->user_count == 0 && !pool->mapped) {
        pool_free(loop, pool);
    }
}

/* ---- connections ---- */

static void
on_upstream_closed(struct net_sock *sock)
{
    free(list_entry(sock, struct net_upstream, sock));
}

struct net_upstream *
net_upstream_make(
    struct net_loop *loop, struct net_pool *pool, int fd, void (*on_ready)(struct net_sock *, int))
{
    struct net_upstream *upstream = calloc(1, sizeof(*upstream));
    if (!upstream) {
        (void)close(fd);
        return NULL;
    }
    if (!net_sock_open(&upstream->sock, loop, fd, on_ready, on_upstream_closed)) {
        free(upstream);
        return NULL;
    }
    list_init(&upstream->node);
    list_init(&upstream->lru_node);
    upstream->pool = pool;
    pool->user_count++;
    counter_add(COUNTER_UPSTREAM_CONNECTIONS_OPEN, 1);
    return upstream;
}

void
net_upstream_drop(struct net_upstream *upstream, bool politely)
{
    struct net_loop *loop = upstream->sock.loop;
    check(!upstream->call);
    if (upstream->sock.fd < 0) {
        return;
    }
    if (!list_empty(&upstream->lru_node)) {
        list_remove(&upstream->lru_node);
        list_remove(&upstream->node);
        upstream->pool->idle_count--;
    }
    if (upstream->tls) {
        net_tls_free(upstream->tls, politely);
        upstream->tls = NULL;
    }
    net_sock_close(&upstream->sock);
    counter_add(COUNTER_UPSTREAM_CONNECTIONS_OPEN, -1);
    net_pool_leave(loop, upstream->pool);
    upstream->pool = NULL;
}

ssize_t
net_upstream_read(struct net_upstream *upstream, char *out, size_t size)
{
    return upstream->tls ? net_tls_read(upstream->tls, out, size)
                         : net_sock_read(&upstream->sock, out, size);
}

ssize_t
net_upstream_write(struct net_upstream *upstream, struct iovec *pieces, int piece_count)
{
    return upstream->tls ? net_tls_write(upstream->tls, pieces, piece_count)
                         : net_sock_write(&upstream->sock, pieces, piece_count);
}

/* Whether the peer has sent nothing and not ended. */
static bool
is_quiet(struct net_upstream *upstream)
{
    char byte = 0;
    if (upstream->tls) {
        return net_tls_quiet(upstream->tls);
    }
    return recv(upstream->sock.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0
           && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void
on_idle_ready(struct net_sock *sock, int events)
{
    struct net_upstream *upstream = list_entry(sock, struct net_upstream, sock);
    (void)events; /* whatever it is, it was not asked for; TLS may renew its tickets */
    if (!is_quiet(upstream)) {
        net_upstream_drop(upstream, true);
    }
}

/* The loop's polls tell of bytes or an end on an idle connection, and it is dropped. One that was idle before the
 * last poll, and is on its list still when all that was told is looked at, needs no other look. */
static bool
was_watched(const struct net_loop *loop, const struct net_upstream *upstream)
{
    return !upstream->tls && !loop->polling && upstream->idle_turn < loop->turn;
}

/* The next to be used: better one that was watched. */
static struct net_upstream *
best_of(const struct net_loop *loop, struct net_pool *pool)
{
    while (!list_empty(&pool->fresh)) {
        struct net_upstream *oldest = list_entry(pool->fresh.prev, struct net_upstream, node);
        if (oldest->idle_turn == loop->turn) {
            break;
        }
        list_remove(&oldest->node);
        list_push_front(&pool->idle, &oldest->node);
    }
    struct list *from = list_empty(&pool->idle) ? &pool->fresh : &pool->idle;
    return list_empty(from) ? NULL : list_entry(from->next, struct net_upstream, node);
}

struct net_upstream *
net_pool_take(struct net_loop *loop, struct net_pool *pool)
{
    struct net_upstream *upstream = NULL;
    while ((upstream = best_of(loop, pool)) != NULL) {
        if (!was_watched(loop, upstream)
            && !is_quiet(upstream)) { /* its end may have come since the loop last looked */
            net_upstream_drop(upstream, true);
            continue;
        }
        list_remove(&upstream->node);
        list_remove(&upstream->lru_node);
        pool->idle_count--;
        upstream->reused = true;
        counter_add(COUNTER_UPSTREAM_REUSED, 1);
        return upstream;
    }
    return NULL;
}

void
net_pool_put(struct net_upstream *upstream)
{
    struct net_loop *loop = upstream->sock.loop;
    struct net_pool *pool = upstream->pool;
    check(!upstream->call);
    if ((upstream->tls && !is_quiet(upstream)) || net_stopping(loop->net) || !pool->mapped) {
        net_upstream_drop(upstream, true);
        return;
    }
    if (pool->idle_count >= IDLE_MAX) {
        struct list *from = list_empty(&pool->idle) ? &pool->fresh : &pool->idle;
        net_upstream_drop(list_entry(from->prev, struct net_upstream, node), true);
    }
    upstream->sock.on_ready = on_idle_ready;
    upstream->idle_mono_ms = net_loop_mono_ms(loop);
    upstream->idle_turn = loop->turn;
    list_push_front(&pool->fresh, &upstream->node);
    list_push_back(&loop->idle_upstreams, &upstream->lru_node);
    pool->idle_count++;
    net_sock_watch(&upstream->sock, UV_READABLE | UV_DISCONNECT);
    if (loop->pool_timer.due_mono_ms == 0) {
        net_timer_start(&loop->pool_timer, SWEEP_MS);
    }
}

bool
net_pool_shed(struct net_loop *loop)
{
    if (list_empty(&loop->idle_upstreams)) {
        return false;
    }
    net_upstream_drop(list_entry(loop->idle_upstreams.next, struct net_upstream, lru_node), true);
    return true;
}

static void
on_pool_timer(struct net_timer *timer)
{
    struct net_loop *loop = list_entry(timer, struct net_loop, pool_timer);
    const int64_t before = net_loop_mono_ms(loop) - IDLE_MS;
    while (!list_empty(&loop->idle_upstreams)) {
        struct net_upstream *upstream =
            list_entry(loop->idle_upstreams.next, struct net_upstream, lru_node);
        if (upstream->idle_mono_ms > before) {
            break;
        }
        net_upstream_drop(upstream, true);
    }
    sweep_pools(loop);
    if (!list_empty(&loop->pools)) {
        net_timer_start(&loop->pool_timer, SWEEP_MS);
    }
}

void
net_upstream_open(struct net_loop *loop)
{
    list_init(&loop->pools);
    list_init(&loop->idle_upstreams);
    net_timer_init(&loop->pool_timer, loop, on_pool_timer);
}

void
net_upstream_close(struct net_loop *loop)
{
    struct list *next = NULL;
    for (struct list *node = loop->idle_upstreams.next; node != &loop->idle_upstreams;
         node = next) {
        next = node->next;
        net_upstream_drop(list_entry(node, struct net_upstream, lru_node), true);
    }
    for (struct list *node = loop->pools.next; node != &loop->pools; node = next) {
        next = node->next;
        pool_free(loop, list_entry(node, struct net_pool, node));
    }
    map_free(&loop->pool_of);
}
