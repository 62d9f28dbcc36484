/* cli/paths.c: listen addresses, read and told. */
#include "cli/cli_priv.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool
is_numeric_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

bool
listen_parse(struct slice text, char *copy, size_t copy_size, struct listen *listen)
{
    *listen = (struct listen){ 0 };
    if (!slice_to_cstr(text, copy, copy_size)) {
        return false;
    }
    if (slice_starts(text, SLICE("unix:"))) {
        listen->unix_path = copy + strlen("unix:");
        return listen->unix_path[0] != '\0';
    }
    char *colon = strrchr(copy, ':');
    int64_t port = 0;
    if (!colon || !slice_to_i64(slice_str(colon + 1), &port) || port < 0 || port > UINT16_MAX) {
        return false;
    }
    *colon = '\0';
    char *host = copy;
    const size_t host_len = strlen(host);
    const bool bracketed = host_len > 2 && host[0] == '[' && host[host_len - 1] == ']';
    if (bracketed) {
        host[host_len - 1] = '\0';
        host++;
    } else if (strchr(host, ':')) {
        return false; /* an IPv6 address stands in brackets */
    }
    listen->host = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    listen->port = (uint16_t)port;
    return is_numeric_address(listen->host);
}

void
listen_text(const struct listen *listen, uint16_t port, struct buf *out)
{
    if (listen->unix_path) {
        buf_addf(out, "unix:%s", listen->unix_path);
    } else {
        buf_addf(
            out, strchr(listen->host, ':') ? "[%s]:%u" : "%s:%u", listen->host, (unsigned)port);
        buf_add_str(out, listen->cert_file ? " (TLS)" : "");
    }
}
