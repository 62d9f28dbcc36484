/* log/trail.h: the last things that each thread did, for the dump of a crash (tbl/trails.h).
 *
 * A note is the time of the system's last tick and five stores into the thread's own ring; nothing is
 * allocated, nobody waits. Threads beyond TRAIL_THREADS_MAX leave none. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "tbl/trails.h"

#define TRAIL_THREADS_MAX 80
#define TRAIL_NOTES 48 /* of one thread; older ones are overwritten */

/* Names this thread in a dump: "loop", 2. The word is static. */
void trail_thread(const char *word, int index);
void trail_note(enum trail what, int64_t id, int64_t first, int64_t second);

/* --- for the dump: async-signal-safe; what other threads change meanwhile may be read half. */
struct trail_note {
    int64_t mono_us, id, first, second;
    enum trail what;
};
/* Threads that were named or left a note. */
int trail_thread_count(void);
/* The name's parts; false of a thread without one. */
bool trail_thread_name(int thread, const char **word, int *index);
/* This thread's number, -1 = it has none. */
int trail_own_thread(void);
/* The notes of a thread, oldest first; how many. */
int trail_read(int thread, struct trail_note out[TRAIL_NOTES]);
const char *trail_word(enum trail what);
