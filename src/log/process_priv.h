/* log/process_priv.h: what the system says of this process, under the names that Prometheus' own client
 * libraries use. */
#pragma once

#include "base/buf.h"

/* Appends them; what cannot be read is left out. Reads /proc: for whoever may wait. */
void process_render(struct buf *out);

/* metrics.c: the lines before the numbers of one name. */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);
