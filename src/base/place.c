/* base/place.c: texts that name a place. */
#include "base/place.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define FIRST_BYTE_OF_LOOPBACK 127

bool
host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == FIRST_BYTE_OF_LOOPBACK;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6)
               || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == FIRST_BYTE_OF_LOOPBACK);
    }
    return strcmp(host, "localhost") == 0;
}

const char *
store_url_path(const char *url)
{
    const size_t scheme_bytes = strlen(STORE_SCHEME);
    const bool has_path =
        strncmp(url, STORE_SCHEME, scheme_bytes) == 0 && url[scheme_bytes] != '\0';
    return has_path ? url + scheme_bytes : NULL;
}

bool
store_url_is_postgres(const char *url)
{
    return strncmp(url, "postgresql://", strlen("postgresql://")) == 0
           || strncmp(url, "postgres://", strlen("postgres://")) == 0;
}

/* Copies what fits, and goes on behind it. */
static char *
add(char *at, const char *end, const char *text, size_t len)
{
    const size_t room = (size_t)(end - at);
    const size_t taken = len < room ? len : room;
    memcpy(at, text, taken);
    return at + taken;
}

/* The parameters behind '?', without those whose name ends in "password". */
static char *
add_parameters(char *at, const char *end, const char *query)
{
    const char *separator = "?";
    while (*query) {
        const size_t len = strcspn(query, "&");
        const size_t name_len = strcspn(query, "=&");
        static const char secret[] = "password";
        const size_t secret_len = sizeof(secret) - 1;
        const bool is_secret = name_len >= secret_len
                               && memcmp(query + name_len - secret_len, secret, secret_len) == 0;
        if (!is_secret) {
            at = add(at, end, separator, 1);
            at = add(at, end, query, len);
            separator = "&";
        }
        query += len + (query[len] == '&');
    }
    return at;
}

/* A password may hold what should have been escaped: it ends at the last '@'. */
void
store_url_shown(const char *url, char *out, size_t out_size)
{
    check(out_size > 0);
    const char *end = out + out_size - 1;
    const char *rest = url;
    char *at = out;
    if (store_url_is_postgres(url)) {
        const char *user = strstr(url, "://") + strlen("://");
        const char *host = strrchr(user, '@');
        at = add(at, end, url, (size_t)(user - url));
        if (host) {
            at = add(at, end, user, strcspn(user, ":@"));
        }
        rest = host ? host : user;
        const size_t place_len = strcspn(rest, "?");
        at = add(at, end, rest, place_len);
        at = rest[place_len] ? add_parameters(at, end, rest + place_len + 1) : at;
    } else {
        at = add(at, end, url, strlen(url));
    }
    *at = '\0';
}
