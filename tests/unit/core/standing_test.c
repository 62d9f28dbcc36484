/* tests/unit/core/standing_test.c
 *
 * Goal: pages show of a row of meters what a decision would find: the window that holds now, never one that is
 * over, under the cap that rules, and by whose word.
 * Method: calls through the gate, then its rows as a reader hands them out. */
#include "gate.h"

#include <string.h>

#include "core/core_priv.h"

struct view {
    struct arena arena;
    struct work work;
    struct core core;
    int32_t count;
    struct limit_standing standings[METERS_MAX];
};

/* What the row of that subject tells; 0 where nothing does. */
static int32_t
view_row(struct gate *gate, struct view *view, enum subject_kind kind, const char *name)
{
    memset(view, 0, sizeof *view);
    work_start(&view->work, &view->arena);
    view->core =
        (struct core){ .policy = gate->policy, .work = &view->work, .now_ms = gate->now_ms };
    for (int i = 0; i < gate->bank.subject_count; i++) {
        const struct subject_row *subject = &gate->bank.subjects[i];
        for (int k = 0; k < gate->bank.meter_count; k++) {
            const struct meter_row *meters = &gate->bank.meters[k];
            if (meters->subject_id == subject->subject_id && subject->kind == kind
                && strcmp(subject->name, name) == 0) {
                view->count = core_row_standings(&view->core, bank_account(gate, subject->account_id),
                    subject, meters, view->standings);
            }
        }
    }
    work_end(&view->work);
    arena_free(&view->arena);
    return view->count;
}

static void
charge(struct gate *gate, int64_t cost)
{
    const struct event event = a_call(MODEL_PAID, cost, 0);
    const struct event settle = a_settle(expect_allowed(gate, &event).hold_id, cost, 0);
    expect_allowed(gate, &settle);
}

static void
assert_shown(struct gate *gate, int64_t used, int64_t start_ms, int64_t end_ms)
{
    struct view view;
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT, ""), 1);
    assert_int_equal(view.standings[0].used, used);
    assert_int_equal(view.standings[0].start_ms, start_ms);
    assert_int_equal(view.standings[0].end_ms, end_ms);
}

static void
assert_nothing_shown(struct gate *gate)
{
    struct view view;
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT, ""), 0);
}

static void
a_window_that_is_over_is_not_shown(void **state)
{
    static const enum window_kind windows[] = { WINDOW_DAY, WINDOW_ROLLING, WINDOW_FIRST_USE };
    const int64_t midnight_ms = NOON_MS + 12 * HOUR_MS;
    for (size_t i = 0; i < countof(windows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const bool day = windows[i] == WINDOW_DAY;
        const bool rolls = windows[i] == WINDOW_ROLLING;
        struct limit *limit =
            add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, windows[i], 1000);
        limit->span_ms = day ? 0 : 12 * HOUR_MS;
        const int64_t start_ms = day ? midnight_ms - DAY_MS : rolls ? 0 : NOON_MS;
        const int64_t end_ms = rolls ? 0 : midnight_ms;
        charge(gate, 600);
        const struct event open = a_call(MODEL_PAID, 300, 0);
        expect_allowed(gate, &open); /* in flight beyond its window */
        gate->now_ms += 6 * HOUR_MS;
        charge(gate, 100);
        assert_shown(gate, 700, start_ms, end_ms);
        gate->now_ms = midnight_ms;
        if (rolls) {
            assert_shown(gate, 100, 0, 0);
            gate->now_ms += 6 * HOUR_MS;
        }
        assert_nothing_shown(gate);
        gate_end((void **)&gate);
    }
}

static void
a_bucket_shows_what_has_not_drained(void **state)
{
    struct gate *gate = *state;
    add_bucket(gate->policy, "rate", PER_ACCOUNT, 60, MINUTE_MS, 10);
    charge(gate, 1);
    charge(gate, 1);
    assert_shown(gate, 2, 0, 0);
    gate->now_ms += SECOND_MS;
    assert_shown(gate, 1, 0, 0);
    gate->now_ms += HOUR_MS;
    assert_shown(gate, 0, 0, 0);
}

static void
the_cap_that_rules_is_shown(void **state)
{
    struct gate *gate = *state;
    struct view view;
    static struct plan_cap plan_caps[] = { { "free", 800 } };
    struct limit *limit = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
    charge(gate, 1);
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT, ""), 1);
    assert_int_equal(view.standings[0].cap, 1000);
    assert_string_equal(view.standings[0].tier, "default");
    limit->plan_caps = plan_caps;
    limit->plan_cap_count = 1;
    view_row(gate, &view, SUBJECT_ACCOUNT, "");
    assert_int_equal(view.standings[0].cap, 800);
    assert_string_equal(view.standings[0].tier, "plan");
    struct subject_row *subject = &gate->bank.subjects[0];
    subject->set_count = 2;
    subject->sets[0] = (struct cap_set){ .set_id = limit->set_id, .kind = SET_CAP, .amount = 500 };
    subject->sets[1] = (struct cap_set){
        .set_id = limit->set_id, .kind = SET_RAISE, .amount = 50, .expires_ms = gate->now_ms + 1
    };
    view_row(gate, &view, SUBJECT_ACCOUNT, "");
    assert_int_equal(view.standings[0].cap, 550);
    assert_int_equal(view.standings[0].raised, 50);
    assert_string_equal(view.standings[0].tier, "set");
    gate->now_ms += 1;
    view_row(gate, &view, SUBJECT_ACCOUNT, "");
    assert_int_equal(view.standings[0].cap, 500);
}

/* Under a group's cap is what was spent in its organisation: that row has it, the account's own has none. */
static void
a_cap_of_a_group_is_shown_where_it_rules(void **state)
{
    struct gate *gate = *state;
    struct view view;
    static const char *members[] = { "ann" };
    static struct group groups[] = {
        { .name = "lab", .organisation = "acme", .member_count = 1, .members = members }
    };
    static struct plan_cap group_caps[] = { { "lab", 700 } };
    struct limit *limit = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
    gate->policy->groups = groups;
    gate->policy->group_count = 1;
    limit->group_caps = group_caps;
    limit->group_cap_count = 1;
    strcpy(gate->bank.accounts[0].organisation, "acme");
    charge(gate, 1);
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT_ORGANISATION, "acme"), 1);
    assert_int_equal(view.standings[0].cap, 700);
    assert_int_equal(view.standings[0].group, 0);
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT, ""), 1);
    assert_int_equal(view.standings[0].cap, CAP_UNLIMITED);
    limit->group_cap_count = 0; /* the default rules, of all that is spent */
    assert_int_equal(view_row(gate, &view, SUBJECT_ACCOUNT_ORGANISATION, "acme"), 0);
    view_row(gate, &view, SUBJECT_ACCOUNT, "");
    assert_int_equal(view.standings[0].cap, 1000);
}

/* --- Of an account, as pages ask for it. */

struct shown {
    int32_t count;
    struct limit_standing standings[STANDINGS_MAX];
};

static void
show(struct gate *gate, const struct standing_ask *ask, struct shown *shown)
{
    struct needs needs;
    gate_start(gate);
    do {
        needs = (struct needs){ 0 };
        core_standing_needs(&gate->core, ask, &needs);
    } while (gate_load(gate, &needs));
    shown->count = core_standings(&gate->core, ask, shown->standings);
}

static void
each_limit_whose_subject_is_known_without_a_call_is_shown(void **state)
{
    static const struct {
        enum per_kind per;
        enum subject_kind kind;
        const char *name; /* NULL = it needs a call */
    } rows[] = {
        { PER_GATEWAY, SUBJECT_GATEWAY, "" },
        { PER_ACCOUNT, SUBJECT_ACCOUNT, "" },
        { PER_PLAN, SUBJECT_PLAN, "free" },
        { PER_GROUP, SUBJECT_GROUP, "lab" },
        { PER_ORGANISATION, SUBJECT_ORGANISATION, "acme" },
        { PER_KEY, SUBJECT_KEY, NULL },
        { PER_MODEL, SUBJECT_MODEL, NULL },
        { PER_TIER, SUBJECT_TIER, NULL },
        { PER_ACCOUNT_MODEL, SUBJECT_ACCOUNT_MODEL, NULL },
        { PER_TAG, SUBJECT_TAG, NULL },
    };
    static const char *members[] = { "ann" };
    static struct group groups[] = { { .name = "lab", .member_count = 1, .members = members } };
    struct shown *shown = test_malloc(sizeof *shown);
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        gate->policy->groups = groups;
        gate->policy->group_count = 1;
        gate->policy->tag_count = 1;
        gate->policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
        strcpy(gate->bank.accounts[0].organisation, "acme");
        add_limit(gate->policy, "money", COUNT_COST, rows[i].per, WINDOW_MONTH, 1000);
        const struct standing_ask ask = { .account_id = ACCOUNT };
        show(gate, &ask, shown); /* nothing was used yet */
        assert_int_equal(shown->count, rows[i].name != NULL);
        if (rows[i].name) {
            const struct limit_standing *standing = &shown->standings[0];
            assert_int_equal(standing->subject_id, 0);
            assert_int_equal(standing->used, 0);
            charge(gate, 300);
            const struct event open = a_call(MODEL_PAID, 50, 0);
            expect_allowed(gate, &open);
            show(gate, &ask, shown);
            assert_int_equal(standing->limit, 0);
            assert_int_equal(standing->kind, rows[i].kind);
            assert_string_equal(standing->name, rows[i].name);
            assert_true(standing->subject_id > 0);
            assert_int_equal(standing->used, 300);
            assert_int_equal(standing->held, 50);
            assert_int_equal(standing->cap, 1000);
            assert_int_equal(standing->group, -1);
        }
        gate_end((void **)&gate);
    }
    test_free(shown);
}

static void
a_tree_is_shown_where_it_is_asked_for(void **state)
{
    struct gate *gate = *state;
    struct shown *shown = test_malloc(sizeof *shown);
    add_limit(gate->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000);
    add_limit(gate->policy, "pace", COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED, 90)->span_ms = 5 * HOUR_MS;
    charge(gate, 300);
    struct standing_ask ask = { .account_id = ACCOUNT };
    show(gate, &ask, shown);
    assert_int_equal(shown->count, 0); /* percentages have a page of their own */
    ask.root_id = gate->bank.threads[0].root_id;
    show(gate, &ask, shown);
    assert_int_equal(shown->count, 1);
    assert_int_equal(shown->standings[0].used, 300);
    ask.root_id = 999; /* a tree that has spent nothing */
    show(gate, &ask, shown);
    assert_int_equal(shown->count, 1);
    assert_int_equal(shown->standings[0].used, 0);
    ask.account_id = ACCOUNT_B; /* another's tree is none of its own */
    ask.root_id = gate->bank.threads[0].root_id;
    show(gate, &ask, shown);
    assert_int_equal(shown->standings[0].used, 0);
    ask.account_id = 999;
    show(gate, &ask, shown);
    assert_int_equal(shown->count, 0);
    test_free(shown);
}

static void
in_another_organisation_another_purse_is_shown(void **state)
{
    static const char *members[] = { "ann" };
    static struct group groups[] = {
        { .name = "lab", .organisation = "acme", .member_count = 1, .members = members },
        { .name = "shop", .organisation = "bits", .member_count = 1, .members = members },
    };
    static struct plan_cap group_caps[] = { { "lab", 700 }, { "shop", 90 } };
    struct gate *gate = *state;
    struct shown *shown = test_malloc(sizeof *shown);
    struct limit *limit = add_limit(gate->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_MONTH, 1000);
    gate->policy->groups = groups;
    gate->policy->group_count = 2;
    limit->group_caps = group_caps;
    limit->group_cap_count = 2;
    strcpy(gate->bank.accounts[0].organisation, "acme");
    charge(gate, 300);
    static const struct {
        const char *organisation;
        int64_t cap, used;
        int32_t group;
    } rows[] = { { "", 700, 300, 0 }, { "acme", 700, 300, 0 }, { "bits", 90, 0, 1 }, { "else", 1000, 300, -1 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct standing_ask ask = { .account_id = ACCOUNT };
        strcpy(ask.organisation, rows[i].organisation);
        show(gate, &ask, shown);
        assert_int_equal(shown->count, 1);
        assert_int_equal(shown->standings[0].cap, rows[i].cap);
        assert_int_equal(shown->standings[0].used, rows[i].used);
        assert_int_equal(shown->standings[0].group, rows[i].group);
    }
    test_free(shown);
}

static const struct CMUnitTest tests[] = {
    CASE("FF-97 a window that is over is not shown as the current one", a_window_that_is_over_is_not_shown),
    CASE_WITH("a bucket shows what has not drained", a_bucket_shows_what_has_not_drained, gate_make, gate_end),
    CASE_WITH("the cap that rules is shown, and by whose word", the_cap_that_rules_is_shown, gate_make, gate_end),
    CASE_WITH("a group's cap is shown where it rules", a_cap_of_a_group_is_shown_where_it_rules, gate_make, gate_end),
    CASE("each limit whose subject is known without a call is shown", each_limit_whose_subject_is_known_without_a_call_is_shown),
    CASE_WITH("a tree is shown where it is asked for", a_tree_is_shown_where_it_is_asked_for, gate_make, gate_end),
    CASE_WITH("in another organisation another purse is shown", in_another_organisation_another_purse_is_shown, gate_make, gate_end),
};
UNIT_MAIN(tests)
