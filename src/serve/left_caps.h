/* serve/left_caps.h: what people set for a limit that counts something else since its configuration was edited. */
#pragma once

#include "base/buf.h"
#include "policy/policy.h"
#include "store/store.h"

/* Adds a sentence about each limit of `policy`, which the engine has just put in force, whose caps and raises rule no
 * more; nothing where all of them do. Each begins with ". ", the last one has no stop. Any thread. */
void left_caps_tell(struct store *store, const struct policy *policy, struct buf *said);
