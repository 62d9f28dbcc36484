/* tbl/counters.h: every number that /metrics shows, written once.
 *
 * Columns: ID, KIND (COUNTER only rises, GAUGE goes both ways), name, labels, help. Rows of one
 * name stand together and share its kind and help; names of counters end in _total, and a unit is
 * part of the name. */
#pragma once

#define COUNTERS(X)                                                                                \
    X(CONNECTIONS_OPEN, GAUGE, "tidegate_connections_open", "side=\"client\"",                     \
        "Connections open now.")                                                                   \
    X(UPSTREAM_CONNECTIONS_OPEN, GAUGE, "tidegate_connections_open", "side=\"provider\"",          \
        "Connections open now.")                                                                   \
    X(CONNECTIONS, COUNTER, "tidegate_connections_total", "side=\"client\"",                       \
        "Connections accepted from clients, made to providers.")                                   \
    X(UPSTREAM_CONNECTIONS, COUNTER, "tidegate_connections_total", "side=\"provider\"",            \
        "Connections accepted from clients, made to providers.")                                   \
    X(CONNECTIONS_REFUSED, COUNTER, "tidegate_connections_refused_total", "",                      \
        "Connections closed at once because a bound was reached.")                                 \
    X(REQUESTS, COUNTER, "tidegate_requests_total", "", "Request heads read whole.")               \
    X(REQUESTS_MALFORMED, COUNTER, "tidegate_requests_malformed_total", "",                        \
        "Requests that broke a rule of HTTP.")                                                     \
    X(KEY_FAILURES, COUNTER, "tidegate_key_failures_total", "",                                    \
        "Requests without a key that is known and valid.")                                         \
    X(BODY_BYTES_BUFFERED, GAUGE, "tidegate_body_buffered_bytes", "",                              \
        "Bytes of request bodies in memory now.")                                                  \
    X(STREAMS_OPEN, GAUGE, "tidegate_streams_open", "", "Answers being streamed now.")             \
    X(CALLS_ALLOWED, COUNTER, "tidegate_calls_total", "verdict=\"allowed\"",                       \
        "Model calls decided at the gate.")                                                        \
    X(CALLS_REFUSED, COUNTER, "tidegate_calls_total", "verdict=\"refused\"",                       \
        "Model calls decided at the gate.")                                                        \
    X(CALLS_WAITED, COUNTER, "tidegate_calls_waited_total", "",                                    \
        "Model calls that stood in a waiting line first.")                                         \
    X(REFUSALS_CACHED, COUNTER, "tidegate_refusals_cached_total", "",                              \
        "Refusals answered by a loop itself, without the engine.")                                 \
    X(ATTEMPTS, COUNTER, "tidegate_attempts_total", "", "Calls sent to a provider.")               \
    X(ATTEMPTS_FAILED, COUNTER, "tidegate_attempts_failed_total", "",                              \
        "Calls to a provider without a usable answer.")                                            \
    X(CLIENTS_GONE, COUNTER, "tidegate_clients_gone_total", "",                                    \
        "Calls whose client left before the end.")                                                 \
    X(STREAMS_CUT, COUNTER, "tidegate_streams_cut_total", "cause=\"provider\"",                    \
        "Streams that ended early, cleanly for the client.")                                       \
    X(STREAMS_CUT_BY_LIMIT, COUNTER, "tidegate_streams_cut_total", "cause=\"limit\"",              \
        "Streams that ended early, cleanly for the client.")                                       \
    X(TOKENS_INPUT, COUNTER, "tidegate_tokens_total", "kind=\"input\"", "Tokens settled.")         \
    X(TOKENS_OUTPUT, COUNTER, "tidegate_tokens_total", "kind=\"output\"", "Tokens settled.")       \
    X(COST_MICROS, COUNTER, "tidegate_cost_micro_usd_total", "", "Cost settled.")                  \
    X(COST_ESTIMATED_MICROS, COUNTER, "tidegate_cost_estimated_micro_usd_total", "",               \
        "Estimated cost of the calls settled.")                                                    \
    X(COST_DISAGREEMENTS, COUNTER, "tidegate_cost_disagreements_total", "",                        \
        "Costs given by a provider that the price book contradicts.")                              \
    X(OVERSHOOT_MICROS_MAX, GAUGE, "tidegate_cap_overshoot_micro_usd_max", "",                     \
        "The most that a cost cap was ever passed by.")                                            \
    X(HOLDS_OPEN, GAUGE, "tidegate_holds_open", "", "Holds not yet resolved.")                     \
    X(HOLDS_ORPHANED, COUNTER, "tidegate_holds_orphaned_total", "",                                \
        "Holds found open without an owner and booked.")                                           \
    X(EVENTS, COUNTER, "tidegate_events_total", "", "Events decided by the engine.")               \
    X(BATCHES, COUNTER, "tidegate_batches_total", "", "Transactions committed by the engine.")     \
    X(BATCHES_RETRIED, COUNTER, "tidegate_batches_retried_total", "", "Batches run again.")        \
    X(STORE_FAILURES, COUNTER, "tidegate_store_failures_total", "",                                \
        "Store operations that failed.")                                                           \
    X(SETTLEMENTS_WAITING, GAUGE, "tidegate_settlements_waiting", "",                              \
        "Settlements not yet written.")                                                            \
    X(LOG_LINES_LOST, COUNTER, "tidegate_log_lines_lost_total", "",                                \
        "Log lines that could not be written.")

enum counter {
#define COUNTER_ENUM(id, kind, name, labels, help) COUNTER_##id,
    COUNTERS(COUNTER_ENUM)
#undef COUNTER_ENUM
        COUNTER_COUNT
};
