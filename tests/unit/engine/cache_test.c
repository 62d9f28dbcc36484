/* tests/unit/engine/cache_test.c
 *
 * Goal: rows are not read twice, and what is kept of them is what the store has, whatever fails.
 * Method: random batches over stores that conflict and fail, the cache compared with the store at each begin;
 * statements counted by SQLite itself; the cache alone with little room. */
#include "house.h"

#include <string.h>

#include "store/sqlite_priv.h"

/* Each event in a commit of its own: a begin and a commit for two events, what they change, and no reads. */
#define STATEMENTS_A_CALL 18
/* A key with its account, the thread, three subjects with their meters, those of everybody. */
#define STATEMENTS_OF_THE_AWAY 4

/* --- The cache alone. */

static int
count_kept(const struct cache *cache)
{
    return (int)cache->count;
}

static struct need
a_need(enum need_kind kind, int64_t id, const char *text)
{
    struct need need = { .kind = kind, .id = id };
    assert_true(slice_to_cstr(slice_str(text), need.text, sizeof need.text));
    return need;
}

static void
a_row_is_found_by_each_of_its_names(void **state)
{
    struct cache cache;
    struct arena arena = { 0 };
    struct work work;
    cache_init(&cache);
    work_start(&work, &arena);
    struct account_row ann = { .account_id = 5, .name = "ann", .plan = "pro", .version = 3 };
    const struct need by_id = a_need(NEED_ACCOUNT, 5, "");
    const struct need by_name = a_need(NEED_ACCOUNT_NAME, 0, "ann");
    const struct need by_new_name = a_need(NEED_ACCOUNT_NAME, 0, "anna");
    assert_false(cache_load(&cache, &by_id, &work));
    cache_keep(&cache, &by_name, &ann);
    assert_true(cache_load(&cache, &by_id, &work));
    assert_string_equal(work_account(&work, 5)->row.plan, "pro");
    assert_int_equal(work_account(&work, 5)->row.version, 3);
    assert_false(cache_load(&cache, &by_new_name, &work));

    memcpy(ann.name, "anna", 5);
    cache_keep(&cache, &by_id, &ann);
    assert_int_equal(count_kept(&cache), 1);
    assert_true(cache_load(&cache, &by_new_name, &work));
    assert_false(cache_load(&cache, &by_name, &work));
    cache_clear(&cache);
    assert_false(cache_load(&cache, &by_id, &work));
    cache_free(&cache);
    work_end(&work);
    arena_free(&arena);
}

static void
what_was_not_used_for_longest_leaves_first(void **state)
{
    struct cache cache;
    struct arena arena = { 0 };
    struct work work;
    cache_init(&cache);
    cache.row_bytes_max = 4000;
    work_start(&work, &arena);
    for (int64_t id = 1; id <= 1000; id++) {
        const struct meter_row row = {
            .subject_id = id, .meter_count = 1, .meters = { { .limit_id = id } }
        };
        const struct need need = a_need(NEED_METER, id, "");
        const struct need first = a_need(NEED_METER, 1, "");
        cache_keep(&cache, &need, &row);
        assert_true(cache_load(&cache, &first, &work)); /* in use all the time */
        assert_true(cache.row_bytes <= 4000);
    }
    const struct need last = a_need(NEED_METER, 1000, "");
    const struct need middle = a_need(NEED_METER, 500, "");
    assert_true(cache_load(&cache, &last, &work));
    assert_int_equal(work_meter(&work, 1000)->row.meters[0].limit_id, 1000);
    assert_false(cache_load(&cache, &middle, &work));
    assert_in_range(count_kept(&cache), 2, 30);
    cache_free(&cache);
    work_end(&work);
    arena_free(&arena);
}

/* --- Beside a store. */

static uint32_t
pick(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

static struct event
set_account_state(enum account_state account_state)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = ADMIN_ACCOUNT_PUT, .account.name = "ann" };
    event.admin.account.state = account_state;
    return event;
}

struct in_flight {
    int64_t holds[40];
    uint32_t count;
};

/* A batch of events of every kind, awaited; calls that are allowed are remembered. */
static void
a_random_batch(struct house *house, uint32_t *seed, struct in_flight *open)
{
    uint32_t told = 0;
    const uint32_t size = 1 + pick(seed, 8);
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t kind = pick(seed, 20);
        if (kind < 8 && open->count + size < countof(open->holds)) {
            submit(house, house_call(house, pick(seed, 2) ? MODEL_PAID : MODEL_TWO, 100, -1,
                              (char)('a' + pick(seed, 6))));
            told++;
        } else if (kind < 15 && open->count > 0) {
            const uint32_t which = pick(seed, open->count);
            submit_untold(house, a_settle(open->holds[which], 100, pick(seed, 200)));
            open->holds[which] = open->holds[--open->count];
        } else if (kind < 19 && open->count > 0) {
            submit(house, an_extend(open->holds[pick(seed, open->count)], STEP));
            told++;
        } else if (kind == 19) {
            submit(house, set_account_state(pick(seed, 4) ? ACCOUNT_OK : ACCOUNT_BANNED));
            told++;
        }
    }
    while (told > 0) {
        const struct verdict verdict = await(house);
        if (verdict.event == EVENT_CALL && verdict.kind == VERDICT_ALLOWED) {
            open->holds[open->count++] = verdict.hold_id;
        }
        told -= verdict.kind != VERDICT_WAIT;
    }
}

static void
what_is_kept_is_what_the_store_has(void **state)
{
    struct house *house = *state;
    const struct limit *day =
        add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 300000);
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 60000);
    add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 1000);
    add_bucket(house->policy, "rate", PER_KEY, 1000000, 60000, 1000000);
    house->policy->held_wait_ms = 0;
    house_start(house);
    atomic_store(&faults.compare_cached, true);
    uint32_t seed = 20260930;
    struct in_flight open = { .count = 0 };
    for (int round = 0; round < 400; round++) {
        if (round % 7 == 0) {
            atomic_store(&faults.meter_conflicts, 1 + (int)pick(&seed, 3));
        }
        if (round % 50 == 49) { /* a disk that fails for a while */
            atomic_store(&faults.commit_status, STATUS_IO);
        }
        a_random_batch(house, &seed, &open);
        atomic_store(&faults.commit_status, STATUS_OK);
        atomic_store(&faults.meter_conflicts, 0);
        UNTIL(state_of(house).store_ok);
    }
    while (open.count > 0) {
        submit_untold(house, a_settle(open.holds[--open.count], 100, 10));
    }
    UNTIL(books_of(house).hold_count == 0);
    ask(house, set_account_state(ACCOUNT_OK));
    ask(house, set_account_state(ACCOUNT_OK)); /* begins once more: all that was kept is compared */
    assert_int_equal(atomic_load(&faults.cached_differ), 0);
    assert_true(atomic_load(&faults.cached_compared) > 2000);
    const struct books books = books_of(house);
    assert_int_equal(books.held, 0);
    assert_int_equal(books.bound, 0);
    assert_int_equal(stored_meter(house, day).settled, books.cost_micros);
}

static void
a_refusal_asks_the_store_for_nothing(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 230);
    house_start(house);
    /* Makes the subject and its meter: what is not there is asked for each time. */
    const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 50, 'a')).hold_id;
    ask(house, a_settle(hold_id, 100, 25));
    ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    const int begins = atomic_load(&faults.begins);
    for (int i = 0; i < 100; i++) {
        const struct verdict verdict = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
        assert_int_equal(verdict.refusal.reason, REASON_COST_SPENT);
    }
    /* The count of repeats is written once a second. */
    assert_true(atomic_load(&faults.begins) - begins <= 2);
}

static void
a_write_from_outside_is_seen(void **state)
{
    struct house *house = *state;
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 10000);
    house_start(house);
    ask_allowed(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    sqlite3 *shell = NULL;
    assert_int_equal(sqlite3_open(house->url + strlen("sqlite:"), &shell), SQLITE_OK);
    assert_int_equal(sqlite3_exec(shell, "UPDATE account SET state = 1, version = version + 1",
                         NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(shell), SQLITE_OK);
    /* Rows of before decide nothing that is written. */
    const struct verdict verdict = ask(house, house_call(house, MODEL_PAID, 100, 0, 'a'));
    assert_int_equal(verdict.refusal.reason, REASON_ACCOUNT_BANNED);
    assert_int_equal(books_of(house).hold_count, 1);
}

/* Runs of all prepared statements so far. The engine must be asleep. */
static int64_t
statements_run(struct house *house)
{
    int64_t runs = 0;
    sqlite3 *handle = sqlite_store_of(house->store)->db.handle;
    for (sqlite3_stmt *at = sqlite3_next_stmt(handle, NULL); at;
         at = sqlite3_next_stmt(handle, at)) {
        runs += sqlite3_stmt_status(at, SQLITE_STMTSTATUS_RUN, 0);
    }
    return runs;
}

/* Of three subjects. */
static void
start_with_three_limits(struct house *house)
{
    add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000000);
    add_bucket(house->policy, "rate", PER_KEY, 1000000, 60000, 1000000);
    house_start(house);
}

static void
a_call_of_a_known_thread_takes_few_statements(void **state)
{
    struct house *house = *state;
    start_with_three_limits(house);
    for (int warm = 1; warm >= 0; warm--) {
        const int64_t before = statements_run(house);
        int64_t holds[32];
        for (int i = 0; i < 32; i++) {
            holds[i] = ask_allowed(house, house_call(house, MODEL_PAID, 100, 50, 'a')).hold_id;
        }
        for (int i = 0; i < 32; i++) {
            ask(house, a_settle(holds[i], 100, 50));
        }
        const int64_t each = (statements_run(house) - before) / 32;
        if (!warm) {
            assert_in_range(each, 1, STATEMENTS_A_CALL);
        }
    }
}

/* Whoever was not here for long: his key and account, his thread, the subjects and meters of his limits. */
static void
a_caller_who_was_away_is_read_in_few_statements(void **state)
{
    struct house *house = *state;
    start_with_three_limits(house);
    int64_t each[2];
    for (int away = 0; away < 2; away++) {
        const int64_t hold_id = ask_allowed(house, house_call(house, MODEL_PAID, 100, 50, 'a')).hold_id;
        ask(house, a_settle(hold_id, 100, 50));
        if (away) {
            cache_clear(&house->engine->cache);
        }
        const int64_t before = statements_run(house);
        ask_allowed(house, house_call(house, MODEL_PAID, 100, 50, 'a'));
        each[away] = statements_run(house) - before;
    }
    assert_int_equal(each[1] - each[0], STATEMENTS_OF_THE_AWAY);
}

static void
rows_are_found_however_many_there_are(void **state)
{
    enum { ROWS = 40000 };
    struct cache cache;
    struct arena arena = { 0 };
    struct work work;
    cache_init(&cache);
    const size_t buckets_before = cache.bucket_count;
    for (int64_t id = 1; id <= ROWS; id++) {
        const struct meter_row row = { .subject_id = id, .meter_count = 1, .meters = { { .limit_id = id } } };
        const struct need need = a_need(NEED_METER, id, "");
        cache_keep(&cache, &need, &row);
    }
    assert_int_equal(count_kept(&cache), ROWS);
    assert_true(cache.bucket_count > buckets_before && cache.bucket_count >= 2 * ROWS);
    work_start(&work, &arena);
    for (int64_t id = 1; id <= ROWS; id++) {
        const struct need need = a_need(NEED_METER, id, "");
        assert_true(cache_has(&cache, &need));
    }
    const struct need last = a_need(NEED_METER, ROWS, "");
    const struct need none = a_need(NEED_METER, ROWS + 1, "");
    assert_true(cache_load(&cache, &last, &work));
    assert_int_equal(work_meter(&work, ROWS)->row.meters[0].limit_id, ROWS);
    assert_false(cache_has(&cache, &none));
    cache_clear(&cache);
    assert_false(cache_has(&cache, &last));
    cache_free(&cache);
    work_end(&work);
    arena_free(&arena);
}

static const struct CMUnitTest tests[] = {
    CASE("a kept row is found by each of its names", a_row_is_found_by_each_of_its_names),
    CASE("what was not used for longest leaves first", what_was_not_used_for_longest_leaves_first),
    BOTH("FF-30 what is kept is what the store has, whatever fails", what_is_kept_is_what_the_store_has),
    BOTH("a refusal asks the store for nothing", a_refusal_asks_the_store_for_nothing),
    CASE_WITH(
        "a write from outside is seen", a_write_from_outside_is_seen, house_on_disk, house_end),
    CASE_WITH("a call of a known thread takes few statements",
        a_call_of_a_known_thread_takes_few_statements, house_on_disk, house_end),
    CASE_WITH("a caller who was away is read in few statements",
        a_caller_who_was_away_is_read_in_few_statements, house_on_disk, house_end),
    CASE("rows are found however many there are", rows_are_found_however_many_there_are),
};
UNIT_MAIN(tests)
