/* serve/reload.h: the configuration read again while calls run.
 *
 * Asked for by SIGHUP or over the control plane, never on a loop: the engine takes its turn to swap
 * policies, between two batches, and calls in flight keep theirs. Secrets are read again too: the
 * files that `credentials` and listeners name, as they are now; the environment of a process never changes. A file
 * that is wrong, or a secret that cannot be read, changes nothing; neither does one by which the other gateways
 * on a shared store do not decide, unless it is asked for as `mixed`. What is fixed at the start (sockets,
 * the store, threads, bounds of a connection) is named where the new file differs, and stays. */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "base/status.h"
#include "engine/engine.h"
#include "serve/listeners.h"

/* The caller's memory. */
struct reload {
    const char *config_path;      /* NULL: a sandbox, which has none */
    struct policy *started_with;  /* one reference to its facts */
    struct engine *engine;
    struct store *store;
    bool mixed;                   /* gateways on the same store may decide by another configuration */
    struct listeners *listeners;
    pthread_mutex_t lock;
    pthread_t thread;             /* of a signal */
    bool thread_runs;
    pthread_mutex_t thread_lock;  /* of these two: */
    bool thread_over, again;
};

struct reload_options {
    const char *config_path;
    struct policy *policy; /* what the process was started with */
    struct engine *engine;
    struct store *store;
    bool mixed;            /* of every reload, also a signal's */
    struct listeners *listeners;
};
/* Before the loops run. What the options point at is borrowed until reload_close. */
void reload_open(struct reload *reload, const struct reload_options *options);
/* Waits for one that runs; while the engine still takes turns. Also of one that was never opened. */
void reload_close(struct reload *reload);

/* Any thread but the loops'; one at a time. Appends what is in force now, or what is wrong, to `said`;
 * logs it too. STATUS_NOT_FOUND: there is no file. `actor` is for the ledger. */
enum status reload_now(struct reload *reload, const char *actor, bool mixed, struct buf *said);
/* The same for SIGHUP, on a thread of its own: does not wait, from one thread only. Asked for while one
 * runs, it is done once more behind it. */
void reload_start(struct reload *reload);

/* Appends the names of the options that differ and are fixed at the start, ", " between them; pure.
 * How many. */
int reload_fixed_changes(const struct policy *old, const struct policy *new, struct buf *out);
