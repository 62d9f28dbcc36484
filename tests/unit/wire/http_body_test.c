/* tests/unit/wire/http_body_test.c
 *
 * Goal: a body ends where its framing says, no byte behind it is taken, its payload comes out
 * whole, and every malformed chunk is refused. Method: each row is the bytes behind a head and what
 * comes of them; fed whole, cut in two at every byte, and byte by byte, with the same payload,
 * verdict and end. */
#include "http_pieces.h"

#include <stdlib.h>

#define BOUND 1000 /* payload bytes */

enum who { CLIENT, UPSTREAM, ANYBODY };

struct row {
    const char *name;
    enum who who;
    struct slice bytes;
    const char *expected;
    size_t end; /* bytes consumed where it is done; unused otherwise */
};

#define ROW(name, who, literal, expected, end) \
    { name, who, { literal, sizeof(literal) - 1 }, expected, end }

static const struct row chunked_rows[] = {
    ROW("nothing yet", ANYBODY, "", "payload: more", 0),
    ROW("empty", ANYBODY, "0\r\n\r\n", "payload: done", 5),
    ROW("one chunk", ANYBODY, "5\r\nhello\r\n0\r\n\r\n", "payload:hello done", 15),
    ROW("two chunks", ANYBODY, "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "payload:abc done", 18),
    ROW("sizes in both cases", ANYBODY, "a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n",
        "payload:0123456789abcdefghij done", 35),
    ROW("leading zeros", ANYBODY, "0000000000000003\r\nabc\r\n0000\r\n\r\n", "payload:abc done",
        31),
    ROW("payload that looks like chunks", ANYBODY, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "payload:\r\n0\r\n\r\n done", 17),
    ROW("bytes of the next message stay", ANYBODY, "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
        "payload:a done", 11),
    ROW("an empty line of the next message stays", ANYBODY, "0\r\n\r\n\r\n", "payload: done", 5),
    ROW("NUL behind the end stays", ANYBODY, "0\r\n\r\n\0", "payload: done", 5),
    ROW("not complete: payload", ANYBODY, "5\r\nhel", "payload:hel more", 0),
    ROW("not complete: end of the chunk", ANYBODY, "1\r\na\r", "payload:a more", 0),
    ROW("not complete: last chunk", ANYBODY, "0\r\n", "payload: more", 0),
    ROW("not complete: last CR", ANYBODY, "0\r\n\r", "payload: more", 0),
    /* sizes */
    ROW("size: minus", ANYBODY, "-1\r\n", "payload: bad chunk_size", 0),
    ROW("size: plus", ANYBODY, "+1\r\n", "payload: bad chunk_size", 0),
    ROW("size: 0x", ANYBODY, "0x5\r\nhello\r\n", "payload: bad chunk_size", 0),
    ROW("size: space in front", ANYBODY, " 5\r\nhello\r\n", "payload: bad chunk_size", 0),
    ROW("size: space behind", ANYBODY, "5 \r\nhello\r\n", "payload: bad chunk_size", 0),
    ROW("size: tab behind", ANYBODY, "5\t\r\nhello\r\n", "payload: bad chunk_size", 0),
    ROW("size: empty", ANYBODY, "\r\nhello\r\n", "payload: bad chunk_size", 0),
    ROW("size: no digit", ANYBODY, "g\r\n", "payload: bad chunk_size", 0),
    ROW("size: underscore", ANYBODY, "1_0\r\n", "payload: bad chunk_size", 0),
    ROW("size: NUL", ANYBODY, "5\0\r\n", "payload: bad chunk_size", 0),
    ROW("size: only an extension", ANYBODY, ";a\r\n", "payload: bad chunk_size", 0),
    ROW("size: quoted", ANYBODY, "\"5\"\r\n", "payload: bad chunk_size", 0),
    ROW("size: 17 digits", ANYBODY, "00000000000000005\r\n", "payload: bad chunk_size", 0),
    ROW("size: 2^60 + 1", ANYBODY, "1000000000000001\r\n", "payload: bad chunk_size", 0),
    ROW("size: 2^63", ANYBODY, "8000000000000000\r\n", "payload: bad chunk_size", 0),
    ROW("size: 2^64 - 1", ANYBODY, "ffffffffffffffff\r\n", "payload: bad chunk_size", 0),
    ROW("size: 2^64 + 5", ANYBODY, "10000000000000005\r\n", "payload: bad chunk_size", 0),
    /* line ends */
    ROW("bare LF behind a size", ANYBODY, "5\nhello\r\n", "payload: bad bare_lf", 0),
    ROW("bare CR behind a size", ANYBODY, "5\rhello\r\n", "payload: bad bare_cr", 0),
    ROW("CR CR LF behind a size", ANYBODY, "5\r\r\nhello\r\n", "payload: bad bare_cr", 0),
    ROW("bare LF behind a chunk", ANYBODY, "5\r\nhello\n0\r\n\r\n",
        "payload:hello bad chunk_end", 0),
    ROW("bare CR behind a chunk", ANYBODY, "5\r\nhello\r0\r\n", "payload:hello bad chunk_end", 0),
    ROW("a chunk longer than its size", ANYBODY, "4\r\nhello\r\n", "payload:hell bad chunk_end", 0),
    ROW("a chunk shorter than its size", ANYBODY, "6\r\nhello\r\n0\r\n",
        "payload:hello\r bad chunk_end", 0),
    ROW("bare LF behind the last size", ANYBODY, "0\n\r\n", "payload: bad bare_lf", 0),
    ROW("bare LF as the end", ANYBODY, "0\r\n\n", "payload: bad bare_lf", 0),
    ROW("bare CR as the end", ANYBODY, "0\r\n\rX", "payload: bad bare_cr", 0),
    /* extensions */
    ROW("extension of a client", CLIENT, "5;a=b\r\nhello\r\n", "payload: bad chunk_extension", 0),
    ROW("extension of the last chunk of a client", CLIENT, "0;a\r\n\r\n",
        "payload: bad chunk_extension", 0),
    ROW("extension of an upstream", UPSTREAM, "5;a=\"b c\";d\r\nhello\r\n0;x\r\n\r\n",
        "payload:hello done", 27),
    ROW("extension that is empty", UPSTREAM, "1;\r\na\r\n0\r\n\r\n", "payload:a done", 12),
    ROW("extension with a bare LF", UPSTREAM, "1;a\na\r\n", "payload: bad bare_lf", 0),
    ROW("extension with a bare CR", UPSTREAM, "1;a\rb\r\n", "payload: bad bare_cr", 0),
    ROW("extension with NUL", UPSTREAM, "1;a\0\r\n", "payload: bad chunk_extension", 0),
    ROW("extension behind a space", UPSTREAM, "1 ;a\r\n", "payload: bad chunk_size", 0),
    /* trailers */
    ROW("trailers", ANYBODY, "1\r\na\r\n0\r\nX-Sum: 1\r\nB:\r\n\r\nnext", "payload:a done", 25),
    ROW("trailer with a tab and bytes beyond ASCII", ANYBODY, "0\r\nA:\t\xc3\xa9\r\n\r\n",
        "payload: done", 12),
    ROW("trailers not complete", ANYBODY, "0\r\nA: b\r\n", "payload: more", 0),
    ROW("trailer that frames is dropped like any", ANYBODY, "0\r\nContent-Length: 9\r\n\r\n",
        "payload: done", 24),
    ROW("trailer without colon", ANYBODY, "0\r\nabc\r\n\r\n", "payload: bad trailer", 0),
    ROW("trailer without name", ANYBODY, "0\r\n: b\r\n\r\n", "payload: bad trailer", 0),
    ROW("trailer with space before the colon", ANYBODY, "0\r\nA : b\r\n\r\n",
        "payload: bad trailer", 0),
    ROW("trailer folded", ANYBODY, "0\r\nA: b\r\n c\r\n\r\n", "payload: bad trailer", 0),
    ROW("trailer with NUL", ANYBODY, "0\r\nA: \0\r\n\r\n", "payload: bad trailer", 0),
    ROW("trailer with bare LF", ANYBODY, "0\r\nA: b\nC: d\r\n\r\n", "payload: bad bare_lf", 0),
    ROW("trailer with bare CR", ANYBODY, "0\r\nA: b\rC: d\r\n\r\n", "payload: bad bare_cr", 0),
    ROW("a request where a trailer may stand", ANYBODY, "0\r\nGET / HTTP/1.1\r\n\r\n",
        "payload: bad trailer", 0),
};

static struct http_head
head_with(bool is_request, enum http_body_kind kind, int64_t content_length)
{
    return (struct http_head){
        .is_request = is_request, .body_kind = kind, .content_length = content_length };
}

static void
expect_body(const char *name, struct slice bytes, const struct http_head *head, bool eof,
    const char *expected, size_t end)
{
    for (size_t plan = 0; plan <= bytes.len; plan++) {
        struct buf got = { 0 };
        const size_t consumed = pieces_read_body(bytes, head, BOUND, eof, plan, &got);
        if (strcmp(buf_cstr(&got), expected) != 0) {
            fail_msg("%s, cut %zu: got \"%s\", not \"%s\"", name, plan, got.ptr, expected);
        }
        const bool all = strstr(expected, " more") != NULL || eof;
        if (strstr(expected, " bad ") == NULL && consumed != (all ? bytes.len : end)) {
            fail_msg("%s, cut %zu: consumed %zu", name, plan, consumed);
        }
        buf_free(&got);
    }
}

static void
chunked_bodies_are_read_or_refused(void **state)
{
    const struct http_head request = head_with(true, HTTP_BODY_CHUNKED, 0);
    const struct http_head answer = head_with(false, HTTP_BODY_CHUNKED, 0);
    for (size_t i = 0; i < countof(chunked_rows); i++) {
        const struct row *row = &chunked_rows[i];
        if (row->who != UPSTREAM) {
            expect_body(row->name, row->bytes, &request, false, row->expected, row->end);
        }
        if (row->who != CLIENT) {
            expect_body(row->name, row->bytes, &answer, false, row->expected, row->end);
        }
    }
}

static void
other_bodies_end_by_length_or_close(void **state)
{
    static const struct {
        const char *name;
        enum http_body_kind kind;
        int64_t length;
        const char *bytes;
        bool eof;
        const char *expected;
        size_t end;
    } rows[] = {
        { "none", HTTP_BODY_NONE, 0, "next", false, "payload: done", 0 },
        { "length 0", HTTP_BODY_LENGTH, 0, "next", false, "payload: done", 0 },
        { "length", HTTP_BODY_LENGTH, 5, "hello", false, "payload:hello done", 5 },
        { "length, and the next message", HTTP_BODY_LENGTH, 5, "hello\r\nGET", false,
            "payload:hello done", 5 },
        { "length not reached", HTTP_BODY_LENGTH, 6, "hello", false, "payload:hello more", 0 },
        { "length cut", HTTP_BODY_LENGTH, 6, "hello", true, "payload:hello bad body_cut", 0 },
        { "length cut before it began", HTTP_BODY_LENGTH, 6, "", true, "payload: bad body_cut", 0 },
        { "length at the bound", HTTP_BODY_LENGTH, BOUND, "a", false, "payload:a more", 0 },
        { "length beyond the bound", HTTP_BODY_LENGTH, BOUND + 1, "a", false,
            "payload: bad body_too_large", 0 },
        { "length far beyond", HTTP_BODY_LENGTH, INT64_MAX, "a", false,
            "payload: bad body_too_large", 0 },
        { "close", HTTP_BODY_UNTIL_CLOSE, 0, "hello", true, "payload:hello done", 5 },
        { "close at once", HTTP_BODY_UNTIL_CLOSE, 0, "", true, "payload: done", 0 },
        { "no close yet", HTTP_BODY_UNTIL_CLOSE, 0, "hello", false, "payload:hello more", 0 },
        { "chunked cut", HTTP_BODY_CHUNKED, 0, "5\r\nhello\r\n", true,
            "payload:hello bad body_cut", 0 },
        { "chunked cut in the end", HTTP_BODY_CHUNKED, 0, "0\r\n\r", true,
            "payload: bad body_cut", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct http_head head = head_with(false, rows[i].kind, rows[i].length);
        expect_body(rows[i].name, slice_str(rows[i].bytes), &head, rows[i].eof, rows[i].expected,
            rows[i].end);
    }
}

static void
the_end_of_input_after_a_complete_body_is_no_cut(void **state)
{
    const struct http_head heads[] = {
        head_with(true, HTTP_BODY_NONE, 0),
        head_with(true, HTTP_BODY_LENGTH, 0),
    };
    for (size_t i = 0; i < countof(heads); i++) {
        struct http_body body;
        const struct http_fault *why = NULL;
        http_body_start(&body, &heads[i], 0);
        assert_int_equal(http_body_eof(&body, &why), HTTP_DONE);
        assert_null(why);
    }
}

/* A body of `count` chunks of one byte each with an extension or trailers around it. */
static void
expect_chunks(const char *before, size_t filler, const char *after, bool is_request,
    const char *expected)
{
    struct buf bytes = { 0 };
    buf_add_str(&bytes, before);
    for (size_t i = 0; i < filler; i++) {
        buf_add_char(&bytes, 'x');
    }
    buf_add_str(&bytes, after);
    const struct http_head head = head_with(is_request, HTTP_BODY_CHUNKED, 0);
    static const size_t plans[] = { 0, 1, 2, 3, 100, 257, 258, 259, 260, 4000 };
    for (size_t i = 0; i <= countof(plans); i++) {
        const size_t plan = i < countof(plans) ? plans[i] : bytes.len;
        struct buf got = { 0 };
        (void)pieces_read_body(buf_slice(&bytes), &head, BOUND, false, plan, &got);
        assert_string_equal(buf_cstr(&got), expected);
        buf_free(&got);
    }
    buf_free(&bytes);
}

static void
extensions_and_trailers_have_bounds(void **state)
{
    /* the semicolon counts; so do the colon, the line ends and the empty line */
    const size_t extension_room = HTTP_EXTENSION_BYTES_MAX - 1;
    const size_t trailer_room = HTTP_TRAILER_BYTES_MAX - sizeof "A:\r\n\r\n" + 1;
    expect_chunks("1;", extension_room, "\r\na\r\n0\r\n\r\n", false, "payload:a done");
    expect_chunks("1;", extension_room + 1, "\r\na\r\n0\r\n\r\n", false,
        "payload: bad chunk_extension");
    expect_chunks("1;y\r\na\r\n0;", extension_room, "\r\n\r\n", false, "payload:a done");
    expect_chunks("1;y\r\na\r\n0;", extension_room, "\r\nB: c\r\n\r\n", false, "payload:a done");
    expect_chunks("0\r\nA:", trailer_room, "\r\n\r\n", true, "payload: done");
    expect_chunks("0\r\nA:", trailer_room + 1, "\r\n\r\n", true, "payload: bad trailers_too_large");
    expect_chunks("0\r\nA:", 3 * trailer_room, "\r\n\r\n", false,
        "payload: bad trailers_too_large");
}

static void
payload_has_a_bound_before_its_chunk_is_taken(void **state)
{
    static const struct {
        const char *bytes;
        int64_t bytes_max;
        const char *expected;
    } rows[] = {
        { "5\r\nhello\r\n0\r\n\r\n", 5, "payload:hello done" },
        { "5\r\nhello\r\n0\r\n\r\n", 4, "payload: bad body_too_large" },
        { "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5, "payload:abcde done" },
        { "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 4, "payload:abc bad body_too_large" },
        { "0\r\n\r\n", 0, "payload: done" },
        { "1\r\na\r\n", 0, "payload: bad body_too_large" },
        { "1000000000000000\r\na", HTTP_BODY_UNBOUNDED, "payload:a more" },
        { "1000000000000000\r\na", HTTP_CHUNK_BYTES_MAX, "payload:a more" },
        { "1000000000000000\r\na", HTTP_CHUNK_BYTES_MAX - 1, "payload: bad body_too_large" },
    };
    const struct http_head head = head_with(true, HTTP_BODY_CHUNKED, 0);
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice bytes = slice_str(rows[i].bytes);
        for (size_t plan = 0; plan <= bytes.len; plan++) {
            struct buf got = { 0 };
            (void)pieces_read_body(bytes, &head, rows[i].bytes_max, false, plan, &got);
            assert_string_equal(buf_cstr(&got), rows[i].expected);
            buf_free(&got);
        }
    }
}

static void
only_hexadecimal_digits_make_a_size(void **state)
{
    const struct http_head head = head_with(false, HTTP_BODY_CHUNKED, 0);
    for (int c = 0; c < 256; c++) {
        char *end = NULL;
        const char digit[] = { (char)c, '\0' };
        const bool blank = c == ' ' || (c >= '\t' && c <= '\r'); /* strtol would skip these */
        const long value = blank ? 0 : strtol(digit, &end, 16);
        if (c == '\r' || c == ';') {
            continue; /* they end the size */
        }
        struct buf bytes = { 0 };
        struct buf got = { 0 };
        struct buf expected = { 0 };
        buf_addf(&bytes, "0");
        buf_add_char(&bytes, (char)c);
        buf_addf(&bytes, "\r\n0123456789abcdef");
        (void)pieces_read_body(buf_slice(&bytes), &head, BOUND, false, 0, &got);
        if (!blank && end == digit + 1 && value > 0) {
            buf_addf(&expected, "payload:%.*s bad chunk_end", (int)value, "0123456789abcdef");
        } else if (c == '0') {
            buf_addf(&expected, "payload: more"); /* the digits begin a trailer */
        } else {
            buf_addf(&expected, "payload: bad %s", c == '\n' ? "bare_lf" : "chunk_size");
        }
        assert_string_equal(buf_cstr(&got), buf_cstr(&expected));
        buf_free(&expected);
        buf_free(&got);
        buf_free(&bytes);
    }
}

static void
an_answer_until_close_is_bounded_too(void **state)
{
    const struct http_head head = head_with(false, HTTP_BODY_UNTIL_CLOSE, 0);
    const struct slice bytes = SLICE("0123456789");
    for (size_t plan = 0; plan <= bytes.len; plan++) {
        struct buf got = { 0 };
        (void)pieces_read_body(bytes, &head, 7, true, plan, &got);
        assert_string_equal(buf_cstr(&got), "payload:0123456 bad body_too_large");
        buf_clear(&got);
        (void)pieces_read_body(bytes, &head, 10, true, plan, &got);
        assert_string_equal(buf_cstr(&got), "payload:0123456789 done");
        buf_free(&got);
    }
}

static void
a_verdict_on_a_body_is_final(void **state)
{
    const struct http_head head = head_with(true, HTTP_BODY_CHUNKED, 0);
    struct http_body body;
    const struct http_fault *why = NULL;
    struct slice data = { 0 };
    size_t consumed = 0;
    http_body_start(&body, &head, BOUND);
    assert_int_equal(http_body_feed(&body, SLICE("1\r\na!"), &consumed, &data, &why), HTTP_BAD);
    assert_true(slice_eq(data, SLICE("a"))); /* what came before the fault is not lost */
    for (int i = 0; i < 2; i++) {
        why = NULL;
        assert_int_equal(
            http_body_feed(&body, SLICE("\r\n0\r\n\r\n"), &consumed, &data, &why), HTTP_BAD);
        assert_ptr_equal(why, http_fault(HTTP_FAULT_CHUNK_END));
        assert_int_equal(consumed, 0);
        assert_int_equal(data.len, 0);
    }
    assert_int_equal(http_body_eof(&body, &why), HTTP_BAD);

    http_body_start(&body, &head, BOUND);
    assert_int_equal(http_body_feed(&body, SLICE("0\r\n\r\n"), &consumed, &data, &why), HTTP_DONE);
    assert_int_equal(http_body_feed(&body, SLICE("5\r\n"), &consumed, &data, &why), HTTP_DONE);
    assert_int_equal(consumed, 0);
    assert_int_equal(http_body_eof(&body, &why), HTTP_DONE);
}

static const struct CMUnitTest tests[] = {
    CASE("chunked bodies are read or refused", chunked_bodies_are_read_or_refused),
    CASE("other bodies end by length or close", other_bodies_end_by_length_or_close),
    CASE("the end of input after a complete body is no cut",
        the_end_of_input_after_a_complete_body_is_no_cut),
    CASE("extensions and trailers have bounds", extensions_and_trailers_have_bounds),
    CASE("payload has a bound before its chunk is taken",
        payload_has_a_bound_before_its_chunk_is_taken),
    CASE("only hexadecimal digits make a size", only_hexadecimal_digits_make_a_size),
    CASE("an answer until close is bounded too", an_answer_until_close_is_bounded_too),
    CASE("a verdict on a body is final", a_verdict_on_a_body_is_final),
};

UNIT_MAIN(tests)
