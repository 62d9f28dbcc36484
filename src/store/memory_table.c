/* store/memory_table.c: rows by id, by name and in order, and the log that takes writes back. */
#include "store/memory_priv.h"

#include <stdlib.h>

#define UNDO_FIRST_ENTRIES ((size_t)64)

/* --- What makes the name of a row: the UNIQUE and PRIMARY KEY columns of schema/001.sql. */

static uint64_t
hash_text(const char *text)
{
    return hash_bytes(slice_str(text));
}

static uint64_t
account_hash(const void *row)
{
    return hash_text(((const struct account_row *)row)->name);
}

static bool
account_same(const void *row, const void *other)
{
    const struct account_row *a = row;
    const struct account_row *b = other;
    return strcmp(a->name, b->name) == 0;
}

static uint64_t
key_hash(const void *row)
{
    return hash_text(((const struct key_row *)row)->hash_hex);
}

static bool
key_same(const void *row, const void *other)
{
    const struct key_row *a = row;
    const struct key_row *b = other;
    return strcmp(a->hash_hex, b->hash_hex) == 0;
}

static uint64_t
thread_hash(const void *row)
{
    const struct thread_row *thread = row;
    return hash_pair(hash_text(thread->sig_hash),
        hash_pair((uint64_t)thread->account_id, (uint64_t)thread->kind));
}

static bool
thread_same(const void *row, const void *other)
{
    const struct thread_row *a = row;
    const struct thread_row *b = other;
    return a->account_id == b->account_id && a->kind == b->kind
           && strcmp(a->sig_hash, b->sig_hash) == 0;
}

static uint64_t
subject_hash(const void *row)
{
    const struct subject_row *subject = row;
    return hash_pair(hash_text(subject->name),
        hash_pair((uint64_t)subject->account_id, (uint64_t)subject->kind));
}

static bool
subject_same(const void *row, const void *other)
{
    const struct subject_row *a = row;
    const struct subject_row *b = other;
    return a->account_id == b->account_id && a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

static uint64_t
refusal_hash(const void *row)
{
    const struct refusal_row *refusal = row;
    return hash_pair(hash_pair((uint64_t)refusal->account_id, (uint64_t)refusal->minute_ms),
        (uint64_t)refusal->ledger_id);
}

static bool
refusal_same(const void *row, const void *other)
{
    const struct refusal_row *a = row;
    const struct refusal_row *b = other;
    return a->account_id == b->account_id && a->minute_ms == b->minute_ms
           && a->ledger_id == b->ledger_id;
}

static uint64_t
issued_hash(const void *row)
{
    return hash_text(((const struct issued_row *)row)->id_hash);
}

static bool
issued_same(const void *row, const void *other)
{
    const struct issued_row *a = row;
    const struct issued_row *b = other;
    return strcmp(a->id_hash, b->id_hash) == 0;
}

static uint64_t
receipt_hash(const void *row)
{
    return hash_text(((const struct receipt_row *)row)->name);
}

static bool
receipt_same(const void *row, const void *other)
{
    const struct receipt_row *a = row;
    const struct receipt_row *b = other;
    return strcmp(a->name, b->name) == 0;
}

static uint64_t
limit_def_hash(const void *row)
{
    const struct limit_def_row *limit = row;
    return hash_pair(hash_text(limit->name), (uint64_t)limit->nth);
}

static bool
limit_def_same(const void *row, const void *other)
{
    const struct limit_def_row *a = row;
    const struct limit_def_row *b = other;
    return a->nth == b->nth && strcmp(a->name, b->name) == 0;
}

static const struct memory_kind kinds[] = {
    [TABLE_ACCOUNT] = { "account", sizeof(struct account_row), 0, account_hash, account_same },
    [TABLE_KEY] = { "key", sizeof(struct key_row), 0, key_hash, key_same },
    [TABLE_THREAD] = { "thread", sizeof(struct thread_row), 0, thread_hash, thread_same },
    [TABLE_SUBJECT] = { "subject", sizeof(struct subject_row), 0, subject_hash, subject_same },
    [TABLE_METER] = { "meter", sizeof(struct meter_row), 0, NULL, NULL },
    [TABLE_REPORTED] = { "reported", sizeof(struct reported_row), 0, NULL, NULL },
    [TABLE_HOLD] = { "hold", sizeof(struct hold_row), offsetof(struct hold_row, inputs), NULL,
        NULL },
    [TABLE_LEDGER] = { "ledger", sizeof(struct ledger_row), offsetof(struct ledger_row, inputs),
        NULL, NULL },
    [TABLE_REFUSAL] = { "refusal", sizeof(struct refusal_row), 0, refusal_hash, refusal_same },
    [TABLE_ISSUED] = { "issued", sizeof(struct issued_row), 0, issued_hash, issued_same },
    [TABLE_RECEIPT] = { "receipt", sizeof(struct receipt_row), 0, receipt_hash, receipt_same },
    [TABLE_OUTBOX] = { "outbox", sizeof(struct outbox_row), offsetof(struct outbox_row, body), NULL,
        NULL },
    [TABLE_LIMIT_DEF] = { "limit_def", sizeof(struct limit_def_row), 0, limit_def_hash,
        limit_def_same },
};
_Static_assert(countof(kinds) == TABLE_COUNT, "a kind each");

/* --- Tables. */

void
table_init(struct memory_table *table, enum memory_table_id id)
{
    *table = (struct memory_table){ .kind = &kinds[id] };
    list_init(&table->rows);
}

void
table_free(struct memory_table *table)
{
    for (struct list *link = table->rows.next; link != &table->rows;) {
        struct memory_row *stored = list_entry(link, struct memory_row, link);
        link = link->next;
        free(stored);
    }
    list_init(&table->rows);
    map_free(&table->by_id);
    map_free(&table->by_name);
}

const void *
table_get(const struct memory_table *table, int64_t id)
{
    const struct memory_row *stored = map_get(&table->by_id, (uint64_t)id);
    return stored ? stored->row : NULL;
}

struct memory_row *
table_find(const struct memory_table *table, const void *like)
{
    struct memory_row *stored = map_get(&table->by_name, table->kind->name_hash(like));
    while (stored && !table->kind->name_same(stored->row, like)) {
        stored = stored->next_named;
    }
    return stored;
}

static struct memory_row *
copy_row(const struct memory_kind *kind, int64_t id, const void *row)
{
    struct slice inputs = { NULL, 0 };
    if (kind->inputs_at > 0) {
        memcpy(&inputs, (const char *)row + kind->inputs_at, sizeof(inputs));
    }
    const size_t row_at = (sizeof(struct memory_row) + 15) / 16 * 16;
    struct memory_row *stored = malloc(row_at + kind->row_bytes + inputs.len);
    if (!stored) {
        return NULL;
    }
    *stored = (struct memory_row){ .id = id, .row = (char *)stored + row_at };
    list_init(&stored->link);
    memcpy(stored->row, row, kind->row_bytes);
    if (inputs.len > 0) {
        char *copy = (char *)stored->row + kind->row_bytes;
        memcpy(copy, inputs.ptr, inputs.len);
        inputs.ptr = copy;
        memcpy((char *)stored->row + kind->inputs_at, &inputs, sizeof(inputs));
    }
    if (kind->name_hash) {
        stored->name_hash = kind->name_hash(row);
    }
    return stored;
}

/* Ids mostly grow: the place is at the end or near it. */
static void
link_in_order(struct memory_table *table, struct memory_row *stored)
{
    struct list *after = table->rows.prev;
    while (after != &table->rows && list_entry(after, struct memory_row, link)->id > stored->id) {
        after = after->prev;
    }
    list_push_front(after, &stored->link); /* a node is the head of what follows it */
}

static bool
add_name(struct memory_table *table, struct memory_row *stored)
{
    if (!table->kind->name_hash) {
        return true;
    }
    stored->next_named = map_get(&table->by_name, stored->name_hash);
    return map_put(&table->by_name, stored->name_hash, stored);
}

static void
drop_name(struct memory_table *table, struct memory_row *stored)
{
    if (!table->kind->name_hash) {
        return;
    }
    struct memory_row *first = map_get(&table->by_name, stored->name_hash);
    if (first != stored) {
        while (first->next_named != stored) {
            first = first->next_named;
        }
        first->next_named = stored->next_named;
    } else if (stored->next_named) {
        check(map_put(&table->by_name, stored->name_hash, stored->next_named)); /* key is there */
    } else {
        (void)map_remove(&table->by_name, stored->name_hash);
    }
    stored->next_named = NULL;
}

static bool
attach(struct memory_table *table, struct memory_row *stored)
{
    if (!map_put(&table->by_id, (uint64_t)stored->id, stored)) {
        return false;
    }
    if (!add_name(table, stored)) {
        (void)map_remove(&table->by_id, (uint64_t)stored->id);
        return false;
    }
    link_in_order(table, stored);
    return true;
}

static struct memory_row *
detach(struct memory_table *table, int64_t id)
{
    struct memory_row *stored = map_remove(&table->by_id, (uint64_t)id);
    if (stored) {
        drop_name(table, stored);
        list_remove(&stored->link);
    }
    return stored;
}

/* --- Writes and their undo. */

static bool
undo_reserve(struct memory_undo_log *log)
{
    if (log->count < log->cap) {
        return true;
    }
    const size_t cap = log->cap > 0 ? log->cap * 2 : UNDO_FIRST_ENTRIES;
    struct memory_undo *entries = realloc(log->entries, cap * sizeof(*entries));
    if (!entries) {
        return false;
    }
    log->entries = entries;
    log->cap = cap;
    return true;
}

enum status
table_set(struct memory_table *table, int64_t id, const void *row, struct memory_undo_log *log)
{
    if (!undo_reserve(log)) {
        return STATUS_FULL;
    }
    struct memory_row *stored = copy_row(table->kind, id, row);
    if (!stored) {
        return STATUS_FULL;
    }
    struct memory_row *before = detach(table, id);
    if (!attach(table, stored)) {
        free(stored);
        check(!before || attach(table, before)); /* where it was a moment ago there is room */
        return STATUS_FULL;
    }
    log->entries[log->count++] = (struct memory_undo){ table, id, before };
    return STATUS_OK;
}

enum status
table_remove(struct memory_table *table, int64_t id, struct memory_undo_log *log)
{
    if (!undo_reserve(log)) {
        return STATUS_FULL;
    }
    struct memory_row *before = detach(table, id);
    if (!before) {
        return STATUS_NOT_FOUND;
    }
    log->entries[log->count++] = (struct memory_undo){ table, id, before };
    return STATUS_OK;
}

void
undo_forget(struct memory_undo_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        free(log->entries[i].before);
    }
    log->count = 0;
}

void
undo_all(struct memory_undo_log *log)
{
    while (log->count > 0) {
        const struct memory_undo undo = log->entries[--log->count];
        free(detach(undo.table, undo.id));
        check(!undo.before || attach(undo.table, undo.before)); /* it was there: there is room */
    }
}
