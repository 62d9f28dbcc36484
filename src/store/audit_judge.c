/* store/audit_judge.c: what the meters say beside what the rows add up to.
 *
 * What a limit counts stands in its definition. Money, tokens and requests of a calendar window, a lifetime or a
 * window from first use are sums of rows of the ledger; calls in flight are open holds; a bucket drains with time
 * and is no sum. The meters of a rolling window take their neighbours in, so that they are judged together: they
 * have settled at least what is younger than the window, and hold what open holds do. */
#include "store/audit_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/civil.h"

#define SURELY_OPEN_MS (23 * HOUR_MS) /* the shortest calendar window */

enum form { FORM_SUMS, FORM_ROLLING, FORM_BUCKET, FORM_IN_FLIGHT };

static enum form
form_of(const struct limit_def_row *limit)
{
    switch (limit->window) {
    case WINDOW_BUCKET: return FORM_BUCKET;
    case WINDOW_ROLLING: return FORM_ROLLING;
    default: return limit->counts == COUNT_IN_FLIGHT ? FORM_IN_FLIGHT : FORM_SUMS;
    }
}

static bool
is_money(const struct limit_def_row *limit)
{
    return limit->counts == COUNT_COST;
}

/* --- After all rows. */

static int
compare_booked(const void *a, const void *b)
{
    const struct booked *left = a;
    const struct booked *right = b;
    if (left->hold_id != right->hold_id) {
        return left->hold_id < right->hold_id ? -1 : 1;
    }
    return left->attempt < right->attempt ? -1 : left->attempt > right->attempt;
}

static void
judge_booked(struct auditing *auditing)
{
    const struct bookings *booked = &auditing->booked;
    if (booked->count > 1) {
        qsort(booked->items, booked->count, sizeof(*booked->items), compare_booked);
    }
    for (size_t i = 0; i < booked->count; i++) {
        const struct booked *before = i > 0 ? &booked->items[i - 1] : NULL;
        const int64_t hold_id = booked->items[i].hold_id;
        auditing->audit->compared[AUDIT_ONCE]++;
        if (!before || before->hold_id != hold_id) {
            auditing->audit->call_count += !audit_get(&auditing->holds, hold_id);
        } else if (before->attempt == booked->items[i].attempt) {
            (void)audit_find(
                auditing, AUDIT_ONCE, "the call req_%lld is booked twice", (long long)hold_id);
        }
    }
}

/* Of a call that is still open: its hold says which limits it counts for. */
static void
judge_lone_costs(struct auditing *auditing)
{
    for (struct lone_cost *cost = auditing->lone_costs; cost; cost = cost->next) {
        const struct open_call *call = audit_get(&auditing->holds, cost->row.hold_id);
        if (call) {
            audit_book(auditing, &cost->row, call->row.inputs);
        }
    }
}

static void
name_subject(const struct auditing *auditing, int64_t subject_id, char out[96])
{
    const struct known_subject *subject = audit_get(&auditing->subjects, subject_id);
    if (!subject) {
        (void)snprintf(out, 96, "subject %lld, which is not there", (long long)subject_id);
        return;
    }
    const struct subject_row *row = &subject->row;
    switch (row->kind) {
    case SUBJECT_GATEWAY: (void)snprintf(out, 96, "the gateway"); break;
    case SUBJECT_ACCOUNT:
        (void)snprintf(out, 96, "account %lld", (long long)row->account_id);
        break;
    case SUBJECT_KEY: (void)snprintf(out, 96, "key_%.40s", row->name); break;
    case SUBJECT_TREE: (void)snprintf(out, 96, "the tree of thr_%.40s", row->name); break;
    case SUBJECT_ACCOUNT_MODEL:
    case SUBJECT_ACCOUNT_ORGANISATION:
        (void)snprintf(out, 96, "account %lld with %.40s", (long long)row->account_id, row->name);
        break;
    case SUBJECT_MODEL: (void)snprintf(out, 96, "model %.80s", row->name); break;
    default: (void)snprintf(out, 96, "%.80s", row->name); break;
    }
}

static void
name_sum(struct auditing *auditing, const struct sum *sum, char out[320])
{
    char subject[96];
    char window[32] = "";
    const struct limit_def_row *limit = audit_limit(auditing, sum->limit_id);
    name_subject(auditing, sum->subject_id, subject);
    if (sum->window_ms != 0) {
        civil_rfc3339(sum->window_ms, false, window);
    }
    (void)snprintf(out, 320, "limit '%s' of %s%s%s", limit ? limit->name : "(replaced)", subject,
        window[0] ? ", window from " : "", window);
}

bool
audit_window_may_be_open(
    const struct auditing *auditing, const struct limit_def_row *limit, int64_t window_ms)
{
    const int64_t now_ms = auditing->audit->high_water_ms;
    const int64_t open_ms = limit && limit->span_ms > 0 ? limit->span_ms : SURELY_OPEN_MS;
    return window_ms == 0 || now_ms - window_ms < open_ms;
}

/* A window that is over may have left its row, or gone with it, once nothing is held of it; one that cannot be over
 * must be there. */
static bool
must_be_stored(const struct auditing *auditing, const struct sum *sum)
{
    const struct limit_def_row *limit = audit_limit(auditing, sum->limit_id);
    return sum->holds || audit_window_may_be_open(auditing, limit, sum->window_ms);
}

static void
judge_missing(struct auditing *auditing, const struct limit_def_row *limit, const struct sum *sum)
{
    char where[320];
    if (form_of(limit) == FORM_BUCKET || form_of(limit) == FORM_ROLLING
        || !must_be_stored(auditing, sum)) {
        return;
    }
    name_sum(auditing, sum, where);
    audit_amounts(audit_find(auditing, sum->holds ? AUDIT_HELD : AUDIT_SETTLED,
                      "%s: its meter is not there, though calls count against it", where),
        is_money(limit), 0, sum->settled + sum->held);
}

/* Rows that counted for this meter may have been deleted since: it has settled at least what is left. Of a
 * window that began before the first rows that are kept, and of a meter without one. */
static bool
rows_are_missing(const struct auditing *auditing, const struct sum *sum)
{
    const struct limit_def_row *limit = audit_limit(auditing, sum->limit_id);
    const int64_t span_ms =
        limit ? limit->span_ms : 0; /* a rolling one stands for what came before its time */
    return auditing->kept_from_ms > 0 && sum->window_ms - span_ms < auditing->kept_from_ms;
}

static bool
settled_differs(const struct auditing *auditing, const struct sum *sum)
{
    return rows_are_missing(auditing, sum) ? sum->meter.settled < sum->settled
                                           : sum->meter.settled != sum->settled;
}

static void
judge_sum(struct auditing *auditing, const struct limit_def_row *limit, const struct sum *sum)
{
    char where[320];
    name_sum(auditing, sum, where);
    auditing->audit->compared[AUDIT_SETTLED]++;
    auditing->audit->compared[AUDIT_HELD]++;
    if (settled_differs(auditing, sum)) {
        audit_amounts(audit_find(auditing, AUDIT_SETTLED,
                          "%s: its meter has settled %s than the ledger has "
                          "booked; %s",
                          where, sum->meter.settled > sum->settled ? "more" : "less",
                          sum->meter.settled > sum->settled
                              ? "calls are refused too early, or rows of the ledger are missing"
                              : "more may be spent than its cap"),
            is_money(limit), sum->meter.settled, sum->settled);
    }
    if (sum->meter.held != sum->held || sum->meter.bound != sum->bound) {
        const bool held = sum->meter.held != sum->held;
        audit_amounts(
            audit_find(auditing, AUDIT_HELD, "%s: its meter %s %s than open holds do; %s", where,
                held ? "holds" : "is bound to",
                sum->meter.held > sum->held || sum->meter.bound > sum->bound ? "more" : "less",
                sum->meter.held > sum->held || sum->meter.bound > sum->bound
                    ? "what is held for nobody is never given back"
                    : "calls in flight may pass its cap"),
            is_money(limit), held ? sum->meter.held : sum->meter.bound,
            held ? sum->held : sum->bound);
    }
}

static void
judge_in_flight(struct auditing *auditing, const struct sum *sum)
{
    char where[320];
    auditing->audit->compared[AUDIT_IN_FLIGHT]++;
    if (sum->meter.held == sum->held) {
        return;
    }
    name_sum(auditing, sum, where);
    audit_amounts(audit_find(auditing, AUDIT_IN_FLIGHT,
                      "%s: its meter counts %s calls in flight than there "
                      "are open holds",
                      where, sum->meter.held > sum->held ? "more" : "fewer"),
        false, sum->meter.held, sum->held);
}

/* --- Rolling windows: all meters of one limit and subject at once. */

struct rolling {
    struct sum
        all; /* limit, subject; settled: what the rows have; meter: the stored ones together */
    int64_t young;            /* of what the rows have: younger than the window */
    int64_t old_up, old_down; /* and older: charges; what corrections took back */
    struct rolling *same_hash, *next;
};
struct rollings {
    struct map by_hash;
    struct rolling *list;
};

static struct rolling *
rolling_of(struct auditing *auditing, struct rollings *rollings, const struct sum *sum)
{
    const uint64_t hash = hash_pair((uint64_t)sum->limit_id, (uint64_t)sum->subject_id);
    struct rolling *first = map_get(&rollings->by_hash, hash);
    for (struct rolling *at = first; at; at = at->same_hash) {
        if (at->all.limit_id == sum->limit_id && at->all.subject_id == sum->subject_id) {
            return at;
        }
    }
    struct rolling *made = arena_alloc(&auditing->arena, sizeof(*made));
    if (!made || !map_put(&rollings->by_hash, hash, made)) {
        auditing->failed = true;
        return NULL;
    }
    made->all.limit_id = sum->limit_id;
    made->all.subject_id = sum->subject_id;
    made->same_hash = first;
    made->next = rollings->list;
    rollings->list = made;
    return made;
}

/* Each sum is what the rows have at one time, or a stored meter, or both. */
static void
add_rolling(struct auditing *auditing, struct rollings *rollings, const struct limit_def_row *limit,
    const struct sum *sum)
{
    struct rolling *rolling = rolling_of(auditing, rollings, sum);
    const int64_t over_ms = auditing->audit->high_water_ms - limit->span_ms;
    if (!rolling) {
        return;
    }
    rolling->all.settled = money_add(rolling->all.settled, sum->settled);
    rolling->all.held += sum->held;
    rolling->all.bound += sum->bound;
    int64_t *part = sum->window_ms > over_ms ? &rolling->young
                    : sum->settled > 0       ? &rolling->old_up
                                             : &rolling->old_down;
    *part = money_add(*part, sum->settled);
    if (sum->stored) {
        rolling->all.meter.settled = money_add(rolling->all.meter.settled, sum->meter.settled);
        rolling->all.meter.held += sum->meter.held;
        rolling->all.meter.bound += sum->meter.bound;
    }
}

/* What is older leaves the row when another charge comes, and not all of it at once: of charges and corrections that
 * are over any may be there still. */
static void
judge_rolling(struct auditing *auditing, const struct rolling *rolling)
{
    const struct limit_def_row *limit = audit_limit(auditing, rolling->all.limit_id);
    struct sum expected = rolling->all;
    const int64_t stored = expected.meter.settled;
    const bool deleted = auditing->kept_from_ms > 0;
    const int64_t least = money_add(rolling->young, rolling->old_down);
    const int64_t most = money_add(rolling->young, rolling->old_up);
    if (stored >= least && (deleted || stored <= most)) {
        expected.settled = stored;
    } else {
        expected.settled = stored < least ? least : most;
    }
    judge_sum(auditing, limit, &expected);
}

static void
judge_sums(struct auditing *auditing)
{
    struct rollings rollings = { 0 };
    for (const struct sum *sum = auditing->sum_list; sum; sum = sum->next) {
        const struct limit_def_row *limit = audit_limit(auditing, sum->limit_id);
        if (!limit) {
            continue; /* it was replaced: nothing is decided by its meters any more */
        }
        if (form_of(limit) == FORM_ROLLING) {
            add_rolling(auditing, &rollings, limit, sum);
            continue;
        }
        if (!sum->stored) {
            judge_missing(auditing, limit, sum);
            continue;
        }
        switch (form_of(limit)) {
        case FORM_SUMS: judge_sum(auditing, limit, sum); break;
        case FORM_IN_FLIGHT: judge_in_flight(auditing, sum); break;
        default: break; /* a level drains with time: no sum of rows */
        }
    }
    for (const struct rolling *rolling = rollings.list; rolling; rolling = rolling->next) {
        judge_rolling(auditing, rolling);
    }
    map_free(&rollings.by_hash);
}

void
audit_judge(struct auditing *auditing)
{
    judge_booked(auditing);
    judge_lone_costs(auditing);
    judge_sums(auditing);
}
