/* core/take.c: a call that is allowed. From here on rows change: its thread, its hold, a part in each meter. */
#include "core/core_priv.h"

/* What the first call of a tree asks for itself holds for all of the tree, also where it rules only once another
 * cap is higher. */
static void
keep_asked_cap(const struct call_state *state, struct subject_row *row)
{
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        if (limit_may_be_asked(applied->limit, &applied->subject)) {
            (void)cap_set_ask(
                row, applied->limit->set_id, state->call->spend_limit_micros, state->core->now_ms);
        }
    }
}

/* A later call of its root may ask for less. That holds from now on, for the tree's other threads too. */
static void
lower_tree_cap(struct call_state *state)
{
    const int64_t asked = state->call->spend_limit_micros;
    const bool of_root =
        state->thread && state->thread->row.thread_id == state->thread->row.root_id;
    for (int32_t i = 0; asked > 0 && of_root && i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        struct subject_slot *slot = work_subject(state->core->work, applied->subject.kind,
            applied->subject.account_id, applied->subject.name);
        if (!limit_may_be_asked(applied->limit, &applied->subject) || !slot
            || slot->slot.state == SLOT_ABSENT) {
            continue;
        }
        if (cap_set_ask(&slot->row, applied->limit->set_id, asked, state->core->now_ms)) {
            slot->slot.dirty = true;
            state->core->work->identity_changed = true;
        }
    }
}

static bool
subject_for_hold(struct call_state *state, struct applied *applied)
{
    struct core *core = state->core;
    const struct subject_slot *known = subject_find(core, &applied->subject);
    if (known) {
        applied->subject_id = known->row.subject_id; /* made by a limit before in this same call */
        return true;
    }
    struct subject_row row = { .subject_id = ids_take(core->ids),
        .account_id = applied->subject.account_id,
        .kind = applied->subject.kind };
    memcpy(row.name, applied->subject.name, sizeof row.name);
    if (row.kind == SUBJECT_TREE && state->call->spend_limit_micros > 0) {
        keep_asked_cap(state, &row);
    }
    applied->subject_id = row.subject_id;
    return work_new_subject(core->work, &row) != NULL;
}

/* The row of its subject, which is used now; NULL: there is no memory for it. */
static struct meter_row *
meters_for_hold(struct call_state *state, struct applied *applied)
{
    struct core *core = state->core;
    struct work *work = core->work;
    if (!applied->subject_id && !subject_for_hold(state, applied)) {
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
    return row;
}

static struct meter *
meter_for_hold(struct call_state *state, struct applied *applied)
{
    struct meter_row *row = meters_for_hold(state, applied);
    return row ? meter_to_charge(state->core, applied->limit, row, row->seen_ms) : NULL;
}

static struct hold_part *
new_part(const struct applied *applied, struct hold_row *hold)
{
    const struct limit *limit = applied->limit;
    struct hold_part *part = &hold->parts[hold->part_count++];
    *part = (struct hold_part){ .limit_id = limit->limit_id,
        .subject_id = applied->subject_id,
        .cap = applied->cap,
        .counts = limit->counts,
        .window = limit->window,
        .mode = limit->hold,
        .enforced = applied->cap != CAP_UNLIMITED && limit_enforces(limit) };
    return part;
}

/* Another route may be tried later: whose meter it is, and up to how much, is known now. Its row is used, though
 * nothing is held in it, so that nobody takes it for idle meanwhile. */
static void
rest_part(struct call_state *state, struct applied *applied, struct hold_row *hold)
{
    if (!limit_may_serve(applied->limit, state->policy, state->model)) {
        return;
    }
    if (!meters_for_hold(state, applied)) {
        state->core->work->failed = true;
        return;
    }
    new_part(applied, hold)->from = PART_RESTS;
}

static void
take_part(struct call_state *state, struct applied *applied, struct hold_row *hold)
{
    struct core *core = state->core;
    const struct limit *limit = applied->limit;
    const struct route *route = &state->model->routes[state->route_index];
    if (limit->counts == COUNT_REPORTED) {
        return;
    }
    if (!limit_counts_route(limit, state->policy, route)) {
        rest_part(state, applied, hold);
        return;
    }
    struct meter *meter = meter_for_hold(state, applied);
    if (!meter) {
        core->work->failed = true;
        return;
    }
    struct hold_part *part = new_part(applied, hold);
    part->window_ms = meter->window_ms;
    part->held = part->bound =
        limit->counts == COUNT_REQUESTS ? limit_weight(limit, state->model) : 1;
    part_amounts(hold, part, &part->held, &part->bound);
    part_charge(limit, applied->slot, meter, part);
}

static int64_t
make_thread(struct call_state *state)
{
    struct core *core = state->core;
    if (state->thread) {
        struct thread_row *known = &state->thread->row;
        if (core->now_ms >= known->last_ms + THREAD_TOLD_MS) {
            known->last_ms = core->now_ms;
            state->thread->slot.dirty = true;
        }
        return known->thread_id;
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
            if (applied->subject.kind == SUBJECT_TREE) {
                const struct caller caller = caller_of(state);
                struct subject_key keys[SUBJECTS_PER_LIMIT];
                (void)limit_subjects(applied->limit, &caller, keys);
                applied->subject = keys[0];
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

/* Whose meter it is shows in the ledger row itself. */
static bool
subject_is_told(enum subject_kind kind)
{
    return kind == SUBJECT_GATEWAY || kind == SUBJECT_ACCOUNT || kind == SUBJECT_KEY
           || kind == SUBJECT_TREE || kind == SUBJECT_MODEL;
}

static void
write_limit(
    struct buf *out, const struct applied *applied, const struct hold_part *part, bool first)
{
    buf_add_str(out, first ? "{\"limit\":" : ",{\"limit\":");
    buf_add_json(out, slice_str(applied->limit->name));
    add_unusual(out, "settled", applied->now.settled, 0);
    add_unusual(out, "held", applied->now.held, 0);
    buf_add_number(out, "cap", applied->cap);
    buf_add_number(out, "window", part->window_ms);
    if (applied->limit->nth > 1) { /* the name alone means another */
        buf_add_number(out, "nth", applied->limit->nth);
    }
    if (!subject_is_told(applied->subject.kind)) {
        buf_add_number(out, "subject", part->subject_id);
    }
    if (applied->ruling.tier != TIER_OF_DEFAULT) {
        buf_add_str(out, ",\"tier\":\"");
        buf_add_str(out, cap_tier_word(applied->ruling.tier));
        buf_add_char(out, '"');
    }
    add_unusual(out, "raised", applied->ruling.raised, 0);
    add_unusual(out, "units", part->counts == COUNT_REQUESTS ? part->held : 1, 1);
    buf_add_char(out, '}');
}

/* The inputs of the decision, so that it can be explained and replayed. What is not there: stream false,
 * lowered_to -1, answers 1, price_pct 100, closed, waited_ms, output_floor, settled and held 0,
 * unbounded_by none, trace none, reported none. */
static struct slice
write_inputs(const struct call_state *state, const struct hold_row *hold)
{
    const struct call_event *call = state->call;
    const struct estimate *estimate = &state->estimate;
    char room[12288];
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
    add_unusual(&out, "waited_ms", state->waited_ms, 0);
    if (state->substituted) {
        buf_add_str(&out, ",\"substitute_for\":");
        buf_add_json(&out, slice_str(state->policy->models[call->model_index].name));
        buf_add_str(&out, ",\"substituted_by\":");
        buf_add_json(&out, slice_str(state->substituted->name));
    }
    add_bounds_asked(&out, call);
    add_labels(&out, state->policy, call);
    add_trace(&out, state->trace_id);
    buf_add_str(&out, ",\"limits\":[");
    int32_t index = 0;
    bool first = true;
    for (int32_t i = 0; i < state->limits.count && index < hold->part_count; i++) {
        const struct applied *applied = &state->limits.items[i];
        const struct hold_part *part = &hold->parts[index];
        if (part->limit_id != applied->limit->limit_id || part->subject_id != applied->subject_id) {
            continue;
        }
        if (!part_rests(part)) {
            write_limit(&out, applied, part, first);
            first = false;
        }
        index++;
    }
    buf_add_char(&out, ']');
    reported_inputs(state, &out);
    buf_add_char(&out, '}');
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

/* What a client may know of it: of sums that many share, their share alone. */
static bool
is_own(const struct limit *limit)
{
    return limit->per == PER_ACCOUNT || limit->per == PER_KEY || limit->per == PER_THREAD_TREE
           || limit->per == PER_ACCOUNT_MODEL;
}

static void
tightest(struct limit_left *left, const struct applied *applied, const struct limit_left *found)
{
    const bool tighter = (__int128)found->left * max_i64(1, left->cap)
                         < (__int128)left->left * max_i64(1, found->cap);
    if (left->set && !tighter) {
        return;
    }
    *left = *found;
    left->set = true;
    left->money = applied->limit->counts == COUNT_COST;
    if (!is_own(applied->limit)) {
        left->share = true;
        left->left = (int64_t)((__int128)found->left * 100 / max_i64(1, found->cap));
        left->cap = 100;
    }
    slice_to_cstr(slice_str(applied->limit->name), left->name, sizeof left->name);
}

/* Of a window that slides: all of it is free again once the last charge, this one, is older. */
static void
left_in_window(const struct applied *applied, int64_t used, int64_t now_ms, struct limit_left *left)
{
    const struct limit *limit = applied->limit;
    const bool spans = limit->window == WINDOW_ROLLING || limit->window == WINDOW_FIRST_USE;
    const bool ends = applied->window.end_ms != 0;
    *left = (struct limit_left){ .cap = applied->cap, .left = max_i64(0, applied->cap - used) };
    left->window_ms = spans  ? limit->span_ms
                      : ends ? applied->window.end_ms - applied->window.start_ms
                             : 0;
    left->reset_ms = ends    ? max_i64(0, applied->window.end_ms - now_ms)
                     : spans ? limit->span_ms
                             : 0;
}

static void
left_in_bucket(const struct applied *applied, int64_t units, struct limit_left *left)
{
    const struct limit *limit = applied->limit;
    const int64_t rate = max_i64(1, limit->rate);
    const int64_t level = bucket_add(limit, applied->now.settled, units);
    const int64_t used = (level + limit->period_ms - 1) / limit->period_ms;
    const __int128 whole_ms = ((__int128)applied->cap * limit->period_ms + rate - 1) / rate;
    *left = (struct limit_left){ .cap = applied->cap,
        .left = max_i64(0, applied->cap - used),
        .reset_ms = (level + rate - 1) / rate,
        .window_ms = whole_ms > WALL_MS_MAX ? 0 : (int64_t)whole_ms };
}

static void
tell_what_is_left(
    const struct call_state *state, const struct hold_row *hold, struct verdict *verdict)
{
    const struct route *route = &state->model->routes[state->route_index];
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        const struct limit *limit = applied->limit;
        const int64_t used = money_add(applied->now.settled, applied->now.held);
        struct limit_left left;
        if (applied->cap == CAP_UNLIMITED || !limit_enforces(limit)
            || !limit_counts_route(limit, state->policy, route)) {
            continue;
        }
        if (limit->counts == COUNT_COST && limit->window != WINDOW_BUCKET) {
            left_in_window(applied, money_add(used, hold->held_micros), state->core->now_ms, &left);
            left.cap /= 1000;
            left.left /= 1000;
            tightest(&verdict->tightest_money, applied, &left);
        } else if (limit->counts == COUNT_REQUESTS) {
            const int64_t units = limit_weight(limit, state->model);
            if (limit->window == WINDOW_BUCKET) {
                left_in_bucket(applied, units, &left);
            } else {
                left_in_window(applied, money_add(used, units), state->core->now_ms, &left);
            }
            tightest(&verdict->tightest_requests, applied, &left);
        }
    }
}

void
allow_call(struct call_state *state, struct verdict *verdict)
{
    lower_tree_cap(state);
    const int64_t thread_id = make_thread(state);
    struct hold_row hold;
    fill_hold(state, thread_id, &hold);
    for (int32_t i = 0; i < state->limits.count; i++) {
        take_part(state, &state->limits.items[i], &hold);
    }
    hold.inputs = write_inputs(state, &hold);
    hold_check(&hold);
    work_new_hold(state->core->work, &hold);

    const struct learned *learned = learned_of(state->core->learned, state->model->name, false);
    const int64_t answers = call_answers(state->call);
    verdict->kind = VERDICT_ALLOWED;
    verdict->hold_id = hold.hold_id;
    verdict->thread_id = thread_id;
    verdict->parent_ignored = state->parent_ignored;
    verdict->model_index = state->model_index;
    verdict->route_index = state->route_index;
    verdict->routes_foreign = state->foreign;
    verdict->payer = hold.payer;
    verdict->output_limit = state->lowered ? state->output_limit : -1;
    verdict->output_lowered = state->lowered;
    verdict->lowered_by = state->lowered_by ? state->lowered_by->limit_id : 0;
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
