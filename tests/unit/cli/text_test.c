/* tests/unit/cli/text_test.c
 *
 * Goal: what people write is read as they mean it or refused, and what is shown cannot mislead. */
#include "unit.h"

#include "base/civil.h"
#include "base/units.h"
#include "cli/cli_priv.h"

#define NOW_MS INT64_C(1795302000000) /* 2026-11-21T23:00:00Z */

static void
durations_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1 = refused */
    } rows[] = {
        { "90d", 90 * DAY_MS },
        { "12h30m", 12 * HOUR_MS + 30 * MINUTE_MS },
        { "1d2h3m4s", DAY_MS + 2 * HOUR_MS + 3 * MINUTE_MS + 4 * SECOND_MS },
        { "0s", 0 },
        { "", -1 },
        { "90", -1 }, /* of what? */
        { "d", -1 },
        { "-1d", -1 },
        { "+1d", -1 },
        { "1m2h", -1 }, /* units fall */
        { "1d1d", -1 },
        { "1 d", -1 },
        { "1.5h", -1 },
        { "1w", -1 },
        { "99999999999999d", -1 },
        { "99999999999999999999d", -1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t ms = -1;
        assert_int_equal(text_parse_duration(slice_str(rows[i].text), &ms), rows[i].ms >= 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void
instants_are_spans_dates_or_times(void **state)
{
    static const struct {
        const char *text;
        int sign;
        const char *at; /* NULL = refused */
    } rows[] = {
        { "24h", -1, "2026-11-20T23:00:00Z" },
        { "90d", 1, "2027-02-19T23:00:00Z" },
        { "2027-03-31", 1, "2027-03-31T00:00:00Z" },
        { "2026-11-21T10:00:00+02:00", -1, "2026-11-21T08:00:00Z" },
        { "2026-02-30", 1, NULL },
        { "2026-11", 1, NULL },
        { "today", -1, "2026-11-21T00:00:00Z" },
        { "yesterday", -1, "2026-11-20T00:00:00Z" },
        { "today", 1, NULL }, /* nothing expires in the past */
        { "Yesterday", -1, NULL },
        { "", 1, NULL },
        { "60000d", -1, NULL }, /* before 1970 */
        { "3000000d", 1, NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t at_ms = 0;
        char text[32];
        const bool good = text_parse_when(slice_str(rows[i].text), NOW_MS, rows[i].sign, &at_ms);
        assert_int_equal(good, rows[i].at != NULL);
        if (good) {
            civil_rfc3339(at_ms, true, text);
            assert_string_equal(text, rows[i].at);
        }
    }
}

static void
ages_are_told_roughly(void **state)
{
    static const struct {
        int64_t away_ms;
        const char *text;
    } rows[] = {
        { 0, "just now" },
        { 999, "just now" },
        { -1000, "1 s ago" },
        { -59 * MINUTE_MS, "59 min ago" },
        { -25 * HOUR_MS, "1 d ago" },
        { 3 * HOUR_MS, "in 3 h" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[48];
        text_age(NOW_MS + rows[i].away_ms, NOW_MS, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void
bars_show_what_is_in_use(void **state)
{
    static const struct {
        int64_t percent;
        const char *bar;
    } rows[] = {
        { 0, ".........." },
        { 1, "#........." }, /* in use is never drawn as nothing */
        { 50, "#####....." },
        { 99, "#########." }, /* and only a full one as full */
        { 100, "##########" },
        { 250, "##########" },
        { -5, ".........." },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        text_bar(rows[i].percent, 10, false, &out);
        assert_string_equal(buf_cstr(&out), rows[i].bar);
        buf_free(&out);
    }
}

static void
csv_is_quoted_where_it_must(void **state)
{
    static const char *const rows[][2] = {
        { "plain", "plain" },
        { "", "" },
        { "a,b", "\"a,b\"" },
        { "say \"hi\"", "\"say \"\"hi\"\"\"" },
        { "two\nlines", "\"two\nlines\"" },
        { "=1+1", "'=1+1" }, /* no formula of a spreadsheet */
        { "@sum(a1)", "'@sum(a1)" },
        { "+x", "'+x" },
        { "-x", "'-x" },
        { "-5", "-5" },
        { "a=b", "a=b" },
        { "=a,b", "\"'=a,b\"" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        text_csv(rows[i][0], &out);
        assert_string_equal(buf_cstr(&out), rows[i][1]);
        buf_free(&out);
    }
}

static void
a_word_of_a_shell_stays_one(void **state)
{
    static const char *const rows[][2] = {
        { "ada", "ada" },
        { "ada@example.org", "ada@example.org" },
        { "two words", "'two words'" },
        { "it's", "'it'\\''s'" },
        { "$(reboot)", "'$(reboot)'" },
        { "", "''" },
        { "\xC3\xA9", "'\xC3\xA9'" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        text_shell(rows[i][0], &out);
        assert_string_equal(buf_cstr(&out), rows[i][1]);
        buf_free(&out);
    }
}

static void
a_pipe_gets_tabs_and_no_control_bytes(void **state)
{
    static const struct column columns[] = { { "NAME", COLUMN_LEFT }, { "COST", COLUMN_RIGHT } };
    struct table table;
    struct buf out = { 0 };
    table_start(&table, columns, countof(columns));
    table_cell(&table, "ada\tbob\x1B[31m\n");
    table_cell_money(&table, 1230000);
    table_cell(&table, "");
    table_cell_i64(&table, -5);
    table_render_plain(&table, &out);
    assert_string_equal(buf_cstr(&out), "NAME\tCOST\nada?bob?[31m?\t$1.23\n\t-5\n");
    buf_free(&out);
    buf_free(&table.cells);
}

static void
near_words_are_suggested(void **state)
{
    static const char *const words[] = { "serve", "status", "key add", "key list", "ledger", "--listen" };
    static const struct {
        const char *text, *near;
    } rows[] = {
        { "sevre", "serve" }, /* neighbours swapped */
        { "stauts", "status" },
        { "leger", "ledger" },
        { "key ad", "key add" },
        { "--lisen", "--listen" },
        { "frobnicate", NULL },
        { "xy", NULL },
        { "a word that is much longer than any command could be", NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const char *near = text_nearest(rows[i].text, words, countof(words));
        if (rows[i].near) {
            assert_non_null(near);
            assert_string_equal(near, rows[i].near);
        } else {
            assert_null(near);
        }
    }
}

static void
sizes_are_told_in_units(void **state)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } rows[] = { { 0, "0 bytes" }, { 1023, "1023 bytes" }, { 1024, "1 KB" }, { 1536, "1.5 KB" },
        { INT64_C(338493440000), "315 GB" } };
    for (size_t i = 0; i < countof(rows); i++) {
        char text[32];
        text_bytes(rows[i].bytes, text);
        assert_string_equal(text, rows[i].text);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("durations are read", durations_are_read),
    CASE("instants are spans, dates or times", instants_are_spans_dates_or_times),
    CASE("ages are told roughly", ages_are_told_roughly),
    CASE("bars show what is in use", bars_show_what_is_in_use),
    CASE("CSV is quoted where it must", csv_is_quoted_where_it_must),
    CASE("a word of a shell stays one", a_word_of_a_shell_stays_one),
    CASE("a pipe gets tabs and no control bytes", a_pipe_gets_tabs_and_no_control_bytes),
    CASE("near words are suggested", near_words_are_suggested),
    CASE("sizes are told in units", sizes_are_told_in_units),
};
UNIT_MAIN(tests)
