/* tests/unit/store/sqlite_test.c
 *
 * Goal: a store on disk outlives its process, belongs to one gateway and knows its version; what
 * cannot be opened is a status and a sentence. Method: files are made or changed from outside, then
 * opened. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/sqlite_priv.h"

/* --- Opening. */

static void
a_store_outlives_its_process(void **state)
{
    struct world *world = *state;
    world_begin(world);
    put_one_of_each(world, 100);
    world_commit(world);
    struct buf before = world_text(world);
    const int64_t epoch = world->node.epoch;
    unsigned char signal_key[32];
    memcpy(signal_key, world->signal_key, sizeof(signal_key));
    world_close(world);
    world_open(world);
    struct buf after = world_text(world);
    assert_string_equal(buf_cstr(&after), buf_cstr(&before));
    assert_int_equal(world->node.epoch, epoch + 1);
    assert_int_equal(world->node.batch_no, 1);
    assert_memory_equal(signal_key, world->signal_key, sizeof(signal_key));
    buf_free(&before);
    buf_free(&after);
}

static void
two_stores_have_different_signal_keys(void **state)
{
    void *other_state = NULL;
    struct world *world = *state;
    world_on_disk(&other_state);
    struct world *other = other_state;
    assert_memory_not_equal(world->signal_key, other->signal_key, sizeof(world->signal_key));
    world_end(&other_state);
}

static mode_t
rights_of(const struct world *world, const char *suffix)
{
    char path[128];
    struct stat file;
    (void)snprintf(path, sizeof(path), "%s%s", world->path, suffix);
    assert_int_equal(stat(path, &file), 0);
    return file.st_mode & 07777;
}

static void
the_files_are_for_nobody_else(void **state)
{
    struct world *world = *state;
    const mode_t mask = umask(0);
    world_open(world);
    world_begin(world);
    put_one_of_each(world, 1);
    world_commit(world);
    assert_int_equal(rights_of(world, ""), 0600);
    assert_int_equal(rights_of(world, "-wal"), 0600);
    assert_int_equal(rights_of(world, "-shm"), 0600);
    assert_int_equal(rights_of(world, ".lock"), 0600);
    (void)umask(mask);
}

static void
put_file(const struct world *world, const char *bytes, size_t len)
{
    const int fd = open(world->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    (void)close(fd);
}

/* `%s` stands for the folder. */
static void
assert_cannot_open(const struct world *world, const char *url, enum status want, const char *word)
{
    char text[256];
    const char *mark = strstr(url, "%s");
    (void)snprintf(text, sizeof(text), "%.*s%s%s", mark ? (int)(mark - url) : (int)strlen(url), url,
        mark ? world->folder : "", mark ? mark + 2 : "");
    struct store *store = NULL;
    struct store_error error;
    const enum status status = store_open(text, &world->options, &store, &error);
    if (status != want || store || !strstr(error.text, word)) {
        fail_msg("%s: %s, not %s: %s", url, status_name(status), status_name(want), error.text);
    }
    store_close(store);
}

static void
what_cannot_be_a_store_is_told_in_a_sentence(void **state)
{
    struct world *world = *state;
    char link[128];
    put_file(world,
        "not a database, though longer than a header of one: "
        "0123456789012345678901234567890123456789012345678901234567890",
        100);
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_INVALID, "not a Tidegate store");
    assert_cannot_open(world, "sqlite:%s/store.db/x", STATUS_IO, "Not a directory");
    assert_cannot_open(world, "sqlite:%s/none/store.db", STATUS_IO, "No such file or directory");
    assert_cannot_open(world, "sqlite:%s/", STATUS_INVALID, "is not a file");
    assert_cannot_open(world, "sqlite:%s/none/", STATUS_IO, "No such file");
    assert_cannot_open(world, "sqlite:", STATUS_INVALID, "sqlite:PATH");
    assert_cannot_open(world, "", STATUS_INVALID, "sqlite:PATH");
    assert_cannot_open(world, "memory:x", STATUS_INVALID, "sqlite:PATH");
    assert_cannot_open(world, "mysql://h/db", STATUS_INVALID, "sqlite:PATH");
    (void)snprintf(link, sizeof(link), "%s/link.db", world->folder);
    assert_int_equal(symlink("/nowhere/store.db", link), 0);
    assert_cannot_open(world, "sqlite:%s/link.db", STATUS_IO, "cannot be opened");

    char long_path[6000] = "sqlite:/tmp/";
    memset(long_path + 12, 'x', sizeof(long_path) - 13);
    long_path[sizeof(long_path) - 1] = '\0';
    struct store *store = NULL;
    struct store_error error;
    assert_int_equal(store_open(long_path, &world->options, &store, &error), STATUS_IO);
}

static void
a_database_of_others_is_left_alone(void **state)
{
    static const struct {
        const char *sql;
        enum status want;
        const char *word;
    } rows[] = {
        { "CREATE TABLE notes (text)", STATUS_INVALID, "not a Tidegate store" },
        { "CREATE TABLE meta (a, b)", STATUS_INVALID, "not a Tidegate store" },
        { "CREATE TABLE meta (name TEXT, value TEXT)", STATUS_INVALID, "not a Tidegate store" },
        { "CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES "
          "('schema_version', 'x')",
            STATUS_INVALID, "not a Tidegate store" },
        { "CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES "
          "('schema_version', '0')",
            STATUS_INVALID, "not a Tidegate store" },
        { "CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES "
          "('schema_version', '-1')",
            STATUS_INVALID, "not a Tidegate store" },
    };
    struct world *world = *state;
    for (size_t i = 0; i < countof(rows); i++) {
        (void)unlink(world->path);
        world_sql(world, rows[i].sql);
        assert_cannot_open(world, "sqlite:%s/store.db", rows[i].want, rows[i].word);
        char path[128];
        (void)snprintf(path, sizeof(path), "%s-wal", world->path);
        assert_int_equal(access(path, F_OK), -1); /* not even its journal was changed */
    }
}

static void
a_newer_store_is_refused(void **state)
{
    struct world *world = *state;
    world_open(world);
    world_close(world);
    world_sql(world, "UPDATE meta SET value = '7' WHERE name = 'schema_version'");
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_NEWER, "newer version of Tidegate");
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_NEWER, "schema 7, this one knows 1");
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_NEWER, "install that version");
    world_sql(world, "UPDATE meta SET value = '1' WHERE name = 'schema_version'");
    world_open(world); /* and nothing was done to it */
}

/* Runs in a child that has no rights beyond everybody's. */
static int
open_as_nobody(const struct world *world, bool read_only)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *store = NULL;
        struct store_error error;
        const struct store_options options = { .read_only = read_only };
        if (geteuid() == 0 && (setegid(65534) != 0 || seteuid(65534) != 0)) {
            _exit(100);
        }
        const enum status status = store_open(world->url, &options, &store, &error);
        _exit(error.text[0] != '\0' ? (int)status : 101);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
without_rights_it_is_an_io_error(void **state)
{
    struct world *world = *state;
    assert_int_equal(chmod(world->folder, 0555), 0); /* nothing can be made in it */
    assert_int_equal(open_as_nobody(world, false), STATUS_IO);
    assert_int_equal(chmod(world->folder, 0777), 0);
    world_open(world);
    world_close(world);
    assert_int_equal(chmod(world->path, 0444), 0); /* the file itself may not be written */
    char lock_path[128];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", world->path);
    assert_int_equal(chmod(lock_path, 0666), 0);
    assert_int_equal(open_as_nobody(world, false), STATUS_IO);
    assert_int_equal(chmod(world->path, 0000), 0);
    assert_int_equal(open_as_nobody(world, false), STATUS_IO);
    assert_int_equal(open_as_nobody(world, true), STATUS_IO);
    assert_int_equal(chmod(world->folder, 0700), 0);
}

static void
a_store_may_be_opened_to_read_only(void **state)
{
    struct world *world = *state;
    char lock_path[128];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", world->path);
    world->options.read_only = true;
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_NOT_FOUND, "there is no store");
    assert_int_equal(access(world->path, F_OK), -1);
    assert_int_equal(access(lock_path, F_OK), -1); /* no traces */
    put_file(world, "", 0);
    assert_cannot_open(world, "sqlite:%s/store.db", STATUS_INVALID, "it is empty");

    world->options.read_only = false;
    world_open(world);
    world_begin(world);
    put_one_of_each(world, 100);
    world_commit(world);
    struct buf before = world_text(world);
    world_close(world);
    world->options.read_only = true;
    struct store_error error;
    OK(world, store_open(world->url, &world->options, &world->store, &error));
    struct buf after = world_text(world);
    assert_string_equal(buf_cstr(&after), buf_cstr(&before));
    EXPECT(world, store_begin(world->store, &world->node), STATUS_IO);
    struct node_row node;
    EXPECT(world, store_node_start(world->store, NOW_MS, "", &node, world->signal_key), STATUS_IO);
    buf_free(&before);
    buf_free(&after);
}

/* --- One gateway. */

static void
a_second_gateway_is_told_who_holds_the_store(void **state)
{
    struct world *world = *state;
    char holder[64];
    char link[128];
    (void)snprintf(holder, sizeof(holder), "held by process %ld", (long)getpid());
    assert_cannot_open(world, world->url, STATUS_BUSY, holder);
    (void)snprintf(link, sizeof(link), "%s/link.db", world->folder);
    assert_int_equal(symlink(world->path, link), 0);
    assert_cannot_open(world, "sqlite:%s/link.db", STATUS_BUSY, holder); /* under any name */
    assert_int_equal(unlink(link), 0);
    char way[128];
    (void)snprintf(way, sizeof(way), "sqlite:%s/../%s/store.db", world->folder,
        strrchr(world->folder, '/') + 1);
    assert_cannot_open(world, way, STATUS_BUSY, holder);
    world_close(world);
    world_open(world);
}

static void
a_killed_gateway_holds_nothing(void **state)
{
    struct world *world = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(60); /* should nobody be left to kill it */
        world_open(world);
        _exit(write(ready[1], "x", 1) == 1 ? pause() : 1);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    char holder[64];
    (void)snprintf(holder, sizeof(holder), "held by process %ld;", (long)child);
    assert_cannot_open(world, world->url, STATUS_BUSY, holder);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    world_open(world);
    assert_int_equal(world->node.epoch, 2);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void
another_writer_makes_a_batch_busy(void **state)
{
    struct world *world = *state;
    sqlite3 *shell = NULL;
    assert_int_equal(sqlite3_open(world->path, &shell), SQLITE_OK);
    assert_int_equal(sqlite3_exec(shell, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    EXPECT(world, store_begin(world->store, &world->node), STATUS_BUSY);
    assert_int_equal(sqlite3_exec(shell, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(shell), SQLITE_OK);
    world_begin(world);
    put_one_of_each(world, 1);
    world_commit(world);
}

static void
epochs_run_out(void **state)
{
    struct world *world = *state;
    world_close(world);
    world_sql(world, "UPDATE meta SET value = '1048574' WHERE name = 'epoch'");
    world_open(world);
    assert_int_equal(world->node.epoch, EPOCH_MAX);
    struct node_row node;
    EXPECT(
        world, store_node_start(world->store, NOW_MS, "", &node, world->signal_key), STATUS_FULL);
    assert_non_null(strstr(store_last_error(world->store), "1048575 epochs"));
    world_begin(world); /* the last one goes on */
    world_commit(world);
}

/* --- Versions. */

static void
load_fixture(const struct world *world, const char *name)
{
    char path[512];
    const char *root = getenv("TIDEGATE_SOURCE_ROOT");
    (void)snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
    FILE *file = fopen(path, "r");
    if (!file) {
        fail_msg("%s: %s", path, strerror(errno));
        return;
    }
    struct buf sql = { 0 };
    char chunk[4096];
    for (size_t len = 0; (len = fread(chunk, 1, sizeof(chunk), file)) > 0;) {
        buf_add(&sql, chunk, len);
    }
    (void)fclose(file);
    world_sql(world, buf_cstr(&sql));
    buf_free(&sql);
}

static void
a_store_of_schema_1_is_opened_with_all_it_has(void **state)
{
    struct world *world = *state;
    load_fixture(world, "schema1.sql");
    world_open(world);
    assert_int_equal(world->node.epoch, 2); /* its first life had the first */
    assert_int_equal(world->node.batch_no, 1);
    assert_int_equal(world->signal_key[0], 0x01);
    assert_int_equal(world->signal_key[31], 0xef);

    void *fresh_state = NULL;
    world_in_memory(&fresh_state);
    struct world *fresh = fresh_state;
    world_begin(fresh);
    put_one_of_each(fresh, 100);
    world_commit(fresh);
    struct buf got = world_text(world);
    struct buf want = world_text(fresh);
    assert_string_equal(buf_cstr(&got), buf_cstr(&want));
    OK(world, store_begin_read(world->store));
    struct hold_row orphan;
    OK(world, store_hold_orphan(world->store, 0, &orphan));
    assert_int_equal(orphan.hold_id, 104);
    struct issued_row issued;
    OK(world, store_issued_get(world->store, an_issued(100, 0).id_hash, &issued));
    struct receipt_row receipt;
    OK(world, store_receipt_get(world->store, a_receipt(100, 0).name, &receipt));
    struct thread_row thread;
    OK(world, store_thread_find(world->store, 100, THREAD_CLAUDE_CODE, "name-100", &thread));
    store_rollback(world->store);
    world_begin(world);
    put_one_of_each(world, 200);
    world_commit(world);
    buf_free(&got);
    buf_free(&want);
    world_end(&fresh_state);
}

static int64_t
version_of(struct sqlite_db *db)
{
    int64_t version = -1;
    assert_int_equal(schema_version(db, &version), STATUS_OK);
    return version;
}

static void
migrations_run_forward_whole_or_not_at_all(void **state)
{
    static const char *const scripts[] = {
        NULL, /* the first is the released one */
        "ALTER TABLE account ADD COLUMN note TEXT NOT NULL DEFAULT '';\n",
        "CREATE TABLE tag (tag_id BIGINT PRIMARY KEY, name TEXT NOT NULL);\n"
        "INSERT INTO tag VALUES (1, 'x'); UPDATE account SET note = 'seen';\n",
        "CREATE TABLE other (a BIGINT NOT NULL); INSERT INTO tag VALUES (1, 'twice');\n",
    };
    struct world *world = *state;
    load_fixture(world, "schema1.sql");
    struct sqlite_db db;
    char error[512];
    assert_int_equal(db_open(&db, world->path, SQLITE_OPEN_READWRITE, error), STATUS_OK);
    assert_int_equal(version_of(&db), 1);
    assert_int_equal(migrate(&db, 1, scripts, 4), STATUS_EXISTS); /* the last one fails */
    assert_non_null(strstr(error, "UNIQUE constraint failed: tag.tag_id"));
    assert_int_equal(version_of(&db), 1);
    assert_int_equal(migrate(&db, 1, scripts, 2), STATUS_OK);
    assert_int_equal(version_of(&db), 2);
    assert_int_equal(migrate(&db, 2, scripts, 3), STATUS_OK);
    assert_int_equal(version_of(&db), 3);
    assert_int_equal(migrate(&db, 3, scripts, 3), STATUS_OK); /* nothing to do */
    assert_int_equal(db_exec(&db, "SELECT note FROM account WHERE rowid = account_id"), STATUS_OK);
    assert_int_equal(db_exec(&db, "SELECT a FROM other"), STATUS_INVALID);
    /* Keys of new tables are the rows' own too. */
    assert_int_equal(db_exec(&db, "INSERT INTO tag (name) VALUES ('y')"), STATUS_OK);
    int64_t epoch = 0;
    assert_int_equal(sqlite_meta_get_i64(&db, "epoch", &epoch), STATUS_OK);
    assert_int_equal(epoch, 1); /* kept */
    db_close(&db);
}

static void
an_empty_file_becomes_a_store(void **state)
{
    struct world *world = *state;
    put_file(world, "", 0);
    world_open(world);
    assert_int_equal(world->node.epoch, 1);
}

/* --- Statements. */

static void
parameters_are_numbered_in_order_of_first_use(void **state)
{
    static const char *const texts[] = {
#define TEXT_OF(name, sql) sql,
        STATEMENTS(TEXT_OF)
#undef TEXT_OF
    };
    struct world *world = *state;
    struct sqlite_db *db = &sqlite_store_of(world->store)->db;
    for (size_t i = 0; i < countof(texts); i++) {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v2(db->handle, texts[i], -1, &statement, NULL) != SQLITE_OK) {
            fail_msg("%s: %s", texts[i], sqlite3_errmsg(db->handle));
        }
        for (int j = 1; j <= sqlite3_bind_parameter_count(statement); j++) {
            char want[16];
            (void)snprintf(want, sizeof(want), "$%d", j);
            const char *got = sqlite3_bind_parameter_name(statement, j);
            if (!got || strcmp(got, want) != 0) {
                fail_msg("%s: %s is not %s", texts[i], got ? got : "?", want);
            }
        }
        (void)sqlite3_finalize(statement);
    }
}

static int
note_plan(void *user, int column_count, char **values, char **names)
{
    (void)names;
    buf_addf(user, "%s\n", values[column_count - 1]);
    return 0;
}

/* What a call needs is found by key: never by reading through a table. */
static void
no_statement_of_a_call_scans(void **state)
{
    static const struct {
        const char *name, *sql;
    } rows[] = {
#define ROW_OF(name, sql) { #name, sql },
        STATEMENTS(ROW_OF)
#undef ROW_OF
    };
    struct world *world = *state;
    struct sqlite_db *db = &sqlite_store_of(world->store)->db;
    for (size_t i = 0; i < countof(rows); i++) {
        if (strncmp(rows[i].name, "READ_", 5) == 0 || strncmp(rows[i].name, "LIMIT_DEF", 9) == 0
            || strcmp(rows[i].name, "HOLD_OLDEST") == 0  /* once a day */
            || strcmp(rows[i].name, "NODE_FENCE") == 0) { /* all nodes, every few seconds */
            continue;
        }
        struct buf sql = { 0 };
        struct buf plan = { 0 };
        buf_addf(&sql, "EXPLAIN QUERY PLAN %s", rows[i].sql);
        assert_int_equal(
            sqlite3_exec(db->handle, buf_cstr(&sql), note_plan, &plan, NULL), SQLITE_OK);
        if (strstr(buf_cstr(&plan), "SCAN")) {
            fail_msg("%s: %s", rows[i].name, buf_cstr(&plan));
        }
        buf_free(&sql);
        buf_free(&plan);
    }
}

/* A row costs the pages of one tree; an index beside the table would cost those of two, which a million
 * accounts have on the disk. */
static void
rows_of_a_call_are_found_in_one_tree(void **state)
{
    static const enum statement_id ids[] = { STATEMENT_ACCOUNT_GET, STATEMENT_KEY_GET,
        STATEMENT_THREAD_FIND, STATEMENT_THREAD_UPDATE, STATEMENT_SUBJECT_FIND, STATEMENT_TREE_FIND,
        STATEMENT_METER_GET, STATEMENT_METER_UPDATE, STATEMENT_HOLD_GET, STATEMENT_HOLD_UPDATE };
    static const char *const texts[] = {
#define TEXT_OF(name, sql) sql,
        STATEMENTS(TEXT_OF)
#undef TEXT_OF
    };
    struct world *world = *state;
    struct sqlite_db *db = &sqlite_store_of(world->store)->db;
    for (size_t i = 0; i < countof(ids); i++) {
        struct buf sql = { 0 };
        struct buf plan = { 0 };
        buf_addf(&sql, "EXPLAIN QUERY PLAN %s", texts[ids[i]]);
        assert_int_equal(
            sqlite3_exec(db->handle, buf_cstr(&sql), note_plan, &plan, NULL), SQLITE_OK);
        if (strstr(buf_cstr(&plan), "USING INDEX") || !strstr(buf_cstr(&plan), "PRIMARY KEY")) {
            fail_msg("%s: %s", texts[ids[i]], buf_cstr(&plan));
        }
        buf_free(&sql);
        buf_free(&plan);
    }
}

static void
the_ledger_has_one_tree_but_for_rare_rows(void **state)
{
    struct world *world = *state;
    struct sqlite_db *db = &sqlite_store_of(world->store)->db;
    struct buf found = { 0 };
    assert_int_equal(sqlite3_exec(db->handle,
                         "SELECT name FROM sqlite_master WHERE tbl_name IN ('ledger', 'hold')",
                         note_plan, &found, NULL),
        SQLITE_OK);
    assert_string_equal(buf_cstr(&found), "hold\nledger\nledger_events\nledger_of_others\n");
    buf_free(&found);
}

/* --- Time. */

static bool
take_any(void *user, const struct ledger_row *row)
{
    (void)row;
    ++*(int *)user;
    return true;
}

static void
a_read_ends_with_its_time(void **state)
{
    struct world *world = *state;
    world->options.read_max_ms = 1;
    world_open(world);
    world_begin(world);
    for (int64_t id = 1; id <= 20000; id++) {
        const struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    struct store_reader *reader = world_reader(world);
    const struct ledger_filter nobody = { .kind = -1, .account_id = 999 };
    int count = 0;
    EXPECT(world, store_read_ledger(reader, &nobody, take_any, &count), STATUS_IO);
    assert_non_null(strstr(store_reader_error(reader), "longer than allowed"));
    const struct ledger_filter first = { .kind = -1, .limit = 1 };
    OK(world, store_read_ledger(reader, &first, take_any, &count)); /* the next has its own time */
    assert_int_equal(count, 1);
    world_reader_close(world);
}

#define CLOSED(name, function) CASE_WITH(name, function, world_closed, world_end)
#define OPENED(name, function) CASE_WITH(name, function, world_on_disk, world_end)

static const struct CMUnitTest tests[] = {
    OPENED("a store outlives its process", a_store_outlives_its_process),
    OPENED("two stores have different signal keys", two_stores_have_different_signal_keys),
    CLOSED("the files are for nobody else", the_files_are_for_nobody_else),
    CLOSED("what cannot be a store is told in a sentence",
        what_cannot_be_a_store_is_told_in_a_sentence),
    CLOSED("a database of others is left alone", a_database_of_others_is_left_alone),
    CLOSED("a newer store is refused", a_newer_store_is_refused),
    CLOSED("without rights it is an I/O error", without_rights_it_is_an_io_error),
    CLOSED("a store may be opened to read only", a_store_may_be_opened_to_read_only),
    OPENED("a second gateway is told who holds the store",
        a_second_gateway_is_told_who_holds_the_store),
    CLOSED("a killed gateway holds nothing", a_killed_gateway_holds_nothing),
    OPENED("another writer makes a batch busy", another_writer_makes_a_batch_busy),
    OPENED("epochs run out", epochs_run_out),
    CLOSED("a store of schema 1 is opened with all it has",
        a_store_of_schema_1_is_opened_with_all_it_has),
    CLOSED(
        "migrations run forward, whole or not at all", migrations_run_forward_whole_or_not_at_all),
    CLOSED("an empty file becomes a store", an_empty_file_becomes_a_store),
    OPENED("parameters are numbered in order of first use",
        parameters_are_numbered_in_order_of_first_use),
    OPENED("no statement of a call scans", no_statement_of_a_call_scans),
    OPENED("rows of a call are found in one tree", rows_of_a_call_are_found_in_one_tree),
    OPENED("the ledger has one tree but for rare rows", the_ledger_has_one_tree_but_for_rare_rows),
    CLOSED("a read ends with its time", a_read_ends_with_its_time),
};
UNIT_MAIN(tests)
