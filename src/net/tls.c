/* net/tls.c: TLS towards providers: roots, names, resumption, and records through the loop's
 * buffer.
 *
 * A stream that waits must cost little: OpenSSL gives its buffers back while they are empty, and
 * what comes from the socket is read into one buffer a loop, by a BIO of our own. That buffer is
 * empty again before another connection reads: OpenSSL has taken all, or net_tls_keep() moved
 * the rest. */
#include "net/upstream_priv.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_BYTES 16384 /* the payload of one record at most */

struct net_tls {
    SSL *ssl;
    bool failed;     /* OpenSSL forbids further words on it, also the last one */
    bool drained;    /* the last read was short: the socket has no more for now */
    int reads;       /* in this turn */
    struct buf kept; /* records read and not used, while the call is paused */
    size_t kept_used;
};

struct net_tls_context {
    struct net_tls_context *next;
    SSL_CTX *ssl_context;
    char *ca_file; /* NULL = the system's roots */
};

/* ---- the BIO: OpenSSL's hands on the socket ---- */

static int
bio_read(BIO *bio, char *out, int size)
{
    struct net_upstream *upstream = BIO_get_data(bio);
    struct net_tls *tls = upstream->tls;
    struct net_loop *loop = upstream->sock.loop;

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
        const ssize_t got = net_sock_read(&upstream->sock, loop->cipher_bytes, NET_READ_BYTES);
        if (got <= 0) {
            if (got == NET_IO_AGAIN) {
                BIO_set_retry_read(bio);
            }
            return got == 0 ? 0 : -1;
        }
        tls->reads++;
        tls->drained = got < NET_READ_BYTES;
        loop->cipher_owner = upstream;
        loop->cipher_begin = 0;
        loop->cipher_end = (size_t)got;
    }
    check(loop->cipher_owner == upstream);
    const size_t some = (size_t)min_i64(size, (int64_t)(loop->cipher_end - loop->cipher_begin));
    memcpy(out, loop->cipher_bytes + loop->cipher_begin, some);
    loop->cipher_begin += some;
    return (int)some;
}

static int
bio_write(BIO *bio, const char *bytes, int size)
{
    struct net_upstream *upstream = BIO_get_data(bio);
    struct iovec piece = { (void *)(uintptr_t)bytes, (size_t)size };
    BIO_clear_retry_flags(bio);
    const ssize_t sent = net_sock_write(&upstream->sock, &piece, 1);
    if (sent == NET_IO_AGAIN) {
        BIO_set_retry_write(bio);
    }
    return sent < 0 ? -1 : (int)sent;
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

/* ---- contexts ---- */

static void
last_error(char *out, size_t out_size)
{
    const unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    (void)snprintf(out, out_size, "%s", reason ? reason : "the connection ended");
    ERR_clear_error();
}

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct net_upstream *upstream = SSL_get_app_data(ssl);
    if (!upstream || !upstream->pool) {
        return 0;
    }
    net_tls_forget_session(upstream->pool);
    upstream->pool->session = session;
    return 1; /* it is ours now */
}

static SSL_CTX *
make_ssl_context(const char *ca_file)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made) {
        return NULL;
    }
    (void)SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                     | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_options(made, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made, on_new_session);
    SSL_CTX_set_verify(made, SSL_VERIFY_PEER, NULL);
    if (!SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION)
        || !(ca_file ? SSL_CTX_load_verify_file(made, ca_file)
                     : SSL_CTX_set_default_verify_paths(made))) {
        SSL_CTX_free(made);
        return NULL;
    }
    return made;
}

/* The context of these roots, made on first use; with the mutex held. */
static SSL_CTX *
context_of(struct net *net, const char *ca_file)
{
    for (struct net_tls_context *known = net->tls_contexts; known; known = known->next) {
        if (!known->ca_file == !ca_file && (!ca_file || strcmp(known->ca_file, ca_file) == 0)) {
            return known->ssl_context;
        }
    }
    struct net_tls_context *made = calloc(1, sizeof(*made));
    if (!made) {
        return NULL;
    }
    made->ca_file = ca_file ? strdup(ca_file) : NULL;
    made->ssl_context = !ca_file || made->ca_file ? make_ssl_context(ca_file) : NULL;
    if (!made->ssl_context) {
        free(made->ca_file);
        free(made);
        return NULL;
    }
    made->next = net->tls_contexts;
    net->tls_contexts = made;
    return made->ssl_context;
}

void
net_tls_free_contexts(struct net *net)
{
    while (net->tls_contexts) {
        struct net_tls_context *first = net->tls_contexts;
        net->tls_contexts = first->next;
        SSL_CTX_free(first->ssl_context);
        free(first->ca_file);
        free(first);
    }
}

/* ---- a connection ---- */

static bool
is_number(const char *host)
{
    unsigned char address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Whose certificate is expected. */
static bool
expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    if (is_number(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1;
    }
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1
           && X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1;
}

static SSL *
make_ssl(struct net_upstream *upstream, SSL_CTX *context)
{
    static const unsigned char protocols[] = "\x08http/1.1";
    const struct net_pool *pool = upstream->pool;
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl ? BIO_new(bio_method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return NULL;
    }
    BIO_set_data(bio, upstream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* the bio goes with it */
    SSL_set_connect_state(ssl);
    if (!SSL_set_app_data(ssl, upstream) || !expect_host(ssl, pool->host)
        || SSL_set_alpn_protos(ssl, protocols, sizeof(protocols) - 1) != 0
        || (pool->session && !SSL_set_session(ssl, pool->session))) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

bool
net_tls_open(struct net_upstream *upstream, char detail[NET_DETAIL_BYTES])
{
    struct net_loop *loop = upstream->sock.loop;
    struct net *net = loop->net;
    const char *ca_file = upstream->pool->ca_file;
    char why[128];

    uv_once(&bio_once, make_bio_method);
    ERR_clear_error();
    uv_mutex_lock(&net->tls_mutex);
    SSL_CTX *context = bio_method ? context_of(net, ca_file) : NULL;
    uv_mutex_unlock(&net->tls_mutex);
    if (!context) {
        last_error(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "cannot read trusted certificates from %s: %s",
            ca_file ? ca_file : "the system's folder", why);
        return false;
    }
    if (!loop->cipher_bytes) {
        loop->cipher_bytes = malloc(NET_READ_BYTES);
    }
    struct net_tls *tls = loop->cipher_bytes ? calloc(1, sizeof(*tls)) : NULL;
    if (tls) {
        tls->ssl = make_ssl(upstream, context);
    }
    if (!tls || !tls->ssl) {
        last_error(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "cannot begin TLS with %s: %s",
            upstream->pool->host, tls ? why : "out of memory");
        free(tls);
        return false;
    }
    upstream->tls = tls;
    return true;
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
net_tls_handshake(struct net_upstream *upstream, char detail[NET_DETAIL_BYTES])
{
    struct net_tls *tls = upstream->tls;
    const char *host = upstream->pool->host;
    char why[128];

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
    net_tls_forget_session(upstream->pool);
    const long verdict = SSL_get_verify_result(tls->ssl);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        (void)snprintf(detail, NET_DETAIL_BYTES, "certificate of %s is not valid: %s", host,
            X509_verify_cert_error_string(verdict));
    } else {
        last_error(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "TLS handshake with %s failed: %s", host, why);
    }
    return NET_TLS_FAILED;
}

ssize_t
net_tls_read(struct net_upstream *upstream, char *out, size_t size)
{
    struct net_tls *tls = upstream->tls;
    size_t got = 0;
    if (tls->failed) {
        return NET_IO_LOST;
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

/* The bytes for the next record: of one piece if it fills it, else of several, copied together. */
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
        if (len == 0 && left >= RECORD_BYTES) {
            return slice_of(bytes, RECORD_BYTES);
        }
        const size_t some = left < RECORD_BYTES - len ? left : RECORD_BYTES - len;
        memcpy(record + len, bytes, some);
        len += some;
        skip = 0;
    }
    return slice_of(record, len);
}

ssize_t
net_tls_write(struct net_upstream *upstream, const struct iovec *pieces, int piece_count)
{
    struct net_tls *tls = upstream->tls;
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
net_tls_quiet(struct net_upstream *upstream)
{
    struct net_tls *tls = upstream->tls;
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

void
net_tls_keep(struct net_upstream *upstream)
{
    struct net_loop *loop = upstream->sock.loop;
    struct net_tls *tls = upstream->tls;
    if (loop->cipher_owner != upstream) {
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
net_tls_close(struct net_upstream *upstream, bool politely)
{
    struct net_loop *loop = upstream->sock.loop;
    struct net_tls *tls = upstream->tls;
    if (loop->cipher_owner == upstream) {
        loop->cipher_owner = NULL;
        loop->cipher_begin = loop->cipher_end = 0;
    }
    ERR_clear_error();
    if (politely && !tls->failed && SSL_is_init_finished(tls->ssl)) {
        (void)SSL_shutdown(tls->ssl); /* a word on the way out: nobody waits for an answer */
    }
    /* Else OpenSSL takes its session for a broken one, and the next connection pays in full. */
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ERR_clear_error();
    SSL_free(tls->ssl);
    buf_free(&tls->kept);
    free(tls);
    upstream->tls = NULL;
}

void
net_tls_forget_session(struct net_pool *pool)
{
    SSL_SESSION_free(pool->session);
    pool->session = NULL;
}
