/* relay/cooldown.h: when a route that failed is asked again. Arithmetic on memory the caller owns: no clock,
 * no I/O; times are wall milliseconds.
 *
 *   open      failures in a row are counted; so many (cooldown_after), and it cools down
 *   cooling   nobody asks it: for a second, doubled with every failure after that up to cooldown_max, a
 *             quarter more or less so that the routes of many gateways do not wake together; or for as
 *             long as its provider said, which goes before any rule of ours, and is a hint: windows there
 *             move, and quota comes back early, so after a quarter of an hour it is asked all the same
 *   probing   the time is over: one call asks it, all others pass it by until that one is answered
 *
 * An answer opens it, a whole one clears the count. A failure of a call that was sent before it began to cool
 * does not lengthen the wait: a hundred that fail together are one. */
#pragma once

#include "base/units.h"

#define COOLDOWN_FIRST_MS   INT64_C(1000)
#define COOLDOWN_HINT_MS    (15 * 60 * INT64_C(1000)) /* a provider's own wait is believed for so long at a time */
#define COOLDOWN_PROBE_MS   (30 * INT64_C(1000)) /* a probe that is not answered by then leaves its place */
#define COOLDOWN_BYGONE_MS  (15 * 60 * INT64_C(1000)) /* after the last of it nothing is known of it any more */
#define COOLDOWN_PROBING_MS INT64_C(1000)        /* what those that it passes by are told to wait */

enum cooldown_cause {
    COOLDOWN_NONE,
    COOLDOWN_FAILING, /* it failed so often in a row */
    COOLDOWN_ASKED,   /* its provider said when to come again */
    COOLDOWN_SPENT,   /* the money there is gone */
};
const char *cooldown_cause_word(enum cooldown_cause cause);

struct cooldown {
    int32_t failures;       /* in a row */
    int32_t rounds;         /* of cooling down since it last answered */
    int64_t until_ms;       /* asked by nobody before; 0 = it is open */
    int64_t probe_until_ms; /* somebody asks it now; 0 = nobody */
    int64_t failed_ms;      /* the last time */
    enum cooldown_cause cause;
};

struct cooldown_rule {
    int32_t after;   /* failures in a row; 0 = they never cool it down */
    int64_t max_ms;  /* of a wait of ours */
    uint64_t jitter; /* any number that differs from route to route */
};

/* 0 when a call may go there, else the moment at which it is worth trying again. */
int64_t cooldown_opens_ms(const struct cooldown *cooldown, int64_t now_ms);
/* A call goes there now. False: another probes it already. *probes: this one does. */
MUST_USE bool cooldown_take(struct cooldown *cooldown, int64_t now_ms, bool *probes);
/* A call that was sent at `sent_ms` failed. True: the route begins to cool down. */
bool cooldown_failed(struct cooldown *cooldown, const struct cooldown_rule *rule, int64_t sent_ms,
    int64_t now_ms);
/* Its provider asks for `wait_ms`, of which COOLDOWN_HINT_MS at most are waited before it is asked again. */
void cooldown_asked(
    struct cooldown *cooldown, enum cooldown_cause cause, int64_t wait_ms, int64_t now_ms);
/* It answered; `whole`: to its end. */
void cooldown_answered(struct cooldown *cooldown, bool whole);
/* The probe ended without telling anything: the next call is one. */
void cooldown_give_back(struct cooldown *cooldown);
/* Nothing needs to be remembered of it. */
bool cooldown_idle(const struct cooldown *cooldown);
/* It was long ago: nobody has asked it since its wait was over, or since it failed. */
bool cooldown_bygone(const struct cooldown *cooldown, int64_t now_ms);
