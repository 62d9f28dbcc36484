/* tests/sim/clock.c: the clock door, linked in the place of base/clock.c: time stands still until it is set. */
#include "base/clock.h"
#include "sim.h"

static int64_t wall_now_ms, mono_now_ms;

void
clock_set(int64_t wall_ms, int64_t mono_ms)
{
    wall_now_ms = min_i64(WALL_MS_MAX, max_i64(0, wall_ms));
    mono_now_ms = mono_ms;
}

int64_t
clock_wall_ms(void)
{
    return wall_now_ms;
}

int64_t
clock_mono_ms(void)
{
    return mono_now_ms;
}

int64_t
clock_mono_us(void)
{
    return mono_now_ms * 1000;
}

int64_t
clock_mono_coarse_us(void)
{
    return mono_now_ms * 1000;
}
