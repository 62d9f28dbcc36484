/* tests/unit/rows/usage_test.c
 *
 * Goal: a usage block that cannot be true is not believed.
 * Method: each row is a block and the answer. */
#include "unit.h"

#include "rows/usage.h"

static void
usage_bounds(void **state)
{
    static const struct {
        const char *what;
        struct usage usage;
        bool valid;
    } rows[] = {
        { "nothing known", { .cost_micros = -1 }, true },
        { "all zero", { 0 }, true },
        { "the largest", { TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX,
              MONEY_MICROS_MAX, 15 }, true },
        { "input below zero", { .input = -1 }, false },
        { "input too large", { .input = TOKENS_MAX + 1 }, false },
        { "cache read below zero", { .cache_read = -1 }, false },
        { "cache write 5m too large", { .cache_write_5m = TOKENS_MAX + 1 }, false },
        { "cache write 1h below zero", { .cache_write_1h = -5 }, false },
        { "output too large", { .output = INT64_MAX }, false },
        { "reasoning within output", { .output = 5, .reasoning = 5 }, true },
        { "reasoning beyond output", { .output = 5, .reasoning = 6 }, false },
        { "reasoning below zero", { .output = 5, .reasoning = -1 }, false },
        { "cost under none", { .cost_micros = -2 }, false },
        { "cost too large", { .cost_micros = MONEY_MICROS_MAX + 1 }, false },
        { "an unknown bit", { .known = 16 }, false },
    };

    for (size_t i = 0; i < countof(rows); i++) {
        if (usage_valid(&rows[i].usage) != rows[i].valid) {
            fail_msg("%s", rows[i].what);
        }
    }
}

static void
usage_sums_the_input_side(void **state)
{
    const struct usage usage = { .input = 1, .cache_read = 20, .cache_write_5m = 300,
        .cache_write_1h = 4000, .output = 50000, .reasoning = 7 };
    assert_int_equal(usage_input_total(&usage), 4321);
    const struct usage widest = { .input = TOKENS_MAX, .cache_read = TOKENS_MAX,
        .cache_write_5m = TOKENS_MAX, .cache_write_1h = TOKENS_MAX };
    assert_int_equal(usage_input_total(&widest), 4 * TOKENS_MAX);
}

static const struct CMUnitTest tests[] = {
    CASE("a usage block is within its bounds", usage_bounds),
    CASE("the input side is uncached, read and written", usage_sums_the_input_side),
};
UNIT_MAIN(tests)
