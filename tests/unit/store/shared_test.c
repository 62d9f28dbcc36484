/* tests/unit/store/shared_test.c
 *
 * Goal: gateways on one store never lose each other's writes, never wait for each other in a circle, and one that
 * is over writes nothing any more.
 * Method: several stores on one schema of PostgreSQL; what they leave is added up by a reader. */
#include "world.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* --- One more gateway on the schema of a world. */

struct fellow {
    struct store *store;
    struct node_row node;
};

static enum status
fellow_try(const struct world *world, const struct store_options *options, const char *config_hash,
    struct fellow *fellow, struct store_error *error)
{
    unsigned char key[32];
    enum status status = store_open(world->url, options, &fellow->store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = store_node_start(fellow->store, NOW_MS, config_hash, &fellow->node, key);
    if (status != STATUS_OK) {
        (void)snprintf(error->text, sizeof(error->text), "%s", store_last_error(fellow->store));
        store_close(fellow->store);
        return status;
    }
    assert_memory_equal(key, world->signal_key, sizeof(key)); /* one store, one key */
    return status;
}

static struct fellow
fellow_start(const struct world *world, int32_t lease_ms)
{
    struct fellow fellow;
    struct store_error error;
    const struct store_options options = { .full_sync = true, .lease_ms = lease_ms };
    if (fellow_try(world, &options, HASH, &fellow, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return fellow;
}

static void
take_nothing(void *user, const struct need *need, const union need_row *row)
{
}

static void
wait_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

static int64_t
now_of(struct world *world)
{
    int64_t now_ms = 0;
    OK(world, store_read_clock(world_reader(world), &now_ms));
    world_reader_close(world);
    return now_ms;
}

/* --- Nodes. */

struct seen_nodes {
    int count;
    struct node_row rows[8];
};

static bool
take_node(void *user, const struct node_row *row)
{
    struct seen_nodes *seen = user;
    assert_true(seen->count < (int)countof(seen->rows));
    seen->rows[seen->count++] = *row;
    return true;
}

static struct seen_nodes
nodes_of(struct world *world)
{
    struct seen_nodes seen = { 0 };
    OK(world, store_read_nodes(world_reader(world), take_node, &seen));
    world_reader_close(world);
    return seen;
}

static void
each_gateway_is_a_node_of_its_own(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    assert_false(store_is_exclusive(fellow.store));
    assert_int_equal(fellow.node.epoch, world->node.epoch + 1);
    assert_int_equal(fellow.node.node_id, fellow.node.epoch);
    struct seen_nodes seen = nodes_of(world);
    assert_int_equal(seen.count, 2);
    assert_true(seen.rows[1].name[0]);
    assert_true(seen.rows[1].lease_until_ms > seen.rows[1].started_ms);
    fellow.node.waiting_count = 7; /* in its lines */
    OK(world, store_begin(fellow.store, &fellow.node));
    OK(world, store_commit(fellow.store));
    world_begin(world);
    OK(world, store_load(world->store, NULL, 0, true, take_nothing, NULL));
    assert_int_equal(store_others_waiting(world->store), 7);
    assert_true(store_now_ms(world->store) > NOW_MS);
    world_commit(world);
    store_close(fellow.store); /* it leaves nothing open, so it leaves no node */
    assert_int_equal(nodes_of(world).count, 1);
}

static void
another_configuration_is_refused_unless_mixed(void **state)
{
    static const char other_hash[] = "ffff";
    struct world *world = *state;
    struct fellow fellow;
    struct store_error error;
    const struct store_options strict = { .node_name = "second" };
    const struct store_options mixed = { .mixed = true, .node_name = "second" };
    assert_int_equal(fellow_try(world, &strict, other_hash, &fellow, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "--mixed"));
    assert_int_equal(nodes_of(world).count, 1);
    assert_int_equal(fellow_try(world, &mixed, other_hash, &fellow, &error), STATUS_OK);
    assert_string_equal(fellow.node.name, "second");
    store_close(fellow.store);
    world_sql(world, "UPDATE node SET lease_until_ms = 0"); /* one that is over has no say */
    assert_int_equal(fellow_try(world, &strict, other_hash, &fellow, &error), STATUS_OK);
    store_close(fellow.store);
}

static void
a_lease_that_is_over_writes_nothing(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    struct account_row account = an_account(1, "late");
    world_sql(world, "UPDATE node SET lease_until_ms = 1 WHERE node_id = 2");
    OK(world, store_begin(fellow.store, &fellow.node));
    OK(world, store_account_put(fellow.store, &account));
    EXPECT(world, store_commit(fellow.store), STATUS_FENCED);
    assert_non_null(strstr(store_last_error(fellow.store), "lease"));
    store_rollback(fellow.store);
    OK(world, store_begin_read(world->store));
    EXPECT(world, store_account_get(world->store, 1, &account), STATUS_NOT_FOUND);
    store_rollback(world->store);
    store_close(fellow.store);
}

static void
what_a_dead_gateway_held_is_anothers(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    struct hold_row hold = a_hold(50, &fellow.node);
    struct hold_row back = { 0 };
    int64_t fenced = -1;
    OK(world, store_begin(fellow.store, &fellow.node));
    OK(world, store_hold_insert(fellow.store, &hold));
    OK(world, store_commit(fellow.store));
    OK(world, store_nodes_fence(world->store, now_of(world), &fenced));
    assert_int_equal(fenced, 0); /* it lives */
    world_begin(world);
    EXPECT(world, store_hold_orphan(world->store, 0, &back), STATUS_NOT_FOUND);
    store_rollback(world->store);

    world_sql(world, "UPDATE node SET lease_until_ms = 1, high_water_ms = 1999999999999 WHERE node_id = 2");
    OK(world, store_nodes_fence(world->store, now_of(world), &fenced));
    assert_int_equal(fenced, 1);
    world_begin(world);
    OK(world, store_hold_orphan(world->store, 0, &back));
    assert_int_equal(back.hold_id, 50);
    store_rollback(world->store);
    OK(world, store_begin(fellow.store, &fellow.node)); /* it wakes up */
    EXPECT(world, store_commit(fellow.store), STATUS_FENCED);
    store_rollback(fellow.store);
    store_close(fellow.store);
    struct fellow next = fellow_start(world, 0);
    assert_int_equal(next.node.high_water_ms, 1999999999999); /* what it had seen of time stays */
    store_close(next.store);
}

static void
a_gateway_in_the_middle_of_a_batch_is_not_fenced(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 2000);
    int64_t fenced = -1;
    OK(world, store_begin(fellow.store, &fellow.node));
    OK(world, store_load(fellow.store, NULL, 0, true, take_nothing, NULL));
    const int64_t before_ms = now_of(world); /* behind the lease that stands, before the one just taken */
    OK(world, store_commit(fellow.store));
    OK(world, store_nodes_fence(world->store, before_ms, &fenced));
    assert_int_equal(fenced, 0);
    store_close(fellow.store);
}

static void
a_gateway_that_leaves_calls_open_leaves_its_lease(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    struct hold_row hold = a_hold(60, &fellow.node);
    OK(world, store_begin(fellow.store, &fellow.node));
    OK(world, store_hold_insert(fellow.store, &hold));
    OK(world, store_commit(fellow.store));
    store_close(fellow.store);
    const struct seen_nodes seen = nodes_of(world);
    assert_int_equal(seen.count, 2);
    assert_true(seen.rows[1].lease_until_ms <= now_of(world)); /* others may take it over at once */
}

static void
a_job_is_one_gateways(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    const int64_t now_ms = now_of(world);
    bool taken = false;
    world_begin(world);
    OK(world, store_job_take(world->store, "sweep", now_ms + HOUR_MS, &taken));
    assert_true(taken);
    world_commit(world);
    for (int i = 0; i < 2; i++) {
        OK(world, store_begin(fellow.store, &fellow.node));
        OK(world, store_job_take(fellow.store, "sweep", now_ms + HOUR_MS, &taken));
        assert_int_equal(taken, i == 1);
        OK(world, store_job_take(fellow.store, "tick", now_ms + HOUR_MS, &taken));
        assert_true(taken);
        EXPECT(world, store_job_take(fellow.store, "a", now_ms + HOUR_MS, &taken), STATUS_CONFLICT);
        store_rollback(fellow.store);
        world_sql(world, "UPDATE lease SET until_ms = 1"); /* its time is over */
    }
    store_close(fellow.store);
}

/* --- Rows that two meet at once. */

static void
a_row_that_another_has_made_is_a_conflict(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    struct store *stores[] = { world->store, fellow.store };
    const struct node_row *nodes[] = { &world->node, &fellow.node };
    world_begin(world);
    put_a_subject(world, 40);
    world_commit(world);
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < 2; i++) {
            const int64_t id = 10 * kind + i + 1;
            struct account_row account = an_account(id, "acme");
            struct subject_row subject = a_subject(id, 7);
            struct thread_row thread = a_thread(id, 7, "mark");
            struct meter_row meters = a_meter_row(40);
            struct thread_row no_thread;
            OK(world, store_begin(stores[i], nodes[i]));
            EXPECT(world, i == 0 ? store_thread_find(stores[i], 7, THREAD_CLAUDE_CODE, "else", &no_thread) : STATUS_NOT_FOUND,
                STATUS_NOT_FOUND);
            switch (kind) {
            case 0: OK(world, store_account_put(stores[i], &account)); break;
            case 1: OK(world, store_subject_put(stores[i], &subject)); break;
            case 2: OK(world, store_thread_put(stores[i], &thread)); break;
            default: OK(world, store_meter_put(stores[i], &meters)); break;
            }
            EXPECT(world, store_commit(stores[i]), i == 0 ? STATUS_OK : STATUS_CONFLICT);
            store_rollback(stores[i]);
        }
    }
    store_close(fellow.store);
}

static void
a_lock_out_of_order_asks_for_another_run(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct meter_row meters[2] = { a_meter_row(5), a_meter_row(6) };
    struct thread_row thread = a_thread(7, 1, "mark");
    const struct need low = { .kind = NEED_METER, .id = 5 };
    const struct need high = { .kind = NEED_METER, .id = 6 };
    const struct need by_id = { .kind = NEED_THREAD, .id = 7 };
    const struct need both[] = { high, low, by_id, high };
    world_begin(world);
    put_a_subject(world, 5);
    put_a_subject(world, 6);
    OK(world, store_meter_put(store, &meters[0]));
    OK(world, store_meter_put(store, &meters[1]));
    OK(world, store_thread_put(store, &thread));
    world_commit(world);
    world_begin(world);
    OK(world, store_load(store, both, countof(both), true, take_nothing, NULL)); /* sorted by the store */
    OK(world, store_load(store, &low, 1, true, take_nothing, NULL));             /* held already */
    store_rollback(store);
    world_begin(world);
    OK(world, store_load(store, &high, 1, true, take_nothing, NULL));
    const int64_t trips = store_costs(store).round_trips;
    EXPECT(world, store_load(store, &low, 1, true, take_nothing, NULL), STATUS_CONFLICT);
    assert_int_equal(store_costs(store).round_trips, trips); /* nothing was sent */
    store_rollback(store);
    world_begin(world);
    OK(world, store_load(store, &high, 1, true, take_nothing, NULL));
    EXPECT(world, store_load(store, &by_id, 1, true, take_nothing, NULL), STATUS_CONFLICT);
    store_rollback(store);
}

static void
a_batch_is_two_ways_there_and_back(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct meter_row meters = a_meter_row(5);
    const struct need needs[] = { { .kind = NEED_METER, .id = 5 }, { .kind = NEED_HOLD, .id = 9 },
        { .kind = NEED_ACCOUNT, .id = 3 } };
    world_begin(world);
    put_a_subject(world, 5);
    world_commit(world);
    for (int i = 0; i < 3; i++) {
        const int64_t before = store_costs(store).round_trips;
        int64_t version = 0;
        world_begin(world);
        OK(world, store_load(store, needs, countof(needs), true, take_nothing, NULL));
        OK(world, store_identity_version(store, &version));
        OK(world, store_meter_put(store, &meters));
        struct ledger_row ledger = a_ledger_row(100 + i);
        OK(world, store_ledger_add(store, &ledger));
        world_commit(world);
        assert_int_equal(store_costs(store).round_trips - before, 2);
        world_begin(world); /* one that writes nothing is not waited for at its end */
        OK(world, store_load(store, needs, countof(needs), true, take_nothing, NULL));
        store_rollback(store);
        assert_int_equal(store_costs(store).round_trips - before, 3);
    }
}

static void
bytes_that_are_no_text_become_question_marks(void **state)
{
    static const struct {
        const char *bytes, *want;
        size_t len;
    } rows[] = {
        { "plain", "plain", 5 },
        { "a\0b", "a?b", 3 },
        { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 11 },
        { "\xff\xc3k\xc3", "??k?", 4 },
        { "\xed\xa0\x80", "???", 3 },         /* half of a pair */
        { "\xc0\xaf\xf5\x80", "????", 4 },    /* too long, too large */
        { "\xe2\x82", "??", 2 },              /* cut off */
    };
    struct world *world = *state;
    struct hold_row back = { 0 };
    struct account_row account;
    world_begin(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct hold_row hold = a_hold((int64_t)i + 1, &world->node);
        hold.inputs = slice_of(rows[i].bytes, rows[i].len);
        OK(world, store_hold_insert(world->store, &hold));
    }
    world_commit(world);
    OK(world, store_begin_read(world->store));
    for (size_t i = 0; i < countof(rows); i++) {
        OK(world, store_hold_get(world->store, (int64_t)i + 1, &back));
        assert_true(slice_eq(back.inputs, slice_of(rows[i].want, rows[i].len)));
    }
    EXPECT(world, store_account_by_name(world->store, "\xff", &account), STATUS_NOT_FOUND);
    store_rollback(world->store);
}

/* --- What others tell. */

struct heard {
    atomic_int count;
    atomic_llong limit_id, subject_id;
};

static void
hear(void *user, int64_t limit_id, int64_t subject_id)
{
    struct heard *heard = user;
    heard->limit_id = limit_id;
    heard->subject_id = subject_id;
    atomic_fetch_add(&heard->count, 1);
}

static void
await_count(const struct heard *heard, int count)
{
    for (int tries = 0; heard->count < count && tries < 1000; tries++) {
        wait_ms(10);
    }
    assert_int_equal(heard->count, count);
}

static void
room_is_told_to_the_others_once_it_is_committed(void **state)
{
    struct world *world = *state;
    struct fellow fellow = fellow_start(world, 0);
    struct heard own = { 0 };
    struct heard others = { 0 };
    struct store_error error;
    OK(world, store_listen(world->store, hear, &own, &error));
    OK(world, store_listen(fellow.store, hear, &others, &error));
    world_begin(world);
    store_tell(world->store, 1, 1);
    store_rollback(world->store); /* never happened */
    world_begin(world);
    store_tell(world->store, 3, 44);
    world_commit(world);
    await_count(&others, 1);
    assert_int_equal(others.limit_id, 3);
    assert_int_equal(others.subject_id, 44);
    assert_int_equal(own.count, 0); /* who tells knows */
    world_sql(world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN tidegate' "
                     "AND pid <> pg_backend_pid()");
    await_count(&others, 2); /* what was told meanwhile is missed: look everywhere */
    assert_int_equal(others.limit_id, 0);
    store_close(fellow.store);
}

/* --- Many at once. */

#define STRESS_STORES  3
#define STRESS_BATCHES 150
#define STRESS_ROWS    6

struct stress {
    const struct world *world;
    struct fellow fellow;
    unsigned seed;
    int committed, conflicts;
    char failure[512];
};

static unsigned
next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

struct stress_rows {
    int count;
    struct meter_row meters[STRESS_ROWS];
    struct thread_row thread;
    bool has_thread;
};

static void
take_stress(void *user, const struct need *need, const union need_row *row)
{
    struct stress_rows *rows = user;
    if (need->kind == NEED_METER && row) {
        rows->meters[rows->count++] = row->meter;
    }
    if (need->kind == NEED_THREAD_SIG && row) {
        rows->thread = row->thread;
        rows->has_thread = true;
    }
}

/* Two meters of six in any order, a thread of six, and rows that all write without a lock: all raised by one. */
static enum status
stress_batch(struct stress *stress, struct stress_rows *rows)
{
    struct store *store = stress->fellow.store;
    struct need needs[3] = { { .kind = NEED_THREAD_SIG, .id = 1, .sub_kind = THREAD_CLAUDE_CODE } };
    const unsigned first = next_random(&stress->seed) % STRESS_ROWS;
    const unsigned step = 1 + next_random(&stress->seed) % (STRESS_ROWS - 1);
    (void)snprintf(needs[0].text, sizeof(needs[0].text), "mark-%u", next_random(&stress->seed) % STRESS_ROWS);
    for (unsigned i = 0; i < 2; i++) {
        needs[1 + i] = (struct need){ .kind = NEED_METER, .id = 1 + (first + i * step) % STRESS_ROWS };
    }
    rows->count = 0;
    rows->has_thread = false;
    enum status status = store_begin(store, &stress->fellow.node);
    if (status == STATUS_OK) {
        status = store_load(store, needs, countof(needs), true, take_stress, rows);
    }
    for (int i = 0; status == STATUS_OK && i < rows->count; i++) {
        bool again = false;
        for (int other = 0; other < i; other++) {
            again |= rows->meters[other].subject_id == rows->meters[i].subject_id;
        }
        rows->meters[i].meters[0].settled++;
        status = again ? STATUS_OK : store_meter_put(store, &rows->meters[i]);
    }
    if (status == STATUS_OK && rows->has_thread) {
        rows->thread.last_input++;
        status = store_thread_put(store, &rows->thread);
    }
    const unsigned minute = next_random(&stress->seed) % 3;
    for (unsigned i = 0; status == STATUS_OK && i < 3; i++) { /* upserts of rows that all write */
        const struct refusal_row refusal = a_refusal(1, (int64_t)((minute + i) % 3) * MINUTE_MS);
        status = store_refusal_add(store, &refusal);
    }
    if (status == STATUS_OK) {
        status = store_commit(store);
    }
    if (status != STATUS_OK) {
        store_rollback(store);
    }
    return status;
}

static void *
stress_thread(void *arg)
{
    struct stress *stress = arg;
    struct stress_rows rows;
    while (stress->committed < STRESS_BATCHES) {
        const enum status status = stress_batch(stress, &rows);
        if (status == STATUS_OK) {
            stress->committed++;
        } else if (status == STATUS_CONFLICT) {
            stress->conflicts++;
        } else {
            (void)snprintf(stress->failure, sizeof(stress->failure), "%s: %s", status_name(status),
                store_last_error(stress->fellow.store));
            return NULL;
        }
    }
    return NULL;
}

static int64_t
deadlocks_of_database(void)
{
    PGconn *conn = PQconnectdb(getenv("TIDEGATE_TEST_PG"));
    PGresult *result = PQexec(conn, "SELECT pg_stat_clear_snapshot(); SELECT deadlocks FROM pg_stat_database "
                                    "WHERE datname = current_database()");
    int64_t deadlocks = -1;
    assert_int_equal(PQntuples(result), 1);
    assert_true(slice_to_i64(slice_str(PQgetvalue(result, 0, 0)), &deadlocks));
    PQclear(result);
    PQfinish(conn);
    return deadlocks;
}

static void
nobody_waits_in_a_circle(void **state)
{
    struct world *world = *state;
    struct stress stresses[STRESS_STORES] = { 0 };
    pthread_t threads[STRESS_STORES];
    const int64_t deadlocks = deadlocks_of_database();
    world_begin(world);
    for (int i = 0; i < STRESS_ROWS; i++) {
        struct meter_row meters = a_meter_row(i + 1);
        meters.meters[0].settled = 0;
        put_a_subject(world, i + 1);
        OK(world, store_meter_put(world->store, &meters));
    }
    for (int i = 0; i < STRESS_ROWS; i++) {
        char mark[16];
        (void)snprintf(mark, sizeof(mark), "mark-%d", i);
        struct thread_row thread = a_thread(i + 1, 1, mark);
        thread.last_input = 0;
        OK(world, store_thread_put(world->store, &thread));
    }
    world_commit(world);
    for (unsigned i = 0; i < STRESS_STORES; i++) {
        stresses[i] = (struct stress){
            .world = world, .fellow = fellow_start(world, 0), .seed = 4711 + i };
    }
    for (int i = 0; i < STRESS_STORES; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, stress_thread, &stresses[i]), 0);
    }
    int64_t committed = 0;
    int64_t conflicts = 0;
    for (int i = 0; i < STRESS_STORES; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_string_equal(stresses[i].failure, "");
        committed += stresses[i].committed;
        conflicts += stresses[i].conflicts;
        store_close(stresses[i].fellow.store);
    }
    assert_int_equal(committed, STRESS_STORES * STRESS_BATCHES);
    assert_int_equal(conflicts, 0); /* locks are waited for, in one order: nothing is run twice */
    OK(world, store_begin_read(world->store));
    int64_t inputs = 0;
    for (int i = 0; i < STRESS_ROWS; i++) {
        struct thread_row thread = { 0 };
        OK(world, store_thread_get(world->store, i + 1, &thread));
        inputs += thread.last_input;
    }
    assert_int_equal(inputs, committed); /* no write of a thread was lost */
    store_rollback(world->store);
    wait_ms(1200); /* a server counts what its sessions have ended with, at most a second later */
    assert_int_equal(deadlocks_of_database(), deadlocks);
}

/* Each of three stores makes the same unseen account, key, subject, thread and meter, all at once. */
static void *
phantom_thread(void *arg)
{
    struct stress *stress = arg;
    struct store *store = stress->fellow.store;
    for (int64_t round = 0; round < 40; round++) {
        char name[32];
        const int64_t id = (stress->fellow.node.epoch << 20) + round;
        (void)snprintf(name, sizeof(name), "acme-%d", (int)round);
        struct account_row account = an_account(id, name);
        struct subject_row subject = a_subject(id, 1000 + round);
        struct thread_row thread = a_thread(id, 7, name);
        struct meter_row meters = a_meter_row(500 + round);
        const struct need need = { .kind = NEED_METER, .id = 500 + round };
        enum status status = store_begin(store, &stress->fellow.node);
        if (status == STATUS_OK) {
            status = store_load(store, &need, 1, true, take_nothing, NULL);
        }
        if (status == STATUS_OK) {
            status = store_meter_put(store, &meters);
        }
        if (status == STATUS_OK) {
            status = store_thread_put(store, &thread);
        }
        if (status == STATUS_OK) {
            status = store_subject_put(store, &subject);
        }
        if (status == STATUS_OK) {
            status = store_account_put(store, &account);
        }
        if (status == STATUS_OK) {
            status = store_commit(store);
        }
        store_rollback(store);
        stress->committed += status == STATUS_OK;
        stress->conflicts += status == STATUS_CONFLICT;
        if (status != STATUS_OK && status != STATUS_CONFLICT) {
            (void)snprintf(stress->failure, sizeof(stress->failure), "%s: %s", status_name(status),
                store_last_error(store));
            return NULL;
        }
    }
    return NULL;
}

static void
what_several_make_at_once_is_made_once(void **state)
{
    struct world *world = *state;
    struct stress stresses[STRESS_STORES] = { 0 };
    pthread_t threads[STRESS_STORES];
    world_begin(world);
    for (int64_t round = 0; round < 40; round++) {
        put_a_subject(world, 500 + round);
    }
    world_commit(world);
    for (int i = 0; i < STRESS_STORES; i++) {
        stresses[i] = (struct stress){ .world = world, .fellow = fellow_start(world, 0) };
    }
    for (int i = 0; i < STRESS_STORES; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, phantom_thread, &stresses[i]), 0);
    }
    int committed = 0;
    for (int i = 0; i < STRESS_STORES; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_string_equal(stresses[i].failure, "");
        committed += stresses[i].committed;
        store_close(stresses[i].fellow.store);
    }
    assert_int_equal(committed, 40); /* one of the three each time */
}

static const struct CMUnitTest tests[] = {
    ON_POSTGRES("each gateway is a node of its own", each_gateway_is_a_node_of_its_own),
    ON_POSTGRES("another configuration is refused unless mixed",
        another_configuration_is_refused_unless_mixed),
    ON_POSTGRES("a lease that is over writes nothing", a_lease_that_is_over_writes_nothing),
    ON_POSTGRES("what a dead gateway held is another's", what_a_dead_gateway_held_is_anothers),
    ON_POSTGRES("a gateway in the middle of a batch is not fenced",
        a_gateway_in_the_middle_of_a_batch_is_not_fenced),
    ON_POSTGRES("a gateway that leaves calls open leaves its lease",
        a_gateway_that_leaves_calls_open_leaves_its_lease),
    ON_POSTGRES("a job is one gateway's", a_job_is_one_gateways),
    ON_POSTGRES("a row that another has made is a conflict", a_row_that_another_has_made_is_a_conflict),
    ON_POSTGRES("a lock out of order asks for another run", a_lock_out_of_order_asks_for_another_run),
    ON_POSTGRES("a batch is two ways there and back", a_batch_is_two_ways_there_and_back),
    ON_POSTGRES("bytes that are no text become question marks",
        bytes_that_are_no_text_become_question_marks),
    ON_POSTGRES("room is told to the others once it is committed",
        room_is_told_to_the_others_once_it_is_committed),
    ON_POSTGRES("nobody waits in a circle", nobody_waits_in_a_circle),
    ON_POSTGRES("what several make at once is made once", what_several_make_at_once_is_made_once),
};
UNIT_MAIN(tests)
