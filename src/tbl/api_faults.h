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
    X(REQUEST_UNKNOWN, "request_not_found", 404, "There is no request of this id.")                              \
    X(REQUEST_UNBOOKED, "request_not_found", 404, "A request of this form of id was answered before the gate decided anything: it cost nothing, and only a log line tells of it.") \
    X(CONFIG_NONE, "configuration_none", 409, "There is no configuration to read again: this is a sandbox, or no gateway runs.") \
    X(CONFIG_WRONG, "configuration_wrong", 409, "The configuration stays as it was.")                            \
    X(READ_FAILED, "ledger_unreadable", 503, "The ledger cannot be read.")                                       \
    X(NO_VERDICT, "gateway_overloaded", 503, "The gate did not answer in time; look whether it was done before you try again.") \
    X(MEMORY, "gateway_overloaded", 503, "This gateway has no memory for the answer.")
