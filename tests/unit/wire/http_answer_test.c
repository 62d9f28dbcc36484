/* tests/unit/wire/http_answer_test.c
 *
 * Goal: an upstream's answer is read by the same strict rules as a request, and its body ends where
 * RFC 9112 section 6.3 says, given the method that was asked with. Method: each row is an answer,
 * the method and the text of what comes of it, in every way of cutting it. Header lines that both
 * directions refuse are in http_head_test.c. */
#include "http_pieces.h"

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *name;
    enum http_method asked;
    const char *bytes, *expected;
} rows[] = {
    /* the status line */
    { "an answer", HTTP_METHOD_POST, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "200 OK 1.1 body=length:2 keep" },
    { "no reason", HTTP_METHOD_POST, "HTTP/1.1 529\r\nContent-Length: 2\r\n\r\n",
        "529  1.1 body=length:2 keep" },
    { "no reason but the space", HTTP_METHOD_POST, "HTTP/1.1 529 \r\nContent-Length: 2\r\n\r\n",
        "529  1.1 body=length:2 keep" },
    { "a reason of words and bytes beyond ASCII", HTTP_METHOD_POST,
        "HTTP/1.1 404 Nicht  gefunden\t\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
        "404 Nicht  gefunden\t\xc3\xa9 1.1 body=length:0 keep" },
    { "the least status", HTTP_METHOD_POST, "HTTP/1.1 100 \r\n\r\n", "100  1.1 body=none keep" },
    { "the largest status", HTTP_METHOD_POST, "HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n",
        "599 x 1.1 body=length:0 keep" },
    { "status too small", HTTP_METHOD_POST, "HTTP/1.1 099 x\r\n", "bad status_line" },
    { "status too large", HTTP_METHOD_POST, "HTTP/1.1 600 x\r\n", "bad status_line" },
    { "status of two digits", HTTP_METHOD_POST, "HTTP/1.1 20 x\r\n", "bad status_line" },
    { "status of four digits", HTTP_METHOD_POST, "HTTP/1.1 2000 x\r\n", "bad status_line" },
    { "status with a sign", HTTP_METHOD_POST, "HTTP/1.1 +20 x\r\n", "bad status_line" },
    { "status of letters", HTTP_METHOD_POST, "HTTP/1.1 2oo x\r\n", "bad status_line" },
    { "status with a comma", HTTP_METHOD_POST, "HTTP/1.1 200, x\r\n", "bad status_line" },
    { "no status", HTTP_METHOD_POST, "HTTP/1.1 \r\n", "bad status_line" },
    { "only a version", HTTP_METHOD_POST, "HTTP/1.1\r\n", "bad status_line" },
    { "two spaces before the status", HTTP_METHOD_POST, "HTTP/1.1  200 OK\r\n", "bad status_line" },
    { "a tab before the status", HTTP_METHOD_POST, "HTTP/1.1\t200 OK\r\n", "bad status_line" },
    { "another protocol", HTTP_METHOD_POST, "ICY 200 OK\r\n", "bad status_line" },
    { "an SSH banner", HTTP_METHOD_POST, "SSH-2.0-OpenSSH_9.2\r\n", "bad status_line" },
    { "HTML at once", HTTP_METHOD_POST, "<html>\r\n", "bad status_line" },
    { "small letters", HTTP_METHOD_POST, "http/1.1 200 OK\r\n", "bad status_line" },
    { "version 2", HTTP_METHOD_POST, "HTTP/2 200 \r\n", "bad version" },
    { "version 1.2", HTTP_METHOD_POST, "HTTP/1.2 200 OK\r\n", "bad version" },
    { "version 0.9", HTTP_METHOD_POST, "HTTP/0.9 200 OK\r\n", "bad version" },
    { "an empty line in front", HTTP_METHOD_POST, "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "bad status_line" },
    { "bare LF behind the status line", HTTP_METHOD_POST, "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "bad bare_lf" },
    { "bare CR in the reason", HTTP_METHOD_POST, "HTTP/1.1 200 O\rK\r\n\r\n", "bad bare_cr" },
    { "a control byte in the reason", HTTP_METHOD_POST, "HTTP/1.1 200 O\x08K\r\n\r\n",
        "bad control_byte" },
    { "not complete", HTTP_METHOD_POST, "HTTP/1.1 200 OK\r\n", "more" },
    /* where the body ends */
    { "until close", HTTP_METHOD_GET, OK "\r\n", "200 OK 1.1 body=close" },
    { "until close, whatever Connection says", HTTP_METHOD_GET,
        OK "Connection: keep-alive\r\n\r\n", "200 OK 1.1 body=close" },
    { "chunked", HTTP_METHOD_GET, OK "Transfer-Encoding: chunked\r\n\r\n",
        "200 OK 1.1 body=chunked keep" },
    { "chunked and close", HTTP_METHOD_GET,
        OK "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "200 OK 1.1 body=chunked" },
    { "HEAD with a length", HTTP_METHOD_HEAD, OK "Content-Length: 9\r\n\r\n",
        "200 OK 1.1 body=none keep" },
    { "HEAD with chunks", HTTP_METHOD_HEAD, OK "Transfer-Encoding: chunked\r\n\r\n",
        "200 OK 1.1 body=none keep" },
    { "HEAD without either", HTTP_METHOD_HEAD, OK "\r\n", "200 OK 1.1 body=none keep" },
    { "HEAD with a bad length", HTTP_METHOD_HEAD, OK "Content-Length: +9\r\n\r\n",
        "bad content_length" },
    { "204", HTTP_METHOD_POST, "HTTP/1.1 204 \r\n\r\n", "204  1.1 body=none keep" },
    { "204 with length 0", HTTP_METHOD_POST, "HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n",
        "204  1.1 body=none keep" },
    { "204 with a length is not trusted", HTTP_METHOD_POST,
        "HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", "204  1.1 body=none" },
    { "204 with chunks is not trusted", HTTP_METHOD_POST,
        "HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n", "204  1.1 body=none" },
    { "304 with a length", HTTP_METHOD_GET, "HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n",
        "304  1.1 body=none keep" },
    { "100", HTTP_METHOD_POST, "HTTP/1.1 100 Continue\r\n\r\n", "100 Continue 1.1 body=none keep" },
    { "103 with headers", HTTP_METHOD_POST, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        "103 Early Hints 1.1 body=none keep" },
    { "100 with a length", HTTP_METHOD_POST, "HTTP/1.1 100 \r\nContent-Length: 0\r\n\r\n",
        "bad length_in_interim" },
    { "102 with chunks", HTTP_METHOD_POST, "HTTP/1.1 102 \r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad length_in_interim" },
    { "101", HTTP_METHOD_GET, "HTTP/1.1 101 \r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "bad unasked_upgrade" },
    /* HTTP/1.0 */
    { "1.0 closes", HTTP_METHOD_GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        "200 OK 1.0 body=length:5" },
    { "1.0 with keep-alive", HTTP_METHOD_GET,
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        "200 OK 1.0 body=length:5 keep" },
    { "1.0 until close", HTTP_METHOD_GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
        "200 OK 1.0 body=close" },
    { "1.0 with chunks", HTTP_METHOD_GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad transfer_encoding_in_1_0" },
    /* what only requests are judged by */
    { "Host, twice", HTTP_METHOD_GET, OK "Host: a\r\nHost: b/c\r\nContent-Length: 0\r\n\r\n",
        "200 OK 1.1 body=length:0 keep" },
    { "Expect", HTTP_METHOD_GET, OK "Expect: x\r\nContent-Length: 0\r\n\r\n",
        "200 OK 1.1 body=length:0 keep" },
    { "Upgrade is an offer", HTTP_METHOD_GET,
        OK "Upgrade: h2\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
        "200 OK 1.1 body=length:0 keep" },
};

static void
answers_are_read_or_refused(void **state)
{
    for (size_t i = 0; i < countof(rows); i++) {
        const struct speaker upstream = speaker_upstream(rows[i].asked);
        pieces_expect_head(
            rows[i].name, slice_str(rows[i].bytes), &upstream, rows[i].expected);
    }
}

static void
answers_have_bounds_too(void **state)
{
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_GET);
    struct buf message = { 0 };

    buf_add_str(&message, "HTTP/1.1 200 ");
    while (message.len < upstream.limits.head_bytes_max) {
        buf_add_char(&message, 'r'); /* the target's bound is not the status line's */
    }
    pieces_expect_head("a reason without end", buf_slice(&message), &upstream,
        "bad head_too_large");

    buf_clear(&message);
    buf_add_str(&message, OK "Content-Length: 0\r\n");
    for (uint32_t i = 1; i < upstream.limits.headers_max; i++) {
        buf_add_str(&message, "A: b\r\n");
    }
    const size_t most = message.len;
    buf_add_str(&message, "\r\n");
    pieces_expect_head("as many headers as may be", buf_slice(&message), &upstream,
        "200 OK 1.1 body=length:0 keep");

    message.len = most;
    buf_add_str(&message, "A: b\r\n\r\n");
    pieces_expect_head("one header too many", buf_slice(&message), &upstream,
        "bad too_many_headers");
    buf_free(&message);
}

static void
more_headers_than_there_is_room_for_are_refused_whatever_the_limit(void **state)
{
    struct speaker upstream = speaker_upstream(HTTP_METHOD_GET);
    upstream.limits = (struct http_limits){ 4096, 64, 1000 };
    for (int extra = 0; extra <= 1; extra++) {
        struct buf message = { 0 };
        struct buf got = { 0 };
        buf_add_str(&message, "HTTP/1.1 204 \r\n");
        for (int i = 0; i < HTTP_HEADERS_MAX + extra; i++) {
            buf_add_str(&message, "A: b\r\n");
        }
        buf_add_str(&message, "\r\n");
        (void)pieces_read_head(buf_slice(&message), &upstream, 0, &got);
        assert_int_equal(strncmp(buf_cstr(&got), "bad too_many_headers", 20) == 0, extra);
        buf_free(&got);
        buf_free(&message);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("answers are read or refused", answers_are_read_or_refused),
    CASE("answers have bounds too", answers_have_bounds_too),
    CASE("more headers than there is room for are refused whatever the limit",
        more_headers_than_there_is_room_for_are_refused_whatever_the_limit),
};

UNIT_MAIN(tests)
