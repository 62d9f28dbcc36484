/* wire/splice.h: the few places where a body must change, and the body with them changed.
 * Everything else goes out byte for byte as it came, without being copied. */
#pragma once

#include "wire/facts.h"

#define SPLICES_MAX 8

struct splice {
    size_t offset;     /* in the body; not before the end of the splice in front of it */
    size_t removed;    /* bytes of the body that it replaces */
    struct slice text; /* what goes there: in the arena, or static */
};

struct splices {
    uint32_t count;
    struct splice items[SPLICES_MAX];
};

struct splice_wishes {
    struct slice model;             /* the upstream's id; empty = as it is */
    int64_t output_limit;           /* what every output limit is lowered to; -1 = as they are */
    enum output_field absent_field; /* chat: the name it gets where the body has none */
    bool usage;                     /* a chat stream shall carry usage */
};

/* False when the arena has no room. A limit that is lower than the wish is left alone; a wish for
 * usage is passed by where the call is no chat stream or asks for it itself. */
MUST_USE bool splices_make(const struct facts *facts, const struct splice_wishes *wishes,
    struct slice body, struct arena *arena, struct splices *out);

size_t splices_length(const struct splices *splices, struct slice body);

/* The segments to send, in order: at most 2 x SPLICES_MAX + 1. Start with a zeroed walk. */
struct splice_walk {
    uint32_t index;
    bool text_next;
    size_t offset;
};
MUST_USE bool splices_next(const struct splices *splices, struct slice body,
    struct splice_walk *walk, struct slice *segment);
