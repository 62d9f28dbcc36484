/* tests/unit/engine/explain_test.c
 *
 * Goal: to explain a call changes nothing: no hold, meter, row or number of the books, also while calls run, and on a
 * store that others write to; what is told is what then happens; a store that fails is told.
 * Method: an engine over each kind of store, asked between calls. */
#include "house.h"

#include <string.h>

#define TEXT_MAX 65536

static char text[TEXT_MAX];

static enum status
explain(struct house *house, const struct event *event)
{
    struct buf out = { .ptr = text, .cap = sizeof text - 1, .limit_bytes = sizeof text - 1 };
    const enum status status = engine_explain(house->engine, event, true, &out);
    text[out.len] = '\0';
    return status;
}

static void
assert_told(struct house *house, const struct event *event, const char *words)
{
    assert_int_equal(explain(house, event), STATUS_OK);
    if (!strstr(text, words)) {
        fail_msg("'%s' is not told: %s", words, text);
    }
}

static void
what_is_explained_changes_nothing_and_then_happens(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 700);
    house_start(house);
    const struct event call = house_call(house, MODEL_PAID, 100, 100, 'a');
    const struct books before = books_of(house);
    for (int i = 0; i < 5; i++) {
        assert_told(house, &call, "\"hold\":{\"held_micros\":300,");
        assert_told(house, &call, "\"settled\":0,\"held\":0,\"cap\":700");
    }
    struct books after = books_of(house);
    assert_int_equal(after.ledger_count, before.ledger_count);
    assert_int_equal(after.hold_count, 0);
    assert_int_equal(after.refusal_count, 0);
    assert_int_equal(after.held, 0);

    const struct verdict first = ask_allowed(house, call);
    assert_int_equal(books_of(house).hold.held_micros, 300);
    assert_told(house, &call, "\"settled\":0,\"held\":300,\"cap\":700");
    const struct verdict second = ask_allowed(house, call);
    assert_int_equal(second.hold_id, first.hold_id + 2); /* between them the subject alone took a number */
    assert_told(house, &call, "\"verdict\":\"wait\",\"reason\":\"budget_held\"");
    assert_told(house, &call, "\"refused_by\":\"day\"");
    after = books_of(house);
    assert_int_equal(after.refusal_count, 0); /* nobody was refused */
    assert_int_equal(after.hold_count, 2);
    ask_allowed(house, a_settle(first.hold_id, 100, 100));
    ask_allowed(house, a_settle(second.hold_id, 100, 100));
    assert_told(house, &call, "\"settled\":600,\"held\":0");
    assert_told(house, &call, "\"verdict\":\"refused\",\"reason\":\"budget_spent\"");
    after = books_of(house);
    assert_int_equal(after.cost_micros, 600);
    assert_int_equal(after.settled, 600);
}

/* --- Several ask at once, while calls are made. */

struct asker {
    struct house *house;
    struct event event;
    int good;
};

static void *
ask_often(void *user)
{
    struct asker *asker = user;
    static _Thread_local char own[TEXT_MAX];
    for (int i = 0; i < 50; i++) {
        struct buf out = { .ptr = own, .cap = sizeof own - 1, .limit_bytes = sizeof own - 1 };
        asker->good += engine_explain(asker->house->engine, &asker->event, false, &out) == STATUS_OK
                       && slice_find(buf_slice(&out), SLICE("\"verdict\":\"allowed\"")) >= 0;
    }
    return NULL;
}

static void
several_ask_while_calls_are_made(void **state)
{
    struct house *house = *state;
    struct asker askers[3];
    pthread_t threads[countof(askers)];
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
    house_start(house);
    for (size_t i = 0; i < countof(askers); i++) {
        askers[i] = (struct asker){ .house = house, .event = house_call(house, MODEL_PAID, 100, 0, (char)('b' + i)) };
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        const struct verdict verdict = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
        ask_allowed(house, a_settle(verdict.hold_id, 100, 0));
    }
    for (size_t i = 0; i < countof(askers); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(askers[i].good, 50);
    }
    const struct books books = books_of(house);
    assert_int_equal(books.cost_micros, 5000);
    assert_int_equal(books.settled, 5000);
    assert_int_equal(books.held, 0);
    assert_int_equal(books.hold_count, 0);
}

static void
a_store_that_fails_is_told(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 700);
    house_start(house);
    const struct event call = house_call(house, MODEL_PAID, 100, 100, 'a');
    atomic_store(&faults.begin_status, STATUS_IO);
    assert_int_not_equal(explain(house, &call), STATUS_OK);
    assert_string_equal(text, "");
    atomic_store(&faults.begin_status, STATUS_OK);
    UNTIL(explain(house, &call) == STATUS_OK);
    ask_allowed(house, call);
}

static const struct CMUnitTest tests[] = {
    ALL("what is explained changes nothing, and then happens", what_is_explained_changes_nothing_and_then_happens),
    ALL("several ask while calls are made", several_ask_while_calls_are_made),
    CASE_WITH("a store that fails is told (shared)", a_store_that_fails_is_told, house_shared, house_end),
};
UNIT_MAIN(tests)
