/* store/migrate.c: schema versions, forward only. A store is at version i when the scripts 1 to i
 * ran. */
#include "store/sqlite_priv.h"

#include <stdio.h>

/* The first column of the first row of a query that is only asked here; NOT_FOUND without a row. */
static enum status
ask_i64(struct sqlite_db *db, const char *sql, int64_t *value)
{
    sqlite3_stmt *statement = NULL;
    enum status status = db_status(db, sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL));
    if (status == STATUS_OK) {
        const int code = sqlite3_step(statement);
        status = code == SQLITE_DONE ? STATUS_NOT_FOUND : db_status(db, code);
    }
    if (status == STATUS_OK) {
        *value = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement); /* repeats what the step returned */
    return status;
}

enum status
schema_version(struct sqlite_db *db, int64_t *version)
{
    int64_t table_count = 0;
    int64_t meta_count = 0;
    enum status status = ask_i64(db, "SELECT count(*) FROM sqlite_master", &table_count);
    if (status != STATUS_OK || table_count == 0) {
        *version = 0;
        return status;
    }
    status = ask_i64(db,
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'", &meta_count);
    if (status == STATUS_OK && meta_count == 1) {
        status = sqlite_meta_get_i64(db, "schema_version", version);
        if (status == STATUS_OK && *version > 0) {
            return STATUS_OK;
        }
    }
    if (status == STATUS_IO || status == STATUS_BUSY || status == STATUS_FULL) {
        return status; /* it may well be ours: it just cannot be read now */
    }
    return store_fail(
        db->error_text, STATUS_INVALID, "it is a SQLite database, but not a Tidegate store");
}

enum status
schema_judge(struct sqlite_db *db, bool may_migrate, int64_t *version)
{
    const enum status status = schema_version(db, version);
    if (status != STATUS_OK || *version == STORE_SCHEMA_VERSION) {
        return status;
    }
    if (*version > STORE_SCHEMA_VERSION) {
        return store_fail(db->error_text, STATUS_NEWER,
            "it was written by a newer version of Tidegate (schema %lld, this one knows %d); install "
            "that version, or restore the backup made before it",
            (long long)*version, STORE_SCHEMA_VERSION);
    }
    return may_migrate ? STATUS_OK
                       : store_fail(db->error_text, STATUS_INVALID,
                           "it is %s; start the gateway on it once",
                           *version == 0 ? "empty" : "of an older version");
}

/* A BIGINT key would stand beside the rows in an index of its own; INTEGER makes it the rows'
 * own. */
static void
add_line(struct buf *sql, struct slice line)
{
    const struct slice portable = SLICE("BIGINT PRIMARY KEY");
    for (ptrdiff_t at = 0; (at = slice_find(line, portable)) >= 0;) {
        buf_add(sql, line.ptr, (size_t)at);
        buf_add_str(sql, "INTEGER PRIMARY KEY");
        const size_t taken = (size_t)at + portable.len;
        line = slice_of(line.ptr + taken, line.len - taken);
    }
    buf_add_slice(sql, line);
    buf_add_char(sql, '\n');
}

/* So would a key of several columns, which ends a table: without row ids the rows are kept in the
 * order of it, and what is found by it costs the pages of one tree, not of two. */
static void
add_script(struct buf *sql, struct slice script)
{
    bool is_keyed = false;
    for (struct slice line; slice_split(&script, '\n', &line);) {
        if (is_keyed && slice_eq(line, SLICE(");"))) {
            line = SLICE(") WITHOUT ROWID;");
        }
        is_keyed = slice_starts(line, SLICE("    PRIMARY KEY ("));
        add_line(sql, line);
    }
}

static enum status
run_scripts(struct sqlite_db *db, int64_t from, const char *const *scripts, size_t script_count)
{
    struct buf sql = { 0 };
    for (size_t i = (size_t)from; i < script_count; i++) {
        add_script(&sql, slice_str(scripts[i]));
    }
    enum status status = STATUS_FULL;
    if (!sql.failed) {
        status = db_exec(db, buf_cstr(&sql));
    }
    buf_free(&sql);
    if (status != STATUS_OK) {
        return status;
    }
    if (from == 0) {
        status = sqlite_meta_put_i64(db, "epoch", 0);
        if (status == STATUS_OK) {
            status = sqlite_meta_put_i64(db, "identity_version", 0);
        }
    }
    return status == STATUS_OK ? sqlite_meta_put_i64(db, "schema_version", (int64_t)script_count)
                               : status;
}

enum status
migrate(struct sqlite_db *db, int64_t from, const char *const *scripts, size_t script_count)
{
    check(from >= 0 && (size_t)from <= script_count);
    if ((size_t)from == script_count) {
        return STATUS_OK;
    }
    enum status status = db_exec(db, "BEGIN IMMEDIATE");
    if (status != STATUS_OK) {
        return status;
    }
    status = run_scripts(db, from, scripts, script_count);
    if (status == STATUS_OK) {
        status = db_exec(db, "COMMIT");
    }
    if (status != STATUS_OK && sqlite3_get_autocommit(db->handle) == 0) {
        /* Not through db_exec: the text keeps the first cause. */
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}
