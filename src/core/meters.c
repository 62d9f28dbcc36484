/* core/meters.c: meters inside their subject's row, and limits bound to them. */
#include "core/core_priv.h"

struct meter *
meter_find(struct meter_row *row, int64_t limit_id, int64_t window_ms)
{
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == limit_id && row->meters[i].window_ms == window_ms) {
            return &row->meters[i];
        }
    }
    return NULL;
}

struct meter *
meter_find_only(struct meter_row *row, int64_t limit_id)
{
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == limit_id) {
            return &row->meters[i];
        }
    }
    return NULL;
}

static bool
meter_idle(const struct meter *meter)
{
    return meter->held == 0 && meter->bound == 0;
}

/* A calendar meter of an older window that no open hold belongs to; the ledger remembers it. */
static void
drop_closed_windows(struct meter_row *row, int64_t limit_id, int64_t window_ms)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        const bool over =
            meter->limit_id == limit_id && meter->window_ms < window_ms && meter_idle(meter);
        if (!over) {
            row->meters[kept++] = *meter;
        }
    }
    row->meter_count = kept;
}

/* Nothing reads it any more: its window is over, or its limit is gone, and no open hold belongs to
 * it. */
static bool
meter_is_over(const struct core *core, const struct meter_row *row, const struct meter *meter)
{
    if (!meter_idle(meter)) {
        return false;
    }
    const struct limit *limit = policy_limit_by_id(core->policy, meter->limit_id);
    if (!limit) {
        return true;
    }
    const int64_t now_ms = max_i64(core->now_ms, row->seen_ms);
    return limit_is_calendar(limit) && meter->window_ms < limit_window(limit, now_ms).start_ms;
}

bool
meters_have_room(const struct core *core, const struct meter_row *row, int32_t more)
{
    int32_t stay = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        stay += !meter_is_over(core, row, &row->meters[i]);
    }
    return stay + more <= METERS_MAX || row->meter_count + more <= METERS_MAX;
}

static void
drop_all_over(const struct core *core, struct meter_row *row)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (!meter_is_over(core, row, &row->meters[i])) {
            row->meters[kept++] = row->meters[i];
        }
    }
    row->meter_count = kept;
}

struct meter *
meter_make(const struct core *core, struct meter_row *row, int64_t limit_id, int64_t window_ms)
{
    drop_closed_windows(row, limit_id, window_ms);
    if (row->meter_count == METERS_MAX) {
        drop_all_over(core, row);
    }
    if (row->meter_count == METERS_MAX) {
        return NULL;
    }
    struct meter *meter = &row->meters[row->meter_count++];
    *meter = (struct meter){ .limit_id = limit_id, .window_ms = window_ms };
    return meter;
}

void
meter_promise(struct meter *meter, int64_t held_change, int64_t bound_change)
{
    meter->held = max_i64(0, money_add(meter->held, held_change));
    meter->bound = max_i64(meter->held, money_add(meter->bound, bound_change));
}

void
meter_resolve(
    struct core *core, const struct hold_part *part, const struct limit *limit, int64_t spent)
{
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    if (!slot || slot->slot.state == SLOT_ABSENT) {
        return; /* the store lost it; check --store finds the difference */
    }
    struct meter *meter = meter_find(&slot->row, part->limit_id, part->window_ms);
    if (!meter) {
        return;
    }
    meter_promise(meter, -part->held, -part->bound);
    meter->settled = money_add(meter->settled, spent);
    slot->row.seen_ms = max_i64(slot->row.seen_ms, core->now_ms);
    slot->slot.dirty = true;
    if (limit && core_window(core, limit, slot->row.seen_ms).start_ms > meter->window_ms) {
        drop_closed_windows(&slot->row, part->limit_id, meter->window_ms + 1);
    }
}

bool
limit_applies(const struct limit *limit, const struct model *model,
    const struct account_row *account, int64_t *cap)
{
    if (limit->of_model && strcmp(limit->of_model, model->name) != 0) {
        return false;
    }
    if (limit->of_tier >= 0 && limit->of_tier != (int32_t)model->tier) {
        return false;
    }
    *cap = limit->window == WINDOW_BUCKET ? limit->burst : policy_cap(limit, account->plan);
    return *cap != CAP_UNLIMITED;
}

void
applied_subject(const struct limit *limit, const struct caller *caller, struct applied *applied)
{
    int64_t number = 0;
    applied->subject_account = caller->account_id;
    switch (limit->per) {
    case PER_GATEWAY:
        applied->subject_kind = SUBJECT_GATEWAY;
        applied->subject_account = 0;
        break;
    case PER_ACCOUNT: applied->subject_kind = SUBJECT_ACCOUNT; break;
    case PER_KEY:
        applied->subject_kind = SUBJECT_KEY;
        applied->subject_account = caller->key_account_id;
        number = caller->key_id;
        break;
    case PER_THREAD_TREE:
        applied->subject_kind = SUBJECT_TREE;
        number = caller->root_id;
        break;
    default: check(!"conf/ lets no other subject through");
    }
    applied->subject_name[0] = '\0';
    if (number) {
        applied->subject_name[i64_text(number, applied->subject_name)] = '\0';
    }
}

/* Position of a limit among the checks: tree, then account periods, then the rest. */
static int
limit_rank(const struct limit *limit)
{
    if (limit->counts == COUNT_COST && limit->per == PER_THREAD_TREE) {
        return 0;
    }
    return limit->counts == COUNT_COST && limit->per == PER_ACCOUNT ? 1 : 2;
}

static void
applied_read_meter(struct core *core, struct applied *applied)
{
    const struct subject_slot *subject = work_subject(
        core->work, applied->subject_kind, applied->subject_account, applied->subject_name);
    if (!subject || subject->slot.state == SLOT_ABSENT) {
        return;
    }
    applied->subject_id = subject->row.subject_id;
    applied->slot = work_meter(core->work, applied->subject_id);
    if (!applied->slot || applied->slot->slot.state == SLOT_ABSENT) {
        return;
    }
    /* Time never goes back for a meter: a clock that stepped back stays in the window it was in. */
    const int64_t now_ms = max_i64(core->now_ms, applied->slot->row.seen_ms);
    if (now_ms != core->now_ms) {
        applied->window = core_window(core, applied->limit, now_ms);
    }
    const bool bucket = applied->limit->window == WINDOW_BUCKET;
    const struct meter *meter =
        bucket
            ? meter_find_only(&applied->slot->row, applied->limit->limit_id)
            : meter_find(&applied->slot->row, applied->limit->limit_id, applied->window.start_ms);
    if (meter) {
        applied->metered = true;
        applied->now = *meter;
        if (bucket) {
            applied->now.settled = bucket_level(applied->limit, meter, now_ms);
        }
    }
}

void
applied_collect(struct core *core, const struct policy *policy, const struct model *model,
    const struct account_row *account, const struct caller *caller, struct applied_set *set)
{
    set->count = 0;
    set->has_cost = false;
    for (int rank = 0; rank < 3; rank++) {
        for (int32_t i = 0; i < policy->limit_count && set->count < LIMITS_MAX; i++) {
            const struct limit *limit = &policy->limits[i];
            int64_t cap = 0;
            if (limit_rank(limit) != rank || !limit_applies(limit, model, account, &cap)) {
                continue;
            }
            struct applied *applied = &set->items[set->count++];
            *applied = (struct applied){ .limit = limit, .cap = cap };
            applied->window = core_window(core, limit, core->now_ms);
            applied_subject(limit, caller, applied);
            applied_read_meter(core, applied);
            set->has_cost |= limit->counts == COUNT_COST;
        }
    }
}
