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
    bool of_calls; /* those alone that show with a call: of keys, and of models of an account */
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
        const enum per_kind per = gathering->policy->limits[standings[i].limit].per;
        if (!gathering->of_calls || per == PER_KEY || per == PER_ACCOUNT_MODEL) {
            keep(gathering, &standings[i]);
        }
    }
    return true;
}

void
put_meter_of(struct buf *out, enum subject_kind kind, int64_t account_id, const char *name,
    const struct names *names)
{
    static const struct {
        enum subject_kind kind;
        const char *key;
    } named[] = { { SUBJECT_PLAN, "plan" }, { SUBJECT_GROUP, "group" }, { SUBJECT_TIER, "tier" },
        { SUBJECT_ORGANISATION, "organisation" }, { SUBJECT_ACCOUNT_ORGANISATION, "organisation" },
        { SUBJECT_MODEL, "model" }, { SUBJECT_ACCOUNT_MODEL, "model" }, { SUBJECT_TAG, "tag" } };
    const struct account_name *account = names_by_id(names, account_id);
    put_text_or_null(out, "account", account ? account->name : NULL);
    int64_t id = 0;
    const bool numbered = slice_to_i64(slice_str(name), &id);
    put_id(out, "key", "key_", kind == SUBJECT_KEY && numbered ? id : 0);
    put_id(out, "thread", "thr_", kind == SUBJECT_TREE && numbered ? id : 0);
    for (size_t i = 0; i < countof(named); i++) {
        if (named[i].kind == kind) {
            put_text(out, named[i].key, name);
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
        put_time(out, "raise_expires_at", standing->raised_until_ms);
    }
    if (standing->set_until_ms > 0) {
        put_time(out, "cap_expires_at", standing->set_until_ms);
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
    put_text(out, "at_cap", at_cap_word(limit->at_cap));
    put_bool(out, "enforced", standing->cap != CAP_UNLIMITED && limit_enforces(limit));
    put_meter_of(out, standing->kind, standing->account_id, standing->name, names);
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

/* Of an account, 0 = of all. False: answered. free(gathering->shown) in either case. */
static bool
gather(struct api_worker *worker, struct ask *ask, int64_t account_id, struct gathering *gathering)
{
    gathering->names = &worker->names;
    gathering->shown = calloc((size_t)gathering->max + 1, sizeof(*gathering->shown));
    if (!gathering->shown) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    enum status status =
        meters_view_open(worker->reader, gathering->policy, ask->now_ms, &gathering->view);
    if (status == STATUS_OK) {
        status = store_read_meters(worker->reader, account_id, gather_row, gathering);
    }
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    }
    meters_view_close(gathering->view);
    gathering->view = NULL;
    return status == STATUS_OK;
}

bool
put_meters(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id, int max)
{
    check(max > 0 && max <= METERS_SHOWN_MAX);
    struct policy *policy = engine_policy(worker->api->options.engine);
    struct gathering gathering = { .policy = policy, .max = max };
    const bool good = gather(worker, ask, account_id, &gathering);
    if (good) {
        put_open(out, "meters", '[');
        for (int i = 0; i < gathering.count; i++) {
            put_shown(out, policy, &gathering.shown[i], &worker->names);
        }
        put_close(out, ']');
    }
    engine_policy_unref(worker->api->options.engine, policy);
    free(gathering.shown);
    return good;
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

/* Caps that people set of one limit: for everybody, or for the members of groups. */
struct set_listing {
    struct buf *out;
    const struct limit *limit;
    int64_t now_ms;
};

static bool
put_set_for_all(void *user, const struct subject_row *row)
{
    const struct set_listing *listing = user;
    const struct cap_set *set = caps_set_of(row, listing->limit, SET_CAP, listing->now_ms);
    if (set) {
        put_cap(listing->out, "cap_set", set->amount);
        put_time(listing->out, "cap_set_at", set->set_ms);
    }
    return !listing->out->failed;
}

static bool
put_set_for_group(void *user, const struct subject_row *row)
{
    const struct set_listing *listing = user;
    const struct cap_set *set = caps_set_of(row, listing->limit, SET_CAP, listing->now_ms);
    if (set) {
        put_cap(listing->out, row->name, set->amount);
    }
    return !listing->out->failed;
}

/* What is set goes before what is configured. */
static enum status
put_sets_of(struct store_reader *reader, const struct limit *limit, int64_t now_ms, struct buf *out)
{
    struct set_listing listing = { .out = out, .limit = limit, .now_ms = now_ms };
    const struct subject_filter gateway = { .with_caps = true, .kind = SUBJECT_GATEWAY };
    const struct subject_filter groups = { .with_caps = true, .kind = SUBJECT_GROUP };
    const enum status status = store_read_subjects(reader, &gateway, put_set_for_all, &listing);
    if (status != STATUS_OK) {
        return status;
    }
    put_open(out, "cap_set_by_group", '{');
    const enum status read = store_read_subjects(reader, &groups, put_set_for_group, &listing);
    put_close(out, '}');
    return read;
}

static enum status
put_limit(struct store_reader *reader, struct buf *out, const struct limit *limit, int64_t now_ms)
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
    const enum status status = put_sets_of(reader, limit, now_ms, out);
    put_rules(out, limit);
    put_close(out, '}');
    return status;
}

/* How each limit stands for one account: up to how much, by whose word, and what of it is used; where it counts for
 * each of its keys or models, first what one of them may, then those that have used some. */
static void
put_standings(struct buf *out, const struct gathering *uses, const struct limit_standing *standings,
    int32_t count)
{
    put_open(out, "standings", '[');
    for (int32_t i = 0; i < count; i++) {
        const struct shown shown = { standings[i], fill_milli(&standings[i]) };
        put_shown(out, uses->policy, &shown, uses->names);
        for (int k = 0; k < uses->count; k++) {
            if (uses->shown[k].standing.limit == standings[i].limit) {
                put_shown(out, uses->policy, &uses->shown[k], uses->names);
            }
        }
    }
    put_close(out, ']');
}

/* False: answered. */
static bool
put_standings_of(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    struct buf *out, int64_t account_id)
{
    struct limit_standing *standings = NULL;
    int32_t count = 0;
    const struct standing_ask of = { .account_id = account_id, .caps = true };
    struct gathering uses = { .policy = policy, .of_calls = true, .max = METERS_SHOWN_MAX };
    const bool good = standings_read(worker, ask, policy, &of, &standings, &count)
                      && gather(worker, ask, account_id, &uses);
    if (good) {
        put_standings(out, &uses, standings, count);
    }
    free(standings);
    free(uses.shown);
    return good;
}

/* False: answered. */
static bool
put_all_limits(struct api_worker *worker, struct ask *ask, struct buf *out, int64_t account_id)
{
    struct policy *policy = engine_policy(worker->api->options.engine);
    enum status status = STATUS_OK;
    put_open(out, "limits", '[');
    for (int32_t i = 0; i < policy->limit_count && status == STATUS_OK; i++) {
        status = put_limit(worker->reader, out, &policy->limits[i], ask->now_ms);
    }
    put_close(out, ']');
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    }
    const bool good =
        status == STATUS_OK
        && (account_id == 0 || put_standings_of(worker, ask, policy, out, account_id));
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
