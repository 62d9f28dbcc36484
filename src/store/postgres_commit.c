/* store/postgres_commit.c: the commit, and what became of one that nobody answered.
 *
 * Our node's row bears a number, batch_no, that each batch moves from p to p + 2, and only from p. Where the
 * answer to a COMMIT is lost, the row is asked, with its lock, so that a transaction that still runs at the
 * server has ended: p + 2 says that it was committed, which counts once it is written again. Where it says p,
 * it is moved to p + 1: whatever of the old transaction may yet arrive does not find its p any more. */
#include "store/postgres_priv.h"

#include <poll.h>

#include "base/clock.h"

#define RESOLVE_PAUSE_MS 50

/* --- What became of it. */

enum mark { MARK_COMMITTED, MARK_VOID, MARK_GONE, MARK_UNKNOWN };

static struct params
mark_params(const struct postgres_store *postgres)
{
    struct params params = { .count = 0 };
    param_i64(&params, postgres->epoch);
    param_i64(&params, postgres->epoch);
    return params;
}

/* Only whose own commit is answered is known to last: a server that was killed while a commit waited for its
 * standby shows that commit once it is back, and a standby that takes its place then has nothing of it. */
static enum status
write_mark(struct postgres_store *postgres, int64_t from, int64_t to)
{
    struct postgres_db *db = &postgres->db;
    struct params params = { .count = 0 };
    param_i64(&params, to);
    param_i64(&params, postgres->epoch);
    param_i64(&params, postgres->epoch);
    param_i64(&params, from);
    enum status status = pg_send(db, STATEMENT_PG_VOID, FORM_MUST, &params, NULL);
    if (status == STATUS_OK) {
        status = pg_send_plain(db, STATEMENT_PG_COMMIT, NULL);
    }
    return status == STATUS_OK ? pg_trip(db) : status;
}

static void
roll_back(struct postgres_db *db)
{
    if (db->conn && pg_send_plain(db, STATEMENT_PG_ROLLBACK, NULL) == STATUS_OK) {
        pg_send_away(db);
    }
}

static enum mark
ask_mark(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    const struct params params = mark_params(postgres);
    size_t slot = 0;
    enum status status = pg_send_plain(db, STATEMENT_PG_BEGIN, NULL);
    if (status == STATUS_OK) {
        status = pg_send(db, STATEMENT_PG_MARK, FORM_PLAIN, &params, &slot);
    }
    if (status == STATUS_OK) {
        status = pg_trip(db);
    }
    if (status != STATUS_OK) {
        roll_back(db);
        return MARK_UNKNOWN;
    }
    const bool found = PQntuples(db->answers[slot]) > 0;
    const int64_t mark = found ? column_i64(pg_columns(db, db->answers[slot], 0)) : 0;
    const int64_t moved = mark - postgres->marker;
    if (!found || moved < 0 || moved > 2) {
        roll_back(db);
        return MARK_GONE;
    }
    if (write_mark(postgres, mark, moved == 0 ? mark + 1 : mark) != STATUS_OK) {
        roll_back(db);
        return MARK_UNKNOWN; /* asked again, it says whether this one arrived */
    }
    return moved == 2 ? MARK_COMMITTED : MARK_VOID;
}

/* Its own connection may be lost again and again: until then. */
static enum mark
ask_until(struct postgres_store *postgres, int64_t deadline_mono_ms)
{
    for (;;) {
        const enum mark mark =
            postgres_ready(postgres) == STATUS_OK ? ask_mark(postgres) : MARK_UNKNOWN;
        if (mark != MARK_UNKNOWN || clock_mono_ms() + RESOLVE_PAUSE_MS >= deadline_mono_ms) {
            return mark;
        }
        (void)poll(NULL, 0, RESOLVE_PAUSE_MS);
    }
}

enum status
commit_resolve(struct postgres_store *postgres, int64_t deadline_mono_ms, bool *committed)
{
    const enum mark mark = ask_until(postgres, deadline_mono_ms);
    *committed = mark == MARK_COMMITTED;
    postgres->uncertain = mark == MARK_UNKNOWN;
    switch (mark) {
    case MARK_COMMITTED: postgres->marker += 2; return STATUS_OK;
    case MARK_VOID: postgres->marker += 1; return STATUS_OK;
    case MARK_GONE: return node_tell_fenced(postgres);
    case MARK_UNKNOWN: break;
    }
    return STATUS_UNCERTAIN;
}

/* --- The commit. */

static enum status
committed(struct postgres_store *postgres)
{
    postgres->base.lease_mono_ms = postgres->renew_mono_ms + postgres->lease_ms;
    postgres->base.costs.transactions++;
    postgres_forget(postgres);
    return STATUS_OK;
}

/* The connection was lost when COMMIT may have been on its way. */
static enum status
settle_doubt(struct postgres_store *postgres)
{
    const int64_t margin_ms = postgres->lease_ms / 5;
    const int64_t deadline_mono_ms = postgres->renew_mono_ms + postgres->lease_ms - margin_ms;
    bool is_committed = false;
    char cause[512];
    memcpy(cause, postgres->base.last_error, sizeof(cause));
    postgres->sent = false; /* its connection is gone */
    postgres->next_try_mono_ms = 0;
    const enum status status = commit_resolve(postgres, deadline_mono_ms, &is_committed);
    if (status == STATUS_OK && is_committed) {
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        return store_fail(postgres->base.last_error, STATUS_CONFLICT,
            "a commit did not come through, and is to be run again: %.400s", cause);
    }
    /* where the node's row is gone it may have been done before: nobody can tell, and it must not be run again */
    return status == STATUS_FENCED ? STATUS_UNCERTAIN : status;
}

enum status
postgres_commit(struct store *store)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct postgres_db *db = &postgres->db;
    size_t first_slot = 0;
    size_t commit_slot = 0;
    if (postgres->locks.failed) {
        return store_fail(store->last_error, STATUS_FULL, "no memory for the locks of a batch");
    }
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = queue_send(&postgres->queue, db, &first_slot);
    }
    if (status == STATUS_OK) {
        status = pg_send_plain(db, STATEMENT_PG_COMMIT, &commit_slot);
    }
    const bool may_have_left = status == STATUS_OK;
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK && strcmp(PQcmdStatus(db->answers[commit_slot]), "COMMIT") != 0) {
        status = store_fail(store->last_error, STATUS_CONFLICT,
            "the server has rolled a transaction back: it is to be run again");
    }
    if (status == STATUS_OK) {
        postgres->marker += 2;
    } else if (may_have_left && !db->conn) {
        status = settle_doubt(postgres); /* it moves the marker as it finds it */
    } else if (db->conn) {
        status = queue_tell(&postgres->queue, db, first_slot, status);
    }
    return status == STATUS_OK ? committed(postgres) : status;
}
