/* tests/live/native/stepping_clock.c: a wall clock that a test sets, loaded before the C library (LD_PRELOAD).
 *
 * The file named by STEPPING_CLOCK holds milliseconds as a native int64, added to what the real clock says; it is
 * looked at on each reading, so writing to it is setting the clock. The monotonic clock is left alone. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real_clock)(clockid_t, struct timespec *);
static const volatile int64_t *offset_ms;

__attribute__((constructor)) static void
look_up(void)
{
    const char *path = getenv("STEPPING_CLOCK");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof(*offset_ms), PROT_READ, MAP_SHARED, fd, 0);
        offset_ms = at == MAP_FAILED ? NULL : at;
        (void)close(fd);
    }
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!real_clock) { /* before our own start */
        look_up();
    }
    const int status = real_clock(clock, now);
    if (status == 0 && offset_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + *offset_ms % 1000 * 1000000;
        now->tv_sec += *offset_ms / 1000 + (ns < 0 ? -1 : ns >= 1000000000 ? 1 : 0);
        now->tv_nsec = ns < 0 ? ns + 1000000000 : ns >= 1000000000 ? ns - 1000000000 : ns;
    }
    return status;
}
