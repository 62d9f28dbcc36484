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

static void
passwords_of_a_store_are_not_shown(void **state)
{
    static const struct {
        const char *url, *shown;
    } rows[] = {
        { "sqlite:/a/b@c:d.db", "sqlite:/a/b@c:d.db" },
        { "postgresql://host/db", "postgresql://host/db" },
        { "postgres://ada@host:5432/db", "postgres://ada@host:5432/db" },
        { "postgresql://ada:hush@host/db", "postgresql://ada@host/db" },
        { "postgresql://:hush@host/db", "postgresql://@host/db" },
        { "postgresql://ada:hu@s/h?x@one,two/db?sslmode=require", "postgresql://ada@one,two/db?sslmode=require" },
        { "postgresql://h/db?password=hush&sslmode=require", "postgresql://h/db?sslmode=require" },
        { "postgresql://h/db?user=ada&sslpassword=hush", "postgresql://h/db?user=ada" },
        { "postgresql:///db?host=/run/x&password=hush", "postgresql:///db?host=/run/x" },
        { "postgresql://?password", "postgresql://" },
        { "postgresql://", "postgresql://" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char shown[128];
        store_url_shown(rows[i].url, shown, sizeof(shown));
        assert_string_equal(shown, rows[i].shown);
        char small[20];
        store_url_shown(rows[i].url, small, sizeof(small));
        assert_memory_equal(small, shown, strlen(small));
        assert_int_equal(store_url_is_postgres(rows[i].url), rows[i].url[0] == 'p');
    }
}

static const struct CMUnitTest tests[] = {
    CASE("passwords of a store are not shown", passwords_of_a_store_are_not_shown),
    CASE("only this machine is loopback", only_this_machine_is_loopback),
    CASE("files of stores are known by their URL", files_of_stores_are_known_by_their_url),
};
UNIT_MAIN(tests)
