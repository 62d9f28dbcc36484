/* tests/sim/audit_caps.c: whom a limit counts for, and up to how much. Written from the documentation alone: what
 * was set for the subject, else what its groups say, else what was set for everybody, else the configuration; a
 * tree's first call may ask for less; raises that last come on top. */
#include <stdio.h>
#include <string.h>

#include "audit_priv.h"

int
model_index(const char *name)
{
    for (int i = 0; i < SIM_MODELS; i++) {
        if (strcmp(sim_models[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *
organisation_of(const struct asker *asker)
{
    return asker->call->organisation[0] ? asker->call->organisation : asker->account->organisation;
}

static bool
is_member(const struct asker *asker, int group)
{
    int number = -1;
    if (!asker->config->has_groups || sscanf(asker->account->name, "account-%d", &number) != 1) {
        return false;
    }
    return (asker->config->groups[group].members >> number & 1) != 0;
}

static const struct cap_set *
set_for(struct audit *audit, enum subject_kind kind, int64_t account_id, const char *name, int64_t limit_id,
    enum cap_set_kind what, int64_t now_ms)
{
    const struct audit_subject *subject = audit_subject_named(audit, kind, account_id, name);
    for (int32_t i = 0; subject && i < subject->row.set_count; i++) {
        const struct cap_set *set = &subject->row.sets[i];
        if (set->set_id == audit_set_of(audit, limit_id) && set->kind == what && (set->expires_ms == 0 || set->expires_ms > now_ms)) {
            return set;
        }
    }
    return NULL;
}

static int64_t
more_of(int64_t a, int64_t b)
{
    return a == CAP_UNLIMITED || b == CAP_UNLIMITED ? CAP_UNLIMITED : max_i64(a, b);
}

static int64_t
less_of(int64_t a, int64_t b)
{
    return a == CAP_UNLIMITED ? b : b == CAP_UNLIMITED ? a : min_i64(a, b);
}

static bool
cap_of_group(struct audit *audit, const struct sim_limit *limit, int64_t limit_id, int group, int64_t now_ms, int64_t *cap)
{
    const struct cap_set *set = set_for(audit, SUBJECT_GROUP, 0, sim_groups[group], limit_id, SET_CAP, now_ms);
    *cap = set ? set->amount : limit->group_cap[group];
    return set || limit->group_cap[group] != CAP_AS_DEFAULT;
}

static bool
cap_of_groups(struct audit *audit, const struct asker *asker, const struct sim_limit *limit, int64_t limit_id,
    const struct wanted *who, int64_t *cap)
{
    bool found = false;
    for (int i = 0; i < SIM_GROUPS; i++) {
        int64_t own = 0;
        if (who->kind == SUBJECT_GROUP) {
            if (strcmp(sim_groups[i], who->name) == 0) {
                return asker->config->has_groups && cap_of_group(audit, limit, limit_id, i, asker->now_ms, cap);
            }
            continue;
        }
        const int group_at = asker->config->groups[i].organisation;
        const char *at = organisation_of(asker);
        const bool elsewhere = at[0] && group_at && strcmp(at, sim_organisations[group_at]) != 0;
        if (who->account_id == 0 || elsewhere || !is_member(asker, i)
            || !cap_of_group(audit, limit, limit_id, i, asker->now_ms, &own)) {
            continue;
        }
        *cap = !found ? own : limit->combine == COMBINE_MAX ? more_of(*cap, own) : less_of(*cap, own);
        found = true;
    }
    return found;
}

/* *by_group: a group's word rules, so that only what was spent in that organisation is under it. */
static int64_t
cap_for(struct audit *audit, const struct asker *asker, const struct sim_limit *limit, int64_t limit_id,
    const struct wanted *who, bool *by_group)
{
    int64_t cap = 0;
    *by_group = false;
    const struct cap_set *own =
        set_for(audit, who->kind, who->account_id, who->name, limit_id, SET_CAP, asker->now_ms);
    const struct cap_set *everybody = set_for(audit, SUBJECT_GATEWAY, 0, "", limit_id, SET_CAP, asker->now_ms);
    if (own) {
        cap = own->amount;
    } else if (cap_of_groups(audit, asker, limit, limit_id, who, &cap)) {
        *by_group = true;
    } else if (everybody) {
        cap = everybody->amount;
    } else {
        cap = sim_plan_cap(limit, who->kind == SUBJECT_PLAN ? who->name : asker->account->plan);
    }
    const bool is_purse = form_of(limit)->counts == COUNT_COST && form_of(limit)->window == WINDOW_LIFETIME;
    if (who->kind == SUBJECT_TREE && is_purse && asker->call->spend_limit_micros > 0) {
        cap = less_of(cap, asker->call->spend_limit_micros);
    }
    const struct cap_set *asked =
        set_for(audit, who->kind, who->account_id, who->name, limit_id, SET_ASKED, asker->now_ms);
    cap = asked ? less_of(cap, asked->amount) : cap;
    const struct cap_set *raise =
        set_for(audit, who->kind, who->account_id, who->name, limit_id, SET_RAISE, asker->now_ms);
    coverage.by_set += own != NULL;
    coverage.by_group += *by_group;
    coverage.by_api += !own && !*by_group && everybody;
    coverage.by_raise += raise && cap != CAP_UNLIMITED;
    return raise && cap != CAP_UNLIMITED ? cap + raise->amount : cap;
}

static struct wanted *
want(struct wanted *wanted, int *count, int index, enum subject_kind kind, int64_t account_id, const char *name)
{
    check(*count < WANTED_MAX);
    struct wanted *one = &wanted[(*count)++];
    *one = (struct wanted){ .index = index, .kind = kind, .account_id = account_id };
    snprintf(one->name, sizeof one->name, "%s", name);
    return one;
}

static void
want_number(struct wanted *wanted, int *count, int index, enum subject_kind kind, int64_t account_id, int64_t number)
{
    char name[24] = "";
    if (number) {
        snprintf(name, sizeof name, "%lld", (long long)number);
    }
    want(wanted, count, index, kind, account_id, name);
}

static void
want_labels(const struct asker *asker, int index, const struct sim_limit *limit, struct wanted *wanted, int *count)
{
    char name[NAME_MAX_BYTES + 1];
    switch (form_of(limit)->per) {
    case PER_GROUP:
        for (int i = 0; i < SIM_GROUPS; i++) {
            if (is_member(asker, i)) {
                want(wanted, count, index, SUBJECT_GROUP, 0, sim_groups[i]);
            }
        }
        return;
    case PER_TAG:
        if (asker->call->tags[limit->tag][0]) {
            snprintf(name, sizeof name, "%s=%s", sim_tags[limit->tag], asker->call->tags[limit->tag]);
            want(wanted, count, index, SUBJECT_TAG, 0, name);
        }
        return;
    case PER_ORGANISATION:
        if (organisation_of(asker)[0]) {
            want(wanted, count, index, SUBJECT_ORGANISATION, 0, organisation_of(asker));
        }
        return;
    default: return;
    }
}

static void
want_subjects(const struct asker *asker, int index, const struct sim_limit *limit, struct wanted *wanted, int *count)
{
    const int64_t account_id = asker->account->account_id;
    const struct sim_model *model = &sim_models[model_index(asker->model)];
    switch (form_of(limit)->per) {
    case PER_GATEWAY: want(wanted, count, index, SUBJECT_GATEWAY, 0, ""); return;
    case PER_ACCOUNT: want(wanted, count, index, SUBJECT_ACCOUNT, account_id, ""); return;
    case PER_KEY: want_number(wanted, count, index, SUBJECT_KEY, asker->key->account_id, asker->key->key_id); return;
    case PER_THREAD_TREE: want_number(wanted, count, index, SUBJECT_TREE, account_id, asker->root_id); return;
    case PER_MODEL: want(wanted, count, index, SUBJECT_MODEL, 0, model->name); return;
    case PER_ACCOUNT_MODEL: want(wanted, count, index, SUBJECT_ACCOUNT_MODEL, account_id, model->name); return;
    case PER_TIER:
        want(wanted, count, index, SUBJECT_TIER, 0, model->tier == TIER_PREMIUM ? "premium" : "free");
        return;
    case PER_PLAN: want(wanted, count, index, SUBJECT_PLAN, 0, asker->account->plan); return;
    default: want_labels(asker, index, limit, wanted, count); return;
    }
}

static bool
is_for(const struct asker *asker, const struct sim_limit *limit)
{
    const int index = model_index(asker->model);
    if ((limit->model >= 0 && limit->model != index)
        || (limit->tier >= 0 && (enum tier)limit->tier != sim_models[index].tier)) {
        return false;
    }
    return limit->provider < 0 || !asker->provider || strcmp(sim_providers[limit->provider], asker->provider) == 0;
}

/* Of an account's money and tokens, what it spends in an organisation counts there, too. */
static void
want_purse(const struct asker *asker, int index, const struct sim_limit *limit, struct wanted *wanted, int *count)
{
    if (form_of(limit)->per == PER_ACCOUNT && in_steps(limit) && organisation_of(asker)[0]) {
        want(wanted, count, index, SUBJECT_ACCOUNT_ORGANISATION, asker->account->account_id, organisation_of(asker));
    }
}

static int64_t
number_of(struct audit *audit, const struct sim_config *config, int index)
{
    const struct world *world = audit->world;
    for (int i = world->adopted_count; i-- > 0;) {
        if (&world->adopted[i].config == config) {
            return world->adopted[i].limit_ids[index];
        }
    }
    return 0;
}

int
wanted_parts(struct audit *audit, const struct asker *asker, struct wanted wanted[WANTED_MAX])
{
    int count = 0;
    for (int i = 0; i < asker->config->limit_count; i++) {
        const struct sim_limit *limit = &asker->config->limits[i];
        const int64_t limit_id = number_of(audit, asker->config, i);
        const int first = count;
        bool by_group = false;
        if (!is_for(asker, limit) || form_of(limit)->counts == COUNT_REPORTED) {
            continue; /* the latter takes no part */
        }
        want_subjects(asker, i, limit, wanted, &count);
        const int own = count;
        want_purse(asker, i, limit, wanted, &count);
        for (int k = first; k < own; k++) {
            wanted[k].cap = cap_for(audit, asker, limit, limit_id, &wanted[k], &by_group);
        }
        if (count > own) { /* one of both is under the cap, the other counts */
            wanted[own].cap = by_group ? wanted[first].cap : CAP_UNLIMITED;
            wanted[first].cap = by_group ? CAP_UNLIMITED : wanted[first].cap;
        }
    }
    return count;
}

int64_t
audit_cap_of(struct audit *audit, int index, const struct sim_adopted *adopted, const struct subject_row *row, int64_t account_id,
    int64_t now_ms)
{
    static const struct call_event nothing;
    const struct sim_limit *limit = &adopted->config.limits[index];
    const struct audit_account *known = account_id ? audit_account(audit, account_id) : NULL;
    struct audit_account account = known ? *known : (struct audit_account){ 0 };
    const bool purse = row->kind == SUBJECT_ACCOUNT_ORGANISATION;
    const bool purses = in_steps(limit) && form_of(limit)->per == PER_ACCOUNT && adopted->config.has_groups;
    struct wanted who = { .index = index, .kind = purse ? SUBJECT_ACCOUNT : row->kind, .account_id = row->account_id };
    const struct asker asker = { .config = &adopted->config, .call = &nothing, .account = &account, .now_ms = now_ms };
    bool by_group = false;
    if (purse) { /* under a group's cap is what it spent there */
        memcpy(account.organisation, row->name, sizeof account.organisation);
    } else {
        memcpy(who.name, row->name, sizeof who.name);
    }
    const int64_t cap = cap_for(audit, &asker, limit, adopted->limit_ids[index], &who, &by_group);
    const bool rules = purse ? by_group : !(by_group && purses && account.organisation[0]);
    return rules ? cap : CAP_UNLIMITED;
}

bool
audit_applies(const struct asker *asker, const struct sim_limit *limit)
{
    return is_for(asker, limit);
}

int64_t
audit_reported_cap(struct audit *audit, const struct asker *asker, int index)
{
    const struct sim_limit *limit = &asker->config->limits[index];
    const bool company = form_of(limit)->per == PER_GATEWAY;
    const struct wanted who = { .index = index,
        .kind = company ? SUBJECT_GATEWAY : SUBJECT_ACCOUNT,
        .account_id = company ? 0 : asker->account->account_id };
    bool by_group = false;
    return cap_for(audit, asker, limit, number_of(audit, asker->config, index), &who, &by_group);
}

int64_t
audit_cap_at_most(struct audit *audit, const struct sim_limit *limit, int64_t limit_id, const struct sim_config *config,
    const struct audit_subject *subject)
{
    const struct subject_row *row = &subject->row;
    const int64_t set_id = audit_set_of(audit, limit_id);
    const struct audit_account *account = row->account_id ? audit_account(audit, row->account_id) : NULL;
    int64_t most = account ? sim_plan_cap(limit, account->plan) : limit->cap;
    for (int i = 0; i < SIM_PLANS && !account; i++) {
        most = more_of(most, sim_plan_cap(limit, sim_plans[i]));
    }
    for (int i = 0; config->has_groups && i < SIM_GROUPS; i++) {
        int64_t cap = 0;
        if (cap_of_group(audit, limit, limit_id, i, 0, &cap)) {
            most = more_of(most, cap);
        }
    }
    const struct audit_subject *gateway = audit_subject_named(audit, SUBJECT_GATEWAY, 0, "");
    int64_t raise = 0;
    for (int32_t i = 0; i < row->set_count; i++) {
        if (row->sets[i].set_id == set_id && row->sets[i].kind == SET_CAP) {
            most = more_of(most, row->sets[i].amount);
        } else if (row->sets[i].set_id == set_id && row->sets[i].kind == SET_RAISE) {
            raise = row->sets[i].amount;
        }
    }
    for (int32_t i = 0; gateway && i < gateway->row.set_count; i++) {
        if (gateway->row.sets[i].set_id == set_id && gateway->row.sets[i].kind == SET_CAP) {
            most = more_of(most, gateway->row.sets[i].amount);
        }
    }
    return most == CAP_UNLIMITED ? INT64_MAX : most + raise;
}
