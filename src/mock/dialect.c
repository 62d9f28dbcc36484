/* mock/dialect.c: the walk through an answer's parts, the same for every dialect. */
#include "mock/dialect_priv.h"

const struct mock_dialect *
mock_dialect_of(enum api api)
{
    switch (api) {
    case API_RESPONSES: return &mock_responses;
    case API_MESSAGES: return &mock_messages;
    default: return &mock_chat;
    }
}

static const struct mock_dialect *
dialect_of(const struct mock_answer *answer)
{
    return mock_dialect_of(answer->ask->api);
}

enum mock_part
mock_text_part(const struct mock_answer *answer)
{
    return answer->tool_name.len ? MOCK_PART_TOOL : MOCK_PART_TEXT;
}

struct slice
mock_told(struct mock_answer *answer, enum mock_part part)
{
    const int64_t thinking_end = min_i64(answer->told_count, answer->thinking_count);
    buf_clear(&answer->piece);
    if (part == MOCK_PART_REASONING) {
        mock_answer_text(answer, 0, thinking_end, &answer->piece);
    } else if (answer->told_count > answer->thinking_count) {
        mock_answer_text(answer, answer->thinking_count, answer->told_count, &answer->piece);
    }
    return buf_slice(&answer->piece);
}

static void
close_part(struct mock_answer *answer, struct buf *out)
{
    if (answer->open != MOCK_PART_NONE) {
        dialect_of(answer)->close(answer, answer->open, out);
        answer->open = MOCK_PART_NONE;
        answer->part_count++;
    }
}

static void
open_part(struct mock_answer *answer, enum mock_part part, struct buf *out)
{
    if (answer->open != part) {
        close_part(answer, out);
        dialect_of(answer)->open(answer, part, out);
        answer->open = part;
    }
}

void
mock_stream_begin(struct mock_answer *answer, struct buf *out)
{
    const struct mock_dialect *dialect = dialect_of(answer);
    dialect->begin(answer, out);
    if (dialect->tells_hidden && answer->hidden_count > 0 && answer->thinking_count == 0) {
        open_part(answer, MOCK_PART_REASONING, out);
        close_part(answer, out);
    }
}

void
mock_stream_tell(struct mock_answer *answer, int64_t told_count, struct buf *out)
{
    check(told_count <= answer->token_count);
    while (answer->told_count < told_count) {
        const int64_t from = answer->told_count;
        const bool is_thinking = from < answer->thinking_count;
        const enum mock_part part = is_thinking ? MOCK_PART_REASONING : mock_text_part(answer);
        int64_t to = min_i64(from + answer->behaviour->per_event, told_count);
        if (is_thinking) {
            to = min_i64(to, answer->thinking_count);
        }
        open_part(answer, part, out);
        buf_clear(&answer->piece);
        mock_answer_text(answer, from, to, &answer->piece);
        dialect_of(answer)->delta(answer, part, buf_slice(&answer->piece), out);
        answer->told_count = to;
    }
}

void
mock_stream_end(struct mock_answer *answer, struct buf *out)
{
    const bool has_text_part =
        answer->end != MOCK_END_LENGTH || answer->token_count > answer->thinking_count;
    if (has_text_part) {
        open_part(answer, mock_text_part(answer), out); /* also when it stays empty */
    }
    close_part(answer, out);
    dialect_of(answer)->end(answer, out);
}

void
mock_stream_fail(struct mock_answer *answer, struct buf *out)
{
    dialect_of(answer)->fail(answer, out);
}

void
mock_whole(struct mock_answer *answer, struct buf *out)
{
    answer->told_count = answer->token_count;
    dialect_of(answer)->whole(answer, out);
}
