/* cli/table.c: rows of texts, drawn by libsmartcols on a terminal, and with tabs where a program reads. */
#include "cli/cli_priv.h"

#include <langinfo.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <unistd.h>

#include "base/money.h"

bool
output_is_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

bool
output_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void
text_print(const struct buf *text)
{
    if (text->len > 0) {
        (void)fwrite(text->ptr, 1, text->len, stdout);
    }
}

void
table_start(struct table *table, const struct column *columns, int column_count)
{
    *table = (struct table){ .columns = columns, .column_count = column_count };
}

void
table_cell(struct table *table, const char *text)
{
    for (const char *at = text; *at; at++) {
        const unsigned char c = (unsigned char)*at;
        buf_add_char(&table->cells, c < 0x20 || c == 0x7F ? '?' : *at);
    }
    buf_add_char(&table->cells, '\0');
    if (++table->next_column == table->column_count) {
        table->next_column = 0;
        table->row_count++;
    }
}

void
table_cell_i64(struct table *table, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    table_cell(table, text);
}

void
table_cell_money(struct table *table, int64_t micros)
{
    char text[40];
    money_text(micros, text);
    table_cell(table, text);
}

void
table_render_plain(const struct table *table, struct buf *out)
{
    for (int i = 0; i < table->column_count; i++) {
        buf_add_str(out, i ? "\t" : "");
        buf_add_str(out, table->columns[i].name);
    }
    buf_add_char(out, '\n');
    const char *cell = table->cells.ptr;
    for (int row = 0; row < table->row_count; row++) {
        for (int i = 0; i < table->column_count; i++) {
            buf_add_str(out, i ? "\t" : "");
            buf_add_str(out, cell);
            cell += strlen(cell) + 1;
        }
        buf_add_char(out, '\n');
    }
}

static bool
draw(const struct table *table)
{
    struct libscols_table *drawn = scols_new_table();
    bool good = drawn != NULL;
    for (int i = 0; good && i < table->column_count; i++) {
        const int right = table->columns[i].align == COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0;
        good = scols_table_new_column(drawn, table->columns[i].name, 0, right) != NULL;
    }
    const char *cell = table->cells.ptr;
    for (int row = 0; good && row < table->row_count; row++) {
        struct libscols_line *line = scols_table_new_line(drawn, NULL);
        good = line != NULL;
        for (int i = 0; good && i < table->column_count; i++) {
            good = scols_line_set_data(line, (size_t)i, cell) == 0;
            cell += strlen(cell) + 1;
        }
    }
    good = good && scols_print_table(drawn) == 0;
    scols_unref_table(drawn);
    return good;
}

void
table_print(struct table *table, bool terminal)
{
    if (table->cells.failed) {
        (void)cli_fail("no memory for the table");
    } else if (!terminal || !draw(table)) {
        struct buf plain = { 0 };
        table_render_plain(table, &plain);
        text_print(&plain);
        buf_free(&plain);
    }
    buf_free(&table->cells);
}
