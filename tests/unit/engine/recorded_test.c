/* tests/unit/engine/recorded_test.c
 *
 * Goal: what the core writes of a decision is read back as it was, and what is not there has its usual value; a row
 * that tells of no decision, or was damaged, is none.
 * Method: calls through the gate, and inputs written by hand. */
#include "gate.h"

#include <string.h>

#include "wire/recorded.h"

static struct recorded_call
read_back(struct slice inputs)
{
    struct recorded_call call;
    if (!recorded_read(inputs, &call)) {
        fail_msg("not read: %.*s", (int)inputs.len, inputs.ptr);
    }
    return call;
}

static void
an_allowed_call_is_read_back(void **state)
{
    struct gate *gate = *state;
    struct limit *spend = add_limit(gate->policy, "a \"day\"", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 5000);
    struct limit *weighed = add_limit(gate->policy, "weighed", COUNT_REQUESTS, PER_KEY, WINDOW_DAY, 10);
    struct weight weight = { "paid", 3 };
    weighed->weights = &weight;
    weighed->weight_count = 1;
    gate->policy->tag_count = 2;
    gate->policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
    gate->policy->tags[1] = (struct tag){ .name = "task", .header = "x-task" };
    struct event first = a_call(MODEL_PAID, 100, 0);
    const struct event settle = a_settle(expect_allowed(gate, &first).hold_id, 400, 0);
    expect_allowed(gate, &settle);

    struct event event = a_call(MODEL_PAID, 200, 4000);
    event.call.output_count = 2;
    event.call.price_multiplier_pct = 150;
    strcpy(event.call.organisation, "acme");
    strcpy(event.call.tags[1], "night \\ shift");
    const struct verdict verdict = expect_allowed(gate, &event);
    const struct recorded_call call = read_back(bank_hold(gate, verdict.hold_id)->inputs);
    assert_string_equal(call.api, "chat");
    assert_true(call.stream);
    assert_int_equal(call.route, 0);
    assert_string_equal(call.estimator, "learned");
    assert_int_equal(call.input, 200);
    assert_int_equal(call.input_bound, 200);
    assert_int_equal(call.output_bound, 2 * 4000);
    assert_int_equal(call.least, 2 * MIN_ANSWER);
    assert_int_equal(call.slice, 2 * 2 * STEP);
    assert_int_equal(call.body_bytes, 1000000);
    assert_int_equal(call.output_limit, 4000);
    assert_int_equal(call.lowered_to, verdict.output_limit);
    assert_int_equal(call.answers, 2);
    assert_int_equal(call.price_pct, 150);
    assert_string_equal(call.organisation, "acme");
    assert_string_equal(call.tag_names[0], "task"); /* what is empty is not told */
    assert_string_equal(call.tags[0], "night \\ shift");
    assert_string_equal(call.substitute_for, "");
    assert_int_equal(call.limit_count, 3); /* one is of what the account spends in its organisation */
    assert_string_equal(call.limits[0].name, spend->name);
    assert_int_equal(call.limits[0].settled, 400);
    assert_int_equal(call.limits[0].held, 0);
    assert_int_equal(call.limits[0].cap, 5000);
    assert_int_equal(call.limits[0].window_ms, NOON_MS - 12 * HOUR_MS);
    assert_string_equal(call.limits[0].tier, "default");
    assert_string_equal(call.limits[1].name, spend->name);
    assert_int_equal(call.limits[2].units, 3);
}

static void
what_was_reported_is_read_back(void **state)
{
    struct gate *gate = *state;
    struct limit *mine = add_limit(gate->policy, "session", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, 90);
    struct limit *all = add_limit(gate->policy, "company", COUNT_REPORTED, PER_GATEWAY, WINDOW_REPORTED, 95);
    mine->span_ms = 5 * HOUR_MS;
    all->span_ms = 7 * DAY_MS;
    struct reported_row *row = &gate->bank.reported[gate->bank.reported_count++];
    *row = (struct reported_row){ .account_id = 0, .version = 1, .window_count = 1 };
    row->windows[0] = (struct reported_window){
        .window = "7d", .used_milli_pct = 50001, .resets_at_ms = NOON_MS + DAY_MS, .captured_ms = NOON_MS - 5
    };
    const struct event event = a_call(MODEL_FREE, 1, 0);
    const struct recorded_call call = read_back(bank_hold(gate, expect_allowed(gate, &event).hold_id)->inputs);
    assert_int_equal(call.report_count, 2);
    assert_int_equal(call.reports[0].span_ms, 5 * HOUR_MS);
    assert_false(call.reports[0].any || call.reports[0].company); /* nothing had been */
    assert_int_equal(call.reports[1].span_ms, 7 * DAY_MS);
    assert_true(call.reports[1].any && call.reports[1].company);
    assert_int_equal(call.reports[1].used_milli_pct, 50001);
    assert_int_equal(call.reports[1].resets_at_ms, NOON_MS + DAY_MS);
    assert_int_equal(call.reports[1].captured_ms, NOON_MS - 5);
    static const char *const before[] = { "{\"v\":1,\"limits\":[],\"reported\":[{\"limit\":\"a\",\"captured_ms\":5}]}",
        "{\"v\":1,\"limits\":[],\"reported\":7}", "{\"v\":1,\"limits\":[],\"reported\":[7]}" };
    for (size_t i = 0; i < countof(before); i++) { /* it does not tell of which window */
        assert_int_equal(read_back(slice_str(before[i])).report_count, 0);
    }
}

static void
a_refusal_is_read_back(void **state)
{
    struct gate *gate = *state;
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    struct event event = a_call(MODEL_PAID, 30, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 30, 0);
    expect_allowed(gate, &settle);
    event = a_call(MODEL_PAID, 100, 0);
    strcpy(event.call.organisation, "acme");
    struct verdict verdict;
    struct refused refused;
    gate_start(gate);
    gate_load_and_decide(gate, &event, &verdict);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    core_refused(&gate->core, &event, &verdict.refusal, &refused);
    refused.ledger_id = 77;
    refused.at_ms = gate->now_ms;
    core_record_refusal(&gate->core, &refused, true, 1);
    const struct ledger_row *row = &gate->work.ledger_first->row;
    assert_int_equal(row->kind, LEDGER_REFUSAL);
    const struct recorded_call call = read_back(row->inputs);
    assert_int_equal(call.limit_count, 1);
    assert_string_equal(call.limits[0].name, "day");
    assert_int_equal(call.limits[0].settled, 30);
    assert_int_equal(call.limits[0].cap, 50);
    assert_int_equal(call.ask, 100);
    assert_int_equal(call.resets_at_ms, NOON_MS + 12 * HOUR_MS);
    assert_string_equal(call.api, "chat");
    assert_int_equal(call.input_bytes, 100);
    assert_int_equal(call.body_bytes, 1000000);
    assert_int_equal(call.output_limit, 0);
    assert_string_equal(call.organisation, "acme");
}

static void
what_is_not_there_has_its_usual_value(void **state)
{
    const struct recorded_call call = read_back(SLICE("{\"v\":1,\"limits\":[{}]}"));
    assert_string_equal(call.api, "");
    assert_false(call.stream);
    assert_int_equal(call.route, 0);
    assert_int_equal(call.input, -1);
    assert_int_equal(call.output_limit, -1);
    assert_int_equal(call.lowered_to, -1);
    assert_int_equal(call.input_bytes, -1);
    assert_int_equal(call.answers, 1);
    assert_int_equal(call.price_pct, 100);
    assert_int_equal(call.limit_count, 1);
    assert_int_equal(call.limits[0].cap, CAP_UNLIMITED);
    assert_int_equal(call.limits[0].units, 1);
    assert_string_equal(call.limits[0].tier, "default");
}

static void
what_tells_of_no_decision_is_none(void **state)
{
    static const char *const texts[] = { "", "{}", "[]", "null", "{\"v\":2,\"api\":\"chat\"}", "{\"v\":1", "{\"v\":\"1\"}",
        "{\"v\":1,\"limits\":[{\"limit\":\"a\"}", "{\"verb\":\"account_put\"}", "{\"v\":1}}" };
    struct recorded_call call;
    for (size_t i = 0; i < countof(texts); i++) {
        if (recorded_read(slice_str(texts[i]), &call)) {
            fail_msg("read: %s", texts[i]);
        }
    }
}

/* A file that somebody wrote by hand: whole as JSON, of other types and sizes than ours. */
static void
strange_values_do_no_harm(void **state)
{
    struct buf text = { 0 };
    struct recorded_call call =
        read_back(SLICE("{\"v\":1,\"limits\":7,\"route\":-5,\"input\":\"9\",\"stream\":1,\"tags\":[1],\"api\":3}"));
    assert_int_equal(call.limit_count, 0);
    assert_int_equal(call.route, 0);
    assert_int_equal(call.input, -1);
    assert_false(call.stream);
    assert_string_equal(call.api, "");
    assert_string_equal(call.tag_names[0], "");
    call = read_back(SLICE("{\"v\":1,\"route\":99999999999,\"answers\":1e99,\"tags\":{\"a\":{},\"b\":\"c\"}}"));
    assert_int_equal(call.route, 63);
    assert_int_equal(call.answers, 1);
    assert_string_equal(call.tag_names[0], "");

    buf_add_str(&text, "{\"v\":1,\"limits\":[");
    for (int i = 0; i < 2 * HOLD_PARTS_MAX; i++) {
        buf_addf(&text, "%s{\"limit\":\"l%d\",\"settled\":%d}", i ? "," : "", i, i);
    }
    buf_add_str(&text, "],\"tags\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\",\"e\":\"5\"}}");
    call = read_back(buf_slice(&text));
    assert_int_equal(call.limit_count, HOLD_PARTS_MAX); /* as many as a hold has parts */
    assert_int_equal(call.limits[HOLD_PARTS_MAX - 1].settled, HOLD_PARTS_MAX - 1);
    assert_string_equal(call.tags[RECORDED_TAGS_MAX - 1], "4");
    buf_free(&text);
}

#define AT_GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)

static const struct CMUnitTest tests[] = {
    AT_GATE("an allowed call is read back as it was written", an_allowed_call_is_read_back),
    AT_GATE("what was reported is read back as it was written", what_was_reported_is_read_back),
    AT_GATE("a refusal is read back as it was written", a_refusal_is_read_back),
    CASE("what is not there has its usual value", what_is_not_there_has_its_usual_value),
    CASE("what tells of no decision is none", what_tells_of_no_decision_is_none),
    CASE("strange values do no harm", strange_values_do_no_harm),
};
UNIT_MAIN(tests)
