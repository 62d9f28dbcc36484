/* wire/stream_end.c: the last events of a stream that is ended here. */
#include "wire/stream_end.h"

void
stream_break(struct buf *out)
{
    buf_add_str(out, "\n\n");
}

/* ---- comments ---- */

void
stream_comment_cost(struct buf *out, int64_t cost_micros, enum payer payer, struct slice note)
{
    buf_add_str(out, ": tidegate");
    if (cost_micros >= 0) {
        buf_addf(out, " cost_micros=%lld", (long long)cost_micros);
    }
    buf_addf(out, " payer=%s", payer == PAYER_USER ? "user" : "company");
    if (note.len > 0) {
        buf_add_char(out, ' ');
    }
    for (size_t i = 0; i < note.len; i++) { /* a line end in it would begin an event */
        buf_add_char(out, (unsigned char)note.ptr[i] < 0x20 ? ' ' : note.ptr[i]);
    }
    buf_add_str(out, "\n\n");
}

void
stream_comment_waiting(struct buf *out)
{
    buf_add_str(out, ": tidegate waiting\n\n");
}

/* ---- chat ---- */

static void
add_chat_head(const struct tap *tap, struct buf *out)
{
    buf_add_str(out, "data: {\"id\":");
    buf_add_json(out, slice_str(tap->id));
    buf_addf(out, ",\"object\":\"chat.completion.chunk\",\"created\":%lld,\"model\":",
        (long long)tap->created_s);
    buf_add_json(out, slice_str(tap->model));
}

static void
chat_length(const struct tap *tap, const struct usage *usage, bool usage_asked, struct buf *out)
{
    add_chat_head(tap, out);
    buf_add_str(out, ",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                     "\"finish_reason\":\"length\"}]}\n\n");
    if (usage_asked) {
        const long long input = (long long)usage_input_total(usage);
        add_chat_head(tap, out);
        buf_addf(out,
            ",\"choices\":[],\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,"
            "\"total_tokens\":%lld,\"prompt_tokens_details\":{\"cached_tokens\":%lld},"
            "\"completion_tokens_details\":{\"reasoning_tokens\":%lld}}}\n\n",
            input, (long long)usage->output, input + (long long)usage->output,
            (long long)usage->cache_read, (long long)usage->reasoning);
    }
    buf_add_str(out, "data: [DONE]\n\n");
}

/* ---- responses ---- */

/* `event: response.X` up to the value of "error". The output stays empty: its items went by and
 * were not kept. */
static void
add_response_head(const struct tap *tap, const char *status, struct buf *out)
{
    buf_addf(out,
        "event: response.%s\n"
        "data: {\"type\":\"response.%s\",\"response\":{\"id\":",
        status, status);
    buf_add_json(out, slice_str(tap->id));
    buf_addf(out, ",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\",\"model\":",
        (long long)tap->created_s, status);
    buf_add_json(out, slice_str(tap->model));
    buf_add_str(out, ",\"output\":[],\"instructions\":null,\"metadata\":{},"
                     "\"parallel_tool_calls\":true,\"temperature\":null,\"tool_choice\":\"auto\","
                     "\"tools\":[],\"top_p\":null,\"error\":");
}

static void
add_response_tail(const struct tap *tap, struct buf *out)
{
    buf_addf(out, "},\"sequence_number\":%lld}\n\n", (long long)tap->sequence + 1);
}

static void
responses_length(const struct tap *tap, const struct usage *usage, struct buf *out)
{
    const long long input = (long long)usage_input_total(usage);
    add_response_head(tap, "incomplete", out);
    buf_addf(out,
        "null,\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{"
        "\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld},"
        "\"output_tokens\":%lld,\"output_tokens_details\":{\"reasoning_tokens\":%lld},"
        "\"total_tokens\":%lld}",
        input, (long long)usage->cache_read, (long long)usage->output, (long long)usage->reasoning,
        input + (long long)usage->output);
    add_response_tail(tap, out);
}

/* ---- Anthropic ---- */

static void
messages_length(const struct tap *tap, const struct usage *usage, struct buf *out)
{
    for (int block = 0; block < TAP_BLOCKS_MAX; block++) {
        if (tap->open_blocks >> block & 1) {
            buf_addf(out,
                "event: content_block_stop\n"
                "data: {\"type\":\"content_block_stop\",\"index\":%d}\n\n",
                block);
        }
    }
    buf_addf(out,
        "event: message_delta\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\","
        "\"stop_sequence\":null},\"usage\":{\"input_tokens\":%lld,"
        "\"cache_creation_input_tokens\":%lld,\"cache_read_input_tokens\":%lld,"
        "\"output_tokens\":%lld}}\n\n",
        (long long)usage->input, (long long)(usage->cache_write_5m + usage->cache_write_1h),
        (long long)usage->cache_read, (long long)usage->output);
    buf_add_str(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- the doors ---- */

void
stream_end_length(
    const struct tap *tap, const struct usage *usage, bool usage_asked, struct buf *out)
{
    if (tap->api == API_RESPONSES) {
        responses_length(tap, usage, out);
    } else if (api_dialect(tap->api) == DIALECT_ANTHROPIC) {
        messages_length(tap, usage, out);
    } else {
        chat_length(tap, usage, usage_asked, out);
    }
}

/* What clients know: a spent budget is not worth another try, the provider's trouble is. */
static bool
is_spent(enum reason reason)
{
    return reason_row(reason)->class_ == REASON_CLASS_SPENT;
}

/* A wait worth sitting out: a limit of ours, not anybody's trouble. */
static bool
is_wait(enum reason reason)
{
    return reason_row(reason)->class_ == REASON_CLASS_WAIT;
}

static const char *
openai_code(enum reason reason)
{
    return is_spent(reason) ? "insufficient_quota" : is_wait(reason) ? "rate_limit_exceeded" : NULL;
}

static void
chat_error(enum reason reason, struct slice message, struct buf *out)
{
    const char *code = openai_code(reason);
    buf_add_str(out, "data: {\"error\":{\"message\":");
    buf_add_json(out, message);
    buf_addf(out, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}\n\n",
        code ? code : "server_error", code ? code : reason_row(reason)->code);
}

static void
responses_error(const struct tap *tap, enum reason reason, struct slice message, struct buf *out)
{
    add_response_head(tap, "failed", out);
    const char *code = openai_code(reason);
    buf_addf(out, "{\"code\":\"%s\",\"message\":", code ? code : "server_error");
    buf_add_json(out, message);
    buf_add_str(out, "},\"incomplete_details\":null,\"usage\":null");
    add_response_tail(tap, out);
}

static void
messages_error(enum reason reason, struct slice message, struct slice request_id, struct buf *out)
{
    const char *type = is_spent(reason)                    ? "billing_error"
                       : is_wait(reason)                   ? "rate_limit_error"
                       : reason == REASON_UPSTREAM_TIMEOUT ? "timeout_error"
                                                           : "api_error";
    buf_addf(out,
        "event: error\n"
        "data: {\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
        type);
    buf_add_json(out, message);
    buf_addf(out, ",\"details\":{\"reason\":\"%s\"}},\"request_id\":", reason_row(reason)->code);
    buf_add_json(out, request_id);
    buf_add_str(out, "}\n\n");
}

void
stream_end_error(const struct tap *tap, enum reason reason, struct slice message,
    struct slice request_id, struct buf *out)
{
    if (tap->api == API_RESPONSES) {
        responses_error(tap, reason, message, out);
    } else if (api_dialect(tap->api) == DIALECT_ANTHROPIC) {
        messages_error(reason, message, request_id, out);
    } else {
        chat_error(reason, message, out);
    }
}
