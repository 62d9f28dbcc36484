/* tests/unit/serve/watchdog_test.c
 *
 * Goal: a service manager hears of life for as long as every loop turns, of none when one of them hangs, and again
 * when it turns on.
 * Method: beats of a table; then two real loops, of which one is held fast while the other counts its own beats. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve/notify.h"
#include "serve/watchdog.h"

#define NONE INT64_MAX

static void
one_late_beat_is_one_too_many(void **state)
{
    static const struct {
        int64_t beats[3];
        bool all_turn;
    } rows[] = {
        { { 1000, 1000, 1000 }, true },
        { { 1000, 800, 1000 }, true },  /* a period ago */
        { { 1000, 799, 1000 }, false },
        { { 799, 1000, 1000 }, false },
        { { 1000, 1000, 0 }, false },
        { { 1000, NONE, NONE }, true }, /* not begun, or over */
        { { NONE, NONE, NONE }, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        static struct watchdog watchdog;
        watchdog_open(&watchdog, 100);
        for (int j = 0; j < 3; j++) {
            atomic_store(&watchdog.beats[j].mono_ms, rows[i].beats[j]);
        }
        assert_int_equal(watchdog_all_turn(&watchdog, 1000), rows[i].all_turn);
    }
}

/* --- Two loops. */

enum { FREE, HELD, LET_GO };

static struct watchdog dog;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int second; /* what the other loop does: read by it under the lock, written by loop 0 */
static int manager;
static struct net_timer look;
static bool is_held; /* of the lock */
static int looks, looks_held, heard_free, heard_held, heard_again;

static int
hear(void)
{
    char text[64];
    int count = 0;
    while (recv(manager, text, sizeof(text), MSG_DONTWAIT) > 0) {
        count++;
    }
    return count;
}

static void
set_second(int what)
{
    (void)pthread_mutex_lock(&lock);
    second = what;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

/* On loop 0, counted in looks of its own: each is a period, and so two beats. */
static void
on_look(struct net_timer *timer)
{
    const int count = hear();
    (void)pthread_mutex_lock(&lock);
    looks_held += is_held;
    (void)pthread_mutex_unlock(&lock);
    if (second == FREE) {
        heard_free += count;
        if (heard_free > 0) {
            set_second(HELD);
            net_loop_wake(net_loop_at(net_loop_net(timer->loop), 1));
        }
    } else if (second == HELD) {
        heard_held += looks_held > 3 ? count : 0; /* its last beat is more than a period old by now */
        if (looks_held == 8) {
            set_second(LET_GO);
        }
    } else {
        heard_again += count;
    }
    if (++looks == 2000 || heard_again > 0) {
        net_stop(net_loop_net(timer->loop), 0);
        return;
    }
    net_timer_start(timer, 2 * dog.every_ms);
}

static void
on_start(struct net_loop *loop)
{
    watchdog_begin(&dog, loop);
    if (net_loop_index(loop) == 0) {
        net_timer_init(&look, loop, on_look);
        net_timer_start(&look, dog.every_ms);
    }
}

static void
on_stop(struct net_loop *loop)
{
    if (net_loop_index(loop) == 0) {
        net_timer_stop(&look);
    }
    watchdog_end(&dog, loop);
}

static void
on_wake(struct net_loop *loop)
{
    (void)pthread_mutex_lock(&lock);
    while (net_loop_index(loop) == 1 && second == HELD) {
        is_held = true;
        (void)pthread_cond_wait(&changed, &lock);
    }
    is_held = false;
    (void)pthread_mutex_unlock(&lock);
}

static void
a_loop_that_hangs_is_heard_of(void **state)
{
    static const struct net_app app = {
        .on_loop_start = on_start, .on_loop_stop = on_stop, .on_wake = on_wake
    };
    const struct net_options options = { .loop_count = 2 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct net_error error;
    struct net *net = NULL;
    (void)snprintf(
        address.sun_path, sizeof(address.sun_path), "/tmp/tidegate-dog-%d", (int)getpid());
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager, (const struct sockaddr *)&address, sizeof(address)), 0);
    (void)notify_open(address.sun_path, NULL);
    watchdog_open(&dog, 20);
    assert_int_equal(net_open(&options, &app, NULL, &net, &error), STATUS_OK);
    assert_int_equal(net_run(net), STATUS_OK);
    net_free(net);
    (void)unlink(address.sun_path);
    (void)close(manager);
    assert_true(heard_free > 0);
    assert_int_equal(heard_held, 0);
    assert_true(heard_again > 0);
    assert_true(watchdog_all_turn(&dog, INT64_MAX - 1)); /* none is expected to any more */
}

static const struct CMUnitTest tests[] = {
    CASE("one late beat is one too many", one_late_beat_is_one_too_many),
    CASE("a loop that hangs is heard of, and when it turns on", a_loop_that_hangs_is_heard_of),
};
UNIT_MAIN(tests)
