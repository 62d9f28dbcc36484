/* api/api_priv.h: a request to the control plane, and the threads that work on it. */
#pragma once

#include <pthread.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/attempts.h"
#include "base/buf.h"
#include "base/list.h"
#include "engine/replies.h"
#include "tbl/endpoints.h"

#define API_THREADS 2
_Static_assert(API_REPLY_LOOPS == API_THREADS + 1, "one more is api_do's");
#define API_QUEUE_MAX 256                       /* requests waiting for a thread */
#define API_BODY_BYTES_MAX ((int64_t)64 << 10)
#define API_ANSWER_BYTES_MAX ((size_t)32 << 20)
#define IDEMPOTENCY_KEY_BYTES_MAX 255
#define API_VERDICT_WAIT_MS 30000               /* then the client is told that we do not know */
/* Sentences name other fields in backticks: the command line has its own words for them (cli/door.c). */
#define API_MONEY_WANTED "has no unit, and this limit counts cost: say "

enum api_fault {
    API_FAULT_ADMIN_REMOTE,
    API_FAULT_CONTROL_ONLY,
    API_FAULT_FIELD,
    API_FAULT_PARAMETER,
    API_FAULT_ACCOUNT_EXISTS,
    API_FAULT_PLAN_UNKNOWN,
    API_FAULT_KEY_UNKNOWN,
    API_FAULT_WEBHOOK_UNKNOWN,
    API_FAULT_REQUEST_UNKNOWN,
    API_FAULT_REQUEST_ELSEWHERE,
    API_FAULT_REQUEST_UNBOOKED,
    API_FAULT_CONFIG_NONE,
    API_FAULT_CONFIG_WRONG,
    API_FAULT_LIMIT_UNKNOWN,
    API_FAULT_LIMIT_NONE,
    API_FAULT_TREE_LIMIT_NONE,
    API_FAULT_GROUP_UNKNOWN,
    API_FAULT_SUBJECT_UNKNOWN,
    API_FAULT_CAP_NONE,
    API_FAULT_CAP_MISPLACED,
    API_FAULT_CREDIT,
    API_FAULT_TOO_MUCH,
    API_FAULT_CAP_HIGHER,
    API_FAULT_CAPS_FULL,
    API_FAULT_THREAD_UNKNOWN,
    API_FAULT_IDEMPOTENCY_KEY,
    API_FAULT_IDEMPOTENCY_REUSED,
    API_FAULT_ADJUSTED,
    API_FAULT_REQUEST_OPEN,
    API_FAULT_REQUEST_CORRECTED,
    API_FAULT_THRESHOLD_NONE,
    API_FAULT_READ_FAILED,
    API_FAULT_NO_VERDICT,
    API_FAULT_MEMORY,
    API_FAULT_COUNT
};

/* How far somebody has read the events: the last id of each epoch that may still write, ascending (cursor.c). */
#define CURSOR_EPOCHS_MAX 32
#define CURSOR_OVER_LOOKS 60 /* so often an epoch is seen to be over before it is left out */
#define CURSOR_TEXT_BYTES (CURSOR_EPOCHS_MAX * 20 + 8)
struct cursor {
    int32_t count;
    struct cursor_epoch {
        int64_t last_id;
        int32_t over_looks;
    } at[CURSOR_EPOCHS_MAX];
};

/* One request. The loop's until it is handed to a thread, then the thread's, then the loop's again; but
 * `exchange` is the loop's alone all the time: the client may leave meanwhile. */
struct ask {
    struct net_handled handled; /* first: net/handler.h */
    struct list node;
    struct api_loop *loop;      /* NULL: api_do's */
    struct net_exchange *exchange;
    bool with_thread;

    enum endpoint endpoint;
    struct buf target;          /* a copy; segment and query point into it */
    struct slice segment;       /* what stands for {x}, as sent */
    struct slice query;
    bool control, local, tls;
    char peer[64];
    uint64_t peer_block; /* of its address; see net.h */
    enum reason key_fault;      /* why there is no key_hash */
    char key_hash[HASH_HEX + 1];
    char act_for[NAME_MAX_BYTES + 1]; /* x-tidegate-account; "" = none. For endpoints of an account */
    struct buf body;
    char once_key[IDEMPOTENCY_KEY_BYTES_MAX + 1]; /* Idempotency-Key; "" = none, or the endpoint takes none */
    struct receipt_ask receipt; /* that it leads to */
    bool replayed;              /* the answer is that of an earlier request */

    /* Of events that are followed (follow.c, streams.c): */
    bool may_stream;            /* a GET over a connection; */
    bool wants_stream;          /* it accepts text/event-stream */
    bool follows;               /* its answer goes on: the thread gives what is new, again and again */
    bool more;                  /* there is more right now */
    char last_event_id[CURSOR_TEXT_BYTES]; /* Last-Event-ID; "" = none */
    struct cursor cursor;
    int64_t sent_mono_ms;       /* when it was sent something last */

    struct identity identity;   /* of a key */
    char actor[32];             /* for the ledger */
    bool may_read_all;

    int64_t now_ms; /* by the books, as a decision would have it */
    int status;
    const char *media_type; /* NULL = JSON */
    struct buf headers, out;
};

struct account_name {
    int64_t account_id;
    const char *name, *plan, *organisation;
};
/* Names of accounts by number, read again when an account or key has changed. */
struct names {
    bool filled, failed;
    int64_t version;
    struct arena arena;
    struct account_name *rows; /* by account_id */
    size_t count, cap;
};

/* Where requests are worked on: a thread, or api_do's caller. */
struct api_worker {
    struct api_plane *api;
    struct replies replies;
    struct store_reader *reader;
    struct names names;
    pthread_mutex_t lock;
    pthread_cond_t woken_cond;
    bool woken;
    pthread_t thread;
    bool thread_runs, opened;
};

struct api_plane {
    struct api_options options;
    int64_t started_ms, started_mono_ms;
    struct api_worker workers[API_REPLY_LOOPS]; /* the last is api_do's */

    pthread_mutex_t lock;
    pthread_cond_t work_came;
    struct list queue;
    int queued;
    bool stopping;
    pthread_mutex_t correcting; /* held while one corrects a call: each is judged by the sum before it */
    struct attempts attempts; /* under the lock */
    int followers;            /* under the lock */
    struct api_loop *loops;   /* all that ever were */
};

struct api_loop {
    struct api_loop *next;
    struct api_plane *api;
    struct net_loop *loop;
    pthread_mutex_t lock;
    struct list done;     /* answered, not sent; under the lock */
    struct list reading;  /* their body is coming */
    struct list following; /* events, and have all there is */
    struct net_timer look;  /* for news */
    bool stopped;         /* under the lock: nobody sends any more */
};

/* --- route.c: pure */
enum api_match_result { API_MATCH_FOUND, API_MATCH_METHOD_WRONG, API_MATCH_UNKNOWN };
struct api_match {
    enum endpoint endpoint;
    struct slice segment;
    uint32_t methods; /* METHOD_WRONG: bit per enum http_method that the path takes */
};
/* HEAD is answered where GET is. */
enum api_match_result api_match(enum http_method method, struct slice path, struct api_match *match);
/* %XX and nothing else; false when malformed, a NUL, or too long for `out`. */
MUST_USE bool api_percent_decode(struct slice text, bool plus_is_space, char *out, size_t out_size);
/* "req_12", "12": the prefix may be there or not. */
MUST_USE bool api_id_parse(struct slice text, struct slice prefix, int64_t *id);
/* "req_3-0-17": of a request that was answered before the gate (relay's number of it), so never booked. */
bool api_id_before_gate(struct slice text);

/* --- fields.c: what a body or a query says, judged against a list. */
enum field_type {
    FIELD_NAME,  /* char[NAME_MAX_BYTES + 1], name_valid */
    FIELD_ROLE,  /* enum key_role */
    FIELD_BOOL,  /* bool */
    FIELD_TIME,  /* int64_t: RFC 3339, or milliseconds since 1970 */
    FIELD_COUNT, /* int64_t, 1..max */
    FIELD_AMOUNT, /* int64_t: a whole number above 0 */
    FIELD_DELTA,  /* int64_t: a whole number, not 0 */
    FIELD_ID,    /* int64_t with prefix or without */
    FIELD_KIND,  /* int32_t of enum ledger_kind */
    FIELD_JSON,  /* struct slice: an object as it stands, of a body alone */
};
struct field {
    const char *name;
    enum field_type type;
    void *into;
    bool required;
    int64_t max;        /* COUNT */
    const char *prefix; /* ID */
    bool *told;         /* set where the body names it, also as null; NULL = nobody asks */
};
/* Unknown, missing, doubled and wrong ones are answered here: false. */
MUST_USE bool fields_of_body(struct ask *ask, const struct field *fields, size_t count);
MUST_USE bool fields_of_query(struct ask *ask, const struct field *fields, size_t count);

/* --- put.c: JSON and answers */
#define ROUTES_SHOWN 64 /* that are left alone, or failed of late */

void put_open(struct buf *out, const char *key, char bracket); /* key NULL: an item, or the whole */
void put_close(struct buf *out, char bracket);
void put_text(struct buf *out, const char *key, const char *text);
void put_text_or_null(struct buf *out, const char *key, const char *text); /* "" is null */
void put_slice(struct buf *out, const char *key, struct slice text);
void put_i64(struct buf *out, const char *key, int64_t value);
void put_bool(struct buf *out, const char *key, bool value);
void put_null(struct buf *out, const char *key);
void put_time(struct buf *out, const char *key, int64_t at_ms); /* 0 is null */
void put_id(struct buf *out, const char *key, const char *prefix, int64_t id); /* 0 is null */
/* That of what a change makes: known once it is done (change_once). */
void put_new_id(struct buf *out, const char *key, const char *prefix);
void put_json(struct buf *out, const char *key, struct slice json); /* as it is; a text where it is none */

/* The answer begins: an open JSON object. */
struct buf *answer_begin(struct ask *ask, int status);
void answer_end(struct ask *ask);
void answer_nothing(struct ask *ask); /* 204 */
void answer_error(struct ask *ask, int status, const char *code, const char *format, ...) PRINTF_LIKE(4, 5);
void answer_fault(struct ask *ask, enum api_fault fault, const char *detail); /* detail completes the sentence; NULL = none */
/* FIELD or PARAMETER: which one, and what is wrong with it, without a final stop. */
void answer_field(struct ask *ask, enum api_fault fault, const char *field, const char *why);
void answer_reason(struct ask *ask, enum reason reason);
void answer_header(struct ask *ask, const char *name, const char *value);

/* --- worker.c: waiting for the gate; names */
/* False: no verdict came; the ask is answered. */
MUST_USE bool worker_gate(struct api_worker *worker, struct ask *ask, struct event *event, struct verdict *verdict);
MUST_USE enum status worker_open(struct api_plane *api, uint32_t index, struct api_error *error);
void worker_close(struct api_worker *worker);
void worker_free(struct api_worker *worker);
void worker_wake(struct api_worker *worker);
/* Comes back when what was submitted before is on the books, so that reads show it; of refusals, which are written
 * with what comes next or after a second, only where that is asked for: it may cost a commit. */
void worker_catch_up(struct api_worker *worker, struct ask *ask, bool refusals);
/* The store's reader failed: answers so. */
void worker_read_failed(struct api_worker *worker, struct ask *ask);
/* False: not read, the ask (NULL = none) is answered. */
MUST_USE bool names_ready(struct api_worker *worker, struct ask *ask);
/* All names that limits ever had. False: not read, the ask (NULL = none) is answered. Else freed by defs_free. */
MUST_USE bool defs_read(struct api_worker *worker, struct ask *ask, struct limit_defs *defs);
void defs_free(struct limit_defs *defs);
const struct account_name *names_by_id(const struct names *names, int64_t account_id);
const struct account_name *names_by_name(const struct names *names, const char *name);
/* As above, but an unknown name is answered too. "" gives 0. */
MUST_USE bool names_id_of(struct api_worker *worker, struct ask *ask, const char *name, int64_t *account_id);

/* --- receipts.c: changes that are made once, however often they are asked for */
/* Takes the Idempotency-Key of a request whose endpoint takes one; false: it is none, and that is answered. */
MUST_USE bool receipt_key_take(struct ask *ask, struct slice key);
/* Names the receipt once it is known who asks, and answers by the one that is there: true. */
MUST_USE bool receipt_answers(struct api_worker *worker, struct ask *ask);
/* A refusal may only mean that the same was done meanwhile: then that is the answer. */
void receipt_answers_refusal(struct api_worker *worker, struct ask *ask);
/* Sends a change to the gate. How it is answered when it is done stands in the ask already, as answer_begin to
 * answer_end, or answer_nothing, have left it, with put_new_id where the verdict's new_id belongs; nothing (status
 * 0): as things stand. A receipt keeps it, or `kept` in its place where it must not stay anywhere; kept.ptr NULL =
 * as it is. False: answered otherwise. *verdict that is not ADMIN_DONE is for the caller to answer. */
MUST_USE bool change_once(struct api_worker *worker, struct ask *ask, struct event *event,
    struct slice kept, struct verdict *verdict);

/* --- auth.c */
/* What can be said without waiting: false, and answered. */
MUST_USE bool auth_at_the_door(struct ask *ask);
MUST_USE bool auth_allow(struct api_worker *worker, struct ask *ask);

/* --- the endpoints */
void ask_handle(struct api_worker *worker, struct ask *ask); /* picks one of those below */
bool health_answers(struct api_plane *api, struct ask *ask, bool net_stopping); /* those that never wait */
void get_metrics(struct api_worker *worker, struct ask *ask);
void get_status(struct api_worker *worker, struct ask *ask);
void get_request(struct api_worker *worker, struct ask *ask);
void get_ledger(struct api_worker *worker, struct ask *ask);
void post_explain(struct api_worker *worker, struct ask *ask);
void post_ledger_prune(struct api_worker *worker, struct ask *ask);
void get_limits(struct api_worker *worker, struct ask *ask);
void get_events(struct api_worker *worker, struct ask *ask);
/* --- events.c, follow.c: an object as in messages to webhooks */
void put_event_object(const struct names *names, bool all, struct buf *out, const struct ledger_row *row);
/* The first time: `backlog` events of before come first. Then ask->follows, and each further call gives what is new. */
void follow_events(struct api_worker *worker, struct ask *ask, int64_t account_id, int64_t backlog);

/* --- streams.c: on the loop */
void streams_start(struct api_loop *loop);
void streams_stop(struct api_loop *loop);
/* What a thread gave of an ask that follows goes out, and it waits for more. */
void stream_send(struct ask *ask);
/* The gateway stops: all end. */
void streams_end(struct api_loop *loop);
bool stream_enter(struct api_plane *api); /* false: there are too many */
void stream_leave(struct api_plane *api);

/* --- api.c */
void ask_free(struct ask *ask);
/* Hands it to a thread; false: too many wait. */
MUST_USE bool ask_queue(struct ask *ask);

void get_webhooks(struct api_worker *worker, struct ask *ask);
void post_webhook_test(struct api_worker *worker, struct ask *ask);
void post_reload(struct api_worker *worker, struct ask *ask);
void get_accounts(struct api_worker *worker, struct ask *ask);
void post_account(struct api_worker *worker, struct ask *ask);
void post_account_ban(struct api_worker *worker, struct ask *ask);
void change_usage_limits(struct api_worker *worker, struct ask *ask);
void change_override(struct api_worker *worker, struct ask *ask);
void get_usage_limits(struct api_worker *worker, struct ask *ask);
void get_usage_status(struct api_worker *worker, struct ask *ask);
void get_threads(struct api_worker *worker, struct ask *ask);
void get_thread(struct api_worker *worker, struct ask *ask);
void put_thread_limit(struct api_worker *worker, struct ask *ask);
void post_adjust(struct api_worker *worker, struct ask *ask);
/* Into an answer that says that a correction was made: what it moved. */
void adjust_tell(struct api_worker *worker, struct ask *ask);
void get_keys(struct api_worker *worker, struct ask *ask);
void post_key(struct api_worker *worker, struct ask *ask);
void post_key_revoke(struct api_worker *worker, struct ask *ask);

/* What is reported of the account, null where there is nothing to tell. False: answered. */
MUST_USE bool put_reported_view(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id);
void get_usage(struct api_worker *worker, struct ask *ask);
void put_usage_report(struct api_worker *worker, struct ask *ask);
void get_thresholds(struct api_worker *worker, struct ask *ask);
void put_thresholds_of(struct api_worker *worker, struct ask *ask);

void put_ledger_row(const struct names *names, struct buf *out, const struct ledger_row *row, bool inputs);
/* Whose it is; a meter of an account in an organisation names both. */
void put_meter_of(struct buf *out, enum subject_kind kind, int64_t account_id, const char *name,
    const struct names *names);
/* The fullest meters first, at most `max`; account_id 0 = all. False: answered. */
#define METERS_SHOWN_MAX 200
MUST_USE bool put_meters(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id, int max);
/* --- caps.c */
/* The limit by its name; "": the first on what an account may spend a day, week or month. NULL: answered. */
const struct limit *caps_limit(struct ask *ask, const struct policy *policy, const char *name);
/* The first on what an account may spend a day, week or month; NULL = none. */
const struct limit *caps_limit_of_accounts(const struct policy *policy);
/* NULL: answered. */
const struct limit *caps_limit_by_name(struct ask *ask, const struct policy *policy, const char *name);
/* Sends a change of a cap of `limit` with its note, as change_once does; false: it is not done, which is answered.
 * `what`: for the ledger and the log. */
bool caps_change(struct api_worker *worker, struct ask *ask, struct event *event,
    const struct limit *limit, const char *what);
/* Under the name of the limit's unit; null = unlimited. */
/* What is set in the row for this limit, and lasts; NULL = nothing. */
const struct cap_set *caps_set_of(const struct subject_row *row, const struct limit *limit,
    enum cap_set_kind kind, int64_t now_ms);
void put_cap_amount(struct buf *out, const struct limit *limit, int64_t cap);

/* --- usage_limits.c */
/* Whom the asker asks for: by name, where it may, else itself. False: answered. */
MUST_USE bool account_asked(
    struct api_worker *worker, struct ask *ask, const char *name, int64_t *account_id);
/* How the limits stand; *standings is the caller's to free. False: answered. */
MUST_USE bool standings_read(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct standing_ask *of, struct limit_standing **standings, int32_t *count);

/* An admin event of this verb for the asker, without its rows. */
struct event admin_event(const struct ask *ask, enum admin_verb verb);
