/* tbl/checks.h: the order of checks, one matrix (DESIGN section 5). Rows are checks, columns are kinds of
 * events; a number is the position, 0 means the check does not apply. */
#pragma once

#define CHECKS(X)                                                                                  \
    /* name, words, call, count_tokens */                                                          \
    X(CHECK_KEY, "key valid", 1, 1)                                                                \
    X(CHECK_ACCOUNT, "account ok", 2, 2)                                                           \
    X(CHECK_MODEL, "model known and served at this endpoint", 3, 3)                                \
    X(CHECK_SESSION, "session gate", 0, 0)                                                         \
    X(CHECK_PAYER, "tentative payer", 5, 4)                                                        \
    X(CHECK_TREE, "thread and its parent known, thread-tree lifetime", 6, 0)                       \
    X(CHECK_REPORTED, "reported windows, short before long", 7, 0)                                 \
    X(CHECK_PERIOD, "account period", 8, 0)                                                        \
    X(CHECK_OTHER, "other limits, in configuration order", 9, 0)                                   \
    X(CHECK_ROUTES, "routes: eligible, ranked, first that all its limits admit", 10, 5)            \
    X(CHECK_HOLD, "payer and holds committed, all or none", 11, 0)

#define CHECK_ENUM(name, words, call, count_tokens) name,
enum check_kind { CHECKS(CHECK_ENUM) CHECK_KIND_COUNT };
#undef CHECK_ENUM
