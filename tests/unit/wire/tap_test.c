/* tests/unit/wire/tap_test.c
 *
 * Goal: every form of answer gives the usage that tests/fixtures/README.md lists, however its bytes
 * are cut; nonsense is seen as such; the end, ids, text and tool calls are told. Method: each
 * fixture is fed in pieces of 1, 7 and all bytes; other forms are rows of their own. */
#include "fixture.h"
#include "wire/usage.h"

#include <stdio.h>

#define OPEN   ANSWER_OPEN
#define DONE   ANSWER_DONE
#define FAILED ANSWER_FAILED
#define BOTH   (USAGE_INPUT | USAGE_OUTPUT)

struct seen {
    int text_events, hidden_events, terminal_events, error_events, blocks;
};

static void
embeddings_have_no_output_and_a_total_alone_is_input(void **state)
{
    static const struct {
        const char *object;
        bool good;
        int64_t input, cache_read;
    } rows[] = {
        { "{\"prompt_tokens\":8,\"total_tokens\":8}", true, 8, 0 },
        { "{\"total_tokens\":8}", true, 8, 0 },
        { "{\"prompt_tokens\":8,\"total_tokens\":11}", true, 8, 0 },
        { "{\"prompt_tokens\":8,\"completion_tokens\":0,\"prompt_tokens_details\":{\"cached_tokens\":3}}",
            true, 5, 3 },
        { "{}", false, 0, 0 },
        { "{\"prompt_tokens\":\"8\"}", false, 0, 0 },
        { "{\"total_tokens\":-1}", false, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct usage usage = USAGE_NONE;
        assert_int_equal(usage_read_embeddings(slice_str(rows[i].object), &usage), rows[i].good);
        assert_int_equal(usage.input, rows[i].input);
        assert_int_equal(usage.cache_read, rows[i].cache_read);
        assert_int_equal(usage.output, 0);
        assert_int_equal(usage.known, rows[i].good ? USAGE_INPUT | USAGE_OUTPUT : USAGE_MALFORMED);
    }
}

static void
tap_stream(struct tap *tap, struct slice body, size_t piece, size_t data_max, struct seen *seen)
{
    struct buf buf = { 0 };
    struct sse sse;
    struct sse_event event;
    sse_start(&sse, &buf, data_max);
    *seen = (struct seen){ 0 };
    size_t at = 0, raw = 0;
    while (at < body.len) {
        const size_t len = body.len - at < piece ? body.len - at : piece;
        size_t consumed = 0;
        const enum sse_result result =
            sse_feed(&sse, slice_of(body.ptr + at, len), &consumed, &event);
        at += consumed;
        if (result == SSE_MORE) {
            assert_int_equal(consumed, len);
            continue;
        }
        raw += event.raw_bytes;
        const struct tapped tapped = tap_event(tap, &event);
        seen->blocks++;
        seen->text_events += tapped.kind == TAP_TEXT;
        seen->hidden_events += tapped.kind == TAP_USAGE_ONLY;
        seen->terminal_events += tapped.kind == TAP_TERMINAL;
        seen->error_events += tapped.kind == TAP_ERROR;
    }
    assert_int_equal(raw + sse_pending_bytes(&sse), body.len);
    if (sse_end(&sse, &event)) {
        (void)tap_event(tap, &event);
    }
    buf_free(&buf);
}

static const struct {
    const char *name;
    enum api api;
    int64_t input, read, write_5m, write_1h, output, reasoning, cost;
    uint32_t known;
    enum answer_end end;
    int hidden;
    const char *id, *stop;
} fixtures[] = {
    { "openai_chat", API_CHAT, 307, 1536, 0, 0, 412, 256, -1, BOTH, DONE, 0,
        "chatcmpl-Ex0001aaBBcc", "stop" },
    { "openai_chat_stream_usage", API_CHAT, 307, 1536, 0, 0, 412, 256, -1, BOTH, DONE, 1,
        "chatcmpl-Ex0002aaBBcc", "stop" },
    { "openai_chat_stream_nousage", API_CHAT, 0, 0, 0, 0, 0, 0, -1, 0, DONE, 0,
        "chatcmpl-Ex0002aaBBcc", "stop" },
    { "openai_chat_stream_error", API_CHAT, 0, 0, 0, 0, 0, 0, -1, 0, FAILED, 0,
        "chatcmpl-Ex0002aaBBcc", "" },
    { "openai_responses_stream", API_RESPONSES, 256, 4864, 0, 0, 331, 192, -1, BOTH, DONE, 0,
        "resp_Ex0003aa", "completed" },
    { "openai_responses_stream_incomplete", API_RESPONSES, 256, 4864, 0, 0, 64, 0, -1, BOTH, DONE,
        0, "resp_Ex0003aa", "incomplete" },
    { "openai_responses_stream_failed", API_RESPONSES, 0, 0, 0, 0, 0, 0, -1, 0, FAILED, 0,
        "resp_Ex0003aa", "failed" },
    { "openai_embeddings", API_EMBEDDINGS, 8, 0, 0, 0, 0, 0, -1, BOTH, DONE, 0, "", "" },
    { "anthropic_message", API_MESSAGES, 1290, 0, 0, 0, 204, 96, -1, BOTH, DONE, 0,
        "msg_01Example0001", "end_turn" },
    { "anthropic_200_unified", API_MESSAGES, 8, 0, 0, 0, 1, 0, -1, BOTH, DONE, 0,
        "msg_01Example0007", "max_tokens" },
    { "anthropic_stream_cache", API_MESSAGES, 37, 18432, 1536, 512, 518, 310, -1, BOTH, DONE, 0,
        "msg_01Example0002", "end_turn" },
    { "anthropic_stream_error", API_MESSAGES, 37, 18432, 1536, 512, 1, 0, -1, USAGE_INPUT, FAILED,
        0, "msg_01Example0003", "" },
    { "truncated_anthropic_stream", API_MESSAGES, 37, 18432, 1536, 512, 2, 0, -1, USAGE_INPUT, OPEN,
        0, "msg_01Example0011", "" },
    { "truncated_openai_stream", API_CHAT, 0, 0, 0, 0, 0, 0, -1, 0, OPEN, 0,
        "chatcmpl-Ex0002aaBBcc", "" },
    { "anthropic_count_tokens", API_COUNT_TOKENS, 2095, 0, 0, 0, 0, 0, -1, BOTH, DONE, 0, "", "" },
    { "openrouter_stream", API_CHAT, 182, 1900, 128, 0, 96, 0, 5060, BOTH, DONE, 0,
        "gen-1795269820-Ex0005", "stop" },
    { "openrouter_stream_error", API_CHAT, 0, 0, 0, 0, 0, 0, -1, 0, FAILED, 0,
        "gen-1795269820-Ex0005", "error" },
    { "deepseek_chat", API_CHAT, 256, 2944, 0, 0, 150, 88, -1, BOTH, DONE, 0,
        "00000000-0000-4000-8000-0000000000d1", "stop" },
    { "deepseek_stream_keepalive", API_CHAT, 256, 2944, 0, 0, 60, 12, -1, BOTH, DONE, 0,
        "00000000-0000-4000-8000-0000000000d2", "stop" },
    { "xai_chat", API_CHAT, 24, 679, 0, 0, 254, 250, 1776, BOTH, DONE, 0,
        "00000000-0000-4000-8000-0000000000a2", "stop" },
    { "malformed_usage", API_CHAT, 0, 0, 0, 0, 0, 0, -1, USAGE_MALFORMED, DONE, 0,
        "chatcmpl-Ex0010", "" },
};

static void
assert_row(size_t i, const struct tap *tap)
{
    const struct usage *usage = &tap->usage;
    assert_int_equal(usage->input, fixtures[i].input);
    assert_int_equal(usage->cache_read, fixtures[i].read);
    assert_int_equal(usage->cache_write_5m, fixtures[i].write_5m);
    assert_int_equal(usage->cache_write_1h, fixtures[i].write_1h);
    assert_int_equal(usage->output, fixtures[i].output);
    assert_int_equal(usage->reasoning, fixtures[i].reasoning);
    assert_int_equal(usage->cost_micros, fixtures[i].cost);
    assert_int_equal(usage->known, fixtures[i].known);
    assert_int_equal(tap->end, fixtures[i].end);
    assert_string_equal(tap->id, fixtures[i].id);
    assert_string_equal(tap->stop_reason, fixtures[i].stop);
    assert_true(usage_valid(usage));
}

static void
fixtures_give_their_usage(void **state)
{
    static const size_t pieces[] = { 1, 7, SIZE_MAX };
    for (size_t i = 0; i < countof(fixtures); i++) {
        struct fixture fixture;
        fixture_load(&fixture, fixtures[i].name);
        for (size_t p = 0; p < countof(pieces); p++) {
            struct tap tap;
            tap_start(&tap, fixtures[i].api);
            struct seen seen = { 0 };
            if (fixture.stream) {
                tap_stream(&tap, fixture.body, pieces[p], SSE_DATA_BYTES_MAX, &seen);
                assert_int_equal(seen.hidden_events, fixtures[i].hidden);
            } else {
                assert_true(tap_body(&tap, fixture.body));
            }
            assert_row(i, &tap);
        }
        fixture_free(&fixture);
    }
}

static void
terminal_event_beyond_the_bound_still_gives_its_usage(void **state)
{
    struct fixture fixture;
    fixture_load(&fixture, "openai_responses_stream");
    for (size_t piece = 1; piece < 2000; piece = piece * 3 + 1) {
        struct tap tap;
        struct seen seen;
        tap_start(&tap, API_RESPONSES);
        tap_stream(&tap, fixture.body, piece, 600, &seen);
        assert_int_equal(tap.end, ANSWER_DONE);
        assert_int_equal(tap.usage.output, 331);
        assert_int_equal(tap.usage.cache_read, 4864);
        assert_int_equal(seen.terminal_events, 1);
    }
    fixture_free(&fixture);
}

static void
body_that_is_not_json_is_told(void **state)
{
    struct fixture fixture;
    fixture_load(&fixture, "malformed_json");
    struct tap tap;
    tap_start(&tap, API_CHAT);
    assert_false(tap_body(&tap, fixture.body));
    assert_int_equal(tap.end, ANSWER_OPEN);
    assert_int_equal(tap.usage.known, 0);
    fixture_free(&fixture);

    tap_start(&tap, API_CHAT);
    assert_true(tap_body(&tap, SLICE("\n\n\n {\"id\":\"a\",\"choices\":[]}\n"))); /* DeepSeek */
    assert_false(tap_body(&tap, SLICE("[1]")));
    assert_false(tap_body(&tap, SLICE("<html>")));
}

/* One event after the other; the last state is what counts. */
static void
feed(struct tap *tap, const char *events, struct seen *seen)
{
    tap_stream(tap, slice_str(events), SIZE_MAX, SSE_DATA_BYTES_MAX, seen);
}

static void
openai_usage_takes_every_form(void **state)
{
    static const struct {
        const char *object;
        bool good;
        int64_t input, read, write, output, reasoning, cost;
    } rows[] = {
        { "{\"prompt_tokens\":10,\"completion_tokens\":5}", true, 10, 0, 0, 5, 0, -1 },
        { "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":22}", true, 10, 0, 0, 12,
            0, -1 }, /* Gemini: thinking only in the total */
        { "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":3}", true, 10, 0, 0, 5, 0,
            -1 },
        { "{\"prompt_tokens\":10,\"completion_tokens\":5,\"cached_tokens\":4}", true, 6, 4, 0, 5, 0,
            -1 }, /* Moonshot */
        { "{\"prompt_tokens\":10,\"completion_tokens\":5,\"num_cached_tokens\":4}", true, 6, 4, 0,
            5, 0, -1 }, /* Mistral */
        { "{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_tokens_details\":"
          "{\"cached_tokens\":4,\"cache_creation_input_tokens\":3}}",
            true, 3, 4, 3, 5, 0, -1 }, /* DashScope */
        { "{\"prompt_tokens\":10,\"completion_tokens\":2,\"completion_tokens_details\":"
          "{\"reasoning_tokens\":7}}",
            true, 10, 0, 0, 9, 7, -1 }, /* beside, and no total to tell */
        { "{\"prompt_tokens\":1e1,\"completion_tokens\":5.0}", true, 10, 0, 0, 5, 0, -1 },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.0000001}", true, 1, 0, 0, 1, 0,
            1 }, /* rounded up */
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":-1}", true, 1, 0, 0, 1, 0, -1 },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":\"0.1\"}", true, 1, 0, 0, 1, 0,
            -1 },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":1e400}", true, 1, 0, 0, 1, 0, -1 },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.5,\"is_byok\":true}", true, 1, 0,
            0, 1, 0, -1 },
        { "{\"prompt_tokens\":1,\"completion_tokens\":0,\"prompt_tokens_details\":null}", true, 1,
            0, 0, 0, 0, -1 },
        /* nonsense */
        { "{}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":\"12\",\"completion_tokens\":5}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":12,\"completion_tokens\":-5}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":12,\"completion_tokens\":1e400}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":12,\"completion_tokens\":1.5}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":1000000001,\"completion_tokens\":1}", false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":12,\"completion_tokens\":1,\"total_tokens\":13,"
          "\"completion_tokens_details\":{\"reasoning_tokens\":2}}",
            false, 0, 0, 0, 0, 0, 0 },
        { "{\"prompt_tokens\":12,\"completion_tokens\":1,\"prompt_tokens_details\":[1]}", false, 0,
            0, 0, 0, 0, 0 },
        { "[]", false, 0, 0, 0, 0, 0, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct usage usage = USAGE_NONE;
        assert_int_equal(usage_read_openai(slice_str(rows[i].object), &usage), rows[i].good);
        if (!rows[i].good) {
            assert_int_equal(usage.known, USAGE_MALFORMED);
            assert_int_equal(usage.input + usage.output, 0);
            continue;
        }
        assert_int_equal(usage.input, rows[i].input);
        assert_int_equal(usage.cache_read, rows[i].read);
        assert_int_equal(usage.cache_write_5m, rows[i].write);
        assert_int_equal(usage.output, rows[i].output);
        assert_int_equal(usage.reasoning, rows[i].reasoning);
        assert_int_equal(usage.cost_micros, rows[i].cost);
        assert_true(usage_valid(&usage));
    }
}

static void
anthropic_usage_replaces_and_splits(void **state)
{
    static const struct {
        const char *first, *then;
        bool good;
        int64_t input, read, w5m, w1h, output;
    } rows[] = {
        { "{\"input_tokens\":5,\"output_tokens\":1}", "{\"output_tokens\":9}", true, 5, 0, 0, 0,
            9 },
        { "{\"input_tokens\":5,\"output_tokens\":1}", "{\"input_tokens\":50,\"output_tokens\":9}",
            true, 50, 0, 0, 0, 9 }, /* server tools added input */
        { "{\"input_tokens\":5,\"cache_creation_input_tokens\":10,\"output_tokens\":1}",
            "{\"output_tokens\":9}", true, 5, 0, 10, 0, 9 },
        { "{\"input_tokens\":5,\"cache_creation_input_tokens\":10,\"cache_creation\":"
          "{\"ephemeral_5m_input_tokens\":3,\"ephemeral_1h_input_tokens\":4},\"output_tokens\":1}",
            "{\"output_tokens\":9}", true, 5, 0, 6, 4, 9 }, /* the rest goes to 5 minutes */
        { "{\"input_tokens\":5,\"cache_creation_input_tokens\":10,\"cache_creation\":"
          "{\"ephemeral_5m_input_tokens\":6,\"ephemeral_1h_input_tokens\":4},\"output_tokens\":1}",
            "{\"cache_creation_input_tokens\":12,\"output_tokens\":9}", true, 5, 0, 8, 4, 9 },
        { "{\"input_tokens\":5,\"output_tokens\":1}", "{\"output_tokens\":-9}", false, 5, 0, 0, 0,
            1 },
        { "{\"input_tokens\":5,\"output_tokens\":1}",
            "{\"output_tokens\":9,\"output_tokens_details\":{\"thinking_tokens\":10}}", false, 5, 0,
            0, 0, 1 },
        { "{\"input_tokens\":5,\"output_tokens\":1}", "{\"output_tokens\":\"9\"}", false, 5, 0, 0,
            0, 1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct usage usage = USAGE_NONE, next;
        assert_true(usage_read_anthropic(slice_str(rows[i].first), &usage, &next));
        usage = next;
        assert_int_equal(
            usage_read_anthropic(slice_str(rows[i].then), &usage, &next), rows[i].good);
        assert_int_equal(next.input, rows[i].input);
        assert_int_equal(next.cache_read, rows[i].read);
        assert_int_equal(next.cache_write_5m, rows[i].w5m);
        assert_int_equal(next.cache_write_1h, rows[i].w1h);
        assert_int_equal(next.output, rows[i].output);
        assert_int_equal(!(next.known & USAGE_MALFORMED), rows[i].good);
    }
}

static void
tool_arguments_are_seen_while_open(void **state)
{
    static const struct {
        enum api api;
        const char *events;
        bool inside;
    } rows[] = {
        { API_CHAT,
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
            "{\"name\":\"f\",\"arguments\":\"{\\\"a\"}}]}}]}\n\n",
            true },
        { API_CHAT,
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"x\"}}]}"
            ",\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"delta\":{},"
            "\"finish_reason\":\"tool_calls\"}]}\n\n",
            false },
        { API_CHAT, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", false },
        { API_MESSAGES,
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,"
            "\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"input\":{}}}\n\n",
            true },
        { API_MESSAGES,
            "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":"
            "{\"type\":\"tool_use\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
            false },
        { API_RESPONSES,
            "data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\","
            "\"sequence_number\":3}\n\n",
            true },
        { API_RESPONSES,
            "data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}\n\n"
            "data: {\"type\":\"response.function_call_arguments.done\"}\n\n",
            false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tap tap;
        struct seen seen;
        tap_start(&tap, rows[i].api);
        feed(&tap, rows[i].events, &seen);
        assert_int_equal(tap.in_tool_arguments, rows[i].inside);
    }
}

static void
text_is_counted_decoded(void **state)
{
    struct tap tap;
    struct seen seen;
    tap_start(&tap, API_CHAT);
    feed(&tap,
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\\n\\u00e9\\ud83d\\ude00\","
        "\"reasoning_content\":\"xyz\"}}]}\n\n",
        &seen);
    assert_int_equal(tap.text_bytes, 1 + 1 + 2 + 4 + 3);
    assert_int_equal(seen.text_events, 1);

    tap_start(&tap, API_MESSAGES);
    feed(&tap,
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
        "\"thinking\":\"abc\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
        "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"\"}}\n\n",
        &seen);
    assert_int_equal(tap.text_bytes, 5);
}

static void
usage_of_groq_and_moonshot_rides_elsewhere(void **state)
{
    struct tap tap;
    struct seen seen;
    tap_start(&tap, API_CHAT);
    feed(&tap,
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage\":"
        "{\"prompt_tokens\":7,\"completion_tokens\":3,\"queue_time\":0.1}}}\n\ndata: [DONE]\n\n",
        &seen);
    assert_int_equal(tap.usage.input, 7);
    assert_int_equal(seen.hidden_events, 0);
    tap_start(&tap, API_CHAT);
    feed(&tap,
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\",\"usage\":"
        "{\"prompt_tokens\":7,\"completion_tokens\":3,\"cached_tokens\":2}}]}\n\n"
        "data: [DONE]",
        &seen); /* and the stream ends without an empty line */
    assert_int_equal(tap.usage.input, 5);
    assert_int_equal(tap.end, ANSWER_DONE);
    assert_true(tap.incomplete);
}

static void
error_events_name_their_code(void **state)
{
    static const struct {
        enum api api;
        const char *events, *code;
    } rows[] = {
        { API_CHAT, "data: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":null}}\n\n", "t" },
        { API_CHAT, "data: {\"error\":{\"code\":502,\"message\":\"m\"}}\n\n", "502" },
        { API_CHAT, "data: {\"error\":\"text\"}\n\n", "" },
        { API_RESPONSES,
            "event: error\ndata: {\"type\":\"error\",\"code\":\"c\",\"message\":\"m\"}\n\n", "c" },
        { API_MESSAGES,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
            "overloaded_error" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tap tap;
        struct seen seen;
        tap_start(&tap, rows[i].api);
        feed(&tap, rows[i].events, &seen);
        assert_int_equal(tap.end, ANSWER_FAILED);
        assert_int_equal(seen.error_events, 1);
        assert_string_equal(tap.error_code, rows[i].code);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("every fixture gives its usage, in pieces of 1, 7 and all bytes",
        fixtures_give_their_usage),
    CASE("a terminal event beyond the bound still gives its usage",
        terminal_event_beyond_the_bound_still_gives_its_usage),
    CASE("a body that is not JSON is told", body_that_is_not_json_is_told),
    CASE("FF-70 usage of the OpenAI family takes every form", openai_usage_takes_every_form),
    CASE("FF-64 FF-69 FF-74 usage of Anthropic is replaced and its cache writes split",
        anthropic_usage_replaces_and_splits),
    CASE("tool arguments are seen while they are open", tool_arguments_are_seen_while_open),
    CASE("text is counted as the UTF-8 it stands for", text_is_counted_decoded),
    CASE("usage of Groq and Moonshot rides elsewhere", usage_of_groq_and_moonshot_rides_elsewhere),
    CASE("embeddings have no output, and a total alone is input",
        embeddings_have_no_output_and_a_total_alone_is_input),
    CASE("error events end the answer and name their code", error_events_name_their_code),
};
UNIT_MAIN(tests)
