/* conf/listen.c: where clients connect: addresses, with TLS or without; and where commands do. What is in the files of a certificate
 * is judged where they are used. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/place.h"
#include "conf/conf_priv.h"

static void
wants_address(struct conf *conf, const struct node *node)
{
    char seen[64];
    report_add(&conf->report, node,
        "'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is %s",
        node_seen(node, seen));
}

/* False after reporting. */
static MUST_USE bool
address_read(struct conf *conf, const struct node *node, struct slice text, struct listen *listen)
{
    const struct slice unix_scheme = SLICE("unix:");
    if (!slice_starts(text, unix_scheme)) {
        if (address_parse(conf->arena, text, &listen->host, &listen->port)) {
            return true;
        }
        wants_address(conf, node);
        return false;
    }
    const struct slice path = slice_of(text.ptr + unix_scheme.len, text.len - unix_scheme.len);
    listen->unix_path = conf_path(conf, path);
    if (path.len == 0 || strlen(listen->unix_path) > UNIX_PATH_BYTES_MAX) {
        report_add(
            &conf->report, node, "the path of a socket has 1 to %d bytes", UNIX_PATH_BYTES_MAX);
        return false;
    }
    return true;
}

/* Of a family's own form; all of a machine's addresses are zeros. */
struct address {
    int family;
    unsigned char bytes[sizeof(struct in6_addr)];
};

static struct address
address_of(const struct listen *listen)
{
    struct address address = { .family = strchr(listen->host, ':') ? AF_INET6 : AF_INET };
    /* Read before; one that is not would be all of them. */
    (void)inet_pton(address.family, listen->host, address.bytes);
    return address;
}

/* Whether a machine can listen at one of them only. Port 0 is another one each time. */
static bool
listens_clash(const struct listen *one, const struct listen *other)
{
    static const unsigned char every[sizeof(struct in6_addr)];
    if (one->unix_path || other->unix_path) {
        return one->unix_path && other->unix_path && strcmp(one->unix_path, other->unix_path) == 0;
    }
    if (one->port != other->port || one->port == 0) {
        return false;
    }
    const struct address a = address_of(one);
    const struct address b = address_of(other);
    const bool same = memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
    const bool covers =
        memcmp(a.bytes, every, sizeof(every)) == 0 || memcmp(b.bytes, every, sizeof(every)) == 0;
    return a.family == b.family && (same || covers);
}

static void
listen_add(struct conf *conf, const struct node *node, const struct listen *listen)
{
    struct policy *policy = conf->policy;
    for (int i = 0; i < policy->listen_count; i++) {
        if (listens_clash(&policy->listens[i], listen)) {
            report_add(&conf->report, node,
                "'listen' has this address already, or one that covers it, in line %d; take one out",
                conf->listen_nodes[i]->line);
            return;
        }
    }
    if (policy->listen_count == LISTENS_MAX) {
        report_add(&conf->report, node, "at most %d addresses to listen at", LISTENS_MAX);
    } else {
        conf->listen_nodes[policy->listen_count] = node;
        policy->listens[policy->listen_count++] = *listen;
    }
}

static void
text_read(struct conf *conf, const struct node *node, struct slice text)
{
    struct listen listen = { 0 };
    if (address_read(conf, node, text, &listen)) {
        listen_add(conf, node, &listen);
    }
}

static void
tls_read(struct conf *conf, const struct node *map, struct listen *listen)
{
    const struct node *tls = conf_block(conf, map, OPTION_LISTEN_TLS);
    if (!tls || !conf_keys(conf, tls, "listen.*.tls")) {
        return;
    }
    const char *cert = conf_text(conf, tls, OPTION_LISTEN_CERT);
    const char *key = conf_text(conf, tls, OPTION_LISTEN_KEY);
    if (listen->unix_path) {
        report_add(&conf->report, tls->key, "a unix socket has no TLS; take 'tls' out");
    } else if (cert && key) {
        listen->cert_file = conf_path(conf, slice_str(cert));
        listen->key_file = conf_path(conf, slice_str(key));
    }
}

static void
mode_read(struct conf *conf, const struct node *map, struct listen *listen)
{
    static const uint32_t modes[] = { 0600, 0660, 0666 }; /* as the words of the option stand */
    const struct node *node = doc_get(map, option_key(OPTION_LISTEN_MODE));
    const int64_t index = conf_number(conf, map, OPTION_LISTEN_MODE, 0);
    if (node && !listen->unix_path) {
        report_add(&conf->report, node, "'mode' is of a unix socket; take it out here");
    }
    listen->unix_mode = listen->unix_path ? modes[index] : 0;
}

static void
map_read(struct conf *conf, const struct node *map)
{
    struct listen listen = { 0 };
    if (!conf_keys(conf, map, "listen.*")) {
        return;
    }
    const struct node *address = conf_find(conf, map, OPTION_LISTEN_ADDRESS);
    if (!address) {
        return;
    }
    if (address->kind != NODE_SCALAR) {
        wants_address(conf, address);
    } else if (conf_plain_text(conf, address)
               && address_read(conf, address, address->text, &listen)) {
        tls_read(conf, map, &listen);
        mode_read(conf, map, &listen);
        listen_add(conf, address, &listen);
    }
}

static void
item_read(struct conf *conf, const struct node *node)
{
    if (node->kind == NODE_MAP) {
        map_read(conf, node);
    } else if (node->kind != NODE_SCALAR || node_is_null(node)) {
        conf_wants(conf, node, OPTION_LISTEN);
    } else if (conf_plain_text(conf, node)) {
        text_read(conf, node, node->text);
    }
}

/* Beside the store; a store that is no file: the user's runtime folder, else this one. */
static int
default_path(const struct policy *policy, char *out, size_t out_size)
{
    const char *path = store_url_path(policy->store ? policy->store : "");
    if (path) {
        const char *slash = strrchr(path, '/');
        const int folder_len = slash ? (int)(slash - path + 1) : 0;
        return snprintf(out, out_size, "%.*s" CONTROL_FILE_DEFAULT, folder_len, path);
    }
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/') {
        return snprintf(out, out_size, "%s/" CONTROL_FILE_DEFAULT, runtime);
    }
    return snprintf(out, out_size, CONTROL_FILE_DEFAULT);
}

bool
control_path(const struct policy *policy, char *out, size_t out_size)
{
    const int len = policy->control ? snprintf(out, out_size, "%s", policy->control)
                                    : default_path(policy, out, out_size);
    return len > 0 && (size_t)len < out_size;
}

void
conf_control_listen(struct conf *conf)
{
    const struct policy *policy = conf->policy;
    char control[UNIX_PATH_BYTES_MAX + 1];
    if (!control_path(policy, control, sizeof control)) {
        return; /* it is told where it is used */
    }
    for (int i = 0; i < policy->listen_count; i++) {
        const char *path = policy->listens[i].unix_path;
        if (path && strcmp(path, control) == 0) {
            report_add(&conf->report, conf->listen_nodes[i],
                "this path is that of the control socket; choose another, or another with 'control'");
        }
    }
}

void
conf_listens(struct conf *conf, const struct node *root)
{
    const struct node *node = conf_find(conf, root, OPTION_LISTEN);
    if (!node) {
        text_read(conf, root, slice_str(option_row(OPTION_LISTEN)->preset));
    } else if (node->kind != NODE_LIST) {
        item_read(conf, node);
    } else if (!node->first) {
        conf_wants(conf, node, OPTION_LISTEN);
    } else {
        for (const struct node *item = node->first; item; item = item->next) {
            item_read(conf, item);
        }
    }
}
