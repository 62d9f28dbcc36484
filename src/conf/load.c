/* conf/load.c: a text to a policy, whole or not at all. */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_priv.h"

static void
conf_read(struct conf *conf, struct slice yaml)
{
    const struct node *root = doc_read(&conf->report, yaml, &conf->nodes);
    if (!root || !conf_keys(conf, root, "")) {
        return;
    }
    /* each needs those before it */
    conf_server(conf, root);
    conf_plans(conf, root);
    conf_prices(conf, root);
    conf_providers(conf, root);
    conf_models(conf, root);
    conf_groups(conf, root);
    conf_tags(conf, root);
    conf_limits(conf, root);
    conf_retention(conf, root);
    conf_webhooks(conf, root);
    conf_hash(conf, root);
}

/* The folder of a path, "" where it names none. */
static char *
folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t len = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = calloc(len + 1, 1);
    if (folder) {
        memcpy(folder, path, len);
    }
    return folder;
}

static MUST_USE enum status
load_text(const char *name, struct slice yaml, bool without_secrets, struct policy **policy,
    struct conf_error *error)
{
    *policy = NULL;
    error->text[0] = '\0';
    struct conf *conf = calloc(1, sizeof *conf);
    struct policy *made = policy_new();
    char *folder = folder_of(name);
    enum status status = STATUS_FULL;
    if (!conf || !made || !folder) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        policy_unref(made);
    } else {
        conf->report.name = name;
        conf->policy = made;
        conf->arena = &made->arena;
        conf->folder = folder;
        conf->without_secrets = without_secrets;
        conf_read(conf, yaml);
        if (report_clean(&conf->report)) {
            *policy = made;
            status = STATUS_OK;
        } else {
            report_render(&conf->report, error);
            status = conf->report.memory ? STATUS_FULL : STATUS_INVALID;
            policy_unref(made);
        }
        arena_free(&conf->nodes);
    }
    free(folder);
    free(conf);
    return status;
}

enum status
conf_load_text(
    const char *name, struct slice yaml, struct policy **policy, struct conf_error *error)
{
    return load_text(name, yaml, false, policy, error);
}

static MUST_USE enum status
load_file(const char *path, bool without_secrets, struct policy **policy, struct conf_error *error)
{
    *policy = NULL;
    struct buf text = { .limit_bytes = CONF_FILE_BYTES_MAX + 131072 };
    const char *why = "";
    enum status status = file_read(path, CONF_FILE_BYTES_MAX, &text, &why);
    if (status == STATUS_OK) {
        status = load_text(path, buf_slice(&text), without_secrets, policy, error);
    } else {
        (void)snprintf(error->text, sizeof error->text, "%.500s cannot be read: %s", path, why);
        status = STATUS_IO;
    }
    buf_free(&text);
    return status;
}

enum status
conf_load_file(const char *path, struct policy **policy, struct conf_error *error)
{
    return load_file(path, false, policy, error);
}

enum status
conf_load_file_without_secrets(const char *path, struct policy **policy, struct conf_error *error)
{
    return load_file(path, true, policy, error);
}
