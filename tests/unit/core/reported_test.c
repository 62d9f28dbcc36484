/* tests/unit/core/reported_test.c
 *
 * Goal: what a provider reports of its own windows stops new work exactly at the threshold, is told of the right
 * window, and stops nobody for longer than it is true.
 * Method: TH-1 to TH-10 are one table, a case a row: what is reported, both thresholds, who refuses. The rest
 * judges one limit with one thing changed. Percentages are written as a provider's decimals in thousandths. */
#include "gate.h"

#include <string.h>

#include "core/reported.h"
#include "rows/pack.h"

#define NOW_MS        NOON_MS
#define SESSION_RESET (NOW_MS + 2 * HOUR_MS)
#define WEEK_RESET    (NOW_MS + 3 * DAY_MS)
#define OPUS_RESET    (NOW_MS + 4 * DAY_MS)
#define NONE          (-1)

static const struct limit session = { .name = "five-hour",
    .limit_id = 7,
    .set_id = 7,
    .counts = COUNT_REPORTED,
    .per = PER_ACCOUNT,
    .window = WINDOW_REPORTED,
    .span_ms = 5 * HOUR_MS,
    .max_age_ms = 15 * MINUTE_MS };
static const struct limit week = { .name = "week",
    .limit_id = 8,
    .set_id = 8,
    .counts = COUNT_REPORTED,
    .per = PER_ACCOUNT,
    .window = WINDOW_REPORTED,
    .span_ms = 7 * DAY_MS,
    .max_age_ms = 15 * MINUTE_MS };

static const struct model opus = { .name = "claude-opus-4-6" };
static const struct model sonnet = { .name = "sonnet",
    .route_count = 1,
    .routes = { { .model = "claude-sonnet-4-6" } } };

static void
add_window(struct reported_row *row, const char *credential, const char *window, const char *models,
    int64_t used_milli_pct, int64_t resets_at_ms)
{
    struct reported_window *at = &row->windows[row->window_count++];
    *at = (struct reported_window){
        .used_milli_pct = used_milli_pct, .resets_at_ms = resets_at_ms, .captured_ms = NOW_MS
    };
    assert_true(slice_to_cstr(slice_str(credential), at->credential, sizeof at->credential));
    assert_true(slice_to_cstr(slice_str(window), at->window, sizeof at->window));
    assert_true(slice_to_cstr(slice_str(models), at->models, sizeof at->models));
}

static struct reported_answer
judge(const struct limit *limit, const struct reported_row *row, const struct model *model, int64_t cap_pct)
{
    const struct reported_ask ask = {
        .limit = limit, .row = row, .model = model, .cap_pct = cap_pct, .now_ms = NOW_MS
    };
    return reported_judge(&ask);
}

/* --- The decision, as it was published: session before week, boundary inclusive, raw values. */

struct published {
    const char *name;
    int64_t five, seven, opus; /* milli-percent; NONE = no snapshot, or no such window */
    int64_t session_pct, week_pct;
    enum reason reason;
    int64_t shown_milli_pct, resets_at_ms;
};
static const struct published published[] = {
    { "TH-1 without thresholds all is allowed", 99000, 99000, NONE, NONE, NONE, REASON_OK, 0, 0 },
    { "TH-2 without a report all is allowed", NONE, NONE, NONE, 90, 90, REASON_OK, 0, 0 },
    { "TH-3 the session window refuses, with its use, threshold and reset", 92000, 10000, NONE, 90, 95,
        REASON_SESSION_THRESHOLD, 92000, SESSION_RESET },
    { "TH-4 the week refuses, with its use, threshold and reset", 10000, 92000, NONE, 95, 90, REASON_WEEK_THRESHOLD,
        92000, WEEK_RESET },
    { "TH-5 the session window goes before the week", 95000, 99000, NONE, 90, 90, REASON_SESSION_THRESHOLD, 95000,
        SESSION_RESET },
    { "TH-6 the threshold itself refuses", 90000, 10000, NONE, 90, NONE, REASON_SESSION_THRESHOLD, 90000,
        SESSION_RESET },
    { "TH-7 just under the threshold is under it, whatever is shown", 89900, 10000, NONE, 90, NONE, REASON_OK, 0, 0 },
    { "TH-8 the week of a model set counts in the week", 10000, 50000, 95000, NONE, 90, REASON_WEEK_THRESHOLD, 95000,
        OPUS_RESET },
    { "FF-89 TH-9 a week that is full is nothing to the session's threshold", 50000, 99000, NONE, 90, NONE, REASON_OK, 0, 0 },
    { "TH-10 a session window that is full is nothing to the week's threshold", 99000, 50000, NONE, NONE, 90,
        REASON_OK, 0, 0 },
};

static void
the_published_decision(void **state)
{
    const struct published *told = *state;
    struct reported_row row = { .account_id = ACCOUNT };
    if (told->five != NONE) {
        add_window(&row, "", "5h", "", told->five, SESSION_RESET);
        add_window(&row, "", "7d", "", told->seven, WEEK_RESET);
    }
    if (told->opus != NONE) {
        add_window(&row, "", "7d_opus", "*opus*", told->opus, OPUS_RESET);
    }
    const struct reported_row *known = told->five == NONE ? NULL : &row;
    const struct model *const models[] = { NULL, &opus }; /* no model in particular, and one of the set */
    for (size_t i = 0; i < countof(models); i++) {
        const struct reported_answer first = judge(&session, known, models[i], told->session_pct);
        const struct reported_answer second = judge(&week, known, models[i], told->week_pct);
        const struct reported_answer *refusal = first.reason != REASON_OK ? &first : &second;
        assert_int_equal(refusal->reason, told->reason);
        if (told->reason != REASON_OK) {
            assert_int_equal(refusal->used_milli_pct, told->shown_milli_pct);
            assert_int_equal(refusal->resets_at_ms, told->resets_at_ms);
            assert_int_equal(refusal->retry_after_ms, told->resets_at_ms - NOW_MS);
        }
    }
}

/* --- What the published one got wrong. */

static void
a_window_counts_for_the_models_it_governs(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "", "7d", "", 50000, WEEK_RESET);
    add_window(&row, "", "7d_opus", "*opus*", 95000, OPUS_RESET);
    add_window(&row, "", "7d_oauth_apps", REPORTED_NO_MODELS, 99000, OPUS_RESET);
    assert_int_equal(judge(&week, &row, &opus, 90).reason, REASON_WEEK_THRESHOLD);
    assert_int_equal(judge(&week, &row, &sonnet, 90).reason, REASON_OK);
    assert_int_equal(judge(&week, &row, &sonnet, 50).used_milli_pct, 50000);
    assert_int_equal(judge(&week, &row, NULL, 96).reason, REASON_OK); /* nothing counts in a set of none */

    row.windows[1].models[0] = '\0'; /* it names none: it counts for all */
    assert_int_equal(judge(&week, &row, &sonnet, 90).reason, REASON_WEEK_THRESHOLD);

    static const struct {
        const char *models;
        bool sonnet;
    } sets[] = { { "sonnet", true }, { "claude-sonnet-4-6", true }, { "claude-opus*,*4-6", true }, { "claude", false },
        { "claude*", true }, { "*opus*", false }, { "*-4-5", false }, { "*", true } };
    for (size_t i = 0; i < countof(sets); i++) {
        assert_true(slice_to_cstr(slice_str(sets[i].models), row.windows[1].models, sizeof row.windows[1].models));
        if ((judge(&week, &row, &sonnet, 90).reason == REASON_WEEK_THRESHOLD) != sets[i].sonnet) {
            fail_msg("%s", sets[i].models);
        }
    }
}

static void
an_exact_tie_tells_the_reset_of_the_model_set(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "", "7d_opus", "*opus*", 95000, OPUS_RESET);
    add_window(&row, "", "7d", "", 95000, WEEK_RESET);
    assert_int_equal(judge(&week, &row, &opus, 90).resets_at_ms, OPUS_RESET);
}

static void
a_reset_that_has_passed_means_nothing_is_used(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "", "5h", "", 99000, NOW_MS + 1);
    assert_int_equal(judge(&session, &row, NULL, 90).reason, REASON_SESSION_THRESHOLD);
    row.windows[0].resets_at_ms = NOW_MS;
    const struct reported_answer answer = judge(&session, &row, NULL, 90);
    assert_int_equal(answer.reason, REASON_OK);
    assert_int_equal(answer.state, REPORTED_RESET);
    assert_int_equal(answer.used_milli_pct, 0);
}

static void
what_is_too_old_follows_on_stale(void **state)
{
    static const struct {
        enum fact_rule on_stale;
        enum reason reason;
        int64_t used_milli_pct;
    } rows[] = {
        { FACT_ALLOW, REASON_OK, 95000 },
        { FACT_DENY, REASON_USAGE_UNKNOWN, 95000 },
        { FACT_TREAT_AS_RESET, REASON_OK, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct limit limit = session;
        struct reported_row row = { .account_id = ACCOUNT };
        limit.on_stale = rows[i].on_stale;
        add_window(&row, "", "5h", "", 95000, SESSION_RESET);
        row.windows[0].captured_ms = NOW_MS - limit.max_age_ms; /* just young enough */
        assert_int_equal(judge(&limit, &row, NULL, 90).reason, REASON_SESSION_THRESHOLD);
        row.windows[0].captured_ms--;
        const struct reported_answer answer = judge(&limit, &row, NULL, 90);
        assert_int_equal(answer.reason, rows[i].reason);
        assert_int_equal(answer.state, REPORTED_STALE);
        assert_int_equal(answer.used_milli_pct, rows[i].used_milli_pct);
        assert_int_equal(judge(&limit, &row, NULL, NONE).reason, REASON_OK); /* no threshold is set */
        limit.max_age_ms = 0; /* nothing is ever too old */
        assert_int_equal(judge(&limit, &row, NULL, 90).reason, REASON_SESSION_THRESHOLD);
    }
}

static void
what_is_missing_follows_on_missing(void **state)
{
    struct limit limit = session;
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "", "7d", "", 10000, WEEK_RESET); /* another window tells nothing of this one */
    assert_int_equal(judge(&limit, &row, NULL, 90).reason, REASON_OK);
    limit.on_missing = FACT_DENY;
    const struct reported_answer answer = judge(&limit, &row, NULL, 90);
    assert_int_equal(answer.reason, REASON_USAGE_UNKNOWN);
    assert_int_equal(answer.state, REPORTED_MISSING);
    assert_null(answer.window);
    assert_int_equal(judge(&limit, &row, NULL, NONE).reason, REASON_OK);
}

static void
without_a_known_reset_the_wait_ends_when_the_report_is_too_old(void **state)
{
    struct limit limit = session;
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "", "5h", "", 95000, 0);
    row.windows[0].captured_ms = NOW_MS - MINUTE_MS;
    assert_int_equal(judge(&limit, &row, NULL, 90).retry_after_ms, 14 * MINUTE_MS + 1);
    limit.on_stale = FACT_DENY;
    assert_int_equal(judge(&limit, &row, NULL, 90).retry_after_ms, 0);
}

static void
of_several_credentials_the_one_that_is_used_is_judged(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    add_window(&row, "work", "5h", "", 95000, SESSION_RESET);
    add_window(&row, "home", "5h", "", 10000, SESSION_RESET);
    struct reported_ask ask = { .limit = &session, .row = &row, .cap_pct = 90, .now_ms = NOW_MS };
    static const struct {
        const char *credential;
        enum reason reason;
    } rows[] = {
        { "work", REASON_SESSION_THRESHOLD },
        { "home", REASON_OK },
        { "else", REASON_SESSION_THRESHOLD }, /* not known: the fullest */
        { NULL, REASON_SESSION_THRESHOLD },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        ask.credential = rows[i].credential;
        assert_int_equal(reported_judge(&ask).reason, rows[i].reason);
    }
    static const struct {
        const char *work; /* the name of a provider, or what only its reporter calls it */
        enum reason reason;
    } elsewhere[] = { { "anthropic", REASON_OK }, { "work", REASON_SESSION_THRESHOLD } };
    struct provider providers[] = { { .name = "openai" }, { .name = "anthropic" } };
    struct policy policy = { .providers = providers, .provider_count = 2 };
    ask.policy = &policy;
    ask.credential = "openai";
    for (size_t i = 0; i < countof(elsewhere); i++) {
        strcpy(row.windows[0].credential, elsewhere[i].work);
        assert_int_equal(reported_judge(&ask).reason, elsewhere[i].reason);
    }
    add_window(&row, "", "5h", "", 92000, SESSION_RESET); /* one without a name may be any */
    ask.credential = "home";
    assert_int_equal(reported_judge(&ask).used_milli_pct, 92000);
}

/* --- Reports. */

static struct event
a_report(const struct reported_row *row, bool whole, struct buf *packed)
{
    struct event event = { .kind = EVENT_REPORT };
    buf_clear(packed);
    pack_reported(row, packed);
    event.report =
        (struct report_event){ .account_id = row->account_id, .whole = whole, .windows = buf_slice(packed) };
    return event;
}

static void
a_report_is_kept_and_the_next_takes_its_place(void **state)
{
    struct gate *gate = *state;
    struct buf packed = { 0 };
    struct reported_row report = { .account_id = ACCOUNT };
    add_window(&report, "", "5h", "", 50000, SESSION_RESET);
    add_window(&report, "", "7d_opus", "*opus*", 60000, OPUS_RESET);
    add_window(&report, "desk", "5h", "", 70000, SESSION_RESET);
    for (int32_t i = 0; i < report.window_count; i++) {
        report.windows[i].captured_ms = 0; /* now */
    }
    struct event event = a_report(&report, true, &packed);
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
    assert_int_equal(gate->bank.reported_count, 1);
    const struct reported_row *row = &gate->bank.reported[0];
    assert_int_equal(row->window_count, 3);
    assert_int_equal(row->windows[0].captured_ms, gate->now_ms);

    gate->now_ms += MINUTE_MS; /* of headers: one window, the others stay */
    struct reported_row headers = { .account_id = ACCOUNT };
    add_window(&headers, "", "5h", "", 51000, SESSION_RESET - HOUR_MS); /* providers move them */
    headers.windows[0].captured_ms = 0;
    event = a_report(&headers, false, &packed);
    expect_allowed(gate, &event);
    assert_int_equal(row->window_count, 3);
    assert_int_equal(row->windows[0].used_milli_pct, 51000);
    assert_int_equal(row->windows[0].resets_at_ms, SESSION_RESET - HOUR_MS);
    assert_int_equal(row->windows[0].captured_ms, gate->now_ms);

    event = a_report(&headers, true, &packed); /* all there is of that credential */
    expect_allowed(gate, &event);
    assert_int_equal(row->window_count, 2);
    assert_string_equal(row->windows[0].window, "5h");
    assert_string_equal(row->windows[1].credential, "desk");
    buf_free(&packed);
}

static void
an_older_or_equal_report_changes_nothing(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    struct reported_row report = { .account_id = ACCOUNT };
    add_window(&row, "", "5h", "", 50000, SESSION_RESET);
    add_window(&report, "", "5h", "", 40000, SESSION_RESET);
    report.windows[0].captured_ms = NOW_MS - 1;
    assert_false(reported_merge(&row, &report, true, NOW_MS + HOUR_MS));
    assert_int_equal(row.windows[0].used_milli_pct, 50000);
    report.windows[0].used_milli_pct = 50000;
    report.windows[0].captured_ms = NOW_MS + 9 * SECOND_MS;
    assert_false(reported_merge(&row, &report, false, NOW_MS + HOUR_MS)); /* the same, so soon */
    report.windows[0].captured_ms = NOW_MS + 10 * SECOND_MS;
    assert_true(reported_merge(&row, &report, false, NOW_MS + HOUR_MS));
    report.windows[0].captured_ms = NOW_MS + DAY_MS; /* to come: now */
    assert_true(reported_merge(&row, &report, false, NOW_MS + HOUR_MS));
    assert_int_equal(row.windows[0].captured_ms, NOW_MS + HOUR_MS);
}

static void
the_oldest_gives_way(void **state)
{
    struct reported_row row = { .account_id = ACCOUNT };
    for (int i = 0; i < REPORTED_MAX; i++) {
        char credential[8];
        (void)snprintf(credential, sizeof credential, "c%d", i);
        add_window(&row, credential, "5h", "", 1000, 0);
        row.windows[i].captured_ms = NOW_MS - (i == 4 ? HOUR_MS : MINUTE_MS);
    }
    struct reported_row report = { .account_id = ACCOUNT };
    add_window(&report, "new", "5h", "", 2000, 0);
    assert_true(reported_merge(&row, &report, true, NOW_MS));
    assert_int_equal(row.window_count, REPORTED_MAX);
    assert_string_equal(row.windows[4].credential, "new");
    assert_true(reported_valid(&row));
}

static void
a_report_that_makes_no_sense_is_told(void **state)
{
    struct gate *gate = *state;
    static const char *const texts[] = { "x", ",5h,,-1,0,0,0;", ",5h,,1,0,0,0;,5h,,1,0,0,0;" };
    for (size_t i = 0; i < countof(texts); i++) {
        struct event event = { .kind = EVENT_REPORT };
        event.report = (struct report_event){ .account_id = ACCOUNT, .windows = slice_str(texts[i]) };
        assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_INVALID);
    }
    assert_int_equal(gate->bank.reported_count, 0);
}

static void
a_call_is_refused_at_the_threshold_and_changes_nothing(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "five-hour", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, 90);
    limit->span_ms = 5 * HOUR_MS;
    limit->max_age_ms = 15 * MINUTE_MS;
    limit->at_cap = AT_CAP_PAUSE;
    struct reported_row report = { .account_id = ACCOUNT };
    add_window(&report, "", "5h", "", 89999, gate->now_ms + HOUR_MS);
    report.windows[0].captured_ms = 0;
    struct buf packed = { 0 };
    struct event told = a_report(&report, true, &packed);
    struct event call = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &call); /* nothing is known yet */
    expect_allowed(gate, &told);
    const struct verdict running = expect_allowed(gate, &call);
    assert_int_equal(bank_hold(gate, running.hold_id)->part_count, 0); /* it only compares */
    const struct slice inputs = bank_hold(gate, running.hold_id)->inputs;
    assert_true(slice_find(inputs, SLICE("\"reported\":[{\"limit\":\"five-hour\",\"cap_pct\":90,"
                                         "\"state\":\"known\",\"used_milli_pct\":89999,"))
                >= 0);

    report.windows[0].used_milli_pct = 90000;
    told = a_report(&report, true, &packed);
    expect_allowed(gate, &told);
    const struct verdict refused = expect_refused(gate, &call, REASON_SESSION_THRESHOLD);
    assert_string_equal(refused.refusal.limit_name, "five-hour");
    assert_int_equal(refused.refusal.used, 90000);
    assert_int_equal(refused.refusal.cap, 90000);
    assert_int_equal(refused.refusal.retry_after_ms, HOUR_MS);
    const struct event more = an_extend(running.hold_id, 50); /* what runs goes on */
    expect_allowed(gate, &more);
    struct event other = call;
    other.call.account_id = ACCOUNT_B;
    other.call.key_id = KEY_B;
    expect_allowed(gate, &other); /* and so does everybody else */

    gate->now_ms += HOUR_MS;
    expect_allowed(gate, &call); /* the reset has passed */
    gate->now_ms -= HOUR_MS;
    limit->cap_default = 91;
    expect_allowed(gate, &call);
    limit->cap_default = CAP_UNLIMITED;
    expect_allowed(gate, &call);
    limit->cap_default = 50;
    expect_refused(gate, &call, REASON_SESSION_THRESHOLD);
    limit->at_cap = AT_CAP_SHADOW;
    assert_int_equal(expect_allowed(gate, &call).shadow.reason, REASON_SESSION_THRESHOLD);
    buf_free(&packed);
}

static void
a_limit_of_the_gateway_judges_the_company_s_credentials(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "company-week", COUNT_REPORTED, PER_GATEWAY, WINDOW_REPORTED, 90);
    limit->span_ms = 7 * DAY_MS;
    limit->at_cap = AT_CAP_PAUSE;
    struct reported_row report = { .account_id = 0 };
    add_window(&report, "other", "7d", "", 95000, WEEK_RESET);
    struct buf packed = { 0 };
    struct event told = a_report(&report, false, &packed);
    struct event call = a_call(MODEL_PAID, 100, 100);
    expect_allowed(gate, &told);
    expect_allowed(gate, &call); /* it would go to another provider */
    const struct model *model = &gate->policy->models[MODEL_PAID];
    strcpy(report.windows[0].credential, gate->policy->providers[model->routes[0].provider].name);
    told = a_report(&report, false, &packed);
    expect_allowed(gate, &told);
    assert_int_equal(expect_refused(gate, &call, REASON_WEEK_THRESHOLD).refusal.per, PER_GATEWAY);
    buf_free(&packed);
}

static struct event
thresholds_put(const char *account, int64_t session_pct, int64_t week_pct)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin.verb = ADMIN_THRESHOLDS_PUT;
    event.admin.note = SLICE("{}");
    event.admin.thresholds = (struct thresholds){ session_pct, week_pct };
    assert_true(slice_to_cstr(slice_str(account), event.admin.account.name, sizeof event.admin.account.name));
    return event;
}

static void
thresholds_are_set_both_or_none(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "five-hour", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, CAP_UNLIMITED);
    limit->span_ms = 5 * HOUR_MS;
    limit->set = "session_pct";
    static const struct {
        const char *account;
        int64_t session_pct, week_pct;
        enum status_of_admin admin;
        int32_t sets;
    } rows[] = {
        { "nobody", 90, NONE, ADMIN_NOT_FOUND, 0 },
        { "ann", 90, 90, ADMIN_INVALID, 0 }, /* no limit has week_pct */
        { "ann", 0, NONE, ADMIN_INVALID, 0 },
        { "ann", 101, NONE, ADMIN_INVALID, 0 },
        { "ann", NONE, NONE, ADMIN_DONE, 0 },
        { "ann", 90, NONE, ADMIN_DONE, 1 },
        { "ann", 91, NONE, ADMIN_DONE, 1 },
        { "ann", NONE, NONE, ADMIN_DONE, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = thresholds_put(rows[i].account, rows[i].session_pct, rows[i].week_pct);
        assert_int_equal(expect_allowed(gate, &event).admin, rows[i].admin);
        const struct subject_row *subject = gate->bank.subject_count ? &gate->bank.subjects[0] : NULL;
        assert_int_equal(subject ? subject->set_count : 0, rows[i].sets);
        if (rows[i].sets) {
            assert_int_equal(subject->sets[0].amount, rows[i].session_pct);
            assert_int_equal(subject->sets[0].set_id, limit->set_id);
        }
    }
    gate->bank.subjects[0].set_count = SETS_MAX; /* of other limits */
    for (int32_t i = 0; i < SETS_MAX; i++) {
        gate->bank.subjects[0].sets[i] = (struct cap_set){ .set_id = 5000 + i, .amount = 1 };
    }
    struct event event = thresholds_put("ann", 90, NONE);
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_INVALID);
}

#define PUBLISHED(i)                                                                               \
    {                                                                                              \
        NULL, the_published_decision, NULL, NULL, (void *)(uintptr_t)&published[i]                 \
    }
static struct CMUnitTest tests[] = {
    PUBLISHED(0), PUBLISHED(1), PUBLISHED(2), PUBLISHED(3), PUBLISHED(4), PUBLISHED(5), PUBLISHED(6), PUBLISHED(7),
    PUBLISHED(8), PUBLISHED(9),
    CASE("a window counts for the models it governs, by any name of theirs", a_window_counts_for_the_models_it_governs),
    CASE("an exact tie tells the reset of the model set", an_exact_tie_tells_the_reset_of_the_model_set),
    CASE("a reset that has passed means that nothing is used", a_reset_that_has_passed_means_nothing_is_used),
    CASE("what is too old follows on_stale", what_is_too_old_follows_on_stale),
    CASE("what is missing follows on_missing", what_is_missing_follows_on_missing),
    CASE("without a known reset the wait ends when the report is too old",
        without_a_known_reset_the_wait_ends_when_the_report_is_too_old),
    CASE("of several credentials the one that is used is judged", of_several_credentials_the_one_that_is_used_is_judged),
    CASE_WITH("FF-88 a report is kept, and the next takes its place", a_report_is_kept_and_the_next_takes_its_place, gate_make,
        gate_end),
    CASE("an older or equal report changes nothing", an_older_or_equal_report_changes_nothing),
    CASE("the oldest gives way", the_oldest_gives_way),
    CASE_WITH("a call is refused at the threshold and changes nothing, while what runs goes on",
        a_call_is_refused_at_the_threshold_and_changes_nothing, gate_make, gate_end),
    CASE_WITH("a limit of the gateway judges the company's credentials",
        a_limit_of_the_gateway_judges_the_company_s_credentials, gate_make, gate_end),
    CASE_WITH("thresholds are set both or none", thresholds_are_set_both_or_none, gate_make, gate_end),
    CASE_WITH("a report that makes no sense is told", a_report_that_makes_no_sense_is_told, gate_make, gate_end),
};

int
main(void)
{
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    for (size_t i = 0; i < countof(published); i++) {
        tests[i].name = published[i].name;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
