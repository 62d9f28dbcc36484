/* serve/watchdog.h: the service manager's sign of life, given for as long as every loop turns.
 *
 * Each loop beats twice a period; loop 0 looks at all beats and tells the manager. A loop that has not beaten for a
 * whole period hangs: then nothing is told, and the manager restarts us. A loop that has ended, or has not begun, is
 * none that hangs. The engine is not looked at: a disk that does not answer is told otherwise, and a restart would
 * make orphans of calls that run (engine/watch.c). */
#pragma once

#include <stdatomic.h>

#include "net/net.h"

#define WATCHDOG_LOOPS_MAX 64

struct watchdog_beat {
    struct net_timer timer;
    struct watchdog *watchdog;
    _Atomic int64_t mono_ms; /* of the last one; INT64_MAX: none is expected */
};

/* The caller's memory. */
struct watchdog {
    int64_t every_ms; /* half a period; 0: nobody waits for signs */
    struct watchdog_beat beats[WATCHDOG_LOOPS_MAX];
};

/* Before the loops run. */
void watchdog_open(struct watchdog *watchdog, int64_t every_ms);
/* On each loop's thread, before and after it runs. */
void watchdog_begin(struct watchdog *watchdog, struct net_loop *loop);
void watchdog_end(struct watchdog *watchdog, struct net_loop *loop);
/* Whether no loop hangs; any thread. */
bool watchdog_all_turn(const struct watchdog *watchdog, int64_t now_mono_ms);
