/* api/health.c: what load balancers and Prometheus ask; no key, no waiting. */
#include "api/api_priv.h"

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

void
get_metrics(struct api_worker *worker, struct ask *ask)
{
    (void)worker;
    ask->status = 200;
    buf_clear(&ask->out);
    metrics_render(&ask->out);
    ask->media_type = METRICS_MEDIA_TYPE;
}
