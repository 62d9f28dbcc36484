/* base/check.h: the idiom for bugs, and the few words every file uses.
 *
 * A failed check() is a bug of ours: it prints where and aborts. No input from a client, an
 * upstream, a file or the database may reach one; those get a status (operating error) or a reason
 * (refusal). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(format_index, first_arg)                                                       \
    __attribute__((format(printf, format_index, first_arg)))
#define UNUSED __attribute__((unused))

#define countof(array) (sizeof(array) / sizeof((array)[0]))

#define check(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            check_failed(#condition, __FILE__, __LINE__, __func__);                                \
        }                                                                                          \
    } while (0)

/* Prints the condition and its place to standard error, calls the dump hook if set, aborts. */
NORETURN void check_failed(const char *condition, const char *file, int line, const char *function);

/* Called once before aborting; it may write ids, lengths and states, never bodies. NULL = none. */
void check_set_dump(void (*dump)(void));
