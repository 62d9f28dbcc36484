/* conf/server.c: what concerns the gateway as a whole, and its plans. */
#include "conf/conf_priv.h"
#include "conf/value_priv.h"
#include "base/budget.h"
#include "base/place.h"

#define PLANS_MAX 256

/* ---- the store ---- */

static void
store_read(struct conf *conf, const struct node *root)
{
    const struct slice text = slice_str(conf_text(conf, root, OPTION_STORE));
    const struct slice sqlite = SLICE(STORE_SCHEME);
    const struct node *node = doc_get(root, "store");
    conf->policy->store = "memory:";
    if (store_url_is_postgres(text.ptr)) {
        char *url = conf_alloc(conf, text.len + 1, 1);
        if (url) {
            memcpy(url, text.ptr, text.len);
            conf->policy->store = url;
        }
        return;
    }
    if (slice_eq(text, SLICE("memory:")) || slice_eq(text, SLICE("memory"))) {
        return;
    }
    const bool is_file = slice_starts(text, sqlite);
    if (slice_find(text, SLICE("://")) >= 0
        || (!is_file
            && slice_find(text, SLICE("@")) >= 0)) { /* it may hold a password: not repeated */
        report_add(&conf->report, node,
            "'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this URL is none of them");
        return;
    }
    if (!is_file || text.len == sqlite.len) {
        conf_wants(conf, node, OPTION_STORE);
        return;
    }
    const char *path = conf_path(conf, slice_of(text.ptr + sqlite.len, text.len - sqlite.len));
    char *store = conf_alloc(conf, sqlite.len + strlen(path) + 1, 1);
    if (store) {
        memcpy(store, sqlite.ptr, sqlite.len);
        memcpy(store + sqlite.len, path, strlen(path));
        conf->policy->store = store;
    }
}

static void
control_read(struct conf *conf, const struct node *root)
{
    const char *control = conf_text(conf, root, OPTION_CONTROL);
    if (!control) {
        return;
    }
    conf->policy->control = conf_path(conf, slice_str(control));
    if (strlen(conf->policy->control) > UNIX_PATH_BYTES_MAX) {
        report_add(&conf->report, doc_get(root, "control"),
            "the path of a socket has 1 to %d bytes", UNIX_PATH_BYTES_MAX);
    }
}

static void
node_read(struct conf *conf, const struct node *root)
{
    const char *name = conf_text(conf, root, OPTION_NODE);
    if (name && !name_valid(slice_str(name))) {
        report_add(&conf->report, doc_get(root, "node"),
            "the name of a gateway has 1 to %d bytes, without a space at its ends", NAME_MAX_BYTES);
        return;
    }
    conf->policy->node = name;
}

void
conf_server(struct conf *conf, const struct node *root)
{
    /* words stand in the order of their enums */
    _Static_assert(DURABILITY_DISK == 0 && DURABILITY_OS == 1, "durability");
    _Static_assert(ORPHAN_CHARGE == 0 && ORPHAN_RELEASE == 1, "orphaned_holds");
    _Static_assert(
        UNPRICED_REFUSE_UNDER_COST_LIMITS == 0 && UNPRICED_ALLOW == 1 && UNPRICED_REFUSE == 2,
        "unpriced");

    struct policy *policy = conf->policy;
    conf_listens(conf, root);
    store_read(conf, root);
    control_read(conf, root);
    conf_control_listen(conf);
    node_read(conf, root);
    policy->lease_ms = conf_number(conf, root, OPTION_LEASE, 0);
    policy->durability = (enum durability)conf_number(conf, root, OPTION_DURABILITY, 0);
    policy->zone_name = conf_text(conf, root, OPTION_TIMEZONE);
    policy->zone = conf_zone(conf, doc_get(root, "timezone"), policy->zone_name);
    policy->loops = (int32_t)conf_number(conf, root, OPTION_LOOPS, 0);
    policy->log_json = conf_number(conf, root, OPTION_LOG, 0) != 0;
    policy->estimator =
        (enum estimator)conf_number(conf, root, OPTION_INPUT_ESTIMATE, ESTIMATOR_LEARNED);
    policy->held_wait_ms = conf_number(conf, root, OPTION_HELD_WAIT, 0);
    policy->step_tokens = conf_number(conf, root, OPTION_STEP, 0);
    policy->min_answer_tokens = conf_number(conf, root, OPTION_MIN_ANSWER, 0);
    policy->head_deadline_ms = conf_number(conf, root, OPTION_HEAD_DEADLINE, 0);
    policy->body_deadline_ms = conf_number(conf, root, OPTION_BODY_DEADLINE, 0);
    policy->idle_ms = conf_number(conf, root, OPTION_IDLE_DEADLINE, 0);
    policy->body_bytes_max = conf_number(conf, root, OPTION_BODY_MAX, 0);
    policy->bodies_bytes_max = conf_number(conf, root, OPTION_BODIES_MAX, 0);
    if (policy->bodies_bytes_max > 0
        && budget_of_requests(policy->bodies_bytes_max) < policy->body_bytes_max) {
        report_add(&conf->report, doc_get(root, "bodies_max"),
            "'bodies_max' has no room for one body of body_max: requests may use three quarters of it");
    }
    policy->head_bytes_max = conf_number(conf, root, OPTION_HEAD_MAX, 0);
    policy->headers_max = (int32_t)conf_number(conf, root, OPTION_HEADERS_MAX, 0);
    policy->connections_max = (int32_t)conf_number(conf, root, OPTION_CONNECTIONS_MAX, 0);
    policy->connections_per_address =
        (int32_t)conf_number(conf, root, OPTION_CONNECTIONS_PER_ADDRESS, 0);
    policy->write_deadline_ms = conf_number(conf, root, OPTION_WRITE_DEADLINE, 0);
    policy->stop_grace_ms = conf_number(conf, root, OPTION_STOP_GRACE, 0);
    policy->orphans = (enum orphan_rule)conf_number(conf, root, OPTION_ORPHANED_HOLDS, 0);
    policy->unpriced = (enum unpriced_rule)conf_number(conf, root, OPTION_UNPRICED, 0);
    conf->drain_max_ms = conf_number(conf, root, OPTION_DRAIN_MAX, 0);
}

/* ---- plans ---- */

static void
plan_read(struct conf *conf, const struct node *node)
{
    char seen[64];
    if (!value_name(node->key->text, "-_.", NAME_MAX_BYTES)) {
        report_add(&conf->report, node->key,
            "a plan's name has letters, digits, '-', '_' and '.'; this is %s",
            node_seen(node->key, seen));
    }
    if (!node_is_null(node) && (node->kind != NODE_MAP || node->first)) {
        report_add(&conf->report, node->kind == NODE_MAP ? node->first->key : node,
            "a plan has no options of its own; write {}");
    }
    conf->policy->plans[conf->policy->plan_count++] = conf_copy(conf, node->key->text);
}

void
conf_plans(struct conf *conf, const struct node *root)
{
    struct policy *policy = conf->policy;
    const struct node *map = conf_block(conf, root, OPTION_PLANS);
    const int32_t count = map ? map->child_count : 0;
    if (map && (count == 0 || count > PLANS_MAX)) {
        report_add(&conf->report, map, "a configuration has 1 to %d plans", PLANS_MAX);
        return;
    }
    policy->plans = conf_alloc(conf, count > 0 ? (size_t)count : 1, sizeof *policy->plans);
    if (!policy->plans) {
        return;
    }
    for (const struct node *node = map ? map->first : NULL; node; node = node->next) {
        plan_read(conf, node);
    }
    if (!map) {
        policy->plans[policy->plan_count++] = "default";
    }
    const char *named = conf_text(conf, root, OPTION_DEFAULT_PLAN);
    policy->default_plan = named ? named : policy->plans[0];
    if (named && !policy_has_plan(policy, slice_str(named))) {
        const struct node *node = doc_get(root, "default_plan");
        const char *nearest = nearest_word(node->text, policy->plans, (size_t)policy->plan_count);
        char seen[64];
        report_add(&conf->report, node, "there is no plan %s%s%s%s", node_seen(node, seen),
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    }
}
