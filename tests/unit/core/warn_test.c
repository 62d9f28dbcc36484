/* tests/unit/core/warn_test.c
 *
 * Goal: each percentage of a cap is told once a window, when what is settled reaches it, to every webhook that
 * wants it and in the same batch; nothing is told of caps of nothing and of levels that fall by themselves.
 * Method: a call's own meter is set by hand and looked at, as after a settlement. */
#include "gate.h"

#include <string.h>

#define CAP 1000

/* A meter of an allowed call, in the working set of its batch. */
struct bench {
    struct gate *gate;
    struct limit *limit;
    struct meter_slot *slot;
    struct meter *meter;
    struct event event;
};

static void
bench_make(struct bench *bench, enum window_kind window, enum at_cap_kind at_cap)
{
    *bench = (struct bench){ 0 };
    gate_make((void **)&bench->gate);
    bench->limit = add_limit(bench->gate->policy, "month-spend", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, CAP);
    bench->event = a_call(MODEL_PAID, 10, 0);
    struct verdict verdict;
    gate_start(bench->gate);
    gate_load_and_decide(bench->gate, &bench->event, &verdict);
    assert_int_equal(verdict.kind, VERDICT_ALLOWED);
    const struct subject_slot *subject = work_subject(&bench->gate->work, SUBJECT_ACCOUNT, ACCOUNT, "");
    bench->slot = work_meter(&bench->gate->work, subject->row.subject_id);
    bench->meter = meter_find_only(&bench->slot->row, bench->limit->limit_id);
    assert_non_null(bench->meter);
    bench->limit->window = window;
    bench->limit->at_cap = at_cap;
}

static void
bench_end(struct bench *bench)
{
    gate_end((void **)&bench->gate);
}

/* The percentages told so far, in order: "75 90 ". */
static const char *
told(const struct bench *bench, char out[64])
{
    struct buf text = { .ptr = out, .cap = 63 };
    for (const struct ledger_node *node = bench->gate->work.ledger_first; node; node = node->next) {
        if (node->row.kind == LEDGER_WARN) {
            const ptrdiff_t at = slice_find(node->row.inputs, SLICE("\"pct\":"));
            assert_true(at >= 0);
            const char *digits = node->row.inputs.ptr + at + 6;
            buf_add(&text, digits, strspn(digits, "0123456789"));
            buf_add_char(&text, ' ');
        }
    }
    return buf_cstr(&text);
}

static void
percentages_are_told_once(void **state)
{
    static const struct {
        const char *why;
        int32_t warn_count, warn_pct[2];
        enum at_cap_kind at_cap;
        int64_t cap, settled, told_before;
        const char *told;
        int64_t told_after;
    } rows[] = {
        { "below the first", 2, { 75, 90 }, AT_CAP_REFUSE, CAP, 749, 0, "", 0 },
        { "exactly there", 2, { 75, 90 }, AT_CAP_REFUSE, CAP, 750, 0, "75 ", 75 },
        { "it was told of", 2, { 75, 90 }, AT_CAP_REFUSE, CAP, 899, 75, "", 75 },
        { "then the next", 2, { 75, 90 }, AT_CAP_REFUSE, CAP, 900, 75, "90 ", 90 },
        { "one large call crosses both", 2, { 75, 90 }, AT_CAP_REFUSE, CAP, 5000, 0, "75 90 ", 90 },
        { "the cap itself, where nothing is refused there", 2, { 75, 90 }, AT_CAP_WARN, CAP, 1000, 90, "100 ", 100 },
        { "the cap alone", 0, { 0 }, AT_CAP_WARN, CAP, 1000, 0, "100 ", 100 },
        { "short of it", 0, { 0 }, AT_CAP_WARN, CAP, 999, 0, "", 0 },
        { "100 is told once, though both say it", 2, { 75, 100 }, AT_CAP_WARN, CAP, 1000, 75, "100 ", 100 },
        { "a cap of nothing", 2, { 75, 90 }, AT_CAP_WARN, 0, 10, 0, "", 0 },
        { "no cap", 2, { 75, 90 }, AT_CAP_WARN, CAP_UNLIMITED, 10, 0, "", 0 },
        { "nobody asked", 0, { 0 }, AT_CAP_REFUSE, CAP, 5000, 0, "", 0 },
        { "caps as large as there are", 2, { 75, 90 }, AT_CAP_REFUSE, MONEY_MICROS_MAX, MONEY_MICROS_MAX / 5 * 4, 0,
            "75 ", 75 },
        { "the cap itself has its place among them", 2, { 75, 150 }, AT_CAP_WARN, CAP, 1500, 0, "75 100 150 ", 150 },
        { "beyond the cap, where that was told", 2, { 75, 150 }, AT_CAP_WARN, CAP, 1500, 100, "150 ", 150 },
        { "an edited list: told at 80, then only what is above", 2, { 60, 90 }, AT_CAP_REFUSE, CAP, 850, 80, "", 80 },
        { "an edited list: and that when it is reached", 2, { 60, 90 }, AT_CAP_REFUSE, CAP, 900, 80, "90 ", 90 },
        { "an edited list: what was reached and in no list yet", 2, { 60, 90 }, AT_CAP_REFUSE, CAP, 700, 50, "60 ", 60 },
        { "an edited list: corrected down meanwhile", 2, { 60, 90 }, AT_CAP_REFUSE, CAP, 600, 80, "", 80 },
        { "an edited list: one more in front", 2, { 50, 80 }, AT_CAP_REFUSE, CAP, 810, 80, "", 80 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct bench bench;
        char text[64];
        bench_make(&bench, WINDOW_MONTH, rows[i].at_cap);
        bench.limit->warn_count = rows[i].warn_count;
        memcpy(bench.limit->warn_pct, rows[i].warn_pct, sizeof rows[i].warn_pct);
        bench.meter->settled = rows[i].settled;
        bench.meter->aux = rows[i].told_before;
        bench.slot->slot.dirty = false;
        warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, rows[i].cap);
        if (strcmp(told(&bench, text), rows[i].told) != 0 || bench.meter->aux != rows[i].told_after
            || bench.slot->slot.dirty != (rows[i].told[0] != '\0')) {
            fail_msg("%s: told '%s', up to %lld", rows[i].why, text, (long long)bench.meter->aux);
        }
        warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, rows[i].cap);
        assert_string_equal(told(&bench, text), rows[i].told);
        bench_end(&bench);
    }
}

static void
levels_that_fall_by_themselves(void **state)
{
    struct bench bench;
    char text[64];
    bench_make(&bench, WINDOW_BUCKET, AT_CAP_WARN);
    bench.meter->settled = 5 * CAP;
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    bench.limit->window = WINDOW_CONCURRENCY;
    bench.limit->counts = COUNT_IN_FLIGHT;
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    assert_string_equal(told(&bench, text), "");
    bench_end(&bench);
}

/* Several meters are one window, and what one of them has told of is told. */
static void
rolling_windows(void **state)
{
    struct bench bench;
    char text[64];
    bench_make(&bench, WINDOW_ROLLING, AT_CAP_REFUSE);
    bench.limit->span_ms = HOUR_MS;
    bench.limit->warn_count = 1;
    bench.limit->warn_pct[0] = 80;
    struct meter_row *row = &bench.slot->row;
    bench.meter->window_ms = NOON_MS;
    bench.meter->settled = 500;
    row->meters[row->meter_count++] = (struct meter){
        .limit_id = bench.limit->limit_id, .window_ms = NOON_MS - HOUR_MS, .settled = 900, .aux = 80
    }; /* over, with what it told */
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    assert_string_equal(told(&bench, text), "");
    row->meters[row->meter_count++] = (struct meter){
        .limit_id = bench.limit->limit_id, .window_ms = NOON_MS - HOUR_MS + 1, .settled = 300
    };
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    assert_string_equal(told(&bench, text), "80 ");
    assert_int_equal(bench.meter->aux, 80);
    struct meter *last = &row->meters[row->meter_count - 1];
    last->aux = 80;
    bench.meter->aux = 0;
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    assert_string_equal(told(&bench, text), "80 ");
    bench_end(&bench);
}

static void
every_webhook_that_wants_it(void **state)
{
    struct bench bench;
    struct webhook webhooks[] = {
        { .name = "ops", .topics = 1u << TOPIC_WARN | 1u << TOPIC_REFUSED },
        { .name = "deaf", .topics = 1u << TOPIC_REFUSED },
        { .name = "pager", .topics = 1u << TOPIC_WARN },
    };
    bench_make(&bench, WINDOW_MONTH, AT_CAP_REFUSE);
    bench.gate->policy->webhooks = webhooks;
    bench.gate->policy->webhook_count = countof(webhooks);
    bench.limit->warn_count = 2;
    bench.limit->warn_pct[0] = 50;
    bench.limit->warn_pct[1] = 75;
    bench.meter->settled = CAP;
    warn_look(&bench.gate->core, bench.limit, bench.slot, bench.meter, CAP);
    static const char *const hooks[] = { "ops", "pager", "ops", "pager" };
    size_t count = 0;
    int64_t ids[4];
    for (const struct outbox_node *node = bench.gate->work.outbox_first; node; node = node->next) {
        assert_true(count < countof(hooks));
        assert_string_equal(node->row.hook, hooks[count]);
        assert_true(outbox_valid(&node->row));
        assert_int_equal(node->row.topic, TOPIC_WARN);
        assert_int_equal(node->row.next_ms, NOON_MS);
        assert_true(slice_find(node->row.body, count < 2 ? SLICE("\"pct\":50") : SLICE("\"pct\":75")) > 0);
        assert_true(slice_find(node->row.body, SLICE("\"account\":\"ann\"")) > 0);
        ids[count++] = node->row.id;
    }
    assert_int_equal(count, countof(hooks));
    assert_true(ids[0] != ids[1] && ids[2] != ids[3]);
    bench.gate->policy->webhook_count = 0;
    bench.gate->policy->webhooks = NULL;
    bench_end(&bench);
}

static int
warnings_on_books(const struct gate *gate)
{
    int count = 0;
    for (int i = 0; i < gate->bank.ledger_count; i++) {
        const struct ledger_row *row = &gate->bank.ledger[i];
        if (row->kind == LEDGER_WARN) {
            assert_true(ledger_valid(row));
            assert_int_equal(row->account_id, ACCOUNT);
            assert_int_equal(row->hold_id, 0);
            count++;
        }
    }
    return count;
}

/* What is held tells nobody: it may be given back. A new window tells anew. */
static void
calls_that_settle(void **state)
{
    struct gate *gate = NULL;
    gate_make((void **)&gate);
    struct limit *limit = add_limit(gate->policy, "day-spend", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, CAP);
    limit->warn_count = 1;
    limit->warn_pct[0] = 75;
    for (int day = 0; day < 2; day++) {
        struct event call = a_call(MODEL_PAID, 800, 0);
        const int64_t first = expect_allowed(gate, &call).hold_id;
        assert_int_equal(warnings_on_books(gate), day);
        struct event settle = a_settle(first, 700, 0);
        expect_allowed(gate, &settle);
        assert_int_equal(warnings_on_books(gate), day);
        call = a_call(MODEL_PAID, 100, 0);
        const int64_t second = expect_allowed(gate, &call).hold_id;
        settle = a_settle(second, 100, 0);
        expect_allowed(gate, &settle);
        assert_int_equal(warnings_on_books(gate), day + 1);
        call = a_call(MODEL_PAID, 100, 0);
        settle = a_settle(expect_allowed(gate, &call).hold_id, 100, 0);
        expect_allowed(gate, &settle);
        assert_int_equal(warnings_on_books(gate), day + 1); /* told */
        gate->now_ms += DAY_MS;
    }
    gate_end((void **)&gate);
}

/* A meter knows its subject's number: the row with its name is read when a warning is due, and only then. */
static void
whose_it_is(void **state)
{
    static const struct {
        enum per_kind per;
        const char *name;
    } rows[] = {
        { PER_GATEWAY, NULL },
        { PER_ACCOUNT, NULL },
        { PER_KEY, "\"subject_name\":\"key_21\"" },
        { PER_MODEL, "\"subject_name\":\"paid\"" },
        { PER_TIER, "\"subject_name\":\"free\"" },
        { PER_PLAN, "\"subject_name\":\"free\"" },
        { PER_TAG, "\"subject_name\":\"job=batch\"" },
        { PER_THREAD_TREE, "\"subject_name\":\"thr_" },
    };
    for (size_t i = 0; i < 2 * countof(rows); i++) {
        const char *name = rows[i / 2].name;
        const bool orphaned = i % 2;
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->tag_count = 1;
        gate->policy->tags[0] = (struct tag){ .name = "job", .header = "x-job" };
        struct limit *limit = add_limit(gate->policy, "day-spend", COUNT_COST, rows[i / 2].per, WINDOW_DAY, CAP);
        limit->warn_count = 1;
        limit->warn_pct[0] = 75;
        for (int round = 0; round < 3; round++) { /* below it, reaching it, and told of it */
            const int64_t input = round == 0 ? 700 : 100;
            struct event call = a_call(MODEL_PAID, input, 0);
            memcpy(call.call.tags[0], "batch", sizeof "batch");
            const int64_t hold_id = expect_allowed(gate, &call).hold_id;
            struct event settle = a_settle(hold_id, input, 0);
            if (orphaned) {
                gate_orphan(gate, hold_id);
            } else {
                expect_allowed(gate, &settle);
            }
            const struct ledger_row *row = &gate->bank.ledger[gate->bank.ledger_count - 1];
            assert_int_equal(gate->work.slots[SLOTS_SUBJECT].first != NULL, round == 1);
            assert_int_equal(row->kind == LEDGER_WARN, round == 1);
            if (round == 1) {
                const char *looked_for = name ? name : "subject_name";
                if ((slice_find(row->inputs, slice_str(looked_for)) >= 0) != (name != NULL)) {
                    fail_msg("%s: %.*s", looked_for, (int)row->inputs.len, row->inputs.ptr);
                }
            }
        }
        gate_end((void **)&gate);
    }
}

/* A correction moves what is settled like a call, under the cap that rules for the account: its plan's. */
static void
corrections(void **state)
{
    static const struct {
        int64_t delta;
        int warnings;
    } rows[] = { { 374, 0 }, { 1, 1 }, { -100, 1 }, { 100, 1 } };
    struct plan_cap plan_cap = { "free", CAP / 2 };
    struct gate *gate = NULL;
    gate_make((void **)&gate);
    struct limit *limit = add_limit(gate->policy, "day-spend", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, CAP);
    limit->warn_count = 1;
    limit->warn_pct[0] = 75;
    limit->plan_caps = &plan_cap;
    limit->plan_cap_count = 1;
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = { .kind = EVENT_ADMIN };
        event.admin.verb = ADMIN_ADJUST;
        event.admin.note = SLICE("{\"v\":1}");
        event.admin.cap.kind = SUBJECT_ACCOUNT;
        event.admin.cap.limit_id = limit->limit_id;
        event.admin.adjust.delta = rows[i].delta;
        memcpy(event.admin.account.name, "ann", sizeof "ann");
        memcpy(event.admin.actor, "admin", sizeof "admin");
        assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
        assert_int_equal(warnings_on_books(gate), rows[i].warnings);
    }
    gate_end((void **)&gate);
}

/* A correction of a call moves all meters that it counted for, which its row knows by their numbers, whomever the account
 * belongs to by then. What an account spends in an organisation counts beside the whole, and only one of both is under the cap. */
static void
corrections_of_a_call(void **state)
{
    static const char *members[] = { "ann" };
    static struct group groups[] = { { .name = "staff", .member_count = 1, .members = members } };
    static const enum per_kind pers[] = { PER_ACCOUNT, PER_ACCOUNT_MODEL, PER_PLAN, PER_TIER, PER_GROUP, PER_ORGANISATION, PER_TAG };
    for (size_t i = 0; i < 2 * countof(pers); i++) {
        const enum per_kind per = pers[i / 2];
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        memcpy(gate->bank.accounts[0].organisation, "acme", sizeof "acme");
        groups[0].member_count = 1;
        gate->policy->tag_count = 1;
        gate->policy->tags[0] = (struct tag){ .name = "job", .header = "x-job" };
        gate->policy->groups = groups;
        gate->policy->group_count = 1;
        struct limit *limit = add_limit(gate->policy, "day-spend", COUNT_COST, per, WINDOW_DAY, CAP);
        limit->warn_count = 1;
        limit->warn_pct[0] = 75;
        struct event call = a_call(MODEL_PAID, 700, 0);
        memcpy(call.call.tags[0], "batch", sizeof "batch");
        const int64_t hold_id = expect_allowed(gate, &call).hold_id;
        struct event settle = a_settle(hold_id, 700, 0);
        expect_allowed(gate, &settle);
        struct event event = { .kind = EVENT_ADMIN };
        event.admin.verb = ADMIN_ADJUST;
        event.admin.note = SLICE("{\"v\":1}");
        memcpy(event.admin.actor, "admin", sizeof "admin");
        struct admin_adjust *adjust = &event.admin.adjust;
        *adjust = (struct admin_adjust){ .hold_id = hold_id, .delta = 100, .read_ms = gate->now_ms, .account_id = ACCOUNT, .key_id = KEY };
        memcpy(adjust->model, "paid", sizeof "paid");
        for (int m = 0; m < gate->bank.meter_count; m++) {
            const struct meter_row *row = &gate->bank.meters[m];
            adjust->parts[adjust->part_count++] = (struct adjust_part){ limit->limit_id, row->meters[0].window_ms, row->subject_id };
        }
        if (i % 2) { /* it has left all that it belonged to */
            memcpy(gate->bank.accounts[0].plan, "pro", sizeof "pro");
            memcpy(gate->bank.accounts[0].organisation, "other", sizeof "other");
            gate->policy->groups[0].member_count = 0;
        }
        assert_int_equal(adjust->part_count, per == PER_ACCOUNT ? 2 : 1);
        int before = 0, after = 0;
        for (int k = 0; k < gate->bank.ledger_count; k++) {
            before += gate->bank.ledger[k].kind == LEDGER_WARN;
        }
        assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
        for (int k = 0; k < gate->bank.ledger_count; k++) {
            after += gate->bank.ledger[k].kind == LEDGER_WARN;
        }
        assert_int_equal(before, 0);
        assert_int_equal(after, 1);
        gate_end((void **)&gate);
    }
}

/* Over the cap it is told of, and the call is allowed. */
static void
limits_that_are_only_watched(void **state)
{
    struct gate *gate = NULL;
    gate_make((void **)&gate);
    struct limit *limit = add_limit(gate->policy, "trial", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, CAP);
    limit->at_cap = AT_CAP_SHADOW;
    for (int round = 0; round < 2; round++) {
        struct event call = a_call(MODEL_PAID, round == 0 ? CAP : CAP + 1, 0);
        struct verdict verdict;
        gate_start(gate);
        gate_load_and_decide(gate, &call, &verdict);
        assert_int_equal(verdict.kind, VERDICT_ALLOWED);
        const struct shadow_node *node = gate->work.shadow_first;
        assert_int_equal(node != NULL, round == 1);
        if (node) {
            assert_true(node->refused.shadow);
            assert_null(node->next);
            assert_string_equal(node->refused.account, "ann");
            assert_string_equal(node->refused.refusal.limit_name, "trial");
            assert_int_equal(node->refused.refusal.cap, CAP);
        }
    }
    gate_end((void **)&gate);
}

/* A delivery's outcome: what is written of it, and when it is tried again. */
static void
failed_deliveries_back_off(void **state)
{
    static const struct {
        enum delivery_outcome outcome;
        int64_t attempts, age_ms;
        enum outbox_change change;
        int64_t wait_ms; /* within a quarter */
        bool given_up;
    } rows[] = {
        { DELIVERY_DONE, 0, 0, OUTBOX_DELETE, 0, false },
        { DELIVERY_DONE, 70, 4 * DAY_MS, OUTBOX_DELETE, 0, false },
        { DELIVERY_FAILED, 0, 0, OUTBOX_TRIED, SECOND_MS, false },
        { DELIVERY_FAILED, 1, 0, OUTBOX_TRIED, 2 * SECOND_MS, false },
        { DELIVERY_FAILED, 5, 0, OUTBOX_TRIED, 32 * SECOND_MS, false },
        { DELIVERY_FAILED, 12, 0, OUTBOX_TRIED, HOUR_MS, false },
        { DELIVERY_FAILED, 1000000, 3 * DAY_MS - 1, OUTBOX_TRIED, HOUR_MS, false },
        { DELIVERY_FAILED, 80, 3 * DAY_MS, OUTBOX_DELETE, 0, true },
        { DELIVERY_DROPPED, 0, 0, OUTBOX_DELETE, 0, true },
    };
    struct gate *gate = NULL;
    gate_make((void **)&gate);
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = { .kind = EVENT_DELIVERY,
            .delivery = { .id = 77,
                .at_ms = NOON_MS - rows[i].age_ms,
                .attempts = rows[i].attempts,
                .outcome = rows[i].outcome,
                .hook = "ops",
                .error = "it answered 500" } };
        struct verdict verdict;
        gate_start(gate);
        gate_load_and_decide(gate, &event, &verdict);
        const struct outbox_node *node = gate->work.outbox_first;
        assert_non_null(node);
        assert_null(node->next);
        assert_int_equal(node->change, rows[i].change);
        assert_int_equal(node->row.id, 77);
        assert_int_equal(verdict.given_up, rows[i].given_up);
        if (rows[i].change == OUTBOX_TRIED) {
            const int64_t wait_ms = node->row.next_ms - gate->now_ms;
            assert_in_range(wait_ms, rows[i].wait_ms * 3 / 4, rows[i].wait_ms * 5 / 4);
            assert_int_equal(node->row.attempts, rows[i].attempts + 1);
            assert_string_equal(node->row.last_error, "it answered 500");
            assert_true(outbox_valid(&node->row));
        }
    }
    gate_end((void **)&gate);
}

static const struct CMUnitTest tests[] = {
    CASE("each percentage is told once a window", percentages_are_told_once),
    CASE("levels that fall by themselves are not told of", levels_that_fall_by_themselves),
    CASE("the meters of a rolling window are one", rolling_windows),
    CASE("a call that settles tells once a window", calls_that_settle),
    CASE("whose limit it is is read when there is something to tell", whose_it_is),
    CASE("a correction tells like a call", corrections),
    CASE("a correction of a call tells whoever it counted for", corrections_of_a_call),
    CASE("a limit that is only watched refuses nobody and is told of", limits_that_are_only_watched),
    CASE("every webhook that wants a warning gets it", every_webhook_that_wants_it),
    CASE("failed deliveries back off, and are given up after three days", failed_deliveries_back_off),
};
UNIT_MAIN(tests)
