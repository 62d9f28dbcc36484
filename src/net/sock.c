/* net/sock.c: a descriptor on a loop: watched, read, written, closed. */
#include "net/net_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE, set where the socket is made */
#endif

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct net_sock *sock = poll->data;
    if (status
        < 0) { /* an error on the descriptor: libuv has stopped watching; a read will say what */
        sock->watched = 0;
        events = UV_READABLE | UV_WRITABLE | UV_DISCONNECT;
    }
    struct net_loop *loop = sock->loop;
    sock->on_ready(sock, events);
    net_tasks_run_if_many(loop);
}

bool
net_sock_open(struct net_sock *sock, struct net_loop *loop, int fd,
    void (*on_ready)(struct net_sock *, int), void (*on_closed)(struct net_sock *))
{
    check(fd >= 0);
    if (uv_poll_init_socket(&loop->uv, &sock->poll, fd) != 0) {
        (void)close(fd); /* nothing was written to it */
        return false;
    }
    sock->poll.data = sock;
    sock->loop = loop;
    sock->fd = fd;
    sock->watched = 0;
    sock->on_ready = on_ready;
    sock->on_closed = on_closed;
    return true;
}

void
net_sock_watch(struct net_sock *sock, int events)
{
    if (sock->fd < 0 || sock->watched == events) {
        return;
    }
    sock->watched = events;
    /* Both only record the wish; the loop tells the kernel before it sleeps. */
    const int status =
        events ? uv_poll_start(&sock->poll, events, on_poll) : uv_poll_stop(&sock->poll);
    check(status == 0);
}

static void
on_poll_closed(uv_handle_t *handle)
{
    struct net_sock *sock = handle->data;
    sock->on_closed(sock);
}

void
net_sock_close(struct net_sock *sock)
{
    if (sock->fd < 0) {
        return;
    }
    uv_close((uv_handle_t *)&sock->poll, on_poll_closed);
    (void)close(sock->fd); /* whatever it says, the descriptor is gone */
    sock->fd = -1;
    sock->watched = 0;
}

static bool
would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS;
}

ssize_t
net_sock_read(struct net_sock *sock, char *out, size_t size)
{
    for (;;) {
        const ssize_t got = recv(sock->fd, out, size, 0);
        if (got >= 0) {
            return got;
        }
        if (errno != EINTR) {
            return would_block(errno) ? NET_IO_AGAIN : NET_IO_LOST;
        }
    }
}

ssize_t
net_sock_write(struct net_sock *sock, struct iovec *pieces, int piece_count)
{
    const struct msghdr message = { .msg_iov = pieces, .msg_iovlen = (size_t)piece_count };
    for (;;) {
        const ssize_t sent =
            piece_count == 1 /* as most are, and the system has less to look at */
                ? send(sock->fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                : sendmsg(sock->fd, &message, MSG_NOSIGNAL);
        if (sent >= 0) {
            return sent;
        }
        if (errno != EINTR) {
            return would_block(errno) ? NET_IO_AGAIN : NET_IO_LOST;
        }
    }
}

int
net_socket(int family)
{
#ifdef SOCK_NONBLOCK
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    const int fd = socket(family, SOCK_STREAM, 0);
    const int one = 1;
    if (fd >= 0
        && (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0
            || setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one)) != 0)) {
        const int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
#endif
}

static void
set_tcp(int fd, int option, int value)
{
    (void)setsockopt(
        fd, IPPROTO_TCP, option, &value, sizeof(value)); /* as in net_socket_no_delay */
}

void
net_socket_watch_peer(int fd, int64_t silent_ms)
{
    const int one = 1;
    const int seconds = (int)min_i64(silent_ms / SECOND_MS, HOUR_MS / SECOND_MS);
    if (seconds <= 0 || setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) != 0) {
        return;
    }
#ifdef TCP_KEEPIDLE
    set_tcp(fd, TCP_KEEPIDLE, (int)max_i64(1, seconds / 2));
#endif
#ifdef TCP_KEEPINTVL
    set_tcp(fd, TCP_KEEPINTVL, (int)max_i64(1, seconds / 6));
    set_tcp(fd, TCP_KEEPCNT, 3);
#endif
#ifdef TCP_USER_TIMEOUT
    set_tcp(fd, TCP_USER_TIMEOUT,
        (int)(seconds * SECOND_MS)); /* also of bytes that nobody acknowledges */
#endif
}

void
net_socket_no_delay(int fd)
{
    const int one = 1;
    /* Fails on a unix socket, which has no such delay, and on one whose peer is gone already. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}
