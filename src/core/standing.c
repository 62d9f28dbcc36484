/* core/standing.c: how limits stand for an account, and for one of its trees. */
#include "core/core_priv.h"

/* Whose it is shows without a call, so that it can be told of an account. */
static bool
is_told(const struct limit *limit, const struct standing_ask *ask)
{
    if (limit->counts == COUNT_REPORTED) {
        return false;
    }
    switch (limit->per) {
    case PER_GATEWAY:
    case PER_ACCOUNT:
    case PER_PLAN:
    case PER_GROUP:
    case PER_ORGANISATION: return true;
    case PER_THREAD_TREE: return ask->root_id != 0;
    default: return false;
    }
}

static struct caller
caller_of_ask(struct core *core, const struct standing_ask *ask, struct call_event *call)
{
    const struct account_slot *account = work_account(core->work, ask->account_id);
    const bool known = account && account->slot.state != SLOT_ABSENT;
    *call = (struct call_event){ 0 };
    slice_to_cstr(slice_str(ask->organisation), call->organisation, sizeof call->organisation);
    return (struct caller){ .policy = core->policy,
        .call = call,
        .account = known ? &account->row : NULL,
        .account_id = ask->account_id,
        .root_id = ask->root_id };
}

void
core_standing_needs(struct core *core, const struct standing_ask *ask, struct needs *needs)
{
    struct call_event call;
    const struct caller caller = caller_of_ask(core, ask, &call);
    struct subject_key keys[SUBJECTS_PER_LIMIT];
    need_id(needs, NEED_ACCOUNT, work_account(core->work, ask->account_id), ask->account_id);
    if (!caller.account) {
        return;
    }
    need_caps(core, &caller, needs);
    for (int32_t i = 0; i < core->policy->limit_count; i++) {
        const struct limit *limit = &core->policy->limits[i];
        if (!is_told(limit, ask)) {
            continue;
        }
        const int32_t count = limit_subjects(limit, &caller, keys);
        for (int32_t k = 0; k < count; k++) {
            need_subject(core, &keys[k], true, needs);
        }
        if (limit_purse(limit, &caller, keys)) {
            need_subject(core, keys, true, needs);
        }
    }
}

static void
read_standing(struct core *core, const struct limit *limit, const struct subject_key *key,
    struct limit_standing *out)
{
    struct standing standing;
    const struct subject_slot *subject = subject_find(core, key);
    struct meter_slot *slot = subject ? work_meter(core->work, subject->row.subject_id) : NULL;
    struct meter_row *row = slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
    meters_stand(core, limit, row, max_i64(core->now_ms, row ? row->seen_ms : 0), &standing);
    out->subject_id = subject ? subject->row.subject_id : 0;
    out->used = limit->window == WINDOW_BUCKET
                    ? (standing.now.settled + limit->period_ms - 1) / max_i64(1, limit->period_ms)
                    : standing.now.settled;
    out->held = standing.now.held;
    out->start_ms = standing.window.start_ms;
    out->end_ms = standing.window.end_ms;
}

static void
stand_one(struct core *core, const struct caller *caller, const struct limit *limit,
    const struct subject_key *key, struct limit_standing *out)
{
    struct subject_key purse;
    const struct cap_ruling ruling = cap_rule(core, limit, caller, key);
    const bool by_group = ruling.tier == TIER_OF_GROUP;
    *out = (struct limit_standing){ .limit = (int32_t)(limit - core->policy->limits),
        .kind = key->kind,
        .account_id = key->account_id,
        .cap = ruling.cap,
        .raised = ruling.raised,
        .tier = cap_tier_word(ruling.tier),
        .group = by_group ? ruling.group : -1 };
    memcpy(out->name, key->name, sizeof out->name);
    /* Under a group's cap is what was spent in that organisation alone. */
    const bool apart = by_group && limit_purse(limit, caller, &purse);
    read_standing(core, limit, apart ? &purse : key, out);
}

int32_t
core_standings(struct core *core, const struct standing_ask *ask,
    struct limit_standing standings[STANDINGS_MAX])
{
    int32_t count = 0;
    struct call_event call;
    const struct caller caller = caller_of_ask(core, ask, &call);
    struct subject_key keys[SUBJECTS_PER_LIMIT];
    for (int32_t i = 0; caller.account && i < core->policy->limit_count; i++) {
        const struct limit *limit = &core->policy->limits[i];
        const int32_t subjects = is_told(limit, ask) ? limit_subjects(limit, &caller, keys) : 0;
        for (int32_t k = 0; k < subjects && count < STANDINGS_MAX; k++) {
            stand_one(core, &caller, limit, &keys[k], &standings[count++]);
        }
    }
    return count;
}
