/* tests/unit/store/audit_test.c
 *
 * Goal: an audit tells books that do not agree from those that do, also while calls are in flight.
 * Method: rows of one limit and one open call, handed to the audit as a store's inspector would. */
#include "world.h"

#include "store/audit_priv.h"

#define LIMIT_ID   1
#define SUBJECT_ID 2
#define HOLD_ID    5

struct books {
    int64_t window_age_ms; /* the day that the meter is of began so long ago */
    bool stored;
    struct meter meter;
    int64_t held, bound; /* by the open call */
    int64_t booked;      /* by one that is over */
};

static struct ledger_row
booked_row(int64_t window_ms, int64_t cost_micros, char inputs[128])
{
    struct ledger_row row = a_ledger_row(4);
    (void)snprintf(inputs, 128, "{\"limits\":[{\"limit\":\"a-day\",\"cap\":100,\"window\":%lld}]}", (long long)window_ms);
    row.attempt = 0;
    row.account_id = row.key_id = row.thread_id = row.root_id = 0;
    row.cost_micros = cost_micros;
    row.inputs = slice_str(inputs);
    return row;
}

static enum status
inspect_books(void *source, const struct inspector *to, struct inspected *inspected, struct store_error *error)
{
    const struct books *books = source;
    const struct node_row node = { .node_id = 1, .high_water_ms = NOW_MS };
    const int64_t window_ms = NOW_MS - books->window_age_ms;
    char inputs[128];
    struct limit_def_row limit = a_limit_def(LIMIT_ID, "a-day");
    limit.counts = COUNT_COST;
    limit.per = PER_GATEWAY;
    limit.window = WINDOW_DAY;
    limit.span_ms = 0;
    const struct subject_row subject = { .subject_id = SUBJECT_ID, .kind = SUBJECT_GATEWAY };
    struct meter_row meters = { .subject_id = SUBJECT_ID, .meter_count = books->stored, .meters = { books->meter } };
    meters.meters[0].limit_id = LIMIT_ID;
    meters.meters[0].window_ms = window_ms;
    struct hold_row hold = a_hold(HOLD_ID, &node);
    hold.account_id = hold.key_id = 0;
    hold.part_count = 1;
    hold.parts[0] = (struct hold_part){ LIMIT_ID, SUBJECT_ID, window_ms, books->held, books->bound, 100, COUNT_COST,
        WINDOW_DAY, HOLD_MODE_STREAM, true };
    const struct ledger_row ledger = booked_row(window_ms, books->booked, inputs);
    (void)error;
    *inspected = (struct inspected){ .high_water_ms = NOW_MS };
    to->own(to->user, inspected);
    to->node(to->user, &node);
    to->limit_def(to->user, &limit);
    to->subject(to->user, &subject);
    to->meter(to->user, &meters);
    to->hold(to->user, &hold);
    to->ledger(to->user, &ledger);
    return STATUS_OK;
}

static void
meters_are_compared_with_what_is_held_and_booked(void **state)
{
    static const struct {
        const char *what;
        struct books books;
        bool differ;
        enum audit_part part;
    } rows[] = {
        { "they agree", { 0, true, { .settled = 7, .held = 2, .bound = 3 }, 2, 3, 7 }, false, 0 },
        { "it has settled more", { 0, true, { .settled = 8, .held = 2, .bound = 3 }, 2, 3, 7 }, true, AUDIT_SETTLED },
        { "it holds less", { 0, true, { .settled = 7, .held = 1, .bound = 3 }, 2, 3, 7 }, true, AUDIT_HELD },
        { "it is lost", { 0, false, { 0 }, 2, 3, 7 }, true, AUDIT_HELD },
        { "it is lost, and nothing is held", { 0, false, { 0 }, 0, 0, 7 }, true, AUDIT_SETTLED },
        { "its day is over, and something is held", { 2 * DAY_MS, false, { 0 }, 2, 3, 7 }, true, AUDIT_HELD },
        { "its day is over, and something bound", { 2 * DAY_MS, false, { 0 }, 0, 3, 7 }, true, AUDIT_HELD },
        { "its day is over, and nothing is held", { 2 * DAY_MS, false, { 0 }, 0, 0, 7 }, false, 0 },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct books books = rows[i].books;
        struct audit audit;
        struct store_error error;
        assert_int_equal(audit_source(inspect_books, &books, NULL, NULL, &audit, &error), STATUS_OK);
        const int64_t found = audit.different[rows[i].part];
        if (audit.difference_count != rows[i].differ || found != rows[i].differ) {
            fail_msg("%s: %s", rows[i].what, audit.finding_count > 0 ? audit.findings[0].what : "nothing is found");
        }
        store_audit_free(&audit);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("meters are compared with what is held and booked", meters_are_compared_with_what_is_held_and_booked),
};
UNIT_MAIN(tests)
