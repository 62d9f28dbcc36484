/* net/lookups.c: asks the system for addresses, on threads of its own.
 *
 * A resolver may take half a minute to say no. Each name has at most one thread, whichever loops ask for it,
 * so that a slow one keeps no other waiting, nor what libuv's own few threads do. Threads come when they are
 * wanted and go when they are not; one that still waits for the system when net is freed is left to itself. */
#include "net/upstream_priv.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/thread.h"

#define THREADS_MAX        16
#define THREAD_STACK_BYTES ((size_t)512 * 1024)
#define IDLE_NS            (UINT64_C(30) * 1000 * 1000 * 1000)

struct lookup {
    struct list node; /* queue, or running */
    struct list asks; /* struct net_ask */
    char host[];
};

struct net_lookups {
    uv_mutex_t mutex;
    uv_cond_t wanted;
    int refs; /* net and each thread */
    int thread_count, idle_count;
    int queue_count; /* idle threads are woken, but not awake yet */
    bool closing;
    struct list queue, running; /* struct lookup */
};

struct net_lookups *
net_lookups_open(void)
{
    struct net_lookups *lookups = calloc(1, sizeof(*lookups));
    if (!lookups) {
        return NULL;
    }
    check(uv_mutex_init(&lookups->mutex) == 0);
    check(uv_cond_init(&lookups->wanted) == 0);
    lookups->refs = 1;
    list_init(&lookups->queue);
    list_init(&lookups->running);
    return lookups;
}

/* With the mutex held, which it gives back. */
static void
leave(struct net_lookups *lookups)
{
    const bool last = --lookups->refs == 0;
    uv_mutex_unlock(&lookups->mutex);
    if (last) {
        uv_cond_destroy(&lookups->wanted);
        uv_mutex_destroy(&lookups->mutex);
        free(lookups);
    }
}

static void
drop_asks(struct list *lookup_list)
{
    for (struct list *node = lookup_list->next; node != lookup_list; node = node->next) {
        struct lookup *lookup = list_entry(node, struct lookup, node);
        while (!list_empty(&lookup->asks)) {
            list_remove(lookup->asks.next);
        }
    }
}

void
net_lookups_close(struct net_lookups *lookups)
{
    if (!lookups) {
        return;
    }
    uv_mutex_lock(&lookups->mutex);
    lookups->closing = true;
    drop_asks(&lookups->running);
    drop_asks(&lookups->queue);
    while (!list_empty(&lookups->queue)) {
        free(list_entry(list_pop_front(&lookups->queue), struct lookup, node));
    }
    uv_cond_broadcast(&lookups->wanted);
    leave(lookups);
}

/* ---- a thread ---- */

static void
take_answer(struct net_addresses *out, const struct addrinfo *answer)
{
    out->count = 0;
    for (; answer && out->count < NET_ADDRESSES_MAX; answer = answer->ai_next) {
        union net_address *address = &out->list[out->count];
        if ((answer->ai_family == AF_INET || answer->ai_family == AF_INET6)
            && answer->ai_addrlen <= sizeof(*address)) {
            memset(address, 0, sizeof(*address));
            memcpy(address, answer->ai_addr, answer->ai_addrlen);
            out->count++;
        }
    }
}

/* Gives the answer to all who asked meanwhile; with the mutex held. */
static void
tell(struct lookup *lookup, const struct net_addresses *found, const char *why)
{
    while (!list_empty(&lookup->asks)) {
        struct net_ask *ask = list_entry(lookup->asks.next, struct net_ask, node);
        list_remove(&ask->node);
        ask->found = *found;
        (void)slice_to_cstr(slice_str(why), ask->why, sizeof(ask->why));
        list_push_back(&ask->loop->lookups_done, &ask->node);
        atomic_store(&ask->loop->lookups_told, true);
        net_loop_wake(ask->loop);
    }
}

/* With the mutex held, but not while the system is asked. */
static void
look_up(struct net_lookups *lookups, struct lookup *lookup)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG
    };
    struct net_addresses found = { 0 };
    struct addrinfo *answer = NULL;
    list_remove(&lookup->node);
    lookups->queue_count--;
    list_push_back(&lookups->running, &lookup->node);
    uv_mutex_unlock(&lookups->mutex);
    const int status = getaddrinfo(lookup->host, NULL, &hints, &answer);
    if (status == 0) {
        take_answer(&found, answer);
        freeaddrinfo(answer);
    }
    uv_mutex_lock(&lookups->mutex);
    tell(lookup, &found, status == 0 ? "the name has no address" : gai_strerror(status));
    list_remove(&lookup->node);
    free(lookup);
}

static void *
run_thread(void *arg)
{
    struct net_lookups *lookups = arg;
    bool over = false;
    thread_begin("lookup");
    uv_mutex_lock(&lookups->mutex);
    while (!over && !lookups->closing) {
        if (!list_empty(&lookups->queue)) {
            look_up(lookups, list_entry(lookups->queue.next, struct lookup, node));
            continue;
        }
        lookups->idle_count++;
        over = uv_cond_timedwait(&lookups->wanted, &lookups->mutex, IDLE_NS) == UV_ETIMEDOUT
               && list_empty(&lookups->queue);
        lookups->idle_count--;
    }
    lookups->thread_count--;
    leave(lookups);
    return NULL;
}

/* Signals are for the loops. With the mutex held. */
static MUST_USE bool
start_thread(struct net_lookups *lookups)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    check(pthread_attr_init(&attributes) == 0);
    check(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    check(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0);
    check(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    const bool started = pthread_create(&thread, &attributes, run_thread, lookups) == 0;
    check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    check(pthread_attr_destroy(&attributes) == 0);
    lookups->thread_count += started;
    lookups->refs += started;
    return started;
}

/* ---- asking ---- */

static struct lookup *
find(struct list *lookup_list, const char *host)
{
    for (struct list *node = lookup_list->next; node != lookup_list; node = node->next) {
        struct lookup *lookup = list_entry(node, struct lookup, node);
        if (strcmp(lookup->host, host) == 0) {
            return lookup;
        }
    }
    return NULL;
}

bool
net_lookup(struct net_lookups *lookups, const char *host, struct net_ask *ask)
{
    bool good = true;
    uv_mutex_lock(&lookups->mutex);
    struct lookup *lookup = find(&lookups->running, host);
    lookup = lookup ? lookup : find(&lookups->queue, host);
    if (!lookup) {
        const size_t host_bytes = strlen(host) + 1;
        lookup = calloc(1, sizeof(*lookup) + host_bytes);
        good =
            lookup != NULL
            && (lookups->idle_count > lookups->queue_count || lookups->thread_count >= THREADS_MAX
                || start_thread(lookups) || lookups->thread_count > 0);
        if (good) {
            memcpy(lookup->host, host, host_bytes);
            list_init(&lookup->asks);
            list_init(&lookup->node);
            list_push_back(&lookups->queue, &lookup->node);
            lookups->queue_count++;
            uv_cond_signal(&lookups->wanted);
        } else {
            free(lookup);
        }
    }
    if (good) {
        list_push_back(&lookup->asks, &ask->node);
    }
    uv_mutex_unlock(&lookups->mutex);
    return good;
}

void
net_lookups_deliver(struct net_loop *loop)
{
    struct net_lookups *lookups = loop->net->lookups;
    if (!atomic_exchange(&loop->lookups_told, false)) {
        return; /* most wake-ups are somebody else's */
    }
    for (;;) {
        struct net_ask *ask = NULL;
        uv_mutex_lock(&lookups->mutex);
        if (!list_empty(&loop->lookups_done)) {
            ask = list_entry(loop->lookups_done.next, struct net_ask, node);
            list_remove(&ask->node);
        }
        uv_mutex_unlock(&lookups->mutex);
        if (!ask) {
            return;
        }
        ask->on_answer(ask);
    }
}
