/* store/sqlite_sweep.c: what is idle is found by walking through the tables in their own order, and deleted row by
 * row. The parameters are those of puts.c. */
#include "store/sqlite_priv.h"

static struct sqlite_db *
db_of(struct store *store)
{
    return &sqlite_store_of(store)->db;
}

enum status
sqlite_thread_delete(struct store *store, const struct thread_row *row)
{
    struct put put;
    put_thread_delete(&put, row);
    return run_put(db_of(store), &put);
}

enum status
sqlite_subject_delete(struct store *store, const struct subject_row *row)
{
    struct put put;
    put_subject_delete(&put, row);
    return run_put(db_of(store), &put);
}

enum status
sqlite_meter_delete(struct store *store, const struct meter_row *row)
{
    struct put put;
    put_meter_delete(&put, row);
    return run_put(db_of(store), &put);
}

enum status
sqlite_threads_after(struct store *store, const struct thread_row *after, struct thread_row *rows,
    int32_t max, int32_t *count)
{
    struct query query = query_start(db_of(store), STATEMENT_THREADS_AFTER);
    enum status status = STATUS_OK;
    *count = 0;
    query_i64(&query, after->account_id);
    query_i64(&query, after->kind);
    query_text(&query, after->sig_hash);
    query_i64(&query, max);
    while (*count < max && (status = query_next(&query)) == STATUS_OK) {
        if (!row_thread(query.columns, &rows[*count])) {
            status = db_damaged(query.db, "thread", rows[*count].thread_id);
            break;
        }
        (*count)++;
    }
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
tell_members(struct sqlite_db *db, int64_t root_id, store_member *found, void *user)
{
    struct query query = query_start(db, STATEMENT_TREE_MEMBERS);
    enum status status = STATUS_OK;
    query_i64(&query, root_id);
    while ((status = query_next(&query)) == STATUS_OK) {
        struct tree_member member = { .root_id = root_id };
        if (!row_tree_member(query.columns, &member)) {
            status = db_damaged(db, "thread", member.thread_id);
            break;
        }
        found(user, &member);
    }
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
sqlite_tree_members(struct store *store, const int64_t *root_ids, int32_t root_count,
    store_member *found, void *user)
{
    enum status status = STATUS_OK;
    for (int32_t i = 0; status == STATUS_OK && i < root_count; i++) {
        status = tell_members(db_of(store), root_ids[i], found, user);
    }
    return status;
}

enum status
sqlite_meters_after(
    struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count)
{
    struct query query = query_start(db_of(store), STATEMENT_METERS_AFTER);
    enum status status = STATUS_OK;
    *count = 0;
    query_i64(&query, after_id);
    query_i64(&query, max);
    while (*count < max && (status = query_next(&query)) == STATUS_OK) {
        if (!row_meter_mark(query.columns, &marks[*count])) {
            status = db_damaged(query.db, "meter", marks[*count].subject_id);
            break;
        }
        (*count)++;
    }
    query_end(&query);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
sqlite_hold_oldest(struct store *store, int64_t *created_ms)
{
    struct query query = query_start(db_of(store), STATEMENT_HOLD_OLDEST);
    const enum status status = query_next(&query);
    const bool intact = status != STATUS_OK || row_time(query.columns, created_ms);
    return query_finish(&query, status, intact, "hold", created_ms);
}
