/* cli/prune.c: tidegate ledger prune: asks again and again until no old row is left. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"
#include "base/plural.h"

struct prune_options {
    const char *before;
    bool dry_run;
};

static bool
prune_body(const struct prune_options *options, struct buf *body)
{
    int64_t at_ms = 0;
    char text[32];
    if (!text_parse_when(slice_str(options->before), clock_wall_ms(), -1, &at_ms)) {
        (void)cli_fail(
            "--before %s: wanted is a span such as 400d, a date such as 2026-01-01, or an RFC 3339 time",
            options->before);
        return false;
    }
    civil_rfc3339(at_ms, true, text);
    body_add(body, "before", text);
    body_add(body, "dry_run", options->dry_run ? "true" : NULL);
    return true;
}

static void
print_dry_run(struct json_object *answer)
{
    char cost[40];
    char before[32];
    money_text(json_number(answer, "cost_micros"), cost);
    text_time(json_text(answer, "before"), before);
    const int64_t rows = json_number(answer, "rows");
    (void)printf("%lld row%s of before %s (UTC) would go; %s was booked by %s.\n", (long long)rows,
        plural_s(rows), before, cost, rows == 1 ? "it" : "them");
}

static void
print_done(const struct door *door, int64_t rows, struct json_object *answer)
{
    if (door->json) {
        (void)printf("{\"before\":\"%s\",\"dry_run\":false,\"rows\":%lld,\"done\":true}\n",
            json_text(answer, "before"), (long long)rows);
    } else {
        (void)printf("%lld row%s %s deleted.\n", (long long)rows, plural_s(rows), plural_are(rows));
    }
}

static int
prune_all(struct door *door, struct slice body)
{
    struct progress progress;
    const bool json = door->json;
    int64_t rows = 0;
    bool done = false;
    int exit_status = EXIT_OK;
    door->json = false; /* answers are summed up here */
    progress_start(&progress, "deleting");
    while (exit_status == EXIT_OK && !done) {
        struct json_object *answer = NULL;
        exit_status = door_ask(door, "POST", SLICE("/api/admin/ledger/prune"), body, &answer);
        if (exit_status == EXIT_OK) {
            rows += json_number(answer, "rows");
            done = json_flag(answer, "done");
            progress_show(&progress, "ledger", rows, 0);
        }
        if (done) {
            progress_end(&progress);
            door->json = json;
            print_done(door, rows, answer);
        }
        json_object_put(answer);
    }
    progress_end(&progress);
    return exit_status;
}

int
command_ledger_prune(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct prune_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--before", ARGUMENT_TEXT, &options.before, true },
        { "--dry-run", ARGUMENT_FLAG, &options.dry_run, false },
        DOOR_ARGUMENTS(&door),
    };
    struct buf body = { 0 };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (!prune_body(&options, &body)) {
        buf_free(&body);
        return EXIT_USAGE;
    }
    if (options.dry_run) {
        struct json_object *answer = NULL;
        exit_status =
            door_ask(&door, "POST", SLICE("/api/admin/ledger/prune"), buf_slice(&body), &answer);
        if (answer) {
            print_dry_run(answer);
        }
        json_object_put(answer);
    } else {
        exit_status = prune_all(&door, buf_slice(&body));
    }
    buf_free(&body);
    return exit_status;
}
