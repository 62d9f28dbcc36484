/* conf/limit_window.c: over which time a limit counts. */
#include "conf/limits_priv.h"

#define SPAN_MS_MAX       (3660 * DAY_MS)
#define UNITS_AT_ONCE_MAX 1000000000 /* of requests or tokens */

/* "60/min", of cost "5 USD/h". */
static bool
rate_value(const struct limit *limit, struct slice text, int64_t *rate, int64_t *period_ms)
{
    const ptrdiff_t slash = slice_find(text, SLICE("/"));
    if (limit->counts != COUNT_COST || slash < 0) {
        return value_rate(text, rate, period_ms) && *rate <= UNITS_AT_ONCE_MAX;
    }
    char one[32] = "1";
    const struct slice period = slice_of(text.ptr + slash, text.len - (size_t)slash);
    if (period.len + 2 > sizeof one) {
        return false;
    }
    memcpy(one + 1, period.ptr, period.len);
    int64_t unit = 0;
    return value_money(slice_of(text.ptr, (size_t)slash), rate)
           && value_rate(slice_of(one, period.len + 1), &unit, period_ms);
}

static int64_t
burst_max(const struct limit *limit)
{
    const int64_t most = policy_cap_max(limit);
    return limit->counts == COUNT_COST ? most : min_i64(most, UNITS_AT_ONCE_MAX);
}

/* Without a burst of its own, as much may come at once as in a whole period. */
static bool
rate_is_burst(struct conf *conf, const struct node *node, struct limit *limit)
{
    char seen[64];
    if (limit->rate <= burst_max(limit)) {
        limit->burst = limit->rate;
        return true;
    }
    report_add(&conf->report, node,
        "at most %lld USD can be let through at once by such a rate: write {rate: ..., burst: ...}, or 'window: day' with a cap; this is %s",
        (long long)(burst_max(limit) / MICROS_PER_USD), node_seen(node, seen));
    return false;
}

static bool
rate_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    if (!node) {
        return false;
    }
    if (node->kind != NODE_SCALAR || !rate_value(limit, node->text, &limit->rate, &limit->period_ms)
        || limit->rate == 0) {
        limit->rate = 0;
        conf_wants(conf, node, OPTION_WINDOW_RATE);
        return false;
    }
    return true;
}

static bool
burst_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_WINDOW_BURST);
    char seen[64];
    if (!node) {
        return rate_is_burst(conf, conf_find(conf, map, OPTION_WINDOW_RATE), limit);
    }
    const bool money = limit->counts == COUNT_COST;
    int64_t burst = 0;
    const bool read =
        node->kind == NODE_SCALAR
        && (money ? value_money(node->text, &burst) : value_count(node->text, &burst));
    if (!read) {
        report_add(&conf->report, node, "'burst' wants %s; this is %s",
            money ? "money such as 1 USD" : "a whole number such as 10", node_seen(node, seen));
        return false;
    }
    limit->burst = burst;
    if (burst < 1 || burst > burst_max(limit)) {
        report_add(&conf->report, node, "'burst' must lie between 1%s and %lld%s; this is %s",
            money ? " micros" : "", (long long)(burst_max(limit) / (money ? MICROS_PER_USD : 1)),
            money ? " USD" : "", node_seen(node, seen));
        return false;
    }
    return true;
}

/* "20h rolling", "5h from first use". */
static bool
span_read(struct conf *conf, const struct node *node, struct limit *limit)
{
    static const struct {
        const char *tail;
        enum window_kind window;
    } forms[] = { { " rolling", WINDOW_ROLLING }, { " from first use", WINDOW_FIRST_USE },
        { " first_use", WINDOW_FIRST_USE } };
    for (size_t i = 0; i < countof(forms); i++) {
        const struct slice tail = slice_str(forms[i].tail);
        if (!slice_ends(node->text, tail)) {
            continue;
        }
        const struct slice span = slice_of(node->text.ptr, node->text.len - tail.len);
        char seen[64];
        limit->window = forms[i].window;
        if (value_duration(span, &limit->span_ms) && limit->span_ms >= SECOND_MS
            && limit->span_ms <= SPAN_MS_MAX) {
            return true;
        }
        report_add(&conf->report, node,
            "a window of this kind lasts between 1s and 3660d, such as 20h%s; this is %s",
            forms[i].tail, node_seen(node, seen));
        return false;
    }
    conf_wants(conf, node, OPTION_LIMIT_WINDOW);
    return false;
}

static bool
window_needs_none(struct conf *conf, const struct node *map, struct limit *limit)
{
    const bool seats = limit->counts == COUNT_IN_FLIGHT || limit->counts == COUNT_LIVE_SESSIONS;
    if (seats || limit->counts == COUNT_REPORTED) {
        limit->window = seats ? WINDOW_CONCURRENCY : WINDOW_REPORTED;
        return true;
    }
    report_add(&conf->report, map->key, "'window' is missing here: %s",
        option_row(OPTION_LIMIT_WINDOW)->form);
    return false;
}

bool
limit_window_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = conf_find(conf, map, OPTION_LIMIT_WINDOW);
    if (!node) {
        return window_needs_none(conf, map, limit);
    }
    if (node->kind == NODE_MAP) {
        limit->window = WINDOW_BUCKET;
        return conf_keys(conf, node, "limits.*.window")
               && rate_read(conf, conf_find(conf, node, OPTION_WINDOW_RATE), limit)
               && burst_read(conf, node, limit);
    }
    if (node->kind == NODE_SCALAR && slice_find(node->text, SLICE("/")) >= 0) {
        limit->window = WINDOW_BUCKET;
        return rate_read(conf, node, limit) && rate_is_burst(conf, node, limit);
    }
    const int word = node->kind == NODE_SCALAR ? window_find(node->text) : -1;
    const bool bare = word == WINDOW_BUCKET || word == WINDOW_ROLLING || word == WINDOW_FIRST_USE
                      || word == WINDOW_REPORTED;
    if (node->kind != NODE_SCALAR || bare) {
        conf_wants(conf, node, OPTION_LIMIT_WINDOW);
        return false;
    }
    if (word < 0) {
        return span_read(conf, node, limit);
    }
    limit->window = (enum window_kind)word;
    return true;
}

bool
window_calendar(enum window_kind window)
{
    return window == WINDOW_DAY || window == WINDOW_WEEK || window == WINDOW_MONTH;
}

const char *
limit_zone_read(struct conf *conf, const struct node *map, struct limit *limit)
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
