/* cli/check.c: tidegate check: a configuration judged, and told in sentences. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/place.h"
#include "base/plural.h"
#include "net/net.h"

/* One line of findings, "FILE:12:5: what is wrong", as an object. */
static void
json_finding(struct buf *out, struct slice line, const char *file)
{
    int64_t place[2] = { 0, 0 };
    struct slice rest = line;
    struct slice part = { 0 };
    const size_t file_len = strlen(file);
    bool placed =
        slice_starts(line, slice_str(file)) && line.len > file_len + 1 && line.ptr[file_len] == ':';
    if (placed) {
        rest = slice_of(line.ptr + file_len + 1, line.len - file_len - 1);
    }
    for (int i = 0; i < 2 && placed; i++) {
        placed = slice_split(&rest, ':', &part) && slice_to_i64(part, &place[i]);
    }
    if (placed) {
        buf_addf(out, "{\"line\":%lld,\"column\":%lld,\"message\":", (long long)place[0],
            (long long)place[1]);
    } else {
        buf_add_str(out, "{\"line\":null,\"column\":null,\"message\":");
    }
    buf_add_json(out, placed ? slice_trim(rest) : line);
    buf_add_char(out, '}');
}

void
findings_json(const char *file, const char *text)
{
    struct buf out = { 0 };
    struct slice rest = slice_str(text);
    struct slice line = { 0 };
    buf_add_str(&out, "{\"ok\":false,\"findings\":[");
    for (bool first = true; slice_split(&rest, '\n', &line); first = false) {
        buf_add_str(&out, first ? "" : ",");
        json_finding(&out, line, file);
    }
    buf_add_str(&out, "]}\n");
    text_print(&out);
    buf_free(&out);
}

const char *
config_file_of(const struct config_file *config)
{
    return config->file ? config->file : CONFIG_FILE_DEFAULT;
}

struct policy *
config_load(const struct config_file *config, bool secrets)
{
    struct policy *policy = NULL;
    struct conf_error error;
    const char *file = config_file_of(config);
    const enum status status = secrets ? conf_load_file(file, &policy, &error)
                                       : conf_load_file_without_secrets(file, &policy, &error);
    if (status != STATUS_OK && config->json) {
        findings_json(file, error.text);
    } else if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
    }
    return policy;
}

/* --- Sentences. */

static void
add_limits(struct buf *out, const struct policy *policy)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        buf_addf(out, "  %s: ", limit->name);
        limit_sentence(limit, out);
        buf_add_str(out, ".\n");
    }
    if (policy->limit_count == 0) {
        buf_add_str(out, "  There are none: every account may spend any amount.\n");
    }
}

static void
add_routes(struct buf *out, const struct policy *policy, const struct model *model)
{
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct route *route = &model->routes[i];
        buf_addf(out, "%s%s (%s%s)", i ? ", then " : "", policy->providers[route->provider].name,
            route->model, route->price ? "" : ", unpriced");
    }
}

/* A line a tier, for each price that no route before has. */
static void
add_prices(struct buf *out, const struct policy *policy, const struct model *model)
{
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct price *price = model->routes[i].price;
        bool told = !price;
        for (int32_t before = 0; before < i; before++) {
            told = told || model->routes[before].price == price;
        }
        if (told) {
            continue;
        }
        buf_addf(out, "      %s: ", policy->providers[model->routes[i].provider].name);
        price_sentence(&price->base, out);
        buf_add_str(out, ".\n");
        for (int32_t t = 0; t < price->tier_count; t++) {
            buf_addf(out, "        over %lld token%s of input: ",
                (long long)price->tiers[t].above_input_tokens,
                plural_s(price->tiers[t].above_input_tokens));
            price_sentence(&price->tiers[t].set, out);
            buf_add_str(out, ".\n");
        }
    }
}

static void
add_models(struct buf *out, const struct policy *policy)
{
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        buf_addf(
            out, "  %s: %s, by ", model->name, model->tier == TIER_PREMIUM ? "premium" : "free");
        add_routes(out, policy, model);
        buf_add_str(out, ".\n");
        add_prices(out, policy, model);
    }
}

static void
add_server(struct buf *out, const struct policy *policy)
{
    char path[4096];
    char store[STORE_SHOWN_BYTES];
    store_url_shown(policy->store, store, sizeof(store));
    buf_add_str(out, "  It listens on ");
    for (int32_t i = 0; i < policy->listen_count; i++) {
        buf_add_str(out, i ? ", " : "");
        listen_text(&policy->listens[i], policy->listens[i].port, out);
    }
    buf_addf(out, ", keeps its books in %s (durability: %s),\n  and takes commands at %s.\n", store,
        policy->durability == DURABILITY_DISK ? "disk" : "os",
        control_path(policy, path, sizeof(path)) ? path : "?");
}

static void
add_proxies(struct buf *out, const struct policy *policy)
{
    for (int32_t i = 0; i < policy->provider_count; i++) {
        const struct provider *provider = &policy->providers[i];
        if (provider->proxy) {
            buf_addf(out, "  It reaches %s through the proxy %s.\n", provider->name,
                provider->proxy->name);
        }
    }
}

/* False: a pair of files cannot be used, and it was said. */
static bool
add_certificates(struct buf *out, const struct policy *policy)
{
    const int64_t now_ms = clock_wall_ms();
    for (int32_t i = 0; i < policy->listen_count; i++) {
        const struct listen *at = &policy->listens[i];
        struct net_error error;
        int64_t expires_ms = 0;
        if (!at->cert_file) {
            continue;
        }
        if (net_certificate_check(at->cert_file, at->key_file, &expires_ms, &error) != STATUS_OK) {
            (void)cli_fail("%s", error.text);
            return false;
        }
        const struct civil date = civil_from_ms(expires_ms);
        const int64_t left_ms = expires_ms - now_ms;
        buf_addf(out, "  The certificate in %s %s on %04d-%02d-%02d%s.\n", at->cert_file,
            left_ms < 0 ? "ended" : "ends", date.year, date.month, date.day,
            left_ms < 0                         ? ": clients refuse it"
            : left_ms < NET_CERTIFICATE_WARN_MS ? ", in less than two weeks: renew it"
                                                : "");
    }
    return true;
}

static void
add_all(struct buf *out, const struct policy *policy, const char *file, struct slice certificates)
{
    buf_addf(out, "%s is right.\n\nThe gateway\n", file);
    add_server(out, policy);
    buf_add_slice(out, certificates);
    add_proxies(out, policy);
    buf_addf(out, "\nModels (%d), and what a million tokens cost\n", (int)policy->model_count);
    add_models(out, policy);
    buf_addf(out, "\nLimits (%d)\n", (int)policy->limit_count);
    add_limits(out, policy);
}

/* --- JSON. */

/* Micro-USD per million tokens, as `prices list` has them. */
static void
json_price(struct buf *out, const struct price *price)
{
    buf_addf(out, ",\"priced\":%s,\"prices\":", price ? "true" : "false");
    if (!price) {
        buf_add_str(out, "null");
        return;
    }
    buf_add_char(out, '{');
    prices_json(out, &price->base);
    buf_add_char(out, '}');
}

static void
json_models(struct buf *out, const struct policy *policy)
{
    buf_add_str(out, "\"models\":[");
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        buf_add_str(out, i ? ",{\"name\":" : "{\"name\":");
        buf_add_json(out, slice_str(model->name));
        buf_addf(
            out, ",\"tier\":\"%s\",\"routes\":[", model->tier == TIER_PREMIUM ? "premium" : "free");
        for (int32_t r = 0; r < model->route_count; r++) {
            buf_add_str(out, r ? ",{\"provider\":" : "{\"provider\":");
            buf_add_json(out, slice_str(policy->providers[model->routes[r].provider].name));
            buf_add_str(out, ",\"model\":");
            buf_add_json(out, slice_str(model->routes[r].model));
            json_price(out, model->routes[r].price);
            buf_add_char(out, '}');
        }
        buf_add_str(out, "]}");
    }
    buf_add_char(out, ']');
}

int
print_whole(struct buf *out)
{
    const bool good = !out->failed;
    if (good) {
        text_print(out);
    }
    buf_free(out);
    return good ? EXIT_OK : cli_fail("no memory for the answer");
}

/* What the configuration would put in force. */
static int
check_config(const struct config_file *options)
{
    struct buf out = { 0 };
    struct policy *policy = config_load(options, true);
    struct buf certificates = { 0 };
    if (!policy || !add_certificates(&certificates, policy)) {
        policy_unref(policy);
        buf_free(&certificates);
        return EXIT_FAILED;
    }
    if (options->json) {
        char store[STORE_SHOWN_BYTES];
        store_url_shown(policy->store, store, sizeof(store));
        buf_add_str(&out, "{\"ok\":true,\"store\":");
        buf_add_json(&out, slice_str(store));
        buf_add_char(&out, ',');
        json_models(&out, policy);
        buf_add_char(&out, ',');
        limits_json(policy, &out);
        buf_add_str(&out, "}\n");
    } else {
        add_all(&out, policy, config_file_of(options), buf_slice(&certificates));
    }
    buf_free(&certificates);
    policy_unref(policy);
    return print_whole(&out);
}

int
command_check(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli };
    const char *file = NULL;
    bool store = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &file, false },
        { "--store", ARGUMENT_FLAG, &store, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (store) {
        return check_store(&door, file);
    }
    if (door.control || (file && door.config)) {
        (void)cli_fail("check: --control and a FILE beside --config go with --store");
        return EXIT_USAGE;
    }
    return check_config(&(struct config_file){ file ? file : door.config, door.json });
}
