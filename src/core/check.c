/* core/check.c: does a call fit under all of its limits, by which route, and with how long an answer? */
#include "base/map.h"
#include "core/core_priv.h"

int64_t
limit_weight(const struct limit *limit, const struct model *model)
{
    for (int32_t i = 0; i < limit->weight_count; i++) {
        if (slice_like(slice_str(model->name), slice_str(limit->weights[i].model))) {
            return limit->weights[i].units;
        }
    }
    return 1;
}

/* --- What a call asks of a limit. */

/* Without this much room the call is not worth starting. Under `none` it is enough that something is left. */
int64_t
ask_of(const struct call_state *state, const struct applied *applied, const struct route *route)
{
    const struct estimate *estimate = &state->estimate;
    const bool strict = applied->limit->hold == HOLD_MODE_STRICT;
    const int64_t input = strict ? estimate->input_bound : estimate->input;
    int64_t ask = 1;
    switch (applied->limit->counts) {
    case COUNT_COST:
        ask = price_bound(route->price, input, estimate->least, state->call->price_multiplier_pct);
        break;
    case COUNT_TOKENS: ask = input + estimate->least; break;
    case COUNT_REQUESTS: return limit_weight(applied->limit, state->model);
    default: return 1;
    }
    return applied->limit->hold == HOLD_MODE_NONE ? min_i64(ask, 1) : ask;
}

static int64_t
used_of(const struct applied *applied)
{
    const bool ignores_held =
        counts_in_steps(applied->limit->counts) && applied->limit->hold == HOLD_MODE_NONE;
    return ignores_held ? applied->now.settled : money_add(applied->now.settled, applied->now.held);
}

static bool
others_wait(const struct core *core, const struct applied *applied)
{
    const struct limit *limit = applied->limit;
    const bool has_line = counts_in_steps(limit->counts) || limit->at_cap == AT_CAP_QUEUE;
    return has_line && core->line_busy && applied->subject_id
           && core->line_busy(core->line_user, limit->limit_id, applied->subject_id);
}

static bool
limit_has_room(const struct applied *applied, int64_t ask)
{
    if (applied->limit->window == WINDOW_BUCKET) {
        return bucket_fits(applied->limit, applied->cap, applied->now.settled, ask);
    }
    return money_add(used_of(applied), ask) <= applied->cap;
}

static bool
limit_fits(const struct call_state *state, const struct applied *applied, int64_t ask)
{
    if (applied->cap == CAP_UNLIMITED || (ask == 0 && applied->limit->counts == COUNT_COST)) {
        return true; /* what costs nothing passes a spent limit */
    }
    return !others_wait(state->core, applied) && limit_has_room(applied, ask);
}

/* --- Refusals. */

void
refuse(struct verdict *verdict, enum reason reason)
{
    verdict->kind = VERDICT_REFUSED;
    verdict->refusal = (struct refusal){ .reason = reason };
}

/* The wait until what is spent makes room; 0 = it never does. */
static int64_t
room_wait_ms(const struct call_state *state, const struct applied *applied, int64_t ask)
{
    const int64_t now_ms = state->core->now_ms;
    if (ask > applied->cap) {
        return 0;
    }
    if (applied->limit->window == WINDOW_ROLLING) {
        return applied->slot ? rolling_wait_ms(applied->limit, &applied->slot->row, applied->cap,
                   ask, max_i64(now_ms, applied->slot->row.seen_ms))
                             : 0;
    }
    return applied->window.end_ms ? max_i64(1, applied->window.end_ms - now_ms) : 0;
}

/* A limit of money or tokens without room: will it have room again, and when? */
static void
refuse_amount(
    const struct call_state *state, const struct applied *applied, struct refusal *refusal)
{
    const bool money = applied->limit->counts == COUNT_COST;
    const bool would_fit = money_add(applied->now.settled, refusal->ask) <= applied->cap;
    refusal->reason = would_fit ? (money ? REASON_COST_HELD : REASON_TOKENS_HELD)
                                : (money ? REASON_COST_SPENT : REASON_TOKENS_SPENT);
    refusal->retry_after_ms =
        would_fit ? HELD_RETRY_MS : room_wait_ms(state, applied, refusal->ask);
    refusal->resets_at_ms =
        applied->limit->window == WINDOW_ROLLING && refusal->retry_after_ms && !would_fit
            ? state->core->now_ms + refusal->retry_after_ms
            : applied->window.end_ms;
}

static void
refuse_bucket(
    const struct call_state *state, const struct applied *applied, struct refusal *refusal)
{
    const struct limit *limit = applied->limit;
    refusal->reason = limit->counts == COUNT_COST     ? REASON_COST_SPENT
                      : limit->counts == COUNT_TOKENS ? REASON_TOKENS_SPENT
                                                      : REASON_RATE;
    refusal->used = (applied->now.settled + limit->period_ms - 1) / limit->period_ms;
    refusal->retry_after_ms =
        bucket_wait_ms(limit, applied->cap, applied->now.settled, refusal->ask);
    if (refusal->retry_after_ms == 0 && refusal->ask <= applied->cap && limit->rate > 0) {
        refusal->retry_after_ms = 1; /* there is room: who came first takes it first */
    }
    refusal->resets_at_ms =
        refusal->retry_after_ms ? state->core->now_ms + refusal->retry_after_ms : 0;
}

static void
refuse_count(const struct call_state *state, const struct applied *applied, struct refusal *refusal)
{
    if (applied->limit->counts == COUNT_IN_FLIGHT) {
        refusal->reason = REASON_IN_FLIGHT; /* all of it is held, nothing ever settled */
        refusal->retry_after_ms = applied->cap > 0 ? HELD_RETRY_MS : 0;
        return;
    }
    refusal->reason = REASON_RATE;
    refusal->used = money_add(applied->now.settled, applied->now.held);
    refusal->held = 0;
    refusal->retry_after_ms = room_wait_ms(state, applied, refusal->ask);
    refusal->resets_at_ms =
        refusal->retry_after_ms ? state->core->now_ms + refusal->retry_after_ms : 0;
}

static bool
is_held(enum reason reason)
{
    return reason == REASON_COST_HELD || reason == REASON_TOKENS_HELD;
}

/* A new tree has no name yet: it is known by its first thread. */
static uint64_t
subject_mark(const struct call_state *state, const struct subject_key *subject)
{
    const bool is_new = subject->kind == SUBJECT_TREE && !subject->name[0];
    const char *name = is_new ? state->call->thread_hash : subject->name;
    return hash_pair(hash_bytes(slice_str(name)),
        hash_pair((uint64_t)subject->kind, (uint64_t)subject->account_id));
}

static void
refuse_limit(const struct call_state *state, const struct applied *applied, int64_t ask,
    struct refusal *refusal)
{
    const struct limit *limit = applied->limit;
    *refusal = (struct refusal){ .limit_id = limit->limit_id,
        .limit_nth = limit->nth,
        .subject_id = applied->subject_id,
        .subject_mark = subject_mark(state, &applied->subject),
        .counts = (int32_t)limit->counts,
        .per = (int32_t)limit->per,
        .window = (int32_t)limit->window,
        .span_ms = limit->span_ms,
        .used = applied->now.settled,
        .held = applied->now.held,
        .cap = applied->cap,
        .ask = ask };
    slice_to_cstr(slice_str(limit->name), refusal->limit_name, sizeof refusal->limit_name);
    if (limit->per == PER_GROUP) {
        slice_to_cstr(slice_str(applied->subject.name), refusal->about, sizeof refusal->about);
    }
    if (limit->window == WINDOW_BUCKET) {
        refuse_bucket(state, applied, refusal);
    } else if (counts_in_steps(limit->counts)) {
        refuse_amount(state, applied, refusal);
    } else {
        refuse_count(state, applied, refusal);
    }
    if (!is_held(refusal->reason)
        && limit_has_room(applied, ask)) { /* it only stands behind others */
        refusal->retry_after_ms = min_i64(HELD_RETRY_MS, max_i64(1, limit->queue_ms));
        refusal->resets_at_ms = 0;
    }
}

static bool
is_spent(enum reason reason)
{
    return reason == REASON_COST_SPENT || reason == REASON_TOKENS_SPENT;
}

int64_t
refusal_wait_ms(const struct policy *policy, const struct refusal *refusal)
{
    const struct limit *limit =
        refusal->limit_id ? policy_limit_by_id(policy, refusal->limit_id) : NULL;
    const int64_t queue_ms = limit && limit->at_cap == AT_CAP_QUEUE ? limit->queue_ms : 0;
    if (is_held(refusal->reason)) {
        return max_i64(policy->held_wait_ms, queue_ms);
    }
    /* When a call in flight ends nobody knows; what time alone makes room for comes in time, or does not. */
    const bool by_release = refusal->reason == REASON_IN_FLIGHT;
    const bool in_time =
        refusal->retry_after_ms > 0 && (by_release || refusal->retry_after_ms <= queue_ms);
    return in_time ? queue_ms : 0;
}

/* --- One route. */

bool
price_is_missing(
    const struct policy *policy, const struct route *route, bool has_cost, bool has_strict)
{
    switch (policy->unpriced) {
    case UNPRICED_ALLOW: return !route->price && has_cost && has_strict;
    case UNPRICED_REFUSE: return !route->price;
    default: return !route->price && has_cost;
    }
}

/* What no limit can be asked about: a call whose cost is not known, or not bounded where a true bound is
 * wanted. */
static enum reason
check_bounds(const struct call_state *state, const struct route *route)
{
    const struct applied_set *limits = &state->limits;
    if (price_is_missing(state->policy, route, limits->has_cost, limits->has_strict)) {
        return REASON_UNPRICED;
    }
    return limits->has_strict && state->call->cannot_bound ? REASON_CANNOT_BOUND : REASON_OK;
}

/* By the first of its limits that wants a true bound, and because of which field. */
static void
refuse_unbounded(const struct call_state *state, enum reason reason, struct verdict *verdict)
{
    refuse(verdict, reason);
    for (int32_t i = 0; reason == REASON_CANNOT_BOUND && i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        if (applied->limit->hold == HOLD_MODE_STRICT && applied->cap != CAP_UNLIMITED
            && limit_enforces(applied->limit)) {
            slice_to_cstr(slice_str(applied->limit->name), verdict->refusal.limit_name,
                sizeof verdict->refusal.limit_name);
            break;
        }
    }
    memcpy(verdict->refusal.about, state->call->unbounded_by, sizeof verdict->refusal.about);
}

/* False when this limit has no room for the call; then the refusal says why. */
bool
check_limit(const struct call_state *state, const struct applied *applied,
    const struct route *route, struct refusal *refusal)
{
    if (!limit_counts_route(applied->limit, state->policy, route)) {
        return true;
    }
    if (applied->limit->counts == COUNT_REPORTED) {
        return reported_fits(state->core, applied->limit, state->account->account_id, state->model,
            state->policy->providers[route->provider].name, applied->cap, refusal);
    }
    const int64_t ask = ask_of(state, applied, route);
    if (limit_fits(state, applied, ask)) {
        return true;
    }
    refuse_limit(state, applied, ask, refusal);
    return false;
}

/* True when every limit has room for this route. Else the verdict refuses: with the first limit in
 * the order of checks, but one that is spent before one that waiting would help, since it would be in
 * vain. */
static bool
check_limits(const struct call_state *state, const struct route *route, struct verdict *verdict)
{
    bool refused = false;
    const enum reason unbounded = check_bounds(state, route);
    if (unbounded != REASON_OK) {
        refuse_unbounded(state, unbounded, verdict);
        return false;
    }
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        struct refusal refusal;
        if (check_limit(state, applied, route, &refusal)) {
            continue;
        }
        if (!limit_enforces(applied->limit)) {
            if (applied->limit->at_cap == AT_CAP_SHADOW && verdict->shadow.reason == REASON_OK) {
                verdict->shadow = refusal;
            }
            continue;
        }
        const bool vain = refused && is_held(verdict->refusal.reason) && is_spent(refusal.reason)
                          && refusal_wait_ms(state->policy, &refusal) == 0;
        if (!refused || vain) {
            verdict->kind = VERDICT_REFUSED;
            verdict->refusal = refusal;
        }
        refused = true;
    }
    return !refused;
}

/* --- How much of an answer fits. */

/* The output that one limit leaves room for; INT64_MAX where it sets no bound of its own. */
static int64_t
output_within(
    const struct call_state *state, const struct applied *applied, const struct route *route)
{
    const struct limit *limit = applied->limit;
    const struct estimate *estimate = &state->estimate;
    const int64_t pct = state->call->price_multiplier_pct;
    const bool bounds = counts_in_steps(limit->counts) && limit->hold != HOLD_MODE_NONE
                        && limit->window != WINDOW_BUCKET && applied->cap != CAP_UNLIMITED
                        && limit_enforces(limit) && limit_counts_route(limit, state->policy, route);
    if (!bounds) {
        return INT64_MAX;
    }
    const int64_t input = limit->hold == HOLD_MODE_STRICT ? estimate->input_bound : estimate->input;
    const int64_t room = applied->cap - used_of(applied);
    if (limit->counts == COUNT_TOKENS) {
        return max_i64(0, room - input);
    }
    const bool costs = price_bound(route->price, input, estimate->output_bound, pct) > 0;
    /* What costs nothing passes a spent limit whole. */
    return costs ? max_i64(0, price_output_within(route->price, input, room, pct)) : INT64_MAX;
}

/* Fits the output limit into the room of the tightest limit, and says what is held. */
static void
size_hold(struct call_state *state, const struct route *route)
{
    const int64_t pct = state->call->price_multiplier_pct;
    const int64_t answers = call_answers(state->call);
    const struct estimate *estimate = &state->estimate;
    state->bound_output = estimate->output_bound;
    for (int32_t i = 0; i < state->limits.count; i++) {
        const int64_t output = output_within(state, &state->limits.items[i], route);
        if (output < state->bound_output) {
            state->bound_output = output;
            state->lowered_by = state->limits.items[i].limit;
        }
    }
    if (state->bound_output < estimate->output_bound) {
        state->output_limit = state->bound_output / answers;
        state->bound_output = state->output_limit * answers;
        state->lowered = true;
    }
    state->held_output = min_i64(estimate->slice, state->bound_output);
    state->held_micros = price_bound(route->price, estimate->input, state->held_output, pct);
    state->bound_micros = max_i64(state->held_micros,
        price_bound(route->price, estimate->input_bound, state->bound_output, pct));
    state->est_micros = price_estimate(route->price, estimate->input, state->held_output, pct);
}

/* --- All routes. */

static void
refuse_no_route(const struct call_state *state, struct verdict *verdict)
{
    const int64_t opens_ms = state->call->routes_open_ms;
    const int64_t wait_ms = opens_ms > state->core->now_ms ? opens_ms - state->core->now_ms : 0;
    const bool waits = wait_ms > 0 && wait_ms <= MINUTE_MS;
    refuse(verdict, !waits                        ? REASON_ROUTES_EXHAUSTED
                    : state->foreign              ? REASON_ID_ROUTE_COOLING
                    : state->call->routes_failing ? REASON_ROUTES_FAILING
                                                  : REASON_ROUTES_COOLING);
    verdict->refusal.retry_after_ms = wait_ms;
    verdict->refusal.resets_at_ms = wait_ms ? opens_ms : 0;
}

bool
check_routes(struct call_state *state, struct verdict *verdict)
{
    bool any_open = false;
    for (int32_t i = 0; i < state->model->route_count; i++) {
        if (state->closed & (UINT32_C(1) << i)) {
            continue;
        }
        struct verdict attempt = {
            .event = verdict->event, .reply = verdict->reply, .output_limit = -1
        };
        if (check_limits(state, &state->model->routes[i], &attempt)) {
            verdict->shadow = attempt.shadow;
            state->route_index = i;
            size_hold(state, &state->model->routes[i]);
            return true;
        }
        /* The first route's refusal is the one to tell, unless waiting helps another. */
        const bool worth_waiting =
            is_held(attempt.refusal.reason) && !is_held(verdict->refusal.reason);
        const bool asks_again =
            any_open
            && (verdict->asks_again || attempt.refusal.limit_id != verdict->refusal.limit_id);
        if (!any_open || worth_waiting) {
            *verdict = attempt;
        }
        verdict->asks_again = asks_again;
        any_open = true;
    }
    if (!any_open) {
        refuse_no_route(state, verdict);
    }
    return false;
}
