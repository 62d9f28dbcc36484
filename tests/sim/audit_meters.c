/* tests/sim/audit_meters.c: sums, caps and their bounds.
 *
 * The bound of a cap of money or tokens under `stream`, from DESIGN's words: at most the sum over calls in flight of
 * (real - estimated input, plus output billed beyond the held part). So from the moment when a meter was last within
 * its cap, each settlement may add what it cost beyond what it held, each exact input what it raises; nothing else
 * may add anything. `slack` is that sum. Under `strict` what is held is the bound, so the same sum is what a
 * provider billed beyond it; under `none` nothing is held against the cap, so each call may add all that it cost.
 * Of units (requests, in flight) the bound is 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

const struct sim_limit *
audit_means(struct audit *audit, int64_t limit_id)
{
    const struct audit_limit *limit = audit_limit_of(audit, limit_id);
    return limit ? &limit->means : NULL;
}

int64_t
audit_level(const struct audit_meter *meter, int64_t rate, int64_t at_ms)
{
    const int64_t elapsed_ms = at_ms > meter->window_ms ? at_ms - meter->window_ms : 0;
    const __int128 left = meter->settled - (__int128)elapsed_ms * rate;
    return left < 0 ? 0 : (int64_t)left;
}

int64_t
audit_cap_now(struct audit *audit, const struct audit_subject *subject, int64_t limit_id)
{
    const struct world *world = audit->world;
    int64_t most = -1;
    for (int i = 0; i < world->adopted_count; i++) {
        const struct sim_adopted *adopted = &world->adopted[i];
        for (int k = 0; adopted->policy && k < adopted->config.limit_count; k++) {
            if (adopted->limit_ids[k] == limit_id) {
                most = max_i64(most,
                    audit_cap_at_most(audit, &adopted->config.limits[k], limit_id, &adopted->config, subject));
            }
        }
    }
    return most < 0 ? INT64_MAX : most;
}

/* A cap that is enforced, of what is held in steps. */
static const struct sim_limit *
bounded(struct audit *audit, const struct audit_meter *meter)
{
    const struct sim_limit *limit = audit_means(audit, meter->limit_id);
    return limit && in_steps(limit) && enforces(limit) && form_of(limit)->window != WINDOW_BUCKET ? limit : NULL;
}

static int64_t
now_of(const struct audit *audit, const struct audit_subject *subject)
{
    const struct engine *engine = audit->node->engine;
    return max_i64(subject->seen_ms, engine ? engine->core.now_ms : 0);
}

static int64_t
over(struct audit *audit, struct audit_subject *subject, const struct audit_meter *meter, const struct sim_limit *limit,
    bool *unclear)
{
    const int64_t cap = audit_cap_now(audit, subject, meter->limit_id);
    struct stand stand = { .settled = meter->settled, .held = meter->held };
    if (form_of(limit)->window == WINDOW_ROLLING) {
        audit_stand(audit, subject, limit, meter->limit_id, now_of(audit, subject), &stand);
    }
    *unclear = stand.unclear || meter->unclear_turn == audit->turn; /* of a rolling window any of its moments */
    const int64_t used = stand.settled + (limit->mode == HOLD_MODE_NONE ? 0 : stand.held);
    return cap == INT64_MAX ? 0 : max_i64(0, used - cap);
}

struct audit_meter *
audit_slack_of(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter)
{
    const struct sim_limit *limit = audit_means(audit, meter->limit_id);
    return limit && form_of(limit)->window == WINDOW_ROLLING
               ? audit_meter(subject, meter->limit_id, SLACK_OF_ROLLING, true)
               : meter;
}

void
audit_allow(struct audit_meter *slack, int64_t amount, int64_t printed)
{
    slack->slack += amount;
    slack->excused += amount - printed;
}

/* The largest number of the configurations that calls may name; INT64_MAX where one of them has none. */
static int64_t
printed_bound(struct audit *audit, int64_t limit_id)
{
    const struct world *world = audit->world;
    int64_t most = -1;
    for (int i = 0; i < world->adopted_count; i++) {
        const struct sim_adopted *adopted = &world->adopted[i];
        for (int k = 0; adopted->policy && k < adopted->config.limit_count; k++) {
            const struct limit_bound *bound = &adopted->bounds[k];
            const struct audit_limit *by =
                bound->calls_by < 0 ? NULL : audit_limit_of(audit, adopted->set_ids[bound->calls_by]);
            const bool number = bound->kind == BOUND_NEVER_PASSED || (bound->kind == BOUND_AT_MOST && by && !by->was_set);
            if (adopted->limit_ids[k] == limit_id) {
                most = max_i64(most, number ? bound->most : INT64_MAX);
            }
        }
    }
    return most < 0 ? INT64_MAX : most;
}

/* Nor by more than what explain-config says. */
static void
within_printed(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter,
    const struct audit_meter *slack, int64_t past)
{
    const int64_t printed = printed_bound(audit, meter->limit_id);
    const int64_t own = past - slack->excused - slack->credit;
    if (printed == INT64_MAX || own <= 0) {
        return;
    }
    if (own > printed) {
        const struct sim_limit *limit = audit_means(audit, meter->limit_id);
        broken(audit->world, "the cap of limit %lld (%s per %s, %s) for subject %lld is passed by %lld, %lld of it excused; "
                             "explain-config prints %lld",
            (long long)meter->limit_id, count_word(form_of(limit)->counts), per_word(form_of(limit)->per),
            window_word(form_of(limit)->window), (long long)subject->row.subject_id, (long long)past, (long long)slack->excused,
            (long long)printed);
    }
    coverage.printed++;
    if (own > coverage.printed_max) {
        coverage.printed_max = own;
        coverage.printed_at_max = printed;
    }
}

void
audit_bound(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter)
{
    const struct sim_limit *limit = bounded(audit, meter);
    if (!limit) {
        return;
    }
    bool unclear = false;
    const int64_t past = over(audit, subject, meter, limit, &unclear);
    struct audit_meter *slack = audit_slack_of(audit, subject, meter);
    if (past == 0) {
        slack->slack = slack->excused = 0;
        return;
    }
    if (unclear) {
        slack->slack = max_i64(slack->slack, past);
        slack->excused = max_i64(slack->excused, past);
    }
    if (past > slack->slack + slack->credit) {
        broken(audit->world, "the cap of limit %lld for subject %lld is passed by %lld; its printed bound is %lld",
            (long long)meter->limit_id, (long long)subject->row.subject_id, (long long)past,
            (long long)(slack->slack + slack->credit));
    }
    within_printed(audit, subject, meter, slack, past);
    cover(limit, FORM_PAST_CAP);
    if (past > coverage.overshoot_max && form_of(limit)->counts == COUNT_COST) {
        coverage.overshoot_max = past;
        coverage.bound_at_max = slack->slack + slack->credit;
    }
}

void
audit_rebase(struct audit *audit)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(&audit->subjects, &cursor, &key, &value)) {
        struct audit_subject *subject = value;
        for (struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
            const struct sim_limit *limit = bounded(audit, meter);
            struct audit_meter *slack = limit ? audit_slack_of(audit, subject, meter) : NULL;
            if (slack) {
                bool unclear = false;
                const int64_t past = over(audit, subject, meter, limit, &unclear);
                slack->slack = max_i64(slack->slack, past);
                slack->excused = max_i64(slack->excused, past);
            }
        }
    }
}

/* Nothing reads it any more: its window is over, or no limit has its number now. */
bool
audit_may_leave(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter)
{
    const struct audit_limit *limit = audit_limit_of(audit, meter->limit_id);
    const struct sim_adopted *adopted = &audit->world->adopted[max_i64(0, audit->node->adopted)];
    if (meter->held != 0 || meter->bound != 0 || audit->node->adopted < 0) {
        return false;
    }
    for (int i = 0; i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == meter->limit_id) {
            return window_is_over(&limit->means, meter->window_ms, now_of(audit, subject));
        }
    }
    return true;
}

static const struct meter *
stored_meter(const struct meter_row *row, const struct audit_meter *meter)
{
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == meter->limit_id && row->meters[i].window_ms == meter->window_ms) {
            return &row->meters[i];
        }
    }
    return NULL;
}

static const struct meter *
stored_any(const struct meter_row *row, int64_t limit_id)
{
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == limit_id) {
            return &row->meters[i];
        }
    }
    return NULL;
}

static void
compare_meter(struct audit *audit, const struct audit_subject *subject, struct audit_meter *own,
    const struct meter *stored)
{
    if (own->fuzzy) {
        own->settled = stored->settled;
        own->window_ms = stored->window_ms;
        own->fuzzy = false;
    }
    if (own->settled != stored->settled || own->held != stored->held || own->bound != stored->bound) {
        broken(audit->world,
            "the meter of limit %lld, subject %lld, window %lld says settled %lld, held %lld, bound %lld; ledger and "
            "open holds sum up to %lld, %lld, %lld",
            (long long)own->limit_id, (long long)subject->row.subject_id, (long long)own->window_ms,
            (long long)stored->settled, (long long)stored->held, (long long)stored->bound, (long long)own->settled,
            (long long)own->held, (long long)own->bound);
    }
}

static bool
is_rolling(struct audit *audit, int64_t limit_id)
{
    const struct sim_limit *limit = audit_means(audit, limit_id);
    return limit && form_of(limit)->window == WINDOW_ROLLING;
}

static int32_t
compare_rolling(struct audit *audit, struct audit_subject *subject, const struct meter_row *row)
{
    int64_t limits[METERS_MAX + AUDIT_EDGES];
    int32_t limit_count = 0, found = 0;
    for (int32_t i = 0; i < row->meter_count; i++) {
        found += is_rolling(audit, row->meters[i].limit_id);
    }
    for (int32_t i = 0; i < row->meter_count + subject->edge_count; i++) {
        const int64_t limit_id = i < row->meter_count ? row->meters[i].limit_id
                                                      : subject->edges[i - row->meter_count].limit_id;
        bool seen = !is_rolling(audit, limit_id);
        for (int32_t k = 0; k < limit_count; k++) {
            seen = seen || limits[k] == limit_id;
        }
        if (!seen) {
            limits[limit_count++] = limit_id;
        }
    }
    for (int32_t i = 0; i < limit_count; i++) {
        audit_rolling_row(audit, subject, limits[i], row);
    }
    return found;
}

void
audit_meter_row(struct audit *audit, const struct meter_row *row)
{
    struct audit_subject *subject = audit_subject(audit, row->subject_id);
    if (!subject) {
        broken(audit->world, "meters of subject %lld, which is none", (long long)row->subject_id);
    }
    if (row->seen_ms < subject->seen_ms) {
        broken(audit->world, "time goes back for subject %lld: %lld after %lld", (long long)row->subject_id,
            (long long)row->seen_ms, (long long)subject->seen_ms);
    }
    subject->seen_ms = row->seen_ms;
    int32_t found = compare_rolling(audit, subject, row);
    for (struct audit_meter **at = &subject->meters; *at;) {
        struct audit_meter *own = *at;
        if (is_rolling(audit, own->limit_id)) {
            at = &own->next;
            continue;
        }
        const struct meter *stored = own->fuzzy ? stored_any(row, own->limit_id) : stored_meter(row, own);
        if (stored) {
            compare_meter(audit, subject, own, stored);
            found++;
        } else if (audit_may_leave(audit, subject, own)) {
            *at = own->next;
            free(own);
            continue;
        } else {
            broken(audit->world, "the meter of limit %lld, subject %lld, window %lld is lost: settled %lld, held %lld",
                (long long)own->limit_id, (long long)row->subject_id, (long long)own->window_ms,
                (long long)own->settled, (long long)own->held);
        }
        at = &own->next;
    }
    if (found != row->meter_count) {
        broken(audit->world, "subject %lld has %d meters; ledger and holds know %d of them", (long long)row->subject_id,
            row->meter_count, found);
    }
}
