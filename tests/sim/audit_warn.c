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

/* --- Told. */

static uint64_t
key_of(uint64_t limit, int64_t subject_id, int64_t window_ms, int64_t pct)
{
    return audit_hash(audit_hash(limit, (uint64_t)subject_id), audit_hash((uint64_t)window_ms, (uint64_t)pct));
}

/* Of a rolling window: when, for as long as that counts. */
static void
note_time(struct audit *audit, const struct told_limit *about, int64_t at_ms)
{
    const uint64_t key = key_of(audit_text_hash(about->limit), about->subject_id, 0, about->pct);
    int64_t *last_ms = map_get(&audit->warned_at, key);
    if (!last_ms) {
        last_ms = calloc(1, sizeof *last_ms);
        check(last_ms && map_put(&audit->warned_at, key, last_ms));
    }
    *last_ms = max_i64(*last_ms, at_ms);
}

/* By the cap of when the call was allowed whose settlement moved it. */
static void
check_cap(struct audit *audit, const struct told_limit *about)
{
    const struct audit_hold *hold = about->hold_id ? audit_hold(audit, about->hold_id) : NULL;
    bool found = !about->hold_id || !hold;
    for (int32_t i = 0; !found && i < hold->row.part_count; i++) {
        found = hold->row.parts[i].subject_id == about->subject_id && hold->row.parts[i].cap == about->cap;
    }
    if (!found) {
        broken(audit->world, "limit '%s' tells of %lld %% of %lld, which is no cap of hold %lld", about->limit, (long long)about->pct,
            (long long)about->cap, (long long)about->hold_id);
    }
}

/* A list may be edited: what is told is told for all that is below it. */
static bool
was_told_above(struct audit *audit, uint64_t limit, int64_t subject_id, int64_t window_ms, int64_t pct)
{
    bool told = false;
    for (int i = 0; i < SIM_PERCENTAGES; i++) {
        told = told || (sim_percentages[i] > pct && map_get(&audit->warned, key_of(limit, subject_id, window_ms, sim_percentages[i])));
    }
    return told;
}

/* A percentage is told once a window, not before it is reached, and not after a higher one. A rolling window has no
 * beginning. */
void
audit_warn(struct audit *audit, const struct write *write)
{
    static char told;
    const struct told_limit *about = &write->about;
    const int64_t limit_id = audit_limit_named(audit, about);
    const struct sim_limit *limit = audit_means(audit, limit_id);
    const uint64_t key = key_of((uint64_t)limit_id, about->subject_id, about->window_ms, about->pct);
    const uint64_t name_key = key_of(audit_text_hash(about->limit), about->subject_id, about->window_ms, about->pct);
    if (!limit || (__int128)about->settled * 100 < (__int128)about->cap * about->pct) {
        broken(audit->world, "limit '%s' tells of %lld %% of %lld, where %lld are used", about->limit, (long long)about->pct,
            (long long)about->cap, (long long)about->settled);
    }
    if (form_of(limit)->window != WINDOW_ROLLING && map_get(&audit->warned, key)) {
        broken(audit->world, "limit '%s' tells of %lld %% for subject %lld twice in one window", about->limit,
            (long long)about->pct, (long long)about->subject_id);
    }
    if (form_of(limit)->window != WINDOW_ROLLING
        && was_told_above(audit, (uint64_t)limit_id, about->subject_id, about->window_ms, about->pct)) {
        broken(audit->world, "limit '%s' tells of %lld %% for subject %lld, and has told of more in that window", about->limit,
            (long long)about->pct, (long long)about->subject_id);
    }
    check_cap(audit, about);
    coverage.warned++;
    check(map_put(&audit->warned, key, &told));
    if (!map_get(&audit->warned, name_key)) {
        check(map_put(&audit->warned, name_key, &told));
    }
    note_time(audit, about, write->row.ledger.at_ms);
}

/* --- Due. */

/* Under the name that the limit had for that gateway. */
static bool
was_told_as(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    const char *name, int64_t pct, int64_t now_ms)
{
    const int64_t subject_id = subject->row.subject_id;
    const int64_t *last_ms = map_get(&audit->warned_at, key_of(audit_text_hash(name), subject_id, 0, pct));
    const bool rolling = form_of(limit)->window == WINDOW_ROLLING;
    return map_get(&audit->warned, key_of(audit_text_hash(name), subject_id, meter->window_ms, pct))
           || (rolling && last_ms && now_ms - *last_ms < limit->span_ms);
}

static bool
was_told_of(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    int64_t limit_id, int64_t pct, int64_t now_ms)
{
    const struct world *world = audit->world;
    if (map_get(&audit->warned, key_of((uint64_t)limit_id, subject->row.subject_id, meter->window_ms, pct))) {
        return true;
    }
    for (int i = world->adopted_count; i-- > 0;) {
        const struct sim_adopted *adopted = &world->adopted[i];
        for (int k = 0; k < adopted->config.limit_count; k++) {
            if (adopted->limit_ids[k] == limit_id
                && was_told_as(audit, subject, meter, limit, adopted->config.limits[k].name, pct, now_ms)) {
                return true;
            }
        }
    }
    return false;
}

/* Of the percentage, or of a higher one. */
static bool
was_told(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    int64_t limit_id, int64_t pct, int64_t now_ms)
{
    for (int i = 0; i < SIM_PERCENTAGES; i++) {
        if (sim_percentages[i] >= pct && was_told_of(audit, subject, meter, limit, limit_id, sim_percentages[i], now_ms)) {
            coverage.warn_above += sim_percentages[i] > pct && !was_told_of(audit, subject, meter, limit, limit_id, pct, now_ms);
            return true;
        }
    }
    return false;
}

void
audit_warn_due(struct audit *audit, struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    int64_t limit_id, int64_t cap, int64_t at_ms)
{
    const int64_t now_ms = max_i64(at_ms, subject->seen_ms);
    struct stand stand = { .settled = meter->settled };
    if (cap <= 0 || form_of(limit)->window == WINDOW_BUCKET || form_of(limit)->counts == COUNT_IN_FLIGHT) {
        return;
    }
    if (form_of(limit)->window == WINDOW_ROLLING) {
        audit_stand(audit, subject, limit, limit_id, now_ms, &stand);
    }
    for (int i = 0; i <= limit->warn_count && !stand.together; i++) {
        const bool at_cap = i == limit->warn_count;
        const int64_t pct = at_cap ? 100 : limit->warn_pct[i];
        const bool reached = (__int128)stand.settled * 100 >= (__int128)cap * pct;
        if ((at_cap && limit->at_cap != AT_CAP_WARN) || !reached) {
            continue;
        }
        coverage.warn_due++;
        if (!was_told(audit, subject, meter, limit, limit_id, pct, now_ms)) {
            broken(audit->world, "limit %s (%s per %s, %s), subject %lld, window %lld: %lld of %lld are used, and nobody is told of %lld %%",
                limit->name, count_word(form_of(limit)->counts), per_word(form_of(limit)->per), window_word(form_of(limit)->window),
                (long long)subject->row.subject_id, (long long)meter->window_ms, (long long)stand.settled, (long long)cap,
                (long long)pct);
        }
    }
}

/* What is told of no call was moved by a correction, and stands before its row: under the cap that rules. */
static void
check_told_cap(struct audit *audit, const struct audit_subject *subject, const struct sim_limit *limit, int64_t cap,
    const struct write *correction)
{
    for (struct write *write = audit->node->writes.items; write < correction; write++) {
        const bool mine = !write->matched && write->kind == WRITE_LEDGER && write->row.ledger.kind == LEDGER_WARN && write->about.hold_id == 0
                          && write->about.subject_id == subject->row.subject_id && strcmp(write->about.limit, limit->name) == 0;
        write->matched = write->matched || mine;
        if (mine && write->about.cap != cap) {
            broken(audit->world, "limit '%s' (%s per %s) tells of %lld %% of %lld for subject %lld after a correction; its cap is %lld",
                limit->name, count_word(form_of(limit)->counts), per_word(form_of(limit)->per), (long long)write->about.pct,
                (long long)write->about.cap, (long long)subject->row.subject_id, (long long)cap);
        }
    }
}

void
audit_warn_corrected(struct audit *audit, struct audit_subject *subject, const struct audit_meter *meter, int64_t limit_id,
    const struct write *correction)
{
    const int64_t at_ms = correction->row.ledger.at_ms;
    const struct sim_adopted *adopted = &audit->world->adopted[max_i64(0, audit->node->adopted)];
    if (audit->adopted_turn == audit->turn || audit->caps_turn == audit->turn || audit->tree_asks > 0 || audit->node->adopted < 0) {
        return; /* by which it was decided is not told */
    }
    for (int i = 0; i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == limit_id) {
            const int64_t now_ms = max_i64(at_ms, audit->node->engine ? audit->node->engine->core.now_ms : 0);
            const int64_t cap = audit_cap_of(audit, i, adopted, &subject->row, correction->row.ledger.account_id, now_ms);
            audit_warn_due(audit, subject, meter, &adopted->config.limits[i], limit_id, cap, at_ms);
            check_told_cap(audit, subject, &adopted->config.limits[i], cap, correction);
        }
    }
}
