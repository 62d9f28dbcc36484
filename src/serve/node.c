/* serve/node.c: this gateway and the others on its store. */
#include "serve/node.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- Its name. */

/* Bytes that a row would not take are masked, so that an odd host name starts nobody's bad day. */
static void
keep_printable(char *name)
{
    for (char *at = name; *at; at++) {
        *at = *at > 0x20 && *at < 0x7F ? *at : '?';
    }
}

void
node_name(const struct policy *policy, const struct listen *first, char out[NAME_MAX_BYTES + 1])
{
    char host[64] = "";
    char name[NAME_MAX_BYTES + 1];
    if (policy->node) {
        (void)snprintf(out, NAME_MAX_BYTES + 1, "%s", policy->node);
        return;
    }
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0]) {
        (void)snprintf(host, sizeof(host), "gateway");
    }
    if (first->unix_path) {
        (void)snprintf(name, sizeof(name), "%s@unix:%s", host, first->unix_path);
    } else {
        (void)snprintf(name, sizeof(name), strchr(first->host, ':') ? "%s@[%s]:%u" : "%s@%s:%u",
            host, first->host, (unsigned)first->port);
    }
    keep_printable(name);
    memcpy(out, name, sizeof(name));
}

/* --- The others. */

struct looking {
    int64_t own_epoch, now_ms;
    const char *config_hash;
    bool found;
    struct node_row other;
};

static bool
look_at(void *user, const struct node_row *row)
{
    struct looking *looking = user;
    const bool alive = row->lease_until_ms > looking->now_ms;
    if (row->epoch != looking->own_epoch && alive
        && strcmp(row->config_hash, looking->config_hash) != 0) {
        looking->found = true;
        looking->other = *row;
    }
    return !looking->found;
}

static enum status
look(struct store_reader *reader, struct looking *looking, struct buf *said)
{
    enum status status = store_read_clock(reader, &looking->now_ms);
    if (status == STATUS_OK) {
        status = store_read_nodes(reader, look_at, looking);
    }
    if (status != STATUS_OK) {
        buf_addf(said, "the other gateways cannot be asked for their configuration: %s",
            store_reader_error(reader));
        return status;
    }
    if (!looking->found) {
        return STATUS_OK;
    }
    buf_addf(said,
        "the gateway %s (epoch %lld) on the same store decides by another configuration; give all of them "
        "the same file, and where it is changed on one after the other, `tidegate reload --mixed` on each",
        looking->other.name[0] ? looking->other.name : "without a name",
        (long long)looking->other.epoch);
    return STATUS_CONFLICT;
}

enum status
node_others_agree(struct store *store, int64_t own_epoch, const char *config_hash, struct buf *said)
{
    struct looking looking = { .own_epoch = own_epoch, .config_hash = config_hash };
    struct store_reader *reader = NULL;
    struct store_error error;
    if (store_is_exclusive(store)) {
        return STATUS_OK;
    }
    enum status status = store_reader_open(store, &reader, &error);
    if (status != STATUS_OK) {
        buf_addf(
            said, "the other gateways cannot be asked for their configuration: %s", error.text);
        return status;
    }
    status = look(reader, &looking, said);
    store_reader_close(reader);
    return status;
}
