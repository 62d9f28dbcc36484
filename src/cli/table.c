/* cli/table.c: rows of texts, drawn by libsmartcols on a terminal, and with tabs where a program reads. What a narrow
 * terminal has no room for is decided here: texts are shortened, then columns are left out, and where that does not
 * help either a row takes as many lines as it has cells. */
#include "cli/cli_priv.h"

#include <langinfo.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/money.h"

#define COLUMNS_DEFAULT 80 /* of a terminal that does not say */
#define COLUMNS_MAX     10000
#define SHORT_MIN       10 /* no text is shortened beyond that */
#define HEAD_MIN        6  /* of what stands before an id */
#define ID_DIGITS_MIN   10

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

int
output_columns(void)
{
    struct winsize size = { 0 };
    const char *told = getenv("COLUMNS");
    int64_t columns = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    const bool good = told && slice_to_i64(slice_str(told), &columns) && columns > 0;
    return good ? (int)min_i64(columns, COLUMNS_MAX) : COLUMNS_DEFAULT;
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
    check(column_count > 0 && column_count <= TABLE_COLUMNS_MAX);
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

/* --- How wide. */

/* The next character of a text: its bytes, and the cells it takes; of what cannot be shown those of its escape. */
static size_t
next_char(const char *text, size_t len, int *cells)
{
    mbstate_t state;
    wchar_t wide = 0;
    memset(&state, 0, sizeof(state));
    const size_t bytes = mbrtowc(&wide, text, len, &state);
    const bool good = bytes > 0 && bytes <= len;
    const int width = good ? wcwidth(wide) : -1;
    *cells = width >= 0 ? width : good ? 4 * (int)bytes : 4;
    return good ? bytes : 1;
}

/* How many bytes of the text fit into so many cells; *cells is what they take. */
static size_t
fitting(const char *text, int room, int *cells)
{
    const size_t len = strlen(text);
    size_t at = 0;
    *cells = 0;
    while (at < len) {
        int more = 0;
        const size_t bytes = next_char(text + at, len - at, &more);
        if (*cells + more > room) {
            break;
        }
        *cells += more;
        at += bytes;
    }
    return at;
}

static int
width_of(const char *text)
{
    int cells = 0;
    (void)fitting(text, INT32_MAX, &cells);
    return cells;
}

/* Of "ada key_167125767421953" the second word: ids are long numbers. "" = there is none. */
static const char *
id_in(const char *text)
{
    const char *word = text;
    int digits = 0;
    for (const char *at = text; *at; at++) {
        word = *at == ' ' ? at : word;
        digits = *at >= '0' && *at <= '9' ? digits + 1 : 0;
        if (digits == ID_DIGITS_MIN) {
            return word;
        }
    }
    return "";
}

/* An id, and what follows it, is not what is shortened. */
static void
shortened(const char *text, int room, struct buf *out)
{
    const char *dots = output_is_utf8() ? "\xE2\x80\xA6" : "...";
    const char *rest = id_in(text);
    int cells = 0;
    buf_clear(out);
    if (width_of(text) <= room) {
        buf_add_str(out, text);
    } else {
        const size_t bytes = fitting(text, room - width_of(dots) - width_of(rest), &cells);
        buf_addf(out, "%.*s%s%s", (int)bytes, text, dots, rest);
    }
}

/* --- What of it is shown. */

struct layout {
    int natural[TABLE_COLUMNS_MAX]; /* cells of the widest text */
    int width[TABLE_COLUMNS_MAX];   /* as shown; 0 = left out */
    int least[TABLE_COLUMNS_MAX];   /* of a text: it is not shortened beyond that */
    bool empty[TABLE_COLUMNS_MAX];  /* it says nothing of any row */
};

static int
widest_of(int one, int other)
{
    return one > other ? one : other;
}

/* How much of a text must stay, so that an id in it is whole. */
static int
least_of(const char *text)
{
    const char *id = id_in(text);
    return id == text || !id[0] ? width_of(id) : width_of(id) + HEAD_MIN;
}

static void
measure(const struct table *table, struct layout *layout)
{
    memset(layout, 0, sizeof(*layout));
    const char *cell = table->cells.ptr;
    for (int i = 0; i < table->column_count; i++) {
        layout->natural[i] = widest_of(1, width_of(table->columns[i].name));
        layout->least[i] = widest_of(SHORT_MIN, layout->natural[i]);
        layout->empty[i] = true;
    }
    for (int row = 0; row < table->row_count; row++) {
        for (int i = 0; i < table->column_count; i++) {
            layout->natural[i] = widest_of(layout->natural[i], width_of(cell));
            layout->empty[i] &= cell[0] == '\0';
            layout->least[i] = widest_of(layout->least[i], least_of(cell));
            cell += strlen(cell) + 1;
        }
    }
}

static int
total_width(const struct table *table, const struct layout *layout)
{
    int total = -1;
    for (int i = 0; i < table->column_count; i++) {
        total += layout->width[i] > 0 ? layout->width[i] + 1 : 0;
    }
    return total;
}

int
table_width(const struct table *table)
{
    struct layout layout;
    measure(table, &layout);
    memcpy(layout.width, layout.natural, sizeof(layout.width));
    return total_width(table, &layout);
}

/* The widest text that may still be shortened; -1 = none. */
static int
widest_text(const struct table *table, const struct layout *layout)
{
    int widest = -1;
    for (int i = 0; i < table->column_count; i++) {
        const bool may =
            (table->columns[i].narrow & COLUMN_TEXT) && layout->width[i] > layout->least[i];
        if (may && (widest < 0 || layout->width[i] > layout->width[widest])) {
            widest = i;
        }
    }
    return widest;
}

static bool
shorten_to(const struct table *table, int columns, struct layout *layout)
{
    while (total_width(table, layout) > columns) {
        const int widest = widest_text(table, layout);
        if (widest < 0) {
            return false;
        }
        layout->width[widest]--;
    }
    return true;
}

/* False: whatever is left out, it does not fit. */
static bool
lay_out(const struct table *table, int columns, struct layout *layout)
{
    bool out[TABLE_COLUMNS_MAX];
    measure(table, layout);
    memcpy(layout->width, layout->natural, sizeof(layout->width));
    if (total_width(table, layout) <= columns) {
        return true;
    }
    memcpy(out, layout->empty, sizeof(out));
    for (;;) {
        int spare = -1;
        for (int i = 0; i < table->column_count; i++) {
            layout->width[i] = out[i] ? 0 : layout->natural[i];
            spare = !out[i] && (table->columns[i].narrow & COLUMN_SPARE) ? i : spare;
        }
        if (shorten_to(table, columns, layout)) {
            return true;
        }
        if (spare < 0) {
            return false;
        }
        out[spare] = true; /* the last of them first */
    }
}

/* --- Drawn. */

static bool
add_columns(struct libscols_table *drawn, const struct table *table, const struct layout *layout)
{
    bool good = true;
    for (int i = 0; good && i < table->column_count; i++) {
        const int right = table->columns[i].align == COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0;
        good = layout->width[i] == 0
               || scols_table_new_column(drawn, table->columns[i].name, 0, right) != NULL;
    }
    return good;
}

static bool
add_lines(struct libscols_table *drawn, const struct table *table, const struct layout *layout)
{
    struct buf text = { 0 };
    bool good = true;
    const char *cell = table->cells.ptr;
    for (int row = 0; good && row < table->row_count; row++) {
        struct libscols_line *line = scols_table_new_line(drawn, NULL);
        size_t at = 0;
        good = line != NULL;
        for (int i = 0; good && i < table->column_count; i++) {
            if (layout->width[i] > 0) {
                shortened(cell, layout->width[i], &text);
                good = !text.failed && scols_line_set_data(line, at++, buf_cstr(&text)) == 0;
            }
            cell += strlen(cell) + 1;
        }
    }
    buf_free(&text);
    return good;
}

/* Nobody shall take what is shown for all there is. */
static void
tell_left_out(const struct table *table, int columns, const struct layout *layout, struct buf *out)
{
    int at = 0;
    for (int i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name;
        if (layout->width[i] > 0 || layout->empty[i]) {
            continue;
        }
        const bool wraps =
            at + 3 + width_of(name) > columns; /* with ", " before and "." behind it */
        const char *before = at == 0 ? "Left out: " : wraps ? ",\n  " : ", ";
        buf_addf(out, "%s%s", before, name);
        at = (wraps ? 0 : at) + width_of(before) + width_of(name);
    }
    buf_add_str(out, at > 0 ? ".\n" : "");
}

static bool
draw(const struct table *table, int columns, const struct layout *layout, struct buf *out)
{
    char *text = NULL;
    struct libscols_table *drawn = scols_new_table();
    const bool good = drawn && add_columns(drawn, table, layout) && add_lines(drawn, table, layout)
                      && scols_table_set_termforce(drawn, SCOLS_TERMFORCE_ALWAYS) == 0
                      && scols_table_set_termwidth(drawn, (size_t)columns) == 0
                      && scols_print_table_to_string(drawn, &text) == 0;
    if (good && text) {
        const size_t len = strlen(text);
        buf_add_str(out, text);
        buf_add_str(out, len > 0 && text[len - 1] != '\n' ? "\n" : "");
        tell_left_out(table, columns, layout, out);
    }
    scols_unref_table(drawn);
    free(text);
    return good;
}

/* A line a cell, an empty one between rows. */
static void
stack(const struct table *table, struct buf *out)
{
    int name_width = 0;
    for (int i = 0; i < table->column_count; i++) {
        name_width = widest_of(name_width, width_of(table->columns[i].name));
    }
    const char *cell = table->cells.ptr;
    for (int row = 0; row < table->row_count; row++) {
        buf_add_str(out, row ? "\n" : "");
        for (int i = 0; i < table->column_count; i++) {
            if (cell[0]) {
                buf_addf(out, "%-*s  %s\n", name_width, table->columns[i].name, cell);
            }
            cell += strlen(cell) + 1;
        }
    }
}

bool
table_render(const struct table *table, int columns, struct buf *out)
{
    struct layout layout;
    if (table->row_count == 0) {
        buf_add_str(out, table->none ? table->none : "");
        return true;
    }
    if (lay_out(table, columns, &layout)) {
        return draw(table, columns, &layout, out);
    }
    stack(table, out);
    return true;
}

void
table_print(struct table *table, bool terminal)
{
    struct buf out = { 0 };
    if (terminal && !table->cells.failed && !table_render(table, output_columns(), &out)) {
        buf_clear(&out);
        terminal = false;
    }
    if (!terminal && table->row_count > 0) {
        table_render_plain(table, &out);
    }
    if (table->cells.failed || out.failed) {
        (void)cli_fail("no memory for the table");
    } else {
        text_print(&out);
    }
    buf_free(&out);
    buf_free(&table->cells);
}
