/* cli/check_store.c: tidegate check --store: the books of a store against themselves. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/money.h"
#include "base/place.h"
#include "base/plural.h"
#include "store/audit.h"

#define FINDINGS_SHOWN 20
#define URL_BYTES      1024

bool
audit_going(void *user, const char *doing, int64_t done, int64_t total)
{
    progress_show(user, doing, done, total);
    return true;
}

/* --- For programs. */

static void
json_finding(struct buf *out, const struct audit_finding *finding)
{
    buf_addf(out, "{\"what\":\"%s\",\"message\":", audit_part_word(finding->part));
    buf_add_json(out, slice_str(finding->what));
    if (finding->has_amounts) {
        buf_addf(out, ",\"stored\":%lld,\"expected\":%lld,\"unit\":\"%s\"",
            (long long)finding->stored, (long long)finding->expected,
            finding->is_money ? "micro_usd" : "calls");
    }
    buf_add_char(out, '}');
}

void
audit_json(const struct audit *audit, struct buf *out)
{
    buf_addf(out,
        "\"ok\":%s,\"schema\":%lld,\"epoch\":%lld,\"bytes\":%lld,\"accounts\":%lld,\"keys\":%lld,"
        "\"threads\":%lld,\"meters\":%lld,\"open_holds\":%lld,\"ledger_rows\":%lld,\"calls\":%lld,"
        "\"cost_micros\":%lld,\"held_micros\":%lld,\"not_compared\":%lld,\"compared\":[",
        audit->difference_count == 0 ? "true" : "false", (long long)audit->schema_version,
        (long long)audit->epoch, (long long)audit->bytes, (long long)audit->account_count,
        (long long)audit->key_count, (long long)audit->thread_count, (long long)audit->meter_count,
        (long long)audit->hold_count, (long long)audit->ledger_count, (long long)audit->call_count,
        (long long)audit->cost_micros, (long long)audit->held_micros,
        (long long)audit->unknown_count);
    for (int i = 0; i < AUDIT_PART_COUNT; i++) {
        buf_addf(out, "%s{\"what\":\"%s\",\"compared\":%lld,\"differences\":%lld}", i ? "," : "",
            audit_part_word((enum audit_part)i), (long long)audit->compared[i],
            (long long)audit->different[i]);
    }
    buf_addf(out, "],\"differences\":%lld,\"findings\":[", (long long)audit->difference_count);
    for (int32_t i = 0; i < audit->finding_count; i++) {
        buf_add_str(out, i ? "," : "");
        json_finding(out, &audit->findings[i]);
    }
    buf_add_char(out, ']');
}

static void
print_json(const char *url, const struct audit *audit)
{
    struct buf out = { 0 };
    buf_add_str(&out, "{\"store\":");
    buf_add_json(&out, slice_str(url));
    buf_add_char(&out, ',');
    audit_json(audit, &out);
    buf_add_str(&out, "}\n");
    text_print(&out);
    buf_free(&out);
}

/* --- For people. */

static void
print_parts(const struct audit *audit)
{
    static const struct column columns[] = {
        { "WHAT", COLUMN_LEFT, COLUMN_TEXT },
        { "COMPARED", COLUMN_RIGHT },
        { "DIFFERENT", COLUMN_RIGHT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    for (int i = 0; i < AUDIT_PART_COUNT; i++) {
        table_cell(&table, audit_part_help((enum audit_part)i));
        table_cell_i64(&table, audit->compared[i]);
        table_cell_i64(&table, audit->different[i]);
    }
    table_print(&table, output_is_terminal());
}

static void
amount_text(const struct audit_finding *finding, int64_t amount, char out[40])
{
    if (finding->is_money) {
        money_text(amount, out);
    } else {
        (void)snprintf(out, 40, "%lld", (long long)amount);
    }
}

void
audit_print_findings(const struct audit *audit)
{
    for (int32_t i = 0; i < audit->finding_count && i < FINDINGS_SHOWN; i++) {
        const struct audit_finding *finding = &audit->findings[i];
        struct buf line = { 0 };
        text_plain(finding->what, &line);
        (void)printf("- %s", buf_cstr(&line));
        buf_free(&line);
        if (finding->has_amounts) {
            char stored[40];
            char expected[40];
            amount_text(finding, finding->stored, stored);
            amount_text(finding, finding->expected, expected);
            (void)printf(" (it says %s, the rows say %s)", stored, expected);
        }
        (void)printf(".\n");
    }
    if (audit->difference_count > FINDINGS_SHOWN) {
        (void)printf("and %lld more; --json has up to %d of them.\n",
            (long long)(audit->difference_count - FINDINGS_SHOWN), AUDIT_FINDINGS_MAX);
    }
}

static void
print_verdict(const char *url, const struct audit *audit)
{
    char size[32];
    char cost[40];
    char held[40];
    text_bytes(audit->bytes, size);
    money_text(audit->cost_micros, cost);
    money_text(audit->held_micros, held);
    (void)printf(
        "%s: %s, schema %lld, epoch %lld. %lld call%s for %s in %lld ledger row%s, %lld in "
        "flight with %s held; accounts: %lld.\n\n",
        url, size, (long long)audit->schema_version, (long long)audit->epoch,
        (long long)audit->call_count, plural_s(audit->call_count), cost,
        (long long)audit->ledger_count, plural_s(audit->ledger_count), (long long)audit->hold_count,
        held, (long long)audit->account_count);
    print_parts(audit);
    if (audit->unknown_count > 0) {
        (void)printf(
            "\nOf %lld part%s of booked calls it does not show whose meter %s counted for: not compared.\n",
            (long long)audit->unknown_count, plural_s(audit->unknown_count),
            audit->unknown_count == 1 ? "it" : "they");
    }
    if (audit->difference_count == 0) {
        (void)printf("\nThe books agree with themselves.\n");
        return;
    }
    (void)printf(
        "\n%lld difference%s. The gateway does not put them right by itself: keep it as it is, "
        "and restore a backup from before if they matter.\n",
        (long long)audit->difference_count, plural_s(audit->difference_count));
    audit_print_findings(audit);
}

int
check_store(struct door *door, const char *file)
{
    struct store_error error;
    struct audit audit;
    struct progress progress;
    struct buf url = { 0 };
    if (!door_store(door, file, &url)) {
        buf_free(&url);
        return EXIT_UNCHECKED;
    }
    char shown[URL_BYTES];
    store_url_shown(buf_cstr(&url), shown, sizeof(shown));
    progress_start(&progress, "checking");
    const enum status status = store_audit(buf_cstr(&url), audit_going, &progress, &audit, &error);
    progress_end(&progress);
    int exit_status = EXIT_UNCHECKED;
    if (status != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        exit_status = status == STATUS_INVALID ? EXIT_FAILED : EXIT_UNCHECKED;
    } else {
        exit_status = audit.difference_count == 0 ? EXIT_OK : EXIT_FAILED;
        if (door->json) {
            print_json(shown, &audit);
        } else {
            print_verdict(shown, &audit);
        }
        store_audit_free(&audit);
    }
    buf_free(&url);
    return exit_status;
}
