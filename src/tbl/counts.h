/* tbl/counts.h: the words of a limit (DESIGN section 2), and which combinations exist in this version.
 * What is a word of the language but not a combination that exists is refused at load, with its place. */
#pragma once

#include <stdbool.h>

#define COUNT_KINDS(X)                                                                             \
    X(COUNT_COST, "cost")                                                                          \
    X(COUNT_TOKENS, "tokens")                                                                      \
    X(COUNT_REQUESTS, "requests")                                                                  \
    X(COUNT_IN_FLIGHT, "in_flight")                                                                \
    X(COUNT_THREAD_DAYS, "thread_days")                                                            \
    X(COUNT_LIVE_SESSIONS, "live_sessions")                                                        \
    X(COUNT_ADMITS, "admits")                                                                      \
    X(COUNT_REPORTED, "reported")

#define PER_KINDS(X)                                                                               \
    X(PER_GATEWAY, "gateway")                                                                      \
    X(PER_ACCOUNT, "account")                                                                      \
    X(PER_KEY, "key")                                                                              \
    X(PER_THREAD_TREE, "thread_tree")                                                              \
    X(PER_MODEL, "model")                                                                          \
    X(PER_ACCOUNT_MODEL, "account_model")                                                          \
    X(PER_PLAN, "plan")                                                                            \
    X(PER_GROUP, "group")                                                                          \
    X(PER_TAG, "tag")                                                                              \
    X(PER_TIER, "tier")                                                                            \
    X(PER_ORGANISATION, "organisation")

#define WINDOW_KINDS(X)                                                                            \
    X(WINDOW_LIFETIME, "lifetime")                                                                 \
    X(WINDOW_DAY, "day")                                                                           \
    X(WINDOW_WEEK, "week")                                                                         \
    X(WINDOW_MONTH, "month")                                                                       \
    X(WINDOW_BUCKET, "rate")                                                                       \
    X(WINDOW_CONCURRENCY, "concurrency")                                                           \
    X(WINDOW_ROLLING, "rolling")                                                                   \
    X(WINDOW_FIRST_USE, "first_use")                                                               \
    X(WINDOW_REPORTED, "reported")

#define AT_CAP_KINDS(X)                                                                            \
    X(AT_CAP_REFUSE, "refuse")                                                                     \
    X(AT_CAP_QUEUE, "queue")                                                                       \
    X(AT_CAP_BILL_USER, "bill_user")                                                               \
    X(AT_CAP_REROUTE, "reroute")                                                                   \
    X(AT_CAP_DOWNGRADE, "downgrade")                                                               \
    X(AT_CAP_PAUSE, "pause")                                                                       \
    X(AT_CAP_WARN, "warn")                                                                         \
    X(AT_CAP_SHADOW, "shadow")

/* Which counts, subjects and windows go together. Cost, tokens and requests add up over any window for
 * anybody; calls in flight have none; what a provider reports is of an account's
 * credentials, or of the company's, over that provider's window. */
#define LIMIT_SUBJECTS(X, counts, window)                                                          \
    X(counts, PER_GATEWAY, window)                                                                 \
    X(counts, PER_ACCOUNT, window)                                                                 \
    X(counts, PER_KEY, window)                                                                     \
    X(counts, PER_THREAD_TREE, window)                                                             \
    X(counts, PER_MODEL, window)                                                                   \
    X(counts, PER_ACCOUNT_MODEL, window)                                                           \
    X(counts, PER_PLAN, window)                                                                    \
    X(counts, PER_GROUP, window)                                                                   \
    X(counts, PER_TAG, window)                                                                     \
    X(counts, PER_TIER, window)                                                                    \
    X(counts, PER_ORGANISATION, window)
#define LIMIT_WINDOWS(X, counts)                                                                   \
    LIMIT_SUBJECTS(X, counts, WINDOW_LIFETIME)                                                     \
    LIMIT_SUBJECTS(X, counts, WINDOW_DAY)                                                          \
    LIMIT_SUBJECTS(X, counts, WINDOW_WEEK)                                                         \
    LIMIT_SUBJECTS(X, counts, WINDOW_MONTH)                                                        \
    LIMIT_SUBJECTS(X, counts, WINDOW_BUCKET)                                                       \
    LIMIT_SUBJECTS(X, counts, WINDOW_ROLLING)                                                      \
    LIMIT_SUBJECTS(X, counts, WINDOW_FIRST_USE)
#define LIMIT_FORMS(X)                                                                             \
    LIMIT_WINDOWS(X, COUNT_COST)                                                                   \
    LIMIT_WINDOWS(X, COUNT_TOKENS)                                                                 \
    LIMIT_WINDOWS(X, COUNT_REQUESTS)                                                               \
    LIMIT_SUBJECTS(X, COUNT_IN_FLIGHT, WINDOW_CONCURRENCY)                                         \
    X(COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED)                                                \
    X(COUNT_REPORTED, PER_GATEWAY, WINDOW_REPORTED)

#define WORD_ENUM(name, word) name,
enum count_kind { COUNT_KINDS(WORD_ENUM) COUNT_KIND_COUNT };
enum per_kind { PER_KINDS(WORD_ENUM) PER_KIND_COUNT };
enum window_kind { WINDOW_KINDS(WORD_ENUM) WINDOW_KIND_COUNT };
enum at_cap_kind { AT_CAP_KINDS(WORD_ENUM) AT_CAP_KIND_COUNT };
#undef WORD_ENUM

struct limit_form {
    enum count_kind counts;
    enum per_kind per;
    enum window_kind window;
};

const char *count_word(enum count_kind value);
const char *per_word(enum per_kind value);
const char *window_word(enum window_kind value);
const char *at_cap_word(enum at_cap_kind value);
int limit_form_exists(enum count_kind counts, enum per_kind per, enum window_kind window);
/* Whether what such a limit counts belongs to many: to one of them it is told as a share alone. */
bool per_is_shared(enum per_kind per);
