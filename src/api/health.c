/* api/health.c: what load balancers and Prometheus ask; no key, no waiting. */
#include "api/api_priv.h"

#include <sys/stat.h>

#include "log/metrics.h"

static void
get_healthz(struct ask *ask)
{
    struct buf *out = answer_begin(ask, 200);
    put_bool(out, "ok", true);
    put_text(out, "version", TIDEGATE_VERSION);
    answer_end(ask);
}

static void
get_readyz(struct api_plane *api, struct ask *ask, bool net_stopping)
{
    struct engine_state state;
    engine_state(api->options.engine, &state);
    if (net_stopping) {
        answer_reason(ask, REASON_DRAINING);
        return;
    }
    if (!state.store_ok) {
        answer_error(ask, 503, reason_row(REASON_STORE_UNAVAILABLE)->code, "%s (%s)",
            reason_row(REASON_STORE_UNAVAILABLE)->sentence, state.store_error);
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    put_bool(out, "ready", true);
    answer_end(ask);
}

bool
health_answers(struct api_plane *api, struct ask *ask, bool net_stopping)
{
    if (ask->endpoint == ENDPOINT_HEALTHZ) {
        get_healthz(ask);
        return true;
    }
    if (ask->endpoint == ENDPOINT_READYZ) {
        get_readyz(api, ask, net_stopping);
        return true;
    }
    return false;
}

/* 0 of a store that has none. */
static int64_t
wal_bytes(const struct store *store)
{
    struct buf path = { 0 };
    struct stat found;
    buf_add_str(&path, store_file(store));
    buf_add_str(&path, "-wal");
    const bool there =
        path.len > strlen("-wal") && !path.failed && stat(buf_cstr(&path), &found) == 0;
    buf_free(&path);
    return there ? found.st_size : 0;
}

void
get_metrics(struct api_worker *worker, struct ask *ask)
{
    struct relay *relay = worker->api->options.relay;
    struct engine_state state;
    engine_state(worker->api->options.engine, &state);
    counter_set(COUNTER_ENGINE_QUEUED, state.queued);
    counter_set(COUNTER_ROUTES_COOLING, relay ? relay_routes_cooling(relay) : 0);
    counter_set(COUNTER_STORE_WAL_BYTES, wal_bytes(worker->api->options.store));
    ask->status = 200;
    buf_clear(&ask->out);
    metrics_render(&ask->out);
    ask->media_type = METRICS_MEDIA_TYPE;
}
