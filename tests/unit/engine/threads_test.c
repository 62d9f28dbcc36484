/* tests/unit/engine/threads_test.c
 *
 * Goal: whatever many threads do at once, the books are right at the end, and every event is answered once.
 * Method: 200 threads, fifty to a loop, with random calls, extensions, other routes, ends, forgotten replies;
 * a thread that changes the configuration meanwhile, and one that breaks the store after so many calls each time;
 * who meets the outage asks again, as a client would. */
#include "house.h"

#include <pthread.h>
#include <string.h>

#define THREADS 200
#define CALLS   25
#define CALLS_BETWEEN_OUTAGES 1000

struct loop_box { /* of one loop: verdicts by slot */
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct verdict verdicts[THREADS];
    int unread[THREADS];
};

struct crowd {
    struct house *house;
    struct loop_box boxes[LOOPS];
    pthread_t pumps[LOOPS];
    atomic_bool over;
    atomic_llong allowed, refused, waited, asked_anew, outages, unanswered;
};

struct actor {
    struct crowd *crowd;
    pthread_t thread;
    int index;
    uint64_t random;
    uint32_t generation;
};

static uint64_t
draw(struct actor *actor, uint64_t below)
{
    actor->random ^= actor->random << 13;
    actor->random ^= actor->random >> 7;
    actor->random ^= actor->random << 17;
    return actor->random % below;
}

/* A loop's thread: takes its verdicts and hands them to who waits. */
static void *
pump(void *arg)
{
    struct loop_box *box = ((void **)arg)[0];
    struct crowd *crowd = ((void **)arg)[1];
    const uint32_t loop = (uint32_t)(box - crowd->boxes);
    struct verdict verdicts[16];
    while (!atomic_load(&crowd->over)) {
        const uint32_t count = engine_take(crowd->house->engine, loop, verdicts, countof(verdicts));
        pthread_mutex_lock(&box->lock);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t slot = verdicts[i].reply.slot;
            const bool twice = box->unread[slot] && verdict_is_last(&box->verdicts[slot]);
            atomic_fetch_add(&crowd->unanswered, twice);
            box->verdicts[slot] = verdicts[i];
            box->unread[slot] = 1;
        }
        pthread_cond_broadcast(&box->came);
        pthread_mutex_unlock(&box->lock);
        if (!count) {
            pause_ms(1);
        }
    }
    return NULL;
}

static void
ask_anew(struct crowd *crowd, struct event event, int64_t place)
{
    struct policy *policy = engine_policy(crowd->house->engine);
    event.place = place;
    event.call.policy_ver = policy->version;
    policy_unref(policy);
    if (!engine_submit(crowd->house->engine, &event)) {
        atomic_fetch_add(&crowd->unanswered, 1000000); /* who waits is counted already */
    }
}

static struct verdict
ask_as(struct actor *actor, struct event event)
{
    struct crowd *crowd = actor->crowd;
    struct loop_box *box = &crowd->boxes[actor->index % LOOPS];
    event.reply = (struct reply_to){ (uint32_t)actor->index % LOOPS, (uint32_t)actor->index, ++actor->generation };
    while (!engine_submit(crowd->house->engine, &event)) {
        pause_ms(1);
    }
    pthread_mutex_lock(&box->lock);
    struct verdict verdict;
    do {
        while (!box->unread[actor->index]) {
            pthread_cond_wait(&box->came, &box->lock);
        }
        verdict = box->verdicts[actor->index];
        box->unread[actor->index] = 0;
        atomic_fetch_add(&crowd->waited, verdict.kind == VERDICT_WAIT);
        atomic_fetch_add(&crowd->asked_anew, verdict.kind == VERDICT_ANEW);
        if (verdict.kind == VERDICT_ANEW) {
            ask_anew(crowd, event, verdict.place);
        }
    } while (!verdict_is_last(&verdict));
    pthread_mutex_unlock(&box->lock);
    if (verdict.reply.generation != actor->generation) {
        atomic_fetch_add(&crowd->unanswered, 1000);
    }
    return verdict;
}

static void
run_call(struct actor *actor)
{
    struct crowd *crowd = actor->crowd;
    struct policy *policy = engine_policy(crowd->house->engine);
    const enum model_of_test models[] = { MODEL_PAID, MODEL_FREE, MODEL_TWO, MODEL_HIDDEN };
    struct event event = a_call(models[draw(actor, countof(models))], 1 + (int64_t)draw(actor, 100), (int64_t)draw(actor, 400) - 1);
    event.call.account_id = crowd->house->account_id;
    event.call.key_id = crowd->house->key_id;
    event.call.policy_ver = policy->version;
    set_hash(event.call.thread_hash, (char)('a' + draw(actor, 20)));
    struct verdict verdict = ask_as(actor, event);
    while (verdict.kind == VERDICT_REFUSED && verdict.refusal.reason == REASON_STORE_UNAVAILABLE) {
        pause_ms(5);
        verdict = ask_as(actor, event);
    }
    if (verdict.kind != VERDICT_ALLOWED) {
        atomic_fetch_add(&crowd->refused, 1);
        policy_unref(policy);
        return;
    }
    atomic_fetch_add(&crowd->allowed, 1);
    for (uint64_t i = draw(actor, 3); i > 0; i--) {
        if (draw(actor, 2)) {
            ask_as(actor, an_extend(verdict.hold_id, STEP));
        } else {
            struct event reroute = { .kind = EVENT_REROUTE };
            reroute.reroute = (struct reroute_event){ .hold_id = verdict.hold_id, .route_index = (int32_t)draw(actor, 2) };
            ask_as(actor, reroute);
        }
    }
    event = draw(actor, 4) ? a_settle(verdict.hold_id, verdict.est_input, (int64_t)draw(actor, 200)) : a_release(verdict.hold_id);
    event.reply.loop = ENGINE_NO_REPLY;
    if (!engine_submit(crowd->house->engine, &event) || (draw(actor, 4) == 0 && !engine_submit(crowd->house->engine, &event))) {
        atomic_fetch_add(&crowd->unanswered, 1000000); /* settlements always fit; a second one is nothing */
    }
    policy_unref(policy);
}

static void *
act(void *arg)
{
    struct actor *actor = arg;
    for (int i = 0; i < CALLS; i++) {
        run_call(actor);
    }
    return NULL;
}

static void *
reload(void *arg)
{
    struct crowd *crowd = arg;
    while (!atomic_load(&crowd->over)) {
        struct policy *policy = a_policy(0);
        policy->held_wait_ms = 30;
        add_limit(policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 1000000);
        add_limit(policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000000);
        add_limit(policy, "mine", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 150);
        struct engine_error error;
        (void)!engine_set_policy(crowd->house->engine, policy, &error); /* may meet a broken store */
        pause_ms(5);
    }
    return NULL;
}

static void *
break_now_and_then(void *arg)
{
    struct crowd *crowd = arg;
    long long due = CALLS_BETWEEN_OUTAGES;
    while (!atomic_load(&crowd->over)) {
        if (atomic_load(&crowd->allowed) + atomic_load(&crowd->refused) < due) {
            pause_ms(1);
            continue;
        }
        atomic_store(&faults.commit_status, STATUS_IO);
        while (state_of(crowd->house).store_ok && !atomic_load(&crowd->over)) {
            pause_ms(1);
        }
        atomic_store(&faults.commit_status, STATUS_OK);
        atomic_fetch_add(&crowd->outages, 1);
        due += CALLS_BETWEEN_OUTAGES;
    }
    return NULL;
}

static void
a_crowd(void **state)
{
    struct house *house = *state;
    static struct crowd crowd;
    static struct actor actors[THREADS];
    crowd = (struct crowd){ .house = house };
    house->policy->held_wait_ms = 30;
    struct limit *day = add_limit(house->policy, "day", COUNT_COST, PER_ACCOUNT, WINDOW_DAY, 20000);
    add_limit(house->policy, "tree", COUNT_COST, PER_THREAD_TREE, WINDOW_LIFETIME, 1000000);
    struct limit *mine = add_limit(house->policy, "mine", COUNT_IN_FLIGHT, PER_KEY, WINDOW_CONCURRENCY, 150);
    house_start(house);
    void *pump_args[LOOPS][2];
    for (int i = 0; i < LOOPS; i++) {
        pthread_mutex_init(&crowd.boxes[i].lock, NULL);
        pthread_cond_init(&crowd.boxes[i].came, NULL);
        pump_args[i][0] = &crowd.boxes[i];
        pump_args[i][1] = &crowd;
        assert_int_equal(pthread_create(&crowd.pumps[i], NULL, pump, pump_args[i]), 0);
    }
    pthread_t reloader, breaker;
    assert_int_equal(pthread_create(&reloader, NULL, reload, &crowd), 0);
    assert_int_equal(pthread_create(&breaker, NULL, break_now_and_then, &crowd), 0);
    for (int i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){ .crowd = &crowd, .index = i, .random = (uint64_t)(i + 1) * UINT64_C(0x9E3779B97F4A7C15) };
        assert_int_equal(pthread_create(&actors[i].thread, NULL, act, &actors[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(actors[i].thread, NULL);
    }
    atomic_store(&crowd.over, true);
    pthread_join(reloader, NULL);
    pthread_join(breaker, NULL);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(crowd.pumps[i], NULL);
    }
    atomic_store(&faults.commit_status, STATUS_OK);
    UNTIL(state_of(house).store_ok && state_of(house).queued == 0 && state_of(house).waiting == 0);
    house_stop_engine(house);

    const struct books books = books_of(house);
    assert_int_equal(atomic_load(&crowd.unanswered), 0);
    assert_int_equal(atomic_load(&crowd.allowed) + atomic_load(&crowd.refused), THREADS * CALLS);
    assert_true(atomic_load(&crowd.allowed) > THREADS);
    assert_true(atomic_load(&crowd.outages) > 0);
    assert_int_equal(books.hold_count, 0);
    assert_int_equal(books.held, 0);
    assert_int_equal(books.bound, 0);
    assert_int_equal(books.kinds[LEDGER_SETTLE] + books.kinds[LEDGER_RELEASE], atomic_load(&crowd.allowed));
    assert_int_equal(books.settled, 2 * books.cost_micros); /* of the day and of the trees, each call once */
    assert_int_equal(stored_meter(house, day).settled, books.cost_micros);
    assert_int_equal(stored_meter(house, mine).held, 0);
}

static const struct CMUnitTest tests[] = {
    BOTH("two hundred threads, reloads and outages", a_crowd),
};
UNIT_MAIN(tests)
