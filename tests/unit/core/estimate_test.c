/* tests/unit/core/estimate_test.c
 *
 * Goal: what is embedded is held by its input alone; token ids count themselves; nothing that is embedded
 * moves the estimates of the talk in the same thread.
 * Method: calls through the gate of gate.h, and their holds. */
#include "gate.h"

static struct event
an_embedding(int64_t counted, int64_t bytes)
{
    struct event event = a_call(MODEL_PAID, bytes, -1);
    event.call.api = API_EMBEDDINGS;
    event.call.stream = false;
    event.call.input_counted = counted;
    return event;
}

static void
embeddings_hold_their_input_alone(void **state)
{
    static const struct {
        int64_t counted, bytes, input, held;
        const char *estimator;
    } rows[] = {
        { 0, 300, 300, 300, "learned" }, { 40, 300, 40, 40, "counted" },
        { 900, 300, 900, 900, "counted" }, /* what is counted is no estimate */
    };
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = an_embedding(rows[i].counted, rows[i].bytes);
        const struct verdict verdict = expect_allowed(gate, &event);
        const struct hold_row *hold = bank_hold(gate, verdict.hold_id);
        assert_int_equal(verdict.est_input, rows[i].input);
        assert_false(verdict.output_lowered);
        assert_int_equal(verdict.output_allowed, INT64_MAX);
        assert_int_equal(hold->bound_output, 0);
        assert_int_equal(hold->held_micros, rows[i].held);
        assert_int_equal(hold->bound_micros, rows[i].held);
        assert_string_equal(hold->estimator, rows[i].estimator);
        event = a_settle(verdict.hold_id, 0, 0);
        expect_allowed(gate, &event);
    }
    const struct event event = an_embedding(1001, 1);
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
embeddings_leave_the_talk_of_their_thread_alone(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 1000, 100);
    const struct verdict talk = expect_allowed(gate, &event);
    event = a_settle(talk.hold_id, 700, 100);
    expect_allowed(gate, &event);
    event = an_embedding(9, 300);
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.thread_id, talk.thread_id);
    event = a_settle(verdict.hold_id, 9, 0);
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.threads[0].last_input, 700);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("embeddings hold their input alone", embeddings_hold_their_input_alone, gate_make,
        gate_end),
    CASE_WITH("embeddings leave the talk of their thread alone",
        embeddings_leave_the_talk_of_their_thread_alone, gate_make, gate_end),
};

UNIT_MAIN(tests)
