/* core/parts.c: what a hold promises in its meters, moved, spent and given back. A part says by itself what it
 * is, so all of this holds also for limits that are configured no more. */
#include "core/core_priv.h"

int64_t
usage_tokens(const struct usage *usage)
{
    return usage_input_total(usage) + usage->output;
}

void
part_amounts(
    const struct hold_row *hold, const struct hold_part *part, int64_t *held, int64_t *bound)
{
    if (part->counts == COUNT_COST) {
        *held = hold->held_micros;
        *bound = hold->bound_micros;
    } else if (part->counts == COUNT_TOKENS) {
        *held = hold->est_input + hold->held_output;
        *bound = max_i64(*held, hold->input_bound + hold->bound_output);
    } else {
        *held = part->held;
        *bound = part->bound;
        return;
    }
    if (part->mode == HOLD_MODE_STRICT) {
        *held = *bound;
    }
}

const struct limit *
hold_part_limit(const struct core *core, const struct policy *policy, const struct hold_part *part)
{
    const struct limit *limit = policy_limit_by_id(policy, part->limit_id);
    return limit ? limit : policy_limit_by_id(core->policy, part->limit_id);
}

struct meter *
part_meter(struct core *core, const struct hold_part *part)
{
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    return slot && slot->slot.state != SLOT_ABSENT ? meter_of_part(&slot->row, part) : NULL;
}

int64_t
part_room(struct core *core, const struct policy *policy, const struct hold_part *part,
    const struct meter *meter)
{
    const struct limit *limit = hold_part_limit(core, policy, part);
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    int64_t used = money_add(meter->settled, meter->held);
    if (limit && limit->window == WINDOW_ROLLING) {
        struct standing standing;
        meters_stand(core, limit, &slot->row, max_i64(core->now_ms, slot->row.seen_ms), &standing);
        used = money_add(standing.now.settled, standing.now.held);
    }
    return part->cap - used;
}

static enum reason
reason_of_part(const struct hold_part *part)
{
    switch (part->counts) {
    case COUNT_COST: return REASON_COST_HELD;
    case COUNT_TOKENS: return REASON_TOKENS_HELD;
    case COUNT_IN_FLIGHT: return REASON_IN_FLIGHT;
    default: return REASON_RATE;
    }
}

void
part_refuse(const struct policy *policy, const struct hold_part *part, const struct meter *meter,
    struct refusal *tightest)
{
    const struct limit *limit = policy_limit_by_id(policy, part->limit_id);
    *tightest = (struct refusal){ .reason = reason_of_part(part),
        .limit_id = part->limit_id,
        .subject_id = part->subject_id,
        .counts = (int32_t)part->counts,
        .per = limit ? (int32_t)limit->per : 0,
        .window = (int32_t)part->window,
        .used = meter->settled,
        .held = meter->held,
        .cap = part->cap };
    slice_to_cstr(
        slice_str(limit ? limit->name : ""), tightest->limit_name, sizeof tightest->limit_name);
}

static void
meter_touched(struct core *core, const struct hold_part *part)
{
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    slot->slot.dirty = true;
    slot->row.seen_ms = max_i64(slot->row.seen_ms, core->now_ms);
}

/* A bucket was charged when the call was allowed; the settlement knows the rest. */
static bool
moves_with_hold(const struct hold_part *part)
{
    return counts_in_steps(part->counts) && part->window != WINDOW_BUCKET;
}

/* It held nothing when its rolling window was over, so its meter may be gone: another one is none of its own. */
static bool
part_is_past(struct core *core, const struct hold_part *part)
{
    const struct limit *limit = policy_limit_by_id(core->policy, part->limit_id);
    const struct meter_slot *slot = work_meter(core->work, part->subject_id);
    return part->held == 0 && part->bound == 0
           && !part_still_counts(limit, part, max_i64(core->now_ms, slot->row.seen_ms));
}

void
parts_resize(struct core *core, struct hold_row *hold, int64_t held_micros, int64_t bound_micros)
{
    hold->held_micros = held_micros;
    hold->bound_micros = bound_micros;
    for (int32_t i = 0; i < hold->part_count; i++) {
        struct hold_part *part = &hold->parts[i];
        struct meter *meter =
            part_is_open(hold, part) && moves_with_hold(part) ? part_meter(core, part) : NULL;
        if (!meter || part_is_past(core, part)) {
            continue;
        }
        int64_t held = 0;
        int64_t bound = 0;
        part_amounts(hold, part, &held, &bound);
        meter_promise(meter, held - part->held, bound - part->bound);
        part->held = held;
        part->bound = bound;
        meter_touched(core, part);
    }
    work_hold(core->work, hold->hold_id)->slot.dirty = true;
}

/* A bucket's charge goes back only as far as it cannot have drained since: otherwise what is given back late
 * would let more through than the rate. */
static void
refund_bucket(const struct limit *limit, const struct hold_row *hold, int64_t units, int64_t now_ms,
    struct meter *meter)
{
    const struct meter charge = { .settled = bucket_add(limit, 0, units),
        .window_ms = hold->created_ms };
    meter->settled = max_i64(0, meter->settled - bucket_level(limit, &charge, now_ms));
}

/* What the bucket was charged with becomes what it truly was. */
static void
settle_bucket(struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct hold_part *part, int64_t spent)
{
    const struct limit *limit = hold_part_limit(core, policy, part);
    struct meter *meter = part_meter(core, part);
    if (!meter || !limit || limit->window != WINDOW_BUCKET || spent == part->held) {
        return;
    }
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    const int64_t now_ms = max_i64(core->now_ms, slot->row.seen_ms);
    if (spent < part->held) {
        refund_bucket(limit, hold, part->held - spent, now_ms, meter);
    } else { /* on what is left of the level by now */
        meter->settled = bucket_add(limit, bucket_level(limit, meter, now_ms), spent - part->held);
        meter->window_ms = now_ms;
        slot->row.seen_ms = now_ms;
    }
    slot->slot.dirty = true;
}

void
part_charge(
    const struct limit *limit, struct meter_slot *slot, struct meter *meter, struct hold_part *part)
{
    if (limit->window != WINDOW_BUCKET) {
        meter_promise(meter, part->held, part->bound);
        return;
    }
    const int64_t level = bucket_level(limit, meter, slot->row.seen_ms);
    if (counts_in_steps(limit->counts) && part->cap != CAP_UNLIMITED) {
        const __int128 full = (__int128)part->cap * limit->period_ms;
        const __int128 room = (full - level) / limit->period_ms;
        part->held = room <= 0 ? 0 : room < part->held ? (int64_t)room : part->held;
        part->bound = max_i64(part->held, part->bound);
    }
    meter->settled = bucket_add(limit, level, part->held);
    meter->window_ms = slot->row.seen_ms;
    part->window_ms = 0; /* a bucket has one window, for ever */
}

void
part_give_back(struct core *core, const struct policy *policy, const struct hold_row *hold,
    struct hold_part *part)
{
    struct meter *meter = part_meter(core, part);
    if (part->window == WINDOW_BUCKET) {
        settle_bucket(core, policy, hold, part, 0);
    } else if (meter && !part_is_past(core, part)) {
        meter_promise(meter, -part->held, -part->bound);
        meter_touched(core, part);
    }
    part->held = part->bound = 0;
}

void
parts_spend(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        const bool spends = part_is_open(hold, part) && counts_in_steps(part->counts);
        struct meter *meter = spends ? part_meter(core, part) : NULL;
        const int64_t spent = part->counts == COUNT_COST ? cost_micros : tokens;
        if (!meter) {
            continue;
        }
        if (part->window == WINDOW_BUCKET) {
            settle_bucket(core, policy, hold, part, money_add(part->held, spent));
            continue;
        }
        const struct limit *limit = hold_part_limit(core, policy, part);
        const struct meter_slot *slot = work_meter(core->work, part->subject_id);
        if (part_still_counts(limit, part, max_i64(core->now_ms, slot->row.seen_ms))) {
            meter->settled = money_add(meter->settled, spent);
        }
        meter_touched(core, part);
        warn_check(core, part, hold_part_limit(core, policy, part), meter);
    }
}

/* What lies beyond the cap of this part of money once `cost_micros` has taken the place of what it
 * held; 0 where all fits. */
static int64_t
overshoot(struct core *core, const struct hold_part *part, int64_t cost_micros)
{
    const struct meter *meter = part_meter(core, part);
    const bool money = part->counts == COUNT_COST && part->window != WINDOW_BUCKET;
    if (!money || !meter || !part->enforced || cost_micros <= 0) {
        return 0;
    }
    const int64_t held = max_i64(0, meter->held - part->held);
    const int64_t others = part->mode == HOLD_MODE_NONE ? 0 : held; /* it never looked at them */
    return max_i64(0, money_add(money_add(meter->settled, cost_micros), others) - part->cap);
}

static int64_t
spent_of(const struct hold_part *part, int64_t cost_micros, int64_t tokens, bool nothing_left)
{
    switch (part->counts) {
    case COUNT_COST: return cost_micros;
    case COUNT_TOKENS: return tokens;
    case COUNT_REQUESTS: return nothing_left ? 0 : part->held;
    default: return 0;
    }
}

void
parts_resolve(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens, bool nothing_left, struct verdict *verdict)
{
    verdict->booked = true;
    verdict->cost_micros = cost_micros;
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        const int64_t spent = spent_of(part, cost_micros, tokens, nothing_left);
        if (!part_is_open(hold, part) && (part_rests(part) || part->counts != COUNT_REQUESTS)) {
            continue; /* the last attempt was elsewhere */
        }
        if (part->window == WINDOW_BUCKET) {
            settle_bucket(core, policy, hold, part, spent);
            continue;
        }
        verdict->overshoot_micros =
            max_i64(verdict->overshoot_micros, overshoot(core, part, cost_micros));
        meter_resolve(core, part, hold_part_limit(core, policy, part), spent);
    }
}
