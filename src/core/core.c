/* core/core.c: which rows an event needs, and which file decides it. */
#include "core/core_priv.h"

#include "base/buf.h"

int64_t
ids_take(struct ids *ids)
{
    check(ids->epoch > 0 && ids->epoch < INT64_C(1) << ID_EPOCH_BITS);
    check(ids->next < INT64_C(1) << ID_COUNTER_BITS); /* 2^43 in one process life: 280 years at 1,000/s */
    return ids->epoch << ID_COUNTER_BITS | ids->next++;
}

const struct policy *
core_policy_at(const struct core *core, int64_t version)
{
    if (version == core->policy->version || !core->policy_at) {
        return core->policy;
    }
    const struct policy *policy = core->policy_at(core->policy_user, version);
    return policy ? policy : core->policy;
}

/* A need, unless the row is there already. */
static void
need_id(struct needs *needs, enum need_kind kind, const void *slot, int64_t id)
{
    if (!slot && id) {
        needs_add_id(needs, kind, id);
    }
}

static void
need_text(struct needs *needs, enum need_kind kind, int32_t sub_kind, const void *slot, int64_t id, const char *text)
{
    if (!slot) {
        needs_add_text(needs, kind, sub_kind, id, text);
    }
}

static void
need_subject_and_meter(struct core *core, enum subject_kind kind, int64_t account_id, const char *name,
    struct needs *needs)
{
    const struct subject_slot *subject = work_subject(core->work, kind, account_id, name);
    need_text(needs, NEED_SUBJECT, (int32_t)kind, subject, account_id, name);
    if (subject && subject->slot.state != SLOT_ABSENT) {
        need_id(needs, NEED_METER, work_meter(core->work, subject->row.subject_id), subject->row.subject_id);
    }
}

/* Every subject that a limit of the policy may name for this call. */
static void
need_limits(struct core *core, const struct policy *policy, const struct call_event *call, int64_t root_id,
    struct needs *needs)
{
    uint32_t seen_per = 0;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        const uint32_t bit = UINT32_C(1) << limit->per;
        if ((seen_per & bit) || (limit->per == PER_THREAD_TREE && !root_id)) {
            continue;
        }
        seen_per |= bit;
        struct applied applied;
        applied_subject(limit, call->account_id, call->key_id, root_id, &applied);
        need_subject_and_meter(core, applied.subject_kind, applied.subject_account, applied.subject_name, needs);
    }
}

static void
need_call(struct core *core, const struct call_event *call, struct needs *needs)
{
    struct work *work = core->work;
    need_id(needs, NEED_KEY, work_key(work, call->key_id), call->key_id);
    need_id(needs, NEED_ACCOUNT, work_account(work, call->account_id), call->account_id);
    if (call->issued_hash[0]) {
        need_text(needs, NEED_ISSUED, 0, work_issued(work, call->issued_hash), 0, call->issued_hash);
    }
    if (call->api == API_COUNT_TOKENS) {
        return;
    }
    const struct thread_slot *thread = work_thread_sig(work, call->account_id, call->thread_kind, call->thread_hash);
    need_text(needs, NEED_THREAD_SIG, (int32_t)call->thread_kind, thread, call->account_id, call->thread_hash);
    const struct thread_slot *parent = NULL;
    if (call->parent_hash[0]) {
        parent = work_thread_sig(work, call->account_id, THREAD_NAMED, call->parent_hash);
        need_text(needs, NEED_THREAD_SIG, THREAD_NAMED, parent, call->account_id, call->parent_hash);
    }
    int64_t root_id = 0;
    if (thread && thread->slot.state != SLOT_ABSENT) {
        root_id = thread->row.root_id;
    } else if (parent && parent->slot.state != SLOT_ABSENT) {
        root_id = parent->row.root_id;
    }
    need_limits(core, core_policy_at(core, call->policy_ver), call, root_id, needs);
}

static void
need_hold(struct core *core, int64_t hold_id, struct needs *needs)
{
    struct work *work = core->work;
    const struct hold_slot *hold = work_hold(work, hold_id);
    need_id(needs, NEED_HOLD, hold, hold_id);
    if (!hold || hold->slot.state == SLOT_ABSENT) {
        return;
    }
    need_id(needs, NEED_THREAD, work_thread(work, hold->row.thread_id), hold->row.thread_id);
    need_id(needs, NEED_ACCOUNT, work_account(work, hold->row.account_id), hold->row.account_id);
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const int64_t subject_id = hold->row.parts[i].subject_id;
        bool asked = false;
        for (int32_t k = 0; k < i; k++) {
            asked |= hold->row.parts[k].subject_id == subject_id;
        }
        if (!asked) {
            need_id(needs, NEED_METER, work_meter(work, subject_id), subject_id);
        }
    }
}

static void
need_identify(struct core *core, const struct event *event, struct needs *needs)
{
    struct work *work = core->work;
    const struct key_slot *key = work_key_hash(work, event->identify.key_hash);
    need_text(needs, NEED_KEY_HASH, 0, key, 0, event->identify.key_hash);
    if (!key || key->slot.state == SLOT_ABSENT) {
        return;
    }
    need_id(needs, NEED_ACCOUNT, work_account(work, key->row.account_id), key->row.account_id);
    if (event->identify.act_for[0]) {
        need_text(needs, NEED_ACCOUNT_NAME, 0, work_account_name(work, event->identify.act_for), 0,
            event->identify.act_for);
    }
}

static void
need_admin(struct core *core, const struct admin_event *admin, struct needs *needs)
{
    struct work *work = core->work;
    if (admin->account.name[0]) {
        need_text(needs, NEED_ACCOUNT_NAME, 0, work_account_name(work, admin->account.name), 0, admin->account.name);
    }
    if (admin->key.hash_hex[0]) {
        need_text(needs, NEED_KEY_HASH, 0, work_key_hash(work, admin->key.hash_hex), 0, admin->key.hash_hex);
    }
    need_id(needs, NEED_KEY, work_key(work, admin->key.key_id), admin->key.key_id);
}

void
core_needs(struct core *core, const struct event *event, struct needs *needs)
{
    switch (event->kind) {
    case EVENT_IDENTIFY:
        need_identify(core, event, needs);
        return;
    case EVENT_CALL:
        need_call(core, &event->call, needs);
        return;
    case EVENT_EXTEND:
        need_hold(core, event->extend.hold_id, needs);
        return;
    case EVENT_REROUTE:
        need_hold(core, event->reroute.hold_id, needs);
        return;
    case EVENT_SETTLE:
        need_hold(core, event->settle.hold_id, needs);
        if (event->settle.issued_hash[0]) {
            const struct issued_slot *issued = work_issued(core->work, event->settle.issued_hash);
            need_text(needs, NEED_ISSUED, 0, issued, 0, event->settle.issued_hash);
        }
        return;
    case EVENT_ADMIN:
        need_admin(core, &event->admin, needs);
        return;
    default:
        return;
    }
}

void
core_orphan_needs(struct core *core, int64_t hold_id, struct needs *needs)
{
    need_hold(core, hold_id, needs);
}

bool
core_decide(struct core *core, const struct event *event, struct verdict *verdict)
{
    *verdict = (struct verdict){ .event = event->kind, .kind = VERDICT_ALLOWED, .reply = event->reply };
    switch (event->kind) {
    case EVENT_IDENTIFY:
        decide_identify(core, event, verdict);
        break;
    case EVENT_CALL:
        decide_call(core, event, verdict);
        break;
    case EVENT_EXTEND:
        decide_extend(core, event, verdict);
        break;
    case EVENT_REROUTE:
        decide_reroute(core, event, verdict);
        break;
    case EVENT_SETTLE:
        decide_settle(core, event, verdict);
        break;
    case EVENT_ADMIN:
        decide_admin(core, event, verdict);
        break;
    default:
        break;
    }
    return !core->work->failed;
}

static void
refusal_ledger(struct core *core, const struct event *event, const struct refusal *refusal, int64_t id)
{
    struct ledger_row *row = work_add_ledger(core->work);
    if (!row) {
        return;
    }
    row->id = id;
    row->at_ms = core->now_ms;
    row->kind = LEDGER_REFUSAL;
    row->usage = USAGE_NONE;
    row->reason = refusal->reason;
    row->policy_ver = core->policy->version;
    row->price_ver = core->policy->price_version;
    slice_to_cstr(SLICE("gate"), row->source, sizeof row->source);
    struct buf inputs = { .limit_bytes = 4096 };
    buf_add_str(&inputs, "{\"v\":1,\"limit\":");
    buf_add_json(&inputs, slice_str(refusal->limit_name));
    buf_addf(&inputs, ",\"used\":%lld,\"held\":%lld,\"cap\":%lld,\"ask\":%lld,\"resets_at_ms\":%lld,\"retry_after_ms\":%lld",
        (long long)refusal->used, (long long)refusal->held, (long long)refusal->cap, (long long)refusal->ask,
        (long long)refusal->resets_at_ms, (long long)refusal->retry_after_ms);
    if (event->kind == EVENT_CALL) {
        const struct policy *policy = core_policy_at(core, event->call.policy_ver);
        row->account_id = event->call.account_id;
        row->key_id = event->call.key_id;
        slice_to_cstr(slice_str(policy->models[event->call.model_index].name), row->model, sizeof row->model);
        buf_addf(&inputs, ",\"body_bytes\":%lld,\"output_limit\":%lld", (long long)event->call.body_bytes,
            (long long)event->call.output_limit);
    }
    buf_add_char(&inputs, '}');
    row->inputs = inputs.failed ? SLICE("{}") : arena_copy(core->work->arena, buf_slice(&inputs));
    buf_free(&inputs);
}

void
core_record_refusal(struct core *core, const struct event *event, const struct refusal *refusal,
    int64_t ledger_id, bool first, int64_t count)
{
    if (first) {
        refusal_ledger(core, event, refusal, ledger_id);
    }
    struct refusal_row *row = work_add_refusal(core->work);
    if (!row) {
        return;
    }
    *row = (struct refusal_row){ .limit_id = refusal->limit_id,
        .minute_ms = core->now_ms - core->now_ms % MINUTE_MS,
        .count = count,
        .ledger_id = ledger_id,
        .reason = refusal->reason };
    if (event->kind == EVENT_CALL) {
        const struct policy *policy = core_policy_at(core, event->call.policy_ver);
        row->account_id = event->call.account_id;
        row->key_id = event->call.key_id;
        slice_to_cstr(slice_str(policy->models[event->call.model_index].name), row->model, sizeof row->model);
    }
}
