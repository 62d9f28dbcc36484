/* store/scan.c: all of the ledger for whoever wants it: the audit's way through a store, without its judgement. */
#include "store/scan.h"

#include "base/place.h"
#include "store/inspect_priv.h"
#include "store/store_priv.h"

struct scanning {
    struct store_scan *scan;
    bool ledger_begun, over; /* over: what comes now is the look at the file's pages */
};

static void
on_damage(void *user, const char *what)
{
    (void)what; /* tidegate check --store tells of it */
    ((struct scanning *)user)->scan->damaged_count++;
}

static bool
on_progress(void *user, const char *doing, int64_t done, int64_t total)
{
    struct scanning *scanning = user;
    struct store_scan *scan = scanning->scan;
    const bool ledger = strcmp(doing, "ledger") == 0;
    scanning->over = scanning->ledger_begun && !ledger;
    scanning->ledger_begun |= ledger;
    return !scanning->over && (!scan->progress || scan->progress(scan->user, doing, done, total));
}

static void
on_account(void *user, const struct account_row *row)
{
    struct store_scan *scan = ((struct scanning *)user)->scan;
    scan->account(scan->user, row);
}

static void
on_key(void *user, const struct key_row *row)
{
    struct store_scan *scan = ((struct scanning *)user)->scan;
    scan->key(scan->user, row);
}

static void
on_limit_def(void *user, const struct limit_def_row *row)
{
    struct store_scan *scan = ((struct scanning *)user)->scan;
    scan->limit_def(scan->user, row);
}

static void
on_subject(void *user, const struct subject_row *row)
{
    struct store_scan *scan = ((struct scanning *)user)->scan;
    scan->subject(scan->user, row);
}

static void
on_ledger(void *user, const struct ledger_row *row)
{
    struct scanning *scanning = user;
    scanning->ledger_begun = true;
    scanning->scan->ledger(scanning->scan->user, row);
}

/* Rows that nobody asked for. */
#define PASS(name, type)                                                                           \
    static void pass_##name(void *user, const struct type *row)                                    \
    {                                                                                              \
        (void)user;                                                                                \
        (void)row;                                                                                 \
    }
PASS(own, inspected)
PASS(node, node_row)
PASS(thread, thread_row)
PASS(meter, meter_row)
PASS(reported, reported_row)
PASS(hold, hold_row)
#undef PASS

enum status
store_scan(const char *url, struct store_scan *scan, struct store_error *error)
{
    struct scanning scanning = { .scan = scan };
    struct inspected inspected = { 0 };
    const char *path = store_url_path(url);
    const struct inspector inspector = { .user = &scanning,
        .damage = on_damage,
        .progress = on_progress,
        .own = pass_own,
        .node = pass_node,
        .limit_def = on_limit_def,
        .account = on_account,
        .key = on_key,
        .thread = pass_thread,
        .subject = on_subject,
        .meter = pass_meter,
        .reported = pass_reported,
        .hold = pass_hold,
        .ledger = on_ledger };
    enum status status = STATUS_NOT_FOUND;
    error->text[0] = '\0';
    if (store_url_is_postgres(url)) {
        status = postgres_inspect(url, &inspector, &inspected, error);
    } else if (path) {
        status = sqlite_inspect(path, &inspector, &inspected, error);
    } else {
        return store_fail(error->text, STATUS_NOT_FOUND, "'%s' is no store on a disk", url);
    }
    scan->kept_from_ms = inspected.kept_from_ms;
    return status == STATUS_CLOSED && scanning.over ? STATUS_OK : status;
}
