/* base/attempts.c: levels that drain; see the header. */
#include "base/attempts.h"

#include <stddef.h>

#include "base/units.h"

static int64_t
level_now(int64_t level_ms, int64_t seen_mono_ms, int64_t now_mono_ms)
{
    return max_i64(0, level_ms - max_i64(0, now_mono_ms - seen_mono_ms));
}

bool
attempts_blocked(
    const struct attempts *attempts, uint64_t address_hash, int64_t now_mono_ms, int64_t *wait_ms)
{
    const size_t index = address_hash % ATTEMPTS_SLOTS;
    if (attempts->slots[index].address_hash != address_hash) {
        return false;
    }
    const int64_t level_ms = level_now(
        attempts->slots[index].level_ms, attempts->slots[index].seen_mono_ms, now_mono_ms);
    *wait_ms = level_ms - (ATTEMPTS_MAX_AT_ONCE - 1) * (int64_t)ATTEMPT_DRAIN_MS;
    return *wait_ms > 0;
}

void
attempts_note(struct attempts *attempts, uint64_t address_hash, int64_t now_mono_ms)
{
    const size_t index = address_hash % ATTEMPTS_SLOTS;
    int64_t level_ms = 0;
    if (attempts->slots[index].address_hash == address_hash) {
        level_ms = level_now(
            attempts->slots[index].level_ms, attempts->slots[index].seen_mono_ms, now_mono_ms);
    }
    attempts->slots[index].address_hash = address_hash;
    attempts->slots[index].level_ms = level_ms + ATTEMPT_DRAIN_MS;
    attempts->slots[index].seen_mono_ms = now_mono_ms;
}
