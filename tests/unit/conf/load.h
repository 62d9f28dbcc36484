/* tests/unit/conf/load.h: loading small configurations in tests. */
#pragma once

#include <stdlib.h>

#include "base/secret.h"
#include "conf/conf.h"
#include "unit.h"

/* One provider and one model on a line each: what a test writes comes in line 3. */
#define P "providers: {p: {dialect: openai, base_url: 'http://127.0.0.1:1/v1'}}\n"
#define M "models: {m: {routes: [{provider: p}]}}\n"
#define PROVIDER(options) "providers: {p: {" options "}}\n" M
#define MORE(options) PROVIDER("dialect: openai, base_url: 'http://127.0.0.1:1', " options)
#define MODEL(options) P "models: {m: {" options "}}\n"
#define LIMIT(options) P M "limits: {x: {" options "}}\n"

static inline int
conf_test_start(void **state)
{
    (void)state;
    (void)setenv("TIDEGATE_TEST_KEY", "sk-test", 1);
    (void)setenv("TIDEGATE_TEST_EMPTY", "", 1);
    (void)setenv("TIDEGATE_TEST_SPACED", "a b", 1);
    (void)unsetenv("TIDEGATE_TEST_UNSET");
    (void)setenv("WEBHOOK_SECRET", "the-secret-of-webhooks", 1);
    (void)setenv("WEBHOOK_SHORT", "short", 1);
    return secret_start() == STATUS_OK ? 0 : -1;
}

/* Fails the test with the message when the text is refused. */
static inline struct policy *
load(const char *yaml)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    if (conf_load_text("t.yaml", slice_str(yaml), &policy, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return policy;
}

static inline const struct model *
model_of(const struct policy *policy, const char *name)
{
    const int32_t index = policy_model_index(policy, slice_str(name));
    assert_true(index >= 0);
    return &policy->models[index];
}

static inline const struct provider *
provider_of(const struct policy *policy, const char *name)
{
    const int32_t index = policy_provider_index(policy, slice_str(name));
    assert_true(index >= 0);
    return &policy->providers[index];
}

static inline const struct limit *
limit_of(const struct policy *policy, const char *name)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        if (strcmp(policy->limits[i].name, name) == 0) {
            return &policy->limits[i];
        }
    }
    fail_msg("there is no limit %s", name);
    return NULL;
}
