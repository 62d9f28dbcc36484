/* store/memory_read.c: the reader door in memory: a read holds the mutex, so it waits for the
 * batch. */
#include "store/memory_priv.h"

#include <errno.h>
#include <stdlib.h>

struct memory_reader {
    struct store_reader base; /* first */
    struct memory_store *store;
};

static struct memory_reader *
reader_of(struct store_reader *reader)
{
    return (struct memory_reader *)(void *)reader;
}

static enum status
reader_open(struct store *store, struct store_reader **out, struct store_error *error)
{
    struct memory_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        return store_fail(error->text, STATUS_FULL, "no memory for a reader of the store");
    }
    reader->base.ops = &memory_reader_ops;
    reader->store = memory_store_of(store);
    atomic_fetch_add(&reader->store->reader_count, 1);
    *out = &reader->base;
    return STATUS_OK;
}

static void
reader_close(struct store_reader *base)
{
    struct memory_reader *reader = reader_of(base);
    atomic_fetch_sub(&reader->store->reader_count, 1);
    free(reader);
}

/* --- Reads. */

static enum status
lock(struct store_reader *base)
{
    const int failure = pthread_mutex_lock(&reader_of(base)->store->mutex);
    if (failure == EDEADLK) {
        return store_fail(base->last_error, STATUS_BUSY,
            "the store in memory cannot be read amid a transaction of the same thread");
    }
    check(failure == 0);
    return STATUS_OK;
}

static void
unlock(struct store_reader *base)
{
    check(pthread_mutex_unlock(&reader_of(base)->store->mutex) == 0);
}

static const struct memory_table *
table_of(struct store_reader *base, enum memory_table_id id)
{
    return &reader_of(base)->store->tables[id];
}

static const void *
row_at(struct list *link)
{
    return list_entry(link, struct memory_row, link)->row;
}

static bool
filter_takes(const struct ledger_filter *filter, const struct ledger_row *row)
{
    return (filter->before_id <= 0 || row->id < filter->before_id)
           && (filter->id == 0 || row->id == filter->id || row->hold_id == filter->id)
           && (filter->account_id == 0 || row->account_id == filter->account_id)
           && (filter->key_id == 0 || row->key_id == filter->key_id)
           && (filter->thread_id == 0 || row->thread_id == filter->thread_id)
           && row->at_ms >= filter->since_ms
           && (filter->until_ms <= 0 || row->at_ms < filter->until_ms)
           && (filter->kind < 0 || (int32_t)row->kind == filter->kind)
           && (filter->model[0] == '\0' || strcmp(row->model, filter->model) == 0);
}

static enum status
read_ledger(struct store_reader *reader, const struct ledger_filter *filter,
    ledger_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    int32_t left = filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT;
    const struct list *rows = &table_of(reader, TABLE_LEDGER)->rows;
    for (struct list *link = rows->prev; link != rows && left > 0; link = link->prev) {
        const struct ledger_row *row = row_at(link);
        if (filter_takes(filter, row)) {
            left--;
            if (!callback(user, row)) {
                break;
            }
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_events(struct store_reader *reader, const struct event_filter *filter,
    ledger_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    int32_t left = filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT;
    const struct list *rows = &table_of(reader, TABLE_LEDGER)->rows;
    const bool up = filter->oldest_first;
    for (struct list *link = up ? rows->next : rows->prev; link != rows && left > 0;
         link = up ? link->next : link->prev) {
        const struct ledger_row *row = row_at(link);
        const bool wanted = (row->kind == LEDGER_WARN || row->kind == LEDGER_SHADOW)
                            && (filter->before_id <= 0 || row->id < filter->before_id)
                            && row->id > filter->after_id
                            && (filter->account_id == 0 || row->account_id == filter->account_id);
        left -= wanted;
        if (wanted && !callback(user, row)) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_accounts(struct store_reader *reader, account_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_ACCOUNT)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        if (!callback(user, row_at(link))) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_keys(struct store_reader *reader, int64_t account_id, key_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_KEY)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        const struct key_row *row = row_at(link);
        if ((account_id == 0 || row->account_id == account_id) && !callback(user, row)) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_meters(struct store_reader *reader, int64_t account_id, meter_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_SUBJECT)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        const struct subject_row *subject = row_at(link);
        const struct meter_row *meters =
            table_get(table_of(reader, TABLE_METER), subject->subject_id);
        if (meters && (account_id == 0 || subject->account_id == account_id)
            && !callback(user, subject, meters)) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_subjects(struct store_reader *reader, const struct subject_filter *filter,
    subject_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_SUBJECT)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        const struct subject_row *row = row_at(link);
        const bool wanted = filter->with_caps ? row->kind == filter->kind && row->set_count > 0
                                              : row->account_id == filter->account_id;
        if (wanted && !callback(user, row)) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_limit_defs(struct store_reader *reader, limit_def_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_LIMIT_DEF)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        if (!callback(user, row_at(link))) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_threads(struct store_reader *reader, const struct thread_filter *filter,
    thread_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_THREAD)->rows;
    const int64_t before_id = filter->before_id > 0 ? filter->before_id : INT64_MAX;
    int32_t left = filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT;
    for (struct list *link = rows->prev; link != rows && left > 0; link = link->prev) {
        const struct thread_row *row = row_at(link);
        const bool wanted = (filter->account_id == 0 || row->account_id == filter->account_id)
                            && row->thread_id < before_id;
        left -= wanted;
        if (wanted && !callback(user, row)) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_holds(struct store_reader *reader, hold_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct list *rows = &table_of(reader, TABLE_HOLD)->rows;
    for (struct list *link = rows->next; link != rows; link = link->next) {
        if (!callback(user, row_at(link))) {
            break;
        }
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_row(struct store_reader *reader, const struct need *need, union need_row *row)
{
    enum status status = lock(reader);
    if (status == STATUS_OK) {
        status = memory_row_ops.get(&reader_of(reader)->store->base, need, row);
        unlock(reader);
    }
    return status;
}

/* --- Refusals come in the order of their minute, as from disk. */

static int
order_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int
order_refusals(const void *left, const void *right)
{
    const struct refusal_row *a = *(const struct refusal_row *const *)left;
    const struct refusal_row *b = *(const struct refusal_row *const *)right;
    int order = order_i64(a->minute_ms, b->minute_ms);
    order = order != 0 ? order : order_i64(a->account_id, b->account_id);
    return order != 0 ? order : order_i64(a->ledger_id, b->ledger_id);
}

static int
order_outbox(const void *left, const void *right)
{
    const struct outbox_row *a = *(const struct outbox_row *const *)left;
    const struct outbox_row *b = *(const struct outbox_row *const *)right;
    const int order = order_i64(a->next_ms, b->next_ms);
    return order != 0 ? order : order_i64(a->id, b->id);
}

static enum status
read_outbox(struct store_reader *reader, const char *hook, int32_t limit, outbox_callback *callback,
    void *user)
{
    enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct memory_table *table = table_of(reader, TABLE_OUTBOX);
    const struct outbox_row **found = calloc(table->by_id.count + 1, sizeof(struct outbox_row *));
    if (!found) {
        status = store_fail(reader->last_error, STATUS_FULL, "no memory to read the outbox");
    }
    size_t found_count = 0;
    for (struct list *link = table->rows.next; found && link != &table->rows; link = link->next) {
        const struct outbox_row *row = row_at(link);
        if (hook[0] == '\0' || strcmp(row->hook, hook) == 0) {
            found[found_count++] = row;
        }
    }
    if (found_count > 0) {
        qsort(found, found_count, sizeof(struct outbox_row *), order_outbox);
    }
    for (size_t i = 0; i < found_count && i < (size_t)limit && callback(user, found[i]); i++) {
    }
    unlock(reader);
    free(found);
    return status;
}

static enum status
read_nodes(struct store_reader *reader, node_callback *callback, void *user)
{
    const enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct node_row *node = &reader_of(reader)->store->meta.node;
    if (node->epoch > 0) {
        (void)callback(user, node);
    }
    unlock(reader);
    return STATUS_OK;
}

static enum status
read_refusals(struct store_reader *reader, int64_t account_id, int64_t since_ms,
    refusal_callback *callback, void *user)
{
    enum status status = lock(reader);
    if (status != STATUS_OK) {
        return status;
    }
    const struct memory_table *table = table_of(reader, TABLE_REFUSAL);
    const struct refusal_row **found = calloc(table->by_id.count + 1, sizeof(struct refusal_row *));
    if (!found) {
        status = store_fail(reader->last_error, STATUS_FULL, "no memory to read the refusals");
    }
    size_t found_count = 0;
    for (struct list *link = table->rows.next; found && link != &table->rows; link = link->next) {
        const struct refusal_row *row = row_at(link);
        if (row->minute_ms >= since_ms && (account_id == 0 || row->account_id == account_id)) {
            found[found_count++] = row;
        }
    }
    if (found_count > 0) {
        qsort(found, found_count, sizeof(struct refusal_row *), order_refusals);
    }
    for (size_t i = 0; i < found_count && callback(user, found[i]); i++) {
    }
    unlock(reader);
    free(found);
    return status;
}

const struct store_reader_ops memory_reader_ops = {
    .reader_open = reader_open,
    .reader_close = reader_close,
    .read_ledger = read_ledger,
    .read_events = read_events,
    .read_outbox = read_outbox,
    .read_subjects = read_subjects,
    .read_limit_defs = read_limit_defs,
    .read_threads = read_threads,
    .read_accounts = read_accounts,
    .read_keys = read_keys,
    .read_meters = read_meters,
    .read_row = read_row,
    .read_holds = read_holds,
    .read_nodes = read_nodes,
    .read_refusals = read_refusals,
};
