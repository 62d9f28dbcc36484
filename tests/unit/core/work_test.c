/* tests/unit/core/work_test.c
 *
 * Goal: the working set finds a row by each of its names, makes one slot of one row, and says when memory
 * ran out instead of losing a row. */
#include "unit.h"

#include <string.h>

#include "core/work.h"

static void
one_row_has_one_slot(void **state)
{
    struct arena arena = { 0 };
    struct work work;
    work_start(&work, &arena);
    const struct account_row row = { .account_id = 5, .name = "ann" };
    const struct need by_id = { .kind = NEED_ACCOUNT, .id = 5 };
    const struct need by_name = { .kind = NEED_ACCOUNT_NAME, .text = "ann" };
    struct account_slot *slot = work_load(&work, &by_id, &row);
    assert_ptr_equal(work_load(&work, &by_name, &row), slot);
    slot->row.state = ACCOUNT_BANNED;
    assert_ptr_equal(work_account(&work, 5), slot);
    assert_int_equal(work_account_name(&work, "ann")->row.state, ACCOUNT_BANNED);
    assert_null(work_account(&work, 6));
    assert_null(work_account_name(&work, "Ann"));
    assert_null(work_key(&work, 5));
    assert_false(work_has_writes(&work));
    work_end(&work);
    arena_free(&arena);
}

/* Stores tell a subject's meters with it, and a settlement in the same batch may have changed them. */
static void
a_meter_row_that_is_told_again_changes_nothing(void **state)
{
    struct arena arena = { 0 };
    struct work work;
    work_start(&work, &arena);
    const struct meter_row stored = { .subject_id = 4, .meter_count = 1, .meters = { { .limit_id = 1, .held = 150 } } };
    const struct need need = { .kind = NEED_METER, .id = 4 };
    struct meter_slot *slot = work_load(&work, &need, &stored);
    slot->row.meters[0].held = 0;
    slot->slot.dirty = true;
    assert_ptr_equal(work_load(&work, &need, &stored), slot);
    assert_ptr_equal(work_meter(&work, 4), slot);
    assert_int_equal(work_meter(&work, 4)->row.meters[0].held, 0);
    work_end(&work);
    arena_free(&arena);
}

static void
a_new_row_takes_the_place_of_the_absent_one(void **state)
{
    struct arena arena = { 0 };
    struct work work;
    work_start(&work, &arena);
    const struct need need = { .kind = NEED_THREAD_SIG, .id = 7, .sub_kind = THREAD_NAMED, .text = "abc" };
    const struct thread_slot *absent = work_load(&work, &need, NULL);
    assert_int_equal(absent->slot.state, SLOT_ABSENT);
    const struct thread_row row = { .thread_id = 9, .account_id = 7, .kind = THREAD_NAMED, .sig_hash = "abc" };
    assert_ptr_equal(work_new_thread(&work, &row), absent);
    assert_ptr_equal(work_thread(&work, 9), absent);
    assert_int_equal(absent->slot.state, SLOT_NEW);
    assert_true(work_has_writes(&work));
    assert_null(work_thread_sig(&work, 7, THREAD_CLAUDE_CODE, "abc"));
    assert_null(work_thread_sig(&work, 8, THREAD_NAMED, "abc"));
    work_end(&work);
    arena_free(&arena);
}

static void
many_names(void **state)
{
    struct arena arena = { 0 };
    struct work work;
    work_start(&work, &arena);
    for (int64_t id = 1; id <= 5000; id++) {
        const struct need need = { .kind = NEED_METER, .id = id };
        const struct meter_row row = { .subject_id = id };
        assert_non_null(work_load(&work, &need, id % 2 ? &row : NULL));
    }
    for (int64_t id = 1; id <= 5000; id++) {
        const struct meter_slot *slot = work_meter(&work, id);
        assert_int_equal(slot->slot.state, id % 2 ? SLOT_STORED : SLOT_ABSENT);
        assert_int_equal(slot->row.subject_id, id % 2 ? id : 0);
    }
    work_end(&work);
    arena_free(&arena);
}

static void
memory_that_runs_out_is_said(void **state)
{
    for (size_t limit_bytes = 16; limit_bytes < 16384; limit_bytes += 16) {
        struct arena arena = { .limit_bytes = limit_bytes };
        struct work work;
        work_start(&work, &arena);
        const struct need need = { .kind = NEED_ACCOUNT_NAME, .text = "ann" };
        const struct account_row row = { .account_id = 5, .name = "ann" };
        work_load(&work, &need, &row);
        (void)work_add_ledger(&work);
        (void)work_add_refusal(&work);
        const bool kept = work_keep(&work, SLICE("some inputs")).len > 0;
        if (!work.failed) {
            assert_true(kept);
            assert_non_null(work_account(&work, 5));
            assert_non_null(work_account_name(&work, "ann"));
            assert_non_null(work.ledger_first);
            assert_non_null(work.refusal_first);
        }
        assert_true(!work.failed || limit_bytes < 12288);
        work_end(&work);
        arena_free(&arena);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("one row has one slot under all its names", one_row_has_one_slot),
    CASE("a meter row that is told again changes nothing", a_meter_row_that_is_told_again_changes_nothing),
    CASE("a new row takes the place of the absent one", a_new_row_takes_the_place_of_the_absent_one),
    CASE("thousands of names", many_names),
    CASE("memory that runs out is said, whichever allocation it is", memory_that_runs_out_is_said),
};
UNIT_MAIN(tests)
