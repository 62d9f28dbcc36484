/* wire/quota.h: what an upstream's answer means for the route it came from: whether it cost
 * anything, whether the next route may be tried, and how long this one should be left alone. Facts:
 * spec/wire.md sections 3 and 4. */
#pragma once

#include "tbl/apis.h"
#include "wire/http.h"

#define WAIT_MS_MAX (35 * INT64_C(86400000)) /* a longer one is no answer */

/* Word, then what follows from it. */
#define UPSTREAM_CLASSES(X)                                                                        \
    X(UPSTREAM_FINE, "fine")     /* 2xx: relay it */                                               \
    X(UPSTREAM_CLIENT, "client") /* the request's own fault: pass it on, try no other route */     \
    X(UPSTREAM_BUSY, "busy")     /* a limit that refills by itself: close for the wait, go on */   \
    X(UPSTREAM_SPENT, "spent")   /* quota, credits or spend cap are gone: close for long */        \
    X(UPSTREAM_REJECTED, "rejected") /* the credential, or what it may do: 502 where it is ours */ \
    X(UPSTREAM_FAILING, "failing")   /* its own trouble: 5xx, overloaded; go on to the next */     \
    X(UPSTREAM_STRANGE, "strange")   /* 1xx or 3xx where an answer was due */

enum upstream_class {
#define UPSTREAM_ENUM(name, word) name,
    UPSTREAM_CLASSES(UPSTREAM_ENUM)
#undef UPSTREAM_ENUM
};
const char *upstream_class_word(enum upstream_class class_);

struct judgement {
    enum upstream_class class_;
    int64_t wait_ms; /* until it may be asked again; 0 = it did not say */
    bool unbilled;   /* known to have cost nothing */
    bool next_route; /* another route may serve this call; where it is billed, for a second bill */
};

/* `head` is the upstream's. `body` may be cut or empty: it is used for what it shows. */
struct judgement judge_answer(
    enum dialect dialect, const struct http_head *head, struct slice body, int64_t now_ms);

/* The wait an answer asks for, in the order retry-after-ms, retry-after, the dialect's reset of the
 * limit that has nothing left, the JSON body, its text; 0 = none that makes sense. */
int64_t judge_wait_ms(
    enum dialect dialect, const struct http_head *head, struct slice body, int64_t now_ms);

/* A wait as any provider writes it: "2m59.56s", "120ms", "17", "7.66s", epoch seconds or
 * milliseconds, RFC 3339, an HTTP date. 0 = not one, past, or beyond WAIT_MS_MAX. */
int64_t wait_parse(struct slice text, int64_t now_ms);
/* Time to the next midnight in California, by the rule of United States daylight time since
 * 2007. */
int64_t wait_to_pacific_midnight(int64_t now_ms);
