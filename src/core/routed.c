/* core/routed.c: a hold whose next attempt goes to another provider. A part of a limit on what one provider serves
 * counts the attempts that go there: it ends when the call goes elsewhere, and rests until it goes there. */
#include "core/core_priv.h"

/* The limit of a part that counts one provider's attempts alone; NULL for all others, and where it is configured
 * no more. */
static const struct limit *
provider_limit(const struct core *core, const struct policy *policy, const struct hold_part *part)
{
    const struct limit *limit = hold_part_limit(core, policy, part);
    return limit && limit->of_provider ? limit : NULL;
}

static bool
part_stays(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct hold_part *part, const struct route *route)
{
    const struct limit *limit = provider_limit(core, policy, part);
    return part_is_open(hold, part) && (!limit || limit_counts_route(limit, policy, route));
}

/* It rests; or it ended with an attempt before, and no younger one has taken its place. */
static bool
part_enters(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    int32_t index, const struct route *route)
{
    const struct hold_part *part = &hold->parts[index];
    const struct limit *limit = provider_limit(core, policy, part);
    if (!limit || part_is_open(hold, part) || !limit_counts_route(limit, policy, route)) {
        return false;
    }
    for (int32_t i = index + 1; i < hold->part_count; i++) {
        const struct hold_part *younger = &hold->parts[i];
        if (younger->limit_id == part->limit_id && younger->subject_id == part->subject_id) {
            return false;
        }
    }
    return true;
}

bool
limit_may_serve(const struct limit *limit, const struct policy *policy, const struct model *model)
{
    for (int32_t i = 0; i < model->route_count; i++) {
        if (limit_counts_route(limit, policy, &model->routes[i])) {
            return true;
        }
    }
    return false;
}

/* --- What a route would be under. */

void
routed_wants(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct route *route, bool *has_cost, bool *has_strict)
{
    *has_cost = *has_strict = false;
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        const bool counts = part->enforced
                            && (part_stays(core, policy, hold, part, route)
                                || part_enters(core, policy, hold, i, route));
        *has_cost |= counts && part->counts == COUNT_COST;
        *has_strict |= counts && counts_in_steps(part->counts) && part->mode == HOLD_MODE_STRICT;
    }
}

/* Room for the next attempt beside what the one before it used. */
static bool
staying_fits(struct core *core, const struct policy *policy, const struct hold_part *part,
    const struct routed_ask *ask, struct refusal *tightest)
{
    const bool asks = part->enforced && counts_in_steps(part->counts)
                      && part->mode != HOLD_MODE_NONE && part->window != WINDOW_BUCKET;
    const struct meter *meter = asks ? part_meter(core, part) : NULL;
    int64_t held = 0;
    int64_t bound = 0;
    if (!meter) {
        return true;
    }
    part_amounts(ask->next, part, &held, &bound);
    const int64_t spent = part->counts == COUNT_COST ? ask->cost_micros : ask->tokens;
    if (money_add(held, spent) - part->held <= part_room(core, policy, part, meter)) {
        return true;
    }
    part_refuse(policy, part, meter, tightest);
    return false;
}

static int64_t
entering_units(const struct policy *policy, const struct hold_row *hold, const struct limit *limit)
{
    const int32_t model = policy_model_index(policy, slice_str(hold->model));
    return limit->counts == COUNT_REQUESTS && model >= 0
               ? limit_weight(limit, &policy->models[model])
               : 1;
}

/* As a call that begins there asks, but whole: what it holds by now is what it needs. */
static int64_t
entering_ask(const struct policy *policy, const struct hold_row *next, const struct hold_part *part,
    const struct limit *limit)
{
    struct hold_part entered = *part;
    entered.held = entered.bound = entering_units(policy, next, limit);
    part_amounts(next, &entered, &entered.held, &entered.bound);
    if (!counts_in_steps(limit->counts)) {
        return entered.held;
    }
    if (limit->window == WINDOW_BUCKET) {
        return min_i64(entered.held, part->cap); /* what it cannot take the settlement adds */
    }
    return part->mode == HOLD_MODE_NONE ? min_i64(entered.held, 1) : entered.held;
}

static bool
entering_fits(struct core *core, const struct policy *policy, const struct hold_part *part,
    const struct routed_ask *ask, struct refusal *tightest)
{
    const struct limit *limit = hold_part_limit(core, policy, part);
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    struct meter_row *row = slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
    struct standing standing;
    meters_stand(
        core, limit, row, row ? max_i64(core->now_ms, row->seen_ms) : core->now_ms, &standing);
    if (row && !standing.metered && !meters_have_room(core, row, ask->next->part_count)) {
        tightest->reason = REASON_OVERLOADED;
        return false;
    }
    const int64_t units = entering_ask(policy, ask->next, part, limit);
    const bool passes = !part->enforced || (units == 0 && limit->counts == COUNT_COST);
    const bool ignores_held = counts_in_steps(limit->counts) && part->mode == HOLD_MODE_NONE;
    const int64_t used = money_add(standing.now.settled, ignores_held ? 0 : standing.now.held);
    const bool fits = limit->window == WINDOW_BUCKET
                          ? bucket_fits(limit, part->cap, standing.now.settled, units)
                          : money_add(used, units) <= part->cap;
    if (passes || fits) {
        return true;
    }
    part_refuse(policy, part, &standing.now, tightest);
    return false;
}

bool
routed_fits(struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct route *route, const struct routed_ask *ask, struct refusal *tightest)
{
    int32_t more = 0;
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        if (part_stays(core, policy, hold, part, route)
            && !staying_fits(core, policy, part, ask, tightest)) {
            return false;
        }
        if (!part_enters(core, policy, hold, i, route)) {
            continue;
        }
        if (!entering_fits(core, policy, part, ask, tightest)) {
            return false;
        }
        more += !part_rests(part);
    }
    tightest->reason = REASON_OVERLOADED;
    return hold->part_count + more <= HOLD_PARTS_MAX;
}

/* --- The change of provider. */

void
routed_leave(struct core *core, const struct policy *policy, struct hold_row *hold,
    const struct route *route)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        struct hold_part *part = &hold->parts[i];
        if (!part_is_open(hold, part) || part_stays(core, policy, hold, part, route)) {
            continue;
        }
        part->to = hold->attempt_count;
        if (part->counts != COUNT_REQUESTS) { /* it was asked of that provider */
            part_give_back(core, policy, hold, part);
        }
    }
}

/* It goes to the end, so that parts stand in the order in which they began to count. */
static void
enter(struct core *core, const struct policy *policy, struct hold_row *hold, struct hold_part part)
{
    const struct limit *limit = hold_part_limit(core, policy, &part);
    struct meter_slot *slot = work_meter(core->work, part.subject_id);
    if (!slot || slot->slot.state == SLOT_ABSENT) {
        slot = work_new_meter(core->work, part.subject_id);
    }
    if (!slot) {
        return; /* work->failed tells */
    }
    slot->row.seen_ms = max_i64(slot->row.seen_ms, core->now_ms);
    struct meter *meter = meter_to_charge(core, limit, &slot->row, slot->row.seen_ms);
    if (!meter) {
        core->work->failed = true;
        return;
    }
    slot->slot.dirty = true;
    part.window_ms = meter->window_ms;
    part.from = hold->attempt_count - 1;
    part.to = 0;
    part.held = part.bound = entering_units(policy, hold, limit);
    part_amounts(hold, &part, &part.held, &part.bound);
    part_charge(limit, slot, meter, &part);
    hold->parts[hold->part_count++] = part;
}

void
routed_enter(struct core *core, const struct policy *policy, struct hold_row *hold,
    const struct route *route)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        if (!part_enters(core, policy, hold, i, route)) {
            continue;
        }
        const struct hold_part part = hold->parts[i];
        if (part_rests(&part)) {
            hold->part_count--;
            memmove(
                &hold->parts[i], &hold->parts[i + 1], (size_t)(hold->part_count - i) * sizeof part);
            i--;
        }
        enter(core, policy, hold, part);
    }
}

/* --- What the ledger says of it. */

/* With the attempt that was just opened. */
static bool
just_entered(const struct hold_row *hold, const struct hold_part *part)
{
    return part->from > 0 && part->from == hold->attempt_count - 1;
}

static bool
just_left(const struct hold_row *hold, const struct hold_part *part)
{
    return part->to > 0 && part->to == hold->attempt_count - 1;
}

static bool
was_routed(const struct hold_row *hold)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        if (just_left(hold, part) || just_entered(hold, part)) {
            return true;
        }
    }
    return false;
}

static void
add_entered(struct buf *out, const struct limit *limit, const struct hold_part *part, bool first)
{
    buf_add_str(out, first ? "{\"limit\":" : ",{\"limit\":");
    buf_add_json(out, slice_str(limit->name));
    if (limit->nth > 1) {
        buf_add_number(out, "nth", limit->nth);
    }
    buf_add_number(out, "cap", part->cap);
    buf_add_number(out, "window", part->window_ms);
    buf_add_number(out, "subject", part->subject_id);
    if (part->counts == COUNT_REQUESTS && part->held != 1) {
        buf_add_number(out, "units", part->held);
    }
    buf_add_number(out, "from", part->from);
}

/* Limits stand in the order of their parts; those that were entered later are the last. */
static bool
add_limits(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    struct slice *rest, struct buf *out)
{
    bool first = true;
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        struct slice entry;
        if (part_rests(part)) {
            continue;
        }
        if (just_entered(hold, part)) {
            add_entered(out, hold_part_limit(core, policy, part), part, first);
        } else if (slice_split(rest, '}', &entry)) {
            buf_add_slice(out, entry);
        } else {
            return false;
        }
        if (just_left(hold, part)) {
            buf_add_number(out, "to", part->to);
        }
        buf_add_char(out, '}');
        first = false;
    }
    return true;
}

#define ENTRY_BYTES_MAX (6 * NAME_MAX_BYTES + 192)

void
routed_note(struct core *core, const struct policy *policy, struct hold_row *hold)
{
    const struct slice limits = SLICE("\"limits\":[");
    const struct slice inputs = hold->inputs;
    const ptrdiff_t at = slice_find(inputs, limits);
    if (at < 0 || !was_routed(hold)) {
        return;
    }
    const size_t head = (size_t)at + limits.len;
    const size_t room = inputs.len + (size_t)hold->part_count * ENTRY_BYTES_MAX;
    char *text = arena_alloc(core->work->arena, room);
    if (!text) {
        core->work->failed = true;
        return;
    }
    struct buf out = buf_over(text, room);
    struct slice rest = slice_of(inputs.ptr + head, inputs.len - head);
    buf_add_slice(&out, slice_of(inputs.ptr, head));
    if (!add_limits(core, policy, hold, &rest, &out)) {
        return; /* the stored text is damaged */
    }
    buf_add_slice(&out, rest);
    hold->inputs = out.failed ? inputs : buf_slice(&out);
}
