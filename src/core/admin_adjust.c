/* core/admin_adjust.c: corrections of what was booked. One moves what is settled in every meter that its call
 * counted for, in the window that was charged, and stands on the ledger with who made it: sums over the ledger
 * agree with the meters before and after. */
#include "core/admin_priv.h"

/* Whose meter a part of a settled call is: the row says it, or it was told. False: it cannot be known (yet). */
static bool
part_subject(struct core *core, const struct admin_adjust *adjust, const struct adjust_part *part,
    struct needs *needs, int64_t *subject_id)
{
    const struct limit *limit = policy_limit_by_id(core->policy, part->limit_id);
    *subject_id = part->subject_id;
    if (part->subject_id || !limit) {
        return part->subject_id != 0;
    }
    struct whose whose = { .kind = subject_kind_of(limit->per) };
    switch (whose.kind) {
    case SUBJECT_GATEWAY: break;
    case SUBJECT_ACCOUNT: whose.account_id = adjust->account_id; break;
    case SUBJECT_TREE:
        whose.account_id = adjust->account_id;
        whose_number(&whose, adjust->root_id);
        break;
    case SUBJECT_MODEL: memcpy(whose.name, adjust->model, sizeof whose.name); break;
    case SUBJECT_KEY:
        if (needs) {
            need_id(needs, NEED_KEY, work_key(core->work, adjust->key_id), adjust->key_id);
        }
        if (!whose_key(core->work, adjust->key_id, &whose)) {
            return false;
        }
        break;
    default: return false;
    }
    const struct subject_slot *slot = whose_subject(core, &whose);
    if (needs) {
        need_text(needs, NEED_SUBJECT, (int32_t)whose.kind, slot, whose.account_id, whose.name);
    }
    *subject_id = slot && slot->slot.state != SLOT_ABSENT ? slot->row.subject_id : 0;
    return *subject_id != 0;
}

static bool
part_asked_before(const struct needs *needs, int64_t subject_id)
{
    for (int32_t i = 0; i < needs->count; i++) {
        if (needs->items[i].kind == NEED_METER && needs->items[i].id == subject_id) {
            return true;
        }
    }
    return false;
}

static void
need_meter(struct core *core, int64_t subject_id, struct needs *needs)
{
    if (!part_asked_before(needs, subject_id)) {
        need_id(needs, NEED_METER, work_meter(core->work, subject_id), subject_id);
    }
}

void
need_admin_adjust(struct core *core, const struct admin_event *admin, struct needs *needs)
{
    const struct admin_adjust *adjust = &admin->adjust;
    int64_t subject_id = 0;
    if (!adjust->hold_id) {
        struct whose whose;
        need_admin_cap(core, admin, needs);
        if (whose_find(core, admin, &whose)) {
            subject_id = whose_row(core, &whose).subject_id;
            need_warn_correction(core, whose.account_id, adjust, needs);
        }
        if (subject_id) {
            need_meter(core, subject_id, needs);
        }
        return;
    }
    need_id(needs, NEED_HOLD, work_hold(core->work, adjust->hold_id), adjust->hold_id);
    need_correction(core, adjust, needs);
    for (int32_t i = 0; i < adjust->part_count; i++) {
        if (part_subject(core, adjust, &adjust->parts[i], needs, &subject_id)) {
            need_meter(core, subject_id, needs);
        }
    }
    need_warn_correction(
        core, adjust->account_id, adjust, needs); /* what has no room is asked for next */
}

static void
move_settled(struct core *core, const struct limit *limit, int64_t account_id,
    struct meter_slot *slot, struct meter *meter, int64_t delta)
{
    meter->settled = money_add(meter->settled, delta);
    slot->row.seen_ms = max_i64(slot->row.seen_ms, core->now_ms);
    slot->slot.dirty = true;
    warn_correction(core, limit, account_id, slot, meter);
}

/* What is used in the window that is open now; `slot` may be NULL: nothing. */
static int64_t
used_now(struct core *core, const struct limit *limit, struct meter_slot *slot)
{
    struct meter_row *row = slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
    struct standing standing;
    meters_stand(core, limit, row, max_i64(core->now_ms, row ? row->seen_ms : 0), &standing);
    return standing.now.settled;
}

/* What moved, in the form of a decision's inputs, so that the sums of an audit go the same way; and what is used
 * in its window after that, for who made it. */
static void
tell_moved(struct core *core, const struct limit *limit, struct meter_slot *slot, int64_t window_ms,
    int64_t delta, struct buf *out)
{
    buf_add_str(out, out->len == 0 ? "{\"limit\":" : ",{\"limit\":");
    buf_add_json(out, slice_str(limit->name));
    if (limit->nth > 1) {
        buf_add_number(out, "nth", limit->nth);
    }
    buf_add_number(out, "window", window_ms);
    buf_add_number(out, "subject", slot->row.subject_id);
    buf_add_number(out, "delta", delta);
    buf_add_number(out, "after", used_now(core, limit, slot));
    buf_add_char(out, '}');
}

/* The number of its row; 0: there is no memory. */
static int64_t
adjust_ledger(struct core *core, const struct admin_event *admin, int64_t account_id,
    int64_t cost_micros, struct slice moved)
{
    const struct admin_adjust *adjust = &admin->adjust;
    struct ledger_row *row = work_add_ledger(core->work);
    char *text = arena_alloc(core->work->arena, admin->note.len + moved.len + 16);
    if (!row || !text) {
        core->work->failed = true;
        return 0;
    }
    row->id = ids_take(core->ids);
    row->at_ms = core->now_ms;
    row->kind = LEDGER_ADJUST;
    row->usage = USAGE_NONE;
    row->hold_id = adjust->hold_id;
    row->account_id = account_id;
    row->key_id = adjust->key_id;
    row->thread_id = adjust->thread_id;
    row->root_id = adjust->root_id;
    row->cost_micros = cost_micros;
    row->policy_ver = core->policy->version;
    memcpy(row->model, adjust->model, sizeof row->model);
    memcpy(row->provider, adjust->provider, sizeof row->provider);
    memcpy(row->upstream_model, adjust->upstream_model, sizeof row->upstream_model);
    slice_to_cstr(slice_str(admin->actor), row->source, sizeof row->source);
    /* The note is an object: what moved becomes its last member. */
    struct buf inputs = buf_over(text, admin->note.len + moved.len + 16);
    buf_add_slice(&inputs, slice_of(admin->note.ptr, admin->note.len - 1));
    buf_add_str(&inputs, ",\"limits\":[");
    buf_add_slice(&inputs, moved);
    buf_add_str(&inputs, "]}");
    row->inputs = buf_slice(&inputs);
    ledger_check(row);
    return row->id;
}

#define MOVED_BYTES ((NAME_MAX_BYTES + 192) * HOLD_PARTS_MAX)

/* What is no sum of what was used has nothing to correct: rates drain, calls in flight end, reports are others'. */
static bool
limit_sums_up(const struct limit *limit)
{
    return limit->window != WINDOW_BUCKET && limit->window != WINDOW_CONCURRENCY
           && limit->window != WINDOW_REPORTED;
}

static enum status_of_admin
adjust_call(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    const struct admin_adjust *adjust = &admin->adjust;
    const struct hold_slot *hold = work_hold(core->work, adjust->hold_id);
    if (hold && hold->slot.state != SLOT_ABSENT && hold->slot.state != SLOT_DELETED) {
        return ADMIN_OPEN;
    }
    if (!adjust->account_id) {
        return ADMIN_NOT_FOUND; /* it was not on the books yet when somebody looked there */
    }
    if (!correction_take(core, adjust)) {
        return ADMIN_STALE;
    }
    char room[MOVED_BYTES];
    struct buf moved = buf_over(room, sizeof room);
    for (int32_t i = 0; i < adjust->part_count; i++) {
        const struct adjust_part *part = &adjust->parts[i];
        const struct limit *limit = policy_limit_by_id(core->policy, part->limit_id);
        int64_t subject_id = 0;
        if (!limit || limit->counts != COUNT_COST || !limit_sums_up(limit)
            || !part_subject(core, adjust, part, NULL, &subject_id)) {
            continue;
        }
        const struct hold_part charged = {
            .limit_id = limit->limit_id, .window_ms = part->window_ms, .window = limit->window
        };
        struct meter_slot *slot = work_meter(core->work, subject_id);
        struct meter *meter =
            slot && slot->slot.state != SLOT_ABSENT ? meter_of_part(&slot->row, &charged) : NULL;
        const int64_t now_ms = slot ? max_i64(core->now_ms, slot->row.seen_ms) : 0;
        if (meter
            && part_still_counts(
                limit, &charged, now_ms)) { /* else the ledger alone remembers it */
            move_settled(core, limit, adjust->account_id, slot, meter, adjust->delta);
            tell_moved(core, limit, slot, part->window_ms, adjust->delta, &moved);
        }
    }
    verdict->new_id =
        adjust_ledger(core, admin, adjust->account_id, adjust->delta, buf_slice(&moved));
    return ADMIN_DONE;
}

/* A slip must neither open a limit for all that is to come nor be lost at the end of what a meter can say. */
static enum status_of_admin
judge_sum(const struct admin_adjust *adjust, int64_t used)
{
    const __int128 sum = (__int128)used + adjust->delta;
    if (sum > MONEY_MICROS_MAX || sum < -MONEY_MICROS_MAX) {
        return ADMIN_TOO_MUCH;
    }
    return adjust->no_credit && adjust->delta < 0 && sum < 0 ? ADMIN_CREDIT : ADMIN_DONE;
}

static enum status_of_admin
adjust_meter(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    struct whose whose;
    const struct limit *limit = policy_limit_by_id(core->policy, admin->cap.limit_id);
    if (!limit || !limit_sums_up(limit) || admin->cap.kind != subject_kind_of(limit->per)) {
        return ADMIN_INVALID;
    }
    if (!whose_find(core, admin, &whose)) {
        return ADMIN_NOT_FOUND;
    }
    struct subject_row subject = whose_row(core, &whose);
    struct meter_slot *slot =
        subject.subject_id ? work_meter(core->work, subject.subject_id) : NULL;
    const enum status_of_admin judged = judge_sum(&admin->adjust, used_now(core, limit, slot));
    if (judged != ADMIN_DONE) {
        return judged;
    }
    if (!subject.subject_id) {
        subject.subject_id = ids_take(core->ids);
        if (!subject_valid(&subject) || !work_new_subject(core->work, &subject)) {
            return ADMIN_INVALID;
        }
    }
    if (!slot || slot->slot.state == SLOT_ABSENT) {
        slot = work_new_meter(core->work, subject.subject_id);
    }
    struct meter *meter =
        slot ? meter_to_charge(core, limit, &slot->row, max_i64(core->now_ms, slot->row.seen_ms))
             : NULL;
    if (!meter) {
        return ADMIN_FULL;
    }
    char room[MOVED_BYTES / HOLD_PARTS_MAX];
    struct buf moved = buf_over(room, sizeof room);
    move_settled(core, limit, whose.account_id, slot, meter, admin->adjust.delta);
    tell_moved(core, limit, slot, meter->window_ms, admin->adjust.delta, &moved);
    verdict->new_id = adjust_ledger(core, admin, whose.account_id,
        limit->counts == COUNT_COST ? admin->adjust.delta : 0, buf_slice(&moved));
    verdict->new_id_2 = subject.subject_id;
    return ADMIN_DONE;
}

void
decide_admin_adjust(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    const int64_t delta = admin->adjust.delta;
    const bool noted = admin->note.len > 2 && admin->note.ptr[admin->note.len - 1] == '}';
    if (!noted || delta == 0 || delta > MONEY_MICROS_MAX || delta < -MONEY_MICROS_MAX) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    verdict->admin = admin->adjust.hold_id ? adjust_call(core, admin, verdict)
                                           : adjust_meter(core, admin, verdict);
}
