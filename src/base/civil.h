/* base/civil.h: civil date and time of a UTC instant and back, and dates as text. Pure arithmetic
 * on the years 0 to 9999; it reads no clock and knows no time zone. */
#pragma once

#include "base/slice.h"
#include "base/units.h"

struct civil {
    int year, month, day; /* month 1-12, day 1-31 */
    int hour, minute, second, ms;
    int weekday; /* 0 = Monday; not looked at on the way back */
};

/* An instant before year 0 or after 9999 is read as the first or last millisecond of that range. */
struct civil civil_from_ms(int64_t at_ms);
/* Fields may pass their range and then carry over: month 13 is next January, day 0 the last day of
 * the month before. */
int64_t civil_to_ms(struct civil civil);

/* "2026-11-21T14:03:07Z" into out[32] (with ".123" when ms is not 0 and `with_ms`). */
void civil_rfc3339(int64_t at_ms, bool with_ms, char out[32]);
/* RFC 3339 with Z or +hh:mm and optional fraction, which is cut to milliseconds; 'T' may be 't' or
 * a space. A leap second is read as the instant after it. False leaves *at_ms alone. */
MUST_USE bool civil_parse_rfc3339(struct slice text, int64_t *at_ms);
/* The three forms of RFC 9110, section 5.6.7. Two-digit years are 1970 to 2069. */
MUST_USE bool civil_parse_http_date(struct slice text, int64_t *at_ms);
/* "90 min": a span of time in the largest unit that tells it whole; >= 0. */
void civil_span(int64_t ms, char out[32]);
