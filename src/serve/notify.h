/* serve/notify.h: what a service manager is told (systemd's Type=notify-reload, sd_notify(3)): ready,
 * reloading, stopping, alive. One datagram each to the socket that NOTIFY_SOCKET names; where there is
 * none, all of this does nothing. A manager that does not listen is not waited for. Any thread once
 * opened. */
#pragma once

#include <stdint.h>

#include "base/check.h"

/* Before there are threads. `socket`: a path, or "@name" of the abstract kind; NULL or "" = none.
 * `watchdog_usec` as the manager gave it. Milliseconds between two notify_alive, 0 = none is wanted. */
int64_t notify_open(const char *socket, const char *watchdog_usec);
/* Calls can be served; also when a reload is over. */
void notify_ready(void);
void notify_reloading(void);
/* The last word but signs of life: a reload behind it is not told. */
void notify_stopping(void);
void notify_alive(void);
