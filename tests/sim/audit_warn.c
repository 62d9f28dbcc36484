/* tests/sim/audit_warn.c: percentages that are told, and what limits that are only watched would have refused: what was
 * due, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

static bool
warns_at(const struct sim_limit *limit, int64_t pct)
{
    bool warns = limit->at_cap == AT_CAP_WARN && pct == 100;
    for (int i = 0; i < limit->warn_count; i++) {
        warns = warns || limit->warn_pct[i] == pct;
    }
    return warns;
}

static bool
has_meter(const struct audit_subject *subject, int64_t limit_id)
{
    for (const struct audit_meter *meter = subject ? subject->meters : NULL; meter; meter = meter->next) {
        if (meter->limit_id == limit_id) {
            return true;
        }
    }
    return false;
}

int64_t
audit_limit_named(struct audit *audit, const struct told_limit *about)
{
    const struct world *world = audit->world;
    const struct audit_subject *subject = audit_subject(audit, about->subject_id);
    int64_t newest = 0; /* of a meter that a correction makes in this turn */
    for (int i = world->adopted_count; i-- > 0;) {
        const struct sim_adopted *adopted = &world->adopted[i];
        for (int k = 0; adopted->node == audit->node->index && k < adopted->config.limit_count; k++) {
            const struct sim_limit *limit = &adopted->config.limits[k];
            if (strcmp(limit->name, about->limit) != 0 || (about->pct != 0 && !warns_at(limit, about->pct))) {
                continue;
            }
            if (about->pct == 0 || has_meter(subject, adopted->limit_ids[k])) {
                return adopted->limit_ids[k];
            }
            newest = newest ? newest : adopted->limit_ids[k];
        }
    }
    return newest;
}

/* A percentage is told once a window, and not before it is reached. A rolling window has no beginning. */
void
audit_warn(struct audit *audit, const struct write *write)
{
    static char told;
    const struct told_limit *about = &write->about;
    const int64_t limit_id = audit_limit_named(audit, about);
    const struct sim_limit *limit = audit_means(audit, limit_id);
    const uint64_t key = audit_hash(audit_hash((uint64_t)limit_id, (uint64_t)about->subject_id),
        audit_hash((uint64_t)about->window_ms, (uint64_t)about->pct));
    if (!limit || (__int128)about->settled * 100 < (__int128)about->cap * about->pct) {
        broken(audit->world, "limit '%s' tells of %lld %% of %lld, where %lld are used", about->limit, (long long)about->pct,
            (long long)about->cap, (long long)about->settled);
    }
    if (form_of(limit)->window != WINDOW_ROLLING && map_get(&audit->warned, key)) {
        broken(audit->world, "limit '%s' tells of %lld %% for subject %lld twice in one window", about->limit,
            (long long)about->pct, (long long)about->subject_id);
    }
    coverage.warned++;
    check(map_put(&audit->warned, key, &told));
}
