/* conf/report.c: findings, sorted by their place, and the guess at what was meant. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/doc_priv.h"

static void PRINTF_LIKE(4, 0)
    report_addv(struct report *report, int line, int column, const char *format, va_list args)
{
    if (report->count == FINDINGS_MAX) {
        report->dropped++;
        return;
    }
    struct finding *finding = &report->findings[report->count++];
    finding->line = line;
    finding->column = column;
    (void)vsnprintf(finding->text, sizeof finding->text, format, args);
}

void
report_at(struct report *report, int line, int column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_addv(report, line, column, format, args);
    va_end(args);
}

void
report_add(struct report *report, const struct node *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_addv(report, node ? node->line : 0, node ? node->column : 0, format, args);
    va_end(args);
}

void
report_no_memory(struct report *report)
{
    report->memory = "out of memory";
}

bool
report_clean(const struct report *report)
{
    return report->count == 0 && !report->memory;
}

/* Where a finding is, and which. */
struct place {
    int line, column, at;
};

static int
place_order(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    if (a->column != b->column) {
        return a->column < b->column ? -1 : 1;
    }
    return a->at < b->at ? -1 : a->at > b->at; /* as found */
}

/* Adds one line if it fits whole. */
static bool
append_line(struct conf_error *error, size_t *len, const char *line)
{
    const size_t room = sizeof error->text - *len;
    const int wrote = snprintf(error->text + *len, room, "%s%s", *len > 0 ? "\n" : "", line);
    if (wrote < 0 || (size_t)wrote >= room) {
        error->text[*len] = '\0';
        return false;
    }
    *len += (size_t)wrote;
    return true;
}

void
report_render(const struct report *report, struct conf_error *error)
{
    char line[sizeof report->findings[0].text + 600];
    size_t len = 0;
    error->text[0] = '\0';
    if (report->memory) {
        (void)snprintf(line, sizeof line, "%.500s: %s", report->name, report->memory);
        (void)append_line(error, &len, line);
        return;
    }
    struct place places[FINDINGS_MAX] = { 0 };
    for (int i = 0; i < report->count; i++) {
        places[i] = (struct place){ report->findings[i].line, report->findings[i].column, i };
    }
    qsort(places, (size_t)report->count, sizeof places[0], place_order);

    int shown = 0;
    for (; shown < report->count && shown < FINDINGS_SHOWN_MAX; shown++) {
        const struct finding *finding = &report->findings[places[shown].at];
        if (finding->line > 0) {
            (void)snprintf(line, sizeof line, "%.500s:%d:%d: %s", report->name, finding->line,
                finding->column, finding->text);
        } else {
            (void)snprintf(line, sizeof line, "%.500s: %s", report->name, finding->text);
        }
        if (sizeof error->text - len < strlen(line) + 40 || !append_line(error, &len, line)) {
            break; /* leaves room for the last line */
        }
    }
    const int more = report->count - shown + report->dropped;
    if (more > 0) {
        (void)snprintf(line, sizeof line, "and %d more", more);
        (void)append_line(error, &len, line);
    }
}

#define WORD_BYTES_MAX 40

/* Edits that turn one word into the other: insert, drop, change, swap of neighbours. */
static size_t
edit_distance(struct slice a, struct slice b)
{
    size_t rows[3][WORD_BYTES_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j <= b.len; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = above[j - 1] + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1]) {
                best = before[j - 2] + 1 < best ? before[j - 2] + 1 : best;
            }
            row[j] = best;
        }
        size_t *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[b.len];
}

const char *
nearest_word(struct slice text, const char *const *words, size_t count)
{
    if (text.len == 0 || text.len > WORD_BYTES_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    size_t nearest_distance = 0;
    for (size_t i = 0; i < count; i++) {
        const struct slice word = slice_str(words[i]);
        if (word.len > WORD_BYTES_MAX) {
            continue;
        }
        const size_t distance = edit_distance(text, word);
        const size_t near = word.len < 6 ? 2 : word.len / 3;
        if (distance <= near && distance < word.len && (!nearest || distance < nearest_distance)) {
            nearest = words[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}
