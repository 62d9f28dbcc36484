/* mock/state.c: issued responses and counted failures. */
#include "mock/state_priv.h"

#include <stdlib.h>

bool
mock_state_open(struct mock_state *state)
{
    *state =
        (struct mock_state){ .ring = calloc(MOCK_RESPONSES_MAX, sizeof(struct mock_response *)) };
    return state->ring != NULL;
}

void
mock_state_forget_counts(struct mock_state *state)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(&state->counters, &cursor, &key, &value)) {
        free(value);
    }
    map_free(&state->counters);
    state->counters = (struct map){ 0 };
}

void
mock_state_close(struct mock_state *state)
{
    for (size_t i = 0; state->ring && i < MOCK_RESPONSES_MAX; i++) {
        free(state->ring[i]);
    }
    free(state->ring);
    map_free(&state->responses);
    mock_state_forget_counts(state);
    *state = (struct mock_state){ 0 };
}

void
mock_state_give(
    struct mock_state *state, struct slice id, struct slice credential, int64_t context_tokens)
{
    struct mock_response *response = calloc(1, sizeof *response);
    if (!response) {
        return;
    }
    *response = (struct mock_response){ hash_bytes(id), hash_bytes(credential), context_tokens };
    if (!map_put(&state->responses, response->id_hash, response)) {
        free(response);
        return;
    }
    struct mock_response **slot = &state->ring[state->ring_at++ % MOCK_RESPONSES_MAX];
    if (*slot) {
        (void)map_remove(&state->responses, (*slot)->id_hash);
        free(*slot);
    }
    *slot = response;
}

const struct mock_response *
mock_state_find(const struct mock_state *state, struct slice id, struct slice credential)
{
    const struct mock_response *response = map_get(&state->responses, hash_bytes(id));
    return response && response->credential_hash == hash_bytes(credential) ? response : NULL;
}

int64_t
mock_state_count(struct mock_state *state, struct slice words)
{
    const uint64_t key = hash_bytes(words);
    int64_t *count = map_get(&state->counters, key);
    if (!count) {
        if (state->counters.count >= MOCK_COUNTERS_MAX) {
            mock_state_forget_counts(state);
        }
        count = calloc(1, sizeof *count);
        if (!count || !map_put(&state->counters, key, count)) {
            free(count);
            return 0;
        }
    }
    return (*count)++;
}
