/* conf/providers.c: providers and their credentials. */
#include <stdio.h>
#include <stdlib.h>

#include "base/place.h"
#include "base/secret.h"
#include "conf/conf_priv.h"
#include "conf/value_priv.h"
#include "tbl/provider_facts.h"

#define PROVIDERS_MAX           256
#define SECRET_BYTES_MAX        4096
#define CA_FILE_BYTES_MAX       ((size_t)4 << 20)
#define PROVIDER_NAME_BYTES_MAX 63 /* of struct attempt */

struct facts_row {
    const char *host;
    enum dialect dialect;
    const char *base_path;
    uint32_t apis;
    enum on_abort on_abort;
    const char *limit_field;
};
static const struct facts_row facts_rows[] = {
#define FACTS_ROW(host, dialect, base_path, apis, on_abort, limit_field)                           \
    { host, DIALECT_##dialect, base_path, apis, ON_ABORT_##on_abort, limit_field },
    PROVIDER_FACTS(FACTS_ROW)
#undef FACTS_ROW
};

static const struct facts_row *
facts_of(const char *host)
{
    for (size_t i = 0; i < countof(facts_rows); i++) {
        const char *known = facts_rows[i].host;
        if (known[0] == '.' ? slice_ends(slice_str(host), slice_str(known))
                            : strcmp(host, known) == 0) {
            return &facts_rows[i];
        }
    }
    return NULL;
}

/* ---- credentials ---- */

/* Printable ASCII without spaces: what can stand in a header. */
static bool
secret_valid(struct slice secret)
{
    if (secret.len == 0 || secret.len > SECRET_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < secret.len; i++) {
        if (secret.ptr[i] <= 0x20 || secret.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static void
credential_set(struct conf *conf, const struct node *node, struct slice secret, const char *what,
    struct credential *credential)
{
    if (!secret_valid(secret)) {
        report_add(&conf->report, node, "%s %s", what,
            secret.len == 0 ? "is empty"
                            : "holds spaces, control characters or more than a secret may have");
        return;
    }
    credential->secret = arena_strdup(conf->arena, secret);
    if (!credential->secret) {
        report_no_memory(&conf->report);
        return;
    }
    credential->from = CREDENTIAL_SECRET;
}

bool
env_name_valid(const char *name)
{
    const size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return name[len] == '\0' && len > 0 && len < 128 && !(name[0] >= '0' && name[0] <= '9');
}

static void
credential_from_env(
    struct conf *conf, const struct node *node, const char *name, struct credential *credential)
{
    char what[200];
    if (!env_name_valid(name)) {
        /* not repeated: whoever pastes the secret itself here finds it in no log */
        report_add(&conf->report, node,
            "'env' wants the name of an environment variable (capital letters, digits, '_'), not the secret itself");
        return;
    }
    if (conf->without_secrets) {
        return;
    }
    const char *value = getenv(name);
    if (!value) {
        report_add(&conf->report, node, "environment variable %s is not set", name);
        return;
    }
    (void)snprintf(what, sizeof what, "environment variable %s", name);
    credential_set(conf, node, slice_str(value), what, credential);
}

static void
credential_from_file(
    struct conf *conf, const struct node *node, const char *name, struct credential *credential)
{
    if (conf->without_secrets) {
        return;
    }
    const char *path = conf_path(conf, slice_str(name));
    struct buf text = { .limit_bytes = SECRET_BYTES_MAX + 65536 + 1 };
    const char *why = "";
    char what[300];
    if (file_read(path, SECRET_BYTES_MAX, &text, &why) != STATUS_OK) {
        report_add(&conf->report, node, "the credential file cannot be read: %s", why);
    } else {
        struct slice line = buf_slice(&text);
        while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r')) {
            line.len--;
        }
        (void)snprintf(what, sizeof what, "the credential file");
        credential_set(conf, node, line, what, credential);
    }
    if (text.ptr) {
        secret_wipe(text.ptr, text.cap);
    }
    buf_free(&text);
}

/* Headers that the gateway writes itself, or that change what a message is. */
static bool
header_reserved(struct slice name)
{
    static const char *const reserved[] = { "authorization", "x-api-key", "api-key", "host",
        "content-length", "content-type", "transfer-encoding", "connection", "te", "trailer",
        "upgrade", "expect", "accept-encoding", "cookie", "proxy-authorization", "keep-alive" };
    for (size_t i = 0; i < countof(reserved); i++) {
        if (slice_eq_nocase(name, slice_str(reserved[i]))) {
            return true;
        }
    }
    return slice_starts_nocase(name, SLICE("x-tidegate-"));
}

static void
credential_headers(struct conf *conf, const struct node *map, struct credential *credential)
{
    for (const struct node *node = map ? map->first : NULL; node; node = node->next) {
        if (credential->header_count == (int32_t)countof(credential->headers)) {
            report_add(&conf->report, node->key, "a credential carries at most %zu headers",
                countof(credential->headers));
            return;
        }
        if (!value_name(node->key->text, "-_", NAME_MAX_BYTES)) {
            report_add(&conf->report, node->key, "this is no header name");
        } else if (header_reserved(node->key->text)) {
            report_add(&conf->report, node->key,
                "the gateway writes header '%s' itself; take it out", node->key->text.ptr);
        } else if (node->kind != NODE_SCALAR || node->text.len == 0) {
            report_add(&conf->report, node, "a header's value is a text that is not empty");
        } else if (conf_plain_text(conf, node)) {
            struct header_pair *pair = &credential->headers[credential->header_count++];
            pair->name = conf_copy(conf, node->key->text);
            pair->value = conf_copy(conf, node->text);
        }
    }
}

void
conf_secret(
    struct conf *conf, const struct node *map, const char *what, struct credential *credential)
{
    const char *env = conf_text(conf, map, OPTION_CREDENTIAL_ENV);
    const char *file = conf_text(conf, map, OPTION_CREDENTIAL_FILE);
    if (!env && !file) {
        report_add(&conf->report, map, "%s names no secret: {env: NAME} or {file: PATH}", what);
    } else if (env && file) {
        report_add(&conf->report, map, "%s names two secrets; keep either 'env' or 'file'", what);
    } else if (env) {
        credential_from_env(conf, doc_get(map, "env"), env, credential);
    } else {
        credential_from_file(conf, doc_get(map, "file"), file, credential);
    }
}

static void
credential_read(
    struct conf *conf, const struct node *map, const char *provider, struct credential *credential)
{
    if (!conf_keys(conf, map, "providers.*.credentials.company")) {
        return;
    }
    conf_secret(conf, map, "this credential", credential);
    credential_headers(conf, conf_block(conf, map, OPTION_CREDENTIAL_HEADERS), credential);

    char id[PROVIDER_NAME_BYTES_MAX + 16];
    (void)snprintf(id, sizeof id, "%s/company", provider);
    credential->id = conf_copy(conf, slice_str(id));
}

static void
provider_credentials(struct conf *conf, const struct node *map, const struct facts_row *facts,
    struct provider *provider)
{
    const struct node *block = conf_block(conf, map, OPTION_PROVIDER_CREDENTIALS);
    const struct node *company = NULL;
    if (block && conf_keys(conf, block, "providers.*.credentials")) {
        company = conf_block(conf, block, OPTION_CREDENTIAL_COMPANY);
    }
    if (company) {
        credential_read(conf, company, provider->name, &provider->company);
    } else if (facts && !doc_get(map, "credentials")) {
        report_add(&conf->report, map->key,
            "'credentials' is missing here: %s wants a key, such as {company: {env: NAME}}",
            facts->host[0] == '.' ? facts->host + 1 : facts->host);
    }
}

/* ---- the provider itself ---- */

static void
provider_url(struct conf *conf, const struct node *map, struct provider *provider)
{
    const struct node *node = conf_find(conf, map, OPTION_PROVIDER_BASE_URL);
    const bool insecure = conf_number(conf, map, OPTION_PROVIDER_INSECURE, 0) != 0;
    struct url url;
    const char *wrong = NULL;
    if (!node) {
        return;
    }
    if (node->kind != NODE_SCALAR) {
        conf_wants(conf, node, OPTION_PROVIDER_BASE_URL);
        return;
    }
    if (!url_parse(conf->arena, node->text, &url, &wrong)) {
        report_add(&conf->report, node, "%s", wrong); /* not repeated: it may hold a password */
        return;
    }
    if (!url.tls && !insecure && !host_is_loopback(url.host)) {
        report_add(&conf->report, node,
            "http to %s would send the credential in the clear; write https, or add 'insecure: true'",
            url.host);
        return;
    }
    provider->tls = url.tls;
    provider->host = url.host;
    provider->port = url.port;
    provider->host_header = url.host_header;
    provider->base_path = url.path;
}

/* Where the path is one that the provider is known not to serve, or has a "/v1" too much. */
static void
provider_path(struct conf *conf, const struct node *map, const struct facts_row *facts,
    struct provider *provider)
{
    const struct node *node = doc_get(map, "base_url");
    if (provider->dialect == DIALECT_ANTHROPIC
        && slice_ends(slice_str(provider->base_path), SLICE("/v1"))) {
        report_add(&conf->report, node, "the base URL of an anthropic provider ends before /v1");
    } else if (facts && facts->dialect == provider->dialect && provider->base_path[0] == '\0'
               && facts->base_path[0] != '\0') {
        report_add(&conf->report, node, "%s serves its API under %s; write https://%s%s",
            provider->host, facts->base_path, provider->host_header, facts->base_path);
    }
}

static uint32_t
dialect_apis(enum dialect dialect)
{
    uint32_t apis = 0;
    for (int api = 0; api < API_COUNT; api++) {
        apis |= api_dialect((enum api)api) == dialect ? 1u << api : 0;
    }
    return apis;
}

static bool
api_from_word(struct slice word, enum api *found)
{
    for (int api = 0; api < API_COUNT; api++) {
        if (slice_eq(slice_str(api_word((enum api)api)), word)) {
            *found = (enum api)api;
            return true;
        }
    }
    return false;
}

static uint32_t
provider_apis(
    struct conf *conf, const struct node *map, const struct facts_row *facts, enum dialect dialect)
{
    const struct node *list = conf_block(conf, map, OPTION_PROVIDER_APIS);
    if (!list) {
        if (facts && facts->dialect == dialect) {
            return facts->apis;
        }
        return dialect == DIALECT_OPENAI ? FACTS_OPENAI_APIS : FACTS_ANTHROPIC_APIS;
    }
    uint32_t apis = 0;
    for (const struct node *node = list->first; node; node = node->next) {
        enum api api = API_COUNT;
        if (node->kind != NODE_SCALAR || !api_from_word(node->text, &api)) {
            char seen[64];
            report_add(&conf->report, node,
                "an API is one of: chat, responses, embeddings, messages, count_tokens; this is %s",
                node_seen(node, seen));
        } else if (!(dialect_apis(dialect) & 1u << api)) {
            report_add(&conf->report, node, "a provider of dialect %s does not speak '%s'",
                dialect == DIALECT_OPENAI ? "openai" : "anthropic", api_word(api));
        } else {
            apis |= 1u << api;
        }
    }
    if (!list->first) {
        report_add(&conf->report, list, "'apis' is empty; name at least one, or take the line out");
    }
    return apis;
}

static enum dialect
provider_dialect(struct conf *conf, const struct node *map, const struct facts_row *facts)
{
    if (!facts && !doc_get(map, "dialect")) {
        report_add(&conf->report, map->key, "'dialect' is missing here: openai or anthropic");
    }
    return (enum dialect)conf_number(
        conf, map, OPTION_PROVIDER_DIALECT, facts ? facts->dialect : DIALECT_OPENAI);
}

/* Certificates that cannot be used would fail each call; better said now. */
static void
provider_ca_file(struct conf *conf, const struct node *map, struct provider *provider)
{
    const char *name = conf_text(conf, map, OPTION_PROVIDER_CA_FILE);
    const struct node *node = doc_get(map, option_key(OPTION_PROVIDER_CA_FILE));
    if (!name) {
        return;
    }
    provider->ca_file = conf_path(conf, slice_str(name));
    if (conf->without_secrets) {
        return;
    }
    struct buf text = { .limit_bytes = CA_FILE_BYTES_MAX + 131072 };
    const char *why = "";
    int line = 0;
    if (file_read(provider->ca_file, CA_FILE_BYTES_MAX, &text, &why) != STATUS_OK) {
        report_add(&conf->report, node, "ca_file %s cannot be read: %s", provider->ca_file, why);
    } else {
        switch (pem_certificates(buf_slice(&text), &line)) {
        case PEM_CERTIFICATES: break;
        case PEM_NONE:
            report_add(&conf->report, node,
                "ca_file %s holds no certificate: wanted is PEM, -----BEGIN CERTIFICATE----- and so on",
                provider->ca_file);
            break;
        case PEM_BROKEN:
            report_add(&conf->report, node,
                "ca_file %s: the certificate that begins in its line %d is not whole",
                provider->ca_file, line);
            break;
        }
    }
    buf_free(&text);
}

static void
provider_read(struct conf *conf, const struct node *map, struct provider *provider)
{
    if (!conf_keys(conf, map, "providers.*")) {
        return;
    }
    provider->host = "";
    provider->host_header = "";
    provider->base_path = "";
    provider_url(conf, map, provider);
    const struct facts_row *facts = facts_of(provider->host);
    provider->dialect = provider_dialect(conf, map, facts);
    if (provider->host[0] != '\0') {
        provider_path(conf, map, facts, provider);
    }
    provider->apis = provider_apis(conf, map, facts, provider->dialect);
    provider->limit_field =
        facts && facts->dialect == provider->dialect ? facts->limit_field : FACTS_LIMIT_FIELD;
    provider->on_abort = (enum on_abort)conf_number(
        conf, map, OPTION_PROVIDER_ON_ABORT, facts ? facts->on_abort : ON_ABORT_BILLS_ALL);
    provider_ca_file(conf, map, provider);
    conf_proxy(conf, map, provider);
    provider->connect_ms = conf_number(conf, map, OPTION_PROVIDER_CONNECT_DEADLINE, 0);
    provider->first_byte_ms = conf_number(conf, map, OPTION_PROVIDER_FIRST_BYTE_DEADLINE, 0);
    provider->between_bytes_ms = conf_number(conf, map, OPTION_PROVIDER_BETWEEN_BYTES_DEADLINE, 0);
    provider->drain_max_ms = conf_number(conf, map, OPTION_PROVIDER_DRAIN_MAX, conf->drain_max_ms);
    provider->cooldown_after = (int32_t)conf_number(conf, map, OPTION_PROVIDER_COOLDOWN_AFTER, 0);
    provider->cooldown_max_ms = conf_number(conf, map, OPTION_PROVIDER_COOLDOWN_MAX, 0);
    provider_credentials(conf, map, facts, provider);
}

void
conf_providers(struct conf *conf, const struct node *root)
{
    /* on_abort's words stand in the order of its enum */
    _Static_assert(ON_ABORT_BILLS_ALL == 0 && ON_ABORT_STOPS == 1, "providers.*.on_abort");
    _Static_assert(DIALECT_OPENAI == 0 && DIALECT_ANTHROPIC == 1, "providers.*.dialect");

    const struct node *map = conf_block(conf, root, OPTION_PROVIDERS);
    if (!map) {
        return;
    }
    if (map->child_count == 0 || map->child_count > PROVIDERS_MAX) {
        report_add(&conf->report, map, "a configuration has 1 to %d providers", PROVIDERS_MAX);
        return;
    }
    conf->policy->providers =
        conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->providers);
    if (!conf->policy->providers) {
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        struct provider *provider = &conf->policy->providers[conf->policy->provider_count++];
        provider->name = conf_copy(conf, node->key->text);
        if (!value_name(node->key->text, "-_.", PROVIDER_NAME_BYTES_MAX)) {
            char seen[64];
            report_add(&conf->report, node->key,
                "a provider's name has up to %d letters, digits, '-', '_' and '.'; this is %s",
                PROVIDER_NAME_BYTES_MAX, node_seen(node->key, seen));
        }
        provider_read(conf, node, provider);
    }
}
