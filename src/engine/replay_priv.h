/* engine/replay_priv.h: what the files of a replay share: calls as they were recorded, and the replay that they go
 * through. */
#pragma once

#include "engine/engine_priv.h"
#include "engine/replay.h"

#define WAITS_MAX 4096 /* calls that wait at once; more are refused */

/* Whom a call was for, where it says so: few calls differ in that. */
struct labels {
    char organisation[64];
    char tags[CALL_TAGS_MAX][64];
};

/* What providers had reported when a call was decided, by the limits of then. */
struct past_reports {
    int32_t count;
    struct recorded_report items[RECORDED_REPORTS_MAX];
};

struct past_call {
    int64_t request, started_ms, ended_ms;
    int64_t account_id, key_id, thread_id, root_id;
    int64_t body_bytes, input_bytes, output_limit, answers, price_pct;
    int64_t cost_micros, est_micros;
    int64_t output_floor, spend_limit_micros;
    struct usage usage;          /* of all its attempts */
    const struct labels *labels; /* NULL = none */
    const struct past_reports *reports; /* NULL = nothing is recorded */
    int32_t model, api;          /* -1 = not in this policy, not told */
    enum reason reason;          /* of a refusal */
    bool cannot_bound, input_unbounded;
    bool stream, refused, dispatched, billed, orphaned, recorded, counts;
    /* While it is open in the replay: */
    int64_t hold_id; /* 0 = it is not */
    int64_t began_ms;
    int64_t output_most;    /* that its answer may have */
    int64_t output_allowed; /* of a stream: that is held for it, but for a step */
    int64_t ask_at;         /* of a stream: asks for more once it has so much; INT64_MAX = never again */
    int32_t model_now, route_now;
    int32_t bound_by; /* the limit that its answer may be shorter by; -1 = none */
};

/* When something is due of an open call: it asks for more, or ends. */
struct moment {
    int64_t at_ms;
    size_t call;
};
struct waiting {
    size_t call;
    int64_t deadline_ms;
    struct refusal refusal;
};

struct group_list {
    struct map by_hash;
    struct replay_group **items;
    int32_t count, cap;
    struct replay_group *sorted; /* at the end */
};

struct replay {
    struct policy *policy;
    struct store *store;
    struct engine *engine;
    struct arena arena;
    struct map calls_by_id, accounts, threads, limits; /* limits: indexes + 1, by the ids of the books */
    struct past_call *calls;
    size_t call_count, call_cap;
    struct moment *moments; /* a heap, the next one first */
    size_t moment_count, moment_cap;
    struct waiting waits[WAITS_MAX];
    size_t wait_count;
    struct group_list refused_groups, ended_groups;
    struct replay_refusal *refusals;
    int32_t refusal_count;
    enum at_cap_kind *at_caps; /* as configured: before the report begins none of them refuses */
    bool loose;                /* they do */
    bool by_reports;           /* some of them go by what providers report */
    struct buf packed;         /* of a report that is told */
    struct replay_report report;
    enum status status;
};

/* --- replay.c */
/* One event through the core, at its own time. */
MUST_USE enum status replay_decide(
    struct replay *replay, const struct event *event, int64_t at_ms, struct verdict *verdict);

/* --- replay_record.c */
/* A thread's name in the replay is its number. */
void replay_thread_mark(int64_t thread_id, char out[HASH_HEX + 1]);

/* --- replay_stream.c: open calls through time. */
/* False: no memory. */
MUST_USE bool moments_push(struct replay *replay, int64_t at_ms, size_t call);
struct moment moments_pop(struct replay *replay);
/* It was allowed at that time. False: no memory, or replay->status. */
MUST_USE bool play_begin(
    struct replay *replay, size_t index, const struct verdict *verdict, int64_t at_ms);
/* Whether its next moment is not its end yet; then that is played, and the one after it is due. */
bool play_goes_on(const struct past_call *past);
MUST_USE bool play_on(struct replay *replay, const struct moment *moment);
/* What it has used at its end; *unspent_micros: what a shorter answer than that of then has saved. */
struct usage play_end(
    const struct replay *replay, struct past_call *past, bool *early, int64_t *unspent_micros);

/* --- replay_groups.c */
/* NULL: no memory. `limit` "" = none. */
const struct replay_group *groups_count(struct replay *replay, struct group_list *list,
    const struct past_call *past, const char *limit, enum reason reason, int64_t micros);
/* The most counted first. False: no memory. */
MUST_USE bool groups_sort(struct group_list *list);
void groups_free(struct group_list *list);

/* --- replay_reported.c */
/* Takes from inputs what was reported; NULL = nothing, or no memory. */
const struct past_reports *reports_take(
    struct replay *replay, const struct ledger_row *row, const struct recorded_call *call);
/* As it was reported for that call, from now on. Limits on what is not known of it stop nothing until
 * reports_forget. False: no memory, or replay->status. */
MUST_USE bool reports_tell(struct replay *replay, const struct past_call *past, int64_t at_ms);
void reports_forget(struct replay *replay);
/* Whether a limit on what providers report would have a say in that call, and nothing is known. */
bool reports_are_missing(const struct replay *replay, const struct past_call *past);
