/* engine/replay.c: recorded calls through the core, by the clock of then. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/replay_priv.h"

#define LOOK_EVENTS 1000 /* between two words about progress */

/* --- To begin and to end. */

enum status
replay_open(struct policy *policy, struct replay **out, struct replay_error *error)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    struct store_error store_error = { .text = "" };
    struct engine_error engine_error = { .text = "" };
    const struct store_options options = { .full_sync = false };
    *out = NULL;
    if (!replay) {
        policy_unref(policy);
        (void)snprintf(error->text, sizeof(error->text), "no memory for a replay");
        return STATUS_FULL;
    }
    enum status status = store_open("memory:", &options, &replay->store, &store_error);
    if (status == STATUS_OK) {
        const struct engine_options of = { .store = replay->store, .policy = policy_ref(policy) };
        status = engine_open_still(&of, &replay->engine, &engine_error);
    }
    replay->policy = policy;
    if (status != STATUS_OK) {
        (void)snprintf(
            error->text, sizeof(error->text), "%.200s%.200s", store_error.text, engine_error.text);
        replay_free(replay);
        return status;
    }
    replay->engine->ids = (struct ids){ EPOCH_MAX, 1 }; /* none that the books may have */
    for (int32_t i = 0; i < policy->limit_count; i++) {
        replay->by_reports |= policy->limits[i].counts == COUNT_REPORTED;
    }
    *out = replay;
    return STATUS_OK;
}

void
replay_free(struct replay *replay)
{
    if (!replay) {
        return;
    }
    if (replay->engine) {
        engine_drop(replay->engine);
    }
    store_close(replay->store);
    map_free(&replay->calls_by_id);
    map_free(&replay->accounts);
    map_free(&replay->threads);
    map_free(&replay->limits);
    groups_free(&replay->refused_groups);
    groups_free(&replay->ended_groups);
    arena_free(&replay->arena);
    buf_free(&replay->packed);
    free(replay->calls);
    free(replay->moments);
    free(replay->refusals);
    free(replay->at_caps);
    policy_unref(replay->policy);
    free(replay);
}

/* --- One event through the core, at its own time. */

enum status
replay_decide(
    struct replay *replay, const struct event *event, int64_t at_ms, struct verdict *verdict)
{
    struct engine *engine = replay->engine;
    enum status status = batch_begin(engine);
    engine->core.now_ms = at_ms;
    if (status == STATUS_OK) {
        status = batch_load_event(engine, event);
    }
    if (status == STATUS_OK && !core_decide(&engine->core, event, verdict)) {
        status = STATUS_FULL;
    }
    engine->work.ledger_first = NULL; /* its books are nobody's */
    engine->work.ledger_last = &engine->work.ledger_first;
    if (status == STATUS_OK) {
        status = batch_end(engine);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
    }
    return status;
}

static void
fill_call(const struct replay *replay, const struct past_call *past, struct call_event *call)
{
    const struct policy *policy = replay->policy;
    call->account_id = past->account_id;
    call->key_id = past->key_id;
    call->model_index = past->model;
    call->api = past->api;
    call->policy_ver = policy->version;
    call->thread_kind = THREAD_NAMED;
    call->thread_named = true;
    /* A thread that was refused its first call has no number: no two of them are one. */
    replay_thread_mark(past->thread_id ? past->thread_id : past->request, call->thread_hash);
    call->body_bytes = past->body_bytes;
    call->input_bytes_bound = past->input_bytes;
    call->input_unbounded = past->input_unbounded;
    call->cannot_bound = past->cannot_bound;
    call->spend_limit_micros = past->spend_limit_micros;
    call->output_limit = past->output_limit;
    call->output_floor = past->output_floor;
    call->output_count = past->answers;
    call->price_multiplier_pct = past->price_pct;
    call->routes_closed =
        policy_routes_unfit(policy, &policy->models[past->model], (enum api)past->api);
    call->stream = past->stream;
    if (past->labels) {
        memcpy(call->organisation, past->labels->organisation, sizeof(call->organisation));
        memcpy(call->tags, past->labels->tags, sizeof(call->tags));
    }
}

/* --- What comes of a call. */

static void
note_refused(struct replay *replay, const struct past_call *past, const struct refusal *refusal)
{
    struct replay_report *report = &replay->report;
    if (!past->counts) {
        return;
    }
    if (past->refused) {
        return; /* as then */
    }
    report->refused++;
    report->cost_refused_micros = money_add(report->cost_refused_micros, past->cost_micros);
    const struct replay_group *group = groups_count(replay, &replay->refused_groups, past,
        refusal->limit_name, refusal->reason, past->cost_micros);
    if (!group) {
        replay->status = STATUS_FULL;
        return;
    }
    if (replay->refusal_count < REPLAY_REFUSALS_MAX) {
        replay->refusals[replay->refusal_count++] = (struct replay_refusal){ past->started_ms,
            past->account_id, past->request, past->cost_micros, past->model, group };
    }
}

static void
note_allowed(struct replay *replay, struct past_call *past, const struct verdict *verdict)
{
    struct replay_report *report = &replay->report;
    if (!past->counts) {
        return;
    }
    if (past->refused) {
        report->asks_allowed++;
        return;
    }
    report->allowed++;
    report->lowered += verdict->output_lowered;
    report->rerouted += verdict->model_index != past->model;
}

static void
note_ended_early(struct replay *replay, const struct past_call *past, int64_t unspent_micros)
{
    struct replay_report *report = &replay->report;
    const char *limit = past->bound_by >= 0 ? replay->policy->limits[past->bound_by].name : "";
    report->ended_early++;
    report->cost_unspent_micros = money_add(report->cost_unspent_micros, unspent_micros);
    if (!groups_count(replay, &replay->ended_groups, past, limit, REASON_OK, unspent_micros)) {
        replay->status = STATUS_FULL;
    }
}

/* --- Begin, wait, end. */

/* One that was refused then uses what it is estimated at. */
static void
estimate_usage(struct past_call *past, const struct verdict *verdict)
{
    if (past->refused) {
        past->usage = USAGE_NONE;
        past->usage.input = min_i64(TOKENS_MAX, verdict->est_input);
        past->usage.output = min_i64(TOKENS_MAX, verdict->held_output);
        past->usage.known = USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED;
    }
}

static bool
try_call(struct replay *replay, size_t index, int64_t at_ms, struct verdict *verdict)
{
    struct past_call *past = &replay->calls[index];
    struct event event = { .kind = EVENT_CALL, .reply.loop = ENGINE_NO_REPLY };
    fill_call(replay, past, &event.call);
    if (reports_tell(replay, past, at_ms)) {
        replay->status = replay_decide(replay, &event, at_ms, verdict);
    }
    reports_forget(replay);
    if (replay->status != STATUS_OK || verdict->kind != VERDICT_ALLOWED) {
        return false;
    }
    note_allowed(replay, past, verdict);
    estimate_usage(past, verdict);
    if (!play_begin(replay, index, verdict, at_ms) && replay->status == STATUS_OK) {
        replay->status = STATUS_FULL;
    }
    return true;
}

/* Refused for what its caller or the request was, or for what went on at the time: no configuration changes that,
 * and what is recorded of the call does not show it. */
static bool
is_refused_anyway(const struct past_call *past)
{
    switch (past->reason) {
    case REASON_OK:
    case REASON_MODEL_UNKNOWN:
    case REASON_API_NOT_SERVED:
    case REASON_CANNOT_BOUND:
    case REASON_UNPRICED:
    case REASON_COST_SPENT:
    case REASON_COST_HELD:
    case REASON_TOKENS_SPENT:
    case REASON_TOKENS_HELD:
    case REASON_SESSION_THRESHOLD:
    case REASON_WEEK_THRESHOLD:
    case REASON_USAGE_UNKNOWN:
    case REASON_RATE:
    case REASON_IN_FLIGHT: return false;
    default: return past->refused;
    }
}

/* Nothing can be asked of what is not in this configuration, or of which too little was recorded. */
static bool
cannot_be_asked(struct replay *replay, const struct past_call *past)
{
    struct refusal refusal = { .reason = REASON_MODEL_UNKNOWN };
    const bool too_little = !past->recorded || past->api < 0 || past->api == API_COUNT_TOKENS;
    if (too_little) {
        replay->report.asks_unknown += past->counts;
        return true;
    }
    if (past->model >= 0) {
        const struct model *model = &replay->policy->models[past->model];
        if (policy_model_serves(replay->policy, model, (enum api)past->api)) {
            return false;
        }
        refusal.reason = REASON_API_NOT_SERVED;
    }
    note_refused(replay, past, &refusal);
    return true;
}

static void
begin_call(struct replay *replay, size_t index)
{
    struct past_call *past = &replay->calls[index];
    struct replay_report *report = &replay->report;
    struct verdict verdict;
    if (past->counts && past->recorded) {
        report->calls += !past->refused;
        report->asks_refused += past->refused;
        report->cost_before_micros =
            money_add(report->cost_before_micros, past->refused ? 0 : past->cost_micros);
    }
    if (is_refused_anyway(past) || cannot_be_asked(replay, past)) {
        return;
    }
    report->reports_unknown += past->counts && reports_are_missing(replay, past);
    if (try_call(replay, index, past->started_ms, &verdict) || replay->status != STATUS_OK) {
        return;
    }
    if (verdict.kind == VERDICT_WAIT && replay->wait_count < WAITS_MAX) {
        replay->waits[replay->wait_count++] =
            (struct waiting){ index, past->started_ms + verdict.wait_ms, verdict.refusal };
        report->waited += past->counts && !past->refused;
        return;
    }
    note_refused(replay, past, &verdict.refusal);
}

/* Room may have come: those that wait try in the order they came; whose time is over is refused. */
static void
serve_waits(struct replay *replay, int64_t at_ms, bool room)
{
    size_t kept = 0;
    for (size_t i = 0; i < replay->wait_count && replay->status == STATUS_OK; i++) {
        const struct waiting waiting = replay->waits[i];
        struct verdict verdict;
        if (at_ms > waiting.deadline_ms) {
            note_refused(replay, &replay->calls[waiting.call], &waiting.refusal);
        } else if (!room || !try_call(replay, waiting.call, at_ms, &verdict)) {
            replay->waits[kept++] = waiting;
        }
    }
    replay->wait_count = kept;
}

static void
end_call(struct replay *replay, const struct moment *moment)
{
    struct past_call *past = &replay->calls[moment->call];
    struct replay_report *report = &replay->report;
    struct verdict verdict;
    bool early = false;
    int64_t unspent_micros = 0;
    struct event event = { .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event.settle.hold_id = past->hold_id;
    event.settle.dispatched = past->dispatched || past->refused;
    event.settle.unbilled = !past->billed && !past->refused;
    event.settle.usage = play_end(replay, past, &early, &unspent_micros);
    event.settle.multiplier_pct = past->price_pct;
    event.settle.input_tokens_seen =
        past->billed && past->usage.known & USAGE_INPUT ? usage_input_total(&past->usage) : -1;
    replay->status = replay_decide(replay, &event, moment->at_ms, &verdict);
    past->hold_id = 0;
    if (replay->status == STATUS_OK && past->counts && past->refused) {
        report->cost_asks_micros = money_add(report->cost_asks_micros, verdict.cost_micros);
    } else if (replay->status == STATUS_OK && past->counts) {
        report->cost_after_micros = money_add(report->cost_after_micros, verdict.cost_micros);
        /* What an orphan used nobody knows: it is booked at its bound, and has no answer to be cut. */
        if (early && past->billed && !past->orphaned) {
            note_ended_early(replay, past, unspent_micros);
        }
    }
    if (replay->status == STATUS_OK) {
        serve_waits(replay, moment->at_ms, true);
    }
}

/* All that is due before. */
static void
play_until(struct replay *replay, int64_t at_ms)
{
    while (replay->status == STATUS_OK && replay->moment_count > 0
           && replay->moments[0].at_ms <= at_ms) {
        const struct moment moment = moments_pop(replay);
        if (!play_goes_on(&replay->calls[moment.call])) {
            end_call(replay, &moment);
        } else if (!play_on(replay, &moment) && replay->status == STATUS_OK) {
            replay->status = STATUS_FULL;
        }
    }
    if (replay->status == STATUS_OK) {
        serve_waits(replay, at_ms, false);
    }
}

/* --- All of them. */

static int
by_time(const void *left, const void *right)
{
    const struct past_call *a = left;
    const struct past_call *b = right;
    if (a->started_ms != b->started_ms) {
        return a->started_ms < b->started_ms ? -1 : 1;
    }
    return a->request < b->request ? -1 : a->request > b->request;
}

/* Before the report begins limits count, and refuse nobody: so it was, as far as this configuration goes. */
static bool
hold_back(struct replay *replay)
{
    struct policy *policy = replay->policy;
    replay->at_caps = calloc((size_t)policy->limit_count + 1, sizeof(*replay->at_caps));
    for (int32_t i = 0; replay->at_caps && i < policy->limit_count; i++) {
        replay->at_caps[i] = policy->limits[i].at_cap;
        policy->limits[i].at_cap = AT_CAP_SHADOW;
    }
    return replay->at_caps != NULL;
}

static void
let_loose(struct replay *replay)
{
    for (int32_t i = 0; i < replay->policy->limit_count; i++) {
        replay->policy->limits[i].at_cap = replay->at_caps[i];
    }
    replay->loose = true;
}

static void
finish(struct replay *replay, struct replay_report *report)
{
    *report = replay->report;
    report->group_count = replay->refused_groups.count;
    report->groups = replay->refused_groups.sorted;
    report->ended_group_count = replay->ended_groups.count;
    report->ended_groups = replay->ended_groups.sorted;
    report->refusal_count = replay->refusal_count;
    report->refusals = replay->refusals;
}

static enum status
fail(struct replay *replay, enum status status, struct replay_error *error)
{
    (void)snprintf(error->text, sizeof(error->text), "%s",
        status == STATUS_FULL ? "no memory for so many calls: a later --since leaves some out"
                              : store_last_error(replay->store));
    return status;
}

enum status
replay_run(struct replay *replay, int64_t since_ms, int64_t until_ms,
    bool (*progress)(void *user, int64_t done, int64_t total), void *user,
    struct replay_report *report, struct replay_error *error)
{
    replay->report.since_ms = since_ms;
    replay->report.until_ms = until_ms;
    replay->refusals = calloc(REPLAY_REFUSALS_MAX, sizeof(*replay->refusals));
    if (!replay->refusals || !hold_back(replay)) {
        return fail(replay, STATUS_FULL, error);
    }
    if (replay->call_count > 1) {
        qsort(replay->calls, replay->call_count, sizeof(*replay->calls), by_time);
    }
    for (size_t i = 0; replay->status == STATUS_OK && i < replay->call_count; i++) {
        struct past_call *past = &replay->calls[i];
        if (!replay->loose && past->started_ms >= since_ms) {
            let_loose(replay);
        }
        past->counts = past->started_ms >= since_ms && past->started_ms < until_ms;
        play_until(replay, past->started_ms);
        if (replay->status == STATUS_OK && (replay->loose || !past->refused)) {
            begin_call(replay, i);
        }
        if (i % LOOK_EVENTS == 0 && progress
            && !progress(user, (int64_t)i, (int64_t)replay->call_count)) {
            return STATUS_CLOSED;
        }
    }
    play_until(replay, INT64_MAX - DAY_MS);
    const bool sorted = groups_sort(&replay->refused_groups) && groups_sort(&replay->ended_groups);
    if (replay->status != STATUS_OK || !sorted) {
        return fail(replay, replay->status != STATUS_OK ? replay->status : STATUS_FULL, error);
    }
    finish(replay, report);
    return STATUS_OK;
}
