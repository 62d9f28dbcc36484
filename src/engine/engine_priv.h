/* engine/engine_priv.h: the engine's own state; one thread but where it says so. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "base/steady.h"
#include "core/core.h"
#include "engine/cache.h"
#include "engine/engine.h"

struct queued {
    char *note; /* owned copy of what the event borrowed: notes, ids, answers */
    int64_t queued_mono_ms;
    struct waiter *waiter; /* not NULL: it comes from a waiting line */
    int64_t doubt_ver;     /* not 0: it gives back a hold of that policy, of which nobody knows whether it was made */
    struct event event;    /* last: most kinds are moved in part, see event_bytes */
};

/* A ring that grows. */
struct ring {
    struct queued *items;
    size_t head, count, cap;
};

struct waiter {
    struct list node; /* in its line, by arrival */
    struct event event;
    struct verdict first; /* the refusal it is given at its deadline */
    bool first_is_old;    /* it is of an older policy: the next takes its place */
    int64_t arrived_order; /* also its name: the place in verdicts and events */
    int64_t deadline_mono_ms;
    bool queued;       /* handed to the queue for another try */
    bool asked_anew;   /* its event is of an older policy; the answer is awaited. See anew.c */
    struct line *line; /* NULL only while it is made */
};
struct line {
    struct list waiters;
    struct list node; /* among all lines */
    int64_t limit_id, subject_id;
    bool try_head; /* its meter moved, or it has a new head */
    int64_t try_mono_ms; /* when time alone will have made room; 0 = it does not */
};

struct outbox {
    pthread_mutex_t lock;
    struct verdict *verdicts;
    uint32_t first, end, cap; /* those in [first, end) wait to be taken */
    bool wake_due;            /* its loop has not been told yet */
};

struct policy_change { /* of the one who waits in engine_set_policy */
    bool taken;        /* somebody waits */
    bool asked, done;  /* by them; by the thread */
    struct policy *policy;
    struct engine_error *error;
    enum status status;
};

/* A policy and what still needs it: its holder in a loop has a reference of its own, and a
 * settlement that is on its way is judged by it, so it stays until no hold made under it is
 * open. */
struct kept_policy {
    struct policy *policy;
    int64_t open_holds;
};

/* First refusals of a minute that the next batch with a commit writes, and the counts of
 * repeats. */
struct kept_refusal {
    uint64_t hash; /* of account, key, model, limit and reason; 0 = free */
    int64_t minute_ms, count;
    bool written; /* its ledger row is in the store */
    struct refused refused;
};
/* What loops report of refusals that they gave again. */
struct repeat {
    int64_t ledger_id, count;
};
struct repeats {
    struct repeat *items;
    size_t count, cap;
};
/* Needs of a whole batch. */
struct wishes {
    struct need *items;
    size_t count, cap;
    bool failed; /* memory ran out */
};
/* What a transaction is about: events of the batch, or orphans. */
struct shared_items {
    uint32_t first, count;
    void (*needs_of)(struct engine *engine, uint32_t index, struct needs *needs);
};
#define ORPHANS_A_BATCH 64
struct shared {
    struct wishes asks;      /* what must be known before more can be foreseen */
    struct wishes wants;     /* what the transaction reads */
    struct wishes surprises; /* what earlier tries of the same events did not foresee */
    bool surprised;
    bool told_waiting; /* the others know that calls wait here */
    int64_t lease_ms;
    int64_t jobs_mono_ms, lines_mono_ms;
    int64_t orphan_ids[ORPHANS_A_BATCH];
    int64_t left_id; /* the highest orphan that was told to be damaged */
};
#define METER_MARKS   4096
#define KEPT_REFUSALS 1024
#define KEPT_PROBES   8

struct explaining { /* of the one who waits in engine_explain */
    bool taken, asked;
    bool all;
    const struct event *event;
    struct buf *out;
    enum status status;
};

/* See clock.c. */
struct books_clock {
    pthread_mutex_t lock;  /* held for a moment, below every other */
    struct steady steady;  /* over a store of our own: no jump ahead is believed at once */
    int64_t now_ms;        /* what was given last */
    int64_t database_ms, database_mono_ms; /* a shared store's when it was last read; 0 = it has none */
};

/* What is deleted of the ledger because of its age. */
struct retention {
    int64_t asked_ms; /* under the engine's lock: engine_prune, not begun yet */
    bool walking, asked;
    struct store_prune walk;
    int64_t due_mono_ms; /* the next step, or the next look */
    int64_t deleted_count;
};

/* What is deleted because nobody came back to it. */
struct sweep {
    bool walking;
    bool of_subjects; /* the trees are done */
    int64_t before_ms;
    struct thread_row after_thread; /* how far it has come */
    int64_t after_subject_id;
    struct limit_def_row *defs; /* as of the beginning of the walk */
    size_t def_count;
    int64_t due_mono_ms; /* the next step, or the next walk */
    int64_t thread_count, subject_count; /* that went, by this walk */
    int conflict_count; /* tries of this step */
};

struct engine {
    struct store *store;
    pthread_t thread;
    bool thread_runs;
    void (*wake)(void *user, uint32_t loop);
    void *wake_user;

    /* Under `lock`: */
    pthread_mutex_t lock;
    pthread_cond_t work_came;
    struct ring queue;
    struct ring parked;  /* settlements that wait for a store that can write */
    size_t urgent_count; /* of the queue: events that start a commit at once */
    struct repeats repeats;
    bool sleeping; /* the thread waits, and nobody has woken it yet */
    int64_t sleep_until_mono_ms;
    bool worked_lately;
    bool stopping;
    struct explaining explaining; /* set by engine_explain, answered by the thread */
    struct policy_change change; /* set by engine_set_policy, answered by the thread */
    bool policy_left;            /* see engine_policy_unref */
    pthread_cond_t policy_done;
    pthread_cond_t pruned; /* of engine_prune */
    struct policy *policy; /* the newest; changed by the thread under the lock */
    struct engine_state state;

    uint32_t loop_count;
    struct outbox *outboxes;
    int64_t identity_version;          /* atomic */
    uint64_t meter_marks[METER_MARKS]; /* atomic; see again.c */
    int64_t lease_mono_ms;             /* atomic; see store_lease_mono_ms */
    int64_t deliver_mono_ms;           /* atomic: until then messages are this gateway's to send */
    void (*outbox_told)(void *user);   /* under the lock; see engine_on_outbox */
    void *outbox_user;
    bool told;                         /* under the lock: another gateway made room */

    /* watch.c's: */
    pthread_t watch;
    pthread_cond_t watch_wake;
    bool watch_runs;
    bool watch_stops, store_slow; /* under the lock */
    int64_t batch_since_mono_ms;  /* atomic: since when the batch is being written; 0 = none is */

    struct books_clock clock;

    /* The thread's own: */
    struct node_row node; /* its high_water_ms is the clock of the batches */
    unsigned char signal_key[32];
    struct ids ids;
    struct learned_table learned;
    int64_t policy_seq;
    struct kept_policy *policies; /* the newest and older ones still in use */
    size_t policy_count, policy_cap;
    struct arena arena;
    struct work work;
    bool exclusive;     /* the store: see store_is_exclusive */
    struct cache cache; /* of a shared one: hints, and accounts, keys and subjects */
    struct shared shared;
    bool transaction_open;  /* of this batch */
    bool cache_used;        /* likewise */
    int64_t overshoot_micros;      /* likewise: the most that its verdicts passed a cap of money by */
    int64_t overshoot_kept_micros; /* and the store has; another gateway may have raised it further */
    int64_t foreign_writes; /* of the store, as far as the cache knows */
    struct core core;
    struct queued batch[ENGINE_BATCH_MAX];
    struct verdict verdicts[ENGINE_BATCH_MAX];
    bool answered[ENGINE_BATCH_MAX]; /* its verdict goes out after the commit */
    const struct waiter *deciding;   /* the waiter whose event is being decided */
    struct {
        int64_t limit_id, subject_id;
    } batch_waits[ENGINE_BATCH_MAX]; /* calls of this batch that will wait: they came first */
    uint32_t batch_wait_count;

    struct map lines; /* hash of (limit, subject) -> line */
    struct list line_list;
    struct map places; /* arrived_order -> waiter */
    int64_t waiter_count, arrivals;
    bool lines_due;             /* a head is to try again */
    int64_t lines_wake_mono_ms; /* no deadline and no try is sooner; 0 = nobody waits */

    struct kept_refusal kept[KEPT_REFUSALS];
    struct kept_refusal *kept_due[KEPT_REFUSALS]; /* those with a count to write */
    size_t kept_due_count;
    int64_t
        sweep_mono_ms; /* when old rows are swept next, beside a commit that is paid for anyway */
    int64_t kept_flush_mono_ms;
    struct retention retention;
    struct sweep sweep;

    bool store_down;
    int64_t store_retry_mono_ms;
    bool troubled;           /* the store has a trouble that was logged */
    bool closing;            /* `stopping`, as of this batch */
    int64_t give_up_mono_ms; /* when closing: settlements are tried until then */
};

/* --- batch.c: one batch, from rows to commit. */
void batch_run(struct engine *engine, uint32_t count);
/* The same while the store is known to be down: it is not touched, settlements are parked. */
void batch_refuse_all(struct engine *engine, uint32_t count);
/* A transaction's frame: fresh working set, begin; then load and decide; then end. On an exclusive
 * store the transaction begins with the first row that it is asked for, or that is written. */
MUST_USE enum status batch_begin(struct engine *engine);
MUST_USE enum status batch_open(struct engine *engine); /* it begins now at the latest */
MUST_USE enum status batch_end(struct engine *engine);  /* writes and commits, or just ends */
void batch_abandon(struct engine *engine);
/* It only read: the cache keeps what it learned. */
void batch_abandon_unwritten(struct engine *engine);
void batch_frame(struct engine *engine); /* the working set alone */
MUST_USE enum status batch_sweep(struct engine *engine);
#define CONFLICT_RETRIES 8

/* --- load.c: rows in, in a transaction of batch.c */
MUST_USE enum status batch_load(struct engine *engine, const struct needs *needs);
/* Until the core needs nothing more. */
MUST_USE enum status batch_load_event(struct engine *engine, const struct event *event);
/* What the store answered, into the cache and the work: a store_found. */
void batch_take_row(void *user, const struct need *need, const union need_row *row);

/* --- clock.c */
/* The engine's thread: the time of a batch. Others ask engine_books_ms. */
int64_t engine_now_ms(struct engine *engine);
/* The database's clock, as it was read just now; and as well as it is known. */
void clock_of_database(struct engine *engine, int64_t now_ms);
int64_t shared_wall_ms(struct engine *engine);

/* --- numbers.c */
/* All names that limits ever had, as of this transaction. */
struct numbers {
    struct limit_def_row *rows;
    size_t count, cap;
};
/* For a transaction that will write. `numbers` starts zeroed, and is freed also after an error. */
MUST_USE enum status numbers_read(struct engine *engine, struct numbers *numbers);
void numbers_free(struct numbers *numbers);
/* STATUS_INVALID: it is renamed to what has use of its own; `error` says so. */
MUST_USE enum status numbers_give(struct engine *engine, const struct numbers *numbers,
    struct limit *limit, struct engine_error *error);

/* --- start.c */
MUST_USE enum status start_epoch(
    struct engine *engine, const char *config_hash, struct engine_error *error);
MUST_USE enum status start_close_orphans(struct engine *engine, struct engine_error *error);
/* Gives a policy its version and its limits their ids. */
MUST_USE enum status adopt_policy(
    struct engine *engine, struct policy *policy, struct engine_error *error);
const struct policy *policy_of_version(void *user, int64_t version);
/* After a commit: holds of the batch that were made or resolved. */
void count_open_holds(struct engine *engine);
/* One that may be there, and is looked for; one that was not. */
void count_doubtful_hold(struct engine *engine, int64_t policy_ver, int64_t change);
void drop_unused_policies(struct engine *engine);

/* Books one in the running batch; the verdict says what, if nobody has booked it before. */
MUST_USE enum status orphan_close(struct engine *engine, int64_t hold_id, struct verdict *verdict);
/* After the commit of those whose verdicts are the engine's first `count`: counts them. Gives how many it booked. */
int64_t orphans_booked(struct engine *engine, uint32_t count);
/* It cannot be read. */
void orphan_left(struct engine *engine, int64_t hold_id);

/* --- shared.c: a store that others write to as well; with one of our own these do nothing. */
/* The transaction of a batch with all rows that it is known to need. */
MUST_USE enum status shared_begin(struct engine *engine, const struct shared_items *items);
MUST_USE enum status shared_open(struct engine *engine); /* with those of shared.wants */
/* Before the first try of other events: what those before them met is no need of theirs. */
void shared_forget_surprises(struct engine *engine);
/* A row that was not foreseen. */
MUST_USE enum status shared_load_late(struct engine *engine, const struct need *need);
/* Rows that others change: they are as locked in this transaction, never as kept. */
bool need_is_locked(enum need_kind kind);
/* Those, and what others change without a lock: it is read anew in each transaction. */
bool need_moves(enum need_kind kind);
/* Before a batch's verdicts leave: subjects of whom nothing is counted are still those that are known here, not
 * swept by another gateway, and counted for under another number since. CONFLICT: not all of them are. */
MUST_USE enum status shared_look_at_subjects(struct engine *engine);
/* Its transaction met somebody else's write: a subject that it wrote to may have been swept by another gateway. */
void shared_doubt_subjects(struct engine *engine);
/* Something is to be committed though no event asks for it: the lease, or that calls wait here. */
bool shared_due(const struct engine *engine);
/* After an outage the others may be about to come back, too. */
void shared_back(struct engine *engine);
void shared_tell(struct engine *engine); /* before the commit */
void shared_committed(struct engine *engine);
int64_t shared_sleep_ms(const struct engine *engine, int64_t mono_ms);
/* What time brings: orphans of other gateways, waiting calls that try again. */
void shared_turn(struct engine *engine, int64_t mono_ms);
/* A gateway whose lease was over (STATUS_FENCED) begins a new epoch: STATUS_CONFLICT, the transaction is to be
 * run again. All other statuses come back as they are. */
MUST_USE enum status shared_recover(struct engine *engine, enum status status);
/* To what the others tell; without it waiting calls are tried every second. */
void shared_listen(struct engine *engine);
void shared_free(struct shared *shared);

/* --- explain.c */
void explain_turn(struct engine *engine);

/* --- retention.c */
/* -1: there is nothing to do. Under the lock, as all that says when the thread wakes. */
int64_t retention_sleep_ms(const struct engine *engine, int64_t mono_ms);
void retention_turn(struct engine *engine, int64_t mono_ms);

/* --- sweep.c: as those of retention.c. */
int64_t sweep_sleep_ms(const struct engine *engine, int64_t mono_ms);
void sweep_turn(struct engine *engine, int64_t mono_ms);
void sweep_free(struct sweep *sweep);

/* --- lines.c: who waits for what. */
bool lines_busy(void *user, int64_t limit_id, int64_t subject_id);
/* True when the event now waits (or goes on waiting); false when it may not: then it is refused. */
bool lines_wait(struct engine *engine, struct queued *item, const struct verdict *verdict);
void lines_leave(struct engine *engine, struct waiter *waiter);
/* After a commit: the lines whose meters it moved. */
void lines_mark(struct engine *engine);
void lines_mark_all(struct engine *engine);
/* Queues heads that are to try again; refuses those whose time is over. */
void lines_turn(struct engine *engine);
void lines_free(struct engine *engine);

/* --- anew.c: a new policy, and who waits. */
/* A policy was adopted: all who wait are to ask again. */
void anew_ask_all(struct engine *engine);
/* The same of one who waits, if his event is of an older policy. */
void anew_ask(struct engine *engine, struct waiter *waiter);
/* Of the batch's first `count`: answers of those who were asked take their places, and what was queued before they
 * were asked goes. Gives how many events stay. */
uint32_t anew_take(struct engine *engine, uint32_t count);

/* --- watch.c: refuses what waits behind a disk that does not answer. */
MUST_USE enum status watch_start(struct engine *engine);
void watch_stop(struct engine *engine);

/* --- refusals.c: 0 where there is no room to remember it. */
int64_t refusals_note(
    struct engine *engine, const struct event *event, const struct refusal *refusal);
/* Whether what is kept should be written now. `commits`: the batch commits anyway. */
bool refusals_due(const struct engine *engine, bool commits);
/* Puts what is kept into the running batch's work. */
void refusals_write(struct engine *engine);
void refusals_written(struct engine *engine, bool committed);
/* Nobody can tell whether they were committed: were they, their numbers are given. */
void refusals_renumber(struct engine *engine);

/* `count` more of the refusal with this ledger row, if it is still remembered. */
void refusals_add(struct engine *engine, int64_t ledger_id, int64_t count);

/* What a limit that is only watched would have refused, likewise. */
void refusals_note_shadow(struct engine *engine, const struct refused *refused);

/* --- told.c: what goes out of a batch besides its verdicts. */
MUST_USE enum status told_write(struct engine *engine);
/* After its commit. */
void told_committed(struct engine *engine);
void told_shadows(struct engine *engine);
void told_delivery(const struct event *event, const struct verdict *verdict);

/* --- again.c: refusals that loops may give again without asking. */
void again_decided(const struct engine *engine, const struct queued *item, struct verdict *verdict);
void again_committed(struct engine *engine);
void again_forget_all(struct engine *engine);
void again_take_reports(struct engine *engine);

/* --- count.c: after the commit, what it made true. */
void count_allowed(const struct event *event, const struct verdict *verdict);
void count_refused(const struct event *event);
/* Of a settlement or an orphan, which has no usage. */
void count_booked(const struct verdict *verdict, const struct usage *usage);

/* --- queue.c */
/* Takes the oldest off a ring that is not empty; under the lock, as all of a ring. */
void ring_pop(struct ring *ring, struct queued *item);
void ring_free(struct ring *ring);
/* What is refused where there is no room for it, and while the engine closes. */
bool event_starts_work(const struct event *event);
/* What may wait for company before a commit is paid for it: nobody waits for its verdict. */
bool event_is_lazy(const struct event *event);
void engine_park(struct engine *engine, const struct queued *item);
void engine_queue_waiter(struct engine *engine, struct waiter *waiter);

/* --- engine.c */
/* An engine without threads: who opened it is its thread. For tests that want each turn, and each end, to
 * come when they say. */
MUST_USE enum status engine_open_still(
    const struct engine_options *options, struct engine **engine, struct engine_error *error);
/* One turn with what is queued; it does not wait for more. False after the last one, once it is stopping. */
bool engine_step(struct engine *engine);
/* Frees it where it stands, as a crash would: what is queued or parked is lost. */
void engine_drop(struct engine *engine);
void engine_post(struct engine *engine, const struct verdict *verdict);
/* Those that something was posted to; whoever posts calls it afterwards. */
void engine_wake_loops(struct engine *engine);
