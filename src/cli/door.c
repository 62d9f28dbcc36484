/* cli/door.c: asks the control plane: of the gateway that runs, else one opened here over its store. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/place.h"
#include "base/plural.h"
#include "base/secret.h"

#define ENV_CONTROL    "TIDEGATE_CONTROL"
#define PATH_BYTES     DOOR_PATH_BYTES
#define LOST_PAUSE_S   1
#define ONCE_KEY_BYTES (sizeof("cli-") + 43)
#define ANY_PORT       1 /* of a simulated provider that is not called */

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

static void
body_name(struct buf *body, const char *name)
{
    if (body->len == 0) {
        buf_add_char(body, '{');
    } else {
        body->len--; /* the brace that ended it */
        buf_add_char(body, ',');
    }
    buf_add_json(body, slice_str(name));
    buf_add_char(body, ':');
}

void
body_add(struct buf *body, const char *name, const char *value)
{
    if (value) {
        body_name(body, name);
        buf_add_json(body, slice_str(value));
        buf_add_char(body, '}');
    }
}

void
body_add_null(struct buf *body, const char *name)
{
    body_name(body, name);
    buf_add_str(body, "null}");
}

void
body_add_number(struct buf *body, const char *name, int64_t value)
{
    body_name(body, name);
    buf_add_i64(body, value);
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

/* One request on its way, and what came of it. */
struct asking {
    struct door *door;
    struct cli_request request;
    int http_status;
    struct buf out;
    struct cli_error error;
};

static bool
file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static const char *
config_of(const struct door *door)
{
    return door->config ? door->config : CONFIG_FILE_DEFAULT;
}

/* The policy that says where the socket and the books are: the configuration's, or the sandbox's. Secrets
 * are not needed for that, so none is asked for. */
static enum status
policy_here(const struct door *door, struct policy **policy, struct cli_error *error)
{
    struct conf_error why = { .text = "" };
    const char *config = config_of(door);
    *policy = NULL;
    if (!door->config && !file_exists(config)) {
        if (file_exists(SANDBOX_STORE_FILE)) {
            const enum status made =
                conf_sandbox(ANY_PORT, SANDBOX_STORE, SANDBOX_LISTEN, policy, &why);
            (void)snprintf(error->text, sizeof(error->text), "the sandbox: %.3600s", why.text);
            return made;
        }
        (void)snprintf(error->text, sizeof(error->text),
            file_exists(CONTROL_FILE_DEFAULT)
                ? "no gateway answers at " CONTROL_FILE_DEFAULT
                  ", and this folder has no " CONFIG_FILE_DEFAULT
                  " that tells of another; name one with --control PATH or --config FILE"
                : "no gateway is found: this folder has neither " CONTROL_FILE_DEFAULT
                  " nor " CONFIG_FILE_DEFAULT
                  "; name one with --control PATH or --config FILE, or start one with "
                  "`tidegate serve`");
        return STATUS_NOT_FOUND;
    }
    const enum status status = conf_load_file_without_secrets(config, policy, &why);
    if (status == STATUS_INVALID) {
        (void)snprintf(error->text, sizeof(error->text),
            "%.200s says where the gateway is, but it is wrong; --control PATH goes without it\n"
            "%.3600s",
            config, why.text);
    } else if (status != STATUS_OK) {
        (void)snprintf(error->text, sizeof(error->text), "%.3600s", why.text);
    }
    return status;
}

/* A change whose connection is lost may be done or not: asked for once more under the same key it is done once. */
static enum status
ask_at(struct asking *asking, const char *path)
{
    const struct timespec pause = { .tv_sec = LOST_PAUSE_S };
    enum status status =
        client_ask(path, &asking->request, &asking->http_status, &asking->out, &asking->error);
    if (status == STATUS_CLOSED && asking->request.once_key) {
        (void)nanosleep(&pause, NULL); /* it may be starting again */
        buf_clear(&asking->out);
        status =
            client_ask(path, &asking->request, &asking->http_status, &asking->out, &asking->error);
    }
    if (status == STATUS_OK) {
        (void)slice_to_cstr(slice_str(path), asking->door->socket, sizeof(asking->door->socket));
    }
    return status;
}

/* Why the books of this store are not opened here; NULL: they are. */
static const char *
why_not_here(const struct door *door, const char *store)
{
    if (door->gateway_only) {
        return "without one there is nothing to do";
    }
    if (strcmp(store, "memory:") == 0) {
        return "its books are kept in memory: without it there are none";
    }
    return store_url_is_postgres(store)
               ? "books on PostgreSQL are asked for through a gateway: start it, or name the socket of one that "
                 "runs on them with --control PATH"
               : NULL;
}

/* Nobody answers at `path`: the books are opened here, if they are free. Takes over the reference. */
static enum status
ask_books(struct asking *asking, struct policy *policy, const char *path)
{
    const struct door *door = asking->door;
    const char *why_not = why_not_here(door, policy->store);
    struct cli_error why = { .text = "" };
    int64_t orphans = 0;
    enum status status = STATUS_NOT_FOUND;
    if (why_not) {
        (void)slice_to_cstr(slice_str(why_not), why.text, sizeof(why.text));
        policy_unref(policy);
    } else {
        status = door->cli->without_gateway(
            policy, &asking->request, &asking->http_status, &asking->out, &orphans, &why);
    }
    if (status != STATUS_OK) {
        const bool sandbox = !door->config && !file_exists(CONFIG_FILE_DEFAULT);
        (void)snprintf(asking->error.text, sizeof(asking->error.text),
            "no gateway answers at %.200s, where %.200s puts its control socket, and %.3000s%s",
            path, sandbox ? "the sandbox" : config_of(door), why.text,
            status == STATUS_BUSY ? "; name that one's socket with --control PATH" : "");
    } else if (orphans > 0) {
        (void)fflush(stdout);
        (void)fprintf(stderr,
            "tidegate: a gateway ended amid %lld call%s: closed now, as orphaned_holds says\n",
            (long long)orphans, plural_s(orphans));
    }
    return status;
}

/* The socket that was named, and no other; else the one in this folder, the configuration's, the books. */
static enum status
ask(struct asking *asking)
{
    const struct door *door = asking->door;
    const char *told = door->control ? door->control : getenv(ENV_CONTROL);
    if (told && told[0]) {
        const enum status status = ask_at(asking, told);
        if (status == STATUS_NOT_FOUND) {
            (void)snprintf(asking->error.text, sizeof(asking->error.text),
                "no gateway answers at %.3000s, which %s names", told,
                door->control ? "--control" : ENV_CONTROL);
        }
        return status;
    }
    const bool near = !door->config && file_exists(CONTROL_FILE_DEFAULT);
    enum status status = near ? ask_at(asking, CONTROL_FILE_DEFAULT) : STATUS_NOT_FOUND;
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    struct policy *policy = NULL;
    char path[PATH_BYTES];
    status = policy_here(door, &policy, &asking->error);
    if (status != STATUS_OK) {
        return status;
    }
    if (!control_path(policy, path, sizeof(path))) {
        policy_unref(policy);
        (void)snprintf(asking->error.text, sizeof(asking->error.text),
            "the path of the control socket in %.200s is too long", config_of(door));
        return STATUS_INVALID;
    }
    const bool asked = near && strcmp(path, CONTROL_FILE_DEFAULT) == 0;
    status = asked ? STATUS_NOT_FOUND : ask_at(asking, path);
    if (status == STATUS_NOT_FOUND) {
        return ask_books(asking, policy, path);
    }
    policy_unref(policy);
    return status;
}

/* The gateway's own store, a file as an absolute path: it may run in another folder. Of a database what people
 * may see: its password is then where libpq looks for one. */
static bool
store_of_gateway(struct door *door, const char *socket_path, struct buf *url)
{
    struct asking asking = { .door = door,
        .request = { "GET", SLICE("/api/v1/status"), { 0 }, NULL } };
    const enum status status = ask_at(&asking, socket_path);
    struct json_object *answer = status == STATUS_OK && asking.http_status == 200
                                     ? json_tokener_parse(buf_cstr(&asking.out))
                                     : NULL;
    struct json_object *gateway = answer ? json_member(answer, "gateway") : NULL;
    const char *file = gateway ? json_text(gateway, "store_file") : "";
    const char *store = gateway ? json_text(gateway, "store") : "";
    const bool shared = store_url_is_postgres(store);
    const bool found = file[0] != '\0' || shared;
    if (found) {
        buf_addf(url, "%s%s", shared ? "" : STORE_SCHEME, shared ? store : file);
    } else if (status == STATUS_NOT_FOUND) {
        (void)cli_fail("no gateway answers at %s", socket_path);
    } else {
        (void)cli_fail("%s", status != STATUS_OK ? asking.error.text
                                                 : "this gateway keeps its books in memory alone");
    }
    json_object_put(answer);
    buf_free(&asking.out);
    return found;
}

bool
door_store(struct door *door, const char *file, struct buf *url)
{
    const char *told = door->control ? door->control : getenv(ENV_CONTROL);
    if (file) {
        const bool is_url =
            slice_starts(slice_str(file), SLICE(STORE_SCHEME)) || store_url_is_postgres(file);
        if (!is_url && strstr(file, "://")) { /* not repeated: a password may be in it */
            (void)cli_fail(
                "that URL names no store; write sqlite:PATH, or postgresql://USER@HOST/DATABASE");
            return false;
        }
        buf_addf(url, "%s%s", is_url ? "" : STORE_SCHEME, file);
        return !url->failed;
    }
    if (told && told[0] && !door->config) {
        return store_of_gateway(door, told, url);
    }
    struct policy *policy = NULL;
    struct cli_error error = { .text = "" };
    if (policy_here(door, &policy, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    const bool lasts = store_url_path(policy->store) || store_url_is_postgres(policy->store);
    if (lasts) {
        buf_add_str(url, policy->store);
    } else {
        char store[STORE_SHOWN_BYTES];
        store_url_shown(policy->store, store, sizeof(store));
        (void)cli_fail("the store of %s, %s, is no file", config_of(door), store);
    }
    policy_unref(policy);
    return lasts;
}

bool
door_store_file(struct door *door, const char *file, struct buf *url)
{
    if (!door_store(door, file, url)) {
        return false;
    }
    if (store_url_is_postgres(buf_cstr(url))) {
        (void)cli_fail(
            "books on PostgreSQL are backed up and put back with its own means, while gateways run: "
            "pg_dump and pg_restore, or pg_basebackup with archived WAL; docs/deployment.md says how");
        return false;
    }
    return true;
}

/* --- What came of it. */

void
argument_of_field(const struct command *command, const char *field, char out[64])
{
    static const struct {
        const char *field, *option;
    } others[] = { { "expires_at", "expires" }, { "delta_micros", "by" }, { "delta", "by" },
        { "spend_limit_micros", "set" }, { "amount", "set" }, { "raise_micros", "raise" },
        { "session_pct", "session" }, { "week_pct", "week" } };
    const char *name = field;
    check(out);
    for (size_t i = 0; i < countof(others); i++) { /* where they differ, and the command has it */
        char option[64];
        (void)snprintf(option, sizeof(option), "--%s", others[i].option);
        if (strcmp(field, others[i].field) == 0 && strstr(command->arguments, option)) {
            name = others[i].option;
        }
    }
    (void)snprintf(out, 64, "--%.60s", name);
    for (char *at = out; *at; at++) {
        *at = *at == '_' ? '-' : *at;
    }
    if (strstr(command->arguments, out)) {
        return;
    }
    (void)snprintf(out, 64, "%.60s", name);
    for (char *at = out; *at; at++) {
        *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
    }
}

/* What a person types for a field that a sentence of the control plane names in backticks. */
static void
add_typed(const struct command *command, struct slice field, struct buf *out)
{
    static const struct {
        const char *field, *typed;
    } values[] = { { "delta_micros", AMOUNT_OF_MONEY }, { "spend_limit_micros", AMOUNT_OF_MONEY },
        { "raise_micros", AMOUNT_OF_MONEY }, { "delta", AMOUNT_OF_UNITS },
        { "amount", AMOUNT_OF_UNITS }, { "null", "off" },
        { "PUT /api/v1/threads/{id}/spend-limit", "tidegate thread limit ID --set AMOUNT" } };
    char name[64];
    char option[64];
    for (size_t i = 0; i < countof(values); i++) {
        if (slice_eq(field, slice_str(values[i].field))) {
            buf_add_str(out, values[i].typed);
            return;
        }
    }
    const bool fits = slice_to_cstr(field, name, sizeof(name));
    (void)snprintf(option, sizeof(option), "--%.60s", fits ? name : "");
    if (fits && strstr(command->arguments, option)) {
        buf_add_str(out, option);
    } else { /* of a configuration, or a command: as it is */
        buf_addf(out, "`%.*s`", (int)field.len, field.ptr);
    }
}

/* A sentence of the control plane in the words of the command line. */
static void
add_sentence(const struct command *command, const char *sentence, struct buf *out)
{
    const char *at = sentence;
    for (;;) {
        const char *open = strchr(at, '`');
        const char *close = open ? strchr(open + 1, '`') : NULL;
        if (!close) {
            buf_add_str(out, at);
            return;
        }
        buf_add_slice(out, slice_of(at, (size_t)(open - at)));
        add_typed(command, slice_of(open + 1, (size_t)(close - open - 1)), out);
        at = close + 1;
    }
}

/* A value that the control plane does not take, in the words of the command line. */
static int
show_wrong_value(const struct door *door, const char *field, const char *message)
{
    char quoted[128];
    char argument[64];
    (void)snprintf(quoted, sizeof(quoted), "'%.100s' ", field);
    const char *why = strstr(message, quoted);
    struct buf said = { 0 };
    if (door->amount && strcmp(field, "amount") == 0) {
        (void)snprintf(argument, sizeof(argument), "%s", door->amount);
    } else {
        argument_of_field(door->cli->command, field, argument);
    }
    add_sentence(door->cli->command, why ? why + strlen(quoted) : "is not taken", &said);
    (void)cli_fail("%s: %s %s", door->cli->command->words, argument, buf_cstr(&said));
    buf_free(&said);
    return EXIT_USAGE;
}

static int
show_refusal(
    const struct door *door, int http_status, struct json_object *answer, const struct buf *out)
{
    if (door->json) {
        text_print(out);
    }
    struct json_object *error = json_member(answer, "error");
    const char *message = error ? json_text(error, "message") : "";
    const char *field = error ? json_text(error, "field") : "";
    if (field[0]) {
        return show_wrong_value(door, field, message);
    }
    if (!message[0]) {
        return cli_fail("the gateway answered %d", http_status);
    }
    struct buf said = { 0 };
    add_sentence(door->cli->command, message, &said);
    (void)cli_fail("%s", buf_cstr(&said));
    buf_free(&said);
    return EXIT_FAILED;
}

static int
take_answer(
    const struct door *door, int http_status, const struct buf *out, struct json_object **answer)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *parsed = tokener && out->len <= INT32_MAX
                                     ? json_tokener_parse_ex(tokener, out->ptr, (int)out->len)
                                     : NULL;
    int exit_status = EXIT_OK;
    json_tokener_free(tokener);
    if (http_status < 200 || http_status > 299) {
        exit_status = show_refusal(door, http_status, parsed, out);
    } else if (http_status == 204) { /* done, and nothing to say */
        if (door->json) {
            (void)printf("{}\n");
        } else {
            *answer = json_object_new_object();
        }
    } else if (door->json) {
        text_print(out);
    } else if (!parsed) {
        exit_status = cli_fail("the gateway's answer is no JSON");
    } else {
        *answer = parsed;
        return EXIT_OK;
    }
    json_object_put(parsed);
    return exit_status;
}

int
door_ask(struct door *door, const char *method, struct slice target, struct slice body,
    struct json_object **answer)
{
    char once_key[ONCE_KEY_BYTES];
    struct asking asking = { .door = door, .request = { method, target, body, NULL } };
    *answer = NULL;
    if (strcmp(method, "GET") != 0) {
        secret_mint("cli-", once_key, sizeof(once_key));
        asking.request.once_key = once_key;
    }
    const int exit_status = ask(&asking) == STATUS_OK
                                ? take_answer(door, asking.http_status, &asking.out, answer)
                                : cli_fail("%s", asking.error.text);
    buf_free(&asking.out);
    return exit_status;
}
