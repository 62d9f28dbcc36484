/* tests/unit/policy/policy_test.c
 *
 * Goal: look-ups find exactly what is there; a price is found under the names that providers give a
 * model, and never for a model that only looks like it.
 * Method: one small policy, tables of names. */
#include "policy/policy.h"

#include "unit.h"

static struct price prices[] = { { .id = "anthropic/claude-x" }, { .id = "claude-haiku-4-5" },
    { .id = "claude-x" }, { .id = "gpt-5.5" }, { .id = "o3" }, { .id = "tiny:free" } };
static struct model models[] = { { .name = "a" }, { .name = "ab" }, { .name = "b" },
    { .name = "gpt-5.5" } };
static struct provider providers[] = { { .name = "openai" }, { .name = "anthropic" } };
static struct plan_cap plan_caps[] = { { "free", 1 }, { "pro", 20 }, { "staff", CAP_UNLIMITED } };
static struct limit limits[] = {
    { .name = "day", .limit_id = 7, .cap_default = 5, .plan_caps = plan_caps, .plan_cap_count = 3 },
    { .name = "none", .limit_id = 9, .cap_default = CAP_UNLIMITED },
};
static const char *plans[] = { "free", "pro" };

static struct policy policy = {
    .refs = 1,
    .prices = prices, .price_count = (int32_t)countof(prices),
    .models = models, .model_count = (int32_t)countof(models),
    .providers = providers, .provider_count = (int32_t)countof(providers),
    .limits = limits, .limit_count = (int32_t)countof(limits),
    .plans = plans, .plan_count = (int32_t)countof(plans),
};

static void
prices_are_found_by_alias(void **state)
{
    static const struct {
        const char *id, *found; /* NULL = unpriced */
    } rows[] = {
        { "gpt-5.5", "gpt-5.5" },
        { "gpt-5.5-2026-04-23", "gpt-5.5" },
        { "claude-haiku-4-5-20251001", "claude-haiku-4-5" },
        { "openai/gpt-5.5", "gpt-5.5" },
        { "openrouter/openai/gpt-5.5", "gpt-5.5" },
        { "openrouter/openai/gpt-5.5-2026-04-23:nitro", "gpt-5.5" },
        { "claude-x[1m]", "claude-x" },
        { "claude-haiku-4-5-20251001[1m]", "claude-haiku-4-5" },
        { "gpt-5.5:thinking", "gpt-5.5" },
        { "gpt-5.5:nitro:thinking", "gpt-5.5" },
        { "anthropic/claude-x", "anthropic/claude-x" }, /* the longest match */
        { "anthropic/claude-x-20260101", "anthropic/claude-x" },
        { "openrouter/anthropic/claude-x", "anthropic/claude-x" },
        /* a free variant is another offer: by its own id, or not at all */
        { "tiny:free", "tiny:free" },
        { "openrouter/openai/tiny:free", "tiny:free" },
        { "gpt-5.5:free", NULL },
        { "openai/gpt-5.5:free", NULL },
        { "gpt-5.5:free:nitro", NULL },
        /* only looks like it */
        { "", NULL },
        { "gpt-5", NULL },
        { "gpt-5.55", NULL },
        { "GPT-5.5", NULL },
        { "gpt-5.5-mini", NULL },
        { "gpt-5.5:online", NULL },
        { "gpt-5.5-2026-13-23", NULL },
        { "gpt-5.5-2026-00-10", NULL },
        { "gpt-5.5-20260432", NULL },
        { "gpt-5.5-1026-04-23", NULL },
        { "gpt-5.5-2026_04-23", NULL },
        { "gpt-5.5-2026-0423", NULL },
        { "gpt-5.520260423", NULL },
        { "-20260423", NULL },
        { "zai-org/gpt-5.5", NULL },
        { "openai/", NULL },
        { "[1m]", NULL },
        { "claude-x[1m", NULL },
        { "claude-haiku-4.5", NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct price *price = policy_price(&policy, slice_str(rows[i].id));
        if (!rows[i].found) {
            assert_null(price);
        } else {
            assert_non_null(price);
            assert_string_equal(price->id, rows[i].found);
        }
    }
    assert_null(policy_price(&(struct policy){ 0 }, SLICE("gpt-5.5")));
}

static void
names_are_exact(void **state)
{
    assert_int_equal(policy_model_index(&policy, SLICE("a")), 0);
    assert_int_equal(policy_model_index(&policy, SLICE("ab")), 1);
    assert_int_equal(policy_model_index(&policy, SLICE("b")), 2);
    assert_int_equal(policy_model_index(&policy, SLICE("gpt-5.5")), 3);
    static const char *const absent[] = { "", "A", "aa", "abc", "c", "gpt-5.5-2026-04-23", "gpt-5.5 " };
    for (size_t i = 0; i < countof(absent); i++) {
        assert_int_equal(policy_model_index(&policy, slice_str(absent[i])), -1);
    }
    assert_int_equal(policy_model_index(&policy, SLICE("a\0b")), -1);
    assert_int_equal(policy_model_index(&(struct policy){ 0 }, SLICE("a")), -1);

    assert_int_equal(policy_provider_index(&policy, SLICE("anthropic")), 1);
    assert_int_equal(policy_provider_index(&policy, SLICE("Anthropic")), -1);
    assert_true(policy_has_plan(&policy, SLICE("pro")));
    assert_false(policy_has_plan(&policy, SLICE("staff")));
    assert_ptr_equal(policy_limit_by_id(&policy, 9), &limits[1]);
    assert_null(policy_limit_by_id(&policy, 8));
}

static void
caps_go_by_plan(void **state)
{
    assert_int_equal(policy_cap(&limits[0], "free"), 1);
    assert_int_equal(policy_cap(&limits[0], "pro"), 20);
    assert_int_equal(policy_cap(&limits[0], "staff"), CAP_UNLIMITED);
    assert_int_equal(policy_cap(&limits[0], "other"), 5);
    assert_int_equal(policy_cap(&limits[0], NULL), 5);
    assert_int_equal(policy_cap(&limits[1], "free"), CAP_UNLIMITED);
}

static void
apis_have_words_and_paths(void **state)
{
    assert_string_equal(api_word(API_COUNT_TOKENS), "count_tokens");
    assert_string_equal(api_path(API_COUNT_TOKENS), "/v1/messages/count_tokens");
    for (int api = 0; api < API_COUNT; api++) {
        assert_non_null(api_word((enum api)api));
        assert_non_null(api_path((enum api)api));
    }
}

static void
last_reference_frees(void **state)
{
    struct policy *counted = policy_new();
    assert_non_null(counted);
    counted->providers = arena_alloc(&counted->arena, sizeof *counted->providers);
    assert_non_null(counted->providers);
    counted->provider_count = 1;
    counted->providers[0].company.secret = arena_strdup(&counted->arena, SLICE("sk-secret"));

    assert_ptr_equal(policy_ref(counted), counted);
    policy_unref(counted);
    assert_string_equal(counted->providers[0].company.secret, "sk-secret"); /* one is left */
    policy_unref(counted); /* the sanitizer sees a leak or a use after free */
    policy_unref(NULL);
}

static void
a_version_tells_what_the_policy_says(void **state)
{
    (void)state;
    static const struct {
        int64_t epoch, seq;
        const char *hash, *other_hash;
        int64_t other_epoch, other_seq;
        bool alike;
    } rows[] = {
        { 1, 1, "5f3a2100", "5f3a2100", 1, 1, true },
        { 1, 1, "5f3a2100", "5f3a2100", 2, 1, true },  /* after a restart */
        { 1, 1, "5f3a2100", "5f3a2100", 1, 3, true },  /* and once more, by a reload */
        { 1, 1, "5f3a2100", "5f3a2300", 1, 2, false }, /* edited */
        { 1, 1, "00000000", "00000000", 1, 2, true },  /* a hash like others */
        { 1, 1, "", "", 1, 1, true },                  /* the same one */
        { 1, 1, "", "", 1, 2, false },                 /* nobody knows */
        { 1, 1, "5f3a2100", "", 1, 2, false },
        { EPOCH_MAX, 1, "ffffffff", "ffffffff", EPOCH_MAX, (1 << POLICY_SEQ_BITS) - 1, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const int64_t version = policy_version_make(rows[i].epoch, rows[i].seq, rows[i].hash);
        const int64_t other = policy_version_make(rows[i].other_epoch, rows[i].other_seq, rows[i].other_hash);
        assert_true(version > 0 && other >= version);
        assert_int_equal(policy_version_alike(version, other), rows[i].alike);
        assert_int_equal(policy_version_alike(other, version), rows[i].alike);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("a price is found under a provider's names, never for a look-alike", prices_are_found_by_alias),
        CASE("names of models, providers, plans and limits are exact", names_are_exact),
        CASE("a cap goes by plan, else it is the default", caps_go_by_plan),
        CASE("every API has a word and a path", apis_have_words_and_paths),
        CASE("a version tells what the policy says", a_version_tells_what_the_policy_says),
        CASE("the last reference frees a policy", last_reference_frees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
