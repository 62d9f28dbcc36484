/* cli/ledger_adjust.c: tidegate ledger adjust: what a call cost, or what somebody has used of a limit, put right. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/money.h"

/* Whom a limit may count for, by the names of options and of members of the body. */
static const char *const whose[] = { "account", "key", "thread", "model", "tier", "plan", "group",
    "organisation", "tag" };

struct adjust_options {
    const char *request, *limit, *by, *note, *source;
    bool credit;
    const char *whose[countof(whose)];
};

/* "+5 USD", "-0.20 USD", "-3": false where it is neither. */
static bool
delta_add(struct buf *body, const char *text)
{
    const struct amount amount = {
        .command = "ledger adjust", .option = "--by", .text = text, .either_way = true
    };
    return amount_add(body, &amount, "delta_micros", "delta");
}

static const struct column moved_columns[] = {
    { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
    { "WHOSE", COLUMN_LEFT, COLUMN_TEXT },
    { "WINDOW", COLUMN_LEFT, COLUMN_SPARE },
    { "SINCE (UTC)", COLUMN_LEFT, COLUMN_SPARE },
    { "USED BEFORE", COLUMN_RIGHT },
    { "USED NOW", COLUMN_RIGHT },
};

static void
cell_used(struct table *table, struct json_object *moved, const char *name)
{
    if (strcmp(json_text(moved, "unit"), "micro_usd") == 0) {
        table_cell_money(table, json_number(moved, name));
    } else {
        table_cell_i64(table, json_number(moved, name));
    }
}

static void
print_moved(struct json_object *answer)
{
    struct json_object *limits = json_member(answer, "limits");
    struct table table;
    if (json_count(limits) == 0) {
        (void)printf(
            json_has(answer, "limits")
                ? "No limit in force counts it in a window that is open.\n"
                : "What is used of its limits now could not be read; `tidegate limits` tells it.\n");
        return;
    }
    table_start(&table, moved_columns, countof(moved_columns));
    for (size_t i = 0; i < json_count(limits); i++) {
        struct json_object *moved = json_item(limits, i);
        char since[32];
        struct buf who = { 0 };
        meter_whose(moved, &who);
        text_time(json_text(moved, "since"), since);
        table_cell(&table, json_text(moved, "limit"));
        table_cell(&table, buf_cstr(&who));
        table_cell(&table, json_text(moved, "window"));
        table_cell(&table, since);
        cell_used(&table, moved, "used_before");
        cell_used(&table, moved, "used");
        buf_free(&who);
    }
    (void)printf("\n");
    (void)fflush(stdout);
    table_print(&table, output_is_terminal());
}

static void
print_corrected(struct json_object *answer)
{
    char delta[40];
    char before[40];
    char cost[40];
    money_text(json_number(answer, "delta_micros"), delta);
    money_text(json_number(answer, "cost_before_micros"), before);
    money_text(json_number(answer, "cost_micros"), cost);
    (void)printf("%s cost %s more, by %s: %s before, %s in all now.\n",
        json_text(answer, "request"), delta, json_text(answer, "source"), before, cost);
}

static void
print_counted(struct json_object *answer)
{
    char delta[40];
    struct buf who = { 0 };
    money_text(json_number(answer, "delta_micros"), delta);
    if (!json_has(answer, "delta_micros")) {
        (void)snprintf(delta, sizeof(delta), "%lld", (long long)json_number(answer, "delta"));
    }
    for (size_t i = 0; i < countof(whose); i++) {
        const char *name = json_text(answer, whose[i]);
        if (name[0]) {
            buf_addf(&who, "%s%s %s", who.len ? ", " : "", whose[i], name);
        }
    }
    (void)printf("The limit '%s' counts %s more for %s from now on.\n", json_text(answer, "limit"),
        delta, who.len ? buf_cstr(&who) : "the gateway");
    buf_free(&who);
}

static void
print_adjusted(struct json_object *answer)
{
    if (json_has(answer, "request")) {
        print_corrected(answer);
    } else {
        print_counted(answer);
    }
    print_moved(answer);
}

static bool
names_somebody(const struct adjust_options *options)
{
    bool named = options->limit != NULL;
    for (size_t i = 0; i < countof(whose); i++) {
        named |= options->whose[i] != NULL;
    }
    return named;
}

int
command_ledger_adjust(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct adjust_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "REQUEST", ARGUMENT_WORD, &options.request, false },
        { "--account", ARGUMENT_TEXT, &options.whose[0], false },
        { "--key", ARGUMENT_TEXT, &options.whose[1], false },
        { "--thread", ARGUMENT_TEXT, &options.whose[2], false },
        { "--model", ARGUMENT_TEXT, &options.whose[3], false },
        { "--tier", ARGUMENT_TEXT, &options.whose[4], false },
        { "--plan", ARGUMENT_TEXT, &options.whose[5], false },
        { "--group", ARGUMENT_TEXT, &options.whose[6], false },
        { "--organisation", ARGUMENT_TEXT, &options.whose[7], false },
        { "--tag", ARGUMENT_TEXT, &options.whose[8], false },
        { "--limit", ARGUMENT_TEXT, &options.limit, false },
        { "--by", ARGUMENT_TEXT, &options.by, true },
        { "--note", ARGUMENT_TEXT, &options.note, false },
        { "--source", ARGUMENT_TEXT, &options.source, false },
        { "--credit", ARGUMENT_FLAG, &options.credit, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (!options.by || (options.request != NULL) == names_somebody(&options)) {
        (void)cli_fail(
            "ledger adjust: wanted is --by AMOUNT with a REQUEST, or with --account NAME, or "
            "with --limit LIMIT and whom it counts for");
        return EXIT_USAGE;
    }
    struct buf body = { 0 };
    struct json_object *answer = NULL;
    if (!delta_add(&body, options.by)) {
        buf_free(&body);
        return EXIT_USAGE;
    }
    body_add(&body, "request", options.request);
    for (size_t i = 0; i < countof(whose); i++) {
        body_add(&body, whose[i], options.whose[i]);
    }
    body_add(&body, "limit", options.limit);
    body_add(&body, "note", options.note);
    body_add(&body, "source", options.source);
    body_add(&body, "credit", options.credit ? "true" : NULL);
    exit_status = door_ask(&door, "POST", SLICE("/api/admin/adjust"), buf_slice(&body), &answer);
    if (answer) {
        print_adjusted(answer);
    }
    json_object_put(answer);
    buf_free(&body);
    return exit_status;
}
