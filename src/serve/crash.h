/* serve/crash.h: what is left of a process that dies of a bug: ids, lengths and states, never bodies, keys
 * or memory. Core dumps are off, since keys and prompts are in them; this is read instead.
 *
 * On SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (a failed check) a text goes to standard error and, with mode
 * 0600, into a file beside the store, or beside the control socket where the store is not here; then the process
 * dies of the signal, as it would have. Only async-signal-safe calls are made, but for the walk of the stack,
 * which comes last. */
#pragma once

#include "base/check.h"

/* No core dump, no other process of this user reads our memory. `dumpable`: sanitizers look at their own
 * process. */
void crash_forbid_dumps(bool dumpable);
/* Catches. `beside` is the path of a file, the dump's name is made of it; NULL = standard error alone. Before there
 * are threads: each has a second stack for the handler, since it may have died of its first one's end. */
void crash_open(const char *beside);
/* Says in the log, once, that the gateway before this one left a dump, and where. */
void crash_tell(void);
