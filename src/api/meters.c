/* api/meters.c: how full limits are: what was settled and held in the window that holds now, under the cap that
 * rules now. Both are found by the rules of a decision (engine/engine.h, meters_view). */
#include "api/api_priv.h"

#include <stdlib.h>

struct shown {
    struct limit_standing standing;
    int64_t fill_milli; /* of the cap; -1 = it has none */
};

struct gathering {
    const struct policy *policy;
    const struct names *names;
    struct meters_view *view;
    int count, max;
    struct shown *shown; /* fullest first */
};

static int64_t
fill_milli(const struct limit_standing *standing)
{
    if (standing->cap == CAP_UNLIMITED) {
        return -1;
    }
    const __int128 taken = (__int128)max_i64(0, standing->used) + max_i64(0, standing->held);
    const __int128 fill = standing->cap <= 0 ? 1000 : taken * 1000 / standing->cap;
    return fill > 1000000 ? 1000000 : (int64_t)fill;
}

static void
keep(struct gathering *gathering, const struct limit_standing *standing)
{
    const struct shown shown = { *standing, fill_milli(standing) };
    int at = gathering->count;
    while (at > 0 && gathering->shown[at - 1].fill_milli < shown.fill_milli) {
        at--;
    }
    if (at >= gathering->max) {
        return;
    }
    const int moved = gathering->count < gathering->max ? gathering->count : gathering->max - 1;
    memmove(&gathering->shown[at + 1], &gathering->shown[at], (size_t)(moved - at) * sizeof(shown));
    gathering->shown[at] = shown;
    gathering->count = moved + 1;
}

static bool
gather_row(void *user, const struct subject_row *subject, const struct meter_row *meters)
{
    struct gathering *gathering = user;
    struct account_row account = { .account_id = subject->account_id };
    const struct account_name *name = names_by_id(gathering->names, subject->account_id);
    if (name) {
        slice_to_cstr(slice_str(name->name), account.name, sizeof(account.name));
        slice_to_cstr(slice_str(name->plan), account.plan, sizeof(account.plan));
        slice_to_cstr(
            slice_str(name->organisation), account.organisation, sizeof(account.organisation));
    }
    const struct limit_standing *standings = NULL;
    const int32_t count =
        meters_view_row(gathering->view, name ? &account : NULL, subject, meters, &standings);
    for (int32_t i = 0; i < count; i++) {
        keep(gathering, &standings[i]);
    }
    return true;
}

/* Whose it is; a meter of an account in an organisation names both. */
static void
put_subject(struct buf *out, const struct limit_standing *standing, const struct names *names)
{
    static const struct {
        enum subject_kind kind;
        const char *key;
    } named[] = { { SUBJECT_PLAN, "plan" }, { SUBJECT_GROUP, "group" }, { SUBJECT_TIER, "tier" },
        { SUBJECT_ORGANISATION, "organisation" }, { SUBJECT_ACCOUNT_ORGANISATION, "organisation" },
        { SUBJECT_MODEL, "model" }, { SUBJECT_ACCOUNT_MODEL, "model" }, { SUBJECT_TAG, "tag" } };
    const struct account_name *account = names_by_id(names, standing->account_id);
    put_text_or_null(out, "account", account ? account->name : NULL);
    int64_t id = 0;
    const bool numbered = slice_to_i64(slice_str(standing->name), &id);
    put_id(out, "key", "key_", standing->kind == SUBJECT_KEY && numbered ? id : 0);
    put_id(out, "thread", "thr_", standing->kind == SUBJECT_TREE && numbered ? id : 0);
    for (size_t i = 0; i < countof(named); i++) {
        if (named[i].kind == standing->kind) {
            put_text(out, named[i].key, standing->name);
        }
    }
}

/* The cap that rules, and by whose word. */
static void
put_ruling(struct buf *out, const struct policy *policy, const struct shown *shown)
{
    const struct limit_standing *standing = &shown->standing;
    if (standing->cap == CAP_UNLIMITED) {
        put_null(out, "cap");
    } else {
        put_i64(out, "cap", standing->cap);
    }
    if (standing->cap != CAP_UNLIMITED && !standing->cap_only) {
        put_i64(out, "percent", shown->fill_milli / 10);
    }
    put_text(out, "cap_by", standing->tier);
    if (standing->group >= 0) {
        put_text(out, "cap_group", policy->groups[standing->group].name);
    }
    if (standing->raised > 0) {
        put_i64(out, "raised", standing->raised);
    }
}

static void
put_shown(struct buf *out, const struct policy *policy, const struct shown *shown,
    const struct names *names)
{
    const struct limit_standing *standing = &shown->standing;
    const struct limit *limit = &policy->limits[standing->limit];
    put_open(out, NULL, '{');
    put_text(out, "limit", limit->name);
    put_text(out, "counts", count_word(limit->counts));
    put_text(out, "per", per_word(limit->per));
    put_text(out, "window", window_word(limit->window));
    if (limit->span_ms > 0) {
        put_i64(out, "span_ms", limit->span_ms);
    }
    put_subject(out, standing, names);
    put_text(out, "unit", limit->counts == COUNT_COST ? "micro_usd" : count_word(limit->counts));
    if (!standing->cap_only) {
        put_i64(out, "used", standing->used);
        put_i64(out, "held", standing->held);
    }
    put_ruling(out, policy, shown);
    put_time(out, "since", standing->start_ms);
    put_time(out, "resets_at", standing->end_ms);
    put_close(out, '}');
}

bool
put_meters(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id, int max)
{
    check(max > 0 && max <= METERS_SHOWN_MAX);
    struct gathering gathering = { .names = &worker->names, .max = max };
    gathering.shown = calloc((size_t)max + 1, sizeof(*gathering.shown));
    if (!gathering.shown) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    gathering.policy = policy;
    enum status status = meters_view_open(worker->reader, policy, ask->now_ms, &gathering.view);
    if (status == STATUS_OK) {
        status = store_read_meters(worker->reader, account_id, gather_row, &gathering);
    }
    if (status == STATUS_OK) {
        put_open(out, "meters", '[');
        for (int i = 0; i < gathering.count; i++) {
            put_shown(out, policy, &gathering.shown[i], &worker->names);
        }
        put_close(out, ']');
    } else {
        worker_read_failed(worker, ask);
    }
    meters_view_close(gathering.view);
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
put_rate(struct buf *out, const struct limit *limit)
{
    put_i64(out, "rate", limit->rate);
    put_i64(out, "period_ms", limit->period_ms);
    put_i64(out, "burst", limit->burst);
}

static void
put_caps(struct buf *out, const struct limit *limit)
{
    put_cap(out, "cap", limit->cap_default);
    put_open(out, "cap_by_plan", '{');
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        put_cap(out, limit->plan_caps[i].plan, limit->plan_caps[i].cap);
    }
    put_close(out, '}');
    if (limit->group_cap_count > 0) {
        put_open(out, "cap_by_group", '{');
        for (int32_t i = 0; i < limit->group_cap_count; i++) {
            put_cap(out, limit->group_caps[i].plan, limit->group_caps[i].cap);
        }
        put_close(out, '}');
        put_text(out, "combine", limit->combine == COMBINE_MAX ? "max" : "min");
    }
    put_text_or_null(out, "cap_set_by", limit->set);
}

/* What happens at the cap, and with which calls. */
static void
put_rules(struct buf *out, const struct limit *limit)
{
    put_text(out, "at_cap", at_cap_word(limit->at_cap));
    if (limit->at_cap == AT_CAP_QUEUE) {
        put_i64(out, "queue_ms", limit->queue_ms);
    }
    if (limit->substitute) {
        put_text(out, "substitute", limit->substitute);
    }
    if (limit->weight_count > 0) {
        put_open(out, "weights", '{');
        for (int32_t i = 0; i < limit->weight_count; i++) {
            put_i64(out, limit->weights[i].model, limit->weights[i].units);
        }
        put_close(out, '}');
    }
    put_text_or_null(out, "of_model", limit->of_model);
    put_text_or_null(out, "of_tier",
        limit->of_tier < 0               ? NULL
        : limit->of_tier == TIER_PREMIUM ? "premium"
                                         : "free");
    put_text_or_null(out, "of_provider", limit->of_provider);
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
    put_text_or_null(out, "tag", limit->tag_name);
    put_text(out, "window", window_word(limit->window));
    if (limit->span_ms > 0) {
        put_i64(out, "span_ms", limit->span_ms);
    }
    if (limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS) {
        put_text(out, "hold", modes[limit->hold]);
    }
    if (limit->window == WINDOW_BUCKET) {
        put_rate(out, limit);
    } else {
        put_caps(out, limit);
    }
    put_rules(out, limit);
    put_close(out, '}');
}

/* How each limit stands for one account: up to how much, by whose word, and what of it is used. */
static void
put_standings(struct buf *out, const struct policy *policy, const struct names *names,
    const struct limit_standing *standings, int32_t count)
{
    put_open(out, "standings", '[');
    for (int32_t i = 0; i < count; i++) {
        const struct shown shown = { standings[i], fill_milli(&standings[i]) };
        put_shown(out, policy, &shown, names);
    }
    put_close(out, ']');
}

/* False: answered. */
static bool
put_all_limits(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id)
{
    struct limit_standing *standings = NULL;
    int32_t count = 0;
    const struct standing_ask of = { .account_id = account_id, .caps = true };
    struct policy *policy = engine_policy(worker->api->options.engine);
    put_open(out, "limits", '[');
    for (int32_t i = 0; i < policy->limit_count; i++) {
        put_limit(out, &policy->limits[i]);
    }
    put_close(out, ']');
    const bool good =
        account_id == 0 || standings_read(worker, ask, policy, &of, &standings, &count);
    if (good && account_id) {
        put_standings(out, policy, &worker->names, standings, count);
    }
    free(standings);
    engine_policy_unref(worker->api->options.engine, policy);
    return good;
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
    if (put_all_limits(worker, ask, out, account_id)
        && put_meters(worker, ask, out, account_id, METERS_SHOWN_MAX)) {
        answer_end(ask);
    }
}
