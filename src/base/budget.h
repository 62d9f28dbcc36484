/* base/budget.h: bytes that many threads may hold together. Any thread; the memory is the owner's. Whoever
 * counts bytes gives the same number back once, when the memory is free again. */
#pragma once

#include <stdatomic.h>

#include "base/units.h"

struct budget {
    _Atomic int64_t used_bytes;
    int64_t max_bytes; /* set once, before others see it */
};

/* Counts `bytes` more if all that is counted then is at most `up_to_bytes`; else counts nothing. */
MUST_USE bool budget_take(struct budget *budget, int64_t bytes, int64_t up_to_bytes);
/* Counts what is there already, whatever the bound. */
void budget_add(struct budget *budget, int64_t bytes);
void budget_give(struct budget *budget, int64_t bytes);
int64_t budget_used(const struct budget *budget);

/* The part that requests may use: the rest is kept for their answers, which are paid for when they come. */
static inline int64_t
budget_of_requests(int64_t max_bytes)
{
    return max_bytes - max_bytes / 4;
}
