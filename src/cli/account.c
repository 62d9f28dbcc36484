/* cli/account.c: tidegate account add | list | ban | unban. */
#include "cli/cli_priv.h"

#include <stdio.h>

int
command_account_add(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *name = NULL;
    const char *plan = NULL;
    const char *organisation = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "NAME", ARGUMENT_WORD, &name, true },
        { "--plan", ARGUMENT_TEXT, &plan, false },
        { "--organisation", ARGUMENT_TEXT, &organisation, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf body = { 0 };
    body_add(&body, "name", name);
    body_add(&body, "plan", plan);
    body_add(&body, "organisation", organisation);
    struct json_object *answer = NULL;
    exit_status = door_ask(&door, "POST", SLICE("/api/admin/accounts"), buf_slice(&body), &answer);
    if (answer) {
        struct buf word = { 0 };
        text_shell(json_text(answer, "name"), &word);
        (void)printf("Account '%s' is made; its plan is %s.\nIts first key: %s key add %s\n",
            json_text(answer, "name"), json_text(answer, "plan"), cli->program, buf_cstr(&word));
        buf_free(&word);
    }
    json_object_put(answer);
    buf_free(&body);
    return exit_status;
}

static int
ban(struct cli *cli, int argc, char **argv, const char *verb, const char *said)
{
    struct door door = { .cli = cli };
    const char *name = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "NAME", ARGUMENT_WORD, &name, true },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/admin/accounts/");
    path_add(&target, name);
    buf_addf(&target, "/%s", verb);
    exit_status = door_ask(&door, "POST", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        (void)printf("Account '%s' %s.\n", json_text(answer, "name"), said);
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}

int
command_account_ban(struct cli *cli, int argc, char **argv)
{
    return ban(cli, argc, argv, "ban", "is banned: none of its calls starts from now on");
}

int
command_account_unban(struct cli *cli, int argc, char **argv)
{
    return ban(cli, argc, argv, "unban", "may work again");
}

static void
print_accounts(struct json_object *answer)
{
    static const struct column columns[] = {
        { "NAME", COLUMN_LEFT, COLUMN_TEXT },
        { "PLAN", COLUMN_LEFT, COLUMN_TEXT },
        { "ORGANISATION", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "STATE", COLUMN_LEFT },
        { "CREATED", COLUMN_LEFT, COLUMN_SPARE },
        { "ID", COLUMN_LEFT },
    };
    struct json_object *accounts = json_member(answer, "accounts");
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = "No accounts yet: `tidegate account add NAME` makes one.\n";
    for (size_t i = 0; i < json_count(accounts); i++) {
        struct json_object *account = json_item(accounts, i);
        char created[32];
        text_time(json_text(account, "created_at"), created);
        table_cell(&table, json_text(account, "name"));
        table_cell(&table, json_text(account, "plan"));
        table_cell(&table, json_text(account, "organisation"));
        table_cell(&table, json_text(account, "state"));
        table_cell(&table, created);
        table_cell(&table, json_text(account, "id"));
    }
    table_print(&table, output_is_terminal());
}

int
command_account_list(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = { DOOR_ARGUMENTS(&door) };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct json_object *answer = NULL;
    const struct slice target = SLICE("/api/admin/accounts?limit=10000");
    exit_status = door_ask(&door, "GET", target, (struct slice){ 0 }, &answer);
    if (answer) {
        print_accounts(answer);
        if (json_has(answer, "next_after")) {
            (void)cli_fail("these are the first 10000; there are more");
        }
    }
    json_object_put(answer);
    return exit_status;
}
