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
    map_free(&replay->groups_by_hash);
    arena_free(&replay->arena);
    free(replay->calls);
    free(replay->endings);
    free(replay->groups);
    free(replay->sorted);
    free(replay->refusals);
    free(replay->at_caps);
    policy_unref(replay->policy);
    free(replay);
}

/* --- One event through the core, at its own time. */

static enum status
decide_at(struct replay *replay, const struct event *event, int64_t at_ms, struct verdict *verdict)
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
    replay_thread_mark(past->thread_id, call->thread_hash);
    call->body_bytes = past->body_bytes;
    call->input_bytes_bound = past->input_bytes;
    call->output_limit = past->output_limit;
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

/* --- Groups of refusals. */

static struct replay_group *
group_of(struct replay *replay, const struct past_call *past, const struct refusal *refusal)
{
    const uint64_t hash =
        hash_pair(hash_pair((uint64_t)past->account_id, (uint64_t)refusal->reason),
            hash_bytes(slice_str(refusal->limit_name)));
    struct replay_group *group = map_get(&replay->groups_by_hash, hash);
    if (group) {
        return group;
    }
    if (replay->group_count == replay->group_cap) {
        const int32_t cap = replay->group_cap ? replay->group_cap * 2 : 64;
        struct replay_group **grown = realloc(replay->groups, (size_t)cap * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        replay->groups = grown;
        replay->group_cap = cap;
    }
    group = arena_alloc(&replay->arena, sizeof(*group));
    if (!group || !map_put(&replay->groups_by_hash, hash, group)) {
        return NULL;
    }
    const char *name = map_get(&replay->accounts, (uint64_t)past->account_id);
    *group = (struct replay_group){ .account_id = past->account_id,
        .account = name ? name : "",
        .reason = refusal->reason,
        .first_ms = past->started_ms,
        .first_request = past->request };
    (void)slice_to_cstr(slice_str(refusal->limit_name), group->limit, sizeof(group->limit));
    replay->groups[replay->group_count++] = group;
    return group;
}

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
    struct replay_group *group = group_of(replay, past, refusal);
    if (!group) {
        replay->status = STATUS_FULL;
        return;
    }
    group->count++;
    group->cost_micros = money_add(group->cost_micros, past->cost_micros);
    group->last_ms = past->started_ms;
    group->last_request = past->request;
    if (replay->refusal_count < REPLAY_REFUSALS_MAX) {
        replay->refusals[replay->refusal_count++] = (struct replay_refusal){ past->started_ms,
            past->account_id, past->request, past->cost_micros, past->model, group };
    }
}

/* --- Open calls, by when they end. */

static bool
push_ending(struct replay *replay, int64_t at_ms, size_t call)
{
    if (replay->ending_count == replay->ending_cap) {
        const size_t cap = replay->ending_cap ? replay->ending_cap * 2 : 256;
        struct ending *grown = realloc(replay->endings, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        replay->endings = grown;
        replay->ending_cap = cap;
    }
    size_t at = replay->ending_count++;
    while (at > 0 && replay->endings[(at - 1) / 2].at_ms > at_ms) {
        replay->endings[at] = replay->endings[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    replay->endings[at] = (struct ending){ at_ms, call };
    return true;
}

static struct ending
pop_ending(struct replay *replay)
{
    const struct ending first = replay->endings[0];
    const struct ending last = replay->endings[--replay->ending_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= replay->ending_count) {
            break;
        }
        if (child + 1 < replay->ending_count
            && replay->endings[child + 1].at_ms < replay->endings[child].at_ms) {
            child++;
        }
        if (replay->endings[child].at_ms >= last.at_ms) {
            break;
        }
        replay->endings[at] = replay->endings[child];
        at = child;
    }
    if (replay->ending_count > 0) {
        replay->endings[at] = last;
    }
    return first;
}

/* --- Begin, wait, end. */

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

/* What it used; of one that was refused then, what it was estimated at. Never more than it may use now. */
static struct usage
usage_of(const struct past_call *past, const struct verdict *verdict)
{
    struct usage usage = past->usage;
    if (past->refused) {
        usage.input = min_i64(TOKENS_MAX, verdict->est_input);
        usage.output = min_i64(TOKENS_MAX, verdict->held_output);
        usage.known = USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED;
    }
    usage.output = min_i64(usage.output, max_i64(0, verdict->bound_output));
    usage.reasoning = min_i64(usage.reasoning, usage.output);
    usage.cost_micros = -1; /* the prices given decide */
    return usage;
}

static bool
try_call(struct replay *replay, size_t index, int64_t at_ms, struct verdict *verdict)
{
    struct past_call *past = &replay->calls[index];
    struct event event = { .kind = EVENT_CALL, .reply.loop = ENGINE_NO_REPLY };
    fill_call(replay, past, &event.call);
    replay->status = decide_at(replay, &event, at_ms, verdict);
    if (replay->status != STATUS_OK || verdict->kind != VERDICT_ALLOWED) {
        return false;
    }
    note_allowed(replay, past, verdict);
    past->hold_id = verdict->hold_id;
    past->usage = usage_of(past, verdict);
    const int64_t took_ms = max_i64(0, past->ended_ms - past->started_ms);
    if (!push_ending(replay, at_ms + took_ms, index)) {
        replay->status = STATUS_FULL;
    }
    return true;
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
    if (cannot_be_asked(replay, past) || try_call(replay, index, past->started_ms, &verdict)
        || replay->status != STATUS_OK) {
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
end_call(struct replay *replay, const struct ending *ending)
{
    struct past_call *past = &replay->calls[ending->call];
    struct replay_report *report = &replay->report;
    struct verdict verdict;
    struct event event = { .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event.settle.hold_id = past->hold_id;
    event.settle.dispatched = past->dispatched || past->refused;
    event.settle.unbilled = !past->billed && !past->refused;
    event.settle.usage = past->usage;
    event.settle.multiplier_pct = past->price_pct;
    event.settle.input_tokens_seen =
        past->billed && past->usage.known & USAGE_INPUT ? usage_input_total(&past->usage) : -1;
    replay->status = decide_at(replay, &event, ending->at_ms, &verdict);
    past->hold_id = 0;
    if (replay->status == STATUS_OK && past->counts && past->refused) {
        report->cost_asks_micros = money_add(report->cost_asks_micros, verdict.cost_micros);
    } else if (replay->status == STATUS_OK && past->counts) {
        report->cost_after_micros = money_add(report->cost_after_micros, verdict.cost_micros);
    }
    if (replay->status == STATUS_OK) {
        serve_waits(replay, ending->at_ms, true);
    }
}

static void
end_until(struct replay *replay, int64_t at_ms)
{
    while (replay->status == STATUS_OK && replay->ending_count > 0
           && replay->endings[0].at_ms <= at_ms) {
        const struct ending ending = pop_ending(replay);
        end_call(replay, &ending);
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

static int
by_count(const void *left, const void *right)
{
    const struct replay_group *a = left;
    const struct replay_group *b = right;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    return a->first_ms < b->first_ms ? -1 : a->first_ms > b->first_ms;
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
}

static void
finish(struct replay *replay, struct replay_report *report)
{
    for (int32_t i = 0; i < replay->group_count; i++) {
        replay->sorted[i] = *replay->groups[i];
    }
    if (replay->group_count > 1) {
        qsort(replay->sorted, (size_t)replay->group_count, sizeof(*replay->sorted), by_count);
    }
    *report = replay->report;
    report->group_count = replay->group_count;
    report->groups = replay->sorted;
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
    bool loose = false;
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
        if (!loose && past->started_ms >= since_ms) {
            let_loose(replay);
            loose = true;
        }
        past->counts = past->started_ms >= since_ms && past->started_ms < until_ms;
        end_until(replay, past->started_ms);
        if (replay->status == STATUS_OK && (loose || !past->refused)) {
            begin_call(replay, i);
        }
        if (i % LOOK_EVENTS == 0 && progress
            && !progress(user, (int64_t)i, (int64_t)replay->call_count)) {
            return STATUS_CLOSED;
        }
    }
    end_until(replay, INT64_MAX - DAY_MS);
    replay->sorted = calloc((size_t)replay->group_count + 1, sizeof(*replay->sorted));
    if (replay->status != STATUS_OK || !replay->sorted) {
        return fail(replay, replay->status != STATUS_OK ? replay->status : STATUS_FULL, error);
    }
    finish(replay, report);
    return STATUS_OK;
}
