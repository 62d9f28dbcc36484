/* store/swap.c: one store in the place of another.
 *
 * The store that gives way keeps its bytes, and is whole at every moment: first its file and its log have two
 * names each, PATH and PATH.before-TIME; then the log loses its old one, so that no log is ever beside another
 * file than its own; then the new file takes the name PATH. Where it does not come to that, because a step
 * fails or the process dies between the last two, the log gets its name back: at once, or by the next who
 * opens the store. That the file has both names tells that it was left there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/civil.h"
#include "log/log.h"
#include "store/sqlite_priv.h"

#define PATH_BYTES  4096
#define ASIDE_BYTES 1024 /* of a name; its log's has four more */
#define ASIDE_WORD  ".before-"

/* --- Files. */

enum status
file_fail(struct store_error *error, const char *path, const char *what)
{
    return store_fail(
        error->text, STATUS_IO, "%.300s cannot be %s: %s", path, what, strerror(errno));
}

enum status
file_sync(const char *path, bool folder, struct store_error *error)
{
    char name[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    const int len = !folder  ? snprintf(name, sizeof(name), "%s", path)
                    : !slash ? snprintf(name, sizeof(name), ".")
                             : snprintf(name, sizeof(name), "%.*s/", (int)(slash - path), path);
    const int fd = len < 0 || (size_t)len >= sizeof(name)
                       ? -1
                       : open(name, (folder ? O_DIRECTORY : 0) | O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_fail(error, path, "opened");
    }
    const bool good = fsync(fd) == 0;
    const int cause = errno;
    (void)close(fd); /* it was read only */
    errno = cause;
    return good ? STATUS_OK : file_fail(error, path, "brought to the disk");
}

/* "PATH-wal"; names that are too long are cut, and then are nobody's. */
static void
name_log(const char *path, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s-wal", path);
}

static bool
is_there(const char *path)
{
    struct stat file;
    return lstat(path, &file) == 0;
}

static bool
same_file(const char *one, const char *other)
{
    struct stat files[2];
    return lstat(one, &files[0]) == 0 && lstat(other, &files[1]) == 0
           && files[0].st_ino == files[1].st_ino && files[0].st_dev == files[1].st_dev;
}

/* --- Aside, and back. */

static enum status
choose_aside(const char *path, int64_t now_ms, char aside[ASIDE_BYTES], struct store_error *error)
{
    char at[32];
    char log[PATH_BYTES];
    civil_rfc3339(now_ms, false, at);
    const int len = snprintf(aside, ASIDE_BYTES, "%s" ASIDE_WORD "%s", path, at);
    if (len < 0 || len >= ASIDE_BYTES - 24) {
        return store_fail(error->text, STATUS_INVALID, "the path is too long: %.300s", path);
    }
    name_log(aside, log);
    if (is_there(aside) || is_there(log)) {
        return store_fail(error->text, STATUS_EXISTS, "%.300s is there already; try again", aside);
    }
    return STATUS_OK;
}

/* Either may be missing: a store that ended well has no log, and one that was lost may have left its own. */
static enum status
add_names(const char *path, const char *aside, struct store_error *error)
{
    char log[PATH_BYTES];
    char kept_log[PATH_BYTES];
    name_log(path, log);
    name_log(aside, kept_log);
    if (link(log, kept_log) != 0 && errno != ENOENT) {
        return file_fail(error, log, "set aside");
    }
    if (link(path, aside) != 0 && errno != ENOENT) {
        return file_fail(error, path, "set aside");
    }
    return file_sync(path, true, error);
}

/* Synced before the file is replaced: a power cut must not bring the log back beside the new one. */
static enum status
take_log_away(const char *path, struct store_error *error)
{
    char name[PATH_BYTES];
    (void)snprintf(name, sizeof(name), "%s-shm", path);
    (void)unlink(name); /* made anew by who opens it */
    name_log(path, name);
    if (unlink(name) != 0 && errno != ENOENT) {
        return file_fail(error, name, "set aside");
    }
    return file_sync(path, true, error);
}

/* As it was before choose_aside. False: the log is left under its second name. */
static bool
give_back(const char *path, const char *aside)
{
    struct store_error error;
    struct stat file;
    char log[PATH_BYTES];
    char kept_log[PATH_BYTES];
    name_log(path, log);
    name_log(aside, kept_log);
    if (is_there(kept_log) && !same_file(log, kept_log)) {
        if (lstat(log, &file) == 0 && file.st_size == 0) {
            (void)unlink(log); /* of somebody who has looked into the store meanwhile */
        }
        if (link(kept_log, log) != 0) {
            return false; /* also where somebody has written meanwhile: neither log is lost */
        }
        if (file_sync(path, true, &error) != STATUS_OK) {
            return true; /* until its old name is sure it keeps both */
        }
    }
    (void)unlink(kept_log);
    (void)unlink(aside);
    return true;
}

static enum status
fail_unchanged(const char *path, const char *aside, struct store_error *error)
{
    char why[sizeof(error->text)];
    (void)snprintf(why, sizeof(why), "%s", error->text);
    if (give_back(path, aside)) {
        return store_fail(error->text, STATUS_IO, "%.400s; what was there is as it was", why);
    }
    return store_fail(error->text, STATUS_IO,
        "%.200s; what was there has lost its log: %.200s-wal has to be moved back to it", why,
        aside);
}

enum status
swap_in(const char *fresh, const char *path, bool replaces, int64_t now_ms, char *aside,
    struct store_error *error)
{
    enum status status = replaces ? choose_aside(path, now_ms, aside, error) : STATUS_OK;
    if (status != STATUS_OK) {
        aside[0] = '\0';
        return status;
    }
    if (replaces) {
        status = add_names(path, aside, error);
        status = status == STATUS_OK ? take_log_away(path, error) : status;
    }
    if (status == STATUS_OK && rename(fresh, path) != 0) {
        status = file_fail(error, path, "replaced");
    }
    if (status != STATUS_OK && replaces) {
        status = fail_unchanged(path, aside, error);
        aside[0] = '\0';
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (file_sync(path, true, error) != STATUS_OK) {
        return store_fail(error->text, STATUS_IO,
            "the new store is in place at %.200s%s%.200s, but its folder cannot be brought to the disk: a "
            "power cut may undo that",
            path, replaces ? ", the one before it is kept at " : "", replaces ? aside : "");
    }
    return STATUS_OK;
}

/* --- After a crash. */

static void
mend_from(const char *path, const char *aside)
{
    if (!same_file(path, aside)) {
        return;
    }
    if (give_back(path, aside)) {
        log_line(LOG_WARN, "store",
            "a restore over %.200s broke off before it was done: the store is as it was before it",
            path);
    } else {
        log_line(LOG_ERROR, "store",
            "a restore over %.200s broke off before it was done, and its log is still at %.200s-wal",
            path, aside);
    }
}

/* A name of choose_aside, not one that somebody else has given. */
static bool
is_aside(struct slice name, struct slice begin)
{
    int64_t at_ms = 0;
    return slice_starts(name, begin)
           && civil_parse_rfc3339(slice_of(name.ptr + begin.len, name.len - begin.len), &at_ms);
}

void
swap_mend(const char *path)
{
    struct stat file;
    const char *slash = strrchr(path, '/');
    if (!slash || lstat(path, &file) != 0 || file.st_nlink < 2) {
        return; /* every start but one in many thousands */
    }
    char folder_name[PATH_BYTES];
    char begin[PATH_BYTES];
    (void)snprintf(folder_name, sizeof(folder_name), "%.*s/", (int)(slash - path), path);
    (void)snprintf(begin, sizeof(begin), "%s" ASIDE_WORD, slash + 1);
    DIR *folder = opendir(folder_name);
    const struct dirent *entry = NULL;
    // cppcheck-suppress readdirCalled ; a folder of our own, which no other thread reads
    while (folder && (entry = readdir(folder)) != NULL) {
        char aside[PATH_BYTES];
        const int len = snprintf(aside, sizeof(aside), "%s%s", folder_name, entry->d_name);
        if (len > 0 && (size_t)len < sizeof(aside)
            && is_aside(slice_str(entry->d_name), slice_str(begin))) {
            mend_from(path, aside);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
}
