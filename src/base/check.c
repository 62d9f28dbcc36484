/* base/check.c: how the program dies of its own bugs: it says where, once, and aborts. */
#include "base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic(void (*)(void)) dump_hook;

void
check_set_dump(void (*dump)(void))
{
    atomic_store(&dump_hook, dump);
}

static void
write_all(const char *text, size_t len)
{
    while (len > 0) {
        const ssize_t written = write(STDERR_FILENO, text, len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return; /* nobody left to tell; the abort itself still speaks */
        }
        text += written;
        len -= (size_t)written;
    }
}

void
check_failed(const char *condition, const char *file, int line, const char *function)
{
    /* No stdio stream: its lock may be held by the very code that failed. */
    char text[512];
    const int len = snprintf(text, sizeof(text), "bug: check failed: %s at %s:%d in %s()\n",
        condition, file, line, function);
    if (len > 0) {
        size_t text_len = (size_t)len;
        if (text_len >= sizeof(text)) {
            text_len = sizeof(text) - 1;
            text[text_len - 1] = '\n';
        }
        write_all(text, text_len);
    }

    /* Taken, not read: a dump that fails a check itself must not start a second dump. */
    void (*dump)(void) = atomic_exchange(&dump_hook, NULL);
    if (dump) {
        dump();
    }
    abort();
}
