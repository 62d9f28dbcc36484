/* tests/unit/engine/restart_test.c
 *
 * Goal: a start rebuilds nothing: it finds the meters as the last commit left them, adds nothing to them and forgets
 * nothing of them, however often it happens and wherever a call stood.
 * Method: an engine over a file, closed and opened; FF-n in a name is the row of the field's failures that the case
 * shows not to happen (tests/failures.txt). */
#include "house.h"

#define STARTS 4

static void
a_start_changes_no_meter(void **state)
{
    struct house *house = *state;
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
    const struct limit *tree = add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 5000);
    house_start(house);
    for (int start = 1; start <= STARTS; start++) {
        const struct verdict call = ask_allowed(house, house_call(house, MODEL_PAID, 200, 0, 'a'));
        ask_allowed(house, a_settle(call.hold_id, 200, 10));
        house_stop(house);
        house_start(house);
        assert_int_equal(stored_meter(house, day).settled, 220 * start);
        assert_int_equal(stored_meter(house, tree).settled, 220 * start);
        assert_int_equal(stored_meter(house, day).held, 0);
        assert_int_equal(books_of(house).cost_micros, 220 * start);
    }
    const struct verdict refused = ask(house, house_call(house, MODEL_PAID, 200, 0, 'a'));
    assert_int_equal(refused.refusal.reason, REASON_COST_SPENT);
    assert_int_equal(refused.refusal.used, 220 * STARTS);
}

/* Its start and its end are two commits, with or without another start between them. */
static void
a_request_counts_over_a_start(void **state)
{
    struct house *house = *state;
    add_bucket(house->policy, "rate", PER_KEY, 1, 30 * DAY_MS, STARTS);
    house_start(house);
    for (int start = 0; start < STARTS; start++) {
        const struct verdict call = ask_allowed(house, house_call(house, MODEL_PAID, 200, 0, 'a'));
        if (start % 2 == 0) {
            ask_allowed(house, a_settle(call.hold_id, 200, 10));
        }
        house_stop(house); /* the others are orphans of the next start */
        house_start(house);
        assert_int_equal(books_of(house).hold_count, 0);
    }
    assert_int_equal(ask(house, house_call(house, MODEL_PAID, 200, 0, 'a')).refusal.reason, REASON_RATE);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("FF-27 FF-28 a start adds nothing to a meter and forgets nothing of it", a_start_changes_no_meter, house_on_disk,
        house_end),
    CASE_WITH("FF-38 a request that was counted is counted after a start too", a_request_counts_over_a_start, house_on_disk,
        house_end),
};
UNIT_MAIN(tests)
