/* tests/unit/mock/serving_test.c
 *
 * Goal: over a socket, each fault does what it says, and the journal bills as a provider would.
 * Method: the mock runs as a child process, as it always does; requests are written by hand and the
 * rest is read until the connection ends. */
#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "mock/mock.h"
#include "wire/json.h"

#define WAIT_MS 5000

static pid_t mock_pid;
static uint16_t mock_port;

static int
start(void **state)
{
    int ends[2];
    char line[128] = "";
    size_t line_bytes = 0;
    if (pipe(ends) != 0 || (mock_pid = fork()) < 0) {
        return -1;
    }
    if (mock_pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        exit(mock_main(&(struct mock_options){ 0 }));
    }
    close(ends[1]);
    while (!strchr(line, '\n') && line_bytes + 1 < sizeof line) {
        const ssize_t got = read(ends[0], line + line_bytes, sizeof line - line_bytes - 1);
        if (got <= 0) {
            return -1;
        }
        line_bytes += (size_t)got;
    }
    close(ends[0]);
    const char *const begin = "tidegate mock: listening on http://127.0.0.1:";
    int64_t port = 0;
    if (strncmp(line, begin, strlen(begin)) != 0
        || !slice_to_i64(slice_of(line + strlen(begin), line_bytes - strlen(begin) - 1), &port)) {
        return -1;
    }
    mock_port = (uint16_t)port;
    return 0;
}

/* SIGTERM ends it well; under a sanitizer that includes leaks. */
static int
stop(void **state)
{
    int status = 0;
    kill(mock_pid, SIGTERM);
    return waitpid(mock_pid, &status, 0) == mock_pid && WIFEXITED(status)
                   && WEXITSTATUS(status) == 0
               ? 0
               : -1;
}

static int
dial(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons(mock_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void
send_text(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the other side broke off: what it answered says why */
        }
        text += sent;
        bytes -= (size_t)sent;
    }
}

/* Reads until `until` was read, or to the end of the connection where it is NULL. False: broken off
 * with a reset or without the text. */
static bool
read_until(int fd, const char *until, struct buf *out)
{
    char bytes[16384];
    for (;;) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (until && strstr(buf_cstr(out), until)) {
            return true;
        }
        assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
        const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) {
            return !until && got == 0;
        }
        buf_add(out, bytes, (size_t)got);
    }
}

static void
ask(int fd, const char *method, const char *path, const char *credential, const char *body)
{
    struct buf request = { 0 };
    buf_addf(&request, "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", method, path);
    if (credential) {
        buf_addf(&request, "Authorization: Bearer %s\r\n", credential);
    }
    buf_addf(&request, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_text(fd, request.ptr, request.len);
    buf_free(&request);
}

/* One request with its whole answer; whether the connection ended well. */
static bool
exchange(const char *method, const char *path, const char *credential, const char *body,
    struct buf *answer)
{
    const int fd = dial();
    buf_clear(answer);
    ask(fd, method, path, credential, body);
    const bool ended = read_until(fd, NULL, answer);
    close(fd);
    return ended;
}

static const char *
chat(const char *words, bool stream)
{
    static char body[512];
    snprintf(body, sizeof body,
        "{\"model\":\"mock:%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}",
        words, stream ? "true" : "false");
    return body;
}

/* A field of the newest entry of the journal, as JSON; waits until that entry is closed. */
static const char *
newest(const char *path)
{
    static char text[1024];
    struct buf answer = { 0 };
    for (int tries = 0; tries < 200; tries++) {
        struct json_value entry = { 0 };
        struct json_value value;
        struct json_cursor cursor;
        assert_true(exchange("GET", "/_mock/journal", NULL, "", &answer));
        /* One line an entry, in chunks of HTTP: the last line with "n" is the newest. */
        const char *last = buf_cstr(&answer);
        for (const char *at = last; (at = strstr(at, "{\"n\":")) != NULL; at++) {
            last = at;
        }
        json_start(&cursor, slice_str(last));
        assert_true(json_take(&cursor, &entry));
        assert_true(json_get(entry.text, "open", &value));
        if (value.type == JSON_FALSE) {
            assert_true(json_get(entry.text, path, &value));
            assert_true(slice_to_cstr(value.text, text, sizeof text));
            buf_free(&answer);
            return text;
        }
        usleep(5000);
    }
    fail_msg("the newest entry stays open");
    return "";
}

static int
count(const char *text, const char *part)
{
    int found = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        found++;
    }
    return found;
}

static void
calls_are_answered_and_billed(void **state)
{
    struct buf answer = { 0 };
    assert_true(exchange("POST", "/v1/chat/completions", "sk-1",
        chat("tokens=5,input=100,cached=30,hidden_reasoning=7", false), &answer));
    assert_non_null(strstr(buf_cstr(&answer), "HTTP/1.1 200"));
    assert_non_null(strstr(buf_cstr(&answer), "\"completion_tokens\":12,"));
    assert_string_equal(newest("credential"), "{\"form\":\"bearer\",\"value\":\"sk-1\"}");
    assert_string_equal(newest("finished"), "true");
    assert_string_equal(newest("written_tokens"), "5");
    assert_string_equal(newest("bill"),
        "{\"input\":70,\"cache_read\":30,\"cache_write_5m\":0,\"cache_write_1h\":0,"
        "\"output\":12,\"reasoning\":7,\"generated\":12}");

    assert_true(
        exchange("POST", "/chat/completions", "sk-1", chat("tokens=40,tps=1000", true), &answer));
    assert_int_equal(count(buf_cstr(&answer), "\"content\":\""), 41); /* the first one is empty */
    assert_int_equal(count(buf_cstr(&answer), "data: [DONE]"), 1);
    buf_free(&answer);
}

static void
breaks_bill_what_was_written(void **state)
{
    static const struct {
        const char *words;
        bool ends_well;
        int deltas; /* whole ones */
        const char *finished, *cut, *written, *output;
    } rows[] = {
        { "tokens=50,cut_after=9", false, 9, "false", "true", "9", "9" },
        { "tokens=50,cut_after=9,tps=500", false, 9, "false", "true", "9", "9" },
        { "tokens=50,cut_after=9,torn=1", false, 9, "false", "true", "9", "9" },
        { "tokens=50,cut_after=0", false, 0, "false", "true", "0", "0" },
        { "tokens=50,cut_after=9,bill_after_cut=1", false, 9, "false", "true", "9", "50" },
        { "tokens=50,end_after=9", true, 9, "true", "false", "9", "9" },
        { "tokens=50,error_after=9", true, 9, "true", "false", "9", "9" },
        { "tokens=50,stall_after=9,stall_ms=20", true, 50, "true", "false", "50", "50" },
        { "tokens=9,cut_after=20", true, 9, "true", "false", "9", "9" }, /* never reached */
    };
    struct buf answer = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        (void)exchange("POST", "/v1/chat/completions", "sk", chat(rows[i].words, true), &answer);
        const char *text = buf_cstr(&answer);
        assert_int_equal(count(text, "\"finish_reason\":null}]}\n\n") - 1, rows[i].deltas);
        assert_int_equal(strstr(text, "\r\n0\r\n\r\n") != NULL, rows[i].ends_well);
        assert_string_equal(newest("finished"), rows[i].finished);
        assert_string_equal(newest("cut"), rows[i].cut);
        assert_string_equal(newest("gone"), "false");
        assert_string_equal(newest("written_tokens"), rows[i].written);
        assert_string_equal(newest("bill.output"), rows[i].output);
    }
    buf_free(&answer);
}

static void
whole_answers_break_too(void **state)
{
    static const struct {
        const char *words, *status, *output;
        bool is_whole;
    } rows[] = {
        { "tokens=50,cut_after=9", "HTTP/1.1 200", "9", false },
        { "tokens=50,end_after=9", "HTTP/1.1 200", "9", false },
        { "tokens=50,error_after=9", "HTTP/1.1 500", "0", true },
        { "tokens=50,error_after=9,bill_failed=1", "HTTP/1.1 500", "9", true },
        { "tokens=50,error_after=9,status=504", "HTTP/1.1 504", "9", true },
        { "tokens=50,stall_after=9,stall_ms=20", "HTTP/1.1 200", "50", true },
    };
    struct buf answer = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        (void)exchange("POST", "/v1/chat/completions", "sk", chat(rows[i].words, false), &answer);
        const char *body = strstr(buf_cstr(&answer), "\r\n\r\n");
        struct json_value value;
        assert_non_null(strstr(buf_cstr(&answer), rows[i].status));
        assert_non_null(body);
        assert_int_equal(json_check(slice_str(body), &value), rows[i].is_whole);
        assert_string_equal(newest("bill.output"), rows[i].output);
    }
    buf_free(&answer);
}

static void
clients_that_go_away_stop_the_bill(void **state)
{
    static const struct {
        const char *words;
        bool stream;
        const char *until; /* then the client goes; NULL: after 150 ms */
        int64_t output_least, output_most;
        const char *input;
    } rows[] = {
        { "tokens=9999,tps=100,input=10", true, "\"content\":\"The ", 1, 200, "10" },
        { "tokens=9999,tps=100,input=10,bill_after_cut=1", true, "\"content\":\"The ", 9999, 9999,
            "10" },
        { "tokens=9999,stall_after=5,input=10", true, "\"content\":\"es i", 5, 5, "10" },
        { "tokens=9999,tps=100,input=10,hidden_reasoning=7", false, NULL, 7 + 1, 200, "10" },
        { "tokens=9999,ttft_ms=60000,input=10", true, NULL, 0, 0, "0" }, /* not accepted yet */
        { "tokens=9999,ttft_ms=60000,head_early=1,input=10", true, "\r\n\r\n", 0, 0, "10" },
        { "hang=1,input=10", true, NULL, 0, 0, "0" },
        { "hang=1,input=10,bill_failed=1", true, NULL, 0, 0, "10" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf answer = { 0 };
        const int fd = dial();
        ask(fd, "POST", "/v1/chat/completions", "sk", chat(rows[i].words, rows[i].stream));
        if (rows[i].until) {
            assert_true(read_until(fd, rows[i].until, &answer));
        } else {
            usleep(150000);
        }
        close(fd);
        buf_free(&answer);
        assert_string_equal(newest("gone"), "true");
        assert_string_equal(newest("finished"), "false");
        assert_string_equal(newest("bill.input"), rows[i].input);
        int64_t output = 0;
        assert_true(slice_to_i64(slice_str(newest("bill.output")), &output));
        assert_in_range(output, rows[i].output_least, rows[i].output_most);
    }
}

static void
failures_cost_nothing_unless_told(void **state)
{
    static const struct {
        const char *words, *begins, *has, *input;
    } rows[] = {
        { "status=429,retry_after=7,input=10", "HTTP/1.1 429", "retry-after: 7\r\n", "0" },
        { "status=503,input=10,bill_failed=1", "HTTP/1.1 503", "server_is_overloaded", "10" },
        { "html=1,input=10", "HTTP/1.1 502", "<html>", "0" },
        { "error=gemini,input=10", "HTTP/1.1 429", "\"retryDelay\":\"34s\"", "0" },
        { "error=quota,should_retry=false,input=10", "HTTP/1.1 429", "x-should-retry: false", "0" },
        { "status=401,retry_after=%0D%0Ax:%20y,input=10", "HTTP/1.1 401", "x-mock-note: ", "0" },
        { "nonsense=1,input=10", "HTTP/1.1 400", "nonsense=1", "0" },
    };
    struct buf answer = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_true(
            exchange("POST", "/v1/chat/completions", "sk", chat(rows[i].words, true), &answer));
        assert_true(slice_starts(buf_slice(&answer), slice_str(rows[i].begins)));
        assert_non_null(strstr(buf_cstr(&answer), rows[i].has));
        assert_string_equal(newest("bill.input"), rows[i].input);
    }
    static const char *const silent[] = { "cut_before=1", "refuse=1" };
    for (size_t i = 0; i < countof(silent); i++) {
        (void)exchange("POST", "/v1/chat/completions", "sk", chat(silent[i], true), &answer);
        assert_int_equal(answer.len, 0);
        assert_string_equal(newest("cut"), "true");
        assert_string_equal(newest("status"), "0");
    }
    buf_free(&answer);
}

static void
only_the_first_ones_fail(void **state)
{
    static const char *const begins[] = { "HTTP/1.1 529", "HTTP/1.1 529", "HTTP/1.1 200" };
    struct buf answer = { 0 };
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < countof(begins); i++) {
            assert_true(exchange("POST", "/v1/chat/completions", "sk",
                chat("status=529,fail_first=2", false), &answer));
            assert_true(slice_starts(buf_slice(&answer), slice_str(begins[i])));
        }
        assert_true(exchange("DELETE", "/_mock/journal", NULL, "", &answer)); /* and once more */
    }
    buf_free(&answer);
}

static void
responses_are_bound_to_their_credential(void **state)
{
    struct buf answer = { 0 };
    struct json_value value;
    char id[128];
    char body[512];
    assert_true(exchange("POST", "/v1/responses", "sk-1",
        "{\"model\":\"mock:tokens=5,input=10\",\"input\":\"q\"}", &answer));
    const char *text = strstr(buf_cstr(&answer), "\r\n\r\n");
    assert_non_null(text);
    assert_true(json_get(slice_str(text), "id", &value));
    assert_true(json_to_cstr(value, id, sizeof id));
    snprintf(body, sizeof body,
        "{\"model\":\"mock:tokens=5\",\"input\":\"q\",\"previous_response_id\":\"%s\"}", id);
    assert_true(exchange("POST", "/v1/responses", "sk-1", body, &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 200")));
    int64_t input = 0;
    assert_true(slice_to_i64(slice_str(newest("bill.input")), &input));
    assert_int_equal(input, ((int64_t)strlen(body) + 3) / 4 + 15); /* the context comes along */

    assert_true(exchange("POST", "/v1/responses", "sk-2", body, &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 400")));
    assert_non_null(strstr(buf_cstr(&answer), "previous_response_not_found"));
    assert_true(exchange("POST", "/v1/responses", "sk-1",
        "{\"model\":\"mock:\",\"input\":\"q\",\"conversation\":\"conv_1\"}", &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 404")));
    buf_free(&answer);
}

static void
words_come_from_path_and_configuration(void **state)
{
    static const char *const named = "{\"model\":\"claude-sonnet-5\",\"max_tokens\":100,"
                                     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}";
    struct buf answer = { 0 };
    assert_true(exchange("POST", "/_mock/config", NULL,
        "{\"default\":\"tokens=3\",\"models\":{\"claude-sonnet-5\":\"text=hello\"}}", &answer));
    assert_true(exchange("POST", "/~per_event=2/v1/messages", "sk", named, &answer));
    assert_non_null(strstr(buf_cstr(&answer), "\"text\":\"hello\""));
    assert_non_null(strstr(buf_cstr(&answer), "\"output_tokens\":3"));
    assert_true(exchange("POST", "/~status=529/v1/messages", "sk", named, &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 529")));
    assert_non_null(strstr(buf_cstr(&answer), "overloaded_error"));
    (void)exchange("POST", "/~refuse=1/v1/messages", "sk", named, &answer);
    assert_int_equal(answer.len, 0);
    assert_string_equal(newest("body_bytes"), "0"); /* it was not read */

    assert_true(exchange("POST", "/_mock/config", NULL, "{\"default\":\"x=1\"}", &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 400")));
    assert_true(
        exchange("POST", "/_mock/config", NULL, "{\"credentials\":[\"sk-good\"]}", &answer));
    assert_true(exchange("POST", "/v1/messages", "sk-bad", named, &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 401")));
    assert_true(exchange("POST", "/_mock/config", NULL,
        "{\"credentials\":null,\"default\":null,\"models\":{\"claude-sonnet-5\":null}}", &answer));
    assert_true(exchange("POST", "/v1/messages", NULL, named, &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 401"))); /* none at all */
    buf_free(&answer);
}

static void
keep_alives_come_before_the_answer(void **state)
{
    struct buf answer = { 0 };
    assert_true(exchange("POST", "/v1/chat/completions", "sk",
        chat("tokens=1,ttft_ms=120,keepalive_ms=20", true), &answer));
    assert_in_range(count(buf_cstr(&answer), ": keep-alive\n\n"), 1, 7);
    assert_true(exchange("POST", "/v1/chat/completions", "sk",
        chat("tokens=1,ttft_ms=120,keepalive_ms=20", false), &answer));
    assert_in_range(count(buf_cstr(&answer), "1\r\n\n\r\n"), 1, 7);
    assert_non_null(strstr(buf_cstr(&answer), "\"completion_tokens\":1,"));
    buf_free(&answer);
}

static void
writes_are_as_small_as_told(void **state)
{
    struct buf answer = { 0 };
    assert_true(
        exchange("POST", "/v1/chat/completions", "sk", chat("tokens=3,chunk=1", true), &answer));
    assert_true(count(buf_cstr(&answer), "\r\n1\r\n") > 300); /* every byte a chunk */
    assert_non_null(strstr(buf_cstr(&answer), "\r\n0\r\n\r\n"));
    buf_free(&answer);
}

static void
slow_readers_hold_the_answer_back(void **state)
{
    enum { TOKENS = 400000, EVENTS = 400 }; /* 25 MB: more than sockets buffer */
    struct buf answer = { 0 };
    struct buf health = { 0 };
    const int fd = dial();
    ask(fd, "POST", "/v1/chat/completions", "sk",
        chat("tokens=400000,bpt=64,per_event=1000", true));
    usleep(300000);
    assert_true(exchange("GET", "/_mock/journal?since=0", NULL, "", &health));
    const char *newest_written = NULL;
    for (const char *at = buf_cstr(&health); (at = strstr(at, "\"written_tokens\":")) != NULL;) {
        newest_written = at += strlen("\"written_tokens\":");
    }
    assert_non_null(newest_written);
    assert_true(strtol(newest_written, NULL, 10) < TOKENS); /* it waits for its reader */
    assert_true(read_until(fd, NULL, &answer));
    close(fd);
    assert_int_equal(count(buf_cstr(&answer), "\"content\":\"") - 1, EVENTS);
    assert_string_equal(newest("finished"), "true");
    buf_free(&answer);
    buf_free(&health);
}

static void
the_journal_goes_on_from_an_entry(void **state)
{
    struct buf answer = { 0 };
    char path[64];
    assert_true(exchange("POST", "/v1/chat/completions", "sk", chat("tag=1", false), &answer));
    snprintf(path, sizeof path, "/_mock/journal?since=%s", newest("n"));
    assert_true(exchange("POST", "/v1/chat/completions", "sk", chat("tag=2", false), &answer));
    assert_true(exchange("GET", path, NULL, "", &answer));
    assert_int_equal(count(buf_cstr(&answer), "{\"n\":"), 1);
    assert_non_null(strstr(buf_cstr(&answer), "mock:tag=2"));
    assert_null(strstr(buf_cstr(&answer), "\"body\":"));
    assert_true(exchange("GET", "/_mock/journal?bodies=1", NULL, "", &answer));
    assert_non_null(strstr(buf_cstr(&answer), "\"body\":\"{\\\"model\\\":\\\"mock:tag=2\\\""));
    assert_true(exchange("GET", "/_mock/journal?since=x", NULL, "", &answer));
    assert_true(slice_starts(buf_slice(&answer), SLICE("HTTP/1.1 400")));
    assert_true(exchange("DELETE", "/_mock/journal", NULL, "", &answer));
    assert_true(exchange("GET", "/_mock/journal", NULL, "", &answer));
    assert_int_equal(count(buf_cstr(&answer), "{\"n\":"), 0);
    buf_free(&answer);
}

static const struct CMUnitTest tests[] = {
    CASE("calls are answered and billed", calls_are_answered_and_billed),
    CASE("breaks bill what was written", breaks_bill_what_was_written),
    CASE("whole answers break too", whole_answers_break_too),
    CASE("clients that go away stop the bill", clients_that_go_away_stop_the_bill),
    CASE("failures cost nothing unless told", failures_cost_nothing_unless_told),
    CASE("only the first ones fail", only_the_first_ones_fail),
    CASE("responses are bound to their credential", responses_are_bound_to_their_credential),
    CASE("words come from path and configuration", words_come_from_path_and_configuration),
    CASE("keep-alives come before the answer", keep_alives_come_before_the_answer),
    CASE("writes are as small as told", writes_are_as_small_as_told),
    CASE("slow readers hold the answer back", slow_readers_hold_the_answer_back),
    CASE("the journal goes on from an entry", the_journal_goes_on_from_an_entry),
};

int
main(void)
{
    return cmocka_run_group_tests(tests, start, stop);
}
