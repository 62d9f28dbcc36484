/* net/dial.c: from a target to an open connection: pool, name, addresses in turn, handshake. */
#include "net/upstream_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PEER_SILENT_MS (60 * SECOND_MS) /* a machine that shows no sign of life */
#define ATTEMPT_MS_MAX                                                                             \
    2500 /* while there is another: what takes longer is a lost packet, or nobody */
#define ATTEMPT_MS_MIN 250 /* for one address, however many there are */

static void try_next_address(struct net_call *call, const char *why);

static int64_t
connect_due(const struct net_call *call)
{
    return call->deadlines.connect_ms > 0 ? call->start_mono_ms + call->deadlines.connect_ms
                                          : NET_NEVER_MONO_MS;
}

int64_t
net_dial_due(const struct net_call *call)
{
    return call->stage == CALL_CONNECTING ? min_i64(connect_due(call), call->attempt_due_mono_ms)
                                          : connect_due(call);
}

static void
drop_attempt(struct net_call *call)
{
    struct net_upstream *upstream = call->upstream;
    call->upstream = NULL;
    if (upstream) {
        upstream->call = NULL;
        net_upstream_drop(upstream, false);
    }
}

void
net_dial_cancel(struct net_call *call)
{
    list_remove(&call->resolve.node);
    list_remove(&call->handshake.node);
    free(call->addresses);
    call->addresses = NULL;
}

/* Who is called up: the proxy, where there is one. */
static const char *
dialled_host(const struct net_call *call)
{
    return call->pool->proxy_host ? call->pool->proxy_host : call->pool->host;
}

static uint16_t
dialled_port(const struct net_call *call)
{
    return call->pool->proxy_host ? call->pool->proxy_port : call->pool->port;
}

static void
opened(struct net_call *call)
{
    struct net_upstream *upstream = call->upstream;
    const union net_address *address = &call->addresses->list[call->address_index];
    if (call->address_index > 0) {
        net_resolve_prefer(call->loop, dialled_host(call), address);
    }
    call->upstream = NULL;
    net_dial_cancel(call);
    counter_add(COUNTER_UPSTREAM_CONNECTIONS, 1);
    net_call_open(call, upstream);
}

/* ---- TLS ---- */

static void
handshake(struct net_call *call)
{
    char detail[NET_DETAIL_BYTES] = "";
    struct net_upstream *upstream = call->upstream;
    switch (net_tls_handshake(upstream->tls)) {
    case NET_TLS_DONE: opened(call); return;
    case NET_TLS_WANTS_READ: net_sock_watch(&upstream->sock, UV_READABLE | UV_DISCONNECT); return;
    case NET_TLS_WANTS_WRITE: net_sock_watch(&upstream->sock, UV_WRITABLE); return;
    case NET_TLS_FAILED:
        net_tls_open_failed(upstream, detail);
        net_call_fail(call, NET_FAIL_TLS, "%s", detail);
        return;
    }
}

void
net_dial_handshake(struct net_handshake *turn)
{
    struct net_call *call = list_entry(turn, struct net_call, handshake);
    char detail[NET_DETAIL_BYTES] = "";
    call->stage = CALL_TLS;
    if (!net_tls_open(call->upstream, detail)) {
        net_call_fail(call, NET_FAIL_TLS, "%s", detail);
        return;
    }
    handshake(call);
}

static void
queue_handshake(struct net_call *call)
{
    call->stage = CALL_TLS_QUEUED;
    net_sock_watch(&call->upstream->sock, 0);
    net_handshakes_add(&call->loop->handshakes_out, &call->handshake);
}

void
net_dial_through(struct net_call *call)
{
    if (call->pool->tls) {
        queue_handshake(call);
    } else {
        opened(call);
    }
}

/* ---- TCP ---- */

static void
on_connecting_ready(struct net_sock *sock, int events)
{
    struct net_upstream *upstream = list_entry(sock, struct net_upstream, sock);
    struct net_call *call = upstream->call;
    int error = 0;
    socklen_t error_bytes = sizeof(error);

    (void)events;
    if (call->stage == CALL_TLS) {
        handshake(call);
        return;
    }
    if (call->stage == CALL_PROXY) {
        net_proxy_ready(call);
        return;
    }
    if (call->stage != CALL_CONNECTING) {
        return; /* waits for its turn; what has happened is seen then */
    }
    check(getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) == 0);
    if (error != 0) {
        char text[96];
        try_next_address(call, uv_strerror_r(uv_translate_sys_error(error), text, sizeof(text)));
    } else if (call->pool->proxy_host) {
        call->stage = CALL_PROXY;
        net_proxy_ask(call);
    } else {
        net_dial_through(call);
    }
}

/* A descriptor for a connection, if need be that of one which waits to be used again. */
static MUST_USE int
socket_for(struct net_call *call, int family)
{
    int fd = net_socket(family);
    while (fd < 0 && (errno == EMFILE || errno == ENFILE) && net_pool_shed(call->loop)) {
        fd = net_socket(family);
    }
    return fd;
}

/* NULL: connecting; else what is wrong. */
static const char *
connect_to(struct net_call *call, const union net_address *address, char *text, size_t text_size)
{
    const socklen_t bytes =
        address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
    const int fd = socket_for(call, address->any.sa_family);
    call->lacking = fd < 0;
    if (fd < 0) {
        return uv_strerror_r(uv_translate_sys_error(errno), text, text_size);
    }
    net_socket_no_delay(fd);
    net_socket_watch_peer(fd, PEER_SILENT_MS);
    struct net_upstream *upstream =
        net_upstream_make(call->loop, call->pool, fd, on_connecting_ready);
    call->lacking = !upstream;
    if (!upstream) {
        return "out of memory";
    }
    upstream->call = call;
    call->upstream = upstream;
    int status = 0;
    do {
        status = connect(fd, &address->any, bytes);
    } while (status != 0 && errno == EINTR);
    if (status != 0 && errno != EINPROGRESS) {
        return uv_strerror_r(uv_translate_sys_error(errno), text, text_size);
    }
    net_sock_watch(&upstream->sock, UV_WRITABLE);
    return NULL;
}

static void
set_attempt_due(struct net_call *call)
{
    const int64_t now = net_loop_mono_ms(call->loop);
    const int64_t due = connect_due(call);
    const int left = call->addresses->count - call->address_index;
    call->attempt_due_mono_ms =
        due == NET_NEVER_MONO_MS || left <= 1
            ? due
            : now + min_i64(ATTEMPT_MS_MAX, max_i64(ATTEMPT_MS_MIN, (due - now) / left));
}

/* Goes on behind the address that did not answer; `why` is what was wrong with it. */
static void
try_next_address(struct net_call *call, const char *why)
{
    char text[96];
    while (why) {
        drop_attempt(call);
        call->address_index++;
        if (call->address_index >= call->addresses->count) {
            if (!call->lacking) { /* they may well answer: it was we who could not ask */
                net_resolve_doubt(call->loop, dialled_host(call));
            }
            net_call_fail(call, call->lacking ? NET_FAIL_HERE : NET_FAIL_CONNECT,
                "connect to %s%s:%u: %s", call->pool->proxy_host ? "proxy " : "",
                dialled_host(call), (unsigned)dialled_port(call), why);
            return;
        }
        why = connect_to(call, &call->addresses->list[call->address_index], text, sizeof(text));
    }
    set_attempt_due(call);
    net_call_arm(call);
}

static void
on_resolved(struct net_resolve *resolve, const struct net_addresses *addresses, const char *why)
{
    struct net_call *call = list_entry(resolve, struct net_call, resolve);
    if (!addresses) {
        net_call_fail(call, NET_FAIL_DNS, "%s%s: %s", call->pool->proxy_host ? "proxy " : "",
            dialled_host(call), why);
        return;
    }
    call->addresses = malloc(sizeof(*call->addresses));
    if (!call->addresses) {
        net_call_fail(call, NET_FAIL_HERE, "out of memory");
        return;
    }
    *call->addresses = *addresses;
    for (int i = 0; i < addresses->count; i++) {
        union net_address *address = &call->addresses->list[i];
        if (address->any.sa_family == AF_INET) {
            address->v4.sin_port = htons(dialled_port(call));
        } else {
            address->v6.sin6_port = htons(dialled_port(call));
        }
    }
    call->stage = CALL_CONNECTING;
    call->address_index = -1;
    try_next_address(call, "");
}

void
net_dial_late(struct net_call *call)
{
    if (call->stage == CALL_CONNECTING && connect_due(call) > net_loop_mono_ms(call->loop)) {
        try_next_address(call, "no answer");
        return;
    }
    static const char *const doing[] = {
        [CALL_NEW] = "connecting",
        [CALL_RESOLVING] = "looking up the name",
        [CALL_CONNECTING] = "connecting",
        [CALL_PROXY] = "waiting for the proxy",
        [CALL_TLS_QUEUED] = "waiting to begin a TLS handshake",
        [CALL_TLS] = "the TLS handshake",
    };
    net_call_fail(call, NET_FAIL_TIMEOUT, "%s:%u: no connection within %lld ms (%s)",
        call->pool->host, (unsigned)call->pool->port, (long long)call->deadlines.connect_ms,
        doing[call->stage]);
}

void
net_dial(struct net_call *call)
{
    struct net_upstream *upstream = call->retried ? NULL : net_pool_take(call->loop, call->pool);
    if (upstream) {
        net_call_open(call, upstream);
        return;
    }
    call->stage = CALL_RESOLVING;
    call->resolve.on_done = on_resolved;
    net_call_arm(call);
    net_resolve(call->loop, dialled_host(call), &call->resolve);
}
