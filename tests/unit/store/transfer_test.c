/* tests/unit/store/transfer_test.c
 *
 * Goal: a transfer carries every row of every table, or nothing; no gateway runs on either end meanwhile; ids,
 * time and the key of signals go on.
 * Method: books with rows in all tables, among them those that no gateway writes yet; whole tables are compared as
 * SQLite prints them. */
#include "world.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/backup.h"
#include "store/transfer_priv.h"

struct ends {
    struct world *world;
    char to_path[160], to_url[640];
    struct transfer_options options;
    struct transfer transfer;
    struct store_error error;
};

static struct ends
ends_of(struct world *world)
{
    struct ends ends = { .world = world };
    (void)snprintf(ends.to_path, sizeof(ends.to_path), "%s/moved.db", world->folder);
    (void)snprintf(ends.to_url, sizeof(ends.to_url), "sqlite:%s", ends.to_path);
    return ends;
}

static enum status
move(struct ends *ends, bool force)
{
    ends->options.from = ends->world->url;
    ends->options.to = ends->to_url;
    ends->options.force = force;
    return store_transfer(&ends->options, &ends->transfer, &ends->error);
}

#define MOVED(ends, force, want)                                                                   \
    do {                                                                                           \
        const enum status moved_ = move((ends), (force));                                          \
        if (moved_ != (want)) {                                                                    \
            fail_msg("%s: %s", status_name(moved_), (ends)->error.text);                           \
        }                                                                                          \
    } while (0)

/* Rows in every table, three in most. */
static void
fill(struct world *world)
{
    for (int64_t base = 100; base <= 300; base += 100) {
        world_begin(world);
        put_one_of_each(world, base);
        world_commit(world);
    }
    world_close(world);
    world_sql(world, "INSERT INTO account_group VALUES ('research', 1), ('research', 2), ('ops', 1);"
                     "INSERT INTO meter_log VALUES (1, 2, 3, 4, 5), (1, 2, 3, 5, -5);"
                     "INSERT INTO thread_day VALUES (1, 'p', 2, 3, 0, 4), (1, '\xc3\xa4', 2, 3, 1, 0);"
                     "INSERT INTO lease VALUES ('sweep', 1, 1, 5)");
}

static int
add_columns(void *user, int count, char **values, char **names)
{
    for (int i = 0; i < count; i++) {
        buf_addf(user, "%s=%s|", names[i], values[i] ? values[i] : "NULL");
    }
    buf_add_char(user, '\n');
    return 0;
}

static struct buf
dump(const char *path, const struct transfer_table *table, const char *where)
{
    struct buf out = { 0 };
    sqlite3 *db = NULL;
    char sql[512];
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s %s ORDER BY %s", table->name, where, table->order);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, add_columns, &out, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return out;
}

static void
assert_same_rows(const struct ends *ends, const struct transfer_table *table, const char *where)
{
    struct buf from = dump(ends->world->path, table, where);
    struct buf to = dump(ends->to_path, table, where);
    assert_true(from.len > 0);
    assert_string_equal(buf_cstr(&from), buf_cstr(&to));
    buf_free(&from);
    buf_free(&to);
}

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void
every_table_of_the_schema_is_known(void **state)
{
    static const char *const placed[] = { "meta", "node", "lease" };
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < store_schema_script_count; i++) {
        const char *at = store_schema_scripts[i];
        while ((at = strstr(at, "CREATE TABLE ")) != NULL) {
            at += strlen("CREATE TABLE ");
            bool known = false;
            for (size_t t = 0; t < countof(placed); t++) {
                known |= strncmp(at, placed[t], strlen(placed[t])) == 0 && at[strlen(placed[t])] == ' ';
            }
            for (size_t t = 0; t < transfer_table_count; t++) {
                const char *name = transfer_tables[t].name;
                known |= strncmp(at, name, strlen(name)) == 0 && at[strlen(name)] == ' ';
            }
            if (!known) {
                fail_msg("not carried: %.40s", at);
            }
            count++;
        }
    }
    assert_int_equal(count, countof(placed) + transfer_table_count);
}

static void
every_row_is_carried(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    fill(world);
    MOVED(&ends, true, STATUS_OK);
    for (size_t i = 0; i < transfer_table_count; i++) {
        assert_same_rows(&ends, &transfer_tables[i], "");
        assert_string_equal(ends.transfer.sums[i].what, transfer_tables[i].name);
        assert_true(ends.transfer.sums[i].source > 0);
    }
    for (int32_t i = 0; i < ends.transfer.sum_count; i++) {
        assert_int_equal(ends.transfer.sums[i].source, ends.transfer.sums[i].target);
    }
    assert_same_rows(&ends, &transfer_meta, "WHERE name NOT IN ('home', 'running')");
    assert_int_equal(ends.transfer.open_hold_count, 3);
    assert_int_equal(ends.transfer.epoch, world->node.epoch);
    assert_true(ends.transfer.difference_count > 0); /* such rows are no books */
}

static void
a_gateway_goes_on_where_the_other_was(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    struct hold_row orphan;
    world->node.high_water_ms = NOW_MS + DAY_MS;
    fill(world);
    MOVED(&ends, true, STATUS_OK);
    const struct world before = *world;
    (void)snprintf(world->url, sizeof(world->url), "%.120s", ends.to_url);
    world_open(world);
    assert_int_equal(world->node.epoch, before.node.epoch + 1);
    assert_int_equal(world->node.high_water_ms, NOW_MS + DAY_MS);
    assert_memory_equal(world->signal_key, before.signal_key, sizeof(world->signal_key));
    world_begin(world);
    int64_t after = 0;
    int count = 0;
    while (store_hold_orphan(world->store, after, &orphan) == STATUS_OK) {
        after = orphan.hold_id;
        count++;
    }
    assert_int_equal(count, 3); /* calls in flight are its orphans */
    world_commit(world);
}

static void
nothing_is_carried_beside_a_gateway(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    MOVED(&ends, true, STATUS_BUSY); /* of the source */
    assert_false(is_there(ends.to_path));
    world_close(world);
    struct store *target = NULL;
    assert_int_equal(store_open(ends.to_url, &world->options, &target, &ends.error), STATUS_OK);
    MOVED(&ends, true, STATUS_BUSY);
    store_close(target);
}

static void
a_target_that_is_there_is_not_touched(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    struct stat before, after;
    fill(world);
    MOVED(&ends, true, STATUS_OK);
    assert_int_equal(stat(ends.to_path, &before), 0);
    MOVED(&ends, true, STATUS_EXISTS);
    assert_int_equal(stat(ends.to_path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    (void)snprintf(ends.to_url, sizeof(ends.to_url), "%.190s", world->url);
    MOVED(&ends, true, STATUS_BUSY); /* into itself */
}

static void
books_that_do_not_agree_are_carried_by_force_alone(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    fill(world);
    MOVED(&ends, false, STATUS_INVALID);
    assert_non_null(strstr(ends.error.text, "--force"));
    assert_false(is_there(ends.to_path));
}

static void
a_backup_is_no_source(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    struct audit audit;
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/backup.db", world->folder);
    world_close(world);
    assert_int_equal(
        store_backup(world->url, path, false, NOW_MS, NULL, NULL, &audit, &ends.error), STATUS_OK);
    store_audit_free(&audit);
    (void)snprintf(world->url, sizeof(world->url), "sqlite:%.110s", path);
    MOVED(&ends, true, STATUS_INVALID);
    assert_non_null(strstr(ends.error.text, "restore"));
}

struct patience {
    int left;
};

static bool
lose_patience(void *user, const char *doing, int64_t done, int64_t total)
{
    struct patience *patience = user;
    return --patience->left > 0;
}

/* To a database, broken off wherever that can be; then back into a file. */
static void
through_a_database_every_row_is_carried(void **state)
{
    struct world *world = *state;
    struct world database = { .disk = false };
    struct ends ends = ends_of(world);
    struct patience patience;
    enum status status = STATUS_CLOSED;
    if (!getenv("TIDEGATE_TEST_PG")) {
        print_message("# not run: TIDEGATE_TEST_PG names no server\n");
        return;
    }
    fill(world);
    world_postgres_begin(&database);
    ends.options = (struct transfer_options){ .from = world->url,
        .to = database.url,
        .force = true,
        .progress = lose_patience,
        .user = &patience };
    for (int steps = 0; status != STATUS_OK; steps++) {
        patience.left = steps;
        status = store_transfer(&ends.options, &ends.transfer, &ends.error);
        if (status != STATUS_OK && status != STATUS_CLOSED) {
            fail_msg("after %d steps: %s: %s", steps, status_name(status), ends.error.text);
        }
    }
    ends.options = (struct transfer_options){
        .from = database.url, .to = ends.to_url, .force = true
    };
    status = store_transfer(&ends.options, &ends.transfer, &ends.error);
    if (status != STATUS_OK) {
        fail_msg("%s", ends.error.text);
    }
    for (size_t i = 0; i < transfer_table_count; i++) {
        assert_same_rows(&ends, &transfer_tables[i], "");
    }
    assert_same_rows(&ends, &transfer_meta, "WHERE name NOT IN ('home', 'running')");
    world_postgres_end(&database);
}

/* Wherever it is broken off: no target, no trace of one, and it can be done again. */
static void
broken_off_it_leaves_nothing(void **state)
{
    struct world *world = *state;
    struct ends ends = ends_of(world);
    struct patience patience;
    enum status status = STATUS_CLOSED;
    int steps = 0;
    fill(world);
    ends.options.progress = lose_patience;
    ends.options.user = &patience;
    for (; status != STATUS_OK; steps++) {
        char part[256];
        patience.left = steps;
        status = move(&ends, true);
        assert_true(status == STATUS_OK || status == STATUS_CLOSED);
        (void)snprintf(part, sizeof(part), "%s.%ld.part", ends.to_path, (long)getpid());
        assert_false(is_there(part));
        assert_int_equal(is_there(ends.to_path), status == STATUS_OK);
    }
    assert_true(steps > (int)transfer_table_count);
}

static const struct CMUnitTest tests[] = {
    CASE("every table of the schema is known", every_table_of_the_schema_is_known),
    CASE_WITH("every row is carried", every_row_is_carried, world_on_disk, world_end),
    CASE_WITH("a gateway goes on where the other was", a_gateway_goes_on_where_the_other_was,
        world_on_disk, world_end),
    CASE_WITH("nothing is carried beside a gateway", nothing_is_carried_beside_a_gateway,
        world_on_disk, world_end),
    CASE_WITH("a target that is there is not touched", a_target_that_is_there_is_not_touched,
        world_on_disk, world_end),
    CASE_WITH("books that do not agree are carried by force alone",
        books_that_do_not_agree_are_carried_by_force_alone, world_on_disk, world_end),
    CASE_WITH("a backup is no source", a_backup_is_no_source, world_on_disk, world_end),
    CASE_WITH("through a database every row is carried", through_a_database_every_row_is_carried,
        world_on_disk, world_end),
    CASE_WITH("broken off it leaves nothing", broken_off_it_leaves_nothing, world_on_disk, world_end),
};
UNIT_MAIN(tests)
