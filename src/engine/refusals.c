/* engine/refusals.c: the first refusal of its kind in a minute becomes a ledger row, repeats a count. Both
 * are written with the next batch that commits anyway, or after a second: a refusal costs no commit. */
#include "engine/engine_priv.h"

#include "base/clock.h"

#define KEPT_FLUSH_MS 1000

static uint64_t
refusal_hash(const struct event *event, const struct refusal *refusal)
{
    uint64_t hash = hash_pair((uint64_t)refusal->limit_id, (uint64_t)refusal->reason);
    hash = hash_pair(hash, (uint64_t)event->call.account_id);
    hash = hash_pair(hash, (uint64_t)event->call.key_id);
    return hash_pair(hash, (uint64_t)event->call.model_index + 1) | 1;
}

int64_t
refusals_note(struct engine *engine, const struct event *event, const struct refusal *refusal, int64_t now_ms)
{
    const uint64_t hash = refusal_hash(event, refusal);
    const int64_t minute_ms = now_ms - now_ms % MINUTE_MS;
    struct kept_refusal *kept = &engine->kept[hash % KEPT_REFUSALS];
    const bool same = kept->hash == hash && kept->minute_ms == minute_ms;
    if (!same && kept->hash && kept->count > 0) { /* its slot is taken by one not written yet: try its neighbour */
        kept = &engine->kept[(hash + 1) % KEPT_REFUSALS];
        if (!(kept->hash == hash && kept->minute_ms == minute_ms) && kept->hash && kept->count > 0) {
            return 0; /* a storm of different refusals within a second: answered, counted in the log only */
        }
    }
    if (kept->hash != hash || kept->minute_ms != minute_ms) {
        *kept = (struct kept_refusal){ .hash = hash,
            .minute_ms = minute_ms,
            .ledger_id = ids_take(&engine->ids),
            .event = *event,
            .refusal = *refusal };
    }
    kept->count++;
    if (!engine->kept_dirty) {
        engine->kept_dirty = true;
        engine->kept_flush_mono_ms = clock_mono_ms() + KEPT_FLUSH_MS;
    }
    return kept->ledger_id;
}

void
refusals_write(struct engine *engine)
{
    for (size_t i = 0; i < KEPT_REFUSALS; i++) {
        struct kept_refusal *kept = &engine->kept[i];
        if (kept->hash && kept->count > 0) {
            core_record_refusal(&engine->core, &kept->event, &kept->refusal, kept->ledger_id, !kept->written,
                kept->count);
        }
    }
}

void
refusals_written(struct engine *engine, bool committed)
{
    if (!committed) {
        return;
    }
    for (size_t i = 0; i < KEPT_REFUSALS; i++) {
        if (engine->kept[i].count > 0) {
            engine->kept[i].written = true;
            engine->kept[i].count = 0;
        }
    }
    engine->kept_dirty = false;
}
