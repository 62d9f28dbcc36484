/* store/store_priv.h: what the engines of the store (sqlite, postgres, memory) share with the door before
 * them.
 *
 * store.c takes every public call, checks what holds for all engines (rows, state of the
 * transaction) and goes on through tables of functions. An engine puts `struct store` first in its
 * own struct. */
#pragma once

#include <stdatomic.h>

#include "store/store.h"

enum store_state { STORE_IDLE, STORE_READING, STORE_WRITING };

struct store {
    const struct store_ops *ops;
    const struct store_row_ops *rows;
    const struct store_reader_ops *readers;
    enum store_state state;
    int32_t lease_ms;
    bool exclusive;    /* see store_is_exclusive */
    atomic_bool mixed; /* see store_set_mixed */
    const char *file;  /* the engine's own; NULL = none */
    int64_t foreign_writes;
    int64_t now_ms, lease_mono_ms, others_waiting; /* see store_now_ms and its neighbours */
    struct store_costs costs, counted;             /* so far; in the metrics already */
    char last_error[512];
    char trouble[512];
    char note[512];
};

struct store_reader {
    const struct store_reader_ops *ops;
    char last_error[512];
};

typedef bool ledger_callback(void *user, const struct ledger_row *row);
typedef bool subject_callback(void *user, const struct subject_row *row);
typedef bool limit_def_callback(void *user, const struct limit_def_row *row);
typedef bool thread_callback(void *user, const struct thread_row *row);
typedef bool account_callback(void *user, const struct account_row *row);
typedef bool key_callback(void *user, const struct key_row *row);
typedef bool meter_callback(
    void *user, const struct subject_row *subject, const struct meter_row *meters);
typedef bool hold_callback(void *user, const struct hold_row *row);
typedef bool node_callback(void *user, const struct node_row *row);
typedef bool outbox_callback(void *user, const struct outbox_row *row);
typedef bool refusal_callback(void *user, const struct refusal_row *row);

struct ledger_mark { /* a row, as far as its age and kind go */
    int64_t id, at_ms;
    enum ledger_kind kind;
};
#define META_KEPT_FROM "ledger_kept_from_ms"
#define META_OVERSHOOT_MAX "overshoot_max_micros"

/* The functions of store.h, in three tables; what store.c has checked already holds. */
struct store_ops {
    void (*close)(struct store *);
    enum status (*node_start)(struct store *, int64_t now_ms, const char *config_hash,
        struct node_row *, unsigned char signal_key[32]);
    enum status (*node_config)(struct store *, const struct node_row *, const char *config_hash);
    enum status (*begin)(struct store *, const struct node_row *);
    enum status (*begin_read)(struct store *);
    enum status (*commit)(struct store *);
    void (*rollback)(struct store *);
    /* NULL in those of embedded stores: store.c answers for them. */
    enum status (*load)(
        struct store *, const struct need *, size_t count, bool lock, store_found *, void *user);
    enum status (*nodes_fence)(struct store *, int64_t before_ms, int64_t *fenced_count);
    enum status (*job_take)(struct store *, const char *name, int64_t until_ms, bool *taken);
    void (*tell)(struct store *, int64_t limit_id, int64_t subject_id);
    enum status (*listen)(struct store *, store_told *, void *user, struct store_error *);
    void (*unlisten)(struct store *);
};

struct store_row_ops {
    /* Of an embedded store, where ops has no `load`. */
    enum status (*get)(struct store *, const struct need *, union need_row *);
    /* Answers the first *done of the needs in one step, those `with` company with it; 0: there is no such step for
     * them, and each is got by itself. May be NULL. */
    enum status (*get_several)(struct store *, const struct need *needs, size_t count,
        store_found *found, void *user, size_t *done);
    enum status (*account_put)(struct store *, struct account_row *);
    enum status (*key_put)(struct store *, struct key_row *);
    enum status (*identity_version)(struct store *, int64_t *version);
    enum status (*identity_bump)(struct store *, int64_t version);
    enum status (*thread_put)(struct store *, struct thread_row *);
    enum status (*subject_put)(struct store *, struct subject_row *);
    enum status (*meter_put)(struct store *, struct meter_row *);
    enum status (*reported_put)(struct store *, struct reported_row *);
    enum status (*hold_insert)(struct store *, const struct hold_row *);
    enum status (*hold_update)(struct store *, const struct hold_row *);
    enum status (*hold_delete)(struct store *, int64_t hold_id);
    enum status (*hold_orphan)(struct store *, int64_t after, struct hold_row *);
    enum status (*ledger_add)(struct store *, const struct ledger_row *);
    enum status (*refusal_add)(struct store *, const struct refusal_row *);
    enum status (*issued_put)(struct store *, const struct issued_row *);
    enum status (*issued_sweep)(struct store *, int64_t before_ms);
    enum status (*receipt_add)(struct store *, const struct receipt_row *);
    enum status (*receipt_sweep)(struct store *, int64_t before_ms);
    enum status (*thread_delete)(struct store *, const struct thread_row *);
    enum status (*subject_delete)(struct store *, const struct subject_row *);
    enum status (*meter_delete)(struct store *, const struct meter_row *);
    enum status (*threads_after)(struct store *, const struct thread_row *after,
        struct thread_row *rows, int32_t max, int32_t *count);
    enum status (*tree_members)(struct store *, const int64_t *root_ids, int32_t root_count,
        store_member *found, void *user);
    enum status (*meters_after)(
        struct store *, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count);
    enum status (*hold_oldest)(struct store *, int64_t *created_ms);
    enum status (*ledger_marks)(
        struct store *, int64_t after_id, struct ledger_mark *marks, int32_t max, int32_t *count);
    enum status (*ledger_drop)(
        struct store *, int64_t after_id, int64_t until_id, int64_t before_ms);
    enum status (*refusals_old)(struct store *, int64_t before_ms, int32_t max, int32_t *count);
    enum status (*refusals_drop)(struct store *, int64_t before_ms, int32_t max); /* the oldest, and their rows */
    /* Numbers that only grow: META_...; NOT_FOUND: it was never raised. */
    enum status (*mark)(struct store *, const char *name, int64_t *value);
    enum status (*mark_raise)(struct store *, const char *name, int64_t value); /* a lower one changes nothing */
    enum status (*outbox_add)(struct store *, const struct outbox_row *);
    enum status (*outbox_tried)(struct store *, const struct outbox_row *);
    enum status (*outbox_delete)(struct store *, int64_t id);
    enum status (*limit_def_at)(struct store *, int64_t index, struct limit_def_row *);
    enum status (*limit_def_put)(struct store *, const struct limit_def_row *);
};

struct store_reader_ops {
    enum status (*reader_open)(struct store *, struct store_reader **, struct store_error *);
    void (*reader_close)(struct store_reader *);
    enum status (*read_ledger)(
        struct store_reader *, const struct ledger_filter *, ledger_callback *, void *user);
    enum status (*read_events)(
        struct store_reader *, const struct event_filter *, ledger_callback *, void *user);
    enum status (*read_outbox)(
        struct store_reader *, const char *hook, int32_t limit, outbox_callback *, void *user);
    enum status (*read_subjects)(
        struct store_reader *, const struct subject_filter *, subject_callback *, void *user);
    enum status (*read_limit_defs)(struct store_reader *, limit_def_callback *, void *user);
    enum status (*read_threads)(
        struct store_reader *, const struct thread_filter *, thread_callback *, void *user);
    enum status (*read_accounts)(struct store_reader *, account_callback *, void *user);
    enum status (*read_keys)(struct store_reader *, int64_t account_id, key_callback *, void *user);
    enum status (*read_meters)(
        struct store_reader *, int64_t account_id, meter_callback *, void *user);
    enum status (*read_row)(struct store_reader *, const struct need *, union need_row *);
    enum status (*read_holds)(struct store_reader *, hold_callback *, void *user);
    enum status (*read_clock)(struct store_reader *, int64_t *now_ms); /* NULL: our own */
    enum status (*read_nodes)(struct store_reader *, node_callback *, void *user);
    enum status (*read_refusals)(struct store_reader *, int64_t account_id, int64_t since_ms,
        refusal_callback *, void *user);
};

#define STORE_NODE_ID            1 /* of an embedded store: one gateway, its lock is its lease */
#define LEDGER_READ_ROWS_DEFAULT 100

/* Opens "sqlite:" stores (sqlite.c), "postgresql:" ones (postgres.c) and "memory:" ones (memory.c). */
MUST_USE enum status sqlite_store_open(const char *path, const struct store_options *options,
    struct store **store, struct store_error *error);
MUST_USE enum status postgres_store_open(const char *url, const struct store_options *options,
    struct store **store, struct store_error *error);
MUST_USE enum status memory_store_open(struct store **store, struct store_error *error);

/* The key of the threads' signals, as the meta table keeps it (store.c). */
#define SIGNAL_KEY_BYTES 32
MUST_USE bool signal_key_from_hex(const char *hex, unsigned char key[SIGNAL_KEY_BYTES]);
void signal_key_make(unsigned char key[SIGNAL_KEY_BYTES], char hex[2 * SIGNAL_KEY_BYTES + 1]);

/* schema/NNN.sql, in order: script i leads from schema i to i + 1. Made at build time. */
extern const char *const store_schema_scripts[];
extern const size_t store_schema_script_count;

/* Writes a sentence for a person, cut where it does not fit, and returns `status`. */
enum status store_fail(char text[512], enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);
