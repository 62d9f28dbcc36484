/* mock/events.c: what `events` makes of the body of an answer. Pure: bytes are added to a buffer. */
#include "mock/dialect_priv.h"

static const char page[] =
    "<html>\n<head><title>Sign in</title></head>\n<body>This network wants you to "
    "sign in first.</body>\n</html>\n";

/* Where the last event begins. */
static size_t
last_event_at(struct slice events)
{
    for (size_t at = events.len; at > 2; at--) {
        if (at + 2 <= events.len && at < events.len - 2 && events.ptr[at - 1] == '\n'
            && events.ptr[at - 2] == '\n') {
            return at;
        }
    }
    return 0;
}

static void
add_replaced(struct slice events, char old, const char *with, struct buf *out)
{
    for (size_t i = 0; i < events.len; i++) {
        if (events.ptr[i] == old) {
            buf_add_str(out, with);
        } else {
            buf_add_char(out, events.ptr[i]);
        }
    }
}

/* `what` behind each event. */
static void
add_behind_each(struct slice events, const char *what, struct buf *out)
{
    for (size_t i = 0; i < events.len; i++) {
        buf_add_char(out, events.ptr[i]);
        if (i > 0 && events.ptr[i] == '\n' && events.ptr[i - 1] == '\n') {
            buf_add_str(out, what);
        }
    }
}

/* A line end is as good as a space between two members: the first comma of each object gets one. */
static void
add_in_lines(struct slice events, struct buf *out)
{
    bool in_object = false;
    for (size_t i = 0; i < events.len; i++) {
        buf_add_char(out, events.ptr[i]);
        if (events.ptr[i] == '\n') {
            in_object = false;
        } else if (events.ptr[i] == '{' && i > 5 && !in_object) {
            in_object = true;
        } else if (in_object && events.ptr[i] == ',' && events.ptr[i - 1] == '"') {
            buf_add_str(out, "\ndata: ");
            in_object = false;
            while (i + 1 < events.len && events.ptr[i + 1] != '\n') {
                buf_add_char(out, events.ptr[++i]);
            }
        }
    }
}

static void
add_ending(enum mock_events how, struct slice events, struct buf *out)
{
    const size_t at = last_event_at(events);
    switch (how) {
    case MOCK_EVENTS_END_TWICE:
        buf_add_slice(out, events);
        buf_add(out, events.ptr + at, events.len - at);
        break;
    case MOCK_EVENTS_BEHIND:
        buf_add_slice(out, events);
        buf_add_str(out,
            ": behind the last event\n\n"
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"too late\"}}]}\n\n");
        break;
    case MOCK_EVENTS_NO_EMPTY_LINE: buf_add(out, events.ptr, events.len - 1); break;
    default: buf_add_slice(out, events); break;
    }
}

void
mock_events(enum mock_events how, enum mock_place place, struct slice events, struct buf *out)
{
    switch (how) {
    case MOCK_EVENTS_CRLF: add_replaced(events, '\n', "\r\n", out); return;
    case MOCK_EVENTS_CR: add_replaced(events, '\n', "\r", out); return;
    case MOCK_EVENTS_LINES: add_in_lines(events, out); return;
    case MOCK_EVENTS_COMMENTS: add_behind_each(events, ": still here\n\n", out); return;
    case MOCK_EVENTS_UNKNOWN:
        add_behind_each(
            events, "event: weather\nid: 7\nretry: 10\ndata: {\"type\":\"weather\"}\n\n", out);
        return;
    case MOCK_EVENTS_EMPTY: return;
    case MOCK_EVENTS_PAGE: buf_add_str(out, place == MOCK_PLACE_BEGIN ? page : ""); return;
    case MOCK_EVENTS_BOM:
        buf_add_str(out, place == MOCK_PLACE_BEGIN ? "\xEF\xBB\xBF" : "");
        buf_add_slice(out, events);
        return;
    case MOCK_EVENTS_BAD_JSON:
        buf_add_slice(out, events);
        buf_add_str(
            out, place == MOCK_PLACE_BEGIN ? "data: {\"choices\":[{\"delta\":{\"cont\n\n" : "");
        return;
    default: break;
    }
    if (place == MOCK_PLACE_END) {
        add_ending(how, events, out);
    } else {
        buf_add_slice(out, events);
    }
}

void
mock_events_whole(enum mock_events how, struct buf *body)
{
    switch (how) {
    case MOCK_EVENTS_EMPTY: buf_clear(body); break;
    case MOCK_EVENTS_BAD_JSON: body->len /= 2; break;
    case MOCK_EVENTS_PAGE:
        buf_clear(body);
        buf_add_str(body, page);
        break;
    default: break;
    }
}
