/* cli/backup.c: tidegate backup, tidegate restore: the books carried away whole, and put back. */
#include "store/backup.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/money.h"
#include "base/plural.h"
#include "cli/cli_priv.h"

/* Of a folder, a name in it that tells when. */
static void
name_backup(const char *to, int64_t now_ms, struct buf *path)
{
    struct stat file;
    buf_add_str(path, to);
    if (stat(to, &file) != 0 || !S_ISDIR(file.st_mode)) {
        return;
    }
    const struct civil at = civil_from_ms(now_ms);
    buf_addf(path, "%stidegate-%04d%02d%02dT%02d%02d%02dZ.db",
        slice_ends(slice_str(to), SLICE("/")) ? "" : "/", at.year, at.month, at.day, at.hour,
        at.minute, at.second);
}

static void
print_books(const struct audit *audit)
{
    char cost[40];
    char held[40];
    money_text(audit->cost_micros, cost);
    money_text(audit->held_micros, held);
    (void)printf("%lld call%s for %s in %lld ledger row%s, %lld in flight with %s held; accounts: "
                 "%lld.\n",
        (long long)audit->call_count, plural_s(audit->call_count), cost,
        (long long)audit->ledger_count, plural_s(audit->ledger_count), (long long)audit->hold_count,
        held, (long long)audit->account_count);
}

static void
print_differences(const struct audit *audit)
{
    (void)printf("Its books do not agree with themselves, %lld difference%s:\n",
        (long long)audit->difference_count, plural_s(audit->difference_count));
    audit_print_findings(audit);
}

/* --- backup */

static void
tell_backup(const struct door *door, const char *path, const struct audit *audit, int64_t took_ms)
{
    char size[32];
    if (door->json) {
        struct buf out = { 0 };
        buf_add_str(&out, "{\"file\":");
        buf_add_json(&out, slice_str(path));
        buf_addf(&out, ",\"took_ms\":%lld,", (long long)took_ms);
        audit_json(audit, &out);
        buf_add_str(&out, "}\n");
        text_print(&out);
        buf_free(&out);
        return;
    }
    text_bytes(audit->bytes, size);
    (void)printf("%s: %s in %lld.%lld s. ", path, size, (long long)(took_ms / 1000),
        (long long)(took_ms % 1000 / 100));
    print_books(audit);
    if (audit->difference_count > 0) {
        print_differences(audit);
    }
}

static int
back_up(struct door *door, const char *to, bool force)
{
    struct store_error error;
    struct audit audit;
    struct progress progress;
    struct buf url = { 0 };
    struct buf path = { 0 };
    const int64_t now_ms = clock_wall_ms();
    const int64_t start_mono_ms = clock_mono_ms();
    int exit_status = EXIT_FAILED;
    name_backup(to, now_ms, &path);
    if (door_store_file(door, NULL, &url)) {
        progress_start(&progress, "backup");
        const enum status status = store_backup(
            buf_cstr(&url), buf_cstr(&path), force, now_ms, audit_going, &progress, &audit, &error);
        progress_end(&progress);
        if (status != STATUS_OK) {
            (void)cli_fail(
                "%s%s", error.text, status == STATUS_EXISTS ? "; --force replaces it" : "");
        } else {
            tell_backup(door, buf_cstr(&path), &audit, clock_mono_ms() - start_mono_ms);
            exit_status = audit.difference_count == 0 ? EXIT_OK : EXIT_FAILED;
            store_audit_free(&audit);
        }
    }
    buf_free(&url);
    buf_free(&path);
    return exit_status;
}

int
command_backup(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *to = NULL;
    bool force = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &to, true },
        { "--force", ARGUMENT_FLAG, &force, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    return back_up(&door, to, force);
}

/* --- restore */

static void
json_restored(const char *url, const struct audit *audit, const struct restored *restored)
{
    struct buf out = { 0 };
    char taken[32] = "";
    buf_add_str(&out, "{\"store\":");
    buf_add_json(&out, slice_str(url));
    if (restored->taken_ms > 0) {
        civil_rfc3339(restored->taken_ms, true, taken);
        buf_addf(&out, ",\"taken_at\":\"%s\"", taken);
    } else {
        buf_add_str(&out, ",\"taken_at\":null");
    }
    buf_addf(&out, ",\"next_epoch\":%lld,\"aside\":", (long long)restored->next_epoch);
    if (restored->aside[0]) {
        buf_add_json(&out, slice_str(restored->aside));
    } else {
        buf_add_str(&out, "null");
    }
    buf_add_char(&out, ',');
    audit_json(audit, &out);
    buf_add_str(&out, "}\n");
    text_print(&out);
    buf_free(&out);
}

static void
print_restored(
    const char *from, const char *url, const struct audit *audit, const struct restored *restored)
{
    char taken[32];
    char age[48];
    if (restored->taken_ms > 0) {
        civil_rfc3339(restored->taken_ms, false, taken);
        text_age(restored->taken_ms, clock_wall_ms(), age);
        (void)printf("%s, taken %s (%s), is in place at %s. ", from, taken, age, url);
    } else {
        (void)printf("%s is in place at %s. ", from, url);
    }
    print_books(audit);
    if (restored->aside[0]) {
        (void)printf("The store that was there is kept at %s.\n", restored->aside);
    }
    if (audit->hold_count > 0) {
        (void)printf(
            "The calls in flight when it was taken are booked as orphaned at the next start, as "
            "orphaned_holds says.\n");
    }
    (void)printf(
        "It goes on with epoch %lld, so that no id is given twice. What was booked after it was "
        "taken is not in it.\n",
        (long long)restored->next_epoch);
    if (audit->difference_count > 0) {
        print_differences(audit);
    }
}

static int
restore(struct door *door, const char *from, const char *to, bool force)
{
    struct store_error error;
    struct audit audit;
    struct restored restored;
    struct progress progress;
    struct buf url = { 0 };
    int exit_status = EXIT_FAILED;
    if (door_store_file(door, to, &url)) {
        progress_start(&progress, "restore");
        const enum status status = store_restore(from, buf_cstr(&url), force, clock_wall_ms(),
            audit_going, &progress, &audit, &restored, &error);
        progress_end(&progress);
        if (status != STATUS_OK) {
            (void)cli_fail("%s", error.text);
        } else if (door->json) {
            json_restored(buf_cstr(&url), &audit, &restored);
        } else {
            print_restored(from, buf_cstr(&url), &audit, &restored);
        }
        exit_status = status == STATUS_OK ? EXIT_OK : EXIT_FAILED;
        store_audit_free(&audit);
    }
    buf_free(&url);
    return exit_status;
}

int
command_restore(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *from = NULL;
    const char *to = NULL;
    bool force = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &from, true },
        { "--to", ARGUMENT_TEXT, &to, false },
        { "--force", ARGUMENT_FLAG, &force, false },
        { "--config", ARGUMENT_TEXT, &door.config, false },
        { "--json", ARGUMENT_FLAG, &door.json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    return restore(&door, from, to, force);
}
