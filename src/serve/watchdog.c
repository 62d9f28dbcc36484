/* serve/watchdog.c: beats of the loops, and the sign of life that they add up to. */
#include "serve/watchdog.h"

#include "base/clock.h"
#include "log/log.h"
#include "serve/notify.h"

static void
on_beat(struct net_timer *timer)
{
    struct watchdog_beat *beat = list_entry(timer, struct watchdog_beat, timer);
    struct watchdog *watchdog = beat->watchdog;
    const int64_t now_mono_ms = clock_mono_ms();
    atomic_store_explicit(&beat->mono_ms, now_mono_ms, memory_order_relaxed);
    net_timer_start(timer, watchdog->every_ms);
    if (net_loop_index(timer->loop) > 0) {
        return;
    }
    if (watchdog_all_turn(watchdog, now_mono_ms)) {
        notify_alive();
    } else {
        log_line(LOG_ERROR, "watchdog",
            "a loop does not turn any more; the service manager is told nothing until it does");
    }
}

void
watchdog_open(struct watchdog *watchdog, int64_t every_ms)
{
    watchdog->every_ms = every_ms;
    for (int i = 0; i < WATCHDOG_LOOPS_MAX; i++) {
        watchdog->beats[i].watchdog = watchdog;
        atomic_init(&watchdog->beats[i].mono_ms, INT64_MAX);
    }
}

void
watchdog_begin(struct watchdog *watchdog, struct net_loop *loop)
{
    const int index = net_loop_index(loop);
    check(index < WATCHDOG_LOOPS_MAX);
    if (watchdog->every_ms > 0) {
        net_timer_init(&watchdog->beats[index].timer, loop, on_beat);
        on_beat(&watchdog->beats[index].timer);
    }
}

void
watchdog_end(struct watchdog *watchdog, struct net_loop *loop)
{
    struct watchdog_beat *beat = &watchdog->beats[net_loop_index(loop)];
    if (watchdog->every_ms > 0) {
        net_timer_stop(&beat->timer);
        atomic_store_explicit(&beat->mono_ms, INT64_MAX, memory_order_relaxed);
    }
}

bool
watchdog_all_turn(const struct watchdog *watchdog, int64_t now_mono_ms)
{
    for (int i = 0; i < WATCHDOG_LOOPS_MAX; i++) {
        const int64_t at_mono_ms =
            atomic_load_explicit(&watchdog->beats[i].mono_ms, memory_order_relaxed);
        if (at_mono_ms < now_mono_ms - 2 * watchdog->every_ms) {
            return false;
        }
    }
    return true;
}
