/* net/proxy.c: the way to a provider through an HTTP proxy: a tunnel, asked for by CONNECT. What goes through
 * it is between us and the provider: the proxy sees its name, and over https nothing else.
 *
 * A proxy that refuses, hangs or goes away is a provider that cannot be reached: nothing was sent to it. */
#include "net/upstream_priv.h"

#include <stdio.h>

#include "base/secret.h"

#define ANSWER_BYTES_MAX ((size_t)16 * 1024)
#define READ_BYTES       4096

static const struct http_limits proxy_limits = {
    .head_bytes_max = ANSWER_BYTES_MAX, .target_bytes_max = 0, .headers_max = HTTP_HEADERS_MAX
};

static void
fail(struct net_call *call, enum net_fail why, const char *what)
{
    const struct net_pool *pool = call->pool;
    net_call_fail(call, why, "%s:%u: its proxy %s:%u %s", pool->host, (unsigned)pool->port,
        pool->proxy_host, (unsigned)pool->proxy_port, what);
}

void
net_proxy_ask(struct net_call *call)
{
    const struct net_pool *pool = call->pool;
    const bool v6 = strchr(pool->host, ':') != NULL;
    struct buf request = { 0 };
    struct buf place = { 0 };
    bool good = buf_reserve(&request, 8192); /* growing would leave copies of the secret behind */
    buf_addf(&place, v6 ? "[%s]:%u" : "%s:%u", pool->host, (unsigned)pool->port);
    buf_addf(&request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", buf_cstr(&place), buf_cstr(&place));
    if (pool->proxy_authorization) {
        buf_addf(&request, "Proxy-Authorization: %s\r\n", pool->proxy_authorization);
    }
    buf_add_str(&request, "\r\n");
    good = good && !request.failed && !place.failed;

    /* The first bytes of a connection: the system takes them whole. */
    struct iovec piece = { request.ptr, request.len };
    const ssize_t sent = good ? net_sock_write(&call->upstream->sock, &piece, 1) : NET_IO_LOST;
    const bool whole = sent >= 0 && (size_t)sent == request.len;
    if (request.ptr) {
        secret_wipe(request.ptr, request.cap);
    }
    buf_free(&request);
    buf_free(&place);
    if (whole) {
        net_sock_watch(&call->upstream->sock, UV_READABLE | UV_DISCONNECT);
    } else {
        fail(call, NET_FAIL_CONNECT, "did not take the question for a tunnel");
    }
}

static void
refused(struct net_call *call, int status)
{
    char what[96];
    (void)snprintf(what, sizeof(what), "refused a tunnel with status %d%s", status,
        status == 407   ? " (it wants another user name and password)"
        : status == 403 ? " (it does not let through to there)"
                        : "");
    fail(call, NET_FAIL_CONNECT, what);
}

static void
judge(struct net_call *call)
{
    struct http_head *head = &call->loop->head;
    const struct http_fault *why = NULL;
    for (;;) {
        switch (http_parse_response(buf_slice(&call->in), &proxy_limits, &call->parse,
            HTTP_METHOD_HEAD, head, &why)) { /* as for HEAD, nothing follows the head */
        case HTTP_MORE: return;
        case HTTP_BAD: fail(call, NET_FAIL_CONNECT, "answers in no HTTP"); return;
        case HTTP_DONE: break;
        }
        const int status = head->status;
        call->parse = (struct http_parse_state){ 0 };
        buf_consume(&call->in, head->head_bytes);
        if (status >= 200 && status < 300) {
            if (call->in.len > 0) {
                fail(call, NET_FAIL_CONNECT, "sent bytes of its own into the tunnel");
                return;
            }
            buf_free(&call->in);
            net_dial_through(call);
            return;
        }
        if (status >= 200) {
            refused(call, status);
            return;
        }
    }
}

void
net_proxy_ready(struct net_call *call)
{
    char bytes[READ_BYTES];
    const ssize_t got = net_sock_read(&call->upstream->sock, bytes, sizeof(bytes));
    if (got == NET_IO_AGAIN) {
        return;
    }
    if (got <= 0) {
        fail(call, NET_FAIL_CONNECT, "closed the connection instead of opening a tunnel");
        return;
    }
    buf_add(&call->in, bytes, (size_t)got);
    if (call->in.failed || call->in.len > ANSWER_BYTES_MAX) {
        fail(call, NET_FAIL_CONNECT, "answers at too great a length");
        return;
    }
    judge(call);
}
