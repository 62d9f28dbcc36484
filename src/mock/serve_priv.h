/* mock/serve_priv.h: the running mock, as its files share it.
 *
 * One loop, one thread: order of arrival, ids and counters are exact, and nothing needs a lock. A
 * call goes this way: serve.c takes the head and the body, judge.c decides what becomes of it,
 * tell.c tells the answer in time, framing.c puts it into HTTP; control.c serves /_mock. */
#pragma once

#include "mock/config_priv.h"
#include "mock/dialect_priv.h"
#include "mock/error_priv.h"
#include "mock/journal_priv.h"
#include "mock/mock.h"
#include "mock/state_priv.h"
#include "net/net.h"

#define MOCK_ID_BYTES          64
#define MOCK_TICK_MS           INT64_C(5)          /* tokens that fall due within it go together */
#define MOCK_WRITE_BYTES       ((size_t)16 << 10)  /* one write, where nothing else bounds it */
#define MOCK_REQUEST_BYTES_MAX (INT64_C(64) << 20) /* larger than what a gateway may let through */

struct mock {
    struct net *net;
    struct net_loop *loop;
    struct mock_config config;
    struct mock_state state;
    struct mock_journal journal;
    int64_t start_ms;
    int64_t id_count;
    int64_t open_count; /* model calls that are not over */
    struct buf out;     /* what is about to be written; used within one function */
    struct buf head;    /* headers, likewise */
};

enum mock_kind { MOCK_CALL, MOCK_MODELS, MOCK_CONTROL };

/* One request. Made with its head, freed by mock_call_close alone. */
struct mock_call {
    struct mock *mock;
    struct net_exchange *exchange;
    struct mock_entry *entry; /* NULL of control requests */
    enum mock_kind kind;
    enum api api;
    struct slice path;        /* without the words in front and without /v1 */
    struct slice front_words; /* of the path's front */
    struct arena arena;
    struct buf body;
    bool is_peeked; /* the model id was looked for before the body was whole */

    struct mock_behaviour behaviour;
    struct mock_ask ask;
    struct mock_answer answer;
    char id[MOCK_ID_BYTES], serial[MOCK_ID_BYTES];

    struct net_timer timer;
    void (*next)(struct mock_call *call); /* what the timer or a drained output goes on with */
    int64_t due_mono_ms;                  /* of what waits while keep-alives are sent */
    int64_t begin_mono_ms;                /* when the first token fell due */
    int64_t stalled_ms;                   /* time spent in a stall, not counted as generating */
    bool accepted;                        /* the input is billed */
    bool stalled;                         /* stall_after is behind it */
    bool chunked;                         /* framing.c frames the body so */
    int64_t chunk_count;                  /* sent by framing.c */
    struct buf rest;                      /* of a body that trickles */
    int64_t trickle_bytes;                /* each time */
    bool blocked;                         /* the client does not keep up: on_drained goes on */

    int64_t cursor_n, end_n; /* of a journal being sent: the next entry, and where it stops */
    bool with_bodies, any_sent;
};

/* framing.c: a head, then its body, then its end; `length` as of net_send_head. */
void mock_send_head(struct mock_call *call, int status, struct slice headers, int64_t length);
/* False: the client does not keep up. */
bool mock_send(struct mock_call *call, struct slice piece);
void mock_send_end(struct mock_call *call);
/* Breaks the connection off, by a reset where the words ask for one. */
void mock_send_reset(struct mock_call *call);

/* serve.c */
extern const struct net_app mock_app;
void mock_call_close(struct mock_call *call);
/* Calls `next` after a while, unless the call ends before. */
void mock_call_later(struct mock_call *call, int64_t after_ms, void (*next)(struct mock_call *));
/* A whole answer of the given type, a model call's with the provider's headers; the call is over
 * and freed. */
void mock_call_answer(struct mock_call *call, int status, const char *content_type,
    struct slice extra_headers, struct slice body);
/* Breaks the connection off once all that was written has left; the call is freed then. */
void mock_call_cut(struct mock_call *call);
/* The same at once. */
void mock_call_drop(struct mock_call *call);
/* The provider's headers for this call, in mock->head. */
struct slice mock_call_headers(struct mock_call *call, int status, const char *content_type);

/* judge.c: the body is whole. */
void mock_judge(struct mock_call *call);
/* A refusal in the dialect of the call's endpoint. */
void mock_refuse(
    struct mock_call *call, int status, const char *code, const char *param, const char *message);
/* What `words` in front and of the model make of the built-in behaviour. */
MUST_USE bool mock_behaviour_of(struct mock_call *call, struct slice model,
    struct mock_behaviour *behaviour, struct mock_behaviour_fault *fault);

/* tell.c: the call was accepted and its answer is planned. */
void mock_tell(struct mock_call *call);
/* The client went away: what of the answer is billed all the same. */
void mock_tell_gone(struct mock_call *call);

/* control.c */
void mock_control(struct mock_call *call);
