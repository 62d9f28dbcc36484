/* mock/usage.c: the usage block of each dialect, as the provider would tell its own bill. */
#include "mock/dialect_priv.h"

static void
add_cost(const struct mock_behaviour *behaviour, struct buf *out)
{
    if (behaviour->cost.len) {
        buf_add_str(out, ",\"cost\":");
        buf_add_slice(out, behaviour->cost);
        buf_add_str(out, ",\"is_byok\":false,\"cost_details\":{\"upstream_inference_cost\":null}");
    }
    if (behaviour->cost_ticks >= 0) {
        buf_addf(out, ",\"num_sources_used\":0,\"cost_in_usd_ticks\":%lld",
            (long long)behaviour->cost_ticks);
    }
}

/* The OpenAI family counts cached tokens into its input. */
static int64_t
input_total(struct mock_bill bill)
{
    return bill.input + bill.cache_read + bill.cache_write_5m + bill.cache_write_1h;
}

static void
add_input_details(struct mock_bill bill, const char *tail, struct buf *out)
{
    const int64_t written = bill.cache_write_5m + bill.cache_write_1h;
    buf_addf(out, "{\"cached_tokens\":%lld", (long long)bill.cache_read);
    if (written > 0) {
        buf_addf(out, ",\"cache_write_tokens\":%lld", (long long)written);
    }
    buf_addf(out, "%s}", tail);
}

void
mock_usage_chat(const struct mock_answer *answer, struct buf *out)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    if (behaviour->usage == MOCK_USAGE_NOTHING) {
        buf_add_str(out, "null");
        return;
    }
    if (behaviour->usage == MOCK_USAGE_MALFORMED) {
        buf_add_str(out, "{\"prompt_tokens\":\"12\",\"completion_tokens\":-4,"
                         "\"total_tokens\":1e400,\"prompt_tokens_details\":null}");
        return;
    }
    const struct mock_bill bill = mock_answer_bill(answer, answer->told_count);
    const int64_t input = input_total(bill);
    const int64_t inside = behaviour->reasoning_beside ? bill.output - bill.reasoning : bill.output;
    buf_addf(out, "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,",
        (long long)input, (long long)inside, (long long)(input + bill.output));
    buf_add_str(out, "\"prompt_tokens_details\":");
    add_input_details(bill, ",\"audio_tokens\":0", out);
    buf_addf(out,
        ",\"completion_tokens_details\":{\"reasoning_tokens\":%lld,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}",
        (long long)bill.reasoning);
    add_cost(behaviour, out);
    buf_add_char(out, '}');
}

void
mock_usage_responses(const struct mock_answer *answer, struct buf *out)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    if (behaviour->usage == MOCK_USAGE_NONE || behaviour->usage == MOCK_USAGE_NOTHING) {
        buf_add_str(out, "null");
        return;
    }
    if (behaviour->usage == MOCK_USAGE_MALFORMED) {
        buf_add_str(out, "{\"input_tokens\":\"12\",\"output_tokens\":-4,\"total_tokens\":1e400}");
        return;
    }
    const struct mock_bill bill = mock_answer_bill(answer, answer->told_count);
    const int64_t input = input_total(bill);
    const int64_t inside = behaviour->reasoning_beside ? bill.output - bill.reasoning : bill.output;
    buf_addf(out, "{\"input_tokens\":%lld,\"input_tokens_details\":", (long long)input);
    add_input_details(bill, "", out);
    buf_addf(out,
        ",\"output_tokens\":%lld,\"output_tokens_details\":{\"reasoning_tokens\":%lld},"
        "\"total_tokens\":%lld",
        (long long)inside, (long long)bill.reasoning, (long long)(input + bill.output));
    add_cost(behaviour, out);
    buf_add_char(out, '}');
}

void
mock_usage_messages(
    const struct mock_answer *answer, int64_t output_tokens, bool is_final, struct buf *out)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    if (behaviour->usage == MOCK_USAGE_NOTHING) {
        buf_add_str(out, "null");
        return;
    }
    if (behaviour->usage == MOCK_USAGE_MALFORMED) {
        buf_add_str(out, "{\"input_tokens\":\"12\",\"cache_read_input_tokens\":1e400,"
                         "\"output_tokens\":-4}");
        return;
    }
    const struct mock_bill bill = mock_answer_bill(answer, answer->told_count);
    buf_addf(out,
        "{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,"
        "\"cache_read_input_tokens\":%lld,\"cache_creation\":{"
        "\"ephemeral_5m_input_tokens\":%lld,\"ephemeral_1h_input_tokens\":%lld},"
        "\"output_tokens\":%lld",
        (long long)bill.input, (long long)(bill.cache_write_5m + bill.cache_write_1h),
        (long long)bill.cache_read, (long long)bill.cache_write_5m, (long long)bill.cache_write_1h,
        (long long)output_tokens);
    if (is_final && bill.reasoning > 0) {
        buf_addf(out, ",\"output_tokens_details\":{\"thinking_tokens\":%lld}",
            (long long)bill.reasoning);
    }
    buf_add_str(out, ",\"service_tier\":\"standard\"");
    add_cost(behaviour, out);
    buf_add_char(out, '}');
}
