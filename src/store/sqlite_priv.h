/* store/sqlite_priv.h: what the files of the SQLite engine share.
 *
 *   sqlite.c             the engine: open, node, transactions, the table of functions
 *   sqlite_db.c          one connection: prepared statements, binding, reading, errors
 *   sqlite_rows.c        the writer's gets and puts (columns.c, puts.c), the meta table
 *   sqlite_several.c     rows that are needed together, read in one step
 *   sqlite_sweep.c       what the sweep of threads and subjects looks at, and deletes
 *   sqlite_read.c        the reader door
 *   sqlite_checkpoint.c  copying the log back, beside the writer
 *   sqlite_home.c        is it the file that the last gateway wrote
 *   sqlite_log.c         room behind the log's end
 *   sqlite_gather.c      the pages of a commit, written in one piece
 *   sqlite_pages.c       SQLite's cache of pages, which is not searched in vain
 *   sqlite_transfer.c    one end of a transfer
 *   migrate.c            schema versions      lock.c  one gateway a store      fresh.c  files that are made */
#pragma once

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "store/columns_priv.h"

/* --- sqlite_db.c: a connection of one thread. */

struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENT_SQLITE_COUNT]; /* prepared at first use, kept */
    struct columns columns;                           /* of the row that its open query stands at */
    char *error_text;                          /* 512 bytes of the owner */
    struct gather *gather;                     /* the log's; NULL: it has none */
};

/* What db_open sets up: SQLITE_OPEN_* flags; a connection that writes is durable as asked. */
MUST_USE enum status db_open(
    struct sqlite_db *db, const char *path, int open_flags, char *error_text);
void db_close(struct sqlite_db *db);
/* Runs SQL that has no parameters and whose rows nobody wants. */
MUST_USE enum status db_exec(struct sqlite_db *db, const char *sql);
/* The one place where SQLite's extended codes become ours; writes the owner's text unless OK. */
MUST_USE enum status db_status(struct sqlite_db *db, int code);
/* The text says which row of which table is damaged. */
MUST_USE enum status db_damaged(struct sqlite_db *db, const char *table, int64_t id);

/* One use of a prepared statement. A failure sticks: later calls do nothing, query_next or
 * query_run returns it. Bound text must live until query_end. */
struct query {
    struct sqlite_db *db;
    sqlite3_stmt *statement;
    struct columns *columns; /* of the current row; texts live until the next query_next or query_end */
    int bound_count;
    enum status status;
};

struct query query_start(struct sqlite_db *db, enum statement_id id);
void query_i64(struct query *query, int64_t value);
void query_text(struct query *query, const char *text);
void query_slice(struct query *query, struct slice text);
void query_bind(struct query *query, const struct params *params);
/* OK: a row is there to read; NOT_FOUND: no more. */
MUST_USE enum status query_next(struct query *query);
/* Runs a statement that returns no rows, and ends it. *changed_count: rows that it wrote. */
MUST_USE enum status query_run(struct query *query, int64_t *changed_count);
/* The same where one row must be written: `none` when it is not. */
MUST_USE enum status query_write(
    struct query *query, enum status none, const char *table, int64_t id);
void query_end(struct query *query);
/* Ends a query that finds at most one row: `status` of query_next, unless the row was not
 * intact. */
MUST_USE enum status query_finish(
    struct query *query, enum status status, bool intact, const char *table, const int64_t *id);

/* --- lock.c: an exclusive lock on PATH.lock, which then holds our process id. */

MUST_USE enum status lock_take(const char *path, int *lock_fd, struct store_error *error);
void lock_drop(int lock_fd);
/* What root makes for a gateway belongs to whom the folder belongs to, or that gateway could not start. */
void give_to_folder_owner(int fd, const char *path);

/* --- migrate.c: brings an empty or older store to the last of `scripts`, in one transaction. */

/* Of an empty file: 0. STATUS_INVALID: a database, but not ours. Changes nothing. */
MUST_USE enum status schema_version(struct sqlite_db *db, int64_t *version);
/* STATUS_NEWER, and where it may not be migrated STATUS_INVALID: it is of another version than ours. */
MUST_USE enum status schema_judge(struct sqlite_db *db, bool may_migrate, int64_t *version);
MUST_USE enum status migrate(
    struct sqlite_db *db, int64_t from, const char *const *scripts, size_t script_count);

/* --- sqlite_checkpoint.c: copies the log back into the store from a thread of its own; the writer
 * finishes the small rest between two batches, so that the log starts anew. */

struct checkpointer;
MUST_USE enum status checkpointer_start(struct checkpointer **checkpointer, const char *path,
    const struct store_options *options, char *error_text);
void checkpointer_stop(struct checkpointer *checkpointer);
/* Between two transactions of the writer; trouble is written into, or taken from, `trouble`. */
void checkpointer_turn(
    struct checkpointer *checkpointer, struct sqlite_db *writer, char trouble[512]);
/* From the writer's log hook: pages in the log after a commit. */
void checkpointer_note(struct checkpointer *checkpointer, int log_pages);

/* --- sqlite_home.c: a file that was carried here by hand is looked at before it is used. */

/* Asked before the store is connected to: that makes one. */
bool home_has_log(const char *path);
/* STATUS_INVALID: it must not be used as it is. What a person should know is written into `note`. */
MUST_USE enum status home_judge(
    struct sqlite_db *db, const char *path, bool has_log, char note[512]);
/* In the transaction that starts an epoch. */
MUST_USE enum status home_write(struct sqlite_db *db, const char *path);
void home_reach_file(struct sqlite_db *db, const char *path);
void home_leave(struct sqlite_db *db);

struct home_files {
    uint64_t inodes[2]; /* of the store and its log; 0: not known */
    int64_t looked_mono_ms;
};
/* After the first commit, which made the log. */
void home_remember(struct home_files *files, const char *path);
/* Before a batch: STATUS_IO when the names are not those files' any more; looks a few times a second. */
MUST_USE enum status home_look(struct home_files *files, const char *path, char *error_text);

/* --- swap.c: a store that takes another one's place. */

MUST_USE enum status file_fail(struct store_error *error, const char *path, const char *what);
/* What is written to a file is there after a power cut only when its `folder` knows of it too. */
MUST_USE enum status file_sync(const char *path, bool folder, struct store_error *error);
/* Under the lock of `path`. The file `fresh` takes its name; what `replaces` says is there keeps its bytes under
 * the name that is written into `aside` (1024 bytes; "" = none was). On failure all is as it was, unless the
 * sentence says otherwise. */
MUST_USE enum status swap_in(const char *fresh, const char *path, bool replaces, int64_t now_ms,
    char *aside, struct store_error *error);
/* Under the lock, before anything of the store is opened: undoes a swap that its process did not live to
 * finish. Says so in the log. */
void swap_mend(const char *path);

/* --- fresh.c: a file beside the one that it becomes, so that this is whole or not there. */

/* An empty file that is its owner's alone, or that of the folder's owner; SQLite writes into it. */
MUST_USE enum status fresh_make(const char *path, bool for_gateway, struct store_error *error);
void fresh_remove(const char *path);
/* Reading it, as every store is read, has made a log in which nothing is. */
void fresh_remove_log(const char *path);
/* It is on the disk; its name too, when this is STATUS_OK. STATUS_EXISTS: `to` is there, and `force` not set. */
MUST_USE enum status fresh_name(
    const char *fresh, const char *to, bool force, struct store_error *error);

/* --- sqlite_log.c */

struct log_room {
    int64_t end_bytes; /* of the log's file, as far as it is known; it may be longer */
    bool over;         /* it cannot be made: not tried again */
};
/* Between two transactions of the writer: keeps some room behind a log of `log_pages`, which begins
 * anew at about `pages_max`. */
void log_make_room(struct sqlite_db *writer, int log_pages, int pages_max, struct log_room *room);

/* --- sqlite_gather.c */

/* In a transaction of a writer that syncs its log with each commit: from now on, until the connection is
 * closed, its pages go into the log together. Where that cannot be the log stays as it is. */
void log_gather(struct sqlite_db *writer);
/* The transaction will not commit. Pages that it would write later might meet another's, which came
 * between. */
void log_forget(struct sqlite_db *writer);

/* --- sqlite_pages.c */

/* Before SQLite is used first; in vain, and no harm, where it is in use. */
void sqlite_pages_configure(void);

/* --- The engine. */

struct sqlite_store {
    struct store base; /* first */
    bool made_here;    /* the file is ours, and no epoch has begun on it: removed if none does */
    bool started;
    struct store_options options;
    int64_t batch_no;           /* of the transaction that writes */
    int64_t uncertain_batch_no; /* its commit failed; 0 = none did */
    struct sqlite_db db;
    char *path;
    struct home_files files;
    int lock_fd;
    struct checkpointer *checkpointer;
    struct buf inputs, packed, packed_2; /* reused by every row */
    int32_t read_max_ms;
    int64_t data_version; /* as of the last begin; 0 = none yet */
    atomic_int reader_count;
};

static inline struct sqlite_store *
sqlite_store_of(struct store *store)
{
    return (struct sqlite_store *)(void *)store;
}

/* SQLite follows links and so must the lock, or two names would let two gateways in. The caller
 * frees *real_path; a name that is not there yet is resolved as far as its folder. */
MUST_USE enum status sqlite_resolve_path(
    const char *path, char **real_path, struct store_error *error);
MUST_USE enum status sqlite_connect(struct sqlite_db *db, const char *path, int open_flags,
    const struct store_options *options, char *error_text);

MUST_USE enum status sqlite_node_put(struct sqlite_db *db, const struct node_row *node);

/* --- sqlite_rows.c */

MUST_USE enum status run_put(struct sqlite_db *db, const struct put *put);
MUST_USE enum status sqlite_meta_get(
    struct sqlite_db *db, const char *name, char *out, size_t out_size);
MUST_USE enum status sqlite_meta_put(struct sqlite_db *db, const char *name, const char *value);
MUST_USE enum status sqlite_meta_get_i64(struct sqlite_db *db, const char *name, int64_t *value);
MUST_USE enum status sqlite_meta_put_i64(struct sqlite_db *db, const char *name, int64_t value);

extern const struct store_row_ops sqlite_row_ops;       /* sqlite_rows.c */
MUST_USE enum status sqlite_get_several(struct store *store, const struct need *needs, size_t count,
    store_found *found, void *user, size_t *done); /* sqlite_several.c */
extern const struct store_reader_ops sqlite_reader_ops; /* sqlite_read.c */

/* --- sqlite_sweep.c: functions of the table of rows. */
MUST_USE enum status sqlite_thread_delete(struct store *store, const struct thread_row *row);
MUST_USE enum status sqlite_subject_delete(struct store *store, const struct subject_row *row);
MUST_USE enum status sqlite_meter_delete(struct store *store, const struct meter_row *row);
MUST_USE enum status sqlite_threads_after(struct store *store, const struct thread_row *after,
    struct thread_row *rows, int32_t max, int32_t *count);
MUST_USE enum status sqlite_tree_members(struct store *store, const int64_t *root_ids,
    int32_t root_count, store_member *found, void *user);
MUST_USE enum status sqlite_meters_after(struct store *store, int64_t after_id,
    struct meter_mark *marks, int32_t max, int32_t *count);
MUST_USE enum status sqlite_hold_oldest(struct store *store, int64_t *created_ms);
