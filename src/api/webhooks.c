/* api/webhooks.c: webhooks as they stand: what waits for each, and why. Their URLs may hold tokens: hosts alone
 * are told. */
#include "api/api_priv.h"

#include "log/log.h"

#define MESSAGES_LOOKED_AT                                                                         \
    20000 /* more never wait: jobs/webhooks.c drops what is beyond its bound */
#define HOOKS_SHOWN (WEBHOOKS_MAX * 2)

struct shown_hook {
    char name[HOOK_NAME_MAX_BYTES + 1];
    int64_t waiting, failing, oldest_ms, next_ms, attempts;
    char last_error[HOOK_ERROR_MAX_BYTES + 1]; /* of the one with the most attempts */
};

struct gathering {
    struct shown_hook hooks[HOOKS_SHOWN]; /* those that are configured come first */
    int count;
    int64_t delivery_id; /* that is asked for; 0 = none */
    struct outbox_row delivery;
    bool found;
};

static struct shown_hook *
hook_of(struct gathering *gathering, const char *name)
{
    for (int i = 0; i < gathering->count; i++) {
        if (strcmp(gathering->hooks[i].name, name) == 0) {
            return &gathering->hooks[i];
        }
    }
    if (gathering->count == HOOKS_SHOWN) {
        return NULL; /* messages to more webhooks than may be configured go with the next sweep */
    }
    struct shown_hook *hook = &gathering->hooks[gathering->count++];
    *hook = (struct shown_hook){ 0 };
    (void)slice_to_cstr(slice_str(name), hook->name, sizeof(hook->name));
    return hook;
}

static bool
gather_message(void *user, const struct outbox_row *row)
{
    struct gathering *gathering = user;
    struct shown_hook *hook = hook_of(gathering, row->hook);
    if (row->id == gathering->delivery_id) {
        gathering->found = true;
        gathering->delivery = *row;
        gathering->delivery.body = (struct slice){ 0 };
    }
    if (!hook) {
        return true;
    }
    hook->waiting++;
    hook->failing += row->attempts > 0;
    hook->oldest_ms = hook->oldest_ms ? min_i64(hook->oldest_ms, row->at_ms) : row->at_ms;
    hook->next_ms = hook->next_ms ? min_i64(hook->next_ms, row->next_ms) : row->next_ms;
    if (row->attempts > hook->attempts) {
        hook->attempts = row->attempts;
        memcpy(hook->last_error, row->last_error, sizeof(hook->last_error));
    }
    return true;
}

static const struct webhook *
webhook_of(const struct policy *policy, const char *name)
{
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        if (strcmp(policy->webhooks[i].name, name) == 0) {
            return &policy->webhooks[i];
        }
    }
    return NULL;
}

static void
put_webhook(struct buf *out, const struct webhook *webhook)
{
    put_text_or_null(out, "host", webhook ? webhook->host : NULL);
    put_bool(out, "tls", webhook && webhook->tls);
    put_open(out, "events", '[');
    for (int i = 0; webhook && i < TOPIC_COUNT; i++) {
        if (webhook->topics & (UINT32_C(1) << i)) {
            put_text(out, NULL, topic_word((enum topic)i));
        }
    }
    put_close(out, ']');
}

static void
put_hook(struct buf *out, const struct shown_hook *hook, const struct webhook *webhook)
{
    put_open(out, NULL, '{');
    put_text(out, "name", hook->name);
    put_text(out, "state",
        !webhook        ? "not_configured"
        : hook->failing ? "failing"
        : hook->waiting ? "sending"
                        : "ok");
    put_webhook(out, webhook);
    put_i64(out, "waiting", hook->waiting);
    put_i64(out, "failing", hook->failing);
    put_i64(out, "attempts", hook->attempts);
    put_time(out, "oldest_at", hook->oldest_ms);
    put_time(out, "next_try_at", hook->next_ms);
    put_text_or_null(out, "last_error", hook->last_error);
    put_close(out, '}');
}

/* One that waits no more was taken, or given up. */
static void
put_delivery(struct buf *out, const struct gathering *gathering)
{
    const struct outbox_row *row = &gathering->delivery;
    put_open(out, "delivery", '{');
    put_id(out, "id", "dlv_", gathering->delivery_id);
    put_text(out, "state", !gathering->found ? "gone" : row->attempts ? "failing" : "waiting");
    put_i64(out, "attempts", row->attempts);
    put_text_or_null(out, "last_error", row->last_error);
    put_close(out, '}');
}

void
get_webhooks(struct api_worker *worker, struct ask *ask)
{
    struct gathering gathering = { 0 };
    const struct field fields[] = { { "delivery", FIELD_ID, &gathering.delivery_id,
        .prefix = "dlv_" } };
    if (!fields_of_query(ask, fields, countof(fields))) {
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    for (int32_t i = 0; i < policy->webhook_count; i++) {
        (void)hook_of(&gathering, policy->webhooks[i].name);
    }
    worker_catch_up(worker, ask, false);
    if (store_read_outbox(worker->reader, "", MESSAGES_LOOKED_AT, gather_message, &gathering)
        != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else {
        struct buf *out = answer_begin(ask, 200);
        put_open(out, "webhooks", '[');
        for (int i = 0; i < gathering.count; i++) {
            const struct shown_hook *hook = &gathering.hooks[i];
            put_hook(out, hook, webhook_of(policy, hook->name));
        }
        put_close(out, ']');
        if (gathering.delivery_id) {
            put_delivery(out, &gathering);
        }
        answer_end(ask);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}

void
post_webhook_test(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_WEBHOOK_TEST);
    struct verdict verdict;
    char note[256];
    if (!api_percent_decode(ask->segment, false, event.admin.hook, sizeof(event.admin.hook))) {
        answer_fault(ask, API_FAULT_WEBHOOK_UNKNOWN, NULL);
        return;
    }
    if (ask->body.len > 0 && !fields_of_body(ask, NULL, 0)) {
        return;
    }
    struct buf text = { .ptr = note, .cap = sizeof(note) - 1, .limit_bytes = sizeof(note) - 1 };
    buf_add_str(&text, "{\"verb\":\"webhook_test\",\"webhook\":");
    buf_add_json(&text, slice_str(event.admin.hook));
    buf_add_char(&text, '}');
    event.admin.note = text.failed ? SLICE("{\"verb\":\"webhook_test\"}") : buf_slice(&text);
    struct buf *out = answer_begin(ask, 202);
    put_text(out, "webhook", event.admin.hook);
    put_new_id(out, "delivery", "dlv_");
    answer_end(ask);
    if (change_once(worker, ask, &event, (struct slice){ 0 }, &verdict)
        && verdict.admin != ADMIN_DONE) {
        answer_fault(ask, API_FAULT_WEBHOOK_UNKNOWN, NULL);
    }
}
