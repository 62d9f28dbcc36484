/* api/prune.c: rows of the ledger that are older than a day go, once, because an admin says so. */
#include "api/api_priv.h"

#include "log/log.h"

#define PRUNE_WAIT_MS                                                                              \
    (5 * SECOND_MS) /* of one request; the caller asks again until nothing is left */
#define PAGE_ROWS 10000
#define TOO_YOUNG_MS                                                                               \
    DAY_MS /* as the shortest retention: windows and calls in flight are about these rows */

/* --- A look at what would go. */

struct counting {
    int64_t rows, calls_micros, last_id, seen;
};

static bool
count_row(void *user, const struct ledger_row *row)
{
    struct counting *counting = user;
    counting->seen++;
    counting->last_id = row->id;
    if (ledger_kind_ages(row->kind)) {
        counting->rows++;
        counting->calls_micros += row->cost_micros;
    }
    return true;
}

/* False: answered. */
static bool
count_rows(struct api_worker *worker, struct ask *ask, int64_t before_ms, struct counting *counting)
{
    struct ledger_filter filter = { .kind = -1, .until_ms = before_ms, .limit = PAGE_ROWS };
    do {
        counting->seen = 0;
        if (store_read_ledger(worker->reader, &filter, count_row, counting) != STATUS_OK) {
            worker_read_failed(worker, ask);
            return false;
        }
        filter.before_id = counting->last_id;
    } while (counting->seen == PAGE_ROWS);
    return true;
}

static void
put_rows(struct ask *ask, int64_t before_ms, bool dry_run, int64_t rows, bool done)
{
    struct buf *out = answer_begin(ask, 200);
    put_time(out, "before", before_ms);
    put_bool(out, "dry_run", dry_run);
    put_i64(out, "rows", rows);
    put_bool(out, "done", done);
}

/* --- The deed, on the books as every change by an admin. */

static void
note_deed(struct api_worker *worker, struct ask *ask, int64_t before_ms, int64_t rows)
{
    struct event event = admin_event(ask, ADMIN_NOTE);
    struct verdict verdict;
    struct buf note = { 0 };
    put_open(&note, NULL, '{');
    put_text(&note, "verb", "ledger_prune");
    put_time(&note, "before", before_ms);
    put_i64(&note, "rows", rows);
    put_close(&note, '}');
    event.admin.note = buf_slice(&note);
    if (!note.failed && worker_gate(worker, ask, &event, &verdict)) {
        log_line(LOG_INFO, "admin", "ledger_prune by %s: %lld rows", ask->actor, (long long)rows);
    }
    buf_free(&note);
}

void
post_ledger_prune(struct api_worker *worker, struct ask *ask)
{
    int64_t before_ms = 0;
    bool dry_run = false;
    struct counting counting = { 0 };
    const struct field fields[] = {
        { "before", FIELD_TIME, &before_ms, .required = true },
        { "dry_run", FIELD_BOOL, &dry_run },
    };
    if (!fields_of_body(ask, fields, countof(fields))) {
        return;
    }
    if (before_ms > ask->now_ms - TOO_YOUNG_MS) {
        answer_field(ask, API_FAULT_FIELD, "before", "must be a day ago or longer");
        return;
    }
    if (dry_run) {
        if (count_rows(worker, ask, before_ms, &counting)) {
            put_rows(ask, before_ms, true, counting.rows, true);
            put_i64(&ask->out, "cost_micros", counting.calls_micros);
            answer_end(ask);
        }
        return;
    }
    const bool done =
        engine_prune(worker->api->options.engine, before_ms, PRUNE_WAIT_MS, &counting.rows);
    if (counting.rows > 0) {
        note_deed(worker, ask, before_ms, counting.rows);
    }
    if (ask->status == 0) { /* else the gate did not hear of it, and that is the answer */
        put_rows(ask, before_ms, false, counting.rows, done);
        answer_end(ask);
    }
}
