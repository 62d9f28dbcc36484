/* tests/unit/core/outbox_test.c
 *
 * Goal: a message tells whose, which and what in the row it is about, goes to each webhook that wants its topic and to
 * no other, and only what was passed by a cap is told as that.
 * Method: webhooks of a policy made by hand; messages are looked at in the working set that wrote them. */
#include "gate.h"

#include <string.h>

static struct webhook hooks[] = {
    { .name = "all", .topics = UINT32_MAX },
    { .name = "refused-only", .topics = 1u << TOPIC_REFUSED },
    { .name = "none", .topics = 0 },
};

static int
with_hooks(void **state)
{
    const int made = gate_make(state);
    struct gate *gate = *state;
    gate->policy->webhooks = hooks;
    gate->policy->webhook_count = countof(hooks);
    return made;
}

static int
hooks_end(void **state)
{
    struct gate *gate = *state;
    gate->policy->webhooks = NULL;
    gate->policy->webhook_count = 0;
    return gate_end(state);
}

static void
expect_told(const struct outbox_node *node, const char *words)
{
    if (slice_find(node->row.body, slice_str(words)) < 0) {
        fail_msg("'%s' is not in %.*s", words, (int)node->row.body.len, node->row.body.ptr);
    }
}

static struct outbox_node *
decide(struct gate *gate, const struct event *event, struct verdict *verdict)
{
    gate_start(gate);
    gate_load_and_decide(gate, event, verdict);
    return gate->work.outbox_first;
}

static void
a_refusal_is_told_to_whom_it_may_concern(void **state)
{
    struct gate *gate = *state;
    struct verdict verdict;
    struct refused refused;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    const struct event event = a_call(MODEL_PAID, 100, 0);
    assert_null(decide(gate, &event, &verdict));
    core_refused(&gate->core, &event, &verdict.refusal, &refused);
    refused.ledger_id = 77;
    refused.at_ms = gate->now_ms;
    gate_start(gate); /* it is written with a batch of later, where the account is not at hand */
    core_record_refusal(&gate->core, &refused, true, 1);
    const struct outbox_node *first = gate->work.outbox_first;
    assert_string_equal(first->row.hook, "all");
    assert_string_equal(first->next->row.hook, "refused-only");
    assert_null(first->next->next);
    assert_int_equal(first->row.topic, TOPIC_REFUSED);
    assert_int_equal(first->row.ledger_id, 77);
    assert_int_equal(first->row.next_ms, gate->now_ms);
    expect_told(first, "{\"v\":1,\"id\":\"evt_77\",\"event\":\"");
    expect_told(first, "\"at\":\"2026-09-30T12:00:00Z\",\"account\":\"ann\",\"key\":\"key_21\"");
    expect_told(first, "\"request\":\"req_77\",\"model\":\"paid\",\"reason\":\"budget_spent\"");
    expect_told(first, ",\"data\":{\"v\":1,\"limit\":\"day\"");
    assert_true(slice_eq(first->row.body, first->next->row.body));

    gate_start(gate); /* a repeat only counts */
    core_record_refusal(&gate->core, &refused, false, 3);
    assert_null(gate->work.outbox_first);
}

static void
only_what_passes_a_cap_is_an_overshoot(void **state)
{
    static const struct {
        int64_t used;
        enum at_cap_kind at_cap;
        bool told;
    } rows[] = {
        { 900, AT_CAP_REFUSE, false },
        { 1000, AT_CAP_REFUSE, false },
        { 1001, AT_CAP_REFUSE, true },
        { 9000, AT_CAP_SHADOW, false }, /* what is only watched has nothing to pass */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        struct verdict verdict;
        with_hooks((void **)&gate);
        add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000)->at_cap = rows[i].at_cap;
        const struct event call = a_call(MODEL_PAID, 100, 0);
        const struct event settle = a_settle(expect_allowed(gate, &call).hold_id, rows[i].used, 0);
        const struct outbox_node *message = decide(gate, &settle, &verdict);
        assert_int_equal(message != NULL, rows[i].told);
        if (message) {
            char words[64];
            assert_string_equal(message->row.hook, "all");
            assert_null(message->next);
            assert_int_equal(message->row.topic, TOPIC_OVERSHOOT);
            (void)snprintf(words, sizeof words, "\"cost_micros\":%lld,\"estimated_micros\":100}", (long long)rows[i].used);
            expect_told(message, words);
            (void)snprintf(words, sizeof words, "\"request\":\"req_%lld\"", (long long)settle.settle.hold_id);
            expect_told(message, words);
            assert_true(slice_find(message->row.body, SLICE("\"data\"")) < 0); /* a call's inputs are long */
        }
        hooks_end((void **)&gate);
    }
}

static struct event
a_test_of(const char *hook)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin.verb = ADMIN_WEBHOOK_TEST;
    event.admin.note = SLICE("{\"verb\":\"webhook_test\"}");
    slice_to_cstr(SLICE("control"), event.admin.actor, sizeof event.admin.actor);
    slice_to_cstr(slice_str(hook), event.admin.hook, sizeof event.admin.hook);
    return event;
}

static void
a_test_goes_to_the_one_that_is_named(void **state)
{
    struct gate *gate = *state;
    struct verdict verdict;
    struct event event = a_test_of("none"); /* also where it wants no topic */
    const struct outbox_node *message = decide(gate, &event, &verdict);
    assert_int_equal(verdict.admin, ADMIN_DONE);
    assert_string_equal(message->row.hook, "none");
    assert_null(message->next);
    assert_int_equal(message->row.topic, TOPIC_TEST);
    assert_int_equal(verdict.new_id, message->row.id); /* by which it is looked for */
    event = a_test_of("nobody");
    assert_null(decide(gate, &event, &verdict));
    assert_int_equal(verdict.admin, ADMIN_NOT_FOUND);
}

static void
what_does_not_fit_into_a_message_is_left_out(void **state)
{
    struct gate *gate = *state;
    static char inputs[8192];
    memset(inputs, ' ', sizeof inputs);
    inputs[0] = '{';
    inputs[sizeof inputs - 1] = '}';
    const struct ledger_row row = {
        .id = 5, .at_ms = gate->now_ms, .kind = LEDGER_WARN, .inputs = slice_of(inputs, sizeof inputs)
    };
    gate_start(gate);
    outbox_tell(&gate->core, TOPIC_WARN, &row, "");
    assert_true(slice_eq(gate->work.outbox_first->row.body, SLICE("{\"v\":1}")));
}

static void
nobody_is_told_what_nobody_wants(void **state)
{
    struct gate *gate = *state;
    gate_start(gate);
    assert_true(outbox_wants(&gate->core, TOPIC_OVERSHOOT));
    gate->policy->webhooks = hooks + 1;
    gate->policy->webhook_count = 2;
    assert_true(outbox_wants(&gate->core, TOPIC_REFUSED));
    assert_false(outbox_wants(&gate->core, TOPIC_OVERSHOOT));
    const struct ledger_row row = { .id = 5, .at_ms = gate->now_ms, .kind = LEDGER_WARN };
    outbox_tell(&gate->core, TOPIC_WARN, &row, "");
    assert_null(gate->work.outbox_first);
}

#define WITH_HOOKS(name, function) CASE_WITH(name, function, with_hooks, hooks_end)

static const struct CMUnitTest tests[] = {
    WITH_HOOKS("a refusal is told to each webhook that wants it", a_refusal_is_told_to_whom_it_may_concern),
    CASE("only what passes a cap is told as an overshoot", only_what_passes_a_cap_is_an_overshoot),
    WITH_HOOKS("a test goes to the one that is named", a_test_goes_to_the_one_that_is_named),
    WITH_HOOKS("what does not fit into a message is left out", what_does_not_fit_into_a_message_is_left_out),
    WITH_HOOKS("nobody is told what nobody wants", nobody_is_told_what_nobody_wants),
};
UNIT_MAIN(tests)
