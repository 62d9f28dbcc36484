/* store/postgres_inspect.c: every row of a store in a database, in one snapshot. */
#include "store/inspect_priv.h"
#include "store/postgres_priv.h"

#include <stdio.h>

#define LOOK_ROWS 2000
#define ANSWER_MS 600000 /* for the first row of a large table on a busy server */
#define LOCKED_MS 5000

struct link_options
patient_options(bool read_only)
{
    return (struct link_options){
        .lock_ms = LOCKED_MS, .wait_ms = ANSWER_MS, .full_sync = true, .read_only = read_only
    };
}

/* Whole tables are read in the order of their keys. */
static enum status
read_table(struct postgres_db *db, enum inspect_table_id table, const struct inspector *to)
{
    const struct inspect_table *own = &inspect_tables[table];
    struct params params = { .count = 0 };
    PGresult *row = NULL;
    int64_t done = 0;
    if (table == INSPECT_LEDGER) {
        param_i64(&params, -1);
        param_i64(&params, INT64_MAX);
        param_i64(&params, INT64_MAX);
    }
    enum status status = pg_ask_rows(db, own->statement, &params);
    bool going = to->progress(to->user, own->name, 0, 0);
    while (going && status == STATUS_OK) {
        status = scan_next(db, &row);
        if (status == STATUS_OK) {
            (void)inspect_row(to, table, pg_columns(db, row, 0));
            going = ++done % LOOK_ROWS != 0 || to->progress(to->user, own->name, done, 0);
        }
    }
    PQclear(row);
    if (!going) {
        link_drop(db); /* and with it what is still to come */
        return store_fail(db->error_text, STATUS_CLOSED, "it was broken off");
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
read_own(struct postgres_db *db, struct inspected *inspected)
{
    inspected->schema_version = STORE_SCHEMA_VERSION; /* it was judged to be */
    enum status status =
        ask_number(db, "SELECT pg_database_size(current_database())", &inspected->bytes);
    if (status == STATUS_OK) {
        status = ask_number(db, "SELECT value FROM meta WHERE name = 'epoch'", &inspected->epoch);
    }
    if (status == STATUS_OK) {
        status = ask_number(
            db, "SELECT value FROM meta WHERE name = 'high_water'", &inspected->high_water_ms);
    }
    if (status == STATUS_OK) {
        status = ask_number(db, "SELECT value FROM meta WHERE name = '" META_KEPT_FROM "'",
            &inspected->kept_from_ms);
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    return status == STATUS_NOT_FOUND ? store_fail(db->error_text, STATUS_INVALID,
               "%s holds a damaged store: table meta has no epoch, or no time", db->place->text)
                                      : status;
}

enum status
postgres_inspect_in(
    struct postgres_db *db, const struct inspector *inspector, struct inspected *inspected)
{
    *inspected = (struct inspected){ 0 };
    enum status status = read_own(db, inspected);
    if (status == STATUS_OK) {
        inspector->own(inspector->user, inspected);
    }
    for (int i = 0; status == STATUS_OK && i < INSPECT_TABLE_COUNT; i++) {
        status = read_table(db, (enum inspect_table_id)i, inspector);
    }
    return status;
}

static enum status
inspect_connected(
    struct postgres_db *db, const struct inspector *inspector, struct inspected *inspected)
{
    enum status status =
        postgres_migrate(db, true, store_schema_scripts, store_schema_script_count);
    if (status == STATUS_OK) {
        status = link_ask(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL);
    }
    return status == STATUS_OK ? postgres_inspect_in(db, inspector, inspected) : status;
}

enum status
postgres_inspect(const char *url, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    struct postgres_place place;
    struct store_costs costs = { 0 };
    struct postgres_db db = { .place = &place,
        .options = patient_options(true),
        .costs = &costs,
        .error_text = error->text };
    enum status status = place_read(&place, url, error->text);
    if (status != STATUS_OK) {
        return status;
    }
    status = link_connect(&db);
    if (status == STATUS_OK) {
        status = inspect_connected(&db, inspector, inspected);
    }
    pg_close(&db);
    place_free(&place);
    return status;
}
