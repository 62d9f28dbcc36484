/* net/resolve.c: names to addresses: one question at a time a name, its answer kept for a while.
 *
 * An answer that has expired is still better than none: a call waits a moment for a newer one, then goes on
 * with what was true before; so it does where the question fails. Who cannot connect to any of a name's
 * addresses makes them expire. */
#include "net/upstream_priv.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define TTL_MS        (30 * SECOND_MS)
#define STALE_MS      (10 * MINUTE_MS) /* an answer is of use so long after it expired */
#define STALE_WAIT_MS 300              /* for a newer one */
#define AGAIN_MS      (2 * SECOND_MS) /* after a question that failed while there was an old answer */
#define NAMES_MAX     256

struct net_name {
    struct net_ask ask;
    struct net_timer patience; /* runs out where an old answer is at hand */
    uint64_t key;
    bool asking;
    int64_t answered_mono_ms, expires_mono_ms;
    struct net_addresses addresses;
    struct list waiters; /* struct net_resolve */
    char host[];
};

static bool
numeric(const char *host, union net_address *address)
{
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        return true;
    }
    return false;
}

static void
tell(struct net_name *name, const char *why)
{
    struct list waiters;
    list_init(&waiters);
    while (!list_empty(&name->waiters)) { /* who asks again within a callback is a new waiter */
        struct list *node = name->waiters.next;
        list_remove(node);
        list_push_back(&waiters, node);
    }
    const struct net_addresses found = name->addresses;
    while (!list_empty(&waiters)) {
        struct net_resolve *resolve = list_entry(waiters.next, struct net_resolve, node);
        list_remove(&resolve->node);
        resolve->on_done(resolve, found.count > 0 ? &found : NULL, why);
    }
}

static bool
has_old_answer(const struct net_name *name)
{
    return name->addresses.count > 0
           && net_loop_mono_ms(name->ask.loop) < name->answered_mono_ms + TTL_MS + STALE_MS;
}

static void
on_patience_over(struct net_timer *timer)
{
    struct net_name *name = list_entry(timer, struct net_name, patience);
    tell(name, ""); /* the question goes on */
}

static void
on_answer(struct net_ask *ask)
{
    struct net_name *name = list_entry(ask, struct net_name, ask);
    const int64_t now = net_loop_mono_ms(ask->loop);
    name->asking = false;
    net_timer_stop(&name->patience);
    if (ask->found.count > 0) {
        name->addresses = ask->found;
        name->answered_mono_ms = now;
        name->expires_mono_ms = now + TTL_MS;
    } else if (has_old_answer(name)) {
        name->expires_mono_ms = now + AGAIN_MS;
    } else { /* a failure is not kept: whoever asks next asks anew */
        name->addresses.count = 0;
        name->expires_mono_ms = 0;
    }
    tell(name, ask->why);
}

static void
forget(struct net_loop *loop, struct net_name *name)
{
    (void)map_remove(&loop->names, name->key);
    free(name);
}

/* Makes room by forgetting what has expired, or else anything that nobody asks for. */
static MUST_USE bool
make_room(struct net_loop *loop)
{
    const int64_t now = net_loop_mono_ms(loop);
    struct net_name *victim = NULL;
    uint64_t key = 0;
    void *value = NULL;
    for (size_t cursor = 0; map_next(&loop->names, &cursor, &key, &value);) {
        struct net_name *name = value;
        if (!name->asking && (!victim || name->expires_mono_ms < victim->expires_mono_ms)) {
            victim = name;
        }
    }
    if (victim && (loop->names.count >= NAMES_MAX || victim->expires_mono_ms <= now)) {
        forget(loop, victim);
    }
    return loop->names.count < NAMES_MAX;
}

static struct net_name *
name_of(struct net_loop *loop, const char *host)
{
    const struct slice text = slice_str(host);
    const uint64_t key = hash_bytes(text);
    struct net_name *name = map_get(&loop->names, key);
    if (name && strcmp(name->host, host) == 0) {
        return name;
    }
    if (name || (loop->names.count >= NAMES_MAX && !make_room(loop))) {
        return NULL; /* two names with one hash, or too many questions at once */
    }
    name = calloc(1, sizeof(*name) + text.len + 1);
    if (name && !map_put(&loop->names, key, name)) {
        free(name);
        name = NULL;
    }
    if (name) {
        name->ask.loop = loop;
        name->ask.on_answer = on_answer;
        list_init(&name->ask.node);
        net_timer_init(&name->patience, loop, on_patience_over);
        name->key = key;
        list_init(&name->waiters);
        memcpy(name->host, host, text.len + 1);
    }
    return name;
}

void
net_resolve(struct net_loop *loop, const char *host, struct net_resolve *resolve)
{
    struct net_addresses one = { .count = 1 };
    if (numeric(host, &one.list[0])) {
        resolve->on_done(resolve, &one, NULL);
        return;
    }
    struct net_name *name = name_of(loop, host);
    if (!name) {
        resolve->on_done(resolve, NULL, "too many names are being looked up");
        return;
    }
    if (!name->asking && name->expires_mono_ms > net_loop_mono_ms(loop)) {
        const struct net_addresses found = name->addresses;
        resolve->on_done(resolve, &found, NULL);
        return;
    }
    list_push_back(&name->waiters, &resolve->node);
    if (!name->asking) {
        name->asking = net_lookup(loop->net->lookups, name->host, &name->ask);
        if (!name->asking) {
            tell(name, "no memory or thread to look it up with");
            return;
        }
    }
    if (has_old_answer(name) && name->patience.due_mono_ms == 0) {
        net_timer_start(&name->patience, STALE_WAIT_MS);
    }
}

void
net_resolve_doubt(struct net_loop *loop, const char *host)
{
    struct net_name *name = map_get(&loop->names, hash_bytes(slice_str(host)));
    if (name && strcmp(name->host, host) == 0) {
        name->expires_mono_ms = 0;
    }
}

static bool
same_address(const union net_address *a, const union net_address *b)
{
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    return a->any.sa_family == AF_INET
               ? memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof(a->v4.sin_addr)) == 0
               : memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

void
net_resolve_prefer(struct net_loop *loop, const char *host, const union net_address *address)
{
    struct net_name *name = map_get(&loop->names, hash_bytes(slice_str(host)));
    if (!name || strcmp(name->host, host) != 0) {
        return; /* a number, or forgotten meanwhile */
    }
    struct net_addresses *known = &name->addresses;
    for (int i = 1; i < known->count; i++) {
        if (same_address(&known->list[i], address)) {
            const union net_address preferred = known->list[i];
            memmove(&known->list[1], &known->list[0], (size_t)i * sizeof(known->list[0]));
            known->list[0] = preferred;
            return;
        }
    }
}

void
net_resolve_close(struct net_loop *loop)
{
    uint64_t key = 0;
    void *value = NULL;
    for (size_t cursor = 0; map_next(&loop->names, &cursor, &key, &value);) {
        net_timer_stop(&((struct net_name *)value)->patience);
        free(value); /* questions that are open know it no more */
    }
    map_free(&loop->names);
}
