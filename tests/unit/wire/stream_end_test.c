/* tests/unit/wire/stream_end_test.c
 *
 * Goal: what ends a stream is what its dialect's clients expect, and reads back as such. Method: a
 * tap that was fed a cut stream; the end's bytes as snapshots, then fed to a tap again. */
#include "unit.h"
#include "wire/models_list.h"
#include "wire/stream_end.h"

static const struct usage booked = { .input = 10,
    .cache_read = 5,
    .cache_write_5m = 2,
    .cache_write_1h = 1,
    .output = 7,
    .reasoning = 3,
    .cost_micros = -1 };

static struct tap
tap_of(enum api api)
{
    struct tap tap;
    tap_start(&tap, api);
    strcpy(tap.id, "id-1");
    strcpy(tap.model, "m\"x");
    tap.created_s = 1795269790;
    tap.sequence = 6;
    tap.open_blocks = 1 << 1 | 1 << 3;
    return tap;
}

static void
assert_reads_back(struct slice bytes, enum api api, enum answer_end end, int64_t output)
{
    struct tap tap;
    struct buf buf = { 0 };
    struct sse sse;
    struct sse_event event;
    tap_start(&tap, api);
    sse_start(&sse, &buf, SSE_DATA_BYTES_MAX);
    size_t at = 0, consumed = 0;
    while (at < bytes.len) {
        const struct slice rest = slice_of(bytes.ptr + at, bytes.len - at);
        assert_int_equal(sse_feed(&sse, rest, &consumed, &event), SSE_EVENT);
        struct json_value value;
        assert_true(!event.has_data || slice_eq(event.data, SLICE("[DONE]"))
                    || json_check(event.data, &value));
        (void)tap_event(&tap, &event);
        at += consumed;
    }
    assert_int_equal(tap.end, end);
    assert_int_equal(tap.usage.output, output);
    assert_int_equal(tap.incomplete, end == ANSWER_DONE);
    buf_free(&buf);
}

static void
length_stops(void **state)
{
    static const struct {
        enum api api;
        bool usage_asked;
        int64_t output;
        const char *bytes;
    } rows[] = {
        { API_CHAT, false, 0,
            "data: {\"id\":\"id-1\",\"object\":\"chat.completion.chunk\",\"created\":1795269790,"
            "\"model\":\"m\\\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
            "\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n" },
        { API_CHAT, true, 7, NULL },
        { API_RESPONSES, false, 7,
            "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{"
            "\"id\":\"id-1\",\"object\":\"response\",\"created_at\":1795269790,"
            "\"status\":\"incomplete\",\"model\":\"m\\\"x\",\"output\":[],\"instructions\":null,"
            "\"metadata\":{},\"parallel_tool_calls\":true,\"temperature\":null,"
            "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,\"error\":null,"
            "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{"
            "\"input_tokens\":18,\"input_tokens_details\":{\"cached_tokens\":5},"
            "\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":3},"
            "\"total_tokens\":25}},\"sequence_number\":7}\n\n" },
        { API_MESSAGES, false, 7,
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n"
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
            "\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":10,"
            "\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":5,"
            "\"output_tokens\":7}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct tap tap = tap_of(rows[i].api);
        struct buf out = { 0 };
        stream_end_length(&tap, &booked, rows[i].usage_asked, &out);
        if (rows[i].bytes) {
            assert_string_equal(buf_cstr(&out), rows[i].bytes);
        }
        assert_reads_back(buf_slice(&out), rows[i].api, ANSWER_DONE, rows[i].output);
        buf_free(&out);
    }
}

static void
errors_end_in_their_dialect(void **state)
{
    static const struct {
        enum api api;
        enum reason reason;
        const char *bytes;
    } rows[] = {
        { API_CHAT, REASON_UPSTREAM_BROKEN,
            "data: {\"error\":{\"message\":\"It \\\"broke\\\".\",\"type\":\"server_error\","
            "\"param\":null,\"code\":\"provider_answer_broken\"}}\n\n" },
        { API_CHAT, REASON_COST_SPENT, NULL },
        { API_CHAT, REASON_COST_HELD,
            "data: {\"error\":{\"message\":\"It \\\"broke\\\".\",\"type\":\"rate_limit_exceeded\","
            "\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n" },
        { API_MESSAGES, REASON_COST_HELD,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
            "\"message\":\"It \\\"broke\\\".\",\"details\":{\"reason\":\"budget_held\"}},"
            "\"request_id\":\"tg-1\"}\n\n" },
        { API_RESPONSES, REASON_UPSTREAM_BROKEN, NULL },
        { API_MESSAGES, REASON_UPSTREAM_BROKEN,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\","
            "\"message\":\"It \\\"broke\\\".\",\"details\":{\"reason\":\"provider_answer_broken\"}},"
            "\"request_id\":\"tg-1\"}\n\n" },
        { API_MESSAGES, REASON_UPSTREAM_TIMEOUT, NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct tap tap = tap_of(rows[i].api);
        struct buf out = { 0 };
        stream_end_error(&tap, rows[i].reason, SLICE("It \"broke\"."), SLICE("tg-1"), &out);
        if (rows[i].bytes) {
            assert_string_equal(buf_cstr(&out), rows[i].bytes);
        }
        assert_reads_back(buf_slice(&out), rows[i].api, ANSWER_FAILED, 0);
        buf_free(&out);
    }
}

static void
comments_are_no_events(void **state)
{
    struct buf out = { 0 };
    stream_comment_waiting(&out);
    stream_comment_cost(&out, 148, PAYER_USER, SLICE("cut at\r\n\r\ndata: x"));
    assert_string_equal(buf_cstr(&out),
        ": tidegate waiting\n\n: tidegate cost_micros=148 payer=user cut at    data: x\n\n");
    buf_free(&out);
}

static void
models_are_listed_in_either_shape(void **state)
{
    static const struct model_entry entries[] = {
        { SLICE("glm-5.2"), 1795269787000, 200000, 32000 },
        { SLICE("a\"b"), 0, 0, 0 },
    };
    static const struct {
        enum dialect dialect;
        uint32_t count;
        const char *text;
    } rows[] = {
        { DIALECT_OPENAI, 2,
            "{\"object\":\"list\",\"data\":[{\"id\":\"glm-5.2\",\"object\":\"model\","
            "\"created\":1795269787,\"owned_by\":\"tidegate\",\"context_length\":200000,"
            "\"max_output_tokens\":32000},{\"id\":\"a\\\"b\",\"object\":\"model\",\"created\":0,"
            "\"owned_by\":\"tidegate\"}]}" },
        { DIALECT_ANTHROPIC, 2,
            "{\"data\":[{\"type\":\"model\",\"id\":\"glm-5.2\",\"display_name\":\"glm-5.2\","
            "\"created_at\":\"2026-11-21T14:03:07Z\"},{\"type\":\"model\",\"id\":\"a\\\"b\","
            "\"display_name\":\"a\\\"b\",\"created_at\":\"1970-01-01T00:00:00Z\"}],"
            "\"has_more\":false,\"first_id\":\"glm-5.2\",\"last_id\":\"a\\\"b\"}" },
        { DIALECT_OPENAI, 0, "{\"object\":\"list\",\"data\":[]}" },
        { DIALECT_ANTHROPIC, 0,
            "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        models_list_render(rows[i].dialect, entries, rows[i].count, &out);
        assert_string_equal(buf_cstr(&out), rows[i].text);
        buf_free(&out);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("a length stop reads like the model's own", length_stops),
    CASE("errors end a stream in its dialect", errors_end_in_their_dialect),
    CASE("comments are no events", comments_are_no_events),
    CASE("models are listed in either shape", models_are_listed_in_either_shape),
};
UNIT_MAIN(tests)
