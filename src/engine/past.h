/* engine/past.h: a decision of the past, decided again from the inputs that the ledger recorded: amounts as they
 * stood, by the rule of the core (fits iff settled + held + ask <= cap), never from what was answered then.
 *
 * Pure. Limits and prices are those of the policy given; `past` says whether they are those of then. */
#pragma once

#include "policy/policy.h"
#include "rows/recorded.h"

struct past_limit {
    const struct recorded_limit *recorded;
    const struct limit_def_row *def; /* what it was; NULL: the store never knew it */
    const struct limit *limit; /* as it is now, whatever it is called; NULL: configured no more, or otherwise */
    int64_t used, ask;         /* in the units of the cap */
    bool is_unbounded;         /* no amount was asked of it: the call could not be bounded */
    bool fits;                 /* also where it is not known */
};
struct past {
    bool same_policy;  /* it says what that says which decided, at whatever start or gateway */
    bool same_prices;  /* its prices, at least */
    bool was_allowed, is_allowed;
    int32_t unknown_count; /* limits that cannot be judged */
    int32_t limit_count;
    struct past_limit limits[HOLD_PARTS_MAX];
};

/* `row` is of a call or a refusal, `call` its inputs; `past` borrows them and `defs`. */
void past_judge(const struct policy *policy, const struct limit_defs *defs, const struct ledger_row *row,
    const struct recorded_call *call, struct past *past);
