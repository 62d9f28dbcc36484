/* conf/webhooks.c: whom to tell of what happened, and how they know that it was us. */
#include <stdio.h>

#include "conf/conf_priv.h"
#include "conf/value_priv.h"
#include "tbl/topics.h"

#define SECRET_BYTES_MIN 16 /* of one that signs; what is shorter can be guessed from one message */
#define URL_BYTES_MAX    2048

/* ---- where to ---- */

/* What may stand behind the path: a token, say. */
static bool
query_valid(struct slice query)
{
    for (size_t i = 0; i < query.len; i++) {
        const char c = query.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '#' || c == '"' || c == '<' || c == '>' || c == '\\') {
            return false;
        }
    }
    return true;
}

static void
url_use(struct conf *conf, const struct node *node, struct slice text, struct webhook *webhook)
{
    struct url url;
    const char *wrong = NULL;
    const ptrdiff_t mark = slice_find(text, SLICE("?"));
    const size_t base_len = mark < 0 ? text.len : (size_t)mark;
    const struct slice query = slice_of(text.ptr + base_len, text.len - base_len);
    if (!url_parse(conf->arena, slice_of(text.ptr, base_len), &url, &wrong)) {
        report_add(&conf->report, node, "%s", wrong); /* not repeated: it may hold a token */
        return;
    }
    if (text.len > URL_BYTES_MAX || !query_valid(query)) {
        report_add(&conf->report, node,
            "what follows the '?' of this URL holds a space or another character that does not belong there, or it has more than %d bytes",
            URL_BYTES_MAX);
        return;
    }
    if (!url.tls && !webhook->allow_private) {
        report_add(&conf->report, node,
            "http is for private addresses: write https, or add 'allow_private: true' where %s is one",
            url.host);
        return;
    }
    webhook->url = arena_strdup(conf->arena, text);
    webhook->tls = url.tls;
    webhook->host = url.host;
    webhook->port = url.port;
    if (!webhook->url) {
        report_no_memory(&conf->report);
    }
}

static void
webhook_url(struct conf *conf, const struct node *map, struct webhook *webhook)
{
    const struct node *node = conf_find(conf, map, OPTION_WEBHOOK_URL);
    struct credential secret = { 0 };
    if (!node) {
        return;
    }
    if (node->kind == NODE_SCALAR && node->text.len > 0) {
        url_use(conf, node, node->text, webhook);
    } else if (node->kind != NODE_MAP) {
        conf_wants(conf, node, OPTION_WEBHOOK_URL);
    } else if (conf_keys(conf, node, "webhooks.*.url")) {
        conf_secret(conf, node, "this URL", &secret);
        if (secret.secret) {
            url_use(conf, node, slice_str(secret.secret), webhook);
        }
    }
}

/* ---- what it is signed with ---- */

static void
secret_add(struct conf *conf, const struct node *node, struct webhook *webhook)
{
    struct credential secret = { 0 };
    if (node->kind != NODE_MAP) { /* not repeated: it may be the secret */
        report_add(&conf->report, node,
            "'secret' wants {env: NAME} or {file: PATH}, or a list of two of them");
        return;
    }
    if (!conf_keys(conf, node, "webhooks.*.secret")) {
        return;
    }
    if (webhook->secret_count == WEBHOOK_SECRETS_MAX) {
        report_add(&conf->report, node,
            "a webhook has at most %d secrets: the new one and the old one", WEBHOOK_SECRETS_MAX);
        return;
    }
    conf_secret(conf, node, "this secret", &secret);
    if (secret.secret) {
        webhook->secrets[webhook->secret_count++] =
            secret.secret; /* wiped with the policy, whatever it is */
        if (strlen(secret.secret) < SECRET_BYTES_MIN) {
            report_add(
                &conf->report, node, "this secret has less than %d characters", SECRET_BYTES_MIN);
        }
    }
}

static void
webhook_secrets(struct conf *conf, const struct node *map, struct webhook *webhook)
{
    const struct node *node = conf_find(conf, map, OPTION_WEBHOOK_SECRET);
    if (!node) {
        return;
    }
    if (node->kind != NODE_LIST) {
        secret_add(conf, node, webhook);
        return;
    }
    if (!node->first) {
        report_add(&conf->report, node, "this list of secrets is empty");
    }
    for (const struct node *item = node->first; item; item = item->next) {
        secret_add(conf, item, webhook);
    }
}

/* ---- what of ---- */

static bool
topic_from_word(struct slice word, enum topic *topic)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        if (slice_eq(slice_str(topic_word((enum topic)i)), word)) {
            *topic = (enum topic)i;
            return true;
        }
    }
    return false;
}

static void
webhook_topics(struct conf *conf, const struct node *map, struct webhook *webhook)
{
    const struct node *list = conf_block(conf, map, OPTION_WEBHOOK_EVENTS);
    if (!list) {
        return;
    }
    for (const struct node *node = list->first; node; node = node->next) {
        enum topic topic = TOPIC_TEST;
        if (node->kind != NODE_SCALAR || !topic_from_word(node->text, &topic)) {
            char seen[64];
            report_add(&conf->report, node, "an event is one of: %s; this is %s", TOPICS_WANTED,
                node_seen(node, seen));
        } else {
            webhook->topics |= UINT32_C(1) << topic;
        }
    }
    if (!list->first) {
        report_add(
            &conf->report, list, "'events' is empty; name at least one of: %s", TOPICS_WANTED);
    }
}

/* ---- a webhook ---- */

/* Its way through a proxy is said as that to a provider. */
static void
webhook_proxy(struct conf *conf, const struct node *map, struct webhook *webhook)
{
    struct provider way = {
        .tls = webhook->tls, .host = webhook->host ? webhook->host : "", .port = webhook->port
    };
    conf_proxy(conf, map, &way);
    webhook->proxy = way.proxy;
}

static void
webhook_read(struct conf *conf, const struct node *map, struct webhook *webhook)
{
    if (!conf_keys(conf, map, "webhooks.*")) {
        return;
    }
    webhook->allow_private = conf_number(conf, map, OPTION_WEBHOOK_ALLOW_PRIVATE, 0) != 0;
    webhook_url(conf, map, webhook);
    webhook_secrets(conf, map, webhook);
    webhook_topics(conf, map, webhook);
    const char *ca_file = conf_text(conf, map, OPTION_WEBHOOK_CA_FILE);
    webhook->ca_file = ca_file ? conf_path(conf, slice_str(ca_file)) : NULL;
    webhook_proxy(conf, map, webhook);
}

void
conf_webhooks(struct conf *conf, const struct node *root)
{
    const struct node *map = conf_block(conf, root, OPTION_WEBHOOKS);
    if (!map) {
        return;
    }
    if (map->child_count > WEBHOOKS_MAX) {
        report_add(&conf->report, map, "a configuration has at most %d webhooks", WEBHOOKS_MAX);
        return;
    }
    conf->policy->webhooks =
        conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->webhooks);
    if (!conf->policy->webhooks) {
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        struct webhook *webhook = &conf->policy->webhooks[conf->policy->webhook_count++];
        webhook->name = conf_copy(conf, node->key->text);
        if (!value_name(node->key->text, "-_.", HOOK_NAME_MAX_BYTES)) {
            char seen[64];
            report_add(&conf->report, node->key,
                "a webhook's name has up to %d letters, digits, '-', '_' and '.'; this is %s",
                HOOK_NAME_MAX_BYTES, node_seen(node->key, seen));
        }
        webhook_read(conf, node, webhook);
    }
}
