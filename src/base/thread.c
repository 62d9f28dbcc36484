/* base/thread.c: names, and the second stacks of threads. */
#include "base/thread.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define STACK_BYTES ((size_t)64 << 10)
#define GUARD_BYTES                                                                                \
    ((size_t)64 << 10) /* a multiple of any page: a handler that needs more dies, alone */

static bool with_stacks = false; /* written before there are threads */
static pthread_key_t stack_key;  /* whose destructor gives a thread's stack back */

static void
free_stack(void *memory)
{
    const stack_t none = { .ss_flags = SS_DISABLE };
    (void)sigaltstack(&none, NULL); /* this thread is over: nothing runs on it */
    (void)munmap(memory, GUARD_BYTES + STACK_BYTES);
}

/* Untouched, it takes no memory. Without one, a handler runs on the stack that is there. */
static void
take_stack(void)
{
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const size_t bytes = GUARD_BYTES + STACK_BYTES;
    // cppcheck-suppress invalidFunctionArg ; memory of no file
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind, -1, 0);
    if (memory == MAP_FAILED) {
        return;
    }
    const stack_t own = { .ss_sp = (char *)memory + GUARD_BYTES, .ss_size = STACK_BYTES };
    if (mprotect(memory, GUARD_BYTES, PROT_NONE) != 0 || pthread_setspecific(stack_key, memory) != 0
        || sigaltstack(&own, NULL) != 0) {
        (void)pthread_setspecific(stack_key, NULL);
        (void)munmap(memory, bytes);
    }
}

static void
set_name(const char *name)
{
#ifdef __APPLE__
    (void)pthread_setname_np(name);
#else
    (void)pthread_setname_np(pthread_self(), name);
#endif
}

void
thread_begin(const char *name)
{
    if (name) {
        set_name(name);
    }
    if (with_stacks && !pthread_getspecific(stack_key)) {
        take_stack();
    }
}

void
thread_signal_stacks(void)
{
    if (!with_stacks) {
        with_stacks = pthread_key_create(&stack_key, free_stack) == 0;
    }
    thread_begin(NULL);
}
