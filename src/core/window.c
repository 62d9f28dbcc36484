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

/* rate units leave every period_ms, so `rate` of the scaled level leaves every millisecond. */
int64_t
bucket_level(const struct limit *limit, const struct meter *meter, int64_t now_ms)
{
    const int64_t elapsed_ms = max_i64(0, now_ms - meter->window_ms);
    const __int128 drained = (__int128)elapsed_ms * limit->rate;
    return drained >= meter->settled ? 0 : meter->settled - (int64_t)drained;
}

bool
bucket_fits(const struct limit *limit, int64_t level, int64_t units)
{
    return (__int128)level + (__int128)units * limit->period_ms
           <= (__int128)limit->burst * limit->period_ms;
}

int64_t
bucket_wait_ms(const struct limit *limit, int64_t level, int64_t units)
{
    if (units > limit->burst || limit->rate == 0) {
        return 0;
    }
    const __int128 over = (__int128)level + (__int128)(units - limit->burst) * limit->period_ms;
    return over <= 0 ? 0 : (int64_t)((over + limit->rate - 1) / limit->rate);
}
