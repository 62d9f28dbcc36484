/* wire/refusal_priv.h: what the files of refusals share. */
#pragma once

#include "wire/refusal.h"

/* Waits up to here are told as such: clients sit them out. Source: spec/clients.md section 1. */
#define WAIT_TOLD_S_MAX 60
/* What a client is told where a wait helps but its length is not known. */
#define WAIT_UNKNOWN_S 2

bool refusal_has_limit(const struct refusal *refusal);
/* Of its reason; what a rate refuses only has to wait. */
enum reason_class refusal_class(const struct refusal *refusal);
/* Whether its limit has no room for such a call, however long it waits. */
bool refusal_never_fits(const struct refusal *refusal);
bool refusal_shared_limit(const struct refusal *refusal);
/* Used and held, of the cap. */
int64_t refusal_percent(const struct refusal *refusal);
