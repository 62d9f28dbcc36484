/* store/audit_priv.h: what an audit gathers (audit.c) and judges (audit_judge.c). */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "store/audit.h"
#include "store/inspect_priv.h"

/* A meter as it is stored, and as the rows have it. */
struct sum {
    int64_t limit_id, subject_id, window_ms;
    bool stored;
    struct meter meter;
    int64_t settled, held, bound;
    bool holds; /* an open call holds something of it */
    struct sum *same_hash, *next;
};

struct known_subject {
    struct subject_row row;
    struct known_subject *same_hash;
};

/* A call: its hold while it is open, and costs whose row does not say which limits they count for. */
struct open_call {
    struct hold_row row;
    char *inputs;
    struct open_call *next;
};
struct lone_cost {
    struct ledger_row row;
    struct lone_cost *same_call, *next;
};

/* Attempts that are on the books with the inputs of their call: its last one, and those that were billed before. */
struct booked {
    int64_t hold_id;
    int32_t attempt;
};
struct bookings {
    struct booked *items;
    size_t count, cap;
};

struct branch { /* a thread whose root was not read before it */
    struct branch *next;
    int64_t thread_id, root_id;
};
struct auditing {
    struct audit *audit;
    int64_t kept_from_ms; /* see struct inspected */
    audit_progress *progress;
    void *user;
    struct arena arena;
    bool failed; /* no memory */
    struct map requests; /* calls that were counted once for a limit on requests */
    struct map sums, subjects, subjects_by_name, accounts, keys, threads, holds, lone_by_hold;
    struct sum *sum_list;
    struct open_call *open_calls;
    struct branch *branches;
    struct lone_cost *lone_costs;
    struct limit_def_row *limits; /* all names; all are read before anything points at one */
    size_t limit_count, limit_cap;
    struct bookings booked;
};

/* NULL where there are too many to keep; they are counted. */
struct audit_finding *audit_find(
    struct auditing *auditing, enum audit_part part, const char *format, ...) PRINTF_LIKE(3, 4);
/* `finding` may be NULL. */
void audit_amounts(struct audit_finding *finding, bool is_money, int64_t stored, int64_t expected);
void *audit_get(const struct map *map, int64_t id);
/* What has this number, by the name that it has now. NULL: nothing is decided by it any more. */
const struct limit_def_row *audit_limit(const struct auditing *auditing, int64_t limit_id);
/* False: it is over for sure, or its limit counts otherwise. */
bool audit_window_may_be_open(
    const struct auditing *auditing, const struct limit_def_row *limit, int64_t window_ms);
/* Memory that lives as long as the audit, and a row by its number; without memory `failed` is set. */
void *audit_make(struct auditing *auditing, size_t bytes);
void audit_put(struct auditing *auditing, struct map *map, int64_t id, void *value);
uint64_t audit_subject_hash(enum subject_kind kind, int64_t number, const char *name);
/* What rows say of one meter; made where it is not there. NULL without memory. */
struct sum *audit_sum_of(
    struct auditing *auditing, int64_t limit_id, int64_t subject_id, int64_t window_ms);

/* --- audit_book.c */
/* Whether the row says which limits its call counted against; and what becomes of it where it does not. */
bool audit_inputs_name_limits(struct slice inputs);
void audit_keep_lone_cost(struct auditing *auditing, const struct ledger_row *row);
void audit_book_call(struct auditing *auditing, const struct ledger_row *row);
/* Adds the cost of `row` to the meters of the limits in `inputs`. */
void audit_book(struct auditing *auditing, const struct ledger_row *row, struct slice inputs);
/* After all rows: the findings. */
void audit_judge(struct auditing *auditing);

/* The audit of whatever `inspect` reads; as store_audit. */
typedef enum status audit_inspect(void *source, const struct inspector *inspector,
    struct inspected *inspected, struct store_error *error);
MUST_USE enum status audit_source(audit_inspect *inspect, void *source, audit_progress *progress,
    void *user, struct audit *audit, struct store_error *error);
