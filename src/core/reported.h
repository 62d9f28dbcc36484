/* core/reported.h: limits on a percentage that a provider reports of a window of its own.
 *
 * Compare only: nothing is held, nothing is charged. The limit refuses iff what was observed has reached the
 * cap, to the thousandth of a percent; rounding is for people. A window whose reset has passed is at 0 %. What
 * was never reported, and what is older than the limit's max_age, is not known: on_missing and on_stale say
 * what then. A window of a model set (7d_opus) counts for the models it governs. Rules: DESIGN section 2,
 * spec/thresholds-and-spend-limits.md sections A4 and A8. */
#pragma once

#include "policy/policy.h"
#include "rows/event.h"

struct reported_ask {
    const struct policy *policy;    /* whose providers are told apart; NULL = nobody's */
    const struct limit *limit;
    const struct reported_row *row; /* NULL = nothing was ever reported */
    const struct model *model;      /* NULL = any: windows of every model count */
    const char *credential;         /* the provider that would be used; NULL = not known. Where nothing is reported of
                                     * it, nor of one without a name, the fullest of those that no provider is called
                                     * is judged; of the company's own credentials, none */
    int64_t cap_pct;                /* 1..100; CAP_UNLIMITED = no cap */
    int64_t now_ms;
};

enum reported_state {
    REPORTED_KNOWN,   /* somebody said so, lately */
    REPORTED_RESET,   /* its reset has passed since: 0 % */
    REPORTED_STALE,   /* older than max_age */
    REPORTED_MISSING, /* nobody said anything */
    REPORTED_STATE_COUNT,
};
const char *reported_state_word(enum reported_state state);

struct reported_answer {
    enum reason reason;                   /* REASON_OK = it admits; else which threshold, or that it is not known */
    enum reported_state state;
    const struct reported_window *window; /* the one that decides: the fullest; NULL where nothing is reported */
    int64_t used_milli_pct;               /* as it counts: 0 after a reset */
    int64_t resets_at_ms;                 /* 0 = not known, or past */
    int64_t retry_after_ms;               /* of a refusal: its reset, else when the report is too old to count; 0 = neither */
};
struct reported_answer reported_judge(const struct reported_ask *ask);

/* Whether the window is one for this limit: of its length, and with models it governs at all. */
bool reported_is_of(const struct limit *limit, const struct reported_window *window);

/* What a report changes in the row: a window of the same credential is replaced, unless what is stored is the
 * newer one; `whole`: what else the row has of these credentials leaves. The oldest gives way where there is
 * no room. A captured_ms of 0, or to come, is now. False: nothing has changed. */
bool reported_merge(struct reported_row *row, const struct reported_row *report, bool whole, int64_t now_ms);
