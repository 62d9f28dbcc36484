/* engine/cache.h: rows as the store has them, so that hot ones are not read again for every batch.
 *
 * For stores that nobody else writes to (store_is_exclusive). It holds what was read or committed,
 * never what a batch has merely decided: a batch works on copies, cache_commit takes them over once
 * they are durable, and whoever cannot tell whether they are calls cache_clear. What is not in it is
 * asked of the store; that a row is missing is not remembered, nor are `issued` rows, which a sweep
 * deletes behind our back.
 *
 * Rows lie packed, without what their arrays and names leave unused. Bounded in bytes; what was not
 * used for longest leaves first. One thread. */
#pragma once

#include "base/list.h"
#include "core/work.h"

#define CACHE_BYTES_MAX       ((size_t)32 << 20)
#define CACHE_HOLDS_BYTES_MAX ((size_t)4 << 20) /* of those: silent streams keep theirs for long */

struct cached_row;

struct cache {
    struct cached_row **buckets; /* as many for each name */
    size_t bucket_count;
    struct list by_age, holds_by_age; /* the newest first */
    struct cached_row *spare;         /* memory of rows that left, to be used again */
    size_t row_bytes, hold_bytes, spare_bytes, count;
    size_t row_bytes_max, hold_bytes_max;
};

/* Without memory for it the cache is one that never has anything. */
void cache_init(struct cache *cache);
void cache_free(struct cache *cache);
void cache_clear(struct cache *cache);

/* Puts the row that is needed into the work; false when it must be asked of the store. */
MUST_USE bool cache_load(struct cache *cache, const struct need *need, struct work *work);
MUST_USE bool cache_has(const struct cache *cache, const struct need *need);
/* A row of the store that was read for this need. */
void cache_keep(struct cache *cache, const struct need *need, const void *row);
/* What is kept of it may not be there any more. */
void cache_forget(struct cache *cache, const struct need *need);
/* After the commit of the work: its changed rows are the store's now. */
void cache_commit(struct cache *cache, const struct work *work);

/* Every row, for tests: gives its kind and the row itself; false from the callback stops. */
void cache_walk(const struct cache *cache,
    bool (*row)(void *user, enum slot_kind kind, const void *row), void *user);
