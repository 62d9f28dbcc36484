/* tests/unit/wire/http_stream_test.c
 *
 * Goal: messages that follow one another on a connection are told apart at the right byte, also
 * when a second one came with the first, and a smuggled one is never seen. Method: a reader as net
 * has one (a buffer, a head, a body) writes a transcript of what it saw; the transcript is the same
 * for every way of cutting the stream in two, and byte by byte. */
#include "http_pieces.h"

struct reader {
    struct speaker speaker;
    struct buf pending; /* arrived, not consumed */
    struct http_parse_state parse;
    struct http_body body;
    bool in_body, bad;
};

static void
read_some_head(struct reader *reader, bool *moved, struct buf *transcript)
{
    struct http_head head;
    const struct http_fault *why = NULL;
    const struct speaker *speaker = &reader->speaker;
    const struct slice bytes = buf_slice(&reader->pending);
    const enum http_result result = speaker->is_request
        ? http_parse_request(bytes, &speaker->limits, &reader->parse, &head, &why)
        : http_parse_response(
            bytes, &speaker->limits, &reader->parse, speaker->asked, &head, &why);
    if (result == HTTP_BAD) {
        buf_addf(transcript, "(bad %s)", why->name);
        reader->bad = true;
    }
    if (result != HTTP_DONE) {
        return;
    }
    const struct slice what = speaker->is_request ? head.path : head.reason;
    buf_addf(transcript, "(%.*s ", (int)what.len, what.ptr);
    http_body_start(&reader->body, &head, HTTP_BODY_UNBOUNDED);
    buf_consume(&reader->pending, head.head_bytes);
    reader->parse = (struct http_parse_state){ 0 };
    reader->in_body = head.is_request || head.status >= 200;
    if (!reader->in_body) {
        buf_add_str(transcript, "interim)");
    }
    *moved = true;
}

static void
read_some_body(struct reader *reader, bool *moved, struct buf *transcript)
{
    const struct http_fault *why = NULL;
    struct slice data = { 0 };
    size_t consumed = 0;
    const enum http_result result =
        http_body_feed(&reader->body, buf_slice(&reader->pending), &consumed, &data, &why);
    buf_add_slice(transcript, data);
    buf_consume(&reader->pending, consumed);
    *moved = consumed > 0 || result == HTTP_DONE;
    if (result == HTTP_DONE) {
        buf_add_str(transcript, ")");
        reader->in_body = false;
    } else if (result == HTTP_BAD) {
        buf_addf(transcript, " bad %s)", why->name);
        reader->bad = true;
    }
}

static void
expect_transcript(const struct speaker *speaker, struct slice stream, const char *expected)
{
    for (size_t plan = 0; plan <= stream.len; plan++) {
        struct reader reader = { .speaker = *speaker };
        struct buf transcript = { 0 };
        for (size_t have = 0; have < stream.len && !reader.bad;) {
            const size_t before = have;
            have = pieces_next(plan, have, stream.len);
            buf_add(&reader.pending, stream.ptr + before, have - before);
            for (bool moved = true; moved && !reader.bad;) {
                moved = false;
                if (reader.in_body) {
                    read_some_body(&reader, &moved, &transcript);
                } else {
                    read_some_head(&reader, &moved, &transcript);
                }
            }
        }
        if (strcmp(buf_cstr(&transcript), expected) != 0) {
            fail_msg("cut %zu: got \"%s\", not \"%s\"", plan, transcript.ptr, expected);
        }
        buf_free(&transcript);
        buf_free(&reader.pending);
    }
}

#define POST(path) "POST " path " HTTP/1.1\r\nHost: h\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void
pipelined_requests_are_told_apart(void **state)
{
    static const struct {
        const char *stream, *expected;
    } rows[] = {
        { GET("/1") GET("/2") GET("/3"), "(/1 )(/2 )(/3 )" },
        { POST("/1") "Content-Length: 5\r\n\r\nhello" GET("/2"), "(/1 hello)(/2 )" },
        { POST("/1") "Content-Length: 0\r\n\r\n" GET("/2"), "(/1 )(/2 )" },
        { POST("/1") CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" GET("/2"),
            "(/1 abcde)(/2 )" },
        { POST("/1") CHUNKED "0\r\nA: b\r\n\r\n" GET("/2"),
            "(/1 )(/2 )" },
        { POST("/1") "Content-Length: 2\r\n\r\nab\r\n" GET("/2"), "(/1 ab)(/2 )" },
        { POST("/1") "Content-Length: 2\r\n\r\nab\r\n\r\n" GET("/2"), "(/1 ab)(bad empty_lines)" },
        { GET("/1") "\x01", "(/1 )(bad control_byte)" },
        { POST("/1") "Content-Length: 29\r\n\r\n" GET("/no") GET("/2"),
            "(/1 " GET("/no") ")(/2 )" },
    };
    const struct speaker client = speaker_client();
    for (size_t i = 0; i < countof(rows); i++) {
        expect_transcript(&client, slice_str(rows[i].stream), rows[i].expected);
    }
}

static void
smuggled_requests_are_never_seen(void **state)
{
    static const struct {
        const char *stream, *expected;
    } rows[] = {
        /* two lengths for one body */
        { POST("/1") "Content-Length: 4\r\n" CHUNKED "0\r\n\r\n" GET("/evil"),
            "(bad content_length_with_transfer_encoding)" },
        { POST("/1") "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" GET("/evil"),
            "(bad space_before_colon)" },
        { POST("/1") "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" GET("/evil"),
            "(bad transfer_encoding)" },
        { POST("/1") "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/evil"),
            "(bad bare_lf)" },
        { POST("/1") "Content-Length: 0\r\n Content-Length: 40\r\n\r\n" GET("/evil"),
            "(bad obs_fold)" },
        /* a chunk that ends elsewhere for another reader */
        { POST("/1") CHUNKED "5;\nhello\r\n0\r\n\r\n" GET("/evil"),
            "(/1  bad chunk_extension)" },
        { POST("/1") CHUNKED "0\n\r\n" GET("/evil"), "(/1  bad bare_lf)" },
        { POST("/1") CHUNKED "-0\r\n\r\n" GET("/evil"),
            "(/1  bad chunk_size)" },
        { POST("/1") CHUNKED "0\r\n" GET("/evil"), "(/1  bad trailer)" },
    };
    const struct speaker client = speaker_client();
    for (size_t i = 0; i < countof(rows); i++) {
        expect_transcript(&client, slice_str(rows[i].stream), rows[i].expected);
    }
}

static void
interim_answers_precede_the_final_one(void **state)
{
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_POST);
    expect_transcript(&upstream,
        SLICE("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        "(Continue interim)(Hints interim)(OK hi)");
}

static void
a_surplus_byte_behind_an_answer_is_no_answer(void **state)
{
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_POST);
    expect_transcript(&upstream, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n"),
        "(OK hi)(bad status_line)");
    expect_transcript(&upstream, SLICE("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi\r\n"),
        "(No )(bad status_line)");
}

static const struct CMUnitTest tests[] = {
    CASE("pipelined requests are told apart", pipelined_requests_are_told_apart),
    CASE("smuggled requests are never seen", smuggled_requests_are_never_seen),
    CASE("interim answers precede the final one", interim_answers_precede_the_final_one),
    CASE("a surplus byte behind an answer is no answer",
        a_surplus_byte_behind_an_answer_is_no_answer),
};

UNIT_MAIN(tests)
