/* core/meters.c: meters inside their subject's row.
 *
 * A calendar window and a lifetime have one meter, found by when the window began; one from first use has
 * the meter that was made when it began; a bucket has one for ever. A rolling window has several, in the
 * order of their window_ms: each stands for what was charged after the one before it, up to its own
 * window_ms, and counts until that is older than the window. So the sum is never less than what is truly
 * younger than the window, and exact as long as no two charges had to share a meter. */
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

/* The first of a limit's meters that reaches up to that time or beyond. */
static struct meter *
meter_reaching(struct meter_row *row, int64_t limit_id, int64_t at_ms)
{
    struct meter *found = NULL;
    for (int32_t i = 0; i < row->meter_count; i++) {
        struct meter *meter = &row->meters[i];
        if (meter->limit_id == limit_id && meter->window_ms >= at_ms
            && (!found || meter->window_ms < found->window_ms)) {
            found = meter;
        }
    }
    return found;
}

struct meter *
meter_of_part(struct meter_row *row, const struct hold_part *part)
{
    switch (part->window) {
    case WINDOW_BUCKET: return meter_find_only(row, part->limit_id);
    case WINDOW_ROLLING: return meter_reaching(row, part->limit_id, part->window_ms);
    default: return meter_find(row, part->limit_id, part->window_ms);
    }
}

static bool
meter_idle(const struct meter *meter)
{
    return meter->held == 0 && meter->bound == 0;
}

/* Whether the window that this meter stands for is over. */
static bool
window_is_over(const struct limit *limit, const struct meter *meter, int64_t now_ms)
{
    switch (limit->window) {
    case WINDOW_DAY:
    case WINDOW_WEEK:
    case WINDOW_MONTH: return meter->window_ms < limit_window(limit, now_ms).start_ms;
    case WINDOW_ROLLING:
    case WINDOW_FIRST_USE: return meter->window_ms <= now_ms - limit->span_ms;
    default: return false;
    }
}

/* Nothing reads it any more: its window is over, or its limit is gone, and no open hold belongs to
 * it. The ledger remembers it. */
static bool
meter_is_over(const struct core *core, const struct meter_row *row, const struct meter *meter)
{
    if (!meter_idle(meter)) {
        return false;
    }
    const struct limit *limit = policy_limit_by_id(core->policy, meter->limit_id);
    return !limit || window_is_over(limit, meter, max_i64(core->now_ms, row->seen_ms));
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

/* Of one limit, or with NULL of all, also of those that are configured no more. */
static void
drop_over(const struct core *core, struct meter_row *row, const struct limit *limit, int64_t now_ms)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        const bool over = !limit ? meter_is_over(core, row, meter)
                                 : meter->limit_id == limit->limit_id && meter_idle(meter)
                                       && window_is_over(limit, meter, now_ms);
        if (!over) {
            row->meters[kept++] = *meter;
        }
    }
    row->meter_count = kept;
}

static struct meter *
meter_make(const struct core *core, const struct limit *limit, struct meter_row *row,
    int64_t window_ms, int64_t now_ms)
{
    drop_over(core, row, limit, now_ms);
    if (row->meter_count == METERS_MAX) {
        drop_over(core, row, NULL, now_ms);
    }
    if (row->meter_count == METERS_MAX) {
        return NULL;
    }
    struct meter *meter = &row->meters[row->meter_count++];
    *meter = (struct meter){ .limit_id = limit->limit_id, .window_ms = window_ms };
    return meter;
}

/* --- Rolling windows. */

/* The meter before `meter` of the same limit; NULL for the first. */
static struct meter *
meter_before(struct meter_row *row, const struct meter *meter)
{
    struct meter *before = NULL;
    for (int32_t i = 0; i < row->meter_count; i++) {
        struct meter *other = &row->meters[i];
        if (other->limit_id == meter->limit_id && other->window_ms < meter->window_ms
            && (!before || other->window_ms > before->window_ms)) {
            before = other;
        }
    }
    return before;
}

/* The last of a limit's meters; NULL where there is none. */
static struct meter *
meter_newest(struct meter_row *row, int64_t limit_id)
{
    struct meter *newest = NULL;
    for (int32_t i = 0; i < row->meter_count; i++) {
        struct meter *meter = &row->meters[i];
        if (meter->limit_id == limit_id && (!newest || meter->window_ms > newest->window_ms)) {
            newest = meter;
        }
    }
    return newest;
}

static int32_t
count_meters(const struct meter_row *row, int64_t limit_id)
{
    int32_t count = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        count += row->meters[i].limit_id == limit_id;
    }
    return count;
}

static bool
meter_empty(const struct meter *meter)
{
    return meter_idle(meter) && meter->settled == 0;
}

/* What the sum of the window says too much of, and for how long, once `before` counts at the time of `meter`:
 * nothing where it is empty, or where both are over. */
static int64_t
merge_loss(const struct limit *limit, const struct meter *before, const struct meter *meter,
    int64_t now_ms)
{
    const bool lossless = meter_empty(before) || window_is_over(limit, meter, now_ms);
    return lossless ? 0 : meter->window_ms - before->window_ms;
}

/* At the time of the later they may say too much, never too little: so a credit, which a correction left, is never
 * put off. */
static bool
merges(const struct limit *limit, const struct meter *before, const struct meter *meter,
    int64_t now_ms)
{
    return before && before->settled >= 0
           && window_is_over(limit, before, now_ms) == window_is_over(limit, meter, now_ms);
}

/* Two neighbours become one: those by which least is lost, and never one whose window is over with one whose is
 * not. */
static void
merge_closest(const struct limit *limit, struct meter_row *row, int64_t now_ms)
{
    struct meter *into = NULL;
    struct meter *from = NULL;
    int64_t least_ms = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        struct meter *meter = &row->meters[i];
        struct meter *before = meter->limit_id == limit->limit_id ? meter_before(row, meter) : NULL;
        const bool may = merges(limit, before, meter, now_ms);
        const int64_t loss_ms = may ? merge_loss(limit, before, meter, now_ms) : 0;
        if (may && (!into || loss_ms < least_ms)) {
            into = meter;
            from = before;
            least_ms = loss_ms;
        }
    }
    if (!into) {
        return;
    }
    into->settled = money_add(into->settled, from->settled);
    into->held = money_add(into->held, from->held);
    into->bound = money_add(into->bound, from->bound);
    into->aux = max_i64(into->aux, from->aux);
    *from = row->meters[--row->meter_count];
}

static struct meter *
rolling_to_charge(
    const struct core *core, const struct limit *limit, struct meter_row *row, int64_t now_ms)
{
    struct meter *meter = meter_reaching(row, limit->limit_id, now_ms);
    if (meter) {
        return meter;
    }
    drop_over(core, row, limit, now_ms);
    struct meter *newest = meter_newest(row, limit->limit_id);
    if (newest && meter_empty(newest)) { /* all of it was given back */
        newest->window_ms = now_ms;
        return newest;
    }
    /* One more while calls of a window that is over are in flight: they share a meter, and take none of those
     * that are told apart. */
    const struct meter *oldest = meter_reaching(row, limit->limit_id, INT64_MIN);
    const bool over = oldest && window_is_over(limit, oldest, now_ms);
    if (count_meters(row, limit->limit_id) >= ROLLING_METERS_MAX + over) {
        merge_closest(limit, row, now_ms);
    }
    return meter_make(core, limit, row, now_ms, now_ms);
}

int64_t
rolling_wait_ms(const struct limit *limit, const struct meter_row *row, int64_t cap, int64_t ask,
    int64_t now_ms)
{
    if (ask > cap) {
        return 0;
    }
    int64_t wait_ms = limit->span_ms;
    for (int32_t i = 0; i < row->meter_count; i++) { /* once this one is over, what stays? */
        const struct meter *last = &row->meters[i];
        if (last->limit_id != limit->limit_id || window_is_over(limit, last, now_ms)) {
            continue;
        }
        int64_t stays = 0;
        for (int32_t k = 0; k < row->meter_count; k++) {
            const struct meter *meter = &row->meters[k];
            if (meter->limit_id == limit->limit_id && meter->window_ms > last->window_ms) {
                stays = money_add(stays, money_add(meter->settled, meter->held));
            }
        }
        if (money_add(stays, ask) <= cap) {
            wait_ms = min_i64(wait_ms, last->window_ms + limit->span_ms - now_ms);
        }
    }
    return max_i64(1, wait_ms);
}

/* --- What they say. */

static void
stand_on(struct standing *standing, const struct meter *meter)
{
    if (meter) {
        standing->metered = true;
        standing->now = *meter;
    }
}

static void
stand_rolling(
    const struct limit *limit, struct meter_row *row, int64_t now_ms, struct standing *standing)
{
    standing->window.start_ms = now_ms;
    for (int32_t i = 0; row && i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        if (meter->limit_id != limit->limit_id || window_is_over(limit, meter, now_ms)) {
            continue;
        }
        standing->now.settled = money_add(standing->now.settled, meter->settled);
        standing->now.held = money_add(standing->now.held, meter->held);
        standing->now.bound = money_add(standing->now.bound, meter->bound);
        standing->now.aux = max_i64(standing->now.aux, meter->aux);
    }
    standing->metered = row && meter_reaching(row, limit->limit_id, now_ms);
}

static struct meter *
first_use_meter(const struct limit *limit, struct meter_row *row, int64_t now_ms)
{
    return row ? meter_reaching(row, limit->limit_id, now_ms - limit->span_ms + 1) : NULL;
}

static void
stand_first_use(
    const struct limit *limit, struct meter_row *row, int64_t now_ms, struct standing *standing)
{
    const struct meter *meter = first_use_meter(limit, row, now_ms);
    const int64_t start_ms = meter ? meter->window_ms : now_ms;
    standing->window = (struct window){ start_ms, start_ms + limit->span_ms };
    stand_on(standing, meter);
}

void
meters_stand(struct core *core, const struct limit *limit, struct meter_row *row, int64_t now_ms,
    struct standing *standing)
{
    *standing = (struct standing){ .now.limit_id = limit->limit_id };
    switch (limit->window) {
    case WINDOW_ROLLING: stand_rolling(limit, row, now_ms, standing); return;
    case WINDOW_FIRST_USE: stand_first_use(limit, row, now_ms, standing); return;
    case WINDOW_BUCKET:
        stand_on(standing, row ? meter_find_only(row, limit->limit_id) : NULL);
        standing->now.settled = bucket_level(limit, &standing->now, now_ms);
        return;
    default:
        standing->window = core_window(core, limit, now_ms);
        stand_on(
            standing, row ? meter_find(row, limit->limit_id, standing->window.start_ms) : NULL);
        return;
    }
}

struct meter *
meter_to_charge(struct core *core, const struct limit *limit, struct meter_row *row, int64_t now_ms)
{
    int64_t window_ms = 0;
    struct meter *meter = NULL;
    switch (limit->window) {
    case WINDOW_ROLLING: return rolling_to_charge(core, limit, row, now_ms);
    case WINDOW_BUCKET: meter = meter_find_only(row, limit->limit_id); break;
    case WINDOW_FIRST_USE:
        meter = first_use_meter(limit, row, now_ms);
        window_ms = now_ms;
        break;
    default:
        window_ms = core_window(core, limit, now_ms).start_ms;
        meter = meter_find(row, limit->limit_id, window_ms);
        break;
    }
    return meter ? meter : meter_make(core, limit, row, window_ms, now_ms);
}

void
meter_promise(struct meter *meter, int64_t held_change, int64_t bound_change)
{
    meter->held = max_i64(0, money_add(meter->held, held_change));
    meter->bound = max_i64(meter->held, money_add(meter->bound, bound_change));
}

/* In a rolling window the meter of a part that held nothing may be gone, and the next one found in its place: what
 * is older than the window does not count there. */
bool
part_still_counts(const struct limit *limit, const struct hold_part *part, int64_t now_ms)
{
    const bool rolls = limit && limit->window == WINDOW_ROLLING;
    return !rolls || part->window_ms > now_ms - limit->span_ms;
}

void
meter_resolve(
    struct core *core, const struct hold_part *part, const struct limit *limit, int64_t spent)
{
    struct meter_slot *slot = work_meter(core->work, part->subject_id);
    if (!slot || slot->slot.state == SLOT_ABSENT) {
        return; /* the store lost it; check --store finds the difference */
    }
    struct meter *meter = meter_of_part(&slot->row, part);
    if (!meter) {
        return;
    }
    meter_promise(meter, -part->held, -part->bound);
    if (part_still_counts(limit, part, max_i64(core->now_ms, slot->row.seen_ms))) {
        meter->settled = money_add(meter->settled, spent);
    }
    slot->row.seen_ms = max_i64(slot->row.seen_ms, core->now_ms);
    slot->slot.dirty = true;
    warn_check(core, part, limit, meter);
    if (limit && window_is_over(limit, meter, slot->row.seen_ms)) {
        drop_over(core, &slot->row, limit, slot->row.seen_ms);
    }
}
