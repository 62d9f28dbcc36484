/* log/process.c: memory, descriptors and time of this process, from /proc. */
#include "log/process_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "base/units.h"

#define FILE_BYTES_MAX 2048

/* A small file of /proc, whole; empty where it cannot be read. */
static struct slice
read_proc(const char *path, char *text, size_t text_size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t len = fd < 0 ? -1 : read(fd, text, text_size);
    if (fd >= 0) {
        (void)close(fd);
    }
    return slice_of(text, len > 0 ? (size_t)len : 0);
}

/* The field of a line of numbers, the first is 0; -1 where there is none. */
static int64_t
field_of(struct slice line, int index)
{
    struct slice field = { 0 };
    int64_t value = -1;
    for (int i = 0; i <= index; i++) {
        if (!slice_split(&line, ' ', &field)) {
            return -1;
        }
    }
    return slice_to_i64(slice_trim(field), &value) ? value : -1;
}

static void
put(struct buf *out, const char *name, const char *type, const char *help, int64_t value)
{
    if (value >= 0) {
        metrics_family(out, name, type, help);
        buf_addf(out, "%s %lld\n", name, (long long)value);
    }
}

static void
put_hundredths(struct buf *out, const char *name, const char *type, const char *help, int64_t value)
{
    if (value >= 0) {
        metrics_family(out, name, type, help);
        buf_addf(out, "%s %lld.%02lld\n", name, (long long)(value / 100), (long long)(value % 100));
    }
}

/* When this process was started, in hundredths of a second since 1970; -1 where it cannot be known. Found
 * once, so that it stands still while the clock is set. */
static int64_t
start_time_hundredths(int64_t start_ticks, int64_t ticks_per_s)
{
    static _Atomic int64_t found = 0;
    char text[FILE_BYTES_MAX];
    int64_t uptime_s = 0;
    struct slice rest = read_proc("/proc/uptime", text, sizeof(text));
    struct slice whole = { 0 };
    const int64_t known = atomic_load_explicit(&found, memory_order_relaxed);
    if (known > 0) {
        return known;
    }
    if (!slice_split(&rest, '.', &whole) || !slice_to_i64(whole, &uptime_s) || start_ticks < 0) {
        return -1;
    }
    const int64_t age_ms = uptime_s * SECOND_MS - start_ticks * SECOND_MS / ticks_per_s;
    int64_t wanted = (clock_wall_ms() - max_i64(0, age_ms)) / 10;
    int64_t seen = 0;
    if (!atomic_compare_exchange_strong(&found, &seen, wanted)) {
        wanted = seen; /* another thread was first */
    }
    return wanted;
}

static int64_t
count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int64_t count = -1; /* its own */
    if (!folder) {
        return -1;
    }
    // cppcheck-suppress readdirCalled ; a folder of our own, which no other thread reads
    while (readdir(folder)) {
        count++;
    }
    (void)closedir(folder);
    return count - 2; /* . and .. */
}

/* Fields of /proc/self/stat behind the name, which may hold anything: state is 0. */
enum { STAT_USER_TICKS = 11, STAT_SYSTEM_TICKS = 12, STAT_THREADS = 17, STAT_START_TICKS = 19 };

static void
render_stat(struct buf *out, int64_t ticks_per_s)
{
    char text[FILE_BYTES_MAX];
    struct slice line = read_proc("/proc/self/stat", text, sizeof(text));
    while (line.len > 0 && line.ptr[line.len - 1] != ')') {
        line.len--; /* the name ends at the last ')' */
    }
    const size_t name_end = line.len;
    line = read_proc("/proc/self/stat", text, sizeof(text));
    if (name_end == 0 || line.len < name_end + 2 || ticks_per_s <= 0) {
        return;
    }
    line = slice_of(line.ptr + name_end + 1, line.len - name_end - 1);
    const int64_t ticks = field_of(line, STAT_USER_TICKS) + field_of(line, STAT_SYSTEM_TICKS);
    const int64_t start = field_of(line, STAT_START_TICKS);
    put_hundredths(out, "process_cpu_seconds_total", "counter",
        "Time of processors that this process has used.", ticks * 100 / ticks_per_s);
    put(out, "process_threads", "gauge", "Threads of this process.", field_of(line, STAT_THREADS));
    put_hundredths(out, "process_start_time_seconds", "gauge",
        "When this process was started, since 1970.", start_time_hundredths(start, ticks_per_s));
}

void
process_render(struct buf *out)
{
    char text[FILE_BYTES_MAX];
    struct rlimit files;
    const int64_t page_bytes = sysconf(_SC_PAGESIZE);
    const struct slice statm = read_proc("/proc/self/statm", text, sizeof(text));
    const int64_t pages = field_of(statm, 0);
    const int64_t resident = field_of(statm, 1);
    render_stat(out, sysconf(_SC_CLK_TCK));
    put(out, "process_virtual_memory_bytes", "gauge", "Memory that is mapped.",
        pages < 0 ? -1 : pages * page_bytes);
    put(out, "process_resident_memory_bytes", "gauge", "Memory that is held.",
        resident < 0 ? -1 : resident * page_bytes);
    put(out, "process_open_fds", "gauge", "Open descriptors.", count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur <= INT64_MAX) {
        put(out, "process_max_fds", "gauge", "The most descriptors that may be open.",
            (int64_t)files.rlim_cur);
    }
}
