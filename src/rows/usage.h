/* rows/usage.h: what one attempt at a provider used, in the normal form of spec/wire.md section 2. */
#pragma once

#include "base/units.h"

enum usage_known {
    USAGE_INPUT = 1,      /* the input side is the provider's figure */
    USAGE_OUTPUT = 2,     /* the output side is the provider's final figure */
    USAGE_ESTIMATED = 4,  /* at least one side is our estimate; the ledger labels the row */
    USAGE_MALFORMED = 8,  /* the provider sent a usage block that makes no sense; it was not used */
};

struct usage {
    int64_t input;           /* tokens, cached ones left out */
    int64_t cache_read;
    int64_t cache_write_5m;
    int64_t cache_write_1h;
    int64_t output;          /* reasoning included */
    int64_t reasoning;       /* of output */
    int64_t cost_micros;     /* the provider's own figure, rounded up; -1 = none */
    uint32_t known;          /* enum usage_known bits */
};

#define USAGE_NONE ((struct usage){ .cost_micros = -1 })

/* Every count is 0..TOKENS_MAX, reasoning <= output, cost -1..MONEY_MICROS_MAX. */
bool usage_valid(const struct usage *usage);
void usage_check(const struct usage *usage);
/* Input side in whole: uncached, read and written. */
int64_t usage_input_total(const struct usage *usage);
