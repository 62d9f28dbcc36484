/* tests/sim/sim.h: a simulated world: gateways over one store, their clients and their operator, all drawn from
 * one number, and an auditor who believes none of them.
 *
 *   main.c     worlds in a row, what they covered, how to repeat one      world.c   gateways, time, crashes
 *   draw.c     what clients and operators do                              clients.c what becomes of their calls
 *   reports.c  what providers say is used                                 inputs.c  what the ledger says of itself
 *   corrections.c  later truths about calls
 *   config.c   configurations: every form of limit, edited                faulty.c  the store that fails on purpose
 *   audit*.c   the auditor                                                calendar.c his calendar
 *   clock.c    the clock door, of simulated time                          server.c  a real PostgreSQL below it
 *   books.c    the store's own audit                                      faults.c  where it is to fail
 *
 * One thread. The same seed gives the same world, to the last byte of its ledger. */
#pragma once

#include "base/map.h"
#include "engine/bounds.h"
#include "engine/engine_priv.h"
#include "store/store_priv.h"

#include "calendar.h"

/* --- Numbers drawn. */
struct rng {
    uint64_t state;
};
uint64_t draw(struct rng *rng);
int64_t draw_below(struct rng *rng, int64_t count);              /* 0 .. count - 1 */
int64_t draw_between(struct rng *rng, int64_t low, int64_t high); /* both included */
bool draw_chance(struct rng *rng, int per_10000);

/* --- Time: wall and monotonic time of the machine that is looking. */
void clock_set(int64_t wall_ms, int64_t mono_ms);

/* --- Configurations (config.c). */
#define SIM_LIMITS_MAX 10
#define SIM_PLANS      3
#define SIM_PLAN_FREE  0
#define SIM_GROUPS     3
#define SIM_ORGANISATIONS 3 /* the first is none */
#define SIM_TAGS       2
#define SIM_WARNS      2
#define SIM_PERCENTAGES 5
#define SIM_FORMS_MAX  256
#define SIM_FORMS_REPORTED 2 /* the last ones */
#define SIM_MODELS     7
#define SIM_PROVIDERS  3
#define SIM_STEP       50
#define SIM_MIN_ANSWER 50
#define CAP_AS_DEFAULT (-2)

struct sim_limit {
    char name[24], was[24];
    int form;               /* of sim_forms */
    int zone, model, tier, provider; /* the last three: -1 = any */
    int tag, weights;       /* per tag: which; requests: of sim_weights */
    enum hold_mode mode;
    enum at_cap_kind at_cap;
    int substitute;         /* downgrade: a model; reroute: a provider */
    int64_t queue_ms, span_ms;
    int64_t cap, plan_cap[SIM_PLANS], group_cap[SIM_GROUPS]; /* CAP_UNLIMITED, CAP_AS_DEFAULT */
    enum group_combine combine;
    int warn_count;
    int32_t warn_pct[SIM_WARNS]; /* of sim_percentages */
    int64_t rate, period_ms, burst;
    enum fact_rule on_missing, on_stale; /* reported */
    int64_t max_age_ms;
};
struct sim_group {
    uint32_t members; /* bit i: account-i */
    int organisation; /* of sim_organisations; 0 = none */
};
/* What an operator wrote down. */
struct sim_config {
    int64_t number;
    int limit_count;
    struct sim_limit limits[SIM_LIMITS_MAX];
    bool has_groups;
    struct sim_group groups[SIM_GROUPS];
    enum estimator estimator;
    int64_t price_scale, held_wait_ms;
    enum orphan_rule orphans;
    enum unpriced_rule unpriced;
    int64_t threads_kept_ms; /* that nobody comes back to; 0 = for ever */
};
/* The same as a gateway took it over. */
struct sim_adopted {
    struct sim_config config;
    struct policy *policy; /* a reference, while calls may name it; else NULL */
    int64_t version;
    int64_t at_ms, limit_ids[SIM_LIMITS_MAX], set_ids[SIM_LIMITS_MAX];
    struct limit_bound bounds[SIM_LIMITS_MAX]; /* as explain-config prints them */
    int node;
};
struct sim_price {
    int64_t input, output, cache_read, cache_write; /* micro-USD a million tokens; -1 = none */
    int64_t above, input_above, output_above;       /* a dearer tier; above 0 = none */
};
struct sim_model {
    const char *name;
    enum tier tier;
    bool hidden;
    int route_count;
    struct {
        int provider, price; /* price -1 = unpriced */
    } routes[3];
};
extern const struct sim_model sim_models[SIM_MODELS];
extern const struct sim_price sim_prices[];
extern const int64_t sim_percentages[SIM_PERCENTAGES]; /* of a cap that lists of warnings have, ascending */
extern struct limit_form sim_forms[SIM_FORMS_MAX]; /* every count, subject and window that go together */
extern int sim_form_count;
void forms_make(void);
extern const char *const sim_plans[SIM_PLANS], *const sim_groups[SIM_GROUPS], *const sim_organisations[SIM_ORGANISATIONS],
    *const sim_tags[SIM_TAGS];
/* Requests of a model count as so many. */
#define SIM_WEIGHTS 3
struct sim_limit sim_meaning(const struct sim_limit *limit);
bool sim_same_meaning(const struct sim_limit *left, const struct sim_limit *right);
/* They count the same per the same, over whatever span of time. */
bool sim_same_thing(const struct sim_limit *left, const struct sim_limit *right);
int64_t sim_weight(int weights, int model);
static inline bool
in_steps(const struct sim_limit *limit) /* cost, tokens: held as far as the answer goes */
{
    return sim_forms[limit->form].counts == COUNT_COST || sim_forms[limit->form].counts == COUNT_TOKENS;
}
static inline bool
enforces(const struct sim_limit *limit)
{
    return limit->at_cap != AT_CAP_WARN && limit->at_cap != AT_CAP_SHADOW;
}
extern const char *const sim_providers[SIM_PROVIDERS];
#define SIM_MAX_OUTPUT 400
#define SIM_CONTEXT    5000
#define SIM_BILLED_RETRIES 2
#define SIM_BILLED_ATTEMPTS (1 + SIM_BILLED_RETRIES)

void config_draw(struct rng *rng, struct sim_config *config);
/* An edit: caps, rates, limits added, removed, renamed, prices. */
void config_edit(struct rng *rng, struct sim_config *config);
bool config_set_cap(struct sim_config *config, const char *limit, int64_t cap); /* false: there is no such limit */
struct policy *config_policy(const struct sim_config *config);
bool zones_read(void); /* the system's; false where one is missing */
int64_t sim_draw_cap(struct rng *rng, const struct sim_limit *limit);
int64_t sim_plan_cap(const struct sim_limit *limit, const char *plan);
struct sim_price sim_price_of(const struct sim_config *config, int index);

/* --- What providers say is used of their own windows (reports.c). */
#define SIM_CREDENTIALS 5
#define SIM_WINDOWS     5
#define SIM_MODEL_SETS  7
#define SIM_REPORT_MAX  4
extern const char *const sim_credentials[SIM_CREDENTIALS];
extern const struct sim_window {
    const char *name;
    int64_t span_ms;
} sim_windows[SIM_WINDOWS];
extern const struct sim_model_set {
    const char *words;
    uint32_t models; /* bit i: sim_models[i] */
} sim_model_sets[SIM_MODEL_SETS];
struct sim_told {
    int credential, window, models; /* of the lists above */
    int64_t used_milli_pct, resets_at_ms, captured_ms;
};
struct sim_report {
    int64_t account_id;
    bool whole, twice; /* twice: it tells of one window two times, which makes no sense */
    int count;
    struct sim_told items[SIM_REPORT_MAX];
};

/* --- The store that fails (faulty.c). */
#define FAULT_POINTS(X)                                                                            \
    X(FAULT_START, "start of an epoch")                                                            \
    X(FAULT_BEGIN, "begin")                                                                        \
    X(FAULT_BEGIN_READ, "begin of a read")                                                         \
    X(FAULT_LOAD, "load of a row")                                                                 \
    X(FAULT_ORPHANS, "search for orphans")                                                         \
    X(FAULT_SWEEP_HOLD, "sweep: search for the oldest hold")                                       \
    X(FAULT_SWEEP_THREADS, "sweep: a page of threads")                                             \
    X(FAULT_SWEEP_MEMBERS, "sweep: the threads of trees")                                          \
    X(FAULT_SWEEP_METERS, "sweep: a page of meters")                                               \
    X(FAULT_ACCOUNT, "write of an account or a key")                                               \
    X(FAULT_THREAD, "write of a thread")                                                           \
    X(FAULT_SUBJECT, "write of a subject")                                                         \
    X(FAULT_METER, "write of meters")                                                              \
    X(FAULT_REPORTED, "write of what is reported")                                                 \
    X(FAULT_HOLD_NEW, "insert of a hold")                                                          \
    X(FAULT_HOLD, "update of a hold")                                                              \
    X(FAULT_HOLD_GONE, "delete of a hold")                                                         \
    X(FAULT_LEDGER, "insert into the ledger")                                                      \
    X(FAULT_REFUSAL, "write of a refusal")                                                         \
    X(FAULT_ISSUED, "write of an issued id")                                                       \
    X(FAULT_LIMIT, "write of a limit's definition")                                                \
    X(FAULT_THREAD_GONE, "sweep of a thread")                                                      \
    X(FAULT_SUBJECT_GONE, "sweep of a subject")                                                    \
    X(FAULT_METER_GONE, "sweep of meters")                                                         \
    X(FAULT_IDENTITY, "bump of the identity version")                                              \
    X(FAULT_COMMIT, "commit, before the fact")                                                     \
    X(FAULT_COMMITTED, "commit, after the fact")
#define FAULT_ENUM(name, words) name,
enum fault_point { FAULT_POINTS(FAULT_ENUM) FAULT_POINT_COUNT };
#undef FAULT_ENUM
extern const char *const fault_words[FAULT_POINT_COUNT];

struct fault {
    bool armed, kills; /* kills: the process is dead from there on */
    enum fault_point point;
    int passes;        /* so many times it does not fire yet */
    int times;         /* then it fires so often */
    enum status status;
};

enum write_kind {
    WRITE_ACCOUNT, WRITE_KEY, WRITE_THREAD, WRITE_SUBJECT, WRITE_METER, WRITE_REPORTED, WRITE_HOLD_NEW, WRITE_HOLD,
    WRITE_HOLD_GONE, WRITE_LEDGER, WRITE_REFUSAL, WRITE_ISSUED, WRITE_LIMIT, WRITE_IDENTITY, WRITE_THREAD_GONE,
    WRITE_SUBJECT_GONE, WRITE_METER_GONE
};
/* What a row of the ledger says in its inputs: of a warning, of a correction. */
#define SIM_NAME 24
struct told_limit {
    char limit[SIM_NAME];
    int64_t subject_id, window_ms, delta, pct, settled, cap, hold_id;
};
struct moved_meter {
    char limit[SIM_NAME];
    int64_t subject_id, window_ms, delta;
};
int64_t inputs_number(struct slice text, const char *name); /* 0 = it says nothing */
void inputs_limit(struct slice text, char limit[SIM_NAME]);
struct slice inputs_limits(struct slice text); /* its list of them */
bool inputs_next(struct slice *rest, struct slice *item);
struct write {
    enum write_kind kind;
    bool told;    /* the engine was told that it is committed */
    bool matched; /* the auditor found out why it was made */
    int64_t id;
    struct told_limit about;
    int moved_count; /* of a correction */
    struct moved_meter moved[HOLD_PARTS_MAX];
    union {
        struct account_row account;
        struct key_row key;
        struct thread_row thread;
        struct subject_row subject;
        struct meter_row meter;
        struct reported_row reported;
        struct hold_row hold;
        struct ledger_row ledger;
        struct limit_def_row limit;
    } row;
};
struct writes {
    struct write *items;
    int count, cap, committed; /* those from `committed` on are of the open transaction */
};

struct world;
struct sim_node;

struct node_entry { /* of a shared store: a gateway's row */
    int64_t node_id, epoch, lease_until_ms;
};
struct job_entry {
    char name[32];
    int64_t epoch, until_ms;
};
/* What all gateways' ways to the store lead to. */
struct sim_base {
    struct store *real;
    struct node_row real_node; /* shared: the one that the real store knows */
    int64_t epochs;
    struct node_entry nodes[8];
    int node_count;
    struct job_entry jobs[4];
    int job_count;
    struct world *world;
};
struct sim_store {
    struct store base; /* first */
    struct store *own; /* on a server: this gateway's own connection; else NULL */
    struct node_row own_node;
    struct sim_base *common;
    struct sim_node *node;
    struct node_entry entry_before;
    struct job_entry jobs_before[4];
    int job_count_before;
};
void faulty_init(struct sim_store *store, struct sim_base *common, struct sim_node *node, bool shared);
void writes_clear(struct writes *writes);
void writes_free(struct writes *writes);

/* --- Clients and operators (draw.c, clients.c). */
#define SIM_ACCOUNTS_MAX 8
#define SIM_KEYS_MAX     32
#define SIM_NO_KEY       5 /* nobody's, and clients name it: no gateway lets it come so far */
#define SIM_CALLS        40
#define SIM_NODES        3
#define SIM_ISSUED       16
#define SIM_THREADS      8 /* names that an account's clients use */
#define SIM_CORRECTS_TWICE false /* also at the gate */

struct sim_account {
    char name[24];
    int64_t account_id;
    bool wanted_banned; /* by the operator's last word that was heard */
};
struct sim_key {
    int64_t key_id, account_id;
    char hash[HASH_HEX + 1];
    bool service;
};

enum call_state {
    CALL_NONE,
    CALL_ASKED,    /* no verdict yet, or it waits in a line */
    CALL_OPEN,     /* allowed */
    CALL_BUSY,     /* a question about its hold is under way */
    CALL_SETTLING, /* its settlement is under way */
    CALL_OTHER,    /* an event that makes no hold: identify, admin, issued, count_tokens */
};
struct sim_call {
    enum call_state state;
    bool gone, waited;      /* its client left; it stood in a line */
    bool twice;             /* its settlement came before */
    struct event event;     /* the last one submitted */
    uint32_t generation;
    int node;
    int64_t hold_id, account_id, held_output, bound_output;
    int model, route, attempts;
    bool stream;
    int64_t issued;         /* the id that its answer brings; 0 = none */
    struct sim_report report;
};

struct sim_node {
    int index;
    struct sim_store store;
    struct engine *engine; /* NULL: it is down */
    bool dead;             /* a fault killed it within this turn */
    bool stepping;
    struct fault fault;
    struct writes writes;
    int adopted;           /* index into world->adopted; -1 = none */
    int64_t life;          /* how often it was started */
    int64_t wall_skew_ms;  /* of its clock against the world's time */
    int64_t paused_until_ms;
    int64_t down_until_ms;
};

#define SIM_ADOPTED_MAX 2048
struct audit;

struct world {
    uint64_t seed;
    struct rng rng;
    const struct sim_kind *kind;
    char folder[64], server_url[512];
    int64_t time_ms, mono_ms, steps, steps_max, books_due;
    int64_t high_water_ms; /* of the gateways that share a store */
    bool calm;             /* no more faults: everything comes to its end */
    uint32_t left_out;     /* enum sim_mask bits: kinds of actions that are not drawn */
    struct sim_base base;
    struct sim_node nodes[SIM_NODES];
    int node_count;
    struct sim_config config;
    struct sim_adopted *adopted;
    int adopted_count;
    struct sim_account accounts[SIM_ACCOUNTS_MAX];
    int account_count;
    struct sim_key keys[SIM_KEYS_MAX];
    int key_count;
    struct sim_call calls[SIM_CALLS];
    uint32_t gave_up[SIM_CALLS]; /* generations of calls that gave up their place in a line */
    uint32_t generations;
    struct sim_issued {
        int64_t number, account_id, at_ms, hold_id;
    } issued[SIM_ISSUED]; /* ids that answers brought, as far as their settlements were heard of */
    int64_t issued_count, issue_number;
    int64_t threads[SIM_ISSUED]; /* of calls that were allowed lately */
    struct { /* what a call that was refused for money would have needed; limit "": nothing yet */
        char limit[24];
        int64_t cap_micros;
        struct call_event call;
        int model;
    } missing;
    int64_t booked[SIM_ISSUED]; /* holds that are settled */
    int64_t lost[SIM_ISSUED / 4]; /* and those that were lost with their gateway */
    int64_t lost_count;
    int64_t booked_count, corrected; /* corrected: the last one that was */
    struct sim_report reports[8]; /* the last ones */
    int64_t report_count;
    int64_t lost_holds; /* whose settlement was refused: their rows were called damaged */
    struct audit *audit;
};

enum sim_mask {
    LEAVE_FAULTS = 1,
    LEAVE_CRASHES = 2,
    LEAVE_EDITS = 4,
    LEAVE_ADMIN = 8,
    LEAVE_TIME = 16,
    LEAVE_REROUTES = 32,
    LEAVE_EXTENDS = 64,
    LEAVE_PAUSES = 128,
    LEAVE_SWEEPS = 256,
};
#define SIM_MASK_COUNT 9

/* Which store, and how many gateways share it. */
struct sim_kind {
    const char *name;
    const char *url; /* NULL: a file of its own, or a server's */
    int node_count;
    int64_t world_steps;
    bool server;
};
extern const struct sim_kind sim_kinds[];
const struct sim_kind *kind_of(const char *name);

void world_run(struct world *world);
void world_free(struct world *world);
void world_books(struct world *world); /* books.c: the store's own audit of it finds nothing */
void world_sweep(const struct world *world); /* its files alone, when all else stays as it is */
/* A gateway's turn; from within another's transaction too. */
void node_turn(struct world *world, struct sim_node *node);
int64_t node_wall_ms(const struct world *world, const struct sim_node *node);
void node_open(struct world *world, struct sim_node *node);
void node_kill(struct world *world, struct sim_node *node);
void node_adopt(struct world *world, struct sim_node *node);
/* faults.c: within a start, or while a configuration is taken over; anywhere; within a sweep whose step is due. */
void arm_start(struct world *world, struct sim_node *node);
void arm_fault(struct world *world, struct sim_node *node, bool kills);
void arm_sweep(struct world *world, struct sim_node *node);
bool sweeps_now(const struct world *world, const struct sim_node *node);
struct sim_adopted *adopted_of(struct world *world, int64_t version);

void clients_act(struct world *world, struct sim_node *node);
void clients_begin(struct world *world);
void clients_end(struct world *world, struct sim_node *node); /* settles what is open */
bool clients_idle(const struct world *world);
void clients_lose(struct world *world, struct sim_node *node); /* those of a dead gateway */
void client_hears(struct world *world, struct sim_node *node, const struct verdict *verdict);
struct sim_call *client_of(struct world *world, const struct verdict *verdict);
/* It left its line, and its time was over before it was heard. */
bool client_gave_up(const struct world *world, const struct verdict *verdict);
void client_submit(struct world *world, struct sim_node *node, struct sim_call *call);
struct sim_call *client_new(struct world *world, struct sim_node *node, enum call_state state);
struct sim_call *client_open(struct world *world, struct sim_node *node); /* one of its open calls, or NULL */
void act_call(struct world *world, struct sim_node *node);
void act_call_again(struct world *world, struct sim_node *node); /* the one of world->missing */
void act_extend(struct world *world, struct sim_node *node);
void act_reroute(struct world *world, struct sim_node *node);
void act_settle(struct world *world, struct sim_node *node, struct sim_call *call);
void act_admin(struct world *world, struct sim_node *node);
void act_caps(struct world *world, struct sim_node *node); /* caps, raises, corrections */
void act_ask(struct world *world, struct sim_node *node); /* identify, issued */
void act_correct(struct world *world, struct sim_node *node);
void client_booked(struct world *world, int64_t hold_id);
void act_report(struct world *world, struct sim_node *node);
void hash_of(char hash[HASH_HEX + 1], char kind, int64_t number);

/* --- What a run reached (main.c). */
enum form_cell { FORM_CHARGED, FORM_REFUSED, FORM_GIVEN_BACK, FORM_PAST_CAP, FORM_TURNED, FORM_CELL_COUNT };
#define SIM_MODES 3
#define REPORTED_CELLS(X)                                                                          \
    X(CELL_KNOWN_ADMITS, "known, below its cap: admits")                                           \
    X(CELL_RESET_ADMITS, "full, and its reset has passed: admits")                                 \
    X(CELL_STALE_ADMITS, "full, and too old: admits")                                              \
    X(CELL_MISSING_ADMITS, "nothing: admits")                                                      \
    X(CELL_FOREIGN_ADMITS, "full, of another credential: admits")                                  \
    X(CELL_OTHERS_ADMITS, "full, for other models: admits")                                        \
    X(CELL_SHORT_REFUSES, "of a short window: refuses")                                            \
    X(CELL_LONG_REFUSES, "of a long window: refuses")                                              \
    X(CELL_STALE_REFUSES, "too old: refuses")                                                      \
    X(CELL_MISSING_REFUSES, "nothing: refuses")                                                    \
    X(CELL_ANY_REFUSES, "of credentials beside the one to be used: refuses")                       \
    X(CELL_COMPANY_REFUSES, "of the company's: refuses")                                           \
    X(CELL_SAME, "the same again")                                                                 \
    X(CELL_OLDER, "older than what is known")                                                      \
    X(CELL_OLDEST_WENT, "the oldest made room")
#define CELL_ENUM(name, words) name,
enum reported_cell { REPORTED_CELLS(CELL_ENUM) REPORTED_CELL_COUNT };
#undef CELL_ENUM
struct coverage {
    int64_t reported[REPORTED_CELL_COUNT];
    int64_t printed, printed_max, printed_at_max; /* caps that were passed, and whose bound is a number */
    int64_t shadow_admits, shadow_refuses, warn_due, warn_above;
    int64_t corrected_open, corrected_orphans, corrected_late, corrected_up, corrected_down, corrected_twice, corrected_stale;
    int64_t events, turns, restarts, worlds;
    int64_t forms[COUNT_KIND_COUNT][WINDOW_KIND_COUNT][AT_CAP_KIND_COUNT][FORM_CELL_COUNT];
    int64_t pers[PER_KIND_COUNT][FORM_CELL_COUNT], modes[SIM_MODES][FORM_CELL_COUNT];
    int64_t by_group, by_set, by_raise, by_api, substituted_model, substituted_provider, leap_days, new_years, merged, sets_made, corrections, warned;
    int64_t reasons[REASON_COUNT];
    int64_t faults[FAULT_POINT_COUNT], crashes[FAULT_POINT_COUNT];
    int64_t connections_cut, answers_cut;
    int64_t books; /* stores whose audit found nothing */
    int64_t swept_threads, swept_trees, swept_subjects, swept_again, known_gone; /* again: a thread that came back */
    int64_t crashes_idle, crashes_queued, crashes_parked, crashes_waiting, fenced, taken_over, interleaved;
    int64_t ledger[LEDGER_KIND_COUNT];
    int64_t entered, left; /* parts of limits on one provider, as a call went to another route */
    int64_t settled_late, settled_twice, settled_over, settled_untold, refused_in_line, allowed_in_line, asked_anew, conflicts;
    int64_t zone_turns[CALENDAR_ZONES];
    int64_t overshoot_max, bound_at_max; /* of a cap of money, micro-USD */
};
extern struct coverage coverage;
void cover(const struct sim_limit *limit, enum form_cell cell);

/* Ends the run: an invariant is broken. Prints what, and how to repeat it. */
NORETURN void broken(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
/* A line of the history that is printed with a broken invariant. */
void history(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

/* --- The auditor. */
void audit_begin(struct world *world);
void audit_free(struct world *world);
/* What a turn committed, and the verdicts it gave, in order. */
void audit_turn(struct world *world, struct sim_node *node, const struct verdict *verdicts, int count);
/* A gateway took a configuration over. */
void audit_adopted(struct world *world, struct sim_adopted *adopted);
/* No fault any more, and nobody asks: all holds are closed, and the store says what the auditor has. */
void audit_end(struct world *world);
/* Fewer configurations may be named than before: caps may be lower. */
void audit_caps_moved(struct world *world);
/* Of this gateway's life before: a start has closed them all. */
/* It begins: of a shared store by the time of that, a few ms behind what its clock made of it before. */
void audit_starts(struct world *world, const struct sim_node *node);
void audit_started(struct world *world, struct sim_node *node);
