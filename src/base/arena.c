/* base/arena.c: blocks in a chain, the newest first; the oldest survives a reset. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

/* Under AddressSanitizer every allocation is a block of its own: a read past one is then seen. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_BLOCK_FIRST_BYTES 0
#define ARENA_BLOCK_LATER_BYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_BLOCK_FIRST_BYTES 0
#define ARENA_BLOCK_LATER_BYTES 0
#endif
#endif
#ifndef ARENA_BLOCK_FIRST_BYTES
#define ARENA_BLOCK_FIRST_BYTES ((size_t)4 << 10)
#define ARENA_BLOCK_LATER_BYTES ((size_t)32 << 10)
#endif

#define ARENA_ALIGN_BYTES 16

struct arena_block {
    struct arena_block *older;
    size_t size, used;
    alignas(ARENA_ALIGN_BYTES) char bytes[];
};

/* One that a reset has kept, if it is large enough. */
static struct arena_block *
take_spare(struct arena *arena, size_t bytes)
{
    struct arena_block *block = arena->spare;
    if (!block || block->size < bytes) {
        return NULL;
    }
    arena->spare = block->older;
    block->older = arena->blocks;
    block->used = 0;
    arena->blocks = block;
    return block;
}

static struct arena_block *
block_with_room(struct arena *arena, size_t bytes)
{
    struct arena_block *newest = arena->blocks;
    if (newest && newest->size - newest->used >= bytes) {
        return newest;
    }
    struct arena_block *spare = take_spare(arena, bytes);
    if (spare) {
        return spare;
    }
    size_t size = newest ? ARENA_BLOCK_LATER_BYTES : ARENA_BLOCK_FIRST_BYTES;
    if (size < bytes) {
        size = bytes;
    }
    size_t total = 0;
    if (__builtin_add_overflow(size, sizeof(struct arena_block), &total)) {
        return NULL;
    }
    struct arena_block *block = aligned_alloc(ARENA_ALIGN_BYTES, total);
    if (!block) {
        return NULL;
    }
    block->older = newest;
    block->size = size;
    block->used = 0;
    arena->blocks = block;
    return block;
}

void *
arena_alloc_raw(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ARENA_ALIGN_BYTES) {
        return NULL;
    }
    /* An allocation of nothing still gets an address of its own. */
    size_t rounded = (bytes + ARENA_ALIGN_BYTES - 1) & ~(size_t)(ARENA_ALIGN_BYTES - 1);
    if (rounded == 0) {
        rounded = ARENA_ALIGN_BYTES;
    }
    if (arena->limit_bytes != 0
        && (arena->used_bytes > arena->limit_bytes
            || rounded > arena->limit_bytes - arena->used_bytes)) {
        return NULL;
    }
    struct arena_block *block = block_with_room(arena, rounded);
    if (!block) {
        return NULL;
    }
    void *memory = block->bytes + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return memory;
}

void *
arena_alloc(struct arena *arena, size_t bytes)
{
    void *memory = arena_alloc_raw(arena, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

char *
arena_strdup(struct arena *arena, struct slice text)
{
    if (text.len == SIZE_MAX) {
        return NULL;
    }
    char *copy = arena_alloc_raw(arena, text.len + 1);
    if (copy && text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    if (copy) {
        copy[text.len] = '\0';
    }
    return copy;
}

struct slice
arena_copy(struct arena *arena, struct slice text)
{
    const char *copy = arena_strdup(arena, text);
    return slice_of(copy, copy ? text.len : 0);
}

static void
free_spare(struct arena *arena)
{
    while (arena->spare) {
        struct arena_block *block = arena->spare;
        arena->spare = block->older;
        free(block);
    }
}

void
arena_reset(struct arena *arena)
{
    struct arena_block *block = arena->blocks;
    size_t kept_bytes = 0;
    for (const struct arena_block *spare = arena->spare; spare; spare = spare->older) {
        kept_bytes += spare->size;
    }
    while (block && block->older) {
        struct arena_block *older = block->older;
        if (kept_bytes + block->size <= arena->keep_bytes) {
            kept_bytes += block->size;
            block->older = arena->spare;
            arena->spare = block;
        } else {
            free(block);
        }
        block = older;
    }
    if (block) {
        block->used = 0;
    }
    arena->blocks = block;
    arena->used_bytes = 0;
}

void
arena_free(struct arena *arena)
{
    arena_reset(arena);
    free_spare(arena);
    free(arena->blocks);
    arena->blocks = NULL;
}
