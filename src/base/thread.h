/* base/thread.h: what every thread of the program begins with. */
#pragma once

#include <pthread.h>

#include "base/check.h"

/* First thing in a thread: the name that it shows in /proc, in ps and in debuggers (at most 15 bytes; a name
 * alone: where it cannot be set nothing is lost), and, once thread_signal_stacks was called, a stack of its
 * own for signal handlers, given back when the thread ends. NULL: the name stays. */
void thread_begin(const char *name);
/* From now on threads have a second stack, this one at once: a handler of SIGSEGV is to run also where the
 * first is at its end. Before there are other threads; not where a sanitizer runs, which has its own. */
void thread_signal_stacks(void);
