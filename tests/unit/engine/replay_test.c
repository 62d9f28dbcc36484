/* tests/unit/engine/replay_test.c
 *
 * Goal: recorded calls under another configuration: who would have been refused or cut short, by which limit, when, and
 * what that is in money; what is not recorded is said and stops nobody; strange rows do no harm.
 * Method: rows of a ledger made by hand, of calls that cost 1 micro-USD a token of input and 2 of output. */
#include "gate.h"

#include <string.h>

#include "base/secret.h"
#include "engine/replay.h"

#define EPOCH_ID  (INT64_C(1) << ID_COUNTER_BITS) /* ids of the books look like this, and more */
#define BOOKS_CAP INT64_C(77)                     /* the number that a limit had there */

struct tape {
    struct policy *policy; /* the replay's */
    struct replay *replay;
    int64_t next_id;
    struct replay_report report;
};

static int
tape_make(void **state)
{
    struct tape *tape = test_calloc(1, sizeof *tape);
    assert_int_equal(secret_start(), STATUS_OK);
    tape->policy = a_policy(0);
    for (int i = 0; i < 2; i++) {
        tape->policy->providers[i].apis = UINT32_MAX;
    }
    tape->next_id = EPOCH_ID + 1;
    *state = tape;
    return 0;
}

static int
tape_end(void **state)
{
    struct tape *tape = *state;
    if (tape->replay) {
        replay_free(tape->replay);
    } else {
        policy_unref(tape->policy);
    }
    test_free(tape);
    return 0;
}

/* Limits are in the policy; from here on rows are. */
static void
tape_open(struct tape *tape)
{
    struct replay_error error;
    struct account_row account = { .account_id = ACCOUNT, .name = "ann", .plan = "free", .created_ms = 1 };
    struct key_row key = { .key_id = KEY, .account_id = ACCOUNT, .role = ROLE_USER, .created_ms = 1 };
    assert_int_equal(replay_open(tape->policy, &tape->replay, &error), STATUS_OK);
    set_hash(key.hash_hex, 'a');
    assert_true(replay_account(tape->replay, &account));
    assert_true(replay_key(tape->replay, &key));
}

/* A call as it was recorded; what is 0 is usual. */
struct told_call {
    int64_t at_ms, took_ms; /* after noon; when it began */
    int64_t input, output, output_limit;
    int64_t estimated;      /* of its input, where that is not exact */
    enum ledger_kind kind;
    bool plain;             /* not streamed */
    const char *model, *api;
    int64_t account_id, key_id, thread_id;
    enum reason reason;
    const char *limit;      /* of a refusal: whose */
    int64_t used;
    const struct recorded_report *reports; /* of one window; NULL = nothing is recorded */
    int64_t spend_limit;    /* of a refusal: asked for its tree */
    bool unbounded;
    bool no_inputs;
};

static int64_t
tell(struct tape *tape, const struct told_call *told)
{
    const bool refusal = told->kind == LEDGER_REFUSAL;
    const int64_t id = tape->next_id++;
    struct ledger_row row = { .id = id,
        .at_ms = NOON_MS + told->at_ms + told->took_ms,
        .kind = told->kind,
        .hold_id = refusal ? 0 : id,
        .source = "relay",
        .account_id = told->account_id ? told->account_id : ACCOUNT,
        .key_id = told->key_id ? told->key_id : KEY,
        .thread_id = refusal ? 0 : told->thread_id ? told->thread_id : EPOCH_ID + 1,
        .started_ms = refusal ? 0 : NOON_MS + told->at_ms,
        .reason = told->reason,
        .usage = USAGE_NONE };
    row.root_id = row.thread_id;
    strcpy(row.model, told->model ? told->model : "paid");
    if (told->kind == LEDGER_SETTLE) {
        row.usage = (struct usage){ .input = told->input,
            .output = told->output,
            .cost_micros = -1,
            .known = USAGE_INPUT | USAGE_OUTPUT };
        row.cost_micros = told->input + 2 * told->output;
    }
    struct recorded_call call = { .stream = !told->plain,
        .input = told->input,
        .input_bound = told->input,
        .output_bound = told->output_limit,
        .body_bytes = 1000000, /* so that the bound of the input is its estimate */
        .input_bytes = told->estimated ? told->estimated : told->input,
        .output_limit = told->output_limit,
        .answers = 1,
        .price_pct = 100 };
    call.cannot_bound = told->unbounded;
    call.spend_limit_micros = told->spend_limit;
    strcpy(call.api, told->api ? told->api : "chat");
    if (told->reports) {
        call.report_count = 1;
        call.reports[0] = *told->reports;
    }
    if (told->limit) {
        call.limit_count = 1;
        call.limits[0] = (struct recorded_limit){ .settled = told->used };
        strcpy(call.limits[0].name, told->limit);
        call.resets_at_ms = NOON_MS + DAY_MS;
    }
    assert_true(replay_row(tape->replay, &row, told->no_inputs ? NULL : &call));
    return id;
}

static const struct replay_report *
play(struct tape *tape, int64_t since_ms)
{
    struct replay_error error = { .text = "" };
    const enum status status = replay_run(tape->replay, NOON_MS + since_ms, INT64_MAX, NULL, NULL, &tape->report, &error);
    if (status != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return &tape->report;
}

#define PLAIN(at, input_tokens, output_tokens)                                                     \
    (&(struct told_call){ .at_ms = (at),                                                           \
        .took_ms = SECOND_MS,                                                                      \
        .input = (input_tokens),                                                                   \
        .output = (output_tokens),                                                                 \
        .output_limit = (output_tokens),                                                           \
        .plain = true })

/* --- Refusals and money. */

static void
where_nothing_is_in_the_way_all_is_as_it_was(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000);
    tape_open(tape);
    for (int i = 0; i < 5; i++) {
        tell(tape, PLAIN(i * MINUTE_MS, 100, 50));
    }
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 5);
    assert_int_equal(report->allowed, 5);
    assert_int_equal(report->refused + report->waited + report->lowered + report->rerouted + report->ended_early, 0);
    assert_int_equal(report->cost_before_micros, 1000);
    assert_int_equal(report->cost_after_micros, 1000);
    assert_int_equal(report->group_count + report->ended_group_count, 0);
}

static void
a_lower_cap_refuses_until_its_window_turns(void **state)
{
    struct tape *tape = *state;
    int64_t ids[5];
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 500);
    tape_open(tape);
    for (int i = 0; i < 5; i++) {
        ids[i] = tell(tape, PLAIN(i * HOUR_MS, 100, 50));
    }
    tell(tape, PLAIN(DAY_MS, 100, 50));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 6);
    assert_int_equal(report->allowed, 3);
    assert_int_equal(report->refused, 3);
    assert_int_equal(report->cost_refused_micros, 600);
    assert_int_equal(report->cost_after_micros, 600);
    assert_int_equal(report->group_count, 1);
    const struct replay_group *group = &report->groups[0];
    assert_string_equal(group->account, "ann");
    assert_string_equal(group->limit, "money");
    assert_int_equal(group->reason, REASON_COST_SPENT);
    assert_int_equal(group->count, 3);
    assert_int_equal(group->cost_micros, 600);
    assert_int_equal(group->first_ms, NOON_MS + 2 * HOUR_MS);
    assert_int_equal(group->last_ms, NOON_MS + 4 * HOUR_MS);
    assert_int_equal(group->first_request, ids[2]);
    assert_int_equal(group->last_request, ids[4]);
    assert_int_equal(report->refusal_count, 3);
    assert_int_equal(report->refusals[1].request, ids[3]);
    assert_int_equal(report->refusals[1].cost_micros, 200);
}

static void
what_came_before_is_counted_and_refuses_nobody(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "life", COUNT_COST, PER_ACCOUNT, WINDOW_LIFETIME, 500);
    tape_open(tape);
    for (int i = 0; i < 4; i++) {
        tell(tape, PLAIN(i * MINUTE_MS, 100, 50));
    }
    const struct replay_report *report = play(tape, 3 * MINUTE_MS);
    assert_int_equal(report->calls, 1); /* three of before have passed the cap by far */
    assert_int_equal(report->refused, 1);
    assert_int_equal(report->cost_before_micros, 200);
}

static void
other_prices_make_the_difference(void **state)
{
    struct tape *tape = *state;
    tape->policy->models[MODEL_PAID].routes[0].price = &tape->policy->prices[2]; /* ten times as dear */
    tape_open(tape);
    tell(tape, PLAIN(0, 100, 50));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->cost_before_micros, 200);
    assert_int_equal(report->cost_after_micros, 2000);
}

static void
what_was_not_billed_costs_nothing_now(void **state)
{
    static const enum ledger_kind kinds[] = { LEDGER_UNBILLED, LEDGER_RELEASE };
    struct tape *tape = *state;
    add_limit(tape->policy, "few", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 3);
    tape_open(tape);
    for (int i = 0; i < 4; i++) { /* what never left gives its request back */
        struct told_call call = *PLAIN(i * MINUTE_MS, 100, 50);
        call.kind = kinds[i % 2];
        tell(tape, &call);
    }
    tell(tape, PLAIN(HOUR_MS, 100, 50));
    tell(tape, PLAIN(2 * HOUR_MS, 100, 50));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->allowed, 5);
    assert_int_equal(report->refused, 1);
    assert_int_equal(report->cost_after_micros, 200);
}

static void
all_attempts_of_a_call_are_one_call(void **state)
{
    struct tape *tape = *state;
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.no_inputs = true; /* only the last row of a call has them */
    tell(tape, &call);
    tape->next_id--;
    tell(tape, PLAIN(0, 100, 30));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 1);
    assert_int_equal(report->cost_before_micros, 360);
    assert_int_equal(report->cost_after_micros, 260); /* under the one output limit that is left of both */
}

static void
a_call_waits_for_room_and_no_longer_than_it_may(void **state)
{
    struct tape *tape = *state;
    struct limit *limit = add_limit(tape->policy, "parallel", COUNT_IN_FLIGHT, PER_ACCOUNT, WINDOW_CONCURRENCY, 1);
    limit->at_cap = AT_CAP_QUEUE;
    limit->queue_ms = 30 * SECOND_MS;
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.took_ms = 20 * SECOND_MS;
    tell(tape, &call);
    call.at_ms = 5 * SECOND_MS; /* begins at 20, ends at 60 */
    call.took_ms = 40 * SECOND_MS;
    tell(tape, &call);
    call.at_ms = 10 * SECOND_MS; /* waits until 40 */
    const int64_t late = tell(tape, &call);
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->waited, 2);
    assert_int_equal(report->allowed, 2);
    assert_int_equal(report->refused, 1);
    assert_int_equal(report->groups[0].first_request, late);
    assert_int_equal(report->groups[0].reason, REASON_IN_FLIGHT);
}

static void
refusals_of_then_are_asked_once_more(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 150);
    tape_open(tape);
    struct told_call call = { .kind = LEDGER_REFUSAL, .reason = REASON_COST_SPENT, .limit = "money", .plain = true,
        .input = 50, .output_limit = 20 };
    tell(tape, &call);
    call.at_ms = MINUTE_MS;
    call.input = 200;
    tell(tape, &call);
    call.no_inputs = true;
    tell(tape, &call);
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 0);
    assert_int_equal(report->asks_refused, 2);
    assert_int_equal(report->asks_allowed, 1);
    assert_int_equal(report->asks_unknown, 1);
    assert_int_equal(report->cost_asks_micros, 90);
    assert_int_equal(report->refused, 0); /* as then */
}

/* What refused it then refuses it again, and it takes nothing from the calls that came after. */
static void
what_was_refused_for_what_it_was_is_refused_again(void **state)
{
    static const struct told_call refused[] = {
        { .reason = REASON_CANNOT_BOUND, .unbounded = true },
        { .reason = REASON_COST_SPENT, .limit = "tree", .spend_limit = 40 },
        { .reason = REASON_KEY_REVOKED },
        { .reason = REASON_ACCOUNT_BANNED },
        { .reason = REASON_THREAD_PARENT },
        { .reason = REASON_ID_UNKNOWN },
        { .reason = REASON_SPEND_LIMIT_HEADER },
        { .reason = REASON_ROUTES_COOLING },
        { .reason = REASON_OVERLOADED },
    };
    struct tape *tape = *state;
    add_limit(tape->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000);
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 200)->hold = HOLD_MODE_STRICT;
    tape_open(tape);
    for (size_t i = 0; i < countof(refused); i++) {
        struct told_call call = refused[i];
        call.kind = LEDGER_REFUSAL;
        call.plain = true;
        call.at_ms = (int64_t)i * MINUTE_MS;
        call.input = 50;
        tell(tape, &call);
    }
    tell(tape, PLAIN(HOUR_MS, 100, 50));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->asks_refused, countof(refused));
    assert_int_equal(report->asks_allowed, 0);
    assert_int_equal(report->allowed, 1);
    assert_int_equal(report->refused, 0);
}

/* Two threads that were refused their first call are two: what one of them uses is not the other's. */
static void
threads_that_never_began_are_told_apart(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 100);
    tape_open(tape);
    for (int i = 0; i < 3; i++) {
        const struct told_call call = { .kind = LEDGER_REFUSAL, .reason = REASON_COST_SPENT, .limit = "tree",
            .at_ms = i * MINUTE_MS, .plain = true, .input = 60, .output_limit = 10 };
        tell(tape, &call);
    }
    assert_int_equal(play(tape, 0)->asks_allowed, 3);
}

static void
a_call_that_cannot_be_bounded_is_refused_where_bounds_are_strict(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 2000)->hold = HOLD_MODE_STRICT;
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.unbounded = true; /* it was made: the limits of then were content with less */
    tell(tape, &call);
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->refused, 1);
    assert_int_equal(report->groups[0].reason, REASON_CANNOT_BOUND);
}

static void
what_this_configuration_does_not_serve_is_refused(void **state)
{
    struct tape *tape = *state;
    tape->policy->providers[0].apis = UINT32_C(1) << API_CHAT;
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.model = "gone";
    tell(tape, &call);
    call.model = "paid";
    call.api = "responses";
    tell(tape, &call);
    call.api = "telepathy"; /* of a version to come */
    tell(tape, &call);
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->refused, 2);
    assert_int_equal(report->group_count, 2);
    for (int i = 0; i < 2; i++) {
        const enum reason reason = report->groups[i].reason;
        assert_true(reason == REASON_MODEL_UNKNOWN || reason == REASON_API_NOT_SERVED);
        assert_string_equal(report->groups[i].limit, "");
    }
    assert_int_equal(report->asks_unknown, 1);
}

static void
whom_the_books_do_not_know_any_more_is_refused_and_does_no_harm(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 10000);
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.account_id = 999;
    tell(tape, &call);
    call.account_id = 0;
    call.key_id = 998;
    tell(tape, &call);
    call.key_id = 0;
    for (int i = 1; i <= 40; i++) { /* such as a replay would give next, were its ids those of the books */
        call.thread_id = EPOCH_ID + i;
        tell(tape, &call);
    }
    const struct told_call refusal = { .kind = LEDGER_REFUSAL, .input = 10, .plain = true };
    tell(tape, &refusal); /* in no thread that is known */
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->allowed, 40);
    assert_int_equal(report->refused, 2);
    assert_int_equal(report->asks_allowed, 1);
    assert_int_equal(report->group_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(report->groups[i].reason, REASON_KEY_INVALID);
    }
}

/* Rows that were deleted since: what is left of a call may be its attempts without what it asked for. */
static void
what_is_left_of_a_deleted_call_is_left_out(void **state)
{
    struct tape *tape = *state;
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    call.no_inputs = true;
    tell(tape, &call);
    tell(tape, PLAIN(MINUTE_MS, 100, 50));
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 1);
    assert_int_equal(report->asks_unknown, 1);
    assert_int_equal(report->cost_before_micros, 200);
    assert_int_equal(report->cost_after_micros, 200);
}

static void
what_people_did_is_no_call(void **state)
{
    static const enum ledger_kind kinds[] = { LEDGER_ADJUST, LEDGER_ADMIN, LEDGER_WARN, LEDGER_SHADOW };
    struct tape *tape = *state;
    tape_open(tape);
    for (size_t i = 0; i < countof(kinds); i++) {
        struct told_call call = *PLAIN(0, 100, 50);
        call.kind = kinds[i];
        tell(tape, &call);
    }
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls + report->allowed + report->refused + report->asks_refused, 0);
}

static bool
stop(void *user, int64_t done, int64_t total)
{
    (void)user;
    return done == total;
}

static void
it_can_be_stopped(void **state)
{
    struct tape *tape = *state;
    struct replay_error error;
    tape_open(tape);
    tell(tape, PLAIN(0, 100, 50));
    assert_int_equal(
        replay_run(tape->replay, NOON_MS, INT64_MAX, stop, NULL, &tape->report, &error), STATUS_CLOSED);
}

/* --- Streams. */

/* 1000 tokens in 100 seconds, while another call holds as much as it may need. */
static void
a_stream(struct tape *tape, int64_t other_took_ms)
{
    struct told_call call = { .took_ms = 100 * SECOND_MS, .input = 100, .output = 1000, .output_limit = 1000 };
    tell(tape, &call);
    call.at_ms = 10 * SECOND_MS;
    call.took_ms = other_took_ms;
    call.plain = true;
    tell(tape, &call);
}

static void
a_stream_that_finds_no_more_room_ends_early(void **state)
{
    static const struct {
        const char *why;
        enum on_abort on_abort;
        int64_t cap, other_took_ms, ended, unspent, after;
    } rows[] = {
        { "room for both", ON_ABORT_STOPS, 4200, HOUR_MS, 0, 0, 4200 },
        { "each 400 tokens, then no more", ON_ABORT_STOPS, 3000, HOUR_MS, 1, 1200, 3000 },
        { "its provider bills all of it", ON_ABORT_BILLS_ALL, 3000, HOUR_MS, 1, 0, 4200 },
        { "the other is over in time, for less than it held", ON_ABORT_STOPS, 4300, 15 * SECOND_MS, 0, 0, 4200 },
        { "a little room comes in time", ON_ABORT_STOPS, 3100, HOUR_MS, 1, 1100, 3100 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        tape->policy->providers[0].on_abort = rows[i].on_abort;
        add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, rows[i].cap);
        tape_open(tape);
        a_stream(tape, rows[i].other_took_ms);
        const struct replay_report *report = play(tape, 0);
        if (report->allowed != 2 || report->ended_early != rows[i].ended
            || report->cost_unspent_micros != rows[i].unspent || report->cost_after_micros != rows[i].after) {
            fail_msg("%s: %lld allowed, %lld early, %lld not spent, %lld spent", rows[i].why,
                (long long)report->allowed, (long long)report->ended_early,
                (long long)report->cost_unspent_micros, (long long)report->cost_after_micros);
        }
        assert_int_equal(report->ended_group_count, rows[i].ended);
        if (rows[i].ended) {
            assert_string_equal(report->ended_groups[0].limit, "money");
            assert_string_equal(report->ended_groups[0].account, "ann");
            assert_int_equal(report->ended_groups[0].cost_micros, rows[i].unspent);
            assert_int_equal(report->ended_groups[0].reason, REASON_OK);
        }
        assert_int_equal(report->refused, 0);
        tape_end((void **)&tape);
    }
}

/* Near the cap its output limit is lowered when it starts; an answer that was shorter all the same is whole. */
static void
an_answer_under_a_lower_output_limit_ends_early(void **state)
{
    static const struct {
        int64_t output, lowered, ended, unspent;
    } rows[] = { { 1000, 1, 1, 800 }, { 600, 1, 0, 0 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        add_limit(tape->policy, "wide", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 100000); /* asked first */
        add_limit(tape->policy, "money", COUNT_COST, PER_GATEWAY, WINDOW_DAY, 1300);
        tape_open(tape);
        const struct told_call call = {
            .took_ms = SECOND_MS, .input = 100, .output = rows[i].output, .output_limit = 1000
        };
        tell(tape, &call);
        const struct replay_report *report = play(tape, 0);
        assert_int_equal(report->lowered, rows[i].lowered);
        assert_int_equal(report->ended_early, rows[i].ended);
        assert_int_equal(report->cost_unspent_micros, rows[i].unspent);
        if (rows[i].ended) {
            assert_string_equal(report->ended_groups[0].limit, "money");
        }
        tape_end((void **)&tape);
    }
}

/* What it grew to is held while it runs: who comes then finds less room than at its beginning. */
static void
a_stream_that_has_grown_leaves_less_room(void **state)
{
    static const struct {
        int64_t at_ms;
        bool fits;
    } rows[] = { { SECOND_MS, true }, { 90 * SECOND_MS, false }, { 101 * SECOND_MS, false } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 2500);
        tape_open(tape);
        const struct told_call call = { .took_ms = 100 * SECOND_MS, .input = 100, .output = 1000, .output_limit = 1000 };
        tell(tape, &call);
        struct told_call other = *PLAIN(rows[i].at_ms, 1000, 50); /* 1,100; the first hold is 500, the whole call 2,100 */
        other.thread_id = EPOCH_ID + 9; /* what is learned of one thread's input is not of another's */
        tell(tape, &other);
        const struct replay_report *report = play(tape, 0);
        assert_int_equal(report->refused, !rows[i].fits);
        tape_end((void **)&tape);
    }
}

/* Anthropic's first event names the input, long before the end. */
static void
an_input_that_was_named_takes_the_place_of_its_estimate(void **state)
{
    static const struct {
        const char *api;
        bool fits;
    } rows[] = { { "messages", true }, { "chat", false } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1500);
        tape_open(tape);
        const struct told_call call = { .took_ms = 100 * SECOND_MS,
            .input = 100,
            .output = 10,
            .output_limit = 100,
            .estimated = 1000,
            .api = rows[i].api };
        tell(tape, &call);
        tell(tape, PLAIN(SECOND_MS, 600, 50)); /* 700 beside 1,200, or beside 300 */
        const struct replay_report *report = play(tape, 0);
        assert_int_equal(report->allowed, rows[i].fits ? 2 : 1);
        tape_end((void **)&tape);
    }
}

static void
an_orphan_has_no_answer_to_be_cut(void **state)
{
    struct tape *tape = *state;
    add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1300);
    tape_open(tape);
    struct told_call call = { .took_ms = SECOND_MS, .input = 100, .output = 1000, .output_limit = 1000 };
    call.kind = LEDGER_ORPHAN;
    tell(tape, &call);
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->allowed, 1);
    assert_int_equal(report->ended_early, 0);
    assert_int_equal(report->cost_after_micros, 1300); /* booked whole, at what it may use now */
}

/* A ledger that somebody wrote by hand, or a clock that was set back. */
static void
strange_rows_do_no_harm(void **state)
{
    struct tape *tape = *state;
    tape->policy->models[MODEL_PAID].routes[0].price = NULL;
    tape->policy->unpriced = UNPRICED_ALLOW;
    add_limit(tape->policy, "tokens", COUNT_TOKENS, PER_ACCOUNT, WINDOW_DAY, 3000);
    tape_open(tape);
    const struct recorded_call calls[] = {
        { .api = "messages", .stream = true, .answers = INT64_MAX, .price_pct = INT64_MAX, .output_limit = INT64_MAX,
            .body_bytes = INT64_MAX, .input_bytes = INT64_MAX },
        { .api = "chat", .stream = true, .answers = -5, .price_pct = -5, .output_limit = 0, .body_bytes = -5, .input_bytes = -5 },
        { .api = "chat", .stream = true, .answers = 1, .price_pct = 100, .output_limit = 9, .input_bytes = 10 },
    };
    for (size_t i = 0; i < countof(calls); i++) {
        const int64_t id = tape->next_id++;
        struct ledger_row row = { .id = id, .hold_id = id, .kind = LEDGER_SETTLE, .source = "relay", .account_id = ACCOUNT,
            .key_id = KEY, .thread_id = 5, .root_id = 5, .model = "paid", .started_ms = NOON_MS, .at_ms = NOON_MS - DAY_MS };
        row.usage = (struct usage){ .input = TOKENS_MAX, .output = TOKENS_MAX, .reasoning = TOKENS_MAX, .cost_micros = -1,
            .known = USAGE_INPUT | USAGE_OUTPUT };
        assert_true(replay_row(tape->replay, &row, &calls[i]));
        row.kind = LEDGER_SETTLE; /* one more attempt: the sum stays what a number may say */
        assert_true(replay_row(tape->replay, &row, NULL));
    }
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->calls, 3);
    assert_int_equal(report->allowed + report->refused, 3);
}

/* --- What providers report. */

static struct limit *
a_threshold(struct tape *tape, const char *name, enum per_kind per, int64_t cap)
{
    struct limit *limit = add_limit(tape->policy, name, COUNT_REPORTED, per, WINDOW_REPORTED, cap);
    limit->span_ms = 5 * HOUR_MS;
    limit->at_cap = AT_CAP_PAUSE;
    return limit;
}

static void
what_was_reported_then_decides_now(void **state)
{
    static const struct {
        const char *why;
        enum per_kind per;
        enum fact_rule on_missing;
        bool told;
        struct recorded_report report;
        enum reason reason; /* REASON_OK: it is allowed */
        int64_t unknown;
    } rows[] = {
        { "under it", PER_ACCOUNT, FACT_ALLOW, true, { 5 * HOUR_MS, false, true, 89999, NOON_MS + HOUR_MS, NOON_MS }, REASON_OK, 0 },
        { "at it", PER_ACCOUNT, FACT_ALLOW, true, { 5 * HOUR_MS, false, true, 90000, NOON_MS + HOUR_MS, NOON_MS }, REASON_SESSION_THRESHOLD, 0 },
        { "its reset has passed", PER_ACCOUNT, FACT_ALLOW, true, { 5 * HOUR_MS, false, true, 95000, NOON_MS, NOON_MS - 1 }, REASON_OK, 0 },
        { "of another window", PER_ACCOUNT, FACT_ALLOW, true, { 7 * DAY_MS, false, true, 95000, NOON_MS + HOUR_MS, NOON_MS }, REASON_OK, 1 },
        { "of the company", PER_ACCOUNT, FACT_ALLOW, true, { 5 * HOUR_MS, true, true, 95000, NOON_MS + HOUR_MS, NOON_MS }, REASON_OK, 1 },
        { "of the company, of whom it is asked", PER_GATEWAY, FACT_ALLOW, true, { 5 * HOUR_MS, true, true, 95000, NOON_MS + HOUR_MS, NOON_MS }, REASON_SESSION_THRESHOLD, 0 },
        { "nothing had been reported", PER_ACCOUNT, FACT_ALLOW, true, { 5 * HOUR_MS, false, false, 0, 0, 0 }, REASON_OK, 0 },
        { "nothing, which is refused", PER_ACCOUNT, FACT_DENY, true, { 5 * HOUR_MS, false, false, 0, 0, 0 }, REASON_USAGE_UNKNOWN, 0 },
        { "nothing is recorded: that stops nobody", PER_ACCOUNT, FACT_DENY, false, { 0, false, false, 0, 0, 0 }, REASON_OK, 1 },
    };
    static const struct recorded_report before = { 5 * HOUR_MS, false, true, 99000, NOON_MS + DAY_MS, NOON_MS - MINUTE_MS };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        a_threshold(tape, "session", rows[i].per, 90)->on_missing = rows[i].on_missing;
        tape_open(tape);
        struct told_call call = *PLAIN(-MINUTE_MS, 100, 50); /* what is known of one call says nothing of another */
        call.reports = &before;
        tell(tape, &call);
        call.at_ms = 0;
        call.reports = rows[i].told ? &rows[i].report : NULL;
        tell(tape, &call);
        const struct replay_report *report = play(tape, 0);
        const enum reason reason = report->group_count ? report->groups[0].reason : REASON_OK;
        if (reason != rows[i].reason || report->reports_unknown != rows[i].unknown) {
            fail_msg("%s: %s, %lld not known", rows[i].why, reason_row(reason)->code, (long long)report->reports_unknown);
        }
        tape_end((void **)&tape);
    }
}

static void
what_is_not_known_of_one_call_stops_no_other_rule(void **state)
{
    struct tape *tape = *state;
    static const struct recorded_report full = { 5 * HOUR_MS, false, true, 95000, NOON_MS + DAY_MS, NOON_MS };
    a_threshold(tape, "session", PER_ACCOUNT, 90);
    tape_open(tape);
    struct told_call call = *PLAIN(0, 100, 50);
    for (int i = 0; i < 4; i++) { /* not known, full, not known, full */
        call.at_ms = i * MINUTE_MS;
        call.reports = i % 2 ? &full : NULL;
        tell(tape, &call);
    }
    const struct replay_report *report = play(tape, 0);
    assert_int_equal(report->allowed, 2);
    assert_int_equal(report->refused, 2);
    assert_int_equal(report->reports_unknown, 2);
}

static void
a_refusal_by_a_report_is_asked_again_by_what_it_saw(void **state)
{
    static const struct {
        const char *name;
        int64_t cap, passes, unknown;
    } rows[] = { { "session", 90, 0, 0 }, { "session", 95, 1, 0 }, { "renamed", 90, 1, 1 } };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        a_threshold(tape, rows[i].name, PER_ACCOUNT, rows[i].cap);
        tape_open(tape);
        const struct told_call call = { .kind = LEDGER_REFUSAL, .reason = REASON_SESSION_THRESHOLD, .limit = "session",
            .used = 91000, .plain = true, .input = 10 };
        tell(tape, &call);
        const struct replay_report *report = play(tape, 0);
        assert_int_equal(report->asks_refused, 1);
        assert_int_equal(report->asks_allowed, rows[i].passes);
        assert_int_equal(report->reports_unknown, rows[i].unknown);
        tape_end((void **)&tape);
    }
}

/* --- Caps that people set. */

static void
caps_that_people_set_rule_by_the_name_of_their_limit(void **state)
{
    static const struct {
        const char *why, *name; /* of the limit in the books */
        enum cap_set_kind set;
        int64_t amount, expires_ms;
        int64_t refused;
    } rows[] = {
        { "lower", "money", SET_CAP, 150, 0, 2 },
        { "of another limit", "other", SET_CAP, 150, 0, 1 },
        { "of the limit by the name it had", "cash", SET_CAP, 150, 0, 2 },
        { "none at all", "money", SET_CAP, CAP_UNLIMITED, 0, 0 },
        { "a raise", "money", SET_RAISE, 100, 0, 0 },
        { "a raise that was over by then", "money", SET_RAISE, 100, NOON_MS + MINUTE_MS, 1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct tape *tape = NULL;
        tape_make((void **)&tape);
        add_limit(tape->policy, "first", COUNT_REQUESTS, PER_ACCOUNT, WINDOW_DAY, 100);
        add_limit(tape->policy, "money", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 300)->was = "cash";
        tape_open(tape);
        struct limit_def_row def = { .set_id = BOOKS_CAP };
        strcpy(def.name, rows[i].name);
        assert_true(replay_limit(tape->replay, &def));
        struct subject_row subject = {
            .subject_id = 9, .account_id = ACCOUNT, .kind = SUBJECT_ACCOUNT, .set_count = 1, .version = 3
        };
        subject.sets[0] = (struct cap_set){
            .set_id = BOOKS_CAP, .kind = rows[i].set, .amount = rows[i].amount, .expires_ms = rows[i].expires_ms, .set_ms = 1
        };
        assert_true(replay_subject(tape->replay, &subject));
        tell(tape, PLAIN(0, 100, 50));
        tell(tape, PLAIN(2 * MINUTE_MS, 100, 50));
        if (play(tape, 0)->refused != rows[i].refused) {
            fail_msg("%s: %lld refused", rows[i].why, (long long)tape->report.refused);
        }
        tape_end((void **)&tape);
    }
}

#define TAPE(name, function) CASE_WITH(name, function, tape_make, tape_end)

static const struct CMUnitTest tests[] = {
    TAPE("where nothing is in the way all is as it was", where_nothing_is_in_the_way_all_is_as_it_was),
    TAPE("a lower cap refuses until its window turns", a_lower_cap_refuses_until_its_window_turns),
    TAPE("what came before is counted and refuses nobody", what_came_before_is_counted_and_refuses_nobody),
    TAPE("other prices make the difference", other_prices_make_the_difference),
    TAPE("what was not billed costs nothing now", what_was_not_billed_costs_nothing_now),
    TAPE("all attempts of a call are one call", all_attempts_of_a_call_are_one_call),
    TAPE("a call waits for room, and no longer than it may", a_call_waits_for_room_and_no_longer_than_it_may),
    TAPE("refusals of then are asked once more", refusals_of_then_are_asked_once_more),
    TAPE("what was refused for what it was is refused again", what_was_refused_for_what_it_was_is_refused_again),
    TAPE("threads that never began are told apart", threads_that_never_began_are_told_apart),
    TAPE("a call that cannot be bounded is refused where bounds are strict",
        a_call_that_cannot_be_bounded_is_refused_where_bounds_are_strict),
    TAPE("what this configuration does not serve is refused", what_this_configuration_does_not_serve_is_refused),
    TAPE("whom the books do not know any more is refused, and does no harm", whom_the_books_do_not_know_any_more_is_refused_and_does_no_harm),
    TAPE("what is left of a deleted call is left out", what_is_left_of_a_deleted_call_is_left_out),
    TAPE("what people did is no call", what_people_did_is_no_call),
    TAPE("it can be stopped", it_can_be_stopped),
    CASE("a stream that finds no more room ends early", a_stream_that_finds_no_more_room_ends_early),
    CASE("an answer under a lower output limit ends early", an_answer_under_a_lower_output_limit_ends_early),
    CASE("a stream that has grown leaves less room", a_stream_that_has_grown_leaves_less_room),
    CASE("an input that was named takes the place of its estimate", an_input_that_was_named_takes_the_place_of_its_estimate),
    TAPE("an orphan has no answer to be cut", an_orphan_has_no_answer_to_be_cut),
    TAPE("strange rows do no harm", strange_rows_do_no_harm),
    CASE("what was reported then decides now", what_was_reported_then_decides_now),
    TAPE("what is not known of one call stops the limit for that call alone", what_is_not_known_of_one_call_stops_no_other_rule),
    CASE("a refusal by a report is asked again by what it saw", a_refusal_by_a_report_is_asked_again_by_what_it_saw),
    CASE("caps that people set rule by the name of their limit", caps_that_people_set_rule_by_the_name_of_their_limit),
};
UNIT_MAIN(tests)
