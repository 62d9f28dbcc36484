/* tests/sim/calendar.h: the auditor's own calendar: nothing here is shared with policy/zone.c or conf/. Zones are
 * the rules that governments publish, written down by hand; windows are found by asking for the first instant
 * whose local date is the wanted one. */
#pragma once

#include <stdint.h>

#include "tbl/counts.h"

struct calendar_zone {
    const char *name;        /* as in the system's zone files; NULL = UTC */
    int32_t standard_s, summer_s;
    /* Local wall clock of the change: month, which Sunday (1..4, -1 = last), hour in the clock before it, or in
     * UTC. month 0: no summer time. */
    struct calendar_change {
        int month, sunday;
        int32_t second;
        int utc;
    } starts, ends;
};

#define CALENDAR_ZONES 7
extern const struct calendar_zone calendar_zones[CALENDAR_ZONES];

struct calendar_span {
    int64_t start_ms, end_ms;
};
/* Of a day, week or month; 0, 0 for a window that has no calendar. */
struct calendar_span calendar_window(int zone, enum window_kind window, int64_t at_ms);
/* "2027-03-28T01:59:59.999Z" into out[32]. */
void calendar_text(int64_t at_ms, char out[32]);
