/* bench/proc.c: CPU time and memory of a process, thread by thread. */
#include "bench/proc.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_BYTES_MAX 1024

/* The start of a small file of /proc, as text. */
static bool
read_text(const char *path, char text[FILE_BYTES_MAX])
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    const size_t len = fread(text, 1, FILE_BYTES_MAX - 1, file);
    const bool good = !ferror(file);
    text[len] = '\0';
    (void)fclose(file);
    return good && len > 0;
}

static bool
waits_in_epoll(const char *thread_path, bool is_main)
{
    char path[128];
    char text[FILE_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%s/syscall", thread_path);
    if (!read_text(path, text)) {
        return is_main; /* may not be looked at: every server here has a loop on its first thread */
    }
    const long number = strtol(text, NULL, 10); /* "running" gives 0, which is no wait */
    return number == SYS_epoll_pwait || number == SYS_epoll_pwait2
#ifdef SYS_epoll_wait
           || number == SYS_epoll_wait
#endif
        ;
}

/* False when the thread has ended meanwhile. */
static bool
read_thread(pid_t pid, pid_t tid, struct proc_thread *thread)
{
    char base[64];
    char path[128];
    char text[FILE_BYTES_MAX];
    *thread = (struct proc_thread){ .tid = tid };
    (void)snprintf(base, sizeof base, "/proc/%d/task/%d", (int)pid, (int)tid);
    (void)snprintf(path, sizeof path, "%s/schedstat", base);
    if (!read_text(path, text)) {
        return false;
    }
    thread->cpu_ns = strtoll(text, NULL, 10);
    (void)snprintf(path, sizeof path, "%s/comm", base);
    if (!read_text(path, text)) {
        return false;
    }
    thread->engine = strncmp(text, "engine", 6) == 0;
    thread->loop =
        strncmp(text, "loop", 4) == 0 || (!thread->engine && waits_in_epoll(base, tid == pid));
    return true;
}

static bool
read_threads(pid_t pid, struct proc_sample *sample)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (!folder) {
        return false;
    }
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && sample->thread_count < PROC_THREADS_MAX
            && read_thread(pid, tid, &sample->threads[sample->thread_count])) {
            sample->thread_count++;
        }
    }
    (void)closedir(folder);
    return sample->thread_count > 0;
}

enum status
proc_read(pid_t pid, struct proc_sample *sample)
{
    char path[64];
    char text[FILE_BYTES_MAX];
    *sample = (struct proc_sample){ 0 };
    if (!read_threads(pid, sample)) {
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    /* The name may hold anything, a parenthesis too; what is wanted stands behind the last one. */
    const char *rest = read_text(path, text) ? strrchr(text, ')') : NULL;
    if (!rest
        || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNd64 " %" SCNd64,
               &sample->user_ticks, &sample->system_ticks)
               != 2) {
        return STATUS_IO;
    }
    int64_t resident_pages = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (!read_text(path, text) || sscanf(text, "%*d %" SCNd64, &resident_pages) != 1) {
        return STATUS_IO;
    }
    sample->resident_kb = resident_pages * sysconf(_SC_PAGESIZE) / 1024;
    return STATUS_OK;
}

static const struct proc_thread *
find_thread(const struct proc_sample *sample, pid_t tid)
{
    for (int i = 0; i < sample->thread_count; i++) {
        if (sample->threads[i].tid == tid) {
            return &sample->threads[i];
        }
    }
    return NULL;
}

void
proc_between(const struct proc_sample *idle, const struct proc_sample *before,
    const struct proc_sample *after, struct proc_use *use)
{
    bool engine_named = false;
    int64_t busiest_ns = 0;
    int64_t engine_ns = 0;
    int64_t loops_ns = 0;
    int64_t other_ns = 0;
    for (int i = 0; i < after->thread_count; i++) {
        const struct proc_thread *thread = &after->threads[i];
        const struct proc_thread *known = find_thread(idle, thread->tid);
        const struct proc_thread *earlier = find_thread(before, thread->tid);
        const int64_t used_ns = thread->cpu_ns - (earlier ? earlier->cpu_ns : 0);
        if (thread->engine) {
            engine_named = true;
            engine_ns += used_ns;
        } else if (known && known->loop) {
            loops_ns += used_ns;
        } else {
            other_ns += used_ns;
            busiest_ns = used_ns > busiest_ns ? used_ns : busiest_ns;
        }
    }
    if (!engine_named) {
        engine_ns = busiest_ns;
        other_ns -= busiest_ns;
    }
    const int64_t tick_us = 1000000 / sysconf(_SC_CLK_TCK);
    *use = (struct proc_use){
        .loops_us = loops_ns / 1000,
        .engine_us = engine_ns / 1000,
        .other_us = other_ns / 1000,
        .user_us = (after->user_ticks - before->user_ticks) * tick_us,
        .system_us = (after->system_ticks - before->system_ticks) * tick_us,
    };
}

/* Its parent; 0 when it has ended meanwhile. */
static pid_t
parent_of(pid_t pid)
{
    char path[64];
    char text[FILE_BYTES_MAX];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *rest = read_text(path, text) ? strrchr(text, ')') : NULL;
    return rest && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : 0;
}

int64_t
proc_children_us(pid_t parent)
{
    int64_t cpu_ns = 0;
    DIR *folder = opendir("/proc");
    for (const struct dirent *entry = folder ? readdir(folder) : NULL; entry;
         entry = readdir(folder)) {
        const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        char path[64];
        char text[FILE_BYTES_MAX];
        (void)snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
        if (pid > 0 && parent_of(pid) == parent && read_text(path, text)) {
            cpu_ns += strtoll(text, NULL, 10);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
    return cpu_ns / 1000;
}
