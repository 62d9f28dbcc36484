/* tests/unit/conf/prices_test.c
 *
 * Goal: price books arrive exactly, gaps are filled as the book says, and a number that cannot be a price is
 * refused with its model, its field and its line.
 * Method: small books of both forms, the built-in one, and tables of wrong ones. */
#include "load.h"

#include <stdio.h>

#include "price/price.h"

static struct conf_error error;
static struct conf_import counts;

static const char *
import(struct buf *out, const char *text)
{
    buf_clear(out);
    return conf_prices_import("book.json", slice_str(text), out, &counts, &error) == STATUS_OK ? buf_cstr(out) : error.text;
}

#define HEAD "{\"source\":\"book.json\",\"unit\":\"micro-USD per million tokens\",\"models\":["

static void
built_in_book(void **state)
{
    struct policy *policy = load(P M);
    const struct price *price = policy_price(policy, SLICE("claude-opus-5-5"));
    assert_int_equal(policy->price_count, 73);
    assert_int_equal(price->base.input, 4000000);
    assert_int_equal(price->base.output, 20000000);
    assert_int_equal(price->base.cache_read, 200000);
    assert_int_equal(price->base.cache_write_5m, 5000000);
    assert_int_equal(price->base.cache_write_1h, 8000000);
    assert_int_equal(price->context, 1000000);
    assert_int_equal(price->max_output, 128000);

    price = policy_price(policy, SLICE("gpt-5.5"));
    assert_int_equal(price->tier_count, 1);
    assert_int_equal(price->tiers[0].above_input_tokens, 272000);
    assert_int_equal(price->tiers[0].set.input, 10000000);
    for (int32_t i = 0; i < policy->price_count; i++) {
        assert_true(policy->prices[i].base.cache_read >= 0);
        assert_true(i == 0 || strcmp(policy->prices[i - 1].id, policy->prices[i].id) < 0);
    }
    policy_unref(policy);
}

static void
null_cache_prices_are_filled(void **state)
{
    struct policy *policy = load(P M);
    /* the book has no write price of gpt-5.5, neither below nor above 272,000 tokens */
    const struct price *price = policy_price(policy, SLICE("gpt-5.5"));
    assert_int_equal(price->base.cache_write_5m, 5000000);
    assert_int_equal(price->base.cache_write_1h, 5000000);
    assert_int_equal(price->tiers[0].set.cache_write_5m, 10000000);
    const struct price *small = policy_price(policy, SLICE("text-embedding-3-small"));
    const struct usage usage = { .cache_read = 1000000, .cost_micros = -1, .known = USAGE_INPUT };
    const struct cost cost = price_cost(small, &usage, 100);
    assert_int_equal(cost.micros, 20000);
    assert_int_equal(cost.flags, 0);
    policy_unref(policy);

    /* one written by hand stays as it is, and the usage is marked */
    policy = load(MODEL("price: {input: 3 USD, output: 15 USD, cache_read: null}, routes: [{provider: p}]"));
    const struct usage mixed = { .input = 1000, .cache_read = 1000, .cost_micros = -1, .known = USAGE_INPUT };
    const struct cost partly = price_cost(model_of(policy, "m")->routes[0].price, &mixed, 100);
    assert_int_equal(partly.micros, 3000);
    assert_int_equal(partly.flags, COST_PARTLY_PRICED);
    policy_unref(policy);
}

static void
normal_form_is_kept(void **state)
{
    struct buf out = { 0 };
    struct buf again = { 0 };
    assert_string_equal(import(&out,
        "{\"models\":[{\"id\":\"b\",\"input\":2,\"output\":3,\"cache_write\":5,\"context\":7,\"max_output\":8,"
        "\"tiers\":[{\"above_input_tokens\":100,\"input\":4,\"output\":6,\"cache_read\":null}]},"
        "{\"id\":\"a\",\"input\":0,\"output\":0,\"released\":null}]}"),
        HEAD "\n{\"id\":\"a\",\"input\":0,\"output\":0,\"cache_read\":0,\"cache_write\":0,\"cache_write_1h\":0},"
        "\n{\"id\":\"b\",\"input\":2,\"output\":3,\"cache_read\":2,\"cache_write\":5,\"cache_write_1h\":5,\"context\":7,"
        "\"max_output\":8,\"tiers\":[{\"above_input_tokens\":100,\"input\":4,\"output\":6,\"cache_read\":4,"
        "\"cache_write\":4,\"cache_write_1h\":4}]}\n]}\n");
    assert_string_equal(import(&again, buf_cstr(&out)), buf_cstr(&out));
    buf_free(&out);
    buf_free(&again);
}

#define ENTRY(id, fields) "\"" id "\":{\"litellm_provider\":\"x\",\"mode\":\"chat\"," fields "}"
#define COSTS(input, output) "\"input_cost_per_token\":" input ",\"output_cost_per_token\":" output

static void
litellm_is_exact(void **state)
{
    static const struct {
        const char *json, *models;
    } rows[] = {
        { "{\"sample_spec\":{\"mode\":\"one of: chat\",\"input_cost_per_token\":0.0},"
          ENTRY("m", COSTS("3e-06", "1.5e-05")) "}",
          "\n{\"id\":\"m\",\"input\":3000000,\"output\":15000000,\"cache_read\":3000000,\"cache_write\":3000000,\"cache_write_1h\":3000000}" },
        /* digits that a double would lose, and what is finer than the unit goes up */
        { "{" ENTRY("m", COSTS("0.000000123456", "1.0000000000001e-6")) "}",
          "\n{\"id\":\"m\",\"input\":123456,\"output\":1000001,\"cache_read\":123456,\"cache_write\":123456,\"cache_write_1h\":123456}" },
        { "{" ENTRY("m", COSTS("1e-6", "2e-6") ",\"cache_read_input_token_cost\":1e-7,\"cache_creation_input_token_cost\":1.25e-6,"
          "\"cache_creation_input_token_cost_above_1hr\":2e-6,\"max_input_tokens\":200000,\"max_output_tokens\":64000,\"max_tokens\":1") "}",
          "\n{\"id\":\"m\",\"input\":1000000,\"output\":2000000,\"cache_read\":100000,\"cache_write\":1250000,\"cache_write_1h\":2000000,"
          "\"context\":200000,\"max_output\":64000}" },
        { "{" ENTRY("m", COSTS("1e-6", "2e-6") ",\"max_input_tokens\":\"see docs\",\"max_tokens\":8192.0") "}",
          "\n{\"id\":\"m\",\"input\":1000000,\"output\":2000000,\"cache_read\":1000000,\"cache_write\":1000000,\"cache_write_1h\":1000000,"
          "\"max_output\":8192}" },
        /* tiers by suffix; what a tier does not say stays as it is below */
        { "{" ENTRY("m", COSTS("1e-6", "2e-6") ",\"cache_read_input_token_cost\":1e-7,\"input_cost_per_token_above_200k_tokens\":2e-6,"
          "\"output_cost_per_token_above_200k_tokens\":3e-6,\"input_cost_per_token_above_128k_tokens\":1.5e-6,"
          "\"input_cost_per_token_batches\":5e-7,\"input_cost_per_token_above_200k_tokens_batches\":1") "}",
          "\n{\"id\":\"m\",\"input\":1000000,\"output\":2000000,\"cache_read\":100000,\"cache_write\":1000000,\"cache_write_1h\":1000000,"
          "\"tiers\":[{\"above_input_tokens\":128000,\"input\":1500000,\"output\":2000000,\"cache_read\":100000,\"cache_write\":1500000,\"cache_write_1h\":1500000},"
          "{\"above_input_tokens\":200000,\"input\":2000000,\"output\":3000000,\"cache_read\":100000,\"cache_write\":2000000,\"cache_write_1h\":2000000}]}" },
        { "{" ENTRY("m", "\"tiered_pricing\":[{\"range\":[0,32000.0]," COSTS("1e-6", "5e-6") "},{\"range\":[32000.0,1e6]," COSTS("2e-6", "9e-6") "}]") "}",
          "\n{\"id\":\"m\",\"input\":1000000,\"output\":5000000,\"cache_read\":1000000,\"cache_write\":1000000,\"cache_write_1h\":1000000,"
          "\"tiers\":[{\"above_input_tokens\":32000,\"input\":2000000,\"output\":9000000,\"cache_read\":2000000,\"cache_write\":2000000,\"cache_write_1h\":2000000}]}" },
        /* the dearer of two figures that no usage can tell apart */
        { "{" ENTRY("m", COSTS("1e-6", "2e-6") ",\"output_cost_per_reasoning_token\":3e-6") "}",
          "\n{\"id\":\"m\",\"input\":1000000,\"output\":3000000,\"cache_read\":1000000,\"cache_write\":1000000,\"cache_write_1h\":1000000}" },
        /* passed by: not billed by tokens on both sides, other modes, names that nobody could ask for */
        { "{" ENTRY("m", COSTS("0", "0.0")) "," ENTRY("half", "\"input_cost_per_token\":1e-6") ","
          ENTRY("two words", COSTS("1e-6", "1e-6")) ",\"pic\":{\"mode\":\"image_generation\"," COSTS("-1", "1e-6") "},"
          "\"nomode\":{" COSTS("1e-6", "1e-6") "},\"emb\":{\"mode\":\"embedding\",\"input_cost_per_token\":2e-8}}",
          "\n{\"id\":\"emb\",\"input\":20000,\"output\":0,\"cache_read\":20000,\"cache_write\":20000,\"cache_write_1h\":20000},"
          "\n{\"id\":\"m\",\"input\":0,\"output\":0,\"cache_read\":0,\"cache_write\":0,\"cache_write_1h\":0}" },
    };
    struct buf out = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf expected = { 0 };
        buf_addf(&expected, HEAD "%s\n]}\n", rows[i].models);
        assert_string_equal(import(&out, rows[i].json), buf_cstr(&expected));
        buf_free(&expected);
    }
    /* the last row passes some by, and they are counted */
    assert_int_equal(counts.taken, 2);
    assert_int_equal(counts.other_mode, 2);
    assert_int_equal(counts.unpriced, 1);
    assert_int_equal(counts.odd_name, 1);
    buf_free(&out);
}

static void
wrong_books_are_refused(void **state)
{
    static const struct {
        const char *json, *message;
    } rows[] = {
        { "", "book.json: the file is empty" },
        { "[]", "book.json:1:1: a price book is an object" },
        { "{}", "book.json:1:1: this price book prices no model" },
        { "{\"models\":[]}", "book.json:1:1: this price book prices no model" },
        { "{\"a\":1}", "book.json:1:2: this is neither a price book with a list of 'models' nor a mapping of models to prices" },
        { "{\"models\":[\n{\"id\":\"a\",\"input\":-1,\"output\":1}]}",
            "book.json:2:19: model 'a', field 'input': '-1' is no whole number from 0 to 1000000000000" },
        { "{\"models\":[\n{\"id\":\"a\",\"input\":1.5,\"output\":1}]}",
            "book.json:2:19: model 'a', field 'input': '1.5' is no whole number from 0 to 1000000000000" },
        { "{\"models\":[\n{\"id\":\"a\",\"input\":1,\"output\":1000000000001}]}",
            "book.json:2:30: model 'a', field 'output': '1000000000001' is no whole number from 0 to 1000000000000" },
        { "{\"models\":[\n{\"id\":\"a\",\"input\":null,\"output\":\"1\"}]}",
            "book.json:2:19: model 'a', field 'input': 'null' is no whole number from 0 to 1000000000000\n"
            "book.json:2:33: model 'a', field 'output': '1' is no whole number from 0 to 1000000000000" },
        { "{\"models\":[\n{\"id\":\"a\",\"output\":1}]}", "book.json:2:1: model 'a', field 'input' is missing" },
        { "{\"models\":[\n{\"id\":\"a\",\"input\":1,\"output\":1,\"cache_raed\":1}]}",
            "book.json:2:32: model 'a': a price has no field 'cache_raed'" },
        { "{\"models\":[\n{\"input\":1,\"output\":1}]}", "book.json:2:1: an entry of 'models' is an object with the model's 'id'" },
        { "{\"models\":[\n{\"input\":1,\"id\":\"two words\",\"output\":1}]}",
            "book.json:2:17: a model's id has up to 127 letters, digits and any of -_.:/@+[]; this is 'two words'" },
        { "{\"models\":[\n{\"input\":1,\"id\":[],\"output\":1}]}", "book.json:2:17: an entry of 'models' is an object with the model's 'id'" },
        { "{\"models\":[7]}", "book.json:1:12: an entry of 'models' is an object with the model's 'id'" },
        { "{\"models\":[{\"id\":\"a\",\"input\":1,\"output\":1},\n{\"id\":\"a\",\"input\":1,\"output\":1}]}",
            "book.json:2:7: model 'a' is given twice; the first is in line 1" },
        { "{\"models\":[{\"id\":\"a\",\"input\":1,\"input\":1,\"output\":1}]}",
            "book.json:1:32: 'input' is given twice; the first is in line 1" },
        { "{\"models\":[{\"id\":\"a\",\"input\":1,\"output\":1,\"tiers\":[{\"above_input_tokens\":5,\"input\":1,\"output\":1},"
          "{\"above_input_tokens\":5,\"input\":1,\"output\":1}]}]}",
            "book.json:1:98: model 'a': tiers must rise from a threshold above 0" },
        { "{\"models\":[{\"id\":\"a\",\"input\":1,\"output\":1,\"tiers\":{}}]}",
            "book.json:1:51: model 'a', field 'tiers' must be a list of at most 4" },
        { "{\"unit\":\"USD per token\",\"models\":[{\"id\":\"a\",\"input\":1,\"output\":1}]}",
            "book.json:1:9: a price book's unit is micro-USD per million tokens; this is 'USD per token'" },
        { "{\"models\":[{\"id\":\"a\",\"input\":1,\"output\":1}", "book.json:2:1: this is not JSON: did not find expected ',' or ']', while parsing a flow sequence" },
        { "{" ENTRY("m", COSTS("-1e-6", "1e-6")) "}",
            "book.json:1:67: model 'm', field 'input_cost_per_token': '-1e-6' is no price in USD per token from 0 to 1" },
        { "{" ENTRY("m", COSTS("1e-6", "1.1")) "}",
            "book.json:1:96: model 'm', field 'output_cost_per_token': '1.1' is no price in USD per token from 0 to 1" },
        { "{" ENTRY("m", COSTS("-0", "NaN")) "}",
            "book.json:1:67: model 'm', field 'input_cost_per_token': '-0' is no price in USD per token from 0 to 1\n"
            "book.json:1:94: model 'm', field 'output_cost_per_token': 'NaN' is no price in USD per token from 0 to 1" },
        { "{" ENTRY("m", COSTS("\"1e-6\"", "1e-6")) "}",
            "book.json:1:67: model 'm', field 'input_cost_per_token': '1e-6' is no price in USD per token from 0 to 1" },
    };
    struct buf out = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_string_equal(import(&out, rows[i].json), rows[i].message);
        assert_int_equal(out.len, 0);
    }
    buf_free(&out);
}

/* Tabs, escapes and other ways in which JSON is laid out. */
static void
json_of_any_layout_is_read(void **state)
{
    struct buf out = { 0 };
    assert_string_equal(import(&out, "{\r\n\t\"models\" :\t[\r\n\t\t{ \"id\":\"a\\/b\\u002dc\" ,\t\"input\" : 1, \"output\": 1, \"note\":\"\\u00e4 \\\"x\\\" \\n\" }\r\n\t]\r\n}\r\n"),
        HEAD "\n{\"id\":\"a/b-c\",\"input\":1,\"output\":1,\"cache_read\":1,\"cache_write\":1,\"cache_write_1h\":1}\n]}\n");
    buf_free(&out);
}

static void
damaged_books(void **state)
{
    static const char book[] = "{" ENTRY("m", COSTS("1e-6", "2e-6") ",\"tiered_pricing\":[{\"range\":[0,32000.0]," COSTS("1e-6", "5e-6") "}],"
        "\"input_cost_per_token_above_200k_tokens\":2e-6") "}";
    struct buf out = { 0 };
    uint64_t seed = 7;
    for (size_t len = 0; len < sizeof book; len++) {
        for (int flips = 0; flips < 4; flips++) {
            char *text = malloc(len + 1);
            assert_non_null(text);
            memcpy(text, book, len);
            for (int i = 0; i < flips && len > 0; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                text[(seed >> 33) % len] = "{}[]:,-#&*!\"' \n0e.\xff"[(seed >> 20) % 20];
            }
            buf_clear(&out);
            if (conf_prices_import("book.json", slice_of(text, len), &out, &counts, &error) != STATUS_OK) {
                assert_memory_equal(error.text, "book.json:", 10);
            }
            free(text);
        }
    }
    buf_free(&out);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("the built-in book arrives exactly and sorted", built_in_book),
        CASE("SL-10 a null cache price of a book is filled with the input price, of a hand-written price it adds nothing", null_cache_prices_are_filled),
        CASE("a book of the normal form is kept as it is", normal_form_is_kept),
        CASE("LiteLLM's prices are taken exactly", litellm_is_exact),
        CASE("wrong books are refused with model, field and place", wrong_books_are_refused),
        CASE("JSON of any layout is read", json_of_any_layout_is_read),
        CASE("a damaged book never does more than being refused", damaged_books),
    };
    return cmocka_run_group_tests(tests, conf_test_start, NULL);
}
