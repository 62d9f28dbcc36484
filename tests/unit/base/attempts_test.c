/* tests/unit/base/attempts_test.c
 *
 * Goal: who guesses keys is stopped for as long as it takes, and nobody else is. */
#include "unit.h"

#include <string.h>

#include "base/attempts.h"

static struct attempts attempts;

static int
start_empty(void **state)
{
    memset(&attempts, 0, sizeof(attempts));
    return 0;
}

static void
guess(uint64_t address, int times, int64_t now_mono_ms)
{
    for (int i = 0; i < times; i++) {
        attempts_note(&attempts, address, now_mono_ms);
    }
}

static void
an_address_is_blocked_after_its_share(void **state)
{
    int64_t wait_ms = 0;
    guess(7, ATTEMPTS_MAX_AT_ONCE - 1, 1000);
    assert_false(attempts_blocked(&attempts, 7, 1000, &wait_ms));
    guess(7, 1, 1000);
    assert_true(attempts_blocked(&attempts, 7, 1000, &wait_ms));
    assert_int_equal(wait_ms, ATTEMPT_DRAIN_MS);
}

static void
waiting_as_told_helps(void **state)
{
    int64_t wait_ms = 0;
    guess(7, ATTEMPTS_MAX_AT_ONCE, 1000);
    assert_true(attempts_blocked(&attempts, 7, 1000, &wait_ms));
    assert_true(attempts_blocked(&attempts, 7, 1000 + wait_ms - 1, &wait_ms));
    assert_int_equal(wait_ms, 1);
    assert_false(attempts_blocked(&attempts, 7, 1000 + ATTEMPT_DRAIN_MS, &wait_ms));
    guess(7, 1, 1000 + ATTEMPT_DRAIN_MS);
    assert_true(attempts_blocked(&attempts, 7, 1000 + ATTEMPT_DRAIN_MS, &wait_ms)); /* one more only */
}

static void
another_address_is_free(void **state)
{
    int64_t wait_ms = 0;
    guess(7, 100, 1000);
    assert_false(attempts_blocked(&attempts, 8, 1000, &wait_ms));
    assert_false(attempts_blocked(&attempts, 7 + ATTEMPTS_SLOTS, 1000, &wait_ms)); /* the same slot */
    guess(7 + ATTEMPTS_SLOTS, 1, 1000);
    assert_false(attempts_blocked(&attempts, 7, 1000, &wait_ms)); /* forgiven, never the wrong one blocked */
}

static void
a_clock_that_steps_back_frees_nobody_early(void **state)
{
    int64_t wait_ms = 0;
    guess(7, ATTEMPTS_MAX_AT_ONCE, 5000);
    assert_true(attempts_blocked(&attempts, 7, 1000, &wait_ms));
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("an address is blocked after its share", an_address_is_blocked_after_its_share, start_empty, NULL),
    CASE_WITH("waiting as told helps", waiting_as_told_helps, start_empty, NULL),
    CASE_WITH("another address is free", another_address_is_free, start_empty, NULL),
    CASE_WITH("a clock that steps back frees nobody early", a_clock_that_steps_back_frees_nobody_early, start_empty, NULL),
};
UNIT_MAIN(tests)
