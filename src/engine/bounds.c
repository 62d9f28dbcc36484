/* engine/bounds.c: the most that lies between a cap and what is settled in the end. */
#include "engine/bounds.h"

#include <stdio.h>

#include "price/price.h"

/* --- Which calls. */

static bool
counts_model(const struct limit *limit, const struct model *model)
{
    return (!limit->of_model || strcmp(limit->of_model, model->name) == 0)
           && (limit->of_tier < 0 || limit->of_tier == (int32_t)model->tier);
}

static bool
counts_route(const struct policy *policy, const struct limit *limit, const struct route *route)
{
    return !limit->of_provider
           || strcmp(limit->of_provider, policy->providers[route->provider].name) == 0;
}

bool
bounds_limit_covers(
    const struct policy *policy, const struct limit *limit, const struct model *model)
{
    bool any = false;
    for (int32_t i = 0; i < model->route_count; i++) {
        any = any || counts_route(policy, limit, &model->routes[i]);
    }
    return any && counts_model(limit, model);
}

/* --- How much one call. */

/* Input and output that the model's own bounds allow, by the prices of the route; of tokens, their sum. */
static int64_t
attempt_most(const struct limit *limit, const struct model *model, const struct route *route)
{
    return limit->counts == COUNT_TOKENS
               ? model->context + model->max_output
               : price_bound(route->price, model->context, model->max_output, 100);
}

static void
find_dearest(const struct policy *policy, const struct limit *limit, struct limit_bound *bound)
{
    for (int32_t m = 0; m < policy->model_count; m++) {
        const struct model *model = &policy->models[m];
        if (!bounds_limit_covers(policy, limit, model)) {
            continue;
        }
        bound->covered_count++;
        bound->attempts = max_i64(bound->attempts, 1 + model->billed_retries);
        for (int32_t r = 0; r < model->route_count; r++) {
            const int64_t most = attempt_most(limit, model, &model->routes[r]);
            if (counts_route(policy, limit, &model->routes[r])
                && (bound->dearest_model < 0 || most > bound->dearest)) {
                bound->dearest = most;
                bound->dearest_model = m;
                bound->dearest_route = r;
            }
        }
    }
}

/* --- How many calls. */

/* Whether calls of one subject of `per` are all of one subject of `wider`. */
static bool
subject_lies_within(enum per_kind per, enum per_kind wider)
{
    if (per == wider || wider == PER_GATEWAY) {
        return true;
    }
    switch (per) {
    case PER_THREAD_TREE:
    case PER_ACCOUNT_MODEL: return wider == PER_ACCOUNT || wider == PER_PLAN;
    case PER_ACCOUNT: return wider == PER_PLAN;
    case PER_MODEL: return wider == PER_TIER;
    default: return false;
    }
}

/* Every call that `limit` counts is counted by `other`, too. */
static bool
counts_all_of(const struct policy *policy, const struct limit *other, const struct limit *limit)
{
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        if (bounds_limit_covers(policy, limit, model)
            && (other->of_provider || !counts_model(other, model))) {
            return false;
        }
    }
    const bool same_tag = limit->per != PER_TAG || limit->tag == other->tag;
    return subject_lies_within(limit->per, other->per) && (other->per != PER_TAG || same_tag);
}

/* The highest cap that the configuration gives to anybody; CAP_UNLIMITED. */
static int64_t
highest_cap(const struct limit *limit)
{
    int64_t highest = limit->cap_default;
    for (int32_t i = 0; i < limit->plan_cap_count + limit->group_cap_count; i++) {
        const int64_t cap = i < limit->plan_cap_count
                                ? limit->plan_caps[i].cap
                                : limit->group_caps[i - limit->plan_cap_count].cap;
        const bool unlimited = cap == CAP_UNLIMITED || highest == CAP_UNLIMITED;
        highest = unlimited ? CAP_UNLIMITED : max_i64(highest, cap);
    }
    return highest;
}

static void
find_calls(const struct policy *policy, const struct limit *limit, struct limit_bound *bound)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *other = &policy->limits[i];
        const int64_t cap = highest_cap(other);
        const bool bounds = other->counts == COUNT_IN_FLIGHT && cap != CAP_UNLIMITED
                            && limit_enforces(other) && counts_all_of(policy, other, limit);
        if (bounds && (bound->calls_by < 0 || cap < bound->calls)) {
            bound->calls = cap;
            bound->calls_by = i;
        }
    }
}

/* --- What it comes to. */

static void
say(struct limit_bound *bound, enum bound_kind kind, const char *why)
{
    bound->kind = kind;
    (void)slice_to_cstr(slice_str(why), bound->why, sizeof bound->why);
}

/* The pieces of a number, or which of them is missing. */
static void
judge_amount(const struct policy *policy, const struct limit *limit, struct limit_bound *bound)
{
    find_dearest(policy, limit, bound);
    find_calls(policy, limit, bound);
    const __int128 most = (__int128)bound->calls * bound->attempts * bound->dearest;
    if (bound->dearest_model < 0) {
        say(bound, BOUND_NEVER_PASSED, "it counts no call: no model here is of it");
    } else if (bound->calls_by < 0) {
        (void)snprintf(bound->why, sizeof bound->why,
            "no limit says how many of its calls may be in flight at once; one such as {counts: in_flight, "
            "per: %s, cap: 8} does",
            limit->per == PER_GATEWAY ? "gateway" : per_word(limit->per));
        bound->kind = BOUND_UNKNOWN;
    } else if (most > MONEY_MICROS_MAX) {
        say(bound, BOUND_UNKNOWN, "the number would be larger than any amount there is");
    } else {
        bound->kind = BOUND_AT_MOST;
        bound->most = (int64_t)most;
    }
}

void
bounds_of_limit(const struct policy *policy, int32_t index, struct limit_bound *bound)
{
    const struct limit *limit = &policy->limits[index];
    *bound = (struct limit_bound){ .calls_by = -1,
        .dearest_model = -1,
        .dearest_route = -1,
        .multiplier_pct = 100,
        .answers = 1 };
    if (limit->counts == COUNT_REPORTED) {
        say(bound, BOUND_NOT_CLAIMED,
            "it goes by what the provider reported last, which is a hint");
    } else if (!limit_enforces(limit)) {
        say(bound, BOUND_NOT_CLAIMED, "it counts and tells, and stops nothing");
    } else if (limit->counts != COUNT_COST && limit->counts != COUNT_TOKENS) {
        bound->kind = BOUND_NEVER_PASSED;
        find_dearest(policy, limit, bound);
    } else if (limit->hold == HOLD_MODE_STRICT && limit->window != WINDOW_BUCKET) {
        bound->kind = BOUND_NEVER_PASSED;
        find_dearest(policy, limit, bound);
    } else {
        judge_amount(policy, limit, bound);
    }
}
