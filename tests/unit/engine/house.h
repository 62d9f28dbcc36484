/* tests/unit/engine/house.h: an engine over a store whose transactions can be counted, stopped and broken;
 * one account with one key; verdicts awaited by slot. */
#pragma once

#include "unit.h"

#include <stdatomic.h>

#include "gate.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/engine_priv.h"
#include "engine/replies.h"
#include "store/store_priv.h"

#define LOOPS 4

/* What happens to the store's calls; set from any thread. */
struct faults {
    atomic_int commits;          /* that went through */
    atomic_int commit_status;    /* enum status of every commit until it is STATUS_OK again */
    atomic_int begin_status;
    atomic_int begins;
    atomic_bool commit_waits;    /* commits stop before they begin, until this is false */
    atomic_int commit_passes;    /* so many go through all the same */
    atomic_int commits_waiting;
    atomic_int meter_conflicts;  /* so many puts of a meter answer STATUS_CONFLICT; -1 = all */
    atomic_int thread_conflicts; /* so many reads of a thread by its signal answer so, too; -1 = all */
    atomic_llong poisoned_hold;  /* reading it answers STATUS_INVALID */
    atomic_int cached_compared;  /* rows of the cache that were found as they are in the store */
    atomic_int cached_differ;    /* and those that were not */
    atomic_bool compare_cached;  /* at each begin */
};
extern struct faults faults;

struct house {
    char folder[64], url[128]; /* folder "": the store is in memory */
    struct store *store;
    struct store_ops ops;
    struct store_row_ops rows;
    struct policy *policy;     /* the newest, with a reference of the house's, so that events can name it */
    struct policy *before[16];  /* older ones, with a reference each */
    int before_count;
    bool shared;               /* the store says that others write to it, too */
    struct engine *engine;
    int64_t account_id, key_id;
    uint32_t next_slot;
};

/* Setup in memory and on disk, without an engine yet: limits can be added to house->policy. */
int house_in_memory(void **state);
int house_on_disk(void **state);
int house_shared(void **state); /* in memory; the store says that others write to it, too */
int house_end(void **state);
#define BOTH(name, function)                                                                       \
    CASE_WITH(name " (sqlite)", function, house_on_disk, house_end),                               \
        CASE_WITH(name " (memory)", function, house_in_memory, house_end)
#define ALL(name, function)                                                                        \
    BOTH(name, function), CASE_WITH(name " (shared)", function, house_shared, house_end)

/* Opens the store where it is closed, starts the engine, makes the account and the key on the first start. */
void house_start(struct house *house);
MUST_USE enum status house_try_start(struct house *house);
/* Closes the engine and, on disk, the store: house_start begins a new epoch. */
void house_stop(struct house *house);
void house_stop_engine(struct house *house);
/* house->policy is one without limits from now on; the engine does not know it yet. */
void house_new_policy(struct house *house);

/* As gate.h's, of this house's account and of its newest policy; `thread` is the thread's mark. */
struct event house_call(const struct house *house, enum model_of_test model, int64_t input, int64_t output_limit, char thread);
/* Submits with a new slot of loop 0; the slot finds the verdict. */
uint32_t submit(struct house *house, struct event event);
/* Without an answer. */
void submit_untold(struct house *house, struct event event);
/* The next verdict of loop 0 whatever its slot; fails the case after five seconds. */
struct verdict await(struct house *house);
struct verdict await_slot(struct house *house, uint32_t slot); /* others before it fail the case */
bool nothing_comes(struct house *house, int64_t for_ms);
struct verdict ask(struct house *house, struct event event); /* submits and awaits */
struct verdict ask_allowed(struct house *house, struct event event);

struct engine_state state_of(struct house *house);
/* Until the condition holds; fails the case after five seconds. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        for (int tries_ = 0; !(condition); tries_++) {                                             \
            assert_true(tries_ < 5000);                                                            \
            pause_ms(1);                                                                           \
        }                                                                                          \
    } while (0)
void pause_ms(int64_t ms);

/* Through the reader door. */
struct books {
    int ledger_count, hold_count, refusal_count;
    int64_t refusals;              /* sum of their counts */
    int64_t kinds[LEDGER_KIND_COUNT];
    int64_t cost_micros;
    struct ledger_row newest;
    struct hold_row hold;
    int64_t settled, held, bound;  /* sums over meters of limits that are no buckets */
};
struct books books_of(struct house *house);
/* The meter of a limit in any row. */
struct meter stored_meter(struct house *house, const struct limit *limit);
