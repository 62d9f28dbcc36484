/* base/civil.c: the proleptic Gregorian calendar, and dates as text.
 *
 * Years are counted from the first of March, so that the leap day is the last day of its year and
 * the months before it always start at the same day of the year. */
#include "base/civil.h"

#include <stdio.h>

#define CIVIL_MS_MIN       INT64_C(-62167219200000) /* 0000-01-01T00:00:00Z */
#define DAYS_PER_400_YEARS INT64_C(146097)
#define DAYS_TO_1970       INT64_C(719468) /* from the first of March of year 0 */

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* Days before the month with this number (0 = March) in such a year: 31, 61, 92, 122, 153, ... */
static int64_t
days_before_month(int64_t month_from_march)
{
    return (153 * month_from_march + 2) / 5;
}

static int64_t
days_before_year(int64_t year)
{
    return 365 * year + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400);
}

/* Days from 1970-01-01 to the first of a month (1-12) of a year. */
static int64_t
days_to_month(int64_t year, int64_t month)
{
    const int64_t march_year = month > 2 ? year : year - 1;
    const int64_t month_from_march = month > 2 ? month - 3 : month + 9;
    return days_before_year(march_year) + days_before_month(month_from_march) - DAYS_TO_1970;
}

struct civil
civil_from_ms(int64_t at_ms)
{
    at_ms = min_i64(WALL_MS_MAX, max_i64(CIVIL_MS_MIN, at_ms));
    const int64_t days = floor_div(at_ms, DAY_MS);
    const int64_t day_ms = at_ms - days * DAY_MS;

    /* A guess by the mean length of a year is never more than one off. */
    const int64_t march_days = days + DAYS_TO_1970;
    int64_t year = floor_div(march_days * 400, DAYS_PER_400_YEARS);
    if (days_before_year(year) > march_days) {
        year--;
    } else if (days_before_year(year + 1) <= march_days) {
        year++;
    }
    const int64_t year_day = march_days - days_before_year(year);
    const int64_t month_from_march = (5 * year_day + 2) / 153;
    const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;

    return (struct civil){
        .year = (int)(month > 2 ? year : year + 1),
        .month = (int)month,
        .day = (int)(year_day - days_before_month(month_from_march) + 1),
        .hour = (int)(day_ms / HOUR_MS),
        .minute = (int)(day_ms / MINUTE_MS % 60),
        .second = (int)(day_ms / SECOND_MS % 60),
        .ms = (int)(day_ms % SECOND_MS),
        .weekday = (int)(days + 3 - floor_div(days + 3, 7) * 7), /* 1970 began on a Thursday */
    };
}

int64_t
civil_to_ms(struct civil civil)
{
    /* Held within a range in which no field can overflow the sum. */
    const int64_t months = (int64_t)civil.month - 1;
    const int64_t year = min_i64(100000, max_i64(-100000, civil.year + floor_div(months, 12)));
    const int64_t month = months - floor_div(months, 12) * 12 + 1;
    const int64_t days = days_to_month(year, month) + civil.day - 1;
    return days * DAY_MS + civil.hour * HOUR_MS + civil.minute * MINUTE_MS
           + civil.second * SECOND_MS + civil.ms;
}

/* ---- dates as text ---- */

static char *
put_digits(char *out, int value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

void
civil_rfc3339(int64_t at_ms, bool with_ms, char out[32])
{
    const struct civil civil = civil_from_ms(at_ms);
    char *end = put_digits(out, civil.year, 4);
    *end++ = '-';
    end = put_digits(end, civil.month, 2);
    *end++ = '-';
    end = put_digits(end, civil.day, 2);
    *end++ = 'T';
    end = put_digits(end, civil.hour, 2);
    *end++ = ':';
    end = put_digits(end, civil.minute, 2);
    *end++ = ':';
    end = put_digits(end, civil.second, 2);
    if (with_ms && civil.ms != 0) {
        *end++ = '.';
        end = put_digits(end, civil.ms, 3);
    }
    *end++ = 'Z';
    *end = '\0';
}

/* Exactly `width` digits. */
static bool
take_number(struct slice *text, size_t width, int *value)
{
    if (text->len < width) {
        return false;
    }
    int sum = 0;
    for (size_t i = 0; i < width; i++) {
        const char c = text->ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        sum = sum * 10 + (c - '0');
    }
    *value = sum;
    *text = slice_of(text->ptr + width, text->len - width);
    return true;
}

/* Takes one of the names; its index, or -1. */
static int
take_name(struct slice *text, const char *const *names, int name_count)
{
    for (int i = 0; i < name_count; i++) {
        const struct slice name = slice_str(names[i]);
        if (slice_starts(*text, name)) {
            *text = slice_of(text->ptr + name.len, text->len - name.len);
            return i;
        }
    }
    return -1;
}

static bool
take_time_of_day(struct slice *text, struct civil *civil)
{
    return take_number(text, 2, &civil->hour) && slice_take_char(text, ':')
           && take_number(text, 2, &civil->minute) && slice_take_char(text, ':')
           && take_number(text, 2, &civil->second);
}

/* Judges the fields and gives the instant. A leap second, which can only be the last of a UTC day,
 * is read as the instant after it. `east_ms` is how far local time is ahead of UTC. */
static bool
civil_valid_ms(struct civil civil, int64_t east_ms, int64_t *at_ms)
{
    if (civil.month < 1 || civil.month > 12 || civil.hour > 23 || civil.minute > 59
        || civil.second > 60) {
        return false;
    }
    const int64_t month_days =
        days_to_month(civil.year + (civil.month == 12 ? 1 : 0), civil.month % 12 + 1)
        - days_to_month(civil.year, civil.month);
    if (civil.day < 1 || civil.day > month_days) {
        return false;
    }
    const int64_t utc_ms = civil_to_ms(civil) - east_ms;
    if (civil.second == 60 && floor_div(utc_ms, SECOND_MS) % (DAY_MS / SECOND_MS) != 0) {
        return false;
    }
    if (utc_ms < CIVIL_MS_MIN || utc_ms > WALL_MS_MAX) {
        return false;
    }
    *at_ms = utc_ms;
    return true;
}

/* ".123456" cut to milliseconds; nothing at all is no fraction. */
static bool
take_fraction(struct slice *text, int *ms)
{
    *ms = 0;
    if (!slice_take_char(text, '.')) {
        return true;
    }
    int digit = 0;
    int weight_ms = 100;
    if (!take_number(text, 1, &digit)) {
        return false;
    }
    do {
        *ms += digit * weight_ms;
        weight_ms /= 10;
    } while (take_number(text, 1, &digit));
    return true;
}

static bool
take_offset(struct slice *text, int64_t *east_ms)
{
    *east_ms = 0;
    if (slice_take_char(text, 'Z') || slice_take_char(text, 'z')) {
        return true;
    }
    const bool west = slice_take_char(text, '-');
    int hours = 0;
    int minutes = 0;
    if (!west && !slice_take_char(text, '+')) {
        return false;
    }
    if (!take_number(text, 2, &hours) || !slice_take_char(text, ':')
        || !take_number(text, 2, &minutes)) {
        return false;
    }
    *east_ms = (hours * HOUR_MS + minutes * MINUTE_MS) * (west ? -1 : 1);
    return hours <= 23 && minutes <= 59;
}

bool
civil_parse_rfc3339(struct slice text, int64_t *at_ms)
{
    struct civil civil = { 0 };
    int64_t east_ms = 0;
    const bool date_ok = take_number(&text, 4, &civil.year) && slice_take_char(&text, '-')
                         && take_number(&text, 2, &civil.month) && slice_take_char(&text, '-')
                         && take_number(&text, 2, &civil.day);
    if (!date_ok
        || !(slice_take_char(&text, 'T') || slice_take_char(&text, 't')
             || slice_take_char(&text, ' '))) {
        return false;
    }
    if (!take_time_of_day(&text, &civil) || !take_fraction(&text, &civil.ms)
        || !take_offset(&text, &east_ms)) {
        return false;
    }
    return text.len == 0 && civil_valid_ms(civil, east_ms, at_ms);
}

static const char *const month_names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
    "Sep", "Oct", "Nov", "Dec" };
static const char *const day_names[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
static const char *const long_day_names[] = { "Monday", "Tuesday", "Wednesday", "Thursday",
    "Friday", "Saturday", "Sunday" };

static bool
take_month(struct slice *text, struct civil *civil)
{
    civil->month = take_name(text, month_names, (int)countof(month_names)) + 1;
    return civil->month > 0;
}

/* "06 Nov 1994 08:49:37 GMT" and "06-Nov-94 08:49:37 GMT", what follows the name of the day. */
static bool
take_http_date(struct slice *text, char separator, size_t year_width, struct civil *civil)
{
    if (!take_number(text, 2, &civil->day) || !slice_take_char(text, separator)
        || !take_month(text, civil) || !slice_take_char(text, separator)
        || !take_number(text, year_width, &civil->year)) {
        return false;
    }
    if (year_width == 2) {
        civil->year += civil->year >= 70 ? 1900 : 2000;
    }
    const struct slice zone = SLICE(" GMT");
    if (!slice_take_char(text, ' ') || !take_time_of_day(text, civil) || !slice_eq(*text, zone)) {
        return false;
    }
    *text = slice_of(text->ptr + zone.len, 0);
    return true;
}

/* "Nov  6 08:49:37 1994". */
static bool
take_asctime(struct slice *text, struct civil *civil)
{
    if (!take_month(text, civil) || !slice_take_char(text, ' ')) {
        return false;
    }
    const size_t day_width = slice_take_char(text, ' ') ? 1 : 2;
    return take_number(text, day_width, &civil->day) && slice_take_char(text, ' ')
           && take_time_of_day(text, civil) && slice_take_char(text, ' ')
           && take_number(text, 4, &civil->year);
}

bool
civil_parse_http_date(struct slice text, int64_t *at_ms)
{
    /* The name of the day must be one, but is not held against the date. */
    struct civil civil = { 0 };
    bool ok = false;
    if (take_name(&text, long_day_names, (int)countof(long_day_names)) >= 0) {
        ok = slice_take_char(&text, ',') && slice_take_char(&text, ' ')
             && take_http_date(&text, '-', 2, &civil);
    } else if (take_name(&text, day_names, (int)countof(day_names)) < 0) {
        return false;
    } else if (slice_take_char(&text, ',')) {
        ok = slice_take_char(&text, ' ') && take_http_date(&text, ' ', 4, &civil);
    } else {
        ok = slice_take_char(&text, ' ') && take_asctime(&text, &civil);
    }
    return ok && text.len == 0 && civil_valid_ms(civil, 0, at_ms);
}

void
civil_span(int64_t ms, char out[32])
{
    static const struct {
        int64_t ms;
        const char *word;
    } units[] = { { DAY_MS, "d" }, { HOUR_MS, "h" }, { MINUTE_MS, "min" }, { SECOND_MS, "s" },
        { 1, "ms" } };
    size_t unit = 0;
    while (ms % units[unit].ms != 0 || (ms == 0 && units[unit].ms > SECOND_MS)) {
        unit++;
    }
    (void)snprintf(out, 32, "%lld %s", (long long)(ms / units[unit].ms), units[unit].word);
}
