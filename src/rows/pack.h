/* rows/pack.h: rows' repeated parts as one TEXT column, in decimal with fixed separators, and back.
 * The store keeps only BIGINT and TEXT; unpacking checks everything, since a store may be damaged. */
#pragma once

#include "base/buf.h"
#include "rows/rows.h"

/* Upper bounds of the packed texts, final NUL included. */
#define PACK_METERS_BYTES (METERS_MAX * 6 * 21 + 1)
#define PACK_PARTS_BYTES (HOLD_PARTS_MAX * 7 * 21 + 1)
#define PACK_SETS_BYTES (SETS_MAX * 5 * 21 + 1)

void pack_meters(const struct meter_row *row, struct buf *out);
MUST_USE bool unpack_meters(struct slice text, struct meter_row *row);
void pack_sets(const struct subject_row *row, struct buf *out);
MUST_USE bool unpack_sets(struct slice text, struct subject_row *row);
/* Names are escaped as those of attempts. */
void pack_reported(const struct reported_row *row, struct buf *out);
MUST_USE bool unpack_reported(struct slice text, struct reported_row *row);
void pack_parts(const struct hold_row *row, struct buf *out);
MUST_USE bool unpack_parts(struct slice text, struct hold_row *row);
/* Provider and model names are percent-escaped where they hold a separator. */
void pack_attempts(const struct hold_row *row, struct buf *out);
MUST_USE bool unpack_attempts(struct slice text, struct hold_row *row);
