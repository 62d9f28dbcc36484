/* tests/unit/wire/reported_test.c
 *
 * Goal: what a provider says of its own windows is read exactly, whoever tells it, and a body that is wrong
 * anywhere is told where and changes nothing.
 * Method: rows of texts, and what is kept of them in the stored form: credential,window,models,used,resets,
 * captured,source; */
#include "fixture.h"

#include <string.h>

#include "rows/pack.h"
#include "wire/reported.h"

static void
expect_kept(const struct reported_row *report, const char *wanted)
{
    struct buf text = { 0 };
    pack_reported(report, &text);
    assert_string_equal(buf_cstr(&text), wanted);
    assert_true(reported_valid(report));
    buf_free(&text);
}

static void
the_unified_headers_are_read(void **state)
{
    static const struct {
        const char *headers, *kept;
    } rows[] = {
        { "", "" },
        { "anthropic-ratelimit-unified-status: allowed\nanthropic-ratelimit-unified-reset: 1795269787\n", "" },
        { "anthropic-ratelimit-unified-7d-utilization: 0.3\nanthropic-ratelimit-unified-7d-reset: 1795269787\n"
          "anthropic-ratelimit-unified-5h-utilization: 0.42\n"
          "anthropic-ratelimit-unified-5h-reset: 2026-11-21T14:03:07.123456+00:00\n",
            "anthropic,5h,,42000,1795269787123,0,1;anthropic,7d,,30000,1795269787000,0,1;" },
        { "Anthropic-Ratelimit-Unified-7d_opus-Utilization: 1.04\n", "anthropic,7d_opus,*opus*,104000,0,0,1;" },
        { "anthropic-ratelimit-unified-7d_oauth_apps-utilization: 0\n", "anthropic,7d_oauth_apps,-,0,0,0,1;" },
        { "anthropic-ratelimit-unified-5h-utilization: 0.8999999\n", "anthropic,5h,,89999,0,0,1;" },
        { "anthropic-ratelimit-unified-5h-utilization: 9e-1\n", "anthropic,5h,,90000,0,0,1;" },
        /* what makes no sense is left out */
        { "anthropic-ratelimit-unified-5h-utilization: much\nanthropic-ratelimit-unified-7d-utilization: -1\n", "" },
        { "anthropic-ratelimit-unified-overage-utilization: 0.5\n", "" },
        { "anthropic-ratelimit-unified--utilization: 0.5\nanthropic-ratelimit-unified-utilization: 0.5\n", "" },
        { "anthropic-ratelimit-unified-5h_a,b-utilization: 0.5\n", "" },
        { "anthropic-ratelimit-unified-5h-utilization: 0.5\nanthropic-ratelimit-unified-5h-reset: soon\n",
            "anthropic,5h,,50000,0,0,1;" },
        { "anthropic-ratelimit-unified-5h-utilization: 0.5\nanthropic-ratelimit-unified-5h-utilization: 0.9\n",
            "anthropic,5h,,50000,0,0,1;" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        struct reported_row report = { 0 };
        head_of_lines(&head, rows[i].headers);
        reported_of_headers(&head, SLICE("anthropic"), &report);
        expect_kept(&report, rows[i].kept);
    }
}

static void
more_windows_than_are_kept_are_left_out(void **state)
{
    struct buf lines = { 0 };
    for (int i = 1; i <= REPORTED_MAX + 3; i++) {
        buf_addf(&lines, "anthropic-ratelimit-unified-%dh-utilization: 0.5\n", i);
    }
    struct http_head head;
    struct reported_row report = { 0 };
    head_of_lines(&head, buf_cstr(&lines));
    reported_of_headers(&head, SLICE("anthropic"), &report);
    assert_int_equal(report.window_count, REPORTED_MAX);
    assert_true(reported_valid(&report));
    buf_free(&lines);
}

#define FIVE "\"five_hour\":{\"utilization\":42.5,\"resets_at\":\"2026-11-21T14:03:07Z\"}"

static void
reports_are_read(void **state)
{
    static const struct {
        const char *body, *kept;
    } rows[] = {
        { "{" FIVE ",\"seven_day\":{\"utilization\":7,\"resets_at\":\"2026-11-21T15:03:07.5+01:00\"},"
          "\"seven_day_opus\":null,\"seven_day_sonnet\":{\"utilization\":0.0001,\"resets_at\":null},"
          "\"extra_usage\":{\"is_enabled\":true},\"seven_day_cowork\":{\"utilization\":\"odd\"}}",
            ",5h,,42500,1795269787000,0,0;,7d,,7000,1795269787500,0,0;,7d_sonnet,*sonnet*,0,0,0,0;" },
        { "{" FIVE "}", ",5h,,42500,1795269787000,0,0;" }, /* a plan without weeks */
        { "{\"usage\":{" FIVE "},\"credential\":\"desk\",\"captured_at\":\"2026-11-21T13:00:00Z\"}",
            "desk,5h,,42500,1795269787000,1795266000000,0;" },
        { "{" FIVE ",\"seven_day_oauth_apps\":{\"utilization\":99,\"resets_at\":null}}",
            ",5h,,42500,1795269787000,0,0;,7d_oauth_apps,-,99000,0,0,0;" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":101.0005,\"resets_at\":null},"
          "{\"models\":[\"claude-opus-*\",\"x\"],\"used_pct\":1e1,\"window\":\"7d_big\"}]}",
            ",5h,,101000,0,0,0;,7d_big,claude-opus-*%2Cx,10000,0,0,0;" },
        { "{\"credential\":null,\"windows\":[{\"window\":\"30m\",\"used_pct\":0,\"models\":[]}]}", ",30m,,0,0,0,0;" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct reported_row report = { 0 };
        struct reported_fault fault = { "", "" };
        if (!reported_of_json(slice_str(rows[i].body), &report, &fault)) {
            fail_msg("%zu: %s %s", i, fault.field, fault.why);
        }
        expect_kept(&report, rows[i].kept);
    }
}

static void
a_wrong_report_is_refused_whole_and_says_where(void **state)
{
    static const struct {
        const char *body, *field, *why;
    } rows[] = {
        { "", "", "a JSON object" },
        { "[]", "", "a JSON object" },
        { "{" FIVE "} x", "", "a JSON object" },
        { "{}", "five_hour", "is missing" },
        { "{\"seven_day\":{\"utilization\":1,\"resets_at\":null}}", "five_hour", "is missing" },
        { "{\"five_hour\":null}", "five_hour", "an object" },
        { "{\"five_hour\":{\"resets_at\":null}}", "five_hour.utilization", "is missing" },
        { "{\"five_hour\":{\"utilization\":1}}", "five_hour.resets_at", "is missing" },
        { "{\"five_hour\":{\"utilization\":\"1\",\"resets_at\":null}}", "five_hour.utilization", "a number" },
        { "{\"five_hour\":{\"utilization\":-0.1,\"resets_at\":null}}", "five_hour.utilization", "0 or more" },
        { "{\"five_hour\":{\"utilization\":1e300,\"resets_at\":null}}", "five_hour.utilization", "a number" },
        { "{\"five_hour\":{\"utilization\":1,\"resets_at\":12}}", "five_hour.resets_at", "a time" },
        { "{\"five_hour\":{\"utilization\":1,\"resets_at\":\"soon\"}}", "five_hour.resets_at", "a time" },
        { "{" FIVE ",\"seven_day\":7}", "seven_day", "an object, or null" },
        { "{" FIVE ",\"seven_day_opus\":{}}", "seven_day_opus.utilization", "is missing" },
        { "{" FIVE ",\"credential\":\"\"}", "credential", "a name" },
        { "{" FIVE ",\"credential\":7}", "credential", "a name" },
        { "{" FIVE ",\"captured_at\":\"then\"}", "captured_at", "a time" },
        { "{\"windows\":{}}", "windows", "a list" },
        { "{\"windows\":[]}", "windows", "at least one" },
        { "{\"windows\":[7]}", "windows.0", "an object" },
        { "{\"windows\":[{\"window\":\"5h\"}]}", "windows.0.used_pct", "is missing" },
        { "{\"windows\":[{\"used_pct\":5}]}", "windows.0.window", "is missing" },
        { "{\"windows\":[{\"window\":\"opus\",\"used_pct\":5}]}", "windows.0.window", "a length" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5,\"used\":5}]}", "windows.0", "nothing else" },
        { "{\"windows\":[{\"window\":\"5h\",\"window\":\"7d\",\"used_pct\":5}]}", "windows.0", "once" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5},{\"window\":\"5h\",\"used_pct\":5}]}", "windows.1", "twice" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5,\"models\":\"x\"}]}", "windows.0.models", "a list" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5,\"models\":[\"a,b\"]}]}", "windows.0.models", "a list" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5,\"models\":[\"-\"]}]}", "windows.0.models", "a list" },
        { "{\"windows\":[{\"window\":\"5h\",\"used_pct\":5,\"models\":[\"\"]}]}", "windows.0.models", "a list" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct reported_row report = { .window_count = 1 };
        struct reported_fault fault = { "", "" };
        if (reported_of_json(slice_str(rows[i].body), &report, &fault) || report.window_count != 0
            || strcmp(fault.field, rows[i].field) != 0 || !strstr(fault.why, rows[i].why)) {
            fail_msg("%s: '%s' %s", rows[i].body, fault.field, fault.why);
        }
    }
}

static void
windows_have_long_names_too(void **state)
{
    static const char *const rows[][2] = { { "5h", "five_hour" }, { "7d", "seven_day" }, { "7d_opus", "seven_day_opus" },
        { "30m", "30m" }, { "7days", "7days" } };
    for (size_t i = 0; i < countof(rows); i++) {
        char name[48];
        reported_long_name(rows[i][0], name);
        assert_string_equal(name, rows[i][1]);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("the unified headers are read", the_unified_headers_are_read),
    CASE("more windows than are kept are left out", more_windows_than_are_kept_are_left_out),
    CASE("reports are read, in either form", reports_are_read),
    CASE("a wrong report is refused whole and says where", a_wrong_report_is_refused_whole_and_says_where),
    CASE("windows have long names, too", windows_have_long_names_too),
};
UNIT_MAIN(tests)
