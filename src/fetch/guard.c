/* fetch/guard.c: private networks, as IANA's registries of special-purpose addresses list them. */
#include "fetch/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct network_v4 {
    uint32_t address;
    int bits;
};
static const struct network_v4 private_v4[] = {
    { 0x00000000, 8 },  /* this network */
    { 0x0a000000, 8 },  /* private */
    { 0x64400000, 10 }, /* shared by carriers */
    { 0x7f000000, 8 },  /* loopback */
    { 0xa9fe0000, 16 }, /* link-local, the clouds' metadata among them */
    { 0xac100000, 12 }, /* private */
    { 0xc0000000, 24 }, /* protocol assignments */
    { 0xc0000200, 24 }, /* documentation */
    { 0xc0586300, 24 }, /* 6to4 relays */
    { 0xc0a80000, 16 }, /* private */
    { 0xc6120000, 15 }, /* benchmarks */
    { 0xc6336400, 24 }, /* documentation */
    { 0xcb007100, 24 }, /* documentation */
    { 0xe0000000, 4 },  /* multicast */
    { 0xf0000000, 4 },  /* reserved, and broadcast */
};

static bool
v4_is_private(uint32_t address)
{
    for (size_t i = 0; i < countof(private_v4); i++) {
        const uint32_t mask = ~UINT32_C(0) << (32 - private_v4[i].bits);
        if ((address & mask) == private_v4[i].address) {
            return true;
        }
    }
    return false;
}

static uint32_t
v4_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

struct network_v6 {
    unsigned char bytes[16];
    int bits;
    int v4_at; /* where it carries an IPv4 address, which is what counts; -1: it is private itself */
};
static const struct network_v6 special_v6[] = {
    { { [10] = 0xff, 0xff }, 96, 12 },            /* ::ffff:0:0, mapped */
    { { 0x00, 0x64, 0xff, 0x9b }, 96, 12 },       /* translated (NAT64) */
    { { 0x00, 0x64, 0xff, 0x9b, 0, 1 }, 48, -1 }, /* translated, locally */
    { { 0x20, 0x02 }, 16, 2 },                    /* 6to4 */
    { { 0 }, 96, -1 },          /* unspecified, loopback, and what was once compatible */
    { { 0x01, 0x00 }, 64, -1 }, /* discarded */
    { { 0x20, 0x01, 0x00, 0x00 }, 23, -1 }, /* protocol assignments, Teredo among them */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32, -1 }, /* documentation */
    { { 0x3f, 0xff }, 20, -1 },             /* documentation */
    { { 0x5f, 0x00 }, 16, -1 },             /* segment routing */
    { { 0xfc }, 7, -1 },                    /* unique local */
    { { 0xfe, 0x80 }, 10, -1 },             /* link-local */
    { { 0xfe, 0xc0 }, 10, -1 },             /* site-local, once */
    { { 0xff }, 8, -1 },                    /* multicast */
};

static bool
v6_within(const unsigned char *address, const struct network_v6 *network)
{
    const size_t whole = (size_t)network->bits / 8;
    const int rest = network->bits % 8;
    return memcmp(address, network->bytes, whole) == 0
           && (rest == 0 || ((address[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0);
}

static bool
v6_is_private(const unsigned char address[16])
{
    for (size_t i = 0; i < countof(special_v6); i++) {
        if (v6_within(address, &special_v6[i])) {
            return special_v6[i].v4_at < 0 || v4_is_private(v4_at(address + special_v6[i].v4_at));
        }
    }
    return false;
}

bool
address_is_private(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    switch (address->sa_family) {
    case AF_INET: memcpy(&v4, address, sizeof v4); return v4_is_private(ntohl(v4.sin_addr.s_addr));
    case AF_INET6: memcpy(&v6, address, sizeof v6); return v6_is_private(v6.sin6_addr.s6_addr);
    default: return true;
    }
}

void
address_text(const struct sockaddr *address, char out[ADDRESS_TEXT_BYTES])
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    out[0] = '\0';
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, out, ADDRESS_TEXT_BYTES);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, out, ADDRESS_TEXT_BYTES);
    }
}

bool
host_is_private(const char *host)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    const struct slice name = slice_str(host);
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        return v4_is_private(ntohl(v4.sin_addr.s_addr));
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        return v6_is_private(v6.sin6_addr.s6_addr);
    }
    return slice_eq_nocase(name, SLICE("localhost")) || slice_ends(name, SLICE(".localhost"));
}
