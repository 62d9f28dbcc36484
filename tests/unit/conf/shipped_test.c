/* tests/unit/conf/shipped_test.c
 *
 * Goal: the example, the sandbox and the sample load; the sample shows every option, and every option is
 * looked at.
 * Method: the sample with all its options switched on, held against the table of options; then each value
 * in turn replaced by a wrong one. */
#include "load.h"

#include <stdio.h>
#include <unistd.h>

#include "conf/conf_priv.h"

/* The shape that DESIGN section 12 gives, without what does not exist yet. */
static const char example[] =
    "listen: 127.0.0.1:8080            # also unix:/path\n"
    "store: sqlite:tidegate.db\n"
    "durability: disk\n"
    "timezone: UTC\n"
    "\n"
    "providers:\n"
    "  huggingface:\n"
    "    dialect: openai\n"
    "    apis: [chat, responses]\n"
    "    base_url: https://router.huggingface.co/v1\n"
    "    on_abort: bills_all\n"
    "    credentials:\n"
    "      company: {env: TIDEGATE_TEST_KEY, headers: {X-HF-Bill-To: acme}}\n"
    "  anthropic:\n"
    "    dialect: anthropic\n"
    "    base_url: https://api.anthropic.com\n"
    "    on_abort: stops\n"
    "    credentials: {company: {env: TIDEGATE_TEST_KEY}}\n"
    "  deepseek:\n"
    "    dialect: openai\n"
    "    apis: [chat]\n"
    "    base_url: https://api.deepseek.com/v1\n"
    "    credentials: {company: {env: TIDEGATE_TEST_KEY}}\n"
    "  kilocode: {dialect: openai, apis: [chat], base_url: https://api.kilo.ai/api/gateway, credentials: {company: {env: TIDEGATE_TEST_KEY}}}\n"
    "  gemini: {dialect: openai, apis: [chat], base_url: https://generativelanguage.googleapis.com/v1beta/openai, credentials: {company: {env: TIDEGATE_TEST_KEY}}}\n"
    "\n"
    "models:\n"
    "  claude-opus-4-6:\n"
    "    tier: premium\n"
    "    routes:\n"
    "      - {provider: anthropic, model: claude-opus-4-6}\n"
    "      - {provider: huggingface, model: \"anthropic/claude-opus-4.6:fal-ai\", price_as: claude-opus-4-6}\n"
    "  claude-sonnet-4-6: {tier: premium, routes: [{provider: anthropic, model: claude-sonnet-4-6}]}\n"
    "  glm-5.2:\n"
    "    tier: free\n"
    "    routes: [{provider: huggingface, model: \"zai-org/GLM-5.2\", price_as: glm-5.2}]\n"
    "\n"
    "plans: {free: {}, pro: {}}\n"
    "default_plan: free\n"
    "\n"
    "limits:\n"
    "  month-spend:    {counts: cost, per: account, window: month, cap: {default: 50 USD}, hold: stream, at_cap: refuse}   # hold: stream\n"
    "  per-minute:     {counts: requests, per: key, window: {rate: 60/min, burst: 10}, at_cap: refuse}\n"
    "  parallel:       {counts: in_flight, per: account, cap: 8, at_cap: refuse}\n"
    "\n"
    "held_wait: 3s\n"
    "step: 1024 tokens\n"
    "min_answer: 256 tokens\n"
    "drain_max: 60s\n"
    "orphaned_holds: charge     # | release\n"
    "unpriced: refuse_under_cost_limits     # | allow | refuse\n";

static void
example_loads(void **state)
{
    struct policy *policy = load(example);
    assert_int_equal(policy->provider_count, 5);
    assert_int_equal(policy->model_count, 3);
    assert_int_equal(policy->limit_count, 3);
    const struct model *opus = model_of(policy, "claude-opus-4-6");
    assert_int_equal(opus->route_count, 2);
    assert_string_equal(policy->providers[opus->routes[1].provider].name, "huggingface");
    assert_string_equal(opus->routes[1].model, "anthropic/claude-opus-4.6:fal-ai");
    assert_ptr_equal(opus->routes[0].price, opus->routes[1].price);
    assert_string_equal(provider_of(policy, "deepseek")->base_path, "/v1");
    assert_string_equal(provider_of(policy, "gemini")->host, "generativelanguage.googleapis.com");
    policy_unref(policy);
}

static void
sandbox_loads(void **state)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    const enum status status = conf_sandbox(4711, "sqlite:./a \"b\".db", "127.0.0.1:8080", &policy, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, STATUS_OK);
    assert_string_equal(policy->store, "sqlite:./a \"b\".db");
    assert_int_equal(provider_of(policy, "mock")->port, 4711);
    assert_string_equal(provider_of(policy, "mock")->base_path, "/v1");
    assert_string_equal(provider_of(policy, "mock-anthropic")->base_path, "");
    assert_int_equal(provider_of(policy, "mock")->company.from, CREDENTIAL_SECRET);
    assert_string_equal(provider_of(policy, "mock-anthropic")->company.id, "mock-anthropic/company");
    uint32_t apis = provider_of(policy, "mock")->apis | provider_of(policy, "mock-anthropic")->apis
                    | provider_of(policy, "mock-embeddings")->apis;
    assert_int_equal(apis, (1u << API_COUNT) - 1);
    const struct model *model = model_of(policy, "sandbox");
    assert_string_equal(model->routes[0].model, "mock:tokens=60,tps=40");
    for (int32_t i = 0; i < policy->model_count; i++) {
        for (int32_t r = 0; r < policy->models[i].route_count; r++) {
            assert_non_null(policy->models[i].routes[r].price);
        }
    }
    assert_string_equal(model_of(policy, "claude-sonnet-5")->routes[1].price->id, "claude-sonnet-5");
    assert_int_equal(limit_of(policy, "month-spend")->cap_default, 50000000);
    assert_int_equal(limit_of(policy, "per-minute")->rate, 60);
    assert_int_equal(limit_of(policy, "parallel")->cap_default, 8);
    policy_unref(policy);

    assert_int_equal(conf_sandbox(4711, "sqlite:x.db", "nowhere", &policy, &error), STATUS_INVALID);
    assert_null(policy);
}

static void
sample_loads(void **state)
{
    (void)setenv("OPENAI_API_KEY", "sk-a", 1);
    (void)setenv("ANTHROPIC_API_KEY", "sk-b", 1);
    (void)setenv("COMPANY_PROXY", "http://ada:pass%40word@proxy.example:3128", 1);
    struct policy *policy = load(conf_sample());
    assert_int_equal(policy->limit_count, 4);
    assert_int_equal(policy->provider_count, 2);
    policy_unref(policy);
}

/* The sample with every option switched on: a '#' with a word or an indentation behind it goes. */
static void
switch_on(struct buf *out)
{
    struct slice rest = slice_str(conf_sample());
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        size_t at = 0;
        while (at < line.len && line.ptr[at] == ' ') {
            at++;
        }
        const bool off = at + 2 < line.len && line.ptr[at] == '#'
                         && (line.ptr[at + 1] != ' ' || line.ptr[at + 2] == ' ');
        buf_add(out, line.ptr, at);
        buf_add(out, line.ptr + at + (off ? 1 : 0), line.len - at - (off ? 1 : 0));
        buf_add_char(out, '\n');
    }
}

/* Finds one node of this path; `*` is any child. */
static const struct node *
node_at(const struct node *node, struct slice path)
{
    struct slice part;
    if (!slice_split(&path, '.', &part)) {
        return node;
    }
    for (const struct node *child = node->kind == NODE_SCALAR ? NULL : node->first; child; child = child->next) {
        const bool any = slice_eq(part, SLICE("*"));
        if (any || (child->key && slice_eq(child->key->text, part))) {
            const struct node *found = node_at(child, path);
            if (found) {
                return found;
            }
        }
    }
    return NULL;
}

static char folder[] = "/tmp/conf-test-XXXXXX";
static char yaml_name[64];

static void
write_file(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int
folder_make(void **state)
{
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(yaml_name, sizeof yaml_name, "%s/t.yaml", folder);
    write_file("inference-token", "hf_secret\n");
    write_file("local-ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    write_file("old-webhook-secret", "an-old-secret-of-webhooks\n");
    write_file("inside-url", "https://inside.example/tidegate?token=t0k3n\n");
    write_file("prices.json", "{\"models\": [{\"id\": \"gpt-5.5\", \"input\": 1, \"output\": 2}, "
                              "{\"id\": \"glm-5.2\", \"input\": 1, \"output\": 2}]}");
    (void)setenv("OPENAI_API_KEY", "sk-a", 1);
    (void)setenv("ANTHROPIC_API_KEY", "sk-b", 1);
    (void)setenv("OPS_WEBHOOK_SECRET", "the-secret-of-webhooks", 1);
    (void)setenv("PAGER_WEBHOOK_URL", "https://pager.example/in/t0k3n", 1);
    return 0;
}

static int
folder_remove(void **state)
{
    static const char *const names[] = { "inference-token", "local-ca.pem", "old-webhook-secret", "inside-url",
        "prices.json" };
    for (size_t i = 0; i < countof(names); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

static void
sample_shows_every_option(void **state)
{
    static struct conf_error error;
    static struct report report;
    struct arena nodes = { 0 };
    struct buf yaml = { 0 };
    struct policy *policy = NULL;
    switch_on(&yaml);
    if (conf_load_text(yaml_name, buf_slice(&yaml), &policy, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(provider_of(policy, "huggingface")->company.secret, "hf_secret");
    assert_int_equal(policy->price_count, 2);
    const struct proxy *proxy = provider_of(policy, "huggingface")->proxy;
    assert_string_equal(proxy->name, "proxy.example:3128");
    assert_string_equal(proxy->authorization, "Basic YWRhOnBhc3NAd29yZA==");
    assert_int_equal(policy->webhook_count, 3);
    const struct webhook *pager = &policy->webhooks[1];
    assert_string_equal(pager->url, "https://pager.example/in/t0k3n");
    assert_string_equal(pager->host, "pager.example");
    assert_int_equal(pager->secret_count, 2);
    assert_string_equal(pager->secrets[1], "an-old-secret-of-webhooks");
    assert_int_equal(pager->topics, 1u << TOPIC_OVERSHOOT);
    assert_string_equal(pager->proxy->name, "proxy.example:3128");
    policy_unref(policy);

    report.name = "sample";
    const struct node *root = doc_read(&report, buf_slice(&yaml), &nodes);
    assert_non_null(root);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum option)i);
        const struct node *node = node_at(root, slice_str(row->path));
        if (row->type == OPTION_TYPE_LATER) {
            assert_null(node);
        } else if (!node) {
            fail_msg("the sample does not show %s", row->path);
        } else if (row->preset && !strchr(row->path, '.') && strcmp(row->preset, OPTION_REQUIRED) != 0) {
            /* a list shows its default as its first item */
            assert_string_equal(node->kind == NODE_LIST ? node->first->text.ptr : node->text.ptr, row->preset);
        }
    }
    arena_free(&nodes);
    buf_free(&yaml);
}

/* Where a value begins in the text. */
static size_t
offset_of(struct slice text, int line, int column)
{
    size_t at = 0;
    for (int i = 1; i < line; i++) {
        at += (size_t)((const char *)memchr(text.ptr + at, '\n', text.len - at) - (text.ptr + at)) + 1;
    }
    return at + (size_t)column - 1;
}

static void
every_option_is_looked_at(void **state)
{
    static struct conf_error error;
    static struct report report;
    struct arena nodes = { 0 };
    struct buf yaml = { 0 };
    switch_on(&yaml);
    report.name = "sample";
    const struct node *root = doc_read(&report, buf_slice(&yaml), &nodes);
    assert_non_null(root);
    int count = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum option)i);
        const struct node *node = node_at(root, slice_str(row->path));
        if (row->type == OPTION_TYPE_LATER || !node || node->kind != NODE_SCALAR) {
            continue;
        }
        /* a list of lists is no value of any option */
        struct buf wrong = { 0 };
        struct policy *policy = NULL;
        char place[96];
        const size_t at = offset_of(buf_slice(&yaml), node->line, node->column);
        const size_t len = node->text.len + (node->quoted ? 2 : 0);
        buf_add(&wrong, yaml.ptr, at);
        buf_add_str(&wrong, "[[1]]");
        buf_add(&wrong, yaml.ptr + at + len, yaml.len - at - len);
        (void)snprintf(place, sizeof place, "%s:%d:", yaml_name, node->line);
        if (conf_load_text(yaml_name, buf_slice(&wrong), &policy, &error) == STATUS_OK || !strstr(error.text, place)) {
            fail_msg("%s: [[1]] at %s gives: %s", row->path, place, error.text);
        }
        buf_free(&wrong);
        count++;
    }
    assert_true(count > 60);
    arena_free(&nodes);
    buf_free(&yaml);
}

static void
certificates_are_looked_at(void **state)
{
#define B "-----BEGIN CERTIFICATE-----\n"
#define E "-----END CERTIFICATE-----\n"
    static const struct {
        const char *pem, *message; /* message NULL = it loads */
    } rows[] = {
        { B "MIIB\nab+/==\n" E, NULL },
        { "an authority\r\n-----BEGIN CERTIFICATE-----\r\nMIIB\r\n-----END CERTIFICATE-----\r\nmore\r\n", NULL },
        { B "MIIB\n" E "\n-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n" B "MIIC\n" E, NULL },
        { "-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n-----END TRUSTED CERTIFICATE-----", NULL },
        { "", "holds no certificate" },
        { "no certificate at all\n", "holds no certificate" },
        { "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "holds no certificate" },
        { B E, "the certificate that begins in its line 1 is not whole" },
        { B "MIIB\n", "the certificate that begins in its line 1 is not whole" },
        { "\n" B "M*IB\n" E, "the certificate that begins in its line 2 is not whole" },
        { B "AAAA\n" E, "the certificate that begins in its line 1 is not whole" },
        { B "MIIB\n" E B "MIIB\n" B "MIIB\n" E, "the certificate that begins in its line 4 is not whole" },
    };
#undef B
#undef E
    static struct conf_error error;
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *policy = NULL;
        write_file("local-ca.pem", rows[i].pem);
        const enum status status =
            conf_load_text(yaml_name, SLICE(MORE("ca_file: local-ca.pem")), &policy, &error);
        if (status == STATUS_OK && !rows[i].message) {
            char path[128];
            (void)snprintf(path, sizeof path, "%s/local-ca.pem", folder);
            assert_string_equal(policy->providers[0].ca_file, path);
            policy_unref(policy);
        } else if (!rows[i].message || !strstr(error.text, rows[i].message)) {
            fail_msg("row %zu: %s", i, error.text);
        } else {
            assert_non_null(strstr(error.text, "/t.yaml:1:75: ca_file "));
        }
    }
    struct policy *policy = NULL;
    assert_int_equal(conf_load_text(yaml_name, SLICE(MORE("ca_file: none.pem")), &policy, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "/none.pem cannot be read: No such file or directory"));
}

static void
file_errors_name_the_file(void **state)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    write_file("inference-token", "two words\n");
    assert_int_equal(conf_load_text(yaml_name, SLICE(MORE("credentials: {company: {file: inference-token}}")), &policy, &error),
        STATUS_INVALID);
    assert_non_null(strstr(error.text, ":1:96: the credential file holds spaces, control characters or more than a secret may have"));
    assert_null(strstr(error.text, "two"));

    write_file("prices.json", "{\"models\": [\n {\"id\": \"a\", \"input\": -5, \"output\": 2}]}");
    assert_int_equal(conf_load_text(yaml_name, SLICE(P M "prices: prices.json\n"), &policy, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "t.yaml:3:9: "));
    assert_non_null(strstr(error.text, "/prices.json:2:23: model 'a', field 'input': '-5' is no whole number from 0 to 1000000000000"));

    assert_int_equal(conf_load_text(yaml_name, SLICE(P M "prices: none.json\n"), &policy, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "/none.json cannot be read: No such file or directory"));
}

static int
group_start(void **state)
{
    return conf_test_start(state) == 0 ? folder_make(state) : -1;
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("the full example loads", example_loads),
        CASE("the sandbox loads and serves every API", sandbox_loads),
        CASE("the sample loads as it is", sample_loads),
        CASE("the sample shows every option, with its default", sample_shows_every_option),
        CASE("every option is looked at: a wrong type is refused in its line", every_option_is_looked_at),
        CASE("certificates are looked at when the configuration is read", certificates_are_looked_at),
        CASE("errors in files that a configuration names are told with their places", file_errors_name_the_file),
    };
    return cmocka_run_group_tests(tests, group_start, folder_remove);
}
