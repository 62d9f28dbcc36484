/* base/money.h: money as text. Decimals are parsed exactly to micros, never through a double. */
#pragma once

#include "base/slice.h"
#include "base/units.h"

/* Which way what is below the last place goes: up to +infinity (a cost is never understated) or
 * down to -infinity (a balance is never overstated). */
enum money_round { MONEY_UP, MONEY_DOWN };

/* "12", "0.05", "1e-7", "-3.5": plain or exponent decimal of USD to micros. False when malformed or
 * outside +-MONEY_MICROS_MAX; it then leaves the result alone. */
MUST_USE bool money_parse(struct slice text, enum money_round round, int64_t *micros);
/* The same with another scale: value * 10^digits, e.g. 12 digits for USD per token -> micros per
 * Mtok. `digits` within +-18. */
MUST_USE bool money_parse_scaled(
    struct slice text, int digits, enum money_round round, int64_t *value);
/* "$1,234.56", to the nearest cent; four decimals for non-zero amounts under one cent ("$0.0042"),
 * "<$0.0001" below those; "-$1.00", ">-$0.0001" under zero. */
void money_text(int64_t micros, char out[40]);
