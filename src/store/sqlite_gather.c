/* store/sqlite_gather.c: the pages of a commit go into the log in one piece.
 *
 * SQLite writes each page of a transaction with two calls, its head and itself: for a batch of calls that
 * is fifty and more, most of the kernel's part in a commit. So the log's file of the writer gets a table of
 * methods of its own: what is written at the end of what was written before is kept, and handed on whole
 * when the file is synced, read, cut or measured, or when the piece is full. A commit of ours syncs the log
 * before anybody is told of its pages, so nothing that is kept was ever promised; a failure of the one
 * write fails the sync, and with it the commit. */
#include "store/sqlite_priv.h"

#include <stddef.h>
#include <stdlib.h>

/* 31 pages; a longer commit takes several pieces. SQLite's own writing takes no more than 128 KB at once,
 * of which it knows the length modulo 128 KB alone. */
#define PIECE_BYTES (31 * (4096 + 24))
_Static_assert(PIECE_BYTES < 0x1ffff, "unixWrite's bound");

struct gather {
    sqlite3_io_methods methods;     /* the file's: those below, and else what it had */
    const sqlite3_io_methods *real; /* what it had */
    int64_t at;                     /* where the piece begins in the file */
    int len;
    unsigned char piece[PIECE_BYTES];
};

static struct gather *
gather_of(sqlite3_file *log)
{
    return (struct gather *)(void *)((uintptr_t)log->pMethods - offsetof(struct gather, methods));
}

/* A piece that could not be written is no more: the transaction it was of will not commit. */
static int
hand_on(struct gather *gather, sqlite3_file *log)
{
    const int len = gather->len;
    gather->len = 0;
    return len > 0 ? gather->real->xWrite(log, gather->piece, len, gather->at) : SQLITE_OK;
}

static int
gather_write(sqlite3_file *log, const void *bytes, int len, sqlite3_int64 at)
{
    struct gather *gather = gather_of(log);
    if (gather->len > 0 && (at != gather->at + gather->len || len > PIECE_BYTES - gather->len)) {
        const int code = hand_on(gather, log);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    if (len > PIECE_BYTES / 8) { /* it is a piece already */
        const int code = hand_on(gather, log);
        return code == SQLITE_OK ? gather->real->xWrite(log, bytes, len, at) : code;
    }
    if (gather->len == 0) {
        gather->at = at;
    }
    memcpy(gather->piece + gather->len, bytes, (size_t)len);
    gather->len += len;
    return SQLITE_OK;
}

static int
gather_sync(sqlite3_file *log, int flags)
{
    struct gather *gather = gather_of(log);
    const int code = hand_on(gather, log);
    return code == SQLITE_OK ? gather->real->xSync(log, flags) : code;
}

static int
gather_read(sqlite3_file *log, void *bytes, int len, sqlite3_int64 at)
{
    struct gather *gather = gather_of(log);
    const int code = hand_on(gather, log);
    return code == SQLITE_OK ? gather->real->xRead(log, bytes, len, at) : code;
}

static int
gather_truncate(sqlite3_file *log, sqlite3_int64 size)
{
    struct gather *gather = gather_of(log);
    const int code = hand_on(gather, log);
    return code == SQLITE_OK ? gather->real->xTruncate(log, size) : code;
}

static int
gather_size(sqlite3_file *log, sqlite3_int64 *size)
{
    struct gather *gather = gather_of(log);
    const int code = hand_on(gather, log);
    return code == SQLITE_OK ? gather->real->xFileSize(log, size) : code;
}

/* What was never synced was of a transaction that did not commit. */
static int
gather_close(sqlite3_file *log)
{
    struct gather *gather = gather_of(log);
    log->pMethods = gather->real;
    free(gather);
    return log->pMethods->xClose(log);
}

void
log_forget(struct sqlite_db *writer)
{
    if (writer->gather) {
        writer->gather->len = 0;
    }
}

void
log_gather(struct sqlite_db *writer)
{
    sqlite3_file *log = NULL;
    if (sqlite3_file_control(writer->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log)
            != SQLITE_OK
        || !log || !log->pMethods) {
        return;
    }
    /* Where sectors must be filled SQLite writes on after its sync: that log stays as it is. */
    if (!(log->pMethods->xDeviceCharacteristics(log) & SQLITE_IOCAP_POWERSAFE_OVERWRITE)) {
        return;
    }
    struct gather *gather = malloc(sizeof *gather);
    if (!gather) {
        return; /* each page on its own, then */
    }
    gather->real = log->pMethods;
    gather->methods = *log->pMethods;
    gather->methods.xClose = gather_close;
    gather->methods.xRead = gather_read;
    gather->methods.xWrite = gather_write;
    gather->methods.xTruncate = gather_truncate;
    gather->methods.xSync = gather_sync;
    gather->methods.xFileSize = gather_size;
    gather->len = 0;
    log->pMethods = &gather->methods;
    writer->gather = gather;
}
