/* tests/unit/engine/close_test.c
 *
 * Goal: closing writes what is queued and charges nobody for calls that never left; a crash books what was in
 * flight; a new configuration judges new calls, the old one those that are open.
 * Method: engines closed, killed and opened again over one store. */
#include "house.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void
closing_writes_what_is_queued(void **state)
{
    struct house *house = *state;
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10000000);
    house_start(house);
    int64_t holds[300];
    for (int i = 0; i < 300; i++) {
        holds[i] = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    }
    for (int i = 0; i < 300; i++) {
        submit_untold(house, a_settle(holds[i], 100, 50));
    }
    house_stop_engine(house);
    const struct books books = books_of(house);
    assert_int_equal(books.hold_count, 0);
    assert_int_equal(books.kinds[LEDGER_SETTLE], 300);
    assert_int_equal(stored_meter(house, day).settled, 60000);
    assert_int_equal(stored_meter(house, day).held, 0);
}

static void
what_nobody_heard_of_is_given_back(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    house_start(house);
    const int64_t heard = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    for (int i = 0; i < 9; i++) { /* allowed, but no loop takes it any more */
        submit(house, house_call(house, MODEL_PAID, 100, 0, 'b'));
    }
    UNTIL(books_of(house).hold_count == 10);
    for (int i = 0; i < 5; i++) { /* in the line */
        submit_untold(house, house_call(house, MODEL_PAID, 100, 0, 'c'));
    }
    UNTIL(state_of(house).waiting == 5);
    submit(house, house_call(house, MODEL_FREE, 100, 0, 'd')); /* in the queue, or decided just now */
    house_stop_engine(house);
    const struct books books = books_of(house);
    assert_int_equal(books.hold_count, 1); /* it is in flight: the next start books it */
    assert_int_equal(books.hold.hold_id, heard);
    assert_true(books.kinds[LEDGER_RELEASE] >= 9);
    assert_int_equal(books.cost_micros, 0);
    assert_int_equal(books.held, 100);
}

static void
nothing_new_starts_while_closing(void **state)
{
    struct house *house = *state;
    house_start(house);
    atomic_store(&faults.commit_waits, true);
    submit_untold(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    for (int i = 0; i < 500; i++) {
        submit_untold(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    }
    pthread_mutex_lock(&house->engine->lock);
    house->engine->stopping = true; /* as engine_close begins */
    pthread_mutex_unlock(&house->engine->lock);
    atomic_store(&faults.commit_waits, false);
    house_stop_engine(house);
    assert_int_equal(books_of(house).hold_count, 1);
}

static void
closing_gives_up_on_a_broken_store(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    atomic_store(&faults.commit_status, STATUS_IO);
    submit_untold(house, a_settle(hold_id, 100, 0));
    const int64_t start_ms = clock_mono_ms();
    house_stop_engine(house);
    assert_in_range(clock_mono_ms() - start_ms, 1000, 4000);
    atomic_store(&faults.commit_status, STATUS_OK);
    assert_int_equal(books_of(house).hold_count, 1);
    house_start(house); /* what could not be settled is an orphan */
    assert_int_equal(state_of(house).orphans_closed, 1);
    assert_int_equal(books_of(house).kinds[LEDGER_ORPHAN], 1);
}

static void
closing_waits_for_a_store_that_recovers(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    atomic_store(&faults.commit_status, STATUS_IO);
    submit_untold(house, a_settle(hold_id, 100, 0));
    UNTIL(!state_of(house).store_ok);
    pthread_mutex_lock(&house->engine->lock);
    house->engine->stopping = true;
    pthread_mutex_unlock(&house->engine->lock);
    pause_ms(300);
    atomic_store(&faults.commit_status, STATUS_OK);
    house_stop_engine(house);
    assert_int_equal(books_of(house).kinds[LEDGER_SETTLE], 1);
    assert_int_equal(books_of(house).hold_count, 0);
}

/* --- Crashes. */

static void
orphans_of_many_transactions(void **state)
{
    struct house *house = *state;
    const struct limit *mine = add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 100000);
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000000);
    house_start(house);
    const int64_t epoch = engine_epoch(house->engine);
    for (int i = 0; i < 700; i++) {
        ask_allowed(house, house_call(house, MODEL_PAID, 100, 10, 'a'));
    }
    house_stop(house); /* with all of them in flight */
    house_start(house);
    assert_true(engine_epoch(house->engine) > epoch);
    assert_int_equal(state_of(house).orphans_closed, 700);
    const struct books books = books_of(house);
    assert_int_equal(books.hold_count, 0);
    assert_int_equal(books.kinds[LEDGER_ORPHAN], 700);
    assert_int_equal(books.cost_micros, 700 * 120);
    assert_int_equal(stored_meter(house, mine).held, 0);
    assert_int_equal(stored_meter(house, day).settled, 700 * 120); /* the limit has kept its id */
    house_stop(house);
    house_start(house);
    assert_int_equal(state_of(house).orphans_closed, 0);
    assert_int_equal(books_of(house).kinds[LEDGER_ORPHAN], 700);
}

/* In the child: a gateway that dies right after a commit, before anybody hears of it. */
static void
die_after_commit(struct house *house, int told)
{
    house_start(house);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 10, 'a')); /* one was heard of */
    for (int i = 0; i < 5; i++) {
        submit(house, house_call(house, MODEL_PAID, 100, 10, 'b'));
    }
    UNTIL(books_of(house).hold_count == 6);
    if (write(told, "x", 1) == 1) {
        pause_ms(60000);
    }
    _exit(1);
}

static void
killed_between_commit_and_verdict(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
    const struct limit *mine = add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 100);
    for (int round = 1; round <= 3; round++) {
        int pipes[2];
        char byte = 0;
        assert_int_equal(pipe(pipes), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipes[0]);
            house->account_id = 0;
            if (round > 1) { /* the account is there since the first round */
                assert_int_equal(house_try_start(house), STATUS_OK);
                struct event event = { .kind = EVENT_IDENTIFY };
                set_hash(event.identify.key_hash, 'a');
                const struct verdict verdict = ask_allowed(house, event);
                house->account_id = verdict.identity.account_id;
                house->key_id = verdict.identity.key_id;
                house_stop(house);
            }
            die_after_commit(house, pipes[1]);
        }
        close(pipes[1]);
        assert_int_equal(read(pipes[0], &byte, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(pipes[0]);

        house->account_id = 1; /* there is one; who does not matter here */
        house_start(house);
        assert_int_equal(state_of(house).orphans_closed, 6);
        const struct books books = books_of(house);
        assert_int_equal(books.hold_count, 0);
        assert_int_equal(books.kinds[LEDGER_ORPHAN], 6 * round);
        assert_int_equal(books.cost_micros, 6 * round * 120);
        assert_int_equal(books.held, 0);
        assert_int_equal(stored_meter(house, mine).held, 0);
        house_stop(house);
    }
}

/* --- Configurations. */

/* A call asked under a policy by somebody who has left it: refused, and nobody waits for the answer. */
static void
expect_gone(struct house *house, int64_t version)
{
    struct event late = house_call(house, MODEL_FREE, 100, 0, 'a');
    late.call.policy_ver = version;
    UNTIL(ask(house, late).refusal.reason == REASON_OVERLOADED);
}

static void
open_calls_keep_their_policy(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000);
    house_start(house);
    const struct limit day = house->policy->limits[0];
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    const int64_t version = house->policy->version;
    house_new_policy(house);
    house->policy->models[MODEL_PAID].routes[0].price = NULL; /* no price, no limit any more */
    struct engine_error error;
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
    assert_true(house->policy->version > version);
    policy_unref(house->before[--house->before_count]); /* whoever settles has let go of it */
    ask_allowed(house, (struct event){ .kind = EVENT_ADMIN, .admin.verb = ADMIN_NOTE });
    assert_int_equal(ask_allowed(house, a_settle(hold_id, 100, 50)).cost_micros, 200);
    assert_int_equal(stored_meter(house, &day).settled, 200);
    assert_int_equal(stored_meter(house, &day).held, 0);
    expect_gone(house, version);
}

/* A call whose commit nobody answered is given back; the one beside it is priced as it was promised. */
static void
a_commit_in_doubt_keeps_the_policy_of_others(void **state)
{
    struct house *house = *state;
    house_start(house);
    struct engine_error error;
    for (int made = 0; made < 2; made++) {
        const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
        const int64_t version = house->policy->version;
        atomic_store(&faults.commit_status, made ? STATUS_UNCERTAIN : STATUS_IO);
        const struct verdict call = ask(house, house_call(house, MODEL_PAID, 100, -1, 'a'));
        assert_int_equal(call.refusal.reason, REASON_STORE_UNAVAILABLE);
        atomic_store(&faults.commit_status, STATUS_OK);
        UNTIL(state_of(house).store_ok);
        UNTIL(state_of(house).queued == 0);
        UNTIL(books_of(house).kinds[LEDGER_RELEASE] == made);
        house_new_policy(house);
        house->policy->models[MODEL_PAID].routes[0].price = made ? NULL : &house->policy->prices[1];
        assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
        policy_unref(house->before[--house->before_count]);
        ask_allowed(house, (struct event){ .kind = EVENT_ADMIN, .admin.verb = ADMIN_NOTE });
        assert_int_equal(ask_allowed(house, a_settle(hold_id, 100, 50)).cost_micros, 200);
        expect_gone(house, version);
    }
}

static void
limits_keep_their_ids(void **state)
{
    struct house *house = *state;
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    house_start(house);
    const int64_t limit_id = day->limit_id;
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 800, 0, 'a')).hold_id;
    ask_allowed(house, a_settle(hold_id, 800, 0));
    struct engine_error error;

    house_new_policy(house); /* a higher amount keeps what was used */
    day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
    assert_int_equal(day->limit_id, limit_id);
    const struct verdict verdict = ask(house, house_call(house, MODEL_PAID, 800, 0, 'b'));
    assert_int_equal(verdict.refusal.reason, REASON_COST_SPENT);
    assert_int_equal(verdict.refusal.used, 800);

    house_new_policy(house); /* under another name that says which it was, also when it is read again */
    for (int i = 0; i < 2; i++) {
        struct limit *renamed =
            add_limit(house->policy, "a-day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
        renamed->was = "day";
        assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
        assert_int_equal(renamed->limit_id, limit_id);
        const struct verdict same = ask(house, house_call(house, MODEL_PAID, 800, 0, 'b'));
        assert_int_equal(same.refusal.used, 800);
        house_new_policy(house);
    }
    day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
    assert_true(day->limit_id != limit_id); /* its old name is free */
    house_new_policy(house);
    struct limit *taken = add_limit(house->policy, "a-day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
    taken->was = "day"; /* both names have been used */
    memcpy(taken->fingerprint, day->fingerprint, sizeof taken->fingerprint);
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "the limit 'a-day' cannot take over what 'day' has used"));

    for (int i = 0; i < 2; i++) { /* renamed and moved at once, and read again: there was nothing to take over */
        house_new_policy(house);
        struct limit *moved = add_limit(house->policy, "moved", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
        memset(moved->fingerprint, 'd', HASH_HEX);
        moved->was = "day";
        assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
        assert_true(moved->limit_id != day->limit_id);
    }

    house_new_policy(house); /* another form of the same name starts anew */
    struct limit *other = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
    memset(other->fingerprint, 'e', HASH_HEX);
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
    assert_true(other->limit_id != limit_id);
    ask_allowed(house, house_call(house, MODEL_PAID, 800, 0, 'b'));
}

/* What a limit is once the policy is in force; `fingerprint` and `thing`: one letter each, of the window and of what
 * is counted. */
static struct limit
numbered(struct house *house, const char *name, const char *was, char fingerprint, char thing)
{
    struct engine_error error;
    house_new_policy(house);
    struct limit *limit = add_limit(house->policy, name, COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
    memset(limit->fingerprint, fingerprint, HASH_HEX);
    memset(limit->thing, thing, HASH_HEX);
    limit->was = was;
    assert_int_equal(engine_set_policy(house->engine, policy_ref(house->policy), &error), STATUS_OK);
    return *limit;
}

static void
names_and_sets_of_limits_over_time(void **state)
{
    struct house *house = *state;
    house_start(house);
    const struct limit day = numbered(house, "day", NULL, 'd', 't');
    assert_int_equal(day.nth, 1);
    assert_int_equal(day.set_id, day.limit_id);
    assert_int_equal(day.left_set_id, 0);

    const struct limit week = numbered(house, "day", NULL, 'w', 't'); /* another window: a new meter, the same sets */
    assert_true(week.limit_id != day.limit_id);
    assert_int_equal(week.nth, 2);
    assert_int_equal(week.set_id, day.set_id);
    assert_int_equal(week.left_set_id, 0);

    const struct limit other = numbered(house, "day", NULL, 'w' + 1, 'o'); /* something else: no sets of before */
    assert_int_equal(other.nth, 3);
    assert_int_equal(other.set_id, other.limit_id);
    assert_int_equal(other.left_set_id, day.set_id);

    const struct limit again = numbered(house, "day", NULL, 'w', 't'); /* and back: a new meter, those sets again */
    assert_int_equal(again.nth, 4);
    assert_true(again.limit_id != week.limit_id);
    assert_int_equal(again.set_id, day.set_id);

    const struct limit renamed = numbered(house, "spend", "day", 'w', 't');
    assert_int_equal(renamed.limit_id, again.limit_id);
    assert_int_equal(renamed.nth, 1);
    assert_int_equal(renamed.set_id, day.set_id);

    const struct limit taken = numbered(house, "day", NULL, 'w', 't'); /* sets that are another's by now are not its */
    assert_int_equal(taken.nth, 5);
    assert_int_equal(taken.set_id, taken.limit_id);

    assert_int_equal(numbered(house, "gone", "day", 'w', 't').limit_id, taken.limit_id);
    const struct limit back = numbered(house, "day", "spend", 'w', 't'); /* the name that it had: as it was called then */
    assert_int_equal(back.limit_id, again.limit_id);
    assert_int_equal(back.nth, 4);
}

static void
a_policy_that_cannot_be_stored_changes_nothing(void **state)
{
    struct house *house = *state;
    house_start(house);
    atomic_store(&faults.commit_status, STATUS_IO);
    struct policy *next = a_policy(0);
    add_limit(next, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 0);
    struct engine_error error = { .text = "" };
    assert_int_equal(engine_set_policy(house->engine, next, &error), STATUS_IO);
    assert_non_null(strstr(error.text, "the test says so"));
    atomic_store(&faults.commit_status, STATUS_OK);
    UNTIL(state_of(house).store_ok);
    struct policy *now = engine_policy(house->engine);
    assert_ptr_equal(now, house->policy);
    policy_unref(now);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
}

static void
many_policies_while_calls_are_open(void **state)
{
    struct house *house = *state;
    house_start(house);
    int64_t holds[200];
    const int64_t first_version = house->policy->version;
    int64_t version_before = 0;
    struct engine_error error;
    for (int i = 0; i < 200; i++) {
        holds[i] = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
        struct policy *next = a_policy(0);
        next->models[MODEL_PAID].routes[0].price = &next->prices[i % 3]; /* free, paid, dear */
        version_before = house->policy->version;
        policy_unref(house->policy);
        house->policy = next;
        assert_int_equal(engine_set_policy(house->engine, policy_ref(next), &error), STATUS_OK);
    }
    for (int i = 0; i < 200; i++) {
        static const int64_t per_token[] = { 0, 1, 10 };
        const int64_t expected = i == 0 ? 200 : 200 * per_token[(i - 1) % 3];
        assert_int_equal(ask_allowed(house, a_settle(holds[i], 100, 50)).cost_micros, expected);
    }
    expect_gone(house, first_version);
    expect_gone(house, version_before);
}

static void
an_open_that_fails_leaves_nothing(void **state)
{
    struct house *house = *state;
    house_start(house);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a'));
    house_stop_engine(house);
    atomic_store(&faults.begin_status, STATUS_IO);
    assert_int_equal(house_try_start(house), STATUS_IO);
    atomic_store(&faults.begin_status, STATUS_OK);
    atomic_store(&faults.poisoned_hold, books_of(house).hold.hold_id); /* an orphan that cannot be read */
    assert_int_equal(house_try_start(house), STATUS_INVALID);
    atomic_store(&faults.poisoned_hold, 0);
    assert_int_equal(house_try_start(house), STATUS_OK);
    assert_int_equal(state_of(house).orphans_closed, 1);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("a crash between commit and verdict is booked at the next start", killed_between_commit_and_verdict, house_on_disk,
        house_end), /* first: it forks, so no thread may have run */
    BOTH("closing writes what is queued", closing_writes_what_is_queued),
    BOTH("what nobody heard of is given back at the end", what_nobody_heard_of_is_given_back),
    CASE_WITH("nothing new starts while closing", nothing_new_starts_while_closing, house_in_memory, house_end),
    CASE_WITH("closing gives up on a broken store", closing_gives_up_on_a_broken_store, house_in_memory, house_end),
    CASE_WITH("closing waits for a store that recovers", closing_waits_for_a_store_that_recovers, house_in_memory, house_end),
    CASE_WITH("orphans of many transactions are booked once", orphans_of_many_transactions, house_on_disk, house_end),
    BOTH("open calls keep the policy they began under", open_calls_keep_their_policy),
    BOTH("a commit in doubt keeps the policy of the calls beside it", a_commit_in_doubt_keeps_the_policy_of_others),
    BOTH("limits keep their ids, and so their usage", limits_keep_their_ids),
    BOTH("a limit is told from others of its name, and keeps what people set while it counts the same", names_and_sets_of_limits_over_time),
    CASE_WITH("a configuration that cannot be stored changes nothing", a_policy_that_cannot_be_stored_changes_nothing,
        house_in_memory, house_end),
    CASE_WITH("hundreds of configurations while calls are open", many_policies_while_calls_are_open, house_in_memory, house_end),
    CASE_WITH("an open that fails leaves nothing behind", an_open_that_fails_leaves_nothing, house_in_memory, house_end),
};
UNIT_MAIN(tests)
