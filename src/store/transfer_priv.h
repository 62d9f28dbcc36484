/* store/transfer_priv.h: what either end of a transfer can do, whatever engine it is of. */
#pragma once

#include "store/audit_priv.h"
#include "store/store_priv.h"
#include "store/transfer.h"

/* Every table but what belongs to a place: meta, node, lease. */
struct transfer_table {
    const char *name, *order; /* order: its key */
};
extern const struct transfer_table transfer_tables[];
extern const size_t transfer_table_count;
/* Read like a table; written by meta_put. */
extern const struct transfer_table transfer_meta;

/* One row, whatever table it is of: a store has numbers and texts. Borrowed during a callback. */
#define CELLS_MAX 64
struct cell {
    const char *column;
    bool is_text;
    int64_t number;
    struct slice text;
};
struct cells {
    int count;
    struct cell at[CELLS_MAX];
};
/* What is not STATUS_OK ends the reading. */
typedef enum status cells_callback(void *user, const struct cells *cells);

/* An engine puts it first in its own struct. */
struct end {
    const struct end_ops *ops;
    struct store_error error; /* what failed */
};

/* Each writes the sentence into end->error. */
struct end_ops {
    /* A source, until it is closed: no gateway starts on it, and it is one snapshot. STATUS_BUSY. */
    enum status (*hold)(struct end *);
    enum status (*read)(
        struct end *, const struct transfer_table *, cells_callback *, void *user);
    /* A target: nothing of what is written is there before the commit. STATUS_BUSY, STATUS_EXISTS. */
    enum status (*begin)(struct end *);
    enum status (*write)(struct end *, const struct transfer_table *, const struct cells *);
    enum status (*write_end)(struct end *, const struct transfer_table *); /* of a table */
    enum status (*meta_put)(struct end *, const char *name, const char *value);
    /* The epoch goes on where this one ended, and time where that was. */
    enum status (*go_on)(struct end *, int64_t epoch, int64_t high_water_ms);
    /* All is written. */
    enum status (*finish)(struct end *);
    enum status (*commit)(struct end *);
    /* Of both: */
    enum status (*count)(struct end *, const struct transfer_table *, int64_t *count);
    audit_inspect *inspect; /* its source is the end */
    void (*close)(struct end *); /* what was not committed is gone */
};

/* NULL without memory; path and URL are borrowed. */
struct end *sqlite_end(const char *path);
struct end *postgres_end(const char *url);
