/* store/memory_priv.h: the store in memory: the same promises as on disk but to outlive the
 * process.
 *
 *   memory.c        the engine: transactions, the node      memory_table.c  rows, names, undo
 *   memory_rows.c   the writer's gets and puts               memory_read.c   the reader door
 *   memory_sweep.c  what the sweep of threads and subjects looks at, and deletes
 *
 * A row that is stored never changes: a write places a new one and keeps the old in the undo log
 * until the transaction ends. One mutex is held by a transaction from begin to end and by each
 * read, so a reader sees committed rows only. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "store/store_priv.h"

/* --- memory_table.c */

enum memory_table_id {
    TABLE_ACCOUNT,
    TABLE_KEY,
    TABLE_THREAD,
    TABLE_SUBJECT,
    TABLE_METER,
    TABLE_REPORTED,
    TABLE_HOLD,
    TABLE_LEDGER,
    TABLE_REFUSAL,
    TABLE_ISSUED,
    TABLE_RECEIPT,
    TABLE_OUTBOX,
    TABLE_LIMIT_DEF,
    TABLE_COUNT,
};

/* What a table needs to know of its rows. */
struct memory_kind {
    const char *name;
    size_t row_bytes;
    size_t inputs_at;                       /* offset of a struct slice; 0 = none */
    uint64_t (*name_hash)(const void *row); /* NULL: the id is its only key */
    bool (*name_same)(const void *row, const void *other);
};

struct memory_row {
    struct list link;              /* of its table, by ascending id */
    struct memory_row *next_named; /* of the same hash */
    uint64_t name_hash;
    int64_t id;
    void *row; /* behind this struct, its inputs behind it */
};

struct memory_table {
    const struct memory_kind *kind;
    struct list rows;
    struct map by_id, by_name;
};

struct memory_undo {
    struct memory_table *table;
    int64_t id;
    struct memory_row *before; /* NULL: there was none */
};

struct memory_undo_log {
    struct memory_undo *entries;
    size_t count, cap;
};

void table_init(struct memory_table *table, enum memory_table_id id);
void table_free(struct memory_table *table);
/* NULL: not there. Borrowed until the row is written again and that transaction has ended. */
const void *table_get(const struct memory_table *table, int64_t id);
/* By the fields of `like` that make its unique name. */
struct memory_row *table_find(const struct memory_table *table, const void *like);
/* Inserts or replaces; STATUS_FULL: no memory, and nothing has changed. */
MUST_USE enum status table_set(
    struct memory_table *table, int64_t id, const void *row, struct memory_undo_log *log);
MUST_USE enum status table_remove(
    struct memory_table *table, int64_t id, struct memory_undo_log *log);
/* Ends a transaction: forgets what was before, or puts it back. */
void undo_forget(struct memory_undo_log *log);
void undo_all(struct memory_undo_log *log);

/* --- The engine. */

struct memory_meta {
    int64_t epoch, identity_version, kept_from_ms, overshoot_max_micros;
    struct node_row node;
};

struct memory_store {
    struct store base;     /* first */
    pthread_mutex_t mutex; /* error-checking: a read within one's own transaction is an answer */
    struct memory_table tables[TABLE_COUNT];
    struct memory_undo_log undo;
    struct memory_meta meta, meta_before;
    int64_t next_row_id; /* of rows whose only key is a name */
    unsigned char signal_key[32];
    atomic_int reader_count;
};

static inline struct memory_store *
memory_store_of(struct store *store)
{
    return (struct memory_store *)(void *)store;
}

extern const struct store_row_ops memory_row_ops;       /* memory_rows.c */
extern const struct store_reader_ops memory_reader_ops; /* memory_read.c */

/* --- memory_sweep.c: functions of the table of rows. */
MUST_USE enum status memory_thread_delete(struct store *store, const struct thread_row *row);
MUST_USE enum status memory_subject_delete(struct store *store, const struct subject_row *row);
MUST_USE enum status memory_meter_delete(struct store *store, const struct meter_row *row);
MUST_USE enum status memory_threads_after(struct store *store, const struct thread_row *after,
    struct thread_row *rows, int32_t max, int32_t *count);
MUST_USE enum status memory_tree_members(struct store *store, const int64_t *root_ids,
    int32_t root_count, store_member *found, void *user);
MUST_USE enum status memory_meters_after(struct store *store, int64_t after_id,
    struct meter_mark *marks, int32_t max, int32_t *count);
MUST_USE enum status memory_hold_oldest(struct store *store, int64_t *created_ms);
