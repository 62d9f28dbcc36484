/* store/store.h: transactions over rows: SQLite, PostgreSQL (the same SQL text), or memory.
 *
 * One writer: all calls but the reader door's are made by the engine's thread, between store_begin and
 * store_commit or store_rollback. Rows are copied in and out; text in out-rows' slices lives until the
 * next call. A put of what is there already, by its key or a unique name, is STATUS_EXISTS; a version that
 * is not the stored one is STATUS_CONFLICT; a row that breaks rows.h's rules is STATUS_INVALID. Writes are absolute values; a row with a version is written WHERE version = what was read,
 * and the stored version is one higher: the writer sets row->version to the new one on success.
 * After any status but OK or NOT_FOUND the transaction must be rolled back. DESIGN section 8. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "rows/need.h"

struct store;

struct store_error {
    char text[512]; /* for a person: what failed and what to do */
};

#define STORE_SCHEMA_VERSION 1

struct store_options {
    bool full_sync;           /* durability: disk */
    bool read_only;           /* no migration, no transaction but store_begin_read's; a missing file is NOT_FOUND */
    int32_t checkpoint_pages; /* of the log before it is copied back; 0 = STORE_CHECKPOINT_PAGES */
    int32_t read_max_ms;      /* of one read at the reader door; 0 = STORE_READ_MAX_MS */
    /* Of a shared store (store_is_exclusive): */
    int32_t lease_ms;      /* a node that is silent for so long is over; 0 = STORE_LEASE_MS */
    bool mixed;            /* other gateways may run under another configuration */
    /* Of any; borrowed until store_node_start: */
    const char *node_name; /* what people know this gateway by; NULL = the host's name, of an embedded one none */
};

#define STORE_CHECKPOINT_PAGES 16000
#define STORE_READ_MAX_MS      10000
#define STORE_LEASE_MS         10000

/* `url`: "sqlite:PATH", "postgresql://..." (or "postgres://...") or "memory:". Takes the exclusive lock on
 * PATH.lock, creates or migrates the schema, checks that it is not newer. STATUS_BUSY: another gateway holds it (its process id is in the
 * text); STATUS_NEWER; STATUS_IO; STATUS_INVALID (not a store, or damaged). */
MUST_USE enum status store_open(const char *url, const struct store_options *options,
    struct store **store, struct store_error *error);
void store_close(struct store *store);
/* What failed last, for logs and store_unavailable. */
const char *store_last_error(const struct store *store);
/* What a person should know of it at a start, a sentence: it is a copy, say. "" = nothing. */
const char *store_note(const struct store *store);
/* Its file's absolute path; "" = it has none. */
const char *store_file(const struct store *store);
/* A lasting trouble that fails no call yet, for logs: the log of the store cannot be copied back into it.
 * "" = none. Of the engine's thread. */
const char *store_trouble(const struct store *store);

/* Whether nobody else writes to it as long as it is open: what was read stays true until we write. One
 * that is not exclusive is shared with other gateways, over a network:
 *   - what is sent there waits for company: store_begin and puts cost nothing until store_load or
 *     store_commit takes the way there and back;
 *   - so a put's EXISTS, CONFLICT or NOT_FOUND comes as CONFLICT of store_commit, and store_begin's FENCED
 *     with the first store_load or with store_commit;
 *   - threads, meters and holds that are updated or deleted were loaded with their lock, or inserted, in the
 *     same transaction, and limits were looked at (store_limit_def_at) before one is put;
 *   - a row that may have changed since is read with its lock in the transaction that writes it: threads,
 *     meters and holds; what is reported is read in it without one, and another version is a conflict;
 *     accounts, keys and subjects are as of store_identity_version. */
bool store_is_exclusive(const struct store *store);
/* Grows with each store_begin that finds that somebody wrote to an exclusive store all the same, a shell
 * say: what was read before it may not be true any more. */
int64_t store_foreign_writes(const struct store *store);

/* Hands out the next epoch durably (one transaction of its own) and reads what the engine starts from:
 * high_water_ms is the later of the stored one and now_ms, batch_no goes on. STATUS_FULL: epochs are used up. */
MUST_USE enum status store_node_start(struct store *store, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char signal_key[32]);

/* For a shared store: the database's clock as of the transaction's beginning, once its first store_load has
 * been answered. 0: the store has no clock of its own. */
int64_t store_now_ms(const struct store *store);
/* For a shared store: the moment of our monotonic clock at which the lease ends that the last commit
 * has taken; from then on others may take this node's holds. INT64_MAX: it never ends. */
int64_t store_lease_mono_ms(const struct store *store);

/* As options.mixed, from the next store_node_start on: one that comes back after its lease was over. Any thread. */
void store_set_mixed(struct store *store, bool mixed);
/* In a transaction that writes: what this node decides by from now on, as told to store_node_start. */
MUST_USE enum status store_node_config(
    struct store *store, const struct node_row *node, const char *config_hash);
int32_t store_lease_ms(const struct store *store);

/* Renews the lease and stores batch_no and high_water_ms with the batch; STATUS_FENCED when the epoch is
 * no longer ours. No transaction is open after any status but OK. */
MUST_USE enum status store_begin(struct store *store, const struct node_row *node);
/* STATUS_UNCERTAIN: the connection was lost, and for as long as the lease allows nobody could be asked. The
 * next store_begin does not succeed before it has been told. */
MUST_USE enum status store_commit(struct store *store);
void store_rollback(struct store *store);
/* Reads only: no lease, no write lock, nothing durable at its end (store_rollback ends it). */
MUST_USE enum status store_begin_read(struct store *store);

/* Reads what `needs` name, on a shared store in one round trip; `found` is called for each in order, with
 * NULL where there is no such row. `lock`: in a transaction that writes, the rows that others may change
 * (threads, meters, holds) are locked until its end, in the one order that all gateways keep (DESIGN
 * section 8). A lock that would come before one that is held is STATUS_CONFLICT: the transaction is run
 * again with all needs in one call. Of a need `with` its company, `found` may be told that too, behind it, under a
 * need of its own. Rows and their slices live during the callback; it calls nothing of
 * this header. */
typedef void store_found(void *user, const struct need *need, const union need_row *row);
MUST_USE enum status store_load(struct store *store, const struct need *needs, size_t count,
    bool lock, store_found *found, void *user);

MUST_USE enum status store_account_put(struct store *store, struct account_row *row); /* version 0 = insert */
MUST_USE enum status store_key_put(struct store *store, struct key_row *row);
/* Bumped by the engine with every change of an account, a key or the caps set for a subject, in the same transaction; `version` is the
 * new one and greater than the stored one, else STATUS_CONFLICT. */
MUST_USE enum status store_identity_version(struct store *store, int64_t *version);
MUST_USE enum status store_identity_bump(struct store *store, int64_t version);

/* What a thread is (account, kind, hash) and whose a subject is (account, kind, name) never changes: an update of
 * another by that number is STATUS_CONFLICT. Of a subject the caps set for it are written. */
MUST_USE enum status store_thread_put(struct store *store, struct thread_row *row);
MUST_USE enum status store_subject_put(struct store *store, struct subject_row *row); /* version 0 = insert */

MUST_USE enum status store_meter_put(struct store *store, struct meter_row *row);

/* What is reported for account 0 (the company) and all others; version 0 inserts. */
MUST_USE enum status store_reported_put(struct store *store, struct reported_row *row);

MUST_USE enum status store_hold_insert(struct store *store, const struct hold_row *row);
/* Writes what changes in a hold's life: payer, state, on_abort, parts, attempts, amounts, estimates, versions and
 * inputs. Its owner, account, key, thread, model and creation stay as they were inserted. */
MUST_USE enum status store_hold_update(struct store *store, const struct hold_row *row);
MUST_USE enum status store_hold_delete(struct store *store, int64_t hold_id);
/* The next open hold with hold_id > after whose node has no row, or is in another epoch now; NOT_FOUND at
 * the end. */
MUST_USE enum status store_hold_orphan(struct store *store, int64_t after, struct hold_row *row);
/* Ends nodes whose lease was over before `before_ms`: none of their transactions can commit any more, and
 * their holds are orphans. In a transaction of its own. An embedded store has none. */
MUST_USE enum status store_nodes_fence(
    struct store *store, int64_t before_ms, int64_t *fenced_count);
/* In a transaction, before its other writes: whether the job `name` (NAME_MAX_BYTES) is this node's until
 * `until_ms`. Of an embedded store it always is. */
MUST_USE enum status store_job_take(
    struct store *store, const char *name, int64_t until_ms, bool *taken);

/* --- Waiting lines of other gateways on a shared store; else these do nothing. */
/* How many calls wait at other gateways, as of this transaction's beginning. */
int64_t store_others_waiting(const struct store *store);
/* Once this transaction is committed the others hear that room came under this limit of this subject. */
void store_tell(struct store *store, int64_t limit_id, int64_t subject_id);
/* From now on `told` is called, on a thread of the store's, with what others tell; limit 0: some of it was
 * missed, look everywhere. */
typedef void store_told(void *user, int64_t limit_id, int64_t subject_id);
MUST_USE enum status store_listen(
    struct store *store, store_told *told, void *user, struct store_error *error);
/* From now on it is not. */
void store_unlisten(struct store *store);

/* What a shared store's engine has cost so far, for metrics and the bench. Of the engine's thread. */
struct store_costs {
    int64_t round_trips, statements, transactions, reconnects;
};
struct store_costs store_costs(const struct store *store);

MUST_USE enum status store_ledger_add(struct store *store, const struct ledger_row *row);
/* Adds `count` to the row of (account, key, model, limit, reason, minute); inserts it with its ledger_id. */
MUST_USE enum status store_refusal_add(struct store *store, const struct refusal_row *row);
MUST_USE enum status store_issued_put(struct store *store, const struct issued_row *row); /* keeps an existing one */
/* The oldest of those before `before_ms`, at most STORE_SWEEP_ROWS a call so that a batch stays short. */
#define STORE_SWEEP_ROWS 5000
MUST_USE enum status store_issued_sweep(struct store *store, int64_t before_ms);

/* What was done under an idempotency key; never changed. Swept as issued ids are. */
MUST_USE enum status store_receipt_add(struct store *store, const struct receipt_row *row);
MUST_USE enum status store_receipt_sweep(struct store *store, int64_t before_ms);

/* Retention: rows of calls and refusals that are older than they are kept go, a few at a time; what people did
 * (admin rows, adjustments) stays. Meters are not touched: they depend on no row of the ledger. */
#define STORE_PRUNE_ROWS 256
struct store_prune {
    int64_t before_ms;          /* rows of before that go; 0 = none */
    int64_t refusals_before_ms; /* refusals and their rows go already from here */
    int64_t after_id;           /* how far it has come; 0 = it begins */
    int64_t looked_count, deleted_count; /* by this step: rows of the ledger */
    bool done;                  /* all of before is gone */
};
/* One step in the open transaction: looks at no more than STORE_PRUNE_ROWS rows of the ledger, or of the refusals,
 * and moves `after_id` on. Ids of one epoch were given in the order of time, so what comes behind the first row that
 * stays is passed by, up to the next epoch. */
MUST_USE enum status store_prune(struct store *store, struct store_prune *prune);
/* Before this instant rows of calls are missing in the ledger; 0 = none are. */
MUST_USE enum status store_kept_from(struct store *store, int64_t *kept_from_ms);

/* The most that a call ever passed a cap of money by, micro-USD; 0 = none did. Gateways that share a store raise one
 * number; a lower one changes nothing. */
MUST_USE enum status store_overshoot_max(struct store *store, int64_t *overshoot_micros);
MUST_USE enum status store_overshoot_raise(struct store *store, int64_t overshoot_micros);

/* What is idle: trees of threads, and subjects whose meters nothing reads any more. It is found by walks that begin
 * with a zeroed row, or 0, and go on behind the last one that was seen; a page that is not full is the last. The
 * order is the store's own. */
MUST_USE enum status store_threads_after(struct store *store, const struct thread_row *after,
    struct thread_row *rows, int32_t max, int32_t *count);
struct meter_mark {
    int64_t subject_id, seen_ms;
};
MUST_USE enum status store_meters_after(
    struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count);
/* The threads that were begun under others, of so many trees; their roots are not told. */
#define STORE_TREES_MAX 64
struct tree_member {
    int64_t root_id, thread_id, last_ms;
};
typedef void store_member(void *user, const struct tree_member *member);
MUST_USE enum status store_tree_members(struct store *store, const int64_t *root_ids,
    int32_t root_count, store_member *found, void *user);
/* When the oldest of all open holds was made; NOT_FOUND: none is open. */
MUST_USE enum status store_hold_oldest(struct store *store, int64_t *created_ms);
/* The row as it was read: another version, or none, is STATUS_CONFLICT. The meters of a subject go with it: on a
 * shared store they can be begun anew only for a subject that is there. */
MUST_USE enum status store_thread_delete(struct store *store, const struct thread_row *row);
MUST_USE enum status store_subject_delete(struct store *store, const struct subject_row *row);
MUST_USE enum status store_meter_delete(struct store *store, const struct meter_row *row);

/* Messages to webhooks. The last two do nothing where the row is gone. */
MUST_USE enum status store_outbox_add(struct store *store, const struct outbox_row *row);
/* Writes next_ms, attempts and last_error. */
MUST_USE enum status store_outbox_tried(struct store *store, const struct outbox_row *row);
MUST_USE enum status store_outbox_delete(struct store *store, int64_t id);

/* Limit definitions in the order of their numbers: index 0.. until NOT_FOUND. A put replaces those of the
 * same number and of the same name: a renamed limit keeps its number, a changed one takes a new number. */
MUST_USE enum status store_limit_def_at(struct store *store, int64_t index, struct limit_def_row *row);
MUST_USE enum status store_limit_def_put(struct store *store, const struct limit_def_row *row);

/* --- The reader door: own snapshot connections, never through the engine, any thread (one reader each).
 * A read takes at most read_max_ms, its callbacks included, then it is STATUS_IO (on disk). Callbacks
 * call nothing of this header. Readers are closed before their store. */
struct store_reader;
MUST_USE enum status store_reader_open(struct store *store, struct store_reader **reader,
    struct store_error *error);
void store_reader_close(struct store_reader *reader);
/* What failed last at this reader. */
const char *store_reader_error(const struct store_reader *reader);

struct ledger_filter {
    int64_t account_id, key_id, thread_id, since_ms, until_ms; /* 0 = any; at or after since, before until */
    char model[NAME_MAX_BYTES + 1];                            /* "" = any */
    int32_t kind;                                              /* -1 = any */
    int64_t id;                                                /* row or hold id, whoever wrote of it; 0 = any */
    int64_t before_id;                                         /* page: only ids below; 0 = newest first from the end */
    int32_t limit;                                             /* rows at most; 0 = 100 */
};
/* Newest first. The callback returns false to stop. Rows and their slices live during the callback. */
MUST_USE enum status store_read_ledger(struct store_reader *reader, const struct ledger_filter *filter,
    bool (*row)(void *user, const struct ledger_row *row), void *user);
/* Rows of kinds warn and shadow, newest first; found without looking at the others. */
struct event_filter {
    int64_t account_id;          /* 0 = any */
    int64_t before_id, after_id; /* only ids below, above; 0 = any */
    bool oldest_first;
    int32_t limit;               /* rows at most; 0 = 100 */
};
MUST_USE enum status store_read_events(struct store_reader *reader, const struct event_filter *filter,
    bool (*row)(void *user, const struct ledger_row *row), void *user);
/* Messages that wait for `hook` ("" = any), at most `limit`, the one that is due first before the others. */
MUST_USE enum status store_read_outbox(struct store_reader *reader, const char *hook, int32_t limit,
    bool (*row)(void *user, const struct outbox_row *row), void *user);
MUST_USE enum status store_read_accounts(struct store_reader *reader,
    bool (*row)(void *user, const struct account_row *row), void *user);
MUST_USE enum status store_read_keys(struct store_reader *reader, int64_t account_id /* 0 = all */,
    bool (*row)(void *user, const struct key_row *row), void *user);
MUST_USE enum status store_read_meters(struct store_reader *reader, int64_t account_id /* 0 = all */,
    bool (*row)(void *user, const struct subject_row *subject, const struct meter_row *meters), void *user);
/* The row that is needed, as a decision asks for it, or NOT_FOUND; not of holds, whose inputs are borrowed,
 * nor of what is the engine's alone. */
MUST_USE enum status store_read_row(
    struct store_reader *reader, const struct need *need, union need_row *row);
/* Those of one account, or (with_caps) all of one kind for whom caps are set; in the order of their numbers. */
struct subject_filter {
    int64_t account_id; /* 0 = those that belong to none */
    bool with_caps;
    enum subject_kind kind; /* with_caps */
};
MUST_USE enum status store_read_subjects(struct store_reader *reader, const struct subject_filter *filter,
    bool (*row)(void *user, const struct subject_row *row), void *user);
/* All names that limits ever had. */
MUST_USE enum status store_read_limit_defs(struct store_reader *reader,
    bool (*row)(void *user, const struct limit_def_row *row), void *user);
struct thread_filter {
    int64_t account_id; /* 0 = any */
    int64_t before_id;  /* only ids below; 0 = newest first from the end */
    int32_t limit;      /* rows at most; 0 = 100 */
};
MUST_USE enum status store_read_threads(struct store_reader *reader, const struct thread_filter *filter,
    bool (*row)(void *user, const struct thread_row *row), void *user);
MUST_USE enum status store_read_holds(struct store_reader *reader,
    bool (*row)(void *user, const struct hold_row *row), void *user);
/* The clock that leases go by: the database's, of an embedded store our own. */
MUST_USE enum status store_read_clock(struct store_reader *reader, int64_t *now_ms);
/* One row of an embedded store, its own. */
MUST_USE enum status store_read_nodes(
    struct store_reader *reader, bool (*row)(void *user, const struct node_row *row), void *user);
MUST_USE enum status store_read_refusals(struct store_reader *reader, int64_t account_id,
    int64_t since_ms, bool (*row)(void *user, const struct refusal_row *row), void *user);
