/* core/warn.c: what is told before, and beside, a refusal: percentages that were reached, and what limits that
 * are only watched would have refused. Nothing here changes a decision. */
#include "core/core_priv.h"

/* What a limit has in its window, whatever number of meters that is. */
struct level {
    int64_t settled, told; /* told: the highest percentage that was */
    int64_t start_ms, end_ms;
};

static struct level
level_of(struct core *core, const struct limit *limit, const struct meter_row *row,
    const struct meter *meter)
{
    struct level level = { meter->settled, meter->aux, meter->window_ms, 0 };
    if (limit->window == WINDOW_ROLLING) {
        const int64_t over_ms = max_i64(core->now_ms, row->seen_ms) - limit->span_ms;
        level = (struct level){ .start_ms = max_i64(0, over_ms) };
        for (int32_t i = 0; i < row->meter_count; i++) {
            const struct meter *part = &row->meters[i];
            if (part->limit_id == limit->limit_id && part->window_ms > over_ms) {
                level.settled = money_add(level.settled, part->settled);
                level.told = max_i64(level.told, part->aux);
            }
        }
    } else if (limit->window == WINDOW_FIRST_USE) {
        level.end_ms = meter->window_ms + limit->span_ms;
    } else if (limit_is_calendar(limit)) {
        level.end_ms = limit_window(limit, meter->window_ms).end_ms;
    }
    return level;
}

static const struct subject_row *
subject_by_id(const struct core *core, int64_t subject_id)
{
    const struct subject_slot *slot = work_subject_id(core->work, subject_id);
    return slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
}

/* Whoever's work moved the meter. */
static const struct hold_row *
acting_hold(const struct core *core)
{
    const struct event *event = core->event;
    int64_t hold_id = core->orphan_id;
    if (event) {
        hold_id = event->kind == EVENT_SETTLE    ? event->settle.hold_id
                  : event->kind == EVENT_REROUTE ? event->reroute.hold_id
                  : event->kind == EVENT_EXTEND  ? event->extend.hold_id
                                                 : 0;
    }
    const struct hold_slot *slot = hold_id ? work_hold(core->work, hold_id) : NULL;
    return slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
}

/* Of a meter that several accounts share nobody is told but who may read all. */
static bool
limit_is_one_accounts(const struct limit *limit)
{
    return limit->per == PER_ACCOUNT || limit->per == PER_KEY || limit->per == PER_THREAD_TREE
           || limit->per == PER_ACCOUNT_MODEL;
}

static int64_t
account_of(const struct core *core, const struct limit *limit, const struct subject_row *subject)
{
    if (!limit_is_one_accounts(limit)) {
        return 0;
    }
    if (subject) {
        return subject->account_id;
    }
    const struct hold_row *hold = acting_hold(core);
    if (hold) {
        return hold->account_id;
    }
    return core->event && core->event->kind == EVENT_CALL ? core->event->call.account_id : 0;
}

/* As people name it: what has a number alone by its id. */
static void
subject_name(struct buf *inputs, const struct subject_row *subject)
{
    if (!subject || !subject->name[0]) {
        return;
    }
    char room[NAME_MAX_BYTES + 8];
    struct buf name = buf_over(room, sizeof room);
    buf_add_str(&name, subject->kind == SUBJECT_KEY    ? "key_"
                       : subject->kind == SUBJECT_TREE ? "thr_"
                                                       : "");
    buf_add_str(&name, subject->name);
    buf_add_str(inputs, ",\"subject_name\":");
    buf_add_json(inputs, buf_slice(&name));
}

static void
warn_inputs(struct core *core, const struct limit *limit, int64_t subject_id,
    const struct level *level, int64_t cap, int32_t pct, struct ledger_row *row)
{
    const struct subject_row *subject = subject_by_id(core, subject_id);
    const struct hold_row *hold = acting_hold(core);
    char room[2048];
    struct buf inputs = buf_over(room, sizeof room);
    buf_add_str(&inputs, "{\"v\":1,\"limit\":");
    buf_add_json(&inputs, slice_str(limit->name));
    buf_addf(&inputs, ",\"counts\":\"%s\",\"per\":\"%s\",\"window\":\"%s\"",
        count_word(limit->counts), per_word(limit->per), window_word(limit->window));
    buf_add_number(&inputs, "subject", subject_id);
    subject_name(&inputs, subject);
    buf_add_number(&inputs, "pct", pct);
    buf_add_number(&inputs, "settled", level->settled);
    buf_add_number(&inputs, "cap", cap);
    buf_add_number(&inputs, "window_start_ms", level->start_ms);
    buf_add_number(&inputs, "resets_at_ms", level->end_ms);
    if (hold) {
        buf_add_number(&inputs, "hold", hold->hold_id);
    }
    buf_add_char(&inputs, '}');
    row->inputs = work_keep(core->work, inputs.failed ? SLICE("{}") : buf_slice(&inputs));
    row->account_id = account_of(core, limit, subject);
}

static void
warn_tell(struct core *core, const struct limit *limit, int64_t subject_id,
    const struct level *level, int64_t cap, int32_t pct)
{
    struct ledger_row *row = work_add_ledger(core->work);
    if (!row) {
        return;
    }
    row->id = ids_take(core->ids);
    row->at_ms = core->now_ms;
    row->kind = LEDGER_WARN;
    row->usage = USAGE_NONE;
    row->policy_ver = core->policy->version;
    slice_to_cstr(SLICE("gate"), row->source, sizeof row->source);
    warn_inputs(core, limit, subject_id, level, cap, pct, row);
    outbox_tell(core, TOPIC_WARN, row, "");
}

static bool
limit_tells(const struct limit *limit)
{
    return limit->warn_count > 0 || limit->at_cap == AT_CAP_WARN;
}

static bool
is_reached(int64_t settled, int64_t cap, int32_t pct)
{
    return (__int128)settled * 100 >= (__int128)cap * pct;
}

/* The percentages that a limit tells of, ascending: those of its list, and the cap where that is all it does there. */
static int32_t
percentages_of(const struct limit *limit, int32_t pct[LIMIT_WARN_MAX + 1])
{
    bool cap_due = limit->at_cap == AT_CAP_WARN;
    int32_t count = 0;
    for (int32_t i = 0; i < limit->warn_count; i++) {
        if (cap_due && limit->warn_pct[i] >= 100) {
            cap_due = false;
            if (limit->warn_pct[i] > 100) {
                pct[count++] = 100;
            }
        }
        pct[count++] = limit->warn_pct[i];
    }
    if (cap_due) {
        pct[count++] = 100;
    }
    return count;
}

/* A cap of 0: whatever is used, it is all of
 * it; a bucket's and a crowd's levels fall by themselves. */
static bool
has_percentages(const struct limit *limit, int64_t cap)
{
    return limit_tells(limit) && cap > 0 && limit->window != WINDOW_BUCKET
           && limit->counts != COUNT_IN_FLIGHT;
}

/* What is told, and all below it, is not told again in that window, whatever is edited or corrected meanwhile. */
void
warn_look(struct core *core, const struct limit *limit, struct meter_slot *slot,
    struct meter *meter, int64_t cap)
{
    if (!has_percentages(limit, cap)) {
        return;
    }
    int32_t pct[LIMIT_WARN_MAX + 1];
    const int32_t count = percentages_of(limit, pct);
    const struct level level = level_of(core, limit, &slot->row, meter);
    for (int32_t i = 0; i < count; i++) {
        if (pct[i] > level.told && is_reached(level.settled, cap, pct[i])) {
            meter->aux = pct[i];
            slot->slot.dirty = true;
            warn_tell(core, limit, slot->row.subject_id, &level, cap, pct[i]);
        }
    }
}

void
warn_check(
    struct core *core, const struct hold_part *part, const struct limit *limit, struct meter *meter)
{
    if (limit && limit_tells(limit)) {
        warn_look(core, limit, work_meter(core->work, part->subject_id), meter, part->cap);
    }
}

/* Whether `more` would make it tell. */
static bool
is_due(struct core *core, const struct hold_part *part, const struct limit *limit, int64_t more)
{
    const struct meter_slot *slot = work_meter(core->work, part->subject_id);
    const struct meter *meter = part_meter(core, part);
    if (!meter || !has_percentages(limit, part->cap)) {
        return false;
    }
    int32_t pct[LIMIT_WARN_MAX + 1];
    const int32_t count = percentages_of(limit, pct);
    const struct level level = level_of(core, limit, &slot->row, meter);
    for (int32_t i = 0; i < count; i++) {
        if (pct[i] > level.told && is_reached(money_add(level.settled, more), part->cap, pct[i])) {
            return true;
        }
    }
    return false;
}

/* A meter knows its subject's number alone, and a warning names it: warnings are rare, and that row is read when one
 * is due. */
void
need_warn_parts(struct core *core, const struct policy *policy, const struct hold_row *hold,
    int64_t cost_micros, int64_t tokens, struct needs *needs)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        const struct limit *limit = hold_part_limit(core, policy, part);
        const int64_t spent = part->counts == COUNT_COST     ? cost_micros
                              : part->counts == COUNT_TOKENS ? tokens
                                                             : part->held;
        if (limit && is_due(core, part, limit, spent)) {
            need_id(needs, NEED_SUBJECT_ID, work_subject_id(core->work, part->subject_id),
                part->subject_id);
        }
    }
}

static bool
is_needed(const struct needs *needs, const struct need *need)
{
    for (int32_t i = 0; i < needs->count; i++) {
        const struct need *other = &needs->items[i];
        if (other->kind == need->kind && other->sub_kind == need->sub_kind && other->id == need->id
            && strcmp(other->text, need->text) == 0) {
            return true;
        }
    }
    return false;
}

/* Whose meter a part of a call is shows in its number alone, and a warning names its subject and goes by its cap: also
 * that of a tag, or of a plan or group that the account has left. */
static void
need_names(struct core *core, const struct admin_adjust *adjust, struct needs *needs)
{
    for (int32_t i = 0; i < adjust->part_count; i++) {
        const struct limit *limit = policy_limit_by_id(core->policy, adjust->parts[i].limit_id);
        const bool tells = limit && limit_tells(limit);
        const int64_t subject_id = tells ? adjust->parts[i].subject_id : 0;
        need_id(needs, NEED_SUBJECT_ID, subject_id ? work_subject_id(core->work, subject_id) : NULL,
            subject_id);
    }
}

void
need_warn_correction(
    struct core *core, int64_t account_id, const struct admin_adjust *adjust, struct needs *needs)
{
    const struct account_slot *account = work_account(core->work, account_id);
    const int32_t model = policy_model_index(core->policy, slice_str(adjust->model));
    struct caller caller = { .policy = core->policy,
        .model = model < 0 ? NULL : &core->policy->models[model],
        .account_id = account_id };
    struct needs own;
    own.count = 0;
    own.overflow = false;
    need_id(&own, NEED_ACCOUNT, account, account_id);
    if (account && account->slot.state != SLOT_ABSENT) {
        caller.account = &account->row;
    }
    need_caps(core, &caller, &own);
    const struct subject_key whole = { .kind = SUBJECT_ACCOUNT, .account_id = account_id };
    if (account_id) {
        need_subject(core, &whole, false, &own);
    }
    need_names(core, adjust, &own);
    for (int32_t i = 0; i < own.count; i++) { /* the correction itself may need the same */
        if (needs->count < NEEDS_MAX && !is_needed(needs, &own.items[i])) {
            needs->items[needs->count++] = own.items[i];
        }
    }
}

/* As a call would find it. What an account spends counts twice where there are groups: where the word of one
 * rules, what was spent in its organisation is under the cap, else the whole; the other one has none. */
static int64_t
cap_of_subject(struct core *core, const struct limit *limit, const struct subject_row *subject,
    int64_t account_id)
{
    const struct account_slot *slot = work_account(core->work, account_id);
    const bool known = slot && slot->slot.state != SLOT_ABSENT;
    const bool is_purse = subject->kind == SUBJECT_ACCOUNT_ORGANISATION;
    struct account_row account = { 0 };
    if (known) {
        account = slot->row;
    }
    if (is_purse) {
        memcpy(account.organisation, subject->name, sizeof account.organisation);
    }
    const struct caller caller = {
        .policy = core->policy, .account = known ? &account : NULL, .account_id = account_id
    };
    struct subject_key own = { .kind = is_purse ? SUBJECT_ACCOUNT : subject->kind,
        .account_id = subject->account_id };
    struct subject_key purse;
    if (!is_purse) {
        memcpy(own.name, subject->name, sizeof own.name);
    }
    const struct cap_ruling ruling = cap_rule(core, limit, &caller, &own);
    const bool twice = is_purse || limit_purse(limit, &caller, &purse);
    const bool rules = !twice || is_purse == (ruling.tier == TIER_OF_GROUP);
    return rules ? ruling.cap : CAP_UNLIMITED;
}

void
warn_correction(struct core *core, const struct limit *limit, int64_t account_id,
    struct meter_slot *slot, struct meter *meter)
{
    const struct subject_row *subject = subject_by_id(core, slot->row.subject_id);
    if (subject && limit_tells(limit)) {
        warn_look(core, limit, slot, meter, cap_of_subject(core, limit, subject, account_id));
    }
}

void
shadow_note(struct core *core, const struct event *event, const struct refusal *refusal)
{
    struct shadow_node *node = arena_alloc(core->work->arena, sizeof *node);
    if (!node) {
        core->work->failed = true;
        return;
    }
    *node = (struct shadow_node){ .next = core->work->shadow_first };
    core_refused(core, event, refusal, &node->refused);
    node->refused.shadow = true;
    core->work->shadow_first = node;
}
