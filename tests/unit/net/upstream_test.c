/* tests/unit/net/upstream_test.c
 *
 * Goal: a call ends exactly once and truthfully; a connection is used again only when nothing of its
 * last exchange is left on it.
 * Method: callers and providers of caller.h on loopback; a provider answers with bytes from a table. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "caller.h"
#include "peer.h"

static struct caller caller;

static int
start(void **state)
{
    caller_start(&caller);
    return 0;
}

static int
stop(void **state)
{
    caller_stop(&caller);
    return 0;
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* Answers every request of a connection with the text in provider->user. */
static void
serve_text(struct provider *provider, int fd, int index)
{
    while (provider_read_request(fd)) {
        peer_send(fd, provider->user);
    }
    (void)close(fd);
}

/* The same, once, and ends the connection. */
static void
serve_text_and_end(struct provider *provider, int fd, int index)
{
    if (provider_read_request(fd)) {
        peer_send(fd, provider->user);
    }
    (void)close(fd);
}

static struct caller_result
call_once(struct provider *provider, void (*serve)(struct provider *, int, int), const char *text,
    const struct caller_ask *like)
{
    struct caller_ask ask = like ? *like : (struct caller_ask){ 0 };
    struct caller_result result;
    provider->user = (void *)(uintptr_t)text;
    provider_start(provider, serve);
    ask.target = provider_target(provider);
    caller_call(&caller, &ask, &result);
    return result;
}

static void
assert_body(struct caller_result *result, const char *body)
{
    assert_string_equal(buf_cstr(&result->body), body);
}

static void
answers_end_where_their_framing_says(void **state)
{
    static const struct {
        const char *head, *answer, *body, *events;
        int status;
    } rows[] = {
        { NULL, OK_ANSWER, "ok", "shbe", 200 },
        { NULL,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            "abcde", "shbe", 200 },
        { NULL, "HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", "shbe", 200 },
        { NULL, "HTTP/1.0 200 OK\r\n\r\nold", "old", "shbe", 200 },
        { NULL, "HTTP/1.1 204 No Content\r\n\r\n", "", "she", 204 },
        { NULL, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", "she", 304 },
        { NULL, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "she", 200 },
        { "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "",
            "she", 200 },
        { NULL,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK_ANSWER,
            "ok", "shbe", 200 },
        { NULL, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nRetry-After: 2\r\n\r\nwait",
            "wait", "shbe", 429 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        const struct caller_ask ask = { .head = rows[i].head };
        struct caller_result result =
            call_once(&provider, serve_text_and_end, rows[i].answer, &ask);
        assert_string_equal(result.events, rows[i].events);
        assert_int_equal(result.status, rows[i].status);
        assert_body(&result, rows[i].body);
        caller_free(&result);
        provider_stop(&provider);
    }
}

static void
malformed_answer_fails(void **state)
{
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01\x01\x01\r\n",
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        struct caller_result result = call_once(&provider, serve_text, rows[i], NULL);
        assert_string_equal(result.events + strlen(result.events) - 1, "f");
        assert_int_equal(result.why, NET_FAIL_MALFORMED);
        assert_true(result.all_sent);
        assert_non_null(strstr(result.detail, "malformed answer: "));
        caller_free(&result);
        provider_stop(&provider);
    }
}

static void
endless_interim_answers_fail(void **state)
{
    char text[2048] = "";
    size_t used = 0;
    for (int i = 0; i < 40; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    struct provider provider = { 0 };
    struct caller_result result = call_once(&provider, serve_text, text, NULL);
    assert_int_equal(result.why, NET_FAIL_MALFORMED);
    caller_free(&result);
    provider_stop(&provider);
}

static void
cut_answer_fails(void **state)
{
    static const char *const rows[] = {
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        struct caller_result result = call_once(&provider, serve_text_and_end, rows[i], NULL);
        assert_int_equal(result.why, NET_FAIL_CLOSED);
        assert_true(result.all_sent);
        assert_string_equal(result.events + strlen(result.events) - 1, "f");
        caller_free(&result);
        provider_stop(&provider);
    }
}

/* ---- the pool ---- */

static void
connection_is_used_again_after_a_complete_exchange(void **state)
{
    static const struct {
        const char *answer;
        int connections; /* for three calls */
    } rows[] = {
        { OK_ANSWER, 1 },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1 },
        { "HTTP/1.1 204 No Content\r\n\r\n", 1 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 3 },
        { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 3 }, { OK_ANSWER "surplus", 3 },
        { OK_ANSWER OK_ANSWER, 3 }, /* an answer nobody asked for must not meet the next call */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        struct caller_result result = call_once(&provider, serve_text, rows[i].answer, NULL);
        const struct caller_ask ask = { .target = provider_target(&provider) };
        for (int again = 0; again < 3; again++) {
            assert_string_equal(result.events + strlen(result.events) - 1, "e");
            caller_free(&result);
            if (again < 2) {
                caller_call(&caller, &ask, &result);
            }
        }
        assert_int_equal(atomic_load(&provider.accepted), rows[i].connections);
        provider_stop(&provider);
    }
}

/* Each connection of its own thread, so that several are open at once. */
static void *
serve_open(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    while (provider_read_request(fd)) {
        peer_send(fd, OK_ANSWER);
    }
    (void)close(fd);
    return NULL;
}

static pthread_t open_threads[16];

static void
serve_many(struct provider *provider, int fd, int index)
{
    check(index < 16);
    check(pthread_create(&open_threads[index], NULL, serve_open, (void *)(intptr_t)fd) == 0);
}

static void
connections_are_never_shared_between_credentials(void **state)
{
    struct provider provider = { 0 };
    static const struct {
        const char *host, *credential;
        int accepted;
    } rows[] = {
        { "127.0.0.1", "company", 1 },
        { "127.0.0.1", "account-1", 2 },
        { "127.0.0.1", NULL, 3 },
        { "127.0.0.1", "", 4 },
        { "localhost", "company", 5 },
        { "127.0.0.1", "account-1", 5 },
        { "127.0.0.1", "company", 5 },
        { "localhost", "company", 5 },
        { "127.0.0.1", NULL, 5 },
        { "127.0.0.1", "", 5 },
    };
    provider_start(&provider, serve_many);
    for (size_t i = 0; i < countof(rows); i++) {
        struct caller_ask ask = { .target = provider_target(&provider) };
        struct caller_result result;
        ask.target.host = rows[i].host;
        ask.target.credential_id = rows[i].credential;
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, "shbe");
        assert_int_equal(atomic_load(&provider.accepted), rows[i].accepted);
        caller_free(&result);
    }
    caller_stop(&caller); /* closes them, so that the threads end */
    caller_start(&caller);
    for (int i = 0; i < atomic_load(&provider.accepted); i++) {
        assert_int_equal(pthread_join(open_threads[i], NULL), 0);
    }
    provider_stop(&provider);
}

/* Answers one request and ends the connection a little later, or says something on it. */
static void
serve_then_end(struct provider *provider, int fd, int index)
{
    if (provider_read_request(fd)) {
        peer_send(fd, OK_ANSWER);
    }
    peer_sleep_ms(50);
    if (provider->user) {
        peer_send(fd, provider->user);
        peer_sleep_ms(50);
    }
    (void)close(fd);
}

static void
idle_connection_that_ends_or_speaks_is_dropped(void **state)
{
    static const char *const words[] = { NULL,
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n" };
    for (size_t i = 0; i < countof(words); i++) {
        struct provider provider = { 0 };
        struct caller_result result = call_once(&provider, serve_then_end, words[i], NULL);
        const struct caller_ask ask = { .target = provider_target(&provider) };
        caller_free(&result);
        peer_sleep_ms(150);
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, "shbe");
        assert_int_equal(result.status, 200);
        assert_int_equal(atomic_load(&provider.accepted), 2);
        caller_free(&result);
        provider_stop(&provider);
    }
}

/* The end comes after the answer, and before the loop polls again: only a look at the connection tells. */
static void
connection_that_ended_since_the_last_poll_is_not_used(void **state)
{
    struct provider provider = { 0 };
    const struct caller_ask like = { .way = CALLER_AGAIN_AT_ONCE };
    struct caller_result result = call_once(&provider, serve_text_and_end, OK_ANSWER, &like);
    assert_string_equal(result.events, "shbeshbe");
    assert_int_equal(atomic_load(&provider.accepted), 2);
    caller_free(&result);
    provider_stop(&provider);
}

/* The first connection dies while its second, large request is on the way. */
static void
serve_and_die_in_the_second(struct provider *provider, int fd, int index)
{
    const struct linger reset = { 1, 0 };
    if (index == 0) {
        char bytes[1000];
        if (provider_read_request(fd)) {
            peer_send(fd, OK_ANSWER);
        }
        (void)recv(fd, bytes, sizeof(bytes), 0);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        (void)close(fd);
        return;
    }
    serve_text(provider, fd, index);
}

static void
stale_connection_is_replaced_once_while_the_request_is_not_out(void **state)
{
    const size_t size = 16 * 1024 * 1024;
    char *body = calloc(1, size);
    assert_non_null(body);
    struct provider provider = { 0 };
    struct caller_result result =
        call_once(&provider, serve_and_die_in_the_second, OK_ANSWER, NULL);
    assert_string_equal(result.events, "shbe");
    caller_free(&result);
    const struct caller_ask ask = { .target = provider_target(&provider),
        .head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n",
        .body = slice_of(body, size) };
    caller_call(&caller, &ask, &result);
    assert_string_equal(result.events, "shbe");
    assert_int_equal(atomic_load(&provider.accepted), 2);
    caller_free(&result);
    provider_stop(&provider);
    free(body);
}

/* Dies after it has read the second request whole: it may bill. */
static void
serve_and_swallow_the_second(struct provider *provider, int fd, int index)
{
    if (provider_read_request(fd)) {
        peer_send(fd, OK_ANSWER);
    }
    (void)provider_read_request(fd);
    (void)close(fd);
}

static void
request_that_was_out_is_not_repeated(void **state)
{
    struct provider provider = { 0 };
    struct caller_result result = call_once(&provider, serve_and_swallow_the_second, NULL, NULL);
    const struct caller_ask ask = { .target = provider_target(&provider) };
    caller_free(&result);
    caller_call(&caller, &ask, &result);
    assert_string_equal(result.events, "sf");
    assert_int_equal(result.why, NET_FAIL_CLOSED);
    assert_true(result.all_sent);
    assert_int_equal(atomic_load(&provider.accepted), 1);
    caller_free(&result);
    provider_stop(&provider);
}

/* ---- while sending ---- */

static void
serve_refuse_early(struct provider *provider, int fd, int index)
{
    char head[4096];
    (void)peer_read_until(fd, "\r\n\r\n", head, sizeof(head));
    peer_send(
        fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    if (provider->user) {
        peer_sleep_ms(200);
    }
    (void)close(fd); /* with unread bytes: a reset */
}

static void
early_answer_is_heard_while_sending(void **state)
{
    const size_t size = 16 * 1024 * 1024;
    char *body = calloc(1, size);
    assert_non_null(body);
    struct provider provider = { 0 };
    const struct caller_ask ask = {
        .head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n",
        .body = slice_of(body, size)
    };
    struct caller_result result = call_once(&provider, serve_refuse_early, "wait", &ask);
    assert_string_equal(result.events, "hbe"); /* never sent whole */
    assert_int_equal(result.status, 413);
    assert_body(&result, "big");
    caller_free(&result);
    provider_stop(&provider);
    free(body);
}

static void
serve_slow_reader(struct provider *provider, int fd, int index)
{
    peer_sleep_ms(200);
    serve_text(provider, fd, index);
}

static void
sent_is_told_when_the_last_byte_left(void **state)
{
    const size_t size = 16 * 1024 * 1024;
    char *body = malloc(size);
    assert_non_null(body);
    memset(body, 'b', size);
    struct provider provider = { 0 };
    const struct caller_ask ask = {
        .head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n",
        .body = slice_of(body, size)
    };
    struct caller_result result = call_once(&provider, serve_slow_reader, OK_ANSWER, &ask);
    assert_string_equal(result.events, "shbe");
    assert_true(result.took_ms >= 180);
    caller_free(&result);
    provider_stop(&provider);
    free(body);
}

/* ---- deadlines, ends, pauses ---- */

static void
serve_silence(struct provider *provider, int fd, int index)
{
    char bytes[16];
    if (provider_read_request(fd)) {
        peer_send(fd, provider->user);
    }
    (void)recv(fd, bytes, sizeof(bytes), 0); /* until the caller gives up */
    (void)close(fd);
}

static void
silence_meets_its_deadline(void **state)
{
    static const struct {
        const char *answer, *detail;
        struct net_deadlines deadlines;
    } rows[] = {
        { "", "no answer began", { 2000, 150, 5000 } },
        { "HTTP/1.1 200 OK\r\nConte", "no answer began", { 2000, 150, 5000 } },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "paused", { 2000, 5000, 150 } },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        const struct caller_ask ask = { .deadlines = rows[i].deadlines };
        struct caller_result result = call_once(&provider, serve_silence, rows[i].answer, &ask);
        assert_int_equal(result.why, NET_FAIL_TIMEOUT);
        assert_true(result.all_sent);
        assert_true(result.took_ms >= 130 && result.took_ms < 1500);
        assert_non_null(strstr(result.detail, rows[i].detail));
        caller_free(&result);
        provider_stop(&provider);
    }
}

static void
connection_that_cannot_be_had_is_told(void **state)
{
    uint16_t closed_port = 0;
    (void)close(peer_listen(&closed_port));
    /* A backlog that is full: connecting to it neither succeeds nor fails. */
    uint16_t full_port = 0;
    const int full = peer_listen(&full_port);
    assert_int_equal(listen(full, 0), 0);
    const int filler = peer_connect(full_port);
    const struct {
        struct net_target target;
        enum net_fail why;
        const char *detail;
    } rows[] = {
        { { .host = "127.0.0.1", .port = closed_port }, NET_FAIL_CONNECT, "connection refused" },
        { { .host = "localhost", .port = closed_port }, NET_FAIL_CONNECT, "connection refused" },
        { { .host = "no-such-host.invalid", .port = 80 }, NET_FAIL_DNS, "no-such-host.invalid" },
        { { .host = "127.0.0.1", .port = full_port }, NET_FAIL_TIMEOUT,
            "no connection within 300 ms" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct caller_ask ask = { .target = rows[i].target,
            .deadlines = { 300, 2000, 2000 } };
        struct caller_result result;
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, "f");
        assert_false(result.all_sent);
        if (i != 2) { /* a machine without any resolver times out there */
            assert_int_equal(result.why, rows[i].why);
            assert_non_null(strstr(result.detail, rows[i].detail));
        }
        caller_free(&result);
    }
    (void)close(filler);
    (void)close(full);
}

static void
cancel_closes_the_connection_at_once(void **state)
{
    static const struct {
        enum caller_way way;
        const char *answer, *events;
    } rows[] = {
        { CALLER_CANCEL_SOON, "", "sc" },
        { CALLER_CANCEL_ON_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "shc" },
        { CALLER_CANCEL_ON_BODY, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "shbc" },
        { CALLER_CANCEL_ON_BODY, OK_ANSWER, "shbc" }, /* with the last byte in hand */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        const struct caller_ask ask = { .way = rows[i].way };
        struct caller_result result = call_once(&provider, serve_silence, rows[i].answer, &ask);
        const int64_t from_ms = clock_mono_ms();
        assert_string_equal(result.events, rows[i].events);
        assert_true(peer_await(&provider.ended, 1)); /* it saw the end */
        assert_true(clock_mono_ms() - from_ms < 300);
        caller_free(&result);
        provider_stop(&provider);
    }
}

static void
serve_flood(struct provider *provider, int fd, int index)
{
    static char bytes[65536];
    memset(bytes, 'f', sizeof(bytes));
    if (provider_read_request(fd)) {
        peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n");
        for (int i = 0; i < 256; i++) {
            peer_send_bytes(fd, bytes, sizeof(bytes));
        }
    }
    (void)close(fd);
}

static void
pause_stops_the_answer_and_loses_nothing(void **state)
{
    static const struct {
        enum caller_way way;
        void (*serve)(struct provider *, int, int);
        const char *answer;
        size_t body_bytes, paused_bytes_max;
    } rows[] = {
        { CALLER_PAUSE_ON_HEAD, serve_flood, NULL, 16777216, 0 },
        { CALLER_PAUSE_ON_BODY, serve_flood, NULL, 16777216, 65536 },
        { CALLER_PAUSE_ON_HEAD, serve_text, OK_ANSWER, 2, 0 },
        { CALLER_PAUSE_ON_BODY, serve_text, OK_ANSWER, 2, 2 },
        { CALLER_PAUSE_ON_HEAD, serve_text_and_end, "HTTP/1.1 200 OK\r\n\r\nend", 3, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { 0 };
        const struct caller_ask ask = { .way = rows[i].way };
        struct caller_result result = call_once(&provider, rows[i].serve, rows[i].answer, &ask);
        assert_string_equal(result.events, "shbe");
        assert_true(result.took_ms >= 180);
        assert_int_equal(result.body.len, rows[i].body_bytes);
        assert_true(result.paused_bytes <= rows[i].paused_bytes_max);
        caller_free(&result);
        provider_stop(&provider);
    }
}

static void
serve_drip(struct provider *provider, int fd, int index)
{
    const char *text = provider->user;
    if (provider_read_request(fd)) {
        for (size_t i = 0; text[i]; i++) {
            peer_send_bytes(fd, text + i, 1);
            if (i % 4 == 0) {
                peer_sleep_ms(1);
            }
        }
    }
    (void)close(fd);
}

static void
answer_may_come_byte_by_byte(void **state)
{
    struct provider provider = { 0 };
    struct caller_result result = call_once(&provider, serve_drip,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
        NULL);
    assert_string_equal(result.events, "shbe");
    assert_body(&result, "abcde");
    caller_free(&result);
    provider_stop(&provider);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("answers end where their framing says", answers_end_where_their_framing_says),
        CASE("a malformed answer fails", malformed_answer_fails),
        CASE("endless interim answers fail", endless_interim_answers_fail),
        CASE("a cut answer fails", cut_answer_fails),
        CASE("a connection is used again after a complete exchange",
            connection_is_used_again_after_a_complete_exchange),
        CASE("connections are never shared between credentials",
            connections_are_never_shared_between_credentials),
        CASE("an idle connection that ends or speaks is dropped",
            idle_connection_that_ends_or_speaks_is_dropped),
        CASE("a connection that ended since the last poll is not used",
            connection_that_ended_since_the_last_poll_is_not_used),
        CASE("a stale connection is replaced once while the request is not out",
            stale_connection_is_replaced_once_while_the_request_is_not_out),
        CASE("a request that was out is not repeated", request_that_was_out_is_not_repeated),
        CASE("an early answer is heard while sending", early_answer_is_heard_while_sending),
        CASE("sent is told when the last byte left", sent_is_told_when_the_last_byte_left),
        CASE("silence meets its deadline", silence_meets_its_deadline),
        CASE("a connection that cannot be had is told", connection_that_cannot_be_had_is_told),
        CASE("cancel closes the connection at once", cancel_closes_the_connection_at_once),
        CASE("pause stops the answer and loses nothing", pause_stops_the_answer_and_loses_nothing),
        CASE("an answer may come byte by byte", answer_may_come_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
