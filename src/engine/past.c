/* engine/past.c: a recorded decision, decided again. */
#include "engine/past.h"

#include "price/price.h"

static const struct price *
price_of(const struct policy *policy, const struct ledger_row *row, int32_t route)
{
    const int32_t index = policy_model_index(policy, slice_str(row->model));
    const bool known = index >= 0 && route < policy->models[index].route_count;
    return known ? policy->models[index].routes[route].price : NULL;
}

/* What the call asked of the limit: as core/check.c reckons it. */
static int64_t
ask_of(const struct policy *policy, const struct ledger_row *row, const struct recorded_call *call,
    const struct recorded_limit *recorded, const struct limit *limit)
{
    const bool strict = limit->hold == HOLD_MODE_STRICT;
    const int64_t input = max_i64(0, strict ? call->input_bound : call->input);
    const int64_t least = max_i64(0, call->least);
    int64_t ask = 1;
    switch (limit->counts) {
    case COUNT_COST:
        ask = price_bound(price_of(policy, row, call->route), input, least, call->price_pct);
        break;
    case COUNT_TOKENS: ask = input + least; break;
    case COUNT_REQUESTS: return recorded->units;
    default: return 1;
    }
    return limit->hold == HOLD_MODE_NONE ? min_i64(ask, 1) : ask;
}

static bool
in_steps(const struct limit *limit)
{
    return limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS;
}

static void
judge_limit(const struct policy *policy, const struct ledger_row *row,
    const struct recorded_call *call, struct past_limit *past)
{
    const struct recorded_limit *recorded = past->recorded;
    const struct limit *limit = past->limit;
    past->fits = true;
    past->is_unbounded = row->kind == LEDGER_REFUSAL && row->reason == REASON_CANNOT_BOUND;
    if (!limit) {
        return;
    }
    const bool refused = row->kind == LEDGER_REFUSAL;
    const bool stops = limit->at_cap != AT_CAP_WARN && limit->at_cap != AT_CAP_SHADOW;
    if (past->is_unbounded) {
        past->fits = !stops || limit->hold != HOLD_MODE_STRICT;
        return;
    }
    const bool ignores_held = in_steps(limit) && limit->hold == HOLD_MODE_NONE;
    past->ask = refused ? call->ask : ask_of(policy, row, call, recorded, limit);
    past->used = recorded->settled;
    if (limit->counts
        == COUNT_REPORTED) { /* compared, never asked; or it was not known what is used */
        past->fits = !refused || !stops;
        return;
    }
    if (limit->window == WINDOW_BUCKET && !refused) { /* a level, in units x period */
        past->used = (recorded->settled + limit->period_ms - 1) / max_i64(1, limit->period_ms);
        const __int128 level = (__int128)recorded->settled + (__int128)past->ask * limit->period_ms;
        past->fits = recorded->cap == CAP_UNLIMITED || !stops
                     || level <= (__int128)recorded->cap * limit->period_ms;
        return;
    }
    const int64_t used = money_add(past->used, ignores_held ? 0 : recorded->held);
    const bool free = past->ask == 0 && limit->counts == COUNT_COST;
    past->fits = recorded->cap == CAP_UNLIMITED || !stops || free
                 || money_add(used, past->ask) <= recorded->cap;
}

void
past_judge(const struct policy *policy, const struct limit_defs *defs, const struct ledger_row *row,
    const struct recorded_call *call, struct past *past)
{
    *past = (struct past){ .same_policy = policy_version_alike(row->policy_ver, policy->version),
        .same_prices = row->price_ver == policy->price_version,
        .was_allowed = row->kind != LEDGER_REFUSAL,
        .is_allowed = true };
    for (int32_t i = 0; i < call->limit_count; i++) {
        struct past_limit *limit = &past->limits[past->limit_count++];
        limit->recorded = &call->limits[i];
        limit->def = limit_def_named(defs, slice_str(limit->recorded->name), limit->recorded->nth);
        limit->limit = limit->def ? policy_limit_by_id(policy, limit->def->limit_id) : NULL;
        judge_limit(policy, row, call, limit);
        past->unknown_count += limit->limit == NULL;
        past->is_allowed = past->is_allowed && limit->fits;
    }
    /* Refused by no limit: by what the call itself or its caller was, which is not a matter of amounts. */
    if (!past->was_allowed && call->limit_count == 0) {
        past->is_allowed = false;
    }
}
