/* bench/channel.h: one non-blocking connection, plain or TLS, as the generator and the fake provider need
 * it. A TLS channel shakes hands within its first reads and writes. The owner closes it. */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include "base/check.h"

struct channel {
    int fd;     /* -1: closed */
    SSL *ssl;   /* NULL: plain */
};

#define CHANNEL_AGAIN 0   /* nothing now */
#define CHANNEL_ENDED (-1) /* closed by the other side, or broken */

/* Both give the bytes moved, CHANNEL_AGAIN or CHANNEL_ENDED. `size` must not be 0. */
MUST_USE ssize_t channel_read(struct channel *channel, char *bytes, size_t size);
MUST_USE ssize_t channel_write(struct channel *channel, const char *bytes, size_t size);
/* Throws incoming bytes away, without copying them where the channel is plain. */
MUST_USE ssize_t channel_skip(struct channel *channel, size_t size);
/* Bytes are waiting inside the TLS layer, so epoll will not tell of them. */
bool channel_holds_bytes(const struct channel *channel);
/* Wraps an open descriptor. False when no memory. */
MUST_USE bool channel_start_tls(struct channel *channel, SSL_CTX *context, bool server);
void channel_close(struct channel *channel);
/* TCP_NODELAY and O_NONBLOCK. */
void channel_tune(int fd);

/* One context a process. Errors end the program with a sentence: there is nothing to measure then. */
SSL_CTX *channel_server_context(const char *certificate_file, const char *key_file);
SSL_CTX *channel_client_context(const char *ca_file);
