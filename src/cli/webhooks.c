/* cli/webhooks.c: tidegate webhooks: whether they take what they are sent, and a message to try one. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define TEST_WAIT_MS  20000 /* for the first try, which has 15 s */
#define TEST_PAUSE_US 100000

static void
print_webhooks(struct json_object *hooks)
{
    static const struct column columns[] = {
        { "NAME", COLUMN_LEFT, COLUMN_TEXT },
        { "STATE", COLUMN_LEFT },
        { "HOST", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "EVENTS", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "WAITING", COLUMN_RIGHT },
        { "TRIES", COLUMN_RIGHT, COLUMN_SPARE },
        { "NEXT TRY (UTC)", COLUMN_LEFT, COLUMN_SPARE },
        { "LAST ERROR", COLUMN_LEFT, COLUMN_TEXT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = "The configuration has no webhooks.\n";
    for (size_t i = 0; i < json_count(hooks); i++) {
        struct json_object *hook = json_item(hooks, i);
        struct json_object *events = json_member(hook, "events");
        struct buf words = { 0 };
        char next[32] = "";
        for (size_t k = 0; k < json_count(events); k++) {
            buf_add_str(&words, k ? " " : "");
            buf_add_str(&words, json_object_get_string(json_item(events, k)));
        }
        text_time(json_text(hook, "next_try_at"), next);
        table_cell(&table, json_text(hook, "name"));
        table_cell(&table, json_text(hook, "state"));
        table_cell(&table, json_text(hook, "host"));
        table_cell(&table, buf_cstr(&words));
        table_cell_i64(&table, json_number(hook, "waiting"));
        table_cell_i64(&table, json_number(hook, "attempts"));
        table_cell(&table, next);
        table_cell(&table, json_text(hook, "last_error"));
        buf_free(&words);
    }
    table_print(&table, output_is_terminal());
}

int
command_webhooks(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = { DOOR_ARGUMENTS(&door) };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct json_object *answer = NULL;
    exit_status =
        door_ask(&door, "GET", SLICE("/api/admin/webhooks"), (struct slice){ 0 }, &answer);
    if (answer) {
        print_webhooks(json_member(answer, "webhooks"));
    }
    json_object_put(answer);
    return exit_status;
}

/* --- A test of one. */

static int
ask_delivery(struct door *door, const char *delivery, struct json_object **answer)
{
    struct buf target = { 0 };
    buf_add_str(&target, "/api/admin/webhooks");
    query_add(&target, "delivery", delivery);
    const int exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, answer);
    buf_free(&target);
    return exit_status;
}

static int
tell_test(const char *name, const char *delivery, const char *state, const char *error, bool json)
{
    const bool taken = strcmp(state, "gone") == 0;
    if (json) {
        struct buf out = { 0 };
        body_add(&out, "webhook", name);
        body_add(&out, "delivery", delivery);
        body_add(&out, "state", taken ? "taken" : state);
        body_add(&out, "error", error[0] ? error : NULL);
        buf_add_char(&out, '\n');
        text_print(&out);
        buf_free(&out);
    } else if (taken) {
        (void)printf("%s took %s.\n", name, delivery);
    } else if (error[0]) {
        (void)cli_fail("%s did not take %s: %s; it is tried again", name, delivery, error);
    } else {
        (void)cli_fail("%s has not answered %s yet; look with tidegate webhooks", name, delivery);
    }
    return taken ? EXIT_OK : EXIT_FAILED;
}

/* Until it was tried once. */
static int
await_test(struct door *door, const char *name, const char *delivery, bool json)
{
    const int64_t until_mono_ms = clock_mono_ms() + TEST_WAIT_MS;
    for (;;) {
        struct json_object *answer = NULL;
        int exit_status = ask_delivery(door, delivery, &answer);
        if (exit_status != EXIT_OK) {
            return exit_status;
        }
        struct json_object *found = json_member(answer, "delivery");
        const bool over =
            strcmp(json_text(found, "state"), "waiting") != 0 || clock_mono_ms() >= until_mono_ms;
        if (over) {
            exit_status = tell_test(
                name, delivery, json_text(found, "state"), json_text(found, "last_error"), json);
        }
        json_object_put(answer);
        if (over) {
            return exit_status;
        }
        (void)usleep(TEST_PAUSE_US);
    }
}

int
command_webhooks_test(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli, .gateway_only = true };
    const char *name = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "NAME", ARGUMENT_WORD, &name, true },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    const bool json = door.json;
    struct json_object *answer = NULL;
    struct buf target = { 0 };
    char delivery[32] = "";
    door.json = false; /* told at the end */
    buf_add_str(&target, "/api/admin/webhooks/");
    path_add(&target, name);
    buf_add_str(&target, "/test");
    exit_status = door_ask(&door, "POST", buf_slice(&target), (struct slice){ 0 }, &answer);
    buf_free(&target);
    if (exit_status == EXIT_OK) {
        (void)slice_to_cstr(slice_str(json_text(answer, "delivery")), delivery, sizeof(delivery));
        exit_status = await_test(&door, name, delivery, json);
    }
    json_object_put(answer);
    return exit_status;
}
