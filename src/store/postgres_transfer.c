/* store/postgres_transfer.c: a database as one end of a transfer. Either end is one transaction, under a lock that
 * lets no gateway begin; rows are written by COPY. */
#include "store/postgres_priv.h"
#include "store/transfer_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define COPY_BYTES ((size_t)256 << 10) /* sent at once */
#define CLOCK      "(extract(epoch from clock_timestamp()) * 1000)::bigint"

struct database_end {
    struct end base; /* first */
    const char *url;
    struct postgres_place place;
    struct store_costs costs;
    struct postgres_db db;
    struct buf rows;                     /* of a COPY, not sent yet */
    const struct transfer_table *copied; /* into it */
};

static struct database_end *
database_of(struct end *end)
{
    return (struct database_end *)(void *)end;
}

/* --- Both ends. */

static enum status
reach(struct database_end *database, bool is_source)
{
    struct postgres_db *db = &database->db;
    enum status status = place_read(&database->place, database->url, db->error_text);
    if (status == STATUS_OK) {
        db->place = &database->place;
        status = link_connect(db);
    }
    if (status == STATUS_OK) {
        status = postgres_migrate(db, is_source, store_schema_scripts, store_schema_script_count);
    }
    if (status == STATUS_OK && PQsetnonblocking(db->conn, 0) != 0) {
        status = link_lost(db, PQerrorMessage(db->conn));
    }
    return status;
}

static enum status
refuse_running(struct database_end *database)
{
    struct postgres_db *db = &database->db;
    PGresult *answer = NULL;
    enum status status = link_ask(db,
        "SELECT name, epoch FROM node WHERE lease_until_ms > " CLOCK " ORDER BY epoch LIMIT 1",
        &answer);
    if (status == STATUS_OK && PQntuples(answer) > 0) {
        const char *name = PQgetvalue(answer, 0, 0);
        status = store_fail(db->error_text, STATUS_BUSY,
            "the gateway %.127s (epoch %.20s) runs on %s: stop all that do; one that was killed counts until "
            "its lease is over",
            name[0] ? name : "without a name", PQgetvalue(answer, 0, 1), db->place->text);
    }
    PQclear(answer);
    return status;
}

/* A gateway that runs is not held up by the lock: it is looked for before. */
static enum status
lock_out(struct database_end *database, const char *begin, const char *lock)
{
    struct postgres_db *db = &database->db;
    enum status status = refuse_running(database);
    if (status == STATUS_OK) {
        status = link_ask(db, begin, NULL);
    }
    if (status == STATUS_OK) {
        status = link_ask(db, lock, NULL);
    }
    return status == STATUS_OK ? refuse_running(database) : status;
}

static enum status
count_rows(struct end *end, const struct transfer_table *table, int64_t *count)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table->name);
    return ask_number(&database_of(end)->db, sql, count);
}

static enum status
inspect(void *source, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    struct database_end *database = source;
    const enum status status = postgres_inspect_in(&database->db, inspector, inspected);
    *error = database->base.error;
    return status;
}

/* --- A source. */

static enum status
hold(struct end *end)
{
    struct database_end *database = database_of(end);
    const enum status status = reach(database, true);
    return status == STATUS_OK ? lock_out(
               database, "BEGIN ISOLATION LEVEL REPEATABLE READ", "LOCK TABLE node IN SHARE MODE")
                               : status;
}

static enum status
take_cells(struct postgres_db *db, const PGresult *row, const struct transfer_table *table,
    struct cells *cells)
{
    const struct columns *columns = pg_columns(db, row, 0);
    cells->count = columns->count;
    for (int i = 0; i < columns->count; i++) {
        const struct value *value = &columns->at[i];
        if (value->kind != VALUE_NUMBER && value->kind != VALUE_TEXT) {
            return store_fail(db->error_text, STATUS_INVALID,
                "%s cannot be read: table %s has a row that makes no sense", db->place->text,
                table->name);
        }
        cells->at[i] = (struct cell){ .column = PQfname(row, i),
            .is_text = value->kind == VALUE_TEXT,
            .number = value->number,
            .text = value->text };
    }
    return STATUS_OK;
}

static enum status
read_rows(struct end *end, const struct transfer_table *table, cells_callback *callback, void *user)
{
    struct postgres_db *db = &database_of(end)->db;
    struct cells cells;
    PGresult *row = NULL;
    char sql[256];
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY %s", table->name, table->order);
    enum status status = scan_start(db, sql);
    while (status == STATUS_OK) {
        status = scan_next(db, &row);
        if (status == STATUS_OK) {
            status = take_cells(db, row, table, &cells);
        }
        if (status == STATUS_OK) {
            status = callback(user, &cells);
        }
    }
    PQclear(row);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* --- A target. */

static enum status
refuse_full(struct database_end *database)
{
    struct postgres_db *db = &database->db;
    for (size_t i = 0; i < transfer_table_count; i++) {
        char sql[128];
        int64_t count = 0;
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT 1) AS one",
            transfer_tables[i].name);
        const enum status status = ask_number(db, sql, &count);
        if (status != STATUS_OK) {
            return status;
        }
        if (count > 0) {
            return store_fail(db->error_text, STATUS_EXISTS,
                "%s is not empty, table %s has rows: books are carried to a database of their own",
                db->place->text, transfer_tables[i].name);
        }
    }
    return STATUS_OK;
}

static enum status
begin(struct end *end)
{
    struct database_end *database = database_of(end);
    enum status status = reach(database, false);
    if (status == STATUS_OK) {
        status = lock_out(database, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            "LOCK TABLE node IN EXCLUSIVE MODE");
    }
    return status == STATUS_OK ? refuse_full(database) : status;
}

static void
add_number(struct buf *out, uint64_t value, int byte_count)
{
    for (int i = byte_count - 1; i >= 0; i--) {
        buf_add_char(out, (char)(value >> (8 * i) & 0xFF));
    }
}

#define COPY_MARK "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0" /* and no flags, no extension */

static enum status
copy_start(
    struct database_end *database, const struct transfer_table *table, const struct cells *cells)
{
    struct postgres_db *db = &database->db;
    struct buf sql = { 0 };
    buf_addf(&sql, "COPY %s (", table->name);
    for (int i = 0; i < cells->count; i++) {
        buf_addf(&sql, "%s%s", i ? ", " : "", cells->at[i].column);
    }
    buf_add_str(&sql, ") FROM STDIN (FORMAT binary)");
    PGresult *answer = sql.failed ? NULL : PQexec(db->conn, buf_cstr(&sql));
    buf_free(&sql);
    const bool going = PQresultStatus(answer) == PGRES_COPY_IN;
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const enum status status =
        going ? STATUS_OK : fault_tell(db, answer, fault_of_state(state ? state : "08006"));
    PQclear(answer);
    buf_clear(&database->rows);
    buf_add(&database->rows, COPY_MARK, sizeof(COPY_MARK) - 1);
    database->copied = going ? table : NULL;
    return status;
}

static enum status
copy_send(struct database_end *database)
{
    struct postgres_db *db = &database->db;
    const struct buf *rows = &database->rows;
    if (rows->failed || rows->len > INT32_MAX) {
        return store_fail(db->error_text, STATUS_FULL, "no memory for a row of the store");
    }
    if (PQputCopyData(db->conn, rows->ptr, (int)rows->len) != 1) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    buf_clear(&database->rows);
    return STATUS_OK;
}

static void
add_cell(struct buf *rows, const struct cell *cell)
{
    if (!cell->is_text) {
        add_number(rows, sizeof(int64_t), 4);
        add_number(rows, (uint64_t)cell->number, sizeof(int64_t));
        return;
    }
    add_number(rows, cell->text.len, 4);
    buf_add_slice(rows, cell->text);
    if (!rows->failed) { /* as a gateway would write it, and look for it */
        text_clean(rows->ptr + rows->len - cell->text.len, cell->text.len);
    }
}

static enum status
write_row(struct end *end, const struct transfer_table *table, const struct cells *cells)
{
    struct database_end *database = database_of(end);
    const enum status status =
        database->copied == table ? STATUS_OK : copy_start(database, table, cells);
    if (status != STATUS_OK) {
        return status;
    }
    add_number(&database->rows, (uint64_t)cells->count, 2);
    for (int i = 0; i < cells->count; i++) {
        add_cell(&database->rows, &cells->at[i]);
    }
    return database->rows.len >= COPY_BYTES ? copy_send(database) : STATUS_OK;
}

/* The server says only now what it thinks of the rows. */
static enum status
copy_end(struct postgres_db *db)
{
    enum status status = STATUS_OK;
    if (PQputCopyEnd(db->conn, NULL) != 1) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    for (PGresult *answer = PQgetResult(db->conn); answer; answer = PQgetResult(db->conn)) {
        if (status == STATUS_OK && PQresultStatus(answer) != PGRES_COMMAND_OK) {
            const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
            status = fault_tell(db, answer, fault_of_state(state ? state : "08006"));
        }
        PQclear(answer);
    }
    return status;
}

static enum status
write_end(struct end *end, const struct transfer_table *table)
{
    struct database_end *database = database_of(end);
    if (database->copied != table) {
        return STATUS_OK; /* it has no row */
    }
    database->copied = NULL;
    add_number(&database->rows, 0xFFFF, 2); /* -1: the last */
    const enum status status = copy_send(database);
    return status == STATUS_OK ? copy_end(&database->db) : status;
}

static enum status
meta_put(struct end *end, const char *name, const char *value)
{
    struct postgres_db *db = &database_of(end)->db;
    const char *const values[] = { name, value };
    PGresult *answer = PQexecParams(db->conn,
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE "
        "SET value = excluded.value",
        2, NULL, values, NULL, NULL, 0);
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const enum status status =
        PQresultStatus(answer) == PGRES_COMMAND_OK
            ? STATUS_OK
            : fault_tell(db, answer, fault_of_state(state ? state : "08006"));
    PQclear(answer);
    return status;
}

/* Of both what is later: a gateway may have run here, on books that were empty. */
static enum status
meta_raise(struct end *end, const char *name, int64_t value)
{
    char sql[128];
    char text[24];
    int64_t here = 0;
    (void)snprintf(sql, sizeof(sql), "SELECT value FROM meta WHERE name = '%s'", name);
    const enum status status = ask_number(&database_of(end)->db, sql, &here);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    (void)snprintf(text, sizeof(text), "%lld", (long long)max_i64(here, value));
    return meta_put(end, name, text);
}

static enum status
go_on(struct end *end, int64_t epoch, int64_t high_water_ms)
{
    const enum status status = meta_raise(end, "epoch", epoch);
    return status == STATUS_OK ? meta_raise(end, "high_water", high_water_ms) : status;
}

static enum status
finish(struct end *end)
{
    (void)end; /* its transaction sees what it wrote */
    return STATUS_OK;
}

static enum status
commit(struct end *end)
{
    struct postgres_db *db = &database_of(end)->db;
    const enum status status = link_ask(db, "COMMIT", NULL);
    return status == STATUS_IO ? store_fail(db->error_text, STATUS_IO,
               "the connection to %s was lost with the last word, so it is not known whether the books are "
               "there: run it again, it says so where they are",
               db->place->text)
                               : status;
}

/* A transaction that is open ends with the connection. */
static void
close_end(struct end *end)
{
    struct database_end *database = database_of(end);
    pg_close(&database->db);
    place_free(&database->place);
    buf_free(&database->rows);
    free(database);
}

static const struct end_ops database_ops = {
    .hold = hold,
    .read = read_rows,
    .begin = begin,
    .write = write_row,
    .write_end = write_end,
    .meta_put = meta_put,
    .go_on = go_on,
    .finish = finish,
    .commit = commit,
    .count = count_rows,
    .inspect = inspect,
    .close = close_end,
};

struct end *
postgres_end(const char *url)
{
    struct database_end *database = calloc(1, sizeof(*database));
    if (!database) {
        return NULL;
    }
    database->base.ops = &database_ops;
    database->url = url;
    database->db.options = patient_options(false);
    database->db.costs = &database->costs;
    database->db.error_text = database->base.error.text;
    return &database->base;
}
