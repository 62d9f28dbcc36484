/* tests/unit/store/agreement_test.c
 *
 * Goal: nobody can tell the engines apart by their answers. Method: both play the same random
 * batches, some of them rolled back; every status, and now and then all that the reader door shows,
 * is compared. */
#include "world.h"

#include <stdio.h>

#include "base/map.h"

static uint64_t
next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void
play_one(struct world *world, uint64_t *seed, struct buf *log)
{
    struct store *store = world->store;
    const int64_t id = 1 + (int64_t)(next_random(seed) % 12);
    const uint64_t what = next_random(seed) % 10;
    const int64_t value = (int64_t)(next_random(seed) % 1000);
    char name[16];
    (void)snprintf(name, sizeof(name), "n%lld", (long long)(value % 7));
    enum status status = STATUS_OK;
    struct account_row account = an_account(id, name);
    struct thread_row thread = a_thread(id, 1 + value % 2, name);
    struct meter_row meters = a_meter_row(id);
    struct hold_row hold = a_hold(id, &world->node);
    struct ledger_row ledger = a_ledger_row(id);
    struct refusal_row refusal = a_refusal(id, NOW_MS + value % 3 * MINUTE_MS);
    struct subject_row subject = a_subject(id, 1 + value % 9);
    struct limit_def_row limit = a_limit_def(id, name);
    limit.nth = id;
    limit.until_ms = value;
    hold.held_micros = hold.bound_micros = value;
    ledger.cost_micros = value;
    switch (what) {
    case 0: {
        struct account_row stored;
        if (store_account_get(store, id, &stored) == STATUS_OK) {
            account.version = stored.version;
        }
        status = store_account_put(store, &account);
        break;
    }
    case 1: {
        struct thread_row stored;
        if (store_thread_get(store, id, &stored) == STATUS_OK) {
            thread = value % 4 > 0 ? stored : thread; /* else another by that number, mostly */
            thread.version = stored.version - (value == 0);
            thread.last_input = value;
        }
        status = store_thread_put(store, &thread);
        break;
    }
    case 2: {
        struct meter_row stored;
        if (store_meter_get(store, id, &stored) == STATUS_OK) {
            meters.version = stored.version;
        }
        meters.meters[0].settled = value;
        status = store_meter_put(store, &meters);
        break;
    }
    case 3: status = store_hold_insert(store, &hold); break;
    case 4: status = store_hold_update(store, &hold); break;
    case 5: status = store_hold_delete(store, id); break;
    case 6: status = store_ledger_add(store, &ledger); break;
    case 7: status = store_refusal_add(store, &refusal); break;
    case 8: {
        struct subject_row stored;
        if (store_subject_find(store, subject.kind, subject.account_id, "", &stored) == STATUS_OK
            && value % 3 > 0) {
            subject.subject_id = stored.subject_id;
            subject.version = stored.version - (value % 3 == 2);
        }
        status = store_subject_put(store, &subject);
        break;
    }
    default: status = store_limit_def_put(store, &limit); break;
    }
    buf_addf(log, "%d:%lld:%s ", (int)what, (long long)id, status_name(status));
}

static void
both_engines_give_the_same_answers(void **state)
{
    (void)state;
    void *disk_state = NULL;
    void *memory_state = NULL;
    world_on_disk(&disk_state);
    world_in_memory(&memory_state);
    struct world *worlds[2] = { disk_state, memory_state };
    for (uint64_t batch = 0; batch < 400; batch++) {
        struct buf logs[2] = { { 0 } };
        for (int i = 0; i < 2; i++) {
            uint64_t seed = hash_pair(batch, 1);
            world_begin(worlds[i]);
            for (int event = 0; event < 8; event++) {
                play_one(worlds[i], &seed, &logs[i]);
            }
            if (next_random(&seed) % 3 == 0) {
                store_rollback(worlds[i]->store);
            } else {
                world_commit(worlds[i]);
            }
            if (batch % 20 == 0) {
                struct buf text = world_text(worlds[i]);
                buf_add_slice(&logs[i], buf_slice(&text));
                buf_free(&text);
            }
        }
        assert_string_equal(buf_cstr(&logs[0]), buf_cstr(&logs[1]));
        buf_free(&logs[0]);
        buf_free(&logs[1]);
    }
    world_end(&disk_state);
    world_end(&memory_state);
}

static const struct CMUnitTest tests[] = {
    CASE("both engines give the same answers to random days", both_engines_give_the_same_answers),
};
UNIT_MAIN(tests)
