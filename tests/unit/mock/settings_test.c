/* tests/unit/mock/settings_test.c
 *
 * Goal: a configuration is taken whole or not at all; responses belong to the credential that got
 * them; failures are counted by their words; what is wrapped as gzip is gzip. */
#include "unit.h"

#include "mock/config_priv.h"
#include "mock/gzip_priv.h"
#include "mock/state_priv.h"

static void
settings_are_made_and_taken_back(void **state)
{
    struct mock_config config = { 0 };
    char why[200];
    assert_true(mock_config_read(&config,
        SLICE("{\"default\":\"tokens=1\",\"models\":{\"a\":\"tokens=2\",\"b\\u002d\":\"\"},"
              "\"credentials\":[\"sk-1\"]}"),
        why, sizeof why));
    assert_string_equal(config.words, "tokens=1");
    assert_true(slice_eq(mock_config_of_model(&config, SLICE("a")), SLICE("tokens=2")));
    assert_int_equal(config.model_count, 2);
    assert_true(mock_config_takes(&config, SLICE("sk-1")));
    assert_false(mock_config_takes(&config, SLICE("sk-2")));
    assert_false(mock_config_takes(&config, SLICE("")));

    assert_true(mock_config_read(&config,
        SLICE("{\"models\":{\"a\":null,\"c\":\"tps=5\"},\"credentials\":null}"), why, sizeof why));
    assert_string_equal(config.words, "tokens=1"); /* not named, not changed */
    assert_int_equal(mock_config_of_model(&config, SLICE("a")).len, 0);
    assert_true(slice_eq(mock_config_of_model(&config, SLICE("c")), SLICE("tps=5")));
    assert_true(mock_config_takes(&config, SLICE("sk-2")));
    assert_false(mock_config_takes(&config, SLICE("")));
    assert_true(mock_config_read(&config, SLICE("{\"default\":null}"), why, sizeof why));
    assert_null(config.words);
    mock_config_free(&config);
}

static void
a_bad_setting_changes_nothing(void **state)
{
    static const char *const bodies[] = { "", "[]", "{\"default\":5}", "{\"default\":\"x=1\"}",
        "{\"default\":\"tokens=9\",\"models\":[]}",
        "{\"default\":\"tokens=9\",\"models\":{\"a\":5}}", "{\"models\":{\"a\":\"nope=1\"}}",
        "{\"default\":\"tokens=9\",\"other\":1}", "{\"default\":\"tokens=9\"",
        "{\"credentials\":[5]}", "{\"credentials\":\"sk\"}" };
    struct mock_config config = { 0 };
    char why[200];
    assert_true(mock_config_read(
        &config, SLICE("{\"default\":\"tokens=1\",\"credentials\":[\"sk-1\"]}"), why, sizeof why));
    for (size_t i = 0; i < countof(bodies); i++) {
        why[0] = '\0';
        assert_false(mock_config_read(&config, slice_str(bodies[i]), why, sizeof why));
        assert_true(strlen(why) > 0);
        assert_string_equal(config.words, "tokens=1");
        assert_int_equal(config.model_count, 0);
        assert_true(mock_config_takes(&config, SLICE("sk-1")));
        assert_false(mock_config_takes(&config, SLICE("sk")));
    }
    mock_config_free(&config);
}

static void
responses_belong_to_their_credential(void **state)
{
    struct mock_state given;
    assert_true(mock_state_open(&given));
    mock_state_give(&given, SLICE("resp_1"), SLICE("sk-1"), 40);
    assert_int_equal(mock_state_find(&given, SLICE("resp_1"), SLICE("sk-1"))->context_tokens, 40);
    assert_null(mock_state_find(&given, SLICE("resp_1"), SLICE("sk-2")));
    assert_null(mock_state_find(&given, SLICE("resp_2"), SLICE("sk-1")));
    for (int i = 0; i < MOCK_RESPONSES_MAX; i++) { /* the oldest is forgotten */
        mock_state_give(&given, slice_of((const char *)&i, sizeof i), SLICE("sk-1"), 1);
    }
    assert_null(mock_state_find(&given, SLICE("resp_1"), SLICE("sk-1")));
    assert_int_equal(given.responses.count, MOCK_RESPONSES_MAX);
    mock_state_close(&given);
}

static void
failures_are_counted_by_their_words(void **state)
{
    struct mock_state counted;
    assert_true(mock_state_open(&counted));
    assert_int_equal(mock_state_count(&counted, SLICE("a")), 0);
    assert_int_equal(mock_state_count(&counted, SLICE("a")), 1);
    assert_int_equal(mock_state_count(&counted, SLICE("b")), 0);
    assert_int_equal(mock_state_count(&counted, SLICE("a")), 2);
    mock_state_forget_counts(&counted);
    assert_int_equal(mock_state_count(&counted, SLICE("a")), 0);
    mock_state_close(&counted);
}

static void
gzip_holds_the_text(void **state)
{
    static const unsigned char hello[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1, 5, 0, 0xfa,
        0xff, 'h', 'e', 'l', 'l', 'o', 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0 };
    struct buf out = { 0 };
    mock_gzip(SLICE("hello"), &out);
    assert_int_equal(out.len, sizeof hello);
    assert_memory_equal(out.ptr, hello, sizeof hello);
    buf_clear(&out);
    mock_gzip(SLICE(""), &out);
    assert_int_equal(out.len, 10 + 5 + 8);
    buf_free(&out);
}

static const struct CMUnitTest tests[] = {
    CASE("settings are made and taken back", settings_are_made_and_taken_back),
    CASE("a bad setting changes nothing", a_bad_setting_changes_nothing),
    CASE("responses belong to their credential", responses_belong_to_their_credential),
    CASE("failures are counted by their words", failures_are_counted_by_their_words),
    CASE("gzip holds the text", gzip_holds_the_text),
};

UNIT_MAIN(tests)
