/* store/scan.h: the limits, accounts, keys, subjects and the whole ledger of a store, for programs that go over all of
 * it.
 *
 * Read beside gateways that may run, through a connection that cannot write; the ledger in the order of its ids. */
#pragma once

#include "store/audit.h"

struct store_scan {
    void *user;
    void (*limit_def)(void *user, const struct limit_def_row *row); /* before all others */
    void (*account)(void *user, const struct account_row *row);
    void (*key)(void *user, const struct key_row *row);
    void (*subject)(void *user, const struct subject_row *row);
    void (*ledger)(void *user, const struct ledger_row *row); /* after all others; its inputs live during the call */
    audit_progress *progress;                                 /* may be NULL */
    int64_t kept_from_ms;  /* before it rows of calls were deleted; 0 = none were */
    int64_t damaged_count; /* rows that make no sense, and were passed by */
};

/* As store_audit opens a store. STATUS_CLOSED: progress said so. */
MUST_USE enum status store_scan(const char *url, struct store_scan *scan, struct store_error *error);
