/* tests/unit/log/trail_test.c
 *
 * Goal: a thread's last notes are kept in order, older ones give way, and threads do not mix. */
#include "unit.h"

#include <pthread.h>

#include "log/trail.h"

static void *
other_thread(void *arg)
{
    trail_thread("other", 7);
    trail_note(TRAIL_SETTLED, 99, 1, 2);
    *(int *)arg = trail_own_thread();
    return NULL;
}

static void
the_last_notes_are_kept(void **state)
{
    struct trail_note notes[TRAIL_NOTES];
    const char *word = NULL;
    int index = 0;
    trail_thread("here", 3);
    const int own = trail_own_thread();
    assert_int_equal(trail_read(own, notes), 0);
    for (int64_t i = 0; i < TRAIL_NOTES + 5; i++) {
        trail_note(TRAIL_SENT, i, -i, INT64_MAX);
    }
    assert_int_equal(trail_read(own, notes), TRAIL_NOTES);
    for (int i = 0; i < TRAIL_NOTES; i++) {
        assert_int_equal(notes[i].id, i + 5);
        assert_int_equal(notes[i].first, -(i + 5));
        assert_int_equal(notes[i].second, INT64_MAX);
        assert_string_equal(trail_word(notes[i].what), "sent");
        assert_true(i == 0 || notes[i].mono_us >= notes[i - 1].mono_us);
    }
    assert_true(trail_thread_name(own, &word, &index));
    assert_string_equal(word, "here");
    assert_int_equal(index, 3);
}

static void
threads_do_not_mix(void **state)
{
    pthread_t thread;
    struct trail_note notes[TRAIL_NOTES];
    int other = -1;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(other, trail_own_thread());
    assert_int_equal(trail_read(other, notes), 1);
    assert_int_equal(notes[0].id, 99);
    assert_int_equal(trail_thread_count(), 2);
}

static void
threads_without_room_leave_none(void **state)
{
    for (int i = trail_thread_count(); i < TRAIL_THREADS_MAX + 3; i++) {
        pthread_t thread;
        int other = 0;
        assert_int_equal(pthread_create(&thread, NULL, other_thread, &other), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(other, i < TRAIL_THREADS_MAX ? i : -1);
    }
    assert_int_equal(trail_thread_count(), TRAIL_THREADS_MAX);
}

static const struct CMUnitTest tests[] = {
    CASE("a thread's last notes are kept, in order", the_last_notes_are_kept),
    CASE("threads do not mix their notes", threads_do_not_mix),
    CASE("threads beyond the bound leave none", threads_without_room_leave_none),
};
UNIT_MAIN(tests)
