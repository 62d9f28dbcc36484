/* store/postgres_listen.c: what other gateways tell of their waiting lines: NOTIFY, which the server passes
 * on when the transaction that tells is committed, heard by a connection and a thread of its own. */
#include "store/postgres_priv.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"
#include "log/log.h"

#define TELLS_MAX       32 /* of one transaction; more are one that says: look everywhere */
#define PAUSE_MS        1000
#define WAIT_CONNECT_MS 5000

/* --- Telling: limit, subject, and who tells, who need not hear it. */

void
postgres_tell(struct store *store, int64_t limit_id, int64_t subject_id)
{
    struct postgres_store *postgres = postgres_store_of(store);
    char text[80];
    if (++postgres->told_count > TELLS_MAX) {
        limit_id = 0;
        subject_id = 0;
    }
    if (postgres->told_count > TELLS_MAX + 1) {
        return;
    }
    (void)snprintf(text, sizeof(text), "%lld:%lld:%lld", (long long)limit_id, (long long)subject_id,
        (long long)postgres->epoch);
    struct put put = { .statement = STATEMENT_PG_TELL, .none = STATUS_OK, .table = "told" };
    param_text(&put.params, text);
    queue_add(&postgres->queue, &put,
        (struct write_order){ .rank = WRITE_TELL, .ids = { postgres->told_count }, .text = "" });
}

/* --- Hearing. */

struct listener {
    struct postgres_db db;
    char error_text[512];
    struct store_costs costs;
    store_told *told;
    void *user;
    int64_t epoch;
    int stop_fds[2];
    pthread_t thread;
    bool lost; /* what was told meanwhile was missed */
};

/* False: it is none of ours, and nothing can be concluded from it. */
static bool
read_told(const char *text, int64_t *limit_id, int64_t *subject_id, int64_t *epoch)
{
    struct slice rest = slice_str(text);
    struct slice parts[3];
    for (size_t i = 0; i < countof(parts); i++) {
        if (!slice_split(&rest, ':', &parts[i])) {
            return false;
        }
    }
    return slice_to_i64(parts[0], limit_id) && slice_to_i64(parts[1], subject_id)
           && slice_to_i64(parts[2], epoch) && *limit_id >= 0 && *subject_id >= 0;
}

static void
tell_all(struct listener *listener)
{
    for (PGnotify *notice; (notice = PQnotifies(listener->db.conn)) != NULL;) {
        int64_t limit_id = 0;
        int64_t subject_id = 0;
        int64_t epoch = 0;
        if (read_told(notice->extra, &limit_id, &subject_id, &epoch) && epoch != listener->epoch) {
            listener->told(listener->user, limit_id, subject_id);
        }
        PQfreemem(notice);
    }
}

static enum status
connect_listener(struct listener *listener)
{
    enum status status = link_connect(&listener->db);
    if (status == STATUS_OK) {
        status = link_ask(&listener->db, "LISTEN tidegate", NULL);
    }
    if (status != STATUS_OK) {
        link_drop(&listener->db);
        return status;
    }
    if (listener->lost) {
        listener->lost = false;
        listener->told(listener->user, 0, 0);
    }
    return STATUS_OK;
}

/* False: it is to stop. `fd` -1: only the pause. */
static bool
wait_for(struct listener *listener, int fd, int timeout_ms)
{
    struct pollfd fds[2] = { { .fd = listener->stop_fds[0], .events = POLLIN },
        { .fd = fd, .events = POLLIN } };
    int ready = -1;
    do {
        ready = poll(fds, fd < 0 ? 1 : 2, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return fds[0].revents == 0;
}

static void *
listen_thread(void *arg)
{
    struct listener *listener = arg;
    thread_begin("news");
    for (;;) {
        if (!listener->db.conn && connect_listener(listener) != STATUS_OK) {
            if (!wait_for(listener, -1, PAUSE_MS)) {
                return NULL;
            }
            continue;
        }
        tell_all(listener);
        if (!wait_for(listener, PQsocket(listener->db.conn), -1)) {
            return NULL;
        }
        if (!PQconsumeInput(listener->db.conn)) {
            listener->lost = true;
            (void)link_lost(&listener->db, PQerrorMessage(listener->db.conn));
            log_line(
                LOG_WARN, "store", "news of other gateways are missed: %s", listener->error_text);
        }
    }
}

static void
free_listener(struct listener *listener)
{
    for (size_t i = 0; i < countof(listener->stop_fds); i++) {
        if (listener->stop_fds[i] >= 0) {
            (void)close(listener->stop_fds[i]);
        }
    }
    pg_close(&listener->db);
    free(listener);
}

static enum status
start(struct listener *listener)
{
    enum status status = connect_listener(listener);
    if (status == STATUS_OK && pipe(listener->stop_fds) != 0) {
        status = store_fail(listener->error_text, STATUS_IO, "no pipe: %s", strerror(errno));
    }
    if (status == STATUS_OK
        && pthread_create(&listener->thread, NULL, listen_thread, listener) != 0) {
        status = store_fail(listener->error_text, STATUS_FULL, "no thread to hear others");
    }
    return status;
}

enum status
postgres_listen(struct store *store, store_told *told, void *user, struct store_error *error)
{
    struct postgres_store *postgres = postgres_store_of(store);
    check(!postgres->listener);
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        return store_fail(error->text, STATUS_FULL, "no memory for a listener");
    }
    listener->db.place = &postgres->place;
    listener->db.costs = &listener->costs;
    listener->db.error_text = listener->error_text;
    listener->db.options =
        (struct link_options){ .statement_ms = WAIT_CONNECT_MS, .wait_ms = WAIT_CONNECT_MS };
    listener->told = told;
    listener->user = user;
    listener->epoch = postgres->epoch;
    listener->stop_fds[0] = listener->stop_fds[1] = -1;
    const enum status status = start(listener);
    if (status != STATUS_OK) {
        memcpy(error->text, listener->error_text, sizeof(error->text));
        free_listener(listener);
        return status;
    }
    postgres->listener = listener;
    return STATUS_OK;
}

void
postgres_unlisten(struct store *store)
{
    struct postgres_store *postgres = postgres_store_of(store);
    struct listener *listener = postgres->listener;
    postgres->listener = NULL;
    if (listener) {
        (void)!write(listener->stop_fds[1], "", 1);
        (void)pthread_join(listener->thread, NULL);
        free_listener(listener);
    }
}
