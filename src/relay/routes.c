/* relay/routes.c: routes that wait out a limit of their own. A hint shared by all loops: it only spares
 * attempts that would fail; whether a call may start is the gate's alone. */
#include "relay/relay_priv.h"

#include <pthread.h>

#include "base/clock.h"

const struct route *
call_route(const struct call *call)
{
    return &call->policy->models[call->model_index].routes[call->route_index];
}

const struct provider *
call_provider(const struct call *call)
{
    return &call->policy->providers[call_route(call)->provider];
}

static uint64_t
route_hash(const struct call *call, int32_t route_index)
{
    const struct route *route = &call->policy->models[call->model_index].routes[route_index];
    const struct provider *provider = &call->policy->providers[route->provider];
    const uint64_t who = hash_pair(
        hash_bytes(slice_str(provider->name)), hash_bytes(slice_str(provider->company.id)));
    return hash_pair(who, hash_bytes(slice_str(route->model))) | 1;
}

static struct closed_route *
closed_find(struct relay *relay, uint64_t hash, bool make)
{
    struct closed_route *oldest = &relay->closed[0];
    for (int i = 0; i < CLOSED_ROUTES_MAX; i++) {
        if (relay->closed[i].hash == hash) {
            return &relay->closed[i];
        }
        if (relay->closed[i].until_ms < oldest->until_ms) {
            oldest = &relay->closed[i];
        }
    }
    if (!make) {
        return NULL;
    }
    __atomic_fetch_add(&relay->closed_count, oldest->hash == 0, __ATOMIC_RELEASE);
    *oldest = (struct closed_route){ .hash = hash };
    return oldest;
}

static bool
none_closed(const struct relay *relay)
{
    return __atomic_load_n(&relay->closed_count, __ATOMIC_ACQUIRE) == 0;
}

/* Those whose provider does not speak the call's API. */
static uint32_t
routes_of_others(const struct call *call)
{
    const struct model *model = &call->policy->models[call->model_index];
    uint32_t closed = 0;
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct provider *provider = &call->policy->providers[model->routes[i].provider];
        const bool speaks = provider->apis & (UINT32_C(1) << call->api);
        closed |= (uint32_t)!speaks << i;
    }
    return closed;
}

/* Bit i: route i cannot serve this call now. */
uint32_t
routes_closed(struct call *call, int64_t now_ms, int64_t *opens_ms)
{
    struct relay *relay = call->loop->relay;
    const struct model *model = &call->policy->models[call->model_index];
    uint32_t closed = routes_of_others(call);
    *opens_ms = 0;
    if (none_closed(relay)) {
        return closed;
    }
    pthread_mutex_lock(relay->lock);
    for (int32_t i = 0; i < model->route_count; i++) {
        if (closed & (UINT32_C(1) << i)) {
            continue;
        }
        const struct closed_route *known = closed_find(relay, route_hash(call, i), false);
        if (known && known->until_ms > now_ms) {
            closed |= UINT32_C(1) << i;
            *opens_ms = *opens_ms ? min_i64(*opens_ms, known->until_ms) : known->until_ms;
        }
    }
    pthread_mutex_unlock(relay->lock);
    return closed;
}

/* For as long as the provider asked; without a wait of its own only this call passes it by. */
void
route_close(struct call *call, int32_t route_index, int64_t wait_ms)
{
    struct relay *relay = call->loop->relay;
    call->routes_closed |= UINT32_C(1) << route_index;
    if (wait_ms <= 0) {
        return;
    }
    pthread_mutex_lock(relay->lock);
    closed_find(relay, route_hash(call, route_index), true)->until_ms = clock_wall_ms() + wait_ms;
    pthread_mutex_unlock(relay->lock);
}

void
route_worked(struct call *call, int32_t route_index)
{
    struct relay *relay = call->loop->relay;
    if (none_closed(relay)) {
        return;
    }
    pthread_mutex_lock(relay->lock);
    struct closed_route *closed = closed_find(relay, route_hash(call, route_index), false);
    if (closed) {
        __atomic_fetch_sub(&relay->closed_count, 1, __ATOMIC_RELEASE);
        *closed = (struct closed_route){ 0 };
    }
    pthread_mutex_unlock(relay->lock);
}
