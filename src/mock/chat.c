/* mock/chat.c: chat completions. */
#include "mock/dialect_priv.h"
#include "mock/error_priv.h"

#define CHOICE_TAIL ",\"logprobs\":null,\"finish_reason\":null}"

static const char *
finish_reason(const struct mock_answer *answer)
{
    switch (answer->end) {
    case MOCK_END_LENGTH: return "length";
    case MOCK_END_TOOL: return "tool_calls";
    default: return "stop";
    }
}

static bool
tells_usage_apart(const struct mock_answer *answer)
{
    const enum mock_usage usage = answer->behaviour->usage;
    return answer->ask->include_usage
           && (usage == MOCK_USAGE_ASKED || usage == MOCK_USAGE_MALFORMED
               || usage == MOCK_USAGE_NOTHING || usage == MOCK_USAGE_TWICE);
}

static void
begin_chunk(struct mock_answer *answer, struct buf *out)
{
    buf_add_slice(out, buf_slice(&answer->line_head));
}

static void
end_chunk(const struct mock_answer *answer, struct buf *out)
{
    if (answer->behaviour->usage == MOCK_USAGE_GROWING) {
        buf_add_str(out, "],\"usage\":");
        mock_usage_chat(answer, out);
        buf_add_str(out, "}\n\n");
        return;
    }
    buf_add_str(out, tells_usage_apart(answer) ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void
chat_begin(struct mock_answer *answer, struct buf *out)
{
    struct buf *head = &answer->line_head;
    buf_clear(head);
    buf_addf(head,
        "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%lld,"
        "\"model\":",
        answer->id, (long long)answer->created_s);
    buf_add_json(head, answer->ask->model);
    buf_add_str(head, ",\"service_tier\":\"default\",\"system_fingerprint\":null,\"choices\":[");

    begin_chunk(answer, out);
    buf_addf(out,
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%s,"
        "\"refusal\":null}" CHOICE_TAIL,
        answer->tool_name.len ? "null" : "\"\"");
    end_chunk(answer, out);
}

static void
chat_open(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    if (part != MOCK_PART_TOOL) {
        return; /* a text begins with its first delta */
    }
    begin_chunk(answer, out);
    buf_addf(out,
        "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_%s\","
        "\"type\":\"function\",\"function\":{\"name\":",
        answer->serial);
    buf_add_json(out, answer->tool_name);
    buf_add_str(out, ",\"arguments\":\"\"}}]}" CHOICE_TAIL);
    end_chunk(answer, out);
}

static void
chat_delta(struct mock_answer *answer, enum mock_part part, struct slice text, struct buf *out)
{
    begin_chunk(answer, out);
    switch (part) {
    case MOCK_PART_TOOL:
        buf_add_str(out, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
                         "\"arguments\":");
        buf_add_json(out, text);
        buf_add_str(out, "}}]}" CHOICE_TAIL);
        break;
    case MOCK_PART_REASONING:
        buf_add_str(out, "{\"index\":0,\"delta\":{\"reasoning_content\":");
        buf_add_json(out, text);
        buf_add_str(out, "}" CHOICE_TAIL);
        break;
    default:
        buf_add_str(out, "{\"index\":0,\"delta\":{\"content\":");
        buf_add_json(out, text);
        buf_add_str(out, "}" CHOICE_TAIL);
        break;
    }
    end_chunk(answer, out);
}

static void
chat_close(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    (void)answer; /* parts of a choice have no end of their own */
    (void)part;
    (void)out;
}

static void
chat_end(struct mock_answer *answer, struct buf *out)
{
    const enum mock_usage usage = answer->behaviour->usage;
    begin_chunk(answer, out);
    buf_addf(out, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"",
        finish_reason(answer));
    if (usage == MOCK_USAGE_MOONSHOT) {
        buf_add_str(out, ",\"usage\":");
        mock_usage_chat(answer, out);
    }
    buf_add_char(out, '}');
    if (usage == MOCK_USAGE_LAST || usage == MOCK_USAGE_TWICE) {
        buf_add_str(out, "],\"usage\":");
        mock_usage_chat(answer, out);
        buf_add_str(out, "}\n\n");
    } else if (usage == MOCK_USAGE_GROQ) {
        buf_addf(out, "],\"x_groq\":{\"id\":\"req_%s\",\"usage\":", answer->serial);
        mock_usage_chat(answer, out);
        buf_add_str(out, "}}\n\n");
    } else {
        end_chunk(answer, out);
    }
    if (tells_usage_apart(answer)) {
        begin_chunk(answer, out);
        buf_add_str(out, "],\"usage\":");
        mock_usage_chat(answer, out);
        buf_add_str(out, "}\n\n");
    }
    buf_add_str(out, "data: [DONE]\n\n");
}

static void
chat_fail(struct mock_answer *answer, struct buf *out)
{
    buf_add_str(out, "data: ");
    mock_error_body(DIALECT_OPENAI, answer->behaviour, mock_stream_error_status(answer), NULL,
        answer->serial, out);
    buf_add_str(out, "\n\n");
}

static void
chat_whole(struct mock_answer *answer, struct buf *out)
{
    buf_addf(out,
        "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%lld,\"model\":", answer->id,
        (long long)answer->created_s);
    buf_add_json(out, answer->ask->model);
    buf_add_str(out, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (answer->tool_name.len) {
        buf_addf(out,
            "null,\"tool_calls\":[{\"id\":\"call_%s\",\"type\":\"function\","
            "\"function\":{\"name\":",
            answer->serial);
        buf_add_json(out, answer->tool_name);
        buf_add_str(out, ",\"arguments\":");
        buf_add_json(out, mock_told(answer, MOCK_PART_TOOL));
        buf_add_str(out, "}}]");
    } else {
        buf_add_json(out, mock_told(answer, MOCK_PART_TEXT));
    }
    if (answer->thinking_count > 0) {
        buf_add_str(out, ",\"reasoning_content\":");
        buf_add_json(out, mock_told(answer, MOCK_PART_REASONING));
    }
    buf_addf(out,
        ",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
        "\"finish_reason\":\"%s\"}]",
        finish_reason(answer));
    if (answer->behaviour->usage != MOCK_USAGE_NONE) {
        buf_add_str(out, ",\"usage\":");
        mock_usage_chat(answer, out);
    }
    buf_add_str(out, ",\"service_tier\":\"default\",\"system_fingerprint\":null}");
}

const struct mock_dialect mock_chat = {
    .begin = chat_begin,
    .open = chat_open,
    .delta = chat_delta,
    .close = chat_close,
    .end = chat_end,
    .fail = chat_fail,
    .whole = chat_whole,
};
