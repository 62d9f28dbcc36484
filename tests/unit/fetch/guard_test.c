/* tests/unit/fetch/guard_test.c
 *
 * Goal: no spelling of a private address passes for a public one.
 * Method: the edges of each network, and what carries an IPv4 address within an IPv6 one. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "fetch/guard.h"

static bool
is_private(const char *digits)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (strchr(digits, ':')) {
        assert_int_equal(inet_pton(AF_INET6, digits, &v6.sin6_addr), 1);
        return address_is_private((const struct sockaddr *)&v6);
    }
    assert_int_equal(inet_pton(AF_INET, digits, &v4.sin_addr), 1);
    return address_is_private((const struct sockaddr *)&v4);
}

static void
private_addresses(void **state)
{
    static const char *const rows[] = { "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
        "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.0", "172.31.255.255",
        "192.0.0.1", "192.0.2.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::",
        "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1",
        "2001::1", "2001:db8::1", "fc00::", "fdff:ffff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1",
        "100::1", "3fff::1" };
    for (size_t i = 0; i < countof(rows); i++) {
        if (!is_private(rows[i])) {
            fail_msg("%s passes for a public address", rows[i]);
        }
    }
}

static void
public_addresses(void **state)
{
    static const char *const rows[] = { "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1",
        "2001:200::1", "fbff::1" };
    for (size_t i = 0; i < countof(rows); i++) {
        if (is_private(rows[i])) {
            fail_msg("%s passes for a private address", rows[i]);
        }
    }
}

static void
hosts(void **state)
{
    static const struct {
        const char *host;
        bool private;
    } rows[] = {
        { "localhost", true },
        { "LocalHost", true },
        { "ops.localhost", true },
        { "127.0.0.1", true },
        { "::1", true },
        { "10.0.0.1", true },
        { "1.1.1.1", false },
        { "2606:4700::1111", false },
        { "notlocalhost", false },
        { "ops.example.com", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(host_is_private(rows[i].host), rows[i].private);
    }
}

static void
other_families(void **state)
{
    const struct sockaddr unix_socket = { .sa_family = AF_UNIX };
    assert_true(address_is_private(&unix_socket));
}

static const struct CMUnitTest tests[] = {
    CASE("private addresses are known in every spelling", private_addresses),
    CASE("public addresses are not taken for private ones", public_addresses),
    CASE("a host may be private by itself", hosts),
    CASE("what is no internet address is private", other_families),
};
UNIT_MAIN(tests)
