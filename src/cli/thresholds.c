/* cli/thresholds.c: tidegate account thresholds: what providers report of an account's windows, and at which
 * percentage new work stops. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/clock.h"

static void
time_cell(struct table *table, const char *rfc3339, int64_t now_ms)
{
    char text[48] = "";
    int64_t at_ms = 0;
    if (civil_parse_rfc3339(slice_str(rfc3339), &at_ms)) {
        text_age(at_ms, now_ms, text);
    }
    table_cell(table, text);
}

static void
percent_cell(struct table *table, struct json_object *object, const char *name)
{
    char text[64] = "";
    if (json_has(object, name)) {
        (void)snprintf(
            text, sizeof(text), "%s %%", json_object_get_string(json_member(object, name)));
    }
    table_cell(table, text);
}

static void
print_windows(struct json_object *windows)
{
    static const struct column columns[] = {
        { "WINDOW", COLUMN_LEFT },
        { "CREDENTIAL", COLUMN_LEFT, COLUMN_TEXT },
        { "USED", COLUMN_RIGHT },
        { "RESETS", COLUMN_LEFT },
        { "TOLD", COLUMN_LEFT, COLUMN_SPARE },
        { "BY", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "STATE", COLUMN_LEFT },
    };
    const int64_t now_ms = clock_wall_ms();
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(windows); i++) {
        struct json_object *window = json_item(windows, i);
        table_cell(&table, json_text(window, "window"));
        table_cell(&table, json_text(window, "credential"));
        percent_cell(&table, window, "utilization");
        time_cell(&table, json_text(window, "resets_at"), now_ms);
        time_cell(&table, json_text(window, "captured_at"), now_ms);
        table_cell(&table, json_text(window, "source"));
        table_cell(&table, json_text(window, "state"));
    }
    table_print(&table, output_is_terminal());
}

static void
print_limits(struct json_object *limits)
{
    static const struct column columns[] = {
        { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
        { "THRESHOLD", COLUMN_RIGHT },
        { "FROM", COLUMN_LEFT, COLUMN_SPARE },
        { "USED", COLUMN_RIGHT },
        { "STATE", COLUMN_LEFT },
        { "", COLUMN_LEFT, COLUMN_TEXT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(limits); i++) {
        struct json_object *limit = json_item(limits, i);
        const bool capped = json_has(limit, "threshold_pct");
        table_cell(&table, json_text(limit, "limit"));
        percent_cell(&table, limit, "threshold_pct");
        table_cell(&table, capped ? json_text(limit, "threshold_from") : "");
        percent_cell(&table, limit, "utilization");
        table_cell(&table, json_text(limit, "state"));
        table_cell(&table, json_flag(limit, "pauses") ? "new work is paused" : "");
    }
    table_print(&table, output_is_terminal());
}

void
print_reported(struct json_object *usage)
{
    struct json_object *windows = json_member(usage, "windows");
    struct json_object *limits = json_member(usage, "limits");
    if (json_count(windows)) {
        print_windows(windows);
    } else {
        (void)printf("Nothing was reported of this account's windows.\n");
    }
    if (json_count(limits)) {
        (void)printf("\n");
        print_limits(limits);
    }
}

/* The account's own threshold of that name, as JSON: what rules by another word is not made its own. */
static void
own_threshold(struct json_object *usage, const char *name, char out[24])
{
    struct json_object *limits = json_member(usage, "limits");
    (void)snprintf(out, 24, "null");
    for (size_t i = 0; i < json_count(limits); i++) {
        struct json_object *limit = json_item(limits, i);
        if (strcmp(json_text(limit, "set"), name) == 0 && json_has(limit, "own_pct")) {
            (void)snprintf(out, 24, "%lld", (long long)json_number(limit, "own_pct"));
        }
    }
}

/* "90" as it was typed; "off" is null. What is no number is the API's to refuse. */
static void
threshold_add(struct buf *body, const char *name, const char *typed, const char *own)
{
    const char *value = !typed ? own : strcmp(typed, "off") == 0 ? "null" : typed;
    struct slice text = slice_str(value);
    int64_t number = 0;
    buf_addf(body, "%s\"%s\":", body->len > 1 ? "," : "", name);
    if (strcmp(value, "null") == 0 || slice_to_i64(text, &number)) {
        buf_add_slice(body, text);
    } else {
        buf_add_json(body, text);
    }
}

static int
set_thresholds(struct door *door, const char *account, const char *session, const char *week,
    struct json_object *usage)
{
    char own[2][24];
    struct buf target = { 0 };
    struct buf body = { 0 };
    struct json_object *answer = NULL;
    own_threshold(usage, "session_pct", own[0]);
    own_threshold(usage, "week_pct", own[1]);
    buf_add_str(&target, "/api/account/thresholds");
    query_add(&target, "account", account);
    buf_add_char(&body, '{');
    threshold_add(&body, "session_pct", session, own[0]);
    threshold_add(&body, "week_pct", week, own[1]);
    buf_add_char(&body, '}');
    const int exit_status = door_ask(door, "PUT", buf_slice(&target), buf_slice(&body), &answer);
    if (answer) {
        (void)printf("Thresholds of account '%s': session %s, week %s.\n", account,
            json_has(answer, "session_pct")
                ? json_object_get_string(json_member(answer, "session_pct"))
                : "off",
            json_has(answer, "week_pct") ? json_object_get_string(json_member(answer, "week_pct"))
                                         : "off");
    }
    json_object_put(answer);
    buf_free(&target);
    buf_free(&body);
    return exit_status;
}

int
command_account_thresholds(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *account = NULL;
    const char *session = NULL;
    const char *week = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "NAME", ARGUMENT_WORD, &account, true },
        { "--session", ARGUMENT_TEXT, &session, false },
        { "--week", ARGUMENT_TEXT, &week, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    const bool sets = session || week;
    const bool json = door.json;
    struct buf target = { 0 };
    struct json_object *usage = NULL;
    buf_add_str(&target, "/api/account/usage");
    query_add(&target, "account", account);
    door.json = json && !sets; /* to set one, the other must be known */
    exit_status = door_ask(&door, "GET", buf_slice(&target), (struct slice){ 0 }, &usage);
    door.json = json;
    if (usage && sets) {
        exit_status = set_thresholds(&door, account, session, week, usage);
    } else if (usage) {
        print_reported(usage);
    }
    json_object_put(usage);
    buf_free(&target);
    return exit_status;
}
