/* core/applied.c: the limits that a call is under, bound to their subjects, meters and caps. */
#include "core/core_priv.h"

bool
limit_counts_model(const struct limit *limit, const struct model *model)
{
    if (limit->of_model && strcmp(limit->of_model, model->name) != 0) {
        return false;
    }
    return limit->of_tier < 0 || limit->of_tier == (int32_t)model->tier;
}

bool
limit_counts_route(
    const struct limit *limit, const struct policy *policy, const struct route *route)
{
    return !limit->of_provider
           || strcmp(limit->of_provider, policy->providers[route->provider].name) == 0;
}

bool
counts_in_steps(enum count_kind counts)
{
    return counts == COUNT_COST || counts == COUNT_TOKENS;
}

/* Position of a limit among the checks: tree, reported windows from the short one on, account periods, then the
 * rest. */
#define RANKS 5
static int
limit_rank(const struct limit *limit)
{
    if (limit->counts == COUNT_REPORTED) {
        return limit->span_ms <= DAY_MS ? 1 : 2;
    }
    if (limit->counts == COUNT_COST && limit->per == PER_THREAD_TREE) {
        return 0;
    }
    return limit->counts == COUNT_COST && limit->per == PER_ACCOUNT ? 3 : 4;
}

static void
read_meter(struct core *core, struct applied *applied)
{
    struct meter_row *row = NULL;
    int64_t now_ms = core->now_ms;
    struct standing standing;
    const struct subject_slot *subject = subject_find(core, &applied->subject);
    if (subject) {
        applied->subject_id = subject->row.subject_id;
        applied->slot = work_meter(core->work, applied->subject_id);
    }
    if (applied->slot && applied->slot->slot.state != SLOT_ABSENT) {
        row = &applied->slot->row;
        /* Time never goes back for a meter: a clock that stepped back stays in the window it was in. */
        now_ms = max_i64(now_ms, row->seen_ms);
    }
    meters_stand(core, applied->limit, row, now_ms, &standing);
    applied->metered = standing.metered;
    applied->now = standing.now;
    applied->window = standing.window;
}

static void
apply(struct core *core, const struct limit *limit, const struct subject_key *key,
    const struct cap_ruling *ruling, struct applied_set *set)
{
    if (set->count == LIMITS_MAX) {
        set->too_many = true;
        return;
    }
    struct applied *applied = &set->items[set->count++];
    *applied =
        (struct applied){ .limit = limit, .subject = *key, .ruling = *ruling, .cap = ruling->cap };
    if (limit->counts != COUNT_REPORTED) {
        read_meter(core, applied);
    }
    const bool enforced = ruling->cap != CAP_UNLIMITED && limit_enforces(limit);
    set->has_cost |= enforced && limit->counts == COUNT_COST;
    set->has_strict |=
        enforced && counts_in_steps(limit->counts) && limit->hold == HOLD_MODE_STRICT;
}

/* What an account spends is counted as a whole and by organisation; where a group's cap rules, only what was
 * spent in that organisation is under it (spec thresholds-and-spend-limits B3). */
static void
apply_limit(struct core *core, const struct limit *limit, const struct caller *caller,
    struct applied_set *set)
{
    struct subject_key keys[SUBJECTS_PER_LIMIT];
    const int32_t count = limit_subjects(limit, caller, keys);
    for (int32_t i = 0; i < count; i++) {
        struct cap_ruling ruling = cap_rule(core, limit, caller, &keys[i]);
        const struct cap_ruling nothing = { .cap = CAP_UNLIMITED, .tier = ruling.tier };
        struct subject_key purse;
        if (!limit_purse(limit, caller, &purse)) {
            apply(core, limit, &keys[i], &ruling, set);
            continue;
        }
        const bool by_group = ruling.tier == TIER_OF_GROUP;
        apply(core, limit, &keys[i], by_group ? &nothing : &ruling, set);
        apply(core, limit, &purse, by_group ? &ruling : &nothing, set);
    }
}

void
applied_collect(struct core *core, const struct caller *caller, struct applied_set *set)
{
    const struct policy *policy = caller->policy;
    set->count = 0;
    set->has_cost = set->has_strict = set->too_many = false;
    for (int rank = 0; rank < RANKS; rank++) {
        for (int32_t i = 0; i < policy->limit_count; i++) {
            const struct limit *limit = &policy->limits[i];
            if (limit_rank(limit) == rank && limit_counts_model(limit, caller->model)) {
                apply_limit(core, limit, caller, set);
            }
        }
    }
}
