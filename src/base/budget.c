/* base/budget.c: one number, changed without a lock. It guards nothing else, so relaxed order is enough. */
#include "base/budget.h"

bool
budget_take(struct budget *budget, int64_t bytes, int64_t up_to_bytes)
{
    check(bytes >= 0);
    const int64_t before =
        atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    if (bytes <= up_to_bytes && before <= up_to_bytes - bytes) {
        return true;
    }
    budget_give(budget, bytes);
    return false;
}

void
budget_add(struct budget *budget, int64_t bytes)
{
    check(bytes >= 0);
    (void)atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

void
budget_give(struct budget *budget, int64_t bytes)
{
    check(bytes >= 0);
    const int64_t before =
        atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    check(before >= bytes); /* each byte is given back once */
}

int64_t
budget_used(const struct budget *budget)
{
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
}
