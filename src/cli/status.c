/* cli/status.c: tidegate status: the gateway, its fellows, its last calls, its fullest limits. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/money.h"
#include "base/plural.h"

#define BAR_WIDTH 20

static void
print_gateway(struct json_object *gateway)
{
    char up[32];
    const char *state = json_text(gateway, "state");
    const char *listens = json_text(gateway, "listens");
    text_duration(json_number(gateway, "uptime_ms"), up);
    if (listens[0]) {
        (void)printf("Tidegate %s%s is up for %s on %s.\n", json_text(gateway, "version"),
            json_flag(gateway, "sandbox") ? " (sandbox)" : "", up, listens);
    } else {
        (void)printf("No gateway runs; these are its books.\n");
    }
    const int64_t models = json_number(gateway, "models");
    const int64_t limits = json_number(gateway, "limits");
    const int64_t open = json_number(gateway, "calls_open");
    (void)printf(
        "Store %s, epoch %s. %lld model%s, %lld limit%s, %lld call%s in flight, %lld waiting.\n",
        json_text(gateway, "store"), json_text(gateway, "epoch"), (long long)models,
        plural_s(models), (long long)limits, plural_s(limits), (long long)open, plural_s(open),
        (long long)json_number(gateway, "waiting"));
    if (json_flag(gateway, "stopping")) {
        (void)printf("It is stopping: calls in flight may end, no new one is taken.\n");
    }
    if (strcmp(state, "ok") != 0) {
        (void)printf("The ledger cannot be written, so nothing new starts: %s\n",
            json_text(gateway, "store_error"));
    }
}

/* What a person should know of a row beyond its cost. */
static void
call_note(struct json_object *call, struct buf *out)
{
    struct json_object *flags = json_member(call, "flags");
    const char *reason = json_text(call, "reason");
    buf_add_str(out, reason);
    for (size_t i = 0; i < json_count(flags); i++) {
        buf_add_str(out, out->len ? " " : "");
        buf_add_str(out, json_object_get_string(json_item(flags, i)));
    }
}

static void
call_tokens(struct json_object *call, struct table *table)
{
    struct json_object *usage = json_member(call, "usage");
    if (!usage) { /* refused: nothing was used */
        table_cell(table, "");
        table_cell(table, "");
        table_cell(table, "");
        table_cell(table, "");
        return;
    }
    table_cell_i64(table, json_number(usage, "input") + json_number(usage, "cache_read")
                              + json_number(usage, "cache_write_5m")
                              + json_number(usage, "cache_write_1h"));
    table_cell_i64(table, json_number(usage, "output"));
    table_cell_money(table, json_number(call, "cost_micros"));
    table_cell(table, json_text(call, "payer"));
}

static void
print_calls(struct json_object *calls)
{
    static const struct column columns[] = {
        { "WHEN", COLUMN_LEFT },
        { "ACCOUNT", COLUMN_LEFT, COLUMN_TEXT },
        { "MODEL", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "IN", COLUMN_RIGHT, COLUMN_SPARE },
        { "OUT", COLUMN_RIGHT, COLUMN_SPARE },
        { "COST", COLUMN_RIGHT },
        { "PAYER", COLUMN_LEFT, COLUMN_SPARE },
        { "WHAT", COLUMN_LEFT },
        { "NOTE", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "REQUEST", COLUMN_LEFT },
    };
    const int64_t now_ms = clock_wall_ms();
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(calls); i++) {
        struct json_object *call = json_item(calls, i);
        struct buf note = { 0 };
        char age[48] = "";
        int64_t at_ms = 0;
        if (civil_parse_rfc3339(slice_str(json_text(call, "at")), &at_ms)) {
            text_age(at_ms, now_ms, age);
        }
        call_note(call, &note);
        table_cell(&table, age);
        table_cell(&table, json_text(call, "account"));
        table_cell(&table, json_text(call, "model"));
        call_tokens(call, &table);
        table_cell(&table, json_text(call, "kind"));
        table_cell(&table, buf_cstr(&note));
        table_cell(&table, json_text(call, "request"));
        buf_free(&note);
    }
    table_print(&table, output_is_terminal());
}

static void
meter_amount(struct json_object *meter, int64_t amount, char out[40])
{
    if (strcmp(json_text(meter, "unit"), "micro_usd") == 0) {
        money_text(amount, out);
    } else {
        (void)snprintf(out, 40, "%lld", (long long)amount);
    }
}

/* Of a limit whose meter shows with a call alone: whose each of them is. */
static void
meter_each(struct json_object *meter, struct buf *out)
{
    static const struct {
        const char *per, *own, *shared; /* behind the account's name; alone */
    } rows[] = { { "key", ", each key", "each key" },
        { "thread_tree", ", each thread tree", "each thread tree" },
        { "account_model", " with each model", "each model" }, { "model", NULL, "each model" },
        { "tier", NULL, "each tier" }, { "tag", NULL, "each tag" } };
    const char *per = json_text(meter, "per");
    const char *account = json_text(meter, "account");
    for (size_t i = 0; i < countof(rows); i++) {
        const bool own = rows[i].own && account[0];
        if (strcmp(per, rows[i].per) == 0) {
            buf_addf(out, "%s%s", own ? account : "", own ? rows[i].own : rows[i].shared);
        }
    }
}

void
meter_whose(struct json_object *meter, struct buf *out)
{
    if (!json_has(meter, "used")) {
        meter_each(meter, out);
    }
    if (out->len > 0) {
        return;
    }
    static const char *const shared[] = { "plan", "group", "organisation", "tier", "model", "tag" };
    const char *account = json_text(meter, "account");
    const bool own = account[0] != '\0';
    buf_add_str(out, account);
    if (json_has(meter, "key")) {
        buf_addf(out, " %s", json_text(meter, "key"));
    } else if (json_has(meter, "thread")) {
        buf_addf(out, " %s", json_text(meter, "thread"));
    }
    for (size_t i = 0; i < countof(shared); i++) {
        const char *name = json_text(meter, shared[i]);
        if (name[0] && own) {
            buf_addf(out, " %s %s", strcmp(shared[i], "model") == 0 ? "with" : "in", name);
        } else if (name[0]) {
            buf_addf(out, "%s %s", shared[i], name);
        }
    }
    buf_add_str(out, out->len ? "" : "the gateway");
}

/* "group research", "plan", "set, raised": whose word the cap is; nothing of the default. */
static void
meter_cap_by(struct json_object *meter, struct buf *out)
{
    const char *by = json_text(meter, "cap_by");
    const char *group = json_text(meter, "cap_group");
    if (strcmp(by, "default") != 0) {
        buf_add_str(out, strcmp(by, "api_default") == 0 ? "set for all"
                         : strcmp(by, "asked") == 0     ? "asked by the client"
                                                        : by);
    }
    if (group[0]) {
        buf_addf(out, " %s", group);
    }
    if (json_has(meter, "raised")) {
        buf_add_str(out, out->len ? ", raised" : "raised");
    }
}

/* When the cap is another one by itself: what was set, or a raise, ends. "" = nothing does. */
static void
meter_until(struct json_object *meter, char out[32])
{
    const char *set = json_text(meter, "cap_expires_at");
    const char *raise = json_text(meter, "raise_expires_at");
    int64_t set_ms = 0;
    int64_t raise_ms = 0;
    const bool ends = civil_parse_rfc3339(slice_str(set), &set_ms);
    const bool falls = civil_parse_rfc3339(slice_str(raise), &raise_ms);
    text_time(ends && (!falls || set_ms < raise_ms) ? set : raise, out);
}

static void
meter_resets(struct json_object *meter, int64_t now_ms, char out[64])
{
    char span[48];
    int64_t at_ms = 0;
    const char *window = json_text(meter, "window");
    out[0] = '\0';
    if (civil_parse_rfc3339(slice_str(json_text(meter, "resets_at")), &at_ms)) {
        text_age(at_ms, now_ms, span);
        (void)snprintf(out, 64, "%s", span);
    } else if (strcmp(window, "rolling") == 0) {
        civil_span(json_number(meter, "span_ms"), span);
        (void)snprintf(out, 64, "after %s each", span);
    } else if (strcmp(window, "lifetime") == 0) {
        (void)snprintf(out, 64, "never");
    }
}

static void
meter_fill(struct json_object *meter, bool bar, struct buf *out)
{
    if (!json_has(meter, "cap")) {
        buf_add_str(out, "no cap");
        return;
    }
    if (!json_has(meter, "percent")) {
        return;
    }
    const int64_t percent = json_number(meter, "percent");
    if (bar) {
        text_bar(percent, BAR_WIDTH, output_is_utf8(), out);
        buf_add_char(out, ' ');
    }
    buf_addf(out, "%lld %%%s", (long long)percent, json_flag(meter, "enforced") ? "" : ", watched");
}

static void
print_meter(struct json_object *meter, struct table *table, bool bar, int64_t now_ms)
{
    struct buf who = { 0 };
    struct buf fill = { 0 };
    char used[40];
    char held[40];
    char cap[40] = "";
    char resets[64];
    char until[32];
    struct buf cap_by = { 0 };
    meter_whose(meter, &who);
    meter_cap_by(meter, &cap_by);
    meter_resets(meter, now_ms, resets);
    meter_fill(meter, bar, &fill);
    meter_until(meter, until);
    used[0] = held[0] = '\0';
    if (json_has(meter, "used")) { /* else it shows with a call alone whose it is */
        meter_amount(meter, json_number(meter, "used"), used);
        meter_amount(meter, json_number(meter, "held"), held);
    }
    if (json_has(meter, "cap")) {
        meter_amount(meter, json_number(meter, "cap"), cap);
    }
    table_cell(table, json_text(meter, "limit"));
    table_cell(table, buf_cstr(&who));
    table_cell(table, buf_cstr(&fill));
    table_cell(table, used);
    table_cell(table, held);
    table_cell(table, cap);
    table_cell(table, buf_cstr(&cap_by));
    table_cell(table, until);
    table_cell(table, resets);
    buf_free(&cap_by);
    buf_free(&who);
    buf_free(&fill);
}

void
print_meters(struct json_object *meters)
{
    static const struct column columns[] = {
        { "LIMIT", COLUMN_LEFT, COLUMN_TEXT },
        { "OF", COLUMN_LEFT, COLUMN_TEXT },
        { "FILL", COLUMN_LEFT, COLUMN_SPARE },
        { "USED", COLUMN_RIGHT },
        { "HELD", COLUMN_RIGHT, COLUMN_SPARE },
        { "CAP", COLUMN_RIGHT },
        { "CAP BY", COLUMN_LEFT, COLUMN_SPARE },
        { "UNTIL (UTC)", COLUMN_LEFT },
        { "RESETS", COLUMN_LEFT, COLUMN_SPARE },
    };
    const int64_t now_ms = clock_wall_ms();
    const bool terminal = output_is_terminal();
    struct table table = { 0 };
    for (int bar = terminal; bar >= 0;
         bar--) { /* the bars are what a narrow terminal goes without first */
        buf_free(&table.cells);
        table_start(&table, columns, countof(columns));
        table.none = "No limits are configured.\n";
        for (size_t i = 0; i < json_count(meters); i++) {
            print_meter(json_item(meters, i), &table, bar, now_ms);
        }
        if (table_width(&table) <= output_columns()) {
            break;
        }
    }
    table_print(&table, terminal);
}

static void
print_routes(struct json_object *routes)
{
    static const struct column columns[] = {
        { "PROVIDER", COLUMN_LEFT, COLUMN_TEXT },
        { "MODEL THERE", COLUMN_LEFT, COLUMN_TEXT },
        { "STATE", COLUMN_LEFT },
        { "CAUSE", COLUMN_LEFT, COLUMN_TEXT | COLUMN_SPARE },
        { "FAILED IN A ROW", COLUMN_RIGHT, COLUMN_SPARE },
        { "ASKED AGAIN IN", COLUMN_LEFT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(routes); i++) {
        struct json_object *route = json_item(routes, i);
        const int64_t opens_in_ms = json_number(route, "opens_in_ms");
        char wait[48] = "";
        if (opens_in_ms > 0) {
            text_duration(opens_in_ms, wait);
        }
        table_cell(&table, json_text(route, "provider"));
        table_cell(&table, json_text(route, "upstream_model"));
        table_cell(&table, json_text(route, "state"));
        table_cell(&table, json_text(route, "cause"));
        table_cell_i64(&table, json_number(route, "failures"));
        table_cell(&table, wait);
    }
    table_print(&table, output_is_terminal());
}

/* Of a store that is shared: whoever is alone needs no table. */
static bool
nodes_are_shared(struct json_object *nodes)
{
    return json_count(nodes) > 0 && json_has(json_item(nodes, 0), "lease_left_ms");
}

static void
node_lease(struct json_object *node, char out[48])
{
    char left[32];
    const int64_t left_ms = json_number(node, "lease_left_ms");
    text_duration(left_ms, left);
    (void)snprintf(out, 48, left_ms > 0 ? "%s left" : "over", left);
}

static void
print_nodes(struct json_object *nodes)
{
    static const struct column columns[] = {
        { "GATEWAY", COLUMN_LEFT, COLUMN_TEXT },
        { "EPOCH", COLUMN_RIGHT },
        { "SINCE", COLUMN_LEFT, COLUMN_SPARE },
        { "LEASE", COLUMN_LEFT },
        { "WAITING", COLUMN_RIGHT, COLUMN_SPARE },
        { "CONFIGURATION", COLUMN_LEFT, COLUMN_SPARE },
        { "", COLUMN_LEFT },
    };
    const int64_t now_ms = clock_wall_ms();
    struct table table;
    table_start(&table, columns, countof(columns));
    for (size_t i = 0; i < json_count(nodes); i++) {
        struct json_object *node = json_item(nodes, i);
        char age[48] = "";
        char lease[48];
        int64_t started_ms = 0;
        if (civil_parse_rfc3339(slice_str(json_text(node, "started_at")), &started_ms)) {
            text_age(started_ms, now_ms, age);
        }
        node_lease(node, lease);
        table_cell(&table, json_text(node, "name"));
        table_cell(&table, json_text(node, "epoch"));
        table_cell(&table, age);
        table_cell(&table, lease);
        table_cell_i64(&table, json_number(node, "waiting"));
        table_cell(&table, json_text(node, "configuration"));
        table_cell(&table, json_flag(node, "this") ? "this one" : "");
    }
    table_print(&table, output_is_terminal());
}

static void
print_status(struct json_object *answer)
{
    struct json_object *routes = json_member(answer, "routes");
    struct json_object *calls = json_member(answer, "calls");
    struct json_object *meters = json_member(answer, "meters");
    struct json_object *nodes = json_member(answer, "nodes");
    print_gateway(json_member(answer, "gateway"));
    if (nodes_are_shared(nodes)) {
        (void)printf("\nGateways on this store\n");
        print_nodes(nodes);
    }
    if (json_count(routes)) {
        (void)printf("\nRoutes that fail or are left alone\n");
        print_routes(routes);
    }
    (void)printf(json_count(calls) ? "\nLast calls\n" : "\nNo calls yet.\n");
    if (json_count(calls)) {
        print_calls(calls);
    }
    if (json_count(meters)) {
        (void)printf("\nLimits, the fullest first\n");
        print_meters(meters);
    }
    if (json_has(answer, "reported")) {
        (void)printf("\nReported by providers\n");
        print_reported(json_member(answer, "reported"));
    }
}

int
command_status(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *calls = NULL;
    const char *account = NULL;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--calls", ARGUMENT_TEXT, &calls, false },
        { "--account", ARGUMENT_TEXT, &account, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf target = { 0 };
    struct json_object *answer = NULL;
    buf_add_str(&target, "/api/v1/status");
    query_add(&target, "calls", calls);
    query_add(&target, "account", account);
    exit_status = door_ask(&door, "GET", buf_slice(&target), (struct slice){ 0 }, &answer);
    if (answer) {
        print_status(answer);
    }
    json_object_put(answer);
    buf_free(&target);
    return exit_status;
}
