/* tests/unit/core/identify_test.c
 *
 * Goal: a key speaks for whom it may and for nobody else; what admins change is valid, on the books, and
 * makes caches stale; bad words are an answer, never an abort.
 * Method: one event each on the accounts and keys of gate.c. */
#include "gate.h"

#include <string.h>

static struct event
an_identify(char hash, const char *act_for, const char *act_plan)
{
    struct event event = { .kind = EVENT_IDENTIFY };
    set_hash(event.identify.key_hash, hash);
    slice_to_cstr(slice_str(act_for), event.identify.act_for, sizeof event.identify.act_for);
    slice_to_cstr(slice_str(act_plan), event.identify.act_plan, sizeof event.identify.act_plan);
    return event;
}

static void
who_a_key_speaks_for(void **state)
{
    static const struct {
        const char *why;
        char hash;
        const char *act_for, *act_plan;
        enum reason reason;
        const char *account, *plan;
        bool makes_one;
    } rows[] = {
        { "a user", 'a', "", "", REASON_OK, "ann", "free", false },
        { "another", 'b', "", "", REASON_OK, "bob", "pro", false },
        { "nobody's", 'z', "", "", REASON_KEY_INVALID, "", "", false },
        { "a user may act for nobody: the name is ignored", 'a', "user-1", "", REASON_OK, "ann", "free", false },
        { "a service key for its own account", 'c', "", "", REASON_OK, "ann", "free", false },
        { "for a new end user", 'c', "user-1", "", REASON_OK, "user-1", "free", true },
        { "for a new end user of a plan", 'c', "user-1", "pro", REASON_OK, "user-1", "pro", true },
        { "of a plan that is none", 'c', "user-1", "platinum", REASON_PLAN_UNKNOWN, "", "", false },
        { "for a name outside its prefix", 'c', "bob", "", REASON_OK, "ann", "free", false },
        { "for its prefix alone", 'c', "user-", "", REASON_OK, "user-", "free", true },
        { "for a name with a control character", 'c', "user-\x01", "", REASON_ACCOUNT_UNKNOWN, "", "", false },
        { "for a name that ends in a space", 'c', "user- ", "", REASON_ACCOUNT_UNKNOWN, "", "", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        const struct event event = an_identify(rows[i].hash, rows[i].act_for, rows[i].act_plan);
        const struct verdict verdict = gate_decide(gate, &event);
        const enum reason reason = verdict.kind == VERDICT_ALLOWED ? REASON_OK : verdict.refusal.reason;
        if (reason != rows[i].reason || strcmp(verdict.identity.account, rows[i].account) != 0
            || strcmp(verdict.identity.plan, rows[i].plan) != 0) {
            fail_msg("%s: %s, %s, %s", rows[i].why, reason_row(reason)->code, verdict.identity.account,
                verdict.identity.plan);
        }
        assert_int_equal(gate->bank.account_count, rows[i].makes_one ? 3 : 2);
        if (rows[i].makes_one) { /* the second time it is known */
            assert_int_equal(gate_decide(gate, &event).identity.account_id, verdict.identity.account_id);
            assert_int_equal(gate->bank.account_count, 3);
        }
        gate_end((void **)&gate);
    }
}

static void
keys_that_are_over(void **state)
{
    struct gate *gate = *state;
    const struct event event = an_identify('a', "", "");
    bank_key(gate, KEY)->expires_ms = gate->now_ms + 1;
    assert_int_equal(expect_allowed(gate, &event).identity.expires_ms, gate->now_ms + 1);
    gate->now_ms += 1;
    expect_refused(gate, &event, REASON_KEY_EXPIRED);
    bank_key(gate, KEY)->expires_ms = 0;
    bank_key(gate, KEY)->revoked = true;
    expect_refused(gate, &event, REASON_KEY_REVOKED);
}

static void
a_ban_shows(void **state)
{
    struct gate *gate = *state;
    struct event event = an_identify('a', "", "");
    assert_false(expect_allowed(gate, &event).identity.banned);
    bank_account(gate, ACCOUNT)->state = ACCOUNT_BANNED;
    assert_true(expect_allowed(gate, &event).identity.banned);
    event = an_identify('c', "user-1", ""); /* its owner's ban holds for all it acts for, and makes nobody */
    assert_true(expect_allowed(gate, &event).identity.banned);
    assert_int_equal(gate->bank.account_count, 2);
}

static void
two_first_sights_in_one_batch(void **state)
{
    struct gate *gate = *state;
    const struct event events[] = { an_identify('c', "user-1", "pro"), an_identify('c', "user-1", "free") };
    struct verdict verdicts[2];
    gate_batch(gate, events, 2, verdicts);
    assert_int_equal(verdicts[0].identity.account_id, verdicts[1].identity.account_id);
    assert_string_equal(verdicts[1].identity.plan, "pro");
    assert_int_equal(gate->bank.account_count, 3);
}

/* --- Admin. */

static struct event
an_admin(enum admin_verb verb, const char *account)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = verb, .actor = "cli", .note = SLICE("{\"note\":1}") };
    slice_to_cstr(slice_str(account), event.admin.account.name, sizeof event.admin.account.name);
    return event;
}

static void
accounts_are_put(void **state)
{
    static const struct {
        const char *why;
        const char *name, *plan, *organisation;
        bool must_be_new;
        int state;
        enum status_of_admin answer;
    } rows[] = {
        { "a new one", "carol", "pro", "acme", true, ACCOUNT_OK, ADMIN_DONE },
        { "a new one of the default plan", "carol", "", "", true, ACCOUNT_OK, ADMIN_DONE },
        { "a known one must be new", "ann", "pro", "", true, ACCOUNT_OK, ADMIN_EXISTS },
        { "a known one changes", "ann", "pro", "", false, ACCOUNT_BANNED, ADMIN_DONE },
        { "nobody changes", "carol", "pro", "", false, ACCOUNT_OK, ADMIN_NOT_FOUND },
        { "no such plan", "carol", "platinum", "", true, ACCOUNT_OK, ADMIN_INVALID },
        { "no such plan for a known one", "ann", "platinum", "", false, ACCOUNT_OK, ADMIN_INVALID },
        { "no name", "", "pro", "", true, ACCOUNT_OK, ADMIN_INVALID },
        { "a name with a newline", "ca\nrol", "pro", "", true, ACCOUNT_OK, ADMIN_INVALID },
        { "a bad organisation", "carol", "pro", " x", true, ACCOUNT_OK, ADMIN_INVALID },
        { "a state that is none", "carol", "pro", "", true, 7, ADMIN_INVALID },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct gate *gate = NULL;
        gate_make((void **)&gate);
        struct event event = an_admin(ADMIN_ACCOUNT_PUT, rows[i].name);
        event.admin.must_be_new = rows[i].must_be_new;
        event.admin.account.state = (enum account_state)rows[i].state;
        slice_to_cstr(slice_str(rows[i].plan), event.admin.account.plan, NAME_MAX_BYTES + 1);
        slice_to_cstr(slice_str(rows[i].organisation), event.admin.account.organisation, NAME_MAX_BYTES + 1);
        const struct verdict verdict = expect_allowed(gate, &event);
        if (verdict.admin != rows[i].answer) {
            fail_msg("%s: %d", rows[i].why, (int)verdict.admin);
        }
        assert_int_equal(gate->work.identity_changed, rows[i].answer == ADMIN_DONE);
        assert_int_equal(gate->bank.ledger_count, rows[i].answer == ADMIN_DONE);
        if (rows[i].answer == ADMIN_DONE) {
            const struct account_row *row = bank_account(gate, verdict.new_id);
            assert_string_equal(row->name, rows[i].name);
            assert_string_equal(row->plan, rows[i].plan[0] ? rows[i].plan : "free");
            assert_int_equal(row->state, rows[i].state);
            assert_int_equal(last_ledger(gate)->kind, LEDGER_ADMIN);
            assert_string_equal(last_ledger(gate)->source, "cli");
            assert_int_equal(last_ledger(gate)->account_id, verdict.new_id);
            assert_memory_equal(last_ledger(gate)->inputs.ptr, "{\"note\":1}", 10);
        } else {
            assert_string_equal(bank_account(gate, ACCOUNT)->plan, "free");
        }
        gate_end((void **)&gate);
    }
}

static void
keys_are_put_and_revoked(void **state)
{
    struct gate *gate = *state;
    struct event event = an_admin(ADMIN_KEY_PUT, "bob");
    event.admin.key.role = ROLE_SERVICE;
    set_hash(event.admin.key.hash_hex, 'e');
    struct verdict verdict = expect_allowed(gate, &event);
    assert_int_equal(verdict.admin, ADMIN_DONE);
    assert_int_equal(verdict.new_id_2, ACCOUNT_B);
    const int64_t key_id = verdict.new_id;
    assert_int_equal(bank_key(gate, key_id)->account_id, ACCOUNT_B);
    assert_true(gate->work.identity_changed);
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_EXISTS);
    event = an_admin(ADMIN_KEY_PUT, "carol");
    set_hash(event.admin.key.hash_hex, 'd');
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_NOT_FOUND);
    event = an_admin(ADMIN_KEY_PUT, "bob");
    set_hash(event.admin.key.hash_hex, 'X'); /* no hash */
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_INVALID);
    assert_int_equal(gate->bank.key_count, 4);

    const struct event call = an_identify('e', "", "");
    expect_allowed(gate, &call);
    event = an_admin(ADMIN_KEY_REVOKE, "");
    event.admin.key.key_id = key_id;
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
    assert_true(gate->work.identity_changed);
    expect_refused(gate, &call, REASON_KEY_REVOKED);
    const int rows = gate->bank.ledger_count;
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE); /* twice is once */
    assert_false(gate->work.identity_changed);
    assert_int_equal(gate->bank.ledger_count, rows);
    event.admin.key.key_id = 0; /* by its hash */
    set_hash(event.admin.key.hash_hex, 'b');
    assert_int_equal(expect_allowed(gate, &event).new_id, KEY_B);
    assert_true(bank_key(gate, KEY_B)->revoked);
    set_hash(event.admin.key.hash_hex, '9');
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_NOT_FOUND);
    event.admin.key = (struct key_row){ .key_id = 5555 };
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_NOT_FOUND);
}

static void
a_ban_holds_for_the_next_event_of_its_batch(void **state)
{
    struct gate *gate = *state;
    struct event events[] = { an_admin(ADMIN_ACCOUNT_PUT, "ann"), a_call(MODEL_PAID, 100, 0) };
    events[0].admin.account.state = ACCOUNT_BANNED;
    struct verdict verdicts[2];
    gate_batch(gate, events, 2, verdicts);
    assert_int_equal(verdicts[0].admin, ADMIN_DONE);
    assert_int_equal(verdicts[1].refusal.reason, REASON_ACCOUNT_BANNED);
}

static void
notes_and_what_does_not_exist(void **state)
{
    struct gate *gate = *state;
    struct event event = an_admin(ADMIN_NOTE, "");
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_DONE);
    assert_int_equal(last_ledger(gate)->kind, LEDGER_ADMIN);
    assert_false(gate->work.identity_changed);
    event = an_admin(ADMIN_ADJUST, "");
    assert_int_equal(expect_allowed(gate, &event).admin, ADMIN_INVALID);
    event = (struct event){ .kind = EVENT_TICK };
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.ledger_count, 1);
}

static const struct CMUnitTest tests[] = {
    CASE("whom a key speaks for", who_a_key_speaks_for),
    CASE_WITH("keys that are expired or revoked", keys_that_are_over, gate_make, gate_end),
    CASE_WITH("a ban shows, the owner's as well", a_ban_shows, gate_make, gate_end),
    CASE_WITH("an end user seen twice in one batch is made once", two_first_sights_in_one_batch, gate_make, gate_end),
    CASE("accounts are put, with valid words alone", accounts_are_put),
    CASE_WITH("keys are put and revoked, each once", keys_are_put_and_revoked, gate_make, gate_end),
    CASE_WITH("a ban holds for the next event of its batch", a_ban_holds_for_the_next_event_of_its_batch, gate_make, gate_end),
    CASE_WITH("notes, and verbs that do not exist yet", notes_and_what_does_not_exist, gate_make, gate_end),
};
UNIT_MAIN(tests)
