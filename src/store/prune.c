/* store/prune.c: rows of the ledger that are older than they are kept go, a few a step. */
#include "store/store_priv.h"

static int64_t
epoch_end(int64_t id)
{
    return (((id >> ID_COUNTER_BITS) + 1) << ID_COUNTER_BITS) - 1;
}

static enum status
note_kept_from(struct store *store, int64_t before_ms)
{
    int64_t kept_from_ms = 0;
    const enum status status = store->rows->kept_from(store, &kept_from_ms);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    return kept_from_ms >= before_ms ? STATUS_OK : store->rows->kept_from_put(store, before_ms);
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
    status = note_kept_from(store, prune->before_ms);
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
store_kept_from(struct store *store, int64_t *kept_from_ms)
{
    *kept_from_ms = 0;
    const enum status status = store->rows->kept_from(store, kept_from_ms);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
