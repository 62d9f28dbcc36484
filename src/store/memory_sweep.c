/* store/memory_sweep.c: what is idle is found in the order of the rows' numbers; the answers are those of
 * sqlite_sweep.c. */
#include "store/memory_priv.h"

static struct memory_table *
table_of(struct store *store, enum memory_table_id id)
{
    return &memory_store_of(store)->tables[id];
}

/* A row of another version than it was read is somebody else's by now. */
static enum status
delete_row(
    struct store *store, enum memory_table_id table_id, int64_t id, bool same, int64_t version)
{
    struct memory_table *table = table_of(store, table_id);
    const enum status status =
        same ? table_remove(table, id, &memory_store_of(store)->undo) : STATUS_CONFLICT;
    return status == STATUS_OK ? STATUS_OK
                               : store_fail(store->last_error, status,
                                   "table %s, row %lld: version %lld is not there",
                                   table->kind->name, (long long)id, (long long)version);
}

enum status
memory_thread_delete(struct store *store, const struct thread_row *row)
{
    const struct thread_row *stored = table_get(table_of(store, TABLE_THREAD), row->thread_id);
    return delete_row(store, TABLE_THREAD, row->thread_id,
        stored && stored->version == row->version, row->version);
}

enum status
memory_subject_delete(struct store *store, const struct subject_row *row)
{
    const struct subject_row *stored = table_get(table_of(store, TABLE_SUBJECT), row->subject_id);
    return delete_row(store, TABLE_SUBJECT, row->subject_id,
        stored && stored->version == row->version, row->version);
}

enum status
memory_meter_delete(struct store *store, const struct meter_row *row)
{
    const struct meter_row *stored = table_get(table_of(store, TABLE_METER), row->subject_id);
    return delete_row(store, TABLE_METER, row->subject_id,
        stored && stored->version == row->version, row->version);
}

enum status
memory_threads_after(struct store *store, const struct thread_row *after, struct thread_row *rows,
    int32_t max, int32_t *count)
{
    const struct memory_table *table = table_of(store, TABLE_THREAD);
    *count = 0;
    for (const struct list *link = table->rows.next; link != &table->rows && *count < max;
         link = link->next) {
        const struct thread_row *row = list_entry(link, struct memory_row, link)->row;
        if (row->thread_id > after->thread_id) {
            rows[(*count)++] = *row;
        }
    }
    return STATUS_OK;
}

enum status
memory_tree_members(struct store *store, const int64_t *root_ids, int32_t root_count,
    store_member *found, void *user)
{
    const struct memory_table *table = table_of(store, TABLE_THREAD);
    for (const struct list *link = table->rows.next; link != &table->rows; link = link->next) {
        const struct thread_row *row = list_entry(link, struct memory_row, link)->row;
        bool asked = false;
        for (int32_t i = 0; i < root_count && row->root_id != row->thread_id; i++) {
            asked |= root_ids[i] == row->root_id;
        }
        if (asked) {
            const struct tree_member member = { row->root_id, row->thread_id, row->last_ms };
            found(user, &member);
        }
    }
    return STATUS_OK;
}

enum status
memory_meters_after(
    struct store *store, int64_t after_id, struct meter_mark *marks, int32_t max, int32_t *count)
{
    const struct memory_table *table = table_of(store, TABLE_METER);
    *count = 0;
    for (const struct list *link = table->rows.next; link != &table->rows && *count < max;
         link = link->next) {
        const struct meter_row *row = list_entry(link, struct memory_row, link)->row;
        if (row->subject_id > after_id) {
            marks[(*count)++] = (struct meter_mark){ row->subject_id, row->seen_ms };
        }
    }
    return STATUS_OK;
}

enum status
memory_hold_oldest(struct store *store, int64_t *created_ms)
{
    const struct memory_table *table = table_of(store, TABLE_HOLD);
    *created_ms = INT64_MAX;
    for (const struct list *link = table->rows.next; link != &table->rows; link = link->next) {
        const struct hold_row *row = list_entry(link, struct memory_row, link)->row;
        *created_ms = min_i64(*created_ms, row->created_ms);
    }
    return *created_ms < INT64_MAX ? STATUS_OK : STATUS_NOT_FOUND;
}
