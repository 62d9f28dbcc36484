/* engine/sweep.c: what nobody came back to goes, between batches: once a day a walk through all threads and then
 * through all meters, a page of each a step, and time for calls between two of them.
 *
 * A step first looks, and promises nothing. What seems idle is then loaded anew in a transaction that writes, as for
 * a decision: of a shared store under the same locks, in the same order. Only what the core finds idle there is
 * deleted. A call that comes for a tree meanwhile finds it whole or not at all. */
#include "engine/engine_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

#define WALK_EVERY_MS   DAY_MS
#define STEP_EVERY_MS   25
#define RETRY_AFTER_MS  (10 * SECOND_MS)
#define TURN_MS         (5 * SECOND_MS) /* after a step: no other gateway sweeps before */
#define PAGE_ROWS       256
#define TREES_A_STEP    32
#define SUBJECTS_A_STEP 64
_Static_assert(TREES_A_STEP <= STORE_TREES_MAX, "asked for at once");

struct member {
    struct member *next;
    int64_t thread_id;
};
struct tree {
    struct thread_row root;
    struct member *members; /* those that were begun under others */
    int32_t member_count;
    int64_t subject_id; /* 0: it has none */
    bool used;
};
/* What a step found. */
struct finds {
    struct engine *engine;
    struct tree *trees;
    int32_t tree_count;
    int32_t asked;           /* how many of the trees' subjects were told */
    struct meter_row meters; /* the last that was read */
    bool metered;
    struct subject_row *subjects;
    int32_t subject_count;
    bool failed; /* no memory */
    bool end;    /* there is nothing behind */
    struct thread_row after_thread;
    int64_t after_subject_id;
};

/* --- Looking. */

static struct tree *
tree_of(struct finds *finds, int64_t root_id)
{
    for (int32_t i = 0; i < finds->tree_count; i++) {
        if (finds->trees[i].root.thread_id == root_id) {
            return &finds->trees[i];
        }
    }
    return NULL;
}

static void
on_member(void *user, const struct tree_member *told)
{
    struct finds *finds = user;
    struct tree *tree = tree_of(finds, told->root_id);
    if (!tree || tree->used) {
        return;
    }
    tree->used = told->last_ms >= finds->engine->sweep.before_ms;
    struct member *member = arena_alloc(&finds->engine->arena, sizeof *member);
    if (!member) {
        finds->failed = true;
        return;
    }
    *member = (struct member){ tree->members, told->thread_id };
    tree->members = member;
    tree->member_count++;
}

static void
on_tree_subject(void *user, const struct need *need, const union need_row *row)
{
    struct finds *finds = user;
    struct tree *tree = &finds->trees[finds->asked++];
    (void)need;
    tree->subject_id = row ? row->subject.subject_id : 0;
}

static struct need
need_of_tree(const struct tree *tree)
{
    struct need need = {
        .kind = NEED_SUBJECT, .sub_kind = SUBJECT_TREE, .id = tree->root.account_id
    };
    need.text[i64_text(tree->root.thread_id, need.text)] = '\0';
    return need;
}

static enum status
look_at_trees(struct finds *finds)
{
    int64_t root_ids[TREES_A_STEP];
    struct need needs[TREES_A_STEP];
    struct store *store = finds->engine->store;
    for (int32_t i = 0; i < finds->tree_count; i++) {
        root_ids[i] = finds->trees[i].root.thread_id;
        needs[i] = need_of_tree(&finds->trees[i]);
    }
    const enum status status =
        store_tree_members(store, root_ids, finds->tree_count, on_member, finds);
    return status == STATUS_OK
               ? store_load(store, needs, (size_t)finds->tree_count, false, on_tree_subject, finds)
               : status;
}

/* Roots of the page that nobody used, as far as they themselves say. */
static void
pick_roots(struct finds *finds, const struct thread_row *page, int32_t page_count)
{
    const int64_t before_ms = finds->engine->sweep.before_ms;
    for (int32_t i = 0; i < page_count && finds->tree_count < TREES_A_STEP; i++) {
        finds->after_thread = page[i];
        if (page[i].thread_id == page[i].root_id && page[i].last_ms < before_ms) {
            finds->trees[finds->tree_count++] = (struct tree){ .root = page[i] };
        }
        finds->end = page_count < PAGE_ROWS && i + 1 == page_count;
    }
    finds->end |= page_count == 0;
}

static enum status
find_trees(struct finds *finds)
{
    struct engine *engine = finds->engine;
    int32_t count = 0;
    struct thread_row *page = arena_alloc(&engine->arena, PAGE_ROWS * sizeof *page);
    finds->trees = arena_alloc(&engine->arena, TREES_A_STEP * sizeof *finds->trees);
    if (!page || !finds->trees) {
        return STATUS_FULL;
    }
    enum status status = store_begin_read(engine->store);
    if (status == STATUS_OK) {
        status = store_threads_after(
            engine->store, &engine->sweep.after_thread, page, PAGE_ROWS, &count);
        if (status == STATUS_OK) {
            pick_roots(finds, page, count);
        }
        if (status == STATUS_OK && finds->tree_count > 0) {
            status = look_at_trees(finds);
        }
        store_rollback(engine->store);
    }
    return status == STATUS_OK && finds->failed ? STATUS_FULL : status;
}

/* Of each subject its meters are told first. */
static void
on_subject(void *user, const struct need *need, const union need_row *row)
{
    struct finds *finds = user;
    const struct engine *engine = finds->engine;
    const struct limit_defs defs = { engine->sweep.defs, engine->sweep.def_count };
    if (need->kind == NEED_METER) {
        finds->metered = row != NULL;
        if (row) {
            finds->meters = row->meter;
        }
    } else if (row && finds->metered
               && core_subject_is_over(
                   &engine->core, &defs, &row->subject, &finds->meters, engine->sweep.before_ms)) {
        finds->subjects[finds->subject_count++] = row->subject;
    }
}

static enum status
look_at_subjects(struct finds *finds, const struct meter_mark *page, int32_t page_count)
{
    struct need needs[2 * SUBJECTS_A_STEP];
    size_t count = 0;
    for (int32_t i = 0; i < page_count && count < countof(needs); i++) {
        finds->after_subject_id = page[i].subject_id;
        if (page[i].seen_ms < finds->engine->sweep.before_ms) {
            needs[count++] = (struct need){ .kind = NEED_METER, .id = page[i].subject_id };
            needs[count++] = (struct need){ .kind = NEED_SUBJECT_ID, .id = page[i].subject_id };
        }
        finds->end = page_count < PAGE_ROWS && i + 1 == page_count;
    }
    finds->end |= page_count == 0;
    return count > 0 ? store_load(finds->engine->store, needs, count, false, on_subject, finds)
                     : STATUS_OK;
}

static enum status
find_subjects(struct finds *finds)
{
    struct engine *engine = finds->engine;
    struct meter_mark page[PAGE_ROWS];
    int32_t count = 0;
    finds->subjects = arena_alloc(&engine->arena, SUBJECTS_A_STEP * sizeof *finds->subjects);
    if (!finds->subjects) {
        return STATUS_FULL;
    }
    enum status status = store_begin_read(engine->store);
    if (status == STATUS_OK) {
        status = store_meters_after(
            engine->store, engine->sweep.after_subject_id, page, PAGE_ROWS, &count);
        if (status == STATUS_OK) {
            status = look_at_subjects(finds, page, count);
        }
        store_rollback(engine->store);
    }
    return status;
}

/* --- Deleting. */

/* The rows of what was found. */
struct row_list {
    struct need *items;
    size_t count;
};

static void
add_row(struct row_list *rows, enum need_kind kind, int64_t id)
{
    rows->items[rows->count++] = (struct need){ .kind = kind, .id = id };
}

static void
add_subject_row(struct row_list *rows, const struct subject_row *row)
{
    struct need *need = &rows->items[rows->count++];
    *need = (struct need){
        .kind = NEED_SUBJECT, .sub_kind = (int32_t)row->kind, .id = row->account_id
    };
    memcpy(need->text, row->name, sizeof need->text);
    add_row(rows, NEED_METER, row->subject_id);
}

static void
add_tree_rows(struct row_list *rows, const struct tree *tree)
{
    add_row(rows, NEED_THREAD, tree->root.thread_id);
    for (const struct member *member = tree->members; member; member = member->next) {
        add_row(rows, NEED_THREAD, member->thread_id);
    }
    rows->items[rows->count++] = need_of_tree(tree);
    if (tree->subject_id) {
        add_row(rows, NEED_METER, tree->subject_id);
    }
}

static bool
list_rows(struct finds *finds, struct row_list *rows)
{
    size_t most = 2 * (size_t)finds->subject_count;
    for (int32_t i = 0; i < finds->tree_count; i++) {
        most += 3 + (size_t)finds->trees[i].member_count;
    }
    *rows = (struct row_list){ .items =
                                   arena_alloc(&finds->engine->arena, most * sizeof(struct need)) };
    for (int32_t i = 0; rows->items && i < finds->tree_count; i++) {
        if (!finds->trees[i].used) {
            add_tree_rows(rows, &finds->trees[i]);
        }
    }
    for (int32_t i = 0; rows->items && i < finds->subject_count; i++) {
        add_subject_row(rows, &finds->subjects[i]);
    }
    return rows->items != NULL;
}

static enum status
load_rows(struct engine *engine, const struct row_list *rows)
{
    if (!engine->exclusive) { /* at once: they are locked in one order */
        const enum status status =
            store_load(engine->store, rows->items, rows->count, true, batch_take_row, engine);
        return status == STATUS_OK && engine->work.failed ? STATUS_FULL : status;
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < rows->count; i++) {
        struct needs needs;
        needs.count = 1;
        needs.overflow = false;
        needs.items[0] = rows->items[i];
        status = batch_load(engine, &needs);
    }
    return status;
}

/* A transaction that writes, with all these rows as they are in it. *taken is false where another gateway is at it,
 * or was when it went. */
static enum status
open_with(struct engine *engine, const struct row_list *rows, bool *taken)
{
    enum status status = batch_open(engine);
    if (status == STATUS_OK && !engine->exclusive) {
        status = store_job_take(engine->store, "threads", engine->core.now_ms + TURN_MS, taken);
    }
    return status == STATUS_OK && *taken ? load_rows(engine, rows) : status;
}

/* A thread that came to its tree after we looked. Whoever brings one holds the lock of its parent. */
static void
on_member_again(void *user, const struct tree_member *told)
{
    struct finds *finds = user;
    struct tree *tree = tree_of(finds, told->root_id);
    if (tree && !work_thread(&finds->engine->work, told->thread_id)) {
        tree->used = true;
    }
}

static enum status
look_again(struct finds *finds)
{
    int64_t root_ids[TREES_A_STEP];
    for (int32_t i = 0; i < finds->tree_count; i++) {
        root_ids[i] = finds->trees[i].root.thread_id;
    }
    return finds->tree_count == 0 ? STATUS_OK
                                  : store_tree_members(finds->engine->store, root_ids,
                                      finds->tree_count, on_member_again, finds);
}

static bool
sweep_tree(struct engine *engine, const struct tree *tree)
{
    const int32_t count = tree->member_count + 1;
    int64_t *ids = arena_alloc(&engine->arena, (size_t)count * sizeof *ids);
    if (!ids) {
        return false;
    }
    const struct idle_tree idle = { tree->root.account_id, tree->root.thread_id, ids, count };
    *ids++ = tree->root.thread_id;
    for (const struct member *member = tree->members; member; member = member->next) {
        *ids++ = member->thread_id;
    }
    return core_sweep_tree(&engine->core, &idle, engine->sweep.before_ms);
}

/* What is idle under its locks, too. */
static void
sweep_finds(const struct finds *finds, int64_t *thread_count, int64_t *subject_count)
{
    struct engine *engine = finds->engine;
    const struct sweep *sweep = &engine->sweep;
    const struct limit_defs defs = { sweep->defs, sweep->def_count };
    for (int32_t i = 0; i < finds->tree_count; i++) {
        const struct tree *tree = &finds->trees[i];
        if (!tree->used && sweep_tree(engine, tree)) {
            *thread_count += tree->member_count + 1;
            *subject_count += tree->subject_id != 0;
        }
    }
    for (int32_t i = 0; i < finds->subject_count; i++) {
        *subject_count +=
            core_sweep_subject(&engine->core, &defs, &finds->subjects[i], sweep->before_ms);
    }
}

static enum status
delete_finds(struct finds *finds, bool *taken)
{
    struct engine *engine = finds->engine;
    struct row_list rows;
    int64_t thread_count = 0;
    int64_t subject_count = 0;
    if (!list_rows(finds, &rows)) {
        return STATUS_FULL;
    }
    enum status status = open_with(engine, &rows, taken);
    if (status == STATUS_OK && *taken) {
        status = look_again(finds);
    }
    if (status == STATUS_OK && *taken) {
        sweep_finds(finds, &thread_count, &subject_count);
    }
    if (status == STATUS_OK) {
        status = batch_end(engine);
    }
    if (status != STATUS_OK) {
        batch_abandon(engine);
        return status;
    }
    engine->sweep.thread_count += thread_count;
    engine->sweep.subject_count += subject_count;
    counter_add(COUNTER_THREADS_SWEPT, thread_count);
    counter_add(COUNTER_SUBJECTS_SWEPT, subject_count);
    return STATUS_OK;
}

static bool
found_any(const struct finds *finds)
{
    bool any = finds->subject_count > 0;
    for (int32_t i = 0; i < finds->tree_count; i++) {
        any = any || !finds->trees[i].used;
    }
    return any;
}

/* --- The walk. */

static int64_t
kept_from_ms(const struct engine *engine)
{
    return engine->core.now_ms - engine->policy->retention_threads_ms - THREAD_TOLD_MS;
}

/* What was not used since has no open hold: those that are made from now on are younger. */
static enum status
judge_before(struct engine *engine)
{
    int64_t oldest_ms = INT64_MAX;
    const enum status status = store_hold_oldest(engine->store, &oldest_ms);
    oldest_ms = status == STATUS_OK ? oldest_ms - THREAD_TOLD_MS : INT64_MAX;
    engine->sweep.before_ms = min_i64(kept_from_ms(engine), oldest_ms);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
begin_walk(struct engine *engine)
{
    struct sweep *sweep = &engine->sweep;
    struct numbers numbers = { 0 };
    batch_frame(engine);
    enum status status = store_begin_read(engine->store);
    if (status == STATUS_OK) {
        status = judge_before(engine);
        if (status == STATUS_OK) {
            status = numbers_read(engine, &numbers);
        }
        store_rollback(engine->store);
    }
    if (status != STATUS_OK) {
        numbers_free(&numbers);
        return status;
    }
    sweep_free(sweep);
    *sweep = (struct sweep){ .walking = true,
        .before_ms = sweep->before_ms,
        .defs = numbers.rows,
        .def_count = numbers.count };
    return STATUS_OK;
}

void
sweep_free(struct sweep *sweep)
{
    free(sweep->defs);
    sweep->defs = NULL;
    sweep->def_count = 0;
}

static void
end_walk(struct sweep *sweep, int64_t mono_ms)
{
    sweep_free(sweep);
    sweep->walking = false;
    sweep->due_mono_ms = mono_ms + WALK_EVERY_MS;
    if (sweep->thread_count > 0 || sweep->subject_count > 0) {
        log_line(LOG_INFO, "retention",
            "%lld threads, and what was counted for %lld subjects, were not used for longer than they are kept",
            (long long)sweep->thread_count, (long long)sweep->subject_count);
    }
}

static enum status
step(struct engine *engine, bool *taken)
{
    struct sweep *sweep = &engine->sweep;
    batch_frame(engine);
    sweep->before_ms = min_i64(sweep->before_ms, kept_from_ms(engine)); /* as configured by now */
    struct finds finds = { .engine = engine,
        .after_thread = sweep->after_thread,
        .after_subject_id = sweep->after_subject_id };
    enum status status = sweep->of_subjects ? find_subjects(&finds) : find_trees(&finds);
    *taken = true;
    if (status == STATUS_OK && found_any(&finds)) {
        status = delete_finds(&finds, taken);
    }
    if (status == STATUS_INVALID && !found_any(&finds)) {
        sweep->walking = false; /* a page cannot be read: what is behind it stays */
    } else if ((status == STATUS_OK && *taken)
               || status == STATUS_INVALID) { /* what makes no sense stays */
        sweep->after_thread = finds.after_thread;
        sweep->after_subject_id = finds.after_subject_id;
        sweep->walking = !(finds.end && sweep->of_subjects);
        sweep->of_subjects |= finds.end;
    }
    return status;
}

int64_t
sweep_sleep_ms(const struct engine *engine, int64_t mono_ms)
{
    const struct sweep *sweep = &engine->sweep;
    if (engine->store_down || engine->closing || engine->policy->retention_threads_ms == 0) {
        return -1;
    }
    return max_i64(0, sweep->due_mono_ms - mono_ms);
}

void
sweep_turn(struct engine *engine, int64_t mono_ms)
{
    struct sweep *sweep = &engine->sweep;
    bool taken = true;
    if (sweep_sleep_ms(engine, mono_ms) != 0) {
        return;
    }
    const bool begins = !sweep->walking;
    enum status status = begins ? begin_walk(engine) : step(engine, &taken);
    sweep->due_mono_ms = mono_ms + (taken ? STEP_EVERY_MS : TURN_MS);
    if (status == STATUS_OK) {
        sweep->conflict_count = 0;
    } else {
        status =
            shared_recover(engine, status); /* CONFLICT: somebody wrote meanwhile, the same again */
        if (status != STATUS_CONFLICT || ++sweep->conflict_count % CONFLICT_RETRIES == 0) {
            sweep->due_mono_ms = mono_ms + RETRY_AFTER_MS;
            log_line(LOG_WARN, "retention", "what nobody uses is deleted later (%s): %s",
                status_name(status), store_last_error(engine->store));
        }
    }
    if (!begins && !sweep->walking) {
        end_walk(sweep, mono_ms);
    }
}
