/* core/caps.c: up to how much: what people set for the subject goes before its groups', that before what was
 * set for everybody, that before the configuration; what a client asked for its tree lowers that; raises come on top
 * while they last. */
#include "core/core_priv.h"

const char *
cap_tier_word(enum cap_tier tier)
{
    switch (tier) {
    case TIER_OF_SUBJECT: return "set";
    case TIER_OF_CLIENT: return "asked";
    case TIER_OF_GROUP: return "group";
    case TIER_OF_API: return "api_default";
    case TIER_OF_PLAN: return "plan";
    case TIER_OF_DEFAULT: break;
    }
    return "default";
}

const struct cap_set *
cap_set_find(const struct subject_row *row, int64_t set_id, enum cap_set_kind kind, int64_t now_ms)
{
    for (int32_t i = 0; i < row->set_count; i++) {
        const struct cap_set *set = &row->sets[i];
        const bool lasts = set->expires_ms == 0 || now_ms < set->expires_ms;
        if (set->set_id == set_id && set->kind == kind && lasts) {
            return set;
        }
    }
    return NULL;
}

bool
cap_set_ask(struct subject_row *row, int64_t set_id, int64_t amount, int64_t now_ms)
{
    int32_t at = 0;
    while (at < row->set_count
           && (row->sets[at].set_id != set_id || row->sets[at].kind != SET_ASKED)) {
        at++;
    }
    if (at == SETS_MAX || (at < row->set_count && row->sets[at].amount <= amount)) {
        return false;
    }
    row->set_count += at == row->set_count;
    row->sets[at] =
        (struct cap_set){ .set_id = set_id, .kind = SET_ASKED, .amount = amount, .set_ms = now_ms };
    return true;
}

static const struct cap_set *
set_of(const struct core *core, const struct subject_key *key, const struct limit *limit,
    enum cap_set_kind kind)
{
    const struct subject_slot *slot = subject_find(core, key);
    return slot ? cap_set_find(&slot->row, limit->set_id, kind, core->now_ms) : NULL;
}

/* The group's cap for this limit: as people set it, else as configured. */
static bool
cap_of_group(
    const struct core *core, const struct limit *limit, const struct group *group, int64_t *cap)
{
    const struct subject_key key = group_subject(group->name);
    const struct cap_set *set = set_of(core, &key, limit, SET_CAP);
    if (set) {
        *cap = set->amount;
        return true;
    }
    for (int32_t i = 0; i < limit->group_cap_count; i++) {
        if (strcmp(limit->group_caps[i].plan, group->name) == 0) {
            *cap = limit->group_caps[i].cap;
            return true;
        }
    }
    return false;
}

/* Unlimited is more than any number. */
static bool
cap_is_less(int64_t a, int64_t b)
{
    return a != CAP_UNLIMITED && (b == CAP_UNLIMITED || a < b);
}

/* With an organisation, only its groups and those of none count; without, all of them. */
static bool
cap_by_groups(const struct core *core, const struct limit *limit, const struct caller *caller,
    struct cap_ruling *ruling)
{
    int32_t groups[GROUPS_PER_ACCOUNT_MAX];
    const char *organisation = caller_organisation(caller);
    const int32_t count =
        caller->account ? policy_groups_of(caller->policy, caller->account->name, groups) : 0;
    bool found = false;
    for (int32_t i = 0; i < count; i++) {
        const struct group *group = &caller->policy->groups[groups[i]];
        int64_t cap = CAP_UNLIMITED;
        const bool elsewhere = organisation[0] && group->organisation
                               && strcmp(group->organisation, organisation) != 0;
        if (elsewhere || !cap_of_group(core, limit, group, &cap)) {
            continue;
        }
        const bool wins = !found
                          || (limit->combine == COMBINE_MAX ? cap_is_less(ruling->cap, cap)
                                                            : cap_is_less(cap, ruling->cap));
        if (wins) {
            *ruling = (struct cap_ruling){ .cap = cap, .tier = TIER_OF_GROUP, .group = groups[i] };
        }
        found = true;
    }
    return found;
}

static bool
plan_names(const struct limit *limit, const char *plan)
{
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        if (strcmp(limit->plan_caps[i].plan, plan) == 0) {
            return true;
        }
    }
    return false;
}

static struct cap_ruling
cap_configured(
    const struct limit *limit, const struct caller *caller, const struct subject_key *own)
{
    const char *plan = own->kind == SUBJECT_PLAN ? own->name
                       : caller->account         ? caller->account->plan
                                                 : "";
    if (limit->window == WINDOW_BUCKET) {
        return (struct cap_ruling){ .cap = limit->burst, .tier = TIER_OF_DEFAULT };
    }
    return (struct cap_ruling){ .cap = policy_cap(limit, plan),
        .tier = plan_names(limit, plan) ? TIER_OF_PLAN : TIER_OF_DEFAULT };
}

/* A purse of a group has the cap that is written for that group; of an account, its groups' rule. */
static bool
cap_of_groups(const struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_key *own, struct cap_ruling *ruling)
{
    if (own->kind != SUBJECT_GROUP) {
        return own->account_id != 0 && cap_by_groups(core, limit, caller, ruling);
    }
    const int32_t index = policy_group_index(caller->policy, slice_str(own->name));
    int64_t cap = 0;
    if (index < 0 || !cap_of_group(core, limit, &caller->policy->groups[index], &cap)) {
        return false;
    }
    *ruling = (struct cap_ruling){ .cap = cap, .tier = TIER_OF_GROUP, .group = index };
    return true;
}

bool
limit_may_be_asked(const struct limit *limit, const struct subject_key *own)
{
    return own->kind == SUBJECT_TREE && limit->counts == COUNT_COST
           && limit->window == WINDOW_LIFETIME;
}

/* What clients ask for a tree, with this call or one before, may only lower. */
static void
lower_to_asked(const struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_key *own, const struct subject_row *row, struct cap_ruling *ruling)
{
    const int64_t now_asked =
        caller->call && limit_may_be_asked(limit, own) ? caller->call->spend_limit_micros : 0;
    const struct cap_set *asked =
        row ? cap_set_find(row, limit->set_id, SET_ASKED, core->now_ms) : NULL;
    if (now_asked > 0 && cap_is_less(now_asked, ruling->cap)) {
        *ruling = (struct cap_ruling){ .cap = now_asked, .tier = TIER_OF_CLIENT };
    }
    if (asked && cap_is_less(asked->amount, ruling->cap)) {
        *ruling = (struct cap_ruling){ .cap = asked->amount, .tier = TIER_OF_CLIENT };
    }
}

struct cap_ruling
cap_rule(const struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_key *own)
{
    const struct subject_slot *slot = subject_find(core, own);
    return cap_rule_row(core, limit, caller, own, slot ? &slot->row : NULL);
}

struct cap_ruling
cap_rule_row(const struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_key *own, const struct subject_row *row)
{
    static const struct subject_key gateway = { .kind = SUBJECT_GATEWAY };
    struct cap_ruling ruling;
    const struct cap_set *set =
        row ? cap_set_find(row, limit->set_id, SET_CAP, core->now_ms) : NULL;
    if (set) {
        ruling = (struct cap_ruling){
            .cap = set->amount, .set_until_ms = set->expires_ms, .tier = TIER_OF_SUBJECT
        };
    } else if (!cap_of_groups(core, limit, caller, own, &ruling)) {
        set = set_of(core, &gateway, limit, SET_CAP);
        ruling = set ? (struct cap_ruling){ .cap = set->amount, .tier = TIER_OF_API }
                     : cap_configured(limit, caller, own);
    }
    lower_to_asked(core, limit, caller, own, row, &ruling);
    const struct cap_set *raise =
        row ? cap_set_find(row, limit->set_id, SET_RAISE, core->now_ms) : NULL;
    if (raise && ruling.cap != CAP_UNLIMITED) {
        ruling.raised = raise->amount;
        ruling.raised_until_ms = raise->expires_ms;
        ruling.cap = money_add(ruling.cap, raise->amount);
    }
    if (limit->window == WINDOW_BUCKET && ruling.cap != CAP_UNLIMITED) {
        ruling.cap =
            min_i64(ruling.cap, policy_cap_max(limit)); /* beyond it nothing would be counted */
    }
    return ruling;
}
