/* tests/unit/core/issued_test.c
 *
 * Goal: ids that a provider gave work for the account that got them, and at that provider; whoever names an
 * id that is not its own learns nothing of whose it is.
 * Method: settlements give ids, calls and questions name them. An id's hash is 64 times one letter. */
#include "gate.h"

#include <string.h>

/* Hashes end to end, a letter each; good until the next call. */
static struct slice
hashes(const char *letters)
{
    static char room[ISSUED_IDS_MAX * HASH_HEX];
    const size_t count = strlen(letters);
    for (size_t i = 0; i < count; i++) {
        memset(room + i * HASH_HEX, letters[i], HASH_HEX);
    }
    return slice_of(room, count * HASH_HEX);
}

/* A call that ended, at the first route that is open, with an answer that brought these ids. */
static void
was_given(struct gate *gate, struct event *call, const char *letters)
{
    struct event settle = a_settle(expect_allowed(gate, call).hold_id, 100, 10);
    settle.settle.issued = hashes(letters);
    expect_allowed(gate, &settle);
}

static void
issued_ids_are_their_accounts(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 100, -1);
    const struct verdict verdict = expect_allowed(gate, &event);
    struct event settle = a_settle(verdict.hold_id, 100, 10);
    settle.settle.issued = hashes("e");
    expect_allowed(gate, &settle);
    assert_int_equal(gate->bank.issued_count, 1);

    set_hash(event.call.issued_hash, 'e');
    expect_allowed(gate, &event);
    set_hash(event.call.issued_hash, 'd'); /* nobody's */
    expect_refused(gate, &event, REASON_ID_UNKNOWN);
    set_hash(event.call.issued_hash, 'e'); /* ann's */
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    expect_refused(gate, &event, REASON_ID_UNKNOWN);
}

static void
an_issued_id_goes_to_the_provider_that_gave_it(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_TWO, 100, -1);
    event.call.routes_closed = 1;
    const struct verdict first = expect_allowed(gate, &event);
    assert_int_equal(first.routes_foreign, 0);
    struct event settle = a_settle(first.hold_id, 100, 10);
    settle.settle.issued = hashes("e");
    expect_allowed(gate, &settle);

    set_hash(event.call.issued_hash, 'e');
    event.call.routes_closed = 0; /* the first route would do, but for the id */
    const struct verdict second = expect_allowed(gate, &event);
    assert_int_equal(second.route_index, 1);
    assert_int_equal(second.routes_foreign, 1);

    event.call.routes_closed = 2;
    event.call.routes_open_ms = gate->now_ms + 5000;
    assert_int_equal(expect_refused(gate, &event, REASON_ID_ROUTE_COOLING).refusal.retry_after_ms, 5000);
    event.call.routes_open_ms = 0;
    expect_refused(gate, &event, REASON_ROUTES_EXHAUSTED);

    event = a_call(MODEL_PAID, 100, -1); /* its provider never gave that id */
    set_hash(event.call.issued_hash, 'e');
    expect_refused(gate, &event, REASON_ID_ROUTE_GONE);
}

static void
an_issued_id_stays_with_whom_it_was_given_to_first(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 100, -1);
    struct verdict verdict = expect_allowed(gate, &event);
    struct event settle = a_settle(verdict.hold_id, 100, 10);
    settle.settle.issued = hashes("e");
    expect_allowed(gate, &settle);
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    verdict = expect_allowed(gate, &event);
    settle = a_settle(verdict.hold_id, 100, 10);
    settle.settle.issued = hashes("e");
    expect_allowed(gate, &settle);
    assert_int_equal(gate->bank.issued_count, 1);
    assert_int_equal(gate->bank.issued[0].account_id, ACCOUNT);
}

static void
an_answer_gives_as_many_ids_as_it_brings(void **state)
{
    struct gate *gate = *state;
    struct event event = a_call(MODEL_PAID, 100, -1);
    was_given(gate, &event, "");
    assert_int_equal(gate->bank.issued_count, 0);
    was_given(gate, &event, "abcaed"); /* one of them twice */
    assert_int_equal(gate->bank.issued_count, 5);
    event = a_settle(expect_allowed(gate, &event).hold_id, 100, 10);
    event.settle.unbilled = true; /* the provider served nothing */
    event.settle.issued = hashes("f");
    expect_allowed(gate, &event);
    assert_int_equal(gate->bank.issued_count, 5);
}

static void
who_names_ids_that_are_not_its_own_is_refused(void **state)
{
    /* "near" gave ann a and b, "far" gave her c and d, "near" gave bob e. */
    static const struct {
        int64_t account_id;
        const char *ids;
        uint32_t alike_count;
        enum reason reason;
        int64_t which;
    } rows[] = {
        { ACCOUNT, "a", 1, REASON_OK, 0 },
        { ACCOUNT, "aba", 3, REASON_OK, 0 },
        { ACCOUNT, "abx", 3, REASON_ID_UNKNOWN, 2 },  /* nobody's */
        { ACCOUNT, "abe", 3, REASON_ID_UNKNOWN, 2 },  /* bob's: told alike */
        { ACCOUNT, "abe", 0, REASON_ID_UNKNOWN, 2 },
        { ACCOUNT_B, "ea", 2, REASON_ID_UNKNOWN, 1 },
        { ACCOUNT_B, "e", 1, REASON_OK, 0 },
        { ACCOUNT, "cd", 2, REASON_OK, 0 },
        { ACCOUNT, "abc", 3, REASON_ID_ROUTE_GONE, 2 }, /* no provider knows all of them */
        { ACCOUNT, "abc", 2, REASON_OK, 0 },            /* nor has to */
        { ACCOUNT, "ac", 0, REASON_OK, 0 },
    };
    struct gate *gate = *state;
    struct event event = a_call(MODEL_TWO, 100, -1);
    was_given(gate, &event, "ab");
    event.call.routes_closed = 1;
    was_given(gate, &event, "cd");
    event.call.routes_closed = 0;
    event.call.account_id = ACCOUNT_B;
    event.call.key_id = KEY_B;
    was_given(gate, &event, "e");
    for (size_t i = 0; i < countof(rows); i++) {
        const struct event ask = { .kind = EVENT_ISSUED,
            .issued = { rows[i].account_id, rows[i].alike_count, hashes(rows[i].ids) } };
        if (rows[i].reason == REASON_OK) {
            expect_allowed(gate, &ask);
        } else {
            const struct verdict verdict = expect_refused(gate, &ask, rows[i].reason);
            assert_int_equal(verdict.refusal.ask, rows[i].which);
        }
    }
    assert_int_equal(gate->bank.issued_count, 5);
}

static void
as_many_ids_as_are_asked_for_at_once_are_looked_up(void **state)
{
    struct gate *gate = *state;
    char room[ISSUED_IDS_MAX * HASH_HEX];
    struct event event = a_call(MODEL_PAID, 100, -1);
    struct event settle = a_settle(expect_allowed(gate, &event).hold_id, 100, 10);
    memset(room, '0', sizeof room);
    for (size_t i = 0; i < ISSUED_IDS_MAX; i++) {
        room[i * HASH_HEX] = "0123456789abcdef"[i / 16];
        room[i * HASH_HEX + 1] = "0123456789abcdef"[i % 16];
    }
    const struct slice all = slice_of(room, sizeof room);
    settle.settle.issued = slice_of(room, sizeof room - HASH_HEX);
    expect_allowed(gate, &settle);
    event = (struct event){ .kind = EVENT_ISSUED, .issued = { ACCOUNT, ISSUED_IDS_MAX, all } };
    const struct verdict verdict = expect_refused(gate, &event, REASON_ID_UNKNOWN);
    assert_int_equal(verdict.refusal.ask, ISSUED_IDS_MAX - 1);
    event.issued.ids = settle.settle.issued;
    expect_allowed(gate, &event);
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("a provider's id works for the account it was issued to", issued_ids_are_their_accounts, gate_make, gate_end),
    CASE_WITH("a call that refers to an id goes to the provider that gave it", an_issued_id_goes_to_the_provider_that_gave_it, gate_make, gate_end),
    CASE_WITH("an issued id stays with the first", an_issued_id_stays_with_whom_it_was_given_to_first, gate_make, gate_end),
    CASE_WITH("an answer gives as many ids as it brings", an_answer_gives_as_many_ids_as_it_brings, gate_make, gate_end),
    CASE_WITH("who names ids that are not its own is refused", who_names_ids_that_are_not_its_own_is_refused, gate_make, gate_end),
    CASE_WITH("as many ids as are asked for at once are looked up", as_many_ids_as_are_asked_for_at_once_are_looked_up, gate_make, gate_end),
};
UNIT_MAIN(tests)
