/* store/sqlite_inspect.c: every row of a store, whatever state it is in. */
#include "store/inspect_priv.h"
#include "store/sqlite_priv.h"

#include <stdio.h>
#include <sys/stat.h>

#define STEPS_PER_LOOK  200000 /* of SQLite's machine, between two words about progress */
#define LEDGER_PAGE     20000  /* rows read in one snapshot */
#define LOOK_ROWS       2000
#define FILE_FAULTS_MAX 100
#define TEXT(number)    TEXT_(number)
#define TEXT_(number)   #number

struct inspection {
    const struct inspector *to;
    struct inspected *found;
    struct sqlite_db db;
    char error_text[512];
    const char *doing;
    int64_t done, total;
    bool stopped;
};

static bool
tell_progress(struct inspection *inspection)
{
    if (!inspection->stopped) {
        inspection->stopped = !inspection->to->progress(
            inspection->to->user, inspection->doing, inspection->done, inspection->total);
    }
    return !inspection->stopped;
}

static int
on_steps(void *user)
{
    return !tell_progress(user);
}

static void
tell_damage(struct inspection *inspection, const char *what)
{
    inspection->to->damage(inspection->to->user, what);
}

/* What damage of the file makes of a statement is told; trouble of the disk is returned. */
static enum status
judge(struct inspection *inspection, enum status status, const char *table)
{
    char what[640];
    if (inspection->stopped) {
        return STATUS_CLOSED;
    }
    if (status != STATUS_INVALID) {
        return status;
    }
    (void)snprintf(what, sizeof(what), "table %s cannot be read to its end: %s", table,
        inspection->error_text);
    tell_damage(inspection, what);
    return STATUS_OK;
}

/* --- One table. */

static enum status
read_table(struct inspection *inspection, enum inspect_table_id table)
{
    const struct inspect_table *own = &inspect_tables[table];
    struct query query = query_start(&inspection->db, own->statement);
    enum status status = STATUS_OK;
    inspection->doing = own->name;
    inspection->done = inspection->total = 0;
    while ((status = query_next(&query)) == STATUS_OK) {
        (void)inspect_row(inspection->to, table, query.columns);
        if (++inspection->done % LOOK_ROWS == 0 && !tell_progress(inspection)) {
            break;
        }
    }
    query_end(&query);
    return judge(inspection, status == STATUS_NOT_FOUND ? STATUS_OK : status, own->name);
}

/* --- The ledger. */

/* One page; *after moves on, 0 at the end. A damaged id is passed by as the others are. */
static enum status
read_page(struct inspection *inspection, int64_t *after, int64_t newest)
{
    struct query query = query_start(&inspection->db, STATEMENT_READ_LEDGER_AFTER);
    int64_t count = 0;
    enum status status = STATUS_OK;
    query_i64(&query, *after);
    query_i64(&query, newest);
    query_i64(&query, LEDGER_PAGE);
    while ((status = query_next(&query)) == STATUS_OK) {
        *after = max_i64(*after, inspect_row(inspection->to, INSPECT_LEDGER, query.columns));
        count++;
    }
    query_end(&query);
    inspection->done += count;
    if (count < LEDGER_PAGE || status != STATUS_NOT_FOUND) {
        *after = 0;
    }
    return judge(inspection, status == STATUS_NOT_FOUND ? STATUS_OK : status, "ledger");
}

static enum status
read_ledger(struct inspection *inspection, int64_t newest)
{
    enum status status = STATUS_OK;
    int64_t after = -1;
    inspection->doing = "ledger";
    inspection->done = inspection->total = 0;
    do {
        status = read_page(inspection, &after, newest);
    } while (status == STATUS_OK && after != 0 && tell_progress(inspection));
    return inspection->stopped ? STATUS_CLOSED : status;
}

/* --- What the store says of itself. */

static enum status
read_newest(struct sqlite_db *db, int64_t *newest)
{
    struct query query = query_start(db, STATEMENT_READ_LEDGER_NEWEST);
    const enum status status = query_next(&query);
    *newest = status == STATUS_OK ? column_i64(query.columns) : 0;
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
read_own(struct inspection *inspection, int64_t *newest)
{
    struct inspected *found = inspection->found;
    enum status status = sqlite_meta_get_i64(&inspection->db, "epoch", &found->epoch);
    if (status == STATUS_OK) {
        status = read_newest(&inspection->db, newest);
    }
    return judge(inspection, status == STATUS_NOT_FOUND ? STATUS_INVALID : status, "meta");
}

/* After the ledger, whose pages are no snapshot: of what is missing in them this knows. */
static enum status
read_kept_from(struct inspection *inspection)
{
    const enum status status =
        sqlite_meta_get_i64(&inspection->db, META_KEPT_FROM, &inspection->found->kept_from_ms);
    return judge(inspection, status == STATUS_NOT_FOUND ? STATUS_OK : status, "meta");
}

static enum status
read_snapshot(struct inspection *inspection, int64_t *newest)
{
    enum status status = db_exec(&inspection->db, "BEGIN");
    if (status == STATUS_OK) {
        status = read_own(inspection, newest);
    }
    if (status == STATUS_OK) {
        inspection->to->own(inspection->to->user, inspection->found);
    }
    for (int i = 0; status == STATUS_OK && i < INSPECT_LEDGER; i++) {
        status = read_table(inspection, (enum inspect_table_id)i);
    }
    if (sqlite3_get_autocommit(inspection->db.handle) == 0) {
        (void)sqlite3_exec(inspection->db.handle, "ROLLBACK", NULL, NULL, NULL); /* it only read */
    }
    return status;
}

/* SQLite's own look at its pages, indices and constraints. */
static enum status
check_file(struct inspection *inspection)
{
    sqlite3_stmt *statement = NULL;
    inspection->doing = "file";
    inspection->done = inspection->total = 0;
    enum status status = db_status(&inspection->db,
        sqlite3_prepare_v2(inspection->db.handle,
            "PRAGMA integrity_check(" TEXT(FILE_FAULTS_MAX) ")", -1, &statement, NULL));
    while (status == STATUS_OK) {
        const int code = sqlite3_step(statement);
        if (code == SQLITE_DONE) {
            break;
        }
        status = db_status(&inspection->db, code);
        const char *text =
            status == STATUS_OK ? (const char *)sqlite3_column_text(statement, 0) : NULL;
        if (text && strcmp(text, "ok") != 0) {
            tell_damage(inspection, text);
        }
    }
    (void)sqlite3_finalize(statement); /* repeats what the step returned */
    return judge(inspection, status, "sqlite_master");
}

enum status
sqlite_inspect(const char *path, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    struct inspection inspection = { .to = inspector, .found = inspected, .doing = "file" };
    const struct store_options options = { .read_only = true };
    struct stat file;
    int64_t newest = 0;
    *inspected = (struct inspected){ 0 };
    if (stat(path, &file) != 0) {
        return store_fail(error->text, STATUS_NOT_FOUND, "there is no store at %s", path);
    }
    inspected->bytes = (int64_t)file.st_size;
    enum status status =
        sqlite_connect(&inspection.db, path, SQLITE_OPEN_READONLY, &options, inspection.error_text);
    if (status == STATUS_OK) {
        sqlite3_progress_handler(inspection.db.handle, STEPS_PER_LOOK, on_steps, &inspection);
        status = schema_judge(&inspection.db, false, &inspected->schema_version);
        if (status == STATUS_OK) {
            status = read_snapshot(&inspection, &newest);
        }
        if (status == STATUS_OK) {
            status = read_ledger(&inspection, newest);
        }
        if (status == STATUS_OK) {
            status = read_kept_from(&inspection);
        }
        if (status == STATUS_OK) {
            status = check_file(&inspection);
        }
        db_close(&inspection.db);
    }
    if (status != STATUS_OK) {
        return store_fail(error->text, inspection.stopped ? STATUS_CLOSED : status,
            "%s cannot be checked: %.400s", path, inspection.error_text);
    }
    return STATUS_OK;
}
