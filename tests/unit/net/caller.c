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
note(struct caller_run *run, char event)
{
    char *events = run->result->events;
    const size_t len = strlen(events);
    if (len + 1 < sizeof(run->result->events) && (len == 0 || events[len - 1] != event)) {
        events[len] = event;
    }
}

static void
over(struct caller_run *run)
{
    struct caller *caller = run->caller;
    net_timer_stop(&run->timer);
    run->call = NULL;
    pthread_mutex_lock(&caller->mutex);
    caller->done_count++;
    pthread_cond_signal(&caller->done_changed);
    pthread_mutex_unlock(&caller->mutex);
}

static void
cancel(struct caller_run *run)
{
    net_call_cancel(run->call);
    note(run, 'c');
    over(run);
}

static void
on_timer(struct net_timer *timer)
{
    struct caller_run *run = list_entry(timer, struct caller_run, timer);
    if (run->ask->way == CALLER_CANCEL_SOON) {
        cancel(run);
    } else {
        run->result->paused_bytes = run->result->body.len;
        net_call_resume(run->call);
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
    struct caller_run *run = user;
    note(run, 'h');
    run->result->status = head->status;
    if (run->ask->way == CALLER_CANCEL_ON_HEAD) {
        cancel(run);
    } else if (run->ask->way == CALLER_PAUSE_ON_HEAD) {
        net_call_pause(call);
        net_timer_start(&run->timer, 200);
    }
}

static void
on_body(struct net_call *call, struct slice data, void *user)
{
    struct caller_run *run = user;
    const bool first = run->result->body.len == 0;
    note(run, 'b');
    buf_add_slice(&run->result->body, data);
    if (run->ask->way == CALLER_CANCEL_ON_BODY) {
        cancel(run);
    } else if (first && run->ask->way == CALLER_PAUSE_ON_BODY) {
        net_call_pause(call);
        net_timer_start(&run->timer, 200);
    }
}

static void begin(struct net_loop *loop, struct caller_run *run);

static void
on_end(struct net_call *call, void *user)
{
    struct caller_run *run = user;
    const bool first = strchr(run->result->events, 'e') == NULL;
    note(run, 'e');
    net_call_cancel(call); /* too late, and does nothing */
    if (first && run->ask->way == CALLER_AGAIN_AT_ONCE) {
        peer_sleep_ms(100);
        begin(net_loop_at(run->caller->net, 0), run);
        return;
    }
    over(run);
}

static void
on_fail(struct net_call *call, enum net_fail why, bool all_sent, const char *detail, void *user)
{
    struct caller_run *run = user;
    note(run, 'f');
    run->result->why = why;
    run->result->all_sent = all_sent;
    (void)snprintf(run->result->detail, sizeof(run->result->detail), "%s", detail);
    over(run);
}

static const struct net_call_events events = { on_sent, on_head, on_body, on_end, on_fail };

static void
begin(struct net_loop *loop, struct caller_run *run)
{
    static const char get[] = "GET /v1/models HTTP/1.1\r\nHost: provider\r\n\r\n";
    const struct caller_ask *ask = run->ask;
    struct net_deadlines deadlines = ask->deadlines;
    if (deadlines.connect_ms == 0) {
        deadlines = (struct net_deadlines){ 2000, 2000, 2000 };
    }
    const struct slice pieces[] = { slice_str(ask->head ? ask->head : get), ask->body };
    run->call = net_call_start(loop, &ask->target, &deadlines, pieces, 2, &events, run);
    check(run->call != NULL);
    if (ask->way == CALLER_CANCEL_SOON) {
        net_timer_start(&run->timer, 100);
    }
}

static void
on_wake(struct net_loop *loop)
{
    struct caller *caller = net_user(net_loop_net(loop));
    pthread_mutex_lock(&caller->mutex);
    const struct caller_ask *asks = caller->asks;
    const int count = asks ? caller->ask_count : 0;
    caller->asks = NULL;
    pthread_mutex_unlock(&caller->mutex);
    for (int i = 0; i < count; i++) {
        caller->runs[i].ask = &asks[i];
        caller->runs[i].result = &caller->results[i];
        begin(loop, &caller->runs[i]);
    }
}

static void
on_loop_start(struct net_loop *loop)
{
    struct caller *caller = net_user(net_loop_net(loop));
    for (size_t i = 0; i < countof(caller->runs); i++) {
        caller->runs[i].caller = caller;
        net_timer_init(&caller->runs[i].timer, loop, on_timer);
    }
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

static void
call_all(
    struct caller *caller, const struct caller_ask *asks, struct caller_result *results, int count)
{
    const int64_t from_ms = clock_mono_ms();
    memset(results, 0, (size_t)count * sizeof(results[0]));
    pthread_mutex_lock(&caller->mutex);
    caller->results = results;
    caller->done_count = 0;
    caller->ask_count = count;
    caller->asks = asks;
    net_loop_wake(net_loop_at(caller->net, 0));
    while (caller->done_count < count) {
        (void)pthread_cond_wait(&caller->done_changed, &caller->mutex);
    }
    pthread_mutex_unlock(&caller->mutex);
    for (int i = 0; i < count; i++) {
        results[i].took_ms = clock_mono_ms() - from_ms;
    }
}

void
caller_call(struct caller *caller, const struct caller_ask *ask, struct caller_result *result)
{
    call_all(caller, ask, result, 1);
}

void
caller_call_both(
    struct caller *caller, const struct caller_ask asks[2], struct caller_result results[2])
{
    call_all(caller, asks, results, 2);
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
        .host = "127.0.0.1", .port = provider->port, .credential_id = "company"
    };
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
