/* net/tls_priv.h: TLS on a socket of a loop, whichever side we are: records, handshakes, the
 * certificates of listeners and the tickets by which clients resume. */
#pragma once

#include "net/net_priv.h"

struct ssl_st;
struct ssl_ctx_st;
struct net_tls;

#define NET_TLS_WHY_BYTES 128

/* ---- tls.c: records */

enum net_tls_step { NET_TLS_DONE, NET_TLS_WANTS_READ, NET_TLS_WANTS_WRITE, NET_TLS_FAILED };

/* Speaks through `sock`; takes over `ssl`. NULL when no memory: then `ssl` is freed. */
MUST_USE struct net_tls *net_tls_make(struct net_sock *sock, struct ssl_st *ssl);
struct ssl_st *net_tls_ssl(struct net_tls *tls);
MUST_USE enum net_tls_step net_tls_handshake(struct net_tls *tls);
/* Whether the handshake was a short one. */
bool net_tls_resumed(const struct net_tls *tls);
/* As net_sock_read and net_sock_write; a record is read at a time. */
MUST_USE ssize_t net_tls_read(struct net_tls *tls, char *out, size_t size);
MUST_USE ssize_t net_tls_write(struct net_tls *tls, const struct iovec *pieces, int piece_count);
/* Nothing of the peer waits in memory or in the socket, but what belongs to TLS itself. */
MUST_USE bool net_tls_quiet(struct net_tls *tls);
/* Bytes of the peer are in memory, of which no poll would tell. */
bool net_tls_pending(const struct net_tls *tls);
/* Keeps what is in the loop's buffer: the connection is not read on for now. */
void net_tls_keep(struct net_tls *tls);
/* Tells the peer that nothing more comes. */
void net_tls_say_end(struct net_tls *tls);
void net_tls_free(struct net_tls *tls, bool politely);
/* What OpenSSL has to say about the last failure of this thread; forgets it. */
void net_tls_why(char *out, size_t out_size);

/* ---- tls_server.c: the certificates of listeners */

struct net_certificates {
    int count;
    struct net_certificate_slot {
        struct ssl_ctx_st *context; /* NULL = plain */
        int64_t expires_ms;
    } slots[]; /* of each listen */
};

/* TLS for a client of this listener; NULL when no memory. */
MUST_USE struct net_tls *net_tls_accept(struct net_sock *sock, int listen_index);

/* ---- tickets.c: keys of session tickets, made and forgotten in time */

#define NET_TICKET_ISSUE_MS   (12 * HOUR_MS) /* so long a key makes tickets */
#define NET_TICKET_ACCEPT_MS  (24 * HOUR_MS) /* and so long it reads them */
#define NET_TICKET_NAME_BYTES 16
#define NET_TICKET_KEY_BYTES  32

struct net_ticket_key {
    unsigned char name[NET_TICKET_NAME_BYTES];
    unsigned char cipher[NET_TICKET_KEY_BYTES], mac[NET_TICKET_KEY_BYTES];
    int64_t made_mono_ms;
};

struct net_tickets;
/* One reference; NULL when no memory. Any thread. */
MUST_USE struct net_tickets *net_tickets_make(void);
struct net_tickets *net_tickets_ref(struct net_tickets *tickets);
void net_tickets_unref(struct net_tickets *tickets);
/* The key for a new ticket. */
void net_tickets_issue(
    struct net_tickets *tickets, int64_t now_mono_ms, struct net_ticket_key *key);
/* The key that made a ticket; false: it is unknown or too old. `renew`: a newer one should take its
 * place. */
MUST_USE bool net_tickets_find(struct net_tickets *tickets, int64_t now_mono_ms,
    const unsigned char name[NET_TICKET_NAME_BYTES], struct net_ticket_key *key, bool *renew);
