/* engine/replay.h: what would have happened under another configuration: recorded calls, in the order of time, through
 * the real core over a store in memory, by a clock that stands where each call stood.
 *
 * What happened before the report begins is counted without refusing anybody, so that windows and lifetimes stand where
 * they stood. A call is asked for with what its row recorded; one that is allowed ends when it ended, with the usage it
 * had, at the prices of the configuration given. A stream grows as it did: evenly from its beginning to its end, asking
 * for more hold on its way as the relay does, and where there is no room for that it ends early. What providers had
 * reported is told before each call as its row recorded it; limits on what was not recorded stop nothing. Caps that
 * people set are those of now. Routes that were left alone for a while are a fact of then that no configuration changes:
 * here all are open. Corrections are not replayed. One thread. */
#pragma once

#include "base/status.h"
#include "policy/policy.h"
#include "rows/recorded.h"

struct replay;
struct replay_error {
    char text[512];
};

/* Calls that were refused by one limit (or for one reason) to one account, or that ended early by it. */
struct replay_group {
    int64_t account_id;
    const char *account;           /* "" = not there any more */
    char limit[NAME_MAX_BYTES + 1];/* "" = no limit: see `reason` */
    enum reason reason;            /* REASON_OK: they ended early */
    int64_t count;                 /* of calls that were allowed when they were made */
    int64_t cost_micros;           /* that was booked for them; of those that ended early: that they did not spend */
    int64_t first_ms, last_ms;
    int64_t first_request, last_request;
};
struct replay_refusal {
    int64_t at_ms, account_id, request, cost_micros;
    int32_t model; /* index in the policy; -1 = it has no such model */
    const struct replay_group *group;
};
#define REPLAY_REFUSALS_MAX 1000 /* told one by one */

struct replay_report {
    int64_t since_ms, until_ms;    /* of the calls reported */
    int64_t calls;                 /* that were allowed when they were made */
    int64_t allowed, refused, waited, lowered, rerouted; /* of these, under the new configuration */
    int64_t ended_early;           /* of those allowed: their answers are shorter, by a lower output limit or cut */
    int64_t reports_unknown;       /* of all asked: a limit on what providers report had no say, since nothing is recorded */
    int64_t asks_refused;          /* refusals of then, one a minute and kind, with enough to be asked again */
    int64_t asks_allowed;          /* of these: they would pass now */
    int64_t asks_unknown;          /* of these: too little is recorded of them */
    int64_t cost_before_micros;    /* booked for `calls` */
    int64_t cost_after_micros;     /* of those allowed, at the new prices */
    int64_t cost_refused_micros;   /* booked for those refused */
    int64_t cost_unspent_micros;   /* at the new prices, of what `ended_early` left out; not in cost_after */
    int64_t cost_asks_micros;      /* what `asks_allowed` would cost, by estimate; not in cost_after */
    int32_t group_count;
    const struct replay_group *groups; /* the most refused first */
    int32_t ended_group_count;
    const struct replay_group *ended_groups; /* likewise, of those that ended early */
    int32_t refusal_count;
    const struct replay_refusal *refusals; /* the first REPLAY_REFUSALS_MAX, in the order of time */
};

/* Takes over one reference to the policy. */
MUST_USE enum status replay_open(struct policy *policy, struct replay **replay, struct replay_error *error);
void replay_free(struct replay *replay);

/* Before replay_run, in any order within a kind; limits before subjects, all of them before rows. False: no memory. */
MUST_USE bool replay_limit(struct replay *replay, const struct limit_def_row *row);
MUST_USE bool replay_account(struct replay *replay, const struct account_row *row);
MUST_USE bool replay_key(struct replay *replay, const struct key_row *row);
/* Of what people set there, what is about a limit of the configuration given, by its name. */
MUST_USE bool replay_subject(struct replay *replay, const struct subject_row *row);
/* `call`: its inputs; NULL = it has none. */
MUST_USE bool replay_row(
    struct replay *replay, const struct ledger_row *row, const struct recorded_call *call);

/* Once. The report lives as long as `replay`. `progress` false: stop, STATUS_CLOSED. */
MUST_USE enum status replay_run(struct replay *replay, int64_t since_ms, int64_t until_ms,
    bool (*progress)(void *user, int64_t done, int64_t total), void *user,
    struct replay_report *report, struct replay_error *error);
