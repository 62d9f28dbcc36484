/* cli/ledger.c: tidegate ledger: rows of the books, for people and for spreadsheets. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"

#define LIMIT_DEFAULT "50"

struct ledger_options {
    const char *id, *account, *key, *thread, *model, *since, *until, *kind, *limit;
    bool csv;
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
            "--%s %s: wanted is a span such as 24h or 7d, a date such as 2026-11-01, or an RFC 3339 "
            "time",
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
           || options->until || options->kind || options->limit;
}

/* False: what is wrong was said. */
static bool
ledger_target(const struct ledger_options *options, struct buf *target)
{
    if (options->id && filters_given(options)) {
        (void)cli_fail("an ID names one request: no filter goes with it");
        return false;
    }
    if (options->id) {
        buf_add_str(target, "/api/v1/requests/");
        path_add(target, options->id);
        return true;
    }
    buf_add_str(target, "/api/admin/ledger");
    query_add(target, "limit", options->limit ? options->limit : LIMIT_DEFAULT);
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
        for (int i = 0; i < 4; i++) {
            table_cell(table, "");
        }
    }
    table_cell(table, json_text(row, "source"));
    table_cell(table, buf_cstr(&note));
    table_cell(table, json_text(row, "request"));
    buf_free(&note);
}

static void
print_rows(struct json_object *rows)
{
    static const struct column columns[] = {
        { "TIME (UTC)", COLUMN_LEFT },
        { "KIND", COLUMN_LEFT },
        { "ACCOUNT", COLUMN_LEFT },
        { "MODEL", COLUMN_LEFT },
        { "PROVIDER", COLUMN_LEFT },
        { "IN", COLUMN_RIGHT },
        { "OUT", COLUMN_RIGHT },
        { "COST", COLUMN_RIGHT },
        { "PAYER", COLUMN_LEFT },
        { "SOURCE", COLUMN_LEFT },
        { "NOTE", COLUMN_LEFT },
        { "REQUEST", COLUMN_LEFT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(rows); i++) {
        print_row(json_item(rows, i), &table);
    }
    table_print(&table, output_is_terminal());
}

/* --- For spreadsheets: every column, exact amounts. */

static const char *const plain_columns[] = { "row", "kind", "at", "request", "attempt", "source",
    "account", "key", "thread", "root", "model", "provider", "upstream_model", "payer",
    "cost_micros", "estimated_micros", "bound_micros", "estimator", "started_at", "reason",
    "status" };
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
print_csv(struct json_object *rows)
{
    struct buf out = { 0 };
    for (size_t i = 0; i < countof(plain_columns); i++) {
        buf_addf(&out, "%s%s", i ? "," : "", plain_columns[i]);
    }
    for (size_t i = 0; i < countof(usage_columns); i++) {
        buf_addf(&out, ",%s_tokens", usage_columns[i]);
    }
    buf_add_str(&out, ",flags\r\n");
    for (size_t i = 0; i < json_count(rows); i++) {
        csv_row(&out, json_item(rows, i));
    }
    text_print(&out);
    buf_free(&out);
}

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
ask(struct door *door, const struct ledger_options *options)
{
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    if (!ledger_target(options, &target)) {
        buf_free(&target);
        return EXIT_USAGE;
    }
    const int exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    buf_free(&target);
    if (answer) {
        struct json_object *rows = json_member(answer, "rows");
        if (options->csv) {
            print_csv(rows);
        } else if (json_has(answer, "hold")) {
            print_hold(json_member(answer, "hold"));
        }
        if (!options->csv && (json_count(rows) || !json_has(answer, "hold"))) {
            print_rows(rows);
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
        { "--csv", ARGUMENT_FLAG, &options.csv, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    return ask(&door, &options);
}
