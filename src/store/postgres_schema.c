/* store/postgres_schema.c: schema versions in PostgreSQL, forward only, from the scripts that SQLite runs.
 * Gateways that start at once take turns. */
#include "store/postgres_priv.h"

#include <stdio.h>

#define VERSION_MIN         150000
#define MIGRATION_WAIT_MS   (10 * 60 * 1000)
#define MIGRATION_LOCK_TEXT "8388097431" /* of all gateways of a database: any number */

enum status
facts_judge(const struct postgres_facts *facts, const char *place, char error_text[512])
{
    if (facts->version < VERSION_MIN) {
        return store_fail(error_text, STATUS_INVALID,
            "%s is served by PostgreSQL %d, and Tidegate needs 15 or newer: upgrade the server",
            place, facts->version / 10000);
    }
    if (!facts->encoding || strcmp(facts->encoding, "UTF8") != 0) {
        return store_fail(error_text, STATUS_INVALID,
            "%s is encoded in %s, and Tidegate needs UTF8: create another one with createdb "
            "--encoding=UTF8 --template=template0",
            place, facts->encoding ? facts->encoding : "no encoding that is known");
    }
    if (facts->is_standby) {
        return store_fail(error_text, STATUS_INVALID,
            "%s is served by a read-only standby: name the primary in the store's URL, or both, separated "
            "by a comma",
            place);
    }
    if (facts->is_read_only) {
        return store_fail(error_text, STATUS_INVALID,
            "%s takes no writes: set default_transaction_read_only = off for it and for the user of the "
            "URL",
            place);
    }
    return STATUS_OK;
}

/* --- What is there. */

/* "CREATE TABLE name (": the names of a script, as SQL literals. */
static void
add_table_names(struct buf *sql, struct slice script)
{
    const struct slice create = SLICE("CREATE TABLE ");
    for (ptrdiff_t at = 0; (at = slice_find(script, create)) >= 0;) {
        const size_t taken = (size_t)at + create.len;
        script = slice_of(script.ptr + taken, script.len - taken);
        struct slice rest = script;
        struct slice name;
        if (slice_split(&rest, ' ', &name)) {
            buf_add_str(sql, sql->ptr[sql->len - 1] == '(' ? "'" : ", '");
            buf_add_slice(sql, name);
            buf_add_char(sql, '\'');
        }
    }
}

/* The first column of the first row of a query that is only asked here; NOT_FOUND without a row. */
static enum status
ask_text(struct postgres_db *db, const char *sql, char *out, size_t out_size)
{
    PGresult *answer = NULL;
    const enum status status = link_ask(db, sql, &answer);
    out[0] = '\0';
    if (status == STATUS_OK && PQntuples(answer) > 0 && !PQgetisnull(answer, 0, 0)) {
        (void)snprintf(out, out_size, "%s", PQgetvalue(answer, 0, 0));
    }
    const bool found = status == STATUS_OK && PQntuples(answer) > 0;
    PQclear(answer);
    return status == STATUS_OK && !found ? STATUS_NOT_FOUND : status;
}

/* The first of our tables that is there, or "". */
static enum status
find_tables(struct postgres_db *db, const char *condition, char found[256])
{
    struct buf sql = { 0 };
    buf_add_str(&sql,
        "SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = "
        "(SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind IN ('r', 'v', "
        "'m', 'f', 'p') AND relname IN (");
    for (size_t i = 0; i < store_schema_script_count; i++) {
        add_table_names(&sql, slice_str(store_schema_scripts[i]));
    }
    buf_addf(&sql, ") AND %s", condition);
    const enum status status = sql.failed ? STATUS_FULL : ask_text(db, buf_cstr(&sql), found, 256);
    buf_free(&sql);
    return status;
}

static enum status
foreign_tables(struct postgres_db *db, const char *found)
{
    return store_fail(db->error_text, STATUS_INVALID,
        "%s has tables of another program that bear the names of ours (%.120s): give Tidegate a database "
        "of its own",
        db->place->text, found);
}

/* Of a database without our tables: 0. */
static enum status
read_version(struct postgres_db *db, int64_t *version)
{
    char found[256];
    char text[32];
    *version = 0;
    enum status status = find_tables(db, "true", found);
    if (status != STATUS_OK || found[0] == '\0') {
        return status;
    }
    status = ask_text(db,
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(current_schema()) || "
        "'.meta') AND attname IN ('name', 'value') AND atttypid = 'text'::regtype",
        text, sizeof(text));
    if (status != STATUS_OK) {
        return status;
    }
    if (strcmp(text, "2") != 0) {
        return foreign_tables(db, found);
    }
    status =
        ask_text(db, "SELECT value FROM meta WHERE name = 'schema_version'", text, sizeof(text));
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    return slice_to_i64(slice_str(text), version) && *version > 0 ? STATUS_OK
                                                                  : foreign_tables(db, found);
}

static enum status
judge_version(struct postgres_db *db, int64_t version, bool read_only)
{
    if (version > STORE_SCHEMA_VERSION) {
        return store_fail(db->error_text, STATUS_NEWER,
            "%s was written by a newer version of Tidegate (schema %lld, this one knows %d): install that "
            "version",
            db->place->text, (long long)version, STORE_SCHEMA_VERSION);
    }
    if (read_only && version < STORE_SCHEMA_VERSION) {
        return store_fail(db->error_text, version == 0 ? STATUS_NOT_FOUND : STATUS_INVALID,
            "%s %s: start a gateway on it once", db->place->text,
            version == 0 ? "holds no store" : "holds a store of an older version");
    }
    return STATUS_OK;
}

/* --- Making it. */

/* Texts are compared by their bytes, as SQLite does. */
void
postgres_script(struct buf *sql, struct slice script)
{
    const struct slice type = SLICE(" TEXT ");
    for (;;) {
        const ptrdiff_t at = slice_find(script, type);
        if (at < 0) {
            buf_add_slice(sql, script);
            return;
        }
        buf_add(sql, script.ptr, (size_t)at);
        buf_add_str(sql, " TEXT COLLATE \"C\" ");
        const size_t taken = (size_t)at + type.len;
        script = slice_of(script.ptr + taken, script.len - taken);
    }
}

static void
tell_rights(struct postgres_db *db, const PGconn *conn)
{
    const char *user = conn ? PQuser(conn) : NULL;
    const char *what =
        slice_find(slice_str(db->error_text), SLICE("permission denied for schema")) >= 0
            ? "may create no tables there: GRANT CREATE ON SCHEMA public TO it, or make it the "
              "owner of the database"
        : slice_find(slice_str(db->error_text), SLICE("no schema has been selected")) >= 0
            ? "has no schema there to create tables in: set its search_path, or CREATE "
              "SCHEMA public"
            : NULL;
    if (what) {
        char text[512];
        (void)snprintf(text, sizeof(text), "%.200s cannot be used: the user %.60s %s",
            db->place->text, user ? user : "of the URL", what);
        memcpy(db->error_text, text, sizeof(text));
    }
}

static enum status
run_scripts(struct postgres_db *db, int64_t from, const char *const *scripts, size_t script_count)
{
    struct buf sql = { 0 };
    for (size_t i = (size_t)from; i < script_count; i++) {
        postgres_script(&sql, slice_str(scripts[i]));
    }
    if (from == 0) {
        buf_add_str(&sql, "INSERT INTO meta (name, value) VALUES ('epoch', '0'), "
                          "('identity_version', '0'), ('high_water', '0');");
    }
    buf_addf(&sql,
        "INSERT INTO meta (name, value) VALUES ('schema_version', '%zu') ON CONFLICT (name) DO UPDATE "
        "SET value = excluded.value;",
        script_count);
    const enum status status = sql.failed ? STATUS_FULL : link_ask(db, buf_cstr(&sql), NULL);
    buf_free(&sql);
    return status;
}

static enum status
judge_rights(struct postgres_db *db)
{
    char lacking[256];
    const enum status status = find_tables(db,
        "NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') "
        "AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))",
        lacking);
    if (status != STATUS_OK || lacking[0] == '\0') {
        return status;
    }
    return store_fail(db->error_text, STATUS_INVALID,
        "%s cannot be used: the user %.60s may not read and write all tables of the store (%.200s): GRANT "
        "SELECT, INSERT, UPDATE, DELETE on them",
        db->place->text, PQuser(db->conn), lacking);
}

static enum status
migrate_locked(struct postgres_db *db, const char *const *scripts, size_t script_count)
{
    int64_t version = 0;
    enum status status = read_version(db, &version);
    if (status == STATUS_OK) {
        status = judge_version(db, version, false);
    }
    if (status == STATUS_OK && (size_t)version < script_count) {
        status = run_scripts(db, version, scripts, script_count);
    }
    return status;
}

/* Rewriting a table takes its time, and so does another gateway that does it first. */
static enum status
migrate_in_turn(struct postgres_db *db, const char *const *scripts, size_t script_count)
{
    const int32_t wait_ms = db->options.wait_ms;
    db->options.wait_ms = MIGRATION_WAIT_MS;
    enum status status = link_ask(db,
        "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
        "SELECT pg_advisory_xact_lock(" MIGRATION_LOCK_TEXT ")",
        NULL);
    if (status == STATUS_OK) {
        status = migrate_locked(db, scripts, script_count);
    }
    if (status == STATUS_OK) {
        status = link_ask(db, "COMMIT", NULL);
    }
    db->options.wait_ms = wait_ms;
    if (status != STATUS_OK) {
        tell_rights(db, db->conn); /* the caller ends the connection, and with it the transaction */
    }
    return status;
}

enum status
postgres_migrate(
    struct postgres_db *db, bool read_only, const char *const *scripts, size_t script_count)
{
    int64_t version = 0;
    enum status status = read_version(db, &version);
    if (status == STATUS_OK) {
        status = judge_version(db, version, read_only);
    }
    if (status != STATUS_OK || read_only) {
        return status;
    }
    if ((size_t)version < script_count) {
        status = migrate_in_turn(db, scripts, script_count);
    }
    return status == STATUS_OK ? judge_rights(db) : status;
}
