/* tbl/trails.h: what each thread remembers of what it did last, for a crash dump, written once.
 *
 * Columns: ID, word, what its id is, what its two numbers are. Ids, states and lengths only: what a client or
 * a provider sent, and whatever is secret, has no place here. */
#pragma once

#define TRAILS(X)                                                                                  \
    X(REQUEST, "request", "number of the loop", "api", "headers")                                  \
    X(BODY, "body", "account", "bytes", "fault")                                                   \
    X(ALLOWED, "allowed", "hold", "route", "estimated input tokens")                               \
    X(REFUSED, "refused", "account", "reason", "ledger row")                                       \
    X(SENT, "sent", "hold", "attempt", "body bytes")                                               \
    X(ANSWER, "answer", "hold", "status", "streamed")                                              \
    X(EXTENDED, "extended", "hold", "output tokens allowed", "over")                               \
    X(SETTLED, "settled", "hold", "reason", "micro-USD")                                           \
    X(CLIENT_GONE, "client_gone", "hold", "state", "bytes of body")                                \
    X(BATCH, "batch", "events", "events still queued", "settlements waiting")                      \
    X(COMMIT, "commit", "batch", "status", "microseconds")                                         \
    X(CONTROL, "control", "endpoint", "status", "bytes of answer")

enum trail {
#define TRAIL_ENUM(id, word, of, first, second) TRAIL_##id,
    TRAILS(TRAIL_ENUM)
#undef TRAIL_ENUM
        TRAIL_COUNT
};
