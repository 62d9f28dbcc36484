/* store/store.c: the door: picks the engine, checks what every engine relies on, and goes on. */
#include "store/store_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/place.h"
#include "base/secret.h"
#include "log/metrics.h"

enum status
store_fail(char text[512], enum status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, 512, format, args);
    va_end(args);
    return status;
}

/* --- The signal key. */

static int
lower_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
signal_key_from_hex(const char *hex, unsigned char key[SIGNAL_KEY_BYTES])
{
    for (size_t i = 0; i < SIGNAL_KEY_BYTES; i++) {
        const int high = lower_hex_digit(hex[2 * i]);
        const int low = high < 0 ? -1 : lower_hex_digit(hex[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        key[i] = (unsigned char)(high * 16 + low);
    }
    return hex[2 * SIGNAL_KEY_BYTES] == '\0';
}

void
signal_key_make(unsigned char key[SIGNAL_KEY_BYTES], char hex[2 * SIGNAL_KEY_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    secret_random(key, SIGNAL_KEY_BYTES);
    for (size_t i = 0; i < SIGNAL_KEY_BYTES; i++) {
        hex[2 * i] = digits[key[i] >> 4];
        hex[2 * i + 1] = digits[key[i] & 15];
    }
    hex[2 * SIGNAL_KEY_BYTES] = '\0';
}

/* --- Opening. */

static enum status
open_engine(const char *url, const struct store_options *options, struct store **store,
    struct store_error *error)
{
    const char *path = store_url_path(url);
    *store = NULL;
    error->text[0] = '\0';
    if (strcmp(url, "memory:") == 0) {
        return memory_store_open(store, error);
    }
    if (path) {
        return sqlite_store_open(path, options, store, error);
    }
    if (store_url_is_postgres(url)) {
        return postgres_store_open(url, options, store, error);
    }
    return store_fail(error->text, STATUS_INVALID,
        "'%s' names no store this version knows; write sqlite:PATH, postgresql://USER@HOST/DATABASE, or "
        "memory: for a trial",
        url);
}

enum status
store_open(const char *url, const struct store_options *options, struct store **store,
    struct store_error *error)
{
    const enum status status = open_engine(url, options, store, error);
    if (status == STATUS_OK) {
        (*store)->lease_ms = options->lease_ms > 0 ? options->lease_ms : STORE_LEASE_MS;
    }
    return status;
}

void
store_close(struct store *store)
{
    if (store) {
        store_rollback(store);
        store->ops->close(store);
    }
}

const char *
store_last_error(const struct store *store)
{
    return store->last_error;
}

const char *
store_note(const struct store *store)
{
    return store->note;
}

const char *
store_file(const struct store *store)
{
    return store->file ? store->file : "";
}

const char *
store_trouble(const struct store *store)
{
    return store->trouble;
}

bool
store_is_exclusive(const struct store *store)
{
    return store->exclusive;
}

int64_t
store_foreign_writes(const struct store *store)
{
    return store->foreign_writes;
}

enum status
store_node_start(struct store *store, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char signal_key[32])
{
    check(store->state == STORE_IDLE);
    check(now_ms >= 0 && now_ms <= WALL_MS_MAX);
    check(strlen(config_hash) <= HASH_HEX);
    return store->ops->node_start(store, now_ms, config_hash, node, signal_key);
}

void
store_set_mixed(struct store *store, bool mixed)
{
    atomic_store(&store->mixed, mixed);
}

enum status
store_node_config(struct store *store, const struct node_row *node, const char *config_hash)
{
    check(store->state == STORE_WRITING);
    check(strlen(config_hash) <= HASH_HEX);
    return store->ops->node_config(store, node, config_hash);
}

int64_t
store_now_ms(const struct store *store)
{
    return store->now_ms;
}

int64_t
store_lease_mono_ms(const struct store *store)
{
    return store->lease_mono_ms;
}

int32_t
store_lease_ms(const struct store *store)
{
    return store->lease_ms;
}

int64_t
store_others_waiting(const struct store *store)
{
    return store->others_waiting;
}

struct store_costs
store_costs(const struct store *store)
{
    return store->costs;
}

/* --- What only a shared store has. */

enum status
store_nodes_fence(struct store *store, int64_t before_ms, int64_t *fenced_count)
{
    check(store->state == STORE_IDLE);
    *fenced_count = 0;
    if (!store->ops->nodes_fence) {
        return STATUS_OK;
    }
    const enum status status = store->ops->nodes_fence(store, before_ms, fenced_count);
    if (status == STATUS_OK) {
        counter_add(COUNTER_NODES_FENCED, *fenced_count);
    }
    return status;
}

enum status
store_job_take(struct store *store, const char *name, int64_t until_ms, bool *taken)
{
    check(store->state == STORE_WRITING);
    *taken = true;
    return store->ops->job_take ? store->ops->job_take(store, name, until_ms, taken) : STATUS_OK;
}

void
store_tell(struct store *store, int64_t limit_id, int64_t subject_id)
{
    check(store->state == STORE_WRITING);
    if (store->ops->tell) {
        store->ops->tell(store, limit_id, subject_id);
    }
}

enum status
store_listen(struct store *store, store_told *told, void *user, struct store_error *error)
{
    error->text[0] = '\0';
    return store->ops->listen ? store->ops->listen(store, told, user, error) : STATUS_OK;
}

void
store_unlisten(struct store *store)
{
    if (store->ops->unlisten) {
        store->ops->unlisten(store);
    }
}

/* --- Transactions. */

/* What the way to a shared store has cost: at the end of every way to it. */
static void
count_costs(struct store *store)
{
    const struct store_costs now = store->costs;
    if (!store->exclusive) {
        counter_add(COUNTER_STORE_ROUND_TRIPS, now.round_trips - store->counted.round_trips);
        counter_add(COUNTER_STORE_RECONNECTS, now.reconnects - store->counted.reconnects);
        store->counted = now;
    }
}

enum status
store_begin(struct store *store, const struct node_row *node)
{
    check(store->state == STORE_IDLE);
    check(node_valid(node));
    const enum status status = store->ops->begin(store, node);
    if (status == STATUS_OK) {
        store->state = STORE_WRITING;
    }
    count_costs(store);
    return status;
}

enum status
store_begin_read(struct store *store)
{
    check(store->state == STORE_IDLE);
    const enum status status = store->ops->begin_read(store);
    if (status == STATUS_OK) {
        store->state = STORE_READING;
    }
    return status;
}

enum status
store_commit(struct store *store)
{
    check(store->state == STORE_WRITING);
    const enum status status = store->ops->commit(store);
    if (status == STATUS_OK) {
        store->state = STORE_IDLE;
    }
    count_costs(store);
    return status; /* else still open: the caller rolls back */
}

void
store_rollback(struct store *store)
{
    if (store->state != STORE_IDLE) {
        store->ops->rollback(store);
        store->state = STORE_IDLE;
    }
}

static void
check_reads(const struct store *store)
{
    check(store->state != STORE_IDLE);
}

static void
check_writes(const struct store *store)
{
    check(store->state == STORE_WRITING);
}

/* A row that people's words go into is refused, not fatal, when it breaks a rule. */
static enum status
refuse_row(struct store *store, const char *table, int64_t id)
{
    return store_fail(store->last_error, STATUS_INVALID,
        "the row %s %lld is not written: one of its values breaks a rule", table, (long long)id);
}

/* --- Rows by what they are needed for. */

static enum status
get_tree(struct store *store, const struct need *need, union need_row *row)
{
    struct need thread = *need;
    thread.kind = NEED_THREAD_SIG;
    const enum status status = store->rows->get(store, &thread, row);
    if (status != STATUS_OK) {
        return status;
    }
    struct need tree = {
        .kind = NEED_SUBJECT, .sub_kind = SUBJECT_TREE, .id = row->thread.account_id
    };
    tree.text[i64_text(row->thread.root_id, tree.text)] = '\0';
    return store->rows->get(store, &tree, row);
}

static enum status
load_one(struct store *store, const struct need *need, store_found *found, void *user)
{
    union need_row row;
    const enum status status =
        need->kind == NEED_TREE ? get_tree(store, need, &row) : store->rows->get(store, need, &row);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    found(user, need, status == STATUS_OK ? &row : NULL);
    return STATUS_OK;
}

static enum status
load_each(
    struct store *store, const struct need *needs, size_t count, store_found *found, void *user)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK;) {
        size_t done = 0;
        if (needs[i].with && store->rows->get_several) {
            status = store->rows->get_several(store, &needs[i], count - i, found, user, &done);
        }
        if (status == STATUS_OK && done == 0) {
            status = load_one(store, &needs[i], found, user);
            done = 1;
        }
        i += done;
    }
    return status;
}

enum status
store_load(struct store *store, const struct need *needs, size_t count, bool lock,
    store_found *found, void *user)
{
    check_reads(store);
    check(!lock || store->state == STORE_WRITING);
    if (!store->ops->load) {
        return load_each(store, needs, count, found, user);
    }
    const enum status status = store->ops->load(store, needs, count, lock, found, user);
    count_costs(store);
    return status;
}

/* --- Accounts, keys, threads, subjects. */

enum status
store_account_put(struct store *store, struct account_row *row)
{
    check_writes(store);
    if (!account_valid(row)) {
        return refuse_row(store, "account", row->account_id);
    }
    return store->rows->account_put(store, row);
}

enum status
store_key_put(struct store *store, struct key_row *row)
{
    check_writes(store);
    if (!key_valid(row)) {
        return refuse_row(store, "key", row->key_id);
    }
    return store->rows->key_put(store, row);
}

enum status
store_identity_version(struct store *store, int64_t *version)
{
    check_reads(store);
    return store->rows->identity_version(store, version);
}

enum status
store_identity_bump(struct store *store, int64_t version)
{
    check_writes(store);
    return store->rows->identity_bump(store, version);
}

enum status
store_overshoot_max(struct store *store, int64_t *overshoot_micros)
{
    *overshoot_micros = 0;
    const enum status status = store->rows->mark(store, META_OVERSHOOT_MAX, overshoot_micros);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
store_overshoot_raise(struct store *store, int64_t overshoot_micros)
{
    check_writes(store);
    return store->rows->mark_raise(store, META_OVERSHOOT_MAX, overshoot_micros);
}

enum status
store_thread_put(struct store *store, struct thread_row *row)
{
    check_writes(store);
    if (!thread_valid(row)) {
        return refuse_row(store, "thread", row->thread_id);
    }
    return store->rows->thread_put(store, row);
}

enum status
store_subject_put(struct store *store, struct subject_row *row)
{
    check_writes(store);
    if (!subject_valid(row)) {
        return refuse_row(store, "subject", row->subject_id);
    }
    return store->rows->subject_put(store, row);
}

/* --- Meters, holds, ledger. */

enum status
store_meter_put(struct store *store, struct meter_row *row)
{
    check_writes(store);
    meter_row_check(row);
    return store->rows->meter_put(store, row);
}

enum status
store_reported_put(struct store *store, struct reported_row *row)
{
    check_writes(store);
    if (!reported_valid(row)) {
        return refuse_row(store, "reported", row->account_id);
    }
    return store->rows->reported_put(store, row);
}

enum status
store_hold_insert(struct store *store, const struct hold_row *row)
{
    check_writes(store);
    hold_check(row);
    return store->rows->hold_insert(store, row);
}

enum status
store_hold_update(struct store *store, const struct hold_row *row)
{
    check_writes(store);
    hold_check(row);
    return store->rows->hold_update(store, row);
}

enum status
store_hold_delete(struct store *store, int64_t hold_id)
{
    check_writes(store);
    return store->rows->hold_delete(store, hold_id);
}

enum status
store_hold_orphan(struct store *store, int64_t after, struct hold_row *row)
{
    check_reads(store);
    return store->rows->hold_orphan(store, after, row);
}

enum status
store_ledger_add(struct store *store, const struct ledger_row *row)
{
    check_writes(store);
    ledger_check(row);
    return store->rows->ledger_add(store, row);
}

/* --- Refusals, issued ids, limits. */

enum status
store_refusal_add(struct store *store, const struct refusal_row *row)
{
    check_writes(store);
    if (!refusal_valid(row)) {
        return refuse_row(store, "refusal", row->ledger_id);
    }
    return store->rows->refusal_add(store, row);
}

enum status
store_issued_put(struct store *store, const struct issued_row *row)
{
    check_writes(store);
    if (!issued_valid(row)) {
        return refuse_row(store, "issued", row->account_id);
    }
    return store->rows->issued_put(store, row);
}

enum status
store_issued_sweep(struct store *store, int64_t before_ms)
{
    check_writes(store);
    return store->rows->issued_sweep(store, before_ms);
}

enum status
store_receipt_add(struct store *store, const struct receipt_row *row)
{
    check_writes(store);
    if (!receipt_valid(row)) {
        return refuse_row(store, "receipt", row->at_ms);
    }
    return store->rows->receipt_add(store, row);
}

enum status
store_receipt_sweep(struct store *store, int64_t before_ms)
{
    check_writes(store);
    return store->rows->receipt_sweep(store, before_ms);
}

enum status
store_outbox_add(struct store *store, const struct outbox_row *row)
{
    check_writes(store);
    if (!outbox_valid(row)) {
        return refuse_row(store, "outbox", row->id);
    }
    return store->rows->outbox_add(store, row);
}

enum status
store_outbox_tried(struct store *store, const struct outbox_row *row)
{
    check_writes(store);
    if (!outbox_valid(row)) {
        return refuse_row(store, "outbox", row->id);
    }
    return store->rows->outbox_tried(store, row);
}

enum status
store_outbox_delete(struct store *store, int64_t id)
{
    check_writes(store);
    return store->rows->outbox_delete(store, id);
}

enum status
store_limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    check_reads(store);
    check(index >= 0);
    return store->rows->limit_def_at(store, index, row);
}

enum status
store_limit_def_put(struct store *store, const struct limit_def_row *row)
{
    check_writes(store);
    if (!limit_def_valid(row)) {
        return refuse_row(store, "limit_def", row->def_id);
    }
    return store->rows->limit_def_put(store, row);
}

/* --- The reader door. */

enum status
store_reader_open(struct store *store, struct store_reader **reader, struct store_error *error)
{
    *reader = NULL;
    error->text[0] = '\0';
    return store->readers->reader_open(store, reader, error);
}

void
store_reader_close(struct store_reader *reader)
{
    if (reader) {
        reader->ops->reader_close(reader);
    }
}

const char *
store_reader_error(const struct store_reader *reader)
{
    return reader->last_error;
}

enum status
store_read_ledger(struct store_reader *reader, const struct ledger_filter *filter,
    ledger_callback *row, void *user)
{
    return reader->ops->read_ledger(reader, filter, row, user);
}

enum status
store_read_events(struct store_reader *reader, const struct event_filter *filter,
    ledger_callback *row, void *user)
{
    return reader->ops->read_events(reader, filter, row, user);
}

enum status
store_read_outbox(
    struct store_reader *reader, const char *hook, int32_t limit, outbox_callback *row, void *user)
{
    check(limit > 0);
    return reader->ops->read_outbox(reader, hook, limit, row, user);
}

enum status
store_read_accounts(struct store_reader *reader, account_callback *row, void *user)
{
    return reader->ops->read_accounts(reader, row, user);
}

enum status
store_read_keys(struct store_reader *reader, int64_t account_id, key_callback *row, void *user)
{
    return reader->ops->read_keys(reader, account_id, row, user);
}

enum status
store_read_meters(struct store_reader *reader, int64_t account_id, meter_callback *row, void *user)
{
    return reader->ops->read_meters(reader, account_id, row, user);
}

enum status
store_read_subjects(struct store_reader *reader, const struct subject_filter *filter,
    subject_callback *row, void *user)
{
    return reader->ops->read_subjects(reader, filter, row, user);
}

enum status
store_read_limit_defs(struct store_reader *reader, limit_def_callback *row, void *user)
{
    return reader->ops->read_limit_defs(reader, row, user);
}

enum status
store_read_threads(struct store_reader *reader, const struct thread_filter *filter,
    thread_callback *row, void *user)
{
    return reader->ops->read_threads(reader, filter, row, user);
}

enum status
store_read_holds(struct store_reader *reader, hold_callback *row, void *user)
{
    return reader->ops->read_holds(reader, row, user);
}

enum status
store_read_row(struct store_reader *reader, const struct need *need, union need_row *row)
{
    check(need->kind != NEED_HOLD && need->kind != NEED_TREE);
    return reader->ops->read_row(reader, need, row);
}

enum status
store_read_clock(struct store_reader *reader, int64_t *now_ms)
{
    *now_ms = clock_wall_ms();
    return reader->ops->read_clock ? reader->ops->read_clock(reader, now_ms) : STATUS_OK;
}

enum status
store_read_nodes(struct store_reader *reader, node_callback *row, void *user)
{
    return reader->ops->read_nodes(reader, row, user);
}

enum status
store_read_refusals(struct store_reader *reader, int64_t account_id, int64_t since_ms,
    refusal_callback *row, void *user)
{
    return reader->ops->read_refusals(reader, account_id, since_ms, row, user);
}
