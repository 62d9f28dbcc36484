/* rows/usage.c: what makes a usage block believable. */
#include "rows/usage.h"

#define USAGE_KNOWN_BITS                                                                           \
    ((uint32_t)(USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED | USAGE_MALFORMED))

static bool
tokens_valid(int64_t tokens)
{
    return tokens >= 0 && tokens <= TOKENS_MAX;
}

bool
usage_valid(const struct usage *usage)
{
    return tokens_valid(usage->input) && tokens_valid(usage->cache_read)
           && tokens_valid(usage->cache_write_5m) && tokens_valid(usage->cache_write_1h)
           && tokens_valid(usage->output) && tokens_valid(usage->reasoning)
           && usage->reasoning <= usage->output && usage->cost_micros >= -1
           && usage->cost_micros <= MONEY_MICROS_MAX && (usage->known & ~USAGE_KNOWN_BITS) == 0;
}

void
usage_check(const struct usage *usage)
{
    check(usage_valid(usage));
}

int64_t
usage_input_total(const struct usage *usage)
{
    usage_check(usage); /* four terms of at most TOKENS_MAX: the sum cannot overflow */
    return usage->input + usage->cache_read + usage->cache_write_5m + usage->cache_write_1h;
}
