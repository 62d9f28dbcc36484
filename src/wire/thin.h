/* wire/thin.h: a JSON object that passes by in pieces, of which only the small members are kept.
 *
 * For an answer that is too large to be kept: what it used stands in small members, wherever they are.
 * Large ones are passed over by their brackets and quotes alone; those that are kept are the caller's to
 * check. Memory: THIN_BYTES_MAX and what the buffer grows by. */
#pragma once

#include "base/buf.h"

#define THIN_MEMBER_BYTES_MAX ((size_t)4 << 10)
#define THIN_BYTES_MAX        ((size_t)16 << 10) /* of all members; later ones are left out */

struct thin {
    struct buf kept;  /* '{', and members with commas between them */
    size_t member_at; /* where the member that passes begins */
    int64_t depth;    /* containers open */
    bool in_string, escaped;
    bool dropped;     /* the member that passes is too large */
    bool over, broken;
};

/* Zeroed is its start. */
void thin_feed(struct thin *thin, struct slice piece);
/* The object with its small members, valid until the next call; false: it was none, or not whole. */
MUST_USE bool thin_end(struct thin *thin, struct slice *object);
void thin_free(struct thin *thin);
