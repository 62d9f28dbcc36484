/* api/adjust_priv.h: what a correction says, for its two files. */
#pragma once

#include "api/api_priv.h"

/* Whom a limit may count for that has a name and belongs to no account. */
enum adjust_name {
    ADJUST_MODEL,
    ADJUST_TIER,
    ADJUST_PLAN,
    ADJUST_GROUP,
    ADJUST_ORGANISATION,
    ADJUST_TAG,
    ADJUST_NAME_COUNT,
};
struct adjust_body {
    int64_t request, delta_micros, delta; /* 0 = not given; so are "" */
    int64_t key, thread;
    bool credit; /* it may leave less than nothing used */
    char account[NAME_MAX_BYTES + 1], limit[NAME_MAX_BYTES + 1], note[NAME_MAX_BYTES + 1],
        source[NAME_MAX_BYTES + 1];
    char names[ADJUST_NAME_COUNT][NAME_MAX_BYTES + 1];
};

bool adjust_names_somebody(const struct adjust_body *body);
/* Who says so, onto the ledger. */
void adjust_source(struct ask *ask, const struct adjust_body *body, struct event *event);
/* As change_once, with the note. */
MUST_USE bool adjust_ask_gate(struct api_worker *worker, struct ask *ask, struct event *event,
    const struct adjust_body *body, struct verdict *verdict);
/* --- adjust_use.c */
void adjust_use(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct adjust_body *body);
