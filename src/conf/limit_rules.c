/* conf/limit_rules.c: what happens at a cap, what is held, told and weighed, and which calls count. */
#include "conf/limits_priv.h"

#define AT_CAP_WORD(name, word) word,
static const char *const at_cap_words[] = { AT_CAP_KINDS(AT_CAP_WORD) };
#undef AT_CAP_WORD

static int
at_cap_find(struct slice text)
{
    for (size_t i = 0; i < countof(at_cap_words); i++) {
        if (slice_eq(slice_str(at_cap_words[i]), text)) {
            return (int)i;
        }
    }
    return -1;
}

static void
report_bill_user(struct conf *conf, const struct node *node)
{
    report_add(&conf->report, node,
        "at_cap: bill_user does not exist in this version yet, since no user can pay here; write refuse");
}

static void
downgrade_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const char *name = conf_text(conf, map, OPTION_AT_CAP_DOWNGRADE);
    const struct node *node = doc_get(map, "downgrade");
    char seen[64];
    const int32_t index = name ? policy_model_index(conf->policy, slice_str(name)) : -1;
    if (name && index < 0) {
        report_add(&conf->report, node, "there is no model %s", node_seen(node, seen));
    } else if (name && limit_of_model(limit, &conf->policy->models[index])) {
        report_add(&conf->report, node,
            "this limit counts calls to '%s' too, so they would not fit either; restrict it with 'of'",
            name);
    }
    limit->at_cap = AT_CAP_DOWNGRADE;
    limit->substitute = name;
}

static void
reroute_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const char *name = conf_text(conf, map, OPTION_AT_CAP_REROUTE);
    const struct node *node = doc_get(map, "reroute");
    char seen[64];
    if (name && policy_provider_index(conf->policy, slice_str(name)) < 0) {
        report_add(&conf->report, node, "there is no provider %s", node_seen(node, seen));
    } else if (name && (!limit->of_provider || strcmp(limit->of_provider, name) == 0)) {
        report_add(&conf->report, node,
            "this limit counts calls by '%s' too, so they would not fit either; restrict it with 'of: {provider: ...}'",
            name);
    }
    limit->at_cap = AT_CAP_REROUTE;
    limit->substitute = name;
}

static void
at_cap_map_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    if (doc_get(node, "bill_user")) {
        report_bill_user(conf, node);
        return;
    }
    if (!conf_keys(conf, node, "limits.*.at_cap")) {
        return;
    }
    if (node->child_count != 1) {
        report_add(&conf->report, node, "'at_cap' says one thing: %s",
            option_row(OPTION_LIMIT_AT_CAP)->form);
    } else if (doc_get(node, "queue")) {
        limit->at_cap = AT_CAP_QUEUE;
        limit->queue_ms = conf_number(conf, node, OPTION_AT_CAP_QUEUE, 0);
    } else if (doc_get(node, "downgrade")) {
        downgrade_read(conf, node, limit);
    } else {
        reroute_read(conf, node, limit);
    }
}

static void
at_cap_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_AT_CAP);
    limit->at_cap = AT_CAP_REFUSE;
    if (!node) {
        return;
    }
    if (node->kind == NODE_MAP) {
        at_cap_map_read(conf, node, limit);
        return;
    }
    const int word = node->kind == NODE_SCALAR ? at_cap_find(node->text) : -1;
    if (word == AT_CAP_BILL_USER) {
        report_bill_user(conf, node);
    } else if (word == AT_CAP_QUEUE || word == AT_CAP_DOWNGRADE || word == AT_CAP_REROUTE) {
        report_add(&conf->report, node, "at_cap: %s wants to know %s", at_cap_words[word],
            word == AT_CAP_QUEUE       ? "how long: {queue: 30s}"
            : word == AT_CAP_DOWNGRADE ? "to which model: {downgrade: MODEL}"
                                       : "to which provider: {reroute: PROVIDER}");
    } else if (word < 0) {
        conf_wants(conf, node, OPTION_LIMIT_AT_CAP);
    } else {
        limit->at_cap = (enum at_cap_kind)word;
    }
}

static bool
counts_money_or_tokens(const struct limit *limit)
{
    return limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS;
}

static void
hold_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_HOLD);
    limit->hold = HOLD_MODE_STREAM;
    if (node && !counts_money_or_tokens(limit)) {
        report_add(&conf->report, node->key,
            "only a limit of cost or tokens holds an amount; take 'hold' out");
    } else if (node) {
        limit->hold = (enum hold_mode)conf_number(conf, map, OPTION_LIMIT_HOLD, HOLD_MODE_STREAM);
    }
    if (limit->hold == HOLD_MODE_STRICT && conf->policy->orphans == ORPHAN_RELEASE) {
        report_add(&conf->report, node->key,
            "a strict limit cannot keep its cap beside orphaned_holds: release; take one of them out");
    }
    if (limit->hold != HOLD_MODE_STREAM && limit->window == WINDOW_BUCKET) {
        report_add(&conf->report, node->key, "a rate is charged as calls come; take 'hold' out");
    }
}

static void
warn_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *list = conf_block(conf, map, OPTION_LIMIT_WARN);
    if (limit->at_cap == AT_CAP_WARN && !list) {
        limit->warn_pct[limit->warn_count++] = 100;
    }
    const bool adds_up = limit->counts != COUNT_IN_FLIGHT && limit->window != WINDOW_BUCKET
                         && limit->counts != COUNT_REPORTED;
    if (!adds_up && (list || limit->at_cap == AT_CAP_WARN)) {
        report_add(&conf->report, list ? list->key : doc_get(map, "at_cap"),
            "only what adds up over a window can be warned of: neither a rate, nor calls in flight, nor what is reported");
        return;
    }
    int64_t before = 0;
    for (const struct node *node = list ? list->first : NULL; node; node = node->next) {
        int64_t pct = 0;
        char seen[64];
        if (limit->warn_count == LIMIT_WARN_MAX || node->kind != NODE_SCALAR
            || !value_count(node->text, &pct) || pct < 1 || pct > 1000 || pct <= before) {
            report_add(&conf->report, node,
                "'warn' wants up to %d percentages from 1 to 1000, each above the one before; this is %s",
                LIMIT_WARN_MAX, node_seen(node, seen));
            return;
        }
        before = pct;
        limit->warn_pct[limit->warn_count++] = (int32_t)pct;
    }
}

static void
weights_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *weights = conf_block(conf, map, OPTION_LIMIT_WEIGHTS);
    if (!weights) {
        return;
    }
    if (limit->counts != COUNT_REQUESTS) {
        report_add(&conf->report, weights->key, "only requests have weights; take 'weights' out");
        return;
    }
    limit->weights = conf_alloc(conf, (size_t)weights->child_count, sizeof *limit->weights);
    for (const struct node *node = weights->first; node && limit->weights; node = node->next) {
        int64_t units = 0;
        char seen[64];
        if (node->kind != NODE_SCALAR || !value_count(node->text, &units) || units > 1000000) {
            report_add(&conf->report, node, "a weight is a whole number up to 1000000; this is %s",
                node_seen(node, seen));
            continue;
        }
        limit->weights[limit->weight_count++] =
            (struct weight){ conf_copy(conf, node->key->text), units };
    }
}

static void
reported_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    static const enum option options[] = { OPTION_LIMIT_ON_MISSING, OPTION_LIMIT_ON_STALE,
        OPTION_LIMIT_MAX_AGE };
    if (limit->counts == COUNT_REPORTED) {
        limit->on_missing =
            (enum fact_rule)conf_number(conf, map, OPTION_LIMIT_ON_MISSING, FACT_ALLOW);
        limit->on_stale =
            (enum fact_rule)conf_number(conf, map, OPTION_LIMIT_ON_STALE, FACT_TREAT_AS_RESET);
        limit->max_age_ms = conf_number(conf, map, OPTION_LIMIT_MAX_AGE, 15 * MINUTE_MS);
        return;
    }
    for (size_t i = 0; i < countof(options); i++) {
        const struct node *node = doc_get(map, option_key(options[i]));
        if (node) {
            report_add(&conf->report, node->key,
                "only what is reported can be missing or stale; take '%s' out",
                option_key(options[i]));
        }
    }
}

bool
limit_of_model(const struct limit *limit, const struct model *model)
{
    return (!limit->of_model || strcmp(limit->of_model, model->name) == 0)
           && (limit->of_tier < 0 || limit->of_tier == (int32_t)model->tier);
}

/* Both conditions hold at once, so a limit that no model can meet would never count anything. */
static void
of_judge(struct conf *conf, const struct node *of, const struct limit *limit)
{
    const char *tier = limit->of_tier == TIER_PREMIUM ? "premium" : "free";
    for (int32_t i = 0; i < conf->policy->model_count; i++) {
        if (limit_of_model(limit, &conf->policy->models[i])) {
            return;
        }
    }
    if (limit->of_model) {
        report_add(&conf->report, of,
            "this limit would count nothing: model '%s' is not of tier %s; keep either 'model' or 'tier'",
            limit->of_model, tier);
    } else {
        report_add(&conf->report, doc_get(of, "tier"),
            "this limit would count nothing: no model here is of tier %s", tier);
    }
}

static void
of_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    limit->of_tier = -1;
    const struct node *of = conf_block(conf, map, OPTION_LIMIT_OF);
    if (!of || !conf_keys(conf, of, "limits.*.of")) {
        return;
    }
    limit->of_model = conf_text(conf, of, OPTION_OF_MODEL);
    limit->of_provider = conf_text(conf, of, OPTION_OF_PROVIDER);
    if (limit->of_provider
        && policy_provider_index(conf->policy, slice_str(limit->of_provider)) < 0) {
        char seen[64];
        report_add(&conf->report, doc_get(of, "provider"), "there is no provider %s",
            node_seen(doc_get(of, "provider"), seen));
    }
    limit->of_tier = (int32_t)conf_number(conf, of, OPTION_OF_TIER, -1);
    if (limit->of_model && policy_model_index(conf->policy, slice_str(limit->of_model)) < 0) {
        char seen[64];
        report_add(&conf->report, doc_get(of, "model"), "there is no model %s",
            node_seen(doc_get(of, "model"), seen));
    } else if (limit->of_tier >= 0 && conf->policy->model_count > 0) {
        of_judge(conf, of, limit);
    }
}

void
limit_rules_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    of_read(conf, map, limit);
    at_cap_read(conf, map, limit);
    hold_read(conf, map, limit);
    warn_read(conf, map, limit);
    weights_read(conf, map, limit);
    reported_read(conf, map, limit);
}
