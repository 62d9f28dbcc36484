/* base/thread.h: the name that a thread shows in /proc, in ps and in debuggers. */
#pragma once

#include <pthread.h>

/* Of the calling thread; at most 15 bytes. A name alone: where it cannot be set nothing is lost. */
static inline void
thread_set_name(const char *name)
{
#ifdef __APPLE__
    (void)pthread_setname_np(name);
#else
    (void)pthread_setname_np(pthread_self(), name);
#endif
}
