/* store/prune.c: rows of the ledger that are older than they are kept go, a few a step; and the door to what is
 * idle. */
#include "store/store_priv.h"

static int64_t
epoch_end(int64_t id)
{
    return (((id >> ID_COUNTER_BITS) + 1) << ID_COUNTER_BITS) - 1;
}

/* Where the walk goes on behind these rows, and how many of them go. */
static void
judge_marks(struct store_prune *prune, const struct ledger_mark *marks, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (marks[i].id <= prune->after_id) {
            continue; /* of an epoch whose rest is younger */
        }
        const bool old = marks[i].at_ms < prune->before_ms;
        prune->after_id = old ? marks[i].id : epoch_end(marks[i].id);
        prune->deleted_count += old && ledger_kind_ages(marks[i].kind);
    }
}

static enum status
prune_ledger(struct store *store, struct store_prune *prune)
{
    struct ledger_mark marks[STORE_PRUNE_ROWS];
    const int64_t after_id = prune->after_id;
    int32_t count = 0;
    enum status status =
        store->rows->ledger_marks(store, after_id, marks, STORE_PRUNE_ROWS, &count);
    if (status != STATUS_OK) {
        return status;
    }
    prune->looked_count = count;
    prune->done = count < STORE_PRUNE_ROWS;
    judge_marks(prune, marks, count);
    if (prune->deleted_count == 0) {
        return STATUS_OK;
    }
    status = store->rows->mark_raise(store, META_KEPT_FROM, prune->before_ms);
    return status == STATUS_OK
               ? store->rows->ledger_drop(store, after_id, marks[count - 1].id, prune->before_ms)
               : status;
}

enum status
store_prune(struct store *store, struct store_prune *prune)
{
    check(store->state == STORE_WRITING);
    const int64_t refusals_ms = max_i64(prune->refusals_before_ms, prune->before_ms);
    int32_t refusals = 0;
    prune->looked_count = prune->deleted_count = 0;
    prune->done = false;
    if (refusals_ms > 0) {
        const enum status status =
            store->rows->refusals_old(store, refusals_ms, STORE_PRUNE_ROWS, &refusals);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (refusals > 0) {
        prune->looked_count = prune->deleted_count = refusals; /* each has its row in the ledger */
        return store->rows->refusals_drop(store, refusals_ms, STORE_PRUNE_ROWS);
    }
    if (prune->before_ms == 0) {
        prune->done = true;
        return STATUS_OK;
    }
    return prune_ledger(store, prune);
}

enum status
store_threads_after(struct store *store, const struct thread_row *after, struct thread_row *rows,
    int32_t max, int32_t *count)
{
    check(store->state != STORE_IDLE);
    return store->rows->threads_after(store, after, rows, max, count);
}

enum status
store_meters_after(
    struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count)
{
    check(store->state != STORE_IDLE);
    return store->rows->meters_after(store, after_id, marks, max, count);
}

enum status
store_tree_members(struct store *store, const int64_t *root_ids, int32_t root_count,
    store_member *found, void *user)
{
    check(store->state != STORE_IDLE);
    check(root_count > 0 && root_count <= STORE_TREES_MAX);
    return store->rows->tree_members(store, root_ids, root_count, found, user);
}

enum status
store_hold_oldest(struct store *store, int64_t *created_ms)
{
    check(store->state != STORE_IDLE);
    return store->rows->hold_oldest(store, created_ms);
}

enum status
store_thread_delete(struct store *store, const struct thread_row *row)
{
    check(store->state == STORE_WRITING);
    return store->rows->thread_delete(store, row);
}

enum status
store_subject_delete(struct store *store, const struct subject_row *row)
{
    check(store->state == STORE_WRITING);
    return store->rows->subject_delete(store, row);
}

enum status
store_meter_delete(struct store *store, const struct meter_row *row)
{
    check(store->state == STORE_WRITING);
    return store->rows->meter_delete(store, row);
}

enum status
store_kept_from(struct store *store, int64_t *kept_from_ms)
{
    *kept_from_ms = 0;
    const enum status status = store->rows->mark(store, META_KEPT_FROM, kept_from_ms);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
