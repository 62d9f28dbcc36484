/* net/upstream_priv.h: calls to providers: the call, its connection, the pool, the way there. */
#pragma once

#include <netinet/in.h>
#include <sys/uio.h>

#include "net/tls_priv.h"

#define NET_DETAIL_BYTES  256
#define NET_ADDRESSES_MAX 8

/* ---- resolve.c: names to addresses, kept half a minute by each loop */

union net_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct net_addresses {
    int count;
    union net_address list[NET_ADDRESSES_MAX];
};

/* ---- lookups.c: the system asked, off the loops */

struct net_ask { /* lives until its answer, or net_lookups_close */
    struct list node;
    struct net_loop *loop;
    void (*on_answer)(struct net_ask *ask); /* on its loop */
    struct net_addresses found; /* none: `why` */
    char why[96];
};

struct net_lookups *net_lookups_open(void); /* NULL when no memory */
void net_lookups_close(struct net_lookups *lookups);
/* False: neither memory nor a thread, and on_answer never comes. */
MUST_USE bool net_lookup(struct net_lookups *lookups, const char *host, struct net_ask *ask);
/* Brings the loop what was found for it. */
void net_lookups_deliver(struct net_loop *loop);

struct net_resolve {
    struct list node; /* on the name's waiters; list_remove() cancels */
    /* `addresses` NULL: `why` says what is wrong with the name. Neither outlives the callback. */
    void (*on_done)(struct net_resolve *resolve, const struct net_addresses *addresses,
        const char *why);
};

/* on_done may be called before this returns. */
void net_resolve(struct net_loop *loop, const char *host, struct net_resolve *resolve);
/* This address of the name answered: the next connections try it first. */
void net_resolve_prefer(struct net_loop *loop, const char *host, const union net_address *address);
/* None of its addresses answered: they are looked up again before their time. */
void net_resolve_doubt(struct net_loop *loop, const char *host);
void net_resolve_close(struct net_loop *loop);

/* ---- pool.c: connections that wait for their next call, by everything that must not be mixed */

struct ssl_session_st;
struct ssl_ctx_st;

struct net_pool {
    struct list node; /* on loop->pools, the longest unused first */
    uint64_t key;
    bool mapped;     /* false: another one has its key; then nothing is shared */
    int user_count;  /* calls and connections, the idle ones too */
    int idle_count;
    struct list idle;  /* struct net_upstream, the last used first */
    struct list fresh; /* the same; not watched for a turn yet */
    struct ssl_session_st *session; /* to resume from; NULL = none yet */
    struct ssl_ctx_st *session_context; /* under whose roots it was made */
    int64_t used_mono_ms;
    uint16_t port;
    bool tls;
    uint16_t proxy_port;
    const char *host, *ca_file, *credential_id; /* in `text` */
    const char *proxy_host, *proxy_authorization; /* the latter a secret */
    size_t text_bytes;
    char text[];
};

/* A connection to a provider. */
struct net_upstream {
    struct net_sock sock;
    struct list node;     /* pool->idle or ->fresh */
    struct list lru_node; /* loop->idle_upstreams, the longest idle first */
    struct net_pool *pool;
    struct net_call *call; /* NULL while idle */
    struct net_tls *tls;   /* NULL = plain */
    int64_t idle_mono_ms, idle_turn;
    bool reused;
};

/* NULL when no memory. Both count as a use. */
struct net_pool *net_pool_of(struct net_loop *loop, const struct net_target *target);
void net_pool_leave(struct net_loop *loop, struct net_pool *pool);
/* A connection that was used lately and is still good, or NULL. */
struct net_upstream *net_pool_take(struct net_loop *loop, struct net_pool *pool);
void net_pool_put(struct net_upstream *upstream);
/* For dial.c; the descriptor is taken over. NULL when no memory. */
struct net_upstream *net_upstream_make(struct net_loop *loop, struct net_pool *pool, int fd,
    void (*on_ready)(struct net_sock *, int));
/* `politely`: the peer is told that nothing more comes. */
void net_upstream_drop(struct net_upstream *upstream, bool politely);
/* As net_sock_read and net_sock_write, through TLS where there is some. */
MUST_USE ssize_t net_upstream_read(struct net_upstream *upstream, char *out, size_t size);
MUST_USE ssize_t net_upstream_write(
    struct net_upstream *upstream, struct iovec *pieces, int piece_count);

/* ---- the call */

enum call_stage {
    CALL_NEW,
    CALL_RESOLVING,
    CALL_CONNECTING,
    CALL_PROXY,      /* the tunnel is asked for */
    CALL_TLS_QUEUED, /* new handshakes are bounded in their rate */
    CALL_TLS,
    CALL_OPEN,
};

struct net_call {
    struct list node; /* loop->calls */
    struct net_loop *loop;
    struct net_pool *pool;
    struct net_upstream *upstream;
    const struct net_call_events *events;
    void *user;
    struct net_task task;
    struct net_timer timer;
    struct net_resolve resolve;
    struct net_handshake handshake; /* waits on loop->handshakes_out */
    enum call_stage stage;
    enum http_method method; /* decides whether the answer has a body */
    bool finished;           /* its last callback has begun */
    bool retried, all_sent, send_failed, sent_told;
    bool got_byte, head_done, body_done, keep_alive, paused;
    int interim_count;
    struct net_deadlines deadlines;
    int64_t start_mono_ms, step_mono_ms; /* of the last byte sent or received */
    int64_t attempt_due_mono_ms;         /* for this address */
    bool lacking; /* the last address was not tried: nothing was left here to try it with */
    struct net_addresses *addresses;     /* while connecting */
    int address_index;
    struct buf in; /* of the answer: read and not used yet */
    struct http_parse_state parse;
    struct http_body body;
    int piece_count, piece_index; /* the first not wholly sent */
    size_t piece_sent_bytes;
    bool spare; /* made with room for SPARE_PIECES: waits for its next use */
    struct slice pieces[];
};

void net_call_open(struct net_call *call, struct net_upstream *upstream);
/* The last word on a call. Not within a call of net.h. */
void net_call_fail(struct net_call *call, enum net_fail why, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Looks at its deadlines anew. */
void net_call_arm(struct net_call *call);
void net_call_ready(struct net_sock *sock, int events);

/* ---- dial.c: from a target to a connection */

void net_dial(struct net_call *call);
void net_dial_cancel(struct net_call *call);
int64_t net_dial_due(const struct net_call *call);
void net_dial_late(struct net_call *call);
/* The way is open: on to TLS, or to the call. */
void net_dial_through(struct net_call *call);
/* Its turn to begin the handshake has come. */
void net_dial_handshake(struct net_handshake *turn);

/* ---- proxy.c: a tunnel, asked for by CONNECT */

/* The connection to the proxy stands. Ends in net_dial_through or net_call_fail. */
void net_proxy_ask(struct net_call *call);
void net_proxy_ready(struct net_call *call);

/* ---- tls_client.c */

/* False: `detail` says why, for logs. */
MUST_USE bool net_tls_open(struct net_upstream *upstream, char detail[NET_DETAIL_BYTES]);
/* What was wrong with its handshake. */
void net_tls_open_failed(struct net_upstream *upstream, char detail[NET_DETAIL_BYTES]);
void net_tls_forget_session(struct net_pool *pool);
void net_tls_free_contexts(struct net *net);
