/* base/machine.c: limits, read where the system keeps them. */
#include "base/machine.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/units.h"

#define PATH_BYTES_MAX 4096

/* The number that a file begins with; INT64_MAX where there is none, such as "max". */
static int64_t
number_in(const char *path)
{
    char text[32] = "";
    int64_t number = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        return INT64_MAX;
    }
    if (!fgets(text, sizeof(text), file)) {
        text[0] = '\0';
    }
    (void)fclose(file); /* it was only read */
    text[strcspn(text, "\n")] = '\0';
    return slice_to_i64(slice_str(text), &number) && number > 0 ? number : INT64_MAX;
}

/* The least limit of the group `group` ("/a/b") and those above it, in the hierarchy mounted at `root`. */
static int64_t
least_of_groups(const char *root, char *group, const char *file)
{
    char path[PATH_BYTES_MAX];
    int64_t least = INT64_MAX;
    for (;;) {
        const int bytes = snprintf(path, sizeof(path), "%s%s/%s", root, group, file);
        if (bytes > 0 && (size_t)bytes < sizeof(path)) {
            least = min_i64(least, number_in(path));
        }
        char *last = strrchr(group, '/');
        if (!last) {
            return least;
        }
        *last = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/a/b" of version 2, "4:memory:/a/b" of version 1. */
static int64_t
group_memory_bytes(void)
{
    char line[PATH_BYTES_MAX];
    int64_t least = INT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *group = strchr(line, '/');
        if (!group) {
            continue;
        }
        if (strncmp(line, "0::", 3) == 0) {
            least = min_i64(least, least_of_groups("/sys/fs/cgroup", group, "memory.max"));
        } else if (strstr(line, ":memory:")) {
            least = min_i64(
                least, least_of_groups("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
        }
    }
    if (file) {
        (void)fclose(file); /* it was only read */
    }
    return least;
}

int64_t
machine_memory_bytes(void)
{
    struct rlimit limit;
    int64_t least = group_memory_bytes();
    const int64_t pages = sysconf(_SC_PHYS_PAGES);
    const int64_t page_bytes = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page_bytes > 0) {
        least = min_i64(least, pages * page_bytes);
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        least = min_i64(least, (int64_t)limit.rlim_cur);
    }
    return max_i64(1, least);
}

int64_t
machine_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        const struct rlimit raised = { limit.rlim_max, limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    return limit.rlim_cur == RLIM_INFINITY ? 0 : (int64_t)limit.rlim_cur;
}
