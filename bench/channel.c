/* bench/channel.c: reads and writes of a connection, plain or TLS. */
#include "bench/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/fail.h"

#define SKIP_BYTES (64 * 1024)

static ssize_t
plain_result(ssize_t moved)
{
    if (moved > 0) {
        return moved;
    }
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return CHANNEL_AGAIN;
    }
    return CHANNEL_ENDED;
}

static ssize_t
tls_result(const struct channel *channel, int moved)
{
    if (moved > 0) {
        return moved;
    }
    const int why = SSL_get_error(channel->ssl, moved);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? CHANNEL_AGAIN
                                                                     : CHANNEL_ENDED;
}

static int
int_size(size_t size)
{
    return size > INT_MAX ? INT_MAX : (int)size;
}

ssize_t
channel_read(struct channel *channel, char *bytes, size_t size)
{
    check(size > 0);
    if (channel->ssl) {
        return tls_result(channel, SSL_read(channel->ssl, bytes, int_size(size)));
    }
    return plain_result(recv(channel->fd, bytes, size, 0));
}

ssize_t
channel_write(struct channel *channel, const char *bytes, size_t size)
{
    check(size > 0);
    if (channel->ssl) {
        return tls_result(channel, SSL_write(channel->ssl, bytes, int_size(size)));
    }
    return plain_result(send(channel->fd, bytes, size, MSG_NOSIGNAL));
}

ssize_t
channel_skip(struct channel *channel, size_t size)
{
    static char sink[SKIP_BYTES];
    if (channel->ssl) {
        return channel_read(channel, sink, size < sizeof sink ? size : sizeof sink);
    }
    return plain_result(recv(channel->fd, NULL, size, MSG_TRUNC));
}

bool
channel_holds_bytes(const struct channel *channel)
{
    return channel->ssl && SSL_pending(channel->ssl) > 0;
}

bool
channel_start_tls(struct channel *channel, SSL_CTX *context, bool server)
{
    channel->ssl = SSL_new(context);
    if (!channel->ssl || SSL_set_fd(channel->ssl, channel->fd) != 1) {
        return false;
    }
    if (server) {
        SSL_set_accept_state(channel->ssl);
    } else {
        SSL_set_connect_state(channel->ssl);
    }
    return true;
}

void
channel_close(struct channel *channel)
{
    SSL_free(channel->ssl);
    channel->ssl = NULL;
    if (channel->fd >= 0) {
        (void)close(channel->fd);
    }
    channel->fd = -1;
}

void
channel_tune(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a unix socket has none */
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        fail("a descriptor cannot be made non-blocking");
    }
}

static SSL_CTX *
new_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context) {
        fail("no memory for TLS");
    }
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                        | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

SSL_CTX *
channel_server_context(const char *certificate_file, const char *key_file)
{
    SSL_CTX *context = new_context(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1
        || SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1) {
        fail("the certificate %s or its key %s cannot be used", certificate_file, key_file);
    }
    return context;
}

SSL_CTX *
channel_client_context(const char *ca_file)
{
    SSL_CTX *context = new_context(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1) {
        fail("the certificates of %s cannot be read", ca_file);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}
