/* jobs/webhooks.c: messages out of the store to where they are wanted, signed. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/thread.h"
#include "fetch/fetch.h"
#include "jobs/jobs.h"
#include "log/log.h"
#include "log/metrics.h"

#define SENDS_MAX      32 /* at once, of all webhooks */
#define SENDS_EACH     4  /* of one */
#define READ_ROWS      16 /* of one webhook: those that are due first */
#define DEADLINE_MS    (15 * SECOND_MS)
#define WRITTEN_BY_MS  (5 * SECOND_MS)  /* then the engine is told again what became of a message */
#define LOOK_OWN_MS    MINUTE_MS        /* without a wake */
#define LOOK_SHARED_MS (2 * SECOND_MS)  /* others write messages too */
#define SWEEP_MS       (10 * SECOND_MS) /* while something waits */
#define WAITING_MAX    10000            /* what is due last is dropped */
#define BODY_BYTES_MAX ((size_t)64 << 10)

enum send_state { SEND_FREE, SEND_UNDER_WAY, SEND_REPORTED };
struct send {
    struct jobs *jobs;
    enum send_state state;
    bool seen; /* in the last reading of its webhook */
    int64_t reported_mono_ms;
    struct event event; /* what the engine is told, or was */
};

struct jobs {
    struct engine *engine;
    struct store_reader *reader;
    struct fetcher *fetcher;
    pthread_t thread;
    atomic_bool stopping, woken;
    struct send sends[SENDS_MAX];
    int64_t look_mono_ms, sweep_mono_ms; /* next; nothing to sweep: 0 */
    int64_t swept_version;               /* of the configuration */
    bool read_failed;
    bool freed; /* a send, in this look: a message that found none may take it */

    /* Of the reading that is going on: */
    struct policy *policy;
    const struct webhook *webhook;
    int64_t now_ms, mono_ms;
};

/* --- One message on its way. */

static void
report(struct send *send)
{
    struct jobs *jobs = send->jobs;
    send->state = SEND_REPORTED;
    send->reported_mono_ms = clock_mono_ms();
    jobs->look_mono_ms = min_i64(jobs->look_mono_ms, send->reported_mono_ms + WRITTEN_BY_MS);
    if (!engine_submit(jobs->engine, &send->event)) {
        send->reported_mono_ms -= WRITTEN_BY_MS; /* no memory: with the next look */
    }
}

static void
on_answer(void *user, const struct fetch_answer *answer)
{
    struct send *send = user;
    struct delivery_event *delivery = &send->event.delivery;
    const bool taken = answer->status >= 200 && answer->status < 300;
    delivery->outcome = taken ? DELIVERY_DONE : DELIVERY_FAILED;
    if (answer->status >= 300 && answer->status < 400) {
        (void)snprintf(delivery->error, sizeof delivery->error,
            "it answered %d: redirects are not followed", answer->status);
    } else if (answer->status && !taken) {
        (void)snprintf(delivery->error, sizeof delivery->error, "it answered %d", answer->status);
    } else if (!taken) {
        (void)slice_to_cstr(slice_str(answer->error), delivery->error, sizeof delivery->error);
    }
    if (!taken) {
        log_line(delivery->attempts == 0 ? LOG_WARN : LOG_DEBUG, "webhooks",
            "dlv_%lld to %s failed: %s", (long long)delivery->id, delivery->hook, delivery->error);
    }
    report(send);
}

/* t=SECONDS,v1=HEX[,v1=HEX]: one for each secret, so that a receiver may change over from one to the other. */
static void
sign(const struct webhook *webhook, int64_t now_ms, struct slice body, struct buf *out)
{
    char seconds[I64_TEXT_BYTES];
    char hex[SECRET_HASH_HEX + 1];
    const size_t len = i64_text(now_ms / SECOND_MS, seconds);
    buf_add_str(out, "x-tidegate-signature: t=");
    buf_add(out, seconds, len);
    for (int32_t i = 0; i < webhook->secret_count; i++) {
        const struct slice parts[] = { slice_of(seconds, len), SLICE("."), body };
        secret_hmac_hex(slice_str(webhook->secrets[i]), parts, countof(parts), hex);
        buf_add_str(out, ",v1=");
        buf_add_str(out, hex);
    }
}

static bool
set_out(struct send *send, const struct webhook *webhook, const struct outbox_row *row)
{
    struct buf signature = { 0 };
    char event[64];
    char delivery[64];
    const char *const headers[] = { "Content-Type: application/json", event, delivery, NULL, NULL };
    const char *with_signature[countof(headers)];
    sign(webhook, send->jobs->now_ms, row->body, &signature);
    (void)snprintf(event, sizeof event, "x-tidegate-event: %s", topic_word(row->topic));
    (void)snprintf(delivery, sizeof delivery, "x-tidegate-delivery: dlv_%lld", (long long)row->id);
    memcpy(with_signature, headers, sizeof headers);
    with_signature[3] = buf_cstr(&signature);
    const struct fetch_request request = { .url = webhook->url,
        .host = webhook->host,
        .tls = webhook->tls,
        .allow_private = webhook->allow_private,
        .ca_file = webhook->ca_file,
        .proxy = { webhook->proxy ? webhook->proxy->host : NULL,
            webhook->proxy ? webhook->proxy->port : 0,
            webhook->proxy ? webhook->proxy->authorization : NULL },
        .headers = with_signature,
        .body = row->body,
        .deadline_ms = DEADLINE_MS };
    const bool good =
        !signature.failed && fetch_post(send->jobs->fetcher, &request, on_answer, send);
    buf_free(&signature);
    return good;
}

/* --- Which ones. */

static struct send *
send_of(struct jobs *jobs, int64_t id)
{
    for (int i = 0; i < SENDS_MAX; i++) {
        if (jobs->sends[i].state != SEND_FREE && jobs->sends[i].event.delivery.id == id) {
            return &jobs->sends[i];
        }
    }
    return NULL;
}

/* A free one, unless this webhook has its share under way. */
static struct send *
free_send(struct jobs *jobs, const char *hook)
{
    struct send *found = NULL;
    int under_way = 0;
    for (int i = 0; i < SENDS_MAX; i++) {
        struct send *send = &jobs->sends[i];
        if (send->state == SEND_FREE) {
            found = send;
        } else {
            under_way += strcmp(send->event.delivery.hook, hook) == 0;
        }
    }
    return under_way < SENDS_EACH ? found : NULL;
}

static void
fill_event(struct event *event, const struct outbox_row *row)
{
    *event = (struct event){ .kind = EVENT_DELIVERY, .reply.loop = ENGINE_NO_REPLY };
    event->delivery.id = row->id;
    event->delivery.at_ms = row->at_ms;
    event->delivery.attempts = row->attempts;
    memcpy(event->delivery.hook, row->hook, sizeof event->delivery.hook);
}

static void
free_again(struct send *send)
{
    send->state = SEND_FREE;
    send->jobs->freed = true;
}

/* What was reported and is not written yet is as it was when it was read. */
static bool
is_known(struct jobs *jobs, const struct outbox_row *row)
{
    struct send *send = send_of(jobs, row->id);
    if (!send) {
        return false;
    }
    send->seen = true;
    if (send->state == SEND_REPORTED && send->event.delivery.attempts != row->attempts) {
        free_again(send); /* written: it is to be tried again */
        return false;
    }
    if (send->state == SEND_REPORTED && jobs->mono_ms >= send->reported_mono_ms + WRITTEN_BY_MS) {
        report(send);
    } else if (send->state == SEND_REPORTED) {
        jobs->look_mono_ms = min_i64(jobs->look_mono_ms, send->reported_mono_ms + WRITTEN_BY_MS);
    }
    return true;
}

static bool
on_row(void *user, const struct outbox_row *row)
{
    struct jobs *jobs = user;
    if (is_known(jobs, row)) {
        return true;
    }
    if (row->next_ms > jobs->now_ms) {
        const int64_t wait_ms = row->next_ms - jobs->now_ms;
        jobs->look_mono_ms = min_i64(jobs->look_mono_ms, jobs->mono_ms + wait_ms);
        return false; /* those behind it are due later */
    }
    struct send *send = free_send(jobs, row->hook);
    if (!send) {
        return true;
    }
    fill_event(&send->event, row);
    send->jobs = jobs;
    if (set_out(send, jobs->webhook, row)) {
        send->state = SEND_UNDER_WAY;
        send->seen = true;
    }
    return true;
}

static void
read_failed(struct jobs *jobs)
{
    if (!jobs->read_failed) {
        log_line(LOG_WARN, "webhooks", "messages that wait cannot be read: %s",
            store_reader_error(jobs->reader));
    }
    jobs->read_failed = true;
    jobs->look_mono_ms = min_i64(jobs->look_mono_ms, jobs->mono_ms + WRITTEN_BY_MS);
}

/* Those of this webhook whose message is not among the first any more: it is gone. */
static void
free_unseen(struct jobs *jobs, const char *hook)
{
    for (int i = 0; i < SENDS_MAX; i++) {
        struct send *send = &jobs->sends[i];
        if (send->state == SEND_REPORTED && !send->seen
            && strcmp(send->event.delivery.hook, hook) == 0) {
            free_again(send);
        }
    }
}

static void
look_at(struct jobs *jobs, const struct webhook *webhook)
{
    jobs->webhook = webhook;
    for (int i = 0; i < SENDS_MAX; i++) {
        jobs->sends[i].seen = false;
    }
    if (store_read_outbox(jobs->reader, webhook->name, READ_ROWS, on_row, jobs) == STATUS_OK) {
        jobs->read_failed = false;
        free_unseen(jobs, webhook->name);
    } else {
        read_failed(jobs);
    }
}

/* --- What nobody will take: of webhooks that are configured no more, and beyond the bound. */

struct sweep {
    struct jobs *jobs;
    int64_t waiting, dropped;
    int64_t oldest_ids[SENDS_MAX];
};

static bool
has_webhook(const struct policy *policy, const char *name)
{
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        if (strcmp(policy->webhooks[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void
drop(struct sweep *sweep, const struct outbox_row *row)
{
    struct event event;
    fill_event(&event, row);
    event.delivery.outcome = DELIVERY_DROPPED;
    if (engine_submit(sweep->jobs->engine, &event)) {
        sweep->dropped++;
    }
}

static bool
sweep_row(void *user, const struct outbox_row *row)
{
    struct sweep *sweep = user;
    const bool wanted = has_webhook(sweep->jobs->policy, row->hook);
    sweep->waiting++;
    if ((!wanted || sweep->waiting > WAITING_MAX) && sweep->dropped < SENDS_MAX
        && !send_of(sweep->jobs, row->id)) {
        drop(sweep, row);
    }
    return true;
}

static void
sweep(struct jobs *jobs)
{
    struct sweep sweep = { .jobs = jobs };
    if (store_read_outbox(jobs->reader, "", 2 * WAITING_MAX, sweep_row, &sweep) != STATUS_OK) {
        read_failed(jobs);
    }
    if (sweep.dropped > 0) {
        log_line(LOG_WARN, "webhooks",
            "%lld messages are given up: their webhook is configured no more, or more than %d wait",
            (long long)sweep.dropped, WAITING_MAX);
    }
    counter_set(COUNTER_WEBHOOKS_WAITING, sweep.waiting);
    jobs->swept_version = jobs->policy->version;
    jobs->sweep_mono_ms = sweep.waiting == 0 ? 0 : jobs->mono_ms + SWEEP_MS;
    if (sweep.dropped == SENDS_MAX) {
        jobs->sweep_mono_ms = jobs->mono_ms; /* there may be more */
    }
}

/* --- The thread. */

static void
look(struct jobs *jobs)
{
    jobs->mono_ms = clock_mono_ms();
    jobs->look_mono_ms =
        jobs->mono_ms + (engine_is_shared(jobs->engine) ? LOOK_SHARED_MS : LOOK_OWN_MS);
    if (!engine_delivers(jobs->engine)) {
        return;
    }
    jobs->policy = engine_policy(jobs->engine);
    if (store_read_clock(jobs->reader, &jobs->now_ms) != STATUS_OK) {
        read_failed(jobs);
    } else {
        jobs->freed = false;
        for (int32_t i = 0; i < jobs->policy->webhook_count; i++) {
            look_at(jobs, &jobs->policy->webhooks[i]);
        }
        if (jobs->freed) { /* messages that were passed by are due now, and nobody wakes us for them */
            jobs->look_mono_ms = jobs->mono_ms;
        }
        if (jobs->mono_ms >= jobs->sweep_mono_ms || jobs->policy->version != jobs->swept_version) {
            sweep(jobs);
        }
    }
    engine_policy_unref(jobs->engine, jobs->policy);
    jobs->policy = NULL;
}

static void *
jobs_thread(void *arg)
{
    struct jobs *jobs = arg;
    thread_begin("webhooks");
    while (!atomic_load(&jobs->stopping)) {
        if (atomic_exchange(&jobs->woken, false) || clock_mono_ms() >= jobs->look_mono_ms) {
            look(jobs);
        }
        const int64_t wait_ms = jobs->look_mono_ms - clock_mono_ms();
        fetch_turn(jobs->fetcher, max_i64(0, wait_ms));
    }
    return NULL;
}

/* From the engine's thread: messages were written, or what became of them. */
static void
on_outbox(void *user)
{
    struct jobs *jobs = user;
    atomic_store(&jobs->woken, true);
    fetch_wake(jobs->fetcher);
}

enum status
jobs_open(struct engine *engine, struct store *store, struct jobs **out, struct jobs_error *error)
{
    struct store_error store_error;
    struct jobs *jobs = calloc(1, sizeof *jobs);
    *out = NULL;
    if (!jobs || fetch_open(&jobs->fetcher) != STATUS_OK) {
        free(jobs);
        slice_to_cstr(SLICE("no memory for webhooks"), error->text, sizeof error->text);
        return STATUS_FULL;
    }
    jobs->engine = engine;
    const enum status status = store_reader_open(store, &jobs->reader, &store_error);
    if (status != STATUS_OK) {
        slice_to_cstr(slice_str(store_error.text), error->text, sizeof error->text);
    } else if (pthread_create(&jobs->thread, NULL, jobs_thread, jobs) == 0) {
        engine_on_outbox(engine, on_outbox, jobs);
        *out = jobs;
        return STATUS_OK;
    } else {
        slice_to_cstr(
            SLICE("cannot start the thread of webhooks"), error->text, sizeof error->text);
    }
    store_reader_close(jobs->reader);
    fetch_close(jobs->fetcher);
    free(jobs);
    return status == STATUS_OK ? STATUS_FULL : status;
}

void
jobs_close(struct jobs *jobs)
{
    if (!jobs) {
        return;
    }
    engine_on_outbox(jobs->engine, NULL, NULL);
    atomic_store(&jobs->stopping, true);
    fetch_wake(jobs->fetcher);
    (void)pthread_join(jobs->thread, NULL);
    fetch_close(jobs->fetcher);
    store_reader_close(jobs->reader);
    free(jobs);
}
