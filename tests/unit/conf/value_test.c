/* tests/unit/conf/value_test.c
 *
 * Goal: the small languages of the configuration take what is written for people, exactly, and nothing else.
 * Method: each row is a text and its value; -1 = refused. */
#include "conf/value_priv.h"

#include "base/money.h"
#include "conf/conf_priv.h"
#include "tbl/counts.h"
#include "unit.h"

struct row {
    const char *text;
    int64_t value;
};

static void
assert_values(bool (*parse)(struct slice, int64_t *), const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -1;
        if (!parse(slice_str(rows[i].text), &value)) {
            value = -1;
        }
        if (value != rows[i].value) {
            fail_msg("'%s' gives %lld, not %lld", rows[i].text, (long long)value, (long long)rows[i].value);
        }
    }
}

static void
durations(void **state)
{
    static const struct row rows[] = { { "0s", 0 }, { "500ms", 500 }, { "3s", 3000 }, { "2h", 7200000 },
        { "2h30m", 9000000 }, { "1d2h3m4s5ms", 93784005 }, { "7d", 604800000 }, { "60s", 60000 },
        { "", -1 }, { "3", -1 }, { "s", -1 }, { "3 s", -1 }, { "3S", -1 }, { "-3s", -1 }, { "+3s", -1 },
        { "3m2h", -1 }, { "1s1s", -1 }, { "1.5h", -1 }, { "3sec", -1 }, { "1h2", -1 }, { "3s ", -1 },
        { "9223372036854775807d", -1 }, { "9223372036854775807ms", INT64_MAX }, { "9223372036854775808ms", -1 },
        { "106751991167d9223372036854775807ms", -1 } };
    assert_values(value_duration, rows, countof(rows));
}

static void
tokens_and_bytes(void **state)
{
    static const struct row tokens[] = { { "1024 tokens", 1024 }, { "1024", 1024 }, { "0", 0 }, { "1 tokens", 1 },
        { "1024tokens", -1 }, { "1024 token", -1 }, { "1,024", -1 }, { "", -1 }, { " 1", -1 }, { "1k", -1 } };
    static const struct row bytes[] = { { "4096", 4096 }, { "64KB", 65536 }, { "32MB", 33554432 },
        { "1GB", 1073741824 }, { "5B", 5 }, { "32 MB", -1 }, { "32mb", -1 }, { "1.5MB", -1 }, { "MB", -1 },
        { "9223372036854775807KB", -1 }, { "", -1 } };
    assert_values(value_tokens, tokens, countof(tokens));
    assert_values(value_bytes, bytes, countof(bytes));
}

static void
money(void **state)
{
    static const struct row rows[] = { { "5 USD", 5000000 }, { "0.50 USD", 500000 }, { "22.50 USD", 22500000 },
        { "0 USD", 0 }, { "0.000001 USD", 1 }, { "5000000 micros", 5000000 }, { "0 micros", 0 },
        { "1e3 USD", 1000000000 },
        { "5", -1 }, { "5USD", -1 }, { "$5", -1 }, { "5 usd", -1 }, { "5 EUR", -1 }, { "-5 USD", -1 },
        { "-0 USD", -1 }, { "0.0000001 USD", -1 }, { "1,000 USD", -1 }, { " USD", -1 }, { "USD", -1 },
        { ".5 USD", -1 }, { "5. USD", -1 }, { "1.5 micros", -1 }, { "5 USD ", -1 }, { "nan USD", -1 },
        { "99999999999999999999 USD", -1 }, { "9223372036854775807 micros", -1 } };
    assert_values(value_money, rows, countof(rows));
}

static void
rates(void **state)
{
    static const struct {
        const char *text;
        int64_t count, period_ms;
    } rows[] = { { "60/min", 60, MINUTE_MS }, { "5/s", 5, SECOND_MS }, { "1000/h", 1000, HOUR_MS },
        { "1/day", 1, DAY_MS } };
    static const char *const wrong[] = { "", "60", "/min", "60/", "60/m", "60/minute", "60 /min", "60/ min", "-1/s",
        "6.5/s", "60/min/s" };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t count = 0;
        int64_t period_ms = 0;
        assert_true(value_rate(slice_str(rows[i].text), &count, &period_ms));
        assert_int_equal(count, rows[i].count);
        assert_int_equal(period_ms, rows[i].period_ms);
    }
    for (size_t i = 0; i < countof(wrong); i++) {
        int64_t count = 0;
        int64_t period_ms = 0;
        assert_false(value_rate(slice_str(wrong[i]), &count, &period_ms));
    }
}

static void
urls(void **state)
{
    static const struct {
        const char *text;
        bool tls;
        const char *host, *host_header, *path;
        uint16_t port;
    } rows[] = {
        { "https://api.openai.com/v1", true, "api.openai.com", "api.openai.com", "/v1", 443 },
        { "https://API.OpenAI.com/v1/", true, "api.openai.com", "api.openai.com", "/v1", 443 },
        { "https://api.anthropic.com", true, "api.anthropic.com", "api.anthropic.com", "", 443 },
        { "https://api.anthropic.com/", true, "api.anthropic.com", "api.anthropic.com", "", 443 },
        { "https://a.b:8443/x/y-z_1.2", true, "a.b", "a.b:8443", "/x/y-z_1.2", 8443 },
        { "https://a.b:443", true, "a.b", "a.b", "", 443 },
        { "http://127.0.0.1:80/v1", false, "127.0.0.1", "127.0.0.1", "/v1", 80 },
        { "http://localhost:4000", false, "localhost", "localhost:4000", "", 4000 },
        { "http://[::1]:4000/v1", false, "::1", "[::1]:4000", "/v1", 4000 },
        { "https://my_host-1", true, "my_host-1", "my_host-1", "", 443 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = { 0 };
        struct url url;
        const char *wrong = NULL;
        assert_true(url_parse(&arena, slice_str(rows[i].text), &url, &wrong));
        assert_int_equal(url.tls, rows[i].tls);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.host_header, rows[i].host_header);
        assert_string_equal(url.path, rows[i].path);
        assert_int_equal(url.port, rows[i].port);
        arena_free(&arena);
    }
    static const char *const wrong_urls[] = { "", "https", "https:/", "https://", "HTTPS://a", "ftp://a", "a.b",
        "https://a:", "https://a:0", "https://a:65536", "https://a:+80", "https://a:80x", "https://a..b", "https://.a",
        "https://a.", "https://a-", "https://a b", "https://a\nb", "https://a\xc3\xa4", "https://u@a", "https://u:p@a",
        "https://a?x", "https://a#x", "https://a/x?y", "https://a//b", "https://a/./b", "https://a/..", "https://a/b c",
        "https://a/%41", "https://[::1", "https://::1", "https://[::1]x", "https://[127.0.0.1]", "https://[]",
        "https://256.1.1.1", "https://1.2.3", "https://0x7f.1", "https://a\\b", "//a" };
    for (size_t i = 0; i < countof(wrong_urls); i++) {
        struct arena arena = { 0 };
        struct url url;
        const char *wrong = NULL;
        const bool ok = url_parse(&arena, slice_str(wrong_urls[i]), &url, &wrong);
        if (ok && strcmp(wrong_urls[i], "https://0x7f.1") != 0) { /* a name like any other */
            fail_msg("%s is taken", wrong_urls[i]);
        }
        assert_true(ok || strlen(wrong) > 0);
        arena_free(&arena);
    }
}

static void
nearest_words(void **state)
{
    static const char *const words[] = { "listen", "limits", "log", "store", "step" };
    static const struct {
        const char *text, *nearest;
    } rows[] = { { "lisen", "listen" }, { "lsiten", "listen" }, { "Listen", "listen" }, { "limit", "limits" },
        { "lgo", "log" }, { "stroe", "store" }, { "stpe", "step" }, { "xyz", NULL }, { "", NULL }, { "sessions", NULL },
        { "listenlistenlistenlistenlistenlistenlistenlisten", NULL } };
    for (size_t i = 0; i < countof(rows); i++) {
        const char *nearest = nearest_word(slice_str(rows[i].text), words, countof(words));
        if (rows[i].nearest) {
            assert_non_null(nearest);
            assert_string_equal(nearest, rows[i].nearest);
        } else {
            assert_null(nearest);
        }
    }
}

/* Defaults and ranges of the table are texts: each must be one of its own type, in its own range. */
static void
table_is_sound(void **state)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum option)i);
        bool (*parse)(struct slice, int64_t *) = NULL;
        switch (row->type) {
        case OPTION_TYPE_COUNT: parse = value_count; break;
        case OPTION_TYPE_DURATION: parse = value_duration; break;
        case OPTION_TYPE_TOKENS: parse = value_tokens; break;
        case OPTION_TYPE_BYTES: parse = value_bytes; break;
        case OPTION_TYPE_MONEY: parse = value_money; break;
        default: assert_null(row->low); break;
        }
        assert_true(row->sentence[0] != '\0');
        assert_true(row->type == OPTION_TYPE_LATER || parse || row->type == OPTION_TYPE_BOOL || row->form);
        if (parse) {
            int64_t low = 0;
            int64_t high = 0;
            int64_t preset = 0;
            assert_true(parse(slice_str(row->low), &low));
            assert_true(parse(slice_str(row->high), &high));
            assert_true(low < high);
            if (row->preset && strcmp(row->preset, OPTION_REQUIRED) != 0) {
                assert_true(parse(slice_str(row->preset), &preset));
                assert_true(low <= preset && preset <= high);
            }
        }
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(row->path, option_row((enum option)j)->path);
        }
    }
}

static bool
form_has_word(const char *form, const char *word)
{
    const char *at = strstr(form, word);
    return at && (at[strlen(word)] == ',' || at[strlen(word)] == '\0');
}

/* The words named as possible are those of the forms that exist. */
static void
forms_are_those_that_exist(void **state)
{
    for (int counts = 0; counts < COUNT_KIND_COUNT; counts++) {
        for (int per = 0; per < PER_KIND_COUNT; per++) {
            for (int window = 0; window < WINDOW_KIND_COUNT; window++) {
                if (limit_form_exists((enum count_kind)counts, (enum per_kind)per, (enum window_kind)window)) {
                    assert_true(form_has_word(option_row(OPTION_LIMIT_COUNTS)->form, count_word((enum count_kind)counts)));
                    assert_true(form_has_word(option_row(OPTION_LIMIT_PER)->form, per_word((enum per_kind)per)));
                }
            }
        }
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("durations are falling terms with units", durations),
        CASE("tokens and sizes are whole numbers with their units", tokens_and_bytes),
        CASE("money is exact to the micro and never without its unit", money),
        CASE("rates name their period", rates),
        CASE("base URLs are taken apart strictly", urls),
            CASE("the nearest word is one that could have been meant", nearest_words),
        CASE("every default and range of the option table is of its own type", table_is_sound),
        CASE("the words named for limits are those of forms that exist", forms_are_those_that_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
