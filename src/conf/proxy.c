/* conf/proxy.c: through which proxy a provider is reached: its own option, else the environment, as other
 * programs have it: HTTPS_PROXY (HTTP_PROXY for plain http), ALL_PROXY, and NO_PROXY for what goes straight;
 * in small letters they win. This machine is never reached through one unless the option says so. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/place.h"
#include "base/secret.h"
#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define USERINFO_BYTES_MAX 512
#define BASIC              "Basic "

/* ---- NO_PROXY ---- */

/* Whether the first `bits` of two addresses are the same. */
static bool
same_network(const unsigned char *a, const unsigned char *b, int64_t bits)
{
    const size_t whole = (size_t)bits / 8;
    const int rest = (int)(bits % 8);
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

/* "10.0.0.0/8", "fd00::/8", or an address alone. */
static bool
network_has(struct slice entry, const char *host)
{
    const ptrdiff_t slash = slice_find(entry, SLICE("/"));
    char network[INET6_ADDRSTRLEN];
    unsigned char a[16];
    unsigned char b[16];
    int64_t bits = -1;
    if (!slice_to_cstr(
            slash < 0 ? entry : slice_of(entry.ptr, (size_t)slash), network, sizeof(network))
        || (slash >= 0
            && !value_count(
                slice_of(entry.ptr + slash + 1, entry.len - (size_t)slash - 1), &bits))) {
        return false;
    }
    const int families[] = { AF_INET, AF_INET6 };
    for (size_t i = 0; i < countof(families); i++) {
        const int64_t all = families[i] == AF_INET ? 32 : 128;
        if (inet_pton(families[i], network, a) == 1 && inet_pton(families[i], host, b) == 1) {
            return bits <= all && same_network(a, b, bits < 0 ? all : bits);
        }
    }
    return false;
}

/* Takes ":443" off the end of a name, or off "[::1]"; an IPv6 address alone has none. */
static void
take_port(struct slice *entry, int64_t *port)
{
    const bool bracketed = entry->len > 0 && entry->ptr[0] == '[';
    const ptrdiff_t end =
        bracketed ? slice_find(*entry, SLICE("]")) : slice_find(*entry, SLICE(":"));
    if (end < 0) {
        return;
    }
    const struct slice rest = slice_of(entry->ptr + end + 1, entry->len - (size_t)end - 1);
    if (bracketed) {
        if (rest.len > 1 && !value_count(slice_of(rest.ptr + 1, rest.len - 1), port)) {
            *port = -1; /* of no host */
        }
        *entry = slice_of(entry->ptr + 1, (size_t)end - 1);
    } else if (slice_find(rest, SLICE(":")) < 0 && value_count(rest, port)) {
        entry->len = (size_t)end;
    }
}

static bool
entry_covers(struct slice entry, const char *host, uint16_t host_port)
{
    int64_t port = host_port;
    const struct slice name = slice_str(host);
    if (slice_eq(entry, SLICE("*"))) {
        return true;
    }
    take_port(&entry, &port);
    if (port != host_port) {
        return false;
    }
    if (network_has(entry, host)) {
        return true;
    }
    if (slice_starts(entry, SLICE("*."))) {
        entry = slice_of(entry.ptr + 1, entry.len - 1);
    }
    if (slice_starts(entry, SLICE("."))) {
        entry = slice_of(entry.ptr + 1, entry.len - 1);
    }
    if (entry.len == 0 || entry.len > name.len) {
        return false;
    }
    const size_t before = name.len - entry.len; /* of a host within the domain, up to its dot */
    return slice_eq_nocase(slice_of(name.ptr + before, entry.len), entry)
           && (before == 0 || name.ptr[before - 1] == '.');
}

bool
no_proxy_covers(struct slice list, const char *host, uint16_t port)
{
    struct slice entry;
    while (slice_split(&list, ',', &entry)) {
        entry = slice_trim(entry);
        struct slice word;
        while (slice_split(&entry, ' ', &word)) {
            if (word.len > 0 && entry_covers(word, host, port)) {
                return true;
            }
        }
    }
    return false;
}

/* ---- a proxy's URL ---- */

/* "user:p%40ss" as a header has it; NULL when it is no userinfo. */
static char *
basic_of(struct conf *conf, struct slice userinfo)
{
    char plain[USERINFO_BYTES_MAX];
    size_t len = 0;
    bool good = userinfo.len <= sizeof(plain);
    for (size_t i = 0; good && i < userinfo.len; i++) {
        char c = userinfo.ptr[i];
        if (c == '%') {
            const int high = i + 2 < userinfo.len ? hex_digit(userinfo.ptr[i + 1]) : -1;
            const int low = i + 2 < userinfo.len ? hex_digit(userinfo.ptr[i + 2]) : -1;
            good = high >= 0 && low >= 0;
            c = (char)(high * 16 + low);
            i += 2;
        }
        good = good && (unsigned char)c >= 0x20 && c != 0x7f;
        plain[len++] = c;
    }
    const size_t room = strlen(BASIC) + SECRET_BASE64_BYTES(len);
    char *out = good ? conf_alloc(conf, room, 1) : NULL;
    if (out) {
        memcpy(out, BASIC, strlen(BASIC));
        secret_base64(slice_of(plain, len), out + strlen(BASIC), room - strlen(BASIC));
    }
    secret_wipe(plain, sizeof(plain));
    return out;
}

/* False: *wrong says why, and repeats nothing of it. */
static MUST_USE bool
proxy_parse(struct conf *conf, struct slice text, struct proxy *proxy, const char **wrong)
{
    const struct slice http = SLICE("http://");
    const ptrdiff_t scheme = slice_find(text, SLICE("://"));
    struct buf plain = { 0 };
    struct url url;
    if (scheme >= 0 && !slice_starts(text, http)) {
        *wrong =
            "only proxies that begin with http:// are spoken to; what they tunnel is encrypted all the same";
        return false;
    }
    struct slice rest = scheme < 0 ? text : slice_of(text.ptr + http.len, text.len - http.len);
    ptrdiff_t at = -1;
    for (size_t i = 0; i < rest.len && rest.ptr[i] != '/'; i++) {
        at = rest.ptr[i] == '@' ? (ptrdiff_t)i : at;
    }
    if (at >= 0) {
        proxy->authorization = basic_of(conf, slice_of(rest.ptr, (size_t)at));
        rest = slice_of(rest.ptr + at + 1, rest.len - (size_t)at - 1);
        if (!proxy->authorization) {
            *wrong =
                "the user name and password of this URL are too long or not in percent-encoding";
            return false;
        }
    }
    buf_add_slice(&plain, http);
    buf_add_slice(&plain, rest);
    const bool good = !plain.failed && url_parse(conf->arena, buf_slice(&plain), &url, wrong);
    buf_free(&plain);
    if (good && url.path[0] != '\0') {
        *wrong = "the URL of a proxy has no path";
        return false;
    }
    if (good) {
        proxy->host = url.host;
        proxy->port = url.port;
        proxy->name = url.host_header;
    }
    return good;
}

static void
proxy_use(struct conf *conf, const struct node *node, const char *what, struct slice text,
    struct provider *provider)
{
    struct proxy *proxy = conf_alloc(conf, 1, sizeof(*proxy));
    const char *wrong = NULL;
    if (!proxy) {
        return;
    }
    *proxy = (struct proxy){ 0 };
    provider->proxy = proxy; /* also where it is wrong: what it has of a secret is wiped */
    if (!proxy_parse(conf, text, proxy, &wrong)) {
        report_add(&conf->report, node, "%s holds no proxy such as http://proxy.example:3128: %s",
            what, wrong);
    }
}

/* ---- where it is said ---- */

/* The first of these variables that says something; small letters first. */
static const char *
from_environment(const char *const names[], size_t count, const char **name)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0] != '\0') {
            *name = names[i];
            return value;
        }
    }
    return NULL;
}

static void
proxy_of_environment(struct conf *conf, const struct node *map, struct provider *provider)
{
    static const char *const https[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };
    static const char *const http[] = { "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY" };
    static const char *const no[] = { "no_proxy", "NO_PROXY" };
    const char *name = NULL;
    const char *no_name = NULL;
    char what[64];
    if (provider->host[0] == '\0' || host_is_loopback(provider->host)) {
        return;
    }
    const char *text = from_environment(provider->tls ? https : http, countof(https), &name);
    const char *straight = from_environment(no, countof(no), &no_name);
    if (!text
        || (straight && no_proxy_covers(slice_str(straight), provider->host, provider->port))) {
        return;
    }
    (void)snprintf(what, sizeof(what), "environment variable %s", name);
    proxy_use(conf, map->key ? map->key : map, what, slice_str(text), provider);
}

static void
proxy_of_variable(struct conf *conf, const struct node *map, struct provider *provider)
{
    char what[160];
    const char *name =
        conf_keys(conf, map, "providers.*.proxy") ? conf_text(conf, map, OPTION_PROXY_ENV) : NULL;
    if (!name || conf->without_secrets) {
        return;
    }
    if (!env_name_valid(name)) {
        report_add(&conf->report, doc_get(map, "env"),
            "'env' wants the name of an environment variable (capital letters, digits, '_')");
        return;
    }
    const char *value = getenv(name);
    if (!value) {
        report_add(&conf->report, doc_get(map, "env"), "environment variable %s is not set", name);
        return;
    }
    (void)snprintf(what, sizeof(what), "environment variable %s", name);
    proxy_use(conf, doc_get(map, "env"), what, slice_str(value), provider);
}

void
conf_proxy(struct conf *conf, const struct node *map, struct provider *provider)
{
    const struct node *node = conf_find(conf, map, OPTION_PROVIDER_PROXY);
    if (!node) {
        if (!conf->without_secrets) {
            proxy_of_environment(conf, map, provider);
        }
    } else if (node->kind == NODE_MAP) {
        proxy_of_variable(conf, node, provider);
    } else if (node->kind != NODE_SCALAR) {
        report_add(
            &conf->report, node, "'proxy' wants %s", option_row(OPTION_PROVIDER_PROXY)->form);
    } else if (slice_find(node->text, SLICE("@")) >= 0) {
        report_add(&conf->report, node,
            "secrets do not stand here: name the environment variable that holds this URL, as proxy: {env: NAME}");
    } else if (!slice_eq(node->text, SLICE("none"))) {
        proxy_use(conf, node, "this", node->text, provider);
    }
}
