/* rows/standing.h: how a limit stands for one of those it counts for, for pages and reports: up to how much,
 * who says so, and what of it is used. Found by the same rules as a decision, which nothing here makes. */
#pragma once

#include "rows/rows.h"

/* Whose limits are asked for. */
struct standing_ask {
    int64_t account_id;
    int64_t root_id;      /* of a tree of threads; 0 = none */
    char organisation[64]; /* "" = the account's own */
    bool caps;            /* of limits whose meter shows with a call alone (per key, model, tag, ...), the cap too */
};
struct limit_standing {
    int32_t limit;       /* index in the policy */
    enum subject_kind kind;
    int64_t account_id, subject_id; /* 0 = no row yet */
    char name[NAME_MAX_BYTES + 1];
    int64_t cap;         /* raises included; CAP_UNLIMITED */
    int64_t raised;      /* by so much */
    int64_t raised_until_ms; /* 0 = not raised */
    int64_t set_until_ms;    /* of a cap that was set for it: when it expires; 0 = never */
    const char *tier;    /* that won: set, asked (by a client, for its tree), group, api_default, plan, default */
    int32_t group;       /* that won; index in the policy; -1 = none */
    int64_t used, held;  /* in the units of the limit; of a bucket what has not drained */
    int64_t start_ms, end_ms; /* of its window; 0, 0 = none */
    bool cap_only;       /* by ask.caps: nothing is told of a meter */
};
#define STANDINGS_MAX 256
