/* cli/account_limit.c: tidegate account limit: what an account may spend, and caps set for it alone. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"

struct limit_options {
    const char *name, *limit, *set, *raise, *during;
    bool unset, unraise;
};

/* False: what is wrong was said. */
static bool
judge(const struct limit_options *options)
{
    const int changes =
        (options->set != NULL) + (options->raise != NULL) + options->unset + options->unraise;
    if (changes > 1) {
        (void)cli_fail(
            "account limit: --set, --unset, --raise and --unraise are four changes: keep one");
        return false;
    }
    if (options->raise && !options->during) {
        (void)cli_fail("account limit: --raise wants --for: how long it lasts, such as 2h");
        return false;
    }
    if (options->during && !options->raise && !options->set) {
        (void)cli_fail("account limit: --for goes with --raise or --set");
        return false;
    }
    return true;
}

/* --- Showing. */

static void
print_amount(struct json_object *answer, const char *word)
{
    char money[40];
    if (json_has(answer, "spend_limit_micros")) {
        money_text(json_number(answer, "spend_limit_micros"), money);
        (void)printf("%s%s", word, money);
    } else if (json_has(answer, "amount")) {
        (void)printf("%s%lld", word, (long long)json_number(answer, "amount"));
    } else {
        (void)printf("%sunlimited", word);
    }
}

static void
print_raise(struct json_object *answer)
{
    char amount[40];
    char until[32];
    if (json_has(answer, "raise_micros")) {
        money_text(json_number(answer, "raise_micros"), amount);
    } else if (json_has(answer, "raise")) {
        (void)snprintf(amount, sizeof(amount), "%lld", (long long)json_number(answer, "raise"));
    } else {
        return;
    }
    text_time(json_text(answer, "raise_expires_at"), until);
    (void)printf(". %s of it is a raise%s%s%s", amount, until[0] ? " until " : "", until,
        until[0] ? " (UTC)" : "");
}

static void
print_status(const char *name, struct json_object *answer)
{
    char used[40];
    char end[32];
    if (!json_flag(answer, "is_limited")) {
        (void)printf("Account '%s' is not limited.%s", name,
            json_has(answer, "limit") ? " What follows is only watched.\n" : "\n");
    }
    if (!json_has(answer, "limit")) {
        return;
    }
    const bool money = json_has(answer, "spend_limit_micros");
    money_text(json_number(answer, "current_spend"), used);
    text_time(json_text(answer, "period_end"), end);
    if (!money) {
        (void)snprintf(used, sizeof(used), "%lld", (long long)json_number(answer, "current_spend"));
    }
    (void)printf("Account '%s' has used %s of ", name, used);
    print_amount(answer, "");
    (void)printf(" (limit '%s', a %s, by: %s%s%s)", json_text(answer, "limit"),
        json_text(answer, "period"), json_text(answer, "tier"),
        json_has(answer, "group_name") ? " " : "", json_text(answer, "group_name"));
    if (end[0]) {
        (void)printf("; it begins anew at %s (UTC)", end);
    }
    print_raise(answer);
    (void)printf(".\n");
}

static int
show(struct door *door, const struct limit_options *options)
{
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/v1/usage-limits/status");
    query_add(&target, "account", options->name);
    query_add(&target, "limit", options->limit);
    const int exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        print_status(options->name, answer);
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}

/* --- Changing. */

static void
print_change(const struct limit_options *options, struct json_object *answer)
{
    char until[32];
    char money[40];
    text_time(json_text(answer, "expires_at"), until);
    if (options->unset || options->unraise) {
        (void)printf("What was set for account '%s' is taken back.\n", options->name);
        return;
    }
    (void)printf("The limit '%s' of account '%s' is ", json_text(answer, "limit"), options->name);
    if (options->raise && json_has(answer, "raise_micros")) {
        money_text(json_number(answer, "raise_micros"), money);
        (void)printf("raised by %s", money);
    } else if (options->raise) {
        (void)printf("raised by %lld", (long long)json_number(answer, "raise"));
    } else {
        print_amount(answer, "");
    }
    (void)printf(until[0] ? " until %s (UTC).\n" : " from now on.\n", until);
}

/* False: what is wrong was said. */
static bool
change_body(const struct limit_options *options, struct buf *body)
{
    int64_t span_ms = 0;
    char until[32];
    const char *amount = options->raise ? options->raise : options->set;
    if (!amount) {
        return true;
    }
    if (options->set && strcmp(options->set, "unlimited") == 0) {
        body_add_null(body, "spend_limit_micros"); /* whichever of the two this limit counts */
        body_add_null(body, "amount");
    } else if (!amount_add(body,
                   &(struct amount){ .command = "account limit",
                       .option = options->raise ? "--raise" : "--set",
                       .text = amount },
                   options->raise ? "raise_micros" : "spend_limit_micros", "amount")) {
        return false;
    }
    body_add(body, "limit", options->limit);
    if (options->during) {
        if (!text_parse_duration(slice_str(options->during), &span_ms) || span_ms <= 0) {
            (void)cli_fail("account limit: --for wants a span such as 2h or 7d; this is '%s'",
                options->during);
            return false;
        }
        civil_rfc3339(clock_wall_ms() + span_ms, true, until);
        body_add(body, "expires", until);
    }
    return true;
}

static int
change(struct door *door, const struct limit_options *options)
{
    struct buf target = { 0 };
    struct buf body = { 0 };
    struct json_object *answer = NULL;
    int exit_status = EXIT_USAGE;
    const bool back = options->unset || options->unraise;
    buf_addf(&target, "/api/v1/usage-limits/%s/",
        options->raise || options->unraise ? "raises" : "overrides");
    path_add(&target, options->name);
    if (back) {
        query_add(&target, "limit", options->limit);
    }
    if (change_body(options, &body)) {
        exit_status =
            door_ask(door, back ? "DELETE" : "PUT", buf_slice(&target), buf_slice(&body), &answer);
    }
    if (answer) {
        print_change(options, answer);
    }
    json_object_put(answer);
    buf_free(&target);
    buf_free(&body);
    return exit_status;
}

int
command_account_limit(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct limit_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "NAME", ARGUMENT_WORD, &options.name, true },
        { "--limit", ARGUMENT_TEXT, &options.limit, false },
        { "--set", ARGUMENT_TEXT, &options.set, false },
        { "--unset", ARGUMENT_FLAG, &options.unset, false },
        { "--raise", ARGUMENT_TEXT, &options.raise, false },
        { "--unraise", ARGUMENT_FLAG, &options.unraise, false },
        { "--for", ARGUMENT_TEXT, &options.during, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (!judge(&options)) {
        return EXIT_USAGE;
    }
    door.amount = options.raise ? "--raise" : NULL;
    const bool changes = options.set || options.raise || options.unset || options.unraise;
    return changes ? change(&door, &options) : show(&door, &options);
}
