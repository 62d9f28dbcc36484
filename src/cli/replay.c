/* cli/replay.c: tidegate replay: recorded calls under another configuration: who would have been refused, by which
 * limit, when, and what that is in money. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/money.h"
#include "base/plural.h"
#include "engine/replay.h"
#include "store/scan.h"
#include "wire/recorded.h"

#define SINCE_DEFAULT "30d"

struct replay_options {
    const char *config, *store, *control, *current, *since, *until;
    bool json, csv;
};

struct reading {
    struct replay *replay;
    struct progress progress;
    struct recorded_call call; /* large */
    bool failed;
};

static void
on_limit_def(void *user, const struct limit_def_row *row)
{
    struct reading *reading = user;
    reading->failed = reading->failed || !replay_limit(reading->replay, row);
}

static void
on_account(void *user, const struct account_row *row)
{
    struct reading *reading = user;
    reading->failed = reading->failed || !replay_account(reading->replay, row);
}

static void
on_key(void *user, const struct key_row *row)
{
    struct reading *reading = user;
    reading->failed = reading->failed || !replay_key(reading->replay, row);
}

static void
on_subject(void *user, const struct subject_row *row)
{
    struct reading *reading = user;
    reading->failed = reading->failed || !replay_subject(reading->replay, row);
}

static void
on_ledger(void *user, const struct ledger_row *row)
{
    struct reading *reading = user;
    const bool told = row->inputs.len > 0 && recorded_read(row->inputs, &reading->call);
    reading->failed =
        reading->failed || !replay_row(reading->replay, row, told ? &reading->call : NULL);
}

static bool
on_reading(void *user, const char *doing, int64_t done, int64_t total)
{
    struct reading *reading = user;
    progress_show(&reading->progress, doing, done, total);
    return !reading->failed;
}

static bool
on_calls(void *user, int64_t done, int64_t total)
{
    progress_show(user, "calls", done, total);
    return true;
}

/* --- Times. */

/* False: what is wrong was said. */
static bool
parse_time(const char *option, const char *text, int64_t *at_ms)
{
    if (text_parse_when(slice_str(text), clock_wall_ms(), -1, at_ms)) {
        return true;
    }
    (void)cli_fail(
        "%s %s: wanted is a span such as 30d, a date such as 2026-11-01, or an RFC 3339 time",
        option, text);
    return false;
}

static void
minute_text(int64_t at_ms, char out[32])
{
    char rfc3339[32];
    civil_rfc3339(at_ms, false, rfc3339);
    text_time(rfc3339, out);
}

/* --- The report. */

static const char *
group_by(const struct replay_group *group)
{
    return group->limit[0] ? group->limit : reason_row(group->reason)->code;
}

static void
print_money(const char *what, int64_t micros)
{
    char text[40];
    money_text(micros, text);
    (void)printf("  %-44s %14s\n", what, text);
}

/* Whose calls are refused, or end early: of those no reason is told, there is but one. */
static void
print_groups(const struct replay_group *groups, int32_t count, bool ended)
{
    const struct column columns[] = {
        { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT },
        { ended ? "ENDED BY" : "REFUSED BY", COLUMN_LEFT, COLUMN_TEXT },
        { "CALLS", COLUMN_RIGHT },
        { ended ? "NOT SPENT" : "COST", COLUMN_RIGHT },
        { "FIRST (UTC)", COLUMN_LEFT, COLUMN_SPARE },
        { "LAST (UTC)", COLUMN_LEFT, COLUMN_SPARE },
        { "REASON", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
    };
    struct table table;
    table_start(&table, columns, (int)countof(columns) - ended);
    for (int32_t i = 0; i < count; i++) {
        const struct replay_group *group = &groups[i];
        char first[32];
        char last[32];
        minute_text(group->first_ms, first);
        minute_text(group->last_ms, last);
        table_cell(&table, group->account);
        table_cell(&table, group_by(group));
        table_cell_i64(&table, group->count);
        table_cell_money(&table, group->cost_micros);
        table_cell(&table, first);
        table_cell(&table, last);
        if (!ended) {
            table_cell(&table, reason_row(group->reason)->code);
        }
    }
    (void)fflush(stdout);
    table_print(&table, output_is_terminal());
}

/* What the report does not stand on. */
static void
print_gaps(const struct replay_report *report, const struct store_scan *scan)
{
    if (report->asks_unknown > 0) {
        (void)printf("%lld more were left out: too little is recorded of them.\n",
            (long long)report->asks_unknown);
    }
    if (report->reports_unknown > 0) {
        (void)printf(
            "Not replayed: what providers reported is not recorded for %lld call%s; limits on "
            "it stopped none of them.\n",
            (long long)report->reports_unknown, plural_s(report->reports_unknown));
    }
    if (scan->kept_from_ms > report->since_ms) {
        char kept[32];
        minute_text(scan->kept_from_ms, kept);
        (void)printf(
            "The ledger is whole from %s on; what was deleted before is not counted.\n", kept);
    }
}

static void
print_report(const struct replay_report *report, const struct store_scan *scan)
{
    char since[32];
    char until[32] = "";
    const bool ends = report->until_ms != INT64_MAX;
    minute_text(report->since_ms, since);
    if (ends) {
        minute_text(report->until_ms, until);
    }
    (void)printf("%lld call%s since %s%s%s (UTC), as %s made:\n", (long long)report->calls,
        plural_s(report->calls), since, ends ? " and before " : "", until,
        report->calls == 1 ? "it was" : "they were");
    (void)printf("  %lld would be allowed, %lld refused", (long long)report->allowed,
        (long long)report->refused);
    (void)printf(
        "; %lld would wait first, %lld with a lower output limit, %lld with another model.\n",
        (long long)report->waited, (long long)report->lowered, (long long)report->rerouted);
    if (report->ended_early > 0) {
        (void)printf("  %lld of those allowed would have ended early, with shorter answers.\n",
            (long long)report->ended_early);
    }
    (void)printf("%lld kind%s of refusals of then, asked once each: %lld would pass now.\n",
        (long long)report->asks_refused, plural_s(report->asks_refused),
        (long long)report->asks_allowed);
    print_gaps(report, scan);
    (void)printf("\nMoney\n");
    print_money("booked for these calls", report->cost_before_micros);
    print_money("of it, for calls that would be refused", report->cost_refused_micros);
    print_money("at the prices of that configuration", report->cost_after_micros);
    print_money("the difference", report->cost_after_micros - report->cost_before_micros);
    if (report->ended_early > 0) {
        print_money("not spent, by answers that end early", report->cost_unspent_micros);
    }
    if (report->asks_allowed > 0) {
        print_money("beside it, refusals that would pass (estimated)", report->cost_asks_micros);
    }
    if (report->group_count > 0) {
        (void)printf("\nWho would be refused\n");
        print_groups(report->groups, report->group_count, false);
    }
    if (report->ended_group_count > 0) {
        (void)printf("\nWhose answers would end early\n");
        print_groups(report->ended_groups, report->ended_group_count, true);
    }
}

static void
json_time(struct buf *out, const char *name, int64_t at_ms)
{
    char text[32];
    civil_rfc3339(at_ms, true, text);
    buf_addf(out, ",\"%s\":\"%s\"", name, text);
}

static void
json_number_of(struct buf *out, const char *name, int64_t value)
{
    buf_addf(out, ",\"%s\":%lld", name, (long long)value);
}

/* Opens an object. */
static void
json_group_of(struct buf *out, const struct replay_group *group)
{
    buf_add_str(out, "{\"account\":");
    buf_add_json(out, slice_str(group->account));
    buf_add_str(out, ",\"limit\":");
    if (group->limit[0]) {
        buf_add_json(out, slice_str(group->limit));
    } else {
        buf_add_str(out, "null");
    }
}

static void
json_reason(struct buf *out, const struct replay_group *group)
{
    buf_addf(out, ",\"reason\":\"%s\"", reason_row(group->reason)->code);
}

static void
json_groups(struct buf *out, const struct replay_group *groups, int32_t count, bool ended)
{
    buf_addf(out, ",\"%s\":[", ended ? "ended_early" : "groups");
    for (int32_t i = 0; i < count; i++) {
        const struct replay_group *group = &groups[i];
        buf_add_str(out, i ? "," : "");
        json_group_of(out, group);
        if (!ended) {
            json_reason(out, group);
        }
        json_number_of(out, "calls", group->count);
        json_number_of(out, ended ? "unspent_micros" : "cost_micros", group->cost_micros);
        json_time(out, "first_at", group->first_ms);
        json_time(out, "last_at", group->last_ms);
        buf_addf(out, ",\"first_request\":\"req_%lld\",\"last_request\":\"req_%lld\"}",
            (long long)group->first_request, (long long)group->last_request);
    }
    buf_add_char(out, ']');
}

static void
json_refusals(struct buf *out, const struct replay_report *report)
{
    buf_add_str(out, ",\"refusals\":[");
    for (int32_t i = 0; i < report->refusal_count; i++) {
        const struct replay_refusal *refusal = &report->refusals[i];
        buf_add_str(out, i ? "," : "");
        json_group_of(out, refusal->group);
        json_reason(out, refusal->group);
        json_time(out, "at", refusal->at_ms);
        buf_addf(out, ",\"request\":\"req_%lld\"", (long long)refusal->request);
        json_number_of(out, "cost_micros", refusal->cost_micros);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void
json_report(struct buf *out, const struct replay_report *report, const struct store_scan *scan)
{
    buf_addf(out, "{\"calls\":%lld", (long long)report->calls);
    json_time(out, "since", report->since_ms);
    if (report->until_ms != INT64_MAX) {
        json_time(out, "until", report->until_ms);
    } else {
        buf_add_str(out, ",\"until\":null");
    }
    json_time(out, "ledger_whole_from", scan->kept_from_ms);
    json_number_of(out, "allowed", report->allowed);
    json_number_of(out, "refused", report->refused);
    json_number_of(out, "waited", report->waited);
    json_number_of(out, "output_lowered", report->lowered);
    json_number_of(out, "other_model", report->rerouted);
    json_number_of(out, "ended_early_calls", report->ended_early);
    json_number_of(out, "refusals_asked_again", report->asks_refused);
    json_number_of(out, "refusals_that_pass", report->asks_allowed);
    json_number_of(out, "left_out", report->asks_unknown);
    json_number_of(out, "reports_not_recorded", report->reports_unknown);
    json_number_of(out, "cost_before_micros", report->cost_before_micros);
    json_number_of(out, "cost_refused_micros", report->cost_refused_micros);
    json_number_of(out, "cost_after_micros", report->cost_after_micros);
    json_number_of(
        out, "difference_micros", report->cost_after_micros - report->cost_before_micros);
    json_number_of(out, "cost_unspent_micros", report->cost_unspent_micros);
    json_number_of(out, "cost_refusals_that_pass_micros", report->cost_asks_micros);
    json_groups(out, report->groups, report->group_count, false);
    json_refusals(out, report);
    json_groups(out, report->ended_groups, report->ended_group_count, true);
    buf_add_str(out, "}\n");
}

static void
csv_report(struct buf *out, const struct replay_report *report)
{
    buf_add_str(out, "account,limit,reason,calls,cost_micros,first_at,last_at\r\n");
    for (int32_t i = 0; i < report->group_count; i++) {
        const struct replay_group *group = &report->groups[i];
        char first[32];
        char last[32];
        civil_rfc3339(group->first_ms, true, first);
        civil_rfc3339(group->last_ms, true, last);
        text_csv(group->account, out);
        buf_add_char(out, ',');
        text_csv(group->limit, out);
        buf_addf(out, ",%s,%lld,%lld,%s,%s\r\n", reason_row(group->reason)->code,
            (long long)group->count, (long long)group->cost_micros, first, last);
    }
}

static int
tell(const struct replay_options *options, const struct replay_report *report,
    const struct store_scan *scan)
{
    struct buf out = { 0 };
    if (!options->json && !options->csv) {
        print_report(report, scan);
        return EXIT_OK;
    }
    if (options->json) {
        json_report(&out, report, scan);
    } else {
        csv_report(&out, report);
    }
    return print_whole(&out);
}

/* --- All of it. */

static int
replay_store(const struct replay_options *options, struct replay *replay, const char *url,
    int64_t since_ms, int64_t until_ms)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    struct store_error store_error = { .text = "" };
    struct replay_error error = { .text = "" };
    struct replay_report report;
    if (!reading) {
        return cli_fail("no memory for a replay");
    }
    reading->replay = replay;
    struct store_scan scan = { .user = reading,
        .limit_def = on_limit_def,
        .account = on_account,
        .key = on_key,
        .subject = on_subject,
        .ledger = on_ledger,
        .progress = on_reading };
    progress_start(&reading->progress, "reading");
    enum status status = store_scan(url, &scan, &store_error);
    progress_end(&reading->progress);
    const bool failed = reading->failed;
    if (status == STATUS_OK && !failed) {
        progress_start(&reading->progress, "replaying");
        status =
            replay_run(replay, since_ms, until_ms, on_calls, &reading->progress, &report, &error);
        progress_end(&reading->progress);
    }
    free(reading);
    if (failed) {
        return cli_fail("no memory for so many calls: a later --since leaves some out");
    }
    if (status != STATUS_OK) {
        return cli_fail("%s", error.text[0] ? error.text : store_error.text);
    }
    return tell(options, &report, &scan);
}

static int
replay_with(struct cli *cli, const struct replay_options *options, struct policy *policy,
    int64_t since_ms, int64_t until_ms)
{
    struct door door = { .cli = cli, .control = options->control, .config = options->current };
    struct buf url = { 0 };
    struct replay *replay = NULL;
    struct replay_error error = { .text = "" };
    int exit_status = EXIT_FAILED;
    if (!door_store(&door, options->store, &url)) {
        policy_unref(policy);
    } else if (replay_open(policy, &replay, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
    } else {
        exit_status = replay_store(options, replay, buf_cstr(&url), since_ms, until_ms);
    }
    replay_free(replay);
    buf_free(&url);
    return exit_status;
}

int
command_replay(struct cli *cli, int argc, char **argv)
{
    struct replay_options options = { .since = SINCE_DEFAULT };
    int64_t since_ms = 0;
    int64_t until_ms = INT64_MAX;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--config", ARGUMENT_TEXT, &options.config, true },
        { "--since", ARGUMENT_TEXT, &options.since, false },
        { "--until", ARGUMENT_TEXT, &options.until, false },
        { "--store", ARGUMENT_TEXT, &options.store, false },
        { "--current", ARGUMENT_TEXT, &options.current, false },
        { "--control", ARGUMENT_TEXT, &options.control, false },
        { "--csv", ARGUMENT_FLAG, &options.csv, false },
        { "--json", ARGUMENT_FLAG, &options.json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (options.csv && options.json) {
        (void)cli_fail("--csv and --json are two forms of one answer: keep one");
        return EXIT_USAGE;
    }
    if (!parse_time("--since", options.since, &since_ms)
        || (options.until && !parse_time("--until", options.until, &until_ms))) {
        return EXIT_USAGE;
    }
    if (until_ms <= since_ms) {
        (void)cli_fail("--until %s is not after --since %s: there is no time between them",
            options.until, options.since);
        return EXIT_USAGE;
    }
    const struct config_file file = { options.config, options.json };
    struct policy *policy = config_load(&file, false);
    return policy ? replay_with(cli, &options, policy, since_ms, until_ms) : EXIT_FAILED;
}
