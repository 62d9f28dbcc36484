/* tests/unit/core/gate.h: a gate in memory: a policy made by hand, rows in plain arrays, and events decided
 * one batch at a time. It plays the engine's part (load, decide, write), and an auditor's. */
#pragma once

#include "unit.h"

#include "core/core.h"
#include "core/core_priv.h"

#define NOON_MS   INT64_C(1790769600000) /* 2026-09-30T12:00:00Z, a Wednesday */
#define ACCOUNT   INT64_C(11)            /* "ann", plan "free" */
#define ACCOUNT_B INT64_C(12)            /* "bob", plan "pro" */
#define KEY       INT64_C(21)            /* of ann */
#define KEY_B     INT64_C(22)            /* of bob */
#define KEY_ACTS  INT64_C(23)            /* a service key of ann that acts for "user-*" */

/* Prices: "paid" costs 1 micro a token of input and 2 a token of output; "dear" ten times that. */
enum model_of_test { MODEL_FREE, MODEL_HIDDEN, MODEL_PAID, MODEL_TWO, MODEL_UNPRICED, MODEL_UNPRICED_SECOND, MODEL_COUNT };
#define STEP       100  /* tokens */
#define MIN_ANSWER 50
#define MAX_OUTPUT 4000
#define CONTEXT    100000

#define ROWS_MAX 4096

/* What the store would hold. */
struct bank {
    int account_count, key_count, thread_count, subject_count, meter_count, reported_count, hold_count, issued_count, receipt_count, ledger_count,
        refusal_count;
    struct account_row accounts[64];
    struct key_row keys[64];
    struct thread_row threads[512];
    struct subject_row subjects[512];
    struct meter_row meters[512];
    struct reported_row reported[8];
    struct hold_row holds[512];
    struct issued_row issued[64];
    struct receipt_row receipts[64];
    struct ledger_row ledger[ROWS_MAX];
    struct refusal_row refusals[64];
};

struct gate {
    struct policy *policy, *older; /* `older` is answered for its own version */
    struct bank bank;
    struct ids ids;
    struct learned_table learned;
    struct arena arena, kept; /* of a batch; of what outlives it */
    struct work work;
    struct core core;
    int64_t now_ms;
    bool others_wait;  /* what line_busy says */
    int rounds;        /* of loading, in the last batch */
};

/* Setup and teardown of a case: accounts and keys as above, no limits. */
int gate_make(void **state);
int gate_end(void **state);

/* A policy without limits; its models and providers are those above. */
struct policy *a_policy(int64_t version);
/* The limit is the last one of the policy's; ids count up from 1001. */
struct limit *add_limit(
    struct policy *policy, const char *name, enum count_kind counts, enum per_kind per, enum window_kind window, int64_t cap);
struct limit *add_bucket(struct policy *policy, const char *name, enum per_kind per, int64_t rate, int64_t period_ms, int64_t burst);

/* A streamed chat call of ann's whose input estimate is exact: `input` tokens, in thread "t". */
struct event a_call(enum model_of_test model, int64_t input, int64_t output_limit);
struct event a_settle(int64_t hold_id, int64_t input, int64_t output);
struct event a_release(int64_t hold_id);
struct event an_extend(int64_t hold_id, int64_t want_tokens);
/* Thread signals: 64 characters made of one. */
void set_hash(char hash[HASH_HEX + 1], char c);

/* Loads, decides, writes. A refused event must leave the working set as it was loaded. */
struct verdict gate_decide(struct gate *gate, const struct event *event);
void gate_batch(struct gate *gate, const struct event *events, int count, struct verdict *verdicts);
/* A batch begins, with an empty working set. */
void gate_start(struct gate *gate);
/* Of what was asked for, rows that are not there yet. False: nothing was needed any more. */
bool gate_load(struct gate *gate, const struct needs *needs);
/* The same but without writing: the working set stays in gate->work. */
void gate_load_and_decide(struct gate *gate, const struct event *event, struct verdict *verdict);
struct verdict gate_orphan(struct gate *gate, int64_t hold_id);

struct verdict expect_allowed(struct gate *gate, const struct event *event);
struct verdict expect_refused(struct gate *gate, const struct event *event, enum reason reason);

struct account_row *bank_account(struct gate *gate, int64_t account_id);
struct key_row *bank_key(struct gate *gate, int64_t key_id);
struct hold_row *bank_hold(struct gate *gate, int64_t hold_id); /* NULL when it is gone */
const struct ledger_row *last_ledger(const struct gate *gate);
/* The meter of a limit (the newest window), or zeros. */
struct meter meter_of(const struct gate *gate, const struct limit *limit);
struct meter meter_in_window(const struct gate *gate, const struct limit *limit, int64_t window_ms);

/* held and bound of every meter are the sums over open holds. */
void audit_promises(const struct gate *gate);
