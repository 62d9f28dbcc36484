/* engine/told.c: what goes out of a batch besides its verdicts: messages to webhooks, and what limits that are only
 * watched would have refused. */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

static enum status
write_message(struct store *store, const struct outbox_node *node)
{
    switch (node->change) {
    case OUTBOX_ADD: return store_outbox_add(store, &node->row);
    case OUTBOX_TRIED: return store_outbox_tried(store, &node->row);
    case OUTBOX_DELETE: return store_outbox_delete(store, node->row.id);
    }
    check(!"a change of a message that nobody makes");
}

enum status
told_write(struct engine *engine)
{
    enum status status = STATUS_OK;
    for (const struct outbox_node *node = engine->work.outbox_first; node && status == STATUS_OK;
         node = node->next) {
        status = write_message(engine->store, node);
    }
    return status;
}

void
told_committed(struct engine *engine)
{
    for (const struct ledger_node *node = engine->work.ledger_first; node; node = node->next) {
        counter_add(COUNTER_WARNINGS, node->row.kind == LEDGER_WARN);
    }
    if (!engine->work.outbox_first) {
        return;
    }
    pthread_mutex_lock(&engine->lock);
    if (engine->outbox_told) {
        engine->outbox_told(engine->outbox_user);
    }
    pthread_mutex_unlock(&engine->lock);
}

void
told_shadows(struct engine *engine)
{
    for (const struct shadow_node *node = engine->work.shadow_first; node; node = node->next) {
        counter_add(COUNTER_SHADOWED, 1);
        refusals_note_shadow(engine, &node->refused);
    }
    engine->work.shadow_first = NULL;
}

void
told_delivery(const struct event *event, const struct verdict *verdict)
{
    const struct delivery_event *delivery = &event->delivery;
    counter_add(COUNTER_WEBHOOKS_DELIVERED, delivery->outcome == DELIVERY_DONE);
    counter_add(COUNTER_WEBHOOKS_FAILED, delivery->outcome == DELIVERY_FAILED);
    counter_add(COUNTER_WEBHOOKS_GIVEN_UP, verdict->given_up);
    if (verdict->given_up && delivery->outcome == DELIVERY_FAILED) {
        log_line(LOG_WARN, "webhooks", "dlv_%lld to %s is given up after %lld tries: %s",
            (long long)delivery->id, delivery->hook, (long long)delivery->attempts + 1,
            delivery->error);
    }
}

bool
engine_is_shared(const struct engine *engine)
{
    return !engine->exclusive;
}

bool
engine_delivers(const struct engine *engine)
{
    return engine->exclusive
           || clock_mono_ms() < __atomic_load_n(&engine->deliver_mono_ms, __ATOMIC_ACQUIRE);
}

void
engine_on_outbox(struct engine *engine, void (*told)(void *user), void *user)
{
    pthread_mutex_lock(&engine->lock);
    engine->outbox_told = told;
    engine->outbox_user = user;
    pthread_mutex_unlock(&engine->lock);
}
