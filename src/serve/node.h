/* serve/node.h: this gateway among those that share its store: what it is called, and whether the others
 * decide by the same configuration. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "policy/policy.h"
#include "store/store.h"

/* What people know it by: `node` of the configuration, else the machine's name and the first address. */
void node_name(
    const struct policy *policy, const struct listen *first, char out[NAME_MAX_BYTES + 1]);

/* STATUS_OK: every other gateway whose lease is not over has this hash, or the store is not shared.
 * STATUS_CONFLICT: one has not; STATUS_IO and others: nobody could be asked. Then `said` has a sentence
 * without a final stop. Any thread. */
MUST_USE enum status node_others_agree(
    struct store *store, int64_t own_epoch, const char *config_hash, struct buf *said);
