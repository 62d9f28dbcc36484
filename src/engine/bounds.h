/* engine/bounds.h: by how much a limit may be passed at the most, as a number where there is one (DESIGN section 4).
 *
 * Pure: of a configuration alone, whatever people set in the store. Amounts are micro-USD of a limit of money, else
 * units. */
#pragma once

#include "base/buf.h"
#include "policy/policy.h"

enum bound_kind {
    BOUND_NEVER_PASSED, /* what is over the cap does not start, or does not cost */
    BOUND_AT_MOST,      /* passed by `most` at the most */
    BOUND_UNKNOWN,      /* `why` there is no number */
    BOUND_NOT_CLAIMED,  /* it counts and tells, or goes by what others report: `why` */
};
struct limit_bound {
    enum bound_kind kind;
    int64_t most;         /* calls x attempts x dearest */
    int64_t calls;        /* in flight at once; 0 = not bounded */
    int32_t calls_by;     /* index of the limit that says so; -1 = none */
    int64_t attempts;     /* of one call that may be billed */
    int64_t dearest;      /* what one attempt can cost, or take, at the most: */
    int32_t dearest_model, dearest_route; /* where; -1 = nowhere */
    int64_t multiplier_pct, answers; /* that `dearest` stands for: what a request may ask for on top is not bounded */
    int32_t covered_count; /* models it counts calls to */
    char why[256];        /* a phrase for a person; "" where `kind` says all */
};

/* Of policy->limits[index]. */
void bounds_of_limit(const struct policy *policy, int32_t index, struct limit_bound *bound);
/* Whether the limit counts calls to the model by some route of it. */
bool bounds_limit_covers(
    const struct policy *policy, const struct limit *limit, const struct model *model);
