/* cli/explain.c: tidegate explain: a call that is described, or one that was made, decided before one's eyes. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base/money.h"
#include "base/plural.h"

#define BODY_BYTES_MAX ((size_t)60 << 10) /* the control plane takes 64 KB */

struct explain_options {
    const char *request, *account, *key, *model, *api, *thread, *parent, *body, *body_bytes;
    const char *output_limit, *answers, *organisation, *tags;
    bool no_stream;
};

/* --- The question. */

static void
add_raw(struct buf *body, const char *name, struct slice json)
{
    if (body->len == 0) {
        buf_add_char(body, '{');
    } else {
        body->len--; /* the brace that ended it */
        buf_add_char(body, ',');
    }
    buf_add_json(body, slice_str(name));
    buf_add_char(body, ':');
    buf_add_slice(body, json);
    buf_add_char(body, '}');
}

/* False: what is wrong was said. */
static bool
add_file(struct buf *body, const char *path)
{
    struct buf text = { .limit_bytes = BODY_BYTES_MAX };
    char chunk[4096];
    FILE *file = fopen(path, "r");
    if (!file) {
        (void)cli_fail("--body %s: %s", path, strerror(errno));
        return false;
    }
    for (size_t len = 0; (len = fread(chunk, 1, sizeof(chunk), file)) > 0;) {
        buf_add(&text, chunk, len);
    }
    (void)fclose(file);
    const bool good = !text.failed && slice_starts(slice_trim(buf_slice(&text)), SLICE("{"));
    if (good) {
        add_raw(body, "body", slice_trim(buf_slice(&text)));
    } else {
        (void)cli_fail(
            "--body %s: wanted is a JSON object of up to 60 KB; --body-bytes N stands for a larger one",
            path);
    }
    buf_free(&text);
    return good;
}

/* "team=search,app=web". False: what is wrong was said. */
static bool
add_tags(struct buf *body, const char *list)
{
    struct buf tags = { 0 };
    struct slice rest = slice_str(list);
    struct slice pair = { 0 };
    bool good = true;
    buf_add_char(&tags, '{');
    while (good && slice_split(&rest, ',', &pair)) {
        struct slice name = { 0 };
        const bool has_value = slice_find(pair, SLICE("=")) > 0;
        good = has_value && slice_split(&pair, '=', &name);
        buf_add_str(&tags, tags.len > 1 ? "," : "");
        buf_add_json(&tags, name);
        buf_add_char(&tags, ':');
        buf_add_json(&tags, pair);
    }
    buf_add_char(&tags, '}');
    if (good) {
        add_raw(body, "tags", buf_slice(&tags));
    } else {
        (void)cli_fail("--tags %s: wanted is a list such as team=search,app=web", list);
    }
    buf_free(&tags);
    return good;
}

static bool
question_body(const struct explain_options *options, struct buf *body)
{
    if (options->body && (options->body_bytes || options->model || options->output_limit)) {
        (void)cli_fail(
            "--body says the model, the size and the output limit itself: keep one form");
        return false;
    }
    if (!options->body && !options->model) {
        (void)cli_fail("explain: a REQUEST, or --model and --account of a call to be described");
        return false;
    }
    body_add(body, "account", options->account);
    body_add(body, "key", options->key);
    body_add(body, "model", options->model);
    body_add(body, "api", options->api);
    body_add(body, "thread", options->thread);
    body_add(body, "parent", options->parent);
    body_add(body, "organisation", options->organisation);
    body_add(body, "body_bytes", options->body_bytes);
    body_add(body, "output_limit", options->output_limit);
    body_add(body, "answers", options->answers);
    body_add(body, "stream", options->no_stream ? "false" : NULL);
    return (!options->tags || add_tags(body, options->tags))
           && (!options->body || add_file(body, options->body));
}

/* --- The answer, for people. */

static void
money_of(struct json_object *object, const char *name, char out[40])
{
    money_text(json_number(object, name), out);
}

static void
print_verdict(struct json_object *answer)
{
    const char *verdict = json_text(answer, "verdict");
    if (strcmp(verdict, "allowed") == 0) {
        (void)printf("Allowed: %s pays.\n", json_text(answer, "payer"));
    } else {
        const char *about = json_text(answer, "because_of");
        (void)printf("%s: %s (%s%s%s%s%s)\n",
            strcmp(verdict, "wait") == 0 ? "It would wait" : "Refused",
            json_text(answer, "sentence"), json_text(answer, "reason"),
            json_has(answer, "refused_by") ? ", by the limit " : "",
            json_has(answer, "refused_by") ? json_text(answer, "refused_by") : "",
            about[0] ? ", because of " : "", about);
        if (json_number(answer, "retry_after_ms") > 0) {
            char span[32];
            text_duration(json_number(answer, "retry_after_ms"), span);
            (void)printf("The same call could pass in %s.\n", span);
        }
    }
    if (json_has(answer, "instead_because_of")) {
        (void)printf("It goes to %s instead, because of the limit %s.\n",
            json_text(answer, "model"), json_text(answer, "instead_because_of"));
    }
}

static void
print_hold(struct json_object *answer)
{
    struct json_object *estimate = json_member(answer, "estimate");
    struct json_object *hold = json_member(answer, "hold");
    char held[40];
    char bound[40];
    if (estimate) {
        const int64_t input = json_number(estimate, "input");
        (void)printf("Input: %lld token%s by the estimate '%s', at most %lld.\n", (long long)input,
            plural_s(input), json_text(estimate, "estimator"),
            (long long)json_number(estimate, "input_bound"));
    }
    if (hold) {
        money_of(hold, "held_micros", held);
        money_of(hold, "bound_micros", bound);
        const int64_t output = json_number(hold, "held_output");
        (void)printf("Held: %s at first, with %lld token%s of output; at most %s, with %lld.\n",
            held, (long long)output, plural_s(output), bound,
            (long long)json_number(hold, "bound_output"));
        if (json_has(hold, "output_limit_lowered_to")) {
            const int64_t lowered = json_number(hold, "output_limit_lowered_to");
            (void)printf("Its output limit is lowered to %lld token%s, so that it fits.\n",
                (long long)lowered, plural_s(lowered));
        }
    }
}

static void
print_checks(struct json_object *checks)
{
    (void)printf("\nChecks, in their order\n");
    for (size_t i = 0; i < json_count(checks); i++) {
        struct json_object *check = json_item(checks, i);
        const char *result = json_text(check, "result");
        (void)printf("  %2lld  %-68s %s\n", (long long)json_number(check, "position"),
            json_text(check, "check"), strcmp(result, "not_reached") == 0 ? "-" : result);
    }
}

static void
print_routes(struct json_object *routes)
{
    (void)printf("\nRoutes\n");
    for (size_t i = 0; i < json_count(routes); i++) {
        struct json_object *route = json_item(routes, i);
        (void)printf("  %s (%s): %s%s\n", json_text(route, "provider"), json_text(route, "model"),
            json_flag(route, "taken")  ? "taken"
            : json_flag(route, "open") ? "open"
                                       : "closed for this call",
            json_flag(route, "priced") ? "" : ", unpriced");
    }
}

static const struct column limit_columns[] = {
    { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
    { "WHOSE", COLUMN_LEFT, COLUMN_TEXT },
    { "SETTLED", COLUMN_RIGHT },
    { "HELD", COLUMN_RIGHT, COLUMN_SPARE },
    { "CAP", COLUMN_RIGHT },
    { "CAP FROM", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "ASK", COLUMN_RIGHT },
    { "FITS", COLUMN_LEFT, COLUMN_TEXT },
    { "RESETS (UTC)", COLUMN_LEFT, COLUMN_SPARE },
};

static void
cell_amount(struct table *table, struct json_object *limit, const char *name)
{
    if (!json_has(limit, name)) {
        table_cell(table, "");
    } else if (strcmp(json_text(limit, "unit"), "percent") == 0) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%lld %%", (long long)json_number(limit, name));
        table_cell(table, text);
    } else if (strcmp(json_text(limit, "unit"), "micro_usd") == 0) {
        table_cell_money(table, json_number(limit, name));
    } else {
        table_cell_i64(table, json_number(limit, name));
    }
}

static void
print_limit(struct table *table, struct json_object *limit)
{
    char whose[200];
    char from[200];
    char resets[32];
    const bool raised = json_number(limit, "raised") > 0;
    (void)snprintf(whose, sizeof(whose), "%s%s%s", json_text(limit, "subject_kind"),
        json_has(limit, "subject") ? " " : "",
        json_has(limit, "subject") ? json_text(limit, "subject") : "");
    (void)snprintf(from, sizeof(from), "%s%s%s%s", json_text(limit, "cap_from"),
        json_has(limit, "cap_group") ? " " : "",
        json_has(limit, "cap_group") ? json_text(limit, "cap_group") : "",
        raised ? ", raised" : "");
    text_time(json_has(limit, "resets_at") ? json_text(limit, "resets_at") : "", resets);
    table_cell(table, json_text(limit, "limit"));
    table_cell(table, whose);
    cell_amount(table, limit, json_has(limit, "reported") ? "percent" : "settled");
    cell_amount(table, limit, "held");
    cell_amount(table, limit, "cap");
    table_cell(table, from);
    cell_amount(table, limit, "ask");
    table_cell(table, !json_flag(limit, "counts_this_route") ? "not counted"
                      : json_flag(limit, "fits")             ? "yes"
                      : json_flag(limit, "enforced")         ? "no"
                                                             : "no, but stops nothing");
    table_cell(table, resets);
}

static void
print_limits(struct json_object *limits)
{
    struct table table;
    (void)printf("\nLimits in force, in the order of the checks\n");
    if (json_count(limits) == 0) {
        (void)printf("  none\n");
        return;
    }
    table_start(&table, limit_columns, countof(limit_columns));
    for (size_t i = 0; i < json_count(limits); i++) {
        print_limit(&table, json_item(limits, i));
    }
    (void)fflush(stdout);
    table_print(&table, output_is_terminal());
}

static void
print_answer(struct json_object *answer)
{
    print_verdict(answer);
    print_hold(answer);
    print_checks(json_member(answer, "checks"));
    if (json_has(answer, "routes")) {
        print_routes(json_member(answer, "routes"));
    }
    print_limits(json_member(answer, "limits"));
}

/* --- A call that was made. */

static const struct column past_columns[] = {
    { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
    { "SETTLED", COLUMN_RIGHT },
    { "HELD", COLUMN_RIGHT, COLUMN_SPARE },
    { "CAP", COLUMN_RIGHT },
    { "CAP FROM", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    { "ASK", COLUMN_RIGHT },
    { "FITS", COLUMN_LEFT, COLUMN_TEXT },
};

static void
print_past_limit(struct table *table, struct json_object *limit)
{
    char name[300];
    const bool renamed = json_has(limit, "renamed_to");
    (void)snprintf(name, sizeof(name), "%s%s%s", json_text(limit, "limit"), renamed ? ", now " : "",
        renamed ? json_text(limit, "renamed_to") : "");
    table_cell(table, name);
    cell_amount(table, limit, "settled");
    cell_amount(table, limit, "held");
    cell_amount(table, limit, "cap");
    table_cell(table, json_text(limit, "cap_from"));
    cell_amount(table, limit, "ask");
    table_cell(table, !json_flag(limit, "known") ? "configured no more"
                      : json_flag(limit, "fits") ? "yes"
                                                 : "no");
}

/* What the call went through on its way to its decision. */
static void
print_way(struct json_object *decision)
{
    char waited[32];
    if (json_number(decision, "waited_ms") > 0) {
        text_duration(json_number(decision, "waited_ms"), waited);
        (void)printf("It had waited %s in line by then.\n", waited);
    }
    if (json_has(decision, "substituted_by")) {
        (void)printf("It was asked for as %s, and went elsewhere because of the limit %s.\n",
            json_text(decision, "substitute_for"), json_text(decision, "substituted_by"));
    }
    if (json_has(decision, "substitute_tried")) {
        (void)printf("Instead, %s was tried, and refused, too (%s).\n",
            json_text(decision, "substitute_tried"), json_text(decision, "substitute_refused"));
    }
    if (json_has(decision, "because_of")) {
        (void)printf("It was refused because of '%s': with it, its cost cannot be bounded.\n",
            json_text(decision, "because_of"));
    }
    if (json_has(decision, "output_limit_lowered_to")) {
        const int64_t lowered = json_number(decision, "output_limit_lowered_to");
        (void)printf("Its output limit was lowered to %lld token%s, so that it fit.\n",
            (long long)lowered, plural_s(lowered));
    }
}

static void
print_decision(struct json_object *decision)
{
    struct json_object *limits = json_member(decision, "limits");
    const char *was = json_text(decision, "was");
    const bool same = json_flag(decision, "same_configuration");
    (void)printf("Decided again from what the ledger recorded: %s, %s then.\n",
        json_text(decision, "again"),
        json_flag(decision, "agrees") ? "as"
        : strcmp(was, "allowed") == 0 ? "but allowed"
                                      : "but refused");
    (void)printf(
        same
            ? "It was decided by the configuration that is in force; prices are those of %s.\n"
            : "It was decided by another configuration than the one in force, by whose limits it is\n"
              "judged here, on amounts and caps as recorded; prices are those of %s.\n",
        json_text(decision, "prices_of"));
    if (!json_flag(decision, "agrees")) {
        (void)printf(
            "By its amounts alone it would be decided otherwise: %sothers waited before it,\n"
            "or it was refused for what it was.\n",
            same ? "" : "the configuration has changed, ");
    }
    print_way(decision);
    print_hold(decision);
    if (json_count(limits) > 0) {
        struct table table;
        (void)printf("\nLimits as they stood\n");
        (void)fflush(stdout);
        table_start(&table, past_columns, countof(past_columns));
        for (size_t i = 0; i < json_count(limits); i++) {
            print_past_limit(&table, json_item(limits, i));
        }
        table_print(&table, output_is_terminal());
    }
}

static bool
has_flag(struct json_object *row, const char *flag)
{
    struct json_object *flags = json_member(row, "flags");
    for (size_t i = 0; i < json_count(flags); i++) {
        if (strcmp(json_object_get_string(json_item(flags, i)), flag) == 0) {
            return true;
        }
    }
    return false;
}

static void
print_rows(struct json_object *rows)
{
    for (size_t i = json_count(rows); i-- > 0;) {
        struct json_object *row = json_item(rows, i);
        char at[32];
        char cost[40];
        text_time(json_text(row, "at"), at);
        money_text(json_number(row, "cost_micros"), cost);
        (void)printf("%s  %s of %s%s%s", at, json_text(row, "kind"), json_text(row, "account"),
            json_has(row, "model") ? ", " : "", json_text(row, "model"));
        if (json_has(row, "provider")) {
            (void)printf(" by %s", json_text(row, "provider"));
        }
        if (json_has(row, "usage")) {
            (void)printf(": %s", cost);
        }
        (void)printf(json_has(row, "reason") ? " (%s)\n" : "%s\n",
            json_has(row, "reason") ? json_text(row, "reason") : "");
        if (has_flag(row, "cut")) {
            (void)printf("  Its answer was cut short: no room was left for the rest of it, or its "
                         "provider broke off.\n");
        }
    }
}

static int
explain_past(struct door *door, const char *request)
{
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/v1/requests/");
    path_add(&target, request);
    const int exit_status = door_ask(door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    buf_free(&target);
    if (answer) {
        const int64_t count = json_number(answer, "refused_count");
        (void)printf("%s is %s.\n", json_text(answer, "request"),
            strcmp(json_text(answer, "state"), "in_flight") == 0 ? "in flight" : "over");
        print_rows(json_member(answer, "rows"));
        if (count > 1) {
            (void)printf("The same was refused %lld times in that minute.\n", (long long)count);
        }
        if (json_has(answer, "decision")) {
            print_decision(json_member(answer, "decision"));
        }
    }
    json_object_put(answer);
    return exit_status;
}

static int
explain_call(struct door *door, const struct explain_options *options)
{
    struct buf body = { 0 };
    struct json_object *answer = NULL;
    int exit_status = EXIT_USAGE;
    if (question_body(options, &body)) {
        exit_status = door_ask(door, "POST", SLICE("/api/v1/explain"), buf_slice(&body), &answer);
    }
    if (answer) {
        print_answer(answer);
    }
    json_object_put(answer);
    buf_free(&body);
    return exit_status;
}

int
command_explain(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    struct explain_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "REQUEST", ARGUMENT_WORD, &options.request, false },
        { "--account", ARGUMENT_TEXT, &options.account, false },
        { "--key", ARGUMENT_TEXT, &options.key, false },
        { "--model", ARGUMENT_TEXT, &options.model, false },
        { "--api", ARGUMENT_TEXT, &options.api, false },
        { "--thread", ARGUMENT_TEXT, &options.thread, false },
        { "--parent", ARGUMENT_TEXT, &options.parent, false },
        { "--body", ARGUMENT_TEXT, &options.body, false },
        { "--body-bytes", ARGUMENT_TEXT, &options.body_bytes, false },
        { "--output-limit", ARGUMENT_TEXT, &options.output_limit, false },
        { "--answers", ARGUMENT_TEXT, &options.answers, false },
        { "--organisation", ARGUMENT_TEXT, &options.organisation, false },
        { "--tags", ARGUMENT_TEXT, &options.tags, false },
        { "--no-stream", ARGUMENT_FLAG, &options.no_stream, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    const bool described = options.model || options.body || options.account || options.key;
    if (options.request && described) {
        (void)cli_fail(
            "explain: a REQUEST is told by itself: no description of a call goes with it");
        return EXIT_USAGE;
    }
    return options.request ? explain_past(&door, options.request) : explain_call(&door, &options);
}
