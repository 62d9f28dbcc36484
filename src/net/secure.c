/* net/secure.c: a client's connection to a listener with TLS, until its handshake is over.
 *
 * A handshake takes its turn once its first byte is here: a connection that says nothing costs nothing. It
 * has the time of a request's head, from the moment it was accepted. */
#include "net/tls_priv.h"

#include <sys/socket.h>

#include "log/log.h"

#define TLS_HANDSHAKE_BYTE 0x16

static const struct net_refusal plain_on_tls = { 400, "invalid_request_error", "tls_required",
    "This port speaks HTTPS: write https:// in the address." };

static void
give_up(struct net_conn *conn)
{
    char why[NET_TLS_WHY_BYTES];
    net_tls_why(why, sizeof(why));
    log_line(LOG_DEBUG, "tls", "handshake with %s failed: %s", conn->peer.text, why);
    counter_add(COUNTER_HANDSHAKES_FAILED, 1);
    net_conn_close(conn);
}

static void
handshake(struct net_conn *conn)
{
    const enum net_tls_step step = net_tls_handshake(conn->tls);
    switch (step) {
    case NET_TLS_DONE:
        counter_add(
            net_tls_resumed(conn->tls) ? COUNTER_HANDSHAKES_RESUMED : COUNTER_HANDSHAKES_FULL, 1);
        conn->state = CONN_IDLE;
        net_conn_begin(conn);
        return;
    case NET_TLS_WANTS_READ:
    case NET_TLS_WANTS_WRITE:
        net_tls_keep(conn->tls);
        net_sock_watch(
            &conn->sock, step == NET_TLS_WANTS_READ ? UV_READABLE | UV_DISCONNECT : UV_WRITABLE);
        return;
    case NET_TLS_FAILED: give_up(conn); return;
    }
}

void
net_conn_handshake(struct net_handshake *turn)
{
    struct net_conn *conn = list_entry(turn, struct net_conn, handshake);
    conn->tls = net_tls_accept(&conn->sock, conn->listen_index);
    if (conn->tls) {
        handshake(conn);
    } else {
        give_up(conn);
    }
}

static bool
is_letter(unsigned char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

/* The first byte tells what the client takes this port for. */
static void
greet(struct net_conn *conn)
{
    unsigned char first = 0;
    const ssize_t got = recv(conn->sock.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 1 && first == TLS_HANDSHAKE_BYTE) {
        net_sock_watch(&conn->sock, 0); /* while it waits for its turn; its deadline goes on */
        net_handshakes_add(&conn->sock.loop->handshakes_in, &conn->handshake);
    } else if (got == 1 && is_letter(first)) {
        counter_add(COUNTER_HANDSHAKES_FAILED, 1);
        conn->state = CONN_IDLE;
        net_conn_refuse(conn, &plain_on_tls);
        net_conn_begin(conn);
    } else {
        counter_add(COUNTER_HANDSHAKES_FAILED, got == 1);
        net_conn_close(conn);
    }
}

void
net_conn_secure_ready(struct net_conn *conn, int events)
{
    (void)events; /* whatever it is, reading tells */
    if (conn->tls) {
        handshake(conn);
    } else if (list_empty(&conn->handshake.node)) {
        greet(conn);
    }
}
