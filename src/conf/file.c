/* conf/file.c: whole files, within a bound. What is no file, such as a pipe, gives its text in time or not at
 * all: a running gateway reads them too. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "conf/conf_priv.h"

#define WAIT_MS    5000
#define READ_BYTES 65536

/* How many bytes came, 0 at the end, or -1 with errno. */
static ssize_t
read_some(int fd, char *out, int64_t until_mono_ms)
{
    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        const int64_t left_ms = max_i64(0, until_mono_ms - clock_mono_ms());
        const int polled = poll(&ready, 1, (int)left_ms);
        if (polled == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        const ssize_t got = polled > 0 ? read(fd, out, READ_BYTES) : -1;
        if (got >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return got;
        }
    }
}

enum status
file_read(const char *path, size_t bytes_max, struct buf *out, const char **why)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        *why = strerror(errno);
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    const int64_t until_mono_ms = clock_mono_ms() + WAIT_MS;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        if (!buf_reserve(out, READ_BYTES)) {
            *why = "out of memory";
            status = STATUS_FULL;
            break;
        }
        const ssize_t got = read_some(fd, out->ptr + out->len, until_mono_ms);
        if (got == 0) {
            break;
        }
        out->len += got > 0 ? (size_t)got : 0;
        if (got < 0) {
            *why = errno == ETIMEDOUT ? "it is no file, and its text did not come in time"
                                      : strerror(errno);
            status = STATUS_IO;
        } else if (out->len > bytes_max) {
            *why = "it is too large";
            status = STATUS_FULL;
        }
    }
    (void)close(fd); /* it was only read */
    return status;
}
