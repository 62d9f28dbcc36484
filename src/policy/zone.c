/* policy/zone.c: wall clocks as tables.
 *
 * A day begins at the first instant at which the clock shows its midnight, or jumps over it. Where a
 * clock is set back over midnight that has passed already, the day that began stays begun: windows
 * never overlap and never leave a gap. */
#include "policy/zone.h"

#include "base/civil.h"

/* Index of the span in force at a UTC instant. */
static int32_t
span_at(const struct zone *zone, int64_t at_ms)
{
    check(zone->span_count > 0);
    int32_t low = 0; /* holds since ever, whatever its from_ms */
    int32_t high = zone->span_count;
    while (high - low > 1) {
        const int32_t middle = low + (high - low) / 2;
        if (zone->spans[middle].from_ms <= at_ms) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

int32_t
zone_offset_s(const struct zone *zone, int64_t at_ms)
{
    return zone ? zone->spans[span_at(zone, at_ms)].offset_s : 0;
}

int64_t
zone_local_to_ms(const struct zone *zone, int64_t local_ms)
{
    if (!zone) {
        return local_ms;
    }
    /* No offset reaches a day, so what lies two days before cannot show this time any more. */
    int32_t i = span_at(zone, local_ms - 2 * DAY_MS);
    while (i + 1 < zone->span_count
           && local_ms >= zone->spans[i + 1].from_ms + zone->spans[i].offset_s * SECOND_MS) {
        i++; /* the clock of this span stops before it shows that time */
    }
    const int64_t shown_ms = local_ms - zone->spans[i].offset_s * SECOND_MS;
    return i == 0 ? shown_ms : max_i64(shown_ms, zone->spans[i].from_ms);
}

/* The local date that begins the window `count` windows after the one of this date. */
static int64_t
window_start_local_ms(enum calendar calendar, struct civil date, int count)
{
    struct civil start = { .year = date.year, .month = date.month, .day = date.day };
    switch (calendar) {
    case CALENDAR_DAY: start.day += count; break;
    case CALENDAR_WEEK: start.day += 7 * count - date.weekday; break;
    case CALENDAR_MONTH:
        start.day = 1;
        start.month += count;
        break;
    }
    return civil_to_ms(start);
}

struct window
zone_window(const struct zone *zone, enum calendar calendar, int64_t at_ms)
{
    const struct civil date = civil_from_ms(at_ms + zone_offset_s(zone, at_ms) * SECOND_MS);
    struct window window = {
        .start_ms = zone_local_to_ms(zone, window_start_local_ms(calendar, date, 0)),
        .end_ms = zone_local_to_ms(zone, window_start_local_ms(calendar, date, 1)),
    };
    /* Set back over a midnight that has passed: the next window has begun already. */
    for (int count = 2; window.end_ms <= at_ms; count++) {
        window.start_ms = window.end_ms;
        window.end_ms = zone_local_to_ms(zone, window_start_local_ms(calendar, date, count));
    }
    return window;
}
