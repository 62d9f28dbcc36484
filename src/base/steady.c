/* base/steady.c: three states: with the clock, behind it set back, doubting it set ahead. */
#include "base/steady.h"

/* A tenth slower, measured from where that began, so that no rounding adds up. */
static int64_t
slow_time(const struct steady *steady, int64_t mono_ms)
{
    const int64_t elapsed_ms = mono_ms - steady->slow_mono_ms;
    return steady->slow_ms + elapsed_ms - elapsed_ms / 10;
}

static void
go_slow(struct steady *steady, int64_t from_ms, int64_t mono_ms)
{
    steady->slow_ms = from_ms;
    steady->slow_mono_ms = mono_ms;
}

/* What the clock says, where ours would be `expected_ms`; it is not set back. */
static int64_t
judge_ahead(struct steady *steady, int64_t wall_ms, int64_t expected_ms, int64_t mono_ms,
    enum steady_news *news)
{
    if (wall_ms <= expected_ms + STEADY_STEP_MS) {
        if (steady->doubt_mono_ms) {
            *news = STEADY_AGREED;
            steady->doubt_mono_ms = 0;
        }
        return wall_ms;
    }
    steady->by_ms = wall_ms - expected_ms;
    if (!steady->doubt_mono_ms) {
        steady->doubt_mono_ms = mono_ms;
        *news = STEADY_AHEAD;
    } else if (mono_ms - steady->doubt_mono_ms >= STEADY_DOUBT_MS) {
        steady->doubt_mono_ms = 0;
        *news = STEADY_BELIEVED;
        return wall_ms;
    }
    return expected_ms;
}

static int64_t
next(struct steady *steady, int64_t wall_ms, int64_t mono_ms, enum steady_news *news)
{
    if (steady->slow_ms) {
        const int64_t ours_ms = slow_time(steady, mono_ms);
        if (wall_ms < ours_ms) {
            return ours_ms;
        }
        steady->slow_ms = 0;
        *news = STEADY_AGREED;
        steady->now_ms = ours_ms;
        steady->mono_ms = mono_ms;
    }
    const int64_t expected_ms = steady->now_ms + (mono_ms - steady->mono_ms);
    if (wall_ms < expected_ms - STEADY_STEP_MS) {
        steady->by_ms = expected_ms - wall_ms;
        steady->doubt_mono_ms = 0;
        go_slow(steady, expected_ms, mono_ms);
        *news = STEADY_BACK;
        return expected_ms;
    }
    return judge_ahead(steady, wall_ms, expected_ms, mono_ms, news);
}

int64_t
steady_next(struct steady *steady, int64_t wall_ms, int64_t mono_ms, int64_t least_ms,
    enum steady_news *news)
{
    *news = STEADY_NO_NEWS;
    if (!steady->begun) { /* nothing says how long we were away */
        steady->begun = true;
        steady->now_ms = max_i64(wall_ms, least_ms);
        steady->mono_ms = mono_ms;
    }
    const int64_t now_ms = next(steady, wall_ms, mono_ms, news);
    steady->now_ms = min_i64(WALL_MS_MAX, max_i64(max_i64(now_ms, steady->now_ms), least_ms));
    steady->mono_ms = mono_ms;
    return steady->now_ms;
}
