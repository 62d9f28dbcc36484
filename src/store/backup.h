/* store/backup.h: a store copied whole while its gateway runs, and put back.
 *
 * Both are done by the process that asks, beside the gateway: the copy is one snapshot, read through
 * a connection that cannot write, so the gateway's writer never waits for it (its log cannot start
 * anew meanwhile, and grows). A backup is marked as one: a gateway does not start on it, since it
 * would hand out epochs, and so ids, that its original has handed out after the backup was taken. */
#pragma once

#include "store/audit.h"

/* Copies the store at `url` to the file `to`, for its owner's eyes alone: to a name beside it first,
 * which takes the name `to` when it is whole, on the disk, and audited. *audit (store_audit_free) is
 * that of the copy; differences in it are those of the original's books and no failure of the copy.
 * STATUS_EXISTS: `to` is there and `force` is not set; else as store_audit. */
MUST_USE enum status store_backup(const char *url, const char *to, bool force, int64_t now_ms,
    audit_progress *progress, void *user, struct audit *audit, struct store_error *error);

/* A restored store goes on this many epochs after its backup's, or after those of the store that it
 * replaces: what was handed out in between is not handed out again. */
#define RESTORE_EPOCHS 16384

struct restored {
    int64_t taken_ms;   /* when the backup was made; 0 = it is no backup but another store */
    int64_t next_epoch;
    char aside[1024];   /* where the store went that was there; "" = none was */
};

/* Puts the store in the file `from` in place of the one at `url`. *audit is that of `from`.
 * STATUS_BUSY: a gateway holds `url`; STATUS_EXISTS: a store is there and `force` is not set, which
 * moves it aside, log and all, or not at all: where a step fails what was there is as it was, and where the
 * process dies in between the next who opens it finds it so; STATUS_INVALID: `from` is damaged, or its books do not agree and `force` is not
 * set; STATUS_FULL: no epochs are left; else as store_audit. */
MUST_USE enum status store_restore(const char *from, const char *url, bool force, int64_t now_ms,
    audit_progress *progress, void *user, struct audit *audit, struct restored *restored,
    struct store_error *error);
