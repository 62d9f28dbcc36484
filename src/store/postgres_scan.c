/* store/postgres_scan.c: all rows of a query, one by one, outside of a pipeline: for what reads whole tables. */
#include "store/postgres_priv.h"

#include "base/clock.h"

enum status
scan_start(struct postgres_db *db, const char *sql)
{
    if (!PQsendQueryParams(db->conn, sql, 0, NULL, NULL, NULL, NULL, 1)
        || !PQsetSingleRowMode(db->conn)) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    return STATUS_OK;
}

/* What follows the last row is the end of the answer. */
static enum status
scan_end(struct postgres_db *db, enum status status)
{
    char kept[512];
    memcpy(kept, db->error_text, sizeof(kept));
    while (db->conn && link_wait(db, clock_mono_ms() + db->options.wait_ms) == STATUS_OK) {
        PGresult *rest = PQgetResult(db->conn);
        if (!rest) {
            break;
        }
        PQclear(rest);
    }
    if (db->conn) {
        memcpy(db->error_text, kept, sizeof(kept));
    }
    return db->conn ? status : STATUS_IO;
}

enum status
scan_next(struct postgres_db *db, PGresult **row)
{
    PQclear(*row);
    *row = NULL;
    const enum status status = link_wait(db, clock_mono_ms() + db->options.wait_ms);
    if (status != STATUS_OK) {
        return status;
    }
    PGresult *result = PQgetResult(db->conn);
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE: *row = result; return STATUS_OK;
    case PGRES_TUPLES_OK: PQclear(result); return scan_end(db, STATUS_NOT_FOUND);
    default: break;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const enum status failed = fault_tell(db, result, fault_of_state(state ? state : "08006"));
    PQclear(result);
    return scan_end(db, failed);
}

enum status
ask_number(struct postgres_db *db, const char *sql, int64_t *number)
{
    PGresult *answer = NULL;
    *number = 0;
    enum status status = link_ask(db, sql, &answer);
    if (status == STATUS_OK && PQntuples(answer) == 0) {
        status = STATUS_NOT_FOUND;
    }
    if (status == STATUS_OK && !slice_to_i64(slice_str(PQgetvalue(answer, 0, 0)), number)) {
        status = store_fail(db->error_text, STATUS_INVALID,
            "%s holds a damaged store: a number of it is none", db->place->text);
    }
    PQclear(answer);
    return status;
}
