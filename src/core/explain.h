/* core/explain.h: a decision told step by step, for people (DESIGN section 13).
 *
 * The decision is core_decide's own, on a working set that is thrown away afterwards: nothing of it is written. */
#pragma once

#include "base/buf.h"
#include "core/core.h"

/* Decides a CALL, all of whose needs are loaded, and appends what was found to `out`: the members of a JSON object,
 * without its braces. `all`: amounts of what is others' too (a gateway's, a group's); else those show a percentage.
 * The working set is changed as if the call were allowed. False: as core_decide. */
MUST_USE bool core_explain(struct core *core, const struct event *event, bool all, struct buf *out);
