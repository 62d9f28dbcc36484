/* net/tls_server.c: TLS towards clients: the certificates of listeners, read, judged, and read again.
 *
 * Each listener has one context, shared by the loops; a new one takes its place while connections live on
 * under the old. Sessions are resumed by tickets alone: nothing is remembered here but their keys, which
 * stay as long as the certificate's key does. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/secret.h"
#include "net/tls_priv.h"

#define TICKET_LIFE_S (NET_TICKET_ISSUE_MS / SECOND_MS)
#define EXPIRES_MAX   (INT64_C(1) << 43) /* some centuries from now, in milliseconds */

/* With forward secrecy and authenticated encryption; those of TLS 1.3 all are. */
#define CIPHERS_OF_1_2                                                                             \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256"

/* ---- tickets ---- */

static int tickets_index = -1; /* where a context keeps its struct net_tickets */
static uv_once_t index_once = UV_ONCE_INIT;

static void
free_tickets(
    void *context, void *tickets, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
    (void)context;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    net_tickets_unref(tickets);
}

static void
make_index(void)
{
    tickets_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_tickets);
}

static MUST_USE bool
use_ticket_key(const struct net_ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, bool making)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(
            OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, making) == 1
           && EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's answers: 0 = do without, 1 = good, 2 = good, and make a new one; below 0: give up. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int making)
{
    struct net_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index);
    struct net_ticket_key key;
    bool renew = false;
    bool good = true;
    if (making) {
        net_tickets_issue(tickets, clock_mono_ms(), &key);
        memcpy(name, key.name, sizeof(key.name));
        secret_random(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    } else {
        good = net_tickets_find(tickets, clock_mono_ms(), name, &key, &renew);
    }
    const bool set = good && use_ticket_key(&key, iv, cipher, mac, making != 0);
    secret_wipe(&key, sizeof(key));
    return !good ? 0 : !set ? -1 : renew ? 2 : 1;
}

/* ---- files ---- */

static enum status
refuse_file(struct net_error *error, const char *what, const char *file, const char *why)
{
    ERR_clear_error();
    (void)snprintf(error->text, sizeof(error->text), "%s %.300s: %.180s", what, file, why);
    return STATUS_INVALID;
}

static enum status
refuse_openssl(struct net_error *error, const char *what, const char *file, const char *prefix)
{
    char why[NET_TLS_WHY_BYTES];
    char text[NET_TLS_WHY_BYTES + 64];
    net_tls_why(why, sizeof(why));
    (void)snprintf(text, sizeof(text), "%s (%s)", prefix, why);
    return refuse_file(error, what, file, text);
}

/* What is no file, such as a pipe, may never end. NULL: it is one. */
static const char *
why_no_file(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0) {
        return strerror(errno);
    }
    return S_ISREG(found.st_mode) ? NULL : "it is no file";
}

/* Never asks at the terminal. */
static int
no_passphrase(char *out, /* NOLINT(readability-non-const-parameter): pem_password_cb has it so */
    int size, int writing, void *asked)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

/* The private key; NULL: error->text says why. */
static EVP_PKEY *
read_key(const char *file, struct net_error *error)
{
    struct stat found;
    bool asked = false;
    EVP_PKEY *key = NULL;
    const char *why = why_no_file(file);
    FILE *stream = why ? NULL : fopen(file, "rbe");
    if (!stream) {
        refuse_file(error, "private key", file, why ? why : strerror(errno));
        return NULL;
    }
    if (fstat(fileno(stream), &found) == 0 && (found.st_mode & (S_IROTH | S_IWOTH))) {
        refuse_file(error, "private key", file,
            "everybody on this machine may read or write it; take that away with chmod 600");
    } else {
        key = PEM_read_PrivateKey(stream, NULL, no_passphrase, &asked);
        if (!key && asked) {
            refuse_file(error, "private key", file,
                "it is locked with a passphrase; write it without one, for this user alone to read");
        } else if (!key) {
            refuse_openssl(error, "private key", file, "it holds no private key in PEM form");
        }
    }
    (void)fclose(stream); /* it was only read */
    return key;
}

static int64_t
expires_of(SSL_CTX *context)
{
    int days = 0;
    int seconds = 0;
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    const bool known =
        certificate && epoch
        && ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(certificate)) == 1;
    ASN1_TIME_free(epoch);
    return known ? days * DAY_MS + seconds * SECOND_MS : EXPIRES_MAX;
}

/* ---- contexts ---- */

/* The one protocol that is spoken; a client that names only others is told so. */
static int
on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_bytes,
    const unsigned char *offered, unsigned int offered_bytes, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *found = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&found, chosen_bytes, ours, sizeof(ours) - 1, offered, offered_bytes)
        != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static MUST_USE bool
set_rules(SSL_CTX *made)
{
    static const unsigned char id[] = "tidegate";
    (void)SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                     | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_options(made, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                                        | SSL_OP_CIPHER_SERVER_PREFERENCE
                                        | SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_timeout(made, (long)TICKET_LIFE_S);
    SSL_CTX_set_alpn_select_cb(made, on_alpn, NULL);
    return SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION) == 1
           && SSL_CTX_set_cipher_list(made, CIPHERS_OF_1_2) == 1
           && SSL_CTX_set1_groups_list(made, GROUPS) == 1
           && SSL_CTX_set_session_id_context(made, id, sizeof(id) - 1) == 1
           && SSL_CTX_set_num_tickets(made, 1) == 1
           && SSL_CTX_set_tlsext_ticket_key_evp_cb(made, on_ticket) == 1;
}

static MUST_USE bool
set_tickets(SSL_CTX *made, struct net_tickets *tickets)
{
    if (tickets && SSL_CTX_set_ex_data(made, tickets_index, tickets) == 1) {
        return true;
    }
    net_tickets_unref(tickets);
    return false;
}

/* The tickets of `before` where its key is the same, else new ones. */
static struct net_tickets *
choose_tickets(SSL_CTX *before, const EVP_PKEY *key)
{
    if (before && EVP_PKEY_eq(SSL_CTX_get0_privatekey(before), key) == 1) {
        return net_tickets_ref(SSL_CTX_get_ex_data(before, tickets_index));
    }
    return net_tickets_make();
}

/* `before`: the context that it may take the place of, or NULL. */
static MUST_USE enum status
make_context(const char *cert_file, const char *key_file, SSL_CTX *before, SSL_CTX **made_out,
    struct net_error *error)
{
    enum status status = STATUS_OK;
    uv_once(&index_once, make_index);
    ERR_clear_error();
    EVP_PKEY *key = read_key(key_file, error);
    SSL_CTX *made = key ? SSL_CTX_new(TLS_server_method()) : NULL;
    *made_out = NULL;
    if (!key) {
        return STATUS_INVALID;
    }
    if (!made || tickets_index < 0 || !set_rules(made)
        || !set_tickets(made, choose_tickets(before, key))) {
        status = refuse_openssl(error, "certificate", cert_file, "TLS cannot begin");
    } else if (why_no_file(cert_file)) {
        status = refuse_file(error, "certificate", cert_file, why_no_file(cert_file));
    } else if (SSL_CTX_use_certificate_chain_file(made, cert_file) != 1) {
        status = refuse_openssl(error, "certificate", cert_file,
            "it holds no certificate in PEM form that can be used");
    } else if (SSL_CTX_use_PrivateKey(made, key) != 1 || SSL_CTX_check_private_key(made) != 1) {
        ERR_clear_error();
        (void)snprintf(error->text, sizeof(error->text),
            "certificate %.200s: the private key in %.200s is not of this certificate", cert_file,
            key_file);
        status = STATUS_INVALID;
    }
    EVP_PKEY_free(key);
    if (status != STATUS_OK) {
        SSL_CTX_free(made);
        return status;
    }
    *made_out = made;
    return STATUS_OK;
}

enum status
net_certificate_check(
    const char *cert_file, const char *key_file, int64_t *expires_ms, struct net_error *error)
{
    SSL_CTX *made = NULL;
    *error = (struct net_error){ .listen_index = -1 };
    const enum status status = make_context(cert_file, key_file, NULL, &made, error);
    if (status == STATUS_OK) {
        *expires_ms = expires_of(made);
        SSL_CTX_free(made);
    }
    return status;
}

/* ---- those of a net ---- */

void
net_certificates_free(struct net_certificates *certificates)
{
    for (int i = 0; certificates && i < certificates->count; i++) {
        SSL_CTX_free(certificates->slots[i].context);
    }
    free(certificates);
}

/* The context that listener `index` has now, with a reference; NULL = none. */
static SSL_CTX *
context_now(struct net *net, int index)
{
    uv_mutex_lock(&net->tls_mutex);
    SSL_CTX *context = net->certificates ? net->certificates->slots[index].context : NULL;
    if (context) {
        (void)SSL_CTX_up_ref(context); /* fails on a counter that overflows */
    }
    uv_mutex_unlock(&net->tls_mutex);
    return context;
}

enum status
net_certificates_load(struct net *net, const struct net_listen *listens, int listen_count,
    struct net_certificates **loaded, struct net_error *error)
{
    check(listen_count == net->options.listen_count);
    struct net_certificates *made =
        calloc(1, sizeof(*made) + (size_t)listen_count * sizeof(made->slots[0]));
    enum status status = made ? STATUS_OK : STATUS_FULL;
    *loaded = NULL;
    *error = (struct net_error){ .text = "out of memory", .listen_index = -1 };
    for (int i = 0; i < listen_count && status == STATUS_OK; i++) {
        struct net_certificate_slot *slot = &made->slots[made->count++];
        SSL_CTX *before = context_now(net, i);
        if (listens[i].cert_file) {
            status = make_context(
                listens[i].cert_file, listens[i].key_file, before, &slot->context, error);
            SSL_CTX_free(before);
        } else {
            slot->context = before;
        }
        slot->expires_ms = slot->context ? expires_of(slot->context) : 0;
    }
    if (status != STATUS_OK) {
        net_certificates_free(made);
        return status;
    }
    *loaded = made;
    return STATUS_OK;
}

static int64_t
first_to_expire(const struct net_certificates *certificates)
{
    int64_t first_ms = 0;
    for (int i = 0; i < certificates->count; i++) {
        const struct net_certificate_slot *slot = &certificates->slots[i];
        if (slot->context && (first_ms == 0 || slot->expires_ms < first_ms)) {
            first_ms = slot->expires_ms;
        }
    }
    return first_ms;
}

void
net_certificates_use(struct net *net, struct net_certificates *loaded)
{
    uv_mutex_lock(&net->tls_mutex);
    struct net_certificates *before = net->certificates;
    net->certificates = loaded;
    uv_mutex_unlock(&net->tls_mutex);
    counter_set(COUNTER_CERTIFICATE_EXPIRES, max_i64(0, first_to_expire(loaded)) / SECOND_MS);
    net_certificates_free(before); /* connections keep what they were opened under */
}

int64_t
net_first_certificate_expires_ms(struct net *net)
{
    uv_mutex_lock(&net->tls_mutex);
    const int64_t first_ms = net->certificates ? first_to_expire(net->certificates) : 0;
    uv_mutex_unlock(&net->tls_mutex);
    return first_ms;
}

int64_t
net_certificate_expires_ms(struct net *net, int listen_index)
{
    check(listen_index >= 0 && listen_index < net->options.listen_count);
    uv_mutex_lock(&net->tls_mutex);
    const int64_t expires_ms =
        net->certificates ? net->certificates->slots[listen_index].expires_ms : 0;
    uv_mutex_unlock(&net->tls_mutex);
    return expires_ms;
}

struct net_tls *
net_tls_accept(struct net_sock *sock, int listen_index)
{
    SSL_CTX *context = context_now(sock->loop->net, listen_index);
    SSL *ssl = context ? SSL_new(context) : NULL;
    SSL_CTX_free(context);
    if (!ssl) {
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return net_tls_make(sock, ssl);
}
