/* base/spares.c: a list of buffers for each power of two. */
#include "base/spares.h"

#include <stdlib.h>

struct spare {
    struct spare *next;
};

_Static_assert(sizeof(struct spare) <= SPARE_BYTES_MIN, "each has room for its link");

/* The smallest class with so many bytes; SPARE_CLASSES = none has. */
static uint32_t
class_of(size_t bytes)
{
    uint32_t at = 0;
    while (at < SPARE_CLASSES && SPARE_BYTES_MIN << at < bytes) {
        at++;
    }
    return at;
}

static struct spare *
pop(struct spares *spares, uint32_t at)
{
    struct spare_class *class_ = &spares->classes[at];
    struct spare *spare = class_->first;
    if (spare) {
        class_->first = spare->next;
        class_->count--;
        class_->least = class_->count < class_->least ? class_->count : class_->least;
        spares->bytes -= SPARE_BYTES_MIN << at;
    }
    return spare;
}

bool
spares_take(struct spares *spares, struct buf *buf, size_t bytes)
{
    check(!buf->ptr);
    const uint32_t at = class_of(bytes);
    const size_t whole = at < SPARE_CLASSES ? SPARE_BYTES_MIN << at : bytes;
    if (at == SPARE_CLASSES || (buf->limit_bytes && whole > buf->limit_bytes)) {
        return buf_reserve(buf, bytes);
    }
    buf->ptr = (char *)pop(spares, at);
    buf->cap = buf->ptr ? whole : 0;
    return buf->ptr || buf_reserve(buf, whole);
}

void
spares_give(struct spares *spares, struct buf *buf)
{
    const uint32_t at = class_of(buf->cap);
    const bool fits = buf->ptr && at < SPARE_CLASSES && buf->cap == SPARE_BYTES_MIN << at
                      && buf->cap <= spares->bytes_max - spares->bytes;
    if (fits && !SPARES_NONE_WAIT) {
        struct spare_class *class_ = &spares->classes[at];
        struct spare *spare = (struct spare *)(void *)buf->ptr; /* from malloc: aligned */
        spare->next = class_->first;
        class_->first = spare;
        class_->count++;
        spares->bytes += buf->cap;
        buf->ptr = NULL;
    }
    buf_free(buf);
}

void
spares_trim(struct spares *spares)
{
    for (uint32_t at = 0; at < SPARE_CLASSES; at++) {
        struct spare_class *class_ = &spares->classes[at];
        for (uint32_t surplus = class_->least; surplus > 0; surplus--) {
            free(pop(spares, at));
        }
        class_->least = class_->count;
    }
}

void
spares_free(struct spares *spares)
{
    spares_trim(spares);
    spares_trim(spares); /* now nobody has taken any since */
    check(spares->bytes == 0);
}
