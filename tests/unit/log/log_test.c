/* tests/unit/log/log_test.c
 *
 * Goal: a line is one line whatever is put into it, never too long, never torn, and valid in both
 * forms; losing one is counted.
 * Method: standard error is a pipe during a case; the time, which differs, is cut off in front. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log/log.h"
#include "log/metrics.h"

#define THREADS          4
#define LINES_PER_THREAD 500
#define NAME_BYTES       200

static int saved_stderr = -1;
static int read_end = -1;

static int
stderr_becomes_a_pipe(void **state)
{
    int ends[2];
    saved_stderr = dup(STDERR_FILENO);
    if (saved_stderr < 0 || pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) {
        return -1;
    }
    read_end = ends[0];
    (void)close(ends[1]);
    (void)fcntl(read_end, F_SETFL, O_NONBLOCK);
    log_open(LOG_INFO, false);
    return 0;
}

static int
stderr_is_itself_again(void **state)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    log_open(LOG_INFO, false); /* lets go of the pipe */
    if (read_end >= 0) {
        (void)close(read_end);
    }
    return 0;
}

/* What was written since the last time. */
static const char *
said(void)
{
    static char text[2 * LOG_LINE_MAX_BYTES];
    const ssize_t len = read(read_end, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

/* The same for one line, without its time in front. */
static const char *
said_after_time(void)
{
    const char *line = said();
    const char *time_end = strstr(line, "Z");
    assert_non_null(time_end);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1); /* one line, at its end */
    const bool json = line[0] == '{';
    assert_int_equal(strncmp(line, json ? "{\"time\":\"" : "time=", json ? 9 : 5), 0);
    assert_int_equal(time_end - line, (json ? 9 : 5) + 23); /* always with milliseconds */
    return time_end + 1;
}

static void
write_one(const char *key, struct slice value)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "call");
    log_str(&line, key, value);
    log_i64(&line, "cost_micros", -4200);
    log_bool(&line, "stream", true);
    log_end(&line);
}

static void
values_are_quoted_where_they_must_be(void **state)
{
    static const struct {
        struct slice value;
        const char *text, *json;
    } rows[] = {
        { SLICE("glm-5.2"), "glm-5.2", "\"glm-5.2\"" },
        { SLICE("zai-org/GLM:x@y"), "zai-org/GLM:x@y", "\"zai-org/GLM:x@y\"" },
        { SLICE(""), "\"\"", "\"\"" },
        { { NULL, 0 }, "\"\"", "\"\"" },
        { SLICE("two words"), "\"two words\"", "\"two words\"" },
        { SLICE("a=b"), "\"a=b\"", "\"a=b\"" },
        { SLICE("a\"b\\c"), "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\"" },
        /* a second line, a colour, a bell, a NUL, DEL */
        { SLICE("x\nlevel=error"), "\"x\\nlevel=error\"", "\"x\\nlevel=error\"" },
        { SLICE("\r\t\x1b[31m\a"), "\"\\u000d\\u0009\\u001b[31m\\u0007\"",
            "\"\\u000d\\u0009\\u001b[31m\\u0007\"" },
        { SLICE("a\0b\x7f"), "\"a\\u0000b\\u007f\"", "\"a\\u0000b\\u007f\"" },
        /* characters of other scripts stay; C1 controls, separators and reordering marks do not */
        { SLICE("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
            "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"" },
        { SLICE("\xC2\x9B\xC2\xA0"), "\"\\u009b\xC2\xA0\"", "\"\\u009b\xC2\xA0\"" },
        { SLICE("\xE2\x80\xA8\xE2\x80\xAE\xE2\x81\xA9"), "\"\\u2028\\u202e\\u2069\"",
            "\"\\u2028\\u202e\\u2069\"" },
        { SLICE("\xFF\xE2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char expected[512];
        log_open(LOG_INFO, false);
        write_one("model", rows[i].value);
        (void)snprintf(expected, sizeof(expected),
            " level=info event=call model=%s cost_micros=-4200 stream=true\n", rows[i].text);
        assert_string_equal(said_after_time(), expected);

        log_open(LOG_INFO, true);
        write_one("model", rows[i].value);
        (void)snprintf(expected, sizeof(expected),
            "\",\"level\":\"info\",\"event\":\"call\",\"model\":%s,\"cost_micros\":-4200,"
            "\"stream\":true}\n",
            rows[i].json);
        assert_string_equal(said_after_time(), expected);
    }
}

static void
levels_below_are_silent(void **state)
{
    for (int least = 0; least < LOG_LEVEL_COUNT; least++) {
        log_open((enum log_level)least, false);
        for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
            log_line((enum log_level)level, "event", "x");
            assert_int_equal(said()[0] != '\0', level >= least);
            assert_int_equal(log_wants((enum log_level)level), level >= least);
        }
    }
}

static void
levels_have_words(void **state)
{
    enum log_level level = LOG_DEBUG;
    assert_true(log_level_from_word(SLICE("warn"), &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_from_word(SLICE("WARN"), &level));
    assert_false(log_level_from_word(SLICE(""), &level));
    assert_int_equal(level, LOG_WARN);
}

static void
sentences(void **state)
{
    log_line(LOG_WARN, "store_slow", "took %d ms", 812);
    assert_string_equal(said_after_time(), " level=warn event=store_slow msg=\"took 812 ms\"\n");
    log_line(LOG_ERROR, "x", "%s", "");
    assert_string_equal(said_after_time(), " level=error event=x msg=\"\"\n");
}

static void
long_values_are_cut_visibly(void **state)
{
    static char value[3 * LOG_LINE_MAX_BYTES];
    for (size_t len = LOG_VALUE_MAX_BYTES - 8; len < LOG_VALUE_MAX_BYTES + 8; len++) {
        memset(value, 'v', len);
        value[len] = '\0';
        for (int json = 0; json < 2; json++) {
            for (int sentence = 0; sentence < 2; sentence++) {
                log_open(LOG_INFO, json != 0);
                if (sentence != 0) {
                    log_line(LOG_INFO, "event", "%s", value);
                } else {
                    write_one("event", slice_of(value, len));
                }
                const char *line = said_after_time();
                const size_t kept = strspn(strstr(line, "vvv"), "v");
                assert_true(kept <= LOG_VALUE_MAX_BYTES);
                /* whole, or marked as cut */
                assert_true((kept == len) != (strstr(line, "...\"") != NULL));
            }
        }
    }
    /* cut between characters, not within one or within an escape */
    memset(value, '\n', sizeof(value));
    log_open(LOG_INFO, false);
    write_one("v", slice_of(value, sizeof(value)));
    assert_non_null(strstr(said_after_time(), "\\n\\n...\" cost_micros=-4200 stream=true\n"));
}

static void
lines_never_pass_their_bound(void **state)
{
    static char value[2000];
    memset(value, '"', sizeof(value));
    for (int json = 0; json < 2; json++) {
        log_open(LOG_INFO, json != 0);
        for (size_t len = 0; len < sizeof(value); len += 13) {
            struct log_line line;
            log_begin(&line, LOG_INFO, "event");
            for (int i = 0; i < 300; i++) {
                log_str(&line, "some_text", slice_of(value, len));
                log_i64(&line, "number", INT64_MIN);
                log_bool(&line, "truth", false);
            }
            log_end(&line);
            const char *text = said_after_time();
            assert_true(line.len <= LOG_LINE_MAX_BYTES);
            const char *tail = json != 0 ? ",\"truncated\":true}\n" : " truncated=true\n";
            assert_true(slice_ends(slice_str(text), slice_str(tail)));
        }
    }
}

static void
an_ended_line_is_not_written_again(void **state)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "call");
    log_end(&line);
    log_str(&line, "late", SLICE("x"));
    log_end(&line);
    (void)said_after_time(); /* exactly one */
}

static void
a_lost_line_is_counted_and_errno_kept(void **state)
{
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    const int64_t lost = counter_get(COUNTER_LOG_LINES_LOST);
    (void)close(read_end);
    read_end = -1;
    errno = ENOSPC;
    log_line(LOG_INFO, "event", "nobody reads this");
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(counter_get(COUNTER_LOG_LINES_LOST), lost + 1);
    write_one("model", SLICE("x"));
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(counter_get(COUNTER_LOG_LINES_LOST), lost + 2);
    (void)signal(SIGPIPE, handler);
}

/* What nobody reads must not stop who writes: a loop would stand still with all its streams. */
static void
a_full_pipe_or_socket_is_not_waited_for(void **state)
{
    char value[1000];
    memset(value, 'v', sizeof(value));
    for (int socket = 0; socket < 2; socket++) {
        int ends[2];
        if (socket == 1) {
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
            assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
            (void)close(ends[1]);
        }
        log_open(LOG_INFO, false);
        const int64_t lost_before = counter_get(COUNTER_LOG_LINES_LOST);
        for (int i = 0; i < 1000; i++) { /* a megabyte: more than either takes */
            write_one("v", slice_of(value, sizeof(value)));
        }
        assert_true(counter_get(COUNTER_LOG_LINES_LOST) > lost_before);
        /* what we were given is still as it was for others who write there */
        assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
        if (socket == 1) {
            (void)close(ends[0]);
        }
    }
}

static void
ids_are_written_as_people_see_them(void **state)
{
    for (int json = 0; json < 2; json++) {
        struct log_line line;
        log_open(LOG_INFO, json != 0);
        log_begin(&line, LOG_INFO, "call");
        log_id(&line, "key", "key_", INT64_MAX);
        log_id(&line, "thread", "thr_", 0);
        log_end(&line);
        assert_string_equal(said_after_time(),
            json != 0 ? "\",\"level\":\"info\",\"event\":\"call\",\"key\":\"key_9223372036854775807\"}\n"
                      : " level=info event=call key=key_9223372036854775807\n");
    }
}

static void *
write_many(void *arg)
{
    const char *name = arg;
    for (int i = 0; i < LINES_PER_THREAD; i++) {
        log_line(LOG_INFO, "thread", "%s%s%s%s", name, name, name, name);
    }
    return NULL;
}

/* Reads to the end; the number of lines. */
static void *
read_lines(void *arg)
{
    int *line_count = arg;
    FILE *lines = fdopen(dup(read_end), "r");
    char line[LOG_LINE_MAX_BYTES + 2];
    while (fgets(line, sizeof(line), lines)) {
        const char *msg = strstr(line, "msg=");
        check(strncmp(line, "time=", 5) == 0 && msg);
        const char letter[2] = { msg[4], '\0' };
        const size_t text_len = strspn(msg + 4, letter);
        check(text_len == 4 * (NAME_BYTES - 1));
        check(strcmp(msg + 4 + text_len, "\n") == 0);
        *line_count += 1;
    }
    (void)fclose(lines);
    return NULL;
}

static void
threads_do_not_tear_lines(void **state)
{
    static char names[THREADS][NAME_BYTES];
    pthread_t threads[THREADS];
    pthread_t reader;
    int line_count = 0;
    const int64_t lost_before = counter_get(COUNTER_LOG_LINES_LOST);
    (void)fcntl(read_end, F_SETFL, 0); /* the reader waits here */
    assert_int_equal(pthread_create(&reader, NULL, read_lines, &line_count), 0);
    for (int i = 0; i < THREADS; i++) {
        memset(names[i], 'a' + i, sizeof(names[i]) - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)dup2(saved_stderr, STDERR_FILENO);
    log_open(LOG_INFO, false); /* now nobody writes there any more */
    assert_int_equal(pthread_join(reader, NULL), 0);
    const int64_t lost = counter_get(COUNTER_LOG_LINES_LOST) - lost_before;
    assert_int_equal(line_count + lost, THREADS * LINES_PER_THREAD);
}

#define PIPE_CASE(case_name, function)                                                             \
    CASE_WITH(case_name, function, stderr_becomes_a_pipe, stderr_is_itself_again)

static const struct CMUnitTest tests[] = {
    PIPE_CASE(
        "values are quoted and escaped where they must be", values_are_quoted_where_they_must_be),
    PIPE_CASE("levels below the least one are silent", levels_below_are_silent),
    PIPE_CASE("levels are known by their words", levels_have_words),
    PIPE_CASE("a sentence goes into msg", sentences),
    PIPE_CASE("long values are cut visibly", long_values_are_cut_visibly),
    PIPE_CASE("lines never pass their bound", lines_never_pass_their_bound),
    PIPE_CASE("an ended line is not written again", an_ended_line_is_not_written_again),
    PIPE_CASE("a lost line is counted and errno kept", a_lost_line_is_counted_and_errno_kept),
    PIPE_CASE("a full pipe or socket is not waited for", a_full_pipe_or_socket_is_not_waited_for),
    PIPE_CASE("ids are written as people see them", ids_are_written_as_people_see_them),
    PIPE_CASE("threads do not tear each other's lines", threads_do_not_tear_lines),
};
UNIT_MAIN(tests)
