/* store/postgres_locks.c: the order of locks, kept by arithmetic on memory: no I/O. */
#include "store/postgres_priv.h"

#include <stdlib.h>

void
locks_clear(struct locks *locks)
{
    locks->asked_count = locks->held_count = locks->thread_count = 0;
    locks->any = locks->writes = locks->failed = false;
}

void
locks_free(struct locks *locks)
{
    free(locks->asked);
    free(locks->held);
    free(locks->threads);
    *locks = (struct locks){ 0 };
}

static int
compare(struct lock a, struct lock b)
{
    if (a.rank != b.rank) {
        return a.rank < b.rank ? -1 : 1;
    }
    return a.id < b.id ? -1 : a.id > b.id;
}

/* The first of `set` that is not before `lock`. */
static size_t
place_of(const struct lock *set, size_t count, struct lock lock)
{
    size_t low = 0;
    while (low < count) {
        const size_t middle = low + (count - low) / 2;
        if (compare(set[middle], lock) < 0) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return low;
}

static bool
is_in(const struct lock *set, size_t count, struct lock lock)
{
    const size_t at = place_of(set, count, lock);
    return at < count && compare(set[at], lock) == 0;
}

static bool
insert(struct lock **set, size_t *count, size_t *cap, struct lock lock)
{
    if (*count == *cap) {
        const size_t grown_cap = *cap ? *cap * 2 : 64;
        struct lock *grown = realloc(*set, grown_cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        *set = grown;
        *cap = grown_cap;
    }
    const size_t at = place_of(*set, *count, lock);
    if (at == *count || compare((*set)[at], lock) != 0) {
        memmove(*set + at + 1, *set + at, (*count - at) * sizeof(**set));
        (*set)[at] = lock;
        (*count)++;
    }
    return true;
}

bool
locks_may(const struct locks *locks, enum lock_rank rank, int64_t id)
{
    const struct lock lock = { rank, id };
    if (is_in(locks->held, locks->held_count, lock)) {
        return true;
    }
    return !locks->writes && (!locks->any || compare(locks->highest, lock) < 0);
}

bool
locks_may_thread_of(
    const struct locks *locks, int64_t account_id, enum thread_kind kind, const char *sig_hash)
{
    for (size_t i = 0; i < locks->thread_count; i++) {
        const struct locked_thread *thread = &locks->threads[i];
        if (thread->account_id == account_id && thread->kind == kind
            && strcmp(thread->sig_hash, sig_hash) == 0) {
            return true;
        }
    }
    /* its id is not known, so it may lie before any thread */
    return !locks->writes && (!locks->any || locks->highest.rank < LOCK_THREAD);
}

void
locks_add(struct locks *locks, enum lock_rank rank, int64_t id, bool found)
{
    const struct lock lock = { rank, id };
    locks->failed |= !insert(&locks->asked, &locks->asked_count, &locks->asked_cap, lock);
    if (!found) {
        return;
    }
    locks->failed |= !insert(&locks->held, &locks->held_count, &locks->held_cap, lock);
    if (!locks->any || compare(locks->highest, lock) < 0) {
        locks->highest = lock;
        locks->any = true;
    }
}

void
locks_own(struct locks *locks, enum lock_rank rank, int64_t id)
{
    const struct lock lock = { rank, id };
    locks->failed |= !insert(&locks->asked, &locks->asked_count, &locks->asked_cap, lock);
    locks->failed |= !insert(&locks->held, &locks->held_count, &locks->held_cap, lock);
}

static void
remember_thread(struct locks *locks, const struct thread_row *row)
{
    if (locks->thread_count == locks->thread_cap) {
        const size_t cap = locks->thread_cap ? locks->thread_cap * 2 : 64;
        struct locked_thread *grown = realloc(locks->threads, cap * sizeof(*grown));
        if (!grown) {
            locks->failed = true;
            return;
        }
        locks->threads = grown;
        locks->thread_cap = cap;
    }
    struct locked_thread *thread = &locks->threads[locks->thread_count++];
    thread->thread_id = row->thread_id;
    thread->account_id = row->account_id;
    thread->kind = row->kind;
    memcpy(thread->sig_hash, row->sig_hash, sizeof(thread->sig_hash));
}

void
locks_add_thread(struct locks *locks, const struct thread_row *row)
{
    if (!is_in(locks->held, locks->held_count, (struct lock){ LOCK_THREAD, row->thread_id })) {
        remember_thread(locks, row);
    }
    locks_add(locks, LOCK_THREAD, row->thread_id, true);
}

void
locks_own_thread(struct locks *locks, const struct thread_row *row)
{
    remember_thread(locks, row);
    locks_own(locks, LOCK_THREAD, row->thread_id);
}

bool
locks_asked(const struct locks *locks, enum lock_rank rank, int64_t id)
{
    return is_in(locks->asked, locks->asked_count, (struct lock){ rank, id });
}
