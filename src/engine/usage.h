/* engine/usage.h: what is reported of an account's use, and what its limits on that say now: for people, so
 * beside the queue, by the same core that decides calls. Read at the reader door, at `now_ms` (engine_books_ms);
 * changes nothing. */
#pragma once

#include "base/arena.h"
#include "core/core.h"
#include "store/store.h"

/* STATUS_OK also where there is no such account; else what the reader says, or FULL. What the view points to
 * lies in the arena and in the policy, both the caller's. `tried` may be NULL. Any thread. */
MUST_USE enum status engine_usage(const struct policy *policy, struct store_reader *reader,
    int64_t account_id, const struct usage_try *tried, int64_t now_ms, struct arena *arena,
    struct usage_view *view);
