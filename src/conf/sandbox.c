/* conf/sandbox.c: the configuration without a file, and the one that `tidegate init` writes. */
#include <stdio.h>

#include "conf/conf_priv.h"

extern const char conf_sample_text[]; /* data/tidegate.yaml, NUL-terminated */

#define MOCK_SECRET "sandbox" /* the simulated provider takes any credential, but wants one */

const char *
conf_sample(void)
{
    return conf_sample_text;
}

/* Public name, tier, how its model at the simulated provider behaves, how it is priced. */
static const struct {
    const char *name, *tier, *mock, *price;
} sandbox_models[] = {
    { "sandbox", "free", "mock:tokens=60,tps=40",
        "price: {input: 1 USD, output: 5 USD, cache_read: 0.10 USD, cache_write: 1.25 USD}" },
    { "sandbox-reasoning", "premium", "mock:tokens=60,tps=40,hidden_reasoning=900",
        "hidden_reasoning: true, price_as: gpt-5.5" },
    { "claude-opus-5-5", "premium", "mock:tokens=120,tps=40", "price_as: claude-opus-5-5" },
    { "claude-opus-4-6", "premium", "mock:tokens=120,tps=40", "price_as: claude-opus-4-6" },
    { "claude-sonnet-5", "premium", "mock:tokens=80,tps=60", "price_as: claude-sonnet-5" },
    { "claude-sonnet-4-6", "premium", "mock:tokens=80,tps=60", "price_as: claude-sonnet-4-6" },
    { "claude-haiku-4-5", "free", "mock:tokens=40,tps=100", "price_as: claude-haiku-4-5" },
    { "claude-haiku-4-5-20251001", "free", "mock:tokens=40,tps=100", "price_as: claude-haiku-4-5" },
    { "gpt-5.5", "premium", "mock:tokens=80,tps=60", "price_as: gpt-5.5" },
    { "gpt-5.3-codex", "premium", "mock:tokens=80,tps=60", "price_as: gpt-5.3-codex" },
    { "gpt-5-mini", "free", "mock:tokens=40,tps=100", "price_as: gpt-5-mini" },
    { "glm-5.2", "free", "mock:tokens=60,tps=60", "price_as: glm-5.2" },
};

/* Each model can be called in every dialect: the simulated provider speaks them all. */
static void
write_model(struct buf *yaml, size_t at)
{
    const char *mock = sandbox_models[at].mock;
    buf_addf(yaml, "  %s: {tier: %s, %s, routes: [", sandbox_models[at].name,
        sandbox_models[at].tier, sandbox_models[at].price);
    buf_addf(yaml, "{provider: mock, model: \"%s\"}, {provider: mock-anthropic, model: \"%s\"}]}\n",
        mock, mock);
}

static void
write_sandbox(struct buf *yaml, uint16_t mock_port, const char *store, const char *listen)
{
    buf_add_str(yaml, "listen: ");
    buf_add_json(yaml, slice_str(listen));
    buf_add_str(yaml, "\nstore: ");
    buf_add_json(yaml, slice_str(store));
    buf_addf(yaml,
        "\nproviders:\n"
        "  mock: {dialect: openai, apis: [chat, responses], on_abort: stops,\n"
        "    base_url: \"http://127.0.0.1:%u/v1\"}\n"
        "  mock-anthropic: {dialect: anthropic, base_url: \"http://127.0.0.1:%u\", on_abort: stops}\n"
        "  mock-embeddings: {dialect: openai, apis: [embeddings], base_url: \"http://127.0.0.1:%u/v1\"}\n"
        "models:\n",
        (unsigned)mock_port, (unsigned)mock_port, (unsigned)mock_port);
    for (size_t i = 0; i < countof(sandbox_models); i++) {
        write_model(yaml, i);
    }
    buf_add_str(yaml,
        "  text-embedding-3-small: {tier: free, routes: [{provider: mock-embeddings}]}\n"
        "plans: {free: {}, pro: {}}\n"
        "limits:\n"
        "  month-spend: {counts: cost, per: account, window: month, cap: 50 USD}\n"
        "  per-minute: {counts: requests, per: key, window: {rate: 60/min, burst: 60}}\n"
        "  parallel: {counts: in_flight, per: account, cap: 8}\n");
}

/* A file can only name secrets, so the sandbox's, which is none, is put in afterwards. */
static bool
set_mock_credential(struct policy *policy)
{
    for (int32_t i = 0; i < policy->provider_count; i++) {
        struct credential *credential = &policy->providers[i].company;
        char id[80];
        (void)snprintf(id, sizeof id, "%s/company", policy->providers[i].name);
        credential->secret = arena_strdup(&policy->arena, SLICE(MOCK_SECRET));
        credential->id = arena_strdup(&policy->arena, slice_str(id));
        if (!credential->secret || !credential->id) {
            return false;
        }
        credential->from = CREDENTIAL_SECRET;
    }
    return true;
}

enum status
conf_sandbox(uint16_t mock_port, const char *store, const char *listen, struct policy **policy,
    struct conf_error *error)
{
    struct buf yaml = { 0 };
    *policy = NULL;
    write_sandbox(&yaml, mock_port, store, listen);
    enum status status = STATUS_FULL;
    (void)snprintf(error->text, sizeof error->text, "out of memory");
    if (!yaml.failed) {
        status = conf_load_text("sandbox", buf_slice(&yaml), policy, error);
    }
    buf_free(&yaml);
    if (status == STATUS_OK && !set_mock_credential(*policy)) {
        policy_unref(*policy);
        *policy = NULL;
        status = STATUS_FULL;
        (void)snprintf(error->text, sizeof error->text, "out of memory");
    }
    return status;
}
