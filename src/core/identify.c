/* core/identify.c: who a key speaks for, and what admins change. */
#include "core/core_priv.h"

static void
fill_identity(struct identity *identity, const struct key_row *key,
    const struct account_row *account, bool owner_banned)
{
    *identity = (struct identity){ .key_id = key->key_id,
        .account_id = account->account_id,
        .role = key->role,
        .expires_ms = key->expires_ms,
        .thread_required = key->thread_required,
        .banned = owner_banned || account->state == ACCOUNT_BANNED };
    memcpy(identity->account, account->name, sizeof identity->account);
    memcpy(identity->plan, account->plan, sizeof identity->plan);
}

/* The end user that a service key acts for; made on first sight from a template plan. */
static struct account_slot *
end_user(struct core *core, const struct event *event)
{
    struct account_slot *slot = work_account_name(core->work, event->identify.act_for);
    if (slot && slot->slot.state != SLOT_ABSENT) {
        return slot;
    }
    struct account_row row = { .account_id = ids_take(core->ids), .created_ms = core->now_ms };
    const char *plan =
        event->identify.act_plan[0] ? event->identify.act_plan : core->policy->default_plan;
    slice_to_cstr(slice_str(event->identify.act_for), row.name, sizeof row.name);
    slice_to_cstr(slice_str(plan), row.plan, sizeof row.plan);
    return work_new_account(core->work, &row);
}

/* A template that is misspelt must not become the default one: nobody would notice. */
static bool
template_is_missing(struct core *core, const struct event *event)
{
    const struct account_slot *known = work_account_name(core->work, event->identify.act_for);
    const char *plan = event->identify.act_plan;
    return (!known || known->slot.state == SLOT_ABSENT) && plan[0]
           && !policy_has_plan(core->policy, slice_str(plan));
}

static bool
may_act_for(const struct key_row *key, const char *name)
{
    return name[0] && key->role == ROLE_SERVICE && key->may_act_for[0]
           && slice_starts(slice_str(name), slice_str(key->may_act_for));
}

void
decide_identify(struct core *core, const struct event *event, struct verdict *verdict)
{
    const struct key_slot *key = work_key_hash(core->work, event->identify.key_hash);
    if (!key || key->slot.state == SLOT_ABSENT) {
        refuse(verdict, REASON_KEY_INVALID);
        return;
    }
    if (key->row.revoked) {
        refuse(verdict, REASON_KEY_REVOKED);
        return;
    }
    if (key->row.expires_ms && key->row.expires_ms <= core->now_ms) {
        refuse(verdict, REASON_KEY_EXPIRED);
        return;
    }
    const struct account_slot *owner = work_account(core->work, key->row.account_id);
    if (!owner || owner->slot.state == SLOT_ABSENT) {
        refuse(verdict, REASON_ACCOUNT_UNKNOWN);
        return;
    }
    const bool owner_banned = owner->row.state == ACCOUNT_BANNED;
    const struct account_slot *account = owner;
    if (!owner_banned && may_act_for(&key->row, event->identify.act_for)) {
        if (!name_valid(slice_str(event->identify.act_for))) {
            refuse(verdict, REASON_ACCOUNT_UNKNOWN);
            return;
        }
        if (template_is_missing(core, event)) {
            refuse(verdict, REASON_PLAN_UNKNOWN);
            return;
        }
        account = end_user(core, event);
    }
    if (!account) {
        return; /* no memory: the batch is not used */
    }
    verdict->kind = VERDICT_ALLOWED;
    fill_identity(&verdict->identity, &key->row, &account->row, owner_banned);
}

struct ledger_row *
admin_note(struct core *core, const struct admin_event *admin, int64_t account_id, int64_t key_id)
{
    struct ledger_row *row = work_add_ledger(core->work);
    if (!row) {
        return NULL;
    }
    row->id = ids_take(core->ids);
    row->at_ms = core->now_ms;
    row->kind = LEDGER_ADMIN;
    row->usage = USAGE_NONE;
    row->account_id = account_id;
    row->key_id = key_id;
    row->inputs = work_keep(core->work, admin->note);
    row->policy_ver = core->policy->version;
    slice_to_cstr(slice_str(admin->actor), row->source, sizeof row->source);
    return row;
}

static bool
account_words_valid(const struct policy *policy, const struct account_row *account)
{
    const struct slice plan = slice_str(account->plan);
    const struct slice organisation = slice_str(account->organisation);
    return name_valid(slice_str(account->name)) && (unsigned)account->state <= ACCOUNT_BANNED
           && (plan.len == 0 || policy_has_plan(policy, plan))
           && (organisation.len == 0 || name_valid(organisation));
}

static void
admin_account(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    if (!account_words_valid(core->policy, &admin->account)) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    struct account_slot *slot = work_account_name(core->work, admin->account.name);
    const bool known = slot && slot->slot.state != SLOT_ABSENT;
    if (known && admin->must_be_new) {
        verdict->admin = ADMIN_EXISTS;
        verdict->new_id = slot->row.account_id;
        return;
    }
    if (!known && !admin->must_be_new) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    if (!known) {
        struct account_row row = admin->account;
        row.account_id = ids_take(core->ids);
        row.created_ms = core->now_ms;
        row.version = 0;
        if (!row.plan[0]) {
            slice_to_cstr(slice_str(core->policy->default_plan), row.plan, sizeof row.plan);
        }
        if (!account_valid(&row)) {
            verdict->admin = ADMIN_INVALID;
            return;
        }
        slot = work_new_account(core->work, &row);
    } else {
        slot->row.state = admin->account.state;
        if (admin->account.plan[0]) {
            memcpy(slot->row.plan, admin->account.plan, sizeof slot->row.plan);
        }
        if (admin->account.organisation[0]) {
            memcpy(
                slot->row.organisation, admin->account.organisation, sizeof slot->row.organisation);
        }
        slot->slot.dirty = true;
    }
    if (slot) {
        core->work->identity_changed = true;
        (void)admin_note(core, admin, slot->row.account_id, 0);
        verdict->new_id = slot->row.account_id;
    }
}

static void
admin_key_put(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    const struct account_slot *account = work_account_name(core->work, admin->account.name);
    if (!account || account->slot.state == SLOT_ABSENT) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    const struct key_slot *same = work_key_hash(core->work, admin->key.hash_hex);
    if (same && same->slot.state != SLOT_ABSENT) {
        verdict->admin = ADMIN_EXISTS;
        return;
    }
    struct key_row row = admin->key;
    row.key_id = ids_take(core->ids);
    row.account_id = account->row.account_id;
    row.created_ms = core->now_ms;
    row.version = 0;
    if (!key_valid(&row)) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    if (work_new_key(core->work, &row)) {
        core->work->identity_changed = true;
        (void)admin_note(core, admin, row.account_id, row.key_id);
        verdict->new_id = row.key_id;
        verdict->new_id_2 = row.account_id;
    }
}

static void
admin_key_revoke(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    struct key_slot *key = admin->key.key_id ? work_key(core->work, admin->key.key_id)
                                             : work_key_hash(core->work, admin->key.hash_hex);
    if (!key || key->slot.state == SLOT_ABSENT) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    verdict->new_id = key->row.key_id;
    if (!key->row.revoked) {
        key->row.revoked = true;
        key->slot.dirty = true;
        core->work->identity_changed = true;
        (void)admin_note(core, admin, key->row.account_id, key->row.key_id);
    }
}

static void
admin_webhook_test(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    bool known = false;
    for (int32_t i = 0; i < core->policy->webhook_count; i++) {
        known |= strcmp(core->policy->webhooks[i].name, admin->hook) == 0;
    }
    if (!known) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    const struct ledger_row *row = admin_note(core, admin, 0, 0);
    verdict->new_id = row ? outbox_test(core, admin->hook, row) : 0;
}

static void
decide_verb(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    switch (admin->verb) {
    case ADMIN_ACCOUNT_PUT: admin_account(core, admin, verdict); return;
    case ADMIN_KEY_PUT: admin_key_put(core, admin, verdict); return;
    case ADMIN_KEY_REVOKE: admin_key_revoke(core, admin, verdict); return;
    case ADMIN_NOTE: (void)admin_note(core, admin, 0, 0); return;
    case ADMIN_CAP_PUT:
    case ADMIN_CAP_DELETE: decide_admin_cap(core, admin, verdict); return;
    case ADMIN_ADJUST: decide_admin_adjust(core, admin, verdict); return;
    case ADMIN_WEBHOOK_TEST: admin_webhook_test(core, admin, verdict); return;
    case ADMIN_THRESHOLDS_PUT: decide_admin_thresholds(core, admin, verdict); return;
    default: verdict->admin = ADMIN_INVALID;
    }
}

void
decide_admin(struct core *core, const struct event *event, struct verdict *verdict)
{
    const struct admin_event *admin = &event->admin;
    verdict->kind = VERDICT_ALLOWED;
    verdict->admin = ADMIN_DONE;
    if (!receipt_stops(core, &admin->receipt, verdict)) {
        decide_verb(core, admin, verdict);
        receipt_leave(core, &admin->receipt, verdict);
    }
}
