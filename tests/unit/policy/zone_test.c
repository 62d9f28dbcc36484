/* tests/unit/policy/zone_test.c
 *
 * Goal: calendar windows are half-open, never overlap, never leave a gap, and follow the zone's clock
 * also on the days on which it jumps.
 * Method: each row is an instant and the window that holds it; the zones are hand-made tables. */
#include "policy/zone.h"

#include "base/civil.h"
#include "unit.h"

#define ZONE(zone_name, ...)                                                                       \
    {                                                                                              \
        .name = (zone_name),                                                                       \
        .span_count = (int32_t)countof(((struct zone_span[]){ __VA_ARGS__ })),                     \
        .spans = (struct zone_span[]) { __VA_ARGS__ }                                              \
    }

static const struct zone new_york = ZONE("America/New_York", { INT64_MIN, -18000 },
    { 1772953200000, -14400 }, { 1793512800000, -18000 });
static const struct zone lord_howe = ZONE("Australia/Lord_Howe", { INT64_MIN, 39600 },
    { 1775314800000, 37800 }, { 1791041400000, 39600 }); /* steps of half an hour */
static const struct zone sao_paulo = ZONE("America/Sao_Paulo", { INT64_MIN, -7200 },
    { 1518919200000, -10800 }, { 1541300400000, -7200 }); /* 4 November 2018 has no midnight */
static const struct zone beirut = ZONE("Asia/Beirut", { INT64_MIN, 7200 }, { 1648332000000, 10800 },
    { 1667077200000, 7200 }); /* nor has 27 March 2022 */
static const struct zone apia = ZONE("Pacific/Apia", { INT64_MIN, -36000 },
    { 1325239200000, 50400 }); /* 30 December 2011 does not exist */
static const struct zone st_johns = ZONE("America/St_Johns", { INT64_MIN, -12600 },
    { 1268539200000, -9000 }, { 1289097060000, -12600 }); /* set back at 00:01 to 23:01 */

static int64_t
at(const char *text)
{
    int64_t at_ms = 0;
    assert_true(civil_parse_rfc3339(slice_str(text), &at_ms));
    return at_ms;
}

static void
assert_window(const struct zone *zone, enum calendar calendar, const char *when, const char *start,
    const char *end)
{
    const struct window window = zone_window(zone, calendar, at(when));
    char text[32];
    civil_rfc3339(window.start_ms, true, text);
    assert_string_equal(text, start);
    civil_rfc3339(window.end_ms, true, text);
    assert_string_equal(text, end);
}

#define UTC_CASE(function, calendar, when, start, end)                                             \
    static void function(void **state)                                                             \
    {                                                                                              \
        assert_window(NULL, calendar, when, start, end);                                           \
    }

UTC_CASE(mid_day, CALENDAR_DAY, "2025-06-15T14:30:00Z", "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z")
UTC_CASE(midnight, CALENDAR_DAY, "2025-06-15T00:00:00Z", "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z")
UTC_CASE(last_second, CALENDAR_DAY, "2025-06-15T23:59:59.999Z", "2025-06-15T00:00:00Z",
    "2025-06-16T00:00:00Z")
UTC_CASE(wednesday, CALENDAR_WEEK, "2025-06-11T12:00:00Z", "2025-06-09T00:00:00Z",
    "2025-06-16T00:00:00Z")
UTC_CASE(monday, CALENDAR_WEEK, "2025-06-09T00:00:00Z", "2025-06-09T00:00:00Z", "2025-06-16T00:00:00Z")
UTC_CASE(sunday, CALENDAR_WEEK, "2025-06-15T23:00:00Z", "2025-06-09T00:00:00Z", "2025-06-16T00:00:00Z")
UTC_CASE(new_year, CALENDAR_WEEK, "2024-12-31T10:00:00Z", "2024-12-30T00:00:00Z",
    "2025-01-06T00:00:00Z")
UTC_CASE(mid_month, CALENDAR_MONTH, "2025-06-15T10:00:00Z", "2025-06-01T00:00:00Z",
    "2025-07-01T00:00:00Z")
UTC_CASE(first_of_month, CALENDAR_MONTH, "2025-06-01T00:00:00Z", "2025-06-01T00:00:00Z",
    "2025-07-01T00:00:00Z")
UTC_CASE(end_of_month, CALENDAR_MONTH, "2025-06-30T23:59:59Z", "2025-06-01T00:00:00Z",
    "2025-07-01T00:00:00Z")
UTC_CASE(february, CALENDAR_MONTH, "2025-02-14T00:00:00Z", "2025-02-01T00:00:00Z",
    "2025-03-01T00:00:00Z")
UTC_CASE(leap_day, CALENDAR_MONTH, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z",
    "2024-03-01T00:00:00Z")
UTC_CASE(evening_in_new_york, CALENDAR_DAY, "2025-06-15T22:00:00-04:00", "2025-06-16T00:00:00Z",
    "2025-06-17T00:00:00Z")

static void
days_follow_the_wall_clock(void **state)
{
    static const struct {
        const struct zone *zone;
        enum calendar calendar;
        const char *when, *start, *end;
    } rows[] = {
        /* 23 and 25 hours */
        { &new_york, CALENDAR_DAY, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z" },
        { &new_york, CALENDAR_DAY, "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z" },
        { &new_york, CALENDAR_WEEK, "2026-03-09T03:59:59Z", "2026-03-02T05:00:00Z", "2026-03-09T04:00:00Z" },
        { &new_york, CALENDAR_MONTH, "2026-11-15T00:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z" },
        /* the evening before is another month there */
        { &new_york, CALENDAR_MONTH, "2026-04-01T03:59:59.999Z", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z" },
        { &new_york, CALENDAR_MONTH, "2026-04-01T04:00:00Z", "2026-04-01T04:00:00Z", "2026-05-01T04:00:00Z" },
        /* 24 and a half, 23 and a half hours */
        { &lord_howe, CALENDAR_DAY, "2026-04-04T20:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z" },
        { &lord_howe, CALENDAR_DAY, "2026-10-04T00:00:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z" },
        /* a day without midnight begins when the clock jumps to 01:00 */
        { &sao_paulo, CALENDAR_DAY, "2018-11-04T02:59:59.999Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z" },
        { &sao_paulo, CALENDAR_DAY, "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z" },
        { &beirut, CALENDAR_DAY, "2022-03-27T10:00:00Z", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z" },
        /* the hour before midnight comes twice, and belongs to the old day both times */
        { &sao_paulo, CALENDAR_DAY, "2018-02-18T02:30:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z" },
        { &beirut, CALENDAR_DAY, "2022-10-29T21:30:00Z", "2022-10-28T21:00:00Z", "2022-10-29T22:00:00Z" },
        /* set back over a midnight that has passed: the new day stays begun */
        { &st_johns, CALENDAR_DAY, "2010-11-07T02:30:30Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z" },
        { &st_johns, CALENDAR_DAY, "2010-11-07T02:45:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z" },
        { &st_johns, CALENDAR_DAY, "2010-11-07T02:29:59Z", "2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z" },
        /* a day that does not exist is nobody's */
        { &apia, CALENDAR_DAY, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z" },
        { &apia, CALENDAR_DAY, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z" },
        { &apia, CALENDAR_WEEK, "2011-12-31T00:00:00Z", "2011-12-26T10:00:00Z", "2012-01-01T10:00:00Z" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_window(rows[i].zone, rows[i].calendar, rows[i].when, rows[i].start, rows[i].end);
    }
}

static void
windows_tile_time(void **state)
{
    static const struct zone *const zones[] = { NULL, &new_york, &lord_howe, &sao_paulo, &beirut,
        &apia, &st_johns };
    static const char *const years[] = { "2010-01-01T00:00:00Z", "2011-01-01T00:00:00Z",
        "2018-01-01T00:00:00Z", "2022-01-01T00:00:00Z", "2026-01-01T00:00:00Z" };

    for (size_t z = 0; z < countof(zones); z++) {
        for (size_t y = 0; y < countof(years); y++) {
            for (int kind = CALENDAR_DAY; kind <= CALENDAR_MONTH; kind++) {
                const enum calendar calendar = (enum calendar)kind;
                struct window window = zone_window(zones[z], calendar, at(years[y]));
                const int64_t until_ms = at(years[y]) + 380 * DAY_MS;
                while (window.start_ms < until_ms) {
                    assert_true(window.start_ms < window.end_ms);
                    const struct window last = zone_window(zones[z], calendar, window.end_ms - 1);
                    assert_true(last.start_ms == window.start_ms && last.end_ms == window.end_ms);
                    const struct window next = zone_window(zones[z], calendar, window.end_ms);
                    assert_true(next.start_ms == window.end_ms);
                    window = next;
                }
            }
        }
    }
}

static void
offsets_begin_at_their_instant(void **state)
{
    assert_int_equal(zone_offset_s(NULL, 0), 0);
    assert_int_equal(zone_offset_s(&new_york, 0), -18000); /* the first holds since ever */
    assert_int_equal(zone_offset_s(&new_york, at("2026-03-08T06:59:59.999Z")), -18000);
    assert_int_equal(zone_offset_s(&new_york, at("2026-03-08T07:00:00Z")), -14400);
    assert_int_equal(zone_offset_s(&new_york, WALL_MS_MAX), -18000); /* the last forever */
}

static void
local_time_maps_to_its_first_instant(void **state)
{
    static const struct {
        const struct zone *zone;
        const char *local, *utc; /* local: as if it were UTC */
    } rows[] = {
        { NULL, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z" },
        { &new_york, "2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z" },
        { &new_york, "2026-03-08T02:30:00Z", "2026-03-08T07:00:00Z" }, /* skipped: the jump */
        { &new_york, "2026-11-01T01:30:00Z", "2026-11-01T05:30:00Z" }, /* twice: the first */
        { &apia, "2011-12-30T12:00:00Z", "2011-12-30T10:00:00Z" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(zone_local_to_ms(rows[i].zone, at(rows[i].local)), at(rows[i].utc));
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("SL-14 a day holds its middle", mid_day),
        CASE("SL-15 midnight starts the new day", midnight),
        CASE("SL-16 the last second is still the day", last_second),
        CASE("SL-17 a Wednesday belongs to its Monday's week", wednesday),
        CASE("SL-18 Monday 00:00 starts its own week", monday),
        CASE("SL-19 Sunday 23:00 belongs to the previous Monday's week", sunday),
        CASE("SL-20 a week reaches over New Year", new_year),
        CASE("SL-21 a month holds its middle", mid_month),
        CASE("SL-22 the first of a month starts it", first_of_month),
        CASE("SL-23 the last second of a month is still the month", end_of_month),
        CASE("SL-24 February ends after 28 days", february),
        CASE("SL-25 a leap-year February holds its 29th", leap_day),
        CASE("SL-26 22:00 in New York on 15 June is the UTC day 16 June", evening_in_new_york),
        CASE("FF-76 days, weeks and months follow a zone's wall clock", days_follow_the_wall_clock),
        CASE("windows neither overlap nor leave a gap", windows_tile_time),
        CASE("an offset begins at its instant", offsets_begin_at_their_instant),
        CASE("a local time maps to its first instant, or to the jump over it",
            local_time_maps_to_its_first_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
