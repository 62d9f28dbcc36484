/* tests/unit/base/buf_test.c
 *
 * Goal: a buffer grows up to its limit, fails once and for all beyond it, and writes valid JSON
 * strings whatever the bytes are.
 * Method: tables; the JSON answers are written out by hand. */
#include "unit.h"

#include <stdio.h>

#include "base/buf.h"

#define FFFD "\xEF\xBF\xBD"

static void
appends_in_every_form(void **state)
{
    struct buf buf = { 0 };
    assert_string_equal(buf_cstr(&buf), "");
    buf_addf(&buf, "%s", "");
    buf_add(&buf, NULL, 0);
    buf_add_slice(&buf, SLICE("a="));
    buf_add_i64(&buf, -12);
    buf_add_char(&buf, ' ');
    buf_add_str(&buf, "b=");
    buf_addf(&buf, "%03d%s", 7, "x");
    assert_string_equal(buf_cstr(&buf), "a=-12 b=007x");
    assert_int_equal(buf.len, 12);
    buf_consume(&buf, 6);
    assert_string_equal(buf_cstr(&buf), "b=007x");
    buf_consume(&buf, 0);
    buf_consume(&buf, 6);
    assert_string_equal(buf_cstr(&buf), "");
    assert_false(buf.failed);
    buf_free(&buf);
}

static void
integers_of_every_width(void **state)
{
    static const struct {
        int64_t value;
        const char *text;
    } rows[] = {
        { 0, "0" },
        { -1, "-1" },
        { 10, "10" },
        { INT64_MAX, "9223372036854775807" },
        { INT64_MIN, "-9223372036854775808" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf buf = { 0 };
        buf_add_i64(&buf, rows[i].value);
        assert_string_equal(buf_cstr(&buf), rows[i].text);
        buf_free(&buf);
    }
}

/* Where a number becomes a digit longer, and where a piece of eight digits ends. */
static void
integers_around_powers_of_ten(void **state)
{
    int64_t power = 1;
    for (int digits = 1; digits < 19; digits++, power *= 10) {
        for (int64_t value = power - 1; value <= power + 1; value++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                char expected[32];
                struct buf buf = { 0 };
                (void)snprintf(expected, sizeof expected, "%lld", (long long)(sign * value));
                buf_add_i64(&buf, sign * value);
                assert_string_equal(buf_cstr(&buf), expected);
                buf_free(&buf);
            }
        }
    }
}

static void
format_grows(void **state)
{
    /* Lengths around the first memory of a buffer, where the text just fits or just does not. */
    for (int width = 250; width < 260; width++) {
        struct buf buf = { 0 };
        buf_add_char(&buf, '>');
        buf_addf(&buf, "%*d", width, 5);
        assert_int_equal(buf.len, width + 1);
        assert_int_equal(strlen(buf_cstr(&buf)), width + 1);
        assert_int_equal(buf.ptr[width], '5');
        buf_free(&buf);
    }
}

static void
the_limit_is_exact_and_failure_sticks(void **state)
{
    struct buf buf = { .limit_bytes = 300 };
    for (int i = 0; i < 300; i++) {
        buf_add_char(&buf, 'x');
    }
    assert_false(buf.failed);
    assert_int_equal(strlen(buf_cstr(&buf)), 300); /* the NUL is not counted */
    assert_true(buf_reserve(&buf, 0));
    assert_false(buf_reserve(&buf, 1));
    assert_true(buf.failed);
    assert_string_equal(buf_cstr(&buf), "");
    buf_consume(&buf, 300);
    buf_add_str(&buf, "y");
    buf_addf(&buf, "%d", 1);
    assert_int_equal(buf.len, 0);
    buf_clear(&buf);
    buf_add_str(&buf, "y");
    assert_string_equal(buf_cstr(&buf), "y");
    assert_false(buf_reserve(&buf, SIZE_MAX)); /* the sum wraps */
    buf_free(&buf);

    struct buf small = { .limit_bytes = 3 };
    buf_addf(&small, "%d", 1234);
    assert_true(small.failed);
    buf_free(&small);
}

static void
json_strings(void **state)
{
    static const struct {
        struct slice text;
        const char *json;
    } rows[] = {
        { { NULL, 0 }, "\"\"" },
        { SLICE("plain / text"), "\"plain / text\"" },
        { SLICE("a\"b\\c"), "\"a\\\"b\\\\c\"" },
        { SLICE("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"" },
        { SLICE("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\"" },
        /* whole characters of two to four bytes, at the edges of their ranges */
        { SLICE("\xC2\x80\xDF\xBF"), "\"\xC2\x80\xDF\xBF\"" },
        { SLICE("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80"),
            "\"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\"" },
        { SLICE("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"), "\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"" },
        /* invalid: stray, overlong, surrogate, too large, never a first byte */
        { SLICE("a\x80z"), "\"a" FFFD "z\"" },
        { SLICE("\xC0\xAF"), "\"" FFFD FFFD "\"" },
        { SLICE("\xE0\x80\x80"), "\"" FFFD FFFD FFFD "\"" },
        { SLICE("\xED\xA0\x80"), "\"" FFFD FFFD FFFD "\"" },
        { SLICE("\xF4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\"" },
        { SLICE("\xF5\xFF"), "\"" FFFD FFFD "\"" },
        /* cut short: one replacement for the start of a character, and what follows survives */
        { SLICE("\xE2\x82"), "\"" FFFD "\"" },
        { SLICE("\xF0\x9F\x98"), "\"" FFFD "\"" },
        { SLICE("\xE2\x82\"x"), "\"" FFFD "\\\"x\"" },
        { SLICE("\xE2\xE2\x82\xAC"), "\"" FFFD "\xE2\x82\xAC\"" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf buf = { 0 };
        buf_add_json(&buf, rows[i].text);
        assert_string_equal(buf_cstr(&buf), rows[i].json);
        buf_free(&buf);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("text is appended in every form and taken from the front", appends_in_every_form),
    CASE("integers of every width are written", integers_of_every_width),
    CASE("integers around powers of ten are written", integers_around_powers_of_ten),
    CASE("a formatted text that does not fit makes room", format_grows),
    CASE("the limit is exact and failure sticks until cleared",
        the_limit_is_exact_and_failure_sticks),
    CASE("JSON strings are valid whatever the bytes", json_strings),
};
UNIT_MAIN(tests)
