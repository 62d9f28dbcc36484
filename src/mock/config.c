/* mock/config.c: settings of a running mock. */
#include "mock/config_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "mock/behaviour_priv.h"
#include "wire/json.h"

struct reader {
    struct mock_config *config;
    char *why;
    size_t why_size;
};

static bool
refuse(struct reader *reader, const char *why)
{
    snprintf(reader->why, reader->why_size, "%s", why);
    return false;
}

void
mock_config_free(struct mock_config *config)
{
    free(config->words);
    for (size_t i = 0; i < config->model_count; i++) {
        free(config->models[i].name);
        free(config->models[i].words);
    }
    for (size_t i = 0; i < config->credential_count; i++) {
        free(config->credentials[i]);
    }
    *config = (struct mock_config){ 0 };
}

static char *
copy(struct slice text)
{
    char *memory = malloc(text.len + 1);
    if (memory) {
        memcpy(memory, text.len ? text.ptr : "", text.len);
        memory[text.len] = '\0';
    }
    return memory;
}

/* A string of JSON as memory of our own; NULL without memory. */
static char *
unescape(struct slice raw)
{
    char *memory = malloc(raw.len + 1);
    size_t len = 0;
    if (memory && json_unescape(raw, memory, raw.len, &len)) {
        memory[len] = '\0';
        return memory;
    }
    free(memory);
    return NULL;
}

static bool
words_valid(struct reader *reader, const char *words)
{
    struct mock_behaviour scratch = mock_behaviour_default();
    struct mock_behaviour_fault fault = { 0 };
    return mock_behaviour_read(&scratch, slice_str(words), &fault) || refuse(reader, fault.text);
}

static bool
read_default(struct reader *reader, struct json_value value)
{
    char *words = NULL;
    if (value.type == JSON_STRING) {
        words = unescape(json_inside(value));
        if (!words) {
            return refuse(reader, "out of memory");
        }
        if (!words_valid(reader, words)) {
            free(words);
            return false;
        }
    } else if (value.type != JSON_NULL) {
        return refuse(reader, "default: neither a string nor null");
    }
    free(reader->config->words);
    reader->config->words = words;
    return true;
}

static size_t
index_of_model(const struct mock_config *config, struct slice name)
{
    size_t i = 0;
    while (i < config->model_count && !slice_eq(slice_str(config->models[i].name), name)) {
        i++;
    }
    return i;
}

/* Takes over both memories. */
static bool
set_model(struct reader *reader, char *name, char *words)
{
    struct mock_config *config = reader->config;
    const size_t i = index_of_model(config, slice_str(name));
    if (i == MOCK_NAMES_MAX) {
        free(name);
        free(words);
        return refuse(reader, "models: too many names");
    }
    if (i < config->model_count) {
        free(config->models[i].name);
        free(config->models[i].words);
    } else {
        config->model_count++;
    }
    config->models[i] = (struct mock_named){ name, words };
    if (!words) {
        free(name);
        config->models[i] = config->models[--config->model_count];
    }
    return true;
}

static bool
read_models(struct reader *reader, struct json_value value)
{
    struct json_cursor cursor;
    struct slice key;
    struct json_value words;
    json_start(&cursor, value.text);
    if (!json_enter(&cursor, '{')) {
        return refuse(reader, "models: no object");
    }
    while (json_next_member(&cursor, &key)) {
        if (!json_take(&cursor, &words) || (words.type != JSON_STRING && words.type != JSON_NULL)) {
            return refuse(reader, "models: a value is neither a string nor null");
        }
        char *name = unescape(key);
        char *said = words.type == JSON_STRING ? unescape(json_inside(words)) : NULL;
        if (!name || (words.type == JSON_STRING && !said)) {
            free(name);
            free(said);
            return refuse(reader, "out of memory");
        }
        if (said && !words_valid(reader, said)) {
            free(name);
            free(said);
            return false;
        }
        if (!set_model(reader, name, said)) {
            return false;
        }
    }
    return true;
}

static bool
read_credentials(struct reader *reader, struct json_value value)
{
    struct mock_config *config = reader->config;
    struct json_cursor cursor;
    struct json_value item;
    while (config->credential_count > 0) {
        free(config->credentials[--config->credential_count]);
    }
    if (value.type == JSON_NULL) {
        return true;
    }
    json_start(&cursor, value.text);
    if (!json_enter(&cursor, '[')) {
        return refuse(reader, "credentials: neither an array nor null");
    }
    while (json_next_item(&cursor)) {
        if (!json_take(&cursor, &item) || item.type != JSON_STRING) {
            return refuse(reader, "credentials: an item is no string");
        }
        if (config->credential_count == MOCK_NAMES_MAX) {
            return refuse(reader, "credentials: too many");
        }
        char *credential = unescape(json_inside(item));
        if (!credential) {
            return refuse(reader, "out of memory");
        }
        config->credentials[config->credential_count++] = credential;
    }
    return true;
}

static bool
read_members(struct reader *reader, struct slice body)
{
    struct json_cursor cursor;
    struct slice key;
    struct json_value value;
    json_start(&cursor, body);
    if (!json_enter(&cursor, '{')) {
        return refuse(reader, "the body is no JSON object");
    }
    while (json_next_member(&cursor, &key)) {
        if (!json_take(&cursor, &value)) {
            break;
        }
        const bool fine = json_key_is(key, SLICE("default"))  ? read_default(reader, value)
                          : json_key_is(key, SLICE("models")) ? read_models(reader, value)
                          : json_key_is(key, SLICE("credentials"))
                              ? read_credentials(reader, value)
                              : refuse(reader, "the keys are default, models and credentials");
        if (!fine) {
            return false;
        }
    }
    return json_finish(&cursor) || refuse(reader, "the body is not JSON");
}

static bool
copy_config(struct mock_config *to, const struct mock_config *from)
{
    *to = (struct mock_config){ .words = from->words ? copy(slice_str(from->words)) : NULL };
    bool fine = !from->words || to->words;
    for (size_t i = 0; i < from->model_count; i++) {
        to->models[i].name = copy(slice_str(from->models[i].name));
        to->models[i].words = copy(slice_str(from->models[i].words));
        fine = fine && to->models[i].name && to->models[i].words;
        to->model_count++;
    }
    for (size_t i = 0; i < from->credential_count; i++) {
        to->credentials[i] = copy(slice_str(from->credentials[i]));
        fine = fine && to->credentials[i];
        to->credential_count++;
    }
    return fine;
}

bool
mock_config_read(struct mock_config *config, struct slice body,
    char *why, /* NOLINT(readability-non-const-parameter): written through the reader */
    size_t why_size)
{
    struct mock_config changed;
    struct reader reader = { .config = &changed, .why = why, .why_size = why_size };
    const bool fine = copy_config(&changed, config) ? read_members(&reader, body)
                                                    : refuse(&reader, "out of memory");
    if (!fine) {
        mock_config_free(&changed);
        return false;
    }
    mock_config_free(config);
    *config = changed;
    return true;
}

bool
mock_config_words(struct mock_config *config, struct slice words,
    char *why, /* NOLINT(readability-non-const-parameter): written through the reader */
    size_t why_size)
{
    struct reader reader = { .config = config, .why = why, .why_size = why_size };
    char *memory = copy(words);
    if (!memory) {
        return refuse(&reader, "out of memory");
    }
    if (!words_valid(&reader, memory)) {
        free(memory);
        return false;
    }
    free(config->words);
    config->words = memory;
    return true;
}

struct slice
mock_config_of_model(const struct mock_config *config, struct slice model)
{
    const size_t i = index_of_model(config, model);
    return i < config->model_count ? slice_str(config->models[i].words) : SLICE("");
}

bool
mock_config_takes(const struct mock_config *config, struct slice credential)
{
    if (credential.len == 0) {
        return false;
    }
    for (size_t i = 0; i < config->credential_count; i++) {
        if (slice_eq(slice_str(config->credentials[i]), credential)) {
            return true;
        }
    }
    return config->credential_count == 0;
}
