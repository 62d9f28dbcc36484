/* tests/unit/base/budget_test.c
 *
 * Goal: what does not fit counts nothing, what is given back is room again, also under many threads. */
#include "unit.h"

#include <pthread.h>

#include "base/budget.h"

static void
what_does_not_fit_counts_nothing(void **state)
{
    static const struct {
        int64_t used, ask, up_to;
        bool fits;
    } rows[] = {
        /* used ask up_to */
        { 0, 100, 100, true },
        { 0, 101, 100, false },
        { 60, 40, 100, true }, /* the last of it */
        { 60, 41, 100, false },
        { 60, 0, 100, true },
        { 120, 0, 100, false }, /* beyond it already: others counted what was there */
        { 60, INT64_MAX - 60, 100, false },
        { 0, 1, 0, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct budget budget = { .max_bytes = 100 };
        budget_add(&budget, rows[i].used);
        assert_int_equal(budget_take(&budget, rows[i].ask, rows[i].up_to), rows[i].fits);
        assert_int_equal(budget_used(&budget), rows[i].used + (rows[i].fits ? rows[i].ask : 0));
    }
}

static void
what_is_given_back_is_room_again(void **state)
{
    struct budget budget = { .max_bytes = 100 };
    assert_true(budget_take(&budget, 100, 100));
    assert_false(budget_take(&budget, 1, 100));
    budget_give(&budget, 30);
    assert_true(budget_take(&budget, 30, 100));
    budget_give(&budget, 100);
    assert_int_equal(budget_used(&budget), 0);
}

#define ROUNDS 20000

static void *
take_and_give(void *arg)
{
    struct budget *budget = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (budget_take(budget, 40, 100)) {
            budget_give(budget, 40);
        }
    }
    return NULL;
}

static void
many_threads_leave_nothing_behind(void **state)
{
    struct budget budget = { .max_bytes = 100 };
    pthread_t threads[4];
    for (size_t i = 0; i < countof(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &budget), 0);
    }
    for (size_t i = 0; i < countof(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(budget_used(&budget), 0);
}

static const struct CMUnitTest tests[] = {
    CASE("what does not fit counts nothing", what_does_not_fit_counts_nothing),
    CASE("what is given back is room again", what_is_given_back_is_room_again),
    CASE("many threads leave nothing behind", many_threads_leave_nothing_behind),
};
UNIT_MAIN(tests)
