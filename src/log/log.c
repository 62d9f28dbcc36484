/* log/log.c: lines are built in a fixed array and leave in one write. */
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "log/metrics.h"

#define CUT_MARK "..."
/* Kept free at the end of a line for what log_end adds. */
#define TAIL_MAX_BYTES (sizeof(",\"truncated\":true}\n") - 1)
/* What a field needs beside its key: separators, quotes and the widest number. */
#define FIELD_MIN_BYTES 32

static _Atomic int least_level = LOG_INFO;
static atomic_bool as_json = false;

static const char *const level_words[LOG_LEVEL_COUNT] = {
#define LOG_LEVEL_WORD(name, word) [LOG_##name] = (word),
    LOG_LEVELS(LOG_LEVEL_WORD)
#undef LOG_LEVEL_WORD
};

/* How a line leaves without waiting for its reader. */
static enum way {
    WAY_WRITE,  /* a file, or before log_open */
    WAY_OWN,    /* through `own_fd` */
    WAY_SOCKET, /* the journal of systemd */
    WAY_POLL,   /* asked first; another process that writes there too could still make us wait */
} way = WAY_WRITE;
/* The pipe or terminal of standard error, opened once more: O_NONBLOCK belongs to what was opened,
 * and what we were given is shared with the shell and whoever else it gave it to. */
static int own_fd = -1;

static void
choose_way(void)
{
    struct stat found;
    if (own_fd >= 0) {
        (void)close(own_fd);
        own_fd = -1;
    }
    way = WAY_WRITE;
    if (fstat(STDERR_FILENO, &found) != 0) {
        return;
    }
    if (S_ISSOCK(found.st_mode)) {
        way = WAY_SOCKET;
    } else if (S_ISFIFO(found.st_mode) || S_ISCHR(found.st_mode)) {
        own_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        way = own_fd >= 0 ? WAY_OWN : WAY_POLL;
    }
}

void
log_open(enum log_level level, bool json)
{
    check((unsigned)level < LOG_LEVEL_COUNT);
    choose_way();
    atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

bool
log_wants(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

bool
log_level_from_word(struct slice word, enum log_level *level)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (slice_eq(word, slice_str(level_words[i]))) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- bytes ---- */

/* The caller has seen to it that there is room. */
static void
put(struct log_line *line, const char *bytes, size_t len)
{
    check(len <= sizeof(line->bytes) - line->len);
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void
put_text(struct log_line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Would these bytes, a whole character, move the cursor or turn the text around? */
static bool
misleads(const unsigned char *bytes, size_t len)
{
    if (len == 1) {
        return bytes[0] < 0x20 || bytes[0] == 0x7F;
    }
    if (len == 2) {
        return bytes[0] == 0xC2 && bytes[1] < 0xA0; /* U+0080 to U+009F: more control characters */
    }
    if (len != 3 || bytes[0] != 0xE2) {
        return false;
    }
    const bool separates = bytes[1] == 0x80 && bytes[2] >= 0xA8 && bytes[2] <= 0xA9;
    const bool reorders = (bytes[1] == 0x80 && bytes[2] >= 0xAA && bytes[2] <= 0xAE)
                          || (bytes[1] == 0x81 && bytes[2] >= 0xA6 && bytes[2] <= 0xA9);
    return separates || reorders;
}

static unsigned
code_point(const unsigned char *bytes, size_t len)
{
    if (len == 1) {
        return bytes[0];
    }
    if (len == 2) {
        return ((bytes[0] & 0x1FU) << 6) | (bytes[1] & 0x3FU);
    }
    return ((bytes[0] & 0x0FU) << 12) | ((bytes[1] & 0x3FU) << 6) | (bytes[2] & 0x3FU);
}

/* Writes the first character of `rest` as it stands within quotes and takes it off. */
static size_t
escape_next(struct slice *rest, char out[8])
{
    bool valid = false;
    const size_t run = utf8_run(*rest, &valid);
    const unsigned char *bytes = (const unsigned char *)rest->ptr;
    size_t len = run;
    if (!valid) {
        len = sizeof(UTF8_REPLACEMENT) - 1;
        memcpy(out, UTF8_REPLACEMENT, len);
    } else if (bytes[0] == '"' || bytes[0] == '\\') {
        len = 2;
        out[0] = '\\';
        out[1] = (char)bytes[0];
    } else if (bytes[0] == '\n') {
        len = 2;
        memcpy(out, "\\n", len);
    } else if (misleads(bytes, run)) {
        len = 6;
        (void)snprintf(out, 8, "\\u%04x", code_point(bytes, run) & 0xFFFFU);
    } else {
        memcpy(out, bytes, run);
    }
    *rest = slice_of(rest->ptr + run, rest->len - run);
    return len;
}

/* ---- fields ---- */

static size_t
room(const struct log_line *line)
{
    return sizeof(line->bytes) - TAIL_MAX_BYTES - line->len;
}

static bool
is_word(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_')) {
            return false;
        }
    }
    return text[0] != '\0';
}

/* False when there is no room for this field, which is then left out. */
static bool
begin_field(struct log_line *line, const char *key)
{
    if (!line->wanted) {
        return false;
    }
    check(is_word(key));
    const size_t key_len = strlen(key);
    if (key_len > room(line) || room(line) - key_len < FIELD_MIN_BYTES) {
        line->truncated = true;
        return false;
    }
    if (line->json) {
        put_text(line, line->len == 0 ? "{\"" : ",\"");
        put(line, key, key_len);
        put_text(line, "\":");
    } else {
        put_text(line, line->len == 0 ? "" : " ");
        put(line, key, key_len);
        put_text(line, "=");
    }
    return true;
}

/* May it stand in a text line without quotes? */
static bool
is_bare(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        const char c = value.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return value.len > 0;
}

static void
put_quoted(struct log_line *line, struct slice value)
{
    const size_t budget = room(line) < LOG_VALUE_MAX_BYTES ? room(line) : LOG_VALUE_MAX_BYTES;
    const size_t end = line->len + budget - (sizeof(CUT_MARK "\"") - 1);
    put_text(line, "\"");
    while (value.len > 0) {
        char escaped[8];
        const size_t len = escape_next(&value, escaped);
        if (len > end - line->len) {
            put_text(line, CUT_MARK);
            break;
        }
        put(line, escaped, len);
    }
    put_text(line, "\"");
}

void
log_str(struct log_line *line, const char *key, struct slice value)
{
    if (!begin_field(line, key)) {
        return;
    }
    const bool fits = value.len <= LOG_VALUE_MAX_BYTES && value.len <= room(line);
    if (!line->json && fits && is_bare(value)) {
        put(line, value.ptr, value.len);
    } else {
        put_quoted(line, value);
    }
}

void
log_i64(struct log_line *line, const char *key, int64_t value)
{
    if (begin_field(line, key)) {
        char digits[24];
        const int len = snprintf(digits, sizeof(digits), "%lld", (long long)value);
        check(len > 0 && (size_t)len < sizeof(digits));
        put(line, digits, (size_t)len);
    }
}

void
log_bool(struct log_line *line, const char *key, bool value)
{
    if (begin_field(line, key)) {
        put_text(line, value ? "true" : "false");
    }
}

void
log_id(struct log_line *line, const char *key, const char *prefix, int64_t id)
{
    char text[64];
    if (id == 0 || !line->wanted) {
        return;
    }
    const int len = snprintf(text, sizeof(text), "%s%lld", prefix, (long long)id);
    check(len > 0 && (size_t)len < sizeof(text));
    log_str(line, key, slice_str(text));
}

/* ---- lines ---- */

/* Always with milliseconds, so that lines sort as text. */
static void
put_time(struct log_line *line)
{
    const int64_t now_ms = clock_wall_ms();
    char text[32];
    char with_ms[40];
    civil_rfc3339(now_ms, false, text);
    text[strlen(text) - 1] = '\0'; /* its Z comes last */
    (void)snprintf(with_ms, sizeof(with_ms), "%s.%03dZ", text, (int)(now_ms % SECOND_MS));
    log_str(line, "time", slice_str(with_ms));
}

void
log_begin(struct log_line *line, enum log_level level, const char *event)
{
    check((unsigned)level < LOG_LEVEL_COUNT);
    check(is_word(event));
    line->wanted = log_wants(level);
    line->json = atomic_load_explicit(&as_json, memory_order_relaxed);
    line->truncated = false;
    line->len = 0;
    if (line->wanted) {
        put_time(line);
        log_str(line, "level", slice_str(level_words[level]));
        log_str(line, "event", slice_str(event));
    }
}

static ssize_t
write_once(struct slice bytes)
{
    struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
    switch (way) {
    case WAY_OWN: return write(own_fd, bytes.ptr, bytes.len);
    case WAY_SOCKET: return send(STDERR_FILENO, bytes.ptr, bytes.len, MSG_DONTWAIT);
    case WAY_POLL:
        if (poll(&room, 1, 0) <= 0) {
            return 0;
        }
        break;
    case WAY_WRITE: break;
    }
    return write(STDERR_FILENO, bytes.ptr, bytes.len);
}

void
log_end(struct log_line *line)
{
    if (!line->wanted) {
        return;
    }
    if (line->truncated) {
        put_text(line, line->json ? ",\"truncated\":true" : " truncated=true");
    }
    put_text(line, line->json ? "}\n" : "\n");
    line->wanted = false; /* written once, also if ended twice */

    const int saved_errno = errno;
    ssize_t written = 0;
    do {
        written = write_once(slice_of(line->bytes, line->len));
    } while (written < 0 && errno == EINTR);
    if (written < 0 || (size_t)written < line->len) {
        /* Waiting or a second write could stall a loop or tear the lines of others. */
        counter_add(COUNTER_LOG_LINES_LOST, 1);
    }
    errno = saved_errno;
}

void
log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (!log_wants(level)) {
        return;
    }
    const int saved_errno =
        errno; /* a line is often about it; the next statement may need it too */
    char message[LOG_VALUE_MAX_BYTES + 2]; /* one that is cut here is cut again, visibly, below */
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "msg", len < 0 ? slice_str(format) : slice_str(message));
    log_end(&line);
    errno = saved_errno;
}
