/* tests/unit/engine/sweep_test.c
 *
 * Goal: trees that nobody came back to go whole, with what they have counted, and begin anew; of other subjects go
 * those that no window is open of, and nothing is decided otherwise for it; the cache agrees.
 * Method: an engine without a thread of its own, turn by turn; rows are set back by days in the store below it. */
#include "house.h"

#define KEPT_DAYS 30

static void
step_still(struct house *house)
{
    (void)engine_step(house->engine);
}

/* Submits, lets it be decided, and takes the answer. */
static struct verdict
deed(struct house *house, struct event event)
{
    const uint32_t slot = submit(house, event);
    step_still(house);
    return await_slot(house, slot);
}

static struct verdict
deed_allowed(struct house *house, struct event event)
{
    const struct verdict verdict = deed(house, event);
    assert_int_equal(verdict.kind, VERDICT_ALLOWED);
    return verdict;
}

static struct event
call_of(struct house *house, char thread, char parent, const char *tag)
{
    struct event event = house_call(house, MODEL_PAID, 200, 0, thread);
    event.call.thread_kind = THREAD_NAMED;
    if (parent) {
        set_hash(event.call.parent_hash, parent);
    }
    snprintf(event.call.tags[0], sizeof event.call.tags[0], "%s", tag);
    return event;
}

static void
call_through(struct house *house, char thread, char parent, const char *tag)
{
    const struct verdict call = deed_allowed(house, call_of(house, thread, parent, tag));
    deed_allowed(house, a_settle(call.hold_id, 200, 10));
}

static void
open_still(struct house *house)
{
    house->policy->retention_threads_ms = KEPT_DAYS * DAY_MS;
    house->policy->tag_count = 1;
    house->policy->tags[0] = (struct tag){ .name = "team", .header = "x-team" };
    house_start(house);
    house_stop_engine(house);
    const struct engine_options options = {
        .store = house->store, .policy = policy_ref(house->policy), .loop_count = LOOPS
    };
    struct engine_error error;
    assert_int_equal(engine_open_still(&options, &house->engine, &error), STATUS_OK);
}

static void
close_still(struct house *house)
{
    engine_drop(house->engine);
    house->engine = NULL;
}

/* --- Rows, set back by so many days. */

static void
on_meter_row(void *user, const struct need *need, const union need_row *row)
{
    (void)need;
    assert_non_null(row);
    *(struct meter_row *)user = row->meter;
}

static void
on_held_row(void *user, const struct need *need, const union need_row *row)
{
    (void)need;
    *(bool *)user = row != NULL;
}

static void
age_meters(struct house *house, int64_t days)
{
    struct meter_mark marks[64];
    int32_t count = 0;
    assert_int_equal(store_meters_after(house->store, 0, marks, countof(marks), &count), STATUS_OK);
    for (int32_t i = 0; i < count; i++) {
        struct meter_row row;
        const struct need need = { .kind = NEED_METER, .id = marks[i].subject_id };
        assert_int_equal(store_load(house->store, &need, 1, false, on_meter_row, &row), STATUS_OK);
        row.seen_ms -= days * DAY_MS;
        for (int32_t k = 0; k < row.meter_count; k++) {
            row.meters[k].window_ms -= row.meters[k].window_ms ? days * DAY_MS : 0;
        }
        assert_int_equal(store_meter_put(house->store, &row), STATUS_OK);
    }
}

/* All threads but that of this mark, and all meters. */
static void
age(struct house *house, int64_t days, char young)
{
    struct thread_row none = { 0 };
    struct thread_row rows[64];
    int32_t count = 0;
    char mark[HASH_HEX + 1];
    set_hash(mark, young ? young : '0');
    house->engine->node.batch_no++;
    assert_int_equal(store_begin(house->store, &house->engine->node), STATUS_OK);
    assert_int_equal(store_threads_after(house->store, &none, rows, countof(rows), &count), STATUS_OK);
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].sig_hash, mark) != 0) {
            rows[i].last_ms -= days * DAY_MS;
            assert_int_equal(store_thread_put(house->store, &rows[i]), STATUS_OK);
        }
    }
    age_meters(house, days);
    assert_int_equal(store_commit(house->store), STATUS_OK);
    cache_clear(&house->engine->cache);
}

/* Time passes: the books never go back behind this. */
static void
later(struct house *house, int64_t days)
{
    house->engine->node.high_water_ms += days * DAY_MS;
}

/* A whole walk. */
static void
sweep(struct house *house)
{
    int steps = 0;
    house->engine->sweep.walking = false; /* the one of the start began before */
    do {
        house->engine->sweep.due_mono_ms = 0;
        step_still(house);
        assert_true(++steps < 100);
    } while (house->engine->sweep.walking);
}

static int32_t
thread_count(struct house *house)
{
    struct thread_row none = { 0 };
    struct thread_row rows[64];
    int32_t count = 0;
    assert_int_equal(store_begin_read(house->store), STATUS_OK);
    assert_int_equal(store_threads_after(house->store, &none, rows, countof(rows), &count), STATUS_OK);
    store_rollback(house->store);
    return count;
}

static bool
is_there(struct house *house, enum subject_kind kind, int64_t account_id, const char *name)
{
    struct need need = { .kind = NEED_SUBJECT, .sub_kind = (int32_t)kind, .id = account_id };
    bool there = false;
    snprintf(need.text, sizeof need.text, "%s", name);
    assert_int_equal(store_begin_read(house->store), STATUS_OK);
    assert_int_equal(store_load(house->store, &need, 1, false, on_held_row, &there), STATUS_OK);
    store_rollback(house->store);
    return there;
}

/* --- Trees. */

static void
an_idle_tree_goes_whole_and_begins_anew(void **state)
{
    struct house *house = *state;
    const struct limit *tree =
        add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 500);
    open_still(house);
    call_through(house, 'a', 0, "");
    call_through(house, 'b', 'a', ""); /* 440 of the tree's 500 are spent */
    assert_int_equal(deed(house, call_of(house, 'a', 0, "")).refusal.reason, REASON_COST_SPENT);
    sweep(house);
    assert_int_equal(thread_count(house), 2);
    age(house, KEPT_DAYS + 1, 0);
    assert_int_equal(deed(house, call_of(house, 'b', 0, "")).refusal.reason, REASON_COST_SPENT);
    sweep(house);
    assert_int_equal(thread_count(house), 0);
    assert_int_equal(stored_meter(house, tree).settled, 0);
    /* In the cache nothing of it is left either. */
    assert_int_equal(deed(house, call_of(house, 'b', 'a', "")).refusal.reason, REASON_THREAD_PARENT);
    call_through(house, 'a', 0, "");
    assert_int_equal(stored_meter(house, tree).settled, 220);
    close_still(house);
}

static void
a_tree_stays_while_one_of_its_threads_is_used(void **state)
{
    static const char used[] = { 'a', 'b', 'c' }; /* the root, a child, a child's child */
    struct house *house = *state;
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100000);
    open_still(house);
    call_through(house, 'a', 0, "");
    call_through(house, 'b', 'a', "");
    call_through(house, 'c', 'b', "");
    for (size_t i = 0; i < countof(used); i++) {
        age(house, KEPT_DAYS + 1, used[i]);
        sweep(house);
        assert_int_equal(thread_count(house), 3);
        call_through(house, used[i], 0, ""); /* younger than it was set back to */
        call_through(house, used[(i + 1) % countof(used)], 0, "");
    }
    close_still(house);
}

/* A thread is written for its use alone, once an hour: that is what its idleness is judged by. */
static void
a_call_makes_its_thread_young_again_though_nothing_of_it_is_learned(void **state)
{
    struct house *house = *state;
    open_still(house);
    call_through(house, 'a', 0, "");
    age(house, KEPT_DAYS + 1, 0);
    const struct verdict call = deed_allowed(house, call_of(house, 'a', 0, ""));
    deed_allowed(house, a_release(call.hold_id));
    sweep(house);
    assert_int_equal(thread_count(house), 1);
    close_still(house);
}

/* Also where nothing is counted for trees, and a call lasts for longer than threads are kept. */
static void
a_tree_with_a_call_in_flight_stays(void **state)
{
    struct house *house = *state;
    open_still(house);
    call_through(house, 'b', 0, "");
    later(house, 2);
    const struct verdict call = deed_allowed(house, call_of(house, 'a', 0, ""));
    later(house, KEPT_DAYS + 5);
    sweep(house);
    assert_int_equal(thread_count(house), 1); /* b has gone: no call that is open is as old as its last one */
    deed_allowed(house, a_settle(call.hold_id, 200, 10));
    later(house, KEPT_DAYS + 1);
    sweep(house);
    assert_int_equal(thread_count(house), 0);
    close_still(house);
}

/* --- Others. */

static void
a_subject_goes_once_all_its_windows_are_over(void **state)
{
    static const struct {
        const char *name;
        enum window_kind window;
        int64_t days;
        bool goes;
    } rows[] = {
        { "a day, idle for long", WINDOW_DAY, KEPT_DAYS + 1, true },
        { "a day, not so long", WINDOW_DAY, KEPT_DAYS - 1, false },
        { "a month", WINDOW_MONTH, KEPT_DAYS + 40, true },
        { "a lifetime", WINDOW_LIFETIME, 1000, false },
        { "a rolling day", WINDOW_ROLLING, KEPT_DAYS + 1, true },
        { "a rolling year", WINDOW_ROLLING, KEPT_DAYS + 2, false }, /* its span is set below */
        { "from first use", WINDOW_FIRST_USE, KEPT_DAYS + 1, true },
    };
    struct house *house = *state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct limit *limit = add_limit(
            house->policy, rows[i].name, COUNT_COST, PER_TAG, rows[i].window, 100000);
        limit->span_ms = rows[i].window == WINDOW_ROLLING || rows[i].window == WINDOW_FIRST_USE
                             ? DAY_MS * (i == 5 ? 365 : 1)
                             : 0;
        open_still(house);
        call_through(house, 'a', 0, "red");
        assert_true(is_there(house, SUBJECT_TAG, 0, "team=red"));
        age(house, rows[i].days, 0);
        sweep(house);
        if (is_there(house, SUBJECT_TAG, 0, "team=red") == rows[i].goes) {
            fail_msg("%s: %s", rows[i].name, rows[i].goes ? "it stays" : "it went");
        }
        call_through(house, 'a', 0, "red");
        close_still(house);
        house_end(state);
        assert_int_equal(house_in_memory(state), 0);
        house = *state;
    }
}

static void
what_people_set_keeps_a_subject(void **state)
{
    struct house *house = *state;
    const struct limit *day =
        add_limit(house->policy, "day", COUNT_COST, PER_TAG, WINDOW_DAY, 100000);
    open_still(house);
    call_through(house, 'a', 0, "red");
    call_through(house, 'a', 0, "blue");
    struct event cap = { .kind = EVENT_ADMIN };
    cap.admin = (struct admin_event){ .verb = ADMIN_CAP_PUT };
    cap.admin.cap = (struct admin_cap){ .limit_id = day->limit_id, .kind = SUBJECT_TAG, .set = SET_CAP, .amount = 300 };
    strcpy(cap.admin.cap.name, "team=red");
    assert_int_equal(deed(house, cap).admin, ADMIN_DONE);
    age(house, KEPT_DAYS + 5, 0);
    sweep(house);
    assert_true(is_there(house, SUBJECT_TAG, 0, "team=red"));
    assert_false(is_there(house, SUBJECT_TAG, 0, "team=blue"));
    strcpy(cap.admin.cap.name, "team=blue"); /* who has gone is there again with the first that is set for it */
    assert_int_equal(deed(house, cap).admin, ADMIN_DONE);
    call_through(house, 'a', 0, "blue");
    assert_int_equal(deed(house, call_of(house, 'a', 0, "blue")).refusal.reason, REASON_COST_SPENT);
    close_still(house);
}

/* A call looks for what is set for everybody and for groups: their rows are there, or the store is asked each time. */
static void
the_subjects_of_the_gateway_and_of_groups_stay(void **state)
{
    struct house *house = *state;
    (void)add_limit(house->policy, "day", COUNT_COST, PER_GATEWAY, WINDOW_DAY, 100000);
    (void)add_limit(house->policy, "tag", COUNT_COST, PER_TAG, WINDOW_DAY, 100000);
    static struct group groups[] = { { .name = "staff" } };
    house->policy->groups = groups;
    house->policy->group_count = 1;
    open_still(house);
    call_through(house, 'a', 0, "red");
    age(house, KEPT_DAYS + 5, 0);
    sweep(house);
    assert_false(is_there(house, SUBJECT_TAG, 0, "team=red"));
    assert_true(is_there(house, SUBJECT_GATEWAY, 0, ""));
    assert_true(is_there(house, SUBJECT_GROUP, 0, "staff"));
    close_still(house);
}

static void
a_long_walk_goes_in_steps(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100000);
    open_still(house);
    for (char thread = '0'; thread < '0' + 40; thread++) {
        call_through(house, thread, 0, "");
    }
    age(house, KEPT_DAYS + 1, 'Z'); /* none */
    int steps = 0;
    int32_t left = thread_count(house);
    house->engine->sweep.walking = false;
    do {
        house->engine->sweep.due_mono_ms = 0;
        step_still(house);
        const int32_t now_left = thread_count(house);
        assert_true(left - now_left <= STORE_TREES_MAX / 2);
        left = now_left;
        steps++;
    } while (house->engine->sweep.walking);
    assert_int_equal(left, 0);
    assert_true(steps >= 4);
    close_still(house);
}

/* A store that fails in the middle: nothing of the step has gone, and the next try does it. */
static void
a_commit_that_fails_takes_nothing(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100000);
    open_still(house);
    call_through(house, 'a', 0, "");
    call_through(house, 'b', 'a', "");
    age(house, KEPT_DAYS + 1, 0);
    atomic_store(&faults.commit_status, STATUS_IO);
    for (int i = 0; i < 3; i++) {
        house->engine->sweep.due_mono_ms = 0;
        step_still(house);
    }
    assert_int_equal(thread_count(house), 2);
    atomic_store(&faults.commit_status, STATUS_OK);
    sweep(house);
    assert_int_equal(thread_count(house), 0);
    close_still(house);
}

/* --- Beside another gateway. */

static struct thread_row
thread_of(struct house *house, char mark)
{
    struct thread_row none = { 0 };
    struct thread_row rows[64], found = { 0 };
    char hash[HASH_HEX + 1];
    int32_t count = 0;
    set_hash(hash, mark);
    assert_int_equal(store_begin_read(house->store), STATUS_OK);
    assert_int_equal(store_threads_after(house->store, &none, rows, countof(rows), &count), STATUS_OK);
    store_rollback(house->store);
    for (int32_t i = 0; i < count; i++) {
        found = strcmp(rows[i].sig_hash, hash) == 0 ? rows[i] : found;
    }
    assert_int_not_equal(found.thread_id, 0);
    return found;
}

/* Another gateway sweeps a thread, or a client of its comes back to one that went. */
static void
another_sweeps(struct house *house, const struct thread_row *row)
{
    house->engine->node.batch_no++;
    assert_int_equal(store_begin(house->store, &house->engine->node), STATUS_OK);
    assert_int_equal(store_thread_delete(house->store, row), STATUS_OK);
    assert_int_equal(store_commit(house->store), STATUS_OK);
}

static void
another_makes_anew(struct house *house, struct thread_row row)
{
    row.thread_id = row.root_id = row.thread_id + 1000;
    row.version = 0;
    house->engine->node.batch_no++;
    assert_int_equal(store_begin(house->store, &house->engine->node), STATUS_OK);
    assert_int_equal(store_thread_put(house->store, &row), STATUS_OK);
    assert_int_equal(store_commit(house->store), STATUS_OK);
}

/* A call meets others' writes at each try, and is refused: what it met is nobody else's trouble. */
static void
what_one_call_met_holds_no_other_up(void **state)
{
    struct house *house = *state;
    open_still(house);
    call_through(house, 'a', 0, "");
    const struct verdict open = deed_allowed(house, call_of(house, 'b', 0, ""));
    const struct thread_row thread = thread_of(house, 'a');
    another_sweeps(house, &thread);
    atomic_store(&faults.thread_conflicts, -1);
    assert_int_equal(deed(house, call_of(house, 'a', 0, "")).refusal.reason, REASON_STORE_UNAVAILABLE);
    another_makes_anew(house, thread);
    deed_allowed(house, a_settle(open.hold_id, 200, 10));
    assert_int_equal(books_of(house).hold_count, 0);
    close_still(house);
}

static void
a_thread_that_another_made_anew_is_found_at_the_next_try(void **state)
{
    struct house *house = *state;
    open_still(house);
    call_through(house, 'a', 0, "");
    const struct thread_row thread = thread_of(house, 'a');
    another_sweeps(house, &thread);
    another_makes_anew(house, thread);
    atomic_store(&faults.thread_conflicts, 1); /* it is missed under its locks, too */
    const int begins = atomic_load(&faults.begins);
    deed_allowed(house, call_of(house, 'a', 0, ""));
    assert_int_equal(atomic_load(&faults.begins) - begins, 2);
    assert_int_equal(thread_count(house), 1);
    close_still(house);
}

static const struct CMUnitTest tests[] = {
    ALL("a tree that nobody came back to goes whole, and begins anew", an_idle_tree_goes_whole_and_begins_anew),
    ALL("a tree stays while one of its threads is used", a_tree_stays_while_one_of_its_threads_is_used),
    ALL("a call makes its thread young again though nothing of it is learned",
        a_call_makes_its_thread_young_again_though_nothing_of_it_is_learned),
    ALL("a tree with a call in flight stays", a_tree_with_a_call_in_flight_stays),
    CASE_WITH("a subject goes once all its windows are over", a_subject_goes_once_all_its_windows_are_over, house_in_memory, house_end),
    ALL("what people set for a subject keeps it", what_people_set_keeps_a_subject),
    ALL("the subjects of the gateway and of groups stay", the_subjects_of_the_gateway_and_of_groups_stay),
    ALL("a long walk goes in steps", a_long_walk_goes_in_steps),
    ALL("a commit that fails takes nothing", a_commit_that_fails_takes_nothing),
    CASE_WITH("what one call met of another gateway's writes holds no other up", what_one_call_met_holds_no_other_up,
        house_shared, house_end),
    CASE_WITH("a thread that another gateway made anew is found at the next try",
        a_thread_that_another_made_anew_is_found_at_the_next_try, house_shared, house_end),
};
UNIT_MAIN(tests)
