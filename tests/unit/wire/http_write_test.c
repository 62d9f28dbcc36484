/* tests/unit/wire/http_write_test.c
 *
 * Goal: what is written is what was meant, no part can break out of its line, and our own reader
 * takes it back. Method: rows of parts and the bytes they give; NULL where they are refused and
 * nothing is written. */
#include "unit.h"

#include <stdlib.h>

#include "wire/http.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }

static void
expect_written(struct buf *out, bool written, const char *expected)
{
    assert_int_equal(written, expected != NULL);
    assert_string_equal(buf_cstr(out), expected == NULL ? "" : expected);
    buf_free(out);
}

static void
request_lines(void **state)
{
    static const struct {
        struct slice method, target;
        const char *expected;
    } rows[] = {
        { TEXT("POST"), TEXT("/v1/chat?x=1"), "POST /v1/chat?x=1 HTTP/1.1\r\n" },
        { TEXT("OPTIONS"), TEXT("*"), "OPTIONS * HTTP/1.1\r\n" },
        { TEXT(""), TEXT("/"), NULL },
        { TEXT("GET"), TEXT(""), NULL },
        { TEXT("GET /x"), TEXT("/"), NULL },
        { TEXT("GET\r\n"), TEXT("/"), NULL },
        { TEXT("GET"), TEXT("/a b"), NULL },
        { TEXT("GET"), TEXT("/a\r\nX: y"), NULL },
        { TEXT("GET"), TEXT("/a\0b"), NULL },
        { TEXT("GET"), TEXT("/a#b"), NULL },
        { TEXT("GET"), TEXT("/a\x7f"), NULL },
        { TEXT("GET"), TEXT("/\xc3\xa9"), NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        const bool written = http_write_request_line(&out, rows[i].method, rows[i].target);
        expect_written(&out, written, rows[i].expected);
    }
}

static void
status_lines(void **state)
{
    static const struct {
        int status;
        struct slice reason;
        const char *expected;
    } rows[] = {
        { 200, TEXT(""), "HTTP/1.1 200 OK\r\n" },
        { 429, TEXT(""), "HTTP/1.1 429 Too Many Requests\r\n" },
        { 529, TEXT(""), "HTTP/1.1 529 Overloaded\r\n" },
        { 299, TEXT(""), "HTTP/1.1 299 \r\n" },
        { 404, TEXT("Gone fishing\t\xc3\xa9"), "HTTP/1.1 404 Gone fishing\t\xc3\xa9\r\n" },
        { 100, TEXT(""), "HTTP/1.1 100 Continue\r\n" },
        { 599, TEXT("x"), "HTTP/1.1 599 x\r\n" },
        { 99, TEXT(""), NULL },
        { 600, TEXT(""), NULL },
        { -200, TEXT(""), NULL },
        { 200, TEXT("OK\r\nX: y"), NULL },
        { 200, TEXT("O\nK"), NULL },
        { 200, TEXT("O\0K"), NULL },
        { 200, TEXT("\x7f"), NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        const bool written = http_write_status_line(&out, rows[i].status, rows[i].reason);
        expect_written(&out, written, rows[i].expected);
    }
}

static void
headers(void **state)
{
    static const struct {
        struct slice name, value;
        const char *expected;
    } rows[] = {
        { TEXT("x-a"), TEXT("b c"), "x-a: b c\r\n" },
        { TEXT("x-a"), TEXT(""), "x-a: \r\n" },
        { TEXT("x-a"), TEXT("b\tc\xff"), "x-a: b\tc\xff\r\n" },
        { TEXT(""), TEXT("b"), NULL },
        { TEXT("x a"), TEXT("b"), NULL },
        { TEXT("x:a"), TEXT("b"), NULL },
        { TEXT("x\r\na"), TEXT("b"), NULL },
        { TEXT("x-a"), TEXT("b\r\nc: d"), NULL },
        { TEXT("x-a"), TEXT("b\rc"), NULL },
        { TEXT("x-a"), TEXT("b\nc"), NULL },
        { TEXT("x-a"), TEXT("\0"), NULL },
        { TEXT("x-a"), TEXT("12345678\n"), NULL },
        { TEXT("x-a"), TEXT("\x1b[1m"), NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        const bool written = http_write_header(&out, rows[i].name, rows[i].value);
        expect_written(&out, written, rows[i].expected);
    }
    struct buf out = { 0 };
    bool written = http_write_header_i64(&out, SLICE("content-length"), INT64_MAX);
    expect_written(&out, written, "content-length: 9223372036854775807\r\n");
    written = http_write_header_i64(&out, SLICE("a b"), 1);
    expect_written(&out, written, NULL);
}

static void
chunk_heads(void **state)
{
    static const struct {
        uint64_t size;
        const char *expected;
    } rows[] = {
        { 0, "" }, { 1, "1\r\n" }, { 9, "9\r\n" }, { 10, "a\r\n" }, { 15, "f\r\n" },
        { 16, "10\r\n" }, { 255, "ff\r\n" }, { 256, "100\r\n" }, { 65536, "10000\r\n" },
        { UINT64_C(1) << 60, "1000000000000000\r\n" }, { UINT64_MAX, "ffffffffffffffff\r\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char out[HTTP_CHUNK_HEAD_BYTES_MAX];
        const size_t len = http_write_chunk_head(rows[i].size, out);
        assert_int_equal(len, strlen(rows[i].expected));
        assert_memory_equal(out, rows[i].expected, len);
    }
}

static void
what_is_written_is_read_back(void **state)
{
    struct buf out = { 0 };
    assert_true(http_write_request_line(&out, SLICE("POST"), SLICE("/v1/messages?beta=true")));
    assert_true(http_write_header(&out, SLICE("Host"), SLICE("api.example.com")));
    assert_true(http_write_header(&out, SLICE("X-Empty"), SLICE("")));
    assert_true(http_write_header_i64(&out, SLICE("Content-Length"), 12));
    http_write_end(&out);
    assert_false(out.failed);

    const struct http_limits limits = { 4096, 1024, 16 };
    struct http_parse_state parse = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    assert_int_equal(http_parse_request(buf_slice(&out), &limits, &parse, &head, &why), HTTP_DONE);
    assert_int_equal(head.head_bytes, out.len);
    assert_int_equal(head.method, HTTP_METHOD_POST);
    assert_true(slice_eq(head.path, SLICE("/v1/messages")));
    assert_true(slice_eq(head.query, SLICE("beta=true")));
    assert_true(slice_eq(head.host, SLICE("api.example.com")));
    assert_int_equal(head.content_length, 12);

    buf_clear(&out);
    assert_true(http_write_status_line(&out, 402, SLICE("")));
    assert_true(http_write_header(&out, SLICE("transfer-encoding"), SLICE("chunked")));
    http_write_end(&out);
    parse = (struct http_parse_state){ 0 };
    assert_int_equal(http_parse_response(
        buf_slice(&out), &limits, &parse, HTTP_METHOD_POST, &head, &why), HTTP_DONE);
    assert_int_equal(head.status, 402);
    assert_true(slice_eq(head.reason, SLICE("Payment Required")));
    assert_int_equal(head.body_kind, HTTP_BODY_CHUNKED);
    buf_free(&out);
}

static void
a_full_buffer_is_told_at_the_end(void **state)
{
    struct buf out = { .limit_bytes = 32 };
    assert_true(http_write_status_line(&out, 200, SLICE("")));
    assert_true(http_write_header(&out, SLICE("name"), SLICE("a value that does not fit")));
    http_write_end(&out);
    assert_true(out.failed);
    buf_free(&out);
}

static const struct CMUnitTest tests[] = {
    CASE("request lines", request_lines),
    CASE("status lines", status_lines),
    CASE("headers", headers),
    CASE("chunk heads", chunk_heads),
    CASE("what is written is read back", what_is_written_is_read_back),
    CASE("a full buffer is told at the end", a_full_buffer_is_told_at_the_end),
};

UNIT_MAIN(tests)
