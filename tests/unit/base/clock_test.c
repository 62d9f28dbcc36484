/* tests/unit/base/clock_test.c
 *
 * Goal: monotonic time never goes back, and the test offset shifts wall time, read once a process.
 * Method: the offset is set in children, since a process looks at it only once. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void
monotonic_time_never_goes_back(void **state)
{
    int64_t last_us = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        const int64_t now_us = clock_mono_us();
        assert_true(now_us >= last_us);
        last_us = now_us;
    }
    assert_true(clock_mono_ms() >= last_us / 1000);
}

/* 0 when a process that starts with this offset has its wall time ahead by as much. */
static int
child_is_ahead_by(const char *offset, int64_t expected_ms)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("TIDEGATE_TEST_CLOCK_OFFSET_MS", offset, 1);
        (void)freopen("/dev/null", "w", stderr);
        const int64_t first_ms = clock_wall_ms();
        (void)setenv("TIDEGATE_TEST_CLOCK_OFFSET_MS", "999999999", 1); /* too late to count */
        const int64_t ahead_ms = clock_wall_ms() - (int64_t)time(NULL) * SECOND_MS;
        const bool ok = ahead_ms >= expected_ms - 2000 && ahead_ms <= expected_ms + 2000;
        _exit(ok && first_ms > 0 ? 0 : 1);
    }
    int child_status = 0;
    assert_int_equal(waitpid(child, &child_status, 0), child);
    return WIFEXITED(child_status) ? WEXITSTATUS(child_status) : -1;
}

static void
the_offset_shifts_wall_time(void **state)
{
    static const struct {
        const char *offset;
        int64_t ahead_ms;
    } rows[] = {
        { "", 0 },
        { "0", 0 },
        { "86400000", DAY_MS },
        { "-86400000", -DAY_MS },
        { "1h", 0 }, /* no number: said on standard error and not used */
        { "+5", 0 },
        { "99999999999999999", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(child_is_ahead_by(rows[i].offset, rows[i].ahead_ms), 0);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("the offset shifts wall time once a process", the_offset_shifts_wall_time),
    CASE("monotonic time never goes back", monotonic_time_never_goes_back),
};
UNIT_MAIN(tests)
