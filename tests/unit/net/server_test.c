/* tests/unit/net/server_test.c
 *
 * Goal: one request in, one answer out, whatever the client does, and nothing of it left behind.
 * Method: a server on loopback with the app of peer.h; clients are blocking sockets. */
#include "unit.h"

#include <arpa/inet.h>
#ifdef __linux__
#include <linux/tcp.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "peer.h"

static struct peer_server server;

static int
start(void **state)
{
    peer_server_start(&server, NULL);
    return 0;
}

static int
stop(void **state)
{
    peer_server_stop(&server);
    return 0;
}

/* Sends the text and returns all that comes back until the connection ends. */
static char *
ask(const char *text)
{
    const int fd = peer_connect(server.port);
    peer_send(fd, text);
    return peer_read_all(fd, NULL);
}

#define LAST "Connection: close\r\n"

static void
answers_have_date_length_and_body(void **state)
{
    char *answer = ask("POST /echo HTTP/1.1\r\nHost: a\r\n" LAST "Content-Length: 5\r\n\r\nhello");
    assert_memory_equal(answer, "HTTP/1.1 200 OK\r\nDate: ", 23);
    assert_non_null(strstr(answer, " GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
                                   "Connection: close\r\n\r\nhello"));
    free(answer);
}

static void
connection_serves_many_requests(void **state)
{
    const int fd = peer_connect(server.port);
    char answer[512];
    for (int i = 0; i < 50; i++) {
        peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_true(peer_read_until(fd, "\r\n\r\nhi", answer, sizeof(answer)));
        assert_null(strstr(answer, "Connection:"));
    }
    (void)close(fd);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
    char *answer = ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                       "GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
                       "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nthr\r\n2\r\nee\r\n0\r\n\r\n"
                       "POST /echo HTTP/1.1\r\nHost: a\r\n" LAST "Content-Length: 4\r\n\r\nfour");
    const char *one = strstr(answer, "\r\n\r\none");
    const char *late = strstr(answer, "\r\n\r\nlate");
    const char *three = strstr(answer, "2\r\nth\r\n3\r\nree\r\n0\r\n\r\nHTTP");
    const char *four = strstr(answer, "\r\n\r\nfour");
    assert_int_equal(peer_count(answer, "HTTP/1.1 200"), 4);
    assert_true(one && one < late && late < three && three < four);
    free(answer);
}

static void
request_may_come_byte_by_byte(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" LAST
                               "\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    const int fd = peer_connect(server.port);
    const int one = 1;
    assert_int_equal(setsockopt(fd, 6, 1, &one, sizeof(one)), 0); /* TCP_NODELAY */
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        peer_send_bytes(fd, text + i, 1);
        if (i % 8 == 0) {
            peer_sleep_ms(1);
        }
    }
    char *answer = peer_read_all(fd, NULL);
    assert_non_null(strstr(answer, "\r\n\r\nhello!"));
    free(answer);
}

static void
large_body_comes_whole(void **state)
{
    const size_t size = 4 * 1024 * 1024;
    char *body = malloc(size);
    assert_non_null(body);
    for (size_t i = 0; i < size; i++) {
        body[i] = (char)('a' + i % 23);
    }
    const int fd = peer_connect(server.port);
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\n" LAST "Content-Length: 4194304\r\n\r\n");
    peer_send_bytes(fd, body, size);
    size_t len = 0;
    char *answer = peer_read_all(fd, &len);
    assert_true(len > size);
    assert_memory_equal(answer + len - size, body, size);
    free(answer);
    free(body);
}

static void
expect_gets_100_before_the_body_and_none_when_refused(void **state)
{
    char answer[512];
    int fd = peer_connect(server.port);
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" LAST
                  "\r\n");
    assert_true(peer_read_until(fd, "\r\n\r\n", answer, sizeof(answer)));
    assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_send(fd, "ok");
    assert_true(peer_read_until(fd, "\r\n\r\nok", answer, sizeof(answer)));
    (void)close(fd);

    fd = peer_connect(server.port);
    peer_send(fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    char *all = peer_read_all(fd, NULL);
    assert_memory_equal(all, "HTTP/1.1 401", 12);
    assert_null(strstr(all, "100 Continue"));
    free(all);
}

static void
refusal_reaches_a_client_that_still_sends(void **state)
{
    const size_t size = 6 * 1024 * 1024;
    char *body = calloc(1, size);
    assert_non_null(body);
    for (int i = 0; i < 5; i++) {
        const int fd = peer_connect(server.port);
        peer_send(fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 6291456\r\n\r\n");
        peer_send_bytes(fd, body, size); /* all of it, before it looks at the answer */
        char *answer = peer_read_all(fd, NULL);
        assert_memory_equal(answer, "HTTP/1.1 401", 12);
        assert_non_null(strstr(answer, "Connection: close\r\n\r\nwho are you?"));
        free(answer);
    }
    free(body);
}

static void
malformed_head_gets_one_status_line(void **state)
{
    static const struct {
        const char *text, *status, *code;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", "400", "host_missing" },
        { "GET / HTTP/1.1\nHost: a\r\n\r\n", "400", "bare_lf" },
        { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", "version" },
        { "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400", NULL },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", "400", "content_length" },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
          "0\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
            "400", "content_length_with_transfer_encoding" },
        { "GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400", "control_byte" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400",
            "space_before_colon" },
    };
    const int before = atomic_load(&server.requests);
    for (size_t i = 0; i < countof(rows); i++) {
        char expected[64];
        char *answer = ask(rows[i].text);
        (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", rows[i].status);
        assert_memory_equal(answer, expected, strlen(expected));
        assert_int_equal(peer_count(answer, "Date: "), 1);
        assert_non_null(strstr(answer, "Connection: close\r\n"));
        assert_non_null(strstr(answer, "{\"error\":{\"message\":\""));
        if (rows[i].code) {
            (void)snprintf(expected, sizeof(expected),
                "\"type\":\"invalid_request_error\",\"code\":\"%s\"}}", rows[i].code);
            assert_non_null(strstr(answer, expected));
        }
        free(answer);
    }
    assert_int_equal(atomic_load(&server.requests), before); /* none reached the app */
}

static void
head_over_the_limit_gets_431(void **state)
{
    char text[6000];
    int used = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text + used, 'x', 5000);
    text[used + 5000] = '\0';
    char *answer = ask(text);
    assert_memory_equal(answer, "HTTP/1.1 431 ", 13);
    free(answer);
}

static void
broken_body_gets_its_status_and_the_app_hears_gone(void **state)
{
    static const struct {
        const char *text, *start;
    } rows[] = {
        { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX", "HTTP/1.1 400" },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nx", "HTTP/1.1 413" },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", "HTTP/1.1 413" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const int gone = atomic_load(&server.gone);
        char *answer = ask(rows[i].text);
        assert_memory_equal(answer, rows[i].start, strlen(rows[i].start));
        assert_int_equal(peer_count(answer, "Date: "), 1);
        free(answer);
        assert_true(peer_await(&server.gone, gone + 1));
    }
}

static void
end_of_the_client_is_gone_within_300_ms(void **state)
{
    static const bool with_reset[] = { false, true };
    for (size_t i = 0; i < countof(with_reset); i++) {
        const int gone = atomic_load(&server.gone);
        const int requests = atomic_load(&server.requests);
        const int fd = peer_connect(server.port);
        /* A pipelined request waits behind it: the end is seen all the same. */
        peer_send(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_true(peer_await(&server.requests, requests + 1));
        peer_sleep_ms(30);
        assert_int_equal(atomic_load(&server.gone), gone);
        const int64_t at_ms = clock_mono_ms();
        if (with_reset[i]) {
            const struct linger reset = { 1, 0 };
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
            (void)close(fd);
        } else {
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        }
        assert_true(peer_await(&server.gone, gone + 1));
        assert_true(atomic_load(&server.gone_mono_ms) - at_ms < 300);
        assert_int_equal(atomic_load(&server.requests), requests + 1);
        if (!with_reset[i]) {
            (void)close(fd);
        }
    }
}

static void
cut_body_is_gone(void **state)
{
    const int gone = atomic_load(&server.gone);
    const int fd = peer_connect(server.port);
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal");
    peer_sleep_ms(20);
    (void)close(fd);
    assert_true(peer_await(&server.gone, gone + 1));
}

/* Head, two pieces and the end of an answer, each sent by a call of its own. */
static void
what_an_app_sends_in_one_turn_is_one_write(void **state)
{
#ifdef __linux__
    static const char wanted[] = "2\r\non\r\n3\r\nce!\r\n0\r\n\r\n";
    const int fd = peer_connect(server.port);
    char answer[512];
    for (uint32_t i = 1; i <= 20; i++) {
        struct tcp_info info = { 0 };
        socklen_t info_bytes = sizeof(info);
        peer_send(fd, "POST /chunked HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nonce!");
        assert_true(peer_read_until(fd, wanted, answer, sizeof(answer)));
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_bytes), 0);
        assert_int_equal(info.tcpi_data_segs_in, i); /* on loopback one write is one segment */
    }
    (void)close(fd);
#endif
}

static void
slow_reader_holds_the_app_at_the_high_water_mark(void **state)
{
    const int fd = peer_connect(server.port);
    peer_send(fd, "GET /flood HTTP/1.1\r\nHost: a\r\n" LAST "\r\n");
    peer_sleep_ms(300); /* the sockets' buffers are full, and the app has stopped */
    const size_t unsent = atomic_load(&server.unsent_max);
    assert_true(unsent > 0);
    assert_true(unsent <= 256 * 1024 + 70000);
    size_t len = 0;
    char *answer = peer_read_all(fd, &len);
    assert_true(len > FLOOD_BYTES);
    assert_memory_equal(answer + len - 7, "\r\n0\r\n\r\n", 7);
    assert_true(atomic_load(&server.drained) > 0);
    assert_true(atomic_load(&server.unsent_max) <= 256 * 1024 + 70000);
    free(answer);
}

/* Once it is over, the loop has seen all that was there to be read before. */
static void
turn_the_loop(void)
{
    free(ask("GET /echo HTTP/1.1\r\nHost: a\r\n" LAST "\r\n"));
}

static void
paused_body_stops_the_client(void **state)
{
    const size_t size = 7 * 1024 * 1024;
    char *body = calloc(1, size);
    assert_non_null(body);
    atomic_store(&server.body_bytes_max, 0);
    const int rests = atomic_load(&server.rests);
    const int fd = peer_connect(server.port);
    const int small = 65536;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    peer_send(fd, "POST /slow HTTP/1.1\r\nHost: a\r\n" LAST "Content-Length: 7340032\r\n\r\n");
    size_t pushed = (size_t)send(fd, body, 1000, 0);
    assert_true(peer_await(&server.rests, rests + 1));
    for (int i = 0; i < 200; i++) { /* while it rests, only the kernel takes some */
        const ssize_t more = send(fd, body, size - pushed, MSG_DONTWAIT);
        pushed += more > 0 ? (size_t)more : 0;
        turn_the_loop();
    }
    assert_true(pushed < 2 * 1024 * 1024);
    assert_true(atomic_load(&server.body_bytes_max) <= 128 * 1024);
    free(ask("GET /go_on HTTP/1.1\r\nHost: a\r\n" LAST "\r\n"));
    peer_send_bytes(fd, body, size - pushed);
    char *answer = peer_read_all(fd, NULL);
    assert_non_null(strstr(answer, "\r\n\r\n7340032"));
    free(answer);
    free(body);
}

static void
abort_leaves_the_chunked_answer_open(void **state)
{
    char *answer = ask("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(answer, "4\r\nhalf\r\n"));
    assert_null(strstr(answer, "0\r\n\r\n"));
    free(answer);
}

static void
old_client_gets_its_answer_until_close(void **state)
{
    char *answer = ask("POST /chunked HTTP/1.0\r\nContent-Length: 4\r\n\r\nabcd");
    assert_null(strstr(answer, "Transfer-Encoding"));
    assert_non_null(strstr(answer, "Connection: close\r\n\r\nabcd"));
    free(answer);
}

static void
head_request_gets_no_body(void **state)
{
    const int fd = peer_connect(server.port);
    char answer[512];
    peer_send(fd, "HEAD /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_read_until(fd, "\r\n\r\n", answer, sizeof(answer)));
    assert_non_null(strstr(answer, "Content-Length: 4\r\n"));
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_true(peer_read_until(fd, "hi", answer, sizeof(answer)));
    assert_memory_equal(answer, "HTTP/1.1 200", 12); /* nothing stood between */
    (void)close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("answers have a date, a length and their body", answers_have_date_length_and_body),
        CASE("a connection serves many requests", connection_serves_many_requests),
        CASE("pipelined requests are answered in order", pipelined_requests_are_answered_in_order),
        CASE("a request may come byte by byte", request_may_come_byte_by_byte),
        CASE("a large body comes whole", large_body_comes_whole),
        CASE("Expect gets 100 before the body, and none when refused",
            expect_gets_100_before_the_body_and_none_when_refused),
        CASE("a refusal reaches a client that still sends",
            refusal_reaches_a_client_that_still_sends),
        CASE("a malformed head gets one status line", malformed_head_gets_one_status_line),
        CASE("a head over the limit gets 431", head_over_the_limit_gets_431),
        CASE("a broken body gets its status and the app hears gone",
            broken_body_gets_its_status_and_the_app_hears_gone),
        CASE("the end of the client is gone within 300 ms",
            end_of_the_client_is_gone_within_300_ms),
        CASE("a cut body is gone", cut_body_is_gone),
        CASE("a slow reader holds the app at the high-water mark",
            slow_reader_holds_the_app_at_the_high_water_mark),
        CASE("what an app sends in one turn is one write",
            what_an_app_sends_in_one_turn_is_one_write),
        CASE("a paused body stops the client", paused_body_stops_the_client),
        CASE("abort leaves the chunked answer open", abort_leaves_the_chunked_answer_open),
        CASE("an old client gets its answer until close", old_client_gets_its_answer_until_close),
        CASE("a HEAD request gets no body", head_request_gets_no_body),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
