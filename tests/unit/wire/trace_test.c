/* tests/unit/wire/trace_test.c
 *
 * Goal: a trace context goes on as it came or not at all, and its id is found for the log. */
#include "base/buf.h"
#include "fixture.h"
#include "wire/trace.h"

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
#define GOOD "00-" ID "-" SPAN "-01"

static void
parents_are_read_strictly(void **state)
{
    static const struct {
        const char *value;
        bool good;
    } rows[] = {
        { GOOD, true },
        { "00-" ID "-" SPAN "-00", true },
        { "00-" ID "-" SPAN "-ff", true },         /* flags that nobody knows yet */
        { "cc-" ID "-" SPAN "-01", true },         /* a later version of the same form */
        { "cc-" ID "-" SPAN "-01-more", true },    /* that says more */
        { "cc-" ID "-" SPAN "-01more", false },
        { GOOD "-more", false },                   /* version 00 says no more */
        { "ff-" ID "-" SPAN "-01", false },
        { "00-00000000000000000000000000000000-" SPAN "-01", false },
        { "00-" ID "-0000000000000000-01", false },
        { "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false },
        { "00-" ID "-" SPAN "-0g", false },
        { "00-" ID "-" SPAN "-1", false },
        { "00_" ID "-" SPAN "-01", false },
        { "00-" ID "_" SPAN "-01", false },
        { "00-" ID "-" SPAN "_01", false },
        { "0-" ID "-" SPAN "-01", false },
        { " " GOOD, false },
        { "", false },
        { "00-", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(trace_parent_valid(slice_str(rows[i].value)), rows[i].good);
        for (size_t len = 0; rows[i].good && len < 55; len++) { /* no prefix of one is one */
            assert_false(trace_parent_valid(slice_of(rows[i].value, len)));
        }
    }
}

static void
a_context_goes_on_whole_or_not_at_all(void **state)
{
    char long_state[800];
    (void)snprintf(long_state, sizeof(long_state), "traceparent: " GOOD "\ntracestate: a=%0600d", 1);
    const struct {
        const char *headers, *id, *sent;
    } rows[] = {
        { "", "", "" },
        { "traceparent: " GOOD, ID, "traceparent: " GOOD "\r\n" },
        { "TraceParent: " GOOD "\nTraceState: k=v, l=w", ID,
            "traceparent: " GOOD "\r\ntracestate: k=v, l=w\r\n" },
        { "tracestate: k=v", "", "" },
        { "traceparent: nonsense\ntracestate: k=v", "", "" },
        { "traceparent: " GOOD "\ntraceparent: " GOOD, "", "" }, /* which one? */
        { "traceparent: " GOOD "\ntracestate: k=\xC3\xA9", ID, "traceparent: " GOOD "\r\n" },
        { long_state, ID, "traceparent: " GOOD "\r\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        struct buf out = { 0 };
        char id[TRACE_ID_HEX + 1];
        head_of_lines(&head, rows[i].headers);
        trace_id_find(&head, id);
        assert_string_equal(id, rows[i].id);
        trace_write(&head, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sent);
        buf_free(&out);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("the parent of a trace is read strictly", parents_are_read_strictly),
    CASE("a trace context goes on whole or not at all", a_context_goes_on_whole_or_not_at_all),
};
UNIT_MAIN(tests)
