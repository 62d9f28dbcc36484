/* cli/migrate.c: tidegate migrate: the books carried from one store to another. */
#include <stdio.h>

#include "base/clock.h"
#include "base/money.h"
#include "base/place.h"
#include "base/plural.h"
#include "cli/cli_priv.h"
#include "store/transfer.h"

#define URL_BYTES 1024

struct migration {
    const char *from, *to; /* as they may be shown */
    const struct transfer *transfer;
    int64_t took_ms;
};

static void
json_sums(const struct transfer *transfer, struct buf *out)
{
    buf_add_str(out, "\"compared\":[");
    for (int32_t i = 0; i < transfer->sum_count; i++) {
        const struct transfer_sum *sum = &transfer->sums[i];
        buf_addf(out, "%s{\"what\":\"%s\",\"unit\":\"%s\",\"source\":%lld,\"target\":%lld}",
            i ? "," : "", sum->what, sum->is_money ? "micro_usd" : "count", (long long)sum->source,
            (long long)sum->target);
    }
    buf_add_char(out, ']');
}

static void
print_json(const struct migration *migration)
{
    const struct transfer *transfer = migration->transfer;
    struct buf out = { 0 };
    buf_add_str(&out, "{\"from\":");
    buf_add_json(&out, slice_str(migration->from));
    buf_add_str(&out, ",\"to\":");
    buf_add_json(&out, slice_str(migration->to));
    buf_addf(&out,
        ",\"rows\":%lld,\"took_ms\":%lld,\"next_epoch\":%lld,\"open_holds\":%lld,\"differences\":%lld,",
        (long long)transfer->row_count, (long long)migration->took_ms,
        (long long)(transfer->epoch + 1), (long long)transfer->open_hold_count,
        (long long)transfer->difference_count);
    json_sums(transfer, &out);
    buf_add_str(&out, "}\n");
    text_print(&out);
    buf_free(&out);
}

static void
sum_cell(struct table *table, const struct transfer_sum *sum, int64_t value)
{
    if (sum->is_money) {
        table_cell_money(table, value);
    } else {
        table_cell_i64(table, value);
    }
}

static void
print_sums(const struct transfer *transfer)
{
    static const struct column columns[] = {
        { "COMPARED", COLUMN_LEFT, COLUMN_TEXT },
        { "SOURCE", COLUMN_RIGHT },
        { "TARGET", COLUMN_RIGHT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    for (int32_t i = 0; i < transfer->sum_count; i++) {
        const struct transfer_sum *sum = &transfer->sums[i];
        table_cell(&table, sum->what);
        sum_cell(&table, sum, sum->source);
        sum_cell(&table, sum, sum->target);
    }
    table_print(&table, output_is_terminal());
}

static void
print_for_people(const struct migration *migration)
{
    const struct transfer *transfer = migration->transfer;
    (void)printf("%s is carried to %s: %lld row%s in %lld.%lld s.\n\n", migration->from,
        migration->to, (long long)transfer->row_count, plural_s(transfer->row_count),
        (long long)(migration->took_ms / 1000), (long long)(migration->took_ms % 1000 / 100));
    print_sums(transfer);
    if (transfer->difference_count > 0) {
        (void)printf(
            "\nThe books do not agree with themselves, here as there: `tidegate check --store` says "
            "where.\n");
    }
    if (transfer->open_hold_count > 0) {
        (void)printf("\n%lld call%s %s in flight: the first gateway on the new store books %s, as "
                     "orphaned_holds says.\n",
            (long long)transfer->open_hold_count, plural_s(transfer->open_hold_count),
            plural_were(transfer->open_hold_count), transfer->open_hold_count == 1 ? "it" : "them");
    }
    (void)printf(
        "\nIt goes on with epoch %lld. The old store is as it was: start no gateway on it any more, or "
        "there are two books.\n",
        (long long)(transfer->epoch + 1));
}

static int
migrate(const char *from, const char *to, bool force, bool json)
{
    struct store_error error;
    struct transfer transfer;
    struct progress progress;
    char shown_from[URL_BYTES];
    char shown_to[URL_BYTES];
    const int64_t start_mono_ms = clock_mono_ms();
    const struct transfer_options options = {
        .from = from, .to = to, .force = force, .progress = audit_going, .user = &progress
    };
    progress_start(&progress, "migrating");
    const enum status status = store_transfer(&options, &transfer, &error);
    progress_end(&progress);
    if (status != STATUS_OK) {
        return cli_fail("%s", error.text);
    }
    store_url_shown(from, shown_from, sizeof(shown_from));
    store_url_shown(to, shown_to, sizeof(shown_to));
    const struct migration migration = { .from = shown_from,
        .to = shown_to,
        .transfer = &transfer,
        .took_ms = clock_mono_ms() - start_mono_ms };
    if (json) {
        print_json(&migration);
    } else {
        print_for_people(&migration);
    }
    return EXIT_OK;
}

int
command_migrate(struct cli *cli, int argc, char **argv)
{
    const char *from = NULL;
    const char *to = NULL;
    bool force = false;
    bool json = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--from", ARGUMENT_TEXT, &from, true },
        { "--to", ARGUMENT_TEXT, &to, true },
        { "--force", ARGUMENT_FLAG, &force, false },
        { "--json", ARGUMENT_FLAG, &json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    return migrate(from, to, force, json);
}
