/* tests/unit/store/conformance_test.c
 *
 * Goal: all engines keep every promise of store.h, and the same ones.
 * Method: each case runs on SQLite, in memory and, with a server in TIDEGATE_TEST_PG, on PostgreSQL. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

/* Compares rows as text: bytes behind the end of a name mean nothing. */
#define ASSERT_SAME(text_function, got, want)                                                      \
    do {                                                                                           \
        struct buf got_text = { 0 };                                                               \
        struct buf want_text = { 0 };                                                              \
        text_function(&got_text, (got));                                                           \
        text_function(&want_text, (want));                                                         \
        assert_string_equal(buf_cstr(&got_text), buf_cstr(&want_text));                            \
        buf_free(&got_text);                                                                       \
        buf_free(&want_text);                                                                      \
    } while (0)

/* --- Accounts, keys, threads, subjects. */

static void
accounts_are_kept_by_id_and_by_name(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct account_row row = an_account(1, "acme");
    struct account_row back = { 0 };
    world_begin(world);
    EXPECT(world, store_account_get(store, 1, &back), STATUS_NOT_FOUND);
    EXPECT(world, store_account_by_name(store, "acme", &back), STATUS_NOT_FOUND);
    OK(world, store_account_put(store, &row));
    assert_int_equal(row.version, 1);
    OK(world, store_account_get(store, 1, &back));
    ASSERT_SAME(text_account, &back, &row);

    row.state = ACCOUNT_BANNED;
    (void)snprintf(row.name, sizeof(row.name), "%s", "acme-2");
    OK(world, store_account_put(store, &row));
    assert_int_equal(row.version, 2);
    OK(world, store_account_by_name(store, "acme-2", &back));
    assert_int_equal(back.state, ACCOUNT_BANNED);
    EXPECT(world, store_account_by_name(store, "acme", &back), STATUS_NOT_FOUND); /* free again */
    struct account_row second = an_account(2, "acme");
    OK(world, store_account_put(store, &second));
    world_commit(world);
}

static void
an_account_name_is_taken_once(void **state)
{
    struct world *world = *state;
    struct account_row row = an_account(1, "acme");
    struct account_row same_name = an_account(2, "acme");
    struct account_row same_id = an_account(1, "other");
    struct account_row renamed = an_account(3, "third");
    world_begin(world);
    OK(world, store_account_put(world->store, &row));
    OK(world, store_account_put(world->store, &renamed));
    world_commit(world);

    world_begin(world);
    REFUSED(world, store_account_put(world->store, &same_name), STATUS_EXISTS);
    assert_true(world->shared || same_name.version == 0); /* not written, not counted */
    store_rollback(world->store);
    world_begin(world);
    REFUSED(world, store_account_put(world->store, &same_id), STATUS_EXISTS);
    store_rollback(world->store);
    world_begin(world);
    (void)snprintf(renamed.name, sizeof(renamed.name), "%s", "acme");
    REFUSED(world, store_account_put(world->store, &renamed), STATUS_EXISTS);
    assert_true(world->shared || renamed.version == 1);
    store_rollback(world->store);
}

static void
a_version_that_is_not_the_stored_one_is_a_conflict(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct account_row account = an_account(1, "acme");
    struct key_row key = a_key(2, 1);
    struct thread_row thread = a_thread(3, 1, "mark");
    struct meter_row meters = a_meter_row(4);
    world_begin(world);
    OK(world, store_account_put(store, &account));
    OK(world, store_key_put(store, &key));
    OK(world, store_thread_put(store, &thread));
    put_a_subject(world, 4);
    OK(world, store_meter_put(store, &meters));
    world_commit(world);

    for (int64_t version = 0; version <= 3; version++) {
        struct thread_row stored_thread; /* what is updated has been read before, in the same transaction */
        struct meter_row stored_meters;
        account.version = key.version = thread.version = meters.version = version;
        const enum status want = version == 1 ? STATUS_OK : STATUS_CONFLICT;
        const enum status want_insert = version == 0 ? STATUS_EXISTS : want;
        world_begin(world);
        REFUSED(world, store_account_put(store, &account), want_insert);
        store_rollback(store);
        world_begin(world);
        REFUSED(world, store_key_put(store, &key), want_insert);
        store_rollback(store);
        world_begin(world);
        OK(world, store_thread_get(store, 3, &stored_thread));
        REFUSED(world, store_thread_put(store, &thread), want_insert);
        store_rollback(store);
        world_begin(world);
        OK(world, store_meter_get(store, 4, &stored_meters));
        REFUSED(world, store_meter_put(store, &meters), want);
        store_rollback(store);
    }
    struct meter_row absent = a_meter_row(77);
    absent.version = 1;
    struct meter_row none;
    world_begin(world);
    EXPECT(world, store_meter_get(store, 77, &none), STATUS_NOT_FOUND);
    REFUSED(world, store_meter_put(store, &absent), STATUS_CONFLICT);
    store_rollback(store);
}

/* What was told of a list of needs: those asked for in their order, and their company apart. */
struct told_of {
    const struct need *needs;
    size_t count, next;
    int64_t ids[16]; /* 0: there is no such row */
    int32_t meter_count, account_count;
};

static void
note_told(void *user, const struct need *need, const union need_row *row)
{
    struct told_of *told = user;
    if (told->next < told->count && memcmp(need, &told->needs[told->next], sizeof *need) == 0) {
        told->ids[told->next++] = row ? (need->kind == NEED_SUBJECT ? row->subject.subject_id : row->key.key_id) : 0;
        return;
    }
    assert_non_null(row);
    assert_true(told->next > 0 && told->needs[told->next - 1].with);
    const int64_t of_id = told->ids[told->next - 1];
    if (need->kind == NEED_METER) {
        assert_int_equal(need->id, of_id);
        assert_int_equal(row->meter.subject_id, of_id);
        assert_int_equal(row->meter.meters[0].limit_id, a_meter_row(of_id).meters[0].limit_id);
        told->meter_count++;
    } else {
        assert_int_equal(need->kind, NEED_ACCOUNT);
        assert_int_equal(need->id, row->account.account_id);
        assert_string_equal(row->account.name, "acme");
        told->account_count++;
    }
}

static void
what_is_needed_together_is_told_in_order(void **state)
{
    struct world *world = *state;
    struct account_row account = an_account(1, "acme");
    struct key_row key = a_key(2, 1);
    world_begin(world);
    OK(world, store_account_put(world->store, &account));
    OK(world, store_key_put(world->store, &key));
    for (int64_t id = 10; id < 16; id++) { /* of two accounts; every second one has meters */
        struct subject_row row = { .subject_id = id, .account_id = 1 + id % 2, .kind = SUBJECT_ACCOUNT_MODEL };
        struct meter_row meters = a_meter_row(id);
        (void)snprintf(row.name, sizeof row.name, "m%lld", (long long)id);
        OK(world, store_subject_put(world->store, &row));
        if (id % 4 < 2) {
            OK(world, store_meter_put(world->store, &meters));
        }
    }
    world_commit(world);

    struct need needs[] = { { .kind = NEED_KEY, .id = 2, .with = true }, { .kind = NEED_KEY, .id = 3, .with = true },
        { .text = "m12", .id = 1 }, { .text = "none", .id = 1 }, { .text = "m10", .id = 1 }, { .text = "m14", .id = 1 },
        { .text = "m12", .id = 1 }, { .text = "gone", .id = 1 }, { .text = "m11", .id = 2 }, { .text = "m10", .id = 2 },
        { .text = "m13", .id = 2 } };
    static const int64_t expected[] = { 2, 0, 12, 0, 10, 14, 12, 0, 11, 0, 13 };
    struct told_of told = { .needs = needs, .count = countof(needs) };
    for (size_t i = 2; i < countof(needs); i++) {
        needs[i].kind = NEED_SUBJECT;
        needs[i].sub_kind = SUBJECT_ACCOUNT_MODEL;
        needs[i].with = i != 6; /* which has meters */
    }
    world_begin(world);
    OK(world, store_load(world->store, needs, countof(needs), false, note_told, &told));
    store_rollback(world->store);
    assert_int_equal(told.next, countof(needs));
    for (size_t i = 0; i < countof(needs); i++) {
        assert_int_equal(told.ids[i], expected[i]);
    }
    const bool together = world->store->rows->get_several != NULL;
    assert_int_equal(told.meter_count, together ? 2 : 0);
    assert_int_equal(told.account_count, together ? 1 : 0);
}

static void
keys_are_found_by_their_hash(void **state)
{
    struct world *world = *state;
    struct key_row row = a_key(2, 1);
    struct key_row back = { 0 };
    world_begin(world);
    EXPECT(world, store_key_by_hash(world->store, row.hash_hex, &back), STATUS_NOT_FOUND);
    OK(world, store_key_put(world->store, &row));
    OK(world, store_key_by_hash(world->store, row.hash_hex, &back));
    ASSERT_SAME(text_key, &back, &row);
    OK(world, store_key_get(world->store, 2, &back));
    row.revoked = true;
    OK(world, store_key_put(world->store, &row));
    OK(world, store_key_get(world->store, 2, &back));
    assert_true(back.revoked);
    assert_int_equal(back.version, 2);
    struct key_row same_hash = a_key(3, 1);
    memcpy(same_hash.hash_hex, row.hash_hex, sizeof(row.hash_hex));
    REFUSED(world, store_key_put(world->store, &same_hash), STATUS_EXISTS);
    store_rollback(world->store);
    world_begin(world);
    EXPECT(world, store_key_get(world->store, 2, &back), STATUS_NOT_FOUND);
    EXPECT(world, store_key_by_hash(world->store, "", &back), STATUS_NOT_FOUND);
    store_rollback(world->store);
}

static void
the_identity_version_only_grows(void **state)
{
    struct world *world = *state;
    int64_t version = -1;
    world_begin(world);
    OK(world, store_identity_version(world->store, &version));
    assert_int_equal(version, 0);
    OK(world, store_identity_bump(world->store, 1));
    OK(world, store_identity_bump(world->store, 7));
    world_commit(world);
    world_begin(world);
    EXPECT(world, store_identity_bump(world->store, 7), STATUS_CONFLICT);
    store_rollback(world->store);
    world_begin(world);
    OK(world, store_identity_bump(world->store, 8));
    store_rollback(world->store); /* and is taken back with the rest */
    OK(world, store_begin_read(world->store));
    OK(world, store_identity_version(world->store, &version));
    assert_int_equal(version, 7);
    store_rollback(world->store);
}

static void
threads_are_recognised_within_their_account(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct thread_row row = a_thread(3, 1, "mark");
    struct thread_row other_account = a_thread(4, 2, "mark");
    struct thread_row other_kind = a_thread(5, 1, "mark");
    other_kind.kind = THREAD_NAMED;
    struct thread_row back = { 0 };
    world_begin(world);
    OK(world, store_thread_put(store, &row));
    OK(world, store_thread_put(store, &other_account));
    OK(world, store_thread_put(store, &other_kind));
    OK(world, store_thread_find(store, 1, THREAD_CLAUDE_CODE, "mark", &back));
    ASSERT_SAME(text_thread, &back, &row);
    OK(world, store_thread_find(store, 2, THREAD_CLAUDE_CODE, "mark", &back));
    assert_int_equal(back.thread_id, 4);
    OK(world, store_thread_find(store, 1, THREAD_NAMED, "mark", &back));
    assert_int_equal(back.thread_id, 5);
    EXPECT(world, store_thread_find(store, 3, THREAD_NAMED, "mark", &back), STATUS_NOT_FOUND);
    EXPECT(world, store_thread_find(store, 1, THREAD_NAMED, "other", &back), STATUS_NOT_FOUND);

    row.last_input = 99;
    OK(world, store_thread_put(store, &row));
    OK(world, store_thread_get(store, 3, &back));
    ASSERT_SAME(text_thread, &back, &row);
    world_commit(world);

    struct thread_row twice = a_thread(6, 1, "mark");
    world_begin(world);
    REFUSED(world, store_thread_put(store, &twice), STATUS_EXISTS);
    store_rollback(store);
    world_begin(world);
    OK(world, store_thread_get(store, 3, &back));
    OK(world, store_thread_put(store, &row));
    OK(world, store_thread_find(store, 1, THREAD_CLAUDE_CODE, "mark", &back));
    assert_int_equal(back.version, 3);
    world_commit(world);
    struct thread_row changed[] = { row, row, row }; /* what it is never changes */
    changed[0].account_id = 9;
    changed[1].kind = THREAD_NAMED;
    (void)snprintf(changed[2].sig_hash, sizeof(changed[2].sig_hash), "%s", "else");
    for (size_t i = 0; i < countof(changed); i++) {
        world_begin(world);
        OK(world, store_thread_get(store, 3, &back));
        REFUSED(world, store_thread_put(store, &changed[i]), STATUS_CONFLICT);
        store_rollback(store);
    }
}

static void
a_subject_exists_once(void **state)
{
    static const struct subject_row rows[] = {
        { 1, 0, SUBJECT_GATEWAY, "" },
        { 2, 7, SUBJECT_ACCOUNT, "" },
        { 3, 7, SUBJECT_KEY, "12" },
        { 4, 7, SUBJECT_TREE, "12" },
        { 5, 8, SUBJECT_TREE, "12" },
        { 6, 0, SUBJECT_MODEL, "glm-5.2" },
    };
    struct world *world = *state;
    struct subject_row back = { 0 };
    world_begin(world);
    for (size_t i = 0; i < countof(rows); i++) {
        const struct subject_row *row = &rows[i];
        EXPECT(world,
            store_subject_find(world->store, row->kind, row->account_id, row->name, &back),
            STATUS_NOT_FOUND);
        struct subject_row stored = *row;
        OK(world, store_subject_put(world->store, &stored));
        assert_int_equal(stored.version, 1);
    }
    for (size_t i = 0; i < countof(rows); i++) {
        const struct subject_row *row = &rows[i];
        OK(world, store_subject_find(world->store, row->kind, row->account_id, row->name, &back));
        assert_int_equal(back.subject_id, row->subject_id);
        assert_int_equal(back.kind, row->kind);
        assert_string_equal(back.name, row->name);
        back = (struct subject_row){ 0 };
        OK(world, store_subject_get(world->store, row->subject_id, &back));
        assert_int_equal(back.account_id, row->account_id);
        assert_string_equal(back.name, row->name);
    }
    EXPECT(world, store_subject_get(world->store, 99, &back), STATUS_NOT_FOUND);
    world_commit(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct subject_row twice = rows[i];
        twice.subject_id = 100;
        world_begin(world);
        REFUSED(world, store_subject_put(world->store, &twice), STATUS_EXISTS);
        store_rollback(world->store);
        struct subject_row same_id = { rows[i].subject_id, 99, SUBJECT_ACCOUNT, "" };
        world_begin(world);
        REFUSED(world, store_subject_put(world->store, &same_id), STATUS_EXISTS);
        store_rollback(world->store);
    }
}

static void
caps_set_for_a_subject_are_kept_by_version(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct subject_row row = a_subject(1, 7);
    struct subject_row back = { 0 };
    world_begin(world);
    OK(world, store_subject_put(store, &row));
    OK(world, store_subject_find(store, SUBJECT_ACCOUNT, 7, "", &back));
    ASSERT_SAME(text_subject, &back, &row);

    row.set_count = 1;
    row.sets[0].amount = 12;
    OK(world, store_subject_put(store, &row));
    assert_int_equal(row.version, 2);
    OK(world, store_subject_find(store, SUBJECT_ACCOUNT, 7, "", &back));
    ASSERT_SAME(text_subject, &back, &row);
    world_commit(world);

    row.account_id = 8; /* whose it is never changes */
    world_begin(world);
    OK(world, store_subject_find(store, SUBJECT_ACCOUNT, 7, "", &back));
    REFUSED(world, store_subject_put(store, &row), STATUS_CONFLICT);
    store_rollback(store);
    row.account_id = 7;

    row.version = 1; /* as somebody saw it before */
    world_begin(world);
    REFUSED(world, store_subject_put(store, &row), STATUS_CONFLICT);
    store_rollback(store);
    row.version = 2;
    row.set_count = 0;
    world_begin(world);
    OK(world, store_subject_put(store, &row));
    world_commit(world);
    OK(world, store_begin_read(store));
    OK(world, store_subject_find(store, SUBJECT_ACCOUNT, 7, "", &back));
    assert_int_equal(back.set_count, 0);
    store_rollback(store);
}

/* --- Meters and holds. */

static void
meters_come_back_whole(void **state)
{
    struct world *world = *state;
    struct meter_row row = a_meter_row(4);
    struct meter_row back = { 0 };
    world_begin(world);
    EXPECT(world, store_meter_get(world->store, 4, &back), STATUS_NOT_FOUND);
    put_a_subject(world, 4);
    OK(world, store_meter_put(world->store, &row));
    row.meter_count = METERS_MAX;
    for (int32_t i = 0; i < METERS_MAX; i++) {
        row.meters[i] = (struct meter){ i + 1, WALL_MS_MAX - i, -MONEY_MICROS_MAX, MONEY_MICROS_MAX,
            MONEY_MICROS_MAX, INT64_MIN };
    }
    OK(world, store_meter_put(world->store, &row));
    world_commit(world);
    OK(world, store_begin_read(world->store));
    OK(world, store_meter_get(world->store, 4, &back));
    store_rollback(world->store);
    assert_int_equal(back.version, 2);
    assert_int_equal(back.meter_count, METERS_MAX);
    assert_memory_equal(back.meters, row.meters, sizeof(row.meters));
    assert_int_equal(back.seen_ms, row.seen_ms);
    row.meter_count = 0; /* all windows over */
    world_begin(world);
    OK(world, store_meter_get(world->store, 4, &back));
    OK(world, store_meter_put(world->store, &row));
    OK(world, store_meter_get(world->store, 4, &back));
    assert_int_equal(back.meter_count, 0);
    world_commit(world);
}

static void
th_22_to_26_what_is_reported_is_kept_an_account_at_a_time(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    const struct need theirs = { .kind = NEED_REPORTED, .id = 8 };
    struct reported_row row = a_reported_row(7);
    struct reported_row company = a_reported_row(0);
    struct reported_row back = { 0 };
    union need_row read;
    world_begin(world); /* TH-22: nothing was told of it yet */
    EXPECT(world, store_reported_get(store, 7, &back), STATUS_NOT_FOUND);
    OK(world, store_reported_put(store, &row));
    OK(world, store_reported_put(store, &company));
    world_commit(world);

    world_begin(world); /* TH-23: it comes back as it was written, with when it was told */
    OK(world, store_reported_get(store, 7, &back));
    ASSERT_SAME(text_reported, &back, &row);
    assert_int_equal(back.windows[0].captured_ms, NOW_MS);
    row.windows[0].used_milli_pct = 99999; /* TH-24: the second takes the place of the first */
    row.window_count = 1;
    OK(world, store_reported_put(store, &row));
    world_commit(world);

    struct store_reader *reader = world_reader(world);
    const struct need mine = { .kind = NEED_REPORTED, .id = 7 };
    OK(world, store_read_row(reader, &mine, &read));
    ASSERT_SAME(text_reported, &read.reported, &row);
    assert_int_equal(read.reported.version, 2);
    EXPECT(world, store_read_row(reader, &theirs, &read), STATUS_NOT_FOUND); /* TH-25 */
    world_reader_close(world);

    world_begin(world); /* another's version is a conflict, and TH-26: nothing is left of it */
    back.version = 1;
    REFUSED(world, store_reported_put(store, &back), STATUS_CONFLICT);
    store_rollback(store);
    row.window_count = 0;
    world_begin(world);
    OK(world, store_reported_put(store, &row));
    world_commit(world);
    OK(world, store_begin_read(store));
    OK(world, store_reported_get(store, 7, &back));
    assert_int_equal(back.window_count, 0);
    OK(world, store_reported_get(store, 0, &back));
    assert_int_equal(back.window_count, 2);
    store_rollback(store);
}

static void
a_hold_lives_from_insert_to_delete(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct hold_row row = a_hold(5, &world->node);
    struct hold_row back = { 0 };
    world_begin(world);
    EXPECT(world, store_hold_get(store, 5, &back), STATUS_NOT_FOUND);
    OK(world, store_hold_insert(store, &row));
    OK(world, store_hold_get(store, 5, &back));
    ASSERT_SAME(text_hold, &back, &row);
    world_commit(world);

    world_begin(world);
    OK(world, store_hold_get(store, 5, &back));
    row.held_micros = row.bound_micros = 40;
    row.part_count = 0;
    row.attempt_count = 1;
    row.attempts[0].state = ATTEMPT_DONE;
    row.on_abort = ON_ABORT_BILLS_ALL;
    row.payer = PAYER_COMPANY;
    row.est_input = 2;
    row.inputs = SLICE("{\"grown\":1}");
    struct hold_row other = row; /* who it belongs to cannot be changed */
    other.account_id = 999;
    other.epoch = 77;
    other.created_ms = 1;
    OK(world, store_hold_update(store, &other));
    OK(world, store_hold_get(store, 5, &back));
    ASSERT_SAME(text_hold, &back, &row);
    world_commit(world);

    world_begin(world);
    REFUSED(world, store_hold_insert(store, &row), STATUS_EXISTS);
    store_rollback(store);
    world_begin(world);
    OK(world, store_hold_get(store, 5, &back));
    OK(world, store_hold_delete(store, 5));
    EXPECT(world, store_hold_get(store, 5, &back), STATUS_NOT_FOUND);
    world_commit(world);
    world_begin(world);
    EXPECT(world, store_hold_get(store, 5, &back), STATUS_NOT_FOUND);
    REFUSED(world, store_hold_delete(store, 5), STATUS_NOT_FOUND);
    store_rollback(store);
    world_begin(world);
    EXPECT(world, store_hold_get(store, 5, &back), STATUS_NOT_FOUND);
    REFUSED(world, store_hold_update(store, &row), STATUS_NOT_FOUND);
    store_rollback(store);
}

static void
inputs_of_any_size_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 4096, 300000 };
    struct world *world = *state;
    char *text = malloc(sizes[countof(sizes) - 1]);
    assert_non_null(text);
    memset(text, 'x', sizes[countof(sizes) - 1]);
    world_begin(world);
    for (size_t i = 0; i < countof(sizes); i++) {
        struct hold_row row = a_hold((int64_t)i + 1, &world->node);
        struct hold_row back = { 0 };
        row.inputs = slice_of(sizes[i] > 0 ? text : NULL, sizes[i]);
        OK(world, store_hold_insert(world->store, &row));
        OK(world, store_hold_get(world->store, row.hold_id, &back));
        assert_true(slice_eq(back.inputs, row.inputs));
    }
    world_commit(world);
    free(text);
}

static void
orphans_are_the_holds_of_other_lives(void **state)
{
    static const struct {
        int64_t hold_id, node_ahead, epoch_behind;
        bool orphan;
    } rows[] = {
        { 10, 0, 0, false },
        { 11, 0, 1, true },
        { 12, 1, 0, true },
        { 13, 0, 0, false },
        { 14, 0, 1, true },
    };
    struct world *world = *state;
    struct store *store = world->store;
    struct node_row later;
    unsigned char signal_key[32];
    OK(world, store_node_start(store, NOW_MS, "", &later, signal_key)); /* epoch 2 */
    world->node = later;
    world_begin(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct hold_row row = a_hold(rows[i].hold_id, &world->node);
        row.node_id = world->node.node_id + rows[i].node_ahead;
        row.epoch = world->node.epoch - rows[i].epoch_behind;
        OK(world, store_hold_insert(store, &row));
    }
    world_commit(world);
    world_begin(world);
    int64_t after = 0;
    struct hold_row back = { 0 };
    for (size_t i = 0; i < countof(rows); i++) {
        if (rows[i].orphan) {
            OK(world, store_hold_orphan(store, after, &back));
            assert_int_equal(back.hold_id, rows[i].hold_id);
            assert_true(slice_eq(back.inputs, SLICE("{\"cap\":100,\"name\":\"\xc3\xa9\"}")));
            after = back.hold_id;
        }
    }
    EXPECT(world, store_hold_orphan(store, after, &back), STATUS_NOT_FOUND);
    OK(world, store_hold_get(store, 11, &back));
    OK(world, store_hold_delete(store, 11)); /* booked: gone from the scan */
    OK(world, store_hold_orphan(store, 0, &back));
    assert_int_equal(back.hold_id, 12);
    world_commit(world);
}

/* --- Refusals, issued ids, limits. */

static bool
take_refusal(void *user, const struct refusal_row *row)
{
    struct buf *out = user;
    buf_addf(out, "%lld@%lld x%lld %s %lld;", (long long)row->account_id,
        (long long)(row->minute_ms - NOW_MS), (long long)row->count, row->model,
        (long long)row->ledger_id);
    return true;
}

static void
refusals_are_counted_by_the_minute(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct refusal_row first = a_refusal(2, NOW_MS);
    struct refusal_row later = a_refusal(2, NOW_MS + MINUTE_MS);
    struct refusal_row other = a_refusal(1, NOW_MS + MINUTE_MS);
    struct refusal_row unknown = { .minute_ms = NOW_MS, .count = 5, .reason = REASON_KEY_INVALID };
    world_begin(world);
    OK(world, store_refusal_add(store, &later));
    OK(world, store_refusal_add(store, &first));
    OK(world, store_refusal_add(store, &other));
    OK(world, store_refusal_add(store, &unknown));
    world_commit(world);
    struct refusal_row another = first; /* alike, of another limit's subject: it has its own row */
    another.ledger_id = 1234;
    first.count = 41;
    world_begin(world);
    OK(world, store_refusal_add(store, &first));
    OK(world, store_refusal_add(store, &another));
    world_commit(world);
    world_begin(world);
    OK(world, store_refusal_add(store, &first));
    store_rollback(store);

    static const struct {
        int64_t account_id, since_ms;
        const char *want;
    } rows[] = {
        { 0, 0, "0@0 x5  0;2@0 x42 glm-5.2 99;2@0 x1 glm-5.2 1234;1@60000 x1 glm-5.2 99;2@60000 x1 glm-5.2 99;" },
        { 2, 0, "2@0 x42 glm-5.2 99;2@0 x1 glm-5.2 1234;2@60000 x1 glm-5.2 99;" },
        { 0, NOW_MS + 1, "1@60000 x1 glm-5.2 99;2@60000 x1 glm-5.2 99;" },
        { 1, NOW_MS + MINUTE_MS, "1@60000 x1 glm-5.2 99;" },
        { 3, 0, "" },
    };
    struct store_reader *reader = world_reader(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        OK(world,
            store_read_refusals(reader, rows[i].account_id, rows[i].since_ms, take_refusal, &out));
        assert_string_equal(buf_cstr(&out), rows[i].want);
        buf_free(&out);
    }
    world_reader_close(world);
}

static void
an_issued_id_stays_with_who_had_it_first(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct issued_row row = an_issued(1, NOW_MS);
    struct issued_row second = an_issued(1, NOW_MS + 5);
    struct issued_row back = { 0 };
    second.account_id = 666;
    world_begin(world);
    EXPECT(world, store_issued_get(store, row.id_hash, &back), STATUS_NOT_FOUND);
    OK(world, store_issued_put(store, &row));
    OK(world, store_issued_put(store, &second));
    OK(world, store_issued_get(store, row.id_hash, &back));
    assert_int_equal(back.account_id, row.account_id);
    assert_int_equal(back.at_ms, row.at_ms);
    assert_string_equal(back.provider, row.provider);
    world_commit(world);
}

static void
issued_ids_are_swept_by_age_in_short_batches(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct issued_row back = { 0 };
    world_begin(world);
    for (int i = 0; i < STORE_SWEEP_ROWS + 10; i++) {
        const struct issued_row row = an_issued(i, NOW_MS + i);
        OK(world, store_issued_put(store, &row));
    }
    world_commit(world);
    const int last = STORE_SWEEP_ROWS + 9;
    world_begin(world);
    OK(world, store_issued_sweep(store, NOW_MS + last)); /* all but the last are old enough */
    EXPECT(world, store_issued_get(store, an_issued(STORE_SWEEP_ROWS - 1, 0).id_hash, &back),
        STATUS_NOT_FOUND);
    OK(world, store_issued_get(store, an_issued(STORE_SWEEP_ROWS, 0).id_hash, &back));
    OK(world, store_issued_sweep(store, NOW_MS + last));
    EXPECT(world, store_issued_get(store, an_issued(last - 1, 0).id_hash, &back), STATUS_NOT_FOUND);
    OK(world, store_issued_get(store, an_issued(last, 0).id_hash, &back)); /* not before it */
    world_commit(world);
}

static void
a_receipt_is_given_once(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    const struct receipt_row row = a_receipt(1, NOW_MS);
    struct receipt_row other = a_receipt(1, NOW_MS + 5);
    struct receipt_row back = { 0 };
    struct node_row before = world->node;
    (void)snprintf(other.answer, sizeof(other.answer), "another");
    world_begin(world);
    EXPECT(world, store_receipt_get(store, row.name, &back), STATUS_NOT_FOUND);
    OK(world, store_receipt_add(store, &row));
    world_commit(world);
    world_begin(world); /* on a shared store it is told at the end */
    const enum status added = store_receipt_add(store, &other);
    const enum status committed = added == STATUS_OK ? store_commit(store) : added;
    assert_true(committed == STATUS_EXISTS || committed == STATUS_CONFLICT);
    store_rollback(store);
    world->node = before;
    OK(world, store_begin_read(store));
    OK(world, store_receipt_get(store, row.name, &back));
    store_rollback(store);
    assert_string_equal(back.asked, row.asked);
    assert_string_equal(back.answer, row.answer);
    assert_int_equal(back.status, row.status);
    assert_int_equal(back.at_ms, row.at_ms);
}

static void
receipts_are_swept_by_age(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct receipt_row back = { 0 };
    world_begin(world);
    for (int i = 0; i < 10; i++) {
        const struct receipt_row row = a_receipt(i, NOW_MS + i);
        OK(world, store_receipt_add(store, &row));
    }
    world_commit(world);
    world_begin(world);
    OK(world, store_receipt_sweep(store, NOW_MS + 4));
    EXPECT(world, store_receipt_get(store, a_receipt(3, 0).name, &back), STATUS_NOT_FOUND);
    OK(world, store_receipt_get(store, a_receipt(4, 0).name, &back)); /* not before it */
    world_commit(world);
}

/* --- Events and messages. */

static bool
take_id(void *user, const struct ledger_row *row)
{
    buf_addf(user, "%lld ", (long long)row->id);
    return true;
}

static void
events_are_read_newest_first_among_all_rows(void **state)
{
    struct world *world = *state;
    world_begin(world);
    for (int64_t id = 1; id <= 9; id++) { /* 2, 5 and 8 warn, 3 and 9 are of shadows */
        struct ledger_row row = a_ledger_row(id);
        row.kind = id % 3 == 2 ? LEDGER_WARN : id % 6 == 3 ? LEDGER_SHADOW : LEDGER_REFUSAL;
        row.account_id = id < 6 ? 11 : 12;
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    static const struct {
        struct event_filter filter;
        const char *want;
    } rows[] = {
        { { 0 }, "9 8 5 3 2 " },
        { { .limit = 2 }, "9 8 " },
        { { .before_id = 8, .limit = 2 }, "5 3 " },
        { { .after_id = 3 }, "9 8 5 " },
        { { .account_id = 11 }, "5 3 2 " },
        { { .account_id = 12, .before_id = 9, .after_id = 7 }, "8 " },
        { { .account_id = 13 }, "" },
        { { .oldest_first = true, .limit = 3 }, "2 3 5 " },
        { { .oldest_first = true, .after_id = 3, .before_id = 9, .account_id = 11 }, "5 " },
    };
    struct store_reader *reader = world_reader(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        OK(world, store_read_events(reader, &rows[i].filter, take_id, &out));
        assert_string_equal(buf_cstr(&out), rows[i].want);
        buf_free(&out);
    }
    world_reader_close(world);
}

/* Numbers of gateways grow side by side: what one writes of another's call may be numbered below it. */
static void
a_call_is_found_whoever_wrote_of_it(void **state)
{
    struct world *world = *state;
    static const struct {
        int64_t id, hold_id;
    } written[] = { { 3, 50 }, { 4, 51 }, { 7, 50 }, { 50, 0 }, { 52, 50 }, { 53, 51 } };
    static const struct {
        struct ledger_filter filter;
        const char *want;
    } rows[] = {
        { { .kind = -1, .id = 50 }, "52 50 7 3 " },
        { { .kind = -1, .id = 50, .limit = 3 }, "52 50 7 " },
        { { .kind = -1, .id = 50, .limit = 2 }, "52 50 " },
        { { .kind = -1, .id = 50, .before_id = 7 }, "3 " },
        { { .kind = -1, .id = 51 }, "53 4 " },
        { { .kind = -1, .id = 7 }, "7 " },
        { { .kind = LEDGER_ADJUST, .id = 50 }, "" },
    };
    world_begin(world);
    for (size_t i = 0; i < countof(written); i++) {
        struct ledger_row row = a_ledger_row(written[i].id);
        row.hold_id = written[i].hold_id;
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    struct store_reader *reader = world_reader(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = { 0 };
        OK(world, store_read_ledger(reader, &rows[i].filter, take_id, &out));
        assert_string_equal(buf_cstr(&out), rows[i].want);
        buf_free(&out);
    }
    world_reader_close(world);
}

static bool
take_message(void *user, const struct outbox_row *row)
{
    buf_addf(user, "%lld@%lld x%lld %s;", (long long)row->id, (long long)(row->next_ms - NOW_MS),
        (long long)row->attempts, row->last_error);
    return true;
}

static void
read_messages(struct world *world, const char *hook, int32_t limit, const char *want)
{
    struct buf out = { 0 };
    struct store_reader *reader = world_reader(world);
    OK(world, store_read_outbox(reader, hook, limit, take_message, &out));
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
    world_reader_close(world);
}

static void
messages_wait_until_they_are_delivered(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct outbox_row first = an_outbox_row(1, "ops", NOW_MS);
    const struct outbox_row second = an_outbox_row(2, "ops", NOW_MS + 1);
    const struct outbox_row other = an_outbox_row(3, "pager", NOW_MS);
    world_begin(world);
    OK(world, store_outbox_add(store, &first));
    OK(world, store_outbox_add(store, &second));
    OK(world, store_outbox_add(store, &other));
    world_commit(world);
    read_messages(world, "", 100, "1@0 x0 ;3@0 x0 ;2@1 x0 ;");
    read_messages(world, "ops", 1, "1@0 x0 ;");
    read_messages(world, "nobody", 1, "");
    first.next_ms = NOW_MS + 1000;
    first.attempts = 1;
    memcpy(first.last_error, "it said 500", sizeof "it said 500");
    world_begin(world);
    OK(world, store_outbox_tried(store, &first));
    OK(world, store_outbox_delete(store, 3));
    world_commit(world);
    read_messages(world, "", 100, "2@1 x0 ;1@1000 x1 it said 500;");
    world_begin(world);
    OK(world, store_outbox_delete(store, 1));
    store_rollback(store);
    read_messages(world, "ops", 100, "2@1 x0 ;1@1000 x1 it said 500;");
    world_begin(world); /* of one that somebody else has delivered there is nothing to note */
    OK(world, store_outbox_delete(store, 3));
    first.id = 3;
    OK(world, store_outbox_tried(store, &first));
    world_commit(world);
    read_messages(world, "pager", 100, "");
}

static void
a_limit_has_a_row_for_each_name_it_had(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct limit_def_row back;
    const struct limit_def_row day = a_limit_def(2, "day");
    const struct limit_def_row month = a_limit_def(1, "month");
    struct limit_def_row was = a_limit_def(2, "day");
    struct limit_def_row renamed = a_limit_def(4, "a-day");
    struct limit_def_row other = a_limit_def(3, "day"); /* the name again, for something else */
    was.until_ms = NOW_MS + 1;
    renamed.limit_id = renamed.set_id = 2;
    world_begin(world);
    EXPECT(world, store_limit_def_at(store, 0, &back), STATUS_NOT_FOUND);
    OK(world, store_limit_def_put(store, &day));
    OK(world, store_limit_def_put(store, &month));
    OK(world, store_limit_def_at(store, 0, &back));
    assert_string_equal(back.name, "month");
    OK(world, store_limit_def_at(store, 1, &back));
    assert_string_equal(back.name, "day");
    EXPECT(world, store_limit_def_at(store, 2, &back), STATUS_NOT_FOUND);
    world_commit(world);
    world_begin(world);
    OK(world, store_limit_def_at(store, 0, &back));
    OK(world, store_limit_def_put(store, &was));
    OK(world, store_limit_def_put(store, &renamed)); /* usage follows the number */
    other.nth = 2;
    OK(world, store_limit_def_put(store, &other));
    OK(world, store_limit_def_at(store, 1, &back));
    assert_int_equal(back.until_ms, NOW_MS + 1);
    OK(world, store_limit_def_at(store, 2, &back));
    assert_int_equal(back.nth, 2);
    OK(world, store_limit_def_at(store, 3, &back));
    assert_string_equal(back.name, "a-day");
    assert_int_equal(back.limit_id, 2);
    EXPECT(world, store_limit_def_at(store, 4, &back), STATUS_NOT_FOUND);
    world_commit(world);
}

/* --- Transactions and the node. */

static void
a_rollback_leaves_nothing(void **state)
{
    struct world *world = *state;
    world_begin(world);
    put_one_of_each(world, 100);
    world_commit(world);
    struct buf before = world_text(world);

    world_begin(world);
    struct meter_row stored_meters;
    struct hold_row stored_hold;
    struct limit_def_row stored_limit; /* locks are taken in one order: limits, meters, holds */
    OK(world, store_limit_def_at(world->store, 0, &stored_limit));
    OK(world, store_meter_get(world->store, 103, &stored_meters));
    OK(world, store_hold_get(world->store, 104, &stored_hold));
    put_one_of_each(world, 200);
    struct account_row account;
    struct meter_row meters;
    struct hold_row hold;
    struct refusal_row refusal = a_refusal(100, NOW_MS);
    OK(world, store_account_get(world->store, 100, &account));
    account.state = ACCOUNT_BANNED;
    (void)snprintf(account.name, sizeof(account.name), "%s", "elsewhere");
    OK(world, store_account_put(world->store, &account));
    OK(world, store_account_put(world->store, &account)); /* twice in one transaction */
    OK(world, store_meter_get(world->store, 103, &meters));
    meters.meter_count = 0;
    OK(world, store_meter_put(world->store, &meters));
    OK(world, store_hold_get(world->store, 104, &hold));
    hold.held_micros = 0;
    OK(world, store_hold_update(world->store, &hold));
    OK(world, store_hold_delete(world->store, 104));
    OK(world, store_hold_insert(world->store, &hold));
    OK(world, store_hold_delete(world->store, 204)); /* one of this very transaction */
    OK(world, store_refusal_add(world->store, &refusal));
    OK(world, store_issued_sweep(world->store, NOW_MS + 1));
    OK(world, store_receipt_sweep(world->store, NOW_MS + 1));
    const struct limit_def_row renamed = a_limit_def(106, "renamed");
    OK(world, store_limit_def_put(world->store, &renamed));
    store_rollback(world->store);

    struct buf after = world_text(world);
    assert_string_equal(buf_cstr(&after), buf_cstr(&before));
    struct issued_row issued;
    OK(world, store_begin_read(world->store));
    OK(world, store_issued_get(world->store, an_issued(100, 0).id_hash, &issued));
    struct receipt_row receipt;
    OK(world, store_receipt_get(world->store, a_receipt(100, 0).name, &receipt));
    OK(world, store_account_by_name(world->store, "name-100", &account));
    EXPECT(world, store_account_by_name(world->store, "elsewhere", &account), STATUS_NOT_FOUND);
    store_rollback(world->store);
    world_begin(world);
    put_one_of_each(world, 200); /* and what was taken back can be put */
    world_commit(world);
    buf_free(&before);
    buf_free(&after);
}

static bool
keep_node(void *user, const struct node_row *row)
{
    *(struct node_row *)user = *row;
    return true;
}

static void
an_older_epoch_is_fenced(void **state)
{
    struct world *world = *state;
    struct node_row newer;
    unsigned char key[32];
    const struct node_row older = world->node;
    OK(world, store_node_start(world->store, NOW_MS, HASH, &newer, key));
    assert_int_equal(newer.epoch, older.epoch + 1);
    assert_memory_equal(key, world->signal_key, sizeof(key)); /* made once */
    expect_fenced(world, &older);
    world->node = newer;
    world_begin(world); /* no transaction was left open */
    world_commit(world);
    struct node_row stranger = newer;
    stranger.node_id = 77;
    expect_fenced(world, &stranger);
}

static void
a_node_goes_on_where_it_was(void **state)
{
    struct world *world = *state;
    struct node_row again;
    unsigned char key[32];
    world->node.batch_no = 41;
    world->node.high_water_ms = NOW_MS + HOUR_MS;
    world_begin(world);
    world_commit(world);
    world->node.batch_no = 98;
    world->node.high_water_ms = NOW_MS + 2 * HOUR_MS;
    world_begin(world);
    store_rollback(world->store); /* a batch that failed leaves no mark */
    OK(world, store_node_start(world->store, NOW_MS, HASH, &again, key));
    assert_int_equal(again.batch_no, 42);
    assert_int_equal(again.high_water_ms, NOW_MS + HOUR_MS); /* though the clock has stepped back */
    assert_string_equal(again.config_hash, HASH);
    OK(world, store_node_start(world->store, NOW_MS + DAY_MS, "", &again, key));
    assert_int_equal(again.high_water_ms, NOW_MS + DAY_MS);
    assert_string_equal(again.config_hash, "");
}

static void
a_node_says_what_it_decides_by(void **state)
{
    static const char other[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct world *world = *state;
    struct node_row node = { 0 };
    struct store_reader *reader = world_reader(world);
    world_begin(world);
    OK(world, store_node_config(world->store, &world->node, other));
    store_rollback(world->store);
    OK(world, store_read_nodes(reader, keep_node, &node));
    assert_string_equal(node.config_hash, HASH);
    world_begin(world);
    OK(world, store_node_config(world->store, &world->node, other));
    world_commit(world);
    OK(world, store_read_nodes(reader, keep_node, &node));
    assert_string_equal(node.config_hash, other);
}

static void
a_row_that_breaks_a_rule_is_refused(void **state)
{
    struct world *world = *state;
    struct store *store = world->store;
    struct account_row account = an_account(1, " acme");
    struct key_row key = a_key(2, 0);
    struct thread_row thread = a_thread(3, 1, "");
    struct subject_row subject = a_subject(4, 0);
    struct refusal_row refusal = a_refusal(1, -1);
    struct issued_row issued = an_issued(1, -1);
    const struct receipt_row receipt = a_receipt(1, -1);
    struct outbox_row message = an_outbox_row(0, "ops", NOW_MS);
    struct limit_def_row limit = a_limit_def(0, "x");
    world_begin(world);
    EXPECT(world, store_account_put(store, &account), STATUS_INVALID);
    assert_non_null(strstr(store_last_error(store), "account 1"));
    EXPECT(world, store_key_put(store, &key), STATUS_INVALID);
    EXPECT(world, store_thread_put(store, &thread), STATUS_INVALID);
    EXPECT(world, store_subject_put(store, &subject), STATUS_INVALID);
    EXPECT(world, store_refusal_add(store, &refusal), STATUS_INVALID);
    EXPECT(world, store_issued_put(store, &issued), STATUS_INVALID);
    EXPECT(world, store_receipt_add(store, &receipt), STATUS_INVALID);
    EXPECT(world, store_outbox_add(store, &message), STATUS_INVALID);
    EXPECT(world, store_limit_def_put(store, &limit), STATUS_INVALID);
    store_rollback(store);
}

static const struct CMUnitTest tests[] = {
    ALL("accounts are kept by id and by name", accounts_are_kept_by_id_and_by_name),
    ALL("an account name is taken once", an_account_name_is_taken_once),
    ALL("a version that is not the stored one is a conflict",
        a_version_that_is_not_the_stored_one_is_a_conflict),
    ALL("keys are found by their hash", keys_are_found_by_their_hash),
    ALL("the identity version only grows", the_identity_version_only_grows),
    ALL(
        "threads are recognised within their account", threads_are_recognised_within_their_account),
    ALL("a subject exists once", a_subject_exists_once),
    ALL("what is needed together is told in order", what_is_needed_together_is_told_in_order),
    ALL("caps set for a subject are kept by version", caps_set_for_a_subject_are_kept_by_version),
    ALL("meters come back whole", meters_come_back_whole),
    ALL("TH-22 TH-23 TH-24 TH-25 TH-26 what is reported is kept an account at a time",
        th_22_to_26_what_is_reported_is_kept_an_account_at_a_time),
    ALL("a hold lives from insert to delete", a_hold_lives_from_insert_to_delete),
    ALL("inputs of any size come back", inputs_of_any_size_come_back),
    ALL("orphans are the holds of other lives", orphans_are_the_holds_of_other_lives),
    ALL("refusals are counted by the minute", refusals_are_counted_by_the_minute),
    ALL("an issued id stays with who had it first", an_issued_id_stays_with_who_had_it_first),
    ALL("issued ids are swept by age in short batches",
        issued_ids_are_swept_by_age_in_short_batches),
    ALL("a receipt is given once", a_receipt_is_given_once),
    ALL("receipts are swept by age", receipts_are_swept_by_age),
    ALL("events are read newest first among all rows", events_are_read_newest_first_among_all_rows),
    ALL("a call is found whoever wrote of it", a_call_is_found_whoever_wrote_of_it),
    ALL("messages wait until they are delivered", messages_wait_until_they_are_delivered),
    ALL("a limit keeps its number or its name", a_limit_has_a_row_for_each_name_it_had),
    ALL("a rollback leaves nothing", a_rollback_leaves_nothing),
    ALL("an older epoch is fenced", an_older_epoch_is_fenced),
    ALL("a node says what it decides by, once that is committed", a_node_says_what_it_decides_by),
    BOTH("a node goes on where it was", a_node_goes_on_where_it_was),
    ALL("a row that breaks a rule is refused", a_row_that_breaks_a_rule_is_refused),
};
UNIT_MAIN(tests)
