/* tests/unit/engine/lines_test.c
 *
 * Goal: who is refused only because others hold the rest waits in a line: first come, first served, tried
 * again when something of its limit moves, refused with its first reason at its deadline, never answered
 * twice and never forgotten.
 * Method: one purse that a first call holds whole, and calls behind it. */
#include "house.h"

#include <string.h>

static struct limit *
a_purse(struct house *house, int64_t cap)
{
    return add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, cap);
}

/* A call of `cost` micros: all input. */
static struct event
a_call_of(struct house *house, int64_t cost)
{
    static const char threads[] = "abcdefghijklmnopqrstuvwxyz";
    return house_call(house, MODEL_PAID, cost, 0, threads[house->next_slot % 26]);
}

/* Submits a call that must go into a line. */
static uint32_t
wait_in_line(struct house *house, int64_t cost)
{
    const uint32_t slot = submit(house, a_call_of(house, cost));
    const struct verdict verdict = await_slot(house, slot);
    assert_int_equal(verdict.kind, VERDICT_WAIT);
    assert_int_equal(verdict.refusal.reason, REASON_COST_HELD);
    assert_int_equal(verdict.refusal.retry_after_ms, house->policy->held_wait_ms);
    return slot;
}

static void
first_come_first_served(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    int64_t open = ask_allowed(house, a_call_of(house, 300)).hold_id;
    uint32_t slots[20];
    for (int i = 0; i < 20; i++) {
        slots[i] = wait_in_line(house, 300);
    }
    assert_int_equal(state_of(house).waiting, 20);
    for (int i = 0; i < 20; i++) {
        submit_untold(house, a_release(open));
        const struct verdict verdict = await_slot(house, slots[i]);
        assert_int_equal(verdict.kind, VERDICT_ALLOWED);
        open = verdict.hold_id;
    }
    assert_true(nothing_comes(house, 20));
    assert_int_equal(state_of(house).waiting, 0);
    assert_int_equal(books_of(house).hold_count, 1);
}

static void
who_comes_later_waits_behind(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    const int64_t open = ask_allowed(house, a_call_of(house, 200)).hold_id;
    const uint32_t large = wait_in_line(house, 300);
    const uint32_t small = wait_in_line(house, 50); /* it would fit, but the other was here first */
    const struct verdict spent = ask(house, a_call_of(house, 301));
    assert_int_equal(spent.refusal.reason, REASON_COST_SPENT); /* waiting would be in vain */
    ask_allowed(house, house_call(house, MODEL_FREE, 10, 0, 'f'));
    submit_untold(house, a_release(open));
    const struct verdict verdict = await_slot(house, large);
    submit_untold(house, a_release(verdict.hold_id));
    assert_int_equal(await_slot(house, small).kind, VERDICT_ALLOWED);
}

static void
in_one_batch_the_order_holds(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    const int64_t open = ask_allowed(house, a_call_of(house, 200)).hold_id;
    atomic_store(&faults.commit_waits, true);
    submit_untold(house, house_call(house, MODEL_FREE, 10, 0, 'f'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    const uint32_t large = submit(house, a_call_of(house, 300)); /* both in the next batch */
    const uint32_t small = submit(house, a_call_of(house, 50));
    atomic_store(&faults.commit_waits, false);
    assert_int_equal(await_slot(house, large).kind, VERDICT_WAIT);
    assert_int_equal(await_slot(house, small).kind, VERDICT_WAIT);
    submit_untold(house, a_release(open));
    assert_int_equal(await_slot(house, large).kind, VERDICT_ALLOWED);
}

static void
room_that_comes_in_the_batch_that_refuses(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    const int64_t open = ask_allowed(house, a_call_of(house, 300)).hold_id;
    atomic_store(&faults.commit_waits, true);
    submit_untold(house, house_call(house, MODEL_FREE, 10, 0, 'f'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    const uint32_t slot = submit(house, a_call_of(house, 300));
    submit_untold(house, a_release(open)); /* right behind it */
    atomic_store(&faults.commit_waits, false);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_WAIT);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_ALLOWED);
}

static void
refused_at_the_deadline_with_the_first_reason(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 60;
    struct limit *day = a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 200));
    const int64_t start_ms = clock_mono_ms();
    const uint32_t first = wait_in_line(house, 150);
    const uint32_t second = wait_in_line(house, 120);
    struct verdict verdict = await_slot(house, first);
    assert_true(clock_mono_ms() - start_ms >= 60);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_int_equal(verdict.refusal.reason, REASON_COST_HELD);
    assert_int_equal(verdict.refusal.limit_id, day->limit_id);
    assert_int_equal(verdict.refusal.retry_after_ms, 1000);
    assert_true(verdict.refusal.ledger_id > 0);
    verdict = await_slot(house, second);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_true(nothing_comes(house, 20));
    assert_int_equal(state_of(house).waiting, 0);
    UNTIL(books_of(house).refusals == 2);
}

static void
who_leaves_makes_room_for_the_next(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 150;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 200));
    const uint32_t large = wait_in_line(house, 300);
    pause_ms(70);
    const uint32_t small = wait_in_line(house, 50); /* fits as soon as the other has gone, though nothing moved */
    assert_int_equal(await_slot(house, large).kind, VERDICT_REFUSED);
    assert_int_equal(await_slot(house, small).kind, VERDICT_ALLOWED);
}

static void
who_is_refused_for_good_makes_room_too(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    const int64_t open = ask_allowed(house, a_call_of(house, 200)).hold_id;
    const uint32_t large = wait_in_line(house, 300);
    const uint32_t small = wait_in_line(house, 60);
    const uint32_t middle = wait_in_line(house, 150);
    submit_untold(house, a_settle(open, 200, 0)); /* now 200 are spent: the large one never fits */
    assert_int_equal(await_slot(house, large).refusal.reason, REASON_COST_SPENT);
    assert_int_equal(await_slot(house, small).kind, VERDICT_ALLOWED);
    assert_int_equal(await_slot(house, middle).refusal.reason, REASON_COST_SPENT);
    assert_int_equal(state_of(house).waiting, 0);
}

static void
blocked_by_another_limit_it_moves_there(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 250);
    house_start(house);
    const int64_t in_tree = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 't')).hold_id;
    const int64_t outside = ask_allowed(house, house_call(house, MODEL_PAID, 200, 0, 'u')).hold_id;
    const uint32_t first = submit(house, house_call(house, MODEL_PAID, 200, 0, 't'));
    assert_string_equal(await_slot(house, first).refusal.limit_name, "tree"); /* the first in the order of checks */
    const uint32_t second = submit(house, house_call(house, MODEL_PAID, 201, 0, 'v'));
    assert_string_equal(await_slot(house, second).refusal.limit_name, "day");
    submit_untold(house, a_release(in_tree)); /* the tree has room, the day has not: it goes before the second */
    assert_true(nothing_comes(house, 30));
    assert_int_equal(state_of(house).waiting, 2);
    submit_untold(house, a_release(outside));
    const struct verdict verdict = await_slot(house, first);
    assert_int_equal(verdict.kind, VERDICT_ALLOWED);
    assert_true(nothing_comes(house, 30));
    submit_untold(house, a_release(verdict.hold_id));
    assert_int_equal(await_slot(house, second).kind, VERDICT_ALLOWED);
}

static void
the_first_reason_is_told_wherever_it_waits(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 150;
    a_purse(house, 300);
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 250);
    house_start(house);
    const int64_t in_tree = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 't')).hold_id;
    ask_allowed(house, house_call(house, MODEL_PAID, 200, 0, 'u'));
    const uint32_t slot = submit(house, house_call(house, MODEL_PAID, 200, 0, 't'));
    assert_string_equal(await_slot(house, slot).refusal.limit_name, "tree");
    atomic_store(&faults.commit_waits, true);
    submit_untold(house, a_release(in_tree));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    submit_untold(house, house_call(house, MODEL_FREE, 10, 0, 'f'));
    const int before = atomic_load(&faults.commits);
    atomic_store(&faults.commit_passes, 1); /* now it is decided anew: the day has no room, beside the free call */
    UNTIL(atomic_load(&faults.commits) == before + 1 && atomic_load(&faults.commits_waiting) == 1);
    pause_ms(160);
    atomic_store(&faults.commit_waits, false); /* its time is over before it could move */
    const struct verdict verdict = await_slot(house, slot);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_string_equal(verdict.refusal.limit_name, "tree");
    assert_int_equal(state_of(house).waiting, 0);
}

static void
a_waiter_who_left_gives_its_room_back(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    const int64_t open = ask_allowed(house, a_call_of(house, 300)).hold_id;
    submit_untold(house, a_call_of(house, 300)); /* nobody will hear of it */
    UNTIL(state_of(house).waiting == 1);
    const uint32_t behind = wait_in_line(house, 300);
    submit_untold(house, a_release(open));
    UNTIL(state_of(house).waiting == 1);
    UNTIL(books_of(house).hold_count == 1);
    submit_untold(house, a_release(books_of(house).hold.hold_id)); /* as replies.c does */
    assert_int_equal(await_slot(house, behind).kind, VERDICT_ALLOWED);
}

/* The newest policy becomes one without limits, and is in force when this is over. */
static void
adopt(struct house *house, int64_t cap)
{
    struct engine_error error;
    house_new_policy(house);
    if (cap > 0) {
        a_purse(house, cap);
    }
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
}

/* As whoever sent the call of that slot: asks again what it asks now. */
static void
answer_anew(struct house *house, const struct verdict *anew, struct event event)
{
    event.reply = anew->reply;
    event.place = anew->place;
    assert_true(engine_submit(house->engine, &event));
}

static struct verdict
await_anew(struct house *house, uint32_t slot)
{
    const struct verdict anew = await_slot(house, slot);
    assert_int_equal(anew.kind, VERDICT_ANEW);
    assert_false(verdict_is_last(&anew));
    assert_true(anew.place > 0);
    return anew;
}

static void
under_a_new_policy_who_waits_asks_again(void **state)
{
    static const struct {
        int64_t cap;
        enum verdict_kind kind;
        enum reason reason;
    } rows[] = {
        { 600, VERDICT_ALLOWED, REASON_OK }, /* there is room now */
        { 0, VERDICT_ALLOWED, REASON_OK },   /* no limit is left */
        { 299, VERDICT_REFUSED, REASON_COST_SPENT }, /* it would never fit */
    };
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    for (size_t i = 0; i < countof(rows); i++) {
        const int64_t open = ask_allowed(house, a_call_of(house, 300)).hold_id;
        const uint32_t slot = wait_in_line(house, 300);
        adopt(house, rows[i].cap);
        const struct verdict anew = await_anew(house, slot);
        assert_int_equal(state_of(house).waiting, 1);
        answer_anew(house, &anew, a_call_of(house, 300));
        const struct verdict verdict = await_slot(house, slot);
        assert_int_equal(verdict.kind, rows[i].kind);
        assert_int_equal(verdict.refusal.reason, rows[i].reason);
        assert_int_equal(state_of(house).waiting, 0);
        submit_untold(house, a_release(open));
        if (verdict.hold_id) {
            submit_untold(house, a_release(verdict.hold_id));
        }
        adopt(house, 300);
        UNTIL(books_of(house).hold_count == 0);
    }
    assert_true(nothing_comes(house, 20));
}

static void
the_order_stays_whoever_answers_first(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 300));
    const uint32_t first = wait_in_line(house, 200);
    const uint32_t second = wait_in_line(house, 200);
    adopt(house, 700);
    const struct verdict first_anew = await_anew(house, first);
    const struct verdict second_anew = await_anew(house, second);
    const uint32_t later = wait_in_line(house, 10);
    answer_anew(house, &second_anew, a_call_of(house, 200));
    assert_true(nothing_comes(house, 20)); /* it fits, but the first has not been heard yet */
    answer_anew(house, &first_anew, a_call_of(house, 200));
    assert_int_equal(await_slot(house, first).kind, VERDICT_ALLOWED);
    assert_int_equal(await_slot(house, second).kind, VERDICT_ALLOWED);
    submit_untold(house, a_release(books_of(house).hold.hold_id));
    assert_int_equal(await_slot(house, later).kind, VERDICT_ALLOWED);
}

/* Who is in line keeps his deadline, and has one answer, however long the store takes. */
static void
an_answer_that_a_slow_store_holds_up_is_not_refused(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 60000;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 300));
    const uint32_t slot = wait_in_line(house, 200);
    adopt(house, 700);
    const struct verdict anew = await_anew(house, slot);
    atomic_store(&faults.commit_waits, true);
    submit_untold(house, a_call_of(house, 10));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    answer_anew(house, &anew, a_call_of(house, 200));
    assert_true(nothing_comes(house, ENGINE_STORE_DEADLINE_MS + 1500));
    atomic_store(&faults.commit_waits, false);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_ALLOWED);
    assert_true(nothing_comes(house, 20));
}

static void
an_answer_that_is_overtaken_is_asked_for_once_more(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 300));
    const uint32_t slot = wait_in_line(house, 300);
    adopt(house, 300);
    const struct event old = a_call_of(house, 300);
    struct verdict anew = await_anew(house, slot);
    adopt(house, 600);
    assert_true(nothing_comes(house, 20)); /* one question at a time */
    answer_anew(house, &anew, old);
    anew = await_anew(house, slot);
    answer_anew(house, &anew, a_call_of(house, 300));
    assert_int_equal(await_slot(house, slot).kind, VERDICT_ALLOWED);
}

static void
a_call_that_was_on_its_way_asks_again_too(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 300));
    const struct event old = a_call_of(house, 300);
    adopt(house, 600);
    const uint32_t slot = submit(house, old);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_WAIT);
    const struct verdict anew = await_anew(house, slot);
    answer_anew(house, &anew, a_call_of(house, 300));
    assert_int_equal(await_slot(house, slot).kind, VERDICT_ALLOWED);
}

static void
the_deadline_stays_over_a_new_policy(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 150;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 200));
    const uint32_t silent = wait_in_line(house, 300);
    const uint32_t slot = wait_in_line(house, 300);
    adopt(house, 400); /* under this one a call waits for seconds */
    const struct verdict silent_anew = await_anew(house, silent);
    const struct verdict anew = await_anew(house, slot);
    answer_anew(house, &anew, a_call_of(house, 300));
    assert_int_equal(await_slot(house, silent).refusal.cap, 300);
    const struct verdict late = await_slot(house, slot);
    assert_int_equal(late.kind, VERDICT_REFUSED);
    assert_int_equal(late.refusal.cap, 400); /* what it waits for since */
    answer_anew(house, &silent_anew, a_call_of(house, 300));
    assert_true(nothing_comes(house, 20)); /* it has its answer */
    assert_int_equal(state_of(house).waiting, 0);
}

static void
who_is_not_there_to_ask_again_makes_room(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 200));
    const uint32_t gone = wait_in_line(house, 300);
    const uint32_t behind = wait_in_line(house, 100);
    adopt(house, 300);
    const struct verdict gone_anew = await_anew(house, gone);
    const struct verdict anew = await_anew(house, behind);
    answer_anew(house, &anew, a_call_of(house, 100));
    assert_true(nothing_comes(house, 20));
    struct event event;
    assert_true(verdict_untaken(&gone_anew, &event));
    assert_true(engine_submit(house->engine, &event)); /* as replies.c does */
    assert_int_equal(await_slot(house, behind).kind, VERDICT_ALLOWED);
    assert_true(nothing_comes(house, 20));
}

static void
lines_are_bounded(void **state)
{
    struct house *house = *state;
    a_purse(house, 300);
    house_start(house);
    ask_allowed(house, a_call_of(house, 300));
    for (int i = 0; i < ENGINE_WAITERS_MAX; i++) {
        submit_untold(house, a_call_of(house, 10));
        if (i % 1000 == 0) {
            UNTIL(state_of(house).queued == 0);
        }
    }
    UNTIL(state_of(house).waiting == ENGINE_WAITERS_MAX);
    const struct verdict verdict = ask(house, a_call_of(house, 10));
    assert_int_equal(verdict.kind, VERDICT_REFUSED); /* at once */
    assert_int_equal(verdict.refusal.reason, REASON_COST_HELD);
}

static void
the_wall_clock_is_not_asked(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 60;
    a_purse(house, 300);
    house_start(house);
    /* Time stands still for the gate while the wall clock is behind the stored high-water mark. */
    house->engine->node.high_water_ms += HOUR_MS;
    ask_allowed(house, a_call_of(house, 300));
    const uint32_t slot = wait_in_line(house, 10);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_REFUSED);
}

static const struct CMUnitTest tests[] = {
    BOTH("first come, first served", first_come_first_served),
    CASE_WITH("who comes later waits behind, though it would fit", who_comes_later_waits_behind, house_in_memory, house_end),
    CASE_WITH("the order holds within one batch", in_one_batch_the_order_holds, house_in_memory, house_end),
    CASE_WITH("room that comes right behind a refusal is noticed", room_that_comes_in_the_batch_that_refuses, house_in_memory,
        house_end),
    BOTH("at its deadline a waiter is refused with its first reason", refused_at_the_deadline_with_the_first_reason),
    CASE_WITH("who gives up makes room for the next", who_leaves_makes_room_for_the_next, house_in_memory, house_end),
    CASE_WITH("who is refused for good makes room for the next", who_is_refused_for_good_makes_room_too, house_in_memory,
        house_end),
    CASE_WITH("blocked by another limit it moves there with its arrival", blocked_by_another_limit_it_moves_there,
        house_in_memory, house_end),
    CASE_WITH("the first reason is told, wherever it waits by then", the_first_reason_is_told_wherever_it_waits,
        house_in_memory, house_end),
    CASE_WITH("a waiter who left gives its room back", a_waiter_who_left_gives_its_room_back, house_in_memory, house_end),
    BOTH("under a new policy who waits asks again", under_a_new_policy_who_waits_asks_again),
    CASE_WITH("the order stays, whoever asks again first", the_order_stays_whoever_answers_first, house_in_memory, house_end),
    CASE_WITH("an answer that a slow store holds up is not refused", an_answer_that_a_slow_store_holds_up_is_not_refused,
        house_in_memory, house_end),
    CASE_WITH("an answer that one more policy overtakes is asked for once more", an_answer_that_is_overtaken_is_asked_for_once_more,
        house_in_memory, house_end),
    CASE_WITH("a call that was on its way to the gate asks again too", a_call_that_was_on_its_way_asks_again_too, house_in_memory,
        house_end),
    CASE_WITH("the deadline stays over a new policy", the_deadline_stays_over_a_new_policy, house_in_memory, house_end),
    CASE_WITH("who is not there to ask again makes room", who_is_not_there_to_ask_again_makes_room, house_in_memory, house_end),
    CASE_WITH("lines are bounded", lines_are_bounded, house_in_memory, house_end),
    CASE_WITH("deadlines do not hang on the wall clock", the_wall_clock_is_not_asked, house_in_memory, house_end),
};
UNIT_MAIN(tests)
