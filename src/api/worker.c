/* api/worker.c: what a thread of the control plane has of its own: its line to the gate, its reader of the
 * store, and the names of accounts. */
#include "api/api_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

enum status
worker_open(struct api_plane *api, uint32_t index, struct api_error *error)
{
    struct api_worker *worker = &api->workers[index];
    pthread_condattr_t monotonic;
    struct store_error store_error;
    worker->api = api;
    const enum status status = store_reader_open(api->options.store, &worker->reader, &store_error);
    if (status != STATUS_OK) {
        (void)slice_to_cstr(slice_str(store_error.text), error->text, sizeof(error->text));
        return status;
    }
    check(pthread_mutex_init(&worker->lock, NULL) == 0);
    check(pthread_condattr_init(&monotonic) == 0);
    check(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    check(pthread_cond_init(&worker->woken_cond, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
    worker->opened = true;
    replies_init(&worker->replies, api->options.engine, api->options.first_reply_loop + index);
    return STATUS_OK;
}

void
worker_close(struct api_worker *worker)
{
    if (!worker->reader) {
        return; /* it was never opened */
    }
    store_reader_close(worker->reader);
    arena_free(&worker->names.arena);
    free(worker->names.rows);
    worker->reader = NULL;
    worker->names = (struct names){ 0 };
}

/* The engine may wake it until it is closed itself. */
void
worker_free(struct api_worker *worker)
{
    if (!worker->opened) {
        return;
    }
    replies_free(&worker->replies);
    (void)pthread_cond_destroy(&worker->woken_cond);
    (void)pthread_mutex_destroy(&worker->lock);
}

void
worker_wake(struct api_worker *worker)
{
    (void)pthread_mutex_lock(&worker->lock);
    worker->woken = true;
    (void)pthread_cond_signal(&worker->woken_cond);
    (void)pthread_mutex_unlock(&worker->lock);
}

/* --- The gate. */

struct awaited {
    bool came;
    struct verdict verdict;
};

static void
on_verdict(void *user, const struct verdict *verdict)
{
    struct awaited *awaited = user;
    awaited->came = true;
    awaited->verdict = *verdict;
}

/* False at the deadline. */
static bool
sleep_until_woken(struct api_worker *worker, int64_t until_mono_ms)
{
    const struct timespec until = { .tv_sec = until_mono_ms / 1000,
        .tv_nsec = (long)(until_mono_ms % 1000) * 1000000L };
    int waited = 0;
    (void)pthread_mutex_lock(&worker->lock);
    while (!worker->woken && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&worker->woken_cond, &worker->lock, &until);
    }
    const bool woken = worker->woken;
    worker->woken = false;
    (void)pthread_mutex_unlock(&worker->lock);
    return woken;
}

bool
worker_gate(
    struct api_worker *worker, struct ask *ask, struct event *event, struct verdict *verdict)
{
    struct awaited awaited = { 0 };
    struct reply_to ticket;
    event->arrived_ms = ask->now_ms;
    if (!replies_submit(&worker->replies, event, on_verdict, &awaited, &ticket)) {
        answer_reason(ask, REASON_OVERLOADED);
        return false;
    }
    const int64_t until_mono_ms = clock_mono_ms() + API_VERDICT_WAIT_MS;
    while (!awaited.came && sleep_until_woken(worker, until_mono_ms)) {
        replies_deliver(&worker->replies);
    }
    if (!awaited.came) {
        replies_forget(&worker->replies, ticket);
        answer_fault(ask, API_FAULT_NO_VERDICT, NULL);
        return false;
    }
    *verdict = awaited.verdict;
    return true;
}

/* Settlements wait a moment for company before they are committed; an event that does not wait takes them
 * along. No key has this hash, so nothing else comes of it. */
void
worker_catch_up(struct api_worker *worker, struct ask *ask, bool refusals)
{
    struct event event = { .kind = EVENT_IDENTIFY, .identify.books = refusals };
    struct verdict verdict;
    memset(event.identify.key_hash, '0', HASH_HEX);
    if (!worker_gate(worker, ask, &event, &verdict)) {
        return; /* what is on the books already can be read all the same */
    }
}

void
worker_read_failed(struct api_worker *worker, struct ask *ask)
{
    answer_fault(ask, API_FAULT_READ_FAILED, store_reader_error(worker->reader));
}

/* --- Names of accounts. */

static bool
names_add(struct names *names, const struct account_row *row)
{
    if (names->count == names->cap) {
        const size_t cap = names->cap ? names->cap * 2 : 64;
        struct account_name *grown = realloc(names->rows, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        names->rows = grown;
        names->cap = cap;
    }
    const char *name = arena_strdup(&names->arena, slice_str(row->name));
    const char *plan = arena_strdup(&names->arena, slice_str(row->plan));
    const char *organisation = arena_strdup(&names->arena, slice_str(row->organisation));
    names->rows[names->count] = (struct account_name){ row->account_id, name, plan, organisation };
    names->count++;
    return name && plan && organisation;
}

static bool
names_row(void *user, const struct account_row *row)
{
    struct names *names = user;
    names->failed = !names_add(names, row);
    return !names->failed;
}

bool
names_ready(struct api_worker *worker, struct ask *ask)
{
    struct names *names = &worker->names;
    /* Read before the rows: what changes meanwhile is seen next time. */
    const int64_t version = engine_identity_version(worker->api->options.engine);
    if (names->filled && names->version == version) {
        return true;
    }
    names->filled = names->failed = false;
    names->version = version;
    names->count = 0;
    arena_free(&names->arena);
    names->arena = (struct arena){ 0 };
    const enum status status = store_read_accounts(worker->reader, names_row, names);
    names->filled = status == STATUS_OK && !names->failed;
    if (ask && status != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else if (ask && names->failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
    return names->filled;
}

const struct account_name *
names_by_id(const struct names *names, int64_t account_id)
{
    size_t low = 0;
    size_t high = names->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (names->rows[middle].account_id == account_id) {
            return &names->rows[middle];
        }
        if (names->rows[middle].account_id < account_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct account_name *
names_by_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->rows[i].name, name) == 0) {
            return &names->rows[i];
        }
    }
    return NULL;
}

bool
names_id_of(struct api_worker *worker, struct ask *ask, const char *name, int64_t *account_id)
{
    *account_id = 0;
    if (!name[0]) {
        return true;
    }
    if (!names_ready(worker, ask)) {
        return false;
    }
    const struct account_name *found = names_by_name(&worker->names, name);
    if (!found) { /* one that a service key has named for the first time moves no version */
        worker->names.filled = false;
        if (!names_ready(worker, ask)) {
            return false;
        }
        found = names_by_name(&worker->names, name);
    }
    if (!found) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
        return false;
    }
    *account_id = found->account_id;
    return true;
}
