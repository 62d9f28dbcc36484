/* conf/limit_sense.c: limits that are well written and could never do what they say: they count nothing, their
 * way out leads nowhere, or another one makes them pointless. */
#include "conf/limits_priv.h"

/* What "unlimited" is where amounts are compared. */
static int64_t
as_amount(int64_t cap)
{
    return cap == CAP_UNLIMITED ? INT64_MAX : cap;
}

static bool
has_route_by(const struct conf *conf, const struct model *model, const char *provider)
{
    for (int32_t i = 0; i < model->route_count; i++) {
        if (strcmp(conf->policy->providers[model->routes[i].provider].name, provider) == 0) {
            return true;
        }
    }
    return false;
}

static bool
counts_model(const struct conf *conf, const struct limit *limit, const struct model *model)
{
    return limit_of_model(limit, model)
           && (!limit->of_provider || has_route_by(conf, model, limit->of_provider));
}

/* --- What it counts. */

static void
judge_provider(struct conf *conf, const struct node *of, const struct limit *limit)
{
    const struct policy *policy = conf->policy;
    bool of_some = false;
    for (int32_t i = 0; i < policy->model_count; i++) {
        of_some |= limit_of_model(limit, &policy->models[i]);
        if (counts_model(conf, limit, &policy->models[i])) {
            return;
        }
    }
    const bool known = policy_provider_index(policy, slice_str(limit->of_provider)) >= 0;
    if (!of_some || !known) {
        return; /* that was told already */
    }
    if (limit->of_model) {
        report_add(&conf->report, doc_get(of, "provider"),
            "this limit would count nothing: model '%s' has no route to provider '%s'",
            limit->of_model, limit->of_provider);
        return;
    }
    report_add(&conf->report, doc_get(of, "provider"),
        "this limit would count nothing: no model %shas a route to provider '%s'",
        limit->of_tier < 0               ? ""
        : limit->of_tier == TIER_PREMIUM ? "of tier premium "
                                         : "of tier free ",
        limit->of_provider);
}

/* --- Where it leads. */

/* Both are served at one endpoint at least. */
static bool
meet_at_an_endpoint(const struct policy *policy, const struct model *one, const struct model *other)
{
    static const enum api apis[] = { API_CHAT, API_RESPONSES, API_EMBEDDINGS, API_MESSAGES };
    for (size_t i = 0; i < countof(apis); i++) {
        if (policy_model_serves(policy, one, apis[i])
            && policy_model_serves(policy, other, apis[i])) {
            return true;
        }
    }
    return false;
}

static void
judge_downgrade(struct conf *conf, const struct node *place, const struct limit *limit)
{
    const struct policy *policy = conf->policy;
    const int32_t index = policy_model_index(policy, slice_str(limit->substitute));
    if (index < 0 || limit_of_model(limit, &policy->models[index])) {
        return; /* that was told already */
    }
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        if (counts_model(conf, limit, model)
            && meet_at_an_endpoint(policy, model, &policy->models[index])) {
            return;
        }
    }
    report_add(&conf->report, place,
        "'%s' is served at no endpoint that the calls this limit counts come in at; name a model whose providers speak the same",
        limit->substitute);
}

static void
judge_reroute(struct conf *conf, const struct node *place, const struct limit *limit)
{
    const struct policy *policy = conf->policy;
    const bool told = !limit->of_provider || strcmp(limit->of_provider, limit->substitute) == 0
                      || policy_provider_index(policy, slice_str(limit->substitute)) < 0;
    for (int32_t i = 0; !told && i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        if (counts_model(conf, limit, model) && has_route_by(conf, model, limit->substitute)) {
            return;
        }
    }
    if (!told) {
        report_add(&conf->report, place,
            "no model that this limit counts has a route to provider '%s'; add one, or name another",
            limit->substitute);
    }
}

/* --- Up to how much. */

/* The highest that anybody may have; INT64_MAX where there is no end, or people set it. */
static int64_t
highest_cap(const struct limit *limit)
{
    int64_t most = limit->set ? INT64_MAX : as_amount(limit->cap_default);
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        most = max_i64(most, as_amount(limit->plan_caps[i].cap));
    }
    for (int32_t i = 0; i < limit->group_cap_count; i++) {
        most = max_i64(most, as_amount(limit->group_caps[i].cap));
    }
    return most;
}

static bool
has_a_cap(const struct limit *limit)
{
    bool has = limit->set || limit->cap_default != CAP_UNLIMITED;
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        has |= limit->plan_caps[i].cap != CAP_UNLIMITED;
    }
    for (int32_t i = 0; i < limit->group_cap_count; i++) {
        has |= limit->group_caps[i].cap != CAP_UNLIMITED;
    }
    return has;
}

static void
judge_weights(struct conf *conf, const struct node *weights, const struct limit *limit)
{
    const int64_t most = highest_cap(limit);
    const bool only_watched = limit->at_cap == AT_CAP_WARN || limit->at_cap == AT_CAP_SHADOW;
    const struct node *node = weights ? weights->first : NULL;
    for (; node && most > 0 && !only_watched; node = node->next) {
        int64_t units = 0;
        char seen[64];
        if (value_count(node->text, &units) && units > most) {
            report_add(&conf->report, node,
                "a call of this weight would never fit: the limit lets through %lld at the most; this is %s",
                (long long)most, node_seen(node, seen));
        }
    }
}

static void
judge_set(struct conf *conf, const struct node *cap, const struct limit *limit)
{
    static const struct {
        const char *name;
        enum count_kind counts;
        const char *form;
    } names[] = {
        { "session_pct", COUNT_REPORTED, "what is reported, such as counts: reported 5h" },
        { "week_pct", COUNT_REPORTED, "what is reported, such as counts: reported 7d" },
        { "spend_limit_micros", COUNT_COST, "cost" },
    };
    for (size_t i = 0; limit->set && i < countof(names); i++) {
        if (strcmp(limit->set, names[i].name) == 0 && limit->counts != names[i].counts) {
            report_add(&conf->report, doc_get(cap, "set"), "'%s' is set of limits that count %s",
                names[i].name, names[i].form);
        }
    }
}

static void
judge_caps(struct conf *conf, const struct node *map, const struct limit *limit)
{
    const struct node *cap = doc_get(map, "cap");
    const struct node *warn = doc_get(map, "warn");
    if (cap && cap->kind == NODE_MAP) {
        judge_set(conf, cap, limit);
    }
    if ((warn || limit->at_cap == AT_CAP_WARN) && cap && !has_a_cap(limit)) {
        report_add(&conf->report, warn ? warn->key : doc_get(map, "at_cap"),
            "nobody has a cap here that could be warned of; write one, or cap: {set: NAME} where people set it");
    }
    judge_weights(conf, doc_get(map, "weights"), limit);
}

/* --- Beside another. */

static bool
weigh_the_same(const struct limit *a, const struct limit *b)
{
    bool same = a->weight_count == b->weight_count;
    for (int32_t i = 0; same && i < a->weight_count; i++) {
        same = a->weights[i].units == b->weights[i].units
               && strcmp(a->weights[i].model, b->weights[i].model) == 0;
    }
    return same;
}

static int64_t
cap_of_class(const struct limit *limit, const char *plan, const char *group)
{
    for (int32_t i = 0; group && i < limit->group_cap_count; i++) {
        if (strcmp(limit->group_caps[i].plan, group) == 0) {
            return as_amount(limit->group_caps[i].cap);
        }
    }
    return as_amount(policy_cap(limit, plan));
}

/* Whether somebody has less under `a` than under `b`: of a plan, in a group or in none. */
static bool
is_lower_for_some(const struct policy *policy, const struct limit *a, const struct limit *b)
{
    for (int32_t p = 0; p < policy->plan_count; p++) {
        for (int32_t g = -1; g < policy->group_count; g++) {
            const char *group = g < 0 ? NULL : policy->groups[g].name;
            if (cap_of_class(a, policy->plans[p], group)
                < cap_of_class(b, policy->plans[p], group)) {
                return true;
            }
        }
    }
    return false;
}

/* Of two that count the same and both refuse, one that is never the lower can never matter. */
static bool
is_pointless_beside(const struct policy *policy, const struct limit *a, const struct limit *b)
{
    const bool same = a->fingerprint[0] && strcmp(a->fingerprint, b->fingerprint) == 0
                      && a->at_cap == b->at_cap && a->hold == b->hold && weigh_the_same(a, b)
                      && a->window != WINDOW_BUCKET;
    const bool set_apart =
        (a->set || b->set) && (!a->set || !b->set || strcmp(a->set, b->set) != 0);
    return same && !set_apart
           && !(is_lower_for_some(policy, a, b) && is_lower_for_some(policy, b, a));
}

static void
judge_beside(struct conf *conf, const struct node *map, int32_t index)
{
    const struct limit *limits = conf->policy->limits;
    for (int32_t k = 0; k < index; k++) {
        if (is_pointless_beside(conf->policy, &limits[index], &limits[k])) {
            report_add(&conf->report, map->key,
                "this limit counts the same as '%s' in line %d: only the lower of their caps would ever matter; keep one of them",
                limits[k].name, limits[k].line);
            return;
        }
    }
}

void
limits_judge(struct conf *conf, const struct node *maps)
{
    const struct limit *limit = conf->policy->limits;
    int32_t index = 0;
    for (const struct node *map = maps->first; map; map = map->next, limit++, index++) {
        const struct node *at_cap = doc_get(map, "at_cap");
        if (!limit->fingerprint[0]) {
            continue; /* it could not be read */
        }
        if (limit->of_provider) {
            judge_provider(conf, doc_get(map, "of"), limit);
        }
        if (limit->at_cap == AT_CAP_DOWNGRADE && limit->substitute) {
            judge_downgrade(conf, doc_get(at_cap, "downgrade"), limit);
        } else if (limit->at_cap == AT_CAP_REROUTE && limit->substitute) {
            judge_reroute(conf, doc_get(at_cap, "reroute"), limit);
        }
        judge_caps(conf, map, limit);
        judge_beside(conf, map, index);
    }
}
