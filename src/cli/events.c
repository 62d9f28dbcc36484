/* cli/events.c: tidegate events: warnings, and what limits that are only watched would have refused. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/money.h"

#define BACKLOG_ROWS   "100" /* that are shown first */
#define FOLLOW_PAUSE_S 1
#define FOLLOW_TRIES   30 /* that a gateway may be gone */

struct events_options {
    const char *account, *limit, *before;
    bool follow;
};

static const struct column events_columns[] = {
    { "TIME (UTC)", COLUMN_LEFT },
    { "EVENT", COLUMN_LEFT },
    { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT },
    { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
    { "USED", COLUMN_RIGHT, COLUMN_SPARE },
    { "CAP", COLUMN_RIGHT, COLUMN_SPARE },
    { "WHAT", COLUMN_LEFT, COLUMN_TEXT },
};

/* Money where it is money. */
static void
amount_text(struct json_object *data, const char *name, char out[40])
{
    const char *counts = json_text(data, "counts");
    if (strcmp(counts, "cost") == 0) {
        money_text(json_number(data, name), out);
    } else {
        (void)snprintf(out, 40, "%lld", (long long)json_number(data, name));
    }
}

static void
what_text(struct json_object *event, struct buf *out)
{
    struct json_object *data = json_member(event, "data");
    if (strcmp(json_text(event, "event"), "warn") == 0) {
        buf_addf(out, "reached %lld %% this %s", (long long)json_number(data, "pct"),
            json_text(data, "window"));
        if (json_has(data, "subject_name")) {
            buf_addf(out, " (%s %s)", json_text(data, "per"), json_text(data, "subject_name"));
        }
    } else {
        buf_addf(out, "would have refused %s: %s", json_text(event, "model"),
            json_text(event, "reason"));
    }
}

static void
print_event(struct json_object *event, struct table *table)
{
    struct json_object *data = json_member(event, "data");
    struct buf what = { 0 };
    char at[32];
    char used[40];
    char cap[40];
    text_time(json_text(event, "at"), at);
    amount_text(data, json_has(data, "settled") ? "settled" : "used", used);
    amount_text(data, "cap", cap);
    what_text(event, &what);
    table_cell(table, at);
    table_cell(table, json_text(event, "event"));
    table_cell(table, json_text(event, "account"));
    table_cell(table, json_text(data, "limit"));
    table_cell(table, used);
    table_cell(table, cap);
    table_cell(table, buf_cstr(&what));
    buf_free(&what);
}

static void
events_target(const struct events_options *options, struct buf *target)
{
    buf_add_str(target, "/api/v1/events");
    query_add(target, "account", options->account);
    query_add(target, "limit", options->limit);
    query_add(target, "before", options->before);
}

static int
ask_events(struct door *door, const struct events_options *options, struct json_object **answer)
{
    struct buf target = { 0 };
    events_target(options, &target);
    const int exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, answer);
    buf_free(&target);
    return exit_status;
}

/* --- As they come. */

/* A line, as JSON or as a row of the table. */
static void
print_news(void *user, struct json_object *event)
{
    const bool *json = user;
    struct table table;
    struct buf line = { 0 };
    if (*json) {
        (void)printf("%s\n", json_object_to_json_string_ext(
                                 event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        (void)fflush(stdout);
        return;
    }
    table_start(&table, events_columns, countof(events_columns));
    print_event(event, &table);
    table_render_plain(&table, &line);
    buf_free(&table.cells);
    const ptrdiff_t head = slice_find(buf_slice(&line), SLICE("\n"));
    const struct slice all = buf_slice(&line);
    if (head >= 0) { /* without the names of the columns */
        (void)fwrite(all.ptr + head + 1, 1, all.len - (size_t)head - 1, stdout);
    }
    (void)fflush(stdout);
    buf_free(&line);
}

/* Where the gateway is: a question that any answers. */
static bool
find_gateway(struct door *door)
{
    struct json_object *answer = NULL;
    const bool json = door->json;
    door->json = false; /* not for the one who asks */
    door->gateway_only = true;
    const int exit_status = door_ask(door, "GET", SLICE("/readyz"), (struct slice){ 0 }, &answer);
    json_object_put(answer);
    door->json = json;
    return exit_status == EXIT_OK;
}

/* A gateway that stops ends the stream: it may come back, and the stream goes on where it was. */
static int
follow(struct door *door, const struct events_options *options)
{
    struct buf target = { 0 };
    struct cli_error error = { .text = "" };
    struct stream stream = { .on_event = print_news, .user = &door->json };
    enum status status = STATUS_OK;
    if (!find_gateway(door)) {
        return EXIT_FAILED;
    }
    events_target(options, &target);
    if (!options->limit) {
        query_add(&target, "limit", BACKLOG_ROWS);
    }
    query_add(&target, "follow", "1");
    for (int missed = 0; missed < FOLLOW_TRIES && status != STATUS_INVALID && !ferror(stdout);) {
        status = stream_read(door->socket, buf_slice(&target), &stream, &error);
        missed = status == STATUS_OK ? 0 : missed + 1;
        (void)sleep(FOLLOW_PAUSE_S);
    }
    buf_free(&target);
    return ferror(stdout) ? EXIT_OK : cli_fail("%s", error.text); /* whoever read it is gone */
}

int
command_events(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct events_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--account", ARGUMENT_TEXT, &options.account, false },
        { "--limit", ARGUMENT_TEXT, &options.limit, false },
        { "--before", ARGUMENT_TEXT, &options.before, false },
        { "--follow", ARGUMENT_FLAG, &options.follow, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (options.follow) {
        return follow(&door, &options);
    }
    struct json_object *answer = NULL;
    exit_status = ask_events(&door, &options, &answer);
    if (answer) {
        struct json_object *events = json_member(answer, "events");
        struct table table;
        table_start(&table, events_columns, countof(events_columns));
        table.none = options.before ? "No older events.\n" : "No events yet.\n";
        for (size_t i = 0; i < json_count(events); i++) {
            print_event(json_item(events, i), &table);
        }
        table_print(&table, output_is_terminal());
        if (json_has(answer, "next_before") && output_is_terminal()) {
            (void)printf(
                "There are more: --before %s, or --limit N.\n", json_text(answer, "next_before"));
        }
    }
    json_object_put(answer);
    return exit_status;
}
