/* engine/refusals.c: the first refusal of its kind in a minute becomes a ledger row, repeats a
 * count. Both are written with the next batch that commits anyway, or after a second: a refusal
 * costs no commit. Of one kind are those that one row explains: of one key, model, reason, limit and
 * subject of that limit (a tree, a tag), or of one field that cannot be bounded. */
#include "engine/engine_priv.h"

#include "base/clock.h"
#include "log/log.h"

#define KEPT_FLUSH_MS 1000

static uint64_t
refusal_hash(const struct refused *refused)
{
    uint64_t hash = hash_pair((uint64_t)refused->refusal.limit_id,
        (uint64_t)refused->refusal.reason << 1 | refused->shadow);
    hash = hash_pair(hash, (uint64_t)refused->account_id);
    hash = hash_pair(hash, (uint64_t)refused->key_id);
    hash = hash_pair(hash, refused->refusal.subject_mark);
    hash = hash_pair(hash, hash_bytes(slice_str(refused->refusal.about)));
    return hash_pair(hash, hash_bytes(slice_str(refused->model))) | 1;
}

/* The place of a refusal of that minute: its own, else one that is free or written and of a minute
 * that is over, else one that is written. NULL: a storm of different refusals within a second; they
 * are answered, but nobody can explain them later. */
static struct kept_refusal *
place_for(struct engine *engine, uint64_t hash, int64_t minute_ms)
{
    struct kept_refusal *best = NULL;
    for (uint64_t probe = 0; probe < KEPT_PROBES; probe++) {
        struct kept_refusal *kept = &engine->kept[(hash + probe) % KEPT_REFUSALS];
        if (kept->hash == hash && kept->minute_ms == minute_ms) {
            return kept;
        }
        const bool better =
            kept->count == 0
            && (!best || (best->minute_ms == minute_ms && kept->minute_ms != minute_ms));
        best = better ? kept : best;
    }
    return best;
}

static void
add_count(struct engine *engine, struct kept_refusal *kept, int64_t count)
{
    if (engine->kept_due_count == 0) {
        engine->kept_flush_mono_ms = clock_mono_ms() + KEPT_FLUSH_MS;
    }
    if (kept->count == 0) {
        engine->kept_due[engine->kept_due_count++] = kept;
    }
    kept->count += count;
}

static int64_t
note(struct engine *engine, struct refused *refused)
{
    const int64_t now_ms = engine_now_ms(engine);
    const int64_t minute_ms = now_ms - now_ms % MINUTE_MS;
    const uint64_t hash = refusal_hash(refused);
    struct kept_refusal *kept = place_for(engine, hash, minute_ms);
    if (!kept) {
        return 0;
    }
    const bool known = kept->hash == hash && kept->minute_ms == minute_ms;
    if (known && refused->shadow) { /* its row is enough: repeats have no count in the store */
        return kept->refused.ledger_id;
    }
    if (!known) {
        refused->at_ms = now_ms;
        refused->ledger_id = ids_take(&engine->ids);
        *kept = (struct kept_refusal){ .hash = hash, .minute_ms = minute_ms, .refused = *refused };
    }
    add_count(engine, kept, 1);
    return kept->refused.ledger_id;
}

int64_t
refusals_note(struct engine *engine, const struct event *event, const struct refusal *refusal)
{
    struct refused refused;
    core_refused(&engine->core, event, refusal, &refused);
    return note(engine, &refused);
}

void
refusals_note_shadow(struct engine *engine, const struct refused *refused)
{
    struct refused shadow = *refused;
    (void)note(engine, &shadow);
}

void
refusals_add(struct engine *engine, int64_t ledger_id, int64_t count)
{
    for (size_t i = 0; i < KEPT_REFUSALS; i++) {
        struct kept_refusal *kept = &engine->kept[i];
        if (kept->hash != 0 && kept->refused.ledger_id == ledger_id) {
            add_count(engine, kept, count);
            return;
        }
    }
    log_line(LOG_DEBUG, "engine",
        "%lld repeats of refusal req_%lld are not counted: too many kinds", (long long)count,
        (long long)ledger_id);
}

bool
refusals_due(const struct engine *engine, bool commits)
{
    return engine->kept_due_count > 0
           && (commits || engine->closing || clock_mono_ms() >= engine->kept_flush_mono_ms);
}

void
refusals_write(struct engine *engine)
{
    for (size_t i = 0; i < engine->kept_due_count; i++) {
        const struct kept_refusal *kept = engine->kept_due[i];
        core_record_refusal(&engine->core, &kept->refused, !kept->written, kept->count);
    }
}

void
refusals_written(struct engine *engine, bool committed)
{
    if (!committed) {
        engine->kept_flush_mono_ms = clock_mono_ms() + KEPT_FLUSH_MS;
        return;
    }
    for (size_t i = 0; i < engine->kept_due_count; i++) {
        engine->kept_due[i]->written = true;
        engine->kept_due[i]->count = 0;
    }
    engine->kept_due_count = 0;
}

/* Once more under the same number they would be in the way of every batch after. */
void
refusals_renumber(struct engine *engine)
{
    for (size_t i = 0; i < engine->kept_due_count; i++) {
        struct kept_refusal *kept = engine->kept_due[i];
        if (!kept->written) {
            kept->refused.ledger_id = ids_take(&engine->ids);
        }
    }
}
