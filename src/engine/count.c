/* engine/count.c: what was decided and is durable, as the numbers of /metrics. */
#include "engine/engine_priv.h"

#include "log/metrics.h"

void
count_booked(const struct verdict *verdict, const struct usage *usage)
{
    if (!verdict->booked) {
        return; /* settled before */
    }
    counter_add(COUNTER_TOKENS_INPUT, usage->input);
    counter_add(COUNTER_TOKENS_CACHE_READ, usage->cache_read);
    counter_add(COUNTER_TOKENS_CACHE_WRITE, usage->cache_write_5m + usage->cache_write_1h);
    counter_add(COUNTER_TOKENS_OUTPUT, usage->output);
    counter_add(COUNTER_COST_MICROS, verdict->cost_micros);
    counter_add(COUNTER_COST_ESTIMATED_MICROS, verdict->est_micros);
    counter_raise(COUNTER_OVERSHOOT_MICROS_MAX, verdict->overshoot_micros);
}

void
count_allowed(const struct event *event, const struct verdict *verdict)
{
    const struct usage none = USAGE_NONE;
    switch (event->kind) {
    case EVENT_CALL: counter_add(COUNTER_CALLS_ALLOWED, 1); return;
    case EVENT_EXTEND: counter_add(COUNTER_HOLDS_EXTENDED, 1); return;
    case EVENT_REROUTE:
        count_booked(verdict, verdict->billed ? &event->reroute.usage : &none);
        return;
    case EVENT_SETTLE:
        count_booked(verdict, verdict->billed ? &event->settle.usage : &none);
        return;
    case EVENT_DELIVERY: told_delivery(event, verdict); return;
    default: return;
    }
}

void
count_refused(const struct event *event)
{
    if (event->kind == EVENT_CALL) {
        counter_add(COUNTER_CALLS_REFUSED, 1);
    }
}
