/* base/arena.h: memory with one lifetime, freed whole. What it returns is zeroed and 16-byte
 * aligned; NULL over the limit or without memory. A zeroed struct arena is an empty one. */
#pragma once

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used_bytes;  /* handed out so far, each rounded up to 16 */
    size_t limit_bytes; /* 0 = no bound; over it arena_alloc returns NULL */
    size_t keep_bytes;  /* of blocks that stay at a reset beside the first one */
    struct arena_block *spare;
};

MUST_USE void *arena_alloc(struct arena *arena, size_t bytes);
/* The same with whatever lies there: for those who fill all of it. */
MUST_USE void *arena_alloc_raw(struct arena *arena, size_t bytes);
/* A NUL-terminated copy; its ptr is NULL on failure alone, also when the text is empty. */
MUST_USE struct slice arena_copy(struct arena *arena, struct slice text);
MUST_USE char *arena_strdup(struct arena *arena, struct slice text);
/* Forgets everything but keeps the first block, and up to keep_bytes of others, for the next use. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);
