/* engine/clock.c: the time of the books, for decisions and for whoever shows what they would be: one clock, read and
 * moved on by any thread, so that no page is in another window than the gate. */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "log/log.h"

static void
tell_news(enum steady_news news, int64_t by_ms)
{
    const long long by_s = (long long)(by_ms / SECOND_MS);
    switch (news) {
    case STEADY_NO_NEWS: break;
    case STEADY_BACK:
        log_line(LOG_WARN, "clock",
            "the wall clock stands %lld s before the time of the books, which does not go back: it runs a tenth "
            "slower until the clock has caught up",
            by_s);
        break;
    case STEADY_AHEAD:
        log_line(LOG_WARN, "clock",
            "the wall clock was set %lld s ahead: the books follow once it has stood so for %lld s",
            by_s, (long long)(STEADY_DOUBT_MS / SECOND_MS));
        break;
    case STEADY_BELIEVED:
        log_line(LOG_WARN, "clock", "the books follow the wall clock, %lld s ahead", by_s);
        break;
    case STEADY_AGREED:
        log_line(LOG_INFO, "clock", "the wall clock agrees with the time of the books again");
        break;
    }
}

/* Of a shared store, as well as it is known; under the lock. */
static int64_t
database_ms(const struct books_clock *clock)
{
    return clock->database_ms == 0 ? clock_wall_ms()
                                   : clock->database_ms + clock_mono_ms() - clock->database_mono_ms;
}

/* Never earlier than before, for whoever asked, nor than `least_ms`. */
static int64_t
next_ms(struct engine *engine, int64_t least_ms)
{
    struct books_clock *clock = &engine->clock;
    enum steady_news news = STEADY_NO_NEWS;
    pthread_mutex_lock(&clock->lock);
    const int64_t least = max_i64(least_ms, clock->now_ms);
    clock->now_ms = engine->exclusive ? steady_next(
                        &clock->steady, clock_wall_ms(), clock_mono_ms(), least, &news)
                                      : max_i64(least, database_ms(clock));
    const int64_t now_ms = clock->now_ms;
    const int64_t by_ms = clock->steady.by_ms;
    pthread_mutex_unlock(&clock->lock);
    tell_news(news, by_ms);
    return now_ms;
}

/* Over a restart, too: the high-water mark is stored with each batch. */
int64_t
engine_now_ms(struct engine *engine)
{
    engine->node.high_water_ms = next_ms(engine, engine->node.high_water_ms);
    return engine->node.high_water_ms;
}

int64_t
engine_books_ms(struct engine *engine)
{
    return next_ms(engine, 0);
}

void
clock_of_database(struct engine *engine, int64_t now_ms)
{
    struct books_clock *clock = &engine->clock;
    pthread_mutex_lock(&clock->lock);
    clock->database_ms = now_ms;
    clock->database_mono_ms = clock_mono_ms();
    pthread_mutex_unlock(&clock->lock);
}

int64_t
shared_wall_ms(struct engine *engine)
{
    struct books_clock *clock = &engine->clock;
    pthread_mutex_lock(&clock->lock);
    const int64_t now_ms = database_ms(clock);
    pthread_mutex_unlock(&clock->lock);
    return now_ms;
}
