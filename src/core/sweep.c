/* core/sweep.c: what goes because nobody came back to it: trees of threads, whole, and subjects of whom no window is
 * open any more. Nothing that could still be decided is changed by the latter; a tree begins anew. */
#include "core/core_priv.h"

static bool
meters_are_idle(const struct meter_row *row, int64_t before_ms)
{
    bool idle = row->seen_ms < before_ms;
    for (int32_t i = 0; i < row->meter_count; i++) {
        idle = idle && row->meters[i].held == 0 && row->meters[i].bound == 0;
    }
    return idle;
}

static void
delete_slot(struct slot *slot)
{
    slot->state = SLOT_DELETED;
    slot->dirty = true;
}

/* --- Trees. */

static bool
threads_are_idle(const struct core *core, const struct idle_tree *tree, int64_t before_ms)
{
    for (int32_t i = 0; i < tree->thread_count; i++) {
        const struct thread_slot *thread = work_thread(core->work, tree->thread_ids[i]);
        if (!thread || thread->slot.state != SLOT_STORED
            || thread->row.account_id != tree->account_id || thread->row.root_id != tree->root_id
            || thread->row.last_ms >= before_ms) {
            return false;
        }
    }
    return tree->thread_count > 0;
}

bool
core_sweep_tree(struct core *core, const struct idle_tree *tree, int64_t before_ms)
{
    char name[NAME_MAX_BYTES + 1];
    name[i64_text(tree->root_id, name)] = '\0';
    struct subject_slot *subject = work_subject(core->work, SUBJECT_TREE, tree->account_id, name);
    const bool counted = subject && subject->slot.state == SLOT_STORED;
    struct meter_slot *meters = counted ? work_meter(core->work, subject->row.subject_id) : NULL;
    const bool metered = meters && meters->slot.state == SLOT_STORED;
    if (!threads_are_idle(core, tree, before_ms) || !subject || (counted && !meters)
        || (metered && !meters_are_idle(&meters->row, before_ms))) {
        return false;
    }
    for (int32_t i = 0; i < tree->thread_count; i++) {
        delete_slot(&work_thread(core->work, tree->thread_ids[i])->slot);
    }
    if (counted) {
        delete_slot(&subject->slot);
    }
    if (metered) {
        delete_slot(&meters->slot);
    }
    return true;
}

/* --- Other subjects. */

static const struct limit_def_row *
def_of(const struct limit_defs *defs, int64_t limit_id)
{
    for (size_t i = 0; i < defs->count; i++) {
        if (defs->rows[i].limit_id == limit_id) {
            return &defs->rows[i];
        }
    }
    return NULL;
}

/* By its definition, so that this holds for limits that are configured no more, too, and come back one day. Windows
 * of the calendar are as long as one can be, in any zone. */
static bool
window_is_past(const struct core *core, const struct limit_def_row *def, const struct meter *meter,
    int64_t now_ms)
{
    const struct limit *limit = policy_limit_by_id(core->policy, meter->limit_id);
    switch ((enum window_kind)def->window) {
    case WINDOW_DAY: return meter->window_ms <= now_ms - 2 * DAY_MS;
    case WINDOW_WEEK: return meter->window_ms <= now_ms - 8 * DAY_MS;
    case WINDOW_MONTH: return meter->window_ms <= now_ms - 32 * DAY_MS;
    case WINDOW_ROLLING:
    case WINDOW_FIRST_USE: return meter->window_ms <= now_ms - def->span_ms;
    case WINDOW_BUCKET:
        return limit ? bucket_level(limit, meter, now_ms) == 0 : meter->settled == 0;
    case WINDOW_CONCURRENCY: return true; /* nothing is held */
    default: return false;
    }
}

static bool
sets_are_over(const struct core *core, const struct subject_row *row)
{
    for (int32_t i = 0; i < row->set_count; i++) {
        if (row->sets[i].expires_ms == 0 || core->now_ms < row->sets[i].expires_ms) {
            return false;
        }
    }
    return true;
}

/* A tree's goes with its threads. The caps for everybody and for groups are looked for with each call: a row that
 * is there is kept in memory, one that is not would be asked of the store each time. */
static bool
stays_for_ever(const struct subject_row *subject)
{
    return subject->kind == SUBJECT_TREE || subject->kind == SUBJECT_GATEWAY
           || subject->kind == SUBJECT_GROUP;
}

bool
core_subject_is_over(const struct core *core, const struct limit_defs *defs,
    const struct subject_row *subject, const struct meter_row *meters, int64_t before_ms)
{
    if (stays_for_ever(subject) || !meters_are_idle(meters, before_ms)
        || !sets_are_over(core, subject)) {
        return false;
    }
    for (int32_t i = 0; i < meters->meter_count; i++) {
        const struct limit_def_row *def = def_of(defs, meters->meters[i].limit_id);
        if (!def || !window_is_past(core, def, &meters->meters[i], core->now_ms)) {
            return false;
        }
    }
    return true;
}

bool
core_sweep_subject(struct core *core, const struct limit_defs *defs,
    const struct subject_row *subject, int64_t before_ms)
{
    struct subject_slot *slot =
        work_subject(core->work, subject->kind, subject->account_id, subject->name);
    struct meter_slot *meters = work_meter(core->work, subject->subject_id);
    if (!slot || slot->slot.state != SLOT_STORED || slot->row.subject_id != subject->subject_id
        || !meters || meters->slot.state != SLOT_STORED
        || !core_subject_is_over(core, defs, &slot->row, &meters->row, before_ms)) {
        return false;
    }
    delete_slot(&slot->slot);
    delete_slot(&meters->slot);
    return true;
}
