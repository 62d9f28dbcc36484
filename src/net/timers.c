/* net/timers.c: the timers of a loop.
 *
 * A wheel of 64 slots for each base-64 digit of the time. A timer stands at the highest digit in
 * which its due time differs from now; when the wheel's time reaches a slot above the lowest
 * level, its timers move down. Starting and stopping take no memory and no search. */
#include "net/net_priv.h"

#define SLOT_OFF     (-1)
#define SLOT_EXPIRED (-2)
#define AFTER_MS_MAX (INT64_C(1) << 40)

static int
digit(int64_t at_ms, int level)
{
    return (int)((uint64_t)at_ms >> (level * WHEEL_DIGIT_BITS)) & (WHEEL_SLOTS - 1);
}

static int
level_of(int64_t now_ms, int64_t due_ms)
{
    const uint64_t differing = (uint64_t)now_ms ^ (uint64_t)due_ms;
    const int level = (63 - __builtin_clzll(differing)) / WHEEL_DIGIT_BITS;
    check(level < WHEEL_LEVELS);
    return level;
}

void
net_wheel_put(struct net_wheel *wheel, struct net_timer *timer)
{
    if (timer->due_mono_ms <= wheel->now_mono_ms) {
        list_push_back(&wheel->expired, &timer->node);
        timer->wheel_slot = SLOT_EXPIRED;
        return;
    }
    const int level = level_of(wheel->now_mono_ms, timer->due_mono_ms);
    const int slot = digit(timer->due_mono_ms, level);
    list_push_back(&wheel->slots[level][slot], &timer->node);
    wheel->filled[level] |= UINT64_C(1) << slot;
    timer->wheel_slot = level * WHEEL_SLOTS + slot;
}

void
net_wheel_take(struct net_wheel *wheel, struct net_timer *timer)
{
    list_remove(&timer->node);
    if (timer->wheel_slot >= 0) {
        const int level = timer->wheel_slot / WHEEL_SLOTS;
        const int slot = timer->wheel_slot % WHEEL_SLOTS;
        if (list_empty(&wheel->slots[level][slot])) {
            wheel->filled[level] &= ~(UINT64_C(1) << slot);
        }
    }
    timer->wheel_slot = SLOT_OFF;
}

/* When the wheel must turn next: the first time at which a slot with timers is reached. */
static int64_t
wheel_next(const struct net_wheel *wheel, int *level_out)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        const uint64_t filled = wheel->filled[level];
        if (filled) { /* all of them are ahead: net_wheel_put and net_wheel_turn see to it */
            const int shift = level * WHEEL_DIGIT_BITS;
            const uint64_t above = (uint64_t)wheel->now_mono_ms >> shift >> WHEEL_DIGIT_BITS;
            const uint64_t slot = (uint64_t)__builtin_ctzll(filled);
            *level_out = level;
            return (int64_t)((above << WHEEL_DIGIT_BITS | slot) << shift);
        }
    }
    return NET_NEVER_MONO_MS;
}

void
net_wheel_turn(struct net_wheel *wheel, int64_t now_ms)
{
    int level = 0;
    for (int64_t next = wheel_next(wheel, &level); next <= now_ms;
         next = wheel_next(wheel, &level)) {
        const int slot = digit(next, level);
        struct list *reached = &wheel->slots[level][slot];
        wheel->now_mono_ms = next;
        wheel->filled[level] &= ~(UINT64_C(1) << slot);
        while (!list_empty(reached)) {
            struct net_timer *timer = list_entry(reached->next, struct net_timer, node);
            list_remove(&timer->node);
            net_wheel_put(wheel, timer); /* lower, or expired */
        }
    }
    wheel->now_mono_ms = max_i64(wheel->now_mono_ms, now_ms);
}

static void on_uv_timer(uv_timer_t *uv);

static void
wheel_arm(struct net_loop *loop)
{
    struct net_wheel *wheel = &loop->wheel;
    int level = 0;
    const int64_t next =
        list_empty(&wheel->expired) ? wheel_next(wheel, &level) : wheel->now_mono_ms;
    if (next < wheel->armed_mono_ms) {
        const int64_t after_ms = max_i64(0, next - net_loop_mono_ms(loop));
        wheel->armed_mono_ms = next;
        check(uv_timer_start(&wheel->uv, on_uv_timer, (uint64_t)after_ms, 0) == 0);
    }
}

static void
on_uv_timer(uv_timer_t *uv)
{
    struct net_loop *loop = uv->data;
    struct net_wheel *wheel = &loop->wheel;

    wheel->armed_mono_ms = NET_NEVER_MONO_MS;
    net_wheel_turn(wheel, net_loop_mono_ms(loop));
    /* One that a callback starts for at once has its turn in the next round of the loop. */
    struct list due;
    list_init(&due);
    while (!list_empty(&wheel->expired)) {
        struct list *node = wheel->expired.next;
        list_remove(node);
        list_push_back(&due, node);
    }
    while (!list_empty(&due)) {
        struct net_timer *timer = list_entry(due.next, struct net_timer, node);
        net_wheel_take(wheel, timer);
        timer->due_mono_ms = 0;
        timer->on_timer(timer);
    }
    wheel_arm(loop);
}

void
net_wheel_init(struct net_wheel *wheel, int64_t now_ms)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        wheel->filled[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
    list_init(&wheel->expired);
    wheel->now_mono_ms = now_ms;
}

int
net_wheel_open(struct net_loop *loop)
{
    struct net_wheel *wheel = &loop->wheel;
    net_wheel_init(wheel, net_loop_mono_ms(loop));
    wheel->armed_mono_ms = NET_NEVER_MONO_MS;
    wheel->uv.data = loop;
    return uv_timer_init(&loop->uv, &wheel->uv);
}

void
net_timer_init(struct net_timer *timer, struct net_loop *loop, void (*on_timer)(struct net_timer *))
{
    *timer = (struct net_timer){ .loop = loop, .on_timer = on_timer, .wheel_slot = SLOT_OFF };
    list_init(&timer->node);
}

void
net_timer_start(struct net_timer *timer, int64_t after_ms)
{
    check(timer->on_timer);
    net_timer_stop(timer);
    const int64_t wait_ms = min_i64(max_i64(0, after_ms), AFTER_MS_MAX);
    timer->due_mono_ms = max_i64(1, net_loop_mono_ms(timer->loop) + wait_ms);
    net_wheel_put(&timer->loop->wheel, timer);
    wheel_arm(timer->loop);
}

void
net_timer_stop(struct net_timer *timer)
{
    if (timer->wheel_slot != SLOT_OFF) {
        net_wheel_take(&timer->loop->wheel, timer);
    }
    timer->due_mono_ms = 0;
}
