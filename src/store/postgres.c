/* store/postgres.c: the PostgreSQL engine: opening, transactions.
 *
 * A transaction that writes is two ways there and back: BEGIN, the renewal of the lease and all reads with
 * their locks; then all writes, sorted, with COMMIT behind them. What is put waits in memory until then. */
#include "store/postgres_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define PAUSE_FIRST_MS 50
#define PAUSE_MAX_MS   2000

/* --- Opening. */

static void
free_store(struct postgres_store *postgres)
{
    pg_close(&postgres->db);
    place_free(&postgres->place);
    locks_free(&postgres->locks);
    queue_free(&postgres->queue);
    load_free(postgres->load);
    buf_free(&postgres->inputs);
    buf_free(&postgres->packed);
    buf_free(&postgres->packed_2);
    free(postgres);
}

/* The server's own limits end before the lease does, ours a little after the server's. */
static struct link_options
writer_options(const struct postgres_store *postgres)
{
    const int32_t lease_ms = postgres->lease_ms;
    return (struct link_options){ .statement_ms = lease_ms / 2,
        .lock_ms = lease_ms * 2 / 5,
        .idle_ms = lease_ms / 2,
        .wait_ms = lease_ms * 3 / 5,
        .full_sync = postgres->options.full_sync,
        .read_only = postgres->options.read_only,
        .any_server = postgres->options.read_only };
}

static enum status
open_database(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    enum status status = link_connect(db);
    if (status == STATUS_OK) {
        status = postgres_migrate(
            db, postgres->options.read_only, store_schema_scripts, store_schema_script_count);
    }
    return status == STATUS_OK ? link_pipeline(db) : status;
}

static const struct store_ops postgres_ops;

enum status
postgres_store_open(const char *url, const struct store_options *options, struct store **store,
    struct store_error *error)
{
    struct postgres_store *postgres = calloc(1, sizeof(*postgres));
    if (!postgres) {
        return store_fail(error->text, STATUS_FULL, "no memory for a store");
    }
    postgres->base = (struct store){
        .ops = &postgres_ops, .rows = &postgres_row_ops, .readers = &postgres_reader_ops
    };
    postgres->options = *options;
    atomic_store(&postgres->base.mixed, options->mixed);
    postgres->options.node_name = NULL; /* the caller's memory: taken by the node's start */
    postgres->lease_ms = options->lease_ms > 0 ? options->lease_ms : STORE_LEASE_MS;
    postgres->read_max_ms = options->read_max_ms > 0 ? options->read_max_ms : STORE_READ_MAX_MS;
    (void)slice_to_cstr(slice_str(options->node_name ? options->node_name : ""), postgres->name,
        sizeof(postgres->name));
    enum status status = place_read(&postgres->place, url, error->text);
    if (status == STATUS_OK) {
        postgres->db.place = &postgres->place;
        postgres->db.options = writer_options(postgres);
        postgres->db.costs = &postgres->base.costs;
        postgres->db.error_text = postgres->base.last_error;
        status = open_database(postgres);
        memcpy(error->text, postgres->base.last_error, sizeof(error->text));
    }
    if (status != STATUS_OK) {
        free_store(postgres);
        return status;
    }
    error->text[0] = '\0';
    *store = &postgres->base;
    return STATUS_OK;
}

static void
postgres_close(struct store *store)
{
    struct postgres_store *postgres = postgres_store_of(store);
    check(atomic_load(&postgres->reader_count) == 0);
    postgres_unlisten(store);
    node_leave(postgres);
    free_store(postgres);
}

/* --- The connection. */

enum status
postgres_ready(struct postgres_store *postgres)
{
    const int64_t mono_ms = clock_mono_ms();
    if (postgres->db.conn) {
        return STATUS_OK;
    }
    if (mono_ms < postgres->next_try_mono_ms) {
        return STATUS_IO; /* the text still says what failed */
    }
    postgres->base.costs.reconnects++;
    enum status status = link_connect(&postgres->db);
    if (status == STATUS_OK) {
        status = link_pipeline(&postgres->db);
    }
    if (status == STATUS_OK) {
        postgres->pause_ms = 0;
        return STATUS_OK;
    }
    postgres->pause_ms = postgres->pause_ms == 0 ? PAUSE_FIRST_MS
                                                 : (int32_t)min_i64((int64_t)postgres->pause_ms * 2,
                                                     min_i64(PAUSE_MAX_MS, postgres->lease_ms / 8));
    postgres->next_try_mono_ms = clock_mono_ms() + postgres->pause_ms;
    return STATUS_IO; /* whatever it was: it may be better the next time */
}

/* --- Transactions. */

void
postgres_forget(struct postgres_store *postgres)
{
    postgres->begin_due = postgres->sent = postgres->renewed = postgres->renew_sent = false;
    locks_clear(&postgres->locks);
    queue_clear(&postgres->queue);
    PQclear(postgres->limit_defs);
    postgres->limit_defs = NULL;
    postgres->job[0] = '\0';
    postgres->job_count = 0;
    postgres->told_count = 0;
}

static enum status
postgres_begin(struct store *store, const struct node_row *node)
{
    struct postgres_store *postgres = postgres_store_of(store);
    bool committed = false;
    enum status status = postgres_ready(postgres);
    if (status == STATUS_OK && postgres->uncertain) {
        status =
            commit_resolve(postgres, clock_mono_ms() + postgres->db.options.wait_ms, &committed);
        status = status == STATUS_CONFLICT || status == STATUS_UNCERTAIN ? STATUS_IO : status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    postgres_forget(postgres);
    postgres->node = *node;
    postgres->begin_due = true;
    store->now_ms = 0;
    return STATUS_OK;
}

static enum status
postgres_begin_read(struct store *store)
{
    struct postgres_store *postgres = postgres_store_of(store);
    postgres_forget(postgres);
    return postgres_ready(postgres);
}

static enum status
send_renewal(struct postgres_store *postgres)
{
    struct params params = { .count = 0 };
    param_i64(&params, postgres->lease_ms);
    param_i64(&params, postgres->marker + 2);
    param_i64(&params, postgres->node.waiting_count);
    param_i64(&params, postgres->node.node_id);
    param_i64(&params, postgres->node.epoch);
    param_i64(&params, postgres->marker);
    return pg_send(&postgres->db, STATEMENT_PG_RENEW, FORM_PLAIN, &params, &postgres->renew_slot);
}

enum status
postgres_open_transaction(struct postgres_store *postgres)
{
    if (!postgres->begin_due) {
        return postgres->db.conn ? STATUS_OK : STATUS_IO;
    }
    postgres->renew_mono_ms = clock_mono_ms();
    enum status status = pg_send_plain(&postgres->db, STATEMENT_PG_BEGIN, NULL);
    if (status == STATUS_OK) {
        status = send_renewal(postgres);
    }
    if (status == STATUS_OK) {
        postgres->begin_due = false;
        postgres->sent = true;
        postgres->renew_sent = true;
    }
    return status;
}

/* What only the renewal's row says: the time, the identities' version, who waits elsewhere. */
static enum status
take_renewal(struct postgres_store *postgres)
{
    struct columns *columns =
        pg_columns(&postgres->db, postgres->db.answers[postgres->renew_slot], 0);
    postgres->base.now_ms = column_i64(columns);
    const struct slice version = column_slice(columns);
    postgres->base.others_waiting = column_i64(columns);
    if (columns->damaged || !slice_to_i64(version, &postgres->identity_version)
        || postgres->identity_version < 0) {
        return store_fail(postgres->base.last_error, STATUS_INVALID,
            "the store is damaged: table meta, 'identity_version' is no number");
    }
    postgres->renewed = true;
    postgres->renew_sent = false;
    return STATUS_OK;
}

/* Somebody may hold a row for long once; who finds it held again is no luckier the third time. */
static enum status
judge_lock_wait(struct postgres_store *postgres, enum status status)
{
    const bool timed_out =
        status == STATUS_CONFLICT && strcmp(postgres->db.failed_state, "55P03") == 0;
    const bool again = timed_out && postgres->lock_timed_out;
    postgres->lock_timed_out = timed_out;
    return again ? STATUS_IO : status;
}

enum status
postgres_trip(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    const enum status status = judge_lock_wait(postgres, pg_trip(db));
    if (!postgres->renew_sent) {
        return status;
    }
    const bool fenced = status != STATUS_OK && db->failed_slot == (ptrdiff_t)postgres->renew_slot
                        && strcmp(db->failed_state, SQLSTATE_NO_ROW) == 0;
    if (fenced) {
        return node_tell_fenced(postgres);
    }
    return status == STATUS_OK ? take_renewal(postgres) : status;
}

enum status
postgres_flush_writes(struct postgres_store *postgres)
{
    size_t first_slot = 0;
    if (postgres->queue.count == 0) {
        return STATUS_OK;
    }
    enum status status = queue_send(&postgres->queue, &postgres->db, &first_slot);
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status != STATUS_OK) {
        status = queue_tell(&postgres->queue, &postgres->db, first_slot, status);
    }
    postgres->locks.writes = true;
    queue_clear(&postgres->queue);
    return status;
}

static void
postgres_rollback(struct store *store)
{
    struct postgres_store *postgres = postgres_store_of(store);
    if (postgres->sent && postgres->db.conn
        && pg_send_plain(&postgres->db, STATEMENT_PG_ROLLBACK, NULL) == STATUS_OK) {
        pg_send_away(&postgres->db);
    }
    postgres_forget(postgres);
}

static const struct store_ops postgres_ops = {
    .close = postgres_close,
    .node_start = postgres_node_start,
    .node_config = postgres_node_config,
    .begin = postgres_begin,
    .begin_read = postgres_begin_read,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .load = postgres_load,
    .nodes_fence = postgres_nodes_fence,
    .job_take = postgres_job_take,
    .tell = postgres_tell,
    .listen = postgres_listen,
    .unlisten = postgres_unlisten,
};
