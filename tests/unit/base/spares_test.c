/* tests/unit/base/spares_test.c
 *
 * Goal: what was given back is taken again without an allocation, never more than the bound waits, and
 * what nobody takes goes.
 * Method: buffers are told apart by their address. Under AddressSanitizer nothing waits, so that only
 * what holds there, too, is looked at. */
#include "unit.h"

#include "base/spares.h"

#if defined(__SANITIZE_ADDRESS__)
#define NONE_WAITS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NONE_WAITS true
#endif
#endif
#ifndef NONE_WAITS
#define NONE_WAITS false
#endif

static void
what_is_given_back_is_taken_again(void **state)
{
    static const struct {
        size_t first, second;
        bool same; /* the second is the memory of the first */
    } rows[] = {
        { 0, 1, true }, { 256, 200, true }, { 256, 257, false }, { 300, 512, true },
        { 256 * 1024, 256 * 1024, true }, { 256 * 1024, 100 * 1024, false },
        { 3 * 1024 * 1024, 3 * 1024 * 1024, false }, /* too large to wait */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct spares spares = { .bytes_max = 1 << 20 };
        struct buf first = { 0 }, second = { 0 };
        assert_true(spares_take(&spares, &first, rows[i].first));
        assert_true(first.cap >= rows[i].first);
        buf_add_str(&first, "old");
        const uintptr_t was = (uintptr_t)first.ptr;
        spares_give(&spares, &first);
        assert_null(first.ptr);
        assert_int_equal(spares.bytes > 0, !NONE_WAITS && rows[i].first <= 2 << 20);
        assert_true(spares_take(&spares, &second, rows[i].second));
        assert_int_equal(second.len, 0);
        if (!NONE_WAITS && rows[i].first <= 2 << 20) {
            assert_int_equal((uintptr_t)second.ptr == was, rows[i].same);
        }
        spares_give(&spares, &second);
        spares_free(&spares);
    }
}

static void
no_more_waits_than_the_bound(void **state)
{
    struct spares spares = { .bytes_max = 1024 };
    struct buf bufs[4] = { 0 };
    for (size_t i = 0; i < countof(bufs); i++) {
        assert_true(spares_take(&spares, &bufs[i], 512));
    }
    for (size_t i = 0; i < countof(bufs); i++) {
        spares_give(&spares, &bufs[i]);
        assert_true(spares.bytes <= 1024);
    }
    assert_int_equal(spares.bytes, NONE_WAITS ? 0 : 1024);
    spares_free(&spares);
}

static void
what_nobody_takes_goes(void **state)
{
    struct spares spares = { .bytes_max = 1 << 20 };
    struct buf a = { 0 }, b = { 0 };
    assert_true(spares_take(&spares, &a, 256));
    assert_true(spares_take(&spares, &b, 256));
    spares_give(&spares, &a);
    spares_give(&spares, &b);
    spares_trim(&spares); /* they came since the last time */
    assert_int_equal(spares.bytes, NONE_WAITS ? 0 : 512);
    assert_true(spares_take(&spares, &a, 256));
    spares_give(&spares, &a);
    spares_trim(&spares); /* one was taken since */
    assert_int_equal(spares.bytes, NONE_WAITS ? 0 : 256);
    spares_trim(&spares);
    assert_int_equal(spares.bytes, 0);
}

static void
a_limit_of_the_buffer_holds(void **state)
{
    struct spares spares = { .bytes_max = 1 << 20 };
    struct buf buf = { .limit_bytes = 300 };
    assert_true(spares_take(&spares, &buf, 300)); /* not rounded up beyond it */
    assert_int_equal(buf.cap, 300);
    spares_give(&spares, &buf);
    assert_false(spares_take(&spares, &buf, 301));
    buf_free(&buf);
    spares_free(&spares);
}

static const struct CMUnitTest tests[] = {
    CASE("what is given back is taken again", what_is_given_back_is_taken_again),
    CASE("no more waits than the bound", no_more_waits_than_the_bound),
    CASE("what nobody takes goes", what_nobody_takes_goes),
    CASE("a limit of the buffer holds", a_limit_of_the_buffer_holds),
};
UNIT_MAIN(tests)
