/* rows/need.h: a row that a decision needs, by the name it is known under: what the core asks for and
 * the store is asked. */
#pragma once

#include "rows/rows.h"

enum need_kind {
    NEED_ACCOUNT,      /* id */
    NEED_ACCOUNT_NAME, /* text */
    NEED_KEY,          /* id */
    NEED_KEY_HASH,     /* text */
    NEED_THREAD,       /* id */
    NEED_THREAD_SIG,   /* id = account, kind, text = hash */
    NEED_SUBJECT,      /* id = account, kind, text = name */
    NEED_SUBJECT_ID,   /* id: whose meter it is, where that is not known by name */
    NEED_METER,        /* id = subject */
    NEED_HOLD,         /* id */
    NEED_REPORTED,     /* id = account, 0 = the company */
    NEED_ISSUED,       /* text */
    NEED_RECEIPT,      /* text */
    NEED_TREE, /* as THREAD_SIG: the subject that is the tree of that thread; the engine's alone */
    NEED_KIND_COUNT,
};
struct need {
    enum need_kind kind;
    int32_t sub_kind; /* enum thread_kind or subject_kind */
    int64_t id;
    bool with; /* its company, which is needed next, is welcome with it: a SUBJECT's METER, a KEY's ACCOUNT */
    char text[NAME_MAX_BYTES + 1];
};
#define NEEDS_MAX 128 /* of one event in one round */
struct needs {
    int32_t count;
    bool overflow;
    struct need items[NEEDS_MAX];
};

/* The row that was asked for. */
union need_row {
    struct account_row account;
    struct key_row key;
    struct thread_row thread;
    struct subject_row subject;
    struct meter_row meter;
    struct hold_row hold;
    struct reported_row reported;
    struct issued_row issued;
    struct receipt_row receipt;
};

/* The need, or the same one that is there already; NULL: there are too many. */
struct need *needs_add_id(struct needs *needs, enum need_kind kind, int64_t id);
struct need *needs_add_text(
    struct needs *needs, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text);
