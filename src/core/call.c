/* core/call.c: may this model call start? In the order of tbl/checks.h; all or none. */
#include "core/core_priv.h"

/* One second: long enough for a call in flight to end, short enough not to be noticed. */
#define HELD_RETRY_MS INT64_C(1000)

/* What the checks found out on their way, and what the hold is made from. */
struct call_state {
    struct core *core;
    const struct policy *policy;
    const struct call_event *call;
    const char *trace_id; /* hex digits, or "" */
    const struct model *model;
    const struct account_row *account;
    const struct key_row *key;
    struct thread_slot *thread; /* NULL or ABSENT: this call makes it */
    int64_t root_id;            /* 0 = the new thread is its own root */
    struct applied_set limits;
    struct estimate estimate;
    int32_t route_index;
    uint32_t closed,
        foreign; /* routes, bit by bit: not to be asked; of these, they do not know the id */
    int64_t output_limit; /* of one answer, -1 = as the request has it */
    bool lowered;
    int64_t held_output, bound_output, held_micros, bound_micros, est_micros;
};

void
refuse(struct verdict *verdict, enum reason reason)
{
    verdict->kind = VERDICT_REFUSED;
    verdict->refusal = (struct refusal){ .reason = reason };
}

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

static enum reason
check_thread(struct call_state *state)
{
    const struct call_event *call = state->call;
    struct work *work = state->core->work;
    if (state->key->thread_required && !call->thread_named) {
        return REASON_THREAD_REQUIRED;
    }
    if (call->parent_hash[0]) {
        const struct thread_slot *parent =
            work_thread_sig(work, call->account_id, THREAD_NAMED, call->parent_hash);
        if (!parent || parent->slot.state == SLOT_ABSENT) {
            return REASON_THREAD_PARENT;
        }
        state->root_id = parent->row.root_id;
    }
    state->thread = work_thread_sig(work, call->account_id, call->thread_kind, call->thread_hash);
    if (state->thread && state->thread->slot.state != SLOT_ABSENT) {
        state->root_id = state->thread->row.root_id; /* a thread keeps the tree it was born into */
    } else {
        state->thread = NULL;
    }
    return REASON_OK;
}

/* A money limit without room: will it have room again, and when? */
static void
refuse_cost(
    struct verdict *verdict, const struct applied *applied, int64_t ask_micros, int64_t now_ms)
{
    const bool would_fit = applied->now.settled + ask_micros <= applied->cap;
    struct refusal *refusal = &verdict->refusal;
    refusal->reason = would_fit ? REASON_COST_HELD : REASON_COST_SPENT;
    refusal->resets_at_ms = applied->window.end_ms;
    if (would_fit) {
        refusal->retry_after_ms = HELD_RETRY_MS;
    } else if (applied->window.end_ms && ask_micros <= applied->cap) {
        refusal->retry_after_ms = max_i64(1, applied->window.end_ms - now_ms);
    }
}

static void
refuse_limit(struct verdict *verdict, const struct applied *applied, int64_t ask, int64_t now_ms)
{
    const struct limit *limit = applied->limit;
    verdict->kind = VERDICT_REFUSED;
    struct refusal *refusal = &verdict->refusal;
    *refusal = (struct refusal){ .limit_id = limit->limit_id,
        .subject_id = applied->subject_id,
        .counts = (int32_t)limit->counts,
        .per = (int32_t)limit->per,
        .window = (int32_t)limit->window,
        .used = applied->now.settled,
        .held = applied->now.held,
        .cap = applied->cap,
        .ask = ask };
    slice_to_cstr(slice_str(limit->name), refusal->limit_name, sizeof refusal->limit_name);
    if (limit->counts == COUNT_COST) {
        refuse_cost(verdict, applied, ask, now_ms);
    } else if (limit->window == WINDOW_BUCKET) {
        refusal->reason = REASON_RATE;
        refusal->used = (applied->now.settled + limit->period_ms - 1) / limit->period_ms;
        refusal->retry_after_ms = bucket_wait_ms(limit, applied->now.settled, ask);
        refusal->resets_at_ms = refusal->retry_after_ms ? now_ms + refusal->retry_after_ms : 0;
    } else {
        refusal->reason = REASON_IN_FLIGHT; /* all of it is held, nothing ever settled */
        refusal->retry_after_ms = applied->cap > 0 ? HELD_RETRY_MS : 0;
    }
}

/* What a cost limit must have room for before the call is worth starting. */
static int64_t
least_cost(const struct call_state *state, const struct route *route)
{
    return price_bound(route->price, state->estimate.input, state->estimate.least,
        state->call->price_multiplier_pct);
}

static bool
limit_fits(const struct call_state *state, const struct applied *applied, int64_t ask)
{
    switch (applied->limit->counts) {
    case COUNT_COST: {
        const int64_t room = applied->cap - applied->now.settled - applied->now.held;
        if (ask == 0) {
            return true; /* what costs nothing passes a spent limit */
        }
        const struct core *core = state->core;
        const bool others_first =
            state->core->line_busy && applied->subject_id
            && core->line_busy(core->line_user, applied->limit->limit_id, applied->subject_id);
        return ask <= room && !others_first;
    }
    case COUNT_REQUESTS: return bucket_fits(applied->limit, applied->now.settled, 1);
    default: return applied->now.held + 1 <= applied->cap;
    }
}

bool
price_is_missing(const struct policy *policy, const struct route *route, bool under_cost_limit)
{
    switch (policy->unpriced) {
    case UNPRICED_ALLOW: return false;
    case UNPRICED_REFUSE: return !route->price;
    default: return !route->price && under_cost_limit;
    }
}

/* True when every limit has room for this route. Else the verdict refuses: with the first limit in
 * the order of checks, but a spent one before one that is only held, since waiting would be in
 * vain. */
static bool
check_limits(const struct call_state *state, const struct route *route, struct verdict *verdict)
{
    const int64_t now_ms = state->core->now_ms;
    bool refused = false;
    if (price_is_missing(state->policy, route, state->limits.has_cost)) {
        refuse(verdict, REASON_UNPRICED);
        return false;
    }
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        const int64_t ask = applied->limit->counts == COUNT_COST ? least_cost(state, route) : 1;
        if (limit_fits(state, applied, ask)) {
            continue;
        }
        struct verdict other = *verdict;
        refuse_limit(&other, applied, ask, now_ms);
        const bool first = !refused;
        const bool vain = refused && verdict->refusal.reason == REASON_COST_HELD
                          && other.refusal.reason == REASON_COST_SPENT;
        if (first || vain) {
            *verdict = other;
        }
        refused = true;
    }
    return !refused;
}

/* Fits the output limit into the room of the tightest cost limit, and says what is held. */
static void
size_hold(struct call_state *state, const struct route *route)
{
    const int64_t pct = state->call->price_multiplier_pct;
    const int64_t answers = call_answers(state->call);
    const struct estimate *estimate = &state->estimate;
    const bool costs = price_bound(route->price, estimate->input, estimate->output_bound, pct) > 0;
    state->bound_output = estimate->output_bound;
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        if (applied->limit->counts != COUNT_COST || !costs) {
            continue; /* what costs nothing passes a spent limit whole */
        }
        const int64_t room = applied->cap - applied->now.settled - applied->now.held;
        const int64_t fits = price_output_within(route->price, estimate->input, room, pct);
        state->bound_output = min_i64(state->bound_output, max_i64(fits, 0));
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

/* First route in order that is open and that all limits admit. */
static bool
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
            state->route_index = i;
            size_hold(state, &state->model->routes[i]);
            return true;
        }
        /* The first route's refusal is the one to tell, unless waiting helps another. */
        const bool worth_waiting = attempt.refusal.reason == REASON_COST_HELD
                                   && verdict->refusal.reason != REASON_COST_HELD;
        if (!any_open || worth_waiting) {
            *verdict = attempt;
        }
        any_open = true;
    }
    if (!any_open) {
        refuse_no_route(state, verdict);
    }
    return false;
}

/* From here on the call is allowed: rows change. */

static bool
subject_for_hold(struct core *core, struct applied *applied)
{
    struct work *work = core->work;
    const struct subject_slot *known =
        work_subject(work, applied->subject_kind, applied->subject_account, applied->subject_name);
    if (known && known->slot.state != SLOT_ABSENT) {
        applied->subject_id = known->row.subject_id; /* made by a limit before in this same call */
        return true;
    }
    struct subject_row row = { .subject_id = ids_take(core->ids),
        .account_id = applied->subject_account,
        .kind = applied->subject_kind };
    slice_to_cstr(slice_str(applied->subject_name), row.name, sizeof row.name);
    applied->subject_id = row.subject_id;
    return work_new_subject(work, &row) != NULL;
}

static struct meter *
meter_for_hold(struct core *core, struct applied *applied)
{
    struct work *work = core->work;
    if (!applied->subject_id && !subject_for_hold(core, applied)) {
        return NULL;
    }
    applied->slot = work_meter(work, applied->subject_id);
    if (!applied->slot || applied->slot->slot.state == SLOT_ABSENT) {
        applied->slot = work_new_meter(work, applied->subject_id);
    }
    if (!applied->slot) {
        return NULL;
    }
    applied->slot->slot.dirty = true;
    struct meter_row *row = &applied->slot->row;
    row->seen_ms = max_i64(row->seen_ms, core->now_ms);
    const int64_t limit_id = applied->limit->limit_id;
    const bool bucket = applied->limit->window == WINDOW_BUCKET;
    const int64_t window_ms = bucket ? 0 : applied->window.start_ms;
    struct meter *meter =
        bucket ? meter_find_only(row, limit_id) : meter_find(row, limit_id, window_ms);
    return meter ? meter : meter_make(core, row, limit_id, window_ms);
}

static void
take_part(struct call_state *state, struct applied *applied, struct hold_row *hold)
{
    struct core *core = state->core;
    struct meter *meter = meter_for_hold(core, applied);
    if (!meter) {
        core->work->failed = true;
        return;
    }
    struct hold_part *part = &hold->parts[hold->part_count++];
    *part =
        (struct hold_part){ applied->limit->limit_id, applied->subject_id, meter->window_ms, 1, 1 };
    switch (applied->limit->counts) {
    case COUNT_COST:
        part->held = hold->held_micros;
        part->bound = hold->bound_micros;
        meter_promise(meter, part->held, part->bound);
        return;
    case COUNT_REQUESTS:
        meter->settled = money_add(applied->now.settled, applied->limit->period_ms);
        meter->window_ms = applied->slot->row.seen_ms;
        part->window_ms = 0; /* a bucket has one window, for ever */
        return;
    default: meter_promise(meter, 1, 1); return;
    }
}

static struct caller
caller_of(const struct call_state *state)
{
    return (struct caller){ state->account->account_id, state->key->key_id, state->key->account_id,
        state->root_id };
}

static int64_t
make_thread(struct call_state *state)
{
    struct core *core = state->core;
    if (state->thread) {
        return state->thread->row.thread_id;
    }
    struct thread_row row = { .thread_id = ids_take(core->ids),
        .account_id = state->account->account_id,
        .kind = state->call->thread_kind,
        .created_ms = core->now_ms,
        .last_ms = core->now_ms };
    if (!state->root_id) {
        state->root_id = row.thread_id;
        for (int32_t i = 0; i < state->limits.count; i++) { /* now the tree has a name */
            struct applied *applied = &state->limits.items[i];
            if (applied->subject_kind == SUBJECT_TREE) {
                const struct caller caller = caller_of(state);
                applied_subject(applied->limit, &caller, applied);
            }
        }
    }
    row.root_id = state->root_id;
    memcpy(row.sig_hash, state->call->thread_hash, sizeof row.sig_hash);
    work_new_thread(core->work, &row);
    return row.thread_id;
}

/* Left out where it says nothing: these rows are most of what the store writes. */
#define add_unusual(buf, name, value, usual)                                                       \
    do {                                                                                           \
        if ((value) != (usual)) {                                                                  \
            buf_add_number(buf, name, value);                                                      \
        }                                                                                          \
    } while (0)

static void
write_limit(struct buf *out, const struct applied *applied, bool first)
{
    buf_add_str(out, first ? "{\"limit\":" : ",{\"limit\":");
    buf_add_json(out, slice_str(applied->limit->name));
    add_unusual(out, "settled", applied->now.settled, 0);
    add_unusual(out, "held", applied->now.held, 0);
    buf_add_number(out, "cap", applied->cap);
    buf_add_number(out, "window", applied->window.start_ms);
    buf_add_char(out, '}');
}

/* The inputs of the decision, so that it can be explained and replayed. What is not there: stream false,
 * lowered_to -1, answers 1, price_pct 100, closed, settled and held 0,
 * trace none. */
static struct slice
write_inputs(const struct call_state *state)
{
    const struct call_event *call = state->call;
    const struct estimate *estimate = &state->estimate;
    char room[8192];
    struct buf out = buf_over(room, sizeof room);
    buf_add_str(&out, "{\"v\":1,\"api\":\"");
    buf_add_str(&out, api_word((enum api)call->api));
    buf_add_str(&out, call->stream ? "\",\"stream\":true" : "\"");
    buf_add_number(&out, "route", state->route_index);
    buf_add_str(&out, ",\"estimator\":\"");
    buf_add_str(&out, estimate->estimator);
    buf_add_char(&out, '"');
    buf_add_number(&out, "input", estimate->input);
    buf_add_number(&out, "input_bound", estimate->input_bound);
    buf_add_number(&out, "output_bound", estimate->output_bound);
    buf_add_number(&out, "slice", estimate->slice);
    buf_add_number(&out, "least", estimate->least);
    buf_add_number(&out, "body_bytes", call->body_bytes);
    buf_add_number(&out, "output_limit", call->output_limit);
    add_unusual(&out, "lowered_to", state->lowered ? state->output_limit : -1, -1);
    add_unusual(&out, "answers", call->output_count, 1);
    add_unusual(&out, "price_pct", call->price_multiplier_pct, 100);
    add_unusual(&out, "closed", state->closed, 0);
    add_trace(&out, state->trace_id);
    buf_add_str(&out, ",\"limits\":[");
    for (int32_t i = 0; i < state->limits.count; i++) {
        write_limit(&out, &state->limits.items[i], i == 0);
    }
    buf_add_str(&out, "]}");
    return work_keep(state->core->work, out.failed ? SLICE("{}") : buf_slice(&out));
}

static void
fill_hold(const struct call_state *state, int64_t thread_id, struct hold_row *hold)
{
    const struct core *core = state->core;
    const struct route *route = &state->model->routes[state->route_index];
    const struct provider *provider = &state->policy->providers[route->provider];
    *hold = (struct hold_row){ .hold_id = ids_take(core->ids),
        .node_id = core->node_id,
        .epoch = core->epoch,
        .account_id = state->account->account_id,
        .key_id = state->call->key_id,
        .thread_id = thread_id,
        .root_id = state->root_id,
        .payer = PAYER_COMPANY,
        .on_abort = on_abort_of(provider, state->call->stream),
        .held_micros = state->held_micros,
        .bound_micros = state->bound_micros,
        .est_micros = state->est_micros,
        .est_input = state->estimate.input,
        .input_bound = state->estimate.input_bound,
        .held_output = state->held_output,
        .bound_output = state->bound_output,
        .multiplier_pct = state->call->price_multiplier_pct,
        .body_bytes = state->call->body_bytes,
        .created_ms = core->now_ms,
        .policy_ver = state->policy->version,
        .price_ver = state->policy->price_version,
        .attempt_count = 1 };
    slice_to_cstr(slice_str(state->model->name), hold->model, sizeof hold->model);
    slice_to_cstr(slice_str(state->estimate.estimator), hold->estimator, sizeof hold->estimator);
    slice_to_cstr(
        slice_str(provider->name), hold->attempts[0].provider, sizeof hold->attempts[0].provider);
    slice_to_cstr(slice_str(route->model), hold->attempts[0].model, sizeof hold->attempts[0].model);
}

static void
tightest(struct limit_left *left, const struct applied *applied, int64_t cap, int64_t used,
    int64_t reset_ms)
{
    const int64_t now_left = max_i64(0, cap - used);
    const bool tighter =
        (__int128)now_left * max_i64(1, left->cap) < (__int128)left->left * max_i64(1, cap);
    if (left->set && !tighter) {
        return;
    }
    *left = (struct limit_left){ .cap = cap,
        .left = now_left,
        .reset_ms = reset_ms,
        .set = true,
        .money = applied->limit->counts == COUNT_COST };
    slice_to_cstr(slice_str(applied->limit->name), left->name, sizeof left->name);
}

static void
tell_what_is_left(
    const struct call_state *state, const struct hold_row *hold, struct verdict *verdict)
{
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        const struct limit *limit = applied->limit;
        if (limit->counts == COUNT_COST) {
            const int64_t reset_ms =
                applied->window.end_ms ? applied->window.end_ms - state->core->now_ms : 0;
            tightest(&verdict->tightest_money, applied, applied->cap / 1000,
                (applied->now.settled + applied->now.held + hold->held_micros) / 1000, reset_ms);
        } else if (limit->window == WINDOW_BUCKET) {
            const int64_t level = applied->now.settled + limit->period_ms;
            tightest(&verdict->tightest_requests, applied, limit->burst,
                (level + limit->period_ms - 1) / limit->period_ms,
                (level + limit->rate - 1) / max_i64(1, limit->rate));
        }
    }
}

static void
allow(struct call_state *state, struct verdict *verdict)
{
    const int64_t thread_id = make_thread(state);
    struct hold_row hold;
    fill_hold(state, thread_id, &hold);
    hold.inputs = write_inputs(state);
    for (int32_t i = 0; i < state->limits.count; i++) {
        take_part(state, &state->limits.items[i], &hold);
    }
    hold_check(&hold);
    work_new_hold(state->core->work, &hold);

    const struct learned *learned = learned_of(state->core->learned, state->model->name, false);
    const int64_t answers = call_answers(state->call);
    verdict->kind = VERDICT_ALLOWED;
    verdict->hold_id = hold.hold_id;
    verdict->thread_id = thread_id;
    verdict->route_index = state->route_index;
    verdict->routes_foreign = state->foreign;
    verdict->payer = hold.payer;
    verdict->output_limit = state->lowered ? state->output_limit : -1;
    verdict->output_lowered = state->lowered;
    verdict->output_allowed = hold.held_output >= hold.bound_output
                                  ? INT64_MAX
                                  : hold.held_output - state->policy->step_tokens * answers;
    verdict->est_input = hold.est_input;
    verdict->held_output = hold.held_output;
    verdict->bound_output = hold.bound_output;
    verdict->bytes_per_token_milli =
        learned ? learned->output_bytes_per_token_milli : OUTPUT_BYTES_PER_TOKEN_MILLI;
    tell_what_is_left(state, &hold, verdict);
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

void
decide_call(struct core *core, const struct event *event, struct verdict *verdict)
{
    const struct call_event *call = &event->call;
    struct call_state state = {
        .core = core,
        .call = call,
        .trace_id = event->trace_id,
        .output_limit = -1,
        .closed = call->routes_closed,
    };
    state.policy = core_policy_exact(core, call->policy_ver);
    verdict->output_limit = -1;
    if (!state.policy) {
        /* Its configuration is gone, and with it whoever waited for an answer. */
        refuse_for_now(verdict);
        return;
    }
    enum reason reason = check_identity(&state);
    if (reason == REASON_OK) {
        reason = call->found;
    }
    if (reason != REASON_OK) {
        refuse(verdict, reason);
        return;
    }
    check(call->model_index >= 0 && call->model_index < state.policy->model_count);
    state.model = &state.policy->models[call->model_index];
    reason = check_issued(&state);
    if (reason == REASON_OK && call->api == API_COUNT_TOKENS) {
        allow_uncounted(&state, verdict); /* free of charge, and never metered */
        return;
    }
    if (reason == REASON_OK) {
        reason = check_thread(&state);
    }
    if (reason != REASON_OK) {
        refuse(verdict, reason);
        return;
    }
    const struct caller caller = caller_of(&state);
    applied_collect(core, state.policy, state.model, state.account, &caller, &state.limits);
    if (!limits_have_room(&state)) {
        refuse_for_now(verdict);
        return;
    }
    estimate_call(core, state.policy, call, state.model, state.thread ? &state.thread->row : NULL,
        &state.estimate);
    if (check_routes(&state, verdict)) {
        allow(&state, verdict);
    } else if (verdict->refusal.reason == REASON_COST_HELD && state.policy->held_wait_ms > 0) {
        verdict->kind = VERDICT_WAIT;
    }
}
