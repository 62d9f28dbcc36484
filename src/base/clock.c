/* base/clock.c: the only file that reads a clock. */
#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t test_offset_ms;
static pthread_once_t test_offset_once = PTHREAD_ONCE_INIT;

static void
read_test_offset(void)
{
    const char *text = getenv("TIDEGATE_TEST_CLOCK_OFFSET_MS");
    int64_t offset_ms = 0;
    if (!text || text[0] == '\0') {
        return;
    }
    if (!slice_to_i64(slice_str(text), &offset_ms) || offset_ms > WALL_MS_MAX
        || offset_ms < -WALL_MS_MAX) {
        (void)fprintf(stderr, "TIDEGATE_TEST_CLOCK_OFFSET_MS is no number of milliseconds, so it"
                              " is not used\n");
        return;
    }
    test_offset_ms = offset_ms;
}

static struct timespec
read_clock(clockid_t clock)
{
    struct timespec now = { 0, 0 };
    check(clock_gettime(clock, &now) == 0); /* both clocks exist on every system we run on */
    return now;
}

int64_t
clock_wall_ms(void)
{
    (void)pthread_once(&test_offset_once, read_test_offset); /* fails only for a bad argument */
    const struct timespec now = read_clock(CLOCK_REALTIME);
    const int64_t now_s = min_i64(WALL_MS_MAX / SECOND_MS, max_i64(0, now.tv_sec));
    const int64_t now_ms = now_s * SECOND_MS + now.tv_nsec / 1000000;
    return min_i64(WALL_MS_MAX, max_i64(0, now_ms + test_offset_ms));
}

static int64_t
mono_us(clockid_t clock)
{
    const struct timespec now = read_clock(clock);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
    return mono_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_coarse_us(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    return mono_us(CLOCK_MONOTONIC_COARSE);
#else
    return clock_mono_us();
#endif
}

int64_t
clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}
