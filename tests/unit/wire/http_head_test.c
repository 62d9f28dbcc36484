/* tests/unit/wire/http_head_test.c
 *
 * Goal: every form of a head that two parsers could read differently is refused, in both
 * directions, for its own reason; what clients and providers really send is read, and read the same
 * however it arrives. Method: each row is a message, or header lines put behind a good start line
 * of each direction, and the text of what comes of it. pieces_expect_head() gives it in every way
 * of cutting it. */
#include "http_pieces.h"

#define REQUEST_START "POST /v1 HTTP/1.1\r\nHost: h\r\n"
#define RESPONSE_START "HTTP/1.1 200 OK\r\n"

struct row {
    const char *name;
    struct slice bytes;
    const char *expected;
};

#define ROW(name, literal, expected) { name, { literal, sizeof(literal) - 1 }, expected }

/* Header lines that are refused whoever sends them; " |" is left out. */
static const struct row refused_lines[] = {
    /* line ends */
    ROW("bare LF", "A: b\nC: d\r\n\r\n", "bad bare_lf"),
    ROW("bare LF as the empty line", "A: b\r\n\n", "bad bare_lf"),
    ROW("bare LF twice", "A: b\n\nC: d", "bad bare_lf"),
    ROW("bare CR in a value", "A: b\rC: d\r\n\r\n", "bad bare_cr"),
    ROW("bare CR in a name", "A\rB: c\r\n\r\n", "bad bare_cr"),
    ROW("CR CR LF", "A: b\r\r\n\r\n", "bad bare_cr"),
    ROW("CR CR LF as the empty line", "A: b\r\n\r\r\n", "bad bare_cr"),
    ROW("CR at the end of the head", "A: b\r\n\rX", "bad bare_cr"),
    /* folding */
    ROW("obs-fold with a space", "A: b\r\n c\r\n\r\n", "bad obs_fold"),
    ROW("obs-fold with a tab", "A: b\r\n\tc: d\r\n\r\n", "bad obs_fold"),
    ROW("first line begins with a space", " A: b\r\n\r\n", "bad obs_fold"),
    ROW("a line of one space", "A: b\r\n \r\n\r\n", "bad obs_fold"),
    /* control bytes */
    ROW("NUL in a value", "A: b\0c\r\n\r\n", "bad control_byte"),
    ROW("NUL in a name", "A\0: b\r\n\r\n", "bad control_byte"),
    ROW("NUL alone", "\0", "bad control_byte"),
    ROW("SOH in a value", "A: \x01\r\n\r\n", "bad control_byte"),
    ROW("ESC in a value", "A: \x1b[0m\r\n\r\n", "bad control_byte"),
    ROW("DEL in a value", "A: b\x7f\r\n\r\n", "bad control_byte"),
    ROW("vertical tab behind chunked", "Transfer-Encoding: chunked\x0b\r\n\r\n",
        "bad control_byte"),
    ROW("form feed before the length", "Content-Length:\x0c" "5\r\n\r\n", "bad control_byte"),
    /* names */
    ROW("space before the colon", "A : b\r\n\r\n", "bad space_before_colon"),
    ROW("tab before the colon", "A\t: b\r\n\r\n", "bad space_before_colon"),
    ROW("space before the colon of a length", "Content-Length : 5\r\n\r\n",
        "bad space_before_colon"),
    ROW("no colon", "Abc\r\n\r\n", "bad no_colon"),
    ROW("no colon but a space", "Abc def\r\n\r\n", "bad no_colon"),
    ROW("no colon but spaces at the end", "Abc  \r\n\r\n", "bad no_colon"),
    ROW("empty name", ": b\r\n\r\n", "bad header_name"),
    ROW("space in a name", "A b: c\r\n\r\n", "bad header_name"),
    ROW("spaces in a name", "A  b : c\r\n\r\n", "bad header_name"),
    ROW("parenthesis in a name", "A(b): c\r\n\r\n", "bad header_name"),
    ROW("quote in a name", "\"A\": c\r\n\r\n", "bad header_name"),
    ROW("byte beyond ASCII in a name", "Caf\xc3\xa9: c\r\n\r\n", "bad header_name"),
    /* length and coding */
    ROW("Content-Length, then Transfer-Encoding",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad content_length_with_transfer_encoding"),
    ROW("Transfer-Encoding, then Content-Length",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        "bad content_length_with_transfer_encoding"),
    ROW("Content-Length with an unknown coding",
        "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
        "bad content_length_with_transfer_encoding"),
    ROW("coding: gzip", "Transfer-Encoding: gzip\r\n\r\n", "bad transfer_encoding"),
    ROW("coding: identity", "Transfer-Encoding: identity\r\n\r\n", "bad transfer_encoding"),
    ROW("coding: gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n",
        "bad transfer_encoding"),
    ROW("coding: chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n\r\n",
        "bad transfer_encoding"),
    ROW("coding: chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n\r\n",
        "bad transfer_encoding"),
    ROW("coding: chunked with a comma", "Transfer-Encoding: chunked,\r\n\r\n",
        "bad transfer_encoding"),
    ROW("coding: chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n\r\n",
        "bad transfer_encoding"),
    ROW("coding: quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n", "bad transfer_encoding"),
    ROW("coding: xchunked", "Transfer-Encoding: xchunked\r\n\r\n", "bad transfer_encoding"),
    ROW("coding: empty", "Transfer-Encoding:\r\n\r\n", "bad transfer_encoding"),
    ROW("coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad transfer_encoding_repeated"),
    ROW("coding twice, the first empty", "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad transfer_encoding_repeated"),
    ROW("lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "bad content_length_repeated"),
    ROW("lengths that are equal", "Content-Length: 5\r\ncontent-length: 5\r\n\r\n",
        "bad content_length_repeated"),
    ROW("length: list of equals", "Content-Length: 5, 5\r\n\r\n", "bad content_length"),
    ROW("length: list", "Content-Length: 5,6\r\n\r\n", "bad content_length"),
    ROW("length: plus sign", "Content-Length: +954\r\n\r\n", "bad content_length"),
    ROW("length: minus sign", "Content-Length: -1\r\n\r\n", "bad content_length"),
    ROW("length: minus zero", "Content-Length: -0\r\n\r\n", "bad content_length"),
    ROW("length: empty", "Content-Length:\r\n\r\n", "bad content_length"),
    ROW("length: blanks", "Content-Length: \t \r\n\r\n", "bad content_length"),
    ROW("length: space inside", "Content-Length: 1 2\r\n\r\n", "bad content_length"),
    ROW("length: hexadecimal", "Content-Length: 0x10\r\n\r\n", "bad content_length"),
    ROW("length: fraction", "Content-Length: 5.0\r\n\r\n", "bad content_length"),
    ROW("length: exponent", "Content-Length: 1e3\r\n\r\n", "bad content_length"),
    ROW("length: letters behind", "Content-Length: 5a\r\n\r\n", "bad content_length"),
    ROW("length: 2^63", "Content-Length: 9223372036854775808\r\n\r\n", "bad content_length"),
    ROW("length: 2^64 + 5", "Content-Length: 18446744073709551621\r\n\r\n", "bad content_length"),
    ROW("length: 30 digits", "Content-Length: 999999999999999999999999999999\r\n\r\n",
        "bad content_length"),
};

/* Header lines that pass in both directions, and what they make of a POST and of a 200 to it. */
static const struct {
    struct row row;
    const char *body, *headers; /* as described, the headers without those of the start */
} accepted_lines[] = {
    { ROW("length", "Content-Length: 5\r\n\r\n", ""), "length:5", "[Content-Length: 5]" },
    { ROW("length zero", "Content-Length: 0\r\n\r\n", ""), "length:0", "[Content-Length: 0]" },
    { ROW("length without space", "content-length:5\r\n\r\n", ""), "length:5",
        "[content-length: 5]" },
    { ROW("length between blanks", "CONTENT-LENGTH: \t5 \t\r\n\r\n", ""), "length:5",
        "[CONTENT-LENGTH: 5]" },
    { ROW("length with leading zeros", "Content-Length: 0005\r\n\r\n", ""), "length:5",
        "[Content-Length: 0005]" },
    { ROW("length 2^63 - 1", "Content-Length: 9223372036854775807\r\n\r\n", ""),
        "length:9223372036854775807", "[Content-Length: 9223372036854775807]" },
    { ROW("chunked", "Transfer-Encoding: chunked\r\n\r\n", ""), "chunked",
        "[Transfer-Encoding: chunked]" },
    { ROW("chunked in capitals", "Transfer-Encoding: CHUNKED \r\n\r\n", ""), "chunked",
        "[Transfer-Encoding: CHUNKED]" },
    { ROW("an empty value", "Content-Length: 1\r\nA:\r\nB: \t\r\n\r\n", ""), "length:1",
        "[Content-Length: 1][A: ][B: ]" },
    { ROW("tab and bytes beyond ASCII in a value",
          "Content-Length: 1\r\nA: b\t\xc3\xa9 \xff c\r\n\r\n", ""),
        "length:1", "[Content-Length: 1][A: b\t\xc3\xa9 \xff c]" },
    { ROW("colons in a value", "Content-Length: 1\r\nA::b:\r\n\r\n", ""), "length:1",
        "[Content-Length: 1][A: :b:]" },
    { ROW("every mark a name may have", "Content-Length: 1\r\n!#$%&'*+-.^_`|~09: x\r\n\r\n", ""),
        "length:1", "[Content-Length: 1][!#$%&'*+-.^_`|~09: x]" },
};

/* Whole requests. */
static const struct row requests[] = {
    ROW("GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / 1.1 host=h body=none keep"),
    ROW("an empty line in front", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / 1.1 host=h body=none keep"),
    ROW("two empty lines in front", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad empty_lines"),
    ROW("bare LF in front", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad bare_lf"),
    ROW("bare CR in front", "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad bare_cr"),
    ROW("bare LF behind the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", "bad bare_lf"),
    ROW("bare CR in the request line", "GET / HTTP/1.1\rHost: h\r\n\r\n", "bad bare_cr"),
    ROW("a head that is not complete", "GET / HTTP/1.1\r\nHost: h\r\n\r", "more"),
    ROW("a request line that is not complete", "GET / HTTP/1.1", "more"),
    /* the request line */
    ROW("HTTP/0.9", "GET /\r\n", "bad request_line"),
    ROW("HTTP/0.9 with a space", "GET / \r\n", "bad request_line"),
    ROW("only a method", "GET\r\n", "bad request_line"),
    ROW("two spaces before the target", "GET  / HTTP/1.1\r\n", "bad request_line"),
    ROW("two spaces before the version", "GET /  HTTP/1.1\r\n", "bad request_line"),
    ROW("a space behind the version", "GET / HTTP/1.1 \r\n", "bad request_line"),
    ROW("a space before the method", " GET / HTTP/1.1\r\n", "bad request_line"),
    ROW("tabs for spaces", "GET\t/\tHTTP/1.1\r\n", "bad request_line"),
    ROW("a space in the target", "GET /a b HTTP/1.1\r\n", "bad request_line"),
    ROW("small letters in the version", "GET / http/1.1\r\n", "bad request_line"),
    ROW("another protocol", "GET / ICY/1.1\r\n", "bad request_line"),
    ROW("words behind the version", "GET / HTTP/1.1 HTTP/1.1\r\n", "bad request_line"),
    ROW("a version without number", "GET / HTTP/\r\n", "bad request_line"),
    ROW("version 2.0", "GET / HTTP/2.0\r\n", "bad version"),
    ROW("version 2", "GET / HTTP/2\r\n", "bad version"),
    ROW("version 1.2", "GET / HTTP/1.2\r\n", "bad version"),
    ROW("version 0.9", "GET / HTTP/0.9\r\n", "bad version"),
    ROW("version 1.10", "GET / HTTP/1.10\r\n", "bad version"),
    ROW("a comma in the version", "GET / HTTP/1,1\r\n", "bad request_line"),
    ROW("version 01.1", "GET / HTTP/01.1\r\n", "bad version"),
    ROW("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad version"),
    ROW("a TLS hello", "\x16\x03\x01\x02", "bad control_byte"),
    /* methods */
    ROW("a method of no list", "PROPFIND / HTTP/1.0\r\n\r\n", "PROPFIND / 1.0 host= body=none"),
    ROW("a method in small letters", "get / HTTP/1.0\r\n\r\n", "get / 1.0 host= body=none"),
    ROW("a method that is no token", "G@T / HTTP/1.1\r\n", "bad request_line"),
    ROW("an empty method", " / HTTP/1.1\r\n", "bad request_line"),
    ROW("CONNECT", "CONNECT h:443 HTTP/1.1\r\n", "bad method"),
    ROW("a method of 32 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.0\r\n\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / 1.0 host= body=none"),
    ROW("a method of 33 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.0\r\n", "bad method"),
    /* targets */
    ROW("a query", "GET /a/b?c=d?e HTTP/1.0\r\n\r\n", "GET /a/b?c=d?e 1.0 host= body=none"),
    ROW("an empty query", "GET /a? HTTP/1.0\r\n\r\n", "GET /a 1.0 host= body=none"),
    ROW("percent signs stay", "GET /%2e%2E/%00 HTTP/1.0\r\n\r\n",
        "GET /%2e%2E/%00 1.0 host= body=none"),
    ROW("two slashes stay", "GET //a HTTP/1.0\r\n\r\n", "GET //a 1.0 host= body=none"),
    ROW("* with OPTIONS", "OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS * 1.0 host= body=none"),
    ROW("* with GET", "GET * HTTP/1.0\r\n", "bad target"),
    ROW("** with OPTIONS", "OPTIONS ** HTTP/1.0\r\n", "bad target"),
    ROW("no slash in front", "GET v1/models HTTP/1.1\r\n", "bad target"),
    ROW("an empty target", "GET  HTTP/1.1\r\n", "bad target"),
    ROW("a fragment", "GET /a#b HTTP/1.1\r\n", "bad target"),
    ROW("a byte beyond ASCII", "GET /\xc3\xa9 HTTP/1.1\r\n", "bad target"),
    ROW("a tab in the target", "GET /a\tb HTTP/1.1\r\n", "bad target"),
    ROW("NUL in the target", "GET /a\0b HTTP/1.1\r\n", "bad control_byte"),
    ROW("DEL in the target", "GET /a\x7f HTTP/1.1\r\n", "bad control_byte"),
    ROW("absolute form", "GET http://h:80/a?b HTTP/1.1\r\nHost: H:80\r\n\r\n",
        "GET /a?b 1.1 host=H:80 body=none keep"),
    ROW("absolute form without path", "GET HTTPS://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / 1.1 host=h body=none keep"),
    ROW("absolute form with only a query", "GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /?b 1.1 host=h body=none keep"),
    ROW("absolute form in 1.0 without Host", "GET http://h/a HTTP/1.0\r\n\r\n",
        "GET /a 1.0 host=h body=none"),
    ROW("absolute form without Host", "GET http://h/ HTTP/1.1\r\n\r\n", "bad host_missing"),
    ROW("absolute form with another Host", "GET http://h/ HTTP/1.1\r\nHost: g\r\n\r\n",
        "bad host_differs"),
    ROW("absolute form without authority", "GET http:///a HTTP/1.1\r\n", "bad target"),
    ROW("absolute form with a user", "GET http://u@h/ HTTP/1.1\r\n", "bad target"),
    ROW("absolute form of another scheme", "GET ftp://h/ HTTP/1.1\r\n", "bad target"),
    ROW("authority form with GET", "GET h:80 HTTP/1.1\r\n", "bad target"),
    /* Host */
    ROW("no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", "bad host_missing"),
    ROW("no header at all", "GET / HTTP/1.1\r\n\r\n", "bad host_missing"),
    ROW("no Host in 1.0", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0 host= body=none"),
    ROW("a second Host", "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "bad host_repeated"),
    ROW("the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "bad host_repeated"),
    ROW("a second Host in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        "bad host_repeated"),
    ROW("Host: empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad host"),
    ROW("Host: list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad host"),
    ROW("Host: with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad host"),
    ROW("Host: with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "bad host"),
    ROW("Host: beyond ASCII", "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", "bad host"),
    ROW("Host: only a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "bad host"),
    ROW("Host: empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "bad host"),
    ROW("Host: port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "bad host"),
    ROW("Host: port too large", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "bad host"),
    ROW("Host: two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "bad host"),
    ROW("Host: bracket left open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "bad host"),
    ROW("Host: empty brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", "bad host"),
    ROW("Host: words behind brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", "bad host"),
    ROW("Host: name in brackets", "GET / HTTP/1.1\r\nHost: [xyz]\r\n\r\n", "bad host"),
    ROW("Host: name and port", "GET / HTTP/1.1\r\nHost: api.h-1_x.example:65535\r\n\r\n",
        "GET / 1.1 host=api.h-1_x.example:65535 body=none keep"),
    ROW("Host: IPv6 and port", "GET / HTTP/1.1\r\nHost: [2001:db8::1.2.3.4]:8080\r\n\r\n",
        "GET / 1.1 host=[2001:db8::1.2.3.4]:8080 body=none keep"),
    /* bodies */
    ROW("coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "bad transfer_encoding_in_1_0"),
    ROW("unknown coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n",
        "bad transfer_encoding_in_1_0"),
    ROW("POST without length", REQUEST_START "\r\n", "POST /v1 1.1 host=h body=none keep"),
    ROW("GET with a body", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
        "GET / 1.1 host=h body=length:3 keep"),
    /* Expect */
    ROW("Expect with a length", REQUEST_START "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
        "POST /v1 1.1 host=h body=length:1 keep expect"),
    ROW("Expect with chunks",
        REQUEST_START "expect:100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /v1 1.1 host=h body=chunked keep expect"),
    ROW("Expect without body", REQUEST_START "Expect: 100-continue\r\n\r\n",
        "POST /v1 1.1 host=h body=none keep"),
    ROW("Expect with length 0", REQUEST_START "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST /v1 1.1 host=h body=length:0 keep"),
    ROW("Expect of another kind", REQUEST_START "Expect: 200-ok\r\n\r\n", "bad expect"),
    ROW("Expect: empty", REQUEST_START "Expect:\r\n\r\n", "bad expect"),
    ROW("Expect: list", REQUEST_START "Expect: 100-continue, x\r\n\r\n", "bad expect"),
    ROW("Expect twice", REQUEST_START "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
        "bad expect"),
    ROW("Expect in 1.0 is not heard",
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "POST / 1.0 host= body=length:1"),
    /* Connection */
    ROW("close", REQUEST_START "Connection: close\r\n\r\n", "POST /v1 1.1 host=h body=none"),
    ROW("close in a list", REQUEST_START "Connection: x ,, CLOSE\t,y\r\n\r\n",
        "POST /v1 1.1 host=h body=none"),
    ROW("close in a second line", REQUEST_START "Connection: x\r\nconnection: close\r\n\r\n",
        "POST /v1 1.1 host=h body=none"),
    ROW("close beside keep-alive", REQUEST_START "Connection: keep-alive, close\r\n\r\n",
        "POST /v1 1.1 host=h body=none"),
    ROW("a token that only looks like close", REQUEST_START "Connection: closed\r\n\r\n",
        "POST /v1 1.1 host=h body=none keep"),
    ROW("keep-alive in 1.0", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "GET / 1.0 host= body=none keep"),
    ROW("close beside keep-alive in 1.0", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        "GET / 1.0 host= body=none"),
    ROW("upgrade", REQUEST_START "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST /v1 1.1 host=h body=none keep upgrade"),
    ROW("upgrade without its token", REQUEST_START "Upgrade: websocket\r\n\r\n",
        "POST /v1 1.1 host=h body=none keep"),
    ROW("the token without Upgrade", REQUEST_START "Connection: upgrade\r\n\r\n",
        "POST /v1 1.1 host=h body=none keep"),
    ROW("upgrade in 1.0", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / 1.0 host= body=none"),
    /* the first fault is the one that is named */
    ROW("a bad line before a bad end", REQUEST_START "A b: c\r\nD: e\n\r\n", "bad header_name"),
    ROW("a bad end before a bad line", REQUEST_START "D: e\nA b: c\r\n\r\n", "bad bare_lf"),
};

static struct slice
join(struct buf *out, const char *start, struct slice bytes)
{
    buf_clear(out);
    buf_add_str(out, start);
    buf_add_slice(out, bytes);
    return buf_slice(out);
}

static void
lines_that_are_refused_of_anybody(void **state)
{
    const struct speaker client = speaker_client();
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_POST);
    struct buf message = { 0 };
    for (size_t i = 0; i < countof(refused_lines); i++) {
        const struct row *row = &refused_lines[i];
        pieces_expect_head(
            row->name, join(&message, REQUEST_START, row->bytes), &client, row->expected);
        pieces_expect_head(
            row->name, join(&message, RESPONSE_START, row->bytes), &upstream, row->expected);
    }
    buf_free(&message);
}

static void
lines_that_pass_of_anybody(void **state)
{
    const struct speaker client = speaker_client();
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_POST);
    struct buf message = { 0 };
    for (size_t i = 0; i < countof(accepted_lines); i++) {
        const struct row *row = &accepted_lines[i].row;
        struct buf expected = { 0 };
        struct buf whole = { 0 };
        buf_addf(&expected, "POST /v1 1.1 host=h body=%s keep", accepted_lines[i].body);
        struct slice bytes = join(&message, REQUEST_START, row->bytes);
        pieces_expect_head(row->name, bytes, &client, buf_cstr(&expected));
        (void)pieces_read_head(bytes, &client, 0, &whole);
        buf_addf(&expected, " |[Host: h]%s", accepted_lines[i].headers);
        assert_string_equal(buf_cstr(&whole), buf_cstr(&expected));

        buf_clear(&expected);
        buf_clear(&whole);
        buf_addf(&expected, "200 OK 1.1 body=%s keep", accepted_lines[i].body);
        bytes = join(&message, RESPONSE_START, row->bytes);
        pieces_expect_head(row->name, bytes, &upstream, buf_cstr(&expected));
        (void)pieces_read_head(bytes, &upstream, 0, &whole);
        buf_addf(&expected, " |%s", accepted_lines[i].headers);
        assert_string_equal(buf_cstr(&whole), buf_cstr(&expected));
        buf_free(&whole);
        buf_free(&expected);
    }
    buf_free(&message);
}

static void
requests_are_read_or_refused(void **state)
{
    const struct speaker client = speaker_client();
    for (size_t i = 0; i < countof(requests); i++) {
        pieces_expect_head(requests[i].name, requests[i].bytes, &client, requests[i].expected);
    }
}

/* ---- bounds: one byte or line less passes ---- */

static void
add_repeated(struct buf *out, char c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_add_char(out, c);
    }
}

static void
heads_end_at_their_bounds(void **state)
{
    static const struct {
        const char *name;
        size_t method_bytes, target_bytes, header_count, value_bytes;
        const char *expected; /* NULL: it passes */
    } rows[] = {
        /*                              method target lines value */
        { "target at its bound",             3,   64,    1,    1, NULL },
        { "target beyond",                   3,   65,    1,    1, "bad target_too_long" },
        { "target far beyond",               3,  300,    1,    1, "bad target_too_long" },
        { "method and target at theirs",    32,   64,    1,    1, NULL },
        { "method beyond, target at its",   33,   64,    1,    1, "bad method" },
        { "method far beyond",             300,    1,    1,    1, "bad method" },
        { "headers at their bound",          3,    1,    7,    1, NULL },
        { "one header too many",             3,    1,    8,    1, "bad too_many_headers" },
        { "head at its bound",               3,    1,    1,  481, NULL },
        { "head beyond",                     3,    1,    1,  482, "bad head_too_large" },
        { "head far beyond",                 3,    1,    1,  900, "bad head_too_large" },
    };
    const struct speaker client = speaker_client();
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf message = { 0 };
        add_repeated(&message, 'M', rows[i].method_bytes);
        buf_add_str(&message, " /");
        add_repeated(&message, 't', rows[i].target_bytes - 1);
        buf_add_str(&message, " HTTP/1.0\r\nHost: h\r\n");
        for (size_t j = 0; j < rows[i].header_count; j++) {
            buf_add_str(&message, "A:");
            add_repeated(&message, 'v', rows[i].value_bytes);
            buf_add_str(&message, "\r\n");
        }
        buf_add_str(&message, "\r\n");
        if (rows[i].value_bytes == 481) {
            assert_int_equal(message.len, client.limits.head_bytes_max);
        }

        struct buf expected = { 0 };
        (void)pieces_read_head(buf_slice(&message), &client, 0, &expected);
        if (rows[i].expected == NULL) {
            assert_int_equal(buf_cstr(&expected)[0], 'M'); /* not refused, and complete */
            *strstr(expected.ptr, " |") = '\0';
        }
        pieces_expect_head(rows[i].name, buf_slice(&message), &client,
            rows[i].expected == NULL ? expected.ptr : rows[i].expected);
        buf_free(&expected);
        buf_free(&message);
    }
}

static void
a_head_without_end_is_refused_at_its_bound(void **state)
{
    static const struct {
        const char *start;
        char byte;
        const char *expected;
    } rows[] = {
        { "", 'A', "bad method" },                      /* no space comes, no line end */
        { "GET /", 'a', "bad target_too_long" },
        { "GET / HTTP/1.0\r\nA: ", 'b', "bad head_too_large" },
        { "GET / HTTP/1.0\r\n", 'b', "bad head_too_large" },
    };
    const struct speaker client = speaker_client();
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf message = { 0 };
        buf_add_str(&message, rows[i].start);
        add_repeated(&message, rows[i].byte, client.limits.head_bytes_max - message.len);
        pieces_expect_head(rows[i].start, buf_slice(&message), &client, rows[i].expected);
        buf_free(&message);
    }
}

/* ---- every byte value in every place, against the grammar written a second time ---- */

static bool
is_tchar(int c)
{
    return c > 0 && c < 0x7f && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL;
}

static bool
is_target_char(int c)
{
    return c >= 0x21 && c <= 0x7e && c != '#';
}

static bool
is_host_char(int c)
{
    return c > 0 && c < 0x7f && strchr("-._~%0123456789abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL;
}

static bool
is_value_char(int c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static void
each_byte_stands_only_where_it_may(void **state)
{
    static const struct {
        const char *before, *after;
        bool (*allowed)(int c);
        bool is_request;
    } rows[] = {
        { "G", "T / HTTP/1.0\r\n\r\n", is_tchar, true },
        { "GET /", "x HTTP/1.0\r\n\r\n", is_target_char, true },
        { "GET / HTTP/1.0\r\nA", "b: c\r\n\r\n", is_tchar, true },
        { "GET / HTTP/1.0\r\nA: b", "c\r\n\r\n", is_value_char, true },
        { "GET / HTTP/1.0\r\nA: 12345678", "12345678\r\n\r\n", is_value_char, true },
        { "GET / HTTP/1.0\r\nHost: b", "c\r\n\r\n", is_host_char, true },
        { "HTTP/1.0 200 O", "K\r\n\r\n", is_value_char, false },
        { "HTTP/1.0 200 OK\r\nA", "b: c\r\n\r\n", is_tchar, false },
        { "HTTP/1.0 200 OK\r\nA: b", "c\r\n\r\n", is_value_char, false },
    };
    const struct speaker client = speaker_client();
    const struct speaker upstream = speaker_upstream(HTTP_METHOD_GET);
    for (size_t i = 0; i < countof(rows); i++) {
        for (int c = 0; c < 256; c++) {
            if (c == ':' && rows[i].allowed != is_value_char && rows[i].allowed != is_target_char) {
                continue; /* it ends the name there, or the host */
            }
            struct buf message = { 0 };
            struct buf got = { 0 };
            buf_add_str(&message, rows[i].before);
            buf_add_char(&message, (char)c);
            buf_add_str(&message, rows[i].after);
            (void)pieces_read_head(
                buf_slice(&message), rows[i].is_request ? &client : &upstream, 0, &got);
            const bool passed = strncmp(buf_cstr(&got), "bad ", 4) != 0;
            if (passed != rows[i].allowed(c)) {
                fail_msg("byte 0x%02x behind \"%s\": %s", (unsigned)c, rows[i].before, got.ptr);
            }
            buf_free(&got);
            buf_free(&message);
        }
    }
}

/* ---- looking things up ---- */

static void
headers_are_found_without_case(void **state)
{
    const struct slice bytes = SLICE(
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-b: 2\r\nx-a: 3\r\nX-A: 4\r\n\r\n");
    const struct speaker client = speaker_client();
    struct http_parse_state parse = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    assert_int_equal(
        http_parse_request(bytes, &client.limits, &parse, &head, &why), HTTP_DONE);
    assert_int_equal(head.header_count, 5);
    const struct http_header *first = http_find(&head, SLICE("X-a"));
    assert_ptr_equal(first, &head.headers[1]);
    const struct http_header *second = http_find_next(&head, SLICE("X-a"), first);
    assert_ptr_equal(second, &head.headers[3]);
    const struct http_header *third = http_find_next(&head, SLICE("X-a"), second);
    assert_ptr_equal(third, &head.headers[4]);
    assert_null(http_find_next(&head, SLICE("X-a"), third));
    assert_null(http_find(&head, SLICE("x")));
    assert_null(http_find(&head, SLICE("")));

    head.header_count = 1;
    assert_null(http_find(&head, SLICE("X-a")));
}

static void
what_an_earlier_head_left_behind_is_not_heard(void **state)
{
    const struct slice earlier = SLICE("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    const struct slice later = SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const struct speaker client = speaker_client();
    struct http_head head;
    const struct http_fault *why = NULL;
    struct http_parse_state parse = { 0 };
    assert_int_equal(
        http_parse_request(earlier, &client.limits, &parse, &head, &why), HTTP_DONE);
    assert_int_equal(head.body_kind, HTTP_BODY_LENGTH);
    parse = (struct http_parse_state){ 0 };
    assert_int_equal(http_parse_request(later, &client.limits, &parse, &head, &why), HTTP_DONE);
    assert_int_equal(head.body_kind, HTTP_BODY_NONE);
    assert_int_equal(head.content_length, 0);
}

static void
lists_are_taken_apart_at_commas(void **state)
{
    static const struct {
        const char *list, *expected;
    } rows[] = {
        { "", "" }, { " ", "" }, { ",", "" }, { ", ,\t,", "" },
        { "a", "<a>" }, { "a,b", "<a><b>" }, { " a ,\tb b , c", "<a><b b><c>" },
        { ",a,", "<a>" }, { "a;q=1, b", "<a;q=1><b>" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct slice rest = slice_str(rows[i].list);
        struct slice token = { 0 };
        struct buf got = { 0 };
        while (http_next_token(&rest, &token)) {
            buf_addf(&got, "<%.*s>", (int)token.len, token.ptr);
        }
        assert_string_equal(buf_cstr(&got), rows[i].expected);
        buf_free(&got);
    }
}

static void
tokens_are_found_in_any_line_of_the_name(void **state)
{
    const struct slice bytes = SLICE(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: a, WebSocket\r\nB: x\r\nupgrade: h2c\r\n\r\n");
    const struct speaker client = speaker_client();
    struct http_parse_state parse = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    assert_int_equal(
        http_parse_request(bytes, &client.limits, &parse, &head, &why), HTTP_DONE);
    assert_true(http_has_token(&head, SLICE("upgrade"), SLICE("websocket")));
    assert_true(http_has_token(&head, SLICE("upgrade"), SLICE("H2C")));
    assert_false(http_has_token(&head, SLICE("upgrade"), SLICE("web")));
    assert_false(http_has_token(&head, SLICE("b"), SLICE("websocket")));
}

static void
methods_are_told_apart(void **state)
{
    assert_int_equal(http_method_of(SLICE("GET")), HTTP_METHOD_GET);
    assert_int_equal(http_method_of(SLICE("OPTIONS")), HTTP_METHOD_OPTIONS);
    assert_int_equal(http_method_of(SLICE("get")), HTTP_METHOD_OTHER);
    assert_int_equal(http_method_of(SLICE("GETS")), HTTP_METHOD_OTHER);
    assert_int_equal(http_method_of(SLICE("")), HTTP_METHOD_OTHER);
}

static void
a_refused_head_stays_refused(void **state)
{
    const struct slice bytes = SLICE("GET /\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const struct speaker client = speaker_client();
    struct http_parse_state parse = { 0 };
    struct http_head head;
    for (int i = 0; i < 3; i++) {
        const struct http_fault *why = NULL;
        assert_int_equal(
            http_parse_request(bytes, &client.limits, &parse, &head, &why), HTTP_BAD);
        assert_ptr_equal(why, http_fault(HTTP_FAULT_REQUEST_LINE));
    }
}

static void
faults_carry_what_to_answer(void **state)
{
    for (int code = 0; code < HTTP_FAULT_COUNT; code++) {
        const struct http_fault *fault = http_fault((enum http_fault_code)code);
        assert_int_equal(fault->code, code);
        assert_in_range(fault->status, 400, 505);
        assert_string_not_equal(http_reason(fault->status), "");
        assert_true(strlen(fault->name) > 0);
        assert_int_equal(fault->sentence[strlen(fault->sentence) - 1], '.');
    }
    assert_int_equal(http_fault(HTTP_FAULT_HEAD_TOO_LARGE)->status, 431);
    assert_int_equal(http_fault(HTTP_FAULT_TARGET_TOO_LONG)->status, 414);
    assert_int_equal(http_fault(HTTP_FAULT_BODY_TOO_LARGE)->status, 413);
    assert_int_equal(http_fault(HTTP_FAULT_EXPECT)->status, 417);
    assert_int_equal(http_fault(HTTP_FAULT_VERSION)->status, 505);
    assert_int_equal(http_fault(HTTP_FAULT_CODING)->status, 501);
}

static const struct CMUnitTest tests[] = {
    CASE("header lines that are refused of anybody", lines_that_are_refused_of_anybody),
    CASE("header lines that pass of anybody", lines_that_pass_of_anybody),
    CASE("requests are read or refused", requests_are_read_or_refused),
    CASE("heads end at their bounds", heads_end_at_their_bounds),
    CASE("a head without end is refused at its bound", a_head_without_end_is_refused_at_its_bound),
    CASE("each byte stands only where it may", each_byte_stands_only_where_it_may),
    CASE("headers are found without case", headers_are_found_without_case),
    CASE("what an earlier head left behind is not heard",
        what_an_earlier_head_left_behind_is_not_heard),
    CASE("lists are taken apart at commas", lists_are_taken_apart_at_commas),
    CASE("tokens are found in any line of the name", tokens_are_found_in_any_line_of_the_name),
    CASE("methods are told apart", methods_are_told_apart),
    CASE("a refused head stays refused", a_refused_head_stays_refused),
    CASE("faults carry what to answer", faults_carry_what_to_answer),
};

UNIT_MAIN(tests)
