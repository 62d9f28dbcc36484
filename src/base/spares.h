/* base/spares.h: buffers that wait for their next use, of one thread: what is taken and given back
 * for each request needs no allocation, and large ones are not paged in anew each time.
 *
 * Their sizes are powers of two. At most `bytes_max` wait; spares_trim, called every few seconds,
 * frees what nobody took since the last time. Bytes stay in memory until they are written over:
 * wipe secrets first. A zeroed struct spares with a bytes_max is an empty one. */
#pragma once

#include "base/buf.h"

/* Under AddressSanitizer nothing waits: a use after it was given back is then seen. */
#if defined(__SANITIZE_ADDRESS__)
#define SPARES_NONE_WAIT true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARES_NONE_WAIT true
#endif
#endif
#ifndef SPARES_NONE_WAIT
#define SPARES_NONE_WAIT false
#endif

#define SPARE_BYTES_MIN ((size_t)256)
#define SPARE_CLASSES   14 /* up to 2 MB */

struct spare;

struct spares {
    struct spare_class {
        struct spare *first;
        uint32_t count, least; /* waiting now; the fewest since the last trim */
    } classes[SPARE_CLASSES];
    size_t bytes, bytes_max;
};

/* Makes room for `bytes` in an empty buffer, of one that waits where there is one. False: no
 * memory, or more than its limit. */
MUST_USE bool spares_take(struct spares *spares, struct buf *buf, size_t bytes);
/* The buffer is empty afterwards, as after buf_free. */
void spares_give(struct spares *spares, struct buf *buf);
void spares_trim(struct spares *spares);
/* Frees all that wait; those that are taken stay their owners'. */
void spares_free(struct spares *spares);
