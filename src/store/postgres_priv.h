/* store/postgres_priv.h: what the files of the PostgreSQL engine share.
 *
 *   postgres.c          the engine: open, transactions, the table of functions
 *   postgres_place.c    a URL: whom it names, and what of it may be shown
 *   postgres_link.c     a connection: made with its settings, judged, lost
 *   postgres_db.c       statements through a connection, many at once: libpq's pipeline
 *   postgres_fault.c    what an error of the server means to us
 *   postgres_schema.c   schema versions, under a lock that all gateways take
 *   postgres_locks.c    the one order in which rows are locked
 *   postgres_load.c     many rows in one way there and back
 *   postgres_rows.c     the writer's gets and puts (columns.c, puts.c)
 *   postgres_sweep.c    what the sweep of threads and subjects looks at, and deletes
 *   postgres_queue.c    writes that wait for their commit, in the one order
 *   postgres_commit.c   the commit, and whether one was that nobody answered
 *   postgres_node.c     nodes: epochs, leases, fencing, jobs
 *   postgres_read.c     the reader door
 *   postgres_listen.c   what other gateways tell
 *   postgres_scan.c     whole tables, row by row
 *   postgres_inspect.c  all rows for the audit
 *   postgres_transfer.c one end of a transfer */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "store/columns_priv.h"

/* --- postgres_place.c */

struct postgres_place {
    char *url;           /* with its password: shown to nobody, wiped when it is freed */
    bool chooses_server; /* the URL says itself which of its hosts are taken */
    char text[192];      /* "the database D at H", for people */
    char database[96];
};
/* STATUS_INVALID: it is no such URL; the sentence repeats none of it, since it may hold a password. */
MUST_USE enum status place_read(
    struct postgres_place *place, const char *url, char error_text[512]);
void place_free(struct postgres_place *place);

/* --- postgres_link.c and postgres_db.c: a connection of one thread. */

#define SQLSTATE_NO_ROW "22012" /* 1 / 0: see FORM_MUST */

/* How a statement of statements.h is sent. */
enum form {
    FORM_PLAIN,
    FORM_LOCK, /* what it selects is locked until the transaction ends */
    FORM_MUST, /* one that writes no row fails, so that nothing behind it is done, no COMMIT either */
    FORM_COUNT,
};

struct link_options {
    int32_t statement_ms, lock_ms, idle_ms; /* the server's limits; 0 = none */
    int32_t wait_ms;                        /* ours: for an answer to what was sent */
    bool full_sync, read_only;
    bool any_server; /* a standby will do */
};

/* One thing sent whose answer did not come yet. */
struct pending;

struct postgres_db {
    PGconn *conn; /* NULL = none */
    const struct postgres_place *place;
    struct link_options options;
    struct store_costs *costs;
    char *error_text; /* 512 bytes of the owner */
    bool prepared[STATEMENT_POSTGRES_COUNT][FORM_COUNT];
    struct pending *pending;
    size_t pending_first, pending_count, pending_cap;
    /* Answers of the last trip, by slot; owned until the next one. */
    PGresult **answers;
    size_t answer_count, answer_cap;
    bool gathering;        /* something was queued since the last trip */
    ptrdiff_t failed_slot; /* of the last trip; -1 = none */
    char failed_state[6];  /* its SQLSTATE */
    struct buf scratch;
    struct columns columns;
};

/* Connects and sets the session up; no pipeline yet. */
MUST_USE enum status link_connect(struct postgres_db *db);
void link_drop(struct postgres_db *db);
/* Ends the connection for a reason that the error text gets; always STATUS_IO. */
enum status link_lost(struct postgres_db *db, const char *why);
/* Outside of a pipeline, SQL of no parameters: the caller clears *answer, if it wants one. */
MUST_USE enum status link_ask(struct postgres_db *db, const char *sql, PGresult **answer);
/* Until PQgetResult would not block; STATUS_IO, and no connection, when it is lost or too slow. */
MUST_USE enum status link_wait(struct postgres_db *db, int64_t deadline_mono_ms);
MUST_USE enum status link_pipeline(struct postgres_db *db);

/* Queues a statement; *slot (may be NULL) is where the next trip leaves its answer. */
MUST_USE enum status pg_send(struct postgres_db *db, enum statement_id id, enum form form,
    const struct params *params, size_t *slot);
/* One that has no parameters. */
MUST_USE enum status pg_send_plain(struct postgres_db *db, enum statement_id id, size_t *slot);
/* Sends what is queued and waits for all answers; the status is the first failure's. */
MUST_USE enum status pg_trip(struct postgres_db *db);
/* Sends what is queued; nobody wants the answers. */
void pg_send_away(struct postgres_db *db);
/* A statement and its answer, alone. */
MUST_USE enum status pg_run(struct postgres_db *db, enum statement_id id, enum form form,
    const struct params *params, const PGresult **answer);
/* Outside of a pipeline: asks for rows, which come from PQgetResult one by one. */
MUST_USE enum status pg_ask_rows(
    struct postgres_db *db, enum statement_id id, const struct params *params);
/* The answer is the caller's to clear. */
PGresult *pg_take(struct postgres_db *db, size_t slot);
void pg_close(struct postgres_db *db);

/* Row `row` of an answer; the columns live in the connection, their texts in the answer. */
struct columns *pg_columns(struct postgres_db *db, const PGresult *answer, int row);
int64_t pg_changed_count(const PGresult *answer);
enum status pg_damaged_row(struct postgres_db *db, const char *table, int64_t id);

/* Bytes that PostgreSQL takes for no text (NUL, what is not UTF-8) become '?'. */
void text_clean(char *text, size_t len);

/* --- postgres_fault.c */

/* What a SQLSTATE means; `lost`: the connection is of no use any more. */
struct fault {
    enum status status;
    bool lost;
    const char *advice;
};
struct fault fault_of_state(const char *state);
/* Writes the sentence for a failed answer of the server. */
enum status fault_tell(struct postgres_db *db, const PGresult *answer, struct fault fault);
/* The last line of a message of libpq's, without its end, for a sentence. */
struct slice message_line(const char *message);

/* --- postgres_schema.c */

/* What a server says of itself and its database. */
struct postgres_facts {
    int version; /* as PQserverVersion: 150003 */
    bool is_standby, is_read_only;
    const char *encoding;
};
/* STATUS_INVALID with a sentence: no gateway can run on it. */
MUST_USE enum status facts_judge(
    const struct postgres_facts *facts, const char *place, char error_text[512]);
/* Brings the schema to ours, or judges it only. */
MUST_USE enum status postgres_migrate(
    struct postgres_db *db, bool read_only, const char *const *scripts, size_t script_count);
/* The script as PostgreSQL is given it. */
void postgres_script(struct buf *sql, struct slice script);

/* --- postgres_locks.c: which rows this transaction has locked, and which it may still lock.
 *
 * All gateways lock in the order of (rank, id): our node's row (each transaction's first statement), the
 * limits' table, jobs by name, threads, meters, holds by their ids. Threads that are known by their signature are
 * locked in one statement with those known by id, in which the server sorts them by id before it locks. What
 * is written without such a lock is written after all of them, in the order of postgres_queue.c. So no two
 * transactions ever wait for each other. */
enum lock_rank { LOCK_LIMITS, LOCK_JOB, LOCK_THREAD, LOCK_METER, LOCK_HOLD };

struct lock {
    enum lock_rank rank;
    int64_t id;
};
struct locked_thread {
    int64_t thread_id, account_id;
    enum thread_kind kind;
    char sig_hash[HASH_HEX + 1];
};
struct locks {
    struct lock *asked; /* sorted; also rows that were not there, and those that we inserted */
    size_t asked_count, asked_cap;
    struct lock *held; /* sorted */
    size_t held_count, held_cap;
    struct lock highest;
    bool any;    /* is one held */
    bool writes; /* writes have been sent: no further lock is taken */
    struct locked_thread *threads;
    size_t thread_count, thread_cap;
    bool failed; /* no memory: the transaction must not commit */
};
void locks_clear(struct locks *locks);
void locks_free(struct locks *locks);
/* Whether it may be locked now: held already, or behind all that are. */
bool locks_may(const struct locks *locks, enum lock_rank rank, int64_t id);
bool locks_may_thread_of(
    const struct locks *locks, int64_t account_id, enum thread_kind kind, const char *sig_hash);
/* It was asked for with its lock; `found`: it is there, and so is locked now. */
void locks_add(struct locks *locks, enum lock_rank rank, int64_t id, bool found);
void locks_add_thread(struct locks *locks, const struct thread_row *row);
/* It is inserted by this transaction. */
void locks_own(struct locks *locks, enum lock_rank rank, int64_t id);
void locks_own_thread(struct locks *locks, const struct thread_row *row);
/* Whether this transaction may write the row: it asked for it with its lock, or inserted it. */
bool locks_asked(const struct locks *locks, enum lock_rank rank, int64_t id);

/* --- postgres_queue.c */

/* The order in which rows are written that no lock of the read phase protects: by table, then by what is
 * unique in it. */
enum write_rank {
    WRITE_NODE, /* our own, which the renewal has locked */
    WRITE_ACCOUNT,
    WRITE_ACCOUNT_NEW,
    WRITE_KEY,
    WRITE_KEY_NEW,
    WRITE_THREAD,
    WRITE_SUBJECT,
    WRITE_METER,
    WRITE_REPORTED,
    WRITE_HOLD,
    WRITE_LEDGER,
    WRITE_REFUSAL,
    WRITE_ISSUED,
    WRITE_RECEIPT,
    WRITE_OUTBOX,
    WRITE_LIMIT,
    WRITE_META,
    WRITE_SWEEP,
    WRITE_TELL,
};
struct write_order {
    enum write_rank rank;
    int64_t ids[5];
    const char *text; /* copied */
};
struct queued {
    struct write_order order;
    size_t number; /* of two of one row the first put is the first */
    enum statement_id statement;
    enum status none;
    const char *table;
    int64_t id;
    size_t text_at, values_at; /* in the bytes; values: as (kind, length, bytes) */
    int32_t value_count;
};
struct queue {
    struct queued *at;
    size_t count, cap;
    struct buf bytes;
    bool failed;
};
void queue_clear(struct queue *queue);
void queue_free(struct queue *queue);
void queue_add(struct queue *queue, const struct put *put, struct write_order order);
void queue_sort(struct queue *queue);
/* Sends all in their order; slots begin at *first_slot. */
MUST_USE enum status queue_send(struct queue *queue, struct postgres_db *db, size_t *first_slot);
/* After a trip that failed: where it was a write that wrote no row, says which. */
MUST_USE enum status queue_tell(
    const struct queue *queue, struct postgres_db *db, size_t first_slot, enum status status);

/* --- The engine. */

struct load; /* postgres_load.c */

struct postgres_store {
    struct store base; /* first */
    struct store_options options;
    struct postgres_place place;
    struct postgres_db db;
    int32_t lease_ms;
    char name[NAME_MAX_BYTES + 1]; /* what people know this gateway by; "" = its host's name */
    bool lock_timed_out;           /* the transaction before this one waited too long for a lock */
    /* Connecting anew. */
    int32_t pause_ms;
    int64_t next_try_mono_ms;
    /* This node. */
    int64_t epoch;  /* 0 = none started */
    int64_t marker; /* batch_no of its row as of the last transaction that is known */
    bool uncertain; /* whether `marker` moved on is not known */
    bool over;      /* fenced: nothing is to be left behind at the end */
    /* The open transaction. */
    struct node_row node; /* as of its begin */
    bool begin_due;       /* nothing of it was sent */
    bool sent;            /* the server has it open */
    bool renewed;         /* and has answered: the lease is ours */
    size_t renew_slot;    /* of the trip in hand, when renew_sent */
    bool renew_sent;
    int64_t renew_mono_ms;
    int64_t identity_version;
    struct locks locks;
    struct queue queue;
    PGresult *limit_defs;         /* as read by this transaction */
    char job[NAME_MAX_BYTES + 1]; /* the last one taken; "" = none */
    int64_t job_count;
    int64_t told_count;
    struct buf inputs, packed, packed_2;
    struct load *load;
    struct listener *listener;
    int32_t read_max_ms;
    atomic_int reader_count;
};

static inline struct postgres_store *
postgres_store_of(struct store *store)
{
    return (struct postgres_store *)(void *)store;
}

/* postgres.c: a connection, if need be a new one; STATUS_IO: there is none yet. */
MUST_USE enum status postgres_ready(struct postgres_store *postgres);
/* BEGIN and the renewal, if they are still to be sent. */
MUST_USE enum status postgres_open_transaction(struct postgres_store *postgres);
/* A trip of the open transaction; what the renewal answered is taken. */
MUST_USE enum status postgres_trip(struct postgres_store *postgres);
/* The writes that are queued, sent now: what is read then sees them. */
MUST_USE enum status postgres_flush_writes(struct postgres_store *postgres);
void postgres_forget(struct postgres_store *postgres);

/* postgres_load.c */
MUST_USE enum status postgres_load(struct store *store, const struct need *needs, size_t count,
    bool lock, store_found *found, void *user);
void load_free(struct load *load);

/* postgres_commit.c */
MUST_USE enum status postgres_commit(struct store *store);
/* Asks what became of a commit; OK: it is known. */
MUST_USE enum status commit_resolve(
    struct postgres_store *postgres, int64_t deadline_mono_ms, bool *committed);

/* postgres_node.c */
MUST_USE enum status postgres_node_start(struct store *store, int64_t now_ms,
    const char *config_hash, struct node_row *node, unsigned char signal_key[32]);
MUST_USE enum status postgres_node_config(
    struct store *store, const struct node_row *node, const char *config_hash);
MUST_USE enum status postgres_nodes_fence(
    struct store *store, int64_t before_ms, int64_t *fenced_count);
MUST_USE enum status postgres_job_take(
    struct store *store, const char *name, int64_t until_ms, bool *taken);
void node_leave(struct postgres_store *postgres);
/* Why the renewal found no row. */
enum status node_tell_fenced(struct postgres_store *postgres);
MUST_USE enum status postgres_meta_get(
    struct postgres_db *db, const char *name, enum form form, char *out, size_t out_size);
MUST_USE enum status postgres_meta_get_i64(
    struct postgres_db *db, const char *name, enum form form, int64_t *value);

/* postgres_listen.c */
MUST_USE enum status postgres_listen(
    struct store *store, store_told *told, void *user, struct store_error *error);
void postgres_tell(struct store *store, int64_t limit_id, int64_t subject_id);
void postgres_unlisten(struct store *store);

/* --- postgres_scan.c: all rows of a query, outside of a pipeline. */

/* SQL without parameters; pg_ask_rows begins one of statements.h. */
MUST_USE enum status scan_start(struct postgres_db *db, const char *sql);
/* The next row, which takes the place of the one before; NOT_FOUND: there is none, and the connection is free. */
MUST_USE enum status scan_next(struct postgres_db *db, PGresult **row);
/* The first column of the one row of an answer. */
MUST_USE enum status ask_number(struct postgres_db *db, const char *sql, int64_t *number);

/* --- postgres_inspect.c */

struct inspector;
struct inspected;
/* Of a connection that reads whole tables. */
struct link_options patient_options(bool read_only);
/* In a transaction that is one snapshot, or whose own writes are to be seen. */
MUST_USE enum status postgres_inspect_in(
    struct postgres_db *db, const struct inspector *inspector, struct inspected *inspected);

extern const struct store_row_ops postgres_row_ops;       /* postgres_rows.c */
extern const struct store_reader_ops postgres_reader_ops; /* postgres_read.c */

/* --- postgres_sweep.c: functions of the table of rows. */
MUST_USE enum status postgres_thread_delete(struct store *store, const struct thread_row *row);
MUST_USE enum status postgres_subject_delete(struct store *store, const struct subject_row *row);
MUST_USE enum status postgres_meter_delete(struct store *store, const struct meter_row *row);
MUST_USE enum status postgres_threads_after(struct store *store, const struct thread_row *after,
    struct thread_row *rows, int32_t max, int32_t *count);
MUST_USE enum status postgres_tree_members(struct store *store, const int64_t *root_ids,
    int32_t root_count, store_member *found, void *user);
MUST_USE enum status postgres_meters_after(struct store *store, int64_t after_id,
    struct meter_mark *marks, int32_t max, int32_t *count);
MUST_USE enum status postgres_hold_oldest(struct store *store, int64_t *created_ms);
/* The rows of a statement that reads in a transaction; borrowed until the next way there and back. */
MUST_USE enum status postgres_read_inside(struct postgres_store *postgres, enum statement_id id,
    const struct params *params, const PGresult **answer);
