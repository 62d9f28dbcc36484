/* core/subjects.c: whom a limit counts for, and which rows that asks for. */
#include "core/core_priv.h"

const char *
caller_organisation(const struct caller *caller)
{
    if (caller->call && caller->call->organisation[0]) {
        return caller->call->organisation;
    }
    return caller->account ? caller->account->organisation : "";
}

static void
key_make(struct subject_key *key, enum subject_kind kind, int64_t account_id, const char *name)
{
    key->kind = kind;
    key->account_id = account_id;
    slice_to_cstr(slice_str(name), key->name, sizeof key->name);
}

static void
key_number(struct subject_key *key, enum subject_kind kind, int64_t account_id, int64_t number)
{
    key->kind = kind;
    key->account_id = account_id;
    key->name[number ? i64_text(number, key->name) : 0] = '\0';
}

struct subject_key
group_subject(const char *group)
{
    struct subject_key key;
    key_make(&key, SUBJECT_GROUP, 0, group);
    return key;
}

/* tag=value; a value is as long as a call may say it, a tag's name is short. */
static int32_t
tag_subject(const struct limit *limit, const struct caller *caller, struct subject_key *key)
{
    const char *value = caller->call ? caller->call->tags[limit->tag] : "";
    if (!value[0]) {
        return 0;
    }
    char room[NAME_MAX_BYTES + 1];
    struct buf name = buf_over(room, sizeof room);
    buf_add_str(&name, caller->policy->tags[limit->tag].name);
    buf_add_char(&name, '=');
    buf_add_str(&name, value);
    *key = (struct subject_key){ .kind = SUBJECT_TAG };
    slice_to_cstr(buf_slice(&name), key->name, sizeof key->name);
    return 1;
}

static int32_t
group_subjects(const struct caller *caller, struct subject_key keys[SUBJECTS_PER_LIMIT])
{
    int32_t groups[GROUPS_PER_ACCOUNT_MAX];
    const int32_t count =
        caller->account ? policy_groups_of(caller->policy, caller->account->name, groups) : 0;
    for (int32_t i = 0; i < count; i++) {
        keys[i] = group_subject(caller->policy->groups[groups[i]].name);
    }
    return count;
}

int32_t
limit_subjects(const struct limit *limit, const struct caller *caller,
    struct subject_key keys[SUBJECTS_PER_LIMIT])
{
    const int64_t account_id = caller->account_id;
    switch (limit->per) {
    case PER_GATEWAY: key_make(keys, SUBJECT_GATEWAY, 0, ""); return 1;
    case PER_ACCOUNT: key_make(keys, SUBJECT_ACCOUNT, account_id, ""); return 1;
    case PER_KEY: key_number(keys, SUBJECT_KEY, caller->key_account_id, caller->key_id); return 1;
    case PER_THREAD_TREE: key_number(keys, SUBJECT_TREE, account_id, caller->root_id); return 1;
    case PER_MODEL: key_make(keys, SUBJECT_MODEL, 0, caller->model->name); return 1;
    case PER_TIER:
        key_make(keys, SUBJECT_TIER, 0, caller->model->tier == TIER_PREMIUM ? "premium" : "free");
        return 1;
    case PER_ACCOUNT_MODEL:
        key_make(keys, SUBJECT_ACCOUNT_MODEL, account_id, caller->model->name);
        return 1;
    case PER_PLAN:
        key_make(keys, SUBJECT_PLAN, 0, caller->account ? caller->account->plan : "");
        return keys->name[0] != '\0';
    case PER_ORGANISATION:
        key_make(keys, SUBJECT_ORGANISATION, 0, caller_organisation(caller));
        return keys->name[0] != '\0';
    case PER_GROUP: return group_subjects(caller, keys);
    case PER_TAG: return tag_subject(limit, caller, keys);
    case PER_KIND_COUNT: break;
    }
    return 0;
}

bool
limit_purse(const struct limit *limit, const struct caller *caller, struct subject_key *key)
{
    const char *organisation = caller_organisation(caller);
    if (limit->per != PER_ACCOUNT || !counts_in_steps(limit->counts) || !organisation[0]) {
        return false;
    }
    key_make(key, SUBJECT_ACCOUNT_ORGANISATION, caller->account_id, organisation);
    return true;
}

const struct subject_slot *
subject_find(const struct core *core, const struct subject_key *key)
{
    const struct subject_slot *slot =
        work_subject(core->work, key->kind, key->account_id, key->name);
    return slot && slot->slot.state != SLOT_ABSENT ? slot : NULL;
}

static bool
is_new_tree(const struct subject_key *key)
{
    return key->kind == SUBJECT_TREE && !key->name[0];
}

void
need_subject(struct core *core, const struct subject_key *key, bool meter, struct needs *needs)
{
    const struct subject_slot *slot =
        work_subject(core->work, key->kind, key->account_id, key->name);
    if (!slot) {
        struct need *need =
            needs_add_text(needs, NEED_SUBJECT, (int32_t)key->kind, key->account_id, key->name);
        if (need) {
            need->with |= meter;
        }
    } else if (meter && slot->slot.state != SLOT_ABSENT) {
        need_id(
            needs, NEED_METER, work_meter(core->work, slot->row.subject_id), slot->row.subject_id);
    }
}

/* Limits per the same thing have the same subjects: tags and the purses of groups apart. */
static bool
asked_before(const struct limit *limit, uint64_t *seen)
{
    const uint64_t bit = UINT64_C(1)
                         << (limit->per == PER_TAG ? PER_KIND_COUNT + limit->tag : (int)limit->per);
    const bool before = (*seen & bit) != 0;
    *seen |= bit;
    return before;
}

void
need_caps(struct core *core, const struct caller *caller, struct needs *needs)
{
    struct subject_key keys[SUBJECTS_PER_LIMIT] = { { .kind = SUBJECT_GATEWAY } };
    need_subject(core, keys, false, needs);
    const int32_t count = group_subjects(caller, keys);
    for (int32_t i = 0; i < count; i++) {
        need_subject(core, &keys[i], false, needs);
    }
}

/* For whom a threshold may be set; there is nothing of it in a meter. */
static void
need_thresholds(struct core *core, const struct caller *caller, uint64_t *seen, struct needs *needs)
{
    const struct policy *policy = caller->policy;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        struct subject_key keys[SUBJECTS_PER_LIMIT];
        if (limit->counts != COUNT_REPORTED || limit->per == PER_GATEWAY
            || asked_before(limit, seen)) {
            continue;
        }
        const int32_t count = limit_subjects(limit, caller, keys);
        for (int32_t k = 0; k < count; k++) {
            need_subject(core, &keys[k], false, needs);
        }
    }
    need_reported(core, policy, caller->account_id, needs);
}

void
need_usage_caps(struct core *core, const struct caller *caller, struct needs *needs)
{
    uint64_t seen = 0;
    need_thresholds(core, caller, &seen, needs);
    need_caps(core, caller, needs);
}

void
need_limits(struct core *core, const struct caller *caller, struct needs *needs)
{
    uint64_t seen = 0;
    bool purse = false;
    const struct policy *policy = caller->policy;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        struct subject_key keys[SUBJECTS_PER_LIMIT];
        if (limit->counts == COUNT_REPORTED || !limit_counts_model(limit, caller->model)) {
            continue;
        }
        if (!purse && limit_purse(limit, caller, keys)) {
            need_subject(core, keys, true, needs);
            purse = true;
        }
        if (asked_before(limit, &seen)) {
            continue;
        }
        const int32_t count = limit_subjects(limit, caller, keys);
        for (int32_t k = 0; k < count; k++) {
            if (!is_new_tree(&keys[k])) {
                need_subject(core, &keys[k], true, needs);
            }
        }
    }
    need_thresholds(core, caller, &seen, needs);
    if (policy->limit_count > 0) {
        need_caps(core, caller, needs);
    }
}
