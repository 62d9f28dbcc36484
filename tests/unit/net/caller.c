/* tests/unit/net/caller.c */
#include "caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "peer.h"

/* ---- the caller ---- */

static void
note(struct caller *caller, char event)
{
    char *events = caller->result->events;
    const size_t len = strlen(events);
    if (len + 1 < sizeof(caller->result->events) && (len == 0 || events[len - 1] != event)) {
        events[len] = event;
    }
}

static void
over(struct caller *caller)
{
    net_timer_stop(&caller->timer);
    caller->call = NULL;
    pthread_mutex_lock(&caller->mutex);
    caller->done = true;
    pthread_cond_signal(&caller->done_changed);
    pthread_mutex_unlock(&caller->mutex);
}

static void
cancel(struct caller *caller)
{
    net_call_cancel(caller->call);
    note(caller, 'c');
    over(caller);
}

static void
on_timer(struct net_timer *timer)
{
    struct caller *caller = list_entry(timer, struct caller, timer);
    if (caller->running->way == CALLER_CANCEL_SOON) {
        cancel(caller);
    } else {
        caller->result->paused_bytes = caller->result->body.len;
        net_call_resume(caller->call);
    }
}

static void
on_sent(struct net_call *call, void *user)
{
    note(user, 's');
}

static void
on_head(struct net_call *call, const struct http_head *head, void *user)
{
    struct caller *caller = user;
    note(caller, 'h');
    caller->result->status = head->status;
    if (caller->running->way == CALLER_CANCEL_ON_HEAD) {
        cancel(caller);
    } else if (caller->running->way == CALLER_PAUSE_ON_HEAD) {
        net_call_pause(call);
        net_timer_start(&caller->timer, 200);
    }
}

static void
on_body(struct net_call *call, struct slice data, void *user)
{
    struct caller *caller = user;
    const bool first = caller->result->body.len == 0;
    note(caller, 'b');
    buf_add_slice(&caller->result->body, data);
    if (caller->running->way == CALLER_CANCEL_ON_BODY) {
        cancel(caller);
    } else if (first && caller->running->way == CALLER_PAUSE_ON_BODY) {
        net_call_pause(call);
        net_timer_start(&caller->timer, 200);
    }
}

static void
on_end(struct net_call *call, void *user)
{
    note(user, 'e');
    net_call_cancel(call); /* too late, and does nothing */
    over(user);
}

static void
on_fail(struct net_call *call, enum net_fail why, bool all_sent, const char *detail, void *user)
{
    struct caller *caller = user;
    note(caller, 'f');
    caller->result->why = why;
    caller->result->all_sent = all_sent;
    (void)snprintf(caller->result->detail, sizeof(caller->result->detail), "%s", detail);
    over(caller);
}

static const struct net_call_events events = { on_sent, on_head, on_body, on_end, on_fail };

static void
on_wake(struct net_loop *loop)
{
    struct caller *caller = net_user(net_loop_net(loop));
    static const char get[] = "GET /v1/models HTTP/1.1\r\nHost: provider\r\n\r\n";
    pthread_mutex_lock(&caller->mutex);
    const struct caller_ask *ask = caller->ask;
    caller->ask = NULL;
    pthread_mutex_unlock(&caller->mutex);
    if (!ask) {
        return;
    }
    struct net_deadlines deadlines = ask->deadlines;
    if (deadlines.connect_ms == 0) {
        deadlines = (struct net_deadlines){ 2000, 2000, 2000 };
    }
    const struct slice pieces[] = { slice_str(ask->head ? ask->head : get), ask->body };
    caller->running = ask;
    caller->call = net_call_start(loop, &ask->target, &deadlines, pieces, 2, &events, caller);
    check(caller->call != NULL);
    if (ask->way == CALLER_CANCEL_SOON) {
        net_timer_start(&caller->timer, 100);
    }
}

static void
on_loop_start(struct net_loop *loop)
{
    struct caller *caller = net_user(net_loop_net(loop));
    net_timer_init(&caller->timer, loop, on_timer);
}

static const struct net_app app = { .on_loop_start = on_loop_start, .on_wake = on_wake };

static void *
run(void *arg)
{
    struct caller *caller = arg;
    check(net_run(caller->net) == STATUS_OK);
    return NULL;
}

void
caller_start(struct caller *caller)
{
    const struct net_options options = { .loop_count = 1 };
    struct net_error error;
    memset(caller, 0, sizeof(*caller));
    check(pthread_mutex_init(&caller->mutex, NULL) == 0);
    check(pthread_cond_init(&caller->done_changed, NULL) == 0);
    check(net_open(&options, &app, caller, &caller->net, &error) == STATUS_OK);
    check(pthread_create(&caller->thread, NULL, run, caller) == 0);
}

void
caller_stop(struct caller *caller)
{
    net_stop(caller->net, 0);
    check(pthread_join(caller->thread, NULL) == 0);
    net_free(caller->net);
    (void)pthread_mutex_destroy(&caller->mutex);
    (void)pthread_cond_destroy(&caller->done_changed);
}

void
caller_call(struct caller *caller, const struct caller_ask *ask, struct caller_result *result)
{
    const int64_t from_ms = clock_mono_ms();
    memset(result, 0, sizeof(*result));
    pthread_mutex_lock(&caller->mutex);
    caller->result = result;
    caller->done = false;
    caller->ask = ask;
    net_loop_wake(net_loop_at(caller->net, 0));
    while (!caller->done) {
        (void)pthread_cond_wait(&caller->done_changed, &caller->mutex);
    }
    pthread_mutex_unlock(&caller->mutex);
    result->took_ms = clock_mono_ms() - from_ms;
}

void
caller_free(struct caller_result *result)
{
    buf_free(&result->body);
}

/* ---- the provider ---- */

static void *
provider_run(void *arg)
{
    struct provider *provider = arg;
    for (;;) {
        const int fd = accept(provider->fd, NULL, NULL);
        if (fd < 0) {
            return NULL; /* provider_stop */
        }
        const struct timeval timeout = { .tv_sec = 3 };
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        atomic_store(&provider->serving, fd);
        provider->serve(provider, fd, atomic_fetch_add(&provider->accepted, 1));
        atomic_store(&provider->serving, -1);
        atomic_fetch_add(&provider->ended, 1);
    }
}

void
provider_start(struct provider *provider, void (*serve)(struct provider *, int fd, int index))
{
    void *user = provider->user;
    memset(provider, 0, sizeof(*provider));
    provider->user = user;
    provider->serve = serve;
    atomic_store(&provider->serving, -1);
    provider->fd = peer_listen(&provider->port);
    check(pthread_create(&provider->thread, NULL, provider_run, provider) == 0);
}

void
provider_stop(struct provider *provider)
{
    (void)shutdown(provider->fd, SHUT_RDWR);
    (void)shutdown(atomic_load(&provider->serving), SHUT_RD); /* one that waits for a request */
    check(pthread_join(provider->thread, NULL) == 0);
    (void)close(provider->fd);
}

struct net_target
provider_target(const struct provider *provider)
{
    return (struct net_target){
        .host = "127.0.0.1", .port = provider->port, .credential_id = "company" };
}

bool
provider_read_request(int fd)
{
    char head[4096];
    char bytes[4096];
    long left = 0;
    if (!peer_read_until(fd, "\r\n\r\n", head, sizeof(head))) {
        return false;
    }
    const char *length = strstr(head, "Content-Length: ");
    if (length) {
        left = strtol(length + 16, NULL, 10);
    }
    while (left > 0) {
        const ssize_t got = recv(fd, bytes, left < 4096 ? (size_t)left : 4096, 0);
        if (got <= 0) {
            return false;
        }
        left -= got;
    }
    return true;
}
