/* api/status.c: the gateway at a glance: its state, its fellows on the store, the last calls, the fullest
 * meters. A key that may not read all sees its own account. */
#include "api/api_priv.h"

#include "base/clock.h"
#include "base/place.h"
#include "log/metrics.h"

#define CALLS_DEFAULT 10
#define CALLS_MAX     100
#define ROWS_PER_CALL 5 /* looked at for a call shown: attempts and admin's rows are left out */
#define METERS_SHOWN  20

static bool
is_stopping(const struct ask *ask)
{
    return ask->loop && net_stopping(net_loop_net(ask->loop->loop));
}

static void
put_store(struct buf *out, const char *url)
{
    char shown[STORE_SHOWN_BYTES];
    store_url_shown(url, shown, sizeof(shown));
    put_text(out, "store", shown);
}

static void
put_gateway(struct api_plane *api, const struct ask *ask, struct buf *out)
{
    struct engine_state state;
    engine_state(api->options.engine, &state);
    put_open(out, "gateway", '{');
    put_text(out, "version", TIDEGATE_VERSION);
    put_text(out, "state", state.store_ok ? "ok" : reason_row(REASON_STORE_UNAVAILABLE)->code);
    put_bool(out, "stopping", is_stopping(ask));
    put_bool(out, "sandbox", api->options.sandbox);
    if (ask->may_read_all) {
        struct policy *policy = engine_policy(api->options.engine);
        put_text_or_null(out, "store_error", state.store_error);
        put_text(out, "listens", api->options.listens ? api->options.listens : "");
        put_store(out, api->options.store_url);
        put_text_or_null(out, "store_file", store_file(api->options.store));
        put_id(out, "epoch", "", engine_epoch(api->options.engine));
        put_time(out, "started_at", api->started_ms);
        put_i64(out, "uptime_ms", clock_mono_ms() - api->started_mono_ms);
        put_i64(out, "models", policy->model_count);
        put_i64(out, "limits", policy->limit_count);
        put_i64(out, "calls_open", api->options.relay ? relay_calls_open(api->options.relay) : 0);
        put_i64(out, "queued", state.queued);
        put_i64(out, "waiting", state.waiting);
        put_i64(out, "events", state.events);
        put_i64(out, "commits", state.commits);
        put_i64(out, "orphans_closed", state.orphans_closed);
        engine_policy_unref(api->options.engine, policy);
    }
    put_close(out, '}');
}

struct nodes {
    struct buf *out;
    int64_t own_epoch, now_ms;
    const char *config_hash;
    bool leased; /* an embedded store's one node is what holds its lock */
};

static bool
put_node(void *user, const struct node_row *row)
{
    const struct nodes *nodes = user;
    struct buf *out = nodes->out;
    put_open(out, NULL, '{');
    put_text_or_null(out, "name", row->name);
    put_id(out, "epoch", "", row->epoch);
    put_bool(out, "this", row->epoch == nodes->own_epoch);
    put_time(out, "started_at", row->started_ms);
    if (nodes->leased) {
        put_i64(out, "lease_left_ms", max_i64(0, row->lease_until_ms - nodes->now_ms));
    } else {
        put_null(out, "lease_left_ms");
    }
    put_i64(out, "waiting", row->waiting_count);
    put_text(out, "configuration",
        strcmp(row->config_hash, nodes->config_hash) == 0 ? "same" : "different");
    put_close(out, '}');
    return true;
}

/* The gateways on this store: the operator's affair too. False: answered. */
static bool
put_nodes(struct api_worker *worker, struct ask *ask, struct buf *out)
{
    struct engine *engine = worker->api->options.engine;
    enum status status = STATUS_OK;
    put_open(out, "nodes", '[');
    if (ask->may_read_all) {
        struct policy *policy = engine_policy(engine);
        struct nodes nodes = { .out = out,
            .own_epoch = engine_epoch(engine),
            .config_hash = policy->config_hash,
            .leased = !store_is_exclusive(worker->api->options.store) };
        status = store_read_clock(worker->reader, &nodes.now_ms);
        if (status == STATUS_OK) {
            status = store_read_nodes(worker->reader, put_node, &nodes);
        }
        engine_policy_unref(engine, policy);
    }
    put_close(out, ']');
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    }
    return status == STATUS_OK;
}

/* Routes that failed of late, or are left alone: the operator's affair. */
static void
put_routes(struct api_plane *api, const struct ask *ask, struct buf *out)
{
    struct relay_route routes[ROUTES_SHOWN];
    const bool told = ask->may_read_all && api->options.relay;
    const int count = told ? relay_routes_resting(api->options.relay, routes, ROUTES_SHOWN) : 0;
    put_open(out, "routes", '[');
    for (int i = 0; i < count; i++) {
        const struct relay_route *route = &routes[i];
        put_open(out, NULL, '{');
        put_text(out, "provider", route->provider);
        put_text(out, "upstream_model", route->model);
        put_text(out, "state", route->probing ? "probing" : route->cooling ? "cooling" : "failing");
        put_text(out, "cause", route->cause);
        put_i64(out, "failures", route->failures);
        put_i64(out, "opens_in_ms", route->opens_in_ms);
        put_close(out, '}');
    }
    put_close(out, ']');
}

struct calls {
    struct buf *out;
    const struct names *names;
    int64_t left;
};

static bool
put_call(void *user, const struct ledger_row *row)
{
    struct calls *calls = user;
    if (row->kind == LEDGER_ADMIN) {
        return true;
    }
    put_ledger_row(calls->names, calls->out, row, false);
    return --calls->left > 0;
}

void
get_status(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t shown = CALLS_DEFAULT;
    const struct field fields[] = {
        { "calls", FIELD_COUNT, &shown, .max = CALLS_MAX },
        { "account", FIELD_NAME, account },
    };
    struct ledger_filter filter = { .kind = -1 };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    if (!ask->may_read_all) { /* whatever account was asked for */
        filter.account_id = ask->identity.account_id;
    } else if (!names_id_of(worker, ask, account, &filter.account_id)) {
        return;
    }
    worker_catch_up(worker, ask, false);
    filter.limit = (int32_t)(shown * ROWS_PER_CALL);
    struct buf *out = answer_begin(ask, 200);
    struct calls calls = { out, &worker->names, shown };
    put_gateway(worker->api, ask, out);
    if (!put_nodes(worker, ask, out)) {
        return;
    }
    put_routes(worker->api, ask, out);
    put_open(out, "calls", '[');
    if (store_read_ledger(worker->reader, &filter, put_call, &calls) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(out, ']');
    if (put_meters(worker, ask, out, filter.account_id, METERS_SHOWN)
        && (!filter.account_id || put_reported_view(worker, ask, out, filter.account_id))) {
        answer_end(ask);
    }
}
