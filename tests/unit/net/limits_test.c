/* tests/unit/net/limits_test.c
 *
 * Goal: what a server may cost is bounded (time, connections), its sockets are its own, and it stops
 * without losing an answer.
 * Method: as server_test.c, each case with options of its own. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "peer.h"

static const struct net_listen anywhere = { .host = "127.0.0.1" };

static void
slow_client_meets_its_deadline(void **state)
{
    static const struct {
        const char *text, *answer; /* NULL = closed without a word */
    } rows[] = {
        { "", NULL },                              /* no request at all */
        { "GET / HT", "HTTP/1.1 408 " },           /* a head that stops */
        { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 408 " },
    };
    struct net_options options = peer_options(&anywhere, 1);
    options.idle_ms = options.head_deadline_ms = options.body_deadline_ms = 150;
    struct peer_server server;
    peer_server_start(&server, &options);
    for (size_t i = 0; i < countof(rows); i++) {
        const int64_t from_ms = clock_mono_ms();
        const int fd = peer_connect(server.port);
        peer_send(fd, rows[i].text);
        char *answer = peer_read_all(fd, NULL);
        const int64_t took_ms = clock_mono_ms() - from_ms;
        assert_true(took_ms >= 130 && took_ms < 1500);
        if (rows[i].answer) {
            assert_memory_equal(answer, rows[i].answer, strlen(rows[i].answer));
            assert_int_equal(peer_count(answer, "Date: "), 1);
        } else {
            assert_string_equal(answer, "");
        }
        free(answer);
    }
    peer_server_stop(&server);
}

static void
drip_does_not_stretch_the_head_deadline(void **state)
{
    struct net_options options = peer_options(&anywhere, 1);
    options.head_deadline_ms = 200;
    struct peer_server server;
    peer_server_start(&server, &options);
    const int fd = peer_connect(server.port);
    const int64_t from_ms = clock_mono_ms();
    char byte = 0;
    for (int i = 0; i < 100 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++) {
        peer_send(fd, i == 0 ? "GET / HTTP/1.1\r\nX: " : "x");
        peer_sleep_ms(20);
    }
    assert_true(clock_mono_ms() - from_ms < 1000);
    char *answer = peer_read_all(fd, NULL);
    assert_memory_equal(answer, "HTTP/1.1 408 ", 13);
    free(answer);
    peer_server_stop(&server);
}

static void
client_that_takes_nothing_is_gone(void **state)
{
    struct net_options options = peer_options(&anywhere, 1);
    options.write_deadline_ms = 200;
    struct peer_server server;
    peer_server_start(&server, &options);
    const int fd = peer_connect(server.port);
    peer_send(fd, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_await(&server.gone, 1));
    (void)close(fd);
    peer_server_stop(&server);
}

static void
connection_over_the_limit_gets_503(void **state)
{
    struct net_options options = peer_options(&anywhere, 1);
    options.connections_max = 3;
    struct peer_server server;
    char answer[512];
    int fds[3];
    peer_server_start(&server, &options);
    for (int i = 0; i < 3; i++) {
        fds[i] = peer_connect(server.port);
        peer_send(fds[i], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_true(peer_read_until(fds[i], "\r\n\r\nhi", answer, sizeof(answer)));
    }
    for (int i = 0; i < 5; i++) {
        const int fd = peer_connect(server.port);
        peer_send(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        char *refused = peer_read_all(fd, NULL);
        assert_memory_equal(refused, "HTTP/1.1 503 ", 13);
        assert_int_equal(peer_count(refused, "Date: "), 1);
        free(refused);
    }
    (void)close(fds[0]);
    peer_sleep_ms(50);
    const int fd = peer_connect(server.port); /* the place is free again */
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_true(peer_read_until(fd, "\r\n\r\nhi", answer, sizeof(answer)));
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    (void)close(fd);
    (void)close(fds[1]);
    (void)close(fds[2]);
    peer_server_stop(&server);
}

static void
server_without_descriptors_rests_and_recovers(void **state)
{
    struct peer_server server;
    struct rlimit limit;
    struct rusage before, after;
    char answer[512];
    int fds[8];
    peer_server_start(&server, NULL);
    const int first = peer_connect(server.port);
    peer_send(first, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_true(peer_read_until(first, "\r\n\r\nhi", answer, sizeof(answer)));
    for (size_t i = 0; i < countof(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0); /* ours, before there are none left */
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit tight = limit;
    tight.rlim_cur = (rlim_t)fds[countof(fds) - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);

    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    assert_int_equal(getpeername(first, (struct sockaddr *)&address, &bytes), 0);
    for (size_t i = 0; i < countof(fds); i++) {
        assert_int_equal(connect(fds[i], (struct sockaddr *)&address, bytes), 0);
    }
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    peer_sleep_ms(300);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    const long used_ms = (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000
                         + (after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
    assert_true(used_ms < 100); /* it does not spin */
    peer_send(first, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_true(peer_read_until(first, "\r\n\r\nhi", answer, sizeof(answer)));

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < countof(fds); i++) {
        (void)close(fds[i]);
    }
    const int fd = peer_connect(server.port);
    peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_true(peer_read_until(fd, "\r\n\r\nok", answer, sizeof(answer)));
    (void)close(fd);
    (void)close(first);
    peer_server_stop(&server);
}

static void
unix_listener_is_private_and_removed(void **state)
{
    char path[64];
    char stale_path[64];
    char in_use[128];
    (void)snprintf(path, sizeof(path), "/tmp/tidegate-net-%d.sock", (int)getpid());
    (void)snprintf(stale_path, sizeof(stale_path), "/tmp/tidegate-net-%d-stale.sock", (int)getpid());
    (void)snprintf(in_use, sizeof(in_use), "unix:%s: address already in use", path);
    const struct net_listen listens[] = { { .host = "127.0.0.1" }, { .unix_path = path, .tag = 7 } };
    struct net_options options = peer_options(listens, 2);
    options.loop_count = 2;
    struct net_error error;
    struct net *second = NULL;
    static const struct net_app no_app = { 0 };

    (void)unlink(path);
    for (int i = 0; i < 2; i++) {
        struct peer_server server;
        struct stat found;
        char answer[512];
        peer_server_start(&server, &options); /* the second time over a stale socket */
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_mode & 0777, 0600);
        const int fd = peer_connect_unix(path);
        peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_true(peer_read_until(fd, "\r\n\r\nhi", answer, sizeof(answer)));
        const struct net_listen again = { .unix_path = path };
        const struct net_options only_unix = peer_options(&again, 1);
        assert_int_equal(net_open(&only_unix, &no_app, NULL, &second, &error), STATUS_BUSY);
        assert_non_null(strstr(error.text, in_use));
        assert_null(second);
        (void)close(fd);
        peer_server_stop(&server);
        assert_int_equal(stat(path, &found), -1);
        if (i == 0) { /* what a crash leaves: a socket file that nobody listens at */
            struct net_error ignored;
            struct net *crashed = NULL;
            assert_int_equal(net_open(&only_unix, &no_app, NULL, &crashed, &ignored), STATUS_OK);
            assert_int_equal(rename(path, stale_path), 0);
            net_free(crashed);
            assert_int_equal(rename(stale_path, path), 0);
        }
    }
    FILE *file = fopen(path, "w"); /* not ours to replace */
    assert_non_null(file);
    (void)fclose(file);
    const struct net_listen again = { .unix_path = path };
    const struct net_options only_unix = peer_options(&again, 1);
    assert_int_equal(net_open(&only_unix, &no_app, NULL, &second, &error), STATUS_EXISTS);
    (void)unlink(path);
}

static void
address_that_cannot_be_had_is_named(void **state)
{
    static const struct net_app no_app = { 0 };
    uint16_t port = 0;
    const int taken = peer_listen(&port);
    char in_use[64];
    (void)snprintf(in_use, sizeof(in_use), "cannot listen on 127.0.0.1:%u: address already in use", port);
    const struct {
        struct net_listen listen_at;
        enum status status;
        const char *text;
    } rows[] = {
        { { .host = "127.0.0.1", .port = port }, STATUS_BUSY, in_use },
        { { .host = "localhost", .port = 1 }, STATUS_INVALID, "not a numeric address" },
        { { .host = "192.0.2.1", .port = port }, STATUS_INVALID, "does not have that address" },
        { { .unix_path = "/nowhere/at/all.sock" }, STATUS_IO, "no such file" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct net_options options = peer_options(&rows[i].listen_at, 1);
        struct net_error error;
        struct net *net = NULL;
        assert_int_equal(net_open(&options, &no_app, NULL, &net, &error), rows[i].status);
        assert_null(net);
        assert_non_null(strstr(error.text, rows[i].text));
    }
    (void)close(taken);

    struct net_options options = peer_options(&anywhere, 1);
    struct peer_server server; /* and another gateway, whose sockets would share the port */
    options.loop_count = 2;
    peer_server_start(&server, &options);
    const struct net_listen same = { .host = "127.0.0.1", .port = server.port };
    const struct net_options second = peer_options(&same, 1);
    struct net_error error;
    struct net *net = NULL;
    assert_int_equal(net_open(&second, &no_app, NULL, &net, &error), STATUS_BUSY);
    peer_server_stop(&server);
}

static void
several_loops_share_one_port(void **state)
{
    struct net_options options = peer_options(&anywhere, 1);
    struct peer_server server;
    options.loop_count = 3;
    peer_server_start(&server, &options);
    for (int i = 0; i < 60; i++) {
        char answer[512];
        const int fd = peer_connect(server.port);
        peer_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_true(peer_read_until(fd, "\r\n\r\nhi", answer, sizeof(answer)));
        (void)close(fd);
    }
    peer_server_stop(&server);
}

static void
stop_drains_what_runs(void **state)
{
    struct net_options options = peer_options(&anywhere, 1);
    struct peer_server server;
    char answer[512];
    options.loop_count = 2;
    peer_server_start(&server, &options);
    const int idle = peer_connect(server.port);
    peer_send(idle, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_true(peer_read_until(idle, "\r\n\r\nhi", answer, sizeof(answer)));
    const int running = peer_connect(server.port);
    peer_send(running, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_await(&server.requests, 2));

    assert_false(net_stopping(server.net));
    const int64_t from_ms = clock_mono_ms();
    net_stop(server.net, 3000);
    assert_true(net_stopping(server.net));
    assert_true(peer_ended(idle, 150)); /* at once */
    char *late = peer_read_all(running, NULL);
    assert_non_null(strstr(late, "Connection: close\r\n\r\nlate"));
    free(late);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    assert_true(clock_mono_ms() - from_ms < 1500); /* it does not wait for the whole grace */
    net_free(server.net);
    (void)close(idle);
    assert_int_equal(atomic_load(&server.gone), 0);
}

/* The late answer is 200 ms away: until then the second listener answers, the first does not. */
static void
a_listener_may_go_on_while_it_stops(void **state)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/net-stopping-%d.sock", (int)getpid());
    const struct net_listen listens[] = { anywhere, { .unix_path = path, .tag = 7, .while_stopping = true } };
    struct net_options options = peer_options(listens, 2);
    struct peer_server server;
    char answer[512];
    options.loop_count = 2;
    peer_server_start(&server, &options);
    const int running = peer_connect(server.port);
    peer_send(running, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_await(&server.requests, 1));
    const int idle = peer_connect_unix(path); /* asks nothing, and holds nobody up */
    const int64_t from_ms = clock_mono_ms();
    net_stop(server.net, 3000);
    peer_sleep_ms(50);
    for (int i = 0; i < 2; i++) {
        const int asks = peer_connect_unix(path);
        peer_send(asks, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_true(peer_read_until(asks, "Connection: close\r\n", answer, sizeof(answer)));
        assert_true(peer_read_until(asks, "hi", answer, sizeof(answer)));
        (void)close(asks);
    }
    char *late = peer_read_all(running, NULL);
    assert_non_null(strstr(late, "Connection: close\r\n\r\nlate"));
    free(late);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    assert_true(clock_mono_ms() - from_ms < 1500);
    assert_int_equal(access(path, F_OK), -1);
    net_free(server.net);
    (void)close(idle);
    assert_int_equal(atomic_load(&server.gone), 0);
}

static void
stop_ends_after_its_grace(void **state)
{
    struct peer_server server;
    peer_server_start(&server, NULL);
    const int fd = peer_connect(server.port);
    peer_send(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_await(&server.bodies, 1));
    const int64_t from_ms = clock_mono_ms();
    net_stop(server.net, 60000);
    net_stop(server.net, 150); /* a second signal only shortens it */
    net_stop(server.net, 60000);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    const int64_t took_ms = clock_mono_ms() - from_ms;
    assert_true(took_ms >= 130 && took_ms < 1500);
    net_free(server.net);
    assert_int_equal(atomic_load(&server.gone), 1);
    (void)close(fd);
}

static atomic_int signal_seen;

static void
on_signal(struct net *net, int signal_number)
{
    atomic_store(&signal_seen, signal_number);
    net_stop(net, 100);
}

static void
signals_arrive_on_loop_0(void **state)
{
    static const struct net_app no_app = { 0 };
    const struct net_options options = { .loop_count = 2 };
    struct net_error error;
    struct net *net = NULL;
    assert_int_equal(net_open(&options, &no_app, NULL, &net, &error), STATUS_OK);
    net_on_signal(net, on_signal);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(net_run(net), STATUS_OK);
    assert_int_equal(atomic_load(&signal_seen), SIGTERM);
    net_free(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("a slow client meets its deadline", slow_client_meets_its_deadline),
        CASE("a drip does not stretch the head deadline", drip_does_not_stretch_the_head_deadline),
        CASE("a client that takes nothing is gone", client_that_takes_nothing_is_gone),
        CASE("a connection over the limit gets 503", connection_over_the_limit_gets_503),
        CASE("a server without descriptors rests and recovers",
            server_without_descriptors_rests_and_recovers),
        CASE("a unix listener is private and removed", unix_listener_is_private_and_removed),
        CASE("an address that cannot be had is named", address_that_cannot_be_had_is_named),
        CASE("several loops share one port", several_loops_share_one_port),
        CASE("stop drains what runs", stop_drains_what_runs),
        CASE("a listener may go on while it stops", a_listener_may_go_on_while_it_stops),
        CASE("stop ends after its grace", stop_ends_after_its_grace),
        CASE("signals arrive on loop 0", signals_arrive_on_loop_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
