/* tests/unit/core/admin_test.c
 *
 * Goal: a cap that an admin sets is one row of its subject, makes caches stale and stands on the ledger; what makes
 * no sense changes nothing. A correction moves the window that was charged, and no call that is open.
 * Method: one event each on the accounts of gate.c, with limits per account and per tree. */
#include "gate.h"

#include <string.h>

enum test_limit { DAY = 1001, TREE, RATE };

static void
add_limits(struct gate *gate)
{
    add_limit(gate->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, CAP_UNLIMITED);
    add_bucket(gate->policy, "rate", PER_ACCOUNT, 600, MINUTE_MS, 600);
}

static struct event
an_admin(enum admin_verb verb, int64_t limit_id, enum subject_kind kind, const char *account)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin.verb = verb;
    event.admin.note = SLICE("{\"verb\":\"test\"}");
    event.admin.cap.limit_id = limit_id;
    event.admin.cap.kind = kind;
    slice_to_cstr(SLICE("control"), event.admin.actor, sizeof event.admin.actor);
    slice_to_cstr(slice_str(account), event.admin.account.name, sizeof event.admin.account.name);
    return event;
}

static void
which_caps_can_be_set(void **state)
{
    static const struct {
        const char *why;
        enum admin_verb verb;
        int64_t limit_id;
        enum subject_kind kind;
        const char *account;
        enum cap_set_kind set;
        int64_t amount, expires_ms;
        enum status_of_admin answer;
    } rows[] = {
        { "nothing is set yet", ADMIN_CAP_DELETE, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, 0, 0, ADMIN_NOT_FOUND },
        { "of an account", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, 500, 0, ADMIN_DONE },
        { "in its place", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, CAP_UNLIMITED, 0, ADMIN_DONE },
        { "a raise beside it", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_RAISE, 5, NOON_MS + 1, ADMIN_DONE },
        { "one that is over already", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_RAISE, 5, NOON_MS, ADMIN_INVALID },
        { "a raise by nothing", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_RAISE, 0, 0, ADMIN_INVALID },
        { "less than nothing", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, -2, 0, ADMIN_INVALID },
        { "more than there is", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, INT64_MAX, 0, ADMIN_INVALID },
        { "more than the level of a rate can say", ADMIN_CAP_PUT, RATE, SUBJECT_ACCOUNT, "ann", SET_CAP, MONEY_MICROS_MAX / MINUTE_MS + 1, 0, ADMIN_INVALID },
        { "of nobody", ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "eve", SET_CAP, 5, 0, ADMIN_NOT_FOUND },
        { "of a limit that is none", ADMIN_CAP_PUT, 7, SUBJECT_ACCOUNT, "ann", SET_CAP, 5, 0, ADMIN_INVALID },
        { "of an account, by a limit per tree", ADMIN_CAP_PUT, TREE, SUBJECT_ACCOUNT, "ann", SET_CAP, 5, 0, ADMIN_INVALID },
        { "of a group that is none", ADMIN_CAP_PUT, DAY, SUBJECT_GROUP, "", SET_CAP, 5, 0, ADMIN_INVALID },
        { "of everybody", ADMIN_CAP_PUT, DAY, SUBJECT_GATEWAY, "", SET_CAP, 900, 0, ADMIN_DONE },
        { "taken back", ADMIN_CAP_DELETE, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, 0, 0, ADMIN_DONE },
        { "once", ADMIN_CAP_DELETE, DAY, SUBJECT_ACCOUNT, "ann", SET_CAP, 0, 0, ADMIN_NOT_FOUND },
        { "the most that it can", ADMIN_CAP_PUT, RATE, SUBJECT_ACCOUNT, "ann", SET_CAP, MONEY_MICROS_MAX / MINUTE_MS, 0, ADMIN_DONE },
    };
    struct gate *gate = *state;
    add_limits(gate);
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = an_admin(rows[i].verb, rows[i].limit_id, rows[i].kind, rows[i].account);
        event.admin.cap.set = rows[i].set;
        event.admin.cap.amount = rows[i].amount;
        event.admin.cap.expires_ms = rows[i].expires_ms;
        const int ledger = gate->bank.ledger_count;
        const int subjects = gate->bank.subject_count;
        const struct verdict verdict = gate_decide(gate, &event);
        if (verdict.admin != rows[i].answer) {
            fail_msg("%s: %d", rows[i].why, (int)verdict.admin);
        }
        const bool done = rows[i].answer == ADMIN_DONE;
        assert_int_equal(gate->bank.ledger_count - ledger, done);
        assert_true(done || gate->bank.subject_count == subjects);
        if (done) {
            const struct ledger_row *row = &gate->bank.ledger[ledger];
            assert_int_equal(row->kind, LEDGER_ADMIN);
            assert_string_equal(row->source, "control");
        }
    }
    assert_int_equal(gate->bank.subjects[0].set_count, 2); /* the raise, and of the rate */
}

static void
a_cap_rules_from_the_next_call_on(void **state)
{
    struct gate *gate = *state;
    add_limits(gate);
    struct event set = an_admin(ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann");
    set.admin.cap.amount = 99;
    assert_int_equal(gate_decide(gate, &set).admin, ADMIN_DONE);
    const struct event call = a_call(MODEL_PAID, 100, 0);
    const struct verdict refused = gate_decide(gate, &call);
    assert_int_equal(refused.kind, VERDICT_REFUSED);
    assert_int_equal(refused.refusal.cap, 99);
    set.admin.cap.set = SET_RAISE;
    set.admin.cap.amount = 1;
    set.admin.cap.expires_ms = gate->now_ms + 1000;
    assert_int_equal(gate_decide(gate, &set).admin, ADMIN_DONE);
    const struct verdict allowed = gate_decide(gate, &call);
    assert_int_equal(allowed.kind, VERDICT_ALLOWED);
    const struct event release = a_release(allowed.hold_id);
    (void)gate_decide(gate, &release);
    gate->now_ms += 1000; /* from that instant on it does not count */
    assert_int_equal(gate_decide(gate, &call).kind, VERDICT_REFUSED);
}

/* Of which subject a row becomes, by the limit's `per`; whom it is not for is told, and nothing is written. */
static void
whose_caps_can_be_set(void **state)
{
    static const struct {
        const char *why;
        enum per_kind per;
        enum subject_kind kind;
        const char *account, *name;
        int64_t key_id, thread, of_account_id; /* thread: 1 = ann's, a child of hers; 2 = nobody's */
        enum status_of_admin answer;
        int64_t account_after;
        const char *name_after;
    } rows[] = {
        { "a key", PER_KEY, SUBJECT_KEY, "", "", KEY_B, 0, 0, ADMIN_DONE, ACCOUNT_B, "22" },
        { "no key", PER_KEY, SUBJECT_KEY, "", "", 999, 0, 0, ADMIN_NOT_FOUND, 0, NULL },
        { "a tree, by any thread of it", PER_THREAD_TREE, SUBJECT_TREE, "", "", 0, 1, 0, ADMIN_DONE, ACCOUNT, "31" },
        { "a tree of one's own", PER_THREAD_TREE, SUBJECT_TREE, "", "", 0, 1, ACCOUNT, ADMIN_DONE, ACCOUNT, "31" },
        { "a tree of another's", PER_THREAD_TREE, SUBJECT_TREE, "", "", 0, 1, ACCOUNT_B, ADMIN_NOT_FOUND, 0, NULL },
        { "no tree", PER_THREAD_TREE, SUBJECT_TREE, "", "", 0, 2, 0, ADMIN_NOT_FOUND, 0, NULL },
        { "an account's model", PER_ACCOUNT_MODEL, SUBJECT_ACCOUNT_MODEL, "bob", "paid", 0, 0, 0, ADMIN_DONE, ACCOUNT_B, "paid" },
        { "nobody's model", PER_ACCOUNT_MODEL, SUBJECT_ACCOUNT_MODEL, "eve", "paid", 0, 0, 0, ADMIN_NOT_FOUND, 0, NULL },
        { "a model", PER_MODEL, SUBJECT_MODEL, "", "paid", 0, 0, 0, ADMIN_DONE, 0, "paid" },
        { "a plan", PER_PLAN, SUBJECT_PLAN, "", "pro", 0, 0, 0, ADMIN_DONE, 0, "pro" },
        { "a tier", PER_TIER, SUBJECT_TIER, "", "premium", 0, 0, 0, ADMIN_DONE, 0, "premium" },
        { "a tag", PER_TAG, SUBJECT_TAG, "", "team=red", 0, 0, 0, ADMIN_DONE, 0, "team=red" },
        { "an organisation", PER_ORGANISATION, SUBJECT_ORGANISATION, "", "acme", 0, 0, 0, ADMIN_DONE, 0, "acme" },
        { "a group's purse", PER_GROUP, SUBJECT_GROUP, "", "lab", 0, 0, 0, ADMIN_DONE, 0, "lab" },
        { "each member of a group", PER_ACCOUNT, SUBJECT_GROUP, "", "lab", 0, 0, 0, ADMIN_DONE, 0, "lab" },
        { "each member's trees", PER_THREAD_TREE, SUBJECT_GROUP, "", "lab", 0, 0, 0, ADMIN_DONE, 0, "lab" },
        { "a group, of a limit of no account", PER_MODEL, SUBJECT_GROUP, "", "lab", 0, 0, 0, ADMIN_INVALID, 0, NULL },
        { "a group that is none", PER_ACCOUNT, SUBJECT_GROUP, "", "den", 0, 0, 0, ADMIN_INVALID, 0, NULL },
        { "a model, of a limit per plan", PER_PLAN, SUBJECT_MODEL, "", "paid", 0, 0, 0, ADMIN_INVALID, 0, NULL },
        { "everybody", PER_MODEL, SUBJECT_GATEWAY, "", "", 0, 0, 0, ADMIN_DONE, 0, "" },
    };
    static const char *members[] = { "ann" };
    static struct group groups[] = { { .name = "lab", .member_count = 1, .members = members } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->groups = groups;
        gate->policy->group_count = 1;
        gate->policy->tag_count = 1;
        gate->policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
        gate->bank.thread_count = 2;
        gate->bank.threads[0] = (struct thread_row){ .thread_id = 31, .account_id = ACCOUNT, .root_id = 31, .version = 1 };
        gate->bank.threads[1] = (struct thread_row){ .thread_id = 32, .account_id = ACCOUNT, .root_id = 31, .version = 1 };
        add_limit(gate->policy, "money", COUNT_COST, rows[i].per, WINDOW_MONTH, 1000);
        struct event event = an_admin(ADMIN_CAP_PUT, 1001, rows[i].kind, rows[i].account);
        slice_to_cstr(slice_str(rows[i].name), event.admin.cap.name, sizeof event.admin.cap.name);
        event.admin.cap.amount = 5;
        event.admin.cap.thread_id = rows[i].thread == 1 ? 32 : rows[i].thread == 2 ? 99 : 0;
        event.admin.cap.of_account_id = rows[i].of_account_id;
        event.admin.key.key_id = rows[i].key_id;
        const struct verdict verdict = gate_decide(gate, &event);
        const bool done = verdict.admin == ADMIN_DONE;
        if (verdict.admin != rows[i].answer || gate->bank.subject_count != done || gate->bank.ledger_count != done) {
            fail_msg("%s: %d", rows[i].why, (int)verdict.admin);
        }
        if (done) {
            const struct subject_row *row = &gate->bank.subjects[0];
            assert_int_equal(row->kind, rows[i].kind);
            assert_int_equal(row->account_id, rows[i].account_after);
            assert_string_equal(row->name, rows[i].name_after);
            assert_int_equal(row->sets[0].amount, 5);
            assert_int_equal(gate->bank.ledger[0].key_id, rows[i].key_id);
            event.admin.verb = ADMIN_CAP_DELETE; /* and back */
            assert_int_equal(gate_decide(gate, &event).admin, ADMIN_DONE);
            assert_int_equal(gate->bank.subjects[0].set_count, 0);
        }
        gate_end((void **)&gate);
    }
}

static void
who_may_only_lower_does_not_raise(void **state)
{
    struct gate *gate = *state;
    static struct plan_cap plan_caps[] = { { "free", 800 } };
    add_limits(gate);
    gate->policy->limits[0].plan_caps = plan_caps;
    gate->policy->limits[0].plan_cap_count = 1;
    static const struct {
        const char *why;
        enum cap_set_kind set;
        int64_t amount;
        bool only_lower;
        enum status_of_admin answer;
    } rows[] = {
        { "above the plan's", SET_CAP, 801, true, ADMIN_NOT_LOWER },
        { "no cap at all", SET_CAP, CAP_UNLIMITED, true, ADMIN_NOT_LOWER },
        { "as it is", SET_CAP, 800, true, ADMIN_DONE },
        { "lower", SET_CAP, 700, true, ADMIN_DONE },
        { "a raise, by who may", SET_RAISE, 50, false, ADMIN_DONE },
        { "up to the raise: it is somebody else's word", SET_CAP, 750, true, ADMIN_NOT_LOWER },
        { "higher, by who may", SET_CAP, CAP_UNLIMITED, false, ADMIN_DONE },
        { "whatever is lower than none", SET_CAP, 100000, true, ADMIN_DONE },
        { "nothing is as low as it goes", SET_CAP, 0, true, ADMIN_DONE },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = an_admin(ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann");
        event.admin.cap.set = rows[i].set;
        event.admin.cap.amount = rows[i].amount;
        event.admin.cap.only_lower = rows[i].only_lower;
        const enum status_of_admin answer = gate_decide(gate, &event).admin;
        if (answer != rows[i].answer) {
            fail_msg("%s: %d", rows[i].why, (int)answer);
        }
    }
}

static void
what_has_expired_is_nothing_to_take_back(void **state)
{
    struct gate *gate = *state;
    add_limits(gate);
    struct event event = an_admin(ADMIN_CAP_PUT, DAY, SUBJECT_ACCOUNT, "ann");
    event.admin.cap.set = SET_RAISE;
    event.admin.cap.amount = 5;
    event.admin.cap.expires_ms = gate->now_ms + 10;
    assert_int_equal(gate_decide(gate, &event).admin, ADMIN_DONE);
    gate->now_ms += 10;
    event.admin.verb = ADMIN_CAP_DELETE;
    assert_int_equal(gate_decide(gate, &event).admin, ADMIN_NOT_FOUND);
    event.admin.cap.limit_id = 7;
    assert_int_equal(gate_decide(gate, &event).admin, ADMIN_INVALID);
}

static void
a_subject_has_room_for_so_many(void **state)
{
    struct gate *gate = *state;
    char name[SETS_MAX + 1][8];
    for (int i = 0; i <= SETS_MAX; i++) {
        snprintf(name[i], sizeof name[i], "l%d", i);
        add_limit(gate->policy, name[i], COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
        struct event set = an_admin(ADMIN_CAP_PUT, 1001 + i, SUBJECT_ACCOUNT, "ann");
        set.admin.cap.amount = 5;
        set.admin.cap.expires_ms = i == 3 ? gate->now_ms + 10 : 0;
        assert_int_equal(gate_decide(gate, &set).admin, i < SETS_MAX ? ADMIN_DONE : ADMIN_FULL);
    }
    gate->now_ms += 10; /* the fourth is over, and makes room */
    struct event set = an_admin(ADMIN_CAP_PUT, 1001 + SETS_MAX, SUBJECT_ACCOUNT, "ann");
    set.admin.cap.amount = 5;
    assert_int_equal(gate_decide(gate, &set).admin, ADMIN_DONE);
    assert_int_equal(gate->bank.subjects[0].set_count, SETS_MAX);
}

static int64_t
settled_of(const struct gate *gate, int64_t limit_id)
{
    for (int i = 0; i < gate->bank.meter_count; i++) {
        for (int32_t k = 0; k < gate->bank.meters[i].meter_count; k++) {
            if (gate->bank.meters[i].meters[k].limit_id == limit_id) {
                return gate->bank.meters[i].meters[k].settled;
            }
        }
    }
    return -1;
}

/* The correction of a call of ann's, as the control plane reads it from its ledger row. */
static struct event
a_correction(const struct gate *gate, int64_t hold_id, int64_t delta)
{
    struct event event = an_admin(ADMIN_ADJUST, 0, SUBJECT_GATEWAY, "");
    struct admin_adjust *adjust = &event.admin.adjust;
    adjust->hold_id = hold_id;
    adjust->delta = delta;
    adjust->read_ms = gate->now_ms;
    adjust->account_id = ACCOUNT;
    adjust->key_id = KEY;
    adjust->root_id = gate->bank.threads[0].root_id;
    for (int i = 0; i < gate->bank.meter_count; i++) {
        for (int32_t k = 0; k < gate->bank.meters[i].meter_count; k++) {
            adjust->parts[adjust->part_count++] = (struct adjust_part){ .limit_id = gate->bank.meters[i].meters[k].limit_id,
                .window_ms = gate->bank.meters[i].meters[k].window_ms };
        }
    }
    return event;
}

static void
a_settled_call_is_corrected_where_it_was_charged(void **state)
{
    struct gate *gate = *state;
    add_limits(gate);
    const struct event call = a_call(MODEL_PAID, 100, 0);
    const struct verdict allowed = gate_decide(gate, &call);
    assert_int_equal(allowed.kind, VERDICT_ALLOWED);
    struct event correction = a_correction(gate, allowed.hold_id, 30);
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_OPEN); /* it is in flight */
    const struct event settle = a_settle(allowed.hold_id, 100, 0);
    (void)gate_decide(gate, &settle);
    assert_int_equal(settled_of(gate, DAY), 100);

    const int64_t rate = settled_of(gate, RATE);
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_DONE);
    assert_int_equal(settled_of(gate, DAY), 130);
    assert_int_equal(settled_of(gate, TREE), 130);
    assert_int_equal(settled_of(gate, RATE), rate); /* no sum of what was spent */
    const struct ledger_row *row = &gate->bank.ledger[gate->bank.ledger_count - 1];
    assert_int_equal(row->kind, LEDGER_ADJUST);
    assert_int_equal(row->cost_micros, 30);
    assert_int_equal(row->hold_id, allowed.hold_id);
    assert_true(slice_find(row->inputs, SLICE("\"limits\":[{\"limit\":\"")) > 0);
    assert_true(slice_find(row->inputs, SLICE("\"delta\":30,\"after\":130}")) > 0);

    struct event nothing = a_correction(gate, allowed.hold_id, 0);
    assert_int_equal(gate_decide(gate, &nothing).admin, ADMIN_INVALID);
    gate->now_ms += DAY_MS; /* the next call opens another window; the correction goes to the one before */
    const struct verdict next = gate_decide(gate, &call);
    assert_int_equal(next.kind, VERDICT_ALLOWED);
    correction.admin.adjust.delta = -30;
    correction.admin.adjust.read_ms = gate->now_ms;
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_STALE); /* it knows of none, and there is one */
    assert_int_equal(settled_of(gate, TREE), 130);
    correction.admin.adjust.after_count = 1;
    correction.admin.adjust.read_ms = gate->now_ms - DAY_MS; /* receipts of then may be swept */
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_STALE);
    correction.admin.adjust.read_ms = gate->now_ms;
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_DONE);
    assert_int_equal(settled_of(gate, TREE), 100);
    assert_int_equal(settled_of(gate, DAY), 0); /* the new day's */
}

/* Its level is in units a period, and drains by itself. */
static void
a_rate_of_money_has_nothing_to_correct(void **state)
{
    struct gate *gate = *state;
    struct limit *rate = add_bucket(gate->policy, "spending", PER_ACCOUNT, 1000, MINUTE_MS, 5000);
    rate->counts = COUNT_COST;
    const struct event call = a_call(MODEL_PAID, 100, 0);
    const struct verdict allowed = gate_decide(gate, &call);
    const struct event settle = a_settle(allowed.hold_id, 100, 0);
    (void)gate_decide(gate, &settle);
    const int64_t level = settled_of(gate, rate->limit_id);
    struct event correction = a_correction(gate, allowed.hold_id, -100);
    assert_int_equal(correction.admin.adjust.part_count, 1);
    assert_int_equal(gate_decide(gate, &correction).admin, ADMIN_DONE);
    assert_int_equal(settled_of(gate, rate->limit_id), level);
}

/* What ann has used of a limit, corrected step by step. */
static void
a_correction_of_use_is_judged_by_its_sum(void **state)
{
    static const struct {
        const char *why;
        int64_t limit_id;
        int64_t delta;
        bool credit; /* one is meant */
        enum status_of_admin answer;
        int64_t settled;
    } rows[] = {
        { "less than nothing, of what nobody used", DAY, -1, false, ADMIN_CREDIT, -1 },
        { "the first that she used", DAY, 100, false, ADMIN_DONE, 100 },
        { "more than that taken back", DAY, -101, false, ADMIN_CREDIT, 100 },
        { "all of it", DAY, -100, false, ADMIN_DONE, 0 },
        { "a credit that is meant", DAY, -40, true, ADMIN_DONE, -40 },
        { "a deeper one that is not", DAY, -1, false, ADMIN_CREDIT, -40 },
        { "up to where a credit is left", DAY, 15, false, ADMIN_DONE, -25 },
        { "no change", DAY, 0, true, ADMIN_INVALID, -25 },
        { "the most that a number says", DAY, MONEY_MICROS_MAX, false, ADMIN_DONE, MONEY_MICROS_MAX - 25 },
        { "one beyond", DAY, 26, false, ADMIN_TOO_MUCH, MONEY_MICROS_MAX - 25 },
        { "up to it", DAY, 25, false, ADMIN_DONE, MONEY_MICROS_MAX },
        { "and back by all there is", DAY, -MONEY_MICROS_MAX, false, ADMIN_DONE, 0 },
        { "the deepest credit", DAY, -MONEY_MICROS_MAX, true, ADMIN_DONE, -MONEY_MICROS_MAX },
        { "one below, which is too much before it is a credit", DAY, -1, false, ADMIN_TOO_MUCH, -MONEY_MICROS_MAX },
        { "more than any sum", DAY, MONEY_MICROS_MAX + 1, true, ADMIN_INVALID, -MONEY_MICROS_MAX },
        { "what drains by itself", RATE, 1, false, ADMIN_INVALID, -1 },
        { "of a limit per tree, of an account", TREE, 1, false, ADMIN_INVALID, -1 },
    };
    struct gate *gate = *state;
    add_limits(gate);
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = an_admin(ADMIN_ADJUST, rows[i].limit_id, SUBJECT_ACCOUNT, "ann");
        event.admin.adjust.delta = rows[i].delta;
        event.admin.adjust.no_credit = !rows[i].credit;
        const int ledger = gate->bank.ledger_count;
        const struct verdict verdict = gate_decide(gate, &event);
        const bool done = verdict.admin == ADMIN_DONE;
        if (verdict.admin != rows[i].answer || settled_of(gate, rows[i].limit_id) != rows[i].settled) {
            fail_msg("%s: %d, %lld", rows[i].why, (int)verdict.admin,
                (long long)settled_of(gate, rows[i].limit_id));
        }
        assert_int_equal(gate->bank.ledger_count, ledger + done);
        if (done) { /* it is told by its row, with what is used after it */
            char after[64];
            const struct ledger_row *row = &gate->bank.ledger[ledger];
            (void)snprintf(after, sizeof after, ",\"after\":%lld}", (long long)rows[i].settled);
            assert_int_equal(verdict.new_id, row->id);
            assert_int_equal(row->cost_micros, rows[i].delta);
            assert_true(slice_find(row->inputs, slice_str(after)) > 0);
        }
    }
}

/* The sum over all of it is told, not that of the moment that the correction is booked in. */
static void
what_is_told_of_a_rolling_window_is_its_sum(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "rolling", COUNT_COST, PER_ACCOUNT, WINDOW_ROLLING, 1000);
    limit->span_ms = DAY_MS;
    static const struct {
        int64_t after_ms, delta, used;
    } rows[] = { { 0, 50, 50 }, { HOUR_MS, 20, 70 }, { HOUR_MS, -10, 60 }, { DAY_MS, 5, 5 } };
    for (size_t i = 0; i < countof(rows); i++) {
        char after[64];
        struct event event = an_admin(ADMIN_ADJUST, limit->limit_id, SUBJECT_ACCOUNT, "ann");
        gate->now_ms += rows[i].after_ms;
        event.admin.adjust.delta = rows[i].delta;
        assert_int_equal(gate_decide(gate, &event).admin, ADMIN_DONE);
        (void)snprintf(after, sizeof after, ",\"after\":%lld}", (long long)rows[i].used);
        const struct ledger_row *row = &gate->bank.ledger[gate->bank.ledger_count - 1];
        if (slice_find(row->inputs, slice_str(after)) < 0) {
            fail_msg("row %zu: %.*s", i, (int)row->inputs.len, row->inputs.ptr);
        }
    }
}

/* Of more charges than it tells apart some count together, until the last of them is over: a credit not. */
static void
a_credit_leaves_a_rolling_window_in_time(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "rolling", COUNT_COST, PER_ACCOUNT, WINDOW_ROLLING, 1000);
    limit->span_ms = DAY_MS;
    const int64_t first_ms = gate->now_ms;
    for (int i = 0; i < 3 * ROLLING_METERS_MAX; i++) {
        struct event event = an_admin(ADMIN_ADJUST, limit->limit_id, SUBJECT_ACCOUNT, "ann");
        event.admin.adjust.delta = i < 2 ? -300 : 10;
        assert_int_equal(gate_decide(gate, &event).admin, ADMIN_DONE);
        assert_true(gate->bank.meters[0].meter_count <= ROLLING_METERS_MAX + 1);
        gate->now_ms += MINUTE_MS;
    }
    gate->now_ms = first_ms + MINUTE_MS + DAY_MS; /* both credits are over; of the charges none is */
    struct event event = an_admin(ADMIN_ADJUST, limit->limit_id, SUBJECT_ACCOUNT, "ann");
    event.admin.adjust.delta = 10;
    assert_int_equal(gate_decide(gate, &event).admin, ADMIN_DONE);
    const struct ledger_row *row = &gate->bank.ledger[gate->bank.ledger_count - 1];
    char after[64];
    (void)snprintf(after, sizeof after, ",\"after\":%d}", (3 * ROLLING_METERS_MAX - 1) * 10);
    if (slice_find(row->inputs, slice_str(after)) < 0) {
        fail_msg("%s is not in %.*s", after, (int)row->inputs.len, row->inputs.ptr);
    }
}

static struct receipt_ask
an_ask(const char *name, char asked, const char *answer)
{
    struct receipt_ask ask = { .status = 200, .answer = slice_str(answer) };
    (void)slice_to_cstr(slice_str(name), ask.name, sizeof ask.name);
    memset(ask.asked, asked, HASH_HEX);
    return ask;
}

static void
a_change_under_a_key_is_made_once(void **state)
{
    static const struct {
        const char *name;
        char asked;
        int64_t limit_id;
        enum status_of_admin admin;
    } rows[] = {
        { "first", 'a', DAY, ADMIN_DONE },
        { "first", 'a', DAY, ADMIN_REPEATED },
        { "first", 'b', DAY, ADMIN_REUSED },
        { "second", 'a', DAY, ADMIN_DONE },
        { "third", 'a', RATE, ADMIN_INVALID }, /* nothing was changed, */
        { "third", 'a', RATE, ADMIN_INVALID }, /* so it is judged anew, */
        { "third", 'b', DAY, ADMIN_DONE },     /* and may go another way */
        { "", 'a', DAY, ADMIN_DONE },
        { "", 'a', DAY, ADMIN_DONE },
    };
    struct gate *gate = *state;
    int64_t settled = 0;
    int receipts = 0;
    add_limits(gate);
    for (size_t i = 0; i < countof(rows); i++) {
        struct event event = an_admin(ADMIN_ADJUST, rows[i].limit_id, SUBJECT_ACCOUNT, "ann");
        event.admin.adjust.delta = 7;
        event.admin.receipt = an_ask(rows[i].name, rows[i].asked, "{\"id\":\"\x1a\"}");
        const struct verdict verdict = gate_decide(gate, &event);
        if (verdict.admin != rows[i].admin) {
            fail_msg("row %zu: %d", i, verdict.admin);
        }
        settled += verdict.admin == ADMIN_DONE ? 7 : 0;
        receipts += verdict.admin == ADMIN_DONE && rows[i].name[0];
        assert_int_equal(settled_of(gate, DAY), settled);
        assert_int_equal(gate->bank.receipt_count, receipts);
        if (i == 0) {
            char want[64];
            (void)snprintf(want, sizeof want, "{\"id\":\"%lld\"}", (long long)verdict.new_id);
            assert_string_equal(gate->bank.receipts[0].answer, want);
        }
    }
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("a change under an idempotency key is made once", a_change_under_a_key_is_made_once, gate_make, gate_end),
#define GATE(name, function) CASE_WITH(name, function, gate_make, gate_end)
    GATE("which caps can be set", which_caps_can_be_set),
    GATE("a cap rules from the next call on, a raise until it is over", a_cap_rules_from_the_next_call_on),
    CASE("whose caps can be set", whose_caps_can_be_set),
    GATE("who may only lower a cap does not raise it", who_may_only_lower_does_not_raise),
    GATE("what has expired is nothing to take back", what_has_expired_is_nothing_to_take_back),
    GATE("a subject has room for so many caps", a_subject_has_room_for_so_many),
    GATE("a settled call is corrected where it was charged", a_settled_call_is_corrected_where_it_was_charged),
    GATE("a correction of use is judged by its sum", a_correction_of_use_is_judged_by_its_sum),
    GATE("what is told of a rolling window is its sum", what_is_told_of_a_rolling_window_is_its_sum),
    GATE("a credit leaves a rolling window when its time is over", a_credit_leaves_a_rolling_window_in_time),
    GATE("a rate of money has nothing to correct", a_rate_of_money_has_nothing_to_correct),
};
UNIT_MAIN(tests)
