/* store/postgres_node.c: nodes. Each epoch is a row of its own, with a lease that its batches renew. A row
 * that goes, by its own gateway or by another one after the lease, ends what its transactions may do. */
#include "store/postgres_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"

#define SIGNAL_KEY_BYTES 32

static void
roll_back(struct postgres_db *db)
{
    if (db->conn && pg_send_plain(db, STATEMENT_PG_ROLLBACK, NULL) == STATUS_OK) {
        pg_send_away(db);
    }
}

static enum status
run_plain(struct postgres_db *db, enum statement_id id)
{
    const struct params none = { .count = 0 };
    return pg_run(db, id, FORM_PLAIN, &none, NULL);
}

static enum status
run_put(struct postgres_db *db, const struct put *put)
{
    return pg_run(db, put->statement, FORM_MUST, &put->params, NULL);
}

/* --- Meta. */

enum status
postgres_meta_get(
    struct postgres_db *db, const char *name, enum form form, char *out, size_t out_size)
{
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    param_text(&params, name);
    const enum status status = pg_run(db, STATEMENT_META_GET, form, &params, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    if (PQntuples(answer) == 0) {
        return STATUS_NOT_FOUND;
    }
    struct columns *columns = pg_columns(db, answer, 0);
    column_text(columns, out, out_size);
    return columns->damaged ? store_fail(db->error_text, STATUS_INVALID,
               "the store is damaged: table meta, '%s' makes no sense; restore a backup", name)
                            : STATUS_OK;
}

enum status
postgres_meta_get_i64(struct postgres_db *db, const char *name, enum form form, int64_t *value)
{
    char text[24];
    const enum status status = postgres_meta_get(db, name, form, text, sizeof(text));
    if (status == STATUS_OK && (!slice_to_i64(slice_str(text), value) || *value < 0)) {
        return store_fail(db->error_text, STATUS_INVALID,
            "the store is damaged: table meta, '%s' is no number; restore a backup", name);
    }
    return status;
}

static enum status
meta_put_i64(struct postgres_db *db, const char *name, int64_t value)
{
    char text[I64_TEXT_BYTES + 1];
    text[i64_text(value, text)] = '\0';
    struct put put;
    put_meta(&put, name, text);
    return run_put(db, &put);
}

/* What a row that goes has seen of time stays. */
static enum status
keep_high_water(struct postgres_db *db, int64_t high_water_ms)
{
    int64_t kept_ms = 0;
    const enum status status = postgres_meta_get_i64(db, "high_water", FORM_LOCK, &kept_ms);
    if (status != STATUS_OK || kept_ms >= high_water_ms) {
        return status;
    }
    return meta_put_i64(db, "high_water", high_water_ms);
}

/* --- The start of an epoch. */

static enum status
read_clock(struct postgres_db *db, int64_t *now_ms)
{
    const struct params none = { .count = 0 };
    const PGresult *answer = NULL;
    const enum status status = pg_run(db, STATEMENT_PG_CLOCK, FORM_PLAIN, &none, &answer);
    if (status == STATUS_OK) {
        *now_ms = column_i64(pg_columns(db, answer, 0));
    }
    return status;
}

static enum status
refuse_mixed(struct postgres_store *postgres, const struct node_row *other)
{
    return store_fail(postgres->base.last_error, STATUS_INVALID,
        "the gateway %.60s (epoch %lld) runs on %.160s under another configuration: start both with the same "
        "file, or this one with --mixed",
        other->name[0] ? other->name : "without a name", (long long)other->epoch,
        postgres->place.text);
}

/* Looks at the others, whose rows cannot become more while the epoch's row of the meta table is ours. */
static enum status
look_around(struct postgres_store *postgres, struct node_row *row, int64_t now_ms)
{
    struct postgres_db *db = &postgres->db;
    const struct params none = { .count = 0 };
    const PGresult *answer = NULL;
    const enum status status = pg_run(db, STATEMENT_READ_NODES, FORM_PLAIN, &none, &answer);
    for (int i = 0; status == STATUS_OK && i < PQntuples(answer); i++) {
        struct node_row other;
        if (!row_node(pg_columns(db, answer, i), &other)) {
            return pg_damaged_row(db, "node", other.node_id);
        }
        const bool differs =
            row->config_hash[0] && strcmp(other.config_hash, row->config_hash) != 0;
        if (differs && other.lease_until_ms > now_ms && other.node_id != postgres->epoch
            && !atomic_load(&postgres->base.mixed)) {
            return refuse_mixed(postgres, &other);
        }
        row->high_water_ms = max_i64(row->high_water_ms, other.high_water_ms);
    }
    return status;
}

static enum status
next_epoch(struct postgres_db *db, int64_t *epoch)
{
    const enum status status = postgres_meta_get_i64(db, "epoch", FORM_LOCK, epoch);
    if (status != STATUS_OK) {
        return status;
    }
    if (*epoch >= EPOCH_MAX) {
        return store_fail(db->error_text, STATUS_FULL,
            "the store has handed out all of its %lld epochs, one for each start; "
            "begin a new store and keep this one for its ledger",
            (long long)EPOCH_MAX);
    }
    *epoch += 1;
    return meta_put_i64(db, "epoch", *epoch);
}

/* Made once in the life of a store: another key would recognise no thread. */
static enum status
signal_key(struct postgres_db *db, unsigned char key[SIGNAL_KEY_BYTES])
{
    char hex[2 * SIGNAL_KEY_BYTES + 1];
    enum status status = postgres_meta_get(db, "signal_key", FORM_PLAIN, hex, sizeof(hex));
    if (status == STATUS_OK && !signal_key_from_hex(hex, key)) {
        status = store_fail(db->error_text, STATUS_INVALID,
            "the store is damaged: its signal key makes no sense; restore a backup");
    }
    if (status == STATUS_NOT_FOUND) {
        struct put put;
        signal_key_make(key, hex);
        put_meta(&put, "signal_key", hex);
        status = run_put(db, &put);
        secret_wipe(db->scratch.ptr, db->scratch.len);
    }
    secret_wipe(hex, sizeof(hex));
    return status;
}

/* The epoch that this process began before: as long as its row is there nobody has taken over what it holds, so
 * that goes on under the new one. Its calls are this process's, which will settle each. */
static enum status
end_own(struct postgres_db *db, int64_t epoch, int64_t new_epoch)
{
    struct params own = { .count = 0 };
    struct params move = { .count = 0 };
    const PGresult *answer = NULL;
    if (epoch == 0) {
        return STATUS_OK;
    }
    param_i64(&own, epoch);
    param_i64(&own, epoch);
    const enum status status = pg_run(db, STATEMENT_PG_NODE_END, FORM_PLAIN, &own, &answer);
    if (status != STATUS_OK || PQntuples(answer) == 0) {
        return status;
    }
    param_i64(&move, new_epoch);
    param_i64(&move, new_epoch);
    param_i64(&move, epoch);
    param_i64(&move, epoch);
    return pg_run(db, STATEMENT_PG_HOLDS_MOVE, FORM_PLAIN, &move, NULL);
}

static void
name_node(const struct postgres_store *postgres, struct node_row *row)
{
    char host[NAME_MAX_BYTES + 1] = "";
    (void)gethostname(host, sizeof(host) - 1); /* none: it has no name then */
    (void)slice_to_cstr(
        slice_str(postgres->name[0] ? postgres->name : host), row->name, sizeof(row->name));
}

static enum status
start_in_transaction(
    struct postgres_store *postgres, struct node_row *row, unsigned char key[SIGNAL_KEY_BYTES])
{
    struct postgres_db *db = &postgres->db;
    int64_t now_ms = 0;
    int64_t kept_ms = 0;
    enum status status = next_epoch(db, &row->epoch);
    if (status == STATUS_OK) {
        status = read_clock(db, &now_ms);
    }
    if (status == STATUS_OK) {
        status = look_around(postgres, row, now_ms);
    }
    if (status == STATUS_OK) {
        status = postgres_meta_get_i64(db, "high_water", FORM_PLAIN, &kept_ms);
    }
    if (status == STATUS_OK) {
        status = signal_key(db, key);
    }
    if (status == STATUS_OK) {
        status = end_own(db, postgres->epoch, row->epoch);
    }
    if (status == STATUS_OK) {
        struct put put;
        row->node_id = row->epoch;
        row->lease_until_ms = now_ms + postgres->lease_ms;
        row->high_water_ms = max_i64(max_i64(row->high_water_ms, kept_ms), now_ms);
        row->started_ms = now_ms;
        put_node(&put, row);
        status = run_put(db, &put);
    }
    return status;
}

enum status
postgres_node_start(struct store *store, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char key[SIGNAL_KEY_BYTES])
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct postgres_db *db = &postgres->db;
    struct node_row row = { .node_id = 0 };
    (void)now_ms; /* the database's clock is the store's */
    (void)slice_to_cstr(slice_str(config_hash), row.config_hash, sizeof(row.config_hash));
    name_node(postgres, &row);
    enum status status = postgres_ready(postgres);
    const int64_t sent_mono_ms = clock_mono_ms();
    if (status == STATUS_OK) {
        status = run_plain(db, STATEMENT_PG_BEGIN);
    }
    if (status == STATUS_OK) {
        status = start_in_transaction(postgres, &row, key);
    }
    if (status == STATUS_OK) {
        status = run_plain(db, STATEMENT_PG_COMMIT);
    }
    if (status != STATUS_OK) {
        roll_back(db);
        return status == STATUS_NOT_FOUND ? pg_damaged_row(db, "meta", 0) : status;
    }
    postgres->epoch = row.epoch;
    postgres->marker = row.batch_no;
    postgres->uncertain = false;
    store->lease_mono_ms = sent_mono_ms + postgres->lease_ms;
    *node = row;
    return STATUS_OK;
}

enum status
postgres_node_config(struct store *store, const struct node_row *node, const char *config_hash)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct put put = { .statement = STATEMENT_NODE_CONFIG,
        .none = STATUS_CONFLICT,
        .table = "node",
        .id = node->node_id };
    param_text(&put.params, config_hash);
    param_i64(&put.params, node->node_id);
    param_i64(&put.params, node->epoch);
    queue_add(&postgres->queue, &put, (struct write_order){ .rank = WRITE_NODE, .text = "" });
    return STATUS_OK;
}

/* --- Its end. */

enum status
node_tell_fenced(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    const int64_t epoch = postgres->node.epoch;
    const char *why = "its row is gone, since another gateway has taken over what it left";
    param_i64(&params, postgres->node.node_id);
    roll_back(db);
    postgres->sent = false;
    if (db->conn && pg_run(db, STATEMENT_NODE_GET, FORM_PLAIN, &params, &answer) == STATUS_OK
        && PQntuples(answer) > 0) {
        struct node_row row;
        const bool moved =
            row_node(pg_columns(db, answer, 0), &row) && row.batch_no != postgres->marker;
        why = moved ? "somebody else writes under its number"
                    : "its lease ended before a batch could renew it";
    }
    return store_fail(postgres->base.last_error, STATUS_FENCED,
        "epoch %lld of this gateway is over: %s", (long long)epoch, why);
}

/* A lease that is over lets others take what is left open at once. */
static enum status
leave_in_transaction(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    param_i64(&params, postgres->epoch);
    param_i64(&params, postgres->epoch);
    enum status status = pg_run(db, STATEMENT_PG_MARK, FORM_PLAIN, &params, NULL);
    if (status == STATUS_OK) {
        status = pg_run(db, STATEMENT_PG_NODE_HOLDS, FORM_PLAIN, &params, &answer);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (PQntuples(answer) > 0) {
        return pg_run(db, STATEMENT_PG_NODE_REST, FORM_PLAIN, &params, NULL);
    }
    status = pg_run(db, STATEMENT_PG_NODE_END, FORM_PLAIN, &params, &answer);
    return status == STATUS_OK && PQntuples(answer) > 0
               ? keep_high_water(db, column_i64(pg_columns(db, answer, 0)))
               : status;
}

void
node_leave(struct postgres_store *postgres)
{
    struct postgres_db *db = &postgres->db;
    if (postgres->epoch == 0 || !db->conn) {
        return; /* its lease ends by itself */
    }
    enum status status = run_plain(db, STATEMENT_PG_BEGIN);
    if (status == STATUS_OK) {
        status = leave_in_transaction(postgres);
    }
    if (status == STATUS_OK) {
        status = run_plain(db, STATEMENT_PG_COMMIT);
    }
    (void)status; /* in vain: as if it had died */
}

/* --- Those whose lease is over. */

static enum status
fence_one(struct postgres_db *db, int64_t node_id, int64_t before_ms, int64_t *high_water_ms,
    int64_t *fenced_count)
{
    struct params params = { .count = 0 };
    const PGresult *answer = NULL;
    param_i64(&params, node_id);
    param_i64(&params, before_ms);
    const enum status status = pg_run(db, STATEMENT_PG_NODE_FENCE, FORM_PLAIN, &params, &answer);
    if (status == STATUS_OK && PQntuples(answer) > 0) {
        *high_water_ms = max_i64(*high_water_ms, column_i64(pg_columns(db, answer, 0)));
        *fenced_count += 1;
    }
    return status;
}

static enum status
fence_in_transaction(
    struct postgres_db *db, PGresult *over, int64_t before_ms, int64_t *fenced_count)
{
    int64_t high_water_ms = 0;
    enum status status = run_plain(db, STATEMENT_PG_BEGIN);
    for (int i = 0; status == STATUS_OK && i < PQntuples(over); i++) {
        const int64_t node_id = column_i64(pg_columns(db, over, i));
        status = fence_one(db, node_id, before_ms, &high_water_ms, fenced_count);
    }
    if (status == STATUS_OK) {
        status = keep_high_water(db, high_water_ms);
    }
    return status == STATUS_OK ? run_plain(db, STATEMENT_PG_COMMIT) : status;
}

enum status
postgres_nodes_fence(struct store *store, int64_t before_ms, int64_t *fenced_count)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct postgres_db *db = &postgres->db;
    struct params params = { .count = 0 };
    size_t slot = 0;
    param_i64(&params, before_ms);
    param_i64(&params, postgres->epoch);
    enum status status = postgres_ready(postgres);
    if (status == STATUS_OK) {
        status = pg_send(db, STATEMENT_PG_NODES_OVER, FORM_PLAIN, &params, &slot);
    }
    if (status == STATUS_OK) {
        status = pg_trip(db);
    }
    if (status != STATUS_OK) {
        return status;
    }
    PGresult *over = pg_take(db, slot);
    if (PQntuples(over) > 0) {
        status = fence_in_transaction(db, over, before_ms, fenced_count);
    }
    PQclear(over);
    if (status != STATUS_OK) {
        roll_back(db);
        *fenced_count = 0;
    }
    return status;
}

/* --- Jobs. */

/* Jobs are few: their time is asked for first. */
enum status
postgres_job_take(struct store *store, const char *name, int64_t until_ms, bool *taken)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct params params = { .count = 0 };
    size_t slot = 0;
    int64_t version = 0;
    enum status status = store_identity_version(store, &version);
    if (status != STATUS_OK) {
        return status;
    }
    const bool in_order = strcmp(name, postgres->job) > 0
                          && locks_may(&postgres->locks, LOCK_JOB, postgres->job_count + 1);
    if (!in_order) {
        return store_fail(store->last_error, STATUS_CONFLICT,
            "a job is taken before the transaction's other locks, in the order of their names");
    }
    param_text(&params, name);
    param_i64(&params, postgres->node.node_id);
    param_i64(&params, postgres->node.epoch);
    param_i64(&params, until_ms);
    param_i64(&params, store->now_ms);
    status = pg_send(&postgres->db, STATEMENT_JOB_TAKE, FORM_PLAIN, &params, &slot);
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK) {
        *taken = pg_changed_count(postgres->db.answers[slot]) == 1;
        (void)slice_to_cstr(slice_str(name), postgres->job, sizeof(postgres->job));
        locks_add(&postgres->locks, LOCK_JOB, ++postgres->job_count, true);
    }
    return status;
}
