/* tbl/histograms.h: every distribution that /metrics shows, written once.
 *
 * Columns: ID, BOUNDS, name, help. BOUNDS is a list below: upper ends of its buckets, ascending, in
 * microseconds where the name ends in _seconds, else in what is counted; values above the last are in +Inf
 * alone. */
#pragma once

/* What takes microseconds to seconds. */
#define BOUNDS_FAST(B)                                                                             \
    B(50) B(100) B(250) B(500) B(1000) B(2500) B(5000) B(10000) B(25000) B(50000) B(100000)       \
    B(250000) B(1000000) B(5000000)
/* What takes milliseconds to minutes. */
#define BOUNDS_SLOW(B)                                                                             \
    B(1000) B(5000) B(10000) B(50000) B(100000) B(250000) B(500000) B(1000000) B(2500000)         \
    B(5000000) B(10000000) B(30000000) B(60000000) B(120000000) B(300000000) B(600000000)
#define BOUNDS_TRIPS(B) B(0) B(1) B(2) B(3) B(4) B(5) B(6) B(8) B(16)
#define BOUNDS_BATCH(B) B(1) B(2) B(4) B(8) B(16) B(32) B(64) B(128) B(256)
#define HISTOGRAM_BOUNDS_MAX 16

#define HISTOGRAMS(X)                                                                              \
    X(CALL, SLOW, "tidegate_call_duration_seconds",                                                \
        "From the head of a model call that was sent to a provider to its end.")                   \
    X(FIRST_BYTE, SLOW, "tidegate_first_byte_seconds",                                             \
        "From the head of a model call to the head of its provider's answer.")                     \
    X(GATE, FAST, "tidegate_gate_seconds",                                                         \
        "From a model call's question to the gate to its answer, waiting lines included.")         \
    X(EXTENSION, FAST, "tidegate_hold_extension_seconds",                                          \
        "From a stream's question for a larger hold to the answer.")                               \
    X(COMMIT, FAST, "tidegate_commit_seconds", "Commits of the engine, made durable.")             \
    X(BATCH, BATCH, "tidegate_batch_events", "Events in a batch of the engine.")                   \
    X(BATCH_TRIPS, TRIPS, "tidegate_store_batch_round_trips",                                      \
        "Times that a batch of events waited for an answer of a PostgreSQL store.")

enum histogram {
#define HISTOGRAM_ENUM(id, bounds, name, help) HISTOGRAM_##id,
    HISTOGRAMS(HISTOGRAM_ENUM)
#undef HISTOGRAM_ENUM
        HISTOGRAM_COUNT
};
