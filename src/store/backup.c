/* store/backup.c: whole copies of a store on disk. */
#include "store/backup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/civil.h"
#include "base/place.h"
#include "store/sqlite_priv.h"

#define COPY_PAGES 1000 /* at once, between two words about progress: 4 MB */
#define PATH_BYTES 4096

/* --- Copying. */

struct copying {
    const char *from, *to; /* paths */
    audit_progress *progress;
    void *user;
    struct sqlite_db source, copy;
    char error_text[512];
};

/* The source's snapshot is held by an open transaction: what its gateway writes meanwhile does not
 * begin the copy again. */
static enum status
copy_pages(struct copying *copying)
{
    sqlite3_backup *backup =
        sqlite3_backup_init(copying->copy.handle, "main", copying->source.handle, "main");
    if (!backup) {
        return db_status(&copying->copy, sqlite3_extended_errcode(copying->copy.handle));
    }
    int code = SQLITE_OK;
    bool stopped = false;
    while (code == SQLITE_OK && !stopped) {
        code = sqlite3_backup_step(backup, COPY_PAGES);
        const int64_t total = sqlite3_backup_pagecount(backup);
        stopped = copying->progress
                  && !copying->progress(
                      copying->user, "pages", total - sqlite3_backup_remaining(backup), total);
    }
    const int end = sqlite3_backup_finish(backup);
    if (stopped) {
        return store_fail(copying->error_text, STATUS_CLOSED, "it was broken off");
    }
    return code == SQLITE_DONE ? db_status(&copying->copy, end) : db_status(&copying->copy, code);
}

static enum status
copy_snapshot(struct copying *copying)
{
    enum status status = db_exec(&copying->source, "BEGIN");
    if (status == STATUS_OK) {
        int64_t version = 0;
        status =
            schema_judge(&copying->source, false, &version); /* and its read takes the snapshot */
    }
    if (status == STATUS_OK) {
        /* Nothing reads the copy before it is whole and synced, so its writing need not be safe. */
        status = db_exec(&copying->copy, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
    }
    return status == STATUS_OK ? copy_pages(copying) : status;
}

/* Both connections open in turn; the copy is closed at the end and synced by its caller. */
static enum status
copy_store(struct copying *copying, struct store_error *error)
{
    const struct store_options options = { .read_only = true };
    enum status status = sqlite_connect(
        &copying->source, copying->from, SQLITE_OPEN_READONLY, &options, copying->error_text);
    if (status == STATUS_OK) {
        status = db_open(&copying->copy, copying->to, SQLITE_OPEN_READWRITE, copying->error_text);
        if (status == STATUS_OK) {
            status = copy_snapshot(copying);
            db_close(&copying->copy);
        }
        if (sqlite3_get_autocommit(copying->source.handle) == 0) {
            (void)sqlite3_exec(copying->source.handle, "ROLLBACK", NULL, NULL, NULL);
        }
        db_close(&copying->source);
    }
    return status == STATUS_OK ? STATUS_OK
                               : store_fail(error->text, status, "%.200s cannot be copied: %.280s",
                                   copying->from, copying->error_text);
}

/* --- What a copy is, is in its `meta`. */

static enum status
write_marks(struct sqlite_db *db, int64_t taken_ms, int64_t epoch)
{
    /* One file: a log beside it would be left behind by whoever carries it away. */
    enum status status = db_exec(db, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL");
    if (status == STATUS_OK) {
        status = db_exec(db, "BEGIN IMMEDIATE; DELETE FROM meta WHERE name IN ('home', 'running', "
                             "'backup_ms')");
    }
    if (status == STATUS_OK && taken_ms > 0) {
        status = sqlite_meta_put_i64(db, "backup_ms", taken_ms);
    }
    if (status == STATUS_OK && epoch > 0) {
        status = sqlite_meta_put_i64(db, "epoch", epoch);
    }
    return status == STATUS_OK ? db_exec(db, "COMMIT") : status;
}

/* `epoch` 0: as it was. */
static enum status
mark_copy(const char *path, int64_t taken_ms, int64_t epoch, struct store_error *error)
{
    struct sqlite_db db;
    char error_text[512];
    enum status status = db_open(&db, path, SQLITE_OPEN_READWRITE, error_text);
    if (status == STATUS_OK) {
        status = write_marks(&db, taken_ms, epoch);
        db_close(&db);
    }
    if (status != STATUS_OK) {
        return store_fail(
            error->text, status, "%.200s cannot be written: %.280s", path, error_text);
    }
    return file_sync(path, false, error);
}

/* 0: it is no backup. */
static int64_t
taken_at(const char *path)
{
    struct sqlite_db db;
    char error_text[512];
    int64_t taken_ms = 0;
    if (db_open(&db, path, SQLITE_OPEN_READONLY, error_text) == STATUS_OK) {
        if (sqlite_meta_get_i64(&db, "backup_ms", &taken_ms) != STATUS_OK) {
            taken_ms = 0;
        }
        db_close(&db);
    }
    return taken_ms;
}

/* --- Backup. */

static enum status
audit_copy(const char *path, audit_progress *progress, void *user, struct audit *audit,
    struct store_error *error)
{
    char url[PATH_BYTES + 16];
    (void)snprintf(url, sizeof(url), STORE_SCHEME "%s", path);
    return store_audit(url, progress, user, audit, error);
}

static enum status
backup_to(struct copying *copying, const char *to, bool force, int64_t now_ms, struct audit *audit,
    struct store_error *error)
{
    enum status status = fresh_make(copying->to, false, error);
    if (status == STATUS_OK) {
        status = copy_store(copying, error);
    }
    if (status == STATUS_OK) {
        status = mark_copy(copying->to, now_ms, 0, error);
    }
    if (status == STATUS_OK) {
        status = audit_copy(copying->to, copying->progress, copying->user, audit, error);
    }
    fresh_remove_log(copying->to);
    if (status == STATUS_OK) {
        status = fresh_name(copying->to, to, force, error);
        if (status != STATUS_OK) {
            store_audit_free(audit);
        }
    }
    if (status != STATUS_OK) {
        fresh_remove(copying->to);
    }
    return status;
}

enum status
store_backup(const char *url, const char *to, bool force, int64_t now_ms, audit_progress *progress,
    void *user, struct audit *audit, struct store_error *error)
{
    const char *from = store_url_path(url);
    char fresh[PATH_BYTES];
    struct stat file, other;
    error->text[0] = '\0';
    *audit = (struct audit){ 0 };
    if (!from || stat(from, &file) != 0) {
        return store_fail(error->text, STATUS_NOT_FOUND, "there is no store at %.300s", url);
    }
    if (stat(to, &other) == 0 && other.st_ino == file.st_ino && other.st_dev == file.st_dev) {
        return store_fail(
            error->text, STATUS_INVALID, "%.300s is the store itself: name another file", to);
    }
    if (!force && lstat(to, &file) == 0) {
        return store_fail(error->text, STATUS_EXISTS, "%.300s is there already", to);
    }
    const int len = snprintf(fresh, sizeof(fresh), "%s.%ld.part", to, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        return store_fail(error->text, STATUS_INVALID, "the path is too long: %.300s", to);
    }
    struct copying copying = { .from = from, .to = fresh, .progress = progress, .user = user };
    return backup_to(&copying, to, force, now_ms, audit, error);
}

/* --- Restore. */

/* The last epoch of the store that is replaced; 0 where it cannot be read any more. */
static int64_t
epoch_of(const char *path)
{
    struct sqlite_db db;
    char error_text[512];
    int64_t epoch = 0;
    if (db_open(&db, path, SQLITE_OPEN_READONLY, error_text) == STATUS_OK) {
        if (sqlite_meta_get_i64(&db, "epoch", &epoch) != STATUS_OK) {
            epoch = 0;
        }
        db_close(&db);
    }
    return epoch;
}

/* A file that SQLite or a failed start has left without a byte is no store. */
static bool
store_is_there(const char *path)
{
    struct stat file;
    return lstat(path, &file) == 0 && !(S_ISREG(file.st_mode) && file.st_size == 0);
}

static enum status
put_in_place(struct copying *copying, const char *path, bool force, int64_t now_ms,
    int64_t backup_epoch, struct restored *restored, struct store_error *error)
{
    const bool replaces = store_is_there(path);
    if (replaces && !force) {
        return store_fail(error->text, STATUS_EXISTS,
            "a store is at %.300s already; --force moves it aside", path);
    }
    const int64_t epoch = max_i64(backup_epoch, replaces ? epoch_of(path) : 0) + RESTORE_EPOCHS;
    if (epoch >= EPOCH_MAX) {
        return store_fail(error->text, STATUS_FULL,
            "its epochs are used up: begin a new store and keep this one for its ledger");
    }
    restored->next_epoch = epoch + 1;
    enum status status = fresh_make(copying->to, true, error);
    if (status == STATUS_OK) {
        status = copy_store(copying, error);
    }
    if (status == STATUS_OK) {
        status = mark_copy(copying->to, 0, epoch, error);
    }
    /* A log without its store, too: SQLite would copy it into whatever takes that name. */
    if (status == STATUS_OK) {
        status = swap_in(
            copying->to, path, replaces || home_has_log(path), now_ms, restored->aside, error);
    }
    if (status != STATUS_OK) {
        fresh_remove(copying->to);
    }
    return status;
}

static enum status
restore_locked(const char *from, const char *path, bool force, int64_t now_ms,
    audit_progress *progress, void *user, const struct audit *audit, struct restored *restored,
    struct store_error *error)
{
    char fresh[PATH_BYTES];
    const int len = snprintf(fresh, sizeof(fresh), "%s.%ld.part", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        return store_fail(error->text, STATUS_INVALID, "the path is too long: %.300s", path);
    }
    struct copying copying = { .from = from, .to = fresh, .progress = progress, .user = user };
    swap_mend(path);
    return put_in_place(&copying, path, force, now_ms, audit->epoch, restored, error);
}

/* The lock is the target's: a gateway that starts meanwhile is told that it is held. */
static enum status
restore_to(const char *from, const char *to, bool force, int64_t now_ms, audit_progress *progress,
    void *user, const struct audit *audit, struct restored *restored, struct store_error *error)
{
    char *path = NULL;
    int lock_fd = -1;
    enum status status = sqlite_resolve_path(to, &path, error);
    if (status == STATUS_OK) {
        status = lock_take(path, &lock_fd, error);
    }
    if (status == STATUS_OK) {
        status = restore_locked(from, path, force, now_ms, progress, user, audit, restored, error);
        lock_drop(lock_fd);
    }
    free(path);
    return status;
}

enum status
store_restore(const char *from, const char *url, bool force, int64_t now_ms,
    audit_progress *progress, void *user, struct audit *audit, struct restored *restored,
    struct store_error *error)
{
    const char *to = store_url_path(url);
    *restored = (struct restored){ 0 };
    *audit = (struct audit){ 0 };
    if (!to) {
        return store_fail(error->text, STATUS_INVALID, "'%.300s' is no store on a disk", url);
    }
    enum status status = audit_copy(from, progress, user, audit, error);
    if (status != STATUS_OK) {
        return status;
    }
    restored->taken_ms = taken_at(from);
    if (audit->difference_count > 0 && !force) {
        return store_fail(error->text, STATUS_INVALID,
            "the books of %.200s do not agree with themselves (%lld differences, the first: %.120s)",
            from, (long long)audit->difference_count, audit->findings[0].what);
    }
    return restore_to(from, to, force, now_ms, progress, user, audit, restored, error);
}
