/* bench/load_priv.h: the generator from within: its options, one connection, and what a mode is.
 *
 * One thread, one epoll set. A connection knows how to send the prepared request and to read an answer
 * (load_conn.c); a mode says when requests start and what counts (load_short.c, load_streams.c). Times are
 * monotonic microseconds. What is measured lies between two moments, the window. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "bench/channel.h"
#include "bench/events.h"
#include "bench/latencies.h"
#include "bench/proc.h"
#include "wire/http.h"

#define WATCHED_MAX 4
#define KEYS_MAX 4096
#define LARGE_BODY_BYTES (32 * 1024) /* beyond it a body is sent from a file in memory */
#define DRAIN_US 5000000             /* for calls under way at the end of the window */

/* Why a call did not end well; the words stand in the output. */
#define LOAD_ERRORS(X)                                                                             \
    X(CONNECT, "connect")     /* no connection */                                                  \
    X(CLOSED, "closed")       /* the connection ended before the answer did */                     \
    X(MALFORMED, "malformed") /* the answer breaks HTTP's rules */                                 \
    X(STATUS, "status")       /* another status than expected */                                   \
    X(LATE, "late")           /* no answer by the end of the run */

enum load_error {
#define LOAD_ERROR_ENUM(id, word) LOAD_ERROR_##id,
    LOAD_ERRORS(LOAD_ERROR_ENUM)
#undef LOAD_ERROR_ENUM
        LOAD_ERROR_COUNT
};

struct load;
struct conn;

/* A mode's part of the loop. All but `start` and `turn` may be NULL. */
struct load_mode {
    const char *name;
    bool streams;
    void (*start)(struct load *load);
    /* Does what is due and says for how many microseconds nothing will be; negative: for ever. */
    int64_t (*turn)(struct load *load, int64_t now_us);
    void (*ready)(struct conn *conn, int64_t now_us); /* connected, or answered: may send */
    void (*payload)(struct conn *conn, struct slice bytes, int64_t now_us);
    void (*answered)(struct conn *conn, int64_t now_us); /* before `ready` */
    void (*lost)(struct conn *conn, int64_t now_us);     /* closed; its error is counted */
    void (*head)(struct conn *conn, int32_t status);     /* NULL: it must be --expect */
    void (*report)(const struct load *load);             /* at the end; NULL: load_report */
};

struct load_options {
    const struct load_mode *mode;
    char host[64], path[256];
    uint16_t port;
    bool tls;
    const char *model, *keys_file, *ca_file;
    int64_t body_bytes;
    int32_t connections;    /* or streams */
    int64_t rate;           /* calls a second; 0 = as fast as answers come */
    int64_t ramp;           /* streams begun a second */
    int32_t mark;           /* streams at which memory is looked at first */
    int64_t warm_us, window_us;
    int32_t expect;
    bool threads;           /* every connection names a thread of its own */
    char more_headers[512]; /* whole lines */
    const char *plan_file, *record_file; /* of a soak */
    int32_t shorts, slow;   /* of a soak: connections beside those of streams; of those, that read slowly */
};

struct watched {
    char name[16];
    pid_t pid;
    struct proc_sample idle, before, after;
    int64_t marked_kb, full_kb;
};

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_READY, CONN_SENDING, CONN_HEAD, CONN_BODY };

struct conn {
    struct load *load;
    struct channel channel;
    enum conn_state state;
    uint32_t watched_events; /* by epoll */
    int32_t index;
    struct list ready;       /* on a mode's list of connections that may send */
    struct buf request;      /* head and body; of a large body the head alone */
    size_t sent_bytes;       /* of request and large body */
    int64_t due_us;          /* when the call was to start, by the plan */

    struct buf in;           /* a head that is not complete yet */
    struct http_parse_state head_state;
    struct http_body body;
    bool keep_alive;

    struct events events;    /* of a stream */
    int64_t chunks, last_chunk_us; /* of this stream */
    bool seen;               /* it has had a chunk in its life */

    int receive_bytes;       /* SO_RCVBUF; 0: the system's */
    int32_t kind;            /* of a soak: what the plan says of this call; -1: none under way */
    int64_t serial;          /* its number among those of its kind */
    int64_t leave_us, wake_us; /* when the client goes away, reads or begins again; 0: never */
    int64_t leave_chunks;    /* goes away after so many; 0: never */
};

struct load {
    struct load_options options;
    int epoll_fd;
    SSL_CTX *tls;
    struct conn *conns;
    struct buf keys_text;
    char *keys[KEYS_MAX];
    int32_t key_count;
    int body_fd;             /* a large body in memory, to be sent without a copy; -1 = in the requests */
    struct list ready;       /* connections that may send, longest first */
    int64_t start_us, window_start_us, window_end_us; /* 0 = not yet */
    bool in_window;
    bool over;               /* the program may end */

    /* of streams (load_streams.c) */
    int stage;
    int32_t begun, seen;     /* streams that were started; that have had a chunk */
    int32_t goal, ramp_from; /* of the ramp under way */
    int64_t ramp_start_us, stage_until_us;
    /* of calls at a rate (load_short.c) */
    int64_t due_count;       /* started so far */

    /* counted in the window */
    struct latencies latency, first_chunk, between, transit;
    int64_t calls, chunks;
    int64_t generator_us;    /* CPU of this program */
    /* counted from the start */
    int64_t errors[LOAD_ERROR_COUNT], calls_all, chunks_all;
    int64_t unsent;          /* calls of the plan that found no free connection until the end */
    int32_t odd_status;      /* the last one that was not expected */
    struct soak *soak;       /* load_soak.c */

    struct watched watched[WATCHED_MAX];
    int watched_count;
};

extern const struct load_mode load_short, load_sse, load_idle, load_soak;

/* --- connections (load_conn.c) */
void conn_init(struct load *load, struct conn *conn, int32_t index);
/* Closes it if it was open, and connects; `ready` or `lost` of the mode follow. */
void conn_open(struct conn *conn);
void conn_close(struct conn *conn);
/* Sends the request of a READY connection; `due_us` is when it was to start. */
void conn_send(struct conn *conn, int64_t due_us, int64_t now_us);
void conn_event(struct conn *conn, uint32_t events, int64_t now_us);
/* Stops reading until conn_resume: the other side has to wait. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);
/* In a call: between its start and the end of its answer. */
bool conn_busy(const struct conn *conn);

/* --- the window (load_report.c) */
void load_watch_idle(struct load *load);
void load_window_begin(struct load *load, int64_t now_us);
void load_window_end(struct load *load, int64_t now_us);
/* Memory of the watched processes now, as that of the marked or the full number of streams. */
void load_watch_memory(struct load *load, bool full);
/* One line of JSON on standard output. */
void load_report(const struct load *load);
void load_put_latencies(const char *name, const struct latencies *latencies);

/* A SIGTERM or SIGINT has come. */
bool load_stopping(void);
