/* core/hold.c: what happens to a hold after it was made: extend, reroute, settle, orphan. Each ends
 * with settled + held of every meter equal to the sums over ledger and open holds, or changes
 * nothing. */
#include "core/core_priv.h"

static struct hold_row *
open_hold(struct core *core, int64_t hold_id)
{
    struct hold_slot *slot = work_hold(core->work, hold_id);
    const bool open = slot && (slot->slot.state == SLOT_STORED || slot->slot.state == SLOT_NEW);
    return open ? &slot->row : NULL;
}

const struct route *
hold_route(const struct policy *policy, const struct hold_row *hold)
{
    const int32_t model = policy_model_index(policy, slice_str(hold->model));
    if (model < 0 || hold->attempt_count == 0) {
        return NULL;
    }
    const struct attempt *attempt = &hold->attempts[hold->attempt_count - 1];
    for (int32_t i = 0; i < policy->models[model].route_count; i++) {
        const struct route *route = &policy->models[model].routes[i];
        if (strcmp(policy->providers[route->provider].name, attempt->provider) == 0
            && strcmp(route->model, attempt->model) == 0) {
            return route;
        }
    }
    return NULL;
}

/* Providers that stop when we hang up stop streams: a call that is not streamed is generated and
 * billed to its end (spec/wire.md section 2, "Client abort"). */
enum on_abort
on_abort_of(const struct provider *provider, bool stream)
{
    return stream ? provider->on_abort : ON_ABORT_BILLS_ALL;
}

/* Parts whose limit decides how far a stream may go on: what strict ones may need they hold already. */
static bool
part_is_stepped(const struct hold_row *hold, const struct hold_part *part)
{
    return part_is_open(hold, part) && part->enforced && counts_in_steps(part->counts)
           && part->mode == HOLD_MODE_STREAM && part->window != WINDOW_BUCKET;
}

/* The output up to which the tightest limit lets a stream hold; INT64_MAX without any. */
static int64_t
output_reach(struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct price *price, struct refusal *tightest)
{
    int64_t reach = INT64_MAX;
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        const struct meter *meter = part_is_stepped(hold, part) ? part_meter(core, part) : NULL;
        if (!meter) {
            continue;
        }
        const int64_t most =
            money_add(part->held, max_i64(0, part_room(core, policy, part, meter)));
        const int64_t here =
            part->counts == COUNT_TOKENS
                ? most - hold->est_input
                : price_output_within(price, hold->est_input, most, hold->multiplier_pct);
        if (here < reach) {
            reach = here;
            part_refuse(policy, part, meter, tightest);
        }
    }
    return reach;
}

static int64_t
allowed_of(const struct policy *policy, const struct hold_row *hold, bool last)
{
    if (hold->held_output >= hold->bound_output) {
        return INT64_MAX; /* the provider's own output limit ends it */
    }
    return last ? hold->held_output : max_i64(0, hold->held_output - policy->step_tokens);
}

/* One step beyond what may then be relayed. A stream that was at its last tokens has used that step
 * up, so what it has relayed counts too; without a wish (the input became known) all stays as it
 * is. */
static int64_t
output_wanted(
    const struct policy *policy, const struct hold_row *hold, const struct extend_event *extend)
{
    const int64_t want = min_i64(max_i64(0, extend->want_tokens), TOKENS_MAX);
    if (want == 0) {
        return hold->held_output;
    }
    const int64_t relayed = min_i64(max_i64(0, extend->output_tokens), TOKENS_MAX);
    const int64_t output = max_i64(hold->held_output + want, relayed + want + policy->step_tokens);
    return min_i64(hold->bound_output, output);
}

/* Near a cap running work goes before new work: it gets what room there is, at once. */
void
decide_extend(struct core *core, const struct event *event, struct verdict *verdict)
{
    struct hold_row *hold = open_hold(core, event->extend.hold_id);
    if (!hold) {
        /* Resolved already: nothing more may be relayed. */
        refuse(verdict, REASON_STORE_UNAVAILABLE);
        return;
    }
    const struct policy *policy = core_policy_at(core, hold->policy_ver);
    const struct route *route = hold_route(policy, hold);
    const struct price *price = route ? route->price : NULL;
    struct refusal tightest = { 0 };
    if (event->extend.input_exact >= 0) {
        hold->est_input = min_i64(event->extend.input_exact, TOKENS_MAX);
        hold->input_bound = hold->est_input;
    }
    int64_t output = output_wanted(policy, hold, &event->extend);
    const int64_t reach = output_reach(core, policy, hold, price, &tightest);
    const bool last = output > reach;
    if (last) {
        output = max_i64(hold->held_output, min_i64(reach, hold->bound_output));
    }
    hold->held_output = output;
    const int64_t held = price_bound(price, hold->est_input, output, hold->multiplier_pct);
    const int64_t bound =
        price_bound(price, hold->input_bound, hold->bound_output, hold->multiplier_pct);
    parts_resize(core, hold, held, max_i64(held, bound));
    verdict->kind = VERDICT_ALLOWED;
    verdict->hold_id = hold->hold_id;
    verdict->output_allowed = allowed_of(policy, hold, last);
    verdict->held_output = hold->held_output;
    verdict->bound_output = hold->bound_output;
    verdict->refusal = tightest; /* which limit ends the stream, if none extends it further */
}

void
ledger_from_hold(const struct core *core, struct ledger_row *row, const struct hold_row *hold)
{
    row->id = ids_take(core->ids);
    row->at_ms = core->now_ms;
    row->hold_id = hold->hold_id;
    row->account_id = hold->account_id;
    row->key_id = hold->key_id;
    row->thread_id = hold->thread_id;
    row->root_id = hold->root_id;
    row->payer = hold->payer;
    row->est_micros = hold->est_micros;
    row->bound_micros = hold->bound_micros;
    row->started_ms = hold->created_ms;
    row->policy_ver = hold->policy_ver;
    row->price_ver = hold->price_ver;
    row->usage = USAGE_NONE;
    memcpy(row->model, hold->model, sizeof row->model);
    memcpy(row->estimator, hold->estimator, sizeof row->estimator);
}

static void
ledger_attempt(
    struct ledger_row *row, const struct hold_row *hold, int32_t index, const char *source)
{
    const int32_t attempt =
        index < 0 ? 0 : index; /* a stored hold may be so damaged that it has none */
    row->attempt = attempt;
    memcpy(row->provider, hold->attempts[attempt].provider, sizeof row->provider);
    memcpy(row->upstream_model, hold->attempts[attempt].model, sizeof row->upstream_model);
    slice_to_cstr(slice_str(source), row->source, sizeof row->source);
}

/* Attempts given up before the last one: each is booked, at nothing where it was not when it ended. */
static void
book_given_up(struct core *core, struct hold_row *hold)
{
    for (int32_t i = 0; i + 1 < hold->attempt_count; i++) {
        if (hold->attempts[i].state == ATTEMPT_DONE) {
            continue;
        }
        struct ledger_row *row = work_add_ledger(core->work);
        if (!row) {
            return;
        }
        ledger_from_hold(core, row, hold);
        ledger_attempt(row, hold, i, "relay");
        row->kind = LEDGER_UNBILLED;
        row->status = hold->attempts[i].status;
        row->reason = hold->attempts[i].reason;
        hold->attempts[i].state = ATTEMPT_DONE;
    }
}

static void
hold_close(struct core *core, int64_t hold_id)
{
    struct hold_slot *slot = work_hold(core->work, hold_id);
    slot->slot.state = SLOT_DELETED;
    slot->slot.dirty = true;
}

/* A smoothed ratio: an eighth of the way to what was just seen, within sane bounds. */
static void
learn_ratio(int64_t *ratio_milli, int64_t bytes, int64_t tokens)
{
    if (bytes <= 0 || tokens < 16) {
        return;
    }
    const int64_t seen = min_i64(max_i64(bytes * 1000 / tokens, 500), 20000);
    *ratio_milli += (seen - *ratio_milli) / 8;
}

/* When a thread was last used is told to the hour, so that its row is not written for that alone
 * with each of its calls. */
static void
learn_input(const struct core *core, struct thread_slot *thread, int64_t input, int64_t bytes)
{
    struct thread_row *row = &thread->row;
    const bool same = row->last_input == input && row->last_input_bytes == bytes;
    if (same && core->now_ms < row->last_ms + THREAD_TOLD_MS) {
        return;
    }
    row->last_input = input;
    row->last_input_bytes = bytes;
    row->last_ms = max_i64(row->last_ms, core->now_ms);
    thread->slot.dirty = true;
}

static void
learn(struct core *core, const struct hold_row *hold, const struct settle_event *settle)
{
    const bool exact =
        (settle->usage.known & (USAGE_INPUT | USAGE_OUTPUT)) == (USAGE_INPUT | USAGE_OUTPUT);
    if (!exact || (settle->usage.known & USAGE_ESTIMATED)) {
        return;
    }
    struct learned *learned = learned_of(core->learned, hold->model, true);
    const int64_t input = usage_input_total(&settle->usage);
    if (learned) {
        learn_ratio(&learned->input_bytes_per_token_milli, hold->body_bytes, input);
        learn_ratio(&learned->output_bytes_per_token_milli, settle->output_bytes,
            settle->usage.output - settle->usage.reasoning);
    }
    struct thread_slot *thread = work_thread(core->work, hold->thread_id);
    const bool talks =
        hold->bound_output > 0; /* embeddings say nothing about the thread's next turn */
    if (talks && thread && thread->slot.state != SLOT_ABSENT && input > 0) {
        learn_input(core, thread, input, hold->body_bytes);
    }
}

static uint32_t
flags_of_cost(const struct cost *cost)
{
    uint32_t flags = 0;
    flags |= cost->flags & COST_UNPRICED ? LEDGER_UNPRICED : 0;
    flags |= cost->flags & COST_PARTLY_PRICED ? LEDGER_PARTLY_PRICED : 0;
    flags |= cost->flags & COST_PROVIDER ? LEDGER_PROVIDER_COST : 0;
    flags |= cost->flags & COST_DISPUTED ? LEDGER_COST_DISPUTED : 0;
    return flags;
}

/* The inputs of the decision, and what the hold had grown to at its end. */
static struct slice
inputs_at_end(const struct core *core, const struct hold_row *hold)
{
    char room[96];
    const struct slice inputs = hold->inputs;
    if (inputs.len < 2 || inputs.ptr[inputs.len - 1] != '}') {
        return inputs;
    }
    struct buf held = buf_over(room, sizeof room);
    buf_add_number(&held, "held_micros", hold->held_micros);
    buf_add_number(&held, "held_output", hold->held_output);
    buf_add_char(&held, '}');
    char *text = arena_alloc(core->work->arena, inputs.len + held.len);
    if (!text) {
        core->work->failed = true;
        return inputs;
    }
    memcpy(text, inputs.ptr, inputs.len - 1);
    memcpy(text + inputs.len - 1, held.ptr, held.len);
    return slice_of(text, inputs.len - 1 + held.len);
}

static void
book_last(struct core *core, const struct hold_row *hold, const struct settle_event *settle,
    const struct cost *cost)
{
    struct ledger_row *row = work_add_ledger(core->work);
    if (!row) {
        return;
    }
    ledger_from_hold(core, row, hold);
    ledger_attempt(row, hold, hold->attempt_count - 1, "relay");
    row->kind = !settle->dispatched ? LEDGER_RELEASE
                : settle->unbilled  ? LEDGER_UNBILLED
                                    : LEDGER_SETTLE;
    row->status = settle->status;
    row->reason = settle->reason;
    row->flags = settle->flags;
    row->inputs = inputs_at_end(core, hold);
    if (row->kind == LEDGER_SETTLE) {
        row->usage = settle->usage;
        row->cost_micros = cost->micros;
        row->flags |=
            flags_of_cost(cost) | (settle->usage.known & USAGE_ESTIMATED ? LEDGER_ESTIMATED : 0);
    }
    ledger_check(row);
}

static struct cost
cost_of(const struct policy *policy, const struct hold_row *hold, const struct settle_event *settle)
{
    usage_check(&settle->usage);
    if (!settle->dispatched || settle->unbilled) {
        return (struct cost){ 0 };
    }
    const struct route *route = hold_route(policy, hold);
    const bool named = settle->multiplier_pct >= 1 && settle->multiplier_pct <= MULTIPLIER_PCT_MAX;
    return price_cost(route ? route->price : NULL, &settle->usage,
        named ? settle->multiplier_pct : hold->multiplier_pct);
}

/* The route that the next attempt goes to, or why there is none. */
static enum reason
reroute_target(const struct core *core, const struct policy *policy, const struct hold_row *hold,
    const struct reroute_event *reroute, const struct route **route)
{
    const int32_t model = policy_model_index(policy, slice_str(hold->model));
    if (hold->attempt_count == ATTEMPTS_MAX || model < 0 || reroute->route_index < 0
        || reroute->route_index >= policy->models[model].route_count) {
        return REASON_ROUTES_EXHAUSTED;
    }
    *route = &policy->models[model].routes[reroute->route_index];
    bool has_cost = false;
    bool has_strict = false;
    routed_wants(core, policy, hold, *route, &has_cost, &has_strict);
    return price_is_missing(policy, *route, has_cost, has_strict) ? REASON_UNPRICED : REASON_OK;
}

/* The attempt before is over: on the books where it may be billed, else remembered until the end. */
static void
give_up_attempt(struct core *core, const struct policy *policy, struct hold_row *hold,
    const struct reroute_event *reroute, const struct settle_event *ended, const struct cost *cost)
{
    struct attempt *failed = &hold->attempts[hold->attempt_count - 1];
    if (reroute->billed) {
        book_given_up(core, hold); /* rows stand in the order of the attempts */
    }
    failed->state = reroute->billed ? ATTEMPT_DONE : ATTEMPT_UNBILLED;
    failed->status = reroute->failed_status;
    failed->reason = reroute->failed_reason;
    if (reroute->billed) {
        book_last(core, hold, ended, cost);
        parts_spend(core, policy, hold, cost->micros, usage_tokens(&ended->usage));
    }
}

/* The attempt before, as it would be settled. */
static struct settle_event
attempt_ended(const struct reroute_event *reroute)
{
    return (struct settle_event){ .hold_id = reroute->hold_id,
        .dispatched = reroute->billed,
        .usage = reroute->billed ? reroute->usage : USAGE_NONE,
        .status = reroute->failed_status,
        .reason = reroute->failed_reason,
        .flags = reroute->flags,
        .multiplier_pct = reroute->multiplier_pct };
}

static void
open_attempt(
    struct hold_row *hold, const struct provider *provider, const struct route *route, bool stream)
{
    struct attempt *next = &hold->attempts[hold->attempt_count++];
    *next = (struct attempt){ .state = ATTEMPT_OPEN };
    slice_to_cstr(slice_str(provider->name), next->provider, sizeof next->provider);
    slice_to_cstr(slice_str(route->model), next->model, sizeof next->model);
    hold->on_abort = on_abort_of(provider, stream);
}

/* The next attempt is held before it leaves. What the attempt before may be billed is spent in the same
 * transaction, so each limit has room for both or the attempt before rules (DESIGN section 4). */
void
decide_reroute(struct core *core, const struct event *event, struct verdict *verdict)
{
    const struct reroute_event *reroute = &event->reroute;
    struct hold_row *hold = open_hold(core, reroute->hold_id);
    if (!hold) {
        refuse(verdict, REASON_ROUTES_EXHAUSTED);
        return;
    }
    const struct policy *policy = core_policy_at(core, hold->policy_ver);
    const struct route *route = NULL;
    const enum reason reason = reroute_target(core, policy, hold, reroute, &route);
    if (reason != REASON_OK) {
        refuse(verdict, reason);
        return;
    }
    const struct settle_event ended = attempt_ended(reroute);
    const struct cost cost = cost_of(policy, hold, &ended);
    struct refusal tightest = { 0 };
    const int64_t held =
        price_bound(route->price, hold->est_input, hold->held_output, hold->multiplier_pct);
    const int64_t bound =
        price_bound(route->price, hold->input_bound, hold->bound_output, hold->multiplier_pct);
    struct hold_row next = *hold;
    next.held_micros = held;
    next.bound_micros = max_i64(held, bound);
    const struct routed_ask ask = {
        .next = &next, .cost_micros = cost.micros, .tokens = usage_tokens(&ended.usage)
    };
    if (!routed_fits(core, policy, hold, route, &ask, &tightest)) {
        refuse(verdict, tightest.reason);
        verdict->refusal = tightest;
        return;
    }
    verdict->booked = verdict->billed = reroute->billed;
    verdict->cost_micros = cost.micros;
    give_up_attempt(core, policy, hold, reroute, &ended, &cost);
    routed_leave(core, policy, hold, route);
    open_attempt(hold, &policy->providers[route->provider], route, reroute->stream);
    parts_resize(core, hold, held, max_i64(held, bound));
    routed_enter(core, policy, hold, route);
    routed_note(core, policy, hold);
    verdict->kind = VERDICT_ALLOWED;
    verdict->hold_id = hold->hold_id;
    verdict->route_index = reroute->route_index;
    verdict->output_limit = -1;
    verdict->output_allowed = allowed_of(policy, hold, false);
    verdict->held_output = hold->held_output;
    verdict->bound_output = hold->bound_output;
}

/* A reroute that was allowed after its owner had given up was never made: where the attempt before it is on
 * the books already, nothing of the last one left. */
static struct settle_event
settle_as_made(const struct hold_row *hold, const struct settle_event *settle)
{
    struct settle_event made = *settle;
    const bool unmade = settle->attempts > 0 && settle->attempts < hold->attempt_count;
    if (unmade && hold->attempts[settle->attempts - 1].state == ATTEMPT_DONE) {
        made.dispatched = made.unbilled = false;
    }
    return made;
}

/* What a provider answered or may bill has left; a route that could not be reached got nothing. */
static bool
was_dispatched(const struct hold_row *hold, const struct settle_event *settle)
{
    bool left = settle->dispatched;
    for (int32_t i = 0; i + 1 < hold->attempt_count; i++) {
        left = left || hold->attempts[i].state == ATTEMPT_DONE || hold->attempts[i].status > 0;
    }
    return left;
}

void
decide_settle(struct core *core, const struct event *event, struct verdict *verdict)
{
    verdict->kind = VERDICT_ALLOWED;
    verdict->hold_id = event->settle.hold_id;
    struct hold_row *hold = open_hold(core, event->settle.hold_id);
    if (!hold) {
        return; /* resolved before: exactly once */
    }
    const struct settle_event made = settle_as_made(hold, &event->settle);
    const struct settle_event *settle = &made;
    const struct policy *policy = core_policy_at(core, hold->policy_ver);
    const bool billed = settle->dispatched && !settle->unbilled;
    const struct cost cost = cost_of(policy, hold, settle);
    verdict->billed = billed;
    verdict->est_micros = was_dispatched(hold, settle) ? hold->est_micros : 0;
    book_given_up(core, hold);
    book_last(core, hold, settle, &cost);
    parts_resolve(core, policy, hold, cost.micros, billed ? usage_tokens(&settle->usage) : 0,
        !settle->dispatched && hold->attempt_count == 1, verdict);
    if (billed) {
        learn(core, hold, settle);
        issued_give(core, hold, settle->issued);
    }
    hold_close(core, hold->hold_id);
}

/* Nobody tells what it used; its tokens are booked as its cost is, at what was held or at the bound. */
static struct usage
orphan_usage(const struct hold_row *hold, bool charge, bool stops)
{
    struct usage usage = USAGE_NONE;
    if (charge) {
        usage.input = min_i64(stops ? hold->est_input : hold->input_bound, TOKENS_MAX);
        usage.output = min_i64(stops ? hold->held_output : hold->bound_output, TOKENS_MAX);
        usage.known = USAGE_ESTIMATED;
    }
    return usage;
}

static int64_t
orphan_cost(const struct core *core, const struct hold_row *hold)
{
    if (core->policy->orphans != ORPHAN_CHARGE) {
        return 0;
    }
    return hold->on_abort == ON_ABORT_STOPS ? hold->held_micros : hold->bound_micros;
}

bool
core_orphan(struct core *core, int64_t hold_id, struct verdict *verdict)
{
    *verdict = (struct verdict){ .event = EVENT_SETTLE, .hold_id = hold_id };
    struct hold_row *hold = open_hold(core, hold_id);
    if (!hold) {
        return !core->work->failed;
    }
    core->event = NULL;
    core->orphan_id = hold_id;
    const bool charge = core->policy->orphans == ORPHAN_CHARGE;
    const bool stops = hold->on_abort == ON_ABORT_STOPS;
    const int64_t cost_micros = orphan_cost(core, hold);
    const struct usage usage = orphan_usage(hold, charge, stops);
    book_given_up(core, hold);
    struct ledger_row *row = work_add_ledger(core->work);
    if (row) {
        ledger_from_hold(core, row, hold);
        ledger_attempt(row, hold, hold->attempt_count - 1, "crash");
        row->kind = LEDGER_ORPHAN;
        row->cost_micros = cost_micros;
        row->usage = usage;
        row->flags = LEDGER_ESTIMATED | LEDGER_CUT;
        row->inputs = inputs_at_end(core, hold);
        ledger_check(row);
    }
    verdict->est_micros = hold->est_micros;
    parts_resolve(core, core->policy, hold, cost_micros, usage_tokens(&usage), false, verdict);
    hold_close(core, hold->hold_id);
    return !core->work->failed;
}

void
need_hold_told(struct core *core, const struct event *event, int64_t hold_id, struct needs *needs)
{
    const struct hold_row *hold = open_hold(core, hold_id);
    if (!hold) {
        return;
    }
    if (!event) {
        const bool charge = core->policy->orphans == ORPHAN_CHARGE;
        const struct usage usage = orphan_usage(hold, charge, hold->on_abort == ON_ABORT_STOPS);
        need_warn_parts(
            core, core->policy, hold, orphan_cost(core, hold), usage_tokens(&usage), needs);
        return;
    }
    const struct policy *policy = core_policy_at(core, hold->policy_ver);
    const struct settle_event ended = event->kind == EVENT_REROUTE
                                          ? attempt_ended(&event->reroute)
                                          : settle_as_made(hold, &event->settle);
    const struct cost cost = cost_of(policy, hold, &ended);
    need_warn_parts(core, policy, hold, cost.micros, usage_tokens(&ended.usage), needs);
}
