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
