/* tests/unit/engine/engine_test.c
 *
 * Goal: no verdict leaves before its commit; a refusal costs none; settlements wait for company, but not
 * long; one bad row poisons its own event alone.
 * Method: an engine over a store whose commits are counted, stopped and spoiled. */
#include "house.h"
#include "store_gets.h"

#include <string.h>

#include "base/clock.h"

static void
a_call_from_start_to_end(void **state)
{
    struct house *house = *state;
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10000);
    const struct limit *mine = add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 2);
    house_start(house);
    const struct verdict call = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a'));
    assert_int_equal(call.output_allowed, STEP);
    struct books books = books_of(house);
    assert_int_equal(books.hold_count, 1);
    assert_int_equal(books.hold.hold_id, call.hold_id);
    assert_int_equal(books.hold.node_id, 1);
    assert_int_equal(books.hold.epoch, engine_epoch(house->engine));
    assert_int_equal(stored_meter(house, day).held, 500);
    assert_int_equal(ask_allowed(house, an_extend(call.hold_id, STEP)).output_allowed, 2 * STEP);
    assert_int_equal(stored_meter(house, day).held, 700);
    assert_int_equal(ask_allowed(house, a_settle(call.hold_id, 100, 150)).cost_micros, 400);
    books = books_of(house);
    assert_int_equal(books.hold_count, 0);
    assert_int_equal(books.kinds[LEDGER_SETTLE], 1);
    assert_int_equal(books.newest.cost_micros, 400);
    assert_int_equal(stored_meter(house, day).settled, 400);
    assert_int_equal(stored_meter(house, day).held, 0);
    assert_int_equal(stored_meter(house, mine).held, 0);
    assert_int_equal(ask(house, a_settle(call.hold_id, 100, 150)).cost_micros, 0);
    assert_int_equal(books_of(house).cost_micros, 400);
}

static void
no_verdict_before_its_commit(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10000);
    house_start(house);
    const int before = atomic_load(&faults.commits);
    atomic_store(&faults.commit_waits, true);
    const uint32_t slot = submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    assert_true(nothing_comes(house, 30));
    atomic_store(&faults.commit_waits, false);
    assert_int_equal(await_slot(house, slot).kind, VERDICT_ALLOWED);
    assert_int_equal(atomic_load(&faults.commits), before + 1);
}

static void
calls_at_once_share_a_commit(void **state)
{
    struct house *house = *state;
    house_start(house);
    atomic_store(&faults.commit_waits, true);
    submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    const int before = atomic_load(&faults.commits);
    for (int i = 0; i < 100; i++) { /* while the first is being written */
        submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    }
    atomic_store(&faults.commit_waits, false);
    for (int i = 0; i < 101; i++) {
        assert_int_equal(await(house).kind, VERDICT_ALLOWED);
    }
    assert_int_equal(atomic_load(&faults.commits), before + 2);
    assert_int_equal(books_of(house).hold_count, 101);
}

/* Refusals are gathered by the minute: what counts them within one does not begin at its end. */
static void
let_the_minute_end(void)
{
    const int64_t left_ms = 60000 - clock_wall_ms() % 60000;
    if (left_ms < 3000) {
        pause_ms(left_ms + 1);
    }
}

static void
a_refusal_costs_no_commit(void **state)
{
    struct house *house = *state;
    let_the_minute_end();
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    house_start(house);
    const int before = atomic_load(&faults.commits);
    int64_t ledger_id = 0;
    for (int i = 0; i < 100; i++) {
        const struct verdict verdict = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
        assert_int_equal(verdict.refusal.reason, REASON_COST_SPENT);
        assert_true(verdict.refusal.ledger_id > 0);
        assert_true(ledger_id == 0 || verdict.refusal.ledger_id == ledger_id); /* all lead to one row */
        ledger_id = verdict.refusal.ledger_id;
    }
    assert_true(atomic_load(&faults.commits) <= before + 1); /* one, should it have taken a second */
    UNTIL(books_of(house).refusals == 100);
    const struct books books = books_of(house);
    assert_int_equal(books.kinds[LEDGER_REFUSAL], 1);
    assert_int_equal(books.refusal_count, 1);
    assert_int_equal(books.newest.id, ledger_id);
    assert_string_equal(books.newest.model, "paid");
    assert_true(atomic_load(&faults.commits) <= before + 2);

    /* More of them in the same minute raise the counter; the next commit takes them along. */
    ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    ask_allowed(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    UNTIL(books_of(house).refusals == 101);
    assert_int_equal(books_of(house).kinds[LEDGER_REFUSAL], books_of(house).refusal_count);
}

static void
a_refusal_is_on_the_books_for_who_asks(void **state)
{
    struct house *house = *state;
    let_the_minute_end();
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    house_start(house);
    struct event look = { .kind = EVENT_IDENTIFY };
    set_hash(look.identify.key_hash, 'z');
    look.identify.books = true;
    for (int i = 1; i <= 3; i++) { /* the row, and repeats of it */
        ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
        ask(house, look);
        assert_int_equal(books_of(house).refusals, i);
    }
    const int before = atomic_load(&faults.commits);
    ask(house, look);
    assert_int_equal(atomic_load(&faults.commits), before); /* nothing waited */
}

static void
a_refusal_says_how_long_it_holds(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 1);
    house_start(house);
    const struct verdict allowed = ask_allowed(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    ask_allowed(house, a_settle(allowed.hold_id, 100, 0)); /* now the account has its meters */
    const struct verdict spent = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_int_equal(spent.refusal.reason, REASON_COST_SPENT);
    if (house->shared) {
        assert_true(spent.same_until_ms <= spent.same_from_ms + 1000); /* others' changes are not heard of */
        return;
    }
    assert_true(spent.same_until_ms > spent.same_from_ms);
    assert_int_equal(spent.same_from_ms / MINUTE_MS, (spent.same_until_ms - 1) / MINUTE_MS);
    assert_true(spent.meter_mark == engine_meter_mark(house->engine, spent.refusal.subject_id));

    /* A refusal moves no mark, nor does a call of nobody's meters that it shares. */
    const struct verdict again = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_true(again.meter_mark == spent.meter_mark);
    /* What is held, and what is given back, does. */
    const struct verdict held = ask_allowed(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    const uint64_t with_hold = engine_meter_mark(house->engine, spent.refusal.subject_id);
    assert_true(with_hold != spent.meter_mark);
    const struct verdict full = ask(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    assert_int_equal(full.refusal.reason, REASON_IN_FLIGHT);
    assert_int_equal(full.same_until_ms, 0); /* whoever is in flight may end at any time */
    ask_allowed(house, a_settle(held.hold_id, 100, 0));
    assert_true(engine_meter_mark(house->engine, spent.refusal.subject_id) != with_hold);
}

/* The refusal may have been decided before or after what its own batch commits: it holds for no one else. */
static void
a_refusal_beside_a_change_is_not_given_again(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 10);
    house_start(house);
    ask_allowed(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    atomic_store(&faults.commit_waits, true);
    submit(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    submit(house, house_call(house, MODEL_FREE, 100, 0, 'a'));
    const uint32_t slot = submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    atomic_store(&faults.commit_waits, false);
    struct verdict refused = { 0 };
    for (int i = 0; i < 3; i++) {
        const struct verdict verdict = await(house);
        refused = verdict.reply.slot == slot ? verdict : refused;
    }
    assert_int_equal(refused.refusal.reason, REASON_COST_SPENT);
    assert_true(refused.meter_mark != engine_meter_mark(house->engine, refused.refusal.subject_id));
}

static void
refusals_that_loops_gave_again_are_counted(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    house_start(house);
    const struct verdict spent = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_true(engine_refused_again(house->engine, spent.refusal.ledger_id, 7));
    UNTIL(books_of(house).refusals == 8);
    assert_true(engine_refused_again(house->engine, spent.refusal.ledger_id, 2)); /* written before: counted on */
    UNTIL(books_of(house).refusals == 10);
    assert_int_equal(books_of(house).kinds[LEDGER_REFUSAL], 1);
    assert_true(engine_refused_again(house->engine, spent.refusal.ledger_id + 1, 2)); /* nobody's */
}

static void
refusals_of_different_kinds_are_told_apart(void **state)
{
    struct house *house = *state;
    struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 50);
    (void)day;
    house_start(house);
    const int64_t spent = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a')).refusal.ledger_id;
    const int64_t hidden = ask(house, house_call(house, MODEL_HIDDEN, 100, 0, 'a')).refusal.ledger_id;
    const int64_t unpriced = ask(house, house_call(house, MODEL_UNPRICED, 100, 0, 'a')).refusal.ledger_id;
    assert_true(spent != hidden && hidden != unpriced && spent != unpriced);
    struct event event = { .kind = EVENT_IDENTIFY };
    set_hash(event.identify.key_hash, 'z');
    const struct verdict unknown = ask(house, event); /* a wrong key is nobody's refusal */
    assert_int_equal(unknown.refusal.reason, REASON_KEY_INVALID);
    assert_int_equal(unknown.refusal.ledger_id, 0);
    house_stop_engine(house); /* what is kept is written at the latest now */
    const struct books books = books_of(house);
    assert_int_equal(books.kinds[LEDGER_REFUSAL], 3);
    assert_int_equal(books.refusals, 3);
}

/* One row explains one purse: what another tree or tag used is not told as its. */
static void
refusals_of_different_subjects_are_told_apart(void **state)
{
    static const struct {
        bool tagged; /* refused by the limit of its tag, else by that of its tree */
        bool known;  /* the subject has a meter: it was let in once */
    } rows[] = { { true, true }, { true, false }, { false, true }, { false, false } };
    struct house *house = *state;
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000);
    add_limit(house->policy, "team", COUNT_COST, PER_TAG, WINDOW_DAY, 150);
    house->policy->tag_count = 1;
    house->policy->tags[0].name = "team";
    house_start(house);
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t ids[2][2];
        for (int k = 0; k < 2; k++) {
            struct event event = house_call(house, MODEL_PAID, 100, 0, (char)('a' + 2 * i + (size_t)k));
            if (rows[i].tagged) {
                (void)snprintf(event.call.tags[0], sizeof event.call.tags[0], "%d-%zu", k, i);
            }
            if (rows[i].known) {
                assert_int_equal(ask(house, event).kind, VERDICT_ALLOWED);
            }
            event.call.body_bytes = event.call.input_bytes_bound = rows[i].tagged ? 2000 : 50000;
            for (int again = 0; again < 2; again++) {
                const struct verdict verdict = ask(house, event);
                assert_string_equal(verdict.refusal.limit_name, rows[i].tagged ? "team" : "tree");
                ids[k][again] = verdict.refusal.ledger_id;
            }
            assert_true(ids[k][0] != 0 && ids[k][0] == ids[k][1]);
        }
        assert_true(ids[0][0] != ids[1][0]);
    }
}

static void
settlements_wait_for_company(void **state)
{
    struct house *house = *state;
    house_start(house);
    int64_t holds[20];
    for (int i = 0; i < 20; i++) {
        holds[i] = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    }
    const int before = atomic_load(&faults.commits);
    for (int i = 0; i < 20; i++) {
        submit_untold(house, a_settle(holds[i], 100, 0));
    }
    UNTIL(books_of(house).hold_count == 0); /* alone they are written all the same, and soon */
    assert_true(atomic_load(&faults.commits) - before <= 5);
    assert_int_equal(books_of(house).cost_micros, 2000);

    /* A call takes a settlement along. */
    int commits = 0;
    for (int tries = 0; tries < 20 && commits != 1; tries++) {
        const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
        commits = -atomic_load(&faults.commits);
        submit_untold(house, a_settle(hold_id, 100, 0));
        ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
        commits += atomic_load(&faults.commits);
    }
    assert_int_equal(commits, 1); /* but on a machine that is too busy, and not twenty times */
}

static void
new_work_is_bounded_settlements_are_not(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a')).hold_id;
    atomic_store(&faults.commit_waits, true);
    submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    struct event event = house_call(house, MODEL_PAID, 100, 0, 'a');
    event.reply.loop = ENGINE_NO_REPLY;
    int taken = 0;
    while (engine_submit(house->engine, &event)) {
        taken++;
    }
    assert_int_equal(taken, ENGINE_QUEUE_MAX);
    event = a_settle(hold_id, 100, 0);
    assert_true(engine_submit(house->engine, &event));
    event = an_extend(hold_id, 100);
    event.reply.loop = ENGINE_NO_REPLY;
    assert_true(engine_submit(house->engine, &event));
    atomic_store(&faults.commit_waits, false);
    UNTIL(state_of(house).queued == 0);
    assert_int_equal(await(house).kind, VERDICT_ALLOWED);
}

static void
a_poisoned_row_is_its_own_events_trouble(void **state)
{
    struct house *house = *state;
    house_start(house);
    int64_t holds[10];
    for (int i = 0; i < 10; i++) {
        holds[i] = ask_allowed(house, house_call(house, MODEL_PAID, 100, -1, 'a')).hold_id;
    }
    atomic_store(&faults.poisoned_hold, holds[4]);
    atomic_store(&faults.commit_waits, true);
    submit(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(atomic_load(&faults.commits_waiting) == 1);
    for (int i = 0; i < 10; i++) { /* all in one batch */
        submit(house, i % 2 ? a_settle(holds[i], 100, 0) : an_extend(holds[i], STEP));
    }
    atomic_store(&faults.commit_waits, false);
    assert_int_equal(await(house).kind, VERDICT_ALLOWED);
    for (int i = 0; i < 10; i++) {
        const struct verdict verdict = await(house);
        assert_int_equal(verdict.kind, i == 4 ? VERDICT_REFUSED : VERDICT_ALLOWED);
    }
    assert_true(state_of(house).store_ok);
    assert_int_equal(books_of(house).kinds[LEDGER_SETTLE], 5);
    /* A settlement whose rows are damaged is told to the log; others go on. */
    submit_untold(house, a_settle(holds[4], 100, 0));
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    UNTIL(state_of(house).queued == 0);
    assert_int_equal(books_of(house).kinds[LEDGER_SETTLE], 5);
}

static void
conflicts_are_run_again(void **state)
{
    struct house *house = *state;
    const struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10000);
    house_start(house);
    atomic_store(&faults.meter_conflicts, 3);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_int_equal(stored_meter(house, day).held, 100); /* once, though it was decided four times */
    assert_int_equal(books_of(house).hold_count, 1);
    /* One that never ends refuses its own event, and the store is not to blame. */
    atomic_store(&faults.meter_conflicts, -1);
    assert_int_equal(ask(house, house_call(house, MODEL_PAID, 100, 0, 'a')).refusal.reason, REASON_STORE_UNAVAILABLE);
    assert_true(state_of(house).store_ok);
    atomic_store(&faults.meter_conflicts, 0);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_int_equal(stored_meter(house, day).held, 200);
}

static void
identity_versions_grow(void **state)
{
    struct house *house = *state;
    house_start(house);
    const int64_t before = engine_identity_version(house->engine);
    struct event event = { .kind = EVENT_IDENTIFY };
    set_hash(event.identify.key_hash, 'a');
    struct verdict verdict = ask_allowed(house, event);
    assert_int_equal(verdict.identity.account_id, house->account_id);
    assert_int_equal(verdict.identity_version, before);
    char note[] = "{\"why\":\"test\"}";
    event = (struct event){ .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = ADMIN_ACCOUNT_PUT, .actor = "cli", .account = { .name = "ann", .state = ACCOUNT_BANNED },
        .note = slice_str(note) };
    const uint32_t slot = submit(house, event);
    memset(note, 'x', sizeof note - 1); /* the engine has a copy */
    verdict = await_slot(house, slot);
    assert_int_equal(verdict.admin, ADMIN_DONE);
    assert_int_equal(engine_identity_version(house->engine), before + 1);
    assert_int_equal(verdict.identity_version, before + 1);
    assert_int_equal(ask(house, house_call(house, MODEL_PAID, 1, 0, 'a')).refusal.reason, REASON_ACCOUNT_BANNED);
    assert_int_equal(books_of(house).kinds[LEDGER_ADMIN], 3);
    house_stop(house);
    if (house->folder[0]) { /* it is durable */
        house_start(house);
        assert_int_equal(engine_identity_version(house->engine), before + 1);
    }
}

/* --- replies.c */

struct heard {
    int count;
    struct verdict last;
};

static void
on_verdict(void *user, const struct verdict *verdict)
{
    struct heard *heard = user;
    heard->count++;
    heard->last = *verdict;
}

static void
replies_find_who_asked(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 200);
    house_start(house);
    struct replies replies;
    replies_init(&replies, house->engine, 2);
    struct heard heard[100] = { 0 };
    struct reply_to tickets[100];
    for (int i = 0; i < 100; i++) {
        struct event event = house_call(house, MODEL_PAID, 100 + i, 0, (char)('a' + i % 26));
        assert_true(replies_submit(&replies, &event, on_verdict, &heard[i], &tickets[i]));
    }
    for (int i = 0; i < 100; i += 2) { /* half of them have left */
        replies_forget(&replies, tickets[i]);
        replies_forget(&replies, tickets[i]); /* twice is once */
    }
    struct heard again = { 0 };
    struct event event = house_call(house, MODEL_PAID, 999, 0, 'z');
    struct reply_to ticket;
    assert_true(replies_submit(&replies, &event, on_verdict, &again, &ticket)); /* in the slot of one who left */
    UNTIL((replies_deliver(&replies), replies.open_count == 0));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(heard[i].count, i % 2);
        if (i % 2) {
            assert_int_equal(heard[i].last.est_input, 100 + i);
        }
    }
    assert_int_equal(again.count, 1);
    assert_int_equal(again.last.est_input, 999);
    UNTIL((replies_deliver(&replies), books_of(house).hold_count == 51)); /* the others' holds were given back */
    assert_int_equal(books_of(house).kinds[LEDGER_RELEASE], 50);
    replies_free(&replies);
}

static struct issued_row
an_issued(char mark, int64_t at_ms)
{
    struct issued_row row = { .account_id = 5, .at_ms = at_ms };
    memset(row.id_hash, mark, HASH_HEX);
    strcpy(row.provider, "p");
    return row;
}

static void
ids_are_swept_by_age(void **state)
{
    struct house *house = *state;
    house_start(house);
    house_stop_engine(house);
    struct node_row node;
    unsigned char signal_key[32];
    const int64_t now_ms = clock_wall_ms();
    const struct issued_row old = an_issued('a', now_ms - 91 * DAY_MS), young = an_issued('b', now_ms - 89 * DAY_MS);
    assert_int_equal(store_node_start(house->store, now_ms, "", &node, signal_key), STATUS_OK);
    assert_int_equal(store_begin(house->store, &node), STATUS_OK);
    assert_int_equal(store_issued_put(house->store, &old), STATUS_OK);
    assert_int_equal(store_issued_put(house->store, &young), STATUS_OK);
    const struct receipt_row day_old = { .name = "old", .at_ms = now_ms - DAY_MS - 1, .status = 204 };
    const struct receipt_row fresh = { .name = "fresh", .at_ms = now_ms - DAY_MS + HOUR_MS, .status = 204 };
    assert_int_equal(store_receipt_add(house->store, &day_old), STATUS_OK);
    assert_int_equal(store_receipt_add(house->store, &fresh), STATUS_OK);
    assert_int_equal(store_commit(house->store), STATUS_OK);

    house_start(house);
    ask_allowed(house, house_call(house, MODEL_PAID, 10, 10, 't')); /* a commit like any other */
    house_stop_engine(house);
    struct issued_row row;
    assert_int_equal(store_begin_read(house->store), STATUS_OK);
    assert_int_equal(store_issued_get(house->store, old.id_hash, &row), STATUS_NOT_FOUND);
    assert_int_equal(store_issued_get(house->store, young.id_hash, &row), STATUS_OK);
    struct receipt_row receipt; /* kept for a day */
    assert_int_equal(store_receipt_get(house->store, day_old.name, &receipt), STATUS_NOT_FOUND);
    assert_int_equal(store_receipt_get(house->store, fresh.name, &receipt), STATUS_OK);
    store_rollback(house->store);
}

static const struct CMUnitTest tests[] = {
    ALL("a call from start to end", a_call_from_start_to_end),
    BOTH("ids that providers forgot long ago are swept", ids_are_swept_by_age),
    CASE_WITH("no verdict before its commit", no_verdict_before_its_commit, house_in_memory, house_end),
    CASE_WITH("calls at once share a commit", calls_at_once_share_a_commit, house_in_memory, house_end),
    BOTH("a refusal costs no commit, and is written within a second", a_refusal_costs_no_commit),
    BOTH("a refusal is on the books for who asks", a_refusal_is_on_the_books_for_who_asks),
    ALL("a refusal says how long it holds", a_refusal_says_how_long_it_holds),
    BOTH("a refusal beside a change is not given again", a_refusal_beside_a_change_is_not_given_again),
    ALL("refusals that loops gave again are counted", refusals_that_loops_gave_again_are_counted),
    BOTH("refusals of different kinds are told apart", refusals_of_different_kinds_are_told_apart),
    BOTH("refusals of different subjects are told apart", refusals_of_different_subjects_are_told_apart),
    BOTH("settlements wait for company", settlements_wait_for_company),
    CASE_WITH("new work is bounded, settlements are not", new_work_is_bounded_settlements_are_not, house_in_memory, house_end),
    CASE_WITH("a poisoned row is its own event's trouble", a_poisoned_row_is_its_own_events_trouble, house_shared, house_end),
    ALL("conflicts are run again", conflicts_are_run_again),
    ALL("identity versions grow with every change", identity_versions_grow),
    CASE_WITH("replies find who asked, and give back what nobody waits for", replies_find_who_asked, house_in_memory, house_end),
};
UNIT_MAIN(tests)
