/* engine/replay_priv.h: what the two files of a replay share: calls as they were recorded, and the replay that they
 * go through. */
#pragma once

#include "engine/engine_priv.h"
#include "engine/replay.h"

#define WAITS_MAX 4096 /* calls that wait at once; more are refused */

/* Whom a call was for, where it says so: few calls differ in that. */
struct labels {
    char organisation[64];
    char tags[CALL_TAGS_MAX][64];
};

struct past_call {
    int64_t request, started_ms, ended_ms;
    int64_t account_id, key_id, thread_id, root_id;
    int64_t body_bytes, input_bytes, output_limit, answers, price_pct;
    int64_t cost_micros, est_micros;
    struct usage usage;          /* of all its attempts */
    const struct labels *labels; /* NULL = none */
    int32_t model, api;          /* -1 = not in this policy, not told */
    bool stream, refused, dispatched, billed, orphaned, recorded, counts;
    int64_t hold_id; /* while it is open in the replay; 0 = it is not */
};

/* Calls that are open, the next to end first. */
struct ending {
    int64_t at_ms;
    size_t call;
};
struct waiting {
    size_t call;
    int64_t deadline_ms;
    struct refusal refusal;
};

struct replay {
    struct policy *policy;
    struct store *store;
    struct engine *engine;
    struct arena arena;
    struct map calls_by_id, accounts, threads, groups_by_hash;
    struct past_call *calls;
    size_t call_count, call_cap;
    struct ending *endings;
    size_t ending_count, ending_cap;
    struct waiting waits[WAITS_MAX];
    size_t wait_count;
    struct replay_group **groups;
    int32_t group_count, group_cap;
    struct replay_group *sorted;
    struct replay_refusal *refusals;
    int32_t refusal_count;
    enum at_cap_kind *at_caps; /* as configured: before the report begins none of them refuses */
    struct replay_report report;
    enum status status;
};

/* A thread's name in the replay is its number. */
void replay_thread_mark(int64_t thread_id, char out[HASH_HEX + 1]);
