/* net/peers.c: who is at the other end of a connection, and how many connections each address has.
 *
 * An address of IPv6 stands for its block of 2^64: that is what one customer of a network is given. The table
 * is shared by the loops and has at most as many entries as there are connections. */
#include "net/net_priv.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/place.h"

#define BLOCK_BYTES_OF_V6 8

void
net_peer_of(const struct sockaddr *address, struct net_peer *peer)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    *peer = (struct net_peer){ .text = "unix" };
    if (address->sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, peer->text, sizeof(peer->text));
        peer->block = hash_bytes(slice_of((const char *)&v4->sin_addr, sizeof(v4->sin_addr)));
    } else if (address->sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, peer->text, sizeof(peer->text));
        peer->block = hash_bytes(slice_of((const char *)&v6->sin6_addr, BLOCK_BYTES_OF_V6));
    } else {
        peer->block = hash_bytes(slice_str(peer->text));
    }
    peer->local = address->sa_family == AF_UNIX || host_is_loopback(peer->text);
}

bool
net_peer_enter(struct net *net, const struct net_peer *peer)
{
    if (net->options.connections_per_address <= 0 || peer->local) {
        return true;
    }
    uv_mutex_lock(&net->peers_mutex);
    const uintptr_t count = (uintptr_t)map_get(&net->peer_counts, peer->block);
    const bool fits = count < (uintptr_t)net->options.connections_per_address;
    const bool entered = fits && map_put(&net->peer_counts, peer->block, (void *)(count + 1));
    uv_mutex_unlock(&net->peers_mutex);
    return entered;
}

void
net_peer_leave(struct net *net, const struct net_peer *peer)
{
    if (net->options.connections_per_address <= 0 || peer->local) {
        return;
    }
    uv_mutex_lock(&net->peers_mutex);
    const uintptr_t count = (uintptr_t)map_remove(&net->peer_counts, peer->block);
    check(count > 0);
    if (count > 1) { /* the slot just left is there: it does not grow */
        check(map_put(&net->peer_counts, peer->block, (void *)(count - 1)));
    }
    uv_mutex_unlock(&net->peers_mutex);
}
