/* store/inspect_priv.h: all rows of a store, one after the other, for the audit.
 *
 * Read beside gateways that may run, through a connection that cannot write. In a file what is small is
 * read in one snapshot; the ledger after it in pages, up to the row that was the newest then: it is
 * append-only, so that is the same snapshot without keeping the log from starting anew. A row that
 * cannot be read is told and passed by. */
#pragma once

#include "store/statements.h"
#include "store/store.h"

struct inspected {
    int64_t schema_version, bytes;
    int64_t epoch;         /* the last one handed out */
    int64_t high_water_ms; /* of nodes whose row is gone; 0 = none is */
    int64_t kept_from_ms;  /* before it rows of calls may be missing; 0 = none are. Known at the end: they may
                            * be deleted while this reads */
};

struct inspector {
    void *user;
    /* Something is not as it was written; a sentence. */
    void (*damage)(void *user, const char *what);
    /* False: stop (STATUS_CLOSED). `total` 0: not known. */
    bool (*progress)(void *user, const char *doing, int64_t done, int64_t total);
    void (*own)(void *user, const struct inspected *own); /* before all others */
    void (*node)(void *user, const struct node_row *row);
    void (*limit_def)(void *user, const struct limit_def_row *row);
    void (*account)(void *user, const struct account_row *row);
    void (*key)(void *user, const struct key_row *row);
    void (*thread)(void *user, const struct thread_row *row);
    void (*subject)(void *user, const struct subject_row *row);
    void (*meter)(void *user, const struct meter_row *row);
    void (*reported)(void *user, const struct reported_row *row);
    void (*hold)(void *user, const struct hold_row *row);
    void (*ledger)(void *user, const struct ledger_row *row); /* after all others */
};

/* --- inspect.c: what is told, whatever engine reads it. */

struct columns;
enum inspect_table_id {
    INSPECT_NODES,
    INSPECT_LIMIT_DEFS,
    INSPECT_ACCOUNTS,
    INSPECT_KEYS,
    INSPECT_THREADS,
    INSPECT_SUBJECTS,
    INSPECT_METERS,
    INSPECT_REPORTED,
    INSPECT_HOLDS,
    INSPECT_REFUSALS,
    INSPECT_ISSUED,
    INSPECT_RECEIPTS,
    INSPECT_OUTBOX,
    INSPECT_LEDGER, /* after all others */
    INSPECT_TABLE_COUNT
};
struct inspect_table {
    enum statement_id statement; /* that of the ledger wants: above, up to, at most */
    const char *name;
};
extern const struct inspect_table inspect_tables[INSPECT_TABLE_COUNT];
/* Tells of the current row, or that it makes no sense; gives its number, or 0. */
int64_t inspect_row(
    const struct inspector *to, enum inspect_table_id table, struct columns *columns);

/* --- The engines'. */

/* STATUS_INVALID: it cannot be read as a store at all; what is wrong with single rows is told to
 * the inspector. STATUS_NOT_FOUND, STATUS_NEWER and STATUS_IO: nothing can be said of it. */
MUST_USE enum status sqlite_inspect(const char *path, const struct inspector *inspector,
    struct inspected *inspected, struct store_error *error);
/* The same of a database; all of it is one snapshot. */
MUST_USE enum status postgres_inspect(const char *url, const struct inspector *inspector,
    struct inspected *inspected, struct store_error *error);
