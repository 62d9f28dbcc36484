/* tests/unit/conf/proxy_test.c
 *
 * Goal: NO_PROXY means what it means elsewhere.
 * Method: each row is a list, a host and its port, and whether the host is reached straight. */
#include "conf/conf_priv.h"
#include "unit.h"

static void
no_proxy_lists_cover_what_they_name(void **state)
{
    static const struct {
        const char *list, *host;
        uint16_t port;
        bool covered;
    } rows[] = {
        { "", "api.example.com", 443, false },
        { "*", "api.example.com", 443, true },
        { "other,*", "::1", 443, true },
        { "api.example.com", "api.example.com", 443, true },
        { "API.Example.COM", "api.example.com", 443, true },
        { "example.com", "api.example.com", 443, true },
        { ".example.com", "api.example.com", 443, true },
        { ".example.com", "example.com", 443, true },
        { "*.example.com", "api.example.com", 443, true },
        { "example.com", "badexample.com", 443, false }, /* a name ends at a dot */
        { "api.example.com", "example.com", 443, false },
        { " a , example.com ,b", "example.com", 443, true },
        { "a example.com b", "example.com", 443, true },
        { "example.com:8443", "example.com", 443, false },
        { "example.com:443", "example.com", 443, true },
        { "10.1.2.3", "10.1.2.3", 443, true },
        { "10.1.2.3", "10.1.2.30", 443, false },
        { "10.1.2.3:80", "10.1.2.3", 443, false },
        { "10.0.0.0/8", "10.200.2.3", 443, true },
        { "10.0.0.0/9", "10.200.2.3", 443, false },
        { "10.0.0.0/33", "10.0.0.1", 443, false },
        { "0.0.0.0/0", "10.0.0.1", 443, true },
        { "0.0.0.0/0", "example.com", 443, false }, /* names are not looked up for it */
        { "fd00::/8", "fd12::1", 443, true },
        { "fd00::/8", "fe80::1", 443, false },
        { "[fd12::1]:443", "fd12::1", 443, true },
        { "[fd12::1]:80", "fd12::1", 443, false },
        { "fd12::1", "fd12::1", 443, true },
        { "10.0.0.0/", "10.0.0.0", 443, false },
        { "/8,:,.,*.,[,],[]", "example.com", 443, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        if (no_proxy_covers(slice_str(rows[i].list), rows[i].host, rows[i].port) != rows[i].covered) {
            fail_msg("row %zu: %s, %s", i, rows[i].list, rows[i].host);
        }
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("lists of NO_PROXY cover what they name", no_proxy_lists_cover_what_they_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
