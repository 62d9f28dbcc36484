/* policy/zone.h: time zones as tables: pure arithmetic on transitions that conf/ read from the system's
 * zone files. Calendar windows are half-open, [start, end), in the zone's wall clock. */
#pragma once

#include "base/units.h"

struct zone_span {
    int64_t from_ms;     /* UTC instant at which this offset begins */
    int32_t offset_s;    /* local = UTC + offset */
};
struct zone {
    const char *name;
    int32_t span_count;
    struct zone_span *spans; /* ascending; the first holds since ever; the last holds on forever */
};

enum calendar { CALENDAR_DAY, CALENDAR_WEEK, CALENDAR_MONTH };

struct window {
    int64_t start_ms, end_ms;
};

/* Offset in force at a UTC instant. zone NULL = UTC. */
int32_t zone_offset_s(const struct zone *zone, int64_t at_ms);
/* The UTC instant at which the local wall clock first shows this time or, where it is skipped, the
 * instant of the jump. */
int64_t zone_local_to_ms(const struct zone *zone, int64_t local_ms);
/* The calendar window that holds `at_ms`: days from local midnight (or from the first instant of a day
 * that has none), weeks from Monday, months from the first. */
struct window zone_window(const struct zone *zone, enum calendar calendar, int64_t at_ms);
