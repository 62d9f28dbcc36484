/* tests/unit/serve/crash_test.c
 *
 * Goal: a thread that comes to the end of its stack leaves a dump too.
 * Method: children die of it, on their first thread and on another one; the file is read. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "serve/crash.h"

#if !defined(__SANITIZE_ADDRESS__)
static int
fall(volatile int *depth) /* NOLINT(misc-no-recursion): there is less stack than that */
{
    volatile char room[4096];
    room[0] = (char)(*depth)++;
    return *depth < 0 ? 0 : fall(depth) + room[0];
}

static void *
fall_on_a_thread(void *arg)
{
    thread_begin("deep");
    (void)fall(arg);
    return NULL;
}

static _Noreturn void
die_of_no_stack(const char *store, bool on_another)
{
    volatile int depth = 0;
    pthread_t thread;
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(nowhere, STDERR_FILENO);
    crash_forbid_dumps(true);
    crash_open(store);
    if (on_another) {
        (void)pthread_create(&thread, NULL, fall_on_a_thread, (void *)(uintptr_t)&depth);
        (void)pthread_join(thread, NULL);
    } else {
        (void)fall(&depth);
    }
    _exit(1);
}
#endif

static void
a_stack_at_its_end_is_told(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
    /* it tells of that itself */
#else
    for (int on_another = 0; on_another <= 1; on_another++) {
        char folder[] = "/tmp/tidegate-crash-XXXXXX";
        char store[64];
        char dump[80];
        static char text[1 << 16];
        assert_non_null(mkdtemp(folder));
        (void)snprintf(store, sizeof(store), "%s/books.db", folder);
        (void)snprintf(dump, sizeof(dump), "%s.crash", store);
        const pid_t child = fork();
        if (child == 0) {
            die_of_no_stack(store, on_another);
        }
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how));
        assert_int_equal(WTERMSIG(how), SIGSEGV);

        FILE *file = fopen(dump, "re");
        assert_non_null(file);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        (void)fclose(file);
        assert_non_null(strstr(text, "signal: 11 SIGSEGV"));
        assert_non_null(strstr(text, "end of the dump"));
        (void)unlink(dump);
        (void)rmdir(folder);
    }
#endif
}

static const struct CMUnitTest tests[] = {
    CASE("a thread that came to the end of its stack leaves a dump", a_stack_at_its_end_is_told),
};
UNIT_MAIN(tests)
