/* relay/relay_priv.h: a call and what its states share. */
#pragma once

#include "base/attempts.h"
#include "base/buf.h"
#include "base/hash_memo.h"
#include "base/list.h"
#include "base/map.h"
#include "base/spares.h"
#include "relay/cooldown.h"
#include "relay/relay.h"
#include "wire/facts.h"
#include "wire/headers.h"
#include "wire/quota.h"
#include "wire/splice.h"
#include "wire/sse.h"
#include "wire/thin.h"
#include "wire/trace.h"
#include "wire/usage.h"

#define WAIT_KEEPALIVE_MS 5000   /* a waiting stream shows life this often */
#define ANSWER_BYTES_MAX ((size_t)64 << 20)  /* an answer that is read whole */
#define ERROR_BYTES_MAX ((size_t)1 << 20)    /* an upstream's error body */
#define HOLD_BACK_BYTES ((size_t)64 << 10)   /* of an event whose end has not come yet */
#define KNOWN_ROUTES_MAX 256
#define KNOWN_REFUSALS 64
#define SPARES_TRIM_MS (5 * SECOND_MS)
#define SPENT_ROUTE_MS (5 * MINUTE_MS)  /* a route whose money is gone, where it does not say until when */

/* A route that failed of late, or is left alone. Shared by all loops. */
struct known_route {
    struct cooldown cooldown; /* times are clock_mono_ms() */
    char provider[64], model[NAME_MAX_BYTES + 1];
};

struct relay {
    struct engine *engine;
    struct budget *bodies;
    int loop_count;
    int64_t calls_open;  /* atomic */
    int64_t stop_mono_ms; /* atomic; when calls still open are ended; 0 = not stopping */
    void *lock;          /* of routes and attempts */
    uint64_t route_hashes[KNOWN_ROUTES_MAX]; /* of routes: provider, credential, upstream model; 0 = free */
    struct known_route routes[KNOWN_ROUTES_MAX];
    int64_t clocks_apart_ms; /* wall - mono, under the lock */
    int64_t known_routes; /* atomic; those in use: mostly none, and then nobody takes the lock */
    struct attempts attempts; /* wrong keys */
};

struct known_refusal;

struct known_identity {
    struct identity identity;
    char key_hash[HASH_HEX + 1];
};

struct relay_loop {
    struct relay *relay;
    struct net_loop *loop;
    struct replies *replies;
    struct hash_memo key_hashes, thread_hashes;
    struct map identities;         /* hash of key and end user -> known_identity */
    int64_t identities_version;
    struct list calls;             /* newest first */
    struct list free_calls;
    size_t free_count;
    struct net_timer stop_timer, trim_timer;
    struct net_timer lease_timer;
    int64_t lease_end_mono_ms;     /* no later than streams must end, as far as it is known here */
    struct net_timer report_timer; /* of repeats */
    struct known_refusal *refusals; /* KNOWN_REFUSALS, once there is one; see again.c */
    struct told_report *told_reports; /* once there is one; see reported.c */
    struct spares spares;          /* of bodies, heads and answers */
    struct policy *policy;         /* the newest that this loop has seen, with a reference */
    int64_t requests;              /* numbers those that have no hold */
    int64_t logged_refusals[64];   /* ledger ids whose line was written: repeats write none */
    struct {                       /* refusals that no ledger row bounds */
        int64_t second, lines, left_out;
    } logged;
};

enum call_state {
    CALL_IDENTIFY,
    CALL_BODY,
    CALL_GATE,
    CALL_COUNT,
    CALL_SEND,
    CALL_ANSWER,
    CALL_DRAIN,
    CALL_OVER,
};

#define OWN_HEADERS_BYTES 512 /* most answers' headers of ours take less */

struct limits_left {
    struct limit_left requests, money; /* the tightest */
};

/* How a call that went to a provider ended, as it was booked. */
struct outcome {
    bool set, disputed;
    enum reason reason;
    struct usage usage;
    int64_t cost_micros, ended_mono_ms;
};

struct call {
    struct net_handled handled;    /* first: net/handler.h */
    struct relay_loop *loop;
    struct list node;
    enum call_state state;
    enum api api;
    struct net_exchange *exchange; /* NULL once the client is gone or answered */
    struct policy *policy;         /* one reference */
    int64_t account_id, key_id;
    char *account;                 /* its name; NULL = not known yet */
    void (*then)(struct call *call); /* once the key is known; NULL = a model call */
    bool client_gone, codex;
    bool beside;                   /* no model call: a list, or an endpoint that is not there */
    int client_status;             /* what the client was told; 0 = nothing yet */
    struct outcome outcome;
    char request_id[40];
    char trace_id[TRACE_ID_HEX + 1]; /* of a valid traceparent, for the log; "" = none */
    bool stream, usage_asked, unstored; /* of the request's facts, for good */
    bool act_for_ignored, parent_ignored;
    bool may_label; /* its key speaks for others, so it may say for which organisation */
    bool substituted; /* a limit let it go on with another model */
    int64_t started_mono_ms, first_byte_mono_ms;

    /* the request */
    struct buf body;
    struct arena arena;
    struct facts *facts;           /* in the arena, as the next: NULL once an answer streams */
    struct limits_left *limits_left; /* NULL = none to tell of */
    int64_t answers;
    int32_t model_index;
    enum reason found;             /* what the request itself is refused for */
    int64_t multiplier_pct, speed_pct, body_bytes;
    int64_t spend_limit_micros;    /* that the client asks for its tree; 0 = none */
    int64_t cost_micros;           /* what was booked, of all attempts; -1 = nothing yet */
    int64_t earlier_micros;        /* of it: attempts before this one, which were billed */
    int32_t billed_attempts;       /* so many */
    uint32_t routes_closed;
    int64_t body_counted, answer_counted; /* bytes on the budget of all bodies */
    struct slice detail;           /* of what it is refused for */

    /* the gate */
    struct reply_to ticket;
    bool ticket_open;              /* a verdict is awaited */
    struct named_ids *named;       /* in the arena; NULL = the request names none. See issued.c */
    struct call_event *asked;      /* in the arena: gone once an answer streams */
    int64_t asked_mono_us;         /* since when a verdict is awaited */
    int64_t hold_id, thread_id;    /* hold_id 0: nothing to settle */
    int32_t route_index, attempts;
    enum payer payer;
    bool lowered;
    bool count_tried;              /* input_counted is what came of it */
    int count_status;
    int64_t input_counted;         /* 0 = not counted */
    int64_t output_limit, est_input;
    int64_t gate_est_input;        /* as the gate had it, before the provider named it */
    struct net_timer timer;        /* keep-alive while waiting; time limit of a drain */

    /* the upstream */
    struct net_call *upstream;
    bool all_sent, upstream_paused;
    bool client_full; /* past the high-water mark, and on_drained has not come yet */
    bool probes;                   /* it asks a route that cooled down whether that is well again */
    int upstream_status;
    int64_t sent_mono_ms;          /* when this attempt began */
    struct buf request_head;
    enum reason failed;            /* between two routes: why the attempt before was given up, */
    bool failed_billed;            /* and whether it may be billed */
    int failed_status;             /* HTTP status of its answer, 0 = none */
    int32_t asked_route;           /* that the gate is asked about, to go on with */
    bool troubled;                 /* a provider could not be reached, or broke off */
    bool streaming;                /* its answer is an event stream */
    char *failure;                 /* of the last attempt that failed, for the log; NULL = none */
    struct buf answer;             /* read whole: not streamed, or an error */
    struct thin *thin;             /* of one too large to be kept: what says its usage; else NULL */
    struct buf answer_headers;     /* what of its head goes to the client */
    struct judgement judgement;    /* of an error answer */
    struct buf error_head;         /* its status line and headers, to be judged with its body */

    /* a stream's way to the client */
    struct tap tap;
    struct alike *alike;           /* from the second text on; NULL = not yet, or no memory */
    struct sse sse;
    struct buf sse_buf;
    struct buf held_back;          /* raw bytes of the event that is not complete yet */
    struct buf backlog;            /* bytes that came while we may not go on */
    struct buf issued;             /* ids of this answer, as its settlement tells them */
    int64_t output_allowed, ask_at, bytes_per_token_milli;
    int64_t held_output, bound_output; /* tokens that are held, and that the answer cannot pass */
    bool passing;                  /* the event in flight is too long to hold back */
    bool head_sent, comment_sent, upstream_ended;
    bool input_told, upstream_whole;
    bool extending, extension_over;/* asked for more; there is no more to get */
    bool ledger_gone;              /* ... since it could not be asked for */
    bool waiting_for_more;         /* the next event may not go out yet */
};

/* --- identity.c */
/* Who calls; REASON_OK and the call's account and key filled, or a refusal. `pending`: a verdict will come. */
enum reason identity_find(struct call *call, const struct http_head *head, bool *pending);
void identities_clear(struct relay_loop *loop);

/* --- call.c: pool, life, dispatch of verdicts */
extern const struct net_handler call_handler;
void call_free_body(struct call *call);
void call_free_head(struct call *call); /* of the request: it holds a secret */
void call_free_asking(struct call *call); /* what only sending needs: facts, splices, room left */
struct call *call_make(struct relay_loop *loop, struct net_exchange *exchange, enum api api);
void call_free(struct call *call);
/* The newest in place of the one that it came under. */
void call_take_policy(struct call *call);
/* Its request id from now on: that of a hold, or of a row of the ledger. */
void call_name_by(struct call *call, int64_t id);
void call_on_identity(void *user, const struct verdict *verdict);
void call_identified(struct call *call);
struct slice call_account(const struct call *call); /* its name; empty = not known yet */

/* --- bytes.c: what a call keeps in memory counts on the budget of all bodies. False: it does not fit. */
MUST_USE bool call_count_body(struct call *call, int64_t bytes);
MUST_USE bool call_count_answer(struct call *call, int64_t bytes);
/* The event of a stream that is gathered: it is here already, so it counts whatever the bound. */
void call_count_event(struct call *call);
void call_uncount_body(struct call *call);
void call_uncount_answer(struct call *call);

/* --- relay.c */
/* Whether what a client says of its tree is kept by a limit: a cap that nobody keeps is worse than none. */
bool trees_have_caps(const struct policy *policy);

/* --- gate.c: facts, the question to the gate, its answer */
void call_body_complete(struct call *call);
/* `found`: what the request itself is refused for; the gate says so, and puts it on the books. */
void call_ask_gate(struct call *call, enum reason found);

/* --- count.c: the input counted by its provider */
/* Whether a provider of the call's open routes can count it, and has not been asked yet. */
bool call_can_count(const struct call *call);
/* Counts, and asks the gate once more. */
void call_count_input(struct call *call);
void call_count_late(struct call *call);

/* --- issued.c: ids that providers gave */
/* Asks the gate for the ids that the request names, and goes on to ask for the call. */
void call_ask_issued(struct call *call);
/* Which id a refusal is about, and what to do; in the arena, empty where it is about none. */
struct slice call_named_detail(struct call *call, const struct refusal *refusal);
/* The id that binds the call to its provider, if there is one; as event->issued_hash. */
void call_bind(const struct call *call, struct call_event *event);
/* Items of this answer that a later call may name. */
void call_note_items(struct call *call, struct slice items);
/* All ids of the answer, as a settlement has them; the call's. */
struct slice call_issued(struct call *call);

/* --- send.c */
void call_send(struct call *call);
struct net_target call_target(const struct provider *provider);
/* To the call's route, at the endpoint of `api`; with memory for `room` more bytes behind it. False where a part
 * cannot be sent as a header: a secret with a line end, say. */
MUST_USE bool call_write_head(struct call *call, enum api api, size_t length, size_t room);
/* The attempt failed: the next open route, or the failure is told. `unbilled`: in a way that cost nothing;
 * else it is booked first, and only so many may follow (models.*.billed_retries). */
void call_next_route(
    struct call *call, enum reason failed, bool unbilled, int status);
/* Whether any other attempt may follow the one that runs: else nobody needs its request once it is sent. */
bool call_may_follow(const struct call *call);
/* Whether an attempt that may be billed may be followed by another: then its body is kept. */
bool call_may_follow_billed(const struct call *call);

/* --- answer.c */
extern const struct net_call_events call_events;
void call_answer_whole(struct call *call);
void call_free_thin(struct call *call);
void call_free_alike(struct call *call);
/* An error's head outlives its callback: it is judged again once its body is there. */
void call_keep_head(struct call *call, const struct http_head *head);
void call_kept_head(struct call *call, struct http_head *head);
void call_upstream_failed(struct call *call, enum reason reason);

/* --- stream.c */
/* Sends the head of an event stream of ours, if none has gone out yet. */
void stream_begin(struct call *call);
void stream_show_life(struct call *call);
void stream_feed(struct call *call, struct slice data);
void stream_upstream_end(struct call *call, bool whole);
void stream_resume(struct call *call);
void stream_drained(struct call *call);
void stream_client_gone(struct call *call);
/* The gateway stops: the call ends now, cleanly for its client, and is settled. */
void call_end_for_stop(struct call *call);
/* Whether streams must end now: see engine_streams_end_mono_ms. */
bool relay_lease_over(struct relay_loop *loop);
/* The ledger cannot be reached: the stream ends with that, cleanly for its client. */
void call_end_without_ledger(struct call *call);

/* --- settle.c */
/* How an answer ended that did not say what it used. */
enum cut {
    CUT_NONE,     /* it came to its end */
    CUT_BROKEN,   /* it broke off, or the provider was told to stop */
    CUT_GIVEN_UP, /* we stopped reading what the provider goes on to bill */
};
struct ending {
    bool dispatched, unbilled;
    enum cut cut;
    enum reason reason;
    uint32_t flags;
};
/* Between two routes: what the attempt before them is booked as, unless the gate has done so meanwhile. */
struct ending ending_between_routes(const struct call *call);
/* Exactly once a hold: later calls find the outcome set and do nothing. */
void call_settle(struct call *call, const struct ending *ending);
/* Usage as it will be booked: the provider's figures, and estimates for what it did not say. */
struct usage call_usage(const struct call *call, enum cut cut);
/* What its provider does when we hang up on this call. */
enum on_abort call_on_abort(const struct call *call);
/* Of all attempts, the last one with this usage. */
int64_t call_cost_micros(const struct call *call, const struct usage *usage);
/* What an attempt that broke off, and is followed by another, is booked as. */
void fill_attempt(const struct call *call, struct reroute_event *reroute);

/* --- tell.c: counters, and the one log line of a call */
/* Just before the head of the answer goes out. */
void call_answered(struct call *call, int status);
void call_count_refusal(enum reason reason);
/* An attempt ended without a usable answer, or with an error's status. */
void call_attempt_failed(struct call *call, enum net_fail why, const char *detail);
void call_attempt_refused(struct call *call);
/* Tokens of input. */
void call_count_estimate(int64_t estimated, int64_t real);
/* The alarm; both in micro-USD. */
void call_cost_disputed(const struct call *call, int64_t provider_micros, int64_t book_micros);
/* The trace that the client named, if any. */
struct log_line;
void call_log_trace(const struct call *call, struct log_line *line);
/* With its outcome set, when all is over. */
void call_log(const struct call *call);

/* --- again.c: refusals given without asking */
/* Refuses the call if this very event was refused and still would be: true, and the call is gone. */
bool call_refused_again(struct call *call, const struct call_event *event);
/* Remembers a refusal of the gate. */
void call_refused_first(struct call *call, const struct verdict *verdict);
void refusals_report(struct relay_loop *loop);
void refusals_free(struct relay_loop *loop);

/* --- reported.c */
/* What the answer says is used of the provider's own windows, if it says so, is told to the gate. */
void call_tell_reported(const struct call *call, const struct http_head *head);
void told_reports_free(struct relay_loop *loop);

/* --- refuse.c */
/* Appends headers and body as call's client is told; answers the status. */
int call_render_refusal(const struct call *call, const struct refusal *refusal,
    struct slice detail, struct buf *headers, struct buf *body);
/* A rendered refusal is the whole answer; the call is gone afterwards. */
void call_send_refusal(struct call *call, enum reason reason, int status,
    const struct buf *headers, const struct buf *body);
void call_refuse(struct call *call, const struct refusal *refusal, struct slice detail);
void call_refuse_reason(struct call *call, enum reason reason, struct slice detail);
/* Headers that every answer of ours carries. */
void answer_common_headers(const struct call *call, struct buf *out);

/* --- routes.c: routes that are left alone for a while */
struct routes_resting {
    uint32_t closed;       /* bit i: route i cannot serve this call now */
    int64_t wall_opens_ms; /* when the soonest of those that wait opens; 0 = unknown */
    bool failing;          /* all of those failed; else one is at a limit, or asked for the wait */
};
struct routes_resting routes_resting(struct call *call);
/* The call goes to its route now. Else another call asks that one first, whether it is well again, and this
 * is why it is left alone. */
MUST_USE enum reason route_take(struct call *call);
/* What became of that: it failed; its provider said when to come again; it answered (to its end); or nothing
 * was learned. */
void route_failed(struct call *call);
void route_asked(struct call *call, enum cooldown_cause cause, int64_t wait_ms);
void route_answered(struct call *call, bool whole);
void route_give_back(struct call *call);
const struct route *call_route(const struct call *call);
const struct provider *call_provider(const struct call *call);

/* --- labels.c: what limits go by beside who calls what. */
void call_fill_labels(struct call *call, struct call_event *event);
bool call_cannot_be_bounded(const struct facts *facts);

/* --- lists.c: models, hello, what exists */
void list_models(struct relay_loop *loop, struct net_exchange *exchange, const struct http_head *head);
