/* policy/policy.c: look-ups in a policy, and its life. */
#include "policy/policy.h"

#include <stdlib.h>

#include "base/secret.h"
#include "policy/policy_priv.h"

struct policy *
policy_new(void)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (policy) {
        policy->refs = policy->facts_refs = 1;
    }
    return policy;
}

static int64_t
content_of(int64_t version)
{
    return version & ((INT64_C(1) << POLICY_CONTENT_BITS) - 1);
}

int64_t
policy_version_make(int64_t epoch, int64_t seq, const char *config_hash)
{
    int64_t content = 0;
    for (int i = 0; config_hash[0] != '\0' && i < POLICY_CONTENT_BITS / 4 + 1; i++) {
        const char c = config_hash[i];
        content = content * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    content = config_hash[0] == '\0' ? 0 : max_i64(1, content_of(content));
    const int64_t seq_mask = (INT64_C(1) << POLICY_SEQ_BITS) - 1;
    return (epoch << POLICY_SEQ_BITS | (seq & seq_mask)) << POLICY_CONTENT_BITS | content;
}

bool
policy_version_alike(int64_t version, int64_t other)
{
    return version == other || (content_of(version) && content_of(version) == content_of(other));
}

struct policy *
policy_ref(struct policy *policy)
{
    const int before = __atomic_fetch_add(&policy->refs, 1, __ATOMIC_RELAXED);
    check(before > 0); /* a reference can only be made from a reference */
    return policy;
}

static void
credential_wipe(struct credential *credential)
{
    if (credential->secret) {
        secret_wipe(credential->secret, strlen(credential->secret));
    }
}

static void
proxy_wipe(struct proxy *proxy)
{
    if (proxy && proxy->authorization) {
        secret_wipe(proxy->authorization, strlen(proxy->authorization));
    }
}

static void
webhook_wipe(struct webhook *webhook)
{
    if (webhook->url) {
        secret_wipe(webhook->url, strlen(webhook->url));
    }
    for (int32_t i = 0; i < webhook->secret_count; i++) {
        secret_wipe(webhook->secrets[i], strlen(webhook->secrets[i]));
    }
    proxy_wipe(webhook->proxy);
}

void
policy_unref(struct policy *policy)
{
    if (!policy) {
        return;
    }
    const int before = __atomic_fetch_sub(&policy->refs, 1, __ATOMIC_ACQ_REL);
    check(before > 0);
    if (before > 1) {
        return;
    }
    for (int32_t i = 0; i < policy->provider_count; i++) {
        credential_wipe(&policy->providers[i].company);
        credential_wipe(&policy->providers[i].user);
        proxy_wipe(policy->providers[i].proxy);
    }
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        webhook_wipe(&policy->webhooks[i]);
    }
    policy_unref_facts(policy);
}

struct policy *
policy_ref_facts(struct policy *policy)
{
    const int before = __atomic_fetch_add(&policy->facts_refs, 1, __ATOMIC_RELAXED);
    check(before > 0);
    return policy;
}

void
policy_unref_facts(struct policy *policy)
{
    if (!policy) {
        return;
    }
    const int before = __atomic_fetch_sub(&policy->facts_refs, 1, __ATOMIC_ACQ_REL);
    check(before > 0);
    if (before == 1) {
        arena_free(&policy->arena);
        free(policy);
    }
}

/* Order of a NUL-terminated name and a slice, as strcmp's. */
static int
name_compare(const char *name, struct slice key)
{
    const size_t len = strlen(name);
    const int order = key.len == 0 ? 0 : memcmp(name, key.ptr, len < key.len ? len : key.len);
    if (order != 0) {
        return order;
    }
    return len < key.len ? -1 : len > key.len;
}

int32_t
policy_model_index(const struct policy *policy, struct slice name)
{
    int32_t low = 0;
    int32_t high = policy->model_count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const int order = name_compare(policy->models[middle].name, name);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

int32_t
policy_provider_index(const struct policy *policy, struct slice name)
{
    for (int32_t i = 0; i < policy->provider_count; i++) {
        if (slice_eq(slice_str(policy->providers[i].name), name)) {
            return i;
        }
    }
    return -1;
}

const struct limit *
policy_limit_by_id(const struct policy *policy, int64_t limit_id)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        if (policy->limits[i].limit_id == limit_id) {
            return &policy->limits[i];
        }
    }
    return NULL;
}

const struct price *
price_exact(const struct policy *policy, struct slice id)
{
    int32_t low = 0;
    int32_t high = policy->price_count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const int order = name_compare(policy->prices[middle].id, id);
        if (order == 0) {
            return &policy->prices[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

int64_t
policy_cap(const struct limit *limit, const char *plan)
{
    for (int32_t i = 0; plan && i < limit->plan_cap_count; i++) {
        if (strcmp(limit->plan_caps[i].plan, plan) == 0) {
            return limit->plan_caps[i].cap;
        }
    }
    return limit->cap_default;
}

bool
limit_enforces(const struct limit *limit)
{
    return limit->at_cap != AT_CAP_WARN && limit->at_cap != AT_CAP_SHADOW;
}

int64_t
policy_cap_max(const struct limit *limit)
{
    return limit->window == WINDOW_BUCKET    ? MONEY_MICROS_MAX / max_i64(1, limit->period_ms)
           : limit->counts == COUNT_REPORTED ? 100
                                             : MONEY_MICROS_MAX;
}

bool
policy_has_plan(const struct policy *policy, struct slice plan)
{
    for (int32_t i = 0; i < policy->plan_count; i++) {
        if (slice_eq(slice_str(policy->plans[i]), plan)) {
            return true;
        }
    }
    return false;
}

int32_t
policy_group_index(const struct policy *policy, struct slice name)
{
    for (int32_t i = 0; i < policy->group_count; i++) {
        if (slice_eq(slice_str(policy->groups[i].name), name)) {
            return i;
        }
    }
    return -1;
}

static bool
group_has(const struct group *group, const char *account)
{
    int32_t low = 0;
    int32_t high = group->member_count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const int order = strcmp(group->members[middle], account);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

int32_t
policy_groups_of(const struct policy *policy, const char *account, int32_t *groups)
{
    int32_t count = 0;
    for (int32_t i = 0; i < policy->group_count && count < GROUPS_PER_ACCOUNT_MAX; i++) {
        if (group_has(&policy->groups[i], account)) {
            groups[count++] = i;
        }
    }
    return count;
}

bool
policy_serves(const struct policy *policy, const struct route *route, enum api api)
{
    return policy->providers[route->provider].apis & UINT32_C(1) << api;
}

uint32_t
policy_routes_unfit(const struct policy *policy, const struct model *model, enum api api)
{
    uint32_t unfit = 0;
    for (int32_t i = 0; i < model->route_count; i++) {
        unfit |= (uint32_t)!policy_serves(policy, &model->routes[i], api) << i;
    }
    return unfit;
}

bool
policy_model_serves(const struct policy *policy, const struct model *model, enum api api)
{
    const uint32_t all = (UINT32_C(1) << model->route_count) - 1;
    return policy_routes_unfit(policy, model, api) != all;
}
