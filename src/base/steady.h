/* base/steady.h: wall time for books: it never goes back, and a jump ahead is not believed at once. Pure; times
 * are arguments.
 *
 * A clock that was set back: time goes on from where it was, a tenth slower, until the clock has caught up; so
 * allowances that refill by time go on refilling. A clock that was set ahead: time goes on as before until the
 * new one has stood for STEADY_DOUBT_MS; a jump that is taken back before was never there. Up to
 * STEADY_STEP_MS is followed as it comes. */
#pragma once

#include "base/units.h"

#define STEADY_STEP_MS  (2 * SECOND_MS)
#define STEADY_DOUBT_MS MINUTE_MS

enum steady_news {
    STEADY_NO_NEWS,
    STEADY_BACK,     /* the clock was set back: by_ms */
    STEADY_AHEAD,    /* it was set ahead, and is not believed yet: by_ms */
    STEADY_BELIEVED, /* the one set ahead is followed now: by_ms */
    STEADY_AGREED,   /* it agrees with ours again */
};

/* Fields are its own. A zeroed one is set by the first steady_next. */
struct steady {
    int64_t now_ms, mono_ms;           /* what was given last, and when */
    int64_t slow_ms, slow_mono_ms;     /* since when it goes slower; 0 = it does not */
    int64_t doubt_mono_ms;             /* since when the clock stands ahead; 0 = it does not */
    int64_t by_ms;                     /* of the last news: how far the clock was off */
    bool begun;
};

/* The time now, never less than before, nor less than `least_ms`. The first one believes the clock, unless it
 * stands before `least_ms`. */
int64_t steady_next(struct steady *steady, int64_t wall_ms, int64_t mono_ms, int64_t least_ms,
    enum steady_news *news);
