/* log/metrics.h: the numbers of tbl/counters.h and tbl/histograms.h. Any thread may change them at any time, and pays
 * for it as if it were alone. No change is ever lost, but while others change it a number is one of
 * those it has just been, and two are never a consistent pair. They start at 0 with the process. */
#pragma once

#include "base/buf.h"
#include "tbl/counters.h"
#include "tbl/histograms.h"

/* Adds `amount`, which is negative only for a gauge. */
void counter_add(enum counter counter, int64_t amount);
/* For gauges that nobody adds to: sets it; raises it to `value` if that is more. */
void counter_set(enum counter counter, int64_t value);
void counter_raise(enum counter counter, int64_t value);
int64_t counter_get(enum counter counter);

/* One more value of a distribution: microseconds where its name says seconds; below 0 counts as 0. */
void histogram_add(enum histogram histogram, int64_t value);
/* How many values so far were at most the bound that `value` falls under; all of them, where it is above the last. */
int64_t histogram_within(enum histogram histogram, int64_t value);

/* Appends all of them, what is built, and what the system says of this process, in the Prometheus text format 0.0.4, whose media type this is. */
#define METRICS_MEDIA_TYPE "text/plain; version=0.0.4; charset=utf-8"
void metrics_render(struct buf *out);
