/* core/core_priv.h: what the files of core/ share: limits bound to their meters, and parts of a hold. */
#pragma once

#include "core/core.h"

#define LIMITS_MAX HOLD_PARTS_MAX /* of one call; conf/ refuses a configuration that could need more */

/* --- window.c: token buckets. A level is in units x period_ms, so that draining is exact. */
int64_t bucket_level(const struct limit *limit, const struct meter *meter, int64_t now_ms);
bool bucket_fits(const struct limit *limit, int64_t level, int64_t units);
/* The wait until `units` fit; 0 when they never do. */
int64_t bucket_wait_ms(const struct limit *limit, int64_t level, int64_t units);

/* --- meters.c */
struct meter *meter_find(struct meter_row *row, int64_t limit_id, int64_t window_ms);
/* Makes one, dropping windows that are over and hold nothing; NULL when the row is full of open windows. */
struct meter *meter_make(struct meter_row *row, int64_t limit_id, int64_t window_ms);
/* Gives `held` and `bound` of a part back and adds what was spent. */
void meter_resolve(struct core *core, const struct hold_part *part, const struct limit *limit, int64_t spent);

/* A limit that applies to a call, bound to its subject and meter. */
struct applied {
    const struct limit *limit;
    enum subject_kind subject_kind;
    int64_t subject_account;
    char subject_name[24];
    struct meter_slot *slot;      /* NULL: no subject or no meter yet */
    int64_t subject_id;           /* 0 = none yet */
    struct meter now;             /* as it stands, drained; zero where there is none yet */
    struct window window;
    int64_t cap;
};
struct applied_set {
    int32_t count;
    struct applied items[LIMITS_MAX];
    bool has_cost;
};
/* The limits of `policy` that apply, in the order of tbl/checks.h. `root_id` 0 = the tree is new. */
void applied_collect(struct core *core, const struct policy *policy, const struct call_event *call,
    const struct account_row *account, int64_t root_id, struct applied_set *set);
/* The subject of a limit for that call, as a need. */
void applied_subject(const struct limit *limit, int64_t account_id, int64_t key_id, int64_t root_id,
    struct applied *applied);
bool limit_applies(const struct limit *limit, const struct model *model, const struct account_row *account,
    int64_t *cap);

/* --- estimate.c */
struct estimate {
    int64_t input, input_bound;   /* tokens */
    int64_t output_bound;         /* of all answers */
    int64_t slice;                /* output tokens to hold at first */
    int64_t least;                /* output tokens without which the call is not worth starting */
    bool whole;                   /* the slice is the whole bound: nothing is extended */
    const char *estimator;
};
void estimate_call(const struct core *core, const struct policy *policy, const struct call_event *call,
    const struct model *model, const struct thread_row *thread, struct estimate *estimate);
struct learned *learned_of(struct learned_table *table, const char *model, bool make);

/* --- shared by call.c and hold.c */
const struct policy *core_policy_at(const struct core *core, int64_t version);
const struct route *hold_route(const struct policy *policy, const struct hold_row *hold);
const struct limit *hold_part_limit(const struct core *core, const struct policy *policy,
    const struct hold_part *part);
void refuse(struct verdict *verdict, enum reason reason);
/* The fields of a ledger row that come from its hold. */
void ledger_from_hold(const struct core *core, struct ledger_row *row, const struct hold_row *hold);

void decide_identify(struct core *core, const struct event *event, struct verdict *verdict);
void decide_call(struct core *core, const struct event *event, struct verdict *verdict);
void decide_extend(struct core *core, const struct event *event, struct verdict *verdict);
void decide_reroute(struct core *core, const struct event *event, struct verdict *verdict);
void decide_settle(struct core *core, const struct event *event, struct verdict *verdict);
void decide_admin(struct core *core, const struct event *event, struct verdict *verdict);
