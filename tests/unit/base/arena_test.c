/* tests/unit/base/arena_test.c
 *
 * Goal: what an arena hands out is zeroed, aligned, apart from everything else, and bounded.
 * Method: sizes around the alignment and the size of a block; every byte is written. */
#include "unit.h"

#include "base/arena.h"

static void
memory_is_zeroed_aligned_and_apart(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 100, 4000, 4096, 5000, 100000, 1, 33 };
    struct arena arena = { 0 };
    for (int round = 0; round < 3; round++) {
        unsigned char *parts[countof(sizes)];
        for (size_t i = 0; i < countof(sizes); i++) {
            parts[i] = arena_alloc(&arena, sizes[i]);
            assert_non_null(parts[i]);
            assert_int_equal((uintptr_t)parts[i] % 16, 0);
            for (size_t at = 0; at < sizes[i]; at++) {
                assert_int_equal(parts[i][at], 0);
            }
            memset(parts[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < countof(sizes); i++) {
            for (size_t at = 0; at < sizes[i]; at++) {
                assert_int_equal(parts[i][at], i + 1);
            }
        }
        arena_reset(&arena); /* the next round gets used memory and must see zeros again */
        assert_int_equal(arena.used_bytes, 0);
    }
    arena_free(&arena);
}

static void
the_limit_holds(void **state)
{
    static const struct {
        size_t limit, first, second;
        bool first_ok, second_ok;
    } rows[] = {
        { 64, 64, 1, true, false },  /* exactly full, then nothing more */
        { 64, 65, 64, false, true }, /* a refused one takes nothing */
        { 64, 33, 16, true, true },  /* 48 + 16 */
        { 64, 33, 17, true, false },
        { 1, 1, 1, false, false }, /* sixteen bytes are the smallest piece */
        { 64, SIZE_MAX, 64, false, true },
        { 0, SIZE_MAX, 1, false, true },
        { 0, SIZE_MAX - 31, 1, false, true }, /* with the head of its block the sum wraps */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = { .limit_bytes = rows[i].limit };
        assert_int_equal(arena_alloc(&arena, rows[i].first) != NULL, rows[i].first_ok);
        assert_int_equal(arena_alloc(&arena, rows[i].second) != NULL, rows[i].second_ok);
        assert_true(arena.limit_bytes == 0 || arena.used_bytes <= arena.limit_bytes);
        arena_free(&arena);
    }
}

static void
a_reset_gives_the_limit_back(void **state)
{
    struct arena arena = { .limit_bytes = 32 };
    for (int round = 0; round < 4; round++) {
        assert_non_null(arena_alloc(&arena, 32));
        assert_null(arena_alloc(&arena, 1));
        arena_reset(&arena);
    }
    arena_free(&arena);
    arena_reset(&arena); /* of an empty one: nothing happens */
    arena_free(&arena);
}

static void
copies_end_with_a_nul(void **state)
{
    struct arena arena = { .limit_bytes = 48 };
    const struct slice copy = arena_copy(&arena, slice_of("chat-1234", 4));
    assert_int_equal(copy.len, 4);
    assert_string_equal(copy.ptr, "chat");
    const struct slice empty = arena_copy(&arena, slice_of(NULL, 0));
    assert_int_equal(empty.len, 0);
    assert_string_equal(empty.ptr, "");
    assert_null(arena_copy(&arena, SLICE("sixteen bytes .. and more")).ptr);
    const char *text = arena_strdup(&arena, SLICE("a"));
    assert_string_equal(text, "a");
    assert_null(arena_strdup(&arena, SLICE("b")));
    arena_free(&arena);
}

static const struct CMUnitTest tests[] = {
    CASE("memory is zeroed, aligned and apart", memory_is_zeroed_aligned_and_apart),
    CASE("an arena refuses beyond its limit", the_limit_holds),
    CASE("a reset gives the limit back", a_reset_gives_the_limit_back),
    CASE("copies end with a NUL and fail with NULL alone", copies_end_with_a_nul),
};
UNIT_MAIN(tests)
