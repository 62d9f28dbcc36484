/* conf/tz_rule.c: POSIX time zone rules, with the extensions of RFC 8536: quoted names, hours up to 167
 * and below zero. */
#include "base/civil.h"
#include "conf/zones_priv.h"

/* 1 to 3 digits. */
static bool
take_digits(struct slice *text, int low, int high, int *value)
{
    int sum = 0;
    int count = 0;
    while (text->len > 0 && text->ptr[0] >= '0' && text->ptr[0] <= '9' && count < 3) {
        sum = sum * 10 + (text->ptr[0] - '0');
        *text = slice_of(text->ptr + 1, text->len - 1);
        count++;
    }
    *value = sum;
    return count > 0 && sum >= low && sum <= high;
}

/* "<+1030>" or letters. */
static bool
take_name(struct slice *text)
{
    const bool quoted = slice_take_char(text, '<');
    size_t len = 0;
    while (len < text->len) {
        const char c = text->ptr[len];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool more = quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-');
        if (!letter && !more) {
            break;
        }
        len++;
    }
    *text = slice_of(len > 0 ? text->ptr + len : text->ptr, text->len - len);
    return len >= 3 && (!quoted || slice_take_char(text, '>'));
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static bool
take_time(struct slice *text, int hours_max, int64_t *seconds)
{
    const bool negative = slice_take_char(text, '-');
    if (!negative) {
        (void)slice_take_char(text, '+');
    }
    int hours = 0;
    int minutes = 0;
    int rest = 0;
    if (!take_digits(text, 0, hours_max, &hours)) {
        return false;
    }
    if (slice_take_char(text, ':')) {
        if (!take_digits(text, 0, 59, &minutes)
            || (slice_take_char(text, ':') && !take_digits(text, 0, 59, &rest))) {
            return false;
        }
    }
    *seconds = (hours * 3600 + minutes * 60 + rest) * (negative ? -1 : 1);
    return true;
}

static bool
take_day(struct slice *text, struct tz_day *day)
{
    *day = (struct tz_day){ .second = 2 * 3600 };
    if (slice_take_char(text, 'M')) {
        day->kind = TZ_MONTH_WEEK;
        if (!take_digits(text, 1, 12, &day->month) || !slice_take_char(text, '.')
            || !take_digits(text, 1, 5, &day->week) || !slice_take_char(text, '.')
            || !take_digits(text, 0, 6, &day->day)) {
            return false;
        }
    } else {
        const bool julian = slice_take_char(text, 'J');
        day->kind = julian ? TZ_JULIAN : TZ_JULIAN_ZERO;
        if (!take_digits(text, julian ? 1 : 0, 365, &day->day)) {
            return false;
        }
    }
    return !slice_take_char(text, '/') || take_time(text, 167, &day->second);
}

bool
tz_rule_parse(struct slice text, struct tz_rule *rule)
{
    int64_t west_s = 0;
    *rule = (struct tz_rule){ 0 };
    if (!take_name(&text) || !take_time(&text, 24, &west_s)) {
        return false;
    }
    rule->standard_s = (int32_t)-west_s;
    if (text.len == 0) {
        return true;
    }
    rule->summer = true;
    west_s -= 3600;
    if (!take_name(&text)
        || (text.len > 0 && text.ptr[0] != ',' && !take_time(&text, 24, &west_s))) {
        return false;
    }
    rule->summer_s = (int32_t)-west_s;
    return slice_take_char(&text, ',') && take_day(&text, &rule->start)
           && slice_take_char(&text, ',') && take_day(&text, &rule->end) && text.len == 0;
}

/* Local midnight that begins the day, as if it were UTC. */
static int64_t
day_ms(const struct tz_day *day, int year)
{
    if (day->kind == TZ_JULIAN_ZERO) {
        return civil_to_ms((struct civil){ .year = year, .month = 1, .day = 1 + day->day });
    }
    if (day->kind == TZ_JULIAN) {
        const int64_t march_ms = civil_to_ms((struct civil){ .year = year, .month = 3, .day = 1 });
        const int64_t at_ms =
            civil_to_ms((struct civil){ .year = year, .month = 1, .day = day->day });
        const bool leap =
            march_ms - civil_to_ms((struct civil){ .year = year, .month = 2, .day = 28 })
            == 2 * DAY_MS;
        return at_ms + (leap && day->day >= 60 ? DAY_MS : 0);
    }
    /* Week 1 is the first with that weekday in the month, week 5 the last. */
    const int64_t first_ms =
        civil_to_ms((struct civil){ .year = year, .month = day->month, .day = 1 });
    const int64_t next_ms =
        civil_to_ms((struct civil){ .year = year, .month = day->month + 1, .day = 1 });
    const int first_weekday = (civil_from_ms(first_ms).weekday + 1) % 7; /* 0 = Sunday here */
    int64_t at_ms = first_ms + ((day->day - first_weekday + 7) % 7 + 7 * (day->week - 1)) * DAY_MS;
    while (at_ms >= next_ms) {
        at_ms -= 7 * DAY_MS;
    }
    return at_ms;
}

void
tz_rule_year(const struct tz_rule *rule, int year, int64_t *start_ms, int64_t *end_ms)
{
    *start_ms = day_ms(&rule->start, year) + (rule->start.second - rule->standard_s) * SECOND_MS;
    *end_ms = day_ms(&rule->end, year) + (rule->end.second - rule->summer_s) * SECOND_MS;
}
