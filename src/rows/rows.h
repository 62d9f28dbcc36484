/* rows/rows.h: every row of the store as the core sees it (DESIGN section 8).
 *
 * Rows are plain memory of their owner, no pointers but `inputs` (borrowed). Ids are positive int64:
 * epoch (20 bits) and a counter (43 bits); 0 means none. Names are NUL-terminated and bounded; what is
 * longer is refused at the edge. Each row has a _valid (for data that comes from outside or the store)
 * and a _check (for what we are about to write: a violation is our bug). Numbers of enums are stored, except
 * a reason's, which is stored by its code: append, never renumber. */
#pragma once

#include "base/slice.h"
#include "base/units.h"
#include "rows/usage.h"
#include "tbl/counts.h"
#include "tbl/reasons.h"
#include "tbl/topics.h"

#define NAME_MAX_BYTES 127
#define HASH_HEX 64

#define ID_EPOCH_BITS 20
#define ID_COUNTER_BITS 43
#define EPOCH_MAX ((INT64_C(1) << ID_EPOCH_BITS) - 1)

struct node_row {
    int64_t node_id, epoch, lease_until_ms, batch_no, high_water_ms;
    char config_hash[HASH_HEX + 1];
    char name[NAME_MAX_BYTES + 1]; /* what people know it by: host and where it listens; "" = not told */
    int64_t started_ms;            /* of this epoch */
    int64_t waiting_count;         /* calls in its waiting lines, as of its last batch */
};

enum account_state { ACCOUNT_OK, ACCOUNT_BANNED };
struct account_row {
    int64_t account_id;
    char name[NAME_MAX_BYTES + 1]; /* unique; what operators call it */
    char plan[NAME_MAX_BYTES + 1];
    char organisation[NAME_MAX_BYTES + 1];
    enum account_state state;
    int64_t created_ms, version;
};

enum key_role { ROLE_USER, ROLE_SERVICE, ROLE_OBSERVER, ROLE_ADMIN, ROLE_COUNT };
struct key_row {
    int64_t key_id, account_id;
    char hash_hex[HASH_HEX + 1]; /* unkeyed hash of the secret; the secret itself is shown once */
    char label[NAME_MAX_BYTES + 1];
    char shown[16];              /* first characters, to recognise it by */
    enum key_role role;
    bool revoked, thread_required;
    int64_t created_ms, expires_ms; /* 0 = never */
    char may_act_for[NAME_MAX_BYTES + 1]; /* prefix of account names a service key may name; "" = none */
    int64_t version;
};

enum thread_kind { /* how a thread was recognised; part of its identity (DESIGN section 13) */
    THREAD_NAMED,            /* x-tidegate-thread */
    THREAD_CLAUDE_CODE,      /* x-claude-code-session-id */
    THREAD_METADATA_SESSION, /* session inside metadata.user_id */
    THREAD_ID_HEADER,        /* thread-id */
    THREAD_SESSION_HEADER,   /* session-id */
    THREAD_X_SESSION,        /* x-session-id */
    THREAD_PROMPT_CACHE_KEY,
    THREAD_CONVERSATION,
    THREAD_KEY_DAY,          /* nothing sent: one a key and day */
    THREAD_KIND_COUNT,
};
struct thread_row {
    int64_t thread_id, account_id, root_id; /* root_id = thread_id for a root */
    enum thread_kind kind;
    char sig_hash[HASH_HEX + 1];
    int64_t created_ms, last_ms;
    int64_t last_input;        /* input tokens of the last settled call: the `learned` estimate */
    int64_t last_input_bytes;  /* body bytes of that call */
    int64_t version;
};

enum subject_kind {
    SUBJECT_GATEWAY, /* account 0, name "" */
    SUBJECT_ACCOUNT, /* account, name "" */
    SUBJECT_KEY,     /* account, name = key id in decimal */
    SUBJECT_TREE,    /* account, name = root thread id in decimal */
    SUBJECT_MODEL,   /* account 0, name = model */
    SUBJECT_PLAN,    /* account 0, name = plan: all its accounts as one */
    SUBJECT_GROUP,   /* account 0, name = group: its members as one purse, and the caps set for them */
    SUBJECT_ORGANISATION,  /* account 0, name = organisation */
    SUBJECT_TIER,          /* account 0, name = free or premium */
    SUBJECT_TAG,           /* account 0, name = tag=value, or tag#hash where that is too long */
    SUBJECT_ACCOUNT_MODEL, /* account, name = model */
    SUBJECT_ACCOUNT_ORGANISATION, /* account, name = organisation: what it spent there */
    SUBJECT_KIND_COUNT,
};

/* A cap that people set for one subject, where the configuration alone does not decide: an account's, a
 * group's for each of its members, a tree's, or (at the gateway's subject) everybody's. */
enum cap_set_kind {
    SET_CAP,   /* takes the place of the configured cap */
    SET_RAISE, /* is added to whatever cap rules */
    SET_ASKED, /* of a tree, by its client: the cap that rules is at most this */
    SET_KIND_COUNT,
};
struct cap_set {
    int64_t set_id;     /* of the limit's definition */
    enum cap_set_kind kind;
    int64_t amount;     /* in the units of the limit; CAP_UNLIMITED = no cap at all; of a raise > 0 */
    int64_t expires_ms; /* 0 = never; from that instant on it does not count */
    int64_t set_ms;
};
#define CAP_UNLIMITED (-1) /* a limit that does not apply to this subject */
#define SETS_MAX 16        /* of one subject; one of each kind a limit */
struct subject_row {
    int64_t subject_id, account_id;
    enum subject_kind kind;
    char name[NAME_MAX_BYTES + 1];
    int64_t version; /* 0 = not stored yet */
    int32_t set_count;
    struct cap_set sets[SETS_MAX]; /* last, as a meter row's meters */
};

/* One limit of one subject in one window. */
struct meter {
    int64_t limit_id;
    int64_t window_ms;  /* start of the window; of a token bucket: when `settled` was last drained; 0 = lifetime.
                         * A rolling window has several meters, each for what was charged after the one before it and
                         * up to its window_ms */
    int64_t settled;    /* micro-USD, or units of the count; of a bucket: level in units x period_ms */
    int64_t held;       /* promised to work in flight */
    int64_t bound;      /* true worst case of that work */
    int64_t aux;        /* the highest percentage of the cap that was told of in this window; 0 = none */
};
#define METERS_MAX 256 /* of one subject, older windows with open holds included */
struct meter_row {
    int64_t subject_id;
    int64_t seen_ms, version; /* version 0 = not stored yet */
    int32_t meter_count;
    struct meter meters[METERS_MAX]; /* last: what is not used of it need not be copied */
};

/* How much of a window of its own a provider says is used, as of when it said so: (credential, window). The
 * credentials are an account's own, or in the row of account 0 the company's. */
enum reported_source { REPORTED_BY_REPORT, REPORTED_BY_HEADERS, REPORTED_SOURCE_COUNT };
struct reported_window {
    char credential[64];    /* the provider that it is for, or what a report calls it; "" = not named */
    char window[24];        /* "5h", "7d", "7d_opus": its length, and what tells it from others of that length */
    char models[96];        /* which it governs, comma-separated; a `*` at either end stands for any rest; "" = all */
    int64_t used_milli_pct; /* 100,000 = all of it; may be more */
    int64_t resets_at_ms;   /* from then on nothing of it is used; 0 = not told */
    int64_t captured_ms;
    enum reported_source source;
};
#define REPORTED_NO_MODELS "-" /* `models` of a window that governs none */
#define MILLI_PCT              INT64_C(1000) /* thousandths in a percent */
#define REPORTED_MILLI_PCT_MAX INT64_C(1000000000) /* beyond that it is no percentage */
#define REPORTED_MAX 12
struct reported_row {
    int64_t account_id; /* 0 = the company's credentials */
    int64_t version; /* 0 = not stored yet */
    int32_t window_count;
    struct reported_window windows[REPORTED_MAX]; /* last, as a meter row's meters */
};

enum payer { PAYER_COMPANY, PAYER_USER };

enum hold_mode { HOLD_MODE_STREAM, HOLD_MODE_STRICT, HOLD_MODE_NONE };

/* A part tells by itself what it is, so that it is given back rightly also where its limit is configured no
 * more. */
struct hold_part {
    int64_t limit_id, subject_id, window_ms;
    int64_t held, bound;     /* micro-USD of cost, tokens, requests by weight, 1 in flight */
    int64_t cap;             /* as it was when the call was allowed; CAP_UNLIMITED = none */
    enum count_kind counts;
    enum window_kind window;
    enum hold_mode mode;
    bool enforced;           /* its cap stops what does not fit; false: it only counts */
    int32_t from, to;        /* attempts that it counts: from this one until before that one, 0 = to the end */
};
#define PART_RESTS 15 /* `from`: none yet. Its limit is of another provider than all attempts so far */
#define HOLD_PARTS_MAX 24
#define MULTIPLIER_PCT_MAX 100000

enum attempt_state { ATTEMPT_OPEN, ATTEMPT_UNBILLED, ATTEMPT_DONE };
struct attempt {
    char provider[64], model[NAME_MAX_BYTES + 1]; /* the upstream's model id */
    enum attempt_state state;
    int32_t status;      /* HTTP status of its answer, 0 = none */
    enum reason reason;  /* why it was given up; REASON_OK */
};
#define ATTEMPTS_MAX 6

static inline bool
part_rests(const struct hold_part *part)
{
    return part->from == PART_RESTS;
}
static inline bool
part_counts_attempt(const struct hold_part *part, int64_t attempt)
{
    return attempt >= part->from && (part->to == 0 || attempt < part->to);
}

enum on_abort { ON_ABORT_BILLS_ALL, ON_ABORT_STOPS };

enum hold_state { HOLD_OPEN };
struct hold_row {
    int64_t hold_id, node_id, epoch;
    int64_t account_id, key_id, thread_id, root_id;
    enum payer payer;
    enum hold_state state;
    enum on_abort on_abort; /* of the attempt in flight: an orphan is booked at held or at bound */
    int32_t part_count;
    struct hold_part parts[HOLD_PARTS_MAX];
    int32_t attempt_count;
    struct attempt attempts[ATTEMPTS_MAX];
    char model[NAME_MAX_BYTES + 1]; /* public name */
    int64_t held_micros, bound_micros; /* the cost part, also where no cost limit is in force */
    int64_t est_micros;    /* estimated cost at the start */
    int64_t est_input;     /* tokens */
    int64_t input_bound;   /* tokens that the input cannot pass */
    int64_t held_output, bound_output; /* output tokens that held_micros and bound_micros stand for */
    int64_t multiplier_pct;/* of list prices, 1..MULTIPLIER_PCT_MAX: service tier, speed */
    int64_t body_bytes;
    char estimator[16];
    int64_t created_ms;
    int64_t policy_ver, price_ver;
    struct slice inputs;   /* JSON: what the decision saw; borrowed */
};

enum ledger_kind {
    LEDGER_SETTLE,   /* an attempt's actual or estimated cost */
    LEDGER_UNBILLED, /* an attempt that cost nothing: it failed in a way known as unbilled */
    LEDGER_RELEASE,  /* nothing left the process */
    LEDGER_ORPHAN,   /* a hold whose owner died, booked whole */
    LEDGER_ADJUST,   /* a later truth */
    LEDGER_REFUSAL,  /* the first of its kind in a minute */
    LEDGER_ADMIN,    /* a change by an admin */
    LEDGER_WARN,     /* what is settled under a limit reached a percentage of its cap */
    LEDGER_SHADOW,   /* what a limit that is only watched would have refused; the first of its kind in a minute */
    LEDGER_KIND_COUNT,
};
enum ledger_flag {
    LEDGER_ESTIMATED = 1,     /* usage was not reported; it is an estimate */
    LEDGER_PARTLY_PRICED = 2, /* a used category has no price */
    LEDGER_UNPRICED = 4,      /* the model has no price: cost 0 is not a fact */
    LEDGER_PROVIDER_COST = 8, /* cost is the provider's own figure */
    LEDGER_COST_DISPUTED = 16,/* provider's figure and the book's differ by more than a factor of 4 */
    LEDGER_CLIENT_GONE = 32,
    LEDGER_CUT = 64,          /* the answer broke off upstream, or we ended it */
    LEDGER_LOWERED = 128,     /* the output limit was lowered to fit */
    LEDGER_DRAINED = 256,     /* read to its end after the client had gone */
    LEDGER_FLAGS_ALL = 511,
};
struct ledger_row {
    int64_t id, at_ms;
    enum ledger_kind kind;
    int64_t hold_id;
    int32_t attempt;
    char source[32];          /* who says so: "relay", "crash", "admin:NAME", ... */
    int64_t account_id, key_id, thread_id, root_id;
    char model[NAME_MAX_BYTES + 1], provider[64], upstream_model[NAME_MAX_BYTES + 1];
    enum payer payer;
    struct usage usage;
    int64_t cost_micros, est_micros, bound_micros;
    int64_t started_ms;       /* when the gate allowed the call; 0 where there was none */
    char estimator[16];
    enum reason reason;
    int32_t status;           /* of the upstream's answer */
    uint32_t flags;
    int64_t policy_ver, price_ver;
    struct slice inputs;      /* JSON; borrowed */
};

struct refusal_row {
    int64_t account_id, key_id, limit_id, minute_ms, count, ledger_id;
    char model[NAME_MAX_BYTES + 1];
    enum reason reason;
};

struct issued_row {
    char id_hash[HASH_HEX + 1]; /* keyed hash of the provider's id */
    int64_t account_id, at_ms;
    char provider[64];
};

/* What was done under an idempotency key, and how that was answered: asked for again, it is the answer. */
#define RECEIPT_ANSWER_BYTES 2048
#define RECEIPT_KEPT_MS      DAY_MS
#define RECEIPT_NUMBER '\x1a' /* stands in an answer for the number that the change gives out */
struct receipt_row {
    char name[HASH_HEX + 1];  /* hash of who asked, and of the key; or what there is only one of (core/receipts.c) */
    char asked[HASH_HEX + 1]; /* hash of method, path and body; "" = nobody asks for it again */
    int64_t at_ms;
    int32_t status; /* of HTTP; 0 = the answer is how things stand when it is asked for again */
    char answer[RECEIPT_ANSWER_BYTES]; /* without secrets */
};

/* A message that waits until a webhook took it, or it is given up. */
#define HOOK_NAME_MAX_BYTES 63
#define HOOK_ERROR_MAX_BYTES 159
struct outbox_row {
    int64_t id;        /* of the delivery; ids grow with time */
    int64_t ledger_id; /* the row it tells of; 0 = a test */
    int64_t at_ms;
    enum topic topic;
    char hook[HOOK_NAME_MAX_BYTES + 1];
    int64_t next_ms;   /* not before */
    int64_t attempts;  /* that failed */
    char last_error[HOOK_ERROR_MAX_BYTES + 1]; /* of the last one */
    struct slice body; /* JSON; borrowed */
};

/* A limit as it is or was configured, under one of its names. Its number stays while the fingerprint (what is
 * counted, per whom, over which window) does, also under another name: usage follows the number. What people set
 * follows `set_id`, which stays while only the window changes. */
struct limit_def_row {
    int64_t def_id;   /* of the row; of the first name of a number this number */
    int64_t limit_id; /* its meters' */
    int64_t set_id;   /* its cap_sets' */
    int64_t since_ms; /* when it got its number */
    int64_t until_ms; /* when that name went on to mean something else; 0 = it means this one */
    char name[NAME_MAX_BYTES + 1];
    int64_t nth;      /* of the numbers that ever bore this name: 1 is the first, which the ledger does not say */
    char fingerprint[HASH_HEX + 1];
    char thing[HASH_HEX + 1]; /* of what is counted, per whom */
    int32_t counts, per, window; /* tbl/counts.h: what its meters mean, also once it is configured no more */
    int64_t span_ms;             /* of a rolling window and of one from first use; else 0 */
};

/* All names of limits that a store knows. */
struct limit_defs {
    const struct limit_def_row *rows;
    size_t count;
};
/* What the ledger means by a limit's name and the number beside it: the one way from a recorded decision to the
 * meters that it moved, whatever the limit was called since. NULL: the store never knew it. */
const struct limit_def_row *limit_def_named(
    const struct limit_defs *defs, struct slice name, int64_t nth);

const char *role_word(enum key_role role);
MUST_USE bool role_from_word(struct slice word, enum key_role *role);
const char *thread_kind_word(enum thread_kind kind);
const char *reported_source_word(enum reported_source source);
const char *ledger_kind_word(enum ledger_kind kind);
/* Whether such a row is deleted when it is old enough: those of calls and refusals are. */
bool ledger_kind_ages(enum ledger_kind kind);
MUST_USE bool ledger_kind_from_word(struct slice word, enum ledger_kind *kind);

bool node_valid(const struct node_row *row);
bool account_valid(const struct account_row *row);
bool key_valid(const struct key_row *row);
bool thread_valid(const struct thread_row *row);
bool subject_valid(const struct subject_row *row);
bool meter_row_valid(const struct meter_row *row);
bool hold_valid(const struct hold_row *row);
bool ledger_valid(const struct ledger_row *row);
bool refusal_valid(const struct refusal_row *row);
bool issued_valid(const struct issued_row *row);
bool reported_valid(const struct reported_row *row);
/* The length of a window by its name, "5h" or "7d_opus"; 0 = it is no such name. */
int64_t reported_span_ms(const char *window);
bool receipt_valid(const struct receipt_row *row);
/* The answer with the number in the place that is left for it; false: there is no room. */
MUST_USE bool receipt_answer(struct slice answer, int64_t number, char out[RECEIPT_ANSWER_BYTES]);
bool outbox_valid(const struct outbox_row *row);
bool limit_def_valid(const struct limit_def_row *row);
void meter_row_check(const struct meter_row *row);
void hold_check(const struct hold_row *row);
void ledger_check(const struct ledger_row *row);

/* Names that people choose (accounts, labels, plans): printable, 1..NAME_MAX_BYTES, no control bytes,
 * no leading or trailing space. */
bool name_valid(struct slice name);
