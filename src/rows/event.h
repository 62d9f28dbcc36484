/* rows/event.h: what arrives at the gate, and what it answers.
 *
 * An event is a value: the sender fills it, the engine copies it into its queue, with what its slices
 * borrow, and the core reads it. A verdict goes back by (loop, slot, generation), never by pointer. */
#pragma once

#include <stddef.h>

#include "rows/rows.h"

enum event_kind {
    EVENT_IDENTIFY, /* a key that is not in the loop's cache */
    EVENT_ISSUED,   /* did this account get these ids from us? Before a CALL that names several */
    EVENT_CALL,     /* may this model call start? */
    EVENT_EXTEND,   /* a stream asks for more output */
    EVENT_REROUTE,  /* the next attempt goes to another route */
    EVENT_SETTLE,   /* an allowed call is over */
    EVENT_ADMIN,    /* a change by an admin */
    EVENT_TICK,     /* time */
    EVENT_REPORT,   /* what a provider says is used of its own windows */
    EVENT_DELIVERY, /* what became of a message to a webhook */
    EVENT_KIND_COUNT,
};

struct reply_to {
    uint32_t loop, slot, generation;
};

#define CALL_ROUTES_MAX ATTEMPTS_MAX
#define CALL_TAGS_MAX 4

/* What the relay knows of a call before it starts. Estimates are tokens: the core turns them into money.
 * Two of them are the same call where their bytes are the same, so there are none between the fields. */
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"
struct call_event {
    int64_t account_id, key_id;
    int32_t model_index;         /* in the policy of `policy_ver`; -1 only where `found` says why */
    enum reason found;           /* what the request itself is refused for, once key and account are judged; REASON_OK */
    int32_t api;                 /* enum api of policy/policy.h */
    enum thread_kind thread_kind;
    int64_t policy_ver;
    char thread_hash[HASH_HEX + 1];       /* keyed hash of the signal; empty for THREAD_KEY_DAY */
    char parent_hash[HASH_HEX + 1];       /* of x-tidegate-parent; empty = none */
    char issued_hash[HASH_HEX + 1];       /* of an id that binds the call to the provider that gave it; empty = none */
    bool routes_failing;         /* the closed ones that are cooling failed, all of them: no limit of theirs */
    char organisation[64];       /* x-tidegate-organisation; empty = the account's own */
    char tags[CALL_TAGS_MAX][64];/* values of policy->tags, in their order; empty = none */
    char unbounded_by[64];       /* that field; "" = not told. Of a model that is not known: how it was called */
    bool cannot_bound;           /* a field that may raise the price beyond what can be known: refused under strict */
    bool can_count;              /* its input can be counted, if an estimate of it does not fit: then nobody waits yet */
    char unused[8 - (3 * (HASH_HEX + 1) + 3) % 8]; /* 0 */
    int64_t body_bytes;
    int64_t input_bytes_bound;   /* the `bytes` estimator: a true bound of input tokens for text */
    int64_t input_counted;       /* tokens that the request itself counts: embeddings of token ids; 0 = an estimate is due */
    int64_t output_limit;        /* asked by the client; -1 = not in the request */
    int64_t output_floor;        /* thinking budget + 1, or 0: a lowered limit may not go below */
    int64_t output_count;        /* `n`: answers asked for; >= 1 */
    int64_t price_multiplier_pct;/* service_tier, speed: 100 = list price */
    int64_t spend_limit_micros;  /* x-tidegate-spend-limit-micros, on a tree's first call; 0 = none */
    int64_t routes_open_ms;      /* when the soonest closed route opens again; 0 = unknown */
    uint32_t routes_closed;      /* bit i: route i is cooling or unusable for this call */
    bool stream;
    bool thread_named;           /* for keys that must name their thread */
    bool input_unbounded;        /* images, files, stored state: bound is the context window */
    bool user_credential;        /* the caller sent its own provider credential */
};
#pragma GCC diagnostic pop

struct extend_event {
    int64_t hold_id;
    int64_t output_tokens;   /* relayed so far, estimated from bytes */
    int64_t want_tokens;     /* further tokens to allow beyond what was allowed */
    int64_t input_exact;     /* total input once the provider named it; -1 = unknown */
};

struct reroute_event {
    int64_t hold_id;
    int32_t route_index;     /* of the model's routes */
    bool stream;             /* the call is streamed */
    int32_t failed_status;   /* of the attempt given up; 0 = no answer */
    enum reason failed_reason;
    bool billed;             /* it is not known as unbilled: it is booked with what follows, before the next one leaves */
    struct usage usage;
    int64_t multiplier_pct;  /* as of settle_event */
    uint32_t flags;
};

struct settle_event {
    int64_t hold_id;
    int32_t attempts;        /* made, as their owner knows: a reroute that was allowed since is given back; 0 = all */
    bool dispatched;         /* false: not one byte left the process; everything is given back */
    bool unbilled;           /* the last attempt is known as unbilled */
    struct usage usage;      /* of the last attempt */
    int32_t status;          /* its HTTP status; 0 = no answer */
    enum reason reason;      /* REASON_OK or why it ended badly */
    uint32_t flags;          /* enum ledger_flag bits known to the relay */
    int64_t multiplier_pct;  /* of list prices, as the answer names its tier; 0 = as the request asked */
    int64_t input_tokens_seen;/* for the `learned` estimate; -1 = none */
    int64_t output_bytes;    /* text bytes of deltas, for bytes per output token; 0 = unknown */
    struct slice issued;     /* of ids that the provider gave in this answer, HASH_HEX bytes each, end to end */
};

/* Keyed hashes of ids that a request names. Refused: one of them this account never got, or the first
 * `alike_count` of them are not of one provider; refusal.ask says which, from 0. */
#define ISSUED_IDS_MAX 64
struct issued_event {
    int64_t account_id;
    uint32_t alike_count;
    struct slice ids;        /* HASH_HEX bytes each, end to end; at most ISSUED_IDS_MAX */
};

/* A change that is made once, however often it is asked for: under which name, and how it is answered. The answer
 * has RECEIPT_NUMBER where the number of what was made stands. */
struct receipt_ask {
    char name[HASH_HEX + 1], asked[HASH_HEX + 1]; /* as in its row; name "" = it is made as often as it is asked for */
    int32_t status;
    struct slice answer;
};

/* What was reported of an account's credentials, or of the company's. Nobody need wait for it. */
struct report_event {
    int64_t account_id;      /* 0 = the company */
    bool whole;              /* it tells all there is of these credentials: what else was known of them goes */
    struct slice windows;    /* as pack_reported writes them; captured_ms 0 = now */
    struct receipt_ask receipt;
};

/* A message to a webhook was sent, or is given up. */
enum delivery_outcome {
    DELIVERY_DONE,
    DELIVERY_FAILED,  /* it is tried again, or given up when it is too old */
    DELIVERY_DROPPED, /* nobody is there any more to take it */
};
struct delivery_event {
    int64_t id, at_ms;       /* of the message */
    int64_t attempts;        /* that failed before this one */
    enum delivery_outcome outcome;
    char hook[HOOK_NAME_MAX_BYTES + 1];
    char error[HOOK_ERROR_MAX_BYTES + 1]; /* FAILED: why */
};

enum admin_verb {
    ADMIN_ACCOUNT_PUT,   /* create, or change plan / organisation / state */
    ADMIN_KEY_PUT,       /* create */
    ADMIN_KEY_REVOKE,
    ADMIN_NOTE,          /* a configuration change, for the ledger */
    ADMIN_ADJUST,        /* a later truth about a settled call, or about what a subject has used */
    ADMIN_WEBHOOK_TEST,  /* a message to the webhook `hook` */
    ADMIN_CAP_PUT,       /* a cap that people set for a subject */
    ADMIN_CAP_DELETE,
    ADMIN_THRESHOLDS_PUT, /* both thresholds of an account, by its name */
};

/* A cap of one subject, as people set it, or with ADMIN_ADJUST of no call: whose use is corrected. */
struct admin_cap {
    int64_t limit_id;
    enum subject_kind kind;        /* ACCOUNT, ACCOUNT_MODEL: of admin_event.account; KEY: of admin_event.key */
    char name[NAME_MAX_BYTES + 1]; /* of a kind that is known by one: GROUP, MODEL, ... */
    int64_t thread_id;             /* TREE: a thread of it */
    int64_t of_account_id;         /* TREE: only one of this account; 0 = any */
    enum cap_set_kind set;
    int64_t amount;                /* PUT: in the units of the limit, CAP_UNLIMITED */
    int64_t expires_ms;            /* PUT: 0 = never */
    bool only_lower;               /* PUT: not above what rules now */
};
/* What a settled call counted for, as its ledger row has it. */
struct adjust_part {
    int64_t limit_id, window_ms;
    int64_t subject_id; /* 0 = it follows from the row */
};
struct admin_adjust {
    int64_t hold_id; /* of the call; 0 = of what the subject in `cap` has used in the window that is open */
    int64_t delta;   /* is added: micro-USD, or units of the limit */
    bool no_credit;  /* of what was used: refused where that would leave less than nothing */
    int64_t after_count; /* of a call: how many corrections of it were known when this one was judged */
    int64_t read_ms;     /* of a call: when that was, on the wall clock */
    int64_t account_id, key_id, thread_id, root_id;
    char model[NAME_MAX_BYTES + 1], provider[64], upstream_model[NAME_MAX_BYTES + 1];
    int32_t part_count;
    struct adjust_part parts[HOLD_PARTS_MAX];
};
/* Of an account: the percentages of its session and week at which new work stops; CAP_UNLIMITED = none of its own. */
struct thresholds {
    int64_t session_pct, week_pct;
};
struct admin_event {
    enum admin_verb verb;
    char actor[32];
    bool must_be_new;            /* creating: an existing name is refused */
    struct account_row account;  /* by name; id 0 = look up or create */
    struct key_row key;          /* id or hash */
    char hook[HOOK_NAME_MAX_BYTES + 1];
    struct slice note;           /* JSON for the ledger */
    struct admin_cap cap;
    struct admin_adjust adjust;
    struct thresholds thresholds;
    struct receipt_ask receipt;
};

#define TRACE_ID_HEX 32

struct event {
    enum event_kind kind;
    struct reply_to reply;
    int64_t arrived_ms;
    char trace_id[TRACE_ID_HEX + 1]; /* CALL: the client's, for the books; "" = none. No part of the question. */
    int64_t waits_since_ms; /* CALL: when it came into a waiting line; 0 = it never waited. The engine sets it. */
    int64_t wait_until_ms;  /* CALL: deadline of the waiting line; 0 = never waited yet. The engine sets it. */
    int64_t place;          /* CALL: the answer to VERDICT_ANEW, with the place that it named; 0 = it asks for the first time */
    bool gives_up;          /* ... that nobody asks any more: the place is free */
    union {
        struct {
            char key_hash[HASH_HEX + 1];
            char act_for[NAME_MAX_BYTES + 1];      /* x-tidegate-account; "" = none */
            char act_plan[NAME_MAX_BYTES + 1];
            bool books; /* what waits to be written, refusals and counts of them, is before the verdict leaves */
        } identify;
        struct issued_event issued;
        struct call_event call;
        struct extend_event extend;
        struct reroute_event reroute;
        struct settle_event settle;
        struct admin_event admin;
        struct report_event report;
        struct delivery_event delivery;
    };
};

/* How much of an event its kind uses: most are a fraction of the largest. */
static inline size_t
event_bytes(const struct event *event)
{
    switch (event->kind) {
    case EVENT_IDENTIFY: return offsetof(struct event, identify) + sizeof event->identify;
    case EVENT_CALL: return offsetof(struct event, call) + sizeof event->call;
    case EVENT_EXTEND: return offsetof(struct event, extend) + sizeof event->extend;
    case EVENT_REROUTE: return offsetof(struct event, reroute) + sizeof event->reroute;
    case EVENT_SETTLE: return offsetof(struct event, settle) + sizeof event->settle;
    case EVENT_ISSUED: return offsetof(struct event, issued) + sizeof event->issued;
    case EVENT_REPORT: return offsetof(struct event, report) + sizeof event->report;
    case EVENT_DELIVERY: return offsetof(struct event, delivery) + sizeof event->delivery;
    default: return sizeof *event;
    }
}

/* Who a key speaks for; loops keep it in a cache until the identity version moves. */
struct identity {
    int64_t key_id, account_id;
    enum key_role role;
    int64_t expires_ms;
    bool thread_required;
    bool banned;
    char account[NAME_MAX_BYTES + 1];
    char plan[NAME_MAX_BYTES + 1];
};

enum verdict_kind {
    VERDICT_ALLOWED,
    VERDICT_REFUSED,
    VERDICT_WAIT,
    VERDICT_ANEW, /* CALL that waits: its policy is not in force any more. It is to be asked again, as under the newest one,
                   * with `place`; it keeps that, its deadline and its reply slot */
};

/* Of a refusal: enough to say who hit which limit, how much is used, and when it frees up. */
struct refusal {
    enum reason reason;
    int64_t limit_id;                    /* 0 = not a limit */
    int64_t subject_id;                  /* whose meter; 0 = it has none yet */
    uint64_t subject_mark;               /* tells its subjects apart, also those that have no meter yet; 0 = not a limit */
    char limit_name[NAME_MAX_BYTES + 1];
    int64_t limit_nth;                   /* of the numbers that bore that name; 0 = not a limit */
    char about[64];                      /* of a limit per group: which one; of REASON_CANNOT_BOUND: the field */
    int32_t counts, per, window;         /* tbl/counts.h; meaningful with a limit */
    int64_t span_ms;                     /* of a rolling window, or one from first use; else 0 */
    int64_t used, held, cap, ask;        /* micro-USD of a cost limit, else units */
    int64_t resets_at_ms;                /* 0 = never, or unknown */
    int64_t retry_after_ms;              /* the first instant at which the same ask could pass, as a wait; 0 = waiting cannot help */
    enum reason tried;                   /* why what the limit names instead was refused, too; REASON_OK = nothing was tried */
    int64_t ledger_id;                   /* the row that explains it; 0 = none */
};

struct limit_left { /* the tightest limit of a kind, for RateLimit headers */
    char name[48];
    int64_t cap, left, reset_ms; /* reset_ms: wait until it opens wholly */
    int64_t window_ms;           /* in which so much may be used; 0 = no such time */
    bool set, money;
    bool share;                  /* of many: cap and left are percentages */
};

struct verdict {
    enum event_kind event;
    enum verdict_kind kind;
    struct reply_to reply;
    struct refusal refusal;      /* REFUSED, WAIT */
    /* CALL refused, and for how long the same event would be: while the wall clock is within
     * [same_from_ms, same_until_ms) and engine_meter_mark of its subject says meter_mark. 0, 0 = ask. */
    int64_t same_from_ms, same_until_ms;
    uint64_t meter_mark;
    bool asks_again;             /* CALL refused: more than one limit decides whether the same call would be again */
    int64_t wait_ms;             /* WAIT: the longest that the call may wait */
    int64_t place;               /* ANEW: in the waiting lines */
    bool may_count;              /* CALL refused: by an estimate of its input, and it can be counted. No refusal yet: the
                                  * same call is asked for again, with the count or without can_count */
    struct refusal shadow;       /* CALL allowed: by what a limit that only records would have refused it; REASON_OK = none */
    /* CALL allowed: */
    int32_t model_index;         /* in the policy of the event; another than was asked for after a downgrade */
    int64_t hold_id;             /* also the request id */
    int64_t thread_id;
    bool parent_ignored;         /* the thread is in another tree than that of the parent that the call names */
    int32_t route_index;
    uint32_t routes_foreign;     /* bit i: route i does not know the id that the call refers to; no attempt may go there */
    enum payer payer;
    int64_t output_limit;        /* to put into the request; -1 = leave the request as it is */
    bool output_lowered;
    int64_t lowered_by;          /* the limit that left no more room for output; 0 = none */
    int64_t output_allowed;      /* tokens that may be relayed now; INT64_MAX = the whole answer is held */
    int64_t est_input;
    int64_t held_output, bound_output; /* tokens that are held, and that it cannot pass; EXTEND, REROUTE too */
    int64_t bytes_per_token_milli; /* learned bytes per output token x 1000 */
    struct limit_left tightest_requests, tightest_money;
    /* IDENTIFY: */
    struct identity identity;
    int64_t identity_version;
    /* SETTLE: */
    bool booked;                 /* by this event: its hold was open; REROUTE: the attempt before was billed */
    bool billed;                 /* what was booked has usage */
    int64_t cost_micros;
    int64_t est_micros;          /* of the whole call, with its last event alone; 0 where nothing left the process */
    int64_t overshoot_micros;    /* the most that a cost cap is passed by, settled and held, by this cost; 0 = none */
    /* DELIVERY: */
    bool given_up;               /* it is tried no more */
    /* ADMIN, REPORT: */
    enum status_of_admin {
        ADMIN_DONE,
        ADMIN_NOT_FOUND,
        ADMIN_EXISTS,
        ADMIN_INVALID,
        ADMIN_FULL,      /* no room for one more */
        ADMIN_NOT_LOWER, /* only_lower, and it is not */
        ADMIN_OPEN,      /* its call is still in flight */
        ADMIN_STALE,     /* another correction of the call came first: look again */
        ADMIN_REPEATED,  /* nothing: it was done before, as its receipt says */
        ADMIN_REUSED,    /* under this name something else was done before */
        ADMIN_CREDIT,    /* no_credit, and it would be one */
        ADMIN_TOO_MUCH,  /* the sum would be beyond what there is */
    } admin;
    int64_t new_id, new_id_2;    /* ADJUST: its row of the ledger; and the subject, where no call was corrected */
};
