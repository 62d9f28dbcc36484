/* reaches: conf_load_text conf_prices_import policy_unref */
/* fuzz/yaml.c: configurations and price books. The first byte picks which: even is YAML.
 *
 * Held: what is refused says why, and what is taken is a policy that can be let go of again. */
#include <stdlib.h>

#include "base/secret.h"
#include "conf/conf.h"

static void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void
load(struct slice yaml)
{
    struct policy *policy = NULL;
    struct conf_error error = { { 0 } };
    if (conf_load_text("fuzz.yaml", yaml, &policy, &error) == STATUS_OK) {
        hold(policy != NULL && policy->provider_count > 0);
        policy_unref(policy);
    } else {
        hold(policy == NULL && error.text[0] != '\0');
    }
}

static void
import(struct slice json)
{
    struct buf out = { 0 };
    struct conf_import counts = { 0 };
    struct conf_error error = { { 0 } };
    if (conf_prices_import("fuzz.json", json, &out, &counts, &error) == STATUS_OK) {
        hold(counts.taken >= 0 && out.len > 0);
    } else {
        hold(error.text[0] != '\0');
    }
    buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    if (!started) {
        started = true;
        hold(secret_start() == STATUS_OK);
        hold(setenv("FUZZ_KEY", "sk-fuzz", 1) == 0);
    }
    if (size > 0) {
        const struct slice text = slice_of((const char *)data + 1, size - 1);
        (data[0] % 2 == 0 ? load : import)(text);
    }
    return 0;
}
