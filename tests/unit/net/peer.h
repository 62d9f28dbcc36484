/* tests/unit/net/peer.h: the other side of net/: blocking sockets, and a server with a small app.
 *
 * What the app does is the path of the request:
 *     /echo     reads the body and sends it back with its length
 *     /chunked  the same, chunked, in two pieces
 *     /refuse   answers 401 without reading the body
 *     /hold     reads the body and never answers
 *     /late     answers after 200 ms
 *     /slow     takes the body's first piece, then rests until /go_on; answers with its size (one at a
 *               time, in a server of one loop)
 *     /go_on    lets it take the others
 *     /flood    sends FLOOD_BYTES, stopping at the high-water mark
 *     /abort    breaks off within a chunked answer */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "net/net.h"

#define FLOOD_BYTES     (32 * 1024 * 1024)
#define READ_TIMEOUT_MS 3000

struct peer_server {
    struct net *net;
    pthread_t thread;
    uint16_t port;
    atomic_int requests, bodies, gone, drained, ended, rests;
    struct net_exchange *resting; /* of /slow; the loop's own */
    atomic_size_t unsent_max, body_bytes_max;
    _Atomic int64_t gone_mono_ms;
};

struct net_options peer_options(const struct net_listen *listens, int listen_count);
/* Fields of `options` are used as they are; NULL = one loop, any port of 127.0.0.1. */
void peer_server_start(struct peer_server *server, const struct net_options *options);
void peer_server_stop(struct peer_server *server);

int peer_connect(uint16_t port);
int peer_connect_unix(const char *path);
int peer_listen(uint16_t *port); /* a plain listening socket */
void peer_send(int fd, const char *text);
void peer_send_bytes(int fd, const char *bytes, size_t len);
/* Reads until the other side ends, or READ_TIMEOUT_MS without a byte; NUL-terminated. Closes fd. */
char *peer_read_all(int fd, size_t *len);
/* Reads until `text` has come; false at the end or after READ_TIMEOUT_MS. */
bool peer_read_until(int fd, const char *text, char *out, size_t out_size);
bool peer_ended(int fd, int within_ms); /* the other side ends within that time, with no more bytes */
int peer_count(const char *text, const char *part);
void peer_sleep_ms(int ms);
/* Waits up to 2 s until *value is at least `want`. */
bool peer_await(atomic_int *value, int want);
