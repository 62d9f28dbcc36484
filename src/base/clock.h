/* base/clock.h: the one door through which time enters. Read once a turn, then an argument. */
#pragma once

#include "base/civil.h"

/* Milliseconds UTC since 1970, within 0 and WALL_MS_MAX; may step. TIDEGATE_TEST_CLOCK_OFFSET_MS,
 * looked at once in a process, shifts it in tests. */
int64_t clock_wall_ms(void);
/* Milliseconds, microseconds that only go forward, from an unknown start. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* The same, but of the system's last tick, some milliseconds ago at most: costs next to nothing. */
int64_t clock_mono_coarse_us(void);
