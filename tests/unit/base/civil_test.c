/* tests/unit/base/civil_test.c
 *
 * Goal: instants and civil dates agree both ways over all years, and dates as text are read in
 * every form that is one and in none that is not.
 * Method: known pairs; every day of ten thousand years counted on by hand; tables of texts. */
#include "unit.h"

#include "base/civil.h"

#define UNTOUCHED INT64_C(-4711)

static void
known_instants(void **state)
{
    static const struct {
        int64_t at_ms;
        struct civil civil;
    } rows[] = {
        { 0, { 1970, 1, 1, 0, 0, 0, 0, 3 } },
        { -1, { 1969, 12, 31, 23, 59, 59, 999, 2 } },
        { 784111777000, { 1994, 11, 6, 8, 49, 37, 0, 6 } },
        { 951782400000, { 2000, 2, 29, 0, 0, 0, 0, 1 } },
        { 951868800000, { 2000, 3, 1, 0, 0, 0, 0, 2 } },
        { 1709251199999, { 2024, 2, 29, 23, 59, 59, 999, 3 } },
        { 4107542400000, { 2100, 3, 1, 0, 0, 0, 0, 0 } }, /* 2100 has no leap day */
        { -62167219200000, { 0, 1, 1, 0, 0, 0, 0, 5 } },
        { WALL_MS_MAX, { 9999, 12, 31, 23, 59, 59, 999, 4 } },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct civil civil = civil_from_ms(rows[i].at_ms);
        assert_memory_equal(&civil, &rows[i].civil, sizeof(civil));
        assert_int_equal(civil_to_ms(rows[i].civil), rows[i].at_ms);
    }
}

static bool
is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void
every_day_follows_the_one_before(void **state)
{
    static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t at_ms = -62167219200000;
    int weekday = 5;
    for (int year = 0; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            const int days = month_days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
            for (int day = 1; day <= days; day++) {
                const struct civil want = { year, month, day, 0, 0, 0, 0, weekday };
                const struct civil have = civil_from_ms(at_ms);
                if (memcmp(&want, &have, sizeof(want)) != 0 || civil_to_ms(want) != at_ms) {
                    fail_msg("%04d-%02d-%02d", year, month, day);
                }
                at_ms += DAY_MS;
                weekday = (weekday + 1) % 7;
            }
        }
    }
    assert_int_equal(at_ms, WALL_MS_MAX + 1);
}

static void
instants_out_of_range_stop_at_its_ends(void **state)
{
    assert_int_equal(civil_from_ms(INT64_MAX).year, 9999);
    assert_int_equal(civil_from_ms(INT64_MIN).year, 0);
    assert_int_equal(civil_from_ms(INT64_MIN).ms, 0);
}

static void
fields_carry_over(void **state)
{
    static const struct {
        struct civil civil, same;
    } rows[] = {
        { { 2026, 13, 1, 0, 0, 0, 0, 0 }, { 2027, 1, 1, 0, 0, 0, 0, 0 } },
        { { 2026, 0, 1, 0, 0, 0, 0, 0 }, { 2025, 12, 1, 0, 0, 0, 0, 0 } },
        { { 2026, -11, 1, 0, 0, 0, 0, 0 }, { 2025, 1, 1, 0, 0, 0, 0, 0 } },
        { { 2024, 3, 0, 0, 0, 0, 0, 0 }, { 2024, 2, 29, 0, 0, 0, 0, 0 } },
        { { 2026, 12, 32, 0, 0, 0, 0, 0 }, { 2027, 1, 1, 0, 0, 0, 0, 0 } },
        { { 2026, 1, 1, -1, 0, 0, 0, 0 }, { 2025, 12, 31, 23, 0, 0, 0, 0 } },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(civil_to_ms(rows[i].civil), civil_to_ms(rows[i].same));
    }
    /* Whatever the fields, the sum does not overflow. */
    const int most = INT32_MAX;
    (void)civil_to_ms((struct civil){ most, most, most, most, most, most, most, 0 });
    (void)civil_to_ms((struct civil){ -most, -most, -most, -most, -most, -most, -most, 0 });
}

static void
writes_rfc3339(void **state)
{
    static const struct {
        int64_t at_ms;
        bool with_ms;
        const char *text;
    } rows[] = {
        { 0, false, "1970-01-01T00:00:00Z" },
        { 0, true, "1970-01-01T00:00:00Z" },
        { 7, true, "1970-01-01T00:00:00.007Z" },
        { 7, false, "1970-01-01T00:00:00Z" },
        { 1795269787123, true, "2026-11-21T14:03:07.123Z" },
        { -62167219200000, false, "0000-01-01T00:00:00Z" },
        { WALL_MS_MAX, true, "9999-12-31T23:59:59.999Z" },
        { INT64_MAX, true, "9999-12-31T23:59:59.999Z" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[32];
        civil_rfc3339(rows[i].at_ms, rows[i].with_ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void
reads_rfc3339(void **state)
{
    static const struct {
        const char *text;
        int64_t at_ms;
    } rows[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01t00:00:00z", 0 },
        { "2026-11-21 14:03:07+00:00", 1795269787000 },
        { "2026-11-21T14:03:07Z", 1795269787000 },
        { "2026-11-21T14:03:07-00:00", 1795269787000 },
        { "2026-11-21T16:03:07+02:00", 1795269787000 },
        { "2026-11-21T08:33:07-05:30", 1795269787000 },
        { "2026-11-22T13:03:07+23:00", 1795269787000 },
        /* fractions of any length, cut and not rounded */
        { "2026-11-21T14:03:07.1Z", 1795269787100 },
        { "2026-11-21T14:03:07.123Z", 1795269787123 },
        { "2026-11-21T14:03:07.123999Z", 1795269787123 },
        { "2026-11-21T14:03:07.000001+00:00", 1795269787000 },
        { "2026-11-21T14:03:07.999999999Z", 1795269787999 },
        { "2024-02-29T00:00:00Z", 1709164800000 },
        { "2000-02-29T00:00:00Z", 951782400000 },
        /* a leap second ends a UTC day and nothing else */
        { "2016-12-31T23:59:60Z", 1483228800000 },
        { "2016-12-31T23:59:60.5Z", 1483228800500 },
        { "2017-01-01T05:29:60+05:30", 1483228800000 },
        { "0000-01-01T00:00:00Z", -62167219200000 },
        { "9999-12-31T23:59:59.999Z", WALL_MS_MAX },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = UNTOUCHED;
        assert_true(civil_parse_rfc3339(slice_str(rows[i].text), &at_ms));
        assert_int_equal(at_ms, rows[i].at_ms);
    }
}

static void
refuses_other_rfc3339(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("now"),
        SLICE("1795269787"),
        SLICE("2026-11-21"),
        SLICE("2026-11-21T14:03:07"),
        SLICE("2026-11-21T14:03Z"),
        SLICE("2026-11-21T14:03:07.Z"),
        SLICE("2026-11-21T14:03:07,5Z"),
        SLICE("2026-11-21T14:03:07 Z"),
        SLICE("2026-11-21T14:03:07Zx"),
        SLICE("2026-11-21T14:03:07Z\0"),
        SLICE(" 2026-11-21T14:03:07Z"),
        SLICE("2026-11-21_14:03:07Z"),
        SLICE("2026-11-21T14:03:07+02"),
        SLICE("2026-11-21T14:03:07+0200"),
        SLICE("2026-11-21T14:03:07+24:00"),
        SLICE("2026-11-21T14:03:07+02:60"),
        SLICE("2026-1-21T14:03:07Z"),
        SLICE("26-11-21T14:03:07Z"),
        SLICE("-026-11-21T14:03:07Z"),
        SLICE("2026-00-21T14:03:07Z"),
        SLICE("2026-13-21T14:03:07Z"),
        SLICE("2026-11-00T14:03:07Z"),
        SLICE("2026-11-31T14:03:07Z"),
        SLICE("2026-12-32T14:03:07Z"),
        SLICE("2026-02-29T14:03:07Z"),
        SLICE("2100-02-29T14:03:07Z"),
        SLICE("2024-02-30T14:03:07Z"),
        SLICE("2026-11-21T24:00:00Z"),
        SLICE("2026-11-21T14:60:00Z"),
        SLICE("2026-11-21T14:03:61Z"),
        SLICE("2026-11-21T14:03:60Z"),
        SLICE("2016-12-31T23:59:60+01:00"),
        SLICE("0000-01-01T00:00:00+00:01"),
        SLICE("9999-12-31T23:59:59-00:01"),
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = UNTOUCHED;
        assert_false(civil_parse_rfc3339(rows[i], &at_ms));
        assert_int_equal(at_ms, UNTOUCHED);
    }
}

static void
reads_http_dates(void **state)
{
    static const struct {
        const char *text;
        int64_t at_ms;
    } rows[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777000 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777000 },
        { "Sun Nov  6 08:49:37 1994", 784111777000 },
        { "Sun Nov 06 08:49:37 1994", 784111777000 },
        { "Wed Nov 16 08:49:37 1994", 784975777000 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Thursday, 01-Jan-70 00:00:00 GMT", 0 },
        { "Tuesday, 31-Dec-69 23:59:59 GMT", 3155759999000 }, /* 2069 */
        { "Thu, 29 Feb 2024 23:59:59 GMT", 1709251199000 },
        { "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800000 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = UNTOUCHED;
        assert_true(civil_parse_http_date(slice_str(rows[i].text), &at_ms));
        assert_int_equal(at_ms, rows[i].at_ms);
    }
}

static void
refuses_other_http_dates(void **state)
{
    static const struct slice rows[] = {
        SLICE(""),
        SLICE("120"),
        SLICE("Sun"),
        SLICE("Sunday"),
        SLICE("Sun,"),
        SLICE("06 Nov 1994 08:49:37 GMT"),
        SLICE("Xyz, 06 Nov 1994 08:49:37 GMT"),
        SLICE("Sun, 06 Nov 1994 08:49:37"),
        SLICE("Sun, 06 Nov 1994 08:49:37 UTC"),
        SLICE("Sun, 06 Nov 1994 08:49:37 gmt"),
        SLICE("Sun, 06 Nov 1994 08:49:37 GMT "),
        SLICE("Sun, 06 nov 1994 08:49:37 GMT"),
        SLICE("Sun, 6 Nov 1994 08:49:37 GMT"),
        SLICE("Sun, 06 Nov 94 08:49:37 GMT"),
        SLICE("Sunday, 06-Nov-1994 08:49:37 GMT"),
        SLICE("Sun, 06-Nov-94 08:49:37 GMT"),
        SLICE("Sunday, 06 Nov 1994 08:49:37 GMT"),
        SLICE("Sun, 31 Nov 1994 08:49:37 GMT"),
        SLICE("Sun, 29 Feb 2023 08:49:37 GMT"),
        SLICE("Sun, 06 Nov 1994 24:49:37 GMT"),
        SLICE("Sun, 06 Nov 1994 08:49:60 GMT"),
        SLICE("Sun Nov 6 08:49:37 1994"),
        SLICE("Sun Nov  6 08:49:37 1994 GMT"),
        SLICE("Sun Nov   6 08:49:37 1994"),
        SLICE("Sunday Nov  6 08:49:37 1994"),
        SLICE("Sun, 06 Nov 1994 08:49:37 GMT\0"),
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = UNTOUCHED;
        assert_false(civil_parse_http_date(rows[i], &at_ms));
        assert_int_equal(at_ms, UNTOUCHED);
    }
}

static void
spans_are_told_whole(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = { { 0, "0 s" }, { 1, "1 ms" }, { 1500, "1500 ms" }, { 60 * SECOND_MS, "1 min" }, { 90 * SECOND_MS, "90 s" },
        { 90 * MINUTE_MS, "90 min" }, { 20 * HOUR_MS, "20 h" }, { 7 * DAY_MS, "7 d" }, { DAY_MS + 1, "86400001 ms" } };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[32];
        civil_span(rows[i].ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("known instants have their civil dates", known_instants),
    CASE(
        "every day of ten thousand years follows the one before", every_day_follows_the_one_before),
    CASE("instants out of range stop at its ends", instants_out_of_range_stop_at_its_ends),
    CASE("fields out of range carry over", fields_carry_over),
    CASE("RFC 3339 is written with or without milliseconds", writes_rfc3339),
    CASE("RFC 3339 is read with zones, fractions and leap seconds", reads_rfc3339),
    CASE("what is not RFC 3339 is refused", refuses_other_rfc3339),
    CASE("HTTP dates are read in their three forms", reads_http_dates),
    CASE("what is no HTTP date is refused", refuses_other_http_dates),
    CASE("spans of time are told whole", spans_are_told_whole),
};
UNIT_MAIN(tests)
