/* cli/files.c: files that are written whole, or stay as they were. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        const ssize_t written = write(fd, bytes.ptr, bytes.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes = slice_of(bytes.ptr + written, bytes.len - (size_t)written);
    }
    return true;
}

bool
file_replace(const char *path, struct slice bytes, unsigned mode)
{
    char fresh[4096];
    const int len = snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        errno = ENAMETOOLONG;
        return false;
    }
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        return false;
    }
    bool good = fchmod(fd, (mode_t)mode) == 0 && write_all(fd, bytes);
    good = close(fd) == 0 && good;
    good = good && rename(fresh, path) == 0;
    if (!good) {
        (void)unlink(fresh);
    }
    return good;
}

bool
file_create(const char *path, struct slice bytes, unsigned mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    if (fd < 0) {
        return false;
    }
    const bool good = write_all(fd, bytes);
    return close(fd) == 0 && good;
}
