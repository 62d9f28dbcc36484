/* tests/unit/core/caps_test.c
 *
 * Goal: whose word a cap is: what is set for an account, its groups, everybody, its plan, the default, and raises
 * on top; and which spending is under it. Numbers of cases are the specification's, in micro-USD.
 * Method: the gate; caps that people set are rows of subjects. */
#include "gate.h"

#include <string.h>

#include "core/core_priv.h"

static const char *members[] = { "ann" };
static struct group groups[] = {
    { .name = "a-five", .organisation = "A", .member_count = 1, .members = members },
    { .name = "a-twenty", .organisation = "A", .member_count = 1, .members = members },
    { .name = "b-fifty", .organisation = "B", .member_count = 1, .members = members },
};
static struct plan_cap group_caps[] = { { "a-five", 5 }, { "a-twenty", 20 }, { "b-fifty", 50 } };

static struct limit *
a_month(struct gate *gate)
{
    struct limit *limit =
        add_limit(gate->policy, "month", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 100);
    gate->policy->groups = groups;
    gate->policy->group_count = (int32_t)countof(groups);
    limit->group_caps = group_caps;
    limit->group_cap_count = (int32_t)countof(group_caps);
    return limit;
}

static void
set_for(struct gate *gate, const struct limit *limit, enum subject_kind kind, int64_t account_id,
    const char *name, enum cap_set_kind set, int64_t amount, int64_t expires_ms)
{
    struct subject_row *row = NULL;
    for (int i = 0; i < gate->bank.subject_count; i++) {
        struct subject_row *known = &gate->bank.subjects[i];
        const bool same = known->kind == kind && known->account_id == account_id;
        row = same && strcmp(known->name, name) == 0 ? known : row;
    }
    if (!row) {
        row = &gate->bank.subjects[gate->bank.subject_count++];
        *row = (struct subject_row){ .subject_id = 9000 + gate->bank.subject_count,
            .kind = kind,
            .account_id = account_id,
            .version = 1 };
        slice_to_cstr(slice_str(name), row->name, sizeof row->name);
    }
    row->sets[row->set_count++] = (struct cap_set){ .set_id = limit->set_id,
        .kind = set,
        .amount = amount,
        .expires_ms = expires_ms,
        .set_ms = 1 };
}

static struct event
call_in(const char *organisation, int64_t cost)
{
    struct event event = a_call(MODEL_PAID, cost, 0);
    strcpy(event.call.organisation, organisation);
    return event;
}

static void
spend(struct gate *gate, const char *organisation, int64_t cost)
{
    const struct event event = call_in(organisation, 1);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, cost, 0);
    expect_allowed(gate, &settle);
}

/* What a call in that organisation is under, and how much of it is used: by a refusal. */
static struct refusal
under(struct gate *gate, const char *organisation)
{
    const struct event event = call_in(organisation, 1000000);
    const struct verdict verdict = gate_decide(gate, &event);
    assert_int_not_equal(verdict.kind, VERDICT_ALLOWED);
    return verdict.refusal;
}

static void
caps_of_groups(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = a_month(gate);
    assert_int_equal(under(gate, "A").cap, 5);    /* 27: the lowest of two */
    assert_int_equal(under(gate, "B").cap, 50);   /* 28: not the lowest of all */
    assert_int_equal(under(gate, "C").cap, 100);  /* 29: none there: the default */
    assert_int_equal(under(gate, "").cap, 5);     /* 30: of all */
    limit->combine = COMBINE_MAX;
    assert_int_equal(under(gate, "A").cap, 20);
    assert_int_equal(under(gate, "").cap, 50);
    struct plan_cap caps[countof(group_caps)];
    memcpy(caps, group_caps, sizeof caps);
    caps[1].cap = CAP_UNLIMITED; /* is more than any number */
    limit->group_caps = caps;
    const struct event event = call_in("A", 1000000);
    expect_allowed(gate, &event);
    limit->combine = COMBINE_MIN;
    assert_int_equal(under(gate, "A").cap, 5);
}

static void
spending_under_a_cap_of_a_group(void **state)
{
    struct gate *gate = *state;
    a_month(gate);
    spend(gate, "A", 4);
    assert_int_equal(under(gate, "B").used, 0); /* 31 */
    assert_int_equal(under(gate, "A").used, 4); /* 32 */
    assert_int_equal(under(gate, "").used, 4);  /* 33 */
    spend(gate, "B", 7);
    assert_int_equal(under(gate, "A").used, 4);
    assert_int_equal(under(gate, "B").used, 7);
}

static void
a_cap_of_the_account_goes_first(void **state)
{
    struct gate *gate = *state;
    const struct limit *limit = a_month(gate);
    set_for(gate, limit, SUBJECT_ACCOUNT, ACCOUNT, "", SET_CAP, 10, 0);
    assert_int_equal(under(gate, "A").cap, 10); /* 34 */
    assert_int_equal(under(gate, "").cap, 10);
    spend(gate, "A", 3);
    spend(gate, "B", 4);
    assert_int_equal(under(gate, "A").used, 7); /* 35: all of it, wherever */
    assert_int_equal(under(gate, "B").used, 7);
}

static void
a_default_counts_all(void **state)
{
    struct gate *gate = *state;
    a_month(gate);
    spend(gate, "C", 30);
    spend(gate, "D", 40);
    assert_int_equal(under(gate, "C").cap, 100);
    assert_int_equal(under(gate, "C").used, 70); /* 36 */
}

/* Each word that goes before the one above it. */
static void
words_in_their_order(void **state)
{
    struct gate *gate = *state;
    static struct plan_cap plan_caps[] = { { "free", 80 } };
    struct limit *limit = a_month(gate);
    limit->group_cap_count = 0;
    assert_int_equal(under(gate, "").cap, 100);
    limit->plan_caps = plan_caps;
    limit->plan_cap_count = 1;
    assert_int_equal(under(gate, "").cap, 80);
    set_for(gate, limit, SUBJECT_GATEWAY, 0, "", SET_CAP, 70, 0);
    assert_int_equal(under(gate, "").cap, 70);
    limit->group_cap_count = 1;
    assert_int_equal(under(gate, "").cap, 5);
    set_for(gate, limit, SUBJECT_GROUP, 0, "a-five", SET_CAP, 60, 0); /* in the place of the configured one */
    assert_int_equal(under(gate, "").cap, 60);
    set_for(gate, limit, SUBJECT_ACCOUNT, ACCOUNT, "", SET_CAP, 40, gate->now_ms + HOUR_MS);
    assert_int_equal(under(gate, "").cap, 40);
    gate->now_ms += HOUR_MS - 1;
    assert_int_equal(under(gate, "").cap, 40);
    gate->now_ms += 1; /* it has expired */
    assert_int_equal(under(gate, "").cap, 60);
}

static void
raises_last_until_they_expire(void **state)
{
    struct gate *gate = *state;
    const struct limit *limit = a_month(gate);
    set_for(gate, limit, SUBJECT_ACCOUNT, ACCOUNT, "", SET_RAISE, 25, gate->now_ms + HOUR_MS);
    assert_int_equal(under(gate, "B").cap, 75); /* whatever cap rules */
    assert_int_equal(under(gate, "C").cap, 125);
    gate->now_ms += HOUR_MS - 1;
    assert_int_equal(under(gate, "C").cap, 125);
    gate->now_ms += 1;
    assert_int_equal(under(gate, "C").cap, 100);
}

static void
a_group_is_one_purse(void **state)
{
    struct gate *gate = *state;
    static const char *both[] = { "ann", "bob" };
    static struct group purse[] = { { .name = "lab", .member_count = 2, .members = both } };
    struct limit *limit = add_limit(gate->policy, "purse", COUNT_COST, PER_GROUP, WINDOW_WEEK, 100);
    gate->policy->groups = purse;
    gate->policy->group_count = 1;
    spend(gate, "", 60);
    struct event bob = a_call(MODEL_PAID, 41, 0);
    bob.call.account_id = ACCOUNT_B;
    bob.call.key_id = KEY_B;
    const struct refusal refusal = expect_refused(gate, &bob, REASON_COST_SPENT).refusal;
    assert_int_equal(refusal.used, 60);
    set_for(gate, limit, SUBJECT_GROUP, 0, "lab", SET_CAP, 101, 0);
    expect_allowed(gate, &bob);
}

/* What is set for it, and a raise, could come to more than its level can say. */
static void
a_rate_refuses_however_much_was_set(void **state)
{
    struct gate *gate = *state;
    struct limit *rate = add_bucket(gate->policy, "spending", PER_ACCOUNT, 1000000, 30 * DAY_MS, 5);
    rate->counts = COUNT_COST;
    set_for(gate, rate, SUBJECT_ACCOUNT, ACCOUNT, "", SET_CAP, MONEY_MICROS_MAX, 0);
    set_for(gate, rate, SUBJECT_ACCOUNT, ACCOUNT, "", SET_RAISE, MONEY_MICROS_MAX, 0);
    spend(gate, "", MONEY_MICROS_MAX / (30 * DAY_MS) + 10000000);
    const struct event event = call_in("", 1);
    expect_refused(gate, &event, REASON_COST_SPENT);
}

static void
a_tree_asks_for_less(void **state)
{
    static const struct {
        int64_t configured, asked, cap;
    } rows[] = { { 1000, 300, 300 }, { 1000, 5000, 1000 }, { CAP_UNLIMITED, 300, 300 }, { 1000, 0, 1000 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        add_limit(
            gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, rows[i].configured);
        struct event event = a_call(MODEL_PAID, 10, 0);
        event.call.spend_limit_micros = rows[i].asked;
        const int64_t hold_id = expect_allowed(gate, &event).hold_id;
        assert_int_equal(bank_hold(gate, hold_id)->parts[0].cap, rows[i].cap);
        event.call.spend_limit_micros = 100000; /* a later call raises nothing */
        assert_int_equal(
            bank_hold(gate, expect_allowed(gate, &event).hold_id)->parts[0].cap,
            rows[i].cap);
        event.call.spend_limit_micros = 0;
        assert_int_equal(under(gate, "").cap, rows[i].cap);
        gate_end((void **)&gate);
    }
}

/* What is asked is kept as such: it lowers whatever rules at each decision, and freezes nothing. */
static void
what_a_tree_asked_for_outlives_other_caps(void **state)
{
    struct gate *gate = *state;
    struct limit *limit = add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 300);
    struct event event = a_call(MODEL_PAID, 10, 0);
    event.call.spend_limit_micros = 500;
    assert_int_equal(bank_hold(gate, expect_allowed(gate, &event).hold_id)->parts[0].cap, 300);
    event.call.spend_limit_micros = 0;
    limit->cap_default = 1000; /* the configuration is edited */
    assert_int_equal(bank_hold(gate, expect_allowed(gate, &event).hold_id)->parts[0].cap, 500);
    limit->cap_default = CAP_UNLIMITED;
    assert_int_equal(bank_hold(gate, expect_allowed(gate, &event).hold_id)->parts[0].cap, 500);
    limit->cap_default = 400;
    assert_int_equal(bank_hold(gate, expect_allowed(gate, &event).hold_id)->parts[0].cap, 400);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("SL-27 SL-28 SL-29 SL-30 which group's cap rules", caps_of_groups, gate_make, gate_end),
    CASE_WITH("SL-31 SL-32 SL-33 what is spent under a group's cap", spending_under_a_cap_of_a_group, gate_make, gate_end),
    CASE_WITH("SL-34 SL-35 a cap of the account goes before its groups', for all that it spends",
        a_cap_of_the_account_goes_first, gate_make, gate_end),
    CASE_WITH("SL-36 under the default all spending counts", a_default_counts_all, gate_make, gate_end),
    CASE_WITH("whose word a cap is", words_in_their_order, gate_make, gate_end),
    CASE_WITH("a raise comes on top until it expires", raises_last_until_they_expire, gate_make, gate_end),
    CASE_WITH("a group is one purse", a_group_is_one_purse, gate_make, gate_end),
    CASE_WITH("a rate refuses, however much was set", a_rate_refuses_however_much_was_set, gate_make, gate_end),
    CASE("a tree's first call may ask for less, never for more", a_tree_asks_for_less),
    CASE_WITH("what a tree asked for lowers whatever rules, and freezes nothing",
        what_a_tree_asked_for_outlives_other_caps, gate_make, gate_end),
};
UNIT_MAIN(tests)
