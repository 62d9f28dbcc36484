/* base/plural.h: counts in sentences: "1 limit", "2 limits", "0 limits are", "1 limit is". */
#pragma once

#include <stdint.h>

/* What follows a word that takes an s. */
static inline const char *
plural_s(int64_t count)
{
    return count == 1 ? "" : "s";
}

static inline const char *
plural_are(int64_t count)
{
    return count == 1 ? "is" : "are";
}

static inline const char *
plural_were(int64_t count)
{
    return count == 1 ? "was" : "were";
}
