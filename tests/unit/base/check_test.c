/* tests/unit/base/check_test.c
 *
 * Goal: a failed check names its place, calls the dump hook once and aborts, also when the hook
 * itself fails one; statuses have words; lists keep their order.
 * Method: children die of a bug, their standard error is read through a pipe. */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/list.h"
#include "base/status.h"

static void
dump_says_so(void)
{
    (void)!write(STDERR_FILENO, "dump\n", 5);
}

static void
dump_fails_too(void)
{
    (void)!write(STDERR_FILENO, "dump\n", 5);
    check(false);
}

/* Runs a failing check in a child; fills `said` with its standard error; the signal it died of. */
static int
die_of_a_bug(void (*dump)(void), const char *condition, char *said, size_t said_size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = { 0, 0 };
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL); /* the test harness has its own */
        (void)dup2(ends[1], STDERR_FILENO);
        check_set_dump(dump);
        check_failed(condition, "here.c", 12, "function");
    }
    (void)close(ends[1]);
    size_t len = 0;
    ssize_t got = 0;
    while (len < said_size - 1 && (got = read(ends[0], said + len, said_size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    said[len] = '\0';
    (void)close(ends[0]);
    int child_status = 0;
    assert_int_equal(waitpid(child, &child_status, 0), child);
    return WIFSIGNALED(child_status) ? WTERMSIG(child_status) : 0;
}

static void
a_failed_check_names_its_place(void **state)
{
    char said[2048];
    assert_int_equal(die_of_a_bug(NULL, "a > 0", said, sizeof(said)), SIGABRT);
    assert_string_equal(said, "bug: check failed: a > 0 at here.c:12 in function()\n");
}

static void
the_dump_is_called_once(void **state)
{
    char said[2048];
    assert_int_equal(die_of_a_bug(dump_says_so, "a", said, sizeof(said)), SIGABRT);
    assert_string_equal(said, "bug: check failed: a at here.c:12 in function()\ndump\n");
    assert_int_equal(die_of_a_bug(dump_fails_too, "a", said, sizeof(said)), SIGABRT);
    const char *first = strstr(said, "dump\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "dump\n"));
}

static void
a_long_condition_is_cut(void **state)
{
    char condition[1000];
    char said[2048];
    memset(condition, 'x', sizeof(condition) - 1);
    condition[sizeof(condition) - 1] = '\0';
    assert_int_equal(die_of_a_bug(NULL, condition, said, sizeof(said)), SIGABRT);
    assert_int_equal(strlen(said), 511);
    assert_int_equal(said[510], '\n');
}

static void
a_true_check_does_nothing(void **state)
{
    int count = 0;
    check(++count == 1);
    assert_int_equal(count, 1); /* evaluated, once */
}

static void
statuses_have_words(void **state)
{
    for (int i = STATUS_OK; i <= STATUS_CLOSED; i++) {
        assert_string_not_equal(status_name((enum status)i), "unknown");
    }
    assert_string_equal(status_name(STATUS_OK), "ok");
    assert_string_equal(status_name(STATUS_NOT_FOUND), "not found");
    assert_string_equal(status_name((enum status)999), "unknown");
}

struct item {
    int value;
    struct list node;
};

static void
lists_keep_their_order(void **state)
{
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    struct item items[3] = { { .value = 0 }, { .value = 1 }, { .value = 2 } };
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[2].node);
    list_push_front(&head, &items[0].node);
    int expected = 0;
    for (struct list *node = head.next; node != &head; node = node->next) {
        assert_int_equal(list_entry(node, struct item, node)->value, expected++);
    }
    assert_int_equal(expected, 3);
    list_remove(&items[1].node);
    list_remove(&items[1].node); /* off the list already */
    assert_ptr_equal(head.next, &items[0].node);
    assert_ptr_equal(head.next->next, &items[2].node);
    list_remove(&items[0].node);
    list_remove(&items[2].node);
    assert_true(list_empty(&head));
}

static const struct CMUnitTest tests[] = {
    CASE("a failed check names its place and aborts", a_failed_check_names_its_place),
    CASE("the dump hook is called once, even when it fails", the_dump_is_called_once),
    CASE("a long condition is cut at the end of the line", a_long_condition_is_cut),
    CASE("a true check does nothing", a_true_check_does_nothing),
    CASE("every status has a word", statuses_have_words),
    CASE("lists keep their order", lists_keep_their_order),
};
UNIT_MAIN(tests)
