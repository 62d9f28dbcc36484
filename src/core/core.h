/* core/core.h: the decision. Pure: (policy, rows, event, time) -> rows, verdict.
 *
 * A model call's way through here:
 *
 *   core_needs   says which rows the event needs; the engine loads them; asked again, at most three
 *                rounds (key and account, thread and subjects -> meters), until it needs no more.
 *   core_decide  CALL: judges in the order of tbl/checks.h. Refused: not one row is changed.
 *                Allowed: a hold with a part in each meter, all or none; the verdict names route,
 *                payer, output limit. EXTEND: a running stream gets what room there is. REROUTE: the
 *                next attempt is on the books before it leaves. SETTLE: parts are given back to the
 *                windows they were taken from, the actual cost is booked, the hold is gone. ADMIN,
 *                IDENTIFY: who is who.
 *   core_orphan  books a hold whose owner died.
 *
 * The engine is the only caller. Nothing here waits, allocates outside the batch's arena, or reads
 * a clock. */
#pragma once

#include "core/reported.h"
#include "core/work.h"
#include "policy/policy.h"
#include "policy/zone.h"
#include "price/price.h"
#include "rows/standing.h"

/* Next ids of this epoch; 0 when the counter is used up (never in practice: 2^43). */
struct ids {
    int64_t epoch, next;
};
int64_t ids_take(struct ids *ids);

/* What was learned about a model in this process: a hint for estimates, never a fact of the
 * books. */
#define LEARNED_MAX 512
struct learned {
    uint64_t model_hash;
    int64_t input_bytes_per_token_milli; /* x 1000 */
    int64_t output_bytes_per_token_milli;
};
struct learned_table {
    struct learned rows[LEARNED_MAX];
};
#define INPUT_BYTES_PER_TOKEN_MILLI  4000
#define OUTPUT_BYTES_PER_TOKEN_MILLI 3000

#define CORE_KNOWN_WINDOWS 4

struct core {
    const struct policy *policy; /* the newest */
    /* An older one, or NULL. Its owner keeps it as long as a hold made under it is open. */
    const struct policy *(*policy_at)(void *user, int64_t version);
    void *policy_user;
    struct work *work;
    struct ids *ids;
    struct learned_table *learned;
    /* Whether others wait for this limit of this subject already: who comes later waits behind
     * them. */
    bool (*line_busy)(void *user, int64_t limit_id, int64_t subject_id);
    void *line_user;
    /* To ask at once for what is likely to be needed costs less than to ask again. */
    bool guesses;
    int64_t node_id, epoch;
    int64_t now_ms; /* never earlier than in the batch before */
    /* What is being decided, for what is told of it; the core's own. */
    const struct event *event; /* NULL: an orphan is booked */
    int64_t orphan_id;
    struct explained *found; /* explain.c's: what the checks of a CALL found out; NULL = nobody asks */
    /* Calendar windows that were looked up in this batch: most calls ask for the same few. */
    struct known_window {
        const struct zone *zone;
        enum window_kind window;
        struct window span;
    } known_windows[CORE_KNOWN_WINDOWS];
    uint32_t known_window_count; /* the oldest make room */
};

void core_needs(struct core *core, const struct event *event, struct needs *needs);
/* All needs are loaded. False when the batch cannot be used (memory): run it again smaller. */
MUST_USE bool core_decide(struct core *core, const struct event *event, struct verdict *verdict);

/* Orphans: a hold of another epoch. Needs are those of a settle of that hold
 * (core_orphan_needs). */
void core_orphan_needs(struct core *core, int64_t hold_id, struct needs *needs);
/* The verdict says what was booked, as that of a settle. */
MUST_USE bool core_orphan(struct core *core, int64_t hold_id, struct verdict *verdict);

/* What nobody came back to. When a thread was last used is told as far as that: its last call may be so much
 * younger than its row says. */
#define THREAD_TOLD_MS HOUR_MS
/* The threads of one tree, the root first. */
struct idle_tree {
    int64_t account_id, root_id;
    const int64_t *thread_ids;
    int32_t thread_count;
};
/* Deletes a tree in which nothing was used since `before_ms`, with its subject and all that it has counted. Loaded
 * are its threads, its subject, and that one's meters; no hold that is open was made before `before_ms`. False: it
 * was used, and stays. */
MUST_USE bool core_sweep_tree(struct core *core, const struct idle_tree *tree, int64_t before_ms);
/* Whether nothing reads these meters any more, whatever is decided: it is not a tree's, the gateway's or a
 * group's, was not used since `before_ms`, nothing is held, nothing is set for it, and each window is over. `defs`: as the store has them; a
 * meter of a limit that is not among them stays. */
bool core_subject_is_over(const struct core *core, const struct limit_defs *defs,
    const struct subject_row *subject, const struct meter_row *meters, int64_t before_ms);
/* Deletes it where that is so. Loaded are the subject and its meters. */
MUST_USE bool core_sweep_subject(struct core *core, const struct limit_defs *defs,
    const struct subject_row *subject, int64_t before_ms);

/* A refusal as it waits to be written; nothing in it needs the policy it was made under. */
struct refused {
    struct refusal refusal;
    int64_t at_ms, ledger_id;
    int64_t account_id, key_id, policy_ver, price_ver; /* 0 where the event has none */
    int64_t body_bytes, output_limit;
    int64_t waits_since_ms; /* 0 = it did not wait */
    int64_t thread_id, root_id; /* 0 = the thread is not known here */
    char model[NAME_MAX_BYTES + 1];
#define REFUSED_ASKED_BYTES 896
    char asked[REFUSED_ASKED_BYTES]; /* further members of its inputs */
    char trace_id[TRACE_ID_HEX + 1]; /* "" = none */
    char account[NAME_MAX_BYTES + 1]; /* "" = not known */
    bool shadow; /* nobody was refused: the limit is only watched */
};
/* In work.shadow_first: what was decided but not enforced, for the engine to note once it is committed. */
struct shadow_node {
    struct shadow_node *next;
    struct refused refused;
};
void core_refused(const struct core *core, const struct event *event, const struct refusal *refusal,
    struct refused *refused);
/* Puts a refusal on the books (section 3): `first` makes its ledger row with the inputs; `count` is
 * added to the counter of its minute, but for a shadow's. */
void core_record_refusal(
    struct core *core, const struct refused *refused, bool first, int64_t count);

/* How limits stand, for pages: needs are loaded first, in as many rounds as there are any. Of limits whose
 * subject shows without a call; how many, at most STANDINGS_MAX. */
void core_standing_needs(
    struct core *core, const struct standing_ask *ask, struct needs *needs);
int32_t core_standings(struct core *core, const struct standing_ask *ask,
    struct limit_standing standings[STANDINGS_MAX]);
/* Of the limits that have a meter in this row and something to tell now: a window that is over tells nothing.
 * Caps of other subjects (the gateway's, of groups, of the account itself) are those that are loaded.
 * `account` NULL = it belongs to none. */
int32_t core_row_standings(struct core *core, const struct account_row *account,
    const struct subject_row *subject, const struct meter_row *meters,
    struct limit_standing standings[METERS_MAX]);

/* --- For people: what is reported of an account, and what the limits on that say now. */

/* Thresholds in place of those that are set; CAP_UNLIMITED = none. */
struct usage_try {
    int64_t session_pct, week_pct;
};
#define USAGE_LIMITS_MAX 16 /* that are shown */
struct usage_limit {
    const struct limit *limit;
    int64_t cap_pct;   /* that rules, or was tried; CAP_UNLIMITED = none */
    const char *tier;  /* whose word that is */
    int64_t own_pct;   /* that the account itself has set; CAP_UNLIMITED = none */
    struct reported_answer answer;
    const char *state; /* of what it goes by: known, reset, stale, missing */
    bool pauses;       /* new work of some model, now */
};
/* Pointers are to rows of the work and the policy. */
struct usage_view {
    const struct account_row *account;   /* NULL: there is none */
    const struct reported_row *reported; /* of its own credentials; NULL = nothing */
    const char *states[REPORTED_MAX];    /* of those windows */
    int32_t limit_count;
    struct usage_limit limits[USAGE_LIMITS_MAX]; /* short windows first */
    const struct usage_limit *pausing;   /* the first that does; NULL = none */
    const struct usage_limit *thresholds[2]; /* the limit that session_pct sets, and week_pct; NULL = none is configured */
};
/* Once it needs no more, core_usage shows it; `tried` NULL: with the thresholds that are set. */
void core_usage_needs(struct core *core, int64_t account_id, struct needs *needs);
void core_usage(struct core *core, int64_t account_id, const struct usage_try *tried,
    struct usage_view *view);

/* --- parts with tests of their own */

/* The window of `limit` that holds now. Lifetime and concurrency: start 0, end 0 (never). */
struct window limit_window(const struct limit *limit, int64_t now_ms);
