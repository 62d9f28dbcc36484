/* cli/limits.c: tidegate limits: the limits in force, and how each stands for one account. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/money.h"

static bool
has_members(struct json_object *limit, const char *name)
{
    struct json_object *object = json_member(limit, name);
    return object && json_object_object_length(object) > 0;
}

/* "$50.00", "40", "60 in 60s": where plans and groups have others, "by plan"; what is set goes before that. */
static void
cap_text(struct json_object *limit, struct buf *out)
{
    const bool money = strcmp(json_text(limit, "counts"), "cost") == 0;
    const bool rate = json_has(limit, "rate");
    const bool set = json_has(limit, "cap_set_at");
    const char *name = rate ? "rate" : set ? "cap_set" : "cap";
    char amount[40];
    if (!json_has(limit, name)) {
        buf_add_str(out, json_text(limit, "cap_set_by")[0] && !set ? "as set" : "unlimited");
    } else if (money) {
        money_text(json_number(limit, name), amount);
        buf_add_str(out, amount);
    } else {
        buf_add_i64(out, json_number(limit, name));
    }
    if (rate) {
        char span[48];
        civil_span(json_number(limit, "period_ms"), span);
        buf_addf(out, " in %s", span);
    }
    buf_add_str(out, set ? " set for all" : "");
    if (has_members(limit, "cap_by_plan") && !set) { /* for all goes before plans */
        buf_add_str(out, ", by plan");
    }
    if (json_has(limit, "cap_by_group") || has_members(limit, "cap_set_by_group")) {
        buf_add_str(out, ", by group");
    }
}

static void
window_text(struct json_object *limit, char out[96])
{
    char span[48] = "";
    if (json_has(limit, "span_ms")) {
        civil_span(json_number(limit, "span_ms"), span);
    }
    (void)snprintf(out, 96, "%s%s%s", span, span[0] ? " " : "", json_text(limit, "window"));
}

static void
print_limits(struct json_object *limits)
{
    static const struct column columns[] = {
        { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
        { "COUNTS", COLUMN_LEFT },
        { "PER", COLUMN_LEFT, COLUMN_TEXT },
        { "WINDOW", COLUMN_LEFT, COLUMN_TEXT },
        { "CAP", COLUMN_LEFT },
        { "AT CAP", COLUMN_LEFT, COLUMN_SPARE },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = "No limits are configured.\n";
    for (size_t i = 0; i < json_count(limits); i++) {
        struct json_object *limit = json_item(limits, i);
        struct buf cap = { 0 };
        char window[96];
        cap_text(limit, &cap);
        window_text(limit, window);
        table_cell(&table, json_text(limit, "name"));
        table_cell(&table, json_text(limit, "counts"));
        table_cell(&table, json_text(limit, "per"));
        table_cell(&table, window);
        table_cell(&table, buf_cstr(&cap));
        table_cell(&table, json_text(limit, "at_cap"));
        buf_free(&cap);
    }
    table_print(&table, output_is_terminal());
}

int
command_limits(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *account = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--account", ARGUMENT_TEXT, &account, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/admin/limits");
    query_add(&target, "account", account);
    exit_status = door_ask(&door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer && account) {
        print_meters(json_member(answer, "standings"));
    } else if (answer) {
        print_limits(json_member(answer, "limits"));
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}
