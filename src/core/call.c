/* core/call.c: may this model call start? In the order of tbl/checks.h; all or none. */
#include "core/core_priv.h"

static bool
key_speaks_for(const struct key_row *key, const struct account_row *account)
{
    if (key->account_id == account->account_id) {
        return true;
    }
    return key->role == ROLE_SERVICE && key->may_act_for[0]
           && slice_starts(slice_str(account->name), slice_str(key->may_act_for));
}

static bool
is_banned(struct work *work, int64_t account_id)
{
    const struct account_slot *account = work_account(work, account_id);
    return account && account->slot.state != SLOT_ABSENT && account->row.state == ACCOUNT_BANNED;
}

static enum reason
check_identity(struct call_state *state)
{
    struct work *work = state->core->work;
    const struct key_slot *key = work_key(work, state->call->key_id);
    const struct account_slot *account = work_account(work, state->call->account_id);
    if (!key || key->slot.state == SLOT_ABSENT || !account || account->slot.state == SLOT_ABSENT) {
        return REASON_KEY_INVALID;
    }
    state->key = &key->row;
    state->account = &account->row;
    if (key->row.revoked) {
        return REASON_KEY_REVOKED;
    }
    if (key->row.expires_ms && key->row.expires_ms <= state->core->now_ms) {
        return REASON_KEY_EXPIRED;
    }
    if (!key_speaks_for(&key->row, &account->row)) {
        return REASON_KEY_ROLE;
    }
    if (key->row.role == ROLE_OBSERVER) {
        return REASON_KEY_ROLE;
    }
    /* Whom a banned account's key acts for makes no difference. */
    const bool banned =
        account->row.state == ACCOUNT_BANNED || is_banned(work, key->row.account_id);
    return banned ? REASON_ACCOUNT_BANNED : REASON_OK;
}

/* Ids of stored state work only for the account they were given to, and at the provider that gave them
 * (DESIGN section 7): all other routes are closed for the call. */
static enum reason
check_issued(struct call_state *state)
{
    if (!state->call->issued_hash[0]) {
        return REASON_OK;
    }
    const struct issued_slot *issued = work_issued(state->core->work, state->call->issued_hash);
    const bool ours = issued && issued->slot.state != SLOT_ABSENT
                      && issued->row.account_id == state->account->account_id;
    if (!ours) {
        return REASON_ID_UNKNOWN;
    }
    bool is_known = false;
    for (int32_t i = 0; i < state->model->route_count; i++) {
        const struct route *route = &state->model->routes[i];
        const char *name = state->policy->providers[route->provider].name;
        const bool is_its = slice_eq(slice_str(name), slice_str(issued->row.provider));
        state->foreign |= (uint32_t)!is_its << i;
        is_known = is_known || is_its;
    }
    state->closed |= state->foreign;
    return is_known ? REASON_OK : REASON_ID_ROUTE_GONE;
}

/* A thread keeps the tree it was born into. What a client says otherwise by name is refused, as limits would not be
 * those that it thinks of; of one that began without a parent, or shows itself by other signals, it is told. */
static enum reason
check_parent(
    struct call_state *state, const struct thread_row *thread, const struct thread_row *parent)
{
    const bool is_root = thread->root_id == thread->thread_id;
    const bool same_tree = thread->root_id == parent->root_id;
    if (same_tree && (is_root || thread == parent)) {
        return REASON_THREAD_CYCLE;
    }
    if (same_tree && parent->created_ms <= thread->created_ms) {
        return REASON_OK; /* one that is younger was not there when it began */
    }
    if (state->call->thread_named && !is_root) {
        return REASON_THREAD_MOVED;
    }
    state->parent_ignored = true;
    return REASON_OK;
}

static enum reason
check_thread(struct call_state *state)
{
    const struct call_event *call = state->call;
    struct work *work = state->core->work;
    if (state->key->thread_required && !call->thread_named) {
        return REASON_THREAD_REQUIRED;
    }
    state->thread = work_thread_sig(work, call->account_id, call->thread_kind, call->thread_hash);
    if (state->thread && state->thread->slot.state == SLOT_ABSENT) {
        state->thread = NULL;
    }
    state->root_id = state->thread ? state->thread->row.root_id : 0;
    if (!call->parent_hash[0]) {
        return REASON_OK;
    }
    const struct thread_slot *parent =
        work_thread_sig(work, call->account_id, THREAD_NAMED, call->parent_hash);
    if (!parent || parent->slot.state == SLOT_ABSENT) {
        return REASON_THREAD_PARENT;
    }
    if (state->thread) {
        return check_parent(state, &state->thread->row, &parent->row);
    }
    state->root_id = parent->row.root_id;
    return REASON_OK;
}

static void
allow_uncounted(const struct call_state *state, struct verdict *verdict)
{
    for (int32_t i = 0; i < state->model->route_count; i++) {
        if (!(state->closed & (UINT32_C(1) << i))) {
            verdict->kind = VERDICT_ALLOWED;
            verdict->routes_foreign = state->foreign;
            verdict->route_index = i;
            verdict->output_limit = -1;
            verdict->output_allowed = INT64_MAX;
            return;
        }
    }
    refuse(verdict, REASON_ROUTES_EXHAUSTED);
}

static void
refuse_for_now(struct verdict *verdict)
{
    refuse(verdict, REASON_OVERLOADED);
    verdict->refusal.retry_after_ms = HELD_RETRY_MS;
}

/* Whether the meters that this call would make fit into the rows of their subjects. */
static bool
limits_have_room(const struct call_state *state)
{
    const struct applied_set *set = &state->limits;
    for (int32_t i = 0; i < set->count; i++) {
        const struct meter_slot *slot = set->items[i].slot;
        int32_t missing = 0;
        for (int32_t k = 0; k < set->count; k++) {
            missing += set->items[k].slot == slot && !set->items[k].metered;
        }
        if (slot && slot->slot.state != SLOT_ABSENT && missing > 0
            && !meters_have_room(state->core, &slot->row, missing)) {
            return false;
        }
    }
    return true;
}

struct caller
caller_of(const struct call_state *state)
{
    return (struct caller){ .policy = state->policy,
        .model = state->model,
        .call = state->call,
        .account = state->account,
        .account_id = state->account->account_id,
        .key_id = state->key->key_id,
        .key_account_id = state->key->account_id,
        .root_id = state->root_id };
}

static enum reason
check_model(struct call_state *state, int32_t model_index)
{
    check(model_index >= 0 && model_index < state->policy->model_count);
    state->model_index = model_index;
    state->model = &state->policy->models[model_index];
    return check_issued(state);
}

/* Limits, routes and the hold of one model: the end of the order of checks. */
static void
evaluate(struct call_state *state, struct verdict *verdict)
{
    struct core *core = state->core;
    const struct caller caller = caller_of(state);
    applied_collect(core, &caller, &state->limits);
    if (state->limits.too_many || !limits_have_room(state)) {
        refuse_for_now(verdict);
        return;
    }
    estimate_call(core, state->policy, state->call, state->model,
        state->thread ? &state->thread->row : NULL, &state->estimate);
    if (check_routes(state, verdict)) {
        allow_call(state, verdict);
    }
}

/* The limit that refuses may name something else to be tried instead, once. */
static const struct limit *
limit_that_substitutes(const struct call_state *state, const struct verdict *verdict)
{
    const int64_t limit_id = verdict->refusal.limit_id;
    const struct limit *limit = verdict->kind == VERDICT_REFUSED && limit_id
                                    ? policy_limit_by_id(state->policy, limit_id)
                                    : NULL;
    const bool names = limit && limit->substitute
                       && (limit->at_cap == AT_CAP_DOWNGRADE || limit->at_cap == AT_CAP_REROUTE);
    return names ? limit : NULL;
}

/* Routes of the model whose provider is another. */
static uint32_t
routes_elsewhere(const struct call_state *state, const char *provider)
{
    uint32_t closed = 0;
    for (int32_t i = 0; i < state->model->route_count; i++) {
        const struct provider *serves = &state->policy->providers[state->model->routes[i].provider];
        closed |= (uint32_t)(strcmp(serves->name, provider) != 0) << i;
    }
    return closed;
}

/* The whole evaluation once more with the substitute. Where that is refused too, the first refusal is told. */
static void
evaluate_substitute(struct call_state *state, const struct limit *limit, struct verdict *verdict)
{
    struct verdict second = { .event = verdict->event,
        .reply = verdict->reply,
        .kind = VERDICT_ALLOWED,
        .output_limit = -1 };
    struct call_state other = *state;
    other.substituted = limit;
    other.foreign = 0;
    if (limit->at_cap == AT_CAP_DOWNGRADE) {
        const int32_t index = policy_model_index(state->policy, slice_str(limit->substitute));
        if (index < 0) {
            return;
        }
        other.closed = policy_routes_unfit(
            state->policy, &state->policy->models[index], (enum api)state->call->api);
        if (check_model(&other, index) != REASON_OK) {
            return;
        }
    } else {
        other.closed |= routes_elsewhere(state, limit->substitute);
    }
    evaluate(&other, &second);
    if (second.kind == VERDICT_ALLOWED) {
        *verdict = second;
        *state = other;
    } else {
        verdict->refusal.tried = second.refusal.reason;
    }
}

/* A count of the input might let it pass, and the relay can get one. */
static bool
may_count(const struct call_state *state, const struct verdict *verdict)
{
    const enum reason reason = verdict->refusal.reason;
    return state->call->can_count && state->call->input_counted == 0
           && (reason == REASON_COST_SPENT || reason == REASON_COST_HELD
               || reason == REASON_TOKENS_SPENT || reason == REASON_TOKENS_HELD);
}

static enum reason
check_request(struct call_state *state)
{
    enum reason reason = check_identity(state);
    if (reason == REASON_OK) {
        reason = state->call->found;
    }
    return reason == REASON_OK ? check_model(state, state->call->model_index) : reason;
}

static void
judge_call(struct call_state *state, struct verdict *verdict)
{
    const struct call_event *call = state->call;
    state->policy = core_policy_exact(state->core, call->policy_ver);
    verdict->output_limit = -1;
    verdict->model_index = call->model_index;
    if (!state->policy) {
        /* Its configuration is gone, and with it whoever waited for an answer. */
        refuse_for_now(verdict);
        return;
    }
    enum reason reason = check_request(state);
    if (reason == REASON_OK && call->api == API_COUNT_TOKENS) {
        allow_uncounted(state, verdict); /* free of charge, and never metered */
        return;
    }
    if (reason == REASON_OK) {
        reason = check_thread(state);
    }
    if (reason != REASON_OK) {
        refuse(verdict, reason);
        return;
    }
    evaluate(state, verdict);
    const struct limit *limit = limit_that_substitutes(state, verdict);
    if (limit) {
        verdict->asks_again = true;
        evaluate_substitute(state, limit, verdict);
    }
    if (verdict->kind == VERDICT_ALLOWED) {
        return;
    }
    verdict->may_count = may_count(state, verdict);
    verdict->wait_ms = verdict->may_count ? 0 : refusal_wait_ms(state->policy, &verdict->refusal);
    if (verdict->wait_ms > 0) {
        verdict->kind = VERDICT_WAIT;
    }
}

void
decide_call(struct core *core, const struct event *event, struct verdict *verdict)
{
    struct call_state state = {
        .core = core,
        .call = &event->call,
        .trace_id = event->trace_id,
        .waited_ms = event->waits_since_ms ? max_i64(0, core->now_ms - event->waits_since_ms) : 0,
        .output_limit = -1,
        .closed = event->call.routes_closed,
    };
    judge_call(&state, verdict);
    if (core->found) {
        core->found->state = state;
    }
}
