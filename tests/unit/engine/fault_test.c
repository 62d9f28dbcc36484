/* tests/unit/engine/fault_test.c
 *
 * Goal: while the store cannot write, nothing starts and nothing is lost: new work is answered at once,
 * settlements are kept and written later, the engine neither spins nor starves, and it finds out by itself
 * when the store works again.
 * Method: a store that fails on purpose, and a real one whose file may not grow. */
#include "house.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int64_t
cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static void
break_at_commit(bool broken)
{
    atomic_store(&faults.commit_status, broken ? STATUS_IO : STATUS_OK);
}

static void
break_at_begin(bool broken)
{
    atomic_store(&faults.begin_status, broken ? STATUS_IO : STATUS_OK);
}

static void
nothing_starts_nothing_is_lost(struct house *house, void (*set_broken)(bool broken))
{
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000);
    house_start(house);
    const int64_t first = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    const int64_t second = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    set_broken(true);
    const struct verdict call = ask(house, house_call(house, MODEL_PAID, 100, -1, 'a'));
    assert_int_equal(call.kind, VERDICT_REFUSED);
    assert_int_equal(call.refusal.reason, REASON_STORE_UNAVAILABLE);
    assert_int_equal(call.hold_id, 0);
    assert_false(state_of(house).store_ok);
    assert_string_equal(state_of(house).store_error, "the test says so");
    assert_int_equal(ask(house, an_extend(first, STEP)).refusal.reason, REASON_STORE_UNAVAILABLE);
    submit_untold(house, a_settle(first, 100, 50));
    pause_ms(30);
    const int64_t start_ms = clock_mono_ms();
    ask(house, house_call(house, MODEL_PAID, 100, -1, 'a')); /* answered at once, not at the next try */
    assert_true(clock_mono_ms() - start_ms < 150);
    assert_int_equal(state_of(house).queued, 1);
    set_broken(false);
    UNTIL(state_of(house).store_ok); /* without anybody's help */
    UNTIL(state_of(house).queued == 0);
    UNTIL(books_of(house).kinds[LEDGER_SETTLE] > 0); /* off the queue comes before on the books */
    struct books books = books_of(house);
    assert_int_equal(books.kinds[LEDGER_SETTLE], 1);
    assert_int_equal(books.cost_micros, 200);
    assert_int_equal(books.hold_count, 1);
    assert_int_equal(stored_meter(house, day).settled, 200);
    assert_int_equal(stored_meter(house, day).held, 500);
    ask_allowed(house, a_settle(second, 100, 50));
    books = books_of(house);
    assert_int_equal(books.hold_count, 0);
    assert_int_equal(stored_meter(house, day).held, 0);
    assert_int_equal(stored_meter(house, day).settled, 400);
}

static void
broken_at_commit(void **state)
{
    nothing_starts_nothing_is_lost(*state, break_at_commit);
}

static void
broken_at_begin(void **state)
{
    nothing_starts_nothing_is_lost(*state, break_at_begin);
}

static void
a_try_with_nothing_to_write_proves_it(void **state)
{
    struct house *house = *state;
    house_start(house);
    break_at_commit(true);
    ask(house, house_call(house, MODEL_PAID, 100, -1, 'a'));
    for (int i = 0; i < 45; i++) {
        assert_false(state_of(house).store_ok);
        pause_ms(10);
    }
    break_at_commit(false);
    UNTIL(state_of(house).store_ok);
}

static void
set_file_limit(bool limited)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = limited ? 4096 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_file_that_may_not_grow(void **state)
{
    struct house *house = *state;
    signal(SIGXFSZ, SIG_IGN);
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    set_file_limit(true);
    assert_int_equal(ask(house, house_call(house, MODEL_PAID, 100, 0, 'a')).refusal.reason, REASON_STORE_UNAVAILABLE);
    submit_untold(house, a_settle(hold_id, 100, 0));
    pause_ms(250);
    assert_false(state_of(house).store_ok);
    assert_true(strlen(state_of(house).store_error) > 0);
    set_file_limit(false);
    UNTIL(state_of(house).store_ok && state_of(house).queued == 0);
    UNTIL(books_of(house).kinds[LEDGER_SETTLE] > 0); /* off the queue comes before on the books */
    const struct books books = books_of(house);
    assert_int_equal(books.kinds[LEDGER_SETTLE], 1);
    assert_int_equal(books.hold_count, 0);
}

static void
many_settlements_do_not_starve_the_rest(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    break_at_begin(true);
    for (int i = 0; i < 3 * ENGINE_BATCH_MAX; i++) {
        submit_untold(house, a_settle(i ? 1000000 + i : hold_id, 100, 0));
    }
    for (int i = 0; i < 20; i++) {
        const int64_t start_ms = clock_mono_ms();
        assert_int_equal(ask(house, house_call(house, MODEL_PAID, 100, 0, 'a')).refusal.reason, REASON_STORE_UNAVAILABLE);
        assert_true(clock_mono_ms() - start_ms < 150);
    }
    UNTIL(state_of(house).queued == 3 * ENGINE_BATCH_MAX);
    const int begins = atomic_load(&faults.begins);
    const int64_t used_ms = cpu_ms();
    pause_ms(600);
    assert_true(cpu_ms() - used_ms < 200); /* it sleeps between tries */
    assert_in_range(atomic_load(&faults.begins) - begins, 1, 6);
    break_at_begin(false);
    UNTIL(state_of(house).queued == 0);
    UNTIL(books_of(house).hold_count == 0);
    assert_int_equal(books_of(house).cost_micros, 100);
}

static void
parked_settlements_count_against_new_work(void **state)
{
    struct house *house = *state;
    house_start(house);
    break_at_begin(true);
    for (int i = 0; i < ENGINE_QUEUE_MAX; i++) {
        submit_untold(house, a_settle(1000000 + i, 100, 0));
    }
    UNTIL(!state_of(house).store_ok);
    struct event event = house_call(house, MODEL_PAID, 100, 0, 'a');
    event.reply.loop = ENGINE_NO_REPLY;
    UNTIL(!engine_submit(house->engine, &event)); /* but while some of them are being tried again */
    break_at_begin(false);
    UNTIL(state_of(house).queued == 0);
    ask_allowed(house, event);
}

static void
waiting_calls_are_answered_while_the_store_is_down(void **state)
{
    struct house *house = *state;
    house->policy->held_wait_ms = 60;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100);
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    const uint32_t slot = submit(house, house_call(house, MODEL_PAID, 100, 0, 'b'));
    assert_int_equal(await_slot(house, slot).kind, VERDICT_WAIT);
    break_at_begin(true);
    submit_untold(house, a_settle(hold_id, 10, 0));
    const int64_t start_ms = clock_mono_ms();
    const struct verdict verdict = await_slot(house, slot);
    assert_true(clock_mono_ms() - start_ms < 180);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_int_equal(verdict.refusal.reason, REASON_COST_HELD);
    break_at_begin(false);
    UNTIL(state_of(house).queued == 0);
    UNTIL(books_of(house).hold_count == 0);
}

static void
refusals_outlive_an_outage(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    house_start(house);
    const int64_t ledger_id = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a')).refusal.ledger_id;
    break_at_commit(true); /* a refusal needs no commit, so it is still a refusal, until something fails */
    UNTIL(!state_of(house).store_ok);
    const int64_t used_ms = cpu_ms();
    pause_ms(400);
    assert_true(cpu_ms() - used_ms < 150);
    break_at_commit(false);
    UNTIL(books_of(house).refusals == 1);
    assert_int_equal(books_of(house).newest.id, ledger_id);
}

static void
ids_of_answers_outlive_an_outage(void **state)
{
    struct house *house = *state;
    char ids[3 * HASH_HEX];
    house_start(house);
    const struct event call = house_call(house, MODEL_PAID, 100, 0, 'a');
    const struct event given = { .kind = EVENT_ISSUED,
        .issued = { call.call.account_id, 3, slice_of(ids, sizeof ids) } };
    struct event settle = a_settle(ask_allowed(house, call).hold_id, 100, 0);
    settle.settle.issued = given.issued.ids;
    break_at_commit(true);
    ask(house, call);
    memset(ids, 'e', sizeof ids);
    ids[0] = 'a', ids[HASH_HEX] = 'b';
    submit_untold(house, settle);
    memset(ids, 'x', sizeof ids); /* it has a copy */
    assert_int_equal(ask(house, given).refusal.reason, REASON_STORE_UNAVAILABLE);
    break_at_commit(false);
    UNTIL(state_of(house).store_ok && state_of(house).queued == 0);
    memset(ids, 'e', sizeof ids);
    assert_int_equal(ask(house, given).refusal.reason, REASON_OK); /* the same three times */
    ids[0] = 'a', ids[HASH_HEX] = 'b';
    ask_allowed(house, given);
    ids[0] = 'c';
    assert_int_equal(ask(house, given).refusal.reason, REASON_ID_UNKNOWN);
}

static void
a_change_by_an_admin_is_all_or_nothing(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t version = engine_identity_version(house->engine);
    break_at_commit(true);
    struct event event = { .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = ADMIN_KEY_REVOKE, .key.key_id = house->key_id, .note = SLICE("{}") };
    const struct verdict verdict = ask(house, event);
    assert_int_equal(verdict.kind, VERDICT_REFUSED);
    assert_int_equal(verdict.refusal.reason, REASON_STORE_UNAVAILABLE);
    assert_int_equal(engine_identity_version(house->engine), version);
    break_at_commit(false);
    UNTIL(state_of(house).store_ok);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')); /* not revoked */
}

static const struct CMUnitTest tests[] = {
    BOTH("ids of answers outlive an outage", ids_of_answers_outlive_an_outage),
    BOTH("FF-29 FF-54 broken at commit: nothing starts, nothing is lost", broken_at_commit),
    BOTH("broken at begin: nothing starts, nothing is lost", broken_at_begin),
    CASE_WITH("a try with nothing to write proves that it can be written", a_try_with_nothing_to_write_proves_it,
        house_in_memory, house_end),
    CASE_WITH("a file that may not grow", a_file_that_may_not_grow, house_on_disk, house_end),
    CASE_WITH("many settlements do not starve the rest, nor spin", many_settlements_do_not_starve_the_rest, house_in_memory,
        house_end),
    CASE_WITH("parked settlements count against new work", parked_settlements_count_against_new_work, house_in_memory,
        house_end),
    CASE_WITH("waiting calls are answered while the store is down", waiting_calls_are_answered_while_the_store_is_down,
        house_in_memory, house_end),
    CASE_WITH("refusals outlive an outage", refusals_outlive_an_outage, house_in_memory, house_end),
    BOTH("a change by an admin is all or nothing", a_change_by_an_admin_is_all_or_nothing),
};
UNIT_MAIN(tests)
