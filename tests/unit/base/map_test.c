/* tests/unit/base/map_test.c
 *
 * Goal: a map holds exactly what was put and not removed, through growth and removal.
 * Method: a small range of keys against a plain array as the model, with steps from a fixed
 * generator; after every step one key, and now and then all of them, are compared. */
#include "unit.h"

#include "base/map.h"

#define KEY_COUNT 600
#define STEPS     200000

static uint32_t
next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Also the extremes: key 0 and ~0 are keys like any other. */
static uint64_t
key_of(size_t i)
{
    return i == 0 ? 0 : i == 1 ? UINT64_MAX : i < KEY_COUNT / 2 ? i : (uint64_t)i << 40;
}

static void
compare_all(const struct map *map, char *const *model)
{
    size_t count = 0;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        assert_ptr_equal(map_get(map, key_of(i)), model[i]);
        count += model[i] ? 1 : 0;
    }
    assert_int_equal(map->count, count);

    size_t cursor = 0;
    size_t walked = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(map, &cursor, &key, &value)) {
        assert_ptr_equal(map_get(map, key), value);
        walked++;
    }
    assert_int_equal(walked, count);
}

static void
follows_the_model(void **state)
{
    static char values[KEY_COUNT];
    static char *model[KEY_COUNT];
    struct map map = { 0 };
    uint64_t random = 42;
    for (size_t step = 0; step < STEPS; step++) {
        const size_t i = next_random(&random) % KEY_COUNT;
        /* Fills for a while, then empties, so that runs of both kinds occur. */
        const bool put = next_random(&random) % 10 < (step / 5000 % 2 == 0 ? 7 : 3);
        if (put) {
            char *value = &values[next_random(&random) % KEY_COUNT];
            assert_true(map_put(&map, key_of(i), value));
            model[i] = value;
        } else {
            assert_ptr_equal(map_remove(&map, key_of(i)), model[i]);
            model[i] = NULL;
        }
        assert_ptr_equal(map_get(&map, key_of(i)), model[i]);
        if (step % 997 == 0) {
            compare_all(&map, model);
        }
    }
    compare_all(&map, model);
    map_free(&map);
    assert_int_equal(map.count, 0);
}

static void
an_empty_map_has_nothing(void **state)
{
    struct map map = { 0 };
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    assert_null(map_get(&map, 1));
    assert_null(map_remove(&map, 1));
    assert_false(map_next(&map, &cursor, &key, &value));
    map_free(&map);
}

static void
grows_with_its_entries(void **state)
{
    static char values[100000];
    struct map map = { 0 };
    for (uint64_t i = 0; i < countof(values); i++) {
        assert_true(map_put(&map, i, &values[i]));
    }
    assert_int_equal(map.count, countof(values));
    assert_true(map.cap < 4 * countof(values));
    for (uint64_t i = 0; i < countof(values); i++) {
        assert_ptr_equal(map_get(&map, i), &values[i]);
    }
    assert_null(map_get(&map, countof(values)));
    map_free(&map);
}

static void
hashes(void **state)
{
    const char twice[] = "same\0same";
    assert_true(hash_bytes(SLICE("same")) == hash_bytes(slice_of(twice + 5, 4)));
    assert_true(hash_bytes(SLICE("same")) != hash_bytes(SLICE("sane")));
    assert_true(hash_bytes(SLICE("")) == hash_bytes(slice_of(NULL, 0)));
    assert_true(hash_pair(1, 2) == hash_pair(1, 2));
    assert_true(hash_pair(1, 2) != hash_pair(2, 1)); /* the order counts */
    assert_true(hash_pair(0, 0) != hash_pair(0, 1));
}

static const struct CMUnitTest tests[] = {
    CASE("a map follows its model through growth and removal", follows_the_model),
    CASE("an empty map has nothing", an_empty_map_has_nothing),
    CASE("a map grows with its entries", grows_with_its_entries),
    CASE("equal bytes hash alike, others do not", hashes),
};
UNIT_MAIN(tests)
