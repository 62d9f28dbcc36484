/* tbl/counters.h: every number that /metrics shows, written once.
 *
 * Columns: ID, KIND (COUNTER only rises, GAUGE goes both ways), name, labels, help. Rows of one
 * name stand together and share its kind and help; names of counters end in _total, and a unit is
 * part of the name. No gauge is ever below 0. tests/live/metrics.test.mjs raises every row. */
#pragma once

/* What clients of one endpoint were told; "other" are lists, and endpoints that are not there. */
#define COUNTERS_OF_ANSWERS(X, API, api)                                                           \
    X(ANSWERS_##API##_2XX, COUNTER, "tidegate_answers_total", "api=\"" api "\",status=\"2xx\"",    \
        "Answers begun at model endpoints.")                                                       \
    X(ANSWERS_##API##_3XX, COUNTER, "tidegate_answers_total", "api=\"" api "\",status=\"3xx\"",    \
        "Answers begun at model endpoints.")                                                       \
    X(ANSWERS_##API##_4XX, COUNTER, "tidegate_answers_total", "api=\"" api "\",status=\"4xx\"",    \
        "Answers begun at model endpoints.")                                                       \
    X(ANSWERS_##API##_5XX, COUNTER, "tidegate_answers_total", "api=\"" api "\",status=\"5xx\"",    \
        "Answers begun at model endpoints.")

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
        "Connections of clients closed at once because a bound was reached.")                      \
    X(UPSTREAM_REUSED, COUNTER, "tidegate_connections_reused_total", "",                           \
        "Calls to providers sent on a connection that was there already.")                         \
    X(UPSTREAM_FAILED, COUNTER, "tidegate_connects_failed_total", "",                              \
        "Calls to providers that got no connection.")                                              \
    X(HANDSHAKES_FULL, COUNTER, "tidegate_tls_handshakes_total", "result=\"full\"",                \
        "TLS handshakes of clients.")                                                              \
    X(HANDSHAKES_RESUMED, COUNTER, "tidegate_tls_handshakes_total", "result=\"resumed\"",          \
        "TLS handshakes of clients.")                                                              \
    X(HANDSHAKES_FAILED, COUNTER, "tidegate_tls_handshakes_total", "result=\"failed\"",            \
        "TLS handshakes of clients.")                                                              \
    X(CERTIFICATE_EXPIRES, GAUGE, "tidegate_certificate_expires_timestamp_seconds", "",            \
        "When the certificate of a listener ends, the first of several; 0 without TLS.")           \
    X(CLIENT_BYTES_IN, COUNTER, "tidegate_bytes_total", "side=\"client\",direction=\"in\"",        \
        "Bytes of HTTP read from and written to the other side, before TLS.")                      \
    X(CLIENT_BYTES_OUT, COUNTER, "tidegate_bytes_total", "side=\"client\",direction=\"out\"",      \
        "Bytes of HTTP read from and written to the other side, before TLS.")                      \
    X(UPSTREAM_BYTES_IN, COUNTER, "tidegate_bytes_total", "side=\"provider\",direction=\"in\"",    \
        "Bytes of HTTP read from and written to the other side, before TLS.")                      \
    X(UPSTREAM_BYTES_OUT, COUNTER, "tidegate_bytes_total", "side=\"provider\",direction=\"out\"",  \
        "Bytes of HTTP read from and written to the other side, before TLS.")                      \
    X(REQUESTS, COUNTER, "tidegate_requests_total", "", "Request heads read whole.")               \
    X(REQUESTS_MALFORMED, COUNTER, "tidegate_requests_malformed_total", "",                        \
        "Requests that broke a rule of HTTP.")                                                     \
    X(REQUESTS_LATE, COUNTER, "tidegate_requests_late_total", "",                                  \
        "Requests whose head or body did not arrive in time.")                                     \
    X(COOLDOWNS_FAILING, COUNTER, "tidegate_route_cooldowns_total", "cause=\"failing\"",          \
        "Routes that began to be left alone, by what for: failures in a row, a wait that the provider asked for, spent money there.") \
    X(COOLDOWNS_ASKED, COUNTER, "tidegate_route_cooldowns_total", "cause=\"asked\"",              \
        "Routes that began to be left alone, by what for: failures in a row, a wait that the provider asked for, spent money there.") \
    X(COOLDOWNS_SPENT, COUNTER, "tidegate_route_cooldowns_total", "cause=\"spent\"",              \
        "Routes that began to be left alone, by what for: failures in a row, a wait that the provider asked for, spent money there.") \
    X(ROUTES_COOLING, GAUGE, "tidegate_routes_cooling", "",                                        \
        "Routes that are left alone now.")                                                         \
    X(KEY_FAILURES, COUNTER, "tidegate_key_failures_total", "",                                    \
        "Requests without a key that is known and valid.")                                         \
    X(BODY_BYTES_BUFFERED, GAUGE, "tidegate_body_buffered_bytes", "",                              \
        "Bytes of bodies that count on bodies_max now.")                                           \
    X(BODIES_REFUSED, COUNTER, "tidegate_bodies_refused_total", "",                                \
        "Requests and answers given up because bodies_max was reached.")                           \
    X(REQUESTS_OPEN, GAUGE, "tidegate_model_requests_open", "",                                    \
        "Requests to model endpoints in flight: not answered, or not settled.")                    \
    X(STREAMS_OPEN, GAUGE, "tidegate_streams_open", "",                                            \
        "Requests in flight that are answered by a stream.")                                       \
    COUNTERS_OF_ANSWERS(X, CHAT, "chat")                                                           \
    COUNTERS_OF_ANSWERS(X, RESPONSES, "responses")                                                 \
    COUNTERS_OF_ANSWERS(X, MESSAGES, "messages")                                                   \
    COUNTERS_OF_ANSWERS(X, COUNT_TOKENS, "count_tokens")                                           \
    COUNTERS_OF_ANSWERS(X, EMBEDDINGS, "embeddings")                                               \
    COUNTERS_OF_ANSWERS(X, OTHER, "other")                                                         \
    X(REFUSALS_BAD, COUNTER, "tidegate_refusals_total", "class=\"bad\"",                           \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_SPENT, COUNTER, "tidegate_refusals_total", "class=\"spent\"",                       \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_WAIT, COUNTER, "tidegate_refusals_total", "class=\"wait\"",                         \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_AUTH, COUNTER, "tidegate_refusals_total", "class=\"auth\"",                         \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_FORBID, COUNTER, "tidegate_refusals_total", "class=\"forbid\"",                     \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_ABSENT, COUNTER, "tidegate_refusals_total", "class=\"absent\"",                     \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_STORE, COUNTER, "tidegate_refusals_total", "class=\"store\"",                       \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(REFUSALS_GATE, COUNTER, "tidegate_refusals_total", "class=\"gate\"",                         \
        "Requests refused at model endpoints, by what can be done about it.")                      \
    X(CALLS_ALLOWED, COUNTER, "tidegate_calls_total", "verdict=\"allowed\"",                       \
        "Model calls decided at the gate.")                                                        \
    X(CALLS_REFUSED, COUNTER, "tidegate_calls_total", "verdict=\"refused\"",                       \
        "Model calls decided at the gate.")                                                        \
    X(REFUSALS_REPEATED, COUNTER, "tidegate_refusals_repeated_total", "",                          \
        "Model calls refused again without asking the gate, since nothing had changed.")           \
    X(CALLS_WAITED, COUNTER, "tidegate_calls_waited_total", "",                                    \
        "Model calls that stood in a waiting line first.")                                         \
    X(CALLS_WAITING, GAUGE, "tidegate_calls_waiting", "", "Model calls in a waiting line now.")    \
    X(ATTEMPTS, COUNTER, "tidegate_attempts_total", "",                                            \
        "Calls handed to the connections of a provider.")                                          \
    X(ATTEMPTS_UNCONNECTED, COUNTER, "tidegate_attempts_failed_total", "cause=\"connect\"",        \
        "Attempts without a usable answer.")                                                       \
    X(ATTEMPTS_LATE, COUNTER, "tidegate_attempts_failed_total", "cause=\"timeout\"",               \
        "Attempts without a usable answer.")                                                       \
    X(ATTEMPTS_BROKEN, COUNTER, "tidegate_attempts_failed_total", "cause=\"broken\"",              \
        "Attempts without a usable answer.")                                                       \
    X(ATTEMPTS_REFUSED, COUNTER, "tidegate_attempts_failed_total", "cause=\"status\"",             \
        "Attempts without a usable answer.")                                                       \
    X(REROUTES, COUNTER, "tidegate_reroutes_total", "",                                            \
        "Attempts after a first one, of the same call.")                                  \
    X(CLIENTS_GONE, COUNTER, "tidegate_clients_gone_total", "",                                    \
        "Requests to model endpoints whose client left before the end.")                           \
    X(STREAMS_CUT, COUNTER, "tidegate_streams_cut_total", "cause=\"provider\"",                    \
        "Streams that ended early, cleanly for the client.")                                       \
    X(STREAMS_CUT_BY_LIMIT, COUNTER, "tidegate_streams_cut_total", "cause=\"limit\"",              \
        "Streams that ended early, cleanly for the client.")                                       \
    X(TOKENS_INPUT, COUNTER, "tidegate_tokens_total", "kind=\"input\"", "Tokens settled.")         \
    X(TOKENS_CACHE_READ, COUNTER, "tidegate_tokens_total", "kind=\"cache_read\"",                  \
        "Tokens settled.")                                                                         \
    X(TOKENS_CACHE_WRITE, COUNTER, "tidegate_tokens_total", "kind=\"cache_write\"",                \
        "Tokens settled.")                                                                         \
    X(TOKENS_OUTPUT, COUNTER, "tidegate_tokens_total", "kind=\"output\"", "Tokens settled.")       \
    X(COST_MICROS, COUNTER, "tidegate_cost_micro_usd_total", "", "Cost booked.")                   \
    X(COST_ESTIMATED_MICROS, COUNTER, "tidegate_cost_estimated_micro_usd_total", "",               \
        "Cost of the same calls as it was estimated when they were allowed, once they are over.")                      \
    X(COST_DISPUTED, COUNTER, "tidegate_cost_disputed_total", "",                                  \
        "Costs given by a provider that the price book contradicts.")                              \
    X(ESTIMATES_BELOW_50, COUNTER, "tidegate_input_estimates_total", "off_percent=\"..-50\"",      \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_BELOW_25, COUNTER, "tidegate_input_estimates_total", "off_percent=\"-50..-25\"",   \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_BELOW_10, COUNTER, "tidegate_input_estimates_total", "off_percent=\"-25..-10\"",   \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_NEAR, COUNTER, "tidegate_input_estimates_total", "off_percent=\"-10..10\"",        \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_ABOVE_10, COUNTER, "tidegate_input_estimates_total", "off_percent=\"10..25\"",     \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_ABOVE_25, COUNTER, "tidegate_input_estimates_total", "off_percent=\"25..50\"",     \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_ABOVE_50, COUNTER, "tidegate_input_estimates_total", "off_percent=\"50..100\"",    \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(ESTIMATES_ABOVE_100, COUNTER, "tidegate_input_estimates_total", "off_percent=\"100..\"",     \
        "Calls by real minus estimated input, in percent of the estimate.")                        \
    X(OVERSHOOT_MICROS_MAX, GAUGE, "tidegate_cap_overshoot_micro_usd_max", "",                     \
        "The most that a cost cap was ever passed by, settled and held, when a call was settled.")      \
    X(WARNINGS, COUNTER, "tidegate_warnings_total", "",                                            \
        "Percentages of a limit's cap that were reached and told of, once a window.")              \
    X(SHADOWED, COUNTER, "tidegate_shadow_refusals_total", "",                                     \
        "Times a limit that is only watched would have refused a call.")                           \
    X(WEBHOOKS_DELIVERED, COUNTER, "tidegate_webhook_deliveries_total", "result=\"taken\"",        \
        "Tries to deliver a message to a webhook, and messages that are tried no more.")           \
    X(WEBHOOKS_FAILED, COUNTER, "tidegate_webhook_deliveries_total", "result=\"failed\"",          \
        "Tries to deliver a message to a webhook, and messages that are tried no more.")           \
    X(WEBHOOKS_GIVEN_UP, COUNTER, "tidegate_webhook_deliveries_total", "result=\"given_up\"",      \
        "Tries to deliver a message to a webhook, and messages that are tried no more.")           \
    X(WEBHOOKS_WAITING, GAUGE, "tidegate_webhook_messages_waiting", "",                            \
        "Messages to webhooks that wait, as of the last count; on the gateway that sends them.")   \
    X(HOLDS_OPEN, GAUGE, "tidegate_holds_open", "", "Holds of this gateway not yet resolved.")     \
    X(HOLDS_EXTENDED, COUNTER, "tidegate_holds_extended_total", "",                                \
        "Times a running call asked for more room, or told its real input.")                       \
    X(HOLDS_ORPHANED, COUNTER, "tidegate_holds_orphaned_total", "",                                \
        "Holds found open without an owner and booked.")                                           \
    X(LEASES_LOST, COUNTER, "tidegate_leases_lost_total", "",                                      \
        "Times this gateway was silent for longer than its lease and began a new epoch.")          \
    X(EVENTS, COUNTER, "tidegate_events_total", "",                                                \
        "Events taken by the engine, also to try them again.")                                     \
    X(BATCHES, COUNTER, "tidegate_batches_total", "", "Batches of events taken by the engine.")    \
    X(COMMITS, COUNTER, "tidegate_commits_total", "", "Transactions committed by the engine.")     \
    X(BATCHES_RETRIED, COUNTER, "tidegate_batches_retried_total", "",                              \
        "Batches run again because somebody else wrote meanwhile.")                                \
    X(THREADS_SWEPT, COUNTER, "tidegate_swept_total", "kind=\"thread\"",                           \
        "Threads, and subjects with their meters, deleted because nobody used them for as long as they are kept.") \
    X(SUBJECTS_SWEPT, COUNTER, "tidegate_swept_total", "kind=\"subject\"",                         \
        "Threads, and subjects with their meters, deleted because nobody used them for as long as they are kept.") \
    X(EVENTS_DAMAGED, COUNTER, "tidegate_events_damaged_total", "",                                \
        "Events not decided because their rows in the store make no sense.")                       \
    X(STORE_FAILURES, COUNTER, "tidegate_store_failures_total", "",                                \
        "Transactions that the store did not take.")                                               \
    X(STORE_DOWN, GAUGE, "tidegate_store_down", "", "1 while the ledger cannot be written.")       \
    X(STORE_ROUND_TRIPS, COUNTER, "tidegate_store_round_trips_total", "",                          \
        "Times the engine waited for an answer of a PostgreSQL store.")                            \
    X(STORE_RECONNECTS, COUNTER, "tidegate_store_reconnects_total", "",                            \
        "Connections to a PostgreSQL store made anew after one was lost.")                         \
    X(NODES_FENCED, COUNTER, "tidegate_gateways_fenced_total", "",                                 \
        "Other gateways whose lease was over, and whose calls were booked from here.")             \
    X(SETTLEMENTS_WAITING, GAUGE, "tidegate_settlements_waiting", "",                              \
        "Settlements that wait for a store that can write.")                                       \
    X(RELOADS_OK, COUNTER, "tidegate_config_reloads_total", "result=\"ok\"",                       \
        "Times the configuration was read again.")                                                 \
    X(RELOADS_FAILED, COUNTER, "tidegate_config_reloads_total", "result=\"failed\"",               \
        "Times the configuration was read again.")                                                 \
    X(RELOAD_GOOD, GAUGE, "tidegate_config_last_reload_successful", "",                            \
        "1 unless the last reload was refused.")                                                   \
    X(RELOAD_TIME, GAUGE, "tidegate_config_last_reload_success_timestamp_seconds", "",             \
        "When the configuration in force was read.")                                               \
    X(ENGINE_QUEUED, GAUGE, "tidegate_engine_queued_events", "",                                   \
        "Events that the engine has not taken yet.")                                               \
    X(STORE_WAL_BYTES, GAUGE, "tidegate_store_wal_bytes", "",                                      \
        "Size of the write-ahead log beside an SQLite store.")                                     \
    X(LOG_LINES_LOST, COUNTER, "tidegate_log_lines_lost_total", "",                                \
        "Log lines that could not be written at once.")

enum counter {
#define COUNTER_ENUM(id, kind, name, labels, help) COUNTER_##id,
    COUNTERS(COUNTER_ENUM)
#undef COUNTER_ENUM
        COUNTER_COUNT
};
