/* store/lock.c: one gateway a store. The lock is the kernel's (flock), so it ends with its process
 * however that dies; the file stays, since removing it would let two processes lock two files. */
#include "store/sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_SUFFIX ".lock"

/* The holder's process id, or 0: it may not have written it yet. */
static int64_t
read_holder(int lock_fd)
{
    char text[32];
    const ssize_t len = pread(lock_fd, text, sizeof(text), 0);
    int64_t pid = 0;
    struct slice rest = slice_of(text, len > 0 ? (size_t)len : 0);
    struct slice line;
    if (!slice_split(&rest, '\n', &line) || !slice_to_i64(line, &pid) || pid < 0) {
        return 0;
    }
    return pid;
}

static enum status
write_holder(int lock_fd)
{
    char text[32];
    const int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, text, (size_t)len, 0) != len) {
        return STATUS_IO;
    }
    return STATUS_OK;
}

static enum status
lock_opened(const char *path, int lock_fd, struct store_error *error)
{
    if (flock(lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return store_fail(
                error->text, STATUS_IO, "%s cannot be locked: %s", path, strerror(errno));
        }
        const int64_t holder = read_holder(lock_fd);
        if (holder == 0) {
            return store_fail(error->text, STATUS_BUSY,
                "%s is held by another process; stop it, or use its control socket", path);
        }
        return store_fail(error->text, STATUS_BUSY,
            "%s is held by process %lld; stop it, or use its control socket", path,
            (long long)holder);
    }
    if (write_holder(lock_fd) != STATUS_OK) {
        return store_fail(error->text, STATUS_IO, "%s" LOCK_SUFFIX " cannot be written: %s", path,
            strerror(errno));
    }
    return STATUS_OK;
}

void
give_to_folder_owner(int fd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    struct stat owner;
    if (folder && geteuid() == 0 && stat(folder, &owner) == 0
        && fchown(fd, owner.st_uid, owner.st_gid) != 0) {
        (void)errno; /* root's, then: its gateway says that it cannot open it */
    }
    free(folder);
}

/* Only what is new here is given away: another name of somebody's file is not. */
static int
open_lock(const char *lock_path, const char *path)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    const int fd = open(lock_path, flags | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) {
        give_to_folder_owner(fd, path);
        return fd;
    }
    return errno == EEXIST ? open(lock_path, flags) : fd;
}

enum status
lock_take(const char *path, int *lock_fd, struct store_error *error)
{
    char *lock_path = NULL;
    if (asprintf(&lock_path, "%s" LOCK_SUFFIX, path) < 0) {
        return store_fail(error->text, STATUS_FULL, "no memory for the name of a lock");
    }
    *lock_fd = open_lock(lock_path, path);
    enum status status = STATUS_OK;
    if (*lock_fd < 0) {
        status = store_fail(error->text, STATUS_IO,
            "%s cannot be opened or made: %s; check that its folder is there and may be written to",
            lock_path, strerror(errno));
    } else {
        status = lock_opened(path, *lock_fd, error);
        if (status != STATUS_OK) {
            lock_drop(*lock_fd);
            *lock_fd = -1;
        }
    }
    free(lock_path);
    return status;
}

void
lock_drop(int lock_fd)
{
    (void)close(lock_fd); /* nothing was written that could be lost; the lock ends with it */
}
