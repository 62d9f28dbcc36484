/* tests/unit/base/place_test.c
 *
 * Goal: hosts that only this machine reaches are known by their text, and files of stores by their URL.
 * Method: a table each. */
#include "unit.h"

#include <string.h>

#include "base/place.h"
#include "base/units.h"

static void
only_this_machine_is_loopback(void **state)
{
    static const struct {
        const char *host;
        bool loopback;
    } rows[] = {
        { "127.0.0.1", true },
        { "127.9.9.9", true },
        { "::1", true },
        { "0:0:0:0:0:0:0:1", true },
        { "::ffff:127.0.0.1", true },
        { "localhost", true },
        { "127.0.0.1.example.org", false },
        { "localhost.example.org", false },
        { "1127.0.0.1", false },
        { "12.7.0.0", false },
        { "10.0.0.1", false },
        { "0.0.0.0", false },
        { "::ffff:10.0.0.1", false },
        { "::127.0.0.1", false },
        { "::", false },
        { "::2", false },
        { "fe80::1", false },
        { "", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        if (host_is_loopback(rows[i].host) != rows[i].loopback) {
            fail_msg("%s", rows[i].host);
        }
    }
}

static void
files_of_stores_are_known_by_their_url(void **state)
{
    assert_string_equal(store_url_path("sqlite:books.db"), "books.db");
    assert_string_equal(store_url_path("sqlite:/a/b.db"), "/a/b.db");
    static const char *const others[] = { "", "memory:", "sqlite:", "sqlite", "books.db",
        "postgresql://host/db" };
    for (size_t i = 0; i < countof(others); i++) {
        assert_null(store_url_path(others[i]));
    }
}

static const struct CMUnitTest tests[] = {
    CASE("only this machine is loopback", only_this_machine_is_loopback),
    CASE("files of stores are known by their URL", files_of_stores_are_known_by_their_url),
};
UNIT_MAIN(tests)
