/* net/net_priv.h: a loop and its sockets, as the files of net/ share them.
 *
 * One turn of a loop: libuv's timers, then its descriptors and wake-ups; each handler changes what
 * it owns and, where an app may be on the stack, leaves the rest to a task. Tasks run when the
 * handlers are through, before the loop sleeps: so no callback ever runs inside a call of net.h,
 * and what an app does in several calls leaves in one write.
 *
 * Sockets are watched with uv_poll and read and written here, not by uv_stream: one read buffer
 * a loop, the same code for TCP, unix sockets and TLS, and the end of a peer (EPOLLRDHUP) is
 * seen without reading a byte. Objects with a uv handle in them are freed in its close callback,
 * so a handler may look at its own object after any callback. */
#pragma once

#include <stdatomic.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/spares.h"
#include "base/units.h"
#include "log/metrics.h"
#include "net/net.h"

#define NET_READ_BYTES (64 * 1024) /* of a loop; one read is enough for most events */
#define NET_FIRST_READ_BYTES                                                                       \
    (8 * 1024)               /* of a request: most heads with a small body; what is behind them of a
                                          * larger one is read to its place, not copied there */
#define NET_READS_A_TURN  8  /* then the other sockets have their turn */
#define NET_GATHERED_MAX  64 /* small writes that wait for the end of a turn */
#define NET_OVERFLOWS_MAX 32 /* connections beyond the limit being told so, a loop */
#define NET_DATE_BYTES    30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and its NUL */
#define NET_NEVER_MONO_MS INT64_MAX

/* ---- tasks: what is left to do at the end of a turn */

struct net_task {
    struct list node;
    void (*run)(struct net_task *task);
};

void net_task_init(struct net_task *task, void (*run)(struct net_task *task));
/* Runs it once, however often it was added. */
void net_task_add(struct net_loop *loop, struct net_task *task);
/* Behind a handler, where no app is on the stack: the tasks run before the end of a turn in which
 * NET_GATHERED_MAX writes wait already. */
void net_tasks_run_if_many(struct net_loop *loop);

/* ---- timers.c: a hierarchical wheel: no memory, constant time, one uv_timer for all */

#define WHEEL_DIGIT_BITS 6
#define WHEEL_SLOTS      (1 << WHEEL_DIGIT_BITS)
#define WHEEL_LEVELS     7 /* 2^42 ms: more than a century of uptime */

struct net_wheel {
    int64_t now_mono_ms;   /* every timer that was due by then has run */
    int64_t armed_mono_ms; /* when the uv_timer fires; NET_NEVER_MONO_MS = it does not run */
    uint64_t filled[WHEEL_LEVELS]; /* one bit a slot */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list expired; /* due, their callbacks about to run */
    uv_timer_t uv;
};

void net_wheel_init(struct net_wheel *wheel, int64_t now_ms);
void net_wheel_put(struct net_wheel *wheel, struct net_timer *timer);
void net_wheel_take(struct net_wheel *wheel, struct net_timer *timer);
/* Brings the wheel to `now_ms`; what is due is on wheel->expired. */
void net_wheel_turn(struct net_wheel *wheel, int64_t now_ms);
MUST_USE int net_wheel_open(struct net_loop *loop); /* a uv status */

/* ---- sock.c */

struct net_sock {
    uv_poll_t poll;
    struct net_loop *loop;
    int fd;      /* -1 once closed */
    int watched; /* bits of enum uv_poll_event */
    void (*on_ready)(struct net_sock *sock, int events);
    void (*on_closed)(struct net_sock *sock); /* frees the object around it */
};

/* Takes over `fd`, which must not block; on failure it is closed and on_closed is not called. */
MUST_USE bool net_sock_open(struct net_sock *sock, struct net_loop *loop, int fd,
    void (*on_ready)(struct net_sock *, int), void (*on_closed)(struct net_sock *));
void net_sock_watch(struct net_sock *sock, int events);
void net_sock_close(struct net_sock *sock);
/* What a read or write came to: the bytes, or one of these. */
enum { NET_IO_AGAIN = -1, NET_IO_LOST = -2 };
/* 0 = the peer's end. */
MUST_USE ssize_t net_sock_read(struct net_sock *sock, char *out, size_t size);
MUST_USE ssize_t net_sock_write(struct net_sock *sock, struct iovec *pieces, int piece_count);
/* A non-blocking, close-on-exec socket, or -1 with errno. */
MUST_USE int net_socket(int family);
void net_socket_no_delay(int fd);
/* A peer whose machine says nothing any more, or acknowledges nothing, is given up after `silent_ms`, give or
 * take a sixth. Sockets that are accepted have it from the one that listens. Nothing on unix sockets. */
void net_socket_watch_peer(int fd, int64_t silent_ms);

/* ---- handshakes.c: TLS handshakes begin at a bounded rate, so that the streams of a loop go on */

struct net_handshake { /* one that waits for its turn; list_remove(&node) takes it back */
    struct list node;
    void (*begin)(struct net_handshake *handshake);
};

struct net_handshakes {
    struct list queue;
    struct net_timer timer;
    int64_t tokens_us, tokens_at_mono_ms; /* a bucket, in microseconds of its rate */
};

void net_handshakes_init(struct net_handshakes *handshakes, struct net_loop *loop);
void net_handshake_init(
    struct net_handshake *handshake, void (*begin)(struct net_handshake *handshake));
/* `begin` runs now, or when its turn has come. */
void net_handshakes_add(struct net_handshakes *handshakes, struct net_handshake *handshake);

/* ---- loops.c */

struct net_listener;

struct net_loop {
    struct net *net;
    int index;
    void *user;
    bool running, finished;
    uv_loop_t uv;
    uv_poll_t wake;
    int wake_fd;       /* an eventfd, while running */
    atomic_bool woken; /* a wake-up is written and not seen yet */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_thread_t thread;
    struct net_wheel wheel;
    int64_t turn; /* counts the polls of the system */
    bool polling; /* what the last poll told is not all looked at */
    struct list tasks;
    int gathered_count;          /* writes left to a task since the tasks ran last */
    struct spares outs;          /* what answers wait in, and heads of requests */
    struct net_timer outs_timer; /* frees those that nobody needs */

    struct list conns;     /* struct net_conn */
    struct list exchanges; /* struct net_exchange, until the app closes them */
    struct list free_exchanges;
    int free_exchange_count;
    int overflow_count;
    struct net_listener *listeners;
    int listener_count;

    bool stop_seen;
    struct net_timer stop_timer;

    int64_t date_until_mono_ms; /* when it is another second */
    char date[NET_DATE_BYTES];
    struct list calls; /* struct net_call */
    struct list free_calls;
    int free_call_count;
    struct list pools, idle_upstreams; /* both the longest unused first */
    struct map pool_of;                /* hash of what must not be mixed -> struct net_pool */
    struct net_timer pool_timer;       /* ends idle connections */
    struct map names;                  /* hash of the host -> struct net_name */
    struct list lookups_done;          /* struct net_ask; under the mutex of net->lookups */
    atomic_bool lookups_told;          /* some are there */
    int name_count;
    struct net_handshakes handshakes_out, handshakes_in; /* to providers, of clients */
    char *cipher_bytes; /* NET_READ_BYTES of TLS records, of cipher_owner */
    size_t cipher_begin, cipher_end;
    const void *cipher_owner;

    struct http_head head; /* the one being read; never kept across a turn */
    char *read_bytes;      /* NET_READ_BYTES: what the last read brought */
};

/* ---- peers.c */

struct net_peer {
    char text[INET6_ADDRSTRLEN]; /* numeric address; "unix" */
    uint64_t block;              /* hash of the address, of IPv6 its first 64 bits */
    bool local;                  /* loopback or a unix socket: never counted */
};

void net_peer_of(const struct sockaddr *address, struct net_peer *peer);
/* One more connection of its address; false: it has as many as it may. */
MUST_USE bool net_peer_enter(struct net *net, const struct net_peer *peer);
void net_peer_leave(struct net *net, const struct net_peer *peer);

struct net {
    struct net_options options;
    const struct net_app *app;
    void *user;
    struct net_loop *loops;
    int loop_count;
    uint16_t *ports; /* of each listen */
    atomic_int connection_count;
    atomic_int loops_running;
    atomic_bool stopping;
    _Atomic int64_t stop_by_mono_ms;
    bool tls_mutex_open;
    uv_mutex_t tls_mutex;
    struct net_tls_context *tls_contexts;  /* one a file of roots, shared by the loops */
    struct net_certificates *certificates; /* of each listen; NULL until they are read */
    bool peers_mutex_open;
    uv_mutex_t peers_mutex;
    struct map peer_counts;      /* of addresses: block -> connections */
    struct net_lookups *lookups; /* of names, for all loops */
    bool signals_open;
    uv_signal_t signals[3];
    void (*on_signal)(struct net *net, int signal_number);
};

/* "Sun, 06 Nov 1994 08:49:37 GMT" of this second. */
const char *net_loop_date(struct net_loop *loop);

/* ---- listen.c */

/* A socket that listens; loops that share one address have one each. */
struct net_listener {
    uv_poll_t poll;
    struct net_loop *loop;
    struct net_timer backoff; /* after a failed accept: no polling meanwhile */
    int fd;
    int spare_fd; /* given up for a moment to take and drop a connection when descriptors run out */
    int tag, listen_index;
    bool while_stopping, reserved, tls;
    char *unix_path; /* removed at the end, if it is still ours */
    uint64_t unix_device, unix_inode;
};

MUST_USE enum status net_listen_open(struct net *net, struct net_error *error);
void net_listen_start(struct net_loop *loop);
/* All, or all but those that go on while the loop stops. */
void net_listen_close(struct net_loop *loop, bool all);

/* ---- server.c, answer.c, refuse.c: connections of clients */

struct net_refusal;
struct net_tls;

enum conn_state {
    CONN_TLS,    /* until the handshake is over */
    CONN_IDLE,   /* between two requests: no byte of the next one yet */
    CONN_HEAD,   /* a head has begun */
    CONN_BUSY,   /* from a complete head until its answer is out and its exchange closed */
    CONN_LINGER, /* answered for the last time: what still comes is thrown away */
    CONN_CLOSED,
};

enum answer_kind {
    ANSWER_LENGTH,
    ANSWER_CHUNKED,
    ANSWER_UNTIL_CLOSE,
    ANSWER_BODYLESS, /* HEAD, 204, 304: what the app sends is dropped */
};

struct net_conn {
    struct net_sock sock;
    struct list node;
    struct net_task task;
    struct net_timer timer;        /* of all deadlines; runs at most as late as the next one */
    struct net_exchange *exchange; /* NULL where the app has closed it, or there is none */
    enum conn_state state;
    enum answer_kind answer;

    bool counted;      /* in net->connection_count */
    bool fin;          /* the client ended its side */
    bool broken;       /* a write failed; the task tells the app */
    bool watch_writes; /* the last write was cut short */
    bool skip_reads;   /* it was readable when nothing was wanted: stop asking */
    bool body_wanted, body_done, body_told;
    bool continue_due; /* "100 Continue" is to be sent before the body is read */
    bool keep_alive;   /* the connection outlives this answer */
    bool head_sent, ended, drain_due, shut;
    bool while_stopping; /* of its listener: waiting for a request, it keeps no loop from its end */

    int tag, listen_index;
    struct net_tls *tls;            /* NULL = plain, or no byte of its handshake yet */
    struct net_handshake handshake; /* waits on loop->handshakes_in */
    struct buf in;                  /* bytes read and not used yet */
    struct buf out;                 /* bytes not taken by the socket yet, from out_sent on */
    size_t out_sent;
    int64_t out_counted_bytes; /* on the budget of all bodies */
    int64_t answer_left_bytes; /* of a declared length */
    struct http_parse_state parse;
    struct http_body body;
    char *room; /* the app's, for the next room_bytes of the body */
    size_t room_bytes;
    int64_t input_mono_ms;            /* the last step forward of reading */
    int64_t body_mono_ms, body_bytes; /* since when the body may come, and what has come of it */
    int64_t output_mono_ms;           /* the last byte the client took while more waited */
    int64_t linger_mono_ms, linger_left_bytes;
    struct net_peer peer;
};

/* Its head is a block of its own: the head, with header_count headers only, and the bytes it points into. */
struct net_exchange {
    struct list node;
    struct net_conn *conn; /* NULL once nothing can be sent any more */
    struct net_loop *loop;
    void *user;
    struct http_head *head;
    size_t head_room; /* of the memory that head has, from loop->outs */
    int tag;
    bool head_sent;
    struct net_peer peer;
};

/* refuse.c: the answers net gives itself. */
struct net_refusal {
    int status;
    const char *type, *code, *message;
};
extern const struct net_refusal net_too_many, net_too_many_of_address;
void net_refusal_write(struct net_loop *loop, struct buf *out, const struct net_refusal *refusal);
/* For a client that speaks TLS, in place of a handshake: "internal error", in its own words (RFC 8446, 6.2). */
void net_refusal_write_alert(struct buf *out);

/* Takes over the descriptor. With an `overflow` it is told that and closed; else it was counted before. */
void net_conn_open(struct net_loop *loop, int fd, const struct net_listener *from,
    const struct net_peer *peer, const struct net_refusal *overflow);
/* Whether no connection has something under way. */
bool net_conns_over(const struct net_loop *loop);
/* The app or the end of a turn wants the connection looked at. */
void net_conn_wake(struct net_conn *conn);
/* Closes at once; an app that still answers hears on_gone. Not within a call of net.h. */
void net_conn_lose(struct net_conn *conn);
void net_conn_close(struct net_conn *conn); /* the same without a word to the app */
/* Ends keep-alive connections that wait for nothing. */
void net_conn_close_idle(struct net_loop *loop);
struct net_exchange *net_exchange_make(
    struct net_conn *conn, const struct http_head *head, struct slice head_bytes);
void net_exchange_free(struct net_exchange *exchange);
void net_exchanges_close(struct net_loop *loop); /* once they are freed */

/* As net_sock_read and net_sock_write, through TLS where there is some. */
MUST_USE ssize_t net_conn_read(struct net_conn *conn, char *out, size_t size);
MUST_USE ssize_t net_conn_write(struct net_conn *conn, struct iovec *pieces, int piece_count);
/* server.c: TLS stands, and bytes may be here already; or what came instead was answered. */
void net_conn_begin(struct net_conn *conn);
/* net's own answer, the last on this connection. */
void net_conn_refuse(struct net_conn *conn, const struct net_refusal *refusal);
/* secure.c: connections over TLS, until their handshake is over. */
void net_conn_secure_ready(struct net_conn *conn, int events);
void net_conn_handshake(struct net_handshake *turn); /* its turn has come */

/* answer.c: writes what waits; false when the connection broke. */
MUST_USE bool net_conn_flush(struct net_conn *conn);
void net_conn_out(struct net_conn *conn, struct slice bytes); /* adds to what waits */
void net_outs_open(struct net_loop *loop);
void net_outs_close(struct net_loop *loop); /* once its connections are gone */
size_t net_conn_unsent(const struct net_conn *conn);
/* What it keeps beyond the high-water mark counts on the budget of all bodies. */
void net_conn_count(struct net_conn *conn, size_t unsent_bytes);

/* ---- pool.c, upstream.c: calls to providers; the rest is in upstream_priv.h */

void net_upstream_open(struct net_loop *loop);
void net_upstream_close(struct net_loop *loop);
/* Gives a descriptor back that only waits to be used again; false: there is none. */
MUST_USE bool net_pool_shed(struct net_loop *loop);
/* Fails all calls that run. */
void net_calls_stop(struct net_loop *loop);
void net_calls_close(struct net_loop *loop); /* once they are over */
