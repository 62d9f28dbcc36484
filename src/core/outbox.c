/* core/outbox.c: messages to webhooks, written with what they tell of, and what becomes of them. */
#include "core/core_priv.h"

#include "base/civil.h"
#include "base/map.h"

#define BODY_BYTES_MAX  4096
#define FIRST_WAIT_MS   SECOND_MS
#define LONGEST_WAIT_MS HOUR_MS
#define GIVE_UP_MS      (3 * DAY_MS)

bool
outbox_wants(const struct core *core, enum topic topic)
{
    for (int32_t i = 0; i < core->policy->webhook_count; i++) {
        if (core->policy->webhooks[i].topics & (UINT32_C(1) << topic)) {
            return true;
        }
    }
    return false;
}

static void
add_text(struct buf *out, const char *name, const char *text)
{
    if (text[0]) {
        buf_addf(out, ",\"%s\":", name);
        buf_add_json(out, slice_str(text));
    }
}

static void
add_id(struct buf *out, const char *name, const char *prefix, int64_t id)
{
    if (id) {
        buf_addf(out, ",\"%s\":\"%s%lld\"", name, prefix, (long long)id);
    }
}

/* A refusal's request is known by its row. */
static int64_t
request_of(enum topic topic, const struct ledger_row *row)
{
    return topic == TOPIC_REFUSED ? row->id : row->hold_id;
}

/* Of an account that is not at hand `account` may know it. */
static const char *
account_name(const struct core *core, const struct ledger_row *row, const char *account)
{
    const struct account_slot *slot =
        row->account_id ? work_account(core->work, row->account_id) : NULL;
    return slot && slot->slot.state != SLOT_ABSENT ? slot->row.name : account;
}

static struct slice
message_body(struct core *core, enum topic topic, const struct ledger_row *row, const char *account)
{
    char room[BODY_BYTES_MAX];
    char at[32];
    struct buf body = buf_over(room, sizeof room);
    civil_rfc3339(row->at_ms, true, at);
    buf_addf(&body, "{\"v\":1,\"id\":\"evt_%lld\",\"event\":\"%s\",\"at\":\"%s\"",
        (long long)row->id, topic_word(topic), at);
    add_text(&body, "account", account_name(core, row, account));
    add_id(&body, "key", "key_", row->key_id);
    add_id(&body, "thread", "thr_", row->thread_id);
    add_id(&body, "request", "req_", request_of(topic, row));
    add_text(&body, "model", row->model);
    add_text(&body, "reason", row->reason == REASON_OK ? "" : reason_row(row->reason)->code);
    if (topic == TOPIC_OVERSHOOT) {
        buf_add_number(&body, "cost_micros", row->cost_micros);
        buf_add_number(&body, "estimated_micros", row->est_micros);
    } else if (row->inputs.len > 0) { /* of a call they are its hold's, and long */
        buf_add_str(&body, ",\"data\":");
        buf_add_slice(&body, row->inputs);
    }
    buf_add_char(&body, '}');
    return work_keep(core->work, body.failed ? SLICE("{\"v\":1}") : buf_slice(&body));
}

static void
outbox_add(struct core *core, const struct webhook *webhook, enum topic topic,
    const struct ledger_row *row, struct slice body)
{
    struct outbox_row *message = work_add_outbox(core->work, OUTBOX_ADD);
    if (!message) {
        return;
    }
    message->id = ids_take(core->ids);
    message->ledger_id = row->id;
    message->at_ms = core->now_ms;
    message->next_ms = core->now_ms;
    message->topic = topic;
    message->body = body;
    slice_to_cstr(slice_str(webhook->name), message->hook, sizeof message->hook);
}

void
outbox_tell(struct core *core, enum topic topic, const struct ledger_row *row, const char *account)
{
    const struct policy *policy = core->policy;
    struct slice body = { NULL, 0 };
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        if (policy->webhooks[i].topics & (UINT32_C(1) << topic)) {
            body = body.ptr ? body : message_body(core, topic, row, account);
            outbox_add(core, &policy->webhooks[i], topic, row, body);
        }
    }
}

/* The row that this event has put on the books last. */
static const struct ledger_row *
last_row_of(const struct core *core, int64_t hold_id)
{
    const struct ledger_row *found = NULL;
    for (const struct ledger_node *node = core->work->ledger_first; node; node = node->next) {
        found = node->row.hold_id == hold_id ? &node->row : found;
    }
    return found;
}

void
outbox_tell_overshoot(struct core *core, int64_t hold_id, const struct verdict *verdict)
{
    if (verdict->overshoot_micros <= 0 || !outbox_wants(core, TOPIC_OVERSHOOT)) {
        return;
    }
    const struct ledger_row *row = last_row_of(core, hold_id);
    if (row) {
        outbox_tell(core, TOPIC_OVERSHOOT, row, "");
    }
}

int64_t
outbox_test(struct core *core, const char *hook, const struct ledger_row *row)
{
    const struct policy *policy = core->policy;
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        if (strcmp(policy->webhooks[i].name, hook) == 0) {
            outbox_add(core, &policy->webhooks[i], TOPIC_TEST, row,
                message_body(core, TOPIC_TEST, row, ""));
            return core->ids->epoch << ID_COUNTER_BITS | (core->ids->next - 1);
        }
    }
    return 0;
}

/* --- What became of it. */

/* Twice as long after each failure, within a quarter more or less, so that what failed together does not come
 * back together. */
static int64_t
wait_after(int64_t id, int64_t attempts)
{
    const int shift = (int)min_i64(attempts - 1, 12);
    const int64_t wait_ms = min_i64(FIRST_WAIT_MS << shift, LONGEST_WAIT_MS);
    const uint64_t spread = hash_pair((uint64_t)id, (uint64_t)attempts) % 512;
    return wait_ms * 3 / 4 + wait_ms / 2 * (int64_t)spread / 512;
}

void
decide_delivery(struct core *core, const struct delivery_event *delivery, struct verdict *verdict)
{
    const bool over =
        delivery->outcome == DELIVERY_FAILED && core->now_ms - delivery->at_ms >= GIVE_UP_MS;
    const bool tries_on = delivery->outcome == DELIVERY_FAILED && !over;
    struct outbox_row *row = work_add_outbox(core->work, tries_on ? OUTBOX_TRIED : OUTBOX_DELETE);
    verdict->kind = VERDICT_ALLOWED;
    verdict->given_up = over || delivery->outcome == DELIVERY_DROPPED;
    if (!row) {
        return;
    }
    row->id = delivery->id;
    row->at_ms = delivery->at_ms;
    row->attempts = min_i64(delivery->attempts, INT32_MAX) + 1;
    row->next_ms = core->now_ms + wait_after(delivery->id, row->attempts);
    memcpy(row->hook, delivery->hook, sizeof row->hook);
    memcpy(row->last_error, delivery->error, sizeof row->last_error);
}
