/* base/attempts.h: who guesses keys: wrong tries by address, a level each that drains with time. Pure; memory
 * is the caller's, zeroed at first. A fixed table: two addresses that meet in a slot take turns, which
 * forgives, and never blocks the wrong one. */
#pragma once

#include "base/units.h"

#define ATTEMPTS_SLOTS 1024
#define ATTEMPTS_MAX_AT_ONCE 20  /* wrong tries that are answered as such */
#define ATTEMPT_DRAIN_MS 6000    /* until one more is */

struct attempts {
    struct {
        uint64_t address_hash;
        int64_t level_ms, seen_mono_ms;
    } slots[ATTEMPTS_SLOTS];
};

/* True while an address has had its tries; *wait_ms is then the time until one more would be answered. */
bool attempts_blocked(const struct attempts *attempts, uint64_t address_hash, int64_t now_mono_ms,
    int64_t *wait_ms);
void attempts_note(struct attempts *attempts, uint64_t address_hash, int64_t now_mono_ms);
