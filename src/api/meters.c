/* api/meters.c: how full limits are. Meters hold what was settled and held in a window; caps are the
 * policy's, by the account's plan. */
#include "api/api_priv.h"

#include <stdlib.h>

#include "policy/zone.h"

struct shown {
    struct subject_row subject;
    const struct limit *limit;
    int64_t used, held, cap, resets_at_ms;
    int64_t fill_milli; /* of the cap; -1 = it has none */
};

struct gathering {
    const struct policy *policy;
    const struct names *names;
    int64_t now_ms;
    int count, max;
    struct shown *shown; /* fullest first */
};

/* The calendar window that holds now; {0, 0} where a limit has none. */
static struct window
window_now(const struct limit *limit, int64_t now_ms)
{
    switch (limit->window) {
    case WINDOW_DAY: return zone_window(limit->zone, CALENDAR_DAY, now_ms);
    case WINDOW_WEEK: return zone_window(limit->zone, CALENDAR_WEEK, now_ms);
    case WINDOW_MONTH: return zone_window(limit->zone, CALENDAR_MONTH, now_ms);
    default: return (struct window){ 0, 0 };
    }
}

/* What of a bucket is in use now: its level is in units x period_ms, and `rate` of it leave a millisecond. */
static int64_t
bucket_used(const struct limit *limit, const struct meter *meter, int64_t now_ms)
{
    const __int128 drained = (__int128)max_i64(0, now_ms - meter->window_ms) * limit->rate;
    const __int128 level = drained >= meter->settled ? 0 : meter->settled - drained;
    return (int64_t)((level + limit->period_ms - 1) / max_i64(1, limit->period_ms));
}

static int64_t
fill_milli(int64_t used, int64_t held, int64_t cap)
{
    if (cap < 0) {
        return -1;
    }
    const __int128 taken = (__int128)max_i64(0, used) + max_i64(0, held);
    const __int128 fill = cap == 0 ? 1000 : taken * 1000 / cap;
    return fill > 1000000 ? 1000000 : (int64_t)fill;
}

static void
keep(struct gathering *gathering, const struct shown *shown)
{
    int at = gathering->count;
    while (at > 0 && gathering->shown[at - 1].fill_milli < shown->fill_milli) {
        at--;
    }
    if (at >= gathering->max) {
        return;
    }
    const int moved = gathering->count < gathering->max ? gathering->count : gathering->max - 1;
    memmove(
        &gathering->shown[at + 1], &gathering->shown[at], (size_t)(moved - at) * sizeof(*shown));
    gathering->shown[at] = *shown;
    gathering->count = moved + 1;
}

static void
gather_meter(
    struct gathering *gathering, const struct subject_row *subject, const struct meter *meter)
{
    const struct limit *limit = policy_limit_by_id(gathering->policy, meter->limit_id);
    if (!limit) {
        return; /* of a limit that is no longer configured */
    }
    const struct window window = window_now(limit, gathering->now_ms);
    if (window.end_ms != 0 && meter->window_ms < window.start_ms && meter->held == 0) {
        return; /* that window is over */
    }
    const struct account_name *account = names_by_id(gathering->names, subject->account_id);
    struct shown shown = { .subject = *subject,
        .limit = limit,
        .used = meter->settled,
        .held = meter->held,
        .resets_at_ms = window.end_ms };
    shown.cap = policy_cap(limit, account ? account->plan : NULL);
    if (limit->window == WINDOW_BUCKET) {
        shown.used = bucket_used(limit, meter, gathering->now_ms);
        shown.held = 0;
        shown.cap = limit->burst;
    }
    shown.fill_milli = fill_milli(shown.used, shown.held, shown.cap);
    keep(gathering, &shown);
}

static bool
gather_row(void *user, const struct subject_row *subject, const struct meter_row *meters)
{
    struct gathering *gathering = user;
    for (int32_t i = 0; i < meters->meter_count; i++) {
        gather_meter(gathering, subject, &meters->meters[i]);
    }
    return true;
}

static void
put_subject(struct buf *out, const struct subject_row *subject, const struct names *names)
{
    const struct account_name *account = names_by_id(names, subject->account_id);
    put_text_or_null(out, "account", account ? account->name : NULL);
    int64_t id = 0;
    const bool numbered = slice_to_i64(slice_str(subject->name), &id);
    put_id(out, "key", "key_", subject->kind == SUBJECT_KEY && numbered ? id : 0);
    put_id(out, "thread", "thr_", subject->kind == SUBJECT_TREE && numbered ? id : 0);
}

static void
put_shown(struct buf *out, const struct shown *shown, const struct names *names)
{
    const struct limit *limit = shown->limit;
    put_open(out, NULL, '{');
    put_text(out, "limit", limit->name);
    put_text(out, "counts", count_word(limit->counts));
    put_text(out, "per", per_word(limit->per));
    put_text(out, "window", window_word(limit->window));
    put_subject(out, &shown->subject, names);
    put_text(out, "unit", limit->counts == COUNT_COST ? "micro_usd" : count_word(limit->counts));
    put_i64(out, "used", shown->used);
    put_i64(out, "held", shown->held);
    if (shown->cap < 0) {
        put_null(out, "cap");
    } else {
        put_i64(out, "cap", shown->cap);
        put_i64(out, "percent", shown->fill_milli / 10);
    }
    put_time(out, "resets_at", shown->resets_at_ms);
    put_close(out, '}');
}

bool
put_meters(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id, int max)
{
    check(max > 0 && max <= METERS_SHOWN_MAX);
    struct gathering gathering = { .names = &worker->names, .now_ms = ask->now_ms, .max = max };
    gathering.shown = calloc((size_t)max + 1, sizeof(*gathering.shown));
    if (!gathering.shown) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    gathering.policy = policy;
    const enum status status =
        store_read_meters(worker->reader, account_id, gather_row, &gathering);
    if (status == STATUS_OK) {
        put_open(out, "meters", '[');
        for (int i = 0; i < gathering.count; i++) {
            put_shown(out, &gathering.shown[i], &worker->names);
        }
        put_close(out, ']');
    } else {
        worker_read_failed(worker, ask);
    }
    engine_policy_unref(worker->api->options.engine, policy);
    free(gathering.shown);
    return status == STATUS_OK;
}

/* --- Limits in force. */

static void
put_cap(struct buf *out, const char *key, int64_t cap)
{
    if (cap == CAP_UNLIMITED) {
        put_null(out, key);
    } else {
        put_i64(out, key, cap);
    }
}

static void
put_limit(struct buf *out, const struct limit *limit)
{
    static const char *const modes[] = { "stream", "strict", "none" };
    put_open(out, NULL, '{');
    put_text(out, "name", limit->name);
    put_id(out, "id", "lim_", limit->limit_id);
    put_text(out, "counts", count_word(limit->counts));
    put_text(out, "per", per_word(limit->per));
    put_text(out, "window", window_word(limit->window));
    put_text(out, "at_cap", at_cap_word(limit->at_cap));
    if (limit->counts == COUNT_COST) {
        put_text(out, "hold", modes[limit->hold]);
    }
    if (limit->window == WINDOW_BUCKET) {
        put_i64(out, "rate", limit->rate);
        put_i64(out, "period_ms", limit->period_ms);
        put_i64(out, "burst", limit->burst);
    } else {
        put_cap(out, "cap", limit->cap_default);
        put_open(out, "cap_by_plan", '{');
        for (int32_t i = 0; i < limit->plan_cap_count; i++) {
            put_cap(out, limit->plan_caps[i].plan, limit->plan_caps[i].cap);
        }
        put_close(out, '}');
    }
    put_text_or_null(out, "of_model", limit->of_model);
    put_text_or_null(out, "of_tier",
        limit->of_tier < 0               ? NULL
        : limit->of_tier == TIER_PREMIUM ? "premium"
                                         : "free");
    put_close(out, '}');
}

void
get_limits(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t account_id = 0;
    const struct field fields[] = { { "account", FIELD_NAME, account } };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)
        || !names_id_of(worker, ask, account, &account_id)) {
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    struct policy *policy = engine_policy(worker->api->options.engine);
    put_open(out, "limits", '[');
    for (int32_t i = 0; i < policy->limit_count; i++) {
        put_limit(out, &policy->limits[i]);
    }
    put_close(out, ']');
    engine_policy_unref(worker->api->options.engine, policy);
    if (put_meters(worker, ask, out, account_id, METERS_SHOWN_MAX)) {
        answer_end(ask);
    }
}
