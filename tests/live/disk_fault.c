/* tests/live/disk_fault.c: a disk with faults, laid under a program by LD_PRELOAD.
 *
 * Files whose path begins with DISK_FAULT_UNDER fail as the first bytes of the file DISK_FAULT_ORDERS say:
 * "-" nothing; "F" no space, "R" read-only, "W" writes fail with EIO, "S" syncs fail with EIO, "D00030" a sync
 * takes 30 tenths of a second, or until the order changes; "M" renames to such a name fail with EIO, "K" they are
 * the program's death, "Q" behind one that was done the syncs of folders fail with EIO. The file is mapped: an order holds from the next call on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static const volatile char *orders;
static const char *under;
static int renamed;

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("DISK_FAULT_ORDERS");
    under = getenv("DISK_FAULT_UNDER");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, 64, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    orders = map == MAP_FAILED ? NULL : map;
}

static char
order_for(int fd)
{
    char link[64];
    char path[4096];
    if (!orders || !under || orders[0] == '-') {
        return '-';
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t len = readlink(link, path, sizeof(path) - 1);
    if (len < 0) {
        return '-';
    }
    path[len] = '\0';
    return strncmp(path, under, strlen(under)) == 0 && !strstr(path, "-shm") ? orders[0] : '-';
}

static int
write_fails(int fd)
{
    switch (order_for(fd)) {
    case 'F': errno = ENOSPC; return 1;
    case 'R': errno = EROFS; return 1;
    case 'W': errno = EIO; return 1;
    default: return 0;
    }
}

static int
sync_fails(int fd)
{
    struct stat file;
    if (orders && orders[0] == 'Q' && renamed && fstat(fd, &file) == 0 && S_ISDIR(file.st_mode)) {
        errno = EIO;
        return 1;
    }
    const char order = order_for(fd);
    if (order == 'D') {
        char digits[6] = "";
        for (int i = 0; i < 5; i++) {
            digits[i] = orders[1 + i];
        }
        const struct timespec pause = { 0, 20000000L };
        for (long left = strtol(digits, NULL, 10) * 5; left > 0 && orders[0] == 'D'; left--) {
            (void)nanosleep(&pause, NULL); /* until the order changes */
        }
    }
    if (order == 'S' || order == 'R') {
        errno = order == 'S' ? EIO : EROFS;
        return 1;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return write_fails(fd) ? -1 : REAL(pwrite64)(fd, bytes, len, at);
}

ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return write_fails(fd) ? -1 : REAL(pwrite)(fd, bytes, len, at);
}

ssize_t
write(int fd, const void *bytes, size_t len)
{
    return write_fails(fd) ? -1 : REAL(write)(fd, bytes, len);
}

int
ftruncate64(int fd, off64_t len)
{
    return write_fails(fd) ? -1 : REAL(ftruncate64)(fd, len);
}

int
fdatasync(int fd)
{
    return sync_fails(fd) ? -1 : REAL(fdatasync)(fd);
}

int
fsync(int fd)
{
    return sync_fails(fd) ? -1 : REAL(fsync)(fd);
}

int
rename(const char *from, const char *to)
{
    const int ours = orders && under && strncmp(to, under, strlen(under)) == 0;
    if (ours && orders[0] == 'K') {
        (void)raise(SIGKILL);
    }
    if (ours && orders[0] == 'M') {
        errno = EIO;
        return -1;
    }
    const int done = REAL(rename)(from, to);
    renamed |= ours && done == 0;
    return done;
}
