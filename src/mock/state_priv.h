/* mock/state_priv.h: what a provider remembers between requests: the responses and items it gave out, each
 * bound to the credential that got it, and how often words with fail_first were seen. Bounded. */
#pragma once

#include "base/map.h"
#include "base/slice.h"

#define MOCK_RESPONSES_MAX 100000
#define MOCK_COUNTERS_MAX  100000

struct mock_response {
    uint64_t id_hash, credential_hash;
    int64_t context_tokens; /* what it and all before it weigh as input of the next */
};

struct mock_state {
    struct map responses;        /* id hash -> struct mock_response */
    struct mock_response **ring; /* the order in which they came, to let the oldest go */
    size_t ring_at;
    struct map counters; /* hash of the words -> int64_t */
};

MUST_USE bool mock_state_open(struct mock_state *state);
void mock_state_close(struct mock_state *state);
/* Remembers a response; without memory it is unknown later, as any may be. */
void mock_state_give(
    struct mock_state *state, struct slice id, struct slice credential, int64_t context_tokens);
/* NULL where the id is unknown or was given to another credential: both look alike. */
const struct mock_response *mock_state_find(
    const struct mock_state *state, struct slice id, struct slice credential);
/* How often these words were counted before, and counts them. */
int64_t mock_state_count(struct mock_state *state, struct slice words);
void mock_state_forget_counts(struct mock_state *state);
