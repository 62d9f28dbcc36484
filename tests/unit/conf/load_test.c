/* tests/unit/conf/load_test.c
 *
 * Goal: what a file says arrives in the policy; what it does not say has its documented default.
 * Method: small files and the fields they must give. */
#include "load.h"

#include "policy/zone.h"

/* ---- the gateway ---- */

static void
gateway_defaults(void **state)
{
    struct policy *policy = load(P M);
    assert_int_equal(policy->refs, 1);
    assert_int_equal(policy->version, 0);
    assert_int_equal(policy->listen_count, 1);
    assert_string_equal(policy->listens[0].host, "127.0.0.1");
    assert_int_equal(policy->listens[0].port, 8080);
    assert_string_equal(policy->store, "sqlite:tidegate.db");
    assert_null(policy->control);
    assert_int_equal(policy->durability, DURABILITY_DISK);
    assert_null(policy->zone);
    assert_string_equal(policy->zone_name, "UTC");
    assert_int_equal(policy->loops, 0);
    assert_int_equal(policy->held_wait_ms, 3000);
    assert_int_equal(policy->step_tokens, 1024);
    assert_int_equal(policy->min_answer_tokens, 256);
    assert_int_equal(policy->head_deadline_ms, 10000);
    assert_int_equal(policy->body_deadline_ms, 60000);
    assert_int_equal(policy->idle_ms, 75000);
    assert_int_equal(policy->body_bytes_max, 32 << 20);
    assert_int_equal(policy->head_bytes_max, 32 << 10);
    assert_int_equal(policy->headers_max, 100);
    assert_int_equal(policy->connections_max, 10000);
    assert_int_equal(policy->stop_grace_ms, 30000);
    assert_int_equal(policy->orphans, ORPHAN_CHARGE);
    assert_int_equal(policy->unpriced, UNPRICED_REFUSE_UNDER_COST_LIMITS);
    assert_false(policy->log_json);
    assert_int_equal(policy->plan_count, 1);
    assert_string_equal(policy->plans[0], "default");
    assert_string_equal(policy->default_plan, "default");
    assert_int_equal(policy->limit_count, 0);
    assert_true(policy->price_count > 60);
    assert_non_null(policy_price(policy, SLICE("gpt-5.5")));
    assert_int_equal(policy->lease_ms, 10000);
    assert_null(policy->node);
    assert_int_equal(strlen(policy->config_hash), HASH_HEX);
    assert_true(policy->price_version > 0);
    policy_unref(policy);
}

static void
gateway_options(void **state)
{
    struct policy *policy = load(P M
        "listen: [127.0.0.1:0, '[::1]:9', localhost:10, 'unix:/run/t.sock']\n"
        "store: sqlite:/var/lib/t.db\ncontrol: run/c.sock\nlease: 2s\nnode: one\ndurability: os\ntimezone: America/New_York\nloops: 4\n"
        "held_wait: 500ms\nstep: 64\nmin_answer: 1 tokens\nhead_deadline: 1s\nbody_deadline: 2s\nidle_deadline: 3s\n"
        "head_max: 8KB\nbody_max: 1MB\nheaders_max: 20\nconnections_max: 50\nstop_grace: 1m\nlog: json\n"
        "orphaned_holds: release\nunpriced: allow\nplans: {free: {}, pro: }\ndefault_plan: pro\n");
    assert_int_equal(policy->listen_count, 4);
    assert_int_equal(policy->listens[0].port, 0);
    assert_string_equal(policy->listens[1].host, "::1");
    assert_string_equal(policy->listens[2].host, "127.0.0.1");
    assert_string_equal(policy->listens[3].unix_path, "/run/t.sock");
    assert_null(policy->listens[3].host);
    assert_string_equal(policy->store, "sqlite:/var/lib/t.db");
    assert_string_equal(policy->control, "run/c.sock");
    assert_int_equal(policy->lease_ms, 2000);
    assert_string_equal(policy->node, "one");
    assert_int_equal(policy->durability, DURABILITY_OS);
    assert_string_equal(policy->zone_name, "America/New_York");
    assert_int_equal(zone_offset_s(policy->zone, 0), -18000);
    assert_int_equal(policy->loops, 4);
    assert_int_equal(policy->held_wait_ms, 500);
    assert_int_equal(policy->step_tokens, 64);
    assert_int_equal(policy->min_answer_tokens, 1);
    assert_int_equal(policy->head_deadline_ms, 1000);
    assert_int_equal(policy->body_deadline_ms, 2000);
    assert_int_equal(policy->idle_ms, 3000);
    assert_int_equal(policy->head_bytes_max, 8192);
    assert_int_equal(policy->body_bytes_max, 1 << 20);
    assert_int_equal(policy->headers_max, 20);
    assert_int_equal(policy->connections_max, 50);
    assert_int_equal(policy->stop_grace_ms, 60000);
    assert_true(policy->log_json);
    assert_int_equal(policy->orphans, ORPHAN_RELEASE);
    assert_int_equal(policy->unpriced, UNPRICED_ALLOW);
    assert_int_equal(policy->plan_count, 2);
    assert_string_equal(policy->default_plan, "pro");
    policy_unref(policy);

    policy = load(P M "store: memory\n");
    assert_string_equal(policy->store, "memory:");
    policy_unref(policy);
}

static void
relative_paths(void **state)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    const struct slice yaml = SLICE(P M "store: sqlite:t.db\ncontrol: c.sock\nlisten: 'unix:l.sock'\n");
    assert_int_equal(conf_load_text("/etc/tidegate/t.yaml", yaml, &policy, &error), STATUS_OK);
    assert_string_equal(policy->store, "sqlite:/etc/tidegate/t.db");
    assert_string_equal(policy->control, "/etc/tidegate/c.sock");
    assert_string_equal(policy->listens[0].unix_path, "/etc/tidegate/l.sock");
    policy_unref(policy);
}

/* ---- providers ---- */

static void
known_providers(void **state)
{
#define KEY "credentials: {company: {env: TIDEGATE_TEST_KEY}}}\n"
    struct policy *policy = load("models: {m: {routes: [{provider: a}]}}\n"
        "providers:\n"
        "  a: {base_url: 'https://api.openai.com/v1', " KEY
        "  b: {base_url: 'https://api.anthropic.com', " KEY
        "  c: {base_url: 'https://router.huggingface.co/v1', " KEY
        "  d: {base_url: 'https://api.deepseek.com', " KEY
        "  e: {base_url: 'https://api.deepseek.com/anthropic', dialect: anthropic, " KEY
        "  f: {base_url: 'https://acme.openai.azure.com/openai/v1', " KEY
        "  g: {base_url: 'https://llm.example.org/v1', dialect: openai}\n"
        "  h: {base_url: 'https://api.openai.com/v1', apis: [chat], on_abort: bills_all, drain_max: 5s, " KEY
        "drain_max: 20s\n");
#undef KEY
    static const struct {
        const char *name;
        enum dialect dialect;
        uint32_t apis;
        enum on_abort on_abort;
        const char *base_path, *limit_field;
        int64_t drain_max_ms;
    } rows[] = {
        { "a", DIALECT_OPENAI, 1u << API_CHAT | 1u << API_RESPONSES | 1u << API_EMBEDDINGS, ON_ABORT_STOPS, "/v1",
            "max_completion_tokens", 20000 },
        { "b", DIALECT_ANTHROPIC, 1u << API_MESSAGES | 1u << API_COUNT_TOKENS, ON_ABORT_STOPS, "", "max_tokens", 20000 },
        { "c", DIALECT_OPENAI, 1u << API_CHAT | 1u << API_RESPONSES, ON_ABORT_BILLS_ALL, "/v1", "max_tokens", 20000 },
        { "d", DIALECT_OPENAI, 1u << API_CHAT, ON_ABORT_STOPS, "", "max_tokens", 20000 },
        { "e", DIALECT_ANTHROPIC, 1u << API_MESSAGES | 1u << API_COUNT_TOKENS, ON_ABORT_STOPS, "/anthropic",
            "max_tokens", 20000 },
        { "f", DIALECT_OPENAI, 1u << API_CHAT | 1u << API_RESPONSES | 1u << API_EMBEDDINGS, ON_ABORT_STOPS,
            "/openai/v1", "max_completion_tokens", 20000 },
        { "g", DIALECT_OPENAI, 1u << API_CHAT, ON_ABORT_BILLS_ALL, "/v1", "max_tokens", 20000 },
        { "h", DIALECT_OPENAI, 1u << API_CHAT, ON_ABORT_BILLS_ALL, "/v1", "max_completion_tokens", 5000 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct provider *provider = provider_of(policy, rows[i].name);
        assert_int_equal(provider->dialect, rows[i].dialect);
        assert_int_equal(provider->apis, rows[i].apis);
        assert_int_equal(provider->on_abort, rows[i].on_abort);
        assert_string_equal(provider->base_path, rows[i].base_path);
        assert_string_equal(provider->limit_field, rows[i].limit_field);
        assert_int_equal(provider->drain_max_ms, rows[i].drain_max_ms);
        assert_true(provider->tls);
        assert_int_equal(provider->port, 443);
        assert_int_equal(provider->connect_ms, 10000);
        assert_int_equal(provider->first_byte_ms, 600000);
        assert_int_equal(provider->between_bytes_ms, 300000);
        assert_int_equal(provider->user.from, CREDENTIAL_NONE);
    }
    assert_int_equal(provider_of(policy, "g")->company.from, CREDENTIAL_NONE);
    const struct credential *company = &provider_of(policy, "a")->company;
    assert_int_equal(company->from, CREDENTIAL_SECRET);
    assert_string_equal(company->secret, "sk-test");
    assert_string_equal(company->id, "a/company");
    policy_unref(policy);
}

static void
insecure_and_headers(void **state)
{
    struct policy *policy = load(PROVIDER("dialect: openai, base_url: 'http://10.0.0.7:8000/v1', insecure: true, "
        "connect_deadline: 1s, first_byte_deadline: 2s, between_bytes_deadline: 3s, "
        "credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {X-HF-Bill-To: acme, X-B: 'a b'}}}"));
    const struct provider *provider = provider_of(policy, "p");
    assert_false(provider->tls);
    assert_string_equal(provider->host, "10.0.0.7");
    assert_string_equal(provider->host_header, "10.0.0.7:8000");
    assert_int_equal(provider->port, 8000);
    assert_null(provider->ca_file);
    assert_int_equal(provider->connect_ms, 1000);
    assert_int_equal(provider->first_byte_ms, 2000);
    assert_int_equal(provider->between_bytes_ms, 3000);
    assert_int_equal(provider->company.header_count, 2);
    assert_string_equal(provider->company.headers[0].name, "X-HF-Bill-To");
    assert_string_equal(provider->company.headers[0].value, "acme");
    assert_string_equal(provider->company.headers[1].value, "a b");
    policy_unref(policy);
}

/* ---- models ---- */

static void
route_prices(void **state)
{
    struct policy *policy = load(P
        "models:\n"
        "  gpt-5.5: {routes: [{provider: p}, {provider: p, model: 'openai/gpt-5.5-2026-04-23'}, {provider: p, model: x}]}\n"
        "  a: {price_as: glm-5.2, tier: free, routes: [{provider: p}, {provider: p, price_as: o3}]}\n"
        "  b: {price: {input: 3 USD, output: 15 USD, cache_read: 0.30 USD, cache_write: 3.75 USD}, routes: [{provider: p, model: gpt-5.5}, {provider: p, price: {input: 0 USD, output: 0 USD}}]}\n"
        "  c: {price: {input: 3 USD, output: 15 USD, cache_write: 3.75 USD, cache_write_1h: 6 USD, tiers: [{above: 200000 tokens, input: 6 USD}, {above: 400000, output: 30 USD, cache_write: 9 USD}]}, routes: [{provider: p}], max_output: 32000, context: 64000 tokens, hidden_reasoning: true}\n"
        "  d: {routes: [{provider: p, model: 'gpt-5.5:free'}]}\n");
    const struct model *model = model_of(policy, "gpt-5.5");
    assert_int_equal(model->tier, TIER_PREMIUM);
    assert_int_equal(model->route_count, 3);
    assert_string_equal(model->routes[0].model, "gpt-5.5");
    assert_string_equal(model->routes[0].price->id, "gpt-5.5");
    assert_string_equal(model->routes[1].price->id, "gpt-5.5");
    assert_null(model->routes[2].price);
    assert_int_equal(model->max_output, 128000);
    assert_int_equal(model->context, 1050000); /* the larger of the book's and the default of route x */
    assert_true(model->hidden_reasoning);

    model = model_of(policy, "a");
    assert_int_equal(model->tier, TIER_FREE);
    assert_string_equal(model->routes[0].price->id, "glm-5.2");
    assert_string_equal(model->routes[1].price->id, "o3");
    assert_string_equal(model->routes[1].model, "a");
    assert_int_equal(model->max_output, 131072);
    assert_false(model->hidden_reasoning);

    model = model_of(policy, "b");
    const struct price *price = model->routes[0].price;
    assert_int_equal(price->base.input, 3000000);
    assert_int_equal(price->base.output, 15000000);
    assert_int_equal(price->base.cache_read, 300000);
    assert_int_equal(price->base.cache_write_5m, 3750000);
    assert_int_equal(price->base.cache_write_1h, 3750000);
    assert_int_equal(model->routes[1].price->base.input, 0);
    assert_int_equal(model->routes[1].price->base.cache_read, 0);
    assert_int_equal(model->max_output, 128000);
    assert_int_equal(model->context, 1000000);
    assert_true(model->hidden_reasoning); /* one route hides it */

    model = model_of(policy, "c");
    price = model->routes[0].price;
    assert_int_equal(price->tier_count, 2);
    assert_int_equal(price->base.cache_write_1h, 6000000);
    assert_int_equal(price->tiers[0].above_input_tokens, 200000);
    assert_int_equal(price->tiers[0].set.input, 6000000);
    assert_int_equal(price->tiers[0].set.output, 15000000); /* stays as it is */
    assert_int_equal(price->tiers[0].set.cache_write_1h, 6000000);
    assert_int_equal(price->tiers[1].set.input, 6000000);
    assert_int_equal(price->tiers[1].set.output, 30000000);
    assert_int_equal(price->tiers[1].set.cache_write_5m, 9000000);
    assert_int_equal(price->tiers[1].set.cache_write_1h, 9000000);
    assert_int_equal(model->max_output, 32000);
    assert_int_equal(model->context, 64000);
    assert_true(model->hidden_reasoning);

    assert_null(model_of(policy, "d")->routes[0].price);
    policy_unref(policy);
}

/* As the importer of price books does it: what is absent costs what input costs, in each tier its own. */
static void
absent_cache_prices_are_filled(void **state)
{
#define TIERED "price: {input: 3 USD, output: 15 USD%s, tiers: [{above: 1000, input: 6 USD%s}]}, routes: [{provider: p}]"
    static const struct {
        const char *base, *tier;
        int64_t usd[2][3]; /* base, tier: read, write, write for an hour; -1 = null */
    } rows[] = {
        { "", "", { { 3, 3, 3 }, { 6, 6, 6 } } },
        { ", cache_read: 1 USD", "", { { 1, 3, 3 }, { 1, 6, 6 } } }, /* what a tier leaves out stays */
        { ", cache_write: 4 USD", "", { { 3, 4, 4 }, { 6, 4, 4 } } },
        { ", cache_write_1h: 5 USD", "", { { 3, 3, 5 }, { 6, 6, 5 } } },
        { "", ", cache_write: 8 USD", { { 3, 3, 3 }, { 6, 8, 8 } } },
        { ", cache_read: null", "", { { -1, 3, 3 }, { -1, 6, 6 } } },
        { ", cache_read: ~", ", cache_read: 2 USD", { { -1, 3, 3 }, { 2, 6, 6 } } },
        { ", cache_write: null", "", { { 3, -1, -1 }, { 6, -1, -1 } } },
        { ", cache_write: 4 USD, cache_write_1h: null", "", { { 3, 4, -1 }, { 6, 4, -1 } } },
        { "", ", cache_read: null", { { 3, 3, 3 }, { -1, 6, 6 } } },
        { ", cache_read: 0 USD", "", { { 0, 3, 3 }, { 0, 6, 6 } } }, /* null is not 0 */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf yaml = { 0 };
        buf_addf(&yaml, P "models: {m: {" TIERED "}}\n", rows[i].base, rows[i].tier);
        struct policy *policy = load(buf_cstr(&yaml));
        const struct price *price = policy->models[0].routes[0].price;
        const struct price_set *sets[2] = { &price->base, &price->tiers[0].set };
        for (int s = 0; s < 2; s++) {
            const int64_t read[3] = { sets[s]->cache_read, sets[s]->cache_write_5m, sets[s]->cache_write_1h };
            for (int k = 0; k < 3; k++) {
                const int64_t usd = rows[i].usd[s][k];
                assert_int_equal(read[k], usd < 0 ? -1 : usd * 1000000);
            }
        }
        policy_unref(policy);
        buf_free(&yaml);
    }
#undef TIERED
}

static void
models_are_sorted(void **state)
{
    struct policy *policy = load(P "models: {b: {routes: [{provider: p}]}, 'zai-org/GLM-5.2': {routes: [{provider: p}]}, "
                                   "'m[1m]': {routes: [{provider: p}]}, a: {routes: [{provider: p}]}, 5.2: {routes: [{provider: p}]}}\n");
    assert_int_equal(policy->model_count, 5);
    for (int32_t i = 0; i < policy->model_count; i++) {
        assert_int_equal(policy_model_index(policy, slice_str(policy->models[i].name)), i);
    }
    policy_unref(policy);
}

/* ---- limits ---- */

static void
limits_arrive(void **state)
{
    struct policy *policy = load(P
        "models: {m: {routes: [{provider: p}]}}\n"
        "plans: {free: {}, pro: {}, staff: {}}\n"
        "timezone: Europe/Berlin\n"
        "limits:\n"
        "  month: {counts: cost, per: account, window: month, cap: {default: 50 USD, plan: {free: 5 USD, staff: unlimited}}, hold: stream, at_cap: refuse}\n"
        "  day: {counts: cost, per: account, window: day, zone: UTC, cap: {plan: {free: 0 USD}}}\n"
        "  week: {counts: cost, per: account, window: week, zone: Asia/Tokyo, cap: 1 micros}\n"
        "  chat: {counts: cost, per: thread_tree, window: lifetime, cap: 5 USD, of: {model: m, tier: premium}}\n"
        "  rate: {counts: requests, per: key, window: {rate: 60/min, burst: 10}}\n"
        "  rate-2: {counts: requests, per: gateway, window: 5/s}\n"
        "  parallel: {counts: in_flight, per: account, cap: 8}\n"
        "  all: {counts: in_flight, per: gateway, window: concurrency, cap: unlimited}\n");
    assert_int_equal(policy->limit_count, 8);
    assert_string_equal(policy->limits[0].name, "month"); /* the file's order */
    assert_string_equal(policy->limits[7].name, "all");

    const struct limit *limit = limit_of(policy, "month");
    assert_int_equal(limit->counts, COUNT_COST);
    assert_int_equal(limit->per, PER_ACCOUNT);
    assert_int_equal(limit->window, WINDOW_MONTH);
    assert_string_equal(limit->zone->name, "Europe/Berlin");
    assert_ptr_equal(limit->zone, policy->zone);
    assert_int_equal(limit->cap_default, 50000000);
    assert_int_equal(policy_cap(limit, "free"), 5000000);
    assert_int_equal(policy_cap(limit, "pro"), 50000000);
    assert_int_equal(policy_cap(limit, "staff"), CAP_UNLIMITED);
    assert_int_equal(limit->line, 6);
    assert_int_equal(limit->limit_id, 0);
    assert_int_equal(limit->hold, HOLD_MODE_STREAM);
    assert_int_equal(limit->at_cap, AT_CAP_REFUSE);
    assert_null(limit->of_model);
    assert_int_equal(limit->of_tier, -1);

    limit = limit_of(policy, "day");
    assert_null(limit->zone);
    assert_int_equal(limit->cap_default, CAP_UNLIMITED);
    assert_int_equal(policy_cap(limit, "free"), 0); /* zero and unlimited are two values */
    assert_string_equal(limit_of(policy, "week")->zone->name, "Asia/Tokyo");
    assert_int_equal(limit_of(policy, "week")->cap_default, 1);
    assert_string_equal(limit_of(policy, "chat")->of_model, "m");
    assert_int_equal(limit_of(policy, "chat")->of_tier, TIER_PREMIUM);

    limit = limit_of(policy, "rate");
    assert_int_equal(limit->window, WINDOW_BUCKET);
    assert_int_equal(limit->rate, 60);
    assert_int_equal(limit->period_ms, 60000);
    assert_int_equal(limit->burst, 10);
    assert_int_equal(limit->cap_default, 10);
    assert_int_equal(limit_of(policy, "rate-2")->burst, 5);
    assert_int_equal(limit_of(policy, "parallel")->window, WINDOW_CONCURRENCY);
    assert_int_equal(limit_of(policy, "parallel")->cap_default, 8);
    assert_int_equal(limit_of(policy, "all")->cap_default, CAP_UNLIMITED);
    policy_unref(policy);
}

static void
limits_that_differ_for_somebody_stand_side_by_side(void **state)
{
    static const char *const rows[] = {
        P M "plans: {free: {}, pro: {}}\nlimits:\n"
            "  a: {counts: cost, per: account, window: day, cap: {plan: {free: 5 USD}}}\n"
            "  b: {counts: cost, per: account, window: day, cap: {plan: {pro: 50 USD}}}\n",
        P M "groups: {g: {members: [ann]}}\nlimits:\n"
            "  a: {counts: cost, per: account, window: day, cap: {default: 5 USD, group: {g: 9 USD}}}\n"
            "  b: {counts: cost, per: account, window: day, cap: 7 USD}\n",
        P M "limits:\n"
            "  a: {counts: requests, per: account, window: day, cap: 100}\n"
            "  b: {counts: requests, per: account, window: day, cap: 40, weights: {m: 5, '*': 0}}\n",
        P M "limits:\n"
            "  a: {counts: cost, per: thread_tree, window: lifetime, cap: 10 USD}\n"
            "  b: {counts: cost, per: thread_tree, window: lifetime, cap: {set: spend_limit_micros}}\n",
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *policy = load(rows[i]);
        assert_int_equal(policy->limit_count, 2);
        policy_unref(policy);
    }
}

static void
the_dearest_rates_are_counted_whole(void **state)
{
    static const struct {
        const char *yaml;
        int64_t burst_usd;
    } rows[] = {
        { LIMIT("counts: cost, per: account, window: 26687 USD/day"), 26687 },
        { LIMIT("counts: cost, per: account, window: {rate: 50000 USD/day, burst: 5000 USD}"), 5000 },
        { LIMIT("counts: cost, per: account, window: 1000000 USD/min"), 1000000 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *policy = load(rows[i].yaml);
        const struct limit *limit = limit_of(policy, "x");
        assert_int_equal(limit->burst, rows[i].burst_usd * MICROS_PER_USD);
        assert_true((__int128)limit->burst * limit->period_ms <= MONEY_MICROS_MAX);
        policy_unref(policy);
    }
}

static void
fingerprint_of(const char *yaml, char out[HASH_HEX + 1])
{
    struct policy *policy = load(yaml);
    memcpy(out, policy->limits[0].fingerprint, HASH_HEX + 1);
    policy_unref(policy);
}

static void
fingerprints_follow_the_meaning(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { LIMIT("counts: cost, per: account, window: month, cap: 5 USD"),
            LIMIT("counts: cost, per: account, window: month, cap: {default: 6 USD}"), true },
        { LIMIT("counts: cost, per: account, window: month, cap: 5 USD"),
            P M "timezone: UTC\nlimits: {renamed: {counts: cost, per: account, zone: UTC, window: month, cap: 5 USD}}\n", true },
        { LIMIT("counts: cost, per: account, window: month, cap: 5 USD"),
            LIMIT("counts: cost, per: account, window: week, cap: 5 USD"), false },
        { LIMIT("counts: cost, per: account, window: month, cap: 5 USD"),
            LIMIT("counts: cost, per: account, window: month, cap: 5 USD, zone: Asia/Tokyo"), false },
        { LIMIT("counts: cost, per: account, window: month, cap: 5 USD"),
            P M "timezone: Asia/Tokyo\nlimits: {x: {counts: cost, per: account, window: month, cap: 5 USD}}\n", false },
        { LIMIT("counts: in_flight, per: account, cap: 5"),
            P M "timezone: Asia/Tokyo\nlimits: {x: {counts: in_flight, per: account, cap: 5}}\n", true },
        { LIMIT("counts: in_flight, per: account, cap: 5"), LIMIT("counts: in_flight, per: key, cap: 5"), false },
        { LIMIT("counts: in_flight, per: account, cap: 5"), LIMIT("counts: in_flight, per: account, cap: 5, of: {tier: premium}"), false },
        { LIMIT("counts: in_flight, per: account, cap: 5"), LIMIT("counts: in_flight, per: account, cap: 5, of: {model: m}"), false },
        { LIMIT("counts: requests, per: key, window: 60/min"), LIMIT("counts: requests, per: key, window: {rate: 90/min, burst: 5}"), true },
        /* a bucket's level is kept in units times its period */
        { LIMIT("counts: requests, per: key, window: 60/min"), LIMIT("counts: requests, per: key, window: 1/s"), false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char a[HASH_HEX + 1];
        char b[HASH_HEX + 1];
        fingerprint_of(rows[i].a, a);
        fingerprint_of(rows[i].b, b);
        assert_int_equal(strlen(a), HASH_HEX);
        assert_int_equal(strcmp(a, b) == 0, rows[i].same);
    }
}

/* ---- hashes ---- */

static void
hashes_of(const char *yaml, char hash[HASH_HEX + 1], int64_t *price_version)
{
    struct policy *policy = load(yaml);
    memcpy(hash, policy->config_hash, HASH_HEX + 1);
    *price_version = policy->price_version;
    policy_unref(policy);
}

static void
hash_is_of_what_is_said(void **state)
{
    static const struct {
        const char *a, *b;
        bool same_hash, same_prices;
    } rows[] = {
        { P M "step: 16\n", "# a comment\n" P "models:\n  m:\n    routes:\n    - provider: \"p\"\nstep:   16  # few\n", true, true },
        { P M "held_wait: 1s\n", P M "held_wait: 2s\n", false, true },
        { P M "held_wait: 1s\n", P M, false, true },
        /* what is each gateway's own */
        { P M "listen: 127.0.0.1:12\n", P M "listen: 127.0.0.1:21\n", true, true },
        { P M "store: memory\nloops: 1\n", P M "control: other.sock\nlog: json\n", true, true },
        { P M "node: one\nconnections_max: 9\n", P M "node: two\nbodies_max: 1GB\nconnections_per_address: 7\n", true, true },
        { P M "lease: 3s\n", P M "lease: 4s\n", false, true },
        { MODEL("price: {input: 1 USD, output: 1 USD}, routes: [{provider: p}]"),
            MODEL("price: {input: 1 USD, output: 2 USD}, routes: [{provider: p}]"), false, false },
        { MODEL("routes: [{provider: p, price_as: gpt-5.5}]"), MODEL("routes: [{provider: p, price_as: o3}]"), false, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char a[HASH_HEX + 1];
        char b[HASH_HEX + 1];
        int64_t a_prices = 0;
        int64_t b_prices = 0;
        hashes_of(rows[i].a, a, &a_prices);
        hashes_of(rows[i].b, b, &b_prices);
        assert_int_equal(strcmp(a, b) == 0, rows[i].same_hash);
        assert_int_equal(a_prices == b_prices, rows[i].same_prices);
    }
    char before[HASH_HEX + 1];
    char after[HASH_HEX + 1];
    int64_t prices = 0;
    hashes_of(MORE("credentials: {company: {env: TIDEGATE_TEST_KEY}}"), before, &prices);
    (void)setenv("TIDEGATE_TEST_KEY", "sk-other", 1);
    hashes_of(MORE("credentials: {company: {env: TIDEGATE_TEST_KEY}}"), after, &prices);
    (void)setenv("TIDEGATE_TEST_KEY", "sk-test", 1);
    assert_string_equal(before, after); /* a secret is not part of it */
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("what is not said has its default", gateway_defaults),
        CASE("options of the gateway arrive", gateway_options),
        CASE("relative paths start at the file's folder", relative_paths),
        CASE("known providers need not be described", known_providers),
        CASE("deadlines, headers and insecure hosts arrive", insecure_and_headers),
        CASE("a route is priced by itself, its model, or its id, in that order", route_prices),
        CASE("SL-10 FF-71 a cache price that is absent costs what input costs, one written as null adds nothing", absent_cache_prices_are_filled),
        CASE("models are sorted by name", models_are_sorted),
        CASE("limits arrive", limits_arrive),
        CASE("limits that differ for somebody stand side by side", limits_that_differ_for_somebody_stand_side_by_side),
        CASE("the dearest rates are counted whole", the_dearest_rates_are_counted_whole),
        CASE("a fingerprint follows what is counted, not how much", fingerprints_follow_the_meaning),
        CASE("the hash is of what a file says, not of how, and not of secrets", hash_is_of_what_is_said),
    };
    return cmocka_run_group_tests(tests, conf_test_start, NULL);
}
