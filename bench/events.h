/* bench/events.h: counts the events of an SSE stream in whatever pieces it comes. */
#pragma once

#include "base/slice.h"

/* All zero at the start of a stream. */
struct events {
    uint8_t matched; /* bytes of "data:" at the start of this line; UINT8_MAX = it is another line */
};

/* How many lines that begin with "data:" began in these bytes. */
uint32_t events_count(struct events *events, struct slice bytes);

/* The microseconds that the fake provider stamped into a chunk, or -1 where there is none whole. */
int64_t events_stamp_us(struct slice bytes);
