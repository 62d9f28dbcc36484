/* conf/retention.c: how long the rows of the ledger are kept, and threads that nobody comes back to. */
#include "conf/conf_priv.h"

void
conf_retention(struct conf *conf, const struct node *root)
{
    struct policy *policy = conf->policy;
    const struct node *map = conf_block(conf, root, OPTION_RETENTION);
    if (!map || !conf_keys(conf, map, "retention")) {
        return;
    }
    policy->retention_ms = conf_number(conf, map, OPTION_RETENTION_LEDGER, 0);
    policy->retention_refusals_ms =
        conf_number(conf, map, OPTION_RETENTION_REFUSALS, policy->retention_ms);
    policy->retention_threads_ms =
        conf_number(conf, map, OPTION_RETENTION_THREADS, policy->retention_ms);
    if (policy->retention_ms > 0 && policy->retention_refusals_ms > policy->retention_ms) {
        report_add(&conf->report, doc_get(map, "refusals"),
            "'refusals' is longer than 'ledger': a refusal is a row of the ledger, so it goes with the others");
        policy->retention_refusals_ms = policy->retention_ms;
    }
}
