/* engine/replay_stream.c: open calls through time. An answer grows evenly from its beginning to its end; a stream asks
 * for more hold at half of its running slice, as the relay does, and ends where it is given none. */
#include <stdlib.h>

#include "engine/replay_priv.h"
#include "price/price.h"

/* --- What is due next: a heap. */

bool
moments_push(struct replay *replay, int64_t at_ms, size_t call)
{
    if (replay->moment_count == replay->moment_cap) {
        const size_t cap = replay->moment_cap ? replay->moment_cap * 2 : 256;
        struct moment *grown = realloc(replay->moments, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        replay->moments = grown;
        replay->moment_cap = cap;
    }
    size_t at = replay->moment_count++;
    while (at > 0 && replay->moments[(at - 1) / 2].at_ms > at_ms) {
        replay->moments[at] = replay->moments[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    replay->moments[at] = (struct moment){ at_ms, call };
    return true;
}

struct moment
moments_pop(struct replay *replay)
{
    const struct moment first = replay->moments[0];
    const struct moment last = replay->moments[--replay->moment_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= replay->moment_count) {
            break;
        }
        if (child + 1 < replay->moment_count
            && replay->moments[child + 1].at_ms < replay->moments[child].at_ms) {
            child++;
        }
        if (replay->moments[child].at_ms >= last.at_ms) {
            break;
        }
        replay->moments[at] = replay->moments[child];
        at = child;
    }
    if (replay->moment_count > 0) {
        replay->moments[at] = last;
    }
    return first;
}

/* --- One call. */

static const struct route *
route_of(const struct replay *replay, const struct past_call *past)
{
    return &replay->policy->models[past->model_now].routes[past->route_now];
}

/* Of what its answer was then, as much as its output limit leaves now. */
static int64_t
answer_tokens(const struct past_call *past)
{
    return min_i64(past->usage.output, past->output_most);
}

bool
play_goes_on(const struct past_call *past)
{
    return past->ask_at < answer_tokens(past);
}

static bool
is_cut(const struct past_call *past)
{
    return past->output_allowed < answer_tokens(past);
}

/* Whether nothing more is billed once we hang up. */
static bool
stops_on_abort(const struct replay *replay, const struct past_call *past)
{
    const struct route *route = route_of(replay, past);
    return past->stream && replay->policy->providers[route->provider].on_abort == ON_ABORT_STOPS;
}

/* When it has so much of its answer. */
static int64_t
time_of(const struct past_call *past, int64_t tokens)
{
    const int64_t took_ms = max_i64(0, past->ended_ms - past->started_ms);
    if (past->usage.output <= 0 || tokens >= past->usage.output) {
        return past->began_ms + took_ms;
    }
    return past->began_ms + (int64_t)((__int128)took_ms * tokens / past->usage.output);
}

static int64_t
next_time(const struct replay *replay, const struct past_call *past)
{
    if (play_goes_on(past)) {
        return time_of(past, past->ask_at);
    }
    if (!is_cut(past)) {
        return time_of(past, answer_tokens(past));
    }
    return time_of(past,
        stops_on_abort(replay, past) ? past->output_allowed : past->usage.output); /* drained */
}

static int32_t
limit_index(const struct replay *replay, int64_t limit_id)
{
    const struct limit *limit = limit_id ? policy_limit_by_id(replay->policy, limit_id) : NULL;
    return limit ? (int32_t)(limit - replay->policy->limits) : -1;
}

/* Anthropic's first event names the input, and the hold stands on that from then on. */
static int64_t
input_named(const struct past_call *past)
{
    const bool named = past->stream && past->api == API_MESSAGES && past->billed && !past->refused
                       && past->usage.known & USAGE_INPUT;
    return named ? usage_input_total(&past->usage) : -1;
}

static enum status
tell_input(struct replay *replay, const struct past_call *past, int64_t est_input, int64_t at_ms)
{
    const int64_t exact = input_named(past);
    const int64_t difference = exact > est_input ? exact - est_input : est_input - exact;
    if (exact < 0 || difference * 10 <= exact) {
        return STATUS_OK;
    }
    struct verdict verdict;
    struct event event = { .kind = EVENT_EXTEND, .reply.loop = ENGINE_NO_REPLY };
    event.extend = (struct extend_event){ .hold_id = past->hold_id, .input_exact = exact };
    return replay_decide(replay, &event, at_ms, &verdict);
}

bool
play_begin(struct replay *replay, size_t index, const struct verdict *verdict, int64_t at_ms)
{
    struct past_call *past = &replay->calls[index];
    past->hold_id = verdict->hold_id;
    past->began_ms = at_ms;
    past->model_now = verdict->model_index;
    past->route_now = verdict->route_index;
    past->output_most = max_i64(0, verdict->bound_output);
    past->output_allowed = past->stream ? max_i64(0, verdict->output_allowed) : INT64_MAX;
    past->ask_at = past->output_allowed == INT64_MAX ? INT64_MAX : past->output_allowed / 2;
    past->bound_by = limit_index(replay, verdict->lowered_by);
    replay->status = tell_input(replay, past, verdict->est_input, at_ms);
    return replay->status == STATUS_OK && moments_push(replay, next_time(replay, past), index);
}

static void
take_extension(struct replay *replay, struct past_call *past, const struct verdict *verdict)
{
    const int64_t before = past->output_allowed;
    const bool more = verdict->kind == VERDICT_ALLOWED && verdict->output_allowed > before;
    if (!more) {
        past->ask_at = INT64_MAX;
        past->bound_by = limit_index(replay, verdict->refusal.limit_id);
        return;
    }
    past->output_allowed = verdict->output_allowed;
    past->ask_at = past->output_allowed == INT64_MAX ? INT64_MAX
                                                     : before + (past->output_allowed - before) / 2;
}

static int64_t
step_of(const struct replay *replay, const struct past_call *past)
{
    const __int128 tokens = (__int128)replay->policy->step_tokens * past->answers;
    return tokens > TOKENS_MAX ? TOKENS_MAX : (int64_t)tokens;
}

bool
play_on(struct replay *replay, const struct moment *moment)
{
    struct past_call *past = &replay->calls[moment->call];
    struct verdict verdict;
    struct event event = { .kind = EVENT_EXTEND, .reply.loop = ENGINE_NO_REPLY };
    const int64_t relayed = past->ask_at;
    event.extend = (struct extend_event){ .hold_id = past->hold_id,
        .output_tokens = min_i64(relayed, TOKENS_MAX),
        .want_tokens = step_of(replay, past) + max_i64(0, relayed - past->output_allowed),
        .input_exact = input_named(past) };
    replay->status = replay_decide(replay, &event, moment->at_ms, &verdict);
    if (replay->status != STATUS_OK) {
        return false;
    }
    take_extension(replay, past, &verdict);
    return moments_push(replay, next_time(replay, past), moment->call);
}

static struct usage
usage_up_to(const struct past_call *past, int64_t output)
{
    struct usage usage = past->usage;
    usage.output = min_i64(usage.output, output);
    usage.reasoning = min_i64(usage.reasoning, usage.output);
    usage.cost_micros = -1; /* the prices given decide */
    return usage;
}

struct usage
play_end(const struct replay *replay, struct past_call *past, bool *early, int64_t *unspent_micros)
{
    const bool cut = is_cut(past);
    const struct price *price = route_of(replay, past)->price;
    const struct usage whole = usage_up_to(past, INT64_MAX);
    *early = cut || answer_tokens(past) < past->usage.output;
    if (cut && stops_on_abort(replay, past)) {
        past->output_most = past->output_allowed;
    }
    const struct usage used = usage_up_to(past, past->output_most);
    *unspent_micros = price_cost(price, &whole, past->price_pct).micros
                      - price_cost(price, &used, past->price_pct).micros;
    return used;
}
