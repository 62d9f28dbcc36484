/* store/postgres_load.c: many rows in one way there and back. Rows that others may change are locked, in
 * the one order (postgres_locks.c); the answers are then told in the order in which they were asked for. */
#include "store/postgres_priv.h"

#include <stdlib.h>

/* Where the answer to a need is. */
struct asked {
    const struct need *need;
    size_t index; /* of the need in the call */
    size_t slot;
    int row; /* -1: there is none */
};

struct load {
    struct asked *asked;
    struct asked **order; /* of those that are locked one by one */
    size_t cap;
    struct thread_row *threads; /* as the lock statement answered: by id */
    struct thread_row **by_sig;
    size_t thread_count, thread_cap;
    struct buf arrays[4];
};

void
load_free(struct load *load)
{
    if (!load) {
        return;
    }
    for (size_t i = 0; i < countof(load->arrays); i++) {
        buf_free(&load->arrays[i]);
    }
    free(load->asked);
    free(load->order);
    free(load->threads);
    free(load->by_sig);
    free(load);
}

static struct load *
load_of(struct postgres_store *postgres, size_t count)
{
    struct load *load = postgres->load ? postgres->load : calloc(1, sizeof(*load));
    postgres->load = load;
    if (load && count > load->cap) {
        free(load->asked);
        free(load->order);
        load->asked = calloc(count, sizeof(*load->asked));
        load->order = calloc(count, sizeof(struct asked *));
        load->cap = load->asked && load->order ? count : 0;
    }
    return load && load->cap >= count ? load : NULL;
}

static enum status
no_memory(struct postgres_store *postgres)
{
    return store_fail(
        postgres->base.last_error, STATUS_FULL, "no memory for %s", "the rows of a batch");
}

/* --- Which are locked. */

static bool
is_thread(const struct need *need)
{
    return need->kind == NEED_THREAD || need->kind == NEED_THREAD_SIG;
}

static bool
is_locked(const struct need *need)
{
    return is_thread(need) || need->kind == NEED_METER || need->kind == NEED_HOLD;
}

static bool
may_lock(const struct locks *locks, const struct need *need)
{
    switch (need->kind) {
    case NEED_THREAD: return locks_may(locks, LOCK_THREAD, need->id);
    case NEED_THREAD_SIG:
        return locks_may_thread_of(locks, need->id, (enum thread_kind)need->sub_kind, need->text);
    case NEED_METER: return locks_may(locks, LOCK_METER, need->id);
    case NEED_HOLD: return locks_may(locks, LOCK_HOLD, need->id);
    default: return true;
    }
}

static bool
may_lock_all(const struct locks *locks, const struct need *needs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!may_lock(locks, &needs[i])) {
            return false;
        }
    }
    return true;
}

/* --- Threads: one statement, in which the server sorts before it locks. */

static void
add_u32(struct buf *out, uint32_t value)
{
    const char bytes[] = { (char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
        (char)value };
    buf_add(out, bytes, sizeof(bytes));
}

/* PostgreSQL's binary form of an array of one dimension: its head, then each with its length. */
static void
array_begin(struct buf *array, uint32_t type, uint32_t count)
{
    buf_clear(array);
    add_u32(array, count > 0 ? 1 : 0);
    add_u32(array, 0); /* no NULLs */
    add_u32(array, type);
    if (count > 0) {
        add_u32(array, count);
        add_u32(array, 1); /* the first has number 1 */
    }
}

static void
array_add_i64(struct buf *array, int64_t value)
{
    add_u32(array, 8);
    add_u32(array, (uint32_t)((uint64_t)value >> 32));
    add_u32(array, (uint32_t)(uint64_t)value);
}

static void
array_add_text(struct buf *array, const char *text)
{
    const size_t len = strlen(text);
    add_u32(array, (uint32_t)len);
    const size_t at = array->len;
    buf_add(array, text, len);
    if (!array->failed) {
        text_clean(array->ptr + at, len);
    }
}

#define TYPE_INT8 20
#define TYPE_TEXT 25

static bool
fill_arrays(struct load *load, const struct need *needs, size_t count)
{
    uint32_t by_id = 0;
    uint32_t by_sig = 0;
    for (size_t i = 0; i < count; i++) {
        by_id += needs[i].kind == NEED_THREAD;
        by_sig += needs[i].kind == NEED_THREAD_SIG;
    }
    array_begin(&load->arrays[0], TYPE_INT8, by_id);
    array_begin(&load->arrays[1], TYPE_INT8, by_sig);
    array_begin(&load->arrays[2], TYPE_INT8, by_sig);
    array_begin(&load->arrays[3], TYPE_TEXT, by_sig);
    for (size_t i = 0; i < count; i++) {
        if (needs[i].kind == NEED_THREAD) {
            array_add_i64(&load->arrays[0], needs[i].id);
        } else if (needs[i].kind == NEED_THREAD_SIG) {
            array_add_i64(&load->arrays[1], needs[i].id);
            array_add_i64(&load->arrays[2], needs[i].sub_kind);
            array_add_text(&load->arrays[3], needs[i].text);
        }
    }
    return by_id + by_sig > 0;
}

static enum status
send_threads(struct postgres_store *postgres, struct load *load, size_t *slot)
{
    struct params params = { .count = 0 };
    for (size_t i = 0; i < countof(load->arrays); i++) {
        if (load->arrays[i].failed) {
            return no_memory(postgres);
        }
        params.at[params.count++] =
            (struct value){ .kind = VALUE_BYTES, .text = buf_slice(&load->arrays[i]) };
    }
    return pg_send(&postgres->db, STATEMENT_PG_THREADS_LOCK, FORM_PLAIN, &params, slot);
}

static int
compare_sig(const struct thread_row *thread, int64_t account_id, int kind, const char *sig_hash)
{
    if (thread->account_id != account_id) {
        return thread->account_id < account_id ? -1 : 1;
    }
    if ((int)thread->kind != kind) {
        return (int)thread->kind < kind ? -1 : 1;
    }
    return strcmp(thread->sig_hash, sig_hash);
}

static int
compare_threads(const void *left, const void *right)
{
    const struct thread_row *a = *(struct thread_row *const *)left;
    const struct thread_row *b = *(struct thread_row *const *)right;
    return compare_sig(a, b->account_id, (int)b->kind, b->sig_hash);
}

static bool
room_for_threads(struct load *load, size_t count)
{
    if (count > load->thread_cap) {
        free(load->threads);
        free(load->by_sig);
        load->threads = calloc(count, sizeof(*load->threads));
        load->by_sig = calloc(count, sizeof(struct thread_row *));
        load->thread_cap = load->threads && load->by_sig ? count : 0;
    }
    return load->thread_cap >= count;
}

static enum status
take_threads(struct postgres_store *postgres, struct load *load, size_t slot)
{
    const PGresult *answer = postgres->db.answers[slot];
    const size_t count = (size_t)PQntuples(answer);
    if (!room_for_threads(load, count)) {
        return no_memory(postgres);
    }
    load->thread_count = count;
    for (size_t i = 0; i < count; i++) {
        struct thread_row *thread = &load->threads[i];
        if (!row_thread(pg_columns(&postgres->db, answer, (int)i), thread)) {
            return pg_damaged_row(&postgres->db, "thread", thread->thread_id);
        }
        load->by_sig[i] = thread;
        locks_add_thread(&postgres->locks, thread);
    }
    if (count > 0) {
        qsort(load->by_sig, count, sizeof(struct thread_row *), compare_threads);
    }
    return STATUS_OK;
}

static const struct thread_row *
thread_of_id(const struct load *load, int64_t thread_id)
{
    size_t low = 0;
    size_t high = load->thread_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (load->threads[middle].thread_id < thread_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < load->thread_count && load->threads[low].thread_id == thread_id
               ? &load->threads[low]
               : NULL;
}

static const struct thread_row *
thread_of_sig(const struct load *load, const struct need *need)
{
    size_t low = 0;
    size_t high = load->thread_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_sig(load->by_sig[middle], need->id, need->sub_kind, need->text);
        if (order == 0) {
            return load->by_sig[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* --- Asking. */

static int
compare_asked(const void *left, const void *right)
{
    const struct asked *a = *(struct asked *const *)left;
    const struct asked *b = *(struct asked *const *)right;
    if (a->need->kind != b->need->kind) {
        return a->need->kind < b->need->kind ? -1 : 1; /* meters before holds */
    }
    return a->need->id < b->need->id ? -1 : a->need->id > b->need->id;
}
_Static_assert(NEED_METER < NEED_HOLD && LOCK_METER < LOCK_HOLD, "one order");

static enum status
send_need(struct postgres_store *postgres, struct asked *asked, enum form form)
{
    struct params params;
    const enum statement_id statement = need_statement(asked->need, &params);
    return pg_send(&postgres->db, statement, form, &params, &asked->slot);
}

/* First what is not locked, then threads, meters, holds. */
static enum status
send_needs(struct postgres_store *postgres, struct load *load, const struct need *needs,
    size_t count, bool lock, size_t *threads_slot)
{
    enum status status = STATUS_OK;
    size_t order_count = 0;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        load->asked[i] = (struct asked){ .need = &needs[i], .index = i, .row = -1 };
        if (!lock || !is_locked(&needs[i])) {
            status = send_need(postgres, &load->asked[i], FORM_PLAIN);
        } else if (!is_thread(&needs[i])) {
            load->order[order_count++] = &load->asked[i];
        }
    }
    load->thread_count = 0;
    *threads_slot = SIZE_MAX;
    if (status == STATUS_OK && lock && fill_arrays(load, needs, count)) {
        status = send_threads(postgres, load, threads_slot);
    }
    if (order_count > 0) {
        qsort(load->order, order_count, sizeof(struct asked *), compare_asked);
    }
    for (size_t i = 0; status == STATUS_OK && i < order_count; i++) {
        status = send_need(postgres, load->order[i], FORM_LOCK);
    }
    return status;
}

/* --- Telling. */

static void
note_lock(struct postgres_store *postgres, const struct need *need, bool found)
{
    switch (need->kind) {
    case NEED_THREAD:
        if (!found) {
            locks_add(&postgres->locks, LOCK_THREAD, need->id, false);
        }
        break;
    case NEED_METER: locks_add(&postgres->locks, LOCK_METER, need->id, found); break;
    case NEED_HOLD: locks_add(&postgres->locks, LOCK_HOLD, need->id, found); break;
    default: break;
    }
}

/* NOT_FOUND, or the row in *row. */
static enum status
read_answer(struct postgres_store *postgres, const struct load *load, const struct asked *asked,
    bool lock, union need_row *row)
{
    const struct need *need = asked->need;
    if (lock && is_thread(need)) {
        const struct thread_row *thread =
            need->kind == NEED_THREAD ? thread_of_id(load, need->id) : thread_of_sig(load, need);
        if (thread) {
            row->thread = *thread;
        }
        return thread ? STATUS_OK : STATUS_NOT_FOUND;
    }
    const PGresult *answer = postgres->db.answers[asked->slot];
    if (PQntuples(answer) == 0) {
        return STATUS_NOT_FOUND;
    }
    return row_needed(pg_columns(&postgres->db, answer, 0), need->kind, row)
               ? STATUS_OK
               : pg_damaged_row(&postgres->db, need_table(need->kind), need->id);
}

static enum status
tell_needs(struct postgres_store *postgres, const struct load *load, size_t count, bool lock,
    store_found *found, void *user)
{
    union need_row row;
    for (size_t i = 0; i < count; i++) {
        const enum status status = read_answer(postgres, load, &load->asked[i], lock, &row);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
        if (lock) {
            note_lock(postgres, load->asked[i].need, status == STATUS_OK);
        }
        if (found) {
            found(user, load->asked[i].need, status == STATUS_OK ? &row : NULL);
        }
    }
    return STATUS_OK;
}

enum status
postgres_load(struct store *store, const struct need *needs, size_t count, bool lock,
    store_found *found, void *user)
{
    struct postgres_store *postgres = postgres_store_of(store);
    size_t threads_slot = SIZE_MAX;
    struct load *load = load_of(postgres, count > 0 ? count : 1);
    if (!load) {
        return no_memory(postgres);
    }
    if (lock && !may_lock_all(&postgres->locks, needs, count)) {
        return store_fail(store->last_error, STATUS_CONFLICT,
            "a row would be locked out of order: the transaction is to be run again with all that it needs");
    }
    enum status status = postgres_open_transaction(postgres);
    if (status == STATUS_OK) {
        status = postgres_flush_writes(postgres);
    }
    if (status == STATUS_OK) {
        status = send_needs(postgres, load, needs, count, lock, &threads_slot);
    }
    if (status == STATUS_OK) {
        status = postgres_trip(postgres);
    }
    if (status == STATUS_OK && threads_slot != SIZE_MAX) {
        status = take_threads(postgres, load, threads_slot);
    }
    return status == STATUS_OK ? tell_needs(postgres, load, count, lock, found, user) : status;
}
