/* tests/unit/base/money_test.c
 *
 * Goal: decimals become micros exactly, are rounded the way that was asked for and only there, and
 * anything that is no plain decimal, or is too large, is refused without touching the result.
 * Method: tables of text, both roundings, and text again. */
#include "unit.h"

#include "base/money.h"

#define UNTOUCHED INT64_C(-4711)

static void
parses_micros(void **state)
{
    static const struct {
        const char *text;
        int64_t up, down;
    } rows[] = {
        { "0", 0, 0 },
        { "-0", 0, 0 },
        { "0.000000", 0, 0 },
        { "12", 12000000, 12000000 },
        { "0.05", 50000, 50000 },
        { "007.5", 7500000, 7500000 },
        { "-3.5", -3500000, -3500000 },
        { "0.000001", 1, 1 },
        { "1234567.654321", 1234567654321, 1234567654321 },
        /* what is below a micro goes the way that was asked for, also under zero */
        { "1e-7", 1, 0 },
        { "0.0000001", 1, 0 },
        { "-0.0000001", 0, -1 },
        { "0.0000019", 2, 1 },
        { "-0.0000019", -1, -2 },
        { "2.0000000", 2000000, 2000000 }, /* zeros there are not below anything */
        { "2.00000000000000000000000000000000000000000000001", 2000001, 2000000 },
        { "0.1e-400", 1, 0 },
        /* exponents */
        { "1e3", 1000000000, 1000000000 },
        { "1E+3", 1000000000, 1000000000 },
        { "1.5e-3", 1500, 1500 },
        { "150000e-3", 150000000, 150000000 },
        { "123456789.123456e-6", 123456790, 123456789 },
        { "0e999999999999999999999999", 0, 0 },
        { "0.0e-999999999999999999999999", 0, 0 },
        { "5e-999999999999999999999999", 1, 0 },
        { "0.00000000000000000000000000000000000000001e41", 1000000, 1000000 },
        { "100000000000000000000000000000000000000000e-41", 1000000, 1000000 },
        /* the largest there is: a quarter of the range */
        { "2305843009213.693951", MONEY_MICROS_MAX, MONEY_MICROS_MAX },
        { "-2305843009213.693951", -MONEY_MICROS_MAX, -MONEY_MICROS_MAX },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t up = UNTOUCHED;
        int64_t down = UNTOUCHED;
        assert_true(money_parse(slice_str(rows[i].text), MONEY_UP, &up));
        assert_true(money_parse(slice_str(rows[i].text), MONEY_DOWN, &down));
        assert_int_equal(up, rows[i].up);
        assert_int_equal(down, rows[i].down);
    }
}

static void
refuses_what_is_no_decimal(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("-"),
        SLICE("."),
        SLICE(".5"),
        SLICE("5."),
        SLICE("+5"),
        SLICE("--5"),
        SLICE(" 5"),
        SLICE("5 "),
        SLICE("5\n"),
        SLICE("5\0"),
        SLICE("1,000"),
        SLICE("1_000"),
        SLICE("$5"),
        SLICE("5 USD"),
        SLICE("0x10"),
        SLICE("1e"),
        SLICE("1e+"),
        SLICE("1e-"),
        SLICE("e5"),
        SLICE("1e5.5"),
        SLICE("1e5e5"),
        SLICE("1.2.3"),
        SLICE("1.-5"),
        SLICE("nan"),
        SLICE("NaN"),
        SLICE("inf"),
        SLICE("Infinity"),
        SLICE("-inf"),
        SLICE("null"),
        SLICE("\xD9\xA1"),
        /* too large, also when only rounding makes it so */
        SLICE("2305843009213.693952"),
        SLICE("-2305843009213.693952"),
        SLICE("1e13"),
        SLICE("9223372036854775807"),
        SLICE("99999999999999999999999999999999"),
        SLICE("1e999999999999999999999999"),
        SLICE("0.0000001e99999"),
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t micros = UNTOUCHED;
        assert_false(money_parse(rows[i], MONEY_UP, &micros));
        assert_false(money_parse(rows[i], MONEY_DOWN, &micros));
        assert_int_equal(micros, UNTOUCHED);
    }
}

static void
the_last_micro_may_not_round_past_the_bound(void **state)
{
    const struct slice above = SLICE("2305843009213.6939511");
    const struct slice below = SLICE("-2305843009213.6939511");
    int64_t micros = UNTOUCHED;
    assert_false(money_parse(above, MONEY_UP, &micros));
    assert_false(money_parse(below, MONEY_DOWN, &micros));
    assert_int_equal(micros, UNTOUCHED);
    assert_true(money_parse(above, MONEY_DOWN, &micros));
    assert_int_equal(micros, MONEY_MICROS_MAX);
    assert_true(money_parse(below, MONEY_UP, &micros));
    assert_int_equal(micros, -MONEY_MICROS_MAX);
}

static void
parses_at_other_scales(void **state)
{
    static const struct {
        const char *text;
        int digits;
        int64_t up, down;
    } rows[] = {
        { "0.0000025", 12, 2500000, 2500000 }, /* 2.50 USD a million tokens */
        { "2.5e-06", 12, 2500000, 2500000 },
        { "1.5e-7", 12, 150000, 150000 },
        { "0.0000000000001", 12, 1, 0 },
        { "41.9", 0, 42, 41 },
        { "41.5", 2, 4150, 4150 },
        { "1250", -2, 13, 12 },
        { "0.000000000000000001", 18, 1, 1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice text = slice_str(rows[i].text);
        int64_t up = UNTOUCHED;
        int64_t down = UNTOUCHED;
        assert_true(money_parse_scaled(text, rows[i].digits, MONEY_UP, &up));
        assert_true(money_parse_scaled(text, rows[i].digits, MONEY_DOWN, &down));
        assert_int_equal(up, rows[i].up);
        assert_int_equal(down, rows[i].down);
    }
}

static void
writes_dollars(void **state)
{
    static const struct {
        int64_t micros;
        const char *text;
    } rows[] = {
        { 0, "$0.00" },
        { 1, "<$0.0001" },
        { 99, "<$0.0001" },
        { 100, "$0.0001" },
        { 4200, "$0.0042" },
        { 9949, "$0.0099" },
        { 9999, "$0.0100" },
        { 10000, "$0.01" },
        { 14999, "$0.01" },
        { 15000, "$0.02" },
        { 999999, "$1.00" },
        { 1000000, "$1.00" },
        { 999990000, "$999.99" },
        { 999999999, "$1,000.00" },
        { 1234560000, "$1,234.56" },
        { INT64_C(1234567890120000), "$1,234,567,890.12" },
        { -1, ">-$0.0001" },
        { -4200, "-$0.0042" },
        { -1234560000, "-$1,234.56" },
        { INT64_MAX, "$9,223,372,036,854.78" },
        { INT64_MIN, "-$9,223,372,036,854.78" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[40];
        money_text(rows[i].micros, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void
sums_stop_at_the_bound(void **state)
{
    assert_int_equal(money_add(1, 2), 3);
    assert_int_equal(money_add(MONEY_MICROS_MAX, 1), MONEY_MICROS_MAX);
    assert_int_equal(money_add(-MONEY_MICROS_MAX, -1), -MONEY_MICROS_MAX);
    assert_int_equal(money_add(INT64_MAX, INT64_MAX), MONEY_MICROS_MAX);
    assert_int_equal(money_add(INT64_MIN, INT64_MIN), -MONEY_MICROS_MAX);
    assert_int_equal(money_add(MONEY_MICROS_MAX, -MONEY_MICROS_MAX), 0);
}

static const struct CMUnitTest tests[] = {
    CASE("decimals become micros, rounded the way asked for", parses_micros),
    CASE("what is no decimal or too large is refused", refuses_what_is_no_decimal),
    CASE(
        "the last micro may not round past the bound", the_last_micro_may_not_round_past_the_bound),
    CASE("other scales are exact too", parses_at_other_scales),
    CASE("amounts are written as people read them", writes_dollars),
    CASE("sums stop at the bound of money", sums_stop_at_the_bound),
};
UNIT_MAIN(tests)
