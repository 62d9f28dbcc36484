/* tests/unit/conf/zones_test.c
 *
 * Goal: the table made of a zone file says what the system's own library says, to the year 2100; a file that
 * makes no sense is refused.
 * Method: every third day of 130 years against localtime_r, and both sides of every change. */
#include "conf/zones_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/civil.h"
#include "conf/conf_priv.h"
#include "unit.h"

static bool
zone_file(const char *name, struct buf *out)
{
    char path[128];
    const char *why = NULL;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    buf_clear(out);
    return file_read(path, 1 << 20, out, &why) == STATUS_OK;
}

static void
assert_same_offset(const struct zone *zone, int64_t at_s)
{
    const time_t at = (time_t)at_s;
    struct tm local;
    assert_non_null(localtime_r(&at, &local));
    const int32_t offset_s = zone_offset_s(zone, at_s * 1000);
    if (offset_s != (int32_t)local.tm_gmtoff) {
        fail_msg("%s at %lld: %d, the library says %ld", zone->name, (long long)at_s, offset_s, local.tm_gmtoff);
    }
}

static void
tables_agree_with_the_library(void **state)
{
    static const char *const names[] = { "America/New_York", "America/St_Johns", "America/Sao_Paulo",
        "America/Santiago", "America/Nuuk", "America/Caracas", "Europe/Berlin", "Europe/Dublin", "Europe/Moscow",
        "Europe/Lisbon", "Africa/Cairo", "Africa/Casablanca", "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza",
        "Asia/Jerusalem", "Asia/Kathmandu", "Asia/Tehran", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Apia",
        "Pacific/Chatham", "Pacific/Norfolk", "Etc/GMT+5", "EST5EDT" };
    struct buf file = { 0 };
    int checked = 0;
    for (size_t i = 0; i < countof(names); i++) {
        if (!zone_file(names[i], &file)) {
            continue; /* not every system has every zone */
        }
        struct arena arena = { 0 };
        const struct zone *zone = tzif_read(buf_slice(&file), names[i], &arena);
        assert_non_null(zone);
        (void)setenv("TZ", names[i], 1);
        tzset();
        for (int64_t at_s = 0; at_s < INT64_C(4102444800); at_s += 3 * 86400 + 3571) {
            assert_same_offset(zone, at_s);
        }
        for (int32_t s = 1; s < zone->span_count; s++) {
            assert_true(zone->spans[s].from_ms > zone->spans[s - 1].from_ms);
            assert_same_offset(zone, zone->spans[s].from_ms / 1000);
            assert_same_offset(zone, zone->spans[s].from_ms / 1000 - 1);
        }
        arena_free(&arena);
        checked++;
    }
    buf_free(&file);
    (void)unsetenv("TZ");
    if (checked == 0) {
        skip(); /* no zone files on this machine */
    }
}

static void
days_without_midnight(void **state)
{
    static const struct {
        const char *zone, *when, *start, *end;
    } rows[] = {
        { "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z" },
        { "Asia/Beirut", "2022-03-27T12:00:00Z", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z" },
        { "Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z" },
        { "America/New_York", "2098-03-09T12:00:00Z", "2098-03-09T05:00:00Z", "2098-03-10T04:00:00Z" },
    };
    struct buf file = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = 0;
        char text[32];
        struct arena arena = { 0 };
        if (!zone_file(rows[i].zone, &file)) {
            continue;
        }
        const struct zone *zone = tzif_read(buf_slice(&file), rows[i].zone, &arena);
        assert_non_null(zone);
        assert_true(civil_parse_rfc3339(slice_str(rows[i].when), &at_ms));
        const struct window window = zone_window(zone, CALENDAR_DAY, at_ms);
        civil_rfc3339(window.start_ms, true, text);
        assert_string_equal(text, rows[i].start);
        civil_rfc3339(window.end_ms, true, text);
        assert_string_equal(text, rows[i].end);
        arena_free(&arena);
    }
    buf_free(&file);
}

static void
rules_are_parsed(void **state)
{
    static const struct {
        const char *text;
        int year;
        int32_t standard_s, summer_s;
        const char *start, *end; /* NULL = no summer time */
    } rows[] = {
        { "UTC0", 2030, 0, 0, NULL, NULL },
        { "<+0545>-5:45", 2030, 20700, 0, NULL, NULL },
        { "EST5EDT,M3.2.0,M11.1.0", 2030, -18000, -14400, "2030-03-10T07:00:00Z", "2030-11-03T06:00:00Z" },
        { "CET-1CEST,M3.5.0,M10.5.0/3", 2030, 3600, 7200, "2030-03-31T01:00:00Z", "2030-10-27T01:00:00Z" },
        { "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2030, 37800, 39600, "2030-10-05T15:30:00Z", "2030-04-06T15:00:00Z" },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2030, -7200, -3600, "2030-03-31T01:00:00Z", "2030-10-27T01:00:00Z" },
        { "EET-2EEST,M3.4.4/50,M10.4.4/50", 2030, 7200, 10800, "2030-03-30T00:00:00Z", "2030-10-25T23:00:00Z" },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", 2030, 3600, 0, "2030-10-27T01:00:00Z", "2030-03-31T01:00:00Z" },
        { "AAA3BBB,J60/0,J365/23", 2028, -10800, -7200, "2028-03-01T03:00:00Z", "2029-01-01T01:00:00Z" },
        { "AAA3BBB,59/0,365", 2028, -10800, -7200, "2028-02-29T03:00:00Z", "2028-12-31T04:00:00Z" },
        { "EST5EDT4:30:15,M3.2.0/2:00:01,M11.1.0", 2030, -18000, -16215, "2030-03-10T07:00:01Z", "2030-11-03T06:30:15Z" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tz_rule rule;
        if (!tz_rule_parse(slice_str(rows[i].text), &rule)) {
            fail_msg("'%s' is refused", rows[i].text);
        }
        assert_int_equal(rule.standard_s, rows[i].standard_s);
        assert_int_equal(rule.summer_s, rows[i].summer_s);
        assert_int_equal(rule.summer, rows[i].start != NULL);
        if (rows[i].start) {
            int64_t start_ms = 0;
            int64_t end_ms = 0;
            char text[32];
            tz_rule_year(&rule, rows[i].year, &start_ms, &end_ms);
            civil_rfc3339(start_ms, true, text);
            assert_string_equal(text, rows[i].start);
            civil_rfc3339(end_ms, true, text);
            assert_string_equal(text, rows[i].end);
        }
    }
    static const char *const wrong[] = { "", "U0", "UTC", "UTC+", "UTC25", "<+1x", "<ab>1", "EST5EDT", "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0", "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,M3.2.0,M11.1.0x",
        "EST5EDT,J0,J1", "EST5EDT,J366,J1", "EST5EDT,M3.2.0/168,M11.1.0", "EST5EDT,M3.2.0/1:60,M11.1.0", "EST5 EDT" };
    for (size_t i = 0; i < countof(wrong); i++) {
        struct tz_rule rule;
        if (tz_rule_parse(slice_str(wrong[i]), &rule)) {
            fail_msg("'%s' is taken", wrong[i]);
        }
    }
}

static void
damaged_files(void **state)
{
    struct buf file = { 0 };
    if (!zone_file("Australia/Lord_Howe", &file)) {
        skip();
    }
    uint64_t seed = 5;
    for (size_t len = 0; len <= file.len; len++) {
        char *text = malloc(len + 1);
        assert_non_null(text);
        for (int flips = 0; flips < 4; flips++) {
            struct arena arena = { 0 };
            memcpy(text, file.ptr, len);
            for (int i = 0; i < flips && len > 0; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                text[(seed >> 33) % len] = (char)(seed >> 20);
            }
            const struct zone *zone = tzif_read(slice_of(text, len), "x", &arena);
            if (zone) {
                assert_true(zone->span_count > 0);
                (void)zone_window(zone, CALENDAR_MONTH, INT64_C(1800000000000));
            }
            assert_true(flips > 0 || (zone != NULL) == (len == file.len));
            arena_free(&arena);
        }
        free(text);
    }
    buf_free(&file);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("zone tables agree with the system's library to 2100", tables_agree_with_the_library),
        CASE("days without a midnight begin at the jump, from the system's own files", days_without_midnight),
        CASE("zone rules are read in all their forms", rules_are_parsed),
        CASE("a damaged zone file is refused or a table", damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
