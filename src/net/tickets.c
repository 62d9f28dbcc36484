/* net/tickets.c: keys of session tickets. Whoever has such a key can read what was recorded under it,
 * so that one makes tickets for half a day, reads them for a whole one, and is wiped. */
#include <stdlib.h>

#include "base/secret.h"
#include "net/tls_priv.h"

struct net_tickets {
    atomic_int refs;
    uv_mutex_t mutex;
    int key_count;
    struct net_ticket_key keys[2]; /* the newest first */
};

struct net_tickets *
net_tickets_make(void)
{
    struct net_tickets *tickets = calloc(1, sizeof(*tickets));
    if (tickets && uv_mutex_init(&tickets->mutex) != 0) {
        free(tickets);
        return NULL;
    }
    if (tickets) {
        atomic_store(&tickets->refs, 1);
    }
    return tickets;
}

struct net_tickets *
net_tickets_ref(struct net_tickets *tickets)
{
    (void)atomic_fetch_add(&tickets->refs, 1);
    return tickets;
}

void
net_tickets_unref(struct net_tickets *tickets)
{
    if (tickets && atomic_fetch_sub(&tickets->refs, 1) == 1) {
        uv_mutex_destroy(&tickets->mutex);
        secret_wipe(tickets, sizeof(*tickets));
        free(tickets);
    }
}

static void
forget_old(struct net_tickets *tickets, int64_t now_mono_ms)
{
    while (tickets->key_count > 0) {
        struct net_ticket_key *oldest = &tickets->keys[tickets->key_count - 1];
        if (now_mono_ms - oldest->made_mono_ms < NET_TICKET_ACCEPT_MS) {
            return;
        }
        secret_wipe(oldest, sizeof(*oldest));
        tickets->key_count--;
    }
}

void
net_tickets_issue(struct net_tickets *tickets, int64_t now_mono_ms, struct net_ticket_key *key)
{
    struct net_ticket_key *newest = &tickets->keys[0];
    uv_mutex_lock(&tickets->mutex);
    forget_old(tickets, now_mono_ms);
    if (tickets->key_count == 0 || now_mono_ms - newest->made_mono_ms >= NET_TICKET_ISSUE_MS) {
        tickets->keys[1] = *newest;
        tickets->key_count = (int)min_i64(tickets->key_count + 1, countof(tickets->keys));
        secret_random(newest, sizeof(*newest));
        newest->made_mono_ms = now_mono_ms;
    }
    *key = *newest;
    uv_mutex_unlock(&tickets->mutex);
}

bool
net_tickets_find(struct net_tickets *tickets, int64_t now_mono_ms,
    const unsigned char name[NET_TICKET_NAME_BYTES], struct net_ticket_key *key, bool *renew)
{
    bool found = false;
    uv_mutex_lock(&tickets->mutex);
    forget_old(tickets, now_mono_ms);
    for (int i = 0; i < tickets->key_count && !found; i++) {
        found = memcmp(tickets->keys[i].name, name, NET_TICKET_NAME_BYTES) == 0;
        if (found) {
            *key = tickets->keys[i];
            *renew = i > 0 || now_mono_ms - key->made_mono_ms >= NET_TICKET_ISSUE_MS;
        }
    }
    uv_mutex_unlock(&tickets->mutex);
    return found;
}
