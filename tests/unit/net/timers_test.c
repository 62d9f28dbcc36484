/* tests/unit/net/timers_test.c
 *
 * Goal: a timer runs once, not before it is due and at the first turn after; a stopped one never.
 * Method: the wheel is turned by steps of all sizes and compared with a plain array of due times. */
#include "unit.h"

#include <stdlib.h>

#include "net/net_priv.h"

#define TIMERS 500

struct entry {
    struct net_timer timer;
    int64_t due_ms; /* 0 = not running */
};

static uint64_t random_state;

static int64_t
random_below(int64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)bound);
}

/* Sizes from one to 2^`bits`, each as likely. */
static int64_t
random_span(int bits)
{
    return 1 + random_below(INT64_C(1) << (1 + random_below(bits)));
}

static void
wheel_agrees_with_a_plain_list(void **state)
{
    static const int64_t starts_ms[] = { 1, 63, 4095, (INT64_C(1) << 36) - 5000, INT64_C(123456789012) };
    static struct entry entries[TIMERS];
    for (size_t run = 0; run < countof(starts_ms); run++) {
        struct net_wheel *wheel = calloc(1, sizeof(*wheel));
        assert_non_null(wheel);
        int64_t now_ms = starts_ms[run];
        random_state = 88172645463325252U + run;
        net_wheel_init(wheel, now_ms);
        for (size_t i = 0; i < TIMERS; i++) {
            entries[i] = (struct entry){ .timer.wheel_slot = -1 };
            list_init(&entries[i].timer.node);
        }
        for (int step = 0; step < 4000; step++) {
            struct entry *entry = &entries[random_below(TIMERS)];
            if (entry->due_ms) {
                net_wheel_take(wheel, &entry->timer);
                entry->due_ms = 0;
            } else {
                entry->due_ms = entry->timer.due_mono_ms = now_ms + random_span(26);
                net_wheel_put(wheel, &entry->timer);
            }
            if (step % 3 != 0) {
                continue;
            }
            now_ms += random_span(14);
            net_wheel_turn(wheel, now_ms);
            for (size_t i = 0; i < TIMERS; i++) {
                const bool due = entries[i].due_ms && entries[i].due_ms <= now_ms;
                assert_int_equal(entries[i].timer.wheel_slot == -2, due);
                if (due) {
                    net_wheel_take(wheel, &entries[i].timer);
                    entries[i].due_ms = 0;
                }
            }
            assert_true(list_empty(&wheel->expired));
        }
        free(wheel);
    }
}

static struct net_timer timers[4];
static int64_t ran_at_ms[4];
static int ran_order[8];
static int ran_count;

static void
on_timer(struct net_timer *timer)
{
    const int index = (int)(timer - timers);
    ran_at_ms[index] = net_loop_mono_ms(timer->loop);
    ran_order[ran_count++] = index;
    assert_int_equal(timer->due_mono_ms, 0);
    if (index == 0 && ran_count == 2) {
        net_timer_stop(&timers[1]); /* due in the same turn */
        net_timer_start(timer, 30);
    }
    if (index == 3) {
        net_stop(net_loop_net(timer->loop), 0);
    }
}

static int64_t started_ms;

static void
on_loop_start(struct net_loop *loop)
{
    static const int64_t after_ms[] = { 20, 20, 0, 120 };
    started_ms = net_loop_mono_ms(loop);
    for (size_t i = 0; i < countof(timers); i++) {
        net_timer_init(&timers[i], loop, on_timer);
        net_timer_start(&timers[i], 5000);
        net_timer_start(&timers[i], after_ms[i]); /* restarted */
    }
}

static void
timers_run_in_order_and_may_be_stopped_and_restarted(void **state)
{
    static const struct net_app app = { .on_loop_start = on_loop_start };
    static const int order[] = { 2, 0, 0, 3 };
    const struct net_options options = { .loop_count = 1 };
    struct net_error error;
    struct net *net = NULL;
    assert_int_equal(net_open(&options, &app, NULL, &net, &error), STATUS_OK);
    assert_int_equal(net_run(net), STATUS_OK);
    net_free(net);
    assert_int_equal(ran_count, countof(order));
    assert_memory_equal(ran_order, order, sizeof(order));
    assert_true(ran_at_ms[0] - started_ms >= 50);
    assert_true(ran_at_ms[3] - started_ms >= 120 && ran_at_ms[3] - started_ms < 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("the wheel agrees with a plain list", wheel_agrees_with_a_plain_list),
        CASE("timers run in order and may be stopped and restarted",
            timers_run_in_order_and_may_be_stopped_and_restarted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
