/* store/sqlite.c: the SQLite engine: opening, the node, transactions. */
#include "store/sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

#define BUSY_WAIT_MS          2000 /* for a backup or a shell that holds SQLite's lock a moment */
#define LOG_KEPT_BYTES_TEXT   "268435456" /* a log that a slow reader made longer is cut to this */
#define WRITER_CACHE_KIB_TEXT "65536"

/* --- Opening. */

/* The absolute name of a file that is not there yet, in a folder that is. */
static enum status
resolve_new(const char *path, char **real_path, struct store_error *error)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *given = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    char *folder = given ? realpath(given, NULL) : NULL;
    const int cause = errno;
    free(given);
    if (!folder || name[0] == '\0') {
        free(folder);
        return store_fail(error->text, STATUS_IO, "%s cannot be made: %s", path,
            folder ? "it names a folder" : strerror(cause));
    }
    const int len = asprintf(real_path, "%s/%s", folder, name);
    free(folder);
    if (len < 0) {
        *real_path = NULL;
        return store_fail(error->text, STATUS_FULL, "no memory for a path");
    }
    return STATUS_OK;
}

/* Readers open it later, perhaps from another folder. */
enum status
sqlite_resolve_path(const char *path, char **real_path, struct store_error *error)
{
    *real_path = realpath(path, NULL);
    if (*real_path) {
        return STATUS_OK;
    }
    struct stat file;
    if (errno != ENOENT || lstat(path, &file) == 0) { /* a link to nowhere is one of these */
        return store_fail(error->text, STATUS_IO, "%s cannot be opened: %s", path, strerror(errno));
    }
    return resolve_new(path, real_path, error);
}

/* Makes the file for nobody but us; SQLite gives its log the same rights. */
static enum status
ensure_file(
    const char *path, const struct store_options *options, bool *made, struct store_error *error)
{
    struct stat file;
    if (stat(path, &file) == 0) {
        if (!S_ISREG(file.st_mode)) {
            return store_fail(error->text, STATUS_INVALID, "%s is not a file", path);
        }
        return STATUS_OK;
    }
    if (errno == ENOENT && options->read_only) {
        return store_fail(error->text, STATUS_NOT_FOUND, "there is no store at %s", path);
    }
    if (errno == ENOENT && home_has_log(path)) {
        /* SQLite would take a new file's log for a stale one, and remove it. */
        return store_fail(error->text, STATUS_INVALID,
            "the store %s is gone, but its log (-wal) is there: put the store back beside it, or move "
            "the log away to begin a new one",
            path);
    }
    const int fd = errno == ENOENT ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        return store_fail(error->text, STATUS_IO,
            "%s cannot be made: %s; check that its folder is there and may be written to", path,
            strerror(errno));
    }
    give_to_folder_owner(fd, path);
    (void)close(fd);
    *made = true;
    return STATUS_OK;
}

enum status
sqlite_connect(struct sqlite_db *db, const char *path, int open_flags,
    const struct store_options *options, char *error_text)
{
    enum status status = db_open(db, path, open_flags, error_text);
    if (status != STATUS_OK) {
        return status;
    }
    (void)sqlite3_busy_timeout(db->handle, BUSY_WAIT_MS);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* What must hold whatever the file is; journal_mode comes when we know that it is ours. */
    status = db_exec(db, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                         /* a hold's pages would be written once more, to be wiped; what they
                          * held is in the ledger, too */
                         "PRAGMA secure_delete = OFF;"
                         "PRAGMA journal_size_limit = " LOG_KEPT_BYTES_TEXT);
    if (status == STATUS_OK) {
        status = db_exec(
            db, options->full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    }
    if (status == STATUS_OK) {
        status = db_status(db, sqlite3_wal_autocheckpoint(db->handle, 0));
    }
    if (status != STATUS_OK) {
        db_close(db);
    }
    return status;
}

/* PRAGMA journal_mode answers with the mode that holds now instead of failing. */
static enum status
ensure_log(struct sqlite_db *db)
{
    sqlite3_stmt *statement = NULL;
    enum status status = db_status(
        db, sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL));
    if (status == STATUS_OK) {
        status = db_status(db, sqlite3_step(statement));
    }
    if (status == STATUS_OK) {
        const char *mode = (const char *)sqlite3_column_text(statement, 0);
        if (!mode || strcmp(mode, "wal") != 0) {
            status = store_fail(db->error_text, STATUS_IO,
                "its file system cannot hold a write-ahead log; put the store on a local disk");
        }
    }
    (void)sqlite3_finalize(statement); /* repeats what the step returned */
    return status;
}

static enum status
ensure_schema(struct sqlite_db *db, const struct store_options *options)
{
    int64_t version = 0;
    enum status status = schema_judge(db, !options->read_only, &version);
    if (status != STATUS_OK || options->read_only) {
        return status;
    }
    status = ensure_log(db);
    check(store_schema_script_count == STORE_SCHEMA_VERSION);
    return status == STATUS_OK
               ? migrate(db, version, store_schema_scripts, store_schema_script_count)
               : status;
}

static int
note_log_pages(void *user, sqlite3 *handle, const char *name, int log_pages)
{
    (void)handle;
    (void)name;
    checkpointer_note(user, log_pages);
    return SQLITE_OK;
}

static enum status
open_locked(struct sqlite_store *sqlite, const struct store_options *options)
{
    const int flags = options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    const bool has_log = home_has_log(sqlite->path);
    enum status status =
        sqlite_connect(&sqlite->db, sqlite->path, flags, options, sqlite->base.last_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (!options->read_only && sqlite3_db_readonly(sqlite->db.handle, "main") == 1) {
        /* SQLite would read on, and fail with the first write. */
        status = store_fail(sqlite->base.last_error, STATUS_IO, "the file may not be written to");
    }
    if (status == STATUS_OK) {
        status = ensure_schema(&sqlite->db, options);
    }
    if (status == STATUS_OK && !options->read_only) {
        status = home_judge(&sqlite->db, sqlite->path, has_log, sqlite->base.note);
    }
    if (status == STATUS_OK) {
        status = db_exec(&sqlite->db, "PRAGMA cache_size = -" WRITER_CACHE_KIB_TEXT);
    }
    if (status == STATUS_OK && !options->read_only) {
        status = checkpointer_start(
            &sqlite->checkpointer, sqlite->path, options, sqlite->base.last_error);
    }
    if (status != STATUS_OK) {
        db_close(&sqlite->db);
        return status;
    }
    if (sqlite->checkpointer) {
        (void)sqlite3_wal_hook(sqlite->db.handle, note_log_pages, sqlite->checkpointer);
    }
    return STATUS_OK;
}

/* A first start that failed leaves no empty store behind. The lock's file stays: see lock.c. */
static void
remove_unused(const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char name[4096];
    for (size_t i = 0; i < countof(ends); i++) {
        const int len = snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        if (len > 0 && (size_t)len < sizeof(name)) {
            (void)unlink(name); /* the log may not be there */
        }
    }
}

static void
free_store(struct sqlite_store *sqlite)
{
    if (sqlite->made_here && !sqlite->started) {
        remove_unused(sqlite->path);
    }
    if (sqlite->lock_fd >= 0) {
        lock_drop(sqlite->lock_fd);
    }
    buf_free(&sqlite->inputs);
    buf_free(&sqlite->packed);
    buf_free(&sqlite->packed_2);
    free(sqlite->path);
    free(sqlite);
}

/* Nobody reads SQLite's sums of memory, and each allocation would take a lock for them. */
static void
configure_library(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* in vain where SQLite is in use already */
    sqlite_pages_configure();
}

static const struct store_ops sqlite_ops;

enum status
sqlite_store_open(const char *path, const struct store_options *options, struct store **store,
    struct store_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, configure_library);
    struct sqlite_store *sqlite = calloc(1, sizeof(*sqlite));
    if (!sqlite) {
        return store_fail(error->text, STATUS_FULL, "no memory for a store");
    }
    sqlite->base = (struct store){ .ops = &sqlite_ops,
        .rows = &sqlite_row_ops,
        .readers = &sqlite_reader_ops,
        .exclusive = true,
        .lease_mono_ms = INT64_MAX };
    sqlite->lock_fd = -1;
    sqlite->options = *options;
    sqlite->read_max_ms = options->read_max_ms > 0 ? options->read_max_ms : STORE_READ_MAX_MS;
    enum status status = sqlite_resolve_path(path, &sqlite->path, error);
    check(status != STATUS_OK || sqlite->path);
    sqlite->base.file = sqlite->path;
    struct stat file;
    if (status == STATUS_OK && options->read_only && stat(sqlite->path, &file) != 0) {
        status = ensure_file(
            sqlite->path, options, &sqlite->made_here, error); /* leave no lock beside nothing */
    }
    if (status == STATUS_OK) {
        status = lock_take(sqlite->path, &sqlite->lock_fd, error);
    }
    if (status == STATUS_OK && !options->read_only) {
        swap_mend(sqlite->path);
    }
    if (status == STATUS_OK) {
        status = ensure_file(sqlite->path, options, &sqlite->made_here, error);
    }
    if (status == STATUS_OK) {
        status = open_locked(sqlite, options);
        if (status != STATUS_OK) {
            (void)store_fail(error->text, status, "%s cannot be opened as a store: %.400s", path,
                sqlite->base.last_error);
        }
    }
    if (status != STATUS_OK) {
        free_store(sqlite);
        return status;
    }
    *store = &sqlite->base;
    return STATUS_OK;
}

static void
sqlite_close(struct store *store)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    check(atomic_load(&sqlite->reader_count) == 0);
    if (sqlite->started) {
        home_leave(&sqlite->db);
    }
    checkpointer_stop(sqlite->checkpointer);
    db_close(&sqlite->db); /* the last connection: the log is copied back and removed */
    free_store(sqlite);
}

/* --- Transactions. */

static void
sqlite_rollback(struct store *store)
{
    struct sqlite_db *db = &sqlite_store_of(store)->db;
    log_forget(db);
    if (sqlite3_get_autocommit(db->handle) != 0) {
        return; /* SQLite has done so itself, as after a full disk */
    }
    /* Not through db_exec: the text keeps the first cause. Were it to fail, the next begin
     * would. */
    (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* A statement that makes or ends a transaction. */
static enum status
run_frame(struct sqlite_db *db, enum statement_id id)
{
    struct query query = query_start(db, id);
    int64_t changed_count = 0;
    return query_run(&query, &changed_count);
}

static enum status
renew_lease(struct sqlite_db *db, const struct node_row *node)
{
    struct query query = query_start(db, STATEMENT_NODE_RENEW);
    query_i64(&query, node->lease_until_ms);
    query_i64(&query, node->batch_no);
    query_i64(&query, node->high_water_ms);
    query_i64(&query, node->node_id);
    query_i64(&query, node->epoch);
    int64_t changed_count = 0;
    const enum status status = query_run(&query, &changed_count);
    if (status == STATUS_OK && changed_count == 0) {
        return store_fail(db->error_text, STATUS_FENCED,
            "epoch %lld of node %lld is over: another gateway has taken the store",
            (long long)node->epoch, (long long)node->node_id);
    }
    return status;
}

/* The lock keeps other gateways out, but not a shell. */
static enum status
see_foreign_writes(struct sqlite_store *sqlite)
{
    struct query query = query_start(&sqlite->db, STATEMENT_DATA_VERSION);
    const enum status status = query_next(&query);
    const int64_t version = status == STATUS_OK ? column_i64(query.columns) : sqlite->data_version;
    query_end(&query);
    sqlite->base.foreign_writes += sqlite->data_version && version != sqlite->data_version;
    sqlite->data_version = version;
    return status;
}

static enum status
read_node(struct sqlite_db *db, struct node_row *node)
{
    const int64_t node_id = STORE_NODE_ID;
    struct query query = query_start(db, STATEMENT_NODE_GET);
    query_i64(&query, node_id);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_node(query.columns, node);
    return query_finish(&query, status, intact, "node", &node_id);
}

/* The writer's own settings, and the log's length told to the checkpointer. */
static enum status
connect_writer(struct sqlite_store *sqlite, struct sqlite_db *db)
{
    enum status status = sqlite_connect(
        db, sqlite->path, SQLITE_OPEN_READWRITE, &sqlite->options, sqlite->base.last_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = db_exec(db, "PRAGMA cache_size = -" WRITER_CACHE_KIB_TEXT);
    if (status != STATUS_OK) {
        db_close(db);
        return status;
    }
    (void)sqlite3_wal_hook(db->handle, note_log_pages, sqlite->checkpointer);
    return STATUS_OK;
}

/* After a commit that failed nothing is assumed: a connection of its own reads whether the batch is in
 * the store, by the number that its transaction wrote first. One that is there after all was told to
 * its callers as refused: its holds are booked by the next start, and nothing more is written until
 * then. */
static enum status
resolve_uncertain(struct sqlite_store *sqlite)
{
    struct sqlite_db db;
    struct node_row node = { 0 };
    enum status status = connect_writer(sqlite, &db);
    if (status != STATUS_OK) {
        return status;
    }
    db_close(&sqlite->db);
    sqlite->db = db;
    status = read_node(&sqlite->db, &node);
    if (status != STATUS_OK) {
        return status;
    }
    if (node.batch_no >= sqlite->uncertain_batch_no) {
        return store_fail(sqlite->base.last_error, STATUS_IO,
            "a batch is in the store whose commit was told to have failed: restart the gateway, which "
            "books what it holds");
    }
    sqlite->uncertain_batch_no = 0;
    return STATUS_OK;
}

static enum status
sqlite_begin(struct store *store, const struct node_row *node)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    enum status status = home_look(&sqlite->files, sqlite->path, store->last_error);
    if (status == STATUS_OK && sqlite->uncertain_batch_no != 0) {
        status = resolve_uncertain(sqlite);
    }
    if (status == STATUS_OK) {
        status = run_frame(&sqlite->db, STATEMENT_BEGIN_WRITE);
    }
    if (status != STATUS_OK) {
        return status;
    }
    sqlite->batch_no = node->batch_no;
    if (sqlite->options.full_sync && !sqlite->db.gather) {
        log_gather(&sqlite->db); /* a log that is not synced would never go out */
    }
    status = see_foreign_writes(sqlite);
    if (status == STATUS_OK) {
        status = renew_lease(&sqlite->db, node);
    }
    if (status != STATUS_OK) {
        sqlite_rollback(store);
    }
    return status;
}

static enum status
sqlite_begin_read(struct store *store)
{
    return db_exec(&sqlite_store_of(store)->db, "BEGIN");
}

static enum status
sqlite_commit(struct store *store)
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    const enum status status = run_frame(&sqlite->db, STATEMENT_COMMIT);
    if (status == STATUS_OK && sqlite->checkpointer) {
        checkpointer_turn(sqlite->checkpointer, &sqlite->db, store->trouble);
    }
    if (status == STATUS_IO) {
        sqlite->uncertain_batch_no = sqlite->batch_no;
    }
    return status;
}

/* --- The node. */

static enum status
next_epoch(struct sqlite_db *db, int64_t *epoch)
{
    enum status status = sqlite_meta_get_i64(db, "epoch", epoch);
    if (status != STATUS_OK) {
        return status;
    }
    if (*epoch >= EPOCH_MAX) {
        return store_fail(db->error_text, STATUS_FULL,
            "the store has handed out all of its %lld epochs, one for each start; "
            "begin a new store and keep this one for its ledger",
            (long long)EPOCH_MAX);
    }
    *epoch += 1;
    return sqlite_meta_put_i64(db, "epoch", *epoch);
}

/* Made once in the life of a store: another key would recognise no thread. */
static enum status
signal_key(struct sqlite_db *db, unsigned char key[SIGNAL_KEY_BYTES])
{
    char hex[2 * SIGNAL_KEY_BYTES + 1];
    enum status status = sqlite_meta_get(db, "signal_key", hex, sizeof(hex));
    if (status == STATUS_OK && !signal_key_from_hex(hex, key)) {
        status = store_fail(db->error_text, STATUS_INVALID,
            "the store is damaged: its signal key makes no sense; restore a backup");
    }
    if (status == STATUS_NOT_FOUND) {
        signal_key_make(key, hex);
        status = sqlite_meta_put(db, "signal_key", hex);
    }
    secret_wipe(hex, sizeof(hex));
    return status;
}

enum status
sqlite_node_put(struct sqlite_db *db, const struct node_row *node)
{
    struct put put;
    put_node(&put, node);
    return run_put(db, &put);
}

static enum status
start_in_transaction(struct sqlite_store *sqlite, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char key[SIGNAL_KEY_BYTES])
{
    struct sqlite_db *db = &sqlite->db;
    const char *name = sqlite->options.node_name;
    struct node_row row = { .node_id = STORE_NODE_ID };
    enum status status = read_node(db, &row);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = next_epoch(db, &row.epoch);
    }
    if (status == STATUS_OK) {
        row.lease_until_ms = 0; /* the first batch takes it */
        row.high_water_ms = max_i64(row.high_water_ms, now_ms);
        row.started_ms = now_ms;
        (void)slice_to_cstr(slice_str(config_hash), row.config_hash, sizeof(row.config_hash));
        (void)slice_to_cstr(slice_str(name ? name : ""), row.name, sizeof(row.name));
        status = sqlite_node_put(db, &row);
    }
    if (status == STATUS_OK) {
        status = signal_key(db, key);
    }
    if (status == STATUS_OK) {
        status = home_write(db, sqlite->path);
    }
    if (status == STATUS_OK) {
        *node = row;
    }
    return status;
}

static enum status
sqlite_node_start(struct store *store, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char key[SIGNAL_KEY_BYTES])
{
    struct sqlite_store *sqlite = sqlite_store_of(store);
    struct sqlite_db *db = &sqlite->db;
    enum status status = db_exec(db, "BEGIN IMMEDIATE");
    if (status != STATUS_OK) {
        return status;
    }
    status = start_in_transaction(sqlite, now_ms, config_hash, node, key);
    if (status == STATUS_OK) {
        status = db_exec(db, "COMMIT");
    }
    if (status != STATUS_OK) {
        sqlite_rollback(store);
        return status == STATUS_NOT_FOUND ? db_damaged(db, "meta", 0) : status;
    }
    sqlite->started = true;
    home_reach_file(db, sqlite->path);
    home_remember(&sqlite->files, sqlite->path);
    return STATUS_OK;
}

static enum status
sqlite_node_config(struct store *store, const struct node_row *node, const char *config_hash)
{
    struct query query = query_start(&sqlite_store_of(store)->db, STATEMENT_NODE_CONFIG);
    query_text(&query, config_hash);
    query_i64(&query, node->node_id);
    query_i64(&query, node->epoch);
    return query_write(&query, STATUS_FENCED, "node", node->node_id);
}

static const struct store_ops sqlite_ops = {
    .close = sqlite_close,
    .node_start = sqlite_node_start,
    .node_config = sqlite_node_config,
    .begin = sqlite_begin,
    .begin_read = sqlite_begin_read,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
};
