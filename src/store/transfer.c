/* store/transfer.c: rows from one end to the other, and both beside each other. */
#include "store/transfer_priv.h"

#include <stdio.h>

#include "base/place.h"
#include "base/secret.h"

const struct transfer_table transfer_tables[] = {
    { "limit_def", "def_id" },
    { "account", "account_id" },
    { "account_group", "group_name, account_id" },
    { "key", "key_id" },
    { "thread", "thread_id" },
    { "thread_day", "account_id, pool, thread_id, day_ms" },
    { "subject", "subject_id" },
    { "meter", "subject_id" },
    { "reported", "account_id" },
    { "meter_log", "limit_id, subject_id, at_ms, id" },
    { "hold", "hold_id" },
    { "refusal", "account_id, minute_ms, ledger_id" },
    { "issued", "id_hash" },
    { "receipt", "name" },
    { "outbox", "id" },
    { "ledger", "id" },
};
const size_t transfer_table_count = countof(transfer_tables);
const struct transfer_table transfer_meta = { "meta", "name" };

/* What in meta belongs to a place, or is told otherwise. */
static const char *const own_meta[] = { "schema_version", "epoch", "high_water", "home", "running",
    "backup_ms" };

struct transferring {
    const struct transfer_options *options;
    struct transfer *transfer;
    struct end *from, *to;
    struct audit source, target;
    const struct transfer_table *table;
    int64_t done, total;
};

static enum status
fail_of(const struct end *end, enum status status, struct store_error *error)
{
    return store_fail(error->text, status, "%s", end->error.text);
}

static enum status
tell_progress(const struct transferring *transferring)
{
    const struct transfer_options *options = transferring->options;
    return !options->progress
                   || options->progress(options->user, transferring->table->name,
                       transferring->done, transferring->total)
               ? STATUS_OK
               : STATUS_CLOSED;
}

/* --- Copying. */

#define LOOK_ROWS 1000

static enum status
copy_row(void *user, const struct cells *cells)
{
    struct transferring *transferring = user;
    struct end *to = transferring->to;
    const enum status status = to->ops->write(to, transferring->table, cells);
    if (status != STATUS_OK) {
        return status;
    }
    transferring->done++;
    return transferring->done % LOOK_ROWS == 0 ? tell_progress(transferring) : STATUS_OK;
}

static bool
is_own_meta(const char *name)
{
    for (size_t i = 0; i < countof(own_meta); i++) {
        if (strcmp(own_meta[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum status
copy_meta(void *user, const struct cells *cells)
{
    struct transferring *transferring = user;
    struct end *to = transferring->to;
    char name[64];
    char value[1024];
    const bool good = cells->count == 2 && slice_to_cstr(cells->at[0].text, name, sizeof(name))
                      && slice_to_cstr(cells->at[1].text, value, sizeof(value));
    if (!good) {
        return store_fail(
            to->error.text, STATUS_INVALID, "table meta has a row that makes no sense");
    }
    const enum status status = is_own_meta(name) ? STATUS_OK : to->ops->meta_put(to, name, value);
    secret_wipe(value, sizeof(value)); /* the key of signals is among them */
    return status;
}

/* Where it is not known which end it was, the one that has a sentence. */
static enum status
fail_of_either(
    const struct transferring *transferring, enum status status, struct store_error *error)
{
    if (status == STATUS_CLOSED) {
        return store_fail(error->text, status, "it was broken off, and nothing was kept of it");
    }
    const struct end *from = transferring->from;
    return fail_of(from->error.text[0] ? from : transferring->to, status, error);
}

static enum status
copy_table(struct transferring *transferring, const struct transfer_table *table,
    struct store_error *error)
{
    struct end *from = transferring->from;
    struct end *to = transferring->to;
    struct transfer *transfer = transferring->transfer;
    struct transfer_sum *sum = &transfer->sums[transfer->sum_count++];
    sum->what = table->name;
    transferring->table = table;
    transferring->done = 0;
    enum status status = from->ops->count(from, table, &transferring->total);
    if (status == STATUS_OK) {
        status = tell_progress(transferring);
    }
    if (status == STATUS_OK) {
        status = from->ops->read(from, table, copy_row, transferring);
    }
    if (status == STATUS_OK) {
        status = to->ops->write_end(to, table);
    }
    sum->source = transferring->total;
    transfer->row_count += transferring->done;
    return status == STATUS_OK ? STATUS_OK : fail_of_either(transferring, status, error);
}

static enum status
copy_all(struct transferring *transferring, struct store_error *error)
{
    struct end *from = transferring->from;
    struct end *to = transferring->to;
    enum status status = to->ops->begin(to);
    if (status != STATUS_OK) {
        return fail_of(to, status, error);
    }
    status = from->ops->read(from, &transfer_meta, copy_meta, transferring);
    if (status != STATUS_OK) {
        return fail_of_either(transferring, status, error);
    }
    for (size_t i = 0; status == STATUS_OK && i < transfer_table_count; i++) {
        status = copy_table(transferring, &transfer_tables[i], error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = to->ops->go_on(to, transferring->source.epoch, transferring->source.high_water_ms);
    if (status == STATUS_OK) {
        status = to->ops->finish(to);
    }
    return status == STATUS_OK ? STATUS_OK : fail_of(to, status, error);
}

/* --- Comparing. */

static void
add_sum(struct transfer *transfer, const char *what, bool is_money, int64_t source, int64_t target)
{
    check(transfer->sum_count < TRANSFER_SUMS_MAX);
    transfer->sums[transfer->sum_count++] = (struct transfer_sum){
        .what = what, .is_money = is_money, .source = source, .target = target
    };
}

static enum status
count_target(struct transferring *transferring, struct store_error *error)
{
    struct end *to = transferring->to;
    for (size_t i = 0; i < transfer_table_count; i++) {
        struct transfer_sum *sum = &transferring->transfer->sums[i];
        const enum status status = to->ops->count(to, &transfer_tables[i], &sum->target);
        if (status != STATUS_OK) {
            return fail_of(to, status, error);
        }
    }
    return STATUS_OK;
}

static enum status
compare(struct transferring *transferring, struct store_error *error)
{
    const struct audit *source = &transferring->source;
    const struct audit *target = &transferring->target;
    struct transfer *transfer = transferring->transfer;
    const enum status status = count_target(transferring, error);
    if (status != STATUS_OK) {
        return status;
    }
    add_sum(transfer, "calls booked", false, source->call_count, target->call_count);
    add_sum(transfer, "cost booked", true, source->cost_micros, target->cost_micros);
    add_sum(transfer, "held by open calls", true, source->held_micros, target->held_micros);
    add_sum(transfer, "meters", false, source->meter_count, target->meter_count);
    add_sum(transfer, "settled in meters", false, source->meters_settled, target->meters_settled);
    add_sum(transfer, "held in meters", false, source->meters_held, target->meters_held);
    add_sum(transfer, "differences", false, source->difference_count, target->difference_count);
    for (int32_t i = 0; i < transfer->sum_count; i++) {
        const struct transfer_sum *sum = &transfer->sums[i];
        if (sum->source != sum->target) {
            return store_fail(error->text, STATUS_INVALID,
                "the copy is not what the source is (%s: %lld there, %lld here), so nothing was kept of it",
                sum->what, (long long)sum->source, (long long)sum->target);
        }
    }
    return STATUS_OK;
}

/* --- All of it. */

static enum status
judge_source(struct transferring *transferring, struct store_error *error)
{
    const struct transfer_options *options = transferring->options;
    struct end *from = transferring->from;
    struct audit *audit = &transferring->source;
    const enum status status =
        audit_source(from->ops->inspect, from, options->progress, options->user, audit, error);
    if (status != STATUS_OK) {
        return status;
    }
    transferring->transfer->epoch = audit->epoch;
    transferring->transfer->open_hold_count = audit->hold_count;
    transferring->transfer->difference_count = audit->difference_count;
    if (audit->difference_count > 0 && !options->force) {
        return store_fail(error->text, STATUS_INVALID,
            "the books of the source do not agree with themselves (%lld differences, the first: %.200s); "
            "--force takes them as they are",
            (long long)audit->difference_count, audit->findings[0].what);
    }
    return STATUS_OK;
}

static enum status
carry(struct transferring *transferring, struct store_error *error)
{
    const struct transfer_options *options = transferring->options;
    struct end *from = transferring->from;
    struct end *to = transferring->to;
    enum status status = from->ops->hold(from);
    if (status != STATUS_OK) {
        return fail_of(from, status, error);
    }
    status = judge_source(transferring, error);
    if (status == STATUS_OK) {
        status = copy_all(transferring, error);
    }
    if (status == STATUS_OK) {
        status = audit_source(
            to->ops->inspect, to, options->progress, options->user, &transferring->target, error);
    }
    if (status == STATUS_OK) {
        status = compare(transferring, error);
    }
    if (status == STATUS_OK) {
        status = to->ops->commit(to);
        return status == STATUS_OK ? STATUS_OK : fail_of(to, status, error);
    }
    return status;
}

static enum status
end_open(const char *url, struct end **end, struct store_error *error)
{
    const char *path = store_url_path(url);
    const bool is_database = store_url_is_postgres(url);
    if (!path && !is_database) { /* it may hold a password: not repeated where it could */
        const bool may_tell = !strchr(url, '@');
        return store_fail(error->text, STATUS_INVALID,
            "'%.200s' is no store that books can be carried to or from; write sqlite:PATH or postgresql://...",
            may_tell ? url : "...");
    }
    *end = is_database ? postgres_end(url) : sqlite_end(path);
    return *end ? STATUS_OK : store_fail(error->text, STATUS_FULL, "no memory to open a store");
}

static void
end_close(struct end *end)
{
    if (end) {
        end->ops->close(end);
    }
}

enum status
store_transfer(
    const struct transfer_options *options, struct transfer *transfer, struct store_error *error)
{
    struct transferring transferring = { .options = options, .transfer = transfer };
    *transfer = (struct transfer){ 0 };
    error->text[0] = '\0';
    if (store_url_is_postgres(options->from) && strcmp(options->from, options->to) == 0) {
        return store_fail(error->text, STATUS_INVALID,
            "the books would be carried to where they are: name another store to carry them to");
    }
    enum status status = end_open(options->from, &transferring.from, error);
    if (status == STATUS_OK) {
        status = end_open(options->to, &transferring.to, error);
    }
    if (status == STATUS_OK) {
        status = carry(&transferring, error);
    }
    end_close(transferring.to);
    end_close(transferring.from);
    store_audit_free(&transferring.source);
    store_audit_free(&transferring.target);
    return status;
}
