/* tests/unit/core/thread_test.c
 *
 * Goal: a tree of threads is one purse for its whole life; a parent must be known to the same account.
 * Method: calls in named threads under one lifetime limit per tree. */
#include "gate.h"

#include <string.h>

static struct event
in_thread(char thread, char parent)
{
    struct event event = a_call(MODEL_PAID, 100, 0); /* costs 100 */
    set_hash(event.call.thread_hash, thread);
    if (parent) {
        set_hash(event.call.parent_hash, parent);
    }
    return event;
}

static const struct thread_row *
thread_of(const struct gate *gate, int64_t thread_id)
{
    for (int i = 0; i < gate->bank.thread_count; i++) {
        if (gate->bank.threads[i].thread_id == thread_id) {
            return &gate->bank.threads[i];
        }
    }
    return NULL;
}

static void
a_tree_is_one_purse(void **state)
{
    struct gate *gate = *state;
    const struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 350);
    struct event event = in_thread('r', 0);
    const int64_t root = expect_allowed(gate, &event).thread_id;
    assert_int_equal(thread_of(gate, root)->root_id, root);
    event = in_thread('c', 'r');
    const int64_t child = expect_allowed(gate, &event).thread_id;
    assert_int_equal(thread_of(gate, child)->root_id, root);
    event = in_thread('g', 'c'); /* a grandchild belongs to the root as well */
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(thread_of(gate, verdict.thread_id)->root_id, root);
    assert_int_equal(bank_hold(gate, verdict.hold_id)->root_id, root);
    assert_int_equal(meter_of(gate, tree).held, 300);
    assert_int_equal(gate->bank.subject_count, 1);

    event = in_thread('c', 'r');
    expect_refused(gate, &event, REASON_COST_HELD);
    for (int i = gate->bank.hold_count; i-- > 0;) {
        event = a_settle(gate->bank.holds[0].hold_id, 100, 0);
        expect_allowed(gate, &event);
    }
    gate->now_ms += 400 * DAY_MS; /* a lifetime has no end */
    event = in_thread('g', 0);
    const struct verdict refused = expect_refused(gate, &event, REASON_COST_SPENT);
    assert_int_equal(refused.refusal.resets_at_ms, 0);
    assert_int_equal(refused.refusal.retry_after_ms, 0);
    assert_int_equal(refused.refusal.used, 300);
    event = in_thread('x', 0); /* another tree */
    expect_allowed(gate, &event);
}

static void
which_parents_are_refused(void **state)
{
    struct gate *gate = *state;
    struct event event = in_thread('r', 0);
    expect_allowed(gate, &event);
    event = in_thread('c', 'u'); /* nobody's */
    expect_refused(gate, &event, REASON_THREAD_PARENT);
    event = in_thread('c', 'c'); /* itself, while it does not exist */
    expect_refused(gate, &event, REASON_THREAD_PARENT);
    event = in_thread('c', 'r');
    event.call.account_id = ACCOUNT_B; /* another account's parent looks like none at all */
    event.call.key_id = KEY_B;
    expect_refused(gate, &event, REASON_THREAD_PARENT);
    event = in_thread('r', 0); /* the same name in another account is another thread */
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.thread_count, 2);
    /* A thread of another kind with the same hash is no parent. */
    event = in_thread('s', 0);
    event.call.thread_kind = THREAD_CLAUDE_CODE;
    expect_allowed(gate, &event);
    event = in_thread('d', 's');
    expect_refused(gate, &event, REASON_THREAD_PARENT);
}

static void
a_thread_keeps_its_tree(void **state)
{
    struct gate *gate = *state;
    struct event event = in_thread('a', 0);
    const int64_t root_a = expect_allowed(gate, &event).thread_id;
    event = in_thread('b', 0);
    expect_allowed(gate, &event);
    event = in_thread('c', 'a');
    const int64_t child = expect_allowed(gate, &event).thread_id;
    const int32_t holds = gate->bank.hold_count;
    event = in_thread('c', 'b'); /* it cannot move to a tree that has more left */
    expect_refused(gate, &event, REASON_THREAD_MOVED);
    assert_int_equal(gate->bank.hold_count, holds);
    for (int again = 0; again < 2; again++) { /* with its parent, and without */
        event = in_thread('c', again ? 0 : 'a');
        const struct verdict verdict = expect_allowed(gate, &event);
        assert_int_equal(verdict.thread_id, child);
        assert_int_equal(bank_hold(gate, verdict.hold_id)->root_id, root_a);
        assert_false(verdict.parent_ignored);
    }
    event = in_thread('b', 'a'); /* it began without one, and stays so */
    const struct verdict verdict = expect_allowed(gate, &event);
    assert_true(verdict.parent_ignored);
    assert_int_not_equal(bank_hold(gate, verdict.hold_id)->root_id, root_a);
    event = in_thread('c', 'b'); /* a client that shows itself by signals of its own cannot help it */
    event.call.thread_kind = THREAD_CLAUDE_CODE;
    event.call.thread_named = false;
    expect_allowed(gate, &event);
    event = in_thread('c', 'a');
    event.call.thread_kind = THREAD_CLAUDE_CODE;
    event.call.thread_named = false;
    assert_true(expect_allowed(gate, &event).parent_ignored);
}

static void
no_thread_is_under_itself(void **state)
{
    struct gate *gate = *state;
    static const char names[] = { 'r', 'c', 'g' }; /* each under the one before */
    struct event event;
    for (size_t i = 0; i < countof(names); i++) {
        event = in_thread(names[i], i ? names[i - 1] : 0);
        expect_allowed(gate, &event);
        gate->now_ms += 1;
    }
    static const struct {
        char thread, parent;
        enum reason reason;
    } rows[] = {
        { 'r', 'r', REASON_THREAD_CYCLE },
        { 'r', 'c', REASON_THREAD_CYCLE },
        { 'r', 'g', REASON_THREAD_CYCLE },
        { 'c', 'c', REASON_THREAD_CYCLE },
        { 'c', 'g', REASON_THREAD_MOVED }, /* younger than the thread: it did not begin under that one */
        { 'c', 'r', REASON_OK },
        { 'g', 'c', REASON_OK },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        event = in_thread(rows[i].thread, rows[i].parent);
        if (rows[i].reason == REASON_OK) {
            expect_allowed(gate, &event);
        } else {
            expect_refused(gate, &event, rows[i].reason);
        }
    }
    assert_int_equal(gate->bank.thread_count, (int)countof(names));
}

static void
a_key_may_have_to_name_its_thread(void **state)
{
    struct gate *gate = *state;
    bank_key(gate, KEY)->thread_required = true;
    struct event event = in_thread('a', 0);
    expect_allowed(gate, &event);
    event.call.thread_named = false;
    event.call.thread_kind = THREAD_SESSION_HEADER;
    expect_refused(gate, &event, REASON_THREAD_REQUIRED);
    event.call.api = API_COUNT_TOKENS; /* never charged, so in no thread */
    expect_allowed(gate, &event);
}

static void
one_batch_makes_one_thread(void **state)
{
    struct gate *gate = *state;
    const struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 350);
    const struct limit *tree_too = add_limit(gate->policy, "tree-too", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 5000);
    const struct limit *day = add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    /* A first turn: title and answer at once, and a sub-agent of a thread that is made in the same batch. */
    const struct event events[] = { in_thread('a', 0), in_thread('a', 0), in_thread('c', 'a'), in_thread('a', 0) };
    struct verdict verdicts[4];
    gate_batch(gate, events, 4, verdicts);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(verdicts[i].kind, VERDICT_ALLOWED);
        assert_int_equal(bank_hold(gate, verdicts[i].hold_id)->root_id, verdicts[0].thread_id);
    }
    assert_int_equal(verdicts[0].thread_id, verdicts[1].thread_id);
    assert_int_not_equal(verdicts[0].thread_id, verdicts[2].thread_id);
    assert_int_equal(verdicts[3].kind, VERDICT_WAIT);
    assert_int_equal(gate->bank.thread_count, 2);
    assert_int_equal(gate->bank.subject_count, 2); /* the account's and the tree's, though two limits are per tree */
    assert_int_equal(meter_of(gate, tree).held, 300);
    assert_int_equal(meter_of(gate, tree_too).held, 300);
    assert_int_equal(meter_of(gate, day).held, 300);
}

static void
a_first_call_refused_makes_no_thread(void **state)
{
    struct gate *gate = *state;
    struct limit *tree = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 99);
    const struct event refused = in_thread('a', 0);
    const struct verdict verdict = expect_refused(gate, &refused, REASON_COST_SPENT);
    assert_int_equal(verdict.refusal.subject_id, 0);
    assert_int_equal(gate->bank.thread_count + gate->bank.subject_count + gate->bank.meter_count, 0);
    tree->cap_default = 100;
    expect_allowed(gate, &refused);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("a tree is one purse for its lifetime", a_tree_is_one_purse, gate_make, gate_end),
    CASE_WITH("a foreign or unknown parent is refused", which_parents_are_refused, gate_make, gate_end),
    CASE_WITH("a thread keeps the tree it was born into", a_thread_keeps_its_tree, gate_make, gate_end),
    CASE_WITH("no thread is under itself", no_thread_is_under_itself, gate_make, gate_end),
    CASE_WITH("a key may have to name its thread", a_key_may_have_to_name_its_thread, gate_make, gate_end),
    CASE_WITH("calls of one new thread in one batch make one thread", one_batch_makes_one_thread, gate_make, gate_end),
    CASE_WITH("a first call that is refused makes no thread", a_first_call_refused_makes_no_thread, gate_make, gate_end),
};
UNIT_MAIN(tests)
