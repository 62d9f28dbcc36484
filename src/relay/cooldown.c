/* relay/cooldown.c: the arithmetic of cooldown.h. */
#include "relay/cooldown.h"

const char *
cooldown_cause_word(enum cooldown_cause cause)
{
    switch (cause) {
    case COOLDOWN_FAILING: return "failing";
    case COOLDOWN_ASKED: return "asked";
    case COOLDOWN_SPENT: return "spent";
    default: return "none";
    }
}

int64_t
cooldown_opens_ms(const struct cooldown *cooldown, int64_t now_ms)
{
    if (cooldown->until_ms > now_ms) {
        return cooldown->until_ms;
    }
    return cooldown->until_ms && cooldown->probe_until_ms > now_ms ? now_ms + COOLDOWN_PROBING_MS
                                                                   : 0;
}

bool
cooldown_take(struct cooldown *cooldown, int64_t now_ms, bool *probes)
{
    *probes = false;
    if (cooldown->until_ms == 0) {
        return true;
    }
    if (cooldown_opens_ms(cooldown, now_ms)) {
        return false;
    }
    cooldown->probe_until_ms = now_ms + COOLDOWN_PROBE_MS;
    *probes = true;
    return true;
}

/* Doubled with each round, then a quarter more or less. */
static int64_t
wait_of_round(const struct cooldown_rule *rule, int32_t round)
{
    int64_t wait_ms = COOLDOWN_FIRST_MS;
    for (int32_t i = 1; i < round && wait_ms < rule->max_ms; i++) {
        wait_ms *= 2;
    }
    wait_ms = min_i64(wait_ms, rule->max_ms);
    /* Neighbouring rounds must not share their luck: multiplied by an odd number, the high bits differ. */
    const uint64_t mixed = (rule->jitter + (uint64_t)round) * UINT64_C(0x9E3779B97F4A7C15);
    const int64_t spread = (int64_t)((mixed >> 40) % (uint64_t)(wait_ms / 2 + 1));
    return min_i64(wait_ms - wait_ms / 4 + spread, rule->max_ms);
}

bool
cooldown_failed(
    struct cooldown *cooldown, const struct cooldown_rule *rule, int64_t sent_ms, int64_t now_ms)
{
    cooldown->failures = cooldown->failures < INT32_MAX ? cooldown->failures + 1 : INT32_MAX;
    cooldown->failed_ms = now_ms;
    const bool probed = cooldown->probe_until_ms > 0 && sent_ms >= cooldown->until_ms;
    if (cooldown->until_ms && !probed) {
        return false; /* sent before it began to cool */
    }
    if (rule->after == 0 || cooldown->failures < rule->after) {
        cooldown->until_ms = cooldown->probe_until_ms = 0;
        cooldown->cause = COOLDOWN_NONE;
        return false;
    }
    cooldown->rounds = cooldown->rounds < INT32_MAX ? cooldown->rounds + 1 : INT32_MAX;
    cooldown->until_ms = now_ms + wait_of_round(rule, cooldown->rounds);
    cooldown->probe_until_ms = 0;
    cooldown->cause = COOLDOWN_FAILING;
    return true;
}

void
cooldown_asked(
    struct cooldown *cooldown, enum cooldown_cause cause, int64_t wait_ms, int64_t now_ms)
{
    cooldown->until_ms = now_ms + min_i64(wait_ms, COOLDOWN_HINT_MS);
    cooldown->probe_until_ms = 0;
    cooldown->cause = cause;
}

void
cooldown_answered(struct cooldown *cooldown, bool whole)
{
    cooldown->until_ms = cooldown->probe_until_ms = 0;
    cooldown->cause = COOLDOWN_NONE;
    if (whole) {
        cooldown->failures = cooldown->rounds = 0;
    }
}

void
cooldown_give_back(struct cooldown *cooldown)
{
    cooldown->probe_until_ms = 0;
}

bool
cooldown_idle(const struct cooldown *cooldown)
{
    return cooldown->failures == 0 && cooldown->rounds == 0 && cooldown->until_ms == 0;
}

bool
cooldown_bygone(const struct cooldown *cooldown, int64_t now_ms)
{
    const int64_t last_ms =
        max_i64(max_i64(cooldown->failed_ms, cooldown->until_ms), cooldown->probe_until_ms);
    return now_ms - last_ms > COOLDOWN_BYGONE_MS;
}
