/* store/sqlite_db.c: one connection to SQLite. */
#include "store/sqlite_priv.h"

static const char *const statement_sql[] = {
#define STATEMENT_SQL(name, sql) [STATEMENT_##name] = sql,
    STATEMENTS(STATEMENT_SQL) SQLITE_STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};
_Static_assert(countof(statement_sql) == STATEMENT_SQLITE_COUNT, "a text each");

/* --- The connection. */

enum status
db_open(struct sqlite_db *db, const char *path, int open_flags, char *error_text)
{
    *db = (struct sqlite_db){ 0 };
    db->error_text = error_text;
    /* NOMUTEX: a connection belongs to one thread. */
    const int code = sqlite3_open_v2(
        path, &db->handle, open_flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) {
        const enum status status = db_status(db, code);
        db_close(db);
        return status;
    }
    return STATUS_OK;
}

void
db_close(struct sqlite_db *db)
{
    for (size_t i = 0; i < STATEMENT_SQLITE_COUNT; i++) {
        (void)sqlite3_finalize(db->statements[i]); /* repeats what its last run returned */
        db->statements[i] = NULL;
    }
    check(sqlite3_close(db->handle) == SQLITE_OK); /* anything else: a statement was left open */
    db->handle = NULL;
    db->gather = NULL; /* gone with its file */
}

enum status
db_exec(struct sqlite_db *db, const char *sql)
{
    return db_status(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/* --- Errors. */

struct fault {
    enum status status;
    const char *advice;
};

static struct fault
fault_of(int code)
{
    switch (code) { /* the extended codes that differ from their class */
    case SQLITE_BUSY_SNAPSHOT:
        return (struct fault){ STATUS_CONFLICT, "the transaction is to be run again" };
    case SQLITE_IOERR_NOMEM: return (struct fault){ STATUS_FULL, "free some memory" };
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: return (struct fault){ STATUS_EXISTS, "it is there already" };
    default: break;
    }
    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return (struct fault){ STATUS_BUSY, "another program writes to the store; stop it" };
    case SQLITE_NOMEM: return (struct fault){ STATUS_FULL, "free some memory" };
    case SQLITE_FULL: return (struct fault){ STATUS_IO, "free some space on its disk" };
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return (struct fault){ STATUS_IO, "check that the file and its folder may be written to" };
    case SQLITE_INTERRUPT: return (struct fault){ STATUS_IO, "it took longer than allowed" };
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return (struct fault){ STATUS_INVALID, "this is not a Tidegate store" };
    case SQLITE_CORRUPT:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_ERROR: /* our statements are right, so a table or column is missing */
    case SQLITE_SCHEMA:
        return (struct fault){ STATUS_INVALID,
            "the store is damaged; `tidegate check --store` tells what is wrong with it, `tidegate "
            "restore` puts a backup in its place" };
    default: return (struct fault){ STATUS_IO, "check the disk that it is on" };
    }
}

enum status
db_status(struct sqlite_db *db, int code)
{
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) {
        return STATUS_OK;
    }
    check(
        (code & 0xFF) != SQLITE_MISUSE && (code & 0xFF) != SQLITE_RANGE); /* ours, not the data's */
    const struct fault fault = fault_of(code);
    const bool own = db->handle && sqlite3_extended_errcode(db->handle) == code;
    return store_fail(db->error_text, fault.status, "the store failed: %s (SQLite code %d): %s",
        own ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code), code, fault.advice);
}

enum status
db_damaged(struct sqlite_db *db, const char *table, int64_t id)
{
    return store_fail(db->error_text, STATUS_INVALID,
        "the store is damaged: table %s, row %lld makes no sense; `tidegate check --store` tells what "
        "else is, and `tidegate restore --force FILE` can restore a backup",
        table, (long long)id);
}

/* --- Queries. */

struct query
query_start(struct sqlite_db *db, enum statement_id id)
{
    struct query query = { .db = db, .columns = &db->columns, .status = STATUS_OK };
    if (!db->statements[id]) {
        query.status = db_status(db, sqlite3_prepare_v3(db->handle, statement_sql[id], -1,
                                         SQLITE_PREPARE_PERSISTENT, &db->statements[id], NULL));
    }
    query.statement = db->statements[id];
    return query;
}

void
query_i64(struct query *query, int64_t value)
{
    if (query->status == STATUS_OK) {
        const int code = sqlite3_bind_int64(query->statement, ++query->bound_count, value);
        query->status = code == SQLITE_OK ? STATUS_OK : db_status(query->db, code);
    }
}

void
query_slice(struct query *query, struct slice text)
{
    if (query->status == STATUS_OK) {
        const int code = sqlite3_bind_text64(query->statement, ++query->bound_count,
            text.len > 0 ? text.ptr : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
        query->status = code == SQLITE_OK ? STATUS_OK : db_status(query->db, code);
    }
}

void
query_text(struct query *query, const char *text)
{
    query_slice(query, slice_str(text));
}

void
query_bind(struct query *query, const struct params *params)
{
    for (int32_t i = 0; i < params->count; i++) {
        if (params->at[i].kind == VALUE_NUMBER) {
            query_i64(query, params->at[i].number);
        } else {
            query_slice(query, params->at[i].text);
        }
    }
}

static struct value
value_at(sqlite3_stmt *statement, int column)
{
    struct value value = { .kind = VALUE_NONE };
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value.kind = VALUE_NUMBER;
        value.number = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_TEXT:
        value.text.ptr = (const char *)sqlite3_column_text(statement, column);
        value.text.len = (size_t)sqlite3_column_bytes(statement, column);
        /* no memory: not the data's fault, yet the row cannot be read */
        value.kind = value.text.ptr ? VALUE_TEXT : VALUE_NONE;
        break;
    default: break;
    }
    return value;
}

static void
read_columns(sqlite3_stmt *statement, struct columns *columns)
{
    columns->next = 0;
    columns->damaged = false;
    columns->count = sqlite3_data_count(statement);
    check(columns->count <= VALUES_MAX);
    for (int column = 0; column < columns->count; column++) {
        columns->at[column] = value_at(statement, column);
    }
}

enum status
query_next(struct query *query)
{
    if (query->status != STATUS_OK) {
        return query->status;
    }
    const int code = sqlite3_step(query->statement);
    if (code == SQLITE_DONE) {
        return STATUS_NOT_FOUND;
    }
    query->status = db_status(query->db, code);
    if (query->status == STATUS_OK) {
        read_columns(query->statement, query->columns);
    }
    return query->status;
}

void
query_end(struct query *query)
{
    (void)sqlite3_reset(query->statement); /* repeats what the last step returned */
}

enum status
query_run(struct query *query, int64_t *changed_count)
{
    enum status status = query_next(query);
    check(status != STATUS_OK); /* a row: the statement is not of this kind */
    if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
        *changed_count = sqlite3_changes64(query->db->handle);
    }
    query_end(query);
    return status;
}

enum status
query_write(struct query *query, enum status none, const char *table, int64_t id)
{
    int64_t changed_count = 0;
    const enum status status = query_run(query, &changed_count);
    if (status != STATUS_OK || changed_count == 1 || none == STATUS_OK) {
        return status;
    }
    return store_fail(query->db->error_text, none, "table %s, row %lld: %s", table, (long long)id,
        none_text(none));
}

enum status
query_finish(
    struct query *query, enum status status, bool intact, const char *table, const int64_t *id)
{
    if (!intact) {
        status = db_damaged(query->db, table, *id);
    }
    query_end(query);
    return status;
}
