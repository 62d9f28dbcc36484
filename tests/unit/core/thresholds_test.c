/* tests/unit/core/thresholds_test.c
 *
 * Goal: both thresholds of an account are set at once, or not at all, and what is shown of them is what a call would
 * meet: whose word they are, how far a report is believed, and which limit pauses new work.
 * Method: limits of five hours and of seven days that people set, one admin event a row; the view as pages ask for it. */
#include "gate.h"

#include <string.h>

#define NONE CAP_UNLIMITED

static struct limit *
a_threshold(struct gate *gate, const char *name, const char *set, int64_t span_ms, int64_t cap)
{
    struct limit *limit = add_limit(gate->policy, name, COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, cap);
    limit->span_ms = span_ms;
    limit->set = set;
    limit->at_cap = AT_CAP_PAUSE;
    limit->max_age_ms = 15 * MINUTE_MS;
    return limit;
}

static void
both_thresholds(struct gate *gate)
{
    a_threshold(gate, "week", "week_pct", 7 * DAY_MS, NONE); /* long before short, as somebody wrote them */
    a_threshold(gate, "session", "session_pct", 5 * HOUR_MS, NONE);
}

static struct verdict
set(struct gate *gate, const char *account, int64_t session_pct, int64_t week_pct)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin.verb = ADMIN_THRESHOLDS_PUT;
    event.admin.note = SLICE("{\"verb\":\"thresholds_put\"}");
    event.admin.thresholds = (struct thresholds){ session_pct, week_pct };
    slice_to_cstr(SLICE("control"), event.admin.actor, sizeof event.admin.actor);
    slice_to_cstr(slice_str(account), event.admin.account.name, sizeof event.admin.account.name);
    return gate_decide(gate, &event);
}

static void
view_of(struct gate *gate, int64_t account_id, const struct usage_try *tried, struct usage_view *view)
{
    struct needs needs;
    gate_start(gate);
    do {
        needs = (struct needs){ 0 };
        core_usage_needs(&gate->core, account_id, &needs);
    } while (gate_load(gate, &needs));
    core_usage(&gate->core, account_id, tried, view);
}

static void
report(struct gate *gate, const char *window, int64_t used_milli_pct, int64_t resets_at_ms)
{
    struct reported_row *row = &gate->bank.reported[0];
    gate->bank.reported_count = 1;
    row->account_id = ACCOUNT;
    row->version = 1;
    struct reported_window *at = &row->windows[row->window_count++];
    *at = (struct reported_window){
        .used_milli_pct = used_milli_pct, .resets_at_ms = resets_at_ms, .captured_ms = gate->now_ms
    };
    slice_to_cstr(slice_str(window), at->window, sizeof at->window);
}

static void
both_are_set_at_once_or_none(void **state)
{
    static const struct {
        const char *why, *account;
        int64_t session, week;
        enum status_of_admin answer;
        int64_t session_after, week_after;
    } rows[] = {
        { "nobody of that name", "eve", 80, 80, ADMIN_NOT_FOUND, NONE, NONE },
        { "more than all", "ann", 101, 80, ADMIN_INVALID, NONE, NONE },
        { "nothing at all", "ann", 80, 0, ADMIN_INVALID, NONE, NONE },
        { "less than nothing", "ann", -2, 80, ADMIN_INVALID, NONE, NONE },
        { "the lowest and the highest", "ann", 1, 100, ADMIN_DONE, 1, 100 },
        { "in their place", "ann", 80, 90, ADMIN_DONE, 80, 90 },
        { "one that is wrong leaves the other", "ann", 70, 101, ADMIN_INVALID, 80, 90 },
        { "one is taken back", "ann", NONE, 90, ADMIN_DONE, NONE, 90 },
        { "and the other", "ann", NONE, NONE, ADMIN_DONE, NONE, NONE },
        { "which may be said again", "ann", NONE, NONE, ADMIN_DONE, NONE, NONE },
    };
    struct gate *gate = *state;
    struct usage_view view;
    both_thresholds(gate);
    for (size_t i = 0; i < countof(rows); i++) {
        const int ledger = gate->bank.ledger_count;
        const struct verdict verdict = set(gate, rows[i].account, rows[i].session, rows[i].week);
        view_of(gate, ACCOUNT, NULL, &view);
        if (verdict.admin != rows[i].answer || view.thresholds[0]->own_pct != rows[i].session_after
            || view.thresholds[1]->own_pct != rows[i].week_after) {
            fail_msg("%s: %d, then %lld and %lld", rows[i].why, (int)verdict.admin,
                (long long)view.thresholds[0]->own_pct, (long long)view.thresholds[1]->own_pct);
        }
        assert_int_equal(gate->bank.ledger_count - ledger, verdict.admin == ADMIN_DONE);
    }
    const struct ledger_row *row = last_ledger(gate);
    assert_int_equal(row->kind, LEDGER_ADMIN);
    assert_int_equal(row->account_id, ACCOUNT);
    assert_string_equal(row->source, "control");
}

static void
a_threshold_that_no_limit_has_is_refused(void **state)
{
    struct gate *gate = *state;
    a_threshold(gate, "week", "week_pct", 7 * DAY_MS, NONE);
    assert_int_equal(set(gate, "ann", 80, 90).admin, ADMIN_INVALID);
    assert_int_equal(gate->bank.subject_count, 0);
    assert_int_equal(set(gate, "ann", NONE, 90).admin, ADMIN_DONE);
    a_threshold(gate, "week-too", "week_pct", 7 * DAY_MS, NONE); /* two limits may go by one threshold */
    assert_int_equal(set(gate, "ann", NONE, 85).admin, ADMIN_DONE);
    const struct subject_row *row = &gate->bank.subjects[0];
    assert_int_equal(row->set_count, 2);
    assert_int_equal(row->sets[0].amount, 85);
    assert_int_equal(row->sets[1].amount, 85);
}

static void
a_subject_that_is_full_keeps_what_it_has(void **state)
{
    struct gate *gate = *state;
    both_thresholds(gate);
    assert_int_equal(set(gate, "ann", NONE, 90).admin, ADMIN_DONE);
    struct subject_row *row = &gate->bank.subjects[0];
    while (row->set_count < SETS_MAX) {
        row->sets[row->set_count] = (struct cap_set){ .set_id = 5000 + row->set_count, .kind = SET_CAP, .amount = 1 };
        row->set_count++;
    }
    assert_int_equal(set(gate, "ann", 80, 95).admin, ADMIN_INVALID);
    assert_int_equal(row->sets[0].amount, 90);
    assert_int_equal(set(gate, "ann", NONE, 95).admin, ADMIN_DONE); /* in its own place there is room */
    assert_int_equal(row->sets[0].amount, 95);
}

static void
what_is_shown_is_what_a_call_would_meet(void **state)
{
    struct gate *gate = *state;
    struct usage_view view;
    both_thresholds(gate);
    set(gate, "ann", 80, 90);
    report(gate, "5h", 79999, gate->now_ms + HOUR_MS);
    report(gate, "7d", 90000, gate->now_ms + DAY_MS);
    report(gate, "30d", 1000, 0); /* shown though no limit goes by it */
    view_of(gate, ACCOUNT, NULL, &view);
    assert_int_equal(view.limit_count, 2);
    assert_string_equal(view.limits[0].limit->name, "session"); /* short ones first */
    assert_string_equal(view.limits[0].tier, "set");
    assert_int_equal(view.limits[0].cap_pct, 80);
    assert_false(view.limits[0].pauses);
    assert_true(view.limits[1].pauses);
    assert_int_equal(view.limits[1].answer.reason, REASON_WEEK_THRESHOLD);
    assert_ptr_equal(view.pausing, &view.limits[1]);
    assert_int_equal(view.reported->window_count, 3);
    const struct event call = a_call(MODEL_FREE, 1, 0);
    expect_refused(gate, &call, REASON_WEEK_THRESHOLD);

    const struct usage_try tried = { 70, NONE }; /* before it is set: what would it do? */
    view_of(gate, ACCOUNT, &tried, &view);
    assert_int_equal(view.limits[0].cap_pct, 70);
    assert_int_equal(view.limits[0].own_pct, 80);
    assert_ptr_equal(view.pausing, &view.limits[0]);
    assert_false(view.limits[1].pauses);
    assert_int_equal(gate->bank.subjects[0].sets[0].amount, 80); /* nothing changed */
}

static void
how_far_a_report_is_believed_is_shown(void **state)
{
    struct gate *gate = *state;
    struct usage_view view;
    both_thresholds(gate);
    set(gate, "ann", 80, 90);
    report(gate, "5h", 85000, gate->now_ms + HOUR_MS);
    report(gate, "30d", 1000, 0);
    static const struct {
        int64_t after_ms;
        const char *session, *month;
        bool pauses;
    } rows[] = {
        { 0, "known", "known", true },
        { 15 * MINUTE_MS, "known", "known", true },
        { 15 * MINUTE_MS + 1, "stale", "known", false }, /* as old as it is: no limit says what is too old */
        { HOUR_MS, "reset", "known", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        gate->now_ms = NOON_MS + rows[i].after_ms;
        view_of(gate, ACCOUNT, NULL, &view);
        assert_string_equal(view.states[0], rows[i].session);
        assert_string_equal(view.states[1], rows[i].month);
        assert_string_equal(view.limits[0].state, rows[i].session);
        assert_string_equal(view.limits[1].state, "missing");
        assert_int_equal(view.pausing != NULL, rows[i].pauses);
    }
}

static void
a_limit_that_is_only_watched_pauses_nobody(void **state)
{
    struct gate *gate = *state;
    struct usage_view view;
    a_threshold(gate, "trial", NULL, 5 * HOUR_MS, 50)->at_cap = AT_CAP_SHADOW;
    report(gate, "5h", 85000, gate->now_ms + HOUR_MS);
    view_of(gate, ACCOUNT, NULL, &view);
    assert_int_equal(view.limits[0].answer.reason, REASON_SESSION_THRESHOLD);
    assert_false(view.limits[0].pauses);
    assert_null(view.pausing);
    assert_string_equal(view.limits[0].tier, "default");
    assert_null(view.thresholds[0]); /* nobody sets it */
    assert_null(view.thresholds[1]);
}

static void
of_nobody_nothing_is_shown(void **state)
{
    struct gate *gate = *state;
    struct usage_view view;
    both_thresholds(gate);
    view_of(gate, 999, NULL, &view);
    assert_null(view.account);
    assert_int_equal(view.limit_count, 0);
    view_of(gate, ACCOUNT_B, NULL, &view); /* of whom nothing was reported */
    assert_non_null(view.account);
    assert_null(view.reported);
    assert_int_equal(view.limit_count, 2);
    assert_int_equal(view.limits[0].own_pct, NONE);
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    AT_GATE("both thresholds are set at once, or none", both_are_set_at_once_or_none),
    AT_GATE("a threshold that no limit has is refused", a_threshold_that_no_limit_has_is_refused),
    AT_GATE("a subject that is full keeps what it has", a_subject_that_is_full_keeps_what_it_has),
    AT_GATE("what is shown is what a call would meet", what_is_shown_is_what_a_call_would_meet),
    AT_GATE("how far a report is believed is shown", how_far_a_report_is_believed_is_shown),
    AT_GATE("a limit that is only watched pauses nobody", a_limit_that_is_only_watched_pauses_nobody),
    AT_GATE("of nobody nothing is shown", of_nobody_nothing_is_shown),
};
UNIT_MAIN(tests)
