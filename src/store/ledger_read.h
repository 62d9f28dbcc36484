/* store/ledger_read.h: what both SQL engines do with a filter of the ledger. */
#pragma once

#include "store/statements.h"
#include "store/store_priv.h"

/* One statement's rows; *left counts down with each, and is 0 once the caller wants no more. */
typedef enum status ledger_statement(struct store_reader *reader, enum statement_id statement,
    const struct ledger_filter *filter, int32_t *left, ledger_callback *callback, void *user);

/* Up to filter->limit rows, newest first; of one call (filter->id) in two statements, so in two snapshots. */
MUST_USE enum status ledger_read(struct store_reader *reader, const struct ledger_filter *filter,
    ledger_statement *read_by, ledger_callback *callback, void *user);
