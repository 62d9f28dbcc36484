/* conf/url.c: where a provider is, and where we listen; strictly. */
#include <arpa/inet.h>
#include <stdio.h>

#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define HOST_BYTES_MAX  253
#define LABEL_BYTES_MAX 63

/* "8080"; 0 only where `zero` allows it. */
static bool
port_parse(struct slice text, bool zero, uint16_t *port)
{
    int64_t value = 0;
    if (text.len > 5 || !value_count(text, &value) || value > UINT16_MAX || (value == 0 && !zero)) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

/* A DNS name or a dotted IPv4 address, lower-cased into `out`. */
static bool
host_name_copy(struct slice text, char out[HOST_BYTES_MAX + 1])
{
    size_t label_len = 0;
    if (text.len == 0 || text.len > HOST_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        const bool last_of_label = i + 1 == text.len || text.ptr[i + 1] == '.';
        if (c == '.') {
            if (label_len == 0) {
                return false;
            }
            label_len = 0;
        } else {
            const bool hyphen = (c == '-' || c == '_') && label_len > 0 && !last_of_label;
            if ((!value_name(slice_of(&c, 1), "", 1) && !hyphen) || ++label_len > LABEL_BYTES_MAX) {
                return false;
            }
        }
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    out[text.len] = '\0';
    /* All digits and dots, but no address: 127.1 means different hosts to different programs. */
    struct in_addr address;
    const bool numeric = strspn(out, "0123456789.") == text.len;
    return label_len > 0 && (!numeric || inet_pton(AF_INET, out, &address) == 1);
}

/* Takes the host off the front of "host:port" or "[v6]:port"; what is left is "" or ":port". */
static bool
take_host(struct slice *text, char out[HOST_BYTES_MAX + 1], bool *v6)
{
    *v6 = text->len > 0 && text->ptr[0] == '[';
    if (!*v6) {
        const ptrdiff_t colon = slice_find(*text, SLICE(":"));
        const size_t len = colon < 0 ? text->len : (size_t)colon;
        const bool ok = host_name_copy(slice_of(text->ptr, len), out);
        *text = slice_of(text->ptr + len, text->len - len);
        return ok;
    }
    const ptrdiff_t end = slice_find(*text, SLICE("]"));
    struct in6_addr address;
    if (end < 0 || !slice_to_cstr(slice_of(text->ptr + 1, (size_t)end - 1), out, HOST_BYTES_MAX + 1)
        || inet_pton(AF_INET6, out, &address) != 1) {
        return false;
    }
    *text = slice_of(text->ptr + end + 1, text->len - (size_t)end - 1);
    return true;
}

/* Segments of RFC 3986's pchar without percent-encoding; no empty, "." or ".." segment, no query. A final '/' is dropped. */
static bool
path_valid(struct slice *path)
{
    if (path->len > 0 && path->ptr[path->len - 1] == '/') {
        path->len--;
    }
    struct slice rest = *path;
    struct slice segment;
    (void)slice_take_char(&rest, '/');
    while (slice_split(&rest, '/', &segment)) {
        if (segment.len == 0 || slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE(".."))) {
            return false;
        }
        for (size_t i = 0; i < segment.len; i++) {
            if (!value_name(slice_of(segment.ptr + i, 1), "", 1)
                && !strchr("-._~:@!$&'()*+,;=", segment.ptr[i])) {
                return false;
            }
        }
    }
    return true;
}

static const char *
copy_or_null(struct arena *arena, const char *text)
{
    return arena_strdup(arena, slice_str(text));
}

bool
url_parse(struct arena *arena, struct slice text, struct url *url, const char **wrong)
{
    const struct slice https = SLICE("https://");
    const struct slice http = SLICE("http://");
    *url = (struct url){ .tls = slice_starts(text, https) };
    if (!url->tls && !slice_starts(text, http)) {
        *wrong = "a URL begins with https:// or http://";
        return false;
    }
    const size_t scheme_len = url->tls ? https.len : http.len;
    struct slice rest = slice_of(text.ptr + scheme_len, text.len - scheme_len);
    const ptrdiff_t slash = slice_find(rest, SLICE("/"));
    const size_t authority_len = slash < 0 ? rest.len : (size_t)slash;
    struct slice authority = slice_of(rest.ptr, authority_len);
    struct slice path = slice_of(rest.ptr + authority_len, rest.len - authority_len);
    if (slice_find(authority, SLICE("@")) >= 0) {
        *wrong = "a URL here carries no user name or password; secrets belong under credentials";
        return false;
    }
    if (slice_find(rest, SLICE("?")) >= 0 || slice_find(rest, SLICE("#")) >= 0) {
        *wrong = "a base URL has no '?' and no '#'";
        return false;
    }
    char host[HOST_BYTES_MAX + 1];
    bool v6 = false;
    if (!take_host(&authority, host, &v6)) {
        *wrong = "the host of this URL is neither a name nor an address";
        return false;
    }
    const uint16_t own_port = url->tls ? 443 : 80;
    url->port = own_port;
    if (authority.len > 0
        && (!slice_take_char(&authority, ':') || !port_parse(authority, false, &url->port))) {
        *wrong = "the port of this URL is no number from 1 to 65535";
        return false;
    }
    if (!path_valid(&path)) {
        *wrong =
            "the path of this URL has an empty segment, '.', '..' or a character that does not belong there";
        return false;
    }
    char header[HOST_BYTES_MAX + 16];
    (void)snprintf(header, sizeof header, url->port == own_port ? "%s%s%s" : "%s%s%s:%u",
        v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)url->port);
    url->host = copy_or_null(arena, host);
    url->host_header = copy_or_null(arena, header);
    url->path = arena_strdup(arena, path);
    *wrong = "out of memory";
    return url->host && url->host_header && url->path;
}

bool
address_parse(struct arena *arena, struct slice text, const char **host, uint16_t *port)
{
    char name[HOST_BYTES_MAX + 1];
    bool v6 = false;
    if (!take_host(&text, name, &v6) || !slice_take_char(&text, ':')
        || !port_parse(text, true, port)) {
        return false;
    }
    struct in_addr address;
    const bool localhost = strcmp(name, "localhost") == 0;
    if (!v6 && !localhost && inet_pton(AF_INET, name, &address) != 1) {
        return false; /* a name may be several addresses, or none tomorrow */
    }
    *host = copy_or_null(arena, localhost ? "127.0.0.1" : name);
    return *host != NULL;
}
