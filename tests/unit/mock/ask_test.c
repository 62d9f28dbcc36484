/* tests/unit/mock/ask_test.c
 *
 * Goal: what a request asks for is read as its provider would read it; what a provider answers 400
 * to is refused. Method: tables of bodies. */
#include "unit.h"

#include "mock/ask_priv.h"

static void
requests_say_what_they_ask(void **state)
{
    static const struct {
        enum api api;
        const char *body;
        bool stream, include_usage, tool_result;
        int64_t limit;
        const char *last_user, *tool;
    } rows[] = {
        { API_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u00fc\"}]}",
            false, false, false, MOCK_NO_LIMIT, "aü", "" },
        { API_CHAT,
            "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
            "\"max_tokens\":90,\"max_completion_tokens\":40,\"messages\":[]}",
            true, true, false, 40, "", "" },
        { API_CHAT,
            "{\"model\":\"m\",\"max_completion_tokens\":40,\"max_tokens\":90,\"messages\":[]}",
            false, false, false, 40, "", "" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":null,\"stream\":null,\"messages\":[]}", false,
            false, false, MOCK_NO_LIMIT, "", "" },
        { API_CHAT,
            "{\"model\":\"m\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
            "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"tool\",\"content\":"
            "\"r\"}]}",
            false, false, true, MOCK_NO_LIMIT, "q", "f" },
        { API_MESSAGES,
            "{\"model\":\"m\",\"max_tokens\":7,\"tools\":[{\"name\":\"g\"}],\"messages\":["
            "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":\"x\"}]},"
            "{\"role\":\"system\",\"content\":\"s\"}]}",
            false, false, true, 7, "", "g" },
        { API_MESSAGES,
            "{\"model\":\"m\",\"max_tokens\":7,\"messages\":[{\"role\":\"user\",\"content\":["
            "{\"type\":\"tool_result\"}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
            "\"text\":\"one \"},{\"type\":\"image\"},{\"type\":\"text\",\"text\":\"two\"}]}]}",
            false, false, false, 7, "one two", "" },
        { API_COUNT_TOKENS, "{\"model\":\"m\",\"messages\":[]}", false, false, false, MOCK_NO_LIMIT,
            "", "" },
        { API_RESPONSES, "{\"model\":\"m\",\"input\":\"hi\",\"max_output_tokens\":16}", false,
            false, false, 16, "hi", "" },
        { API_RESPONSES,
            "{\"model\":\"m\",\"tools\":[{\"type\":\"web_search\"},{\"type\":\"function\","
            "\"name\":\"h\"}],\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
            "\"text\":\"t\"}]},{\"type\":\"function_call_output\",\"output\":\"o\"}]}",
            false, false, true, MOCK_NO_LIMIT, "t", "h" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = { 0 };
        struct mock_ask ask;
        const char *why = NULL;
        assert_true(mock_ask_read(&ask, rows[i].api, slice_str(rows[i].body), &arena, &why));
        assert_int_equal(ask.stream, rows[i].stream);
        assert_int_equal(ask.include_usage, rows[i].include_usage);
        assert_int_equal(ask.is_last_tool_result, rows[i].tool_result);
        assert_int_equal(ask.output_limit, rows[i].limit);
        assert_true(slice_eq(ask.last_user, slice_str(rows[i].last_user)));
        assert_true(slice_eq(ask.tool_name, slice_str(rows[i].tool)));
        assert_int_equal(ask.body_bytes, (int64_t)strlen(rows[i].body));
        arena_free(&arena);
    }
}

static void
references_and_embeddings_are_read(void **state)
{
    struct arena arena = { 0 };
    struct mock_ask ask;
    const char *why = NULL;
    assert_true(mock_ask_read(&ask, API_RESPONSES,
        SLICE("{\"model\":\"m\",\"store\":false,\"previous_response_id\":\"resp_1\","
              "\"conversation\":{\"id\":\"conv_1\"}}"),
        &arena, &why));
    assert_false(ask.store);
    assert_true(slice_eq(ask.previous_response_id, SLICE("resp_1")));
    assert_true(slice_eq(ask.conversation, SLICE("conv_1")));

    assert_true(mock_ask_read(&ask, API_EMBEDDINGS,
        SLICE("{\"model\":\"m\",\"input\":[\"a\",\"b\",\"c\"],\"encoding_format\":\"base64\","
              "\"dimensions\":3}"),
        &arena, &why));
    assert_int_equal(ask.input_count, 3);
    assert_int_equal(ask.dimension_count, 3);
    assert_true(ask.base64);
    assert_true(mock_ask_read(
        &ask, API_EMBEDDINGS, SLICE("{\"model\":\"m\",\"input\":[1,2,3]}"), &arena, &why));
    assert_int_equal(ask.input_count, 1); /* one text, as token ids */
    arena_free(&arena);
}

static void
what_a_provider_rejects_is_refused(void **state)
{
    static const struct {
        enum api api;
        const char *body;
    } rows[] = {
        { API_CHAT, "" },
        { API_CHAT, "[]" },
        { API_CHAT, "{" },
        { API_CHAT, "{\"model\":\"m\"} x" },
        { API_CHAT, "{\"messages\":[]}" },
        { API_CHAT, "{\"model\":\"\"}" },
        { API_CHAT, "{\"model\":5}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":1}" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":0}" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":-5}" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":1.5}" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":\"5\"}" },
        { API_CHAT, "{\"model\":\"m\",\"messages\":{}}" },
        { API_CHAT, "{\"model\":\"m\",\"messages\":[5]}" },
        { API_CHAT, "{\"model\":\"m\",\"n\":2}" },
        { API_CHAT, "{\"model\":\"m\",\"stream_options\":5}" },
        { API_CHAT, "{\"model\":\"m\",\"tools\":5}" },
        { API_MESSAGES, "{\"model\":\"m\",\"messages\":[]}" }, /* max_tokens is required */
        { API_RESPONSES, "{\"model\":\"m\",\"previous_response_id\":5}" },
        { API_RESPONSES, "{\"model\":\"m\",\"conversation\":[]}" },
        { API_EMBEDDINGS, "{\"model\":\"m\",\"input\":[]}" },
        { API_EMBEDDINGS, "{\"model\":\"m\",\"input\":5}" },
        { API_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":0}" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = { 0 };
        struct mock_ask ask;
        const char *why = NULL;
        assert_false(mock_ask_read(&ask, rows[i].api, slice_str(rows[i].body), &arena, &why));
        assert_non_null(why);
        arena_free(&arena);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("requests say what they ask", requests_say_what_they_ask),
    CASE("references and embeddings are read", references_and_embeddings_are_read),
    CASE("what a provider rejects is refused", what_a_provider_rejects_is_refused),
};

UNIT_MAIN(tests)
