/* store/sqlite_log.c: room in the log of the store, made before it is needed.
 *
 * A commit that makes the log longer makes the file system write down a new length and new blocks
 * with it: that costs two thirds of such a commit's CPU. So the writer fills some room behind the
 * log's end with zeros, a large piece at a time, until the log is so long that it begins anew. SQLite
 * takes zeros for the end: a frame without the log's salt is none. Only the writer may do this, and
 * only between two transactions: nobody else knows that nothing is being appended there. */
#include "store/sqlite_priv.h"

#define FRAME_BYTES      (4096 + 24) /* a page and its head */
#define LOG_HEAD_BYTES   32
#define FIRST_ROOM_BYTES ((int64_t)512 << 10) /* a log shorter than that is left alone */
#define PIECE_BYTES_MAX  ((int64_t)4 << 20)
#define ZEROS_BYTES      (64 << 10)

/* Zeros from `from` to `to`; a failure is no trouble, the next commit will tell if there is one. */
static bool
fill(sqlite3_file *log, int64_t from, int64_t to)
{
    static const char zeros[ZEROS_BYTES];
    for (int64_t at = from; at < to; at += ZEROS_BYTES) {
        const int len = (int)min_i64(ZEROS_BYTES, to - at);
        if (log->pMethods->xWrite(log, zeros, len, at) != SQLITE_OK) {
            return false;
        }
    }
    return true;
}

void
log_make_room(struct sqlite_db *writer, int log_pages, int pages_max, struct log_room *room)
{
    const int64_t used_bytes = LOG_HEAD_BYTES + (int64_t)log_pages * FRAME_BYTES;
    const int64_t left_bytes = room->end_bytes - used_bytes;
    const int64_t piece_bytes = min_i64(used_bytes, PIECE_BYTES_MAX);
    if (room->over || used_bytes < FIRST_ROOM_BYTES || left_bytes > piece_bytes / 4) {
        return;
    }
    sqlite3_file *log = NULL;
    sqlite3_int64 size_bytes = 0;
    if (sqlite3_file_control(writer->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log)
            != SQLITE_OK
        || !log || !log->pMethods || log->pMethods->xFileSize(log, &size_bytes) != SQLITE_OK) {
        room->over = true;
        return;
    }
    const int64_t from = max_i64(used_bytes, size_bytes); /* never over what is there */
    const int64_t most = LOG_HEAD_BYTES + (int64_t)pages_max * FRAME_BYTES;
    const int64_t to = min_i64(from + piece_bytes, most + most / 4);
    room->end_bytes = from;
    if (from >= to) {
        return;
    }
    room->over = !fill(log, from, to); /* a full disk: no more of it is taken before it is needed */
    room->end_bytes = room->over ? from : to;
}
