/* tests/sim/audit_priv.h: what the auditor knows. He sees what is committed, the events and the verdicts; sums,
 * windows, buckets and prices are his own. */
#pragma once

#include "sim.h"

struct audit_account {
    int64_t account_id;
    char plan[NAME_MAX_BYTES + 1], name[NAME_MAX_BYTES + 1], organisation[NAME_MAX_BYTES + 1];
    bool banned;
};
struct audit_key {
    int64_t key_id, account_id, expires_ms;
    enum key_role role;
    bool revoked, thread_required;
    char may_act_for[NAME_MAX_BYTES + 1];
};
struct audit_thread {
    int64_t thread_id, account_id, root_id, created_ms, last_ms;
    enum thread_kind kind;
    char sig[HASH_HEX + 1];
};
struct audit_limit { /* what a number of a limit stands for */
    int64_t limit_id, set_id;
    struct sim_limit means;
    char name[24], stored[24]; /* as who decides knows it; as it was written last, by one that died of it perhaps */
    bool was_set; /* people set caps under this number, of which no printed bound knows */
};
#define SLACK_OF_ROLLING (-1) /* window_ms of the meter that has a rolling window's slack, and nothing else */
struct audit_meter {
    struct audit_meter *next; /* of its subject */
    int64_t limit_id, window_ms; /* of a rolling window: when it was charged; each moment is a meter */
    int64_t settled, held, bound; /* settled of a bucket: its level at window_ms, in units x period */
    int64_t slack;  /* by how much the cap may be passed now: the printed bound, of the calls that are in flight */
    int64_t excused; /* of the slack, what is no part of the bound as it is printed */
    int64_t credit; /* beside a rolling window's slack: what corrections gave, which ages before what was spent on it */
    int32_t opens;  /* parts of open holds */
    bool fuzzy;     /* a bucket: whether a charge was given back cannot be told from outside */
    int64_t unclear_turn; /* in that turn it cannot be told what was held when */
};
#define AUDIT_EDGES 128
struct audit_edge { /* of a rolling window's meters, as they were stored last: what each reaches up to */
    int64_t limit_id, window_ms;
};
struct audit_subject {
    struct subject_row row;
    struct audit_edge edges[AUDIT_EDGES];
    int edge_count;
    int64_t seen_ms;
    struct audit_meter *meters;
    int64_t born_turn;
    bool new_tree; /* in this turn, with a cap that its first call asked for */
    bool new_here; /* in this turn, and no part has named it */
};
struct audit_hold {
    struct hold_row row; /* as committed last */
    uint32_t rows_seen;  /* bit i: attempt i is on the ledger */
    bool open;
    bool claimed;        /* somebody was told that it is there */
    int64_t born_turn;
    bool orphaned;       /* booked by another than its gateway, or its gateway's next life */
    bool stream;
};

#define SHADOWS_MAX 256
struct shadow_due { /* a verdict of a limit that is only watched, of one minute */
    uint64_t key;
    int64_t limit_id, life, turn; /* when it was given first, in which life of its gateway */
    int node;
    int64_t verdicts, rows;
    char limit[SIM_NAME], also[SIM_NAME]; /* its name, and that by which one that waited knows it */
};
#define AUDIT_ACCOUNTS 16
struct audit_told { /* what is reported of an account's credentials, of the company's (0) */
    int64_t account_id;
    int count;
    struct sim_told items[REPORTED_MAX];
    bool moved; /* in this turn */
};
#define AUDIT_KEYS     1024
struct audit {
    struct audit_account accounts[AUDIT_ACCOUNTS];
    int account_count;
    struct audit_key keys[AUDIT_KEYS];
    int key_count;
    struct map threads, subjects, subject_names, holds, limits, ids;
    struct map swept;               /* threads that went, by what they are recognised by */
    int64_t open_holds, unclaimed_holds;
    int64_t ledger_rows, ledger_micros;
    int64_t ledger_ms[SIM_NODES];   /* time of the last row a gateway wrote */
    int64_t turn, caps_turn;        /* caps_turn: in which caps were set, at a moment that is not told */
    int tree_asks;                  /* calls of this turn that ask for less for their tree */
    struct map warned, warned_at;   /* percentages: of a window; of a rolling one when it was told last */
    struct shadow_due shadows[SHADOWS_MAX];
    int64_t shadow_count;
    int64_t batch_turn;             /* in which events were committed, last */
    int verdict_count;              /* of this turn */
    int64_t rebase_turn;            /* when another configuration came, or an account moved to another plan */
    bool settling;                  /* it is known in which order this hold ended */
    struct map corrected;           /* calls, by source */
    int64_t adopted_turn;           /* in which a configuration was taken: by which a turn decides is not told */
    struct audit_told told[AUDIT_ACCOUNTS + 1];
    int told_count;
    /* Of the turn that is looked at: */
    struct world *world;
    struct sim_node *node;
};

/* Numbers that are hashed the same in each run. */
uint64_t audit_hash(uint64_t a, uint64_t b);
uint64_t audit_text_hash(const char *text);

/* --- audit.c */
struct audit_account *audit_account(struct audit *audit, int64_t account_id);
struct audit_key *audit_key(struct audit *audit, int64_t key_id);
struct audit_thread *audit_thread(struct audit *audit, int64_t account_id, enum thread_kind kind, const char *sig);
struct audit_subject *audit_subject(struct audit *audit, int64_t subject_id);
uint64_t audit_thread_key(int64_t account_id, enum thread_kind kind, const char *sig);
uint64_t audit_subject_key(enum subject_kind kind, int64_t account_id, const char *name);
struct audit_subject *audit_subject_named(
    struct audit *audit, enum subject_kind kind, int64_t account_id, const char *name);
struct audit_hold *audit_hold(struct audit *audit, int64_t hold_id);
struct audit_limit *audit_limit_of(struct audit *audit, int64_t limit_id);
/* Where caps of that limit lie. */
int64_t audit_set_of(struct audit *audit, int64_t limit_id);
struct audit_meter *audit_meter(struct audit_subject *subject, int64_t limit_id, int64_t window_ms, bool make);
/* Of a bucket: the only one. */
struct audit_meter *audit_meter_any(struct audit_subject *subject, int64_t limit_id);
/* What was committed in this turn, but for holds, threads and meters. */
void audit_take_rows(struct audit *audit);
void audit_take_thread(struct audit *audit, const struct thread_row *row);
struct audit_limit *audit_take_limit(struct audit *audit, int64_t limit_id);
void audit_id(struct audit *audit, int64_t id, const char *what);
struct write *audit_write(struct audit *audit, enum write_kind kind, int64_t id);

/* --- audit_caps.c: whom a limit counts for, and up to how much, by the auditor's own reading. */
struct asker {
    const struct sim_config *config;
    const struct call_event *call;
    const struct audit_account *account;
    const struct audit_key *key;
    const char *model; /* that it is asked for, or served by */
    const char *provider; /* NULL = of any route */
    int64_t root_id, now_ms;
};
struct wanted { /* a part that a call has */
    int index;  /* of the limit in its configuration */
    enum subject_kind kind;
    int64_t account_id;
    char name[NAME_MAX_BYTES + 1];
    int64_t cap;
};
#define WANTED_MAX 48
/* The cap of a subject for calls of that account, without a call; CAP_UNLIMITED where others' caps rule for what it
 * counts. */
int64_t audit_cap_of(struct audit *audit, int index, const struct sim_adopted *adopted, const struct subject_row *row,
    int64_t account_id, int64_t now_ms);
int wanted_parts(struct audit *audit, const struct asker *asker, struct wanted wanted[WANTED_MAX]);
/* The largest that a subject's cap may be by this configuration: raises count though they may be over. */
int64_t audit_cap_at_most(struct audit *audit, const struct sim_limit *limit, int64_t limit_id, const struct sim_config *config,
    const struct audit_subject *subject);
int model_index(const char *name);
/* Whether it counts such calls. */
bool audit_applies(const struct asker *asker, const struct sim_limit *limit);
/* Of a limit on what is reported: a percentage. */
int64_t audit_reported_cap(struct audit *audit, const struct asker *asker, int index);

/* --- audit_reported.c */
enum told_state { TOLD_KNOWN, TOLD_RESET, TOLD_STALE, TOLD_MISSING, TOLD_STATES };
struct judgement {
    enum reason reason;
    int seen[TOLD_STATES]; /* windows that count */
    bool own;              /* of the very credential, or of one without a name */
    bool passed_full, stale_full, foreign_full, others_full; /* they would refuse if they counted */
    int over_count;        /* the fullest that refuse; of these, those for some models alone */
    const struct sim_told *over[REPORTED_MAX];
};
void audit_report(struct audit *audit, const struct sim_call *call, const struct verdict *verdict);
/* At the end of a turn: what is stored is what was told. */
void audit_reported_rows(struct audit *audit);
/* What the limit says of a call that `provider` serves. */
enum reason audit_reported_judge(
    struct audit *audit, const struct asker *asker, int index, const char *provider, int64_t *cap_pct);
void audit_reported_refusal(
    struct audit *audit, const struct asker *asker, int index, const struct verdict *verdict, bool caps_unclear);

/* --- audit_windows.c */
/* What a subject's meters of that limit say now; of a rolling window the sum of what is younger than it. */
struct stand {
    int64_t settled, held;
    int64_t least, most;         /* used, where charges that are counted together stay for longer */
    int64_t start_ms, end_ms;    /* of the window; end 0 = never, or it moves */
    bool together;               /* charges of a rolling window may be counted together, at the time of the last */
    bool unclear, fuzzy;
};
void audit_stand(struct audit *audit, struct audit_subject *subject, const struct sim_limit *limit, int64_t limit_id,
    int64_t now_ms, struct stand *stand);
/* The wait until `ask` fits below `cap` in a rolling window; 0 = never. */
int64_t audit_rolling_wait(struct audit_subject *subject, int64_t limit_id, int64_t span_ms, int64_t cap, int64_t ask,
    int64_t now_ms);
/* Of a rolling window: the stored meters are sums of what was charged up to each, after the one before. */
/* Before a part begins to count in its window: an edge up to which all was given back moves to where it is. */
void audit_rolling_charge(struct audit_subject *subject, const struct hold_part *part);
void audit_rolling_row(struct audit *audit, struct audit_subject *subject, int64_t limit_id, const struct meter_row *row);
bool window_is_over(const struct sim_limit *limit, int64_t window_ms, int64_t now_ms);

/* --- audit_prices.c: prices, from sim_prices. */
int64_t audit_cost(const struct sim_config *config, const struct hold_row *hold, const struct usage *usage, int64_t pct);
/* What one attempt, that of the row, may cost at list price, or take of tokens, by the model's own bounds. */
int64_t audit_attempt_most(
    const struct sim_config *config, const struct hold_row *hold, const struct ledger_row *row, const struct sim_limit *limit);
int64_t audit_price(const struct sim_config *config, const struct hold_row *hold, int64_t input, int64_t output);

/* --- audit_calls.c */
void audit_call(struct audit *audit, const struct sim_call *call, const struct verdict *verdict);

/* --- audit_adjust.c */
/* A correction of what a subject has used. */
void audit_adjust(struct audit *audit, struct write *write);
/* Of a call. */
void audit_adjust_call(struct audit *audit, const struct admin_event *admin, const struct verdict *verdict);
/* That nobody was told of. */
void audit_adjust_untold(struct audit *audit, struct write *write);

/* --- audit_shadow.c */
enum shadowed { SHADOW_ADMITS, SHADOW_REFUSES, SHADOW_UNCLEAR };
struct shadows { /* of one call */
    const char *must; /* a limit that would have refused it; NULL = none that surely would */
    int count;
    int64_t may[SIM_LIMITS_MAX * 4];
};
enum shadowed audit_would_refuse(const struct sim_config *config, const struct call_event *call, const struct hold_row *hold,
    const struct sim_limit *limit, int64_t cap, const struct stand *stand, int64_t level);
void audit_shadow_note(struct shadows *shadows, int64_t limit_id, const char *name, enum shadowed says);
/* What its verdict tells of; `model`: that was asked for. */
void audit_shadow(struct audit *audit, const struct call_event *call, const char *model, const struct verdict *verdict,
    const struct shadows *shadows);
void audit_shadow_row(struct audit *audit, const struct write *write);
void audit_shadows_due(struct audit *audit);

/* --- audit_warn.c */
void audit_warn(struct audit *audit, const struct write *write);
/* After `settled` of a meter moved under that cap: what it has reached was told. */
void audit_warn_due(struct audit *audit, struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    int64_t limit_id, int64_t cap, int64_t at_ms);
/* The same after a correction, under the cap that rules for its subject now. */
void audit_warn_corrected(struct audit *audit, struct audit_subject *subject, const struct audit_meter *meter, int64_t limit_id,
    const struct write *correction);
/* Names come back for other limits: the newest of this gateway, of warnings the newest that may have told it. */
int64_t audit_limit_named(struct audit *audit, const struct told_limit *about);

/* --- audit_holds.c */
/* Where a part was charged. A rolling window may have forgotten that moment, since nothing was held of it: then it
 * is there again, as long as something is stored behind it. */
struct audit_meter *audit_meter_late(struct audit *audit, struct audit_subject *subject, const struct hold_part *part);
const struct sim_config *audit_config_of(struct audit *audit, const struct hold_row *hold);
/* A hold that is there from now on, with its parts. */
struct audit_hold *audit_hold_made(struct audit *audit, const struct hold_row *row, bool claimed);
/* What the parts and the cost of a hold must be; `is_new`: it was made just now. */
void audit_promised(struct audit *audit, const struct hold_row *row, bool is_new);
const struct sim_limit *audit_limit_in(struct audit *audit, const struct hold_row *hold, int64_t limit_id);
struct audit_subject *audit_subject_of(struct audit *audit, const struct hold_part *part);
bool audit_is_bucket(struct audit *audit, const struct hold_part *part);
int64_t audit_used(const struct sim_limit *limit, const struct ledger_row *row);
void audit_charge_bucket(
    struct audit *audit, const struct hold_row *row, const struct hold_part *part, bool claimed, int64_t now_ms);
void audit_settle_bucket(struct audit *audit, struct audit_hold *hold, const struct hold_part *part, int64_t spent,
    const struct ledger_row *row);

/* --- audit_routes.c */
/* The attempt that is open counts for it. */
bool audit_part_open(const struct hold_row *row, const struct hold_part *part);
/* Its call went to another provider, and it holds nothing any more. */
bool audit_part_left(const struct sim_limit *limit, const struct hold_part *part);
/* Each attempt counts once for each subject of each limit on its provider, and for none of the others'. */
void audit_attempts(struct audit *audit, const struct hold_row *row, const struct hold_part *part, const struct sim_limit *limit);
/* The part as it was before the hold changed; NULL: it began to count just now. */
const struct hold_part *audit_part_before(const struct hold_row *before, const struct hold_part *part);
/* `given_up`: the row of the attempt before, NULL = nothing was billed. `claimed`: somebody was told. */
void audit_hold_changed(struct audit *audit, struct audit_hold *hold, const struct hold_row *row,
    const struct ledger_row *given_up, bool claimed);
/* It is gone; `refund`: nothing left the process; `last`: the ledger's row of its last attempt. */
void audit_hold_gone(struct audit *audit, struct audit_hold *hold, bool refund, const struct ledger_row *last);
/* A row of the ledger that names a hold: the attempt, its cost. */
void audit_hold_row(struct audit *audit, struct audit_hold *hold, const struct ledger_row *row);
/* What happened to its buckets, and in which order, was told to nobody. */
void audit_buckets_unclear(struct audit *audit, const struct audit_hold *hold);
/* What a new hold was charged with beyond what its caps are by now, or without being asked, is no overshoot. */
void audit_excuse(struct audit *audit, const struct hold_row *row);
/* What its parts hold more than before may pass their caps. */
void audit_raise(struct audit *audit, const struct hold_row *row, const struct hold_row *before);
void audit_extend(struct audit *audit, const struct sim_call *call, const struct verdict *verdict);
void audit_reroute(struct audit *audit, const struct sim_call *call, const struct verdict *verdict);
void audit_settle(struct audit *audit, const struct sim_call *call, const struct verdict *verdict);

/* --- audit_sweep.c: what went because nobody came back to it, at the end of a turn. */
void audit_sweep(struct audit *audit);
/* Somebody did come back: it begins anew. */
void audit_came_back(struct audit *audit, const struct thread_row *row);

/* --- audit_meters.c */
/* What a meter counts, by its limit's number; NULL = none that is known. */
const struct sim_limit *audit_means(struct audit *audit, int64_t limit_id);
/* As the configuration that decides now has it; NULL = it has it no more. */
const struct sim_limit *audit_configured(const struct audit *audit, int64_t limit_id);
static inline const struct limit_form *
form_of(const struct sim_limit *limit)
{
    return &sim_forms[limit->form];
}
/* Where a meter's slack is kept. */
struct audit_meter *audit_slack_of(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter);
/* The cap now, the largest of the configurations that calls may name; INT64_MAX = none. */
int64_t audit_cap_now(struct audit *audit, const struct audit_subject *subject, int64_t limit_id);
/* The cap may be passed by so much more; `printed`: of that, so much is of the bound that is printed. */
void audit_allow(struct audit_meter *slack, int64_t amount, int64_t printed);
/* After each deed: no cap is passed by more than the bound. */
void audit_bound(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter);
/* Caps were edited, or a plan was changed: what is above its cap from now on was there before. */
void audit_rebase(struct audit *audit);
/* Nothing is held in it, and nothing reads it any more: its window is over, or no limit has its number now. */
bool audit_may_leave(
    struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter);
int64_t audit_level(const struct audit_meter *meter, int64_t rate, int64_t at_ms);
/* The row as it was committed says what the auditor has. */
void audit_meter_row(struct audit *audit, const struct meter_row *row);
