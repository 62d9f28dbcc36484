/* tests/unit/wire/sse_test.c
 *
 * Goal: the same events come out wherever the bytes are cut, with every line end the standard
 * knows; data beyond the bound keeps its end. Method: a stream is written down as text of its
 * events; all cuts into three pieces must give it. */
#include "unit.h"
#include "wire/sse.h"

#include <stdlib.h>

/* Writes what an event is: "name|data;" or "-;" for a block without data. */
static void
note(struct buf *out, const struct sse_event *event)
{
    if (!event->has_data) {
        buf_add_str(out, "-;");
        return;
    }
    buf_add_slice(out, event->name);
    buf_add_char(out, '|');
    buf_add_slice(out, event->data);
    buf_add_char(out, ';');
    assert_true(event->data_cut || slice_starts(event->data, event->head));
}

static void
feed_piece(struct sse *sse, struct slice piece, struct buf *out)
{
    char *exact = malloc(piece.len > 0 ? piece.len : 1);
    assert_non_null(exact);
    if (piece.len > 0) {
        memcpy(exact, piece.ptr, piece.len);
    }
    size_t at = 0, consumed = 0;
    struct sse_event event;
    while (at < piece.len) {
        if (sse_feed(sse, slice_of(exact + at, piece.len - at), &consumed, &event) == SSE_EVENT) {
            note(out, &event);
        } else {
            assert_int_equal(at + consumed, piece.len);
        }
        assert_true(consumed > 0);
        at += consumed;
    }
    free(exact);
}

static void
assert_events(struct slice stream, size_t first, size_t second, const char *events)
{
    struct buf buf = { 0 }, out = { 0 };
    struct sse sse;
    struct sse_event event;
    sse_start(&sse, &buf, SSE_DATA_BYTES_MAX);
    feed_piece(&sse, slice_of(stream.ptr, first), &out);
    feed_piece(&sse, slice_of(stream.ptr + first, second - first), &out);
    feed_piece(&sse, slice_of(stream.ptr + second, stream.len - second), &out);
    if (sse_end(&sse, &event)) {
        buf_add_str(&out, "end:");
        note(&out, &event);
    }
    assert_string_equal(buf_cstr(&out), events);
    buf_free(&buf);
    buf_free(&out);
}

static void
events_do_not_depend_on_the_cuts(void **state)
{
    static const struct {
        const char *stream, *events;
    } rows[] = {
        { "data: a\n\ndata: b\n\n", "|a;|b;" },
        { "data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;" },
        { "data: a\r\rdata: b\r\r", "|a;|b;" },
        { "event: x\ndata: a\n\n", "x|a;" },
        { "data:a\nevent:x\n\n", "x|a;" },
        { "data: a\ndata:b\ndata\ndata: c\n\n", "|a\nb\n\nc;" },
        { "data:  two spaces\n\n", "| two spaces;" },
        { ": keep-alive\n\ndata: a\n\n", "-;|a;" },
        { ": c\ndata: a\n: d\n\n", "|a;" },
        { "\n\n\ndata: a\n\n", "-;-;-;|a;" },
        { "\xEF\xBB\xBF"
          "data: a\n\n",
            "|a;" },
        { "\xEF\xBB"
          "data: a\n\ndata: b\n\n",
            "-;|b;" }, /* half a BOM spoils its line */
        { "id: 1\nretry: 5\ndatax: n\ndat: n\nevent: e\ndata: a\n\n", "e|a;" },
        { "data: \xe2\x80\x9cx\xe2\x80\x9d\n\n", "|\xe2\x80\x9cx\xe2\x80\x9d;" },
        { "data: a\r\n\ndata: b\n\r\n", "|a;|b;" },
        { "data: [DONE]", "end:|[DONE];" },
        { "data: [DONE]\n", "end:|[DONE];" },
        { "data: a\n\nevent: x\n", "|a;" },
        { "data:\n\n", "|;" },
        { "data\n\n", "|;" },
        { "event: a\nevent: b\ndata: x\n\ndata: y\n\n", "b|x;|y;" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice stream = slice_str(rows[i].stream);
        for (size_t first = 0; first <= stream.len; first++) {
            for (size_t second = first; second <= stream.len; second++) {
                assert_events(stream, first, second, rows[i].events);
            }
        }
    }
}

static void
long_data_keeps_its_head_and_its_end(void **state)
{
    enum { BOUND = 1000, SIZE = 100000 };
    char *stream = malloc(SIZE + 32);
    assert_non_null(stream);
    memcpy(stream, "data: HEAD", 10);
    memset(stream + 10, 'x', SIZE);
    memcpy(stream + SIZE, "TAIL\n\ndata: b\n\n", 15);
    for (size_t piece = 1; piece < SIZE * 2; piece *= 7) {
        struct buf buf = { 0 };
        struct sse sse;
        struct sse_event event;
        sse_start(&sse, &buf, BOUND);
        size_t at = 0, consumed = 0, events = 0;
        while (at < SIZE + 15) {
            const size_t len = SIZE + 15 - at < piece ? SIZE + 15 - at : piece;
            if (sse_feed(&sse, slice_of(stream + at, len), &consumed, &event) == SSE_EVENT) {
                events++;
                assert_int_equal(event.data_cut, events == 1);
                if (events == 1) {
                    assert_true(event.data.len <= BOUND && event.data.len >= BOUND / 2);
                    assert_true(slice_ends(event.data, SLICE("xxTAIL")));
                    assert_true(slice_starts(event.head, SLICE("HEADxx")));
                    assert_int_equal(event.raw_bytes, SIZE + 6);
                } else {
                    assert_true(slice_eq(event.data, SLICE("b")));
                }
            }
            at += consumed;
            assert_true(buf.len <= BOUND);
        }
        assert_int_equal(events, 2);
        buf_free(&buf);
    }
    free(stream);
}

static void
pending_bytes_tell_whether_an_event_is_open(void **state)
{
    struct buf buf = { 0 };
    struct sse sse;
    struct sse_event event;
    size_t consumed = 0;
    sse_start(&sse, &buf, SSE_DATA_BYTES_MAX);
    assert_int_equal(sse_pending_bytes(&sse), 0);
    assert_int_equal(sse_feed(&sse, SLICE("data: a"), &consumed, &event), SSE_MORE);
    assert_int_equal(sse_pending_bytes(&sse), 7);
    assert_int_equal(sse_feed(&sse, SLICE("\n\nda"), &consumed, &event), SSE_EVENT);
    assert_int_equal(consumed, 2);
    assert_int_equal(sse_pending_bytes(&sse), 0);
    assert_int_equal(sse_feed(&sse, SLICE("da"), &consumed, &event), SSE_MORE);
    assert_int_equal(sse_pending_bytes(&sse), 2);
    buf_free(&buf);
}

static const struct CMUnitTest tests[] = {
    CASE("events do not depend on the cuts", events_do_not_depend_on_the_cuts),
    CASE("long data keeps its head and its end", long_data_keeps_its_head_and_its_end),
    CASE(
        "pending bytes tell whether an event is open", pending_bytes_tell_whether_an_event_is_open),
};
UNIT_MAIN(tests)
