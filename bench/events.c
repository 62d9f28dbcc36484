/* bench/events.c: lines of an event stream. */
#include "bench/events.h"

#define EVENTS_PASSED UINT8_MAX
#define STAMP_DIGITS  16

uint32_t
events_count(struct events *events, struct slice bytes)
{
    static const char field[] = "data:";
    uint32_t count = 0;
    const char *at = bytes.ptr;
    const char *const end = at + bytes.len;
    while (at < end) {
        if (events->matched < sizeof field - 1) {
            const char c = *at++;
            if (c == field[events->matched]) {
                events->matched++;
                count += events->matched == sizeof field - 1;
            } else {
                events->matched = c == '\n' ? 0 : EVENTS_PASSED;
            }
            continue;
        }
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end) {
            break;
        }
        events->matched = 0;
        at = line_end + 1;
    }
    return count;
}

int64_t
events_stamp_us(struct slice bytes)
{
    static const char mark[] = "\"fp_";
    const char *found = bytes.len > 0 ? memmem(bytes.ptr, bytes.len, mark, sizeof mark - 1) : NULL;
    if (!found || (size_t)(bytes.ptr + bytes.len - found) < sizeof mark - 1 + STAMP_DIGITS) {
        return -1;
    }
    int64_t stamp_us = 0;
    for (size_t i = 0; i < STAMP_DIGITS; i++) {
        const char digit = found[sizeof mark - 1 + i];
        if (digit < '0' || digit > '9') {
            return -1;
        }
        stamp_us = stamp_us * 10 + (digit - '0');
    }
    return stamp_us > 0 ? stamp_us : -1;
}
