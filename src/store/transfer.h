/* store/transfer.h: the books carried from one store to another, of either engine, whole or not at all.
 *
 * No gateway may run on either meanwhile: the source is held as one would hold it, and the target is empty. Every
 * row is copied in the order of its key; epochs go on where the source's ended, so that no id is given twice;
 * calls in flight stay open, and the first gateway on the target books them as orphaned. Before the target is
 * committed both are audited, and their sums compared. The source stays as it was. */
#pragma once

#include "store/audit.h"

#define TRANSFER_SUMS_MAX 32
struct transfer_sum {
    const char *what; /* static */
    bool is_money;    /* micro-USD */
    int64_t source, target;
};

struct transfer {
    struct transfer_sum sums[TRANSFER_SUMS_MAX]; /* all the same on STATUS_OK */
    int32_t sum_count;
    int64_t row_count, open_hold_count;
    int64_t epoch; /* the last one that the source has handed out */
    int64_t difference_count; /* of either's books with themselves: above 0 by force alone */
};

struct transfer_options {
    const char *from, *to; /* sqlite:PATH, postgresql://... */
    bool force;            /* also books that do not agree with themselves */
    audit_progress *progress; /* may be NULL */
    void *user;
};

/* STATUS_BUSY: a gateway runs on one of them; STATUS_EXISTS: the target is not empty; STATUS_INVALID: a URL or a
 * store that cannot be used, or books that do not agree; STATUS_NOT_FOUND: there is no source; STATUS_CLOSED:
 * `progress` broke it off; STATUS_IO, STATUS_FULL, STATUS_NEWER. The target is as it was then, with a schema
 * where it had none. */
MUST_USE enum status store_transfer(
    const struct transfer_options *options, struct transfer *transfer, struct store_error *error);
