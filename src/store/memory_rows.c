/* store/memory_rows.c: the writer's gets and puts in memory; the answers are those of
 * sqlite_rows.c. */
#include "store/memory_priv.h"

static struct memory_table *
table_of(struct store *store, enum memory_table_id id)
{
    return &memory_store_of(store)->tables[id];
}

static enum status
fail_row(struct store *store, enum status status, const struct memory_table *table, int64_t id)
{
    return store_fail(store->last_error, status, "table %s, row %lld: %s", table->kind->name,
        (long long)id,
        status == STATUS_EXISTS     ? "it is there already"
        : status == STATUS_CONFLICT ? "its stored version is another one"
        : status == STATUS_FULL     ? "no memory for it"
                                    : "it is not there");
}

static enum status
get_row(struct store *store, enum memory_table_id table_id, int64_t id, void *row)
{
    const struct memory_table *table = table_of(store, table_id);
    const void *stored = table_get(table, id);
    if (!stored) {
        return STATUS_NOT_FOUND;
    }
    memcpy(row, stored, table->kind->row_bytes);
    return STATUS_OK;
}

/* `like` has the fields that make the name; `row` may be the same memory. */
static enum status
find_row(struct store *store, enum memory_table_id table_id, const void *like, void *row)
{
    const struct memory_table *table = table_of(store, table_id);
    const struct memory_row *stored = table_find(table, like);
    if (!stored) {
        return STATUS_NOT_FOUND;
    }
    memcpy(row, stored->row, table->kind->row_bytes);
    return STATUS_OK;
}

/* Unless another row has its name. */
static enum status
set_row(struct store *store, enum memory_table_id table_id, int64_t id, const void *row)
{
    struct memory_table *table = table_of(store, table_id);
    if (table->kind->name_hash) {
        const struct memory_row *named = table_find(table, row);
        if (named && named->id != id) {
            return fail_row(store, STATUS_EXISTS, table, id);
        }
    }
    const enum status status = table_set(table, id, row, &memory_store_of(store)->undo);
    return status == STATUS_OK ? STATUS_OK : fail_row(store, status, table, id);
}

static enum status
insert_row(struct store *store, enum memory_table_id table_id, int64_t id, const void *row)
{
    struct memory_table *table = table_of(store, table_id);
    if (table_get(table, id)) {
        return fail_row(store, STATUS_EXISTS, table, id);
    }
    return set_row(store, table_id, id, row);
}

/* Looks whether a row may be written whose version was `version` when it was read. */
static enum status
version_status(struct store *store, enum memory_table_id table_id, int64_t id, bool stored,
    int64_t stored_version, int64_t version, enum status exists)
{
    const struct memory_table *table = table_of(store, table_id);
    if (version == 0) {
        return stored ? fail_row(store, exists, table, id) : STATUS_OK;
    }
    return stored && stored_version == version ? STATUS_OK
                                               : fail_row(store, STATUS_CONFLICT, table, id);
}

/* --- Rows by what they are needed for. */

static enum status
get_named(struct store *store, const struct need *need, union need_row *row)
{
    const struct slice text = slice_str(need->text);
    union need_row like = { 0 };
    switch (need->kind) {
    case NEED_ACCOUNT_NAME:
        return slice_to_cstr(text, like.account.name, sizeof(like.account.name))
                   ? find_row(store, TABLE_ACCOUNT, &like.account, &row->account)
                   : STATUS_NOT_FOUND;
    case NEED_KEY_HASH:
        return slice_to_cstr(text, like.key.hash_hex, sizeof(like.key.hash_hex))
                   ? find_row(store, TABLE_KEY, &like.key, &row->key)
                   : STATUS_NOT_FOUND;
    case NEED_THREAD_SIG:
        like.thread.account_id = need->id;
        like.thread.kind = (enum thread_kind)need->sub_kind;
        return slice_to_cstr(text, like.thread.sig_hash, sizeof(like.thread.sig_hash))
                   ? find_row(store, TABLE_THREAD, &like.thread, &row->thread)
                   : STATUS_NOT_FOUND;
    case NEED_SUBJECT:
        like.subject.account_id = need->id;
        like.subject.kind = (enum subject_kind)need->sub_kind;
        return slice_to_cstr(text, like.subject.name, sizeof(like.subject.name))
                   ? find_row(store, TABLE_SUBJECT, &like.subject, &row->subject)
                   : STATUS_NOT_FOUND;
    case NEED_ISSUED:
        return slice_to_cstr(text, like.issued.id_hash, sizeof(like.issued.id_hash))
                   ? find_row(store, TABLE_ISSUED, &like.issued, &row->issued)
                   : STATUS_NOT_FOUND;
    case NEED_RECEIPT:
        return slice_to_cstr(text, like.receipt.name, sizeof(like.receipt.name))
                   ? find_row(store, TABLE_RECEIPT, &like.receipt, &row->receipt)
                   : STATUS_NOT_FOUND;
    default: check(!"a need that no row answers");
    }
}

static enum status
get(struct store *store, const struct need *need, union need_row *row)
{
    switch (need->kind) {
    case NEED_ACCOUNT: return get_row(store, TABLE_ACCOUNT, need->id, &row->account);
    case NEED_KEY: return get_row(store, TABLE_KEY, need->id, &row->key);
    case NEED_THREAD: return get_row(store, TABLE_THREAD, need->id, &row->thread);
    case NEED_METER: return get_row(store, TABLE_METER, need->id, &row->meter);
    case NEED_HOLD: return get_row(store, TABLE_HOLD, need->id, &row->hold);
    case NEED_SUBJECT_ID: return get_row(store, TABLE_SUBJECT, need->id, &row->subject);
    case NEED_REPORTED: return get_row(store, TABLE_REPORTED, need->id, &row->reported);
    default: return get_named(store, need, row);
    }
}

/* --- Accounts and keys. */

static enum status
account_put(struct store *store, struct account_row *row)
{
    const struct account_row *stored = table_get(table_of(store, TABLE_ACCOUNT), row->account_id);
    enum status status = version_status(store, TABLE_ACCOUNT, row->account_id, stored,
        stored ? stored->version : 0, row->version, STATUS_EXISTS);
    if (status == STATUS_OK) {
        struct account_row next = *row;
        next.version++;
        status = set_row(store, TABLE_ACCOUNT, row->account_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

static enum status
key_put(struct store *store, struct key_row *row)
{
    const struct key_row *stored = table_get(table_of(store, TABLE_KEY), row->key_id);
    enum status status = version_status(store, TABLE_KEY, row->key_id, stored,
        stored ? stored->version : 0, row->version, STATUS_EXISTS);
    if (status == STATUS_OK) {
        struct key_row next = *row;
        next.version++;
        status = set_row(store, TABLE_KEY, row->key_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

static enum status
identity_version(struct store *store, int64_t *version)
{
    *version = memory_store_of(store)->meta.identity_version;
    return STATUS_OK;
}

static enum status
identity_bump(struct store *store, int64_t version)
{
    int64_t *stored = &memory_store_of(store)->meta.identity_version;
    if (version <= *stored) {
        return store_fail(store->last_error, STATUS_CONFLICT,
            "the identity version is %lld already, so not %lld", (long long)*stored,
            (long long)version);
    }
    *stored = version;
    return STATUS_OK;
}

/* --- Threads, subjects, meters. */

/* What one is never changes, so that a row of that number which is another was not this one. */
static bool
is_other_thread(const struct thread_row *stored, const struct thread_row *row)
{
    return stored
           && (stored->account_id != row->account_id || stored->kind != row->kind
               || strcmp(stored->sig_hash, row->sig_hash) != 0);
}

static bool
is_other_subject(const struct subject_row *stored, const struct subject_row *row)
{
    return stored
           && (stored->account_id != row->account_id || stored->kind != row->kind
               || strcmp(stored->name, row->name) != 0);
}

static enum status
thread_put(struct store *store, struct thread_row *row)
{
    const struct memory_table *table = table_of(store, TABLE_THREAD);
    const struct thread_row *stored = table_get(table, row->thread_id);
    enum status status = version_status(store, TABLE_THREAD, row->thread_id, stored,
        stored ? stored->version : 0, row->version, STATUS_EXISTS);
    if (status == STATUS_OK && is_other_thread(stored, row)) {
        status = fail_row(store, STATUS_CONFLICT, table, row->thread_id);
    }
    if (status == STATUS_OK) {
        struct thread_row next = *row;
        next.created_ms = stored ? stored->created_ms : row->created_ms;
        next.root_id = stored ? stored->root_id : row->root_id;
        next.version = row->version + 1;
        status = set_row(store, TABLE_THREAD, row->thread_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

static enum status
subject_put(struct store *store, struct subject_row *row)
{
    const struct memory_table *table = table_of(store, TABLE_SUBJECT);
    const struct subject_row *stored = table_get(table, row->subject_id);
    enum status status = version_status(store, TABLE_SUBJECT, row->subject_id, stored,
        stored ? stored->version : 0, row->version, STATUS_EXISTS);
    if (status == STATUS_OK && is_other_subject(stored, row)) {
        status = fail_row(store, STATUS_CONFLICT, table, row->subject_id);
    }
    if (status == STATUS_OK) {
        struct subject_row next = *row;
        next.version = row->version + 1;
        status = set_row(store, TABLE_SUBJECT, row->subject_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

static enum status
meter_put(struct store *store, struct meter_row *row)
{
    const struct meter_row *stored = table_get(table_of(store, TABLE_METER), row->subject_id);
    enum status status = version_status(store, TABLE_METER, row->subject_id, stored,
        stored ? stored->version : 0, row->version, STATUS_CONFLICT);
    if (status == STATUS_OK) {
        struct meter_row next = *row;
        next.version++;
        status = set_row(store, TABLE_METER, row->subject_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

static enum status
reported_put(struct store *store, struct reported_row *row)
{
    const struct reported_row *stored = table_get(table_of(store, TABLE_REPORTED), row->account_id);
    enum status status = version_status(store, TABLE_REPORTED, row->account_id, stored,
        stored ? stored->version : 0, row->version, STATUS_CONFLICT);
    if (status == STATUS_OK) {
        struct reported_row next = *row;
        next.version++;
        status = set_row(store, TABLE_REPORTED, row->account_id, &next);
    }
    row->version += status == STATUS_OK;
    return status;
}

/* --- Holds, ledger, refusals. */

static enum status
hold_insert(struct store *store, const struct hold_row *row)
{
    return insert_row(store, TABLE_HOLD, row->hold_id, row);
}

static enum status
hold_update(struct store *store, const struct hold_row *row)
{
    const struct memory_table *table = table_of(store, TABLE_HOLD);
    const struct hold_row *stored = table_get(table, row->hold_id);
    if (!stored) {
        return fail_row(store, STATUS_NOT_FOUND, table, row->hold_id);
    }
    struct hold_row next = *row;
    next.node_id = stored->node_id;
    next.epoch = stored->epoch;
    next.account_id = stored->account_id;
    next.key_id = stored->key_id;
    next.thread_id = stored->thread_id;
    next.root_id = stored->root_id;
    memcpy(next.model, stored->model, sizeof(next.model));
    next.created_ms = stored->created_ms;
    return set_row(store, TABLE_HOLD, row->hold_id, &next);
}

static enum status
hold_delete(struct store *store, int64_t hold_id)
{
    struct memory_table *table = table_of(store, TABLE_HOLD);
    const enum status status = table_remove(table, hold_id, &memory_store_of(store)->undo);
    return status == STATUS_OK ? STATUS_OK : fail_row(store, status, table, hold_id);
}

static enum status
hold_orphan(struct store *store, int64_t after, struct hold_row *row)
{
    const struct node_row *node = &memory_store_of(store)->meta.node;
    const struct memory_table *table = table_of(store, TABLE_HOLD);
    for (struct list *link = table->rows.next; link != &table->rows; link = link->next) {
        const struct hold_row *hold = list_entry(link, struct memory_row, link)->row;
        if (hold->hold_id > after
            && (hold->node_id != node->node_id || hold->epoch != node->epoch)) {
            *row = *hold;
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

static enum status
ledger_add(struct store *store, const struct ledger_row *row)
{
    return insert_row(store, TABLE_LEDGER, row->id, row);
}

static enum status
refusal_add(struct store *store, const struct refusal_row *row)
{
    struct memory_store *memory = memory_store_of(store);
    const struct memory_row *named = table_find(table_of(store, TABLE_REFUSAL), row);
    if (!named) {
        return insert_row(store, TABLE_REFUSAL, ++memory->next_row_id, row);
    }
    struct refusal_row next;
    memcpy(&next, named->row, sizeof(next));
    next.count = money_add(next.count, row->count);
    return set_row(store, TABLE_REFUSAL, named->id, &next);
}

/* --- Issued ids and limits. */

static enum status
issued_put(struct store *store, const struct issued_row *row)
{
    if (table_find(table_of(store, TABLE_ISSUED), row)) {
        return STATUS_OK; /* it keeps who had it first */
    }
    return insert_row(store, TABLE_ISSUED, ++memory_store_of(store)->next_row_id, row);
}

/* In the order they came, which is their age; `at_ms` is where in a row that stands. */
static enum status
sweep(struct store *store, enum memory_table_id id, size_t at_ms, int64_t before_ms)
{
    struct memory_table *table = table_of(store, id);
    struct list *link = table->rows.next;
    for (int swept = 0; link != &table->rows && swept < STORE_SWEEP_ROWS;) {
        const struct memory_row *stored = list_entry(link, struct memory_row, link);
        link = link->next;
        if (*(const int64_t *)(const void *)((const char *)stored->row + at_ms) < before_ms) {
            const enum status status =
                table_remove(table, stored->id, &memory_store_of(store)->undo);
            if (status != STATUS_OK) {
                return fail_row(store, status, table, stored->id);
            }
            swept++;
        }
    }
    return STATUS_OK;
}

static enum status
issued_sweep(struct store *store, int64_t before_ms)
{
    return sweep(store, TABLE_ISSUED, offsetof(struct issued_row, at_ms), before_ms);
}

static enum status
receipt_add(struct store *store, const struct receipt_row *row)
{
    if (table_find(table_of(store, TABLE_RECEIPT), row)) {
        return store_fail(
            store->last_error, STATUS_EXISTS, "table receipt has '%s' already", row->name);
    }
    return insert_row(store, TABLE_RECEIPT, ++memory_store_of(store)->next_row_id, row);
}

static enum status
receipt_sweep(struct store *store, int64_t before_ms)
{
    return sweep(store, TABLE_RECEIPT, offsetof(struct receipt_row, at_ms), before_ms);
}

/* --- Retention. */

static enum status
ledger_marks(
    struct store *store, int64_t after_id, struct ledger_mark *marks, int32_t max, int32_t *count)
{
    const struct memory_table *table = table_of(store, TABLE_LEDGER);
    *count = 0;
    for (struct list *link = table->rows.next; link != &table->rows && *count < max;
         link = link->next) {
        const struct ledger_row *row = list_entry(link, struct memory_row, link)->row;
        if (row->id > after_id) {
            marks[(*count)++] = (struct ledger_mark){ row->id, row->at_ms, row->kind };
        }
    }
    return STATUS_OK;
}

static enum status
drop_row(struct store *store, enum memory_table_id id, int64_t row_id)
{
    struct memory_table *table = table_of(store, id);
    const enum status status = table_remove(table, row_id, &memory_store_of(store)->undo);
    return status == STATUS_OK ? STATUS_OK : fail_row(store, status, table, row_id);
}

static enum status
ledger_drop(struct store *store, int64_t after_id, int64_t until_id, int64_t before_ms)
{
    const struct memory_table *table = table_of(store, TABLE_LEDGER);
    enum status status = STATUS_OK;
    for (struct list *link = table->rows.next; status == STATUS_OK && link != &table->rows;) {
        const struct ledger_row *row = list_entry(link, struct memory_row, link)->row;
        link = link->next;
        if (row->id > until_id) {
            break;
        }
        if (row->id > after_id && row->at_ms < before_ms && ledger_kind_ages(row->kind)) {
            status = drop_row(store, TABLE_LEDGER, row->id);
        }
    }
    return status;
}

static enum status
refusals_old(struct store *store, int64_t before_ms, int32_t max, int32_t *count)
{
    const struct memory_table *table = table_of(store, TABLE_REFUSAL);
    *count = 0;
    for (const struct list *link = table->rows.next; link != &table->rows && *count < max;
         link = link->next) {
        const struct refusal_row *row = list_entry(link, struct memory_row, link)->row;
        *count += row->minute_ms < before_ms;
    }
    return STATUS_OK;
}

static enum status
refusals_drop(struct store *store, int64_t before_ms, int32_t max)
{
    const struct memory_table *table = table_of(store, TABLE_REFUSAL);
    const struct memory_table *ledger = table_of(store, TABLE_LEDGER);
    enum status status = STATUS_OK;
    for (struct list *link = table->rows.next; status == STATUS_OK && link != &table->rows;) {
        const struct memory_row *stored = list_entry(link, struct memory_row, link);
        const struct refusal_row *row = stored->row;
        link = link->next;
        if (row->minute_ms >= before_ms) {
            continue;
        }
        if (max-- == 0) {
            break;
        }
        const struct ledger_row *told = table_get(ledger, row->ledger_id);
        if (told && told->kind == LEDGER_REFUSAL) {
            status = drop_row(store, TABLE_LEDGER, row->ledger_id);
        }
        if (status == STATUS_OK) {
            status = drop_row(store, TABLE_REFUSAL, stored->id);
        }
    }
    return status;
}

static int64_t *
mark_at(struct store *store, const char *name)
{
    struct memory_meta *meta = &memory_store_of(store)->meta;
    return strcmp(name, META_KEPT_FROM) == 0 ? &meta->kept_from_ms : &meta->overshoot_max_micros;
}

static enum status
mark(struct store *store, const char *name, int64_t *value)
{
    *value = *mark_at(store, name);
    return STATUS_OK;
}

static enum status
mark_raise(struct store *store, const char *name, int64_t value)
{
    int64_t *at = mark_at(store, name);
    *at = max_i64(*at, value);
    return STATUS_OK;
}

static enum status
outbox_add(struct store *store, const struct outbox_row *row)
{
    return insert_row(store, TABLE_OUTBOX, row->id, row);
}

static enum status
outbox_tried(struct store *store, const struct outbox_row *row)
{
    struct outbox_row next;
    if (get_row(store, TABLE_OUTBOX, row->id, &next) != STATUS_OK) {
        return STATUS_OK; /* somebody else delivered it */
    }
    next.next_ms = row->next_ms;
    next.attempts = row->attempts;
    memcpy(next.last_error, row->last_error, sizeof(next.last_error));
    return set_row(store, TABLE_OUTBOX, row->id, &next);
}

static enum status
outbox_delete(struct store *store, int64_t id)
{
    struct memory_table *table = table_of(store, TABLE_OUTBOX);
    if (!table_get(table, id)) {
        return STATUS_OK;
    }
    const enum status status = table_remove(table, id, &memory_store_of(store)->undo);
    return status == STATUS_OK ? STATUS_OK : fail_row(store, status, table, id);
}

static enum status
limit_def_at(struct store *store, int64_t index, struct limit_def_row *row)
{
    const struct memory_table *table = table_of(store, TABLE_LIMIT_DEF);
    for (struct list *link = table->rows.next; link != &table->rows; link = link->next) {
        if (index-- == 0) {
            memcpy(row, list_entry(link, struct memory_row, link)->row, sizeof(*row));
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

static enum status
limit_def_put(struct store *store, const struct limit_def_row *row)
{
    return set_row(store, TABLE_LIMIT_DEF, row->def_id, row);
}

const struct store_row_ops memory_row_ops = {
    .get = get,
    .account_put = account_put,
    .key_put = key_put,
    .identity_version = identity_version,
    .identity_bump = identity_bump,
    .thread_put = thread_put,
    .subject_put = subject_put,
    .meter_put = meter_put,
    .reported_put = reported_put,
    .hold_insert = hold_insert,
    .hold_update = hold_update,
    .hold_delete = hold_delete,
    .hold_orphan = hold_orphan,
    .ledger_add = ledger_add,
    .refusal_add = refusal_add,
    .issued_put = issued_put,
    .issued_sweep = issued_sweep,
    .receipt_add = receipt_add,
    .receipt_sweep = receipt_sweep,
    .thread_delete = memory_thread_delete,
    .subject_delete = memory_subject_delete,
    .meter_delete = memory_meter_delete,
    .threads_after = memory_threads_after,
    .tree_members = memory_tree_members,
    .meters_after = memory_meters_after,
    .hold_oldest = memory_hold_oldest,
    .ledger_marks = ledger_marks,
    .ledger_drop = ledger_drop,
    .refusals_old = refusals_old,
    .refusals_drop = refusals_drop,
    .mark = mark,
    .mark_raise = mark_raise,
    .outbox_add = outbox_add,
    .outbox_tried = outbox_tried,
    .outbox_delete = outbox_delete,
    .limit_def_at = limit_def_at,
    .limit_def_put = limit_def_put,
};
