/* tests/unit/store/faulty_vfs.h: SQLite's door to the disk, with a fault at a chosen place: the
 * default VFS once installed, so that the store needs no word about it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct faulty_vfs {
    atomic_int write_count, sync_count; /* of all files since they were set to 0 */
    atomic_int fail_at;                 /* this write or sync fails, counted down; 0 = none */
    atomic_bool stays;                  /* and so do all after it, until it is cleared */
    atomic_int code;                    /* what it fails with: SQLITE_FULL, ... */
};

extern struct faulty_vfs faulty_vfs;

void faulty_vfs_install(void);
/* The `nth` write or sync from now on fails with `code`. */
void faulty_vfs_arm(int nth, int code, bool stays);
/* Whether it came to that. */
bool faulty_vfs_disarm(void);
