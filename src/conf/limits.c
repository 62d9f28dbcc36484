/* conf/limits.c: limits: which exist, what they cap, and the fingerprint that usage is kept by. */
#include <stdio.h>

#include "base/secret.h"
#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define LIMIT_NAME_BYTES_MAX 63
#define LIMITS_PER_CALL_MAX  HOLD_PARTS_MAX /* each is a part of the hold */

struct word_row {
    const char *word;
};
#define WORD_ROW(name, word) { word },
static const struct word_row count_words[] = { COUNT_KINDS(WORD_ROW) };
static const struct word_row per_words[] = { PER_KINDS(WORD_ROW) };
static const struct word_row window_words[] = { WINDOW_KINDS(WORD_ROW) };
static const struct word_row at_cap_words[] = { AT_CAP_KINDS(WORD_ROW) };
#undef WORD_ROW

/* Index of a word, or -1. */
static int
word_find(const struct word_row *rows, size_t count, struct slice text)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(slice_str(rows[i].word), text)) {
            return (int)i;
        }
    }
    return -1;
}

static void
report_no_word(struct conf *conf, const struct node *node, enum option option,
    const struct word_row *rows, size_t count)
{
    const char *words[32];
    char seen[64];
    for (size_t i = 0; i < count && i < countof(words); i++) {
        words[i] = rows[i].word;
    }
    const char *nearest = nearest_word(node->text, words, count);
    if (nearest) {
        report_add(&conf->report, node, "unknown word %s of '%s'; did you mean '%s'?",
            node_seen(node, seen), option_key(option), nearest);
    } else {
        conf_wants(conf, node, option);
    }
}

/* A word of a table; -1 after a finding, also when it is missing. */
static int
word_read(struct conf *conf, const struct node *map, enum option option,
    const struct word_row *rows, size_t count)
{
    const struct node *node = conf_find(conf, map, option);
    if (!node) {
        return -1;
    }
    if (node->kind != NODE_SCALAR) {
        conf_wants(conf, node, option);
        return -1;
    }
    const ptrdiff_t space = slice_find(node->text, SLICE(" ")); /* "reported 5h" */
    const struct slice first = slice_of(node->text.ptr, space < 0 ? node->text.len : (size_t)space);
    int word = word_find(rows, count, node->text);
    if (word < 0 && slice_eq(first, SLICE("reported"))) {
        word = word_find(rows, count, first);
    }
    if (word < 0) {
        report_no_word(conf, node, option, rows, count);
    }
    return word;
}

/* ---- which forms exist ---- */

static bool
count_exists(enum count_kind counts)
{
    for (int per = 0; per < PER_KIND_COUNT; per++) {
        for (int window = 0; window < WINDOW_KIND_COUNT; window++) {
            if (limit_form_exists(counts, (enum per_kind)per, (enum window_kind)window)) {
                return true;
            }
        }
    }
    return false;
}

/* Adds a piece of text while there is room. */
static void
say(char *out, size_t size, const char *piece)
{
    const size_t len = strlen(out);
    (void)snprintf(out + len, size - len, "%s", piece);
}

/* After "over": the words of a window as a person says them. */
static const char *
window_phrase(enum window_kind window)
{
    switch (window) {
    case WINDOW_LIFETIME: return "its lifetime";
    case WINDOW_DAY: return "a day";
    case WINDOW_WEEK: return "a week";
    case WINDOW_MONTH: return "a month";
    case WINDOW_BUCKET: return "a rate";
    case WINDOW_ROLLING: return "a rolling window";
    case WINDOW_FIRST_USE: return "a window from its first use";
    case WINDOW_REPORTED: return "a reported window";
    case WINDOW_CONCURRENCY:
    case WINDOW_KIND_COUNT: break;
    }
    return "";
}

/* In the words of the file: "per account over day, week, month; per thread_tree over lifetime" */
static void
forms_text(enum count_kind counts, char *out, size_t size)
{
    out[0] = '\0';
    for (int per = 0; per < PER_KIND_COUNT; per++) {
        bool any = false;
        for (int window = 0; window < WINDOW_KIND_COUNT; window++) {
            if (limit_form_exists(counts, (enum per_kind)per, (enum window_kind)window)) {
                if (!any) {
                    say(out, size, out[0] == '\0' ? "per " : "; per ");
                    say(out, size, per_word((enum per_kind)per));
                }
                if (window != WINDOW_CONCURRENCY) {
                    say(out, size, any ? ", " : " over ");
                    say(out, size,
                        window == WINDOW_BUCKET ? "a rate" : window_word((enum window_kind)window));
                }
                any = true;
            }
        }
    }
}

static void
report_no_form(struct conf *conf, const struct node *map, const struct limit *limit)
{
    char forms[200] = "";
    const struct node *place = doc_get(map, "counts");
    if (!count_exists(limit->counts)) {
        for (int counts = 0; counts < COUNT_KIND_COUNT; counts++) {
            if (count_exists((enum count_kind)counts)) {
                say(forms, sizeof forms, forms[0] == '\0' ? "" : ", ");
                say(forms, sizeof forms, count_word((enum count_kind)counts));
            }
        }
        report_add(&conf->report, place,
            "limits that count %s do not exist in this version yet; these do: %s",
            count_word(limit->counts), forms);
        return;
    }
    const char *over = limit->window == WINDOW_CONCURRENCY ? "" : " over ";
    const char *window = limit->window == WINDOW_CONCURRENCY ? "" : window_phrase(limit->window);
    forms_text(limit->counts, forms, sizeof forms);
    report_add(&conf->report, place,
        "a limit of %s per %s%s%s does not exist in this version yet; it exists %s",
        count_word(limit->counts), per_word(limit->per), over, window, forms);
}

/* ---- windows ---- */

static bool
rate_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    if (!node) {
        return false;
    }
    if (node->kind != NODE_SCALAR || !value_rate(node->text, &limit->rate, &limit->period_ms)
        || limit->rate == 0 || limit->rate > 1000000000) {
        limit->rate = 0;
        conf_wants(conf, node, OPTION_WINDOW_RATE);
        return false;
    }
    limit->burst = limit->rate;
    return true;
}

/* False after a finding. */
static bool
window_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_WINDOW);
    if (!node) {
        if (limit->counts == COUNT_IN_FLIGHT || limit->counts == COUNT_LIVE_SESSIONS) {
            limit->window = WINDOW_CONCURRENCY;
            return true;
        }
        if (!count_exists(limit->counts)) {
            return true; /* said elsewhere, and better */
        }
        report_add(&conf->report, map->key, "'window' is missing here: %s",
            option_row(OPTION_LIMIT_WINDOW)->form);
        return false;
    }
    if (node->kind == NODE_MAP) {
        limit->window = WINDOW_BUCKET;
        if (!conf_keys(conf, node, "limits.*.window")
            || !rate_read(conf, conf_find(conf, node, OPTION_WINDOW_RATE), limit)) {
            return false;
        }
        limit->burst = conf_number(conf, node, OPTION_WINDOW_BURST, limit->rate);
        return true;
    }
    if (node->kind == NODE_SCALAR && slice_find(node->text, SLICE("/")) >= 0) {
        limit->window = WINDOW_BUCKET;
        return rate_read(conf, node, limit);
    }
    int word =
        node->kind == NODE_SCALAR ? word_find(window_words, countof(window_words), node->text) : -1;
    if (node->kind == NODE_SCALAR && slice_ends(node->text, SLICE(" rolling"))) {
        word = WINDOW_ROLLING;
    }
    if (word < 0 || word == WINDOW_BUCKET) {
        conf_wants(conf, node, OPTION_LIMIT_WINDOW);
        return false;
    }
    limit->window = (enum window_kind)word;
    return true;
}

static bool
window_calendar(enum window_kind window)
{
    return window == WINDOW_DAY || window == WINDOW_WEEK || window == WINDOW_MONTH;
}

/* The zone's name, for the fingerprint; NULL where there is no calendar. */
static const char *
zone_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const char *name = conf_text(conf, map, OPTION_LIMIT_ZONE);
    if (!window_calendar(limit->window)) {
        if (name) {
            report_add(&conf->report, doc_get(map, "zone")->key,
                "only a day, a week or a month has a zone; take it out");
        }
        return NULL;
    }
    if (!name) {
        limit->zone = conf->policy->zone;
        return conf->policy->zone_name;
    }
    limit->zone = conf_zone(conf, doc_get(map, "zone"), name);
    return name;
}

/* ---- caps ---- */

static bool
amount_read(struct conf *conf, const struct node *node, const struct limit *limit, int64_t *amount)
{
    const bool money = limit->counts == COUNT_COST;
    char seen[64];
    if (node->kind == NODE_SCALAR && slice_eq(node->text, SLICE("unlimited"))) {
        *amount = CAP_UNLIMITED;
        return true;
    }
    if (node->kind == NODE_SCALAR
        && (money ? value_money(node->text, amount)
                  : value_count(node->text, amount) && *amount <= MONEY_MICROS_MAX)) {
        return true;
    }
    report_add(&conf->report, node, "a cap of %s wants %s; this is %s", count_word(limit->counts),
        money ? "money such as 50 USD or 500000 micros, or unlimited"
              : "a whole number such as 8, or unlimited",
        node_seen(node, seen));
    *amount = CAP_UNLIMITED;
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
cap_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_CAP);
    if (limit->window == WINDOW_BUCKET) {
        if (node) {
            report_add(&conf->report, node->key,
                "a rate has no cap: its number stands in 'window'; take it out");
        }
        limit->cap_default = limit->burst;
        return;
    }
    if (!node) {
        report_add(&conf->report, map->key, "'cap' is missing here: %s",
            option_row(OPTION_LIMIT_CAP)->form);
        return;
    }
    if (node->kind != NODE_MAP) {
        (void)amount_read(conf, node, limit, &limit->cap_default);
        return;
    }
    (void)conf_keys(conf, node, "limits.*.cap");
    const struct node *preset = conf_find(conf, node, OPTION_CAP_DEFAULT);
    const struct node *plans = conf_block(conf, node, OPTION_CAP_PLAN);
    if (preset) {
        (void)amount_read(conf, preset, limit, &limit->cap_default);
    }
    if (plans && limit->per == PER_GATEWAY) {
        report_add(&conf->report, plans->key,
            "all callers share a limit per gateway, so its cap cannot differ by plan; write one amount");
    } else if (plans) {
        plan_caps_read(conf, plans, limit);
    }
    if (node->child_count == 0) {
        conf_wants(conf, node, OPTION_LIMIT_CAP);
    }
}

/* ---- the rest ---- */

static void
at_cap_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_AT_CAP);
    limit->at_cap = AT_CAP_REFUSE;
    if (!node || (node->kind == NODE_SCALAR && slice_eq(node->text, SLICE("refuse")))) {
        return;
    }
    const struct slice word =
        node->kind == NODE_MAP && node->first ? node->first->key->text : node->text;
    if (node->kind != NODE_LIST && word_find(at_cap_words, countof(at_cap_words), word) >= 0) {
        report_add(&conf->report, node,
            "at_cap: %s does not exist in this version yet; refuse does", word.ptr);
    } else {
        conf_wants(conf, node, OPTION_LIMIT_AT_CAP);
    }
}

static void
hold_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_HOLD);
    limit->hold = HOLD_MODE_STREAM;
    if (!node) {
        return;
    }
    if (limit->counts != COUNT_COST) {
        report_add(&conf->report, node->key, "only a limit of cost holds money; take 'hold' out");
    } else if (node->kind == NODE_SCALAR
               && (slice_eq(node->text, SLICE("strict")) || slice_eq(node->text, SLICE("none")))) {
        report_add(&conf->report, node, "hold: %s does not exist in this version yet; stream does",
            node->text.ptr);
    } else if (node->kind != NODE_SCALAR || !slice_eq(node->text, SLICE("stream"))) {
        conf_wants(conf, node, OPTION_LIMIT_HOLD);
    }
}

static bool
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
    limit->of_tier = (int32_t)conf_number(conf, of, OPTION_OF_TIER, -1);
    if (limit->of_model && policy_model_index(conf->policy, slice_str(limit->of_model)) < 0) {
        char seen[64];
        report_add(&conf->report, doc_get(of, "model"), "there is no model %s",
            node_seen(doc_get(of, "model"), seen));
    } else if (limit->of_tier >= 0 && conf->policy->model_count > 0) {
        of_judge(conf, of, limit);
    }
}

/* What must stay for usage to be kept. A bucket's level is stored in units times its period, so the
 * period belongs to it; amounts never do. */
static void
fingerprint(struct limit *limit, const char *zone_name)
{
    char text[640]; /* words, a zone's name and a model's: each is bounded */
    const int len = snprintf(text, sizeof text,
        "counts=%s per=%s window=%s zone=%s of_model=%s of_tier=%d period_ms=%lld",
        count_word(limit->counts), per_word(limit->per), window_word(limit->window),
        zone_name ? zone_name : "", limit->of_model ? limit->of_model : "", (int)limit->of_tier,
        (long long)limit->period_ms);
    if (len > 0 && (size_t)len < sizeof text) { /* a longer one was refused by its parts */
        secret_hash_hex(slice_of(text, (size_t)len), limit->fingerprint);
    }
}

static void
limit_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    if (!conf_keys(conf, map, "limits.*")) {
        return;
    }
    const int counts = word_read(conf, map, OPTION_LIMIT_COUNTS, count_words, countof(count_words));
    const int per = word_read(conf, map, OPTION_LIMIT_PER, per_words, countof(per_words));
    limit->counts = counts < 0 ? COUNT_COST : (enum count_kind)counts;
    limit->per = per < 0 ? PER_ACCOUNT : (enum per_kind)per;
    at_cap_read(conf, map, limit);
    of_read(conf, map, limit);
    if (counts < 0 || per < 0 || !window_read(conf, map, limit)) {
        return; /* what follows would only repeat it */
    }
    if (!limit_form_exists(limit->counts, limit->per, limit->window)) {
        report_no_form(conf, map, limit);
        return;
    }
    hold_read(conf, map, limit);
    cap_read(conf, map, limit);
    fingerprint(limit, zone_read(conf, map, limit));
}

/* ---- bounds ---- */

/* A call carries at most so many holds; no model may be under more limits. */
static void
check_limits_per_call(struct conf *conf, const struct node *map)
{
    for (int32_t m = 0; m < conf->policy->model_count; m++) {
        const struct model *model = &conf->policy->models[m];
        const struct limit *limit = conf->policy->limits;
        int count = 0;
        for (const struct node *node = map->first; node; node = node->next, limit++) {
            if (limit_of_model(limit, model) && ++count > LIMITS_PER_CALL_MAX) {
                report_add(&conf->report, node->key,
                    "at most %d limits can apply to one call; this is one more for model '%s'",
                    LIMITS_PER_CALL_MAX, model->name);
                return;
            }
        }
    }
}

/* All meters of a subject live in one row; a calendar limit can need two, while calls of the window
 * before are in flight. */
static void
check_meters_per_subject(struct conf *conf, const struct node *map)
{
    int meter_counts[PER_KIND_COUNT] = { 0 };
    const struct limit *limit = conf->policy->limits;
    for (const struct node *node = map->first; node; node = node->next, limit++) {
        meter_counts[limit->per] += window_calendar(limit->window) ? 2 : 1;
        if (meter_counts[limit->per] > METERS_MAX) {
            report_add(&conf->report, node->key,
                "too many limits per %s: their meters must fit into one row of %d, a calendar limit takes two",
                per_word(limit->per), METERS_MAX);
            return;
        }
    }
}

static bool
limit_name_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return name.len > 0 && name.len <= LIMIT_NAME_BYTES_MAX;
}

void
conf_limits(struct conf *conf, const struct node *root)
{
    const struct node *map = conf_block(conf, root, OPTION_LIMITS);
    if (!map || map->child_count == 0) {
        return;
    }
    if (map->child_count > POLICY_LIMITS_MAX) {
        report_add(&conf->report, map, "a configuration has at most %d limits", POLICY_LIMITS_MAX);
        return;
    }
    conf->policy->limits = conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->limits);
    if (!conf->policy->limits) {
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        struct limit *limit = &conf->policy->limits[conf->policy->limit_count++];
        limit->name = conf_copy(conf, node->key->text);
        limit->line = node->key->line;
        limit->cap_default = CAP_UNLIMITED;
        limit->of_tier = -1;
        if (!limit_name_valid(node->key->text)) {
            char seen[64];
            report_add(&conf->report, node->key,
                "a limit's name has up to %d of a-z, 0-9 and '-'; this is %s", LIMIT_NAME_BYTES_MAX,
                node_seen(node->key, seen));
        }
        limit_read(conf, node, limit);
    }
    check_limits_per_call(conf, map);
    check_meters_per_subject(conf, map);
}
