/* store/sqlite_read.c: the reader door. A reader has its own read-only connection; each statement is
 * one snapshot, which ends with it or with its time: a snapshot that is held long
 * keeps the log from starting anew. */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/ledger_read.h"

#define STEPS_PER_LOOK 10000 /* of SQLite's machine, between two looks at the clock: about 1 ms */

struct sqlite_reader {
    struct store_reader base; /* first */
    struct sqlite_store *store;
    struct sqlite_db db;
    int64_t deadline_mono_ms;
};

static struct sqlite_reader *
reader_of(struct store_reader *reader)
{
    return (struct sqlite_reader *)(void *)reader;
}

static int
is_late(void *user)
{
    const struct sqlite_reader *reader = user;
    return clock_mono_ms() > reader->deadline_mono_ms;
}

static enum status
reader_open(struct store *store, struct store_reader **out, struct store_error *error)
{
    struct sqlite_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        return store_fail(error->text, STATUS_FULL, "no memory for a reader of the store");
    }
    const struct store_options options = { .read_only = true };
    reader->store = sqlite_store_of(store);
    reader->base.ops = &sqlite_reader_ops;
    const enum status status = sqlite_connect(
        &reader->db, reader->store->path, SQLITE_OPEN_READONLY, &options, reader->base.last_error);
    if (status != STATUS_OK) {
        (void)store_fail(error->text, status, "%s", reader->base.last_error);
        free(reader);
        return status;
    }
    sqlite3_progress_handler(reader->db.handle, STEPS_PER_LOOK, is_late, reader);
    atomic_fetch_add(&reader->store->reader_count, 1);
    *out = &reader->base;
    return STATUS_OK;
}

static void
reader_close(struct store_reader *base)
{
    struct sqlite_reader *reader = reader_of(base);
    db_close(&reader->db);
    atomic_fetch_sub(&reader->store->reader_count, 1);
    free(reader);
}

/* --- One read: start, then next until it is false, then finish. */

struct read {
    struct sqlite_reader *reader;
    struct query query;
    enum status status;
};

static struct read
read_start(struct store_reader *base, enum statement_id id)
{
    struct sqlite_reader *reader = reader_of(base);
    reader->deadline_mono_ms = clock_mono_ms() + reader->store->read_max_ms;
    return (struct read){ .reader = reader, .query = query_start(&reader->db, id) };
}

static bool
read_next(struct read *read)
{
    if (read->status == STATUS_OK && is_late(read->reader)) { /* the callbacks took the time */
        read->status = db_status(&read->reader->db, SQLITE_INTERRUPT);
    }
    if (read->status == STATUS_OK) {
        read->status = query_next(&read->query);
    }
    return read->status == STATUS_OK;
}

/* After a row: it was damaged, or the callback wants no more. */
static void
read_damaged(struct read *read, const char *table, int64_t id)
{
    read->status = db_damaged(&read->reader->db, table, id);
}

static void
read_stop(struct read *read)
{
    read->status = STATUS_NOT_FOUND;
}

static enum status
read_finish(struct read *read)
{
    query_end(&read->query);
    return read->status == STATUS_NOT_FOUND ? STATUS_OK : read->status;
}

/* --- The reads. */

static void
bind_filter(struct query *query, const struct ledger_filter *filter)
{
    query_i64(query, filter->before_id > 0 ? filter->before_id - 1 : INT64_MAX);
    query_i64(query,
        filter->id); /* a hold's rows have greater ids than the hold, but for those of others */
    query_i64(query, filter->account_id);
    query_i64(query, filter->key_id);
    query_i64(query, filter->thread_id);
    query_i64(query, filter->since_ms);
    query_i64(query, filter->until_ms > 0 ? filter->until_ms : INT64_MAX);
    query_i64(query, filter->kind);
    query_text(query, filter->model);
    query_i64(query, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
}

/* *left counts down; 0: the callback wants no more, or has had as many as it asked for. */
static enum status
read_ledger_by(struct store_reader *reader, enum statement_id statement,
    const struct ledger_filter *filter, int32_t *left, ledger_callback *callback, void *user)
{
    struct read read = read_start(reader, statement);
    bind_filter(&read.query, filter);
    struct ledger_row row;
    while (read_next(&read)) {
        if (!row_ledger(read.query.columns, &row)) {
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
    struct read read =
        read_start(reader, filter->oldest_first ? STATEMENT_READ_EVENTS_UP : STATEMENT_READ_EVENTS);
    query_i64(&read.query, filter->before_id > 0 ? filter->before_id : INT64_MAX);
    query_i64(&read.query, filter->after_id);
    query_i64(&read.query, filter->account_id);
    query_i64(&read.query, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
    struct ledger_row row;
    while (read_next(&read)) {
        if (!row_ledger(read.query.columns, &row)) {
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
    struct read read = read_start(reader, STATEMENT_READ_OUTBOX);
    query_text(&read.query, hook);
    query_i64(&read.query, limit);
    struct outbox_row row;
    while (read_next(&read)) {
        if (!row_outbox(read.query.columns, &row)) {
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
    struct read read = read_start(reader, STATEMENT_READ_ACCOUNTS);
    struct account_row row;
    while (read_next(&read)) {
        if (!row_account(read.query.columns, &row)) {
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
    const bool all = account_id == 0;
    struct read read = read_start(reader, all ? STATEMENT_READ_KEYS : STATEMENT_READ_KEYS_OF);
    if (!all) {
        query_i64(&read.query, account_id);
    }
    struct key_row row;
    while (read_next(&read)) {
        if (!row_key(read.query.columns, &row)) {
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
    const bool all = account_id == 0;
    struct read read = read_start(reader, all ? STATEMENT_READ_METERS : STATEMENT_READ_METERS_OF);
    if (!all) {
        query_i64(&read.query, account_id);
    }
    struct subject_row subject;
    struct meter_row meters;
    while (read_next(&read)) {
        if (!row_subject(read.query.columns, &subject)) {
            read_damaged(&read, "subject", subject.subject_id);
        } else if (!row_meter(read.query.columns, &meters)) {
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
    struct read read = read_start(
        reader, filter->with_caps ? STATEMENT_READ_SUBJECTS_WITH_CAPS : STATEMENT_READ_SUBJECTS_OF);
    query_i64(&read.query, filter->with_caps ? (int64_t)filter->kind : filter->account_id);
    struct subject_row row;
    while (read_next(&read)) {
        if (!row_subject(read.query.columns, &row)) {
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
    struct read read = read_start(reader, STATEMENT_READ_ALL_LIMIT_DEFS);
    struct limit_def_row row;
    while (read_next(&read)) {
        if (!row_limit_def(read.query.columns, &row)) {
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
    struct read read =
        read_start(reader, filter->account_id ? STATEMENT_READ_THREADS_OF : STATEMENT_READ_THREADS);
    if (filter->account_id) {
        query_i64(&read.query, filter->account_id);
    }
    query_i64(&read.query, filter->before_id > 0 ? filter->before_id : INT64_MAX);
    query_i64(&read.query, filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT);
    struct thread_row row;
    while (read_next(&read)) {
        if (!row_thread(read.query.columns, &row)) {
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
    struct read read = read_start(reader, STATEMENT_READ_HOLDS);
    struct hold_row row;
    while (read_next(&read)) {
        if (!row_hold(read.query.columns, &row)) {
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
    struct read read = read_start(reader, STATEMENT_READ_NODES);
    struct node_row row;
    while (read_next(&read)) {
        if (!row_node(read.query.columns, &row)) {
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
    const bool all = account_id == 0;
    struct read read =
        read_start(reader, all ? STATEMENT_READ_REFUSALS : STATEMENT_READ_REFUSALS_OF);
    if (!all) {
        query_i64(&read.query, account_id);
    }
    query_i64(&read.query, since_ms);
    struct refusal_row row;
    while (read_next(&read)) {
        if (!row_refusal(read.query.columns, &row)) {
            read_damaged(&read, "refusal", row.ledger_id);
        } else if (!callback(user, &row)) {
            read_stop(&read);
        }
    }
    return read_finish(&read);
}

static enum status
read_row(struct store_reader *reader, const struct need *need, union need_row *row)
{
    struct params params;
    struct read read = read_start(reader, need_statement(need, &params));
    bool found = false;
    query_bind(&read.query, &params);
    while (read_next(&read)) {
        found = row_needed(read.query.columns, need->kind, row);
        if (!found) {
            read_damaged(&read, need_table(need->kind), need->id);
        }
    }
    const enum status status = read_finish(&read);
    return status == STATUS_OK && !found ? STATUS_NOT_FOUND : status;
}

const struct store_reader_ops sqlite_reader_ops = {
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
    .read_nodes = read_nodes,
    .read_refusals = read_refusals,
};
