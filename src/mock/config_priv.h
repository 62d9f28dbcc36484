/* mock/config_priv.h: what POST /_mock/config has set: behaviours for fixed model names, and which
 * credentials are taken. Owns all it keeps. */
#pragma once

#include "base/slice.h"

#define MOCK_NAMES_MAX 256

struct mock_named {
    char *name, *words;
};

struct mock_config {
    char *words; /* for model ids that are no behaviour; NULL = none */
    struct mock_named models[MOCK_NAMES_MAX];
    size_t model_count;
    char *credentials[MOCK_NAMES_MAX]; /* with none, any is taken */
    size_t credential_count;
};

/* Reads a body: what it names is set, what is null is taken back, the rest stays. All or nothing:
 * false with a sentence changes nothing. */
MUST_USE bool mock_config_read(
    struct mock_config *config, struct slice body, char *why, size_t why_size);
/* Takes over from the command line. */
MUST_USE bool mock_config_words(
    struct mock_config *config, struct slice words, char *why, size_t why_size);
/* The words set for this model name; empty where there are none. */
struct slice mock_config_of_model(const struct mock_config *config, struct slice model);
bool mock_config_takes(const struct mock_config *config, struct slice credential);
void mock_config_free(struct mock_config *config);
