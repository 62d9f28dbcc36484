/* tests/unit/net/tickets_test.c
 *
 * Goal: a ticket's key makes tickets for half a day, reads them for a whole one, and is gone then.
 * Method: the same keys asked at later and later times. */
#include "base/secret.h"
#include "net/tls_priv.h"
#include "unit.h"

static void
keys_are_changed_and_forgotten_in_time(void **state)
{
    struct net_tickets *tickets = net_tickets_make();
    struct net_ticket_key first;
    struct net_ticket_key key;
    bool renew = false;
    assert_non_null(tickets);
    net_tickets_issue(tickets, 1000, &first);
    const struct {
        int64_t at_ms;
        bool issued, found, renewed; /* of the first key: makes tickets, reads them, wants a newer one */
    } rows[] = {
        { 1000, true, true, false },
        { 1000 + NET_TICKET_ISSUE_MS - 1, true, true, false },
        { 1000 + NET_TICKET_ISSUE_MS, false, true, true },
        { 1000 + NET_TICKET_ACCEPT_MS - 1, false, true, true },
        { 1000 + NET_TICKET_ACCEPT_MS, false, false, false },
        { 1000 + 10 * NET_TICKET_ACCEPT_MS, false, false, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        net_tickets_issue(tickets, rows[i].at_ms, &key);
        assert_int_equal(memcmp(key.name, first.name, sizeof(key.name)) == 0, rows[i].issued);
        renew = false;
        assert_int_equal(net_tickets_find(tickets, rows[i].at_ms, first.name, &key, &renew), rows[i].found);
        assert_int_equal(renew, rows[i].renewed);
    }
    net_tickets_unref(tickets);
}

static void
no_stranger_s_ticket_is_read(void **state)
{
    static const unsigned char name[NET_TICKET_NAME_BYTES] = { 0 };
    struct net_tickets *tickets = net_tickets_make();
    struct net_ticket_key key;
    bool renew = false;
    assert_non_null(tickets);
    assert_false(net_tickets_find(tickets, 1, name, &key, &renew)); /* also before there is any key */
    net_tickets_issue(tickets, 1, &key);
    assert_false(net_tickets_find(tickets, 1, name, &key, &renew));
    net_tickets_unref(tickets);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("keys of tickets are changed and forgotten in time", keys_are_changed_and_forgotten_in_time),
        CASE("a ticket of an unknown key is not read", no_stranger_s_ticket_is_read),
    };
    return secret_start() == STATUS_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
