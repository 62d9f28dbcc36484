/* tests/unit/store/sweep_test.c
 *
 * Goal: a walk finds each thread and each row of meters once, and the threads of a tree; a row is deleted as it was
 * read or not at all; of a shared store meters are begun for none but a subject that is there.
 * Method: each case on SQLite, in memory and, with a server in TIDEGATE_TEST_PG, on PostgreSQL. */
#include "world.h"

#include <stdio.h>

static void
add_thread(struct world *world, int64_t id, int64_t account_id, int64_t root_id, int64_t last_ms)
{
    char mark[16];
    snprintf(mark, sizeof mark, "t%lld", (long long)id);
    struct thread_row row = a_thread(id, account_id, mark);
    row.root_id = root_id;
    row.last_ms = last_ms;
    OK(world, store_thread_put(world->store, &row));
}

/* All threads by walking, a few at a time. */
static void
a_walk_finds_each_thread_once(void **state)
{
    struct world *world = *state;
    int seen[64] = { 0 };
    struct thread_row after = { 0 };
    struct thread_row rows[7];
    int32_t count = 0;
    int pages = 0;
    world_begin(world);
    for (int id = 1; id <= 40; id++) { /* of accounts and kinds in no order */
        add_thread(world, id, 1 + id * 7 % 5, id, NOW_MS);
    }
    world_commit(world);
    OK(world, store_begin_read(world->store));
    do {
        OK(world, store_threads_after(world->store, &after, rows, countof(rows), &count));
        for (int32_t i = 0; i < count; i++) {
            seen[rows[i].thread_id]++;
            after = rows[i];
        }
        pages++;
    } while (count == countof(rows));
    store_rollback(world->store);
    assert_int_equal(pages, 6);
    for (int id = 1; id <= 40; id++) {
        assert_int_equal(seen[id], 1);
    }
}

static void
note_member(void *user, const struct tree_member *member)
{
    buf_addf(user, " %lld:%lld@%lld", (long long)member->root_id, (long long)member->thread_id,
        (long long)(member->last_ms - NOW_MS));
}

static void
the_threads_of_trees_are_told(void **state)
{
    struct world *world = *state;
    const int64_t roots[] = { 1, 9 };
    struct buf told = { 0 };
    world_begin(world);
    add_thread(world, 1, 1, 1, NOW_MS);
    add_thread(world, 2, 1, 1, NOW_MS + 2);
    add_thread(world, 3, 1, 3, NOW_MS + 3); /* of another tree */
    add_thread(world, 4, 1, 1, NOW_MS + 4);
    add_thread(world, 5, 1, 3, NOW_MS + 5);
    world_commit(world);
    OK(world, store_begin_read(world->store));
    OK(world, store_tree_members(world->store, roots, countof(roots), note_member, &told));
    store_rollback(world->store);
    assert_string_equal(buf_cstr(&told), " 1:2@2 1:4@4");
    buf_free(&told);
}

static void
the_oldest_hold_is_told(void **state)
{
    struct world *world = *state;
    int64_t oldest_ms = 0;
    OK(world, store_begin_read(world->store));
    EXPECT(world, store_hold_oldest(world->store, &oldest_ms), STATUS_NOT_FOUND);
    store_rollback(world->store);
    world_begin(world);
    for (int i = 0; i < 3; i++) {
        struct hold_row hold = a_hold(10 + i, &world->node);
        hold.created_ms = NOW_MS + (i == 1 ? -500 : i);
        OK(world, store_hold_insert(world->store, &hold));
    }
    world_commit(world);
    OK(world, store_begin_read(world->store));
    OK(world, store_hold_oldest(world->store, &oldest_ms));
    store_rollback(world->store);
    assert_int_equal(oldest_ms, NOW_MS - 500);
}

static void
take_nothing(void *user, const struct need *need, const union need_row *row)
{
    *(bool *)user = row != NULL;
}

static bool
lock(struct world *world, enum need_kind kind, int64_t id)
{
    const struct need need = { .kind = kind, .id = id };
    bool found = false;
    OK(world, store_load(world->store, &need, 1, kind != NEED_SUBJECT_ID, take_nothing, &found));
    return found;
}

/* In the order of the locks. */
static void
lock_all(struct world *world)
{
    (void)lock(world, NEED_THREAD, 3);
    (void)lock(world, NEED_METER, 5);
}

static void
rows_go_as_they_were_read_or_not_at_all(void **state)
{
    struct world *world = *state;
    struct thread_row thread = a_thread(3, 1, "mark");
    struct subject_row subject = a_subject(5, 1);
    struct meter_row meters = a_meter_row(5);
    struct meter_mark mark;
    int32_t count = 0;
    world_begin(world);
    OK(world, store_thread_put(world->store, &thread));
    OK(world, store_subject_put(world->store, &subject));
    OK(world, store_meter_put(world->store, &meters));
    world_commit(world);
    struct thread_row old_thread = thread;
    struct subject_row old_subject = subject;
    struct meter_row old_meters = meters;
    old_thread.version--;
    old_subject.version--;
    old_meters.version--;

    world_begin(world);
    lock_all(world);
    REFUSED(world, store_thread_delete(world->store, &old_thread), STATUS_CONFLICT);
    store_rollback(world->store);
    world_begin(world);
    lock_all(world);
    REFUSED(world, store_subject_delete(world->store, &old_subject), STATUS_CONFLICT);
    store_rollback(world->store);
    world_begin(world);
    lock_all(world);
    REFUSED(world, store_meter_delete(world->store, &old_meters), STATUS_CONFLICT);
    store_rollback(world->store);

    world_begin(world);
    lock_all(world);
    OK(world, store_thread_delete(world->store, &thread));
    OK(world, store_subject_delete(world->store, &subject));
    OK(world, store_meter_delete(world->store, &meters));
    store_rollback(world->store); /* it never was */
    world_begin(world);
    assert_true(lock(world, NEED_THREAD, 3) && lock(world, NEED_METER, 5));
    assert_true(lock(world, NEED_SUBJECT_ID, 5));
    OK(world, store_meters_after(world->store, 0, &mark, 1, &count));
    assert_int_equal(count, 1);
    assert_int_equal(mark.seen_ms, meters.seen_ms);
    OK(world, store_thread_delete(world->store, &thread));
    OK(world, store_subject_delete(world->store, &subject));
    OK(world, store_meter_delete(world->store, &meters));
    world_commit(world);
    world_begin(world);
    assert_false(lock(world, NEED_THREAD, 3) || lock(world, NEED_METER, 5));
    assert_false(lock(world, NEED_SUBJECT_ID, 5));
    OK(world, store_meters_after(world->store, 0, &mark, 1, &count));
    assert_int_equal(count, 0);
    store_rollback(world->store);
}

/* What a gateway knows of a subject may be older than its end. */
static void
meters_are_begun_for_a_subject_that_is_there(void **state)
{
    struct world *world = *state;
    struct meter_row strangers = a_meter_row(7);
    struct subject_row subject = a_subject(8, 1);
    struct meter_row meters = a_meter_row(8);
    world_begin(world);
    assert_false(lock(world, NEED_METER, 7));
    REFUSED(world, store_meter_put(world->store, &strangers), STATUS_CONFLICT);
    store_rollback(world->store);
    world_begin(world);
    OK(world, store_subject_put(world->store, &subject));
    OK(world, store_meter_put(world->store, &meters));
    world_commit(world);
}

static const struct CMUnitTest tests[] = {
    ALL("a walk finds each thread once", a_walk_finds_each_thread_once),
    ALL("the threads of trees are told", the_threads_of_trees_are_told),
    ALL("the oldest hold is told", the_oldest_hold_is_told),
    ALL("rows go as they were read or not at all", rows_go_as_they_were_read_or_not_at_all),
    ON_POSTGRES("meters are begun for a subject that is there", meters_are_begun_for_a_subject_that_is_there),
};
UNIT_MAIN(tests)
