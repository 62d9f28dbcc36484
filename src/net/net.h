/* net/net.h: loops, sockets, the HTTP server and the upstream pool: everything that waits on a
 * descriptor.
 *
 * A `net` is a set of loops, one thread each; every loop has its own listening sockets
 * (SO_REUSEPORT), its own connections, timers and upstream pool, and shares nothing with its
 * siblings. All functions that take a loop, an exchange or a call are called on that loop's thread,
 * except net_loop_wake and net_stop. Callbacks run on the loop's thread, never inside a call of
 * this header, and may call any function of it.
 *
 * An exchange is one request of a client and its answer. Life: on_request (head parsed; its
 * slices stay valid until net_close) -> the app judges the head -> net_body_read lets the body
 * come (100-continue is sent then, where it was asked) -> on_body pieces, the last with `last`
 * -> the app answers -> net_end -> net_close. The app closes every exchange exactly once, at any
 * time from on_request on, also after on_gone; afterwards the pointer is dead. An app that
 * answers without reading the body gets the rest discarded and the connection closed behind the
 * answer. An exchange closed without net_end is cut off; those still open behind on_loop_stop are
 * freed. Malformed heads never reach the app: net answers them itself with one status line, a
 * short JSON error and Connection: close; so it does, with on_gone for the app, when a body breaks
 * the rules or is late and no answer has begun. A client's FIN after its request counts as gone
 * until net_end. Bytes of a pipelined next request wait untouched. */
#pragma once

#include "base/budget.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/http.h"

struct net;
struct net_loop;
struct net_exchange;
struct net_call;

struct net_listen {
    const char *host;      /* numeric address; NULL for a unix socket */
    uint16_t port;         /* 0 = any free one, see net_port */
    const char *unix_path; /* a stale one is replaced */
    uint32_t unix_mode;    /* 0 = 0600 */
    const char *cert_file, *key_file; /* PEM; NULL = no TLS */
    int tag;               /* given back by net_exchange_tag */
    bool while_stopping;   /* goes on accepting after net_stop until what runs elsewhere is over, so that
                            * a gateway that drains can be asked */
    bool reserved;         /* for commands: has a few connections beyond connections_max, while strangers hold all
                            * others; of a unix socket loop 0 alone accepts */
};

struct net_app {
    /* Once per loop thread before and after it runs; `user` of the loop is set by on_loop_start. */
    void (*on_loop_start)(struct net_loop *loop);
    void (*on_loop_stop)(struct net_loop *loop);
    /* Someone called net_loop_wake: coalesced, at most once a turn; net_stop wakes, too. */
    void (*on_wake)(struct net_loop *loop);
    /* The loop is about to wait: what its turn has gathered goes out now. May be NULL. */
    void (*on_turn_end)(struct net_loop *loop);
    /* A request. The head has room for its header_count headers only: never copy it whole. */
    void (*on_request)(struct net_exchange *exchange, const struct http_head *head);
    void (*on_body)(struct net_exchange *exchange, struct slice piece, bool last);
    /* The client is gone, broke the rules in its body, or missed a deadline: nothing can be sent
     * any more. */
    void (*on_gone)(struct net_exchange *exchange);
    /* The output, once past its high-water mark, is below the low one again. May be NULL. */
    void (*on_drained)(struct net_exchange *exchange);
};

struct net_options {
    int loop_count;
    const struct net_listen *listens; /* borrowed during net_open */
    int listen_count;
    struct http_limits limits;  /* head bytes, header count, target */
    int64_t body_bytes_max;     /* a declared length above it: 413, without the app */
    int32_t connections_max;    /* of all loops; beyond it 503 and closed (over TLS: an alert and
                                 * closed); 0 = no bound */
    int32_t connections_per_address; /* of all loops; IPv6: per /64; loopback and unix sockets are not counted;
                                      * beyond it 429 and closed, as above; 0 = no bound */
    /* 0 = none. */
    int64_t head_deadline_ms;   /* from the first byte of a head to its end */
    int64_t body_deadline_ms;   /* of a body that the app lets come: between two pieces, and for all of it, plus a
                                 * second for every 64 KB that came */
    int64_t idle_ms;            /* a connection without a request */
    int64_t write_deadline_ms;  /* no byte taken by the client, or no sign of life from its machine, for so
                                 * long: gone */
    size_t high_water_bytes;    /* unsent output of one exchange; 0 = 256 KB */
    struct budget *bodies;      /* borrowed until net_free: unsent output above the high-water mark counts
                                 * on it, though it is never refused; NULL = it does not */
};

struct net_error {
    char text[512];   /* "cannot listen on 127.0.0.1:8080: address already in use" */
    int listen_index; /* of the listener that cannot be had; -1 = something else */
};

/* Opens the sockets, starts no thread yet. */
MUST_USE enum status net_open(const struct net_options *options, const struct net_app *app,
    void *user, struct net **net, struct net_error *error);
/* Runs all loops until net_stop has drained them. The calling thread runs loop 0. */
MUST_USE enum status net_run(struct net *net);
/* Any thread or signal-safe context through net's own wake-up: stop accepting (but see
 * while_stopping), close idle connections, answer running exchanges with Connection: close, return
 * from net_run when none is left or after grace_ms. */
void net_stop(struct net *net, int64_t grace_ms);
bool net_stopping(const struct net *net);
void net_free(struct net *net);
uint16_t net_port(const struct net *net, int listen_index);
int net_loop_count(const struct net *net);
struct net_loop *net_loop_at(struct net *net, int index);
void *net_user(struct net *net);

int net_loop_index(const struct net_loop *loop);
struct net *net_loop_net(struct net_loop *loop);
void net_loop_set_user(struct net_loop *loop, void *user);
void *net_loop_user(struct net_loop *loop);
int64_t net_loop_mono_ms(const struct net_loop *loop); /* cached once a turn */
/* Any thread: on_wake runs soon. Cheap when a wake-up is already under way. */
void net_loop_wake(struct net_loop *loop);
/* SIGTERM, SIGINT, SIGHUP on loop 0. */
void net_on_signal(struct net *net, void (*on_signal)(struct net *net, int signal_number));

/* --- certificates of listeners. The files are read when the net is opened, and again when asked to: any
 * thread, in two steps, so that what else depends on them can fail in between. Connections go on under
 * those they were opened with, and resume under the new ones where the private key is the same. */
struct net_certificates;
#define NET_CERTIFICATE_WARN_MS (14 * DAY_MS) /* before its end, people are told */
/* Judges a pair of files without using it. Refused are a private key that is locked, of another
 * certificate, or open to everybody on this machine; dates are the caller's to judge. */
MUST_USE enum status net_certificate_check(
    const char *cert_file, const char *key_file, int64_t *expires_ms, struct net_error *error);
/* `listens` as net_open had them, in their order; files may differ, and where they are NULL a listener keeps
 * what it has. On success *loaded is used or freed. */
MUST_USE enum status net_certificates_load(struct net *net, const struct net_listen *listens,
    int listen_count, struct net_certificates **loaded, struct net_error *error);
void net_certificates_use(struct net *net, struct net_certificates *loaded);
void net_certificates_free(struct net_certificates *loaded);
/* The files of roots that providers are trusted by are read again, each by the next new connection. */
void net_trust_again(struct net *net);
/* Wall time; 0 = a listener without TLS. */
int64_t net_certificate_expires_ms(struct net *net, int listen_index);
int64_t net_first_certificate_expires_ms(struct net *net); /* of all listeners */

/* --- exchanges */
void net_exchange_set_user(struct net_exchange *exchange, void *user);
void *net_exchange_user(const struct net_exchange *exchange);
struct net_loop *net_exchange_loop(const struct net_exchange *exchange);
const struct http_head *net_exchange_head(const struct net_exchange *exchange);
/* Once an answer's head is sent: the request's is not kept for as long as its body streams. From now
 * on it is an empty one. */
void net_head_forget(struct net_exchange *exchange);
int net_exchange_tag(const struct net_exchange *exchange);
/* Numeric address without port; "unix" for a unix socket. */
struct slice net_exchange_peer(const struct net_exchange *exchange);
/* Loopback or a unix socket. */
bool net_exchange_peer_is_local(const struct net_exchange *exchange);
/* A hash of the address that means the same one in this process only; of IPv6 it is that of its /64. */
uint64_t net_exchange_peer_block(const struct net_exchange *exchange);

/* Lets the body come, never within this call; also resumes after a pause. A request without a body
 * gets one empty piece, the last. */
void net_body_read(struct net_exchange *exchange);
void net_body_pause(struct net_exchange *exchange);
/* Where the app will keep the body: on_body's pieces are read straight into this memory, one behind
 * the other, where they can be, and lie there then; pieces that came with the head or are chunked lie
 * elsewhere, and the app copies them to their place. It stays valid until the last piece or
 * net_close. */
void net_body_room(struct net_exchange *exchange, char *room, size_t bytes);

#define NET_LENGTH_CHUNKED (-1) /* HTTP/1.0 clients get the same bytes until close instead */
/* Sends the status line and head. `headers` are whole lines made with http_write_header; Date,
 * Connection, Content-Length or Transfer-Encoding are added here. `length` >= 0, or
 * NET_LENGTH_CHUNKED. */
void net_send_head(struct net_exchange *exchange, int status, struct slice headers, int64_t length);
/* In place of net_send_head: what net_send gets is all there is, head and framing included, until the
 * connection closes behind it; net_abort is then a reset. For a server that plays a faulty one. */
void net_send_bare(struct net_exchange *exchange);
/* Sends body bytes (framed here). Small ones are copied and leave together at the end of the turn;
 * others are written at once, and what the socket does not take is copied. False: past the high-water mark; stop producing until on_drained. More than the declared
 * length is a bug; for a request that wants no body (HEAD, 204) the bytes are dropped. */
bool net_send(struct net_exchange *exchange, const struct slice *pieces, int piece_count);
/* The answer is complete. Where less was sent than declared, the connection is cut instead. */
void net_end(struct net_exchange *exchange);
/* Breaks the connection off instead of ending it well; for answers that cannot be ended
 * truthfully. */
void net_abort(struct net_exchange *exchange);
void net_close(struct net_exchange *exchange);
bool net_head_sent(const struct net_exchange *exchange);
size_t net_unsent_bytes(const struct net_exchange *exchange);

/* --- calls to providers */
struct net_target {
    const char *host; /* DNS name or address; also SNI, and whom the certificate must name */
    uint16_t port;
    bool tls;
    const char *ca_file;       /* PEM; NULL = the system's roots; read once, by its name */
    const char *credential_id; /* connections are never shared between credentials */
    /* The HTTP proxy that opens a tunnel to it; NULL = straight. */
    const char *proxy_host;
    uint16_t proxy_port;
    const char *proxy_authorization; /* the value of its header; a secret; NULL = none */
};
struct net_deadlines { /* 0 = none */
    int64_t connect_ms;       /* from the start to an open connection: name, addresses, TLS */
    int64_t first_byte_ms;    /* from the last byte sent to the end of the answer's head */
    int64_t between_bytes_ms; /* within the body; not while the call is paused */
};
enum net_fail {
    NET_FAIL_DNS,
    NET_FAIL_CONNECT,
    NET_FAIL_HERE,       /* no descriptor or memory is left for a connection: not the provider's fault */
    NET_FAIL_TLS,
    NET_FAIL_TIMEOUT,    /* connect, first byte or between bytes */
    NET_FAIL_CLOSED,     /* the connection ended before or within the answer */
    NET_FAIL_MALFORMED,  /* the answer breaks HTTP's rules */
};
struct net_call_events {
    /* The last request byte was handed to the system: from now on the provider may bill. */
    void (*on_sent)(struct net_call *call, void *user);
    /* The final answer's head (1xx are skipped); it is net's again afterwards. */
    void (*on_head)(struct net_call *call, const struct http_head *head, void *user);
    void (*on_body)(struct net_call *call, struct slice data, void *user);
    /* The answer is complete; the call is dead afterwards. Without on_sent before it, the provider
     * answered early and the rest of the request is not sent. */
    void (*on_end)(struct net_call *call, void *user);
    /* `all_sent`: the last request byte had left. `detail` is for logs. The call is dead
     * afterwards. */
    void (*on_fail)(struct net_call *call, enum net_fail why, bool all_sent, const char *detail,
        void *user);
};
/* `pieces` (head and body in order) and what they point to must live until on_sent, on_end,
 * on_fail or cancel; the array itself is copied. A pooled connection that dies before the first
 * answer byte and before all was sent is replaced once, silently; one that dies after all was
 * sent is a failure (the provider may bill). NULL when no memory. The method, which decides
 * whether the answer has a body, is read from the pieces. */
struct net_call *net_call_start(struct net_loop *loop, const struct net_target *target,
    const struct net_deadlines *deadlines, const struct slice *pieces, int piece_count,
    const struct net_call_events *events, void *user);
void net_call_pause(struct net_call *call);   /* stop reading: back-pressure */
void net_call_resume(struct net_call *call);
/* Closes the connection at once; no further callback; the call is dead afterwards. */
void net_call_cancel(struct net_call *call);

/* --- timers of a loop; memory is the caller's, and must be stopped before it goes away. */
struct net_timer {
    struct list node;
    struct net_loop *loop;
    int64_t due_mono_ms; /* 0 = not running */
    void (*on_timer)(struct net_timer *timer);
    int32_t wheel_slot; /* net's own, like the fields above but on_timer */
};
void net_timer_init(
    struct net_timer *timer, struct net_loop *loop, void (*on_timer)(struct net_timer *));
void net_timer_start(struct net_timer *timer, int64_t after_ms); /* restarts a running one */
void net_timer_stop(struct net_timer *timer);
