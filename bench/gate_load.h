/* bench/gate_load.h: one gateway's engine on a store, and one thread that asks it: calls decided and
 * settled, no sockets.
 *
 * Each answer is followed by the settlement of that call and by the next call, under five limits; so many
 * calls are outstanding. What is timed is a gate event: from the moment a call is handed over until its
 * verdict is taken, its commit included. Whatever goes wrong ends the process with a sentence. */
#pragma once

#include "bench/latencies.h"

struct gate_load;

struct gate_load_options {
    const char *store; /* its URL */
    bool full_sync;    /* durability: disk */
    int64_t accounts;  /* in the store; made where it has too few */
    int64_t active;    /* of them, the first so many are asked for */
    bool anywhere;     /* one of them at random each time; else in turn, of this gateway's own share */
    int64_t server;    /* process id of the server's first process; 0 = it has none here */
    int64_t gateway, gateways; /* which of how many at this store at once */
    int64_t outstanding;
    bool cold; /* it has not asked for each of its callers once before the window */
    int64_t fill; /* calls before the window that only make the ledger longer */
    int64_t warm_ms, window_ms;
};

/* Of one window; sums over gateways make sense. */
struct gate_report {
    int64_t calls, events, batches, commits;
    int64_t retried;                         /* batches run again */
    int64_t sent, round_trips, longest; /* batches on a shared store, what they took, the most that one took */
    int64_t server_us; /* CPU of the store's own server */
    int64_t engine_us, process_us;           /* CPU: of the engine's thread, of all threads */
    int64_t window_us;
    struct latencies latencies;              /* of calls, to their verdict */
};

/* Opens the store and starts the engine. */
struct gate_load *gate_load_open(const struct gate_load_options *options);
/* Of the first gateway alone: makes the accounts, each with a key, unless they are there. */
void gate_load_make_callers(struct gate_load *gate);
/* Calls that a gateway before this one left open, booked at the start. */
int64_t gate_load_orphans(const struct gate_load *gate);
/* Afterwards, of each. */
void gate_load_find_callers(struct gate_load *gate);
/* Starts, and asks once for each of its callers, many at once; then so many calls more as are to be filled in. */
void gate_load_warm(struct gate_load *gate);
/* Goes on for warm_ms, then measures for window_ms. */
void gate_load_run(struct gate_load *gate, struct gate_report *report);
/* Calls that were not settled are given back. */
void gate_load_close(struct gate_load *gate);

void gate_report_add(struct gate_report *sum, const struct gate_report *report);
