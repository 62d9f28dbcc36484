/* mock/answer.c: planning an answer and cutting its text into tokens. */
#include "mock/answer_priv.h"

#define TOKENS_UNLESS_SET    20
#define BODY_BYTES_PER_TOKEN 4

/* Repeated without end, so that a token's text follows from its number alone. */
static const char filler[] = "The tide comes in and the tide goes out; what it brings is counted, "
                             "and what it takes is written down. ";
/* Characters of two, three and four bytes. */
static const char filler_utf8[] = "Ebbe — größer als Flut 🌊 «到潮» … ";
static const char arguments_head[] = "{\"note\":\"";
static const char arguments_tail[] = "\"}";
static const char thought[] = "Sum the rows, then look again. ";

struct mock_bill
mock_ask_input(
    const struct mock_ask *ask, const struct mock_behaviour *behaviour, int64_t context_tokens)
{
    const int64_t of_text = (ask->body_bytes + BODY_BYTES_PER_TOKEN - 1) / BODY_BYTES_PER_TOKEN;
    const int64_t counted = (ask->token_count ? ask->token_count : of_text) + context_tokens;
    const int64_t cached = behaviour->cached + behaviour->cache_write + behaviour->cache_write_1h;
    const int64_t total = max_i64(behaviour->input >= 0 ? behaviour->input : counted, cached);
    return (struct mock_bill){
        .input = total - cached,
        .cache_read = behaviour->cached,
        .cache_write_5m = behaviour->cache_write,
        .cache_write_1h = behaviour->cache_write_1h,
    };
}

/* The text that the words or the request give; false without memory. *given: there is one. */
static bool
copy_given(struct mock_answer *answer, struct arena *arena, bool *given)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    const bool is_tool = answer->tool_name.len > 0;
    const struct slice encoded = is_tool ? behaviour->args : behaviour->text;
    *given = true;
    if (encoded.ptr) {
        struct buf decoded = { 0 };
        if (mock_percent_decode(encoded, &decoded) && !decoded.failed) {
            answer->text = arena_copy(arena, buf_slice(&decoded));
        }
        buf_free(&decoded);
        return answer->text.ptr != NULL;
    }
    if (behaviour->echo && !is_tool) {
        answer->text = arena_copy(arena, answer->ask->last_user);
        return answer->text.ptr != NULL;
    }
    *given = false;
    return true;
}

static void
plan_filler(struct mock_answer *answer)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    answer->planned_count = behaviour->tokens >= 0 ? behaviour->tokens : TOKENS_UNLESS_SET;
    answer->text_bytes = answer->planned_count * behaviour->bpt;
    answer->source = behaviour->utf8 ? MOCK_SOURCE_FILLER_UTF8 : MOCK_SOURCE_FILLER;
    if (answer->tool_name.len > 0) {
        const int64_t least = (int64_t)(sizeof arguments_head + sizeof arguments_tail - 2);
        answer->source = MOCK_SOURCE_ARGUMENTS;
        answer->text_bytes = max_i64(answer->text_bytes, least);
        /* A call has arguments, so it has tokens. */
        answer->planned_count = max_i64(answer->planned_count, 1);
    }
}

/* Which text, how long, and over how many tokens it is spread. False without memory. */
static bool
plan_text(struct mock_answer *answer, struct arena *arena)
{
    const struct mock_behaviour *behaviour = answer->behaviour;
    const struct slice offered = answer->ask->tool_name;
    bool given = false;
    if (behaviour->tool == 2 || (behaviour->tool == 1 && !answer->ask->is_last_tool_result)) {
        answer->end = MOCK_END_TOOL;
        answer->tool_name = offered.len ? offered : SLICE("mock_tool");
        if (behaviour->tool_name.len) {
            answer->tool_name = behaviour->tool_name;
        }
    }
    if (!copy_given(answer, arena, &given)) {
        return false;
    }
    if (!given) {
        plan_filler(answer);
        return true;
    }
    const int64_t bpt = behaviour->bpt;
    answer->source = MOCK_SOURCE_TEXT;
    answer->text_bytes = (int64_t)answer->text.len;
    answer->planned_count =
        behaviour->tokens >= 0 ? behaviour->tokens : (answer->text_bytes + bpt - 1) / bpt;
    return true;
}

bool
mock_answer_plan(struct mock_answer *answer, const struct mock_behaviour *behaviour,
    const struct mock_ask *ask, int64_t context_tokens, struct arena *arena)
{
    *answer = (struct mock_answer){ .behaviour = behaviour, .ask = ask };
    answer->input = mock_ask_input(ask, behaviour, context_tokens);
    if (!plan_text(answer, arena)) {
        return false;
    }
    answer->hidden_count = behaviour->hidden_reasoning;
    answer->thinking_count = behaviour->thinking;
    answer->token_count = answer->thinking_count + answer->planned_count;

    /* Real providers count reasoning against the output limit, in the order it is made. */
    const int64_t limit = ask->output_limit;
    if (limit != MOCK_NO_LIMIT && answer->hidden_count + answer->token_count > limit) {
        answer->end = MOCK_END_LENGTH;
        answer->hidden_count = min_i64(answer->hidden_count, limit);
        answer->token_count = limit - answer->hidden_count;
        answer->thinking_count = min_i64(answer->thinking_count, answer->token_count);
    }
    return true;
}

void
mock_answer_free(struct mock_answer *answer)
{
    buf_free(&answer->line_head);
    buf_free(&answer->piece);
}

struct mock_bill
mock_answer_bill(const struct mock_answer *answer, int64_t told_count)
{
    struct mock_bill bill = answer->input;
    bill.output = answer->hidden_count + told_count;
    bill.reasoning = answer->hidden_count + min_i64(told_count, answer->thinking_count);
    bill.generated = bill.output;
    return bill;
}

static bool
is_continuation(char c)
{
    return ((unsigned char)c & 0xC0U) == 0x80U;
}

/* Adds bytes [from, to) of `cycle` repeated without end, both moved back to a character's start. */
static void
add_cycle(struct buf *out, struct slice cycle, int64_t from, int64_t to)
{
    const int64_t size = (int64_t)cycle.len;
    while (from > 0 && is_continuation(cycle.ptr[from % size])) {
        from--;
    }
    while (to > 0 && is_continuation(cycle.ptr[to % size])) {
        to--;
    }
    while (from < to) {
        const int64_t at = from % size;
        const int64_t run = min_i64(to - from, size - at);
        buf_add(out, cycle.ptr + at, (size_t)run);
        from += run;
    }
}

static void
add_part(struct buf *out, struct slice text, int64_t from, int64_t to)
{
    const int64_t size = (int64_t)text.len;
    from = min_i64(from, size);
    to = min_i64(to, size);
    while (from > 0 && from < size && is_continuation(text.ptr[from])) {
        from--;
    }
    while (to > 0 && to < size && is_continuation(text.ptr[to])) {
        to--;
    }
    if (from < to) {
        buf_add(out, text.ptr + from, (size_t)(to - from));
    }
}

/* The arguments {"note":"..."}: a head, filler without quotes, a tail. */
static void
add_arguments(struct buf *out, int64_t total, int64_t from, int64_t to)
{
    const int64_t head = (int64_t)sizeof arguments_head - 1;
    const int64_t tail = (int64_t)sizeof arguments_tail - 1;
    const int64_t tail_at = total - tail;
    if (from < head) {
        add_part(out, SLICE(arguments_head), from, to);
    }
    if (to > head && from < tail_at) {
        add_cycle(out, SLICE(filler), max_i64(from - head, 0), min_i64(to, tail_at) - head);
    }
    if (to > tail_at) {
        add_part(out, SLICE(arguments_tail), max_i64(from - tail_at, 0), to - tail_at);
    }
}

void
mock_answer_text(const struct mock_answer *answer, int64_t from, int64_t to, struct buf *out)
{
    check(from >= 0 && from <= to && to <= answer->token_count);
    check(to <= answer->thinking_count || from >= answer->thinking_count);
    const int64_t bpt = answer->behaviour->bpt;
    if (from < answer->thinking_count) {
        add_cycle(out, SLICE(thought), from * bpt, to * bpt);
        return;
    }
    if (from == to) {
        return;
    }
    const int64_t planned = answer->planned_count;
    const int64_t from_byte = (from - answer->thinking_count) * answer->text_bytes / planned;
    const int64_t to_byte = (to - answer->thinking_count) * answer->text_bytes / planned;
    switch (answer->source) {
    case MOCK_SOURCE_FILLER: add_cycle(out, SLICE(filler), from_byte, to_byte); break;
    case MOCK_SOURCE_FILLER_UTF8: add_cycle(out, SLICE(filler_utf8), from_byte, to_byte); break;
    case MOCK_SOURCE_TEXT: add_part(out, answer->text, from_byte, to_byte); break;
    case MOCK_SOURCE_ARGUMENTS: add_arguments(out, answer->text_bytes, from_byte, to_byte); break;
    }
}
