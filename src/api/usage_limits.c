/* api/usage_limits.c: what accounts may spend: what rules for everybody and for whom another was set, and how
 * much of it the caller has spent. */
#include "api/api_priv.h"

#include <stdlib.h>

/* --- Who asks for whom. */

bool
account_asked(struct api_worker *worker, struct ask *ask, const char *name, int64_t *account_id)
{
    if (name[0] && !ask->may_read_all && strcmp(name, ask->identity.account) != 0) {
        answer_reason(ask, REASON_KEY_ROLE);
        return false;
    }
    if (!name[0] && ask->identity.account_id == 0) { /* the control socket is nobody's */
        answer_field(ask, API_FAULT_PARAMETER, "account", "is missing: say whose is asked for");
        return false;
    }
    *account_id = ask->identity.account_id;
    return !name[0] || names_id_of(worker, ask, name, account_id);
}

bool
standings_read(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct standing_ask *of, struct limit_standing **standings, int32_t *count)
{
    *standings = calloc(STANDINGS_MAX, sizeof(**standings));
    if (!*standings) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    worker_catch_up(worker, ask, false);
    if (engine_standings(worker->reader, policy, of, ask->now_ms, *standings, count) == STATUS_OK) {
        return true;
    }
    worker_read_failed(worker, ask);
    free(*standings);
    *standings = NULL;
    return false;
}

/* --- The caller's state. */

static int64_t
taken_of(const struct limit_standing *standing)
{
    return max_i64(0, money_add(standing->used, standing->held));
}

/* Of what many share, one of them is told how full it is, and no sum. */
static int64_t
percent_of(const struct limit_standing *standing)
{
    const __int128 cap = standing->cap;
    const __int128 percent = cap > 0 ? (__int128)taken_of(standing) * 100 / cap : 100;
    return percent > INT32_MAX ? INT32_MAX : (int64_t)percent;
}

/* Of several, as of the groups of an account, the one that refuses first. */
static bool
is_fuller(const struct limit_standing *one, const struct limit_standing *other)
{
    if (one->cap == CAP_UNLIMITED || other->cap == CAP_UNLIMITED) {
        return other->cap == CAP_UNLIMITED && one->cap != CAP_UNLIMITED;
    }
    return percent_of(one) > percent_of(other);
}

static void
put_sums(struct buf *out, const struct limit *limit, const struct limit_standing *standing)
{
    put_cap_amount(out, limit, standing->cap);
    put_i64(out, "current_spend", standing->used);
    put_i64(out, "held", standing->held);
    if (standing->raised > 0) {
        put_i64(out, limit->counts == COUNT_COST ? "raise_micros" : "raise", standing->raised);
        put_time(out, "raise_expires_at", standing->raised_until_ms);
    }
}

static void
put_status(struct buf *out, const struct policy *policy, const struct limit *limit,
    const struct limit_standing *standing, bool share_alone)
{
    const bool capped = standing && standing->cap != CAP_UNLIMITED;
    put_bool(out, "is_limited", capped && limit_enforces(limit));
    if (!capped) {
        return;
    }
    put_text(out, "limit", limit->name);
    put_text(out, "period", window_word(limit->window));
    put_text(out, "at_cap", at_cap_word(limit->at_cap));
    if (share_alone) {
        put_i64(out, "percent", percent_of(standing));
    } else {
        put_sums(out, limit, standing);
    }
    put_time(out, "period_start", standing->start_ms);
    put_time(out, "period_end", standing->end_ms);
    put_text(out, "tier", standing->tier);
    put_text_or_null(out, "group_name",
        standing->kind == SUBJECT_GROUP ? standing->name
        : standing->group < 0           ? NULL
                                        : policy->groups[standing->group].name);
}

static void
answer_status(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct limit *limit, const struct standing_ask *of)
{
    struct limit_standing *standings = NULL;
    int32_t count = 0;
    if (!standings_read(worker, ask, policy, of, &standings, &count)) {
        return;
    }
    const struct limit_standing *own = NULL;
    for (int32_t i = 0; limit && i < count; i++) {
        const bool of_it = &policy->limits[standings[i].limit] == limit;
        own = of_it && (!own || is_fuller(&standings[i], own)) ? &standings[i] : own;
    }
    put_status(answer_begin(ask, 200), policy, limit, own,
        limit && per_is_shared(limit->per) && !ask->may_read_all);
    answer_end(ask);
    free(standings);
}

void
get_usage_status(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    char name[NAME_MAX_BYTES + 1] = "";
    char organisation[NAME_MAX_BYTES + 1] = "";
    struct standing_ask of = { 0 };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "limit", FIELD_NAME, name },
        { "organisation", FIELD_NAME, organisation },
    };
    if (!fields_of_query(ask, fields, countof(fields))
        || !account_asked(worker, ask, account, &of.account_id)) {
        return;
    }
    if (!slice_to_cstr(slice_str(organisation), of.organisation, sizeof(of.organisation))) {
        answer_field(ask, API_FAULT_PARAMETER, "organisation", "is longer than any there is");
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    const struct limit *limit =
        name[0] ? caps_limit_by_name(ask, policy, name) : caps_limit_of_accounts(policy);
    if (limit || !name[0]) { /* without one nobody is limited */
        answer_status(worker, ask, policy, limit, &of);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}

/* --- All that is set. */

struct listing {
    struct buf *out;
    const struct policy *policy;
    const struct names *names;
    const struct limit *limit;
    int64_t now_ms;
    const struct cap_set *found; /* of the gateway */
    struct subject_row row;
};

const struct cap_set *
caps_set_of(const struct subject_row *row, const struct limit *limit, enum cap_set_kind kind,
    int64_t now_ms)
{
    for (int32_t i = 0; i < row->set_count; i++) {
        const struct cap_set *set = &row->sets[i];
        const bool lasts = set->expires_ms == 0 || now_ms < set->expires_ms;
        if (set->set_id == limit->set_id && set->kind == kind && lasts) {
            return set;
        }
    }
    return NULL;
}

static const struct cap_set *
set_of(const struct listing *listing, const struct subject_row *row, enum cap_set_kind kind)
{
    return caps_set_of(row, listing->limit, kind, listing->now_ms);
}

static bool
take_gateway(void *user, const struct subject_row *row)
{
    struct listing *listing = user;
    listing->row = *row;
    listing->found = set_of(listing, &listing->row, SET_CAP);
    return false;
}

static void
put_sets(struct listing *listing, const struct subject_row *row)
{
    struct buf *out = listing->out;
    const struct limit *limit = listing->limit;
    const struct cap_set *cap = set_of(listing, row, SET_CAP);
    const struct cap_set *raise = set_of(listing, row, SET_RAISE);
    if (cap) {
        put_cap_amount(out, limit, cap->amount);
        put_time(out, "expires_at", cap->expires_ms);
        put_time(out, "updated_at", cap->set_ms);
    }
    if (raise) {
        put_i64(out, limit->counts == COUNT_COST ? "raise_micros" : "raise", raise->amount);
        put_time(out, "raise_expires_at", raise->expires_ms);
    }
}

static bool
put_override(void *user, const struct subject_row *row)
{
    struct listing *listing = user;
    const struct account_name *account = names_by_id(listing->names, row->account_id);
    if (!set_of(listing, row, SET_CAP) && !set_of(listing, row, SET_RAISE)) {
        return true;
    }
    put_open(listing->out, NULL, '{');
    put_id(listing->out, "account_id", "acc_", row->account_id);
    put_text_or_null(listing->out, "account", account ? account->name : NULL);
    put_sets(listing, row);
    put_close(listing->out, '}');
    return !listing->out->failed;
}

/* As it was set, or as the configuration has it where nothing is set. */
static void
put_group(
    struct listing *listing, const struct subject_row *row, const char *name, int64_t configured)
{
    struct buf *out = listing->out;
    const int32_t index = policy_group_index(listing->policy, slice_str(name));
    put_open(out, NULL, '{');
    put_text(out, "group_name", name);
    put_i64(out, "member_count", index < 0 ? 0 : listing->policy->groups[index].member_count);
    put_text(out, "source", row ? "api" : "configuration");
    if (row) {
        put_sets(listing, row);
    } else {
        put_cap_amount(out, listing->limit, configured);
    }
    put_close(out, '}');
}

struct group_listing {
    struct listing *listing;
    bool seen[POLICY_LIMITS_MAX]; /* of the configured caps of the limit */
};

static bool
put_group_override(void *user, const struct subject_row *row)
{
    struct group_listing *groups = user;
    struct listing *listing = groups->listing;
    if (!set_of(listing, row, SET_CAP)) {
        return true;
    }
    for (int32_t i = 0; i < listing->limit->group_cap_count; i++) {
        groups->seen[i] |= strcmp(listing->limit->group_caps[i].plan, row->name) == 0;
    }
    put_group(listing, row, row->name, 0);
    return !listing->out->failed;
}

static enum status
put_groups(struct api_worker *worker, struct listing *listing)
{
    const struct subject_filter filter = { .with_caps = true, .kind = SUBJECT_GROUP };
    struct group_listing groups = { .listing = listing };
    const struct limit *limit = listing->limit;
    put_open(listing->out, "group_overrides", '[');
    const enum status status =
        store_read_subjects(worker->reader, &filter, put_group_override, &groups);
    for (int32_t i = 0; i < limit->group_cap_count && i < POLICY_LIMITS_MAX; i++) {
        if (!groups.seen[i]) {
            put_group(listing, NULL, limit->group_caps[i].plan, limit->group_caps[i].cap);
        }
    }
    put_close(listing->out, ']');
    return status;
}

/* Models that no limit on money can count: a route of theirs has no price. */
static int64_t
unpriced_models(const struct policy *policy)
{
    int64_t count = 0;
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        bool unpriced = false;
        for (int32_t k = 0; k < model->route_count; k++) {
            unpriced |= model->routes[k].price == NULL;
        }
        count += unpriced;
    }
    return count;
}

static enum status
put_everything(struct api_worker *worker, struct listing *listing)
{
    struct buf *out = listing->out;
    const struct subject_filter gateway = { .with_caps = true, .kind = SUBJECT_GATEWAY };
    const struct subject_filter accounts = { .with_caps = true, .kind = SUBJECT_ACCOUNT };
    enum status status = store_read_subjects(worker->reader, &gateway, take_gateway, listing);
    const struct cap_set *set = listing->found;
    put_text(out, "limit", listing->limit->name);
    put_cap_amount(out, listing->limit, set ? set->amount : listing->limit->cap_default);
    put_text(out, "period", window_word(listing->limit->window));
    put_text(out, "source", set ? "api" : "configuration");
    put_time(out, "updated_at", set ? set->set_ms : 0);
    put_i64(out, "unpriced_model_count", unpriced_models(listing->policy));
    put_open(out, "overrides", '[');
    if (status == STATUS_OK) {
        status = store_read_subjects(worker->reader, &accounts, put_override, listing);
    }
    put_close(out, ']');
    return status == STATUS_OK ? put_groups(worker, listing) : status;
}

void
get_usage_limits(struct api_worker *worker, struct ask *ask)
{
    char name[NAME_MAX_BYTES + 1] = "";
    const struct field fields[] = { { "limit", FIELD_NAME, name } };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    const struct limit *limit = caps_limit(ask, policy, name);
    if (limit) {
        struct listing listing = { .out = answer_begin(ask, 200),
            .policy = policy,
            .names = &worker->names,
            .limit = limit,
            .now_ms = ask->now_ms };
        if (put_everything(worker, &listing) == STATUS_OK) {
            answer_end(ask);
        } else {
            worker_read_failed(worker, ask);
        }
    }
    engine_policy_unref(worker->api->options.engine, policy);
}
