/* cli/key.c: tidegate key add | list | revoke. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"

struct key_options {
    const char *account, *role, *expires, *label, *may_act_for;
    bool thread_required;
};

/* The request's body; false when --expires makes no sense. */
static bool
key_body(const struct key_options *options, struct buf *body)
{
    body_add(body, "account", options->account);
    body_add(body, "role", options->role);
    body_add(body, "label", options->label);
    body_add(body, "may_act_for", options->may_act_for);
    body_add(body, "thread_required", options->thread_required ? "true" : NULL);
    if (options->expires) {
        int64_t at_ms = 0;
        char text[32];
        if (!text_parse_when(slice_str(options->expires), clock_wall_ms(), 1, &at_ms)) {
            (void)cli_fail(
                "--expires %s: wanted is a span such as 90d, a date such as 2027-03-31, or an "
                "RFC 3339 time",
                options->expires);
            return false;
        }
        civil_rfc3339(at_ms, true, text);
        body_add(body, "expires_at", text);
    }
    return true;
}

static int
print_key(struct json_object *answer)
{
    char expires[32];
    text_time(json_text(answer, "expires_at"), expires);
    if (!json_has(answer, "key")) { /* asked for again after the connection was lost */
        return cli_fail("%s was made for account '%s', but the answer with its secret was lost: "
                        "revoke it and make another",
            json_text(answer, "id"), json_text(answer, "account"));
    }
    (void)printf("%s\n", json_text(answer, "key"));
    (void)fflush(stdout);
    /* Beside the secret, so that `$(tidegate key add ...)` is the secret alone. */
    (void)fprintf(stderr,
        "This is %s of account '%s' (role %s%s%s). It is shown this once: keep it now.\n",
        json_text(answer, "id"), json_text(answer, "account"), json_text(answer, "role"),
        expires[0] ? ", until " : "", expires);
    return EXIT_OK;
}

int
command_key_add(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct key_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "ACCOUNT", ARGUMENT_WORD, &options.account, true },
        { "--role", ARGUMENT_TEXT, &options.role, false },
        { "--expires", ARGUMENT_TEXT, &options.expires, false },
        { "--label", ARGUMENT_TEXT, &options.label, false },
        { "--may-act-for", ARGUMENT_TEXT, &options.may_act_for, false },
        { "--thread-required", ARGUMENT_FLAG, &options.thread_required, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf body = { 0 };
    struct json_object *answer = NULL;
    if (!key_body(&options, &body)) {
        buf_free(&body);
        return EXIT_USAGE;
    }
    exit_status = door_ask(&door, "POST", SLICE("/api/admin/keys"), buf_slice(&body), &answer);
    if (answer) {
        exit_status = print_key(answer);
    }
    json_object_put(answer);
    buf_free(&body);
    return exit_status;
}

static void
print_keys(struct json_object *answer)
{
    static const struct column columns[] = {
        { "ID", COLUMN_LEFT },
        { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT },
        { "ROLE", COLUMN_LEFT },
        { "STATE", COLUMN_LEFT },
        { "BEGINS", COLUMN_LEFT, COLUMN_SPARE },
        { "LABEL", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "EXPIRES", COLUMN_LEFT },
        { "MAY ACT FOR", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    };
    struct json_object *keys = json_member(answer, "keys");
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = "No keys yet: `tidegate key add ACCOUNT` makes one.\n";
    for (size_t i = 0; i < json_count(keys); i++) {
        struct json_object *key = json_item(keys, i);
        char expires[32];
        text_time(json_text(key, "expires_at"), expires);
        table_cell(&table, json_text(key, "id"));
        table_cell(&table, json_text(key, "account"));
        table_cell(&table, json_text(key, "role"));
        table_cell(&table, json_text(key, "state"));
        table_cell(&table, json_text(key, "shown"));
        table_cell(&table, json_text(key, "label"));
        table_cell(&table, expires[0] ? expires : "never");
        table_cell(&table, json_text(key, "may_act_for"));
    }
    table_print(&table, output_is_terminal());
}

int
command_key_list(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *account = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "ACCOUNT", ARGUMENT_WORD, &account, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/admin/keys?limit=10000");
    query_add(&target, "account", account);
    exit_status = door_ask(&door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        print_keys(answer);
        if (json_has(answer, "next_after")) {
            (void)cli_fail("these are the first 10000; there are more: name an account");
        }
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}

int
command_key_revoke(struct cli *cli, int argc, char **argv)
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
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/admin/keys/");
    path_add(&target, id);
    buf_add_str(&target, "/revoke");
    exit_status = door_ask(&door, "POST", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        (void)printf("%s is revoked; it is refused from now on.\n", json_text(answer, "id"));
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}
