/* tests/unit/store/locks_test.c
 *
 * Goal: a lock is granted only behind all that are held, or where it is held; writes are only of rows that were
 * asked for.
 * Method: rows of locks in the order in which a transaction asks for them. */
#include "unit.h"

#include "store/postgres_priv.h"

static void
locks_are_taken_in_one_order(void **state)
{
    static const struct {
        enum lock_rank rank;
        int64_t id;
        bool found, may;
    } rows[] = {
        { LOCK_JOB, 1, true, true },
        { LOCK_THREAD, 7, true, true },
        { LOCK_THREAD, 5, true, false },  /* before the other */
        { LOCK_LIMITS, 0, true, false },  /* before all of them */
        { LOCK_METER, 3, true, true },
        { LOCK_THREAD, 7, true, true },   /* held */
        { LOCK_THREAD, 9, true, false },  /* meters come after threads */
        { LOCK_METER, 6, false, true },   /* not there: nothing is held by it */
        { LOCK_METER, 4, true, true },
        { LOCK_METER, 6, true, true },
        { LOCK_HOLD, 1, true, true },
        { LOCK_METER, 8, true, false },
    };
    struct locks locks = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        if (locks_may(&locks, rows[i].rank, rows[i].id) != rows[i].may) {
            fail_msg("row %zu", i);
        }
        if (rows[i].may) {
            locks_add(&locks, rows[i].rank, rows[i].id, rows[i].found);
        }
        assert_int_equal(locks_asked(&locks, rows[i].rank, rows[i].id), rows[i].may);
    }
    locks.writes = true; /* behind the first write nothing is locked any more */
    assert_false(locks_may(&locks, LOCK_HOLD, 99));
    assert_true(locks_may(&locks, LOCK_HOLD, 1));
    locks_clear(&locks);
    assert_true(locks_may(&locks, LOCK_LIMITS, 0));
    assert_false(locks_asked(&locks, LOCK_HOLD, 1));
    locks_free(&locks);
}

static void
a_thread_known_by_its_signature_is_asked_for_with_the_others(void **state)
{
    const struct thread_row thread = { .thread_id = 7, .account_id = 1, .kind = THREAD_NAMED, .sig_hash = "a" };
    struct locks locks = { 0 };
    assert_true(locks_may_thread_of(&locks, 1, THREAD_NAMED, "a"));
    locks_add(&locks, LOCK_JOB, 1, true);
    assert_true(locks_may_thread_of(&locks, 1, THREAD_NAMED, "a"));
    locks_add_thread(&locks, &thread);
    assert_true(locks_may_thread_of(&locks, 1, THREAD_NAMED, "a"));  /* held */
    assert_false(locks_may_thread_of(&locks, 1, THREAD_NAMED, "b")); /* its id may be a smaller one */
    assert_true(locks_may(&locks, LOCK_THREAD, 8));
    locks_free(&locks);
}

static void
rows_that_we_insert_are_ours(void **state)
{
    struct locks locks = { 0 };
    locks_add(&locks, LOCK_HOLD, 50, true);
    locks_own(&locks, LOCK_METER, 4);
    assert_true(locks_asked(&locks, LOCK_METER, 4));
    assert_true(locks_may(&locks, LOCK_METER, 4));
    assert_false(locks_may(&locks, LOCK_METER, 5));
    locks_free(&locks);
}

static void
writes_are_sorted_by_what_is_unique(void **state)
{
    static const struct write_order given[] = {
        { .rank = WRITE_META, .text = "" },
        { .rank = WRITE_SUBJECT, .ids = { 7, 1 }, .text = "b" },
        { .rank = WRITE_SUBJECT, .ids = { 7, 1 }, .text = "a" },
        { .rank = WRITE_ACCOUNT_NEW, .text = "zeta" },
        { .rank = WRITE_SUBJECT, .ids = { 3, 2 }, .text = "c" },
        { .rank = WRITE_METER, .ids = { 5 }, .text = "" },
        { .rank = WRITE_METER, .ids = { 5 }, .text = "" }, /* the same row: as they were put */
        { .rank = WRITE_ACCOUNT, .ids = { 9 }, .text = "" },
    };
    static const int64_t want[] = { 7, 3, 4, 2, 1, 5, 6, 0 };
    struct queue queue = { 0 };
    for (size_t i = 0; i < countof(given); i++) {
        struct put put = { .statement = STATEMENT_META_PUT, .id = (int64_t)i };
        param_i64(&put.params, (int64_t)i);
        queue_add(&queue, &put, given[i]);
    }
    queue_sort(&queue);
    for (size_t i = 0; i < countof(want); i++) {
        assert_int_equal(queue.at[i].id, want[i]);
    }
    queue_free(&queue);
}

static void
a_state_of_the_server_has_its_meaning(void **state)
{
    static const struct {
        const char *sqlstate;
        enum status status;
        bool lost;
    } rows[] = {
        { "40001", STATUS_CONFLICT, false },
        { "40P01", STATUS_CONFLICT, false },
        { "55P03", STATUS_CONFLICT, false },
        { "23505", STATUS_CONFLICT, false },
        { "08006", STATUS_IO, true },
        { "57P01", STATUS_IO, true },
        { "57014", STATUS_IO, false },
        { "25006", STATUS_IO, true },
        { "25P03", STATUS_IO, true },
        { "53100", STATUS_FULL, false },
        { "53200", STATUS_FULL, false },
        { "53300", STATUS_FULL, true },
        { "42501", STATUS_IO, false },
        { "42P01", STATUS_INVALID, false },
        { "22P02", STATUS_INVALID, false },
        { "23502", STATUS_INVALID, false },
        { "XX000", STATUS_IO, false },
        { "58030", STATUS_IO, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct fault fault = fault_of_state(rows[i].sqlstate);
        if (fault.status != rows[i].status || fault.lost != rows[i].lost) {
            fail_msg("%s", rows[i].sqlstate);
        }
    }
}

static const struct CMUnitTest tests[] = {
    CASE("locks are taken in one order", locks_are_taken_in_one_order),
    CASE("a thread known by its signature is asked for with the others",
        a_thread_known_by_its_signature_is_asked_for_with_the_others),
    CASE("rows that we insert are ours", rows_that_we_insert_are_ours),
    CASE("writes are sorted by what is unique", writes_are_sorted_by_what_is_unique),
    CASE("a state of the server has its meaning", a_state_of_the_server_has_its_meaning),
};
UNIT_MAIN(tests)
