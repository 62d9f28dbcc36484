/* core/core.c: which rows an event needs, and which file decides it. */
#include "core/core_priv.h"

int64_t
ids_take(struct ids *ids)
{
    check(ids->epoch > 0 && ids->epoch < INT64_C(1) << ID_EPOCH_BITS);
    /* 2^43 in the life of one process: 280 years at 1,000 a second. */
    check(ids->next < INT64_C(1) << ID_COUNTER_BITS);
    return ids->epoch << ID_COUNTER_BITS | ids->next++;
}

const struct policy *
core_policy_exact(const struct core *core, int64_t version)
{
    if (version == core->policy->version) {
        return core->policy;
    }
    return core->policy_at ? core->policy_at(core->policy_user, version) : NULL;
}

const struct policy *
core_policy_at(const struct core *core, int64_t version)
{
    const struct policy *policy = core_policy_exact(core, version);
    return policy ? policy : core->policy;
}

struct buf
buf_over(char *room, size_t room_bytes)
{
    return (struct buf){ .ptr = room, .cap = room_bytes - 1, .limit_bytes = room_bytes - 1 };
}

void
need_id(struct needs *needs, enum need_kind kind, const void *slot, int64_t id)
{
    if (!slot && id) {
        (void)needs_add_id(needs, kind, id);
    }
}

void
need_text(struct needs *needs, enum need_kind kind, int32_t sub_kind, const void *slot, int64_t id,
    const char *text)
{
    if (!slot) {
        (void)needs_add_text(needs, kind, sub_kind, id, text);
    }
}

/* The thread, its parent, and so the root of the tree: 0 as long as there is none. */
static int64_t
need_thread(struct core *core, const struct call_event *call, struct needs *needs)
{
    struct work *work = core->work;
    const struct thread_slot *thread =
        work_thread_sig(work, call->account_id, call->thread_kind, call->thread_hash);
    need_text(needs, NEED_THREAD_SIG, (int32_t)call->thread_kind, thread, call->account_id,
        call->thread_hash);
    const struct thread_slot *parent = NULL;
    if (call->parent_hash[0]) {
        parent = work_thread_sig(work, call->account_id, THREAD_NAMED, call->parent_hash);
        need_text(
            needs, NEED_THREAD_SIG, THREAD_NAMED, parent, call->account_id, call->parent_hash);
    }
    if (thread && thread->slot.state != SLOT_ABSENT) {
        return thread->row.root_id;
    }
    return parent && parent->slot.state != SLOT_ABSENT ? parent->row.root_id : 0;
}

/* A limit may let the call go on as one to another model, with subjects of its own. */
static void
need_substitutes(struct core *core, const struct caller *caller, struct needs *needs)
{
    const struct policy *policy = caller->policy;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        const int32_t index = limit->at_cap == AT_CAP_DOWNGRADE && limit->substitute
                                  ? policy_model_index(policy, slice_str(limit->substitute))
                                  : -1;
        if (index >= 0 && limit_counts_model(limit, caller->model)) {
            struct caller other = *caller;
            other.model = &policy->models[index];
            need_limits(core, &other, needs);
        }
    }
}

static void
need_call(struct core *core, const struct call_event *call, struct needs *needs)
{
    struct work *work = core->work;
    const struct key_slot *key = work_key(work, call->key_id);
    struct need *key_need = key ? NULL : needs_add_id(needs, NEED_KEY, call->key_id);
    if (key_need) {
        key_need->with = true;
    }
    need_id(needs, NEED_ACCOUNT, work_account(work, call->account_id), call->account_id);
    if (call->issued_hash[0]) {
        need_text(
            needs, NEED_ISSUED, 0, work_issued(work, call->issued_hash), 0, call->issued_hash);
    }
    const bool known = key && key->slot.state != SLOT_ABSENT;
    if (known && key->row.account_id != call->account_id) {
        need_id(needs, NEED_ACCOUNT, work_account(work, key->row.account_id), key->row.account_id);
    }
    if (call->api == API_COUNT_TOKENS || call->found != REASON_OK) {
        return;
    }
    const int64_t root_id = need_thread(core, call, needs);
    const struct policy *policy = core_policy_exact(core, call->policy_ver);
    const bool guessed = !key && core->guesses; /* most keys speak for their own account */
    if ((known || guessed) && policy) {
        const struct account_slot *account = work_account(work, call->account_id);
        const struct caller caller = { .policy = policy,
            .model = &policy->models[call->model_index],
            .call = call,
            .account = account && account->slot.state != SLOT_ABSENT ? &account->row : NULL,
            .account_id = call->account_id,
            .key_id = call->key_id,
            .key_account_id = known ? key->row.account_id : call->account_id,
            .root_id = root_id };
        need_limits(core, &caller, needs);
        need_substitutes(core, &caller, needs);
    }
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
    need_receipt(core, &admin->receipt, needs);
    if (admin->account.name[0]) {
        need_text(needs, NEED_ACCOUNT_NAME, 0, work_account_name(work, admin->account.name), 0,
            admin->account.name);
    }
    if (admin->key.hash_hex[0]) {
        need_text(needs, NEED_KEY_HASH, 0, work_key_hash(work, admin->key.hash_hex), 0,
            admin->key.hash_hex);
    }
    need_id(needs, NEED_KEY, work_key(work, admin->key.key_id), admin->key.key_id);
    if (admin->verb == ADMIN_CAP_PUT || admin->verb == ADMIN_CAP_DELETE) {
        need_admin_cap(core, admin, needs);
    } else if (admin->verb == ADMIN_ADJUST) {
        need_admin_adjust(core, admin, needs);
    } else if (admin->verb == ADMIN_THRESHOLDS_PUT) {
        need_admin_thresholds(core, admin, needs);
    }
}

void
core_needs(struct core *core, const struct event *event, struct needs *needs)
{
    switch (event->kind) {
    case EVENT_IDENTIFY: need_identify(core, event, needs); return;
    case EVENT_ISSUED: need_issued(core, &event->issued, needs); return;
    case EVENT_CALL: need_call(core, &event->call, needs); return;
    case EVENT_EXTEND: need_hold(core, event->extend.hold_id, needs); return;
    case EVENT_REROUTE:
        need_hold(core, event->reroute.hold_id, needs);
        need_hold_told(core, event, event->reroute.hold_id, needs);
        return;
    case EVENT_SETTLE:
        need_hold(core, event->settle.hold_id, needs);
        need_hold_told(core, event, event->settle.hold_id, needs);
        return;
    case EVENT_ADMIN: need_admin(core, &event->admin, needs); return;
    case EVENT_REPORT: need_report(core, &event->report, needs); return;
    default: return;
    }
}

void
core_orphan_needs(struct core *core, int64_t hold_id, struct needs *needs)
{
    need_hold(core, hold_id, needs);
    need_hold_told(core, NULL, hold_id, needs);
}

bool
core_decide(struct core *core, const struct event *event, struct verdict *verdict)
{
    *verdict =
        (struct verdict){ .event = event->kind, .kind = VERDICT_ALLOWED, .reply = event->reply };
    core->event = event;
    switch (event->kind) {
    case EVENT_IDENTIFY: decide_identify(core, event, verdict); break;
    case EVENT_ISSUED: decide_issued(core, &event->issued, verdict); break;
    case EVENT_CALL:
        decide_call(core, event, verdict);
        if (verdict->kind == VERDICT_ALLOWED && verdict->shadow.reason != REASON_OK) {
            shadow_note(core, event, &verdict->shadow);
        }
        break;
    case EVENT_EXTEND: decide_extend(core, event, verdict); break;
    case EVENT_REROUTE: decide_reroute(core, event, verdict); break;
    case EVENT_SETTLE:
        decide_settle(core, event, verdict);
        outbox_tell_overshoot(core, event->settle.hold_id, verdict);
        break;
    case EVENT_DELIVERY: decide_delivery(core, &event->delivery, verdict); break;
    case EVENT_ADMIN: decide_admin(core, event, verdict); break;
    case EVENT_REPORT: decide_report(core, &event->report, verdict); break;
    default: break;
    }
    return !core->work->failed;
}

void
add_labels(struct buf *out, const struct policy *policy, const struct call_event *call)
{
    bool first = true;
    if (call->organisation[0]) {
        buf_add_str(out, ",\"organisation\":");
        buf_add_json(out, slice_str(call->organisation));
    }
    for (int32_t i = 0; i < policy->tag_count; i++) {
        if (call->tags[i][0]) {
            buf_add_str(out, first ? ",\"tags\":{" : ",");
            buf_add_json(out, slice_str(policy->tags[i].name));
            buf_add_char(out, ':');
            buf_add_json(out, slice_str(call->tags[i]));
            first = false;
        }
    }
    buf_add_str(out, first ? "" : "}");
}

void
add_bounds_asked(struct buf *out, const struct call_event *call)
{
    if (call->output_floor > 0) {
        buf_add_number(out, "output_floor", call->output_floor);
    }
    if (call->cannot_bound) {
        buf_add_str(out, ",\"unbounded_by\":");
        buf_add_json(out, slice_str(call->unbounded_by));
    }
}

/* What the client called a model that is not there. It goes into a column: nothing but plain letters does. */
static void
tell_unknown_model(const struct call_event *call, char out[NAME_MAX_BYTES + 1])
{
    _Static_assert(sizeof call->unbounded_by <= NAME_MAX_BYTES + 1, "it fits");
    size_t len = 0;
    for (; call->found == REASON_MODEL_UNKNOWN && call->unbounded_by[len]; len++) {
        const char c = call->unbounded_by[len];
        out[len] = '?';
        if (c > ' ' && c <= '~') {
            out[len] = c;
        }
    }
    out[len] = '\0';
}

/* What the limit that refused names instead, where that was tried. */
static void
tell_tried(const struct policy *policy, const struct refusal *refusal, struct buf *inputs)
{
    const struct limit *limit = policy_limit_by_id(policy, refusal->limit_id);
    if (limit && limit->substitute) {
        buf_add_str(inputs, ",\"tried\":");
        buf_add_json(inputs, slice_str(limit->substitute));
        buf_add_str(inputs, ",\"tried_reason\":");
        buf_add_json(inputs, slice_str(reason_row(refusal->tried)->code));
    }
}

/* What the same call would be asked for again with. */
static void
tell_asked(const struct policy *policy, const struct call_event *call,
    const struct refusal *refusal, char out[REFUSED_ASKED_BYTES])
{
    struct buf asked = buf_over(out, REFUSED_ASKED_BYTES);
    buf_add_str(&asked, ",\"api\":\"");
    buf_add_str(&asked, api_word((enum api)call->api));
    buf_add_str(&asked, call->stream ? "\",\"stream\":true" : "\"");
    buf_add_number(&asked, "input_bytes", call->input_bytes_bound);
    buf_add_number(&asked, "answers", call_answers(call));
    buf_add_number(&asked, "price_pct", call->price_multiplier_pct);
    if (call->input_unbounded) {
        buf_add_str(&asked, ",\"input_unbounded\":true");
    }
    if (call->spend_limit_micros > 0) {
        buf_add_number(&asked, "spend_limit", call->spend_limit_micros);
    }
    add_bounds_asked(&asked, call);
    if (refusal->tried != REASON_OK) {
        tell_tried(policy, refusal, &asked);
    }
    add_labels(&asked, policy, call);
    out[asked.failed ? 0 : asked.len] = '\0';
}

static void
tell_thread(const struct core *core, const struct call_event *call, struct refused *refused)
{
    const struct thread_slot *thread =
        work_thread_sig(core->work, call->account_id, call->thread_kind, call->thread_hash);
    if (thread && thread->slot.state == SLOT_STORED) {
        refused->thread_id = thread->row.thread_id;
        refused->root_id = thread->row.root_id;
    }
}

void
core_refused(const struct core *core, const struct event *event, const struct refusal *refusal,
    struct refused *refused)
{
    *refused = (struct refused){ .refusal = *refusal, .output_limit = -1 };
    if (event->kind != EVENT_CALL) {
        return;
    }
    const struct call_event *call = &event->call;
    refused->account_id = call->account_id;
    refused->key_id = call->key_id;
    refused->waits_since_ms = event->waits_since_ms;
    refused->body_bytes = call->body_bytes;
    refused->output_limit = call->output_limit;
    memcpy(refused->trace_id, event->trace_id, sizeof refused->trace_id);
    const struct account_slot *account = work_account(core->work, call->account_id);
    if (account && account->slot.state != SLOT_ABSENT) {
        memcpy(refused->account, account->row.name, sizeof refused->account);
    }
    const struct policy *policy = core_policy_exact(core, call->policy_ver);
    if (policy && call->model_index >= 0 && call->model_index < policy->model_count) {
        refused->policy_ver = policy->version;
        refused->price_ver = policy->price_version;
        slice_to_cstr(slice_str(policy->models[call->model_index].name), refused->model,
            sizeof refused->model);
        tell_asked(policy, call, refusal, refused->asked);
        tell_thread(core, call, refused);
    } else {
        tell_unknown_model(call, refused->model);
    }
}

static void
refusal_ledger(struct core *core, const struct refused *refused)
{
    struct ledger_row *row = work_add_ledger(core->work);
    if (!row) {
        return;
    }
    row->id = refused->ledger_id;
    row->at_ms = refused->at_ms;
    row->kind = refused->shadow ? LEDGER_SHADOW : LEDGER_REFUSAL;
    row->usage = USAGE_NONE;
    row->reason = refused->refusal.reason;
    row->account_id = refused->account_id;
    row->key_id = refused->key_id;
    row->thread_id = refused->thread_id;
    row->root_id = refused->root_id;
    row->policy_ver = refused->policy_ver;
    row->price_ver = refused->price_ver;
    memcpy(row->model, refused->model, sizeof row->model);
    slice_to_cstr(SLICE("gate"), row->source, sizeof row->source);
    char room[2048];
    struct buf inputs = buf_over(room, sizeof room);
    buf_add_str(&inputs, "{\"v\":1,\"limit\":");
    buf_add_json(&inputs, slice_str(refused->refusal.limit_name));
    if (refused->refusal.limit_nth > 1) {
        buf_add_number(&inputs, "nth", refused->refusal.limit_nth);
    }
    if (refused->refusal.limit_id) {
        buf_add_str(&inputs, ",\"counts\":");
        buf_add_json(&inputs, slice_str(count_word((enum count_kind)refused->refusal.counts)));
    } else if (refused->refusal.about[0]) {
        buf_add_str(&inputs, ",\"field\":");
        buf_add_json(&inputs, slice_str(refused->refusal.about));
    }
    buf_add_number(&inputs, "used", refused->refusal.used);
    buf_add_number(&inputs, "held", refused->refusal.held);
    buf_add_number(&inputs, "cap", refused->refusal.cap);
    buf_add_number(&inputs, "ask", refused->refusal.ask);
    buf_add_number(&inputs, "resets_at_ms", refused->refusal.resets_at_ms);
    buf_add_number(&inputs, "retry_after_ms", refused->refusal.retry_after_ms);
    if (refused->waits_since_ms) {
        buf_add_number(&inputs, "waited_ms", max_i64(0, refused->at_ms - refused->waits_since_ms));
    }
    buf_add_number(&inputs, "body_bytes", refused->body_bytes);
    buf_add_number(&inputs, "output_limit", refused->output_limit);
    buf_add_str(&inputs, refused->asked);
    add_trace(&inputs, refused->trace_id);
    buf_add_char(&inputs, '}');
    row->inputs = work_keep(core->work, inputs.failed ? SLICE("{}") : buf_slice(&inputs));
    outbox_tell(core, refused->shadow ? TOPIC_SHADOW : TOPIC_REFUSED, row, refused->account);
}

void
core_record_refusal(struct core *core, const struct refused *refused, bool first, int64_t count)
{
    if (first) {
        refusal_ledger(core, refused);
    }
    struct refusal_row *row = refused->shadow ? NULL : work_add_refusal(core->work);
    if (!row) {
        return;
    }
    *row = (struct refusal_row){ .account_id = refused->account_id,
        .key_id = refused->key_id,
        .limit_id = refused->refusal.limit_id,
        .minute_ms = refused->at_ms - refused->at_ms % MINUTE_MS,
        .count = count,
        .ledger_id = refused->ledger_id,
        .reason = refused->refusal.reason };
    memcpy(row->model, refused->model, sizeof row->model);
}
