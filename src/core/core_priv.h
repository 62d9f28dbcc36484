/* core/core_priv.h: what the files of core/ share: limits bound to their meters, and parts of a
 * hold. */
#pragma once

#include "base/buf.h"
#include "core/core.h"

/* Of one call; conf/ refuses a configuration that could need more. */
#define LIMITS_MAX HOLD_PARTS_MAX

/* --- window.c */
/* The same as limit_window, found once a batch. */
struct window core_window(struct core *core, const struct limit *limit, int64_t now_ms);
bool limit_is_calendar(const struct limit *limit);

/* Token buckets. A level is in units x period_ms, so that draining is exact. */
int64_t bucket_level(const struct limit *limit, const struct meter *meter, int64_t now_ms);
bool bucket_fits(const struct limit *limit, int64_t level, int64_t units);
/* The wait until `units` fit; 0 when they never do. */
int64_t bucket_wait_ms(const struct limit *limit, int64_t level, int64_t units);

/* --- meters.c */
struct meter *meter_find(struct meter_row *row, int64_t limit_id, int64_t window_ms);
/* The one meter of a bucket: its window_ms moves. */
struct meter *meter_find_only(struct meter_row *row, int64_t limit_id);
/* Makes one. Windows of its limit that are over and hold nothing leave; where the row is full, so
 * do other limits' and those of limits that are no more. NULL when it is full all the same. */
struct meter *meter_make(
    const struct core *core, struct meter_row *row, int64_t limit_id, int64_t window_ms);
/* Gives `held` and `bound` of a part back and adds what was spent. */
void meter_resolve(
    struct core *core, const struct hold_part *part, const struct limit *limit, int64_t spent);

/* Whether meter_make can find a place for `more` meters in the row. */
bool meters_have_room(const struct core *core, const struct meter_row *row, int32_t more);
/* Moves what is promised, within 0 and the largest amount there is; bound is never under held. */
void meter_promise(struct meter *meter, int64_t held_change, int64_t bound_change);

/* Whose limits a call is under. A key's meter belongs to the account that owns the key, whomever it
 * acts for. */
struct caller {
    int64_t account_id, key_id, key_account_id;
    int64_t root_id; /* 0 = the tree is new */
};

/* A limit that applies to a call, bound to its subject and meter. */
struct applied {
    const struct limit *limit;
    enum subject_kind subject_kind;
    int64_t subject_account;
    char subject_name[24];
    struct meter_slot *slot; /* NULL: no subject or no meter yet */
    int64_t subject_id;      /* 0 = none yet */
    bool metered;            /* its meter is there */
    struct meter now;        /* as it stands, drained; zero where there is none yet */
    struct window window;
    int64_t cap;
};
struct applied_set {
    int32_t count;
    struct applied items[LIMITS_MAX];
    bool has_cost;
};
/* The limits of `policy` that apply, in the order of tbl/checks.h. */
void applied_collect(struct core *core, const struct policy *policy, const struct model *model,
    const struct account_row *account, const struct caller *caller, struct applied_set *set);
/* The subject of a limit for that call, as a need. */
void applied_subject(
    const struct limit *limit, const struct caller *caller, struct applied *applied);
bool limit_applies(const struct limit *limit, const struct model *model,
    const struct account_row *account, int64_t *cap);

/* --- estimate.c */
struct estimate {
    int64_t input, input_bound; /* tokens */
    int64_t output_bound;       /* of all answers */
    int64_t slice;              /* output tokens to hold at first */
    int64_t least;              /* output tokens without which the call is not worth starting */
    bool whole;                 /* the slice is the whole bound: nothing is extended */
    const char *estimator;
};
void estimate_call(const struct core *core, const struct policy *policy,
    const struct call_event *call, const struct model *model, const struct thread_row *thread,
    struct estimate *estimate);
struct learned *learned_of(struct learned_table *table, const char *model, bool make);
/* `n`: at least one, and no more than the arithmetic on tokens bears. */
int64_t call_answers(const struct call_event *call);

/* --- shared by call.c and hold.c */
/* Exactly that policy, or NULL when it is gone; a model_index means something in it alone. */
const struct policy *core_policy_exact(const struct core *core, int64_t version);
/* That policy, or the newest: for holds, whose names can be looked up in any. */
const struct policy *core_policy_at(const struct core *core, int64_t version);
/* JSON is written into memory of the caller: a buf over it never grows, and is not freed. */
struct buf buf_over(char *room, size_t room_bytes);
/* A further member of an object: ,"name":value. The name is a literal that needs no escapes. */
#define buf_add_number(buf, name, value)                                                           \
    do {                                                                                           \
        buf_add_str((buf), ",\"" name "\":");                                                      \
        buf_add_i64((buf), (value));                                                               \
    } while (0)
/* The client's trace, where it named one. */
static inline void
add_trace(struct buf *out, const char *trace_id)
{
    if (trace_id[0]) {
        buf_add_str(out, ",\"trace\":");
        buf_add_json(out, slice_str(trace_id));
    }
}

enum on_abort on_abort_of(const struct provider *provider, bool stream);
const struct route *hold_route(const struct policy *policy, const struct hold_row *hold);
const struct limit *hold_part_limit(
    const struct core *core, const struct policy *policy, const struct hold_part *part);
void refuse(struct verdict *verdict, enum reason reason);
/* Whether the policy's `unpriced` refuses this route. */
bool price_is_missing(
    const struct policy *policy, const struct route *route, bool under_cost_limit);
/* The fields of a ledger row that come from its hold. */
void ledger_from_hold(const struct core *core, struct ledger_row *row, const struct hold_row *hold);

/* --- issued.c */
void need_issued(struct core *core, const struct issued_event *ask, struct needs *needs);
void decide_issued(struct core *core, const struct issued_event *ask, struct verdict *verdict);
/* Whose the ids of a settled answer are from now on. */
void issued_give(struct core *core, const struct hold_row *hold, struct slice ids);

void decide_identify(struct core *core, const struct event *event, struct verdict *verdict);
void decide_call(struct core *core, const struct event *event, struct verdict *verdict);
void decide_extend(struct core *core, const struct event *event, struct verdict *verdict);
void decide_reroute(struct core *core, const struct event *event, struct verdict *verdict);
void decide_settle(struct core *core, const struct event *event, struct verdict *verdict);
void decide_admin(struct core *core, const struct event *event, struct verdict *verdict);
