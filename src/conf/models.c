/* conf/models.c: models, their routes and what these cost. */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_priv.h"
#include "conf/value_priv.h"
#include "tbl/provider_facts.h"

#define MODELS_MAX         4096
#define MAX_OUTPUT_UNKNOWN 128000
#define CONTEXT_UNKNOWN    1000000
#define MODEL_NAME_EXTRA   "-_.:/@+[]"

/* ---- prices written out ---- */

#define PRICE_NULL   (-1) /* written as null: what is used of it adds nothing and is marked */
#define PRICE_ABSENT (-2) /* not said: filled as the importer of price books does */

static int64_t
price_cached(struct conf *conf, const struct node *map, enum option option, int64_t absent)
{
    const struct node *node = doc_get(map, option_key(option));
    const bool null_said = node && node_is_null(node) && node->text.len > 0;
    return null_said ? PRICE_NULL : conf_number(conf, map, option, absent);
}

/* What stands here, else what stands below, else PRICE_ABSENT. */
static struct price_set
price_set_read(struct conf *conf, const struct node *map, const enum option options[5],
    const struct price_set *below)
{
    struct price_set set = {
        .input = conf_number(conf, map, options[0], below->input),
        .output = conf_number(conf, map, options[1], below->output),
        .cache_read = price_cached(conf, map, options[2], below->cache_read),
        .cache_write_5m = price_cached(conf, map, options[3], below->cache_write_5m),
        .cache_write_1h = price_cached(conf, map, options[4], PRICE_ABSENT),
    };
    if (set.cache_write_1h == PRICE_ABSENT && !doc_get(map, option_key(options[3]))) {
        set.cache_write_1h = below->cache_write_1h;
    }
    return set;
}

/* Cached input without a price of its own is priced as input, a write for an hour as a short one. */
static void
price_absent_fill(struct price_set *set)
{
    set->cache_read = set->cache_read == PRICE_ABSENT ? set->input : set->cache_read;
    set->cache_write_5m = set->cache_write_5m == PRICE_ABSENT ? set->input : set->cache_write_5m;
    set->cache_write_1h =
        set->cache_write_1h == PRICE_ABSENT ? set->cache_write_5m : set->cache_write_1h;
}

static void
price_tiers_read(struct conf *conf, const struct node *list, struct price *price)
{
    static const enum option options[5] = { OPTION_TIER_INPUT, OPTION_TIER_OUTPUT,
        OPTION_TIER_CACHE_READ, OPTION_TIER_CACHE_WRITE, OPTION_TIER_CACHE_WRITE_1H };
    if (list->child_count > PRICE_TIERS_MAX) {
        report_add(&conf->report, list, "a price has at most %d tiers", PRICE_TIERS_MAX);
        return;
    }
    const struct price_set *below = &price->base;
    int64_t above = 0;
    for (const struct node *node = list->first; node; node = node->next) {
        if (!conf_keys(conf, node, "models.*.price.tiers.*")) {
            continue;
        }
        const int32_t at = price->tier_count++;
        price->tiers[at].above_input_tokens = conf_number(conf, node, OPTION_TIER_ABOVE, above + 1);
        price->tiers[at].set = price_set_read(conf, node, options, below);
        if (price->tiers[at].above_input_tokens <= above) {
            report_add(&conf->report, node,
                "tiers must rise: 'above' of this one is not higher than the one before");
        }
        above = price->tiers[at].above_input_tokens;
        below = &price->tiers[at].set;
    }
}

static const struct price *
price_inline(struct conf *conf, const struct node *map, const char *id)
{
    static const enum option options[5] = { OPTION_PRICE_INPUT, OPTION_PRICE_OUTPUT,
        OPTION_PRICE_CACHE_READ, OPTION_PRICE_CACHE_WRITE, OPTION_PRICE_CACHE_WRITE_1H };
    static const struct price_set unset = { PRICE_NULL, PRICE_NULL, PRICE_ABSENT, PRICE_ABSENT,
        PRICE_ABSENT };
    struct price *price = conf_alloc(conf, 1, sizeof *price);
    if (!price || !conf_keys(conf, map, "models.*.price")) {
        return NULL;
    }
    price->id = id;
    price->base = price_set_read(conf, map, options, &unset);
    const struct node *tiers = conf_block(conf, map, OPTION_PRICE_TIERS);
    if (tiers) {
        price_tiers_read(conf, tiers, price);
    }
    price_absent_fill(
        &price->base); /* after the tiers: each fills what is open from its own input */
    for (int32_t i = 0; i < price->tier_count; i++) {
        price_absent_fill(&price->tiers[i].set);
    }
    return price;
}

static const struct price *
price_by_name(struct conf *conf, const struct node *map, enum option option)
{
    const char *name = conf_text(conf, map, option);
    if (!name) {
        return NULL;
    }
    const struct price *price = policy_price(conf->policy, slice_str(name));
    if (!price) {
        const struct node *node = doc_get(map, option_key(option));
        const char **ids = calloc((size_t)conf->policy->price_count + 1, sizeof *ids);
        for (int32_t i = 0; ids && i < conf->policy->price_count; i++) {
            ids[i] = conf->policy->prices[i].id;
        }
        const char *nearest =
            ids ? nearest_word(node->text, ids, (size_t)conf->policy->price_count) : NULL;
        report_add(&conf->report, node, "the price book has no '%s'%s%s%s", name,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
        free(ids);
    }
    return price;
}

/* The price that stands in a model or a route itself; *said tells whether one does, though it be wrong. */
static const struct price *
price_own(struct conf *conf, const struct node *map, const char *id, enum option price_option,
    enum option as_option, bool *said)
{
    const struct node *written = conf_find(conf, map, price_option);
    const struct node *as = doc_get(map, option_key(as_option));
    *said = written || as;
    if (written && as) {
        report_add(&conf->report, as->key, "keep either 'price' or 'price_as'");
        return NULL;
    }
    return written ? price_inline(conf, written, id) : price_by_name(conf, map, as_option);
}

/* ---- routes ---- */

static int32_t
route_provider(struct conf *conf, const struct node *map)
{
    const char *name = conf_text(conf, map, OPTION_ROUTE_PROVIDER);
    if (!name) {
        return 0;
    }
    const int32_t index = policy_provider_index(conf->policy, slice_str(name));
    if (index >= 0 || conf->policy->provider_count == 0) {
        return index >= 0 ? index : 0; /* that there are none at all is said elsewhere */
    }
    const struct node *node = doc_get(map, "provider");
    const char *names[256];
    size_t count = 0;
    for (int32_t i = 0; i < conf->policy->provider_count && count < countof(names); i++) {
        names[count++] = conf->policy->providers[i].name;
    }
    const char *nearest = nearest_word(node->text, names, count);
    char seen[64];
    report_add(&conf->report, node, "there is no provider %s%s%s%s", node_seen(node, seen),
        nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return 0;
}

static void
route_read(struct conf *conf, const struct node *map, const struct model *model,
    const struct price *model_price, bool model_said, struct route *route)
{
    if (!conf_keys(conf, map, "models.*.routes.*")) {
        return;
    }
    bool said = false;
    route->provider = route_provider(conf, map);
    const char *upstream = conf_text(conf, map, OPTION_ROUTE_MODEL);
    route->model = upstream ? upstream : model->name;
    if (upstream && strlen(upstream) > NAME_MAX_BYTES) {
        report_add(&conf->report, doc_get(map, "model"), "a model's id has at most %d bytes",
            NAME_MAX_BYTES);
    }
    route->price =
        price_own(conf, map, model->name, OPTION_ROUTE_PRICE, OPTION_ROUTE_PRICE_AS, &said);
    if (!said) {
        route->price =
            model_said ? model_price : policy_price(conf->policy, slice_str(route->model));
    }
}

static void
routes_read(struct conf *conf, const struct node *map, struct model *model)
{
    bool said = false;
    const struct price *price =
        price_own(conf, map, model->name, OPTION_MODEL_PRICE, OPTION_MODEL_PRICE_AS, &said);
    const struct node *list = conf_block(conf, map, OPTION_MODEL_ROUTES);
    if (!list) {
        return;
    }
    if (list->child_count == 0 || list->child_count > ROUTES_MAX) {
        report_add(&conf->report, list, "a model has 1 to %d routes", ROUTES_MAX);
        return;
    }
    for (const struct node *node = list->first; node; node = node->next) {
        struct route *route = &model->routes[model->route_count++];
        route->model = model->name;
        route_read(conf, node, model, price, said, route);
    }
}

/* ---- models ---- */

static bool
id_hides_reasoning(const char *id)
{
    static const char *const starts[] = {
#define START(text) text,
        HIDDEN_REASONING_MODELS(START)
#undef START
    };
    const char *slash = strrchr(id, '/');
    const struct slice last = slice_str(slash ? slash + 1 : id);
    for (size_t i = 0; i < countof(starts); i++) {
        if (slice_starts(last, slice_str(starts[i]))) {
            return true;
        }
    }
    return false;
}

/* Bounds that hold on every route: the largest known, or the default where any is not known. */
static void
model_bounds(struct conf *conf, const struct node *map, struct model *model)
{
    int64_t max_output = 0;
    int64_t context = 0;
    bool hides = false;
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct price *price = model->routes[i].price;
        max_output = max_i64(
            max_output, price && price->max_output > 0 ? price->max_output : MAX_OUTPUT_UNKNOWN);
        context = max_i64(context, price && price->context > 0 ? price->context : CONTEXT_UNKNOWN);
        hides = hides || id_hides_reasoning(model->routes[i].model);
    }
    model->max_output = conf_number(conf, map, OPTION_MODEL_MAX_OUTPUT, max_i64(1, max_output));
    model->context = conf_number(conf, map, OPTION_MODEL_CONTEXT, max_i64(1, context));
    model->hidden_reasoning = conf_number(conf, map, OPTION_MODEL_HIDDEN_REASONING, hides) != 0;
}

static void
model_read(struct conf *conf, const struct node *map, struct model *model)
{
    if (!value_name(map->key->text, MODEL_NAME_EXTRA, NAME_MAX_BYTES)) {
        char seen[64];
        report_add(&conf->report, map->key,
            "a model's name has letters, digits and any of " MODEL_NAME_EXTRA "; this is %s",
            node_seen(map->key, seen));
    }
    model->name = conf_copy(conf, map->key->text);
    model->max_output = MAX_OUTPUT_UNKNOWN;
    model->context = CONTEXT_UNKNOWN;
    if (!conf_keys(conf, map, "models.*")) {
        return;
    }
    model->tier = (enum tier)conf_number(conf, map, OPTION_MODEL_TIER, 0);
    routes_read(conf, map, model);
    model_bounds(conf, map, model);
    model->billed_retries = (int32_t)conf_number(conf, map, OPTION_MODEL_BILLED_RETRIES, 0);
}

static int
model_order(const void *left, const void *right)
{
    return strcmp(((const struct model *)left)->name, ((const struct model *)right)->name);
}

void
conf_models(struct conf *conf, const struct node *root)
{
    /* the words of models.*.tier stand in the order of its enum */
    _Static_assert(TIER_FREE == 0 && TIER_PREMIUM == 1, "models.*.tier");

    const struct node *map = conf_block(conf, root, OPTION_MODELS);
    if (!map) {
        return;
    }
    if (map->child_count == 0 || map->child_count > MODELS_MAX) {
        report_add(&conf->report, map, "a configuration has 1 to %d models", MODELS_MAX);
        return;
    }
    conf->policy->models = conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->models);
    if (!conf->policy->models) {
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        model_read(conf, node, &conf->policy->models[conf->policy->model_count++]);
    }
    qsort(conf->policy->models, (size_t)conf->policy->model_count, sizeof *conf->policy->models,
        model_order);
}
