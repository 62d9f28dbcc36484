/* base/map.c: open addressing with linear probing. A removal shifts the run behind it back, so
 * there are no tombstones and a look-up ends at the first empty slot. */
#include "base/map.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define MAP_FIRST_SLOTS ((size_t)16)

struct map_slot {
    uint64_t key;
    void *value; /* NULL: empty */
};

/* Ids are often consecutive; this spreads them over all bits. A bijection: it adds no collision. */
static uint64_t
mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0x9E3779B97F4A7C15); /* 2^64 divided by the golden ratio */
    x ^= x >> 29;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}

static size_t
home_slot(const struct map *map, uint64_t key)
{
    return (size_t)mix(key) & (map->cap - 1);
}

/* The slot of `key`, or the empty one where it would go. The map has at least one empty slot. */
static size_t
find_slot(const struct map *map, uint64_t key)
{
    size_t at = home_slot(map, key);
    while (map->slots[at].value && map->slots[at].key != key) {
        at = (at + 1) & (map->cap - 1);
    }
    return at;
}

void *
map_get(const struct map *map, uint64_t key)
{
    return map->count == 0 ? NULL : map->slots[find_slot(map, key)].value;
}

static bool
grow(struct map *map)
{
    size_t cap = MAP_FIRST_SLOTS;
    if (map->cap > 0 && __builtin_mul_overflow(map->cap, (size_t)2, &cap)) {
        return false;
    }
    struct map bigger = {
        .slots = calloc(cap, sizeof(struct map_slot)), .count = map->count, .cap = cap
    };
    if (!bigger.slots) {
        return false;
    }
    for (size_t i = 0; i < map->cap; i++) {
        if (map->slots[i].value) {
            bigger.slots[find_slot(&bigger, map->slots[i].key)] = map->slots[i];
        }
    }
    free(map->slots);
    *map = bigger;
    return true;
}

bool
map_put(struct map *map, uint64_t key, void *value)
{
    check(value);
    if (map->count > 0) {
        struct map_slot *slot = &map->slots[find_slot(map, key)];
        if (slot->value) {
            slot->value = value;
            return true;
        }
    }
    /* At most three quarters full: probes stay short and an empty slot always ends them. */
    if (map->count >= map->cap / 4 * 3 && !grow(map)) {
        return false;
    }
    map->slots[find_slot(map, key)] = (struct map_slot){ key, value };
    map->count++;
    return true;
}

/* Closes the gap at `hole`: an entry behind it moves in unless its home lies between the two. */
static void
shift_back(struct map *map, size_t hole)
{
    const size_t mask = map->cap - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value; at = (at + 1) & mask) {
        const size_t from_home = (at - home_slot(map, map->slots[at].key)) & mask;
        const size_t from_hole = (at - hole) & mask;
        if (from_home >= from_hole) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct map_slot){ 0, NULL };
}

void *
map_remove(struct map *map, uint64_t key)
{
    if (map->count == 0) {
        return NULL;
    }
    const size_t at = find_slot(map, key);
    void *value = map->slots[at].value;
    if (value) {
        shift_back(map, at);
        map->count--;
    }
    return value;
}

bool
map_next(const struct map *map, size_t *cursor, uint64_t *key, void **value)
{
    while (*cursor < map->cap) {
        const struct map_slot *slot = &map->slots[(*cursor)++];
        if (slot->value) {
            *key = slot->key;
            *value = slot->value;
            return true;
        }
    }
    return false;
}

void
map_free(struct map *map)
{
    free(map->slots);
    *map = (struct map){ 0 };
}

static unsigned char process_key[crypto_shorthash_KEYBYTES];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void
make_process_key(void)
{
    check(sodium_init() >= 0);
    randombytes_buf(process_key, sizeof(process_key));
}

uint64_t
hash_bytes(struct slice text)
{
    (void)pthread_once(&process_key_once, make_process_key); /* fails only for a bad argument */
    unsigned char digest[crypto_shorthash_BYTES];
    const unsigned char *bytes = (const unsigned char *)(text.len > 0 ? text.ptr : "");
    (void)crypto_shorthash(digest, bytes, text.len, process_key); /* always 0 */
    uint64_t hash = 0;
    _Static_assert(sizeof(hash) == sizeof(digest), "a SipHash fills one key of a map");
    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

uint64_t
hash_pair(uint64_t a, uint64_t b)
{
    return mix(mix(a) + UINT64_C(0x9E3779B97F4A7C15) + b);
}
