/* engine/replay_reported.c: what providers had reported of their own windows, told before each call as its row
 * recorded it. Limits on windows of which nothing is recorded stop nothing: not known is not the same as not used. */
#include <stdio.h>

#include "engine/bounds.h"
#include "engine/replay_priv.h"
#include "rows/pack.h"

/* --- What was recorded. */

static const struct limit *
reported_limit(const struct policy *policy, const char *name)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        if (strcmp(policy->limits[i].name, name) == 0
            && policy->limits[i].counts == COUNT_REPORTED) {
            return &policy->limits[i];
        }
    }
    return NULL;
}

static bool
is_by_report(enum reason reason)
{
    return reason == REASON_SESSION_THRESHOLD || reason == REASON_WEEK_THRESHOLD
           || reason == REASON_USAGE_UNKNOWN;
}

/* A refusal tells what its limit saw; which window that was a limit of the same name says. */
static bool
report_of_refusal(const struct replay *replay, const struct ledger_row *row,
    const struct recorded_call *call, struct recorded_report *report)
{
    const struct limit *limit = is_by_report(row->reason) && call->limit_count > 0
                                    ? reported_limit(replay->policy, call->limits[0].name)
                                    : NULL;
    if (!limit) {
        return false;
    }
    *report = (struct recorded_report){ .span_ms = limit->span_ms,
        .company = limit->per == PER_GATEWAY,
        .any = row->reason != REASON_USAGE_UNKNOWN,
        .used_milli_pct = call->limits[0].settled,
        .resets_at_ms = call->resets_at_ms,
        .captured_ms = row->at_ms };
    return true;
}

const struct past_reports *
reports_take(struct replay *replay, const struct ledger_row *row, const struct recorded_call *call)
{
    struct past_reports reports = { .count = call->report_count };
    memcpy(reports.items, call->reports, sizeof(reports.items));
    if (!replay->by_reports) {
        return NULL;
    }
    if (row->kind == LEDGER_REFUSAL) {
        reports.count = report_of_refusal(replay, row, call, &reports.items[0]) ? 1 : 0;
    }
    struct past_reports *kept =
        reports.count > 0 ? arena_alloc(&replay->arena, sizeof(*kept)) : NULL;
    if (kept) {
        *kept = reports;
    }
    return kept;
}

static const struct recorded_report *
report_for(const struct past_call *past, const struct limit *limit)
{
    for (int32_t i = 0; past->reports && i < past->reports->count; i++) {
        const struct recorded_report *report = &past->reports->items[i];
        if (report->span_ms == limit->span_ms && report->company == (limit->per == PER_GATEWAY)) {
            return report;
        }
    }
    return NULL;
}

/* --- Telling it. */

/* A name of that length. */
static void
name_window(int64_t span_ms, char out[24])
{
    const bool days = span_ms % DAY_MS == 0;
    const bool hours = span_ms % HOUR_MS == 0;
    const int64_t unit_ms = days ? DAY_MS : hours ? HOUR_MS : MINUTE_MS;
    (void)snprintf(out, 24, "%lld%c", (long long)(span_ms / unit_ms),
        days    ? 'd'
        : hours ? 'h'
                : 'm');
}

static void
add_window(struct reported_row *row, const struct recorded_report *report)
{
    struct reported_window window = { .used_milli_pct = min_i64(max_i64(0, report->used_milli_pct),
                                          REPORTED_MILLI_PCT_MAX),
        .resets_at_ms = max_i64(0, report->resets_at_ms),
        .captured_ms = max_i64(0, report->captured_ms) };
    name_window(report->span_ms, window.window);
    for (int32_t i = 0; i < row->window_count; i++) {
        if (strcmp(row->windows[i].window, window.window) == 0) {
            return;
        }
    }
    if (row->window_count < REPORTED_MAX && reported_span_ms(window.window) == report->span_ms) {
        row->windows[row->window_count++] = window;
    }
}

/* All there is of it: what was told before goes. One window that governs nothing makes that so also where nothing
 * is left. */
static enum status
tell_row(struct replay *replay, const struct past_call *past, bool company, int64_t at_ms)
{
    struct reported_row row = { .account_id = company ? 0 : past->account_id, .window_count = 1 };
    struct verdict verdict;
    memcpy(row.windows[0].window, "1m_none", sizeof("1m_none"));
    memcpy(row.windows[0].models, REPORTED_NO_MODELS, sizeof(REPORTED_NO_MODELS));
    row.windows[0].captured_ms = at_ms;
    for (int32_t i = 0; past->reports && i < past->reports->count; i++) {
        const struct recorded_report *report = &past->reports->items[i];
        if (report->any && report->company == company) {
            add_window(&row, report);
        }
    }
    buf_clear(&replay->packed);
    pack_reported(&row, &replay->packed);
    if (replay->packed.failed) {
        return STATUS_FULL;
    }
    struct event event = { .kind = EVENT_REPORT, .reply.loop = ENGINE_NO_REPLY };
    event.report = (struct report_event){
        .account_id = row.account_id, .whole = true, .windows = buf_slice(&replay->packed)
    };
    return replay_decide(replay, &event, at_ms, &verdict);
}

bool
reports_tell(struct replay *replay, const struct past_call *past, int64_t at_ms)
{
    bool company = false;
    bool account = false;
    struct policy *policy = replay->policy;
    for (int32_t i = 0; replay->by_reports && i < policy->limit_count; i++) {
        struct limit *limit = &policy->limits[i];
        if (limit->counts != COUNT_REPORTED) {
            continue;
        }
        if (!report_for(past, limit)) {
            limit->at_cap = AT_CAP_SHADOW;
        } else if (limit->per == PER_GATEWAY) {
            company = true;
        } else {
            account = true;
        }
    }
    if (replay->status == STATUS_OK && account) {
        replay->status = tell_row(replay, past, false, at_ms);
    }
    if (replay->status == STATUS_OK && company) {
        replay->status = tell_row(replay, past, true, at_ms);
    }
    return replay->status == STATUS_OK;
}

void
reports_forget(struct replay *replay)
{
    struct policy *policy = replay->policy;
    for (int32_t i = 0; replay->by_reports && i < policy->limit_count; i++) {
        policy->limits[i].at_cap = replay->loose ? replay->at_caps[i] : AT_CAP_SHADOW;
    }
}

static bool
has_a_cap(const struct limit *limit)
{
    return limit->cap_default != CAP_UNLIMITED || limit->plan_cap_count > 0
           || limit->group_cap_count > 0 || limit->set;
}

bool
reports_are_missing(const struct replay *replay, const struct past_call *past)
{
    const struct policy *policy = replay->policy;
    for (int32_t i = 0; replay->by_reports && i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        if (limit->counts == COUNT_REPORTED && has_a_cap(limit) && past->model >= 0
            && bounds_limit_covers(policy, limit, &policy->models[past->model])
            && !report_for(past, limit)) {
            return true;
        }
    }
    return false;
}
