/* tbl/api_faults.h: what the control plane refuses beyond tbl/reasons.h, written once.
 * Columns: NAME, code, HTTP status, what is wrong in a sentence for a person. */
#pragma once

#define API_FAULTS(X)                                                                                            \
    X(ADMIN_REMOTE, "admin_needs_loopback", 403, "Admin endpoints are served over TLS, or to this machine alone: on the control socket, or on a loopback listener and not through a proxy.") \
    X(CONTROL_ONLY, "endpoint_not_found", 404, "The control socket serves the control plane; model calls go to a listen address.") \
    X(FIELD, "body_field_invalid", 400, "A field of the body is missing or wrong.")                              \
    X(PARAMETER, "parameter_invalid", 400, "A parameter of the query is wrong.")                                 \
    X(ACCOUNT_EXISTS, "account_exists", 409, "There is an account of this name already.")                        \
    X(PLAN_UNKNOWN, "plan_unknown", 400, "There is no such plan.")                                               \
    X(KEY_UNKNOWN, "key_not_found", 404, "There is no such key.")                                                \
    X(WEBHOOK_UNKNOWN, "webhook_not_found", 404, "The configuration has no webhook of this name.")                \
    X(REQUEST_UNKNOWN, "request_not_found", 404, "There is no request of this id, or its rows were older than they are kept.") \
    X(REQUEST_ELSEWHERE, "request_not_found", 404, "There is no request of this id, or its rows were older than they are kept; what another gateway of this store refused is on the books within a second: ask again.") \
    X(REQUEST_UNBOOKED, "request_not_found", 404, "A request of this form of id was answered before the gate decided anything: it cost nothing, and only a log line tells of it.") \
    X(CONFIG_NONE, "configuration_none", 409, "There is no configuration to read again: this is a sandbox, or no gateway runs.") \
    X(CONFIG_WRONG, "configuration_wrong", 409, "The configuration stays as it was.")                            \
    X(LIMIT_UNKNOWN, "limit_not_found", 404, "No limit of this name is configured.")                             \
    X(LIMIT_NONE, "limit_not_found", 404, "No limit on what an account may spend is configured: add one, such as `limits: {month-spend: {counts: cost, per: account, window: month, cap: {default: 50 USD}}}`.") \
    X(TREE_LIMIT_NONE, "limit_not_found", 404, "No limit on what a tree of threads may spend is configured: add one, such as `limits: {chat-lifetime: {counts: cost, per: thread_tree, window: lifetime, cap: {set: spend_limit_micros}}}`.") \
    X(GROUP_UNKNOWN, "group_not_found", 404, "There is no such group in the configuration.")                     \
    X(SUBJECT_UNKNOWN, "subject_not_found", 404, "The limit counts for nobody of this name.") \
    X(CAP_NONE, "override_not_found", 404, "Nothing is set there that could be taken back.")                     \
    X(CAP_MISPLACED, "cap_misplaced", 400, "This limit does not count for whom this would set it.") \
    X(CREDIT, "credit", 409, "That is more than was used: it would leave a credit, which lets through as much more than the cap. Where that is meant, say so with `credit`.") \
    X(TOO_MUCH, "amount_too_large", 400, "With this, more would be counted than a number here can say.") \
    X(CAP_HIGHER, "cap_not_lower", 403, "Whom a thread belongs to may lower what its tree may spend, not raise it or take it away; an admin may.") \
    X(CAPS_FULL, "caps_full", 409, "There is no room for one more; take back what is set there and not needed.")  \
    X(THREAD_UNKNOWN, "thread_not_found", 404, "There is no such thread.")                                       \
    X(IDEMPOTENCY_KEY, "idempotency_key_invalid", 400, "An Idempotency-Key is 1 to 255 printable ASCII characters; a random one for each change, such as a UUID.") \
    X(IDEMPOTENCY_REUSED, "idempotency_key_reused", 422, "Under this Idempotency-Key something else was asked for before, and done; a key is for one change.") \
    X(ADJUSTED, "adjusted_before", 409, "The call was corrected by this source before.")                         \
    X(REQUEST_OPEN, "request_in_flight", 409, "The call is still in flight; it can be corrected once it is booked.") \
    X(REQUEST_CORRECTED, "request_corrected", 409, "Others correct this call just now; look at what it cost, and try again.") \
    X(THRESHOLD_NONE, "threshold_none", 409, "This gateway has no such threshold.")                              \
    X(READ_FAILED, "ledger_unreadable", 503, "The ledger cannot be read.")                                       \
    X(NO_VERDICT, "gateway_overloaded", 503, "The gate did not answer in time; ask again under the same Idempotency-Key, or look whether it was done.") \
    X(MEMORY, "gateway_overloaded", 503, "This gateway has no memory for the answer.")
