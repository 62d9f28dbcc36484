/* conf/zones_priv.h: the system's time zone files (TZif, RFC 8536) as tables. */
#pragma once

#include "base/arena.h"
#include "policy/zone.h"

#define ZONE_LAST_YEAR 2100 /* rules without an end are written out to here */

/* The zone that a file's bytes describe; NULL when they are no such file, or when memory ran out. Only the
 * 64-bit part is read; the rule at its end is written out to ZONE_LAST_YEAR. */
struct zone *tzif_read(struct slice file, const char *name, struct arena *arena);

/* The rule at the end of a file, such as "EST5EDT,M3.2.0,M11.1.0". */
struct tz_day {
    enum { TZ_JULIAN, TZ_JULIAN_ZERO, TZ_MONTH_WEEK } kind; /* Jn without 29 February, n with it, Mm.w.d */
    int month, week, day; /* day alone for the first two */
    int64_t second;       /* of the day, may be negative or beyond it */
};
struct tz_rule {
    int32_t standard_s, summer_s; /* offsets from UTC */
    bool summer;
    struct tz_day start, end;     /* of summer time, each in the clock before it */
};
MUST_USE bool tz_rule_parse(struct slice text, struct tz_rule *rule);
/* The UTC instants of a year at which summer time starts and ends. */
void tz_rule_year(const struct tz_rule *rule, int year, int64_t *start_ms, int64_t *end_ms);
