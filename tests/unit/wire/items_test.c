/* tests/unit/wire/items_test.c
 *
 * Goal: every id by which a later request may name an item of an answer is found, wherever the answer tells
 * of it, and of each whether it is more than a label.
 * Method: tables of items; a recorded stream, through the tap. */
#include <string.h>

#include "base/arena.h"
#include "fixture.h"
#include "unit.h"
#include "wire/items.h"
#include "wire/usage.h"

/* "id " of each that names something, "(id) " of labels. */
static void
add_ids(struct slice items, struct buf *out)
{
    struct item_walk walk;
    struct item_id item;
    item_walk_start(&walk, items);
    while (item_walk_next(&walk, &item)) {
        buf_add_str(out, item.names ? "" : "(");
        buf_add_slice(out, item.id);
        buf_add_str(out, item.names ? " " : ") ");
    }
}

static void
ids_of_an_answers_items_are_found(void **state)
{
    static const struct {
        const char *items, *ids;
    } rows[] = {
        { "", "" },
        { "[]", "" },
        { "null", "" },
        { "[1,\"rs_1\",[{\"id\":\"rs_1\"}],{}]", "" },
        { "{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"id\":\"no\"}]}", "rs_1 " },
        { "{\"type\":\"message\",\"id\":\"msg_\\u0031\"}", "(msg_1) " },
        { "[{\"id\":\"rs_1\",\"type\":\"reasoning\"},{\"id\":null},{\"id\":\"\"},{\"id\":7},"
          "{\"id\":\"fc_1\",\"type\":\"function_call\"},{\"id\":\"ws_1\",\"type\":\"web_search_call\"},"
          "{\"id\":\"x\"}]",
            "rs_1 (fc_1) ws_1 x " },
        { "[{\"id\":\"rs_1\"},{\"id\":\"rs_2\"", "rs_1 " }, /* what is broken off is not told */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf ids = { 0 };
        add_ids(slice_str(rows[i].items), &ids);
        assert_string_equal(buf_cstr(&ids), rows[i].ids);
        buf_free(&ids);
    }
}

static void
an_id_that_is_too_long_is_passed_over(void **state)
{
    for (size_t more = 0; more <= 1; more++) {
        struct buf item = { 0 }, ids = { 0 };
        buf_add_str(&item, "{\"id\":\"");
        for (size_t i = 0; i < ITEM_ID_BYTES_MAX + more; i++) {
            buf_add_char(&item, 'x');
        }
        buf_add_str(&item, "\"}");
        add_ids(buf_slice(&item), &ids);
        assert_int_equal(ids.len, more ? 0 : ITEM_ID_BYTES_MAX + 1);
        buf_free(&item);
        buf_free(&ids);
    }
}

static void
a_stream_tells_of_items_when_they_are_done(void **state)
{
    static const char stream[] =
        "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"output\":[]}}\n\n"
        "data: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"rs_0\",\"type\":"
        "\"reasoning\"}}\n\n"
        "data: {\"type\":\"response.output_item.done\",\"item\":{\"id\":\"rs_1\",\"type\":"
        "\"reasoning\"}}\n\n"
        "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"so\"}\n\n"
        "data: {\"type\":\"response.output_text.done\",\"item_id\":\"msg_1\",\"text\":\"so\"}\n\n"
        "data: {\"type\":\"response.output_item.done\",\"item\":{\"id\":\"msg_1\",\"type\":"
        "\"message\"}}\n\n"
        "data: {\"type\":\"response.incomplete\",\"response\":{\"id\":\"resp_1\",\"output\":["
        "{\"id\":\"rs_2\",\"type\":\"reasoning\"},{\"id\":\"msg_1\",\"type\":\"message\"}]}}\n\n";
    struct buf buf = { 0 }, ids = { 0 };
    struct sse sse;
    struct sse_event event;
    struct tap tap;
    struct slice left = slice_of(stream, sizeof stream - 1);
    size_t consumed = 0;
    tap_start(&tap, API_RESPONSES);
    sse_start(&sse, &buf, SSE_DATA_BYTES_MAX);
    while (sse_feed(&sse, left, &consumed, &event) == SSE_EVENT) {
        add_ids(tap_event(&tap, &event).items, &ids);
        left = slice_of(left.ptr + consumed, left.len - consumed);
    }
    assert_string_equal(buf_cstr(&ids), "rs_1 (msg_1) rs_2 (msg_1) ");
    buf_free(&ids);
    buf_free(&buf);
}

static const struct CMUnitTest tests[] = {
    CASE("ids of an answer's items are found", ids_of_an_answers_items_are_found),
    CASE("an id that is too long is passed over", an_id_that_is_too_long_is_passed_over),
    CASE("a stream tells of items when they are done", a_stream_tells_of_items_when_they_are_done),
};
UNIT_MAIN(tests)
