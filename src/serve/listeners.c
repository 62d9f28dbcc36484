/* serve/listeners.c: listeners of the configuration as net has them, and their certificates. */
#include "serve/listeners.h"

#include <stdio.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/place.h"

#define WATCH_MS (12 * HOUR_MS)

/* Nobody else's machine reaches it. */
static bool
is_loopback(const struct listen *listen)
{
    return listen->unix_path || host_is_loopback(listen->host);
}

void
listeners_init(
    struct listeners *listeners, const struct listen *from, int count, const char *control)
{
    check(count <= LISTENS_MAX);
    *listeners = (struct listeners){ .count = count };
    for (int i = 0; i < count; i++) {
        listeners->at[i] = (struct net_listen){
            .host = from[i].host,
            .port = from[i].port,
            .unix_path = from[i].unix_path,
            .unix_mode = from[i].unix_mode,
            .cert_file = from[i].cert_file,
            .key_file = from[i].key_file,
            .while_stopping = true, /* who comes while it drains is told so */
            .tag = (is_loopback(&from[i]) ? API_TAG_LOOPBACK : 0)
                   | (from[i].cert_file ? API_TAG_TLS : 0),
        };
    }
    listeners->at[count] = (struct net_listen){
        .unix_path = control, .tag = API_TAG_CONTROL, .while_stopping = true, .reserved = true
    };
}

/* ---- the end of certificates ---- */

void
date_text(int64_t wall_ms, char out[16])
{
    const struct civil date = civil_from_ms(wall_ms);
    (void)snprintf(out, 16, "%04d-%02d-%02d", date.year % 10000, date.month, date.day);
}

static void
warn(const struct listeners *listeners)
{
    const int64_t now_ms = clock_wall_ms();
    for (int i = 0; i < listeners->count; i++) {
        const struct net_listen *at = &listeners->at[i];
        const int64_t expires_ms = net_certificate_expires_ms(listeners->net, i);
        char date[16];
        if (!at->cert_file || expires_ms > now_ms + NET_CERTIFICATE_WARN_MS) {
            continue;
        }
        date_text(expires_ms, date);
        log_line(expires_ms > now_ms ? LOG_WARN : LOG_ERROR, "certificate",
            "the certificate of %s:%u %s %s%s; renew it, then `tidegate reload`", at->host,
            (unsigned)net_port(listeners->net, i), expires_ms > now_ms ? "ends on" : "ended on",
            date, expires_ms > now_ms ? "" : ", and clients refuse it");
    }
}

static void
on_watch(struct net_timer *timer)
{
    warn(list_entry(timer, struct listeners, timer));
    net_timer_start(timer, WATCH_MS);
}

void
listeners_watch(struct listeners *listeners, struct net_loop *loop)
{
    net_timer_init(&listeners->timer, loop, on_watch);
    on_watch(&listeners->timer);
}

void
listeners_unwatch(struct listeners *listeners)
{
    net_timer_stop(&listeners->timer);
}

bool
listeners_expire(const struct listeners *listeners, char out[16])
{
    const int64_t first_ms = net_first_certificate_expires_ms(listeners->net);
    if (first_ms != 0) {
        date_text(first_ms, out);
    }
    return first_ms != 0;
}

/* ---- reload ---- */

static const struct listen *
same_place(const struct net_listen *at, const struct policy *policy)
{
    for (int32_t i = 0; i < policy->listen_count; i++) {
        const struct listen *listen = &policy->listens[i];
        if (at->host && listen->host && at->port == listen->port
            && strcmp(at->host, listen->host) == 0) {
            return listen;
        }
    }
    return NULL;
}

enum status
listeners_read(const struct listeners *listeners, const struct policy *policy,
    struct net_certificates **loaded, struct net_error *error)
{
    struct net_listen now[LISTENS_MAX + 1];
    memcpy(now, listeners->at, sizeof(now));
    for (int i = 0; i < listeners->count; i++) {
        const struct listen *listen = now[i].cert_file ? same_place(&now[i], policy) : NULL;
        now[i].cert_file = listen ? listen->cert_file : NULL;
        now[i].key_file = listen ? listen->key_file : NULL;
    }
    return net_certificates_load(listeners->net, now, listeners->count + 1, loaded, error);
}

void
listeners_use(struct listeners *listeners, struct net_certificates *loaded)
{
    net_certificates_use(listeners->net, loaded);
    warn(listeners);
}
