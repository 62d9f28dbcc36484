/* net/refuse.c: the answers that net gives itself, before or instead of the app's. */
#include "net/net_priv.h"

const struct net_refusal net_too_many = { 503, "overloaded_error", "connections_max",
    "This gateway has as many open connections as it may have; try again." };
const struct net_refusal net_too_many_of_address = { 429, "rate_limit_error",
    "connections_per_address",
    "Your address has as many open connections here as it may have; close some, or try again." };

void
net_refusal_write(struct net_loop *loop, struct buf *out, const struct net_refusal *refusal)
{
    struct buf body = { 0 };
    buf_add_str(&body, "{\"error\":{\"message\":");
    buf_add_json(&body, slice_str(refusal->message));
    buf_add_str(&body, ",\"type\":");
    buf_add_json(&body, slice_str(refusal->type));
    buf_add_str(&body, ",\"code\":");
    buf_add_json(&body, slice_str(refusal->code));
    buf_add_str(&body, "}}\n");

    check(http_write_status_line(out, refusal->status, slice_of(NULL, 0)));
    buf_addf(out,
        "Date: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
        "Connection: close\r\n",
        net_loop_date(loop), body.len);
    if (refusal->status == 503 || refusal->status == 429) {
        buf_add_str(out, "Retry-After: 1\r\n");
    }
    http_write_end(out);
    buf_add_slice(out, buf_slice(&body));
    out->failed = out->failed || body.failed;
    buf_free(&body);
}

void
net_refusal_write_alert(struct buf *out)
{
    /* a record of type alert, as TLS 1.2 and 1.3 write it before there are keys: fatal, internal_error */
    static const char alert[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50 };
    buf_add(out, alert, sizeof(alert));
}
