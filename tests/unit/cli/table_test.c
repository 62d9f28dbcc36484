/* tests/unit/cli/table_test.c
 *
 * Goal: what a terminal is too narrow for is shortened, then left out and told, then stacked; ids, money and times
 * are shown whole or not at all.
 * Method: one table is drawn for terminals of each width; no line of a drawn table is wider than its terminal. */
#include "unit.h"

#include "cli/cli_priv.h"

static const struct column columns[] = {
    { "ID", COLUMN_LEFT },
    { "WHOSE", COLUMN_LEFT, COLUMN_TEXT },
    { "COST", COLUMN_RIGHT },
    { "WHY", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "EMPTY", COLUMN_LEFT },
    { "PAYER", COLUMN_LEFT, COLUMN_SPARE },
};

static void
fill(struct table *table)
{
    static const char *const rows[][countof(columns)] = {
        { "key_1", "somebody with a name key_466192930177025", "$1.25", "it was asked for by the client", "", "company" },
        { "key_2", "ada", "$100.00", "", "", "user" },
    };
    table_start(table, columns, countof(columns));
    for (size_t row = 0; row < countof(rows); row++) {
        for (size_t i = 0; i < countof(columns); i++) {
            table_cell(table, rows[row][i]);
        }
    }
}

static int
widest_line(struct slice text)
{
    struct slice line = { 0 };
    int widest = 0;
    while (slice_split(&text, '\n', &line)) {
        widest = (int)line.len > widest ? (int)line.len : widest;
    }
    return widest;
}

static void
a_table_fits_the_terminal(void **state)
{
    static const struct {
        int columns;
        const char *has[3], *without[3];
    } rows[] = {
        { 200, { "name key_466192930177025", "asked for by the client", "EMPTY" }, { "...", "Left out" } },
        { 80, { "key_466192930177025", "...", "PAYER" }, { "EMPTY", "Left out" } },
        { 59, { "key_466192930177025", "PAYER", "..." }, { "EMPTY", "Left out" } },
        { 55, { "key_466192930177025", "Left out: PAYER.", "WHY" }, { "EMPTY" } },
        { 50, { "key_466192930177025", "Left out: WHY, PAYER.", "$100.00" }, { "EMPTY" } },
        { 41, { "key_466192930177025", "Left out: WHY, PAYER.", "$100.00" }, { "EMPTY" } },
    };
    struct table table;
    fill(&table);
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        assert_true(table_render(&table, rows[i].columns, &out));
        const char *text = buf_cstr(&out);
        for (size_t k = 0; k < 3; k++) {
            assert_true(!rows[i].has[k] || strstr(text, rows[i].has[k]));
            assert_true(!rows[i].without[k] || !strstr(text, rows[i].without[k]));
        }
        assert_true(widest_line(buf_slice(&out)) <= rows[i].columns);
        buf_free(&out);
    }
    assert_true(table_width(&table) > 80);
    buf_free(&table.cells);
}

static void
a_row_is_stacked_where_nothing_else_helps(void **state)
{
    struct table table;
    struct buf out = { 0 };
    fill(&table);
    assert_true(table_render(&table, 20, &out));
    assert_string_equal(buf_cstr(&out),
        "ID     key_1\n"
        "WHOSE  somebody with a name key_466192930177025\n"
        "COST   $1.25\n"
        "WHY    it was asked for by the client\n"
        "PAYER  company\n"
        "\n"
        "ID     key_2\n"
        "WHOSE  ada\n"
        "COST   $100.00\n"
        "PAYER  user\n");
    buf_free(&out);
    buf_free(&table.cells);
}

static void
a_table_of_nothing_says_so(void **state)
{
    struct table table;
    struct buf out = { 0 };
    table_start(&table, columns, countof(columns));
    assert_true(table_render(&table, 80, &out));
    assert_int_equal(out.len, 0);
    table.none = "No keys yet.\n";
    assert_true(table_render(&table, 80, &out));
    assert_string_equal(buf_cstr(&out), "No keys yet.\n");
    buf_free(&out);
}

static void
a_pipe_gets_all_of_it(void **state)
{
    struct table table;
    struct buf out = { 0 };
    fill(&table);
    table_render_plain(&table, &out);
    assert_string_equal(buf_cstr(&out),
        "ID\tWHOSE\tCOST\tWHY\tEMPTY\tPAYER\n"
        "key_1\tsomebody with a name key_466192930177025\t$1.25\tit was asked for by the client\t\tcompany\n"
        "key_2\tada\t$100.00\t\t\tuser\n");
    buf_free(&out);
    buf_free(&table.cells);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_fits_the_terminal),
        cmocka_unit_test(a_row_is_stacked_where_nothing_else_helps),
        cmocka_unit_test(a_table_of_nothing_says_so),
        cmocka_unit_test(a_pipe_gets_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
