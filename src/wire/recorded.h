/* wire/recorded.h: the inputs of a ledger row, read back. */
#pragma once

#include "rows/recorded.h"

/* Of a call or a refusal. False: they tell of no decision. */
MUST_USE bool recorded_read(struct slice inputs, struct recorded_call *call);
