/* core/window.c: which window now is in, and token buckets. */
#include "core/core_priv.h"

struct window
limit_window(const struct limit *limit, int64_t now_ms)
{
    switch (limit->window) {
    case WINDOW_DAY: return zone_window(limit->zone, CALENDAR_DAY, now_ms);
    case WINDOW_WEEK: return zone_window(limit->zone, CALENDAR_WEEK, now_ms);
    case WINDOW_MONTH: return zone_window(limit->zone, CALENDAR_MONTH, now_ms);
    default: return (struct window){ 0, 0 };
    }
}

bool
limit_is_calendar(const struct limit *limit)
{
    return limit->window == WINDOW_DAY || limit->window == WINDOW_WEEK
           || limit->window == WINDOW_MONTH;
}

struct window
core_window(struct core *core, const struct limit *limit, int64_t now_ms)
{
    if (!limit_is_calendar(limit)) {
        return limit_window(limit, now_ms);
    }
    const uint32_t count = core->known_window_count;
    for (uint32_t i = 0; i < count && i < CORE_KNOWN_WINDOWS; i++) {
        const struct known_window *known = &core->known_windows[i];
        if (known->zone == limit->zone && known->window == limit->window
            && known->span.start_ms <= now_ms && now_ms < known->span.end_ms) {
            return known->span;
        }
    }
    const struct window span = limit_window(limit, now_ms);
    core->known_windows[count % CORE_KNOWN_WINDOWS] =
        (struct known_window){ limit->zone, limit->window, span };
    core->known_window_count++;
    return span;
}

/* rate units leave every period_ms, so `rate` of the scaled level leaves every millisecond. */
int64_t
bucket_level(const struct limit *limit, const struct meter *meter, int64_t now_ms)
{
    const int64_t elapsed_ms = max_i64(0, now_ms - meter->window_ms);
    const __int128 drained = (__int128)elapsed_ms * limit->rate;
    return drained >= meter->settled ? 0 : meter->settled - (int64_t)drained;
}

bool
bucket_fits(const struct limit *limit, int64_t burst, int64_t level, int64_t units)
{
    return (__int128)level + (__int128)units * limit->period_ms
           <= (__int128)burst * limit->period_ms;
}

int64_t
bucket_wait_ms(const struct limit *limit, int64_t burst, int64_t level, int64_t units)
{
    if (units > burst || limit->rate == 0) {
        return 0;
    }
    const __int128 over = (__int128)level + ((__int128)units - burst) * limit->period_ms;
    const __int128 wait_ms = (over + limit->rate - 1) / limit->rate;
    return over <= 0 ? 0 : wait_ms > WALL_MS_MAX ? WALL_MS_MAX : (int64_t)wait_ms;
}

int64_t
bucket_add(const struct limit *limit, int64_t level, int64_t units)
{
    const __int128 sum = (__int128)level + (__int128)units * limit->period_ms;
    return sum < 0 ? 0 : sum > MONEY_MICROS_MAX ? MONEY_MICROS_MAX : (int64_t)sum;
}
