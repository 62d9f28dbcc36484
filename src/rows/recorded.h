/* rows/recorded.h: what the ledger remembers of a decision: the inputs of its row (core's take.c and core.c write
 * them), taken apart. Texts that were not recorded are "", numbers their usual value. */
#pragma once

#include "rows/rows.h"

#define RECORDED_TAGS_MAX 4
struct recorded_limit {
    char name[NAME_MAX_BYTES + 1];
    int64_t nth;          /* of those that bore that name: limit_def_named */
    char tier[16];        /* whose cap it was: "default" and others of core's caps.c */
    int64_t settled, held; /* before the call; of a bucket the level */
    int64_t cap;          /* CAP_UNLIMITED */
    int64_t raised, window_ms, units;
};
/* What a limit on a provider's window went by. */
#define RECORDED_REPORTS_MAX 8
struct recorded_report {
    int64_t span_ms;      /* of the window */
    bool company;         /* of the company's credentials, not the account's */
    bool any;             /* something was reported */
    int64_t used_milli_pct, resets_at_ms, captured_ms;
};
struct recorded_call {
    char api[16];         /* "" = not told */
    bool stream;
    int32_t route;
    char estimator[16];
    int64_t input, input_bound, output_bound, slice, least; /* tokens; -1 = not told */
    int64_t body_bytes, input_bytes, output_limit, lowered_to, answers, price_pct;
    char organisation[64];
    char tag_names[RECORDED_TAGS_MAX][64], tags[RECORDED_TAGS_MAX][64];
    char substitute_for[NAME_MAX_BYTES + 1], substituted_by[NAME_MAX_BYTES + 1];
    char about[64];       /* of a refusal: the field that it was for; "" = for none */
    bool cannot_bound, input_unbounded; /* as in its event */
    int64_t output_floor;
    int64_t waited_ms;    /* in a line; 0 = it did not */
    char tried[NAME_MAX_BYTES + 1], tried_reason[48]; /* of a refusal: what the limit names instead, and what refused that */
    int64_t spend_limit_micros; /* of a refusal: the cap that it asked for its tree; 0 = none */
    int32_t limit_count;  /* of a call that was allowed; a refusal has at most the one that refused */
    struct recorded_limit limits[HOLD_PARTS_MAX];
    int64_t ask;          /* of a refusal: what it asked of its limit */
    int64_t resets_at_ms; /* of a refusal: when its window ends; 0 = never, or not told */
    int32_t report_count; /* of a call that was allowed */
    struct recorded_report reports[RECORDED_REPORTS_MAX];
};
