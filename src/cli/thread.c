/* cli/thread.c: tidegate thread list | show | limit. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/money.h"

static void
print_threads(struct json_object *threads, const char *before)
{
    static const struct column columns[] = {
        { "THREAD", COLUMN_LEFT },
        { "ROOT", COLUMN_LEFT, COLUMN_SPARE },
        { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT },
        { "RECOGNISED BY", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "CREATED", COLUMN_LEFT, COLUMN_SPARE },
        { "LAST USED", COLUMN_LEFT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = before ? "No older threads.\n" : "No threads yet.\n";
    for (size_t i = 0; i < json_count(threads); i++) {
        struct json_object *thread = json_item(threads, i);
        char created[32];
        char used[32];
        text_time(json_text(thread, "created_at"), created);
        text_time(json_text(thread, "last_used_at"), used);
        table_cell(&table, json_text(thread, "id"));
        table_cell(&table, json_text(thread, "root"));
        table_cell(&table, json_text(thread, "account"));
        table_cell(&table, json_text(thread, "recognised_by"));
        table_cell(&table, created);
        table_cell(&table, used);
    }
    table_print(&table, output_is_terminal());
}

int
command_thread_list(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *account = NULL;
    const char *limit = NULL;
    const char *before = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--account", ARGUMENT_TEXT, &account, false },
        { "--limit", ARGUMENT_TEXT, &limit, false },
        { "--before", ARGUMENT_TEXT, &before, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/v1/threads");
    query_add(&target, "account", account);
    query_add(&target, "limit", limit);
    query_add(&target, "before", before);
    exit_status = door_ask(&door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        print_threads(json_member(answer, "threads"), before);
        if (json_has(answer, "next_before") && output_is_terminal()) {
            (void)printf(
                "There are more: --before %s, or --limit N.\n", json_text(answer, "next_before"));
        }
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}

/* --- One. */

static void
money_or_units(struct json_object *limit, const char *money_key, const char *key, char out[40])
{
    if (json_has(limit, money_key)) {
        money_text(json_number(limit, money_key), out);
    } else if (json_has(limit, key)) {
        (void)snprintf(out, 40, "%lld", (long long)json_number(limit, key));
    } else {
        (void)snprintf(out, 40, "unlimited");
    }
}

static void
print_thread(struct json_object *thread)
{
    static const struct column columns[] = {
        { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
        { "COUNTS", COLUMN_LEFT, COLUMN_SPARE },
        { "USED", COLUMN_RIGHT },
        { "HELD", COLUMN_RIGHT },
        { "CAP", COLUMN_RIGHT },
        { "BY", COLUMN_LEFT, COLUMN_SPARE },
    };
    struct json_object *tree = json_member(thread, "tree");
    struct table table;
    (void)printf("%s of account '%s', in the tree of %s, recognised by %s.\n",
        json_text(thread, "id"), json_text(thread, "account"), json_text(thread, "root"),
        json_text(thread, "recognised_by"));
    if (json_count(tree) == 0) {
        (void)printf("No limit counts per tree of threads.\n");
        return;
    }
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(tree); i++) {
        struct json_object *limit = json_item(tree, i);
        char cell[40];
        table_cell(&table, json_text(limit, "limit"));
        table_cell(&table, json_text(limit, "counts"));
        money_or_units(limit, "spent_micros", "used", cell);
        table_cell(&table, cell);
        money_or_units(limit, "held_micros", "held", cell);
        table_cell(&table, cell);
        money_or_units(limit, "spend_limit_micros", "amount", cell);
        table_cell(&table, cell);
        table_cell(&table, json_text(limit, "tier"));
    }
    table_print(&table, output_is_terminal());
}

static int
ask_thread(
    struct door *door, const char *method, const char *id, const char *rest, struct slice body)
{
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/v1/threads/");
    path_add(&target, id);
    buf_add_str(&target, rest);
    const int exit_status = door_ask(door, method, buf_slice(&target), body, &answer);
    if (answer) {
        print_thread(answer);
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}

int
command_thread_show(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *id = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "ID", ARGUMENT_WORD, &id, true },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    return ask_thread(&door, "GET", id, "", (struct slice){ 0 });
}

int
command_thread_limit(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *id = NULL;
    const char *limit = NULL;
    const char *set = NULL;
    bool unset = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "ID", ARGUMENT_WORD, &id, true },
        { "--limit", ARGUMENT_TEXT, &limit, false },
        { "--set", ARGUMENT_TEXT, &set, false },
        { "--unset", ARGUMENT_FLAG, &unset, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if ((set != NULL) == unset) {
        (void)cli_fail("thread limit: wanted is --set AMOUNT or --unset");
        return EXIT_USAGE;
    }
    struct buf body = { 0 };
    const struct amount amount = { .command = "thread limit", .option = "--set", .text = set };
    if (set && !amount_add(&body, &amount, "spend_limit_micros", "amount")) {
        buf_free(&body);
        return EXIT_USAGE;
    }
    if (unset) {
        body_add_null(&body, "spend_limit_micros"); /* what rules for all trees */
    }
    body_add(&body, "limit", limit);
    exit_status = ask_thread(&door, "PUT", id, "/spend-limit", buf_slice(&body));
    buf_free(&body);
    return exit_status;
}
