/* relay/routes.c: routes that are left alone for a while (cooldown.h). Shared by all loops and kept over
 * reloads of the configuration, but not over restarts: it only spares attempts that would fail; whether a call
 * may start is the gate's alone. */
#include "relay/relay_priv.h"

#include <pthread.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

#define CLOCKS_SLACK_MS 50

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

/* A route is what its name, its place, its credential and its model are: when one of them is changed, what was
 * known of it means nothing any more. */
static uint64_t
route_hash(const struct policy *policy, const struct route *route)
{
    const struct provider *provider = &policy->providers[route->provider];
    const struct credential *credential = &provider->company;
    uint64_t hash = hash_pair(
        hash_bytes(slice_str(provider->name)), hash_bytes(slice_str(provider->host_header)));
    hash = hash_pair(hash, hash_bytes(slice_str(provider->base_path)));
    hash = hash_pair(hash, hash_bytes(slice_str(credential->id ? credential->id : "")));
    hash = hash_pair(hash, hash_bytes(slice_str(credential->secret ? credential->secret : "")));
    for (int32_t i = 0; i < credential->header_count; i++) { /* they may say whose money it is */
        hash = hash_pair(hash, hash_bytes(slice_str(credential->headers[i].name)));
        hash = hash_pair(hash, hash_bytes(slice_str(credential->headers[i].value)));
    }
    return hash_pair(hash, hash_bytes(slice_str(route->model))) | 1;
}

static uint64_t
route_hash_of_call(const struct call *call)
{
    return route_hash(call->policy, call_route(call));
}

static struct known_route *
known_find(struct relay *relay, uint64_t hash)
{
    for (int i = 0; i < KNOWN_ROUTES_MAX; i++) {
        if (relay->route_hashes[i] == hash) {
            return &relay->routes[i];
        }
    }
    return NULL;
}

/* A free place, else that of the one that opens first: a hint lost costs an attempt. */
static struct known_route *
known_make(struct relay *relay, const struct call *call, uint64_t hash)
{
    int place = 0;
    for (int i = 0; i < KNOWN_ROUTES_MAX && relay->route_hashes[place] != 0; i++) {
        const bool sooner =
            relay->routes[i].cooldown.until_ms < relay->routes[place].cooldown.until_ms;
        place = relay->route_hashes[i] == 0 || sooner ? i : place;
    }
    __atomic_fetch_add(&relay->known_routes, relay->route_hashes[place] == 0, __ATOMIC_RELEASE);
    struct known_route *known = &relay->routes[place];
    *known = (struct known_route){ .cooldown.until_ms = 0 };
    relay->route_hashes[place] = hash;
    (void)slice_to_cstr(
        slice_str(call_provider(call)->name), known->provider, sizeof known->provider);
    (void)slice_to_cstr(slice_str(call_route(call)->model), known->model, sizeof known->model);
    return known;
}

static void
known_forget_idle(struct relay *relay, const struct known_route *known)
{
    if (cooldown_idle(&known->cooldown)) {
        relay->route_hashes[known - relay->routes] = 0;
        __atomic_fetch_sub(&relay->known_routes, 1, __ATOMIC_RELEASE);
    }
}

/* Mostly none is known, and then nobody takes the lock. */
static bool
none_known(const struct relay *relay)
{
    return __atomic_load_n(&relay->known_routes, __ATOMIC_ACQUIRE) == 0;
}

/* The same moment is told in the same words to all, so that a refusal which repeats is known as one: the two
 * clocks are read one after the other, and only a step of the wall's is worth a new difference. */
static int64_t
wall_of(struct relay *relay, int64_t mono_ms)
{
    const int64_t apart_ms = clock_wall_ms() - clock_mono_ms();
    if (apart_ms - relay->clocks_apart_ms > CLOCKS_SLACK_MS
        || relay->clocks_apart_ms - apart_ms > CLOCKS_SLACK_MS) {
        relay->clocks_apart_ms = apart_ms;
    }
    return mono_ms + relay->clocks_apart_ms;
}

struct routes_resting
routes_resting(struct call *call)
{
    struct relay *relay = call->loop->relay;
    const struct model *model = &call->policy->models[call->model_index];
    const int64_t now_ms = clock_mono_ms();
    struct routes_resting resting = { .closed =
                                          policy_routes_unfit(call->policy, model, call->api) };
    int64_t soonest_ms = 0;
    bool limited = false;
    if (none_known(relay)) {
        return resting;
    }
    pthread_mutex_lock(relay->lock);
    for (int32_t i = 0; i < model->route_count; i++) {
        if (resting.closed & (UINT32_C(1) << i)) {
            continue;
        }
        const struct known_route *known =
            known_find(relay, route_hash(call->policy, &model->routes[i]));
        const int64_t opens_ms = known ? cooldown_opens_ms(&known->cooldown, now_ms) : 0;
        if (opens_ms) {
            resting.closed |= UINT32_C(1) << i;
            limited |= known->cooldown.cause != COOLDOWN_FAILING;
            soonest_ms = soonest_ms ? min_i64(soonest_ms, opens_ms) : opens_ms;
        }
    }
    resting.failing = soonest_ms && !limited;
    resting.wall_opens_ms = soonest_ms ? wall_of(relay, soonest_ms) : 0;
    pthread_mutex_unlock(relay->lock);
    return resting;
}

enum reason
route_take(struct call *call)
{
    struct relay *relay = call->loop->relay;
    enum reason passed_by = REASON_OK;
    call->sent_mono_ms = clock_mono_ms();
    call->probes = false;
    if (none_known(relay)) {
        return REASON_OK;
    }
    pthread_mutex_lock(relay->lock);
    struct known_route *known = known_find(relay, route_hash_of_call(call));
    if (known && !cooldown_take(&known->cooldown, call->sent_mono_ms, &call->probes)) {
        passed_by = known->cooldown.cause == COOLDOWN_FAILING ? REASON_ROUTES_FAILING
                                                              : REASON_ROUTES_COOLING;
    }
    pthread_mutex_unlock(relay->lock);
    return passed_by;
}

static void
tell_cooling(const struct call *call, enum cooldown_cause cause, int32_t failures, int64_t wait_ms)
{
    struct log_line line;
    counter_add(cause == COOLDOWN_FAILING ? COUNTER_COOLDOWNS_FAILING
                : cause == COOLDOWN_SPENT ? COUNTER_COOLDOWNS_SPENT
                                          : COUNTER_COOLDOWNS_ASKED,
        1);
    log_begin(&line, LOG_WARN, "route");
    log_str(&line, "provider", slice_str(call_provider(call)->name));
    log_str(&line, "upstream_model", slice_str(call_route(call)->model));
    log_str(&line, "cause", slice_str(cooldown_cause_word(cause)));
    log_i64(&line, "failures", failures);
    log_i64(&line, "wait_ms", wait_ms);
    log_str(&line, "request", slice_str(call->request_id));
    log_str(&line, "msg", SLICE("this route is asked by nobody for so long"));
    log_end(&line);
}

void
route_failed(struct call *call)
{
    struct relay *relay = call->loop->relay;
    const struct provider *provider = call_provider(call);
    const uint64_t hash = route_hash_of_call(call);
    const struct cooldown_rule rule = { provider->cooldown_after, provider->cooldown_max_ms, hash };
    const int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(relay->lock);
    struct known_route *known = known_find(relay, hash);
    if (!known) {
        known = known_make(relay, call, hash);
    }
    const bool cools = cooldown_failed(&known->cooldown, &rule, call->sent_mono_ms, now_ms);
    const struct cooldown cooldown = known->cooldown;
    pthread_mutex_unlock(relay->lock);
    call->probes = false;
    if (cools) {
        tell_cooling(call, COOLDOWN_FAILING, cooldown.failures, cooldown.until_ms - now_ms);
    }
}

void
route_asked(struct call *call, enum cooldown_cause cause, int64_t wait_ms)
{
    struct relay *relay = call->loop->relay;
    const uint64_t hash = route_hash_of_call(call);
    pthread_mutex_lock(relay->lock);
    struct known_route *known = known_find(relay, hash);
    if (!known) {
        known = known_make(relay, call, hash);
    }
    const int64_t now_ms = clock_mono_ms();
    cooldown_asked(&known->cooldown, cause, wait_ms, now_ms);
    const int64_t closed_ms = known->cooldown.until_ms - now_ms;
    pthread_mutex_unlock(relay->lock);
    call->probes = false;
    tell_cooling(call, cause, 0, closed_ms);
}

void
route_answered(struct call *call, bool whole)
{
    struct relay *relay = call->loop->relay;
    call->probes = false;
    if (none_known(relay)) {
        return;
    }
    pthread_mutex_lock(relay->lock);
    struct known_route *known = known_find(relay, route_hash_of_call(call));
    if (known) {
        cooldown_answered(&known->cooldown, whole);
        known_forget_idle(relay, known);
    }
    pthread_mutex_unlock(relay->lock);
}

void
route_give_back(struct call *call)
{
    struct relay *relay = call->loop->relay;
    if (!call->probes) {
        return;
    }
    call->probes = false;
    pthread_mutex_lock(relay->lock);
    struct known_route *known = known_find(relay, route_hash_of_call(call));
    if (known) {
        cooldown_give_back(&known->cooldown);
    }
    pthread_mutex_unlock(relay->lock);
}

/* Takes the lock, and forgets what nobody asks any more: routes that the configuration does not have as they were,
 * and those whose trouble is long over. False: none is known, and the lock is not taken. */
static bool
lock_known(struct relay *relay, int64_t now_ms)
{
    if (none_known(relay)) {
        return false;
    }
    struct policy *policy = engine_policy(relay->engine);
    pthread_mutex_lock(relay->lock);
    bool kept[KNOWN_ROUTES_MAX] = { false };
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        for (int32_t j = 0; j < model->route_count; j++) {
            const struct known_route *known =
                known_find(relay, route_hash(policy, &model->routes[j]));
            if (known) {
                kept[known - relay->routes] = true;
            }
        }
    }
    for (int i = 0; i < KNOWN_ROUTES_MAX; i++) {
        const bool bygone = !kept[i] || cooldown_bygone(&relay->routes[i].cooldown, now_ms);
        if (relay->route_hashes[i] != 0 && bygone) {
            relay->route_hashes[i] = 0;
            __atomic_fetch_sub(&relay->known_routes, 1, __ATOMIC_RELEASE);
        }
    }
    engine_policy_unref(relay->engine, policy);
    return true;
}

int
relay_routes_resting(struct relay *relay, struct relay_route *routes, int routes_max)
{
    const int64_t now_ms = clock_mono_ms();
    int count = 0;
    if (!lock_known(relay, now_ms)) {
        return 0;
    }
    for (int i = 0; i < KNOWN_ROUTES_MAX && count < routes_max; i++) {
        const struct known_route *known = &relay->routes[i];
        const struct cooldown *cooldown = &known->cooldown;
        const bool cooling = cooldown->until_ms > now_ms;
        const bool probing = cooldown->until_ms != 0 && cooldown->probe_until_ms > now_ms;
        if (relay->route_hashes[i] == 0 || (!cooldown->failures && !cooling && !probing)) {
            continue;
        }
        struct relay_route *route = &routes[count++];
        *route = (struct relay_route){ .cause = cooldown_cause_word(cooldown->cause),
            .failures = cooldown->failures,
            .opens_in_ms = max_i64(0, cooldown->until_ms - now_ms),
            .cooling = cooling,
            .probing = probing };
        (void)slice_to_cstr(slice_str(known->provider), route->provider, sizeof route->provider);
        (void)slice_to_cstr(slice_str(known->model), route->model, sizeof route->model);
    }
    pthread_mutex_unlock(relay->lock);
    return count;
}

int
relay_routes_cooling(struct relay *relay)
{
    const int64_t now_ms = clock_mono_ms();
    int count = 0;
    if (!lock_known(relay, now_ms)) {
        return 0;
    }
    for (int i = 0; i < KNOWN_ROUTES_MAX; i++) {
        count += relay->route_hashes[i] != 0 && relay->routes[i].cooldown.until_ms > now_ms;
    }
    pthread_mutex_unlock(relay->lock);
    return count;
}
