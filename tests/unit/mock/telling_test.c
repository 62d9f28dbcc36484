/* tests/unit/mock/telling_test.c
 *
 * Goal: what an answer tells of its usage is its bill, in every dialect, streamed or whole, and its
 * events come in the order that clients expect. Method: what the mock writes is read back with the
 * gateway's own tap, which was written apart from it, and event names are compared with lists. */
#include "unit.h"

#include "mock/dialect_priv.h"
#include "wire/sse.h"
#include "wire/usage.h"

struct told {
    struct arena arena;
    struct mock_behaviour behaviour;
    struct mock_ask ask;
    struct mock_answer answer;
    struct buf out;
};

static void
plan(struct told *told, enum api api, const char *words, int64_t limit)
{
    struct mock_behaviour_fault fault;
    *told = (struct told){ .behaviour = mock_behaviour_default() };
    told->ask = (struct mock_ask){ .api = api,
        .model = SLICE("mock:\"quoted\""),
        .stream = true,
        .include_usage = true,
        .store = true,
        .output_limit = limit,
        .body_bytes = 400 };
    assert_true(mock_behaviour_read(&told->behaviour, slice_str(words), &fault));
    assert_true(mock_answer_plan(&told->answer, &told->behaviour, &told->ask, 0, &told->arena));
    told->answer.id = "id_1";
    told->answer.serial = "1";
    told->answer.created_s = 1795269787;
}

static void
free_told(struct told *told)
{
    mock_answer_free(&told->answer);
    buf_free(&told->out);
    arena_free(&told->arena);
}

static void
stream(struct told *told)
{
    mock_stream_begin(&told->answer, &told->out);
    mock_stream_tell(&told->answer, told->answer.token_count, &told->out);
    mock_stream_end(&told->answer, &told->out);
    assert_false(told->out.failed);
}

/* Reads events back; adds their names (or "-") to `names`, where it is not NULL. */
static void
read_back(struct slice bytes, struct tap *tap, enum api api, struct buf *names)
{
    struct buf gathered = { 0 };
    struct sse sse;
    struct sse_event event;
    sse_start(&sse, &gathered, SSE_DATA_BYTES_MAX);
    tap_start(tap, api);
    while (bytes.len > 0) {
        size_t consumed = 0;
        if (sse_feed(&sse, bytes, &consumed, &event) == SSE_EVENT && event.has_data) {
            (void)tap_event(tap, &event);
            if (names) {
                buf_add_str(names, names->len ? " " : "");
                buf_add_slice(names, event.name.len ? event.name : SLICE("-"));
            }
        }
        bytes = slice_of(bytes.ptr + consumed, bytes.len - consumed);
    }
    assert_int_equal(sse_pending_bytes(&sse), 0);
    buf_free(&gathered);
}

static void
same_as_bill(const struct usage *usage, const struct mock_bill *bill, enum api api)
{
    assert_int_equal(usage->known & (USAGE_INPUT | USAGE_OUTPUT), USAGE_INPUT | USAGE_OUTPUT);
    assert_int_equal(usage->known & USAGE_MALFORMED, 0);
    assert_int_equal(usage->input, bill->input);
    assert_int_equal(usage->cache_read, bill->cache_read);
    assert_int_equal(
        usage->cache_write_5m + usage->cache_write_1h, bill->cache_write_5m + bill->cache_write_1h);
    if (api == API_MESSAGES) {
        assert_int_equal(usage->cache_write_1h, bill->cache_write_1h);
    }
    assert_int_equal(usage->output, bill->output);
    assert_int_equal(usage->reasoning, bill->reasoning);
}

static const enum api apis[] = { API_CHAT, API_RESPONSES, API_MESSAGES };

static const struct {
    const char *words;
    int64_t limit;
} answers[] = {
    { "", MOCK_NO_LIMIT },
    { "tokens=0", MOCK_NO_LIMIT },
    { "tokens=1", MOCK_NO_LIMIT },
    { "tokens=200,utf8=1,per_event=7", MOCK_NO_LIMIT },
    { "tokens=30,thinking=11,hidden_reasoning=5", MOCK_NO_LIMIT },
    { "tokens=30,hidden_reasoning=900,cached=50,cache_write=20,cache_write_1h=10", MOCK_NO_LIMIT },
    { "tokens=30,tool=1", MOCK_NO_LIMIT },
    { "tokens=30,tool=1,thinking=3", 20 },
    { "tokens=30", 10 },
    { "tokens=30,thinking=30", 10 },
    { "tokens=30,hidden_reasoning=30", 10 },
    { "text=%22quoted%22%0A%5C,tokens=3", MOCK_NO_LIMIT },
};

static void
streams_tell_their_bill(void **state)
{
    for (size_t a = 0; a < countof(apis); a++) {
        for (size_t i = 0; i < countof(answers); i++) {
            struct told told;
            struct tap tap;
            plan(&told, apis[a], answers[i].words, answers[i].limit);
            stream(&told);
            read_back(buf_slice(&told.out), &tap, apis[a], NULL);
            const struct mock_bill bill = mock_answer_bill(&told.answer, told.answer.token_count);
            same_as_bill(&tap.usage, &bill, apis[a]);
            assert_int_equal(tap.end, ANSWER_DONE);
            assert_int_equal(tap.incomplete, told.answer.end == MOCK_END_LENGTH);

            struct buf text = { 0 };
            mock_answer_text(&told.answer, 0, told.answer.thinking_count, &text);
            mock_answer_text(
                &told.answer, told.answer.thinking_count, told.answer.token_count, &text);
            /* The name of a tool may count, too. */
            assert_in_range(tap.text_bytes, text.len, text.len + told.answer.tool_name.len);
            buf_free(&text);
            free_told(&told);
        }
    }
}

static void
whole_bodies_tell_their_bill(void **state)
{
    for (size_t a = 0; a < countof(apis); a++) {
        for (size_t i = 0; i < countof(answers); i++) {
            struct told told;
            struct tap tap;
            plan(&told, apis[a], answers[i].words, answers[i].limit);
            mock_whole(&told.answer, &told.out);
            tap_start(&tap, apis[a]);
            assert_true(tap_body(&tap, buf_slice(&told.out)));
            const struct mock_bill bill = mock_answer_bill(&told.answer, told.answer.token_count);
            same_as_bill(&tap.usage, &bill, apis[a]);
            assert_int_equal(tap.end, ANSWER_DONE);
            free_told(&told);
        }
    }
}

static void
events_come_in_order(void **state)
{
    static const struct {
        enum api api;
        const char *words;
        const char *names;
    } rows[] = {
        { API_CHAT, "tokens=2", "- - - - - -" }, /* role, two deltas, stop, usage, [DONE] */
        { API_MESSAGES, "tokens=2",
            "message_start ping content_block_start content_block_delta content_block_delta "
            "content_block_stop message_delta message_stop" },
        { API_MESSAGES, "tokens=0",
            "message_start ping content_block_start content_block_stop message_delta "
            "message_stop" },
        { API_MESSAGES, "tokens=1,hidden_reasoning=5",
            "message_start ping content_block_start content_block_delta content_block_stop "
            "content_block_start content_block_delta content_block_stop message_delta "
            "message_stop" },
        { API_RESPONSES, "tokens=1",
            "response.created response.in_progress response.output_item.added "
            "response.content_part.added response.output_text.delta response.output_text.done "
            "response.content_part.done response.output_item.done response.completed" },
        { API_RESPONSES, "tokens=1,tool=1",
            "response.created response.in_progress response.output_item.added "
            "response.function_call_arguments.delta response.function_call_arguments.done "
            "response.output_item.done response.completed" },
        { API_RESPONSES, "tokens=1,hidden_reasoning=1",
            "response.created response.in_progress response.output_item.added "
            "response.output_item.done response.output_item.added response.content_part.added "
            "response.output_text.delta response.output_text.done response.content_part.done "
            "response.output_item.done response.completed" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct told told;
        struct tap tap;
        struct buf names = { 0 };
        plan(&told, rows[i].api, rows[i].words, MOCK_NO_LIMIT);
        stream(&told);
        read_back(buf_slice(&told.out), &tap, rows[i].api, &names);
        assert_string_equal(buf_cstr(&names), rows[i].names);
        buf_free(&names);
        free_told(&told);
    }
}

static void
errors_within_a_stream_are_seen(void **state)
{
    for (size_t a = 0; a < countof(apis); a++) {
        struct told told;
        struct tap tap;
        plan(&told, apis[a], "tokens=9", MOCK_NO_LIMIT);
        mock_stream_begin(&told.answer, &told.out);
        mock_stream_tell(&told.answer, 4, &told.out);
        mock_stream_fail(&told.answer, &told.out);
        read_back(buf_slice(&told.out), &tap, apis[a], NULL);
        assert_int_equal(tap.end, ANSWER_FAILED);
        assert_int_equal(mock_answer_bill(&told.answer, told.answer.told_count).output, 4);
        free_told(&told);
    }
}

static void
usage_takes_the_form_asked_for(void **state)
{
    static const struct {
        const char *words;
        bool known, malformed;
        int64_t output, cost_micros;
    } rows[] = {
        { "tokens=9,usage=0", false, false, 0, -1 },
        { "tokens=9,usage=last", true, false, 9, -1 },
        { "tokens=9,usage=groq", true, false, 9, -1 },
        { "tokens=9,usage=moonshot", true, false, 9, -1 },
        { "tokens=9,usage=malformed", false, true, 0, -1 },
        { "tokens=4,hidden_reasoning=250,reasoning_beside=1", true, false, 254, -1 },
        { "tokens=9,cost=0.00506", true, false, 9, 5060 },
        { "tokens=9,cost_ticks=17757000", true, false, 9, 1776 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct told told;
        struct tap tap;
        plan(&told, API_CHAT, rows[i].words, MOCK_NO_LIMIT);
        told.ask.include_usage = strstr(rows[i].words, "last") == NULL; /* also unasked */
        stream(&told);
        read_back(buf_slice(&told.out), &tap, API_CHAT, NULL);
        assert_int_equal((tap.usage.known & USAGE_OUTPUT) != 0, rows[i].known);
        assert_int_equal((tap.usage.known & USAGE_MALFORMED) != 0, rows[i].malformed);
        assert_int_equal(tap.usage.output, rows[i].output);
        assert_int_equal(tap.usage.cost_micros, rows[i].cost_micros);
        free_told(&told);
    }
}

/* Read without the tap, which mends such forms. */
static void
counts_are_written_as_asked(void **state)
{
    static const struct {
        enum api api;
        const char *words;
        const char *written;
    } rows[] = {
        { API_CHAT, "tokens=4,input=10,hidden_reasoning=250,reasoning_beside=1",
            "\"prompt_tokens\":10,\"completion_tokens\":4,\"total_tokens\":264," },
        { API_CHAT, "tokens=4,input=10,hidden_reasoning=250",
            "\"prompt_tokens\":10,\"completion_tokens\":254,\"total_tokens\":264," },
        { API_RESPONSES, "tokens=4,input=10,hidden_reasoning=250,reasoning_beside=1",
            "\"output_tokens\":4,\"output_tokens_details\":{\"reasoning_tokens\":250},"
            "\"total_tokens\":264" },
        { API_MESSAGES, "tokens=4,input=10,hidden_reasoning=9", /* the first count is a small one */
            "\"output_tokens\":1,\"service_tier\":\"standard\"}}}" },
        { API_MESSAGES, "tokens=4,input=10,thinking=9",
            "\"output_tokens\":13,\"output_tokens_details\":{\"thinking_tokens\":9}" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct told told;
        plan(&told, rows[i].api, rows[i].words, MOCK_NO_LIMIT);
        stream(&told);
        assert_non_null(strstr(buf_cstr(&told.out), rows[i].written));
        free_told(&told);
    }
}

static void
usage_stays_away_unless_asked(void **state)
{
    struct told told;
    struct tap tap;
    plan(&told, API_CHAT, "tokens=9", MOCK_NO_LIMIT);
    told.ask.include_usage = false;
    stream(&told);
    read_back(buf_slice(&told.out), &tap, API_CHAT, NULL);
    assert_int_equal(tap.usage.known, 0);
    assert_int_equal(tap.end, ANSWER_DONE);
    free_told(&told);
}

static void
small_bodies_tell_their_input(void **state)
{
    struct mock_ask ask = { .api = API_EMBEDDINGS, .model = SLICE("e"), .input_count = 2 };
    const struct mock_bill bill = { .input = 8 };
    struct buf out = { 0 };
    struct tap tap;
    struct json_value value;
    int64_t number = 0;
    for (int base64 = 0; base64 < 2; base64++) {
        buf_clear(&out);
        ask.base64 = base64;
        mock_embeddings(&ask, bill, MOCK_USAGE_ASKED, &out);
        tap_start(&tap, API_EMBEDDINGS);
        assert_true(tap_body(&tap, buf_slice(&out)));
        assert_int_equal(tap.usage.input, 8);
        assert_true(json_get(buf_slice(&out), "data.1.embedding", &value));
        assert_int_equal(value.type, base64 ? JSON_STRING : JSON_ARRAY);
        assert_true(!base64 || value.text.len == 44 + 2); /* 8 floats of 4 bytes */
    }
    buf_clear(&out);
    mock_count_tokens((struct mock_bill){ .input = 5, .cache_read = 7 }, &out);
    assert_true(json_get(buf_slice(&out), "input_tokens", &value));
    assert_true(json_to_i64(value, 0, 100, &number));
    assert_int_equal(number, 12);
    buf_free(&out);
}

static const struct CMUnitTest tests[] = {
    CASE("streams tell their bill", streams_tell_their_bill),
    CASE("whole bodies tell their bill", whole_bodies_tell_their_bill),
    CASE("events come in order", events_come_in_order),
    CASE("errors within a stream are seen", errors_within_a_stream_are_seen),
    CASE("usage takes the form asked for", usage_takes_the_form_asked_for),
    CASE("counts are written as asked", counts_are_written_as_asked),
    CASE("usage stays away unless asked", usage_stays_away_unless_asked),
    CASE("small bodies tell their input", small_bodies_tell_their_input),
};

UNIT_MAIN(tests)
