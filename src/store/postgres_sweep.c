/* store/postgres_sweep.c: what is idle is found by walking through the tables in their own order, and deleted row by
 * row, under its lock and with the commit. The parameters are those of puts.c. */
#include "store/postgres_priv.h"

enum status
postgres_read_inside(struct postgres_store *postgres, enum statement_id id,
    const struct params *params, const PGresult **answer)
{
    size_t slot = 0;
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = postgres_flush_writes(postgres);
    }
    if (status == STATUS_OK) {
        status = pg_send(&postgres->db, id, FORM_PLAIN, params, &slot);
    }
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK) {
        *answer = postgres->db.answers[slot];
    }
    return status;
}

enum status
postgres_thread_delete(struct store *store, const struct thread_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put;
    check(locks_asked(&postgres->locks, LOCK_THREAD, row->thread_id));
    put_thread_delete(&put, row);
    queue_add(&postgres->queue, &put,
        (struct write_order){
            .rank = WRITE_THREAD, .ids = { row->account_id, row->kind }, .text = row->sig_hash });
    return STATUS_OK; /* memory that is not there is told by the commit */
}

enum status
postgres_subject_delete(struct store *store, const struct subject_row *row)
{
    struct put put;
    put_subject_delete(&put, row);
    queue_add(&postgres_store_of(store)->queue, &put,
        (struct write_order){
            .rank = WRITE_SUBJECT, .ids = { row->account_id, row->kind }, .text = row->name });
    return STATUS_OK;
}

enum status
postgres_meter_delete(struct store *store, const struct meter_row *row)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put;
    check(locks_asked(&postgres->locks, LOCK_METER, row->subject_id));
    put_meter_delete(&put, row);
    queue_add(&postgres->queue, &put,
        (struct write_order){ .rank = WRITE_METER, .ids = { row->subject_id }, .text = "" });
    return STATUS_OK;
}

enum status
postgres_threads_after(struct store *store, const struct thread_row *after, struct thread_row *rows,
    int32_t max, int32_t *count)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    *count = 0;
    param_i64(&params, after->account_id);
    param_i64(&params, after->kind);
    param_text(&params, after->sig_hash);
    param_i64(&params, max);
    const enum status status =
        postgres_read_inside(postgres, STATEMENT_THREADS_AFTER, &params, &answer);
    for (int i = 0; status == STATUS_OK && i < PQntuples(answer) && *count < max; i++) {
        struct thread_row *row = &rows[*count];
        if (!row_thread(pg_columns(&postgres->db, answer, i), row)) {
            return pg_damaged_row(&postgres->db, "thread", row->thread_id);
        }
        (*count)++;
    }
    return status;
}

static enum status
tell_members(struct postgres_store *postgres, const PGresult *answer, int64_t root_id,
    store_member *found, void *user)
{
    for (int i = 0; i < PQntuples(answer); i++) {
        struct tree_member member = { .root_id = root_id };
        if (!row_tree_member(pg_columns(&postgres->db, answer, i), &member)) {
            return pg_damaged_row(&postgres->db, "thread", member.thread_id);
        }
        found(user, &member);
    }
    return STATUS_OK;
}

/* All of them in one way there and back. */
enum status
postgres_tree_members(struct store *store, const int64_t *root_ids, int32_t root_count,
    store_member *found, void *user)
{
    struct postgres_store *postgres = postgres_store_of(store);
    size_t slots[STORE_TREES_MAX];
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = postgres_flush_writes(postgres);
    }
    for (int32_t i = 0; status == STATUS_OK && i < root_count; i++) {
        struct params params = { .count = 0 };
        param_i64(&params, root_ids[i]);
        status = pg_send(&postgres->db, STATEMENT_TREE_MEMBERS, FORM_PLAIN, &params, &slots[i]);
    }
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    for (int32_t i = 0; status == STATUS_OK && i < root_count; i++) {
        status = tell_members(postgres, postgres->db.answers[slots[i]], root_ids[i], found, user);
    }
    return status;
}

enum status
postgres_meters_after(
    struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    *count = 0;
    param_i64(&params, after_id);
    param_i64(&params, max);
    const enum status status =
        postgres_read_inside(postgres, STATEMENT_METERS_AFTER, &params, &answer);
    for (int i = 0; status == STATUS_OK && i < PQntuples(answer) && *count < max; i++) {
        struct meter_mark *mark = &marks[*count];
        if (!row_meter_mark(pg_columns(&postgres->db, answer, i), mark)) {
            return pg_damaged_row(&postgres->db, "meter", mark->subject_id);
        }
        (*count)++;
    }
    return status;
}

enum status
postgres_hold_oldest(struct store *store, int64_t *created_ms)
{
    struct postgres_store *postgres = postgres_store_of(store);
    const struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    const enum status status =
        postgres_read_inside(postgres, STATEMENT_HOLD_OLDEST, &params, &answer);
    if (status != STATUS_OK || PQntuples(answer) == 0) {
        return status == STATUS_OK ? STATUS_NOT_FOUND : status;
    }
    return row_time(pg_columns(&postgres->db, answer, 0), created_ms)
               ? STATUS_OK
               : pg_damaged_row(&postgres->db, "hold", 0);
}
