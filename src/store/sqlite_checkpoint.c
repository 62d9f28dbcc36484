/* store/sqlite_checkpoint.c: how the log of the store starts anew under load.
 *
 * A thread with a connection of its own copies the log back without hindering the writer; but the
 * writer adds to the log meanwhile, so the thread alone never comes to its end, and only a log that
 * was copied to its end is begun anew. So the thread copies until the rest is small and hands over:
 * the writer copies that rest between two batches. A reader whose snapshot is old stops both; the
 * log then grows until it is closed, and the next try comes after as many pages again.
 *
 *      IDLE -(writer: enough pages)-> WANTED -> RUNNING -(thread)-> DONE -(writer)-> IDLE */
#include "store/sqlite_priv.h"

#include <stdlib.h>

#include "base/thread.h"

#define REST_PAGES     250 /* what one pass may leave to the next, or to the writer: about a millisecond */
#define PASS_COUNT_MAX 16
#define THREAD_STACK   ((size_t)256 * 1024)

enum checkpoint_state { CHECKPOINT_IDLE, CHECKPOINT_WANTED, CHECKPOINT_RUNNING, CHECKPOINT_DONE };

struct checkpointer {
    struct sqlite_db db; /* the thread's, from its start to its end */
    char error_text[512];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop; /* under the mutex, as is IDLE -> WANTED */
    _Atomic(enum checkpoint_state) state;
    enum status status; /* of the last passes; read after DONE */
    /* The writer's: */
    int every_pages;
    struct log_room room;
    int log_pages, next_at_pages;
};

static enum status
copy_back(struct checkpointer *checkpointer)
{
    int copied_before = 0;
    for (int i = 0; i < PASS_COUNT_MAX; i++) {
        int log_pages = 0;
        int copied = 0;
        const int code = sqlite3_wal_checkpoint_v2(
            checkpointer->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &log_pages, &copied);
        if (code == SQLITE_BUSY) {
            return STATUS_OK; /* somebody else is at it, a backup say: the next turn will do */
        }
        if (code != SQLITE_OK) {
            return db_status(&checkpointer->db, code);
        }
        if (copied - copied_before <= REST_PAGES) {
            break;
        }
        copied_before = copied;
    }
    return STATUS_OK;
}

static bool
wait_for_work(struct checkpointer *checkpointer)
{
    check(pthread_mutex_lock(&checkpointer->mutex) == 0);
    while (!checkpointer->stop && atomic_load(&checkpointer->state) != CHECKPOINT_WANTED) {
        check(pthread_cond_wait(&checkpointer->wake, &checkpointer->mutex) == 0);
    }
    const bool go_on = !checkpointer->stop;
    if (go_on) {
        atomic_store(&checkpointer->state, CHECKPOINT_RUNNING);
    }
    check(pthread_mutex_unlock(&checkpointer->mutex) == 0);
    return go_on;
}

static void *
checkpoint_thread(void *argument)
{
    struct checkpointer *checkpointer = argument;
    thread_begin("checkpoint");
    while (wait_for_work(checkpointer)) {
        checkpointer->status = copy_back(checkpointer);
        atomic_store(&checkpointer->state, CHECKPOINT_DONE);
    }
    return NULL;
}

static enum status
start_thread(struct checkpointer *checkpointer)
{
    pthread_attr_t attributes;
    check(pthread_attr_init(&attributes) == 0);
    check(pthread_attr_setstacksize(&attributes, THREAD_STACK) == 0);
    const int failure =
        pthread_create(&checkpointer->thread, &attributes, checkpoint_thread, checkpointer);
    check(pthread_attr_destroy(&attributes) == 0);
    return failure == 0 ? STATUS_OK : STATUS_FULL;
}

enum status
checkpointer_start(struct checkpointer **out, const char *path, const struct store_options *options,
    char *error_text)
{
    struct checkpointer *checkpointer = calloc(1, sizeof(*checkpointer));
    if (!checkpointer) {
        return store_fail(error_text, STATUS_FULL, "no memory for a thread of the store");
    }
    check(pthread_mutex_init(&checkpointer->mutex, NULL) == 0);
    check(pthread_cond_init(&checkpointer->wake, NULL) == 0);
    checkpointer->every_pages =
        options->checkpoint_pages > 0 ? options->checkpoint_pages : STORE_CHECKPOINT_PAGES;
    checkpointer->next_at_pages = checkpointer->every_pages;
    enum status status = sqlite_connect(
        &checkpointer->db, path, SQLITE_OPEN_READWRITE, options, checkpointer->error_text);
    if (status != STATUS_OK) {
        (void)store_fail(error_text, status, "%s", checkpointer->error_text);
    } else {
        status = start_thread(checkpointer);
        if (status == STATUS_OK) {
            *out = checkpointer;
            return STATUS_OK;
        }
        (void)store_fail(error_text, status, "a thread of the store cannot be started");
        db_close(&checkpointer->db);
    }
    (void)pthread_cond_destroy(&checkpointer->wake);
    (void)pthread_mutex_destroy(&checkpointer->mutex);
    free(checkpointer);
    return status;
}

static void
signal_thread(struct checkpointer *checkpointer, bool stop)
{
    check(pthread_mutex_lock(&checkpointer->mutex) == 0);
    checkpointer->stop = stop;
    if (!stop) {
        atomic_store(&checkpointer->state, CHECKPOINT_WANTED);
    }
    check(pthread_cond_signal(&checkpointer->wake) == 0);
    check(pthread_mutex_unlock(&checkpointer->mutex) == 0);
}

void
checkpointer_stop(struct checkpointer *checkpointer)
{
    if (!checkpointer) {
        return;
    }
    signal_thread(checkpointer, true);
    check(pthread_join(checkpointer->thread, NULL) == 0);
    db_close(&checkpointer->db);
    (void)pthread_cond_destroy(&checkpointer->wake);
    (void)pthread_mutex_destroy(&checkpointer->mutex);
    free(checkpointer);
}

void
checkpointer_note(struct checkpointer *checkpointer, int log_pages)
{
    if (log_pages < checkpointer->log_pages) { /* it was begun anew */
        checkpointer->next_at_pages = checkpointer->every_pages;
    }
    checkpointer->log_pages = log_pages;
}

/* The commit before was good: a failure here is a trouble to tell of, not an error of it. */
static void
finish_rest(struct checkpointer *checkpointer, struct sqlite_db *writer, char trouble[512])
{
    trouble[0] = '\0';
    if (checkpointer->status != STATUS_OK) {
        (void)store_fail(
            trouble, STATUS_IO, "the log cannot be copied back: %.400s", checkpointer->error_text);
        return;
    }
    int log_pages = 0;
    int copied = 0;
    const int code = sqlite3_wal_checkpoint_v2(
        writer->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &log_pages, &copied);
    if (code != SQLITE_OK && code != SQLITE_BUSY) {
        (void)store_fail(trouble, STATUS_IO,
            "the log cannot be copied back: %.400s (SQLite code %d)",
            sqlite3_errmsg(writer->handle), code);
    }
}

void
checkpointer_turn(struct checkpointer *checkpointer, struct sqlite_db *writer, char trouble[512])
{
    log_make_room(writer, checkpointer->log_pages, checkpointer->every_pages, &checkpointer->room);
    switch (atomic_load(&checkpointer->state)) {
    case CHECKPOINT_IDLE:
        if (checkpointer->log_pages >= checkpointer->next_at_pages) {
            signal_thread(checkpointer, false);
        }
        break;
    case CHECKPOINT_DONE:
        finish_rest(checkpointer, writer, trouble);
        checkpointer->next_at_pages = checkpointer->log_pages + checkpointer->every_pages;
        atomic_store(&checkpointer->state, CHECKPOINT_IDLE);
        break;
    case CHECKPOINT_WANTED:
    case CHECKPOINT_RUNNING: break;
    }
}
