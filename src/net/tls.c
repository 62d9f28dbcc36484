/* net/tls.c: TLS records on a socket of a loop, read through the loop's buffer.
 *
 * A stream that waits must cost little: OpenSSL gives its buffers back while they are empty, and
 * what comes from the socket is read into one buffer a loop, by a BIO of our own. That buffer is
 * empty again before another connection reads: OpenSSL has taken all, or net_tls_keep() moved
 * the rest. */
#include "net/tls_priv.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_BYTES 16384 /* the payload of one record at most */

struct net_tls {
    SSL *ssl;
    struct net_sock *sock;
    bool failed;     /* OpenSSL forbids further words on it, also the last one */
    bool drained;    /* the last read was short: the socket has no more for now */
    int reads;       /* in this turn */
    struct buf kept; /* records read and not used, while nobody reads on */
    size_t kept_used;
};

/* ---- the BIO: OpenSSL's hands on the socket ---- */

/* What a read or write of the socket came to, as OpenSSL has it. */
static int
bio_result(BIO *bio, ssize_t result, bool reading)
{
    if (result == NET_IO_AGAIN) {
        if (reading) {
            BIO_set_retry_read(bio);
        } else {
            BIO_set_retry_write(bio);
        }
    }
    return result < 0 ? -1 : (int)result;
}

static int
bio_read(BIO *bio, char *out, int size)
{
    struct net_tls *tls = BIO_get_data(bio);
    struct net_loop *loop = tls->sock->loop;

    BIO_clear_retry_flags(bio);
    if (tls->kept_used < tls->kept.len) {
        const size_t some = (size_t)min_i64(size, (int64_t)(tls->kept.len - tls->kept_used));
        memcpy(out, tls->kept.ptr + tls->kept_used, some);
        tls->kept_used += some;
        return (int)some;
    }
    if (loop->cipher_begin == loop->cipher_end) {
        if (tls->drained || tls->reads >= NET_READS_A_TURN) {
            BIO_set_retry_read(bio);
            return -1;
        }
        const ssize_t got = net_sock_read(tls->sock, loop->cipher_bytes, NET_READ_BYTES);
        if (got <= 0) {
            return bio_result(bio, got, true);
        }
        tls->reads++;
        tls->drained = got < NET_READ_BYTES;
        loop->cipher_owner = tls;
        loop->cipher_begin = 0;
        loop->cipher_end = (size_t)got;
    }
    check(loop->cipher_owner == tls);
    const size_t some = (size_t)min_i64(size, (int64_t)(loop->cipher_end - loop->cipher_begin));
    memcpy(out, loop->cipher_bytes + loop->cipher_begin, some);
    loop->cipher_begin += some;
    return (int)some;
}

static int
bio_write(BIO *bio, const char *bytes, int size)
{
    struct net_tls *tls = BIO_get_data(bio);
    struct iovec piece = { (void *)(uintptr_t)bytes, (size_t)size };
    BIO_clear_retry_flags(bio);
    return bio_result(bio, net_sock_write(tls->sock, &piece, 1), false);
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0; /* nothing is held back */
}

static BIO_METHOD *bio_method;
static uv_once_t bio_once = UV_ONCE_INIT;

static void
make_bio_method(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tidegate loop");
    if (made && BIO_meth_set_read(made, bio_read) && BIO_meth_set_write(made, bio_write)
        && BIO_meth_set_ctrl(made, bio_ctrl)) {
        bio_method = made; /* for the life of the process */
    } else {
        BIO_meth_free(made);
    }
}

/* ---- a connection ---- */

void
net_tls_why(char *out, size_t out_size)
{
    const unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    (void)snprintf(out, out_size, "%s", reason ? reason : "the connection ended");
    ERR_clear_error();
}

struct net_tls *
net_tls_make(struct net_sock *sock, SSL *ssl)
{
    struct net_loop *loop = sock->loop;
    uv_once(&bio_once, make_bio_method);
    if (!loop->cipher_bytes) {
        loop->cipher_bytes = malloc(NET_READ_BYTES);
    }
    struct net_tls *tls = loop->cipher_bytes && bio_method ? calloc(1, sizeof(*tls)) : NULL;
    BIO *bio = tls ? BIO_new(bio_method) : NULL;
    if (!bio) {
        free(tls);
        SSL_free(ssl);
        return NULL;
    }
    tls->ssl = ssl;
    tls->sock = sock;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* the bio goes with it */
    return tls;
}

SSL *
net_tls_ssl(struct net_tls *tls)
{
    return tls->ssl;
}

/* What OpenSSL wants after `result`; a wish for more bytes begins the next turn's reading. */
static int
ssl_wants(struct net_tls *tls, int result)
{
    const int wants = SSL_get_error(tls->ssl, result);
    if (wants == SSL_ERROR_WANT_READ) {
        tls->drained = false;
        tls->reads = 0;
        if (tls->kept.len > 0) {
            check(tls->kept_used == tls->kept.len);
            buf_free(&tls->kept);
            tls->kept_used = 0;
        }
    } else if (wants == SSL_ERROR_SSL || wants == SSL_ERROR_SYSCALL) {
        tls->failed = true;
    }
    return wants;
}

enum net_tls_step
net_tls_handshake(struct net_tls *tls)
{
    ERR_clear_error();
    const int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        return NET_TLS_DONE;
    }
    switch (ssl_wants(tls, result)) {
    case SSL_ERROR_WANT_READ: return NET_TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE: return NET_TLS_WANTS_WRITE;
    default: break;
    }
    tls->failed = true;
    return NET_TLS_FAILED;
}

bool
net_tls_resumed(const struct net_tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

ssize_t
net_tls_read(struct net_tls *tls, char *out, size_t size)
{
    size_t got = 0;
    if (tls->failed) {
        return NET_IO_LOST;
    }
    /* The last read of the socket was short, and all of it is used: OpenSSL would find nothing, at the price of
     * a buffer for a record. */
    if (tls->drained && tls->kept.len == 0
        && tls->sock->loop->cipher_begin == tls->sock->loop->cipher_end
        && !SSL_has_pending(tls->ssl)) {
        tls->drained = false;
        tls->reads = 0;
        return NET_IO_AGAIN;
    }
    ERR_clear_error();
    const int result = SSL_read_ex(tls->ssl, out, size, &got);
    if (result == 1) {
        return (ssize_t)got;
    }
    switch (ssl_wants(tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return NET_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default:
        ERR_clear_error();
        return NET_IO_LOST; /* also an end without a word: what came may be cut */
    }
}

/* The bytes for the next record: of one piece if it fills it or is the last, else of several, copied
 * together. */
static struct slice
next_record(const struct iovec *pieces, int piece_count, size_t skip, char record[RECORD_BYTES])
{
    size_t len = 0;
    for (int i = 0; i < piece_count && len < RECORD_BYTES; i++) {
        const size_t piece_bytes = pieces[i].iov_len;
        if (skip >= piece_bytes) {
            skip -= piece_bytes;
            continue;
        }
        const char *bytes = (const char *)pieces[i].iov_base + skip;
        const size_t left = piece_bytes - skip;
        if (len == 0 && (left >= RECORD_BYTES || i + 1 == piece_count)) {
            return slice_of(bytes, left < RECORD_BYTES ? left : RECORD_BYTES);
        }
        const size_t some = left < RECORD_BYTES - len ? left : RECORD_BYTES - len;
        memcpy(record + len, bytes, some);
        len += some;
        skip = 0;
    }
    return slice_of(record, len);
}

ssize_t
net_tls_write(struct net_tls *tls, const struct iovec *pieces, int piece_count)
{
    char record[RECORD_BYTES];
    size_t sent = 0;

    while (!tls->failed) {
        const struct slice bytes = next_record(pieces, piece_count, sent, record);
        size_t taken = 0;
        if (bytes.len == 0) {
            return (ssize_t)sent;
        }
        ERR_clear_error();
        /* A record that was not taken whole is offered again: by the same bytes, as OpenSSL
         * asks. */
        const int result = SSL_write_ex(tls->ssl, bytes.ptr, bytes.len, &taken);
        if (result == 1) {
            sent += taken;
            continue;
        }
        const int wants = ssl_wants(tls, result);
        if (wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE) {
            return sent > 0 ? (ssize_t)sent : NET_IO_AGAIN;
        }
        ERR_clear_error();
        tls->failed = true;
    }
    return NET_IO_LOST;
}

bool
net_tls_quiet(struct net_tls *tls)
{
    char byte = 0;
    size_t got = 0;
    if (tls->failed) {
        return false;
    }
    ERR_clear_error();
    const int result = SSL_peek_ex(tls->ssl, &byte, 1, &got);
    const bool quiet = result != 1 && ssl_wants(tls, result) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return quiet;
}

bool
net_tls_pending(const struct net_tls *tls)
{
    return tls->kept_used < tls->kept.len || SSL_has_pending(tls->ssl);
}

void
net_tls_keep(struct net_tls *tls)
{
    struct net_loop *loop = tls->sock->loop;
    if (loop->cipher_owner != tls) {
        return;
    }
    if (tls->kept_used > 0) {
        buf_consume(&tls->kept, tls->kept_used);
        tls->kept_used = 0;
    }
    buf_add(
        &tls->kept, loop->cipher_bytes + loop->cipher_begin, loop->cipher_end - loop->cipher_begin);
    tls->failed = tls->failed || tls->kept.failed;
    tls->drained = false;
    tls->reads = 0;
    loop->cipher_owner = NULL;
    loop->cipher_begin = loop->cipher_end = 0;
}

void
net_tls_say_end(struct net_tls *tls)
{
    ERR_clear_error();
    if (!tls->failed && SSL_is_init_finished(tls->ssl)) {
        (void)SSL_shutdown(tls->ssl); /* a word on the way out: nobody waits for an answer */
    }
    ERR_clear_error();
}

void
net_tls_free(struct net_tls *tls, bool politely)
{
    struct net_loop *loop = tls->sock->loop;
    if (loop->cipher_owner == tls) {
        loop->cipher_owner = NULL;
        loop->cipher_begin = loop->cipher_end = 0;
    }
    if (politely) {
        net_tls_say_end(tls);
    }
    /* Else OpenSSL takes its session for a broken one, and the next connection pays in full. */
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ERR_clear_error();
    SSL_free(tls->ssl);
    buf_free(&tls->kept);
    free(tls);
}
