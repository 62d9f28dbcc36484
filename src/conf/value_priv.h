/* conf/value_priv.h: the small languages of the configuration: amounts, durations, sizes, rates, names.
 * Pure functions of a text; all refuse signs, spaces at the ends, and numbers that do not fit. */
#pragma once

#include "base/slice.h"
#include "base/units.h"

/* "500ms", "3s", "2h30m", "7d": terms of falling unit (d h m s ms), each a whole number. */
MUST_USE bool value_duration(struct slice text, int64_t *ms);
/* "1024 tokens", "1024". */
MUST_USE bool value_tokens(struct slice text, int64_t *tokens);
/* "4096", "64KB", "32MB", "1GB"; powers of 1024. */
MUST_USE bool value_bytes(struct slice text, int64_t *bytes);
/* "5 USD", "0.50 USD", "5000000 micros"; never rounded: what is finer than a micro is no amount. */
MUST_USE bool value_money(struct slice text, int64_t *micros);
/* "60/min": units s, min, h, day. */
MUST_USE bool value_rate(struct slice text, int64_t *count, int64_t *period_ms);
MUST_USE bool value_count(struct slice text, int64_t *count);

/* 1..bytes_max bytes of letters, digits and `more`, beginning with a letter or a digit. */
bool value_name(struct slice text, const char *more, size_t bytes_max);
