/* tests/unit/net/peers_test.c
 *
 * Goal: connections are counted by address, of IPv6 by its /64, and this machine's own are not. */
#include "unit.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/net_priv.h"

static struct net net;

static int
open_table(void **state)
{
    memset(&net, 0, sizeof(net));
    net.options.connections_per_address = 2;
    return uv_mutex_init(&net.peers_mutex);
}

static int
close_table(void **state)
{
    assert_int_equal(net.peer_counts.count, 0); /* no address is remembered that has none */
    map_free(&net.peer_counts);
    uv_mutex_destroy(&net.peers_mutex);
    return 0;
}

static struct net_peer
peer(const char *text)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    const struct sockaddr none = { .sa_family = AF_UNIX };
    struct net_peer made;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        net_peer_of((const struct sockaddr *)(const void *)&v4, &made);
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        net_peer_of((const struct sockaddr *)(const void *)&v6, &made);
    } else {
        net_peer_of(&none, &made);
    }
    assert_string_equal(made.text, text);
    return made;
}

static void
an_address_has_its_share_and_no_more(void **state)
{
    static const struct {
        const char *first, *second;
        bool same;
    } rows[] = {
        { "192.0.2.1", "192.0.2.1", true },
        { "192.0.2.1", "192.0.2.2", false },
        { "2001:db8::1", "2001:db8::ffff:2", true }, /* one customer's block */
        { "2001:db8:0:1::1", "2001:db8:0:2::1", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct net_peer first = peer(rows[i].first);
        const struct net_peer second = peer(rows[i].second);
        assert_true(net_peer_enter(&net, &first));
        assert_true(net_peer_enter(&net, &first));
        assert_false(net_peer_enter(&net, &first));
        assert_int_equal(net_peer_enter(&net, &second), !rows[i].same);
        if (!rows[i].same) {
            net_peer_leave(&net, &second);
        }
        net_peer_leave(&net, &first);
        assert_true(net_peer_enter(&net, &first)); /* one that left makes room */
        net_peer_leave(&net, &first);
        net_peer_leave(&net, &first);
    }
}

static void
this_machine_is_not_counted(void **state)
{
    static const char *const rows[] = { "127.0.0.1", "127.8.0.9", "::1", "unix" };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct net_peer local = peer(rows[i]);
        for (int times = 0; times < 5; times++) {
            assert_true(net_peer_enter(&net, &local));
        }
        net_peer_leave(&net, &local);
    }
}

static void
many_addresses_are_forgotten_when_they_leave(void **state)
{
    char text[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            (void)snprintf(text, sizeof(text), "10.1.%d.%d", i / 250, i % 250 + 1);
            const struct net_peer one = peer(text);
            if (round == 0) {
                assert_true(net_peer_enter(&net, &one));
            } else {
                net_peer_leave(&net, &one);
            }
        }
    }
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("an address has its share and no more", an_address_has_its_share_and_no_more,
        open_table, close_table),
    CASE_WITH("this machine is not counted", this_machine_is_not_counted, open_table, close_table),
    CASE_WITH("many addresses are forgotten when they leave",
        many_addresses_are_forgotten_when_they_leave, open_table, close_table),
};
UNIT_MAIN(tests)
