/* tests/unit/wire/facts_test.c
 *
 * Goal: what real clients send is understood; what two parsers could read differently is refused; a
 * splice changes what it must and not a byte more.
 * Method: bodies like those of Claude Code and Codex, then tables of one field each. */
#include "unit.h"
#include "base/buf.h"
#include "wire/splice.h"

#include <stdlib.h>

static struct arena arena;

static enum reason
read_body(enum api api, const char *body, struct facts *facts, struct facts_fault *fault)
{
    arena_reset(&arena);
    return facts_read(api, slice_str(body), &arena, facts, fault);
}

static void
assert_slice(struct slice slice, const char *text)
{
    assert_true(slice_eq(slice, slice_str(text)));
}

static const char claude_code[] =
    "{\"model\":\"claude-sonnet-5\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
    "\"text\":\"<system-reminder>\\nfoo\\n\",\"cache_control\":{\"type\":\"ephemeral\"}}]},"
    "{\"role\":\"system\",\"content\":\"be brief\"}],"
    "\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cc_version=2.1.330\"}],"
    "\"tools\":[{\"name\":\"Bash\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\","
    "\"properties\":{\"file_id\":{\"type\":\"string\"}}}},{\"name\":\"Read\",\"input_schema\":{}}],"
    "\"metadata\":{\"user_id\":\"{\\\"device_id\\\":\\\"d1\\\",\\\"account_uuid\\\":\\\"\\\","
    "\\\"session_id\\\":\\\"5f0e-77\\\"}\"},\"max_tokens\":128000,\"thinking\":{\"type\":\"adaptive\"},"
    "\"context_management\":{\"edits\":[]},\"safeguards\":{},\"output_config\":{\"effort\":\"high\"},"
    "\"stream\":true}";

static void
body_of_claude_code(void **state)
{
    struct facts facts;
    struct facts_fault fault;
    assert_int_equal(read_body(API_MESSAGES, claude_code, &facts, &fault), REASON_OK);
    assert_slice(facts.model, "claude-sonnet-5");
    assert_true(facts.stream);
    assert_int_equal(facts.output_limit, 128000);
    assert_slice(facts.metadata_session, "5f0e-77");
    assert_int_equal(facts.message_count, 3);
    assert_int_equal(facts.tool_count, 2);
    assert_true(facts.tools);
    assert_int_equal(facts.server_tool.len, 0);
    assert_int_equal(facts.unknown_field.len, 0);
    assert_int_equal(facts.priced_field.len, 0);
    assert_int_equal(facts.foreign_id_field.len, 0);
    assert_false(facts.media);
    assert_false(facts_input_unbounded(&facts));
    assert_int_equal(facts_price_multiplier_pct(&facts), 100);
    assert_true(facts.input_bytes > 0 && facts.input_bytes < (int64_t)sizeof(claude_code));
}

static const char codex[] =
    "{\"model\":\"gpt-5.5\",\"instructions\":\"You are Codex\",\"input\":[{\"type\":\"message\","
    "\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"say hi\"}]},"
    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":\"gAAA\"},"
    "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"{\\\"file_id\\\":\\\"f\\\"}\"}],"
    "\"tools\":[{\"type\":\"function\",\"name\":\"shell\",\"parameters\":{}},"
    "{\"type\":\"custom\",\"name\":\"apply_patch\"}],\"tool_choice\":\"auto\","
    "\"parallel_tool_calls\":true,\"reasoning\":{\"effort\":\"medium\"},\"store\":false,"
    "\"stream\":true,\"include\":[\"reasoning.encrypted_content\"],"
    "\"prompt_cache_key\":\"019a-thread\",\"text\":{\"verbosity\":\"low\"},\"client_metadata\":{}}";

static void
body_of_codex(void **state)
{
    struct facts facts;
    struct facts_fault fault;
    assert_int_equal(read_body(API_RESPONSES, codex, &facts, &fault), REASON_OK);
    assert_slice(facts.model, "gpt-5.5");
    assert_slice(facts.prompt_cache_key, "019a-thread");
    assert_int_equal(facts.output_limit, -1);
    assert_int_equal(facts.message_count, 3);
    assert_int_equal(facts.unknown_field.len, 0);
    assert_int_equal(facts.server_tool.len, 0);
    assert_int_equal(facts.foreign_id_field.len, 0);
    assert_false(facts.media);
}

static void
bodies_that_cannot_be_judged_are_refused(void **state)
{
    static const struct {
        enum api api;
        const char *body;
        enum reason reason;
        const char *detail; /* how it begins */
    } rows[] = {
        { API_CHAT, "", REASON_BODY_NOT_JSON, "it is empty" },
        { API_CHAT, "[]", REASON_BODY_NOT_JSON, "it does not begin with {" },
        { API_CHAT, "{\"model\":\"m\"", REASON_BODY_NOT_JSON, "it breaks off (byte 12)" },
        { API_CHAT, "{\"model\":\"m\"}x", REASON_BODY_NOT_JSON, "something follows its end" },
        { API_CHAT, "{\"model\":\"m\",}", REASON_BODY_NOT_JSON, "a key is missing" },
        { API_CHAT, "{\"messages\":[{]}", REASON_BODY_NOT_JSON, "a key is missing" },
        { API_CHAT, "{}", REASON_BODY_FIELD, "model: it is missing" },
        { API_CHAT, "{\"model\":null}", REASON_BODY_FIELD, "model: the name" },
        { API_CHAT, "{\"model\":\"\"}", REASON_BODY_FIELD, "model: the name" },
        { API_CHAT, "{\"model\":5}", REASON_BODY_FIELD, "model: the name" },
        { API_CHAT, "{\"model\":\"a\",\"model\":\"b\"}", REASON_BODY_DUPLICATE_KEY,
            "model: the second of this name is at byte 13" },
        { API_CHAT, "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", REASON_BODY_DUPLICATE_KEY,
            "mod\\u0065l: the second" },
        { API_CHAT, "{\"model\":\"a\",\"zz\":1,\"zz\":2}", REASON_BODY_DUPLICATE_KEY, "zz: " },
        { API_CHAT,
            "{\"model\":\"a\",\"stream_options\":{\"include_usage\":true,"
            "\"include_usage\":false}}",
            REASON_BODY_DUPLICATE_KEY, "include_usage: " },
        { API_MESSAGES, "{\"model\":\"a\",\"thinking\":{\"type\":\"enabled\",\"type\":\"x\"}}",
            REASON_BODY_DUPLICATE_KEY, "type: " },
        { API_MESSAGES, "{\"model\":\"a\",\"metadata\":{\"user_id\":\"a\",\"user_id\":\"b\"}}",
            REASON_BODY_DUPLICATE_KEY, "user_id: " },
        { API_CHAT, "{\"model\":\"a\",\"stream\":\"true\"}", REASON_BODY_FIELD,
            "stream: true or false is wanted" },
        { API_CHAT, "{\"model\":\"a\",\"stream\":1}", REASON_BODY_FIELD, "stream: " },
        { API_CHAT, "{\"model\":\"a\",\"max_tokens\":\"5\"}", REASON_BODY_FIELD,
            "max_tokens: a whole number from 0 to 1000000000 is wanted" },
        { API_CHAT, "{\"model\":\"a\",\"max_tokens\":-1}", REASON_BODY_FIELD, "max_tokens: " },
        { API_CHAT, "{\"model\":\"a\",\"max_tokens\":1.5}", REASON_BODY_FIELD, "max_tokens: " },
        { API_CHAT, "{\"model\":\"a\",\"max_tokens\":1e30}", REASON_BODY_FIELD, "max_tokens: " },
        { API_CHAT, "{\"model\":\"a\",\"max_completion_tokens\":[]}", REASON_BODY_FIELD,
            "max_completion_tokens: " },
        { API_RESPONSES, "{\"model\":\"a\",\"max_output_tokens\":{}}", REASON_BODY_FIELD,
            "max_output_tokens: " },
        { API_CHAT, "{\"model\":\"a\",\"n\":0}", REASON_BODY_FIELD, "n: " },
        { API_CHAT, "{\"model\":\"a\",\"n\":1000}", REASON_BODY_FIELD, "n: " },
        { API_CHAT, "{\"model\":\"a\",\"stream_options\":true}", REASON_BODY_FIELD,
            "stream_options: an object is wanted" },
        { API_CHAT, "{\"model\":\"a\",\"stream_options\":{\"include_usage\":1}}", REASON_BODY_FIELD,
            "stream_options.include_usage: " },
        { API_CHAT, "{\"model\":\"a\",\"service_tier\":1}", REASON_BODY_FIELD, "service_tier: " },
        { API_RESPONSES, "{\"model\":\"a\",\"background\":\"yes\"}", REASON_BODY_FIELD,
            "background: " },
        { API_RESPONSES, "{\"model\":\"a\",\"conversation\":1}", REASON_BODY_FIELD,
            "conversation: " },
        { API_RESPONSES, "{\"model\":\"a\",\"previous_response_id\":{}}", REASON_BODY_FIELD,
            "previous_response_id: " },
        { API_MESSAGES, "{\"model\":\"a\",\"thinking\":{\"budget_tokens\":\"9\"}}",
            REASON_BODY_FIELD, "thinking.budget_tokens: " },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct facts facts;
        struct facts_fault fault;
        assert_int_equal(read_body(rows[i].api, rows[i].body, &facts, &fault), rows[i].reason);
        if (!slice_starts(slice_str(fault.detail), slice_str(rows[i].detail))) {
            assert_string_equal(fault.detail, rows[i].detail);
        }
    }
}

static void
names_too_long_and_keys_too_many_are_refused(void **state)
{
    struct buf body = { 0 };
    struct facts facts;
    struct facts_fault fault;
    buf_add_str(&body, "{\"model\":\"");
    for (int i = 0; i < NAME_MAX_BYTES + 1; i++) {
        buf_add_char(&body, 'm');
    }
    buf_add_str(&body, "\"}");
    assert_int_equal(read_body(API_CHAT, buf_cstr(&body), &facts, &fault), REASON_MODEL_UNKNOWN);
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&body);
        buf_add_str(&body, "{\"model\":\"m\"");
        for (int i = 1; i < FACTS_KEYS_MAX + extra; i++) {
            buf_addf(&body, ",\"k%d\":%d", i, i);
        }
        buf_add_char(&body, '}');
        assert_int_equal(read_body(API_CHAT, buf_cstr(&body), &facts, &fault),
            extra ? REASON_BODY_FIELD : REASON_OK);
    }
    buf_free(&body);
}

static void
fields_are_read(void **state)
{
    struct facts facts;
    struct facts_fault fault;
    assert_int_equal(read_body(API_CHAT,
                         " { \"m\\u006fdel\" : \"a\\/b\" , \"max_tokens\" : 10 , "
                         "\"max_completion_tokens\" : 2e1, \"n\": 3, \"stream\": null, "
                         "\"service_tier\":\"priority\",\"speed\":\"fast\",\"wild\":1,\"audio\":{},"
                         "\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":9} } ",
                         &facts, &fault),
        REASON_OK);
    assert_slice(facts.model, "a/b");
    assert_int_equal(facts.output_limit, 20); /* which of them counts is the provider's affair */
    assert_int_equal(facts.output_limits[OUTPUT_MAX_TOKENS], 10);
    assert_int_equal(facts.answers, 3);
    assert_int_equal(facts.thinking_budget, 0);
    assert_int_equal(facts_price_multiplier_pct(&facts), 1500);
    assert_slice(facts.unknown_field, "wild");
    assert_slice(facts.priced_field, "audio");

    assert_int_equal(read_body(API_RESPONSES,
                         "{\"model\":\"a\",\"conversation\":{\"id\":\"conv_\\u0031\"},"
                         "\"background\":true,\"service_tier\":\"golden\","
                         "\"previous_response_id\":\"resp_1\",\"input\":\"hi\"}",
                         &facts, &fault),
        REASON_OK);
    assert_slice(facts.conversation, "conv_1");
    assert_slice(facts.previous_response_id, "resp_1");
    assert_true(facts.background);
    assert_true(facts_input_unbounded(&facts));
    assert_int_equal(facts.message_count, 1);
    assert_int_equal(facts_price_multiplier_pct(&facts), 0);

    assert_int_equal(read_body(API_MESSAGES,
                         "{\"model\":\"a\",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9},"
                         "\"metadata\":{\"user_id\":\"user_ab_account__session_11-22\"}}",
                         &facts, &fault),
        REASON_OK);
    assert_int_equal(facts.thinking_budget, 9);
    assert_slice(facts.metadata_session, "11-22");
}

static void
inputs_to_embed_count_themselves_where_they_are_tokens(void **state)
{
    static const struct {
        const char *input;
        int64_t tokens, texts;
        bool unbounded;
    } rows[] = {
        { "\"text\"", 0, 1, false },
        { "[\"a\",\"b\"]", 0, 2, false },
        { "[1, 2,3]", 3, 0, false },
        { "[[1],[2,3]]", 3, 2, false },
        { "[[1],\"a\"]", 0, 2, false }, /* the text is still to be counted */
        { "[]", 0, 0, false },
        { "[[]]", 0, 1, false },
        { "[[\"a\"]]", 0, 1, true },
        { "[{\"image\":\"...\"}]", 0, 0, true },
        { "{}", 0, 0, true },
        { "null", 0, 0, true },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf body = { 0 };
        struct facts facts;
        struct facts_fault fault;
        buf_addf(
            &body, "{\"model\":\"e\",\"input\":%s,\"dimensions\":8,\"stream\":1}", rows[i].input);
        assert_int_equal(read_body(API_EMBEDDINGS, buf_cstr(&body), &facts, &fault), REASON_OK);
        assert_int_equal(facts.input_tokens, rows[i].tokens);
        assert_int_equal(facts.message_count, rows[i].texts);
        assert_int_equal(facts_input_unbounded(&facts), rows[i].unbounded);
        assert_false(facts.stream);
        assert_true(rows[i].tokens ? facts_input_tokens_bound(&facts) == rows[i].tokens
                                   : facts_input_tokens_bound(&facts) >= (int64_t)body.len - 1);
        buf_free(&body);
    }
}

static void
stored_things_and_media_are_seen_where_they_count(void **state)
{
    static const struct {
        enum api api;
        const char *rest;
        const char *foreign;
        bool media;
        const char *server_tool;
    } rows[] = {
        { API_CHAT, "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]", "", false, "" },
        { API_CHAT,
            "\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":"
            "{\"url\":\"data:\"}}]}]",
            "", true, "" },
        { API_CHAT,
            "\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":"
            "{\"file_id\":\"file-1\"}}]}]",
            "file_id", true, "" },
        { API_CHAT,
            "\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":"
            "{\"fil\\u0065_id\":\"file-1\"}}]}]",
            "file_id", true, "" },
        { API_CHAT,
            "\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":"
            "{\"file_id\":\"file-1\",\"file_id\":null}}]}]",
            "file_id", true, "" },
        { API_MESSAGES,
            "\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":"
            "{\"type\":\"file\",\"file_id\":\"f\"}}]}]",
            "file_id", true, "" },
        { API_MESSAGES,
            "\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"content\":"
            "[{\"type\":\"image\",\"source\":{\"file_id\":\"f\"}}]}]}]",
            "file_id", true, "" },
        { API_MESSAGES,
            "\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":"
            "{\"file_id\":\"their own\"}}]}]",
            "", false, "" },
        { API_MESSAGES, "\"container\":\"container_1\"", "container", false, "" },
        { API_MESSAGES, "\"container\":{\"id\":\"c\",\"skills\":[]}", "container", false, "" },
        { API_MESSAGES, "\"container\":{\"skills\":[]}", "", false, "" },
        { API_MESSAGES, "\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"w\"}]", "", false,
            "web_search_20250305" },
        { API_MESSAGES, "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]", "", false,
            "" },
        { API_CHAT, "\"messages\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]",
            "item_reference", true, "" },
        { API_CHAT, "\"messages\":[{\"id\":\"msg_1\"}]", "item_reference", false, "" },
        { API_RESPONSES, "\"input\":[{\"type\":null,\"id\":[\"msg_1\"]}]", "item_reference", false,
            "" },
        { API_RESPONSES, "\"input\":[{\"type\":\"reasoning\",\"id\":1}]", "item_reference", false,
            "" },
        { API_RESPONSES, "\"input\":[{\"id\":\"msg_1\",\"role\":\"user\",\"content\":\"x\"}]", "",
            false, "" },
        { API_RESPONSES, "\"input\":[{\"type\":\"image_generation_call\",\"id\":\"ig_1\"}]", "",
            true, "" },
        { API_RESPONSES,
            "\"input\":[{\"type\":\"code_interpreter_call\",\"id\":\"ci_1\",\"container_id\":\"c\"}]",
            "container_id", true, "" },
        { API_RESPONSES,
            "\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],"
            "\"encrypted_content\":\"AAAA\"}]",
            "", false, "" },
        { API_CHAT, "\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"audio_1\"}}]",
            "audio", false, "" },
        { API_RESPONSES,
            "\"input\":[{\"type\":\"message\",\"content\":[{\"type\":\"input_image\","
            "\"file_id\":\"f\"}]}]",
            "file_id", true, "" },
        { API_RESPONSES, "\"tools\":[{\"type\":\"file_search\",\"vector_store_ids\":[\"vs\"]}]",
            "vector_store_ids", false, "file_search" },
        { API_RESPONSES,
            "\"tools\":[{\"type\":\"code_interpreter\",\"container\":{\"type\":\"auto\","
            "\"file_ids\":[\"f\"]}}]",
            "container", false, "code_interpreter" },
        { API_RESPONSES,
            "\"tools\":[{\"type\":\"code_interpreter\",\"container\":{\"type\":"
            "\"auto\",\"file_ids\":[]}}]",
            "", false, "code_interpreter" },
        { API_RESPONSES, "\"prompt\":{\"id\":\"pmpt_1\"}", "prompt", false, "" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf body = { 0 };
        struct facts facts;
        struct facts_fault fault;
        buf_addf(&body, "{\"model\":\"m\",%s}", rows[i].rest);
        assert_int_equal(read_body(rows[i].api, buf_cstr(&body), &facts, &fault), REASON_OK);
        assert_slice(facts.foreign_id_field, rows[i].foreign);
        assert_int_equal(facts.media, rows[i].media);
        assert_slice(facts.server_tool, rows[i].server_tool);
        buf_free(&body);
    }
}

static void
ids_of_items_are_found(void **state)
{
    static const struct {
        const char *input;
        const char *ids;  /* with a blank behind each; those told in the request with a '+' */
        bool unbounded;   /* it stands for more than its bytes */
    } rows[] = {
        { "\"hi\"", "", false },
        { "[{\"role\":\"user\",\"content\":\"hi\"}]", "", false },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}]", "rs_1 ", true },
        { "{\"id\":\"rs_1\",\"summary\":[],\"type\":\"reasoning\"}", "rs_1 ", true },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_\\u0031\",\"encrypted_content\":\"gAAA\"}]", "rs_1 ",
            false },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":null}]", "rs_1 ", true },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"content\":[]}]", "rs_1 ", true },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"content\":[{\"type\":\"reasoning_text\","
          "\"text\":\"so\"}]}]",
            "rs_1+ ", false },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"content\":[{\"type\":\"reasoning_text\","
          "\"text\":\"so\"}],\"encrypted_content\":\"gAAA\"}]",
            "rs_1 ", false },
        { "[{\"type\":\"reasoning\",\"id\":null,\"encrypted_content\":\"gAAA\"}]", "", false },
        { "[{\"type\":\"reasoning\",\"id\":\"\",\"encrypted_content\":\"gAAA\"}]", "", false },
        { "[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]", "msg_1 ", true },
        { "[{\"id\":\"msg_1\"}]", "msg_1 ", true },
        { "[{\"type\":null,\"id\":\"msg_1\"}]", "msg_1 ", true },
        { "[{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}]", "", false },
        { "[{\"id\":\"fc_1\",\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}]", "",
            false },
        { "[{\"id\":\"ws_1\",\"type\":\"web_search_call\",\"status\":\"completed\"}]", "ws_1 ", true },
        { "[{\"id\":\"x_1\",\"type\":\"of_tomorrow\"}]", "x_1 ", true },
        { "[{\"id\":\"their own\",\"type\":\"function_call_output\",\"output\":\"so\"}]", "", false },
        { "[{\"id\":\"their own\",\"type\":\"mcp_approval_response\",\"approval_request_id\":\"mcpr_1\"}]",
            "mcpr_1 ", true },
        { "[{\"id\":\"mcp_1\",\"type\":\"mcp_call\",\"approval_request_id\":null}]", "mcp_1 ", true },
        { "[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
          "\"id\":\"inner\"}]},{\"type\":\"item_reference\",\"id\":\"rs_2\"}]",
            "rs_1 rs_2 ", true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf body = { 0 }, ids = { 0 };
        struct facts facts;
        struct facts_fault fault;
        buf_addf(&body, "{\"model\":\"m\",\"input\":%s}", rows[i].input);
        assert_int_equal(read_body(API_RESPONSES, buf_cstr(&body), &facts, &fault), REASON_OK);
        for (uint32_t at = 0; at < facts.id_count; at++) {
            buf_add_slice(&ids, facts.ids[at].id);
            buf_add_str(&ids, facts.ids[at].told ? "+ " : " ");
        }
        assert_string_equal(buf_cstr(&ids), rows[i].ids);
        assert_slice(facts.foreign_id_field, "");
        assert_int_equal(facts_input_unbounded(&facts), rows[i].unbounded || facts.media);
        buf_free(&body);
        buf_free(&ids);
    }
}

static void
an_item_that_could_be_read_in_two_ways_is_refused(void **state)
{
    static const char *const items[] = {
        "{\"type\":\"reasoning\",\"id\":\"rs_mine\",\"id\":\"rs_yours\"}",
        "{\"type\":\"reasoning\",\"id\":\"rs_mine\",\"\\u0069d\":\"rs_yours\"}",
        "{\"type\":\"message\",\"id\":\"rs_yours\",\"type\":\"item_reference\"}",
    };
    for (size_t i = 0; i < countof(items); i++) {
        struct buf body = { 0 };
        struct facts facts;
        struct facts_fault fault;
        buf_addf(&body, "{\"model\":\"m\",\"input\":[%s]}", items[i]);
        assert_int_equal(read_body(API_RESPONSES, buf_cstr(&body), &facts, &fault),
            REASON_BODY_DUPLICATE_KEY);
        buf_free(&body);
    }
}

static void
ids_of_items_are_taken_up_to_a_bound(void **state)
{
    for (int more = 0; more <= 1; more++) {
        struct buf body = { 0 };
        struct facts facts;
        struct facts_fault fault;
        buf_add_str(&body, "{\"model\":\"m\",\"store\":false,\"input\":[");
        for (int i = 0; i < FACTS_IDS_MAX + more; i++) {
            buf_addf(&body, "%s{\"type\":\"reasoning\",\"id\":\"rs_%d\"}", i ? "," : "", i);
        }
        buf_add_str(&body, "]}");
        assert_int_equal(read_body(API_RESPONSES, buf_cstr(&body), &facts, &fault),
            more ? REASON_BODY_FIELD : REASON_OK);
        assert_int_equal(facts.id_count, FACTS_IDS_MAX);
        if (!more) {
            assert_slice(facts.ids[FACTS_IDS_MAX - 1].id, "rs_1023");
            assert_true(facts.unstored);
        }
        buf_free(&body);
    }
}

static void
input_bytes_are_at_least_the_text(void **state)
{
    static const struct {
        const char *body;
        int64_t bytes;
    } rows[] = {
        { "{\"model\":\"m\"}", 13 },
        { " {\n\t\"model\" : \"m\" }\n", 13 },
        { "{\"model\":\"\\u006d\"}", 13 },
        { "{\"model\":\"m\",\"messages\":[{\"content\":\"\\u00e9\\n\"}]}", 41 + 3 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct facts facts;
        struct facts_fault fault;
        assert_int_equal(read_body(API_CHAT, rows[i].body, &facts, &fault), REASON_OK);
        assert_int_equal(facts.input_bytes, rows[i].bytes);
        assert_true(facts_input_tokens_bound(&facts) > facts.input_bytes);
    }
}

static void
splices_change_what_they_must(void **state)
{
    static const struct {
        enum api api;
        const char *body, *model;
        int64_t limit;
        enum output_field field;
        bool usage;
        const char *sent;
    } rows[] = {
        { API_CHAT, "{\"model\":\"m\"}", "m", -1, 0, false, "{\"model\":\"m\"}" },
        { API_CHAT, " { \"model\" : \"m\" }\n", "vendor/m2", -1, 0, false,
            " { \"model\" : \"vendor/m2\" }\n" },
        { API_CHAT, "{\"model\":\"m\"}", "a\"b", -1, 0, false, "{\"model\":\"a\\u0022b\"}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":true}", "", -1, 0, true,
            "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":false}", "", -1, 0, true,
            "{\"model\":\"m\",\"stream\":false}" },
        { API_RESPONSES, "{\"model\":\"m\",\"stream\":true}", "", -1, 0, true,
            "{\"model\":\"m\",\"stream\":true}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":null}", "", -1, 0, true,
            "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":{ } }", "", -1, 0, true,
            "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true } }" },
        { API_CHAT, "{\"stream_options\":{\"x\":1},\"model\":\"m\",\"stream\":true}", "n", -1, 0,
            true,
            "{\"stream_options\":{\"include_usage\":true,\"x\":1},\"model\":\"n\",\"stream\":true}" },
        { API_CHAT,
            "{\"stream_options\":{\"include_usage\":false},\"model\":\"m\",\"stream\":true}", "",
            -1, 0, true,
            "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}" },
        { API_CHAT, "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}",
            "", -1, 0, true,
            "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}" },
        { API_MESSAGES, "{\"max_tokens\": 128000 ,\"model\":\"m\"}", "", 900, 0, false,
            "{\"max_tokens\": 900 ,\"model\":\"m\"}" },
        { API_MESSAGES, "{\"max_tokens\":800,\"model\":\"m\"}", "", 900, 0, false,
            "{\"max_tokens\":800,\"model\":\"m\"}" },
        { API_CHAT, "{\"max_tokens\":5000,\"max_completion_tokens\":100,\"model\":\"m\"}", "", 900,
            OUTPUT_MAX_COMPLETION_TOKENS, false,
            "{\"max_tokens\":900,\"max_completion_tokens\":100,\"model\":\"m\"}" },
        { API_CHAT, "{\"model\":\"m\"}", "", 900, OUTPUT_MAX_COMPLETION_TOKENS, false,
            "{\"max_completion_tokens\":900,\"model\":\"m\"}" },
        { API_CHAT, "{\"model\":\"m\",\"max_tokens\":null}", "", 900, OUTPUT_MAX_TOKENS, false,
            "{\"model\":\"m\",\"max_tokens\":900}" },
        { API_RESPONSES, "{\"model\":\"m\",\"stream\":true}", "n", 900, OUTPUT_MAX_OUTPUT_TOKENS,
            true, "{\"max_output_tokens\":900,\"model\":\"n\",\"stream\":true}" },
        { API_CHAT, "{\"model\":\"m\",\"stream\":true}", "n", 7, OUTPUT_MAX_TOKENS, true,
            "{\"stream_options\":{\"include_usage\":true},\"max_tokens\":7,\"model\":\"n\","
            "\"stream\":true}" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct facts facts;
        struct facts_fault fault;
        const struct slice body = slice_str(rows[i].body);
        assert_int_equal(read_body(rows[i].api, rows[i].body, &facts, &fault), REASON_OK);
        const struct splice_wishes wishes = { slice_str(rows[i].model), rows[i].limit,
            rows[i].field, rows[i].usage };
        struct splices splices;
        assert_true(splices_make(&facts, &wishes, body, &arena, &splices));

        struct buf sent = { 0 };
        struct splice_walk walk = { 0 };
        struct slice segment;
        while (splices_next(&splices, body, &walk, &segment)) {
            assert_true(segment.len > 0);
            buf_add_slice(&sent, segment);
        }
        assert_string_equal(buf_cstr(&sent), rows[i].sent);
        assert_int_equal(splices_length(&splices, body), sent.len);
        assert_int_equal(
            facts_read(rows[i].api, buf_slice(&sent), &arena, &facts, &fault), REASON_OK);
        buf_free(&sent);
    }
}

static void
arena_without_room_is_told(void **state)
{
    struct arena full = { .limit_bytes = 1 };
    struct facts facts;
    struct facts_fault fault;
    assert_int_equal(facts_read(API_CHAT, SLICE("{\"model\":\"\\u006d\"}"), &full, &facts, &fault),
        REASON_OVERLOADED);
    const struct slice body = SLICE("{\"model\":\"m\"}");
    assert_int_equal(facts_read(API_CHAT, body, &full, &facts, &fault), REASON_OK);
    const struct splice_wishes wishes = { SLICE("other"), -1, 0, false };
    struct splices splices;
    assert_false(splices_make(&facts, &wishes, body, &full, &splices));
    arena_free(&full);
}

static const struct CMUnitTest tests[] = {
    CASE("ids of items are found", ids_of_items_are_found),
    CASE("an item that could be read in two ways is refused",
        an_item_that_could_be_read_in_two_ways_is_refused),
    CASE("ids of items are taken up to a bound", ids_of_items_are_taken_up_to_a_bound),
    CASE("a body like Claude Code's is understood", body_of_claude_code),
    CASE("a body like Codex's is understood", body_of_codex),
    CASE("bodies that cannot be judged are refused", bodies_that_cannot_be_judged_are_refused),
    CASE("names too long and keys too many are refused",
        names_too_long_and_keys_too_many_are_refused),
    CASE("fields are read as what they say", fields_are_read),
    CASE("stored things and media are seen where they count",
        stored_things_and_media_are_seen_where_they_count),
    CASE("inputs to embed count themselves where they are tokens",
        inputs_to_embed_count_themselves_where_they_are_tokens),
    CASE("input bytes are at least the text", input_bytes_are_at_least_the_text),
    CASE("splices change what they must and nothing else", splices_change_what_they_must),
    CASE("an arena without room is told", arena_without_room_is_told),
};

static int
free_arena(void **state)
{
    arena_free(&arena);
    return 0;
}

int
main(void)
{
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
