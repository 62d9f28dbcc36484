/* core/standing.c: how limits stand for an account, and for one of its trees. */
#include "core/admin_priv.h"

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

/* False: nothing was counted in the window that holds now. */
static bool
read_meters(
    struct core *core, const struct limit *limit, struct meter_row *row, struct limit_standing *out)
{
    struct standing standing;
    meters_stand(core, limit, row, max_i64(core->now_ms, row ? row->seen_ms : 0), &standing);
    out->used = limit->window == WINDOW_BUCKET
                    ? (standing.now.settled + limit->period_ms - 1) / max_i64(1, limit->period_ms)
                    : standing.now.settled;
    out->held = standing.now.held;
    out->start_ms = limit->window == WINDOW_ROLLING ? 0 : standing.window.start_ms;
    out->end_ms = standing.window.end_ms;
    return standing.metered || out->used != 0 || out->held != 0;
}

static void
read_standing(struct core *core, const struct limit *limit, const struct subject_key *key,
    struct limit_standing *out)
{
    const struct subject_slot *subject = subject_find(core, key);
    struct meter_slot *slot = subject ? work_meter(core->work, subject->row.subject_id) : NULL;
    out->subject_id = subject ? subject->row.subject_id : 0;
    (void)read_meters(
        core, limit, slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL, out);
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
        .raised_until_ms = ruling.raised_until_ms,
        .set_until_ms = ruling.set_until_ms,
        .tier = cap_tier_word(ruling.tier),
        .group = by_group ? ruling.group : -1 };
    memcpy(out->name, key->name, sizeof out->name);
    /* Under a group's cap is what was spent in that organisation alone. */
    const bool apart = by_group && limit_purse(limit, caller, &purse);
    read_standing(core, limit, apart ? &purse : key, out);
}

/* What rules for the account, whichever key, model or tag of its own it is; not what was set for one of these. */
static void
stand_cap(struct core *core, const struct caller *caller, const struct limit *limit,
    struct limit_standing *out)
{
    const enum subject_kind kind = subject_kind_of(limit->per);
    const bool shared = kind == SUBJECT_MODEL || kind == SUBJECT_TIER || kind == SUBJECT_TAG
                        || kind == SUBJECT_GATEWAY;
    const struct subject_key own = { .kind = kind, .account_id = shared ? 0 : caller->account_id };
    const struct cap_ruling ruling = cap_rule(core, limit, caller, &own);
    *out = (struct limit_standing){ .limit = (int32_t)(limit - core->policy->limits),
        .kind = kind,
        .account_id = own.account_id,
        .cap = ruling.cap,
        .raised = ruling.raised,
        .raised_until_ms = ruling.raised_until_ms,
        .set_until_ms = ruling.set_until_ms,
        .tier = cap_tier_word(ruling.tier),
        .group = ruling.tier == TIER_OF_GROUP ? ruling.group : -1,
        .cap_only = true };
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
        if (ask->caps && !is_told(limit, ask) && count < STANDINGS_MAX) {
            stand_cap(core, &caller, limit, &standings[count++]);
        }
    }
    return count;
}

/* --- Of a row of meters. */

/* What rules of one of its limits. False: another row is under that cap, and this one has nothing to tell. */
static bool
rule_row(const struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_row *subject, struct cap_ruling *ruling)
{
    struct subject_key own = { .kind = subject->kind, .account_id = subject->account_id };
    struct subject_key purse;
    memcpy(own.name, subject->name, sizeof own.name);
    if (subject->kind != SUBJECT_ACCOUNT_ORGANISATION) {
        *ruling = cap_rule_row(core, limit, caller, &own, subject);
        if (ruling->tier == TIER_OF_GROUP && limit_purse(limit, caller, &purse)) {
            ruling->cap = CAP_UNLIMITED;
        }
        return true;
    }
    own = (struct subject_key){ .kind = SUBJECT_ACCOUNT, .account_id = subject->account_id };
    *ruling = cap_rule(core, limit, caller, &own);
    return ruling->tier == TIER_OF_GROUP;
}

static bool
stand_row(struct core *core, const struct limit *limit, const struct caller *caller,
    const struct subject_row *subject, struct meter_row *row, struct limit_standing *out)
{
    struct cap_ruling ruling;
    if (!meter_find_only(row, limit->limit_id)
        || !rule_row(core, limit, caller, subject, &ruling)) {
        return false;
    }
    *out = (struct limit_standing){ .limit = (int32_t)(limit - caller->policy->limits),
        .kind = subject->kind,
        .account_id = subject->account_id,
        .subject_id = subject->subject_id,
        .cap = ruling.cap,
        .raised = ruling.raised,
        .raised_until_ms = ruling.raised_until_ms,
        .set_until_ms = ruling.set_until_ms,
        .tier = cap_tier_word(ruling.tier),
        .group = ruling.tier == TIER_OF_GROUP ? ruling.group : -1 };
    memcpy(out->name, subject->name, sizeof out->name);
    return read_meters(core, limit, row, out);
}

int32_t
core_row_standings(struct core *core, const struct account_row *account,
    const struct subject_row *subject, const struct meter_row *meters,
    struct limit_standing standings[METERS_MAX])
{
    int32_t count = 0;
    struct call_event call = { 0 };
    struct meter_row row = *meters;
    if (subject->kind == SUBJECT_ACCOUNT_ORGANISATION) {
        slice_to_cstr(slice_str(subject->name), call.organisation, sizeof call.organisation);
    }
    const struct caller caller = {
        .policy = core->policy, .call = &call, .account = account, .account_id = subject->account_id
    };
    for (int32_t i = 0; i < core->policy->limit_count && count < METERS_MAX; i++) {
        count +=
            stand_row(core, &core->policy->limits[i], &caller, subject, &row, &standings[count]);
    }
    return count;
}
