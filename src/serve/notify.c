/* serve/notify.c: the service manager's protocol, without its library: lines in a datagram. */
#include "serve/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "log/log.h"

#define WATCHDOG_MIN_MS 10

static struct sockaddr_un manager;
static socklen_t manager_len = 0; /* 0 = there is none */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool stopping = false; /* of the lock */

static void
send_lines(const char *lines)
{
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0
        || sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&manager,
               manager_len)
               < 0) {
        log_line(LOG_DEBUG, "notify", "the service manager was not told: %s", strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

enum said { SERVES, ENDS, LIVES };

/* In the order in which things are: behind the word of the end, whoever reloads meanwhile is not heard. */
static void
say(enum said what, const char *lines)
{
    if (manager_len == 0) {
        return;
    }
    check(pthread_mutex_lock(&lock) == 0);
    if (what != SERVES || !stopping) {
        send_lines(lines);
    }
    stopping = stopping || what == ENDS;
    check(pthread_mutex_unlock(&lock) == 0);
}

int64_t
notify_open(const char *socket_name, const char *watchdog_usec)
{
    uint64_t period_us = 0;
    manager_len = 0;
    stopping = false;
    const size_t len = socket_name ? strlen(socket_name) : 0;
    const bool known = len > 1 && (socket_name[0] == '/' || socket_name[0] == '@');
    if (!known || len >= sizeof(manager.sun_path)) {
        return 0;
    }
    manager = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(manager.sun_path, socket_name, len);
    if (socket_name[0] == '@') {
        manager.sun_path[0] = '\0';
    }
    manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (!watchdog_usec || !slice_to_u64(slice_str(watchdog_usec), &period_us) || period_us == 0
        || period_us > (uint64_t)INT64_MAX) {
        return 0;
    }
    const int64_t half_ms = (int64_t)(period_us / 2 / 1000); /* twice a period, as it advises */
    return half_ms > WATCHDOG_MIN_MS ? half_ms : WATCHDOG_MIN_MS;
}

void
notify_ready(void)
{
    say(SERVES, "READY=1\nSTATUS=serving\n");
}

void
notify_reloading(void)
{
    char lines[96];
    /* By this time the manager tells this reload from the one before. */
    (void)snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading\n",
        (long long)clock_mono_us());
    say(SERVES, lines);
}

void
notify_stopping(void)
{
    say(ENDS, "STOPPING=1\nSTATUS=calls in flight are ending\n");
}

void
notify_alive(void)
{
    say(LIVES, "WATCHDOG=1");
}
