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
bool bucket_fits(const struct limit *limit, int64_t burst, int64_t level, int64_t units);
/* The wait until `units` fit; 0 when they never do. */
int64_t bucket_wait_ms(const struct limit *limit, int64_t burst, int64_t level, int64_t units);
/* Units as a level, and added to one; never beyond what a meter may say. */
int64_t bucket_add(const struct limit *limit, int64_t level, int64_t units);

/* --- subjects.c: whom a limit counts for. */

/* Whose limits a call is under. A key's meter belongs to the account that owns the key, whomever it
 * acts for. */
struct caller {
    const struct policy *policy;
    const struct model *model;
    const struct call_event *call;     /* tags, organisation; NULL = neither */
    const struct account_row *account; /* NULL = not known yet: what is per plan or group is left out */
    int64_t account_id, key_id, key_account_id;
    int64_t root_id; /* 0 = the tree is new */
};
struct subject_key {
    enum subject_kind kind;
    int64_t account_id;
    char name[NAME_MAX_BYTES + 1]; /* "" of a tree that is new: it has no subject yet */
};
#define SUBJECTS_PER_LIMIT GROUPS_PER_ACCOUNT_MAX
/* How many subjects one limit counts for in this call: one; none where it has no such thing (a tag, a
 * group); each group of the account. */
int32_t limit_subjects(const struct limit *limit, const struct caller *caller,
    struct subject_key keys[SUBJECTS_PER_LIMIT]);
/* A limit that a group's cap may rule counts what its account spends in each organisation, too, also before there
 * are groups: the first one finds what was used. False where that is not so. */
bool limit_purse(
    const struct limit *limit, const struct caller *caller, struct subject_key *key);
/* The organisation of the call, or of its account; "" = none. */
const char *caller_organisation(const struct caller *caller);
struct subject_key group_subject(const char *group);
const struct subject_slot *subject_find(const struct core *core, const struct subject_key *key);
/* The row of a subject, and with `meter` that of its meters. */
void need_subject(struct core *core, const struct subject_key *key, bool meter, struct needs *needs);
/* Where caps are set for everybody, and for the members of the account's groups. */
void need_caps(struct core *core, const struct caller *caller, struct needs *needs);
/* What the reported limits of an account go by, and where their thresholds are set. */
void need_usage_caps(struct core *core, const struct caller *caller, struct needs *needs);
/* All that a call's limits may ask for. */
void need_limits(struct core *core, const struct caller *caller, struct needs *needs);

/* --- caps.c: up to how much. */
enum cap_tier { TIER_OF_SUBJECT, TIER_OF_CLIENT, TIER_OF_GROUP, TIER_OF_API, TIER_OF_PLAN, TIER_OF_DEFAULT };
struct cap_ruling {
    int64_t cap;        /* raises included; CAP_UNLIMITED */
    int64_t raised;     /* by so much */
    int64_t raised_until_ms; /* 0 = not raised */
    int64_t set_until_ms;    /* TIER_OF_SUBJECT: when what is set expires; 0 = never */
    enum cap_tier tier; /* that won */
    int32_t group;      /* TIER_OF_GROUP: index into policy->groups */
};
const char *cap_tier_word(enum cap_tier tier);
/* Of `limit` for one of its subjects. */
struct cap_ruling cap_rule(const struct core *core, const struct limit *limit,
    const struct caller *caller, const struct subject_key *own);
/* The same where `own` has its row at hand; NULL = it has none. */
struct cap_ruling cap_rule_row(const struct core *core, const struct limit *limit,
    const struct caller *caller, const struct subject_key *own, const struct subject_row *row);
/* What people set for that subject and still holds; NULL = nothing. */
const struct cap_set *cap_set_find(const struct subject_row *row, int64_t set_id,
    enum cap_set_kind kind, int64_t now_ms);
/* Keeps what a client asked for its tree. False: it asked for as little before, or there is no room for one more. */
bool cap_set_ask(struct subject_row *row, int64_t set_id, int64_t amount, int64_t now_ms);
/* Whether a client may lower its cap for its tree. */
bool limit_may_be_asked(const struct limit *limit, const struct subject_key *own);

/* --- meters.c: meters inside their subject's row. */
struct meter *meter_find(struct meter_row *row, int64_t limit_id, int64_t window_ms);
/* The one meter of a bucket: its window_ms moves. */
struct meter *meter_find_only(struct meter_row *row, int64_t limit_id);
/* Where the part was charged. */
struct meter *meter_of_part(struct meter_row *row, const struct hold_part *part);

/* What a row's meters of one limit say now. */
struct standing {
    struct meter now;     /* sums over the window; a bucket drained */
    struct window window; /* end_ms 0 = never, or not known */
    bool metered;         /* a charge now finds its meter */
};
/* `row` NULL = it has none yet. */
void meters_stand(struct core *core, const struct limit *limit, struct meter_row *row,
    int64_t now_ms, struct standing *standing);
/* The meter that a charge now goes to; NULL when the row is full. */
struct meter *meter_to_charge(
    struct core *core, const struct limit *limit, struct meter_row *row, int64_t now_ms);
/* Of a rolling window: the wait until `ask` fits below `cap`; 0 = never. */
int64_t rolling_wait_ms(const struct limit *limit, const struct meter_row *row, int64_t cap,
    int64_t ask, int64_t now_ms);
/* Whether what a part spends now is still in its window, as far as that is not told by its meter. */
bool part_still_counts(const struct limit *limit, const struct hold_part *part, int64_t now_ms);
/* Gives `held` and `bound` of a part back and adds what was spent. */
void meter_resolve(
    struct core *core, const struct hold_part *part, const struct limit *limit, int64_t spent);
/* Whether meter_to_charge can find a place for `more` meters in the row. */
bool meters_have_room(const struct core *core, const struct meter_row *row, int32_t more);
/* Moves what is promised, within 0 and the largest amount there is; bound is never under held. */
void meter_promise(struct meter *meter, int64_t held_change, int64_t bound_change);

/* --- applied.c: limits bound to a call. */
struct applied {
    const struct limit *limit;
    struct subject_key subject;
    struct meter_slot *slot; /* NULL: no subject or no meter yet */
    int64_t subject_id;      /* 0 = none yet */
    bool metered;            /* its meter is there */
    struct meter now;        /* as it stands; zero where there is none yet */
    struct window window;
    struct cap_ruling ruling;
    int64_t cap;             /* CAP_UNLIMITED: it only counts */
};
struct applied_set {
    int32_t count;
    struct applied items[LIMITS_MAX];
    bool has_cost;   /* money with a cap that is enforced */
    bool has_strict; /* of these or of tokens, one that wants a true bound */
    bool too_many;   /* more than a hold has parts */
};
/* The limits of the caller's policy that apply, in the order of tbl/checks.h. */
void applied_collect(struct core *core, const struct caller *caller, struct applied_set *set);
bool limit_counts_model(const struct limit *limit, const struct model *model);
bool limit_counts_route(
    const struct limit *limit, const struct policy *policy, const struct route *route);
/* Cost and tokens: what is asked depends on the answer, and is held in steps. */
bool counts_in_steps(enum count_kind counts);

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

/* --- check.c: does a call fit? */
/* What the checks found out on their way, and what the hold is made from. */
struct call_state {
    struct core *core;
    const struct policy *policy;
    const struct call_event *call;
    const char *trace_id; /* hex digits, or "" */
    int64_t waited_ms;    /* in a line; 0 = it did not */
    int32_t model_index;
    const struct model *model;
    const struct account_row *account;
    const struct key_row *key;
    struct thread_slot *thread; /* NULL or ABSENT: this call makes it */
    int64_t root_id;            /* 0 = the new thread is its own root */
    bool parent_ignored;        /* it began outside of the tree that the call names */
    struct applied_set limits;
    struct estimate estimate;
    int32_t route_index;
    uint32_t closed,
        foreign; /* routes, bit by bit: not to be asked; of these, they do not know the id */
    int64_t output_limit; /* of one answer, -1 = as the request has it */
    bool lowered;
    const struct limit *lowered_by; /* which leaves so little room; NULL = none */
    int64_t held_output, bound_output, held_micros, bound_micros, est_micros;
    const struct limit *substituted; /* the limit whose substitute is tried; NULL = none */
};
struct explained {
    struct call_state state;
};
struct caller caller_of(const struct call_state *state);
/* First route in order that is open and that all limits admit; the verdict refuses where there is none. */
bool check_routes(struct call_state *state, struct verdict *verdict);
/* False when this limit has no room for the call; then the refusal says why. */
bool check_limit(const struct call_state *state, const struct applied *applied,
    const struct route *route, struct refusal *refusal);
/* What the call asks of a limit that counts something. */
int64_t ask_of(
    const struct call_state *state, const struct applied *applied, const struct route *route);
/* The longest that a call refused like this may wait; 0 = it is refused at once. */
int64_t refusal_wait_ms(const struct policy *policy, const struct refusal *refusal);
/* One second: long enough for a call in flight to end, short enough not to be noticed. */
#define HELD_RETRY_MS INT64_C(1000)
/* Requests by the weight of the model; 1 without one. */
int64_t limit_weight(const struct limit *limit, const struct model *model);

/* --- take.c: a call that is allowed: its thread, hold and parts. */
void allow_call(struct call_state *state, struct verdict *verdict);

/* --- parts.c: what a hold promises in its meters. */
/* How much of a part's kind the hold stands for now; of requests and calls in flight, what the part says. */
void part_amounts(const struct hold_row *hold, const struct hold_part *part, int64_t *held, int64_t *bound);
struct meter *part_meter(struct core *core, const struct hold_part *part);
/* Moves the hold's cost and output, and with them every part that stands for them. */
void parts_resize(struct core *core, struct hold_row *hold, int64_t held_micros, int64_t bound_micros);
/* An attempt was booked while its hold goes on: what it used is spent. */
void parts_spend(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens);
/* The hold is over. Tells what was booked, and by how much it passed the tightest cap. */
void parts_resolve(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens, bool nothing_left, struct verdict *verdict);
int64_t usage_tokens(const struct usage *usage);
/* Whether the attempt that is open counts for the part. */
static inline bool
part_is_open(const struct hold_row *hold, const struct hold_part *part)
{
    /* A stored hold may be so damaged that it has none. */
    return part_counts_attempt(part, max_i64(0, hold->attempt_count - 1));
}
/* Room beyond what the part holds already. Meters of a rolling window are counted as they stand. */
int64_t part_room(struct core *core, const struct policy *policy, const struct hold_part *part,
    const struct meter *meter);
/* That its meter, as it stands, has no room for more. */
void part_refuse(const struct policy *policy, const struct hold_part *part, const struct meter *meter,
    struct refusal *refusal);
/* Promises what the part says to its meter. A bucket is charged at once: what it cannot take of a first slice the
 * settlement adds. */
void part_charge(const struct limit *limit, struct meter_slot *slot, struct meter *meter,
    struct hold_part *part);
/* What it holds goes back to where it was charged. */
void part_give_back(struct core *core, const struct policy *policy, const struct hold_row *hold,
    struct hold_part *part);

/* --- routed.c: a hold whose next attempt goes to another provider. */
/* Whether it counts the attempts at some route of the model. */
bool limit_may_serve(const struct limit *limit, const struct policy *policy, const struct model *model);
/* What the limits that would count an attempt at this route ask of its price, as applied_set has it for a call. */
void routed_wants(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct route *route, bool *has_cost, bool *has_strict);
/* The next attempt: the hold as it would be, and what the attempt before it used. */
struct routed_ask {
    const struct hold_row *next;
    int64_t cost_micros, tokens;
};
/* Whether all limits that would count an attempt at this route have room for it; else the first that has none. */
bool routed_fits(struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct route *route, const struct routed_ask *ask, struct refusal *tightest);
/* Before the next attempt is opened: what other providers' limits hold goes back. */
void routed_leave(struct core *core, const struct policy *policy, struct hold_row *hold,
    const struct route *route);
/* Once it is open and held: the limits on its provider are charged. */
void routed_enter(struct core *core, const struct policy *policy, struct hold_row *hold,
    const struct route *route);
/* After both: the inputs say which attempts each limit counts where those are not all, "from" the first of them, "to"
 * the first that is none any more. Now, since a limit's name is known as long as it is configured, and no longer. */
void routed_note(struct core *core, const struct policy *policy, struct hold_row *hold);

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

/* What a call says of whom it is for, where it does: organisation and tags by their names. */
void add_labels(struct buf *out, const struct policy *policy, const struct call_event *call);
/* What bounds its cost, or keeps it from being bounded, beside its figures; nothing where there is no such thing. */
void add_bounds_asked(struct buf *out, const struct call_event *call);

enum on_abort on_abort_of(const struct provider *provider, bool stream);
const struct route *hold_route(const struct policy *policy, const struct hold_row *hold);
const struct limit *hold_part_limit(
    const struct core *core, const struct policy *policy, const struct hold_part *part);
void refuse(struct verdict *verdict, enum reason reason);
/* Whether the policy's `unpriced` refuses this route: under a limit of cost; and whatever it says where a true
 * bound is wanted, since nothing bounds what has no price. */
bool price_is_missing(
    const struct policy *policy, const struct route *route, bool has_cost, bool has_strict);
/* The fields of a ledger row that come from its hold. */
void ledger_from_hold(const struct core *core, struct ledger_row *row, const struct hold_row *hold);

/* --- core.c: a need, unless the row is there already. */
void need_id(struct needs *needs, enum need_kind kind, const void *slot, int64_t id);
void need_text(struct needs *needs, enum need_kind kind, int32_t sub_kind, const void *slot,
    int64_t id, const char *text);
/* --- reported.c: limits on what providers report of their own windows; core/reported.h */
void need_reported(
    struct core *core, const struct policy *policy, int64_t account_id, struct needs *needs);
/* What is reported of the account, of a limit per gateway of the company; NULL = nothing. */
const struct reported_row *reported_of(
    const struct core *core, const struct limit *limit, int64_t account_id);
/* False: the refusal says why; its amounts are in thousandths of a percent. `credential`: the provider that
 * would be used. */
bool reported_fits(const struct core *core, const struct limit *limit, int64_t account_id,
    const struct model *model, const char *credential, int64_t cap_pct, struct refusal *refusal);
/* What an allowed call was compared with, as a member of its inputs; nothing where no such limit is. */
struct call_state;
void reported_inputs(const struct call_state *state, struct buf *out);
void need_report(struct core *core, const struct report_event *report, struct needs *needs);
void decide_report(struct core *core, const struct report_event *report, struct verdict *verdict);

/* --- thresholds.c */
void need_admin_thresholds(struct core *core, const struct admin_event *admin, struct needs *needs);
void decide_admin_thresholds(
    struct core *core, const struct admin_event *admin, struct verdict *verdict);

/* --- issued.c */
void need_issued(struct core *core, const struct issued_event *ask, struct needs *needs);
void decide_issued(struct core *core, const struct issued_event *ask, struct verdict *verdict);
/* Whose the ids of a settled answer are from now on. */
void issued_give(struct core *core, const struct hold_row *hold, struct slice ids);

/* --- receipts.c */
void need_receipt(struct core *core, const struct receipt_ask *ask, struct needs *needs);
/* Whether it was done before: then the verdict says so, and nothing is to be changed. */
bool receipt_stops(struct core *core, const struct receipt_ask *ask, struct verdict *verdict);
/* What the verdict says was done is not done again. */
void receipt_leave(struct core *core, const struct receipt_ask *ask, struct verdict *verdict);
/* The correction of a call behind so many others: there is one. */
void need_correction(struct core *core, const struct admin_adjust *adjust, struct needs *needs);
bool correction_take(struct core *core, const struct admin_adjust *adjust);

/* --- warn.c */
/* After `settled` of a part's meter moved: tells each percentage of the part's cap that it has reached now, once
 * a window. `limit` NULL: it is configured no more. */
void warn_check(struct core *core, const struct hold_part *part, const struct limit *limit,
    struct meter *meter);
/* The same for one that moved otherwise, under the cap that rules for this subject now. */
void warn_look(struct core *core, const struct limit *limit, struct meter_slot *slot,
    struct meter *meter, int64_t cap);
/* Whom the warnings are about that such an end of a hold will bring. */
void need_warn_parts(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens, struct needs *needs);
/* A correction moved `settled`: the same, under the cap that rules for its subject now; what that needs. */
void need_warn_correction(
    struct core *core, int64_t account_id, const struct admin_adjust *adjust, struct needs *needs);
void warn_correction(struct core *core, const struct limit *limit, int64_t account_id,
    struct meter_slot *slot, struct meter *meter);
/* A limit that is only watched would have refused this event. */
void shadow_note(struct core *core, const struct event *event, const struct refusal *refusal);

/* --- outbox.c */
bool outbox_wants(const struct core *core, enum topic topic);
/* A message about a row of the ledger to each webhook that wants its topic. `account`: the name of the row's,
 * where it is known besides; "" = look it up. */
void outbox_tell(
    struct core *core, enum topic topic, const struct ledger_row *row, const char *account);
void outbox_tell_overshoot(struct core *core, int64_t hold_id, const struct verdict *verdict);
/* The id of the test message to one webhook; 0 where there is none of that name. */
int64_t outbox_test(struct core *core, const char *hook, const struct ledger_row *row);
void decide_delivery(
    struct core *core, const struct delivery_event *delivery, struct verdict *verdict);

/* --- identify.c */
/* The ledger row of an admin's change. */
struct ledger_row *admin_note(
    struct core *core, const struct admin_event *admin, int64_t account_id, int64_t key_id);

/* --- admin_caps.c */
void need_admin_cap(struct core *core, const struct admin_event *admin, struct needs *needs);
void decide_admin_cap(struct core *core, const struct admin_event *admin, struct verdict *verdict);
/* --- admin_adjust.c */
void need_admin_adjust(struct core *core, const struct admin_event *admin, struct needs *needs);
void decide_admin_adjust(
    struct core *core, const struct admin_event *admin, struct verdict *verdict);

void decide_identify(struct core *core, const struct event *event, struct verdict *verdict);
void decide_call(struct core *core, const struct event *event, struct verdict *verdict);
void decide_extend(struct core *core, const struct event *event, struct verdict *verdict);
void decide_reroute(struct core *core, const struct event *event, struct verdict *verdict);
void decide_settle(struct core *core, const struct event *event, struct verdict *verdict);
/* Once a hold and its meters are there: whom the warnings are about that a settlement or reroute will bring, or
 * (`event` NULL) its end as an orphan. */
void need_hold_told(
    struct core *core, const struct event *event, int64_t hold_id, struct needs *needs);
void decide_admin(struct core *core, const struct event *event, struct verdict *verdict);
