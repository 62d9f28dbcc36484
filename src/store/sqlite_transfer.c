/* store/sqlite_transfer.c: a file as one end of a transfer. A target is made under another name beside its own,
 * which it takes when it is whole. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlite_priv.h"
#include "store/transfer_priv.h"

#define PATH_BYTES 4096

struct file_end {
    struct end base;  /* first */
    const char *told; /* as it was named */
    char *path;
    int lock_fd;
    bool opened, is_target;
    struct sqlite_db db;
    char error_text[512];
    char fresh[PATH_BYTES]; /* of a target; "" = none is made */
    sqlite3_stmt *insert;   /* into: */
    const struct transfer_table *insert_into;
};

static struct file_end *
file_of(struct end *end)
{
    return (struct file_end *)(void *)end;
}

static enum status
fail(struct file_end *file, enum status status, const char *what)
{
    return status == STATUS_OK
               ? STATUS_OK
               : store_fail(file->base.error.text, status, "%.200s cannot be %s: %.280s",
                   file->told, what, file->error_text);
}

static enum status
lock(struct file_end *file)
{
    struct store_error *error = &file->base.error;
    const enum status status = sqlite_resolve_path(file->told, &file->path, error);
    return status == STATUS_OK ? lock_take(file->path, &file->lock_fd, error) : status;
}

/* --- A source. */

static enum status
judge_source(struct file_end *file)
{
    int64_t version = 0;
    int64_t taken_ms = 0;
    const enum status status = schema_judge(&file->db, false, &version);
    if (status != STATUS_OK) {
        return status;
    }
    return sqlite_meta_get_i64(&file->db, "backup_ms", &taken_ms) == STATUS_OK ? store_fail(
               file->error_text, STATUS_INVALID,
               "it is a backup, whose original may have given ids since; `tidegate restore` makes a "
               "store of it")
                                                                               : STATUS_OK;
}

static enum status
hold(struct end *end)
{
    struct file_end *file = file_of(end);
    const struct store_options options = { .read_only = true };
    struct stat there;
    if (stat(file->told, &there) != 0) {
        return store_fail(
            end->error.text, STATUS_NOT_FOUND, "there is no store at %.300s", file->told);
    }
    enum status status = lock(file);
    if (status != STATUS_OK) {
        return status;
    }
    swap_mend(file->path);
    status =
        sqlite_connect(&file->db, file->path, SQLITE_OPEN_READONLY, &options, file->error_text);
    file->opened = status == STATUS_OK;
    if (status == STATUS_OK) {
        status = db_exec(&file->db, "BEGIN");
    }
    if (status == STATUS_OK) {
        status = judge_source(file);
    }
    return fail(file, status, "read");
}

/* False: what is stored is neither, or nothing. */
static bool
take_cells(sqlite3_stmt *statement, struct cells *cells)
{
    cells->count = sqlite3_column_count(statement);
    if (cells->count > CELLS_MAX) {
        return false;
    }
    for (int i = 0; i < cells->count; i++) {
        const int type = sqlite3_column_type(statement, i);
        struct cell *cell = &cells->at[i];
        *cell = (struct cell){ .column = sqlite3_column_name(statement, i),
            .is_text = type == SQLITE_TEXT };
        if (type == SQLITE_TEXT) {
            const unsigned char *text = sqlite3_column_text(statement, i);
            cell->text = slice_of((const char *)text, (size_t)sqlite3_column_bytes(statement, i));
        } else if (type == SQLITE_INTEGER) {
            cell->number = sqlite3_column_int64(statement, i);
        } else {
            return false;
        }
    }
    return true;
}

static enum status
step_rows(struct file_end *file, sqlite3_stmt *statement, const struct transfer_table *table,
    cells_callback *callback, void *user)
{
    struct cells cells;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        const int code = sqlite3_step(statement);
        if (code == SQLITE_DONE) {
            return STATUS_OK;
        }
        status = fail(file, db_status(&file->db, code), "read");
        if (status == STATUS_OK && !take_cells(statement, &cells)) {
            status = store_fail(file->base.error.text, STATUS_INVALID,
                "%.200s cannot be read: table %s has a row that makes no sense", file->told,
                table->name);
        }
        if (status == STATUS_OK) {
            status = callback(user, &cells);
        }
    }
    return status;
}

static enum status
read_rows(struct end *end, const struct transfer_table *table, cells_callback *callback, void *user)
{
    struct file_end *file = file_of(end);
    sqlite3_stmt *statement = NULL;
    char sql[256];
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY %s", table->name, table->order);
    enum status status = fail(file,
        db_status(&file->db, sqlite3_prepare_v2(file->db.handle, sql, -1, &statement, NULL)),
        "read");
    if (status == STATUS_OK) {
        status = step_rows(file, statement, table, callback, user);
    }
    (void)sqlite3_finalize(statement); /* repeats what the step returned */
    return status;
}

static enum status
count_rows(struct end *end, const struct transfer_table *table, int64_t *count)
{
    struct file_end *file = file_of(end);
    sqlite3_stmt *statement = NULL;
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table->name);
    enum status status =
        db_status(&file->db, sqlite3_prepare_v2(file->db.handle, sql, -1, &statement, NULL));
    if (status == STATUS_OK) {
        status = db_status(&file->db, sqlite3_step(statement));
    }
    *count = status == STATUS_OK ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return fail(file, status, "counted");
}

static enum status
inspect(void *source, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    const struct file_end *file = source;
    return sqlite_inspect(file->is_target ? file->fresh : file->path, inspector, inspected, error);
}

/* --- A target. */

/* A file that SQLite or a failed start has left without a byte is no store. */
static bool
is_taken(const char *path)
{
    struct stat there;
    const bool empty = lstat(path, &there) == 0 && S_ISREG(there.st_mode) && there.st_size == 0;
    return !empty && access(path, F_OK) == 0;
}

static enum status
name_fresh(struct file_end *file)
{
    struct store_error *error = &file->base.error;
    if (is_taken(file->path) || home_has_log(file->path)) {
        return store_fail(error->text, STATUS_EXISTS,
            "%.300s is there already, or its log is; name a file that is not", file->told);
    }
    const int len =
        snprintf(file->fresh, sizeof(file->fresh), "%s.%ld.part", file->path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(file->fresh)) {
        file->fresh[0] = '\0';
        return store_fail(error->text, STATUS_INVALID, "the path is too long: %.300s", file->told);
    }
    return fresh_make(file->fresh, true, error);
}

/* Nothing reads it before it is whole and synced, so its writing need not be safe. */
static enum status
open_fresh(struct file_end *file)
{
    enum status status = db_open(&file->db, file->fresh, SQLITE_OPEN_READWRITE, file->error_text);
    file->opened = status == STATUS_OK;
    if (status == STATUS_OK) {
        status = db_exec(&file->db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
    }
    if (status == STATUS_OK) {
        status = migrate(&file->db, 0, store_schema_scripts, store_schema_script_count);
    }
    if (status == STATUS_OK) {
        status = db_exec(&file->db, "BEGIN");
    }
    return fail(file, status, "written");
}

static enum status
begin(struct end *end)
{
    struct file_end *file = file_of(end);
    file->is_target = true;
    enum status status = lock(file);
    if (status == STATUS_OK) {
        swap_mend(file->path);
        status = name_fresh(file);
    }
    return status == STATUS_OK ? open_fresh(file) : status;
}

static void
insert_sql(const struct transfer_table *table, const struct cells *cells, struct buf *sql)
{
    buf_addf(sql, "INSERT INTO %s (", table->name);
    for (int i = 0; i < cells->count; i++) {
        buf_addf(sql, "%s%s", i ? ", " : "", cells->at[i].column);
    }
    buf_add_str(sql, ") VALUES (");
    for (int i = 0; i < cells->count; i++) {
        buf_add_str(sql, i ? ", ?" : "?");
    }
    buf_add_char(sql, ')');
}

static enum status
prepare_insert(struct file_end *file, const struct transfer_table *table, const struct cells *cells)
{
    struct buf sql = { 0 };
    if (file->insert_into == table) {
        return STATUS_OK;
    }
    insert_sql(table, cells, &sql);
    (void)sqlite3_finalize(file->insert);
    file->insert = NULL;
    file->insert_into = table;
    const enum status status =
        sql.failed ? store_fail(file->error_text, STATUS_FULL, "no memory")
                   : db_status(&file->db, sqlite3_prepare_v2(file->db.handle, buf_cstr(&sql), -1,
                                              &file->insert, NULL));
    buf_free(&sql);
    return status;
}

static enum status
write_row(struct end *end, const struct transfer_table *table, const struct cells *cells)
{
    struct file_end *file = file_of(end);
    const enum status status = prepare_insert(file, table, cells);
    if (status != STATUS_OK) {
        return fail(file, status, "written");
    }
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < cells->count; i++) {
        const struct cell *cell = &cells->at[i];
        code = cell->is_text ? sqlite3_bind_text64(file->insert, i + 1,
                   cell->text.ptr ? cell->text.ptr : "", cell->text.len, SQLITE_STATIC, SQLITE_UTF8)
                             : sqlite3_bind_int64(file->insert, i + 1, cell->number);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_step(file->insert);
        (void)sqlite3_reset(file->insert); /* repeats what the step returned */
    }
    return code == SQLITE_DONE ? STATUS_OK : fail(file, db_status(&file->db, code), "written");
}

static enum status
write_end(struct end *end, const struct transfer_table *table)
{
    (void)table;
    struct file_end *file = file_of(end);
    (void)sqlite3_finalize(file->insert); /* its steps were looked at */
    file->insert = NULL;
    file->insert_into = NULL;
    return STATUS_OK;
}

static enum status
meta_put(struct end *end, const char *name, const char *value)
{
    struct file_end *file = file_of(end);
    return fail(file, sqlite_meta_put(&file->db, name, value), "written");
}

/* Its node's row carries the time; the next start gives it an epoch of its own. */
static enum status
go_on(struct end *end, int64_t epoch, int64_t high_water_ms)
{
    struct file_end *file = file_of(end);
    enum status status = sqlite_meta_put_i64(&file->db, "epoch", epoch);
    if (status == STATUS_OK && epoch > 0) {
        const struct node_row node = {
            .node_id = STORE_NODE_ID, .epoch = epoch, .high_water_ms = high_water_ms
        };
        status = sqlite_node_put(&file->db, &node);
    }
    return fail(file, status, "written");
}

static enum status
finish(struct end *end)
{
    struct file_end *file = file_of(end);
    const enum status status = db_exec(&file->db, "COMMIT; PRAGMA journal_mode = DELETE");
    return status == STATUS_OK ? file_sync(file->fresh, false, &end->error)
                               : fail(file, status, "written");
}

static enum status
commit(struct end *end)
{
    struct file_end *file = file_of(end);
    struct stat there;
    db_close(&file->db);
    file->opened = false;
    fresh_remove_log(file->fresh);
    if (lstat(file->path, &there) == 0) {
        (void)unlink(file->path); /* it was empty, and is ours by its lock */
    }
    const enum status status = fresh_name(file->fresh, file->path, false, &end->error);
    if (status == STATUS_OK) {
        file->fresh[0] = '\0';
    }
    return status;
}

static void
close_end(struct end *end)
{
    struct file_end *file = file_of(end);
    if (file->opened) {
        (void)sqlite3_finalize(file->insert);
        db_close(&file->db);
    }
    if (file->fresh[0]) {
        fresh_remove(file->fresh);
    }
    if (file->lock_fd >= 0) {
        lock_drop(file->lock_fd);
    }
    free(file->path);
    free(file);
}

static const struct end_ops file_ops = {
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
sqlite_end(const char *path)
{
    struct file_end *file = calloc(1, sizeof(*file));
    if (!file) {
        return NULL;
    }
    file->base.ops = &file_ops;
    file->told = path;
    file->lock_fd = -1;
    return &file->base;
}
