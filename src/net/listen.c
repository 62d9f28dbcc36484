/* net/listen.c: listening sockets and accepting. */
#include "net/net_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG        4096 /* the kernel holds it at net.core.somaxconn */
#define ACCEPTS_A_TURN 64   /* then connections that are there have their turn */
#define BACKOFF_MS     100
#define UNIX_MODE      0600
#define RESERVED       8 /* connections beyond connections_max, of a listener that has some */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static void
listen_name(const struct net_listen *listen_at, char *out, size_t out_size)
{
    if (listen_at->unix_path) {
        (void)snprintf(out, out_size, "unix:%s", listen_at->unix_path);
    } else {
        (void)snprintf(out, out_size, strchr(listen_at->host, ':') ? "[%s]:%u" : "%s:%u",
            listen_at->host, (unsigned)listen_at->port);
    }
}

static enum status
refuse_listen(const struct net_listen *listen_at, struct net_error *error, enum status status,
    const char *why)
{
    char name[160];
    listen_name(listen_at, name, sizeof(name));
    (void)snprintf(error->text, sizeof(error->text), "cannot listen on %s: %s", name, why);
    return status;
}

static enum status
refuse_errno(const struct net_listen *listen_at, struct net_error *error, int error_number)
{
    switch (error_number) {
    case EADDRINUSE: return refuse_listen(listen_at, error, STATUS_BUSY, "address already in use");
    case EACCES:
        return refuse_listen(listen_at, error, STATUS_IO,
            "permission denied (ports below 1024 need a privilege, folders write access)");
    case EADDRNOTAVAIL:
        return refuse_listen(
            listen_at, error, STATUS_INVALID, "this machine does not have that address");
    default: {
        char text[96];
        return refuse_listen(listen_at, error, STATUS_IO,
            uv_strerror_r(uv_translate_sys_error(error_number), text, sizeof(text)));
    }
    }
}

static MUST_USE bool
parse_address(const struct net_listen *listen_at, uint16_t port, union address *address,
    socklen_t *address_bytes)
{
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, listen_at->host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        *address_bytes = sizeof(address->v4);
        return true;
    }
    if (inet_pton(AF_INET6, listen_at->host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        *address_bytes = sizeof(address->v6);
        return true;
    }
    return false;
}

/* A bound TCP socket, or -1 with errno. */
static MUST_USE int
bind_tcp(const union address *address, socklen_t address_bytes, bool shared)
{
    const int one = 1;
    const int fd = net_socket(address->any.sa_family);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0
        && (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0)
        && (address->any.sa_family != AF_INET6
            || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0)
        && bind(fd, &address->any, address_bytes) == 0) {
        return fd;
    }
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static uint16_t
port_of(int fd)
{
    union address address = { .storage = { 0 } };
    socklen_t address_bytes = sizeof(address);
    check(getsockname(fd, &address.any, &address_bytes) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static struct net_listener *
listener_add(struct net_loop *loop, int fd, const struct net_listen *listen_at, int index)
{
    struct net_listener *listener = &loop->listeners[loop->listener_count++];
    *listener = (struct net_listener){ .loop = loop,
        .fd = fd,
        .spare_fd = -1,
        .tag = listen_at->tag,
        .listen_index = index,
        .tls = listen_at->cert_file != NULL,
        .while_stopping = listen_at->while_stopping,
        .reserved = listen_at->reserved };
    return listener;
}

static MUST_USE enum status
open_tcp(struct net *net, int index, struct net_error *error)
{
    const struct net_listen *listen_at = &net->options.listens[index];
    union address address;
    socklen_t address_bytes = 0;
    if (!parse_address(listen_at, listen_at->port, &address, &address_bytes)) {
        return refuse_listen(
            listen_at, error, STATUS_INVALID, "not a numeric address like 127.0.0.1 or ::1");
    }

    /* Sockets that share a port let in every process of this user, so another gateway would not be
     * noticed: a socket that does not share asks first. */
    if (listen_at->port != 0) {
        const int probe = bind_tcp(&address, address_bytes, false);
        if (probe < 0) {
            return refuse_errno(listen_at, error, errno);
        }
        (void)close(probe);
    }
    for (int i = 0; i < net->loop_count; i++) {
        const int fd = bind_tcp(&address, address_bytes, true);
        if (fd < 0) {
            return refuse_errno(listen_at, error, errno);
        }
        (void)listener_add(
            &net->loops[i], fd, listen_at, index); /* its fd is closed with the loop */
        net_socket_watch_peer(fd, net->options.write_deadline_ms);
        if (listen(fd, BACKLOG) != 0) {
            return refuse_errno(listen_at, error, errno);
        }
        net->ports[index] = port_of(fd);
        check(parse_address(listen_at, net->ports[index], &address, &address_bytes));
    }
    return STATUS_OK;
}

/* A socket file that nobody answers at is left from a crash; anything else stays. */
static MUST_USE enum status
clear_stale(
    const struct net_listen *listen_at, const struct sockaddr_un *address, struct net_error *error)
{
    struct stat found;
    if (lstat(listen_at->unix_path, &found) != 0) {
        return errno == ENOENT ? STATUS_OK : refuse_errno(listen_at, error, errno);
    }
    if (!S_ISSOCK(found.st_mode)) {
        return refuse_listen(
            listen_at, error, STATUS_EXISTS, "a file that is no socket has that name");
    }
    const int fd = net_socket(AF_UNIX);
    if (fd < 0) {
        return refuse_errno(listen_at, error, errno);
    }
    const int answer = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    const int why = answer == 0 ? EADDRINUSE : errno;
    (void)close(fd);
    if (why != ECONNREFUSED) {
        return refuse_errno(listen_at, error, why == EAGAIN ? EADDRINUSE : why);
    }
    return unlink(listen_at->unix_path) == 0 ? STATUS_OK : refuse_errno(listen_at, error, errno);
}

/* A unix socket has one queue: all loops accept from it, the last of them while the gateway stops. What comes
 * by a reserved one is a few commands: for those, loop 0 will do. */
static MUST_USE enum status
share_unix(struct net *net, int fd, int index, struct net_error *error)
{
    const struct net_listen *listen_at = &net->options.listens[index];
    for (int i = 1; i < net->loop_count && !listen_at->reserved; i++) {
        const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            return refuse_errno(listen_at, error, errno);
        }
        (void)listener_add(&net->loops[i], copy, listen_at, index);
    }
    return STATUS_OK;
}

static MUST_USE enum status
open_unix(struct net *net, int index, struct net_error *error)
{
    const struct net_listen *listen_at = &net->options.listens[index];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (!slice_to_cstr(
            slice_str(listen_at->unix_path), address.sun_path, sizeof(address.sun_path))) {
        return refuse_listen(
            listen_at, error, STATUS_INVALID, "the path is too long for a socket (107 bytes)");
    }
    enum status status = clear_stale(listen_at, &address, error);
    if (status != STATUS_OK) {
        return status;
    }
    const int fd = net_socket(AF_UNIX);
    if (fd < 0) {
        return refuse_errno(listen_at, error, errno);
    }
    struct net_listener *listener = listener_add(&net->loops[0], fd, listen_at, index);
    /* Never more open than it shall be, not even for a moment. */
    const mode_t mode = listen_at->unix_mode ? listen_at->unix_mode : UNIX_MODE;
    const mode_t mask = umask(~mode & 0777);
    const int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    const int why = errno;
    (void)umask(mask);
    struct stat made;
    if (bound != 0) {
        return refuse_errno(listen_at, error, why);
    }
    if (listen(fd, BACKLOG) != 0 || stat(listen_at->unix_path, &made) != 0) {
        return refuse_errno(listen_at, error, errno);
    }
    listener->unix_device = (uint64_t)made.st_dev;
    listener->unix_inode = (uint64_t)made.st_ino;
    listener->unix_path = strdup(listen_at->unix_path);
    if (!listener->unix_path) {
        return refuse_listen(listen_at, error, STATUS_FULL, "out of memory");
    }
    return share_unix(net, fd, index, error);
}

enum status
net_listen_open(struct net *net, struct net_error *error)
{
    for (int i = 0; i < net->options.listen_count; i++) {
        const enum status status =
            net->options.listens[i].unix_path ? open_unix(net, i, error) : open_tcp(net, i, error);
        if (status != STATUS_OK) {
            error->listen_index = i;
            return status;
        }
    }
    return STATUS_OK;
}

/* ---- accepting ---- */

static int
accept_one(int fd, union address *address)
{
    socklen_t address_bytes = sizeof(*address);
    memset(&address->any, 0, sizeof(address->any));
#ifdef SOCK_NONBLOCK
    return accept4(fd, &address->any, &address_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    const int accepted = accept(fd, &address->any, &address_bytes);
    const int one = 1;
    if (accepted >= 0
        && (fcntl(accepted, F_SETFL, O_NONBLOCK) != 0 || fcntl(accepted, F_SETFD, FD_CLOEXEC) != 0
            || setsockopt(accepted, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one)) != 0)) {
        (void)close(accepted);
        errno = ECONNABORTED;
        return -1;
    }
    return accepted;
#endif
}

/* The connection is opened, told that there are too many, or just closed. */
static void
admit(struct net_listener *listener, int fd, const union address *address)
{
    struct net_loop *loop = listener->loop;
    struct net *net = loop->net;
    const struct net_refusal *overflow = NULL;
    struct net_peer peer;
    net_peer_of(&address->any, &peer);
    if (address->any.sa_family != AF_UNIX) {
        net_socket_no_delay(fd);
    }

    const int connections_max = net->options.connections_max + (listener->reserved ? RESERVED : 0);
    const int before = atomic_fetch_add(&net->connection_count, 1);
    if (net->options.connections_max > 0 && before >= connections_max) {
        overflow = &net_too_many;
    } else if (!net_peer_enter(net, &peer)) {
        overflow = &net_too_many_of_address;
    }
    if (overflow) {
        (void)atomic_fetch_sub(&net->connection_count, 1);
    }
    if (overflow && loop->overflow_count >= NET_OVERFLOWS_MAX) {
        counter_add(COUNTER_CONNECTIONS_REFUSED, 1);
        (void)close(fd);
        return;
    }
    net_conn_open(loop, fd, listener, &peer, overflow);
}

/* No descriptor is left for a new connection. Leaving it in the queue would wake us again at
 * once, so one is taken with the spare descriptor and dropped, and polling rests a while. */
static void
shed(struct net_listener *listener)
{
    if (listener->spare_fd >= 0) {
        union address address;
        (void)close(listener->spare_fd);
        const int fd = accept_one(listener->fd, &address);
        if (fd >= 0) {
            counter_add(COUNTER_CONNECTIONS_REFUSED, 1);
            (void)close(fd);
        }
        listener->spare_fd =
            open("/dev/null", O_RDONLY | O_CLOEXEC); /* -1: tried again next time */
    } else {
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void on_listener_ready(uv_poll_t *poll, int status, int events);

static void
on_backoff_over(struct net_timer *timer)
{
    struct net_listener *listener = list_entry(timer, struct net_listener, backoff);
    check(uv_poll_start(&listener->poll, UV_READABLE, on_listener_ready) == 0);
}

static void
on_listener_ready(uv_poll_t *poll, int status, int events)
{
    struct net_listener *listener = poll->data;
    bool rest = status < 0;
    (void)events; /* only readable was asked for */

    for (int i = 0; i < ACCEPTS_A_TURN && !rest; i++) {
        union address address;
        const int fd = accept_one(listener->fd, &address);
        if (fd >= 0) {
            admit(listener, fd, &address);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE) {
            if (!net_pool_shed(listener->loop)) {
                shed(listener);
                rest = true;
            }
        } else if (errno != EINTR && errno != ECONNABORTED) {
            rest = true; /* memory, or a network that is down: neither is better in this turn */
        }
    }
    if (rest) {
        (void)uv_poll_stop(&listener->poll); /* cannot fail on an open handle */
        net_timer_start(&listener->backoff, BACKOFF_MS);
    }
}

void
net_listen_start(struct net_loop *loop)
{
    for (int i = 0; i < loop->listener_count; i++) {
        struct net_listener *listener = &loop->listeners[i];
        net_timer_init(&listener->backoff, loop, on_backoff_over);
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        listener->poll.data = listener;
        check(uv_poll_init_socket(&loop->uv, &listener->poll, listener->fd) == 0);
        on_backoff_over(&listener->backoff);
    }
}

void
net_listen_close(struct net_loop *loop, bool all)
{
    for (int i = 0; i < loop->listener_count; i++) {
        struct net_listener *listener = &loop->listeners[i];
        struct stat found;
        if (listener->fd < 0 || (listener->while_stopping && !all)) {
            continue;
        }
        if (listener->poll.data) {
            net_timer_stop(&listener->backoff);
            uv_close((uv_handle_t *)&listener->poll, NULL);
        }
        if (listener->spare_fd >= 0) {
            (void)close(listener->spare_fd);
        }
        (void)close(listener->fd);
        listener->fd = listener->spare_fd = -1;
        if (listener->unix_path && stat(listener->unix_path, &found) == 0
            && (uint64_t)found.st_dev == listener->unix_device
            && (uint64_t)found.st_ino == listener->unix_inode) {
            (void)unlink(listener->unix_path); /* what stays is replaced by the next start */
        }
        free(listener->unix_path);
        listener->unix_path = NULL;
    }
}
