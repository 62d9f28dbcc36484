/* core/explain.c: what a decision found on its way, as JSON: checks in their order, routes, the limits in force with
 * their state and the cap that ruled, and what would be held. */
#include "core/explain.h"

#include "base/civil.h"
#include "core/core_priv.h"
#include "core/reported.h"
#include "tbl/checks.h"

/* --- JSON. A member goes behind another one, or begins an object. */

static void
key_of(struct buf *out, const char *name)
{
    const char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[' && last != ',' && last != ':') {
        buf_add_char(out, ',');
    }
    if (name) {
        buf_add_json(out, slice_str(name));
        buf_add_char(out, ':');
    }
}

static void
add_text(struct buf *out, const char *name, const char *text)
{
    key_of(out, name);
    if (text && text[0]) {
        buf_add_json(out, slice_str(text));
    } else {
        buf_add_str(out, "null");
    }
}

static void
add_i64(struct buf *out, const char *name, int64_t value)
{
    key_of(out, name);
    buf_add_i64(out, value);
}

static void
add_bool(struct buf *out, const char *name, bool value)
{
    key_of(out, name);
    buf_add_str(out, value ? "true" : "false");
}

/* 0 is null. */
static void
add_time(struct buf *out, const char *name, int64_t at_ms)
{
    char text[32] = "";
    if (at_ms > 0) {
        civil_rfc3339(at_ms, true, text);
    }
    add_text(out, name, text);
}

static void
open_member(struct buf *out, const char *name, char bracket)
{
    key_of(out, name);
    buf_add_char(out, bracket);
}

/* --- The order of checks. */

#define CHECK_NONE CHECK_KIND_COUNT

static enum check_kind
check_of_limit(const struct limit *limit)
{
    if (limit->counts == COUNT_REPORTED) {
        return CHECK_REPORTED;
    }
    if (limit->counts == COUNT_COST && limit->per == PER_THREAD_TREE) {
        return CHECK_TREE;
    }
    return limit->counts == COUNT_COST && limit->per == PER_ACCOUNT ? CHECK_PERIOD : CHECK_OTHER;
}

/* Which of them stopped the call. */
static enum check_kind
check_that_refused(const struct call_state *state, const struct verdict *verdict)
{
    const struct refusal *refusal = &verdict->refusal;
    const struct limit *limit =
        refusal->limit_id ? policy_limit_by_id(state->policy, refusal->limit_id) : NULL;
    if (verdict->kind == VERDICT_ALLOWED) {
        return CHECK_NONE;
    }
    if (limit) {
        return check_of_limit(limit);
    }
    if (!state->key || !state->account) {
        return CHECK_KEY;
    }
    switch (refusal->reason) {
    case REASON_KEY_REVOKED:
    case REASON_KEY_EXPIRED:
    case REASON_KEY_ROLE: return CHECK_KEY;
    case REASON_ACCOUNT_BANNED: return CHECK_ACCOUNT;
    case REASON_THREAD_REQUIRED:
    case REASON_THREAD_PARENT:
    case REASON_THREAD_CYCLE:
    case REASON_THREAD_MOVED: return CHECK_TREE;
    case REASON_UNPRICED:
    case REASON_CANNOT_BOUND:
    case REASON_ROUTES_COOLING:
    case REASON_ROUTES_FAILING:
    case REASON_ROUTES_EXHAUSTED:
    case REASON_ID_ROUTE_COOLING: return CHECK_ROUTES;
    case REASON_OVERLOADED: return CHECK_HOLD;
    default: return CHECK_MODEL;
    }
}

static void
add_checks(struct buf *out, const struct call_state *state, const struct verdict *verdict)
{
    static const struct {
        const char *words;
        int position;
    } checks[] = {
#define CHECK_ROW(name, words, call, count_tokens) { words, call },
        CHECKS(CHECK_ROW)
#undef CHECK_ROW
    };
    const enum check_kind stopped = check_that_refused(state, verdict);
    open_member(out, "checks", '[');
    for (int i = 0; i < CHECK_KIND_COUNT; i++) {
        if (checks[i].position == 0) {
            continue;
        }
        const bool before = stopped == CHECK_NONE || checks[i].position < checks[stopped].position;
        open_member(out, NULL, '{');
        add_i64(out, "position", checks[i].position);
        add_text(out, "check", checks[i].words);
        add_text(out, "result", i == (int)stopped ? "refused" : before ? "passed" : "not_reached");
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

/* --- Limits. */

static const char *const subject_words[] = { [SUBJECT_GATEWAY] = "gateway",
    [SUBJECT_ACCOUNT] = "account",
    [SUBJECT_KEY] = "key",
    [SUBJECT_TREE] = "thread_tree",
    [SUBJECT_MODEL] = "model",
    [SUBJECT_PLAN] = "plan",
    [SUBJECT_GROUP] = "group",
    [SUBJECT_ORGANISATION] = "organisation",
    [SUBJECT_TIER] = "tier",
    [SUBJECT_TAG] = "tag",
    [SUBJECT_ACCOUNT_MODEL] = "account_model",
    [SUBJECT_ACCOUNT_ORGANISATION] = "account_organisation" };
_Static_assert(countof(subject_words) == SUBJECT_KIND_COUNT, "a word each");

static const char *
unit_of(const struct limit *limit)
{
    return limit->counts == COUNT_COST       ? "micro_usd"
           : limit->counts == COUNT_REPORTED ? "percent"
                                             : count_word(limit->counts);
}

/* What is used, in the units of the cap: a bucket's level is finer. */
static int64_t
used_units(const struct applied *applied)
{
    const struct limit *limit = applied->limit;
    return limit->window == WINDOW_BUCKET
               ? (applied->now.settled + limit->period_ms - 1) / max_i64(1, limit->period_ms)
               : applied->now.settled;
}

static void
add_amounts(struct buf *out, const struct applied *applied, bool all)
{
    const int64_t settled = used_units(applied);
    const int64_t used = money_add(settled, applied->now.held);
    const bool capped = applied->cap != CAP_UNLIMITED;
    if (all) {
        add_i64(out, "settled", settled);
        add_i64(out, "held", applied->now.held);
        if (capped) {
            add_i64(out, "cap", applied->cap);
            add_i64(out, "left", max_i64(0, applied->cap - used));
        } else {
            add_text(out, "cap", NULL);
            add_text(out, "left", NULL);
        }
        add_i64(out, "raised", applied->ruling.raised);
    }
    if (capped) {
        const __int128 percent = (__int128)used * 100 / max_i64(1, applied->cap);
        add_i64(out, "percent", percent > 1000000 ? 1000000 : (int64_t)percent);
    }
}

static const struct route *
route_of(const struct call_state *state)
{
    return &state->model->routes[state->route_index];
}

/* What this limit would hold for the call, in its own units. */
static int64_t
part_of(const struct call_state *state, const struct applied *applied, bool bound)
{
    switch (applied->limit->counts) {
    case COUNT_COST: return bound ? state->bound_micros : state->held_micros;
    case COUNT_TOKENS:
        return bound ? state->estimate.input_bound + state->bound_output
                     : state->estimate.input + state->held_output;
    case COUNT_REQUESTS: return limit_weight(applied->limit, state->model);
    default: return 1;
    }
}

/* What was reported of its window, and how far that is believed. */
static void
add_reported(struct buf *out, const struct call_state *state, const struct applied *applied)
{
    const struct reported_ask ask = { .policy = state->policy,
        .limit = applied->limit,
        .row = reported_of(state->core, applied->limit, state->account->account_id),
        .model = state->model,
        .credential = state->policy->providers[route_of(state)->provider].name,
        .cap_pct = applied->cap,
        .now_ms = state->core->now_ms };
    const struct reported_answer answer = reported_judge(&ask);
    add_text(out, "reported", reported_state_word(answer.state));
    add_text(out, "reported_window", answer.window ? answer.window->window : NULL);
    add_time(out, "reported_at", answer.window ? answer.window->captured_ms : 0);
    add_i64(out, "percent", answer.used_milli_pct / MILLI_PCT);
    if (applied->cap != CAP_UNLIMITED) {
        add_i64(out, "cap", applied->cap);
    }
    add_time(out, "resets_at", answer.resets_at_ms);
    add_bool(out, "fits", answer.reason == REASON_OK);
    if (answer.reason != REASON_OK) {
        add_text(out, "reason", reason_row(answer.reason)->code);
        add_i64(out, "retry_after_ms", answer.retry_after_ms);
    }
}

static void
add_fit(struct buf *out, const struct call_state *state, const struct applied *applied,
    const struct verdict *verdict)
{
    struct refusal refusal = { 0 };
    const bool decided = verdict->kind == VERDICT_ALLOWED;
    const bool counts = limit_counts_route(applied->limit, state->policy, route_of(state));
    add_bool(out, "counts_this_route", counts);
    if (applied->limit->counts == COUNT_REPORTED) {
        add_reported(out, state, applied);
        return;
    }
    add_i64(out, "ask", ask_of(state, applied, route_of(state)));
    add_bool(out, "fits", check_limit(state, applied, route_of(state), &refusal));
    if (refusal.reason != REASON_OK) {
        add_text(out, "reason", reason_row(refusal.reason)->code);
        add_i64(out, "retry_after_ms", refusal.retry_after_ms);
    }
    if (decided && counts) {
        add_i64(out, "would_hold", part_of(state, applied, false));
        add_i64(out, "would_bound", part_of(state, applied, true));
    }
}

static bool
is_new_tree(const struct call_state *state, const struct applied *applied)
{
    return applied->subject.kind == SUBJECT_TREE && !state->thread && !state->call->parent_hash[0];
}

static void
add_limit(struct buf *out, const struct call_state *state, const struct applied *applied,
    const struct verdict *verdict, bool all)
{
    static const char *const modes[] = { "stream", "strict", "none" };
    const struct limit *limit = applied->limit;
    const bool own = applied->subject.account_id != 0;
    const char *group = applied->ruling.tier == TIER_OF_GROUP
                            ? state->policy->groups[applied->ruling.group].name
                            : NULL;
    open_member(out, NULL, '{');
    add_text(out, "limit", limit->name);
    add_text(out, "counts", count_word(limit->counts));
    add_text(out, "per", per_word(limit->per));
    add_text(out, "window", window_word(limit->window));
    add_text(out, "at_cap", at_cap_word(limit->at_cap));
    add_text(out, "mode", counts_in_steps(limit->counts) ? modes[limit->hold] : NULL);
    add_text(out, "unit", unit_of(limit));
    add_text(out, "subject_kind", subject_words[applied->subject.kind]);
    /* A new tree has the name of its first thread, which is not there yet. */
    add_text(out, "subject", is_new_tree(state, applied) ? NULL : applied->subject.name);
    add_bool(out, "enforced", applied->cap != CAP_UNLIMITED && limit_enforces(limit));
    add_text(out, "cap_from", cap_tier_word(applied->ruling.tier));
    add_text(out, "cap_group", group);
    if (limit->counts != COUNT_REPORTED) {
        add_amounts(out, applied, all || own);
        add_time(out, "window_began_at", applied->window.start_ms);
        add_time(out, "resets_at", applied->window.end_ms);
    }
    add_fit(out, state, applied, verdict);
    buf_add_char(out, '}');
}

/* --- Routes, the estimate, the hold. */

static void
add_routes(struct buf *out, const struct call_state *state, const struct verdict *verdict)
{
    open_member(out, "routes", '[');
    for (int32_t i = 0; i < state->model->route_count; i++) {
        const struct route *route = &state->model->routes[i];
        const bool taken = verdict->kind == VERDICT_ALLOWED && i == state->route_index;
        open_member(out, NULL, '{');
        add_text(out, "provider", state->policy->providers[route->provider].name);
        add_text(out, "model", route->model);
        add_bool(out, "open", !(state->closed & UINT32_C(1) << i));
        add_bool(out, "priced", route->price != NULL);
        add_bool(out, "taken", taken);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void
add_estimate(struct buf *out, const struct estimate *estimate)
{
    open_member(out, "estimate", '{');
    add_text(out, "estimator", estimate->estimator);
    add_i64(out, "input", estimate->input);
    add_i64(out, "input_bound", estimate->input_bound);
    add_i64(out, "output_bound", estimate->output_bound);
    add_i64(out, "first_slice", estimate->slice);
    add_i64(out, "least_output", estimate->least);
    add_bool(out, "held_whole", estimate->whole);
    buf_add_char(out, '}');
}

static void
add_hold(struct buf *out, const struct call_state *state)
{
    open_member(out, "hold", '{');
    add_i64(out, "held_micros", state->held_micros);
    add_i64(out, "bound_micros", state->bound_micros);
    add_i64(out, "estimated_micros", state->est_micros);
    add_i64(out, "held_output", state->held_output);
    add_i64(out, "bound_output", state->bound_output);
    key_of(out, "output_limit_lowered_to");
    if (state->lowered) {
        buf_add_i64(out, state->output_limit);
    } else {
        buf_add_str(out, "null");
    }
    add_text(out, "output_limit_lowered_by", state->lowered_by ? state->lowered_by->name : NULL);
    buf_add_char(out, '}');
}

/* --- The verdict. */

static void
add_verdict(struct buf *out, const struct call_state *state, const struct verdict *verdict)
{
    static const char *const words[] = { "allowed", "refused", "wait" };
    const bool allowed = verdict->kind == VERDICT_ALLOWED;
    const struct refusal *refusal = &verdict->refusal;
    add_text(out, "verdict", words[verdict->kind]);
    if (!allowed) {
        add_text(out, "reason", reason_row(refusal->reason)->code);
        add_text(out, "sentence", reason_row(refusal->reason)->sentence);
        add_text(out, "refused_by", refusal->limit_name);
        add_text(out, "because_of", refusal->about);
        add_i64(out, "retry_after_ms", refusal->retry_after_ms);
        add_i64(out, "waits_up_to_ms", verdict->wait_ms);
    }
    add_text(out, "payer", !allowed ? NULL : verdict->payer == PAYER_USER ? "user" : "company");
    add_text(out, "model", state->model ? state->model->name : NULL);
    add_text(out, "instead_because_of", state->substituted ? state->substituted->name : NULL);
    add_text(out, "shadow_refused_by",
        allowed && verdict->shadow.reason != REASON_OK ? verdict->shadow.limit_name : NULL);
}

bool
core_explain(struct core *core, const struct event *event, bool all, struct buf *out)
{
    struct explained found = { 0 };
    const struct call_state *state = &found.state;
    struct verdict verdict;
    check(event->kind == EVENT_CALL);
    core->found = &found;
    const bool usable = core_decide(core, event, &verdict);
    core->found = NULL;
    if (!usable) {
        return false;
    }
    add_verdict(out, state, &verdict);
    add_checks(out, state, &verdict);
    const bool evaluated = state->estimate.estimator != NULL;
    if (evaluated) {
        add_estimate(out, &state->estimate);
        add_routes(out, state, &verdict);
    }
    if (evaluated && verdict.kind == VERDICT_ALLOWED) {
        add_hold(out, state);
    }
    open_member(out, "limits", '[');
    for (int32_t i = 0; evaluated && i < state->limits.count; i++) {
        add_limit(out, state, &state->limits.items[i], &verdict, all);
    }
    buf_add_char(out, ']');
    return !out->failed;
}
