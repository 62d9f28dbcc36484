/* tests/unit/net/tls_test.c
 *
 * Goal: TLS to a provider carries what plain connections carry, and only to whom the certificate names.
 * Method: an authority and leaves made at start; a provider that speaks TLS with one of them. */
#include "unit.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "caller.h"
#include "peer.h"

/* ---- certificates ---- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    check(extension != NULL);
    check(X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

/* `issuer` NULL: signs itself. `names` NULL: an authority. */
static struct identity
make_identity(const struct identity *issuer, const char *common_name, const char *names, long from_s,
    long until_s)
{
    static long serial = 1;
    struct identity made = { EVP_EC_gen("P-256"), X509_new() };
    check(made.key && made.certificate);
    X509 *certificate = made.certificate;
    X509_NAME *name = X509_get_subject_name(certificate);
    check(X509_set_version(certificate, 2) == 1);
    check(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++) == 1);
    check(X509_gmtime_adj(X509_getm_notBefore(certificate), from_s) != NULL);
    check(X509_gmtime_adj(X509_getm_notAfter(certificate), until_s) != NULL);
    check(X509_set_pubkey(certificate, made.key) == 1);
    check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
              (const unsigned char *)common_name, -1, -1, 0) == 1);
    X509 *by = issuer ? issuer->certificate : certificate;
    check(X509_set_issuer_name(certificate, X509_get_subject_name(by)) == 1);
    if (names) {
        add_extension(certificate, by, NID_subject_alt_name, names);
    } else {
        add_extension(certificate, by, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(certificate, by, NID_key_usage, "critical,keyCertSign");
    }
    check(X509_sign(certificate, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
    return made;
}

static void
free_identity(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

static char ca_path[64];
#define OUR_CA "ours" /* in tables, for ca_path */

enum leaf { LEAF_GOOD, LEAF_OTHER_HOST, LEAF_EXPIRED, LEAF_NOT_YET, LEAF_STRANGER, LEAF_COUNT };

static struct identity leaves[LEAF_COUNT];
static struct caller caller;

static int
start(void **state)
{
    const long day = 86400;
    struct identity authority = make_identity(NULL, "Test Authority", NULL, -day, day);
    struct identity stranger = make_identity(NULL, "Nobody's Authority", NULL, -day, day);
    const char *names = "DNS:localhost,IP:127.0.0.1";
    leaves[LEAF_GOOD] = make_identity(&authority, "provider", names, -day, day);
    leaves[LEAF_OTHER_HOST] =
        make_identity(&authority, "localhost", "DNS:api.example.com,DNS:*.localhost", -day, day);
    leaves[LEAF_EXPIRED] = make_identity(&authority, "provider", names, -2 * day, -day);
    leaves[LEAF_NOT_YET] = make_identity(&authority, "provider", names, day, 2 * day);
    leaves[LEAF_STRANGER] = make_identity(&stranger, "provider", names, -day, day);
    (void)snprintf(ca_path, sizeof(ca_path), "/tmp/tidegate-net-ca-%d.pem", (int)getpid());
    FILE *file = fopen(ca_path, "w");
    check(file && PEM_write_X509(file, authority.certificate) == 1 && fclose(file) == 0);
    free_identity(&authority);
    free_identity(&stranger);
    (void)signal(SIGPIPE, SIG_IGN); /* of the provider, whose OpenSSL writes as it likes */
    caller_start(&caller);
    return 0;
}

static int
stop(void **state)
{
    caller_stop(&caller);
    for (size_t i = 0; i < LEAF_COUNT; i++) {
        free_identity(&leaves[i]);
    }
    (void)unlink(ca_path);
    return 0;
}

/* ---- a provider that speaks TLS ---- */

struct tls_provider {
    struct provider provider;
    SSL_CTX *context;
    const char *answer;
    size_t flood_bytes; /* of the body, after the answer */
    bool ends_without_word;
    atomic_int resumed, requests;
    char server_name[64];
    char protocol[16];
};

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
    unsigned int in_len, void *user)
{
    struct tls_provider *tls = user;
    check(in_len >= 1 && in[0] < in_len && in[0] < sizeof(tls->protocol));
    (void)snprintf(tls->protocol, sizeof(tls->protocol), "%.*s", in[0], in + 1);
    *out = in + 1;
    *out_len = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static bool
read_request(SSL *ssl)
{
    char bytes[16384];
    size_t used = 0;
    long left = -1;
    while (left != 0) {
        const int got = SSL_read(ssl, bytes + (left < 0 ? used : 0),
            left < 0 ? 1 : (int)(left < 16384 ? left : 16384));
        if (got <= 0) {
            return false;
        }
        if (left > 0) {
            left -= got;
        } else if (++used >= 4 && memcmp(bytes + used - 4, "\r\n\r\n", 4) == 0) {
            bytes[used] = '\0';
            const char *length = strstr(bytes, "Content-Length: ");
            left = length ? strtol(length + 16, NULL, 10) : 0;
        }
        check(used < sizeof(bytes) - 1);
    }
    return true;
}

static void
serve(struct provider *provider, int fd, int index)
{
    static char flood[65536];
    struct tls_provider *tls = provider->user;
    SSL *ssl = SSL_new(tls->context);
    check(ssl && SSL_set_fd(ssl, fd) == 1);
    if (SSL_accept(ssl) == 1) {
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        (void)snprintf(tls->server_name, sizeof(tls->server_name), "%s", name ? name : "");
        atomic_fetch_add(&tls->resumed, SSL_session_reused(ssl));
        while (read_request(ssl)) {
            atomic_fetch_add(&tls->requests, 1);
            (void)SSL_write(ssl, tls->answer, (int)strlen(tls->answer));
            for (size_t sent = 0; sent < tls->flood_bytes; sent += sizeof(flood)) {
                (void)SSL_write(ssl, flood, sizeof(flood));
            }
            if (strstr(tls->answer, "Content-Length: ") == NULL) {
                break;
            }
        }
        if (!tls->ends_without_word) {
            (void)SSL_shutdown(ssl);
        }
    }
    SSL_free(ssl);
    ERR_clear_error();
    (void)close(fd);
}

static void
tls_provider_start(struct tls_provider *tls, enum leaf leaf)
{
    tls->context = SSL_CTX_new(TLS_server_method());
    check(tls->context != NULL);
    check(SSL_CTX_use_certificate(tls->context, leaves[leaf].certificate) == 1);
    check(SSL_CTX_use_PrivateKey(tls->context, leaves[leaf].key) == 1);
    SSL_CTX_set_alpn_select_cb(tls->context, choose_protocol, tls);
    tls->provider.user = tls;
    provider_start(&tls->provider, serve);
}

static void
tls_provider_stop(struct tls_provider *tls)
{
    provider_stop(&tls->provider);
    SSL_CTX_free(tls->context);
}

static struct caller_ask
ask_for(const struct tls_provider *tls, const char *host, const char *ca_file)
{
    struct caller_ask ask = { .target = provider_target(&tls->provider) };
    ask.target.host = host;
    ask.target.tls = true;
    ask.target.ca_file = ca_file && strcmp(ca_file, OUR_CA) == 0 ? ca_path : ca_file;
    return ask;
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- the cases ---- */

static void
certificate_decides(void **state)
{
    static const struct {
        enum leaf leaf;
        const char *host, *ca_file, *events, *detail;
    } rows[] = {
        { LEAF_GOOD, "localhost", OUR_CA, "shbe", "" },
        { LEAF_GOOD, "127.0.0.1", OUR_CA, "shbe", "" },
        { LEAF_OTHER_HOST, "localhost", OUR_CA, "f", "certificate of localhost is not valid: hostname mismatch" },
        { LEAF_OTHER_HOST, "127.0.0.1", OUR_CA, "f", "certificate of 127.0.0.1 is not valid: IP address mismatch" },
        { LEAF_EXPIRED, "localhost", OUR_CA, "f", "certificate of localhost is not valid: certificate has expired" },
        { LEAF_NOT_YET, "localhost", OUR_CA, "f",
            "certificate of localhost is not valid: certificate is not yet valid" },
        { LEAF_STRANGER, "localhost", OUR_CA, "f",
            "certificate of localhost is not valid: unable to get local issuer certificate" },
        { LEAF_GOOD, "localhost", NULL, "f", "certificate of localhost is not valid: " }, /* the system's */
        { LEAF_GOOD, "localhost", "/nowhere.pem", "f", "cannot read trusted certificates from /nowhere.pem" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tls_provider tls = { .answer = OK_ANSWER };
        struct caller_result result;
        tls_provider_start(&tls, rows[i].leaf);
        const struct caller_ask ask = ask_for(&tls, rows[i].host, rows[i].ca_file);
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, rows[i].events);
        if (result.detail[0]) {
            assert_int_equal(result.why, NET_FAIL_TLS);
            assert_false(result.all_sent);
            assert_memory_equal(result.detail, rows[i].detail, strlen(rows[i].detail));
        }
        caller_free(&result);
        tls_provider_stop(&tls);
        assert_int_equal(atomic_load(&tls.requests), rows[i].detail[0] ? 0 : 1);
    }
}

static void
server_name_and_protocol_are_offered(void **state)
{
    struct tls_provider tls = { .answer = OK_ANSWER };
    struct caller_result result;
    tls_provider_start(&tls, LEAF_GOOD);
    const struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
    caller_call(&caller, &ask, &result);
    caller_free(&result);
    tls_provider_stop(&tls);
    assert_string_equal(tls.server_name, "localhost");
    assert_string_equal(tls.protocol, "http/1.1");
}

static void
connection_is_reused_and_its_session_resumed(void **state)
{
    static const struct {
        int version;
        const char *answer;
        int accepted, resumed; /* of three calls */
    } rows[] = {
        { TLS1_3_VERSION, OK_ANSWER, 1, 0 },
        { TLS1_2_VERSION, OK_ANSWER, 1, 0 },
        { TLS1_3_VERSION, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 3, 2 },
        { TLS1_2_VERSION, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 3, 2 },
        { TLS1_3_VERSION, OK_ANSWER "surplus", 3, 2 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tls_provider tls = { .answer = rows[i].answer };
        tls_provider_start(&tls, LEAF_GOOD);
        check(SSL_CTX_set_max_proto_version(tls.context, rows[i].version) == 1);
        const struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
        for (int call = 0; call < 3; call++) {
            struct caller_result result;
            caller_call(&caller, &ask, &result);
            assert_string_equal(result.events, "shbe");
            caller_free(&result);
        }
        assert_int_equal(atomic_load(&tls.provider.accepted), rows[i].accepted);
        assert_int_equal(atomic_load(&tls.resumed), rows[i].resumed);
        tls_provider_stop(&tls);
    }
}

static void
cancel_keeps_the_session(void **state)
{
    struct tls_provider tls = { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok" };
    struct caller_result result;
    tls_provider_start(&tls, LEAF_GOOD);
    struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
    ask.way = CALLER_CANCEL_ON_BODY;
    for (int call = 0; call < 3; call++) {
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, "shbc");
        caller_free(&result);
    }
    assert_int_equal(atomic_load(&tls.resumed), 2);
    tls_provider_stop(&tls);
}

static void
old_version_is_refused(void **state)
{
    struct tls_provider tls = { .answer = OK_ANSWER };
    struct caller_result result;
    tls_provider_start(&tls, LEAF_GOOD);
    SSL_CTX_set_security_level(tls.context, 0);
    check(SSL_CTX_set_min_proto_version(tls.context, TLS1_VERSION) == 1);
    check(SSL_CTX_set_max_proto_version(tls.context, TLS1_1_VERSION) == 1);
    const struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
    caller_call(&caller, &ask, &result);
    assert_string_equal(result.events, "f");
    assert_int_equal(result.why, NET_FAIL_TLS);
    assert_memory_equal(result.detail, "TLS handshake with localhost failed: ", 37);
    caller_free(&result);
    tls_provider_stop(&tls);
}

static void
large_bodies_pass_both_ways(void **state)
{
    const size_t size = 8 * 1024 * 1024;
    char *body = malloc(size);
    assert_non_null(body);
    memset(body, 'b', size);
    static const enum caller_way ways[] = { CALLER_PLAIN, CALLER_PAUSE_ON_HEAD, CALLER_PAUSE_ON_BODY };
    for (size_t i = 0; i < countof(ways); i++) {
        struct tls_provider tls = {
            .answer = "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n", .flood_bytes = 16777216 };
        struct caller_result result;
        tls_provider_start(&tls, LEAF_GOOD);
        struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
        ask.head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n";
        ask.body = slice_of(body, size);
        ask.way = ways[i];
        for (int call = 0; call < 2; call++) {
            caller_call(&caller, &ask, &result);
            assert_string_equal(result.events, "shbe");
            assert_int_equal(result.body.len, 16777216);
            assert_true(result.paused_bytes <= 65536);
            caller_free(&result);
        }
        assert_int_equal(atomic_load(&tls.provider.accepted), 1);
        tls_provider_stop(&tls);
    }
    free(body);
}

static void
paused_call_leaves_the_loop_s_buffer_to_others(void **state)
{
    static const enum caller_way ways[] = { CALLER_PAUSE_ON_HEAD, CALLER_PAUSE_ON_BODY };
    for (size_t i = 0; i < countof(ways); i++) {
        struct tls_provider tls[2];
        struct caller_ask asks[2];
        struct caller_result results[2];
        for (int k = 0; k < 2; k++) {
            tls[k] = (struct tls_provider){
                .answer = "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n", .flood_bytes = 4194304 };
            tls_provider_start(&tls[k], LEAF_GOOD);
            asks[k] = ask_for(&tls[k], "localhost", OUR_CA);
        }
        asks[0].way = ways[i];
        caller_call_both(&caller, asks, results);
        for (int k = 0; k < 2; k++) {
            assert_string_equal(results[k].events, "shbe");
            assert_int_equal(results[k].body.len, 4194304);
            caller_free(&results[k]);
            tls_provider_stop(&tls[k]);
        }
    }
}

static void
answer_until_close_needs_the_last_word(void **state)
{
    static const bool without_word[] = { false, true };
    for (size_t i = 0; i < countof(without_word); i++) {
        struct tls_provider tls = {
            .answer = "HTTP/1.1 200 OK\r\n\r\nuntil the end", .ends_without_word = without_word[i] };
        struct caller_result result;
        tls_provider_start(&tls, LEAF_GOOD);
        const struct caller_ask ask = ask_for(&tls, "localhost", OUR_CA);
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, without_word[i] ? "shbf" : "shbe");
        caller_free(&result);
        tls_provider_stop(&tls);
    }
}

static void
serve_plain_words(struct provider *provider, int fd, int index)
{
    char bytes[512];
    (void)recv(fd, bytes, sizeof(bytes), 0);
    if (provider->user) {
        peer_send(fd, provider->user);
    } else {
        (void)recv(fd, bytes, sizeof(bytes), 0); /* says nothing */
    }
    (void)close(fd);
}

static void
peer_without_tls_fails(void **state)
{
    static const struct {
        const char *words;
        enum net_fail why;
    } rows[] = {
        { "HTTP/1.1 400 Bad Request\r\n\r\n", NET_FAIL_TLS },
        { "", NET_FAIL_TLS },
        { NULL, NET_FAIL_TIMEOUT },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct provider provider = { .user = (void *)(uintptr_t)rows[i].words };
        struct caller_result result;
        provider_start(&provider, serve_plain_words);
        struct caller_ask ask = { .target = provider_target(&provider), .deadlines = { 200, 500, 500 } };
        ask.target.tls = true;
        ask.target.ca_file = ca_path;
        caller_call(&caller, &ask, &result);
        assert_string_equal(result.events, "f");
        assert_int_equal(result.why, rows[i].why);
        assert_false(result.all_sent);
        caller_free(&result);
        provider_stop(&provider);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("the certificate decides", certificate_decides),
        CASE("the server's name and the protocol are offered",
            server_name_and_protocol_are_offered),
        CASE("a connection is reused and its session resumed",
            connection_is_reused_and_its_session_resumed),
        CASE("cancel keeps the session", cancel_keeps_the_session),
        CASE("an old version is refused", old_version_is_refused),
        CASE("large bodies pass both ways", large_bodies_pass_both_ways),
        CASE("a paused call leaves the loop's buffer to others",
            paused_call_leaves_the_loop_s_buffer_to_others),
        CASE("an answer until close needs the last word", answer_until_close_needs_the_last_word),
        CASE("a peer without TLS fails", peer_without_tls_fails),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
