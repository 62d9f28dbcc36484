/* tests/unit/core/resets_test.c
 *
 * Goal: windows turn by themselves, at their instant, whole, for every subject: nothing has to be reset, so nothing
 * can be left over, come late or be forgotten.
 * Method: the gate of gate.h with its clock set by hand; FF-n in a name is the row of the field's failures that
 * the case shows not to happen (tests/failures.txt). */
#include "gate.h"

#include <string.h>

#define MIDNIGHT_MS (NOON_MS + 12 * HOUR_MS) /* 2026-10-01T00:00:00Z, a Thursday: a month begins, no week does */

static void
spend(struct gate *gate, int64_t account_id, int64_t key_id, int64_t micros)
{
    struct event event = a_call(MODEL_PAID, micros, 0);
    event.call.account_id = account_id;
    event.call.key_id = key_id;
    event = a_settle(expect_allowed(gate, &event).hold_id, micros, 0);
    expect_allowed(gate, &event);
}

static void
a_new_window_is_empty(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    const struct event event = a_call(MODEL_PAID, 1000, 0);
    for (int i = 0; i < 5; i++) {
        spend(gate, ACCOUNT, KEY, 1000);
        gate->now_ms = MIDNIGHT_MS + i * DAY_MS - 1;
        expect_refused(gate, &event, REASON_COST_SPENT);
        gate->now_ms++;
    }
    spend(gate, ACCOUNT, KEY, 400);
    assert_int_equal(meter_of(gate, day).settled, 400);
    assert_int_equal(meter_of(gate, day).window_ms, MIDNIGHT_MS + 4 * DAY_MS);
}

static void
each_window_turns_by_itself(void **state)
{
    struct gate *gate = *state;
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000);
    const struct limit *week = add_limit(gate->policy, "week", COUNT_COST, PER_ACCOUNT, WINDOW_WEEK, 100000);
    const struct limit *month = add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 100000);
    static const struct {
        int64_t at_ms, day, week, month; /* what is used after one more call of 10 */
    } rows[] = {
        { NOON_MS, 10, 10, 10 },
        { MIDNIGHT_MS - 1, 20, 20, 20 },
        { MIDNIGHT_MS, 10, 30, 10 },              /* Thursday the 1st */
        { MIDNIGHT_MS + 4 * DAY_MS - 1, 10, 40, 20 }, /* Sunday */
        { MIDNIGHT_MS + 4 * DAY_MS, 10, 10, 30 },     /* Monday */
        { MIDNIGHT_MS + 31 * DAY_MS, 10, 10, 10 },    /* Sunday, 1 November */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        gate->now_ms = rows[i].at_ms;
        spend(gate, ACCOUNT, KEY, 10);
        assert_int_equal(meter_of(gate, day).settled, rows[i].day);
        assert_int_equal(meter_of(gate, week).settled, rows[i].week);
        assert_int_equal(meter_of(gate, month).settled, rows[i].month);
    }
}

static void
a_limit_that_is_new_begins_empty(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 100000);
    spend(gate, ACCOUNT, KEY, 90000);
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    spend(gate, ACCOUNT, KEY, 900);
    assert_int_equal(meter_of(gate, day).settled, 900);
}

static void
a_user_named_by_header_begins_anew_too(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    struct event event = { .kind = EVENT_IDENTIFY };
    set_hash(event.identify.key_hash, 'c');
    slice_to_cstr(SLICE("user-9"), event.identify.act_for, sizeof event.identify.act_for);
    const int64_t account_id = expect_allowed(gate, &event).identity.account_id;
    for (int day = 0; day < 40; day++) {
        spend(gate, account_id, KEY_ACTS, 100);
        event = a_call(MODEL_PAID, 1, 0);
        event.call.account_id = account_id;
        event.call.key_id = KEY_ACTS;
        expect_refused(gate, &event, REASON_COST_SPENT);
        gate->now_ms += DAY_MS;
    }
}

static void
a_reset_is_told_to_the_millisecond(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    gate->now_ms = MIDNIGHT_MS - 120 * MINUTE_MS;
    spend(gate, ACCOUNT, KEY, 100);
    const struct event event = a_call(MODEL_PAID, 1, 0);
    const struct verdict refused = expect_refused(gate, &event, REASON_COST_SPENT);
    assert_int_equal(refused.refusal.resets_at_ms, MIDNIGHT_MS);
    assert_int_equal(refused.refusal.retry_after_ms, 120 * MINUTE_MS);
    gate->now_ms += refused.refusal.retry_after_ms - 1;
    expect_refused(gate, &event, REASON_COST_SPENT);
    gate->now_ms += 1;
    expect_allowed(gate, &event);
}

/* Of what has no price nothing is held, so its moment is forgotten; a cost that its provider names all the same is of
 * a window that is over. */
static void
what_comes_late_counts_in_no_younger_window(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "rolling", COUNT_COST, PER_ACCOUNT, WINDOW_ROLLING, 1000);
    limit->span_ms = HOUR_MS;
    gate->policy->unpriced = UNPRICED_ALLOW;
    struct event event = a_call(MODEL_UNPRICED, 100, 0);
    const int64_t late = expect_allowed(gate, &event).hold_id;
    gate->now_ms += HOUR_MS;
    event = a_call(MODEL_PAID, 300, 0);
    const int64_t young = expect_allowed(gate, &event).hold_id;
    event = a_settle(late, 100, 0);
    event.settle.usage.cost_micros = 700;
    assert_int_equal(expect_allowed(gate, &event).cost_micros, 700);
    event = a_settle(young, 300, 0);
    expect_allowed(gate, &event);
    assert_int_equal(meter_of(gate, limit).settled, 300);
    event = a_call(MODEL_PAID, 700, 0);
    expect_allowed(gate, &event);
}

static void
a_raise_ends_by_itself(void **state)
{
    static const enum cap_set_kind kinds[] = { SET_RAISE, SET_CAP };
    for (size_t i = 0; i < countof(kinds); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct limit *month = add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
        gate->now_ms -= 10 * DAY_MS;
        struct event event = { .kind = EVENT_ADMIN };
        event.admin.verb = ADMIN_CAP_PUT;
        slice_to_cstr(SLICE("ann"), event.admin.account.name, sizeof event.admin.account.name);
        slice_to_cstr(SLICE("cli"), event.admin.actor, sizeof event.admin.actor);
        event.admin.note = SLICE("{\"why\":1}");
        event.admin.cap = (struct admin_cap){ .limit_id = month->limit_id,
            .kind = SUBJECT_ACCOUNT,
            .set = kinds[i],
            .amount = kinds[i] == SET_CAP ? 5000 : 4000,
            .expires_ms = gate->now_ms + DAY_MS };
        assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
        spend(gate, ACCOUNT, KEY, 3000);
        event = a_call(MODEL_PAID, 2000, 0);
        gate->now_ms += DAY_MS - 1;
        const struct event settle = a_release(expect_allowed(gate, &event).hold_id);
        expect_allowed(gate, &settle);
        gate->now_ms += 1; /* nobody has to take it back */
        event = a_call(MODEL_PAID, 1, 0);
        assert_int_equal(expect_refused(gate, &event, REASON_COST_SPENT).refusal.cap, 1000);
        gate_end((void **)&gate);
    }
}

/* A term that began on some day at some hour: all windows from first use begin there, and end whole. */
static void
a_term_begins_with_its_first_call(void **state)
{
    struct gate *gate = *state;
    struct limit *money = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_FIRST_USE, 1000);
    struct limit *tokens = add_limit(gate->policy, "tokens", COUNT_TOKENS, PER_ACCOUNT, WINDOW_FIRST_USE, 1000);
    money->span_ms = tokens->span_ms = 30 * DAY_MS;
    gate->now_ms += 7 * HOUR_MS + 13;
    const int64_t begin_ms = gate->now_ms;
    for (int term = 0; term < 3; term++) {
        spend(gate, ACCOUNT, KEY, 1000);
        const struct event event = a_call(MODEL_PAID, 1, 0);
        gate->now_ms = begin_ms + (term + 1) * 30 * DAY_MS - 1;
        const struct verdict refused = expect_refused(gate, &event, REASON_COST_SPENT);
        assert_int_equal(refused.refusal.resets_at_ms, gate->now_ms + 1);
        gate->now_ms++;
    }
    spend(gate, ACCOUNT, KEY, 1000);
    assert_int_equal(meter_of(gate, money).settled, 1000);
    assert_int_equal(meter_of(gate, tokens).settled, 1000);
}

static void
a_tag_begins_anew_like_anybody(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "team-day", COUNT_COST, PER_TAG, WINDOW_DAY, 1000);
    gate->policy->tag_count = 1;
    gate->policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
    struct event red = a_call(MODEL_PAID, 600, 0);
    slice_to_cstr(SLICE("red"), red.call.tags[0], sizeof red.call.tags[0]);
    struct event blue = red;
    slice_to_cstr(SLICE("blue"), blue.call.tags[0], sizeof blue.call.tags[0]);
    for (int day = 0; day < 3; day++) { /* each day passed once, by far */
        const struct event settle = a_settle(expect_allowed(gate, &red).hold_id, 9000, 0);
        expect_allowed(gate, &settle);
        expect_refused(gate, &red, REASON_COST_SPENT);
        const struct event other = a_release(expect_allowed(gate, &blue).hold_id);
        expect_allowed(gate, &other);
        gate->now_ms += DAY_MS;
    }
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    AT_GATE("FF-77 FF-80 a new window is empty from its first millisecond", a_new_window_is_empty),
    AT_GATE("FF-78 each window of a subject turns by itself", each_window_turns_by_itself),
    AT_GATE("FF-79 a limit that is new begins empty", a_limit_that_is_new_begins_empty),
    AT_GATE("FF-81 the budget of a user named by header begins anew too", a_user_named_by_header_begins_anew_too),
    AT_GATE("what comes late counts in no younger window", what_comes_late_counts_in_no_younger_window),
    CASE("FF-82 what was raised for a while is over at its instant", a_raise_ends_by_itself),
    AT_GATE("FF-83 a term begins with its first call, and all of it ends at once", a_term_begins_with_its_first_call),
    AT_GATE("FF-84 a tag that passed its budget begins anew with its next window", a_tag_begins_anew_like_anybody),
    AT_GATE("FF-85 a reset is told to the millisecond, and is then", a_reset_is_told_to_the_millisecond),
};
UNIT_MAIN(tests)
