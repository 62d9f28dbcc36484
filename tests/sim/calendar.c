/* tests/sim/calendar.c: see the header. */
#include "calendar.h"

#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000)
#define DAY    (86400 * SECOND)

const struct calendar_zone calendar_zones[CALENDAR_ZONES] = {
    { NULL, 0, 0, { 0, 0, 0, 0 }, { 0, 0, 0, 0 } },
    { "Europe/Berlin", 3600, 7200, { 3, -1, 3600, 1 }, { 10, -1, 3600, 1 } },
    { "Australia/Lord_Howe", 37800, 39600, { 10, 1, 7200, 0 }, { 4, 1, 7200, 0 } }, /* half an hour */
    { "America/Havana", -18000, -14400, { 3, 2, 0, 0 }, { 11, 1, 3600, 0 } }, /* a day without midnight */
    { "America/St_Johns", -12600, -9000, { 3, 2, 7200, 0 }, { 11, 1, 7200, 0 } },
    { "Asia/Kolkata", 19800, 19800, { 0, 0, 0, 0 }, { 0, 0, 0, 0 } },
    { "Asia/Beirut", 7200, 10800, { 3, -1, 0, 0 }, { 10, -1, 0, 0 } }, /* falls back over midnight */
};

/* Days since 1970 by counting years and months: slow, and plain to read. */
static int
is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
days_in(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return days[month - 1] + (month == 2 && is_leap(year));
}

static int64_t
day_number(int year, int month, int day)
{
    int64_t number = 0;
    for (int y = 1970; y < year; y++) {
        number += 365 + is_leap(y);
    }
    for (int m = 1; m < month; m++) {
        number += days_in(year, m);
    }
    return number + day - 1;
}

static void
date_of(int64_t number, int *year, int *month, int *day)
{
    *year = 1970;
    while (number >= 365 + is_leap(*year)) {
        number -= 365 + is_leap(*year);
        ++*year;
    }
    *month = 1;
    while (number >= days_in(*year, *month)) {
        number -= days_in(*year, *month);
        ++*month;
    }
    *day = (int)number + 1;
}

static int64_t
floor_day(int64_t at_ms)
{
    return at_ms >= 0 ? at_ms / DAY : -((-at_ms + DAY - 1) / DAY);
}

/* 1 January 1970 was a Thursday; 0 = Sunday. */
static int
weekday(int64_t number)
{
    return (int)((number + 4) % 7);
}

static int64_t
sunday_of(int year, const struct calendar_change *change)
{
    int64_t day = day_number(year, change->month, 1);
    if (change->sunday < 0) {
        day += days_in(year, change->month) - 1;
        return day - weekday(day);
    }
    return day + (7 - weekday(day)) % 7 + 7 * (change->sunday - 1);
}

static int64_t
change_ms(int year, const struct calendar_change *change, int32_t offset_before_s)
{
    const int64_t local_ms = sunday_of(year, change) * DAY + change->second * SECOND;
    return change->utc ? local_ms : local_ms - offset_before_s * SECOND;
}

static int32_t
offset_s(const struct calendar_zone *zone, int64_t at_ms)
{
    if (zone->starts.month == 0) {
        return zone->standard_s;
    }
    int year, month, day;
    date_of(floor_day(at_ms + zone->standard_s * SECOND), &year, &month, &day);
    const int64_t starts_ms = change_ms(year, &zone->starts, zone->standard_s);
    const int64_t ends_ms = change_ms(year, &zone->ends, zone->summer_s);
    const int summer = starts_ms < ends_ms ? at_ms >= starts_ms && at_ms < ends_ms
                                           : at_ms >= starts_ms || at_ms < ends_ms;
    return summer ? zone->summer_s : zone->standard_s;
}

/* The first instant that is not before local midnight of that day: of both offsets the earlier one that shows
 * it, or the jump where the clock skips it. */
static int64_t
day_start_ms(const struct calendar_zone *zone, int64_t number)
{
    const int64_t local_ms = number * DAY;
    const int64_t early_ms = local_ms - (zone->standard_s > zone->summer_s ? zone->standard_s : zone->summer_s) * SECOND;
    const int64_t late_ms = local_ms - (zone->standard_s < zone->summer_s ? zone->standard_s : zone->summer_s) * SECOND;
    if (early_ms + offset_s(zone, early_ms) * SECOND == local_ms) {
        return early_ms;
    }
    /* Summer time has not begun at the early instant: either midnight is shown an hour later, or it is skipped
     * and the day begins at the jump, which lies between the two. */
    int64_t low_ms = early_ms, high_ms = late_ms;
    while (low_ms < high_ms) {
        const int64_t middle_ms = low_ms + (high_ms - low_ms) / 2;
        if (middle_ms + offset_s(zone, middle_ms) * SECOND >= local_ms) {
            high_ms = middle_ms;
        } else {
            low_ms = middle_ms + 1;
        }
    }
    return low_ms;
}

static struct calendar_span
find_window(int zone_index, enum window_kind window, int64_t at_ms)
{
    const struct calendar_zone *zone = &calendar_zones[zone_index];
    int64_t number = floor_day(at_ms + offset_s(zone, at_ms) * SECOND);
    if (at_ms < day_start_ms(zone, number)) {
        number--; /* the clock fell back over midnight: the day before goes on */
    } else if (at_ms >= day_start_ms(zone, number + 1)) {
        number++;
    }
    int year, month, day;
    date_of(number, &year, &month, &day);
    int64_t first = number, next = number + 1;
    if (window == WINDOW_WEEK) {
        first = number - (weekday(number) + 6) % 7;
        next = first + 7;
    } else if (window == WINDOW_MONTH) {
        first = number - (day - 1);
        next = first + days_in(year, month);
    }
    return (struct calendar_span){ day_start_ms(zone, first), day_start_ms(zone, next) };
}

struct calendar_span
calendar_window(int zone, enum window_kind window, int64_t at_ms)
{
    static struct {
        struct calendar_span span;
    } known[CALENDAR_ZONES][WINDOW_KIND_COUNT]; /* the last one: most questions are about today */
    if (window != WINDOW_DAY && window != WINDOW_WEEK && window != WINDOW_MONTH) {
        return (struct calendar_span){ 0, 0 };
    }
    struct calendar_span *span = &known[zone][window].span;
    if (at_ms < span->start_ms || at_ms >= span->end_ms) {
        *span = find_window(zone, window, at_ms);
    }
    return *span;
}

void
calendar_text(int64_t at_ms, char out[32])
{
    int year, month, day;
    const int64_t number = floor_day(at_ms);
    const int64_t rest_ms = at_ms - number * DAY;
    date_of(number, &year, &month, &day);
    snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year % 10000, month % 100, day % 100,
        (int)(rest_ms / 3600000 % 24), (int)(rest_ms / 60000 % 60), (int)(rest_ms / 1000 % 60), (int)(rest_ms % 1000));
}
