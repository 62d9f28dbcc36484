/* tests/unit/net/peer.c */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

/* ---- the app ---- */

struct work {
    struct net_exchange *exchange;
    struct peer_server *server;
    struct buf body;
    struct net_timer timer;
    size_t sent_bytes;
    char path[32];
};

static bool
path_is(const struct work *work, const char *path)
{
    return strcmp(work->path, path) == 0;
}

static void
finish(struct work *work)
{
    net_timer_stop(&work->timer);
    if (work->server->resting == work->exchange) {
        work->server->resting = NULL;
    }
    net_close(work->exchange);
    buf_free(&work->body);
    atomic_fetch_add(&work->server->ended, 1);
    free(work);
}

static void
answer(struct work *work, int status, struct slice body)
{
    net_send_head(work->exchange, status, SLICE("Content-Type: text/plain\r\n"), (int64_t)body.len);
    (void)net_send(work->exchange, &body, 1);
    net_end(work->exchange);
    finish(work);
}

static void
flood(struct work *work)
{
    static char bytes[65536];
    memset(bytes, 'f', sizeof(bytes));
    for (;;) {
        const struct slice pieces[2] = { slice_of(bytes, 1000), slice_of(bytes, 64536) };
        if (work->sent_bytes >= FLOOD_BYTES) {
            net_end(work->exchange);
            finish(work);
            return;
        }
        work->sent_bytes += sizeof(bytes);
        const bool more = net_send(work->exchange, pieces, 2);
        const size_t unsent = net_unsent_bytes(work->exchange);
        if (unsent > atomic_load(&work->server->unsent_max)) {
            atomic_store(&work->server->unsent_max, unsent);
        }
        if (!more) {
            return;
        }
    }
}

static void
on_timer(struct net_timer *timer)
{
    struct work *work = list_entry(timer, struct work, timer);
    answer(work, 200, SLICE("late"));
}

static void
on_request(struct net_exchange *exchange, const struct http_head *head)
{
    struct work *work = calloc(1, sizeof(*work));
    check(work != NULL);
    work->exchange = exchange;
    work->server = net_user(net_loop_net(net_exchange_loop(exchange)));
    net_timer_init(&work->timer, net_exchange_loop(exchange), on_timer);
    (void)slice_to_cstr(head->path, work->path, sizeof(work->path));
    net_exchange_set_user(exchange, work);
    atomic_fetch_add(&work->server->requests, 1);
    if (path_is(work, "/refuse")) {
        answer(work, 401, SLICE("who are you?"));
    } else {
        net_body_read(exchange);
    }
}

static void
on_complete(struct work *work)
{
    const struct slice body = buf_slice(&work->body);
    if (path_is(work, "/echo")) {
        answer(work, 200, body);
    } else if (path_is(work, "/chunked")) {
        const struct slice half[2] = { slice_of(body.ptr, body.len / 2),
            slice_of(body.ptr + body.len / 2, body.len - body.len / 2) };
        net_send_head(work->exchange, 200, SLICE(""), NET_LENGTH_CHUNKED);
        (void)net_send(work->exchange, &half[0], 1);
        (void)net_send(work->exchange, &half[1], 1);
        net_end(work->exchange);
        finish(work);
    } else if (path_is(work, "/late")) {
        net_timer_start(&work->timer, 200);
    } else if (path_is(work, "/slow")) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%zu", work->body.len);
        answer(work, 200, slice_str(text));
    } else if (path_is(work, "/go_on")) {
        if (work->server->resting) {
            net_body_read(work->server->resting);
            work->server->resting = NULL;
        }
        answer(work, 200, SLICE("it does"));
    } else if (path_is(work, "/flood")) {
        net_send_head(work->exchange, 200, SLICE(""), NET_LENGTH_CHUNKED);
        flood(work);
    } else if (path_is(work, "/abort")) {
        const struct slice half = SLICE("half");
        net_send_head(work->exchange, 200, SLICE(""), NET_LENGTH_CHUNKED);
        (void)net_send(work->exchange, &half, 1);
        net_abort(work->exchange);
        finish(work);
    }
}

static void
on_body(struct net_exchange *exchange, struct slice piece, bool last)
{
    struct work *work = net_exchange_user(exchange);
    const bool first = work->body.len == 0;
    buf_add_slice(&work->body, piece);
    if (work->body.len > atomic_load(&work->server->body_bytes_max)) {
        atomic_store(&work->server->body_bytes_max, work->body.len);
    }
    if (last) {
        atomic_fetch_add(&work->server->bodies, 1);
        on_complete(work);
    } else if (first && path_is(work, "/slow")) {
        net_body_pause(exchange);
        work->server->resting = exchange;
        atomic_fetch_add(&work->server->rests, 1);
    }
}

static void
on_gone(struct net_exchange *exchange)
{
    struct work *work = net_exchange_user(exchange);
    atomic_store(&work->server->gone_mono_ms, clock_mono_ms());
    atomic_fetch_add(&work->server->gone, 1);
    finish(work);
}

static void
on_drained(struct net_exchange *exchange)
{
    struct work *work = net_exchange_user(exchange);
    atomic_fetch_add(&work->server->drained, 1);
    flood(work);
}

static const struct net_app app = {
    .on_request = on_request, .on_body = on_body, .on_gone = on_gone, .on_drained = on_drained
};

struct net_options
peer_options(const struct net_listen *listens, int listen_count)
{
    return (struct net_options){ .loop_count = 1, .listens = listens, .listen_count = listen_count,
        .limits = { .head_bytes_max = 4096, .target_bytes_max = 1024, .headers_max = 50 },
        .body_bytes_max = 8 * 1024 * 1024, .connections_max = 100, .head_deadline_ms = 5000,
        .body_deadline_ms = 5000, .idle_ms = 5000, .write_deadline_ms = 5000 };
}

static void *
run(void *arg)
{
    struct peer_server *server = arg;
    check(net_run(server->net) == STATUS_OK);
    return NULL;
}

void
peer_server_start(struct peer_server *server, const struct net_options *options)
{
    static const struct net_listen anywhere = { .host = "127.0.0.1" };
    const struct net_options defaults = peer_options(&anywhere, 1);
    struct net_error error;
    memset(server, 0, sizeof(*server));
    check(net_open(options ? options : &defaults, &app, server, &server->net, &error) == STATUS_OK);
    server->port = net_port(server->net, 0);
    check(pthread_create(&server->thread, NULL, run, server) == 0);
}

void
peer_server_stop(struct peer_server *server)
{
    net_stop(server->net, 100);
    check(pthread_join(server->thread, NULL) == 0);
    net_free(server->net);
}

/* ---- sockets ---- */

static void
set_timeout(int fd)
{
    const struct timeval timeout = { .tv_sec = READ_TIMEOUT_MS / 1000 };
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0);
}

int
peer_connect(uint16_t port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(fd >= 0);
    check(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    set_timeout(fd);
    return fd;
}

int
peer_connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    check(slice_to_cstr(slice_str(path), address.sun_path, sizeof(address.sun_path)));
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    check(fd >= 0);
    check(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    set_timeout(fd);
    return fd;
}

int
peer_listen(uint16_t *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(*port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(address);
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(fd >= 0);
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
    check(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    check(listen(fd, 16) == 0);
    check(getsockname(fd, (struct sockaddr *)&address, &bytes) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

void
peer_send_bytes(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the other side has closed: what it said is read next */
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

void
peer_send(int fd, const char *text)
{
    peer_send_bytes(fd, text, strlen(text));
}

char *
peer_read_all(int fd, size_t *len)
{
    size_t used = 0;
    size_t size = 65536;
    char *text = malloc(size + 1);
    check(text != NULL);
    for (;;) {
        if (size - used < 32768) {
            size *= 2;
            text = realloc(text, size + 1);
            check(text != NULL);
        }
        const ssize_t got = recv(fd, text + used, size - used, 0);
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    text[used] = '\0';
    if (len) {
        *len = used;
    }
    (void)close(fd);
    return text;
}

bool
peer_read_until(int fd, const char *text, char *out, size_t out_size)
{
    size_t used = 0;
    out[0] = '\0';
    while (used + 1 < out_size) {
        const ssize_t got = recv(fd, out + used, 1, 0);
        if (got <= 0) {
            return false;
        }
        used++;
        out[used] = '\0';
        const size_t len = strlen(text);
        if (used >= len && memcmp(out + used - len, text, len) == 0) {
            return true;
        }
    }
    return false;
}

bool
peer_ended(int fd, int within_ms)
{
    struct pollfd wanted = { .fd = fd, .events = POLLIN };
    char byte = 0;
    return poll(&wanted, 1, within_ms) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

int
peer_count(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

void
peer_sleep_ms(int ms)
{
    const struct timespec wait = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
    (void)nanosleep(&wait, NULL);
}

bool
peer_await(atomic_int *value, int want)
{
    for (int i = 0; i < 400 && atomic_load(value) < want; i++) {
        peer_sleep_ms(5);
    }
    return atomic_load(value) >= want;
}
