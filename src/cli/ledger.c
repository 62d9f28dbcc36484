/* cli/ledger.c: tidegate ledger: rows of the books, for people, spreadsheets and programs. They are asked for
 * page by page, and an export is written as it comes: its memory is that of a page. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"

#define ROWS_DEFAULT 50 /* of a table; an export has all */
#define ROWS_ALL     INT64_MAX
#define PAGE_ROWS    2000
#define TABLE_ROWS   10000 /* columns are as wide as their widest cell, so a table is kept whole */

enum ledger_form { FORM_TABLE, FORM_CSV, FORM_NDJSON, FORM_JSON };

struct ledger_options {
    const char *id, *account, *key, *thread, *model, *since, *until, *kind, *limit, *before;
    bool csv, ndjson;
    enum ledger_form form;
    int64_t rows_wanted;
};

/* --since and --until as times; false when one makes no sense. */
static bool
add_time(struct buf *target, const char *name, const char *text)
{
    int64_t at_ms = 0;
    char time[32];
    if (!text) {
        return true;
    }
    if (!text_parse_when(slice_str(text), clock_wall_ms(), -1, &at_ms)) {
        (void)cli_fail(
            "--%s %s: wanted is a span such as 24h or 7d, today, yesterday, a date such as "
            "2026-11-01, or an RFC 3339 time",
            name, text);
        return false;
    }
    civil_rfc3339(at_ms, true, time);
    query_add(target, name, time);
    return true;
}

static bool
filters_given(const struct ledger_options *options)
{
    return options->account || options->key || options->thread || options->model || options->since
           || options->until || options->kind || options->limit || options->before;
}

/* The form and how many rows; false: what is wrong was said. */
static bool
judge_options(struct ledger_options *options, bool json)
{
    int64_t rows = options->csv || options->ndjson ? ROWS_ALL : ROWS_DEFAULT;
    if (options->id && filters_given(options)) {
        (void)cli_fail("an ID names one request: no filter goes with it");
        return false;
    }
    if (options->csv + options->ndjson + json > 1) {
        (void)cli_fail("--csv, --ndjson and --json are three forms of one answer: keep one");
        return false;
    }
    options->form = options->csv      ? FORM_CSV
                    : options->ndjson ? FORM_NDJSON
                    : json            ? FORM_JSON
                                      : FORM_TABLE;
    if (options->limit && strcmp(options->limit, "all") == 0) {
        rows = options->form == FORM_TABLE ? TABLE_ROWS : ROWS_ALL;
    } else if (options->limit
               && (!slice_to_i64(slice_str(options->limit), &rows) || rows < 1
                   || (options->form == FORM_TABLE && rows > TABLE_ROWS))) {
        (void)cli_fail("ledger: --limit must be a number from 1%s",
            options->form == FORM_TABLE ? " to 10000; --csv and --ndjson have no bound"
                                        : " on, or all");
        return false;
    }
    options->rows_wanted = rows;
    return true;
}

/* False: what is wrong was said. `before` is where the page before it ended; "" = none. */
static bool
ledger_target(
    const struct ledger_options *options, int64_t rows, const char *before, struct buf *target)
{
    char limit[24];
    buf_clear(target);
    if (options->id) {
        buf_add_str(target, "/api/v1/requests/");
        path_add(target, options->id);
        return true;
    }
    (void)snprintf(limit, sizeof(limit), "%lld", (long long)min_i64(rows, PAGE_ROWS));
    buf_add_str(target, "/api/admin/ledger");
    query_add(target, "limit", limit);
    query_add(target, "before", before[0] ? before : options->before);
    query_add(target, "account", options->account);
    query_add(target, "key", options->key);
    query_add(target, "thread", options->thread);
    query_add(target, "model", options->model);
    query_add(target, "kind", options->kind);
    return add_time(target, "since", options->since) && add_time(target, "until", options->until);
}

/* --- For people. */

static int64_t
input_total(struct json_object *usage)
{
    return json_number(usage, "input") + json_number(usage, "cache_read")
           + json_number(usage, "cache_write_5m") + json_number(usage, "cache_write_1h");
}

static void
add_flags(struct buf *out, struct json_object *row)
{
    struct json_object *flags = json_member(row, "flags");
    for (size_t i = 0; i < json_count(flags); i++) {
        buf_add_str(out, out->len ? " " : "");
        buf_add_str(out, json_object_get_string(json_item(flags, i)));
    }
}

/* Of a correction: why, and of what nobody booked as a call: which limit's use, and by how much. */
static void
add_correction(struct buf *out, struct json_object *row)
{
    struct json_object *inputs = json_member(row, "inputs");
    struct json_object *limits = json_member(inputs, "limits");
    buf_add_str(out, json_text(inputs, "note"));
    for (size_t i = 0; !json_has(row, "request") && i < json_count(limits); i++) {
        struct json_object *moved = json_item(limits, i);
        const int64_t delta = json_number(moved, "delta");
        char money[40];
        money_text(delta, money);
        buf_addf(out, "%s(limit %s", out->len ? " " : "", json_text(moved, "limit"));
        if (json_number(row, "cost_micros") != 0) {
            buf_addf(out, " %s)", money);
        } else {
            buf_addf(out, " %+lld)", (long long)delta);
        }
    }
}

static void
print_row(struct json_object *row, struct table *table)
{
    struct json_object *usage = json_member(row, "usage");
    struct buf note = { 0 };
    char at[32];
    text_time(json_text(row, "at"), at);
    buf_add_str(&note, json_text(row, "reason"));
    if (strcmp(json_text(row, "kind"), "admin") == 0) {
        buf_addf(
            &note, "%s %s", json_text(json_member(row, "inputs"), "verb"), json_text(row, "key"));
    }
    const bool corrects = strcmp(json_text(row, "kind"), "adjust") == 0;
    if (corrects) {
        add_correction(&note, row);
    }
    add_flags(&note, row);
    table_cell(table, at);
    table_cell(table, json_text(row, "kind"));
    table_cell(table, json_text(row, "account"));
    table_cell(table, json_text(row, "model"));
    table_cell(table, json_text(row, "provider"));
    if (usage) {
        table_cell_i64(table, input_total(usage));
        table_cell_i64(table, json_number(usage, "output"));
        table_cell_money(table, json_number(row, "cost_micros"));
        table_cell(table, json_text(row, "payer"));
    } else {
        table_cell(table, "");
        table_cell(table, "");
        if (corrects) {
            table_cell_money(table, json_number(row, "cost_micros"));
        } else {
            table_cell(table, "");
        }
        table_cell(table, "");
    }
    table_cell(table, json_text(row, "source"));
    table_cell(table, buf_cstr(&note));
    table_cell(table, json_text(row, "request"));
    buf_free(&note);
}

static const struct column ledger_columns[] = {
    { "TIME (UTC)", COLUMN_LEFT },
    { "KIND", COLUMN_LEFT },
    { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "MODEL", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "PROVIDER", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "IN", COLUMN_RIGHT, COLUMN_SPARE },
    { "OUT", COLUMN_RIGHT, COLUMN_SPARE },
    { "COST", COLUMN_RIGHT },
    { "PAYER", COLUMN_LEFT, COLUMN_SPARE },
    { "SOURCE", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "NOTE", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "REQUEST", COLUMN_LEFT },
};

/* --- For spreadsheets: every column, exact amounts. */

static const char *const plain_columns[] = { "row", "kind", "at", "request", "attempt", "source",
    "account", "key", "thread", "root", "model", "provider", "upstream_model", "payer",
    "cost_micros", "estimated_micros", "bound_micros", "estimator", "started_at", "reason",
    "status", "trace" };
static const char *const usage_columns[] = { "input", "cache_read", "cache_write_5m",
    "cache_write_1h", "output", "reasoning" };

static void
csv_row(struct buf *out, struct json_object *row)
{
    struct json_object *usage = json_member(row, "usage");
    struct buf flags = { 0 };
    for (size_t i = 0; i < countof(plain_columns); i++) {
        buf_add_str(out, i ? "," : "");
        text_csv(json_text(row, plain_columns[i]), out);
    }
    for (size_t i = 0; i < countof(usage_columns); i++) {
        buf_add_char(out, ',');
        text_csv(json_text(usage, usage_columns[i]), out);
    }
    add_flags(&flags, row);
    buf_add_char(out, ',');
    text_csv(buf_cstr(&flags), out);
    buf_add_str(out, "\r\n");
    buf_free(&flags);
}

static void
csv_head(struct buf *out)
{
    for (size_t i = 0; i < countof(plain_columns); i++) {
        buf_addf(out, "%s%s", i ? "," : "", plain_columns[i]);
    }
    for (size_t i = 0; i < countof(usage_columns); i++) {
        buf_addf(out, ",%s_tokens", usage_columns[i]);
    }
    buf_add_str(out, ",flags\r\n");
}

/* --- All forms: what was asked for, as it comes. */

struct listing {
    enum ledger_form form;
    struct table table; /* FORM_TABLE */
    int64_t rows;
};

static void
list_begin(struct listing *listing)
{
    struct buf out = { 0 };
    if (listing->form == FORM_TABLE) {
        table_start(&listing->table, ledger_columns, countof(ledger_columns));
        listing->table.none = "No such rows in the ledger.\n";
    } else if (listing->form == FORM_CSV) {
        csv_head(&out);
    } else if (listing->form == FORM_JSON) {
        buf_add_str(&out, "{\"rows\":[");
    }
    text_print(&out);
    buf_free(&out);
}

static void
list_rows(struct listing *listing, struct json_object *rows)
{
    struct buf out = { 0 };
    for (size_t i = 0; i < json_count(rows); i++, listing->rows++) {
        struct json_object *row = json_item(rows, i);
        switch (listing->form) {
        case FORM_TABLE: print_row(row, &listing->table); break;
        case FORM_CSV: csv_row(&out, row); break;
        case FORM_JSON:
        case FORM_NDJSON:
            buf_add_str(&out, listing->form == FORM_JSON && listing->rows > 0 ? "," : "");
            buf_add_str(&out, json_object_to_json_string_ext(
                                  row, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
            buf_add_str(&out, listing->form == FORM_NDJSON ? "\n" : "");
            break;
        }
    }
    text_print(&out);
    buf_free(&out);
}

/* `before`: where the next page begins, "" = there is none. */
static void
list_end(struct listing *listing, const char *before)
{
    if (listing->form == FORM_TABLE) {
        table_print(&listing->table, output_is_terminal());
        if (before[0] && output_is_terminal()) {
            (void)printf("There are more: --before %s, or --limit N.\n", before);
        }
    } else if (listing->form == FORM_JSON) {
        (void)printf(
            before[0] ? "],\"next_before\":\"%s\"}\n" : "],\"next_before\":null}\n", before);
    }
}

static int
list_pages(struct door *door, const struct ledger_options *options)
{
    struct listing listing = { .form = options->form };
    struct buf target = { 0 };
    char before[32] = "";
    int exit_status = EXIT_OK;
    do {
        struct json_object *answer = NULL;
        exit_status = EXIT_USAGE;
        if (ledger_target(options, options->rows_wanted - listing.rows, before, &target)) {
            exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
        }
        if (exit_status == EXIT_OK) {
            if (listing.rows == 0) { /* not before something was answered */
                list_begin(&listing);
            }
            list_rows(&listing, json_member(answer, "rows"));
            (void)slice_to_cstr(
                slice_str(json_text(answer, "next_before")), before, sizeof(before));
        }
        json_object_put(answer);
    } while (exit_status == EXIT_OK && before[0] && listing.rows < options->rows_wanted);
    if (exit_status == EXIT_OK) {
        list_end(&listing, before);
    }
    buf_free(&target);
    return exit_status;
}

/* --- One request. */

/* Of one request: what is not in its rows yet. */
static void
print_hold(struct json_object *hold)
{
    char started[32];
    char held[40];
    text_time(json_text(hold, "started_at"), started);
    money_text(json_number(hold, "held_micros"), held);
    (void)printf("It is in flight since %s (UTC), with %s held for it.\n", started, held);
}

static int
one_request(struct door *door, const struct ledger_options *options)
{
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    struct listing listing = { .form = options->form };
    int exit_status = EXIT_USAGE;
    if (ledger_target(options, 0, "", &target)) {
        exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    }
    buf_free(&target);
    if (answer) {
        struct json_object *rows = json_member(answer, "rows");
        const bool in_flight = json_has(answer, "hold");
        if (options->form == FORM_TABLE && in_flight) {
            print_hold(json_member(answer, "hold"));
        }
        if (options->form != FORM_TABLE || json_count(rows) || !in_flight) {
            list_begin(&listing);
            list_rows(&listing, rows);
            list_end(&listing, "");
        }
    }
    json_object_put(answer);
    return exit_status;
}

int
command_ledger(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct ledger_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "ID", ARGUMENT_WORD, &options.id, false },
        { "--account", ARGUMENT_TEXT, &options.account, false },
        { "--key", ARGUMENT_TEXT, &options.key, false },
        { "--thread", ARGUMENT_TEXT, &options.thread, false },
        { "--model", ARGUMENT_TEXT, &options.model, false },
        { "--since", ARGUMENT_TEXT, &options.since, false },
        { "--until", ARGUMENT_TEXT, &options.until, false },
        { "--kind", ARGUMENT_TEXT, &options.kind, false },
        { "--limit", ARGUMENT_TEXT, &options.limit, false },
        { "--before", ARGUMENT_TEXT, &options.before, false },
        { "--csv", ARGUMENT_FLAG, &options.csv, false },
        { "--ndjson", ARGUMENT_FLAG, &options.ndjson, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (!judge_options(&options, door.json)) {
        return EXIT_USAGE;
    }
    if (options.id) {
        return one_request(&door, &options);
    }
    door.json = false; /* pages are taken apart here */
    return list_pages(&door, &options);
}
