/* mock/responses.c: OpenAI's responses. */
#include "mock/dialect_priv.h"
#include "mock/error_priv.h"

#define EMPTY_TEXT_PART                                                                            \
    "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}"

static void
begin_event(const char *type, struct buf *out)
{
    buf_addf(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void
end_event(struct mock_answer *answer, struct buf *out)
{
    buf_addf(out, ",\"sequence_number\":%lld}\n\n", (long long)answer->event_number++);
}

static const char *
item_prefix(enum mock_part part)
{
    switch (part) {
    case MOCK_PART_REASONING: return "rs_";
    case MOCK_PART_TOOL: return "fc_";
    default: return "msg_";
    }
}

static void
add_place(const struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    buf_addf(out, ",\"item_id\":\"%s%s\",\"output_index\":%d", item_prefix(part), answer->serial,
        answer->part_count);
}

static void
add_text_part(struct mock_answer *answer, struct buf *out)
{
    buf_add_str(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    buf_add_json(out, mock_told(answer, MOCK_PART_TEXT));
    buf_add_char(out, '}');
}

static void
add_summary_part(struct mock_answer *answer, struct buf *out)
{
    buf_add_str(out, "{\"type\":\"summary_text\",\"text\":");
    buf_add_json(out, mock_told(answer, MOCK_PART_REASONING));
    buf_add_char(out, '}');
}

/* An output item; before it is `done` without its content. */
static void
add_item(struct mock_answer *answer, enum mock_part part, bool done, struct buf *out)
{
    const char *status = !done                            ? "in_progress"
                         : answer->end == MOCK_END_LENGTH ? "incomplete"
                                                          : "completed";
    buf_addf(out, "{\"id\":\"%s%s\"", item_prefix(part), answer->serial);
    switch (part) {
    case MOCK_PART_REASONING:
        buf_add_str(out, ",\"type\":\"reasoning\",\"summary\":[");
        if (done && answer->thinking_count > 0) {
            add_summary_part(answer, out);
        }
        buf_add_str(out, "]}");
        return;
    case MOCK_PART_TOOL:
        buf_addf(out, ",\"type\":\"function_call\",\"status\":\"%s\",\"arguments\":", status);
        buf_add_json(out, done ? mock_told(answer, part) : SLICE(""));
        buf_addf(out, ",\"call_id\":\"call_%s\",\"name\":", answer->serial);
        buf_add_json(out, answer->tool_name);
        buf_add_char(out, '}');
        return;
    default:
        buf_addf(out, ",\"type\":\"message\",\"status\":\"%s\",\"content\":[", status);
        if (done) {
            add_text_part(answer, out);
        }
        buf_add_str(out, "],\"role\":\"assistant\"}");
        return;
    }
}

static void
add_output(struct mock_answer *answer, struct buf *out)
{
    const bool has_reasoning = answer->thinking_count > 0 || answer->hidden_count > 0;
    const bool has_text =
        answer->end != MOCK_END_LENGTH || answer->token_count > answer->thinking_count;
    if (has_reasoning) {
        add_item(answer, MOCK_PART_REASONING, true, out);
    }
    if (has_text) {
        buf_add_str(out, has_reasoning ? "," : "");
        add_item(answer, mock_text_part(answer), true, out);
    }
}

static void
add_string_or_null(struct slice text, struct buf *out)
{
    if (text.len) {
        buf_add_json(out, text);
    } else {
        buf_add_str(out, "null");
    }
}

/* The whole response object. Output and usage are told at the end of one that did not fail. */
static void
add_response(struct mock_answer *answer, const char *status, bool is_end, struct buf *out)
{
    const struct mock_ask *ask = answer->ask;
    buf_addf(out,
        "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\","
        "\"background\":false,\"error\":",
        answer->id, (long long)answer->created_s, status);
    if (slice_eq(slice_str(status), SLICE("failed"))) {
        mock_error_short(answer->behaviour, mock_stream_error_status(answer), out);
    } else {
        buf_add_str(out, "null");
    }
    buf_add_str(out, ",\"incomplete_details\":");
    buf_add_str(out, slice_eq(slice_str(status), SLICE("incomplete"))
                         ? "{\"reason\":\"max_output_tokens\"}"
                         : "null");
    buf_add_str(out, ",\"instructions\":null,\"max_output_tokens\":");
    if (ask->output_limit == MOCK_NO_LIMIT) {
        buf_add_str(out, "null");
    } else {
        buf_add_i64(out, ask->output_limit);
    }
    buf_add_str(out, ",\"model\":");
    buf_add_json(out, ask->model);
    buf_add_str(out, ",\"output\":[");
    if (is_end) {
        add_output(answer, out);
    }
    buf_add_str(out, "],\"parallel_tool_calls\":true,\"previous_response_id\":");
    add_string_or_null(ask->previous_response_id, out);
    buf_addf(out,
        ",\"prompt_cache_key\":null,\"reasoning\":{\"effort\":\"medium\","
        "\"summary\":null},\"safety_identifier\":null,\"service_tier\":\"default\","
        "\"store\":%s,\"temperature\":1,\"text\":{\"format\":{\"type\":\"text\"},"
        "\"verbosity\":\"medium\"},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1,"
        "\"truncation\":\"disabled\",\"usage\":",
        ask->store ? "true" : "false");
    const enum mock_usage usage = answer->behaviour->usage;
    if (is_end || usage == MOCK_USAGE_GROWING || usage == MOCK_USAGE_TWICE) {
        mock_usage_responses(answer, out);
    } else {
        buf_add_str(out, "null");
    }
    buf_add_str(out, ",\"user\":null,\"metadata\":{}}");
}

static void
add_response_event(
    struct mock_answer *answer, const char *type, const char *status, bool is_end, struct buf *out)
{
    begin_event(type, out);
    buf_add_str(out, ",\"response\":");
    add_response(answer, status, is_end, out);
    end_event(answer, out);
}

static void
responses_begin(struct mock_answer *answer, struct buf *out)
{
    add_response_event(answer, "response.created", "in_progress", false, out);
    add_response_event(answer, "response.in_progress", "in_progress", false, out);
}

static void
responses_open(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    begin_event("response.output_item.added", out);
    buf_addf(out, ",\"output_index\":%d,\"item\":", answer->part_count);
    add_item(answer, part, false, out);
    end_event(answer, out);
    if (part == MOCK_PART_TEXT) {
        begin_event("response.content_part.added", out);
        add_place(answer, part, out);
        buf_add_str(out, ",\"content_index\":0,\"part\":" EMPTY_TEXT_PART);
        end_event(answer, out);
    } else if (part == MOCK_PART_REASONING && answer->thinking_count > 0) {
        begin_event("response.reasoning_summary_part.added", out);
        add_place(answer, part, out);
        buf_add_str(out, ",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
        end_event(answer, out);
    }
}

static void
responses_delta(struct mock_answer *answer, enum mock_part part, struct slice text, struct buf *out)
{
    const char *type = part == MOCK_PART_TOOL        ? "response.function_call_arguments.delta"
                       : part == MOCK_PART_REASONING ? "response.reasoning_summary_text.delta"
                                                     : "response.output_text.delta";
    begin_event(type, out);
    add_place(answer, part, out);
    if (part == MOCK_PART_TEXT) {
        buf_add_str(out, ",\"content_index\":0,\"logprobs\":[]");
    } else if (part == MOCK_PART_REASONING) {
        buf_add_str(out, ",\"summary_index\":0");
    }
    buf_add_str(out, ",\"delta\":");
    buf_add_json(out, text);
    end_event(answer, out);
}

static void
close_text(struct mock_answer *answer, struct buf *out)
{
    begin_event("response.output_text.done", out);
    add_place(answer, MOCK_PART_TEXT, out);
    buf_add_str(out, ",\"content_index\":0,\"text\":");
    buf_add_json(out, mock_told(answer, MOCK_PART_TEXT));
    buf_add_str(out, ",\"logprobs\":[]");
    end_event(answer, out);

    begin_event("response.content_part.done", out);
    add_place(answer, MOCK_PART_TEXT, out);
    buf_add_str(out, ",\"content_index\":0,\"part\":");
    add_text_part(answer, out);
    end_event(answer, out);
}

static void
close_summary(struct mock_answer *answer, struct buf *out)
{
    begin_event("response.reasoning_summary_text.done", out);
    add_place(answer, MOCK_PART_REASONING, out);
    buf_add_str(out, ",\"summary_index\":0,\"text\":");
    buf_add_json(out, mock_told(answer, MOCK_PART_REASONING));
    end_event(answer, out);

    begin_event("response.reasoning_summary_part.done", out);
    add_place(answer, MOCK_PART_REASONING, out);
    buf_add_str(out, ",\"summary_index\":0,\"part\":");
    add_summary_part(answer, out);
    end_event(answer, out);
}

static void
responses_close(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    if (part == MOCK_PART_TEXT) {
        close_text(answer, out);
    } else if (part == MOCK_PART_TOOL) {
        begin_event("response.function_call_arguments.done", out);
        add_place(answer, part, out);
        buf_add_str(out, ",\"name\":");
        buf_add_json(out, answer->tool_name);
        buf_add_str(out, ",\"arguments\":");
        buf_add_json(out, mock_told(answer, part));
        end_event(answer, out);
    } else if (answer->thinking_count > 0) {
        close_summary(answer, out);
    }
    begin_event("response.output_item.done", out);
    buf_addf(out, ",\"output_index\":%d,\"item\":", answer->part_count);
    add_item(answer, part, true, out);
    end_event(answer, out);
}

static void
responses_end(struct mock_answer *answer, struct buf *out)
{
    const bool is_short = answer->end == MOCK_END_LENGTH;
    add_response_event(answer, is_short ? "response.incomplete" : "response.completed",
        is_short ? "incomplete" : "completed", true, out);
}

static void
responses_fail(struct mock_answer *answer, struct buf *out)
{
    add_response_event(answer, "response.failed", "failed", false, out);
}

static void
responses_whole(struct mock_answer *answer, struct buf *out)
{
    const bool is_short = answer->end == MOCK_END_LENGTH;
    add_response(answer, is_short ? "incomplete" : "completed", true, out);
}

const struct mock_dialect mock_responses = {
    .begin = responses_begin,
    .open = responses_open,
    .delta = responses_delta,
    .close = responses_close,
    .end = responses_end,
    .fail = responses_fail,
    .whole = responses_whole,
    .tells_hidden = true,
};
