/* store/postgres_read.c: the reader door. A reader has its own connection, which may only read; each
 * statement is one snapshot. Rows come one by one, so that a long answer is never in memory whole. */
#include "store/postgres_priv.h"

#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/ledger_read.h"

struct postgres_reader {
    struct store_reader base; /* first */
    struct postgres_store *store;
    struct postgres_db db;
    struct store_costs costs;
};

static struct postgres_reader *
reader_of(struct store_reader *reader)
{
    return (struct postgres_reader *)(void *)reader;
}

static enum status
reader_open(struct store *store, struct store_reader **out, struct store_error *error)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct postgres_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        return store_fail(error->text, STATUS_FULL, "no memory for a reader of the store");
    }
    reader->store = postgres;
    reader->base.ops = &postgres_reader_ops;
    reader->db.place = &postgres->place;
    reader->db.costs = &reader->costs;
    reader->db.error_text = reader->base.last_error;
    reader->db.options = (struct link_options){ .statement_ms = postgres->read_max_ms,
        .lock_ms = postgres->read_max_ms,
        .wait_ms = postgres->read_max_ms,
        .full_sync = true,
        .read_only = true,
        .any_server = postgres->options.read_only };
    const enum status status = link_connect(&reader->db);
    if (status != STATUS_OK) {
        (void)store_fail(error->text, status, "%s", reader->base.last_error);
        free(reader);
        return status;
    }
    atomic_fetch_add(&postgres->reader_count, 1);
    *out = &reader->base;
    return STATUS_OK;
}

static void
reader_close(struct store_reader *base)
{
    struct postgres_reader *reader = reader_of(base);
    atomic_fetch_sub(&reader->store->reader_count, 1);
    pg_close(&reader->db);
    free(reader);
}

/* --- One read: start, then next until it is false, then finish. */

struct read {
    struct postgres_reader *reader;
    int64_t deadline_mono_ms;
    PGresult *result; /* one row */
    struct columns *columns;
    enum status status;
    bool ended; /* the server has told all */
};

#define STALE_READS_MAX 4 /* a farewell, and the end behind it */

/* A server that went away while nobody read has closed the connection: the next read is made on a new one. */
static void
drop_if_stale(struct postgres_db *db)
{
    for (int i = 0; db->conn && i < STALE_READS_MAX; i++) {
        struct pollfd unasked = { .fd = PQsocket(db->conn), .events = POLLIN };
        if (poll(&unasked, 1, 0) <= 0) {
            return;
        }
        if (!PQconsumeInput(db->conn) || PQstatus(db->conn) != CONNECTION_OK) {
            link_drop(db);
        }
    }
}

static struct read
read_start(struct store_reader *base, enum statement_id id, const struct params *params)
{
    struct postgres_reader *reader = reader_of(base);
    struct read read = { .reader = reader,
        .deadline_mono_ms = clock_mono_ms() + reader->store->read_max_ms };
    drop_if_stale(&reader->db);
    if (!reader->db.conn) {
        read.status = link_connect(&reader->db);
    }
    if (read.status == STATUS_OK) {
        read.status = pg_ask_rows(&reader->db, id, params);
    }
    read.ended = read.status != STATUS_OK;
    return read;
}

static enum status
read_late(struct read *read)
{
    return store_fail(read->reader->base.last_error, STATUS_IO,
        "%s failed: a read took longer than allowed", read->reader->store->place.text);
}

/* NOT_FOUND: no more. */
static enum status
take_row(struct read *read)
{
    struct postgres_db *db = &read->reader->db;
    const enum status status = link_wait(db, read->deadline_mono_ms);
    if (status != STATUS_OK) {
        read->ended = true;
        return status;
    }
    read->result = PQgetResult(db->conn);
    switch (PQresultStatus(read->result)) {
    case PGRES_SINGLE_TUPLE: read->columns = pg_columns(db, read->result, 0); return STATUS_OK;
    case PGRES_TUPLES_OK: read->ended = true; return STATUS_NOT_FOUND;
    default: read->ended = true; break;
    }
    const char *state = PQresultErrorField(read->result, PG_DIAG_SQLSTATE);
    return fault_tell(db, read->result, fault_of_state(state ? state : "08006"));
}

static bool
read_next(struct read *read)
{
    PQclear(read->result);
    read->result = NULL;
    if (read->status == STATUS_OK && clock_mono_ms() > read->deadline_mono_ms) {
        read->status = read_late(read); /* the callbacks took the time */
    }
    if (read->status == STATUS_OK) {
        read->status = take_row(read);
    }
    return read->status == STATUS_OK;
}

/* After a row: it was damaged, or the callback wants no more. */
static void
read_damaged(struct read *read, const char *table, int64_t id)
{
    read->status = pg_damaged_row(&read->reader->db, table, id);
}

static void
read_stop(struct read *read)
{
    read->status = STATUS_NOT_FOUND;
}

/* What is left of an answer that nobody wants: the server is told to stop. */
static void
read_cancel(struct read *read)
{
    struct postgres_db *db = &read->reader->db;
    char unheard[256];
    PGcancel *cancel = db->conn ? PQgetCancel(db->conn) : NULL;
    if (cancel) {
        (void)PQcancel(cancel, unheard, sizeof(unheard)); /* in vain: the rest is read */
        PQfreeCancel(cancel);
    }
}

/* Up to the answer's end, behind which the connection is free again. */
static void
read_rest(struct read *read)
{
    struct postgres_db *db = &read->reader->db;
    const int64_t deadline_mono_ms = clock_mono_ms() + db->options.wait_ms;
    char kept[512];
    memcpy(kept, db->error_text, sizeof(kept));
    while (db->conn && link_wait(db, deadline_mono_ms) == STATUS_OK) {
        PGresult *result = PQgetResult(db->conn);
        if (!result) {
            break;
        }
        PQclear(result);
    }
    memcpy(db->error_text, kept, sizeof(kept));
}

static enum status
read_finish(struct read *read)
{
    struct postgres_db *db = &read->reader->db;
    PQclear(read->result);
    if (!read->ended) {
        read_cancel(read);
    }
    read_rest(read);
    if (db->conn && PQstatus(db->conn) != CONNECTION_OK) {
        link_drop(db);
    }
    return read->status == STATUS_NOT_FOUND ? STATUS_OK : read->status;
}

/* --- The reads. */

static void
filter_params(struct params *params, const struct ledger_filter *filter)
{
    params->count = 0;
    param_i64(params, filter->before_id > 0 ? filter->before_id - 1 : INT64_MAX);
    param_i64(params,
        filter->id); /* a hold's rows have greater ids than the hold, but for those of others */
    param_i64(params, filter->account_id);
    param_i64(params, filter->key_id);
    param_i64(params, filter->thread_id);
    param_i64(params, filter->since_ms);
    param_i64(params, filter->until_ms > 0 ? filter->until_ms : INT64_MAX);
    param_i64(params, filter->kind);
    param_text(params, filter->model);
    param_i64(params, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
}

/* The parameters of a read of one account, or of all. */
static struct params
account_params(int64_t account_id)
{
    struct params params = { .count = 0 };
    if (account_id != 0) {
        param_i64(&params, account_id);
    }
    return params;
}

/* *left counts down; 0: the callback wants no more, or has had as many as it asked for. */
static enum status
read_ledger_by(struct store_reader *reader, enum statement_id statement,
    const struct ledger_filter *filter, int32_t *left, ledger_callback *callback, void *user)
{
    struct params params;
    filter_params(&params, filter);
    struct read read = read_start(reader, statement, &params);
    struct ledger_row row;
    while (read_next(&read)) {
        if (!row_ledger(read.columns, &row)) {
            read_damaged(&read, "ledger", row.id);
            continue;
        }
        --*left;
        if (!callback(user, &row)) {
            *left = 0;
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_ledger(struct store_reader *reader, const struct ledger_filter *filter,
    ledger_callback *callback, void *user)
{
    return ledger_read(reader, filter, read_ledger_by, callback, user);
}

static enum status
read_events(struct store_reader *reader, const struct event_filter *filter,
    ledger_callback *callback, void *user)
{
    struct params params = { .count = 0 };
    param_i64(&params, filter->before_id > 0 ? filter->before_id : INT64_MAX);
    param_i64(&params, filter->after_id);
    param_i64(&params, filter->account_id);
    param_i64(&params, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
    struct read read = read_start(
        reader, filter->oldest_first ? STATEMENT_READ_EVENTS_UP : STATEMENT_READ_EVENTS, &params);
    struct ledger_row row;
    while (read_next(&read)) {
        if (!row_ledger(read.columns, &row)) {
            read_damaged(&read, "ledger", row.id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_outbox(struct store_reader *reader, const char *hook, int32_t limit, outbox_callback *callback,
    void *user)
{
    struct params params = { .count = 0 };
    param_text(&params, hook);
    param_i64(&params, limit);
    struct read read = read_start(reader, STATEMENT_READ_OUTBOX, &params);
    struct outbox_row row;
    while (read_next(&read)) {
        if (!row_outbox(read.columns, &row)) {
            read_damaged(&read, "outbox", row.id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_accounts(struct store_reader *reader, account_callback *callback, void *user)
{
    const struct params params = { .count = 0 };
    struct read read = read_start(reader, STATEMENT_READ_ACCOUNTS, &params);
    struct account_row row;
    while (read_next(&read)) {
        if (!row_account(read.columns, &row)) {
            read_damaged(&read, "account", row.account_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_keys(struct store_reader *reader, int64_t account_id, key_callback *callback, void *user)
{
    const struct params params = account_params(account_id);
    struct read read =
        read_start(reader, account_id == 0 ? STATEMENT_READ_KEYS : STATEMENT_READ_KEYS_OF, &params);
    struct key_row row;
    while (read_next(&read)) {
        if (!row_key(read.columns, &row)) {
            read_damaged(&read, "key", row.key_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_meters(struct store_reader *reader, int64_t account_id, meter_callback *callback, void *user)
{
    const struct params params = account_params(account_id);
    struct read read = read_start(
        reader, account_id == 0 ? STATEMENT_READ_METERS : STATEMENT_READ_METERS_OF, &params);
    struct subject_row subject;
    struct meter_row meters;
    while (read_next(&read)) {
        if (!row_subject(read.columns, &subject)) {
            read_damaged(&read, "subject", subject.subject_id);
        } else if (!row_meter(read.columns, &meters)) {
            read_damaged(&read, "meter", subject.subject_id);
        } else if (!callback(user, &subject, &meters)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_subjects(struct store_reader *reader, const struct subject_filter *filter,
    subject_callback *callback, void *user)
{
    struct params params = { .count = 0 };
    param_i64(&params, filter->with_caps ? (int64_t)filter->kind : filter->account_id);
    struct read read = read_start(reader,
        filter->with_caps ? STATEMENT_READ_SUBJECTS_WITH_CAPS : STATEMENT_READ_SUBJECTS_OF,
        &params);
    struct subject_row row;
    while (read_next(&read)) {
        if (!row_subject(read.columns, &row)) {
            read_damaged(&read, "subject", row.subject_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_limit_defs(struct store_reader *reader, limit_def_callback *callback, void *user)
{
    struct params params = { .count = 0 };
    struct read read = read_start(reader, STATEMENT_READ_ALL_LIMIT_DEFS, &params);
    struct limit_def_row row;
    while (read_next(&read)) {
        if (!row_limit_def(read.columns, &row)) {
            read_damaged(&read, "limit_def", row.def_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_threads(struct store_reader *reader, const struct thread_filter *filter,
    thread_callback *callback, void *user)
{
    struct params params = account_params(filter->account_id);
    param_i64(&params, filter->before_id > 0 ? filter->before_id : INT64_MAX);
    param_i64(&params, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
    struct read read = read_start(
        reader, filter->account_id ? STATEMENT_READ_THREADS_OF : STATEMENT_READ_THREADS, &params);
    struct thread_row row;
    while (read_next(&read)) {
        if (!row_thread(read.columns, &row)) {
            read_damaged(&read, "thread", row.thread_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_holds(struct store_reader *reader, hold_callback *callback, void *user)
{
    const struct params params = { .count = 0 };
    struct read read = read_start(reader, STATEMENT_READ_HOLDS, &params);
    struct hold_row row;
    while (read_next(&read)) {
        if (!row_hold(read.columns, &row)) {
            read_damaged(&read, "hold", row.hold_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_nodes(struct store_reader *reader, node_callback *callback, void *user)
{
    const struct params params = { .count = 0 };
    struct read read = read_start(reader, STATEMENT_READ_NODES, &params);
    struct node_row row;
    while (read_next(&read)) {
        if (!row_node(read.columns, &row)) {
            read_damaged(&read, "node", row.node_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_refusals(struct store_reader *reader, int64_t account_id, int64_t since_ms,
    refusal_callback *callback, void *user)
{
    struct params params = account_params(account_id);
    param_i64(&params, since_ms);
    struct read read = read_start(
        reader, account_id == 0 ? STATEMENT_READ_REFUSALS : STATEMENT_READ_REFUSALS_OF, &params);
    struct refusal_row row;
    while (read_next(&read)) {
        if (!row_refusal(read.columns, &row)) {
            read_damaged(&read, "refusal", row.ledger_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_clock(struct store_reader *reader, int64_t *now_ms)
{
    const struct params params = { .count = 0 };
    struct read read = read_start(reader, STATEMENT_PG_CLOCK, &params);
    while (read_next(&read)) {
        *now_ms = column_i64(read.columns);
    }
    return read_finish(&read);
}

static enum status
read_row(struct store_reader *reader, const struct need *need, union need_row *row)
{
    struct params params;
    const enum statement_id statement = need_statement(need, &params);
    struct read read = read_start(reader, statement, &params);
    bool found = false;
    while (read_next(&read)) {
        found = row_needed(read.columns, need->kind, row);
        if (!found) {
            read_damaged(&read, need_table(need->kind), need->id);
        }
    }
    const enum status status = read_finish(&read);
    return status == STATUS_OK && !found ? STATUS_NOT_FOUND : status;
}

const struct store_reader_ops postgres_reader_ops = {
    .reader_open = reader_open,
    .reader_close = reader_close,
    .read_ledger = read_ledger,
    .read_events = read_events,
    .read_outbox = read_outbox,
    .read_subjects = read_subjects,
    .read_limit_defs = read_limit_defs,
    .read_threads = read_threads,
    .read_accounts = read_accounts,
    .read_keys = read_keys,
    .read_meters = read_meters,
    .read_row = read_row,
    .read_holds = read_holds,
    .read_clock = read_clock,
    .read_nodes = read_nodes,
    .read_refusals = read_refusals,
};
