/* bench/proc.h: what another process has used so far, from /proc.
 *
 * Threads are told apart by their names where they have one of their own ("loop...", "engine..."), else by
 * where they wait while the process is idle: in epoll, then they are loops. Of the others the one that
 * worked most between two samples counts as the engine. Reading needs the same user or root. */
#pragma once

#include <sys/types.h>

#include "base/status.h"

#define PROC_THREADS_MAX 96

struct proc_thread {
    pid_t tid;
    bool loop, engine; /* neither: another thread, or not known before the samples */
    int64_t cpu_ns;
};

struct proc_sample {
    struct proc_thread threads[PROC_THREADS_MAX];
    int thread_count;
    int64_t user_ticks, system_ticks; /* of the whole process, those that have ended included */
    int64_t resident_kb;
};

struct proc_use {
    int64_t loops_us, engine_us, other_us; /* their sum is the CPU of the threads still alive */
    int64_t user_us, system_us;            /* in steps of a clock tick */
};

/* STATUS_NOT_FOUND where there is no such process, STATUS_IO where it may not be looked at. */
MUST_USE enum status proc_read(pid_t pid, struct proc_sample *sample);
/* CPU of the processes that `parent` started and that still run, so far. */
int64_t proc_children_us(pid_t parent);
/* CPU between two samples of one process; `idle` is one taken while it waited, to tell its threads apart. */
void proc_between(const struct proc_sample *idle, const struct proc_sample *before,
    const struct proc_sample *after, struct proc_use *use);
