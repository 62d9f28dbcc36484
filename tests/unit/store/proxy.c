#include "proxy.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/statements.h"

#define PAIRS_MAX 16
#define CHUNK     65536

struct pair {
    int client, server; /* -1 = none */
    bool answer_is_cut; /* the server's next answer is the last thing of this pair */
};

struct proxy {
    int listener, port;
    atomic_int mode;
    atomic_bool refuse, stop, deliver, delivered;
    char commit_name[16];
    size_t commit_name_len;
    struct pair pairs[PAIRS_MAX];
    int held_server;
    char held[CHUNK];
    size_t held_len;
    pthread_t thread;
};

static int
connect_server(void)
{
    PQconninfoOption *options = PQconninfoParse(getenv("TIDEGATE_TEST_PG"), NULL);
    const char *host = "127.0.0.1";
    const char *port = "5432";
    int fd = -1;
    assert_non_null(options);
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (strcmp(option->keyword, "host") == 0 && option->val) {
            host = option->val;
        }
        if (strcmp(option->keyword, "port") == 0 && option->val) {
            port = option->val;
        }
    }
    if (host[0] == '/') {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/.s.PGSQL.%s", host, port);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    } else {
        struct sockaddr_in at = { .sin_family = AF_INET,
            .sin_port = htons((uint16_t)strtol(port, NULL, 10)) };
        assert_int_equal(inet_pton(AF_INET, host, &at.sin_addr), 1);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    }
    PQconninfoFree(options);
    return fd;
}

static void
drop(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static void
drop_pair(struct pair *pair)
{
    drop(&pair->client);
    drop(&pair->server);
    pair->answer_is_cut = false;
}

static void
send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* it has left: the next read tells */
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void
accept_client(struct proxy *proxy)
{
    const int client = accept(proxy->listener, NULL, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        struct pair *pair = &proxy->pairs[i];
        if (client >= 0 && pair->client < 0 && pair->server < 0 && !proxy->refuse) {
            pair->client = client;
            pair->server = connect_server();
            return;
        }
    }
    (void)close(client);
}

static void
client_said(struct proxy *proxy, struct pair *pair)
{
    char bytes[CHUNK];
    const ssize_t len = recv(pair->client, bytes, sizeof(bytes), 0);
    if (len <= 0) {
        drop_pair(pair);
        return;
    }
    const char *commit = memmem(bytes, (size_t)len, proxy->commit_name, proxy->commit_name_len);
    const int mode = commit ? atomic_exchange(&proxy->mode, PROXY_PASS) : PROXY_PASS;
    switch (mode) {
    case PROXY_CUT_BEFORE: drop_pair(pair); return;
    case PROXY_CUT_WITHIN:
        send_all(pair->server, bytes, (size_t)(commit - bytes));
        drop_pair(pair);
        return;
    case PROXY_HOLD:
        memcpy(proxy->held, bytes, (size_t)len);
        proxy->held_len = (size_t)len;
        proxy->held_server = pair->server;
        pair->server = -1;
        drop_pair(pair);
        return;
    default: break;
    }
    pair->answer_is_cut |= mode == PROXY_CUT_AFTER;
    send_all(pair->server, bytes, (size_t)len);
}

static void
server_said(struct pair *pair)
{
    char bytes[CHUNK];
    const ssize_t len = recv(pair->server, bytes, sizeof(bytes), 0);
    if (len <= 0 || pair->answer_is_cut) {
        drop_pair(pair);
        return;
    }
    send_all(pair->client, bytes, (size_t)len);
}

static void
deliver(struct proxy *proxy)
{
    char bytes[CHUNK];
    send_all(proxy->held_server, proxy->held, proxy->held_len);
    (void)recv(proxy->held_server, bytes, sizeof(bytes), 0);
    drop(&proxy->held_server);
    proxy->deliver = false;
    proxy->delivered = true;
}

static void *
proxy_thread(void *arg)
{
    struct proxy *proxy = arg;
    while (!proxy->stop) {
        struct pollfd fds[1 + 2 * PAIRS_MAX];
        fds[0] = (struct pollfd){ .fd = proxy->listener, .events = POLLIN };
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            fds[1 + 2 * i] = (struct pollfd){ .fd = proxy->pairs[i].client, .events = POLLIN };
            fds[2 + 2 * i] = (struct pollfd){ .fd = proxy->pairs[i].server, .events = POLLIN };
        }
        (void)poll(fds, 1 + 2 * PAIRS_MAX, 10);
        if (proxy->deliver) {
            deliver(proxy);
        }
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            struct pair *pair = &proxy->pairs[i];
            if (fds[1 + 2 * i].revents && pair->client >= 0) {
                client_said(proxy, pair);
            }
            if (fds[2 + 2 * i].revents && pair->server >= 0 && pair->client >= 0) {
                server_said(pair);
            }
        }
        if (fds[0].revents) {
            accept_client(proxy);
        }
    }
    return NULL;
}

struct proxy *
proxy_start(void)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    assert_non_null(proxy);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        proxy->pairs[i] = (struct pair){ .client = -1, .server = -1 };
    }
    proxy->held_server = -1;
    /* what a Bind names; its text too, the first time, and then cut in the same place */
    proxy->commit_name_len = (size_t)snprintf(
        proxy->commit_name, sizeof(proxy->commit_name), "t%dp", (int)STATEMENT_PG_COMMIT);
    proxy->commit_name_len++; /* with its end */
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy->listener, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&at, &len), 0);
    proxy->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_thread, proxy), 0);
    return proxy;
}

void
proxy_stop(struct proxy *proxy)
{
    proxy->stop = true;
    (void)pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        drop_pair(&proxy->pairs[i]);
    }
    drop(&proxy->held_server);
    (void)close(proxy->listener);
    free(proxy);
}

int
proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

void
proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    proxy->mode = mode;
}

void
proxy_refuse(struct proxy *proxy, bool refuse)
{
    proxy->refuse = refuse;
}

void
proxy_deliver(struct proxy *proxy)
{
    proxy->delivered = false;
    proxy->deliver = true;
    while (!proxy->delivered) {
        (void)poll(NULL, 0, 5);
    }
}
