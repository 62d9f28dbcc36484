/* store/sqlite_home.c: is this file the one that the last gateway wrote, with its log?
 *
 * Copies that were made by hand while a gateway ran can be wrong in ways that SQLite does not see: the
 * file without its log, or a log that is younger than the file beside it. So a store remembers which
 * file it was (its inode) and whether a gateway runs on it. A copy is audited once, before anything
 * is decided by it; a backup is not started on at all (store/backup.h).
 *
 *   meta home      inode and path, of the last start
 *   meta running   1 from a start to a clean end; also in the file itself, without its log
 *   meta backup_ms when the backup was taken; in backups alone */
#include "store/audit.h"
#include "store/sqlite_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/place.h"
#include "log/log.h"

#define SMALL_LOG_BYTES (4 << 20) /* copied back at a start within a few milliseconds */
#define HOME_BYTES      1200
#define LOOK_EVERY_MS   100

/* One that does not begin as logs do is none: SQLite passes it by without a word. An empty one is whole. */
bool
home_has_log(const char *path)
{
    static const unsigned char begin[] = { 0x37, 0x7f, 0x06 }; /* then 0x82 or 0x83 */
    char name[4096];
    unsigned char head[4] = { 0 };
    const int len = snprintf(name, sizeof(name), "%s-wal", path);
    const int fd =
        len > 0 && (size_t)len < sizeof(name) ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0) {
        return false;
    }
    const ssize_t got = read(fd, head, sizeof(head));
    (void)close(fd); /* it was read only */
    return got == 0
           || (got == (ssize_t)sizeof(head) && memcmp(head, begin, sizeof(begin)) == 0
               && (head[3] & 0xFE) == 0x82);
}

static uint64_t
inode_of(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (uint64_t)file.st_ino : 0;
}

/* The home is split into its two parts; false: there is none that makes sense. */
static bool
home_of(struct sqlite_db *db, char home[HOME_BYTES], uint64_t *inode, struct slice *path)
{
    struct slice digits;
    if (sqlite_meta_get(db, "home", home, HOME_BYTES) != STATUS_OK) {
        return false;
    }
    *path = slice_str(home);
    return slice_split(path, ' ', &digits) && slice_to_u64(digits, inode);
}

static bool
was_running(struct sqlite_db *db)
{
    int64_t running = 0;
    return sqlite_meta_get_i64(db, "running", &running) == STATUS_OK && running == 1;
}

static enum status
refuse_backup(struct sqlite_db *db, int64_t taken_ms)
{
    char at[32];
    civil_rfc3339(taken_ms, false, at);
    return store_fail(db->error_text, STATUS_INVALID,
        "it is a backup, taken %s: put it in the place of a store with `tidegate restore FILE`",
        at);
}

static enum status
judge_copy(struct sqlite_db *db, const char *path, struct slice from, bool has_log, char note[512])
{
    struct audit audit;
    struct store_error error;
    char url[4096];
    if (!has_log && was_running(db)) {
        return store_fail(db->error_text, STATUS_INVALID,
            "it is a copy of %.*s made while a gateway ran, without its log (-wal): what was written "
            "last is not in it. Copy with `tidegate backup`; `tidegate restore FILE --to sqlite:NEW` "
            "takes this one as it is",
            (int)(from.len > 150 ? 150 : from.len), from.ptr);
    }
    log_line(
        LOG_WARN, "store", "%.300s is a copy: its books are checked before they are used", path);
    (void)snprintf(url, sizeof(url), STORE_SCHEME "%s", path);
    const enum status status = store_audit(url, NULL, NULL, &audit, &error);
    if (status != STATUS_OK) {
        return store_fail(db->error_text, status, "it is a copy: %.400s", error.text);
    }
    const int64_t difference_count = audit.difference_count;
    store_audit_free(&audit);
    if (difference_count > 0) {
        return store_fail(db->error_text, STATUS_INVALID,
            "it is a copy of %.*s whose files do not fit each other: its books do not agree with "
            "themselves (%lld differences, `tidegate check --store` tells them). Copy with `tidegate "
            "backup`",
            (int)(from.len > 150 ? 150 : from.len), from.ptr, (long long)difference_count);
    }
    (void)store_fail(note, STATUS_OK,
        "this store is a copy of %.*s; its books agree. A gateway on each would give the same ids "
        "twice: `tidegate backup` and `tidegate restore` make a copy that may run beside its original",
        (int)(from.len > 150 ? 150 : from.len), from.ptr);
    return STATUS_OK;
}

enum status
home_judge(struct sqlite_db *db, const char *path, bool has_log, char note[512])
{
    char home[HOME_BYTES];
    uint64_t inode = 0;
    struct slice from;
    int64_t taken_ms = 0;
    if (sqlite_meta_get_i64(db, "backup_ms", &taken_ms) == STATUS_OK) {
        return refuse_backup(db, taken_ms);
    }
    if (!home_of(db, home, &inode, &from)) {
        return STATUS_OK; /* no gateway has started on it yet, or it was restored */
    }
    if (inode != inode_of(path)) {
        return judge_copy(db, path, from, has_log, note);
    }
    if (!has_log && was_running(db)) {
        (void)store_fail(note, STATUS_OK,
            "the log of the store (%.200s-wal) is gone or damaged, though its gateway did not end by itself: "
            "what was written last may be missing; `tidegate check --store` says whether the books "
            "agree",
            path);
    }
    return STATUS_OK;
}

enum status
home_write(struct sqlite_db *db, const char *path)
{
    char home[HOME_BYTES];
    (void)snprintf(home, sizeof(home), "%llu %.1000s", (unsigned long long)inode_of(path), path);
    const enum status status = sqlite_meta_put(db, "home", home);
    return status == STATUS_OK ? sqlite_meta_put_i64(db, "running", 1) : status;
}

/* After a crash the log may be long: then the file says so already, from the start before. A failure
 * leaves only that mark in the log. */
void
home_reach_file(struct sqlite_db *db, const char *path)
{
    char name[4096];
    struct stat file;
    (void)snprintf(name, sizeof(name), "%s-wal", path);
    if (stat(name, &file) == 0 && file.st_size <= SMALL_LOG_BYTES) {
        (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
}

void
home_leave(struct sqlite_db *db)
{
    if (db_exec(db, "BEGIN IMMEDIATE") != STATUS_OK) {
        return; /* a store that cannot be written stays marked, as after a crash */
    }
    if (sqlite_meta_put_i64(db, "running", 0) != STATUS_OK || db_exec(db, "COMMIT") != STATUS_OK) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
}

/* --- Files that were removed, replaced or moved while they are open take along what is written to them. */

static uint64_t
inode_of_log(const char *path)
{
    char name[4096];
    const int len = snprintf(name, sizeof(name), "%s-wal", path);
    return len > 0 && (size_t)len < sizeof(name) ? inode_of(name) : 0;
}

void
home_remember(struct home_files *files, const char *path)
{
    *files = (struct home_files){ .inodes = { inode_of(path), inode_of_log(path) } };
}

enum status
home_look(struct home_files *files, const char *path, char *error_text)
{
    const int64_t now_ms = clock_mono_ms();
    if (now_ms < files->looked_mono_ms + LOOK_EVERY_MS) {
        return STATUS_OK;
    }
    const uint64_t inodes[] = { inode_of(path), inode_of_log(path) };
    for (size_t i = 0; i < countof(inodes); i++) {
        if (files->inodes[i] && inodes[i] != files->inodes[i]) {
            return store_fail(error_text, STATUS_IO,
                "%.200s%s was removed, moved or replaced under the running gateway: put it back (what "
                "was removed is in /proc/%ld/fd until the gateway ends), or end the gateway and "
                "restore a backup",
                path, i == 0 ? "" : "-wal", (long)getpid());
        }
    }
    files->looked_mono_ms = now_ms;
    return STATUS_OK;
}
