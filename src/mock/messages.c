/* mock/messages.c: Anthropic's messages. */
#include "mock/dialect_priv.h"
#include "mock/error_priv.h"
#include "wire/json.h"

static const char *
stop_reason(const struct mock_answer *answer)
{
    switch (answer->end) {
    case MOCK_END_LENGTH: return "max_tokens";
    case MOCK_END_TOOL: return "tool_use";
    default: return "end_turn";
    }
}

static void
messages_begin(struct mock_answer *answer, struct buf *out)
{
    const struct mock_bill bill = mock_answer_bill(answer, answer->token_count);
    buf_add_str(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"
                     "\"model\":");
    buf_add_json(out, answer->ask->model);
    buf_addf(out,
        ",\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],"
        "\"stop_reason\":null,\"stop_sequence\":null,\"stop_details\":null",
        answer->id);
    if (answer->behaviour->usage != MOCK_USAGE_NONE) {
        buf_add_str(out, ",\"usage\":");
        mock_usage_messages(answer, min_i64(bill.output, 1), false, out);
    }
    buf_add_str(out, "}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n");
}

static void
messages_open(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    buf_addf(out,
        "event: content_block_start\ndata: {\"type\":\"content_block_start\","
        "\"index\":%d,\"content_block\":{",
        answer->part_count);
    switch (part) {
    case MOCK_PART_REASONING:
        buf_add_str(out, "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n");
        break;
    case MOCK_PART_TOOL:
        buf_addf(out, "\"type\":\"tool_use\",\"id\":\"toolu_%s\",\"name\":", answer->serial);
        buf_add_json(out, answer->tool_name);
        buf_add_str(out, ",\"input\":{}}}\n\n");
        break;
    default: buf_add_str(out, "\"type\":\"text\",\"text\":\"\"}}\n\n"); break;
    }
}

static void
add_block_delta(
    const struct mock_answer *answer, const char *type, const char *field, struct buf *out)
{
    buf_addf(out,
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
        "\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":",
        answer->part_count, type, field);
}

static void
messages_delta(struct mock_answer *answer, enum mock_part part, struct slice text, struct buf *out)
{
    switch (part) {
    case MOCK_PART_REASONING: add_block_delta(answer, "thinking_delta", "thinking", out); break;
    case MOCK_PART_TOOL: add_block_delta(answer, "input_json_delta", "partial_json", out); break;
    default: add_block_delta(answer, "text_delta", "text", out); break;
    }
    buf_add_json(out, text);
    buf_add_str(out, "}}\n\n");
}

static void
messages_close(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    if (part == MOCK_PART_REASONING) {
        add_block_delta(answer, "signature_delta", "signature", out);
        buf_add_str(out, "\"bW9jaw==\"}}\n\n");
    }
    buf_addf(out,
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\","
        "\"index\":%d}\n\n",
        answer->part_count);
}

static void
add_message_delta(struct mock_answer *answer, int64_t told_count, struct buf *out)
{
    buf_addf(out,
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
        "\"stop_reason\":\"%s\",\"stop_sequence\":null,\"stop_details\":null}",
        stop_reason(answer));
    if (answer->behaviour->usage != MOCK_USAGE_NONE) {
        const struct mock_bill bill = mock_answer_bill(answer, told_count);
        buf_add_str(out, ",\"usage\":");
        mock_usage_messages(answer, bill.output, true, out);
    }
    buf_add_str(out, "}\n\n");
}

static void
messages_end(struct mock_answer *answer, struct buf *out)
{
    const enum mock_usage usage = answer->behaviour->usage;
    const int64_t told = answer->told_count;
    if (usage == MOCK_USAGE_GROWING || usage == MOCK_USAGE_TWICE) {
        add_message_delta(answer, usage == MOCK_USAGE_TWICE ? told : told / 2, out);
    }
    add_message_delta(answer, told, out);
    /* Data lines padded with spaces behind the brace are a habit of this provider. */
    buf_add_str(out, "event: message_stop\ndata: {\"type\":\"message_stop\"       }\n\n");
}

static void
messages_fail(struct mock_answer *answer, struct buf *out)
{
    buf_add_str(out, "event: error\ndata: ");
    mock_error_body(DIALECT_ANTHROPIC, answer->behaviour, mock_stream_error_status(answer), NULL,
        answer->serial, out);
    buf_add_str(out, "\n\n");
}

/* The arguments as the object they are; a call that was cut off has no whole one. */
static void
add_tool_input(struct mock_answer *answer, struct buf *out)
{
    struct json_value value;
    const struct slice arguments = mock_told(answer, MOCK_PART_TOOL);
    if (json_check(arguments, &value) && value.type == JSON_OBJECT) {
        buf_add_slice(out, value.text);
    } else {
        buf_add_str(out, "{}");
    }
}

static void
messages_whole(struct mock_answer *answer, struct buf *out)
{
    buf_add_str(out, "{\"model\":");
    buf_add_json(out, answer->ask->model);
    buf_addf(out, ",\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[",
        answer->id);
    if (answer->thinking_count > 0 || answer->hidden_count > 0) {
        buf_add_str(out, "{\"type\":\"thinking\",\"thinking\":");
        buf_add_json(out, mock_told(answer, MOCK_PART_REASONING));
        buf_add_str(out, ",\"signature\":\"bW9jaw==\"},");
    }
    if (answer->tool_name.len) {
        buf_addf(out, "{\"type\":\"tool_use\",\"id\":\"toolu_%s\",\"name\":", answer->serial);
        buf_add_json(out, answer->tool_name);
        buf_add_str(out, ",\"input\":");
        add_tool_input(answer, out);
    } else {
        buf_add_str(out, "{\"type\":\"text\",\"text\":");
        buf_add_json(out, mock_told(answer, MOCK_PART_TEXT));
    }
    buf_addf(out, "}],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"stop_details\":null",
        stop_reason(answer));
    if (answer->behaviour->usage != MOCK_USAGE_NONE) {
        const struct mock_bill bill = mock_answer_bill(answer, answer->told_count);
        buf_add_str(out, ",\"usage\":");
        mock_usage_messages(answer, bill.output, true, out);
    }
    buf_add_char(out, '}');
}

const struct mock_dialect mock_messages = {
    .begin = messages_begin,
    .open = messages_open,
    .delta = messages_delta,
    .close = messages_close,
    .end = messages_end,
    .fail = messages_fail,
    .whole = messages_whole,
    .tells_hidden = true,
};
