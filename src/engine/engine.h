/* engine/engine.h: queue -> needs -> core -> write -> commit -> release. The only caller of core/.
 *
 * One thread drains events into batches of at most ENGINE_BATCH_MAX. A batch is one transaction:
 * rows are loaded as the core asks for them, events are decided in order, dirty rows are written
 * once, and only after the commit are the verdicts released to their loops: a hold is durable
 * before anything that costs money leaves the process. A batch without writes (refusals, known
 * keys) commits nothing. A settlement alone does not start a commit: it waits up to
 * ENGINE_COMPANY_MS for company.
 *
 * Verdicts lie in a box per loop until it takes them; `wake` says that there are some. A call
 * refused with `…_held` stays here, in a waiting line per limit and subject, first come first
 * served, until a hold resolves or held_wait is over; waiting holds nothing.
 *
 * When the store cannot write: new work is answered store_unavailable, extensions are refused, and
 * settlements wait and are tried again; they count against the queue, so new work stops when they
 * pile up. */
#pragma once

#include "base/status.h"
#include "policy/policy.h"
#include "rows/event.h"
#include "rows/standing.h"
#include "store/store.h"

#define ENGINE_BATCH_MAX 256
/* Calls that wait for a decision and settlements that wait for a store; above: overloaded. */
#define ENGINE_QUEUE_MAX 16384
#define ENGINE_WAITERS_MAX 8192  /* in all waiting lines */
#define ENGINE_COMPANY_MS 10
/* A batch that takes longer: the store counts as one that cannot write, for work that is queued behind it. */
#define ENGINE_STORE_DEADLINE_MS 5000

struct engine;

struct engine_options {
    struct store *store;              /* opened; the engine does not close it */
    struct policy *policy;            /* one reference is taken over */
    uint32_t loop_count;
    void (*wake)(void *user, uint32_t loop); /* any thread; NULL in tests that poll */
    void *wake_user;
};
struct engine_error {
    char text[512];
};

/* Starts an epoch, gives the policy its version and its limits their ids, closes the orphans of
 * earlier epochs, starts the thread. */
MUST_USE enum status engine_open(const struct engine_options *options, struct engine **engine,
    struct engine_error *error);
/* Once no loop submits or takes any more. Calls that are queued, wait in a line, or were allowed
 * but never heard of are given up untouched; settlements are written as long as the store lets us,
 * or tried again for two seconds. Joins, frees. Gives how many events could not be written: the
 * holds of settlements among them stay open, and the next start books them as orphaned. */
int64_t engine_close(struct engine *engine);

/* Any thread. The event is copied, with what it borrows. False: the queue is full (only for CALL,
 * ISSUED and IDENTIFY; the other kinds always fit, since their number is bounded by calls in flight). */
MUST_USE bool engine_submit(struct engine *engine, const struct event *event);
/* The same, but the thread may sleep on: the caller rouses it soon. For those who submit many. */
MUST_USE bool engine_submit_quietly(struct engine *engine, const struct event *event);
void engine_rouse(struct engine *engine);
#define ENGINE_NO_REPLY UINT32_MAX /* reply.loop of events whose verdict nobody waits for */
/* The loop's thread: moves at most `max` verdicts into `out`; returns how many. */
uint32_t engine_take(struct engine *engine, uint32_t loop, struct verdict *out, uint32_t max);

/* Nobody waits for this verdict any more. True: it allowed a call, or named a place in a waiting line, and
 * `event` gives that back, since nothing left the process. */
MUST_USE bool verdict_untaken(const struct verdict *verdict, struct event *event);
/* Whether no other verdict follows it for the same question. */
bool verdict_is_last(const struct verdict *verdict);

/* The newest policy, with a reference for the caller. */
struct policy *engine_policy(struct engine *engine);
/* Whether `policy`, of which the caller has a reference, is that one. NULL is never. */
bool engine_policy_is(const struct engine *engine, const struct policy *policy);
/* Gives back a reference to it. One that is not the newest any more, and that nobody else uses, goes at once, with
 * its secrets. Any thread; loops are woken when there is a newer one. NULL is allowed. */
void engine_policy_unref(struct engine *engine, struct policy *policy);
/* Takes over one reference; in force from the next batch on. When the store cannot give new limits
 * their ids nothing changes; STATUS_CLOSED while the engine stops. Any thread; waits for the
 * engine's turn. A policy is kept until no hold made under it is open. */
MUST_USE enum status engine_set_policy(struct engine *engine, struct policy *policy,
    struct engine_error *error);
/* Moves with every change of the subject's meters: a refusal under one of them, decided when it was
 * another, may be none any more. */
uint64_t engine_meter_mark(const struct engine *engine, int64_t subject_id);
/* The refusal with this ledger row was given `count` more times without asking. False: no memory, the
 * count stays the caller's. */
MUST_USE bool engine_refused_again(struct engine *engine, int64_t ledger_id, int64_t count);
/* When streams end at the latest, by our monotonic clock, unless the ledger is heard of before: a little later
 * others may book the holds of this gateway. INT64_MAX: the store is this gateway's alone. Any thread. */
int64_t engine_streams_end_mono_ms(const struct engine *engine);
/* Grows with every change of an account or a key: caches filled under an older one are stale. */
int64_t engine_identity_version(const struct engine *engine);
/* The key under which thread signals and provider ids are hashed. */
const unsigned char *engine_signal_key(const struct engine *engine);
int64_t engine_epoch(const struct engine *engine);
/* The time of the books, by which a call would be decided now: of windows, caps and keys that are shown. It never
 * goes back, and differs from the wall clock where that was set (base/steady.h). Any thread. */
int64_t engine_books_ms(struct engine *engine);

/* Decides this CALL as the next batch would, and changes nothing: no meter, hold, thread or id. Appends to `out` what
 * core/explain.h tells. Any thread but the engine's; waits for the engine's turn, at most as long as its batch takes.
 * STATUS_IO: the store cannot be asked; STATUS_CLOSED: the gateway stops. */
MUST_USE enum status engine_explain(
    struct engine *engine, const struct event *event, bool all, struct buf *out);
/* The rows of calls and refusals of before `before_ms` go: a few between two batches, also after this has come back,
 * which it does when all are gone, or after `wait_ms`. Meters keep what they counted. Any thread but the engine's.
 * True: none is left. *deleted_count: how many went meanwhile. */
MUST_USE bool engine_prune(
    struct engine *engine, int64_t before_ms, int64_t wait_ms, int64_t *deleted_count);

/* Whether others write to the store too, and whether messages to webhooks are this gateway's to send, for now. Any
 * thread. */
bool engine_is_shared(const struct engine *engine);
bool engine_delivers(const struct engine *engine);
/* From now on `told` is called on the engine's thread when messages to webhooks were written, or what became of
 * them; NULL: nobody is, once this has returned. */
void engine_on_outbox(struct engine *engine, void (*told)(void *user), void *user);
/* How the limits of an account stand, as of what is committed: see rows/standing.h. Any thread; `reader` is the
 * caller's. */
MUST_USE enum status engine_standings(struct store_reader *reader, const struct policy *policy,
    const struct standing_ask *ask, int64_t now_ms, struct limit_standing standings[STANDINGS_MAX],
    int32_t *count);
/* The same of rows of meters, as a reader hands them out: what is set for others that a cap may come from (the
 * gateway, groups, accounts) is read when the view is opened. One thread's; `policy` outlives it. */
struct meters_view;
MUST_USE enum status meters_view_open(struct store_reader *reader, const struct policy *policy,
    int64_t now_ms, struct meters_view **view);
/* How many of the limits that have a meter in the row have something to tell; `standings` are the view's until
 * the next row. `account` NULL = it is of none. */
int32_t meters_view_row(struct meters_view *view, const struct account_row *account,
    const struct subject_row *subject, const struct meter_row *meters,
    const struct limit_standing **standings);
void meters_view_close(struct meters_view *view); /* NULL is allowed */

struct engine_state {
    bool store_ok;
    char store_error[256];
    int64_t queued, waiting, batches, events, commits, orphans_closed;
    int64_t pruned; /* rows of the ledger that were older than they are kept, since the start */
    bool pruning;   /* some that somebody asked to delete are still there */
};
void engine_state(struct engine *engine, struct engine_state *state);
