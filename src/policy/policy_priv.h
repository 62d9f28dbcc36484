/* policy/policy_priv.h: what the files of this room share. */
#pragma once

#include "policy/policy.h"

/* The price with exactly this id, or NULL. */
const struct price *price_exact(const struct policy *policy, struct slice id);
