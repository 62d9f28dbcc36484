/* tests/unit/api/route_test.c
 *
 * Goal: every path is the endpoint of the table, none but those, and a wrong method is told from a wrong path.
 * Method: rows of method and path; then each row of the table itself. */
#include "unit.h"

#include "api/api_priv.h"

static void
paths_are_matched(void **state)
{
    static const struct {
        enum http_method method;
        const char *path;
        enum api_match_result result;
        enum endpoint endpoint;
        const char *segment;
    } rows[] = {
        { HTTP_METHOD_GET, "/healthz", API_MATCH_FOUND, ENDPOINT_HEALTHZ, "" },
        { HTTP_METHOD_HEAD, "/healthz", API_MATCH_FOUND, ENDPOINT_HEALTHZ, "" },
        { HTTP_METHOD_POST, "/healthz", API_MATCH_METHOD_WRONG, 0, "" },
        { HTTP_METHOD_GET, "/healthz/", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/Healthz", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/api/admin/accounts", API_MATCH_FOUND, ENDPOINT_ACCOUNTS, "" },
        { HTTP_METHOD_POST, "/api/admin/accounts", API_MATCH_FOUND, ENDPOINT_ACCOUNT_ADD, "" },
        { HTTP_METHOD_DELETE, "/api/admin/accounts", API_MATCH_METHOD_WRONG, 0, "" },
        { HTTP_METHOD_POST, "/api/admin/accounts/ada/ban", API_MATCH_FOUND, ENDPOINT_ACCOUNT_BAN, "ada" },
        { HTTP_METHOD_POST, "/api/admin/accounts/a%2Fb/unban", API_MATCH_FOUND, ENDPOINT_ACCOUNT_UNBAN, "a%2Fb" },
        { HTTP_METHOD_POST, "/api/admin/accounts//ban", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_POST, "/api/admin/accounts/a/b/ban", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/api/admin/accounts/ada/ban", API_MATCH_METHOD_WRONG, 0, "" },
        { HTTP_METHOD_GET, "/api/v1/requests/req_7", API_MATCH_FOUND, ENDPOINT_REQUEST, "req_7" },
        { HTTP_METHOD_GET, "/api/v1/requests", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/api/v1/requests/req_7/x", API_MATCH_UNKNOWN, 0, "" },
        { HTTP_METHOD_GET, "/api/v1/requests/{id}", API_MATCH_FOUND, ENDPOINT_REQUEST, "{id}" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct api_match match;
        assert_int_equal(api_match(rows[i].method, slice_str(rows[i].path), &match), rows[i].result);
        if (rows[i].result == API_MATCH_FOUND) {
            assert_int_equal(match.endpoint, rows[i].endpoint);
            assert_true(slice_eq(match.segment, slice_str(rows[i].segment)));
        }
    }
}

static void
a_wrong_method_says_what_the_path_takes(void **state)
{
    struct api_match match;
    assert_int_equal(api_match(HTTP_METHOD_PUT, SLICE("/api/admin/keys"), &match), API_MATCH_METHOD_WRONG);
    assert_int_equal(match.methods, 1u << HTTP_METHOD_GET | 1u << HTTP_METHOD_POST);
}

static void
every_row_is_found_by_its_own_path(void **state)
{
    for (int i = 0; i < ENDPOINT_COUNT; i++) {
        const struct endpoint_row *row = endpoint_row((enum endpoint)i);
        struct api_match match;
        assert_int_equal(api_match(http_method_of(slice_str(row->method)), slice_str(row->path), &match),
            API_MATCH_FOUND);
        assert_int_equal(match.endpoint, i);
        assert_false(row->dispatches && row->owner != ENDPOINT_OWNER_RELAY); /* only the relay asks the gate */
        if (slice_starts(slice_str(row->path), SLICE("/api/admin/"))) {
            assert_int_equal(row->access, ENDPOINT_ACCESS_ADMIN);
        }
    }
}

static void
percent_encoding_is_undone_strictly(void **state)
{
    static const struct {
        const char *text;
        bool plus, good;
        const char *plain;
    } rows[] = {
        { "ada", false, true, "ada" },
        { "a%20b", false, true, "a b" },
        { "a+b", false, true, "a+b" },
        { "a+b", true, true, "a b" },
        { "%2f%2F", false, true, "//" },
        { "%C3%A9", false, true, "\xC3\xA9" },
        { "%", false, false, "" },
        { "%2", false, false, "" },
        { "%zz", false, false, "" },
        { "%00", false, false, "" }, /* would end a name early */
        { "123456789012345", false, true, "123456789012345" },
        { "1234567890123456", false, false, "" }, /* no room for the NUL */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char out[16];
        assert_int_equal(api_percent_decode(slice_str(rows[i].text), rows[i].plus, out, sizeof(out)), rows[i].good);
        if (rows[i].good) {
            assert_string_equal(out, rows[i].plain);
        }
    }
}

static void
ids_are_read_with_and_without_their_prefix(void **state)
{
    static const struct {
        const char *text;
        int64_t id; /* 0 = refused */
    } rows[] = {
        { "req_12", 12 },
        { "12", 12 },
        { "req_9223372036854775807", INT64_MAX },
        { "req_9223372036854775808", 0 },
        { "req_", 0 },
        { "", 0 },
        { "0", 0 },
        { "012", 0 }, /* one id has one form */
        { "-1", 0 },
        { "key_12", 0 },
        { "req_req_12", 0 },
        { "12 ", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t id = 0;
        const bool good = api_id_parse(slice_str(rows[i].text), SLICE("req_"), &id);
        assert_int_equal(good, rows[i].id != 0);
        assert_int_equal(id, rows[i].id);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("paths are matched with their methods", paths_are_matched),
    CASE("a wrong method says what the path takes", a_wrong_method_says_what_the_path_takes),
    CASE("every row of the table is found by its own path", every_row_is_found_by_its_own_path),
    CASE("percent encoding is undone strictly", percent_encoding_is_undone_strictly),
    CASE("ids are read with and without their prefix", ids_are_read_with_and_without_their_prefix),
};
UNIT_MAIN(tests)
