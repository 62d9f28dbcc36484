/* tests/unit/mock/behaviour_test.c
 *
 * Goal: the words of a model id set what they name, and nonsense is refused by name.
 * Method: tables of words. */
#include "unit.h"

#include "base/arena.h"
#include "base/buf.h"
#include "mock/behaviour_priv.h"
#include "wire/json.h"

static void
words_set_what_they_name(void **state)
{
    struct mock_behaviour_fault fault;
    struct mock_behaviour behaviour = mock_behaviour_default();
    assert_true(mock_behaviour_read(&behaviour,
        SLICE("tokens=50,tps=200, ttft_ms=20,cut_after=0,status=429,usage=malformed,text=a%2Cb,"
              "cost=0.00506,headers=unified:1.04:0.30,error=spend_cap,retry_after=2.5,tag="),
        &fault));
    assert_int_equal(behaviour.tokens, 50);
    assert_int_equal(behaviour.tps, 200);
    assert_int_equal(behaviour.ttft_ms, 20);
    assert_int_equal(behaviour.cut_after, 0);
    assert_int_equal(behaviour.status, 429);
    assert_int_equal(behaviour.usage, MOCK_USAGE_MALFORMED);
    assert_int_equal(behaviour.error, MOCK_ERROR_SPEND_CAP);
    assert_true(slice_eq(behaviour.text, SLICE("a%2Cb")));
    assert_true(slice_eq(behaviour.retry_after, SLICE("2.5")));
    assert_int_equal(behaviour.stall_after, -1); /* unset is not zero */
    assert_null(behaviour.tool_name.ptr);
}

static void
later_words_win(void **state)
{
    struct mock_behaviour_fault fault;
    struct mock_behaviour behaviour = mock_behaviour_default();
    assert_true(mock_behaviour_read(&behaviour, SLICE("tokens=1,tps=5,tokens=2"), &fault));
    assert_true(mock_behaviour_read(&behaviour, SLICE("tokens=3"), &fault));
    assert_true(mock_behaviour_read(&behaviour, SLICE(""), &fault));
    assert_int_equal(behaviour.tokens, 3);
    assert_int_equal(behaviour.tps, 5);
}

static void
nonsense_is_refused_by_name(void **state)
{
    static const struct {
        const char *words, *named;
    } rows[] = {
        { "tokns=5", "tokns" },
        { "tokens", "tokens" },
        { "=5", "=5" },
        { "tokens=", "tokens" },
        { "tokens=-1", "tokens" },
        { "tokens=+5", "tokens" },
        { "tokens=5 0", "tokens" },
        { "tokens=1e3", "tokens" },
        { "tokens=10000001", "tokens" },
        { "tokens=99999999999999999999", "tokens" },
        { "bpt=0", "bpt" },
        { "status=99", "status" },
        { "status=200", "status" },
        { "status=600", "status" },
        { "hang=2", "hang" },
        { "usage=some", "usage" },
        { "error=none", "error" },
        { "text=%", "text" },
        { "text=%2", "text" },
        { "text=%zz", "text" },
        { "args=%", "args" },
        { "cost=free", "cost" },
        { "cost=-1", "cost" },
        { "headers=all", "headers" },
        { "headers=unified:", "headers" },
        { "headers=unified:x", "headers" },
        { "headers=unified:0.1:0.2:0.3", "headers" },
        { "tokens=5,,tps=x", "tps" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct mock_behaviour behaviour = mock_behaviour_default();
        struct mock_behaviour_fault fault = { "" };
        assert_false(mock_behaviour_read(&behaviour, slice_str(rows[i].words), &fault));
        assert_non_null(strstr(fault.text, rows[i].named));
    }
}

static void
a_very_long_word_is_named_in_part(void **state)
{
    static char words[4096];
    memset(words, 'x', sizeof words - 1);
    struct mock_behaviour behaviour = mock_behaviour_default();
    struct mock_behaviour_fault fault;
    assert_false(mock_behaviour_read(&behaviour, slice_str(words), &fault));
    assert_true(strlen(fault.text) < sizeof fault.text);
}

static void
errors_have_their_status(void **state)
{
    static const struct {
        const char *words;
        int status;
    } rows[] = {
        { "", 0 },
        { "tokens=5", 0 },
        { "status=503", 503 },
        { "html=1", 502 },
        { "html=1,status=520", 520 },
        { "error=credits", 402 },
        { "error=gemini,status=503", 503 },
        { "error=plain", 500 },
        { "fail_first=2", 500 },
        { "fail_first=2,status=429", 429 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct mock_behaviour behaviour = mock_behaviour_default();
        struct mock_behaviour_fault fault;
        assert_true(mock_behaviour_read(&behaviour, slice_str(rows[i].words), &fault));
        assert_int_equal(mock_behaviour_error_status(&behaviour), rows[i].status);
    }
}

static void
models_and_paths_carry_words(void **state)
{
    struct slice words;
    struct slice rest;
    assert_true(mock_behaviour_of_model(SLICE("mock:tokens=1"), &words));
    assert_true(slice_eq(words, SLICE("tokens=1")));
    assert_true(mock_behaviour_of_model(SLICE("mock:"), &words));
    assert_int_equal(words.len, 0);
    assert_false(mock_behaviour_of_model(SLICE("mock"), &words));
    assert_false(mock_behaviour_of_model(SLICE("gpt-5.5"), &words));

    assert_true(mock_behaviour_of_path(SLICE("/~tps=5/v1/models"), &words, &rest));
    assert_true(slice_eq(words, SLICE("tps=5")));
    assert_true(slice_eq(rest, SLICE("/v1/models")));
    assert_true(mock_behaviour_of_path(SLICE("/~"), &words, &rest));
    assert_int_equal(words.len, 0);
    assert_int_equal(rest.len, 0);
    assert_false(mock_behaviour_of_path(SLICE("/v1/~tps=5/models"), &words, &rest));
    assert_false(mock_behaviour_of_path(SLICE(""), &words, &rest));
}

static void
kept_texts_outlive_their_words(void **state)
{
    char words[] = "text=hello,tag=t";
    struct arena arena = { 0 };
    struct mock_behaviour_fault fault;
    struct mock_behaviour behaviour = mock_behaviour_default();
    assert_true(mock_behaviour_read(&behaviour, slice_str(words), &fault));
    assert_true(mock_behaviour_keep(&behaviour, &arena));
    memset(words, '#', sizeof words);
    assert_true(slice_eq(behaviour.text, SLICE("hello")));
    assert_true(slice_eq(behaviour.tag, SLICE("t")));
    assert_null(behaviour.cost.ptr); /* unset stays unset */
    arena_free(&arena);
}

static void
the_list_of_keys_is_json(void **state)
{
    struct buf out = { 0 };
    struct json_value value;
    mock_behaviour_keys_json(&out);
    assert_false(out.failed);
    assert_true(json_check(buf_slice(&out), &value));
    assert_true(json_get(buf_slice(&out), "keys.tokens.what", &value));
    assert_true(json_get(buf_slice(&out), "keys.usage.values.malformed", &value));
    assert_true(json_get(buf_slice(&out), "keys.error.values.gemini", &value));
    buf_free(&out);
}

static const struct CMUnitTest tests[] = {
    CASE("words set what they name", words_set_what_they_name),
    CASE("later words win", later_words_win),
    CASE("nonsense is refused by name", nonsense_is_refused_by_name),
    CASE("a very long word is named in part", a_very_long_word_is_named_in_part),
    CASE("errors have their status", errors_have_their_status),
    CASE("models and paths carry words", models_and_paths_carry_words),
    CASE("kept texts outlive their words", kept_texts_outlive_their_words),
    CASE("the list of keys is JSON", the_list_of_keys_is_json),
};

UNIT_MAIN(tests)
