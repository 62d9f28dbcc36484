/* base/map.h: hash map from a 64-bit key to a pointer; open addressing, grows. Keys of outside
 * origin must be hashed first (hash_bytes is keyed per process, so strangers cannot choose
 * collisions). A zeroed struct map is an empty one. It borrows the values; the owner of the map
 * calls map_free. */
#pragma once

#include "base/slice.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t count, cap;
};

/* NULL when absent. */
void *map_get(const struct map *map, uint64_t key);
/* Sets or replaces; value must not be NULL. False, and no change, when it cannot grow. */
MUST_USE bool map_put(struct map *map, uint64_t key, void *value);
/* Removes and returns the value, or NULL. */
void *map_remove(struct map *map, uint64_t key);
/* Walks all entries in no order: start with *cursor = 0; false at the end. No changes meanwhile. */
bool map_next(const struct map *map, size_t *cursor, uint64_t *key, void **value);
void map_free(struct map *map);

/* SipHash of the bytes under a per-process random key. */
uint64_t hash_bytes(struct slice text);
/* A mix of two 64-bit numbers. */
uint64_t hash_pair(uint64_t a, uint64_t b);
