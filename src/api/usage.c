/* api/usage.c: what providers report of an account's own windows, the thresholds that it sets on that, and
 * whether new work is paused by them. A key speaks for its account, or for whom it acts; one that may read all,
 * and the control socket, name an account; only an admin changes another's. */
#include "api/api_priv.h"

#include <stdio.h>

#include "engine/usage.h"
#include "log/log.h"
#include "rows/pack.h"
#include "wire/json.h"
#include "wire/reported.h"

static const char *const threshold_fields[] = { "session_pct", "week_pct" };

/* --- Whose. */

struct subject {
    char account[NAME_MAX_BYTES + 1]; /* as the query names it, then its name */
    int64_t account_id;
};

static bool
may_change(const struct ask *ask, const struct subject *subject)
{
    const bool own = subject->account_id == ask->identity.account_id;
    const bool admin = ask->control || ask->identity.role == ROLE_ADMIN;
    return admin || (own && ask->identity.role != ROLE_OBSERVER);
}

/* False: answered. Foreign names and missing ones are answered alike. */
static bool
find_subject(struct api_worker *worker, struct ask *ask, bool changes, struct subject *subject)
{
    const bool own = !subject->account[0] || strcmp(subject->account, ask->identity.account) == 0;
    if (!subject->account[0] && ask->control) {
        answer_field(ask, API_FAULT_PARAMETER, "account", "is missing: whose it is");
        return false;
    }
    if (own && !ask->control) {
        subject->account_id = ask->identity.account_id;
        memcpy(subject->account, ask->identity.account, sizeof(subject->account));
    } else if (!ask->may_read_all) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
        return false;
    } else if (!names_id_of(worker, ask, subject->account, &subject->account_id)) {
        return false;
    }
    if (changes && !may_change(ask, subject)) {
        answer_reason(ask, REASON_KEY_ROLE);
        return false;
    }
    return true;
}

/* --- Showing. */

/* Thousandths of a percent as a number without trailing zeros. */
static void
put_milli_pct(struct buf *out, const char *key, int64_t milli_pct)
{
    char text[40];
    int length = snprintf(text, sizeof(text), "%lld.%03lld", (long long)(milli_pct / MILLI_PCT),
        (long long)(milli_pct % MILLI_PCT));
    while (text[length - 1] == '0') {
        length--;
    }
    length -= text[length - 1] == '.';
    put_json(out, key, slice_of(text, (size_t)length));
}

static void
put_pct_or_null(struct buf *out, const char *key, int64_t pct)
{
    if (pct == CAP_UNLIMITED) {
        put_null(out, key);
    } else {
        put_i64(out, key, pct);
    }
}

/* As the account has set them: whoever writes them back changes nothing. */
static void
put_thresholds(struct buf *out, const struct usage_view *view)
{
    for (size_t i = 0; i < countof(threshold_fields); i++) {
        const struct usage_limit *shown = view->thresholds[i];
        put_pct_or_null(out, threshold_fields[i], shown ? shown->own_pct : CAP_UNLIMITED);
    }
}

static void
put_models(struct buf *out, const struct reported_window *window)
{
    if (!window || !window->models[0]) {
        put_null(out, "models"); /* all of them */
        return;
    }
    struct slice rest = slice_str(window->models);
    struct slice pattern = { 0 };
    put_open(out, "models", '[');
    while (strcmp(window->models, REPORTED_NO_MODELS) != 0 && slice_split(&rest, ',', &pattern)) {
        put_slice(out, NULL, pattern);
    }
    put_close(out, ']');
}

static void
put_window(struct buf *out, const struct reported_window *window, const char *state, int64_t now_ms)
{
    put_open(out, NULL, '{');
    put_text(out, "window", window->window);
    put_text_or_null(out, "credential", window->credential);
    put_milli_pct(out, "utilization", window->used_milli_pct);
    put_models(out, window);
    put_time(out, "resets_at", window->resets_at_ms);
    put_time(out, "captured_at", window->captured_ms);
    put_i64(out, "age_s", max_i64(0, now_ms - window->captured_ms) / SECOND_MS);
    put_text(out, "source", reported_source_word(window->source));
    put_text(out, "state", state);
    put_close(out, '}');
}

/* Of one name, whatever its credential, the one that was told last; NULL = none. */
static const struct reported_window *
newest_of(const struct reported_row *row, const char *window)
{
    const struct reported_window *newest = NULL;
    for (int32_t i = 0; row && i < row->window_count; i++) {
        const struct reported_window *at = &row->windows[i];
        if (strcmp(at->window, window) == 0 && (!newest || at->captured_ms > newest->captured_ms)) {
            newest = at;
        }
    }
    return newest;
}

static void
put_long_named(struct buf *out, const struct reported_row *row, const char *window)
{
    const struct reported_window *newest = newest_of(row, window);
    char name[48];
    reported_long_name(window, name);
    if (!newest) {
        put_null(out, name);
        return;
    }
    put_open(out, name, '{');
    put_milli_pct(out, "utilization", newest->used_milli_pct);
    put_time(out, "resets_at", newest->resets_at_ms);
    put_close(out, '}');
}

/* In the form in which a provider tells it. */
static void
put_payload(struct buf *out, const struct reported_row *row)
{
    static const char *const always[] = { "5h", "7d", "7d_opus", "7d_oauth_apps" };
    int64_t updated_ms = 0;
    if (!row || row->window_count == 0) {
        put_null(out, "usage");
        put_null(out, "updated_at");
        return;
    }
    put_open(out, "usage", '{');
    for (size_t i = 0; i < countof(always); i++) {
        put_long_named(out, row, always[i]);
    }
    for (int32_t i = 0; i < row->window_count; i++) {
        const struct reported_window *window = &row->windows[i];
        bool is_told = newest_of(row, window->window) != window;
        for (size_t k = 0; k < countof(always); k++) {
            is_told |= strcmp(always[k], window->window) == 0;
        }
        if (!is_told) {
            put_long_named(out, row, window->window);
        }
        updated_ms = max_i64(updated_ms, window->captured_ms);
    }
    put_close(out, '}');
    put_time(out, "updated_at", updated_ms);
}

/* Whether new work is paused, by what, and until when; percentages are rounded for people. */
static void
put_pause(struct buf *out, const struct usage_limit *pausing)
{
    put_bool(out, "paused", pausing != NULL);
    if (!pausing) {
        put_null(out, "reason");
        put_null(out, "limit");
        put_null(out, "utilization_pct");
        put_null(out, "threshold_pct");
        put_null(out, "resets_at");
        put_null(out, "models");
        return;
    }
    const struct reported_answer *answer = &pausing->answer;
    put_text(out, "reason", reason_row(answer->reason)->code);
    put_text(out, "limit", pausing->limit->name);
    if (answer->window) {
        put_i64(out, "utilization_pct", (answer->used_milli_pct + MILLI_PCT / 2) / MILLI_PCT);
    } else {
        put_null(out, "utilization_pct");
    }
    put_i64(out, "threshold_pct", pausing->cap_pct);
    put_time(out, "resets_at", answer->resets_at_ms);
    put_models(out, answer->window);
}

static void
put_limit(struct buf *out, const struct usage_limit *shown)
{
    put_open(out, NULL, '{');
    put_text(out, "limit", shown->limit->name);
    put_text(out, "per", per_word(shown->limit->per));
    put_i64(out, "window_s", shown->limit->span_ms / SECOND_MS);
    put_text_or_null(out, "set", shown->limit->set);
    put_pct_or_null(out, "threshold_pct", shown->cap_pct);
    put_pct_or_null(out, "own_pct", shown->own_pct);
    put_text(out, "threshold_from", shown->tier);
    put_text(out, "at_cap", at_cap_word(shown->limit->at_cap));
    put_text(out, "state", shown->state);
    if (shown->answer.window) {
        put_milli_pct(out, "utilization", shown->answer.used_milli_pct);
    } else {
        put_null(out, "utilization");
    }
    put_time(out, "resets_at", shown->answer.resets_at_ms);
    put_bool(out, "pauses", shown->pauses);
    put_close(out, '}');
}

static void
put_view(struct ask *ask, struct buf *out, const char *account, const struct usage_view *view)
{
    put_text(out, "account", account);
    put_payload(out, view->reported);
    put_open(out, "thresholds", '{');
    put_thresholds(out, view);
    put_close(out, '}');
    put_pause(out, view->pausing);
    put_open(out, "windows", '[');
    for (int32_t i = 0; view->reported && i < view->reported->window_count; i++) {
        put_window(out, &view->reported->windows[i], view->states[i], ask->now_ms);
    }
    put_close(out, ']');
    put_open(out, "limits", '[');
    for (int32_t i = 0; i < view->limit_count; i++) {
        put_limit(out, &view->limits[i]);
    }
    put_close(out, ']');
}

/* --- Reading. What is read lies in the arena and the policy, until looking_end. */

struct looking {
    struct policy *policy;
    struct arena arena;
};

static void
looking_end(struct api_worker *worker, struct looking *looking)
{
    arena_free(&looking->arena);
    engine_policy_unref(worker->api->options.engine, looking->policy);
}

/* False: answered. */
static bool
look(struct api_worker *worker, struct ask *ask, int64_t account_id, const struct usage_try *tried,
    struct looking *looking, struct usage_view *view)
{
    const enum status status = engine_usage(
        looking->policy, worker->reader, account_id, tried, ask->now_ms, &looking->arena, view);
    if (status == STATUS_FULL) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else if (!view->account) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
    } else {
        return true;
    }
    return false;
}

/* "90", or "off"; "" leaves it as it is. */
static bool
take_tried(struct ask *ask, const char *name, const char *text, int64_t *pct)
{
    int64_t number = 0;
    if (!text[0]) {
        return true;
    }
    if (strcmp(text, "off") == 0) {
        *pct = CAP_UNLIMITED;
        return true;
    }
    if (slice_to_i64(slice_str(text), &number) && number >= 1 && number <= 100) {
        *pct = number;
        return true;
    }
    answer_field(ask, API_FAULT_PARAMETER, name, "must be a whole number from 1 to 100, or off");
    return false;
}

static int64_t
pct_of(const struct usage_limit *limit)
{
    return limit ? limit->cap_pct : CAP_UNLIMITED;
}

/* What would be if these thresholds were set now. */
static bool
put_preview(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id,
    const struct usage_try *tried, struct looking *looking)
{
    struct usage_view view;
    if (!look(worker, ask, account_id, tried, looking, &view)) {
        return false;
    }
    put_open(out, "preview", '{');
    put_open(out, "thresholds", '{');
    put_pct_or_null(out, threshold_fields[0], tried->session_pct);
    put_pct_or_null(out, threshold_fields[1], tried->week_pct);
    put_close(out, '}');
    put_pause(out, view.pausing);
    put_close(out, '}');
    return true;
}

static void
show_usage(struct api_worker *worker, struct ask *ask, const struct subject *subject,
    const char *session, const char *week, struct looking *looking)
{
    struct usage_view view;
    if (!look(worker, ask, subject->account_id, NULL, looking, &view)) {
        return;
    }
    struct usage_try tried = { pct_of(view.thresholds[0]), pct_of(view.thresholds[1]) };
    if (!take_tried(ask, "session_pct", session, &tried.session_pct)
        || !take_tried(ask, "week_pct", week, &tried.week_pct)) {
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    put_view(ask, out, subject->account, &view);
    const bool tries = session[0] || week[0];
    if (!tries || put_preview(worker, ask, out, subject->account_id, &tried, looking)) {
        answer_end(ask);
    }
}

void
get_usage(struct api_worker *worker, struct ask *ask)
{
    struct subject subject = { .account = "" };
    char session[NAME_MAX_BYTES + 1] = "";
    char week[NAME_MAX_BYTES + 1] = "";
    const struct field fields[] = {
        { "account", FIELD_NAME, subject.account },
        { "session_pct", FIELD_NAME, session },
        { "week_pct", FIELD_NAME, week },
    };
    if (!fields_of_query(ask, fields, countof(fields))
        || !find_subject(worker, ask, false, &subject)) {
        return;
    }
    worker_catch_up(worker, ask, false);
    struct looking looking = { .policy = engine_policy(worker->api->options.engine) };
    show_usage(worker, ask, &subject, session, week, &looking);
    looking_end(worker, &looking);
}

bool
put_reported_view(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id)
{
    struct looking looking = { .policy = engine_policy(worker->api->options.engine) };
    struct usage_view view;
    const bool good = look(worker, ask, account_id, NULL, &looking, &view);
    if (good && !view.reported && view.limit_count == 0) {
        put_null(out, "reported");
    } else if (good) {
        put_open(out, "reported", '{');
        put_view(ask, out, view.account->name, &view);
        put_close(out, '}');
    }
    looking_end(worker, &looking);
    return good;
}

static void
show_thresholds(struct api_worker *worker, struct ask *ask, int64_t account_id)
{
    struct looking looking = { .policy = engine_policy(worker->api->options.engine) };
    struct usage_view view;
    if (look(worker, ask, account_id, NULL, &looking, &view)) {
        struct buf *out = answer_begin(ask, 200);
        put_thresholds(out, &view);
        answer_end(ask);
    }
    looking_end(worker, &looking);
}

static bool
subject_of_query(struct api_worker *worker, struct ask *ask, bool changes, struct subject *subject)
{
    const struct field fields[] = { { "account", FIELD_NAME, subject->account } };
    return fields_of_query(ask, fields, countof(fields))
           && find_subject(worker, ask, changes, subject);
}

void
get_thresholds(struct api_worker *worker, struct ask *ask)
{
    struct subject subject = { .account = "" };
    if (subject_of_query(worker, ask, false, &subject)) {
        show_thresholds(worker, ask, subject.account_id);
    }
}

/* --- Setting thresholds: both, each a whole number or null, and nothing else. */

/* False: answered. */
static bool
take_threshold(struct ask *ask, const char *name, struct json_value value, int64_t *pct)
{
    int64_t number = 0;
    if (value.type == JSON_NULL) {
        *pct = CAP_UNLIMITED;
        return true;
    }
    if (value.type == JSON_NUMBER && slice_to_i64(value.text, &number) && number >= 1
        && number <= 100) {
        *pct = number;
        return true;
    }
    answer_field(ask, API_FAULT_FIELD, name, "must be a whole number from 1 to 100, or `null`");
    return false;
}

static bool
take_thresholds(struct ask *ask, struct thresholds *thresholds)
{
    int64_t *const into[] = { &thresholds->session_pct, &thresholds->week_pct };
    bool seen[countof(threshold_fields)] = { false };
    struct json_value whole;
    struct json_cursor cursor;
    struct slice key;
    json_start(&cursor, buf_slice(&ask->body));
    if (!json_check(buf_slice(&ask->body), &whole) || !json_enter(&cursor, '{')) {
        answer_reason(ask, REASON_BODY_NOT_JSON);
        return false;
    }
    while (json_next_member(&cursor, &key)) {
        struct json_value value;
        size_t i = 0;
        while (i < countof(into) && !json_key_is(key, slice_str(threshold_fields[i]))) {
            i++;
        }
        if (i == countof(into) || seen[i]) {
            answer_field(ask, API_FAULT_FIELD, i < countof(into) ? threshold_fields[i] : "...",
                i < countof(into) ? "is given twice"
                                  : "is not known here: there are session_pct and week_pct");
            return false;
        }
        seen[i] = true;
        if (!json_take(&cursor, &value)
            || !take_threshold(ask, threshold_fields[i], value, into[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < countof(into); i++) {
        if (!seen[i]) {
            answer_field(ask, API_FAULT_FIELD, threshold_fields[i],
                "is missing; null takes the threshold away");
            return false;
        }
    }
    return true;
}

/* Whether a limit has the threshold that is to be set; else answered. */
static bool
thresholds_exist(struct api_worker *worker, struct ask *ask, const struct thresholds *thresholds)
{
    const int64_t wanted[] = { thresholds->session_pct, thresholds->week_pct };
    struct policy *policy = engine_policy(worker->api->options.engine);
    const char *missing = NULL;
    for (size_t name = 0; name < countof(wanted); name++) {
        bool found = wanted[name] == CAP_UNLIMITED;
        for (int32_t i = 0; i < policy->limit_count; i++) {
            const struct limit *limit = &policy->limits[i];
            found |= limit->counts == COUNT_REPORTED && limit->set
                     && strcmp(limit->set, threshold_fields[name]) == 0;
        }
        missing = found || missing ? missing : threshold_fields[name];
    }
    engine_policy_unref(worker->api->options.engine, policy);
    if (missing) {
        char text[160];
        (void)snprintf(
            text, sizeof(text), "no limit has cap: {set: %s}, so nothing would go by it.", missing);
        answer_fault(ask, API_FAULT_THRESHOLD_NONE, text);
    }
    return !missing;
}

static void
put_set(struct buf *out, const struct thresholds *thresholds)
{
    put_pct_or_null(out, threshold_fields[0], thresholds->session_pct);
    put_pct_or_null(out, threshold_fields[1], thresholds->week_pct);
}

static void
put_note(struct buf *note, const struct subject *subject, const struct thresholds *thresholds)
{
    put_open(note, NULL, '{');
    put_text(note, "verb", "thresholds_put");
    put_text(note, "account", subject->account);
    put_set(note, thresholds);
    put_close(note, '}');
}

static void
change_thresholds(
    struct api_worker *worker, struct ask *ask, const struct subject *subject, struct event *event)
{
    struct verdict verdict;
    struct buf note = { 0 };
    memcpy(event->admin.account.name, subject->account, sizeof(event->admin.account.name));
    put_set(answer_begin(ask, 200), &event->admin.thresholds);
    answer_end(ask);
    put_note(&note, subject, &event->admin.thresholds);
    event->admin.note = buf_slice(&note);
    const bool came =
        !note.failed && change_once(worker, ask, event, (struct slice){ 0 }, &verdict);
    if (note.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else if (came && verdict.admin == ADMIN_NOT_FOUND) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
    } else if (came && verdict.admin != ADMIN_DONE) {
        answer_fault(ask, API_FAULT_FIELD, "the account has as many caps of its own as fit.");
    } else if (came) {
        log_line(LOG_INFO, "admin", "thresholds by %s: %s", ask->actor, buf_cstr(&note));
    }
    buf_free(&note);
}

void
put_thresholds_of(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_THRESHOLDS_PUT);
    struct subject subject = { .account = "" };
    if (take_thresholds(ask, &event.admin.thresholds)
        && subject_of_query(worker, ask, true, &subject)
        && thresholds_exist(worker, ask, &event.admin.thresholds)) {
        change_thresholds(worker, ask, &subject, &event);
    }
}

/* --- Reports. */

static bool
submit_report(struct api_worker *worker, struct ask *ask, const struct reported_row *report)
{
    struct event event = { .kind = EVENT_REPORT };
    struct verdict verdict;
    struct buf packed = { 0 };
    pack_reported(report, &packed);
    event.report = (struct report_event){
        .account_id = report->account_id, .whole = true, .windows = buf_slice(&packed)
    };
    const bool came =
        !packed.failed && change_once(worker, ask, &event, (struct slice){ 0 }, &verdict);
    if (packed.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else if (came && verdict.admin != ADMIN_DONE) {
        answer_fault(ask, API_FAULT_FIELD, NULL);
    }
    buf_free(&packed);
    return came && verdict.admin == ADMIN_DONE;
}

void
put_usage_report(struct api_worker *worker, struct ask *ask)
{
    struct subject subject = { .account = "" };
    struct reported_row report;
    struct reported_fault fault;
    if (!subject_of_query(worker, ask, true, &subject)) {
        return;
    }
    if (!reported_of_json(buf_slice(&ask->body), &report, &fault)) {
        answer_field(ask, API_FAULT_FIELD, fault.field[0] ? fault.field : "body", fault.why);
        return;
    }
    report.account_id = subject.account_id;
    report.version = 0;
    if (!submit_report(worker, ask, &report)) {
        return;
    }
    struct looking looking = { .policy = engine_policy(worker->api->options.engine) };
    struct usage_view view;
    if (look(worker, ask, subject.account_id, NULL, &looking, &view)) {
        struct buf *out = answer_begin(ask, 200);
        put_view(ask, out, subject.account, &view);
        answer_end(ask);
    }
    looking_end(worker, &looking);
}
