/* store/columns_priv.h: what both engines that speak SQL share: the columns of a row, and a write as a
 * statement and its parameters. The lists of columns are written once, in columns.c and puts.c, beside
 * those of statements.h; an engine only carries values to and from its database. */
#pragma once

#include "rows/need.h"
#include "store/statements.h"
#include "store/store_priv.h"

#define VALUES_MAX 40 /* of one row or one statement */

/* VALUE_NONE: NULL, or of a type that no column of ours has. VALUE_BYTES: a parameter as the database takes it. */
enum value_kind { VALUE_NONE, VALUE_NUMBER, VALUE_TEXT, VALUE_BYTES };
struct value {
    enum value_kind kind;
    int64_t number;
    struct slice text; /* borrowed */
};

/* --- Columns of the current row, from left to right. */

struct columns {
    int32_t count, next;
    bool damaged; /* a column read so far has not the type, size or range it must have */
    struct value at[VALUES_MAX];
};

int64_t column_i64(struct columns *columns);
int32_t column_range(struct columns *columns, int32_t min, int32_t max);
bool column_bool(struct columns *columns);
void column_text(struct columns *columns, char *out, size_t out_size);
/* Lives as long as the row. */
struct slice column_slice(struct columns *columns);

/* The next columns as a row of rows.h; false when it is damaged. `inputs` are borrowed. */
MUST_USE bool row_account(struct columns *columns, struct account_row *row);
MUST_USE bool row_key(struct columns *columns, struct key_row *row);
MUST_USE bool row_thread(struct columns *columns, struct thread_row *row);
MUST_USE bool row_subject(struct columns *columns, struct subject_row *row);
MUST_USE bool row_meter(struct columns *columns, struct meter_row *row);
MUST_USE bool row_reported(struct columns *columns, struct reported_row *row);
MUST_USE bool row_hold(struct columns *columns, struct hold_row *row);
MUST_USE bool row_ledger(struct columns *columns, struct ledger_row *row);
MUST_USE bool row_refusal(struct columns *columns, struct refusal_row *row);
MUST_USE bool row_issued(struct columns *columns, struct issued_row *row);
MUST_USE bool row_receipt(struct columns *columns, struct receipt_row *row);
MUST_USE bool row_ledger_mark(struct columns *columns, struct ledger_mark *mark);
MUST_USE bool row_tree_member(struct columns *columns, struct tree_member *member);
MUST_USE bool row_meter_mark(struct columns *columns, struct meter_mark *mark);
MUST_USE bool row_time(struct columns *columns, int64_t *at_ms);
MUST_USE bool row_outbox(struct columns *columns, struct outbox_row *row); /* its body is borrowed */
MUST_USE bool row_limit_def(struct columns *columns, struct limit_def_row *row);
MUST_USE bool row_node(struct columns *columns, struct node_row *row);
/* The row that such a need asks for. */
MUST_USE bool row_needed(struct columns *columns, enum need_kind kind, union need_row *row);

/* --- Parameters, in the order of a statement's $1, $2, ... */

struct params {
    int32_t count;
    struct value at[VALUES_MAX];
};

static inline void
param_i64(struct params *params, int64_t value)
{
    check(params->count < VALUES_MAX);
    struct value *at = &params->at[params->count++];
    at->kind = VALUE_NUMBER;
    at->number = value;
}

static inline void
param_slice(struct params *params, struct slice text)
{
    check(params->count < VALUES_MAX);
    struct value *at = &params->at[params->count++];
    at->kind = VALUE_TEXT;
    at->text = text;
}

static inline void
param_text(struct params *params, const char *text)
{
    param_slice(params, slice_str(text));
}

/* One write. Its texts are the row's and those of the buffers given. */
struct put {
    enum statement_id statement;
    enum status none;  /* what it means that no row was written; STATUS_OK: nothing */
    const char *table; /* for a person, with the row's id */
    int64_t id;
    struct params params;
};

/* A version of 0 inserts, another one updates. */
void put_account(struct put *put, const struct account_row *row);
void put_key(struct put *put, const struct key_row *row);
void put_thread(struct put *put, const struct thread_row *row);
/* False: no memory to pack it. The buffers live until the write is done. */
MUST_USE bool put_subject(struct put *put, const struct subject_row *row, struct buf *sets);
MUST_USE bool put_meter(struct put *put, const struct meter_row *row, struct buf *packed);
MUST_USE bool put_reported(struct put *put, const struct reported_row *row, struct buf *packed);
MUST_USE bool put_hold_insert(
    struct put *put, const struct hold_row *row, struct buf *parts, struct buf *attempts);
MUST_USE bool put_hold_update(
    struct put *put, const struct hold_row *row, struct buf *parts, struct buf *attempts);
void put_hold_delete(struct put *put, int64_t hold_id);
void put_ledger(struct put *put, const struct ledger_row *row);
void put_refusal(struct put *put, const struct refusal_row *row);
void put_issued(struct put *put, const struct issued_row *row);
void put_issued_sweep(struct put *put, int64_t before_ms);
void put_receipt(struct put *put, const struct receipt_row *row);
void put_receipt_sweep(struct put *put, int64_t before_ms);
void put_thread_delete(struct put *put, const struct thread_row *row);
void put_subject_delete(struct put *put, const struct subject_row *row);
void put_meter_delete(struct put *put, const struct meter_row *row);
void put_ledger_drop(struct put *put, int64_t after_id, int64_t until_id, int64_t before_ms);
void put_refusal_rows_drop(struct put *put, int64_t before_ms, int32_t max);
void put_refusals_drop(struct put *put, int64_t before_ms, int32_t max);
void put_outbox(struct put *put, const struct outbox_row *row);
void put_outbox_tried(struct put *put, const struct outbox_row *row);
void put_outbox_delete(struct put *put, int64_t id);
/* First those whose place it takes are removed. */
void put_limit_def_clear(struct put *put, const struct limit_def_row *row);
void put_limit_def(struct put *put, const struct limit_def_row *row);
void put_node(struct put *put, const struct node_row *row);
void put_meta(struct put *put, const char *name, const char *value);
void put_meta_raise(struct put *put, const char *name, const char *value); /* PostgreSQL's: to a higher number */

/* How a row is asked for that `need` names. */
enum statement_id need_statement(const struct need *need, struct params *params);
/* The table of such rows, for a person. */
const char *need_table(enum need_kind kind);

/* Why a write that wrote no row did not: `none` of its put. */
const char *none_text(enum status none);
