/* tests/unit/store/reader_test.c
 *
 * Goal: the reader door shows what was committed, filtered and in its order, on both engines.
 * Method: a few rows, and a table of questions. */
#include "world.h"

#include <stdio.h>

/* --- Ledger. */

struct ids {
    int64_t ids[300];
    int count, stop_at;
};

static bool
take_id(void *user, const struct ledger_row *row)
{
    struct ids *ids = user;
    assert_true(ids->count < (int)countof(ids->ids));
    ids->ids[ids->count++] = row->id;
    return ids->count != ids->stop_at;
}

static void
put_ledger_of_five(struct world *world)
{
    world_begin(world);
    for (int64_t id = 1; id <= 5; id++) {
        struct ledger_row row = a_ledger_row(id * 10);
        row.account_id = id <= 3 ? 1 : 2;
        row.key_id = 100 + id % 2;
        row.thread_id = id == 5 ? 0 : 7;
        row.kind = id == 2 ? LEDGER_REFUSAL : LEDGER_SETTLE;
        row.hold_id = id == 4 ? 10 : id * 10 - 1;
        row.at_ms = NOW_MS + id;
        (void)snprintf(row.model, sizeof(row.model), "%s", id == 3 ? "glm-5.2" : "opus");
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
}

static void
the_ledger_is_filtered_newest_first(void **state)
{
    static const struct {
        struct ledger_filter filter;
        int64_t ids[6]; /* 0 ends */
    } rows[] = {
        { { .kind = -1 }, { 50, 40, 30, 20, 10 } },
        { { .kind = -1, .account_id = 1 }, { 30, 20, 10 } },
        { { .kind = -1, .account_id = 3 }, { 0 } },
        { { .kind = -1, .key_id = 101 }, { 50, 30, 10 } },
        { { .kind = -1, .thread_id = 7 }, { 40, 30, 20, 10 } },
        { { .kind = LEDGER_REFUSAL }, { 20 } },
        { { .kind = LEDGER_SETTLE }, { 50, 40, 30, 10 } },
        { { .kind = -1, .model = "glm-5.2" }, { 30 } },
        { { .kind = -1, .model = "GLM-5.2" }, { 0 } },
        { { .kind = -1, .since_ms = NOW_MS + 3 }, { 50, 40, 30 } }, /* at it or later */
        { { .kind = -1, .until_ms = NOW_MS + 3 }, { 20, 10 } },     /* before it */
        { { .kind = -1, .since_ms = NOW_MS + 2, .until_ms = NOW_MS + 4 }, { 30, 20 } },
        { { .kind = -1, .id = 10 }, { 40, 10 } }, /* the row itself, and of the hold of that id */
        { { .kind = -1, .id = 29 }, { 30 } },
        { { .kind = -1, .id = 28 }, { 0 } },
        { { .kind = -1, .before_id = 30 }, { 20, 10 } },
        { { .kind = -1, .before_id = 10 }, { 0 } },
        { { .kind = -1, .limit = 2 }, { 50, 40 } },
        { { .kind = -1, .limit = 2, .before_id = 40 }, { 30, 20 } }, /* the next page */
        { { .kind = -1, .account_id = 1, .key_id = 101, .limit = 1 }, { 30 } },
    };
    struct world *world = *state;
    put_ledger_of_five(world);
    struct store_reader *reader = world_reader(world);
    for (size_t i = 0; i < countof(rows); i++) {
        struct ids ids = { 0 };
        OK(world, store_read_ledger(reader, &rows[i].filter, take_id, &ids));
        int want_count = 0;
        while (rows[i].ids[want_count] != 0) {
            want_count++;
        }
        if (ids.count != want_count
            || memcmp(ids.ids, rows[i].ids, (size_t)want_count * sizeof(ids.ids[0])) != 0) {
            fail_msg("filter %zu: %d rows", i, ids.count);
        }
    }
    struct ids ids = { .stop_at = 3 };
    const struct ledger_filter all = { .kind = -1 };
    OK(world, store_read_ledger(reader, &all, take_id, &ids));
    assert_int_equal(ids.count, 3); /* the callback has enough */
    world_reader_close(world);
}

static void
the_ledger_only_grows(void **state)
{
    struct world *world = *state;
    struct ledger_row row = a_ledger_row(10);
    world_begin(world);
    OK(world, store_ledger_add(world->store, &row));
    world_commit(world);
    row.cost_micros = 1;
    world_begin(world);
    EXPECT(world, store_ledger_add(world->store, &row), STATUS_EXISTS);
    store_rollback(world->store);
    struct buf text = world_text(world);
    assert_true(slice_find(buf_slice(&text), SLICE(" cost_micros=70 ")) >= 0);
    buf_free(&text);
}

static void
a_page_has_a_hundred_rows_unless_told(void **state)
{
    struct world *world = *state;
    world_begin(world);
    for (int64_t id = 1; id <= 150; id++) {
        struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    struct store_reader *reader = world_reader(world);
    struct ids ids = { 0 };
    const struct ledger_filter filter = { .kind = -1 };
    OK(world, store_read_ledger(reader, &filter, take_id, &ids));
    assert_int_equal(ids.count, 100);
    assert_int_equal(ids.ids[99], 51);
    world_reader_close(world);
}

/* --- The reader door. */

static bool
count_accounts(void *user, const struct account_row *row)
{
    (void)row;
    ++*(int *)user;
    return true;
}

static void
readers_see_committed_rows_only(void **state)
{
    struct world *world = *state;
    struct store_reader *reader = world_reader(world);
    struct account_row account = an_account(1, "acme");
    int count = 0;
    world_begin(world);
    OK(world, store_account_put(world->store, &account));
    const enum status amid = store_read_accounts(reader, count_accounts, &count);
    assert_int_equal(
        amid, world->disk ? STATUS_OK : STATUS_BUSY); /* in memory it would wait for itself */
    assert_int_equal(count, 0);
    world_commit(world);
    OK(world, store_read_accounts(reader, count_accounts, &count));
    assert_int_equal(count, 1);
    world_reader_close(world);
}

static bool
take_key_id(void *user, const struct key_row *row)
{
    buf_addf(user, "%lld ", (long long)row->key_id);
    return true;
}

static bool
take_subject(void *user, const struct subject_row *subject, const struct meter_row *meters)
{
    buf_addf(user, "%lld/%lld ", (long long)subject->subject_id, (long long)meters->meter_count);
    return true;
}

static bool
take_limit_def(void *user, const struct limit_def_row *row)
{
    buf_addf(user, "%s/%lld ", row->name, (long long)row->nth);
    return true;
}

static bool
take_hold_id(void *user, const struct hold_row *row)
{
    buf_addf(user, "%lld ", (long long)row->hold_id);
    return ((struct buf *)user)->len < 6;
}

static bool
take_subject_row(void *user, const struct subject_row *row)
{
    buf_addf(user, "%lld/%d ", (long long)row->subject_id, row->set_count);
    return true;
}

static bool
take_thread_id(void *user, const struct thread_row *row)
{
    buf_addf(user, "%lld ", (long long)row->thread_id);
    return true;
}

static void
readers_list_what_belongs_to_an_account(void **state)
{
    struct world *world = *state;
    struct buf out = { 0 };
    world_begin(world);
    put_one_of_each(world, 100);
    put_one_of_each(world, 200);
    struct subject_row unmetered = { 301, 0, SUBJECT_MODEL, "glm-5.2" };
    OK(world, store_subject_put(world->store, &unmetered));
    world_commit(world);
    struct store_reader *reader = world_reader(world);
    OK(world, store_read_keys(reader, 0, take_key_id, &out));
    OK(world, store_read_keys(reader, 200, take_key_id, &out));
    OK(world, store_read_keys(reader, 300, take_key_id, &out));
    OK(world, store_read_meters(reader, 0, take_subject, &out));
    OK(world, store_read_meters(reader, 100, take_subject, &out));
    assert_string_equal(buf_cstr(&out), "101 201 201 103/2 203/2 103/2 ");
    buf_clear(&out);
    const struct subject_filter own = { .account_id = 100 };
    const struct subject_filter nobodys = { 0 };
    const struct subject_filter capped = { .with_caps = true, .kind = SUBJECT_ACCOUNT };
    const struct subject_filter models = { .with_caps = true, .kind = SUBJECT_MODEL };
    OK(world, store_read_subjects(reader, &own, take_subject_row, &out));
    OK(world, store_read_subjects(reader, &nobodys, take_subject_row, &out));
    OK(world, store_read_subjects(reader, &capped, take_subject_row, &out));
    OK(world, store_read_subjects(reader, &models, take_subject_row, &out));
    assert_string_equal(buf_cstr(&out), "103/3 301/0 103/3 203/3 ");
    buf_clear(&out);
    const struct thread_filter threads[] = { { 0 }, { .account_id = 100 }, { .before_id = 202 },
        { .limit = 1 }, { .account_id = 100, .before_id = 102 } };
    for (size_t i = 0; i < countof(threads); i++) {
        OK(world, store_read_threads(reader, &threads[i], take_thread_id, &out));
        buf_add_char(&out, '|');
    }
    assert_string_equal(buf_cstr(&out), "202 102 |102 |102 |202 ||");
    buf_clear(&out);
    OK(world, store_read_holds(reader, take_hold_id, &out));
    OK(world, store_read_limit_defs(reader, take_limit_def, &out));
    assert_string_equal(buf_cstr(&out), "104 204 name-100/1 name-200/1 ");
    buf_free(&out);
    world_reader_close(world);
}

static const struct CMUnitTest tests[] = {
    BOTH("the ledger is filtered, newest first", the_ledger_is_filtered_newest_first),
    BOTH("the ledger only grows", the_ledger_only_grows),
    BOTH("a page has a hundred rows unless told", a_page_has_a_hundred_rows_unless_told),
    BOTH("readers see committed rows only", readers_see_committed_rows_only),
    BOTH("readers list what belongs to an account", readers_list_what_belongs_to_an_account),
};
UNIT_MAIN(tests)
