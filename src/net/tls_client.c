/* net/tls_client.c: TLS towards providers: roots, names, and resumption. */
#include "net/tls_priv.h"
#include "net/upstream_priv.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

struct net_tls_context {
    struct net_tls_context *next;
    SSL_CTX *ssl_context;
    char *ca_file; /* NULL = the system's roots */
};

/* ---- contexts ---- */

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct net_upstream *upstream = SSL_get_app_data(ssl);
    if (!upstream || !upstream->pool) {
        return 0;
    }
    SSL_CTX *context = SSL_get_SSL_CTX(ssl);
    net_tls_forget_session(upstream->pool);
    if (SSL_CTX_up_ref(context) != 1) {
        return 0;
    }
    upstream->pool->session = session;
    upstream->pool->session_context = context;
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

/* The context of these roots, made on first use and after each reload; with the mutex held. */
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

/* With a reference, since a reload may take it out of the list. */
static SSL_CTX *
context_ref(struct net *net, const char *ca_file)
{
    uv_mutex_lock(&net->tls_mutex);
    SSL_CTX *context = context_of(net, ca_file);
    if (context && SSL_CTX_up_ref(context) != 1) {
        context = NULL;
    }
    uv_mutex_unlock(&net->tls_mutex);
    return context;
}

void
net_trust_again(struct net *net)
{
    uv_mutex_lock(&net->tls_mutex);
    net_tls_free_contexts(net);
    uv_mutex_unlock(&net->tls_mutex);
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
    struct net_pool *pool = upstream->pool;
    SSL *ssl = SSL_new(context);
    if (pool->session_context != context) {
        net_tls_forget_session(pool); /* whoever it was made with is judged again */
    }
    if (!ssl) {
        return NULL;
    }
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
    struct net *net = upstream->sock.loop->net;
    const char *ca_file = upstream->pool->ca_file;
    char why[NET_TLS_WHY_BYTES];

    ERR_clear_error();
    SSL_CTX *context = context_ref(net, ca_file);
    if (!context) {
        net_tls_why(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "cannot read trusted certificates from %s: %s",
            ca_file ? ca_file : "the system's folder", why);
        return false;
    }
    SSL *ssl = make_ssl(upstream, context);
    SSL_CTX_free(context); /* the connection has its own reference */
    struct net_tls *tls = ssl ? net_tls_make(&upstream->sock, ssl) : NULL;
    if (!tls) {
        net_tls_why(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "cannot begin TLS with %s: %s",
            upstream->pool->host, ssl ? "out of memory" : why);
        return false;
    }
    upstream->tls = tls;
    return true;
}

void
net_tls_open_failed(struct net_upstream *upstream, char detail[NET_DETAIL_BYTES])
{
    const char *host = upstream->pool->host;
    const long verdict = SSL_get_verify_result(net_tls_ssl(upstream->tls));
    char why[NET_TLS_WHY_BYTES];

    net_tls_forget_session(upstream->pool);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        (void)snprintf(detail, NET_DETAIL_BYTES, "certificate of %s is not valid: %s", host,
            X509_verify_cert_error_string(verdict));
    } else {
        net_tls_why(why, sizeof(why));
        (void)snprintf(detail, NET_DETAIL_BYTES, "TLS handshake with %s failed: %s", host, why);
    }
}

void
net_tls_forget_session(struct net_pool *pool)
{
    SSL_SESSION_free(pool->session);
    SSL_CTX_free(pool->session_context);
    pool->session = NULL;
    pool->session_context = NULL;
}
