/* core/admin_caps.c: caps that people set for a subject. One counts as a change of identity, so that no gateway
 * decides by an older one. */
#include "core/admin_priv.h"

enum subject_kind
subject_kind_of(enum per_kind per)
{
    static const enum subject_kind kinds[PER_KIND_COUNT] = {
        [PER_GATEWAY] = SUBJECT_GATEWAY,
        [PER_ACCOUNT] = SUBJECT_ACCOUNT,
        [PER_KEY] = SUBJECT_KEY,
        [PER_THREAD_TREE] = SUBJECT_TREE,
        [PER_MODEL] = SUBJECT_MODEL,
        [PER_ACCOUNT_MODEL] = SUBJECT_ACCOUNT_MODEL,
        [PER_PLAN] = SUBJECT_PLAN,
        [PER_GROUP] = SUBJECT_GROUP,
        [PER_TAG] = SUBJECT_TAG,
        [PER_TIER] = SUBJECT_TIER,
        [PER_ORGANISATION] = SUBJECT_ORGANISATION,
    };
    return kinds[per];
}

/* Of everybody, of a group for each of its members, else of those whom the limit counts for. */
static bool
cap_fits(const struct policy *policy, const struct limit *limit, const struct admin_cap *cap)
{
    const bool of_accounts = limit->per == PER_ACCOUNT || limit->per == PER_KEY
                             || limit->per == PER_THREAD_TREE || limit->per == PER_ACCOUNT_MODEL
                             || limit->per == PER_GROUP;
    if (cap->kind == SUBJECT_GROUP) {
        return of_accounts && policy_group_index(policy, slice_str(cap->name)) >= 0;
    }
    return cap->kind == SUBJECT_GATEWAY || cap->kind == subject_kind_of(limit->per);
}

/* --- Whose. */

void
whose_number(struct whose *whose, int64_t number)
{
    whose->name[i64_text(number, whose->name)] = '\0';
}

static const struct account_row *
stored_account(const struct account_slot *slot)
{
    return slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
}

/* A stranger's thread is none. */
static bool
whose_tree(struct work *work, const struct admin_cap *cap, struct whose *whose)
{
    const struct thread_slot *thread = work_thread(work, cap->thread_id);
    const bool there = thread && thread->slot.state != SLOT_ABSENT;
    if (!there || (cap->of_account_id && thread->row.account_id != cap->of_account_id)) {
        return false;
    }
    whose->account_id = thread->row.account_id;
    whose_number(whose, thread->row.root_id);
    return true;
}

bool
whose_key(struct work *work, int64_t key_id, struct whose *whose)
{
    const struct key_slot *key = work_key(work, key_id);
    if (!key || key->slot.state == SLOT_ABSENT) {
        return false;
    }
    whose->account_id = key->row.account_id;
    whose->key_id = key_id;
    whose_number(whose, key_id);
    return true;
}

bool
whose_find(const struct core *core, const struct admin_event *admin, struct whose *whose)
{
    const struct admin_cap *cap = &admin->cap;
    *whose = (struct whose){ .kind = cap->kind };
    switch (cap->kind) {
    case SUBJECT_GATEWAY: return true;
    case SUBJECT_TREE: return whose_tree(core->work, cap, whose);
    case SUBJECT_KEY: return whose_key(core->work, admin->key.key_id, whose);
    case SUBJECT_ACCOUNT:
    case SUBJECT_ACCOUNT_MODEL: {
        const struct account_row *account =
            stored_account(work_account_name(core->work, admin->account.name));
        whose->account_id = account ? account->account_id : 0;
        memcpy(whose->name, cap->name, sizeof whose->name);
        return account != NULL;
    }
    default: memcpy(whose->name, cap->name, sizeof whose->name); return true;
    }
}

struct subject_slot *
whose_subject(const struct core *core, const struct whose *whose)
{
    return work_subject(core->work, whose->kind, whose->account_id, whose->name);
}

struct subject_row
whose_row(const struct core *core, const struct whose *whose)
{
    const struct subject_slot *slot = whose_subject(core, whose);
    if (slot && slot->slot.state != SLOT_ABSENT) {
        return slot->row;
    }
    struct subject_row row = { .account_id = whose->account_id, .kind = whose->kind };
    memcpy(row.name, whose->name, sizeof row.name);
    return row;
}

/* NULL: no memory. */
static struct subject_slot *
subject_store(struct core *core, const struct whose *whose, const struct subject_row *row)
{
    struct subject_slot *slot = whose_subject(core, whose);
    if (!slot || slot->slot.state == SLOT_ABSENT) {
        return work_new_subject(core->work, row);
    }
    slot->row = *row;
    slot->slot.dirty = true;
    return slot;
}

void
need_admin_cap(struct core *core, const struct admin_event *admin, struct needs *needs)
{
    struct whose whose;
    if (admin->cap.kind == SUBJECT_TREE) {
        need_id(needs, NEED_THREAD, work_thread(core->work, admin->cap.thread_id),
            admin->cap.thread_id);
    }
    if (!whose_find(core, admin, &whose)) {
        return;
    }
    const struct account_slot *account = work_account(core->work, whose.account_id);
    need_id(needs, NEED_ACCOUNT, account, whose.account_id);
    if (admin->cap.only_lower && account && account->slot.state != SLOT_ABSENT) {
        const struct caller caller = {
            .policy = core->policy, .account = &account->row, .account_id = whose.account_id
        };
        need_caps(core, &caller, needs);
    }
    need_text(needs, NEED_SUBJECT, (int32_t)whose.kind, whose_subject(core, &whose),
        whose.account_id, whose.name);
}

/* --- Caps. */

static int32_t
set_index(const struct subject_row *row, int64_t set_id, enum cap_set_kind kind)
{
    int32_t at = 0;
    while (at < row->set_count && (row->sets[at].set_id != set_id || row->sets[at].kind != kind)) {
        at++;
    }
    return at;
}

static bool
set_is_read(const struct policy *policy, int64_t set_id)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        if (policy->limits[i].set_id == set_id) {
            return true;
        }
    }
    return false;
}

/* What nothing reads any more: expired, or of a limit that is configured no more. */
static void
drop_dead_sets(const struct core *core, struct subject_row *row)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < row->set_count; i++) {
        const struct cap_set *set = &row->sets[i];
        const bool lasts = set->expires_ms == 0 || core->now_ms < set->expires_ms;
        if (lasts && set_is_read(core->policy, set->set_id)) {
            row->sets[kept++] = *set;
        }
    }
    row->set_count = kept;
}

static void
forget_asked(struct subject_row *row, int64_t set_id)
{
    const int32_t at = set_index(row, set_id, SET_ASKED);
    if (at < row->set_count) {
        row->sets[at] = row->sets[--row->set_count];
    }
}

static bool
set_lasts(const struct core *core, const struct cap_set *set)
{
    return set->expires_ms == 0 || core->now_ms < set->expires_ms;
}

/* Up to how much it may spend now, raises left out. */
static int64_t
standing_cap(const struct core *core, const struct limit *limit, const struct whose *whose)
{
    const struct account_slot *account = work_account(core->work, whose->account_id);
    const bool known = account && account->slot.state != SLOT_ABSENT;
    const struct caller caller = { .policy = core->policy,
        .account = known ? &account->row : NULL,
        .account_id = whose->account_id };
    struct subject_key own = { .kind = whose->kind, .account_id = whose->account_id };
    memcpy(own.name, whose->name, sizeof own.name);
    const struct cap_ruling ruling = cap_rule(core, limit, &caller, &own);
    return ruling.cap == CAP_UNLIMITED ? CAP_UNLIMITED : ruling.cap - ruling.raised;
}

static bool
cap_is_higher(int64_t amount, int64_t standing)
{
    return standing != CAP_UNLIMITED && (amount == CAP_UNLIMITED || amount > standing);
}

static enum status_of_admin
put_cap(struct core *core, const struct admin_event *admin, const struct whose *whose,
    struct verdict *verdict)
{
    const struct admin_cap *cap = &admin->cap;
    const struct limit *limit = policy_limit_by_id(core->policy, cap->limit_id);
    if (cap->only_lower && cap_is_higher(cap->amount, standing_cap(core, limit, whose))) {
        return ADMIN_NOT_LOWER;
    }
    struct subject_row row = whose_row(core, whose);
    if (cap->set
        == SET_CAP) { /* whoever may set one goes before what the client asked for until then */
        forget_asked(&row, limit->set_id);
    }
    int32_t at = set_index(&row, limit->set_id, cap->set);
    if (at == row.set_count && row.set_count == SETS_MAX) {
        drop_dead_sets(core, &row);
        at = row.set_count;
    }
    if (at == SETS_MAX) {
        return ADMIN_FULL;
    }
    row.set_count += at == row.set_count;
    row.sets[at] = (struct cap_set){ .set_id = limit->set_id,
        .kind = cap->set,
        .amount = cap->amount,
        .expires_ms = cap->expires_ms,
        .set_ms = core->now_ms };
    row.subject_id = row.subject_id ? row.subject_id : ids_take(core->ids);
    if (!subject_valid(&row) || cap->amount > policy_cap_max(limit)
        || (cap->expires_ms && cap->expires_ms <= core->now_ms)) {
        return ADMIN_INVALID;
    }
    verdict->new_id = row.subject_id;
    return subject_store(core, whose, &row) ? ADMIN_DONE : ADMIN_INVALID;
}

static enum status_of_admin
delete_cap(struct core *core, const struct admin_event *admin, const struct whose *whose,
    struct verdict *verdict)
{
    const struct limit *limit = policy_limit_by_id(core->policy, admin->cap.limit_id);
    struct subject_row row = whose_row(core, whose);
    const int32_t at = set_index(&row, limit->set_id, admin->cap.set);
    if (at == row.set_count || !set_lasts(core, &row.sets[at])) {
        return ADMIN_NOT_FOUND;
    }
    row.sets[at] = row.sets[--row.set_count];
    verdict->new_id = row.subject_id;
    return subject_store(core, whose, &row) ? ADMIN_DONE : ADMIN_INVALID;
}

void
decide_admin_cap(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    const struct limit *limit = policy_limit_by_id(core->policy, admin->cap.limit_id);
    struct whose whose;
    if (!limit || !cap_fits(core->policy, limit, &admin->cap)) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    if (!whose_find(core, admin, &whose)) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    verdict->admin = admin->verb == ADMIN_CAP_PUT ? put_cap(core, admin, &whose, verdict)
                                                  : delete_cap(core, admin, &whose, verdict);
    if (verdict->admin == ADMIN_DONE) {
        core->work->identity_changed = true;
        (void)admin_note(core, admin, whose.account_id, whose.key_id);
    }
}
