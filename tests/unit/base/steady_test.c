/* tests/unit/base/steady_test.c
 *
 * Goal: time for books never goes back, nor stands still for long, and a jump that is taken back never was.
 * Method: each row is a moment: what the monotonic and the wall clock say, and what is made of it. */
#include "unit.h"

#include "base/steady.h"

#define T 1700000000000 /* where each story starts */

struct moment {
    int64_t mono_ms, wall_ms; /* since the start */
    int64_t now_ms;
    enum steady_news news;
};

static void
tell(const struct moment *moments, size_t count, int64_t least_ms)
{
    struct steady steady = { .begun = false };
    for (size_t i = 0; i < count; i++) {
        enum steady_news news = STEADY_NO_NEWS;
        const int64_t now_ms = steady_next(
            &steady, T + moments[i].wall_ms, 5000 + moments[i].mono_ms, T + least_ms, &news);
        assert_int_equal(now_ms - T, moments[i].now_ms);
        assert_int_equal(news, moments[i].news);
    }
}

static void
small_steps_are_followed_but_never_back(void **state)
{
    static const struct moment moments[] = {
        { 0, 0, 0, STEADY_NO_NEWS },
        { 1000, 1000, 1000, STEADY_NO_NEWS },
        { 2000, 2900, 2900, STEADY_NO_NEWS },
        { 3000, 2000, 2900, STEADY_NO_NEWS }, /* it stands still for a moment */
        { 4000, 3000, 3000, STEADY_NO_NEWS },
    };
    tell(moments, countof(moments), 0);
}

static void
a_clock_set_back_slows_time_until_it_has_caught_up(void **state)
{
    static const struct moment moments[] = {
        { 0, 0, 0, STEADY_NO_NEWS },
        { 1000, 1000 - HOUR_MS, 1000, STEADY_BACK },
        { 1009, 1009 - HOUR_MS, 1009, STEADY_NO_NEWS },
        { 11000, 11000 - HOUR_MS, 10000, STEADY_NO_NEWS }, /* nine seconds in ten */
        { 101000, 101000 - HOUR_MS, 91000, STEADY_NO_NEWS },
        { 1000 + 10 * HOUR_MS, 1000 + 9 * HOUR_MS, 1000 + 9 * HOUR_MS, STEADY_AGREED },
        { 2000 + 10 * HOUR_MS, 2000 + 9 * HOUR_MS, 2000 + 9 * HOUR_MS, STEADY_NO_NEWS },
    };
    tell(moments, countof(moments), 0);
}

static void
a_jump_ahead_that_is_taken_back_was_never_there(void **state)
{
    static const struct moment moments[] = {
        { 0, 0, 0, STEADY_NO_NEWS }, { 1000, 1000 + DAY_MS, 1000, STEADY_AHEAD },
        { 30000, 30000 + DAY_MS, 30000, STEADY_NO_NEWS }, { 40000, 40000, 40000, STEADY_AGREED },
        { 101000, 101000, 101000, STEADY_NO_NEWS },
        { 102000, 102000 + DAY_MS, 102000, STEADY_AHEAD }, /* doubted anew */
    };
    tell(moments, countof(moments), 0);
}

static void
a_jump_ahead_that_stands_is_believed(void **state)
{
    static const struct moment moments[] = {
        { 0, 0, 0, STEADY_NO_NEWS },
        { 1000, 1000 + DAY_MS, 1000, STEADY_AHEAD },
        { 60999, 60999 + DAY_MS, 60999, STEADY_NO_NEWS },
        { 61000, 61000 + DAY_MS, 61000 + DAY_MS, STEADY_BELIEVED },
        { 62000, 62000 + DAY_MS, 62000 + DAY_MS, STEADY_NO_NEWS },
        { 63000, 63000, 63000 + DAY_MS, STEADY_BACK }, /* and then set right */
        { 73000, 73000, 72000 + DAY_MS, STEADY_NO_NEWS },
    };
    tell(moments, countof(moments), 0);
}

static void
a_clock_set_ahead_while_ours_is_slow_is_doubted_too(void **state)
{
    static const struct moment moments[] = {
        { 0, 0, 0, STEADY_NO_NEWS },
        { 1000, 1000 - HOUR_MS, 1000, STEADY_BACK },
        { 2000, 2000 + HOUR_MS, 1900, STEADY_AHEAD },
        { 3000, 3000, 3000, STEADY_AGREED },
    };
    tell(moments, countof(moments), 0);
}

static void
a_start_before_what_is_in_the_books_goes_on_from_there(void **state)
{
    static const struct moment moments[] = {
        { 0, -HOUR_MS, 0, STEADY_BACK },
        { 10000, 10000 - HOUR_MS, 9000, STEADY_NO_NEWS },
    };
    tell(moments, countof(moments), 0);
}

static void
a_start_ahead_of_the_books_is_believed(void **state)
{
    static const struct moment moments[] = {
        { 0, DAY_MS, DAY_MS, STEADY_NO_NEWS },
        { 1000, DAY_MS + 1000, DAY_MS + 1000, STEADY_NO_NEWS },
    };
    tell(moments, countof(moments), 0);
}

static void
whatever_the_clock_says_time_does_not_go_back(void **state)
{
    struct steady steady = { .begun = false };
    uint64_t seed = 7;
    int64_t before_ms = 0;
    int64_t mono_ms = 0;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const int64_t jump_ms = (int64_t)(seed >> 40) - (1 << 23);
        enum steady_news news = STEADY_NO_NEWS;
        mono_ms += (int64_t)(seed >> 33) % 3000;
        const int64_t now_ms =
            steady_next(&steady, T + mono_ms + (i % 3 ? 0 : jump_ms), mono_ms, 0, &news);
        assert_true(now_ms >= before_ms);
        before_ms = now_ms;
    }
}

static const struct CMUnitTest tests[] = {
    CASE("small steps are followed, but never back", small_steps_are_followed_but_never_back),
    CASE("a clock set back slows time until it has caught up",
        a_clock_set_back_slows_time_until_it_has_caught_up),
    CASE("a jump ahead that is taken back was never there",
        a_jump_ahead_that_is_taken_back_was_never_there),
    CASE("a jump ahead that stands is believed", a_jump_ahead_that_stands_is_believed),
    CASE("a clock set ahead while ours is slow is doubted too",
        a_clock_set_ahead_while_ours_is_slow_is_doubted_too),
    CASE("a start before what is in the books goes on from there",
        a_start_before_what_is_in_the_books_goes_on_from_there),
    CASE("a start ahead of the books is believed", a_start_ahead_of_the_books_is_believed),
    CASE("whatever the clock says, time does not go back",
        whatever_the_clock_says_time_does_not_go_back),
};
UNIT_MAIN(tests)
