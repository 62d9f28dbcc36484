/* tests/unit/base/thread_test.c
 *
 * Goal: a thread has the name it was given and a second stack for signal handlers, which goes when it goes.
 * Method: threads look at themselves; the mappings of the process are counted. */
#include "unit.h"

#include <signal.h>
#include <string.h>

#include "base/thread.h"

struct seen {
    char name[16];
    stack_t stack;
};

static void *
look_at_itself(void *arg)
{
    struct seen *seen = arg;
    thread_begin("a thread's name");
    (void)pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    (void)sigaltstack(NULL, &seen->stack);
    return NULL;
}

static struct seen
run_one(void)
{
    struct seen seen = { .name = "" };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_at_itself, &seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return seen;
}

#if !defined(__SANITIZE_ADDRESS__)
static int
mapping_count(void)
{
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    for (int byte = getc(maps); byte != EOF; byte = getc(maps)) {
        count += byte == '\n';
    }
    (void)fclose(maps);
    return count;
}
#endif

static void
a_thread_has_its_name(void **state)
{
    assert_string_equal(run_one().name, "a thread's name");
}

static void
a_thread_has_a_second_stack(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
    /* it has its own, and takes away what it finds at a thread's end */
#else
    stack_t own;
    assert_true(run_one().stack.ss_flags & SS_DISABLE); /* nobody asked for them yet */
    thread_signal_stacks();
    thread_signal_stacks();
    assert_int_equal(sigaltstack(NULL, &own), 0);
    assert_false(own.ss_flags & SS_DISABLE);

    const struct seen seen = run_one();
    assert_false(seen.stack.ss_flags & SS_DISABLE);
    assert_ptr_not_equal(seen.stack.ss_sp, own.ss_sp);
    assert_true(seen.stack.ss_size >= (size_t)MINSIGSTKSZ);
    memset(own.ss_sp, 1, own.ss_size); /* all of it is there */

    const int before = mapping_count();
    for (int i = 0; i < 100; i++) {
        (void)run_one();
    }
    assert_true(mapping_count() < before + 50); /* the system's own stacks of threads may be kept */
#endif
}

static const struct CMUnitTest tests[] = {
    CASE("a thread has the name it was given", a_thread_has_its_name),
    CASE("a thread has a second stack for as long as it lives", a_thread_has_a_second_stack),
};
UNIT_MAIN(tests)
