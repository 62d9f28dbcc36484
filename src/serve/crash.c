/* serve/crash.c: the dump. Nothing here allocates, locks or waits once a signal has come. */
#include "serve/crash.h"

#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "base/thread.h"
#include "base/units.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/trail.h"

#define FRAMES_MAX     48
#define BUILD_ID_BYTES 20
#define DUMP_LIMIT_S   10 /* then the process ends without the rest of it */

static const struct {
    int number;
    const char *name;
} caught[] = { { SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" }, { SIGFPE, "SIGFPE" },
    { SIGILL, "SIGILL" }, { SIGABRT, "SIGABRT" } };

/* Filled before a signal can come. */
static char dump_path[PATH_MAX];
static char told_path[PATH_MAX];
static unsigned char build_id[BUILD_ID_BYTES];
static size_t build_id_len = 0;
static uintptr_t load_base = 0;

static atomic_flag dying = ATOMIC_FLAG_INIT;
static int dump_fd = -1;

/* --- Text, without stdio. */

struct line {
    char text[256];
    size_t len;
};

static void
add(struct line *line, const char *text)
{
    const size_t len = strlen(text);
    const size_t room = sizeof(line->text) - line->len;
    memcpy(line->text + line->len, text, len < room ? len : room);
    line->len += len < room ? len : room;
}

static void
add_digits(struct line *line, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    add(line, digits + at);
}

static void
add_i64(struct line *line, int64_t value)
{
    add(line, value < 0 ? "-" : "");
    add_digits(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

static void
add_address(struct line *line, uintptr_t address)
{
    add(line, "0x");
    add_digits(line, address, 16);
}

/* Both at once, so that one that cannot be written does not cost the other. */
static void
end(struct line *line)
{
    add(line, "\n");
    const int fds[] = { STDERR_FILENO, dump_fd };
    for (size_t i = 0; i < countof(fds); i++) {
        size_t done = 0;
        while (fds[i] >= 0 && done < line->len) {
            const ssize_t wrote = write(fds[i], line->text + done, line->len - done);
            if (wrote <= 0 && errno != EINTR) {
                break; /* nobody takes it */
            }
            done += wrote > 0 ? (size_t)wrote : 0;
        }
    }
    line->len = 0;
}

static void
say(struct line *line, const char *key, int64_t value)
{
    add(line, key);
    add(line, ": ");
    add_i64(line, value);
    end(line);
}

/* --- The parts of a dump. */

static void
dump_program(struct line *line)
{
    add(line, "tidegate crash dump: ids, lengths and states of a process that died of a bug");
    end(line);
    add(line, "version: " TIDEGATE_VERSION);
    end(line);
    add(line, "build_id: ");
    for (size_t i = 0; i < build_id_len; i++) {
        add_digits(line, build_id[i] >> 4, 16);
        add_digits(line, build_id[i] & 15, 16);
    }
    end(line);
    say(line, "time_ms", clock_wall_ms());
    say(line, "mono_us", clock_mono_us());
    say(line, "pid", getpid());
    add(line, "load_base: ");
    add_address(line, load_base);
    end(line);
}

static void
add_thread(struct line *line, int thread)
{
    const char *word = NULL;
    int index = 0;
    if (thread >= 0 && trail_thread_name(thread, &word, &index)) {
        add(line, word);
        add(line, "-");
        add_i64(line, index);
    } else {
        add(line, "unnamed");
    }
}

static void
dump_signal(struct line *line, int number, const siginfo_t *info)
{
    add(line, "signal: ");
    add_i64(line, number);
    for (size_t i = 0; i < countof(caught); i++) {
        if (caught[i].number == number) {
            add(line, " ");
            add(line, caught[i].name);
        }
    }
    add(line, " code ");
    add_i64(line, info->si_code);
    if (info->si_code <= 0) { /* another process, or we */
        add(line, " from pid ");
        add_i64(line, info->si_pid);
    } else {
        add(line, " at ");
        add_address(line, (uintptr_t)info->si_addr);
    }
    end(line);
    add(line, "thread: ");
    add_thread(line, trail_own_thread());
    add(line, " tid ");
    add_i64(line, syscall(SYS_gettid));
    end(line);
}

static void
dump_counts(struct line *line)
{
    say(line, "connections_of_clients", counter_get(COUNTER_CONNECTIONS_OPEN));
    say(line, "connections_to_providers", counter_get(COUNTER_UPSTREAM_CONNECTIONS_OPEN));
    say(line, "requests_open", counter_get(COUNTER_REQUESTS_OPEN));
    say(line, "streams_open", counter_get(COUNTER_STREAMS_OPEN));
    say(line, "holds_open", counter_get(COUNTER_HOLDS_OPEN));
    say(line, "calls_waiting", counter_get(COUNTER_CALLS_WAITING));
    say(line, "body_bytes_buffered", counter_get(COUNTER_BODY_BYTES_BUFFERED));
    say(line, "settlements_waiting", counter_get(COUNTER_SETTLEMENTS_WAITING));
    say(line, "store_down", counter_get(COUNTER_STORE_DOWN));
}

static void
dump_trail(struct line *line, int thread)
{
    static struct trail_note notes[TRAIL_NOTES]; /* one dump a process */
    const int count = trail_read(thread, notes);
    if (count == 0) {
        return;
    }
    add(line, "events of ");
    add_thread(line, thread);
    add(line, ", oldest first: mono_us what id numbers");
    end(line);
    for (int i = 0; i < count; i++) {
        add(line, "  ");
        add_i64(line, notes[i].mono_us);
        add(line, " ");
        add(line, trail_word(notes[i].what));
        add(line, " ");
        add_i64(line, notes[i].id);
        add(line, " ");
        add_i64(line, notes[i].first);
        add(line, " ");
        add_i64(line, notes[i].second);
        end(line);
    }
}

/* Addresses alone; addr2line makes names of the offsets. */
static void
dump_stack(struct line *line)
{
    static void *frames[FRAMES_MAX];
    add(line, "stack: address offset");
    end(line);
    const int count = backtrace(frames, FRAMES_MAX);
    for (int i = 0; i < count; i++) {
        add(line, "  ");
        add_address(line, (uintptr_t)frames[i]);
        add(line, " ");
        add_address(line, (uintptr_t)frames[i] - load_base);
        end(line);
    }
}

static void
dump_all(int number, const siginfo_t *info)
{
    struct line line = { .len = 0 };
    const int count = trail_thread_count();
    dump_program(&line);
    dump_signal(&line, number, info);
    dump_counts(&line);
    for (int thread = 0; thread < count; thread++) {
        dump_trail(&line, thread);
    }
    dump_stack(&line);
    add(&line, "end of the dump");
    end(&line);
}

static void
on_crash(int number, siginfo_t *info, void *context)
{
    (void)context;
    const int saved_errno = errno;
    if (atomic_flag_test_and_set(&dying)) {
        for (;;) {
            (void)pause(); /* another thread was first; it ends us all */
        }
    }
    const struct sigaction plain = { .sa_handler = SIG_DFL };
    (void)sigaction(SIGALRM, &plain, NULL);
    (void)alarm(DUMP_LIMIT_S);
    if (dump_path[0]) {
        dump_fd = open(
            dump_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    }
    dump_all(number, info);
    if (dump_fd >= 0) {
        (void)fsync(dump_fd);
        (void)close(dump_fd);
    }
    errno = saved_errno;
    (void)sigaction(number, &plain, NULL);
    (void)raise(number); /* waits until this handler is over, then ends the process */
}

/* --- Before. */

static void
take_build_id(const struct dl_phdr_info *info, const ElfW(Phdr) * header)
{
    const unsigned char *at = (const unsigned char *)(info->dlpi_addr + header->p_vaddr);
    size_t left = header->p_memsz;
    while (left >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof(note));
        const size_t name_len = (note.n_namesz + 3U) & ~(size_t)3;
        const size_t bytes_len = (note.n_descsz + 3U) & ~(size_t)3;
        const size_t whole = sizeof(note) + name_len + bytes_len;
        if (whole > left) {
            return;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4
            && memcmp(at + sizeof(note), "GNU", 4) == 0) {
            build_id_len = note.n_descsz < BUILD_ID_BYTES ? note.n_descsz : BUILD_ID_BYTES;
            memcpy(build_id, at + sizeof(note) + name_len, build_id_len);
            return;
        }
        at += whole;
        left -= whole;
    }
}

/* The first object is this program. */
static int
look_at_program(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    load_base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_NOTE && build_id_len == 0) {
            take_build_id(info, &info->dlpi_phdr[i]);
        }
    }
    return 1;
}

void
crash_forbid_dumps(bool dumpable)
{
    const struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &none); /* lowering is always allowed */
    if (!dumpable) {
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

void
crash_open(const char *beside)
{
    void *frame = NULL;
    (void)dl_iterate_phdr(look_at_program, NULL);
    (void)backtrace(&frame, 1); /* loads what it needs while that is still allowed */
    (void)clock_wall_ms();      /* the same */
    dump_path[0] = told_path[0] = '\0';
    if (beside && strlen(beside) + sizeof(".crash.told") <= PATH_MAX) {
        (void)snprintf(dump_path, sizeof(dump_path), "%s.crash", beside);
        (void)snprintf(told_path, sizeof(told_path), "%s.crash.told", beside);
    }
    thread_signal_stacks();
    struct sigaction action = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    (void)sigfillset(&action.sa_mask);
    (void)sigdelset(&action.sa_mask, SIGALRM); /* which bounds the time of the dump */
    for (size_t i = 0; i < countof(caught); i++) {
        (void)sigaction(caught[i].number, &action, NULL);
    }
}

void
crash_tell(void)
{
    struct stat found;
    if (!dump_path[0] || stat(dump_path, &found) != 0) {
        return;
    }
    const bool moved = rename(dump_path, told_path) == 0;
    log_line(LOG_ERROR, "crash",
        "the gateway before this one died of a bug; its dump, without bodies and keys, is in %s: please "
        "report it",
        moved ? told_path : dump_path);
}
