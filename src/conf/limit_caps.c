/* conf/limit_caps.c: up to how much: for everybody, by plan, by group, or set per account. */
#include "conf/limits_priv.h"

#define MONEY_HIGHEST "2305843009213.693951 USD"
_Static_assert(MONEY_MICROS_MAX == INT64_C(2305843009213693951), "as MONEY_HIGHEST says");

/* Whether the text is an amount above all that there are: digits, for money with a unit, and perhaps decimals. */
static bool
is_too_large(struct slice text, bool money)
{
    static const char *const units[] = { " USD", " micros" };
    int64_t whole = 0;
    size_t unit = 0;
    while (money && unit < countof(units) && !slice_ends(text, slice_str(units[unit]))) {
        unit++;
    }
    if (unit == countof(units)) {
        return false;
    }
    text.len -= money ? strlen(units[unit]) : 0;
    const ptrdiff_t point = money && unit == 0 ? slice_find(text, SLICE(".")) : -1;
    text.len = point >= 0 ? (size_t)point : text.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    const int64_t highest =
        money && unit == 0 ? MONEY_MICROS_MAX / MICROS_PER_USD : MONEY_MICROS_MAX;
    return text.len > 0 && (!slice_to_i64(text, &whole) || whole > highest);
}

static bool
amount_read(struct conf *conf, const struct node *node, const struct limit *limit, int64_t *amount)
{
    const bool money = limit->counts == COUNT_COST;
    const bool percent = limit->counts == COUNT_REPORTED;
    char seen[64];
    if (node->kind == NODE_SCALAR && slice_eq(node->text, SLICE("unlimited"))) {
        *amount = CAP_UNLIMITED;
        return true;
    }
    const bool read =
        node->kind == NODE_SCALAR
        && (money ? value_money(node->text, amount) : value_count(node->text, amount));
    if (read && *amount <= MONEY_MICROS_MAX && (!percent || (*amount >= 1 && *amount <= 100))) {
        return true;
    }
    *amount = CAP_UNLIMITED;
    if (!percent && node->kind == NODE_SCALAR && is_too_large(node->text, money)) {
        report_add(&conf->report, node, "a cap of %s is too large; the highest is %s; this is %s",
            count_word(limit->counts), money ? MONEY_HIGHEST : "2305843009213693951",
            node_seen(node, seen));
        return false;
    }
    report_add(&conf->report, node, "a cap of %s wants %s; this is %s", count_word(limit->counts),
        money     ? "money such as 50 USD or 500000 micros, or unlimited"
        : percent ? "a percentage from 1 to 100, or unlimited"
                  : "a whole number such as 8, or unlimited",
        node_seen(node, seen));
    return false;
}

static void
plan_caps_read(struct conf *conf, const struct node *plans, struct limit *limit)
{
    limit->plan_caps = conf_alloc(conf, (size_t)plans->child_count, sizeof *limit->plan_caps);
    if (!limit->plan_caps) {
        return;
    }
    for (const struct node *node = plans->first; node; node = node->next) {
        char seen[64];
        if (!policy_has_plan(conf->policy, node->key->text)) {
            report_add(&conf->report, node->key, "there is no plan %s", node_seen(node->key, seen));
            continue;
        }
        struct plan_cap *cap = &limit->plan_caps[limit->plan_cap_count++];
        cap->plan = conf_copy(conf, node->key->text);
        (void)amount_read(conf, node, limit, &cap->cap);
    }
}

static void
group_caps_read(struct conf *conf, const struct node *groups, struct limit *limit)
{
    limit->group_caps = conf_alloc(conf, (size_t)groups->child_count, sizeof *limit->group_caps);
    if (!limit->group_caps) {
        return;
    }
    for (const struct node *node = groups->first; node; node = node->next) {
        char seen[64];
        const int32_t group = policy_group_index(conf->policy, node->key->text);
        if (group < 0) {
            report_add(
                &conf->report, node->key, "there is no group %s", node_seen(node->key, seen));
            continue;
        }
        struct plan_cap *cap = &limit->group_caps[limit->group_cap_count++];
        cap->plan = conf->policy->groups[group].name;
        (void)amount_read(conf, node, limit, &cap->cap);
    }
}

/* Whether the accounts that share one meter may differ in their plan or group. */
static bool
is_shared(enum per_kind per)
{
    return per == PER_GATEWAY || per == PER_MODEL || per == PER_TIER || per == PER_TAG
           || per == PER_ORGANISATION;
}

static void
caps_by_class_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    const struct node *plans = conf_block(conf, node, OPTION_CAP_PLAN);
    const struct node *groups = conf_block(conf, node, OPTION_CAP_GROUP);
    const struct node *shared = plans ? plans : groups;
    if (shared && is_shared(limit->per)) {
        report_add(&conf->report, shared->key,
            "all callers share a limit per %s, so its cap cannot differ by %s; write one amount",
            per_word(limit->per), plans ? "plan" : "group");
        return;
    }
    if (plans && limit->per == PER_GROUP) {
        report_add(&conf->report, plans->key,
            "a group has no plan: write its cap under 'group', or one amount");
        return;
    }
    if (groups && limit->per == PER_PLAN) {
        report_add(&conf->report, groups->key,
            "all accounts of a plan share this limit, so its cap cannot differ by group; write it under 'plan'");
        return;
    }
    if (plans) {
        plan_caps_read(conf, plans, limit);
    }
    if (groups) {
        group_caps_read(conf, groups, limit);
    }
    limit->combine = (enum group_combine)conf_number(conf, node, OPTION_CAP_COMBINE, COMBINE_MIN);
}

static void
cap_map_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    (void)conf_keys(conf, node, "limits.*.cap");
    const struct node *preset = conf_find(conf, node, OPTION_CAP_DEFAULT);
    if (preset) {
        (void)amount_read(conf, preset, limit, &limit->cap_default);
    }
    caps_by_class_read(conf, node, limit);
    limit->set = conf_text(conf, node, OPTION_CAP_SET);
    if (limit->set && !value_name(slice_str(limit->set), "_-", 63)) {
        conf_wants(conf, doc_get(node, "set"), OPTION_CAP_SET);
    }
    if (node->child_count == 0) {
        conf_wants(conf, node, OPTION_LIMIT_CAP);
    }
}

void
limit_cap_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_CAP);
    if (limit->window == WINDOW_BUCKET) {
        if (node) {
            report_add(&conf->report, node->key,
                "a rate has no cap: its number stands in 'window'; take it out");
        }
        limit->cap_default = limit->burst;
    } else if (!node) {
        report_add(&conf->report, map->key, "'cap' is missing here: %s",
            option_row(OPTION_LIMIT_CAP)->form);
    } else if (node->kind == NODE_MAP) {
        cap_map_read(conf, node, limit);
    } else {
        (void)amount_read(conf, node, limit, &limit->cap_default);
    }
}
