/* cli/door.c: asks the control plane: of the gateway that runs, else one opened here over its store. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENV_CONTROL "TIDEGATE_CONTROL"
#define PATH_BYTES  4096
#define ANY_PORT    1 /* of a simulated provider that is not called */

/* --- Texts of requests. */

static void
percent_add(struct buf *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        const unsigned char c = (unsigned char)*at;
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                           || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'
                           || c == '~';
        if (plain) {
            buf_add_char(out, *at);
        } else {
            buf_addf(out, "%%%02X", c);
        }
    }
}

void
query_add(struct buf *target, const char *name, const char *value)
{
    if (!value || !value[0]) {
        return;
    }
    const bool first = slice_find(buf_slice(target), SLICE("?")) < 0;
    buf_addf(target, "%s%s=", first ? "?" : "&", name);
    percent_add(target, value);
}

void
path_add(struct buf *target, const char *text)
{
    percent_add(target, text);
}

void
body_add(struct buf *body, const char *name, const char *value)
{
    if (!value) {
        return;
    }
    if (body->len == 0) {
        buf_add_char(body, '{');
    } else {
        body->len--; /* the brace that ended it */
        buf_add_char(body, ',');
    }
    buf_add_json(body, slice_str(name));
    buf_add_char(body, ':');
    buf_add_json(body, slice_str(value));
    buf_add_char(body, '}');
}

/* --- JSON. */

struct json_object *
json_member(struct json_object *object, const char *name)
{
    struct json_object *member = NULL;
    return json_object_object_get_ex(object, name, &member) ? member : NULL;
}

const char *
json_text(struct json_object *object, const char *name)
{
    struct json_object *member = json_member(object, name);
    return member ? json_object_get_string(member) : "";
}

int64_t
json_number(struct json_object *object, const char *name)
{
    return json_object_get_int64(json_member(object, name));
}

bool
json_flag(struct json_object *object, const char *name)
{
    return json_object_get_boolean(json_member(object, name));
}

bool
json_has(struct json_object *object, const char *name)
{
    return json_member(object, name) != NULL;
}

size_t
json_count(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

struct json_object *
json_item(struct json_object *array, size_t index)
{
    return json_object_array_get_idx(array, index);
}

/* --- Where to ask. */

static bool
file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The policy of a store that nobody serves: the configuration's, or the sandbox's. */
static enum status
policy_here(const struct door *door, struct policy **policy, struct conf_error *error)
{
    const char *config = door->config ? door->config : CONFIG_FILE_DEFAULT;
    if (door->config || file_exists(config)) {
        return conf_load_file(config, policy, error);
    }
    if (file_exists(SANDBOX_STORE_FILE)) {
        return conf_sandbox(ANY_PORT, SANDBOX_STORE, SANDBOX_LISTEN, policy, error);
    }
    (void)snprintf(error->text, sizeof(error->text),
        "there is no " CONFIG_FILE_DEFAULT
        " in this folder; start one with `tidegate serve`, or say where "
        "with --control or --config");
    return STATUS_NOT_FOUND;
}

struct place {
    const char *path; /* of the socket */
    bool told;        /* by --control or the environment: no other place is tried */
    char text[PATH_BYTES];
    struct policy *policy;   /* loaded on the way; one reference, or NULL */
    struct conf_error error; /* why it was not */
};

static void
find_place(const struct door *door, struct place *place)
{
    place->path = door->control ? door->control : getenv(ENV_CONTROL);
    place->told = place->path && place->path[0];
    if (place->told) {
        return;
    }
    place->path = CONTROL_FILE_DEFAULT;
    if (!door->config && file_exists(CONTROL_FILE_DEFAULT)) {
        return;
    }
    if (policy_here(door, &place->policy, &place->error) != STATUS_OK) {
        place->policy = NULL;
    } else if (control_path(place->policy, place->text, sizeof(place->text))) {
        place->path = place->text;
    }
}

/* Nobody answers: the books are opened here, if they are free. */
static enum status
ask_here(struct door *door, struct place *place, const char *method, struct slice target,
    struct slice body, int *http_status, struct buf *out, struct cli_error *error)
{
    if (!place->policy && policy_here(door, &place->policy, &place->error) != STATUS_OK) {
        (void)snprintf(error->text, sizeof(error->text),
            "no gateway answers at %.200s, and %.3600s", place->path, place->error.text);
        return STATUS_NOT_FOUND;
    }
    struct cli_error why = { .text = "" };
    struct policy *policy = place->policy;
    place->policy = NULL;
    const enum status status =
        door->cli->without_gateway(policy, method, target, body, http_status, out, &why);
    if (status != STATUS_OK) {
        (void)snprintf(error->text, sizeof(error->text),
            "no gateway answers at %.200s, and %.3600s", place->path, why.text);
    }
    return status;
}

static bool
show_refusal(
    const struct door *door, int http_status, struct json_object *answer, const struct buf *out)
{
    if (door->json) {
        text_print(out);
    }
    struct json_object *error = json_member(answer, "error");
    const char *message = error ? json_text(error, "message") : "";
    if (message[0]) {
        (void)cli_fail("%s", message);
    } else {
        (void)cli_fail("the gateway answered %d", http_status);
    }
    return false;
}

static bool
take_answer(
    const struct door *door, int http_status, const struct buf *out, struct json_object **answer)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *parsed = tokener && out->len <= INT32_MAX
                                     ? json_tokener_parse_ex(tokener, out->ptr, (int)out->len)
                                     : NULL;
    json_tokener_free(tokener);
    bool good = http_status >= 200 && http_status <= 299;
    if (!good) {
        good = show_refusal(door, http_status, parsed, out);
    } else if (door->json) {
        text_print(out);
    } else if (!parsed) {
        (void)cli_fail("the gateway's answer is no JSON");
        good = false;
    } else {
        *answer = parsed;
        return true;
    }
    json_object_put(parsed);
    return good;
}

bool
door_ask(struct door *door, const char *method, struct slice target, struct slice body,
    struct json_object **answer)
{
    struct place place = { 0 };
    struct cli_error error = { .text = "" };
    struct buf out = { 0 };
    int http_status = 0;
    *answer = NULL;
    find_place(door, &place);
    enum status status = client_ask(place.path, method, target, body, &http_status, &out, &error);
    if (status == STATUS_NOT_FOUND && !place.told) {
        status = ask_here(door, &place, method, target, body, &http_status, &out, &error);
    }
    policy_unref(place.policy);
    bool good = status == STATUS_OK;
    if (good) {
        good = take_answer(door, http_status, &out, answer);
    } else {
        (void)cli_fail("%s", error.text);
    }
    buf_free(&out);
    return good;
}
