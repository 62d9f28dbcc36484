/* core/estimate.c: how many tokens a call may take: a likely figure to hold, and a bound. */
#include "core/core_priv.h"

#include "base/map.h" /* hash_bytes */

/* Open addressing over a fixed table: what does not fit is simply not learned. */
struct learned *
learned_of(struct learned_table *table, const char *model, bool make)
{
    const uint64_t hash = hash_bytes(slice_str(model)) | 1;
    for (uint64_t probe = 0; probe < 16; probe++) {
        struct learned *row = &table->rows[(hash + probe) % LEARNED_MAX];
        if (row->model_hash == hash) {
            return row;
        }
        if (row->model_hash == 0) {
            if (make) {
                *row = (struct learned){ hash, INPUT_BYTES_PER_TOKEN_MILLI,
                    OUTPUT_BYTES_PER_TOKEN_MILLI };
                return row;
            }
            return NULL;
        }
    }
    return NULL;
}

static int64_t
tokens_at_most(__int128 tokens)
{
    return tokens > TOKENS_MAX ? TOKENS_MAX : (int64_t)tokens;
}

int64_t
call_answers(const struct call_event *call)
{
    return min_i64(max_i64(1, call->output_count), TOKENS_MAX);
}

/* bytes / bytes-per-token x 1.3, rounded up. */
static int64_t
tokens_of_bytes(int64_t bytes, int64_t bytes_per_token_milli)
{
    return tokens_at_most(
        ((__int128)bytes * 1300 + bytes_per_token_milli - 1) / bytes_per_token_milli);
}

/* `learned`: the thread's last known input and what was appended since, else the model's ratio. */
static int64_t
estimate_input(const struct core *core, const struct call_event *call, const struct model *model,
    const struct thread_row *thread)
{
    const struct learned *learned = learned_of(core->learned, model->name, false);
    const int64_t ratio =
        learned ? learned->input_bytes_per_token_milli : INPUT_BYTES_PER_TOKEN_MILLI;
    if (thread && thread->last_input > 0 && call->body_bytes >= thread->last_input_bytes) {
        return min_i64(thread->last_input, TOKENS_MAX)
               + tokens_of_bytes(call->body_bytes - thread->last_input_bytes, ratio);
    }
    return tokens_of_bytes(call->body_bytes, ratio);
}

static void
fill_input(const struct core *core, const struct policy *policy, const struct call_event *call,
    const struct model *model, const struct thread_row *thread, struct estimate *estimate)
{
    if (call->input_counted > 0) {
        estimate->estimator = "counted";
        estimate->input = estimate->input_bound = min_i64(call->input_counted, TOKENS_MAX);
        return;
    }
    const bool bytes = policy->estimator == ESTIMATOR_BYTES;
    estimate->estimator = bytes ? "bytes" : "learned";
    estimate->input_bound =
        call->input_unbounded ? model->context : min_i64(call->input_bytes_bound, TOKENS_MAX);
    estimate->input = bytes ? estimate->input_bound
                            : min_i64(estimate_input(core, call, model, thread), TOKENS_MAX);
    if (!call->input_unbounded) {
        estimate->input = min_i64(estimate->input, estimate->input_bound);
    }
    estimate->input_bound = max_i64(estimate->input_bound, estimate->input);
}

void
estimate_call(const struct core *core, const struct policy *policy, const struct call_event *call,
    const struct model *model, const struct thread_row *thread, struct estimate *estimate)
{
    const bool embeds = call->api == API_EMBEDDINGS; /* no output, and no talk that grows */
    const int64_t answers = call_answers(call);
    const int64_t limit = call->output_limit >= 0 ? min_i64(call->output_limit, model->max_output)
                                                  : model->max_output;
    fill_input(core, policy, call, model, embeds ? NULL : thread, estimate);
    estimate->output_bound = embeds ? 0 : tokens_at_most((__int128)limit * answers);
    estimate->whole = embeds || !call->stream || model->hidden_reasoning;
    estimate->slice = estimate->whole
                          ? estimate->output_bound
                          : min_i64(estimate->output_bound,
                              tokens_at_most((__int128)2 * policy->step_tokens * answers));
    const int64_t least = max_i64(1, max_i64(policy->min_answer_tokens, call->output_floor));
    estimate->least = min_i64(estimate->output_bound, tokens_at_most((__int128)least * answers));
}
